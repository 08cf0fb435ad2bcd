/*
 * The real warden with its journal, files and listener, for tests that play the spawner and the sessions.
 *
 * The warden starts its own binary as spawner, which is the test's: its "host key" is the socket on which every session
 * is handed to the test, and its main calls play_spawner for --spawner. Postgres is away all the time, the keys come
 * from the copy on disk: "AAA" opens m-0001, "OOO" the other customer's m-0002. Included by one file of a program.
 */
#ifndef RECEIVER_PLAYED_H
#define RECEIVER_PLAYED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "receiver/talk.h"
#include "receiver/warden.h"
#include "tests/receiver/sample.h"

enum { OK = 0, FAILURE = 4 };
enum { READ = 1, WRITE = 2, CREAT = 8, TRUNC = 16 };
enum { PATIENCE_MS = 20000, QUOTA = 4000000, QUOTA_FILES = 6 };

/* ---- the spawner ------------------------------------------------------------------------------------------------ */

static inline int
connect_unix(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 ? fd : -1;
}

/* Nobody outlives the one that started it, however soon that ends. */
static inline void
die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
}

static inline void
burn(int sig)
{
	for (volatile unsigned i = (unsigned)sig;; i++)
		;
}

/* The process that stands for a session: it holds nothing and waits to be killed. With SIGUSR1 it turns for ever. */
static inline pid_t
stand_in(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	close_range(0, ~0u, 0);
	signal(SIGUSR1, burn);
	signal(SIGXCPU, SIG_IGN);
	die_with(parent);
	for (;;)
		pause();
}

static inline void
play_spawner(const char *path)
{
	static struct talk_frame f;
	static struct talk_out out;
	struct err err = { 0 };
	int test = connect_unix(path);

	talk_start(&out, TALK_READY, 0);
	talk_text(&out, "ssh-ed25519 SHA256:none\n");
	if (test < 0 || !talk_send(3, &out, &err))
		_exit(1);
	while (talk_receive(3, &f, &err) == 1) {
		uint32_t number;
		pid_t pid;
		int pidfd;

		if (f.type == TALK_REAP)
			waitpid((pid_t)bytes_u32(&f.body), NULL, WNOHANG);
		if (f.type != TALK_SPAWN)
			continue;
		number = bytes_u32(&f.body);
		pid = stand_in();
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		talk_start(&out, TALK_SPAWNED, 0);
		talk_u32(&out, number);
		talk_u32(&out, (uint32_t)pid);
		talk_fd(&out, pidfd);
		talk_send(3, &out, &err);
		close(pidfd);
		talk_start(&out, TALK_SPAWN, (uint32_t)pid);
		talk_u8(&out, bytes_u8(&f.body));
		talk_fd(&out, f.fds[0]);
		talk_fd(&out, f.fds[1]);
		talk_send(test, &out, &err);
		talk_close_fds(&f);
	}
	_exit(0);
}

/* ---- the world ---------------------------------------------------------------------------------------------------- */

struct world {
	char dir[100], spool[140], ready[140], socket[140];
	struct config config;
	char *host_key;
	int listener, spawner;
	pid_t warden;
	unsigned port;
	struct sample whole;
	uint32_t id;
	struct played *reader; /* the last that was started */
};

struct played { int conn, pair, client; pid_t pid; enum talk_kind kind; struct talk_frame frame; uint32_t status; char *message; };

static inline void
wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
}

static inline void
start_warden(struct world *w)
{
	pid_t parent = getpid();
	FILE *f = NULL;
	int pid = 0;

	unlink(w->ready);
	w->warden = fork();
	if (w->warden == 0) {
		die_with(parent);
		_exit(warden_main(&w->config, w->ready));
	}
	wait_readable(w->listener);
	w->spawner = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
	for (int i = 0; i < PATIENCE_MS / 10 && (f = fopen(w->ready, "re")) == NULL; i++)
		usleep(10000);
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%u %d", &w->port, &pid), 2);
	fclose(f);
	assert_int_equal(pid, w->warden);
}

