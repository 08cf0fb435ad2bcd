#include "tests/standin/xpress_write.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	SYMBOLS = 512, LONGEST = 15, LEAST_MATCH = 3, FARTHEST = 65535,
	HASH_BITS = 13, CHAIN = 8, LENGTH_FIELD = 15, END = 256, /* also a match of three at distance one */
};

/* len 0: the byte at that place as it is. */
struct token { uint32_t len, distance; uint8_t literal; };

struct packer {
	const uint8_t *in;
	size_t len;
	int32_t head[1 << HASH_BITS], before[XPRESS_WRITE_MOST];
	struct token tokens[XPRESS_WRITE_MOST];
	size_t n;
	uint32_t count[SYMBOLS];
	uint8_t bits[SYMBOLS];
	uint16_t code[SYMBOLS];
};

/* ---- what repeats -------------------------------------------------------------------------------------- */

static uint32_t
hash(const uint8_t *p)
{
	return ((uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2]) * 2654435761u >> (32 - HASH_BITS);
}

static uint32_t
alike(const uint8_t *a, const uint8_t *b, const uint8_t *end)
{
	uint32_t n = 0;

	while (b + n < end && a[n] == b[n])
		n++;
	return n;
}

static struct token
longest_match(const struct packer *p, size_t at)
{
	struct token best = { .literal = p->in[at] };
	int32_t from;

	if (at + LEAST_MATCH > p->len)
		return best;
	from = p->head[hash(p->in + at)];
	for (int i = 0; i < CHAIN && from >= 0 && at - (size_t)from <= FARTHEST; i++) {
		uint32_t n = alike(p->in + from, p->in + at, p->in + p->len);

		if (n >= LEAST_MATCH && n > best.len) {
			best.len = n;
			best.distance = (uint32_t)(at - (size_t)from);
		}
		from = p->before[from];
	}
	return best;
}

static void
remember(struct packer *p, size_t at)
{
	uint32_t h;

	if (at + LEAST_MATCH > p->len)
		return;
	h = hash(p->in + at);
	p->before[at] = p->head[h];
	p->head[h] = (int32_t)at;
}

static unsigned
bits_of(uint32_t distance)
{
	return 31 - (unsigned)__builtin_clz(distance);
}

static unsigned
symbol_of(const struct token *t)
{
	uint32_t len = t->len - LEAST_MATCH;

	if (t->len == 0)
		return t->literal;
	return 256 + (bits_of(t->distance) << 4) + (len < LENGTH_FIELD ? len : LENGTH_FIELD);
}

static void
tokenise(struct packer *p)
{
	memset(p->head, 0xFF, sizeof(p->head));
	for (size_t at = 0; at < p->len;) {
		struct token t = longest_match(p, at);
		size_t n = t.len == 0 ? 1 : t.len;

		p->tokens[p->n++] = t;
		p->count[symbol_of(&t)]++;
		for (size_t i = 0; i < n; i++)
			remember(p, at + i);
		at += n;
	}
}

/* ---- codes ------------------------------------------------------------------------------------------------ */

struct node { uint64_t weight; int left, right; };

static void
depths(struct packer *p, const struct node *nodes, int at, unsigned depth)
{
	if (nodes[at].left < 0) {
		p->bits[nodes[at].right] = (uint8_t)(depth == 0 ? 1 : depth);
		return;
	}
	depths(p, nodes, nodes[at].left, depth + 1);
	depths(p, nodes, nodes[at].right, depth + 1);
}

static int
take_lightest(const struct node *nodes, int *open, int *n)
{
	int best = 0, taken;

	for (int i = 1; i < *n; i++)
		if (nodes[open[i]].weight < nodes[open[best]].weight)
			best = i;
	taken = open[best];
	open[best] = open[--*n];
	return taken;
}

