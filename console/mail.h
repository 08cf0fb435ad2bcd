/*
 * One mail through an SMTP relay. The program's only door to libcurl.
 *
 * TLS is required, by STARTTLS (smtp://) or from the start (smtps://), and the relay's certificate is checked. The text
 * goes as quoted-printable, so that any relay takes it; headers are ASCII.
 */
#ifndef LANDFALL_MAIL_H
#define LANDFALL_MAIL_H

#include <stdbool.h>

#include "common/config.h"
#include "common/err.h"

struct mail {
	const char *to, *subject;
	const char *id;       /* Message-ID without <>: the same for every try */
	const char *thread;   /* what it belongs to, as an id; NULL: nothing */
	const char *date;     /* RFC 5322 */
	const char *text;     /* UTF-8, lines end in \n */
};

/* Once per program, before threads. */
bool mail_prepare(void);

/* Blocks for at most a minute. False: err has the relay's words; ERR_REFUSED when it said no for good (5xx). */
bool mail_send(const struct config_mail *relay, const struct mail *mail, struct err *err);

/* True for what can stand in a header and an envelope: one @, and nothing that could begin another header. */
bool mail_is_address(const char *s);

#endif
