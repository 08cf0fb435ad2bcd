#include "receiver/warden.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "common/log.h"
#include "common/text.h"
#include "receiver/warden_parts.h"

/*
 * The loop is everybody's: one customer's requests may take so much of each tick, and one session's may give the
 * journal so much to do before it has caught up. Honest clients stay far below: the fastest sender of small files
 * that was measured takes a fifth.
 */
enum { TICK_SHARE_NS = 300000000, JOBS_MAX = 256 };
enum { BACKLOG = 256, SPAWNER_FD = 3, TICK_MS = 500, DRAIN_TICK_MS = 100, LAST_SECONDS = 4 };

static void start_spawner(struct warden *w);
static void examine_leftovers(struct warden *w);

int64_t
now_seconds(void)
{
	return (int64_t)time(NULL);
}

struct session *
session_of(struct warden *w, unsigned number)
{
	for (struct session *s = w->sessions; s != NULL; s = s->next)
		if (s->number == number)
			return s;
	return NULL;
}

/* ---- disk ------------------------------------------------------------------------------------------------------ */

char *
disk_in(struct warden *w, TALLOC_CTX *mem, const struct area *a, const char *folder, const char *key, const char *suffix)
{
	return talloc_asprintf(mem, "%s/areas/%s/%s/%s%s", w->config->receiver.spool, a->migration, folder, key, suffix);
}

char *
disk_path(struct warden *w, TALLOC_CTX *mem, const struct file *f, const char *suffix)
{
	bool in_vault = f->state == FILE_ARRIVED && !f->settling;

	return disk_in(w, mem, f->area, in_vault ? "vault" : "staging", f->key, suffix[0] != '\0' ? suffix : in_vault ? ".bak" : "");
}

bool
make_area_folders(struct warden *w, const struct area *a)
{
	static const char *const folders[] = { "", "staging", "vault", "outbox" };
	bool good = true;

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		char *path = talloc_asprintf(NULL, "%s/areas/%s/%s", w->config->receiver.spool, a->migration, folders[i]);

		/* A folder that is new must be there after a power failure, before anything in it is promised. */
		if (mkdir(path, 0750) == 0)
			journal_add(w->journal, &(struct journal_job){ .sync = path });
		else
			good = errno == EEXIST && good;
		talloc_free(path);
	}
	return good;
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

void
reply_begin(struct talk_out *out, uint32_t id)
{
	talk_start(out, TALK_REPLY, id);
	talk_u32(out, STATUS_OK);
	talk_text(out, "");
}

void
reply_out(struct session *s, struct talk_out *out)
{
	struct err err = { 0 };

	if (s->pair >= 0 && !talk_send(s->pair, out, &err))
		session_end(s, err.text);
}

void
reply(struct session *s, uint32_t id, uint32_t status, const char *message)
{
	struct talk_out out;

	talk_start(&out, TALK_REPLY, id);
	talk_u32(&out, status);
	talk_text(&out, message);
	reply_out(s, &out);
}

/* ---- sessions -------------------------------------------------------------------------------------------------------- */

