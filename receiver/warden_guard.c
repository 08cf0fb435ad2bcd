#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "receiver/crowd.h"
#include "receiver/knocks.h"
#include "receiver/warden_parts.h"

/*
 * A session has CPU for its bytes, for its time and a little besides: an upload takes two seconds per GiB, a client
 * that only looks around next to nothing, and what is hostile ends soon. Readers are given their file's bytes.
 */
enum { BYTES_PER_CPU_SECOND = 20 * 1000 * 1000, TIME_PER_CPU_TIME = 20, STRANGER_CPU_SECONDS = 10, CPU_GRACE_SECONDS = 2 };
enum { PENALTY_FIRST_SECONDS = 2, PENALTY_FORGET_SECONDS = 60, REFUSALS_LOG_SECONDS = 10 };

/* ---- lists of the configuration ---------------------------------------------------------------------------------- */

static bool
are_ranges(const char *key, char **list, unsigned n, struct err *err)
{
	for (unsigned i = 0; i < n; i++)
		if (!address_is_range(list[i]))
			return err_set(err, ERR_OPERATOR, 0, "receiver.%s: %.60s is no address or range such as 192.0.2.0/24", key, list[i]);
	return true;
}

static bool
is_listed(const struct address *a, char **list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (address_is_in(a, list[i]))
			return true;
	return false;
}

bool
guard_begin(struct warden *w, struct err *err)
{
	const struct config_receiver *r = &w->config->receiver;
	const struct penalty_rule rule = { (unsigned)r->penalty_after, PENALTY_FIRST_SECONDS, (unsigned)r->penalty_most_seconds, PENALTY_FORGET_SECONDS };

	if (!are_ranges("proxies", r->proxies, r->n_proxies, err) || !are_ranges("exempt", r->exempt, r->n_exempt, err))
		return false;
	w->penalties = penalties_new(NULL, &rule);
	w->knocks = knocks_new(NULL);
	return true;
}

bool
guard_is_balancer(const struct warden *w, const struct address *peer)
{
	return is_listed(peer, w->config->receiver.proxies, w->config->receiver.n_proxies);
}

/* A balancer answers for nobody's log-ins, and its health checks come often. */
static bool
is_exempt(const struct warden *w, const struct address *peer)
{
	return guard_is_balancer(w, peer) || is_listed(peer, w->config->receiver.exempt, w->config->receiver.n_exempt);
}

/* ---- coming in ------------------------------------------------------------------------------------------------------- */

static bool
is_stranger(const struct session *s)
{
	return !s->is_in && s->reading == 0 && s->pair >= 0 && !s->leaves;
}

static size_t
count_sessions(const struct warden *w, const struct session *without, size_t *strangers)
{
	size_t all = 0;

	*strangers = 0;
	for (const struct session *s = w->sessions; s != NULL; s = s->next)
		if (s != without && !s->leaves) {
			all++;
			*strangers += is_stranger(s);
		}
	return all;
}

/* Of those that have not logged in: is there a place? The list of sessions has the newest first. */
static enum crowd_answer
ask_crowd(struct warden *w, const struct address *peer, const struct session *itself, size_t n)
{
	const struct crowd_limits limits = { (size_t)w->config->receiver.max_unauthenticated,
		(size_t)w->config->receiver.max_unauthenticated_per_address };
	struct address network = address_network(peer), *networks = talloc_array(NULL, struct address, n + 1);
	struct session **there = talloc_array(networks, struct session *, n + 1);
	size_t at = n, leaves = 0;
	enum crowd_answer answer;

	for (struct session *s = w->sessions; s != NULL; s = s->next)
		if (s != itself && is_stranger(s)) {
			there[--at] = s;
			networks[at] = address_network(&s->peer);
		}
	answer = crowd_ask(&limits, networks, n, &network, is_exempt(w, peer), &leaves);
	if (answer == CROWD_INSTEAD)
		session_end_for(there[leaves], METRIC_ENDED_MADE_ROOM, "too many connections wait for a log-in, and its network has the most");
	talloc_free(networks);
	return answer;
}

__attribute__((format(printf, 4, 5))) static bool
say_why(struct warden *w, char why[GUARD_WHY_MAX], enum metric metric, const char *format, ...)
{
	va_list args;

	count(w, metric);
	va_start(args, format);
	vsnprintf(why, GUARD_WHY_MAX, format, args);
	va_end(args);
	return false;
}

bool
guard_admits(struct warden *w, const struct address *peer, const struct session *itself, char why[GUARD_WHY_MAX])
{
	unsigned wait = is_exempt(w, peer) ? 0 : penalties_wait(w->penalties, peer, steady_seconds());
	size_t strangers, all = count_sessions(w, itself, &strangers);
	enum crowd_answer answer;

	why[0] = '\0';
	if (wait > 0)
		return say_why(w, why, METRIC_REFUSED_PENALTY, "too many failed log-ins from your address; try again in %u seconds", wait);
	if (all >= (size_t)w->config->receiver.max_sessions)
		return say_why(w, why, METRIC_REFUSED_FULL, "the server has no room for another connection; try again later");
	answer = ask_crowd(w, peer, itself, strangers);
	if (answer == CROWD_ITS_SHARE)
		return say_why(w, why, METRIC_REFUSED_SHARE, "too many connections of your address wait for their log-in; try again later");
	if (answer == CROWD_FULL)
		return say_why(w, why, METRIC_REFUSED_CROWD, "too many connections wait for their log-in; try again later");
	return true;
}

static void
count_refusal(struct warden *w, const struct address *peer, const char *why)
{
	w->refusals.n++;
	address_text(peer, w->refusals.address);
	snprintf(w->refusals.why, sizeof(w->refusals.why), "%s", why);
}

