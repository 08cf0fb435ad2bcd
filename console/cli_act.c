#include "console/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/ask_admin.h"

enum { ACTION_SECONDS = 20 };

static const struct { const char *word; enum cli_exit code; } refusals[] = {
	{ "failed", CLI_FAILED }, { "not-found", CLI_NOT_FOUND }, { "conflict", CLI_CONFLICT }, { "not-ready", CLI_NOT_READY },
};

int
cli_act(struct cli *c, const char *migration, int64_t run, const char *kind, json_t *args, const char **said)
{
	struct err err = { 0 };
	char *text = json_dumps(args, JSON_COMPACT);
	const char *state = "asked";
	time_t until = time(NULL) + ACTION_SECONDS;
	int64_t id;
	bool same, good = ask_action_new(c->db, migration, run, kind, text, c->once, &id, &same, &err);

	free(text);
	json_decref(args);
	if (good && !same)
		return cli_fail(c, CLI_CONFLICT, "%s was the key of another act", c->once);
	while (good && strcmp(state, "asked") == 0 && time(NULL) < until) {
		usleep(100000);
		good = ask_action_state(c->db, c->mem, id, &state, said, &err);
	}
	if (!good)
		return cli_error(c, &err);
	if (strcmp(state, "asked") == 0)
		return cli_fail(c, CLI_TIMED_OUT, "it is asked (action %lld), but no restore worker has taken it up yet; is landfall-restore running?",
		                (long long)id);
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		if (strcmp(state, refusals[i].word) == 0)
			return cli_fail(c, refusals[i].code, "%s", *said);
	return CLI_FINE;
}

int
cli_ask(struct cli *c, const char *id, const char *kind, const char *action, json_t *args, const char **said)
{
	int64_t run;
	int code = cli_connect(c, CLI_OPERATOR);

	if (code == CLI_FINE)
		code = cli_run(c, id, kind, &run);
	if (code == CLI_FINE)
		return cli_act(c, id, run, action, args, said);
	json_decref(args);
	return code;
}

int
cli_said(struct cli *c, const char *said, const char *next)
{
	if (c->json) {
		cli_json(json_pack("{s:s,s:s?}", "said", said, "next", next));
		return CLI_FINE;
	}
	printf("%s\n", cli_text(c, said));
	if (next != NULL)
		printf("next: %s\n", next);
	return CLI_FINE;
}

int
cli_confirm(const struct cli *c, const char *word, bool yes, const char *confirmed, const char *danger)
{
	char typed[160] = "";

	if (yes && confirmed != NULL && strcmp(confirmed, word) == 0)
		return CLI_FINE;
	if (yes || confirmed != NULL || !isatty(STDIN_FILENO) || c->json)
		return cli_fail(c, CLI_USAGE, "%s: give --yes and --confirm %s", danger, word);
	fprintf(stderr, "%s. Type %s to go on: ", cli_text(c, danger), word);
	if (fgets(typed, sizeof(typed), stdin) == NULL)
		return CLI_USAGE;
	typed[strcspn(typed, "\r\n")] = '\0';
	return strcmp(typed, word) == 0 ? CLI_FINE : cli_fail(c, CLI_USAGE, "that was not %s; nothing was done", word);
}

bool
cli_seconds(const char *text, long *out)
{
	char *end;

	*out = strtol(text, &end, 10);
	if (*end != '\0' && strchr("smh", *end) != NULL && *out > 0 && *out <= 7 * 86400)
		*out *= *end++ == 's' ? 1 : end[-1] == 'm' ? 60 : 3600;
	return end > text && *end == '\0' && *out > 0 && *out <= 7 * 86400;
}

bool
cli_limit(const char *text, int64_t *out)
{
	char *end;

	*out = strtoll(text, &end, 10);
	return end > text && *end == '\0' && *out > 0 && *out <= 1000000;
}
