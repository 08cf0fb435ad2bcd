#include "tests/standin/fidelity_rows.h"

#include <string.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* ---- media that every row may use ---------------------------------------------------------------------------------- */

static const char *const media[] = {
	"CREATE DATABASE [#Sales]",
	"USE [#Sales] CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, v nvarchar(100) NULL)",
	"USE [#Sales] INSERT INTO dbo.t VALUES (1, N'one')",
	"CREATE DATABASE [#Other]",
	"USE [#Other] CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, v nvarchar(100) NULL)",
	"USE [#Other] INSERT INTO dbo.t VALUES (1, N'one')",
	"CREATE DATABASE [#Simple]",
	"USE [#Simple] CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, v nvarchar(100) NULL)",
	"USE [#Simple] INSERT INTO dbo.t VALUES (1, N'one')",
	"BACKUP DATABASE [#Sales] TO DISK = N'$/full.bak' WITH INIT, CHECKSUM",
	"USE [#Sales] INSERT INTO dbo.t VALUES (2, N'two')",
	"BACKUP LOG [#Sales] TO DISK = N'$/log1.trn' WITH INIT",
	"BACKUP DATABASE [#Sales] TO DISK = N'$/diff1.bak' WITH INIT, DIFFERENTIAL",
	"USE [#Sales] INSERT INTO dbo.t VALUES (3, N'three')",
	"BACKUP LOG [#Sales] TO DISK = N'$/log2.trn' WITH INIT",
	"BACKUP DATABASE [#Sales] TO DISK = N'$/diff2.bak' WITH INIT, DIFFERENTIAL",
	"BACKUP DATABASE [#Sales] TO DISK = N'$/s1.bak', DISK = N'$/s2.bak' WITH INIT, COPY_ONLY",
	"BACKUP DATABASE [#Sales] TO DISK = N'$/two.bak' WITH INIT, COPY_ONLY",
	"BACKUP LOG [#Sales] TO DISK = N'$/two.bak' WITH NOINIT, COPY_ONLY",
	"BACKUP DATABASE [#Sales] TO DISK = N'$/base2.bak' WITH INIT",
	"BACKUP DATABASE [#Sales] TO DISK = N'$/diff3.bak' WITH INIT, DIFFERENTIAL",
	"BACKUP DATABASE [#Other] TO DISK = N'$/other.bak' WITH INIT",
	"BACKUP LOG [#Other] TO DISK = N'$/other.trn' WITH INIT",
	"ALTER DATABASE [#Simple] SET RECOVERY SIMPLE",
	"BACKUP DATABASE [#Simple] TO DISK = N'$/simple.bak' WITH INIT",
	"BACKUP LOG [#Sales] TO DISK = N'$/log3.trn' WITH INIT",
	"BACKUP LOG [#Sales] TO DISK = N'$/tail.trn' WITH INIT, NORECOVERY",
	"RESTORE DATABASE [#Sales] WITH RECOVERY",
	"USE [#Sales] INSERT INTO dbo.t VALUES (4, N'on a new branch')",
	"BACKUP LOG [#Sales] TO DISK = N'$/fork.trn' WITH INIT",
	"USE [#Sales] INSERT INTO dbo.t VALUES (5, N'further on')",
	/* Back to before the tail: what is taken now leaves the way before the tail's end. */
	"RESTORE DATABASE [#Sales] FROM DISK = N'$/full.bak' WITH REPLACE, MOVE N'#Sales' TO N'$/back.mdf', MOVE N'#Sales_log' TO N'$/back.ldf'",
	"USE [#Sales] INSERT INTO dbo.t VALUES (6, N'another'), (7, N'way'), (8, N'of life')",
	"USE [#Sales] INSERT INTO dbo.t VALUES (9, N'and on')",
	"USE [#Sales] INSERT INTO dbo.t VALUES (10, N'and on')",
	"USE [#Sales] INSERT INTO dbo.t VALUES (11, N'and on')",
	"BACKUP LOG [#Sales] TO DISK = N'$/otherway.trn' WITH INIT",
};

/* ---- the rows ------------------------------------------------------------------------------------------------------ */

