/*
 * The clock that nobody sets: for time limits, ages and rests. The other one, time(), jumps when it is corrected, and
 * an hour's jump must end nobody's upload; it is for what people read and what is compared with a date.
 */
#ifndef LANDFALL_CLOCK_H
#define LANDFALL_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t
steady_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t
steady_ms(void)
{
	return steady_ns() / 1000000;
}

static inline int64_t
steady_seconds(void)
{
	return steady_ms() / 1000;
}

/* What this thread has computed. */
static inline int64_t
thread_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif
