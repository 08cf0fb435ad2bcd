#include "common/bak.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/bak_parts.h"
#include "common/bytes.h"
#include "common/text.h"

/*
 * A plain backup is Microsoft Tape Format: descriptor blocks of 52 bytes and more, each followed by
 * streams with a 22-byte header, all with XOR sums over their headers. The layout of the SQL Server parts
 * (MSCI, MQCI, SCIN, SFIN, MSDA, MSTL) is not published; what is used here was read off 187 real files of
 * 2005 to 2025 by several people and agrees with what RESTORE HEADERONLY printed for some of them.
 *
 * Order in a file: TAPE SFMB { SSET VOLB MSCI MSDA{0,1,2} MSTL* MSLS SFMB ESET ESET SFMB }+ end.
 */

enum {
	BLOCK_HEAD = 52,
	STREAM_HEAD = 22,
	SMALL_MAX = 4096,         /* RAID, CSUM */
	SETMAP_MAX = 1 << 20,     /* TSMP */
	CATALOG_MAX = 16 << 20,   /* MQCI: about 1.2 KB per database file */
	SNIFF = 4096,
	IDLE_BLOCKS_MAX = 100000, /* blocks in a row without data: real files have some twenty */
	SNAPSHOTS = 64,
};

enum state {
	AT_MAGIC,       /* the first bytes decide what this is */
	AT_BLOCK,       /* collecting a block's header */
	IN_BLOCK,       /* collecting the rest of the block */
	AT_STREAM,      /* collecting a stream's header */
	IN_STREAM,      /* collecting a small stream */
	IN_FILLER,      /* two bytes before page or log data */
	IN_DATA,        /* pages or log, in pieces */
	SKIPPING,
	FAILED,
	IGNORING,       /* not ours to read; count the bytes */
};

/* What a set may be followed by, to know a proper end and to refuse nonsense. */
enum phase { WANT_TAPE, WANT_FIRST_MARK, WANT_SET, IN_SET, WANT_MARK, IN_END, WANT_LAST_MARK };

struct bak {
	const struct bak_sink *sink;
	enum state state, after_skip;
	enum phase phase;
	enum bak_container container;
	enum bak_end end;
	char *why;
	const char *other;
	uint64_t at; /* bytes consumed */
	uint64_t fed;

	uint8_t *buf; /* collecting */
	size_t have, need, room;
	uint64_t left; /* of what is skipped or passed */
	bool pad_first;

	char block[5], stream[5];
	uint64_t block_at, stream_len;
	uint16_t first_event, stream_flags;
	unsigned ends_seen, idle_blocks;
	bool whole;

	struct bak_media media;
	bool have_media;
	struct bak_set **sets;
	size_t n_sets;
	struct bak_set *set; /* the current one */

	struct bak_checker checker;
	struct bak_pages snapshots[SNAPSHOTS]; /* counts after each of the newest extents, for cutting filler off */
	uint64_t extents_done;
	uint32_t csum;
	uint64_t data_done;
	struct { uint64_t left; uint8_t head[24]; size_t have; } log; /* block walker */
	uint64_t n_bad_structure;
};

static void collect(struct bak *b, enum state state, size_t n);
static void skip(struct bak *b, uint64_t n, enum state after);

/* ---- small things ---------------------------------------------------------------------------------- */

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

