/*
 * Plays inputs through a harness without clang: the harness's seeds, each damaged a number of times, the real
 * backups in LANDFALL_BACKUPS, and what tests/fuzz/regression/NAME/ keeps.
 *
 *     NAME_replay_test               plays everything; LONG=1 damages more, SEED makes a run repeatable
 *     NAME_replay_test FILE…         plays these files
 *     NAME_replay_test --seeds DIR   writes seeds and inputs made of real backups there, for the fuzzer
 */
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <talloc.h>

#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 1 << 18, DAMAGED_EACH = 150, LONG_EACH = 5000 };

static struct fuzz_dice dice;
static size_t played;
static char *last; /* the file that holds the input being played */

void
fuzz_broken(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("not ok - ");
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n# the input is in %s\n", last == NULL ? "(none)" : last);
	fflush(stdout);
	abort();
}

/* A few of what libFuzzer does. */
size_t
LLVMFuzzerMutate(uint8_t *mem, size_t len, size_t max)
{
	static const uint32_t odd[] = { 0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF };
	size_t at, n;
	uint32_t value;

	if (len == 0 && max > 0)
		mem[len++] = 0;
	if (len == 0)
		return 0;
	at = fuzz_below(&dice, len);
	n = 1 + fuzz_below(&dice, len - at < 16 ? len - at : 16);
	switch (fuzz_below(&dice, 6)) {
	case 0:
		mem[at] ^= (uint8_t)(1 << fuzz_below(&dice, 8));
		return len;
	case 1:
		mem[at] = (uint8_t)fuzz_below(&dice, 256);
		return len;
	case 2:
		value = odd[fuzz_below(&dice, sizeof(odd) / sizeof(odd[0]))];
		memcpy(mem + at, &value, n < 4 ? n : 4);
		return len;
	case 3:
		memmove(mem + at, mem + at + n, len - at - n);
		return len - n == 0 ? 1 : len - n;
	case 4:
		if (len + n > max)
			return len;
		memmove(mem + at + n, mem + at, len - at);
		return len + n;
	default:
		memmove(mem + fuzz_below(&dice, len - n + 1), mem + at, n);
		return len;
	}
}

/* A harness without a mutator of its own. */
__attribute__((weak)) size_t
LLVMFuzzerCustomMutator(uint8_t *mem, size_t len, size_t max, unsigned seed)
{
	(void)seed;
	return LLVMFuzzerMutate(mem, len, max);
}

/* A harness that real backups are of no use to. */
__attribute__((weak)) size_t
fuzz_from_backup(const uint8_t *mem, size_t len, uint8_t *out, size_t room)
{
	(void)mem, (void)len, (void)out, (void)room;
	return 0;
}

static void
save(const char *path, const uint8_t *mem, size_t len)
{
	FILE *f = fopen(path, "wb");

	if (f == NULL || fwrite(mem, 1, len, f) != len || fclose(f) != 0) {
		printf("not ok - %s cannot be written\n", path);
		exit(1);
	}
}

