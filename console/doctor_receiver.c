#include "console/doctor.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/fingerprint.h"
#include "common/text.h"

enum { KEY_FILE_MAX = 16384, BANNER_MS = 5000, INODES_LEAST = 10000, LAG_SECONDS = 60, AREAS_MAX = 20000 };

/* ---- host keys ---------------------------------------------------------------------------------------------------- */

static const uint8_t *
take_string(struct bytes *b, size_t *len)
{
	*len = bytes_u32be(b);
	return bytes_take(b, *len);
}

/*
 * OpenSSH's private key file has the public key in the clear, before the part that may be encrypted (PROTOCOL.key):
 * magic, names of cipher and key derivation, its options, number of keys, public key.
 */
static bool
read_public(const char *text, char *type, size_t size, char fingerprint[FINGERPRINT_MAX])
{
	static const char begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----", magic[] = "openssh-key-v1";
	uint8_t raw[KEY_FILE_MAX];
	char base64[KEY_FILE_MAX];
	size_t n = 0, len;
	const uint8_t *key, *name;
	struct bytes b;
	bool good;
	int got;

	if (strncmp(text, begin, strlen(begin)) != 0)
		return false;
	for (const char *p = text + strlen(begin); *p != '\0' && *p != '-'; p++)
		if (*p != '\n' && *p != '\r')
			base64[n++] = *p;
	got = EVP_DecodeBlock(raw, (const uint8_t *)base64, (int)n);
	b = bytes_of(raw, got < 0 ? 0 : (size_t)got);
	key = bytes_take(&b, sizeof(magic));
	good = key != NULL && memcmp(key, magic, sizeof(magic)) == 0;
	for (int i = 0; good && i < 3; i++)
		take_string(&b, &len);
	bytes_u32be(&b);
	key = good ? take_string(&b, &len) : NULL;
	good = key != NULL;
	if (good) {
		fingerprint_of_bytes(key, len, fingerprint);
		b = bytes_of(key, len);
		name = take_string(&b, &len);
		good = name != NULL;
		snprintf(type, size, "%.*s", good ? (int)len : 0, good ? (const char *)name : "");
	}
	explicit_bzero(raw, sizeof(raw));
	explicit_bzero(base64, sizeof(base64));
	return good;
}

static void
look_at_host_key(struct doctor *d, const char *path)
{
	char text[KEY_FILE_MAX] = "", type[64], fingerprint[FINGERPRINT_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC), why = errno;
	struct stat st;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0 && n < 0)
		why = errno;
	if (fd < 0 && why == EACCES)
		doctor_say(d, path, DOCTOR_WARN, "ask as root, or as the receiver's user", "not checked: you may not read it");
	else if (n <= 0)
		doctor_say(d, path, DOCTOR_FAIL, "ssh-keygen -t ed25519 -N '' -f FILE makes one, once: clients remember it", "%s", n == 0 ? "it is empty" : strerror(why));
	else if (fstat(fd, &st) != 0 || (st.st_mode & 077) != 0)
		doctor_say(d, path, DOCTOR_FAIL, "chmod 600 it; if others have read it, customers need a new one", "mode %04o", st.st_mode & 07777);
	else if (!read_public(text, type, sizeof(type), fingerprint))
		doctor_say(d, path, DOCTOR_FAIL, "OpenSSH's form is needed: ssh-keygen -p -N '' -f FILE turns another into it", "it holds no OpenSSH private key");
	else
		doctor_say(d, path, DOCTOR_OK, NULL, "%s %s, mode %04o", text_shown(d->mem, type), fingerprint, st.st_mode & 07777);
	explicit_bzero(text, sizeof(text));
	if (fd >= 0)
		close(fd);
}

void
doctor_host_keys(struct doctor *d)
{
	for (unsigned i = 0; i < d->config->receiver.n_host_keys; i++)
		look_at_host_key(d, d->config->receiver.host_keys[i]);
}

/* ---- the port -------------------------------------------------------------------------------------------------------- */

/* receiver.listen, and for "any address" the machine's own. */
static bool
address_of_port(struct doctor *d, struct sockaddr_storage *sa, socklen_t *len, struct err *err)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)sa;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)sa;
	char host[128];
	uint16_t port;

	memset(sa, 0, sizeof(*sa));
	if (!config_address(d->config->receiver.listen, host, sizeof(host), &port, err))
		return false;
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		*v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = v6->sin6_addr };
		*len = sizeof(*v6);
		if (IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
			v6->sin6_addr = in6addr_loopback;
		return true;
	}
	if (inet_pton(AF_INET, host, &v4->sin_addr) != 1)
		return err_set(err, ERR_OPERATOR, 0, "receiver.listen: %s is no address", host);
	*v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = v4->sin_addr };
	*len = sizeof(*v4);
	if (v4->sin_addr.s_addr == htonl(INADDR_ANY))
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return true;
}

