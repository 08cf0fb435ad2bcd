#include "tests/fuzz/samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bak.h"
#include "tests/fuzz/packed.h"
#include "tests/fuzz/tape.h"
#include "tests/standin/mtf_write.h"

enum { PAGE = 8192, WRITTEN = 16, PAGES = 10, LOG_BLOCK = 1536, FILE_MAX = 1 << 19, GAM = 8, SGAM = 9, PFS = 11, BOOT = 13, FILE_HEADER = 15 };

static const struct sample {
	const char *name;
	char type;
	bool checksum, copy_only, two_sets, dark; /* dark: pages with bodies of noise, as encryption leaves them */
	uint16_t version;
	uint32_t flags, status;
} samples[] = {
	{ "full", .type = 'D', .version = 904 },
	{ "full-with-checksum", .type = 'D', .checksum = true, .version = 957 },
	{ "log", .type = 'L', .version = 852 },
	{ "tail-with-checksum", .type = 'L', .checksum = true, .version = 852, .flags = 0x140 },
	{ "differential-simple", .type = 'I', .version = 869, .status = 8 },
	{ "copy-only", .type = 'D', .copy_only = true, .version = 998 },
	{ "full-encrypted-pages", .type = 'D', .dark = true, .version = 957 },
	{ "two-logs", .type = 'L', .two_sets = true, .version = 782, .flags = 1, .status = 4 },
};

static void
put_pages(struct mtf *m, const struct mtf_set *set, bool dark)
{
	static const uint8_t types[WRITTEN] = { FILE_HEADER, PFS, GAM, SGAM, 1, 1, 16, 17, 1, BOOT, 1, 1, 1, 1, 1, 1 };
	uint8_t page[PAGE];

	mtf_pages_begin(m, WRITTEN);
	for (uint32_t id = 0; id < WRITTEN; id++) {
		memset(page, id < 12 ? (int)id : 0, sizeof(page));
		memset(page, 0, 96);
		page[0] = page[0x24] = 1;
		page[1] = types[id];
		page[5] = id % 3 == 2 ? 1 : 2; /* torn bits, or a checksum that tape_repair fills in */
		page[0x3C] = 1;
		for (size_t i = 511; page[5] == 1 && i < PAGE; i += 512)
			page[i] = (uint8_t)((page[i] & 0xFC) | 1);
		tape_set32(page + 0x20, id);
		if (types[id] == PFS)
			memset(page + 100, 0x40, PAGES - 2);
		if (types[id] == BOOT) {
			tape_set16(page + 0x64, set->database_version);
			tape_set16(page + 0x19A, set->compat);
			memset(page + 0x94, 0, 256);
			for (size_t i = 0; set->database[i] != '\0'; i++)
				page[0x94 + 2 * i] = (uint8_t)set->database[i];
			memcpy(page + 0x1F8, set->family.b, 16);
			memcpy(page + 0x228, set->fork.b, 16);
			lsn_to_bytes(set->fork1_lsn, page + 0x238);
			memcpy(page + 0x244, set->fork1.b, 16);
			memcpy(page + 0x254, set->base_full.b, 16);
			lsn_to_bytes(set->database_backup, page + 0x1B0);
			lsn_to_bytes(set->checkpoint, page + 0x1BC);
		}
		for (size_t i = 96; dark && i < PAGE; i++)
			page[i] = (uint8_t)((i + id) * (i + id) * 2654435761u >> 13);
		mtf_page(m, page);
	}
	mtf_pages_end(m);
}

static void
put_log(struct mtf *m)
{
	uint8_t block[LOG_BLOCK] = { 0 };

	for (size_t at = 0; at < sizeof(block); at += 512)
		block[at] = 0x80;
	block[0] |= 0x10;
	block[1024] |= 0x08;
	tape_set16(block + 6, sizeof(block));
	tape_set32(block + 12, 32);
	tape_set32(block + 16, 16);
	mtf_log_parity(m, 0x80);
	mtf_log_begin(m, 32, 0x2000, 1 << 20, 0x2000 + 16 * 512, 0x2000 + 19 * 512);
	mtf_log(m, block, sizeof(block));
	mtf_log_end(m);
}

