#include "common/bak_parts.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/text.h"

/* ---- what the parts share ------------------------------------------------------------------------------ */

bool
bak_fail(struct bak *b, enum bak_end end, const char *fmt, ...)
{
	va_list ap;

	if (b->stopped)
		return false;
	va_start(ap, fmt);
	b->why = talloc_vasprintf(b, fmt, ap);
	va_end(ap);
	b->end = end;
	b->stopped = true;
	b->walk.whole = false;
	return false;
}

bool
bak_keep(struct bak *b, size_t bytes)
{
	enum { OF_AN_ALLOCATION = 112 };

	b->kept += bytes + OF_AN_ALLOCATION;
	if (b->kept <= KEPT_MAX)
		return true;
	return bak_fail(b, BAK_END_DAMAGED, "the file describes more sets, files and names than any backup that was seen: reading stops at %s",
	                bak_place(b, b->walk.at).s);
}

struct bak_place
bak_place(const struct bak *b, uint64_t offset)
{
	struct bak_place p;

	if (b->front == NULL)
		snprintf(p.s, sizeof(p.s), "byte %" PRIu64, offset);
	else
		snprintf(p.s, sizeof(p.s), "byte %" PRIu64 " of the unpacked backup (record at byte %" PRIu64 " of the file)", offset,
		         bak_front_record(b->front));
	return p;
}

struct bak_damage *
bak_report(struct bak *b, enum bak_damage_kind kind, uint64_t offset, const char *fmt, ...)
{
	struct bak_damage *d;
	va_list ap;
	int n;

	b->all_damage++;
	if (b->n_damage == BAK_DAMAGE_MAX)
		return NULL;
	if (b->damage == NULL)
		b->damage = talloc_array(b, struct bak_damage, BAK_DAMAGE_MAX);
	d = &b->damage[b->n_damage++];
	*d = (struct bak_damage){
		.kind = kind, .offset = offset, .file_offset = b->front == NULL ? offset : bak_front_record(b->front),
		.position = b->walk.set == NULL ? 0 : b->walk.set->position,
		.pass = b->walk.set == NULL || b->walk.set->n_passes == 0 ? 0 : (uint8_t)(b->walk.set->n_passes - 1),
	};
	n = snprintf(d->text, sizeof(d->text), "%s: ", bak_place(b, offset).s);
	va_start(ap, fmt);
	vsnprintf(d->text + n, sizeof(d->text) - (size_t)n, fmt, ap);
	va_end(ap);
	return d;
}

/* ---- the bytes ------------------------------------------------------------------------------------------- */

struct bak *
bak_new(TALLOC_CTX *parent, const struct bak_sink *sink)
{
	struct bak *b = talloc_zero(parent, struct bak);

	b->sink = sink;
	b->media.name = b->media.description = b->media.software = "";
	return b;
}

static bool
starts(const struct bak *b, const char *magic, size_t len)
{
	size_t n = b->n_sniffed < len ? b->n_sniffed : len;

	return memcmp(b->sniffed, magic, n) == 0;
}

static void
begin_walk(struct bak *b, enum bak_container container)
{
	b->container = container;
	if (container == BAK_MSSQLBAK)
		b->front = bak_front_new(b);
	bak_walk_begin(b);
}

static void
name_other(struct bak *b, bool at_end)
{
	b->other = bak_recognise(b->sniffed, b->n_sniffed, at_end);
	if (b->other == NULL)
		return;
	b->container = BAK_OTHER;
	bak_fail(b, BAK_END_OTHER, "%s", b->other);
}

static void
pass_on(struct bak *b, const uint8_t *mem, size_t len)
{
	if (b->container == BAK_MSSQLBAK)
		bak_front_feed(b, mem, len);
	else
		bak_walk_feed(b, mem, len);
}

/* The first bytes: a backup goes on, anything else is collected until it can be named. Returns what it took. */
static size_t
sniff(struct bak *b, const uint8_t *mem, size_t len)
{
	size_t n = 0;

	while (n < len && b->container == BAK_UNDECIDED) {
		bool tape, packed;

		b->sniffed[b->n_sniffed++] = mem[n++];
		tape = starts(b, "TAPE", 4);
		packed = starts(b, "MSSQLBAK", 8);
		if (tape && b->n_sniffed == 4)
			begin_walk(b, BAK_MTF);
		else if (packed && b->n_sniffed == 8)
			begin_walk(b, BAK_MSSQLBAK);
		else if (!tape && !packed && (b->n_sniffed == SNIFF || b->n_sniffed % SECTOR == 0))
			name_other(b, false);
	}
	if (b->container == BAK_MTF || b->container == BAK_MSSQLBAK)
		pass_on(b, b->sniffed, b->n_sniffed);
	return n;
}

