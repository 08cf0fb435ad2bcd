#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ask_plan.h"
#include "common/clock.h"
#include "common/source_time.h"
#include "common/text.h"
#include "console/cli.h"
#include "console/dry.h"

/* What stops a run, goes back, or begins again. */

enum { POLL_US = 200000, DROP_SECONDS = 30 };

/* ---- skip ------------------------------------------------------------------------------------------------ */

static int
plan_act(struct cli *c, const char *id, const char *action, json_t *args)
{
	const char *said = "";
	int code = cli_ask(c, id, NULL, action, args, &said);

	return code != CLI_FINE ? code : cli_said(c, said, talloc_asprintf(c->mem, "landfall migration plan %s", id));
}

int
cmd_migration_skip(struct cli *c)
{
	const char *words[2], *reason = NULL;
	const struct cli_option options[] = { { "--reason", &reason, NULL } };
	int code = cli_take(c, options, 1, words, 2, 2);

	if (code == CLI_FINE && (reason == NULL || reason[0] == '\0'))
		code = cli_fail(c, CLI_USAGE, "--reason is missing: the customer sent this backup to be restored");
	return code != CLI_FINE ? code : plan_act(c, words[0], "skip", json_pack("{s:s,s:s}", "file", words[1], "reason", reason));
}

int
cmd_migration_unskip(struct cli *c)
{
	const char *words[2];
	int code = cli_take(c, NULL, 0, words, 2, 2);

	return code != CLI_FINE ? code : plan_act(c, words[0], "unskip", json_pack("{s:s}", "file", words[1]));
}

/* ---- an end at a point in time ------------------------------------------------------------------------------- */

/* A time that is none, or whose zone says nothing as the backups do not name theirs, is said before anybody is asked. */
static int
check_time(struct cli *c, const char *id, const char *time)
{
	struct source_point point;
	struct bak_date local;
	struct err err = { 0 };
	struct chain *chain;
	struct guid family;
	int code;

	if (!source_point_parse(time, &point, &err))
		return cli_fail(c, CLI_USAGE, "%s", err.text);
	if (!point.has_zone || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE)
		return point.has_zone ? code : CLI_FINE;
	if ((chain = ask_chain(c->db, c->mem, id, &err)) == NULL || !ask_family(c->db, id, chain, &family, &err))
		return cli_error(c, &err);
	return source_point_local(&point, chain->sets, chain->n, family, &local, &err) ? CLI_FINE : cli_fail(c, CLI_USAGE, "%s", err.text);
}

int
cmd_migration_stop_at(struct cli *c)
{
	const char *words[2] = { NULL, NULL }, *kind = "production", *reason = NULL, *said = "";
	bool clear = false;
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--reason", &reason, NULL }, { "--clear", NULL, &clear } };
	int code = cli_take(c, options, 3, words, 1, 2);

	if (code == CLI_FINE && clear == (words[1] != NULL))
		code = cli_fail(c, CLI_USAGE, clear ? "--clear takes no time" : "the time is missing, such as 2026-11-23T05:16:00 in the source's local time");
	if (code == CLI_FINE && !clear && (reason == NULL || reason[0] == '\0'))
		code = cli_fail(c, CLI_USAGE, "--reason is missing: what the source did after that time is left behind");
	if (code == CLI_FINE && !clear)
		code = check_time(c, words[0], words[1]);
	if (code == CLI_FINE)
		code = cli_ask(c, words[0], kind, "stop-at", clear ? json_pack("{s:b}", "clear", true)
		                                                  : json_pack("{s:s,s:s}", "time", words[1], "reason", reason), &said);
	return code != CLI_FINE ? code : cli_said(c, said, talloc_asprintf(c->mem, "landfall migration plan %s%s", words[0],
		strcmp(kind, "production") == 0 ? "" : " --run uat"));
}

/* ---- cancel, drop, restart ---------------------------------------------------------------------------------- */

int
cmd_migration_cancel(struct cli *c)
{
	const char *id, *kind = "production", *reason = NULL, *said = "";
	bool now = false;
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--reason", &reason, NULL }, { "--now", NULL, &now } };
	int code = cli_take(c, options, 3, &id, 1, 1);

	if (code == CLI_FINE && (reason == NULL || reason[0] == '\0'))
		code = cli_fail(c, CLI_USAGE, "--reason is missing: whoever finds the run stopped will ask");
	if (code == CLI_FINE)
		code = cli_ask(c, id, kind, "cancel", json_pack("{s:s,s:b}", "reason", reason, "now", now), &said);
	return code != CLI_FINE ? code
	                        : cli_said(c, said, talloc_asprintf(c->mem, "landfall migration release %s --run %s (or drop, to throw the copy away)", id, kind));
}