/* Five bytes, most significant bit first: 14 year, 4 month, 5 day, 5 hour, 6 minute, 6 second. */
static struct bak_date
mtf_date(const uint8_t *p)
{
	uint64_t v = (uint64_t)p[0] << 32 | (uint64_t)p[1] << 24 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 8 | p[4];
	struct bak_date d = {
		.year = (uint16_t)(v >> 26), .month = (uint8_t)(v >> 22 & 15), .day = (uint8_t)(v >> 17 & 31),
		.hour = (uint8_t)(v >> 12 & 31), .minute = (uint8_t)(v >> 6 & 63), .second = (uint8_t)(v & 63),
	};

	if (d.year < 1900 || d.year > 9999 || d.month < 1 || d.month > 12 || d.day < 1 || d.day > 31 || d.hour > 23 ||
	    d.minute > 59 || d.second > 59)
		return (struct bak_date){ 0 };
	return d;
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

static bool __attribute__((format(printf, 3, 4)))
fail(struct bak *b, enum bak_end end, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	talloc_free(b->why);
	b->why = talloc_vasprintf(b, fmt, ap);
	va_end(ap);
	b->end = end;
	b->state = end == BAK_END_OTHER ? IGNORING : FAILED;
	b->whole = false;
	return false;
}

static uint16_t
xor16(const uint8_t *mem, size_t words)
{
	uint16_t x = 0;

	for (size_t i = 0; i < words; i++)
		x ^= (uint16_t)(mem[2 * i] | mem[2 * i + 1] << 8);
	return x;
}

static struct bytes
at(const void *mem, size_t len, size_t offset)
{
	struct bytes b = bytes_of(mem, len);

	bytes_seek(&b, offset);
	return b;
}

static uint16_t u16_at(const uint8_t *m, size_t len, size_t o) { struct bytes b = at(m, len, o); return bytes_u16(&b); }
static uint32_t u32_at(const uint8_t *m, size_t len, size_t o) { struct bytes b = at(m, len, o); return bytes_u32(&b); }
static uint64_t u64_at(const uint8_t *m, size_t len, size_t o) { struct bytes b = at(m, len, o); return bytes_u64(&b); }

static struct lsn
lsn_at(const uint8_t *m, size_t len, size_t o)
{
	return o + 10 <= len ? lsn_from_bytes(m + o) : (struct lsn){ 0 };
}

static struct guid
guid_at(const uint8_t *m, size_t len, size_t o)
{
	struct guid g = { { 0 } };

	if (o + 16 <= len)
		memcpy(g.b, m + o, 16);
	return g;
}

static struct bak_date
date_at(const uint8_t *m, size_t len, size_t o)
{
	return o + 5 <= len ? mtf_date(m + o) : (struct bak_date){ 0 };
}

/* A {u16 bytes, u16 offset} pair at o; what lies outside the structure reads as empty. */
static const char *
string_at(TALLOC_CTX *mem, const uint8_t *m, size_t len, size_t o, size_t max_chars)
{
	size_t n = u16_at(m, len, o), where = u16_at(m, len, o + 2);

	if (n == 0 || where > len || n > len - where)
		return talloc_strdup(mem, "");
	return text_from_utf16(mem, m + where, n, max_chars);
}

/* ---- blocks ---------------------------------------------------------------------------------------- */

static bool
read_tape(struct bak *b, const uint8_t *m, size_t len)
{
	struct bak_media *d = &b->media;

	if (b->phase != WANT_TAPE)
		return fail(b, BAK_END_DAMAGED, "a second TAPE block at byte %" PRIu64 ": two files glued together", b->block_at);
	d->media_family_id = u32_at(m, len, 0x34);
	d->media_sequence = u16_at(m, len, 0x3C);
	d->sfmb_units = u16_at(m, len, 0x40);
	d->name = string_at(b, m, len, 0x44, BAK_NAME_MAX);
	d->description = string_at(b, m, len, 0x48, BAK_NAME_MAX);
	d->has_password = u16_at(m, len, 0x4C) != 0;
	d->software = string_at(b, m, len, 0x50, BAK_NAME_MAX);
	d->logical_block_size = u16_at(m, len, 0x54);
	d->vendor = u16_at(m, len, 0x56);
	d->date = date_at(m, len, 0x58);
	if (strncmp(d->software, "Microsoft SQL Server", 20) != 0)
		return fail(b, BAK_END_OTHER, "a tape format file of another program (%.60s), not a SQL Server backup",
		            text_escaped(b, d->software));
	b->phase = WANT_FIRST_MARK;
	return true;
}

static bool
read_sset(struct bak *b, const uint8_t *m, size_t len)
{
	struct bak_set *s;
	size_t os = u16_at(m, len, 46);

	if (b->phase != WANT_SET)
		return fail(b, BAK_END_DAMAGED, "a backup set begins at byte %" PRIu64 " before the one before ended", b->block_at);
	if (b->n_sets == BAK_SETS_MAX)
		return fail(b, BAK_END_DAMAGED, "more than %d backup sets in one file", BAK_SETS_MAX);
	s = talloc_zero(b, struct bak_set);
	s->offset = b->block_at;
	s->sset_attributes = u32_at(m, len, 0x34);
	s->vendor = u16_at(m, len, 0x3C);
	s->position = u16_at(m, len, 0x3E);
	s->name = string_at(s, m, len, 0x40, BAK_NAME_MAX);
	s->description = string_at(s, m, len, 0x44, BAK_NAME_MAX);
	s->has_password = u16_at(m, len, 0x48) != 0;
	s->user = string_at(s, m, len, 0x4C, BAK_NAME_MAX);
	s->time_zone = (int8_t)(len > 0x5F ? m[0x5F] : 0);
	s->backup_set_guid = guid_at(m, len, os);
	s->expiration = date_at(m, len, os + 16);
	s->machine = s->device = s->database = s->server = "";
	s->recovery_model = "FULL";
	b->set = s;
	b->phase = IN_SET;
	return true;
}

static void
read_volb(struct bak *b, const uint8_t *m, size_t len)
{
	b->set->device = string_at(b->set, m, len, 0x38, BAK_NAME_MAX);
	b->set->machine = string_at(b->set, m, len, 0x40, BAK_NAME_MAX);
}

static bool
read_mstl(struct bak *b, const uint8_t *m, size_t len)
{
	struct bak_log_extent e = {
		.start = u64_at(m, len, 0x3C), .end = u64_at(m, len, 0x44), .log_file_id = u16_at(m, len, 0x4C),
		.vlf_seq = u32_at(m, len, 0x5C), .vlf_size = u64_at(m, len, 0x60), .vlf_start = u64_at(m, len, 0x68),
		.parity = len > 0x72 ? m[0x72] : 0,
	};

	if (e.start == 0)
		return true; /* a placeholder: no log follows */
	if (e.start > e.end || e.vlf_start > e.start)
		return fail(b, BAK_END_DAMAGED, "the log extent at byte %" PRIu64 " ends before it begins", b->block_at);
	b->set->extents = talloc_realloc(b->set, b->set->extents, struct bak_log_extent, b->set->n_extents + 1);
	b->set->extents[b->set->n_extents++] = e;
	return true;
}

static bool
read_msda(struct bak *b)
{
	if (b->set->n_passes == 2)
		return fail(b, BAK_END_DAMAGED, "a third pass over the data at byte %" PRIu64, b->block_at);
	bak_checker_begin(&b->checker, &b->set->pages[b->set->n_passes++]);
	b->extents_done = 0;
	return true;
}

static bool
read_eset(struct bak *b)
{
	if (b->phase != IN_END)
		return fail(b, BAK_END_DAMAGED, "an end of set at byte %" PRIu64 " without its set", b->block_at);
	if (++b->ends_seen == 2)
		b->phase = WANT_LAST_MARK;
	return true;
}

/* The mark between the parts of a file. The last one of a set is where a file may properly end. */
static bool
read_mark(struct bak *b)
{
	switch (b->phase) {
	case WANT_FIRST_MARK:
		b->phase = WANT_SET;
		return true;
	case WANT_MARK:
		b->phase = IN_END;
		b->ends_seen = 0;
		return true;
	case WANT_LAST_MARK:
		b->phase = WANT_SET;
		return true;
	case WANT_TAPE: case WANT_SET: case IN_SET: case IN_END:
		break;
	}
	return fail(b, BAK_END_DAMAGED, "a file mark at byte %" PRIu64 " where none belongs", b->block_at);
}

static bool
in_set(struct bak *b, bool (*then)(struct bak *))
{
	if (b->phase != IN_SET || b->set == NULL)
		return fail(b, BAK_END_DAMAGED, "a %s block at byte %" PRIu64 " outside a backup set", b->block, b->block_at);
	return then == NULL || then(b);
}

static bool
read_block(struct bak *b, const uint8_t *m, size_t len)
{
	if (++b->idle_blocks > IDLE_BLOCKS_MAX)
		return fail(b, BAK_END_DAMAGED, "an endless chain of empty blocks at byte %" PRIu64, b->block_at);
	if (strcmp(b->block, "TAPE") == 0)
		return read_tape(b, m, len);
	if (b->phase == WANT_TAPE)
		return fail(b, BAK_END_DAMAGED, "the file does not begin with a TAPE block");
	if (strcmp(b->block, "SSET") == 0)
		return read_sset(b, m, len);
	if (strcmp(b->block, "ESET") == 0)
		return read_eset(b);
	if (strcmp(b->block, "VOLB") == 0) {
		if (!in_set(b, NULL))
			return false;
		read_volb(b, m, len);
		return true;
	}
	if (strcmp(b->block, "MSTL") == 0)
		return in_set(b, NULL) && read_mstl(b, m, len);
	if (strcmp(b->block, "MSDA") == 0)
		return in_set(b, read_msda);
	if (strcmp(b->block, "MSCI") == 0 || strcmp(b->block, "MSLS") == 0)
		return in_set(b, NULL);
	return fail(b, BAK_END_DAMAGED, "an unknown block '%s' at byte %" PRIu64, text_escaped(b, b->block), b->block_at);
}

/* ---- the catalogue: SCIN, SFGI, SFIN ------------------------------------------------------------------ */

static enum bak_type
type_of(char c)
{
	switch (c) {
	case 'D': return BAK_FULL;
	case 'L': return BAK_LOG;
	case 'F': return BAK_FILE;
	case 'I': return BAK_DIFFERENTIAL;
	case 'G': return BAK_FILE_DIFFERENTIAL;
	case 'P': return BAK_PARTIAL;
	case 'Q': return BAK_PARTIAL_DIFFERENTIAL;
	default: return BAK_TYPE_UNKNOWN;
	}
}

/*
 * The newest entry of the fork list is in force from the previous entry's LSN on. Where the set begins
 * before that, it spans the fork point: FirstRecoveryForkID is then the previous fork. The first half
 * agrees with all 40 sets at hand that have a previous fork; no sample spans a fork, so the second half
 * is a guess.
 */
static void
derive_forks(struct bak_set *s)
{
	s->first_recovery_fork_id = s->recovery_fork_id;
	if (!lsn_is_null(s->fork1_lsn) && lsn_compare(s->fork1_lsn, s->first_lsn) > 0) {
		s->first_recovery_fork_id = s->fork1_id;
		s->fork_point_lsn = s->fork1_lsn;
	}
}

static void
read_scin(struct bak_set *s, const uint8_t *m, size_t len)
{
	/* The fixed part ends where the first string begins; its length grew with the versions. */
	size_t fixed = u16_at(m, len, 0x6A), n;

	n = fixed > 0 && fixed < len ? fixed : len;
	s->flags = u32_at(m, len, 0x08);
	s->software_build = u16_at(m, len, 0x18);
	s->software_minor = len > 0x1A ? m[0x1A] : 0;
	s->software_major = len > 0x1B ? m[0x1B] : 0;
	s->first_lsn = lsn_at(m, len, 0x20);
	s->last_lsn = lsn_at(m, len, 0x2A);
	s->checkpoint_lsn = lsn_at(m, len, 0x34);
	s->database_backup_lsn = lsn_at(m, len, 0x3E);
	s->database_created = date_at(m, len, 0x48);
	s->start = date_at(m, len, 0x4D);
	s->finish = date_at(m, len, 0x52);
	s->type_char = len > 0x57 ? (char)m[0x57] : 0;
	s->type = type_of(s->type_char);
	s->sort_order = len > 0x58 ? m[0x58] : 0;
	s->compat_level = len > 0x5B ? m[0x5B] : 0;
	s->database_id = u16_at(m, len, 0x5C);
	s->database_version = u16_at(m, len, 0x5E);
	s->backup_size = u64_at(m, len, 0x60);
	s->database = string_at(s, m, len, 0x68, BAK_NAME_MAX);
	s->server = string_at(s, m, len, 0x6C, BAK_NAME_MAX);
	s->locale_id = u32_at(m, len, 0x74);
	s->comparison_style = u32_at(m, len, 0x78);
	s->binding_id = guid_at(m, n, 0x7C);
	s->fork_lsn = lsn_at(m, n, 0x90);
	s->recovery_fork_id = guid_at(m, n, 0x9C);
	s->fork1_lsn = lsn_at(m, n, 0xAC);
	s->fork1_id = guid_at(m, n, 0xB8);
	s->database_backup_guid = guid_at(m, n, 0xC8);
	if (n >= 0xDD)
		memcpy(s->collation, m + 0xD8, 5);
	s->family_guid = guid_at(m, n, 0xE0);
	s->transfer_size = u32_at(m, n, 0xF0);
	s->database_status = u32_at(m, n, 0xF4);
	s->log_chain_origin = lsn_at(m, n, 0xF8);
	s->differential_base_lsn = lsn_at(m, n, 0x104);
	s->differential_base_guid = guid_at(m, n, 0x110);
	s->next_log_lsn = lsn_at(m, n, 0x14C);
	/* 2005 has no compressed size: its fixed part ends at 0x158. */
	s->compressed_size = n >= 0x160 ? u64_at(m, n, 0x158) : s->backup_size;
	s->recovery_model = s->database_status & 8 ? "SIMPLE" : s->database_status & 4 ? "BULK-LOGGED" : "FULL";
	s->begins_log_chain = s->type == BAK_LOG && lsn_compare(s->first_lsn, s->log_chain_origin) == 0;
	/* Bit 2 of the set's attributes is one outside witness's word for COPY_ONLY, 0x400 of the flags another's. */
	s->copy_only = (s->sset_attributes & 2) != 0 || (s->flags & BAK_FLAG_COPY_ONLY) != 0;
	derive_forks(s);
}

static char
file_type_of(uint32_t kind)
{
	return kind == 1 ? 'D' : kind == 2 ? 'L' : 'S';
}

static void
read_sfin(struct bak_set *s, const uint8_t *m, size_t len, const char *group)
{
	struct bak_file *f;

	if (s->n_files == BAK_FILES_MAX)
		return;
	s->files = talloc_realloc(s, s->files, struct bak_file, s->n_files + 1);
	f = &s->files[s->n_files++];
	*f = (struct bak_file){
		.page_size = u32_at(m, len, 0x10), .file_id = u32_at(m, len, 0x14), .pages = u32_at(m, len, 0x18),
		.type = file_type_of(u32_at(m, len, 0x1C)), .sector_size = u32_at(m, len, 0x20),
		.group_id = u32_at(m, len, 0x24), .size = u64_at(m, len, 0x28),
		.max_size = u64_at(m, len, 0x56), .growth = u64_at(m, len, 0x5E),
		.growth_is_percent = (u32_at(m, len, 0x08) & 8) != 0, .create_lsn = lsn_at(m, len, 0x8A),
		.drop_lsn = lsn_at(m, len, 0x94), .differential_base_lsn = lsn_at(m, len, 0x9E),
		.differential_base_guid = guid_at(m, len, 0xAA), .unique_id = guid_at(m, len, 0xBA),
	};
	f->logical_name = string_at(s, m, len, 0x30, BAK_NAME_MAX);
	f->physical_name = string_at(s, m, len, 0x34, BAK_PATH_MAX);
	f->group_name = f->type == 'L' ? NULL : group;
}

static void
parse_catalog(struct bak_set *s, const uint8_t *m, size_t len)
{
	const char *group = NULL;

	while (len >= 8) {
		size_t n = u32_at(m, len, 4);

		if (n < 8 || n > len)
			return;
		if (memcmp(m, "SCIN", 4) == 0)
			read_scin(s, m, n);
		else if (memcmp(m, "SFGI", 4) == 0)
			group = string_at(s, m, n, 0x10, BAK_NAME_MAX);
		else if (memcmp(m, "SFIN", 4) == 0)
			read_sfin(s, m, n, group);
		m += n;
		len -= n;
	}
}

/* Pages announced for the pass that follows MSCI or came before MSLS; all stripes together. */
static uint64_t
announced(const struct bak_set *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->n_files; i++)
		if (s->files[i].type != 'L')
			n += s->files[i].pages;
	return n;
}

