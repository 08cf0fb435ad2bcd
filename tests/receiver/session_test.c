#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "common/log.h"
#include "receiver/place.h"
#include "receiver/spawner.h"
#include "receiver/talk.h"
#include "tests/receiver/sample.h"

/*
 * The spawner and its sessions as they are, locked up, against the stock client; the warden is a small one of
 * this test, which keeps everything in one folder and writes down what it is told.
 */

enum { SESSIONS_MAX = 64, PATIENCE = 60 };

struct told { enum talk_verdict verdict; uint64_t bytes; char sha256[65], *reason, *facts; bool frozen; };

struct world {
	TALLOC_CTX *mem;
	char *dir;
	struct sample backup;
	int spawner, listener;
	pid_t spawner_pid;
	unsigned port, n_sessions;
	struct { int pair, pidfd; pid_t pid; } sessions[SESSIONS_MAX];
	char *fingerprints, *blob;
	struct told closed;
	unsigned n_closed, n_progress, n_revoked, n_reaped, n_silent;
	bool from_balancer; /* its connections are */
	char *peers;        /* whom they were for */
	uint64_t mtime, limit;
	uint32_t newest_version; /* what a reader is told; 0 any */
	enum talk_type at_progress; /* said to a session at its first PROGRESS */
	char *notes;
};

static char *
disk(const struct world *w, const char *path)
{
	return talloc_asprintf(w->mem, "%s/files%s", w->dir, path);
}

/* ---- the warden's answers --------------------------------------------------------------------------------------- */

static void
reply_begin(struct talk_out *out, uint32_t id, uint32_t status, const char *message)
{
	talk_start(out, TALK_REPLY, id);
	talk_u32(out, status);
	talk_text(out, message);
}

static void
send_it(int pair, struct talk_out *out)
{
	struct err err = { 0 };

	talk_send(pair, out, &err); /* it may be gone: what was told before counts */
}

static void
reply(int pair, uint32_t id, uint32_t status, const char *message)
{
	struct talk_out out;

	reply_begin(&out, id, status, message);
	send_it(pair, &out);
}

static void
open_file(struct world *w, int pair, struct talk_frame *f)
{
	char *path = talk_take_text(&f->body, w->mem);
	uint32_t flags = bytes_u32(&f->body);
	bool writes = (flags & 2) != 0;
	int fd = open(disk(w, path), (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC | ((flags & 8) ? O_CREAT : 0) | ((flags & 16) ? O_TRUNC : 0), 0600);
	struct talk_opened o = { .writable = writes, .limit = w->limit, .backup_name = place_is_backup(place_base(path)) };
	struct talk_out out;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		reply(pair, f->id, 2, "there is no such file");
		return;
	}
	o.upload = writes ? st.st_ino : 0;
	o.size = (uint64_t)st.st_size;
	snprintf(o.name, sizeof(o.name), "%s", path + 1);
	reply_begin(&out, f->id, 0, "");
	talk_opened(&out, &o);
	talk_fd(&out, fd);
	send_it(pair, &out);
	close(fd);
}

static void
stat_file(struct world *w, int pair, struct talk_frame *f)
{
	char *path = talk_take_text(&f->body, w->mem);
	struct talk_out out;
	struct stat st;

	if (stat(disk(w, path), &st) != 0) {
		reply(pair, f->id, 2, "there is no such file");
		return;
	}
	reply_begin(&out, f->id, 0, "");
	talk_attrs(&out, &(struct talk_attrs){ (uint64_t)st.st_size, st.st_mode, (uint64_t)st.st_mtime });
	send_it(pair, &out);
}

static void
list(struct world *w, int pair, struct talk_frame *f)
{
	char *path = talk_take_text(&f->body, w->mem);
	DIR *dir = opendir(disk(w, path));
	struct talk_out out, entries;
	struct err err = { 0 };
	struct dirent *d;
	int fd;

	if (dir == NULL) {
		reply(pair, f->id, 2, "there is no such folder");
		return;
	}
	talk_start(&entries, TALK_LIST, 0);
	while ((d = readdir(dir)) != NULL) {
		struct stat st;

		if (d->d_name[0] == '.' || fstatat(dirfd(dir), d->d_name, &st, 0) != 0)
			continue;
		talk_text(&entries, d->d_name);
		talk_attrs(&entries, &(struct talk_attrs){ (uint64_t)st.st_size, st.st_mode, (uint64_t)st.st_mtime });
	}
	closedir(dir);
	fd = talk_memfd("listing", entries.mem + 8, entries.len - 8, &err);
	reply_begin(&out, f->id, 0, "");
	talk_fd(&out, fd);
	send_it(pair, &out);
	close(fd);
}

