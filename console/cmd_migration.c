#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/ask_admin.h"
#include "common/ask_plan.h"
#include "common/ask_view.h"
#include "common/clock.h"
#include "common/text.h"
#include "console/cli.h"
#include "console/intake.h"
#include "console/report.h"

enum { POLL_US = 200000, GAP_LOOKS = 5, GATE_LOOKS = 15 };

/* ---- create ------------------------------------------------------------------------------------------------ */

static int
create(struct cli *c, const struct intake *in, const char *encryption, bool no_uat)
{
	struct admin_migration m = { in->customer, in->region, in->cluster, in->database, encryption, NULL, !no_uat };
	struct err err = { 0 };
	const char *region, *id;
	json_t *intake;
	int code, version;
	bool found;
	char *text;

	if ((code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE)
		return code;
	if (!ask_cluster(c->db, c->mem, in->cluster, &found, &region, &version, &err))
		return cli_error(c, &err);
	if (!found)
		return cli_fail(c, CLI_NOT_FOUND, "there is no cluster %s (status shows them)", in->cluster);
	if (strcmp(region, in->region) != 0)
		return cli_fail(c, CLI_USAGE, "cluster %s is in region %s, not %s", in->cluster, region, in->region);
	if (!intake_check(in, version, &err))
		return cli_fail(c, err.kind == ERR_REFUSED ? CLI_NOT_READY : CLI_USAGE, "%s", err.text);
	intake = intake_json(in);
	text = json_dumps(intake, JSON_COMPACT);
	m.intake = text;
	json_decref(intake);
	found = ask_migration_create(c->db, c->mem, &m, &id, &err);
	free(text);
	if (!found)
		return cli_error(c, &err);
	if (c->json)
		cli_json(json_pack("{s:s}", "id", id));
	else
		printf("%s\nnext: landfall key add %s --file customer.pub\n", id, id);
	return CLI_FINE;
}

int
cmd_migration_create(struct cli *c)
{
	struct intake given = { 0 }, *in = &given;
	const char *from = NULL, *encryption = "refuse", *customer = NULL, *region = NULL, *cluster = NULL, *database = NULL, *size = NULL,
		*agent = NULL, *portal = NULL, *contact = NULL, *email = NULL, *source = NULL, *path = NULL;
	bool no_uat = false;
	const struct cli_option options[] = {
		{ "--from", &from, NULL }, { "--encryption", &encryption, NULL }, { "--no-uat", NULL, &no_uat }, { "--customer", &customer, NULL },
		{ "--region", &region, NULL }, { "--cluster", &cluster, NULL }, { "--database", &database, NULL }, { "--size", &size, NULL },
		{ "--agent-url", &agent, NULL }, { "--portal-url", &portal, NULL }, { "--contact", &contact, NULL }, { "--email", &email, NULL },
		{ "--source-version", &source, NULL }, { "--upgrade-path", &path, NULL },
	};
	struct { char **to; const char *text, *name; bool needed; } fields[12];
	struct err err = { 0 };
	int code = cli_take(c, options, sizeof(options) / sizeof(options[0]), NULL, 0, 0);

	if (code != CLI_FINE)
		return code;
	if (strcmp(encryption, "refuse") != 0 && strcmp(encryption, "allow") != 0)
		return cli_fail(c, CLI_USAGE, "--encryption is refuse or allow");
	if (from != NULL && (in = intake_load(c->mem, from, &err)) == NULL)
		return cli_fail(c, access(from, F_OK) != 0 ? CLI_NOT_FOUND : CLI_USAGE, "%s", err.text);
	memset(fields, 0, sizeof(fields));
#define FIELD(i, member, value, label, must) fields[i].to = &in->member, fields[i].text = value, fields[i].name = label, fields[i].needed = must
	FIELD(0, customer, customer, "customer", true);
	FIELD(1, region, region, "region", true);
	FIELD(2, cluster, cluster, "cluster", true);
	FIELD(3, database, database, "database", true);
	FIELD(4, size, size, "size", false);
	FIELD(5, agent_url, agent, "agent-url", false);
	FIELD(6, portal_url, portal, "portal-url", false);
	FIELD(7, contact_name, contact, "contact", false);
	FIELD(8, contact_email, email, "email", false);
	FIELD(9, source_version, source, "source-version", false);
	FIELD(10, upgrade_path, path, "upgrade-path", false);
	for (int i = 0; i < 11; i++) {
		if (fields[i].text != NULL)
			*fields[i].to = talloc_strdup(c->mem, fields[i].text);
		if (fields[i].needed && (*fields[i].to == NULL || (*fields[i].to)[0] == '\0'))
			return cli_fail(c, CLI_USAGE, "%s is missing (--%s, or in the intake file)", fields[i].name, fields[i].name);
	}
	return create(c, in, encryption, no_uat);
}

/* ---- looking -------------------------------------------------------------------------------------------------- */

static void
print_plan(const struct cli *c, json_t *r)
{
	json_t *x, *f;
	size_t i, k;

	json_array_foreach(json_object_get(r, "steps_todo"), i, x)
		json_array_foreach(json_object_get(x, "files"), k, f)
			printf("    to do      %s (%s)\n", cli_text(c, json_string_value(f)), cli_get(c, x, "type"));
	json_array_foreach(json_object_get(r, "gaps"), i, x)
		printf("    gap: %s\n", cli_get(c, x, "text"));
	if (json_is_string(json_object_get(r, "awaits")))
		printf("    waits for: %s\n", cli_get(c, r, "awaits"));
	json_array_foreach(json_object_get(r, "unused"), i, x)
		json_array_foreach(json_object_get(x, "files"), k, f)
			printf("    not used   %s: %s, %s\n", cli_text(c, json_string_value(f)), cli_get(c, x, "reason"), cli_get(c, x, "text"));
}

/* "1:05", whole seconds. */
static const char *
minutes(const struct cli *c, json_t *seconds)
{
	long s = json_is_number(seconds) ? (long)(json_number_value(seconds) + 0.5) : 0;

	return talloc_asprintf(c->mem, "%ld:%02ld", s / 60, s % 60);
}

static void
print_running(const struct cli *c, json_t *r)
{
	json_t *x, *low;
	size_t i;

	json_array_foreach(json_object_get(r, "running"), i, x) {
		printf("    running    %s on %s, %s", cli_get(c, x, json_is_string(json_object_get(x, "file")) ? "file" : "kind"), cli_get(c, x, "replica"),
		       cli_get(c, x, "phase"));
		if (json_is_integer(json_object_get(x, "percent")))
			printf(" (%s %% read)", cli_get(c, x, "percent"));
		printf(", for %s", minutes(c, json_object_get(x, "seconds")));
		low = json_object_get(x, "left_low");
		if (json_is_number(low))
			printf(", %s to %s left", minutes(c, low), minutes(c, json_object_get(x, "left_high")));
		putchar('\n');
	}
	x = json_object_get(r, "forecast");
	if (json_is_object(x))
		printf("    downtime if you cut over now: %s\n", cli_get(c, x, "text"));
}

static void
print_run(const struct cli *c, json_t *r)
{
	json_t *x;
	size_t i;

	printf("  %s: %s as %s%s%s\n", cli_get(c, r, "run"), cli_get(c, r, "state"), cli_get(c, r, "database"),
	       json_is_string(json_object_get(r, "waits_for")) ? ", waiting for: " : "",
	       json_is_string(json_object_get(r, "waits_for")) ? cli_get(c, r, "waits_for") : "");
	if (json_is_string(json_object_get(r, "hold")))
		printf("    on hold: %s\n", cli_get(c, r, "hold"));
	if (strcmp(json_string_value(json_object_get(r, "priority")), "normal") != 0)
		printf("    priority %s, %s\n", cli_get(c, r, "priority"), cli_get(c, r, "priority_why"));
	if (json_is_string(json_object_get(r, "stop_at")))
		printf("    ends at %s, the source's local time (%s): %s\n", cli_get(c, r, "stop_at"), cli_get(c, r, "stop_by"), cli_get(c, r, "stop_reason"));
	if (json_is_string(json_object_get(r, "backed_out")))
		printf("    backed out: %s (migration backout shows the run sheet again)\n", cli_get(c, r, "backed_out"));
	if (json_is_string(json_object_get(r, "drop_asked")))
		printf("    the copy is being thrown away (%s)\n", cli_get(c, r, "drop_asked"));
	if (json_integer_value(json_object_get(r, "chain")) > 1)
		printf("    try %s of the chain; the last copy: %s\n", cli_get(c, r, "chain"), cli_get(c, r, "drop_said"));
	if (json_is_string(json_object_get(r, "failure")))
		printf("    failed: %s (migration retry, when it is mended)\n", cli_get(c, r, "failure"));
	json_array_foreach(json_object_get(r, "replicas"), i, x)
		printf("    %-10s %-10s at %s%s\n", cli_get(c, x, "target"), cli_get(c, x, "state"), cli_get(c, x, "redo_start_lsn"),
		       i == 0 && json_array_size(json_object_get(r, "replicas")) > 1 ? ", the primary" : "");
	json_array_foreach(json_object_get(r, "preflight"), i, x)
		if (json_is_true(json_object_get(x, "blocks")))
			printf("    preflight  %s may not begin (migration preflight tells why)\n", cli_get(c, x, "replica"));
	json_array_foreach(json_object_get(r, "restored"), i, x)
		printf("    restored   %s\n", cli_text(c, json_string_value(x)));
	print_running(c, r);
	print_plan(c, r);
	json_array_foreach(json_object_get(r, "gates"), i, x)
		printf("    gate %-18s %s%s%s\n", cli_get(c, x, "name"), json_is_true(json_object_get(x, "open")) ? "open" : "closed",
		       json_is_string(json_object_get(x, "why")) ? ": " : "", json_is_string(json_object_get(x, "why")) ? cli_get(c, x, "why") : "");
	if (json_is_string(json_object_get(r, "verdict")))
		printf("    verdict: %s\n", cli_get(c, r, "verdict"));
}

static void
print_files(const struct cli *c, json_t *m)
{
	json_t *f, *word;
	size_t i, k;

	json_array_foreach(json_object_get(m, "files"), i, f) {
		printf("  %-10s %10s  %s", cli_get(c, f, "state"), text_size((uint64_t)json_integer_value(json_object_get(f, "bytes"))).s,
		       cli_get(c, f, "name"));
		json_array_foreach(json_object_get(f, "findings"), k, word)
			printf(" [%s]", cli_text(c, json_string_value(word)));
		if (json_is_string(json_object_get(f, "reason")))
			printf("  %s", cli_get(c, f, "reason"));
		putchar('\n');
	}
}

int
cmd_migration_show(struct cli *c)
{
	const char *id, *kind = NULL;
	const struct cli_option options[] = { { "--run", &kind, NULL } };
	int64_t run;
	json_t *m, *r;
	size_t i;
	int code = cli_take(c, options, 1, &id, 1, 1);

	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = cli_run(c, id, kind, &run)) != CLI_FINE ||
	    (m = cli_migration(c, id, &code)) == NULL)
		return code;
	if (kind != NULL)
		json_object_set_new(m, "runs", json_pack("[O]", cli_run_of(m, kind)));
	if (c->json) {
		cli_json(m);
		return CLI_FINE;
	}
	printf("%s  %s, database %s, cluster %s: %s\n", id, cli_get(c, m, "customer"), cli_get(c, m, "database"), cli_get(c, m, "cluster"),
	       cli_get(c, m, "stage"));
	json_array_foreach(json_object_get(m, "runs"), i, r)
		print_run(c, r);
	json_array_foreach(json_object_get(m, "second_person"), i, r)
		printf("  %s, asked by %s, waits for a second person: landfall migration confirm %s %s\n", cli_get(c, r, "kind"), cli_get(c, r, "asked_by"), id,
		       cli_get(c, r, "act"));
	print_files(c, m);
	if (json_array_size(json_object_get(m, "missing")) > 0) {
		printf("  missing in the intake:");
		json_array_foreach(json_object_get(m, "missing"), i, r)
			printf(" %s", json_string_value(r));
		putchar('\n');
	}
	json_decref(m);
	return CLI_FINE;
}

