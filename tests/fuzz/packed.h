/*
 * Compressed backups for the fuzzers: makes one of tape format, gets the tape format out of one, and puts the
 * sums right again after damage, so that what is damaged is read and not refused at once.
 */
#ifndef FUZZ_PACKED_H
#define FUZZ_PACKED_H

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/tape.h"

enum { PACKED_BLOCK = 65536, PACKED_MAX = 65535 };

/* A table of codes (256 bytes) whose codes fill the space exactly, as like the one given as that can be. */
void packed_table(uint8_t *table);

/* A compressed file of tape format; 0 when it needs more than max. Sets get their places and numbers. */
size_t packed_make(uint8_t *tape, size_t len, uint8_t *out, size_t max);

/* What a compressed file unpacks to, as far as it can be read; 0 when that is nothing or more than max. */
size_t packed_open(const uint8_t *mem, size_t len, uint8_t *tape, size_t max);

/* Puts the sums of records and indexes right, and the tables of codes where tables says so. */
void packed_repair(uint8_t *mem, size_t len, bool tables);

/* One change inside one record; returns the new length. */
size_t packed_damage(uint8_t *mem, size_t len, size_t max, struct fuzz_dice *dice);

#endif