/*
 * The data of a pass is padded to whole transfer buffers with old memory. What lies after the announced
 * pages is cut off again: before MSLS nothing says how many pages the second pass has. A stripe member
 * holds an unknown share of the announced pages, so nothing is cut there.
 */
static void
cut_filler(struct bak *b, uint64_t pages)
{
	uint64_t extents = (pages + EXTENT_PAGES - 1) / EXTENT_PAGES;
	struct bak_pages *p = b->checker.pages;

	if (b->media.family_count > 1 || p == NULL || extents >= b->extents_done || b->extents_done - extents >= SNAPSHOTS)
		return;
	if (extents == 0)
		*p = (struct bak_pages){ 0 };
	else
		*p = b->snapshots[(extents - 1) % SNAPSHOTS];
}

static bool
read_catalog(struct bak *b, const uint8_t *m, size_t len)
{
	struct bak_set *s = b->set, *head;

	if (s == NULL || b->phase != IN_SET)
		return fail(b, BAK_END_DAMAGED, "a catalogue at byte %" PRIu64 " outside a backup set", b->at);
	if (strcmp(b->block, "MSCI") == 0) {
		if (s->type != BAK_TYPE_UNKNOWN || s->n_files > 0)
			return fail(b, BAK_END_DAMAGED, "a second catalogue head at byte %" PRIu64, b->at);
		parse_catalog(s, m, len);
		if (s->type == BAK_TYPE_UNKNOWN)
			return fail(b, BAK_END_DAMAGED, "the catalogue at byte %" PRIu64 " does not describe a backup", b->at);
		b->sets = talloc_realloc(b, b->sets, struct bak_set *, b->n_sets + 1);
		b->sets[b->n_sets++] = s;
		return true;
	}
	if (strcmp(b->block, "MSLS") != 0 || s->final || s->type == BAK_TYPE_UNKNOWN)
		return fail(b, BAK_END_DAMAGED, "a catalogue at byte %" PRIu64 " in the wrong place", b->at);
	head = talloc_memdup(s, s, sizeof(*s));
	s->files = NULL;
	s->n_files = 0;
	parse_catalog(s, m, len);
	s->head = head;
	s->final = true;
	if (head->type != s->type || !guid_equal(head->family_guid, s->family_guid) || strcmp(head->database, s->database) != 0)
		return fail(b, BAK_END_DAMAGED, "head and end of the set at byte %" PRIu64 " describe different backups", s->offset);
	if (s->n_passes > 0)
		cut_filler(b, s->n_passes == 1 ? announced(head) : announced(s));
	b->phase = WANT_MARK;
	return true;
}

