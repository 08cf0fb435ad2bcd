#include "tests/sqlserver/server.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/sqlserver/tls.h"

/* A RESTORE may be silent for long; the databases here are small. */
enum { SILENCE_S = 600, ENCRYPT_ON = 1, ENCRYPT_REQUIRED = 3, TDS_7_4 = 0x74000004 };

static int
try_address(const struct addrinfo *a)
{
	const struct timeval limit = { .tv_sec = SILENCE_S };
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		return fd;
	close(fd);
	return -1;
}

static int
connect_to(const struct server *s, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	char port[8];
	int fd = -1, r;

	snprintf(port, sizeof(port), "%u", s->port);
	r = getaddrinfo(s->host, port, &hints, &list);
	if (r != 0) {
		err_set(err, ERR_AGAIN, 0, "%s: %s", s->host, gai_strerror(r));
		return -1;
	}
	for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next)
		fd = try_address(a);
	if (fd < 0)
		err_errno(err, errno, "%s:%s cannot be reached", s->host, port);
	freeaddrinfo(list);
	return fd;
}

static bool
log_in(struct talker *t, const struct server *s, const char *user, const char *password, struct err *err)
{
	const struct talker_login login = { .user = user, .password = password, .database = "master", .packet_size = 4096 };
	int encryption = talker_prelogin(t, ENCRYPT_ON);

	if (encryption != ENCRYPT_ON && encryption != ENCRYPT_REQUIRED)
		return err_set(err, ERR_OPERATOR, 0, "%s:%u does not offer encryption, and without it nobody logs in here", s->host, s->port);
	t->io = tls_begin(t, t->fd, s->host, s->ca_file, err);
	if (t->io == NULL)
		return false;
	t->read = tls_read;
	t->write = tls_write;
	talker_login(t, &login);
	talker_read(t);
	if (strstr(t->last, "ack 74") == NULL || server_refused(t))
		return err_set(err, ERR_OPERATOR, 0, "%s:%u does not let %s in: %s", s->host, s->port, user, t->text[0] == '\0' ? t->last : t->text);
	return true;
}

struct talker *
server_open(TALLOC_CTX *parent, const struct server *s, const char *user, const char *password, struct err *err)
{
	int fd = connect_to(s, err);
	struct talker *t = fd < 0 ? NULL : talker_new(parent, fd, TDS_7_4);

	if (t == NULL || log_in(t, s, user, password, err))
		return t;
	talloc_free(t);
	return NULL;
}

void
server_ask(const struct server *s, struct talker *t, const char *heading, const char *sql)
{
	t->raw = heading == NULL ? NULL : s->transcript;
	if (t->raw != NULL)
		fprintf(t->raw, "# %s\n# %s\n", heading, sql);
	talker_batch(t, sql);
	talker_read(t);
	if (t->raw != NULL)
		fputc('\n', t->raw);
	t->raw = NULL;
}

/* A word of the tokens that begins so. */
static bool
has_token(const char *tokens, const char *begin)
{
	const char *at = strstr(tokens, begin);

	return at != NULL && (at == tokens || at[-1] == ' ');
}

bool
server_refused(const struct talker *t)
{
	return t->tokens[0] == '\0' || has_token(t->tokens, "E") || strstr(t->tokens, "end") != NULL || strstr(t->tokens, "broken") != NULL;
}
