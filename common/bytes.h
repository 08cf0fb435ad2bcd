/*
 * A bounded cursor over bytes somebody else wrote.
 *
 * Reading past the end gives zeros and sets short_of for good, so a parser is written straight down and
 * checked once at its end. Integers are little-endian unless the name says be. Nothing is copied: the
 * memory must outlive the cursor.
 */
#ifndef LANDFALL_BYTES_H
#define LANDFALL_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	const uint8_t *mem;
	size_t len;    /* of mem */
	size_t at;     /* next byte */
	bool short_of; /* sticky: something asked for more than there was */
};

static inline struct bytes
bytes_of(const void *mem, size_t len)
{
	return (struct bytes){ .mem = mem, .len = len };
}

static inline size_t
bytes_left(const struct bytes *b)
{
	return b->len - b->at;
}

/* n bytes in place, or NULL (and short_of) when there are fewer. */
static inline const uint8_t *
bytes_take(struct bytes *b, size_t n)
{
	const uint8_t *p = b->mem + b->at;

	if (b->short_of || n > b->len - b->at) {
		b->short_of = true;
		return NULL;
	}
	b->at += n;
	return p;
}

static inline void
bytes_seek(struct bytes *b, size_t at)
{
	if (at > b->len)
		b->short_of = true;
	else
		b->at = at;
}

static inline uint8_t
bytes_u8(struct bytes *b)
{
	const uint8_t *p = bytes_take(b, 1);
	return p == NULL ? 0 : p[0];
}

static inline uint16_t
bytes_u16(struct bytes *b)
{
	const uint8_t *p = bytes_take(b, 2);
	return p == NULL ? 0 : (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t
bytes_u32(struct bytes *b)
{
	const uint8_t *p = bytes_take(b, 4);
	return p == NULL ? 0
	                 : (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t
bytes_u64(struct bytes *b)
{
	uint64_t low = bytes_u32(b);
	return low | (uint64_t)bytes_u32(b) << 32;
}

static inline uint16_t
bytes_u16be(struct bytes *b)
{
	return __builtin_bswap16(bytes_u16(b));
}

static inline uint32_t
bytes_u32be(struct bytes *b)
{
	return __builtin_bswap32(bytes_u32(b));
}

static inline uint64_t
bytes_u64be(struct bytes *b)
{
	return __builtin_bswap64(bytes_u64(b));
}

#endif