static void
free_session(struct session *s)
{
	struct warden *w = s->warden;

	for (struct session **p = &w->sessions; *p != NULL; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	if (s->pid_ev != NULL)
		event_free(s->pid_ev);
	if (s->pidfd >= 0)
		close(s->pidfd);
	event_free(s->pending.timer);
	talloc_free(s->pending.path);
	talloc_free(s);
}

/* The pair is closed: the session has nothing more to say. */
static void
close_pair(struct session *s)
{
	if (s->pair < 0)
		return;
	event_free(s->ev);
	close(s->pair);
	s->pair = -1;
	s->pending.there = false;
	/* One that lives on after it has closed its end may still hold files it could write to. */
	if (s->pidfd >= 0 && !s->exited)
		syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
	uploads_orphan(s->warden, s);
	audit_end(s);
	if (!s->is_in && s->reading == 0)
		guard_failed(s);
	if (s->exited)
		free_session(s);
}

void
session_end(struct session *s, const char *why)
{
	session_end_for(s, METRIC_ENDED_STUCK, why);
}

void
session_end_for(struct session *s, enum metric cause, const char *why)
{
	audit_cause(s, cause, why);
	s->leaves = true;
	if (s->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
	/* The rest follows from the end of file on its pair. */
	if (s->pair >= 0)
		shutdown(s->pair, SHUT_RDWR);
}

static void
on_exit_of(evutil_socket_t fd, short what, void *ctx)
{
	struct session *s = ctx;
	struct talk_out out;
	struct err err = { 0 };

	(void)fd;
	(void)what;
	event_del(s->pid_ev);
	s->exited = true;
	talk_start(&out, TALK_REAP, 0);
	talk_u32(&out, (uint32_t)s->pid);
	if (s->warden->spawner >= 0)
		talk_send(s->warden->spawner, &out, &err);
	if (s->pair < 0)
		free_session(s);
}

static bool
has_room_for(const struct warden *w, const char *migration)
{
	int n = 0;

	for (const struct session *s = w->sessions; s != NULL; s = s->next)
		n += s->is_in && s->pair >= 0 && strcmp(s->policy.migration, migration) == 0;
	return n < w->config->receiver.max_sessions_per_migration;
}

/* Which key it is that knocks, and whether it is one that may; before it has shown that it holds it. */
static void
heed_key(struct session *s, const char *user, const char *blob, bool good, bool for_good)
{
	if (s->is_in)
		return;
	snprintf(s->tried, sizeof(s->tried), "%s", user);
	fingerprint_of(blob, s->key);
	s->keys += !for_good;
	if (!for_good)
		count(s->warden, good ? METRIC_KEYS_KNOWN : METRIC_KEYS_UNKNOWN);
	else if (!good)
		count(s->warden, METRIC_LOGINS_DENIED);
}

static void
log_in(struct session *s, struct talk_frame *fr, bool for_good)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *user = talk_take_text(&fr->body, mem), *second = talk_take_text(&fr->body, mem), *third = talk_take_text(&fr->body, mem);
	const char *blob = for_good ? second : third;
	json_t *keyring = feed_keyring(s->warden->feed);
	struct talk_out out;
	int64_t until;
	bool good = !fr->body.short_of && keys_allow(keyring, user, blob, s->address, now_seconds(), &until);
	const char *why = "";

	heed_key(s, user, blob, good, for_good);
	if (!good)
		guard_turned_away(s, user, blob);
	if (good && for_good && !has_room_for(s->warden, user)) {
		good = false;
		s->is_excused = s->is_excused || !s->is_in;
		why = "too many connections of this migration are open at once; close some, or wait until they have ended";
		audit_login_refused(s, user, why);
	}
	if (good && for_good) {
		good = !s->is_in && strlen(blob) < sizeof(s->blob) && keys_policy(keyring, user, &s->policy, &s->quota_bytes, &s->quota_files);
		if (good) {
			s->is_in = true;
			s->until = until;
			strcpy(s->blob, blob);
			snprintf(s->software, sizeof(s->software), "%s", text_shown(mem, third));
			s->area = area_of(&s->warden->areas, user);
			make_area_folders(s->warden, s->area);
			audit_login(s);
		}
	}
	json_decref(keyring);
	if (!good)
		reply(s, fr->id, STATUS_DENIED, why);
	else {
		reply_begin(&out, fr->id);
		if (for_good)
			talk_policy(&out, &s->policy);
		reply_out(s, &out);
	}
	talloc_free(mem);
}

static void
take_note(struct session *s, struct talk_frame *fr)
{
	uint8_t level = bytes_u8(&fr->body);
	char *text = talk_take_text(&fr->body, NULL);

	if (audit_has_room(s)) {
		if (level <= LOG_LEVEL_WARNING)
			log_warning("a session says", "session", session_name(s->warden, s->number).s, "address", s->address, "text", text, NULL);
		else
			log_info("a session says", "session", session_name(s->warden, s->number).s, "address", s->address, "text", text, NULL);
	}
	talloc_free(text);
}

static const struct { enum talk_type type; void (*take)(struct session *s, struct talk_frame *f); } requests[] = {
	{ TALK_OPEN, names_open }, { TALK_STAT, names_stat }, { TALK_LIST, lists_begin }, { TALK_MKDIR, names_folder }, { TALK_RMDIR, names_folder },
	{ TALK_REMOVE, names_remove }, { TALK_RENAME, names_rename }, { TALK_TIMES, names_times }, { TALK_SPACE, names_space },
	{ TALK_SEED, names_seed }, { TALK_REFUSED_NAME, audit_refused_name }, { TALK_TOTALS, audit_totals }, { TALK_PROGRESS, uploads_progress }, { TALK_REVOKED, uploads_revoked }, { TALK_CLOSED, uploads_closed },
};

/* Before log-in. False: it may not say that, or not now. */
static bool
hear_stranger(struct session *s, struct talk_frame *f)
{
	bool is_asked = !s->from_balancer || s->knows_peer;

	if (s->reading != 0)
		return false;
	if (is_asked && (f->type == TALK_KEY || f->type == TALK_LOGIN))
		log_in(s, f, f->type == TALK_LOGIN);
	else if (f->type == TALK_PEER && s->from_balancer)
		guard_peer(s, f);
	else if (f->type == TALK_SILENT && !s->is_in)
		s->is_excused = true;
	else
		return false;
	return true;
}

static void
dispatch(struct session *s, struct talk_frame *f)
{
	if (f->type == TALK_NOTE)
		take_note(s, f);
	else if (hear_stranger(s, f))
		;
	else if (f->type == TALK_CLOSED && s->reading != 0 && !s->told) {
		s->told = true;
		(s->digests ? others_digest : uploads_closed)(s, f);
	}
	else {
		for (size_t i = 0; s->is_in && i < sizeof(requests) / sizeof(requests[0]); i++)
			if (requests[i].type == f->type) {
				requests[i].take(s, f);
				talk_close_fds(f);
				return;
			}
		session_end(s, s->is_in ? "it said something unknown" : "it asked for files before log-in");
	}
	talk_close_fds(f);
}

static int64_t *
spent_by(struct session *s)
{
	return s->area == NULL ? &s->spent : &s->area->spent;
}

/*
 * Most answers do not wait for the disk, so a session could ask faster than the journal writes, until no memory is
 * left. Requests that are too many wait in the session's own pair, whose room is small.
 */
static void
rest_or_go_on(struct session *s)
{
	bool rests;

	if (s->pair < 0)
		return;
	if (journal_told(s->warden->journal) >= s->last_job)
		s->jobs = 0;
	rests = s->jobs >= JOBS_MAX || *spent_by(s) >= TICK_SHARE_NS;
	if (rests != s->rests)
		rests ? event_del(s->ev) : event_add(s->ev, NULL);
	s->rests = rests;
}

bool
charge(struct session *s, int64_t ns)
{
	*spent_by(s) += ns;
	rest_or_go_on(s);
	return !s->rests;
}

static void
on_pair(evutil_socket_t fd, short what, void *ctx)
{
	static struct talk_frame frame;
	struct session *s = ctx;
	uint64_t jobs = journal_added(s->warden->journal);
	int64_t from = thread_cpu_ns();
	struct err err = { 0 };
	int got;

	(void)what;
	/* Others of its customer may have used up what there is. */
	rest_or_go_on(s);
	if (s->rests)
		return;
	got = talk_receive((int)fd, &frame, &err);
	if (got < 0)
		close_pair(s);
	if (got <= 0)
		return;
	dispatch(s, &frame);
	jobs = journal_added(s->warden->journal) - jobs;
	if (jobs > 0) {
		s->jobs += (unsigned)jobs;
		s->last_job = journal_added(s->warden->journal);
	}
	charge(s, thread_cpu_ns() - from);
}

/* The older session did not give the file up in time, or an arrival takes very long. */
static void
on_pending_timeout(evutil_socket_t fd, short what, void *ctx)
{
	struct session *s = ctx, *other;
	struct file *f = area_by_number(&s->warden->areas, s->pending.file);

	(void)fd;
	(void)what;
	if (!s->pending.there)
		return;
	other = f == NULL ? NULL : session_of(s->warden, f->writer);
	if (other != NULL && other != s && !f->settling) {
		session_end(other, "it did not give an upload up that was resumed elsewhere");
		return; /* its end lets the waiting OPEN through */
	}
	s->pending.there = false;
	reply(s, s->pending.id, STATUS_FAILURE, "the file is still being recorded; try again");
}

bool
start_session(struct warden *w, int fd, enum talk_kind kind, const struct address *peer, const struct file *file)
{
	struct session *s = talloc_zero(NULL, struct session);
	struct err err = { 0 };
	struct talk_out out;
	json_t *keyring;
	int pair[2];

	if (w->spawner < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		close(fd);
		talloc_free(s);
		return false;
	}
	*s = (struct session){ .warden = w, .number = ++w->last_session, .pair = pair[0], .pidfd = -1,
		.reading = file == NULL ? 0 : file->number, .of_reopened = file == NULL ? 0 : file->reopened, .digests = kind == TALK_DIGEST, .from_balancer = kind == TALK_PROXIED, .begun = steady_seconds() };
	if (peer != NULL) {
		s->peer = *peer;
		address_text(peer, s->address);
	}
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	s->ev = event_new(w->base, pair[0], EV_READ | EV_PERSIST, on_pair, s);
	s->pending.timer = evtimer_new(w->base, on_pending_timeout, s);
	event_add(s->ev, NULL);
	s->next = w->sessions;
	w->sessions = s;
	talk_start(&out, TALK_SPAWN, 0);
	talk_u32(&out, s->number);
	talk_u8(&out, (uint8_t)kind);
	talk_text(&out, s->address);
	talk_text(&out, file == NULL ? "" : file->path + 1);
	if (file != NULL) {
		keyring = feed_keyring(w->feed);
		keys_policy(keyring, file->area->migration, &s->policy, &s->quota_bytes, &s->quota_files);
		json_decref(keyring);
		s->bytes = file->bytes;
	}
	talk_policy(&out, &s->policy);
	talk_fd(&out, fd);
	talk_fd(&out, pair[1]);
	if (!talk_send(w->spawner, &out, &err)) {
		log_warning("no session could be started", "error", err.text, NULL);
		s->exited = s->is_excused = true;
		close(pair[1]);
		close(fd);
		close_pair(s);
		return false;
	}
	close(pair[1]);
	close(fd);
	return true;
}

/* ---- the listener --------------------------------------------------------------------------------------------------------- */

static void
on_connection(evutil_socket_t fd, short what, void *ctx)
{
	struct warden *w = ctx;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct address peer = { { 0 } };
	char why[GUARD_WHY_MAX];
	int client = accept4((int)fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (client < 0)
		return;
	count(w, METRIC_CONNECTIONS);
	if (sa.ss_family == AF_INET6)
		memcpy(peer.b, &((struct sockaddr_in6 *)&sa)->sin6_addr, sizeof(peer.b));
	else if (sa.ss_family == AF_INET)
		peer = address_of_v4((const uint8_t *)&((struct sockaddr_in *)&sa)->sin_addr);
	if (!guard_admits(w, &peer, NULL, why))
		guard_refuse(w, client, &peer, why);
	else
		start_session(w, client, guard_is_balancer(w, &peer) ? TALK_PROXIED : TALK_CONNECTION, &peer, NULL);
}

/* Systemd's: connections wait in it while the program is started again. It may have been made without SOCK_NONBLOCK. */
static int
take_listener(int n, struct err *err)
{
	int fd = SD_LISTEN_FDS_START;

	if (n != 1 || sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0) {
		err_set(err, ERR_OPERATOR, 0, "systemd passes %d sockets; it must be one that listens for streams", n);
		return -1;
	}
	if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
		err_errno(err, errno, "systemd's socket");
		return -1;
	}
	return fd;
}

static int
make_listener(const struct config *config, struct err *err)
{
	struct sockaddr_storage sa = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&sa;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&sa;
	socklen_t len = sizeof(*v4);
	char host[128];
	uint16_t port;
	int fd, on = 1;

	if (!config_address(config->receiver.listen, host, sizeof(host), &port, err))
		return -1;
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
	} else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		len = sizeof(*v6);
	} else {
		err_set(err, ERR_OPERATOR, 0, "receiver.listen: %s is no address", host);
		return -1;
	}
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 || bind(fd, (struct sockaddr *)&sa, len) != 0 ||
	    listen(fd, BACKLOG) != 0) {
		err_errno(err, errno, "receiver.listen %s", config->receiver.listen);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

static void
say_ready(struct warden *w)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	unsigned port = 0;
	char fresh[4096];
	FILE *f;

	if (getsockname(w->listener, (struct sockaddr *)&sa, &len) == 0)
		port = ntohs(sa.ss_family == AF_INET ? ((struct sockaddr_in *)&sa)->sin_port : ((struct sockaddr_in6 *)&sa)->sin6_port);
	w->ready = true;
	sd_notify(0, "READY=1");
	log_info("ready", "listen", w->config->receiver.listen, NULL);
	if (w->ready_file == NULL)
		return;
	snprintf(fresh, sizeof(fresh), "%s.new", w->ready_file);
	f = fopen(fresh, "we");
	if (f != NULL && fprintf(f, "%u %d\n", port, getpid()) > 0 && fclose(f) == 0)
		rename(fresh, w->ready_file);
}

