#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <talloc.h>

#include "common/plan.h"

/* The rules of the order of backups, each as the smallest story that needs it. */

static const struct guid family = { { 1 } }, fork_a = { { 2 } }, fork_b = { { 3 } };

static struct guid
guid_of(uint8_t n)
{
	return (struct guid){ { 9, n } };
}

static struct lsn
at(uint32_t n)
{
	return n == 0 ? (struct lsn){ 0 } : (struct lsn){ 1, n, 1 };
}

static const char *const names[] = { "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9" };

static struct plan_set
set_of(int id, enum bak_type type, uint32_t first, uint32_t last)
{
	return (struct plan_set){ .id = id + 1, .backup_set_guid = guid_of((uint8_t)id), .family = family, .first_fork = fork_a, .fork = fork_a,
		.type = type, .first_lsn = at(first), .last_lsn = at(last), .database = "d", .server = "s", .files = &names[id], .n_files = 1, .position = 1,
		.complete = true, .start = { 2024, 1, 1, (uint8_t)id, 0, 0 }, .finish = { 2024, 1, 1, (uint8_t)id, 30, 0 } };
}

static struct plan *
plan_of(const struct plan_set *sets, size_t n, struct plan_now now, struct plan_goal goal)
{
	return plan_make(NULL, sets, n, family, &now, &goal);
}

/* "f0 f2": what is restored, in order. */
static void
expect(struct plan *p, const char *files)
{
	char *s = talloc_strdup(p, "");

	for (size_t i = 0; i < p->n_steps; i++)
		s = talloc_asprintf_append(s, "%s%s", i == 0 ? "" : " ", p->steps[i].set->files[0]);
	assert_string_equal(s, files);
}

static void
expect_unused(struct plan *p, const char *file, enum plan_reason reason)
{
	for (size_t i = 0; i < p->n_unused; i++)
		if (strcmp(p->unused[i].set->files[0], file) == 0) {
			assert_string_equal(plan_reason_word(p->unused[i].reason), plan_reason_word(reason));
			return;
		}
	fail_msg("%s is not among the unused", file);
}

static const struct plan_now absent = { .absent = true };

static void
full_and_logs_in_any_order(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_LOG, 30, 40), set_of(1, BAK_LOG, 20, 30), set_of(2, BAK_FULL, 10, 15), set_of(3, BAK_LOG, 12, 20) };
	struct plan *p = plan_of(s, 4, absent, (struct plan_goal){ 0 });

	(void)state;
	expect(p, "f2 f3 f1 f0");
	assert_true(p->complete);
	assert_int_equal(p->n_gaps, 0);
	assert_int_equal(lsn_compare(p->ends_at, at(40)), 0);
	talloc_free(p);
}

static void
a_gap_has_a_name_and_nothing_past_it_is_restored(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_LOG, 15, 20), set_of(2, BAK_LOG, 30, 40) };
	struct plan *p = plan_of(s, 3, absent, (struct plan_goal){ 0 });

	(void)state;
	expect(p, "f0 f1");
	assert_int_equal(p->n_gaps, 1);
	assert_int_equal(lsn_compare(p->gaps[0].needed, at(20)), 0);
	assert_int_equal(lsn_compare(p->gaps[0].next, at(30)), 0);
	assert_false(p->complete);
	expect_unused(p, "f2", PLAN_AFTER_GAP);
	talloc_free(p);
}

static void
a_differential_spares_the_logs_before_it(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_LOG, 15, 20), set_of(2, BAK_DIFFERENTIAL, 20, 22), set_of(3, BAK_LOG, 20, 30) };
	struct plan *p;

	(void)state;
	s[2].differential_base = s[0].backup_set_guid;
	p = plan_of(s, 4, absent, (struct plan_goal){ 0 });
	expect(p, "f0 f2 f3");
	expect_unused(p, "f1", PLAN_COVERED_BY_DIFFERENTIAL);
	talloc_free(p);
	/* Of another full it is of no use, and the logs carry on. */
	s[2].differential_base = guid_of(77);
	p = plan_of(s, 4, absent, (struct plan_goal){ 0 });
	expect(p, "f0 f1 f3");
	expect_unused(p, "f2", PLAN_NO_BASE);
	talloc_free(p);
}

static void
a_log_that_began_before_the_full_is_needed(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_LOG, 2, 20), set_of(2, BAK_LOG, 2, 12) };
	struct plan *p = plan_of(s, 3, absent, (struct plan_goal){ 0 });

	(void)state;
	expect(p, "f0 f1");
	talloc_free(p);
}

static void
the_middle_of_a_chain_goes_on_from_the_redo_point(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_LOG, 15, 20), set_of(2, BAK_LOG, 20, 30), set_of(3, BAK_LOG, 30, 30) };
	struct plan_now now = { .redo = at(20), .fork = fork_a };
	struct plan *p;

	(void)state;
	now.base = s[0].backup_set_guid;
	p = plan_of(s, 4, now, (struct plan_goal){ 0 });
	expect(p, "f2");
	talloc_free(p);
	/* A second worker after a death: nothing is done twice. */
	now.redo = at(30);
	p = plan_of(s, 4, now, (struct plan_goal){ 0 });
	expect(p, "");
	assert_true(p->complete);
	talloc_free(p);
}

