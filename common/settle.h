/*
 * What a recovered database still needs to be at home in its cluster: a backup of its new primary, its place in the
 * availability group, its other replicas joined and level. Facts in, one next act out. Pure.
 *
 * The users work meanwhile: nothing here is part of the customer's downtime, and nothing here ever moves the primary.
 * Each act is asked for again until the servers themselves show it as done, so a worker that dies anywhere leaves
 * nothing that has to be remembered.
 *
 * What rests on what. That ADD DATABASE wants a full backup and that a secondary joins with SET HADR from where it was
 * restored NORECOVERY: Microsoft's documentation ("Prepare a secondary database for an Always On availability group").
 * That a copy which was restored from the customer's chain stands on the recovery branch before the new primary's and so
 * wants one log backup of the new primary first (messages 1412 and 1478): reasoning; nobody has tried it here on a real
 * group. So joining is tried as it is, then with that log, then automatic seeding is asked for.
 */
#ifndef LANDFALL_SETTLE_H
#define LANDFALL_SETTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

enum settle_act {
	SETTLE_DONE,     /* nothing is left */
	SETTLE_BACKUP,   /* a full backup of the new primary */
	SETTLE_ADD,      /* the database to the group, on the primary */
	SETTLE_JOIN,     /* a replica's copy to the group, on that replica */
	SETTLE_CATCH_UP, /* a log backup of the new primary, restored on that replica */
	SETTLE_SEED,     /* automatic seeding instead of that replica's copy */
	SETTLE_WAIT,     /* it goes on by itself, or somebody has to see to it: why says which */
};

struct settle_replica {
	const char *name;      /* as the configuration calls it */
	const char *left_out;  /* an operator's reason, or NULL */
	const char *away;      /* NULL: it answered; else what the way there said */
	bool in_group, is_group_primary, synchronous, automatic; /* automatic: seeding mode */
	bool exists, restoring; /* its copy */
	bool joined;
	const char *sync;      /* SYNCHRONIZED, SYNCHRONIZING, …; NULL when the group says nothing */
	bool suspended;
	int64_t lag_seconds, redo_kb; /* -1: not known */
	const char *seeding;   /* current_state of the newest automatic seeding, NULL for none */
	const char *seeding_why;
	bool join_refused;     /* the last try to join was answered 1412 or 1478, and no log was restored since */
	bool caught_up;        /* a log of the new primary was restored on it */
	const char *failed;    /* the last act on it failed otherwise: its words, until they rested */
};

struct settle_facts {
	const char *database, *group, *group_primary; /* group NULL: the cluster has none */
	const char *backup_to; /* folder that all servers see, NULL: none */
	bool group_exists, backed_up, added;
	const char *failed;    /* as above, of the acts on the primary */
	const struct settle_replica *replicas; /* the primary first */
	size_t n;
};

struct settle_next {
	enum settle_act act;
	size_t replica;        /* which one the act is on */
	const char *why;       /* SETTLE_WAIT: for what, replica by replica; others NULL. Owned by parent. */
};

/* An act on one replica never waits for trouble with another: who is away or fails is named when nothing else is left. */
struct settle_next settle_decide(TALLOC_CTX *parent, const struct settle_facts *facts);

/* True when the replica has all that the primary acknowledges (or, asynchronous, all that it is sent). */
bool settle_is_level(const struct settle_replica *replica);

#endif
