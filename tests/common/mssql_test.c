/*
 * What a server that answers wrongly, or not at all, gets to hear from Landfall's door to SQL Server: never the password,
 * neither as text nor as a log-in packet writes it. Every byte that leaves is recorded.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/mssql.h"
#include "tests/standin/session.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { HEARD_MAX = 1 << 16, PATIENCE_SECONDS = 30 };

static const char PASSWORD[] = "Never-In-Clear-1!";
static char dir[64];

/* ---- a listener that keeps all it hears ------------------------------------------------------------------------------ */

struct strange {
	const char *says;        /* what kind of server it is, in a test's message */
	const uint8_t *answer;   /* to the first packet; NULL: none */
	size_t answer_len;
	bool hangs_up;           /* after that */
	bool hangs_up_at_once;
	const uint8_t *second;   /* to whatever follows, once */
	size_t second_len;
	int forward_to;          /* a port: everything goes there and back instead */
};

/* A strange server, where it listens, and all that it heard. */
struct recorder {
	const struct strange *strange;
	struct mssql_target target;
	char name[16];
	uint8_t bytes[HEARD_MAX];
	size_t n;
	/* of the try to open a door to it */
	struct err err;
	bool opened;
	long seconds;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
keep(struct recorder *r, const uint8_t *bytes, ssize_t n)
{
	pthread_mutex_lock(&lock);
	if (n > 0 && r->n + (size_t)n <= HEARD_MAX) {
		memcpy(r->bytes + r->n, bytes, (size_t)n);
		r->n += (size_t)n;
	}
	pthread_mutex_unlock(&lock);
}

static int
dial(int port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 ? fd : -1;
}

static void
forward(struct recorder *r, int client, int server)
{
	struct pollfd p[2] = { { client, POLLIN, 0 }, { server, POLLIN, 0 } };
	uint8_t b[4096];

	while (poll(p, 2, PATIENCE_SECONDS * 1000) > 0)
		for (int i = 0; i < 2; i++) {
			ssize_t n = p[i].revents == 0 ? 0 : read(p[i].fd, b, sizeof(b));

			if (p[i].revents != 0 && n <= 0)
				return;
			if (i == 0)
				keep(r, b, n);
			if (n > 0 && write(p[1 - i].fd, b, (size_t)n) != n)
				return;
		}
}

static void
converse(struct recorder *r, int fd)
{
	const struct strange *now = r->strange;
	uint8_t b[4096];
	ssize_t n;

	if (now->hangs_up_at_once)
		return;
	for (int packet = 0; (n = read(fd, b, sizeof(b))) > 0; packet++) {
		keep(r, b, n);
		if (packet == 0 && now->answer != NULL && write(fd, now->answer, now->answer_len) < 0)
			return;
		if (packet == 0 && now->hangs_up)
			return;
		if (packet == 1 && now->second != NULL && write(fd, now->second, now->second_len) < 0)
			return;
	}
}

struct connection { void (*serve)(void *with, int fd); void *with; int fd; };

static void *
one_connection(void *ctx)
{
	struct connection *c = ctx;

	c->serve(c->with, c->fd);
	close(c->fd);
	free(c);
	return NULL;
}

static void *
accept_all(void *ctx)
{
	const struct connection *listener = ctx; /* lives as long as the test */

	for (;;) {
		struct connection *c = malloc(sizeof(*c));
		pthread_t thread;

		if (c == NULL)
			return NULL;
		*c = *listener;
		c->fd = accept(listener->fd, NULL, NULL);
		if (c->fd < 0 || pthread_create(&thread, NULL, one_connection, c) != 0) {
			free(c);
			return NULL;
		}
		pthread_detach(thread);
	}
}

/* Its port; serve gets each connection. */
static int
listen_somewhere(void (*serve)(void *with, int fd), void *with)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct connection *listener = malloc(sizeof(*listener));
	socklen_t len = sizeof(sa);
	pthread_t thread;

	assert_non_null(listener);
	*listener = (struct connection){ serve, with, socket(AF_INET, SOCK_STREAM, 0) };
	assert_true(listener->fd >= 0 && bind(listener->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(listener->fd, 16) == 0 &&
	            getsockname(listener->fd, (struct sockaddr *)&sa, &len) == 0);
	assert_int_equal(pthread_create(&thread, NULL, accept_all, listener), 0);
	return ntohs(sa.sin_port);
}

static void
record(void *with, int fd)
{
	struct recorder *r = with;
	int server = r->strange->forward_to == 0 ? -1 : dial(r->strange->forward_to);

