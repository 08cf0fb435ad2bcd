#include "receiver/status_txt.h"

#include <string.h>

#include "common/advice.h"
#include "common/bak.h"
#include "common/text.h"
#include "common/tsql.h"

/* In one line, which goes to a client in one message. */
enum { NAMED_SETS_MAX = 10 };

/*
 * STATUS.txt is put together whenever somebody looks at the folder, and a person reads it: of thousands of files it
 * names the newest, and of the older ones those that somebody has to do something about.
 */
enum { FILES_MAX = 200, TROUBLES_MAX = 100, GAPS_MAX = 50 };

static const char *
safe(TALLOC_CTX *mem, const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s == NULL ? "" : text_shown(mem, s);
}

/* The database's name as part of a file's name, whatever stands in it. */
static char *
file_stem(TALLOC_CTX *mem, const char *database)
{
	char *stem = talloc_strdup(mem, database);

	for (char *c = stem; *c != '\0'; c++)
		if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", *c) == NULL)
			*c = '_';
	return stem;
}

char *
status_readme(TALLOC_CTX *parent, const char *migration, const char *database, const char *fingerprints)
{
	/* To be pasted into a server: quoted as T-SQL, then made fit for a screen. */
	const char *d = text_shown(parent, tsql_name(parent, database)), *file = file_stem(parent, database);

	return talloc_asprintf(parent,
		"Your migration is %s, the database is %s.\n\n"
		"What to send, in this order. Paste the statements into Management Studio on the\n"
		"old server, then upload the files with any SFTP client.\n\n"
		"1. A full backup, while everybody keeps working:\n"
		"     BACKUP DATABASE %s TO DISK = N'%s_full.bak' WITH CHECKSUM, INIT;\n"
		"   From now on let no other job back this database up.\n\n"
		"2. Any number of log backups, as often as you like:\n"
		"     BACKUP LOG %s TO DISK = N'%s_1.trn' WITH CHECKSUM, INIT;\n\n"
		"3. On the day, when the application and the e-mail processing are off, the last one:\n"
		"     BACKUP LOG %s TO DISK = N'%s_tail.trn' WITH NORECOVERY, CHECKSUM, INIT;\n"
		"   This stops the old database, so that nothing can be lost.\n"
		"   Should you have to go back: RESTORE DATABASE %s WITH RECOVERY;\n\n"
		"Backup encryption must be off. A file counts as soon as it is whole; you need not wait\n"
		"or rename. An upload that broke off may be resumed. STATUS.txt says where things stand,\n"
		"receipts/ has a receipt for each file.\n\n"
		"This server's keys:\n%s", migration, text_shown(parent, database), d, file, d, file, d, file, d, fingerprints);
}

