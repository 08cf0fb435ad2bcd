#include "tests/standin/engine_work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bak_json.h"

/*
 * What RESTORE reads before it decides anything: the devices, which media set they are, and what HEADERONLY,
 * FILELISTONLY, LABELONLY and VERIFYONLY tell of them.
 */

/* ---- devices ------------------------------------------------------------------------------------------ */

/* Windows' words even on Linux: so the server has them. */
static const char *
windows_error(int code)
{
	return code == ENOENT || code == ENOTDIR ? "2(The system cannot find the file specified.)"
	     : code == EACCES || code == EPERM ? "5(Access is denied.)" : "32(The process cannot access the file because it is "
	       "being used by another process.)";
}

/* A file that another process has locked is in use: what a copy under way looks like to the server. */
static int
open_device(struct work *w, const char *path)
{
	static const int ordered[] = { 0, EACCES, EBUSY };
	long denied = knob(w->e, KNOB_DENIED);
	int fd = -1;

	if (denied > 0 && denied < (long)(sizeof(ordered) / sizeof(ordered[0])))
		errno = ordered[denied];
	else if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0) {
		close(fd);
		fd = -1;
		errno = EBUSY;
	}
	if (fd < 0)
		say(w->out, 3201, 2, 16, "Cannot open backup device '%s'. Operating system error %s.", path, windows_error(errno));
	return fd;
}

/* The format's version stands in the first block, where the reader does not look. */
static bool
tape_version_is_one(struct work *w, int fd, const char *path)
{
	uint8_t head[0x5E] = { 0 };

	if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head) || memcmp(head, "TAPE", 4) != 0 || head[0x5D] == 1)
		return true;
	say(w->out, 3243, 1, 16, "The media family on device '%s' was created using Microsoft Tape Format version %d.0. SQL Server supports version "
	    "1.0.", path, head[0x5D]);
	return false;
}

static bool
is_backup(struct work *w, const struct bak *b, const char *path)
{
	if (bak_bytes(b) == 0) {
		say(w->out, 3254, 1, 16, "The volume on device '%s' is empty.", path);
	} else if (bak_container(b) == BAK_OTHER || bak_media(b) == NULL) {
		say(w->out, 3241, 0, 16, "The media family on device '%s' is incorrectly formed. SQL Server cannot process this media "
		    "family.", path);
	} else if (bak_media(b)->has_password) {
		say(w->out, 3279, 1, 16, "Access is denied due to a password failure");
	} else if (bak_n_sets(b) == 0) {
		say(w->out, 3242, 1, 16, "The file on device '%s' is not a valid Microsoft Tape Format backup set.", path);
	} else if (bak_set(b, 0)->vendor != SQL_SERVER_VENDOR) {
		say(w->out, 3143, 1, 16, "The data set on device '%s' is not a SQL Server backup set.", path);
	} else {
		return true;
	}
	return false;
}

/* Encrypted media cannot be read at all without the certificate; which one is not in a place that is known here. */
static bool
can_decrypt(struct work *w, const struct bak *b)
{
	size_t n;
	const char *const *words = bak_findings(w->mem, b, 0, &n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(words[i], "encrypted") == 0 || (strcmp(words[i], "tde") == 0 && w->r->verb != ENGINE_HEADERONLY && w->r->verb != ENGINE_LABELONLY)) {
			say(w->out, 33111, 3, 16, "Cannot find server certificate with thumbprint '0x%040d'.", 0);
			return false;
		}
	return true;
}

static bool
read_device(struct work *w, size_t i)
{
	const char *path = w->r->devices[i];
	uint8_t *buf = talloc_size(w->mem, CHUNK);
	int fd = open_device(w, path);
	struct err err = { 0 };
	bool good;
	ssize_t n;

	if (fd < 0)
		return false;
	w->baks[i] = bak_new(w->mem, NULL);
	while ((n = read(fd, buf, CHUNK)) > 0)
		if (!bak_feed(w->baks[i], buf, (size_t)n, &err))
			break;
	bak_finish(w->baks[i]);
	good = tape_version_is_one(w, fd, path) && can_decrypt(w, w->baks[i]) && is_backup(w, w->baks[i], path);
	close(fd);
	w->total += bak_bytes(w->baks[i]);
	return good;
}

bool
read_devices(struct work *w)
{
	w->baks = talloc_zero_array(w->mem, struct bak *, w->r->n_devices);
	for (size_t i = 0; i < w->r->n_devices; i++)
		if (!read_device(w, i))
			return false;
	return true;
}

