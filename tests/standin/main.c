/*
 * landfall-standin: a test double of SQL Server. It is never the real thing and never passed off as it.
 * `landfall-standin --help` says how it is called.
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/config.h"
#include "common/db.h"
#include "common/log.h"
#include "tests/standin/session.h"

enum { FIRST_SPID = 51, BACKLOG = 128 };

static struct server server;

struct arrival { int fd, spid; };

static void *
serve(void *ctx)
{
	struct arrival *a = ctx;

	session_serve(&server, a->fd, a->spid);
	free(a);
	return NULL;
}

static int
listen_on(const char *where, uint16_t *port, struct err *err)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	char host[128];
	int fd, on = 1;

	if (!config_address(where, host, sizeof(host), port, err))
		return -1;
	sa.sin_port = htons(*port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (inet_pton(AF_INET, host, &sa.sin_addr) != 1 || fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(fd, BACKLOG) != 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) != 0) {
		err_errno(err, errno, "%s", where);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	*port = ntohs(sa.sin_port);
	return fd;
}

static bool
say_ready(const char *file, uint16_t port, struct err *err)
{
	char fresh[4096];
	FILE *f;

	if (file == NULL)
		return true;
	snprintf(fresh, sizeof(fresh), "%s.new", file);
	f = fopen(fresh, "we");
	if (f == NULL || fprintf(f, "%u %d\n", port, getpid()) < 0 || fclose(f) != 0 || rename(fresh, file) != 0)
		return err_errno(err, errno, "%s", file);
	return true;
}

static bool
set_policy(const char *name, struct err *err)
{
	static const char *const names[] = { [TDS_POLICY_NONE] = "none", [TDS_POLICY_LOGIN] = "login", [TDS_POLICY_REQUIRED] = "required" };

	server.policy = TDS_POLICY_REQUIRED;
	if (name == NULL)
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0) {
			server.policy = (enum tds_policy)i;
			return true;
		}
	return err_set(err, ERR_OPERATOR, 0, "--encryption %s: it is none, login or required", name);
}

static bool
set_release(const char *year, struct err *err)
{
	return year == NULL || engine_set_release(server.e, atoi(year)) ||
	       err_set(err, ERR_OPERATOR, 0, "--release %s: it is 2016, 2019 or 2022", year);
}

/* The administrator's log-in is made at the first start and left alone afterwards. */
static bool
make_admin(const char *user, const char *file, struct err *err)
{
	char *password = secret_read(NULL, file, err);
	bool good;

	if (password == NULL)
		return false;
	good = engine_login_exists(server.e, user) || engine_login_set(server.e, user, password, true, err);
	talloc_free(password);
	return good;
}

static void
accept_all(int fd)
{
	int spid = FIRST_SPID, on = 1;

	for (;;) {
		struct arrival *a;
		pthread_t thread;
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0) {
			if (errno != EINTR && errno != ECONNABORTED)
				usleep(10000);
			continue;
		}
		a = calloc(1, sizeof(*a));
		if (a == NULL) {
			close(client);
			continue;
		}
		/* An answer goes out in several writes (messages, then DONE); Nagle would keep the last one until a delayed ACK, 40 ms. */
		setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		*a = (struct arrival){ client, spid };
		spid = spid == 32000 ? FIRST_SPID : spid + 1;
		if (pthread_create(&thread, NULL, serve, a) == 0)
			pthread_detach(thread);
		else {
			close(client);
			free(a);
		}
	}
}

static void
on_term(int number)
{
	(void)number;
	_exit(0); /* state is on disk at every moment */
}

/* The options, in the order of --help. value NULL: takes none. */
static const struct choice {
	const char *name, *value;
	bool needed;
	const char *says;
} choices[] = {
	{ "dir", "D", true, "folder of its databases and log-ins; made when missing, kept from one start to the next" },
	{ "listen", "ADDRESS:PORT", true, "where it listens; port 0 takes a free one" },
	{ "server-name", "N", true, "@@SERVERNAME, and what its backups say" },
	{ "admin-user", "U", true, "a sysadmin log-in, made at the first start" },
	{ "admin-password-file", "F", true, "file with that log-in's password" },
	{ "tls-cert", "F", false, "certificate and chain (PEM)" },
	{ "tls-key", "F", false, "its key (PEM)" },
	{ "encryption", "WHAT", false, "none: no TLS · login: around the log-in at least, all when asked · required (default)" },
	{ "ready-file", "F", false, "gets \"PORT PID\" once it listens" },
	{ "release", "YEAR", false, "which SQL Server it answers as: 2016, 2019 (default) or 2022" },
	{ "help", NULL, false, "this" },
};
enum { DIR_, LISTEN, SERVER_NAME, ADMIN_USER, ADMIN_PASSWORD, TLS_CERT, TLS_KEY, ENCRYPTION, READY, RELEASE, HELP, CHOICES };

