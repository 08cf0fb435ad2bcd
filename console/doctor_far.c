#include "console/doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mssql.h"
#include "common/schema.h"

enum { SKEW_WARN_MS = 1000, SKEW_FAIL_MS = 10000, BEAT_SECONDS = 60, MAIL_WARN_SECONDS = 900, MAIL_FAIL_SECONDS = 3600, QUESTION_SECONDS = 15,
       TARGETS_MAX = 512 };

/* ---- Postgres ------------------------------------------------------------------------------------------------------ */

void
doctor_postgres(struct doctor *d)
{
	struct err err = { 0 };
	int newest = schema_newest(d->config->schema, &err), is = d->health.schema_version;

	if (!d->has_health && d->is_shut_out) {
		doctor_say(d, "", DOCTOR_WARN, "ask as root, or as somebody who may use the command line", "not checked: %s", d->db_err.text);
		return;
	}
	if (!d->has_health) {
		doctor_say(d, "", DOCTOR_FAIL, "uploads go on without it and wait in the receiver's journal; nothing is restored", "%s", d->db_err.text);
		return;
	}
	doctor_say(d, "", DOCTOR_OK, NULL, "%s:%d answers", d->config->postgres.host, d->config->postgres.port);
	if (newest == 0)
		doctor_say(d, "schema", DOCTOR_WARN, "the key schema names the folder of the schema files", "not checked: %s", err.text);
	else if (is != newest)
		doctor_say(d, "schema", DOCTOR_FAIL, is < newest ? "landfall db migrate" : "install the newer programs", "version %d, these programs need %d", is, newest);
	else
		doctor_say(d, "schema", DOCTOR_OK, NULL, "version %d", is);
}

void
doctor_clock(struct doctor *d)
{
	int64_t off = llabs(d->skew_ms);

	doctor_number(d, "clock_skew_seconds", (double)d->skew_ms / 1000);
	doctor_say(d, "Postgres", off >= SKEW_FAIL_MS ? DOCTOR_FAIL : off >= SKEW_WARN_MS ? DOCTOR_WARN : DOCTOR_OK,
	           off >= SKEW_WARN_MS ? "let NTP set both: keys expire and leases end by these clocks" : NULL, "%+.3f s", (double)d->skew_ms / 1000);
}

static void
look_at_beat(struct doctor *d, const char *program, int64_t seconds)
{
	if (seconds < 0)
		doctor_say(d, program, DOCTOR_FAIL, "start it", "none has ever run");
	else
		doctor_say(d, program, seconds > BEAT_SECONDS ? DOCTOR_FAIL : DOCTOR_OK, seconds > BEAT_SECONDS ? "is it running? its log says why not" : NULL,
		           "last sign of life %" PRId64 " s ago", seconds);
}

void
doctor_workers(struct doctor *d)
{
	look_at_beat(d, "landfall-restore", d->health.restore_beat);
	look_at_beat(d, "landfall-verify", d->health.verify_beat);
}

void
doctor_mail(struct doctor *d)
{
	const struct health *h = &d->health;
	int64_t oldest = h->mail_oldest_seconds;
	enum doctor_level level = oldest > MAIL_FAIL_SECONDS ? DOCTOR_FAIL : oldest > MAIL_WARN_SECONDS || h->mails_given_up > 0 ? DOCTOR_WARN : DOCTOR_OK;

	doctor_number(d, "mails_waiting", h->mails_waiting);
	if (h->mails_waiting + h->mails_given_up == 0)
		doctor_say(d, "", DOCTOR_OK, NULL, "none waits");
	else
		doctor_say(d, "", level, level == DOCTOR_OK ? NULL : "landfall notify list says what the relay said; landfall notify retry ID sends one again",
		           "%d wait, the oldest for %" PRId64 " s; %d given up since yesterday", h->mails_waiting, oldest, h->mails_given_up);
}

/* ---- SQL Servers ------------------------------------------------------------------------------------------------------ */

static const char *
first(const struct mssql_rows *rows, const char *column)
{
	const char *value = rows == NULL || mssql_rows_count(rows) == 0 ? NULL : mssql_rows_value(rows, 0, mssql_rows_column(rows, column));

	return value == NULL ? "" : value;
}

