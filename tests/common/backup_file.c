#include "tests/common/backup_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <dirent.h>
#include <sys/stat.h>

#include "common/bak_json.h"
#include "tests/standin/mssqlbak_write.h"

unsigned
chance(unsigned below)
{
	static unsigned seed;

	if (seed == 0)
		seed = getenv("SEED") == NULL ? 1 : (unsigned)strtoul(getenv("SEED"), NULL, 10) | 1;
	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % below;
}

bool
is_long(void)
{
	return getenv("LONG") != NULL && getenv("LONG")[0] != '\0';
}

/* ---- where they come from --------------------------------------------------------------------------------- */

static struct backup_file
load(TALLOC_CTX *mem, const char *path, const char *name)
{
	struct backup_file f = { .name = talloc_strdup(mem, name) };
	FILE *in = fopen(path, "rb");
	struct stat st;

	if (in == NULL || stat(path, &st) != 0)
		return f;
	f.len = (size_t)st.st_size;
	f.mem = talloc_size(mem, f.len + 1);
	assert_int_equal(fread(f.mem, 1, f.len, in), f.len);
	fclose(in);
	return f;
}

static char *
temporary(TALLOC_CTX *mem, const char *what)
{
	return talloc_asprintf(mem, "%s/landfall-%s-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", what, (int)getpid());
}

struct backup_file
file_of_sample(TALLOC_CTX *mem, const struct backup_sample *sample)
{
	char *path = temporary(mem, "sample");
	struct backup_file f;
	struct err err = { 0 };

	if (!backup_sample_write(mem, path, sample, &err))
		fail_msg("%s", err.text);
	f = load(mem, path, "made");
	unlink(path);
	return f;
}

struct backup_file
file_packed(TALLOC_CTX *mem, const struct backup_file *plain)
{
	char *path = temporary(mem, "packed");
	FILE *in = fmemopen(plain->mem, plain->len, "rb"), *out = fopen(path, "wb");
	struct backup_file f;
	struct err err = { 0 };

	if (!mssqlbak_write(in, out, &err))
		fail_msg("%s", err.text);
	fclose(in);
	fclose(out);
	f = load(mem, path, "packed");
	unlink(path);
	return f;
}

struct backup_file
file_copy(TALLOC_CTX *mem, const struct backup_file *f)
{
	struct backup_file c = { f->name, talloc_size(mem, f->len + 1), f->len };

	memcpy(c.mem, f->mem, f->len);
	return c;
}

static void
load_folder(TALLOC_CTX *mem, const char *root, const char *under, struct backup_file **files, size_t *n)
{
	char *dir = talloc_asprintf(mem, "%s/%s", root, under);
	struct dirent **list;
	int count = scandir(dir, &list, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		char *name = talloc_asprintf(mem, "%s%s%s", under, under[0] == '\0' ? "" : "/", list[i]->d_name);
		char *path = talloc_asprintf(mem, "%s/%s", root, name);
		struct stat st;

		if (list[i]->d_name[0] != '.' && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
			load_folder(mem, root, name, files, n);
		else if (under[0] != '\0' && list[i]->d_name[0] != '.') { /* what lies beside the folders describes them */
			*files = talloc_realloc(mem, *files, struct backup_file, *n + 1);
			(*files)[(*n)++] = load(mem, path, name);
		}
		free(list[i]);
	}
	if (count >= 0)
		free(list);
}

static const char *
backups(void)
{
	const char *dir = getenv("LANDFALL_BACKUPS");

	return dir != NULL && dir[0] != '\0' ? dir : NULL;
}

struct backup_file *
real_files(TALLOC_CTX *mem, size_t *n)
{
	struct backup_file *files = NULL;

	*n = 0;
	if (backups() != NULL)
		load_folder(mem, backups(), "", &files, n);
	return files;
}

struct backup_file
real_file(TALLOC_CTX *mem, const char *name)
{
	return backups() == NULL ? (struct backup_file){ .name = name } : load(mem, talloc_asprintf(mem, "%s/%s", backups(), name), name);
}

/* ---- its parts ---------------------------------------------------------------------------------------------- */

static unsigned le16(const uint8_t *p) { return (unsigned)p[0] | (unsigned)p[1] << 8; }
static uint64_t le64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }

static struct part *
add(TALLOC_CTX *mem, struct part *parts, size_t *n, const uint8_t *file, size_t at, bool is_block, size_t head, size_t len)
{
	parts = talloc_realloc(mem, parts, struct part, *n + 1);
	parts[*n] = (struct part){ .is_block = is_block, .at = at, .data = at + head, .len = len };
	memcpy(parts[(*n)++].id, file + at, 4);
	return parts;
}

struct part *
parts_of(TALLOC_CTX *mem, const struct backup_file *f, size_t *n)
{
	struct part *parts = NULL;
	size_t at = 0;

	*n = 0;
	while (at + 52 <= f->len) {
		size_t first = le16(f->mem + at + 8);
		bool mark = memcmp(f->mem + at, "SFMB", 4) == 0, last = mark;

		parts = add(mem, parts, n, f->mem, at, true, 52, first - 52);
		at += first;
		while (!last) {
			uint64_t len;

			at = (at + 3) / 4 * 4;
			len = le64(f->mem + at + 8);
			parts = add(mem, parts, n, f->mem, at, false, 22, len);
			last = memcmp(f->mem + at, "SPAD", 4) == 0;
			at += 22 + len;
		}
	}
	assert_int_equal(at, f->len);
	return parts;
}

const struct part *
part_of(const struct part *parts, size_t n, const char *id, size_t nth)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(parts[i].id, id) == 0 && nth-- == 0)
			return &parts[i];
	fail_msg("no part %s", id);
	return NULL;
}

void
seal_block(uint8_t *m)
{
	unsigned x = 0;

	for (int i = 0; i < 50; i += 2)
		x ^= le16(m + i);
	m[50] = (uint8_t)x;
	m[51] = (uint8_t)(x >> 8);
}

/* ---- what the reader says -------------------------------------------------------------------------------------- */

struct bak *
reads(TALLOC_CTX *mem, const struct backup_file *f, size_t piece)
{
	struct bak *b = bak_new(mem, NULL);
	struct err err;

	for (size_t at = 0; at < f->len;) {
		size_t n = piece != 0 ? piece : 1 + chance(chance(4) == 0 ? 100 : 200000);

		n = n > f->len - at ? f->len - at : n;
		bak_feed(b, f->mem + at, n, &err);
		at += n;
	}
	bak_finish(b);
	return b;
}

char *
json_of(TALLOC_CTX *mem, const struct bak *b)
{
	json_t *o = bak_json("x", b, 0);
	char *dump = json_dumps(o, JSON_COMPACT), *text = talloc_strdup(mem, dump);

	free(dump);
	json_decref(o);
	return text;
}

char *
words_of_reader(TALLOC_CTX *mem, const struct bak *b)
{
	char *s = talloc_asprintf(mem, "%s\n", bak_why(b) == NULL ? "" : bak_why(b));
	uint64_t all;
	size_t n;
	const struct bak_damage *d = bak_damage(b, &n, &all);

	for (size_t i = 0; i < n; i++)
		s = talloc_asprintf_append(s, "%s\n", d[i].text);
	return s;
}

bool
has_finding(const struct bak *b, const char *word)
{
	size_t n;
	const char *const *list = bak_findings(NULL, b, 0, &n);
	bool found = false;

	for (size_t i = 0; i < n; i++)
		found = found || strcmp(list[i], word) == 0;
	talloc_free((void *)(uintptr_t)list);
	return found;
}
