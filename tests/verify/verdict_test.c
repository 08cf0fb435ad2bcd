#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "verify/verdict.h"

static void
verdicts(void **state)
{
	static const struct { struct verdict_input in[3]; size_t n; const char *verdict; } cases[] = {
		{ { { CHECK_PASS, true }, { CHECK_PASS, false } }, 2, "verified" },
		{ { { CHECK_PASS, true }, { CHECK_SKIP, true } }, 2, "verified_with_warnings" },
		{ { { CHECK_PASS, true }, { CHECK_WARN, false } }, 2, "verified_with_warnings" },
		{ { { CHECK_FAIL, true }, { CHECK_PASS, true } }, 2, "not_verified" },
		{ { { CHECK_ERROR, true }, { CHECK_PASS, true } }, 2, "incomplete" },
		{ { { CHECK_ERROR, true }, { CHECK_FAIL, true } }, 2, "not_verified" },
		{ { { CHECK_MANUAL, true } }, 1, "incomplete" },
		{ { { CHECK_PASS, true } }, 0, "verified_with_warnings" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(verdict_of(cases[i].in, cases[i].n), cases[i].verdict);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(verdicts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
