/*
 * The door to libssh: one connection, server side, without ever blocking; channel bytes in and out.
 *
 * libssh's own SFTP server is not used: its helpers block and lose step with the client (0.10.6). What else
 * that version needs is said in ssh.c. A link belongs to the process that made it; its loop ends the process
 * with SIGPROF when one turn uses ten seconds of CPU, because the library can be made to turn endlessly.
 */
#ifndef LANDFALL_SSH_H
#define LANDFALL_SSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"

/* Of one connection at a time; rclone opens some beside the one it writes to. */
enum { SSH_CHANNELS_MAX = 10 };

/* Loads host keys and warms the cryptography, before the process is locked up. fingerprints: one a line. */
bool ssh_prepare(char **host_key_files, size_t n, TALLOC_CTX *mem, char **fingerprints, struct err *err);

/* The library's own word for its version: 0.10.6/openssl/zlib. */
const char *ssh_library(void);

struct ssh_calls {
	void *ctx;
	/* May this key log in as this user? type is ssh-ed25519, …; blob base64. Asked for the probe as well. */
	bool (*key)(void *ctx, const char *user, const char *type, const char *blob);
	/* The signature was right: the session begins. False shuts it out after all. */
	bool (*login)(void *ctx, const char *user, const char *blob, const char *software);
	/* A channel's SFTP subsystem begins, has bytes, or is gone. */
	void (*open)(void *ctx, unsigned channel);
	void (*bytes)(void *ctx, unsigned channel, const void *mem, size_t len);
	void (*closed)(void *ctx, unsigned channel);
	/* May more bytes come? While not, they wait in the link, and then at the client. */
	bool (*wants)(void *ctx, unsigned channel);
	/* Is everything answered that came? Asked when the client will send no more. */
	bool (*idle)(void *ctx, unsigned channel);
	/* The other descriptor is readable. False ends the link. */
	bool (*other)(void *ctx);
	/* After each turn; *busy true: come back at once, there is more to do. False ends the link. */
	bool (*turn)(void *ctx, bool *busy);
};

struct ssh_link;
/* Takes fd over. other_fd is watched beside it. */
struct ssh_link *ssh_link_new(TALLOC_CTX *parent, int fd, int other_fd, const struct ssh_calls *calls, struct err *err);
/* Until the connection ends; every channel that is open then gets its closed call first. */
void ssh_link_run(struct ssh_link *l);

/* Has this process's client gone by itself without having sent a byte? */
bool ssh_is_silent(void);

void ssh_link_write(struct ssh_link *l, unsigned channel, const void *mem, size_t len);
size_t ssh_link_pending(const struct ssh_link *l, unsigned channel); /* written and not sent yet */
void ssh_link_say(struct ssh_link *l, unsigned channel, const char *line); /* on the channel's stderr */
void ssh_link_hang_up(struct ssh_link *l, unsigned channel);
/* What the client is told when the link ends. */
void ssh_link_reason(struct ssh_link *l, const char *reason);

#endif
