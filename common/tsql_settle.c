#include "common/tsql_settle.h"

#include <string.h>

#include "common/tsql.h"

#define SERVER "CONVERT(nvarchar(128), SERVERPROPERTY('ServerName'))"

/* ---- settings --------------------------------------------------------------------------------------------------- */

char *
tsql_ask_settings(TALLOC_CTX *parent, const char *database)
{
	return talloc_asprintf(parent,
		"SELECT d.state, p.name AS owner, d.compatibility_level, d.recovery_model_desc, d.is_auto_close_on, d.is_trustworthy_on,"
		" d.is_broker_enabled, d.user_access_desc FROM sys.databases d LEFT JOIN sys.server_principals p ON p.sid = d.owner_sid"
		" WHERE d.name = %s", tsql_text(parent, database));
}

char *
tsql_set_compat(TALLOC_CTX *parent, const char *database, int level)
{
	return talloc_asprintf(parent, "ALTER DATABASE %s SET COMPATIBILITY_LEVEL = %d", tsql_name(parent, database), level);
}

char *
tsql_set_option(TALLOC_CTX *parent, const char *database, const char *option)
{
	return talloc_asprintf(parent, "ALTER DATABASE %s SET %s WITH ROLLBACK IMMEDIATE", tsql_name(parent, database), option);
}

char *
tsql_ask_orphans(TALLOC_CTX *parent)
{
	/* principal_id 1 to 4: dbo, guest and the two schemas. authentication_type 1: by a log-in of this server. */
	return talloc_strdup(parent,
		"SELECT u.name, l.name AS login, l.type AS login_type, l.is_disabled AS login_disabled,"
		" IS_SRVROLEMEMBER(N'sysadmin', l.name) AS privileged FROM sys.database_principals u"
		" LEFT JOIN sys.server_principals s ON s.sid = u.sid LEFT JOIN sys.server_principals l ON l.name = u.name"
		" WHERE u.type = 'S' AND u.authentication_type = 1 AND u.principal_id > 4 AND s.sid IS NULL ORDER BY u.name");
}

char *
tsql_repair_user(TALLOC_CTX *parent, const char *user, const char *login)
{
	return talloc_asprintf(parent, "ALTER USER %s WITH LOGIN = %s", tsql_name(parent, user), tsql_name(parent, login));
}

char *
tsql_set_owner(TALLOC_CTX *parent, const char *database, const char *login)
{
	return talloc_asprintf(parent, "ALTER AUTHORIZATION ON DATABASE::%s TO %s", tsql_name(parent, database), tsql_name(parent, login));
}

/* ---- backups ---------------------------------------------------------------------------------------------------- */

/* FORMAT: one that was broken off lies there and is no backup any more. */
char *
tsql_backup_full(TALLOC_CTX *parent, const char *database, const char *path)
{
	return talloc_asprintf(parent, "BACKUP DATABASE %s TO DISK = %s WITH FORMAT, INIT, CHECKSUM, STATS = 5", tsql_name(parent, database),
	                       tsql_text(parent, path));
}

char *
tsql_backup_log(TALLOC_CTX *parent, const char *database, const char *path)
{
	return talloc_asprintf(parent, "BACKUP LOG %s TO DISK = %s WITH FORMAT, INIT, CHECKSUM, STATS = 5", tsql_name(parent, database),
	                       tsql_text(parent, path));
}

char *
tsql_own_backup_path(TALLOC_CTX *parent, const char *dir, const char *database, const char *word, const char *suffix)
{
	bool back = strchr(dir, '\\') != NULL;
	size_t len = strlen(dir);
	bool ends = len > 0 && dir[len - 1] == (back ? '\\' : '/');

	return talloc_asprintf(parent, "%s%s%s_%s.%s", dir, ends ? "" : back ? "\\" : "/", database, word, suffix);
}

/* ---- the group -------------------------------------------------------------------------------------------------- */

char *
tsql_ask_group_replicas(TALLOC_CTX *parent, const char *group)
{
	return talloc_asprintf(parent,
		"SELECT " SERVER " AS server, r.replica_server_name, r.availability_mode_desc, r.seeding_mode_desc, s.role_desc"
		" FROM sys.availability_groups g JOIN sys.availability_replicas r ON r.group_id = g.group_id"
		" LEFT JOIN sys.dm_hadr_availability_replica_states s ON s.replica_id = r.replica_id WHERE g.name = %s", tsql_text(parent, group));
}

char *
tsql_ask_copy(TALLOC_CTX *parent, const char *database)
{
	return talloc_asprintf(parent, "SELECT " SERVER " AS server, d.state, d.group_database_id FROM sys.databases m"
		" LEFT JOIN sys.databases d ON d.name = %s WHERE m.name = N'master'", tsql_text(parent, database));
}

#define OF_DATABASE                                                                                                          \
	" JOIN sys.availability_groups g ON g.group_id = c.group_id WHERE g.name = %s AND c.database_name = %s"

char *
tsql_ask_group_states(TALLOC_CTX *parent, const char *group, const char *database)
{
	return talloc_asprintf(parent,
		"SELECT r.replica_server_name, d.synchronization_state_desc, d.is_suspended, d.secondary_lag_seconds, d.redo_queue_size"
		" FROM sys.availability_databases_cluster c JOIN sys.dm_hadr_database_replica_states d ON d.group_database_id = c.group_database_id"
		" JOIN sys.availability_replicas r ON r.replica_id = d.replica_id" OF_DATABASE, tsql_text(parent, group), tsql_text(parent, database));
}

char *
tsql_ask_seeding(TALLOC_CTX *parent, const char *group, const char *database)
{
	return talloc_asprintf(parent,
		"SELECT r.replica_server_name, s.current_state, s.failure_state_desc FROM sys.availability_databases_cluster c"
		" JOIN sys.dm_hadr_automatic_seeding s ON s.ag_db_id = c.group_database_id"
		" JOIN sys.availability_replicas r ON r.replica_id = s.ag_remote_replica_id" OF_DATABASE " ORDER BY s.start_time DESC",
		tsql_text(parent, group), tsql_text(parent, database));
}

char *
tsql_group_add(TALLOC_CTX *parent, const char *group, const char *database)
{
	return talloc_asprintf(parent, "IF NOT EXISTS (SELECT 1 FROM sys.databases d WHERE d.name = %s AND d.group_database_id IS NOT NULL)"
		" ALTER AVAILABILITY GROUP %s ADD DATABASE %s", tsql_text(parent, database), tsql_name(parent, group), tsql_name(parent, database));
}

char *
tsql_group_join(TALLOC_CTX *parent, const char *group, const char *database)
{
	return talloc_asprintf(parent, "IF NOT EXISTS (SELECT 1 FROM sys.databases d WHERE d.name = %s AND d.group_database_id IS NOT NULL)"
		" ALTER DATABASE %s SET HADR AVAILABILITY GROUP = %s", tsql_text(parent, database), tsql_name(parent, database), tsql_name(parent, group));
}

char *
tsql_group_seeding(TALLOC_CTX *parent, const char *group, const char *server, bool automatic)
{
	return talloc_asprintf(parent, "ALTER AVAILABILITY GROUP %s MODIFY REPLICA ON %s WITH (SEEDING_MODE = %s)", tsql_name(parent, group),
	                       tsql_text(parent, server), automatic ? "AUTOMATIC" : "MANUAL");
}

char *
tsql_group_grant(TALLOC_CTX *parent, const char *group)
{
	return talloc_asprintf(parent, "ALTER AVAILABILITY GROUP %s GRANT CREATE ANY DATABASE", tsql_name(parent, group));
}
