#include "common/bak_parts.h"

#include <inttypes.h>

/*
 * Compressed files: a header of 0x1E0 bytes, then records of packed bytes, padding and an index, one after
 * the other without alignment, and between them the file marks of the tape format as they are. What the
 * records unpack to, together with the marks, is the plain tape format. Everything little-endian.
 *
 *     header  8 "MSSQLBAK", u32 version 2, u32 flags 3; the rest is uninitialised memory of the server
 *     0x21    packed: u8 kind, u8 size / 512 when unpacked, u16 bytes, 20 more, u32 sum of the bytes at 24; bytes
 *     0x24    padding to the next sector: u8 kind, u8, u16 bytes, 20 more; bytes
 *     0x2C    index: 24 bytes, then {u16 1, u16 1, u32 n, u32 length, u32 sum, n * {u64 place unpacked,
 *             u64 place here}, zeros, the first sixteen bytes once more}, length bytes in all
 *
 * Read off files of SQL Server 2014 to 2022; every one of their 991 records fits its sum. Version 1 (2008 to
 * 2012) and ZSTD (2025) were not at hand and are not guessed at. Records of kind 0x31 and 0x71 are
 * encrypted, by one outside witness.
 */

enum {
	HEADER = 0x1E0, VERSION = 2, FLAGS = 3,
	RECORD_HEAD = 28, PLAIN_HEAD = 24, KIND_HEAD = 4, MARK_HEAD = 52, INDEX_HEAD = 16,
	SECTORS_MAX = XPRESS_BLOCK / SECTOR,
	RECORD_MAX = RECORD_HEAD + 65535,
};

enum front_state { IN_HEADER, AT_RECORD, IN_HEAD, IN_PACKED, AT_INDEX, IN_ENTRIES, IN_INDEX_TAIL, PASSING_MARK, PASSING_PADDING, PASSING_ZEROS };

struct bak_front {
	enum front_state state;
	uint8_t *in, *out;
	size_t have, need;
	uint64_t at, record_at, left; /* places in the file; bytes still to pass */
	bool odd_flags;
	uint32_t sum, sum_wanted;
	uint64_t entries_left, zeros;
	uint8_t index_head[INDEX_HEAD];
	struct bak_records records;
	struct xpress xpress;
};

struct bak_front *
bak_front_new(struct bak *b)
{
	struct bak_front *f = talloc_zero(b, struct bak_front);

	f->in = talloc_array(f, uint8_t, RECORD_MAX + 4);
	f->out = talloc_array(f, uint8_t, XPRESS_BLOCK + XPRESS_SLACK);
	f->need = HEADER;
	return f;
}

void
bak_front_end(struct bak_front *f)
{
	TALLOC_FREE(f->in);
	TALLOC_FREE(f->out);
}

bool bak_front_is_between(const struct bak_front *f) { return f->state == AT_RECORD && f->have == 0; }
bool bak_front_is_packed(const struct bak_front *f) { return f->have > 0 && f->in[0] == 0x21; }
uint64_t
bak_front_record(const struct bak_front *f)
{
	return f->state == AT_RECORD && f->have > 0 ? f->at - f->have : f->record_at;
}

const struct bak_records *bak_front_records(const struct bak_front *f) { return &f->records; }

/* Folded in word by word, rotating by one bit; the last word is filled up with zeros. */
static uint32_t
fold(uint32_t sum, const uint8_t *mem, size_t len)
{
	for (; len >= 4; mem += 4, len -= 4)
		sum = (sum << 1 | sum >> 31) ^ u32_at(mem, 4, 0);
	if (len > 0) {
		uint8_t last[4] = { 0 };

		memcpy(last, mem, len);
		sum = (sum << 1 | sum >> 31) ^ u32_at(last, 4, 0);
	}
	return sum;
}

static void
next_record(struct bak_front *f)
{
	f->state = AT_RECORD;
	f->have = 0;
	f->need = KIND_HEAD;
}

static void
pass(struct bak_front *f, enum front_state how, uint64_t n)
{
	f->state = how;
	f->left = n;
	f->have = f->need = 0;
}

static bool
on_header(struct bak *b)
{
	struct bak_front *f = b->front;
	uint32_t version = u32_at(f->in, HEADER, 8);

	/* Encrypted files are said to differ in the flags; which bit is not known, so the first record tells. */
	f->odd_flags = u32_at(f->in, HEADER, 12) != FLAGS;
	if (version != VERSION) {
		b->unknown = true;
		return bak_fail(b, BAK_END_OTHER, "compressed in a way that is not read here (container version %u%s): take the backup "
		                "again WITH NO_COMPRESSION and send that", version, version == 1 ? ", SQL Server 2008 to 2012" : "");
	}
	next_record(f);
	return true;
}