/* ---- the spawner ------------------------------------------------------------------------------------------------------------ */

static void
on_spawned(struct warden *w, struct talk_frame *f)
{
	struct session *s = session_of(w, bytes_u32(&f->body));
	int pid = (int)bytes_u32(&f->body);

	if (s == NULL)
		return;
	s->spawned = true;
	s->pid = pid;
	if (pid == 0 || f->fds[0] < 0) {
		s->exited = s->is_excused = true;
		close_pair(s);
		return;
	}
	s->pidfd = f->fds[0];
	f->fds[0] = -1;
	s->pid_ev = event_new(w->base, s->pidfd, EV_READ, on_exit_of, s);
	event_add(s->pid_ev, NULL);
	guard_credit(s, 0);
	if (s->pair < 0)
		syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
}

static void
on_spawner(evutil_socket_t fd, short what, void *ctx)
{
	static struct talk_frame frame;
	struct warden *w = ctx;
	struct err err = { 0 };
	int got = talk_receive((int)fd, &frame, &err);

	(void)what;
	if (got > 0 && frame.type == TALK_SPAWNED)
		on_spawned(w, &frame);
	else if (got > 0 && frame.type == TALK_READY) {
		talloc_free(w->fingerprints);
		w->fingerprints = talk_take_text(&frame.body, NULL);
		if (!w->ready && !w->ends) {
			event_add(w->listen_ev, NULL);
			say_ready(w);
			examine_leftovers(w);
		}
	}
	talk_close_fds(&frame);
	if (got >= 0)
		return;
	event_free(w->spawner_ev);
	close(w->spawner);
	w->spawner = -1;
	waitpid(w->spawner_pid, NULL, 0);
	if (w->ends)
		return;
	count(w, METRIC_SPAWNER_RESTARTS);
	log_error("the spawner died; it is started again, living sessions go on", NULL);
	/* Children it had not told of are gone with their pairs. */
	for (struct session *s = w->sessions, *next; s != NULL; s = next) {
		next = s->next;
		if (s->spawned)
			continue;
		s->exited = true;
		if (s->pair < 0)
			free_session(s);
	}
	sleep(w->ready ? 0 : 1);
	start_spawner(w);
}

