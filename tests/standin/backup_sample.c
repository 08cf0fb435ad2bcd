#include "tests/standin/backup_sample.h"

#include <stdlib.h>
#include <string.h>

#include "tests/standin/mtf_write.h"

enum {
	PAGE = 8192, BODY = 96, PFS_INTERVAL = 8088, GAM_INTERVAL = 511232, VERSION = 904, COMPAT = 150,
	LOG_BLOCK = 1024, FIRST_BLOCK = 16, VLF = 40, VLF_START = 8192, SUMS = 0x200, TORN = 0x100,
};

enum page_kind { DATA = 1, IAM = 10, GAM = 8, SGAM = 9, PFS = 11, BOOT = 13, HEADER = 15, DIFF_MAP = 16, BULK_MAP = 17 };

static const char usual_name[] = "Sample";

static void w16(uint8_t *p, unsigned v) { p[0] = (uint8_t)v; p[1] = (uint8_t)(v >> 8); }
static void w32(uint8_t *p, uint32_t v) { w16(p, v & 0xFFFF); w16(p + 2, v >> 16); }

static struct guid
some_guid(uint8_t seed, uint8_t which)
{
	struct guid g;

	for (int i = 0; i < 16; i++)
		g.b[i] = (uint8_t)(seed * 31 + which * 17 + i + 1);
	return g;
}

static enum page_kind
kind_of(uint32_t id)
{
	uint32_t in_gam = id % GAM_INTERVAL;

	if (id == 0)
		return HEADER;
	if (id == 1 || (id >= PFS_INTERVAL && id % PFS_INTERVAL == 0))
		return PFS;
	if (id == 9)
		return BOOT;
	if (id == 2 || (id >= GAM_INTERVAL && in_gam == 0))
		return GAM;
	if (id == 3 || (id >= GAM_INTERVAL && in_gam == 1))
		return SGAM;
	if (in_gam == 6)
		return DIFF_MAP;
	return in_gam == 7 ? BULK_MAP : DATA;
}

/* ---- what stands on pages: cheap to make, and no easier to pack than a real database ---------------------- */

