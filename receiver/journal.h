/*
 * The receiver's memory: one append-only file, one JSON record a line, each made durable before anybody is
 * told. A thread of its own writes in groups, so that the warden's loop never waits for a disk.
 *
 * What a record promises about files is done after it is durable and before done is called; at start-up it is
 * done again for whatever was cut off. A torn end is cut away; what was cut stays beside it as journal.cut-SECONDS.
 */
#ifndef LANDFALL_JOURNAL_H
#define LANDFALL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <talloc.h>

#include "common/err.h"

enum { JOURNAL_LAZY_MS = 200 };

struct journal;

/* Called on the loop's thread (journal_finished) when the record and its file work are durable, or have failed. */
typedef void (*journal_done)(void *ctx, bool good, const char *why);

struct journal_job {
	json_t *record;            /* stolen; gets "n". NULL: file work only */
	char *facts, *facts_path;  /* written and synced first; NULL: none */
	char *from, *to;           /* renamed after the record is durable; NULL: none */
	char *sync;                /* its folder is synced before the record is written; NULL: none */
	char *remove;              /* unlinked at the end; NULL: none */
	bool lazy;                 /* nobody waits for it: it goes with the next one, or within JOURNAL_LAZY_MS */
	journal_done done;
	void *ctx;
};

/* Opens DIR/journal.log, gives every whole record to replay in order, and starts the thread. */
struct journal *journal_open(TALLOC_CTX *parent, const char *dir, void (*replay)(void *ctx, const json_t *record), void *ctx, struct err *err);

/* A copy is taken; strings may be NULL. */
void journal_add(struct journal *journal, const struct journal_job *job);

/*
 * Copies a file (a new version that begins with an arrived file's bytes), in a thread of its own: it may take minutes,
 * and everybody's records go on meanwhile. Neither copy nor name is durable afterwards. The caller bounds how many
 * there are at once. The end of the program ends it, with good false.
 */
void journal_copy(struct journal *journal, const char *from, const char *to, journal_done done, void *ctx);

/* Before the first job: numbers up to n are in use elsewhere, whatever the file still says (its end may have been cut off). */
void journal_go_on_after(struct journal *journal, uint64_t n);

/* How many were added, and how many of these are durable or have failed, and were told of: who adds faster must wait. */
uint64_t journal_added(const struct journal *journal);
uint64_t journal_told(const struct journal *journal);

/* What it has done since it was opened; length: of all of it. */
struct journal_counts { uint64_t records, bytes, groups, ns, failures, length; };
void journal_count(struct journal *journal, struct journal_counts *counts);

/* Readable when journal_finished has something to call. */
int journal_fd(const struct journal *journal);
void journal_finished(struct journal *journal);

/*
 * To be called now and then. When the journal has grown to some MiB and several times what is needed of it, a thread
 * writes that to journal.new, which takes its place; killed at any moment, one of the two is whole. fed: the number of
 * the last record that Postgres was told; younger ones are all kept.
 */
void journal_tend(struct journal *journal, uint64_t fed);

/* Waits until everything added is durable, and ends copies (end of the program). */
void journal_drain(struct journal *journal);

#endif
