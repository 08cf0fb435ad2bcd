#include "tests/standin/engine_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/standin/mssqlbak_write.h"
#include "tests/standin/mtf_write.h"

/*
 * BACKUP. The image of a database is its SQLite file at one instant; it travels as the payload of pages
 * with true headers, ids and checksums. A log backup is the log records since the last one, each in log
 * blocks of its own with SQL Server's block header and parity bytes.
 */

enum { CURCMD_BACKUP_DATABASE = 228, CURCMD_BACKUP_LOG = 235 };

static uint64_t
page_of_chunk(uint64_t chunk)
{
	uint64_t page = FIRST_PAYLOAD_PAGE + chunk;

	/* Every 8088th page is a free space map; each one before us moves us on by one. */
	for (;;) {
		uint64_t maps = page / PFS_INTERVAL, moved = FIRST_PAYLOAD_PAGE + chunk + maps;

		if (moved == page)
			return page;
		page = moved;
	}
}

/* ---- pages -------------------------------------------------------------------------------------------- */

static uint32_t
page_checksum(const uint8_t *page)
{
	uint32_t sum = 0;

	for (int s = 0; s < PAGE / SECTOR; s++) {
		uint32_t x = 0, w;

		for (int i = 0; i < SECTOR; i += 4) {
			memcpy(&w, page + s * SECTOR + i, 4);
			if (s == 0 && i == 0x3C)
				w = 0;
			x ^= w;
		}
		sum = (sum << 1 | sum >> 31) ^ x;
	}
	return sum;
}

static void
seal(uint8_t *page, uint32_t id, uint8_t type)
{
	uint32_t sum;

	page[0] = 1;
	page[1] = type;
	page[4] = 0x00;
	page[5] = 0x02; /* has a checksum */
	memcpy(page + 0x20, &id, 4);
	page[0x24] = 1;
	page[0x25] = 0;
	memset(page + 0x3C, 0, 4);
	sum = page_checksum(page);
	memcpy(page + 0x3C, &sum, 4);
}

struct image {
	int fd;
	uint64_t size, chunks, pages; /* pages: of the database file, whole extents */
	const struct mtf_set *set;
};

static void
fill_boot(uint8_t *p, const struct mtf_set *s)
{
	uint16_t version = s->database_version;

	memcpy(p + 0x64, &version, 2);
	memcpy(p + 0x66, &version, 2);
	memcpy(p + 0x84, &s->status, 4);
	memcpy(p + 0x198, &s->database_id, 2);
	p[0x19A] = s->compat;
	lsn_to_bytes(s->checkpoint, p + 0x1BC);
	lsn_to_bytes(s->database_backup, p + 0x1B0);
	memcpy(p + 0x1F8, s->family.b, 16);
	memcpy(p + 0x228, s->fork.b, 16);
	lsn_to_bytes(s->fork1_lsn, p + 0x238);
	memcpy(p + 0x244, s->fork1.b, 16);
	memcpy(p + 0x254, s->base_full.b, 16);
	lsn_to_bytes(s->chain_origin, p + 0x2E0);
	for (int i = 0; i < 128; i++) {
		p[0x94 + 2 * i] = (uint8_t)(s->database[0] != '\0' && (size_t)i < strlen(s->database) ? s->database[i] : 0x20);
		p[0x95 + 2 * i] = (size_t)i < strlen(s->database) ? 0 : 0x20;
	}
}

static bool
make_page(const struct image *im, uint64_t id, uint8_t page[static PAGE])
{
	uint64_t chunk;

	memset(page, 0, PAGE);
	if (id == 1 || (id > 0 && id % PFS_INTERVAL == 0)) {
		uint64_t first = id == 1 ? 0 : id;

		for (uint64_t k = 0; k < PFS_INTERVAL; k++)
			if (first + k < im->pages)
				page[100 + k] = 0x40;
		seal(page, (uint32_t)id, 11);
		return true;
	}
	if (id < FIRST_PAYLOAD_PAGE) {
		if (id == 0) {
			memcpy(page + 4096, IMAGE_MAGIC, 8);
			memcpy(page + 4104, &im->size, 8);
			memcpy(page + 4112, &im->pages, 8);
			memcpy(page + 4120, im->set->backup_set.b, 16);
		}
		if (id == 9)
			fill_boot(page, im->set);
		seal(page, (uint32_t)id, id == 0 ? 15 : id == 9 ? 13 : 1);
		return true;
	}
	chunk = id - FIRST_PAYLOAD_PAGE - id / PFS_INTERVAL;
	if (chunk < im->chunks) {
		ssize_t n = pread(im->fd, page + PAGE_HEAD, PAYLOAD, (off_t)(chunk * PAYLOAD));

		if (n < 0)
			return false;
	}
	seal(page, (uint32_t)id, 1);
	return true;
}