static void
start_spawner(struct warden *w)
{
	const struct config_receiver *r = &w->config->receiver;
	char name[] = "landfall-receiver", mode[] = "--spawner", *argv[16] = { name, mode };
	int pair[2];

	for (unsigned i = 0; i < r->n_host_keys && i < 8; i++)
		argv[2 + i] = r->host_keys[i];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		log_error("no spawner can be started", NULL);
		event_base_loopbreak(w->base);
		return;
	}
	w->spawner_pid = fork();
	if (w->spawner_pid == 0) {
		/* All of ours are close-on-exec; so becomes what we were started with ourselves. */
		if (pair[1] != SPAWNER_FD)
			dup2(pair[1], SPAWNER_FD);
		else
			fcntl(pair[1], F_SETFD, 0);
		close_range(SPAWNER_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC);
		/* libssh copies each packet twice, a few bytes up: there rep movsb is slow on some processors (measured on Zen 3). */
		setenv("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1073741824", 0);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	close(pair[1]);
	w->spawner = pair[0];
	w->spawner_ev = event_new(w->base, pair[0], EV_READ | EV_PERSIST, on_spawner, w);
	event_add(w->spawner_ev, NULL);
}

/* ---- start-up and end ----------------------------------------------------------------------------------------------------------- */

/*
 * Bytes of an upload that nobody closed, and how far they go without a hole. Clients write out of order, so the size
 * says nothing about the middle. A piece that never came leaves a hole in the file; its edges lie within blocks that
 * were written for their other half, hence one block less.
 */
