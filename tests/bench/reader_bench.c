#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include "common/bak.h"

/*
 * Feeds a file to the reader as inspect does, with all checks on, and prints one line of shell assignments: bytes
 * of the file, bytes of pages and log that it holds when unpacked, pages and how many of them were checked, the
 * peak of the heap by the allocator's own sizes.
 *
 *     reader_bench FILE [TIMES]    TIMES: small files are read again and again, to be measurable from outside
 */

extern void *__libc_malloc(size_t n);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void __libc_free(void *p);

static size_t heap_now, heap_peak;

static void *
took(void *p)
{
	heap_now += p == NULL ? 0 : malloc_usable_size(p);
	heap_peak = heap_now > heap_peak ? heap_now : heap_peak;
	return p;
}

static void
gave(void *p)
{
	heap_now -= p == NULL ? 0 : malloc_usable_size(p);
}

void *malloc(size_t n) { return took(__libc_malloc(n)); }
void *calloc(size_t n, size_t size) { return took(__libc_calloc(n, size)); }
void free(void *p) { gave(p); __libc_free(p); }
void *
realloc(void *p, size_t n)
{
	gave(p);
	return took(__libc_realloc(p, n));
}

struct sums { uint64_t bytes, content, pages, checked; };

static void
add(struct sums *sum, const struct bak *b)
{
	sum->bytes += bak_bytes(b);
	for (size_t i = 0; i < bak_n_sets(b); i++) {
		const struct bak_set *s = bak_set(b, i);

		sum->content += s->log_bytes;
		for (size_t p = 0; p < s->n_passes; p++) {
			sum->content += s->pages[p].total * 8192;
			sum->pages += s->pages[p].total;
			sum->checked += s->pages[p].checked;
		}
	}
}

/* False unless it is whole. */
static bool
read_once(const char *path, struct sums *sum)
{
	enum { PIECE = 1 << 20 };
	static uint8_t piece[PIECE];
	struct bak *b = bak_new(NULL, NULL);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct err err;
	ssize_t n;
	bool whole;

	while ((n = read(fd, piece, PIECE)) > 0)
		bak_feed(b, piece, (size_t)n, &err);
	whole = n == 0 && bak_finish(b) == BAK_END_WHOLE;
	if (whole)
		add(sum, b);
	else
		fprintf(stderr, "reader_bench: %s: %s\n", path, n < 0 ? strerror(errno) : bak_why(b));
	if (fd >= 0)
		close(fd);
	talloc_free(b);
	return whole;
}

int
main(int argc, char **argv)
{
	struct sums sum = { 0 };

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: reader_bench FILE [TIMES]\n");
		return 2;
	}
	for (long i = argc == 3 ? atol(argv[2]) : 1; i > 0; i--)
		if (!read_once(argv[1], &sum))
			return 1;
	printf("bytes=%" PRIu64 " content=%" PRIu64 " pages=%" PRIu64 " checked=%" PRIu64 " heap=%zu\n", sum.bytes, sum.content, sum.pages,
	       sum.checked, heap_peak);
	return 0;
}