static bool
is_encrypted_kind(uint8_t kind)
{
	return kind == 0x31 || kind == 0x71;
}

static bool
unknown_record(struct bak *b, uint8_t kind)
{
	struct bak_front *f = b->front;

	if (is_encrypted_kind(kind) && f->records.data == 0) {
		b->encrypted = true;
		return bak_fail(b, BAK_END_OTHER, "the backup is encrypted: its header and content cannot be read without the certificate; "
		                "switch backup encryption off, take it again and send that");
	}
	if (b->walk.whole)
		return bak_fail(b, BAK_END_TRAILING, "the backup ends properly at byte %" PRIu64 " and other bytes follow", f->record_at);
	if (f->records.data == 0) {
		b->unknown = true;
		return bak_fail(b, BAK_END_OTHER, "compressed or encrypted in a way that is not known here (record kind 0x%02X): take the backup "
		                "again WITH NO_COMPRESSION and send that", kind);
	}
	return bak_fail(b, BAK_END_DAMAGED, "no record begins at byte %" PRIu64 " (kind 0x%02X)", f->record_at, kind);
}

/* The first four bytes tell what comes. */
static bool
on_kind(struct bak *b)
{
	struct bak_front *f = b->front;

	f->record_at = f->at - KIND_HEAD;
	if (f->odd_flags)
		return unknown_record(b, f->in[0]);
	if (memcmp(f->in, "SFMB", 4) == 0) {
		if (!bak_walk_is_between(b))
			return bak_fail(b, BAK_END_DAMAGED, "records are missing before the file mark at byte %" PRIu64, f->record_at);
		f->state = IN_HEAD;
		f->need = MARK_HEAD;
		return true;
	}
	switch (f->in[0]) {
	case 0x21:
		f->state = IN_HEAD;
		f->need = RECORD_HEAD;
		return true;
	case 0x24:
	case 0x2C:
		f->state = IN_HEAD;
		f->need = PLAIN_HEAD;
		return true;
	default:
		return unknown_record(b, f->in[0]);
	}
}

static bool
on_packed_head(struct bak *b)
{
	struct bak_front *f = b->front;
	unsigned sectors = f->in[1], len = u16_at(f->in, RECORD_HEAD, 2);

	if (sectors == 0 || sectors > SECTORS_MAX || len == 0)
		return bak_fail(b, BAK_END_DAMAGED, "the record at byte %" PRIu64 " is damaged: %u sectors in %u bytes", f->record_at, sectors, len);
	f->state = IN_PACKED;
	f->need = RECORD_HEAD + len;
	return true;
}

static bool
on_packed(struct bak *b)
{
	struct bak_front *f = b->front;
	size_t len = f->need - RECORD_HEAD, unpacked = (size_t)f->in[1] * SECTOR;
	uint32_t stored = u32_at(f->in, RECORD_HEAD, 24), sum = fold(0, f->in + RECORD_HEAD, len);

	if (sum != stored)
		return bak_fail(b, BAK_END_DAMAGED, "the compressed record at byte %" PRIu64 " is damaged: its checksum is 0x%08X, its bytes "
		                "give 0x%08X", f->record_at, stored, sum);
	/*
	 * Exactly the size announced out of exactly the bytes there: at most two were left over in real records. The
	 * sum does not cover the size, which the mark of the end gives away when it is wrong.
	 */
	if (!xpress_decode(&f->xpress, f->in + RECORD_HEAD, len, f->out, unpacked) || f->xpress.unread > 2 || !f->xpress.marked)
		return bak_fail(b, BAK_END_DAMAGED, "the compressed record at byte %" PRIu64 " cannot be unpacked", f->record_at);
	f->records.data++;
	next_record(f);
	bak_walk_feed(b, f->out, unpacked);
	return !b->stopped;
}

/* A mark goes to the walk as it is: its head, and then what it says it holds. */
static bool
on_mark(struct bak *b)
{
	struct bak_front *f = b->front;
	uint16_t size = u16_at(f->in, MARK_HEAD, 8);

	pass(f, PASSING_MARK, size > MARK_HEAD ? size - MARK_HEAD : 0);
	bak_walk_feed(b, f->in, MARK_HEAD); /* which refuses a mark whose sum or size is wrong */
	return !b->stopped;
}

