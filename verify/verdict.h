/*
 * From the results of all checks to one verdict. Pure.
 */
#ifndef LANDFALL_VERDICT_H
#define LANDFALL_VERDICT_H

#include <stdbool.h>
#include <stddef.h>

enum check_result {
	CHECK_PASS,
	CHECK_WARN,
	CHECK_FAIL,
	CHECK_ERROR, /* it could not run; never the same as pass */
	CHECK_SKIP,
	CHECK_MANUAL,
	CHECK_RESULTS,
};
const char *check_result_word(enum check_result result);

struct verdict_input {
	enum check_result result;
	bool is_blocker;
};

/*
 * verified · verified_with_warnings · not_verified (a blocker failed) · incomplete (a blocker could not
 * run, or a person has still to look). A skipped check never counts as passed: the best is then
 * verified_with_warnings.
 */
const char *verdict_of(const struct verdict_input *checks, size_t n);

#endif