/* May the log-in restore? sysadmin, or dbcreator that sees what others run (the steps look before and after). */
static bool
has_rights(struct doctor *d, struct mssql *ms, bool *sysadmin, struct err *err)
{
	struct mssql_rows *rows = NULL;

	if (!mssql_run(ms, d->mem, "SELECT IS_SRVROLEMEMBER(N'sysadmin') AS sysadmin, IS_SRVROLEMEMBER(N'dbcreator') AS dbcreator", &rows, NULL, NULL, NULL, err))
		return false;
	*sysadmin = strcmp(first(rows, "sysadmin"), "1") == 0;
	if (*sysadmin)
		return true;
	if (strcmp(first(rows, "dbcreator"), "1") != 0)
		return err_set(err, ERR_OPERATOR, 0, "it is neither sysadmin nor dbcreator");
	if (!mssql_run(ms, d->mem, "SELECT HAS_PERMS_BY_NAME(NULL, NULL, N'VIEW SERVER STATE') AS sees", &rows, NULL, NULL, NULL, err))
		return false;
	return strcmp(first(rows, "sees"), "1") == 0 ? true : err_set(err, ERR_OPERATOR, 0, "it is dbcreator without VIEW SERVER STATE");
}

static void
look_at_server(struct doctor *d, const struct mssql_target *t)
{
	struct err err = { 0 };
	struct mssql_rows *rows = NULL;
	struct mssql *ms;
	bool sysadmin;

	if (access(t->password_file, R_OK) != 0 && errno == EACCES) {
		doctor_say(d, t->name, DOCTOR_WARN, "ask as root, or as the restore worker's user", "not checked: %s is closed to you", t->password_file);
		return;
	}
	ms = mssql_open(d->mem, t, "landfall-doctor", NULL, &err);
	if (ms != NULL)
		mssql_limit(ms, QUESTION_SECONDS);
	if (ms == NULL || !mssql_run(ms, d->mem, "SELECT SERVERPROPERTY('ProductVersion') AS version", &rows, NULL, NULL, NULL, &err))
		doctor_say(d, t->name, DOCTOR_FAIL, "is it up, does it take that log-in, and is its certificate of that host and by ca_file?", "%s:%d: %s", t->host, t->port,
		           err.text);
	else if (!has_rights(d, ms, &sysadmin, &err))
		doctor_say(d, t->name, DOCTOR_FAIL, "ALTER SERVER ROLE dbcreator ADD MEMBER it, and GRANT VIEW SERVER STATE to it", "log-in %s may not restore: %s", t->login,
		           err.text);
	else
		doctor_say(d, t->name, DOCTOR_OK, NULL, "%s:%d over TLS, version %s, %s is %s", t->host, t->port, first(rows, "version"), t->login,
		           sysadmin ? "sysadmin" : "dbcreator and sees what runs");
	talloc_free(ms);
}

static size_t
list_servers(const struct config *c, struct mssql_target targets[TARGETS_MAX])
{
	size_t n = 0;

	for (unsigned i = 0; i < c->n_clusters; i++)
		for (unsigned k = 0; k < c->clusters[i].n_targets && n < TARGETS_MAX; k++) {
			const struct config_cluster *cl = &c->clusters[i];

			targets[n++] = (struct mssql_target){ .name = cl->targets[k].name, .host = cl->targets[k].host, .port = cl->targets[k].port,
				.ca_file = cl->ca_file, .login = cl->login, .password_file = cl->password_file };
		}
	return n;
}

void
doctor_clusters(struct doctor *d)
{
	struct mssql_target *targets = talloc_array(d->mem, struct mssql_target, TARGETS_MAX);
	size_t n = list_servers(d->config, targets);
	char folder[] = "/tmp/landfall-doctor-XXXXXX";
	struct err err = { 0 };

	if (n == 0)
		doctor_say(d, "", DOCTOR_WARN, "the key clusters names where is restored to", "there is none in the configuration");
	if (n == 0 || mkdtemp(folder) == NULL)
		return;
	if (!mssql_setup(folder, targets, n, &err))
		doctor_say(d, "", DOCTOR_WARN, NULL, "not checked: %s", err.text);
	for (size_t i = 0; i < n && err.kind == ERR_NONE; i++)
		look_at_server(d, &targets[i]);
	unlink(talloc_asprintf(d->mem, "%s/freetds.conf", folder));
	rmdir(folder);
}
