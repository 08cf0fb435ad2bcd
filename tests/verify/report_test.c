#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "verify/report.h"

/* A result is never lost because of what a database said. */
static void
hostile_text_stays_in_the_result(void **state)
{
	struct check c = { .id = (char[]){ "a" }, .title = NULL };
	char *longish = talloc_zero_array(NULL, char, 9001);
	struct finding f = { .result = CHECK_FAIL, .expected = "\xff\xfe", .observed = longish,
		.evidence = json_pack("[s]", "\x1b[2Jgone") };
	struct report_head head = { .migration = "m-1", .run = "uat", .product = "p", .verdict = "not_verified",
		.started = "2026-11-24T10:00:00Z", .database = "D" };
	json_t *checks = json_array(), *o, *row;
	const char *said;
	char *page;

	(void)state;
	for (size_t i = 0; i < 9000; i += 3)
		memcpy(longish + i, "\xe2\x82\xac", 3);
	json_array_append_new(checks, report_check(&c, &f, 2, 17, "2026-11-24T10:00:00Z"));
	assert_int_equal(json_array_size(checks), 1);
	o = report_json(&head, checks);
	assert_non_null(o);
	row = json_array_get(json_object_get(o, "checks"), 0);
	said = json_string_value(json_object_get(row, "observed"));
	assert_int_equal(strlen(said), 3999);
	assert_string_equal(json_string_value(json_object_get(row, "expected")), "\\xff\\xfe");
	assert_int_equal(json_integer_value(json_object_get(row, "attempts")), 2);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "statistics"), "fail")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "statistics"), "total")), 1);
	page = report_text(NULL, o);
	assert_null(strchr(page, '\x1b'));
	assert_non_null(strstr(page, "D: not_verified"));
	json_decref(o);
	talloc_free(page);
	talloc_free(longish);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(hostile_text_stays_in_the_result) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