/* Its first line. Nothing is sent: who connects and says nothing pays no penalty. */
static bool
read_banner(int fd, char *line, size_t size, struct err *err)
{
	int64_t until = steady_ms() + BANNER_MS;
	size_t n = 0;

	while (n + 1 < size && memchr(line, '\n', n) == NULL) {
		struct pollfd p = { fd, POLLIN, 0 };
		int64_t left = until - steady_ms();
		ssize_t got;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return err_set(err, ERR_AGAIN, 0, "it says nothing for %d s", BANNER_MS / 1000);
		got = recv(fd, line + n, size - 1 - n, 0);
		if (got <= 0)
			return err_set(err, ERR_AGAIN, 0, "it hangs up without a word");
		n += (size_t)got;
	}
	line[n] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	return true;
}

void
doctor_port(struct doctor *d)
{
	const char *listen = d->config->receiver.listen, *hint = "is landfall-receiver running? systemctl status landfall-receiver; its log says why it does not start";
	struct timeval patience = { BANNER_MS / 1000, 0 };
	struct sockaddr_storage sa;
	struct err err = { 0 };
	char line[256];
	socklen_t len = 0;
	int64_t from = steady_ms();
	int fd = -1;

	if (!address_of_port(d, &sa, &len, &err)) {
		doctor_say(d, listen, DOCTOR_FAIL, "give it as 0.0.0.0:2222 or [::]:2222", "%s", err.text);
		return;
	}
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, len) != 0)
		doctor_say(d, listen, DOCTOR_FAIL, hint, "%s", strerror(errno));
	else if (!read_banner(fd, line, sizeof(line), &err))
		doctor_say(d, listen, DOCTOR_FAIL, d->config->receiver.n_proxies > 0 ? "from a balancer's own address it waits for a PROXY header" : hint, "%s", err.text);
	else if (strncmp(line, "SSH-2.0-", 8) != 0)
		doctor_say(d, listen, DOCTOR_FAIL, "either it refuses this address and says why, or another program has the port", "it says: %s", text_shown(d->mem, line));
	else
		doctor_say(d, listen, DOCTOR_OK, NULL, "%s after %" PRId64 " ms", text_shown(d->mem, line), steady_ms() - from);
	if (fd >= 0)
		close(fd);
}

/* ---- the spool ---------------------------------------------------------------------------------------------------------- */

static void
look_at_space(struct doctor *d, const char *spool)
{
	uint64_t least = d->config->receiver.min_free_bytes, bytes;
	struct statvfs fs;

	if (statvfs(spool, &fs) != 0) {
		doctor_say(d, "space", DOCTOR_FAIL, NULL, "%s", strerror(errno));
		return;
	}
	bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	doctor_number(d, "spool_free_bytes", (double)bytes);
	doctor_say(d, "space", bytes < least ? DOCTOR_FAIL : bytes / 2 < least ? DOCTOR_WARN : DOCTOR_OK,
	           bytes / 2 < least ? "below receiver.min_free_bytes no upload is taken any more; give it more room" : NULL, "%s free, the floor is %s",
	           text_size(bytes).s, text_size(least).s);
	if (fs.f_files == 0) /* btrfs and the like make them as they are needed */
		doctor_say(d, "inodes", DOCTOR_OK, NULL, "without a limit");
	else
		doctor_say(d, "inodes", fs.f_favail < INODES_LEAST / 10 ? DOCTOR_FAIL : fs.f_favail < INODES_LEAST ? DOCTOR_WARN : DOCTOR_OK,
		           fs.f_favail < INODES_LEAST ? "each upload takes one or two; make a file system with more of them" : NULL, "%llu free",
		           (unsigned long long)fs.f_favail);
}

