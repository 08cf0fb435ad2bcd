#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ask_notify.h"
#include "console/cli.h"

/* Messages to customers: what was sent, what waits and why; again; and whether they arrive at all. */

enum { TEST_TRIES = 150, TEST_MS = 200 };

int
cmd_notify_list(struct cli *c)
{
	struct err err = { 0 };
	json_t *list, *o;
	size_t i;
	int code = cli_take(c, NULL, 0, NULL, 0, 0);

	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE)
		return code;
	if ((list = notify_list(c->db, &err)) == NULL)
		return cli_error(c, &err);
	if (c->json) {
		cli_json(list);
		return CLI_FINE;
	}
	json_array_foreach(list, i, o)
		printf("%-6s %-9s %-8s %-10s %-3s %s  %s\n", cli_get(c, o, "id"), cli_get(c, o, "state"), cli_get(c, o, "migration"), cli_get(c, o, "kind"),
		       cli_get(c, o, "attempts"), cli_get(c, o, "target"), json_is_string(json_object_get(o, "said")) ? cli_get(c, o, "said") : "");
	json_decref(list);
	return CLI_FINE;
}

int
cmd_notify_retry(struct cli *c)
{
	const char *id;
	struct err err = { 0 };
	bool found;
	int code = cli_take(c, NULL, 0, &id, 1, 1);

	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE)
		return code;
	if (id[0] == '\0' || strspn(id, "0123456789") != strlen(id) || strlen(id) > 18)
		return cli_fail(c, CLI_USAGE, "%s is no number of a message (notify list shows them)", id);
	if (!notify_retry(c->db, strtoll(id, NULL, 10), &found, &err))
		return cli_error(c, &err);
	if (!found)
		return cli_fail(c, CLI_NOT_FOUND, "there is no message %s that was not sent yet (notify list shows them)", id);
	if (c->json)
		cli_json(json_pack("{s:s}", "again", id));
	else
		printf("message %s is sent again now\n", id);
	return CLI_FINE;
}

int
cmd_notify_test(struct cli *c)
{
	const char *address, *state = "waiting", *said = "";
	struct err err = { 0 };
	int64_t id;
	int code = cli_take(c, NULL, 0, &address, 1, 1);

	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE)
		return code;
	if (strchr(address, '@') == NULL)
		return cli_fail(c, CLI_USAGE, "%s is no mail address", address);
	if (!notify_test(c->db, talloc_asprintf(c->mem, "mail:%s", address), &id, &err))
		return cli_error(c, &err);
	for (int i = 0; i < TEST_TRIES && strcmp(state, "waiting") == 0 && said[0] == '\0'; i++) {
		usleep(TEST_MS * 1000);
		if (!notify_state(c->db, c->mem, id, &state, &said, &err))
			return cli_error(c, &err);
	}
	if (strcmp(state, "sent") != 0 && said[0] != '\0')
		return cli_fail(c, CLI_FAILED, "%s", said);
	if (strcmp(state, "sent") != 0)
		return cli_fail(c, CLI_TIMED_OUT, "message %lld waits; is landfall-console running, with console.mail in its configuration?", (long long)id);
	if (c->json)
		cli_json(json_pack("{s:s}", "sent", address));
	else
		printf("the relay has taken it for %s\n", cli_text(c, address));
	return CLI_FINE;
}
