#include "tests/standin/tds_value.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/lsn.h"
#include "common/text.h"

enum {
	TYPE_GUID = 0x24, TYPE_INTN = 0x26, TYPE_DATE = 0x28, TYPE_DATETIME2 = 0x2A, TYPE_BITN = 0x68,
	TYPE_DECIMALN = 0x6A, TYPE_NUMERICN = 0x6C, TYPE_FLTN = 0x6D, TYPE_DATETIMN = 0x6F,
	TYPE_VARBINARY = 0xA5, TYPE_VARCHAR = 0xA7, TYPE_BINARY = 0xAD, TYPE_CHAR = 0xAF,
	TYPE_NVARCHAR = 0xE7, TYPE_NCHAR = 0xEF, TYPE_NTEXT = 0x63, TYPE_TEXT = 0x23,
	TYPE_INT1 = 0x30, TYPE_BIT = 0x32, TYPE_INT2 = 0x34, TYPE_INT4 = 0x38, TYPE_INT8 = 0x7F,
	TYPE_FLT4 = 0x3B, TYPE_FLT8 = 0x3E, TYPE_DATETIME = 0x3D,
};

/* Days from 0001-01-01 to 1900-01-01, where datetime begins. */
enum { DAYS_TO_1900 = 693595, PARAM_MAX = 16 * 1024 * 1024 };

/* Latin1_General, code page 1252, sort order 52: what a server installed with SQL_Latin1_General_CP1_CI_AS says. */
static const uint8_t collation[5] = { 0x09, 0x04, 0xD0, 0x00, 0x34 };

/* ---- output ------------------------------------------------------------------------------ */

struct tds_buf *
tds_buf_new(TALLOC_CTX *parent)
{
	return talloc_zero(parent, struct tds_buf);
}

void
tds_buf_clear(struct tds_buf *buf)
{
	buf->len = 0;
}

static uint8_t *
grow(struct tds_buf *buf, size_t n)
{
	size_t room = talloc_get_size(buf->mem);

	if (buf->len + n > room)
		buf->mem = talloc_realloc_size(buf, buf->mem, (buf->len + n) * 2 + 256);
	buf->len += n;
	return buf->mem + buf->len - n;
}

void
tds_put(struct tds_buf *buf, const void *mem, size_t len)
{
	if (len > 0)
		memcpy(grow(buf, len), mem, len);
}

void
tds_put_u8(struct tds_buf *buf, unsigned v)
{
	*grow(buf, 1) = (uint8_t)v;
}

