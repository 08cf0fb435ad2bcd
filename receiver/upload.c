#include "receiver/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "common/bak.h"
#include "common/bak_json.h"
#include "common/text.h"
#include "receiver/sidecar.h"

enum { RANGES_MAX = 4096, SLICE = 4 * 1024 * 1024, CHUNK = 256 * 1024, MANIFEST_MAX = 16 * 1024 * 1024 };
/* Two such parts may be dirty. */
#define PART_MAX (UINT64_C(32) * 1024 * 1024)

struct range { uint64_t from, to; };

struct upload {
	struct talk_opened opened;
	const char *shown;       /* its name, fit for a terminal */
	const struct talk_policy *policy;
	int fd;
	uint64_t solid;          /* everything before is written */
	struct range *ahead;     /* written beyond solid, in order, apart from each other */
	size_t n_ahead;
	uint64_t low;            /* the lowest byte that was written; beneath it everything was durable before */
	uint64_t fed;            /* bytes that digest and reader have seen */
	bool writes_over;        /* the last WRITE changed what was there; front is its end */
	uint64_t front;
	struct range part, before; /* where the dirty bytes lie; what is on its way to disk */
	uint64_t dirty;
	bool durable;            /* nothing was changed since the last fsync */
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
	u->shown = text_escaped(u, opened->name);
	u->policy = policy;
	u->fd = fd;
	u->solid = opened->size;
	u->low = UINT64_MAX;
	u->digest = EVP_MD_CTX_new();
	u->chunk = talloc_size(u, CHUNK);
	talloc_set_destructor(u, free_upload);
	begin_feed(u);
	return u;
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

/*
 * The disk has said that something did not get there. It says so once per descriptor, not what it was, and a later
 * fsync succeeds: nothing that was written through this one counts any more.
 */
static void
distrust(struct upload *u)
{
	u->failed = true;
	u->durable = false;
	u->solid = u->low < u->solid ? u->low : u->solid;
	u->n_ahead = 0;
	if (ftruncate(u->fd, (off_t)u->solid) != 0)
		u->solid = 0;
}

void
upload_revoke(struct upload *u, const char *reason)
{
	u->reason = talloc_strdup(u, reason);
	if (u->fd >= 0) {
		if (fdatasync(u->fd) != 0)
			distrust(u);
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

static void
refuse(struct upload *u, const char *why)
{
	u->reason = talloc_asprintf(u, "%s: %s", u->shown, why);
}

static const char *
no_backup(TALLOC_CTX *mem, const struct upload *u)
{
	const char *what = bak_other_what(u->bak);

	return talloc_asprintf(mem, "this is no SQL Server backup but %s", what == NULL ? "something else" : what);
}

static bool
has_finding(struct upload *u, const char *word)
{
	size_t n;
	const char *const *list = bak_findings(u, u->bak, u->policy->newest_version, &n);
	bool found = false;

	for (size_t i = 0; i < n; i++)
		found = found || strcmp(list[i], word) == 0;
	talloc_free((void *)(uintptr_t)list);
	return found;
}

static void
judge(struct upload *u)
{
	if (u->reason != NULL || u->judged)
		return;
	if (bak_container(u->bak) == BAK_OTHER) {
		u->judged = true;
		if (u->opened.backup_name)
			refuse(u, no_backup(u, u));
		return;
	}
	/* A backup that cannot be read has ended as far as the reader is concerned, and has no sets. */
	if (bak_n_sets(u->bak) == 0 && bak_end(u->bak) != BAK_END_OTHER)
		return;
	u->judged = true;
	if (!u->policy->allow_encrypted && has_finding(u, "encrypted"))
		refuse(u, "the backup is encrypted; switch backup encryption off, take it again and send that");
	else if (has_finding(u, "newer-than-target"))
		refuse(u, "the backup comes from a newer SQL Server than the target, which cannot restore it; the migration needs a newer cluster");
}

/* ---- feeding ------------------------------------------------------------------------------------------------------ */

static void
feed(struct upload *u, const void *mem, size_t len)
{
	struct err err = { 0 };

	u->fed += len;
#ifdef UPLOAD_UNCHECKED /* what `make bench` measures the price of all this against */
	len = 0;
#endif
	if (len > 0) {
		EVP_DigestUpdate(u->digest, mem, len);
		bak_feed(u->bak, mem, len, &err);
	}
	judge(u);
}

bool
upload_catch_up(struct upload *u, bool to_end)
{
	uint64_t last = !to_end && u->writes_over && u->front < u->solid ? u->front : u->solid;
	uint64_t until = last > u->fed && last - u->fed > SLICE ? u->fed + SLICE : last;

	if (u->fd < 0 || u->failed || u->reason != NULL)
		return false;
	while (u->fed < until) {
		size_t want = until - u->fed < CHUNK ? (size_t)(until - u->fed) : CHUNK;
		ssize_t n = pread(u->fd, u->chunk, want, (off_t)u->fed);

		if (n <= 0) {
			u->failed = true;
			return false;
		}
		feed(u, u->chunk, (size_t)n);
	}
	return u->fed < last;
}

/* ---- writing --------------------------------------------------------------------------------------------------------- */

/* Write-back runs while bytes arrive, so that the fsync at CLOSE has little left to do. */
static bool
start_write_back(struct upload *u, uint64_t from, uint64_t to)
{
	bool good = true;

	if (u->dirty == 0)
		u->part = (struct range){ from, to };
	u->part.from = from < u->part.from ? from : u->part.from;
	u->part.to = to > u->part.to ? to : u->part.to;
	u->dirty += to - from;
	if (u->dirty < PART_MAX)
		return true;
	/* The part before is waited for, which is what holds a client back that is faster than the disk. */
	if (u->before.to > 0)
		good = sync_file_range(u->fd, (off_t)u->before.from, (off_t)(u->before.to - u->before.from),
		                       SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) == 0 ||
		       errno == ENOSYS || errno == ESPIPE;
	if (!good)
		distrust(u);
	sync_file_range(u->fd, (off_t)u->part.from, (off_t)(u->part.to - u->part.from), SYNC_FILE_RANGE_WRITE);
	u->before = u->part;
	u->dirty = 0;
	return good;
}

static bool
write_all(struct upload *u, uint64_t offset, const uint8_t *mem, size_t len, struct err *err)
{
	while (len > 0) {
		ssize_t n = pwrite(u->fd, mem, len, (off_t)offset);

		if (n <= 0) {
			u->failed = true;
			return err_errno(err, n < 0 ? errno : EIO, "%s could not be written", u->shown);
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
	bool over = offset < u->solid;

	if (u->reason == NULL && (offset > u->opened.limit || len > u->opened.limit - offset))
		refuse(u, "over the quota of this migration; ask for a larger one");
	if (u->reason != NULL)
		return err_set(err, ERR_REFUSED, 0, "%s", u->reason);
	if (len == 0)
		return true;
	u->durable = false;
	if (!write_all(u, offset, mem, len, err))
		return false;
	u->low = offset < u->low ? offset : u->low;
	if (!start_write_back(u, offset, offset + len))
		return err_set(err, ERR_AGAIN, 0, "%s could not be written to disk", u->shown);
	if (!add_range(u, offset, offset + len))
		return err_set(err, ERR_REFUSED, 0, "%s: too many pieces out of order", u->shown);
	u->writes_over = over;
	u->front = offset + len;
	if (offset < u->fed)
		begin_feed(u); /* what was digested has changed: read again from the start */
	if (offset == u->fed)
		feed(u, mem, len);
	else
		upload_catch_up(u, false);
	return u->reason == NULL ? true : err_set(err, ERR_REFUSED, 0, "%s", u->reason);
}

bool
upload_truncate(struct upload *u, uint64_t size, struct err *err)
{
	if (u->reason != NULL)
		return err_set(err, ERR_REFUSED, 0, "%s", u->reason);
	if (size > upload_size(u))
		return true; /* a size said in advance: the bytes decide */
	u->durable = false;
	if (ftruncate(u->fd, (off_t)size) != 0)
		return err_errno(err, errno, "%s", u->shown);
	while (u->n_ahead > 0 && u->ahead[u->n_ahead - 1].from >= size)
		u->n_ahead--;
	if (u->n_ahead > 0 && u->ahead[u->n_ahead - 1].to > size)
		u->ahead[u->n_ahead - 1].to = size;
	if (size < u->solid)
		u->solid = size;
	if (size < u->fed)
		begin_feed(u);
	return true;
}

static bool
make_durable(struct upload *u, struct err *err)
{
	/* sftp -f and others ask for it just before CLOSE; the second time costs the disk a turn all the same. */
	if (u->durable || fsync(u->fd) == 0)
		return u->durable = true;
	err_errno(err, errno, "%s could not be made durable", u->shown);
	distrust(u);
	return false;
}

bool
upload_sync(struct upload *u, struct err *err)
{
	if (u->reason != NULL)
		return err_set(err, ERR_REFUSED, 0, "%s", u->reason);
	return make_durable(u, err);
}

const char *
upload_findings(struct upload *u, TALLOC_CTX *mem)
{
	size_t n;
	const char *const *list = bak_findings(mem, u->bak, u->policy->newest_version, &n);
	char *s = talloc_strdup(mem, "");

	for (size_t i = 0; i < n; i++)
		s = talloc_asprintf_append(s, "%s%s", i == 0 ? "" : ",", list[i]);
	return s;
}

uint64_t
upload_expected(const struct upload *u)
{
	const struct bak_set *set = bak_n_sets(u->bak) == 1 ? bak_set(u->bak, 0) : NULL;

	/* Of logs the head says far too little (real files of 2016: 5 kB of 75). */
	if (set == NULL || bak_container(u->bak) != BAK_MTF || (set->type != BAK_FULL && set->type != BAK_DIFFERENTIAL))
		return 0;
	return set->backup_size / (bak_media(u->bak)->family_count == 0 ? 1 : bak_media(u->bak)->family_count);
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

static void
decide_manifest(struct upload *u, TALLOC_CTX *mem, struct upload_end *end)
{
	char *text, *dump;
	json_t *o = NULL;
	json_error_t why = { .text = "it is too long" };
	const char *schema;

	if (end->bytes <= MANIFEST_MAX) {
		text = talloc_size(mem, end->bytes + 1);
		if (pread(u->fd, text, end->bytes, 0) == (ssize_t)end->bytes)
			o = json_loadb(text, end->bytes, JSON_REJECT_DUPLICATES, &why);
	}
	schema = json_string_value(json_object_get(o, "schema"));
	if (json_is_true(json_object_get(o, "end")) && schema != NULL && strcmp(schema, "landfall.manifest/1") == 0) {
		dump = json_dumps(o, JSON_COMPACT);
		end->facts = talloc_strdup(mem, dump);
		free(dump);
		end->verdict = TALK_MANIFEST;
	} else {
		end->verdict = TALK_PARTIAL;
		end->reason = talloc_asprintf(mem, "the manifest is not whole: %s",
		                              o == NULL ? why.text : "it has no \"schema\": \"landfall.manifest/1\" or does not end with \"end\": true");
	}
	json_decref(o);
}

/* A sidecar's digest, as {"promise": HEX}. */
static void
take_promise(struct upload *u, TALLOC_CTX *mem, struct upload_end *end)
{
	size_t digits = sidecar_digits(u->opened.name);
	char text[SIDECAR_BYTES_MAX], hex[SIDECAR_HEX_MAX + 1];

	if (digits > 0 && end->bytes <= sizeof(text) && pread(u->fd, text, end->bytes, 0) == (ssize_t)end->bytes &&
	    sidecar_parse(text, end->bytes, digits, hex))
		end->facts = talloc_asprintf(mem, "{\"promise\":\"%s\"}", hex);
}

static void
take_facts(struct upload *u, TALLOC_CTX *mem, struct upload_end *end)
{
	json_t *o = bak_json(u->opened.name, u->bak, u->policy->newest_version);
	char *dump = json_dumps(o, JSON_COMPACT);

	if (dump != NULL)
		end->facts = talloc_strdup(mem, dump);
	free(dump);
	json_decref(o);
}

static void
decide_backup(struct upload *u, TALLOC_CTX *mem, struct upload_end *end)
{
	/* Damaged pages are said and accepted: whether they matter is decided where the chain is known. */
	bool whole = bak_ends_properly(u->bak);

	end->verdict = whole ? TALK_WHOLE : TALK_PARTIAL;
	if (!whole)
		end->reason = talloc_strdup(mem, bak_why(u->bak) == NULL ? "it does not end as a backup does" : bak_why(u->bak));
}

/*
 * *end comes with verdict TALK_PARTIAL and no reason.
 *
 * Not closed: the connection died, perhaps behind the last byte. A backup says itself where it ends: then the CLOSE would
 * add nothing, and the client could not go on with it (OpenSSH's reput: "same size or larger"). No other file says that.
 * Nor does a backup that was being written over an older one (scp opens without TRUNC): its end may be the older one's;
 * and who wrote nothing leaves it what it was.
 */
static void
decide(struct upload *u, TALLOC_CTX *mem, const char *broken, bool is_closed, struct upload_end *end)
{
	bool is_backup;

	bak_finish(u->bak);
	is_backup = bak_container(u->bak) == BAK_MTF || bak_container(u->bak) == BAK_MSSQLBAK;
	if (broken == NULL && !is_closed && !(is_backup && bak_ends_properly(u->bak) && u->low != UINT64_MAX && u->low >= u->opened.size))
		broken = "the connection ended before the file was closed";
	/* Of what was refused too: its findings are shown. */
	if (is_backup || u->reason != NULL)
		take_facts(u, mem, end);
	if (u->reason != NULL) {
		end->verdict = TALK_REFUSED;
		end->reason = talloc_strdup(mem, u->reason);
	} else if (broken != NULL) {
		end->reason = talloc_strdup(mem, broken);
	} else if (strcmp(u->opened.name, "manifest.json") == 0) {
		decide_manifest(u, mem, end);
	} else if (is_backup) {
		decide_backup(u, mem, end);
	} else if (u->opened.backup_name && end->bytes == 0) {
		end->reason = "nothing has arrived yet";
	} else if (u->opened.backup_name) {
		/* Too short to be refused while it was open. */
		refuse(u, no_backup(mem, u));
		take_facts(u, mem, end);
		end->verdict = TALK_REFUSED;
		end->reason = talloc_strdup(mem, u->reason);
	} else {
		end->verdict = TALK_OTHER;
		take_promise(u, mem, end);
	}
}

/* Without the descriptor's end, which the caller sees to. */
static bool
settle(struct upload *u, TALLOC_CTX *mem, const char *broken, bool is_closed, struct upload_end *end, struct err *err)
{
	/* What lies beyond a hole is cut off, so that the size tells a client where to resume. */
	if (u->n_ahead > 0) {
		u->durable = false;
		if (ftruncate(u->fd, (off_t)u->solid) != 0)
			return err_errno(err, errno, "%s", u->shown);
		u->n_ahead = 0;
		if (broken == NULL)
			broken = "a piece in the middle is missing; resume from the size shown";
	}
	if (!make_durable(u, err))
		return false;
	while (broken == NULL && upload_catch_up(u, true))
		;
	if (u->failed && broken == NULL)
		return err_set(err, ERR_AGAIN, 0, "%s could not be written or read back", u->shown);
	finish_digest(u, end);
	decide(u, mem, broken, is_closed, end);
	return true;
}

bool
upload_close(struct upload *u, TALLOC_CTX *mem, const char *broken, bool is_closed, struct upload_end *end, struct err *err)
{
	bool good = true;

	*end = (struct upload_end){ .verdict = TALK_PARTIAL, .facts = talloc_strdup(mem, "{}"), .reason = "", .bytes = u->solid };
	if (u->fd < 0) {
		end->reason = talloc_strdup(mem, u->reason);
		return true;
	}
	good = settle(u, mem, broken, is_closed, end, err);
	if (!good) {
		end->reason = talloc_strdup(mem, err->text);
		end->bytes = u->solid;
	}
	close(u->fd);
	u->fd = -1;
	return good;
}

bool
upload_md5(int fd, char hex[65])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t *mem = talloc_size(NULL, CHUNK), hash[EVP_MAX_MD_SIZE];
	bool good = EVP_DigestInit_ex(md, EVP_md5(), NULL) == 1;
	unsigned len = 0;
	ssize_t n;

	for (off_t at = 0; good && (n = pread(fd, mem, CHUNK, at)) != 0; at += n)
		good = n > 0 && EVP_DigestUpdate(md, mem, (size_t)n) == 1;
	good = good && EVP_DigestFinal_ex(md, hash, &len) == 1;
	if (good)
		text_hex(hex, hash, len);
	EVP_MD_CTX_free(md);
	talloc_free(mem);
	return good;
}
