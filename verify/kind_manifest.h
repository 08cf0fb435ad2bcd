/*
 * The check that compares every table with the manifest of the source: rows and their hash.
 *
 * Every table that differs is a line of evidence with both counts and both hashes, a missing one too.
 * A table that the manifest does not know makes a warning: dropped at the source, or not counted there.
 */
#ifndef LANDFALL_KIND_MANIFEST_H
#define LANDFALL_KIND_MANIFEST_H

#include <stdatomic.h>

#include "common/row_hash.h"
#include "verify/finding.h"
#include "verify/tables.h"

void kind_manifest(struct mssql *ms, TALLOC_CTX *mem, const struct manifest *manifest,
                   const struct tables *tables, const atomic_bool *stop, struct finding *finding);

#endif
