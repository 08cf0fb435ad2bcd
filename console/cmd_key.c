#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <arpa/inet.h>
#include <openssl/evp.h>

#include "common/ask_admin.h"
#include "common/ask_view.h"
#include "common/bytes.h"
#include "common/fingerprint.h"
#include "common/text.h"
#include "console/cli.h"
#include "console/key_file.h"

/*
 * Public keys as customers send them (key_file has the forms). Of the options before the key only from="…" and
 * expiry-time="…" are understood; a key with others would be let in without what they demand, so it is refused.
 */

enum { LINE_MAX_BYTES = 16384, RSA_LEAST_BITS = 2048, RSA_MOST_BITS = 16384, BLOB_MAX = 8192, COMMENT_MAX = 200 };

struct line {
	char *from, *expires, *type, *blob, *comment;
};

static const char *const types[] = {
	"ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
	"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", /* on a security key */
};

static bool
is_type(const char *s)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i], s) == 0)
			return true;
	return false;
}

/* ---- the line -------------------------------------------------------------------------------- */

static char *
word(char **at)
{
	char *start = *at + strspn(*at, " \t"), *end = start;
	bool quoted = false;

	for (; *end != '\0' && (quoted || (*end != ' ' && *end != '\t')); end++)
		quoted ^= *end == '"';
	*at = *end == '\0' ? end : end + 1;
	*end = '\0';
	return start;
}

/* from="a,b",expiry-time="20260101"; each at most once */
static bool
take_options(TALLOC_CTX *mem, char *options, struct line *l, struct err *err)
{
	while (*options != '\0') {
		size_t n = strcspn(options, "=,");
		char *value = options[n] == '=' && options[n + 1] == '"' ? options + n + 2 : NULL;
		char *end = value == NULL ? NULL : strchr(value, '"'), **to = NULL;

		if (n == 4 && strncasecmp(options, "from", 4) == 0)
			to = &l->from;
		else if (n == 11 && strncasecmp(options, "expiry-time", 11) == 0)
			to = &l->expires;
		if (to == NULL || *to != NULL || end == NULL)
			return err_set(err, ERR_REFUSED, 0, "the option %.*s before the key is not understood; only "
			               "from=\"…\" and expiry-time=\"…\" are, once each", (int)n, options);
		*to = talloc_strndup(mem, value, (size_t)(end - value));
		options = end + 1;
		options += *options == ',';
	}
	return true;
}

/* A comment is only shown; one that is no UTF-8 (PuTTYgen writes Latin-1) must not keep the key out. */
static char *
comment_of(TALLOC_CTX *mem, char *text)
{
	char safe[COMMENT_MAX + 16];

	text += strspn(text, " \t");
	if (strlen(text) <= COMMENT_MAX && text_is_utf8(text, strlen(text)))
		return text;
	text_escape(safe, sizeof(safe), text, COMMENT_MAX);
	return talloc_strdup(mem, safe);
}

static char *
read_file(TALLOC_CTX *mem, const char *path, struct err *err)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *text = talloc_zero_size(mem, LINE_MAX_BYTES + 1);
	size_t n;

	if (f == NULL) {
		err_errno(err, errno, "%s", path);
		return NULL;
	}
	n = fread(text, 1, LINE_MAX_BYTES, f);
	if (f != stdin)
		fclose(f);
	if (n == LINE_MAX_BYTES) {
		err_set(err, ERR_REFUSED, 0, "%s is no public key: none is as long", path);
		return NULL;
	}
	return key_file_line(mem, text, n, path, err);
}

static bool
read_line(TALLOC_CTX *mem, const char *path, struct line *l, struct err *err)
{
	char *at = read_file(mem, path, err), *first;

	if (at == NULL)
		return false;
	first = word(&at);
	if (!is_type(first)) {
		char *next = at, *second = word(&next);

		if (!is_type(second))
			return err_set(err, ERR_REFUSED, 0, "%s is no public key of a type that is taken: ssh-ed25519, ssh-rsa of at "
			               "least %d bits, ecdsa-sha2-nistp256, -384 or -521, or one on a security key (sk-…)", path,
			               RSA_LEAST_BITS);
		if (!take_options(mem, first, l, err))
			return false;
		first = second;
		at = next;
	}
	l->type = first;
	l->blob = word(&at);
	l->comment = comment_of(mem, at);
	return true;
}

/* ---- the key itself -------------------------------------------------------------------------- */

static const uint8_t *
string(struct bytes *b, size_t *len)
{
	*len = bytes_u32be(b);
	return bytes_take(b, *len);
}

static size_t
bits_of(const uint8_t *n, size_t len)
{
	for (; len > 0 && *n == 0; len--)
		n++;
	return len == 0 ? 0 : len * 8 - (size_t)(__builtin_clz(*n) - 24);
}

static bool
is_curve(const char *type, const uint8_t *name, size_t len)
{
	const char *want = strstr(type, "nistp");
	size_t want_len = want == NULL ? 0 : strcspn(want, "@");

	return name != NULL && len == want_len && memcmp(name, want, len) == 0;
}

