#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "receiver/sidecar.h"

/* What sha256sum, md5sum, BSD's tools, certutil's users and PowerShell write, and what is no checksum at all. */

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF"
#define MD5 "0123456789abcdef0123456789ABCDEF"

static const struct { const char *text; size_t digits; const char *hex; } table[] = {
	{ SHA, 64, SHA }, { SHA "\n", 64, SHA }, { SHA "  full.bak\r\n", 64, SHA }, { SHA " *full.bak\n", 64, SHA }, { MD5 "  full.bak", 32, MD5 },
	{ "\n\n  " SHA "\n", 64, SHA }, { "\\" SHA "  a\\nb\n", 64, SHA }, { "\xEF\xBB\xBF" SHA "\r\n", 64, SHA },
	{ "SHA256 (full.bak) = " SHA "\n", 64, SHA }, { "MD5 (" SHA ") = " MD5 "\n", 32, MD5 },
	{ "", 64, NULL }, { "\n", 64, NULL }, { SHA "0", 64, NULL }, { MD5, 64, NULL }, { SHA, 32, NULL }, { "full.bak " SHA, 64, NULL },
	{ "hello\n" SHA, 64, NULL }, { "0123456789abcdef0123456789abcdeg", 32, NULL }, { "=", 32, NULL }, { "\\", 32, NULL },
};

static void
each_form_gives_its_digest(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char hex[SIDECAR_HEX_MAX + 1] = "";
		bool found = sidecar_parse(table[i].text, strlen(table[i].text), table[i].digits, hex);

		if (found != (table[i].hex != NULL) || (found && strcasecmp(hex, table[i].hex) != 0))
			fail_msg("%s: %s", table[i].text, found ? hex : "none");
		assert_true(!found || sidecar_is_hex(hex, table[i].digits));
	}
}

static void
names_tell_what_it_is(void **state)
{
	(void)state;
	assert_int_equal(sidecar_digits("full.bak.sha256"), 64);
	assert_int_equal(sidecar_digits("full.bak.MD5"), 32);
	assert_int_equal(sidecar_digits(".md5"), 0);
	assert_int_equal(sidecar_digits("full.bak"), 0);
	assert_int_equal(sidecar_stem("/x/full.bak.sha256"), strlen("/x/full.bak"));
	assert_int_equal(sidecar_stem("/x/full.bak"), strlen("/x/full.bak"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_form_gives_its_digest), cmocka_unit_test(names_tell_what_it_is) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