static void
another_recovery_path_does_not_fit(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_LOG, 15, 20), set_of(2, BAK_LOG, 20, 30) };
	struct plan *p;

	(void)state;
	s[2].fork = s[2].first_fork = fork_b;
	p = plan_of(s, 3, absent, (struct plan_goal){ 0 });
	expect(p, "f0 f1");
	expect_unused(p, "f2", PLAN_OTHER_FORK);
	talloc_free(p);
}

static void
what_cannot_be_used_is_said_and_not_used(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_FULL, 10, 15), set_of(2, BAK_FULL, 40, 45), set_of(3, BAK_LOG, 15, 50),
		set_of(4, BAK_FULL, 60, 65) };
	struct plan *p;

	(void)state;
	s[1].duplicate = true;
	s[2].complete = false;
	s[2].missing = "stripe 2 of 2";
	s[4].family = guid_of(50);
	p = plan_of(s, 5, absent, (struct plan_goal){ 0 });
	expect(p, "f0 f3");
	expect_unused(p, "f1", PLAN_DUPLICATE);
	expect_unused(p, "f2", PLAN_INCOMPLETE_STRIPE);
	expect_unused(p, "f4", PLAN_OTHER_FAMILY);
	talloc_free(p);
	s[0].damaged = s[1].duplicate = true;
	p = plan_of(s, 4, absent, (struct plan_goal){ 0 });
	expect(p, "");
	expect_unused(p, "f0", PLAN_DAMAGED);
	assert_false(p->complete);
	talloc_free(p);
}

static void
nothing_newer_than_the_tail_is_planned(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_LOG, 15, 20), set_of(2, BAK_LOG, 20, 30), set_of(3, BAK_LOG, 30, 40) };
	struct plan *p;

	(void)state;
	s[2].tail = s[2].tail_norecovery = true;
	p = plan_of(s, 4, absent, (struct plan_goal){ .last = s[2].id });
	expect(p, "f0 f1 f2");
	assert_true(p->complete);
	talloc_free(p);
	/* The tail that is not there yet, or beyond a gap, keeps the plan open. */
	s[1].damaged = true;
	p = plan_of(s, 4, absent, (struct plan_goal){ .last = s[2].id });
	assert_false(p->complete);
	talloc_free(p);
}

static void
of_several_logs_the_one_that_reaches_furthest_is_taken(void **state)
{
	/* A copy-only log, one sent again that holds more, and an empty one that ends where the database is. */
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_LOG, 15, 20), set_of(2, BAK_LOG, 12, 30), set_of(3, BAK_LOG, 15, 15),
		set_of(4, BAK_LOG, 30, 30), set_of(5, BAK_LOG, 30, 40) };
	struct plan *p;

	(void)state;
	s[1].copy_only = true;
	p = plan_of(s, 6, absent, (struct plan_goal){ 0 });
	expect(p, "f0 f2 f5");
	expect_unused(p, "f1", PLAN_DUPLICATE);
	expect_unused(p, "f3", PLAN_OLDER_THAN_BASE);
	expect_unused(p, "f4", PLAN_DUPLICATE);
	assert_true(p->complete);
	talloc_free(p);
}

static void
a_copy_only_full_is_a_base_for_logs_and_never_for_a_differential(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_FULL, 20, 25), set_of(2, BAK_DIFFERENTIAL, 30, 32), set_of(3, BAK_LOG, 18, 40) };
	struct plan *p;

	(void)state;
	s[1].copy_only = true;
	s[2].differential_base = s[0].backup_set_guid;
	/* The newer full is the way: the differential's base lies in the other one. */
	p = plan_of(s + 1, 3, absent, (struct plan_goal){ 0 });
	expect(p, "f1 f3");
	expect_unused(p, "f2", PLAN_NO_BASE);
	talloc_free(p);
	/* Both ways end alike; the shorter one wins. */
	p = plan_of(s, 4, absent, (struct plan_goal){ 0 });
	expect(p, "f1 f3");
	talloc_free(p);
}

static void
a_log_that_begins_where_the_differential_ends_is_needed(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_DIFFERENTIAL, 20, 22), set_of(2, BAK_LOG, 22, 30), set_of(3, BAK_LOG, 15, 22) };
	struct plan *p;

	(void)state;
	s[1].differential_base = s[0].backup_set_guid;
	p = plan_of(s, 4, absent, (struct plan_goal){ 0 });
	expect(p, "f0 f1 f2");
	expect_unused(p, "f3", PLAN_COVERED_BY_DIFFERENTIAL);
	talloc_free(p);
}