/* What follows the type inside the blob (RFC 4253, 5656, 8709). */
static bool
check_body(const char *type, struct bytes *b, struct err *err)
{
	size_t len = 0, bits;
	const uint8_t *p;
	bool good = true;

	if (strcmp(type, "ssh-rsa") == 0) {
		string(b, &len); /* e */
		p = string(b, &len);
		bits = p == NULL ? 0 : bits_of(p, len);
		if (!b->short_of && (bits < RSA_LEAST_BITS || bits > RSA_MOST_BITS))
			return err_set(err, ERR_REFUSED, 0, "the RSA key has %zu bits; it needs %d to %d", bits, RSA_LEAST_BITS,
			               RSA_MOST_BITS);
	} else if (strstr(type, "ssh-ed25519") != NULL) {
		string(b, &len);
		good = len == 32;
	} else {
		p = string(b, &len);
		good = is_curve(type, p, len);
		p = string(b, &len);
		good = good && p != NULL && len == (strstr(type, "521") ? 133 : strstr(type, "384") ? 97 : 65) && p[0] == 4;
	}
	if (strncmp(type, "sk-", 3) == 0) { /* and for whom it signs: "ssh:" */
		string(b, &len);
		good = good && len > 0 && len <= 64;
	}
	if (!good || b->short_of || bytes_left(b) != 0)
		return err_set(err, ERR_REFUSED, 0, "the key is cut off or damaged");
	return true;
}

/* Decodes and checks that the blob is what the line says; fills the fingerprint. */
static bool
check_blob(TALLOC_CTX *mem, const struct line *l, char **fingerprint, struct err *err)
{
	size_t len = strlen(l->blob), name_len;
	uint8_t raw[BLOB_MAX], again[BLOB_MAX + 8];
	const uint8_t *name;
	struct bytes b;
	int size;

	if (len == 0 || len % 4 != 0 || len > BLOB_MAX ||
	    (size = EVP_DecodeBlock(raw, (const uint8_t *)l->blob, (int)len)) <= 0)
		return err_set(err, ERR_REFUSED, 0, "the key's base64 is broken (was the line wrapped on the way?)");
	size -= (l->blob[len - 1] == '=') + (l->blob[len - 2] == '=');
	/* Log-ins are compared with the text, so there must be only one way to write a key. */
	EVP_EncodeBlock(again, raw, size);
	if (strcmp((char *)again, l->blob) != 0)
		return err_set(err, ERR_REFUSED, 0, "the key's base64 is broken (it has something in it that ssh-keygen never writes)");
	b = bytes_of(raw, (size_t)size);
	name = string(&b, &name_len);
	if (name == NULL || name_len != strlen(l->type) || memcmp(name, l->type, name_len) != 0)
		return err_set(err, ERR_REFUSED, 0, "the key says %s but holds something else", l->type);
	if (!check_body(l->type, &b, err))
		return false;
	*fingerprint = talloc_zero_size(mem, FINGERPRINT_MAX);
	fingerprint_of_bytes(raw, (size_t)size, *fingerprint);
	return true;
}

/* ---- its limits ------------------------------------------------------------------------------ */

