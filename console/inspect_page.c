#include "console/inspect_page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bak_columns.h"
#include "common/text.h"

/* Header strings are hostile: nothing of a backup reaches a terminal unescaped. */
static const char *
safe(TALLOC_CTX *mem, const char *s)
{
	return text_shown(mem, s == NULL ? "" : s);
}

/* "UTC+05:30" from quarter hours. */
static const char *
zone(TALLOC_CTX *mem, int quarters)
{
	int minutes = abs(quarters) * 15;

	return talloc_asprintf(mem, "UTC%c%02d:%02d", quarters < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

static const char *
day_time(TALLOC_CTX *mem, struct bak_date d)
{
	char *s = talloc_strdup(mem, bak_date_text(d).s);

	if (s[0] != '\0')
		s[10] = ' ';
	return s;
}

static void
print_when(TALLOC_CTX *mem, const struct bak_set *s)
{
	const char *release = bak_release_of(s->database_version);

	printf("    taken     %s to %s (%s) by %s\n", day_time(mem, s->start), s->finish.year == 0 ? "?" : day_time(mem, s->finish),
	       zone(mem, s->time_zone), safe(mem, s->user));
	printf("    server    SQL Server %s%s%u.%u.%u, database version %u, compatibility level %u, recovery model %s\n", release,
	       release[0] == '\0' ? "" : ", ", s->software_major, s->software_minor, s->software_build, s->database_version, s->compat_level,
	       s->recovery_model);
}

static void
print_chain(const struct bak_set *s)
{
	printf("    LSN       %s to %s", lsn_text(s->first_lsn).s, lsn_text(s->last_lsn).s);
	if (s->type != BAK_LOG)
		printf(", checkpoint %s", lsn_text(s->checkpoint_lsn).s);
	if (s->begins_log_chain)
		printf(", begins the log chain");
	putchar('\n');
	if (s->type == BAK_DIFFERENTIAL)
		printf("    base      the full with backup set %s\n", guid_text(s->differential_base_guid).s);
}

static void
print_files(TALLOC_CTX *mem, const struct bak_set *s)
{
	uint64_t all = 0, log = 0;

	for (size_t i = 0; i < s->n_files; i++) {
		all += s->files[i].size;
		log += s->files[i].type == 'L' ? s->files[i].size : 0;
	}
	printf("    size      %s once restored: data %s, log %s", text_size(all).s, text_size(all - log).s, text_size(log).s);
	printf("; backup %s%s%s\n", text_size(s->backup_size).s, s->compressed_size < s->backup_size ? ", compressed to " : "",
	       s->compressed_size < s->backup_size ? text_size(s->compressed_size).s : "");
	for (size_t i = 0; i < s->n_files; i++)
		printf("    file %-4u %c %-10s %s (%s)\n", s->files[i].file_id, s->files[i].type, text_size(s->files[i].size).s,
		       safe(mem, s->files[i].logical_name), safe(mem, s->files[i].physical_name));
}

static void
print_checks(const struct bak_set *s)
{
	const struct bak_pages *p = s->pages;
	uint64_t checked = p[0].checked + p[1].checked, bad = p[0].bad + p[1].bad;
	uint64_t rest = p[0].zero + p[0].foreign + p[0].unprotected + p[1].zero + p[1].foreign + p[1].unprotected;

	printf("    checked  ");
	if (s->n_passes > 0)
		printf(" %" PRIu64 " pages, %" PRIu64 " bad, %" PRIu64 " without anything to check;", checked, bad, rest);
	printf(" %" PRIu64 " log blocks, %" PRIu64 " bad", s->log_blocks, s->log_bad);
	if (s->csum_streams > 0)
		printf("; %u backup checksums, %u bad", s->csum_streams, s->csum_bad);
	putchar('\n');
	if (s->unknown_structures > 0)
		printf("    note      %u structures in the catalogue that are not known here were passed over\n", s->unknown_structures);
}

static void
print_set(TALLOC_CTX *mem, const struct bak_set *s)
{
	printf("  set %u: %s backup of [%s] from %s%s\n", s->position, bak_type_word(s->type), safe(mem, s->database),
	       safe(mem, s->server), s->final ? "" : "  (provisional: its end was not read)");
	print_when(mem, s);
	print_chain(s);
	print_files(mem, s);
	print_checks(s);
}

static void
print_findings(TALLOC_CTX *mem, const struct bak *b, uint16_t newest)
{
	const struct bak_damage *d;
	const char *const *findings;
	uint64_t all;
	size_t n;

	findings = bak_findings(mem, b, newest, &n);
	for (size_t i = 0; i < n; i++)
		printf("  ! %-20s %s\n", findings[i], bak_finding_text(findings[i]));
	d = bak_damage(b, &n, &all);
	for (size_t i = 0; i < n; i++)
		printf("  ! %s\n", d[i].text);
	if (all > n)
		printf("  ! and %" PRIu64 " more places\n", all - n);
}

void
inspect_page(const struct inspected *f, uint16_t newest)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const struct bak *b = f->bak;
	const struct bak_media *m = b == NULL ? NULL : bak_media(b);

	if (b == NULL) {
		printf("%s\n  %s\n", safe(mem, f->name), safe(mem, f->trouble));
		talloc_free(mem);
		return;
	}
	printf("%s  %s, %s%s\n", safe(mem, f->name), text_size(bak_bytes(b)).s, bak_records(b) != NULL ? "compressed, " : "",
	       bak_is_whole(b) ? "whole and sound" : "NOT SOUND");
	if (bak_why(b) != NULL)
		printf("  %s\n", safe(mem, bak_why(b)));
	print_findings(mem, b, newest);
	if (m != NULL && m->family_count > 1)
		printf("  stripe %u of %u, media set %s\n", m->family_number, m->family_count, guid_text(m->media_set_id).s);
	for (size_t k = 0; k < bak_n_sets(b); k++)
		print_set(mem, bak_set(b, k));
	talloc_free(mem);
}

/* ---- the raw tables -------------------------------------------------------------------------------------------- */

static const char *
value_text(TALLOC_CTX *mem, json_t *v)
{
	char *s;

	if (json_is_null(v))
		s = talloc_strdup(mem, "NULL");
	else if (json_is_boolean(v))
		s = talloc_strdup(mem, json_is_true(v) ? "1" : "0");
	else if (json_is_integer(v))
		s = talloc_asprintf(mem, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else
		s = text_shown(mem, json_string_value(v));
	json_decref(v);
	return s;
}

static void
print_table(const struct bak *b, enum bak_statement statement, const struct bak_set *set, const struct bak_file *file)
{
	static const char *const settled[] = { [BAK_AT_HEAD] = "final", [BAK_AT_END] = "final", [BAK_UNKNOWN] = "unknown" };
	TALLOC_CTX *mem = talloc_new(NULL);
	size_t n;
	const struct bak_column *c = bak_columns(statement, &n);

	for (size_t i = 0; i < n; i++) {
		bool open = c[i].settles == BAK_AT_END && set != NULL && !set->final;

		printf("    %-24s %-40s %-11s %s\n", c[i].name, value_text(mem, bak_column_value(&c[i], statement, b, set, file)),
		       open ? "provisional" : settled[c[i].settles], c[i].source);
	}
	talloc_free(mem);
}

void
inspect_columns(const struct inspected *f)
{
	TALLOC_CTX *mem = talloc_new(NULL);

	printf("%s\n", safe(mem, f->name));
	talloc_free(mem);
	if (f->bak == NULL || bak_media(f->bak) == NULL) {
		puts("  no media header could be read");
		return;
	}
	puts("  LABELONLY");
	print_table(f->bak, BAK_LABELONLY, NULL, NULL);
	for (size_t i = 0; i < bak_n_sets(f->bak); i++) {
		const struct bak_set *s = bak_set(f->bak, i);

		printf("  HEADERONLY, set %u\n", s->position);
		print_table(f->bak, BAK_HEADERONLY, s, NULL);
		for (size_t k = 0; k < s->n_files; k++) {
			printf("  FILELISTONLY, set %u, file %u\n", s->position, s->files[k].file_id);
			print_table(f->bak, BAK_FILELISTONLY, s, &s->files[k]);
		}
	}
}