int
cmd_file_list(struct cli *c)
{
	const char *id;
	json_t *m;
	int code = cli_take(c, NULL, 0, &id, 1, 1);

	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (m = cli_migration(c, id, &code)) == NULL)
		return code;
	if (c->json)
		cli_json(json_incref(json_object_get(m, "files")));
	else
		print_files(c, m);
	json_decref(m);
	return CLI_FINE;
}

/* ---- asking for something ------------------------------------------------------------------------------------------ */

static int
act(struct cli *c, const char *id, const char *kind, const char *action, json_t *args, const char *next)
{
	const char *said = "";
	int code = cli_ask(c, id, kind, action, args, &said);

	return code == CLI_FINE ? cli_said(c, said, next) : code;
}

/* "landfall migration VERB M [--run KIND]": what comes next. */
static const char *
next_for(const struct cli *c, const char *verb, const char *id, const char *kind)
{
	bool usual = kind == NULL || strcmp(kind, "production") == 0;

	return talloc_asprintf(c->mem, "landfall migration %s %s%s%s", verb, id, usual ? "" : " --run ", usual ? "" : kind);
}

int
cmd_migration_hold(struct cli *c)
{
	const char *id, *kind = NULL, *reason = NULL;
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--reason", &reason, NULL } };
	int code = cli_take(c, options, 2, &id, 1, 1);

	if (code == CLI_FINE && reason == NULL)
		code = cli_fail(c, CLI_USAGE, "--reason is missing: whoever finds the hold at night will ask");
	return code != CLI_FINE ? code : act(c, id, kind, "hold", json_pack("{s:s}", "reason", reason), next_for(c, "release", id, kind));
}

