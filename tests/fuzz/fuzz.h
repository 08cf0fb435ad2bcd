/*
 * What each harness gives to the fuzzer and to the replay in `make test`, and what the two give to it.
 *
 * tests/fuzz/X_fuzz.c is one parser's harness. With clang's libFuzzer it becomes build/fuzz/tests/fuzz/X_fuzz
 * (`make fuzz`); with replay.c and any compiler it becomes X_replay_test, which plays the seeds, damaged
 * seeds and tests/fuzz/regression/X/ through it. A broken promise ends the program by abort.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- of the harness ---------------------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *mem, size_t len);

/* Damages an input of len bytes in place, up to max bytes; returns its new length. A harness without one gets libFuzzer's. */
size_t LLVMFuzzerCustomMutator(uint8_t *mem, size_t len, size_t max, unsigned seed);

/* Gives each sound input of its own to take. */
struct fuzz_taker {
	void *ctx;
	void (*take)(void *ctx, const char *name, const uint8_t *mem, size_t len);
};
void fuzz_seeds(const struct fuzz_taker *taker);

/* A real backup file (its first bytes, if it is long): an input made of it into out, its length, or 0 when it is of no use here. */
size_t fuzz_from_backup(const uint8_t *mem, size_t len, uint8_t *out, size_t room);

/* ---- given to the harness ------------------------------------------------------------------------------------- */

/* libFuzzer's own mutations, or the replay's. */
size_t LLVMFuzzerMutate(uint8_t *mem, size_t len, size_t max);

/* Says what was broken and aborts. */
void fuzz_broken(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* A small generator for mutators: the same seed gives the same choices. */
struct fuzz_dice { uint64_t state; };
static inline unsigned
fuzz_below(struct fuzz_dice *d, size_t n)
{
	d->state = d->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return n == 0 ? 0 : (unsigned)((d->state >> 33) % n);
}

#endif