static void
closed(struct world *w, int pair, struct talk_frame *f)
{
	static const char *const words[] = { "partial", "whole", "other", "manifest", "refused" };
	uint64_t number = bytes_u64(&f->body);
	off_t size;
	DIR *dir = opendir(disk(w, "/"));
	struct dirent *d;
	char *sha;

	w->closed.verdict = (enum talk_verdict)bytes_u8(&f->body);
	w->closed.bytes = bytes_u64(&f->body);
	sha = talk_take_text(&f->body, w->mem);
	snprintf(w->closed.sha256, sizeof(w->closed.sha256), "%s", sha);
	w->closed.reason = talk_take_text(&f->body, w->mem);
	assert_false(f->body.short_of);
	size = lseek(f->fds[0], 0, SEEK_END);
	w->closed.facts = talloc_zero_array(w->mem, char, (size_t)size + 1);
	assert_int_equal(pread(f->fds[0], w->closed.facts, (size_t)size, 0), size);
	/* No writing descriptor is left: that is when a lease for reading is given. */
	while ((d = readdir(dir)) != NULL)
		if (d->d_ino == number) {
			int fd = openat(dirfd(dir), d->d_name, O_RDONLY | O_CLOEXEC);

			w->closed.frozen = fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
			close(fd);
		}
	closedir(dir);
	w->n_closed++;
	reply(pair, f->id, w->closed.verdict == TALK_REFUSED ? 4 : 0,
	      w->closed.verdict == TALK_REFUSED ? w->closed.reason : talloc_asprintf(w->mem, "this file is %s", words[w->closed.verdict]));
}

static void
names(struct world *w, int pair, struct talk_frame *f)
{
	char *a = disk(w, talk_take_text(&f->body, w->mem)), *b = f->type == TALK_RENAME ? disk(w, talk_take_text(&f->body, w->mem)) : a;
	bool overwrite = f->type == TALK_RENAME && bytes_u8(&f->body) != 0, good;

	good = f->type == TALK_MKDIR ? mkdir(a, 0700) == 0 : f->type == TALK_RMDIR ? rmdir(a) == 0 : f->type == TALK_REMOVE ? unlink(a) == 0
	     : (overwrite || access(b, F_OK) != 0) && rename(a, b) == 0;
	reply(pair, f->id, good ? 0 : 4, good ? "" : "that does not go");
}

static void
log_in(struct world *w, int pair, struct talk_frame *f)
{
	char *user = talk_take_text(&f->body, w->mem), *second = talk_take_text(&f->body, w->mem), *third = talk_take_text(&f->body, w->mem);
	const char *blob = f->type == TALK_KEY ? third : second;
	struct talk_policy p = { .migration = "m-1", .database = "Sales", .newest_version = 904 };
	struct talk_out out;

	if (strcmp(user, "m-1") != 0 || strcmp(blob, w->blob) != 0) {
		reply(pair, f->id, 3, "");
		return;
	}
	reply_begin(&out, f->id, 0, "");
	if (f->type == TALK_LOGIN)
		talk_policy(&out, &p);
	send_it(pair, &out);
}

static void
progress(struct world *w, int pair, struct talk_frame *f)
{
	uint64_t number = bytes_u64(&f->body);
	struct talk_out out;

	w->n_progress++;
	if (w->at_progress == 0)
		return;
	talk_start(&out, w->at_progress, 0);
	if (w->at_progress == TALK_REVOKE)
		talk_u64(&out, number);
	talk_text(&out, "somebody else has it now");
	send_it(pair, &out);
	w->at_progress = 0;
}

static void
peer(struct world *w, int pair, struct talk_frame *f)
{
	char *address = talk_take_text(&f->body, w->mem);
	bool is_good = strcmp(address, "192.0.2.66") != 0;

	w->peers = talloc_asprintf_append(w->peers, "[%s]", address);
	reply(pair, f->id, is_good ? 0 : 3, is_good ? "" : "not from there");
}

