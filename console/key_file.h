/*
 * Public keys in the forms that people send, all turned into OpenSSH's one line.
 *
 * Pure but for OpenSSL's decoding: no files, no globals.
 */
#ifndef LANDFALL_KEY_FILE_H
#define LANDFALL_KEY_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include <talloc.h>

#include "common/err.h"

/*
 * The line as in authorized_keys (options, type, base64, comment) that text holds: one line already, RFC 4716
 * ("---- BEGIN SSH2 PUBLIC KEY ----", what PuTTYgen saves) or PEM ("-----BEGIN PUBLIC KEY-----"). NULL and err
 * for anything else, for more than one key, and, loudly, for a private key. what names the file in sentences.
 * Whether the key is one that may be used is not judged here.
 */
char *key_file_line(TALLOC_CTX *mem, const char *text, size_t len, const char *what, struct err *err);

#endif