static bool
open_image(struct image *im, const char *path, const struct mtf_set *set)
{
	struct stat st;

	im->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (im->fd < 0 || fstat(im->fd, &st) != 0)
		return false;
	im->set = set;
	im->size = (uint64_t)st.st_size;
	im->chunks = (im->size + PAYLOAD - 1) / PAYLOAD;
	im->pages = (page_of_chunk(im->chunks) + 8) / 8 * 8;
	return true;
}

/* A page's sum stands for its content in the list that a later differential compares with. */
struct sums {
	uint32_t *old, *new;
	uint64_t n_old;
};

/*
 * The list names the full that it is of, and a new one waits beside it until the server's own facts name the new
 * full: killed in between, the next differential finds the list of the base that it will claim.
 */
static FILE *
open_sums(const char *path, struct guid full)
{
	FILE *f = fopen(path, "re");
	struct guid of;

	if (f != NULL && fread(of.b, sizeof(of.b), 1, f) == 1 && guid_equal(of, full))
		return f;
	if (f != NULL)
		fclose(f);
	return NULL;
}

static const char *
waiting_sums(TALLOC_CTX *mem, const char *path)
{
	return talloc_asprintf(mem, "%s.new", path);
}

static bool
read_sums(TALLOC_CTX *mem, const char *path, struct guid full, struct sums *s)
{
	FILE *f = open_sums(path, full);
	struct stat st;

	if (f == NULL)
		f = open_sums(waiting_sums(mem, path), full);
	if (f == NULL)
		return false;
	s->n_old = fstat(fileno(f), &st) == 0 ? ((uint64_t)st.st_size - sizeof(full.b)) / 4 : 0;
	s->old = talloc_array(mem, uint32_t, s->n_old + 1);
	s->n_old = fread(s->old, 4, s->n_old, f);
	fclose(f);
	return true;
}

/* The list that waits becomes the one in force if it is that full's. */
static void
settle_sums(TALLOC_CTX *mem, const char *path, struct guid full)
{
	FILE *f = open_sums(waiting_sums(mem, path), full);

	if (f == NULL)
		return;
	fclose(f);
	rename(waiting_sums(mem, path), path);
}

static bool
write_sums(const char *path, struct guid full, const uint32_t *sums, uint64_t n)
{
	FILE *f = fopen(path, "we");
	bool good = f != NULL && fwrite(full.b, sizeof(full.b), 1, f) == 1 && fwrite(sums, 4, n, f) == n && fflush(f) == 0 && fsync(fileno(f)) == 0;

	if (f != NULL)
		fclose(f);
	return good;
}

/* The first extent always goes along: it carries boot page and image size. */
static bool
extent_changed(const struct image *im, const struct sums *s, uint64_t extent)
{
	uint8_t page[PAGE];
	uint32_t sum;

	if (extent == 0)
		return true;
	for (uint64_t id = extent * 8; id < extent * 8 + 8; id++) {
		if (id >= s->n_old || !make_page(im, id, page))
			return true;
		memcpy(&sum, page + 0x3C, 4);
		if (sum != s->old[id])
			return true;
	}
	return false;
}

/* The stripes of one backup: extents go round, the log stands in the first. */
struct tapes {
	struct mtf *m[64];
	char *plain[64]; /* of a compressed one: what is packed at the end */
	size_t n;
};

struct taking {
	struct engine *e;
	const struct engine_backup *b;
	const struct engine_out *out;
	struct running *run;
	int told;
	int64_t since_ms;
	bool struck;
};

/* After every extent; false when the backup must break off. */
static bool
backup_progress(struct taking *t, uint64_t done, uint64_t all)
{
	long number = knob(t->e, KNOB_FAIL_BACKUP), kb_s = knob(t->e, KNOB_BACKUP_KB_S), free_kb = knob(t->e, KNOB_FREE_KB);
	int now = all == 0 ? 100 : (int)(done * 100 / all);

	while (kb_s > 0 && steady_ms() < t->since_ms + (int64_t)(done * 64 * 1000) / kb_s && !is_cancelled(t->out, t->run))
		usleep(5000);
	t->struck = true;
	if (number > 0 && now >= knob(t->e, KNOB_FAIL_AT)) {
		say_ordered(t->out, number, t->b->database, t->b->devices[0], now);
		return false;
	}
	if (free_kb >= 0 && done * 64 > (uint64_t)free_kb) {
		say_ordered(t->out, 3202, t->b->database, t->b->devices[0], now);
		return false;
	}
	t->struck = false;
	t->run->percent = now;
	if (t->b->stats > 0 && now >= t->told + t->b->stats) {
		t->told = now / t->b->stats * t->b->stats;
		tell(t->out, t->b->log ? CURCMD_BACKUP_LOG : CURCMD_BACKUP_DATABASE, 3211, "%d percent processed.", now);
	}
	return !is_cancelled(t->out, t->run);
}

