/*
 * What preflight asks Postgres and keeps there: the backups a run would begin with, the findings per replica, and how the
 * target's reading of a set compared with ours.
 */
#ifndef LANDFALL_ASK_PREFLIGHT_H
#define LANDFALL_ASK_PREFLIGHT_H

#include <jansson.h>

#include "common/ask_restore.h"

/* n replicas have been asked; seconds since the longest ago, the fewest parts that any of them was asked with. wanted: since when
 * a person wants them asked anew, or "". */
struct preflight_last { int n, seconds; int64_t parts; bool blocks; char wanted[40]; };
bool ask_preflight_last(struct db *db, int64_t run, struct preflight_last *last, struct err *err);

/*
 * {"allow", "begun" and "full": [replica…] where a full was tried, and where it was restored or is being; "backups": [{"file", "provisional", "version", "compat", "simple", "encrypted", "tde",
 * "other_files", "collation", "stripes", "thumbprint", "was_read", "refused", "said"}], "files": [{"id", "type", "bytes"}]}:
 * of these sets (ids as a Postgres array), or, where there are none, of what is still being received. NULL with err. Values
 * of what is being received are as the session gave them: any type.
 */
json_t *ask_preflight_facts(struct db *db, const struct restore_run *run, const char *sets, struct err *err);

/* Replaces what this replica said; an event when what blocks is another than before. */
bool ask_preflight_keep(struct db *db, const struct restore_run *run, const char *replica, int64_t parts, const char *findings, struct err *err);
/* All that could be asked were, since this person wanted it; another one who wants it by now is not answered yet. */
bool ask_preflight_answered(struct db *db, const struct restore_run *run, const char *wanted, struct err *err);
/* A run that preflight keeps does not stand in the queue for a slot. */
bool ask_preflight_kept(struct db *db, const struct restore_run *run, struct err *err);

/*
 * Of these sets (a Postgres array): id, and either true when it was compared in these uploads and may be restored, or false
 * and what our reader said of it, as JSON. uploads: for each set the array of its files as text, in the same order.
 */
bool ask_compared(struct db *db, TALLOC_CTX *mem, const char *sets, const char *uploads, struct rows **list, struct err *err);

struct restore_comparison {
	int64_t set;
	const char *file, *uploads, *state; /* same, differs, stops, refused */
	int number;                         /* 0: none */
	const char *said, *differences;     /* differences: JSON */
};
/* And an event for what differs. */
bool ask_comparison_keep(struct db *db, const struct restore_run *run, const char *replica, const struct restore_comparison *c, struct err *err);

#endif
