#include "console/key_file.h"

#include <stdint.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/evp.h>

#include "common/bytes.h"

enum { BLOB_MAX = 8192 };

static const char ssh2_begin[] = "---- BEGIN SSH2 PUBLIC KEY ----", ssh2_end[] = "---- END SSH2 PUBLIC KEY ----";

static char *
not_a_key(const char *what, struct err *err)
{
	err_set(err, ERR_REFUSED, 0, "%s is no public key: wanted is one line (ssh-ed25519 AAAA… or ssh-rsa AAAA…), the file that PuTTYgen "
	        "saves as public key, or PEM", what);
	return NULL;
}

/* The base64 of a blob with the type that it begins with: "type base64". NULL when it begins with none. */
static char *
line_of_blob(TALLOC_CTX *mem, const uint8_t *blob, size_t len)
{
	struct bytes b = bytes_of(blob, len);
	size_t n = bytes_u32be(&b);
	const uint8_t *type = bytes_take(&b, n);
	char *base64 = talloc_size(mem, len * 4 / 3 + 8);

	if (type == NULL || n == 0 || n > 64 || memchr(type, 0, n) != NULL || memchr(type, ' ', n) != NULL)
		return NULL;
	EVP_EncodeBlock((uint8_t *)base64, blob, (int)len);
	return talloc_asprintf(mem, "%.*s %s", (int)n, (const char *)type, base64);
}

/* ---- RFC 4716 ---------------------------------------------------------------------------------------------- */

static char *
next_line(char **at)
{
	char *line = *at, *end = line + strcspn(line, "\r\n");

	if (*line == '\0')
		return NULL;
	*at = end + strspn(end, "\r\n");
	*end = '\0';
	return line;
}

static void
trim(char *s)
{
	size_t n = strlen(s);

	while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		s[--n] = '\0';
}

/* Headers ("Comment: …") come first; one that ends in a backslash goes on in the next line. */
static char *
read_ssh2(TALLOC_CTX *mem, char *text, const char *what, struct err *err)
{
	char *at = text, *line, *base64 = talloc_strdup(mem, ""), *comment = talloc_strdup(mem, ""), *out;
	uint8_t blob[BLOB_MAX];
	bool ended = false, header = false;
	int len;

	next_line(&at);
	while (!ended && (line = next_line(&at)) != NULL) {
		char *colon = strchr(line, ':');

		trim(line);
		if (strcmp(line, ssh2_end) == 0) {
			ended = true;
		} else if (header || colon != NULL) {
			if (!header && strncasecmp(line, "Comment:", 8) == 0)
				comment = talloc_strdup(mem, colon + 1 + strspn(colon + 1, " \""));
			header = line[0] != '\0' && line[strlen(line) - 1] == '\\';
		} else {
			base64 = talloc_strdup_append(base64, line);
		}
	}
	comment[strcspn(comment, "\"\\")] = '\0';
	if (!ended || at[strspn(at, " \t\r\n")] != '\0' || strlen(base64) % 4 != 0 || strlen(base64) > BLOB_MAX ||
	    (len = EVP_DecodeBlock(blob, (const uint8_t *)base64, (int)strlen(base64))) <= 0)
		return not_a_key(what, err);
	for (size_t n = strlen(base64); n > 0 && base64[n - 1] == '='; n--)
		len--;
	if ((out = line_of_blob(mem, blob, (size_t)len)) == NULL)
		return not_a_key(what, err);
	return comment[0] == '\0' ? out : talloc_asprintf(mem, "%s %s", out, comment);
}

/* ---- PEM ------------------------------------------------------------------------------------------------------ */

struct blob { uint8_t mem[BLOB_MAX]; size_t len; bool full; };