static inline void
kill_warden(struct world *w)
{
	int status = 0;

	/* A warden that has died by itself is what most of these tests are about. */
	assert_int_equal(waitpid(w->warden, &status, WNOHANG), 0);
	kill(w->warden, SIGKILL);
	waitpid(w->warden, &status, 0);
	close(w->spawner);
}

/* more: further keys. */
static inline void
write_keys(struct world *w, const char *more)
{
	char *path = talloc_asprintf(w, "%s/keys.json", w->spool);
	FILE *f = fopen(path, "we");

	fprintf(f, "{\"migrations\":[{\"id\":\"m-0001\",\"database\":\"Sa]l'es\",\"quota_bytes\":%d,\"quota_files\":%d,\"newest_version\":904},"
	        "{\"id\":\"m-0002\",\"database\":\"Other\",\"quota_bytes\":%d,\"quota_files\":%d,\"newest_version\":904}],"
	        "\"keys\":[{\"migration\":\"m-0001\",\"blob\":\"AAA\",\"from\":[],\"expires\":null},"
	        "{\"migration\":\"m-0002\",\"blob\":\"OOO\",\"from\":[],\"expires\":null}%s]}", QUOTA, QUOTA_FILES, QUOTA, QUOTA_FILES, more);
	fclose(f);
}

static inline int
make_world(void **state)
{
	struct world *w = talloc_zero(NULL, struct world);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(w->dir, sizeof(w->dir), "%s/landfall-warden-XXXXXX", getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR"));
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->spool, sizeof(w->spool), "%s/spool", w->dir);
	snprintf(w->ready, sizeof(w->ready), "%s/ready", w->dir);
	snprintf(w->socket, sizeof(w->socket), "%s/spawner", w->dir);
	mkdir(w->spool, 0700);
	write_keys(w, "");
	w->host_key = w->socket;
	w->config.postgres.host = w->dir; /* no socket in it */
	w->config.postgres.port = 5432;
	w->config.postgres.database = w->config.postgres.receiver.user = (char *)(uintptr_t)"none";
	w->config.receiver = (struct config_receiver){ .listen = (char *)(uintptr_t)"127.0.0.1:0", .host_keys = &w->host_key, .n_host_keys = 1,
		.spool = w->spool, .max_sessions = 50, .max_sessions_per_migration = 16, .max_unauthenticated = 20, .min_free_bytes = 1,
		.max_unauthenticated_per_address = 20, .penalty_after = 10, .penalty_most_seconds = 60, .session_cpu_seconds = 120, .drain_seconds = 10 };
	w->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", w->socket);
	assert_int_equal(bind(w->listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(w->listener, 5), 0);
	w->whole = sample_make(w, 64, 904);
	start_warden(w);
	*state = w;
	return 0;
}

static inline int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int
end_world(void **state)
{
	struct world *w = *state;

	kill_warden(w);
	close(w->listener);
	nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	talloc_free(w);
	return 0;
}

/* ---- a session ------------------------------------------------------------------------------------------------------ */

/* The next one the warden wants: for a connection, or a reader. */
static inline struct played *
next_session(struct world *w)
{
	struct played *p = talloc_zero(w, struct played);
	struct err err = { 0 };

	wait_readable(w->spawner);
	assert_int_equal(talk_receive(w->spawner, &p->frame, &err), 1);
	p->pid = (pid_t)p->frame.id;
	p->kind = (enum talk_kind)bytes_u8(&p->frame.body);
	p->conn = p->frame.fds[0];
	p->pair = p->frame.fds[1];
	p->client = -1;
	return p;
}

static inline void
put(struct world *w, struct talk_out *out, enum talk_type type)
{
	talk_start(out, type, ++w->id);
}

static inline void
send_out(struct played *p, struct talk_out *out)
{
	struct err err = { 0 };

	assert_true(talk_send(p->pair, out, &err));
}

/* The next frame; false at the end of the pair. */
static inline bool
hear(struct played *p)
{
	struct err err = { 0 };

	wait_readable(p->pair);
	return talk_receive(p->pair, &p->frame, &err) == 1;
}

static inline uint32_t
ask(struct world *w, struct played *p, struct talk_out *out)
{
	send_out(p, out);
	do
		assert_true(hear(p));
	while (p->frame.type != TALK_REPLY || p->frame.id != w->id);
	p->status = bytes_u32(&p->frame.body);
	p->message = talk_take_text(&p->frame.body, p);
	return p->status;
}

/* A connection that has not said anything yet. */
static inline struct played *
come_in(struct world *w)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)w->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct played *p;

	assert_int_equal(connect(client, (struct sockaddr *)&sa, sizeof(sa)), 0);
	while ((p = next_session(w))->kind == TALK_READER)
		w->reader = p;
	p->client = client;
	return p;
}

