/*
 * What `landfall inspect` shows a person: a page per file, findings first, and the raw three tables.
 */
#ifndef LANDFALL_INSPECT_PAGE_H
#define LANDFALL_INSPECT_PAGE_H

#include "console/inspect_read.h"

/* One file at a glance; newest as in bak_findings. */
void inspect_page(const struct inspected *file, uint16_t newest);

/* Every column of LABELONLY, HEADERONLY and FILELISTONLY with its value, whether it is final, and its source. */
void inspect_columns(const struct inspected *file);

#endif
