#include <stdio.h>
#include <string.h>

#include "common/ask_view.h"
#include "console/cli.h"

/* All migrations, or some of them. */

/* What a terminal gets at a time; JSON is for programs, which want all unless they say how many. */
enum { PAGE = 200 };

static bool
is_stage(const char *word)
{
	static const char *const stages[] = { "waiting", "receiving", "restoring", "ready", "cutover", "recovering", "online", "verified", "failed" };

	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
		if (strcmp(stages[i], word) == 0)
			return true;
	return false;
}

static void
print_list(const struct cli *c, json_t *list, int64_t more)
{
	json_t *m = NULL;
	size_t i;

	printf("%-8s %-20s %-20s %-8s %-11s %s\n", "ID", "CUSTOMER", "DATABASE", "CLUSTER", "STAGE", "WAITS FOR");
	json_array_foreach(list, i, m)
		printf("%-8s %-20s %-20s %-8s %-11s %s\n", cli_get(c, m, "id"), cli_get(c, m, "customer"), cli_get(c, m, "database"),
		       cli_get(c, m, "cluster"), cli_get(c, m, "stage"), json_is_string(json_object_get(m, "hold")) ? cli_get(c, m, "hold")
		       : cli_get(c, m, "waits_for"));
	m = json_array_get(list, json_array_size(list) - 1);
	if (more > 0 && m != NULL)
		printf("%lld more, use --after %s or --limit\n", (long long)more, cli_get(c, m, "id"));
}

int
cmd_migration_list(struct cli *c)
{
	struct view_filter f = { 0 };
	const char *limit = NULL;
	const struct cli_option options[] = { { "--stage", &f.stage, NULL }, { "--region", &f.region, NULL }, { "--customer", &f.customer, NULL },
		{ "--after", &f.after, NULL }, { "--limit", &limit, NULL } };
	struct err err = { 0 };
	int64_t more = 0;
	json_t *list;
	int code = cli_take(c, options, sizeof(options) / sizeof(options[0]), NULL, 0, 0);

	f.limit = c->json ? 0 : PAGE;
	if (code == CLI_FINE && limit != NULL && !cli_limit(limit, &f.limit))
		code = cli_fail(c, CLI_USAGE, "--limit is a number from 1 to 1000000, not %s", limit);
	if (code == CLI_FINE && f.stage != NULL && !is_stage(f.stage))
		code = cli_fail(c, CLI_USAGE, "there is no stage %s (waiting, receiving, restoring, ready, cutover, recovering, online, verified, failed)", f.stage);
	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE)
		return code;
	if ((list = view_list(c->db, &f, &more, &err)) == NULL)
		return cli_error(c, &err);
	if (c->json)
		cli_json(json_incref(list));
	else
		print_list(c, list, more);
	json_decref(list);
	return CLI_FINE;
}
