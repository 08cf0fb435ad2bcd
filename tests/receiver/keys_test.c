#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "receiver/keys.h"

enum { NOW = 1000 };

static int
begin(void **state)
{
	*state = json_loads("{\"migrations\": [{\"id\": \"m-0001\", \"database\": \"Sales\", \"allow_encrypted\": true, \"newest_version\": 904, \"quota_bytes\": 7,"
	                    " \"quota_files\": 3}, {\"id\": \"m-0002\", \"database\": \"Other\"}],"
	                    " \"keys\": [{\"migration\": \"m-0001\", \"blob\": \"AAA\", \"expires\": 2000}, {\"migration\": \"m-0002\", \"blob\": \"AAA\","
	                    " \"from\": [\"192.0.2.0/24\"]}, {\"migration\": \"m-0002\", \"blob\": \"BBB\", \"expires\": 999}]}", 0, NULL);
	return *state == NULL;
}

static int
finish(void **state)
{
	json_decref(*state);
	return 0;
}

static void
a_key_opens_its_own_migration(void **state)
{
	int64_t until = 0;

	assert_true(keys_allow(*state, "m-0001", "AAA", "127.0.0.1", NOW, &until));
	assert_int_equal(until, 2000);
	assert_false(keys_allow(*state, "m-0001", "BBB", "127.0.0.1", NOW, NULL));
	assert_false(keys_allow(*state, "", "AAA", "127.0.0.1", NOW, NULL));
	assert_false(keys_allow(NULL, "m-0001", "AAA", "127.0.0.1", NOW, NULL));
}

static void
a_key_ends_at_its_time_and_counts_from_its_networks(void **state)
{
	assert_false(keys_allow(*state, "m-0001", "AAA", "127.0.0.1", 2000, NULL));
	assert_false(keys_allow(*state, "m-0002", "BBB", "192.0.2.9", NOW, NULL));
	assert_true(keys_allow(*state, "m-0002", "AAA", "192.0.2.9", NOW, NULL));
	assert_false(keys_allow(*state, "m-0002", "AAA", "198.51.100.9", NOW, NULL));
}

/* A session's policy is read anew each time the keys change, by the name that stands in it. */
static void
a_policy_is_read_anew_by_its_own_name(void **state)
{
	struct talk_policy p;
	uint64_t bytes = 0;
	unsigned files = 0;

	assert_true(keys_policy(*state, "m-0001", &p, &bytes, &files));
	for (int i = 0; i < 3; i++) {
		assert_true(keys_policy(*state, p.migration, &p, &bytes, &files));
		assert_string_equal(p.migration, "m-0001");
		assert_string_equal(p.database, "Sales");
		assert_true(p.allow_encrypted);
		assert_int_equal(p.newest_version, 904);
		assert_int_equal(bytes, 7);
		assert_int_equal(files, 3);
	}
	assert_false(keys_policy(*state, "m-0003", &p, &bytes, &files));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_key_opens_its_own_migration, begin, finish),
		cmocka_unit_test_setup_teardown(a_key_ends_at_its_time_and_counts_from_its_networks, begin, finish),
		cmocka_unit_test_setup_teardown(a_policy_is_read_anew_by_its_own_name, begin, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
