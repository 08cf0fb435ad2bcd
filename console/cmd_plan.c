#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "console/cli.h"
#include "console/dry.h"

/* With --detailed-exitcode: as terraform's plan has made it usual. */
enum { NOTHING_TO_DO = 0, NO_PLAN = 1, WORK_TO_DO = 2 };

static const char *
names(const struct cli *c, json_t *files)
{
	char *s = talloc_strdup(c->mem, "");
	json_t *f;
	size_t i;

	json_array_foreach(files, i, f)
		s = talloc_asprintf_append(s, "%s%s", i == 0 ? "" : ", ", cli_text(c, json_string_value(f)));
	return s;
}

static void
print_steps(const struct cli *c, json_t *o)
{
	json_t *x, *expected;
	size_t i;

	json_array_foreach(json_object_get(o, "steps"), i, x) {
		expected = json_object_get(x, "expected_seconds");
		printf("%4zu. %-12s %10s  %-9s %s%s%s\n", i + 1, cli_get(c, x, "type"), text_size((uint64_t)json_integer_value(json_object_get(x, "bytes"))).s,
		       json_is_real(expected) ? talloc_asprintf(c->mem, "~%.0f s", json_real_value(expected)) : "", names(c, json_object_get(x, "files")),
		       json_is_string(json_object_get(x, "stop_at")) ? ", stop at " : "", json_is_string(json_object_get(x, "stop_at")) ? cli_get(c, x, "stop_at") : "");
	}
	json_array_foreach(json_object_get(o, "gaps"), i, x)
		printf("gap: %s\n", cli_get(c, x, "text"));
	if (json_is_string(json_object_get(o, "awaits")))
		printf("waits for: %s\n", cli_get(c, o, "awaits"));
	json_array_foreach(json_object_get(o, "unused"), i, x)
		printf("not used: %s: %s, %s\n", names(c, json_object_get(x, "files")), cli_get(c, x, "reason"), cli_get(c, x, "text"));
}

/* One batch per statement. What a terminal must not be sent is escaped, and then it is not what would be sent to the server. */
static void
print_statement(const struct cli *c, const char *statement)
{
	const char *safe = cli_text(c, statement);

	if (strcmp(safe, statement) != 0)
		printf("-- a name in the next line is written with escapes here; --json has it as it is\n");
	printf("%s\nGO\n", safe);
}

static void
print_sql(const struct cli *c, json_t *o)
{
	json_t *r, *s, *recovery = json_object_get(o, "recovery");
	size_t i, k;

	json_array_foreach(json_object_get(o, "replicas"), i, r) {
		if (json_array_size(json_object_get(r, "statements")) == 0)
			continue;
		printf("-- on %s (%s)\n", cli_get(c, r, "target"), cli_get(c, r, "state"));
		json_array_foreach(json_object_get(r, "statements"), k, s)
			print_statement(c, json_string_value(s));
	}
	if (!json_is_object(recovery))
		return;
	printf("-- on %s, when the gates are open and a person says recover\n", cli_get(c, recovery, "replica"));
	print_statement(c, json_string_value(json_object_get(recovery, "statement")));
}

static void
print_replicas(const struct cli *c, json_t *o)
{
	json_t *r;
	size_t i;

	json_array_foreach(json_object_get(o, "replicas"), i, r)
		if (json_is_string(json_object_get(r, "left_out")))
			printf("%s: left out: %s\n", cli_get(c, r, "target"), cli_get(c, r, "left_out"));
		else
			printf("%s: %s at %s, %s steps, asked %s s ago\n", cli_get(c, r, "target"), cli_get(c, r, "state"), cli_get(c, r, "redo_start_lsn"),
			       cli_get(c, r, "steps"), cli_get(c, r, "asked_seconds_ago"));
}

static int
plan(struct cli *c, const char *id, const char *kind, bool sql, bool *nothing)
{
	struct err err = { 0 };
	int64_t run;
	json_t *o;
	int code;

	if ((code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = cli_run(c, id, kind, &run)) != CLI_FINE)
		return code;
	if ((o = dry_plan(c->db, c->config, id, run, sql, &err)) == NULL)
		return cli_error(c, &err);
	json_object_set_new(o, "run", json_string(kind));
	*nothing = json_is_true(json_object_get(o, "nothing_to_do"));
	if (c->json) {
		cli_json(o);
		return CLI_FINE;
	}
	printf("%s %s: %s%s%s\n", id, kind, cli_get(c, o, "state"), json_is_string(json_object_get(o, "hold")) ? ", on hold: " : "",
	       json_is_string(json_object_get(o, "hold")) ? cli_get(c, o, "hold") : "");
	if (json_is_string(json_object_get(o, "stop_at")))
		printf("ends at %s, the source's local time (%s): %s\n", cli_get(c, o, "stop_at"), cli_get(c, o, "stop_by"), cli_get(c, o, "stop_reason"));
	print_replicas(c, o);
	print_steps(c, o);
	if (json_array_size(json_object_get(o, "steps")) == 0)
		printf("%s\n", *nothing ? "nothing to do" : "nothing can be restored now");
	if (sql)
		print_sql(c, o);
	json_decref(o);
	return CLI_FINE;
}

static bool
is_given(const struct cli *c, const char *option)
{
	for (int i = 0; i < c->argc; i++)
		if (strcmp(c->argv[i], option) == 0)
			return true;
	return false;
}

int
cmd_migration_plan(struct cli *c)
{
	const char *id, *kind = "production";
	bool sql = false, detailed = is_given(c, "--detailed-exitcode"), nothing = false, taken = false;
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--sql", NULL, &sql }, { "--detailed-exitcode", NULL, &taken } };
	int code = cli_take(c, options, 3, &id, 1, 1);

	if (code == CLI_FINE)
		code = plan(c, id, kind, sql, &nothing);
	if (!detailed)
		return code;
	return code != CLI_FINE ? NO_PLAN : nothing ? NOTHING_TO_DO : WORK_TO_DO;
}