int
cmd_migration_release(struct cli *c)
{
	const char *id, *kind = "production", *said = "";
	const struct cli_option options[] = { { "--run", &kind, NULL } };
	json_t *m, *r;
	size_t i;
	int code = cli_take(c, options, 1, &id, 1, 1);

	if (code != CLI_FINE || (code = cli_ask(c, id, kind, "release", json_object(), &said)) != CLI_FINE || (m = cli_migration(c, id, &code)) == NULL)
		return code;
	/* A hold without --run took both; who releases one is told of the other. */
	json_array_foreach(json_object_get(m, "runs"), i, r)
		if (json_is_string(json_object_get(r, "hold")))
			said = talloc_asprintf(c->mem, "%s; the %s run is still on hold: %s (migration release %s --run %s)", said,
			                       json_string_value(json_object_get(r, "run")), json_string_value(json_object_get(r, "hold")), id,
			                       json_string_value(json_object_get(r, "run")));
	json_decref(m);
	return cli_said(c, said, next_for(c, "plan", id, kind));
}

int
cmd_migration_retry(struct cli *c)
{
	const char *id, *kind = "production";
	const struct cli_option options[] = { { "--run", &kind, NULL } };
	int code = cli_take(c, options, 1, &id, 1, 1);

	return code != CLI_FINE ? code : act(c, id, kind, "retry", json_object(), next_for(c, "show", id, kind));
}

