#include "tests/standin/engine_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

/*
 * What goes wrong by order: the knobs, the file that sets them from outside, the clock they move, and the words
 * in which an ordered error is told.
 */

/* The order is that of enum knob. */
static const struct engine_knob knobs[] = {
	[KNOB_LSN_CHECK] = { "lsn_check", "0 lets logs and differentials through that do not fit: a server without judgement", 1 },
	[KNOB_DELAY_MS] = { "delay_ms", "a pause for every percent of a RESTORE", 0 },
	[KNOB_RESTORE_KB_S] = { "restore_kb_s", "how fast RESTORE DATABASE copies; 0: as fast as it can", 0 },
	[KNOB_LOG_KB_S] = { "log_kb_s", "how fast RESTORE LOG applies", 0 },
	[KNOB_BACKUP_KB_S] = { "backup_kb_s", "how fast BACKUP writes", 0 },
	[KNOB_ZEROING_MS] = { "zeroing_ms", "silence before the first byte of a full, as while a log file is filled with zeroes", 0 },
	[KNOB_PERCENT_STEP] = { "percent_step", "3211 in steps of this many percent, whatever STATS says", 0 },
	[KNOB_SILENCE_MS] = { "silence_ms", "silence after 100 percent", 0 },
	[KNOB_RECOVERY_MS] = { "recovery_ms", "how long recovery takes; the database is RECOVERING meanwhile", 0 },
	[KNOB_FAIL_NUMBER] = { "fail_number", "RESTORE of a set answers this number (1205: chosen as the deadlock's victim)", 0 },
	[KNOB_FAIL_AT] = { "fail_at", "… at this percentage, of BACKUP and crash too", 0 },
	[KNOB_FAIL_RECOVERY] = { "fail_recovery", "RECOVERY alone answers this number", 0 },
	[KNOB_FAIL_BACKUP] = { "fail_backup", "BACKUP answers this number", 0 },
	[KNOB_CRASH] = { "crash", "1: the server dies as by kill -9 at fail_at percent of a RESTORE; once by EXEC, each time from the file", 0 },
	[KNOB_FAILOVER] = { "failover", "1: the availability group fails over at fail_at percent of a RESTORE; once by EXEC, each time from the file", 0 },
	[KNOB_HANG] = { "hang", "1: RESTORE stands still until this is 0 or it is cancelled", 0 },
	[KNOB_FREE_KB] = { "free_kb", "free space of every volume; -1: enough", -1 },
	[KNOB_DENIED] = { "denied", "1: no device can be opened (5), 2: each is in use by another process (32)", 0 },
	[KNOB_CLOCK_OFFSET_S] = { "clock_offset_s", "how far the server's clock is off", 0 },
	[KNOB_TIME_ZONE_MIN] = { "time_zone_min", "the server's local time against UTC; headers and STOPAT are in it", 0 },
	[KNOB_SEED_KB_S] = { "seed_kb_s", "how fast automatic seeding copies; 0: at once", 0 },
	[KNOB_SYNC_MS] = { "sync_ms", "how long a joined secondary is SYNCHRONIZING before it is SYNCHRONIZED", 0 },
	[KNOB_FILESTREAM] = { "filestream", "SERVERPROPERTY('FilestreamConfiguredLevel')", 0 },
	[KNOB_XTP] = { "xtp", "SERVERPROPERTY('IsXTPSupported')", 1 },
	[KNOB_HEADER_LIES] = { "header_lies", "1: HEADERONLY gives another LastLSN, 2: FILELISTONLY another Size, 3: HEADERONLY another BackupName", 0 },
};

enum { N_KNOBS = sizeof(knobs) / sizeof(knobs[0]) };
_Static_assert((int)N_KNOBS <= (int)KNOBS_MAX, "room for every knob");

const struct engine_knob *
engine_knobs(size_t *n)
{
	*n = N_KNOBS;
	return knobs;
}

static int
knob_of(const char *name)
{
	for (int i = 0; i < N_KNOBS; i++)
		if (strcasecmp(knobs[i].name, name) == 0)
			return i;
	return -1;
}

/* ---- the file that goes before what was set by EXEC --------------------------------------------------------- */

static void
read_faults(struct engine *e, FILE *f)
{
	char line[256], name[64];
	long value;
	int i;

	memcpy(e->ordered, e->knob, sizeof(e->ordered));
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, " %63[a-z_] %ld", name, &value) == 2 && (i = knob_of(name)) >= 0)
			e->ordered[i] = value;
}

