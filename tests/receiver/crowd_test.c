#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "receiver/crowd.h"

static struct address
number(char c)
{
	return address_of_v4((const uint8_t[4]){ 192, 0, 2, (uint8_t)c });
}

/* A letter is a network, of who is there the oldest first. */
static void
places_are_given_by_the_rule(void **state)
{
	static const struct crowd_limits limits = { .all = 6, .per_network = 4 };
	static const struct { const char *there; char newcomer; bool is_exempt; enum crowd_answer answer; size_t leaves; } cases[] = {
		{ "", 'a', false, CROWD_COME, 0 }, { "aaabb", 'a', false, CROWD_COME, 0 }, { "aaaa", 'a', false, CROWD_ITS_SHARE, 0 },
		{ "aaaa", 'a', true, CROWD_COME, 0 }, { "aaaa", 'b', false, CROWD_COME, 0 }, { "baaaab", 'c', false, CROWD_INSTEAD, 1 },
		{ "baaaab", 'b', false, CROWD_INSTEAD, 1 }, { "aaabbb", 'b', false, CROWD_FULL, 0 }, { "aaabbb", 'c', false, CROWD_INSTEAD, 0 },
		{ "abcdef", 'g', false, CROWD_INSTEAD, 0 }, { "abcdef", 'a', false, CROWD_FULL, 0 }, { "aabbcc", 'c', true, CROWD_FULL, 0 },
		{ "abbccc", 'd', true, CROWD_INSTEAD, 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct address there[8], newcomer = number(cases[i].newcomer);
		size_t n = strlen(cases[i].there), leaves = 99;

		for (size_t k = 0; k < n; k++)
			there[k] = number(cases[i].there[k]);
		assert_int_equal(crowd_ask(&limits, there, n, &newcomer, cases[i].is_exempt, &leaves), cases[i].answer);
		if (cases[i].answer == CROWD_INSTEAD)
			assert_int_equal(leaves, cases[i].leaves);
	}
}

/* One network opens without end; another one's few connections keep their places, and it gets more. */
static void
a_flood_pushes_out_its_own(void **state)
{
	static const struct crowd_limits limits = { .all = 64, .per_network = 64 };
	struct address there[64], flood = number('f'), customer = number('c');
	size_t n = 0, leaves, customers = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		const struct address *who = i % 100 == 50 ? &customer : &flood;
		enum crowd_answer answer = crowd_ask(&limits, there, n, who, false, &leaves);

		if (who == &customer)
			assert_true(answer == CROWD_COME || answer == CROWD_INSTEAD);
		if (answer == CROWD_INSTEAD) {
			assert_true(address_is_same(&there[leaves], &flood));
			memmove(there + leaves, there + leaves + 1, (--n - leaves) * sizeof(there[0]));
		}
		if (answer == CROWD_COME || answer == CROWD_INSTEAD)
			there[n++] = *who;
	}
	for (size_t i = 0; i < n; i++)
		customers += address_is_same(&there[i], &customer);
	assert_int_equal(customers, 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(places_are_given_by_the_rule), cmocka_unit_test(a_flood_pushes_out_its_own) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
