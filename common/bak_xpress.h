/*
 * Decodes LZ77 with Huffman codes, the packing inside compressed SQL Server backups.
 *
 * The format is the "LZ77+Huffman" of Microsoft's open specification [MS-XCA], sections 2.1 and 2.2 (as
 * used by WIM files and SMB too). All 991 records of the compressed backups at hand decode to exactly the
 * size that they announce, and the mark of the end follows: Windows always writes one and never insists on it
 * (Microsoft's answer on Samba's cifs-protocol list, 14 November 2022). Pure; bounded; the same input gives the same answer always.
 */
#ifndef LANDFALL_BAK_XPRESS_H
#define LANDFALL_BAK_XPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	XPRESS_SYMBOLS = 512,
	XPRESS_LONGEST = 15,   /* bits of a code */
	XPRESS_QUICK_BITS = 11,
	XPRESS_BLOCK = 65536,  /* one table of codes serves so many bytes */
	XPRESS_SLACK = 32,     /* room behind the output that may be written over */
};

/* Working memory, about 6 KB; nothing in it outlives a call. */
struct xpress {
	uint16_t quick[1 << XPRESS_QUICK_BITS]; /* symbol << 4 | length; 0: a longer code */
	uint16_t sorted[XPRESS_SYMBOLS];        /* symbols by (length, symbol) */
	uint32_t limit[XPRESS_LONGEST + 1];     /* first code, left-aligned to 15 bits, beyond that length */
	uint32_t first[XPRESS_LONGEST + 1];     /* first code of that length, left-aligned to 15 bits */
	uint16_t offset[XPRESS_LONGEST + 1];    /* where that length begins in sorted */
	size_t unread; /* after a call: bytes of the input not looked at */
	bool marked;   /* after a call: the mark of the end (symbol 256) follows the output, and it stands in the input */
};

/*
 * Fills out with exactly out_len bytes (at most XPRESS_BLOCK); out has XPRESS_SLACK bytes more. False when
 * the input is not what a compressor writes: a table that does not fill the code space, a match before the
 * start or past the end. Input that ends early reads as zeros, as the specification's decoder has it.
 */
bool xpress_decode(struct xpress *x, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len);

#endif
