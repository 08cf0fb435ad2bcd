/*
 * The result model landfall.verify/1 and its writers. Observed text is a stranger's: it is bounded and
 * made valid UTF-8 here, so that no result is ever lost on its way into JSON.
 */
#ifndef LANDFALL_REPORT_H
#define LANDFALL_REPORT_H

#include <stdint.h>

#include <talloc.h>

#include "verify/check_file.h"
#include "verify/finding.h"

/* 2026-11-24T16:13:56Z */
struct report_stamp { char s[32]; };
struct report_stamp report_now(void);

/* One check; takes finding->evidence over. New reference. */
json_t *report_check(const struct check *check, const struct finding *finding, int attempts,
                     int64_t duration_ms, const char *started);

struct report_head {
	const char *migration, *run, *product, *verdict, *started;
	const char *cluster, *server_version, *database, *recovery_lsn; /* NULL: not known */
};
/* The whole; takes the array of checks over. New reference. */
json_t *report_json(const struct report_head *head, json_t *checks);

/* A readable page of it. */
char *report_text(TALLOC_CTX *parent, const json_t *result);

#endif