bool
bak_feed(struct bak *b, const void *mem, size_t len, struct err *err)
{
	const uint8_t *p = mem;

	b->fed += len;
	if (b->container == BAK_UNDECIDED) {
		size_t n = sniff(b, p, len);

		p += n;
		len -= n;
	}
	if (len > 0 && !b->stopped)
		pass_on(b, p, len);
	if (b->stopped)
		return err_set(err, ERR_BROKEN, 0, "%s", b->why);
	return true;
}

/* ---- the end ----------------------------------------------------------------------------------------------- */

/* The file may end here: a set has ended and nothing of a next one has come. */
bool
bak_ends_properly(const struct bak *b)
{
	return b->walk.whole && (b->front == NULL || bak_front_is_between(b->front));
}

/* What has come behind a set may be the begin of a next one. */
static bool
starts_a_set(const struct bak *b)
{
	size_t n = b->walk.have < 4 ? b->walk.have : 4;

	if (b->walk.state != AT_BLOCK)
		return true; /* the closing mark itself is cut off */
	if (b->front != NULL && !bak_front_is_between(b->front))
		return bak_front_is_packed(b->front);
	return memcmp(b->walk.buf, "SSET", n) == 0;
}

static void
decide_end(struct bak *b)
{
	if (b->container == BAK_UNDECIDED && !(b->n_sniffed > 0 && (starts(b, "TAPE", 4) || starts(b, "MSSQLBAK", 8)))) {
		name_other(b, true);
		return;
	}
	if (b->container == BAK_UNDECIDED)
		b->container = b->sniffed[0] == 'T' ? BAK_MTF : BAK_MSSQLBAK;
	b->stopped = true;
	if (bak_ends_properly(b)) {
		b->end = bak_has_damage(b) ? BAK_END_DAMAGED : BAK_END_WHOLE;
	} else if (b->walk.phase == WANT_SET && b->n_sets > 0 && !starts_a_set(b)) {
		uint64_t begun = b->front != NULL ? bak_front_record(b->front) : b->fed - b->walk.have;

		b->why = talloc_asprintf(b, "the backup ends properly at byte %" PRIu64 " and other bytes follow", begun);
		b->end = BAK_END_TRAILING;
	} else {
		b->end = BAK_END_TRUNCATED;
	}
	if (b->why == NULL && b->end != BAK_END_WHOLE)
		b->why = talloc_strdup(b, b->end == BAK_END_DAMAGED ? bak_words_damaged(b) : bak_words_missing(b));
}

enum bak_end
bak_finish(struct bak *b)
{
	if (b->end == BAK_END_OPEN)
		decide_end(b);
	/* What is known stays; who inspects thousands of files need not keep the working memory of each. */
	TALLOC_FREE(b->walk.buf);
	if (b->front != NULL)
		bak_front_end(b->front);
	return b->end;
}

enum bak_container bak_container(const struct bak *b) { return b->container; }
enum bak_end bak_end(const struct bak *b) { return b->end; }
uint64_t bak_bytes(const struct bak *b) { return b->fed; }
size_t bak_n_sets(const struct bak *b) { return b->n_sets; }
const struct bak_set *bak_set(const struct bak *b, size_t i) { return b->sets[i]; }
const char *bak_other_what(const struct bak *b) { return b->other; }
const struct bak_media *bak_media(const struct bak *b) { return b->have_media ? &b->media : NULL; }

const struct bak_records *
bak_records(const struct bak *b)
{
	return b->front == NULL ? NULL : bak_front_records(b->front);
}

bool
bak_is_whole(const struct bak *b)
{
	return b->end == BAK_END_WHOLE || (b->end == BAK_END_OPEN && bak_ends_properly(b) && !bak_has_damage(b));
}

const char *
bak_why(const struct bak *b)
{
	if (b->why != NULL || bak_is_whole(b))
		return b->why;
	return bak_ends_properly(b) ? bak_words_damaged(b) : bak_words_missing(b);
}

const struct bak_damage *
bak_damage(const struct bak *b, size_t *n, uint64_t *all)
{
	*n = b->n_damage;
	*all = b->all_damage;
	return b->damage;
}

const struct bak_damage *
bak_first_damage(const struct bak *b, enum bak_damage_kind kind, unsigned position)
{
	for (size_t i = 0; i < b->n_damage; i++)
		if (b->damage[i].kind == kind && b->damage[i].position == position)
			return &b->damage[i];
	return NULL;
}