	if (r->strange->forward_to == 0)
		converse(r, fd);
	else if (server >= 0)
		forward(r, fd, server);
	if (server >= 0)
		close(server);
}

/* ---- what must not be heard -------------------------------------------------------------------------------------------- */

static bool
has_bytes(struct recorder *r, const uint8_t *want, size_t len)
{
	bool found;

	pthread_mutex_lock(&lock);
	found = memmem(r->bytes, r->n, want, len) != NULL;
	pthread_mutex_unlock(&lock);
	return found;
}

/* As text, as UTF-16, and as LOGIN7 writes it: each byte's halves swapped, then XOR 0xA5 ([MS-TDS] 2.2.6.4). */
static bool
heard_password(struct recorder *r)
{
	uint8_t wide[2 * sizeof(PASSWORD)], veiled[2 * sizeof(PASSWORD)];
	size_t n = sizeof(PASSWORD) - 1;

	for (size_t i = 0; i < n; i++) {
		wide[2 * i] = (uint8_t)PASSWORD[i];
		wide[2 * i + 1] = 0;
	}
	for (size_t i = 0; i < 2 * n; i++)
		veiled[i] = (uint8_t)(((wide[i] << 4) | (wide[i] >> 4)) ^ 0xA5);
	return has_bytes(r, (const uint8_t *)PASSWORD, n) || has_bytes(r, wide, 2 * n) || has_bytes(r, veiled, 2 * n);
}

/* ---- strange servers ----------------------------------------------------------------------------------------------------- */

/* PRELOGIN's answer: version 15.0.2000, and what it says of encryption ([MS-TDS] 2.2.6.5). */
#define PRELOGIN(encryption) { 4, 1, 0, 26, 0, 0, 1, 0, 0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xFF, 15, 0, 0x07, 0xD0, 0, 0, (encryption) }
static const uint8_t tls_off[] = PRELOGIN(0), tls_on[] = PRELOGIN(1), no_tls[] = PRELOGIN(2), tls_needed[] = PRELOGIN(3), tls_odd[] = PRELOGIN(77);
static const uint8_t garbage[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
static const uint8_t short_answer[] = { 4, 1, 0, 9, 0, 0, 1, 0, 0xFF };
static const uint8_t cut_answer[] = { 4, 1, 0, 200, 0, 0, 1, 0, 0 };
/* A LOGINACK of an older server, at once: as if the log-in had been there already. */
static const uint8_t older[] = { 4, 1, 0, 22, 0, 0, 1, 0, 0xAD, 8, 0, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
static const uint8_t done_error[] = { 4, 1, 0, 21, 0, 0, 1, 0, 0xFD, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };

#define SAYS(a) .answer = (a), .answer_len = sizeof(a)
#define THEN(a) .second = (a), .second_len = sizeof(a)

static const struct strange strangers[] = {
	{ .says = "hangs up at once", .hangs_up_at_once = true },
	{ .says = "hangs up after the first packet", .hangs_up = true },
	{ .says = "knows no TLS", SAYS(no_tls) },
	{ .says = "wants TLS for the log-in only, and answers the hand-shake with nothing good", SAYS(tls_off), THEN(garbage) },
	{ .says = "has TLS and cannot do it", SAYS(tls_on), THEN(garbage) },
	{ .says = "needs TLS and goes on in clear", SAYS(tls_needed), THEN(older) },
	{ .says = "says something else of TLS", SAYS(tls_odd), THEN(garbage) },
	{ .says = "says nothing of TLS", SAYS(short_answer) },
	{ .says = "is cut off in its answer", SAYS(cut_answer), .hangs_up = true },
	{ .says = "is a web server", SAYS(garbage), .hangs_up = true },
	{ .says = "takes an older log-in for done", SAYS(older), THEN(older) },
	{ .says = "answers with an error", SAYS(done_error), THEN(done_error) },
	{ .says = "never answers" },
};

static void
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static char *
path_of(const char *name)
{
	static char s[6][128];
	static int n;

	n = (n + 1) % 6;
	snprintf(s[n], sizeof(s[n]), "%s/%s", dir, name);
	return s[n];
}

static bool
shell(const char *fmt, ...)
{
	char command[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	return system(command) == 0;
}

static struct recorder *
recorder_of(const struct strange *strange, const char *name, const char *ca)
{
	struct recorder *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->strange = strange;
	snprintf(r->name, sizeof(r->name), "%s", name);
	r->target = (struct mssql_target){ .name = r->name, .host = "127.0.0.1", .port = listen_somewhere(record, r), .ca_file = strdup(ca), .login = "sa",
		.password_file = strdup(path_of("password")) };
	return r;
}

static void *
try_door(void *ctx)
{
	struct recorder *r = ctx;
	time_t begin = time(NULL);
	struct mssql *ms = mssql_open(NULL, &r->target, "mssql_test", NULL, &r->err);

	r->opened = ms != NULL;
	r->seconds = (long)(time(NULL) - begin);
	talloc_free(ms);
	return NULL;
}

/* It must stay shut, in time, in words, and without the password outside. */
static void
stayed_shut(struct recorder *r)
{
	if (r->opened)
		fail_msg("a server that %s: logged in", r->strange->says);
	if (heard_password(r))
		fail_msg("a server that %s: the password left in clear", r->strange->says);
	if (r->err.text[0] == '\0' || r->seconds > PATIENCE_SECONDS)
		fail_msg("a server that %s: %s after %ld s", r->strange->says, r->err.text[0] == '\0' ? "no words" : r->err.text, r->seconds);
	if (r->n == 0 && !r->strange->hangs_up_at_once)
		fail_msg("a server that %s: nobody called", r->strange->says);
}

static void
no_strange_server_hears_the_password(void **state)
{
	struct recorder *r[COUNT(strangers)];
	struct mssql_target targets[COUNT(strangers)];
	pthread_t threads[COUNT(strangers)];
	struct err err = { 0 };
	char name[16];

	(void)state;
	for (size_t i = 0; i < COUNT(strangers); i++) {
		snprintf(name, sizeof(name), "strange%zu", i);
		r[i] = recorder_of(&strangers[i], name, path_of("cert.pem"));
		targets[i] = r[i]->target;
	}
	assert_true(mssql_setup(dir, targets, COUNT(strangers), &err));
	for (size_t i = 0; i < COUNT(strangers); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, try_door, r[i]), 0);
	for (size_t i = 0; i < COUNT(strangers); i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < COUNT(strangers); i++)
		stayed_shut(r[i]);
}

/* The test can fail: the same listener hears it from a client that is told to do without TLS. */
static void
a_client_without_tls_would_be_heard(void **state)
{
	static const struct strange naive = { .says = "knows no TLS", SAYS(no_tls) };
	struct recorder *r = recorder_of(&naive, "naive", path_of("cert.pem"));

	(void)state;
	write_file(path_of("naive.conf"), "[global]\n\ttds version = 7.4\n\tencryption = off\n");
	shell("FREETDSCONF='%s' timeout 3 tsql -H 127.0.0.1 -p %d -U sa -P '%s' >/dev/null 2>&1 </dev/null", path_of("naive.conf"), r->target.port, PASSWORD);
	assert_true(heard_password(r));
}

/* ---- real TLS, and a certificate that is not the one --------------------------------------------------------------------- */

static struct server server;

static void
serve(void *with, int fd)
{
	(void)with;
	session_serve(&server, fd, 51);
}

static bool
make_certificate(const char *name, const char *host)
{
	return shell("cd '%s' && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=%s -addext subjectAltName=DNS:%s -keyout %s.key -out %s.pem"
	             " 2>/dev/null", dir, host, host, name, name);
}

static void
a_wrong_certificate_hears_nothing(void **state)
{
	static const struct { const char *says, *identity, *ca; } identities[] = {
		{ "is signed by nobody we know", "other", "cert.pem" },
		{ "has a certificate for another name", "elsewhere", "elsewhere.pem" },
		{ "is the right one", "cert", "cert.pem" },
	};
	struct strange proxy = { .says = "is behind the recorder" };
	struct recorder *r = NULL;
	struct err err = { 0 };

	(void)state;
	server = (struct server){ .e = engine_open(NULL, path_of("data"), "S", &err), .policy = TDS_POLICY_REQUIRED,
		.log = statement_log_open(NULL, path_of("log"), &err), .wire = wire_open(NULL, path_of("wire")) };
	assert_true(server.e != NULL && engine_login_set(server.e, "sa", PASSWORD, true, &err));
	assert_true(make_certificate("other", "localhost") && make_certificate("elsewhere", "sql.example.net"));
	proxy.forward_to = listen_somewhere(serve, NULL);
	/* The last is the right one: the same door opens, heard by the same recorder. */
	for (size_t i = 0; i < COUNT(identities); i++) {
		char cert[40], key[40];

		snprintf(cert, sizeof(cert), "%s.pem", identities[i].identity);
		snprintf(key, sizeof(key), "%s.key", identities[i].identity);
		server.identity = tds_identity_load(NULL, path_of(cert), path_of(key), &err);
		proxy.says = identities[i].says;
		r = recorder_of(&proxy, "proxied", path_of(identities[i].ca));
		assert_true(mssql_setup(dir, &r->target, 1, &err));
		try_door(r);
		if (i + 1 < COUNT(identities))
			stayed_shut(r);
	}
	if (!r->opened)
		fail_msg("%s", r->err.text);
	assert_false(heard_password(r));
}

static int
begin(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	snprintf(dir, sizeof(dir), "/tmp/landfall-mssql-XXXXXX");
	if (mkdtemp(dir) == NULL || !shell("cd '%s' && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext "
	                                   "subjectAltName=IP:127.0.0.1,DNS:127.0.0.1 -keyout cert.key -out cert.pem 2>/dev/null", dir))
		return -1;
	write_file(path_of("password"), PASSWORD);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	return shell("rm -rf '%s'", dir) ? 0 : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_strange_server_hears_the_password),
		cmocka_unit_test(a_client_without_tls_would_be_heard),
		cmocka_unit_test(a_wrong_certificate_hears_nothing),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
