#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/ask_admin.h"
#include "common/ask_view.h"
#include "common/text.h"
#include "console/cli.h"

/* What customers are uploading now, and ending one of their sessions. */

enum { KICK_TRIES = 50, KICK_MS = 200 };

/* "12 min" of seconds, or "-". */
static const char *
duration(const struct cli *c, json_t *seconds)
{
	long long s = (long long)json_integer_value(seconds);

	if (!json_is_integer(seconds))
		return "-";
	return s < 120 ? talloc_asprintf(c->mem, "%lld s", s) : s < 7200 ? talloc_asprintf(c->mem, "%lld min", s / 60)
	                                                                 : talloc_asprintf(c->mem, "%lld h", s / 3600);
}

static void
print_upload(const struct cli *c, json_t *u)
{
	json_t *rate = json_object_get(u, "rate"), *stalled = json_object_get(u, "quiet_seconds");
	bool is_live = strcmp(json_string_value(json_object_get(u, "state")), "receiving") == 0;
	const char *speed = !is_live ? "" : json_is_string(json_object_get(u, "stalled_since"))
		? talloc_asprintf(c->mem, "still for %s", duration(c, stalled))
		: json_is_integer(rate) ? talloc_asprintf(c->mem, "%s/s", text_size((uint64_t)json_integer_value(rate)).s) : "-";

	printf("%-8s %-10s %10s %-16s %-8s %-14s %-16s %s\n", cli_get(c, u, "migration"), cli_get(c, u, "state"),
	       text_size((uint64_t)json_integer_value(json_object_get(u, "bytes"))).s, speed, is_live ? duration(c, json_object_get(u, "eta_seconds")) : "",
	       is_live ? cli_get(c, u, "session") : "", is_live ? cli_get(c, u, "address") : "", cli_get(c, u, "name"));
}

int
cmd_upload_list(struct cli *c)
{
	bool live = false;
	const struct cli_option options[] = { { "--live", NULL, &live } };
	struct err err = { 0 };
	json_t *list, *u;
	size_t i;
	int code = cli_take(c, options, 1, NULL, 0, 0);

	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE)
		return code;
	if ((list = view_uploads(c->db, live, &err)) == NULL)
		return cli_error(c, &err);
	if (c->json) {
		cli_json(list);
		return CLI_FINE;
	}
	printf("%-8s %-10s %10s %-16s %-8s %-14s %-16s %s\n", "ID", "STATE", "SIZE", "RATE", "ABOUT", "SESSION", "ADDRESS", "NAME");
	json_array_foreach(list, i, u)
		print_upload(c, u);
	json_decref(list);
	return CLI_FINE;
}

/* Has that session a live upload? With *migration, whose. */
static int
has_upload(struct cli *c, const char *session, bool *has, const char **migration)
{
	struct err err = { 0 };
	json_t *list = view_uploads(c->db, true, &err), *u;
	size_t i;

	if (list == NULL)
		return cli_error(c, &err);
	*has = false;
	json_array_foreach(list, i, u) {
		const char *s = json_string_value(json_object_get(u, "session"));

		if (s == NULL || strcmp(s, session) != 0)
			continue;
		*has = true;
		*migration = talloc_strdup(c->mem, json_string_value(json_object_get(u, "migration")));
	}
	json_decref(list);
	return CLI_FINE;
}

int
cmd_upload_kick(struct cli *c)
{
	const char *session, *migration = NULL;
	struct err err = { 0 };
	bool has;
	int code = cli_take(c, NULL, 0, &session, 1, 1);

	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = has_upload(c, session, &has, &migration)) != CLI_FINE)
		return code;
	if (!has)
		return cli_fail(c, CLI_NOT_FOUND, "there is no live upload of session %s (upload list --live shows them)", session);
	if (!ask_kick(c->db, migration, session, &err))
		return cli_error(c, &err);
	for (int i = 0; i < KICK_TRIES && code == CLI_FINE && has; i++) {
		usleep(KICK_MS * 1000);
		code = has_upload(c, session, &has, &migration);
	}
	if (code != CLI_FINE)
		return code;
	if (has)
		return cli_fail(c, CLI_TIMED_OUT, "it is asked, but the receiver has not ended %s yet; is landfall-receiver running?", session);
	if (c->json)
		cli_json(json_pack("{s:s,s:s}", "ended", session, "migration", migration));
	else
		printf("session %s of %s is ended; its upload is partial and can be resumed.\nTo keep it out: landfall key revoke %s FINGERPRINT\n", session,
		       migration, migration);
	return CLI_FINE;
}