static void
put_le(struct tds_buf *buf, uint64_t v, size_t n)
{
	uint8_t *p = grow(buf, n);

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

void
tds_put_u16(struct tds_buf *buf, unsigned v)
{
	put_le(buf, v, 2);
}

void
tds_put_u16be(struct tds_buf *buf, unsigned v)
{
	tds_put_u8(buf, v >> 8);
	tds_put_u8(buf, v);
}

void
tds_put_u32(struct tds_buf *buf, uint32_t v)
{
	put_le(buf, v, 4);
}

void
tds_put_u64(struct tds_buf *buf, uint64_t v)
{
	put_le(buf, v, 8);
}

void
tds_patch_u16(struct tds_buf *buf, size_t at, unsigned v)
{
	buf->mem[at] = (uint8_t)v;
	buf->mem[at + 1] = (uint8_t)(v >> 8);
}

static void
put_utf16(struct tds_buf *buf, const char *utf8, size_t max_units, bool wide_length)
{
	size_t bytes = 0;
	uint8_t *u = text_to_utf16(NULL, utf8, &bytes);

	if (bytes > max_units * 2)
		bytes = max_units * 2;
	put_le(buf, bytes / 2, wide_length ? 2 : 1);
	tds_put(buf, u, bytes);
	talloc_free(u);
}

void
tds_put_b_varchar(struct tds_buf *buf, const char *utf8)
{
	put_utf16(buf, utf8, 255, false);
}

void
tds_put_us_varchar(struct tds_buf *buf, const char *utf8)
{
	put_utf16(buf, utf8, 8000, true);
}

/* ---- types ------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	struct tds_type type;
	enum { PLAIN, LENGTH, DIGITS, SCALE } takes;
} type_names[] = {
	{ "tinyint", { TDS_INTEGER, 1, 0, 0 }, PLAIN },
	{ "smallint", { TDS_INTEGER, 2, 0, 0 }, PLAIN },
	{ "int", { TDS_INTEGER, 4, 0, 0 }, PLAIN },
	{ "integer", { TDS_INTEGER, 4, 0, 0 }, PLAIN },
	{ "bigint", { TDS_INTEGER, 8, 0, 0 }, PLAIN },
	{ "bit", { TDS_BIT, 1, 0, 0 }, PLAIN },
	{ "real", { TDS_FLOAT, 4, 0, 0 }, PLAIN },
	{ "float", { TDS_FLOAT, 8, 0, 0 }, LENGTH },
	{ "numeric", { TDS_NUMERIC, 0, 18, 0 }, DIGITS },
	{ "decimal", { TDS_NUMERIC, 0, 18, 0 }, DIGITS },
	{ "money", { TDS_NUMERIC, 0, 19, 4 }, PLAIN },
	{ "datetime", { TDS_DATETIME, 8, 0, 3 }, PLAIN },
	{ "smalldatetime", { TDS_DATETIME, 8, 0, 3 }, PLAIN },
	{ "datetime2", { TDS_DATETIME2, 0, 0, 7 }, SCALE },
	{ "date", { TDS_DATE, 3, 0, 0 }, PLAIN },
	{ "uniqueidentifier", { TDS_GUID, 16, 0, 0 }, PLAIN },
	{ "nvarchar", { TDS_NVARCHAR, 30, 0, 0 }, LENGTH },
	{ "varchar", { TDS_NVARCHAR, 30, 0, 0 }, LENGTH },
	{ "nchar", { TDS_NCHAR, 1, 0, 0 }, LENGTH },
	{ "char", { TDS_NCHAR, 1, 0, 0 }, LENGTH },
	{ "ntext", { TDS_NVARCHAR, TDS_MAX_SIZE, 0, 0 }, PLAIN },
	{ "text", { TDS_NVARCHAR, TDS_MAX_SIZE, 0, 0 }, PLAIN },
	{ "xml", { TDS_NVARCHAR, TDS_MAX_SIZE, 0, 0 }, PLAIN },
	{ "sysname", { TDS_NVARCHAR, 128, 0, 0 }, PLAIN },
	{ "varbinary", { TDS_VARBINARY, 30, 0, 0 }, LENGTH },
	{ "binary", { TDS_VARBINARY, 30, 0, 0 }, LENGTH },
	{ "image", { TDS_VARBINARY, TDS_MAX_SIZE, 0, 0 }, PLAIN },
	{ "rowversion", { TDS_VARBINARY, 8, 0, 0 }, PLAIN },
	{ "timestamp", { TDS_VARBINARY, 8, 0, 0 }, PLAIN },
};

static void
set_length(struct tds_type *type, long n)
{
	int limit = type->kind == TDS_VARBINARY ? TDS_VARBINARY_LIMIT : TDS_NVARCHAR_LIMIT;

	/* varchar may be up to 8000; sent as nvarchar it becomes (max) above 4000. */
	type->size = n <= 0 || n > limit ? TDS_MAX_SIZE : (int)n;
}

/* Reads "(a)", "(a, b)" or "(max)"; gives the number of arguments, -1 for max. */
static int
read_arguments(const char *s, long args[2])
{
	while (*s == ' ')
		s++;
	if (*s != '(')
		return 0;
	for (s++; *s == ' ';)
		s++;
	if (strncasecmp(s, "max", 3) == 0)
		return -1;
	return sscanf(s, "%ld , %ld", &args[0], &args[1]);
}

bool
tds_type_parse(const char *declared, struct tds_type *out)
{
	size_t word = strcspn(declared, " (");
	long args[2] = { 0, 0 };
	int n = read_arguments(declared + strcspn(declared, "("), args);

	for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
		if (strlen(type_names[i].name) != word ||
		    strncasecmp(type_names[i].name, declared, word) != 0)
			continue;
		*out = type_names[i].type;
		if (type_names[i].takes == LENGTH && out->kind != TDS_FLOAT && n != 0)
			set_length(out, n < 0 ? 0 : args[0]);
		if (type_names[i].takes == DIGITS && n >= 1) {
			out->precision = (uint8_t)(args[0] < 1 || args[0] > 38 ? 38 : args[0]);
			out->scale = (uint8_t)(n < 2 || args[1] < 0 || args[1] > out->precision ? 0 : args[1]);
		}
		if (type_names[i].takes == SCALE && n >= 1)
			out->scale = (uint8_t)(args[0] < 0 || args[0] > 7 ? 7 : args[0]);
		return true;
	}
	return false;
}

struct tds_type
tds_type_for(struct tds_type type, uint32_t version)
{
	/* datetime2 and date came with 7.3; older clients get text, as a real server gives them. */
	if (version < TDS_7_3 && type.kind == TDS_DATETIME2)
		return (struct tds_type){ TDS_NVARCHAR, 27, 0, 0 };
	if (version < TDS_7_3 && type.kind == TDS_DATE)
		return (struct tds_type){ TDS_NVARCHAR, 10, 0, 0 };
	/* (max) came with 7.2. */
	if (version < TDS_7_2 && type.size == TDS_MAX_SIZE)
		type.size = type.kind == TDS_VARBINARY ? TDS_VARBINARY_LIMIT : TDS_NVARCHAR_LIMIT;
	return type;
}

