/*
 * Log sequence numbers and GUIDs: the two kinds of value that decide the order of backups.
 *
 * An LSN is ten bytes, {u32 virtual log file, u32 block, u16 slot}; SQL Server prints it as the decimal
 * number vlf * 10^15 + block * 10^5 + slot (numeric(25,0)). It is compared and never calculated with.
 * All zero means "none" and is printed as NULL.
 */
#ifndef LANDFALL_LSN_H
#define LANDFALL_LSN_H

#include <stdbool.h>
#include <stdint.h>

struct lsn {
	uint32_t vlf;
	uint32_t block;
	uint16_t slot;
};

enum { LSN_TEXT_SIZE = 32, GUID_TEXT_SIZE = 37 };

struct lsn_text { char s[LSN_TEXT_SIZE]; };

struct lsn lsn_from_bytes(const uint8_t mem[static 10]);
void lsn_to_bytes(struct lsn lsn, uint8_t mem[static 10]);
bool lsn_is_null(struct lsn lsn);

/* -1, 0, 1 */
int lsn_compare(struct lsn a, struct lsn b);

/* "24000000006800099"; "0" for none. */
struct lsn_text lsn_text(struct lsn lsn);

/* Accepts what lsn_text prints (and "24:68:99"); false when it is no LSN. NULL and "" and "0" give none. */
bool lsn_parse(const char *text, struct lsn *out);

/* 16 bytes as SQL Server keeps them: the first three groups little-endian. */
struct guid { uint8_t b[16]; };
struct guid_text { char s[GUID_TEXT_SIZE]; };

bool guid_is_null(struct guid g);
bool guid_equal(struct guid a, struct guid b);
struct guid_text guid_text(struct guid g); /* lower case, no braces */
bool guid_parse(const char *text, struct guid *out);

#endif