static uint32_t
next(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* Rows of a table: a key, numbers, words. */
static void
fill_rows(uint8_t *page, uint32_t id, uint32_t x)
{
	static const char words[16][9] = { "customer", "ticket  ", "Monday  ", "printer ", "waiting ", "answered", "invoice ", "the     ",
	                                   "mailbox ", "broken  ", "shipped ", "by phone", "closed  ", "Smith   ", "network ", "again   " };

	for (uint32_t at = BODY, row = 0; at + 128 < PAGE - 600; at += 80 + x % 48, row++) {
		w32(page + at, 0x00100030);
		w32(page + at + 4, id * 80 + row);
		w32(page + at + 8, next(&x) % 5000);
		w32(page + at + 12, 0x9D00 + (x >> 20));
		for (uint32_t i = 16; i < 72; i += 8)
			memcpy(page + at + i, words[next(&x) % 16], 8);
		w32(page + at + 72, x);
	}
}

/* An index: ascending keys, and the row each stands for. */
static void
fill_keys(uint8_t *page, uint32_t id, uint32_t x)
{
	uint32_t key = id * 1400;

	for (uint32_t at = BODY; at + 16 < PAGE - 1000; at += 13) {
		page[at] = 0x16;
		w32(page + at + 1, key += 1 + next(&x) % 4);
		w32(page + at + 5, x % 500000);
		w16(page + at + 9, 1);
		w16(page + at + 11, x >> 24);
	}
}

/* Pictures and attachments, which are packed already. */
static void
fill_noise(uint8_t *page, uint32_t id, uint32_t x)
{
	(void)id;
	for (uint32_t at = BODY; at < PAGE; at += 4)
		w32(page + at, next(&x));
}

/* A table's last page. */
static void
fill_little(uint8_t *page, uint32_t id, uint32_t x)
{
	for (uint32_t at = BODY; at < 800; at += 40) {
		w32(page + at, id + at);
		w32(page + at + 8, next(&x) % 100);
	}
}

static void
fill_body(uint8_t *page, uint32_t id, uint8_t seed)
{
	static void (*const fills[8])(uint8_t *, uint32_t, uint32_t) = {
		fill_rows, fill_rows, fill_keys, fill_rows, fill_rows, fill_noise, fill_rows, fill_little,
	};
	uint32_t x = (id + 1) * 2654435761u ^ (seed + 1u) * 40503u;

	fills[id / 4 % 8](page, id, x == 0 ? 1 : x);
}

/* ---- pages of the system ------------------------------------------------------------------------------------- */

static void
fill_boot_page(uint8_t *page, uint8_t seed, struct lsn checkpoint)
{
	struct guid family = some_guid(seed, 0), fork = some_guid(seed, 3);

	w16(page + 0x64, VERSION);
	for (size_t i = 0; i < 128; i++)
		w16(page + 0x94 + 2 * i, i < strlen(usual_name) ? (unsigned char)usual_name[i] : 0x2020);
	w16(page + 0x19A, COMPAT);
	w32(page + 0x1BC, checkpoint.vlf);
	w32(page + 0x1C0, checkpoint.block);
	w16(page + 0x1C4, checkpoint.slot);
	memcpy(page + 0x1F8, family.b, 16);
	memcpy(page + 0x228, fork.b, 16);
}

static uint32_t
sum_of(const uint8_t *page)
{
	uint32_t sum = 0;

	for (size_t s = 0; s < PAGE; s += 512) {
		uint32_t x = 0, w;

		for (size_t i = 0; i < 512; i += 4) {
			memcpy(&w, page + s + i, 4);
			x ^= w;
		}
		sum = (sum << 1 | sum >> 31) ^ x;
	}
	return sum;
}

static void
protect(uint8_t *page, bool torn)
{
	if (!torn) {
		w32(page + 0x3C, sum_of(page));
		return;
	}
	for (size_t s = 1; s < PAGE / 512; s++)
		page[s * 512 + 511] = (uint8_t)((page[s * 512 + 511] & ~3) | 1);
	w32(page + 0x3C, 1);
}

/* All pages of the file are allocated but, where there are free ones, the last of each extent from page 16 on. */
static bool
is_allocated(const struct backup_sample *s, uint32_t id)
{
	return !s->free_pages || id < 16 || id % 8 != 7 || kind_of(id) != DATA;
}

static void
make_page(uint8_t *page, uint32_t id, const struct backup_sample *s, struct lsn checkpoint)
{
	enum page_kind kind = kind_of(id);

	memset(page, 0, PAGE);
	if (!is_allocated(s, id))
		return;
	page[0] = 1;
	page[1] = (uint8_t)kind;
	w16(page + 4, s->torn_bits ? TORN : SUMS);
	w32(page + 0x20, id);
	w16(page + 0x24, 1);
	switch (kind) {
	case PFS:
		for (uint32_t i = 0; i < PFS_INTERVAL && id / PFS_INTERVAL * PFS_INTERVAL + i < s->pages; i++)
			page[100 + i] = is_allocated(s, id / PFS_INTERVAL * PFS_INTERVAL + i) ? 0x40 : 0;
		break;
	case GAM: case SGAM: case DIFF_MAP: case BULK_MAP: case IAM:
		memset(page + 200, kind == GAM ? 0 : 0xFF, 4000);
		break;
	case BOOT:
		fill_boot_page(page, s->seed, checkpoint);
		break;
	case DATA: case HEADER:
		fill_body(page, id, s->seed);
		break;
	}
	protect(page, s->torn_bits);
}

static void
write_pages(struct mtf *m, const struct backup_sample *s, struct lsn checkpoint)
{
	uint8_t page[PAGE];

	mtf_pages_begin(m, s->pages);
	for (uint32_t id = 0; id < s->pages; id++) {
		make_page(page, id, s, checkpoint);
		mtf_page(m, page);
	}
	mtf_pages_end(m);
}

static void
write_log(struct mtf *m, const struct backup_sample *s)
{
	uint64_t start = VLF_START + FIRST_BLOCK * 512, end = start + (uint64_t)s->log_blocks * LOG_BLOCK;
	uint8_t block[LOG_BLOCK];

	if (s->log_blocks == 0)
		return;
	mtf_log_begin(m, VLF, VLF_START, end, start, end);
	for (uint32_t i = 0; i < s->log_blocks; i++) {
		memset(block, (int)(i * 7 + s->seed), sizeof(block));
		w16(block + 2, 1);
		w16(block + 4, 900);
		w16(block + 6, LOG_BLOCK);
		w32(block + 12, VLF);
		w32(block + 16, FIRST_BLOCK + i * (LOG_BLOCK / 512));
		w16(block + 20, 1);
		block[0] = 0x40 | 0x10;
		block[512] = 0x40 | 0x08;
		mtf_log(m, block, sizeof(block));
	}
	mtf_log_end(m);
}

bool
backup_sample_write_named(TALLOC_CTX *mem, const char *path, const struct backup_sample *s, const char *name, struct err *err)
{
	uint32_t last = FIRST_BLOCK + s->log_blocks * (LOG_BLOCK / 512);
	uint32_t pages = s->type == 'L' ? 0 : s->pages;
	struct mtf_file files[] = {
		{ .file_id = 1, .group_id = 1, .pages = pages, .type = 'D', .name = name, .path = "D:\\data\\Sample.mdf",
		  .size = (uint64_t)s->pages * PAGE, .max_size = 35184372080640, .unique_id = some_guid(s->seed, 4) },
		{ .file_id = 2, .type = 'L', .name = "Sample_log", .path = "L:\\log\\Sample_log.ldf", .size = 1 << 20, .max_size = 2199023255552,
		  .unique_id = some_guid(s->seed, 5) },
	};
	struct mtf_set set = {
		.type = s->type, .checksum = s->checksum, .database = name, .server = "ONPREM\\SQL2019", .machine = "ONPREM",
		.user = "ONPREM\\dba", .name = "Sample-Full", .backup_set = some_guid(s->seed, (uint8_t)s->type), .binding = some_guid(s->seed, 2),
		.fork = some_guid(s->seed, 3), .family = some_guid(s->seed, 0), .first = { VLF, FIRST_BLOCK, 1 },
		.last = { VLF, last, 1 }, .checkpoint = { VLF, FIRST_BLOCK, 1 }, .created = 1700000000, .start = 1700000100,
		.database_id = 7, .database_version = VERSION, .compat = COMPAT, .backup_size = (uint64_t)pages * PAGE, .files = files, .n_files = 2,
	};
	struct mtf *m = mtf_begin(mem, path, &set, err);
	bool good;

	if (m == NULL)
		return false;
	if (pages > 0)
		write_pages(m, s, set.checkpoint);
	if (s->log_blocks == 0)
		set.last = set.first;
	write_log(m, s);
	set.finish = 1700000160;
	good = mtf_end(m, &set, err);
	talloc_free(m);
	return good;
}

bool
backup_sample_write(TALLOC_CTX *mem, const char *path, const struct backup_sample *s, struct err *err)
{
	return backup_sample_write_named(mem, path, s, usual_name, err);
}
