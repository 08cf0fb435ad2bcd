#include "common/preflight.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "common/bak.h"
#include "common/text.h"

enum {
	STRIPES_MAX = 64,     /* devices in one RESTORE */
	EXPRESS = 4,          /* SERVERPROPERTY('EngineEdition') */
	COMPAT_LEAST = 100,   /* what servers since 2014 raise an older level to */
};
#define EXPRESS_BYTES (UINT64_C(10) << 30) /* data of one database under Express Edition */

#define CUSTOMER "customer"
#define OPERATOR "operator"

struct judging {
	const struct preflight_facts *facts;
	const struct preflight_server *server;
	struct preflight_finding *list;
	size_t n;
	TALLOC_CTX *mem;
};

static void
find(struct judging *j, const char *id, enum preflight_severity severity, const char *who, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void
find(struct judging *j, const char *id, enum preflight_severity severity, const char *who, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = talloc_vasprintf(j->mem, fmt, ap);
	va_end(ap);
	j->list = talloc_realloc(j->mem, j->list, struct preflight_finding, j->n + 1);
	j->list[j->n++] = (struct preflight_finding){ id, severity, who, text };
}

const char *
preflight_word(enum preflight_severity severity)
{
	return severity == PREFLIGHT_BLOCKS ? "blocks" : severity == PREFLIGHT_WARNS ? "warns" : "info";
}

/* ---- the server ----------------------------------------------------------------------------------------- */

/* 262, 3110. */
static void
rights(struct judging *j)
{
	const struct preflight_server *s = j->server;

	if (s->may_restore == PREFLIGHT_NO)
		find(j, "right-missing", PREFLIGHT_BLOCKS, OPERATOR, "our log-in may not restore on %s: make it a member of dbcreator, or grant it CREATE ANY "
		     "DATABASE", s->replica);
	if (s->sees_requests == PREFLIGHT_NO)
		find(j, "requests-unseen", PREFLIGHT_BLOCKS, OPERATOR, "our log-in does not see what others run on %s, so it cannot know whether a restore "
		     "that was cut off still goes on: grant it VIEW SERVER STATE", s->replica);
	if (s->sees_history == PREFLIGHT_NO)
		find(j, "history-unseen", PREFLIGHT_BLOCKS, OPERATOR, "our log-in may not read msdb.dbo.restorehistory on %s, so it cannot know what was "
		     "restored: grant it SELECT there and on msdb.dbo.backupset", s->replica);
	if (s->may_restore == PREFLIGHT_UNKNOWN || s->sees_requests == PREFLIGHT_UNKNOWN || s->sees_history == PREFLIGHT_UNKNOWN)
		find(j, "rights-unknown", PREFLIGHT_WARNS, OPERATOR, "%s does not say which rights our log-in has: look whether it may create databases, view "
		     "the server's state, and read msdb.dbo.restorehistory", s->replica);
}

/* 3154, 3159: never overwritten. 3104, 3059: in a group. */
static void
name(struct judging *j)
{
	const struct preflight_server *s = j->server;

	if (s->group != NULL)
		find(j, "name-in-group", PREFLIGHT_BLOCKS, OPERATOR, "%s is in availability group %s on %s and cannot be restored over: take it out of the "
		     "group, or find out whose it is", j->facts->database, s->group, s->replica);
	if (s->exists && !s->is_ours)
		find(j, "name-in-use", PREFLIGHT_BLOCKS, OPERATOR, "there is a database %s (%s) on %s that holds no backup of this migration: find out whose "
		     "it is and rename or drop it; it will not be overwritten", j->facts->database, s->state == NULL ? "state unknown" : s->state, s->replica);
}

/* 5133 with 3156. */
static void
folder(struct judging *j, const struct preflight_folder *f, const char *what)
{
	if (f->exists == PREFLIGHT_NO)
		find(j, "folder-missing", PREFLIGHT_BLOCKS, OPERATOR, "the folder for %s, %s, is not there on %s, or the SQL Server service may not see it: make "
		     "it and give the service account its rights, or correct the cluster's configuration", what, f->path, j->server->replica);
	else if (f->exists == PREFLIGHT_UNKNOWN && f->path != NULL)
		find(j, "folder-unknown", PREFLIGHT_WARNS, OPERATOR, "%s does not say whether the folder for %s, %s, is there: look", j->server->replica, what,
		     f->path);
}

static void
folders(struct judging *j)
{
	bool same = j->server->log.path == NULL || (j->server->data.path != NULL && strcmp(j->server->data.path, j->server->log.path) == 0);

	folder(j, &j->server->data, same ? "database files" : "data files");
	if (!same)
		folder(j, &j->server->log, "log files");
}

/* 1834 with 3156. */
static void
paths(struct judging *j)
{
	for (size_t i = 0; i < j->server->n_owned; i++)
		find(j, "path-in-use", PREFLIGHT_BLOCKS, OPERATOR, "the file %s on %s belongs to database %s: that database stands in the way of %s",
		     j->server->owned[i].path, j->server->replica, j->server->owned[i].owner, j->facts->database);
}

/* ---- space ------------------------------------------------------------------------------------------------ */

static bool
is_separator(char c)
{
	return c == '/' || c == '\\';
}

/* Length of the mount point without its last separator when it holds the path, else 0 with *holds false. */
static size_t
held_by(const char *path, const char *mount, bool *holds)
{
	size_t n = strlen(mount);
	bool is_windows = strchr(path, '\\') != NULL;

	while (n > 0 && is_separator(mount[n - 1]))
		n--;
	*holds = (is_windows ? strncasecmp(path, mount, n) : strncmp(path, mount, n)) == 0 && (path[n] == '\0' || is_separator(path[n])) && mount[0] != '\0';
	return *holds ? n : 0;
}

int
preflight_volume_of(const char *path, const struct preflight_volume *volumes, size_t n)
{
	int best = -1;
	size_t longest = 0;

	for (size_t i = 0; i < n; i++) {
		bool holds;
		size_t len = held_by(path, volumes[i].mount, &holds);

		if (holds && (best < 0 || len > longest)) {
			best = (int)i;
			longest = len;
		}
	}
	return best;
}

static void
space_on(struct judging *j, size_t volume)
{
	const struct preflight_volume *v = &j->server->volumes[volume];
	const struct preflight_facts *f = j->facts;
	uint64_t data = 0, log = 0, need;

	for (size_t i = 0; i < f->n_files; i++)
		if (preflight_volume_of(f->files[i].path, j->server->volumes, j->server->n_volumes) == (int)volume)
			*(f->files[i].type == 'L' ? &log : &data) += f->files[i].bytes;
	need = data + log;
	/* RESTORE makes every file at its full size; the log's is filled with zeroes as well. */
	if (need > v->free_bytes)
		find(j, "no-space", PREFLIGHT_BLOCKS, OPERATOR, "%s needs %s on volume %s (data %s, log %s) and %s are free: free %s there, or enlarge it",
		     j->server->replica, text_size(need).s, v->mount, text_size(data).s, text_size(log).s, text_size(v->free_bytes).s,
		     text_size(need - v->free_bytes).s);
	else if (need > 0 && v->free_bytes - need < need / 10)
		find(j, "space-tight", PREFLIGHT_WARNS, OPERATOR, "%s needs %s on volume %s and %s are free: less than a tenth of the database is left for its "
		     "growth", j->server->replica, text_size(need).s, v->mount, text_size(v->free_bytes).s);
}

/* 3257. What is ours already has its space. */
static void
space(struct judging *j)
{
	const struct preflight_server *s = j->server;
	const char *where = NULL;

	if (s->exists && s->is_ours)
		return;
	for (size_t i = 0; i < s->n_volumes; i++)
		space_on(j, i);
	for (size_t i = 0; i < j->facts->n_files && where == NULL; i++)
		if (j->facts->files[i].bytes > 0 && preflight_volume_of(j->facts->files[i].path, s->volumes, s->n_volumes) < 0)
			where = j->facts->files[i].path;
	if (where != NULL)
		find(j, "space-unknown", PREFLIGHT_WARNS, OPERATOR, "%s does not say how much space is free where %s will be: look by hand", s->replica, where);
}

/* ---- the backups -------------------------------------------------------------------------------------------- */

static const char *
still(const struct preflight_backup *b)
{
	return b->provisional ? " (still being received)" : "";
}

/* 3169. */
static void
version(struct judging *j, const struct preflight_backup *b)
{
	const struct preflight_server *s = j->server;

	if (s->database_version > 0 && b->database_version > s->database_version)
		find(j, "version-too-new", PREFLIGHT_BLOCKS, CUSTOMER, "%s%s comes from a newer SQL Server than %s (internal version %d, %s restores up to %d%s%s): "
		     "it can only go to a newer cluster, or be taken on an older server", b->file, still(b), s->replica, b->database_version, s->replica,
		     s->database_version, s->product == NULL ? "" : ", product ", s->product == NULL ? "" : s->product);
}

static bool
has_certificate(const struct preflight_server *s, const char *thumbprint)
{
	for (size_t i = 0; i < s->n_certificates; i++)
		if (strcasecmp(s->certificates[i], thumbprint) == 0)
			return true;
	return false;
}

/* 33111. Who acts depends on the policy: a cluster that allows encryption has to hold the certificate. */
static void
certificate(struct judging *j, const struct preflight_backup *b)
{
	const struct preflight_server *s = j->server;
	const char *what = b->tde ? "the database is encrypted (TDE)" : "it was taken with backup encryption";
	const char *who = j->facts->allow_encrypted ? OPERATOR : CUSTOMER;
	const char *next = j->facts->allow_encrypted ? "restore the certificate with its private key into master there"
	                                             : "send a backup that is not encrypted, or agree with the operator on handing over the certificate";

	if ((!b->encrypted && !b->tde) || b->refused != 0 || b->was_read || (b->thumbprint != NULL && has_certificate(s, b->thumbprint)))
		return;
	if (b->thumbprint == NULL)
		find(j, "certificate-unknown", PREFLIGHT_WARNS, who, "%s%s: %s, and which certificate it needs is not known before the server reads it: %s", b->file,
		     still(b), what, next);
	else if (!s->certificates_known)
		find(j, "certificate-unknown", PREFLIGHT_WARNS, who, "%s%s: %s with certificate %s, and %s does not say which it holds: %s", b->file, still(b), what,
		     b->thumbprint, s->replica, next);
	else
		find(j, "certificate-missing", PREFLIGHT_BLOCKS, who, "%s%s: %s, and %s does not hold certificate %s: %s", b->file, still(b), what, s->replica,
		     b->thumbprint, next);
}

static void
recovery_model(struct judging *j, const struct preflight_backup *b)
{
	if (b->simple)
		find(j, "simple-recovery", PREFLIGHT_WARNS, CUSTOMER, "%s%s is of a database in recovery model SIMPLE: there can be no log backups, so the cutover "
		     "needs a differential; switch to FULL and take a new full to have it short", b->file, still(b));
}

/* The reader does not tell the two apart, so either must be missing for certain before it blocks. */
static void
features(struct judging *j, const struct preflight_backup *b)
{
	const struct preflight_server *s = j->server;

	if (!b->other_files)
		return;
	if (s->filestream == PREFLIGHT_NO && s->memory_optimised == PREFLIGHT_NO)
		find(j, "feature-missing", PREFLIGHT_BLOCKS, OPERATOR, "%s%s holds FILESTREAM or memory-optimised data, and %s has neither: switch FILESTREAM on, or "
		     "use an edition with memory-optimised tables", b->file, still(b), s->replica);
	else if (s->filestream != PREFLIGHT_YES || s->memory_optimised != PREFLIGHT_YES)
		find(j, "feature-unsure", PREFLIGHT_WARNS, OPERATOR, "%s%s holds FILESTREAM or memory-optimised data; on %s FILESTREAM is %s and memory-optimised "
		     "tables are %s: ask the customer which it is", b->file, still(b), s->replica,
		     s->filestream == PREFLIGHT_YES ? "on" : s->filestream == PREFLIGHT_NO ? "off" : "unknown",
		     s->memory_optimised == PREFLIGHT_YES ? "possible" : s->memory_optimised == PREFLIGHT_NO ? "not possible" : "unknown");
}

static void
collation(struct judging *j, const struct preflight_backup *b)
{
	if (b->collation != NULL && j->server->collation != NULL && strcasecmp(b->collation, j->server->collation) != 0)
		find(j, "collation-differs", PREFLIGHT_WARNS, OPERATOR, "%s%s has collation %s and %s has %s: comparisons with temporary tables may fail in the "
		     "application", b->file, still(b), b->collation, j->server->replica, j->server->collation);
}

static void
compatibility(struct judging *j, const struct preflight_backup *b)
{
	if (b->compat_level > 0 && b->compat_level < COMPAT_LEAST)
		find(j, "compat-raised", PREFLIGHT_INFO, OPERATOR, "%s%s has compatibility level %d, which the server raises to at least %d when it comes up", b->file,
		     still(b), b->compat_level, COMPAT_LEAST);
}

static void
stripes(struct judging *j, const struct preflight_backup *b)
{
	if (b->stripes > STRIPES_MAX)
		find(j, "too-many-stripes", PREFLIGHT_BLOCKS, CUSTOMER, "%s%s is one of %d stripes, and one RESTORE reads at most %d: take the backup again in fewer "
		     "files", b->file, still(b), b->stripes, STRIPES_MAX);
}

/* What the server said when it was to read the header: the remedies of restore/run, in a finding's words. */
static const struct { int number; const char *id, *who, *next; } refusals[] = {
	{ 262, "right-missing", OPERATOR, "our log-in needs CREATE DATABASE to read a header" },
	{ 3110, "right-missing", OPERATOR, "our log-in needs CREATE DATABASE to read a header" },
	{ 3132, "header-refused", CUSTOMER, "send the other stripes of this backup" },
	{ 3169, "version-too-new", CUSTOMER, "it can only go to a newer cluster, or be taken on an older server" },
	{ 3201, "file-unreadable", OPERATOR, "let the SQL Server service read the vault, or correct backup_path in the configuration" },
	{ 3203, "file-unreadable", OPERATOR, "look at the share between the vault and the SQL Server" },
	{ 3241, "header-refused", CUSTOMER, "the server takes it for no backup of a kind it knows: take it again with BACKUP, and send it in binary" },
	{ 3242, "header-refused", CUSTOMER, "the server takes it for no backup: take it again with BACKUP, and send it in binary" },
	{ 3243, "header-refused", CUSTOMER, "its format is newer than the server: it can only go to a newer cluster" },
	{ 3254, "header-refused", CUSTOMER, "the server sees an empty file: send it again" },
	{ 3256, "header-refused", CUSTOMER, "the backup was broken off while it was taken: take it again" },
	{ 3279, "header-refused", CUSTOMER, "it has a media password: take it again without one" },
	{ 3287, "header-refused", CUSTOMER, "the server does not find the set in the file: send it again" },
	{ 33111, "certificate-missing", CUSTOMER, "send a backup that is not encrypted, or agree with the operator on handing over the certificate" },
};

static void
refused(struct judging *j, const struct preflight_backup *b)
{
	const char *id = "header-refused", *who = OPERATOR, *next = "see the message; it is asked again by itself";

	if (b->refused == 0)
		return;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		if (refusals[i].number == b->refused) {
			id = refusals[i].id;
			who = refusals[i].who;
			next = refusals[i].next;
		}
	if (b->refused == 33111 && j->facts->allow_encrypted) {
		who = OPERATOR;
		next = "restore that certificate with its private key into master there";
	}
	find(j, id, PREFLIGHT_BLOCKS, who, "the target cannot read %s: message %d, %s; %s", b->file, b->refused, b->said == NULL ? "no words" : b->said, next);
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static void
edition(struct judging *j)
{
	uint64_t data = 0;

	for (size_t i = 0; i < j->facts->n_files; i++)
		data += j->facts->files[i].type == 'L' ? 0 : j->facts->files[i].bytes;
	if (j->server->engine_edition == EXPRESS && data > EXPRESS_BYTES)
		find(j, "edition-limit", PREFLIGHT_BLOCKS, OPERATOR, "%s is %s, which holds databases of at most 10 GiB, and this one has %s of data",
		     j->server->replica, j->server->edition == NULL ? "Express Edition" : j->server->edition, text_size(data).s);
}

static void
known_version(struct judging *j)
{
	if (j->server->database_version == 0)
		find(j, "version-unknown", PREFLIGHT_WARNS, OPERATOR, "%s does not say which database version it restores", j->server->replica);
}

static void (*const of_server[])(struct judging *j) = { known_version, rights, name, folders, paths, space, edition };
static void (*const of_backup[])(struct judging *j, const struct preflight_backup *b) = {
	refused, version, certificate, recovery_model, features, collation, compatibility, stripes,
};

/* The same word with the same sentence but for the file's name would fill the list: the first backup of each word speaks. */
static void
drop_repeated(struct judging *j, size_t from)
{
	size_t n = from;

	for (size_t i = from; i < j->n; i++) {
		bool said = false;

		for (size_t k = from; k < n; k++)
			said = said || strcmp(j->list[k].id, j->list[i].id) == 0;
		if (!said)
			j->list[n++] = j->list[i];
	}
	j->n = n;
}

/* Stable: equal ones stay in the order of the rules. */
static void
worst_first(struct judging *j)
{
	for (size_t i = 1; i < j->n; i++)
		for (size_t k = i; k > 0 && j->list[k].severity > j->list[k - 1].severity; k--) {
			struct preflight_finding f = j->list[k];

			j->list[k] = j->list[k - 1];
			j->list[k - 1] = f;
		}
}

struct preflight_finding *
preflight_judge(TALLOC_CTX *parent, const struct preflight_facts *facts, size_t *n)
{
	struct judging j = { .facts = facts, .server = &facts->server, .mem = parent };
	size_t from;

	if (facts->server.away != NULL)
		find(&j, "replica-away", PREFLIGHT_WARNS, OPERATOR, "%s could not be asked: %s", facts->server.replica, facts->server.away);
	for (size_t i = 0; facts->server.away == NULL && i < sizeof(of_server) / sizeof(of_server[0]); i++)
		of_server[i](&j);
	from = j.n;
	for (size_t b = 0; facts->server.away == NULL && b < facts->n_backups; b++)
		for (size_t i = 0; i < sizeof(of_backup) / sizeof(of_backup[0]); i++)
			of_backup[i](&j, &facts->backups[b]);
	drop_repeated(&j, from);
	worst_first(&j);
	*n = j.n;
	return j.list;
}
