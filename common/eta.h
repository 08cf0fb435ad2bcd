/*
 * How long restoring will take, from how long it took on this cluster before. Pure.
 *
 * A range, not a number: low is the middle of what was measured, high what nine in ten stayed below. Where nothing was
 * measured nothing is said. The same database's own measurements (its UAT run, its earlier logs) are preferred to those of
 * others. A time is a fixed part, which the smallest backups show, and a part in proportion to the bytes read.
 *
 * What a server says itself is not asked: estimated_completion_time is documented as internal only, and 100 percent is said
 * when the backup was read, not when the log was rolled forward.
 */
#ifndef LANDFALL_ETA_H
#define LANDFALL_ETA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One statement that ended well: kind as in step.kind; bytes 0 where none are read (recovery, users). */
struct eta_sample {
	const char *kind;
	int64_t bytes;
	double seconds;
	bool same_database;
};

struct eta_range {
	double low, high; /* seconds */
	size_t samples;   /* how many it rests on; 0: nothing is known and low and high are 0 */
};

/* One statement of this kind that reads so many bytes. */
struct eta_range eta_of(const struct eta_sample *samples, size_t n, const char *kind, int64_t bytes);

/* One after the other. Nothing is known of the whole when nothing is known of a part. */
struct eta_range eta_then(struct eta_range a, struct eta_range b);

/*
 * What is left of a statement that runs: of the reading by its own pace once a few percent are done, by what was measured
 * before otherwise and for what follows the reading. percent -1: it said nothing yet.
 */
struct eta_range eta_left(struct eta_range whole, int percent, double elapsed);

/* What a running statement is doing, in words, by what it said last. Static text. */
const char *eta_phase(const char *kind, int percent);

#endif
