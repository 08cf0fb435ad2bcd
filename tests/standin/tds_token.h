/*
 * Tokens of a TDS answer: messages, columns, rows, environment changes and the DONE that ends each piece.
 *
 * Pure writers into a tds_buf. The layouts differ between protocol versions in a few widths, so the
 * version is an argument wherever that is so.
 */
#ifndef LANDFALL_STANDIN_TDS_TOKEN_H
#define LANDFALL_STANDIN_TDS_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/standin/tds_value.h"

/* A message to the person at the other end: an error from class 11 on, else information. */
struct tds_note {
	int number, state, class;
	const char *text, *server, *procedure; /* procedure may be NULL */
	int line;
};

void tds_message_token(struct tds_buf *out, uint32_t version, const struct tds_note *note);

struct tds_column {
	const char *name;
	struct tds_type type;
};

void tds_columns_token(struct tds_buf *out, uint32_t version, const struct tds_column *columns, size_t n);
/* A row is its token and then one tds_put_value per column. */
void tds_row_token(struct tds_buf *out);

enum { TDS_DONE = 0xFD, TDS_DONE_PROC = 0xFE, TDS_DONE_IN_PROC = 0xFF };
enum {
	TDS_DONE_FINAL = 0x00, TDS_DONE_MORE = 0x01, TDS_DONE_ERROR = 0x02, TDS_DONE_COUNT = 0x10,
	TDS_DONE_ATTENTION = 0x20,
};
void tds_done_token(struct tds_buf *out, uint32_t version, int token, unsigned status, unsigned command,
                    uint64_t rows);
void tds_return_status(struct tds_buf *out, int32_t status);

/* An output parameter of a remote call. */
bool tds_return_value(struct tds_buf *out, uint32_t version, unsigned ordinal, const char *name,
                      struct tds_type type, struct tds_value value, struct err *err);

enum {
	TDS_ENV_DATABASE = 1, TDS_ENV_LANGUAGE = 2, TDS_ENV_PACKET_SIZE = 4, TDS_ENV_COLLATION = 7,
	TDS_ENV_BEGIN = 8, TDS_ENV_COMMIT = 9, TDS_ENV_ROLLBACK = 10, TDS_ENV_RESET = 18,
	TDS_ENV_ROUTING = 20,
};
void tds_envchange_text(struct tds_buf *out, int what, const char *now, const char *before);
void tds_envchange_collation(struct tds_buf *out);
/* BEGIN carries the new transaction's number, COMMIT and ROLLBACK the old one's. */
void tds_envchange_transaction(struct tds_buf *out, int what, uint64_t transaction);
void tds_envchange_reset(struct tds_buf *out);
/* The client is asked to connect there instead. */
void tds_envchange_routing(struct tds_buf *out, const char *host, unsigned port);
void tds_loginack(struct tds_buf *out, uint32_t version, int major, int build);

#endif
