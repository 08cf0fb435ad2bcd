#include "common/bak_parts.h"

#include <inttypes.h>

#include "common/text.h"

/*
 * The walk over Microsoft Tape Format: descriptor blocks of 52 bytes and more, each followed by streams
 * with a 22-byte header, all with XOR sums over their headers. Order in a file:
 *
 *     TAPE SFMB { SSET VOLB MSCI MSDA{0,1,2} MSTL* MSLS SFMB ESET ESET SFMB }+ end
 */

enum {
	BLOCK_HEAD = 52,
	STREAM_HEAD = 22,
	TAG_HEAD = 8,
	TAG_MAX = 1 << 17,        /* of a structure of the catalogue: its texts lie within 64 KB and are as long at most */
	SMALL_MAX = 4096,         /* RAID, CSUM */
	SETMAP_MAX = 1 << 20,     /* TSMP: about 200 bytes per set */
	SUM_FOLLOWS = 0x100,      /* media attribute of a data stream: its CSUM stands behind it */
	IDLE_BLOCKS_MAX = 100000, /* blocks in a row without data: real files have some twenty */
	ROOM_MIN = EXTENT_SIZE,
};

static bool is(const char *have, const char *name) { return memcmp(have, name, 4) == 0; }

static uint16_t
xor16(const uint8_t *mem, size_t words)
{
	uint16_t x = 0;

	for (size_t i = 0; i < words; i++)
		x ^= (uint16_t)(mem[2 * i] | mem[2 * i + 1] << 8);
	return x;
}

static void
make_room(struct bak *b, size_t n)
{
	struct bak_walk *w = &b->walk;

	if (n <= w->room)
		return;
	w->room = n < ROOM_MIN ? ROOM_MIN : n;
	w->buf = talloc_realloc(b, w->buf, uint8_t, w->room);
}

static void
collect(struct bak *b, enum walk_state state, size_t n)
{
	make_room(b, n);
	b->walk.state = state;
	b->walk.have = 0;
	b->walk.need = n;
}

static void
skip(struct bak *b, uint64_t n, enum walk_state after)
{
	b->walk.left = n;
	b->walk.state = SKIPPING;
	b->walk.after_skip = after;
}

static void next_block(struct bak *b) { collect(b, AT_BLOCK, BLOCK_HEAD); }
static void next_stream(struct bak *b) { collect(b, AT_STREAM, STREAM_HEAD); }

void
bak_walk_begin(struct bak *b)
{
	next_block(b);
}

bool
bak_walk_is_between(const struct bak *b)
{
	return b->walk.state == AT_BLOCK && b->walk.have == 0;
}

/* ---- blocks ---------------------------------------------------------------------------------------- */

static bool
read_tape(struct bak *b, const uint8_t *m, size_t len)
{
	struct bak_media *d = &b->media;

	if (b->walk.phase != WANT_TAPE)
		return bak_fail(b, BAK_END_DAMAGED, "a second TAPE block at %s: two files glued together", bak_place(b, b->walk.block_at).s);
	d->media_family_id = u32_at(m, len, 0x34);
	d->media_sequence = u16_at(m, len, 0x3C);
	d->sfmb_units = u16_at(m, len, 0x40);
	d->name = bak_text_at(b, m, len, 0x44, BAK_NAME_MAX, NULL);
	d->description = bak_text_at(b, m, len, 0x48, BAK_NAME_MAX, NULL);
	d->has_password = u16_at(m, len, 0x4C) != 0;
	d->software = bak_text_at(b, m, len, 0x50, BAK_NAME_MAX, NULL);
	d->logical_block_size = u16_at(m, len, 0x54);
	d->vendor = u16_at(m, len, 0x56);
	d->date = bak_date_at(m, len, 0x58);
	if (strncmp(d->software, "Microsoft SQL Server", 20) != 0) {
		char who[64]; /* never cut inside a character: the sentence goes where only UTF-8 may */

		text_escape(who, sizeof(who), d->software, SIZE_MAX);
		return bak_fail(b, BAK_END_OTHER, "a tape format file of another program (%s), not a SQL Server backup: "
		                "send the .bak that BACKUP DATABASE wrote", who);
	}
	b->walk.phase = WANT_FIRST_MARK;
	return true;
}

