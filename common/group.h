/*
 * Puts inspected files together: stripes to sets, the same set sent twice to one, sets to databases.
 *
 * Pure. The result borrows from the readers and file names given, which must outlive it.
 */
#ifndef LANDFALL_GROUP_H
#define LANDFALL_GROUP_H

#include "common/bak.h"
#include "common/plan.h"

struct group_file {
	const char *name;
	const struct bak *bak;
};

/*
 * One plan_set per backup set (by BackupSetGUID), with the files of its stripes in family order; a file
 * that holds a set which another file already gave comes as a set of its own, marked duplicate: of
 * two copies the whole one counts, else the first. Sets of files that are not whole are marked damaged with
 * the reader's sentence.
 */
struct plan_set *group_sets(TALLOC_CTX *parent, const struct group_file *files, size_t n_files, size_t *n);

#endif