/* Files arrive by rename, so everything beneath must be one file system. */
static void
look_at_areas(struct doctor *d, const char *spool)
{
	static const char *const folders[] = { "", "staging", "vault" };
	char *areas = talloc_asprintf(d->mem, "%s/areas", spool), *other = NULL;
	DIR *dir = opendir(areas);
	struct stat top, st;
	struct dirent *e;
	int n = 0;

	if (dir == NULL) {
		doctor_say(d, "file system", errno == EACCES ? DOCTOR_WARN : DOCTOR_FAIL, errno == EACCES ? "ask as root, or as the receiver's user"
			: "the receiver makes it when it starts", errno == EACCES ? "not checked: %s is closed to you" : "%s is not there", areas);
		return;
	}
	while (other == NULL && n < AREAS_MAX && (e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
			char *path = talloc_asprintf(d->mem, "%s/%s/%s", areas, e->d_name, folders[i]);

			if (stat(spool, &top) == 0 && stat(path, &st) == 0 && st.st_dev != top.st_dev)
				other = talloc_strdup(d->mem, path);
			talloc_free(path);
		}
	}
	closedir(dir);
	if (other != NULL)
		doctor_say(d, "file system", DOCTOR_FAIL, "nothing beneath the spool may be a mount of its own: a backup arrives by rename", "%s is another one",
		           text_shown(d->mem, other));
	else
		doctor_say(d, "file system", DOCTOR_OK, NULL, "one for staging and vault of %d areas", n);
}

void
doctor_spool(struct doctor *d)
{
	const char *spool = d->config->receiver.spool;
	struct stat st;

	if (stat(spool, &st) != 0) {
		doctor_say(d, "folder", errno == EACCES ? DOCTOR_WARN : DOCTOR_FAIL, errno == EACCES ? "ask as root, or as the receiver's user"
			: "mkdir it, owned by the receiver's user, mode 0750; is its disk mounted?", errno == EACCES ? "not checked: %s is closed to you"
			: "%s is not there", spool);
		return;
	}
	if (!S_ISDIR(st.st_mode) || (st.st_mode & 07) != 0)
		doctor_say(d, "folder", DOCTOR_WARN, "chmod o-rwx it: customers' backups lie in it", "%s, mode %04o", spool, st.st_mode & 07777);
	else
		doctor_say(d, "folder", DOCTOR_OK, NULL, "%s, mode %04o", spool, st.st_mode & 07777);
	look_at_space(d, spool);
	look_at_areas(d, spool);
}

/* ---- journal and feed ------------------------------------------------------------------------------------------------------ */

/* Of a journal: records in all, and those of files (the others are not for Postgres) that it has not been told. */
struct records { uint64_t all, waiting; };

static struct records
count_records(FILE *journal, uint64_t fed)
{
	struct records r = { 0 };
	char *line = NULL, *at;
	size_t room = 0;

	while (getline(&line, &room, journal) > 0) {
		at = strstr(line, "\"n\":");
		r.all += at != NULL;
		r.waiting += at != NULL && strstr(line, "\"t\":\"file\"") != NULL && strtoull(at + 4, NULL, 10) > fed;
	}
	free(line);
	return r;
}

void
doctor_journal(struct doctor *d)
{
	const char *spool = d->config->receiver.spool, *hint = "does Postgres take the receiver's log-in? its log says what Postgres said";
	FILE *journal = fopen(talloc_asprintf(d->mem, "%s/journal.log", spool), "re");
	int why = errno;
	FILE *f = fopen(talloc_asprintf(d->mem, "%s/fed", spool), "re");
	struct records r;
	uint64_t fed = 0;
	struct stat st = { 0 };

	if (journal == NULL || (f == NULL && errno == EACCES)) {
		doctor_say(d, "", journal == NULL && why == ENOENT ? DOCTOR_FAIL : DOCTOR_WARN, why == ENOENT ? "has the receiver ever run with this spool?"
			: "ask as root, or as the receiver's user", why == ENOENT ? "there is none in %s" : "not checked: that of %s is closed to you", spool);
	} else {
		if (f == NULL || fscanf(f, "%" SCNu64, &fed) != 1)
			fed = 0;
		fstat(fileno(journal), &st);
		r = count_records(journal, fed);
		doctor_number(d, "feed_waiting_records", (double)r.waiting);
		if (r.waiting > 0 && time(NULL) - st.st_mtime > LAG_SECONDS)
			doctor_say(d, "", DOCTOR_FAIL, hint, "Postgres has not been told of %" PRIu64 " records, for %lld s", r.waiting, (long long)(time(NULL) - st.st_mtime));
		else
			doctor_say(d, "", r.waiting > 1000 ? DOCTOR_WARN : DOCTOR_OK, r.waiting > 1000 ? hint : NULL, "%" PRIu64 " records, %s, Postgres knows all but %" PRIu64,
			           r.all, text_size((uint64_t)st.st_size).s, r.waiting);
	}
	if (journal != NULL)
		fclose(journal);
	if (f != NULL)
		fclose(f);
}
