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

static unsigned le16(const uint8_t *p) { return (unsigned)p[0] | (unsigned)p[1] << 8; }
static uint64_t le64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }

void
put_le(uint8_t *p, uint64_t v, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* The words up to at, XORed, stand at at. */
static void
seal(uint8_t *m, size_t at)
{
	unsigned x = 0;

	for (size_t i = 0; i < at; i += 2)
		x ^= le16(m + i);
	put_le(m + at, x, 2);
}
void seal_block(uint8_t *m) { seal(m, 50); }
void seal_stream(uint8_t *m) { seal(m, 20); }

void
seal_record(uint8_t *m)
{
	size_t len = le16(m + 2);
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 4) {
		uint32_t w = 0;

		memcpy(&w, m + 28 + i, len - i < 4 ? len - i : 4);
		sum = (sum << 1 | sum >> 31) ^ w;
	}
	put_le(m + 24, sum, 4);
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
file_of_path(TALLOC_CTX *mem, const char *path)
{
	struct backup_file f = load(mem, path, "made");

	unlink(path);
	return f;
}

struct backup_file
file_of_sample(TALLOC_CTX *mem, const struct backup_sample *sample)
{
	char *path = temporary(mem, "sample");
	struct err err = { 0 };

	if (!backup_sample_write(mem, path, sample, &err))
		fail_msg("%s", err.text);
	return file_of_path(mem, path);
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
file_of_two(TALLOC_CTX *mem, const struct backup_file *a, const struct backup_file *b)
{
	enum { SPARE = 1024 }; /* the map gets longer: its padding gives what is too much for it a place */
	TALLOC_CTX *once = talloc_new(mem);
	size_t n_a, n_b;
	struct part *in_a = parts_of(once, a, &n_a), *in_b = parts_of(once, b, &n_b);
	const struct part *set = part_of(in_b, n_b, "SSET", 0), *map = part_of(in_b, n_b, "TSMP", 0), *first = part_of(in_a, n_a, "TSMP", 0);
	const struct part *pad = map + 1;
	size_t begin = a->len, moved = begin - set->at, grown = first->len - 8;
	size_t now = (map->data + map->len + grown + 3) / 4 * 4;
	struct backup_file f = { "two sets", talloc_zero_size(mem, a->len + b->len + SPARE), 0 };
	uint8_t *m = f.mem;

	memcpy(m, a->mem, begin);
	memcpy(m + begin, b->mem + set->at, map->data - set->at);
	put_le(m + begin + 0x3E, 2, 2);
	put_le(m + begin + 0x50, begin, 8);
	seal_block(m + begin);
	/* The map of both: that of the first set, then the entries of the second. */
	memcpy(m + moved + map->data, a->mem + first->data, first->len);
	memcpy(m + moved + map->data + first->len, b->mem + map->data + 8, map->len - 8);
	put_le(m + moved + map->data + 4, 2, 2);
	put_le(m + moved + map->data + first->len + 12, begin, 8);
	put_le(m + moved + map->at + 8, map->len + grown, 8);
	seal_stream(m + moved + map->at);
	memcpy(m + moved + now, b->mem + pad->at, 22);
	put_le(m + moved + now + 8, pad->len + SPARE - (now - pad->at), 8);
	seal_stream(m + moved + now);
	memcpy(m + moved + pad->data + pad->len + SPARE, b->mem + pad->data + pad->len, b->len - pad->data - pad->len);
	f.len = moved + b->len + SPARE;
	talloc_free(once);
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

bool is_plain(const struct backup_file *f) { return f->mem[0] == 'T'; }

struct part *
records_of(TALLOC_CTX *mem, const struct backup_file *f, size_t *n)
{
	struct part *parts = NULL;

	*n = 0;
	for (size_t at = 0x1E0; at < f->len;) {
		const uint8_t *m = f->mem + at;
		bool mark = m[0] == 'S', packed = m[0] == 0x21;
		size_t head = mark ? 52 : packed ? 28 : 24;

		parts = add(mem, parts, n, f->mem, at, mark, head, mark ? le16(m + 8) - head : m[0] == 0x2C ? le16(m + head + 8) | (size_t)le16(m + head + 10) << 16 : le16(m + 2));
		if (!mark)
			memcpy(parts[*n - 1].id, packed ? "data" : m[0] == 0x2C ? "indx" : "fill", 4);
		at += head + parts[*n - 1].len;
	}
	return parts;
}

/* A mark stands behind the media header; then each set has two. */
size_t *
ends_of_sets(TALLOC_CTX *mem, const struct backup_file *f, size_t *n)
{
	size_t n_parts, marks = 0, *ends = talloc_array(mem, size_t, 1);
	struct part *parts = is_plain(f) ? parts_of(mem, f, &n_parts) : records_of(mem, f, &n_parts);

	*n = 0;
	for (size_t i = 0; i < n_parts; i++)
		if (strcmp(parts[i].id, "SFMB") == 0 && marks++ > 0 && marks % 2 == 1) {
			ends = talloc_realloc(mem, ends, size_t, *n + 1);
			ends[(*n)++] = parts[i].data + parts[i].len;
		}
	return ends;
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
names_byte(const char *words, uint64_t n)
{
	char where[40];
	int len = snprintf(where, sizeof(where), "byte %llu", (unsigned long long)n);

	for (const char *p = words; (p = strstr(p, where)) != NULL; p++)
		if (p[len] < '0' || p[len] > '9')
			return true;
	return false;
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
