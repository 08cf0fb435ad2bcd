/*
 * Which backups are restored, in which order, and why each other one is not: facts in, a plan out.
 *
 * Pure: no clock, no I/O, no globals. Order comes from LSNs, recovery forks and GUIDs in the headers,
 * never from names, times or arrival. The predicates are SQL Server's own, as its documentation and
 * messages 3136, 4305, 4326 and 4330 state them:
 *   a differential applies when its DifferentialBaseGUID is the full's BackupSetGUID;
 *   the next log is one with FirstRecoveryForkID = F and FirstLSN <= R < LastLSN, where R is the database's
 *   redo_start_lsn and F its redo_start_fork_guid; afterwards R = LastLSN and F = RecoveryForkID;
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
	struct bak_date start, finish; /* source's local time */
	const char *database, *server;
	const char *const *files; /* names of all stripes, in family order */
	size_t n_files;
	int position;
	bool complete;       /* every stripe is there */
	const char *missing; /* NULL, or which stripe is not: "stripe 2 of 2" */
	bool damaged;        /* bad pages, broken structure, damaged at the source, media password */
	const char *damage;  /* NULL, or what is wrong, in words */
	bool duplicate;      /* the same set is there already under another name */
	bool copy_only, tail, tail_norecovery, bulk_logged, simple;
};

/* What the target says of the database now. absent: nothing was restored yet. */
struct plan_now {
	bool absent;
	struct lsn redo;         /* redo_start_lsn */
	struct guid fork;        /* redo_start_fork_guid */
	struct guid base;        /* BackupSetGUID of the full that was restored; null when unknown */
};

struct plan_goal {
	struct bak_date stop_at; /* year 0: to the end of what is there */
	int64_t last;            /* id of the set that must be the last one (the tail); 0: none */
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
	PLAN_RESTORED, /* already part of the database; never printed as unused by the offline plan */
};
const char *plan_reason_word(enum plan_reason reason);

struct plan_step {
	const struct plan_set *set;
	struct bak_date stop_at; /* logs only; year 0: none */
};

struct plan_unused {
	const struct plan_set *set;
	enum plan_reason reason;
	const char *text;
};

/* What is missing: a log (or, when there is no base, a full) covering from needed up to next. */
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
	struct lsn ends_at;      /* redo_start_lsn after the last step */
	struct guid ends_fork;
	bool complete;           /* a base is there, no gap, and the goal's last set (if any) is reached */
	bool has_tail;           /* the chain ends with a log taken WITH NORECOVERY */
};

/*
 * Plans one family of one database: the sets given, whose family is *family (others are unused,
 * other-family). Among all legal ways the one that reaches furthest wins, then the one with fewest
 * steps, then the one with the newest full. Owned by parent; points into sets.
 */
struct plan *plan_make(TALLOC_CTX *parent, const struct plan_set *sets, size_t n, struct guid family,
                       const struct plan_now *now, const struct plan_goal *goal);

/* The family a migration's database most likely is: that of the usable full reaching furthest under the
 * agreed name; a null guid when no full is there. */
struct guid plan_choose_family(const struct plan_set *sets, size_t n, const char *database);

#endif
