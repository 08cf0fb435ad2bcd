/*
 * landfall-console: read-only pages for the infra team, /metrics and /healthz. It changes nothing:
 * what people ask for goes through the command line.
 */
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <systemd/sd-daemon.h>

#include "common/ask_view.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "console/notify.h"
#include "console/page.h"

enum { BODY_MAX = 1024, HEADERS_MAX = 16384, SECONDS = 20, REST_SECONDS = 3, SEEN_MAX = 100 };

/* Methods that we answer ourselves; evhttp says 501 to the rest. */
#define METHODS                                                                                     \
	(EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |  \
	 EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE | EVHTTP_REQ_PATCH)

static const char html[] = "text/html; charset=utf-8", plain[] = "text/plain; charset=utf-8";

struct console {
	struct db *db;
	struct event_base *base;
	/* What Postgres last said; shown, and called old, while it is away. */
	json_t *queue, *migrations, *status;
	json_t *seen; /* id -> {migration, history, at} */
	time_t at;
	int64_t read_at, failed_at; /* steady seconds */
	char away[500];
};

static void
answer(struct evhttp_request *req, int code, const char *type, const char *body)
{
	struct evkeyvalq *h = evhttp_request_get_output_headers(req);
	struct evbuffer *b = evbuffer_new();

	evhttp_add_header(h, "Content-Type", type);
	evhttp_add_header(h, "Cache-Control", "no-store");
	evhttp_add_header(h, "X-Content-Type-Options", "nosniff");
	evhttp_add_header(h, "Referrer-Policy", "no-referrer");
	evhttp_add_header(h, "Content-Security-Policy", "default-src 'none'; style-src 'self'; "
	                  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
	if (code == HTTP_BADMETHOD)
		evhttp_add_header(h, "Allow", "GET, HEAD");
	evbuffer_add(b, body, strlen(body));
	evhttp_send_reply(req, code, NULL, b);
	evbuffer_free(b);
}

/* Only one request is served at a time: a Postgres that hangs must not hold up each of them anew. */
static bool
is_resting(const struct console *c)
{
	return c->failed_at != 0 && steady_seconds() - c->failed_at < REST_SECONDS;
}

static bool
failed(struct console *c, const struct err *err)
{
	snprintf(c->away, sizeof(c->away), "%s", err->text);
	c->failed_at = steady_seconds();
	return false;
}

static bool
refresh(struct console *c)
{
	struct err err = { 0 };
	json_t *queue, *migrations, *status;

	if (is_resting(c))
		return false;
	if (steady_seconds() == c->read_at)
		return true; /* a second old at most */
	queue = view_queue(c->db, VIEW_QUEUE_SHOWN, &err);
	migrations = queue == NULL ? NULL : view_migrations(c->db, &err);
	status = migrations == NULL ? NULL : view_status(c->db, &err);
	if (status == NULL) {
		json_decref(queue);
		json_decref(migrations);
		return failed(c, &err);
	}
	json_decref(c->queue);
	json_decref(c->migrations);
	json_decref(c->status);
	c->queue = queue;
	c->migrations = migrations;
	c->status = status;
	c->at = time(NULL);
	c->read_at = steady_seconds();
	c->failed_at = 0;
	return true;
}

static struct page_age
age_of(const struct console *c, TALLOC_CTX *mem, time_t at, bool fresh)
{
	char when[32] = "";
	struct tm tm;

	if (at != 0)
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&at, &tm));
	return (struct page_age){
		.as_of = talloc_strdup(mem, when),
		.stale = fresh ? NULL
		         : at == 0 ? talloc_asprintf(mem, "Postgres has not answered yet (%s)", c->away)
		         : talloc_asprintf(mem, "they are from %s; Postgres does not answer (%s)", when, c->away),
	};
}

