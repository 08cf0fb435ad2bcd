#include "console/cmd_inspect.h"

#include <stdio.h>
#include <string.h>

#include "common/bak_json.h"
#include "common/text.h"
#include "console/inspect_chain.h"
#include "console/inspect_page.h"
#include "console/inspect_read.h"

enum { OK = 0, USAGE = 2, NO_FILE = 3, UNSOUND = 7 };

struct inspect {
	bool json, chain, columns;
	const char *stop_at, *target;
	uint16_t newest;
	struct inspected *files;
	size_t n;
	TALLOC_CTX *mem;
};

/* Of several results the first that applies of 2, 3, 7 is the exit code. */
static int
exit_code(const struct inspect *in)
{
	int code = OK;

	for (size_t i = 0; i < in->n; i++)
		if (in->files[i].bak == NULL)
			return NO_FILE;
		else if (!bak_is_whole(in->files[i].bak))
			code = UNSOUND;
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

static int
usage(void)
{
	fputs("usage: landfall inspect [--json | --columns] [--target RELEASE] FILE...   what is in these backups, and are they sound\n"
	      "       landfall inspect --chain [--stop-at TIME] [--json] FILE...         in which order they are restored\n"
	      "  -                  reads from a pipe\n"
	      "  --columns          every column of RESTORE LABELONLY, HEADERONLY and FILELISTONLY, and where it comes from\n"
	      "  --target RELEASE   the server that is to restore them (2019, 15): says what is too new for it\n", stderr);
	return USAGE;
}

static void
add_file(struct inspect *in, const char *path)
{
	const char *name = text_is_utf8(path, strlen(path)) ? path : text_escaped(in->mem, path);

	in->files[in->n++] = (struct inspected){ .path = path, .name = name };
}

static bool
parse(struct inspect *in, int argc, char **argv)
{
	size_t pipes = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			in->json = true;
		else if (strcmp(argv[i], "--chain") == 0)
			in->chain = true;
		else if (strcmp(argv[i], "--columns") == 0)
			in->columns = true;
		else if (strcmp(argv[i], "--stop-at") == 0 && i + 1 < argc)
			in->stop_at = argv[++i];
		else if (strcmp(argv[i], "--target") == 0 && i + 1 < argc)
			in->target = argv[++i];
		else if (argv[i][0] == '-' && argv[i][1] != '\0')
			return false;
		else
			add_file(in, argv[i]);
		pipes += argv[i][0] == '-' && argv[i][1] == '\0';
	}
	if (in->target != NULL && (in->newest = bak_version_of(in->target)) == 0) {
		fprintf(stderr, "landfall: --target wants a release of SQL Server such as 2019, not '%s'\n", text_escaped(in->mem, in->target));
		return false;
	}
	return in->n > 0 && pipes < 2 && (in->chain || in->stop_at == NULL) && !(in->columns && (in->json || in->chain));
}

int
cmd_inspect(int argc, char **argv)
{
	struct inspect in = { .mem = talloc_new(NULL) };
	int code;

	in.files = talloc_zero_array(in.mem, struct inspected, (size_t)argc + 1);
	if (!parse(&in, argc, argv)) {
		talloc_free(in.mem);
		return usage();
	}
	inspect_read(in.mem, in.files, in.n);
	code = exit_code(&in);
	if (in.chain)
		code = inspect_chain(in.mem, in.files, in.n, in.json, in.stop_at);
	else if (in.json)
		print_json(&in);
	else
		for (size_t i = 0; i < in.n; i++)
			(in.columns ? inspect_columns(&in.files[i]) : inspect_page(&in.files[i], in.newest));
	talloc_free(in.mem);
	return code;
}
