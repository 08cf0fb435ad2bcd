#include "console/cmd_inspect.h"

#include <stdio.h>
#include <string.h>

#include "common/bak_json.h"
#include "common/text.h"
#include "console/inspect_chain.h"
#include "console/inspect_page.h"
#include "console/inspect_read.h"

struct inspect {
	struct cli *c;
	bool chain, columns;
	const char *stop_at, *target;
	uint16_t newest;
	struct inspected *files;
	size_t n;
};

/* Of several results the first that applies of 2, 3, 7 is the exit code. */
static int
exit_code(const struct inspect *in)
{
	int code = CLI_FINE;

	for (size_t i = 0; i < in->n; i++)
		if (in->files[i].bak == NULL)
			return CLI_NOT_FOUND;
		else if (!bak_is_whole(in->files[i].bak))
			code = CLI_NOT_VERIFIED;
	return code;
}

static json_t *
no_such_file(const struct inspected *f)
{
	return json_pack("{s:s, s:n, s:b, s:s, s:n, s:n, s:[], s:n, s:[]}", "file", f->name, "container", "complete", 0, "why", f->trouble,
	                 "media", "records", "findings", "damage", "sets");
}

static void
print_json(const struct inspect *in)
{
	json_t *list = json_array();

	for (size_t i = 0; i < in->n; i++)
		json_array_append_new(list, in->files[i].bak == NULL ? no_such_file(&in->files[i])
		                                                     : bak_json(in->files[i].name, in->files[i].bak, in->newest));
	json_dumpf(list, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(list);
}

/* Tells what is wrong, and of what; false. */
static bool
usage(const struct inspect *in, const char *why, const char *what)
{
	cli_fail(in->c, CLI_USAGE, "%s%s%s", why, what == NULL ? "" : ": ", what == NULL ? "" : what);
	if (in->c->json)
		return false;
	fputs("usage: landfall inspect [--json | --columns] [--target RELEASE] FILE...   what is in these backups, and are they sound\n"
	      "       landfall inspect --chain [--stop-at TIME] [--json] FILE...         in which order they are restored\n"
	      "  -                  reads from a pipe\n"
	      "  --stop-at TIME     2026-11-23T05:16:00 as the source's clock showed it, or with a zone behind it (Z, +02:00)\n"
	      "  --columns          every column of RESTORE LABELONLY, HEADERONLY and FILELISTONLY, and where it comes from\n"
	      "  --target RELEASE   the server that is to restore them (2019, 15): says what is too new for it\n", stderr);
	return false;
}

static void
add_file(struct inspect *in, const char *path)
{
	const char *name = text_is_utf8(path, strlen(path)) ? path : text_escaped(in->c->mem, path);

	in->files[in->n++] = (struct inspected){ .path = path, .name = name };
}

/* An option and its value. False: a usage error, which was told. */
static bool
take_option(struct inspect *in, int *i)
{
	const char *name = in->c->argv[*i];
	const char **value = strcmp(name, "--stop-at") == 0 ? &in->stop_at : strcmp(name, "--target") == 0 ? &in->target : NULL;

	if (strcmp(name, "--chain") == 0)
		return in->chain = true;
	if (strcmp(name, "--columns") == 0)
		return in->columns = true;
	if (value == NULL)
		return usage(in, "inspect has no option", name);
	if (*i + 1 == in->c->argc)
		return usage(in, "a value is missing after", name);
	*value = in->c->argv[++*i];
	return true;
}

static bool
parse(struct inspect *in)
{
	bool only_files = false;
	size_t pipes = 0;

	for (int i = 0; i < in->c->argc; i++) {
		const char *arg = in->c->argv[i];

		if (!only_files && strcmp(arg, "--") == 0)
			only_files = true;
		else if (only_files || arg[0] != '-' || arg[1] == '\0')
			add_file(in, arg);
		else if (!take_option(in, &i))
			return false;
		pipes += strcmp(arg, "-") == 0;
	}
	if (in->target != NULL && (in->newest = bak_version_of(in->target)) == 0)
		return usage(in, "--target wants a release of SQL Server such as 2019", in->target);
	if (in->n == 0)
		return usage(in, "no file was given", NULL);
	if (pipes > 1)
		return usage(in, "only one file can come from a pipe", NULL);
	if (in->stop_at != NULL && !in->chain)
		return usage(in, "--stop-at needs --chain", NULL);
	return !in->columns || (!in->c->json && !in->chain) || usage(in, "--columns goes with neither --json nor --chain", NULL);
}

int
cmd_inspect(struct cli *c)
{
	struct inspect in = { .c = c };
	int code;

	in.files = talloc_zero_array(c->mem, struct inspected, (size_t)c->argc + 1);
	if (!parse(&in))
		return CLI_USAGE;
	inspect_read(c->mem, in.files, in.n);
	code = exit_code(&in);
	if (in.chain)
		code = inspect_chain(c, in.files, in.n, in.stop_at);
	else if (c->json)
		print_json(&in);
	else
		for (size_t i = 0; i < in.n; i++)
			(in.columns ? inspect_columns(&in.files[i]) : inspect_page(&in.files[i], in.newest));
	return code;
}
