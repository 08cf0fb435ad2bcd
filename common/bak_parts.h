/*
 * The parts of the backup reader that its files share: the page checker and the recogniser of other files.
 *
 * Only common/bak*.c includes this.
 */
#ifndef LANDFALL_BAK_PARTS_H
#define LANDFALL_BAK_PARTS_H

#include "common/bak.h"

enum { PAGE_SIZE_BYTES = 8192, EXTENT_PAGES = 8, EXTENT_SIZE = PAGE_SIZE_BYTES * EXTENT_PAGES };

/*
 * The sum SQL Server uses for pages and for BACKUP WITH CHECKSUM: for each sector of 512 bytes the XOR of
 * its 128 little-endian words, folded in after rotating what was there left by one bit.
 */
uint32_t bak_sum(uint32_t sum, const void *mem, size_t sectors);

/* Checks the pages of one pass, extent by extent in file order. */
struct bak_checker {
	struct bak_pages *pages;
	uint32_t last_file, last_base; /* identity of the extent before: extents ascend */
	bool any;
	uint8_t pfs[PAGE_SIZE_BYTES]; /* the current page free space map: which pages are allocated */
	uint32_t pfs_file, pfs_page;
	bool have_pfs;
};
void bak_checker_begin(struct bak_checker *c, struct bak_pages *pages);
/* mem holds n_pages whole pages (8 but for a broken end); offset is theirs in the backup file. */
void bak_checker_extent(struct bak_checker *c, const uint8_t *mem, size_t n_pages, uint64_t offset);

/* What a file that is no backup is, from its first bytes: NULL while undecided. Enough: 4096 or the end. */
const char *bak_recognise(const uint8_t *mem, size_t len, bool at_end);

#endif
