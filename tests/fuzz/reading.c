#include "tests/fuzz/reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <talloc.h>

#include "common/bak.h"
#include "common/bak_json.h"
#include "common/text.h"

#ifdef __SANITIZE_ADDRESS__
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifdef HAS_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(mem, len) __asan_poison_memory_region(mem, len)
#define UNPOISON(mem, len) __asan_unpoison_memory_region(mem, len)
#else
#define POISON(mem, len) ((void)0)
#define UNPOISON(mem, len) ((void)0)
#endif

enum { HEAP_MAX = 8 << 20, TIMED_MIN = 1 << 14 };

size_t
reading_piece(uint8_t choice)
{
	static const size_t sizes[] = { 0, 1, 2, 3, 7, 22, 51, 52, 53, 511, 512, 513, 1024, 4095, 4096, 8191, 8192, 8193, 16384, 65535, 65536, 65537 };

	return choice < 200 ? sizes[choice % (sizeof(sizes) / sizeof(sizes[0]))] : (size_t)(choice - 199) * 13;
}

/* ---- the content that passes ------------------------------------------------------------------------------------ */

/* What went by, whatever its split: a sum over every byte with its place. */
struct passed { uint64_t pages, log; };

static uint64_t
sum_up(uint64_t sum, uint64_t at, const uint8_t *mem, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += (at + i + 1) * (mem[i] + UINT64_C(0x9E3779B97F4A7C15));
	return sum;
}

static void
take_pages(void *ctx, const struct bak_set *set, unsigned pass, uint64_t offset, const void *mem, size_t len)
{
	struct passed *p = ctx;

	p->pages = sum_up(p->pages, offset + set->position + pass, mem, len);
}

static void
take_log(void *ctx, const struct bak_set *set, size_t extent, uint64_t offset, const void *mem, size_t len)
{
	struct passed *p = ctx;

	p->log = sum_up(p->log, offset + set->position + extent, mem, len);
}

/* ---- promises ---------------------------------------------------------------------------------------------------- */

static void
check_text(const char *what, const char *s)
{
	if (s != NULL && !text_is_utf8(s, strlen(s)))
		fuzz_broken("%s is not UTF-8", what);
}

static void
check_name(const char *what, const char *s, size_t max_chars)
{
	size_t n = 0;

	check_text(what, s);
	for (size_t i = 0; s != NULL && s[i] != '\0'; i++)
		n += (s[i] & 0xC0) != 0x80;
	if (n > max_chars)
		fuzz_broken("%s has %zu characters", what, n);
}

static void
check_set(const struct bak *b, const struct bak_set *s)
{
	check_name("a set's name", s->name, BAK_NAME_MAX);
	check_name("a set's database", s->database, BAK_NAME_MAX);
	check_name("a set's server", s->server, BAK_NAME_MAX);
	check_name("a set's machine", s->machine, BAK_NAME_MAX);
	for (size_t i = 0; i < s->n_files; i++) {
		check_name("a logical name", s->files[i].logical_name, BAK_NAME_MAX);
		check_name("a physical name", s->files[i].physical_name, BAK_PATH_MAX);
		check_name("a group", s->files[i].group_name, BAK_NAME_MAX);
	}
	if (bak_is_whole(b) && (!s->final || s->csum_bad > 0 || s->log_bad > 0 || s->pages[0].bad > 0 || s->pages[1].bad > 0))
		fuzz_broken("whole, and set %u has %u bad sums, %llu bad places in the log, %llu bad pages", s->position, s->csum_bad,
		            (unsigned long long)s->log_bad, (unsigned long long)(s->pages[0].bad + s->pages[1].bad));
	if (s->tde && s->n_passes > 0 && s->pages[s->n_passes - 1].bad > 0)
		fuzz_broken("pages that cannot be read are called bad");
	for (unsigned i = 0; i < 2; i++)
		if (s->pages[i].zero + s->pages[i].foreign + s->pages[i].unprotected + s->pages[i].checked != s->pages[i].total)
			fuzz_broken("pages of set %u do not add up", s->position);
}

