#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/eta.h"

/* Ranges from measurements, and the words for what a statement is doing. */

#define NEAR(a, b) assert_true((a) - (b) < 0.001 && (b) - (a) < 0.001)
#define N(list) (sizeof(list) / sizeof((list)[0]))

static void
nothing_measured_is_nothing_said(void **state)
{
	static const struct eta_sample s[] = { { "log", 100, 1, false } };

	(void)state;
	assert_int_equal(eta_of(s, N(s), "full", 1000).samples, 0);
	assert_int_equal(eta_of(NULL, 0, "log", 1000).samples, 0);
	assert_int_equal(eta_then(eta_of(s, N(s), "log", 100), eta_of(s, N(s), "full", 1)).samples, 0);
}

static void
time_is_a_fixed_part_and_one_by_bytes(void **state)
{
	/* Two seconds each, and one more per 100 bytes. */
	static const struct eta_sample s[] = { { "log", 0, 2, false }, { "log", 1000, 12, false }, { "log", 2000, 22, false }, { "full", 1, 999, false } };
	struct eta_range e = eta_of(s, N(s), "log", 4000);

	(void)state;
	assert_int_equal(e.samples, 3);
	NEAR(e.high, 42);
	NEAR(eta_of(s, N(s), "full", 100).low, 99900);
}

static void
own_measurements_are_preferred(void **state)
{
	static const struct eta_sample s[] = { { "recovery", 0, 100, false }, { "recovery", 0, 90, false }, { "recovery", 0, 7, true } };
	struct eta_range e = eta_of(s, N(s), "recovery", 0);

	(void)state;
	assert_int_equal(e.samples, 1);
	NEAR(e.low, 7);
	NEAR(e.high, 14); /* one alone says nothing of how far they spread */
}

static void
low_is_the_middle_and_high_nine_in_ten(void **state)
{
	struct eta_sample s[20];
	struct eta_range e;

	(void)state;
	for (size_t i = 0; i < 20; i++)
		s[i] = (struct eta_sample){ "recovery", 0, (double)(20 - i), false };
	e = eta_of(s, 20, "recovery", 0);
	NEAR(e.low, 10);
	NEAR(e.high, 18);
	assert_true(e.low <= e.high);
}

static void
what_is_left_goes_by_the_pace_and_never_below_nothing(void **state)
{
	struct eta_range whole = { 100, 150, 5 }, none = { 0 }, left;

	(void)state;
	left = eta_left(whole, 50, 100); /* half in the time that the whole took before: it is slower today */
	NEAR(left.low, 100);
	NEAR(left.high, 100);
	left = eta_left(whole, 50, 10);
	NEAR(left.low, 90);
	NEAR(left.high, 140);
	left = eta_left(whole, 100, 500); /* read, and still at it: nothing is known of the rest */
	NEAR(left.low, 0);
	left = eta_left(none, -1, 5);
	assert_int_equal(left.samples, 0);
	left = eta_left(none, 20, 20);
	assert_int_equal(left.samples, 1);
	NEAR(left.low, 80);
}

static void
a_hundred_percent_has_words(void **state)
{
	(void)state;
	assert_string_equal(eta_phase("full", -1), "preparing files");
	assert_string_equal(eta_phase("full", 0), "reading");
	assert_string_equal(eta_phase("log", 99), "reading");
	assert_string_equal(eta_phase("log", 100), "read to the end, rolling forward");
	assert_string_equal(eta_phase("recovery", 100), "undoing what was not committed, and upgrading");
	assert_string_equal(eta_phase("users", -1), "working");
	assert_string_equal(eta_phase("backup", 40), "writing");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_measured_is_nothing_said), cmocka_unit_test(time_is_a_fixed_part_and_one_by_bytes),
		cmocka_unit_test(own_measurements_are_preferred), cmocka_unit_test(low_is_the_middle_and_high_nine_in_ten),
		cmocka_unit_test(what_is_left_goes_by_the_pace_and_never_below_nothing), cmocka_unit_test(a_hundred_percent_has_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
