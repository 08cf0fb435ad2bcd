#include "receiver/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "common/bak.h"
#include "common/bak_json.h"
#include "common/text.h"

enum { RANGES_MAX = 4096, SLICE = 4 * 1024 * 1024, CHUNK = 256 * 1024, MANIFEST_MAX = 16 * 1024 * 1024 };
#define DIRTY_MAX (UINT64_C(32) * 1024 * 1024)

struct range { uint64_t from, to; };

struct upload {
	struct talk_opened opened;
	const struct talk_policy *policy;
	int fd;
	uint64_t solid;          /* everything before is written */
	struct range *ahead;     /* written beyond solid, in order, apart from each other */
	size_t n_ahead;
	uint64_t fed;            /* bytes that digest and reader have seen */
	uint64_t flushed, dirty; /* write-back was started up to flushed */
	EVP_MD_CTX *digest;
	struct bak *bak;
	bool judged, failed;
	char *reason;            /* why WRITE and CLOSE fail */
	uint8_t *chunk;
};

static int
free_upload(struct upload *u)
{
	EVP_MD_CTX_free(u->digest);
	if (u->fd >= 0)
		close(u->fd);
	return 0;
}

static void
begin_feed(struct upload *u)
{
	u->fed = 0;
	EVP_DigestInit_ex(u->digest, EVP_sha256(), NULL);
	talloc_free(u->bak);
	u->bak = bak_new(u, NULL);
	u->judged = false;
}

struct upload *
upload_new(TALLOC_CTX *parent, int fd, const struct talk_opened *opened, const struct talk_policy *policy)
{
	struct upload *u = talloc_zero(parent, struct upload);

	u->opened = *opened;
	u->policy = policy;
	u->fd = fd;
	u->solid = opened->size;
	u->flushed = opened->size;
	u->digest = EVP_MD_CTX_new();
	u->chunk = talloc_size(u, CHUNK);
	talloc_set_destructor(u, free_upload);
	begin_feed(u);
	return u;
}

uint64_t
upload_number(const struct upload *u)
{
	return u->opened.upload;
}

uint64_t
upload_solid(const struct upload *u)
{
	return u->solid;
}

uint64_t
upload_size(const struct upload *u)
{
	return u->n_ahead == 0 ? u->solid : u->ahead[u->n_ahead - 1].to;
}

int
upload_fd(const struct upload *u)
{
	return u->fd;
}

const char *
upload_reason(const struct upload *u)
{
	return u->reason;
}

void
upload_revoke(struct upload *u, const char *reason)
{
	u->reason = talloc_strdup(u, reason);
	if (u->fd >= 0) {
		fdatasync(u->fd);
		close(u->fd);
	}
	u->fd = -1;
}

/* ---- which bytes are there --------------------------------------------------------------------------------- */

static void
drop_range(struct upload *u, size_t i)
{
	memmove(&u->ahead[i], &u->ahead[i + 1], (u->n_ahead - i - 1) * sizeof(u->ahead[0]));
	u->n_ahead--;
}

static bool
add_range(struct upload *u, uint64_t from, uint64_t to)
{
	size_t i = 0;

	if (from <= u->solid) {
		if (to > u->solid)
			u->solid = to;
	} else {
		while (i < u->n_ahead && u->ahead[i].to < from)
			i++;
		if (i < u->n_ahead && u->ahead[i].from <= to) {
			u->ahead[i].from = from < u->ahead[i].from ? from : u->ahead[i].from;
			u->ahead[i].to = to > u->ahead[i].to ? to : u->ahead[i].to;
			while (i + 1 < u->n_ahead && u->ahead[i + 1].from <= u->ahead[i].to) {
				if (u->ahead[i + 1].to > u->ahead[i].to)
					u->ahead[i].to = u->ahead[i + 1].to;
				drop_range(u, i + 1);
			}
		} else {
			if (u->n_ahead == RANGES_MAX)
				return false;
			u->ahead = talloc_realloc(u, u->ahead, struct range, u->n_ahead + 1);
			memmove(&u->ahead[i + 1], &u->ahead[i], (u->n_ahead - i) * sizeof(u->ahead[0]));
			u->ahead[i] = (struct range){ from, to };
			u->n_ahead++;
		}
	}
	while (u->n_ahead > 0 && u->ahead[0].from <= u->solid) {
		if (u->ahead[0].to > u->solid)
			u->solid = u->ahead[0].to;
		drop_range(u, 0);
	}
	return true;
}

