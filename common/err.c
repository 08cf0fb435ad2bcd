#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
err_whole_characters(char *s)
{
	size_t n = strlen(s), lead = n, wants;

	while (lead > 0 && n - lead < 3 && ((unsigned char)s[lead - 1] & 0xC0) == 0x80)
		lead--;
	if (lead == 0)
		return;
	lead--;
	wants = (unsigned char)s[lead] >= 0xF0 ? 4 : (unsigned char)s[lead] >= 0xE0 ? 3 : (unsigned char)s[lead] >= 0xC0 ? 2 : 1;
	if (n - lead < wants)
		s[lead] = '\0';
}

bool
err_set(struct err *err, enum err_kind kind, int code, const char *fmt, ...)
{
	va_list ap;

	err->kind = kind;
	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	err_whole_characters(err->text);
	return false;
}

bool
err_under(struct err *err, const char *fmt, ...)
{
	char below[sizeof(err->text)], above[sizeof(err->text)];
	va_list ap;

	memcpy(below, err->text, sizeof(below));
	va_start(ap, fmt);
	vsnprintf(above, sizeof(above), fmt, ap);
	va_end(ap);
	/* A context longer than half the text would push the cause out of sight. */
	above[sizeof(above) / 2] = '\0';
	err_whole_characters(above);
	snprintf(err->text, sizeof(err->text), "%s: %s", above, below);
	err_whole_characters(err->text);
	return false;
}

/* A full disk and missing rights need a person; a connection that broke does not. */
static enum err_kind
kind_of_errno(int e)
{
	switch (e) {
	case EAGAIN: case EINTR: case ETIMEDOUT: case ECONNREFUSED: case ECONNRESET: case EPIPE:
	case ENETUNREACH: case EHOSTUNREACH: case EBUSY:
		return ERR_AGAIN;
	default:
		return ERR_OPERATOR;
	}
}

bool
err_errno(struct err *err, int saved_errno, const char *fmt, ...)
{
	char what[sizeof(err->text) / 2], why[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return err_set(err, kind_of_errno(saved_errno), saved_errno, "%s: %s", what,
	               strerror_r(saved_errno, why, sizeof(why)));
}

void
err_clear(struct err *err)
{
	*err = (struct err){ 0 };
}
