#include "tests/fuzz/packed.h"

#include <stdlib.h>
#include <string.h>

#include "common/bak_xpress.h"
#include "tests/standin/xpress_write.h"

enum { HEADER = 0x1E0, RECORD_HEAD = 28, PLAIN_HEAD = 24, INDEX_HEAD = 16, MARK_HEAD = 52, TABLE = 256, FLAT = 9, SECTOR_SIZE = 512,
	RECORD_SECTORS = 64, LONGEST = 15 };

/* ---- tables ----------------------------------------------------------------------------------------------------- */

static unsigned
length_of(const uint8_t *table, unsigned symbol)
{
	return symbol % 2 == 0 ? table[symbol / 2] & 15u : table[symbol / 2] >> 4;
}

static void
set_length(uint8_t *table, unsigned symbol, unsigned length)
{
	table[symbol / 2] = (uint8_t)(symbol % 2 == 0 ? (table[symbol / 2] & 0xF0u) | length : (table[symbol / 2] & 15u) | length << 4);
}

void
packed_table(uint8_t *table)
{
	unsigned room = 1u << LONGEST;

	for (unsigned s = 0; s < 2 * TABLE; s++) {
		unsigned length = length_of(table, s);

		if (length > 0 && 1u << (LONGEST - length) > room)
			set_length(table, s, length = 0);
		room -= length == 0 ? 0 : 1u << (LONGEST - length);
	}
	/* What is left over is given to symbols without a code, the largest pieces first. */
	for (unsigned s = 0; s < 2 * TABLE && room > 0; s++) {
		unsigned largest = 31 - (unsigned)__builtin_clz(room), length = largest >= LONGEST ? 1 : LONGEST - largest;

		if (length_of(table, s) > 0)
			continue;
		set_length(table, s, length);
		room -= 1u << (LONGEST - length);
	}
	if (room > 0)
		memset(table, FLAT << 4 | FLAT, TABLE);
}

/* ---- records ---------------------------------------------------------------------------------------------------- */

static uint32_t
fold(uint32_t sum, const uint8_t *mem, size_t len)
{
	for (size_t i = 0; i < len; i += 4) {
		uint32_t word = 0;

		for (size_t k = 0; k < 4 && i + k < len; k++)
			word |= (uint32_t)mem[i + k] << 8 * k;
		sum = (sum << 1 | sum >> 31) ^ word;
	}
	return sum;
}

/* The record at a place: where it ends (beyond len where the file ends before), 0 where there is none. */
static size_t
record_end(const uint8_t *mem, size_t len, size_t at)
{
	if (len - at < MARK_HEAD)
		return 0;
	if (memcmp(mem + at, "SFMB", 4) == 0)
		return at + (tape_u16(mem + at + 8) < MARK_HEAD ? MARK_HEAD : tape_u16(mem + at + 8));
	if (mem[at] == 0x21)
		return at + RECORD_HEAD + tape_u16(mem + at + 2);
	if (mem[at] == 0x24)
		return at + PLAIN_HEAD + tape_u16(mem + at + 2);
	if (mem[at] == 0x2C)
		return at + PLAIN_HEAD + (size_t)tape_u32(mem + at + PLAIN_HEAD + 8);
	return 0;
}

/* One packed record of n bytes, whole sectors; the new length of the file or 0. */
static size_t
put_record(uint8_t *out, size_t at, size_t max, const uint8_t *mem, size_t n)
{
	static uint8_t packed[XPRESS_WRITE_ROOM];
	size_t len = xpress_write(mem, n, packed);

	if (len > PACKED_MAX || at + RECORD_HEAD + len > max)
		return 0;
	memset(out + at, 0, RECORD_HEAD);
	out[at] = 0x21;
	out[at + 1] = (uint8_t)(n / SECTOR_SIZE);
	tape_set16(out + at + 2, (uint16_t)len);
	memcpy(out + at + RECORD_HEAD, packed, len);
	tape_set32(out + at + 24, fold(0, packed, len));
	return at + RECORD_HEAD + len;
}

