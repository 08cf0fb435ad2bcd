#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "receiver/knocks.h"

enum { NOW = 1000 };

struct test {
	struct knocks *knocks;
	json_t *before, *after; /* m-0001 gets the key AAA, from one network; m-0002's BBB has expired */
	char said[4 * ADDRESS_TEXT_MAX];
};

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
	struct test *t = talloc_zero(NULL, struct test);

	t->knocks = knocks_new(t);
	t->before = json_loads("{\"keys\": []}", 0, NULL);
	t->after = json_loads("{\"keys\": [{\"migration\": \"m-0001\", \"blob\": \"AAA\", \"from\": [\"192.0.2.0/24\"]},"
	                      " {\"migration\": \"m-0002\", \"blob\": \"BBB\", \"expires\": 999}]}", 0, NULL);
	*state = t;
	return t->before == NULL || t->after == NULL;
}

static int
finish(void **state)
{
	struct test *t = *state;

	json_decref(t->before);
	json_decref(t->after);
	talloc_free(t);
	return 0;
}

static void
say(void *ctx, const struct address *address)
{
	struct test *t = ctx;
	char text[ADDRESS_TEXT_MAX];

	address_text(address, text);
	strncat(t->said, text, sizeof(t->said) - strlen(t->said) - 1);
	strncat(t->said, " ", sizeof(t->said) - strlen(t->said) - 1);
}

static void
knock(struct test *t, const char *address, const char *user, const char *blob)
{
	struct address a = parsed(address);

	knocks_add(t->knocks, &a, user, blob);
}

static const char *
answer(struct test *t, const json_t *keyring)
{
	t->said[0] = '\0';
	knocks_answer(t->knocks, keyring, NOW, say, t);
	return t->said;
}

static void
who_came_before_his_key_is_let_in_once(void **state)
{
	struct test *t = *state;

	for (int i = 0; i < 3; i++)
		knock(t, "192.0.2.1", "m-0001", "AAA");
	assert_string_equal(answer(t, t->before), "");
	assert_string_equal(answer(t, t->after), "192.0.2.1 ");
	assert_string_equal(answer(t, t->after), "");
}

static void
nobody_else_is(void **state)
{
	struct test *t = *state;

	knock(t, "192.0.2.2", "m-0001", "CCC");
	knock(t, "192.0.2.3", "m-0002", "AAA");
	knock(t, "192.0.2.4", "m-0002", "BBB");
	knock(t, "198.51.100.1", "m-0001", "AAA");
	assert_string_equal(answer(t, t->after), "");
}

/* The oldest gives way; one that knocks again and again with the same key takes one place only. */
static void
only_so_many_are_kept(void **state)
{
	struct test *t = *state;
	char blob[16];

	knock(t, "192.0.2.1", "m-0001", "AAA");
	for (int i = 0; i < KNOCKS_MAX - 1; i++) {
		snprintf(blob, sizeof(blob), "other %d", i);
		for (int again = 0; again < 3; again++)
			knock(t, "203.0.113.1", "m-0001", blob);
	}
	assert_string_equal(answer(t, t->after), "192.0.2.1 ");
	knock(t, "192.0.2.1", "m-0001", "AAA");
	for (int i = 0; i < KNOCKS_MAX; i++) {
		snprintf(blob, sizeof(blob), "more %d", i);
		knock(t, "203.0.113.1", "m-0001", blob);
	}
	assert_string_equal(answer(t, t->after), "");
}

static void
what_is_too_long_is_not_kept(void **state)
{
	struct test *t = *state;
	char *longest = talloc_zero_size(t, 5000);
	json_t *keyring;

	memset(longest, 'x', 4999);
	knock(t, "192.0.2.1", "m-0001", longest);
	knock(t, "192.0.2.1", longest, "AAA");
	keyring = json_pack("{s:[{s:s,s:s},{s:s,s:s}]}", "keys", "migration", "m-0001", "blob", longest, "migration", longest, "blob", "AAA");
	assert_non_null(keyring);
	assert_string_equal(answer(t, keyring), "");
	json_decref(keyring);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_came_before_his_key_is_let_in_once, begin, finish),
		cmocka_unit_test_setup_teardown(nobody_else_is, begin, finish),
		cmocka_unit_test_setup_teardown(only_so_many_are_kept, begin, finish),
		cmocka_unit_test_setup_teardown(what_is_too_long_is_not_kept, begin, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