/* Which release wrote it: what is not known is not read. SQL Server 2000 wrote tape format too, in another layout. */
static bool
is_known_release(struct bak *b, unsigned major)
{
	if (major < OLDEST_MAJOR) {
		b->old = true;
		return bak_fail(b, BAK_END_OTHER, "written by SQL Server %s (version %u), which is older than 2005 and not read here: "
		                "restore it on SQL Server 2008 R2 or older, back it up there and send that",
		                major == 8 ? "2000" : "7.0 or older", major);
	}
	if (major > NEWEST_MAJOR) {
		b->unknown = true;
		return bak_fail(b, BAK_END_OTHER, "written by SQL Server version %u, which is newer than this reader knows (2025, version %d)",
		                major, NEWEST_MAJOR);
	}
	return true;
}

static bool
read_sset(struct bak *b, const uint8_t *m, size_t len)
{
	const struct bak_set *last = b->walk.set;
	struct bak_set *s;
	size_t os = u16_at(m, len, 46);

	if (b->walk.phase != WANT_SET)
		return bak_fail(b, BAK_END_DAMAGED, "a backup set begins at %s before the one before it ended",
		                bak_place(b, b->walk.block_at).s);
	if (b->n_sets == BAK_SETS_MAX)
		return bak_fail(b, BAK_END_DAMAGED, "more than %d backup sets in one file", BAK_SETS_MAX);
	if (!is_known_release(b, u8_at(m, len, 0x5D)) || !bak_keep(b, sizeof(*s) + sizeof(s)))
		return false;
	s = talloc_zero(b, struct bak_set);
	s->offset = b->walk.block_at;
	s->sset_attributes = u32_at(m, len, 0x34);
	s->vendor = u16_at(m, len, 0x3C);
	s->position = u16_at(m, len, 0x3E);
	s->name = bak_text_at(b, m, len, 0x40, BAK_NAME_MAX, last == NULL ? NULL : last->name);
	s->description = bak_text_at(b, m, len, 0x44, BAK_NAME_MAX, last == NULL ? NULL : last->description);
	s->has_password = u16_at(m, len, 0x48) != 0;
	s->user = bak_text_at(b, m, len, 0x4C, BAK_NAME_MAX, last == NULL ? NULL : last->user);
	s->time_zone = (int8_t)u8_at(m, len, 0x5F);
	s->backup_set_guid = bak_guid_at(m, len, os);
	s->expiration = bak_date_at(m, len, os + 16);
	s->machine = s->device = s->database = s->server = "";
	s->recovery_model = "FULL";
	b->walk.set = s;
	b->walk.begun = bak_date_at(m, len, 0x58);
	b->walk.major = u8_at(m, len, 0x5D);
	b->walk.minor = u8_at(m, len, 0x5E);
	b->walk.phase = IN_SET;
	b->walk.blocks_in_set = 0;
	b->walk.log = (struct bak_log_walk){ 0 };
	b->walk.boots[0].seen = b->walk.boots[1].seen = false;
	/* The set says itself where it begins (a compressed one in the file): a set that was cut out of another does not. */
	s->file_offset = b->front == NULL ? s->offset : bak_front_record(b->front);
	if (u64_at(m, len, 0x50) != s->file_offset)
		return bak_fail(b, BAK_END_DAMAGED, "set %u begins at %s but says that it begins at byte %" PRIu64
		                ": bytes before it are missing or were added", s->position, bak_place(b, s->offset).s, u64_at(m, len, 0x50));
	if (s->position != b->n_sets + 1)
		return bak_fail(b, BAK_END_DAMAGED, "the set at %s says that it is number %u and is number %zu",
		                bak_place(b, s->offset).s, s->position, b->n_sets + 1);
	return true;
}