static bool
on_head(struct bak *b)
{
	struct bak_front *f = b->front;

	if (f->in[0] == 'S')
		return on_mark(b);
	if (f->in[0] == 0x21)
		return on_packed_head(b);
	if (f->in[0] == 0x24) {
		f->records.padding++;
		pass(f, PASSING_PADDING, u16_at(f->in, PLAIN_HEAD, 2));
		return true;
	}
	f->state = AT_INDEX;
	f->have = 0;
	f->need = INDEX_HEAD;
	return true;
}

/* An index grows with the backup (16 bytes per record), so it is summed up as it passes. */
static bool
on_index(struct bak *b)
{
	struct bak_front *f = b->front;
	uint64_t entries = (uint64_t)u32_at(f->in, INDEX_HEAD, 4) * 16, len = u32_at(f->in, INDEX_HEAD, 8);

	if (len < 2 * INDEX_HEAD + entries)
		return bak_fail(b, BAK_END_DAMAGED, "the index at byte %" PRIu64 " is damaged: %" PRIu64 " bytes of entries in %" PRIu64,
		                f->record_at, entries, len);
	memcpy(f->index_head, f->in, INDEX_HEAD);
	f->zeros = len - 2 * INDEX_HEAD - entries;
	f->sum = 0;
	f->sum_wanted = u32_at(f->in, INDEX_HEAD, 12);
	f->entries_left = entries;
	f->state = IN_ENTRIES;
	f->have = 0;
	f->need = entries < 4096 ? (size_t)entries : 4096;
	return true;
}

static bool
on_entries(struct bak *b)
{
	struct bak_front *f = b->front;

	f->sum = fold(f->sum, f->in, f->need);
	f->entries_left -= f->need;
	f->have = 0;
	f->need = f->entries_left < 4096 ? (size_t)f->entries_left : 4096;
	if (f->entries_left > 0)
		return true;
	if (f->sum != f->sum_wanted)
		return bak_fail(b, BAK_END_DAMAGED, "the index at byte %" PRIu64 " is damaged: its checksum is 0x%08X, its bytes give 0x%08X",
		                f->record_at, f->sum_wanted, f->sum);
	pass(f, PASSING_ZEROS, f->zeros);
	return true;
}

static bool
on_index_tail(struct bak *b)
{
	struct bak_front *f = b->front;

	if (memcmp(f->in, f->index_head, INDEX_HEAD) != 0)
		return bak_fail(b, BAK_END_DAMAGED, "head and tail of the index at byte %" PRIu64 " differ", f->record_at);
	f->records.indexes++;
	next_record(f);
	return true;
}

static bool
on_collected(struct bak *b)
{
	struct bak_front *f = b->front;

	switch (f->state) {
	case IN_HEADER: return on_header(b);
	case AT_RECORD: return on_kind(b);
	case IN_HEAD: return on_head(b);
	case IN_PACKED: return on_packed(b);
	case AT_INDEX: return on_index(b);
	case IN_ENTRIES: return on_entries(b);
	case IN_INDEX_TAIL: return on_index_tail(b);
	case PASSING_ZEROS:
		f->state = IN_INDEX_TAIL;
		f->need = INDEX_HEAD;
		return true;
	case PASSING_MARK: case PASSING_PADDING:
		break;
	}
	next_record(f);
	return true;
}

static bool
is_passing(const struct bak_front *f)
{
	return f->state == PASSING_MARK || f->state == PASSING_PADDING || f->state == PASSING_ZEROS;
}

static size_t
take_some(struct bak *b, const uint8_t *mem, size_t len)
{
	struct bak_front *f = b->front;
	uint64_t want = is_passing(f) ? f->left : f->need - f->have;
	size_t n = want < len ? (size_t)want : len;

	if (f->state == PASSING_MARK)
		bak_walk_feed(b, mem, n);
	if (is_passing(f)) {
		f->left -= n;
	} else {
		memcpy(f->in + f->have, mem, n);
		f->have += n;
	}
	f->at += n;
	return n;
}

void
bak_front_feed(struct bak *b, const uint8_t *mem, size_t len)
{
	struct bak_front *f = b->front;

	while (len > 0 && !b->stopped) {
		size_t n = take_some(b, mem, len);

		mem += n;
		len -= n;
		while (!b->stopped && (is_passing(f) ? f->left == 0 : f->have == f->need) && on_collected(b))
			;
	}
}
