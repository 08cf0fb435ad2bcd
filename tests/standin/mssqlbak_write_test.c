#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>
#include <talloc.h>

#include "common/bak.h"
#include "common/bak_json.h"
#include "common/bak_xpress.h"
#include "tests/standin/backup_sample.h"
#include "tests/standin/mssqlbak_write.h"
#include "tests/standin/xpress_write.h"

/* What is packed here is unpacked there: two programs written from one specification, sharing no code. */

static unsigned seed = 7;

static unsigned
chance(unsigned below)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % below;
}

/* ---- contents, from hard to easy ------------------------------------------------------------------------- */

static void noise(uint8_t *p, size_t n) { while (n-- > 0) *p++ = (uint8_t)chance(256); }
static void zeros(uint8_t *p, size_t n) { memset(p, 0, n); }
static void few(uint8_t *p, size_t n) { while (n-- > 0) *p++ = (uint8_t)('a' + chance(3)); }
static void skewed(uint8_t *p, size_t n) { while (n-- > 0) { unsigned r = chance(1u << 15), b = 0; while (r > 0) { r >>= 1; b++; } *p++ = (uint8_t)b; } }

static void
text(uint8_t *p, size_t n)
{
	static const char *const words[] = { "RESTORE ", "DATABASE ", "ticket ", "customer ", "the ", "a ", "log ", "\r\n" };

	for (size_t at = 0; at < n;) {
		const char *w = words[chance(8)];
		size_t len = strlen(w) < n - at ? strlen(w) : n - at;

		memcpy(p + at, w, len);
		at += len;
	}
}

/* A long run, then noise, then the run again: lengths in all three forms, distances up to the farthest. */
static void
runs(uint8_t *p, size_t n)
{
	noise(p, n);
	for (size_t at = 0; at + 600 < n; at += 200 + chance(2000)) {
		size_t len = 1 + chance(500);

		if (at > 0)
			memmove(p + at, p + chance((unsigned)at), len);
		else
			memset(p, 'x', len);
	}
}

static void
what_is_packed_unpacks_to_the_same(void **state)
{
	static void (*const fill[])(uint8_t *, size_t) = { noise, zeros, few, skewed, text, runs };
	static const size_t sizes[] = { 1, 2, 3, 4, 255, 256, 257, 512, 4096, 65024, 65535, 65536 };
	uint8_t *in = malloc(65536), *packed = malloc(XPRESS_WRITE_ROOM), *out = malloc(65536 + XPRESS_SLACK);
	struct xpress x;

	(void)state;
	for (size_t f = 0; f < sizeof(fill) / sizeof(fill[0]); f++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]) * 4; s++) {
			size_t n = s % 4 == 0 ? sizes[s / 4] : 1 + chance(65536), len;

			fill[f](in, n);
			len = xpress_write(in, n, packed);
			if (!xpress_decode(&x, packed, len, out, n))
				fail_msg("content %zu of %zu bytes does not unpack", f, n);
			assert_memory_equal(in, out, n);
			assert_true(x.unread <= 2 && x.marked);
		}
	free(in);
	free(packed);
	free(out);
}

/* ---- whole files --------------------------------------------------------------------------------------------- */

static struct bak *
read_file(TALLOC_CTX *mem, const char *path)
{
	struct bak *b = bak_new(mem, NULL);
	FILE *f = fopen(path, "rb");
	static uint8_t piece[100000];
	struct err err;
	size_t n;

	assert_non_null(f);
	while ((n = fread(piece, 1, 1 + chance(sizeof(piece)), f)) > 0)
		bak_feed(b, piece, n, &err);
	fclose(f);
	bak_finish(b);
	return b;
}

static void
pack(const char *plain, const char *packed)
{
	FILE *in = fopen(plain, "rb"), *out = fopen(packed, "wb");
	struct err err = { 0 };

	assert_non_null(in);
	assert_non_null(out);
	if (!mssqlbak_write(in, out, &err))
		fail_msg("%s: %s", plain, err.text);
	fclose(in);
	fclose(out);
}

/* Everything but what says that it is compressed. */
static char *
said(const struct bak *b)
{
	json_t *o = bak_json("x", b, 0), *set;
	char *text;
	size_t i;

	json_object_del(o, "container");
	json_object_del(o, "records");
	json_object_del(json_object_get(o, "media"), "IsCompressed");
	json_array_foreach(json_object_get(o, "sets"), i, set) {
		json_object_del(set, "Compressed");
		json_object_del(set, "CompressionAlgorithm");
	}
	text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(o);
	return text;
}

static void
check_packed(TALLOC_CTX *mem, const char *plain)
{
	const char *packed = talloc_asprintf(mem, "%s/landfall-packed-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
	struct bak *a = read_file(mem, plain), *b;
	char *x, *y;

	pack(plain, packed);
	b = read_file(mem, packed);
	unlink(packed);
	if (bak_end(b) != BAK_END_WHOLE)
		fail_msg("%s, packed: %s", plain, bak_why(b));
	assert_int_equal(bak_container(b), BAK_MSSQLBAK);
	assert_int_equal(bak_records(b)->indexes, 1);
	x = said(a);
	y = said(b);
	assert_string_equal(x, y);
	free(x);
	free(y);
}

static void
a_packed_backup_says_what_the_plain_one_says(void **state)
{
	static const struct backup_sample samples[] = {
		{ 'D', 64, 9, false, false, true, 1 }, { 'D', 9000, 200, true, false, true, 2 }, { 'L', 0, 500, true, false, false, 3 },
		{ 'I', 24, 1, false, true, false, 4 },  { 'L', 0, 0, false, false, false, 5 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		const char *plain = talloc_asprintf(mem, "%s/landfall-plain-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
		struct err err = { 0 };
		struct bak *b;

		assert_true(backup_sample_write(mem, plain, &samples[i], &err));
		b = read_file(mem, plain);
		if (bak_end(b) != BAK_END_WHOLE)
			fail_msg("sample %zu: %s", i, bak_why(b));
		check_packed(mem, plain);
		unlink(plain);
		talloc_free(mem);
	}
}

static void
real_backups_packed_say_what_they_said(void **state)
{
	static const char *const names[] = { "single/Northwind-2019.bak", "single/pubs-2017-linux.bak", "chain-2016/RestoreTimeClean2_1.trn",
	                                     "chain-2008r2/RestoreTimeClean2.bak" };
	const char *dir = getenv("LANDFALL_BACKUPS");

	(void)state;
	if (dir == NULL || dir[0] == '\0') {
		printf("SKIP real_backups_packed_say_what_they_said: no real backups (LANDFALL_BACKUPS)\n");
		skip();
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		TALLOC_CTX *mem = talloc_new(NULL);

		check_packed(mem, talloc_asprintf(mem, "%s/%s", dir, names[i]));
		talloc_free(mem);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_packed_unpacks_to_the_same), cmocka_unit_test(a_packed_backup_says_what_the_plain_one_says),
		cmocka_unit_test(real_backups_packed_say_what_they_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
