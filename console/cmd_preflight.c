#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "console/cli.h"

/* What the target's servers say before anything is restored. */

enum { POLL_US = 200000 };

static void
print_preflight(const struct cli *c, json_t *m, json_t *r)
{
	json_t *x, *f;
	size_t i, k;

	json_array_foreach(json_object_get(r, "preflight"), i, x) {
		json_t *list = json_object_get(x, "findings");

		printf("%s, asked %lld s ago: %s\n", cli_get(c, x, "replica"), (long long)json_integer_value(json_object_get(x, "age_seconds")),
		       json_is_true(json_object_get(x, "blocks")) ? "may not begin" : json_array_size(list) > 0 ? "may begin" : "nothing found");
		json_array_foreach(list, k, f)
			printf("  %-6s %-9s %s: %s\n", cli_get(c, f, "severity"), cli_get(c, f, "who"), cli_get(c, f, "id"), cli_get(c, f, "text"));
	}
	json_array_foreach(json_object_get(m, "differences"), i, x)
		printf("%s as %s reads it (%s): %s\n", cli_get(c, x, "file"), cli_get(c, x, "replica"), cli_get(c, x, "state"), cli_get(c, x, "said"));
}

/* Until a worker has asked them; what it waits for meanwhile is said when the time is over. */
static int
ask_anew(struct cli *c, const char *id, const char *kind, int64_t run, long seconds)
{
	int64_t until = steady_seconds() + seconds;
	const char *said;
	int code = cli_act(c, id, run, "preflight", json_object(), &said);

	for (; code == CLI_FINE; usleep(POLL_US)) {
		json_t *m = cli_migration(c, id, &code), *r;
		const char *waits;
		bool wanted, runs;

		if (m == NULL)
			return code;
		r = cli_run_of(m, kind);
		wanted = json_is_true(json_object_get(r, "preflight_wanted"));
		runs = json_array_size(json_object_get(r, "running")) > 0;
		waits = talloc_strdup(c->mem, cli_get(c, r, "waits_for"));
		json_decref(m);
		if (!wanted)
			return CLI_FINE;
		if (steady_seconds() >= until)
			return cli_fail(c, CLI_TIMED_OUT, "not asked within %ld s; it is done as soon as it can be: %s%s", seconds,
			                runs ? "a statement is running" : "the run waits for: ", runs ? "" : waits);
	}
	return code;
}

static int
show_preflight(struct cli *c, const char *id, const char *kind)
{
	json_t *m, *r, *x;
	bool blocks;
	size_t i;
	int code;

	if ((m = cli_migration(c, id, &code)) == NULL)
		return code;
	r = cli_run_of(m, kind);
	blocks = json_array_size(json_object_get(r, "preflight")) == 0;
	if (c->json)
		cli_json(json_pack("{s:O,s:O,s:O}", "preflight", json_object_get(r, "preflight"), "compared", json_object_get(m, "compared"), "differences",
			json_object_get(m, "differences")));
	else if (blocks)
		printf("nothing was asked yet: no backup's header is known\n");
	else
		print_preflight(c, m, r);
	json_array_foreach(json_object_get(r, "preflight"), i, x)
		blocks = blocks || json_is_true(json_object_get(x, "blocks"));
	json_decref(m);
	return blocks ? CLI_NOT_READY : CLI_FINE;
}

int
cmd_migration_preflight(struct cli *c)
{
	const char *id, *kind = "production", *timeout = "60";
	bool now = false;
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--timeout", &timeout, NULL }, { "--now", &timeout, &now } };
	long seconds;
	int64_t run;
	int code = cli_take(c, options, 3, &id, 1, 1);

	if (code == CLI_FINE && !cli_seconds(timeout, &seconds))
		code = cli_fail(c, CLI_USAGE, "the time limit is a number of seconds, or one with s, m or h");
	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = cli_run(c, id, kind, &run)) != CLI_FINE)
		return code;
	if (now)
		code = ask_anew(c, id, kind, run, seconds);
	return code != CLI_FINE ? code : show_preflight(c, id, kind);
}