/* An input that ends the program can be looked at afterwards. */
static void
play(const uint8_t *mem, size_t len)
{
	uint8_t *copy = malloc(len == 0 ? 1 : len);

	if (last != NULL)
		save(last, mem, len);
	memcpy(copy, mem, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
	played++;
}

static void
play_damaged(const uint8_t *mem, size_t len, size_t times)
{
	size_t room = len + 4096;
	uint8_t *copy = malloc(room);

	for (size_t i = 0; i < times; i++) {
		memcpy(copy, mem, len);
		play(copy, LLVMFuzzerCustomMutator(copy, len, room, fuzz_below(&dice, UINT32_MAX)));
	}
	free(copy);
}

static void
take_seed(void *ctx, const char *name, const uint8_t *mem, size_t len)
{
	size_t *seeds = ctx;

	(void)name;
	play(mem, len);
	play_damaged(mem, len, getenv("LONG") != NULL && getenv("LONG")[0] == '1' ? LONG_EACH : DAMAGED_EACH);
	(*seeds)++;
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static uint8_t *
load(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	uint8_t *mem = malloc(INPUT_MAX);

	*len = f == NULL ? 0 : fread(mem, 1, INPUT_MAX, f);
	if (f == NULL) {
		printf("not ok - %s cannot be read\n", path);
		exit(1);
	}
	fclose(f);
	return mem;
}

/* Every file below a folder, in order of names. */
static void
each_file(const char *dir, void (*take)(void *ctx, const char *path), void *ctx)
{
	struct dirent **list;
	int n = scandir(dir, &list, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		char *path = talloc_asprintf(NULL, "%s/%s", dir, list[i]->d_name);
		struct stat st;

		if (list[i]->d_name[0] != '.' && stat(path, &st) == 0) {
			if (S_ISDIR(st.st_mode))
				each_file(path, take, ctx);
			else
				take(ctx, path);
		}
		talloc_free(path);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

static void
play_file(void *ctx, const char *path)
{
	size_t *files = ctx, len;
	uint8_t *mem = load(path, &len);

	play(mem, len);
	(*files)++;
	free(mem);
}

static void
take_backup(void *ctx, const char *path)
{
	const struct fuzz_taker *taker = ctx;
	static uint8_t input[INPUT_MAX];
	size_t len, n;
	uint8_t *mem = load(path, &len);
	const char *name = strrchr(path, '/') + 1;

	n = fuzz_from_backup(mem, len, input, sizeof(input));
	if (n > 0)
		taker->take(taker->ctx, name, input, n);
	free(mem);
}

static void
each_backup(const struct fuzz_taker *taker)
{
	const char *backups = getenv("LANDFALL_BACKUPS");

	if (backups != NULL && backups[0] != '\0')
		each_file(backups, take_backup, (void *)(uintptr_t)taker);
}

static void
play_backup(void *ctx, const char *name, const uint8_t *mem, size_t len)
{
	(void)name;
	play(mem, len);
	play_damaged(mem, len, getenv("LONG") != NULL && getenv("LONG")[0] == '1' ? 200 : 2);
	++*(size_t *)ctx;
}

static void
write_seed(void *ctx, const char *name, const uint8_t *mem, size_t len)
{
	char *path = talloc_asprintf(NULL, "%s/%s", (const char *)ctx, name);

	save(path, mem, len);
	talloc_free(path);
}

/* The harness's own name: that of the program without its end. */
static char *
regressions(const char *program)
{
	const char *base = strrchr(program, '/') == NULL ? program : strrchr(program, '/') + 1, *end = strstr(base, "_replay_test");

	return talloc_asprintf(NULL, "tests/fuzz/regression/%.*s", end == NULL ? 0 : (int)(end - base), base);
}

static void
play_all(const char *program)
{
	char *kept = regressions(program);
	size_t seeds = 0, backups = 0, files = 0;
	unsigned seed = getenv("SEED") == NULL ? 1 : (unsigned)strtoul(getenv("SEED"), NULL, 10);

	dice.state = seed;
	last = talloc_asprintf(NULL, "%s.last", program);
	fuzz_seeds(&(struct fuzz_taker){ &seeds, take_seed });
	printf("%s - %zu seeds of its own, sound and damaged\n", seeds > 0 ? "ok" : "not ok", seeds);
	each_file(kept, play_file, &files);
	printf("%s - %zu inputs kept in %s\n", files > 0 ? "ok" : "not ok", files, kept);
	each_backup(&(struct fuzz_taker){ &backups, play_backup });
	if (backups > 0)
		printf("ok - %zu real backups\n", backups);
	printf("# %zu inputs in all, seed %u\n", played, seed);
	talloc_free(kept);
	remove(last);
	if (seeds == 0 || files == 0)
		exit(1);
}

int
main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && strcmp(argv[1], "--seeds") == 0) {
		const struct fuzz_taker taker = { argv[2], write_seed };

		fuzz_seeds(&taker);
		each_backup(&taker);
	} else if (argc > 1) {
		size_t files = 0;

		for (int i = 1; i < argc; i++)
			play_file(&files, argv[i]);
		printf("ok - %zu inputs\n", files);
	} else {
		play_all(argv[0]);
	}
	return 0;
}
