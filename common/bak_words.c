#include "common/bak_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- words for values -------------------------------------------------------------------------------------- */

struct bak_date_text
bak_date_text(struct bak_date d)
{
	struct bak_date_text t = { "" };

	if (d.year != 0)
		snprintf(t.s, sizeof(t.s), "%04u-%02u-%02uT%02u:%02u:%02u", d.year % 10000u, d.month % 100u, d.day % 100u,
		         d.hour % 100u, d.minute % 100u, d.second % 100u);
	return t;
}

int
bak_date_compare(struct bak_date a, struct bak_date b)
{
	const unsigned x[] = { a.year, a.month, a.day, a.hour, a.minute, a.second };
	const unsigned y[] = { b.year, b.month, b.day, b.hour, b.minute, b.second };

	for (size_t i = 0; i < 6; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

const char *
bak_type_word(enum bak_type type)
{
	switch (type) {
	case BAK_FULL: return "full";
	case BAK_LOG: return "log";
	case BAK_FILE: return "file";
	case BAK_DIFFERENTIAL: return "differential";
	case BAK_FILE_DIFFERENTIAL: return "file-differential";
	case BAK_PARTIAL: return "partial";
	case BAK_PARTIAL_DIFFERENTIAL: return "partial-differential";
	case BAK_TYPE_UNKNOWN: break;
	}
	return "unknown";
}

/* All but 2000 were seen in files; pre-releases have versions in between. */
static const struct {
	uint16_t version;
	uint8_t major;
	const char *year;
} releases[] = {
	{ 539, 8, "2000" }, { 611, 9, "2005" }, { 655, 10, "2008" }, { 661, 10, "2008 R2" }, { 706, 11, "2012" }, { 782, 12, "2014" },
	{ 852, 13, "2016" }, { 869, 14, "2017" }, { 904, 15, "2019" }, { 957, 16, "2022" }, { 998, 17, "2025" },
};

uint16_t
bak_version_of(const char *release)
{
	char *end;
	unsigned long number = strtoul(release, &end, 10);
	bool r2 = strcmp(release, "2008 R2") == 0 || strcmp(release, "2008R2") == 0 || strncmp(release, "10.50", 5) == 0;
	uint16_t found = 0;

	if (end == release)
		return 0;
	for (size_t i = 0; i < sizeof(releases) / sizeof(releases[0]); i++)
		if (number == strtoul(releases[i].year, NULL, 10) || number == releases[i].major || number == releases[i].version)
			if (found == 0 || r2)
				found = releases[i].version;
	return found;
}

const char *
bak_release_of(uint16_t version)
{
	for (size_t i = 0; i < sizeof(releases) / sizeof(releases[0]); i++)
		if (releases[i].version == version)
			return releases[i].year;
	return "";
}

/* ---- sentences ------------------------------------------------------------------------------------------------ */

struct bak_words { char missing[400], damaged[400]; };

static struct bak_words *
words_of(const struct bak *b)
{
	/* The reader itself is const to whoever asks for a sentence; where it keeps sentences is not. */
	struct bak *mine = (struct bak *)(uintptr_t)b;

	if (mine->words == NULL)
		mine->words = talloc_zero(mine, struct bak_words);
	return mine->words;
}

unsigned
bak_cut_set(const struct bak *b)
{
	const struct bak_walk *k = &b->walk;

	return k->phase == IN_SET && k->set != NULL ? k->set->position : (unsigned)b->n_sets;
}

const char *
bak_words_missing(const struct bak *b)
{
	struct bak_words *w = words_of(b);
	const struct bak_walk *k = &b->walk;
	const char *head = k->set != NULL && k->set->type != BAK_TYPE_UNKNOWN ? "" : ", inside the headers";
	unsigned set = k->set == NULL ? 0 : k->set->position;

	if (b->fed == 0)
		snprintf(w->missing, sizeof(w->missing), "nothing of it is there");
	else if (k->set == NULL || (b->n_sets == 0 && k->phase != IN_SET))
		snprintf(w->missing, sizeof(w->missing), "it ends at byte %" PRIu64 ", inside the headers: nothing of the backup is there", b->fed);
	else if (k->phase == IN_SET)
		snprintf(w->missing, sizeof(w->missing), "it ends at byte %" PRIu64 ", inside set %u%s: %s is missing and it cannot be restored%s",
		         b->fed, set, head, k->set->n_passes == 0 && k->set->n_extents == 0 ? "its data" : "a part of its data",
		         b->n_sets > 1 || (b->n_sets == 1 && b->sets[0] != k->set) ? "; the sets before it are whole" : "");
	else if (k->phase == WANT_SET && k->state != SKIPPING)
		snprintf(w->missing, sizeof(w->missing), "it ends at byte %" PRIu64 ", where a set after set %u begins", b->fed, set);
	else
		snprintf(w->missing, sizeof(w->missing), "it ends at byte %" PRIu64 ", before the closing marks of set %u: all data is there, but "
		         "the upload is not complete", b->fed, set);
	return w->missing;
}

bool
bak_has_damage(const struct bak *b)
{
	return b->all_damage > 0;
}

const char *
bak_words_damaged(const struct bak *b)
{
	struct bak_words *w = words_of(b);

	if (b->n_damage == 0) /* what was listed lay in filler and was taken back; what is left was not listed */
		snprintf(w->damaged, sizeof(w->damaged), "damaged in %" PRIu64 " places", b->all_damage);
	else if (b->all_damage == 1)
		snprintf(w->damaged, sizeof(w->damaged), "damaged at %s", b->damage[0].text);
	else
		snprintf(w->damaged, sizeof(w->damaged), "damaged in %" PRIu64 " places, the first at %s", b->all_damage, b->damage[0].text);
	return w->damaged;
}

/* ---- findings --------------------------------------------------------------------------------------------------- */

static bool is_old(const struct bak_set *s) { return s->database_version > 0 && s->database_version < 611; }
static bool is_tde(const struct bak_set *s) { return s->tde; }
static bool is_simple(const struct bak_set *s) { return strcmp(s->recovery_model, "SIMPLE") == 0; }
static bool is_copy_only(const struct bak_set *s) { return s->copy_only; }
static bool is_tail(const struct bak_set *s) { return (s->flags & (BAK_FLAG_TAIL | BAK_FLAG_TAIL_NORECOVERY)) != 0; }
static bool is_tail_norecovery(const struct bak_set *s) { return (s->flags & BAK_FLAG_TAIL_NORECOVERY) != 0; }
static bool is_bulk_logged(const struct bak_set *s) { return (s->flags & BAK_FLAG_BULK_LOGGED) != 0; }
static bool is_damaged_at_source(const struct bak_set *s) { return (s->flags & BAK_FLAG_DAMAGED) != 0; }
static bool is_partial(const struct bak_set *s)
{
	return s->type != BAK_FULL && s->type != BAK_LOG && s->type != BAK_DIFFERENTIAL;
}
static bool has_other_files(const struct bak_set *s)
{
	for (size_t i = 0; i < s->n_files; i++)
		if (s->files[i].type == '?')
			return true;
	return false;
}

static bool is_encrypted(const struct bak *b) { return b->encrypted; }
static bool is_unknown(const struct bak *b) { return b->unknown; }
static bool is_too_old(const struct bak *b) { return b->old; }
static bool has_bad_content(const struct bak *b) { return b->all_damage > 0 || b->end == BAK_END_DAMAGED; }
static bool is_stripe(const struct bak *b) { return b->have_media && b->media.family_count > 1; }
static bool has_password(const struct bak *b)
{
	bool any = b->media.has_password;

	for (size_t i = 0; i < b->n_sets; i++)
		any = any || b->sets[i]->has_password;
	return any;
}
static bool is_cut_off(const struct bak *b) { return b->end == BAK_END_TRUNCATED; }
static bool has_trailing(const struct bak *b) { return b->end == BAK_END_TRAILING; }
static bool is_no_backup(const struct bak *b) { return b->container == BAK_OTHER; }

/*
 * memory-optimised is one of the fixed words and never said: which kind of file entry it has is not known, so
 * such files are found as "filestream", whose sentence says that it may be either.
 */
static const struct {
	const char *word;
	bool (*of_set)(const struct bak_set *s); /* one of the two */
	bool (*of_file)(const struct bak *b);
	const char *text;
} findings[] = {
	{ "not-a-backup", NULL, is_no_backup, "not a SQL Server backup" },
	{ "encrypted", NULL, is_encrypted, "taken with backup encryption: only a server that holds its certificate can restore it" },
	{ "tde", is_tde, NULL, "the database seems to be encrypted (TDE): the target needs its certificate first" },
	{ "newer-than-target", NULL, NULL, "taken by a newer SQL Server than the target, which cannot restore it" },
	{ "older-than-supported", is_old, is_too_old, "from SQL Server 2000 or older, which no server since 2012 can restore" },
	{ "unknown-version", NULL, is_unknown, "written in a way that this reader does not know" },
	{ "simple-recovery", is_simple, NULL, "recovery model SIMPLE: there can be no log backups, so the cutover needs a differential" },
	{ "copy-only", is_copy_only, NULL, "COPY_ONLY: no differential can follow it" },
	{ "tail", is_tail, NULL, "a tail-log backup" },
	{ "tail-norecovery", is_tail_norecovery, NULL, "taken WITH NORECOVERY: the source database is RESTORING since, nothing can change there" },
	{ "bulk-logged", is_bulk_logged, NULL, "holds bulk-logged changes: no stopping in the middle of it" },
	{ "damaged-at-source", is_damaged_at_source, NULL, "the database was damaged already when it was backed up" },
	{ "damaged-page", NULL, has_bad_content, "damaged: send it again, and if it stays so, take it again" },
	{ "stripe-member", NULL, is_stripe, "one file of several: all of them are needed" },
	{ "media-password", NULL, has_password, "has a password, which no SQL Server since 2012 restores" },
	{ "truncated", NULL, is_cut_off, "cut off" },
	{ "trailing-bytes", NULL, has_trailing, "bytes follow the backup that do not belong to it" },
	{ "partial-backup", is_partial, NULL, "a backup of files or of a part of the database only" },
	{ "filestream", has_other_files, NULL, "has files that are neither data nor log: FILESTREAM, memory-optimised or full-text" },
};

static bool
is_found(const struct bak *b, size_t k, uint16_t newest)
{
	bool found = findings[k].of_file != NULL && findings[k].of_file(b);

	for (size_t i = 0; i < b->n_sets && !found; i++)
		found = findings[k].of_set != NULL ? findings[k].of_set(b->sets[i])
		                                   : findings[k].of_file == NULL && newest > 0 && b->sets[i]->database_version > newest;
	return found;
}

const char *const *
bak_findings(TALLOC_CTX *parent, const struct bak *b, uint16_t newest, size_t *n)
{
	enum { ALL = sizeof(findings) / sizeof(findings[0]) };
	const char **out = talloc_array(parent, const char *, ALL);

	*n = 0;
	for (size_t k = 0; k < ALL; k++)
		if (is_found(b, k, newest))
			out[(*n)++] = findings[k].word;
	return out;
}

const char *
bak_finding_text(const char *word)
{
	for (size_t k = 0; k < sizeof(findings) / sizeof(findings[0]); k++)
		if (strcmp(findings[k].word, word) == 0)
			return findings[k].text;
	return "";
}
