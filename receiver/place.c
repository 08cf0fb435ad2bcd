#include "receiver/place.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/text.h"

/* C0, DEL, and C1, which in UTF-8 is C2 80 to C2 9F: terminals take 9B for ESC [. */
static bool
has_control(const char *path, size_t len)
{
	const unsigned char *p = (const unsigned char *)path;

	for (size_t i = 0; i < len; i++)
		if (p[i] < 0x20 || p[i] == 0x7F || p[i] == '\\' || (p[i] == 0xC2 && i + 1 < len && p[i + 1] < 0xA0))
			return true;
	return false;
}

char *
place_normal(TALLOC_CTX *parent, const char *path, size_t len, struct err *err)
{
	char *out = talloc_array(parent, char, len + 2), *end = out;
	int depth = 0;

	if (len > PLACE_PATH_MAX)
		err_set(err, ERR_REFUSED, 0, "the name is longer than %d bytes", PLACE_PATH_MAX);
	else if (memchr(path, '\0', len) != NULL || has_control(path, len))
		err_set(err, ERR_REFUSED, 0, "the name holds control characters or a backslash");
	else if (!text_is_utf8(path, len))
		err_set(err, ERR_REFUSED, 0, "the name is not UTF-8");
	else
		goto parts;
	talloc_free(out);
	return NULL;
parts:
	for (size_t i = 0; i < len;) {
		size_t n = 0;

		while (i + n < len && path[i + n] != '/')
			n++;
		if (n == 2 && path[i] == '.' && path[i + 1] == '.') {
			/* Up, and at the root it stays at the root. */
			while (end > out && *--end != '/')
				;
			depth -= depth > 0;
		} else if (n > 0 && !(n == 1 && path[i] == '.')) {
			if (n > PLACE_PART_MAX || ++depth > PLACE_DEPTH_MAX) {
				err_set(err, ERR_REFUSED, 0, n > PLACE_PART_MAX ? "a part of the name is longer than %d bytes" : "folders go at most %d deep",
				        n > PLACE_PART_MAX ? PLACE_PART_MAX : PLACE_DEPTH_MAX);
				talloc_free(out);
				return NULL;
			}
			*end++ = '/';
			memcpy(end, path + i, n);
			end += n;
		}
		i += n + 1;
	}
	if (end == out)
		*end++ = '/';
	*end = '\0';
	return out;
}

static const struct { const char *name; enum place_kind kind; } ours[] = {
	{ "/README.txt", PLACE_README }, { "/STATUS.txt", PLACE_STATUS }, { "/receipts", PLACE_RECEIPTS }, { "/outbox", PLACE_OUTBOX },
};

enum place_kind
place_kind(const char *normal)
{
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		size_t n = strlen(ours[i].name);

		if (strncmp(normal, ours[i].name, n) == 0 && (normal[n] == '\0' || normal[n] == '/'))
			return ours[i].kind;
	}
	return PLACE_DROP;
}

const char *
place_base(const char *normal)
{
	return strrchr(normal, '/') + 1;
}

char *
place_parent(TALLOC_CTX *parent, const char *normal)
{
	size_t n = (size_t)(strrchr(normal, '/') - normal);

	return n == 0 ? talloc_strdup(parent, "/") : talloc_strndup(parent, normal, n);
}

static const char *const temporary[] = { ".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".uploading", ".upload" };
static const char *const backup[] = { ".bak", ".trn", ".dif", ".full", ".log" };

static bool
ends(const char *s, size_t len, const char *suffix)
{
	size_t n = strlen(suffix);

	return len > n && strncasecmp(s + len - n, suffix, n) == 0;
}

/* Length of the name without what marks it as temporary; its whole length when nothing does. */
static size_t
without_mark(const char *base)
{
	size_t len = strlen(base);

	for (size_t i = 0; i < sizeof(temporary) / sizeof(temporary[0]); i++)
		if (ends(base, len, temporary[i]))
			return len - strlen(temporary[i]);
	return len > 1 && base[len - 1] == '~' ? len - 1 : len;
}

bool
place_is_temporary(const char *base)
{
	/* A leading ~ and .ocTransferId: office programs and ownCloud's client. */
	return base[0] == '.' || base[0] == '~' || strstr(base, ".ocTransferId") != NULL || without_mark(base) != strlen(base);
}

bool
place_is_backup(const char *base)
{
	size_t len = without_mark(base);

	for (size_t i = 0; i < sizeof(backup) / sizeof(backup[0]); i++)
		if (ends(base, len, backup[i]))
			return true;
	return false;
}
