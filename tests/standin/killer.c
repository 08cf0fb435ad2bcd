#include "tests/standin/killer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/seccomp.h>
#include <seccomp.h>

enum { CHILD_SECONDS = 60 };

/* ---- the child ------------------------------------------------------------------------------------------- */

/* What can leave a trace: on a disk, or with a peer. An open only when it makes or empties a file. */
static const int traces[] = {
	SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(pwritev2), SCMP_SYS(copy_file_range), SCMP_SYS(sendfile),
	SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range), SCMP_SYS(ftruncate), SCMP_SYS(truncate), SCMP_SYS(fallocate),
	SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(link), SCMP_SYS(linkat),
	SCMP_SYS(symlink), SCMP_SYS(symlinkat), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(rmdir), SCMP_SYS(chmod), SCMP_SYS(fchmod),
};

static int
lay_on(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	bool good = filter != NULL;

	for (size_t i = 0; good && i < sizeof(traces) / sizeof(traces[0]); i++)
		good = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, traces[i], 0) == 0;
	good = good && seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(openat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, O_CREAT, O_CREAT)) == 0 &&
	       seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(openat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, O_TRUNC, O_TRUNC)) == 0 &&
	       seccomp_load(filter) == 0;
	return good ? seccomp_notify_fd(filter) : -1;
}

static struct msghdr
letter_of(struct iovec *part, char *control, size_t len)
{
	return (struct msghdr){ .msg_iov = part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = len };
}

static bool
pass(int line, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec part = { &byte, 1 };
	struct msghdr letter = letter_of(&part, control, sizeof(control));
	struct cmsghdr *head = CMSG_FIRSTHDR(&letter);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	return sendmsg(line, &letter, 0) == 1;
}

/* ---- the parent ------------------------------------------------------------------------------------------ */

static int
receive(int line)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte;
	struct iovec part = { &byte, 1 };
	struct msghdr letter = letter_of(&part, control, sizeof(control));
	int fd;

	if (recvmsg(line, &letter, MSG_CMSG_CLOEXEC) != 1 || CMSG_FIRSTHDR(&letter) == NULL)
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&letter)), sizeof(fd));
	return fd;
}

static bool
is_sync(int call)
{
	return call == SCMP_SYS(fsync) || call == SCMP_SYS(fdatasync) || call == SCMP_SYS(sync_file_range);
}

/* Until the child has ended or come to its point. */
static void
watch(int filter, pid_t child, size_t nth, size_t *met)
{
	struct seccomp_notif *call = NULL;
	struct seccomp_notif_resp *answer = NULL;
	struct pollfd ready = { .fd = filter, .events = POLLIN };

	if (seccomp_notify_alloc(&call, &answer) != 0)
		return;
	for (;;) {
		if (poll(&ready, 1, -1) < 0 && errno == EINTR)
			continue;
		if (!(ready.revents & POLLIN))
			break;
		memset(call, 0, sizeof(*call));
		if (seccomp_notify_receive(filter, call) != 0)
			continue;
		if (++*met == nth) {
			kill(child, SIGKILL);
			break;
		}
		*answer = (struct seccomp_notif_resp){ .id = call->id,
			.flags = is_sync(call->data.nr) ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE };
		seccomp_notify_respond(filter, answer);
	}
	seccomp_notify_free(call, answer);
}

enum killer_end
killer_play(bool (*play)(void *ctx), void *ctx, size_t nth, size_t *met)
{
	int line[2], filter, status = 0;
	pid_t child;

	if (met != NULL)
		*met = 0;
	fflush(NULL);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) != 0)
		return KILLER_BROKEN;
	child = fork();
	if (child == 0) {
		/* One that stands still ends too, by another signal than is looked for. */
		alarm(CHILD_SECONDS);
		close(line[1]);
		if (met == NULL)
			_exit(play(ctx) ? 0 : 1);
		filter = lay_on();
		if (filter < 0 || !pass(line[0], filter)) {
			fprintf(stderr, "killer: this kernel (or container) takes no seccomp filter that asks its parent: %s\n", strerror(errno));
			_exit(2);
		}
		/* Nobody else may hold it: its end is how the parent learns of ours. */
		close(filter);
		_exit(play(ctx) ? 0 : 1);
	}
	close(line[0]);
	filter = child < 0 || met == NULL ? -1 : receive(line[1]);
	close(line[1]);
	if (filter >= 0) {
		watch(filter, child, nth, met);
		close(filter);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return KILLER_BROKEN;
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGKILL && met != NULL && *met == nth ? KILLER_KILLED : KILLER_BROKEN;
	return WEXITSTATUS(status) == 0 ? KILLER_DONE : WEXITSTATUS(status) == 1 ? KILLER_FAILED : KILLER_BROKEN;
}
