#include "common/tsql.h"

#include <string.h>

static char *
doubled(TALLOC_CTX *parent, const char *open, const char *text, char twice, const char *close)
{
	size_t n = strlen(open) + strlen(close) + 1, at = strlen(open);
	char *out;

	for (const char *p = text; *p != '\0'; p++)
		n += *p == twice ? 2 : 1;
	out = talloc_array(parent, char, n);
	memcpy(out, open, at);
	for (const char *p = text; *p != '\0'; p++) {
		out[at++] = *p;
		if (*p == twice)
			out[at++] = twice;
	}
	strcpy(out + at, close);
	return out;
}

char *
tsql_name(TALLOC_CTX *parent, const char *name)
{
	return doubled(parent, "[", name, ']', "]");
}

char *
tsql_text(TALLOC_CTX *parent, const char *text)
{
	return doubled(parent, "N'", text, '\'', "'");
}

char *
tsql_restore(TALLOC_CTX *parent, const struct tsql_restore *r)
{
	char *s = talloc_asprintf(parent, "RESTORE %s %s FROM ", r->is_log ? "LOG" : "DATABASE", tsql_name(parent, r->database));

	for (size_t i = 0; i < r->n_paths; i++)
		s = talloc_asprintf_append(s, "%sDISK = %s", i == 0 ? "" : ", ", tsql_text(parent, r->paths[i]));
	s = talloc_asprintf_append(s, " WITH FILE = %d", r->position);
	for (size_t i = 0; i < r->n_moves; i++)
		s = talloc_asprintf_append(s, ", MOVE %s TO %s", tsql_text(parent, r->moves[i].logical), tsql_text(parent, r->moves[i].path));
	if (r->stop_at != NULL)
		s = talloc_asprintf_append(s, ", STOPAT = %s", tsql_text(parent, r->stop_at));
	return talloc_asprintf_append(s, ", NORECOVERY, STATS = 5");
}

char *
tsql_recovery(TALLOC_CTX *parent, const char *database)
{
	return talloc_asprintf(parent, "RESTORE DATABASE %s WITH RECOVERY", tsql_name(parent, database));
}

#define FILES_OF "EXISTS (SELECT 1 FROM sys.databases d JOIN sys.master_files f ON f.database_id = d.database_id WHERE d.name = "

char *
tsql_onto_nothing(TALLOC_CTX *parent, const char *database, const char *statement)
{
	return talloc_asprintf(parent, "IF NOT " FILES_OF "%s AND (d.state = 0 OR f.redo_start_lsn IS NOT NULL)) %s", tsql_text(parent, database),
	                       statement);
}

char *
tsql_at(TALLOC_CTX *parent, const char *database, const char *redo, const char *statement)
{
	return talloc_asprintf(parent, "IF " FILES_OF "%s AND d.state = 1 AND f.redo_start_lsn = %s) %s", tsql_text(parent, database), redo, statement);
}

char *
tsql_drop(TALLOC_CTX *parent, const char *database, const char *redo)
{
	char *drop = talloc_asprintf(parent, "DROP DATABASE %s", tsql_name(parent, database));

	if (redo != NULL)
		return tsql_at(parent, database, redo, drop);
	return talloc_asprintf(parent, "IF EXISTS (SELECT 1 FROM sys.databases d WHERE d.name = %s AND d.state = 1 AND NOT EXISTS (SELECT 1 FROM sys.master_files f"
		" WHERE f.database_id = d.database_id AND f.redo_start_lsn IS NOT NULL)) %s", tsql_text(parent, database), drop);
}

char *
tsql_drop_online(TALLOC_CTX *parent, const char *database)
{
	const char *name = tsql_name(parent, database), *text = tsql_text(parent, database);

	return talloc_asprintf(parent, "IF EXISTS (SELECT 1 FROM sys.databases d WHERE d.name = %s AND d.state = 0) BEGIN ALTER DATABASE %s SET SINGLE_USER"
		" WITH ROLLBACK IMMEDIATE; DROP DATABASE %s END", text, name, name);
}

static char
separator(const char *dir)
{
	return strchr(dir, '\\') != NULL ? '\\' : '/';
}

char *
tsql_data_path(TALLOC_CTX *parent, const char *dir, const char *database, int file_id, char type)
{
	const char *suffix = type == 'L' ? "ldf" : file_id == 1 ? "mdf" : "ndf";
	size_t len = strlen(dir);
	bool ends = len > 0 && dir[len - 1] == separator(dir);

	return talloc_asprintf(parent, "%s%.*s%s_%d.%s", dir, ends ? 0 : 1, separator(dir) == '/' ? "/" : "\\", database, file_id, suffix);
}

char *
tsql_backup_path(TALLOC_CTX *parent, const char *theirs, const char *relative)
{
	char sep = separator(theirs), *s = talloc_asprintf(parent, "%s%c%s", theirs, sep, relative);

	for (char *p = s; sep == '\\' && *p != '\0'; p++)
		if (*p == '/')
			*p = sep;
	return s;
}

char *
tsql_ask_database(TALLOC_CTX *parent, const char *database)
{
	const char *name = tsql_text(parent, database);

	return talloc_asprintf(parent,
		"SELECT d.database_id, d.state, d.state_desc, f.redo_start_lsn, f.redo_start_fork_guid, f.differential_base_guid"
		" FROM sys.databases d LEFT JOIN sys.master_files f ON f.database_id = d.database_id AND f.type = 0"
		" WHERE d.name = %s ORDER BY f.redo_start_lsn", name);
}

