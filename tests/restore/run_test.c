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
	assert_int_equal(run_remedy(3154), RUN_WRONG);
	assert_int_equal(run_remedy(3257), RUN_PERSON);
	assert_int_equal(run_remedy(4333), RUN_ANEW);
	assert_int_equal(run_remedy(4347), RUN_AGAIN);
	assert_int_equal(run_remedy(3201), RUN_AGAIN);
	assert_int_equal(run_remedy(99999), RUN_AGAIN);
}

static void
patience_doubles_and_ends(void **state)
{
	static const int rests[] = { 2000, 4000, 8000, 16000, RUN_GIVES_UP, RUN_GIVES_UP };

	(void)state;
	for (int i = 0; i < 6; i++)
		assert_int_equal(run_patience(RUN_AGAIN, i + 1), rests[i]);
	assert_int_equal(run_patience(RUN_PERSON, 1), RUN_GIVES_UP);
	/* "Done already" is believed four times, at once: the target is asked again. */
	assert_int_equal(run_patience(RUN_DONE, RUN_TRIES - 1), 0);
	assert_int_equal(run_patience(RUN_DONE, RUN_TRIES), RUN_GIVES_UP);
	/* What the customer must send never becomes a person's turn here, and never a storm. */
	assert_int_equal(run_patience(RUN_ASK, 1), 4000);
	assert_int_equal(run_patience(RUN_ANEW, 1), RUN_GIVES_UP);
	assert_int_equal(run_patience(RUN_WRONG, 1), RUN_GIVES_UP);
	/* Who gives up says what a person can do; who goes on by itself asks nobody. */
	for (int r = RUN_AGAIN; r <= RUN_WRONG; r++)
		assert_int_equal(run_advice((enum run_remedy)r) != NULL, r != RUN_AGAIN && r != RUN_DONE);
	for (int i = 2; i < 1000; i++) {
		assert_true(run_patience(RUN_ASK, i) >= run_patience(RUN_ASK, i - 1));
		assert_true(run_patience(RUN_ASK, i) <= 512000);
	}
	/* A count that cannot be is taken for the first. */
	assert_int_equal(run_patience(RUN_AGAIN, 0), 2000);
	assert_int_equal(run_patience(RUN_ASK, -7), 4000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(production_never_recovers_by_itself), cmocka_unit_test(numbers_have_their_remedy),
		cmocka_unit_test(patience_doubles_and_ends) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