static size_t
write_sample(const struct sample *s, uint8_t *out)
{
	struct mtf_file files[2] = {
		{ .file_id = 1, .group_id = 1, .pages = s->type == 'L' ? 0 : PAGES, .type = 'D', .name = "Sales", .path = "D:\\Sales.mdf",
		  .size = PAGES * PAGE, .max_size = 1 << 30, .unique_id = { { 1 } } },
		{ .file_id = 2, .type = 'L', .name = "Sales_log", .path = "D:\\Sales.ldf", .size = 1 << 20, .max_size = 1 << 30, .unique_id = { { 2 } } },
	};
	struct mtf_set set = { .type = s->type, .flags = s->flags, .status = s->status, .copy_only = s->copy_only, .checksum = s->checksum,
		.database = "Sales", .server = "ONPREM", .machine = "ONPREM", .user = "dba", .name = s->name, .backup_set = { { 3 } },
		.binding = { { 4 } }, .fork = { { 5 } }, .family = { { 6 } }, .first = { 32, 16, 1 }, .last = { 32, 19, 1 }, .checkpoint = { 32, 16, 1 },
		.created = 1700000000, .start = 1700000100, .database_id = 7, .database_version = s->version, .compat = 150,
		.backup_size = PAGES * PAGE, .files = files, .n_files = 2 };
	char path[] = "/tmp/landfall-fuzz-XXXXXX";
	struct err err = { 0 };
	int fd = mkstemp(path);
	struct mtf *m = mtf_begin(NULL, path, &set, &err);
	ssize_t n = -1;

	if (m != NULL && s->type != 'L')
		put_pages(m, &set, s->dark);
	if (m != NULL)
		put_log(m);
	set.finish = 1700000160;
	if (m != NULL && mtf_end(m, &set, &err))
		n = pread(fd, out, FILE_MAX, 0);
	talloc_free(m);
	close(fd);
	unlink(path);
	if (n <= 0)
		fuzz_broken("no sample: %s", err.text);
	return (size_t)n;
}

/* The writer fills extents and transfer buffers up; small inputs are fuzzed faster, so that is cut away. */
static size_t
cut_stream(uint8_t *mem, size_t len, const char *id, size_t n)
{
	enum { STREAM_HEAD = 22 };
	uint8_t *s = memmem(mem, len, id, 4), *from, *to;

	if (s == NULL || tape_u64(s + 8) < n)
		return len;
	from = s + STREAM_HEAD + n;
	to = s + STREAM_HEAD + tape_u64(s + 8);
	tape_set64(s + 8, n);
	memmove(from, to, len - (size_t)(to - mem));
	return len - (size_t)(to - from);
}

/* The set map of the second set says what is said of the first once more; the SPAD behind it is shorter by that. */
static void
repeat_map(uint8_t *mem, size_t len)
{
	enum { STREAM_HEAD = 22, MAP_HEAD = 8 };
	uint8_t *map = memmem(mem, len, "TSMP", 4), *spad = map == NULL ? NULL : memmem(map, len - (size_t)(map - mem), "SPAD", 4);
	size_t n = map == NULL ? 0 : (size_t)tape_u64(map + 8) - MAP_HEAD;

	if (spad == NULL || n % 4 != 0 || tape_u64(spad + 8) < n)
		fuzz_broken("the sample's set map is not as expected");
	tape_set64(spad + 8, tape_u64(spad + 8) - n);
	memmove(spad + n, spad, STREAM_HEAD);
	memcpy(map + STREAM_HEAD + MAP_HEAD + n, map + STREAM_HEAD + MAP_HEAD, n);
	tape_set64(map + 8, MAP_HEAD + 2 * n);
}

/* The set once more behind the first: all that follows the first mark. */
static size_t
repeat_set(uint8_t *mem, size_t len)
{
	struct tape_blocks b = tape_blocks(mem, len);
	size_t from = b.at[2];

	memcpy(mem + len, mem + from, len - from);
	repeat_map(mem + len, len - from);
	return len + (len - from);
}

/* A sample that the reader does not find sound would be no good begin. */
static void
check_sample(const char *name, const uint8_t *mem, size_t len)
{
	struct bak *b = bak_new(NULL, NULL);
	struct err err = { 0 };

	bak_feed(b, mem, len, &err);
	if (bak_finish(b) != BAK_END_WHOLE)
		fuzz_broken("the sample %s: %s", name, bak_why(b));
	talloc_free(b);
}

void
samples_each(const struct fuzz_taker *taker, bool packed)
{
	static uint8_t tape[2 * FILE_MAX], input[1 + 2 * FILE_MAX];

	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		size_t len = write_sample(&samples[i], tape);

		len = cut_stream(tape, len, "MQDA", 2 + PAGES * PAGE);
		len = cut_stream(tape, len, "MQTL", 2 + LOG_BLOCK);
		if (samples[i].two_sets)
			len = repeat_set(tape, len);
		tape_repair(tape, len, TAPE_ALL, NULL);
		input[0] = (uint8_t)i;
		memcpy(input + 1, tape, len);
		if (packed && (len = packed_make(tape, len, input + 1, sizeof(input) - 1)) == 0)
			fuzz_broken("%s does not pack", samples[i].name);
		check_sample(samples[i].name, input + 1, len);
		taker->take(taker->ctx, samples[i].name, input, len + 1);
	}
}
