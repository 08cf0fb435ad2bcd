#include "tests/fuzz/tape.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_HEAD = 52, STREAM_HEAD = 22, PAGE = 8192, SECTOR_SIZE = 512, WINDOW = 4096 };

uint16_t tape_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
uint32_t tape_u32(const uint8_t *p) { return tape_u16(p) | (uint32_t)tape_u16(p + 2) << 16; }
uint64_t tape_u64(const uint8_t *p) { return tape_u32(p) | (uint64_t)tape_u32(p + 4) << 32; }
void tape_set16(uint8_t *p, uint16_t v) { p[0] = (uint8_t)v; p[1] = (uint8_t)(v >> 8); }
void tape_set32(uint8_t *p, uint32_t v) { tape_set16(p, (uint16_t)v); tape_set16(p + 2, (uint16_t)(v >> 16)); }
void tape_set64(uint8_t *p, uint64_t v) { tape_set32(p, (uint32_t)v); tape_set32(p + 4, (uint32_t)(v >> 32)); }

static bool is(const uint8_t *m, const char *name) { return memcmp(m, name, 4) == 0; }

/* ---- the layout ------------------------------------------------------------------------------------------------ */

struct stream {
	size_t at;      /* of its header */
	size_t from, to; /* its bytes, as far as the file has them */
	size_t next;    /* the stream behind it, or the block behind a SPAD; beyond the file when it ends early */
};

static struct stream
stream_at(const uint8_t *mem, size_t len, size_t at)
{
	struct stream s = { .at = at, .from = at + STREAM_HEAD };
	uint64_t n = tape_u64(mem + at + 8);

	s.to = n > len - s.from ? len : s.from + (size_t)n;
	s.next = n > len - s.from ? len + 1 : is(mem + at, "SPAD") ? s.to : (s.to + 3) & ~(size_t)3;
	return s;
}

/* The block at a place ends where its SPAD ends, a mark where it says; len where the file ends before. */
static size_t
block_end(const uint8_t *mem, size_t len, size_t at)
{
	size_t p = at + tape_u16(mem + at + 8);

	if (is(mem + at, "SFMB"))
		return p > len ? len : p;
	while (p + STREAM_HEAD <= len) {
		struct stream s = stream_at(mem, len, p);

		p = s.next;
		if (is(mem + s.at, "SPAD"))
			break;
	}
	return p > len ? len : p;
}

struct tape_blocks
tape_blocks(const uint8_t *mem, size_t len)
{
	struct tape_blocks b = { 0 };
	size_t at = 0;

	while (b.n < TAPE_BLOCKS_MAX && at + BLOCK_HEAD <= len && tape_u16(mem + at + 8) >= BLOCK_HEAD) {
		b.at[b.n++] = at;
		at = block_end(mem, len, at);
	}
	b.at[b.n] = at > len ? len : at;
	return b;
}

/* ---- repair ---------------------------------------------------------------------------------------------------- */

struct repair {
	uint8_t *mem;
	size_t len;
	unsigned what;
	const uint64_t *set_at;
	size_t block, set, n_sets; /* the current block and set */
	uint32_t number, unit, family, sum;
	uint64_t sets[TAPE_SETS_MAX];
	uint32_t attributes[TAPE_SETS_MAX];
};

static void
seal(uint8_t *p, size_t words)
{
	uint16_t x = 0;

	for (size_t i = 0; i < words; i++)
		x ^= tape_u16(p + 2 * i);
	tape_set16(p + 2 * words, x);
}

static uint32_t
sum_of(uint32_t sum, const uint8_t *p, size_t sectors)
{
	for (size_t s = 0; s < sectors; s++) {
		uint32_t x = 0;

		for (size_t i = 0; i < SECTOR_SIZE; i += 4)
			x ^= tape_u32(p + s * SECTOR_SIZE + i);
		sum = (sum << 1 | sum >> 31) ^ x;
	}
	return sum;
}

static void
repair_place(struct repair *r, size_t room)
{
	uint8_t *m = r->mem + r->block;

	if (is(m, "TAPE") && room >= 0x60) {
		r->unit = tape_u16(m + 0x54) == 0 ? 1024 : tape_u16(m + 0x54);
		r->family = tape_u32(m + 0x34);
	}
	if (is(m, "SSET") && room >= 0x60 && r->n_sets < TAPE_SETS_MAX) {
		r->set = r->block;
		r->number = 0;
		r->attributes[r->n_sets] = tape_u32(m + 0x34);
		r->sets[r->n_sets] = r->set_at == NULL ? r->block : r->set_at[r->n_sets];
		if (r->what & TAPE_PLACES) {
			tape_set64(m + 0x50, r->sets[r->n_sets]);
			tape_set16(m + 0x3E, (uint16_t)(r->n_sets + 1));
		}
		r->n_sets++;
	}
	if ((r->what & TAPE_PLACES) && (is(m, "VOLB") || is(m, "MSCI") || is(m, "MSDA") || is(m, "MSTL") || is(m, "MSLS"))) {
		tape_set64(m + 20, (r->block - r->set) / (r->unit == 0 ? 1024 : r->unit));
		tape_set32(m + 36, ++r->number);
	}
}

