#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/plan.h"

/* What a person takes out of a plan: done without where that goes, and never a silent hole where it does not. */

static const struct guid family = { { 7 } }, fork_a = { { 8 } };
static const char *const names[] = { "f0", "f1", "f2", "f3" };
static const struct plan_now absent = { .absent = true };
static const struct plan_goal goal = { 0 };

static struct plan_set
set_of(int id, enum bak_type type, uint32_t first, uint32_t last, const char *skipped)
{
	return (struct plan_set){ .id = id + 1, .backup_set_guid = { { 9, (uint8_t)id } }, .family = family, .first_fork = fork_a, .fork = fork_a,
		.differential_base = type == BAK_DIFFERENTIAL ? (struct guid){ { 9, 0 } } : (struct guid){ { 0 } }, .type = type, .first_lsn = { 1, first, 1 },
		.last_lsn = { 1, last, 1 }, .database = "d", .server = "s", .files = &names[id], .n_files = 1, .position = 1, .complete = true,
		.start = { 2024, 1, 1, (uint8_t)id, 0, 0 }, .finish = { 2024, 1, 1, (uint8_t)id, 30, 0 }, .skipped = skipped };
}

static const struct plan_unused *
unused(const struct plan *p, const char *file)
{
	for (size_t i = 0; i < p->n_unused; i++)
		if (strcmp(p->unused[i].set->files[0], file) == 0)
			return &p->unused[i];
	return NULL;
}

static void
a_differential_is_done_without(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15, NULL), set_of(1, BAK_LOG, 12, 20, NULL), set_of(2, BAK_DIFFERENTIAL, 16, 30, "torn (ada)"),
		set_of(3, BAK_LOG, 20, 40, NULL) };
	struct plan *p = plan_make(NULL, s, 4, family, &absent, &goal);

	(void)state;
	assert_int_equal(p->n_steps, 3);
	assert_true(p->complete);
	assert_non_null(unused(p, "f2"));
	assert_string_equal(plan_reason_word(unused(p, "f2")->reason), "skipped");
	assert_string_equal(unused(p, "f2")->text, "a person took it out of the plan: torn (ada)");
	talloc_free(p);
	s[2].skipped = NULL;
	p = plan_make(NULL, s, 4, family, &absent, &goal);
	assert_int_equal(p->n_steps, 3);
	assert_ptr_equal(p->steps[1].set, &s[2]);
	talloc_free(p);
}

static void
a_log_that_is_needed_leaves_a_gap(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15, NULL), set_of(1, BAK_LOG, 12, 20, "no (ada)"), set_of(2, BAK_LOG, 20, 40, NULL) };
	struct plan *p = plan_make(NULL, s, 3, family, &absent, &goal);

	(void)state;
	assert_int_equal(p->n_steps, 1);
	assert_false(p->complete);
	assert_int_equal(p->n_gaps, 1);
	/* Named by the backup after it: what was taken out is not what stops us. */
	assert_non_null(strstr(p->gaps[0].text, "f2"));
	assert_string_equal(plan_reason_word(unused(p, "f1")->reason), "skipped");
	talloc_free(p);
}

static void
the_last_log_is_simply_not_there(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15, NULL), set_of(1, BAK_LOG, 12, 20, "no (ada)") };
	struct plan *p = plan_make(NULL, s, 2, family, &absent, &goal);

	(void)state;
	assert_int_equal(p->n_steps, 1);
	assert_int_equal(p->n_gaps, 0);
	talloc_free(p);
}

static void
without_the_full_there_is_no_base_and_it_says_why(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15, "no (ada)"), set_of(1, BAK_LOG, 12, 20, NULL) };
	struct plan *p = plan_make(NULL, s, 2, family, &absent, &goal);

	(void)state;
	assert_int_equal(p->n_steps, 0);
	assert_int_equal(p->n_gaps, 1);
	assert_non_null(strstr(p->gaps[0].text, "taken out of the plan"));
	talloc_free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_differential_is_done_without), cmocka_unit_test(a_log_that_is_needed_leaves_a_gap),
		cmocka_unit_test(the_last_log_is_simply_not_there), cmocka_unit_test(without_the_full_there_is_no_base_and_it_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
