#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "common/ask_admin.h"
#include "common/ask_view.h"
#include "common/bytes.h"
#include "console/cli.h"

/*
 * Public keys as customers send them: one line as in authorized_keys. Of the options before it only from="…"
 * and expiry-time="…" are understood; a key with others would be let in without what they demand, so it is
 * refused.
 */

enum { LINE_MAX_BYTES = 16384, RSA_LEAST_BITS = 2048, BLOB_MAX = 8192 };

struct line {
	char *from, *expires, *type, *blob, *comment;
};

static const char *const types[] = { "ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521" };

static bool
is_type(const char *s)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i], s) == 0)
			return true;
	return false;
}

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

/* from="a,b",expiry-time="20260101" */
static bool
take_options(TALLOC_CTX *mem, char *options, struct line *l, struct err *err)
{
	while (*options != '\0') {
		size_t n = strcspn(options, "=,");
		char *value = options[n] == '=' && options[n + 1] == '"' ? options + n + 2 : NULL, *end = value == NULL ? NULL : strchr(value, '"');

		if (end != NULL && n == 4 && strncasecmp(options, "from", 4) == 0)
			l->from = talloc_strndup(mem, value, (size_t)(end - value));
		else if (end != NULL && n == 11 && strncasecmp(options, "expiry-time", 11) == 0)
			l->expires = talloc_strndup(mem, value, (size_t)(end - value));
		else
			return err_set(err, ERR_REFUSED, 0, "the option %.*s before the key is not understood; only from=\"…\" and expiry-time=\"…\" are", (int)n,
			               options);
		options = end + 1;
		options += *options == ',';
	}
	return true;
}

static bool
read_line(TALLOC_CTX *mem, const char *path, struct line *l, struct err *err)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *text = talloc_zero_size(mem, LINE_MAX_BYTES + 1), *at, *first;
	size_t n;

	if (f == NULL)
		return err_errno(err, errno, "%s", path);
	n = fread(text, 1, LINE_MAX_BYTES, f);
	if (f != stdin)
		fclose(f);
	if (n == LINE_MAX_BYTES || strlen(text) != n)
		return err_set(err, ERR_REFUSED, 0, "%s is no public key in one line", path);
	if (strstr(text, "PRIVATE KEY") != NULL)
		return err_set(err, ERR_REFUSED, 0, "%s is a PRIVATE key: it must never leave its owner; ask for the .pub file and for a new key pair", path);
	text[strcspn(text, "\r\n")] = '\0';
	at = text;
	first = word(&at);
	if (!is_type(first)) {
		char *next = at, *second = word(&next);

		if (!is_type(second))
			return err_set(err, ERR_REFUSED, 0, "%s is no public key in OpenSSH's one-line form (ssh-ed25519 AAAA… or ssh-rsa AAAA…, at least 2048 bits)",
			               path);
		if (!take_options(mem, first, l, err))
			return false;
		first = second;
		at = next;
	}
	l->type = first;
	l->blob = word(&at);
	l->comment = at;
	return true;
}

/* Decodes and checks that the blob is what the line says; fills the fingerprint. */
static bool
check_blob(TALLOC_CTX *mem, const struct line *l, char **fingerprint, struct err *err)
{
	size_t len = strlen(l->blob);
	uint8_t mem_[BLOB_MAX], hash[EVP_MAX_MD_SIZE], text[64];
	struct bytes b;
	const uint8_t *name, *n;
	uint32_t name_len, n_len;
	int size;

	if (len == 0 || len % 4 != 0 || len > BLOB_MAX || (size = EVP_DecodeBlock(mem_, (const uint8_t *)l->blob, (int)len)) <= 0)
		return err_set(err, ERR_REFUSED, 0, "the key's base64 is broken (was the line wrapped on the way?)");
	size -= (l->blob[len - 1] == '=') + (l->blob[len - 2] == '=');
	b = bytes_of(mem_, (size_t)size);
	name_len = bytes_u32be(&b);
	name = bytes_take(&b, name_len);
	if (name == NULL || name_len != strlen(l->type) || memcmp(name, l->type, name_len) != 0)
		return err_set(err, ERR_REFUSED, 0, "the key says %s but holds something else", l->type);
	if (strcmp(l->type, "ssh-rsa") == 0) {
		bytes_take(&b, bytes_u32be(&b)); /* e */
		n_len = bytes_u32be(&b);
		n = bytes_take(&b, n_len);
		if (n == NULL || (n_len - (n_len > 0 && n[0] == 0)) * 8 < RSA_LEAST_BITS)
			return err_set(err, ERR_REFUSED, 0, "an RSA key needs at least %d bits", RSA_LEAST_BITS);
	}
	if (b.short_of)
		return err_set(err, ERR_REFUSED, 0, "the key is cut off");
	EVP_Digest(mem_, (size_t)size, hash, NULL, EVP_sha256(), NULL);
	EVP_EncodeBlock(text, hash, 32);
	text[strcspn((char *)text, "=")] = '\0';
	*fingerprint = talloc_asprintf(mem, "SHA256:%s", text);
	return true;
}

