/*
 * SSH File Transfer Protocol, version 3 (draft-ietf-secsh-filexfer-02): bytes in, requests out; answers to
 * bytes. Pure.
 *
 * Push bytes of any size, take requests until there are none; the same bytes give the same requests however
 * they were cut. A packet longer than SFTP_PACKET_MAX, or one that does not parse, breaks the conversation
 * for good: after a wrong length nothing can be trusted to be a boundary.
 */
#ifndef LANDFALL_SFTP_H
#define LANDFALL_SFTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"

/* OpenSSH sends WRITEs of up to 255 KB when limits@openssh.com says so. */
enum { SFTP_WRITE_MAX = 261120, SFTP_PACKET_MAX = SFTP_WRITE_MAX + 4096, SFTP_VERSION = 3 };

enum sftp_type {
	SFTP_INIT = 1, SFTP_OPEN = 3, SFTP_CLOSE, SFTP_READ, SFTP_WRITE, SFTP_LSTAT, SFTP_FSTAT, SFTP_SETSTAT, SFTP_FSETSTAT, SFTP_OPENDIR,
	SFTP_READDIR, SFTP_REMOVE, SFTP_MKDIR, SFTP_RMDIR, SFTP_REALPATH, SFTP_STAT, SFTP_RENAME, SFTP_READLINK, SFTP_SYMLINK,
	SFTP_EXTENDED = 200,
};

enum sftp_status { SFTP_OK, SFTP_EOF, SFTP_NO_SUCH_FILE, SFTP_PERMISSION_DENIED, SFTP_FAILURE, SFTP_BAD_MESSAGE, SFTP_NO_CONNECTION,
	SFTP_CONNECTION_LOST, SFTP_OP_UNSUPPORTED };

enum sftp_open { SFTP_READ_FLAG = 1, SFTP_WRITE_FLAG = 2, SFTP_APPEND_FLAG = 4, SFTP_CREAT_FLAG = 8, SFTP_TRUNC_FLAG = 16, SFTP_EXCL_FLAG = 32 };

struct sftp_attrs {
	bool has_size, has_mode, has_times;
	uint64_t size;
	uint32_t mode, atime, mtime;
};

/* Text and data point into the parser's memory: valid until the next push. Text is not NUL-terminated. */
struct sftp_text { const char *s; size_t len; };

struct sftp_request {
	uint8_t type;
	uint32_t id;             /* INIT: the client's version */
	struct sftp_text path, other, handle, name; /* other: RENAME's and SYMLINK's second; name: of EXTENDED */
	uint64_t offset;
	uint32_t flags, length;
	const uint8_t *data;     /* WRITE: length bytes */
	struct sftp_attrs attrs;
};

struct sftp;
struct sftp *sftp_new(TALLOC_CTX *parent);
void sftp_push(struct sftp *sftp, const void *mem, size_t len);
/* 1: there is one · 0: more bytes are needed · -1: broken (err filled, ERR_BROKEN) */
int sftp_next(struct sftp *sftp, struct sftp_request *request, struct err *err);
size_t sftp_waiting(const struct sftp *sftp); /* bytes pushed and not yet taken */

/* ---- answers ------------------------------------------------------------------------------------------------- */

/* Packets being built, one behind the other; who owns it empties it by len = 0. mem is a talloc chunk. */
struct sftp_out { uint8_t *mem; size_t len, room; };

void sftp_put_version(struct sftp_out *out);
void sftp_put_status(struct sftp_out *out, uint32_t id, enum sftp_status status, const char *message);
void sftp_put_handle(struct sftp_out *out, uint32_t id, const void *handle, size_t len);
void sftp_put_attrs(struct sftp_out *out, uint32_t id, const struct sftp_attrs *attrs);
/* Room for a DATA answer of up to len bytes: fill *data, then end with how many there are. */
uint8_t *sftp_begin_data(struct sftp_out *out, uint32_t id, size_t len);
void sftp_end_data(struct sftp_out *out, size_t len);
/* NAME: begin, put…, end. */
void sftp_begin_names(struct sftp_out *out, uint32_t id);
void sftp_put_name(struct sftp_out *out, const char *name, const char *longname, const struct sftp_attrs *attrs);
void sftp_end_names(struct sftp_out *out, uint32_t n);
/* limits@openssh.com, statvfs@openssh.com, and the like: EXTENDED_REPLY with these numbers. */
void sftp_put_numbers(struct sftp_out *out, uint32_t id, const uint64_t *numbers, size_t n);

#endif
