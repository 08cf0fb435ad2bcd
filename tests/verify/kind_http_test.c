#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "verify/kind_http.h"

static void
how_far_addresses_reach(void **state)
{
	static const struct { const char *address; enum http_reach reach; } cases[] = {
		{ "93.184.216.34", HTTP_PUBLIC }, { "2606:2800:220:1::1", HTTP_PUBLIC }, { "172.32.0.1", HTTP_PUBLIC },
		{ "127.0.0.1", HTTP_PRIVATE }, { "10.1.2.3", HTTP_PRIVATE }, { "172.31.255.255", HTTP_PRIVATE },
		{ "192.168.1.1", HTTP_PRIVATE }, { "100.64.0.1", HTTP_PRIVATE }, { "::1", HTTP_PRIVATE },
		{ "fd00::1", HTTP_PRIVATE }, { "::ffff:10.0.0.1", HTTP_PRIVATE }, { "169.254.169.254", HTTP_NEVER },
		{ "::ffff:169.254.169.254", HTTP_NEVER }, { "fe80::1", HTTP_NEVER }, { "0.0.0.0", HTTP_NEVER },
		{ "255.255.255.255", HTTP_NEVER }, { "224.0.0.1", HTTP_NEVER }, { "ff02::1", HTTP_NEVER },
		{ "::", HTTP_NEVER }, { "nonsense", HTTP_NEVER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (http_reach(cases[i].address) != cases[i].reach)
			fail_msg("%s", cases[i].address);
}

static void
only_http_is_asked(void **state)
{
	static const char *const urls[] = { "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "" };
	TALLOC_CTX *mem = talloc_new(NULL);

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		struct finding f = { 0 };

		kind_http(mem, urls[i], 200, &f);
		assert_int_equal(f.result, CHECK_FAIL);
		assert_false(f.again);
	}
	talloc_free(mem);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(how_far_addresses_reach),
		cmocka_unit_test(only_http_is_asked) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
