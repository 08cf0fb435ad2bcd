/*
 * What a client asks for after login: a batch of text, a remote call, a transaction request.
 *
 * Pure parsers. All text comes out as UTF-8 on the given context.
 */
#ifndef LANDFALL_STANDIN_TDS_REQUEST_H
#define LANDFALL_STANDIN_TDS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"
#include "tests/standin/tds_value.h"

bool tds_batch_parse(const void *mem, size_t len, uint32_t version, TALLOC_CTX *parent, char **text,
                     struct err *err);

/* The procedure a number stands for (MS-TDS 2.2.6.6), "" for a number without one. */
const char *tds_proc_name(int number);

enum {
	TDS_PROC_EXECUTESQL = 10, TDS_PROC_PREPARE = 11, TDS_PROC_EXECUTE = 12, TDS_PROC_PREPEXEC = 13,
	TDS_PROC_UNPREPARE = 15, TDS_PARAMS_MAX = 2100,
};

struct tds_param {
	const char *name; /* "@p1", or "" */
	bool output;
	struct tds_type type;
	struct tds_value value;
};

struct tds_call {
	const char *name; /* "" when called by number */
	int number;       /* 0 when called by name */
	struct tds_param *params;
	size_t n_params;
};

/* One call; further calls in the same message are refused. */
bool tds_call_parse(const void *mem, size_t len, uint32_t version, TALLOC_CTX *parent, struct tds_call *out,
                    struct err *err);

enum { TDS_TRAN_BEGIN = 5, TDS_TRAN_COMMIT = 7, TDS_TRAN_ROLLBACK = 8 };

struct tds_transaction {
	int request;      /* one of the above, or another that the caller refuses */
	bool begins_next; /* commit and roll back: a new transaction begins at once (ODBC without autocommit) */
};
bool tds_transaction_parse(const void *mem, size_t len, uint32_t version, struct tds_transaction *out, struct err *err);

#endif