static void
answer(struct world *w, int pair, struct talk_frame *f)
{
	struct talk_out out;

	switch (f->type) {
	case TALK_KEY: case TALK_LOGIN: log_in(w, pair, f); break;
	case TALK_OPEN: open_file(w, pair, f); break;
	case TALK_STAT: stat_file(w, pair, f); break;
	case TALK_LIST: list(w, pair, f); break;
	case TALK_MKDIR: case TALK_RMDIR: case TALK_REMOVE: case TALK_RENAME: names(w, pair, f); break;
	case TALK_CLOSED: closed(w, pair, f); break;
	case TALK_PROGRESS: progress(w, pair, f); break;
	case TALK_REVOKED: w->n_revoked++; break;
	case TALK_SILENT: w->n_silent++; break;
	case TALK_PEER: peer(w, pair, f); break;
	case TALK_TIMES:
		talk_take_text(&f->body, w->mem);
		w->mtime = bytes_u64(&f->body);
		reply(pair, f->id, 0, "");
		break;
	case TALK_SPACE:
		reply_begin(&out, f->id, 0, "");
		for (uint64_t v = 4096; v >= 1024; v /= 2)
			talk_u64(&out, v);
		send_it(pair, &out);
		break;
	case TALK_TOTALS: break;
	case TALK_REFUSED_NAME:
		w->notes = talloc_asprintf_append(w->notes, "%s", talk_take_text(&f->body, w->mem));
		w->notes = talloc_asprintf_append(w->notes, " %s", talk_take_text(&f->body, w->mem));
		w->notes = talloc_asprintf_append(w->notes, ": %s\n", talk_take_text(&f->body, w->mem));
		break;
	case TALK_NOTE:
		bytes_u8(&f->body);
		w->notes = talloc_asprintf_append(w->notes, "%s\n", talk_take_text(&f->body, w->mem));
		break;
	default: fail_msg("a session said %u", f->type);
	}
	talk_close_fds(f);
}

/* ---- the warden's loop ---------------------------------------------------------------------------------------------- */

static void
spawn(struct world *w, int fd, enum talk_kind kind, const char *name)
{
	struct talk_out out;
	struct err err = { 0 };
	int pair[2];

	assert_true(w->n_sessions < SESSIONS_MAX);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	w->sessions[w->n_sessions].pair = pair[0];
	w->sessions[w->n_sessions].pidfd = -1;
	talk_start(&out, TALK_SPAWN, 0);
	talk_u32(&out, w->n_sessions++);
	talk_u8(&out, (uint8_t)kind);
	talk_text(&out, "127.0.0.1");
	talk_text(&out, name);
	talk_policy(&out, &(struct talk_policy){ .migration = "m-1", .newest_version = w->newest_version });
	talk_fd(&out, fd);
	talk_fd(&out, pair[1]);
	assert_true(talk_send(w->spawner, &out, &err));
	close(pair[1]);
	close(fd);
}

static void
hear_spawner(struct world *w, struct talk_frame *f)
{
	unsigned number;

	if (f->type == TALK_READY)
		w->fingerprints = talk_take_text(&f->body, w->mem);
	else if (f->type == TALK_SPAWNED) {
		number = bytes_u32(&f->body);
		w->sessions[number].pid = (pid_t)bytes_u32(&f->body);
		w->sessions[number].pidfd = f->fds[0];
		f->fds[0] = -1;
		assert_true(w->sessions[number].pidfd >= 0);
	}
	talk_close_fds(f);
}

static void
reap(struct world *w, unsigned i)
{
	struct talk_out out;
	struct err err = { 0 };

	talk_start(&out, TALK_REAP, 0);
	talk_u32(&out, (uint32_t)w->sessions[i].pid);
	assert_true(talk_send(w->spawner, &out, &err));
	close(w->sessions[i].pidfd);
	w->sessions[i].pidfd = -1;
	w->n_reaped++;
}

static void
serve(struct world *w)
{
	static struct talk_frame frame;
	struct pollfd p[2 + 2 * SESSIONS_MAX] = { { w->listener, POLLIN, 0 }, { w->spawner, POLLIN, 0 } };
	struct err err = { 0 };
	unsigned n = w->n_sessions;

	for (unsigned i = 0; i < n; i++) {
		p[2 + 2 * i] = (struct pollfd){ w->sessions[i].pair, POLLIN, 0 };
		p[3 + 2 * i] = (struct pollfd){ w->sessions[i].pidfd, POLLIN, 0 };
	}
	if (poll(p, 2 + 2 * n, 20) <= 0)
		return;
	if (p[0].revents != 0)
		spawn(w, accept4(w->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), w->from_balancer ? TALK_PROXIED : TALK_CONNECTION, "");
	if (p[1].revents != 0) {
		assert_int_equal(talk_receive(w->spawner, &frame, &err), 1);
		hear_spawner(w, &frame);
	}
	for (unsigned i = 0; i < n; i++) {
		int got = p[2 + 2 * i].revents == 0 ? 0 : talk_receive(w->sessions[i].pair, &frame, &err);

		if (got > 0)
			answer(w, w->sessions[i].pair, &frame);
		if (got < 0) {
			close(w->sessions[i].pair);
			w->sessions[i].pair = -1;
		}
		if (p[3 + 2 * i].revents != 0)
			reap(w, i);
	}
}

