/*
 * Reads a SQL Server backup as it streams by: what LABELONLY, HEADERONLY and FILELISTONLY would say,
 * whether pages and log are sound, and whether the file ends properly.
 *
 * Feed it the file from byte zero in pieces of any size. It never blocks, never touches the disk, keeps
 * at most 8 MiB of memory whatever the file says, and gives the same answer however the bytes were split.
 * Both containers are read: plain Microsoft Tape Format and compressed MSSQLBAK (version 2, SQL Server
 * 2014 and later). Values read from the head of the file (the MSCI block) are provisional: SQL Server 2019
 * and later change LSNs, finish date and sizes at the end (MSLS). bak_set.final tells which they are.
 *
 * The layout of SQL Server's own structures is not published. What is used here was read off 187 real
 * files of SQL Server 2005 to 2025 and agrees with what servers printed for some of them; a comment says
 * so where one witness or a guess is all there is. What a file cannot tell is "unknown", never invented.
 *
 * Every string in here is hostile text in valid UTF-8, at most BAK_NAME_MAX (BAK_PATH_MAX) characters.
 */
#ifndef LANDFALL_BAK_H
#define LANDFALL_BAK_H

#include <stdbool.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"
#include "common/lsn.h"

enum {
	BAK_NAME_MAX = 256,
	BAK_PATH_MAX = 520,
	BAK_SETS_MAX = 4096,   /* sets in one file */
	BAK_FILES_MAX = 32767, /* files of one database, SQL Server's own limit */
	BAK_EXTENTS_MAX = 1024, /* log extents kept one by one; beyond that only counted */
	BAK_DAMAGE_MAX = 64     /* places listed one by one; beyond that only counted */
};

enum bak_container {
	BAK_UNDECIDED, /* fewer bytes than a decision needs */
	BAK_MTF,       /* plain Microsoft Tape Format, "TAPE" */
	BAK_MSSQLBAK,  /* compressed or encrypted */
	BAK_OTHER,     /* not a backup */
};

/* What stands in HEADERONLY's BackupType. */
enum bak_type {
	BAK_TYPE_UNKNOWN = 0,
	BAK_FULL = 1,
	BAK_LOG = 2,
	BAK_FILE = 4,
	BAK_DIFFERENTIAL = 5,
	BAK_FILE_DIFFERENTIAL = 6,
	BAK_PARTIAL = 7,
	BAK_PARTIAL_DIFFERENTIAL = 8,
};

/* HEADERONLY.Flags, documented bits; the two last are undocumented and seen. */
enum bak_flag {
	BAK_FLAG_BULK_LOGGED = 0x1,
	BAK_FLAG_SNAPSHOT = 0x2,
	BAK_FLAG_READ_ONLY = 0x4,
	BAK_FLAG_SINGLE_USER = 0x8,
	BAK_FLAG_CHECKSUMS = 0x10,
	BAK_FLAG_DAMAGED = 0x20,
	BAK_FLAG_TAIL = 0x40,
	BAK_FLAG_INCOMPLETE_METADATA = 0x80,
	BAK_FLAG_TAIL_NORECOVERY = 0x100, /* IsForceOffline: the source is RESTORING since this backup */
	BAK_FLAG_COPY_ONLY = 0x400,
	BAK_FLAG_DIFFERENTIAL = 0x800,
};

/* Source's local time without zone, as the file has it. year 0: none. */
struct bak_date {
	uint16_t year;
	uint8_t month, day, hour, minute, second;
};
struct bak_date_text { char s[24]; };
struct bak_date_text bak_date_text(struct bak_date d); /* 2019-05-02T21:00:55, "" for none */
int bak_date_compare(struct bak_date a, struct bak_date b);

struct bak_media {
	const char *name, *description, *software;
	struct guid media_set_id;
	uint32_t media_family_id;
	uint16_t family_count, family_number; /* stripes: this file is family_number of family_count */
	uint16_t media_sequence, mirror_count, vendor, logical_block_size, sfmb_units;
	struct bak_date date;
	bool has_password;
};