static void
repair_pages(struct repair *r, size_t from, size_t to)
{
	for (; (r->what & TAPE_PAGES) && from + PAGE <= to; from += PAGE) {
		uint8_t *page = r->mem + from;

		if (page[0] == 1 && (page[5] & 2)) {
			tape_set32(page + 0x3C, 0);
			tape_set32(page + 0x3C, sum_of(0, page, PAGE / SECTOR_SIZE));
		}
	}
}

static void
repair_log(struct repair *r, size_t from, size_t to)
{
	const uint8_t *m = r->mem + r->block;
	uint64_t start = tape_u64(m + 0x3C), vlf = tape_u64(m + 0x68);
	size_t at = from;

	if (!(r->what & TAPE_LOG) || tape_u16(m + 8) < 0x73)
		return;
	while (at + SECTOR_SIZE <= to) {
		size_t sectors = tape_u16(r->mem + at + 6) / SECTOR_SIZE;

		if (sectors == 0 || sectors > (to - at) / SECTOR_SIZE)
			return;
		tape_set16(r->mem + at + 6, (uint16_t)(sectors * SECTOR_SIZE));
		tape_set32(r->mem + at + 12, tape_u32(m + 0x5C));
		tape_set32(r->mem + at + 16, (uint32_t)((start - vlf + (at - from)) / SECTOR_SIZE));
		for (size_t i = 0; i < sectors; i++)
			r->mem[at + i * SECTOR_SIZE] = (uint8_t)(m[0x72] | (i == 0 ? 0x10 : 0) | (i + 1 == sectors ? 8 : 0));
		at += sectors * SECTOR_SIZE;
	}
}

static void
repair_map(struct repair *r, size_t from, size_t to)
{
	uint8_t *m = r->mem;
	size_t set = 0;

	if (!(r->what & TAPE_PLACES) || to - from < 8)
		return;
	tape_set32(m + from, r->family);
	tape_set16(m + from + 4, (uint16_t)r->n_sets);
	for (size_t at = from + 8; at + 20 <= to && set < r->n_sets;) {
		size_t n = tape_u16(m + at);

		if (n < 6)
			return;
		if (!is(m + at + 2, "VOLB")) {
			tape_set32(m + at + 8, r->attributes[set]);
			tape_set64(m + at + 12, r->sets[set++]);
		}
		at += n;
	}
}

static void
repair_catalog(struct repair *r, size_t from, size_t to)
{
	while ((r->what & TAPE_LENGTHS) && from + 8 <= to) {
		uint32_t n = tape_u32(r->mem + from + 4);

		if (n < 8 || n > to - from)
			tape_set32(r->mem + from + 4, n = (uint32_t)(to - from));
		from += n;
	}
}

static void
repair_content(struct repair *r, const struct stream *s)
{
	const uint8_t *m = r->mem + s->at;
	size_t data = s->from + 2 < s->to ? s->from + 2 : s->to;

	if (is(m, "MQDA"))
		repair_pages(r, data, s->to);
	if (is(m, "MQTL"))
		repair_log(r, data, s->to);
	if (is(m, "MQDA") || is(m, "MQTL"))
		r->sum = sum_of(0, r->mem + data, (s->to - data) / SECTOR_SIZE);
	if (is(m, "CSUM") && s->to - s->from == 4 && (r->what & TAPE_SUMS))
		tape_set32(r->mem + s->from, r->sum);
	if (is(m, "TSMP"))
		repair_map(r, s->from, s->to);
	if (is(m, "MQCI"))
		repair_catalog(r, s->from, s->to);
}

static size_t
repair_stream(struct repair *r, size_t at)
{
	struct stream s;

	if ((r->what & TAPE_LENGTHS) && tape_u64(r->mem + at + 8) > r->len - at - STREAM_HEAD)
		tape_set64(r->mem + at + 8, (r->len - at - STREAM_HEAD) / 2);
	s = stream_at(r->mem, r->len, at);
	if (r->what & TAPE_HEADS)
		seal(r->mem + at, 10);
	repair_content(r, &s);
	return s.next;
}

