#include <string.h>

#include "console/cli.h"

/* What a person chooses about a run: when its turn comes, and where RECOVERY will be. */

static int
choose(struct cli *c, const char *id, const char *kind, const char *action, json_t *args)
{
	const char *said = "";
	int code = cli_ask(c, id, kind, action, args, &said);

	return code != CLI_FINE ? code : cli_said(c, said, strcmp(action, "priority") == 0 ? "landfall queue" : talloc_asprintf(c->mem, "landfall migration show %s", id));
}

int
cmd_migration_priority(struct cli *c)
{
	const char *words[2], *kind = "production", *reason = NULL;
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--reason", &reason, NULL } };
	int code = cli_take(c, options, 2, words, 2, 2);

	if (code == CLI_FINE && strcmp(words[1], "high") != 0 && strcmp(words[1], "normal") != 0 && strcmp(words[1], "low") != 0)
		code = cli_fail(c, CLI_USAGE, "a priority is high, normal or low, not %s", words[1]);
	if (code == CLI_FINE && (reason == NULL || reason[0] == '\0'))
		code = cli_fail(c, CLI_USAGE, "--reason is missing: whoever waits behind it will ask");
	return code != CLI_FINE ? code : choose(c, words[0], kind, "priority", json_pack("{s:s,s:s}", "priority", words[1], "reason", reason));
}

int
cmd_migration_primary(struct cli *c)
{
	const char *id, *kind = "production", *replica = NULL, *reason = NULL;
	const struct cli_option options[] = { { "--run", &kind, NULL }, { "--replica", &replica, NULL }, { "--reason", &reason, NULL } };
	int code = cli_take(c, options, 3, &id, 1, 1);

	if (code == CLI_FINE && (replica == NULL || reason == NULL || reason[0] == '\0'))
		code = cli_fail(c, CLI_USAGE, "--replica and --reason are needed");
	return code != CLI_FINE ? code : choose(c, id, kind, "primary", json_pack("{s:s,s:s}", "replica", replica, "reason", reason));
}