static size_t
put_padding(uint8_t *out, size_t at, size_t max)
{
	size_t n = SECTOR_SIZE - (at + PLAIN_HEAD) % SECTOR_SIZE;

	if (at + PLAIN_HEAD + n > max)
		return 0;
	memset(out + at, 0, PLAIN_HEAD + n);
	out[at] = 0x24;
	tape_set16(out + at + 2, (uint16_t)n);
	return at + PLAIN_HEAD + n;
}

/* An index of one entry. */
static size_t
put_index(uint8_t *out, size_t at, size_t max)
{
	uint8_t *m = out + at + PLAIN_HEAD;
	size_t n = 3 * INDEX_HEAD + SECTOR_SIZE;

	if (at + PLAIN_HEAD + n > max)
		return 0;
	memset(out + at, 0, PLAIN_HEAD + n);
	out[at] = 0x2C;
	m[0] = m[2] = m[4] = 1;
	tape_set32(m + 8, (uint32_t)n);
	tape_set64(m + INDEX_HEAD + 8, HEADER);
	tape_set32(m + 12, fold(0, m + INDEX_HEAD, 16));
	memcpy(m + n - INDEX_HEAD, m, INDEX_HEAD);
	return at + PLAIN_HEAD + n;
}

/* The blocks between two marks, in records; what does not fill a sector at the end is filled with zeros. */
static size_t
put_run(const uint8_t *tape, size_t from, size_t to, uint8_t *out, size_t at, size_t max)
{
	uint8_t piece[RECORD_SECTORS * SECTOR_SIZE];

	while (from < to && at > 0) {
		size_t n = to - from < sizeof(piece) ? to - from : sizeof(piece), whole = (n + SECTOR_SIZE - 1) / SECTOR_SIZE * SECTOR_SIZE;

		memset(piece, 0, whole);
		memcpy(piece, tape + from, n);
		at = put_record(out, at, max, piece, whole);
		from += n;
	}
	return at;
}

/* Packs all of it; notes where sets lie in the file. */
static size_t
pack(const uint8_t *tape, size_t len, uint8_t *out, size_t max, uint64_t set_at[TAPE_SETS_MAX])
{
	struct tape_blocks b = tape_blocks(tape, len);
	size_t at = HEADER, run = 0, sets = 0;

	if (max < HEADER)
		return 0;
	memset(out, 0, HEADER);
	memcpy(out, "MSSQLBAK\2\0\0\0\3", 13);
	for (size_t i = 0; i <= b.n && at > 0; i++) {
		size_t here = i < b.n ? b.at[i] : len, size;
		bool mark = i < b.n && memcmp(tape + here, "SFMB", 4) == 0;

		if (!mark && i < b.n && memcmp(tape + here, "SSET", 4) != 0)
			continue;
		at = put_run(tape, run, here, out, at, max);
		run = here;
		if (i < b.n && !mark && sets < TAPE_SETS_MAX)
			set_at[sets++] = at;
		size = mark ? b.at[i + 1] - here : 0;
		if (at == 0 || !mark)
			continue;
		at = at + size > max ? 0 : at;
		if (at == 0)
			break;
		memcpy(out + at, tape + here, size);
		at += size;
		run = b.at[i + 1];
		if (sets > 0 && at > 0)
			at = i % 2 == 0 ? put_padding(out, at, max) : put_index(out, at, max);
	}
	return at;
}

size_t
packed_make(uint8_t *tape, size_t len, uint8_t *out, size_t max)
{
	uint64_t set_at[TAPE_SETS_MAX] = { 0 }, before[TAPE_SETS_MAX];
	size_t n = pack(tape, len, out, max, set_at);

	/* The places written into the sets change how they pack, and so where the next one lies: once more is enough for most. */
	for (int i = 0; n > 0 && i < 3; i++) {
		memcpy(before, set_at, sizeof(before));
		tape_repair(tape, len, TAPE_HEADS | TAPE_PLACES | TAPE_SUMS, set_at);
		n = pack(tape, len, out, max, set_at);
		if (memcmp(before, set_at, sizeof(before)) == 0)
			break;
	}
	return n;
}

