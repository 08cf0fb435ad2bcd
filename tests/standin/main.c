/*
 * landfall-standin: a test double of SQL Server. It is never the real thing and never passed off as it.
 *
 *   landfall-standin --dir D --listen 127.0.0.1:PORT --tls-cert F --tls-key F --server-name N
 *                    --admin-user U --admin-password-file F [--ready-file F]
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
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
	int spid = FIRST_SPID;

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

static const struct option options[] = {
	{ "dir", required_argument, NULL, 'd' }, { "listen", required_argument, NULL, 'l' }, { "tls-cert", required_argument, NULL, 'c' },
	{ "tls-key", required_argument, NULL, 'k' }, { "server-name", required_argument, NULL, 'n' },
	{ "admin-user", required_argument, NULL, 'u' }, { "admin-password-file", required_argument, NULL, 'p' },
	{ "ready-file", required_argument, NULL, 'r' }, { 0 },
};

int
main(int argc, char **argv)
{
	const char *arg[128] = { NULL };
	struct err err = { 0 };
	uint16_t port = 0;
	char *log;
	int opt, fd;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == '?')
			return 2;
		arg[opt] = optarg;
	}
	for (const char *p = "dlcknup"; *p != '\0'; p++)
		if (arg[(int)*p] == NULL) {
			fprintf(stderr, "usage: landfall-standin --dir D --listen HOST:PORT --tls-cert F --tls-key F --server-name N --admin-user U "
			        "--admin-password-file F [--ready-file F]\n");
			return 2;
		}
	log_begin("landfall-standin");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	server.e = engine_open(NULL, arg['d'], arg['n'], &err);
	log = talloc_asprintf(NULL, "%s/statements.log", arg['d']);
	if (server.e == NULL || (server.identity = tds_identity_load(NULL, arg['c'], arg['k'], &err)) == NULL ||
	    (server.log = statement_log_open(NULL, log, &err)) == NULL || !make_admin(arg['u'], arg['p'], &err) ||
	    (fd = listen_on(arg['l'], &port, &err)) < 0 || !say_ready(arg['r'], port, &err)) {
		log_error("cannot start", "error", err.text, NULL);
		return 1;
	}
	log_info("listening", "server", arg['n'], NULL);
	accept_all(fd);
}