int
cmd_migration_clock(struct cli *c)
{
	const char *words[2];
	int code = cli_take(c, NULL, 0, words, 2, 2);

	if (code == CLI_FINE && strcmp(words[1], "start") != 0 && strcmp(words[1], "stop") != 0)
		code = cli_fail(c, CLI_USAGE, "the clock can be told start or stop, not %s", words[1]);
	return code != CLI_FINE ? code : act(c, words[0], "production", words[1][3] == 'r' ? "clock-start" : "clock-stop", json_object(), NULL);
}

int
cmd_migration_leave_out(struct cli *c)
{
	const char *id, *replica = NULL, *reason = NULL;
	const struct cli_option options[] = { { "--replica", &replica, NULL }, { "--reason", &reason, NULL } };
	int code = cli_take(c, options, 2, &id, 1, 1);

	if (code == CLI_FINE && (replica == NULL || reason == NULL))
		code = cli_fail(c, CLI_USAGE, "--replica and --reason are needed");
	return code != CLI_FINE ? code : act(c, id, "production", "leave-out", json_pack("{s:s,s:s}", "replica", replica, "reason", reason), NULL);
}

int
cmd_file_accept(struct cli *c)
{
	const char *words[2], *reason = NULL;
	const struct cli_option options[] = { { "--reason", &reason, NULL } };
	int code = cli_take(c, options, 1, words, 2, 2);

	if (code == CLI_FINE && reason == NULL)
		code = cli_fail(c, CLI_USAGE, "--reason is missing: it is a waiver of the proof that nothing was lost");
	return code != CLI_FINE ? code : act(c, words[0], NULL, "accept-as-tail", json_pack("{s:s,s:s}", "file", words[1], "reason", reason),
	                                                  next_for(c, "cutover", words[0], NULL));
}