static uint64_t
cut_at_hole(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st = { 0 };
	off_t solid = -1;

	if (fd >= 0 && fstat(fd, &st) == 0)
		solid = lseek(fd, 0, SEEK_HOLE);
	if (solid >= 0 && solid < st.st_size) {
		solid = solid > st.st_blksize ? solid - st.st_blksize : 0;
		if (ftruncate(fd, solid) != 0)
			solid = 0;
	}
	if (fd >= 0)
		close(fd);
	return solid < 0 ? 0 : (uint64_t)solid;
}

/* What was cut off between record and file work is finished; what nobody closed is partial. */
static void
finish_file(struct warden *w, struct file *f)
{
	char *staging = disk_in(w, NULL, f->area, "staging", f->key, ""), *vault = disk_in(w, staging, f->area, "vault", f->key, ".bak");

	if (f->superseded) {
		uploads_replace(w, f);
		talloc_free(staging);
		return;
	}
	if (f->state == FILE_ARRIVED && access(vault, F_OK) != 0 && rename(staging, vault) != 0)
		log_error("an arrived file cannot be moved to the vault", "file", f->key, NULL);
	if (f->state == FILE_RECEIVING) {
		area_set_state(f, FILE_PARTIAL);
		area_set_bytes(f, cut_at_hole(staging));
		f->was_open = f->bytes > 0;
		area_set_reason(f, "the receiver was ended before the file was closed");
		audit_upload_ended(w, f, 0, NULL);
		uploads_record(w, f);
	}
	if (f->state == FILE_GONE || f->state == FILE_REFUSED)
		unlink(staging);
	if (f->state == FILE_GONE)
		area_forget(f);
	talloc_free(staging);
}