static bool
read_volb(struct bak *b, const uint8_t *m, size_t len)
{
	const struct bak_set *last = b->n_sets > 0 ? b->sets[b->n_sets - 1] : NULL;
	struct bak_set *s = b->walk.set;

	s->device = bak_text_at(b, m, len, 0x38, BAK_NAME_MAX, last == NULL ? NULL : last->device);
	s->machine = bak_text_at(b, m, len, 0x40, BAK_NAME_MAX, last == NULL ? NULL : last->machine);
	return !b->stopped;
}

static bool
read_mstl(struct bak *b, const uint8_t *m, size_t len)
{
	struct bak_log_extent e = {
		.start = u64_at(m, len, 0x3C), .end = u64_at(m, len, 0x44), .log_file_id = u16_at(m, len, 0x4C),
		.vlf_seq = u32_at(m, len, 0x5C), .vlf_size = u64_at(m, len, 0x60), .vlf_start = u64_at(m, len, 0x68),
		.parity = u8_at(m, len, 0x72),
	};

	bak_log_end(b);
	if (e.start == 0 || e.start == e.end)
		return true; /* a placeholder: no log follows */
	/* The file stands here twice, in all 193 extents at hand. */
	if (e.log_file_id != u16_at(m, len, 0x70))
		bak_report(b, BAK_CONTRADICTION, b->walk.block_at, "the log that follows is of file %u and of file %u", e.log_file_id, u16_at(m, len, 0x70));
	return bak_log_extent(b, &e);
}

static bool
read_msda(struct bak *b, const uint8_t *m, size_t len)
{
	(void)m, (void)len;
	if (b->walk.set->n_passes == 2)
		return bak_fail(b, BAK_END_DAMAGED, "a third pass over the data at %s", bak_place(b, b->walk.block_at).s);
	bak_checker_begin(b, &b->walk.set->pages[b->walk.set->n_passes++]);
	return true;
}

static bool
read_msci(struct bak *b, const uint8_t *m, size_t len)
{
	(void)m, (void)len;
	if (b->walk.set->type != BAK_TYPE_UNKNOWN)
		return bak_fail(b, BAK_END_DAMAGED, "a second catalogue head at %s", bak_place(b, b->walk.block_at).s);
	return true;
}

static bool
read_msls(struct bak *b, const uint8_t *m, size_t len)
{
	(void)m, (void)len;
	if (b->walk.set->final || b->walk.set->type == BAK_TYPE_UNKNOWN)
		return bak_fail(b, BAK_END_DAMAGED, "the end of a set at %s without its beginning", bak_place(b, b->walk.block_at).s);
	return true;
}

static bool
read_eset(struct bak *b, const uint8_t *m, size_t len)
{
	(void)m, (void)len;
	if (b->walk.phase != IN_END)
		return bak_fail(b, BAK_END_DAMAGED, "an end of set at %s without its set", bak_place(b, b->walk.block_at).s);
	if (++b->walk.ends_seen == 2)
		b->walk.phase = WANT_LAST_MARK;
	return true;
}

static const struct {
	const char *id;
	bool in_set;
	bool (*read)(struct bak *b, const uint8_t *m, size_t len);
} blocks[] = {
	{ "TAPE", false, read_tape }, { "SSET", false, read_sset }, { "ESET", false, read_eset }, { "VOLB", true, read_volb },
	{ "MSCI", true, read_msci },  { "MSDA", true, read_msda },  { "MSTL", true, read_mstl },  { "MSLS", true, read_msls },
};

/*
 * Within a set each block is numbered (SSET 0, VOLB 1, …) and knows its distance from the set's begin in
 * units of the logical block (1024 bytes in all that were seen). A piece that was cut out or put in shows here.
 */
static bool
is_in_its_place(struct bak *b, const uint8_t *m, size_t len)
{
	struct bak_walk *w = &b->walk;
	uint64_t unit = b->media.logical_block_size == 0 ? 1024 : b->media.logical_block_size;
	uint64_t address = u64_at(m, len, 20), want = (w->block_at - w->set->offset) / unit;
	uint32_t number = u32_at(m, len, 36);

	w->blocks_in_set++;
	if (address != want)
		return bak_fail(b, BAK_END_DAMAGED, "the %s block at %s belongs elsewhere: it says %" PRIu64 " blocks behind the begin of its set, "
		                "it is %" PRIu64, w->block, bak_place(b, w->block_at).s, address, want);
	if (number != w->blocks_in_set)
		return bak_fail(b, BAK_END_DAMAGED, "the %s block at %s is number %u of its set where number %u belongs", w->block,
		                bak_place(b, w->block_at).s, number, w->blocks_in_set);
	return true;
}

