/*
 * The parts of the backup reader that its files share. Only common/bak*.c includes this.
 *
 * bak.c takes the bytes and decides what they are. For a compressed file bak_compressed.c unpacks them.
 * bak_walk.c walks the tape format; bak_catalog.c reads what describes a set, bak_pages.c and bak_log.c
 * check what it carries, bak_set.c judges a set at its end. bak_words.c says it in words.
 */
#ifndef LANDFALL_BAK_PARTS_H
#define LANDFALL_BAK_PARTS_H

#include <string.h>

#include "common/bak.h"
#include "common/bak_xpress.h"
#include "common/bytes.h"

enum {
	SECTOR = 512,
	PAGE_SIZE_BYTES = 8192,
	EXTENT_PAGES = 8,
	EXTENT_SIZE = PAGE_SIZE_BYTES * EXTENT_PAGES,
	SNIFF = 4096,             /* first bytes of what is no backup, kept to name it */
	KEPT_MAX = 5 << 20,       /* memory for sets, files and names */
	SNAPSHOTS = 64,           /* extents of filler that can be taken back */
	OLDEST_MAJOR = 9,         /* SQL Server 2005 */
	NEWEST_MAJOR = 17,        /* SQL Server 2025 */
};

/*
 * The sum SQL Server uses for pages and for BACKUP WITH CHECKSUM: for each sector of 512 bytes the XOR of
 * its 128 little-endian words, folded in after rotating what was there left by one bit.
 */
uint32_t bak_sum(uint32_t sum, const void *mem, size_t sectors);

/* Fields at fixed places; what lies outside reads as zero. */
static inline struct bytes
bytes_at(const void *mem, size_t len, size_t offset)
{
	struct bytes b = bytes_of(mem, len);

	bytes_seek(&b, offset);
	return b;
}
static inline uint16_t u16_at(const uint8_t *m, size_t len, size_t o) { struct bytes b = bytes_at(m, len, o); return bytes_u16(&b); }
static inline uint32_t u32_at(const uint8_t *m, size_t len, size_t o) { struct bytes b = bytes_at(m, len, o); return bytes_u32(&b); }
static inline uint64_t u64_at(const uint8_t *m, size_t len, size_t o) { struct bytes b = bytes_at(m, len, o); return bytes_u64(&b); }
static inline uint8_t u8_at(const uint8_t *m, size_t len, size_t o) { return o < len ? m[o] : 0; }
struct lsn bak_lsn_at(const uint8_t *m, size_t len, size_t o);
struct guid bak_guid_at(const uint8_t *m, size_t len, size_t o);
struct bak_date bak_date_at(const uint8_t *m, size_t len, size_t o);
/*
 * The text a {u16 bytes, u16 offset} pair at o points to; what lies outside the structure reads as empty.
 * Where it equals same (may be NULL) that is given back: sets of one file repeat their names.
 */
const char *bak_text_at(struct bak *b, const uint8_t *m, size_t len, size_t o, size_t max_chars, const char *same);

/* ---- pages ------------------------------------------------------------------------------------------- */

/* What page (1:9) says of its database, for comparing with the header. */
struct bak_boot {
	bool seen;
	uint64_t offset;
	uint16_t version, compat_level;
	uint8_t name[256]; /* UTF-16, filled up with U+2020 or older text */
	struct lsn database_backup_lsn, checkpoint_lsn, fork1_lsn;
	struct guid family, fork, fork1, database_backup_guid;
};

/* Checks the pages of one pass, extent by extent in file order. */
struct bak_checker {
	struct bak_pages *pages;
	uint32_t last_file, last_base; /* identity of the extent before: extents ascend */
	bool any;
	uint32_t blank;      /* extents since then that do not say which they are: nothing but zeros */
	uint64_t blank_at;   /* where the first of them is */
	uint8_t pfs[PAGE_SIZE_BYTES]; /* the current page free space map: which pages are allocated */
	uint32_t pfs_file, pfs_page;
	bool have_pfs;
	unsigned maps, dark_maps; /* allocation maps met, and those whose body is no map */
	bool tde;
	uint64_t extents_done;
	struct bak_pages marks[SNAPSHOTS]; /* the counts after each of the newest extents, to take filler back */
};
void bak_checker_begin(struct bak *b, struct bak_pages *pages);
/* mem holds n_pages whole pages (8 but for a broken end); offset is theirs in the backup. */
void bak_checker_extent(struct bak *b, const uint8_t *mem, size_t n_pages, uint64_t offset);
/* Only so many pages of the pass were announced: what was counted beyond them is taken back. */
void bak_checker_cut(struct bak *b, uint64_t pages);

/* ---- log ---------------------------------------------------------------------------------------------- */

/* Walks the blocks of one log extent after the other. */
struct bak_log_walk {
	struct bak_log_extent extent; /* the current one */
	bool open;                    /* an extent was announced and its log follows */
	uint64_t done;                /* bytes of it that went by */
	uint32_t sectors, sector;     /* of the current block; sectors 0: between blocks */
	bool lost;                    /* the blocks do not hang together: the rest of this extent is not walked */
	bool any;                     /* the set has an extent; first is it */
	struct bak_log_extent first;
};
/* A block announces that this extent of the log follows. */
bool bak_log_extent(struct bak *b, const struct bak_log_extent *e);
/* The extent before is over: all its bytes came, or that is damage. */
void bak_log_end(struct bak *b);
/* The stream of its bytes begins; len is what the stream holds of it. */
void bak_log_begin(struct bak *b, uint64_t len);
/* Whole sectors but for a broken end; at is the place of mem in the backup. */
void bak_log_bytes(struct bak *b, const uint8_t *mem, size_t len, uint64_t at);
/* The set is over: does the log reach from FirstLSN to LastLSN? */
void bak_log_judge(struct bak *b);

