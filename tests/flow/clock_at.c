/* clock_at: preloaded into a program under test; its wall clock is wrong by as many seconds as a file says.
 *
 * The file (CLOCK_FILE) holds one 64-bit number and may change at any time: the clock jumps then. The clock that
 * nobody sets, CLOCK_MONOTONIC, goes on as ever. It is mapped once, so that what is locked up later feels it too.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const volatile int64_t *shift;

static void __attribute__((constructor))
map_shift(void)
{
	const char *path = getenv("CLOCK_FILE");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void *mem = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0);

	shift = mem == MAP_FAILED ? NULL : mem;
}

static int64_t seconds(void) { return shift == NULL ? 0 : *shift; }

#define NEXT(result, name, ...) ((result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

int
clock_gettime(clockid_t clock, struct timespec *t)
{
	int result = NEXT(int, clock_gettime, clockid_t, struct timespec *)(clock, t);

	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		t->tv_sec += seconds();
	return result;
}

int
gettimeofday(struct timeval *t, void *zone)
{
	int result = NEXT(int, gettimeofday, struct timeval *, void *)(t, zone);

	t->tv_sec += seconds();
	return result;
}

time_t
time(time_t *out)
{
	time_t now = NEXT(time_t, time, time_t *)(NULL) + seconds();

	if (out != NULL)
		*out = now;
	return now;
}
