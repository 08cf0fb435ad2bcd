/*
 * What a dry run of a migration rests on: where each replica stood when it was asked last, what was restored, how fast this
 * cluster restores. Questions only.
 */
#ifndef LANDFALL_ASK_DRY_H
#define LANDFALL_ASK_DRY_H

#include "common/db.h"
#include "common/lsn.h"
#include "common/statement.h"

struct dry_replica {
	const char *name, *left_out, *state; /* left_out: NULL, or why; state: the server's word */
	struct lsn redo;                     /* none: nothing is restored there */
	struct guid fork;
	int64_t asked;                       /* seconds since; -1: never */
	int64_t last;                        /* the set restored last, as for plan_now; 0: not known */
	struct bak_date last_stop;
};

struct dry_run {
	int64_t id, tail;                    /* tail: 0 while none is recognised */
	const char *cluster, *target_database, *database, *state, *hold;
	struct guid family, base;            /* base: the full that was restored; null while none was */
	struct dry_replica *replicas;        /* the primary first */
	size_t n_replicas;
	int64_t *restored;                   /* sets, in this try of the chain, in order */
	size_t n_restored;
	struct bak_date stop_at;             /* year 0: none */
	const char *stop_asked, *stop_reason, *stop_by;
	double rate;                         /* bytes of backup per second, from this cluster's own restores; 0: unknown */
};

/* The run must be there. Owned by mem. */
bool ask_dry(struct db *db, TALLOC_CTX *mem, int64_t run, struct dry_run *dry, struct err *err);

/* read: bytes of the file that are read; size: bytes of the database that it holds. */
struct dry_set { int64_t read, size; struct restore_file *files; size_t n_files; };
bool ask_dry_set(struct db *db, TALLOC_CTX *mem, int64_t set, struct dry_set *out, struct err *err);

#endif