static bool
has_sessions(const struct world *w)
{
	for (unsigned i = 0; i < w->n_sessions; i++)
		if (w->sessions[i].pair >= 0 || w->sessions[i].pidfd >= 0)
			return true;
	return false;
}

/* Until nobody is left; every session must end by itself. */
static void
wait_for_quiet(struct world *w)
{
	time_t until = time(NULL) + PATIENCE;

	while (has_sessions(w) && time(NULL) < until)
		serve(w);
	assert_false(has_sessions(w));
}

/* ---- clients ----------------------------------------------------------------------------------------------------------- */

static pid_t
start_client(struct world *w, char *const *argv)
{
	pid_t pid = fork();

	if (pid == 0) {
		int out = open(talloc_asprintf(w->mem, "%s/out", w->dir), O_WRONLY | O_CREAT | O_TRUNC, 0600), in = open("/dev/null", O_RDONLY);

		dup2(in, 0);
		dup2(out, 1);
		dup2(out, 2);
		if (chdir(w->dir) == 0)
			execvp(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static struct sample
take(struct world *w, const char *path)
{
	FILE *f = fopen(path, "re");
	struct stat st;
	struct sample s = { 0 };

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	s.len = (size_t)st.st_size;
	s.mem = talloc_zero_array(w->mem, uint8_t, s.len + 1);
	assert_int_equal(fread(s.mem, 1, s.len, f), s.len);
	fclose(f);
	sample_digest(&s);
	return s;
}

static void
keep(struct world *w, const char *name, const void *mem, size_t len)
{
	FILE *f = fopen(talloc_asprintf(w->mem, "%s/%s", w->dir, name), "we");

	assert_int_equal(fwrite(mem, 1, len, f), len);
	fclose(f);
}

/* What a client printed. seconds > 0: it is killed after so long. */
static const char *
client(struct world *w, char *const *argv, int seconds)
{
	pid_t pid = start_client(w, argv);
	time_t until = time(NULL) + (seconds > 0 ? seconds : PATIENCE);
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		serve(w);
		if (time(NULL) > until) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			break;
		}
	}
	wait_for_quiet(w);
	return (const char *)take(w, talloc_asprintf(w->mem, "%s/out", w->dir)).mem;
}

static char **
ssh_arguments(struct world *w, const char *program, const char *user, const char *key, char *const *more)
{
	const char *const common[] = { program, "-q", "-F", "/dev/null", "-oUserKnownHostsFile=known", "-oGlobalKnownHostsFile=/dev/null",
		"-oStrictHostKeyChecking=yes", "-oHostKeyAlias=receiver", "-oIdentitiesOnly=yes", "-oIdentityAgent=none", "-oBatchMode=yes", "-i", key,
		talloc_asprintf(w->mem, "-oPort=%u", w->port) };
	char **argv = talloc_zero_array(w->mem, char *, 40);
	size_t n = 0;

	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		argv[n++] = talloc_strdup(w->mem, common[i]);
	for (size_t i = 0; more[i] != NULL && strcmp(more[i], "--") != 0; i++)
		argv[n++] = more[i];
	argv[n++] = talloc_asprintf(w->mem, "%s@127.0.0.1", user);
	return argv;
}

static const char *
sftp_as(struct world *w, const char *user, const char *key, const char *batch, const char *limit, int seconds)
{
	char b[] = "-b", file[] = "batch", *more[] = { b, file, limit == NULL ? NULL : talloc_strdup(w->mem, limit), NULL };

	keep(w, "batch", batch, strlen(batch));
	return client(w, ssh_arguments(w, "sftp", user, key, more), seconds);
}

static const char *
sftp(struct world *w, const char *batch)
{
	return sftp_as(w, "m-1", "key", batch, NULL, 0);
}

/* ---- set-up ---------------------------------------------------------------------------------------------------------------- */

static void
command(const char *text)
{
	if (system(text) != 0)
		fail_msg("%s", text);
}

static void
start_spawner(struct world *w)
{
	char *keys[] = { talloc_asprintf(w->mem, "%s/host", w->dir) };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	w->spawner_pid = fork();
	if (w->spawner_pid == 0) {
		close(pair[0]);
		close(w->listener);
		_exit(spawner_main(pair[1], keys, 1));
	}
	close(pair[1]);
	w->spawner = pair[0];
	while (w->fingerprints == NULL)
		serve(w);
}

static int
begin(void **state)
{
	struct world *w = talloc_zero(NULL, struct world);
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	char dir[] = "/tmp/landfall-session-XXXXXX", *end;

	*state = w;
	w->mem = w;
	w->limit = UINT64_MAX;
	w->notes = talloc_strdup(w, "");
	w->peers = talloc_strdup(w, "");
	w->dir = talloc_strdup(w, mkdtemp(dir));
	command(talloc_asprintf(w, "cd %s && mkdir files && for k in host key other; do ssh-keygen -q -t ed25519 -N '' -C x -f $k; done && "
	                        "echo receiver $(cat host.pub) >known", w->dir));
	w->blob = talloc_strdup(w, (char *)take(w, talloc_asprintf(w, "%s/key.pub", w->dir)).mem + strlen("ssh-ed25519 "));
	end = strchr(w->blob, ' ');
	*end = '\0';
	w->backup = sample_make(w, 1024, 904);
	keep(w, "full.bak", w->backup.mem, w->backup.len);
	w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(w->listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(w->listener, 16), 0);
	assert_int_equal(getsockname(w->listener, (struct sockaddr *)&sa, &len), 0);
	w->port = ntohs(sa.sin_port);
	start_spawner(w);
	return 0;
}

static int
finish(void **state)
{
	struct world *w = *state;
	int status = 0;
	char *rm = talloc_asprintf(w, "rm -rf %s", w->dir);

	close(w->spawner); /* its end of file ends it */
	waitpid(w->spawner_pid, &status, 0);
	close(w->listener);
	command(rm);
	talloc_free(w);
	assert_int_equal(status, 0);
	return 0;
}

static void
says(const char *text, const char *what)
{
	if (strstr(text, what) == NULL)
		fail_msg("[%s] is not in [%s]", what, text);
}

static void
is_whole(const struct world *w)
{
	if (w->closed.verdict != TALK_WHOLE)
		fail_msg("verdict %d: %s", w->closed.verdict, w->closed.reason);
	assert_string_equal(w->closed.sha256, w->backup.sha256);
	assert_int_equal(w->closed.bytes, w->backup.len);
	assert_true(w->closed.frozen);
}

/* ---- stories ------------------------------------------------------------------------------------------------------------------ */

static void
a_backup_goes_there_and_back(void **state)
{
	struct world *w = *state;
	const char *said;

	says(w->fingerprints, "ssh-ed25519 SHA256:");
	said = sftp(w, "put full.bak\nls -l\nget full.bak back.bak\nrename full.bak moved.bak\nmkdir d\nls d\nrmdir d\n-ls nothing\ndf\npwd\nrm moved.bak\n");
	is_whole(w);
	says(w->closed.facts, "\"DatabaseName\":\"Sales\"");
	says(said, "this file is whole");
	says(said, "full.bak\n");
	says(said, talloc_asprintf(w, "%zu", w->backup.len));
	says(said, "Can't ls: \"/nothing\" not found");
	says(said, "Remote working directory: /\n");
	assert_string_equal(take(w, talloc_asprintf(w, "%s/back.bak", w->dir)).sha256, w->backup.sha256);
	assert_int_equal(access(disk(w, "/moved.bak"), F_OK), -1);
	assert_int_equal(w->n_closed, 1);
	assert_int_equal(w->n_reaped, w->n_sessions);
}

static void
half_a_file_is_resumed(void **state)
{
	struct world *w = *state;
	const char *said;

	keep(w, "half", w->backup.mem, w->backup.len / 2);
	said = sftp(w, "put half full.bak\n");
	says(said, "this file is partial");
	assert_int_equal(w->closed.verdict, TALK_PARTIAL);
	assert_int_equal(w->closed.bytes, w->backup.len / 2);
	says(sftp(w, "reput full.bak\n"), "this file is whole");
	is_whole(w);
}

static void
times_that_were_set_while_it_was_open_are_told(void **state)
{
	struct world *w = *state;

	command(talloc_asprintf(w, "touch -d @1234567890 %s/full.bak", w->dir));
	sftp(w, "put -p full.bak\n");
	is_whole(w);
	assert_int_equal(w->mtime, 1234567890);
}

static void
what_is_no_backup_is_refused_in_words(void **state)
{
	struct world *w = *state;
	char text[5000];

	memset(text, 'x', sizeof(text));
	keep(w, "text", text, sizeof(text));
	says(sftp(w, "-put text text.bak\nput text notes.txt\n"), "text.bak: this is no SQL Server backup but a text file");
	assert_int_equal(w->n_closed, 2);
	assert_int_equal(w->closed.verdict, TALK_OTHER);
}

static void
the_quota_is_said_in_words(void **state)
{
	struct world *w = *state;

	w->limit = 1000000;
	says(sftp(w, "-put full.bak\n"), "over the quota");
	assert_int_equal(w->closed.verdict, TALK_REFUSED);
}

static void
strangers_stay_outside(void **state)
{
	struct world *w = *state;
	char id[] = "id", end[] = "--", *more[] = { end, NULL }, **argv;

	sftp_as(w, "m-1", "other", "ls\n", NULL, 0);
	sftp_as(w, "m-2", "key", "ls\n", NULL, 0);
	assert_string_equal(w->notes, "");
	argv = ssh_arguments(w, "ssh", "m-1", "key", more);
	for (size_t i = 0; i < 40; i++)
		if (argv[i] == NULL) {
			argv[i] = id;
			break;
		}
	says(client(w, argv, 0), "no commands here, only SFTP");
	assert_int_equal(w->n_closed, 0);
}

static void
a_client_that_goes_leaves_a_partial(void **state)
{
	struct world *w = *state;

	/* In kbit/s: four seconds' worth, of which it gets two. */
	sftp_as(w, "m-1", "key", "put full.bak\n", "-l16000", 1);
	assert_int_equal(w->n_closed, 1);
	assert_int_equal(w->closed.verdict, TALK_PARTIAL);
	says(w->closed.reason, "the connection ended");
	assert_true(w->closed.bytes > 0 && w->closed.bytes < w->backup.len);
	assert_true(w->n_progress > 0);
	assert_true(w->closed.frozen);
	assert_int_equal(take(w, disk(w, "/full.bak")).len, w->closed.bytes);
}

static void
a_revoked_upload_fails_with_its_reason(void **state)
{
	struct world *w = *state;

	w->at_progress = TALK_REVOKE;
	says(sftp_as(w, "m-1", "key", "-put full.bak\nls -l full.bak\n", "-l32000", 0), "somebody else has it now");
	assert_int_equal(w->n_revoked, 1);
	assert_int_equal(w->closed.verdict, TALK_PARTIAL);
}

static void
a_session_ends_when_it_is_told(void **state)
{
	struct world *w = *state;
	struct timespec from, to;

	w->at_progress = TALK_END;
	clock_gettime(CLOCK_MONOTONIC, &from);
	says(sftp_as(w, "m-1", "key", "put full.bak\n", "-l8000", 0), "somebody else has it now");
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_true(to.tv_sec - from.tv_sec < 4);
	assert_int_equal(w->n_closed, 1);
	assert_int_equal(w->closed.verdict, TALK_PARTIAL);
}

static void
a_reader_says_what_a_file_is(void **state)
{
	struct world *w = *state;

	spawn(w, open(talloc_asprintf(w, "%s/full.bak", w->dir), O_RDONLY | O_CLOEXEC), TALK_READER, "sub/full.bak");
	wait_for_quiet(w);
	assert_int_equal(w->n_closed, 1);
	assert_int_equal(w->closed.verdict, TALK_WHOLE);
	assert_string_equal(w->closed.sha256, w->backup.sha256);
	/* By the policy of its migration, as it would have been while it came in. */
	w->newest_version = 869;
	spawn(w, open(talloc_asprintf(w, "%s/full.bak", w->dir), O_RDONLY | O_CLOEXEC), TALK_READER, "sub/full.bak");
	wait_for_quiet(w);
	assert_int_equal(w->n_closed, 2);
	assert_int_equal(w->closed.verdict, TALK_REFUSED);
}

static void
a_client_that_says_nothing_hurts_nobody(void **state)
{
	struct world *w = *state;
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)w->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int silent[8];

	for (size_t i = 0; i < 8; i++) {
		silent[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(silent[i], (struct sockaddr *)&sa, sizeof(sa)), 0);
		if (i % 2 == 0)
			assert_int_equal(write(silent[i], "GET / HTTP/1.0\r\n\r\n\0\1\2", 21), 21);
	}
	for (int i = 0; i < 20; i++)
		serve(w);
	for (size_t i = 0; i < 8; i++)
		close(silent[i]);
	wait_for_quiet(w);
	sftp(w, "put full.bak\n");
	is_whole(w);
}

