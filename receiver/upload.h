/*
 * One upload as its bytes arrive: to disk at their offsets, and in order to the digest and the backup reader.
 *
 * Bytes may come in any order. What is in order is fed as it lands; the rest, and what was there before a
 * resume, is read back from the file. Early verdicts refuse at once what the policy refuses, and every
 * later call says the same. The descriptor belongs to the upload until upload_close.
 */
#ifndef LANDFALL_UPLOAD_H
#define LANDFALL_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"
#include "receiver/talk.h"

struct upload;

/* fd is open for reading and writing. policy is borrowed. */
struct upload *upload_new(TALLOC_CTX *parent, int fd, const struct talk_opened *opened, const struct talk_policy *policy);

uint64_t upload_size(const struct upload *u);    /* as a client would see it */
uint64_t upload_solid(const struct upload *u);   /* bytes from 0 without a hole */
int upload_fd(const struct upload *u);           /* -1 once it was revoked */

/* False: the sentence for the client is in err (ERR_REFUSED, or errno's). */
bool upload_write(struct upload *u, uint64_t offset, const void *mem, size_t len, struct err *err);
bool upload_truncate(struct upload *u, uint64_t size, struct err *err);
bool upload_sync(struct upload *u, struct err *err);

/*
 * Reads back a slice of what was not fed yet; true while there is more to do. Until to_end is said, bytes that the
 * client is about to write over are left alone.
 */
bool upload_catch_up(struct upload *u, bool to_end);

/* From now on every WRITE and the CLOSE fail with this reason; what upload_solid counts is on disk when it returns. */
void upload_revoke(struct upload *u, const char *reason);
const char *upload_reason(const struct upload *u); /* NULL while nothing is refused */

/* Bytes that it will have, as its header estimates: a few percent too little as a rule. 0: not known, compressed, or a log. */
uint64_t upload_expected(const struct upload *u);

/* Words of findings so far, by comma. */
const char *upload_findings(struct upload *u, TALLOC_CTX *mem);

struct upload_end {
	enum talk_verdict verdict;
	uint64_t bytes;
	char sha256[65];     /* "" when not known */
	const char *reason;  /* on the context given */
	char *facts;         /* JSON, on the context given */
};

/*
 * Makes the bytes durable, decides, and closes the descriptor, also when it fails (false: err says why, *end is
 * a partial). broken NULL: nothing failed. Otherwise the upload stays partial whatever it holds, broken is the reason,
 * and what was not fed yet is not read back. is_closed false: the client is gone without a CLOSE; then only a backup
 * that ends as one does is whole, and only when nothing that was there before was written over.
 */
bool upload_close(struct upload *u, TALLOC_CTX *mem, const char *broken, bool is_closed, struct upload_end *end, struct err *err);

/* MD5 of a file's bytes, for who has nothing better to compare them with. False: it could not be read. */
bool upload_md5(int fd, char hex[65]);

#endif
