#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "restore/run.h"

/* Where a run goes, and that production never recovers by itself. */

static void
production_never_recovers_by_itself(void **state)
{
	static const char *const states[] = { "waiting", "restoring", "ready", "cutover", "recovering" };
	static const enum run_event events[] = { RUN_STEPS_BEGIN, RUN_ALL_RESTORED, RUN_BROKEN };

	(void)state;
	for (size_t i = 0; i < 5; i++)
		for (size_t k = 0; k < 3; k++) {
			const char *to = run_next(states[i], false, events[k]);

			assert_true(to == NULL || strcmp(to, "recovering") != 0);
		}
	assert_string_equal(run_next("restoring", true, RUN_ALL_RESTORED), "recovering");
	assert_string_equal(run_next("restoring", false, RUN_ALL_RESTORED), "ready");
	assert_null(run_next("cutover", false, RUN_ALL_RESTORED));
	assert_string_equal(run_next("ready", false, RUN_STEPS_BEGIN), "restoring");
	assert_false(run_knows("verified", RUN_STEPS_BEGIN));
}

static void
numbers_have_their_remedy(void **state)
{
	(void)state;
	assert_int_equal(run_remedy(4305), RUN_ASK);
	assert_int_equal(run_remedy(3153), RUN_DONE);
	assert_int_equal(run_remedy(3154), RUN_PERSON);
	assert_int_equal(run_remedy(3201), RUN_AGAIN);
	assert_int_equal(run_remedy(99999), RUN_AGAIN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(production_never_recovers_by_itself), cmocka_unit_test(numbers_have_their_remedy) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