/* 20260131[1530[00]][Z] as OpenSSH has it, or 2026-01-31[T15:30[:00]][Z]; UTC. To what Postgres reads. */
static bool
expiry(TALLOC_CTX *mem, const char *text, const char **out, struct err *err)
{
	char digits[20] = "";
	struct tm tm = { 0 }, back;
	size_t n = 0;
	time_t t;

	*out = NULL;
	if (text == NULL)
		return true;
	for (const char *p = text; *p != '\0' && n < sizeof(digits) - 1; p++)
		if (strchr("-:T ", *p) == NULL && !(strcasecmp(p, "Z") == 0))
			digits[n++] = *p;
	if ((n != 8 && n != 12 && n != 14) || strspn(digits, "0123456789") != n)
		return err_set(err, ERR_REFUSED, 0, "the expiry time %s is no YYYYMMDD[HHMM] or YYYY-MM-DD", text);
	sscanf(digits, "%4d%2d%2d%2d%2d%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec);
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	back = tm;
	t = timegm(&back);
	/* timegm turns the 31st of February into March: what comes back differs. */
	if (back.tm_mday != tm.tm_mday || back.tm_mon != tm.tm_mon || back.tm_hour != tm.tm_hour || back.tm_min != tm.tm_min)
		return err_set(err, ERR_REFUSED, 0, "the expiry time %s is not in the calendar", text);
	*out = talloc_asprintf(mem, "%04d-%02d-%02d %02d:%02d:%02d+00", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
	                       tm.tm_hour, tm.tm_min, tm.tm_sec);
	return t > time(NULL) ? true : err_set(err, ERR_REFUSED, 0, "the key expired at %s UTC", *out);
}

static bool
is_range(const char *text)
{
	int family = strchr(text, ':') == NULL ? AF_INET : AF_INET6;
	char copy[64], *slash, *end;
	uint8_t address[16];
	long bits;

	snprintf(copy, sizeof(copy), "%s", text);
	if ((slash = strchr(copy, '/')) != NULL) {
		*slash++ = '\0';
		bits = strtol(slash, &end, 10);
		if (!isdigit((unsigned char)slash[0]) || *end != '\0' || bits > (family == AF_INET ? 32 : 128))
			return false;
	}
	return strlen(text) < sizeof(copy) && inet_pton(family, copy, address) == 1;
}

/* A limit that is not understood is refused, for an empty list would let the key in from anywhere. */
static bool
ranges(TALLOC_CTX *mem, const char *list, struct admin_key *key, struct err *err)
{
	const char **out = NULL;
	char *save = NULL;

	if (list == NULL)
		return true;
	for (char *p = strtok_r(talloc_strdup(mem, list), ",", &save); p != NULL; p = strtok_r(NULL, ",", &save)) {
		if (!is_range(p))
			return err_set(err, ERR_REFUSED, 0, "%s is no address or range such as 203.0.113.0/24 (names, wildcards "
			               "and ! are not understood)", p);
		out = talloc_realloc(mem, out, const char *, key->n_from + 1);
		out[key->n_from++] = p;
	}
	key->from = out;
	return key->n_from > 0 ? true : err_set(err, ERR_REFUSED, 0, "the list of addresses is empty");
}

static bool
read_key(TALLOC_CTX *mem, const char *path, const char *from, const char *expires, struct admin_key *key, struct err *err)
{
	struct line l = { 0 };
	char *fingerprint;

	if (!read_line(mem, path, &l, err) || !check_blob(mem, &l, &fingerprint, err) ||
	    !expiry(mem, expires != NULL ? expires : l.expires, &key->expires, err) ||
	    !ranges(mem, from != NULL ? from : l.from, key, err))
		return false;
	key->type = l.type;
	key->blob = l.blob;
	key->comment = l.comment;
	key->fingerprint = fingerprint;
	return true;
}

int
cmd_key_add(struct cli *c)
{
	const char *file = NULL, *from = NULL, *expires = NULL, *migration = NULL;
	const struct cli_option options[] = {
		{ "--file", &file, NULL }, { "--from", &from, NULL }, { "--expires", &expires, NULL },
	};
	struct admin_key key = { 0 };
	struct err err = { 0 };
	int64_t run;
	bool added;
	int code = cli_take(c, options, 3, &migration, 1, 1);

	if (code == CLI_FINE && file == NULL)
		code = cli_fail(c, CLI_USAGE, "--file is missing (- reads the key from standard input)");
	if (code != CLI_FINE)
		return code;
	if (!read_key(c->mem, file, from, expires, &key, &err))
		return cli_fail(c, err.code == ENOENT ? CLI_NOT_FOUND : CLI_USAGE, "%s", err.text);
	if ((code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = cli_run(c, migration, NULL, &run)) != CLI_FINE)
		return code;
	if (!ask_key_add(c->db, migration, &key, &added, &err))
		return cli_error(c, &err);
	if (c->json)
		cli_json(json_pack("{s:s,s:s,s:b}", "fingerprint", key.fingerprint, "type", key.type, "added", added));
	else
		printf("%s %s %s\n", key.fingerprint, key.type, added ? "may log in now"
		       : "was there already; nothing was changed (key revoke first, to give it other limits)");
	return CLI_FINE;
}

int
cmd_key_list(struct cli *c)
{
	const char *migration;
	struct err err = { 0 };
	json_t *list, *k;
	int64_t run;
	size_t i;
	int code = cli_take(c, NULL, 0, &migration, 1, 1);

	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = cli_run(c, migration, NULL, &run)) != CLI_FINE)
		return code;
	if ((list = view_keys(c->db, migration, &err)) == NULL)
		return cli_error(c, &err);
	if (c->json) {
		cli_json(list);
		return CLI_FINE;
	}
	json_array_foreach(list, i, k)
		printf("%s  %-12s  %s  %s%s\n", cli_get(c, k, "fingerprint"), cli_get(c, k, "type"), cli_get(c, k, "added_at"), cli_get(c, k, "comment"),
		       json_is_null(json_object_get(k, "revoked_at")) ? "" : "  (revoked)");
	json_decref(list);
	return CLI_FINE;
}

int
cmd_key_revoke(struct cli *c)
{
	const char *words[2];
	struct err err = { 0 };
	int64_t run;
	int n, code = cli_take(c, NULL, 0, words, 2, 2);

	if (code != CLI_FINE || (code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = cli_run(c, words[0], NULL, &run)) != CLI_FINE)
		return code;
	if (!ask_key_revoke(c->db, words[0], words[1], &n, &err))
		return cli_error(c, &err);
	if (n == 0)
		return cli_fail(c, CLI_NOT_FOUND, "%s has no live key %s (key list shows them)", words[0], words[1]);
	if (c->json)
		cli_json(json_pack("{s:i}", "revoked", n));
	else
		printf("revoked\n");
	return CLI_FINE;
}