static bool
write_extent(struct mtf *m, const struct image *im, uint64_t extent, struct sums *s)
{
	uint8_t page[PAGE];

	for (uint64_t id = extent * 8; id < extent * 8 + 8; id++) {
		if (!make_page(im, id, page) || !mtf_page(m, page))
			return false;
		if (s->new != NULL)
			memcpy(&s->new[id], page + 0x3C, 4);
	}
	return true;
}

static bool
write_pages(struct tapes *tapes, const struct image *im, const bool *wanted, uint64_t n_wanted, struct sums *s, struct taking *t)
{
	uint64_t done = 0;
	bool good = true;

	for (size_t i = 0; i < tapes->n && good; i++)
		good = mtf_pages_begin(tapes->m[i], (n_wanted / tapes->n + (i < n_wanted % tapes->n)) * 8);
	for (uint64_t x = 0; x < im->pages / 8 && good; x++) {
		if (wanted != NULL && !wanted[x])
			continue;
		good = write_extent(tapes->m[done % tapes->n], im, x, s) && backup_progress(t, done + 1, n_wanted);
		done++;
	}
	for (size_t i = 0; i < tapes->n && good; i++)
		good = mtf_pages_end(tapes->m[i]);
	return good;
}

/* ---- log ------------------------------------------------------------------------------------------------- */

/*
 * A record as log blocks: 64 bytes of head in the first sector, of which the first 24 are as SQL Server has
 * them, then the payload; the first byte of every sector is parity | 0x10 in the first | 0x08 in the last.
 */
struct block_head {
	uint32_t total, offset, piece;
	uint8_t kind;
	int64_t at;
};

static bool
write_block(struct mtf *m, uint64_t block, unsigned *previous, const struct block_head *h, const uint8_t *payload)
{
	static __thread uint8_t mem[LOG_BLOCK_MAX + SECTOR];
	size_t sectors, at = LOG_HEAD;
	uint16_t v16;
	uint32_t v32;

	memset(mem, 0, sizeof(mem));
	for (uint32_t i = 0; i < h->piece; i++) {
		if (at % SECTOR == 0)
			at++;
		mem[at++] = payload[i];
	}
	sectors = (at + SECTOR - 1) / SECTOR;
	v16 = 1;
	memcpy(mem + 2, &v16, 2);
	memcpy(mem + 20, &v16, 2);
	v16 = (uint16_t)at;
	memcpy(mem + 4, &v16, 2);
	v16 = (uint16_t)(sectors * SECTOR);
	memcpy(mem + 6, &v16, 2);
	v16 = (uint16_t)*previous;
	memcpy(mem + 10, &v16, 2);
	v32 = VLF_SEQ;
	memcpy(mem + 12, &v32, 4);
	v32 = (uint32_t)block;
	memcpy(mem + 16, &v32, 4);
	memcpy(mem + 24, &h->total, 4);
	memcpy(mem + 28, &h->offset, 4);
	memcpy(mem + 32, &h->piece, 4);
	mem[36] = h->kind;
	memcpy(mem + 40, &h->at, 8);
	for (size_t s = 0; s < sectors; s++)
		mem[s * SECTOR] = (uint8_t)(0x40 | (s == 0 ? 0x10 : 0) | (s + 1 == sectors ? 0x08 : 0));
	*previous = (unsigned)(sectors * SECTOR);
	return mtf_log(m, mem, sectors * SECTOR);
}

static bool
write_record(struct mtf *m, uint64_t *block, unsigned *previous, int kind, int64_t at, const uint8_t *data, size_t len)
{
	enum { PER_BLOCK = LOG_BLOCK_MAX - LOG_HEAD - LOG_BLOCK_MAX / SECTOR };
	size_t done = 0;

	do {
		size_t piece = len - done < PER_BLOCK ? len - done : PER_BLOCK;
		struct block_head h = { (uint32_t)len, (uint32_t)done, (uint32_t)piece, (uint8_t)kind, at };

		if (!write_block(m, *block, previous, &h, data + done))
			return false;
		*block += *previous / SECTOR;
		done += piece;
	} while (done < len);
	return true;
}