/* ---- the walk over the tape format --------------------------------------------------------------------- */

enum walk_state {
	AT_BLOCK,       /* collecting a block's header */
	IN_BLOCK,       /* collecting the rest of the block */
	AT_STREAM,      /* collecting a stream's header */
	IN_STREAM,      /* collecting a small stream */
	AT_TAG,         /* collecting the head of a structure in the catalogue */
	IN_TAG,         /* collecting the structure */
	IN_FILLER,      /* two bytes before page or log data */
	IN_DATA,        /* pages or log, in pieces */
	SKIPPING,
};

/* What may come next, to know a proper end and to refuse nonsense. */
enum walk_phase { WANT_TAPE, WANT_FIRST_MARK, WANT_SET, IN_SET, WANT_MARK, IN_END, WANT_LAST_MARK };

struct bak_walk {
	enum walk_state state, after_skip;
	enum walk_phase phase;
	uint64_t at;   /* bytes consumed, of the unpacked backup */
	uint8_t *buf;  /* collecting */
	size_t have, need, room;
	uint64_t left; /* of what is skipped or passed */

	char block[5], stream[5];
	uint64_t block_at, stream_len, catalog_left, tag_left;
	uint16_t first_event, stream_flags;
	uint32_t blocks_in_set;
	unsigned ends_seen, idle_blocks;
	bool whole;    /* the file may properly end here */

	struct bak_set *set; /* the current one */
	struct bak_date begun; /* as its first block says, with the version of the server */
	uint8_t major, minor;
	const char *group;   /* the filegroup that the next files belong to */
	uint32_t group_id;
	bool described;      /* the current catalogue has had its SCIN */
	size_t file_index;   /* of the next SFIN */
	uint64_t pass_done, stream_done; /* bytes of pages or log of this block, of this stream */
	bool sums_due;       /* a CSUM stream must follow */
	unsigned chunks;     /* data streams of this block */
	uint32_t block_sum, stream_sum;
	struct bak_checker checker;
	struct bak_log_walk log;
	struct bak_boot boots[2]; /* one per pass over the data */
};

void bak_walk_begin(struct bak *b);
void bak_walk_feed(struct bak *b, const uint8_t *mem, size_t len);
/* Nothing of a next block has come. */
bool bak_walk_is_between(const struct bak *b);

/* ---- the catalogue ------------------------------------------------------------------------------------- */

/* One structure {4 letters, u32 length}; m may hold less than its length where that is beyond any real one. */
bool bak_catalog_begin(struct bak *b);
bool bak_catalog_tag(struct bak *b, const uint8_t *m, size_t len);
bool bak_catalog_end(struct bak *b);

/* Pages announced for the pass that follows MSCI or came before MSLS; all stripes together. */
uint64_t bak_announced_pages(const struct bak_set *s, bool at_head);

/* The set's provisional catalogue was read, or its final one: what stands in it more than once must agree. */
void bak_set_compare_copies(struct bak *b, const struct bak_set *s);
/* The set's final catalogue was read: everything it says is held against everything that went by. */
void bak_set_judge(struct bak *b, const struct bak_set *head);

/* ---- compressed files -------------------------------------------------------------------------------------- */

struct bak_front;
struct bak_front *bak_front_new(struct bak *b);
/* Nothing is fed any more. */
void bak_front_end(struct bak_front *f);
void bak_front_feed(struct bak *b, const uint8_t *mem, size_t len);
/* Nothing of a record has come yet: the place where the file may end. */
bool bak_front_is_between(const struct bak_front *f);
/* A packed record has begun and not ended. */
bool bak_front_is_packed(const struct bak_front *f);
/* Where the record begins that is being unpacked, or has begun to come. */
uint64_t bak_front_record(const struct bak_front *f);
const struct bak_records *bak_front_records(const struct bak_front *f);

/* ---- the whole ---------------------------------------------------------------------------------------------- */

struct bak {
	const struct bak_sink *sink;
	enum bak_container container;
	enum bak_end end;
	char *why;
	const char *other;       /* what it is when it is no backup */
	bool encrypted, unknown, old; /* why a container or version is not read */
	uint64_t fed;
	uint8_t sniffed[SNIFF];
	size_t n_sniffed;
	bool stopped; /* nothing more is read */

	struct bak_walk walk;
	struct bak_front *front; /* compressed files only */

	struct bak_media media;
	bool have_media;
	struct bak_set **sets;
	size_t n_sets, kept;
	struct bak_damage *damage;
	size_t n_damage;
	uint64_t all_damage;
	struct bak_words *words; /* sentences made while asked */
};

/* Ends the reading with a sentence; always false. */
bool bak_fail(struct bak *b, enum bak_end end, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Counts memory that stays; false (and the end of reading) when a file wants more than KEPT_MAX. */
bool bak_keep(struct bak *b, size_t bytes);

/* Notes a damaged place of the current set; fmt goes on after the place. */
struct bak_damage *bak_report(struct bak *b, enum bak_damage_kind kind, uint64_t offset, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* "byte 7680", or "byte 7680 of the unpacked backup (record at byte 4000)" for a compressed file. */
struct bak_place { char s[96]; };
struct bak_place bak_place(const struct bak *b, uint64_t offset);

/* What a file that is no backup is, from its first bytes: NULL while undecided. Enough: SNIFF or the end. */
const char *bak_recognise(const uint8_t *mem, size_t len, bool at_end);

/* Sentences. */
const char *bak_words_missing(const struct bak *b);
const char *bak_words_damaged(const struct bak *b);
bool bak_has_damage(const struct bak *b);

#endif
