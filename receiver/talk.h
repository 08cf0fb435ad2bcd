/*
 * What warden, spawner and sessions say to each other: one datagram per message over a SOCK_SEQPACKET
 * pair, with at most two descriptors beside it.
 *
 * A session reads the network, so the warden treats every message from one as hostile: a frame that does
 * not parse ends that session. Big things (listings, receipts, a backup's facts) travel as sealed memory
 * files (memfd), never in the frame. Integers are little-endian; text is u32 length and bytes, no NUL
 * inside. Fields per message are listed below in their order; "fd:" names the descriptor passed.
 */
#ifndef LANDFALL_TALK_H
#define LANDFALL_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/bytes.h"
#include "common/err.h"

enum { TALK_FRAME_MAX = 32768, TALK_TEXT_MAX = 8192, TALK_FDS_MAX = 2, TALK_FACTS_MAX = 64 * 1024 * 1024 };

enum talk_type {
	/* warden -> spawner */
	TALK_SPAWN = 1,   /* u32 session number · u8 kind (talk_kind) · text peer address · text name · talk_policy (both READER)
	                     fd: the connection, or the file to read (READER) · fd: the session's end of its pair */
	TALK_REAP,        /* u32 pid: the warden is done with that pidfd */
	/* spawner -> warden */
	TALK_SPAWNED,     /* u32 session number · u32 pid · fd: pidfd. pid 0: fork failed, no fd */
	TALK_READY,       /* text: fingerprints of the host keys, one a line; the spawner is locked up and waits */

	/* session -> warden, answered with TALK_REPLY carrying the same id (except NOTE, PROGRESS,
	   REVOKED, SILENT, REFUSED_NAME, TOTALS) */
	TALK_KEY,         /* text user · text key type · text base64 blob: may this key log in as this user? */
	TALK_LOGIN,       /* text user · text base64 blob · text client software: signature was right, session begins */
	TALK_PEER,        /* text address: whom a balancer's connection is for, by its PROXY header; "" for itself. First of all */
	TALK_SILENT,      /* the client has gone without a word, as health checks do. No answer */
	TALK_OPEN,        /* text path · u32 pflags (SFTP v3) */
	TALK_STAT,        /* text path */
	TALK_LIST,        /* text path */
	TALK_MKDIR,       /* text path */
	TALK_RMDIR,       /* text path */
	TALK_REMOVE,      /* text path */
	TALK_RENAME,      /* text old · text new · u8 overwrite (posix-rename@openssh.com) */
	TALK_TIMES,       /* text path · u64 mtime */
	TALK_SPACE,       /* statvfs@openssh.com: no fields */
	TALK_SEED,        /* u64 upload: first WRITE on an arrived file; reply as OPEN's with a new staging copy */
	TALK_CLOSED,      /* u64 upload · u8 talk_verdict · u64 bytes · text sha256 (hex, "" when not known) ·
	                     text reason · fd: memfd with the JSON of facts ({} when none). All writing descriptors
	                     of that upload are closed. Answered when the arrival is durable; for partials as well.
	                     A READER sends it once, with upload 0, and ends. A DIGEST too: its sha256 is the
	                     file's MD5, the rest means nothing */
	TALK_PROGRESS,    /* u64 upload · u64 bytes without a hole from 0 · text findings (words by comma, or "") ·
	                     u64 bytes that it will have as far as its header tells, 0 unknown */
	TALK_REVOKED,     /* u64 upload: the writing descriptor is closed · u64 bytes without a hole */
	TALK_NOTE,        /* u8 log level · text: a line for the log; the warden bounds the rate */
	TALK_REFUSED_NAME, /* text request · text name · text why: for the audit; such a name never gets further */
	TALK_TOTALS,      /* u64 bytes received · u64 bytes sent · u64 requests, of its channels, since its beginning · u8 1: it ends now */

	/* warden -> session */
	TALK_REPLY,       /* u32 SFTP status (0 OK, 1 EOF, 2 NO_SUCH_FILE, 3 PERMISSION_DENIED, 4 FAILURE, 8 OP_UNSUPPORTED)
	                     text message, then for status 0:
	                     KEY, PEER: nothing · LOGIN: policy, see talk_policy · STAT: attributes, see talk_attrs
	                     OPEN, SEED: see talk_opened · fd: the file · LIST: fd: memfd of entries, see talk_entry
	                     SPACE: u64 block size · u64 blocks · u64 free · CLOSED: nothing; its message, if any, is
	                     a line for the channel's stderr */
	TALK_REVOKE,      /* u64 upload · text reason: close its writing descriptors, fail its later WRITE and CLOSE with
	                     the reason, answer REVOKED */
	TALK_SAY,         /* text: a line for the channel's stderr */
	TALK_END,         /* text reason: end yourself within a second */
};

