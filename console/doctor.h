/*
 * What `landfall doctor` looks at: named checks, each of which says what it measured and what to do about it.
 *
 * A check says one thing or several (one per file, per server). What it may not look at, with the rights of whoever
 * asks, it says as a warning that begins with "not checked": nothing is left out silently.
 */
#ifndef LANDFALL_DOCTOR_H
#define LANDFALL_DOCTOR_H

#include <jansson.h>
#include <talloc.h>

#include "common/ask_health.h"
#include "common/config.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor {
	TALLOC_CTX *mem;
	const char *config_path;
	const struct config *config; /* NULL: config_err says why */
	struct err config_err;
	struct health health;        /* when has_health; otherwise db_err says why not */
	bool has_health;
	struct err db_err;
	bool is_shut_out;            /* the operator's password may not be read by whoever asks */
	int64_t skew_ms;             /* Postgres's clock before ours, half of the question's time taken off */
	const char *check;           /* that runs */
	json_t *findings;            /* {check, about, level, value, hint} */
	json_t *numbers;             /* {name: number}, for monitoring */
};

/* about: what it is about, or "". hint: what to do, or NULL. The rest is what was measured. */
void doctor_say(struct doctor *d, const char *about, enum doctor_level level, const char *hint, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void doctor_number(struct doctor *d, const char *name, double value);

/* doctor_host.c: this machine. */
void doctor_configuration(struct doctor *d);
void doctor_secrets(struct doctor *d);
void doctor_kernel(struct doctor *d);
void doctor_libssh(struct doctor *d);
void doctor_open_files(struct doctor *d);

/* doctor_receiver.c: what the receiver serves and keeps. */
void doctor_host_keys(struct doctor *d);
void doctor_port(struct doctor *d);
void doctor_spool(struct doctor *d);
void doctor_journal(struct doctor *d);

/* doctor_far.c: what is asked over a line. */
void doctor_postgres(struct doctor *d);
void doctor_clock(struct doctor *d);
void doctor_workers(struct doctor *d);
void doctor_mail(struct doctor *d);
void doctor_clusters(struct doctor *d);

#endif
