#include "common/libssh_age.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char line_fixed[] = "+deb12u", first_good[] = "0.10.6-0+deb12u3";

/* A tilde is before the end, the end before letters, and letters before the rest. */
static int
weight(char c)
{
	if (c == '~')
		return -1;
	if (c == '\0' || isdigit((unsigned char)c))
		return 0;
	return isalpha((unsigned char)c) ? c : c + 256;
}

/* Policy manual, 5.6.12: what is no number and what is one, in turn. */
static int
compare_part(const char *a, const char *b)
{
	while (*a != '\0' || *b != '\0') {
		unsigned long x, y;
		char *ea, *eb;

		while ((*a != '\0' && !isdigit((unsigned char)*a)) || (*b != '\0' && !isdigit((unsigned char)*b))) {
			if (weight(*a) != weight(*b))
				return weight(*a) - weight(*b);
			a++;
			b++;
		}
		x = strtoul(a, &ea, 10);
		y = strtoul(b, &eb, 10);
		if (x != y)
			return x < y ? -1 : 1;
		a = ea;
		b = eb;
	}
	return 0;
}

struct version { long epoch; char upstream[64], revision[64]; };

static struct version
split(const char *text)
{
	struct version v = { 0 };
	const char *colon = strchr(text, ':'), *dash;

	if (colon != NULL) {
		v.epoch = strtol(text, NULL, 10);
		text = colon + 1;
	}
	dash = strrchr(text, '-');
	snprintf(v.upstream, sizeof(v.upstream), "%.*s", dash == NULL ? 63 : (int)(dash - text), text);
	snprintf(v.revision, sizeof(v.revision), "%s", dash == NULL ? "" : dash + 1);
	return v;
}

int
libssh_compare(const char *a, const char *b)
{
	struct version x = split(a), y = split(b);
	int c = x.epoch != y.epoch ? (x.epoch < y.epoch ? -1 : 1) : compare_part(x.upstream, y.upstream);

	return c != 0 ? c : compare_part(x.revision, y.revision);
}

bool
libssh_is_known_bad(const char *package)
{
	return package != NULL && package[0] != '\0' && libssh_compare(package, first_good) < 0;
}

bool
libssh_is_known_good(const char *runtime, const char *package, char *why, size_t size)
{
	int len = runtime == NULL ? 0 : (int)strcspn(runtime, "/");
	struct version v = split(package == NULL ? "" : package);

	why[0] = '\0';
	if (v.upstream[0] == '\0' && runtime == NULL)
		snprintf(why, size, "there is no package libssh-4 here; whether the library has the fixes of October 2026 cannot be told");
	else if (v.upstream[0] == '\0')
		snprintf(why, size, "libssh %.*s comes from no package libssh-4; whether it has the fixes of October 2026 cannot be told", len, runtime);
	else if (runtime != NULL && (strncmp(runtime, v.upstream, (size_t)len) != 0 || v.upstream[len] != '\0'))
		snprintf(why, size, "libssh %.*s is not the package's (libssh-4 %s); whether it has the fixes of October 2026 cannot be told", len, runtime,
		         package);
	else if (libssh_compare(package, first_good) < 0)
		snprintf(why, size, "libssh-4 %s has known holes; upgrade to %s or later", package, first_good);
	else if (strstr(v.revision, line_fixed) == NULL)
		snprintf(why, size, "whether libssh-4 %s has the fixes of October 2026 cannot be told; only Debian 12's package is known here", package);
	return why[0] == '\0';
}