/* Final names that were never closed: they arrive only if whole. What a client closed has been judged. */
static void
examine_leftovers(struct warden *w)
{
	struct file *f;

	for (struct area *a = w->areas.first; a != NULL; a = a->next)
		LIST_FOREACH(f, &a->files, of_area)
			if (uploads_may_be_whole(f))
				area_set_wants(f, WANTS_READER);
	readers_begin(w);
}

/* Told again from where Postgres was last known to be. */
static void
on_record(void *ctx, const json_t *record)
{
	struct warden *w = ctx;
	const char *key = json_string_value(json_object_get(record, "key")), *m = json_string_value(json_object_get(record, "m"));
	const char *state = json_string_value(json_object_get(record, "state"));
	char *facts;

	area_replay(&w->areas, record);
	if (key == NULL || m == NULL || state == NULL)
		return;
	facts = disk_in(w, NULL, area_of(&w->areas, m), strcmp(state, "arrived") == 0 ? "vault" : "staging", key, ".json");
	feed_add(w->feed, json_deep_copy(record), facts);
	talloc_free(facts);
}

static bool
load(struct warden *w, struct err *err)
{
	const char *spool = w->config->receiver.spool;
	char *areas = talloc_asprintf(NULL, "%s/areas", spool);

	if ((mkdir(spool, 0750) != 0 && errno != EEXIST) || (mkdir(areas, 0750) != 0 && errno != EEXIST))
		return err_errno(err, errno, "receiver.spool %s", spool);
	talloc_free(areas);
	w->feed = feed_start(NULL, w->config, err);
	w->journal = w->feed == NULL ? NULL : journal_open(NULL, spool, on_record, w, err);
	if (w->journal == NULL)
		return false;
	for (struct area *a = w->areas.first; a != NULL; a = a->next) {
		make_area_folders(w, a);
		for (struct file *f = LIST_FIRST(&a->files), *next; f != NULL; f = next) {
			next = LIST_NEXT(f, of_area);
			finish_file(w, f);
		}
	}
	journal_go_on_after(w->journal, feed_told(w->feed));
	others_begin(w);
	return true;
}

