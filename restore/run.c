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

/*
 * Numbers and texts: Microsoft's list of database engine errors, 0 to 5999 and 33111; what to do is our judgement. 3013 and
 * 3119 come last or in between and are never the cause, so they are not asked for here.
 */
static const struct { int number; enum run_remedy remedy; } remedies[] = {
	/* The server, the way to it, or somebody else was in the way for a moment. */
	{ 922, RUN_AGAIN },   { 952, RUN_AGAIN },   { 1205, RUN_AGAIN },  { 3023, RUN_AGAIN },  { 3101, RUN_AGAIN },
	{ 3201, RUN_AGAIN },  { 3202, RUN_AGAIN },  { 3203, RUN_AGAIN },  { 3204, RUN_AGAIN },  { 3271, RUN_AGAIN },
	{ 4014, RUN_AGAIN },
	/* Interrupted: the same set, or RECOVERY, once more. */
	{ 4319, RUN_AGAIN },  { 4347, RUN_AGAIN },
	/* It is so already. */
	{ 3120, RUN_DONE },   { 3153, RUN_DONE },   { 4326, RUN_DONE },
	/* Other backups are wanted: a sound one, all stripes, the one before, one of this base or branch, one this server can read. */
	{ 943, RUN_ASK },     { 948, RUN_ASK },     { 3116, RUN_ASK },    { 3132, RUN_ASK },    { 3133, RUN_ASK },
	{ 3136, RUN_ASK },    { 3143, RUN_ASK },    { 3155, RUN_ASK },    { 3169, RUN_ASK },    { 3178, RUN_ASK },
	{ 3182, RUN_ASK },    { 3183, RUN_ASK },    { 3189, RUN_ASK },    { 3227, RUN_ASK },    { 3231, RUN_ASK },
	{ 3241, RUN_ASK },    { 3242, RUN_ASK },    { 3243, RUN_ASK },    { 3254, RUN_ASK },    { 3255, RUN_ASK },
	{ 3256, RUN_ASK },    { 3258, RUN_ASK },    { 3283, RUN_ASK },    { 4303, RUN_ASK },    { 4305, RUN_ASK },
	{ 4312, RUN_ASK },    { 4327, RUN_ASK },    { 4330, RUN_ASK },    { 4331, RUN_ASK },    { 4341, RUN_ASK },
	{ 4349, RUN_ASK },    { 33111, RUN_ASK },
	/* Rights, space, paths, states of the platform. */
	{ 262, RUN_PERSON },  { 926, RUN_PERSON },  { 942, RUN_PERSON },  { 945, RUN_PERSON },  { 1834, RUN_PERSON },
	{ 3059, RUN_PERSON }, { 3104, RUN_PERSON }, { 3110, RUN_PERSON }, { 3142, RUN_PERSON }, { 3156, RUN_PERSON },
	{ 3167, RUN_PERSON }, { 3176, RUN_PERSON }, { 3257, RUN_PERSON }, { 3270, RUN_PERSON }, { 5120, RUN_PERSON },
	{ 5123, RUN_PERSON }, { 5133, RUN_PERSON }, { 5170, RUN_PERSON }, { 5173, RUN_PERSON }, { 4335, RUN_PERSON },
	{ 4338, RUN_PERSON }, { 4343, RUN_PERSON },
	/* What stands there can take nothing more: the chain from its beginning, which costs hours and is a person's decision. */
	{ 3118, RUN_ANEW },   { 3163, RUN_ANEW },   { 3185, RUN_ANEW },   { 4333, RUN_ANEW },
	/* Must not happen: what we asked or what stands there is not what we think. Never mended with REPLACE. */
	{ 911, RUN_WRONG },   { 927, RUN_WRONG },   { 3021, RUN_WRONG },  { 3102, RUN_WRONG },  { 3117, RUN_WRONG },
	{ 3135, RUN_WRONG },  { 3141, RUN_WRONG },  { 3145, RUN_WRONG },  { 3147, RUN_WRONG },  { 3154, RUN_WRONG },
	{ 3159, RUN_WRONG },  { 3173, RUN_WRONG },  { 3179, RUN_WRONG },  { 3180, RUN_WRONG },  { 3187, RUN_WRONG },
	{ 3234, RUN_WRONG },  { 3287, RUN_WRONG },  { 4038, RUN_WRONG },  { 4318, RUN_WRONG },  { 4323, RUN_WRONG },
	{ 4336, RUN_WRONG },  { 4337, RUN_WRONG },  { 4353, RUN_WRONG },
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
	case RUN_PERSON: case RUN_ANEW: case RUN_WRONG:
		return RUN_GIVES_UP;
	case RUN_DONE:
		return n < RUN_TRIES ? 0 : RUN_GIVES_UP;
	case RUN_AGAIN:
		break;
	}
	return n < RUN_TRIES ? SHORTEST_MS << (n - 1) : RUN_GIVES_UP;
}

const char *
run_advice(enum run_remedy remedy)
{
	switch (remedy) {
	case RUN_ASK:
		return "the customer has to send another backup; it goes on when one arrives";
	case RUN_PERSON:
		return "put it right on the server, then `migration retry`";
	case RUN_ANEW:
		return "the chain has to begin again from a full backup";
	case RUN_WRONG:
		return "this must not happen: look at the database on the server before anything else";
	case RUN_AGAIN: case RUN_DONE:
		break;
	}
	return NULL;
}