static void
a_differential_may_follow_logs_when_it_is_newer(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_LOG, 15, 20), set_of(2, BAK_DIFFERENTIAL, 28, 30), set_of(3, BAK_DIFFERENTIAL, 17, 18) };
	struct plan_now now = { .redo = at(20), .fork = fork_a, .base = s[0].backup_set_guid };
	struct plan *p;

	(void)state;
	s[2].differential_base = s[3].differential_base = s[0].backup_set_guid;
	p = plan_of(s, 4, now, (struct plan_goal){ 0 });
	expect(p, "f2");
	expect_unused(p, "f3", PLAN_RESTORED);
	talloc_free(p);
	now.base = guid_of(77); /* another full lies beneath: 3136 */
	p = plan_of(s, 4, now, (struct plan_goal){ 0 });
	expect(p, "");
	talloc_free(p);
}

static void
a_log_may_lead_to_another_fork_and_the_next_one_begins_there(void **state)
{
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_LOG, 15, 20), set_of(2, BAK_LOG, 20, 30), set_of(3, BAK_LOG, 20, 50) };
	struct plan *p;

	(void)state;
	s[1].fork = s[2].first_fork = s[2].fork = fork_b;
	p = plan_of(s, 4, absent, (struct plan_goal){ 0 });
	expect(p, "f0 f1 f2");
	assert_true(guid_equal(p->ends_fork, fork_b));
	expect_unused(p, "f3", PLAN_OTHER_FORK);
	/* The source itself left that fork: what it had logged there is history, not a gap. */
	assert_true(p->complete);
	talloc_free(p);
	/* Of another server it says nothing about ours. */
	s[1].server = "test";
	p = plan_of(s, 4, absent, (struct plan_goal){ 0 });
	assert_false(p->complete);
	talloc_free(p);
}

static void
a_point_in_time_ends_in_the_log_that_spans_it(void **state)
{
	/* f0 finishes 00:30, f1 01:30, f2 02:30, f3 03:30: the same point in every log. */
	struct plan_set s[] = { set_of(0, BAK_FULL, 10, 15), set_of(1, BAK_LOG, 15, 20), set_of(2, BAK_LOG, 20, 30), set_of(3, BAK_LOG, 30, 40) };
	struct plan_goal goal = { .stop_at = { 2024, 1, 1, 2, 10, 0 } };
	struct plan *p = plan_of(s, 4, absent, goal);

	(void)state;
	expect(p, "f0 f1 f2");
	assert_int_equal(p->steps[0].stop_at.year, 0);
	for (size_t i = 1; i < p->n_steps; i++)
		assert_int_equal(bak_date_compare(p->steps[i].stop_at, goal.stop_at), 0);
	expect_unused(p, "f3", PLAN_BEYOND_STOP);
	talloc_free(p);
	/* The full must have ended before it. */
	goal.stop_at = (struct bak_date){ 2024, 1, 1, 0, 10, 0 };
	p = plan_of(s, 4, absent, goal);
	expect(p, "");
	assert_false(p->complete);
	talloc_free(p);
}

static void
file_and_partial_backups_are_no_base(void **state)
{
	static const enum bak_type types[] = { BAK_FILE, BAK_FILE_DIFFERENTIAL, BAK_PARTIAL, BAK_PARTIAL_DIFFERENTIAL, BAK_TYPE_UNKNOWN };

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct plan_set s[] = { set_of(0, types[i], 10, 15), set_of(1, BAK_LOG, 15, 20) };
		struct plan *p = plan_of(s, 2, absent, (struct plan_goal){ 0 });

		expect(p, "");
		assert_int_equal(p->n_gaps, 1);
		expect_unused(p, "f0", PLAN_NO_BASE);
		talloc_free(p);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_and_logs_in_any_order), cmocka_unit_test(a_gap_has_a_name_and_nothing_past_it_is_restored),
		cmocka_unit_test(a_differential_spares_the_logs_before_it), cmocka_unit_test(a_log_that_began_before_the_full_is_needed),
		cmocka_unit_test(the_middle_of_a_chain_goes_on_from_the_redo_point), cmocka_unit_test(another_recovery_path_does_not_fit),
		cmocka_unit_test(what_cannot_be_used_is_said_and_not_used), cmocka_unit_test(nothing_newer_than_the_tail_is_planned),
		cmocka_unit_test(of_several_logs_the_one_that_reaches_furthest_is_taken),
		cmocka_unit_test(a_copy_only_full_is_a_base_for_logs_and_never_for_a_differential),
		cmocka_unit_test(a_log_that_begins_where_the_differential_ends_is_needed),
		cmocka_unit_test(a_differential_may_follow_logs_when_it_is_newer),
		cmocka_unit_test(a_log_may_lead_to_another_fork_and_the_next_one_begins_there),
		cmocka_unit_test(a_point_in_time_ends_in_the_log_that_spans_it), cmocka_unit_test(file_and_partial_backups_are_no_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
