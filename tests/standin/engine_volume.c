#include "tests/standin/engine_parts.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/*
 * What the server tells of the machine and of master that a restore asks before it begins: volumes and certificates.
 */

/* Cuts the last part off; false when there is none left. */
static bool
go_up(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash == NULL || strcmp(path, "/") == 0)
		return false;
	slash[slash == path ? 1 : 0] = '\0';
	return true;
}

/* A mount point is the last folder on the way up that is on the same device. */
static void
find_mount(char *mount, dev_t device)
{
	char above[1024];
	struct stat st;

	for (;;) {
		snprintf(above, sizeof(above), "%s", mount);
		if (!go_up(above) || stat(above, &st) != 0 || st.st_dev != device)
			return;
		strcpy(mount, above);
	}
}

bool
engine_volume_of(struct engine *e, const char *path, struct engine_volume *v)
{
	long free_kb = knob(e, KNOB_FREE_KB);
	struct statvfs fs;
	struct stat st;

	if (path[0] != '/' || snprintf(v->mount, sizeof(v->mount), "%s", path) >= (int)sizeof(v->mount))
		return false;
	while (stat(v->mount, &st) != 0)
		if (!go_up(v->mount))
			return false;
	if (statvfs(v->mount, &fs) != 0)
		return false;
	find_mount(v->mount, st.st_dev);
	v->total = (int64_t)(fs.f_blocks * fs.f_frsize);
	v->available = free_kb >= 0 ? (int64_t)free_kb * 1024 : (int64_t)(fs.f_bavail * fs.f_frsize);
	return true;
}

bool
engine_certificate(struct engine *e, const char *thumbprint)
{
	const char *hex = strncmp(thumbprint, "0x", 2) == 0 ? thumbprint + 2 : thumbprint;
	size_t n = strlen(hex);
	char sql[160];
	bool good;

	if (n == 0 || n > 64 || n % 2 != 0 || strspn(hex, "0123456789abcdefABCDEF") != n)
		return false;
	snprintf(sql, sizeof(sql), "INSERT OR IGNORE INTO certificate VALUES(x'%s')", hex);
	pthread_mutex_lock(&e->lock);
	good = run_sql(e->meta, sql);
	pthread_mutex_unlock(&e->lock);
	return good;
}
