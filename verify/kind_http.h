/*
 * The door to libcurl: does a URL answer?
 *
 * http and https only, certificates checked, at most three redirects, 10 s and 1 MB. The URL is the
 * intake's, but where it leads is the customer's: link-local addresses are never asked, and a public
 * address may not lead us to one of our own networks.
 */
#ifndef LANDFALL_KIND_HTTP_H
#define LANDFALL_KIND_HTTP_H

#include <stdbool.h>

#include <talloc.h>

#include "verify/finding.h"

void kind_http(TALLOC_CTX *mem, const char *url, long status, struct finding *finding);

/* How far an address reaches; HTTP_NEVER for what is none. */
enum http_reach { HTTP_NEVER, HTTP_PRIVATE, HTTP_PUBLIC };
enum http_reach http_reach(const char *address);

#endif
