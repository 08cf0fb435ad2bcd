/*
 * Which version of a Debian package is installed, from dpkg's own list (/var/lib/dpkg/status).
 */
#ifndef LANDFALL_PACKAGE_H
#define LANDFALL_PACKAGE_H

#include <stddef.h>

/* version is "" when it is not installed, or there is no such list. */
void package_version(const char *name, char *version, size_t size);

#endif