/* All stripes of the media set, each once, nothing else. */
bool
media_is_complete(struct work *w)
{
	unsigned count = bak_media(w->baks[0])->family_count;

	for (size_t i = 1; i < w->r->n_devices; i++) {
		const struct bak_media *m = bak_media(w->baks[i]);

		if (!guid_equal(m->media_set_id, bak_media(w->baks[0])->media_set_id)) {
			say(w->out, 3258, 1, 16, "The volume on device '%s' is not part of the media set that is currently being processed. "
			    "Ensure that the backup devices are loaded with the correct media.", w->r->devices[i]);
			return false;
		}
		for (size_t k = 0; k < i; k++)
			if (m->family_number == bak_media(w->baks[k])->family_number) {
				say(w->out, 3227, 1, 16, "The backup media on '%s' is part of media family %u which has already been processed "
				    "on '%s'. Ensure that backup devices are loaded with the correct media.", w->r->devices[i], m->family_number,
				    w->r->devices[k]);
				return false;
			}
	}
	if (count > w->r->n_devices) {
		say(w->out, 3132, 1, 16, "The media set has %u media families but only %zu are provided. All members must be provided.",
		    count, w->r->n_devices);
		return false;
	}
	return true;
}

bool
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

bool
has_checksums(struct work *w)
{
	if (!w->r->checksum || (w->set->flags & BAK_FLAG_CHECKSUMS))
		return true;
	say(w->out, 3187, 1, 16, "RESTORE WITH CHECKSUM cannot be specified because the backup set does not contain checksum information.");
	return false;
}

/* 13.00.6300: the version of a release is printed as it was on the day it came out. */
static const char *
rtm_of(const struct work *w)
{
	static const struct { unsigned major, minor; const char *text; } known[] = {
		{ 9, 0, "9.00.1399" }, { 10, 0, "10.00.1600" }, { 10, 50, "10.50.1600" }, { 11, 0, "11.00.2100" }, { 12, 0, "12.00.2000" },
		{ 13, 0, "13.00.1601" }, { 14, 0, "14.00.1000" }, { 15, 0, "15.00.2000" }, { 16, 0, "16.00.1000" }, { 17, 0, "17.00.1000" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].major == w->set->software_major && known[i].minor == w->set->software_minor)
			return known[i].text;
	return talloc_asprintf(w->mem, "%u.%02u.%04u", w->set->software_major, w->set->software_minor, w->set->software_build);
}

bool
version_fits(struct work *w)
{
	if (w->set->database_version <= engine_release(w->e)->database_version)
		return true;
	say(w->out, 3169, 1, 16, "The database was backed up on a server running version %s. That version is incompatible with this server, which is "
	    "running version %s. Either restore the database on a server that supports the backup, or use a backup that is compatible with this "
	    "server.", rtm_of(w), engine_release(w->e)->rtm);
	return false;
}

/* ---- HEADERONLY and its like ------------------------------------------------------------------------------ */

/*
 * Names, order and wire types as captured from SQL Server 2022; the last three of HEADERONLY came with it, before
 * them the list is that of 2014 to 2019. The documentation has other types for a few (BackupType smallint, Size
 * numeric(20,0)): the capture goes before.
 */
