#include "common/bak_parts.h"

#include <inttypes.h>

/*
 * The log in a backup: extents of virtual log files (VLFs), each a run of log blocks of 512 to some 60,000
 * bytes. A block says its size (byte 6), its VLF (12) and its own number (16, in sectors from the VLF's
 * begin). The first byte of each sector is the VLF's parity (0x40 or 0x80), with 0x10 in a block's first
 * sector and 0x08 in its last. So seen in 1,572 blocks and 11,626 sectors without exception. A block has no
 * sum of its own that is known: a flipped bit in its body shows only in a backup WITH CHECKSUM.
 */

enum { FIRST_SECTOR = 0x10, LAST_SECTOR = 0x08, VLF_HEAD = 8192 };

static void
lose(struct bak *b, uint64_t at, const char *what)
{
	struct bak_log_walk *w = &b->walk.log;

	w->lost = true;
	b->walk.set->log_bad++;
	bak_report(b, BAK_BAD_LOG, at, "log of VLF %u: %s", w->extent.vlf_seq, what);
}

/*
 * An extent goes on where the one before it ended, or begins the next VLF. Whether a VLF may be left before
 * its end is not known (three were seen left, each at its very end), so that is not judged.
 */
static bool
follows(const struct bak_log_extent *last, const struct bak_log_extent *e)
{
	if (e->vlf_seq == last->vlf_seq)
		return e->start == last->end;
	return e->vlf_seq == last->vlf_seq + 1 && e->start - e->vlf_start <= VLF_HEAD;
}

/* Nothing more of the current extent comes. In stripes another member may hold it. */
void
bak_log_end(struct bak *b)
{
	struct bak_log_walk *w = &b->walk.log;

	if (w->open && !w->lost && w->done < w->extent.end - w->extent.start && b->media.family_count == 1)
		lose(b, b->walk.block_at, "bytes that were announced are missing");
	w->open = false;
}

bool
bak_log_extent(struct bak *b, const struct bak_log_extent *e)
{
	struct bak_log_walk *w = &b->walk.log;
	struct bak_set *s = b->walk.set;

	if (e->start > e->end || e->vlf_start > e->start || e->end - e->vlf_start > e->vlf_size ||
	    (e->start - e->vlf_start) % SECTOR != 0 || (e->end - e->start) % SECTOR != 0)
		return bak_fail(b, BAK_END_DAMAGED, "the log extent announced at %s cannot be: bytes %" PRIu64 " to %" PRIu64
		                " of a virtual log file at %" PRIu64 " of %" PRIu64 " bytes", bak_place(b, b->walk.block_at).s, e->start, e->end,
		                e->vlf_start, e->vlf_size);
	if (w->any && !follows(&w->extent, e)) {
		s->log_bad++;
		bak_report(b, BAK_BAD_LOG, b->walk.block_at, "a hole in the log: after VLF %u byte %" PRIu64 " comes VLF %u byte %" PRIu64,
		           w->extent.vlf_seq, w->extent.end, e->vlf_seq, e->start);
	}
	if (!w->any)
		w->first = *e;
	w->any = w->open = true;
	w->extent = *e;
	w->done = 0;
	w->sectors = 0;
	w->lost = false;
	if (s->n_extents < BAK_EXTENTS_MAX) {
		if (!bak_keep(b, sizeof(*e)))
			return false;
		s->extents = talloc_realloc(b, s->extents, struct bak_log_extent, s->n_extents + 1);
		s->extents[s->n_extents] = *e;
	}
	s->n_extents++;
	return true;
}

/* Stripes may share an extent's bytes out in transfer buffers: there a part has no blocks to walk. */
void
bak_log_begin(struct bak *b, uint64_t len)
{
	struct bak_log_walk *w = &b->walk.log;
	uint64_t size = w->extent.end - w->extent.start;

	if (!w->open || w->done > 0 || len >= size)
		return;
	if (b->media.family_count > 1)
		w->lost = true;
	else
		lose(b, b->walk.at, "fewer bytes follow than were announced");
}