/* ---- streams --------------------------------------------------------------------------------------- */

static bool
read_raid(struct bak *b, const uint8_t *m, size_t len)
{
	struct bak_media *d = &b->media;

	d->media_set_id = guid_at(m, len, 0);
	d->family_count = u16_at(m, len, 0x14);
	d->mirror_count = u16_at(m, len, 0x16);
	d->family_number = u16_at(m, len, 0x18);
	if (d->family_count == 0 || d->family_count > 64 || d->family_number == 0 || d->family_number > d->family_count)
		return fail(b, BAK_END_DAMAGED, "the media header says file %u of %u", d->family_number, d->family_count);
	b->have_media = true;
	return true;
}

/* Lists every set so far with the place of its SSET; a file that was cut and glued does not agree. */
static bool
read_set_map(struct bak *b, const uint8_t *m, size_t len)
{
	struct bytes in = bytes_of(m, len);
	unsigned count;

	bytes_u32(&in);
	count = bytes_u16(&in);
	bytes_u16(&in);
	if (in.short_of)
		return true;
	if (count != b->n_sets)
		return fail(b, BAK_END_DAMAGED, "the set map at byte %" PRIu64 " lists %u sets, the file has %zu", b->at, count, b->n_sets);
	return true;
}

static bool
read_sum(struct bak *b, const uint8_t *m, size_t len)
{
	uint32_t stored = u32_at(m, len, 0);

	if (b->set == NULL)
		return true;
	b->set->csum_streams++;
	if (stored != b->csum)
		b->set->csum_bad++;
	return true;
}

