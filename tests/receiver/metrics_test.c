#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "receiver/metrics.h"

/* Of every line of the text form; the caller counts. */
struct seen { char families[METRIC_N][80]; int n_families, n_series; };

static void
see_help(struct seen *s, const char *line)
{
	char name[80];

	assert_int_equal(sscanf(line, "# HELP %79s", name), 1);
	for (int i = 0; i < s->n_families; i++)
		assert_string_not_equal(s->families[i], name);
	strcpy(s->families[s->n_families++], name);
}

static void
see_series(struct seen *s, const char *line)
{
	size_t n = strcspn(line, "{ ");
	double value;

	assert_int_equal(strncmp(line, s->families[s->n_families - 1], n), 0);
	assert_int_equal(strlen(s->families[s->n_families - 1]), n);
	assert_int_equal(sscanf(strrchr(line, ' '), "%lf", &value), 1);
	assert_true(value == s->n_series + 0.5);
	s->n_series++;
}

static void
every_series_stands_under_its_name(void **state)
{
	double values[METRIC_N];
	struct seen s = { .n_series = 0 };
	char *text, *line, *save;

	(void)state;
	for (int i = 0; i < METRIC_N; i++)
		values[i] = i + 0.5;
	text = metrics_text(NULL, values);
	for (line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, "# HELP ", 7) == 0)
			see_help(&s, line);
		else if (strncmp(line, "# TYPE ", 7) != 0)
			see_series(&s, line);
	assert_int_equal(s.n_series, METRIC_N);
	talloc_free(text);
}

static void
large_numbers_are_whole(void **state)
{
	double values[METRIC_N] = { [METRIC_RECEIVED_BYTES] = 123456789012345.0, [METRIC_JOURNAL_SECONDS] = 0.25, [METRIC_REFUSED_CROWD] = 3 };
	char *text = metrics_text(NULL, values);

	(void)state;
	assert_non_null(strstr(text, "\nlandfall_receiver_received_bytes_total 123456789012345\n"));
	assert_non_null(strstr(text, "\nlandfall_receiver_journal_flush_seconds_total 0.250000\n"));
	assert_non_null(strstr(text, "\nlandfall_receiver_connections_refused_total{reason=\"crowd\"} 3\n"));
	assert_non_null(strstr(text, "# TYPE landfall_receiver_received_bytes_total counter\n"));
	assert_non_null(strstr(text, "# TYPE landfall_receiver_uploads_stalled gauge\n"));
	talloc_free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_series_stands_under_its_name), cmocka_unit_test(large_numbers_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