/* ---- verdicts as early as they can be had ---------------------------------------------------------------------- */

static bool
refuse(struct upload *u, const char *fmt, const char *a, const char *b)
{
	char *text = talloc_asprintf(u, "%s: ", u->opened.name);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	u->reason = talloc_asprintf_append(text, fmt, a, b);
#pragma GCC diagnostic pop
	return false;
}

static bool
has_finding(struct upload *u, const char *word)
{
	size_t n;
	const char *const *list = bak_findings(u, u->bak, &n);
	bool found = false;

	for (size_t i = 0; i < n; i++)
		found = found || strcmp(list[i], word) == 0;
	talloc_free((void *)(uintptr_t)list);
	return found;
}

static bool
judge(struct upload *u)
{
	const char *what;

	if (u->reason != NULL || u->judged)
		return u->reason == NULL;
	if (bak_container(u->bak) == BAK_OTHER) {
		what = bak_other_what(u->bak);
		u->judged = true;
		if (u->opened.backup_name)
			return refuse(u, "this is no SQL Server backup but %s%s", what == NULL ? "something else" : what, "");
	}
	if (bak_n_sets(u->bak) == 0)
		return true;
	u->judged = true;
	if (!u->policy->allow_encrypted && has_finding(u, "encrypted"))
		return refuse(u, "the backup is encrypted; switch backup encryption off, take it again and send that%s%s", "", "");
	if (u->policy->newest_version > 0 && bak_set(u->bak, 0)->database_version > u->policy->newest_version)
		return refuse(u, "the backup comes from a newer SQL Server than the target, which cannot restore it; the migration needs a newer "
		              "cluster%s%s", "", "");
	return true;
}

/* ---- feeding ------------------------------------------------------------------------------------------------------ */

static void
feed(struct upload *u, const void *mem, size_t len)
{
	struct err err = { 0 };

	EVP_DigestUpdate(u->digest, mem, len);
	bak_feed(u->bak, mem, len, &err);
	u->fed += len;
	judge(u);
}

bool
upload_catch_up(struct upload *u)
{
	uint64_t until = u->fed + SLICE;

	while (u->fd >= 0 && u->fed < u->solid && u->fed < until) {
		size_t want = u->solid - u->fed < CHUNK ? (size_t)(u->solid - u->fed) : CHUNK;
		ssize_t n = pread(u->fd, u->chunk, want, (off_t)u->fed);

		if (n <= 0) {
			u->failed = true;
			return false;
		}
		feed(u, u->chunk, (size_t)n);
	}
	return u->fd >= 0 && u->fed < u->solid;
}

/* ---- writing --------------------------------------------------------------------------------------------------------- */