static void
explain_knobs(FILE *out)
{
	size_t n;
	const struct engine_knob *knobs = engine_knobs(&n);

	for (size_t i = 0; i < n; i++)
		fprintf(out, "  %-16s %s\n", knobs[i].name, knobs[i].does);
}

static void
help(FILE *out)
{
	fprintf(out, "landfall-standin: a stand-in for SQL Server in tests and in the demo. It speaks TDS 7.1 to 7.4 and obeys the\n"
	        "rules of BACKUP and RESTORE; it is not SQL Server. tests/standin/README.md says what is modelled, and from what.\n\n");
	for (size_t i = 0; i < CHOICES; i++) {
		char option[48];

		snprintf(option, sizeof(option), "--%s%s%s", choices[i].name, choices[i].value == NULL ? "" : " ",
		         choices[i].value == NULL ? "" : choices[i].value);
		fprintf(out, "  %-26s %s%s\n", option, choices[i].says, choices[i].needed ? " (needed)" : "");
	}
	fprintf(out, "\nKnobs of the wire, a \"name value\" per line in the file D/wire, or EXEC standin.wire N'name', N'value':\n");
	wire_explain(out);
	fprintf(out, "Knobs of BACKUP and RESTORE, the same in the file D/faults, or EXEC standin.fault N'name', value:\n");
	explain_knobs(out);
	fprintf(out, "\n"
	        "It ends with SIGTERM; its state is on disk at every moment.\n");
}

/* False when something needed is missing, which is said. */
static bool
read_choices(int argc, char **argv, const char *arg[CHOICES])
{
	struct option options[CHOICES + 1] = { 0 };
	int opt;
	bool good = true;

	for (int i = 0; i < CHOICES; i++)
		options[i] = (struct option){ choices[i].name, choices[i].value == NULL ? no_argument : required_argument, NULL, i + 1 };
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == '?')
			return false;
		arg[opt - 1] = optarg == NULL ? "" : optarg;
	}
	for (int i = 0; i < CHOICES && arg[HELP] == NULL; i++)
		if (choices[i].needed && arg[i] == NULL) {
			fprintf(stderr, "landfall-standin: --%s is missing; --help says what it is\n", choices[i].name);
			good = false;
		}
	return good;
}

static bool
open_all(const char *const arg[CHOICES], struct err *err)
{
	char *log = talloc_asprintf(NULL, "%s/statements.log", arg[DIR_]), *wire = talloc_asprintf(log, "%s/wire", arg[DIR_]);
	bool good = set_policy(arg[ENCRYPTION], err);

	if (good && server.policy != TDS_POLICY_NONE && (arg[TLS_CERT] == NULL || arg[TLS_KEY] == NULL))
		good = err_set(err, ERR_OPERATOR, 0, "--tls-cert and --tls-key are needed, unless it is --encryption none");
	if (good && server.policy != TDS_POLICY_NONE)
		good = (server.identity = tds_identity_load(NULL, arg[TLS_CERT], arg[TLS_KEY], err)) != NULL;
	good = good && (server.e = engine_open(NULL, arg[DIR_], arg[SERVER_NAME], err)) != NULL &&
	       set_release(arg[RELEASE], err) && (server.log = statement_log_open(NULL, log, err)) != NULL && make_admin(arg[ADMIN_USER], arg[ADMIN_PASSWORD], err);
	server.wire = wire_open(NULL, wire);
	talloc_free(log);
	return good;
}

int
main(int argc, char **argv)
{
	const char *arg[CHOICES] = { NULL };
	struct err err = { 0 };
	uint16_t port = 0;
	int fd;

	if (!read_choices(argc, argv, arg))
		return 2;
	if (arg[HELP] != NULL) {
		help(stdout);
		return 0;
	}
	log_begin("landfall-standin");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	if (!open_all(arg, &err) || (fd = listen_on(arg[LISTEN], &port, &err)) < 0 || !say_ready(arg[READY], port, &err)) {
		log_error("cannot start", "error", err.text, NULL);
		return 1;
	}
	log_info("listening", "server", arg[SERVER_NAME], NULL);
	accept_all(fd);
}
