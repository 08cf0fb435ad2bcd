/*
 * The fingerprint of an SSH public key, as ssh-keygen -l prints it: SHA256: and 43 characters of base64.
 */
#ifndef LANDFALL_FINGERPRINT_H
#define LANDFALL_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>

enum { FINGERPRINT_MAX = 52, FINGERPRINT_BLOB_MAX = 8192 };

/* blob: base64 of the key, which may be anybody's text. False, and out is "", when it is no base64 or too long. */
bool fingerprint_of(const char *blob, char out[FINGERPRINT_MAX]);

/* Of the key itself. */
void fingerprint_of_bytes(const void *mem, size_t len, char out[FINGERPRINT_MAX]);

#endif
