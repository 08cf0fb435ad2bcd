/*
 * landfall-console: read-only pages for the infra team, /metrics and /healthz. It changes nothing: what people ask
 * for goes through the command line.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <systemd/sd-daemon.h>

#include "common/ask_view.h"
#include "common/config.h"
#include "common/log.h"
#include "console/page.h"

enum { BODY_MAX = 1024, HEADERS_MAX = 16384, SECONDS = 20, STALE_SECONDS = 3 };

struct console {
	struct db *db;
	struct event_base *base;
	/* What Postgres last said; shown, and called old, while it is away. */
	json_t *queue, *migrations, *status;
	time_t at;
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
	evhttp_add_header(h, "Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
	evbuffer_add(b, body, strlen(body));
	evhttp_send_reply(req, code, NULL, b);
	evbuffer_free(b);
}

static bool
refresh(struct console *c)
{
	struct err err = { 0 };
	json_t *queue, *migrations, *status;

	if (time(NULL) == c->at)
		return true; /* a second old at most */
	queue = view_queue(c->db, &err);
	migrations = queue == NULL ? NULL : view_migrations(c->db, &err);
	status = migrations == NULL ? NULL : view_status(c->db, &err);
	if (status == NULL) {
		json_decref(queue);
		json_decref(migrations);
		snprintf(c->away, sizeof(c->away), "%s", err.text);
		return false;
	}
	json_decref(c->queue);
	json_decref(c->migrations);
	json_decref(c->status);
	c->queue = queue;
	c->migrations = migrations;
	c->status = status;
	c->at = time(NULL);
	return true;
}

static const char *
why_stale(const struct console *c, TALLOC_CTX *mem, bool fresh)
{
	char when[32];
	struct tm tm;

	if (fresh)
		return NULL;
	if (c->at == 0)
		return talloc_asprintf(mem, "Postgres has not answered yet (%s)", c->away);
	strftime(when, sizeof(when), "%H:%M:%S UTC", gmtime_r(&c->at, &tm));
	return talloc_asprintf(mem, "they are from %s; Postgres does not answer (%s)", when, c->away);
}

static void
show_migration(struct console *c, struct evhttp_request *req, TALLOC_CTX *mem, const char *id)
{
	struct err err = { 0 };
	json_t *m = view_migration(c->db, id, &err), *history = m == NULL || json_is_null(m) ? NULL : view_history(c->db, id, &err);

	if (m != NULL && json_is_null(m))
		answer(req, 404, "text/plain; charset=utf-8", "There is no such migration.\n");
	else if (history == NULL)
		answer(req, 503, "text/plain; charset=utf-8", talloc_asprintf(mem, "Postgres does not answer: %s\n", err.text));
	else
		answer(req, 200, "text/html; charset=utf-8", page_migration(mem, m, history, NULL));
	json_decref(m);
	json_decref(history);
}

static void
show_metrics(struct console *c, struct evhttp_request *req, TALLOC_CTX *mem)
{
	struct err err = { 0 };
	json_t *o = view_metrics(c->db, &err);
	char *body = o == NULL ? talloc_strdup(mem, "# HELP landfall_up Whether Postgres answers.\n# TYPE landfall_up gauge\nlandfall_up 0\n")
	                       : talloc_asprintf(mem, "# HELP landfall_up Whether Postgres answers.\n# TYPE landfall_up gauge\nlandfall_up 1\n%s",
	                                         page_metrics(mem, o));

	answer(req, 200, "text/plain; version=0.0.4; charset=utf-8", body);
	json_decref(o);
}

static bool
is_id(const char *s)
{
	return s[0] == 'm' && s[1] == '-' && strlen(s) < 20 && s[2] != '\0' && strspn(s + 2, "0123456789") == strlen(s + 2);
}

