#include "common/bak_xpress.h"

#include <string.h>

enum { TABLE_BYTES = XPRESS_SYMBOLS / 2, MATCHES = 256, MIN_MATCH = 3 };

/* Bits come in little-endian 16-bit units, the highest bit first. */
struct bits {
	const uint8_t *at, *end;
	uint32_t window; /* 16 + spare bits are good, at the top */
	int spare;
	unsigned beyond; /* bytes asked for past the end */
};

static uint32_t
next_unit(struct bits *b)
{
	uint32_t unit = 0;

	if (b->end - b->at >= 2) {
		unit = (uint32_t)b->at[0] | (uint32_t)b->at[1] << 8;
		b->at += 2;
	} else {
		b->beyond += 2 - (unsigned)(b->end - b->at);
		if (b->end > b->at)
			unit = *b->at++;
	}
	return unit;
}

/*
 * When the next unit is loaded matters, not only that it is: long match lengths stand between the units,
 * at the place that the decoder has read up to by then.
 */
static inline void
drop(struct bits *b, unsigned n)
{
	b->window <<= n;
	b->spare -= (int)n;
	if (b->spare < 0) {
		b->window |= next_unit(b) << -b->spare;
		b->spare += 16;
	}
}

static inline unsigned
next_byte(struct bits *b)
{
	if (b->at < b->end)
		return *b->at++;
	b->beyond++;
	return 0;
}

static unsigned
length_of(const uint8_t *table, unsigned symbol)
{
	return symbol % 2 == 0 ? table[symbol / 2] & 15u : table[symbol / 2] >> 4;
}

/* Canonical codes, by length and then by symbol; they must fill the space of 15-bit codes exactly. */
static bool
read_codes(struct xpress *x, const uint8_t *table)
{
	unsigned count[XPRESS_LONGEST + 1] = { 0 };
	uint16_t next[XPRESS_LONGEST + 1];
	uint32_t code = 0;
	uint16_t offset = 0;

	for (unsigned i = 0; i < TABLE_BYTES; i++) {
		count[table[i] & 15]++;
		count[table[i] >> 4]++;
	}
	for (unsigned len = 1; len <= XPRESS_LONGEST; len++) {
		x->first[len] = code;
		x->offset[len] = next[len] = offset;
		code += (uint32_t)count[len] << (XPRESS_LONGEST - len);
		offset = (uint16_t)(offset + count[len]);
		x->limit[len] = code;
	}
	if (code != 1u << XPRESS_LONGEST)
		return false;
	for (unsigned s = 0; s < XPRESS_SYMBOLS; s++) {
		unsigned len = length_of(table, s);

		if (len > 0)
			x->sorted[next[len]++] = (uint16_t)s;
	}
	return true;
}

static void
fill_quick(struct xpress *x)
{
	uint16_t *slot = x->quick;

	for (unsigned len = 1; len <= XPRESS_QUICK_BITS; len++) {
		unsigned codes = (x->limit[len] - x->first[len]) >> (XPRESS_LONGEST - len);
		unsigned each = 1u << (XPRESS_QUICK_BITS - len);

		for (unsigned i = 0; i < codes; i++) {
			uint16_t entry = (uint16_t)(x->sorted[x->offset[len] + i] << 4 | len);

			for (unsigned k = 0; k < each; k++)
				*slot++ = entry;
		}
	}
	memset(slot, 0, (size_t)(x->quick + (1 << XPRESS_QUICK_BITS) - slot) * sizeof(*slot));
}

static unsigned
long_symbol(const struct xpress *x, struct bits *b)
{
	uint32_t code = b->window >> (32 - XPRESS_LONGEST);
	unsigned len = XPRESS_QUICK_BITS + 1;

	while (code >= x->limit[len])
		len++; /* ends: limit[15] is the whole space */
	drop(b, len);
	return x->sorted[x->offset[len] + ((code - x->first[len]) >> (XPRESS_LONGEST - len))];
}

static inline unsigned
next_symbol(const struct xpress *x, struct bits *b)
{
	unsigned entry = x->quick[b->window >> (32 - XPRESS_QUICK_BITS)];

	if (entry == 0)
		return long_symbol(x, b);
	drop(b, entry & 15);
	return entry >> 4;
}

/* Lengths from 15 on follow as a byte, those from 270 on as two more; both between the bit units. */
static bool
match_length(struct bits *b, unsigned symbol, size_t *out)
{
	unsigned len = symbol & 15;

	if (len == 15) {
		len = next_byte(b);
		if (len == 255) {
			len = next_byte(b);
			len |= next_byte(b) << 8;
			if (len < 15)
				return false;
			len -= 15;
		}
		len += 15;
	}
	*out = (size_t)len + MIN_MATCH;
	return true;
}

/* Overlap is meant: a match of distance 1 repeats one byte. Writes up to 15 bytes beyond len. */
static inline void
copy_match(uint8_t *to, size_t distance, size_t len)
{
	const uint8_t *from = to - distance;

	if (distance >= 16) {
		for (size_t i = 0; i < len; i += 16)
			memcpy(to + i, from + i, 16);
	} else if (distance == 1) {
		memset(to, *from, len);
	} else {
		for (size_t i = 0; i < len; i++)
			to[i] = from[i];
	}
}

bool
xpress_decode(struct xpress *x, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	struct bits b = { .at = in + TABLE_BYTES, .end = in + in_len, .spare = 16 };
	uint8_t *to = out, *end = out + out_len;

	if (in_len < TABLE_BYTES || out_len > XPRESS_BLOCK || !read_codes(x, in))
		return false;
	fill_quick(x);
	b.window = next_unit(&b) << 16;
	b.window |= next_unit(&b);
	while (to < end) {
		unsigned symbol = next_symbol(x, &b), bits;
		size_t len, distance;

		if (symbol < MATCHES) {
			*to++ = (uint8_t)symbol;
			continue;
		}
		symbol -= MATCHES;
		if (!match_length(&b, symbol, &len))
			return false;
		bits = symbol >> 4;
		distance = (size_t)1 << bits;
		if (bits > 0) {
			distance += b.window >> (32 - bits);
			drop(&b, bits);
		}
		if (distance > (size_t)(to - out) || len > (size_t)(end - to))
			return false;
		copy_match(to, distance, len);
		to += len;
	}
	x->unread = (size_t)(b.end - b.at);
	x->marked = next_symbol(x, &b) == MATCHES && b.beyond == 0;
	return true;
}
