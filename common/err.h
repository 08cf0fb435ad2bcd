/*
 * How a function says what went wrong: a kind for the caller, a sentence for the person.
 *
 * Fallible functions return bool and take a struct err last. On success err is left alone; on failure
 * it is filled once, each floor above may put what it knew in front, and only an actor logs it. The
 * text has a fixed size, so reporting never allocates. A sentence is lower case without a full stop,
 * because it will be embedded, and says what, where, and what to do next where that is known.
 */
#ifndef LANDFALL_ERR_H
#define LANDFALL_ERR_H

#include <stdbool.h>
#include <stddef.h>

enum err_kind {
	ERR_NONE = 0,
	ERR_AGAIN,    /* try later: network, deadlock, busy */
	ERR_REFUSED,  /* the peer may not do this; tell the peer and carry on */
	ERR_BROKEN,   /* the data is not what it claims to be; set it aside */
	ERR_OPERATOR, /* a person must change something: settings, rights, space */
	ERR_BUG,      /* ours; log loudly, stop this job */
};

struct err {
	enum err_kind kind;
	int code; /* errno or a SQL Server message number, 0 when neither */
	char text[480];
};

/* Both return false, so that a failing function ends in one line. */
bool err_set(struct err *err, enum err_kind kind, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Puts "context: " in front of what is already there; kind and code stay. */
bool err_under(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As err_set with the sentence of errno (passed in, because formatting may change it) at the end. */
bool err_errno(struct err *err, int saved_errno, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Takes off what a cut has left of a character at the end: Postgres refuses a text with half of one. */
void err_whole_characters(char *s);
void err_clear(struct err *err);

#endif