static bool
read_block(struct bak *b, const uint8_t *m, size_t len)
{
	struct bak_walk *w = &b->walk;

	w->stream_done = w->pass_done = 0;
	w->sums_due = false;
	w->chunks = 0;
	w->block_sum = 0;
	if (++w->idle_blocks > IDLE_BLOCKS_MAX)
		return bak_fail(b, BAK_END_DAMAGED, "an endless chain of empty blocks at %s", bak_place(b, w->block_at).s);
	if (w->phase == WANT_TAPE && !is(w->block, "TAPE"))
		return bak_fail(b, BAK_END_DAMAGED, "the file does not begin with a TAPE block");
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		if (!is(w->block, blocks[i].id))
			continue;
		if (blocks[i].in_set && w->phase != IN_SET)
			return bak_fail(b, BAK_END_DAMAGED, "a %s block at %s outside a backup set", w->block, bak_place(b, w->block_at).s);
		if (blocks[i].in_set && !is_in_its_place(b, m, len))
			return false;
		return blocks[i].read(b, m, len);
	}
	return bak_fail(b, BAK_END_DAMAGED, "an unknown block '%s' at %s", text_escaped(b, w->block), bak_place(b, w->block_at).s);
}

/* The mark between the parts of a file. The last one of a set is where a file may properly end. */
static bool
read_mark(struct bak *b)
{
	struct bak_walk *w = &b->walk;

	switch (w->phase) {
	case WANT_FIRST_MARK:
	case WANT_LAST_MARK:
		w->phase = WANT_SET;
		return true;
	case WANT_MARK:
		w->phase = IN_END;
		w->ends_seen = 0;
		return true;
	case WANT_TAPE: case WANT_SET: case IN_SET: case IN_END:
		break;
	}
	return bak_fail(b, BAK_END_DAMAGED, "a file mark at %s where none belongs", bak_place(b, w->block_at).s);
}

static bool
trails(struct bak *b)
{
	return bak_fail(b, BAK_END_TRAILING, "the backup ends properly at %s and other bytes follow", bak_place(b, b->walk.block_at).s);
}

static bool
on_block_head(struct bak *b)
{
	struct bak_walk *w = &b->walk;
	const uint8_t *m = w->buf;
	bool after_a_set = w->phase == WANT_SET && b->n_sets > 0;

	w->block_at = w->at - BLOCK_HEAD;
	memcpy(w->block, m, 4);
	w->first_event = u16_at(m, BLOCK_HEAD, 8);
	w->whole = false;
	if (after_a_set && !is(w->block, "SSET"))
		return trails(b);
	if (xor16(m, 25) != u16_at(m, BLOCK_HEAD, 50))
		return after_a_set ? trails(b) : bak_fail(b, BAK_END_DAMAGED, "the header of the block at %s is damaged: its checksum is "
			"0x%04X, its bytes give 0x%04X", bak_place(b, w->block_at).s, u16_at(m, BLOCK_HEAD, 50), xor16(m, 25));
	if (w->first_event < BLOCK_HEAD)
		return bak_fail(b, BAK_END_DAMAGED, "the block at %s has no size", bak_place(b, w->block_at).s);
	if (is(w->block, "SFMB")) {
		if (w->first_event < SECTOR || w->first_event % SECTOR != 0)
			return bak_fail(b, BAK_END_DAMAGED, "the file mark at %s has a wrong size", bak_place(b, w->block_at).s);
		if (!read_mark(b))
			return false;
		skip(b, w->first_event - BLOCK_HEAD, AT_BLOCK);
		return true;
	}
	/* The rest is put behind the header: offsets in a block count from its start. */
	make_room(b, w->first_event);
	w->state = IN_BLOCK;
	w->need = w->first_event;
	return true;
}

