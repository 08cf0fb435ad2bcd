#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/fingerprint.h"

/* What ssh-keygen -l says of the key (OpenSSH 9.2). */
static void
it_is_what_ssh_keygen_prints(void **state)
{
	char out[FINGERPRINT_MAX];

	(void)state;
	assert_true(fingerprint_of("AAAAC3NzaC1lZDI1NTE5AAAAIILY+vqey/wmgl/dYqcxHfWrthzaBcqUihkqucQv+dRM", out));
	assert_string_equal(out, "SHA256:qySzsd3Zitq7z5DQEb+8UFufdwo7Lm2e5d6kBaLBUXw");
}

static void
what_is_no_base64_has_none(void **state)
{
	static const char *const bad[] = { "", "A", "AAA", "AA*A", "AAAA\n" };
	char out[FINGERPRINT_MAX], longer[FINGERPRINT_BLOB_MAX + 5];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(fingerprint_of(bad[i], out));
	memset(longer, 'A', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_false(fingerprint_of(longer, out));
	assert_string_equal(out, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_what_ssh_keygen_prints), cmocka_unit_test(what_is_no_base64_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
