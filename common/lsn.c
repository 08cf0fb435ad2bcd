#include "common/lsn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lsn
lsn_from_bytes(const uint8_t m[static 10])
{
	return (struct lsn){
		.vlf = (uint32_t)m[0] | (uint32_t)m[1] << 8 | (uint32_t)m[2] << 16 | (uint32_t)m[3] << 24,
		.block = (uint32_t)m[4] | (uint32_t)m[5] << 8 | (uint32_t)m[6] << 16 | (uint32_t)m[7] << 24,
		.slot = (uint16_t)(m[8] | m[9] << 8),
	};
}

void
lsn_to_bytes(struct lsn lsn, uint8_t m[static 10])
{
	for (int i = 0; i < 4; i++) {
		m[i] = (uint8_t)(lsn.vlf >> (8 * i));
		m[4 + i] = (uint8_t)(lsn.block >> (8 * i));
	}
	m[8] = (uint8_t)lsn.slot;
	m[9] = (uint8_t)(lsn.slot >> 8);
}

bool
lsn_is_null(struct lsn lsn)
{
	return lsn.vlf == 0 && lsn.block == 0 && lsn.slot == 0;
}

int
lsn_compare(struct lsn a, struct lsn b)
{
	if (a.vlf != b.vlf)
		return a.vlf < b.vlf ? -1 : 1;
	if (a.block != b.block)
		return a.block < b.block ? -1 : 1;
	return a.slot == b.slot ? 0 : a.slot < b.slot ? -1 : 1;
}

/*
 * The printed form gives block ten digits and slot five, so that any block and slot fit their field and
 * the number keeps the order of the parts.
 */
struct lsn_text
lsn_text(struct lsn lsn)
{
	struct lsn_text out;

	if (lsn_is_null(lsn))
		snprintf(out.s, sizeof(out.s), "0");
	else if (lsn.vlf == 0)
		snprintf(out.s, sizeof(out.s), "%" PRIu64, (uint64_t)lsn.block * 100000 + lsn.slot);
	else
		snprintf(out.s, sizeof(out.s), "%" PRIu32 "%010" PRIu32 "%05u", lsn.vlf, lsn.block,
		         (unsigned)lsn.slot);
	return out;
}

static bool
number(const char *s, size_t len, uint64_t most, uint64_t *out)
{
	uint64_t v = 0;

	if (len == 0 || len > 10)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	*out = v;
	return v <= most;
}

static bool
parse_parts(const char *text, struct lsn *out)
{
	const char *first = strchr(text, ':'), *second = first == NULL ? NULL : strchr(first + 1, ':');
	uint64_t vlf, block, slot;

	if (second == NULL || !number(text, (size_t)(first - text), UINT32_MAX, &vlf) ||
	    !number(first + 1, (size_t)(second - first - 1), UINT32_MAX, &block) ||
	    !number(second + 1, strlen(second + 1), UINT16_MAX, &slot))
		return false;
	*out = (struct lsn){ (uint32_t)vlf, (uint32_t)block, (uint16_t)slot };
	return true;
}

bool
lsn_parse(const char *text, struct lsn *out)
{
	char padded[26];
	size_t len = text == NULL ? 0 : strlen(text);
	uint64_t vlf, block, slot;

	*out = (struct lsn){ 0 };
	if (len == 0)
		return true;
	if (strchr(text, ':') != NULL)
		return parse_parts(text, out);
	if (len > 25)
		return false;
	memset(padded, '0', 25 - len);
	memcpy(padded + 25 - len, text, len + 1);
	if (!number(padded, 10, UINT32_MAX, &vlf) || !number(padded + 10, 10, UINT32_MAX, &block) ||
	    !number(padded + 20, 5, UINT16_MAX, &slot))
		return false;
	*out = (struct lsn){ (uint32_t)vlf, (uint32_t)block, (uint16_t)slot };
	return true;
}

bool
guid_is_null(struct guid g)
{
	static const struct guid none;

	return memcmp(&g, &none, sizeof(g)) == 0;
}

bool
guid_equal(struct guid a, struct guid b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

/* Byte i of the text's hex pairs stands at order[i] in memory. */
static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

struct guid_text
guid_text(struct guid g)
{
	struct guid_text out;
	char *p = out.s;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += sprintf(p, "%02x", g.b[order[i]]);
	}
	return out;
}

static int
nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
guid_parse(const char *text, struct guid *out)
{
	*out = (struct guid){ 0 };
	if (text == NULL || strlen(text) != 36)
		return false;
	for (int i = 0; i < 16; i++) {
		int high, low;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
			return false;
		high = nibble(text[0]);
		low = nibble(text[1]);
		if (high < 0 || low < 0)
			return false;
		out->b[order[i]] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	return true;
}