/* paramiko, so that it can be told to do what stock clients never do. NULL where it is not installed. */
static const char *
scripted(struct world *w, const char *script)
{
	char python[] = "/usr/bin/python3", file[] = "script.py", *argv[] = { python, file, talloc_asprintf(w, "%u", w->port), NULL };
	const char *head = "import paramiko, sys, struct, time\n"
		"t = paramiko.Transport(('127.0.0.1', int(sys.argv[1])))\n"
		"t.connect(username='m-1', pkey=paramiko.Ed25519Key.from_private_key_file('key'))\n";
	char *all = talloc_asprintf(w, "%s%s", head, script);

	if (system("/usr/bin/python3 -c 'import paramiko' 2>/dev/null") != 0) {
		printf("SKIP what paramiko is needed for: it is not installed\n");
		return NULL;
	}
	keep(w, "script.py", all, strlen(all));
	return client(w, argv, 120);
}

/* The library writes empty packets for ever to a channel with so small a packet; the session must not live on. */
static void
a_packet_size_of_ten_ends_the_session(void **state)
{
	struct world *w = *state;
	const char *said = scripted(w, "t._sanitize_packet_size = lambda x: 10\n"
	            "c = t.open_session()\n"
	            "c.settimeout(100)\n"
	            "c.out_max_packet_size = 32768\n"
	            "c.invoke_subsystem('sftp')\n"
	            "c.sendall(b'\\0\\0\\0\\5\\1\\0\\0\\0\\3')\n"
	            "print('got', c.recv(1))\n");

	if (said == NULL)
		return;
	/* The end of the channel, not paramiko's time limit. */
	if (strstr(said, "got b''") == NULL)
		fail_msg("%s", said);
	sftp(w, "put full.bak\n");
	is_whole(w);
}

