/*
 * The gates before RECOVERY: four questions, each with its reason when the answer is no.
 *
 * Pure; gates_of_run in ask_plan.h asks Postgres for the facts. A closed gate's why is a sentence for the
 * person who has to open it; an open one's is NULL, or by whose word it is open.
 */
#ifndef LANDFALL_GATES_H
#define LANDFALL_GATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/lsn.h"

enum { GATE_CHAIN, GATE_FROZEN, GATE_QUIET, GATE_REPLICAS, GATE_N };

struct gate { const char *name; bool open; const char *why; };

/* asked: seconds since the server itself said so. What is older than GATE_ASKED opens nothing. */
enum { GATE_ASKED = 60 };
/* stopped: its log that holds the point to stop at was restored up to there, as the server's own history says. */
struct gate_replica { const char *name, *state, *left_out; struct lsn redo; int64_t asked; bool stopped; };

struct gate_facts {
	bool rehearsal;             /* a UAT run: the first gate is the only one */
	bool plan_known, plan_complete;
	const char *gap;            /* first gap's text, or NULL */
	const char *awaits;         /* the log with the point to stop at, which has not come yet, or NULL */
	bool cutover;               /* the source is said to be off */
	bool recovered;             /* behind us: the primary is ONLINE and stays so */
	const char *tail;           /* file name of the last log, or NULL while it is not known */
	struct lsn tail_end;
	bool tail_norecovery, tail_waived;
	/* A person's point to stop at, with his reason and name, or NULL. stops: it lies in the tail, so that replicas stand before the
	 * tail's end: all where the primary does, or did when it was recovered (stop_lsn). */
	const char *stop_at, *stop_reason, *stop_by;
	bool stops;
	struct lsn stop_lsn;
	int open_writers, running_steps;
	const char *continuing;     /* a partial upload that continues this chain, or NULL */
	const struct gate_replica *replicas;
	size_t n_replicas;
};

void gates_decide(TALLOC_CTX *parent, const struct gate_facts *facts, struct gate gates[GATE_N]);

#endif
