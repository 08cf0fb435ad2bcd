#include "common/eta.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES_MAX = 256, PACE_PERCENT = 5 };

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static bool
is_of(const struct eta_sample *s, const char *kind, bool own)
{
	return strcmp(s->kind, kind) == 0 && s->seconds >= 0 && (!own || s->same_database);
}

static bool
has_own(const struct eta_sample *samples, size_t n, const char *kind)
{
	for (size_t i = 0; i < n; i++)
		if (is_of(&samples[i], kind, true))
			return true;
	return false;
}

/* What the smallest took is there however little is read. */
static double
fixed_part(const struct eta_sample *samples, size_t n, const char *kind, bool own)
{
	const struct eta_sample *smallest = NULL;

	for (size_t i = 0; i < n; i++)
		if (is_of(&samples[i], kind, own) && (smallest == NULL || samples[i].bytes < smallest->bytes ||
		                                     (samples[i].bytes == smallest->bytes && samples[i].seconds < smallest->seconds)))
			smallest = &samples[i];
	return smallest == NULL ? 0 : smallest->seconds;
}

static double
scaled(const struct eta_sample *s, double fixed, int64_t bytes)
{
	double part = s->seconds > fixed ? s->seconds - fixed : 0;

	if (s->bytes <= 0 || bytes <= 0)
		return s->seconds;
	/* One measurement alone: all of it in proportion, or a small log would forecast a small full. */
	if (part == 0)
		return bytes > s->bytes ? s->seconds * (double)bytes / (double)s->bytes : s->seconds;
	return fixed + part * (double)bytes / (double)s->bytes;
}

struct eta_range
eta_of(const struct eta_sample *samples, size_t n, const char *kind, int64_t bytes)
{
	bool own = has_own(samples, n, kind);
	double fixed = fixed_part(samples, n, kind, own), times[SAMPLES_MAX];
	size_t k = 0;

	for (size_t i = 0; i < n && k < SAMPLES_MAX; i++)
		if (is_of(&samples[i], kind, own))
			times[k++] = scaled(&samples[i], fixed, bytes);
	if (k == 0)
		return (struct eta_range){ 0 };
	qsort(times, k, sizeof(times[0]), by_size);
	/* Nearest rank. Of very few the worst is doubled: nobody knows yet how far they spread. */
	return (struct eta_range){ times[(k - 1) / 2], k < 3 ? 2 * times[k - 1] : times[(size_t)ceil(0.9 * (double)k) - 1], k };
}

struct eta_range
eta_then(struct eta_range a, struct eta_range b)
{
	if (a.samples == 0 || b.samples == 0)
		return (struct eta_range){ 0 };
	return (struct eta_range){ a.low + b.low, a.high + b.high, a.samples < b.samples ? a.samples : b.samples };
}

static double
rest_of(double whole, double elapsed)
{
	return whole > elapsed ? whole - elapsed : 0;
}

struct eta_range
eta_left(struct eta_range whole, int percent, double elapsed)
{
	double pace = percent > 0 ? elapsed * (100 - percent) / percent : 0;
	struct eta_range left = { rest_of(whole.low, elapsed), rest_of(whole.high, elapsed), whole.samples };

	if (percent < PACE_PERCENT || percent >= 100)
		return left;
	/* The pace tells of the reading alone; what was measured before tells of the whole. */
	left.high = left.high > pace ? left.high : pace;
	left.low = whole.samples == 0 || pace > left.low ? pace : left.low;
	left.samples = whole.samples == 0 ? 1 : whole.samples;
	return left;
}

const char *
eta_phase(const char *kind, int percent)
{
	bool is_backup = strcmp(kind, "backup") == 0 || strcmp(kind, "log-backup") == 0;

	if (strcmp(kind, "recovery") == 0)
		return "undoing what was not committed, and upgrading";
	if (strcmp(kind, "full") != 0 && strcmp(kind, "differential") != 0 && strcmp(kind, "log") != 0 && strcmp(kind, "log-catch-up") != 0 && !is_backup)
		return "working";
	if (percent < 0)
		return is_backup ? "beginning" : "preparing files";
	if (percent < 100)
		return is_backup ? "writing" : "reading";
	return is_backup ? "read to the end, finishing" : "read to the end, rolling forward";
}
