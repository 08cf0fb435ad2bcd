/*
 * The other end of the wire, for tests: says what a client says, and reads answers into lines of text.
 *
 * Shares no code with what it talks to: packets and tokens are put together and taken apart here anew, from
 * MS-TDS, so that both halves cannot be wrong in the same way. Anything it cannot read becomes the text
 * "broken: …", which no expectation equals.
 */
#ifndef LANDFALL_STANDIN_TALKER_H
#define LANDFALL_STANDIN_TALKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <talloc.h>

struct talker {
	int fd;
	uint32_t version;
	TALLOC_CTX *answer;
	char *last;       /* the last answer read; as all that follows, until the next is read */
	size_t packets, longest; /* of it: how many, and the largest payload */

	/* The same answer once more: as teller.h writes tokens (without 5701 and 5703, which tell of USE), the first error's
	 * words or else the last message's, "name type, …" of the newest result, and all rows' values, a line each. */
	char *tokens, *text, *names, *rows;

	FILE *raw; /* NULL, or where the bytes of every packet read are written in hex, a line each */

	/* NULL, or what takes the place of the descriptor's own reading and writing: TLS. */
	ssize_t (*write)(void *ctx, const void *mem, size_t len);
	ssize_t (*read)(void *ctx, void *mem, size_t len);
	void *io;
};

/* Takes fd over. */
struct talker *talker_new(TALLOC_CTX *parent, int fd, uint32_t version);

/* A message in packets of 4096; status besides END goes into every packet. */
void talker_send(struct talker *t, unsigned type, unsigned status, const void *mem, size_t len);

/* PRELOGIN with that wish for encryption; gives the answer's, -1 when the line ends. */
int talker_prelogin(struct talker *t, int encryption);

struct talker_login {
	const char *user, *password, *database;
	uint32_t packet_size;
	bool read_only, windows;
	const char *features; /* {id, length, data}… as bytes, or NULL */
	size_t features_len;
};
void talker_login(struct talker *t, const struct talker_login *login);

void talker_batch(struct talker *t, const char *sql);
void talker_batch_with(struct talker *t, unsigned status, const char *sql);
/* A transaction request; begins_next is the flag of commit and roll back. */
void talker_transaction(struct talker *t, int request, bool begins_next);
/* A call by number (name NULL) or name. Parameters: "i7" an int, "o7" one that comes back, "n" a NULL int, "tTEXT"
 * an nvarchar; "@name=" may stand in front. */
void talker_call(struct talker *t, int number, const char *name, const char *const *params, size_t n);

/*
 * Reads one message. Each token is a word of the line:
 *   env N new<old · info N/state/class · error N/state/class text · ack VERSION · features ID=DATA… · cols name:TYPE… ·
 *   row value… · done|inproc|proc STATUS CURCMD ROWS · status N · value ORDINAL NAME=VALUE · order
 * joined by " | ". "end" when the line ended before the first byte; what came before the end otherwise, and "end".
 */
const char *talker_read(struct talker *t);
/* The same up to and with the packet in which the needle has been seen. */
const char *talker_read_until(struct talker *t, const char *needle);

#endif
