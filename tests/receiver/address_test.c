#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "receiver/address.h"

static struct address
parsed(const char *text)
{
	struct address a;

	assert_true(address_parse(&a, text));
	return a;
}

static bool
is_in(const char *text, const char *range)
{
	struct address a = parsed(text);

	return address_is_in(&a, range);
}

static void
an_address_has_one_form(void **state)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "192.0.2.1", "192.0.2.1" }, { "::ffff:192.0.2.1", "192.0.2.1" }, { "2001:DB8:0::1", "2001:db8::1" }, { "::", "::" },
	};
	static const char *const bad[] = { "", "192.0.2", "192.0.2.256", "192.0.02.1", "192.0.2.1 ", "::1::", "fe80::1%eth0", "host", "1.2.3.4/32" };
	char text[ADDRESS_TEXT_MAX];
	struct address a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		a = parsed(cases[i].in);
		address_text(&a, text);
		assert_string_equal(text, cases[i].out);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(address_parse(&a, bad[i]));
}

static void
ranges_contain_what_they_say(void **state)
{
	static const struct { const char *address, *range; bool in; } cases[] = {
		{ "10.1.2.3", "10.0.0.0/8", true }, { "11.1.2.3", "10.0.0.0/8", false }, { "10.1.2.3", "10.1.2.3", true }, { "10.1.2.3", "10.1.2.2/31", true },
		{ "10.1.2.4", "10.1.2.2/31", false }, { "10.1.2.3", "0.0.0.0/0", true }, { "::ffff:10.1.2.3", "10.0.0.0/8", true },
		{ "2001:db8::7", "2001:db8::/32", true }, { "2001:db9::7", "2001:db8::/32", false }, { "2001:db8::7", "::/0", true },
		{ "10.1.2.3", "::/0", false }, { "2001:db8::7", "0.0.0.0/0", false }, { "10.1.2.3", "::ffff:10.0.0.0/104", true },
	};
	static const char *const bad[] = { "10.0.0.0/abc", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129", "10.0.0.0/0008", "*", "",
		"2001:0db8:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000" };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(is_in(cases[i].address, cases[i].range), cases[i].in);
		assert_true(address_is_range(cases[i].range));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(address_is_range(bad[i]));
		assert_false(is_in("10.1.2.3", bad[i]));
	}
}

static void
a_network_is_what_one_peer_can_fill(void **state)
{
	struct address a = parsed("2001:db8:1:2:3:4:5:6"), b = parsed("2001:db8:1:2::9"), c = parsed("2001:db8:1:3::9"), d = parsed("10.0.0.1"),
	               e = parsed("10.0.0.2");

	(void)state;
	a = address_network(&a);
	b = address_network(&b);
	c = address_network(&c);
	d = address_network(&d);
	e = address_network(&e);
	assert_true(address_is_same(&a, &b));
	assert_false(address_is_same(&a, &c));
	assert_false(address_is_same(&d, &e));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_has_one_form), cmocka_unit_test(ranges_contain_what_they_say),
		cmocka_unit_test(a_network_is_what_one_peer_can_fill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