static unsigned
numeric_bytes(unsigned precision)
{
	return precision <= 9 ? 5 : precision <= 19 ? 9 : precision <= 28 ? 13 : 17;
}

static unsigned
datetime2_time_bytes(unsigned scale)
{
	return scale <= 2 ? 3 : scale <= 4 ? 4 : 5;
}

void
tds_put_type_info(struct tds_buf *buf, struct tds_type type)
{
	switch (type.kind) {
	case TDS_INTEGER:
		tds_put_u8(buf, TYPE_INTN);
		tds_put_u8(buf, (unsigned)type.size);
		break;
	case TDS_BIT:
		tds_put_u8(buf, TYPE_BITN);
		tds_put_u8(buf, 1);
		break;
	case TDS_NUMERIC:
		tds_put_u8(buf, TYPE_NUMERICN);
		tds_put_u8(buf, numeric_bytes(type.precision));
		tds_put_u8(buf, type.precision);
		tds_put_u8(buf, type.scale);
		break;
	case TDS_FLOAT:
		tds_put_u8(buf, TYPE_FLTN);
		tds_put_u8(buf, (unsigned)type.size);
		break;
	case TDS_DATETIME:
		tds_put_u8(buf, TYPE_DATETIMN);
		tds_put_u8(buf, 8);
		break;
	case TDS_DATETIME2:
		tds_put_u8(buf, TYPE_DATETIME2);
		tds_put_u8(buf, type.scale);
		break;
	case TDS_DATE:
		tds_put_u8(buf, TYPE_DATE);
		break;
	case TDS_GUID:
		tds_put_u8(buf, TYPE_GUID);
		tds_put_u8(buf, 16);
		break;
	case TDS_NVARCHAR:
	case TDS_NCHAR:
		tds_put_u8(buf, type.kind == TDS_NCHAR ? TYPE_NCHAR : TYPE_NVARCHAR);
		tds_put_u16(buf, type.size == TDS_MAX_SIZE ? 0xFFFF : (unsigned)type.size * 2);
		tds_put(buf, collation, sizeof(collation));
		break;
	case TDS_VARBINARY:
		tds_put_u8(buf, TYPE_VARBINARY);
		tds_put_u16(buf, type.size == TDS_MAX_SIZE ? 0xFFFF : (unsigned)type.size);
		break;
	}
}

/* ---- moments ----------------------------------------------------------------------------- */

/* Days since 0001-01-01 in the Gregorian calendar, which is what SQL Server counts in. */
static int32_t
days_from_date(int y, int m, int d)
{
	static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
	bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
	int p = y - 1;

	return p * 365 + p / 4 - p / 100 + p / 400 + before[m - 1] + (m > 2 && leap ? 1 : 0) + d - 1;
}

static void
date_from_days(int32_t days, int *y, int *m, int *d)
{
	int year = days / 366 + 1, month = 1;

	while (days_from_date(year + 1, 1, 1) <= days)
		year++;
	while (month < 12 && days_from_date(year, month + 1, 1) <= days)
		month++;
	*y = year;
	*m = month;
	*d = days - days_from_date(year, month, 1) + 1;
}

static bool
read_date(const char **s, int32_t *days)
{
	int y, m, d, n = 0;

	if (sscanf(*s, "%4d-%2d-%2d%n", &y, &m, &d, &n) != 3 &&
	    sscanf(*s, "%4d%2d%2d%n", &y, &m, &d, &n) != 3)
		return false;
	if (n < 8 || y < 1 || y > 9999 || m < 1 || m > 12 || d < 1 || d > 31)
		return false;
	*days = days_from_date(y, m, d);
	*s += n;
	return true;
}

static bool
read_time(const char *s, uint64_t *ticks)
{
	unsigned h, m, sec = 0;
	uint64_t fraction = 0;
	int n = 0, digits = 0;

	if (sscanf(s, "%2u:%2u%n", &h, &m, &n) != 2)
		return false;
	s += n;
	if (sscanf(s, ":%2u%n", &sec, &n) == 1)
		s += n;
	if (*s == '.')
		for (s++; isdigit((unsigned char)*s); s++, digits++)
			if (digits < 7)
				fraction = fraction * 10 + (uint64_t)(*s - '0');
	for (; digits < 7; digits++)
		fraction *= 10;
	*ticks = (((uint64_t)h * 60 + m) * 60 + sec) * 10000000 + fraction;
	return h < 24 && m < 60 && sec < 60 && (*s == '\0' || *s == 'Z' || *s == ' ');
}

