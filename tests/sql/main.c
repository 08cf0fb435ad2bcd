/*
 * landfall-sql: runs T-SQL from stdin on a SQL Server over TLS, for tests and the demo.
 *
 * Batches are parted by lines that say GO. Rows go to stdout, tab-separated, NULL as \N; messages to stderr.
 * The password is read from a file, because arguments can be seen by everybody on the machine.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/config.h"
#include "common/mssql.h"

static void
on_message(void *ctx, const struct mssql_message *m)
{
	(void)ctx;
	fprintf(stderr, "Msg %d, Level %d, State %d: %s\n", m->number, m->severity, m->state, m->text);
}

static void
print(const struct mssql_rows *rows, bool header)
{
	for (int c = 0; header && c < mssql_rows_columns(rows); c++)
		printf("%s%s", c == 0 ? "" : "\t", mssql_rows_name(rows, c));
	if (header && mssql_rows_columns(rows) > 0)
		putchar('\n');
	for (size_t i = 0; i < mssql_rows_count(rows); i++)
		for (int c = 0; c < mssql_rows_columns(rows); c++) {
			const char *v = mssql_rows_value(rows, i, c);

			printf("%s%s%s", c == 0 ? "" : "\t", v == NULL ? "\\N" : v, c + 1 == mssql_rows_columns(rows) ? "\n" : "");
		}
	fflush(stdout);
}

static bool
run(struct mssql *ms, const char *batch, bool header)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct mssql_rows *rows = NULL;
	struct err err = { 0 };
	bool good = true;

	if (batch[strspn(batch, " \t\r\n")] != '\0') {
		good = mssql_run(ms, mem, batch, &rows, NULL, on_message, NULL, &err);
		print(rows, header);
		if (!good)
			fprintf(stderr, "landfall-sql: %s\n", err.text);
	}
	talloc_free(mem);
	return good;
}

static bool
run_all(struct mssql *ms, bool header)
{
	char *line = NULL, *batch = talloc_strdup(NULL, "");
	size_t room = 0;
	bool good = true;

	while (good && getline(&line, &room, stdin) >= 0) {
		if (strncasecmp(line, "GO", 2) == 0 && line[2 + strspn(line + 2, " \t\r\n")] == '\0') {
			good = run(ms, batch, header);
			talloc_free(batch);
			batch = talloc_strdup(NULL, "");
		} else {
			batch = talloc_strdup_append_buffer(batch, line);
		}
	}
	good = good && run(ms, batch, header);
	talloc_free(batch);
	free(line);
	return good;
}

static const struct option options[] = {
	{ "server", required_argument, NULL, 's' }, { "user", required_argument, NULL, 'u' },
	{ "password-file", required_argument, NULL, 'p' }, { "ca", required_argument, NULL, 'c' },
	{ "database", required_argument, NULL, 'd' }, { "header", no_argument, NULL, 'h' }, { 0 },
};

int
main(int argc, char **argv)
{
	char host[256], dir[] = "/tmp/landfall-sql-XXXXXX", conf[64];
	struct mssql_target t = { .name = "server", .host = host };
	const char *server = NULL, *database = NULL;
	struct err err = { 0 };
	struct mssql *ms;
	uint16_t port = 0;
	bool header = false, good;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 's': server = optarg; break;
		case 'u': t.login = optarg; break;
		case 'p': t.password_file = optarg; break;
		case 'c': t.ca_file = optarg; break;
		case 'd': database = optarg; break;
		case 'h': header = true; break;
		default: return 2;
		}
	}
	if (server == NULL || t.login == NULL || t.password_file == NULL || t.ca_file == NULL) {
		fprintf(stderr, "usage: landfall-sql --server HOST:PORT --user U --password-file F --ca F [--database D] [--header] < batches\n");
		return 2;
	}
	if (!config_address(server, host, sizeof(host), &port, &err) || mkdtemp(dir) == NULL) {
		fprintf(stderr, "landfall-sql: %s\n", err.text);
		return 2;
	}
	t.port = port;
	good = mssql_setup(dir, &t, 1, &err);
	ms = good ? mssql_open(NULL, &t, "landfall-sql", database, &err) : NULL;
	snprintf(conf, sizeof(conf), "%s/freetds.conf", dir);
	unlink(conf);
	rmdir(dir);
	if (ms == NULL) {
		fprintf(stderr, "landfall-sql: %s\n", err.text);
		return 10;
	}
	good = run_all(ms, header);
	talloc_free(ms);
	return good ? 0 : 1;
}
