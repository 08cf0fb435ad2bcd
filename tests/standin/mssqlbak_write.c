#include "tests/standin/mssqlbak_write.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/standin/xpress_write.h"

enum { HEADER = 0x1E0, HEAD = 28, PLAIN_HEAD = 24, SECTOR = 512, BLOCK = 52, STREAM = 22, INDEX_ENTRIES = 2, MARK_MOST = 4096 };

struct pack {
	FILE *in, *out;
	uint64_t at;             /* in the plain file */
	uint64_t out_at;
	uint8_t part[XPRESS_WRITE_MOST];
	size_t n;                /* collected for the next record */
	uint64_t set_at, entries[INDEX_ENTRIES][2];
	size_t n_entries;
	bool bad;
	char block[5], stream[5];
};

static void w16(uint8_t *p, unsigned v) { p[0] = (uint8_t)v; p[1] = (uint8_t)(v >> 8); }
static void w32(uint8_t *p, uint32_t v) { w16(p, v & 0xFFFF); w16(p + 2, v >> 16); }
static void w64(uint8_t *p, uint64_t v) { w32(p, (uint32_t)v); w32(p + 4, (uint32_t)(v >> 32)); }
static unsigned r16(const uint8_t *p) { return (unsigned)p[0] | (unsigned)p[1] << 8; }
static uint64_t r64(const uint8_t *p) { uint64_t v = 0; for (int i = 7; i >= 0; i--) v = v << 8 | p[i]; return v; }

static void
write_out(struct pack *p, const void *mem, size_t len)
{
	p->bad = fwrite(mem, 1, len, p->out) != len || p->bad;
	p->out_at += len;
}

/* The sum of a record: words folded in after rotating, the last filled up with zeros. */
static uint32_t
sum_of(const uint8_t *mem, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 4) {
		uint32_t w = 0;

		for (size_t k = 0; k < 4 && i + k < len; k++)
			w |= (uint32_t)mem[i + k] << 8 * k;
		sum = (sum << 1 | sum >> 31) ^ w;
	}
	return sum;
}

/* What does not get smaller is written in two halves, whose lengths fit; stored records were never seen. */
static void
write_record(struct pack *p, const uint8_t *mem, size_t n)
{
	uint8_t *packed = malloc(HEAD + XPRESS_WRITE_ROOM);
	size_t len = xpress_write(mem, n, packed + HEAD);

	if (len > 65535) {
		size_t half = n / 2 / SECTOR * SECTOR;

		free(packed);
		write_record(p, mem, half);
		write_record(p, mem + half, n - half);
		return;
	}
	memset(packed, 0xA5, HEAD);
	packed[0] = 0x21;
	packed[1] = (uint8_t)(n / SECTOR);
	w16(packed + 2, (unsigned)len);
	w32(packed + 20, 0);
	w32(packed + 24, sum_of(packed + HEAD, len));
	write_out(p, packed, HEAD + len);
	free(packed);
}

static void
end_record(struct pack *p)
{
	if (p->n == 0)
		return;
	if (p->n % SECTOR != 0) {
		p->bad = true;
		return;
	}
	if (p->n_entries < INDEX_ENTRIES && p->set_at > 0) {
		p->entries[p->n_entries][0] = p->at - p->n - p->set_at;
		p->entries[p->n_entries++][1] = p->out_at;
	}
	write_record(p, p->part, p->n);
	p->n = 0;
}

/* Before a mark: up to a multiple of its size. At least the head of the padding record must fit. */
static void
pad(struct pack *p, size_t unit)
{
	uint8_t none[2 * MARK_MOST] = { 0 };
	size_t left = unit - p->out_at % unit, len;

	left += left < PLAIN_HEAD ? unit : 0;
	len = left - PLAIN_HEAD;
	none[0] = 0x24;
	w16(none + 2, (unsigned)len);
	write_out(p, none, left);
}

/* Ends where the mark after it must begin. */
static void
index_of_records(struct pack *p, size_t unit)
{
	uint8_t m[2 * MARK_MOST] = { 0 }, *b = m + PLAIN_HEAD;
	size_t len = 16 + p->n_entries * 16 + 16;

	len += (unit - (p->out_at + PLAIN_HEAD + len) % unit) % unit;
	m[0] = 0x2C;
	w16(b, 1);
	w16(b + 2, 1);
	w32(b + 4, (uint32_t)p->n_entries);
	w32(b + 8, (uint32_t)len);
	for (size_t i = 0; i < p->n_entries; i++) {
		w64(b + 16 + 16 * i, p->entries[i][0]);
		w64(b + 24 + 16 * i, p->entries[i][1]);
	}
	w32(b + 12, sum_of(b + 16, p->n_entries * 16));
	memcpy(b + len - 16, b, 16);
	write_out(p, m, PLAIN_HEAD + len);
}

static void
take(struct pack *p, uint8_t *keep, uint64_t len)
{
	while (len > 0 && !p->bad) {
		size_t n = sizeof(p->part) - p->n < len ? sizeof(p->part) - p->n : (size_t)len;

		if (fread(p->part + p->n, 1, n, p->in) != n) {
			p->bad = true;
			return;
		}
		if (keep != NULL) {
			memcpy(keep, p->part + p->n, n);
			keep += n;
		}
		p->n += n;
		p->at += n;
		len -= n;
		if (p->n == sizeof(p->part))
			end_record(p);
	}
}

static void
take_streams(struct pack *p)
{
	uint8_t head[STREAM];

	do {
		take(p, NULL, (4 - p->at % 4) % 4);
		take(p, head, STREAM);
		memcpy(p->stream, head, 4);
		take(p, NULL, r64(head + 8));
	} while (!p->bad && strcmp(p->stream, "SPAD") != 0);
}

/* A mark stays as it is. */
static void
pass_mark(struct pack *p, const uint8_t *head)
{
	uint8_t rest[65536];
	size_t len = r16(head + 8) - BLOCK;

	p->bad = fread(rest, 1, len, p->in) != len || p->bad;
	p->at += len;
	write_out(p, head, BLOCK);
	write_out(p, rest, len);
}

bool
mssqlbak_write(FILE *plain, FILE *packed, struct err *err)
{
	struct pack *p = calloc(1, sizeof(*p));
	uint8_t head[BLOCK], start[HEADER];
	bool after_set = false;

	p->in = plain;
	p->out = packed;
	memset(start, 0xA5, sizeof(start)); /* a server leaves memory there */
	memcpy(start, "MSSQLBAK", 8);
	w32(start + 8, 2);
	w32(start + 12, 3);
	write_out(p, start, sizeof(start));
	while (!p->bad && fread(head, 1, BLOCK, plain) == BLOCK) {
		memcpy(p->block, head, 4);
		p->at += BLOCK;
		if (strcmp(p->block, "SFMB") == 0) {
			end_record(p);
			p->bad = p->bad || r16(head + 8) > MARK_MOST;
			if (!p->bad)
				(after_set ? index_of_records : pad)(p, r16(head + 8));
			after_set = false;
			pass_mark(p, head);
			continue;
		}
		after_set = after_set || strcmp(p->block, "MSLS") == 0;
		if (strcmp(p->block, "SSET") == 0)
			p->set_at = p->at - BLOCK;
		p->at -= BLOCK;
		p->bad = fseek(plain, -BLOCK, SEEK_CUR) != 0;
		take(p, NULL, r16(head + 8));
		take_streams(p);
	}
	p->bad = p->bad || fflush(packed) != 0;
	if (p->bad)
		err_errno(err, errno == 0 ? EINVAL : errno, "packing a backup");
	after_set = !p->bad;
	free(p);
	return after_set;
}