/* Under the knobs' lock. A file that is written in place may be seen half: write beside it and rename. */
static void
look_at_faults(struct engine *e)
{
	struct stat st = { 0 };
	FILE *f;

	if (stat(e->faults, &st) != 0)
		st.st_mtim = (struct timespec){ 0 };
	if (st.st_mtim.tv_sec == e->faults_seen.tv_sec && st.st_mtim.tv_nsec == e->faults_seen.tv_nsec)
		return;
	f = st.st_mtim.tv_sec == 0 ? NULL : fopen(e->faults, "re");
	read_faults(e, f);
	if (f != NULL)
		fclose(f);
	e->faults_seen = st.st_mtim;
}

bool
engine_knob(struct engine *e, const char *name, long value)
{
	int i = knob_of(name);
	char sql[160];
	bool good;

	if (i < 0)
		return false;
	snprintf(sql, sizeof(sql), "INSERT INTO knob VALUES('%s', %ld) ON CONFLICT(name) DO UPDATE SET value=excluded.value", knobs[i].name, value);
	pthread_mutex_lock(&e->lock);
	good = run_sql(e->meta, sql);
	pthread_mutex_unlock(&e->lock);
	pthread_mutex_lock(&e->knobs_lock);
	e->knob[i] = e->ordered[i] = value;
	/* What the file says still goes before: it is read again at the next look. */
	e->faults_seen = (struct timespec){ 0 };
	pthread_mutex_unlock(&e->knobs_lock);
	return good;
}

long
knob(struct engine *e, enum knob k)
{
	long value;

	pthread_mutex_lock(&e->knobs_lock);
	look_at_faults(e);
	value = e->ordered[k];
	pthread_mutex_unlock(&e->knobs_lock);
	return value;
}

long
engine_knob_value(struct engine *e, const char *name)
{
	int i = knob_of(name);

	return i < 0 ? 0 : knob(e, (enum knob)i);
}

int64_t
engine_now_ms(struct engine *e)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return ((int64_t)t.tv_sec + knob(e, KNOB_CLOCK_OFFSET_S) + knob(e, KNOB_TIME_ZONE_MIN) * 60) * 1000 + t.tv_nsec / 1000000;
}

/* ---- ordered errors in the catalogue's words ------------------------------------------------------------------- */

/*
 * Texts: Microsoft's list of database engine errors; {d} is the database, {f} the device. States as captured or
 * seen in transcripts where there is one, else 1. Numbers that the engine comes to by itself stand here too, so
 * that a test can have them without building the circumstances.
 */
