#include <stdlib.h>
#include <string.h>

#include "common/bak_xpress.h"
#include "tests/fuzz/packed.h"
#include "tests/standin/xpress_write.h"

/*
 * The decoder alone: two bytes of the wanted size, then the packed bytes. What it says is held against a second
 * decoder, written down from [MS-XCA] 2.2.4 bit by bit; memory around input and output is guarded by its size.
 */

enum { SIZE = 2, TABLE = 256, LONGEST = 15, SPACE = 1 << LONGEST };

struct plain {
	const uint8_t *in;
	size_t len, at;
	uint32_t bits;
	int extra;
};

static unsigned
read_byte(struct plain *p)
{
	return p->at < p->len ? p->in[p->at++] : (p->at++, 0u);
}

static unsigned
read_16(struct plain *p)
{
	unsigned low = read_byte(p);

	return low | read_byte(p) << 8;
}

static void
take(struct plain *p, unsigned n)
{
	p->bits <<= n;
	p->extra -= (int)n;
	if (p->extra < 0) {
		p->bits |= read_16(p) << -p->extra;
		p->extra += 16;
	}
}

static unsigned
length_of(const uint8_t *table, unsigned symbol)
{
	return symbol % 2 == 0 ? table[symbol / 2] & 15u : table[symbol / 2] >> 4;
}

/* The specification's table of all 15-bit numbers; false when it is not filled exactly. */
static bool
fill_table(const uint8_t *in, uint16_t *symbols)
{
	size_t at = 0;

	for (unsigned length = 1; length <= LONGEST; length++)
		for (unsigned s = 0; s < 2 * TABLE; s++)
			for (unsigned i = 0; length_of(in, s) == length && i < 1u << (LONGEST - length); i++) {
				if (at == SPACE)
					return false;
				symbols[at++] = (uint16_t)s;
			}
	return at == SPACE;
}

/* 0 for one that cannot be: a long form of what has a short one. */
static size_t
plain_length(struct plain *p, unsigned nibble)
{
	unsigned n = nibble;

	if (nibble == 15) {
		n = read_byte(p) + 15;
		if (n == 255 + 15 && (n = read_16(p)) < 15)
			return 0;
	}
	return (size_t)n + 3;
}

static bool
decode_plainly(const uint8_t *in, size_t len, uint8_t *out, size_t wanted)
{
	static uint16_t symbols[SPACE];
	struct plain p = { .in = in, .len = len, .at = TABLE, .extra = 16 };
	size_t done = 0;

	if (len < TABLE || !fill_table(in, symbols))
		return false;
	p.bits = read_16(&p) << 16;
	p.bits |= read_16(&p);
	while (done < wanted) {
		unsigned symbol = symbols[p.bits >> (32 - LONGEST)], bits;
		size_t length, distance;

		take(&p, length_of(in, symbol));
		if (symbol < TABLE) {
			out[done++] = (uint8_t)symbol;
			continue;
		}
		length = plain_length(&p, symbol & 15);
		bits = (symbol - TABLE) >> 4;
		distance = ((size_t)1 << bits) + (bits == 0 ? 0 : p.bits >> (32 - bits));
		take(&p, bits);
		if (length == 0 || distance > done || length > wanted - done)
			return false;
		for (size_t i = 0; i < length; i++, done++)
			out[done] = out[done - distance];
	}
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *mem, size_t len)
{
	static struct xpress x; /* with the remains of the call before: nothing of it may matter */
	static uint8_t plain[XPRESS_BLOCK];
	size_t wanted, n = len - SIZE;
	uint8_t *in, *out;
	bool good;

	if (len < SIZE)
		return 0;
	wanted = tape_u16(mem) + 1u;
	in = malloc(n + 1); /* one more in front: malloc(0) may be NULL */
	out = malloc(wanted + XPRESS_SLACK);
	memcpy(in + 1, mem + SIZE, n);
	good = xpress_decode(&x, in + 1, n, out, wanted);
	if (good != decode_plainly(in + 1, n, plain, wanted))
		fuzz_broken("%s by the one decoder and not by the other", good ? "decoded" : "refused");
	if (good && memcmp(out, plain, wanted) != 0)
		fuzz_broken("the two decoders differ");
	if (good && x.unread > n - TABLE)
		fuzz_broken("%zu of %zu bytes not looked at", x.unread, n);
	free(in);
	free(out);
	return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *mem, size_t len, size_t max, unsigned seed)
{
	struct fuzz_dice dice = { seed };

	len = LLVMFuzzerMutate(mem, len, max);
	if (len >= SIZE + TABLE && fuzz_below(&dice, 16) != 0)
		packed_table(mem + SIZE);
	return len;
}

static void
give(const struct fuzz_taker *taker, const char *name, const uint8_t *mem, size_t n)
{
	static uint8_t input[SIZE + XPRESS_WRITE_ROOM];

	tape_set16(input, (uint16_t)(n - 1));
	taker->take(taker->ctx, name, input, SIZE + xpress_write(mem, n, input + SIZE));
}

void
fuzz_seeds(const struct fuzz_taker *taker)
{
	static uint8_t mem[XPRESS_BLOCK];

	give(taker, "zeros", mem, sizeof(mem));
	give(taker, "one-byte", mem, 1);
	for (size_t i = 0; i < sizeof(mem); i++)
		mem[i] = (uint8_t)(i % 37 * (i / 1000));
	give(taker, "a-pattern", mem, 4096);
	give(taker, "a-long-pattern", mem, 40000);
	for (size_t i = 0; i < sizeof(mem); i++)
		mem[i] = (uint8_t)(i * i * 7 >> 3);
	give(taker, "noise", mem, 512);
}

/* One of its records. */
size_t
fuzz_from_backup(const uint8_t *mem, size_t len, uint8_t *out, size_t room)
{
	enum { HEADER = 0x1E0, RECORD_HEAD = 28 };
	size_t n;

	if (len < HEADER + RECORD_HEAD || memcmp(mem, "MSSQLBAK", 8) != 0 || mem[HEADER] != 0x21)
		return 0;
	n = tape_u16(mem + HEADER + 2);
	if (n > len - HEADER - RECORD_HEAD || SIZE + n > room)
		return 0;
	tape_set16(out, (uint16_t)(mem[HEADER + 1] * 512 - 1));
	memcpy(out + SIZE, mem + HEADER + RECORD_HEAD, n);
	return SIZE + n;
}
