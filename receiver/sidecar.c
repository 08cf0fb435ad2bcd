#include "receiver/sidecar.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const struct { const char *suffix; size_t digits; } kinds[] = { { ".sha256", 64 }, { ".md5", 32 } };

static size_t
suffix_of(const char *name, size_t *digits)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i].suffix);

		if (len > n && strcasecmp(name + len - n, kinds[i].suffix) == 0) {
			*digits = kinds[i].digits;
			return n;
		}
	}
	*digits = 0;
	return 0;
}

size_t
sidecar_digits(const char *base)
{
	size_t digits;

	suffix_of(base, &digits);
	return digits;
}

size_t
sidecar_stem(const char *path)
{
	size_t digits;

	return strlen(path) - suffix_of(path, &digits);
}

bool
sidecar_is_hex(const char *s, size_t digits)
{
	return strlen(s) == digits && strspn(s, "0123456789abcdef") == digits;
}

/* A word of just that many hex digits. */
static bool
take(const char *word, size_t len, size_t digits, char hex[SIDECAR_HEX_MAX + 1])
{
	if (len != digits || digits > SIDECAR_HEX_MAX)
		return false;
	for (size_t i = 0; i < digits; i++) {
		if (!isxdigit((unsigned char)word[i]))
			return false;
		hex[i] = (char)tolower((unsigned char)word[i]);
	}
	hex[digits] = '\0';
	return true;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool
sidecar_parse(const char *text, size_t len, size_t digits, char hex[SIDECAR_HEX_MAX + 1])
{
	size_t begin = 0, end, first;

	if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) /* PowerShell's redirection writes a byte order mark */
		begin = 3;
	while (begin < len && is_space(text[begin]))
		begin++;
	for (end = begin; end < len && text[end] != '\r' && text[end] != '\n';)
		end++;
	for (first = begin; first < end && !is_space(text[first]);)
		first++;
	/* sha256sum marks a name with a backslash that it had to escape. */
	if (begin < end && text[begin] == '\\')
		begin++;
	if (take(text + begin, first - begin, digits, hex))
		return true;
	/* BSD's form: the digest comes last. */
	for (first = end; first > begin && !is_space(text[first - 1]);)
		first--;
	return memchr(text + begin, '=', end - begin) != NULL && take(text + first, end - first, digits, hex);
}