/* Asked again under the same key, it was thrown away before. */
static bool
is_gone(json_t *run)
{
	json_t *replica;
	size_t i;

	json_array_foreach(json_object_get(run, "replicas"), i, replica)
		if (strcmp(json_string_value(json_object_get(replica, "state")), "absent") != 0)
			return false;
	return !json_is_string(json_object_get(run, "drop_asked"));
}

/* What became of the copy: its run counts one try of the chain more when it is gone. */
static int
wait_dropped(struct cli *c, const char *id, const char *kind, int64_t chain)
{
	int64_t until = steady_seconds() + DROP_SECONDS;
	int code = CLI_FINE;

	for (;; usleep(POLL_US)) {
		json_t *m = cli_migration(c, id, &code), *run;
		const char *said, *waits;
		bool gone, asked;

		if (m == NULL)
			return code;
		run = cli_run_of(m, kind);
		gone = json_integer_value(json_object_get(run, "chain")) > chain || is_gone(run);
		asked = json_is_string(json_object_get(run, "drop_asked"));
		said = talloc_strdup(c->mem, cli_get(c, run, "drop_said"));
		waits = talloc_strdup(c->mem, cli_get(c, run, "waits_for"));
		json_decref(m);
		if (gone)
			return CLI_FINE;
		if (!asked)
			return cli_fail(c, CLI_FAILED, "it was not thrown away: %s", said);
		if (steady_seconds() >= until)
			return cli_fail(c, CLI_TIMED_OUT, "it is asked and goes on by itself; it waits for: %s", waits);
	}
}

int
cmd_migration_drop(struct cli *c)
{
	const char *id, *kind = NULL, *confirmed = NULL, *said = "";
	bool yes = false;
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--confirm", &confirmed, NULL }, { "--yes", NULL, &yes } };
	int64_t run, chain;
	char *database;
	json_t *m, *r;
	int code = cli_take(c, options, 3, &id, 1, 1);

	if (code == CLI_FINE && kind == NULL)
		code = cli_fail(c, CLI_USAGE, "--run is missing: uat or production");
	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = cli_run(c, id, kind, &run)) != CLI_FINE ||
	    (m = cli_migration(c, id, &code)) == NULL)
		return code;
	r = cli_run_of(m, kind);
	database = talloc_strdup(c->mem, json_string_value(json_object_get(r, "database")));
	chain = json_integer_value(json_object_get(r, "chain"));
	json_decref(m);
	code = cli_confirm(c, database, yes, confirmed, talloc_asprintf(c->mem, "%s is thrown away on every replica and cannot be had back", database));
	if (code == CLI_FINE)
		code = cli_act(c, id, run, "drop", json_pack("{s:s}", "confirm", database), &said);
	if (code == CLI_FINE)
		code = wait_dropped(c, id, kind, chain);
	if (code != CLI_FINE)
		return code;
	said = talloc_asprintf(c->mem, "%s is gone from every replica; the run waits, and stays stopped", database);
	return cli_said(c, said, talloc_asprintf(c->mem, "landfall migration release %s --run %s begins the chain again", id, kind));
}

/* "1.2 GiB in 14 backups are read again, about 0.4 hours as this cluster restored so far" */
static char *
cost_text(const struct cli *c, json_t *cost)
{
	json_t *seconds = json_object_get(cost, "seconds");
	int64_t n = json_integer_value(json_object_get(cost, "steps"));
	const char *time = json_is_real(seconds) ? talloc_asprintf(c->mem, "about %.2f hours as this cluster restored so far", json_real_value(seconds) / 3600)
	                                         : "how long is unknown: nothing was measured on this cluster yet";

	if (n == 0)
		return talloc_strdup(c->mem, "the copy is thrown away, and there is no full backup here to begin from again: it will wait for one");
	return talloc_asprintf(c->mem, "the copy is thrown away; %s in %lld backups, from %s on, are restored again, %s",
		text_size((uint64_t)json_integer_value(json_object_get(cost, "bytes"))).s, (long long)n, json_string_value(json_object_get(cost, "from")), time);
}

