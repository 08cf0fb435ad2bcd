#include <string.h>

#include "receiver/proxy.h"
#include "tests/fuzz/fuzz.h"

/* What stands in front of a connection from a balancer. The first byte chooses the pieces; one piece must say the same. */

static size_t
push(struct proxy *p, const uint8_t *mem, size_t len, size_t size)
{
	size_t taken = 0;

	*p = (struct proxy){ 0 };
	while (p->state == PROXY_MORE && taken < len)
		taken += proxy_push(p, mem + taken, size > len - taken ? len - taken : size);
	return taken;
}

static void
check_client(const struct proxy *p)
{
	char text[ADDRESS_TEXT_MAX];
	struct address again;

	address_text(&p->client, text);
	if (!address_parse(&again, text) || !address_is_same(&again, &p->client))
		fuzz_broken("%s is not the address it was", text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *mem, size_t len)
{
	struct proxy a, b;
	size_t in_pieces, at_once;

	if (len < 2)
		return 0;
	in_pieces = push(&a, mem + 1, len - 1, 1u + mem[0]);
	at_once = push(&b, mem + 1, len - 1, len);
	if (in_pieces != at_once || a.state != b.state || (a.state == PROXY_CLIENT && !address_is_same(&a.client, &b.client)))
		fuzz_broken("in pieces of %u: %zu bytes and state %d, at once %zu and %d", 1u + mem[0], in_pieces, a.state, at_once, b.state);
	if (at_once > PROXY_V2_MAX || (at_once < len - 1 && a.state == PROXY_MORE))
		fuzz_broken("%zu of %zu bytes in state %d", at_once, len - 1, a.state);
	if (a.state == PROXY_CLIENT)
		check_client(&a);
	return 0;
}

#define SEED(name, bytes) { name, bytes, sizeof(bytes) - 1 }
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

void
fuzz_seeds(const struct fuzz_taker *taker)
{
	static const struct { const char *name, *bytes; size_t len; } seeds[] = {
		SEED("tcp4", "\3PROXY TCP4 192.0.2.1 192.0.2.2 56324 22\r\nSSH-2.0-x\r\n"), SEED("tcp6", "\5PROXY TCP6 2001:db8::1 ::2 1 65535\r\n"),
		SEED("unknown", "\0PROXY UNKNOWN x\r\n"), SEED("v2-tcp4", "\2" SIGNATURE "\x21\x11\0\14\300\0\2\1\300\0\2\2\1\2\0\26SSH"),
		SEED("v2-tcp6", "\7" SIGNATURE "\x21\x21\0\47\x20\1\xD\xB8\0\0\0\0\0\0\0\0\0\0\0\1\x20\1\xD\xB8\0\0\0\0\0\0\0\0\0\0\0\2\1\2\0\26\4\0\0"),
		SEED("v2-local", "\1" SIGNATURE "\x20\0\0\0SSH"),
	};

	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
		taker->take(taker->ctx, seeds[i].name, (const uint8_t *)seeds[i].bytes, seeds[i].len);
}
