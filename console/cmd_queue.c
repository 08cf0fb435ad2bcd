#include <stdio.h>

#include "common/ask_view.h"
#include "console/cli.h"

static void
print_runs(const struct cli *c, const char *title, json_t *list, const char *why)
{
	json_t *r, *s;
	size_t i, k;

	json_array_foreach(list, i, r) {
		printf("  %-8s %s %s  %s\n", title, cli_get(c, r, "migration"), cli_get(c, r, "run"), why == NULL ? cli_get(c, r, "state") : cli_get(c, r, why));
		json_array_foreach(json_object_get(r, "steps"), k, s)
			printf("           %s on %s: %s %%, %s s\n", cli_get(c, s, "kind"), cli_get(c, s, "replica"), cli_get(c, s, "percent"),
			       cli_get(c, s, "since"));
	}
}

int
cmd_queue(struct cli *c)
{
	struct err err = { 0 };
	json_t *o, *k;
	size_t i;
	int code = cli_take(c, NULL, 0, NULL, 0, 0);

	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE)
		return code;
	if ((o = view_queue(c->db, &err)) == NULL)
		return cli_error(c, &err);
	if (c->json) {
		cli_json(o);
		return CLI_FINE;
	}
	json_array_foreach(json_object_get(o, "clusters"), i, k) {
		printf("cluster %s, %s slots\n", cli_get(c, k, "name"), cli_get(c, k, "slots"));
		print_runs(c, "running", json_object_get(k, "running"), NULL);
		print_runs(c, "waiting", json_object_get(k, "waiting"), "why");
		print_runs(c, "blocked", json_object_get(k, "blocked"), "why");
	}
	json_decref(o);
	return CLI_FINE;
}

int
cmd_status(struct cli *c)
{
	struct err err = { 0 };
	json_t *o, *k, *r;
	size_t i, j;
	int code = cli_take(c, NULL, 0, NULL, 0, 0);

	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE)
		return code;
	if ((o = view_status(c->db, &err)) == NULL)
		return cli_error(c, &err);
	if (c->json) {
		cli_json(o);
		return CLI_FINE;
	}
	printf("Postgres answers, schema version %s\n", cli_get(c, o, "schema_version"));
	json_array_foreach(json_object_get(o, "workers"), i, k)
		printf("%s on %s (pid %s), last sign of life %s s ago\n", cli_get(c, k, "program"), cli_get(c, k, "host"), cli_get(c, k, "pid"),
		       cli_get(c, k, "beat_seconds_ago"));
	json_array_foreach(json_object_get(o, "clusters"), i, k) {
		printf("cluster %s (%s)\n", cli_get(c, k, "name"), cli_get(c, k, "region"));
		json_array_foreach(json_object_get(k, "replicas"), j, r)
			printf("  %-12s %-8s %s %s\n", cli_get(c, r, "name"), cli_get(c, r, "state"), cli_get(c, r, "server_version"), cli_get(c, r, "said"));
	}
	json_decref(o);
	return CLI_FINE;
}
