#include "common/bak_parts.h"

#include <stddef.h>

/*
 * A set at its end: what the head said, what the end says, what page (1:9) says and what went by must agree.
 * The catalogue has no checksum of its own; these comparisons are what finds damage there.
 */

enum kind { BYTES, LSN, TEXT };

/* Equal at head and end in all 193 sets at hand, so a difference is damage. Names are those of HEADERONLY where it has one. */
static const struct {
	const char *name;
	enum kind kind;
	size_t at, size;
	bool of_full; /* the full that a log's database had last */
} settled[] = {
#define ROW(name, kind, field, of_full) { name, kind, offsetof(struct bak_set, field), sizeof(((struct bak_set *)0)->field), of_full }
#define F(name, kind, field) ROW(name, kind, field, false)
#define OF_FULL(name, kind, field) ROW(name, kind, field, true)
	F("DatabaseName", TEXT, database), F("ServerName", TEXT, server), F("BackupType", BYTES, type_char),
	F("SoftwareVersionMajor", BYTES, software_major), F("SoftwareVersionMinor", BYTES, software_minor),
	F("SoftwareVersionBuild", BYTES, software_build), OF_FULL("DatabaseBackupLSN", LSN, database_backup_lsn),
	F("DatabaseCreationDate", BYTES, database_created), F("BackupStartDate", BYTES, start), F("SortOrder", BYTES, sort_order),
	F("CompatibilityLevel", BYTES, compat_level), F("the database id", BYTES, database_id),
	F("DatabaseVersion", BYTES, database_version), F("UnicodeLocaleId", BYTES, locale_id),
	F("UnicodeComparisonStyle", BYTES, comparison_style), F("BindingID", BYTES, binding_id),
	F("RecoveryForkID", BYTES, recovery_fork_id), F("the fork before it", BYTES, fork1_id),
	OF_FULL("the GUID of the last full", BYTES, database_backup_guid), F("Collation", BYTES, collation),
	F("FamilyGUID", BYTES, family_guid), F("the transfer size", BYTES, transfer_size),
	F("DifferentialBaseLSN", LSN, differential_base_lsn), F("DifferentialBaseGUID", BYTES, differential_base_guid),
#undef OF_FULL
#undef F
#undef ROW
};

static bool
is_equal(enum kind kind, const char *a, const char *b, size_t size)
{
	switch (kind) {
	case TEXT:
		return strcmp(*(const char *const *)(const void *)a, *(const char *const *)(const void *)b) == 0;
	case LSN:
		return lsn_compare(*(const struct lsn *)(const void *)a, *(const struct lsn *)(const void *)b) == 0;
	case BYTES:
		break;
	}
	return memcmp(a, b, size) == 0;
}

static void
compare_ends(struct bak *b, const struct bak_set *head, const struct bak_set *s)
{
	/* What the server may still learn while it reads: bulk-logged data, damage, missing metadata. */
	const uint32_t learned = BAK_FLAG_BULK_LOGGED | BAK_FLAG_DAMAGED | BAK_FLAG_INCOMPLETE_METADATA;
	/* Logs are backed up while a full runs. One that ends meanwhile moves both on, its LSN and its GUID. */
	bool other_full = s->type == BAK_LOG && lsn_compare(s->database_backup_lsn, head->database_backup_lsn) > 0 &&
	                  !guid_equal(s->database_backup_guid, head->database_backup_guid);

	for (size_t i = 0; i < sizeof(settled) / sizeof(settled[0]); i++) {
		const char *was = (const char *)head + settled[i].at, *is = (const char *)s + settled[i].at;

		if (!is_equal(settled[i].kind, was, is, settled[i].size) && !(other_full && settled[i].of_full))
			bak_report(b, BAK_CONTRADICTION, s->offset, "%s differs between the head and the end of set %u", settled[i].name,
			           s->position);
	}
	if ((head->flags & ~learned) != (s->flags & ~learned))
		bak_report(b, BAK_CONTRADICTION, s->offset, "Flags differ between the head and the end of set %u: 0x%X and 0x%X", s->position,
		           head->flags, s->flags);
	if (b->walk.file_index != s->n_files)
		bak_report(b, BAK_CONTRADICTION, s->offset, "the end of set %u lists %zu files, its head %zu", s->position,
		           b->walk.file_index, s->n_files);
}

/*
 * Each file entry repeats the set's first, last and checkpoint LSN, and the fork list its last one; so at head and
 * end of all sets at hand.
 */
void
bak_set_compare_copies(struct bak *b, const struct bak_set *s)
{
	bool good = lsn_is_null(s->fork_lsn) || lsn_compare(s->fork_lsn, s->last_lsn) == 0;

	for (size_t i = 0; i < s->n_files; i++)
		good = good && lsn_compare(s->files[i].first_lsn, s->first_lsn) == 0 &&
		       lsn_compare(s->files[i].last_lsn, s->last_lsn) == 0 && lsn_compare(s->files[i].checkpoint_lsn, s->checkpoint_lsn) == 0;
	if (!good)
		bak_report(b, BAK_CONTRADICTION, s->offset, "FirstLSN, LastLSN or CheckpointLSN differ from their copies in the file list in the %s of "
		           "set %u", s->final ? "end" : "head", s->position);
}

