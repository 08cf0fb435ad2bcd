#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "receiver/proxy.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define FOUR "\300\0\2\1" "\300\0\2\2" "\1\2" "\0\26"
#define SIX "\x20\1\xD\xB8\0\0\0\0\0\0\0\0\0\0\0\1" "\x20\1\xD\xB8\0\0\0\0\0\0\0\0\0\0\0\2" "\1\2" "\0\26"
#define ROW(name, bytes, state, client) { name, bytes, sizeof(bytes) - 1, state, client }

static const struct { const char *name, *bytes; size_t len; enum proxy_state ends; const char *client; } cases[] = {
	ROW("TCP4", "PROXY TCP4 192.0.2.1 192.0.2.2 56324 22\r\n", PROXY_CLIENT, "192.0.2.1"),
	ROW("the longest TCP4", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", PROXY_CLIENT, "255.255.255.255"),
	ROW("TCP6", "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", PROXY_CLIENT, "2001:db8::1"),
	ROW("the longest TCP6", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", PROXY_CLIENT,
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
	ROW("an IPv4 address in IPv6's clothes", "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", PROXY_CLIENT, "192.0.2.1"),
	ROW("UNKNOWN, short", "PROXY UNKNOWN\r\n", PROXY_ITSELF, NULL),
	ROW("UNKNOWN, with anything", "PROXY UNKNOWN ffff:f \1\xFF\0 ?\r\n", PROXY_ITSELF, NULL),
	ROW("UNKNOWN, the longest", "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
	    PROXY_ITSELF, NULL),
	ROW("a word that begins like it", "PROXY UNKNOWNS\r\n", PROXY_BROKEN, NULL),
	ROW("no such protocol", "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", PROXY_BROKEN, NULL),
	ROW("IPv6 called TCP4", "PROXY TCP4 ::1 ::1 1 2\r\n", PROXY_BROKEN, NULL),
	ROW("IPv4 called TCP6", "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", PROXY_BROKEN, NULL),
	ROW("two spaces", "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", PROXY_BROKEN, NULL),
	ROW("a space at the end", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", PROXY_BROKEN, NULL),
	ROW("a field too few", "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", PROXY_BROKEN, NULL),
	ROW("a leading zero in the address", "PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n", PROXY_BROKEN, NULL),
	ROW("a leading zero in the port", "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", PROXY_BROKEN, NULL),
	ROW("a port too large", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", PROXY_BROKEN, NULL),
	ROW("a negative port", "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", PROXY_BROKEN, NULL),
	ROW("a NUL in it", "PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n", PROXY_BROKEN, NULL),
	ROW("a lone LF", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", PROXY_BROKEN, NULL),
	ROW("a lone CR", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rx", PROXY_BROKEN, NULL),
	ROW("small letters", "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", PROXY_BROKEN, NULL),
	ROW("a client without a header", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", PROXY_BROKEN, NULL),
	ROW("a browser", "GET / HTTP/1.0\r\n\r\n", PROXY_BROKEN, NULL),
	ROW("a beginning", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r", PROXY_MORE, NULL),
	ROW("2: TCP4", SIGNATURE "\x21\x11\0\14" FOUR, PROXY_CLIENT, "192.0.2.1"),
	ROW("2: TCP6", SIGNATURE "\x21\x21\0\44" SIX, PROXY_CLIENT, "2001:db8::1"),
	ROW("2: TCP4 and a TLV", SIGNATURE "\x21\x11\0\23" FOUR "\4\0\4none", PROXY_CLIENT, "192.0.2.1"),
	ROW("2: LOCAL", SIGNATURE "\x20\0\0\0", PROXY_ITSELF, NULL),
	ROW("2: LOCAL with addresses, which do not count", SIGNATURE "\x20\x11\0\14" FOUR, PROXY_ITSELF, NULL),
	ROW("2: LOCAL of no known family", SIGNATURE "\x20\xFF\0\3abc", PROXY_ITSELF, NULL),
	ROW("2: family not said", SIGNATURE "\x21\0\0\0", PROXY_ITSELF, NULL),
	ROW("2: UDP4", SIGNATURE "\x21\x12\0\14" FOUR, PROXY_ITSELF, NULL),
	ROW("2: of an unknown family", SIGNATURE "\x21\x41\0\14" FOUR, PROXY_BROKEN, NULL),
	ROW("2: of an unknown transport", SIGNATURE "\x21\x13\0\14" FOUR, PROXY_BROKEN, NULL),
	ROW("2: another command", SIGNATURE "\x22\x11\0\14" FOUR, PROXY_BROKEN, NULL),
	ROW("2: version 1 of it", SIGNATURE "\x11\x11\0\14" FOUR, PROXY_BROKEN, NULL),
	ROW("2: an address block too short", SIGNATURE "\x21\x11\0\13" FOUR, PROXY_BROKEN, NULL),
	ROW("2: an address block too short for IPv6", SIGNATURE "\x21\x21\0\14" FOUR, PROXY_BROKEN, NULL),
	ROW("2: 65,535 bytes of it", SIGNATURE "\x21\x11\xFF\xFF" FOUR, PROXY_BROKEN, NULL),
	ROW("2: a signature with a fault", "\r\n\r\n\0\r\nQUIT\r\x21\x11\0\14" FOUR, PROXY_BROKEN, NULL),
	ROW("2: a beginning", SIGNATURE "\x21\x11\0\14" "\300\0\2", PROXY_MORE, NULL),
};

static const char after[] = "SSH-2.0-x\r\n";

/* In pieces of that size, with what follows behind it: the state, and that not one byte too many was taken. */
static void
push_in_pieces(size_t row, size_t size)
{
	char bytes[300], text[ADDRESS_TEXT_MAX];
	size_t len = cases[row].len, total = len + (cases[row].ends == PROXY_MORE ? 0 : sizeof(after)), taken = 0;
	struct proxy p = { 0 };

	memcpy(bytes, cases[row].bytes, len);
	memcpy(bytes + len, after, sizeof(after));
	for (size_t at = 0; at < total && taken == at; at += size)
		taken += proxy_push(&p, bytes + at, size > total - at ? total - at : size);
	if (p.state != cases[row].ends)
		fail_msg("%s, in pieces of %zu: state %d", cases[row].name, size, p.state);
	if (p.state == PROXY_CLIENT || p.state == PROXY_ITSELF || p.state == PROXY_MORE)
		assert_int_equal(taken, len);
	if (cases[row].client == NULL)
		return;
	address_text(&p.client, text);
	assert_string_equal(text, cases[row].client);
}

static void
every_split_gives_the_same_answer(void **state)
{
	(void)state;
	for (size_t row = 0; row < sizeof(cases) / sizeof(cases[0]); row++)
		for (size_t size = 1; size <= cases[row].len + sizeof(after); size++)
			push_in_pieces(row, size);
}

/* Whoever sends for ever is told so soon. */
static void
headers_are_bounded(void **state)
{
	struct proxy p = { 0 };
	char *mem = malloc(70000);
	static const char big[] = SIGNATURE "\x20\0\x08\0";

	(void)state;
	memset(mem, ' ', 70000);
	memcpy(mem, "PROXY UNKNOWN ", 14);
	assert_int_equal(proxy_push(&p, mem, 70000), PROXY_V1_MAX);
	assert_int_equal(p.state, PROXY_BROKEN);
	p = (struct proxy){ 0 };
	memcpy(mem, big, sizeof(big) - 1);
	assert_int_equal(proxy_push(&p, mem, 70000), PROXY_V2_MAX);
	assert_int_equal(p.state, PROXY_ITSELF);
	assert_int_equal(proxy_push(&p, mem, 10), 0); /* that was all of it */
	free(mem);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_split_gives_the_same_answer), cmocka_unit_test(headers_are_bounded) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