/* ---- cutover and recover ------------------------------------------------------------------------------------------------ */

struct waiting { const char *id, *kind; long seconds; };

/* Every gate's reason in lines; NULL when all are open. */
static char *
closed_gates(const struct cli *c, json_t *run)
{
	char *why = NULL;
	json_t *g;
	size_t i;

	json_array_foreach(json_object_get(run, "gates"), i, g)
		if (!json_is_true(json_object_get(g, "open")))
			why = talloc_asprintf(c->mem, "%s%sgate %s: %s", why == NULL ? "" : why, why == NULL ? "" : "\n",
			                      json_string_value(json_object_get(g, "name")), json_string_value(json_object_get(g, "why")));
	return why;
}

/* What will not pass by waiting: a hold, a failure, a gap; every one that is there, in lines. */
static const char *
hopeless(const struct cli *c, json_t *run)
{
	const char *hold = json_string_value(json_object_get(run, "hold")), *failure = json_string_value(json_object_get(run, "failure"));
	char *why = NULL;
	json_t *gap;
	size_t i;

	if (hold != NULL)
		why = talloc_asprintf(c->mem, "on hold: %s (migration release)\n", hold);
	if (strcmp(json_string_value(json_object_get(run, "state")), "failed") == 0)
		why = talloc_asprintf(c->mem, "%sfailed: %s\n", why == NULL ? "" : why, failure == NULL ? "see migration show" : failure);
	json_array_foreach(json_object_get(run, "gaps"), i, gap)
		why = talloc_asprintf(c->mem, "%sgap: %s\n", why == NULL ? "" : why, json_string_value(json_object_get(gap, "text")));
	return why;
}

static bool
is_open(json_t *run, const char *name)
{
	json_t *g;
	size_t i;

	json_array_foreach(json_object_get(run, "gates"), i, g)
		if (strcmp(json_string_value(json_object_get(g, "name")), name) == 0)
			return json_is_true(json_object_get(g, "open"));
	return false;
}

/*
 * How many looks one after another must see the same before waiting is given up: 0 at once. A gap may have been
 * closed by a file that arrived this moment; a gate may be shut by a handle that is just being closed.
 */
static int
looks_needed(json_t *run)
{
	bool held = json_is_string(json_object_get(run, "hold")), failed = strcmp(json_string_value(json_object_get(run, "state")), "failed") == 0;

	if (held || failed)
		return 0;
	if (json_array_size(json_object_get(run, "gaps")) > 0)
		return json_is_true(json_object_get(run, "plan_is_current")) ? GAP_LOOKS : -1;
	return is_open(run, "chain-complete") && is_open(run, "replicas-at-tail") ? GATE_LOOKS : -1;
}

static void
show_progress(const struct cli *c, json_t *run, char **last)
{
	const char *waits = json_string_value(json_object_get(run, "waits_for"));
	char *now = talloc_asprintf(c->mem, "%s%s%s", json_string_value(json_object_get(run, "state")), waits == NULL ? "" : ", waiting for: ",
	                            waits == NULL ? "" : cli_text(c, waits));

	if (!c->json && (*last == NULL || strcmp(*last, now) != 0))
		fprintf(stderr, "%s\n", now);
	*last = now;
}

static int
wait_gates(struct cli *c, const struct waiting *w)
{
	int64_t until = steady_seconds() + w->seconds;
	char *last = NULL, *why = NULL;
	int code = CLI_FINE, looks = 0;

	for (;; usleep(POLL_US)) {
		json_t *m = cli_migration(c, w->id, &code), *run;
		const char *never;
		int needed;

		if (m == NULL)
			return code;
		run = cli_run_of(m, w->kind);
		show_progress(c, run, &last);
		why = closed_gates(c, run);
		never = hopeless(c, run);
		needed = looks_needed(run);
		looks = needed < 0 ? 0 : looks + 1;
		if (strstr("recovering online verified", json_string_value(json_object_get(run, "state"))) != NULL)
			why = NULL;
		json_decref(m);
		if (why == NULL)
			return CLI_FINE;
		if (needed >= 0 && looks > needed)
			return cli_fail(c, CLI_NOT_READY, "%s%s", never == NULL ? "" : never, why);
		if (steady_seconds() >= until)
			return cli_fail(c, CLI_TIMED_OUT, "not ready within %ld s:\n%s", w->seconds, why);
	}
}