/* Records from first up to last, out of the database's own file. */
static bool
write_log(struct tapes *tapes, sqlite3 *db, struct lsn first, struct lsn last)
{
	struct mtf *m = tapes->m[0];
	sqlite3_stmt *st = NULL;
	uint64_t block = first.block;
	unsigned previous = 0;
	bool good;

	if (lsn_compare(first, last) >= 0)
		return true;
	for (size_t i = 1; i < tapes->n; i++)
		mtf_log_elsewhere(tapes->m[i], VLF_SEQ, VLF_START, VLF_SIZE, VLF_START + (uint64_t)first.block * SECTOR,
		                  VLF_START + (uint64_t)last.block * SECTOR);
	good = mtf_log_begin(m, VLF_SEQ, VLF_START, VLF_SIZE, VLF_START + (uint64_t)first.block * SECTOR,
	                     VLF_START + (uint64_t)last.block * SECTOR) &&
	       sqlite3_prepare_v2(db, "SELECT block, kind, at, data FROM dbo._standin_log WHERE block >= ? AND block < ? ORDER BY block", -1,
	                          &st, NULL) == SQLITE_OK;
	if (good) {
		sqlite3_bind_int64(st, 1, first.block);
		sqlite3_bind_int64(st, 2, last.block);
	}
	while (good && sqlite3_step(st) == SQLITE_ROW)
		good = sqlite3_column_int64(st, 0) == (int64_t)block &&
		       write_record(m, &block, &previous, sqlite3_column_int(st, 1), sqlite3_column_int64(st, 2), sqlite3_column_blob(st, 3),
		                    (size_t)sqlite3_column_bytes(st, 3));
	sqlite3_finalize(st);
	return good && block == last.block && mtf_log_end(m);
}

/* ---- the statement ----------------------------------------------------------------------------------------- */

static bool
fail_3013(const struct engine_out *out, const char *what)
{
	say(out, 3013, 1, 16, "BACKUP %s is terminating abnormally.", what);
	return false;
}

static void
describe(struct engine *e, TALLOC_CTX *mem, struct mtf_set *s, const struct db_row *r, const struct engine_backup *b,
         const struct engine_out *out)
{
	char *instance;

	*s = (struct mtf_set){
		.type = b->log ? 'L' : b->differential ? 'I' : 'D', .copy_only = b->copy_only, .checksum = b->checksum,
		.flags = b->log && b->norecovery ? 0x140u : 0,
		.status = 0x10000u | (strcasecmp(r->model, "SIMPLE") == 0 ? 8u : strcasecmp(r->model, "FULL") == 0 ? 0 : 4u),
		.database = r->name, .server = e->server_name, .user = out->login == NULL ? "" : out->login,
		.name = b->name == NULL ? "" : b->name, .backup_set = guid_new(), .binding = r->binding, .fork = r->fork,
		.fork1 = r->fork1, .fork1_lsn = r->fork1_lsn, .family = r->family, .base_full = r->last_full_guid,
		.database_backup = r->last_full_lsn, .chain_origin = r->chain_origin, .created = (time_t)r->created,
		.start = (time_t)(engine_now_ms(e) / 1000), .database_id = (uint16_t)(r->id + 4),
		.database_version = (uint16_t)e->release->database_version, .compat = (uint8_t)r->compat,
		.software_major = (uint8_t)e->release->major, .software_build = (uint16_t)e->release->build,
		.time_zone = (int8_t)(knob(e, KNOB_TIME_ZONE_MIN) / 15),
	};
	instance = talloc_strdup(mem, e->server_name);
	if (strchr(instance, '\\') != NULL)
		*strchr(instance, '\\') = '\0';
	s->machine = instance;
	if (b->differential) {
		s->differential_base = r->base_guid;
		s->differential_base_lsn = r->base_lsn;
	}
	s->files = talloc_zero_array(mem, struct mtf_file, 2);
	s->n_files = 2;
	s->files[0] = (struct mtf_file){ 1, 1, 0, 'D', r->name, talloc_asprintf(mem, "D:\\Data\\%s.mdf", r->name), 8 << 20,
		UINT64_C(35184372080640), 64 << 20, r->family };
	s->files[1] = (struct mtf_file){ 2, 0, 0, 'L', talloc_asprintf(mem, "%s_log", r->name),
		talloc_asprintf(mem, "D:\\Data\\%s_log.ldf", r->name), 8 << 20, UINT64_C(2199023255552), 64 << 20, r->binding };
}

