#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/reading.h"
#include "tests/fuzz/samples.h"
#include "tests/fuzz/tape.h"

/* The walk over plain tape format. The first byte of an input chooses how the rest is cut. */

int
LLVMFuzzerTestOneInput(const uint8_t *mem, size_t len)
{
	if (len > 0)
		reading_check(mem + 1, len - 1, reading_piece(mem[0]));
	return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *mem, size_t len, size_t max, unsigned seed)
{
	struct fuzz_dice dice = { seed };

	if (len < 2 || max < 2)
		return LLVMFuzzerMutate(mem, len, max);
	if (fuzz_below(&dice, 8) == 0)
		mem[0] = (uint8_t)fuzz_below(&dice, 256);
	for (unsigned i = 1 + fuzz_below(&dice, 3); i > 0 && len > 1; i--)
		len = 1 + tape_damage(mem + 1, len - 1, max - 1, &dice);
	if (fuzz_below(&dice, 16) != 0)
		tape_repair(mem + 1, len - 1, fuzz_below(&dice, 2) == 0 ? TAPE_ALL : TAPE_HEADS | fuzz_below(&dice, TAPE_ALL + 1), NULL);
	return len;
}

void
fuzz_seeds(const struct fuzz_taker *taker)
{
	samples_each(taker, false);
}

size_t
fuzz_from_backup(const uint8_t *mem, size_t len, uint8_t *out, size_t room)
{
	enum { SMALL = 110000, HEAD = 49152 }; /* most logs are small; of a large file the head and some pages do */

	if (len < 4 || memcmp(mem, "TAPE", 4) != 0 || room < SMALL)
		return 0;
	len = len < SMALL ? len : HEAD;
	out[0] = (uint8_t)len;
	memcpy(out + 1, mem, len);
	return len + 1;
}
