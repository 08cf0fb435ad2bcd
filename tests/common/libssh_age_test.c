#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/libssh_age.h"

static const struct { const char *a, *b; int order; } pairs[] = {
	{ "0.10.6-0+deb12u3", "0.10.6-0+deb12u3", 0 }, { "0.10.6-0+deb12u2", "0.10.6-0+deb12u3", -1 }, { "0.10.6-0+deb12u10", "0.10.6-0+deb12u3", 1 },
	{ "0.9.7-0+deb11u1", "0.10.6-0+deb12u3", -1 }, { "0.11.2-1", "0.10.6-0+deb12u3", 1 }, { "1:0.1-1", "0.10.6-0+deb12u3", 1 },
	{ "0.10.6", "0.10.6-0+deb12u3", -1 }, { "0.10.6~rc1-1", "0.10.6-1", -1 }, { "0.10.6-0+deb12u3~bpo11+1", "0.10.6-0+deb12u3", -1 },
	{ "0.10.6-0+deb12u3+b1", "0.10.6-0+deb12u3", 1 }, { "0.10.6a-1", "0.10.6+1-1", -1 }, { "0.10.06-1", "0.10.6-1", 0 },
};

static void
versions_are_ordered_as_debian_orders_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		int c = libssh_compare(pairs[i].a, pairs[i].b);

		if ((c > 0) - (c < 0) != pairs[i].order || (libssh_compare(pairs[i].b, pairs[i].a) > 0) != (pairs[i].order < 0))
			fail_msg("%s and %s: %d", pairs[i].a, pairs[i].b, c);
	}
}

/* The same rows, by dpkg itself. */
static void
dpkg_says_the_same(void **state)
{
	(void)state;
	if (system("command -v dpkg >/dev/null") != 0)
		skip();
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		char command[200];

		snprintf(command, sizeof(command), "dpkg --compare-versions '%s' %s '%s'", pairs[i].a, pairs[i].order < 0 ? "lt" : pairs[i].order > 0 ? "gt" : "eq",
		         pairs[i].b);
		if (system(command) != 0)
			fail_msg("%s", command);
	}
}

static void
what_cannot_be_told_is_said(void **state)
{
	static const struct { const char *runtime, *package, *says; } cases[] = {
		{ "0.10.6/openssl/zlib", "0.10.6-0+deb12u3", "" }, { "0.10.6/openssl/zlib", "0.10.6-0+deb12u4", "" },
		{ "0.10.6/openssl/zlib", "0.10.6-0+deb12u2", "known holes" }, { "0.9.7/openssl/zlib", "0.9.7-0+deb11u1", "known holes" },
		{ "0.10.6/openssl/zlib", NULL, "no package" }, { "0.10.6", "", "no package" }, { "0.11.1/openssl", "0.10.6-0+deb12u3", "is not the package's" },
		{ "0.1/openssl", "0.10.6-0+deb12u3", "is not the package's" }, { "0.11.2/openssl", "0.11.2-1", "only Debian 12's" },
		{ "0.10.6/openssl", "0.10.6-2ubuntu0.2", "only Debian 12's" }, { NULL, "0.10.6-0+deb12u3", "" }, { NULL, "0.10.6-0+deb12u2", "known holes" },
		{ NULL, "", "no package" },
	};
	char why[200];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(libssh_is_known_good(cases[i].runtime, cases[i].package, why, sizeof(why)), cases[i].says[0] == '\0');
		if (strstr(why, cases[i].says) == NULL)
			fail_msg("%s of %s: [%s]", cases[i].runtime == NULL ? "-" : cases[i].runtime, cases[i].package == NULL ? "-" : cases[i].package, why);
		assert_int_equal(libssh_is_known_bad(cases[i].package), cases[i].package != NULL && strstr("0.10.6-0+deb12u2 0.9.7-0+deb11u1", cases[i].package) != NULL
			&& cases[i].package[0] != '\0');
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_are_ordered_as_debian_orders_them), cmocka_unit_test(dpkg_says_the_same), cmocka_unit_test(what_cannot_be_told_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