size_t
packed_open(const uint8_t *mem, size_t len, uint8_t *tape, size_t max)
{
	static uint8_t block[PACKED_BLOCK + XPRESS_SLACK];
	static struct xpress x;
	size_t at = HEADER, end, n = 0;

	for (; at < len && (end = record_end(mem, len, at)) > 0 && end <= len; at = end) {
		size_t size = memcmp(mem + at, "SFMB", 4) == 0 ? end - at : mem[at] == 0x21 ? mem[at + 1] * (size_t)SECTOR_SIZE : 0;

		if (mem[at] == 0x21 && (size > PACKED_BLOCK || !xpress_decode(&x, mem + at + RECORD_HEAD, end - at - RECORD_HEAD, block, size)))
			return n;
		if (n + size > max)
			return n;
		memcpy(tape + n, mem[at] == 0x21 ? block : mem + at, size);
		n += size;
	}
	return n;
}

static void
repair_index(uint8_t *m, size_t len)
{
	size_t entries;

	if (len < 2 * INDEX_HEAD)
		return;
	entries = tape_u32(m + 4);
	if (entries > (len - 2 * INDEX_HEAD) / 16)
		entries = (len - 2 * INDEX_HEAD) / 16;
	tape_set32(m + 4, (uint32_t)entries);
	tape_set32(m + 12, fold(0, m + INDEX_HEAD, entries * 16));
	memcpy(m + len - INDEX_HEAD, m, INDEX_HEAD);
}

void
packed_repair(uint8_t *mem, size_t len, bool tables)
{
	size_t at = HEADER, end;

	for (; at < len && (end = record_end(mem, len, at)) > 0 && end <= len; at = end) {
		if (mem[at] == 0x21 && tables && end - at >= RECORD_HEAD + TABLE)
			packed_table(mem + at + RECORD_HEAD);
		if (mem[at] == 0x21)
			tape_set32(mem + at + 24, fold(0, mem + at + RECORD_HEAD, end - at - RECORD_HEAD));
		if (mem[at] == 0x2C)
			repair_index(mem + at + PLAIN_HEAD, end - at - PLAIN_HEAD);
	}
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

/* One of the records; false when there is none. */
static bool
choose_record(const uint8_t *mem, size_t len, struct fuzz_dice *dice, size_t *from, size_t *to)
{
	size_t at = HEADER, end, i = 1;

	for (; at < len && (end = record_end(mem, len, at)) > 0 && end <= len; at = end)
		if (fuzz_below(dice, i++) == 0) {
			*from = at;
			*to = end;
		}
	return i > 1;
}

static size_t
replace(uint8_t *mem, size_t len, size_t max, size_t from, size_t to, const uint8_t *with, size_t n)
{
	if (len - (to - from) + n > max)
		return len;
	memmove(mem + from + n, mem + to, len - to);
	if (n > 0)
		memcpy(mem + from, with, n);
	return len - (to - from) + n;
}

size_t
packed_damage(uint8_t *mem, size_t len, size_t max, struct fuzz_dice *dice)
{
	static uint8_t copy[2 * (PACKED_MAX + 1)];
	size_t from, to, n, head, other, other_end;

	if (!choose_record(mem, len, dice, &from, &to) || to - from > PACKED_MAX)
		return LLVMFuzzerMutate(mem, len, max);
	n = to - from;
	memcpy(copy, mem + from, n);
	switch (fuzz_below(dice, 6)) {
	case 0:
		return replace(mem, len, max, from, to, NULL, 0);
	case 1:
		choose_record(mem, len, dice, &other, &other_end);
		return replace(mem, len, max, other, other, copy, n);
	case 2:
		LLVMFuzzerMutate(mem + from, n < RECORD_HEAD ? n : RECORD_HEAD, n < RECORD_HEAD ? n : RECORD_HEAD);
		return len;
	case 3:
		return LLVMFuzzerMutate(mem, len, max);
	default: /* the packed bytes, whose number the head says */
		head = copy[0] == 0x21 ? RECORD_HEAD : PLAIN_HEAD;
		if (n <= head || copy[0] == 'S')
			return LLVMFuzzerMutate(mem, len, max);
		n = LLVMFuzzerMutate(copy + head, n - head, PACKED_MAX);
		tape_set16(copy + 2, (uint16_t)n);
		if (copy[0] == 0x2C && n >= 12)
			tape_set32(copy + PLAIN_HEAD + 8, (uint32_t)n);
		return replace(mem, len, max, from, to, copy, head + n);
	}
}