static const struct engine_column header_columns[] = {
	{ "BackupName", ENGINE_TEXT, 128 }, { "BackupDescription", ENGINE_TEXT, 255 }, { "BackupType", ENGINE_TINYINT, 0 },
	{ "ExpirationDate", ENGINE_DATETIME, 0 }, { "Compressed", ENGINE_TINYINT, 0 }, { "Position", ENGINE_SMALLINT, 0 },
	{ "DeviceType", ENGINE_TINYINT, 0 }, { "UserName", ENGINE_TEXT, 128 }, { "ServerName", ENGINE_TEXT, 128 },
	{ "DatabaseName", ENGINE_TEXT, 128 }, { "DatabaseVersion", ENGINE_INT, 0 }, { "DatabaseCreationDate", ENGINE_DATETIME, 0 },
	{ "BackupSize", ENGINE_BIGINT, 0 }, { "FirstLSN", ENGINE_NUMERIC25, 0 }, { "LastLSN", ENGINE_NUMERIC25, 0 },
	{ "CheckpointLSN", ENGINE_NUMERIC25, 0 }, { "DatabaseBackupLSN", ENGINE_NUMERIC25, 0 }, { "BackupStartDate", ENGINE_DATETIME, 0 },
	{ "BackupFinishDate", ENGINE_DATETIME, 0 }, { "SortOrder", ENGINE_SMALLINT, 0 }, { "CodePage", ENGINE_SMALLINT, 0 },
	{ "UnicodeLocaleId", ENGINE_INT, 0 }, { "UnicodeComparisonStyle", ENGINE_INT, 0 }, { "CompatibilityLevel", ENGINE_TINYINT, 0 },
	{ "SoftwareVendorId", ENGINE_INT, 0 }, { "SoftwareVersionMajor", ENGINE_INT, 0 }, { "SoftwareVersionMinor", ENGINE_INT, 0 },
	{ "SoftwareVersionBuild", ENGINE_INT, 0 }, { "MachineName", ENGINE_TEXT, 128 }, { "Flags", ENGINE_INT, 0 },
	{ "BindingID", ENGINE_GUID, 0 }, { "RecoveryForkID", ENGINE_GUID, 0 }, { "Collation", ENGINE_TEXT, 128 },
	{ "FamilyGUID", ENGINE_GUID, 0 }, { "HasBulkLoggedData", ENGINE_BIT, 0 }, { "IsSnapshot", ENGINE_BIT, 0 },
	{ "IsReadOnly", ENGINE_BIT, 0 }, { "IsSingleUser", ENGINE_BIT, 0 }, { "HasBackupChecksums", ENGINE_BIT, 0 },
	{ "IsDamaged", ENGINE_BIT, 0 }, { "BeginsLogChain", ENGINE_BIT, 0 }, { "HasIncompleteMetaData", ENGINE_BIT, 0 },
	{ "IsForceOffline", ENGINE_BIT, 0 }, { "IsCopyOnly", ENGINE_BIT, 0 }, { "FirstRecoveryForkID", ENGINE_GUID, 0 },
	{ "ForkPointLSN", ENGINE_NUMERIC25, 0 }, { "RecoveryModel", ENGINE_TEXT, 60 }, { "DifferentialBaseLSN", ENGINE_NUMERIC25, 0 },
	{ "DifferentialBaseGUID", ENGINE_GUID, 0 }, { "BackupTypeDescription", ENGINE_TEXT, 128 }, { "BackupSetGUID", ENGINE_GUID, 0 },
	{ "CompressedBackupSize", ENGINE_BIGINT, 0 }, { "Containment", ENGINE_TINYINT, 0 }, { "KeyAlgorithm", ENGINE_TEXT, 32 },
	{ "EncryptorThumbprint", ENGINE_BINARY, 20 }, { "EncryptorType", ENGINE_TEXT, 32 }, { "LastValidRestoreTime", ENGINE_DATETIME, 0 },
	{ "TimeZone", ENGINE_SMALLINT, 0 }, { "CompressionAlgorithm", ENGINE_TEXT, 32 },
};

static const struct engine_column file_columns[] = {
	{ "LogicalName", ENGINE_TEXT, 128 }, { "PhysicalName", ENGINE_TEXT, 260 }, { "Type", ENGINE_NCHAR, 1 },
	{ "FileGroupName", ENGINE_TEXT, 128 }, { "Size", ENGINE_BIGINT, 0 }, { "MaxSize", ENGINE_BIGINT, 0 }, { "FileId", ENGINE_BIGINT, 0 },
	{ "CreateLSN", ENGINE_NUMERIC25, 0 }, { "DropLSN", ENGINE_NUMERIC25, 0 }, { "UniqueId", ENGINE_GUID, 0 },
	{ "ReadOnlyLSN", ENGINE_NUMERIC25, 0 }, { "ReadWriteLSN", ENGINE_NUMERIC25, 0 }, { "BackupSizeInBytes", ENGINE_BIGINT, 0 },
	{ "SourceBlockSize", ENGINE_INT, 0 }, { "FileGroupId", ENGINE_INT, 0 }, { "LogGroupGUID", ENGINE_GUID, 0 },
	{ "DifferentialBaseLSN", ENGINE_NUMERIC25, 0 }, { "DifferentialBaseGUID", ENGINE_GUID, 0 }, { "IsReadOnly", ENGINE_BIT, 0 },
	{ "IsPresent", ENGINE_BIT, 0 }, { "TDEThumbprint", ENGINE_BINARY, 20 }, { "SnapshotUrl", ENGINE_TEXT, 336 },
};