/* Huffman's tree; counts are halved until no code is longer than may be. The space must be filled: two symbols at least. */
static void
choose_lengths(struct packer *p)
{
	struct node nodes[2 * SYMBOLS];
	int open[SYMBOLS], n_open, n;
	unsigned longest;

	for (unsigned used = 0, s = 0; s < SYMBOLS; s++) {
		used += p->count[s] > 0;
		if (s == SYMBOLS - 1 && used < 2)
			p->count[p->count[0] == 0 ? 0 : 1] = 1;
	}
	do {
		n = n_open = 0;
		memset(p->bits, 0, sizeof(p->bits));
		for (int s = 0; s < SYMBOLS; s++)
			if (p->count[s] > 0) {
				nodes[n] = (struct node){ p->count[s], -1, s };
				open[n_open++] = n++;
			}
		while (n_open > 1) {
			int a = take_lightest(nodes, open, &n_open), b = take_lightest(nodes, open, &n_open);

			nodes[n] = (struct node){ nodes[a].weight + nodes[b].weight, a, b };
			open[n_open++] = n++;
		}
		depths(p, nodes, open[0], 0);
		longest = 0;
		for (int s = 0; s < SYMBOLS; s++) {
			longest = p->bits[s] > longest ? p->bits[s] : longest;
			p->count[s] = p->count[s] == 0 ? 0 : p->count[s] / 2 + 1;
		}
	} while (longest > LONGEST);
}

static void
number_codes(struct packer *p)
{
	unsigned code = 0;

	for (unsigned len = 1; len <= LONGEST; len++, code <<= 1)
		for (unsigned s = 0; s < SYMBOLS; s++)
			if (p->bits[s] == len)
				p->code[s] = (uint16_t)code++;
}

/* ---- output -------------------------------------------------------------------------------------------------- */

/*
 * Bits leave in 16-bit units. The reader has always loaded the unit it is in and the one after it, so the
 * place of a unit is set aside two units before it is full, and bytes written meanwhile come behind it.
 */
struct writer { uint8_t *unit, *next_unit, *at; uint32_t bits; unsigned n; };

static void
put_unit(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void
put_bits(struct writer *w, uint32_t v, unsigned n)
{
	w->bits = w->bits << n | v;
	w->n += n;
	if (w->n <= 16)
		return;
	w->n -= 16;
	put_unit(w->unit, w->bits >> w->n);
	w->unit = w->next_unit;
	w->next_unit = w->at;
	w->at += 2;
}

static void
put_length(struct writer *w, uint32_t len)
{
	if (len < LENGTH_FIELD)
		return;
	if (len - LENGTH_FIELD < 255) {
		*w->at++ = (uint8_t)(len - LENGTH_FIELD);
		return;
	}
	*w->at++ = 255;
	put_unit(w->at, len);
	w->at += 2;
}

size_t
xpress_write(const uint8_t *in, size_t len, uint8_t *out)
{
	struct packer *p = calloc(1, sizeof(*p));
	struct writer w = { out + 256, out + 258, out + 260, 0, 0 };
	size_t size;

	p->in = in;
	p->len = len;
	tokenise(p);
	p->count[END]++;
	choose_lengths(p);
	number_codes(p);
	for (unsigned i = 0; i < SYMBOLS / 2; i++)
		out[i] = (uint8_t)(p->bits[2 * i] | p->bits[2 * i + 1] << 4);
	for (size_t i = 0; i < p->n; i++) {
		const struct token *t = &p->tokens[i];
		unsigned s = symbol_of(t);

		put_bits(&w, p->code[s], p->bits[s]);
		if (t->len == 0)
			continue;
		put_length(&w, t->len - LEAST_MATCH);
		put_bits(&w, t->distance - (1u << bits_of(t->distance)), bits_of(t->distance));
	}
	put_bits(&w, p->code[END], p->bits[END]);
	put_unit(w.unit, w.bits << (16 - w.n));
	put_unit(w.next_unit, 0);
	size = (size_t)(w.at - out);
	free(p);
	return size;
}
