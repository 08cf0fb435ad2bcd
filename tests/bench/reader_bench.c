#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include "common/bak.h"

/*
 * Feeds a file to the reader as inspect does and prints one line of shell assignments: seconds, bytes of the
 * file and of the backup in it, pages and how many of them were checked, the peak of the heap by the allocator's
 * own sizes.
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

int
main(int argc, char **argv)
{
	enum { PIECE = 1 << 20 };
	static uint8_t piece[PIECE];
	struct timespec begin, end;
	uint64_t pages = 0, checked = 0, unpacked = 0;
	struct bak *b = bak_new(NULL, NULL);
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	struct err err;
	ssize_t n;

	if (fd < 0) {
		fprintf(stderr, "usage: reader_bench FILE\n");
		return 2;
	}
	clock_gettime(CLOCK_MONOTONIC, &begin);
	while ((n = read(fd, piece, PIECE)) > 0)
		bak_feed(b, piece, (size_t)n, &err);
	bak_finish(b);
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (bak_end(b) != BAK_END_WHOLE) {
		fprintf(stderr, "reader_bench: %s: %s\n", argv[1], bak_why(b));
		return 1;
	}
	for (size_t i = 0; i < bak_n_sets(b); i++) {
		const struct bak_set *s = bak_set(b, i);

		unpacked += s->backup_size;
		for (size_t p = 0; p < s->n_passes; p++) {
			pages += s->pages[p].total;
			checked += s->pages[p].checked;
		}
	}
	printf("seconds=%.6f bytes=%" PRIu64 " unpacked=%" PRIu64 " pages=%" PRIu64 " checked=%" PRIu64 " heap=%zu\n",
	       (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9, bak_bytes(b), unpacked, pages, checked,
	       heap_peak);
	talloc_free(b);
	return 0;
}
