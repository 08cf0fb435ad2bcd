#include "verify/verdict.h"

static const char *const words[] = { "pass", "warn", "fail", "error", "skip", "manual" };

const char *
check_result_word(enum check_result result)
{
	return words[result];
}

const char *
verdict_of(const struct verdict_input *checks, size_t n)
{
	bool failed = false, open = false, warned = n == 0;

	for (size_t i = 0; i < n; i++) {
		enum check_result r = checks[i].result;

		failed = failed || (r == CHECK_FAIL && checks[i].is_blocker);
		open = open || ((r == CHECK_ERROR || r == CHECK_MANUAL) && checks[i].is_blocker);
		warned = warned || r != CHECK_PASS;
	}
	return failed ? "not_verified" : open ? "incomplete" : warned ? "verified_with_warnings" : "verified";
}
