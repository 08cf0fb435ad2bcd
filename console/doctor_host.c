#include "console/doctor.h"

#include <errno.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <dirent.h>

#include "common/kernel.h"
#include "common/libssh_age.h"
#include "common/package.h"

/* ---- files ------------------------------------------------------------------------------------------------------- */

void
doctor_configuration(struct doctor *d)
{
	struct stat st;

	if (d->config == NULL)
		doctor_say(d, "", DOCTOR_FAIL, "the sentence names file, line and key; deploy/landfall.example.yaml has every key", "%s", d->config_err.text);
	else if (stat(d->config_path, &st) == 0 && (st.st_mode & 022) != 0)
		doctor_say(d, "", DOCTOR_FAIL, "chmod go-w it: whoever changes it decides where backups and passwords go", "%s may be changed by others (mode %04o)",
		           d->config_path, st.st_mode & 07777);
	else
		doctor_say(d, "", DOCTOR_OK, NULL, "%s", d->config_path);
}

/* Who may change a folder may put another file in its place. */
static bool
is_folder_safe(struct doctor *d, const char *path)
{
	char *copy = talloc_strdup(d->mem, path);
	struct stat st;

	return stat(dirname(copy), &st) != 0 || (st.st_mode & 022) == 0 || (st.st_mode & S_ISVTX) != 0;
}

static void
look_at_secret(struct doctor *d, const char *path)
{
	struct passwd *owner;
	struct stat st;

	if (stat(path, &st) != 0 && errno == EACCES)
		doctor_say(d, path, DOCTOR_WARN, "ask as root, or as the user of the program that reads it", "not checked: its folder is closed to you");
	else if (access(path, F_OK) != 0)
		doctor_say(d, path, DOCTOR_FAIL, "put it there, readable by its program's user alone", "%s", strerror(errno));
	else if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
		doctor_say(d, path, DOCTOR_FAIL, "chmod 600 it; the programs refuse one that others may read", "mode %04o", st.st_mode & 07777);
	else if ((owner = getpwuid(st.st_uid)) == NULL)
		doctor_say(d, path, DOCTOR_FAIL, "chown it to the user of the program that reads it", "it belongs to user number %u, who is nobody here", st.st_uid);
	else if (!is_folder_safe(d, path))
		doctor_say(d, path, DOCTOR_FAIL, "chmod go-w its folder", "others may put another file in its place");
	else if (st.st_size == 0)
		doctor_say(d, path, DOCTOR_FAIL, "write the password into it", "it is empty");
	else
		doctor_say(d, path, DOCTOR_OK, NULL, "mode %04o, of %s", st.st_mode & 07777, owner->pw_name);
}

void
doctor_secrets(struct doctor *d)
{
	const struct config *c = d->config;
	const struct config_postgres *p = &c->postgres;
	const char *files[] = { p->owner.password_file, p->operator_.password_file, p->receiver.password_file, p->restore.password_file,
		p->verify.password_file, p->console.password_file, c->console.mail.password_file };

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (files[i] != NULL)
			look_at_secret(d, files[i]);
	for (unsigned i = 0; i < c->n_clusters; i++) {
		look_at_secret(d, c->clusters[i].password_file);
		look_at_secret(d, c->clusters[i].verify_password_file);
	}
}

/* ---- what sessions are locked up with --------------------------------------------------------------------------------- */

void
doctor_kernel(struct doctor *d)
{
	int abi = kernel_landlock();

	if (abi > 0)
		doctor_say(d, "Landlock", DOCTOR_OK, NULL, "ABI %d", abi);
	else
		doctor_say(d, "Landlock", DOCTOR_WARN, "Linux 5.13 or later with lsm=…,landlock; until then seccomp alone keeps sessions from opening files", "absent");
	if (kernel_has_seccomp())
		doctor_say(d, "seccomp", DOCTOR_OK, NULL, "there");
	else
		doctor_say(d, "seccomp", DOCTOR_FAIL, "a kernel with CONFIG_SECCOMP_FILTER; the receiver does not start without it", "absent");
}

void
doctor_libssh(struct doctor *d)
{
	char version[100], why[200];

	package_version("libssh-4", version, sizeof(version));
	if (libssh_is_known_good(NULL, version, why, sizeof(why)))
		doctor_say(d, "", DOCTOR_OK, NULL, "libssh-4 %s", version);
	else
		doctor_say(d, "", libssh_is_known_bad(version) ? DOCTOR_FAIL : DOCTOR_WARN, "apt-get install libssh-4 from bookworm-security, then restart the receiver", "%s", why);
}

/* ---- descriptors ---------------------------------------------------------------------------------------------------------- */

static bool
is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Is the process a warden with our configuration? Its sessions and its spawner have other arguments. */
static bool
is_our_receiver(struct doctor *d, const char *pid)
{
	char *path = talloc_asprintf(d->mem, "/proc/%s/cmdline", pid), args[4096] = "";
	FILE *f = fopen(path, "re");
	size_t n = f == NULL ? 0 : fread(args, 1, sizeof(args) - 1, f);
	const char *config = NULL, *name = strrchr(args, '/') == NULL ? args : strrchr(args, '/') + 1;

	if (f != NULL)
		fclose(f);
	if (n == 0 || strcmp(name, "landfall-receiver") != 0)
		return false;
	for (const char *a = args; a < args + n; a += strlen(a) + 1)
		if ((strcmp(a, "--config") == 0 || strcmp(a, "-c") == 0) && a + strlen(a) + 1 < args + n)
			config = a + strlen(a) + 1;
		else if (strncmp(a, "--config=", 9) == 0)
			config = a + 9;
	return config != NULL && is_same_file(config, d->config_path);
}

static long
hard_limit_of(struct doctor *d, const char *pid)
{
	FILE *f = fopen(talloc_asprintf(d->mem, "/proc/%s/limits", pid), "re");
	char line[200], hard[40];
	long limit = -1;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Max open files %*s %39s", hard) == 1)
			limit = strcmp(hard, "unlimited") == 0 ? 1000000000 : atol(hard);
	if (f != NULL)
		fclose(f);
	return limit;
}

/* Two per session, for a moment four; files that arrive; its own. It raises its soft limit to the hard one itself. */
static long
needed(const struct doctor *d)
{
	return 4L * d->config->receiver.max_sessions + 200;
}

void
doctor_open_files(struct doctor *d)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	long limit = -1;

	while (proc != NULL && limit < 0 && (e = readdir(proc)) != NULL)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && is_our_receiver(d, e->d_name))
			limit = hard_limit_of(d, e->d_name);
	if (proc != NULL)
		closedir(proc);
	if (limit < 0)
		doctor_say(d, "", DOCTOR_WARN, "ask on the receiver's machine, while it runs", "not checked: no receiver with this configuration runs here, or it cannot be seen");
	else if (limit < needed(d))
		doctor_say(d, "", DOCTOR_FAIL, "LimitNOFILE= in its unit, or fewer receiver.max_sessions", "%ld, but %d sessions need %ld", limit,
		           d->config->receiver.max_sessions, needed(d));
	else
		doctor_say(d, "", DOCTOR_OK, NULL, "%ld, %ld are needed", limit, needed(d));
}
