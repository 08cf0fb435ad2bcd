/*
 * Names that clients send, turned into one spot inside a customer's area, or a refusal in words.
 *
 * Pure. A spot is a normalised absolute path of the area ("/", "/dump/full.bak"): no empty part, no "."
 * and "..", no NUL, no control characters, no backslash, valid UTF-8. ".." at the root stays at the root,
 * as sftp-server's clients expect of a chroot; it can lead nowhere else, because names are never given to
 * the file system: an upload lives on disk under a key of ours.
 */
#ifndef LANDFALL_PLACE_H
#define LANDFALL_PLACE_H

#include <stdbool.h>

#include <talloc.h>

#include "common/err.h"

enum { PLACE_PATH_MAX = 1024, PLACE_PART_MAX = 255, PLACE_DEPTH_MAX = 16 };

/* NULL with err (ERR_REFUSED, a sentence for the customer) when the path cannot be a name here. */
char *place_normal(TALLOC_CTX *parent, const char *path, size_t len, struct err *err);

enum place_kind {
	PLACE_DROP,     /* the customer's own */
	PLACE_README, PLACE_STATUS, PLACE_RECEIPTS, PLACE_OUTBOX, /* ours: read-only, and all beneath */
};
enum place_kind place_kind(const char *normal);

const char *place_base(const char *normal);                      /* last part, "" for the root */
char *place_parent(TALLOC_CTX *parent, const char *normal);

/* .part .partial .filepart .tmp .temp .crdownload .uploading .upload .ocTransferId, a leading . or ~ or a trailing ~: never arrives. */
bool place_is_temporary(const char *base);
/* .bak .trn .dif .full .log, whatever the case; looks beneath a temporary suffix. */
bool place_is_backup(const char *base);

#endif