static const struct engine_column label_columns[] = {
	{ "MediaName", ENGINE_TEXT, 128 }, { "MediaSetId", ENGINE_GUID, 0 }, { "FamilyCount", ENGINE_INT, 0 },
	{ "FamilySequenceNumber", ENGINE_INT, 0 }, { "MediaFamilyId", ENGINE_GUID, 0 }, { "MediaSequenceNumber", ENGINE_INT, 0 },
	{ "MediaLabelPresent", ENGINE_TINYINT, 0 }, { "MediaDescription", ENGINE_TEXT, 255 }, { "SoftwareName", ENGINE_TEXT, 128 },
	{ "SoftwareVendorId", ENGINE_INT, 0 }, { "MediaDate", ENGINE_DATETIME, 0 }, { "Mirror_Count", ENGINE_INT, 0 },
	{ "IsCompressed", ENGINE_BIT, 0 },
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

/* What the file does not say and every server prints. */
static const struct { const char *column; int value; } as_printed[] = {
	{ "DeviceType", 2 }, { "CodePage", 0 }, { "Containment", 0 },
};
static const struct { const char *column, *value; } of_file_as_printed[] = {
	{ "DropLSN", "0" }, { "ReadOnlyLSN", "0" }, { "ReadWriteLSN", "0" }, { "CreateLSN", "0" },
};

/* What the server is ordered to say that is not in the file; RESTORE itself goes by the file. */
static void
lie_of_header(struct work *w, json_t *o, const struct bak_set *s)
{
	struct lsn lsn = s->last_lsn;

	if (knob(w->e, KNOB_HEADER_LIES) == 1) {
		lsn.slot++;
		json_object_set_new(o, "LastLSN", json_string(lsn_text(lsn).s));
	} else if (knob(w->e, KNOB_HEADER_LIES) == 3) {
		json_object_set_new(o, "BackupName", json_string("a lie"));
	}
}

bool
send_header(struct work *w)
{
	size_t n = engine_release(w->e)->header_columns;

	w->out->columns(w->out->ctx, header_columns, n);
	for (size_t i = 0; i < bak_n_sets(w->baks[0]); i++) {
		json_t *o = bak_json_set(w->baks[0], bak_set(w->baks[0], i));

		for (size_t k = 0; k < N(as_printed); k++)
			json_object_set_new(o, as_printed[k].column, json_integer(as_printed[k].value));
		lie_of_header(w, o, bak_set(w->baks[0], i));
		send_row(w, o, header_columns, n);
		json_decref(o);
	}
	return true;
}

bool
send_files(struct work *w)
{
	json_t *o, *file;
	size_t i;

	if (!choose_set(w))
		return false;
	o = bak_json_set(w->baks[0], w->set);
	w->out->columns(w->out->ctx, file_columns, N(file_columns));
	json_array_foreach(json_object_get(o, "files"), i, file) {
		for (size_t k = 0; k < N(of_file_as_printed); k++)
			if (!json_is_string(json_object_get(file, of_file_as_printed[k].column)))
				json_object_set_new(file, of_file_as_printed[k].column, json_string(of_file_as_printed[k].value));
		json_object_set_new(file, "IsReadOnly", json_false());
		json_object_set_new(file, "IsPresent", json_true());
		if (knob(w->e, KNOB_HEADER_LIES) == 2)
			json_object_set_new(file, "Size", json_integer(json_integer_value(json_object_get(file, "Size")) + 8192));
		send_row(w, file, file_columns, N(file_columns));
	}
	json_decref(o);
	return true;
}

bool
send_label(struct work *w)
{
	json_t *o = bak_json(w->r->devices[0], w->baks[0], 0);

	json_object_set_new(json_object_get(o, "media"), "MediaLabelPresent", json_integer(0));
	w->out->columns(w->out->ctx, label_columns, N(label_columns));
	send_row(w, json_object_get(o, "media"), label_columns, N(label_columns));
	json_decref(o);
	return true;
}

/* 3182 when the source was damaged already, 3203 for a cut-off device, 3183 for a bad page, 3189 for the rest. */
bool
is_sound(struct work *w)
{
	if (w->set->flags & BAK_FLAG_DAMAGED) {
		say_ordered(w->out, 3182, NULL, NULL, 0);
		return false;
	}
	for (size_t i = 0; i < w->r->n_devices; i++) {
		const struct bak_set *s = bak_set(w->baks[i], (size_t)w->set->position - 1);
		const struct bak_damage *page = s == NULL ? NULL : bak_first_damage(w->baks[i], BAK_BAD_PAGE, s->position);

		if (page != NULL) {
			say(w->out, 3183, 1, 16, "RESTORE detected an error on page (%u:%u) in database \"%s\" as read from the backup set.",
			    page->file_id, page->page_id, w->r->database == NULL ? w->set->database : w->r->database);
			return false;
		}
		/* Those in front of the set that was cut off are as whole as ever. */
		if (s == NULL || (bak_end(w->baks[i]) == BAK_END_TRUNCATED && s->position >= bak_cut_set(w->baks[i]))) {
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

bool
verify_only(struct work *w)
{
	if (!media_is_complete(w) || !choose_set(w) || !version_fits(w) || !has_checksums(w) || !is_sound(w))
		return false;
	/* All at once: the devices were read to their ends to find the set. */
	tell_percent(w, 100);
	say(w->out, 3262, 1, 0, "The backup set on file %d is valid.", w->set->position);
	return true;
}
