/*
 * The door to libcurl: does a URL answer?
 */
#ifndef LANDFALL_KIND_HTTP_H
#define LANDFALL_KIND_HTTP_H

#include <stdbool.h>

#include "common/err.h"

/* http and https only, certificates checked, at most three redirects, 15 s and 1 MB. *status gets the code. */
bool http_status(const char *url, long *status, struct err *err);

#endif