/* A block's head: true when it is the one that belongs here. */
static bool
open_block(struct bak *b, const uint8_t *m, uint64_t at)
{
	struct bak_log_walk *w = &b->walk.log;
	uint32_t size = u16_at(m, SECTOR, 6), number = u32_at(m, SECTOR, 16);
	uint64_t place = w->extent.start + w->done;

	if (size < SECTOR || size % SECTOR != 0)
		lose(b, at, "a block without a size");
	else if (u32_at(m, SECTOR, 12) != w->extent.vlf_seq)
		lose(b, at, "a block of another virtual log file");
	else if (number != (place - w->extent.vlf_start) / SECTOR)
		lose(b, at, "a block that belongs elsewhere");
	else if (size > w->extent.end - place)
		lose(b, at, "the last block is cut off");
	if (w->lost)
		return false;
	w->sectors = size / SECTOR;
	w->sector = 0;
	b->walk.set->log_blocks++;
	if (b->walk.set->n_extents <= BAK_EXTENTS_MAX)
		b->walk.set->extents[b->walk.set->n_extents - 1].blocks++;
	return true;
}

static void
walk_sector(struct bak *b, const uint8_t *m, uint64_t at)
{
	struct bak_log_walk *w = &b->walk.log;
	uint8_t want;

	if (w->lost || (w->sectors == 0 && !open_block(b, m, at)))
		return;
	want = (uint8_t)(w->extent.parity | (w->sector == 0 ? FIRST_SECTOR : 0) | (w->sector + 1 == w->sectors ? LAST_SECTOR : 0));
	if (m[0] != want) {
		lose(b, at, "a sector with the wrong parity: the log was written over or is torn");
		return;
	}
	if (++w->sector == w->sectors)
		w->sectors = 0;
}

void
bak_log_bytes(struct bak *b, const uint8_t *mem, size_t len, uint64_t at)
{
	struct bak_log_walk *w = &b->walk.log;
	struct bak_set *s = b->walk.set;
	uint64_t size = w->extent.end - w->extent.start, n;

	if (!w->open || w->done >= size)
		return; /* filler up to a multiple of 64 KB */
	n = size - w->done < len ? size - w->done : len;
	s->log_bytes += n;
	if (b->sink != NULL && b->sink->log_bytes != NULL)
		b->sink->log_bytes(b->sink->ctx, s, s->n_extents - 1, w->done, mem, (size_t)n);
	for (size_t i = 0; i + SECTOR <= n; i += SECTOR) {
		walk_sector(b, mem + i, at + i);
		w->done += SECTOR;
	}
	w->done += n % SECTOR;
}

void
bak_log_judge(struct bak *b)
{
	const struct bak_log_walk *w = &b->walk.log;
	struct bak_set *s = b->walk.set;
	const struct bak_log_extent *first = &w->first, *last = &w->extent;
	bool from, to;

	bak_log_end(b);
	if (!w->any) {
		/* An empty log backup is a valid link of its chain. */
		if (lsn_compare(s->first_lsn, s->last_lsn) != 0) {
			s->log_bad++;
			bak_report(b, BAK_BAD_LOG, s->offset, "the log from LSN %s to %s is missing", lsn_text(s->first_lsn).s,
			           lsn_text(s->last_lsn).s);
		}
		return;
	}
	from = first->vlf_seq == s->first_lsn.vlf && first->start - first->vlf_start == (uint64_t)SECTOR * s->first_lsn.block;
	/* A log that fills its VLF ends in the first block of the next one, which is not in the backup. */
	to = (last->vlf_seq == s->last_lsn.vlf && last->end - last->vlf_start == (uint64_t)SECTOR * s->last_lsn.block) ||
	     (last->vlf_seq + 1 == s->last_lsn.vlf && last->end - last->vlf_start == last->vlf_size);
	if (from && to)
		return;
	s->log_bad++;
	bak_report(b, BAK_BAD_LOG, s->offset, "the log in it does not %s LSN %s as the header says", from ? "reach" : "begin at",
	           lsn_text(from ? s->last_lsn : s->first_lsn).s);
}