/* Each finding in words, and what would make it right, ready to be pasted. */
static char *
add_advice(TALLOC_CTX *mem, char *s, const struct file *f, const char *database, const char *indent)
{
	for (size_t i = 0; i < json_array_size(f->findings); i++) {
		const char *word = json_string_value(json_array_get(f->findings, i)), *says = advice_sentence(word);
		char *tsql = advice_tsql(mem, word, database), *save = NULL;

		s = talloc_asprintf_append_buffer(s, "%snote: %s%s%s\n", indent, text_shown(mem, word), says == NULL ? "" : ": ", says == NULL ? "" : says);
		for (char *line = tsql == NULL ? NULL : strtok_r(tsql, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
			s = talloc_asprintf_append_buffer(s, "%s  %s\n", indent, text_shown(mem, line));
	}
	return s;
}

static char *
add_file(TALLOC_CTX *mem, char *s, const struct file *f, const char *database)
{
	s = talloc_asprintf_append_buffer(s, "  %-16s %10s  %s\n", file_state_word(f->state), text_size(f->bytes).s, text_shown(mem, f->path + 1));
	if (f->reason != NULL)
		s = talloc_asprintf_append_buffer(s, "                    %s\n", text_shown(mem, f->reason));
	return add_advice(mem, s, f, database, "                    ");
}

static char *
list_files(TALLOC_CTX *mem, const struct area *area, const char *database, char *s)
{
	size_t listed = 0, older = 0;
	uint64_t oldest = UINT64_MAX;
	const struct file *f;

	for (f = LIST_FIRST(&area->shown); f != NULL && listed < FILES_MAX; f = LIST_NEXT(f, of_shown), listed++) {
		s = add_file(mem, s, f, database);
		oldest = f->number < oldest ? f->number : oldest;
	}
	for (f = f == NULL ? NULL : LIST_FIRST(&area->unfinished); f != NULL && older < TROUBLES_MAX; f = LIST_NEXT(f, of_unfinished))
		if (f->number < oldest) {
			s = add_file(mem, s, f, database);
			older++;
		}
	if (listed + older < area->n_shown)
		s = talloc_asprintf_append_buffer(s, "  and %zu more, which are older; receipts/ has a receipt of each\n", area->n_shown - listed - older);
	if (listed < area->n_shown)
		s = talloc_asprintf_append_buffer(s, "%zu files, %zu of them not complete.\n", area->n_shown, area->n_unfinished);
	return s;
}

char *
status_text(TALLOC_CTX *parent, const struct area *area, const char *database, const json_t *standing, const char *as_of)
{
	char *s = talloc_asprintf(parent, "Migration %s, as of %s\n\n", area->migration, as_of);
	const json_t *gaps = json_object_get(standing, "gaps");

	if (standing == NULL)
		s = talloc_asprintf_append_buffer(s, "Stage: not known at the moment (the database of jobs cannot be reached).\n"
		                                  "Uploads go on and will be recorded.\n");
	else {
		s = talloc_asprintf_append_buffer(s, "Stage: %s\n", safe(parent, standing, "stage"));
		if (json_is_string(json_object_get(standing, "hold")))
			s = talloc_asprintf_append_buffer(s, "On hold: %s\n", safe(parent, standing, "hold"));
		if (json_is_string(json_object_get(standing, "waits_for")))
			s = talloc_asprintf_append_buffer(s, "Waiting for: %s\n", safe(parent, standing, "waits_for"));
		for (size_t i = 0; i < json_array_size(gaps) && i < GAPS_MAX; i++)
			s = talloc_asprintf_append_buffer(s, "Missing: %s\n", safe(parent, json_array_get(gaps, i), "text"));
		if (json_array_size(gaps) > GAPS_MAX)
			s = talloc_asprintf_append_buffer(s, "Missing: and %zu more\n", json_array_size(gaps) - GAPS_MAX);
		s = talloc_asprintf_append_buffer(s, "Restored: %lld backups\n", (long long)json_integer_value(json_object_get(standing, "restored")));
		if (json_is_string(json_object_get(standing, "verdict")))
			s = talloc_asprintf_append_buffer(s, "Verification: %s\n", safe(parent, standing, "verdict"));
	}
	return list_files(parent, area, database, talloc_asprintf_append_buffer(s, "\nFiles:\n"));
}

char *
status_what(TALLOC_CTX *parent, const json_t *facts)
{
	const json_t *sets = json_object_get(facts, "sets"), *set;
	char *s = talloc_strdup(parent, "");
	size_t n = json_array_size(sets);

	for (size_t i = 0; i < n && i < NAMED_SETS_MAX; i++) {
		set = json_array_get(sets, i);
		s = talloc_asprintf_append_buffer(s, "%s%s backup of %s from %s", i == 0 ? "" : "; ", safe(parent, set, "BackupTypeDescription"),
		                                  safe(parent, set, "DatabaseName"), safe(parent, set, "ServerName"));
	}
	return n <= NAMED_SETS_MAX ? s : talloc_asprintf_append_buffer(s, "; and %zu more", n - NAMED_SETS_MAX);
}

/* What a sidecar says of a file. */
static const char *
compared(TALLOC_CTX *mem, const struct file *f, const struct file *sidecar)
{
	bool is_md5 = strlen(sidecar->promised) == 32;
	const char *ours = is_md5 ? f->md5 : f->sha256, *name = text_shown(mem, sidecar->path + 1);

	if (ours[0] == '\0')
		return talloc_asprintf(mem, "not yet against %s", name);
	if (strcmp(ours, sidecar->promised) == 0)
		return talloc_asprintf(mem, "the same as in %s", name);
	return talloc_asprintf(mem, "NOT the same as in %s, which has %s", name, sidecar->promised);
}

char *
status_receipt(TALLOC_CTX *parent, const struct file *f, const char *database, const json_t *facts)
{
	char *s = talloc_asprintf(parent, "%s\n  state   %s\n  bytes   %llu\n", text_shown(parent, f->path + 1), file_state_word(f->state),
	                          (unsigned long long)f->bytes);
	const json_t *sets = json_object_get(facts, "sets"), *set;
	const struct file *o;

	if (f->sha256[0] != '\0')
		s = talloc_asprintf_append_buffer(s, "  sha256  %s\n", f->sha256);
	LIST_FOREACH(o, &f->at->sidecars, of_sidecars)
		if (o->promised[0] != '\0')
			s = talloc_asprintf_append_buffer(s, "  checked %s\n", compared(parent, f, o));
	if (f->reason != NULL)
		s = talloc_asprintf_append_buffer(s, "  reason  %s\n", text_shown(parent, f->reason));
	s = add_advice(parent, s, f, database, "  ");
	/* No reader says more; a session that was taken over might. */
	for (size_t i = 0; i < json_array_size(sets) && i < BAK_SETS_MAX; i++) {
		set = json_array_get(sets, i);
		s = talloc_asprintf_append_buffer(s, "  set %zu   %s backup of %s from %s\n          taken %s to %s, LSN %s to %s\n", i + 1,
		                                  safe(parent, set, "BackupTypeDescription"), safe(parent, set, "DatabaseName"),
		                                  safe(parent, set, "ServerName"), safe(parent, set, "BackupStartDate"),
		                                  safe(parent, set, "BackupFinishDate"), safe(parent, set, "FirstLSN"), safe(parent, set, "LastLSN"));
	}
	return s;
}
