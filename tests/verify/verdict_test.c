#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "verify/check_file.h"
#include "verify/verdict.h"

/* Verdicts, and check files that are not as agreed. */

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

static void
expect_complaint(const char *text, const char *about)
{
	char path[] = "/tmp/landfall-checks-XXXXXX";
	int fd = mkstemp(path);
	struct err err = { 0 };

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_null(check_file_load(path, &err));
	if (strstr(err.text, about) == NULL)
		fail_msg("[%s] says nothing of [%s]", err.text, about);
	unlink(path);
}

static void
complaints_name_what_is_wrong(void **state)
{
	(void)state;
	expect_complaint("product: x\nchecks:\n  - id: a\n    sql: {query: select 1, equals: '1'}\n    manifest: {tables: all}\n", "exactly one of sql");
	expect_complaint("product: x\nchecks:\n  - id: a\n    sql: {query: select 1}\n", "exactly one of equals");
	expect_complaint("product: x\nchecks:\n  - id: a\n    severity: awful\n    http: {url: u}\n", "severity");
	expect_complaint("product: x\nnonsense: 1\nchecks:\n  - id: a\n    http: {url: u}\n", "nonsense");
	expect_complaint("product: [", "");
}

static void
the_shipped_file_is_sound(void **state)
{
	struct err err = { 0 };

	(void)state;
	if (check_file_load("deploy/checks/ticket-demo.yaml", &err) == NULL)
		fail_msg("%s", err.text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(verdicts), cmocka_unit_test(complaints_name_what_is_wrong),
		cmocka_unit_test(the_shipped_file_is_sound) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
