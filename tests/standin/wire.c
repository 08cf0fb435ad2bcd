#include "tests/standin/wire.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/log.h"

enum { LINE_MAX_LEN = 320 };

static const struct knob {
	const char *name;
	size_t at;
	long most;
	const char *says;
} knobs[] = {
#define KNOB(field, most, says) { #field, offsetof(struct wire, field), most, says }
	KNOB(login_delay_ms, 600000, "milliseconds before a log-in is answered"),
	KNOB(ignore_attention, 1, "1: an attention is neither obeyed nor acknowledged"),
	KNOB(drop_at, 100, "percent of BACKUP or RESTORE at which the line is cut"),
	KNOB(silent_at, 100, "percent from which the client hears nothing more; the statement goes on"),
	KNOB(done_shape, WIRE_DONE_SHAPES - 1, "DONE after 0 each message, 1 each file's message, 2 the last one only"),
	KNOB(attention_shape, WIRE_ATTENTION_SHAPES - 1, "an attention is acknowledged in 0 a message of its own, 1 the answer's"),
	KNOB(split, 32759, "bytes of payload in each packet, 1 cuts every token everywhere"),
	KNOB(packet_size, 32767, "the packet size the server insists on, from 512"),
#undef KNOB
};

/* Not a number, so not in the table. */
static const char route[] = "route_read_only";

struct wire_file {
	char *path;
	pthread_mutex_t lock;
	struct stat seen;
	struct wire now;
};

static bool
set_route(struct wire *w, const char *value)
{
	const char *colon = strrchr(value, ':');
	size_t n = colon == NULL ? 0 : (size_t)(colon - value);

	if (value[0] == '\0' || strcmp(value, "0") == 0) {
		w->route_host[0] = w->route_port[0] = '\0';
		return true;
	}
	if (n == 0 || n >= sizeof(w->route_host) || atoi(colon + 1) < 1 || atoi(colon + 1) > 65535)
		return false;
	memcpy(w->route_host, value, n);
	w->route_host[n] = '\0';
	snprintf(w->route_port, sizeof(w->route_port), "%d", atoi(colon + 1));
	return true;
}

static bool
set_one(struct wire *w, const char *name, const char *value)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (strcasecmp(name, route) == 0)
		return set_route(w, value);
	for (size_t i = 0; i < sizeof(knobs) / sizeof(knobs[0]); i++) {
		if (strcasecmp(knobs[i].name, name) != 0)
			continue;
		if (*end != '\0' || end == value || n < 0 || n > knobs[i].most)
			return false;
		memcpy((char *)w + knobs[i].at, &n, sizeof(n));
		return true;
	}
	return false;
}

static void
read_file(struct wire_file *f)
{
	FILE *in = fopen(f->path, "re");
	char line[LINE_MAX_LEN], name[64], value[260];

	f->now = (struct wire){ 0 };
	while (in != NULL && fgets(line, sizeof(line), in) != NULL) {
		if (line[0] == '#' || sscanf(line, "%63s %259s", name, value) < 1)
			continue;
		if (sscanf(line, "%63s %259s", name, value) != 2 || !set_one(&f->now, name, value))
			log_warning("there is no such knob of the wire, or not with that value", "line", line, NULL);
	}
	if (in != NULL)
		fclose(in);
}

static bool
is_changed(const struct stat *a, const struct stat *b)
{
	return a->st_ino != b->st_ino || a->st_size != b->st_size || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
	       a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

/* With the lock held. */
static void
look_again(struct wire_file *f)
{
	struct stat st;

	if (stat(f->path, &st) != 0)
		memset(&st, 0, sizeof(st));
	if (is_changed(&st, &f->seen)) {
		f->seen = st;
		read_file(f);
	}
}

static int
wire_close(struct wire_file *f)
{
	pthread_mutex_destroy(&f->lock);
	return 0;
}

struct wire_file *
wire_open(TALLOC_CTX *parent, const char *path)
{
	struct wire_file *f = talloc_zero(parent, struct wire_file);

	f->path = talloc_strdup(f, path);
	pthread_mutex_init(&f->lock, NULL);
	talloc_set_destructor(f, wire_close);
	return f;
}

struct wire
wire_now(struct wire_file *f)
{
	struct wire now;

	pthread_mutex_lock(&f->lock);
	look_again(f);
	now = f->now;
	pthread_mutex_unlock(&f->lock);
	return now;
}

/* A new file under the old name, so that nobody reads half of one. */
static bool
write_file(const struct wire_file *f, struct err *err)
{
	char *fresh = talloc_asprintf(NULL, "%s.new", f->path);
	FILE *out = fopen(fresh, "we");
	bool good = out != NULL;

	for (size_t i = 0; good && i < sizeof(knobs) / sizeof(knobs[0]); i++) {
		long n;

		memcpy(&n, (const char *)&f->now + knobs[i].at, sizeof(n));
		good = n == 0 || fprintf(out, "%s %ld\n", knobs[i].name, n) > 0;
	}
	if (good && f->now.route_host[0] != '\0')
		good = fprintf(out, "%s %s:%s\n", route, f->now.route_host, f->now.route_port) > 0;
	if (out != NULL && fclose(out) != 0)
		good = false;
	if (!good || rename(fresh, f->path) != 0)
		good = err_errno(err, errno, "%s", f->path);
	talloc_free(fresh);
	return good;
}

bool
wire_set(struct wire_file *f, const char *name, const char *value, struct err *err)
{
	bool good;

	pthread_mutex_lock(&f->lock);
	look_again(f);
	good = set_one(&f->now, name, value);
	if (!good)
		err_set(err, ERR_REFUSED, 50000, "the wire has no knob '%.64s' that can be '%.64s'; landfall-standin --help lists them", name, value);
	else
		good = write_file(f, err);
	pthread_mutex_unlock(&f->lock);
	return good;
}

void
wire_explain(FILE *out)
{
	for (size_t i = 0; i < sizeof(knobs) / sizeof(knobs[0]); i++)
		fprintf(out, "  %-18s %s\n", knobs[i].name, knobs[i].says);
	fprintf(out, "  %-18s %s\n", route, "HOST:PORT to which clients with read-only intent are sent on");
}
