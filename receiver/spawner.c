#include "receiver/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/libssh_age.h"
#include "common/log.h"
#include "common/package.h"
#include "receiver/jail.h"
#include "receiver/session.h"
#include "receiver/ssh.h"
#include "receiver/talk.h"

static void
tell_spawned(int fd, uint32_t number, pid_t pid, int pidfd)
{
	struct talk_out out;
	struct err err = { 0 };

	talk_start(&out, TALK_SPAWNED, 0);
	talk_u32(&out, number);
	talk_u32(&out, (uint32_t)pid);
	if (pidfd >= 0)
		talk_fd(&out, pidfd);
	if (!talk_send(fd, &out, &err))
		_exit(0);
}

static int nowhere = -1; /* /dev/null */

/* A session's lines are frames to the warden, who bounds them: the log itself is no descriptor of its. */
static void
forget_outputs(void)
{
#ifdef __SANITIZE_ADDRESS__ /* what a sanitiser finds is to be read */
	int last = STDOUT_FILENO;
#else
	int last = STDERR_FILENO;
#endif

	for (int fd = STDIN_FILENO; fd <= last; fd++) {
		close(fd);
		if (dup(nowhere) != fd)
			_exit(1);
	}
	close(nowhere);
}

static void
spawn(int fd, struct talk_frame *f)
{
	uint32_t number = bytes_u32(&f->body);
	uint8_t kind = bytes_u8(&f->body);
	char *address = talk_take_text(&f->body, NULL), *name = talk_take_text(&f->body, NULL);
	struct talk_policy policy;
	struct err err = { 0 };
	pid_t pid;
	int pidfd;

	talk_take_policy(&f->body, &policy);
	pid = f->body.short_of || f->fds[0] < 0 || f->fds[1] < 0 ? -1 : fork();
	if (pid == 0) {
		close(fd);
		forget_outputs();
		if (!jail_session(&err))
			_exit(1);
		if (kind == TALK_DIGEST)
			session_digest(f->fds[0], f->fds[1]);
		if (kind == TALK_READER)
			session_reader(f->fds[0], f->fds[1], name, &policy);
		session_main(f->fds[0], f->fds[1], kind == TALK_PROXIED);
	}
	pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	tell_spawned(fd, number, pid > 0 ? pid : 0, pidfd);
	if (pidfd >= 0)
		close(pidfd);
	talk_close_fds(f);
	talloc_free(address);
	talloc_free(name);
}

/* The warden has seen it end by its pidfd: nobody will mean another process by that number. */
static void
reap(struct talk_frame *f)
{
	pid_t pid = (pid_t)bytes_u32(&f->body);

	if (pid > 0)
		waitpid(pid, NULL, WNOHANG);
}

static void
warn_of_an_old_library(void)
{
	char version[100], why[200];

	package_version("libssh-4", version, sizeof(version));
	if (!libssh_is_known_good(ssh_library(), version, why, sizeof(why)))
		log_warning("the SSH library may be unsafe", "why", why, NULL);
}

static bool
prepare(int fd, char **files, size_t n, struct err *err)
{
	char *fingerprints = NULL;
	struct talk_out out;
	bool landlock;

	tzset();
	setlocale(LC_ALL, "C");
	signal(SIGPIPE, SIG_IGN);
	warn_of_an_old_library();
	if ((nowhere = open("/dev/null", O_RDWR | O_CLOEXEC)) <= STDERR_FILENO)
		return err_set(err, ERR_OPERATOR, errno, "/dev/null cannot be opened, or the program was started without its three first descriptors");
	if (!ssh_prepare(files, n, NULL, &fingerprints, err) || !jail_spawner(&landlock, err))
		return false;
	if (!landlock)
		log_warning("this kernel knows no Landlock; seccomp alone keeps sessions from opening files", NULL);
	talk_start(&out, TALK_READY, 0);
	talk_text(&out, fingerprints);
	return talk_send(fd, &out, err);
}

int
spawner_main(int fd, char **files, size_t n)
{
	static struct talk_frame frame;
	struct err err = { 0 };

	if (!prepare(fd, files, n, &err)) {
		log_error("the spawner cannot start", "error", err.text, NULL);
		return 1;
	}
	for (;;) {
		int got = talk_receive(fd, &frame, &err);

		if (got < 0)
			return 0;
		if (got > 0 && frame.type == TALK_SPAWN)
			spawn(fd, &frame);
		else if (got > 0 && frame.type == TALK_REAP)
			reap(&frame);
	}
}