/*
 * A mark in the log, on disk; from then on writers wait until this connection's transaction ends. *last is the log's
 * end: something may have been written between the two transactions.
 */
static bool
mark_and_hold(struct engine *e, sqlite3 *db, struct lsn *mark, struct lsn *last)
{
	return run_sql(db, "BEGIN IMMEDIATE") && log_append(db, engine_now_ms(e), RECORD_MARK, NULL, 0, mark, last) && run_sql(db, "COMMIT") &&
	       run_sql(db, "BEGIN IMMEDIATE") && log_next(db, last);
}

/* A copy of the file at one instant. Returns the log's end in *last. */
static bool
take_image(struct engine *e, sqlite3 *db, const char *from, const char *to, struct lsn *checkpoint, struct lsn *last)
{
	int in = -1, out = -1;
	bool good = mark_and_hold(e, db, checkpoint, last);
	ssize_t n = 1;

	if (good) {
		in = open(from, O_RDONLY | O_CLOEXEC);
		out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		while (in >= 0 && out >= 0 && n > 0)
			n = copy_file_range(in, NULL, out, NULL, 1 << 30, 0);
		good = in >= 0 && out >= 0 && n == 0;
	}
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	if (sqlite3_get_autocommit(db) == 0)
		run_sql(db, "ROLLBACK");
	return good;
}

static bool
finish_data(struct engine *e, const struct engine_backup *b, struct mtf_set *s, const char *name, const char *sums_path, struct sums *sums,
            uint64_t pages)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct db_row *r;
	bool good = true;

	pthread_mutex_lock(&e->lock);
	r = db_load(e, mem, name);
	good = r != NULL;
	if (good && s->type == 'D' && !b->copy_only) {
		settle_sums(mem, sums_path, r->base_guid);
		r->base_guid = r->last_full_guid = s->backup_set;
		r->base_lsn = s->first;
		r->last_full_lsn = s->checkpoint;
		good = write_sums(waiting_sums(mem, sums_path), r->base_guid, sums->new, pages);
	}
	/* The first full begins the log chain; a copy-only one begins nothing. */
	if (good && s->type == 'D' && !b->copy_only && lsn_is_null(r->next_log) && strcasecmp(r->model, "SIMPLE") != 0)
		r->chain_origin = r->next_log = s->checkpoint;
	good = good && db_save(e, r);
	if (good)
		settle_sums(mem, sums_path, r->base_guid);
	pthread_mutex_unlock(&e->lock);
	talloc_free(mem);
	return good;
}

/* ---- devices --------------------------------------------------------------------------------------------- */

/* Windows' words for what happened to a file. */
static const char *
write_error(const struct err *err)
{
	return err->code == ENOENT || err->code == ENOTDIR ? "3(The system cannot find the path specified.)"
	     : err->code == EACCES || err->code == EPERM || err->code == EISDIR ? "5(Access is denied.)"
	     : err->code == ENOSPC ? "112(There is not enough space on the disk.)" : "1117(The request could not be performed because of an I/O "
	       "device error.)";
}

/* INIT and FORMAT write the files anew; else the set goes behind those that are there, on the same stripes. */
static bool
find_places(const struct engine_backup *b, struct mtf_place *places, const struct engine_out *out)
{
	struct guid fresh = guid_new();
	struct err err = { 0 };

	for (size_t i = 0; i < b->n_devices; i++) {
		struct mtf_place *p = &places[i];

		*p = (struct mtf_place){ 0 };
		if (!b->init && !b->format && !mtf_look(b->devices[i], p, &err)) {
			if (err.code == 3241)
				say_ordered(out, 3241, NULL, b->devices[i], 0);
			else
				say(out, 3201, 1, 16, "Cannot open backup device '%s'. Operating system error %s.", b->devices[i], write_error(&err));
			return false;
		}
		if (p->families == 0)
			*p = (struct mtf_place){ fresh, (unsigned)b->n_devices, (unsigned)i + 1, false };
		if (p->families != b->n_devices) {
			say(out, 3132, 1, 16, "The media set has %u media families but only %zu are provided. All members must be provided.", p->families,
			    b->n_devices);
			return false;
		}
		if (!guid_equal(p->media_set, places[0].media_set)) {
			say(out, 3258, 1, 16, "The volume on device '%s' is not part of the media set that is currently being processed. Ensure that the "
			    "backup devices are loaded with the correct media.", b->devices[i]);
			return false;
		}
	}
	return true;
}

