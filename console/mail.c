#include "console/mail.h"

#include <string.h>

#include <curl/curl.h>

#include "common/db.h"

enum { CONNECT_SECONDS = 10, SECONDS = 60, ADDRESS_MAX = 254 /* RFC 5321 4.5.3.1.3, less <> */ };

bool
mail_prepare(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == 0;
}

bool
mail_is_address(const char *s)
{
	const char *at = strchr(s, '@');

	if (at == NULL || at == s || at[1] == '\0' || strchr(at + 1, '@') != NULL || strlen(s) > ADDRESS_MAX)
		return false;
	for (; *s != '\0'; s++)
		if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7F || strchr("<>\",;:()[]\\", *s) != NULL)
			return false;
	return true;
}

static struct curl_slist *
headers(TALLOC_CTX *mem, const struct config_mail *relay, const struct mail *m)
{
	struct curl_slist *list = NULL;

	list = curl_slist_append(list, talloc_asprintf(mem, "Date: %s", m->date));
	list = curl_slist_append(list, talloc_asprintf(mem, "From: Landfall <%s>", relay->from));
	list = curl_slist_append(list, talloc_asprintf(mem, "To: <%s>", m->to));
	list = curl_slist_append(list, talloc_asprintf(mem, "Subject: %s", m->subject));
	list = curl_slist_append(list, talloc_asprintf(mem, "Message-ID: <%s>", m->id));
	if (m->thread != NULL) {
		list = curl_slist_append(list, talloc_asprintf(mem, "In-Reply-To: <%s>", m->thread));
		list = curl_slist_append(list, talloc_asprintf(mem, "References: <%s>", m->thread));
	}
	return curl_slist_append(list, "Auto-Submitted: auto-generated"); /* RFC 3834: no vacation notices, please */
}

static void
relay_of(CURL *c, const struct config_mail *relay, const char *password)
{
	curl_easy_setopt(c, CURLOPT_URL, relay->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(c, CURLOPT_USE_SSL, (long)CURLUSESSL_ALL);
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (relay->ca_file != NULL)
		curl_easy_setopt(c, CURLOPT_CAINFO, relay->ca_file);
	if (relay->user != NULL)
		curl_easy_setopt(c, CURLOPT_USERNAME, relay->user);
	if (password != NULL)
		curl_easy_setopt(c, CURLOPT_PASSWORD, password);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)SECONDS);
}

static bool
perform(CURL *c, TALLOC_CTX *mem, const struct config_mail *relay, const struct mail *m, struct err *err)
{
	struct curl_slist *lines = headers(mem, relay, m), *to = curl_slist_append(NULL, talloc_asprintf(mem, "<%s>", m->to));
	curl_mime *mime = curl_mime_init(c);
	curl_mimepart *part = curl_mime_addpart(mime);
	char why[CURL_ERROR_SIZE] = "";
	long code = 0;
	CURLcode e;

	curl_mime_data(part, m->text, CURL_ZERO_TERMINATED);
	curl_mime_type(part, "text/plain; charset=utf-8");
	curl_mime_encoder(part, "quoted-printable");
	curl_easy_setopt(c, CURLOPT_MAIL_FROM, talloc_asprintf(mem, "<%s>", relay->from));
	curl_easy_setopt(c, CURLOPT_MAIL_RCPT, to);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, lines);
	curl_easy_setopt(c, CURLOPT_MIMEPOST, mime);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
	e = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &code);
	curl_slist_free_all(lines);
	curl_slist_free_all(to);
	curl_mime_free(mime);
	return e == CURLE_OK || err_set(err, code >= 500 && code < 600 ? ERR_REFUSED : ERR_AGAIN, (int)code, "%s: %s", relay->url,
	                                why[0] != '\0' ? why : curl_easy_strerror(e));
}

bool
mail_send(const struct config_mail *relay, const struct mail *m, struct err *err)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *password = relay->password_file == NULL ? NULL : secret_read(mem, relay->password_file, err);
	CURL *c = relay->password_file != NULL && password == NULL ? NULL : curl_easy_init();
	bool good = c != NULL;

	if (!mail_is_address(m->to) || !mail_is_address(relay->from))
		good = err_set(err, ERR_REFUSED, 0, "no mail address: %s", mail_is_address(m->to) ? relay->from : m->to);
	if (good) {
		relay_of(c, relay, password);
		good = perform(c, mem, relay, m, err);
	}
	curl_easy_cleanup(c);
	talloc_free(mem);
	return good;
}