/*
 * From the end of a full on each data file has a new base for differentials: this very set. Where it keeps the
 * one it had, as in COPY_ONLY, nothing can be said.
 */
static void
compare_bases(struct bak *b, const struct bak_set *s)
{
	for (size_t i = 0; s->type == BAK_FULL && i < s->n_files; i++) {
		const struct bak_file *f = &s->files[i];
		bool kept = guid_equal(f->differential_base_guid, f->head_base_guid) && lsn_compare(f->differential_base_lsn, f->head_base_lsn) == 0;
		bool own = guid_equal(f->differential_base_guid, s->backup_set_guid) && lsn_compare(f->differential_base_lsn, s->checkpoint_lsn) == 0;

		if (f->type == 'D' && !kept && !own)
			bak_report(b, BAK_CONTRADICTION, s->offset, "file %u has neither its old base nor BackupSetGUID and CheckpointLSN of set %u as base of "
			           "the next differential", f->file_id, s->position);
	}
}

/* The boot page's name is filled up with U+2020 or keeps the end of an older one; its case may differ. Only ASCII is compared. */
static bool
is_named(const uint8_t *boot, const char *name)
{
	for (size_t i = 0; name[i] != '\0' && i < 128; i++) {
		unsigned c = (unsigned char)name[i], unit = u16_at(boot, 256, 2 * i);

		if (c >= 0x80 || unit >= 0x80)
			return true;
		if ((c | (c >= 'A' && c <= 'Z' ? 0x20 : 0)) != (unit | (unit >= 'A' && unit <= 'Z' ? 0x20 : 0)))
			return false;
	}
	return true;
}

/*
 * Page (1:9) against the header. Neither is believed over the other. The checkpoint in the header is later
 * than the page's from 2019 on, where the page was copied before the backup's end.
 */
static void
compare_boot_page(struct bak *b, const struct bak_set *s, const struct bak_boot *p)
{
	const struct { const char *what; bool agrees; } checks[] = {
		{ "DatabaseVersion", p->version == s->database_version },
		{ "CompatibilityLevel", p->compat_level == s->compat_level },
		{ "DatabaseName", is_named(p->name, s->database) },
		{ "FamilyGUID", guid_equal(p->family, s->family_guid) },
		{ "RecoveryForkID", guid_equal(p->fork, s->recovery_fork_id) },
		{ "DatabaseBackupLSN", lsn_compare(p->database_backup_lsn, s->database_backup_lsn) == 0 },
		{ "the GUID of the last full", guid_equal(p->database_backup_guid, s->database_backup_guid) },
		{ "the fork before this one", lsn_compare(p->fork1_lsn, s->fork1_lsn) == 0 && guid_equal(p->fork1, s->fork1_id) },
		{ "CheckpointLSN", lsn_compare(p->checkpoint_lsn, s->checkpoint_lsn) <= 0 },
	};

	for (size_t i = 0; p->seen && i < sizeof(checks) / sizeof(checks[0]); i++)
		if (!checks[i].agrees)
			bak_report(b, BAK_CONTRADICTION, p->offset, "%s on the database's boot page (1:9) is not what the header of set %u says",
			           checks[i].what, s->position);
}

uint64_t
bak_announced_pages(const struct bak_set *s, bool at_head)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->n_files; i++)
		if (s->files[i].type != 'L')
			n += at_head ? s->files[i].head_pages : s->files[i].pages;
	return n;
}

/* Fewer pages than the head announced for the first pass: some were cut out. Stripes share the pages out. */
static void
count_pages(struct bak *b, const struct bak_set *s)
{
	uint64_t announced = bak_announced_pages(s, true);

	if (b->media.family_count == 1 && s->n_passes > 0 && s->data_bytes / PAGE_SIZE_BYTES < announced)
		bak_report(b, BAK_CONTRADICTION, s->offset, "the head of set %u announces %llu pages and %llu are there", s->position,
		           (unsigned long long)announced, (unsigned long long)(s->data_bytes / PAGE_SIZE_BYTES));
}

void
bak_set_judge(struct bak *b, const struct bak_set *head)
{
	struct bak_set *s = b->walk.set;

	/* The head and not the end tells what the first pass holds; before MSLS nothing tells what the second does. */
	if (s->n_passes > 0)
		bak_checker_cut(b, bak_announced_pages(s, s->n_passes == 1));
	s->tde = b->walk.checker.tde;
	compare_ends(b, head, s);
	bak_set_compare_copies(b, s);
	compare_bases(b, s);
	count_pages(b, s);
	for (size_t i = 0; i < s->n_passes; i++)
		compare_boot_page(b, s, &b->walk.boots[i]);
	bak_log_judge(b);
}