static bool
open_tapes(TALLOC_CTX *mem, struct tapes *t, const struct engine_backup *b, const struct mtf_set *head, const struct engine_out *out)
{
	struct mtf_place places[64];
	struct err err = { 0 };

	if (!find_places(b, places, out))
		return false;
	for (t->n = 0; t->n < b->n_devices; t->n++) {
		const char *path = b->devices[t->n];

		if (b->compression && !places[t->n].append)
			path = t->plain[t->n] = talloc_asprintf(mem, "%s.plain", path);
		t->m[t->n] = mtf_begin_at(mem, path, &places[t->n], head, &err);
		if (t->m[t->n] == NULL && err.code == 3241)
			say_ordered(out, 3241, NULL, b->devices[t->n], 0);
		else if (t->m[t->n] == NULL)
			say(out, 3201, 1, 16, "Cannot open backup device '%s'. Operating system error %s.", b->devices[t->n], write_error(&err));
		if (t->m[t->n] == NULL)
			return false;
	}
	return true;
}

/* WITH COMPRESSION: the plain file becomes the device as SQL Server would have written it. */
static bool
pack(const char *plain, const char *device, struct err *err)
{
	FILE *in = fopen(plain, "re"), *out = fopen(device, "w+e");
	bool good = in != NULL && out != NULL && mssqlbak_write(in, out, err) && fflush(out) == 0 && fsync(fileno(out)) == 0;

	if (!good && err->code == 0)
		err_errno(err, errno, "%s", device);
	if (in != NULL)
		fclose(in);
	if (out != NULL)
		fclose(out);
	return good;
}

static void
forget_plain(const struct tapes *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->plain[i] != NULL)
			unlink(t->plain[i]);
}

/* The final catalogue on every stripe; on a fault it was said. */
static bool
close_tapes(struct tapes *t, struct mtf_set *s, struct taking *k)
{
	struct err err = { 0 };
	size_t i = 0;

	s->finish = (time_t)(engine_now_ms(k->e) / 1000);
	s->backup_size = 0;
	for (size_t n = 0; n < t->n; n++)
		s->backup_size += mtf_bytes(t->m[n]);
	while (i < t->n && mtf_end(t->m[i], s, &err) && (t->plain[i] == NULL || pack(t->plain[i], k->b->devices[i], &err)))
		i++;
	if (i == t->n)
		return true;
	say(k->out, 3202, 1, 16, "Write on \"%s\" failed: %s", k->b->devices[i], write_error(&err));
	k->struck = true;
	return false;
}

/* ---- BACKUP DATABASE ------------------------------------------------------------------------------------- */

/* Which extents go along: all of a full, those that changed since the base of a differential. */
static bool
choose_extents(TALLOC_CTX *mem, const struct image *im, const char *sums_path, struct guid full, struct sums *sums, bool **wanted, uint64_t *n)
{
	*n = 0;
	if (!read_sums(mem, sums_path, full, sums))
		return false;
	*wanted = talloc_zero_array(mem, bool, im->pages / 8 + 1);
	for (uint64_t x = 0; x < im->pages / 8; x++)
		*n += (*wanted)[x] = extent_changed(im, sums, x);
	return true;
}

static void
tell_pages(const struct taking *t, int curcmd, const char *name, const struct tapes *tapes, uint64_t data, uint64_t log)
{
	double seconds = (double)(steady_ms() - t->since_ms + 1) / 1000;

	if (!t->b->log)
		tell(t->out, curcmd, 4035, "Processed %llu pages for database '%s', file '%s' on file %u.", (unsigned long long)data, name, name,
		     mtf_position(tapes->m[0]));
	tell(t->out, curcmd, 4035, "Processed %llu pages for database '%s', file '%s_log' on file %u.", (unsigned long long)log, name, name,
	     mtf_position(tapes->m[0]));
	say(t->out, 3014, 1, 0, "%s successfully processed %llu pages in %.3f seconds (%.3f MB/sec).", t->b->log ? "BACKUP LOG"
	    : t->b->differential ? "BACKUP DATABASE WITH DIFFERENTIAL" : "BACKUP DATABASE", (unsigned long long)(data + log), seconds,
	    (double)(data + log) * PAGE / 1048576 / seconds);
}

