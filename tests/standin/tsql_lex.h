/*
 * T-SQL text cut into tokens.
 *
 * Pure. Comments (nested as T-SQL nests them) and blanks disappear; N'' and '' are both strings with
 * doubled quotes undone; [x] and "x" are quoted names. Every token remembers where it stood, for the
 * statement log and for "Incorrect syntax near".
 */
#ifndef LANDFALL_STANDIN_TSQL_LEX_H
#define LANDFALL_STANDIN_TSQL_LEX_H

#include <stdbool.h>
#include <stddef.h>

#include <talloc.h>

#include "common/err.h"

enum tsql_token_kind {
	TSQL_END,
	TSQL_WORD,     /* name or keyword, as written */
	TSQL_QUOTED,   /* name that is never a keyword; text without its quotes */
	TSQL_STRING,   /* text without its quotes */
	TSQL_NUMBER,   /* digits, perhaps with a point and an exponent */
	TSQL_BINARY,   /* 0x…; text is the hex digits */
	TSQL_VARIABLE, /* @name, with the @ */
	TSQL_GLOBAL,   /* @@name, without the @@ */
	TSQL_SIGN,     /* operator or punctuation; <> <= >= != += and so on are one token */
};

struct tsql_token {
	enum tsql_token_kind kind;
	const char *text;
	size_t from, to; /* in the batch */
	int line;        /* from 1 */
};

struct tsql_tokens {
	struct tsql_token *at;
	size_t n; /* without the END token that follows */
};

/* False with the server's number in err->code: 105 unclosed quote, 113 unclosed comment, 102 the rest. */
bool tsql_lex(TALLOC_CTX *parent, const char *batch, struct tsql_tokens *out, struct err *err);

/* The batch with every text that follows PASSWORD = put out of sight, fit for a log. */
char *tsql_without_passwords(TALLOC_CTX *parent, const char *batch);

/* Keyword comparison: a bare word, whatever its case. */
bool tsql_is_word(const struct tsql_token *token, const char *word);
bool tsql_is_sign(const struct tsql_token *token, const char *sign);

#endif
