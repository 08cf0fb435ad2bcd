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

#include <jansson.h>

#include "common/bak.h"
#include "common/bak_json.h"

/*
 * RESTORE. Real backup bytes go through the project's reader; every page lands at its place in the data
 * file that MOVE names, and nothing else ever writes there: the data file keeps the pages of the full.
 * A database made by the stand-in carries its SQLite file in those pages; it is taken out into db<N>.sqlite
 * when the full is complete. A differential is laid over the pages of the full, never over what logs made
 * of it, because replayed changes give the same rows and other pages. Log records are applied commit by
 * commit in one SQLite transaction that also moves next_block, so a record is applied once whatever dies.
 *
 * A database from a real SQL Server is opaque: its pages are written and checked, its redo point moves by
 * the headers, its rows are not understood.
 */

enum { CURCMD_RESTORE_DATABASE = 229, CURCMD_RESTORE_LOG = 236, CURCMD_HEADERONLY = 250, CURCMD_FILELISTONLY = 376,
       CURCMD_VERIFYONLY = 377, CURCMD_LABELONLY = 251, CHUNK = 65536, FILES_MAX = 256 };

static const char image_magic[8] = "LFIMAGE1";

struct work {
	struct engine *e;
	const struct engine_restore *r;
	const struct engine_out *out;
	TALLOC_CTX *mem;
	struct running run;
	struct bak **baks; /* one per device, read to the end */
	const struct bak_set *set; /* of the first device, FILE = n */
	struct db_row *row;
	const char **paths;   /* where the set's files go */
	uint64_t total, done; /* bytes of devices */
	int percent, told;
	bool struck; /* an ordered fault */
};

int
engine_curcmd(const struct engine_restore *r)
{
	static const int curcmd[] = {
		[ENGINE_RESTORE_DATABASE] = CURCMD_RESTORE_DATABASE, [ENGINE_RESTORE_LOG] = CURCMD_RESTORE_LOG,
		[ENGINE_HEADERONLY] = CURCMD_HEADERONLY, [ENGINE_FILELISTONLY] = CURCMD_FILELISTONLY,
		[ENGINE_LABELONLY] = CURCMD_LABELONLY, [ENGINE_VERIFYONLY] = CURCMD_VERIFYONLY,
	};

	return curcmd[r->verb];
}

static bool
ends_abnormally(const struct work *w)
{
	static const char *const what[] = {
		[ENGINE_RESTORE_DATABASE] = "RESTORE DATABASE", [ENGINE_RESTORE_LOG] = "RESTORE LOG",
		[ENGINE_HEADERONLY] = "RESTORE HEADERONLY", [ENGINE_FILELISTONLY] = "RESTORE FILELIST",
		[ENGINE_LABELONLY] = "RESTORE LABELONLY", [ENGINE_VERIFYONLY] = "VERIFY DATABASE",
	};

	say(w->out, 3013, 1, 16, "%s is terminating abnormally.", what[w->r->verb]);
	return false;
}

/* ---- devices ------------------------------------------------------------------------------------------ */

static const char *
windows_error(int code)
{
	return code == ENOENT || code == ENOTDIR ? "2(The system cannot find the file specified.)"
	     : code == EACCES || code == EPERM ? "5(Access is denied.)" : "32(The process cannot access the file because it is "
	       "being used by another process.)";
}

static bool
read_device(struct work *w, size_t i)
{
	const char *path = w->r->devices[i];
	uint8_t *buf = talloc_size(w->mem, CHUNK);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct err err = { 0 };
	ssize_t n;

	if (fd < 0) {
		say(w->out, 3201, 2, 16, "Cannot open backup device '%s'. Operating system error %s.", path, windows_error(errno));
		return false;
	}
	w->baks[i] = bak_new(w->mem, NULL);
	while ((n = read(fd, buf, CHUNK)) > 0)
		if (!bak_feed(w->baks[i], buf, (size_t)n, &err))
			break;
	close(fd);
	bak_finish(w->baks[i]);
	if (bak_bytes(w->baks[i]) == 0) {
		say(w->out, 3254, 1, 16, "The volume on device '%s' is empty.", path);
		return false;
	}
	if (bak_container(w->baks[i]) == BAK_OTHER || bak_media(w->baks[i]) == NULL || bak_n_sets(w->baks[i]) == 0) {
		say(w->out, 3241, 0, 16, "The media family on device '%s' is incorrectly formed. SQL Server cannot process this media "
		    "family.", path);
		return false;
	}
	w->total += bak_bytes(w->baks[i]);
	return true;
}

static bool
read_devices(struct work *w)
{
	w->baks = talloc_zero_array(w->mem, struct bak *, w->r->n_devices);
	for (size_t i = 0; i < w->r->n_devices; i++)
		if (!read_device(w, i))
			return false;
	return true;
}

/* All stripes of the media set, each once. */
static bool
media_is_complete(struct work *w)
{
	unsigned count = bak_media(w->baks[0])->family_count;

	if (count > w->r->n_devices) {
		say(w->out, 3132, 1, 16, "The media set has %u media families but only %zu are provided. All members must be provided.",
		    count, w->r->n_devices);
		return false;
	}
	for (size_t i = 1; i < w->r->n_devices; i++) {
		if (!guid_equal(bak_media(w->baks[i])->media_set_id, bak_media(w->baks[0])->media_set_id)) {
			say(w->out, 3258, 1, 16, "The volume on device '%s' is not part of the media set that is currently being processed. "
			    "Ensure that the backup devices are loaded with the correct media.", w->r->devices[i]);
			return false;
		}
		for (size_t k = 0; k < i; k++)
			if (bak_media(w->baks[i])->family_number == bak_media(w->baks[k])->family_number) {
				say(w->out, 3227, 1, 16, "The backup media on '%s' is part of media family %u which has already been processed "
				    "on '%s'.", w->r->devices[i], bak_media(w->baks[i])->family_number, w->r->devices[k]);
				return false;
			}
	}
	return true;
}