static bool
backup_data(TALLOC_CTX *mem, struct db_row *r, struct taking *t)
{
	struct engine *e = t->e;
	const struct engine_backup *b = t->b;
	char *file = db_path(e, mem, r->id, ".sqlite"), *work = talloc_asprintf(mem, "%s.%d", db_path(e, mem, r->id, ".backup"), t->out->session_id);
	char *sums_path = db_path(e, mem, r->id, ".base");
	sqlite3 *db = file_open(file, false);
	struct mtf_set s, head;
	struct image im = { .fd = -1 };
	struct sums sums = { 0 };
	struct tapes *tapes = talloc_zero(mem, struct tapes);
	bool *wanted = NULL, good;
	uint64_t n_wanted;

	describe(e, mem, &s, r, b, t->out);
	good = db != NULL && take_image(e, db, file, work, &s.checkpoint, &s.last) && open_image(&im, work, &s);
	s.first = s.checkpoint;
	if (good && !b->copy_only && lsn_is_null(r->next_log) && strcasecmp(r->model, "SIMPLE") != 0)
		s.chain_origin = s.checkpoint;
	s.next_log = lsn_is_null(r->next_log) ? s.checkpoint : r->next_log;
	n_wanted = im.pages / 8;
	sums.new = talloc_zero_array(mem, uint32_t, im.pages + 1);
	if (good && b->differential)
		good = choose_extents(mem, &im, sums_path, r->base_guid, &sums, &wanted, &n_wanted);
	s.files[0].pages = (uint32_t)(n_wanted * 8);
	s.files[0].size = im.pages * PAGE;
	head = s;
	head.finish = 0;
	head.last = s.first; /* provisional, as SQL Server 2019 has it */
	head.backup_size = n_wanted * 8 * PAGE;
	if (good) {
		t->struck = !open_tapes(mem, tapes, b, &head, t->out);
		good = !t->struck && write_pages(tapes, &im, wanted, n_wanted, &sums, t) && write_log(tapes, db, s.first, s.last) &&
		       close_tapes(tapes, &s, t) && finish_data(e, b, &s, r->name, sums_path, &sums, im.pages);
	}
	if (im.fd >= 0)
		close(im.fd);
	unlink(work);
	sqlite3_close(db);
	if (good)
		tell_pages(t, CURCMD_BACKUP_DATABASE, r->name, tapes, n_wanted * 8, 1);
	forget_plain(tapes);
	talloc_free(tapes);
	return good;
}

/* ---- BACKUP LOG --------------------------------------------------------------------------------------------- */

void
thaw(struct db_row *row)
{
	row->state = 0;
	row->redo = (struct lsn){ 0 };
	row->redo_fork = (struct guid){ { 0 } };
}

enum moment { FREEZES, IS_TAKEN, BREAKS_OFF };

/*
 * What a log backup does to its database. A tail WITH NORECOVERY freezes it before the file can be whole, so that a
 * whole one proves that nothing was written after it; broken off, it thaws as if nothing had been asked. Once
 * taken, the records are not needed here again, nor by a full that is under way.
 */
static bool
settle_log(struct engine *e, const struct engine_backup *b, const struct mtf_set *s, const char *name, enum moment now)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct db_row *r;
	bool good;

	pthread_mutex_lock(&e->lock);
	r = db_load(e, mem, name);
	good = r != NULL;
	if (good && now == IS_TAKEN && !b->copy_only)
		r->next_log = s->last;
	if (good && now == FREEZES) {
		r->state = 1;
		r->redo = s->last;
		r->redo_fork = r->fork;
	} else if (good && now == BREAKS_OFF) {
		thaw(r);
	}
	if (good)
		r->pending_type = now == FREEZES ? 'T' : 0;
	good = good && db_save(e, r);
	e->generation++;
	pthread_mutex_unlock(&e->lock);
	talloc_free(mem);
	return good;
}

static bool
take_log(struct tapes *tapes, sqlite3 *db, struct mtf_set *s, const char *name, struct taking *t)
{
	if (!write_log(tapes, db, s->first, s->last) || !backup_progress(t, 1, 1) || (t->b->norecovery && !settle_log(t->e, t->b, s, name, FREEZES)))
		return false;
	if (close_tapes(tapes, s, t) && settle_log(t->e, t->b, s, name, IS_TAKEN))
		return true;
	if (t->b->norecovery)
		settle_log(t->e, t->b, s, name, BREAKS_OFF);
	return false;
}

