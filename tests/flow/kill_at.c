/* kill_at: preloaded into a program under test; ends it with SIGKILL just before the Nth of the calls named.
 *
 * It counts for the whole process. strace's injection counts for each thread, so in a program of many threads the
 * busiest one would always be met first and most points of the others never.
 *
 *   KILL_CALLS   names, separated by commas: send write pwrite fsync rename unlink
 *   KILL_NTH     which of them, from 1
 *   KILL_MARK    a file that is made before the end, so that a test can tell it from a crash
 *   KILL_PORT    only send counts, and only to that port of this machine
 *   KILL_PID     another process ends instead, and the call goes on
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_ulong met;

static bool
is_named(const char *call)
{
	const char *names = getenv("KILL_CALLS");
	size_t n = strlen(call);

	for (const char *p = names; p != NULL; p = strchr(p, ',')) {
		p += *p == ',';
		if (strncmp(p, call, n) == 0 && (p[n] == ',' || p[n] == '\0'))
			return true;
	}
	return false;
}

/* Is it the peer that is asked about, if one is? */
static bool
is_peer(int fd)
{
	const char *port = getenv("KILL_PORT");
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);

	return port == NULL || (fd >= 0 && getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET &&
	                        ntohs(peer.sin_port) == strtoul(port, NULL, 10));
}

static void
point_at(const char *call, int fd)
{
	const char *nth = getenv("KILL_NTH"), *mark = getenv("KILL_MARK"), *other = getenv("KILL_PID");

	if (nth == NULL || mark == NULL || !is_named(call) || !is_peer(fd) || atomic_fetch_add(&met, 1) + 1 != strtoul(nth, NULL, 10))
		return;
	if (open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0644) >= 0)
		kill(other == NULL ? getpid() : (pid_t)atoi(other), SIGKILL);
	if (other == NULL)
		abort();
}

static void point(const char *call) { point_at(call, -1); }

/* The function that would have been called without us. */
#define NEXT(result, name, ...) ((result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

ssize_t send(int fd, const void *p, size_t n, int flags) { point_at("send", fd); return NEXT(ssize_t, send, int, const void *, size_t, int)(fd, p, n, flags); }
ssize_t sendmsg(int fd, const struct msghdr *m, int flags) { point_at("send", fd); return NEXT(ssize_t, sendmsg, int, const struct msghdr *, int)(fd, m, flags); }
ssize_t write(int fd, const void *p, size_t n) { point("write"); return NEXT(ssize_t, write, int, const void *, size_t)(fd, p, n); }
ssize_t pwrite(int fd, const void *p, size_t n, off_t at) { point("pwrite"); return NEXT(ssize_t, pwrite, int, const void *, size_t, off_t)(fd, p, n, at); }
ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at) { point("pwrite"); return NEXT(ssize_t, pwrite64, int, const void *, size_t, off64_t)(fd, p, n, at); }
int fsync(int fd) { point("fsync"); return NEXT(int, fsync, int)(fd); }
int fdatasync(int fd) { point("fsync"); return NEXT(int, fdatasync, int)(fd); }
int rename(const char *a, const char *b) { point("rename"); return NEXT(int, rename, const char *, const char *)(a, b); }
int unlink(const char *a) { point("unlink"); return NEXT(int, unlink, const char *)(a); }
