#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/ask_admin.h"
#include "common/text.h"
#include "console/cli.h"

/*
 * outbox/ of a customer's SFTP area: files from the infra team. They are copied into the receiver's spool, so this runs
 * on the receiver's machine, as root or as the receiver's user. A file is there wholly or not at all.
 */

enum { COPY_PIECE = 1024 * 1024, NAME_BYTES = 255 };

/* Customers see it, and their clients make a file of it. */
static const char *
why_no_name(const char *name)
{
	if (name[0] == '\0' || name[0] == '.')
		return "a name in the outbox begins with no dot";
	if (strlen(name) > NAME_BYTES || !text_is_utf8(name, strlen(name)))
		return "a name in the outbox has at most 255 bytes of UTF-8";
	for (const char *s = name; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7F || *s == '/' || *s == '\\')
			return "a name in the outbox has no slash and no control characters";
	return NULL;
}

struct outbox {
	struct cli *c;
	const char *migration, *name;
	char *folder;
	int dir;
	struct stat owner; /* of the spool: everything in it is the receiver's */
};

static int
cannot(const struct outbox *o, const char *what)
{
	return cli_fail(o->c, errno == EACCES || errno == EPERM ? CLI_NOT_ALLOWED : CLI_FAILED,
	                "%s: %s (the outbox is in the receiver's spool: run this on its machine, as root or as its user)", what, strerror(errno));
}

/* root makes it as the receiver's own. */
static bool
give_away(const struct outbox *o, int fd)
{
	return geteuid() != 0 || fchown(fd, o->owner.st_uid, o->owner.st_gid) == 0;
}

static bool
make_folder(const struct outbox *o, const char *path)
{
	int fd;
	bool good;

	if (mkdir(path, 0750) != 0)
		return errno == EEXIST;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	good = fd >= 0 && give_away(o, fd);
	if (fd >= 0)
		close(fd);
	return good;
}