static void
on_journal(evutil_socket_t fd, short what, void *ctx)
{
	struct warden *w = ctx;

	(void)fd;
	(void)what;
	journal_finished(w->journal);
	for (struct session *s = w->sessions; s != NULL; s = s->next)
		rest_or_go_on(s);
}

static void
kick(struct warden *w, const json_t *names)
{
	for (struct session *s = w->sessions; s != NULL; s = s->next)
		for (size_t i = 0; i < json_array_size(names); i++) {
			const char *name = json_string_value(json_array_get(names, i));

			if (s->is_in && s->pair >= 0 && name != NULL && strcmp(session_name(w, s->number).s, name) == 0)
				session_end_for(s, METRIC_ENDED_KICKED, "the team ended it");
		}
}

/* Keys have changed: a session whose key is gone is ended, the others get the new quotas. */
static void
on_keys(evutil_socket_t fd, short what, void *ctx)
{
	struct warden *w = ctx;
	json_t *keyring = feed_keyring(w->feed);

	(void)fd;
	(void)what;
	feed_woken(w->feed);
	for (struct session *s = w->sessions; s != NULL; s = s->next)
		if (s->is_in && s->pair >= 0 && (!keys_allow(keyring, s->policy.migration, s->blob, s->address, now_seconds(), &s->until) ||
		                                 !keys_policy(keyring, s->policy.migration, &s->policy, &s->quota_bytes, &s->quota_files)))
			session_end_for(s, METRIC_ENDED_KEY, "its key is not valid any more");
	guard_keys_changed(w, keyring);
	kick(w, json_object_get(keyring, "kicks"));
	json_decref(keyring);
}

static void
allow(int64_t *spent)
{
	*spent = *spent > TICK_SHARE_NS ? *spent - TICK_SHARE_NS : 0;
}

static void
allow_for_tick(struct warden *w)
{
	for (struct area *a = w->areas.first; a != NULL; a = a->next)
		allow(&a->spent);
	for (struct session *s = w->sessions; s != NULL; s = s->next) {
		allow(&s->spent);
		rest_or_go_on(s);
	}
}

static void
on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct warden *w = ctx;

	(void)fd;
	(void)what;
	allow_for_tick(w);
	others_tick(w);
	readers_begin(w);
	guard_tick(w);
	metrics_tick(w);
	journal_tend(w->journal, feed_told(w->feed));
	sd_notify(0, "WATCHDOG=1");
}

/* ---- the end --------------------------------------------------------------------------------------------------------------------- */

/* An upload of its is open, an OPEN waits for one, or a CLOSE may still wait for its answer. */
static bool
is_at_work(const struct session *s)
{
	for (const struct file *f = s->area == NULL ? NULL : LIST_FIRST(&s->area->busy); f != NULL; f = LIST_NEXT(f, of_busy))
		if (f->writer == s->number || f->settling)
			return true;
	return s->pending.there;
}

static void
tell_end(struct session *s)
{
	struct talk_out out;
	struct err err = { 0 };

	s->told_end = true;
	talk_start(&out, TALK_END, 0);
	talk_text(&out, "the server is restarted; connect again and resume");
	talk_send(s->pair, &out, &err);
}

