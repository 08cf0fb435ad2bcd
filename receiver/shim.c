#undef _FORTIFY_SOURCE /* it would define the very functions that are defined here */
#include "receiver/shim.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ROOM = 256 * 1024, TURNS_MAX = 64 };

static int taken = -1;
static uint8_t kept[ROOM];
static size_t at, len;
static unsigned turns; /* in a row without asking the kernel: other descriptors have their turn as well */

void
shim_take(int fd)
{
	taken = fd;
	at = len = 0;
}

ssize_t
recv(int fd, void *mem, size_t n, int flags)
{
	ssize_t got;

	if (fd != taken || flags != 0)
		return syscall(SYS_recvfrom, fd, mem, n, flags, NULL, NULL);
	if (at == len) {
		if ((got = syscall(SYS_recvfrom, fd, kept, sizeof(kept), MSG_DONTWAIT, NULL, NULL)) <= 0)
			return got;
		at = 0;
		len = (size_t)got;
	}
	n = n < len - at ? n : len - at;
	memcpy(mem, kept + at, n);
	at += n;
	return (ssize_t)n;
}

/* Whether bytes of the taken descriptor wait here, and are asked for. */
static struct pollfd *
waits(struct pollfd *p, nfds_t n)
{
	for (nfds_t i = 0; i < n && at < len; i++)
		if (p[i].fd == taken && (p[i].events & POLLIN) != 0)
			return &p[i];
	return NULL;
}

static int
ask(struct pollfd *p, nfds_t n, int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	return (int)syscall(SYS_ppoll, p, n, ms < 0 ? NULL : &t, NULL, (size_t)(_NSIG / 8));
}

int
poll(struct pollfd *p, nfds_t n, int ms)
{
	struct pollfd *ours = waits(p, n);
	int ready;

	if (ours == NULL)
		return ask(p, n, ms);
	if (++turns < TURNS_MAX) {
		for (nfds_t i = 0; i < n; i++)
			p[i].revents = 0;
		ours->revents = POLLIN;
		return 1;
	}
	turns = 0;
	ready = ask(p, n, 0);
	if (ready >= 0 && (ours->revents & POLLIN) == 0) {
		ready += ours->revents == 0;
		ours->revents |= POLLIN;
	}
	return ready;
}
