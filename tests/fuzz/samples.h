/*
 * Small sound backups to begin from, written by the stand-in server's own writer: full, log, differential, with and
 * without checksums, several sets in one file, with the pages that the reader looks into.
 */
#ifndef FUZZ_SAMPLES_H
#define FUZZ_SAMPLES_H

#include "tests/fuzz/fuzz.h"

/* Each of them with a byte in front that chooses how it is cut; packed: as a compressed file. */
void samples_each(const struct fuzz_taker *taker, bool packed);

#endif