/* Who has nothing open goes now, the others when they have closed what they upload, all of them at the limit. */
static void
on_drain(evutil_socket_t fd, short what, void *ctx)
{
	struct warden *w = ctx;
	int64_t now = steady_seconds();
	bool any = false;

	(void)fd;
	(void)what;
	for (struct session *s = w->sessions; s != NULL; s = s->next) {
		/* Readers hold nothing: what they examine is examined at the next start. */
		if (s->pair < 0 || s->reading != 0)
			continue;
		any = true;
		if (!s->told_end && (now >= w->drain_until || !is_at_work(s)))
			tell_end(s);
	}
	if (!any || now >= w->drain_until + LAST_SECONDS)
		event_base_loopbreak(w->base);
}

/* Until systemd kills it, which its own limit may do sooner than ours. */
static void
say_stopping(int seconds)
{
	sd_notifyf(0, "STOPPING=1\nSTATUS=Waiting for open uploads\nEXTEND_TIMEOUT_USEC=%lld", (seconds + 2LL * LAST_SECONDS) * 1000000);
}

/* The second one does not wait. */
static void
on_term(evutil_socket_t fd, short what, void *ctx)
{
	const struct timeval tick = { 0, DRAIN_TICK_MS * 1000 };
	struct warden *w = ctx;
	int seconds = w->ends ? 0 : w->config->receiver.drain_seconds;

	(void)fd;
	(void)what;
	w->drain_until = steady_seconds() + seconds;
	if (!w->ends) {
		w->ends = true;
		say_stopping(seconds);
		event_free(w->listen_ev);
		/* A client that is refused tries again; one that waits in a queue nobody serves does not. */
		if (w->has_own_listener)
			close(w->listener);
		w->drain_ev = event_new(w->base, -1, EV_PERSIST, on_drain, w);
		event_add(w->drain_ev, &tick);
	}
	on_drain(-1, 0, w);
}

int
warden_main(const struct config *config, const char *ready_file)
{
	static struct warden w;
	const struct timeval tick = { 0, TICK_MS * 1000 };
	struct rlimit files;
	struct err err = { 0 };
	int passed = sd_listen_fds(1);

	w.config = config;
	areas_init(&w.areas);
	snprintf(w.name, sizeof(w.name), "%08x", (unsigned)(now_seconds() ^ (int64_t)getpid() << 20));
	w.ready_file = ready_file;
	w.spawner = -1;
	w.base = event_base_new();
	signal(SIGPIPE, SIG_IGN);
	/* Sent to the holder of a lease when somebody else opens the file; it would end the program. */
	signal(SIGIO, SIG_IGN);
	/* Two descriptors per session. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && (files.rlim_cur = files.rlim_max) > 0)
		setrlimit(RLIMIT_NOFILE, &files);
	w.has_own_listener = passed == 0;
	w.listener = config->receiver.spool == NULL ? -1 : passed != 0 ? take_listener(passed, &err) : make_listener(config, &err);
	if (w.listener < 0 || !guard_begin(&w, &err) || !load(&w, &err)) {
		log_error("cannot start", "error", err.text[0] == '\0' ? "the configuration has no receiver" : err.text, NULL);
		return 1;
	}
	w.listen_ev = event_new(w.base, w.listener, EV_READ | EV_PERSIST, on_connection, &w);
	event_add(event_new(w.base, journal_fd(w.journal), EV_READ | EV_PERSIST, on_journal, &w), NULL);
	event_add(event_new(w.base, feed_fd(w.feed), EV_READ | EV_PERSIST, on_keys, &w), NULL);
	event_add(event_new(w.base, -1, EV_PERSIST, on_tick, &w), &tick);
	event_add(evsignal_new(w.base, SIGTERM, on_term, &w), NULL);
	event_add(evsignal_new(w.base, SIGINT, on_term, &w), NULL);
	metrics_begin(&w);
	start_spawner(&w);
	event_base_dispatch(w.base);
	for (struct session *s = w.sessions; s != NULL; s = s->next)
		if (s->pair >= 0)
			audit_end(s);
	metrics_end(&w);
	journal_drain(w.journal);
	journal_finished(w.journal);
	log_info("ends", NULL);
	_exit(0);
}
