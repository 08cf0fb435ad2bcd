#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/packed.h"
#include "tests/fuzz/reading.h"
#include "tests/fuzz/samples.h"

/* Compressed files. The first byte of an input chooses how the rest is cut. */

int
LLVMFuzzerTestOneInput(const uint8_t *mem, size_t len)
{
	if (len > 0)
		reading_check(mem + 1, len - 1, reading_piece(mem[0]));
	return 0;
}

/* Damages the tape format inside and packs it again. False: it has none that can be read, or does not fit any more. */
static bool
damage_inside(uint8_t *mem, size_t *len, size_t max, struct fuzz_dice *dice)
{
	static uint8_t tape[1 << 18], packed[1 << 18];
	size_t n = packed_open(mem, *len, tape, sizeof(tape)), made;

	if (n == 0)
		return false;
	for (unsigned i = 1 + fuzz_below(dice, 3); i > 0 && n > 0; i--)
		n = tape_damage(tape, n, sizeof(tape), dice);
	tape_repair(tape, n, fuzz_below(dice, 2) == 0 ? TAPE_ALL : TAPE_HEADS | fuzz_below(dice, TAPE_ALL + 1), NULL);
	made = packed_make(tape, n, packed, max < sizeof(packed) ? max : sizeof(packed));
	if (made == 0)
		return false;
	memcpy(mem, packed, made);
	*len = made;
	return true;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *mem, size_t len, size_t max, unsigned seed)
{
	struct fuzz_dice dice = { seed };
	size_t n = len - 1;

	if (len < 2 || max < 2)
		return LLVMFuzzerMutate(mem, len, max);
	if (fuzz_below(&dice, 8) == 0)
		mem[0] = (uint8_t)fuzz_below(&dice, 256);
	if (fuzz_below(&dice, 2) == 0 && damage_inside(mem + 1, &n, max - 1, &dice))
		return 1 + n;
	for (unsigned i = 1 + fuzz_below(&dice, 3); i > 0 && n > 0; i--)
		n = packed_damage(mem + 1, n, max - 1, &dice);
	if (fuzz_below(&dice, 16) != 0)
		packed_repair(mem + 1, n, fuzz_below(&dice, 4) != 0);
	return 1 + n;
}

void
fuzz_seeds(const struct fuzz_taker *taker)
{
	samples_each(taker, true);
}

size_t
fuzz_from_backup(const uint8_t *mem, size_t len, uint8_t *out, size_t room)
{
	if (len < 8 || memcmp(mem, "MSSQLBAK", 8) != 0 || room < 2)
		return 0;
	len = len < room - 1 ? len : room - 1;
	out[0] = (uint8_t)len;
	memcpy(out + 1, mem, len);
	return len + 1;
}