struct bak_file {
	uint32_t file_id, group_id, page_size, sector_size;
	uint32_t pages; /* of this file in the pass that follows (all stripes together) */
	char type;      /* D data, L log, ? another kind (FILESTREAM, memory-optimised or full-text: which is not known) */
	const char *logical_name, *physical_name, *group_name; /* group_name NULL for the log */
	uint64_t size, max_size, growth;
	bool growth_is_percent;
	struct lsn create_lsn, drop_lsn, differential_base_lsn;
	struct guid differential_base_guid, unique_id;
	struct lsn first_lsn, last_lsn, checkpoint_lsn; /* the set's, repeated per file */
	/* As the head of the set had them: the end counts the second pass and names this very set as base. */
	uint32_t head_pages;
	struct lsn head_base_lsn;
	struct guid head_base_guid;
};

struct bak_pages {
	uint64_t total;     /* pages that were announced and went by */
	uint64_t checked;   /* had a checksum or torn bits, and were looked at */
	uint64_t sums_ok, torn_ok, bad;
	uint64_t zero, foreign, unprotected; /* nothing to check: empty, another page's remains, no protection */
};

struct bak_log_extent {
	uint64_t start, end, vlf_start, vlf_size;
	uint32_t vlf_seq, blocks; /* blocks 0 where they were not walked */
	uint16_t log_file_id;
	uint8_t parity;
};

struct bak_set {
	bool final; /* values come from the end of the set */
	uint64_t offset, file_offset; /* of SSET in the backup; in the file, where a compressed one has it elsewhere */
	uint32_t sset_attributes;
	uint16_t position, vendor;
	const char *name, *description, *user, *machine, *device;
	bool has_password;
	struct guid backup_set_guid;
	struct bak_date expiration;
	int8_t time_zone; /* of the server, quarter hours */

	enum bak_type type;
	char type_char; /* D I L F G P Q as in msdb */
	uint32_t flags; /* enum bak_flag */
	bool copy_only;
	uint8_t software_major, software_minor;
	uint16_t software_build;
	struct lsn first_lsn, last_lsn, checkpoint_lsn, database_backup_lsn;
	struct lsn differential_base_lsn, fork_lsn, fork1_lsn, log_chain_origin, next_log_lsn;
	struct guid binding_id, recovery_fork_id, fork1_id, family_guid;
	struct guid differential_base_guid, database_backup_guid;
	struct guid first_recovery_fork_id; /* derived; equals recovery_fork_id where no fork is spanned */
	struct lsn fork_point_lsn;          /* derived; none where no fork is spanned */
	struct bak_date database_created, start, finish; /* finish: none while provisional */
	const char *database, *server;
	uint8_t sort_order, compat_level;
	uint16_t database_id, database_version;
	uint32_t locale_id, comparison_style, database_status, transfer_size;
	uint8_t collation[5];
	uint64_t backup_size, compressed_size; /* bytes of all stripes together */
	const char *recovery_model; /* FULL, BULK-LOGGED, SIMPLE */
	bool begins_log_chain;
	bool tde;                    /* inferred: the allocation maps are there and cannot be read; no sample was at hand */
	uint32_t unknown_structures; /* in the catalogue, skipped */

	struct bak_file *files;
	size_t n_files, room_files;
	struct bak_pages pages[2]; /* one per pass over the data; 2019 and later make two */
	size_t n_passes;
	uint64_t data_bytes, log_bytes; /* bytes of pages and of log in this member */
	struct bak_log_extent *extents; /* the first BAK_EXTENTS_MAX */
	size_t n_extents;               /* all of them */
	uint64_t log_blocks, log_bad;   /* blocks walked, and what was wrong with them */
	uint32_t csum_streams, csum_bad; /* BACKUP WITH CHECKSUM sums met, and wrong ones */
	struct bak_set *head; /* the provisional values of the newest set once final ones are there; else NULL */
};

enum bak_damage_kind {
	BAK_BAD_PAGE,
	BAK_BAD_SUM,      /* the backup's own checksum (WITH CHECKSUM) */
	BAK_BAD_LOG,      /* a log block, or a hole between FirstLSN and LastLSN */
	BAK_CONTRADICTION /* parts of the backup disagree: header with boot page, header with its copies */
};

/* One damaged place. Sums and pages are what the file says (expected) and what its bytes give (found). */
struct bak_damage {
	enum bak_damage_kind kind;
	uint16_t position;     /* of the set */
	uint8_t pass;
	uint32_t file_id, page_id;
	uint64_t offset;       /* in the backup, unpacked where it is compressed */
	uint64_t file_offset;  /* in the file: the same, or where the compressed record begins */
	uint32_t expected, found;
	char text[240];        /* the whole of it for a person */
};

