#include "receiver/compact.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "common/text.h"

enum { SUM = 16 };

/* ---- lines ----------------------------------------------------------------------------------------------------- */

static void
sum_of(const char *text, size_t len, char out[SUM + 1])
{
	uint8_t hash[EVP_MAX_MD_SIZE];

	EVP_Digest(text, len, hash, NULL, EVP_sha256(), NULL);
	text_hex(out, hash, SUM / 2);
}

char *
line_make(TALLOC_CTX *parent, json_t *record, uint64_t n)
{
	char sum[SUM + 1], *text, *line;

	json_object_set_new(record, "n", json_integer((json_int_t)n));
	text = json_dumps(record, JSON_COMPACT);
	sum_of(text, strlen(text), sum);
	line = talloc_asprintf(parent, "%s %s\n", sum, text);
	free(text);
	return line;
}

json_t *
line_read(const char *line, size_t len)
{
	char sum[SUM + 1];

	if (len <= SUM + 2 || line[len - 1] != '\n')
		return NULL;
	sum_of(line + SUM + 1, len - SUM - 2, sum);
	return memcmp(sum, line, SUM) == 0 ? json_loadb(line + SUM + 1, len - SUM - 2, 0, NULL) : NULL;
}

/* ---- what records are about ---------------------------------------------------------------------------------------- */

/* A file or folder, and the last record that says what it is. There may be very many: a digest stands for the name. */
struct subject { uint8_t id[32]; uint64_t n; bool has_ended; };

static int
by_id(const void *a, const void *b)
{
	return memcmp(((const struct subject *)a)->id, ((const struct subject *)b)->id, sizeof(((const struct subject *)a)->id));
}

static const char *
text(const json_t *record, const char *key)
{
	const char *s = json_string_value(json_object_get(record, key));

	return s == NULL ? "" : s;
}

static const struct kind { const char *t, *by; bool is_told; } kinds[] = {
	{ "file", "key", true }, { "mkdir", "path", false }, { "rmdir", "path", false },
};

/* NULL: it is not known here, so it is kept. */
static const struct kind *
kind_of(const json_t *record)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(text(record, "t"), kinds[i].t) == 0)
			return &kinds[i];
	return NULL;
}

static void
subject_of(const struct kind *kind, const json_t *record, uint8_t id[32])
{
	char *name = talloc_asprintf(NULL, "%s %s %s", kind->by, text(record, "m"), text(record, kind->by));

	EVP_Digest(name, strlen(name), id, NULL, EVP_sha256(), NULL);
	talloc_free(name);
}

static bool
is_end(const json_t *record)
{
	return strcmp(text(record, "t"), "rmdir") == 0 || strcmp(text(record, "state"), "gone") == 0;
}

/* ---- two readings ----------------------------------------------------------------------------------------------------- */

struct work {
	void *subjects;          /* a tree */
	uint64_t told, last;
	off_t upto, written;
	FILE *out;
	const atomic_bool *cancelled;
};

typedef bool taker(struct work *w, const json_t *record, const char *line, size_t len, struct err *err);

static uint64_t
number_of(const json_t *record)
{
	return (uint64_t)json_integer_value(json_object_get(record, "n"));
}

static bool
read_all(struct work *w, const char *path, taker *take, struct err *err)
{
	FILE *in = fopen(path, "re");
	bool good = in != NULL || err_errno(err, errno, "%s", path);
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	for (off_t at = 0; good && at < w->upto; at += n) {
		json_t *record = (n = getline(&line, &room, in)) > 0 ? line_read(line, (size_t)n) : NULL;

		if (record == NULL)
			good = err_set(err, ERR_BROKEN, 0, "%s: its line at byte %lld is spoilt", path, (long long)at);
		else if (atomic_load(w->cancelled))
			good = err_set(err, ERR_AGAIN, 0, "the program ends");
		else
			good = take(w, record, line, (size_t)n, err);
		json_decref(record);
	}
	free(line);
	if (in != NULL)
		fclose(in);
	return good;
}

/* First: the last record of each. */
static bool
learn(struct work *w, const json_t *record, const char *line, size_t len, struct err *err)
{
	const struct kind *kind = kind_of(record);
	struct subject *s, *const *found;

	(void)line;
	(void)len;
	w->last = number_of(record);
	if (kind == NULL)
		return true;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return err_set(err, ERR_AGAIN, 0, "no memory");
	subject_of(kind, record, s->id);
	found = tsearch(s, &w->subjects, by_id);
	if (found == NULL || *found != s)
		free(s);
	if (found == NULL)
		return err_set(err, ERR_AGAIN, 0, "no memory");
	(*found)->n = w->last;
	(*found)->has_ended = is_end(record);
	return true;
}

static bool
is_needed(const struct work *w, const json_t *record)
{
	const struct kind *kind = kind_of(record);
	struct subject like = { .n = 0 }, *const *found;
	uint64_t n = number_of(record);

	/* The last of all keeps the numbers going on. */
	if (kind == NULL || n == w->last || (kind->is_told && n > w->told))
		return true;
	subject_of(kind, record, like.id);
	found = tfind(&like, &w->subjects, by_id);
	return found != NULL && (*found)->n == n && !(*found)->has_ended;
}

/* Then: those that are needed. Ends when it is more than would be worth it. */
static bool
copy(struct work *w, const json_t *record, const char *line, size_t len, struct err *err)
{
	if (w->written > w->upto / COMPACT_WORTH || !is_needed(w, record))
		return true;
	w->written += (off_t)len;
	return fwrite(line, 1, len, w->out) == len || err_errno(err, errno, "the fresh journal");
}

static bool
write_fresh(struct work *w, const char *path, const char *fresh, struct compacted *out, struct err *err)
{
	int fd = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640), copied;
	bool good;

	if (fd < 0)
		return err_errno(err, errno, "%s", fresh);
	copied = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	w->out = copied < 0 ? NULL : fdopen(copied, "w");
	/* What was removed stays away: after this nobody knows that it was ever there. */
	good = (w->out != NULL && syncfs(fd) == 0) || err_errno(err, errno, "%s", fresh);
	good = good && read_all(w, path, copy, err);
	if (w->out != NULL && fclose(w->out) != 0 && good)
		good = err_errno(err, errno, "%s", fresh);
	if (good && w->written <= w->upto / COMPACT_WORTH) {
		if (fsync(fd) == 0) {
			*out = (struct compacted){ fd, w->written };
			return true;
		}
		good = err_errno(err, errno, "%s", fresh);
	}
	close(fd);
	unlink(fresh);
	return good;
}

bool
compact(const char *path, off_t upto, uint64_t told, const char *fresh, const atomic_bool *cancelled, struct compacted *out, struct err *err)
{
	struct work w = { .told = told, .upto = upto, .cancelled = cancelled };
	bool good;

	*out = (struct compacted){ -1, 0 };
	good = read_all(&w, path, learn, err) && write_fresh(&w, path, fresh, out, err);
	tdestroy(w.subjects, free);
	return good;
}
