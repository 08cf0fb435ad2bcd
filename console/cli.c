#include "console/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ask_admin.h"
#include "common/ask_view.h"
#include "common/text.h"

int
cli_fail(const struct cli *c, enum cli_exit code, const char *fmt, ...)
{
	char text[1200], safe[2400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (c->json) {
		json_t *o = json_pack("{s:s,s:i}", "error", text, "exit", (int)code);

		json_dumpf(o, stderr, JSON_COMPACT);
		fputc('\n', stderr);
		json_decref(o);
		return code;
	}
	/* Lines of reasons stay lines; everything else of strangers' text is escaped. */
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		text_escape(safe, sizeof(safe), line, sizeof(text));
		fprintf(stderr, "landfall: %s\n", safe);
	}
	return code;
}

int
cli_error(const struct cli *c, const struct err *err)
{
	return cli_fail(c, err->kind == ERR_AGAIN ? CLI_AWAY : err->kind == ERR_REFUSED && strstr(err->text, "permission denied") != NULL
		? CLI_NOT_ALLOWED : CLI_FAILED, "%s", err->text);
}

static int
usage(const struct cli *c, const char *why, const char *what)
{
	cli_fail(c, CLI_USAGE, "%s%s", why, what);
	if (!c->json)
		fprintf(stderr, "usage: landfall %s\n", c->usage);
	return CLI_USAGE;
}

int
cli_take(struct cli *c, const struct cli_option *options, size_t n, const char **words, size_t least, size_t most)
{
	size_t n_words = 0;
	bool only_words = false;

	for (int i = 0; i < c->argc; i++) {
		const struct cli_option *o = NULL;
		const char *value = strchr(c->argv[i], '='), *arg = c->argv[i];
		size_t len = value == NULL ? strlen(arg) : (size_t)(value - arg);

		if (!only_words && strcmp(arg, "--") == 0) {
			only_words = true;
			continue;
		}
		if (only_words || strncmp(arg, "--", 2) != 0) {
			if (n_words == most)
				return usage(c, "one word too many: ", arg);
			words[n_words++] = arg;
			continue;
		}
		for (size_t k = 0; k < n && o == NULL; k++)
			if (strlen(options[k].name) == len && strncmp(options[k].name, arg, len) == 0)
				o = &options[k];
		if (o == NULL)
			return usage(c, "there is no option ", arg);
		if (o->flag != NULL && value != NULL && o->text == NULL)
			return usage(c, "no value is known for ", arg);
		if (o->flag != NULL) {
			*o->flag = true;
			if (value != NULL)
				*o->text = value + 1;
			continue;
		}
		if (value == NULL && i + 1 == c->argc)
			return usage(c, "a value is missing after ", arg);
		*o->text = value != NULL ? value + 1 : c->argv[++i];
	}
	return n_words < least ? usage(c, "something is missing", "") : CLI_FINE;
}

int
cli_connect(struct cli *c, enum cli_role role)
{
	struct err err = { 0 };
	struct db_where where;

	c->config = config_load(c->mem, c->config_path, &err);
	if (c->config == NULL)
		return cli_error(c, &err);
	config_where(c->config, role == CLI_OWNER ? &c->config->postgres.owner : &c->config->postgres.operator_, "landfall", &where);
	c->db = db_new(c->mem, &where);
	return db_connect(c->db, &err) ? CLI_FINE : cli_error(c, &err);
}

void
cli_json(json_t *o)
{
	json_dumpf(o, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
	json_decref(o);
}

const char *
cli_text(const struct cli *c, const char *s)
{
	return s == NULL ? "-" : text_escaped(c->mem, s);
}

const char *
cli_get(const struct cli *c, json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	if (json_is_integer(v))
		return talloc_asprintf(c->mem, "%lld", (long long)json_integer_value(v));
	return cli_text(c, json_string_value(v));
}

int
cli_run(const struct cli *c, const char *migration, const char *kind, int64_t *run)
{
	struct err err = { 0 };
	bool found;

	*run = 0;
	if (kind != NULL && strcmp(kind, "uat") != 0 && strcmp(kind, "production") != 0)
		return cli_fail(c, CLI_USAGE, "--run is uat or production, not %s", kind);
	if (!ask_migration_exists(c->db, migration, &found, &err))
		return cli_error(c, &err);
	if (!found)
		return cli_fail(c, CLI_NOT_FOUND, "there is no migration %s (migration list shows them)", migration);
	if (kind != NULL && !ask_run_id(c->db, migration, kind, run, &err))
		return cli_error(c, &err);
	if (kind != NULL && *run == 0)
		return cli_fail(c, CLI_NOT_FOUND, "%s has no %s run", migration, kind);
	return CLI_FINE;
}

json_t *
cli_migration(struct cli *c, const char *id, int *code)
{
	struct err err = { 0 };
	json_t *m = view_migration(c->db, id, &err);

	if (m == NULL)
		*code = cli_error(c, &err);
	else if (json_is_null(m))
		*code = cli_fail(c, CLI_NOT_FOUND, "there is no migration %s (migration list shows them)", id);
	return m == NULL || json_is_null(m) ? NULL : m;
}

json_t *
cli_run_of(json_t *m, const char *kind)
{
	json_t *r;
	size_t i;

	json_array_foreach(json_object_get(m, "runs"), i, r)
		if (strcmp(json_string_value(json_object_get(r, "run")), kind) == 0)
			return r;
	return NULL;
}