/* 20260131[1530[00]][Z] as OpenSSH has it, to what Postgres reads. */
static bool
expiry(TALLOC_CTX *mem, const char *text, const char **out, struct err *err)
{
	size_t n = text == NULL ? 0 : strspn(text, "0123456789");

	*out = NULL;
	if (text == NULL)
		return true;
	if (n != 8 && n != 12 && n != 14)
		return err_set(err, ERR_REFUSED, 0, "expiry-time=\"%s\" is no YYYYMMDD[HHMM]", text);
	*out = n == 8 ? talloc_asprintf(mem, "%.8s 00:00:00+00", text)
	              : talloc_asprintf(mem, "%.8s %.2s:%.2s:00+00", text, text + 8, text + 10);
	return true;
}

static size_t
split(TALLOC_CTX *mem, char *list, const char ***out)
{
	char *save = NULL;
	size_t n = 0;

	*out = NULL;
	for (char *p = list == NULL ? NULL : strtok_r(list, ",", &save); p != NULL; p = strtok_r(NULL, ",", &save)) {
		*out = talloc_realloc(mem, *out, const char *, n + 1);
		(*out)[n++] = p;
	}
	return n;
}

int
cmd_key_add(struct cli *c)
{
	const char *file = NULL, *from = NULL, *expires = NULL, *migration = NULL;
	const struct cli_option options[] = { { "--file", &file, NULL }, { "--from", &from, NULL }, { "--expires", &expires, NULL } };
	struct admin_key key = { 0 };
	struct line line = { 0 };
	struct err err = { 0 };
	char *fingerprint = NULL;
	int64_t run;
	bool added;
	int code = cli_take(c, options, 3, &migration, 1, 1);

	if (code == CLI_FINE && file == NULL)
		code = cli_fail(c, CLI_USAGE, "--file is missing (- reads the key from standard input)");
	if (code != CLI_FINE)
		return code;
	if (!read_line(c->mem, file, &line, &err) || !check_blob(c->mem, &line, &fingerprint, &err) ||
	    !expiry(c->mem, line.expires, &key.expires, &err))
		return cli_fail(c, err.code == ENOENT ? CLI_NOT_FOUND : CLI_USAGE, "%s", err.text);
	if ((code = cli_connect(c, CLI_OPERATOR)) != CLI_FINE || (code = cli_run(c, migration, NULL, &run)) != CLI_FINE)
		return code;
	key.type = line.type;
	key.blob = line.blob;
	key.comment = line.comment;
	key.fingerprint = fingerprint;
	if (expires != NULL)
		key.expires = expires;
	key.n_from = split(c->mem, from != NULL ? talloc_strdup(c->mem, from) : line.from, (const char ***)(void *)&key.from);
	if (!ask_key_add(c->db, migration, &key, &added, &err))
		return cli_error(c, &err);
	if (c->json)
		cli_json(json_pack("{s:s,s:s,s:b}", "fingerprint", fingerprint, "type", key.type, "added", added));
	else
		printf("%s %s %s\n", fingerprint, key.type, added ? "may log in now" : "was there already");
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
