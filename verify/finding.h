/*
 * What one attempt at a check found. Texts belong to the context of the run; evidence is one reference.
 */
#ifndef LANDFALL_FINDING_H
#define LANDFALL_FINDING_H

#include <stdbool.h>

#include <jansson.h>

#include "verify/verdict.h"

struct finding {
	enum check_result result;
	bool again;                      /* something was away: another attempt may end differently */
	const char *expected, *observed; /* NULL: nothing to say */
	json_t *evidence;                /* an array of sentences */
};

#endif