/* Asks for one migration and keeps the answer. *gone: there is no such migration. */
static bool
look_at(struct console *c, const char *id, bool *gone)
{
	struct err err = { 0 };
	json_t *m, *history;

	*gone = false;
	if (is_resting(c))
		return false;
	if ((m = view_migration(c->db, id, &err)) == NULL)
		return failed(c, &err);
	*gone = json_is_null(m);
	if (*gone)
		return true;
	if ((history = view_history(c->db, id, &err)) == NULL) {
		json_decref(m);
		return failed(c, &err);
	}
	if (json_object_size(c->seen) >= SEEN_MAX)
		json_object_clear(c->seen);
	json_object_set_new(c->seen, id, json_pack("{s:o,s:o,s:I}", "migration", m, "history", history,
	                                           "at", (json_int_t)time(NULL)));
	return true;
}

static void
show_migration(struct console *c, struct evhttp_request *req, TALLOC_CTX *mem, const char *id)
{
	bool gone, fresh = look_at(c, id, &gone);
	json_t *o = json_object_get(c->seen, id);
	struct page_age age;

	if (gone) {
		answer(req, HTTP_NOTFOUND, plain, "There is no such migration.\n");
		return;
	}
	if (o == NULL) {
		answer(req, HTTP_SERVUNAVAIL, plain,
		       talloc_asprintf(mem, "Postgres does not answer: %s\n", c->away));
		return;
	}
	age = age_of(c, mem, (time_t)json_integer_value(json_object_get(o, "at")), fresh);
	answer(req, HTTP_OK, html, page_migration(mem, json_object_get(o, "migration"),
	                                          json_object_get(o, "history"), &age));
}

static void
show_overview(struct console *c, struct evhttp_request *req, TALLOC_CTX *mem)
{
	bool fresh = refresh(c);
	struct page_age age = age_of(c, mem, c->at, fresh);

	answer(req, HTTP_OK, html, page_overview(mem, c->queue, c->migrations, c->status, &age));
}

static void
show_metrics(struct console *c, struct evhttp_request *req, TALLOC_CTX *mem)
{
	struct err err = { 0 };
	json_t *o = is_resting(c) ? NULL : view_metrics(c->db, &err);

	if (o == NULL && !is_resting(c))
		failed(c, &err);
	answer(req, HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", page_metrics(mem, o));
	json_decref(o);
}

static void
show_health(struct console *c, struct evhttp_request *req, TALLOC_CTX *mem)
{
	if (refresh(c))
		answer(req, HTTP_OK, plain, "ok\n");
	else
		answer(req, HTTP_SERVUNAVAIL, plain, talloc_asprintf(mem, "Postgres: %s\n", c->away));
}

static bool
is_id(const char *s)
{
	return strncmp(s, "m-", 2) == 0 && s[2] != '\0' && strlen(s) < 20 &&
	       strspn(s + 2, "0123456789") == strlen(s + 2);
}

static void
on_request(struct evhttp_request *req, void *ctx)
{
	struct console *c = ctx;
	TALLOC_CTX *mem = talloc_new(NULL);
	enum evhttp_cmd_type method = evhttp_request_get_command(req);
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = uri == NULL ? NULL : evhttp_uri_get_path(uri);

	if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD)
		answer(req, HTTP_BADMETHOD, plain, "This console only shows; changes go through the command line.\n");
	else if (path == NULL || path[0] == '\0' || strcmp(path, "/") == 0)
		show_overview(c, req, mem);
	else if (strcmp(path, "/style.css") == 0)
		answer(req, HTTP_OK, "text/css; charset=utf-8", page_css());
	else if (strncmp(path, "/m/", 3) == 0 && is_id(path + 3))
		show_migration(c, req, mem, path + 3);
	else if (strcmp(path, "/metrics") == 0)
		show_metrics(c, req, mem);
	else if (strcmp(path, "/healthz") == 0)
		show_health(c, req, mem);
	else
		answer(req, HTTP_NOTFOUND, plain, "There is no such page.\n");
	talloc_free(mem);
}

static void
on_term(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(((struct console *)ctx)->base);
}

static void
on_tick(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)ctx;
	sd_notify(0, "WATCHDOG=1");
}

/* The port that was got, which differs from the one asked for when that was 0. */
static unsigned
port_of(struct evhttp_bound_socket *bound)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);

	getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&sa, &len);
	return ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
	                                      : ((struct sockaddr_in *)&sa)->sin_port);
}

