/*
 * Damages tape format so that the reader does not stop at the first sum: blocks, streams and pages are moved and
 * changed, and then the sums, numbers and places that hold the file together are put right again.
 *
 * Shares no code with the reader: it is written from the layout alone. Mutations come from LLVMFuzzerMutate.
 */
#ifndef FUZZ_TAPE_H
#define FUZZ_TAPE_H

#include "tests/fuzz/fuzz.h"

enum tape_repair {
	TAPE_HEADS = 1,   /* XOR sums of blocks and streams: without these nothing is read at all */
	TAPE_PLACES = 2,  /* numbers and addresses of blocks, position and offset of sets, the set map */
	TAPE_LENGTHS = 4, /* streams and structures reach no further than the file */
	TAPE_PAGES = 8,   /* page checksums */
	TAPE_SUMS = 16,   /* BACKUP WITH CHECKSUM sums */
	TAPE_LOG = 32,    /* numbers and parity of log blocks */
	TAPE_ALL = 63,
};

enum { TAPE_SETS_MAX = 64, TAPE_BLOCKS_MAX = 512 };

/* Where each block begins; *n of them, at most TAPE_BLOCKS_MAX. The end of the last one comes behind them. */
struct tape_blocks { size_t n, at[TAPE_BLOCKS_MAX + 1]; };
struct tape_blocks tape_blocks(const uint8_t *mem, size_t len);

/* set_at: where the sets lie in the file when that is not where they lie in mem (compressed); NULL otherwise. */
void tape_repair(uint8_t *mem, size_t len, unsigned what, const uint64_t set_at[TAPE_SETS_MAX]);

/* One change, without repair; returns the new length. */
size_t tape_damage(uint8_t *mem, size_t len, size_t max, struct fuzz_dice *dice);

uint16_t tape_u16(const uint8_t *p);
uint32_t tape_u32(const uint8_t *p);
uint64_t tape_u64(const uint8_t *p);
void tape_set16(uint8_t *p, uint16_t v);
void tape_set32(uint8_t *p, uint32_t v);
void tape_set64(uint8_t *p, uint64_t v);

#endif
