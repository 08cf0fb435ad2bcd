/*
 * Sidecars: full.bak.sha256 or full.bak.md5 beside full.bak, as sha256sum and md5sum write them. Pure.
 *
 * A checksum that the customer took before the upload tells what the format of a backup cannot: that the file is the
 * one that was meant. It is complete by its own form, so no time has to pass before it counts.
 */
#ifndef LANDFALL_SIDECAR_H
#define LANDFALL_SIDECAR_H

#include <stdbool.h>
#include <stddef.h>

enum { SIDECAR_BYTES_MAX = 4096, SIDECAR_HEX_MAX = 64 };

/* Digits of the digest that a file of this name holds (64 of SHA-256, 32 of MD5); 0: it is no sidecar. */
size_t sidecar_digits(const char *base);

/* Length of the path without the sidecar's suffix. */
size_t sidecar_stem(const char *path);

/*
 * The digest in a sidecar's text, in lower case: "HEX", "HEX  name", "HEX *name" or "SHA256 (name) = HEX", on the first
 * line that is not empty. False: there is none of that many digits.
 */
bool sidecar_parse(const char *text, size_t len, size_t digits, char hex[SIDECAR_HEX_MAX + 1]);

/* True for exactly that many lower-case hex digits. */
bool sidecar_is_hex(const char *s, size_t digits);

#endif
