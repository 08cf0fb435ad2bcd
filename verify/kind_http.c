#include "verify/kind_http.h"

#include <curl/curl.h>

enum { SECONDS = 15, BODY_MAX = 1024 * 1024 };

static size_t
on_body(char *mem, size_t size, size_t n, void *ctx)
{
	size_t *got = ctx;

	(void)mem;
	*got += size * n;
	return *got > BODY_MAX ? 0 : size * n;
}

bool
http_status(const char *url, long *status, struct err *err)
{
	char why[CURL_ERROR_SIZE] = "";
	size_t got = 0;
	CURL *c = curl_easy_init();
	CURLcode e;

	if (c == NULL)
		return err_set(err, ERR_AGAIN, 0, "libcurl cannot start");
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, 3L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)SECONDS);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &got);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "landfall-verify");
	e = curl_easy_perform(c);
	if (e == CURLE_OK)
		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
	curl_easy_cleanup(c);
	return e == CURLE_OK ? true : err_set(err, ERR_AGAIN, 0, "%s", why[0] == '\0' ? curl_easy_strerror(e) : why);
}