static bool
backup_log(TALLOC_CTX *mem, struct db_row *r, struct taking *t)
{
	struct engine *e = t->e;
	sqlite3 *db = file_open(db_path(e, mem, r->id, ".sqlite"), false);
	struct tapes *tapes = talloc_zero(mem, struct tapes);
	struct mtf_set s, head;
	struct lsn at;
	bool good;

	describe(e, mem, &s, r, t->b, t->out);
	/* For the tail the write lock is kept until the database is RESTORING: nothing may slip in after it. */
	good = db != NULL && mark_and_hold(e, db, &at, &s.last);
	if (good && !t->b->norecovery)
		good = run_sql(db, "COMMIT");
	s.first = s.next_log = r->next_log;
	s.checkpoint = r->last_full_lsn;
	head = s;
	head.finish = 0;
	if (good) {
		t->struck = !open_tapes(mem, tapes, t->b, &head, t->out);
		good = !t->struck && take_log(tapes, db, &s, r->name, t);
	}
	if (db != NULL && sqlite3_get_autocommit(db) == 0)
		run_sql(db, "ROLLBACK");
	sqlite3_close(db);
	if (good)
		tell_pages(t, CURCMD_BACKUP_LOG, r->name, tapes, 0, (s.last.block - s.first.block) / 16 + 1);
	forget_plain(tapes);
	talloc_free(tapes);
	return good;
}

/* ---- the statement ------------------------------------------------------------------------------------------ */

/* Two data backups of one database, or two of its log, wait for each other on a real server; here the second is told to. */
static bool
is_serialised(const struct engine *e, const struct db_row *r, const struct engine_backup *b)
{
	for (const struct running *x = e->running; x != NULL; x = x->next)
		if (x->database_id == r->id + 4 && strcmp(x->command, b->log ? "BACKUP LOG" : "BACKUP DATABASE") == 0)
			return false;
	return true;
}

static bool
may_back_up(struct engine *e, const struct db_row *r, const struct engine_backup *b, const struct engine_out *out)
{
	if (out->in_transaction)
		say(out, 3021, 0, 16, "Cannot perform a backup or restore operation within a transaction.");
	else if (strcasecmp(b->database, "tempdb") == 0)
		say(out, 3147, 1, 16, "Backup and restore operations are not allowed on database tempdb.");
	else if (r == NULL)
		say(out, 911, 11, 16, "Database '%s' does not exist. Make sure that the name is entered correctly.", b->database);
	else if (r->state == 1 && r->ag != NULL)
		say_ordered(out, 3059, NULL, NULL, 0);
	else if (r->state == 1)
		say_ordered(out, 927, r->name, NULL, 0);
	else if (r->state == 2)
		say_ordered(out, 922, r->name, NULL, 0);
	else if (r->standby != NULL)
		say(out, 3036, 1, 16, "The database \"%s\" is in warm-standby state (set by executing RESTORE WITH STANDBY) and cannot be backed up until the "
		    "entire restore sequence is completed.", r->name);
	else if (r->opaque)
		say(out, 3041, 1, 16, "The stand-in cannot back up a database whose pages it does not understand.");
	else if (b->differential && guid_is_null(r->base_guid))
		say(out, 3035, 1, 16, "Cannot perform a differential backup for database \"%s\", because a current database backup does not exist. Perform a "
		    "full database backup by reissuing BACKUP DATABASE, omitting the WITH DIFFERENTIAL option.", r->name);
	else if (b->log && strcasecmp(r->model, "SIMPLE") == 0)
		say(out, 4208, 1, 16, "The statement BACKUP LOG is not allowed while the recovery model is SIMPLE. Use BACKUP DATABASE or change the "
		    "recovery model using ALTER DATABASE.");
	else if (b->log && lsn_is_null(r->next_log))
		say(out, 4214, 1, 16, "BACKUP LOG cannot be performed because there is no current database backup.");
	else if (!is_serialised(e, r, b))
		say_ordered(out, 3023, r->name, NULL, 0);
	else
		return true;
	return false;
}

bool
engine_backup(struct engine *e, const struct engine_backup *b, const struct engine_out *out)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct running run = { 0 };
	struct taking t = { .e = e, .b = b, .out = out, .run = &run, .since_ms = steady_ms() };
	struct db_row *r;
	bool good;

	pthread_mutex_lock(&e->lock);
	r = db_load(e, mem, b->database);
	good = may_back_up(e, r, b, out);
	if (good)
		running_enters(e, &run, b->log ? "BACKUP LOG" : "BACKUP DATABASE", r->id + 4, out);
	pthread_mutex_unlock(&e->lock);
	if (good) {
		good = b->log ? backup_log(mem, r, &t) : backup_data(mem, r, &t);
		if (!good && !t.struck)
			say_ordered(out, is_cancelled(out, &run) ? 3204 : 3202, r->name, b->devices[0], 0);
		running_end(e, &run);
	}
	if (!good)
		fail_3013(out, b->log ? "LOG" : "DATABASE");
	talloc_free(mem);
	return good;
}
