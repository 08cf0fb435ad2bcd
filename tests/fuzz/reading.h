/*
 * Reads an input with the backup reader, whole and in pieces, and holds the reader to its promises: the same
 * answer however the bytes are split, memory within bounds, text that is text, and never "whole" beside damage.
 */
#ifndef FUZZ_READING_H
#define FUZZ_READING_H

#include "tests/fuzz/fuzz.h"

/* Broken promises end the program. piece 0 stands for pieces of many sizes. */
void reading_check(const uint8_t *mem, size_t len, size_t piece);

/* Piece sizes to explore, by a byte of the input. */
size_t reading_piece(uint8_t choice);

#endif
