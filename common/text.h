/*
 * Text that came from strangers, made safe for each place it is shown in, and conversions.
 *
 * All text inside Landfall is UTF-8. Backups hold UTF-16LE, which may be anything at all.
 */
#ifndef LANDFALL_TEXT_H
#define LANDFALL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

/*
 * For logs, terminals and text files: control characters (C0, DEL, C1), line and paragraph separators,
 * bidirectional overrides and bytes that are no UTF-8 become \xNN or \u{NNNN}; a backslash and a double
 * quote get a backslash. Reads at most max_in bytes and always ends out with NUL.
 */
void text_escape(char *out, size_t out_size, const char *in, size_t max_in);

/* The same on a talloc context, without a limit on the input. */
char *text_escaped(TALLOC_CTX *parent, const char *in);

/* For a person to read on a terminal: as above, but backslashes and quotes stay as they are (C:\data, SRV\SQL). */
char *text_shown(TALLOC_CTX *parent, const char *in);

/* & < > " ' become entities; what text_escape would escape is escaped first. */
char *text_html(TALLOC_CTX *parent, const char *in);

/*
 * UTF-16LE to UTF-8; bytes is the length in bytes (an odd last byte is dropped). Unpaired surrogates
 * become U+FFFD, U+0000 ends the text. At most max_units units are read.
 */
char *text_from_utf16(TALLOC_CTX *parent, const void *mem, size_t bytes, size_t max_units);

/* UTF-8 to UTF-16LE; *bytes gets the length. Invalid UTF-8 becomes U+FFFD. Not NUL-terminated. */
uint8_t *text_to_utf16(TALLOC_CTX *parent, const char *utf8, size_t *bytes);

/* True when s is valid UTF-8 (no surrogates, no overlong forms, at most U+10FFFF). */
bool text_is_utf8(const char *s, size_t len);

/* "4.1 MB", decimal units, into a buffer of its own kind. */
struct text_size { char s[24]; };
struct text_size text_size(uint64_t bytes);

/* Lower-case hex; out needs 2 * len + 1 bytes. */
void text_hex(char *out, const void *mem, size_t len);

#endif