static bool
choose_set(struct work *w)
{
	int n = w->r->file == 0 ? 1 : w->r->file;

	if (n < 1 || (size_t)n > bak_n_sets(w->baks[0])) {
		say(w->out, 3287, 1, 16, "The file ID %d on device '%s' is incorrectly formed and can not be read.", n, w->r->devices[0]);
		return false;
	}
	w->set = bak_set(w->baks[0], (size_t)n - 1);
	return true;
}

static bool
version_fits(struct work *w)
{
	if (w->set->database_version <= ENGINE_DATABASE_VERSION)
		return true;
	say(w->out, 3169, 1, 16, "The database was backed up on a server running version %u.%02u.%04u. That version is incompatible with "
	    "this server, which is running version 15.00.2000. Either restore the database on a server that supports the backup, or use "
	    "a backup that is compatible with this server.", w->set->software_major, w->set->software_minor, w->set->software_build);
	return false;
}

/* ---- HEADERONLY and its like ------------------------------------------------------------------------------ */

static const struct engine_column header_columns[] = {
	{ "BackupName", ENGINE_TEXT }, { "BackupDescription", ENGINE_TEXT }, { "BackupType", ENGINE_INT }, { "ExpirationDate", ENGINE_DATETIME },
	{ "Compressed", ENGINE_INT }, { "Position", ENGINE_INT }, { "DeviceType", ENGINE_INT }, { "UserName", ENGINE_TEXT },
	{ "ServerName", ENGINE_TEXT }, { "DatabaseName", ENGINE_TEXT }, { "DatabaseVersion", ENGINE_INT },
	{ "DatabaseCreationDate", ENGINE_DATETIME }, { "BackupSize", ENGINE_BIGINT }, { "FirstLSN", ENGINE_NUMERIC25 },
	{ "LastLSN", ENGINE_NUMERIC25 }, { "CheckpointLSN", ENGINE_NUMERIC25 }, { "DatabaseBackupLSN", ENGINE_NUMERIC25 },
	{ "BackupStartDate", ENGINE_DATETIME }, { "BackupFinishDate", ENGINE_DATETIME }, { "SortOrder", ENGINE_INT }, { "CodePage", ENGINE_INT },
	{ "UnicodeLocaleId", ENGINE_INT }, { "UnicodeComparisonStyle", ENGINE_INT }, { "CompatibilityLevel", ENGINE_INT },
	{ "SoftwareVendorId", ENGINE_INT }, { "SoftwareVersionMajor", ENGINE_INT }, { "SoftwareVersionMinor", ENGINE_INT },
	{ "SoftwareVersionBuild", ENGINE_INT }, { "MachineName", ENGINE_TEXT }, { "Flags", ENGINE_INT }, { "BindingID", ENGINE_GUID },
	{ "RecoveryForkID", ENGINE_GUID }, { "Collation", ENGINE_TEXT }, { "FamilyGUID", ENGINE_GUID }, { "HasBulkLoggedData", ENGINE_BIT },
	{ "IsSnapshot", ENGINE_BIT }, { "IsReadOnly", ENGINE_BIT }, { "IsSingleUser", ENGINE_BIT }, { "HasBackupChecksums", ENGINE_BIT },
	{ "IsDamaged", ENGINE_BIT }, { "BeginsLogChain", ENGINE_BIT }, { "HasIncompleteMetaData", ENGINE_BIT },
	{ "IsForceOffline", ENGINE_BIT }, { "IsCopyOnly", ENGINE_BIT }, { "FirstRecoveryForkID", ENGINE_GUID },
	{ "ForkPointLSN", ENGINE_NUMERIC25 }, { "RecoveryModel", ENGINE_TEXT }, { "DifferentialBaseLSN", ENGINE_NUMERIC25 },
	{ "DifferentialBaseGUID", ENGINE_GUID }, { "BackupTypeDescription", ENGINE_TEXT }, { "BackupSetGUID", ENGINE_GUID },
	{ "CompressedBackupSize", ENGINE_BIGINT }, { "Containment", ENGINE_INT }, { "KeyAlgorithm", ENGINE_TEXT },
	{ "EncryptorThumbprint", ENGINE_BINARY }, { "EncryptorType", ENGINE_TEXT },
};

static const struct engine_column file_columns[] = {
	{ "LogicalName", ENGINE_TEXT }, { "PhysicalName", ENGINE_TEXT }, { "Type", ENGINE_TEXT }, { "FileGroupName", ENGINE_TEXT },
	{ "Size", ENGINE_BIGINT }, { "MaxSize", ENGINE_BIGINT }, { "FileId", ENGINE_BIGINT }, { "CreateLSN", ENGINE_NUMERIC25 },
	{ "DropLSN", ENGINE_NUMERIC25 }, { "UniqueId", ENGINE_GUID }, { "ReadOnlyLSN", ENGINE_NUMERIC25 },
	{ "ReadWriteLSN", ENGINE_NUMERIC25 }, { "BackupSizeInBytes", ENGINE_BIGINT }, { "SourceBlockSize", ENGINE_INT },
	{ "FileGroupId", ENGINE_INT }, { "LogGroupGUID", ENGINE_GUID }, { "DifferentialBaseLSN", ENGINE_NUMERIC25 },
	{ "DifferentialBaseGUID", ENGINE_GUID }, { "IsReadOnly", ENGINE_BIT }, { "IsPresent", ENGINE_BIT }, { "TDEThumbprint", ENGINE_BINARY },
	{ "SnapshotUrl", ENGINE_TEXT },
};

