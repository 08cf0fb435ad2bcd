#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/standin/engine.h"
#include "tests/standin/mssqlbak_write.h"
#include "tests/standin/teller.h"

/*
 * Which tokens a statement is answered with: every message's number, state and class, every DONE's status and
 * command. The rows are the list of what is known of SQL Server's RESTORE; where each is known from stands in
 * README.md beside this.
 */

struct world {
	TALLOC_CTX *mem;
	char *dir;
	struct engine *source, *target;
	struct teller told;
};

/* ---- doing ---------------------------------------------------------------------------------------------------------- */

/* "$" in a text is the folder of this run. */
static char *
filled(struct world *w, const char *text)
{
	char *out = talloc_strdup(w->mem, "");

	for (; *text != '\0'; text++)
		out = *text == '$' ? talloc_strdup_append_buffer(out, w->dir) : talloc_strndup_append_buffer(out, text, 1);
	return out;
}

static struct tsql_session *
session(struct world *w, struct engine *e, const char *login)
{
	struct err err = { 0 };
	struct tsql_session *s = teller_session(w->mem, &w->told, e, login, 60, &err);

	if (s == NULL)
		fail_msg("%s: %s", login, err.text);
	return s;
}

static void
say_sql(struct world *w, struct tsql_session *s, const char *sql)
{
	teller_run(&w->told, s, filled(w, sql));
}

static void
as(struct world *w, struct engine *e, const char *login, const char *sql)
{
	struct tsql_session *s = session(w, e, login);

	say_sql(w, s, sql);
	talloc_free(s);
}

static void
must(struct world *w, struct engine *e, const char *sql)
{
	as(w, e, "sa", sql);
	if (w->told.had_error)
		fail_msg("%s: %s", sql, w->told.text);
}

static uint8_t *
read_file(struct world *w, const char *name, size_t *len)
{
	FILE *f = fopen(filled(w, name), "rb");
	struct stat st;
	uint8_t *mem;

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	*len = (size_t)st.st_size;
	mem = talloc_size(w->mem, *len + 1);
	assert_int_equal(fread(mem, 1, *len, f), *len);
	fclose(f);
	return mem;
}

