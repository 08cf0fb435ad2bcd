#include "common/package.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Paragraphs of fields, that of the package first. */
void
package_version(const char *name, char *version, size_t size)
{
	FILE *f = fopen("/var/lib/dpkg/status", "re");
	char line[512];
	bool is_it = false, is_there = false;

	version[0] = '\0';
	while (f != NULL && version[0] == '\0' && fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "Package: ", 9) == 0)
			is_it = strcmp(line + 9, name) == 0;
		else if (strncmp(line, "Status: ", 8) == 0)
			is_there = strcmp(line + 8, "install ok installed") == 0;
		else if (is_it && is_there && strncmp(line, "Version: ", 9) == 0)
			snprintf(version, size, "%s", line + 9);
	}
	if (f != NULL)
		fclose(f);
}