static bool
read_small_stream(struct bak *b, const uint8_t *m, size_t len)
{
	if (strcmp(b->stream, "RAID") == 0)
		return read_raid(b, m, len);
	if (strcmp(b->stream, "TSMP") == 0)
		return read_set_map(b, m, len);
	if (strcmp(b->stream, "CSUM") == 0)
		return read_sum(b, m, len);
	return read_catalog(b, m, len);
}

static const struct {
	const char *id;
	size_t max;
} small_streams[] = {
	{ "RAID", SMALL_MAX }, { "CSUM", SMALL_MAX }, { "TSMP", SETMAP_MAX }, { "MQCI", CATALOG_MAX },
};

/* ---- pages and log as they pass ------------------------------------------------------------------------ */

static void
take_pages(struct bak *b, const uint8_t *mem, size_t len)
{
	struct bak_set *s = b->set;
	size_t n = len / PAGE_SIZE_BYTES;
	uint64_t offset = b->data_done;

	s->data_bytes += s->n_passes == 1 ? len : 0;
	b->idle_blocks = 0;
	bak_checker_extent(&b->checker, mem, n, b->at);
	b->snapshots[b->extents_done % SNAPSHOTS] = *b->checker.pages;
	b->extents_done++;
	if (b->sink != NULL && b->sink->page_bytes != NULL)
		b->sink->page_bytes(b->sink->ctx, s, (unsigned)s->n_passes - 1, offset, mem, len);
}

/* Log blocks carry their own size at byte 6; counting them shows that the extent hangs together. */
static void
walk_log(struct bak *b, struct bak_log_extent *e, const uint8_t *mem, size_t len)
{
	while (len > 0) {
		size_t n;

		if (b->log.left > 0) {
			n = b->log.left < len ? (size_t)b->log.left : len;
			b->log.left -= n;
		} else {
			unsigned size;

			n = sizeof(b->log.head) - b->log.have < len ? sizeof(b->log.head) - b->log.have : len;
			memcpy(b->log.head + b->log.have, mem, n);
			b->log.have += n;
			if (b->log.have == sizeof(b->log.head)) {
				size = u16_at(b->log.head, sizeof(b->log.head), 6);
				b->log.have = 0;
				if (size < 512 || size % 512 != 0) {
					b->log.left = UINT64_MAX; /* no block: stop counting */
				} else {
					e->blocks++;
					b->log.left = size - sizeof(b->log.head);
				}
			}
		}
		mem += n;
		len -= n;
	}
}

static void
take_log(struct bak *b, const uint8_t *mem, size_t len)
{
	struct bak_set *s = b->set;
	struct bak_log_extent *e = s->n_extents == 0 ? NULL : &s->extents[s->n_extents - 1];
	uint64_t size = e == NULL ? 0 : e->end - e->start, n;

	b->idle_blocks = 0;
	if (e == NULL || b->data_done >= size)
		return;
	n = size - b->data_done < len ? size - b->data_done : len;
	s->log_bytes += n;
	walk_log(b, e, mem, (size_t)n);
	if (b->sink != NULL && b->sink->log_bytes != NULL)
		b->sink->log_bytes(b->sink->ctx, s, s->n_extents - 1, b->data_done, mem, (size_t)n);
}

/* One piece of at most 64 KB: an extent, or a run of log. at still points to its first byte. */
static void
take_piece(struct bak *b, const uint8_t *mem, size_t len)
{
	b->csum = bak_sum(b->csum, mem, len / 512);
	if (strcmp(b->stream, "MQDA") == 0)
		take_pages(b, mem, len);
	else
		take_log(b, mem, len);
	b->data_done += len;
}

