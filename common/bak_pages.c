#include "common/bak_parts.h"

#include <inttypes.h>

/*
 * Pages as they pass. Whole extents of eight pages go by, files and extents ascending; unallocated pages in
 * them are arbitrary remains, with valid checksums even. The rules below gave no false alarm on 33,392
 * pages of real backups.
 */

enum { PFS_INTERVAL = 8088, GAM_INTERVAL = 511232, BOOT_PAGE = 9 };
enum page_type { PAGE_GAM = 8, PAGE_SGAM = 9, PAGE_PFS = 11, PAGE_BOOT = 13, PAGE_DIFF_MAP = 16, PAGE_BULK_MAP = 17 };

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

enum { HAS_CHECKSUM = 0x200, HAS_TORN_BITS = 0x100 };

static unsigned flags_of(const uint8_t *page) { return (unsigned)(page[4] | page[5] << 8); }

/* Nothing speaks against it, as far as it is protected. */
static bool
is_sound(const uint8_t *page)
{
	if (flags_of(page) & HAS_CHECKSUM)
		return page_sum(page) == le32(page + 0x3C);
	return !(flags_of(page) & HAS_TORN_BITS) || torn_bits_agree(page);
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

static uint16_t file_of(const uint8_t *page) { return (uint16_t)(page[0x24] | page[0x25] << 8); }
static uint32_t id_of(const uint8_t *page) { return le32(page + 0x20); }

/* Counts go back to what they were, and with them the damaged pages listed since. */
static void
go_back(struct bak *b, const struct bak_pages *to)
{
	const struct bak_set *s = b->walk.set;
	struct bak_pages *now = b->walk.checker.pages;
	uint64_t pages = 0;
	size_t kept = 0;

	b->all_damage -= now->bad - to->bad;
	*now = *to;
	for (size_t i = 0; i < b->n_damage; i++) {
		const struct bak_damage *d = &b->damage[i];
		bool is_ours = d->kind == BAK_BAD_PAGE && d->position == s->position && d->pass == s->n_passes - 1;

		if (is_ours && ++pages > to->bad)
			continue;
		b->damage[kept++] = *d;
	}
	b->n_damage = kept;
}

static const struct bak_pages nothing;

/* What cannot be read cannot be judged: nothing is called damaged then, and the boot page not compared. */
static void
leave_unjudged(struct bak *b, uint64_t pages)
{
	struct bak_checker *c = &b->walk.checker;

	go_back(b, &nothing);
	c->pages->total = c->pages->unprotected = pages;
	b->walk.boots[b->walk.set->n_passes - 1].seen = false; /* page 9 comes in the second extent, behind the maps that tell */
}

void
bak_checker_begin(struct bak *b, struct bak_pages *pages)
{
	struct bak_checker *c = &b->walk.checker;
	bool tde = c->tde && b->walk.set->n_passes == 2;

	*c = (struct bak_checker){ .pages = pages, .tde = tde };
}

/*
 * The data of a pass is padded to whole transfer buffers with old memory, at most sixteen extents. What lies
 * after the announced pages is taken back. A stripe member holds an unknown share of the announced pages,
 * so nothing is cut there.
 */
void
bak_checker_cut(struct bak *b, uint64_t pages)
{
	struct bak_checker *c = &b->walk.checker;
	uint64_t extents = (pages + EXTENT_PAGES - 1) / EXTENT_PAGES;
	const struct bak_pages *to = extents == 0 ? &nothing : &c->marks[(extents - 1) % SNAPSHOTS];

	if (b->media.family_count > 1 || extents >= c->extents_done || c->extents_done - extents >= SNAPSHOTS)
		return;
	/* Where ciphertext was taken for damage until it was known for what it is, the counts of then are of no use. */
	if (c->tde)
		leave_unjudged(b, to->total);
	else
		go_back(b, to);
}

/* ---- what belongs there ------------------------------------------------------------------------------------ */

/* File header, allocation maps and the boot page are in every database. */
static bool
is_always_there(uint32_t file, uint32_t id)
{
	uint32_t in_gam = id % GAM_INTERVAL;

	return id <= 3 || in_gam == 6 || in_gam == 7 || (id >= GAM_INTERVAL && in_gam <= 1) ||
	       (id >= PFS_INTERVAL && id % PFS_INTERVAL == 0) || (file == 1 && id == BOOT_PAGE);
}

/* Allocated according to the map that came before; unknown counts as told. */
static bool
is_allocated(const struct bak_checker *c, uint32_t file, uint32_t id, bool if_unknown)
{
	uint32_t map = id < PFS_INTERVAL ? 1 : id / PFS_INTERVAL * PFS_INTERVAL;

	if (is_always_there(file, id))
		return true;
	if (!c->have_pfs || c->pfs_file != file || c->pfs_page != map)
		return if_unknown;
	return (c->pfs[100 + id % PFS_INTERVAL] & 0x40) != 0;
}

/* ---- which extent is it ---------------------------------------------------------------------------------- */

struct identity {
	uint32_t file, base;
};

/* What pages of one extent say which it is; those pages, and whether it may well be so. */
struct candidate {
	struct identity i;
	size_t votes;
	bool fits;
};

static bool
is_after(struct identity a, uint32_t file, uint32_t base)
{
	return a.file > file || (a.file == file && a.base > base);
}

static size_t
find_candidates(const uint8_t *mem, size_t n, struct candidate seen[static EXTENT_PAGES])
{
	size_t n_seen = 0;

	for (size_t k = 0; k < n; k++) {
		const uint8_t *page = mem + k * PAGE_SIZE_BYTES;
		uint32_t id = id_of(page);
		struct identity i = { file_of(page), id - (uint32_t)k };
		size_t s = 0;

		if (page[0] != 1 || id % EXTENT_PAGES != k || i.file == 0)
			continue;
		while (s < n_seen && (seen[s].i.file != i.file || seen[s].i.base != i.base))
			s++;
		if (s == n_seen)
			seen[n_seen++] = (struct candidate){ .i = i };
		seen[s].votes++;
	}
	return n_seen;
}

/*
 * A page whose id was hit names an extent that is not here. The first pass over an unstriped full has every
 * allocated extent, so one that was left out before has no allocated page; elsewhere extents are left out by rule,
 * and the page's sum tells.
 */
static void
weigh(const struct bak *b, const uint8_t *mem, struct candidate *c)
{
	bool has_all = b->walk.set->type == BAK_FULL && b->walk.set->n_passes == 1 && b->media.family_count == 1;

	for (uint32_t k = 0; k < EXTENT_PAGES && !c->fits; k++) {
		const uint8_t *page = mem + k * PAGE_SIZE_BYTES;

		c->fits = page[0] == 1 && file_of(page) == c->i.file && id_of(page) == c->i.base + k &&
		          (has_all ? is_allocated(&b->walk.checker, c->i.file, c->i.base + k, false) : is_sound(page));
	}
}

/*
 * Free pages inside an extent hold arbitrary remains of other places, with valid sums even, so a majority
 * alone can be wrong; extents ascend within a pass, so the smallest identity beyond the extent before is
 * the right one, and the majority only the fallback. (Found on real files.)
 */
static bool
find_identity(const struct bak *b, const uint8_t *mem, size_t n, struct identity *out)
{
	const struct bak_checker *c = &b->walk.checker;
	struct candidate seen[EXTENT_PAGES];
	size_t n_seen = find_candidates(mem, n, seen), best = 0;

	for (size_t s = 0; s < n_seen; s++) {
		bool beyond = !c->any || is_after(seen[s].i, c->last_file, c->last_base);
		bool best_beyond = !c->any || is_after(seen[best].i, c->last_file, c->last_base);

		if (n_seen > 1 && n == EXTENT_PAGES)
			weigh(b, mem, &seen[s]);
		if (beyond != best_beyond ? beyond
		    : !beyond             ? seen[s].votes > seen[best].votes
		    : seen[s].fits != seen[best].fits ? seen[s].fits
		                                      : is_after(seen[best].i, seen[s].i.file, seen[s].i.base))
			best = s;
	}
	if (n_seen > 0)
		*out = seen[best].i;
	return n_seen > 0;
}

/* What is wrong with a page. */
enum wrong { WRONG_SUM, WRONG_BITS, WRONG_PAGE, WRONG_EMPTY };

static const char *const wrongs[] = {
	[WRONG_SUM] = "its checksum and its bytes differ",
	[WRONG_BITS] = "torn: its sectors do not end in the same bits",
	[WRONG_PAGE] = "allocated, and another page stands in its place",
	[WRONG_EMPTY] = "allocated, and nothing but zeros",
};

static void
report(struct bak *b, enum wrong wrong, uint32_t file, uint32_t id, uint64_t offset, uint32_t expected, uint32_t found)
{
	struct bak_checker *c = &b->walk.checker;
	struct bak_damage *d;

	c->pages->bad++;
	d = bak_report(b, BAK_BAD_PAGE, offset, "page (%u:%u) is %s%s (expected 0x%08X, found 0x%08X)", file, id,
	               wrong == WRONG_SUM ? "damaged: " : "", wrongs[wrong], expected, found);
	if (d == NULL)
		return;
	d->file_id = file;
	d->page_id = id;
	d->expected = expected;
	d->found = found;
}

/*
 * A page free space map is believed when its own sum fits. It stands at page 1 and at every 8088th page,
 * which is before the pages that it speaks of but for page 0.
 */
static void
take_pfs(struct bak_checker *c, const uint8_t *page, uint32_t file, uint32_t id)
{
	memcpy(c->pfs, page, PAGE_SIZE_BYTES);
	c->pfs_file = file;
	c->pfs_page = id;
	c->have_pfs = true;
}

static void
take_boot_page(struct bak *b, const uint8_t *page, uint64_t offset)
{
	struct bak_boot *p = &b->walk.boots[b->walk.set->n_passes - 1];

	*p = (struct bak_boot){
		.seen = true, .offset = offset, .version = u16_at(page, PAGE_SIZE_BYTES, 0x64),
		.compat_level = u16_at(page, PAGE_SIZE_BYTES, 0x19A),
		.database_backup_lsn = bak_lsn_at(page, PAGE_SIZE_BYTES, 0x1B0),
		.checkpoint_lsn = bak_lsn_at(page, PAGE_SIZE_BYTES, 0x1BC),
		.family = bak_guid_at(page, PAGE_SIZE_BYTES, 0x1F8), .fork = bak_guid_at(page, PAGE_SIZE_BYTES, 0x228),
		.fork1_lsn = bak_lsn_at(page, PAGE_SIZE_BYTES, 0x238), .fork1 = bak_guid_at(page, PAGE_SIZE_BYTES, 0x244),
		.database_backup_guid = bak_guid_at(page, PAGE_SIZE_BYTES, 0x254),
	};
	memcpy(p->name, page + 0x94, sizeof(p->name));
}

/*
 * Under TDE page headers stay readable and bodies are ciphertext (one outside witness; no sample). A map of
 * allocations is runs of a few byte values; one whose body has nearly all of them is no map.
 */
static bool
is_dark(const uint8_t *page)
{
	bool seen[256] = { false };
	unsigned n = 0;

	for (size_t i = 96; i < PAGE_SIZE_BYTES; i++) {
		n += !seen[page[i]];
		seen[page[i]] = true;
	}
	return n > 240;
}

static bool
is_map(const uint8_t *page)
{
	return page[1] == PAGE_GAM || page[1] == PAGE_SGAM || page[1] == PAGE_PFS || page[1] == PAGE_DIFF_MAP || page[1] == PAGE_BULK_MAP;
}

/* ---- checking -------------------------------------------------------------------------------------------------- */

/* False when the page has a sum or torn bits and they do not fit. */
static bool
check_sum(struct bak *b, const uint8_t *page, uint32_t file, uint32_t id, uint64_t offset)
{
	struct bak_checker *c = &b->walk.checker;
	unsigned flags = flags_of(page);
	uint32_t stored = le32(page + 0x3C), sum;

	if (flags & HAS_CHECKSUM) {
		c->pages->checked++;
		if ((sum = page_sum(page)) == stored) {
			c->pages->sums_ok++;
			return true;
		}
		if (is_allocated(c, file, id, true))
			report(b, WRONG_SUM, file, id, offset, stored, sum);
		return false;
	}
	if (flags & HAS_TORN_BITS) {
		c->pages->checked++;
		if (torn_bits_agree(page)) {
			c->pages->torn_ok++;
			return true;
		}
		if (is_allocated(c, file, id, true))
			report(b, WRONG_BITS, file, id, offset, stored & 3, page[PAGE_SIZE_BYTES - 1] & 3u);
		return false;
	}
	c->pages->unprotected++;
	return true;
}

static void
check_page(struct bak *b, const uint8_t *page, uint32_t file, uint32_t id, uint64_t offset)
{
	struct bak_checker *c = &b->walk.checker;
	bool sound = check_sum(b, page, file, id, offset);

	if (is_map(page)) {
		c->maps++;
		c->dark_maps += is_dark(page);
	}
	if (sound && page[1] == PAGE_PFS)
		take_pfs(c, page, file, id);
	if (sound && page[1] == PAGE_BOOT && file == 1 && id == BOOT_PAGE)
		take_boot_page(b, page, offset);
}

static void
check_place(struct bak *b, const uint8_t *page, const struct identity *i, uint32_t k, uint64_t at)
{
	struct bak_checker *c = &b->walk.checker;
	uint32_t id = i == NULL ? 0 : i->base + k;

	c->pages->total++;
	if (is_zero(page)) {
		c->pages->zero++;
		if (i != NULL && is_allocated(c, i->file, id, false))
			report(b, WRONG_EMPTY, i->file, id, at, id, 0);
		return;
	}
	if (i == NULL || page[0] != 1 || id_of(page) != id || file_of(page) != i->file) {
		c->pages->foreign++;
		if (i != NULL && is_allocated(c, i->file, id, false))
			report(b, WRONG_PAGE, i->file, id, at, id, id_of(page));
		return;
	}
	check_page(b, page, i->file, id, at);
}

/*
 * Extents of zeros do not say which they are. Where just so many lie between two that do, they are the ones in
 * between, and what the map calls allocated there is lost.
 */
static void
judge_blanks(struct bak *b, struct identity i)
{
	struct bak_checker *c = &b->walk.checker;

	if (c->any && c->blank > 0 && i.file == c->last_file && i.base == c->last_base + (c->blank + 1) * EXTENT_PAGES)
		for (uint32_t k = 0; k < c->blank * EXTENT_PAGES; k++)
			if (is_allocated(c, i.file, c->last_base + EXTENT_PAGES + k, false))
				report(b, WRONG_EMPTY, i.file, c->last_base + EXTENT_PAGES + k, c->blank_at + (uint64_t)k * PAGE_SIZE_BYTES,
				       c->last_base + EXTENT_PAGES + k, 0);
	c->blank = 0;
}

/* The map in the first extent speaks of page 0 too, which stands before it. */
static void
look_ahead(struct bak_checker *c, const uint8_t *mem, size_t n, struct identity i)
{
	const uint8_t *page = mem + PAGE_SIZE_BYTES;

	if (i.base == 0 && n > 1 && page[0] == 1 && page[1] == PAGE_PFS && id_of(page) == 1 && file_of(page) == i.file &&
	    page_sum(page) == le32(page + 0x3C))
		take_pfs(c, page, i.file, 1);
}

void
bak_checker_extent(struct bak *b, const uint8_t *mem, size_t n, uint64_t offset)
{
	struct bak_checker *c = &b->walk.checker;
	struct identity i = { 0 };
	bool known = find_identity(b, mem, n, &i);

	if (known) {
		judge_blanks(b, i);
		look_ahead(c, mem, n, i);
	} else if (c->blank++ == 0) {
		c->blank_at = offset;
	}
	for (size_t k = 0; k < n; k++)
		check_place(b, mem + k * PAGE_SIZE_BYTES, known ? &i : NULL, (uint32_t)k, offset + k * PAGE_SIZE_BYTES);
	if (known) {
		c->any = true;
		c->last_file = i.file;
		c->last_base = i.base;
	}
	c->tde = c->tde || (c->maps >= 2 && c->dark_maps == c->maps);
	if (c->tde)
		leave_unjudged(b, c->pages->total);
	c->marks[c->extents_done++ % SNAPSHOTS] = *c->pages;
}