static int
wait_online(struct cli *c, const struct waiting *w)
{
	int64_t until = steady_seconds() + w->seconds;
	char *last = NULL;
	int code = CLI_FINE;

	for (;; usleep(POLL_US)) {
		json_t *m = cli_migration(c, w->id, &code), *run;
		const char *state, *why;
		bool is_online, failed;

		if (m == NULL)
			return code;
		run = cli_run_of(m, w->kind);
		show_progress(c, run, &last);
		state = json_string_value(json_object_get(run, "state"));
		is_online = strcmp(state, "online") == 0 || strcmp(state, "verified") == 0;
		failed = strcmp(state, "failed") == 0;
		why = failed ? hopeless(c, run) : NULL;
		json_decref(m);
		if (is_online)
			return CLI_FINE;
		if (failed)
			return cli_fail(c, CLI_FAILED, "%s", why);
		if (steady_seconds() >= until)
			return cli_fail(c, CLI_TIMED_OUT, "not ONLINE within %ld s: %s", w->seconds, last);
	}
}

static int
recover(struct cli *c, const struct waiting *w, bool wait)
{
	const char *said = "";
	int64_t run;
	int code = cli_run(c, w->id, w->kind, &run);

	if (code == CLI_FINE)
		code = cli_act(c, w->id, run, "recover", json_object(), &said);
	if (code == CLI_FINE && wait)
		code = wait_online(c, w);
	return code != CLI_FINE ? code : cli_said(c, wait ? "the primary is ONLINE; verification starts by itself" : said, NULL);
}

/* The second act of one command has a key of its own, the same each time. */
static const char *
next_key(struct cli *c)
{
	char *key = c->once == NULL || c->once[0] == '\0' ? NULL : talloc_strdup(c->mem, c->once), *last;

	if (key != NULL) {
		last = key + strlen(key) - 1;
		*last = *last == 'f' || *last == 'F' ? '0' : *last == '9' ? 'a' : (char)(*last + 1);
	}
	return key;
}

int
cmd_migration_cutover(struct cli *c)
{
	const char *id, *kind = "production", *last = NULL, *timeout = "3600", *confirmed = NULL, *said = "";
	bool wait = false, then = false, yes = false;
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--last-file", &last, NULL }, { "--timeout", &timeout, NULL },
		{ "--confirm", &confirmed, NULL }, { "--wait", &timeout, &wait }, { "--then-recover", NULL, &then }, { "--yes", NULL, &yes } };
	struct waiting w;
	int64_t run;
	int code = cli_take(c, options, 7, &id, 1, 1);

	if (code == CLI_FINE && !cli_seconds(timeout, &w.seconds))
		code = cli_fail(c, CLI_USAGE, "the time limit is a number of seconds, or one with s, m or h");
	if (code == CLI_FINE && then)
		code = cli_confirm(c, id, yes, confirmed, "RECOVERY is the point of no return: no further backup can be restored");
	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = cli_run(c, id, kind, &run)) != CLI_FINE)
		return code;
	w.id = id;
	w.kind = kind;
	code = cli_act(c, id, run, "cutover", last == NULL ? json_object() : json_pack("{s:s}", "last_file", last), &said);
	if (code == CLI_FINE && (wait || then))
		code = wait_gates(c, &w);
	if (code != CLI_FINE)
		return code;
	c->once = next_key(c);
	return then ? recover(c, &w, true) : cli_said(c, wait ? "every gate is open; next: migration recover" : said, wait ? next_for(c, "recover", id, kind) : NULL);
}

int
cmd_migration_recover(struct cli *c)
{
	const char *id, *kind = "production", *timeout = "3600", *confirmed = NULL;
	bool wait = false, yes = false;
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--timeout", &timeout, NULL }, { "--confirm", &confirmed, NULL },
		{ "--wait", &timeout, &wait }, { "--yes", NULL, &yes } };
	struct waiting w;
	int code = cli_take(c, options, 5, &id, 1, 1);

	if (code == CLI_FINE && !cli_seconds(timeout, &w.seconds))
		code = cli_fail(c, CLI_USAGE, "the time limit is a number of seconds, or one with s, m or h");
	if (code == CLI_FINE)
		code = cli_confirm(c, id, yes, confirmed, "RECOVERY is the point of no return: no further backup can be restored");
	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE)
		return code;
	w.id = id;
	w.kind = kind;
	return recover(c, &w, wait);
}

