#include <stdio.h>
#include <string.h>

#include "common/ask_view.h"
#include "console/cli.h"

static void
print_running(const struct cli *c, json_t *list)
{
	json_t *r, *s;
	size_t i, k;

	json_array_foreach(list, i, r) {
		printf("  running  %s %s  %s (%s), %s s\n", cli_get(c, r, "migration"), cli_get(c, r, "run"), cli_get(c, r, "state"), cli_get(c, r, "class"),
		       cli_get(c, r, "since"));
		json_array_foreach(json_object_get(r, "steps"), k, s) {
			json_int_t rate = json_integer_value(json_object_get(s, "rate"));

			printf("           %s on %s: ", cli_get(c, s, "kind"), cli_get(c, s, "replica"));
			if (json_is_integer(json_object_get(s, "percent")))
				printf("%s %%, ", cli_get(c, s, "percent"));
			printf("%s s", cli_get(c, s, "since"));
			if (rate > 0)
				printf(", %.1f MB/s", (double)rate / 1e6);
			printf("\n");
		}
	}
}

static void
print_waiting(const struct cli *c, json_t *list)
{
	json_t *r;
	size_t i;

	json_array_foreach(list, i, r) {
		const char *priority = cli_get(c, r, "priority");
		bool usual = strcmp(priority, "normal") == 0;

		printf("  waiting  %s %s  place %s, %s%s%s, %s s: %s\n", cli_get(c, r, "migration"), cli_get(c, r, "run"), cli_get(c, r, "position"),
		       cli_get(c, r, "class"), usual ? "" : ", priority ", usual ? "" : priority, cli_get(c, r, "since"), cli_get(c, r, "why"));
		if (!usual)
			printf("           priority %s, %s\n", priority, cli_get(c, r, "priority_why"));
	}
}

static void
print_blocked(const struct cli *c, json_t *list)
{
	json_t *r;
	size_t i;

	json_array_foreach(list, i, r) {
		bool known = json_is_string(json_object_get(r, "waits_on"));

		printf("  blocked  %s %s  %s%s%s\n", cli_get(c, r, "migration"), cli_get(c, r, "run"), known ? cli_get(c, r, "waits_on") : "",
		       known ? "'s turn: " : "", cli_get(c, r, "why"));
	}
}

/* A long list is cut; how many there are is said. */
static void
print_rest(json_t *cluster, const char *list, const char *left_off)
{
	json_int_t n = json_integer_value(json_object_get(cluster, left_off));

	if (n > 0)
		printf("  … and %lld more %s (queue --limit)\n", (long long)n, list);
}

static void
print_cluster(const struct cli *c, json_t *k)
{
	printf("cluster %s: %s slots, %s used, %s free%s", cli_get(c, k, "name"), cli_get(c, k, "slots"), cli_get(c, k, "slots_used"),
	       cli_get(c, k, "slots_free"), json_integer_value(json_object_get(k, "slots_kept")) > 0 ? ", one of them kept for cutovers" : "");
	if (json_integer_value(json_object_get(k, "volume_slots")) > 0)
		printf("; full backups at once onto one volume: %s", cli_get(c, k, "volume_slots"));
	if (json_integer_value(json_object_get(k, "waiting_total")) > 0)
		printf("; %s wait, the longest for %s s", cli_get(c, k, "waiting_total"), cli_get(c, k, "oldest_wait_seconds"));
	printf("\n");
	print_running(c, json_object_get(k, "running"));
	print_waiting(c, json_object_get(k, "waiting"));
	print_rest(k, "waiting", "waiting_left_off");
	print_blocked(c, json_object_get(k, "blocked"));
	print_rest(k, "blocked", "blocked_left_off");
}

int
cmd_queue(struct cli *c)
{
	struct err err = { 0 };
	json_t *o, *k;
	size_t i;
	const char *limit = NULL;
	const struct cli_option options[] = { { "--limit", &limit, NULL } };
	int64_t shown = VIEW_QUEUE_SHOWN;
	int code = cli_take(c, options, 1, NULL, 0, 0);

	if (code == CLI_FINE && limit != NULL && !cli_limit(limit, &shown))
		code = cli_fail(c, CLI_USAGE, "--limit is a number from 1 to 1000000, not %s", limit);
	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE)
		return code;
	if ((o = view_queue(c->db, shown, &err)) == NULL)
		return cli_error(c, &err);
	if (c->json) {
		cli_json(o);
		return CLI_FINE;
	}
	json_array_foreach(json_object_get(o, "clusters"), i, k)
		print_cluster(c, k);
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