static const struct fidelity_row rows[] = {
	/* ---- what success looks like ---- */
	{ "a full with STATS", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH NORECOVERY, STATS = 50, " MOVED("Sales"),
	  "I3211.1 D1:229 I3211.1 D1:229 " COPIED, NULL },
	{ "a full without STATS", { 0 }, INTO("full.bak", "Sales"), COPIED, "RESTORE DATABASE successfully processed " },
	{ "two stripes", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/s1.bak', DISK = N'$/s2.bak' WITH NORECOVERY, " MOVED("Sales"), COPIED, NULL },
	{ "stripes in any order", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/s2.bak', DISK = N'$/s1.bak' WITH NORECOVERY, " MOVED("Sales"), COPIED, NULL },
	{ "a log", { INTO("full.bak", "Sales") }, LOG("log1.trn"), "I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236", "RESTORE LOG successfully processed 0 pages" },
	{ "a differential", { INTO("full.bak", "Sales") }, DIFF("diff1.bak"), COPIED, NULL },
	{ "the second set of a file", { INTO("two.bak", "Sales") }, "RESTORE LOG [#m1] FROM DISK = N'$/two.bak' WITH FILE = 2, NORECOVERY",
	  "I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236", NULL },
	{ "recovery alone", { INTO("full.bak", "Sales") }, RECOVER, "I3014.1 D0:229", NULL },
	{ "recovery with the last log", { INTO("full.bak", "Sales") }, "RESTORE LOG [#m1] FROM DISK = N'$/log1.trn' WITH RECOVERY",
	  "I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236", NULL },
	{ "the same family is written over while RESTORING", { INTO("full.bak", "Sales") }, INTO("full.bak", "Sales"), COPIED, NULL },
	{ "SIMPLE has no tail", { INTO("simple.bak", "Simple"), RECOVER }, INTO("simple.bak", "Simple"), COPIED, NULL },
	{ "STANDBY", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH STANDBY = N'$/undo', " MOVED("Sales"), COPIED, NULL },
	{ "a log after STANDBY", { "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH STANDBY = N'$/undo', " MOVED("Sales") },
	  LOG("log1.trn"), "I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236", NULL },
	{ "VERIFYONLY", { 0 }, "RESTORE VERIFYONLY FROM DISK = N'$/full.bak'", "I3262.1 D0:377", "The backup set on file 1 is valid." },
	{ "VERIFYONLY with STATS", { 0 }, "RESTORE VERIFYONLY FROM DISK = N'$/full.bak' WITH STATS = 50", "I3211.1 D1:377 I3211.1 D1:377 I3262.1 D0:377", NULL },
	{ "HEADERONLY", { 0 }, "RESTORE HEADERONLY FROM DISK = N'$/two.bak'", "C% R2 D17:230 D0:250", NULL },
	{ "FILELISTONLY", { 0 }, "RESTORE FILELISTONLY FROM DISK = N'$/full.bak'", "C22 R2 D17:230 D0:376", NULL },
	{ "FILELISTONLY of a lone stripe", { 0 }, "RESTORE FILELISTONLY FROM DISK = N'$/s2.bak'", "C22 R2 D17:230 D0:376", NULL },
	{ "LABELONLY", { 0 }, "RESTORE LABELONLY FROM DISK = N'$/s2.bak'", "C13 R1 D17:230 D0:251", NULL },

	/* ---- who may ask, and from where ---- */
	{ "inside a transaction", { 0 }, "BEGIN TRAN RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' ROLLBACK",
	  "D1:212 E3021.0.16 E3013.1.16 D3:229 D0:210", "Cannot perform a backup or restore operation within a transaction." },
	{ "to make a database takes a right", { 0 }, "stranger:" FULL, REFUSED("E262.1.14"), "CREATE DATABASE permission denied in database 'master'." },
	{ "to read a header does too", { 0 }, "stranger:RESTORE HEADERONLY FROM DISK = N'$/full.bak'", "E262.1.14 E3013.1.16 D2:250", NULL },
	{ "to overwrite one takes owning it", { INTO("full.bak", "Sales") }, "stranger:" FULL, REFUSED("E3110.1.14"),
	  "User does not have permission to RESTORE database '#m1'." },
	{ "from within", { INTO("full.bak", "Sales"), RECOVER }, "USE [#m1] RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH REPLACE",
	  "D1:226 E3102.1.16 E3013.1.16 D2:229", "RESTORE cannot process database '#m1' because it is in use by this session. It is recommended that the "
	  "master database be used when performing this operation." },
	{ "another is inside", { INTO("full.bak", "Sales"), RECOVER, "inside:#m1" }, "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH REPLACE",
	  REFUSED("E3101.1.16"), "Exclusive access could not be obtained because the database is in use." },
	{ "the other was sent out", { INTO("full.bak", "Sales"), RECOVER, "inside:#m1", "ALTER DATABASE [#m1] SET SINGLE_USER WITH ROLLBACK IMMEDIATE" },
	  "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH REPLACE, NORECOVERY, " MOVED("Sales"), COPIED, NULL },
	{ "tempdb", { 0 }, "RESTORE DATABASE [tempdb] FROM DISK = N'$/full.bak'", REFUSED("E3147.1.16"), NULL },
	{ "master", { 0 }, "RESTORE DATABASE [master] FROM DISK = N'$/full.bak'", REFUSED("E3108.1.16"), NULL },
	{ "CONTINUE_AFTER_ERROR is not for us", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH CONTINUE_AFTER_ERROR, NORECOVERY", "E155.1.15 D2:253", NULL },
	{ "nor is one file of several", { 0 }, "RESTORE DATABASE [#m1] FILE = N'#Sales' FROM DISK = N'$/full.bak' WITH NORECOVERY", "E102.1.15 D2:253", NULL },
	{ "nor a page", { 0 }, "RESTORE DATABASE [#m1] PAGE = N'1:57' FROM DISK = N'$/full.bak' WITH NORECOVERY", "E102.1.15 D2:253", NULL },
	{ "PARTIAL is not for us", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH PARTIAL, NORECOVERY", "E155.1.15 D2:253", NULL },

	/* ---- devices ---- */
	{ "no such file", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/absent.bak' WITH NORECOVERY", REFUSED("E3201.2.16"),
	  "Cannot open backup device '$/absent.bak'. Operating system error 2(The system cannot find the file specified.)." },
	{ "no right on the file", { "knob:denied 1" }, FULL, REFUSED("E3201.2.16"), "Cannot open backup device '$/full.bak'. Operating system error 5(Access is denied.)." },
	{ "a file in use", { "knob:denied 2" }, FULL, REFUSED("E3201.2.16"), "Cannot open backup device '$/full.bak'. Operating system error 32(The process cannot access "
	  "the file because it is being used by another process.)." },
	{ "an empty file", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/empty.bak'", REFUSED("E3254.1.16"), "The volume on device '$/empty.bak' is empty." },
	{ "a script", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/text.bak'", REFUSED("E3241.0.16"),
	  "The media family on device '$/text.bak' is incorrectly formed. SQL Server cannot process this media family." },
	{ "a script's header", { 0 }, "RESTORE HEADERONLY FROM DISK = N'$/text.bak'", "E3241.0.16 E3013.1.16 D2:250", NULL },
	{ "FILELIST, not FILELISTONLY", { 0 }, "RESTORE FILELISTONLY FROM DISK = N'$/absent.bak'", "E3201.2.16 E3013.1.16 D2:376", NULL },
	{ "media and no set", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/nothing_behind.bak'", REFUSED("E3242.1.16"), NULL },
	{ "a tape of the next version", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/tape2.bak'", REFUSED("E3243.1.16"),
	  "The media family on device '$/tape2.bak' was created using Microsoft Tape Format version 2.0. SQL Server supports version 1.0." },
	{ "somebody else's set", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/foreign.bak'", REFUSED("E3143.1.16"), NULL },
	{ "encrypted: not even the header", { 0 }, "RESTORE HEADERONLY FROM DISK = N'$/encrypted.bak'", "E33111.3.16 E3013.1.16 D2:250", NULL },
	{ "half a stripe", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/s1.bak'", REFUSED("E3132.1.16"),
	  "The media set has 2 media families but only 1 are provided. All members must be provided." },
	{ "half a stripe is not valid", { 0 }, "RESTORE VERIFYONLY FROM DISK = N'$/s1.bak'", "E3132.1.16 E3013.1.16 D2:377", NULL },
	{ "a member twice", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/s1.bak', DISK = N'$/s1.bak'", REFUSED("E3227.1.16"), NULL },
	{ "another media set", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/s1.bak', DISK = N'$/full.bak'", REFUSED("E3258.1.16"), NULL },
	{ "no third set", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/two.bak' WITH FILE = 3", REFUSED("E3287.1.16"),
	  "The file ID 3 on device '$/two.bak' is incorrectly formed and can not be read." },

	/* ---- what the set is ---- */
	{ "from a newer server", { 0 }, INTO("newer.bak", "Newer"), REFUSED("E3169.1.16"), "The database was backed up on a server running version 16.00.1000. That version is "
	  "incompatible with this server, which is running version 15.00.2000. Either restore the database on a server that supports the backup, or use a backup that "
	  "is compatible with this server." },
	{ "no checksums to check", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/base2.bak' WITH CHECKSUM", REFUSED("E3187.1.16"), NULL },
	{ "a log is no full", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/log1.trn'", REFUSED("E3135.1.16"),
	  "The backup set in file '$/log1.trn' was created by BACKUP LOG and cannot be used for this restore operation." },
	{ "a full is no log", { INTO("full.bak", "Sales") }, LOG("full.bak"), LOG_REFUSED("E3135.1.16"), NULL },
	{ "damaged when it was taken", { 0 }, INTO("damaged_at_source.bak", "Sales"), REFUSED("E3182.2.16"), NULL },
	{ "cut off", { 0 }, INTO("cut.bak", "Sales"), REFUSED("E3203.1.16"), "Read on \"$/cut.bak\" failed: 38(Reached the end of the file.)" },
	{ "a bad page", { 0 }, INTO("bad_page.bak", "Sales"), REFUSED("E3183.1.16"), "RESTORE detected an error on page (1:20) in database \"#m1\" as read from the backup set." },
	{ "a bad page is found before it counts", { 0 }, "RESTORE VERIFYONLY FROM DISK = N'$/bad_page.bak'", "E3183.1.16 E3013.1.16 D2:377", NULL },

	/* ---- the database against the set ---- */
	{ "a log of nothing", { 0 }, LOG("log1.trn"), LOG_REFUSED("E3118.1.16"), "The database \"#m1\" does not exist. RESTORE can only create a database when restoring "
	  "either a full backup or a file backup of the primary file." },
	{ "a differential of nothing", { 0 }, DIFF("diff1.bak"), REFUSED("E3118.1.16"), NULL },
	{ "a log of what is ONLINE", { INTO("full.bak", "Sales"), RECOVER }, LOG("log1.trn"), LOG_REFUSED("E3117.1.16"),
	  "The log or differential backup cannot be restored because no files are ready to rollforward." },
	{ "another database's full", { INTO("full.bak", "Sales") }, INTO("other.bak", "Other"), REFUSED("E3154.4.16"),
	  "The backup set holds a backup of a database other than the existing '#m1' database." },
	{ "another database's log", { INTO("full.bak", "Sales") }, LOG("other.trn"), LOG_REFUSED("E3154.4.16"), NULL },
	{ "REPLACE takes another database", { INTO("full.bak", "Sales") }, "RESTORE DATABASE [#m1] FROM DISK = N'$/other.bak' WITH REPLACE, NORECOVERY, " MOVED("Other"),
	  COPIED, NULL },
	{ "a living database", { INTO("full.bak", "Sales"), RECOVER }, INTO("full.bak", "Sales"), REFUSED("E3159.1.16"), "The tail of the log for the database \"#m1\" has not been "
	  "backed up. Use BACKUP LOG WITH NORECOVERY to backup the log if it contains work you do not want to lose. Use the WITH REPLACE or WITH STOPAT clause of the RESTORE "
	  "statement to just overwrite the contents of the log." },
	{ "a living database's tail to a time", { INTO("full.bak", "Sales"), RECOVER, "USE [#m1] INSERT INTO dbo.t VALUES (77, N'new')" },
	  "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH NORECOVERY, STOPAT = N'2099-01-01T00:00:00'", REFUSED("E3173.1.16"), NULL },
	{ "a gap", { INTO("full.bak", "Sales") }, LOG("log2.trn"), LOG_REFUSED("E4305.1.16"), "The log in this backup set begins at LSN " },
	{ "too old", { INTO("full.bak", "Sales"), LOG("log1.trn"), LOG("log2.trn") }, LOG("log1.trn"), LOG_REFUSED("E4326.1.16"),
	  "The log in this backup set terminates at LSN " },
	{ "the same log again", { INTO("full.bak", "Sales"), LOG("log1.trn") }, LOG("log1.trn"), "I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236", NULL },
	{ "on over a recovery at the source", { INTO("base2.bak", "Sales"), LOG("log3.trn"), LOG("tail.trn") }, LOG("fork.trn"),
	  "I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236", NULL },
	{ "another way", { INTO("full.bak", "Sales"), LOG("log1.trn") }, LOG("otherway.trn"), LOG_REFUSED("E4330.1.16"),
	  "This backup set cannot be applied because it is on a recovery path that is inconsistent with the database." },
	{ "another base", { INTO("full.bak", "Sales") }, DIFF("diff3.bak"), REFUSED("E3136.1.16"),
	  "This differential backup cannot be restored because the database has not been restored to the correct earlier state." },
	{ "an older differential", { INTO("full.bak", "Sales"), DIFF("diff2.bak") }, DIFF("diff1.bak"), REFUSED("E3120.1.16"), NULL },
	{ "already recovered", { INTO("full.bak", "Sales"), RECOVER }, RECOVER, REFUSED("E3153.1.16"), "The database is already fully recovered." },
	{ "recovery of nothing", { 0 }, RECOVER, REFUSED("E3118.1.16"), NULL },
	{ "STANDBY of an older server's", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/older.bak' WITH STANDBY = N'$/undo', " MOVED("Older"), REFUSED("E3180.1.16"), NULL },
	{ "an older server's comes up", { INTO("older.bak", "Older") }, RECOVER, "I3014.1 D0:229", NULL },
	{ "STOPAT of SIMPLE", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/simple.bak' WITH STOPAT = N'2099-01-01T00:00:00'", REFUSED("E3145.1.16"), NULL },
	{ "STOPAT before the full's end", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH STOPAT = N'2001-01-01T00:00:00'", REFUSED("E4338.1.16"), NULL },
	{ "STOPAT that is past", { INTO("full.bak", "Sales"), LOG("log1.trn") },
	  "RESTORE LOG [#m1] FROM DISK = N'$/log2.trn' WITH NORECOVERY, STOPAT = N'2001-01-01T00:00:00'", LOG_REFUSED("E4335.1.16"), NULL },
	{ "STOPAT that is not reached", { INTO("full.bak", "Sales") }, "RESTORE LOG [#m1] FROM DISK = N'$/log1.trn' WITH RECOVERY, STOPAT = N'2099-01-01T00:00:00'",
	  "I4322.1 D1:236 I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236", NULL },

	/* ---- files ---- */
	{ "no such file in the set", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH MOVE N'Nonsense' TO N'$/x.mdf'", REFUSED("E3234.2.16"),
	  "Logical file 'Nonsense' is not part of database '#Sales'. Use RESTORE FILELISTONLY to list the logical file names." },
	{ "a file moved twice", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH MOVE N'#Sales' TO N'$/x.mdf', MOVE N'#sales' TO N'$/y.mdf'", REFUSED("E4353.1.16"), NULL },
	{ "two files at one place", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH MOVE N'#Sales' TO N'$/x.mdf', MOVE N'#Sales_log' TO N'$/x.mdf'",
	  REFUSED("E3176.1.16 E3119.1.16"), NULL },
	{ "another database's files", { INTO("full.bak", "Sales") }, "RESTORE DATABASE [#m2] FROM DISK = N'$/full.bak' WITH NORECOVERY, " MOVED("Sales"),
	  REFUSED("E1834.1.16 E3156.4.16 E1834.1.16 E3156.4.16 E3119.1.16"), "The file '$/m1.mdf' cannot be overwritten.  It is being used by database '#m1'." },
	{ "no such folder", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH MOVE N'#Sales' TO N'$/no/x.mdf', MOVE N'#Sales_log' TO N'$/x.ldf'",
	  REFUSED("E5133.1.16 E3156.4.16 E3119.1.16"), NULL },
	{ "a stranger's file", { 0 }, "RESTORE DATABASE [#m1] FROM DISK = N'$/full.bak' WITH MOVE N'#Sales' TO N'$/text.bak', MOVE N'#Sales_log' TO N'$/x.ldf'",
	  REFUSED("E3142.1.16 E3119.1.16"), NULL },
	{ "no space", { "knob:free_kb 100" }, INTO("full.bak", "Sales"), REFUSED("E3257.1.16 E3119.1.16"), NULL },

	/* ---- use of what is RESTORING ---- */
	{ "USE", { INTO("full.bak", "Sales") }, "USE [#m1]", "E927.2.14 D2:226", "Database '#m1' cannot be opened. It is in the middle of a restore." },
	{ "BACKUP of what is RESTORING", { INTO("full.bak", "Sales") }, "BACKUP DATABASE [#m1] TO DISK = N'$/x.bak'", "E927.2.14 E3013.1.16 D2:228", NULL },
	{ "ALTER", { INTO("full.bak", "Sales") }, "ALTER DATABASE [#m1] SET RECOVERY SIMPLE", "E5052.1.16 D2:215", NULL },
	{ "DROP", { INTO("full.bak", "Sales") }, "DROP DATABASE [#m1]", "D0:215", NULL },

	/* ---- BACKUP ---- */
	{ "BACKUP of nothing", { 0 }, "BACKUP DATABASE [#nobody] TO DISK = N'$/x.bak'", "E911.11.16 E3013.1.16 D2:228", NULL },
	{ "BACKUP into a transaction", { 0 }, "BEGIN TRAN BACKUP DATABASE [#m1] TO DISK = N'$/x.bak' ROLLBACK", "D1:212 E3021.0.16 E3013.1.16 D3:228 D0:210", NULL },
	{ "BACKUP LOG of SIMPLE", { INTO("simple.bak", "Simple"), RECOVER }, "BACKUP LOG [#m1] TO DISK = N'$/x.trn'", "E4208.1.16 E3013.1.16 D2:235", NULL },
	{ "BACKUP LOG before a full", { "CREATE DATABASE [#m1]" }, "BACKUP LOG [#m1] TO DISK = N'$/x.trn'", "E4214.1.16 E3013.1.16 D2:235", NULL },
	{ "DIFFERENTIAL before a full", { "CREATE DATABASE [#m1]" }, "BACKUP DATABASE [#m1] TO DISK = N'$/x.bak' WITH DIFFERENTIAL", "E3035.1.16 E3013.1.16 D2:228", NULL },
	{ "BACKUP to nowhere", { "CREATE DATABASE [#m1]" }, "BACKUP DATABASE [#m1] TO DISK = N'$/no/x.bak'", "E3201.1.16 E3013.1.16 D2:228", NULL },
	{ "BACKUP behind a script", { "CREATE DATABASE [#m1]" }, "BACKUP DATABASE [#m1] TO DISK = N'$/text.bak'", "E3241.0.16 E3013.1.16 D2:228", NULL },
	{ "BACKUP WITH COMPRESSION", { "CREATE DATABASE [#m1]", "BACKUP DATABASE [#m1] TO DISK = N'$/c1.bak', DISK = N'$/c2.bak' WITH INIT, COMPRESSION, CHECKSUM" },
	  "RESTORE VERIFYONLY FROM DISK = N'$/c1.bak', DISK = N'$/c2.bak' WITH CHECKSUM", "I3262.1 D0:377", NULL },
	{ "BACKUP to half of the stripes", { "CREATE DATABASE [#m1]" }, "BACKUP DATABASE [#m1] TO DISK = N'$/s1.bak'", "E3132.1.16 E3013.1.16 D2:228", NULL },
	{ "BACKUP and no space", { "CREATE DATABASE [#m1]", "knob:free_kb 1" }, "BACKUP DATABASE [#m1] TO DISK = N'$/x.bak' WITH INIT", "E3202.1.16 E3013.1.16 D2:228", NULL },
	{ "BACKUP", { "CREATE DATABASE [#m1]" }, "BACKUP DATABASE [#m1] TO DISK = N'$/x.bak' WITH INIT", "I4035.1 D1:228 I4035.1 D1:228 I3014.1 D0:228", NULL },

	{ "BACKUP WITH STATS", { "CREATE DATABASE [#m1]" }, "BACKUP DATABASE [#m1] TO DISK = N'$/x.bak' WITH INIT, STATS = 50",
	  "I3211.1 D1:228 I3211.1 D1:228 I4035.1 D1:228 I4035.1 D1:228 I3014.1 D0:228", NULL },
	{ "BACKUP LOG WITH STATS", { "CREATE DATABASE [#m1]", "BACKUP DATABASE [#m1] TO DISK = N'$/x.bak' WITH INIT" },
	  "BACKUP LOG [#m1] TO DISK = N'$/x.trn' WITH INIT, STATS = 100", "I3211.1 D1:235 I4035.1 D1:235 I3014.1 D0:235", NULL },
	{ "BACKUP that is refused halfway", { "CREATE DATABASE [#m1]", "knob:fail_backup 3271" }, "BACKUP DATABASE [#m1] TO DISK = N'$/x.bak' WITH INIT",
	  "E3271.1.16 E3013.1.16 D2:228", NULL },

	/* ---- ordered, in the catalogue's words ---- */
	{ "ordered at once", { "knob:fail_number 3271" }, INTO("full.bak", "Sales"), REFUSED("E3271.1.16"), "A nonrecoverable I/O error occurred on file \"$/full.bak:\"" },
	{ "the deadlock's victim", { "knob:fail_number 1205" }, INTO("full.bak", "Sales"), REFUSED("E1205.51.13"), "Transaction (Process ID 60) was deadlocked on lock "
	  "resources with another process and has been chosen as the deadlock victim. Rerun the transaction." },
	{ "in transition", { "knob:fail_number 952" }, INTO("full.bak", "Sales"), REFUSED("E952.1.16"), "Database '#m1' is in transition. Try the statement later." },
	{ "serialised", { "knob:fail_number 3023" }, INTO("full.bak", "Sales"), REFUSED("E3023.2.16"), NULL },
	{ "incomplete at its making", { "knob:fail_number 3256" }, INTO("full.bak", "Sales"), REFUSED("E3256.1.16"), NULL },
	{ "an assert", { "knob:fail_number 3270" }, INTO("full.bak", "Sales"), REFUSED("E3270.1.16"), NULL },
	{ "a file in no state for it", { "knob:fail_number 3178" }, INTO("full.bak", "Sales"), REFUSED("E3178.1.16"), NULL },
	{ "the chain has a gap", { "knob:fail_number 4312" }, INTO("full.bak", "Sales"), REFUSED("E4312.1.16"), NULL },
	{ "a share that went away", { "knob:fail_number 3203" }, INTO("full.bak", "Sales"), REFUSED("E3203.1.16"), NULL },
	{ "in an availability group", { "knob:fail_number 3104" }, INTO("full.bak", "Sales"), REFUSED("E3104.1.16"), NULL },
	{ "damage", { "knob:fail_number 3189" }, INTO("full.bak", "Sales"), REFUSED("E3189.1.16"), NULL },
	{ "while it recovers", { "knob:fail_number 922" }, INTO("full.bak", "Sales"), REFUSED("E922.1.14"), "Database '#m1' is being recovered. Waiting until recovery is finished." },
	{ "of what is suspect", { "knob:fail_number 926" }, INTO("full.bak", "Sales"), REFUSED("E926.1.14"), "Database '#m1' cannot be opened. It has been marked SUSPECT by recovery." },
	{ "of what is offline", { "knob:fail_number 942" }, INTO("full.bak", "Sales"), REFUSED("E942.4.14"), "Database '#m1' cannot be opened because it is offline." },
	{ "of what has lost its files", { "knob:fail_number 945" }, INTO("full.bak", "Sales"), REFUSED("E945.2.16"), NULL },
	{ "on a secondary", { "knob:fail_number 3059" }, INTO("full.bak", "Sales"), REFUSED("E3059.1.16"), NULL },
	{ "another recovery path", { "knob:fail_number 3116" }, INTO("full.bak", "Sales"), REFUSED("E3116.1.16"), NULL },
	{ "files that were added since", { "knob:fail_number 3155" }, INTO("full.bak", "Sales"), REFUSED("E3155.1.16"), NULL },
	{ "a damaged log", { "knob:fail_number 3163" }, INTO("full.bak", "Sales"), REFUSED("E3163.1.16"), NULL },
	{ "a suspect database's log", { INTO("full.bak", "Sales"), "knob:fail_number 3185" }, LOG("log1.trn"), LOG_REFUSED("E3185.1.16"), NULL },
	{ "a disk that is full", { "knob:fail_number 3202" }, INTO("full.bak", "Sales"), REFUSED("E3202.1.16"), "Write on \"$/full.bak\" failed: 112(" },
	{ "aborted", { "knob:fail_number 3204" }, INTO("full.bak", "Sales"), REFUSED("E3204.1.16"), "The backup or restore was aborted." },
	{ "a file that was not made", { "knob:fail_number 3283" }, INTO("full.bak", "Sales"), REFUSED("E3283.1.16"), NULL },
	{ "the log broken off", { INTO("full.bak", "Sales"), "knob:fail_number 4319" }, LOG("log1.trn"), LOG_REFUSED("E4319.3.16"), "A previous restore operation was "
	  "interrupted and did not complete processing on file " },
	{ "a log that is full", { "knob:fail_number 9002" }, INTO("full.bak", "Sales"), REFUSED("E9002.4.17"), NULL },
	{ "files of different times", { INTO("full.bak", "Sales"), "knob:fail_recovery 4331" }, RECOVER, REFUSED("E4331.1.16"), NULL },
	{ "recovery without the log", { INTO("full.bak", "Sales"), "knob:fail_recovery 4333" }, RECOVER, REFUSED("E4333.1.16"), NULL },
	{ "recovery broken off", { INTO("full.bak", "Sales"), "knob:fail_recovery 4347" }, RECOVER, REFUSED("E4347.1.16"), "The current restore sequence was previously "
	  "interrupted during the transition to the online state." },
	{ "recovery that fails", { INTO("full.bak", "Sales"), "knob:fail_recovery 3167" }, RECOVER, REFUSED("E3167.1.16"), NULL },
};

/* ---- what only the stand-in can be asked ---------------------------------------------------------------------------- */

static const struct { const char *row, *why; } only_standin[] = {
	{ "tempdb", "it names a database that is not the test's own" },
	{ "master", "it names a database that is not the test's own" },
	{ "CONTINUE_AFTER_ERROR is not for us", "SQL Server obeys it" },
	{ "nor is one file of several", "SQL Server obeys it" },
	{ "nor a page", "SQL Server obeys it" },
	{ "PARTIAL is not for us", "SQL Server obeys it" },
	{ "encrypted: not even the header", "its file is made by hand and not by BACKUP WITH ENCRYPTION" },
	{ "from a newer server", "it takes a backup of another release" },
	{ "STANDBY of an older server's", "it takes a backup of another release" },
	{ "an older server's comes up", "it takes a backup of another release" },
};

const char *
fidelity_only_standin(const struct fidelity_row *row)
{
	for (size_t i = 0; i < FIDELITY_BEFORE && row->before[i] != NULL; i++)
		if (strncmp(row->before[i], "knob:", 5) == 0)
			return "it is ordered by a knob";
	for (size_t i = 0; i < N(only_standin); i++)
		if (strcmp(row->name, only_standin[i].row) == 0)
			return only_standin[i].why;
	return NULL;
}

/* ---- columns ----------------------------------------------------------------------------------------------------------- */

#define LSN "numeric(25,0)"
#define GUID "uniqueidentifier"
#define HEADER_2014 "BackupName nvarchar(128), BackupDescription nvarchar(255), BackupType tinyint, ExpirationDate datetime, Compressed tinyint, " \
	"Position smallint, DeviceType tinyint, UserName nvarchar(128), ServerName nvarchar(128), DatabaseName nvarchar(128), DatabaseVersion int, " \
	"DatabaseCreationDate datetime, BackupSize bigint, FirstLSN " LSN ", LastLSN " LSN ", CheckpointLSN " LSN ", DatabaseBackupLSN " LSN ", " \
	"BackupStartDate datetime, BackupFinishDate datetime, SortOrder smallint, CodePage smallint, UnicodeLocaleId int, UnicodeComparisonStyle int, " \
	"CompatibilityLevel tinyint, SoftwareVendorId int, SoftwareVersionMajor int, SoftwareVersionMinor int, SoftwareVersionBuild int, " \
	"MachineName nvarchar(128), Flags int, BindingID " GUID ", RecoveryForkID " GUID ", Collation nvarchar(128), FamilyGUID " GUID ", " \
	"HasBulkLoggedData bit, IsSnapshot bit, IsReadOnly bit, IsSingleUser bit, HasBackupChecksums bit, IsDamaged bit, BeginsLogChain bit, " \
	"HasIncompleteMetaData bit, IsForceOffline bit, IsCopyOnly bit, FirstRecoveryForkID " GUID ", ForkPointLSN " LSN ", RecoveryModel nvarchar(60), " \
	"DifferentialBaseLSN " LSN ", DifferentialBaseGUID " GUID ", BackupTypeDescription nvarchar(128), BackupSetGUID " GUID ", " \
	"CompressedBackupSize bigint, Containment tinyint, KeyAlgorithm nvarchar(32), EncryptorThumbprint varbinary(20), EncryptorType nvarchar(32)"
#define HEADER_2022 HEADER_2014 ", LastValidRestoreTime datetime, TimeZone smallint, CompressionAlgorithm nvarchar(32)"

static const struct fidelity_columns columns[] = {
	{ "HEADERONLY", 2014, 2021, HEADER_2014 },
	{ "HEADERONLY", 2022, 9999, HEADER_2022 },
	{ "FILELISTONLY", 2016, 9999, "LogicalName nvarchar(128), PhysicalName nvarchar(260), Type nchar(1), FileGroupName nvarchar(128), Size bigint, "
	  "MaxSize bigint, FileId bigint, CreateLSN " LSN ", DropLSN " LSN ", UniqueId " GUID ", ReadOnlyLSN " LSN ", ReadWriteLSN " LSN ", "
	  "BackupSizeInBytes bigint, SourceBlockSize int, FileGroupId int, LogGroupGUID " GUID ", DifferentialBaseLSN " LSN ", "
	  "DifferentialBaseGUID " GUID ", IsReadOnly bit, IsPresent bit, TDEThumbprint varbinary(20), SnapshotUrl nvarchar(336)" },
	{ "LABELONLY", 2014, 9999, "MediaName nvarchar(128), MediaSetId " GUID ", FamilyCount int, FamilySequenceNumber int, MediaFamilyId " GUID ", "
	  "MediaSequenceNumber int, MediaLabelPresent tinyint, MediaDescription nvarchar(255), SoftwareName nvarchar(128), SoftwareVendorId int, "
	  "MediaDate datetime, Mirror_Count int, IsCompressed bit" },
};

/* ---- a migration's chain ------------------------------------------------------------------------------------------------- */

#define CHAIN_INTO(to) "RESTORE DATABASE [#" to "] FROM DISK = N'$/chain.bak' WITH NORECOVERY, CHECKSUM, STATS = 25, " \
	"MOVE N'#Chain' TO N'$/" to ".mdf', MOVE N'#Chain_log' TO N'$/" to ".ldf'"
#define CHAIN_LOG(to, set) "RESTORE LOG [#" to "] FROM DISK = N'$/" set "' WITH NORECOVERY"
#define LOGGED "I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236"
#define ROWS_OF(database) "USE [#" database "] SELECT id, v FROM dbo.t ORDER BY id"
#define STATE_OF(database) "SELECT state_desc FROM sys.databases WHERE name = N'#" database "'"

static const struct fidelity_step chain[] = {
	{ "a database of our own", "CREATE DATABASE [#Chain]", "D0:203", NULL, NULL },
	{ NULL, "ALTER DATABASE [#Chain] SET RECOVERY FULL", NULL, NULL, NULL },
	{ NULL, "USE [#Chain] CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, v nvarchar(100) NULL)", NULL, NULL, NULL },
	{ NULL, "USE [#Chain] INSERT INTO dbo.t VALUES (1, N'in the full')", NULL, NULL, NULL },
	{ "BACKUP DATABASE", "BACKUP DATABASE [#Chain] TO DISK = N'$/chain.bak' WITH INIT, CHECKSUM", "I4035.1 D1:228 I4035.1 D1:228 I3014.1 D0:228", NULL, NULL },
	{ NULL, "USE [#Chain] INSERT INTO dbo.t VALUES (2, N'in the first log')", NULL, NULL, NULL },
	{ "BACKUP LOG", "BACKUP LOG [#Chain] TO DISK = N'$/chain1.trn' WITH INIT", "I4035.1 D1:235 I3014.1 D0:235", NULL, NULL },
	{ NULL, "USE [#Chain] INSERT INTO dbo.t VALUES (3, N'before the stop')", NULL, NULL, NULL },
	{ "rows before the stop", ROWS_OF("Chain"), NULL, "rows at the stop", NULL },
	/* A second on each side: STOPAT is compared with commits by a clock of 3 ms, and it is the server's clock alone that counts. */
	{ NULL, "WAITFOR DELAY '00:00:01'", NULL, NULL, NULL },
	{ "the time of the stop", "SELECT CONVERT(nvarchar(23), GETDATE(), 126)", NULL, "~", NULL },
	{ NULL, "WAITFOR DELAY '00:00:01'", NULL, NULL, NULL },
	{ NULL, "USE [#Chain] INSERT INTO dbo.t VALUES (4, N'after the stop')", NULL, NULL, NULL },
	{ NULL, "BACKUP LOG [#Chain] TO DISK = N'$/chain2.trn' WITH INIT", NULL, NULL, NULL },
	{ NULL, "USE [#Chain] INSERT INTO dbo.t VALUES (5, N'in the tail')", NULL, NULL, NULL },
	{ "rows at the source", ROWS_OF("Chain"), NULL, "rows at the end", NULL },
	{ "the tail leaves the source RESTORING", "BACKUP LOG [#Chain] TO DISK = N'$/chain3.trn' WITH INIT, NORECOVERY", "I4035.1 D1:235 I3014.1 D0:235", NULL, NULL },
	{ "the source's state", STATE_OF("Chain"), "C1 R1 D16:193", NULL, "'RESTORING'" },

	{ "RESTORE DATABASE NORECOVERY", CHAIN_INTO("end"), "I3211.1 D1:229 I3211.1 D1:229 I3211.1 D1:229 I3211.1 D1:229 " COPIED, NULL, NULL },
	{ "the target's state", STATE_OF("end"), NULL, NULL, "'RESTORING'" },
	{ "a log too early", CHAIN_LOG("end", "chain2.trn"), LOG_REFUSED("E4305.1.16"), NULL, NULL },
	{ "the first log", CHAIN_LOG("end", "chain1.trn"), LOGGED, NULL, NULL },
	{ "the second log", CHAIN_LOG("end", "chain2.trn"), LOGGED, NULL, NULL },
	{ "a log too late", CHAIN_LOG("end", "chain1.trn"), LOG_REFUSED("E4326.1.16"), NULL, NULL },
	{ "the tail", CHAIN_LOG("end", "chain3.trn"), LOGGED, NULL, NULL },
	{ "nothing is lost by what was refused", STATE_OF("end"), NULL, NULL, "'RESTORING'" },
	{ "RECOVERY", "RESTORE DATABASE [#end] WITH RECOVERY", "I3014.1 D0:229", NULL, NULL },
	{ "the target is up", STATE_OF("end"), NULL, NULL, "'ONLINE'" },
	{ "rows at the source = rows at the target", ROWS_OF("end"), NULL, NULL, "rows at the end" },

	{ NULL, CHAIN_INTO("stop"), NULL, NULL, NULL },
	{ "a log before the stop", CHAIN_LOG("stop", "chain1.trn") ", STOPAT = N'~'", "I4322.1 D1:236 " LOGGED, NULL, NULL },
	{ "STOPAT", CHAIN_LOG("stop", "chain2.trn") ", STOPAT = N'~'", LOGGED, NULL, NULL },
	{ NULL, "RESTORE DATABASE [#stop] WITH RECOVERY", NULL, NULL, NULL },
	{ "rows of before the stop", ROWS_OF("stop"), NULL, NULL, "rows at the stop" },
};

const struct fidelity_row *fidelity_rows(size_t *n) { *n = N(rows); return rows; }
const char *const *fidelity_media(size_t *n) { *n = N(media); return media; }
const struct fidelity_columns *fidelity_columns(size_t *n) { *n = N(columns); return columns; }
const struct fidelity_step *fidelity_chain(size_t *n) { *n = N(chain); return chain; }

/* ---- filling in -------------------------------------------------------------------------------------------------------------- */

char *
fidelity_fill(TALLOC_CTX *mem, const char *text, const struct fidelity_names *names)
{
	char *out = talloc_strdup(mem, "");

	for (; *text != '\0'; text++) {
		const char *with = *text == '$' ? names->folder : *text == '#' ? names->prefix : *text == '~' ? names->stop_at :
			*text == '%' ? (names->release >= 2022 ? "59" : "56") : NULL;

		out = with != NULL ? talloc_strdup_append_buffer(out, with) : talloc_strndup_append_buffer(out, text, 1);
	}
	return out;
}