void
tape_repair(uint8_t *mem, size_t len, unsigned what, const uint64_t set_at[TAPE_SETS_MAX])
{
	struct repair r = { .mem = mem, .len = len, .what = what, .set_at = set_at };

	while (r.block + BLOCK_HEAD <= len) {
		uint8_t *m = mem + r.block;
		size_t size = tape_u16(m + 8), p = r.block + size;

		if (is(m, "SFMB") && (what & TAPE_PLACES) && (size == 0 || size % SECTOR_SIZE != 0))
			tape_set16(m + 8, SECTOR_SIZE);
		repair_place(&r, size < len - r.block ? size : len - r.block);
		if (what & TAPE_HEADS)
			seal(m, 25);
		if (tape_u16(m + 8) < BLOCK_HEAD)
			return;
		if (is(m, "SFMB")) {
			r.block += tape_u16(m + 8);
			continue;
		}
		while (p + STREAM_HEAD <= len) {
			size_t at = p;

			p = repair_stream(&r, at);
			if (is(mem + at, "SPAD"))
				break;
		}
		r.block = p;
	}
}

/* ---- damage ----------------------------------------------------------------------------------------------------- */

struct damage {
	uint8_t *mem;
	size_t len, max;
	struct fuzz_dice *dice;
	struct tape_blocks blocks;
};

/* The bytes [from, to) become those of mem; false when there is no room. */
static bool
splice(struct damage *d, size_t from, size_t to, const uint8_t *mem, size_t n)
{
	if (d->len - (to - from) + n > d->max)
		return false;
	memmove(d->mem + from + n, d->mem + to, d->len - to);
	if (n > 0)
		memcpy(d->mem + from, mem, n);
	d->len = d->len - (to - from) + n;
	return true;
}

/* Up to a handful of blocks in a row: one block, or a whole set. */
static void
choose_blocks(struct damage *d, size_t *from, size_t *to)
{
	size_t i = fuzz_below(d->dice, d->blocks.n), n = 1 + (fuzz_below(d->dice, 4) == 0 ? fuzz_below(d->dice, 12) : 0);

	*from = d->blocks.at[i];
	*to = d->blocks.at[i + n < d->blocks.n ? i + n : d->blocks.n];
}

static void
leave_out(struct damage *d)
{
	size_t from, to;

	choose_blocks(d, &from, &to);
	splice(d, from, to, NULL, 0);
}

static void
put_in_again(struct damage *d)
{
	size_t from, to, where = d->blocks.at[fuzz_below(d->dice, d->blocks.n + 1)];
	uint8_t *copy;

	choose_blocks(d, &from, &to);
	copy = malloc(to - from + 1);
	memcpy(copy, d->mem + from, to - from);
	splice(d, where, where, copy, to - from);
	free(copy);
}

/* Changes up to WINDOW bytes at a place, which stay as many. */
static void
change(struct damage *d, size_t from, size_t to)
{
	size_t n = to - from < WINDOW ? to - from : WINDOW, got;
	uint8_t copy[WINDOW];

	if (n == 0)
		return;
	memcpy(copy, d->mem + from, n);
	got = LLVMFuzzerMutate(copy, n, n);
	memcpy(d->mem + from, copy, got < n ? got : n);
}

static void
change_block(struct damage *d)
{
	size_t at = d->blocks.at[fuzz_below(d->dice, d->blocks.n)], size = tape_u16(d->mem + at + 8);

	change(d, at + (fuzz_below(d->dice, 3) == 0 ? 0 : 4), size < d->len - at ? at + size : d->len);
}

/* One of the streams of one of the blocks. */
static bool
choose_stream(struct damage *d, struct stream *s)
{
	size_t at = d->blocks.at[fuzz_below(d->dice, d->blocks.n)], p = at + tape_u16(d->mem + at + 8);
	bool found = false;

	if (is(d->mem + at, "SFMB"))
		return false;
	for (size_t i = 1; p + STREAM_HEAD <= d->len; i++) {
		struct stream one = stream_at(d->mem, d->len, p);

		if (fuzz_below(d->dice, i) == 0)
			*s = one;
		found = true;
		p = one.next;
		if (is(d->mem + one.at, "SPAD"))
			break;
	}
	return found;
}

static void
change_stream(struct damage *d)
{
	struct stream s;

	if (!choose_stream(d, &s))
		return;
	if (fuzz_below(d->dice, 4) == 0)
		change(d, s.at, s.from);
	else
		change(d, s.from, s.to);
}

/* A stream gets longer or shorter; what follows stays where it may stand, at multiples of four. */
static void
resize_stream(struct damage *d)
{
	struct stream s;
	uint8_t copy[STREAM_HEAD + WINDOW + 4] = { 0 };
	size_t n;

	if (!choose_stream(d, &s) || s.to - s.from > WINDOW || s.next > d->len || is(d->mem + s.at, "SPAD"))
		return;
	n = s.to - s.from;
	memcpy(copy, d->mem + s.at, STREAM_HEAD + n);
	n = LLVMFuzzerMutate(copy + STREAM_HEAD, n, WINDOW);
	tape_set64(copy + 8, n);
	splice(d, s.at, s.next, copy, (STREAM_HEAD + n + 3) & ~(size_t)3);
}