static inline struct played *
log_in_as(struct world *w, const char *migration, const char *blob)
{
	struct played *p = come_in(w);
	static struct talk_out out;

	put(w, &out, TALK_LOGIN);
	talk_text(&out, migration);
	talk_text(&out, blob);
	talk_text(&out, "test");
	assert_int_equal(ask(w, p, &out), OK);
	return p;
}

static inline struct played *
log_in(struct world *w)
{
	return log_in_as(w, "m-0001", "AAA");
}

static inline void
leave(struct played *p)
{
	close(p->pair);
	close(p->conn);
	if (p->client >= 0)
		close(p->client);
	p->pair = p->conn = p->client = -1;
}

struct opened { int fd; struct talk_opened o; };

static inline struct opened
open_it(struct world *w, struct played *p, const char *path, uint32_t flags)
{
	static struct talk_out out;
	struct opened x = { .fd = -1 };

	put(w, &out, TALK_OPEN);
	talk_text(&out, path);
	talk_u32(&out, flags);
	if (ask(w, p, &out) == OK) {
		talk_take_opened(&p->frame.body, &x.o);
		x.fd = p->frame.fds[0];
	}
	return x;
}

static inline struct opened
start_upload(struct world *w, struct played *p, const char *path, const void *mem, size_t len)
{
	struct opened x = open_it(w, p, path, WRITE | CREAT | TRUNC);

	assert_int_equal(p->status, OK);
	assert_int_equal(pwrite(x.fd, mem, len, 0), len);
	return x;
}

static inline void
put_closed(struct world *w, struct talk_out *out, uint64_t upload, enum talk_verdict verdict, uint64_t bytes, const char *sha, const char *facts)
{
	struct err err = { 0 };

	put(w, out, TALK_CLOSED);
	talk_u64(out, upload);
	talk_u8(out, (uint8_t)verdict);
	talk_u64(out, bytes);
	talk_text(out, sha);
	talk_text(out, verdict == TALK_REFUSED ? "no good" : "");
	talk_fd(out, talk_memfd("facts", facts, strlen(facts), &err));
}

static inline uint32_t
close_it(struct world *w, struct played *p, struct opened *x, enum talk_verdict verdict, uint64_t bytes, const char *sha, const char *facts)
{
	static struct talk_out out;

	if (x->fd >= 0)
		close(x->fd);
	x->fd = -1;
	put_closed(w, &out, x->o.upload, verdict, bytes, sha, facts);
	ask(w, p, &out);
	close(out.fds[0]);
	return p->status;
}

static const char whole_facts[] = "{\"findings\":[],\"sets\":[{\"DatabaseName\":\"Sales\"}]}";

static inline uint32_t
arrive(struct world *w, struct played *p, const char *path)
{
	struct opened x = start_upload(w, p, path, w->whole.mem, w->whole.len);

	return close_it(w, p, &x, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts);
}

