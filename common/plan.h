/*
 * Which backups are restored, in which order, and why each other one is not: facts in, a plan out.
 *
 * Pure: no clock, no I/O, no globals. Order comes from LSNs, recovery forks and GUIDs in the headers,
 * never from names, times or arrival. The predicates are SQL Server's own, as its documentation and
 * messages 3136, 4305, 4326 and 4330 state them:
 *   a differential applies when its DifferentialBaseGUID is the full's BackupSetGUID;
 *   the next log is one with FirstLSN <= R < LastLSN on the database's recovery path: its FirstRecoveryForkID is F and R
 *   is not past its ForkPointLSN, or it leads to F and R is past it. R is the database's redo_start_lsn and F its
 *   redo_start_fork_guid; afterwards R = LastLSN and F = RecoveryForkID;
 *   a log with LastLSN <= R adds nothing and is not sent; FirstLSN > R is a gap with a name.
 * DatabaseBackupLSN is not used to bind logs to a full: after a copy-only full it names an older one.
 */
#ifndef LANDFALL_PLAN_H
#define LANDFALL_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/bak.h"
#include "common/lsn.h"

/* One backup set with all stripes that are there. Strings are borrowed and must outlive the plan. */
struct plan_set {
	int64_t id; /* the caller's; unique */
	struct guid backup_set_guid, family, first_fork, fork, differential_base;
	enum bak_type type;
	struct lsn first_lsn, last_lsn;
	struct lsn fork_point; /* where first_fork ended, in a set that spans two; none otherwise */
	struct bak_date start, finish; /* source's local time */
	bool has_zone;
	int8_t zone;    /* the source's then, quarter hours east of UTC */
	uint64_t bytes; /* to be read, all stripes together; 0: unknown */
	const char *database, *server;
	const char *const *files; /* names of all stripes, in family order */
	size_t n_files;
	int position;
	bool complete;       /* every stripe is there */
	const char *missing; /* NULL, or which stripe is not: "stripe 2 of 2" */
	bool damaged;        /* bad pages, broken structure, damaged at the source, media password */
	const char *damage;  /* NULL, or what is wrong, in words */
	const char *skipped; /* NULL, or why a person took it out of the plan */
	bool duplicate;      /* the same set is there already under another name */
	bool copy_only, tail, tail_norecovery, bulk_logged, simple;
	bool begins_chain;   /* a log that is the first after its log chain was begun anew */
};

/* What the target says of the database now. absent: nothing was restored yet. */
struct plan_now {
	bool absent;
	struct lsn redo;         /* redo_start_lsn */
	struct guid fork;        /* redo_start_fork_guid */
	struct guid base;        /* BackupSetGUID of the full that was restored; null when unknown */
	struct lsn void_until;   /* no tail ends here or before: it is of a cutover that was backed out */
	/* What the server's history says was restored last (id; 0: not known) and with which STOPAT (year 0: as a whole). A log that was
	 * stopped in leaves redo before its own end, so that redo alone cannot tell whether the point is reached, or passed. */
	int64_t last;
	struct bak_date last_stop;
};

struct plan_goal {
	struct bak_date stop_at; /* source's local time (common/source_time.h); year 0: to the end of what is there */
	int64_t last;            /* id of the set that must be the last one (the tail); 0: none */
	bool follows;            /* backups still come: a point that none of them contains yet is waited for, and is no gap */
};

enum plan_reason {
	PLAN_COVERED_BY_DIFFERENTIAL,
	PLAN_COVERED_BY_LATER_FULL,
	PLAN_OLDER_THAN_BASE,
	PLAN_NO_BASE,
	PLAN_DUPLICATE,
	PLAN_OTHER_FAMILY,
	PLAN_OTHER_FORK,
	PLAN_BEYOND_STOP,
	PLAN_AFTER_GAP,
	PLAN_INCOMPLETE_STRIPE,
	PLAN_DAMAGED,
	PLAN_SKIPPED, /* by a person */
	PLAN_RESTORED, /* already part of the database; never printed as unused by the offline plan */
};
const char *plan_reason_word(enum plan_reason reason);

struct plan_step {
	const struct plan_set *set;
	/* The same on every log, on nothing else; year 0: none. Not on one with bulk-logged changes: it is only planned when all of
	 * it lies before the point, and may be restored as a whole only (4341). */
	struct bak_date stop_at;
};

struct plan_unused {
	const struct plan_set *set;
	enum plan_reason reason;
	const char *text;
};

/*
 * What is missing: a log, a differential or, when there is no base, a full that leads from needed up to next. The first
 * gap is the one that the plan ends at; further ones are holes in what lies behind it, so that all can be sent at once.
 */
struct plan_gap {
	struct lsn needed, next;        /* next: none when nothing later is there */
	struct bak_date after, before;  /* the missing backup was taken between these; year 0: unknown */
	const char *server, *text;
};

struct plan {
	struct plan_step *steps;
	size_t n_steps;
	struct plan_unused *unused;
	size_t n_unused;
	struct plan_gap *gaps;
	size_t n_gaps;
	const char **notes;      /* sentences on what the person must know though nothing is missing (recovery model SIMPLE) */
	size_t n_notes;
	struct lsn ends_at;      /* redo_start_lsn after the last step */
	struct guid ends_fork;
	bool complete;           /* a base is there, no gap, and the goal's last set (if any) is reached */
	bool has_tail;           /* the chain ends with a log taken WITH NORECOVERY */
	int64_t stops_in;        /* id of the log that contains the point to stop at, restored or planned; 0: none does */
	bool past_stop;          /* more is restored than the point to stop at: the gap says so */
	const char *awaits;      /* which log is waited for to stop in (a goal that follows), or NULL */
	size_t looks;            /* how often two sets were compared to find the way: what a test holds near linear */
};

/*
 * What one more RESTORE costs beside its bytes, in bytes that could be read meanwhile: the server is asked before and
 * after, opens and closes the file and rolls forward. It is why one differential is better than twenty small logs; and
 * what is less than that does not count.
 */
enum { PLAN_STEP_BYTES = 32 * 1024 * 1024 };

/*
 * Plans one family of one database: the sets given, whose family is *family (others are unused, other-family). Of all
 * legal ways the goal's last set decides, then the point to stop at (the log that ends soonest after it), then that the
 * way does not end on a fork that its own server left for one that can be reached too, then the greatest LSN, then the price (one for each step
 * and one for every PLAN_STEP_BYTES it reads; steps alone where a size is unknown), then the least to roll forward: the
 * newer full or differential. Once something was restored no full is planned again. Owned by parent; points into sets.
 */
struct plan *plan_make(TALLOC_CTX *parent, const struct plan_set *sets, size_t n, struct guid family,
                       const struct plan_now *now, const struct plan_goal *goal);

/*
 * Which log is the last one of a source that was taken off, or NULL: the first that was taken WITH NORECOVERY. Not one
 * that the database (now) has left behind, nor one after which the same server came back and was taken off again: that
 * was a rehearsal. A damaged or incomplete one counts, as it must be sent again.
 */
const struct plan_set *plan_tail(const struct plan_set *sets, size_t n, struct guid family, const struct plan_now *now);

/* The family a migration's database most likely is: that of the usable full reaching furthest under the agreed name; where no
 * full is there, that of whatever reaches furthest, so that its missing full is named; a null guid when nothing bears the name. */
struct guid plan_choose_family(const struct plan_set *sets, size_t n, const char *database);

/* The full of that family that reaches furthest, or NULL. */
const struct plan_set *plan_last_full(const struct plan_set *sets, size_t n, struct guid family);

#endif
