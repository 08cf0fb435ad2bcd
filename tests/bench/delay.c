#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/*
 * A long line on loopback, for benches: passes one connection after the other on to a port, each byte so many
 * milliseconds later, either way, in any amount.
 *
 *   delay PORT MILLISECONDS       says the port it listens on and serves until it is ended
 */

enum { PIECE = 256 * 1024, MOST_UNDER_WAY = 64 * 1024 * 1024 };

struct piece { struct piece *next; int64_t due; size_t at, len; uint8_t mem[]; };
struct way { int from, to; struct piece *first, **last; size_t under_way; bool ended; };

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static int
listen_somewhere(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 16) != 0 || getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		die("delay: listen");
	printf("%d\n", ntohs(a.sin_port));
	fflush(stdout);
	return fd;
}

static int
connect_to(unsigned port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		die("delay: connect");
	return fd;
}

static void
prepare(int fd)
{
	int on = 1;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* What came is due later; an end is a piece without bytes. */
static void
take(struct way *w, int64_t delay)
{
	struct piece *p = malloc(sizeof(*p) + PIECE);
	ssize_t n = p == NULL ? -1 : read(w->from, p->mem, PIECE);

	if (n < 0) {
		free(p);
		return;
	}
	p = realloc(p, sizeof(*p) + (size_t)n);
	*p = (struct piece){ .due = now_us() + delay, .len = (size_t)n };
	w->ended = n == 0;
	w->under_way += (size_t)n;
	*w->last = p;
	w->last = &p->next;
}

/* False when the other end is gone, or the end has been passed on. */
static bool
give(struct way *w)
{
	while (w->first != NULL && w->first->due <= now_us()) {
		struct piece *p = w->first;
		ssize_t n = p->len == 0 ? 0 : send(w->to, p->mem + p->at, p->len - p->at, MSG_NOSIGNAL);

		if (p->len == 0)
			shutdown(w->to, SHUT_WR);
		if (n < 0)
			return errno == EAGAIN;
		p->at += (size_t)n;
		w->under_way -= (size_t)n;
		if (p->at < p->len)
			return true;
		w->first = p->next;
		if (w->first == NULL)
			w->last = &w->first;
		free(p);
	}
	return true;
}

static int
wait_ms(const struct way *w)
{
	int64_t least = 1000000;

	for (unsigned i = 0; i < 2; i++)
		if (w[i].first != NULL && w[i].first->due - now_us() < least)
			least = w[i].first->due - now_us();
	return least <= 0 ? 1 : (int)((least + 999) / 1000);
}

static void
carry(int client, int server, int64_t delay)
{
	struct way w[2] = { { .from = client, .to = server }, { .from = server, .to = client } };

	prepare(client);
	prepare(server);
	w[0].last = &w[0].first;
	w[1].last = &w[1].first;
	while (!(w[0].ended && w[1].ended && w[0].first == NULL && w[1].first == NULL)) {
		struct pollfd p[2];

		for (unsigned i = 0; i < 2; i++)
			p[i] = (struct pollfd){ w[i].ended || w[i].under_way > MOST_UNDER_WAY ? -1 : w[i].from, POLLIN, 0 };
		poll(p, 2, wait_ms(w));
		for (unsigned i = 0; i < 2; i++)
			if (p[i].revents != 0)
				take(&w[i], delay);
		if (!give(&w[0]) || !give(&w[1]))
			break;
	}
}

int
main(int argc, char **argv)
{
	int fd, client;

	if (argc != 3) {
		fputs("usage: delay PORT MILLISECONDS\n", stderr);
		return 2;
	}
	signal(SIGCHLD, SIG_IGN);
	fd = listen_somewhere();
	while ((client = accept(fd, NULL, NULL)) >= 0) {
		if (fork() == 0) {
			carry(client, connect_to((unsigned)atoi(argv[1])), atoi(argv[2]) * INT64_C(1000));
			_exit(0);
		}
		close(client);
	}
	return 1;
}
