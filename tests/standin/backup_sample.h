/*
 * Makes plain backups of an invented database for tests and benches: real page headers and checksums,
 * allocation maps, a boot page that agrees with the header, log blocks.
 *
 * Written with mtf_write, so nothing of it comes from the reader.
 */
#ifndef STANDIN_BACKUP_SAMPLE_H
#define STANDIN_BACKUP_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"

struct backup_sample {
	char type;           /* D I L */
	uint32_t pages;      /* of the one data file, a multiple of 8, at least 16; logs have none */
	uint32_t log_blocks; /* of 1,024 bytes; 0: an empty log */
	bool checksum;       /* BACKUP WITH CHECKSUM */
	bool torn_bits;      /* pages carry torn bits instead of checksums */
	bool free_pages;     /* the last page of each extent from page 16 on is not allocated, and empty */
	uint8_t seed;        /* content and GUIDs differ with it */
};

/* Truncates or makes path. */
bool backup_sample_write(TALLOC_CTX *mem, const char *path, const struct backup_sample *sample, struct err *err);
/* The database and its data file bear that name, UTF-8 and of any length, as a forger may write it. */
bool backup_sample_write_named(TALLOC_CTX *mem, const char *path, const struct backup_sample *sample, const char *name, struct err *err);

#endif