static void
a_client_that_reads_nothing_is_not_asked_for_more(void **state)
{
	struct world *w = *state;
	const char *said;

	keep(w, "files/big", w->backup.mem, w->backup.len);
	/* 20000 READs of 256 KB are 5 GB of answers; it takes none of them. AddressSanitizer alone needs 400 MB. */
	said = scripted(w, "c = t.open_session(window_size=2**31-1)\n"
	                 "c.invoke_subsystem('sftp')\n"
	                 "def p(b): return struct.pack('>I', len(b)) + b\n"
	                 "def s(b): return p(b)\n"
	                 "c.sendall(p(b'\\1' + struct.pack('>I', 3)))\n"
	                 "c.sendall(p(b'\\3' + struct.pack('>I', 1) + s(b'/big') + struct.pack('>II', 1, 0)))\n"
	                 "time.sleep(1)\n"
	                 "r = c.recv(100000)\n"
	                 "h = r[r.index(b'\\x66\\0\\0\\0\\1') + 9:][:8]\n"
	                 "t.packetizer.read_message = lambda: time.sleep(1000)\n"
	                 "import os, threading\n"
	                 "def send():\n"
	                 "  for i in range(20000): c.sendall(p(b'\\5' + struct.pack('>I', i) + s(h) + struct.pack('>QI', 0, 261120)))\n"
	                 "threading.Thread(target=send, daemon=True).start()\n"
	                 "time.sleep(4)\n"
	                 "import glob\n"
	                 "most = 0\n"
	                 "for f in glob.glob('/proc/[0-9]*/status'):\n"
	                 "  try: x = open(f).read()\n"
	                 "  except OSError: continue\n"
	                 "  if 'Name:\\tsession_test' in x: most = max(most, int(x.split('VmRSS:')[1].split()[0]) if 'VmRSS:' in x else 0)\n"
	                 "print('small' if 0 < most < 700000 else 'large', most)\n"
	                 "sys.stdout.flush()\n"
	                 "os._exit(0)\n");
	if (said != NULL)
		says(said, "small");
}