/* What a compressed file is made of. */
struct bak_records {
	uint64_t data, padding, indexes;
};

enum bak_end {
	BAK_END_OPEN,      /* not at the end yet */
	BAK_END_WHOLE,     /* ends properly */
	BAK_END_TRUNCATED, /* ends inside something; bak_why says where and what is missing */
	BAK_END_TRAILING,  /* proper end, then bytes that do not belong to a backup */
	BAK_END_DAMAGED,   /* structure broken at a place, or pages bad */
	BAK_END_OTHER,     /* not a backup, or one that is not read (compressed, unknown) */
};

/*
 * Optional: gets the content as it passes. Used by whoever needs pages or log bytes themselves (the
 * stand-in server writes them into its data files). Called in file order; memory valid for the call.
 */
struct bak_sink {
	void *ctx;
	/* A run of page bytes (multiple of nothing: any split), offset within this pass's data of this member. */
	void (*page_bytes)(void *ctx, const struct bak_set *set, unsigned pass, uint64_t offset,
	                   const void *mem, size_t len);
	/* Log bytes of the set's log extent of that number, which may lie beyond those kept. */
	void (*log_bytes)(void *ctx, const struct bak_set *set, size_t extent, uint64_t offset, const void *mem,
	                  size_t len);
};

struct bak;

/* Owned by parent; talloc_free is the only clean-up there is. sink may be NULL and is borrowed. */
struct bak *bak_new(TALLOC_CTX *parent, const struct bak_sink *sink);

/* False fills err (ERR_BROKEN) once the bytes cannot be a sound backup; further feeding is harmless and
 * keeps saying so. The sets read until then stay readable. */
bool bak_feed(struct bak *bak, const void *mem, size_t len, struct err *err);

/* There are no more bytes. Decides the end. May be called once; afterwards only the getters. */
enum bak_end bak_finish(struct bak *bak);

enum bak_container bak_container(const struct bak *bak);
enum bak_end bak_end(const struct bak *bak);
/* Of BAK_END_TRUNCATED: the position of the set in which the bytes end. Its header may not be known: then it is more than bak_n_sets. */
unsigned bak_cut_set(const struct bak *bak);
bool bak_is_whole(const struct bak *bak); /* BAK_END_WHOLE: would be so if the bytes ended here, before bak_finish too */
bool bak_ends_properly(const struct bak *bak); /* its structure is there to the end, whatever its content is worth */
const char *bak_why(const struct bak *bak); /* NULL, or a sentence for a person; while open: what would be missing */
uint64_t bak_bytes(const struct bak *bak);  /* fed so far */
const struct bak_media *bak_media(const struct bak *bak); /* NULL until known */
size_t bak_n_sets(const struct bak *bak);   /* sets whose header is known, provisional ones included */
const struct bak_set *bak_set(const struct bak *bak, size_t i);

const struct bak_records *bak_records(const struct bak *bak); /* NULL for what is not compressed */

/* Damaged places so far: the first n of all. */
const struct bak_damage *bak_damage(const struct bak *bak, size_t *n, uint64_t *all);
/* The first damage of that kind in the set at that position, or NULL. */
const struct bak_damage *bak_first_damage(const struct bak *bak, enum bak_damage_kind kind, unsigned position);

/*
 * Findings in fixed words (encrypted, tail-norecovery, simple-recovery, damaged-page, …), each at
 * most once, in a fixed order; over all sets so far. newest is the newest database version that the
 * target can restore, 0 when that is not asked. Returns a talloc array of literals, *n its length.
 */
const char *const *bak_findings(TALLOC_CTX *parent, const struct bak *bak, uint16_t newest, size_t *n);

/* One sentence on a finding, for a person: what it means and what to do. */
const char *bak_finding_text(const char *word);

/* The database version (DatabaseVersion, 904) of a release (2019, "15", "15.0.2000"); 0 when it is not known. */
uint16_t bak_version_of(const char *release);
/* "SQL Server 2019"; "" when the version is not known. */
const char *bak_release_of(uint16_t database_version);

/* What a non-backup looks like: "a zip archive", "text", …; with what to send instead. NULL for a backup. */
const char *bak_other_what(const struct bak *bak);

const char *bak_type_word(enum bak_type type); /* full, differential, log, file, … */

#endif
