/*
 * Where a run goes next: state and event to state. Pure.
 *
 * The same moves are allowed by the table transition in Postgres, which has the last word. An event without
 * a row in the matrix is a bug that says so.
 */
#ifndef LANDFALL_RUN_H
#define LANDFALL_RUN_H

#include <stdbool.h>

enum run_event {
	RUN_STEPS_BEGIN,     /* there is something to restore and a slot to do it in */
	RUN_ALL_RESTORED,    /* every replica has what is known; the chain has no gap */
	RUN_RECOVERED,       /* the primary is ONLINE and the users are made */
	RUN_BROKEN,          /* a person must look */
};

/* NULL: stay. Static text. Both arguments are known words of the schema. */
const char *run_next(const char *state, bool is_uat, enum run_event event);

/* False when this pair has no row at all. */
bool run_knows(const char *state, enum run_event event);

/* What to do about a message of a failed RESTORE. */
enum run_remedy {
	RUN_AGAIN,   /* try later by itself */
	RUN_DONE,    /* already so: ask the target again */
	RUN_ASK,     /* the customer must send something else */
	RUN_PERSON,  /* an operator must change something */
	RUN_ANEW,    /* what stands there takes nothing more: the chain from its beginning, if a person says so */
	RUN_WRONG,   /* must not happen: stop loudly */
};
enum run_remedy run_remedy(int message_number);
/* What a person can do about it, in words; NULL when it goes on by itself. */
const char *run_advice(enum run_remedy remedy);

/*
 * How long a step that failed rests, in milliseconds (0: not at all), after so many tries in a row; RUN_GIVES_UP when it is
 * a person's turn. The distance doubles, so that a short trouble costs little time and a long one no storm of statements.
 */
enum { RUN_TRIES = 5, RUN_GIVES_UP = -1 };
int run_patience(enum run_remedy remedy, int tries);

#endif