static void
drop_or_repeat_stream(struct damage *d)
{
	struct stream s;
	uint8_t *copy;

	if (!choose_stream(d, &s) || s.next > d->len)
		return;
	if (fuzz_below(d->dice, 2) == 0) {
		splice(d, s.at, s.next, NULL, 0);
		return;
	}
	copy = malloc(s.next - s.at);
	memcpy(copy, d->mem + s.at, s.next - s.at);
	splice(d, s.at, s.at, copy, s.next - s.at);
	free(copy);
}

/* A structure of a catalogue is left out, repeated, or changed in itself. */
static void
change_catalog(struct damage *d)
{
	struct stream s = { 0 };
	size_t at, n, pick = 0, i = 1;
	uint8_t copy[WINDOW];

	for (int tries = 0; tries < 16 && !(choose_stream(d, &s) && is(d->mem + s.at, "MQCI")); tries++)
		;
	if (s.next == 0 || s.next > d->len || !is(d->mem + s.at, "MQCI"))
		return;
	for (at = s.from; at + 8 <= s.to && (n = tape_u32(d->mem + at + 4)) >= 8 && n <= s.to - at; at += n)
		if (fuzz_below(d->dice, i++) == 0)
			pick = at;
	if (pick == 0 || (n = tape_u32(d->mem + pick + 4)) > WINDOW)
		return;
	memcpy(copy, d->mem + pick, n);
	switch (fuzz_below(d->dice, 3)) {
	case 0:
		change(d, pick + 8, pick + n);
		break;
	case 1:
		if (n % 4 == 0 && splice(d, pick, pick + n, NULL, 0))
			tape_set64(d->mem + s.at + 8, tape_u64(d->mem + s.at + 8) - n);
		break;
	default:
		if (n % 4 == 0 && splice(d, pick, pick, copy, n))
			tape_set64(d->mem + s.at + 8, tape_u64(d->mem + s.at + 8) + n);
		break;
	}
}

/* A page of data: its header, or all of it over another one. */
static void
change_page(struct damage *d)
{
	struct stream s = { 0 };
	size_t n, a, b;

	for (int tries = 0; tries < 16 && !(choose_stream(d, &s) && is(d->mem + s.at, "MQDA")); tries++)
		;
	n = s.to < s.from + 2 ? 0 : (s.to - s.from - 2) / PAGE;
	if (n == 0)
		return;
	a = s.from + 2 + PAGE * fuzz_below(d->dice, n);
	b = s.from + 2 + PAGE * fuzz_below(d->dice, n);
	switch (fuzz_below(d->dice, 4)) {
	case 0:
		memmove(d->mem + a, d->mem + b, PAGE);
		break;
	case 1:
		memset(d->mem + a, 0, PAGE);
		break;
	case 2:
		change(d, a, a + 96);
		break;
	default:
		change(d, a + 96, a + PAGE);
		break;
	}
}

/* The bytes that log blocks hang together by: the first of a sector, the head of a block. */
static void
change_log(struct damage *d)
{
	struct stream s = { 0 };
	size_t n, at;

	for (int tries = 0; tries < 16 && !(choose_stream(d, &s) && is(d->mem + s.at, "MQTL")); tries++)
		;
	n = s.to < s.from + 2 ? 0 : (s.to - s.from - 2) / SECTOR_SIZE;
	if (n == 0)
		return;
	at = s.from + 2 + SECTOR_SIZE * fuzz_below(d->dice, n < 8 ? n : 8);
	change(d, at, at + (fuzz_below(d->dice, 2) == 0 ? 1 : 24));
}

static void
change_anything(struct damage *d)
{
	d->len = LLVMFuzzerMutate(d->mem, d->len, d->max);
}

static void
cut_off(struct damage *d)
{
	d->len = 1 + fuzz_below(d->dice, d->len);
}

size_t
tape_damage(uint8_t *mem, size_t len, size_t max, struct fuzz_dice *dice)
{
	static void (*const ways[])(struct damage *d) = {
		change_block, change_block, change_block, change_stream, change_stream, resize_stream, drop_or_repeat_stream, change_catalog,
		change_catalog, change_page, change_page, change_log, leave_out, put_in_again, put_in_again, change_anything, cut_off,
	};
	struct damage d = { .mem = mem, .len = len, .max = max, .dice = dice, .blocks = tape_blocks(mem, len) };

	if (d.blocks.n == 0)
		change_anything(&d);
	else
		ways[fuzz_below(dice, sizeof(ways) / sizeof(ways[0]))](&d);
	return d.len;
}