bool
tds_moment_parse(const char *text, size_t len, int32_t *days, uint64_t *ticks)
{
	char copy[48];
	const char *s = copy;
	bool dated;

	if (len == 0 || len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	*days = DAYS_TO_1900;
	*ticks = 0;
	dated = read_date(&s, days);
	while (dated && (*s == 'T' || *s == ' '))
		s++;
	return *s == '\0' ? dated : read_time(s, ticks);
}

char *
tds_moment_text(TALLOC_CTX *parent, int32_t days, uint64_t ticks, int scale)
{
	int y, m, d;
	unsigned s = (unsigned)(ticks / 10000000);
	char *out;

	date_from_days(days, &y, &m, &d);
	out = talloc_asprintf(parent, "%04d-%02d-%02d %02u:%02u:%02u.%07u", y, m, d, s / 3600,
	                      s / 60 % 60, s % 60, (unsigned)(ticks % 10000000));
	out[scale == 0 ? 19 : 20 + scale] = '\0';
	return out;
}

/* ---- values out -------------------------------------------------------------------------- */

struct tds_value
tds_text(const char *s)
{
	if (s == NULL)
		return (struct tds_value){ .shape = TDS_NULL };
	return (struct tds_value){ .shape = TDS_TEXT, .mem = s, .len = strlen(s) };
}

struct tds_value
tds_whole(int64_t v)
{
	return (struct tds_value){ .shape = TDS_WHOLE, .whole = v };
}

/* The value as text in a fixed place; long text is cut, which only matters for numbers and moments. */
struct short_text { char s[128]; };

static struct short_text
as_text(const struct tds_value *v)
{
	struct short_text t = { "" };

	if (v->shape == TDS_WHOLE)
		snprintf(t.s, sizeof(t.s), "%" PRId64, v->whole);
	else if (v->shape == TDS_REAL)
		snprintf(t.s, sizeof(t.s), "%.15g", v->real);
	else if (v->shape == TDS_TEXT || v->shape == TDS_BYTES)
		snprintf(t.s, sizeof(t.s), "%.*s", (int)(v->len < 127 ? v->len : 127), (const char *)v->mem);
	return t;
}

static bool
cannot_convert(struct err *err, const struct tds_value *v, const char *to)
{
	return err_set(err, ERR_BROKEN, 245,
	               "Conversion failed when converting the nvarchar value '%s' to data type %s.",
	               as_text(v).s, to);
}

static bool
as_whole(const struct tds_value *v, int64_t *out)
{
	struct short_text t;
	char *end;

	if (v->shape == TDS_WHOLE) {
		*out = v->whole;
		return true;
	}
	if (v->shape == TDS_REAL) {
		if (!(v->real > -9.2e18 && v->real < 9.2e18))
			return false;
		*out = (int64_t)v->real;
		return true;
	}
	t = as_text(v);
	if (strcasecmp(t.s, "true") == 0 || strcasecmp(t.s, "false") == 0) {
		*out = (t.s[0] | 0x20) == 't';
		return true;
	}
	*out = strtoll(t.s, &end, 10);
	while (*end == ' ')
		end++;
	return *end == '\0';
}

static bool
put_integer(struct tds_buf *buf, struct tds_type type, const struct tds_value *v, struct err *err)
{
	int64_t n, limit = type.size == 8 ? INT64_MAX : ((int64_t)1 << (8 * type.size - 1)) - 1;
	int64_t low = type.size == 1 ? 0 : -limit - 1;

	if (type.size == 1)
		limit = 255;
	if (!as_whole(v, &n))
		return cannot_convert(err, v, "int");
	if (n < low || n > limit)
		return err_set(err, ERR_BROKEN, 8115,
		               "Arithmetic overflow error converting expression to data type %s.",
		               type.size == 8 ? "bigint" : type.size == 4 ? "int" : "tinyint");
	tds_put_u8(buf, (unsigned)type.size);
	put_le(buf, (uint64_t)n, (size_t)type.size);
	return true;
}

/* Decimal digits to sign and magnitude scaled to `scale`; more digits after the point are rounded away. */
static bool
parse_decimal(const char *s, unsigned scale, bool *negative, unsigned __int128 *magnitude)
{
	unsigned __int128 m = 0;
	unsigned after = 0;
	bool point = false, any = false, round_up = false;

	*negative = *s == '-';
	if (*s == '-' || *s == '+')
		s++;
	for (; *s != '\0'; s++) {
		if (*s == '.' && !point) {
			point = true;
			continue;
		}
		if (!isdigit((unsigned char)*s) || m > (((unsigned __int128)-1) - 9) / 10)
			return false;
		any = true;
		if (point && after == scale) {
			round_up = *s >= '5';
			break;
		}
		m = m * 10 + (unsigned)(*s - '0');
		after += point;
	}
	for (; after < scale; after++)
		m *= 10;
	*magnitude = m + round_up;
	return any;
}

static bool
put_numeric(struct tds_buf *buf, struct tds_type type, const struct tds_value *v, struct err *err)
{
	unsigned n = numeric_bytes(type.precision);
	unsigned __int128 m, limit = 1;
	struct short_text t = as_text(v);
	bool negative;

	if (v->shape == TDS_REAL)
		snprintf(t.s, sizeof(t.s), "%.*f", type.scale, v->real);
	if (!parse_decimal(t.s, type.scale, &negative, &m))
		return err_set(err, ERR_BROKEN, 8114, "Error converting data type nvarchar to numeric.");
	for (unsigned i = 0; i < type.precision; i++)
		limit *= 10;
	if (m >= limit)
		return err_set(err, ERR_BROKEN, 8115,
		               "Arithmetic overflow error converting expression to data type numeric.");
	tds_put_u8(buf, n);
	tds_put_u8(buf, !negative);
	for (unsigned i = 0; i < n - 1; i++)
		tds_put_u8(buf, (uint8_t)(m >> 8 * i));
	return true;
}

static bool
put_float(struct tds_buf *buf, struct tds_type type, const struct tds_value *v, struct err *err)
{
	struct short_text t = as_text(v);
	char *end;
	double d = v->shape == TDS_REAL ? v->real : strtod(t.s, &end);
	float f = (float)d;
	uint32_t f_bits;
	uint64_t d_bits;

	if (v->shape != TDS_REAL && *end != '\0')
		return err_set(err, ERR_BROKEN, 8114, "Error converting data type nvarchar to float.");
	memcpy(&f_bits, &f, 4);
	memcpy(&d_bits, &d, 8);
	tds_put_u8(buf, (unsigned)type.size);
	put_le(buf, type.size == 4 ? f_bits : d_bits, (size_t)type.size);
	return true;
}

static bool
put_moment(struct tds_buf *buf, struct tds_type type, const struct tds_value *v, struct err *err)
{
	struct short_text t = as_text(v);
	int32_t days;
	uint64_t ticks, unit = 1;
	unsigned n = type.kind == TDS_DATE ? 0 : datetime2_time_bytes(type.scale);

	if (!tds_moment_parse(t.s, strlen(t.s), &days, &ticks))
		return err_set(err, ERR_BROKEN, 241,
		               "Conversion failed when converting date and/or time from character string.");
	if (type.kind == TDS_DATETIME) {
		uint64_t part = (ticks * 3 + 50000) / 100000; /* 1/300 s, rounded */

		if (part >= 300ull * 86400) {
			part = 0;
			days++;
		}
		tds_put_u8(buf, 8);
		tds_put_u32(buf, (uint32_t)(days - DAYS_TO_1900));
		tds_put_u32(buf, (uint32_t)part);
		return true;
	}
	for (int i = type.scale; i < 7; i++)
		unit *= 10;
	tds_put_u8(buf, n + 3);
	put_le(buf, ticks / unit, n);
	put_le(buf, (uint64_t)days, 3);
	return true;
}

static bool
put_guid(struct tds_buf *buf, const struct tds_value *v, struct err *err)
{
	struct guid g;

	if (v->shape == TDS_BYTES && v->len == 16)
		memcpy(g.b, v->mem, 16);
	else if (!guid_parse(as_text(v).s, &g))
		return err_set(err, ERR_BROKEN, 8169,
		               "Conversion failed when converting from a character string to uniqueidentifier.");
	tds_put_u8(buf, 16);
	tds_put(buf, g.b, 16);
	return true;
}

/* PLP: total length, one chunk, end. An empty value has no chunk. */
static void
put_chunked(struct tds_buf *buf, const void *mem, size_t len)
{
	tds_put_u64(buf, len);
	if (len > 0) {
		tds_put_u32(buf, (uint32_t)len);
		tds_put(buf, mem, len);
	}
	tds_put_u32(buf, 0);
}

static bool
put_string(struct tds_buf *buf, struct tds_type type, const struct tds_value *v)
{
	struct short_text t = as_text(v);
	bool loose = v->shape != TDS_TEXT && v->shape != TDS_BYTES;
	char *text = talloc_strndup(NULL, loose ? t.s : v->mem, loose ? strlen(t.s) : v->len);
	size_t bytes = 0;
	uint8_t *u = text_to_utf16(text, text, &bytes);

	if (type.size == TDS_MAX_SIZE) {
		put_chunked(buf, u, bytes);
	} else {
		size_t room = (size_t)type.size * 2, n = bytes < room ? bytes : room;

		tds_put_u16(buf, (unsigned)(type.kind == TDS_NCHAR ? room : n));
		tds_put(buf, u, n);
		for (; type.kind == TDS_NCHAR && n < room; n += 2)
			tds_put_u16(buf, ' ');
	}
	talloc_free(text);
	return true;
}

static bool
put_binary(struct tds_buf *buf, struct tds_type type, const struct tds_value *v)
{
	struct tds_value whole = *v;
	uint8_t be[8];

	if (v->shape == TDS_WHOLE) {
		for (int i = 0; i < 8; i++)
			be[i] = (uint8_t)((uint64_t)v->whole >> (56 - 8 * i));
		whole = (struct tds_value){ .shape = TDS_BYTES, .mem = be + 4, .len = 4 };
	}
	if (type.size == TDS_MAX_SIZE) {
		put_chunked(buf, whole.mem, whole.len);
		return true;
	}
	if (whole.len > (size_t)type.size)
		whole.len = (size_t)type.size;
	tds_put_u16(buf, (unsigned)whole.len);
	tds_put(buf, whole.mem, whole.len);
	return true;
}

static void
put_null(struct tds_buf *buf, struct tds_type type)
{
	bool variable = type.kind == TDS_NVARCHAR || type.kind == TDS_NCHAR || type.kind == TDS_VARBINARY;

	if (variable && type.size == TDS_MAX_SIZE)
		tds_put_u64(buf, UINT64_MAX);
	else if (variable)
		tds_put_u16(buf, 0xFFFF);
	else
		tds_put_u8(buf, 0);
}

bool
tds_put_value(struct tds_buf *buf, struct tds_type type, struct tds_value value, struct err *err)
{
	int64_t n;

	if (value.shape == TDS_NULL) {
		put_null(buf, type);
		return true;
	}
	switch (type.kind) {
	case TDS_INTEGER:
		return put_integer(buf, type, &value, err);
	case TDS_BIT:
		if (!as_whole(&value, &n))
			return cannot_convert(err, &value, "bit");
		tds_put_u8(buf, 1);
		tds_put_u8(buf, n != 0);
		return true;
	case TDS_NUMERIC:
		return put_numeric(buf, type, &value, err);
	case TDS_FLOAT:
		return put_float(buf, type, &value, err);
	case TDS_DATETIME:
	case TDS_DATETIME2:
	case TDS_DATE:
		return put_moment(buf, type, &value, err);
	case TDS_GUID:
		return put_guid(buf, &value, err);
	case TDS_NVARCHAR:
	case TDS_NCHAR:
		return put_string(buf, type, &value);
	case TDS_VARBINARY:
		return put_binary(buf, type, &value);
	}
	return err_set(err, ERR_BUG, 0, "no such kind of value: %d", (int)type.kind);
}

/* ---- values in: parameters of remote calls ------------------------------------------------ */

static bool
bad_param(struct err *err, const char *why)
{
	return err_set(err, ERR_BROKEN, 8009, "The incoming tabular data stream (TDS) remote procedure "
	               "call (RPC) protocol stream is incorrect: %s.", why);
}

/* Collects the chunks of a value of unknown length. */
static bool
take_chunks(struct bytes *in, TALLOC_CTX *parent, struct tds_value *v, struct err *err)
{
	uint64_t total = bytes_u64(in);
	uint8_t *mem = NULL;
	size_t len = 0;

	if (total == UINT64_MAX) {
		v->shape = TDS_NULL;
		return true;
	}
	for (;;) {
		uint32_t n = bytes_u32(in);
		const uint8_t *p;

		if (n == 0 || in->short_of)
			break;
		p = bytes_take(in, n);
		if (p == NULL || len + n > PARAM_MAX)
			return bad_param(err, "a chunk is longer than the message");
		mem = talloc_realloc(parent, mem, uint8_t, len + n);
		memcpy(mem + len, p, n);
		len += n;
	}
	*v = (struct tds_value){ .shape = TDS_BYTES, .mem = mem == NULL ? (const void *)"" : mem, .len = len };
	return true;
}

static bool
take_sized(struct bytes *in, int length_bytes, struct tds_value *v, struct err *err)
{
	uint32_t n = length_bytes == 1 ? bytes_u8(in) : length_bytes == 2 ? bytes_u16(in) : bytes_u32(in);
	bool none = (length_bytes == 1 && n == 0) || (length_bytes == 2 && n == 0xFFFF) ||
	            (length_bytes == 4 && n == UINT32_MAX);
	const uint8_t *p;

	if (none) {
		v->shape = TDS_NULL;
		return true;
	}
	p = bytes_take(in, n);
	if (p == NULL)
		return bad_param(err, "a value is longer than the message");
	*v = (struct tds_value){ .shape = TDS_BYTES, .mem = p, .len = n };
	return true;
}

static uint64_t
little_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n && i < 8; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

static void
own_text(TALLOC_CTX *parent, struct tds_value *v, char *text)
{
	*v = (struct tds_value){ .shape = TDS_TEXT, .mem = talloc_steal(parent, text), .len = strlen(text) };
}

static bool
decode_numeric(TALLOC_CTX *parent, struct tds_type type, struct tds_value *v, struct err *err)
{
	const uint8_t *p = v->mem;
	unsigned __int128 m = 0;
	char digits[64];
	int at = sizeof(digits) - 1, n = 0;

	if (v->len < 2 || v->len > 17)
		return bad_param(err, "a numeric of impossible length");
	for (size_t i = v->len - 1; i >= 1; i--)
		m = m << 8 | p[i];
	digits[at] = '\0';
	do {
		if (n == type.scale && n > 0)
			digits[--at] = '.';
		digits[--at] = (char)('0' + (int)(m % 10));
		m /= 10;
		n++;
	} while (m > 0 || n <= type.scale);
	own_text(parent, v, talloc_asprintf(parent, "%s%s", p[0] ? "" : "-", digits + at));
	return true;
}

static bool
decode_moment(TALLOC_CTX *parent, struct tds_type type, struct tds_value *v, struct err *err)
{
	const uint8_t *p = v->mem;
	int64_t days;
	uint64_t ticks = 0;
	int scale = type.scale;

	if (type.kind == TDS_DATETIME) {
		if (v->len != 4 && v->len != 8)
			return bad_param(err, "a datetime of impossible length");
		/* Of four bytes it is a smalldatetime: days and minutes. */
		days = (v->len == 8 ? (int32_t)little_endian(p, 4) : (int64_t)little_endian(p, 2)) + (int64_t)DAYS_TO_1900;
		ticks = v->len == 8 ? (little_endian(p + 4, 4) * 100000 + 1) / 3 : little_endian(p + 2, 2) * 600000000;
		scale = 3;
	} else {
		if (v->len < 3 || v->len > 8)
			return bad_param(err, "a date of impossible length");
		ticks = little_endian(p, v->len - 3);
		for (int i = scale; type.kind == TDS_DATETIME2 && i < 7; i++)
			ticks *= 10;
		days = (int64_t)little_endian(p + v->len - 3, 3);
	}
	if (days < 0 || days > 3652058 || ticks >= 864000000000ull)
		return bad_param(err, "a date outside the calendar");
	own_text(parent, v, tds_moment_text(parent, (int32_t)days, ticks, scale));
	if (type.kind == TDS_DATE)
		v->len = 10;
	return true;
}

/* Turns the wire's bytes into the loose shape. */
static bool
decode(TALLOC_CTX *parent, struct tds_type type, bool narrow, struct tds_value *v, struct err *err)
{
	const uint8_t *p = v->mem;
	double d;
	float f;

	if (v->shape == TDS_NULL)
		return true;
	switch (type.kind) {
	case TDS_INTEGER:
	case TDS_BIT: {
		size_t n = v->len;
		uint64_t raw = little_endian(p, n);

		if (n != 1 && n != 2 && n != 4 && n != 8)
			return bad_param(err, "an integer of impossible length");
		*v = tds_whole(n == 1 ? (int64_t)raw : n == 2 ? (int16_t)raw : n == 4 ? (int32_t)raw : (int64_t)raw);
		return true;
	}
	case TDS_FLOAT:
		if (v->len != 4 && v->len != 8)
			return bad_param(err, "a float of impossible length");
		memcpy(&f, p, 4);
		d = f;
		if (v->len == 8)
			memcpy(&d, p, 8);
		*v = (struct tds_value){ .shape = TDS_REAL, .real = d };
		return true;
	case TDS_NUMERIC:
		return decode_numeric(parent, type, v, err);
	case TDS_DATETIME:
	case TDS_DATETIME2:
	case TDS_DATE:
		return decode_moment(parent, type, v, err);
	case TDS_GUID: {
		struct guid g;

		if (v->len != 16)
			return bad_param(err, "a uniqueidentifier of impossible length");
		memcpy(g.b, p, 16);
		own_text(parent, v, talloc_strdup(parent, guid_text(g).s));
		return true;
	}
	case TDS_NVARCHAR:
	case TDS_NCHAR:
		own_text(parent, v, narrow ? talloc_strndup(parent, (const char *)p, v->len)
		                           : text_from_utf16(parent, p, v->len, v->len / 2));
		return true;
	case TDS_VARBINARY:
		return true;
	}
	return bad_param(err, "a type nobody knows");
}

/* Sizes that a type of this token can have. */
static bool
is_size_of(unsigned token, unsigned n)
{
	switch (token) {
	case TYPE_INTN: return n == 1 || n == 2 || n == 4 || n == 8;
	case TYPE_BITN: return n == 1;
	case TYPE_GUID: return n == 16;
	default: return n == 4 || n == 8; /* float and datetime */
	}
}

/* TYPE_INFO of one parameter: its kind, how its length is written (0: fixed size), whether text is narrow. */
static bool
take_type_info(struct bytes *in, struct tds_type *type, int *length_bytes, bool *narrow, struct err *err)
{
	unsigned token = bytes_u8(in), n;

	*narrow = token == TYPE_VARCHAR || token == TYPE_CHAR || token == TYPE_TEXT;
	*length_bytes = 1;
	switch (token) {
	case TYPE_INTN: case TYPE_BITN: case TYPE_FLTN: case TYPE_DATETIMN: case TYPE_GUID:
		n = bytes_u8(in);
		if (!is_size_of(token, n))
			return bad_param(err, "a type of impossible size");
		*type = (struct tds_type){ token == TYPE_INTN ? TDS_INTEGER : token == TYPE_BITN ? TDS_BIT
			: token == TYPE_FLTN ? TDS_FLOAT : token == TYPE_GUID ? TDS_GUID : TDS_DATETIME,
			(int)n, 0, 0 };
		return true;
	case TYPE_INT1: case TYPE_BIT: case TYPE_INT2: case TYPE_INT4: case TYPE_INT8:
		n = token == TYPE_INT2 ? 2 : token == TYPE_INT4 ? 4 : token == TYPE_INT8 ? 8 : 1;
		*length_bytes = 0;
		*type = (struct tds_type){ token == TYPE_BIT ? TDS_BIT : TDS_INTEGER, (int)n, 0, 0 };
		return true;
	case TYPE_FLT4: case TYPE_FLT8: case TYPE_DATETIME:
		*length_bytes = 0;
		*type = (struct tds_type){ token == TYPE_DATETIME ? TDS_DATETIME : TDS_FLOAT,
			token == TYPE_FLT4 ? 4 : 8, 0, 0 };
		return true;
	case TYPE_DECIMALN: case TYPE_NUMERICN:
		bytes_u8(in);
		*type = (struct tds_type){ .kind = TDS_NUMERIC };
		type->precision = bytes_u8(in);
		type->scale = bytes_u8(in);
		return (type->precision >= 1 && type->precision <= 38 && type->scale <= type->precision) ||
		       bad_param(err, "a numeric with an impossible scale");
	case TYPE_DATE:
		*type = (struct tds_type){ TDS_DATE, 3, 0, 0 };
		return true;
	case TYPE_DATETIME2:
		*type = (struct tds_type){ .kind = TDS_DATETIME2 };
		type->scale = bytes_u8(in);
		return type->scale <= 7 || bad_param(err, "a datetime2 with an impossible scale");
	case TYPE_NVARCHAR: case TYPE_NCHAR: case TYPE_VARCHAR: case TYPE_CHAR:
	case TYPE_VARBINARY: case TYPE_BINARY: {
		bool binary = token == TYPE_VARBINARY || token == TYPE_BINARY;

		n = bytes_u16(in);
		if (!binary)
			bytes_take(in, 5);
		*length_bytes = n == 0xFFFF ? 8 : 2;
		*type = (struct tds_type){ binary ? TDS_VARBINARY : TDS_NVARCHAR,
			n == 0xFFFF ? TDS_MAX_SIZE : (int)(binary || *narrow ? n : n / 2), 0, 0 };
		return true;
	}
	case TYPE_NTEXT: case TYPE_TEXT:
		bytes_u32(in);
		bytes_take(in, 5);
		*length_bytes = 4;
		*type = (struct tds_type){ TDS_NVARCHAR, TDS_MAX_SIZE, 0, 0 };
		return true;
	default:
		return bad_param(err, "a parameter's type is not supported");
	}
}

bool
tds_take_param(struct bytes *in, TALLOC_CTX *parent, struct tds_type *type, struct tds_value *value,
               struct err *err)
{
	int length_bytes;
	bool narrow;

	*value = (struct tds_value){ .shape = TDS_NULL };
	if (!take_type_info(in, type, &length_bytes, &narrow, err))
		return false;
	if (length_bytes == 0) {
		const uint8_t *p = bytes_take(in, (size_t)type->size);

		if (p != NULL)
			*value = (struct tds_value){ .shape = TDS_BYTES, .mem = p, .len = (size_t)type->size };
	} else if (length_bytes == 8) {
		if (!take_chunks(in, parent, value, err))
			return false;
	} else if (!take_sized(in, length_bytes, value, err)) {
		return false;
	}
	if (in->short_of)
		return bad_param(err, "the message ends within a parameter");
	return decode(parent, *type, narrow, value, err);
}