/* ---- connections from a balancer ----------------------------------------------------------------------------------- */

static int
dial(struct world *w)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)w->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* Sends that in pieces, and gives back what the server said: to its first line or its end. */
static const char *
knock(struct world *w, const char *bytes, size_t len, size_t size)
{
	char *said = talloc_zero_array(w, char, 1000);
	int fd = dial(w);
	ssize_t n = 0, got = 0;
	time_t until = time(NULL) + PATIENCE;

	for (size_t at = 0; at < len; at += size) {
		assert_int_equal(write(fd, bytes + at, size > len - at ? len - at : size), size > len - at ? len - at : size);
		serve(w);
	}
	while (time(NULL) < until && strchr(said, '\n') == NULL) {
		serve(w);
		got = recv(fd, said + n, 999 - (size_t)n, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		n += got > 0 ? got : 0;
	}
	close(fd);
	wait_for_quiet(w);
	return said;
}

static void
a_balancer_says_whom_it_is_for(void **state)
{
	static const char line[] = "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nSSH-2.0-x\r\n", local[] = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
	                  relayed[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\14\300\0\2\11\300\0\2\10\1\2\0\26SSH-2.0-x\r\n",
	                  shut_out[] = "PROXY TCP4 192.0.2.66 192.0.2.8 1 2\r\n";
	struct world *w = *state;

	w->from_balancer = true;
	says(knock(w, line, sizeof(line) - 1, 1000), "SSH-2.0-");
	says(knock(w, line, sizeof(line) - 1, 5), "SSH-2.0-");
	says(knock(w, relayed, sizeof(relayed) - 1, 7), "SSH-2.0-");
	assert_string_equal(w->peers, "[192.0.2.7][192.0.2.7][192.0.2.9]");
	assert_int_equal(w->n_silent, 0);
	says(knock(w, local, sizeof(local) - 1, 1000), "SSH-2.0-");
	assert_int_equal(w->n_silent, 1); /* a health check: greeted, and gone */
	assert_string_equal(knock(w, shut_out, sizeof(shut_out) - 1, 1000), "not from there\r\n");
	assert_string_equal(w->peers, "[192.0.2.7][192.0.2.7][192.0.2.9][][192.0.2.66]");
	assert_string_equal(w->notes, "");
}

/* Not one byte of SSH before it: a client that reaches us past the balancer is not taken for the balancer. */
static void
a_balancers_header_is_required(void **state)
{
	static const char *const others[] = { "SSH-2.0-OpenSSH_9.2\r\n", "GET / HTTP/1.0\r\n\r\n", "PROXY TCP4 192.0.2.7\r\n" };
	struct world *w = *state;
	int fd;

	w->from_balancer = true;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_string_equal(knock(w, others[i], strlen(others[i]), 1000), "");
	/* Nor one that stops in the middle; five seconds. */
	assert_string_equal(knock(w, "PROXY TCP4 192.0", 16, 3), "");
	assert_string_equal(w->peers, "");
	says(w->notes, "no PROXY header");
	/* Come and gone without a word: it only looked whether we are there. */
	talloc_free(w->notes);
	w->notes = talloc_strdup(w, "");
	fd = dial(w);
	serve(w);
	close(fd);
	wait_for_quiet(w);
	assert_string_equal(w->notes, "");
}

/* The whole way, through a program that plays the balancer. */
static void
a_client_of_a_balancer_is_served(void **state)
{
	struct world *w = *state;
	char *proxy = talloc_asprintf(w, "-oProxyCommand=bash -c 'exec 3<>/dev/tcp/127.0.0.1/%u; printf \"PROXY TCP6 2001:db8::7 ::1 1 2\\r\\n\" >&3; "
	                              "cat <&3 & cat >&3; kill $!'", w->port);

	w->from_balancer = true;
	sftp_as(w, "m-1", "key", "put full.bak\n", proxy, 0);
	is_whole(w);
	assert_string_equal(w->peers, "[2001:db8::7]");
}

/* What costs a peer nothing, and what does: the warden hears of silence only. */
static void
only_silence_is_told(void **state)
{
	struct world *w = *state;
	int fd = dial(w);

	serve(w);
	close(fd);
	wait_for_quiet(w);
	assert_int_equal(w->n_silent, 1);
	says(knock(w, "", 0, 1), "SSH-2.0-"); /* it reads our version, and goes */
	assert_int_equal(w->n_silent, 2);
	knock(w, "x", 1, 1);
	knock(w, "SSH-2.0-x\r\n", 11, 11);
	sftp_as(w, "m-1", "other", "ls\n", NULL, 0);
	sftp(w, "ls\n");
	assert_int_equal(w->n_silent, 2);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_backup_goes_there_and_back), CASE(half_a_file_is_resumed), CASE(times_that_were_set_while_it_was_open_are_told),
		CASE(what_is_no_backup_is_refused_in_words), CASE(the_quota_is_said_in_words), CASE(strangers_stay_outside),
		CASE(a_client_that_goes_leaves_a_partial), CASE(a_revoked_upload_fails_with_its_reason), CASE(a_session_ends_when_it_is_told),
		CASE(a_reader_says_what_a_file_is), CASE(a_client_that_says_nothing_hurts_nobody), CASE(a_packet_size_of_ten_ends_the_session),
		CASE(a_client_that_reads_nothing_is_not_asked_for_more), CASE(a_balancer_says_whom_it_is_for), CASE(a_balancers_header_is_required),
		CASE(a_client_of_a_balancer_is_served), CASE(only_silence_is_told),
	};

	log_begin("session_test");
	signal(SIGPIPE, SIG_IGN);
	alarm(300);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
