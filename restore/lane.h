/*
 * One replica's way through a run: ask, one RESTORE, ask again, record, until nothing is left to do.
 *
 * A lane has its own thread, its own connection to Postgres and its own conversation with the SQL Server.
 * It may be ended anywhere: what was done is read from the server, never from memory.
 */
#ifndef LANDFALL_LANE_H
#define LANDFALL_LANE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/ask_plan.h"
#include "common/ask_restore.h"
#include "common/config.h"
#include "restore/target.h"

/* The schema's words in run.waits_on. */
#define WAITS_ON_CUSTOMER "customer"
#define WAITS_ON_OPERATOR "operator"

struct preflight_compared;

enum lane_end {
	LANE_LEVEL,  /* everything known is restored on this replica */
	LANE_WAITS,  /* for something; why says it; tried again by itself */
	LANE_YIELDS, /* another migration's turn */
	LANE_STOPS,  /* between two statements, at once: the process ends, or a person wants something else; no slot is waited for */
	LANE_BROKEN, /* a person must look; why says it */
	LANE_LOST,   /* the lease is lost: touch nothing */
};

struct lane {
	const struct config *config;
	const struct config_cluster *cluster;
	const struct config_target *where;
	const char *replica;
	bool is_primary;
	struct restore_run run;       /* the lane's own copy */
	const struct chain *chain;
	struct guid family;
	atomic_bool *stop;
	int replanned;                /* of the run when the chain was read: later changes of a person end the walk */
	bool left_out;
	/* The conversation while it stands, and whether a person wants its RESTORE broken off. */
	pthread_mutex_t talk;
	struct mssql *talking;
	bool broken_off;
	const struct preflight_compared *compared; /* sets that need no comparison any more; NULL: none */
	char *kept;                   /* why this replica must not begin with a full, or NULL; the visit's */
	struct mssql *ms;             /* a conversation that the walk may take, with nobody's memory above it; or NULL */
	const char *volume;           /* what volume_slots counts on */
	bool has_volume;              /* a full backup may be restored onto it */

	/* Results; why is owned by the lane. */
	enum lane_end end;
	char *why;
	const char *waits_on;         /* whose turn it is: one of the words above, NULL when it goes on by itself; static */
	struct target seen;
	int64_t last;                 /* the set that the server's history has last, of this try of the chain; 0: none known, or no point to stop at */
	int64_t seen_ms;              /* when it was asked, by the steady clock; 0: not over a conversation that is still ours */
	bool settled;                 /* nothing is left of a worker that died */
	int again_ms;                 /* how long to wait, 0 for the usual */
	bool stepped;                 /* at least one RESTORE was done */
};

/* Asks the target; nothing is changed there. Then what it said is kept, and steps that nobody's worker runs any more are judged by it. */
bool lane_ask(TALLOC_CTX *mem, struct lane *lane, struct mssql *ms, struct err *err);
bool lane_saw(struct db *db, struct lane *lane, struct err *err);

/* What there is to do by what was seen; and the plan that begins at nothing. Owned by mem. */
struct plan *lane_plan(TALLOC_CTX *mem, const struct lane *lane);
struct plan *lane_plan_anew(TALLOC_CTX *mem, const struct lane *lane);

/* Opens the conversation under a program name that tells whose it is. */
struct mssql *lane_open(TALLOC_CTX *mem, const struct lane *lane, struct err *err);

/* Restores what is to be restored. */
void lane_walk(struct lane *lane);

/* Sends attention to the RESTORE that this lane waits for. From any thread, while it walks; again and again is harmless. */
void lane_break_off(struct lane *lane);

/* Throws the copy on this replica away, if it is there and ours. LEVEL: it is gone. */
void lane_drop(struct lane *lane);

/* The point of no return on this replica, then the users. */
void lane_recover(struct lane *lane);

#endif