/* ---- the machine ------------------------------------------------------------------------------------ */

static void
collect(struct bak *b, enum state state, size_t n)
{
	if (n > b->room) {
		b->buf = talloc_realloc(b, b->buf, uint8_t, n);
		b->room = n;
	}
	b->state = state;
	b->have = 0;
	b->need = n;
}

static void
skip(struct bak *b, uint64_t n, enum state after)
{
	b->left = n;
	b->state = SKIPPING;
	b->after_skip = after;
}

static void next_block(struct bak *b) { collect(b, AT_BLOCK, BLOCK_HEAD); }
static void next_stream(struct bak *b) { collect(b, AT_STREAM, STREAM_HEAD); }

/* Streams begin at multiples of four; SPAD ends the block exactly where it ends. */
static void
end_stream(struct bak *b)
{
	uint64_t pad = (4 - b->at % 4) % 4;

	if (strcmp(b->stream, "SPAD") == 0)
		next_block(b);
	else if (pad > 0)
		skip(b, pad, AT_STREAM);
	else
		next_stream(b);
}

static bool
on_block_head(struct bak *b)
{
	const uint8_t *m = b->buf;

	b->block_at = b->at - BLOCK_HEAD;
	memcpy(b->block, m, 4);
	b->first_event = u16_at(m, BLOCK_HEAD, 8);
	b->whole = false;
	if (xor16(m, 25) != u16_at(m, BLOCK_HEAD, 50)) {
		if (b->phase == WANT_SET && b->n_sets > 0)
			return fail(b, BAK_END_TRAILING, "the backup ends properly at byte %" PRIu64 " and other bytes follow", b->block_at);
		return fail(b, BAK_END_DAMAGED, "the header of the block at byte %" PRIu64 " is damaged", b->block_at);
	}
	if (b->first_event < BLOCK_HEAD)
		return fail(b, BAK_END_DAMAGED, "the block at byte %" PRIu64 " has no size", b->block_at);
	if (strcmp(b->block, "SFMB") == 0) {
		if (b->first_event < 512 || b->first_event % 512 != 0)
			return fail(b, BAK_END_DAMAGED, "the file mark at byte %" PRIu64 " has a wrong size", b->block_at);
		if (!read_mark(b))
			return false;
		skip(b, b->first_event - BLOCK_HEAD, AT_BLOCK);
		return true;
	}
	if (b->phase == WANT_SET && b->n_sets > 0 && strcmp(b->block, "SSET") != 0)
		return fail(b, BAK_END_TRAILING, "the backup ends properly at byte %" PRIu64 " and other bytes follow", b->block_at);
	/* The rest is put behind the header: offsets in a block count from its start. */
	if (b->first_event > b->room) {
		b->buf = talloc_realloc(b, b->buf, uint8_t, b->first_event);
		b->room = b->first_event;
	}
	b->state = IN_BLOCK;
	b->need = b->first_event;
	return true;
}

static bool
on_stream_head(struct bak *b)
{
	const uint8_t *m = b->buf;

	memcpy(b->stream, m, 4);
	b->stream_flags = u16_at(m, STREAM_HEAD, 6);
	b->stream_len = u64_at(m, STREAM_HEAD, 8);
	if (xor16(m, 10) != u16_at(m, STREAM_HEAD, 20))
		return fail(b, BAK_END_DAMAGED, "the header of the stream at byte %" PRIu64 " is damaged", b->at - STREAM_HEAD);
	if (b->stream_len > UINT64_MAX / 4)
		return fail(b, BAK_END_DAMAGED, "the stream at byte %" PRIu64 " claims an impossible length", b->at - STREAM_HEAD);
	for (size_t i = 0; i < sizeof(small_streams) / sizeof(small_streams[0]); i++)
		if (strcmp(b->stream, small_streams[i].id) == 0) {
			if (b->stream_len > small_streams[i].max)
				return fail(b, BAK_END_DAMAGED, "the %s stream at byte %" PRIu64 " claims %" PRIu64 " bytes", b->stream,
				            b->at - STREAM_HEAD, b->stream_len);
			collect(b, IN_STREAM, (size_t)b->stream_len);
			return true;
		}
	if ((strcmp(b->stream, "MQDA") == 0 || strcmp(b->stream, "MQTL") == 0) && b->stream_len >= 2) {
		if (b->set == NULL || b->phase != IN_SET || (strcmp(b->stream, "MQDA") == 0 && b->set->n_passes == 0))
			return fail(b, BAK_END_DAMAGED, "data at byte %" PRIu64 " outside a backup set", b->at);
		b->data_done = 0;
		b->csum = 0;
		b->log.left = 0;
		b->log.have = 0;
		collect(b, IN_FILLER, 2);
		return true;
	}
	skip(b, b->stream_len, AT_STREAM);
	return true;
}

static bool
on_magic(struct bak *b)
{
	if (memcmp(b->buf, "TAPE", 4) == 0) {
		b->container = BAK_MTF;
		b->state = AT_BLOCK;
		b->need = BLOCK_HEAD;
		return true;
	}
	return true;
}

