#include "common/text.h"

#include <stdio.h>
#include <string.h>

/* One code point from UTF-8; returns its length, or 0 where the bytes are no UTF-8. */
static size_t
decode(const uint8_t *s, size_t len, uint32_t *cp)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n;
	uint32_t c;

	if (len == 0)
		return 0;
	c = s[0];
	if (c < 0x80) {
		*cp = c;
		return 1;
	}
	if (c >= 0xC2 && c <= 0xDF)
		n = 2, c &= 0x1F;
	else if (c >= 0xE0 && c <= 0xEF)
		n = 3, c &= 0x0F;
	else if (c >= 0xF0 && c <= 0xF4)
		n = 4, c &= 0x07;
	else
		return 0;
	if (len < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3Fu);
	}
	if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return 0;
	*cp = c;
	return n;
}

static size_t
encode(char *out, uint32_t c)
{
	uint8_t *o = (uint8_t *)out;

	if (c < 0x80) {
		o[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		o[0] = (uint8_t)(0xC0 | c >> 6);
		o[1] = (uint8_t)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000) {
		o[0] = (uint8_t)(0xE0 | c >> 12);
		o[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
		o[2] = (uint8_t)(0x80 | (c & 0x3F));
		return 3;
	}
	o[0] = (uint8_t)(0xF0 | c >> 18);
	o[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
	o[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
	o[3] = (uint8_t)(0x80 | (c & 0x3F));
	return 4;
}

/* Characters that move the cursor, break the line or turn the direction of writing. */
static bool
is_dangerous(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0x061C ||
	       (c >= 0x200B && c <= 0x200F) || (c >= 0x202A && c <= 0x202E) ||
	       (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
	       (c >= 0xE0000 && c <= 0xE0FFF);
}

/* With quoting, what comes out can be told apart from what went in; without, Windows paths stay readable. */
static void
escape(char *out, size_t out_size, const char *in, size_t max_in, bool quoting)
{
	const uint8_t *s = (const uint8_t *)in;
	size_t len = strnlen(in, max_in), at = 0;
	char piece[16];

	if (out_size == 0)
		return;
	for (size_t i = 0, n; i < len; i += n == 0 ? 1 : n) {
		uint32_t c = 0;
		int w;

		n = decode(s + i, len - i, &c);
		if (n == 0)
			w = snprintf(piece, sizeof(piece), "\\x%02x", s[i]);
		else if (quoting && (c == '\\' || c == '"'))
			w = snprintf(piece, sizeof(piece), "\\%c", (int)c);
		else if (is_dangerous(c))
			w = snprintf(piece, sizeof(piece), c < 0x80 ? "\\x%02x" : "\\u{%04x}", c);
		else
			w = snprintf(piece, sizeof(piece), "%.*s", (int)n, in + i);
		if (at + (size_t)w + 1 > out_size)
			break;
		memcpy(out + at, piece, (size_t)w);
		at += (size_t)w;
	}
	out[at] = '\0';
}

void
text_escape(char *out, size_t out_size, const char *in, size_t max_in)
{
	escape(out, out_size, in, max_in, true);
}

static char *
escaped(TALLOC_CTX *parent, const char *in, bool quoting)
{
	size_t len = strlen(in), room = len * 10 + 1;
	char *out = talloc_array(parent, char, room);

	escape(out, room, in, len, quoting);
	return talloc_realloc(parent, out, char, strlen(out) + 1);
}

char *
text_escaped(TALLOC_CTX *parent, const char *in)
{
	return escaped(parent, in, true);
}

char *
text_shown(TALLOC_CTX *parent, const char *in)
{
	return escaped(parent, in, false);
}

char *
text_html(TALLOC_CTX *parent, const char *in)
{
	const uint8_t *s = (const uint8_t *)in;
	size_t len = strlen(in), at = 0;
	char *out = talloc_array(parent, char, len * 12 + 1);

	for (size_t i = 0, n; i < len; i += n == 0 ? 1 : n) {
		uint32_t c = 0;

		n = decode(s + i, len - i, &c);
		if (n == 0)
			at += (size_t)sprintf(out + at, "\\x%02x", s[i]);
		else if (c == '&')
			at += (size_t)sprintf(out + at, "&amp;");
		else if (c == '<')
			at += (size_t)sprintf(out + at, "&lt;");
		else if (c == '>')
			at += (size_t)sprintf(out + at, "&gt;");
		else if (c == '"')
			at += (size_t)sprintf(out + at, "&quot;");
		else if (c == '\'')
			at += (size_t)sprintf(out + at, "&#39;");
		else if (is_dangerous(c) && c != '\n')
			at += (size_t)sprintf(out + at, "\\u{%04x}", c);
		else {
			memcpy(out + at, in + i, n);
			at += n;
		}
	}
	out[at] = '\0';
	return talloc_realloc(parent, out, char, at + 1);
}

char *
text_from_utf16(TALLOC_CTX *parent, const void *mem, size_t bytes, size_t max_units)
{
	const uint8_t *p = mem;
	size_t units = bytes / 2, at = 0;
	char *out;

	if (units > max_units)
		units = max_units;
	out = talloc_array(parent, char, units * 3 + 1);
	for (size_t i = 0; i < units; i++) {
		uint32_t c = (uint32_t)(p[2 * i] | p[2 * i + 1] << 8);

		if (c == 0)
			break;
		if (c >= 0xD800 && c <= 0xDBFF && i + 1 < units) {
			uint32_t low = (uint32_t)(p[2 * i + 2] | p[2 * i + 3] << 8);

			if (low >= 0xDC00 && low <= 0xDFFF) {
				c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
				i++;
			}
		}
		if (c >= 0xD800 && c <= 0xDFFF)
			c = 0xFFFD;
		at += encode(out + at, c);
	}
	out[at] = '\0';
	return talloc_realloc(parent, out, char, at + 1);
}

uint8_t *
text_to_utf16(TALLOC_CTX *parent, const char *utf8, size_t *bytes)
{
	const uint8_t *s = (const uint8_t *)utf8;
	size_t len = strlen(utf8), at = 0;
	uint8_t *out = talloc_array(parent, uint8_t, len * 2 + 2);

	for (size_t i = 0, n; i < len; i += n == 0 ? 1 : n) {
		uint32_t c = 0xFFFD;

		n = decode(s + i, len - i, &c);
		if (c >= 0x10000) {
			uint32_t high = 0xD800 + ((c - 0x10000) >> 10);

			out[at++] = (uint8_t)high;
			out[at++] = (uint8_t)(high >> 8);
			c = 0xDC00 + ((c - 0x10000) & 0x3FF);
		}
		out[at++] = (uint8_t)c;
		out[at++] = (uint8_t)(c >> 8);
	}
	*bytes = at;
	return out;
}

bool
text_is_utf8(const char *s, size_t len)
{
	uint32_t c;

	for (size_t i = 0, n; i < len; i += n)
		if ((n = decode((const uint8_t *)s + i, len - i, &c)) == 0)
			return false;
	return true;
}

struct text_size
text_size(uint64_t bytes)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
	struct text_size out;
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 999.95 && u + 1 < sizeof(units) / sizeof(units[0])) {
		v /= 1000;
		u++;
	}
	snprintf(out.s, sizeof(out.s), u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
	return out;
}

void
text_hex(char *out, const void *mem, size_t len)
{
	const uint8_t *p = mem;

	for (size_t i = 0; i < len; i++)
		sprintf(out + 2 * i, "%02x", p[i]);
	out[2 * len] = '\0';
}