static const struct { int number, state, class; const char *text; } catalogue[] = {
	{ 262, 1, 14, "CREATE DATABASE permission denied in database 'master'." },
	{ 922, 1, 14, "Database '{d}' is being recovered. Waiting until recovery is finished." },
	{ 926, 1, 14, "Database '{d}' cannot be opened. It has been marked SUSPECT by recovery. See the SQL Server errorlog for more information." },
	{ 927, 2, 14, "Database '{d}' cannot be opened. It is in the middle of a restore." },
	{ 942, 4, 14, "Database '{d}' cannot be opened because it is offline." },
	{ 945, 2, 16, "Database '{d}' cannot be opened due to inaccessible files or insufficient memory or disk space. See the SQL Server errorlog for "
	  "details." },
	{ 952, 1, 16, "Database '{d}' is in transition. Try the statement later." },
	{ 1205, 51, 13, "Transaction (Process ID {s}) was deadlocked on lock resources with another process and has been chosen as the deadlock victim. "
	  "Rerun the transaction." },
	{ 1834, 1, 16, "The file '{f}' cannot be overwritten.  It is being used by database '{d}'." },
	{ 3023, 2, 16, "Backup, file manipulation operations (such as ALTER DATABASE ADD FILE) and encryption changes on a database must be serialized. "
	  "Reissue the statement after the current backup or file manipulation operation is completed." },
	{ 3059, 1, 16, "This BACKUP or RESTORE command is not supported on a database mirror or secondary replica." },
	{ 3101, 1, 16, "Exclusive access could not be obtained because the database is in use." },
	{ 3104, 1, 16, "RESTORE cannot operate on database '{d}' because it is configured for database mirroring or has joined an availability group. If "
	  "you intend to restore the database, use ALTER DATABASE to remove mirroring or to remove the database from its availability group." },
	{ 3110, 1, 14, "User does not have permission to RESTORE database '{d}'." },
	{ 3116, 1, 16, "The supplied backup is not on the same recovery path as the database, and is ineligible for use for an online file restore." },
	{ 3117, 1, 16, "The log or differential backup cannot be restored because no files are ready to rollforward." },
	{ 3118, 1, 16, "The database \"{d}\" does not exist. RESTORE can only create a database when restoring either a full backup or a file backup of "
	  "the primary file." },
	{ 3120, 1, 16, "This backup set will not be restored because all data has already been restored to a point beyond the time covered by this "
	  "backup set." },
	{ 3136, 1, 16, "This differential backup cannot be restored because the database has not been restored to the correct earlier state." },
	{ 3153, 1, 16, "The database is already fully recovered." },
	{ 3154, 4, 16, "The backup set holds a backup of a database other than the existing '{d}' database." },
	{ 3155, 1, 16, "The RESTORE operation cannot proceed because one or more files have been added or dropped from the database since the backup "
	  "set was created." },
	{ 3159, 1, 16, "The tail of the log for the database \"{d}\" has not been backed up. Use BACKUP LOG WITH NORECOVERY to backup the log if it "
	  "contains work you do not want to lose. Use the WITH REPLACE or WITH STOPAT clause of the RESTORE statement to just overwrite the contents of "
	  "the log." },
	{ 3163, 1, 16, "The transaction log was damaged. All data files must be restored before RESTORE LOG can be attempted." },
	{ 3167, 1, 16, "RESTORE could not start database '{d}'." },
	{ 3178, 1, 16, "File {d} is not in the correct state to have this differential backup applied to it." },
	{ 3182, 2, 16, "The backup set cannot be restored because the database was damaged when the backup occurred. Salvage attempts may exploit WITH "
	  "CONTINUE_AFTER_ERROR." },
	{ 3183, 1, 16, "RESTORE detected an error on page (1:1) in database \"{d}\" as read from the backup set." },
	{ 3185, 1, 16, "RESTORE cannot apply this backup set because the database is suspect. Restore a backup set that repairs the damage." },
	{ 3189, 1, 16, "Damage to the backup set was detected." },
	{ 3201, 2, 16, "Cannot open backup device '{f}'. Operating system error 2(The system cannot find the file specified.)." },
	{ 3202, 1, 16, "Write on \"{f}\" failed: 112(There is not enough space on the disk.)" },
	{ 3203, 1, 16, "Read on \"{f}\" failed: 64(The specified network name is no longer available.)" },
	{ 3204, 1, 16, "The backup or restore was aborted." },
	{ 3241, 0, 16, "The media family on device '{f}' is incorrectly formed. SQL Server cannot process this media family." },
	{ 3242, 1, 16, "The file on device '{f}' is not a valid Microsoft Tape Format backup set." },
	{ 3254, 1, 16, "The volume on device '{f}' is empty." },
	{ 3256, 1, 16, "The backup set on device '{f}' was terminated while it was being created and is incomplete. RESTORE sequence is terminated "
	  "abnormally." },
	{ 3270, 1, 16, "An internal consistency error has occurred. This error is similar to an assert. Contact technical support for assistance." },
	{ 3271, 1, 16, "A nonrecoverable I/O error occurred on file \"{f}:\" 121(The semaphore timeout period has expired.)." },
	{ 3283, 1, 16, "The file \"{d}\" failed to initialize correctly. Examine the error logs for more details." },
	{ 4312, 1, 16, "This log cannot be restored because a gap in the log chain was created. Use more recent data backups to bridge the gap." },
	{ 4319, 3, 16, "A previous restore operation was interrupted and did not complete processing on file '{d}'. Either restore the backup set that "
	  "was interrupted or restart the restore sequence." },
	{ 4331, 1, 16, "The database cannot be recovered because the files have been restored to inconsistent points in time." },
	{ 4333, 1, 16, "The database cannot be recovered because the log was not restored." },
	{ 4347, 1, 16, "The current restore sequence was previously interrupted during the transition to the online state. RESTORE DATABASE WITH "
	  "RECOVERY can be used to complete the transition to online." },
	{ 9002, 4, 17, "The transaction log for database '{d}' is full due to 'ACTIVE_BACKUP_OR_RESTORE'." },
};

static void
fill_in(char *to, size_t size, const char *text, const char *database, const char *device, int session)
{
	size_t n = 0;
	char number[16];

	snprintf(number, sizeof(number), "%d", session);
	for (; *text != '\0' && n + 1 < size; text++) {
		const char *what = strncmp(text, "{d}", 3) == 0 ? database : strncmp(text, "{f}", 3) == 0 ? device
		                 : strncmp(text, "{s}", 3) == 0 ? number : NULL;

		if (what == NULL) {
			to[n++] = *text;
			continue;
		}
		n += (size_t)snprintf(to + n, size - n, "%s", what);
		n = n < size ? n : size - 1;
		text += 2;
	}
	to[n] = '\0';
}

void
say_ordered(const struct engine_out *out, long number, const char *database, const char *device, int percent)
{
	char text[1024];

	for (size_t i = 0; i < sizeof(catalogue) / sizeof(catalogue[0]); i++)
		if (catalogue[i].number == number) {
			fill_in(text, sizeof(text), catalogue[i].text, database == NULL ? "" : database, device == NULL ? "" : device, out->session_id);
			out->message(out->ctx, (int)number, catalogue[i].state, catalogue[i].class, text);
			return;
		}
	say(out, (int)number, 1, 16, "The stand-in was told to fail here, at %d percent.", percent);
}