/* Everything that was asked for is in the buffer. */
static bool
on_collected(struct bak *b)
{
	switch (b->state) {
	case AT_BLOCK:
		return on_block_head(b);
	case IN_BLOCK:
		if (!read_block(b, b->buf, b->have))
			return false;
		next_stream(b);
		return true;
	case AT_STREAM:
		return on_stream_head(b);
	case IN_STREAM:
		if (!read_small_stream(b, b->buf, b->have))
			return false;
		end_stream(b);
		return true;
	case IN_FILLER:
		b->left = b->stream_len - 2;
		collect(b, IN_DATA, b->left < EXTENT_SIZE ? (size_t)b->left : EXTENT_SIZE);
		return true;
	case IN_DATA:
		b->at -= b->have;
		take_piece(b, b->buf, b->have);
		b->at += b->have;
		b->left -= b->have;
		if (b->left == 0)
			end_stream(b);
		else
			collect(b, IN_DATA, b->left < EXTENT_SIZE ? (size_t)b->left : EXTENT_SIZE);
		return true;
	case AT_MAGIC: case SKIPPING: case FAILED: case IGNORING:
		break;
	}
	return true;
}

static void
note_whole(struct bak *b)
{
	b->whole = b->state == AT_BLOCK && b->have == 0 && b->phase == WANT_SET && b->n_sets > 0;
}

/* Every piece that is complete in the caller's memory is checked there, without a copy. */
static size_t
take_in_place(struct bak *b, const uint8_t *p, size_t len)
{
	size_t done = 0;

	while (b->state == IN_DATA && b->have == 0 && len - done >= b->need && b->need > 0) {
		size_t n = b->need;

		take_piece(b, p + done, n);
		done += n;
		b->at += n;
		b->left -= n;
		if (b->left == 0)
			end_stream(b);
		else
			b->need = b->left < EXTENT_SIZE ? (size_t)b->left : EXTENT_SIZE;
	}
	return done;
}

static size_t
take_some(struct bak *b, const uint8_t *p, size_t len)
{
	size_t n;

	if (b->state == SKIPPING) {
		n = b->left < len ? (size_t)b->left : len;
		b->left -= n;
		b->at += n;
		return n;
	}
	if ((n = take_in_place(b, p, len)) > 0)
		return n;
	n = b->need - b->have < len ? b->need - b->have : len;
	memcpy(b->buf + b->have, p, n);
	b->have += n;
	b->at += n;
	return n;
}

static bool
settle(struct bak *b)
{
	for (;;) {
		if (b->state == SKIPPING && b->left == 0) {
			enum state after = b->after_skip;

			if (after == AT_STREAM)
				end_stream(b);
			else
				next_block(b);
		} else if (b->state != SKIPPING && b->state != FAILED && b->state != IGNORING && b->have == b->need) {
			if (!on_collected(b))
				return false;
		} else {
			note_whole(b);
			return true;
		}
	}
}

/* The first bytes: a backup goes on, anything else is named. */
static bool
sniff(struct bak *b, const uint8_t **p, size_t *len)
{
	size_t n = SNIFF - b->have < *len ? SNIFF - b->have : *len;

	while (b->state == AT_MAGIC && n > 0) {
		b->buf[b->have++] = **p;
		(*p)++;
		(*len)--;
		n--;
		b->at++;
		if (b->have == 4)
			on_magic(b);
		if (b->have == 8 && memcmp(b->buf, "MSSQLBAK", 8) == 0) {
			b->container = BAK_MSSQLBAK;
			return fail(b, BAK_END_OTHER, "compressed: not read yet");
		}
		if (b->state != AT_MAGIC)
			return true;
		if (b->have >= 2 && memcmp(b->buf, "TAPE", b->have < 4 ? b->have : 4) != 0 &&
		    memcmp(b->buf, "MSSQLBAK", b->have < 8 ? b->have : 8) != 0 &&
		    (b->other = bak_recognise(b->buf, b->have, false)) != NULL) {
			b->container = BAK_OTHER;
			return fail(b, BAK_END_OTHER, "%s", b->other);
		}
	}
	return true;
}

bool
bak_feed(struct bak *b, const void *mem, size_t len, struct err *err)
{
	const uint8_t *p = mem;

	b->fed += len;
	if (b->state == AT_MAGIC)
		sniff(b, &p, &len);
	while (len > 0 && b->state != FAILED && b->state != IGNORING) {
		size_t n = take_some(b, p, len);

		p += n;
		len -= n;
		if (!settle(b))
			break;
	}
	if (b->state == FAILED || b->state == IGNORING)
		return err_set(err, ERR_BROKEN, 0, "%s", b->why);
	return true;
}

/* ---- what is known ----------------------------------------------------------------------------------- */

struct bak *
bak_new(TALLOC_CTX *parent, const struct bak_sink *sink)
{
	struct bak *b = talloc_zero(parent, struct bak);

	b->sink = sink;
	b->media.name = b->media.description = b->media.software = "";
	collect(b, AT_MAGIC, SNIFF);
	return b;
}

static bool
has_bad_content(const struct bak *b)
{
	for (size_t i = 0; i < b->n_sets; i++)
		if (b->sets[i]->pages[0].bad + b->sets[i]->pages[1].bad + b->sets[i]->csum_bad > 0)
			return true;
	return false;
}

static char *
what_is_missing(struct bak *b)
{
	if (b->n_sets == 0)
		return talloc_asprintf(b, "it ends at byte %" PRIu64 ", inside the headers: nothing of the backup is there", b->fed);
	if (b->phase == IN_SET)
		return talloc_asprintf(b, "it ends at byte %" PRIu64 ", inside set %u: data is missing and it cannot be restored", b->fed,
		                       b->set->position);
	return talloc_asprintf(b, "it ends at byte %" PRIu64 ", before the closing marks of set %u: the upload is not complete", b->fed,
	                       b->set == NULL ? 0u : b->set->position);
}

