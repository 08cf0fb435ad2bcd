#include "common/bak_parts.h"

#include <string.h>

static uint32_t
le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap32(v);
#endif
	return v;
}

/* Whole sectors as sixteen-byte steps, which compilers turn into vector instructions. */
static uint32_t
sector_xor(const uint8_t *mem)
{
	uint32_t lane[8] = { 0 };

	for (size_t i = 0; i < 512; i += sizeof(lane)) {
		uint32_t w[8];

		memcpy(w, mem + i, sizeof(w));
		for (size_t k = 0; k < 8; k++)
			lane[k] ^= w[k];
	}
	for (size_t k = 1; k < 8; k++)
		lane[0] ^= lane[k];
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return __builtin_bswap32(lane[0]);
#else
	return lane[0];
#endif
}

uint32_t
bak_sum(uint32_t sum, const void *mem, size_t sectors)
{
	const uint8_t *p = mem;

	for (size_t i = 0; i < sectors; i++)
		sum = (sum << 1 | sum >> 31) ^ sector_xor(p + i * 512);
	return sum;
}

/* The stored sum counts as zero: XORing it out of its own sector does the same. */
static uint32_t
page_sum(const uint8_t *page)
{
	uint32_t stored = le32(page + 0x3C);
	uint32_t sum = sector_xor(page) ^ stored;

	return bak_sum(sum, page + 512, PAGE_SIZE_BYTES / 512 - 1);
}

/* Torn page bits: sectors 1..15 end in the same two bits as the word at 0x3C, 01 or 10. */
static bool
torn_bits_agree(const uint8_t *page)
{
	unsigned pat = page[0x3C] & 3;

	if (pat != 1 && pat != 2)
		return false;
	for (size_t s = 1; s < PAGE_SIZE_BYTES / 512; s++)
		if ((page[s * 512 + 511] & 3u) != pat)
			return false;
	return true;
}

static bool
is_zero(const uint8_t *page)
{
	static const uint8_t none[512];

	for (size_t s = 0; s < PAGE_SIZE_BYTES; s += 512)
		if (memcmp(page + s, none, 512) != 0)
			return false;
	return true;
}

void
bak_checker_begin(struct bak_checker *c, struct bak_pages *pages)
{
	*c = (struct bak_checker){ .pages = pages };
}

struct identity {
	uint32_t file, base;
};

static bool
is_after(struct identity a, uint32_t file, uint32_t base)
{
	return a.file > file || (a.file == file && a.base > base);
}

/*
 * Which extent this is. Free pages inside an extent hold arbitrary remains of other places, with valid
 * sums even, so a majority alone can be wrong; extents ascend within a pass, so the smallest identity
 * beyond the extent before is the right one, and the majority only the fallback. (Found on real files.)
 */
static bool
find_identity(const struct bak_checker *c, const uint8_t *mem, size_t n, struct identity *out)
{
	struct identity seen[EXTENT_PAGES];
	size_t votes[EXTENT_PAGES] = { 0 }, n_seen = 0, best = 0;
	bool found = false;

	for (size_t k = 0; k < n; k++) {
		const uint8_t *page = mem + k * PAGE_SIZE_BYTES;
		uint32_t id = le32(page + 0x20);
		struct identity i = { (uint32_t)(page[0x24] | page[0x25] << 8), id - (uint32_t)k };
		size_t s = 0;

		if (page[0] != 1 || id % EXTENT_PAGES != k || i.file == 0)
			continue;
		while (s < n_seen && (seen[s].file != i.file || seen[s].base != i.base))
			s++;
		if (s == n_seen)
			seen[n_seen++] = i;
		votes[s]++;
		if (c->any && !is_after(i, c->last_file, c->last_base))
			continue;
		if (!found || is_after(*out, i.file, i.base))
			*out = i;
		found = true;
	}
	for (size_t s = 1; s < n_seen; s++)
		if (votes[s] > votes[best])
			best = s;
	if (!found && n_seen > 0)
		*out = seen[best];
	return n_seen > 0;
}

/* Allocated according to the map that came before; unknown counts as allocated. */
static bool
is_allocated(const struct bak_checker *c, uint32_t file, uint32_t page_id, bool if_unknown)
{
	enum { INTERVAL = 8088 };
	uint32_t map = page_id < INTERVAL ? 1 : page_id / INTERVAL * INTERVAL;

	if (!c->have_pfs || c->pfs_file != file || c->pfs_page != map)
		return if_unknown;
	return (c->pfs[100 + page_id % INTERVAL] & 0x40) != 0;
}

static void
report(struct bak_checker *c, uint32_t file, uint32_t page_id, uint64_t offset, uint32_t expected, uint32_t found)
{
	struct bak_pages *p = c->pages;

	if (p->bad < BAK_BAD_PAGES_MAX)
		p->bad_list[p->bad] = (struct bak_bad_page){ file, page_id, offset, expected, found };
	p->bad++;
}

static void
check_page(struct bak_checker *c, const uint8_t *page, uint32_t file, uint32_t id, uint64_t offset)
{
	enum { HAS_CHECKSUM = 0x200, HAS_TORN_BITS = 0x100 };
	unsigned flags = (unsigned)(page[4] | page[5] << 8);
	uint32_t stored = le32(page + 0x3C), sum;

	if (flags & HAS_CHECKSUM) {
		c->pages->checked++;
		if ((sum = page_sum(page)) == stored)
			c->pages->sums_ok++;
		else if (is_allocated(c, file, id, true))
			report(c, file, id, offset, stored, sum);
	} else if (flags & HAS_TORN_BITS) {
		c->pages->checked++;
		if (torn_bits_agree(page))
			c->pages->torn_ok++;
		else if (is_allocated(c, file, id, true))
			report(c, file, id, offset, stored & 3, 0);
	} else {
		c->pages->unprotected++;
	}
	if (page[1] == 11) { /* PFS */
		memcpy(c->pfs, page, PAGE_SIZE_BYTES);
		c->pfs_file = file;
		c->pfs_page = id;
		c->have_pfs = true;
	}
}

void
bak_checker_extent(struct bak_checker *c, const uint8_t *mem, size_t n, uint64_t offset)
{
	struct identity i = { 0 };
	bool known = find_identity(c, mem, n, &i);

	for (size_t k = 0; k < n; k++) {
		const uint8_t *page = mem + k * PAGE_SIZE_BYTES;
		uint64_t at = offset + k * PAGE_SIZE_BYTES;

		c->pages->total++;
		if (is_zero(page)) {
			c->pages->zero++;
			/* An allocated page is never empty; the map says which are. */
			if (known && is_allocated(c, i.file, i.base + (uint32_t)k, false))
				report(c, i.file, i.base + (uint32_t)k, at, 0, 0);
			continue;
		}
		if (!known || page[0] != 1 || le32(page + 0x20) != i.base + k ||
		    (uint32_t)(page[0x24] | page[0x25] << 8) != i.file) {
			c->pages->foreign++;
			if (known && is_allocated(c, i.file, i.base + (uint32_t)k, false))
				report(c, i.file, i.base + (uint32_t)k, at, i.base + (uint32_t)k, le32(page + 0x20));
			continue;
		}
		check_page(c, page, i.file, i.base + (uint32_t)k, at);
	}
	if (known) {
		c->any = true;
		c->last_file = i.file;
		c->last_base = i.base;
	}
}
