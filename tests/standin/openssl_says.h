/*
 * What OpenSSL says went wrong, as an error of ours.
 */
#ifndef STANDIN_OPENSSL_SAYS_H
#define STANDIN_OPENSSL_SAYS_H

#include "common/err.h"

/* "what where: OpenSSL's words"; its queue of errors is empty afterwards. Always false. */
bool openssl_says(struct err *err, const char *what, const char *where);

#endif