enum talk_kind { TALK_CONNECTION = 0, TALK_READER = 1, TALK_DIGEST = 2, TALK_PROXIED = 3 /* a connection with a PROXY header in front */ };

/* What a session found when the last handle was closed. */
enum talk_verdict {
	TALK_PARTIAL = 0,  /* not whole, or the connection broke; cut to its bytes without a hole */
	TALK_WHOLE = 1,    /* a backup, whole by its own format; facts is landfall inspect's object for it */
	TALK_OTHER = 2,    /* not a backup, under a name that promises none */
	TALK_MANIFEST = 3, /* whole manifest.json; facts is the manifest */
	TALK_REFUSED = 4,  /* see reason; the bytes are of no use */
};

struct talk_attrs { uint64_t size; uint32_t mode; uint64_t mtime; }; /* u64 · u32 · u64; mode as in stat(2) */

/* u8 writable · u64 upload (0 when read-only) · u64 size · u64 limit · u8 backup_name · u8 temporary_name ·
 * u8 arrived · text name */
struct talk_opened {
	bool writable;
	uint64_t upload;   /* the same number for every handle of this session on the same upload */
	uint64_t size;     /* bytes there now: a resumed upload starts with them */
	uint64_t limit;    /* no WRITE may end beyond this */
	bool backup_name;  /* .bak .trn .dif .full .log, also under a temporary suffix */
	bool temporary_name;
	bool arrived;      /* the descriptor is read-only although WRITE was asked for: SEED at the first WRITE */
	char name[1024];   /* shown name without folders */
};

/* text migration · text database · u8 allow_encrypted · u32 newest database version (0 unknown) */
struct talk_policy {
	char migration[32], database[512];
	bool allow_encrypted;
	uint32_t newest_version;
};

/* In a listing's memfd, one after the other: text name · talk_attrs. */

/* ---- frames ---------------------------------------------------------------------------------------------- */

struct talk_frame {
	uint16_t type;
	uint32_t id;
	struct bytes body;           /* points into mem */
	int fds[TALK_FDS_MAX];       /* -1: none; owned by whoever received it */
	uint8_t mem[TALK_FRAME_MAX];
};

/* Building: start, put…, send. A body that grew too long makes talk_send fail. */
struct talk_out {
	size_t len;
	bool too_long;
	int fds[TALK_FDS_MAX];
	uint8_t mem[TALK_FRAME_MAX];
};

void talk_start(struct talk_out *out, enum talk_type type, uint32_t id);
void talk_u8(struct talk_out *out, uint8_t v);
void talk_u32(struct talk_out *out, uint32_t v);
void talk_u64(struct talk_out *out, uint64_t v);
void talk_text(struct talk_out *out, const char *s); /* NULL is "" */
void talk_fd(struct talk_out *out, int fd);          /* borrowed until talk_send returns */
void talk_attrs(struct talk_out *out, const struct talk_attrs *a);
void talk_opened(struct talk_out *out, const struct talk_opened *o);
void talk_policy(struct talk_out *out, const struct talk_policy *p);

/* Blocks when the socket does (MSG_NOSIGNAL). False: the other side is gone or the frame is too long. */
bool talk_send(int fd, struct talk_out *out, struct err *err);

/*
 * Receives one frame. 1: there is one · 0: nothing now (EAGAIN) · -1: end of file or error (err filled).
 * Descriptors arrive close-on-exec and belong to the caller, who closes those it does not keep.
 */
int talk_receive(int fd, struct talk_frame *frame, struct err *err);
void talk_close_fds(struct talk_frame *frame);

/* Reading fields; all set body.short_of when there is not enough. Text is checked for NUL and length. */
char *talk_take_text(struct bytes *b, TALLOC_CTX *parent);
void talk_take_attrs(struct bytes *b, struct talk_attrs *a);
void talk_take_opened(struct bytes *b, struct talk_opened *o);
void talk_take_policy(struct bytes *b, struct talk_policy *p);

/* A sealed memory file with that content; -1 and err on failure. */
int talk_memfd(const char *name, const void *mem, size_t len, struct err *err);

#endif
