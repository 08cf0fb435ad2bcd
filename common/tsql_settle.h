/*
 * What a recovered database is asked and told so that it is at home in its cluster, as T-SQL text. Pure; see settle.h.
 *
 * Every statement may be sent again: a condition in its batch, or its own nature, keeps a second time harmless. Names of
 * servers and groups come from the configuration and the servers, names of users from the customer's database; all are
 * quoted.
 */
#ifndef LANDFALL_TSQL_SETTLE_H
#define LANDFALL_TSQL_SETTLE_H

#include <stdbool.h>
#include <stddef.h>

#include <talloc.h>

/* ---- the database's own settings, before it is called ONLINE ---- */

/* state, owner, compatibility_level, recovery_model_desc, is_auto_close_on, is_trustworthy_on, is_broker_enabled, user_access. */
char *tsql_ask_settings(TALLOC_CTX *parent, const char *database);

/* One ALTER DATABASE each. RESTORE leaves TRUSTWORTHY and the broker off; option is ours and static: RECOVERY FULL, … */
char *tsql_set_compat(TALLOC_CTX *parent, const char *database, int level);
char *tsql_set_option(TALLOC_CTX *parent, const char *database, const char *option);

/*
 * In the database: its SQL users whose log-in is not on this server (name), and whether a log-in of that name is there that
 * may be theirs (login_type S, login_disabled); NULL where there is none.
 */
char *tsql_ask_orphans(TALLOC_CTX *parent);
char *tsql_repair_user(TALLOC_CTX *parent, const char *user, const char *login);
/* In the database. Refused (15110) when that log-in is a user of the database already. */
char *tsql_set_owner(TALLOC_CTX *parent, const char *database, const char *login);

/* ---- backups of the new primary ---- */

char *tsql_backup_full(TALLOC_CTX *parent, const char *database, const char *path);
char *tsql_backup_log(TALLOC_CTX *parent, const char *database, const char *path);
/* DIR/DATABASE_WORD.SUFFIX with dir's own separator. */
char *tsql_own_backup_path(TALLOC_CTX *parent, const char *dir, const char *database, const char *word, const char *suffix);

/* ---- the availability group ---- */

/* On any replica: who it is (server) and the group's replicas: replica_server_name, synchronous, automatic, role_desc, is_local. */
char *tsql_ask_group_replicas(TALLOC_CTX *parent, const char *group);
/* server, exists and restoring of one database, and whether it is in a group there. */
char *tsql_ask_copy(TALLOC_CTX *parent, const char *database);
/* On the primary: per replica of the database: server, synchronization_state_desc, is_suspended, secondary_lag_seconds, redo_queue_size. */
char *tsql_ask_group_states(TALLOC_CTX *parent, const char *group, const char *database);
/* On the primary: newest first: server, current_state, failure_state_desc. */
char *tsql_ask_seeding(TALLOC_CTX *parent, const char *group, const char *database);
char *tsql_group_add(TALLOC_CTX *parent, const char *group, const char *database);
char *tsql_group_join(TALLOC_CTX *parent, const char *group, const char *database);
/* On the primary, then on the replica. */
char *tsql_group_seeding(TALLOC_CTX *parent, const char *group, const char *server, bool automatic);
char *tsql_group_grant(TALLOC_CTX *parent, const char *group);

#endif