static void
put(struct blob *b, const void *mem, size_t len)
{
	uint8_t n[4] = { (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };

	b->full = b->full || len + 4 > sizeof(b->mem) - b->len;
	if (b->full)
		return;
	memcpy(b->mem + b->len, n, 4);
	memcpy(b->mem + b->len + 4, mem, len);
	b->len += len + 4;
}

/* A positive number never begins with a set bit. */
static bool
put_number(struct blob *b, const EVP_PKEY *key, const char *name)
{
	BIGNUM *n = NULL;
	uint8_t mem[BLOB_MAX] = { 0 };
	size_t len;

	if (EVP_PKEY_get_bn_param(key, name, &n) != 1)
		return false;
	len = (size_t)BN_num_bytes(n);
	if (len > 0 && len < sizeof(mem)) {
		BN_bn2bin(n, mem + 1);
		put(b, mem[1] & 0x80 ? mem : mem + 1, mem[1] & 0x80 ? len + 1 : len);
	}
	BN_free(n);
	return len > 0 && len < sizeof(mem);
}

static bool
put_curve(struct blob *b, const EVP_PKEY *key)
{
	static const struct { const char *group, *type, *name; } curves[] = {
		{ "prime256v1", "ecdsa-sha2-nistp256", "nistp256" }, { "secp384r1", "ecdsa-sha2-nistp384", "nistp384" },
		{ "secp521r1", "ecdsa-sha2-nistp521", "nistp521" },
	};
	char group[64];
	uint8_t point[256];
	size_t len;

	if (EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), NULL) != 1 ||
	    EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len) != 1)
		return false;
	for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++)
		if (strcmp(curves[i].group, group) == 0) {
			put(b, curves[i].type, strlen(curves[i].type));
			put(b, curves[i].name, strlen(curves[i].name));
			put(b, point, len);
			return true;
		}
	return false;
}

static bool
put_key(struct blob *b, const EVP_PKEY *key)
{
	uint8_t raw[32];
	size_t len = sizeof(raw);

	if (EVP_PKEY_is_a(key, "RSA")) {
		put(b, "ssh-rsa", 7);
		return put_number(b, key, OSSL_PKEY_PARAM_RSA_E) && put_number(b, key, OSSL_PKEY_PARAM_RSA_N);
	}
	if (EVP_PKEY_is_a(key, "ED25519") && EVP_PKEY_get_raw_public_key(key, raw, &len) == 1) {
		put(b, "ssh-ed25519", 11);
		put(b, raw, len);
		return true;
	}
	return EVP_PKEY_is_a(key, "EC") && put_curve(b, key);
}

static char *
read_pem(TALLOC_CTX *mem, const char *text, size_t len, const char *what, struct err *err)
{
	const uint8_t *at = (const uint8_t *)text;
	struct blob *b = talloc_zero(mem, struct blob);
	EVP_PKEY *key = NULL;
	OSSL_DECODER_CTX *d = OSSL_DECODER_CTX_new_for_pkey(&key, "PEM", NULL, NULL, EVP_PKEY_PUBLIC_KEY, NULL, NULL);
	bool good = d != NULL && OSSL_DECODER_from_data(d, &at, &len) == 1 && put_key(b, key) && !b->full;
	char *line = good ? line_of_blob(mem, b->mem, b->len) : NULL;

	/* What stands behind it would be dropped without a word: another key. */
	for (size_t i = 0; line != NULL && i < len; i++)
		if (strchr(" \t\r\n", at[i]) == NULL)
			line = NULL;
	EVP_PKEY_free(key);
	OSSL_DECODER_CTX_free(d);
	return line != NULL ? line : not_a_key(what, err);
}

/* ---- which it is ------------------------------------------------------------------------------------------------- */

char *
key_file_line(TALLOC_CTX *mem, const char *text, size_t len, const char *what, struct err *err)
{
	char *copy = talloc_strndup(mem, text, len), *end;

	if (strstr(copy, "PRIVATE KEY") != NULL || strstr(copy, "PuTTY-User-Key-File") != NULL) {
		err_set(err, ERR_REFUSED, 0, "%s is a PRIVATE key: it must never leave its owner; ask for the public one and for a new key pair", what);
		return NULL;
	}
	if (strlen(copy) != len)
		return not_a_key(what, err);
	if (strncmp(copy, "\xEF\xBB\xBF", 3) == 0) /* Notepad's mark */
		copy += 3;
	copy += strspn(copy, " \t\r\n");
	if (strncmp(copy, ssh2_begin, strlen(ssh2_begin)) == 0)
		return read_ssh2(mem, copy, what, err);
	if (strncmp(copy, "-----BEGIN ", 11) == 0)
		return read_pem(mem, copy, strlen(copy), what, err);
	/* Further lines would be dropped without a word: the rest of a wrapped key, or another key. */
	end = copy + strcspn(copy, "\r\n");
	if (end == copy || end[strspn(end, "\r\n \t")] != '\0')
		return not_a_key(what, err);
	*end = '\0';
	return copy;
}