int
cmd_migration_restart(struct cli *c)
{
	const char *id, *kind = "production", *confirmed = NULL, *said = "";
	bool yes = false, now = false;
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--confirm", &confirmed, NULL }, { "--yes", NULL, &yes }, { "--now", NULL, &now } };
	struct err err = { 0 };
	int64_t run;
	json_t *cost;
	char *text;
	int code = cli_take(c, options, 4, &id, 1, 1);

	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = cli_run(c, id, kind, &run)) != CLI_FINE)
		return code;
	if ((cost = dry_restart(c->db, id, run, &err)) == NULL)
		return cli_error(c, &err);
	text = cost_text(c, cost);
	code = cli_confirm(c, id, yes, confirmed, text);
	if (code == CLI_FINE && !c->json)
		fprintf(stderr, "%s\n", cli_text(c, text));
	if (code == CLI_FINE)
		code = cli_act(c, id, run, "restart", json_pack("{s:b}", "now", now), &said);
	if (code == CLI_FINE && c->json)
		cli_json(json_pack("{s:s,s:O,s:s}", "said", said, "cost", cost, "next", talloc_asprintf(c->mem, "landfall migration show %s", id)));
	else if (code == CLI_FINE)
		cli_said(c, said, talloc_asprintf(c->mem, "landfall migration show %s", id));
	json_decref(cost);
	return code;
}

/* ---- backout -------------------------------------------------------------------------------------------------- */

static void
print_list(const struct cli *c, const char *head, json_t *list)
{
	json_t *x;
	size_t i;

	if (json_array_size(list) > 0)
		printf("%s\n", head);
	json_array_foreach(list, i, x)
		printf("  - %s\n", cli_text(c, json_string_value(x)));
}

static void
print_sheet(const struct cli *c, json_t *sheet)
{
	json_t *x;
	size_t i;

	if (json_is_string(json_object_get(sheet, "lost")))
		printf("%s\n", cli_get(c, sheet, "lost"));
	printf("At the source, in this order:\n");
	json_array_foreach(json_object_get(sheet, "source"), i, x) {
		printf("%3s. %s\n", cli_get(c, x, "step"), cli_get(c, x, "what"));
		if (json_is_string(json_object_get(x, "statement")))
			printf("       on %s: %s\n", json_is_string(json_object_get(x, "server")) ? cli_get(c, x, "server") : "the source server",
			       cli_get(c, x, "statement"));
	}
	print_list(c, "The hosted copy:", json_object_get(sheet, "copy"));
	print_list(c, "Later:", json_object_get(sheet, "later"));
	print_list(c, "Came after the tail, and is not restored:", json_object_get(sheet, "after_tail"));
}

int
cmd_migration_backout(struct cli *c)
{
	const char *id, *reason = NULL, *said = "";
	const struct cli_option options[] = { { "--reason", &reason, NULL } };
	json_t *m, *sheet;
	int code = cli_take(c, options, 1, &id, 1, 1);

	if (code == CLI_FINE && (reason == NULL || reason[0] == '\0'))
		code = cli_fail(c, CLI_USAGE, "--reason is missing: it is written down for the customer's next attempt");
	if (code != CLI_FINE || (code = cli_ask(c, id, "production", "backout", json_pack("{s:s}", "reason", reason), &said)) != CLI_FINE ||
	    (m = cli_migration(c, id, &code)) == NULL)
		return code;
	sheet = json_object_get(cli_run_of(m, "production"), "run_sheet");
	if (c->json) {
		cli_json(json_pack("{s:s,s:O}", "said", said, "run_sheet", sheet));
	} else {
		printf("%s\n", cli_text(c, said));
		print_sheet(c, sheet);
	}
	json_decref(m);
	return CLI_FINE;
}

/* ---- a second person ---------------------------------------------------------------------------------------------- */

int
cmd_migration_confirm(struct cli *c)
{
	const char *words[2], *said = "";
	char *end;
	long long action;
	int code = cli_take(c, NULL, 0, words, 2, 2);

	if (code != CLI_FINE)
		return code;
	action = strtoll(words[1], &end, 10);
	if (end == words[1] || *end != '\0' || action <= 0)
		return cli_fail(c, CLI_USAGE, "the act's number is missing (migration show says what waits)");
	code = cli_ask(c, words[0], NULL, "confirm", json_pack("{s:I}", "action", (json_int_t)action), &said);
	return code != CLI_FINE ? code : cli_said(c, said, talloc_asprintf(c->mem, "landfall migration show %s", words[0]));
}
