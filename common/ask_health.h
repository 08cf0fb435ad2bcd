/*
 * How the installation is, as far as Postgres knows it: one question.
 */
#ifndef LANDFALL_ASK_HEALTH_H
#define LANDFALL_ASK_HEALTH_H

#include "common/db.h"

struct health {
	int schema_version;
	int64_t now_ms;            /* Postgres's clock, Unix */
	int mails_waiting, mails_given_up; /* given up: in the last day */
	int64_t mail_oldest_seconds;
	int64_t restore_beat, verify_beat; /* seconds since a worker of that program last said that it lives; -1: none ever */
};

bool ask_health(struct db *db, struct health *health, struct err *err);

#endif