/* ---- verification -------------------------------------------------------------------------------------------------------- */

static int
verdict_code(const char *verdict)
{
	return verdict == NULL ? CLI_NOT_READY : strncmp(verdict, "verified", 8) == 0 ? CLI_FINE : strcmp(verdict, "incomplete") == 0 ? CLI_NOT_READY
	                                                                                                                              : CLI_NOT_VERIFIED;
}

int
cmd_migration_verify(struct cli *c)
{
	const char *id, *kind = "production", *timeout = "600", *said = "";
	bool wait = false;
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--timeout", &timeout, NULL }, { "--wait", &timeout, &wait } };
	struct err err = { 0 };
	json_t *before, *now = NULL;
	bool has_verdict = false;
	long seconds;
	int64_t until;
	int64_t run;
	int code = cli_take(c, options, 3, &id, 1, 1);

	if (code == CLI_FINE && !cli_seconds(timeout, &seconds))
		code = cli_fail(c, CLI_USAGE, "the time limit is a number of seconds, or one with s, m or h");
	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = cli_run(c, id, kind, &run)) != CLI_FINE)
		return code;
	if ((before = view_report(c->db, id, kind, &err)) == NULL)
		return cli_error(c, &err);
	code = cli_act(c, id, run, "verify", json_object(), &said);
	until = steady_seconds() + seconds;
	while (code == CLI_FINE && wait) {
		usleep(POLL_US);
		json_decref(now);
		now = view_report(c->db, id, kind, &err);
		if (now == NULL)
			code = cli_error(c, &err);
		else if (!json_is_null(now) && !json_equal(now, before)) {
			said = talloc_strdup(c->mem, json_string_value(json_object_get(now, "verdict")));
			code = verdict_code(said);
			has_verdict = true;
			break;
		} else if (steady_seconds() >= until) {
			code = cli_fail(c, CLI_TIMED_OUT, "not verified within %ld s", seconds);
		}
	}
	json_decref(before);
	json_decref(now);
	if (code == CLI_FINE || has_verdict)
		cli_said(c, said, NULL);
	return code;
}

static void
print_report(const struct cli *c, json_t *o)
{
	json_t *k, *e;
	size_t i, j;

	printf("%s %s: %s\n", cli_get(c, o, "migration"), cli_get(c, o, "run"), cli_get(c, o, "verdict"));
	json_array_foreach(json_object_get(o, "checks"), i, k) {
		printf("  %-6s %-28s", cli_get(c, k, "result"), cli_get(c, k, "id"));
		if (strcmp(json_string_value(json_object_get(k, "result")), "pass") != 0)
			printf(" expected %s, observed %s", cli_get(c, k, "expected"), cli_get(c, k, "observed"));
		putchar('\n');
		json_array_foreach(json_object_get(k, "evidence"), j, e)
			printf("         %s\n", cli_text(c, json_string_value(e)));
	}
}

int
cmd_migration_report(struct cli *c)
{
	const char *id, *kind = "production", *format = "text";
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--format", &format, NULL } };
	struct err err = { 0 };
	int64_t run;
	json_t *o;
	int code = cli_take(c, options, 2, &id, 1, 1);

	if (code == CLI_FINE && strcmp(format, "text") != 0 && strcmp(format, "json") != 0 && strcmp(format, "html") != 0)
		code = cli_fail(c, CLI_USAGE, "--format is text, json or html");
	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = cli_run(c, id, kind, &run)) != CLI_FINE)
		return code;
	if ((o = view_report(c->db, id, kind, &err)) == NULL)
		return cli_error(c, &err);
	if (json_is_null(o)) {
		json_decref(o);
		return cli_fail(c, CLI_NOT_READY, "the %s run of %s has not been verified yet; it is after RECOVERY, by itself", kind, id);
	}
	if (strcmp(format, "html") == 0)
		fputs(report_html(c->mem, o), stdout);
	else if (c->json || strcmp(format, "json") == 0)
		cli_json(json_incref(o));
	else
		print_report(c, o);
	json_decref(o);
	return CLI_FINE;
}
