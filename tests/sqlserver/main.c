/*
 * sqlserver-test: asks a SQL Server what the stand-in is tested with, and says where it answers otherwise.
 *
 * `make test-sqlserver` runs it through tests/sqlserver/run; --help says what it reads and how it ends.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/config.h"
#include "tests/sqlserver/run.h"

/* How it ends. 77 is what test tools take for "was not run". */
enum { ALL_SAME = 0, SOME_DIFFER = 1, USAGE = 2, COULD_NOT = 3, NOT_RUN = 77 };

static const char help[] =
	"usage: sqlserver-test [--out FOLDER] [--only ROW] [--spoil ROW]\n"
	"\n"
	"Asks a SQL Server (2016 or later) the statements that the stand-in is tested with. It makes databases and a log-in\n"
	"with names of its own, and drops them at the end; it touches no other.\n"
	"\n"
	"  LANDFALL_SQLSERVER                  host:port\n"
	"  LANDFALL_SQLSERVER_USER             a log-in with the server role sysadmin (sa)\n"
	"  LANDFALL_SQLSERVER_PASSWORD_FILE    its password, one line\n"
	"  LANDFALL_SQLSERVER_CA               PEM: the authority that signed the server's certificate, which must bear the host's\n"
	"                                      name. A container's own certificate bears none: give it one, as\n"
	"                                      .github/workflows/sqlserver.yml does; the check cannot be switched off\n"
	"  LANDFALL_SQLSERVER_BACKUP_DIR       a folder that the server may write in, as the server sees it\n"
	"  LANDFALL_SQLSERVER_BACKUP_DIR_HERE  the same folder as it is seen here (left out: the same path). Backups in it must\n"
	"                                      be readable here: run a container as your own user (docker run --user \"$(id -u):0\")\n"
	"\n"
	"  --out FOLDER  where answers.tsv, differences.md and wire.txt go (build/sqlserver)\n"
	"  --only ROW    asks that row alone, by its name in answers.tsv, or \"chain\" for all of the chain\n"
	"  --spoil ROW   expects that row wrong, to see the run fail\n"
	"\n"
	"Ends with 0 when every answer was as expected, 1 when some differ, 2 for wrong usage or settings, 3 when it could\n"
	"not be carried through, 77 when LANDFALL_SQLSERVER is not set and nothing was run.\n";

static void
on_signal(int number)
{
	(void)number;
	run_stopped = 1;
}

static const char *
setting(const char *name, bool *complete)
{
	const char *value = getenv(name);

	if (value != NULL && value[0] != '\0')
		return value;
	fprintf(stderr, "sqlserver-test: %s is not set; --help says what it is\n", name);
	*complete = false;
	return NULL;
}

/* One line of printable ASCII, which is all that the talker can say. */
static bool
read_password(const char *path, char *password, size_t size, struct err *err)
{
	FILE *f = fopen(path, "r");
	bool got = f != NULL && fgets(password, (int)size, f) != NULL;

	if (f == NULL)
		return err_errno(err, errno, "%s", path);
	fclose(f);
	if (got)
		password[strcspn(password, "\r\n")] = '\0';
	if (!got || password[0] == '\0')
		return err_set(err, ERR_OPERATOR, 0, "%s: there is no password in it", path);
	for (const char *p = password; *p != '\0'; p++)
		if (*p < 0x20 || *p > 0x7E)
			return err_set(err, ERR_OPERATOR, 0, "%s: a password of this test has ASCII characters only", path);
	return true;
}

static bool
read_settings(struct run_settings *s, char *password, size_t size, struct err *err)
{
	bool complete = true;
	const char *server = setting("LANDFALL_SQLSERVER", &complete), *file = setting("LANDFALL_SQLSERVER_PASSWORD_FILE", &complete);
	const char *here = getenv("LANDFALL_SQLSERVER_BACKUP_DIR_HERE");

	s->user = setting("LANDFALL_SQLSERVER_USER", &complete);
	s->server.ca_file = setting("LANDFALL_SQLSERVER_CA", &complete);
	s->backup_dir = setting("LANDFALL_SQLSERVER_BACKUP_DIR", &complete);
	s->backup_dir_here = here == NULL || here[0] == '\0' ? s->backup_dir : here;
	s->password = password;
	if (!complete)
		return err_set(err, ERR_OPERATOR, 0, "settings are missing");
	/* It goes into statements between quotes. */
	if (strpbrk(s->backup_dir, "'$#~%") != NULL)
		return err_set(err, ERR_OPERATOR, 0, "LANDFALL_SQLSERVER_BACKUP_DIR must not have any of ' $ # ~ %% in it");
	return config_address(server, s->server.host, sizeof(s->server.host), &s->server.port, err) && read_password(file, password, size, err);
}

static bool
open_transcript(struct run_settings *s, struct err *err)
{
	char path[4096];

	if (mkdir(s->out, 0777) != 0 && errno != EEXIST)
		return err_errno(err, errno, "%s", s->out);
	snprintf(path, sizeof(path), "%s/wire.txt", s->out);
	s->server.transcript = fopen(path, "w");
	if (s->server.transcript == NULL)
		return err_errno(err, errno, "%s", path);
	fputs("# The packets of every answer in hex, header and payload, a line each, behind the statement that was asked.\n"
	      "# Log-ins are left out, and so are statements that carry a password.\n\n", s->server.transcript);
	return true;
}

static int
fails(int status, const struct err *err)
{
	fprintf(stderr, "sqlserver-test: %s\n", err->text);
	return status;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "out", required_argument, NULL, 'o' }, { "only", required_argument, NULL, 'r' }, { "spoil", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	struct run_settings settings = { .out = "build/sqlserver" };
	char password[256];
	struct err err = { 0 };
	size_t differences = 0;
	TALLOC_CTX *mem;
	bool good;

	for (int opt; (opt = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (opt) {
		case 'o': settings.out = optarg; break;
		case 'r': settings.only = optarg; break;
		case 's': settings.spoil = optarg; break;
		case 'h': fputs(help, stdout); return ALL_SAME;
		default: fputs(help, stderr); return USAGE;
		}
	}
	if (getenv("LANDFALL_SQLSERVER") == NULL || getenv("LANDFALL_SQLSERVER")[0] == '\0') {
		fprintf(stderr, "sqlserver-test: not run, because LANDFALL_SQLSERVER names no server; nothing is proven by this.\n\n%s", help);
		return NOT_RUN;
	}
	if (!read_settings(&settings, password, sizeof(password), &err) || !open_transcript(&settings, &err))
		return fails(USAGE, &err);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
	mem = talloc_new(NULL);
	good = run_all(mem, &settings, &differences, &err);
	talloc_free(mem);
	if (fclose(settings.server.transcript) != 0 && good)
		good = err_errno(&err, errno, "%s/wire.txt", settings.out);
	if (!good)
		return fails(COULD_NOT, &err);
	return differences == 0 ? ALL_SAME : SOME_DIFFER;
}