static inline uint32_t
one_path(struct world *w, struct played *p, enum talk_type type, const char *path)
{
	static struct talk_out out;

	put(w, &out, type);
	talk_text(&out, path);
	return ask(w, p, &out);
}

static inline uint32_t
rename_it(struct world *w, struct played *p, const char *from, const char *to)
{
	static struct talk_out out;

	put(w, &out, TALK_RENAME);
	talk_text(&out, from);
	talk_text(&out, to);
	talk_u8(&out, 0);
	return ask(w, p, &out);
}

static inline uint64_t
size_of(struct world *w, struct played *p, const char *path)
{
	struct talk_attrs a;

	assert_int_equal(one_path(w, p, TALK_STAT, path), OK);
	talk_take_attrs(&p->frame.body, &a);
	return a.size;
}

/* The text of one of the files that are ours. */
static inline char *
text_of(struct world *w, struct played *p, const char *path)
{
	struct opened x = open_it(w, p, path, READ);
	char *text = talloc_zero_array(w, char, 65536);

	assert_int_equal(p->status, OK);
	assert_true(pread(x.fd, text, 65535, 0) >= 0);
	close(x.fd);
	return text;
}

static inline uint64_t
bytes_in(struct world *w, const char *folder)
{
	char *command = talloc_asprintf(w, "find %s/areas/m-0001/%s -type f -printf '%%s\\n' | awk '{ s += $1 } END { print s + 0 }'", w->spool, folder);
	FILE *f = popen(command, "re");
	unsigned long long n = 0;

	assert_int_equal(fscanf(f, "%llu", &n), 1);
	pclose(f);
	return n;
}

/* Until it is so; the journal's thread takes its time. */
static inline bool
comes_to(struct world *w, const char *folder, uint64_t bytes)
{
	for (int i = 0; i < PATIENCE_MS / 20; i++) {
		if (bytes_in(w, folder) == bytes)
			return true;
		usleep(20000);
	}
	return false;
}

/* The journal has a line with that in it: what was asked for is durable. */
static inline bool
journal_says(struct world *w, const char *what)
{
	char *path = talloc_asprintf(w, "%s/journal.log", w->spool), line[65536];

	for (int i = 0; i < PATIENCE_MS / 20; i++) {
		FILE *f = fopen(path, "re");
		bool found = false;

		while (f != NULL && fgets(line, sizeof(line), f) != NULL)
			found = found || strstr(line, what) != NULL;
		if (f != NULL)
			fclose(f);
		if (found)
			return true;
		usleep(20000);
	}
	return false;
}

static inline unsigned
journal_lines(struct world *w, const char *what)
{
	char *path = talloc_asprintf(w, "%s/journal.log", w->spool), line[65536];
	FILE *f = fopen(path, "re");
	unsigned n = 0;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, what) != NULL;
	fclose(f);
	return n;
}

/* Killed, and started again. */
static inline struct played *
come_back(struct world *w)
{
	kill_warden(w);
	start_warden(w);
	return log_in(w);
}

static inline void
restart(struct world *w)
{
	kill_warden(w);
	start_warden(w);
}

/* From 127.0.0.host; loopback is a network of its own for each address. */
static inline int
dial_from(struct world *w, uint8_t host)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host) },
	                   to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)w->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static inline struct played *
come_from(struct world *w, uint8_t host)
{
	int client = dial_from(w, host);
	struct played *p;

	while ((p = next_session(w))->kind == TALK_READER)
		w->reader = p;
	p->client = client;
	return p;
}

/* Until the warden has seen it go: it reaps a session last. */
static inline void
is_gone(pid_t pid)
{
	for (int i = 0; i < PATIENCE_MS / 10 && kill(pid, 0) == 0; i++)
		usleep(10000);
	assert_int_equal(kill(pid, 0), -1);
}

static inline bool
is_quiet(const struct played *p, int ms)
{
	struct pollfd one = { .fd = p->pair, .events = POLLIN };

	return poll(&one, 1, ms) == 0;
}

#endif