static bool
say_ready(const char *path, unsigned port, struct err *err)
{
	FILE *f = path == NULL ? NULL : fopen(path, "we");
	bool good = path == NULL || f != NULL;

	if (f != NULL) {
		good = fprintf(f, "%u %d\n", port, getpid()) > 0;
		good = fclose(f) == 0 && good;
	}
	if (!good)
		return err_set(err, ERR_OPERATOR, 0, "the ready file %s cannot be written", path);
	sd_notify(0, "READY=1");
	return true;
}

static struct evhttp_bound_socket *
bind_to(struct evhttp *http, const char *where, struct err *err)
{
	struct evhttp_bound_socket *bound = NULL;
	char host[128];
	uint16_t port;

	if (where == NULL)
		err_set(err, ERR_OPERATOR, 0, "the configuration has no console.listen");
	else if (config_address(where, host, sizeof(host), &port, err) &&
	         (bound = evhttp_bind_socket_with_handle(http, host, port)) == NULL)
		err_set(err, ERR_OPERATOR, 0, "cannot listen on %s (is something else listening there?)", where);
	return bound;
}

static int
serve(struct console *c, const struct config *config, const char *ready)
{
	struct timeval tick = { 5, 0 };
	struct evhttp_bound_socket *bound;
	struct event *events[3];
	struct evhttp *http;
	struct err err = { 0 };
	bool good;

	c->base = event_base_new();
	http = evhttp_new(c->base);
	evhttp_set_max_body_size(http, BODY_MAX);
	evhttp_set_max_headers_size(http, HEADERS_MAX);
	evhttp_set_timeout(http, SECONDS);
	evhttp_set_allowed_methods(http, METHODS);
	evhttp_set_gencb(http, on_request, c);
	events[0] = evsignal_new(c->base, SIGTERM, on_term, c);
	events[1] = evsignal_new(c->base, SIGINT, on_term, c);
	events[2] = event_new(c->base, -1, EV_PERSIST, on_tick, c);
	event_add(events[0], NULL);
	event_add(events[1], NULL);
	event_add(events[2], &tick);
	bound = bind_to(http, config->console.listen, &err);
	good = bound != NULL && say_ready(ready, port_of(bound), &err);
	if (good) {
		log_info("ready", "listen", config->console.listen, NULL);
		event_base_dispatch(c->base);
		sd_notify(0, "STOPPING=1");
	} else {
		log_error("cannot start", "error", err.text, NULL);
	}
	evhttp_free(http);
	for (size_t i = 0; i < 3; i++)
		event_free(events[i]);
	event_base_free(c->base);
	return good ? 0 : 1;
}

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' }, { "ready-file", required_argument, NULL, 'r' },
	{ "help", no_argument, NULL, 'h' }, { 0 },
};

int
main(int argc, char **argv)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	const char *path = NULL, *ready = NULL;
	struct console c = { .seen = json_object() };
	struct config *config;
	struct db_where where;
	struct err err = { 0 };
	int opt, code;

	while ((opt = getopt_long(argc, argv, "c:r:h", options, NULL)) != -1) {
		if (opt == 'c')
			path = optarg;
		else if (opt == 'r')
			ready = optarg;
		else {
			fprintf(opt == 'h' ? stdout : stderr,
			        "usage: landfall-console [--config FILE] [--ready-file FILE]\n");
			return opt == 'h' ? 0 : 2;
		}
	}
	log_begin("landfall-console");
	signal(SIGPIPE, SIG_IGN);
	config = config_load(mem, path, &err);
	if (config == NULL) {
		log_error("cannot start", "error", err.text, NULL);
		return 1;
	}
	config_where(config, &config->postgres.console, "landfall-console", &where);
	c.db = db_new(mem, &where);
	if (config->console.mail.url != NULL && notifier_start(mem, config, &err) == NULL) {
		log_error("cannot start", "error", err.text, NULL);
		return 1;
	}
	code = serve(&c, config, ready);
	json_decref(c.queue);
	json_decref(c.migrations);
	json_decref(c.status);
	json_decref(c.seen);
	talloc_free(mem);
	return code;
}