char *
tsql_ask_files(TALLOC_CTX *parent, const char *database)
{
	return talloc_asprintf(parent, "SELECT f.file_id FROM sys.databases d JOIN sys.master_files f ON f.database_id = d.database_id"
		" WHERE d.name = %s ORDER BY f.file_id", tsql_text(parent, database));
}

char *
tsql_ask_requests(TALLOC_CTX *parent)
{
	return talloc_strdup(parent,
		"SELECT r.session_id, r.command, r.percent_complete, r.database_id, e.program_name"
		" FROM sys.dm_exec_requests r JOIN sys.dm_exec_sessions e ON e.session_id = r.session_id"
		" WHERE r.command LIKE N'RESTORE%'");
}

char *
tsql_ask_progress(TALLOC_CTX *parent)
{
	return talloc_strdup(parent,
		"SELECT r.session_id, r.percent_complete, r.wait_type, e.program_name"
		" FROM sys.dm_exec_requests r JOIN sys.dm_exec_sessions e ON e.session_id = r.session_id"
		" WHERE (r.command LIKE N'RESTORE%' OR r.command LIKE N'BACKUP%') AND e.program_name LIKE N'landfall/%'");
}

char *
tsql_ask_history(TALLOC_CTX *parent, const char *database)
{
	return talloc_asprintf(parent,
		"SELECT TOP (50) h.restore_history_id, h.restore_type, b.backup_set_uuid, b.last_lsn, CONVERT(nvarchar(23), h.stop_at, 126) AS stop_at"
		" FROM msdb.dbo.restorehistory h JOIN msdb.dbo.backupset b ON b.backup_set_id = h.backup_set_id"
		" WHERE h.destination_database_name = %s ORDER BY h.restore_history_id DESC", tsql_text(parent, database));
}

char *
tsql_ask_server(TALLOC_CTX *parent)
{
	return talloc_strdup(parent,
		"SELECT CONVERT(int, DATABASEPROPERTYEX(N'master', 'Version')) AS database_version,"
		" CONVERT(nvarchar(128), SERVERPROPERTY('ProductVersion')) AS product, CONVERT(nvarchar(128), SERVERPROPERTY('Edition')) AS edition,"
		" CONVERT(int, SERVERPROPERTY('EngineEdition')) AS engine_edition, CONVERT(nvarchar(128), SERVERPROPERTY('Collation')) AS collation,"
		" CONVERT(int, SERVERPROPERTY('FilestreamConfiguredLevel')) AS filestream, CONVERT(int, SERVERPROPERTY('IsXTPSupported')) AS memory_optimised,"
		" IS_SRVROLEMEMBER('sysadmin') AS is_sysadmin, IS_SRVROLEMEMBER('dbcreator') AS is_dbcreator,"
		" HAS_PERMS_BY_NAME(NULL, NULL, 'CREATE ANY DATABASE') AS may_create, HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE') AS sees_requests,"
		" HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER PERFORMANCE STATE') AS sees_performance,"
		" HAS_PERMS_BY_NAME(N'msdb.dbo.restorehistory', N'OBJECT', N'SELECT') AS sees_history");
}

char *
tsql_ask_certificates(TALLOC_CTX *parent)
{
	return talloc_strdup(parent, "SELECT thumbprint FROM master.sys.certificates");
}

char *
tsql_ask_volumes(TALLOC_CTX *parent)
{
	return talloc_strdup(parent, "SELECT DISTINCT s.volume_mount_point, s.available_bytes FROM sys.master_files f"
		" CROSS APPLY sys.dm_os_volume_stats(f.database_id, f.file_id) s");
}

char *
tsql_ask_drives(TALLOC_CTX *parent)
{
	return talloc_strdup(parent, "SELECT fixed_drive_path, free_space_in_bytes FROM sys.dm_os_enumerate_fixed_drives");
}

char *
tsql_ask_folder(TALLOC_CTX *parent, const char *path)
{
	return talloc_asprintf(parent, "EXEC master.dbo.xp_fileexist %s", tsql_text(parent, path));
}

char *
tsql_ask_paths(TALLOC_CTX *parent, const char *const *paths, size_t n)
{
	char *s = talloc_strdup(parent, "SELECT f.physical_name, DB_NAME(f.database_id) AS owner FROM sys.master_files f WHERE f.physical_name IN (");

	for (size_t i = 0; i < n; i++)
		s = talloc_asprintf_append(s, "%s%s", i == 0 ? "" : ", ", tsql_text(parent, paths[i]));
	return talloc_strdup_append(s, n == 0 ? "NULL)" : ")");
}

char *
tsql_ask_group(TALLOC_CTX *parent, const char *database)
{
	return talloc_asprintf(parent, "SELECT g.name FROM sys.availability_databases_cluster c JOIN sys.availability_groups g ON g.group_id = c.group_id"
		" WHERE c.database_name = %s", tsql_text(parent, database));
}

char *
tsql_header(TALLOC_CTX *parent, const char *path)
{
	return talloc_asprintf(parent, "RESTORE HEADERONLY FROM DISK = %s", tsql_text(parent, path));
}

char *
tsql_file_list(TALLOC_CTX *parent, const char *path, int position)
{
	return talloc_asprintf(parent, "RESTORE FILELISTONLY FROM DISK = %s WITH FILE = %d", tsql_text(parent, path), position);
}