/* Write-back runs while bytes arrive, so that the fsync at CLOSE has little left to do. */
static void
start_write_back(struct upload *u)
{
	if (u->dirty < DIRTY_MAX || u->solid <= u->flushed)
		return;
	/* The part before is waited for, which keeps at most two such parts dirty. */
	sync_file_range(u->fd, 0, (off_t)u->flushed, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
	sync_file_range(u->fd, (off_t)u->flushed, (off_t)(u->solid - u->flushed), SYNC_FILE_RANGE_WRITE);
	u->flushed = u->solid;
	u->dirty = 0;
}

static bool
write_all(struct upload *u, uint64_t offset, const uint8_t *mem, size_t len, struct err *err)
{
	while (len > 0) {
		ssize_t n = pwrite(u->fd, mem, len, (off_t)offset);

		if (n <= 0) {
			u->failed = true;
			return err_errno(err, n < 0 ? errno : EIO, "%s could not be written", u->opened.name);
		}
		mem += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

bool
upload_write(struct upload *u, uint64_t offset, const void *mem, size_t len, struct err *err)
{
	if (u->reason != NULL)
		return err_set(err, ERR_REFUSED, 0, "%s", u->reason);
	if (offset > u->opened.limit || len > u->opened.limit - offset) {
		u->reason = talloc_asprintf(u, "%s: over the quota of this migration; ask for a larger one", u->opened.name);
		return err_set(err, ERR_REFUSED, 0, "%s", u->reason);
	}
	if (!write_all(u, offset, mem, len, err))
		return false;
	if (!add_range(u, offset, offset + len)) {
		u->reason = talloc_asprintf(u, "%s: too many pieces out of order", u->opened.name);
		return err_set(err, ERR_REFUSED, 0, "%s", u->reason);
	}
	u->dirty += len;
	start_write_back(u);
	if (offset < u->fed)
		begin_feed(u); /* what was digested has changed: read again from the start */
	else if (offset == u->fed)
		feed(u, mem, len);
	else
		upload_catch_up(u);
	return u->reason == NULL ? true : err_set(err, ERR_REFUSED, 0, "%s", u->reason);
}

bool
upload_truncate(struct upload *u, uint64_t size, struct err *err)
{
	if (u->reason != NULL)
		return err_set(err, ERR_REFUSED, 0, "%s", u->reason);
	if (size > upload_size(u))
		return true; /* a size said in advance: the bytes decide */
	if (ftruncate(u->fd, (off_t)size) != 0)
		return err_errno(err, errno, "%s", u->opened.name);
	while (u->n_ahead > 0 && u->ahead[u->n_ahead - 1].from >= size)
		u->n_ahead--;
	if (u->n_ahead > 0 && u->ahead[u->n_ahead - 1].to > size)
		u->ahead[u->n_ahead - 1].to = size;
	if (size < u->solid)
		u->solid = size;
	if (size < u->flushed)
		u->flushed = size;
	if (size < u->fed)
		begin_feed(u);
	return true;
}

bool
upload_sync(struct upload *u, struct err *err)
{
	if (u->reason != NULL)
		return err_set(err, ERR_REFUSED, 0, "%s", u->reason);
	return fsync(u->fd) == 0 ? true : err_errno(err, errno, "%s", u->opened.name);
}

const char *
upload_findings(struct upload *u, TALLOC_CTX *mem)
{
	size_t n;
	const char *const *list = bak_findings(mem, u->bak, &n);
	char *s = talloc_strdup(mem, "");

	for (size_t i = 0; i < n; i++)
		s = talloc_asprintf_append(s, "%s%s", i == 0 ? "" : ",", list[i]);
	return s;
}

/* ---- the end -------------------------------------------------------------------------------------------------------------- */

static void
finish_digest(struct upload *u, struct upload_end *end)
{
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (u->fed == end->bytes && EVP_DigestFinal_ex(u->digest, hash, &len) == 1)
		text_hex(end->sha256, hash, 32);
}

static bool
decide_manifest(struct upload *u, TALLOC_CTX *mem, struct upload_end *end)
{
	char *text;
	json_t *o = NULL;
	json_error_t why = { .text = "it is too long" };

	if (end->bytes <= MANIFEST_MAX) {
		text = talloc_size(mem, end->bytes + 1);
		if (pread(u->fd, text, end->bytes, 0) == (ssize_t)end->bytes)
			o = json_loadb(text, end->bytes, JSON_REJECT_DUPLICATES, &why);
	}
	if (json_is_true(json_object_get(o, "end")) && json_is_string(json_object_get(o, "schema")) &&
	    strcmp(json_string_value(json_object_get(o, "schema")), "landfall.manifest/1") == 0) {
		char *dump = json_dumps(o, JSON_COMPACT);

		end->facts = talloc_strdup(mem, dump);
		free(dump);
		end->verdict = TALK_MANIFEST;
	} else {
		end->verdict = TALK_PARTIAL;
		end->reason = talloc_asprintf(mem, "the manifest is not whole: %s", o == NULL ? why.text : "it does not end with \"end\": true");
	}
	json_decref(o);
	return true;
}

static void
decide_backup(struct upload *u, TALLOC_CTX *mem, struct upload_end *end)
{
	json_t *o = bak_json(u->opened.name, u->bak);
	char *dump = json_dumps(o, JSON_COMPACT);
	/* Damaged pages are said and accepted: whether they matter is decided where the chain is known. */
	bool whole = bak_end(u->bak) == BAK_END_WHOLE ||
	             (bak_end(u->bak) == BAK_END_DAMAGED && bak_n_sets(u->bak) > 0 && bak_set(u->bak, bak_n_sets(u->bak) - 1)->final);

	end->facts = talloc_strdup(mem, dump);
	free(dump);
	json_decref(o);
	end->verdict = whole ? TALK_WHOLE : TALK_PARTIAL;
	if (!whole)
		end->reason = talloc_strdup(mem, bak_why(u->bak) == NULL ? "it does not end as a backup does" : bak_why(u->bak));
}

static void
decide(struct upload *u, TALLOC_CTX *mem, bool is_closed, struct upload_end *end)
{
	bool is_backup;

	bak_finish(u->bak);
	is_backup = bak_container(u->bak) == BAK_MTF || bak_container(u->bak) == BAK_MSSQLBAK;
	if (u->reason != NULL) {
		end->verdict = TALK_REFUSED;
		end->reason = talloc_strdup(mem, u->reason);
	} else if (!is_closed) {
		end->verdict = TALK_PARTIAL;
		end->reason = talloc_strdup(mem, "the connection ended before the file was closed");
		if (is_backup) {
			struct upload_end facts = { 0 };

			decide_backup(u, mem, &facts);
			end->facts = facts.facts;
		}
	} else if (strcmp(u->opened.name, "manifest.json") == 0) {
		decide_manifest(u, mem, end);
	} else if (is_backup) {
		decide_backup(u, mem, end);
	} else if (u->opened.backup_name && end->bytes == 0) {
		end->verdict = TALK_PARTIAL;
		end->reason = "nothing has arrived yet";
	} else if (u->opened.backup_name) {
		const char *what = bak_other_what(u->bak);

		end->verdict = TALK_REFUSED;
		end->reason = talloc_asprintf(mem, "%s: this is no SQL Server backup but %s", u->opened.name, what == NULL ? "something else" : what);
	} else {
		end->verdict = TALK_OTHER;
	}
}

bool
upload_close(struct upload *u, TALLOC_CTX *mem, bool is_closed, struct upload_end *end, struct err *err)
{
	bool holes = u->n_ahead > 0;

	*end = (struct upload_end){ .facts = talloc_strdup(mem, "{}"), .reason = "" };
	if (u->fd < 0) {
		end->verdict = TALK_PARTIAL;
		end->reason = talloc_strdup(mem, u->reason);
		end->bytes = u->solid;
		return true;
	}
	/* A hole at the end of an interrupted upload is cut off, so that the size tells a client where to resume. */
	if (holes && ftruncate(u->fd, (off_t)u->solid) != 0)
		return err_errno(err, errno, "%s", u->opened.name);
	u->n_ahead = 0;
	end->bytes = u->solid;
	if (fsync(u->fd) != 0)
		return err_errno(err, errno, "%s could not be made durable", u->opened.name);
	while (u->reason == NULL && upload_catch_up(u))
		;
	if (u->failed)
		return err_set(err, ERR_AGAIN, 0, "%s could not be read back from disk", u->opened.name);
	finish_digest(u, end);
	decide(u, mem, is_closed && !holes, end);
	if (holes && end->verdict == TALK_PARTIAL && is_closed)
		end->reason = talloc_strdup(mem, "a piece in the middle is missing; resume from the size shown");
	close(u->fd);
	u->fd = -1;
	return true;
}

bool
upload_examine(int fd, TALLOC_CTX *mem, const struct talk_opened *opened, const struct talk_policy *policy, struct upload_end *end,
               struct err *err)
{
	struct talk_opened o = *opened;
	off_t size = lseek(fd, 0, SEEK_END);
	struct upload *u;
	bool good;

	o.size = size < 0 ? 0 : (uint64_t)size;
	u = upload_new(mem, fd, &o, policy);
	good = upload_close(u, mem, true, end, err);
	talloc_free(u);
	return good;
}
