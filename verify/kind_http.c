#include "verify/kind_http.h"

#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <curl/curl.h>

enum { SECONDS = 10, BODY_MAX = 1024 * 1024, URL_MAX = 2000 };

struct asking {
	size_t body;
	bool has_begun;
	enum http_reach first;
};

static enum http_reach
reach4(uint32_t a)
{
	static const struct { uint32_t net; int bits; } private_nets[] = {
		{ 0x0a000000, 8 }, { 0x7f000000, 8 }, { 0xac100000, 12 }, { 0xc0a80000, 16 }, { 0x64400000, 10 },
	};

	if (a >> 16 == 0xa9fe || a >> 24 == 0 || a >> 28 >= 0xe)
		return HTTP_NEVER;
	for (size_t i = 0; i < sizeof(private_nets) / sizeof(private_nets[0]); i++)
		if ((a ^ private_nets[i].net) >> (32 - private_nets[i].bits) == 0)
			return HTTP_PRIVATE;
	return HTTP_PUBLIC;
}

static enum http_reach
reach6(const struct in6_addr *a)
{
	uint32_t last;

	memcpy(&last, &a->s6_addr[12], sizeof(last));
	if (IN6_IS_ADDR_V4MAPPED(a))
		return reach4(ntohl(last));
	if (IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_MULTICAST(a) || IN6_IS_ADDR_UNSPECIFIED(a))
		return HTTP_NEVER;
	return IN6_IS_ADDR_LOOPBACK(a) || (a->s6_addr[0] & 0xfe) == 0xfc ? HTTP_PRIVATE : HTTP_PUBLIC;
}

enum http_reach
http_reach(const char *address)
{
	struct in_addr a4;
	struct in6_addr a6;

	if (inet_pton(AF_INET, address, &a4) == 1)
		return reach4(ntohl(a4.s_addr));
	return inet_pton(AF_INET6, address, &a6) == 1 ? reach6(&a6) : HTTP_NEVER;
}

/* Before each request, redirected ones too. */
static int
may_ask(void *ctx, char *theirs, char *ours, int their_port, int our_port)
{
	struct asking *a = ctx;
	enum http_reach reach = http_reach(theirs);

	(void)ours;
	(void)their_port;
	(void)our_port;
	if (!a->has_begun)
		a->first = reach;
	a->has_begun = true;
	return reach == HTTP_NEVER || reach < a->first ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t
on_body(char *mem, size_t size, size_t n, void *ctx)
{
	struct asking *a = ctx;

	(void)mem;
	a->body += size * n;
	return a->body > BODY_MAX ? 0 : size * n;
}

static void
prepare(CURL *c, const char *url, struct asking *a, char *why)
{
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, 3L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)SECONDS);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, may_ask);
	curl_easy_setopt(c, CURLOPT_PREREQDATA, a);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "landfall-verify");
}

void
kind_http(TALLOC_CTX *mem, const char *url, long want, struct finding *f)
{
	char why[CURL_ERROR_SIZE] = "";
	struct asking a = { 0 };
	CURL *c = strlen(url) > URL_MAX ? NULL : curl_easy_init();
	CURLcode e = CURLE_URL_MALFORMAT;
	long status = 0;

	f->expected = talloc_asprintf(mem, "status %ld", want);
	if (c != NULL) {
		prepare(c, url, &a, why);
		e = curl_easy_perform(c);
		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_cleanup(c);
	}
	if (e == CURLE_OK) {
		f->observed = talloc_asprintf(mem, "status %ld", status);
		f->result = status == want ? CHECK_PASS : CHECK_FAIL;
		f->again = f->result == CHECK_FAIL && status >= 500;
		return;
	}
	f->result = CHECK_FAIL;
	f->again = e == CURLE_COULDNT_CONNECT || e == CURLE_COULDNT_RESOLVE_HOST || e == CURLE_GOT_NOTHING ||
	           e == CURLE_OPERATION_TIMEDOUT || e == CURLE_RECV_ERROR || e == CURLE_SEND_ERROR;
	f->observed = talloc_strdup(mem, e == CURLE_ABORTED_BY_CALLBACK
	                            ? "it leads to an address that is not asked"
	                            : why[0] == '\0' ? curl_easy_strerror(e) : why);
}
