#include <stdio.h>

#include "common/schema.h"
#include "console/cli.h"

int
cmd_db_migrate(struct cli *c)
{
	struct schema_result result;
	struct err err = { 0 };
	json_t *applied = json_array();
	int code = cli_take(c, NULL, 0, NULL, 0, 0);

	if (code == CLI_FINE)
		code = cli_connect(c, CLI_OWNER);
	if (code != CLI_FINE)
		return code;
	if (!schema_migrate(c->db, c->mem, c->config, &result, &err))
		return cli_error(c, &err);
	for (int i = 0; i < result.applied; i++)
		json_array_append_new(applied, json_string(result.names[i]));
	if (c->json) {
		cli_json(json_pack("{s:o,s:i}", "applied", applied, "version", result.version));
		return CLI_FINE;
	}
	for (int i = 0; i < result.applied; i++)
		printf("applied %s\n", result.names[i]);
	printf("the schema is at version %d\n", result.version);
	json_decref(applied);
	return CLI_FINE;
}
