/*
 * Reads many backup files at once, as many as there are cores, and shows how far it is.
 */
#ifndef LANDFALL_INSPECT_READ_H
#define LANDFALL_INSPECT_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "common/bak.h"

struct inspected {
	const char *name;    /* in UTF-8; what is not is escaped */
	const char *path;    /* as given */
	TALLOC_CTX *mem;     /* of this file alone: threads share nothing */
	struct bak *bak;     /* NULL where the file cannot be read */
	const char *trouble; /* why it cannot */
};

/* files have name and path. Fills in the rest; what is read hangs on parent. With a terminal behind standard error,
 * reading that takes a while shows its progress there. */
void inspect_read(TALLOC_CTX *parent, struct inspected *files, size_t n);

#endif