static void
on_request(struct evhttp_request *req, void *ctx)
{
	struct console *c = ctx;
	TALLOC_CTX *mem = talloc_new(NULL);
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = uri == NULL ? NULL : evhttp_uri_get_path(uri);
	bool fresh;

	if (evhttp_request_get_command(req) != EVHTTP_REQ_GET && evhttp_request_get_command(req) != EVHTTP_REQ_HEAD)
		answer(req, 405, "text/plain; charset=utf-8", "This console only shows; changes go through the command line.\n");
	else if (path == NULL || strcmp(path, "/") == 0 || path[0] == '\0') {
		fresh = refresh(c);
		answer(req, 200, "text/html; charset=utf-8", page_overview(mem, c->queue, c->migrations, c->status, why_stale(c, mem, fresh)));
	} else if (strcmp(path, "/style.css") == 0)
		answer(req, 200, "text/css; charset=utf-8", page_css());
	else if (strncmp(path, "/m/", 3) == 0 && is_id(path + 3))
		show_migration(c, req, mem, path + 3);
	else if (strcmp(path, "/metrics") == 0)
		show_metrics(c, req, mem);
	else if (strcmp(path, "/healthz") == 0) {
		fresh = refresh(c);
		answer(req, fresh ? 200 : 503, "text/plain; charset=utf-8", fresh ? "ok\n" : talloc_asprintf(mem, "Postgres: %s\n", c->away));
	} else
		answer(req, 404, "text/plain; charset=utf-8", "There is no such page.\n");
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

static int
serve(struct console *c, const struct config *config, const char *ready)
{
	struct timeval tick = { 5, 0 };
	struct evhttp *http;
	struct evhttp_bound_socket *bound;
	struct err err = { 0 };
	char host[128];
	uint16_t port;
	FILE *f;

	c->base = event_base_new();
	http = evhttp_new(c->base);
	evhttp_set_max_body_size(http, BODY_MAX);
	evhttp_set_max_headers_size(http, HEADERS_MAX);
	evhttp_set_timeout(http, SECONDS);
	evhttp_set_gencb(http, on_request, c);
	if (config->console.listen == NULL || !config_address(config->console.listen, host, sizeof(host), &port, &err) ||
	    (bound = evhttp_bind_socket_with_handle(http, host, port)) == NULL) {
		log_error("cannot listen", "listen", config->console.listen == NULL ? "" : config->console.listen, "error", err.text, NULL);
		return 1;
	}
	event_add(evsignal_new(c->base, SIGTERM, on_term, c), NULL);
	event_add(evsignal_new(c->base, SIGINT, on_term, c), NULL);
	event_add(event_new(c->base, -1, EV_PERSIST, on_tick, c), &tick);
	sd_notify(0, "READY=1");
	if (ready != NULL && (f = fopen(ready, "we")) != NULL) {
		fprintf(f, "%u %d\n", port, getpid());
		fclose(f);
	}
	log_info("ready", "listen", config->console.listen, NULL);
	event_base_dispatch(c->base);
	(void)bound;
	return 0;
}

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' }, { "ready-file", required_argument, NULL, 'r' }, { "help", no_argument, NULL, 'h' }, { 0 },
};

int
main(int argc, char **argv)
{
	const char *path = NULL, *ready = NULL;
	struct console c = { 0 };
	struct config *config;
	struct db_where where;
	struct err err = { 0 };
	int opt;

	while ((opt = getopt_long(argc, argv, "c:r:h", options, NULL)) != -1) {
		if (opt == 'c')
			path = optarg;
		else if (opt == 'r')
			ready = optarg;
		else {
			fprintf(opt == 'h' ? stdout : stderr, "usage: landfall-console [--config FILE] [--ready-file FILE]\n");
			return opt == 'h' ? 0 : 2;
		}
	}
	log_begin("landfall-console");
	signal(SIGPIPE, SIG_IGN);
	config = config_load(NULL, path, &err);
	if (config == NULL) {
		log_error("cannot start", "error", err.text, NULL);
		return 1;
	}
	config_where(config, &config->postgres.console, "landfall-console", &where);
	c.db = db_new(NULL, &where);
	return serve(&c, config, ready);
}
