/*
 * What a customer reads in the SFTP area: README.txt, STATUS.txt and a receipt per file. Pure.
 *
 * Texts are plain, in short lines, for any viewer. What strangers wrote is escaped.
 */
#ifndef LANDFALL_STATUS_TXT_H
#define LANDFALL_STATUS_TXT_H

#include <jansson.h>
#include <talloc.h>

#include "receiver/area.h"

char *status_readme(TALLOC_CTX *parent, const char *migration, const char *database, const char *fingerprints);

/* Bounded, however many files there are. standing: this migration's object of intake_standing, or NULL while Postgres has not been reached. as_of: when. */
char *status_text(TALLOC_CTX *parent, const struct area *area, const char *database, const json_t *standing, const char *as_of);

/* facts: what the reader said, or NULL. */
char *status_receipt(TALLOC_CTX *parent, const struct file *file, const char *database, const json_t *facts);

/* "full backup of Sales, 2016" …, for one line on the session's stderr. */
char *status_what(TALLOC_CTX *parent, const json_t *facts);

#endif
