/*
 * Values and types as they travel in TDS: what a column declares and how one value is laid out.
 *
 * Values come in the loose shape a database file gives them (NULL, integer, real, text, bytes) and are
 * put into the strict shape a column declared. Text is UTF-8 here and UTF-16LE on the wire. Everything
 * is pure: bytes in, bytes out.
 */
#ifndef LANDFALL_STANDIN_TDS_VALUE_H
#define LANDFALL_STANDIN_TDS_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/bytes.h"
#include "common/err.h"

/* Protocol versions as LOGIN7 names them; layouts differ in a few places. */
enum tds_version {
	TDS_7_1 = 0x71000001,
	TDS_7_2 = 0x72090002,
	TDS_7_3 = 0x730B0003,
	TDS_7_4 = 0x74000004,
};

/* A growing piece of output; memory hangs on the context given to tds_buf_new. */
struct tds_buf {
	uint8_t *mem;
	size_t len;
};

struct tds_buf *tds_buf_new(TALLOC_CTX *parent);
void tds_buf_clear(struct tds_buf *buf);
void tds_put(struct tds_buf *buf, const void *mem, size_t len);
void tds_put_u8(struct tds_buf *buf, unsigned v);
void tds_put_u16(struct tds_buf *buf, unsigned v);
void tds_put_u16be(struct tds_buf *buf, unsigned v);
void tds_put_u32(struct tds_buf *buf, uint32_t v);
void tds_put_u64(struct tds_buf *buf, uint64_t v);
/* UTF-16 preceded by its number of units in one byte (B_VARCHAR) or two (US_VARCHAR); longer is cut. */
void tds_put_b_varchar(struct tds_buf *buf, const char *utf8);
void tds_put_us_varchar(struct tds_buf *buf, const char *utf8);
/* Overwrites the two bytes at `at` with a length known only now. */
void tds_patch_u16(struct tds_buf *buf, size_t at, unsigned v);

enum tds_kind {
	TDS_INTEGER,   /* size 1, 2, 4 or 8 */
	TDS_BIT,
	TDS_NUMERIC,   /* precision, scale */
	TDS_FLOAT,     /* size 4 or 8 */
	TDS_DATETIME,  /* 1/300 s since 1900 */
	TDS_DATETIME2, /* scale 0 to 7 */
	TDS_DATE,
	TDS_GUID,
	TDS_NVARCHAR,  /* size in UTF-16 units; TDS_MAX_SIZE for (max) */
	TDS_NCHAR,
	TDS_VARBINARY, /* size in bytes; TDS_MAX_SIZE for (max) */
};

enum { TDS_MAX_SIZE = -1, TDS_NVARCHAR_LIMIT = 4000, TDS_VARBINARY_LIMIT = 8000 };

struct tds_type {
	enum tds_kind kind;
	int size;
	uint8_t precision, scale;
};

/* From "nvarchar(100)", "numeric(25,0)", "bigint", …; false for a name that is no type we know. */
bool tds_type_parse(const char *declared, struct tds_type *out);
/* The nearest type that a client of this protocol version can read. */
struct tds_type tds_type_for(struct tds_type type, uint32_t version);

enum tds_shape { TDS_NULL, TDS_WHOLE, TDS_REAL, TDS_TEXT, TDS_BYTES };

/* mem is borrowed: text as UTF-8 without a NUL, or bytes. */
struct tds_value {
	enum tds_shape shape;
	int64_t whole;
	double real;
	const void *mem;
	size_t len;
};

struct tds_value tds_text(const char *s); /* NULL gives NULL */
struct tds_value tds_whole(int64_t v);

void tds_put_type_info(struct tds_buf *buf, struct tds_type type);
/* False (ERR_BROKEN, code 245 and friends: the server's own words) when the value does not fit the type. */
bool tds_put_value(struct tds_buf *buf, struct tds_type type, struct tds_value value, struct err *err);

/* A parameter of a remote call: TYPE_INFO and value. The value's memory hangs on parent. */
bool tds_take_param(struct bytes *in, TALLOC_CTX *parent, struct tds_type *type, struct tds_value *value,
                    struct err *err);

/* A moment as text ("2019-05-02T21:00:55.123", date or time part optional) in days since 0001-01-01 and
 * 100 ns since midnight. */
bool tds_moment_parse(const char *text, size_t len, int32_t *days, uint64_t *ticks);
/* "2019-05-02 21:00:55.1230000", scale digits after the point. */
char *tds_moment_text(TALLOC_CTX *parent, int32_t days, uint64_t ticks, int scale);

#endif