/* A server may say lines before its version (RFC 4253, 4.2); most clients show or log them. What does not fit now is not sent. */
void
guard_refuse(struct warden *w, int client, const struct address *peer, const char *why)
{
	char line[GUARD_WHY_MAX + 4];
	int len = snprintf(line, sizeof(line), "%s\r\n", why);

	count_refusal(w, peer, why);
	if (send(client, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) == len)
		shutdown(client, SHUT_WR);
	close(client);
}

/* Whom a balancer's connection is for: from now on it is judged by that address. "": for itself. */
void
guard_peer(struct session *s, struct talk_frame *f)
{
	char *said = talk_take_text(&f->body, NULL), why[GUARD_WHY_MAX] = "";
	bool is_new = !s->knows_peer && !f->body.short_of;
	struct address peer;

	s->knows_peer = true;
	if (!is_new || (said[0] != '\0' && !address_parse(&peer, said))) {
		session_end(s, "it said twice or wrongly whom it is for");
	} else if (said[0] == '\0' || guard_admits(s->warden, &peer, s, why)) {
		if (said[0] != '\0') {
			s->peer = peer;
			address_text(&peer, s->address);
		}
		reply(s, f->id, STATUS_OK, "");
	} else {
		s->is_excused = true; /* it was not let in, so it did not fail */
		count_refusal(s->warden, &peer, why);
		reply(s, f->id, STATUS_DENIED, why);
	}
	talloc_free(said);
}

/* It is gone and had not logged in. */
void
guard_failed(struct session *s)
{
	struct warden *w = s->warden;
	char seconds[16];
	unsigned wait;

	if (s->is_excused || w->ends || is_exempt(w, &s->peer))
		return;
	wait = penalties_failed(w->penalties, &s->peer, steady_seconds());
	if (wait == 0)
		return;
	count(w, METRIC_SHUT_OUTS);
	snprintf(seconds, sizeof(seconds), "%u", wait);
	log_warning("an address is shut out after failed log-ins", "address", s->address, "seconds", seconds, NULL);
}

void
guard_turned_away(struct session *s, const char *user, const char *blob)
{
	if (!s->is_in && !is_exempt(s->warden, &s->peer))
		knocks_add(s->warden->knocks, &s->peer, user, blob);
}

/* Who still tries fails no more, either: it was asked before the key was there. */
static void
let_in(void *ctx, const struct address *address)
{
	struct warden *w = ctx;
	char text[ADDRESS_TEXT_MAX];

	for (struct session *s = w->sessions; s != NULL; s = s->next)
		s->is_excused = s->is_excused || (is_stranger(s) && address_is_same(&s->peer, address));
	if (!penalties_forgive(w->penalties, address))
		return;
	address_text(address, text);
	log_info("an address may log in again: a key that it tried has been added", "address", text, NULL);
}

void
guard_keys_changed(struct warden *w, const json_t *keyring)
{
	knocks_answer(w->knocks, keyring, now_seconds(), let_in, w);
}

static void
log_refusals(struct warden *w)
{
	char count[16];

	if (w->refusals.n == 0 || steady_seconds() - w->refusals.told < REFUSALS_LOG_SECONDS)
		return;
	snprintf(count, sizeof(count), "%u", w->refusals.n);
	log_warning("connections were refused", "count", count, "last", w->refusals.address, "why", w->refusals.why, NULL);
	w->refusals.n = 0;
	w->refusals.told = steady_seconds();
}

/* ---- staying ------------------------------------------------------------------------------------------------------------ */

static uint64_t
cpu_seconds_of(const struct session *s)
{
	uint64_t base = (uint64_t)s->warden->config->receiver.session_cpu_seconds;

	if (is_stranger(s) && base > STRANGER_CPU_SECONDS)
		base = STRANGER_CPU_SECONDS;
	return base + s->bytes / BYTES_PER_CPU_SECOND + (uint64_t)(steady_seconds() - s->begun) / TIME_PER_CPU_TIME;
}

/* The kernel's limit stands a little behind ours: it holds when the warden itself is stuck. */
static void
renew_cpu(const struct session *s)
{
	const struct rlimit limit = { .rlim_cur = cpu_seconds_of(s) + CPU_GRACE_SECONDS, .rlim_max = RLIM_INFINITY };

	if (s->pid > 0 && !s->exited)
		prlimit(s->pid, RLIMIT_CPU, &limit, NULL);
}

void
guard_credit(struct session *s, uint64_t bytes)
{
	s->bytes += bytes;
	renew_cpu(s);
}

static uint64_t
cpu_ms_used(const struct session *s)
{
	struct timespec used;
	clockid_t clock;

	if (s->pid <= 0 || s->exited || clock_getcpuclockid(s->pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return 0;
	return (uint64_t)used.tv_sec * 1000 + (uint64_t)used.tv_nsec / 1000000;
}

/* A session that was taken over can ignore the kernel's signal, so its clock is looked at as well. */
static void
watch(struct session *s, int64_t now)
{
	if (s->pair < 0 || s->leaves)
		return;
	if (s->is_in && s->until <= now)
		session_end_for(s, METRIC_ENDED_KEY, "its key has expired");
	else if (cpu_ms_used(s) > cpu_seconds_of(s) * 1000)
		session_end_for(s, METRIC_ENDED_CPU, "it has used more CPU than its bytes explain");
	else
		renew_cpu(s);
}

void
guard_tick(struct warden *w)
{
	int64_t now = now_seconds();

	for (struct session *s = w->sessions; s != NULL; s = s->next)
		watch(s, now);
	log_refusals(w);
}