static const struct engine_column label_columns[] = {
	{ "MediaName", ENGINE_TEXT }, { "MediaSetId", ENGINE_GUID }, { "FamilyCount", ENGINE_INT }, { "FamilySequenceNumber", ENGINE_INT },
	{ "MediaFamilyId", ENGINE_GUID }, { "MediaSequenceNumber", ENGINE_INT }, { "MediaLabelPresent", ENGINE_INT },
	{ "MediaDescription", ENGINE_TEXT }, { "SoftwareName", ENGINE_TEXT }, { "SoftwareVendorId", ENGINE_INT }, { "MediaDate", ENGINE_DATETIME },
	{ "Mirror_Count", ENGINE_INT }, { "IsCompressed", ENGINE_BIT },
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* One row of a statement's result out of the object that inspect prints. */
static void
send_row(struct work *w, json_t *object, const struct engine_column *columns, size_t n)
{
	const char *values[64];

	for (size_t i = 0; i < n; i++) {
		json_t *v = json_object_get(object, columns[i].name);
		const char *s = json_string_value(v);

		if (json_is_integer(v))
			s = talloc_asprintf(w->mem, "%lld", (long long)json_integer_value(v));
		else if (json_is_boolean(v))
			s = json_is_true(v) ? "1" : "0";
		else if (s != NULL && columns[i].type == ENGINE_BINARY && strncmp(s, "0x", 2) == 0)
			s += 2;
		values[i] = s;
	}
	w->out->row(w->out->ctx, values, n);
}

static bool
send_header(struct work *w)
{
	w->out->columns(w->out->ctx, header_columns, N(header_columns));
	for (size_t i = 0; i < bak_n_sets(w->baks[0]); i++) {
		json_t *o = bak_json_set(w->baks[0], bak_set(w->baks[0], i));

		json_object_set_new(o, "DeviceType", json_integer(2));
		send_row(w, o, header_columns, N(header_columns));
		json_decref(o);
	}
	return true;
}

static bool
send_files(struct work *w)
{
	json_t *o, *file;
	size_t i;

	if (!choose_set(w))
		return false;
	o = bak_json_set(w->baks[0], w->set);
	w->out->columns(w->out->ctx, file_columns, N(file_columns));
	json_array_foreach(json_object_get(o, "files"), i, file)
		send_row(w, file, file_columns, N(file_columns));
	json_decref(o);
	return true;
}

static bool
send_label(struct work *w)
{
	json_t *o = bak_json(w->r->devices[0], w->baks[0], 0);

	w->out->columns(w->out->ctx, label_columns, N(label_columns));
	send_row(w, json_object_get(o, "media"), label_columns, N(label_columns));
	json_decref(o);
	return true;
}

/* 3203 for a cut-off device, 3183 for a bad page, 3189 for the rest; true when sound. */
static bool
is_sound(struct work *w)
{
	for (size_t i = 0; i < w->r->n_devices; i++) {
		const struct bak_set *s = bak_set(w->baks[i], (size_t)(w->r->file == 0 ? 0 : w->r->file - 1));

		const struct bak_damage *page = bak_first_damage(w->baks[i], BAK_BAD_PAGE, s->position);

		if (page != NULL) {
			say(w->out, 3183, 1, 16, "RESTORE detected an error on page (%u:%u) in database \"%s\" as read from the backup set.",
			    page->file_id, page->page_id, w->r->database == NULL ? "" : w->r->database);
			return false;
		}
		if (bak_end(w->baks[i]) == BAK_END_TRUNCATED) {
			say(w->out, 3203, 1, 16, "Read on \"%s\" failed: 38(Reached the end of the file.)", w->r->devices[i]);
			return false;
		}
		if (bak_end(w->baks[i]) == BAK_END_DAMAGED) {
			say(w->out, 3189, 1, 16, "Damage to the backup set was detected.");
			return false;
		}
	}
	return true;
}

/* ---- progress and faults ------------------------------------------------------------------------------------ */

static void
pause_ms(struct work *w, long ms)
{
	for (; ms > 0 && !is_cancelled(w->out, &w->run); ms -= 10)
		usleep((ms < 10 ? (useconds_t)ms : 10) * 1000);
}

/* Told after every piece; false when the statement must break off. */
static bool
progress(struct work *w, size_t len)
{
	long number = engine_knob_value(w->e, "fail_number"), delay = engine_knob_value(w->e, "delay_ms");
	int now;

	w->done += len;
	now = w->total == 0 ? 100 : (int)(w->done * 100 / w->total);
	if (delay > 0)
		pause_ms(w, delay * (now - w->percent));
	if (number > 0 && now >= engine_knob_value(w->e, "fail_at")) {
		say(w->out, (int)number, 1, 16, "The stand-in was told to fail here, at %d percent.", now);
		w->struck = true;
		return false;
	}
	w->percent = w->run.percent = now;
	while (w->r->stats > 0 && w->told + w->r->stats <= now) {
		w->told += w->r->stats;
		tell(w->out, engine_curcmd(w->r), 3211, "%d percent processed.", w->told);
	}
	while (engine_knob_value(w->e, "hang") != 0 && !is_cancelled(w->out, &w->run))
		usleep(20000);
	if (now == 100)
		pause_ms(w, engine_knob_value(w->e, "silence_ms"));
	return !is_cancelled(w->out, &w->run);
}

/* ---- pages into data files ------------------------------------------------------------------------------------ */

struct pages {
	struct work *w;
	const struct bak_set *set;
	uint8_t page[PAGE];
	size_t have;
	unsigned pass;
	int fds[FILES_MAX]; /* by file id */
	int position;       /* of the set that is wanted */
	bool failed;
	uint64_t written;
};

static void
put_page(struct pages *p)
{
	uint32_t id;
	uint16_t file;

	memcpy(&id, p->page + 0x20, 4);
	memcpy(&file, p->page + 0x24, 2);
	/* An empty page says nothing of where it belongs; the file is made of zeroes already. */
	if (p->page[0] == 0 || file >= FILES_MAX || p->fds[file] < 0)
		return;
	if (pwrite(p->fds[file], p->page, PAGE, (off_t)id * PAGE) != PAGE)
		p->failed = true;
	p->written++;
}

static void
on_page_bytes(void *ctx, const struct bak_set *set, unsigned pass, uint64_t offset, const void *mem, size_t len)
{
	struct pages *p = ctx;
	const uint8_t *from = mem;

	if (set->position != p->position)
		return;
	if (pass != p->pass || offset == 0)
		p->have = 0;
	p->pass = pass;
	while (len > 0) {
		size_t n = PAGE - p->have < len ? PAGE - p->have : len;

		memcpy(p->page + p->have, from, n);
		p->have += n;
		from += n;
		len -= n;
		if (p->have == PAGE) {
			put_page(p);
			p->have = 0;
		}
	}
}

/* Feeds every device to a reader with that sink; false when broken off or failed. */
static bool
feed_devices(struct work *w, const struct bak_sink *sink)
{
	uint8_t *buf = talloc_size(w->mem, CHUNK);
	bool good = true;

	for (size_t i = 0; good && i < w->r->n_devices; i++) {
		struct bak *b = bak_new(w->mem, sink);
		int fd = open(w->r->devices[i], O_RDONLY | O_CLOEXEC);
		struct err err = { 0 };
		ssize_t n = 0;

		good = fd >= 0;
		while (good && (n = read(fd, buf, CHUNK)) > 0) {
			bak_feed(b, buf, (size_t)n, &err);
			good = progress(w, (size_t)n);
		}
		if (fd >= 0)
			close(fd);
		talloc_free(b);
	}
	return good;
}

static bool
write_pages(struct work *w, bool is_overlay)
{
	struct pages *p = talloc_zero(w->mem, struct pages);
	struct bak_sink sink = { p, on_page_bytes, NULL };
	bool good = true;

	p->w = w;
	p->position = w->set->position;
	for (size_t i = 0; i < FILES_MAX; i++)
		p->fds[i] = -1;
	for (size_t i = 0; good && i < w->set->n_files; i++) {
		const struct bak_file *f = &w->set->files[i];
		const char *path = is_overlay ? talloc_asprintf(w->mem, "%s.diff", w->paths[i]) : w->paths[i];

		if (f->type != 'D' || f->file_id >= FILES_MAX)
			continue;
		p->fds[f->file_id] = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
		good = p->fds[f->file_id] >= 0;
	}
	good = good && feed_devices(w, &sink) && !p->failed;
	for (size_t i = 0; i < FILES_MAX; i++)
		if (p->fds[i] >= 0) {
			good = fsync(p->fds[i]) == 0 && good;
			close(p->fds[i]);
		}
	if (p->failed)
		say(w->out, 3271, 1, 16, "A nonrecoverable I/O error occurred on file \"%s:\" %s.", w->paths[0], strerror(errno));
	return good;
}

/* ---- the image that travels in the pages --------------------------------------------------------------------------- */

/* A page of the differential where it has one, else of the full. */
static bool
read_page(int full, int diff, uint64_t id, uint8_t page[static PAGE])
{
	if (diff >= 0 && pread(diff, page, PAGE, (off_t)(id * PAGE)) == PAGE && page[0] != 0)
		return true;
	return pread(full, page, PAGE, (off_t)(id * PAGE)) == PAGE;
}

static bool
copy_image(int full, int diff, int out, bool *is_ours)
{
	uint8_t page[PAGE];
	uint64_t size, chunk = 0;

	*is_ours = read_page(full, diff, 0, page) && memcmp(page + 4096, image_magic, 8) == 0;
	if (!*is_ours)
		return true;
	memcpy(&size, page + 4104, 8);
	for (uint64_t id = FIRST_PAYLOAD_PAGE; chunk * PAYLOAD < size; id++) {
		size_t n = size - chunk * PAYLOAD < PAYLOAD ? (size_t)(size - chunk * PAYLOAD) : PAYLOAD;

		if (id % PFS_INTERVAL == 0)
			continue;
		if (!read_page(full, diff, id, page) || pwrite(out, page + PAGE_HEAD, n, (off_t)(chunk * PAYLOAD)) != (ssize_t)n)
			return false;
		chunk++;
	}
	return fsync(out) == 0;
}

static bool
take_out_image(struct work *w, bool with_diff)
{
	const char *path = db_path(w->e, w->mem, w->row->id, ".sqlite"), *fresh = db_path(w->e, w->mem, w->row->id, ".work");
	int full = open(w->paths[0], O_RDONLY | O_CLOEXEC), diff = -1, out = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool good, ours = false;

	if (with_diff)
		diff = open(talloc_asprintf(w->mem, "%s.diff", w->paths[0]), O_RDONLY | O_CLOEXEC);
	good = full >= 0 && out >= 0 && (!with_diff || diff >= 0) && copy_image(full, diff, out, &ours);
	if (full >= 0)
		close(full);
	if (diff >= 0)
		close(diff);
	if (out >= 0)
		close(out);
	w->row->opaque = !ours;
	if (!good)
		return false;
	unlink(talloc_asprintf(w->mem, "%s-journal", path));
	return ours ? rename(fresh, path) == 0 : unlink(fresh) == 0;
}

/* ---- log records ------------------------------------------------------------------------------------------------------ */

struct replay {
	struct work *w;
	sqlite3 *db;
	int position;
	size_t extent;
	uint8_t block[LOG_BLOCK_MAX + 2 * SECTOR];
	size_t have;
	uint8_t *record;
	size_t record_len, record_total;
	uint32_t first_block;
	uint64_t from;    /* records before this block are in the database already */
	int64_t stop;     /* 0: none; records of later seconds are not applied */
	bool stopped, failed;
	struct lsn stopped_at;
};

/* A row that is not as it was at the source is left alone: a gap shows in the rows, never as a crash. */
static int
on_conflict(void *ctx, int kind, sqlite3_changeset_iter *iter)
{
	(void)ctx;
	(void)iter;
	return kind == SQLITE_CHANGESET_DATA || kind == SQLITE_CHANGESET_CONFLICT ? SQLITE_CHANGESET_REPLACE : SQLITE_CHANGESET_OMIT;
}

static void
apply_record(struct replay *p, uint8_t kind, int64_t at)
{
	if (p->stopped || p->first_block < p->from)
		return;
	if (p->stop != 0 && at > p->stop) {
		p->stopped = true;
		p->stopped_at = (struct lsn){ VLF_SEQ, p->first_block, 1 };
		return;
	}
	if (kind == RECORD_DDL)
		run_sql(p->db, talloc_strndup(p->w->mem, (const char *)p->record, p->record_len));
	else if (kind == RECORD_CHANGES &&
	         sqlite3changeset_apply(p->db, (int)p->record_len, p->record, NULL, on_conflict, NULL) != SQLITE_OK)
		p->failed = true;
}

static void
take_block(struct replay *p, size_t len)
{
	uint32_t total, offset, piece, block;
	int64_t at;
	size_t from = LOG_HEAD;

	memcpy(&block, p->block + 16, 4);
	memcpy(&total, p->block + 24, 4);
	memcpy(&offset, p->block + 28, 4);
	memcpy(&piece, p->block + 32, 4);
	memcpy(&at, p->block + 40, 8);
	if (offset == 0) {
		talloc_free(p->record);
		p->record = talloc_size(p->w->mem, total == 0 ? 1 : total);
		p->record_total = total;
		p->record_len = 0;
		p->first_block = block;
	}
	if (p->record == NULL || offset != p->record_len || piece > p->record_total - p->record_len) {
		p->failed = true;
		return;
	}
	for (uint32_t i = 0; i < piece && from < len; i++) {
		if (from % SECTOR == 0)
			from++;
		p->record[p->record_len++] = p->block[from++];
	}
	if (p->record_len == p->record_total)
		apply_record(p, p->block[36], at);
}

static void
on_log_bytes(void *ctx, const struct bak_set *set, size_t extent, uint64_t offset, const void *mem, size_t len)
{
	struct replay *p = ctx;
	const uint8_t *from = mem;

	if (set->position != p->position || p->failed)
		return;
	if (extent != p->extent || offset == 0)
		p->have = 0;
	p->extent = extent;
	while (len > 0 && !p->failed) {
		uint16_t size = SECTOR;
		size_t n;

		if (p->have >= SECTOR)
			memcpy(&size, p->block + 6, 2);
		if (size < SECTOR || size % SECTOR != 0) {
			p->failed = true;
			return;
		}
		n = size - p->have < len ? size - p->have : len;
		memcpy(p->block + p->have, from, n);
		p->have += n;
		from += n;
		len -= n;
		memcpy(&size, p->block + 6, 2);
		if (p->have >= SECTOR && p->have == size) {
			take_block(p, p->have);
			p->have = 0;
		}
	}
}

static bool
set_next_block(sqlite3 *db, uint64_t block)
{
	char sql[96];

	snprintf(sql, sizeof(sql), "UPDATE dbo._standin_state SET v = %llu WHERE k = 'next_block'", (unsigned long long)block);
	return run_sql(db, sql);
}

/* Rows and redo point move in one transaction. *redo gets where roll forward goes on. */
static bool
replay_log(struct work *w, int64_t stop, struct lsn *redo, bool *stopped)
{
	struct replay *p = talloc_zero(w->mem, struct replay);
	struct bak_sink sink = { p, NULL, on_log_bytes };
	struct lsn next;
	bool good;

	p->w = w;
	p->position = w->set->position;
	p->stop = stop;
	p->db = file_open(db_path(w->e, w->mem, w->row->id, ".sqlite"), false);
	good = p->db != NULL && run_sql(p->db, "BEGIN IMMEDIATE") && log_next(p->db, &next);
	p->from = good ? next.block : 0;
	sqlite3_db_config(p->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	good = good && feed_devices(w, &sink) && !p->failed;
	*redo = p->stopped ? p->stopped_at : w->set->last_lsn;
	*stopped = p->stopped;
	if (good && lsn_compare(*redo, next) > 0)
		good = set_next_block(p->db, redo->block);
	if (p->db != NULL && sqlite3_get_autocommit(p->db) == 0)
		good = run_sql(p->db, good ? "COMMIT" : "ROLLBACK") && good;
	if (p->failed)
		say(w->out, 3283, 1, 16, "The stand-in could not apply a log record of '%s': %s", w->r->devices[0],
		    p->db == NULL ? "no database" : sqlite3_errmsg(p->db));
	sqlite3_close(p->db);
	return good;
}

/* ---- what must hold before bytes are copied ------------------------------------------------------------------------------ */

static const char *
path_of(struct work *w, const struct bak_file *f)
{
	for (size_t i = 0; i < w->r->n_moves; i++)
		if (strcasecmp(w->r->moves[i].logical, f->logical_name) == 0)
			return w->r->moves[i].path;
	return f->physical_name;
}

static bool
moves_are_known(struct work *w)
{
	for (size_t i = 0; i < w->r->n_moves; i++) {
		bool known = false;

		for (size_t k = 0; k < w->set->n_files; k++)
			known = known || strcasecmp(w->r->moves[i].logical, w->set->files[k].logical_name) == 0;
		if (!known) {
			say(w->out, 3234, 2, 16, "Logical file '%s' is not part of database '%s'. Use RESTORE FILELISTONLY to list the logical file "
			    "names.", w->r->moves[i].logical, w->set->database);
			return false;
		}
	}
	return true;
}

/* Whose file a path is already: a name, or NULL. */
static char *
owner_of(struct work *w, const char *path)
{
	sqlite3_stmt *st = NULL;
	char *name = NULL;

	if (sqlite3_prepare_v2(w->e->meta, "SELECT d.name FROM file f JOIN db d ON d.id = f.db WHERE f.path = ? AND d.name <> ?", -1, &st,
	                       NULL) != SQLITE_OK)
		return NULL;
	sqlite3_bind_text(st, 1, path, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(st, 2, w->r->database, -1, SQLITE_TRANSIENT);
	if (sqlite3_step(st) == SQLITE_ROW)
		name = talloc_strdup(w->mem, (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	return name;
}

static bool
plan_files(struct work *w)
{
	bool good = true;

	w->paths = talloc_array(w->mem, const char *, w->set->n_files + 1);
	for (size_t i = 0; i < w->set->n_files; i++) {
		const struct bak_file *f = &w->set->files[i];
		char *path = talloc_strdup(w->mem, path_of(w, f)), *dir = talloc_strdup(w->mem, path), *slash = strrchr(dir, '/'), *owner;
		struct stat st;

		w->paths[i] = path;
		if (slash != NULL)
			*slash = '\0';
		owner = owner_of(w, path);
		if (owner != NULL)
			say(w->out, 1834, 1, 16, "The file '%s' cannot be overwritten.  It is being used by database '%s'.", path, owner);
		else if (slash == NULL || stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
			say(w->out, 5133, 1, 16, "Directory lookup for the file \"%s\" failed with the operating system error 3(The system cannot find "
			    "the path specified.).", path);
		else
			continue;
		say(w->out, 3156, 4, 16, "File '%s' cannot be restored to '%s'. Use WITH MOVE to identify a valid location for the file.",
		    f->logical_name, path);
		good = false;
	}
	if (!good)
		say(w->out, 3119, 1, 16, "Problems were identified while planning for the RESTORE statement. Previous messages provide details.");
	return good;
}

static bool
may_overwrite(struct work *w)
{
	const struct db_row *row = w->row;

	if (row == NULL || w->r->replace)
		return true;
	if (!guid_is_null(row->family) && !guid_equal(row->family, w->set->family_guid)) {
		say(w->out, 3154, 4, 16, "The backup set holds a backup of a database other than the existing '%s' database.", row->name);
		return false;
	}
	if (row->state == 0 && strcasecmp(row->model, "SIMPLE") != 0) {
		say(w->out, 3159, 1, 16, "The tail of the log for the database \"%s\" has not been backed up. Use BACKUP LOG WITH NORECOVERY to "
		    "backup the log if it contains work you do not want to lose. Use the WITH REPLACE or WITH STOPAT clause of the RESTORE "
		    "statement to just overwrite the contents of the log.", row->name);
		return false;
	}
	return true;
}

/* The database must be RESTORING, and nothing may have broken off but this very set. */
static bool
may_roll_forward(struct work *w)
{
	if (w->row == NULL) {
		say(w->out, 3118, 1, 16, "The database \"%s\" does not exist. RESTORE can only create a database when restoring either a full "
		    "backup or a file backup of the primary file.", w->r->database);
		return false;
	}
	if (w->row->state != 1) {
		say(w->out, 3117, 1, 16, "The log or differential backup cannot be restored because no files are ready to rollforward.");
		return false;
	}
	if (w->row->pending_type != 0 && !guid_equal(w->row->pending, w->set->backup_set_guid)) {
		say(w->out, 4319, 1, 16, "A previous restore operation was interrupted and did not complete processing on file '%s'. Either restore "
		    "the backup set that was interrupted or restart the restore sequence.", w->row->name);
		return false;
	}
	return true;
}

static bool
differential_fits(struct work *w)
{
	if (!may_roll_forward(w))
		return false;
	if (engine_knob_value(w->e, "lsn_check") == 0 || guid_equal(w->set->differential_base_guid, w->row->restored_base))
		return true;
	say(w->out, 3136, 1, 16, "This differential backup cannot be restored because the database has not been restored to the correct earlier "
	    "state.");
	return false;
}

static bool
log_fits(struct work *w)
{
	const struct bak_set *s = w->set;

	if (!may_roll_forward(w))
		return false;
	if (engine_knob_value(w->e, "lsn_check") == 0)
		return true;
	if (!guid_equal(w->row->family, s->family_guid)) {
		say(w->out, 3154, 4, 16, "The backup set holds a backup of a database other than the existing '%s' database.", w->row->name);
	} else if (lsn_compare(s->last_lsn, w->row->redo) < 0) {
		say(w->out, 4326, 1, 16, "The log in this backup set terminates at LSN %s, which is too early to apply to the database. A more recent "
		    "log backup that includes LSN %s can be restored.", lsn_text(s->last_lsn).s, lsn_text(w->row->redo).s);
	} else if (lsn_compare(s->first_lsn, w->row->redo) > 0) {
		say(w->out, 4305, 1, 16, "The log in this backup set begins at LSN %s, which is too recent to apply to the database. An earlier log "
		    "backup that includes LSN %s can be restored.", lsn_text(s->first_lsn).s, lsn_text(w->row->redo).s);
	} else if (!guid_equal(s->first_recovery_fork_id, w->row->redo_fork) && !guid_equal(s->recovery_fork_id, w->row->redo_fork)) {
		say(w->out, 4330, 1, 16, "This backup set cannot be applied because it is on a recovery path that is inconsistent with the database. "
		    "The recovery path is the sequence of data and log backups that have brought the database to a particular recovery point.");
	} else {
		return true;
	}
	return false;
}

static bool
is_wrong_kind(struct work *w)
{
	bool is_log = w->set->type == BAK_LOG;

	if (is_log == (w->r->verb == ENGINE_RESTORE_LOG) && (is_log || w->set->type == BAK_FULL || w->set->type == BAK_DIFFERENTIAL))
		return false;
	say(w->out, 3135, 1, 16, "The backup set in file '%s' was created by %s and cannot be used for this restore operation.",
	    w->r->devices[0], is_log ? "BACKUP LOG" : "BACKUP DATABASE");
	return true;
}

/* ---- doing it -------------------------------------------------------------------------------------------------------------- */

static bool
save_files(struct work *w)
{
	char sql[64];
	bool good;

	snprintf(sql, sizeof(sql), "DELETE FROM file WHERE db = %d", w->row->id);
	good = run_sql(w->e->meta, sql);
	for (size_t i = 0; good && i < w->set->n_files; i++) {
		const struct bak_file *f = &w->set->files[i];
		sqlite3_stmt *st = NULL;
		const char type[2] = { f->type, '\0' };

		good = sqlite3_prepare_v2(w->e->meta, "INSERT INTO file VALUES(?, ?, ?, ?, ?)", -1, &st, NULL) == SQLITE_OK;
		if (good) {
			sqlite3_bind_int(st, 1, w->row->id);
			sqlite3_bind_int(st, 2, (int)f->file_id);
			sqlite3_bind_text(st, 3, type, 1, SQLITE_TRANSIENT);
			sqlite3_bind_text(st, 4, f->logical_name, -1, SQLITE_TRANSIENT);
			sqlite3_bind_text(st, 5, w->paths[i], -1, SQLITE_TRANSIENT);
			good = sqlite3_step(st) == SQLITE_DONE;
		}
		sqlite3_finalize(st);
	}
	return good;
}

/* From here the database is RESTORING and belongs to this set until it is through. Called under the lock. */
static bool
begin_full(struct work *w)
{
	struct db_row *row = w->row == NULL ? talloc_zero(w->mem, struct db_row) : w->row;
	bool good;

	row->name = talloc_strdup(row, w->r->database);
	row->model = talloc_strdup(row, w->set->recovery_model == NULL ? "FULL" : w->set->recovery_model);
	row->owner = talloc_strdup(row, w->out->login == NULL ? "sa" : w->out->login);
	row->state = 1;
	row->family = w->set->family_guid;
	row->binding = guid_new();
	row->fork = w->set->recovery_fork_id;
	row->redo = row->base_lsn = row->last_full_lsn = row->chain_origin = row->next_log = row->fork1_lsn = (struct lsn){ 0 };
	row->redo_fork = row->base_guid = row->last_full_guid = row->restored_base = row->fork1 = (struct guid){ { 0 } };
	row->pending = w->set->backup_set_guid;
	row->pending_type = 'D';
	row->created = time(NULL);
	row->pages_checked = row->pages_bad = 0;
	run_sql(w->e->meta, "BEGIN IMMEDIATE");
	good = db_save(w->e, row) && (w->row = db_load(w->e, w->mem, w->r->database)) != NULL && save_files(w);
	run_sql(w->e->meta, good ? "COMMIT" : "ROLLBACK");
	w->e->generation++;
	return good;
}

static bool
begin_more(struct work *w, char type)
{
	w->row->pending = w->set->backup_set_guid;
	w->row->pending_type = type;
	return db_save(w->e, w->row);
}

static bool
complete(struct work *w, char type, struct lsn redo)
{
	bool good;

	pthread_mutex_lock(&w->e->lock);
	w->row->redo = redo;
	w->row->redo_fork = w->set->recovery_fork_id;
	w->row->pending_type = 0;
	w->row->pending = (struct guid){ { 0 } };
	if (type == 'D')
		w->row->restored_base = w->set->backup_set_guid;
	if (type != 'L')
		for (size_t i = 0; i < w->r->n_devices; i++) {
			const struct bak_set *s = bak_set(w->baks[i], (size_t)w->set->position - 1);

			for (size_t p = 0; s != NULL && p < s->n_passes; p++) {
				w->row->pages_checked += (int64_t)s->pages[p].checked;
				w->row->pages_bad += (int64_t)s->pages[p].bad;
			}
		}
	run_sql(w->e->meta, "BEGIN IMMEDIATE");
	good = db_save(w->e, w->row) && history_add(w->e, w->row->name, type, false, w->set->backup_set_guid, w->set->family_guid,
	                                            w->set->first_lsn, w->set->last_lsn, w->out->login);
	run_sql(w->e->meta, good ? "COMMIT" : "ROLLBACK");
	w->e->generation++;
	pthread_mutex_unlock(&w->e->lock);
	return good;
}

/* Paths of the files that the database has, in the order of the set's files. */
static void
load_paths(struct work *w)
{
	w->paths = talloc_zero_array(w->mem, const char *, w->set->n_files + 1);
	for (size_t i = 0; i < w->set->n_files; i++) {
		sqlite3_stmt *st = NULL;

		w->paths[i] = "";
		if (sqlite3_prepare_v2(w->e->meta, "SELECT path FROM file WHERE db = ? AND file_id = ?", -1, &st, NULL) == SQLITE_OK) {
			sqlite3_bind_int(st, 1, w->row->id);
			sqlite3_bind_int(st, 2, (int)w->set->files[i].file_id);
			if (sqlite3_step(st) == SQLITE_ROW)
				w->paths[i] = talloc_strdup(w->mem, (const char *)sqlite3_column_text(st, 0));
		}
		sqlite3_finalize(st);
	}
}

static void
tell_end(struct work *w, const struct timespec *t0)
{
	struct timespec t1;
	double seconds;
	unsigned long long pages = 0;
	bool is_log = w->r->verb == ENGINE_RESTORE_LOG;

	clock_gettime(CLOCK_MONOTONIC, &t1);
	seconds = (double)(t1.tv_sec - t0->tv_sec) + (double)(t1.tv_nsec - t0->tv_nsec) / 1e9 + 0.001;
	for (size_t i = 0; i < w->set->n_files; i++) {
		unsigned long long n = is_log || w->set->files[i].type != 'D' ? 0 : w->set->files[i].pages;

		tell(w->out, engine_curcmd(w->r), 4035, "Processed %llu pages for database '%s', file '%s' on file %d.", n, w->row->name,
		     w->set->files[i].logical_name, w->set->position);
		pages += n;
	}
	say(w->out, 3014, 1, 0, "%s successfully processed %llu pages in %.3f seconds (%.3f MB/sec).",
	    is_log ? "RESTORE LOG" : "RESTORE DATABASE", pages, seconds, (double)w->total / 1048576 / seconds);
}

/* "2019-05-02T21:12:27[.fff]" in the server's local time; 0 when it is none. */
static int64_t
stop_second(const char *text)
{
	struct tm tm = { .tm_isdst = -1 };
	char t;

	if (text == NULL || sscanf(text, "%d-%d-%d%c%d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &t, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 7)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return mktime(&tm);
}

static bool
copy_data(struct work *w, bool is_differential)
{
	if (!is_sound(w) || !write_pages(w, is_differential) || !take_out_image(w, is_differential))
		return false;
	return complete(w, is_differential ? 'I' : 'D', w->set->last_lsn);
}

static bool
copy_log(struct work *w)
{
	struct bak_sink nothing = { NULL, NULL, NULL };
	struct lsn redo = w->set->last_lsn;
	bool stopped = false;

	if (!is_sound(w))
		return false;
	if (w->row->opaque ? !feed_devices(w, &nothing) : !replay_log(w, stop_second(w->r->stop_at), &redo, &stopped))
		return false;
	if (lsn_compare(redo, w->row->redo) < 0)
		redo = w->row->redo;
	if (w->r->stop_at != NULL && !stopped)
		tell(w->out, engine_curcmd(w->r), 4322, "This backup set contains records that were logged before the designated point in time. The "
		     "database is being left in the restoring state so that more roll forward can be performed.");
	return complete(w, 'L', redo);
}

static bool
is_busy(struct work *w)
{
	for (const struct running *r = w->e->running; w->row != NULL && r != NULL; r = r->next)
		if (r->database_id == w->row->id + 4) {
			say(w->out, 3101, 1, 16, "Exclusive access could not be obtained because the database is in use.");
			return true;
		}
	return false;
}

/* Everything that can be said before a byte is copied; the database is claimed when it returns true. */
static bool
prepare(struct work *w)
{
	bool is_full = w->set->type == BAK_FULL, good;

	pthread_mutex_lock(&w->e->lock);
	w->row = db_load(w->e, w->mem, w->r->database);
	good = !is_busy(w);
	pthread_mutex_unlock(&w->e->lock);
	good = good && (is_full ? may_overwrite(w) : w->set->type == BAK_LOG ? log_fits(w) : differential_fits(w)) &&
	       (!is_full || moves_are_known(w));
	if (!good)
		return false;
	pthread_mutex_lock(&w->e->lock);
	if (is_full)
		good = plan_files(w) && begin_full(w);
	else {
		load_paths(w);
		good = begin_more(w, w->set->type == BAK_LOG ? 'L' : 'I');
	}
	pthread_mutex_unlock(&w->e->lock);
	return good;
}

/* A real server's pages are not understood: what comes up is a database without tables, so that it can be entered. */
static bool
make_shell(struct work *w)
{
	const char *path = db_path(w->e, w->mem, w->row->id, ".sqlite");
	sqlite3 *db;
	bool good;

	unlink(path);
	db = file_open(path, false);
	good = db != NULL && log_prepare(db);
	sqlite3_close(db);
	return good;
}

/* The point of no return: a new recovery fork begins and the database may be written. */
static bool
bring_online(struct work *w)
{
	struct db_row *row;
	bool good = false;

	pthread_mutex_lock(&w->e->lock);
	row = w->row = db_load(w->e, w->mem, w->r->database);
	if (row == NULL) {
		say(w->out, 3118, 1, 16, "The database \"%s\" does not exist. RESTORE can only create a database when restoring either a full backup or "
		    "a file backup of the primary file.", w->r->database);
	} else if (row->state == 0) {
		say(w->out, 3153, 1, 16, "The database is already fully recovered.");
	} else if (row->pending_type != 0) {
		say(w->out, 4333, 1, 16, "The database cannot be recovered because the log was not restored.");
	} else {
		row->state = 0;
		row->fork1 = row->redo_fork;
		row->fork1_lsn = row->redo;
		row->fork = guid_new();
		row->redo = (struct lsn){ 0 };
		row->redo_fork = (struct guid){ { 0 } };
		/* What was restored from elsewhere starts a log chain with its own first full. */
		if (!guid_is_null(row->restored_base))
			row->chain_origin = row->next_log = (struct lsn){ 0 };
		good = (!row->opaque || make_shell(w)) && db_save(w->e, row);
		w->e->generation++;
	}
	pthread_mutex_unlock(&w->e->lock);
	return good;
}

static bool
recover_only(struct work *w)
{
	long number = engine_knob_value(w->e, "fail_recovery");

	if (number > 0) {
		say(w->out, (int)number, 1, 16, "The stand-in was told to fail RECOVERY.");
		return ends_abnormally(w);
	}
	if (w->r->norecovery || !bring_online(w))
		return ends_abnormally(w);
	say(w->out, 3014, 1, 0, "RESTORE DATABASE successfully processed 0 pages in 0.010 seconds (0.000 MB/sec).");
	return true;
}

static bool
restore_set(struct work *w)
{
	struct timespec t0;
	bool good;

	clock_gettime(CLOCK_MONOTONIC, &t0);
	if (!media_is_complete(w) || !choose_set(w) || !version_fits(w) || is_wrong_kind(w) || !prepare(w))
		return ends_abnormally(w);
	running_begin(w->e, &w->run, w->r->verb == ENGINE_RESTORE_LOG ? "RESTORE LOG" : "RESTORE DATABASE", w->row->id + 4, w->out);
	good = w->set->type == BAK_LOG ? copy_log(w) : copy_data(w, w->set->type == BAK_DIFFERENTIAL);
	if (!good && !w->struck && is_cancelled(w->out, &w->run))
		say(w->out, 3204, 1, 16, "The backup or restore was aborted.");
	running_end(w->e, &w->run);
	if (good && !w->r->norecovery && !w->r->standby)
		good = bring_online(w);
	if (!good)
		return ends_abnormally(w);
	tell_end(w, &t0);
	return true;
}

static bool
verify_only(struct work *w)
{
	if (!media_is_complete(w) || !choose_set(w) || !version_fits(w) || !is_sound(w))
		return false;
	say(w->out, 3262, 1, 0, "The backup set on file %d is valid.", w->set->position);
	return true;
}

bool
engine_restore(struct engine *e, const struct engine_restore *r, const struct engine_out *out)
{
	struct work *w = talloc_zero(NULL, struct work);
	bool good;

	w->e = e;
	w->r = r;
	w->out = out;
	w->mem = w;
	if (r->n_devices == 0 && r->verb == ENGINE_RESTORE_DATABASE) {
		good = recover_only(w);
	} else if (!read_devices(w)) {
		good = ends_abnormally(w);
	} else if (r->verb == ENGINE_RESTORE_DATABASE || r->verb == ENGINE_RESTORE_LOG) {
		good = restore_set(w);
	} else {
		good = r->verb == ENGINE_HEADERONLY ? send_header(w) : r->verb == ENGINE_FILELISTONLY ? send_files(w)
		     : r->verb == ENGINE_LABELONLY ? send_label(w) : verify_only(w);
		if (!good)
			ends_abnormally(w);
	}
	talloc_free(w);
	return good;
}
