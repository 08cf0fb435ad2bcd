/*
 * What the target says of one database: asked before and after every step.
 */
#ifndef LANDFALL_TARGET_H
#define LANDFALL_TARGET_H

#include <stdbool.h>

#include "common/bak.h"
#include "common/config.h"
#include "common/lsn.h"
#include "common/mssql.h"

enum { TARGET_FILES_MAX = 64 };

struct target {
	bool exists, is_restoring, is_online;
	char state[32];      /* the server's word: RESTORING, ONLINE, RECOVERY_PENDING, …; absent when there is none */
	struct lsn redo;     /* none while ONLINE or after a full that was broken off */
	struct guid fork, base;
	struct guid last_set; /* newest set in restorehistory: written at completion only */
	struct bak_date last_stop; /* the STOPAT it was restored with; year 0: none */
	int busy;            /* session that restores it now, 0 for none */
	char busy_program[132];
	int files[TARGET_FILES_MAX]; /* ids of those that it has there now, */
	size_t n_files;
	bool more_files;             /* or too many to be kept here: target_files */
};

/* The conversation's time limit is set for short questions and put back to none. ours: how the program names of this run's
 * conversations begin, or NULL. */
bool target_ask(struct mssql *ms, const char *database, const char *ours, struct target *target, struct err *err);

/* The ids of the files that the database has there now; none while it is absent. Owned by mem. */
bool target_files(struct mssql *ms, TALLOC_CTX *mem, const char *database, int **ids, size_t *n, struct err *err);

/* mssql's view of one replica of the configuration. Borrows. */
struct mssql_target target_of(const struct config_cluster *cluster, const struct config_target *t);

/* What volume_slots counts on: the server, and of a Windows path the drive or the share; of another path all of it. */
char *target_volume(TALLOC_CTX *mem, const struct config_target *t);

#endif
