/*
 * The gates before RECOVERY: four questions, each with its reason when the answer is no.
 *
 * Pure; gates_of_run in ask_plan.h asks Postgres for the facts. A closed gate's why is a sentence for the
 * person who has to open it.
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
struct gate_replica { const char *name, *state, *left_out; struct lsn redo; int64_t asked; };

struct gate_facts {
	bool rehearsal;             /* a UAT run: the first gate is the only one */
	bool plan_known, plan_complete;
	const char *gap;            /* first gap's text, or NULL */
	bool cutover;               /* the source is said to be off */
	bool recovered;             /* behind us: the primary is ONLINE and stays so */
	const char *tail;           /* file name of the last log, or NULL while it is not known */
	struct lsn tail_end;
	bool tail_norecovery, tail_waived;
	int open_writers, running_steps;
	const char *continuing;     /* a partial upload that continues this chain, or NULL */
	const struct gate_replica *replicas;
	size_t n_replicas;
};

void gates_decide(TALLOC_CTX *parent, const struct gate_facts *facts, struct gate gates[GATE_N]);

#endif
