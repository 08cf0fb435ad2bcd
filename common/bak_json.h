/*
 * What the reader found, as the JSON object that `landfall inspect --json` prints and Postgres keeps.
 *
 * Column names are those of RESTORE LABELONLY, HEADERONLY and FILELISTONLY. Bits are true/false, integers
 * numbers, numeric(25,0) decimal strings, binary 0x… in upper case, GUIDs lower case, an all-zero LSN or
 * GUID null, dates 2019-05-02T21:00:55 without a zone, what cannot be known from the file null.
 */
#ifndef LANDFALL_BAK_JSON_H
#define LANDFALL_BAK_JSON_H

#include <jansson.h>

#include "common/bak.h"

/* One file's object; the caller owns the reference. file is the argument as given; newest as in bak_findings. */
json_t *bak_json(const char *file, const struct bak *bak, uint16_t newest);

/* One set's object (HEADERONLY, files, pages, log, checksums). */
json_t *bak_json_set(const struct bak *bak, const struct bak_set *set);

#endif