static char *
what_is_bad(struct bak *b)
{
	for (size_t i = 0; i < b->n_sets; i++)
		for (size_t pass = 0; pass < 2; pass++) {
			const struct bak_pages *p = &b->sets[i]->pages[pass];
			const struct bak_bad_page *bad = &p->bad_list[0];

			if (p->bad > 0)
				return talloc_asprintf(b, "%" PRIu64 " damaged page%s, the first is (%u:%u) at byte %" PRIu64
					": expected 0x%08X, found 0x%08X", p->bad, p->bad == 1 ? "" : "s", bad->file_id,
					bad->page_id, bad->offset, bad->expected, bad->found);
		}
	return talloc_asprintf(b, "the backup's own checksum does not fit its bytes");
}

enum bak_end
bak_finish(struct bak *b)
{
	if (b->end != BAK_END_OPEN)
		return b->end;
	if (b->state == AT_MAGIC) {
		bool tape = b->have > 0 && memcmp(b->buf, "TAPE", b->have < 4 ? b->have : 4) == 0;
		bool compressed = b->have > 0 && memcmp(b->buf, "MSSQLBAK", b->have < 8 ? b->have : 8) == 0;

		if (!tape && !compressed) {
			b->container = BAK_OTHER;
			b->other = bak_recognise(b->buf, b->have, true);
			fail(b, BAK_END_OTHER, "%s", b->other);
			return b->end;
		}
		b->container = tape ? BAK_MTF : BAK_MSSQLBAK;
	}
	if (!b->whole) {
		b->why = what_is_missing(b);
		b->end = BAK_END_TRUNCATED;
		if (b->phase == WANT_SET && b->n_sets > 0 && b->have > 0) {
			b->why = talloc_asprintf(b, "the backup ends properly at byte %" PRIu64 " and other bytes follow", b->fed - b->have);
			b->end = BAK_END_TRAILING;
		}
	} else if (has_bad_content(b)) {
		b->why = what_is_bad(b);
		b->end = BAK_END_DAMAGED;
	} else {
		b->end = BAK_END_WHOLE;
	}
	return b->end;
}

enum bak_container bak_container(const struct bak *b) { return b->container; }
enum bak_end bak_end(const struct bak *b) { return b->end; }
uint64_t bak_bytes(const struct bak *b) { return b->fed; }
size_t bak_n_sets(const struct bak *b) { return b->n_sets; }
const struct bak_set *bak_set(const struct bak *b, size_t i) { return b->sets[i]; }
const char *bak_other_what(const struct bak *b) { return b->other; }

bool
bak_is_whole(const struct bak *b)
{
	return b->end == BAK_END_WHOLE || (b->end == BAK_END_OPEN && b->whole && !has_bad_content(b));
}

const char *
bak_why(const struct bak *b)
{
	if (b->why != NULL || bak_is_whole(b))
		return b->why;
	if (b->end == BAK_END_OPEN && b->whole)
		return what_is_bad((struct bak *)(uintptr_t)b);
	return what_is_missing((struct bak *)(uintptr_t)b);
}

const struct bak_media *
bak_media(const struct bak *b)
{
	return b->have_media ? &b->media : NULL;
}

static bool any_flag(const struct bak *b, uint32_t flag)
{
	for (size_t i = 0; i < b->n_sets; i++)
		if (b->sets[i]->flags & flag)
			return true;
	return false;
}

static bool
any_type(const struct bak *b, bool (*is)(const struct bak_set *))
{
	for (size_t i = 0; i < b->n_sets; i++)
		if (is(b->sets[i]))
			return true;
	return false;
}

static bool is_simple(const struct bak_set *s) { return strcmp(s->recovery_model, "SIMPLE") == 0; }
static bool is_copy_only(const struct bak_set *s) { return s->copy_only; }
static bool is_bad(const struct bak_set *s) { return s->pages[0].bad + s->pages[1].bad + s->csum_bad > 0; }
static bool is_partial(const struct bak_set *s)
{
	return s->type != BAK_FULL && s->type != BAK_LOG && s->type != BAK_DIFFERENTIAL;
}
static bool is_old(const struct bak_set *s) { return s->database_version > 0 && s->database_version < 611; }
static bool has_filestream(const struct bak_set *s)
{
	for (size_t i = 0; i < s->n_files; i++)
		if (s->files[i].type == 'S')
			return true;
	return false;
}

const char *const *
bak_findings(TALLOC_CTX *parent, const struct bak *b, size_t *n)
{
	const struct { bool is; const char *word; } list[] = {
		{ any_type(b, is_old), "older-than-supported" },
		{ any_type(b, is_simple), "simple-recovery" },
		{ any_type(b, is_copy_only), "copy-only" },
		{ any_flag(b, BAK_FLAG_TAIL) || any_flag(b, BAK_FLAG_TAIL_NORECOVERY), "tail" },
		{ any_flag(b, BAK_FLAG_TAIL_NORECOVERY), "tail-norecovery" },
		{ any_flag(b, BAK_FLAG_BULK_LOGGED), "bulk-logged" },
		{ any_flag(b, BAK_FLAG_DAMAGED), "damaged-at-source" },
		{ any_type(b, is_bad), "damaged-page" },
		{ b->have_media && b->media.family_count > 1, "stripe-member" },
		{ b->media.has_password, "media-password" },
		{ b->end == BAK_END_TRUNCATED, "truncated" },
		{ b->end == BAK_END_TRAILING, "trailing-bytes" },
		{ any_type(b, is_partial), "partial-backup" },
		{ any_type(b, has_filestream), "filestream" },
		{ b->container == BAK_OTHER, "not-a-backup" },
	};
	const char **out = talloc_array(parent, const char *, sizeof(list) / sizeof(list[0]));

	*n = 0;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (list[i].is)
			out[(*n)++] = list[i].word;
	return out;
}