/* ---- streams --------------------------------------------------------------------------------------- */

static bool
read_raid(struct bak *b, const uint8_t *m, size_t len)
{
	struct bak_media *d = &b->media;

	d->media_set_id = bak_guid_at(m, len, 0);
	d->family_count = u16_at(m, len, 0x14);
	d->mirror_count = u16_at(m, len, 0x16);
	d->family_number = u16_at(m, len, 0x18);
	if (d->family_count == 0 || d->family_count > 64 || d->family_number == 0 || d->family_number > d->family_count)
		return bak_fail(b, BAK_END_DAMAGED, "the media header says file %u of %u", d->family_number, d->family_count);
	b->have_media = true;
	return true;
}

/*
 * An entry of the set map repeats what its set says: its size in the file, when it began, its name and who took
 * it. Counted in 70 plain and 4 compressed sets, without exception.
 */
static void
compare_map_set(struct bak *b, const struct bak_set *s, const uint8_t *m, size_t len, uint64_t at)
{
	const struct { const char *what; bool agrees; } checks[] = {
		{ "CompressedBackupSize", u64_at(m, len, 0x34) == s->compressed_size },
		{ "BackupStartDate", bak_date_compare(bak_date_at(m, len, 0x50), s->start) == 0 },
		{ "BackupName", strcmp(bak_text_at(b, m, len, 0x40, BAK_NAME_MAX, s->name), s->name) == 0 },
		{ "UserName", strcmp(bak_text_at(b, m, len, 0x4C, BAK_NAME_MAX, s->user), s->user) == 0 },
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		if (!checks[i].agrees)
			bak_report(b, BAK_CONTRADICTION, at, "%s in the set map is not what set %u says", checks[i].what, s->position);
}

static void
compare_map_volume(struct bak *b, const struct bak_set *s, const uint8_t *m, size_t len, uint64_t at)
{
	if (strcmp(bak_text_at(b, m, len, 0x30, BAK_NAME_MAX, s->machine), s->machine) != 0)
		bak_report(b, BAK_CONTRADICTION, at, "MachineName in the set map is not what set %u says", s->position);
}

/*
 * Lists every set so far: {u16 length, u16 media number, u32, u32 attributes, u64 place of its SSET, …},
 * each followed by entries of volumes {u16 length, "VOLB", …}. A file that was cut and glued does not agree.
 */
static bool
read_set_map(struct bak *b, const uint8_t *m, size_t len)
{
	uint64_t map = b->walk.at - len;
	size_t at = 8, found = 0;
	unsigned count = u16_at(m, len, 4);

	if (u32_at(m, len, 0) != b->media.media_family_id)
		return bak_fail(b, BAK_END_DAMAGED, "the set map at %s belongs to another media family", bak_place(b, map).s);
	if (count != b->n_sets)
		return bak_fail(b, BAK_END_DAMAGED, "the set map at %s lists %u sets, the file has %zu", bak_place(b, map).s,
		                count, b->n_sets);
	while (at + 6 <= len) {
		size_t n = u16_at(m, len, at);

		if (n < 6 || n > len - at)
			break;
		if (is((const char *)m + at + 2, "VOLB")) {
			if (found > 0)
				compare_map_volume(b, b->sets[found - 1], m + at, n, map + at);
		} else if (found < count) {
			const struct bak_set *s = b->sets[found++];

			if (u64_at(m + at, n, 0x0C) != s->file_offset || u32_at(m + at, n, 8) != s->sset_attributes)
				return bak_fail(b, BAK_END_DAMAGED, "the set map at %s has set %zu at byte %" PRIu64 ", where it is not",
				                bak_place(b, map).s, found, u64_at(m + at, n, 0x0C));
			compare_map_set(b, s, m + at, n, map + at);
		}
		at += n;
	}
	if (found < count || at != len)
		return bak_fail(b, BAK_END_DAMAGED, "the set map at %s announces %u sets and describes %zu in %zu of its %zu bytes", bak_place(b, map).s,
		                count, found, at, len);
	return true;
}

/*
 * BACKUP WITH CHECKSUM writes a sum behind the data it covers. Data of one block in several chunks was never
 * seen, so it is not known whether they share a running sum: there a sum is believed when it fits either
 * way, and not judged when it does not.
 */
static bool
read_sum(struct bak *b, const uint8_t *m, size_t len)
{
	struct bak_walk *w = &b->walk;
	uint32_t stored = u32_at(m, len, 0);
	struct bak_damage *d;

	if (!w->sums_due || len != 4)
		return true;
	w->sums_due = false;
	if (stored != w->stream_sum && stored != w->block_sum && w->chunks > 1)
		return true;
	w->set->csum_streams++;
	if (stored == w->stream_sum || (w->chunks > 1 && stored == w->block_sum))
		return true;
	w->set->csum_bad++;
	d = bak_report(b, BAK_BAD_SUM, w->at - len, "the backup checksum over the %s before it is 0x%08X, the bytes give 0x%08X",
	               is(w->block, "MSTL") ? "log" : "pages", stored, w->stream_sum);
	if (d != NULL) {
		d->expected = stored;
		d->found = w->stream_sum;
	}
	return true;
}

static const struct {
	const char *id;
	size_t max;
	bool (*read)(struct bak *b, const uint8_t *m, size_t len);
} small_streams[] = {
	{ "RAID", SMALL_MAX, read_raid }, { "CSUM", SMALL_MAX, read_sum }, { "TSMP", SETMAP_MAX, read_set_map },
};

/* Streams begin at multiples of four; SPAD ends the block exactly where it ends. */
static void
end_stream(struct bak *b)
{
	uint64_t pad = (4 - b->walk.at % 4) % 4;

	if (is(b->walk.stream, "SPAD"))
		next_block(b);
	else if (pad > 0)
		skip(b, pad, AT_STREAM);
	else
		next_stream(b);
}

static bool
read_small_stream(struct bak *b, const uint8_t *m, size_t len)
{
	for (size_t i = 0; i < sizeof(small_streams) / sizeof(small_streams[0]); i++)
		if (is(b->walk.stream, small_streams[i].id))
			return small_streams[i].read(b, m, len);
	return true;
}

static bool
begin_data(struct bak *b)
{
	struct bak_walk *w = &b->walk;
	bool pages = is(w->stream, "MQDA");

	if (w->set == NULL || w->phase != IN_SET || w->set->final || w->set->type == BAK_TYPE_UNKNOWN ||
	    !is(w->block, pages ? "MSDA" : "MSTL"))
		return bak_fail(b, BAK_END_DAMAGED, "data at %s outside a backup set", bak_place(b, w->at).s);
	w->sums_due = (w->stream_flags & SUM_FOLLOWS) != 0;
	if (++w->chunks == 2)
		w->block_sum = w->stream_sum;
	w->stream_done = 0;
	w->stream_sum = 0;
	if (!pages)
		bak_log_begin(b, w->stream_len - 2);
	collect(b, IN_FILLER, 2);
	return true;
}

static void
next_tag(struct bak *b)
{
	if (b->walk.catalog_left < TAG_HEAD) {
		skip(b, b->walk.catalog_left, AT_TAG);
		return;
	}
	b->walk.catalog_left -= TAG_HEAD;
	collect(b, AT_TAG, TAG_HEAD);
}

static bool
begin_catalog(struct bak *b)
{
	struct bak_walk *w = &b->walk;

	if (w->phase != IN_SET || (!is(w->block, "MSCI") && !is(w->block, "MSLS")))
		return bak_fail(b, BAK_END_DAMAGED, "a catalogue at %s outside a backup set", bak_place(b, w->at).s);
	if (!bak_catalog_begin(b))
		return false;
	w->catalog_left = w->stream_len;
	next_tag(b);
	return true;
}

/* Zeros fit their own sum: a header of nothing but zeros is none. Every stream that was seen has a name of capitals. */
static bool
is_stream_name(const char *name)
{
	for (int i = 0; i < 4; i++)
		if (!(name[i] >= 'A' && name[i] <= 'Z') && !(name[i] >= '0' && name[i] <= '9'))
			return false;
	return true;
}

static bool
on_stream_head(struct bak *b)
{
	struct bak_walk *w = &b->walk;
	const uint8_t *m = w->buf;
	uint64_t head_at = w->at - STREAM_HEAD;

	memcpy(w->stream, m, 4);
	w->stream_flags = u16_at(m, STREAM_HEAD, 6);
	w->stream_len = u64_at(m, STREAM_HEAD, 8);
	if (xor16(m, 10) != u16_at(m, STREAM_HEAD, 20))
		return bak_fail(b, BAK_END_DAMAGED, "the header of the stream at %s is damaged: its checksum is 0x%04X, its bytes give 0x%04X",
		                bak_place(b, head_at).s, u16_at(m, STREAM_HEAD, 20), xor16(m, 10));
	if (!is_stream_name(w->stream))
		return bak_fail(b, BAK_END_DAMAGED, "no stream begins at %s, inside the %s block", bak_place(b, head_at).s, w->block);
	if (w->stream_len > UINT64_MAX / 4)
		return bak_fail(b, BAK_END_DAMAGED, "the stream at %s claims an impossible length", bak_place(b, head_at).s);
	for (size_t i = 0; i < sizeof(small_streams) / sizeof(small_streams[0]); i++)
		if (is(w->stream, small_streams[i].id)) {
			if (w->stream_len > small_streams[i].max)
				return bak_fail(b, BAK_END_DAMAGED, "the %s stream at %s claims %" PRIu64 " bytes", w->stream,
				                bak_place(b, head_at).s, w->stream_len);
			collect(b, IN_STREAM, (size_t)w->stream_len);
			return true;
		}
	if (is(w->stream, "MQCI"))
		return begin_catalog(b);
	if ((is(w->stream, "MQDA") || is(w->stream, "MQTL")) && w->stream_len >= 2)
		return begin_data(b);
	skip(b, w->stream_len, AT_STREAM);
	return true;
}

/* ---- the catalogue, structure by structure ------------------------------------------------------------- */

static bool
on_tag_head(struct bak *b)
{
	struct bak_walk *w = &b->walk;
	uint64_t n = u32_at(w->buf, TAG_HEAD, 4);
	size_t keep;

	if (n < TAG_HEAD || n > w->catalog_left + TAG_HEAD)
		return bak_fail(b, BAK_END_DAMAGED, "the catalogue is damaged at %s: a structure of %" PRIu64 " bytes",
		                bak_place(b, w->at - TAG_HEAD).s, n);
	w->catalog_left -= n - TAG_HEAD;
	keep = n < TAG_MAX ? (size_t)n : TAG_MAX;
	w->tag_left = n - keep;
	make_room(b, keep);
	w->state = IN_TAG;
	w->need = keep;
	return true;
}

static bool
on_tag(struct bak *b)
{
	struct bak_walk *w = &b->walk;

	if (!bak_catalog_tag(b, w->buf, w->have))
		return false;
	skip(b, w->tag_left, IN_TAG); /* what is beyond any real structure */
	return true;
}

/* ---- the machine ------------------------------------------------------------------------------------ */

static void
take_pages(struct bak *b, const uint8_t *mem, size_t len, uint64_t at)
{
	struct bak_walk *w = &b->walk;
	struct bak_set *s = w->set;

	s->data_bytes += s->n_passes == 1 ? len : 0;
	bak_checker_extent(b, mem, len / PAGE_SIZE_BYTES, at);
	if (b->sink != NULL && b->sink->page_bytes != NULL)
		b->sink->page_bytes(b->sink->ctx, s, (unsigned)s->n_passes - 1, w->pass_done, mem, len);
}

/* One piece of at most 64 KB: an extent, or a run of log. at still points to its first byte. */
static void
take_piece(struct bak *b, const uint8_t *mem, size_t len)
{
	struct bak_walk *w = &b->walk;

	if (w->sums_due) {
		w->stream_sum = bak_sum(w->stream_sum, mem, len / SECTOR);
		if (w->chunks > 1)
			w->block_sum = bak_sum(w->block_sum, mem, len / SECTOR);
	}
	w->idle_blocks = 0;
	if (is(w->stream, "MQDA"))
		take_pages(b, mem, len, w->at);
	else
		bak_log_bytes(b, mem, len, w->at);
	w->stream_done += len;
	w->pass_done += len;
}

static void
next_piece(struct bak *b)
{
	if (b->walk.left == 0)
		end_stream(b);
	else
		collect(b, IN_DATA, b->walk.left < EXTENT_SIZE ? (size_t)b->walk.left : EXTENT_SIZE);
}

/* Everything that was asked for is in the buffer. */
static bool
on_collected(struct bak *b)
{
	struct bak_walk *w = &b->walk;

	switch (w->state) {
	case AT_BLOCK:
		return on_block_head(b);
	case IN_BLOCK:
		if (!read_block(b, w->buf, w->have) || b->stopped)
			return false;
		next_stream(b);
		return true;
	case AT_STREAM:
		return on_stream_head(b);
	case IN_STREAM:
		if (!read_small_stream(b, w->buf, w->have))
			return false;
		end_stream(b);
		return true;
	case AT_TAG:
		return on_tag_head(b);
	case IN_TAG:
		return on_tag(b);
	case IN_FILLER:
		w->left = w->stream_len - 2;
		next_piece(b);
		return true;
	case IN_DATA:
		w->at -= w->have;
		take_piece(b, w->buf, w->have);
		w->at += w->have;
		w->left -= w->have;
		next_piece(b);
		return true;
	case SKIPPING:
		break;
	}
	return true;
}

static bool
on_skipped(struct bak *b)
{
	struct bak_walk *w = &b->walk;

	switch (w->after_skip) {
	case AT_STREAM:
		end_stream(b);
		return true;
	case AT_TAG:
		if (!bak_catalog_end(b))
			return false;
		end_stream(b);
		return true;
	case IN_TAG:
		next_tag(b);
		return true;
	case AT_BLOCK: case IN_BLOCK: case IN_STREAM: case IN_FILLER: case IN_DATA: case SKIPPING:
		break;
	}
	next_block(b);
	return true;
}

/* Every piece that is complete in the caller's memory is checked there, without a copy. */
static size_t
take_in_place(struct bak *b, const uint8_t *p, size_t len)
{
	struct bak_walk *w = &b->walk;
	size_t done = 0;

	while (w->state == IN_DATA && w->have == 0 && len - done >= w->need) {
		size_t n = w->need;

		take_piece(b, p + done, n);
		done += n;
		w->at += n;
		w->left -= n;
		next_piece(b);
	}
	return done;
}

static size_t
take_some(struct bak *b, const uint8_t *p, size_t len)
{
	struct bak_walk *w = &b->walk;
	size_t n;

	if (w->state == SKIPPING) {
		n = w->left < len ? (size_t)w->left : len;
		w->left -= n;
		w->at += n;
		return n;
	}
	if ((n = take_in_place(b, p, len)) > 0)
		return n;
	n = w->need - w->have < len ? w->need - w->have : len;
	memcpy(w->buf + w->have, p, n);
	w->have += n;
	w->at += n;
	return n;
}

/* Goes on as far as what has come allows; the place is a proper end when nothing of a next set has come. */
static void
settle(struct bak *b)
{
	struct bak_walk *w = &b->walk;

	while (!b->stopped) {
		if (w->state == SKIPPING ? w->left > 0 : w->have < w->need)
			break;
		if (!(w->state == SKIPPING ? on_skipped(b) : on_collected(b)))
			break;
	}
	w->whole = !b->stopped && bak_walk_is_between(b) && w->phase == WANT_SET && b->n_sets > 0;
}

void
bak_walk_feed(struct bak *b, const uint8_t *mem, size_t len)
{
	while (len > 0 && !b->stopped) {
		size_t n = take_some(b, mem, len);

		mem += n;
		len -= n;
		settle(b);
	}
}
