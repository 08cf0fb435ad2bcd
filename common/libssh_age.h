/*
 * Is the libssh that runs here known to have the fixes that it must have? Pure.
 *
 * What can be told: ssh_version() gives the upstream version only, and Debian fixes without changing that. The
 * package's version is in dpkg's status file. Debian 12's libssh-4 has the fixes of October 2026 since
 * 0.10.6-0+deb12u3 (Debian's changelog: CVE-2026-59843, -59844, -59847, -59850, of which -59847 lets changed
 * AES-GCM packets through). Of other distributions and of own builds nothing is known here, and that is said;
 * nor is it seen that a library was replaced without its package.
 */
#ifndef LANDFALL_LIBSSH_AGE_H
#define LANDFALL_LIBSSH_AGE_H

#include <stdbool.h>
#include <stddef.h>

/* Below 0, 0, above 0, as dpkg compares versions. */
int libssh_compare(const char *a, const char *b);

/* The package's version is older than the first that has the fixes. */
bool libssh_is_known_bad(const char *package);

/*
 * runtime: ssh_version()'s, "0.10.6/openssl/zlib", or NULL where the library itself is not at hand. package: the version of libssh-4, NULL or "" when there is none.
 * False: why is a sentence for the log.
 */
bool libssh_is_known_good(const char *runtime, const char *package, char *why, size_t size);

#endif