static void
check_end(const struct bak *b, bool refused)
{
	size_t n;
	uint64_t all;
	const struct bak_damage *d = bak_damage(b, &n, &all);

	check_text("the reason", bak_why(b));
	if (bak_end(b) == BAK_END_OPEN)
		fuzz_broken("no end");
	if ((bak_why(b) == NULL) != bak_is_whole(b))
		fuzz_broken("whole with a reason, or not whole without one");
	if (refused && bak_is_whole(b))
		fuzz_broken("refused and whole");
	if (n > all || n > BAK_DAMAGE_MAX || (all > 0 && bak_is_whole(b)))
		fuzz_broken("%zu damaged places of %llu", n, (unsigned long long)all);
	for (size_t i = 0; i < n; i++)
		check_text("a damaged place", d[i].text);
	for (size_t i = 0; i < bak_n_sets(b); i++)
		check_set(b, bak_set(b, i));
}

static void
check_heap(const struct bak *b)
{
	if (talloc_total_size(b) > HEAP_MAX)
		fuzz_broken("%zu bytes of memory", talloc_total_size(b));
}

/* ---- time ---------------------------------------------------------------------------------------------------------- */

static double slowest; /* seconds per MiB */
static size_t slowest_len;

static void
say_slowest(void)
{
	fprintf(stderr, "slowest: %.3f s of CPU per MiB (an input of %zu bytes)\n", slowest, slowest_len);
}

static double
cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double
time_of(const uint8_t *mem, size_t len)
{
	struct err err = { 0 };
	double begin = cpu_now();
	struct bak *b = bak_new(NULL, NULL);

	bak_feed(b, mem, len, &err);
	bak_finish(b);
	talloc_free(b);
	return (cpu_now() - begin) * (1 << 20) / (double)(len < TIMED_MIN ? TIMED_MIN : len);
}

/* What seems slow is read twice more: a machine that does other things too makes anything seem slow once. */
static void
note_time(const uint8_t *mem, size_t len)
{
	double least = time_of(mem, len);

	if (slowest_len == 0)
		atexit(say_slowest);
	for (int i = 0; i < 2 && least > slowest; i++) {
		double again = time_of(mem, len);

		least = again < least ? again : least;
	}
	if (least > slowest || slowest_len == 0) {
		slowest = least;
		slowest_len = len;
	}
}

/* ---- reading --------------------------------------------------------------------------------------------------------- */

/*
 * Pieces of any size: larger and larger ones when size is 0. Nothing is there before and behind a piece: what
 * comes later is poisoned, what went by is overwritten.
 */
static bool
feed(struct bak *b, const uint8_t *mem, size_t len, size_t size)
{
	bool good = true;
	uint8_t *copy = malloc(len + 1);

	memcpy(copy, mem, len);
	POISON(copy, len);
	for (size_t at = 0, i = 1; at < len; i++) {
		size_t n = size == 0 ? i * i : size;
		struct err err = { 0 };

		n = n > len - at ? len - at : n;
		UNPOISON(copy + at, n);
		good = bak_feed(b, copy + at, n, &err);
		memset(copy + at, 0xA5, n);
		if (!good && err.text[0] == '\0')
			fuzz_broken("refused without a word");
		check_text("the error", err.text);
		at += n;
	}
	free(copy);
	return good;
}

static char *
read_it(const uint8_t *mem, size_t len, size_t size, struct passed *passed)
{
	const struct bak_sink sink = { .ctx = passed, .page_bytes = take_pages, .log_bytes = take_log };
	struct bak *b = bak_new(NULL, &sink);
	bool refused = !feed(b, mem, len, size);
	json_t *json;
	char *text;

	check_heap(b);
	bak_finish(b);
	check_end(b, refused);
	json = bak_json("input", b, 904);
	if (json == NULL || json_object_get(json, "why") == NULL || json_object_get(json, "sets") == NULL)
		fuzz_broken("the JSON is not complete");
	text = json_dumps(json, JSON_INDENT(1));
	if (text == NULL)
		fuzz_broken("no JSON");
	json_decref(json);
	talloc_free(b);
	return text;
}

void
reading_check(const uint8_t *mem, size_t len, size_t piece)
{
	struct passed whole = { 0 }, split = { 0 };
	char *a = read_it(mem, len, len + 1, &whole), *b = read_it(mem, len, piece, &split);

	note_time(mem, len);
	if (strcmp(a, b) != 0)
		fuzz_broken("another answer in pieces of %zu:\n%s\nthan in one piece:\n%s", piece, b, a);
	if (memcmp(&whole, &split, sizeof(whole)) != 0)
		fuzz_broken("other content in pieces of %zu", piece);
	free(a);
	free(b);
}
