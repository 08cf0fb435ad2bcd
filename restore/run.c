#include "restore/run.h"

#include <stddef.h>
#include <string.h>

#define STAY ""

struct row { const char *state; enum run_event event; const char *production, *uat; };

static const struct row matrix[] = {
	{ "waiting",    RUN_STEPS_BEGIN,  "restoring", "restoring" },
	{ "waiting",    RUN_ALL_RESTORED, STAY,        STAY },
	{ "waiting",    RUN_BROKEN,       "failed",    "failed" },
	{ "restoring",  RUN_STEPS_BEGIN,  STAY,        STAY },
	{ "restoring",  RUN_ALL_RESTORED, "ready",     "recovering" },
	{ "restoring",  RUN_BROKEN,       "failed",    "failed" },
	{ "ready",      RUN_STEPS_BEGIN,  "restoring", "restoring" },
	{ "ready",      RUN_ALL_RESTORED, STAY,        "recovering" },
	{ "ready",      RUN_BROKEN,       "failed",    "failed" },
	{ "cutover",    RUN_STEPS_BEGIN,  STAY,        STAY },
	{ "cutover",    RUN_ALL_RESTORED, STAY,        "recovering" },
	{ "cutover",    RUN_BROKEN,       "failed",    "failed" },
	{ "recovering", RUN_RECOVERED,    "online",    "online" },
	{ "recovering", RUN_BROKEN,       "failed",    "failed" },
};

static const struct row *
find(const char *state, enum run_event event)
{
	for (size_t i = 0; i < sizeof(matrix) / sizeof(matrix[0]); i++)
		if (matrix[i].event == event && strcmp(matrix[i].state, state) == 0)
			return &matrix[i];
	return NULL;
}

const char *
run_next(const char *state, bool is_uat, enum run_event event)
{
	const struct row *r = find(state, event);
	const char *to = r == NULL ? STAY : is_uat ? r->uat : r->production;

	return to[0] == '\0' ? NULL : to;
}

bool
run_knows(const char *state, enum run_event event)
{
	return find(state, event) != NULL;
}

/* Numbers and texts: Microsoft's list of database engine errors, 3000 to 4999; what to do is our judgement. */
static const struct { int number; enum run_remedy remedy; } remedies[] = {
	{ 922, RUN_AGAIN },   { 952, RUN_AGAIN },   { 1205, RUN_AGAIN },  { 3023, RUN_AGAIN },  { 3101, RUN_AGAIN },
	{ 3201, RUN_AGAIN },  { 3202, RUN_AGAIN },  { 3203, RUN_AGAIN },  { 3204, RUN_AGAIN },  { 4014, RUN_AGAIN },
	{ 4319, RUN_AGAIN },  { 3271, RUN_AGAIN },
	{ 3120, RUN_DONE },   { 3153, RUN_DONE },   { 4326, RUN_DONE },
	{ 3132, RUN_ASK },    { 3136, RUN_ASK },    { 3169, RUN_ASK },    { 3178, RUN_ASK },    { 3182, RUN_ASK },
	{ 3183, RUN_ASK },    { 3189, RUN_ASK },    { 3241, RUN_ASK },    { 3242, RUN_ASK },    { 3243, RUN_ASK },
	{ 3254, RUN_ASK },    { 3256, RUN_ASK },    { 4305, RUN_ASK },    { 4312, RUN_ASK },    { 4330, RUN_ASK },
	{ 33111, RUN_ASK },
	{ 262, RUN_PERSON },  { 1834, RUN_PERSON }, { 3104, RUN_PERSON }, { 3110, RUN_PERSON }, { 3117, RUN_PERSON },
	{ 3118, RUN_PERSON }, { 3154, RUN_PERSON }, { 3156, RUN_PERSON }, { 3159, RUN_PERSON }, { 3234, RUN_PERSON },
	{ 3257, RUN_PERSON }, { 3270, RUN_PERSON }, { 5133, RUN_PERSON },
};

enum run_remedy
run_remedy(int number)
{
	for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++)
		if (remedies[i].number == number)
			return remedies[i].remedy;
	return RUN_AGAIN;
}

/* What the customer must mend has no end, but is not tried often: a file that arrives wakes the run at once. */
int
run_patience(enum run_remedy remedy, int tries)
{
	enum { SHORTEST_MS = 2000, DOUBLINGS = 8 };
	int n = tries < 1 ? 1 : tries, doubled = n > DOUBLINGS ? DOUBLINGS : n;

	switch (remedy) {
	case RUN_ASK:
		return SHORTEST_MS << doubled;
	case RUN_PERSON:
		return RUN_GIVES_UP;
	case RUN_DONE:
		return n < RUN_TRIES ? 0 : RUN_GIVES_UP;
	case RUN_AGAIN:
		break;
	}
	return n < RUN_TRIES ? SHORTEST_MS << (n - 1) : RUN_GIVES_UP;
}
