/*
 * A whole backup for the receiver's tests, written by the stand-in's writer: in memory, with its digest.
 * Everything belongs to the context given; nothing stays on disk.
 */
#ifndef RECEIVER_SAMPLE_H
#define RECEIVER_SAMPLE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <talloc.h>

#include "common/text.h"
#include "tests/standin/mtf_write.h"

struct sample { uint8_t *mem; size_t len; char sha256[65]; };

static inline void
sample_digest(struct sample *s)
{
	uint8_t hash[32];
	unsigned len = 0;

	EVP_Digest(s->mem, s->len, hash, &len, EVP_sha256(), NULL);
	text_hex(s->sha256, hash, sizeof(hash));
}

static inline void
sample_log(struct mtf *m)
{
	uint8_t block[1536] = { 0 };
	const uint32_t vlf = 32, number = 16;

	for (size_t at = 0; at < sizeof(block); at += 512)
		block[at] = 0x80;
	block[0] |= 0x10;
	block[1024] |= 0x08;
	block[2] = 1;
	block[5] = block[7] = sizeof(block) >> 8;
	memcpy(block + 12, &vlf, 4);
	memcpy(block + 16, &number, 4);
	block[20] = 1;
	mtf_log_parity(m, 0x80);
	mtf_log_begin(m, vlf, 0x2000, 1 << 20, 0x2000 + 16 * 512, 0x2000 + 19 * 512);
	mtf_log(m, block, sizeof(block));
	mtf_log_end(m);
}

/* A full backup of n pages (a multiple of 8) of a database of that version; 904 is SQL Server 2019. */
static inline struct sample
sample_make(TALLOC_CTX *mem, uint32_t n, uint16_t version)
{
	struct mtf_file files[2] = {
		{ .file_id = 1, .group_id = 1, .pages = n, .type = 'D', .name = "Sales", .path = "D:\\Sales.mdf", .size = n * UINT64_C(8192),
		  .max_size = 35184372080640, .unique_id = { { 1 } } },
		{ .file_id = 2, .type = 'L', .name = "Sales_log", .path = "D:\\Sales.ldf", .size = 1 << 20, .max_size = 2199023255552,
		  .unique_id = { { 2 } } },
	};
	struct mtf_set set = { .type = 'D', .database = "Sales", .server = "ONPREM", .machine = "ONPREM", .user = "dba", .name = "full",
		.backup_set = { { 3 } }, .binding = { { 4 } }, .fork = { { 5 } }, .family = { { 6 } }, .first = { 32, 16, 1 }, .last = { 32, 19, 1 },
		.checkpoint = { 32, 16, 1 }, .created = 1700000000, .start = 1700000100, .database_id = 7, .database_version = version, .compat = 150,
		.backup_size = n * UINT64_C(8192), .files = files, .n_files = 2 };
	char path[] = "/tmp/landfall-sample-XXXXXX";
	struct err err = { 0 };
	struct sample s = { 0 };
	struct stat st = { 0 };
	int fd = mkstemp(path);
	struct mtf *m = mtf_begin(mem, path, &set, &err);
	uint8_t page[8192];
	bool good = fd >= 0 && m != NULL && mtf_pages_begin(m, n);

	for (uint32_t id = 0; good && id < n; id++) {
		memset(page, (int)(id * 37 + 1), sizeof(page));
		memset(page, 0, 96);
		page[0] = page[1] = page[0x24] = 1;
		memcpy(page + 0x20, &id, 4);
		good = mtf_page(m, page);
	}
	good = good && mtf_pages_end(m);
	if (good)
		sample_log(m);
	set.finish = 1700000160;
	good = good && mtf_end(m, &set, &err) && fstat(fd, &st) == 0;
	s.len = (size_t)st.st_size;
	s.mem = talloc_array(mem, uint8_t, s.len + 1);
	if (!good || read(fd, s.mem, s.len) != (ssize_t)s.len) {
		fprintf(stderr, "no sample: %s\n", err.text);
		abort();
	}
	talloc_free(m);
	close(fd);
	unlink(path);
	sample_digest(&s);
	return s;
}

#endif