static int
open_folder(struct outbox *o)
{
	const char *spool = o->c->config->receiver.spool;
	char *area;

	if (spool == NULL)
		return cli_fail(o->c, CLI_FAILED, "the configuration has no receiver.spool: run this on the receiver's machine");
	area = talloc_asprintf(o->c->mem, "%s/areas/%s", spool, o->migration);
	o->folder = talloc_asprintf(o->c->mem, "%s/outbox", area);
	if (stat(spool, &o->owner) != 0)
		return cannot(o, spool);
	if (!make_folder(o, area) || !make_folder(o, o->folder) || (o->dir = open(o->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) < 0)
		return cannot(o, o->folder);
	return CLI_FINE;
}

/* -1: errno says why. */
static int64_t
copy(int from, int to)
{
	uint8_t *mem = malloc(COPY_PIECE);
	int64_t bytes = 0;
	ssize_t n = 0, put = 0;

	while (mem != NULL && (n = read(from, mem, COPY_PIECE)) > 0) {
		for (ssize_t at = 0; at < n; at += put)
			if ((put = write(to, mem + at, (size_t)(n - at))) <= 0)
				break;
		if (put <= 0)
			break;
		bytes += n;
	}
	free(mem);
	return n != 0 || mem == NULL ? -1 : bytes; /* anything but the end of the file */
}

static int
put_in(struct outbox *o, int from, bool replaces, int64_t *bytes)
{
	char *fresh = talloc_asprintf(o->c->mem, ".%d.new", getpid());
	int to, code = CLI_FINE;

	unlinkat(o->dir, fresh, 0); /* of one that was killed */
	to = openat(o->dir, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (to < 0)
		return cannot(o, o->folder);
	if (!give_away(o, to) || (*bytes = copy(from, to)) < 0 || fsync(to) != 0)
		code = cannot(o, o->name);
	else if (syscall(SYS_renameat2, o->dir, fresh, o->dir, o->name, replaces ? 0 : RENAME_NOREPLACE) != 0)
		code = errno == EEXIST ? cli_fail(o->c, CLI_CONFLICT, "%s is in the outbox already (--replace puts this one in its place)", o->name)
		                       : cannot(o, o->name);
	else if (fsync(o->dir) != 0)
		code = cannot(o, o->folder);
	close(to);
	if (code != CLI_FINE)
		unlinkat(o->dir, fresh, 0);
	return code;
}

/* Connects, finds the migration, opens its outbox. */
static int
begin(struct outbox *o)
{
	struct err err = { 0 };
	bool found;
	int code = cli_connect(o->c, CLI_OPERATOR);

	if (code != CLI_FINE)
		return code;
	if (!ask_migration_exists(o->c->db, o->migration, &found, &err))
		return cli_error(o->c, &err);
	if (!found)
		return cli_fail(o->c, CLI_NOT_FOUND, "there is no migration %s (migration list shows them)", o->migration);
	return open_folder(o);
}

static int
record(struct outbox *o, const char *text)
{
	struct err err = { 0 };

	return ask_event(o->c->db, o->migration, "outbox", text, &err) ? CLI_FINE : cli_error(o->c, &err);
}

int
cmd_outbox_add(struct cli *c)
{
	const char *words[2], *as = NULL, *why;
	bool replaces = false;
	const struct cli_option options[] = { { "--as", &as, NULL }, { "--replace", NULL, &replaces } };
	struct outbox o = { .c = c, .dir = -1 };
	struct stat st;
	int64_t bytes = 0;
	int from, code = cli_take(c, options, 2, words, 2, 2);

	if (code != CLI_FINE)
		return code;
	o.migration = words[0];
	o.name = as != NULL ? as : strrchr(words[1], '/') != NULL ? strrchr(words[1], '/') + 1 : words[1];
	if ((why = why_no_name(o.name)) != NULL)
		return cli_fail(c, CLI_USAGE, "%s: %s (--as NAME gives it another)", o.name, why);
	from = open(words[1], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (from < 0 || fstat(from, &st) != 0 || !S_ISREG(st.st_mode))
		return cli_fail(c, from < 0 ? CLI_NOT_FOUND : CLI_USAGE, "%s: %s", words[1], from < 0 ? strerror(errno) : "this is no plain file");
	if ((code = begin(&o)) == CLI_FINE && (code = put_in(&o, from, replaces, &bytes)) == CLI_FINE)
		code = record(&o, talloc_asprintf(c->mem, "%s was put into the outbox, %lld bytes", o.name, (long long)bytes));
	close(from);
	if (code != CLI_FINE)
		return code;
	if (c->json)
		cli_json(json_pack("{s:s,s:I}", "name", o.name, "bytes", (json_int_t)bytes));
	else
		printf("outbox/%s is there for the customer, %s\n", cli_text(c, o.name), text_size((uint64_t)bytes).s);
	return CLI_FINE;
}

int
cmd_outbox_list(struct cli *c)
{
	struct outbox o = { .c = c, .dir = -1 };
	json_t *list = json_array(), *f;
	struct dirent *d;
	size_t i;
	DIR *dir;
	int code = cli_take(c, NULL, 0, &o.migration, 1, 1);

	if (code == CLI_FINE)
		code = begin(&o);
	dir = code == CLI_FINE ? fdopendir(o.dir) : NULL;
	while (dir != NULL && (d = readdir(dir)) != NULL) {
		struct stat st;

		if (d->d_name[0] != '.' && fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			json_array_append_new(list, json_pack("{s:s,s:I}", "name", text_escaped(c->mem, d->d_name), "bytes", (json_int_t)st.st_size));
	}
	if (dir != NULL)
		closedir(dir);
	if (code == CLI_FINE && c->json)
		cli_json(json_incref(list));
	else
		json_array_foreach(list, i, f)
			printf("%10s  %s\n", text_size((uint64_t)json_integer_value(json_object_get(f, "bytes"))).s, cli_get(c, f, "name"));
	json_decref(list);
	return code;
}

int
cmd_outbox_remove(struct cli *c)
{
	const char *words[2];
	struct outbox o = { .c = c, .dir = -1 };
	int code = cli_take(c, NULL, 0, words, 2, 2);

	if (code != CLI_FINE)
		return code;
	o.migration = words[0];
	o.name = words[1];
	if (why_no_name(o.name) != NULL)
		return cli_fail(c, CLI_NOT_FOUND, "there is no %s in the outbox", o.name);
	if ((code = begin(&o)) != CLI_FINE)
		return code;
	if (unlinkat(o.dir, o.name, 0) != 0)
		return errno == ENOENT ? cli_fail(c, CLI_NOT_FOUND, "there is no %s in the outbox (outbox list shows them)", o.name) : cannot(&o, o.name);
	fsync(o.dir);
	code = record(&o, talloc_asprintf(c->mem, "%s was taken out of the outbox", o.name));
	if (code == CLI_FINE && c->json)
		cli_json(json_pack("{s:s}", "removed", o.name));
	else if (code == CLI_FINE)
		printf("outbox/%s is gone\n", cli_text(c, o.name));
	return code;
}
