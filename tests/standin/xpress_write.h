/*
 * Packs bytes as LZ77 with Huffman codes ([MS-XCA] 2.1), for compressed backups that tests make.
 *
 * Shares no code with the decoder in common/bak_xpress. Greedy and plain: it is for right output, not small.
 */
#ifndef STANDIN_XPRESS_WRITE_H
#define STANDIN_XPRESS_WRITE_H

#include <stddef.h>
#include <stdint.h>

enum { XPRESS_WRITE_MOST = 65536, XPRESS_WRITE_ROOM = 65536 * 2 + 1024 };

/* len from 1 to XPRESS_WRITE_MOST; out has XPRESS_WRITE_ROOM bytes. Returns how many were written. */
size_t xpress_write(const uint8_t *in, size_t len, uint8_t *out);

#endif
