#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "receiver/penalty.h"

static const struct penalty_rule rule = { .free = 3, .first_seconds = 2, .most_seconds = 30, .forget_seconds = 60 };

static struct address
parsed(const char *text)
{
	struct address a;

	assert_true(address_parse(&a, text));
	return a;
}

static int
begin(void **state)
{
	*state = penalties_new(NULL, &rule);
	return 0;
}

static int
finish(void **state)
{
	talloc_free(*state);
	return 0;
}

static void
each_further_failure_costs_twice_as_much(void **state)
{
	static const unsigned costs[] = { 0, 0, 0, 2, 4, 8, 16, 30, 30, 30 };
	struct address a = parsed("192.0.2.1"), b = parsed("192.0.2.2");
	int64_t now = 1000;

	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++) {
		assert_int_equal(penalties_failed(*state, &a, now), costs[i]);
		assert_int_equal(penalties_wait(*state, &a, now), costs[i]);
		assert_int_equal(penalties_wait(*state, &b, now), 0);
		if (costs[i] > 0)
			assert_int_equal(penalties_wait(*state, &a, now + costs[i] - 1), 1);
		now += costs[i];
		assert_int_equal(penalties_wait(*state, &a, now), 0);
	}
}

/* Sixteen connections that were let in together and fail together are one round. */
static void
what_was_let_in_before_counts_once(void **state)
{
	struct address a = parsed("192.0.2.1");
	int64_t now = 1000;

	for (int i = 0; i < 3; i++)
		penalties_failed(*state, &a, now);
	assert_int_equal(penalties_failed(*state, &a, now), 2);
	for (int i = 0; i < 16; i++)
		assert_int_equal(penalties_failed(*state, &a, now + 1), 0);
	assert_int_equal(penalties_failed(*state, &a, now + 2), 4);
}

static void
what_was_no_attack_is_forgiven(void **state)
{
	struct address a = parsed("2001:db8::1"), neighbour = parsed("2001:db8::2"), b = parsed("192.0.2.2");
	int64_t now = 1000;

	assert_false(penalties_forgive(*state, &a));
	for (int i = 0; i < 6; i++) {
		now += penalties_failed(*state, &a, now);
		penalties_failed(*state, &b, now);
	}
	assert_int_equal(penalties_failed(*state, &a, now), 16);
	assert_true(penalties_forgive(*state, &neighbour));
	assert_int_equal(penalties_wait(*state, &a, now), 0);
	assert_true(penalties_wait(*state, &b, now) > 0);
	assert_int_equal(penalties_failed(*state, &a, now), 0);
}

static void
it_is_forgotten_bit_by_bit(void **state)
{
	struct address a = parsed("192.0.2.1");
	int64_t now = 1000;

	for (int i = 0; i < 8; i++)
		now += penalties_failed(*state, &a, now);
	/* Forgetting begins when the shut-out is over. */
	assert_int_equal(penalties_failed(*state, &a, now + 59), 30);
	now += 59 + 30;
	assert_int_equal(penalties_failed(*state, &a, now + 120), 16);
	now += 120 + 16;
	assert_int_equal(penalties_failed(*state, &a, now + 100 * 60), 0);
}

static void
a_host_of_ipv6_cannot_move_within_its_network(void **state)
{
	int64_t now = 1000;
	unsigned cost = 0;
	struct address a;

	for (int i = 0; i < 4; i++) {
		char text[40];

		snprintf(text, sizeof(text), "2001:db8:0:1::%x", i);
		a = parsed(text);
		cost = penalties_failed(*state, &a, now);
	}
	assert_int_equal(cost, 2);
	a = parsed("2001:db8:0:1::99");
	assert_int_equal(penalties_wait(*state, &a, now), 2);
	a = parsed("2001:db8:0:2::99");
	assert_int_equal(penalties_wait(*state, &a, now), 0);
}

/* Three times as many networks as there are places fail once each: who is shut out stays so. */
static void
a_crowd_does_not_push_out_the_worst(void **state)
{
	struct address worst = parsed("192.0.2.1"), a;
	int64_t now = 1000;

	for (int i = 0; i < 8; i++)
		now += i < 7 ? penalties_failed(*state, &worst, now) : 0;
	assert_int_equal(penalties_failed(*state, &worst, now), 30);
	for (int i = 0; i < 3 * PENALTY_NETWORKS; i++) {
		const uint8_t b[4] = { 10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i };

		a = address_of_v4(b);
		penalties_failed(*state, &a, now + 1);
	}
	assert_int_equal(penalties_wait(*state, &worst, now + 1), 29);
	/* Whoever came last is known too. */
	for (int i = 0; i < 2; i++)
		penalties_failed(*state, &a, now + 1);
	assert_int_equal(penalties_failed(*state, &a, now + 1), 2);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
	const struct CMUnitTest tests[] = {
		TEST(each_further_failure_costs_twice_as_much), TEST(what_was_let_in_before_counts_once), TEST(what_was_no_attack_is_forgiven), TEST(it_is_forgotten_bit_by_bit),
		TEST(a_host_of_ipv6_cannot_move_within_its_network), TEST(a_crowd_does_not_push_out_the_worst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
