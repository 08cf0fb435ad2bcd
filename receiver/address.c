#include "receiver/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t v4_prefix[12] = { [10] = 0xFF, [11] = 0xFF };

static bool
is_v4(const struct address *a)
{
	return memcmp(a->b, v4_prefix, sizeof(v4_prefix)) == 0;
}

struct address
address_of_v4(const uint8_t b[4])
{
	struct address a;

	memcpy(a.b, v4_prefix, sizeof(v4_prefix));
	memcpy(a.b + sizeof(v4_prefix), b, 4);
	return a;
}

bool
address_parse(struct address *address, const char *text)
{
	uint8_t v4[4];

	if (strchr(text, ':') != NULL)
		return inet_pton(AF_INET6, text, address->b) == 1;
	if (inet_pton(AF_INET, text, v4) != 1)
		return false;
	*address = address_of_v4(v4);
	return true;
}

void
address_text(const struct address *address, char text[static ADDRESS_TEXT_MAX])
{
	text[0] = '\0';
	if (is_v4(address))
		inet_ntop(AF_INET, address->b + sizeof(v4_prefix), text, ADDRESS_TEXT_MAX);
	else
		inet_ntop(AF_INET6, address->b, text, ADDRESS_TEXT_MAX);
}

bool
address_is_same(const struct address *a, const struct address *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

struct address
address_network(const struct address *address)
{
	struct address a = *address;

	if (!is_v4(&a))
		memset(a.b + 8, 0, 8);
	return a;
}

/* bits counts from the front of the 16 bytes. */
static bool
parse_range(const char *range, struct address *base, int *bits)
{
	char copy[64], *slash;
	size_t len = strlen(range);

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, range, len + 1);
	slash = strchr(copy, '/');
	*bits = 128;
	if (slash != NULL) {
		*slash = '\0';
		/* What is no number must not become 0, which would let everybody in. */
		if (slash[1] == '\0' || strspn(slash + 1, "0123456789") != strlen(slash + 1) || strlen(slash + 1) > 3)
			return false;
		*bits = atoi(slash + 1) + (strchr(copy, ':') == NULL ? 96 : 0);
	}
	return address_parse(base, copy) && *bits <= 128;
}

bool
address_is_range(const char *range)
{
	struct address base;
	int bits;

	return parse_range(range, &base, &bits);
}

bool
address_is_in(const struct address *address, const char *range)
{
	struct address base;
	int bits;

	/* ::/0 is all of IPv6, not IPv4 as well. */
	if (!parse_range(range, &base, &bits) || is_v4(&base) != is_v4(address))
		return false;
	for (int i = 0; i < bits; i++)
		if (((address->b[i / 8] ^ base.b[i / 8]) >> (7 - i % 8) & 1) != 0)
			return false;
	return true;
}