static void
write_file(struct world *w, const char *name, const void *mem, size_t len)
{
	FILE *f = fopen(filled(w, name), "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(mem, 1, len, f), len);
	fclose(f);
}

/* ---- media that every row may use -------------------------------------------------------------------------------------- */

static void
make_database(struct world *w, const char *name)
{
	must(w, w->source, talloc_asprintf(w->mem, "CREATE DATABASE [%s]", name));
	must(w, w->source, talloc_asprintf(w->mem, "USE [%s] CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, v nvarchar(100) NULL)", name));
	must(w, w->source, talloc_asprintf(w->mem, "USE [%s] INSERT INTO dbo.t VALUES (1, N'one')", name));
}

static void
make_backups(struct world *w)
{
	static const char *const steps[] = {
		"BACKUP DATABASE [Sales] TO DISK = N'$/full.bak' WITH INIT, CHECKSUM",
		"USE [Sales] INSERT INTO dbo.t VALUES (2, N'two')",
		"BACKUP LOG [Sales] TO DISK = N'$/log1.trn' WITH INIT",
		"BACKUP DATABASE [Sales] TO DISK = N'$/diff1.bak' WITH INIT, DIFFERENTIAL",
		"USE [Sales] INSERT INTO dbo.t VALUES (3, N'three')",
		"BACKUP LOG [Sales] TO DISK = N'$/log2.trn' WITH INIT",
		"BACKUP DATABASE [Sales] TO DISK = N'$/diff2.bak' WITH INIT, DIFFERENTIAL",
		"BACKUP DATABASE [Sales] TO DISK = N'$/s1.bak', DISK = N'$/s2.bak' WITH INIT, COPY_ONLY",
		"BACKUP DATABASE [Sales] TO DISK = N'$/two.bak' WITH INIT, COPY_ONLY",
		"BACKUP LOG [Sales] TO DISK = N'$/two.bak' WITH NOINIT, COPY_ONLY",
		"BACKUP DATABASE [Sales] TO DISK = N'$/base2.bak' WITH INIT",
		"BACKUP DATABASE [Sales] TO DISK = N'$/diff3.bak' WITH INIT, DIFFERENTIAL",
		"BACKUP DATABASE [Other] TO DISK = N'$/other.bak' WITH INIT",
		"BACKUP LOG [Other] TO DISK = N'$/other.trn' WITH INIT",
		"ALTER DATABASE [Simple] SET RECOVERY SIMPLE",
		"BACKUP DATABASE [Simple] TO DISK = N'$/simple.bak' WITH INIT",
		"BACKUP LOG [Sales] TO DISK = N'$/log3.trn' WITH INIT",
		"BACKUP LOG [Sales] TO DISK = N'$/tail.trn' WITH INIT, NORECOVERY",
		"RESTORE DATABASE [Sales] WITH RECOVERY",
		"USE [Sales] INSERT INTO dbo.t VALUES (4, N'on a new branch')",
		"BACKUP LOG [Sales] TO DISK = N'$/fork.trn' WITH INIT",
		"USE [Sales] INSERT INTO dbo.t VALUES (5, N'further on')",
		/* Back to before the tail: what is taken now leaves the way before the tail's end. */
		"RESTORE DATABASE [Sales] FROM DISK = N'$/full.bak' WITH REPLACE, MOVE N'Sales' TO N'$/back.mdf', MOVE N'Sales_log' TO N'$/back.ldf'",
		"USE [Sales] INSERT INTO dbo.t VALUES (6, N'another'), (7, N'way'), (8, N'of life')",
		"USE [Sales] INSERT INTO dbo.t VALUES (9, N'and on')",
		"USE [Sales] INSERT INTO dbo.t VALUES (10, N'and on')",
		"USE [Sales] INSERT INTO dbo.t VALUES (11, N'and on')",
		"BACKUP LOG [Sales] TO DISK = N'$/otherway.trn' WITH INIT",
	};

	make_database(w, "Sales");
	make_database(w, "Other");
	make_database(w, "Simple");
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		must(w, w->source, steps[i]);
	assert_true(engine_set_release(w->source, 2022));
	make_database(w, "Newer");
	must(w, w->source, "BACKUP DATABASE [Newer] TO DISK = N'$/newer.bak' WITH INIT");
	assert_true(engine_set_release(w->source, 2016));
	make_database(w, "Older");
	must(w, w->source, "BACKUP DATABASE [Older] TO DISK = N'$/older.bak' WITH INIT");
	assert_true(engine_set_release(w->source, 2019));
}

/* What no BACKUP would write: each is full.bak with something done to it. */
static void
make_bad_media(struct world *w)
{
	static const char text[] = "-- this is a script and no backup at all ------------------------------------------------------";
	size_t len, n;
	uint8_t *full = read_file(w, "$/full.bak", &len), *bad = talloc_memdup(w->mem, full, len);
	FILE *plain, *packed;
	struct err err = { 0 };

	write_file(w, "$/empty.bak", "", 0);
	write_file(w, "$/text.bak", text, sizeof(text) - 1);
	write_file(w, "$/cut.bak", full, len / 2);
	write_file(w, "$/nothing_behind.bak", full, 4096 + 512);
	bad[0x5D] = 2;
	write_file(w, "$/tape2.bak", bad, len);
	memcpy(bad, full, len);
	for (n = 0; n + 12 < len; n++)
		if (memcmp(bad + n, "SCIN", 4) == 0)
			bad[n + 8] |= 0x20;
	write_file(w, "$/damaged_at_source.bak", bad, len);
	memcpy(bad, full, len);
	for (n = 0; n + 0x40 < len && memcmp(bad + n, "SSET", 4) != 0; n++)
		continue;
	bad[n + 0x3C] = 0x34;
	write_file(w, "$/foreign.bak", bad, len);
	memcpy(bad, full, len);
	memcpy(bad + 0x1C00 + 20 * 8192 + 200, "damage", 6);
	write_file(w, "$/bad_page.bak", bad, len);
	plain = fopen(filled(w, "$/full.bak"), "rb");
	packed = fopen(filled(w, "$/packed.bak"), "w+b");
	assert_true(plain != NULL && packed != NULL && mssqlbak_write(plain, packed, &err));
	fclose(plain);
	fclose(packed);
	bad = read_file(w, "$/packed.bak", &len);
	bad[0x1E0] = 0x31;
	write_file(w, "$/encrypted.bak", bad, len);
}

/* ---- the rows ------------------------------------------------------------------------------------------------------------ */

#define FULL "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH NORECOVERY"
#define MOVED(name) "MOVE N'" name "' TO N'$/m1.mdf', MOVE N'" name "_log' TO N'$/m1.ldf'"
#define INTO(set, name) "RESTORE DATABASE [m1] FROM DISK = N'$/" set "' WITH NORECOVERY, " MOVED(name)
#define LOG(set) "RESTORE LOG [m1] FROM DISK = N'$/" set "' WITH NORECOVERY"
#define DIFF(set) "RESTORE DATABASE [m1] FROM DISK = N'$/" set "' WITH NORECOVERY"
#define RECOVER "RESTORE DATABASE [m1] WITH RECOVERY"

/* A RESTORE that copied two files; and one refused for one reason. */
#define COPIED "I4035.1 D1:229 I4035.1 D1:229 I3014.1 D0:229"
#define REFUSED(why) why " E3013.1.16 D2:229"
#define LOG_REFUSED(why) why " E3013.1.16 D2:236"

static const struct row {
	const char *name;
	const char *before[6]; /* "inside:" another session enters and stays; "knob:" name value; all else must succeed */
	const char *statement; /* "stranger:" before it: by a log-in without rights */
	const char *tokens, *says;
} rows[] = {
	/* ---- what success looks like ---- */
	{ "a full with STATS", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH NORECOVERY, STATS = 50, " MOVED("Sales"),
	  "I3211.1 D1:229 I3211.1 D1:229 " COPIED, NULL },
	{ "a full without STATS", { 0 }, INTO("full.bak", "Sales"), COPIED, "RESTORE DATABASE successfully processed " },
	{ "two stripes", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/s1.bak', DISK = N'$/s2.bak' WITH NORECOVERY, " MOVED("Sales"), COPIED, NULL },
	{ "stripes in any order", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/s2.bak', DISK = N'$/s1.bak' WITH NORECOVERY, " MOVED("Sales"), COPIED, NULL },
	{ "a log", { INTO("full.bak", "Sales") }, LOG("log1.trn"), "I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236", "RESTORE LOG successfully processed 0 pages" },
	{ "a differential", { INTO("full.bak", "Sales") }, DIFF("diff1.bak"), COPIED, NULL },
	{ "the second set of a file", { INTO("two.bak", "Sales") }, "RESTORE LOG [m1] FROM DISK = N'$/two.bak' WITH FILE = 2, NORECOVERY",
	  "I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236", NULL },
	{ "recovery alone", { INTO("full.bak", "Sales") }, RECOVER, "I3014.1 D0:229", NULL },
	{ "recovery with the last log", { INTO("full.bak", "Sales") }, "RESTORE LOG [m1] FROM DISK = N'$/log1.trn' WITH RECOVERY",
	  "I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236", NULL },
	{ "the same family is written over while RESTORING", { INTO("full.bak", "Sales") }, INTO("full.bak", "Sales"), COPIED, NULL },
	{ "SIMPLE has no tail", { INTO("simple.bak", "Simple"), RECOVER }, INTO("simple.bak", "Simple"), COPIED, NULL },
	{ "STANDBY", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH STANDBY = N'$/undo', " MOVED("Sales"), COPIED, NULL },
	{ "a log after STANDBY", { "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH STANDBY = N'$/undo', " MOVED("Sales") },
	  LOG("log1.trn"), "I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236", NULL },
	{ "VERIFYONLY", { 0 }, "RESTORE VERIFYONLY FROM DISK = N'$/full.bak'", "I3262.1 D0:377", "The backup set on file 1 is valid." },
	{ "HEADERONLY", { 0 }, "RESTORE HEADERONLY FROM DISK = N'$/two.bak'", "C56 R2 D17:230 D0:250", NULL },
	{ "FILELISTONLY", { 0 }, "RESTORE FILELISTONLY FROM DISK = N'$/full.bak'", "C22 R2 D17:230 D0:376", NULL },
	{ "FILELISTONLY of a lone stripe", { 0 }, "RESTORE FILELISTONLY FROM DISK = N'$/s2.bak'", "C22 R2 D17:230 D0:376", NULL },
	{ "LABELONLY", { 0 }, "RESTORE LABELONLY FROM DISK = N'$/s2.bak'", "C13 R1 D17:230 D0:251", NULL },

	/* ---- who may ask, and from where ---- */
	{ "inside a transaction", { 0 }, "BEGIN TRAN RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' ROLLBACK",
	  "D1:212 E3021.0.16 E3013.1.16 D3:229 D0:210", "Cannot perform a backup or restore operation within a transaction." },
	{ "to make a database takes a right", { 0 }, "stranger:" FULL, REFUSED("E262.1.14"), "CREATE DATABASE permission denied in database 'master'." },
	{ "to read a header does too", { 0 }, "stranger:RESTORE HEADERONLY FROM DISK = N'$/full.bak'", "E262.1.14 E3013.1.16 D2:250", NULL },
	{ "to overwrite one takes owning it", { INTO("full.bak", "Sales") }, "stranger:" FULL, REFUSED("E3110.1.14"),
	  "User does not have permission to RESTORE database 'm1'." },
	{ "from within", { INTO("full.bak", "Sales"), RECOVER }, "USE [m1] RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH REPLACE",
	  "D1:226 E3102.1.16 E3013.1.16 D2:229", "RESTORE cannot process database 'm1' because it is in use by this session. It is recommended that the "
	  "master database be used when performing this operation." },
	{ "another is inside", { INTO("full.bak", "Sales"), RECOVER, "inside:m1" }, "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH REPLACE",
	  REFUSED("E3101.1.16"), "Exclusive access could not be obtained because the database is in use." },
	{ "the other was sent out", { INTO("full.bak", "Sales"), RECOVER, "inside:m1", "ALTER DATABASE [m1] SET SINGLE_USER WITH ROLLBACK IMMEDIATE" },
	  "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH REPLACE, NORECOVERY, " MOVED("Sales"), COPIED, NULL },
	{ "tempdb", { 0 }, "RESTORE DATABASE [tempdb] FROM DISK = N'$/full.bak'", REFUSED("E3147.1.16"), NULL },
	{ "PARTIAL is not for us", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH PARTIAL, NORECOVERY", "E155.1.15 D2:253", NULL },

	/* ---- devices ---- */
	{ "no such file", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/absent.bak' WITH NORECOVERY", REFUSED("E3201.2.16"),
	  "Cannot open backup device '$/absent.bak'. Operating system error 2(The system cannot find the file specified.)." },
	{ "no right on the file", { "knob:denied 1" }, FULL, REFUSED("E3201.2.16"), "Cannot open backup device '$/full.bak'. Operating system error 5(Access is denied.)." },
	{ "a file in use", { "knob:denied 2" }, FULL, REFUSED("E3201.2.16"), "Cannot open backup device '$/full.bak'. Operating system error 32(The process cannot access "
	  "the file because it is being used by another process.)." },
	{ "an empty file", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/empty.bak'", REFUSED("E3254.1.16"), "The volume on device '$/empty.bak' is empty." },
	{ "a script", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/text.bak'", REFUSED("E3241.0.16"),
	  "The media family on device '$/text.bak' is incorrectly formed. SQL Server cannot process this media family." },
	{ "a script's header", { 0 }, "RESTORE HEADERONLY FROM DISK = N'$/text.bak'", "E3241.0.16 E3013.1.16 D2:250", NULL },
	{ "FILELIST, not FILELISTONLY", { 0 }, "RESTORE FILELISTONLY FROM DISK = N'$/absent.bak'", "E3201.2.16 E3013.1.16 D2:376", NULL },
	{ "media and no set", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/nothing_behind.bak'", REFUSED("E3242.1.16"), NULL },
	{ "a tape of the next version", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/tape2.bak'", REFUSED("E3243.1.16"),
	  "The media family on device '$/tape2.bak' was created using Microsoft Tape Format version 2.0. SQL Server supports version 1.0." },
	{ "somebody else's set", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/foreign.bak'", REFUSED("E3143.1.16"), NULL },
	{ "encrypted: not even the header", { 0 }, "RESTORE HEADERONLY FROM DISK = N'$/encrypted.bak'", "E33111.3.16 E3013.1.16 D2:250", NULL },
	{ "half a stripe", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/s1.bak'", REFUSED("E3132.1.16"),
	  "The media set has 2 media families but only 1 are provided. All members must be provided." },
	{ "half a stripe is not valid", { 0 }, "RESTORE VERIFYONLY FROM DISK = N'$/s1.bak'", "E3132.1.16 E3013.1.16 D2:377", NULL },
	{ "a member twice", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/s1.bak', DISK = N'$/s1.bak'", REFUSED("E3227.1.16"), NULL },
	{ "another media set", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/s1.bak', DISK = N'$/full.bak'", REFUSED("E3258.1.16"), NULL },
	{ "no third set", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/two.bak' WITH FILE = 3", REFUSED("E3287.1.16"),
	  "The file ID 3 on device '$/two.bak' is incorrectly formed and can not be read." },

	/* ---- what the set is ---- */
	{ "from a newer server", { 0 }, INTO("newer.bak", "Newer"), REFUSED("E3169.1.16"), "The database was backed up on a server running version 16.00.1000. That version is "
	  "incompatible with this server, which is running version 15.00.2000. Either restore the database on a server that supports the backup, or use a backup that "
	  "is compatible with this server." },
	{ "no checksums to check", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/base2.bak' WITH CHECKSUM", REFUSED("E3187.1.16"), NULL },
	{ "a log is no full", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/log1.trn'", REFUSED("E3135.1.16"),
	  "The backup set in file '$/log1.trn' was created by BACKUP LOG and cannot be used for this restore operation." },
	{ "a full is no log", { INTO("full.bak", "Sales") }, LOG("full.bak"), LOG_REFUSED("E3135.1.16"), NULL },
	{ "damaged when it was taken", { 0 }, INTO("damaged_at_source.bak", "Sales"), REFUSED("E3182.2.16"), NULL },
	{ "cut off", { 0 }, INTO("cut.bak", "Sales"), REFUSED("E3203.1.16"), "Read on \"$/cut.bak\" failed: 38(Reached the end of the file.)" },
	{ "a bad page", { 0 }, INTO("bad_page.bak", "Sales"), REFUSED("E3183.1.16"), "RESTORE detected an error on page (1:20) in database \"m1\" as read from the backup set." },
	{ "a bad page is found before it counts", { 0 }, "RESTORE VERIFYONLY FROM DISK = N'$/bad_page.bak'", "E3183.1.16 E3013.1.16 D2:377", NULL },

	/* ---- the database against the set ---- */
	{ "a log of nothing", { 0 }, LOG("log1.trn"), LOG_REFUSED("E3118.1.16"), "The database \"m1\" does not exist. RESTORE can only create a database when restoring "
	  "either a full backup or a file backup of the primary file." },
	{ "a differential of nothing", { 0 }, DIFF("diff1.bak"), REFUSED("E3118.1.16"), NULL },
	{ "a log of what is ONLINE", { INTO("full.bak", "Sales"), RECOVER }, LOG("log1.trn"), LOG_REFUSED("E3117.1.16"),
	  "The log or differential backup cannot be restored because no files are ready to rollforward." },
	{ "another database's full", { INTO("full.bak", "Sales") }, INTO("other.bak", "Other"), REFUSED("E3154.4.16"),
	  "The backup set holds a backup of a database other than the existing 'm1' database." },
	{ "another database's log", { INTO("full.bak", "Sales") }, LOG("other.trn"), LOG_REFUSED("E3154.4.16"), NULL },
	{ "REPLACE takes another database", { INTO("full.bak", "Sales") }, "RESTORE DATABASE [m1] FROM DISK = N'$/other.bak' WITH REPLACE, NORECOVERY, " MOVED("Other"),
	  COPIED, NULL },
	{ "a living database", { INTO("full.bak", "Sales"), RECOVER }, INTO("full.bak", "Sales"), REFUSED("E3159.1.16"), "The tail of the log for the database \"m1\" has not been "
	  "backed up. Use BACKUP LOG WITH NORECOVERY to backup the log if it contains work you do not want to lose. Use the WITH REPLACE or WITH STOPAT clause of the RESTORE "
	  "statement to just overwrite the contents of the log." },
	{ "a living database's tail to a time", { INTO("full.bak", "Sales"), RECOVER, "USE [m1] INSERT INTO dbo.t VALUES (77, N'new')" },
	  "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH NORECOVERY, STOPAT = N'2099-01-01T00:00:00'", REFUSED("E3173.1.16"), NULL },
	{ "a gap", { INTO("full.bak", "Sales") }, LOG("log2.trn"), LOG_REFUSED("E4305.1.16"), "The log in this backup set begins at LSN 40000000" },
	{ "too old", { INTO("full.bak", "Sales"), LOG("log1.trn"), LOG("log2.trn") }, LOG("log1.trn"), LOG_REFUSED("E4326.1.16"),
	  "The log in this backup set terminates at LSN 40000000" },
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
	{ "STANDBY of an older server's", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/older.bak' WITH STANDBY = N'$/undo', " MOVED("Older"), REFUSED("E3180.1.16"), NULL },
	{ "an older server's comes up", { INTO("older.bak", "Older") }, RECOVER, "I3014.1 D0:229", NULL },
	{ "STOPAT of SIMPLE", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/simple.bak' WITH STOPAT = N'2099-01-01T00:00:00'", REFUSED("E3145.1.16"), NULL },
	{ "STOPAT before the full's end", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH STOPAT = N'2001-01-01T00:00:00'", REFUSED("E4338.1.16"), NULL },
	{ "STOPAT that is past", { INTO("full.bak", "Sales"), LOG("log1.trn") },
	  "RESTORE LOG [m1] FROM DISK = N'$/log2.trn' WITH NORECOVERY, STOPAT = N'2001-01-01T00:00:00'", LOG_REFUSED("E4335.1.16"), NULL },
	{ "STOPAT that is not reached", { INTO("full.bak", "Sales") }, "RESTORE LOG [m1] FROM DISK = N'$/log1.trn' WITH RECOVERY, STOPAT = N'2099-01-01T00:00:00'",
	  "I4322.1 D1:236 I4035.1 D1:236 I4035.1 D1:236 I3014.1 D0:236", NULL },

	/* ---- files ---- */
	{ "no such file in the set", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH MOVE N'Nonsense' TO N'$/x.mdf'", REFUSED("E3234.2.16"),
	  "Logical file 'Nonsense' is not part of database 'Sales'. Use RESTORE FILELISTONLY to list the logical file names." },
	{ "a file moved twice", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH MOVE N'Sales' TO N'$/x.mdf', MOVE N'sales' TO N'$/y.mdf'", REFUSED("E4353.1.16"), NULL },
	{ "two files at one place", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH MOVE N'Sales' TO N'$/x.mdf', MOVE N'Sales_log' TO N'$/x.mdf'",
	  REFUSED("E3176.1.16 E3119.1.16"), NULL },
	{ "another database's files", { INTO("full.bak", "Sales") }, "RESTORE DATABASE [m2] FROM DISK = N'$/full.bak' WITH NORECOVERY, " MOVED("Sales"),
	  REFUSED("E1834.1.16 E3156.4.16 E1834.1.16 E3156.4.16 E3119.1.16"), "The file '$/m1.mdf' cannot be overwritten.  It is being used by database 'm1'." },
	{ "no such folder", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH MOVE N'Sales' TO N'$/no/x.mdf', MOVE N'Sales_log' TO N'$/x.ldf'",
	  REFUSED("E5133.1.16 E3156.4.16 E3119.1.16"), NULL },
	{ "a stranger's file", { 0 }, "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH MOVE N'Sales' TO N'$/text.bak', MOVE N'Sales_log' TO N'$/x.ldf'",
	  REFUSED("E3142.1.16 E3119.1.16"), NULL },
	{ "no space", { "knob:free_kb 100" }, INTO("full.bak", "Sales"), REFUSED("E3257.1.16 E3119.1.16"), NULL },

	/* ---- use of what is RESTORING ---- */
	{ "USE", { INTO("full.bak", "Sales") }, "USE [m1]", "E927.2.14 D2:226", "Database 'm1' cannot be opened. It is in the middle of a restore." },
	{ "BACKUP", { INTO("full.bak", "Sales") }, "BACKUP DATABASE [m1] TO DISK = N'$/x.bak'", "E927.2.14 E3013.1.16 D2:228", NULL },
	{ "ALTER", { INTO("full.bak", "Sales") }, "ALTER DATABASE [m1] SET RECOVERY SIMPLE", "E5052.1.16 D2:215", NULL },
	{ "DROP", { INTO("full.bak", "Sales") }, "DROP DATABASE [m1]", "D0:215", NULL },

	/* ---- BACKUP ---- */
	{ "BACKUP of nothing", { 0 }, "BACKUP DATABASE [nobody] TO DISK = N'$/x.bak'", "E911.11.16 E3013.1.16 D2:228", NULL },
	{ "BACKUP into a transaction", { 0 }, "BEGIN TRAN BACKUP DATABASE [m1] TO DISK = N'$/x.bak' ROLLBACK", "D1:212 E3021.0.16 E3013.1.16 D3:228 D0:210", NULL },
	{ "BACKUP LOG of SIMPLE", { INTO("simple.bak", "Simple"), RECOVER }, "BACKUP LOG [m1] TO DISK = N'$/x.trn'", "E4208.1.16 E3013.1.16 D2:235", NULL },
	{ "BACKUP LOG before a full", { "CREATE DATABASE [m1]" }, "BACKUP LOG [m1] TO DISK = N'$/x.trn'", "E4214.1.16 E3013.1.16 D2:235", NULL },
	{ "DIFFERENTIAL before a full", { "CREATE DATABASE [m1]" }, "BACKUP DATABASE [m1] TO DISK = N'$/x.bak' WITH DIFFERENTIAL", "E3035.1.16 E3013.1.16 D2:228", NULL },
	{ "BACKUP to nowhere", { "CREATE DATABASE [m1]" }, "BACKUP DATABASE [m1] TO DISK = N'$/no/x.bak'", "E3201.1.16 E3013.1.16 D2:228", NULL },
	{ "BACKUP behind a script", { "CREATE DATABASE [m1]" }, "BACKUP DATABASE [m1] TO DISK = N'$/text.bak'", "E3241.0.16 E3013.1.16 D2:228", NULL },
	{ "BACKUP WITH COMPRESSION", { "CREATE DATABASE [m1]", "BACKUP DATABASE [m1] TO DISK = N'$/c1.bak', DISK = N'$/c2.bak' WITH INIT, COMPRESSION, CHECKSUM" },
	  "RESTORE VERIFYONLY FROM DISK = N'$/c1.bak', DISK = N'$/c2.bak' WITH CHECKSUM", "I3262.1 D0:377", NULL },
	{ "BACKUP to half of the stripes", { "CREATE DATABASE [m1]" }, "BACKUP DATABASE [m1] TO DISK = N'$/s1.bak'", "E3132.1.16 E3013.1.16 D2:228", NULL },
	{ "BACKUP and no space", { "CREATE DATABASE [m1]", "knob:free_kb 1" }, "BACKUP DATABASE [m1] TO DISK = N'$/x.bak' WITH INIT", "E3202.1.16 E3013.1.16 D2:228", NULL },
	{ "BACKUP", { "CREATE DATABASE [m1]" }, "BACKUP DATABASE [m1] TO DISK = N'$/x.bak' WITH INIT", "I4035.1 D1:228 I4035.1 D1:228 I3014.1 D0:228", NULL },

	/* ---- ordered, in the catalogue's words ---- */
	{ "ordered at once", { "knob:fail_number 3271" }, INTO("full.bak", "Sales"), REFUSED("E3271.1.16"), "A nonrecoverable I/O error occurred on file \"$/full.bak:\"" },
	{ "the deadlock's victim", { "knob:fail_number 1205" }, INTO("full.bak", "Sales"), REFUSED("E1205.51.13"), "Transaction (Process ID 60) was deadlocked on lock "
	  "resources with another process and has been chosen as the deadlock victim. Rerun the transaction." },
	{ "in transition", { "knob:fail_number 952" }, INTO("full.bak", "Sales"), REFUSED("E952.1.16"), "Database 'm1' is in transition. Try the statement later." },
	{ "serialised", { "knob:fail_number 3023" }, INTO("full.bak", "Sales"), REFUSED("E3023.2.16"), NULL },
	{ "incomplete at its making", { "knob:fail_number 3256" }, INTO("full.bak", "Sales"), REFUSED("E3256.1.16"), NULL },
	{ "an assert", { "knob:fail_number 3270" }, INTO("full.bak", "Sales"), REFUSED("E3270.1.16"), NULL },
	{ "a file in no state for it", { "knob:fail_number 3178" }, INTO("full.bak", "Sales"), REFUSED("E3178.1.16"), NULL },
	{ "the chain has a gap", { "knob:fail_number 4312" }, INTO("full.bak", "Sales"), REFUSED("E4312.1.16"), NULL },
	{ "a share that went away", { "knob:fail_number 3203" }, INTO("full.bak", "Sales"), REFUSED("E3203.1.16"), NULL },
	{ "in an availability group", { "knob:fail_number 3104" }, INTO("full.bak", "Sales"), REFUSED("E3104.1.16"), NULL },
	{ "damage", { "knob:fail_number 3189" }, INTO("full.bak", "Sales"), REFUSED("E3189.1.16"), NULL },
	{ "recovery that fails", { INTO("full.bak", "Sales"), "knob:fail_recovery 3167" }, RECOVER, REFUSED("E3167.1.16"), NULL },
};

/* ---- playing them ---------------------------------------------------------------------------------------------------------- */

static void
begin_row(struct world *w)
{
	size_t n;
	const struct engine_knob *knobs = engine_knobs(&n);

	for (size_t i = 0; i < n; i++)
		assert_true(engine_knob(w->target, knobs[i].name, knobs[i].standard));
	must(w, w->target, "DROP DATABASE IF EXISTS [m1]");
	must(w, w->target, "DROP DATABASE IF EXISTS [m2]");
}

static void
prepare_row(struct world *w, const struct row *row, struct tsql_session **inside)
{
	char name[64];
	long value;

	for (size_t i = 0; i < 6 && row->before[i] != NULL; i++) {
		if (sscanf(row->before[i], "knob:%63s %ld", name, &value) == 2) {
			assert_true(engine_knob(w->target, name, value));
		} else if (strncmp(row->before[i], "inside:", 7) == 0) {
			*inside = session(w, w->target, "sa");
			(*inside)->spid = 61;
			say_sql(w, *inside, talloc_asprintf(w->mem, "USE [%s]", row->before[i] + 7));
			assert_false(w->told.had_error);
		} else {
			must(w, w->target, row->before[i]);
		}
	}
}

static bool
row_is_right(struct world *w, const struct row *row)
{
	const char *says = row->says == NULL ? "" : filled(w, row->says);
	bool by_stranger = strncmp(row->statement, "stranger:", 9) == 0;

	as(w, w->target, by_stranger ? "stranger" : "sa", row->statement + (by_stranger ? 9 : 0));
	if (strcmp(w->told.tokens, row->tokens) == 0 && strncmp(w->told.text, says, strlen(says)) == 0)
		return true;
	print_message("# %s\n#   expected %s\n#   got      %s\n#   saying   %s\n", row->name, row->tokens, w->told.tokens, w->told.text);
	return false;
}

static void
every_statement_has_its_tokens(void **state)
{
	struct world *w = *state;
	size_t bad = 0, n = sizeof(rows) / sizeof(rows[0]);

	for (size_t i = 0; i < n; i++) {
		struct tsql_session *inside = NULL;

		begin_row(w);
		prepare_row(w, &rows[i], &inside);
		bad += !row_is_right(w, &rows[i]);
		talloc_free(inside);
	}
	print_message("# %zu statements, %zu wrong\n", n, bad);
	assert_int_equal(bad, 0);
}

/* ---- columns by release ------------------------------------------------------------------------------------------------------ */

static void
columns_are_those_of_the_release(void **state)
{
	static const struct { int year; const char *tokens; } releases[] = {
		{ 2016, "C56 R1 D17:230 D0:250" }, { 2019, "C56 R1 D17:230 D0:250" }, { 2022, "C59 R1 D17:230 D0:250" },
	};
	/* A few whose type on the wire is not the documented one, and the three that came in 2022. */
	static const char *const types[] = { "BackupName:8:128 ", "BackupDescription:8:255 ", "BackupType:0:1 ", "Position:0:2 ", "BackupSize:0:8 ",
		"FirstLSN:2:0 ", "RecoveryModel:8:60 ", "EncryptorThumbprint:10:20 " };
	static const char *const newer[] = { "LastValidRestoreTime:4:8 ", "TimeZone:0:2 ", "CompressionAlgorithm:8:32 " };
	struct world *w = *state;

	begin_row(w);
	for (size_t r = 0; r < 3; r++) {
		assert_true(engine_set_release(w->target, releases[r].year));
		as(w, w->target, "sa", "RESTORE HEADERONLY FROM DISK = N'$/older.bak'");
		assert_string_equal(w->told.tokens, releases[r].tokens);
		for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
			if (strstr(w->told.names, types[i]) == NULL)
				fail_msg("%s is not in %s", types[i], w->told.names);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(strstr(w->told.names, newer[i]) != NULL, releases[r].year == 2022);
	}
	as(w, w->target, "sa", "RESTORE FILELISTONLY FROM DISK = N'$/older.bak'");
	assert_non_null(strstr(w->told.names, "Type:9:1 "));
	assert_non_null(strstr(w->told.names, "PhysicalName:8:260 "));
	assert_non_null(strstr(w->told.names, "SnapshotUrl:8:336 "));
	as(w, w->target, "sa", "SELECT SERVERPROPERTY('ProductVersion'), DATABASEPROPERTYEX(N'master', N'Version')");
	assert_string_equal(w->told.tokens, "C2 R1 D16:193");
	/* 2022 restores what 2019 refuses. */
	must(w, w->target, INTO("newer.bak", "Newer"));
	assert_true(engine_set_release(w->target, 2019));
}

/* ---- states --------------------------------------------------------------------------------------------------------------------- */

static const char *
value(struct world *w, const char *sql)
{
	as(w, w->target, "sa", sql);
	return w->told.first_row;
}

static void
standby_is_online_and_read_only(void **state)
{
	struct world *w = *state;

	begin_row(w);
	must(w, w->target, "RESTORE DATABASE [m1] FROM DISK = N'$/full.bak' WITH STANDBY = N'$/undo', " MOVED("Sales"));
	must(w, w->target, "USE [m1] SELECT COUNT(*) FROM dbo.t");
	must(w, w->target, LOG("log1.trn"));
	as(w, w->target, "sa", "USE [m1]");
	assert_string_equal(w->told.tokens, "E927.2.14 D2:226");
	must(w, w->target, "RESTORE LOG [m1] FROM DISK = N'$/log2.trn' WITH STANDBY = N'$/undo'");
	assert_int_equal(engine_state(w->target, "m1"), ENGINE_ONLINE);
	/* Without its undo file the whole chain begins again. */
	assert_int_equal(unlink(filled(w, "$/undo")), 0);
	as(w, w->target, "sa", LOG("log3.trn"));
	assert_string_equal(w->told.tokens, LOG_REFUSED("E3441.1.17"));
	must(w, w->target, "RESTORE DATABASE [m1] WITH RECOVERY");
	must(w, w->target, "USE [m1] INSERT INTO dbo.t VALUES (100, N'writable again')");
}

/* A transaction WITH MARK is a place that RESTORE LOG stops at, with it or before it; an LSN is one too. */
static void
logs_stop_at_marks(void **state)
{
	static const struct { const char *stop, *rows; } stops[] = {
		{ "STOPATMARK = N'deploy'", "R2" }, { "STOPBEFOREMARK = N'deploy'", "R1" }, { "STOPATMARK = N'no such mark'", "R3" },
		{ "STOPBEFOREMARK = N'lsn:1'", "R1" }, { "STOPATMARK = N'lsn:99000000000000000000'", "R3" },
	};
	struct world *w = *state;

	begin_row(w);
	make_database(w, "Marked");
	must(w, w->source, "BACKUP DATABASE [Marked] TO DISK = N'$/marked.bak' WITH INIT");
	must(w, w->source, "USE [Marked] BEGIN TRAN deploy WITH MARK N'a new version' INSERT INTO dbo.t VALUES (2, N'with it') COMMIT");
	must(w, w->source, "USE [Marked] INSERT INTO dbo.t VALUES (3, N'after it')");
	must(w, w->source, "BACKUP LOG [Marked] TO DISK = N'$/marked.trn' WITH INIT");
	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		must(w, w->target, INTO("marked.bak", "Marked"));
		must(w, w->target, talloc_asprintf(w->mem, "RESTORE LOG [m1] FROM DISK = N'$/marked.trn' WITH NORECOVERY, %s", stops[i].stop));
		must(w, w->target, "EXEC standin.rows N'm1', N'dbo.t'");
		if (strstr(w->told.tokens, stops[i].rows) == NULL)
			fail_msg("%s: %s and not %s", stops[i].stop, w->told.tokens, stops[i].rows);
	}
	must(w, w->target, "DROP DATABASE [m1]");
	must(w, w->source, "DROP DATABASE [Marked]");
}

static void
history_has_a_row_for_what_completed_only(void **state)
{
	struct world *w = *state;
	const char *count = "SELECT CONVERT(nvarchar(10), COUNT(*)) FROM msdb.dbo.restorehistory WHERE destination_database_name = N'm1' AND stop_at IS NULL";
	char *before;

	begin_row(w);
	before = talloc_strdup(w->mem, value(w, count));
	assert_true(engine_knob(w->target, "fail_number", 3271));
	assert_true(engine_knob(w->target, "fail_at", 50));
	as(w, w->target, "sa", INTO("full.bak", "Sales"));
	assert_true(w->told.had_error);
	assert_string_equal(before, value(w, count));
	/* Broken off: neither logs nor recovery, but the same set again. */
	assert_true(engine_knob(w->target, "fail_number", 0));
	as(w, w->target, "sa", LOG("log1.trn"));
	assert_string_equal(w->told.tokens, LOG_REFUSED("E4319.3.16"));
	as(w, w->target, "sa", RECOVER);
	assert_string_equal(w->told.tokens, REFUSED("E4333.1.16"));
	must(w, w->target, INTO("full.bak", "Sales"));
	assert_string_not_equal(before, value(w, count));
}

/* The file goes before what was set by EXEC, is read again when it changes, and is gone when it is removed. */
static void
the_file_of_faults_is_obeyed(void **state)
{
	struct world *w = *state;

	begin_row(w);
	write_file(w, "$/hosted/faults", "# by hand\ndenied 1\n", 18);
	as(w, w->target, "sa", FULL);
	assert_string_equal(w->told.tokens, REFUSED("E3201.2.16"));
	assert_int_equal(unlink(filled(w, "$/hosted/faults")), 0);
	must(w, w->target, INTO("full.bak", "Sales"));
	as(w, w->target, "sa", "EXEC standin.fault N'no_such_knob', 1");
	assert_true(w->told.had_error);
	must(w, w->target, "EXEC standin.fault N'fail_recovery', 4347");
	as(w, w->target, "sa", RECOVER);
	assert_string_equal(w->told.tokens, REFUSED("E4347.1.16"));
}

/* ---- knobs that take time, or the server away ----------------------------------------------------------------------------------- */

static int64_t
monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
a_restore_is_as_slow_as_was_ordered(void **state)
{
	/* full.bak has about 270 KB; nothing here waits longer than it must, so only the least is claimed. */
	static const struct { const char *knob; long value; const char *statement; int64_t least; } rows_[] = {
		{ "restore_kb_s", 900, INTO("full.bak", "Sales"), 200 }, { "zeroing_ms", 300, INTO("full.bak", "Sales"), 300 },
		{ "silence_ms", 300, INTO("full.bak", "Sales"), 300 }, { "delay_ms", 3, INTO("full.bak", "Sales"), 250 },
		{ "backup_kb_s", 600, "BACKUP DATABASE [slow] TO DISK = N'$/slow.bak' WITH INIT", 200 },
	};
	struct world *w = *state;

	must(w, w->target, "CREATE DATABASE [slow]");
	for (size_t i = 0; i < sizeof(rows_) / sizeof(rows_[0]); i++) {
		int64_t t0;

		begin_row(w);
		assert_true(engine_knob(w->target, rows_[i].knob, rows_[i].value));
		t0 = monotonic_ms();
		must(w, w->target, rows_[i].statement);
		if (monotonic_ms() - t0 < rows_[i].least)
			fail_msg("%s: %lld ms", rows_[i].knob, (long long)(monotonic_ms() - t0));
	}
	begin_row(w);
	must(w, w->target, "EXEC standin.fault N'percent_step', 20");
	as(w, w->target, "sa", INTO("full.bak", "Sales"));
	assert_string_equal(w->told.tokens, "I3211.1 D1:229 I3211.1 D1:229 I3211.1 D1:229 I3211.1 D1:229 I3211.1 D1:229 " COPIED);
	must(w, w->target, "DROP DATABASE [slow]");
}

static struct { size_t recovering; } watch;

/* Another session looks while the first recovers. */
static void
look_at_recovery(void *ctx)
{
	struct world *w = ctx;
	struct teller told = { 0 };
	struct tsql_session *s;
	struct err err = { 0 };

	if (engine_state(w->target, "m1") != ENGINE_RECOVERING || watch.recovering++ > 0)
		return;
	s = teller_session(w->mem, &told, w->target, "sa", 62, &err);
	teller_run(&told, s, "SELECT state_desc FROM sys.databases WHERE name = N'm1'");
	assert_string_equal(told.first_row, "RECOVERING|");
	teller_run(&told, s, "USE [m1]");
	assert_string_equal(told.tokens, "E922.1.14 D2:226");
	teller_run(&told, s, RECOVER);
	assert_string_equal(told.tokens, REFUSED("E3101.1.16"));
	teller_run(&told, s, "SELECT command FROM sys.dm_exec_requests");
	assert_string_equal(told.first_row, "RESTORE DATABASE|");
	talloc_free(s);
	teller_end(&told);
}

static void
recovery_takes_its_time_and_is_seen(void **state)
{
	struct world *w = *state;

	begin_row(w);
	must(w, w->target, INTO("full.bak", "Sales"));
	assert_true(engine_knob(w->target, "recovery_ms", 100));
	watch.recovering = 0;
	w->told.meanwhile = look_at_recovery;
	w->told.meanwhile_ctx = w;
	must(w, w->target, RECOVER);
	w->told.meanwhile = NULL;
	assert_true(watch.recovering > 0);
	assert_int_equal(engine_state(w->target, "m1"), ENGINE_ONLINE);
}

/* What another session is told while a statement runs: a row each, played in the middle of it. */
struct interruption { const char *statement, *tokens, *row; };

static struct { const struct interruption *list; size_t n; bool done; } between;

static void
interrupt(void *ctx)
{
	struct world *w = ctx;

	if (between.done)
		return;
	between.done = true;
	for (size_t i = 0; i < between.n; i++) {
		const struct interruption *x = &between.list[i];
		struct teller told = { 0 };
		struct err err = { 0 };
		struct tsql_session *s = teller_session(w->mem, &told, w->target, "sa", 63, &err);

		teller_run(&told, s, filled(w, x->statement));
		if (strcmp(told.tokens, x->tokens) != 0 || (x->row != NULL && strcmp(told.first_row, x->row) != 0))
			fail_msg("%s: expected %s, got %s %s", x->statement, x->tokens, told.tokens, told.text);
		talloc_free(s);
		teller_end(&told);
	}
}

static void
meanwhile(struct world *w, const struct interruption *list, size_t n, const char *statement)
{
	between.list = list;
	between.n = n;
	between.done = false;
	w->told.meanwhile = interrupt;
	w->told.meanwhile_ctx = w;
	must(w, w->target, statement);
	w->told.meanwhile = NULL;
	assert_true(between.done);
}

static void
a_busy_database_is_seen_and_left_alone(void **state)
{
	static const struct interruption restoring[] = {
		{ "SELECT command FROM sys.dm_exec_requests", "C1 R1 D16:193", "RESTORE DATABASE|" },
		{ "SELECT state_desc FROM sys.databases WHERE name = N'm1'", "C1 R1 D16:193", "RESTORING|" },
		{ FULL, REFUSED("E3101.1.16"), NULL },
		{ LOG("log1.trn"), LOG_REFUSED("E3101.1.16"), NULL },
		{ RECOVER, REFUSED("E3101.1.16"), NULL },
		{ "DROP DATABASE [m1]", "E3702.3.16 D2:215", NULL },
		{ "USE [m1]", "E927.2.14 D2:226", NULL },
		{ "SELECT restore_type FROM msdb.dbo.restorehistory WHERE destination_database_name = N'busy'", "C1 D16:193", NULL },
	};
	static const struct interruption backing_up[] = {
		{ "SELECT command FROM sys.dm_exec_requests", "C1 R1 D16:193", "BACKUP DATABASE|" },
		{ "BACKUP DATABASE [m1] TO DISK = N'$/second.bak' WITH INIT", "E3023.2.16 E3013.1.16 D2:228", NULL },
		{ "USE [m1] SELECT v FROM dbo.t WHERE id = 1", "D1:226 C1 R1 D16:193", "one|" },
	};
	struct world *w = *state;

	begin_row(w);
	meanwhile(w, restoring, sizeof(restoring) / sizeof(restoring[0]), INTO("full.bak", "Sales"));
	must(w, w->target, RECOVER);
	meanwhile(w, backing_up, sizeof(backing_up) / sizeof(backing_up[0]), "BACKUP DATABASE [m1] TO DISK = N'$/first.bak' WITH INIT");
}

/* The server's clock and zone are in what it says of itself and of its backups. */
static void
the_clock_can_be_wrong_and_elsewhere(void **state)
{
	struct world *w = *state;
	char day[16];
	time_t then = time(NULL) + 10 * 86400 + 2 * 3600;
	struct tm tm;

	begin_row(w);
	must(w, w->target, "CREATE DATABASE [m1]");
	assert_true(engine_knob(w->target, "clock_offset_s", 10 * 86400));
	assert_true(engine_knob(w->target, "time_zone_min", 120));
	must(w, w->target, "BACKUP DATABASE [m1] TO DISK = N'$/later.bak' WITH INIT");
	assert_true(engine_set_release(w->target, 2022));
	as(w, w->target, "sa", "RESTORE HEADERONLY FROM DISK = N'$/later.bak'");
	assert_true(engine_set_release(w->target, 2019));
	gmtime_r(&then, &tm);
	strftime(day, sizeof(day), "|%Y-%m-%dT%H:", &tm);
	assert_non_null(strstr(w->told.first_row, day));
	/* LastValidRestoreTime, TimeZone in quarter hours, CompressionAlgorithm. */
	assert_non_null(strstr(w->told.first_row, "|NULL|8|NULL|"));
	assert_int_equal(strncmp(value(w, "SELECT CONVERT(nvarchar(30), GETDATE(), 126)"), day + 1, 10), 0);
}

/* A second process restores and is gone at 40 percent; the order is not repeated. */
static void
a_server_that_died_as_ordered_comes_back_restoring(void **state)
{
	struct world *w = *state;
	struct err err = { 0 };
	int status = 0;
	pid_t pid;

	begin_row(w);
	must(w, w->target, "EXEC standin.fault N'fail_at', 40");
	must(w, w->target, "EXEC standin.fault N'crash', 1");
	talloc_free(w->target);
	pid = fork();
	if (pid == 0) {
		w->target = engine_open(w, filled(w, "$/hosted"), "hosted", &err);
		as(w, w->target, "sa", INTO("full.bak", "Sales"));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	w->target = engine_open(w, filled(w, "$/hosted"), "hosted", &err);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(engine_state(w->target, "m1"), ENGINE_RESTORING);
	assert_int_equal(engine_knob_value(w->target, "crash"), 0);
	as(w, w->target, "sa", RECOVER);
	assert_string_equal(w->told.tokens, REFUSED("E4333.1.16"));
	must(w, w->target, INTO("full.bak", "Sales"));
	must(w, w->target, RECOVER);
}

/* ---- world ------------------------------------------------------------------------------------------------------------------------- */

static int
begin_world(void **state)
{
	struct world *w = talloc_zero(NULL, struct world);
	struct err err = { 0 };

	w->mem = w;
	w->dir = talloc_asprintf(w, "%s/landfall-fidelity-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(w->dir) == NULL)
		return -1;
	w->source = engine_open(w, talloc_asprintf(w, "%s/onprem", w->dir), "onprem", &err);
	w->target = engine_open(w, talloc_asprintf(w, "%s/hosted", w->dir), "hosted", &err);
	if (w->source == NULL || w->target == NULL || !engine_login_set(w->source, "sa", "Sa1!", true, &err) ||
	    !engine_login_set(w->target, "sa", "Sa1!", true, &err) || !engine_login_set(w->target, "stranger", "Str1!", false, &err))
		return -1;
	make_backups(w);
	make_bad_media(w);
	*state = w;
	return 0;
}

static int
end_world(void **state)
{
	struct world *w = *state;
	char *command = talloc_asprintf(w, "rm -rf '%s'", w->dir);
	int status = system(command);

	teller_end(&w->told);
	talloc_free(w);
	return status;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_statement_has_its_tokens),
		cmocka_unit_test(columns_are_those_of_the_release),
		cmocka_unit_test(standby_is_online_and_read_only),
		cmocka_unit_test(logs_stop_at_marks),
		cmocka_unit_test(history_has_a_row_for_what_completed_only),
		cmocka_unit_test(the_file_of_faults_is_obeyed),
		cmocka_unit_test(a_restore_is_as_slow_as_was_ordered),
		cmocka_unit_test(recovery_takes_its_time_and_is_seen),
		cmocka_unit_test(a_busy_database_is_seen_and_left_alone),
		cmocka_unit_test(the_clock_can_be_wrong_and_elsewhere),
		cmocka_unit_test(a_server_that_died_as_ordered_comes_back_restoring),
	};

	return cmocka_run_group_tests(tests, begin_world, end_world);
}
