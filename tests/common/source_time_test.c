#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/source_time.h"

static const struct guid family = { { 1 } }, other = { { 2 } };

static struct plan_set
finished(struct guid of, int zone, struct bak_date at)
{
	return (struct plan_set){ .family = of, .finish = at, .has_zone = source_zone_is_known(zone), .zone = (int8_t)zone };
}

static void
expect(const char *text, const struct plan_set *sets, size_t n, const char *local)
{
	struct source_point point;
	struct bak_date d;
	struct err err = { 0 };

	if (!source_point_parse(text, &point, &err) || !source_point_local(&point, sets, n, family, &d, &err))
		fail_msg("%s: %s", text, err.text);
	assert_string_equal(bak_date_text(d).s, local);
}

static void
a_time_without_a_zone_is_the_sources_own(void **state)
{
	(void)state;
	expect("2026-11-23T05:16:00", NULL, 0, "2026-11-23T05:16:00");
	expect("2026-11-23 05:16", NULL, 0, "2026-11-23T05:16:00");
	expect("2024-02-29T23:59:59", NULL, 0, "2024-02-29T23:59:59");
	expect(NULL, NULL, 0, "");
}

static void
what_is_no_time_is_refused(void **state)
{
	static const char *const bad[] = { "", "yesterday", "2026-11-23", "2026-11-23T05", "2026-11-23T24:00:00", "2026-13-01T00:00:00", "2026-02-30T00:00:00",
		"2025-02-29T00:00:00", "2026-11-23T05:16:00.", "2026-11-23T05:16.5", "2026-11-23T05:16:00 ", "2026-11-23T05:16:60", "2026-11-23T05:16:00+", "2026-11-23T05:16:00+2",
		"2026-11-23T05:16:00+02:0", "2026-11-23T05:16:00+02:60", "2026-11-23T05:16:00+15:00", "2026-11-23T05:16:00ZZ", "2026-11-23x05:16:00",
		"0000-00-00T00:00:00", "1899-12-31T00:00:00", "26-11-23T05:16:00", "2026-11-23T05:16:00Europe/Berlin", "+026-11-23T05:16:00" };
	struct source_point point;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = { 0 };

		if (source_point_parse(bad[i], &point, &err))
			fail_msg("'%s' was taken for a time", bad[i]);
		assert_int_equal(err.kind, ERR_REFUSED);
		assert_non_null(strstr(err.text, "source's local time"));
		assert_int_equal(point.at.year, 0);
	}
}

static void
a_zone_is_turned_into_the_sources(void **state)
{
	/* India, UTC+5:30. */
	struct plan_set s[] = { finished(family, 22, (struct bak_date){ 2026, 11, 24, 0, 0, 0 }) };

	(void)state;
	expect("2026-11-23T05:16:00Z", s, 1, "2026-11-23T10:46:00");
	expect("2026-11-23T05:16:00+02:00", s, 1, "2026-11-23T08:46:00");
	expect("2026-11-23T05:16:00-0800", s, 1, "2026-11-23T18:46:00");
	expect("2026-12-31T23:59:59Z", s, 1, "2027-01-01T05:29:59");
	expect("2026-11-23T05:16:00", s, 1, "2026-11-23T05:16:00");
	s[0].zone = -28; /* and west of Greenwich, over a leap day */
	expect("2024-03-01T00:30:00Z", s, 1, "2024-02-29T17:30:00");
}

static void
the_season_of_the_backup_that_holds_the_point_counts(void **state)
{
	/* Berlin: one hour east of UTC in winter, two in summer; the clock went back on 2026-10-25 at 03:00. */
	struct plan_set s[] = { finished(family, 4, (struct bak_date){ 2026, 10, 25, 4, 0, 0 }), finished(family, 8, (struct bak_date){ 2026, 10, 25, 1, 0, 0 }),
		finished(other, -32, (struct bak_date){ 2026, 10, 24, 0, 0, 0 }) };

	(void)state;
	expect("2026-10-24T22:00:00Z", s, 3, "2026-10-25T00:00:00");
	expect("2026-10-25T02:30:00Z", s, 3, "2026-10-25T03:30:00");
	/* Behind everything that is here the newest one speaks. */
	expect("2026-11-23T05:16:00Z", s, 3, "2026-11-23T06:16:00");
}

static void
without_the_sources_zone_a_zone_is_refused(void **state)
{
	struct plan_set s[] = { finished(family, 127, (struct bak_date){ 2026, 11, 24, 0, 0, 0 }), finished(other, 0, (struct bak_date){ 2026, 11, 24, 0, 0, 0 }) };
	struct source_point point;
	struct bak_date d;
	struct err err = { 0 };

	(void)state;
	assert_true(source_point_parse("2026-11-23T05:16:00Z", &point, &err));
	assert_false(source_point_local(&point, s, 2, family, &d, &err));
	assert_int_equal(err.kind, ERR_REFUSED);
	assert_non_null(strstr(err.text, "give the source's local time"));
	expect("2026-11-23T05:16:00", s, 2, "2026-11-23T05:16:00");
	assert_false(source_zone_is_known(127));
	assert_false(source_zone_is_known(-49));
	assert_true(source_zone_is_known(0));
	assert_true(source_zone_is_known(56));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_time_without_a_zone_is_the_sources_own), cmocka_unit_test(what_is_no_time_is_refused),
		cmocka_unit_test(a_zone_is_turned_into_the_sources), cmocka_unit_test(the_season_of_the_backup_that_holds_the_point_counts),
		cmocka_unit_test(without_the_sources_zone_a_zone_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
