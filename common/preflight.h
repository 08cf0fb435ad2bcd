/*
 * Preflight: what one replica says of itself and what the backups say of themselves, judged before anything is restored.
 *
 * Pure: facts to findings. Each finding has a stable word, how bad it is, who must act, and a sentence: what, where, what
 * next. Whatever could not be asked is unknown and gives at most a warning that says so: nothing is taken for good or bad
 * without an answer. The actor that asks is restore/preflight; what RESTORE itself would say to each case is in the comments.
 */
#ifndef LANDFALL_PREFLIGHT_H
#define LANDFALL_PREFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

enum preflight_severity { PREFLIGHT_INFO, PREFLIGHT_WARNS, PREFLIGHT_BLOCKS };
const char *preflight_word(enum preflight_severity severity); /* info, warns, blocks */

struct preflight_finding {
	const char *id;
	enum preflight_severity severity;
	const char *who; /* customer, operator */
	const char *text;
};

enum preflight_answer { PREFLIGHT_UNKNOWN, PREFLIGHT_NO, PREFLIGHT_YES };

struct preflight_volume { const char *mount; uint64_t free_bytes; };
struct preflight_folder { const char *path; enum preflight_answer exists; };
struct preflight_owned { const char *path, *owner; }; /* a file of another database */

struct preflight_server {
	const char *replica;
	const char *away;         /* why it could not be asked at all, or NULL */
	int database_version;     /* of its own master; 0: unknown */
	int engine_edition;       /* 4: Express; 0: unknown */
	const char *product, *edition, *collation; /* NULL: unknown */
	enum preflight_answer may_restore, sees_requests, sees_history, filestream, memory_optimised;
	bool certificates_known; /* all there are; else some may be hidden */
	const char *const *certificates; /* thumbprints, 0x… in upper case */
	size_t n_certificates;
	const struct preflight_volume *volumes;
	size_t n_volumes;
	struct preflight_folder data, log;
	/* The name on this replica. ours: by our record or by the server's history it holds a set of this migration. */
	bool exists, is_ours;
	const char *state, *group; /* group: the availability group that has the name, or NULL */
	const struct preflight_owned *owned; /* those of our paths that another database uses */
	size_t n_owned;
};

struct preflight_backup {
	const char *file;
	bool provisional;         /* still being received: the values at the head of the file */
	int database_version, compat_level;
	bool simple, encrypted, tde, other_files; /* other_files: FILESTREAM or memory-optimised */
	const char *thumbprint;   /* NULL: not in a place that the reader knows */
	const char *collation;
	int stripes;
	bool was_read;            /* the target read its header and file list */
	int refused;              /* number of the message with which the target refused to; 0: it did not */
	const char *said;
};

/* One file of the database as it will be made; path is generated. */
struct preflight_file { char type; uint64_t bytes; const char *path; };

struct preflight_facts {
	const char *database;     /* its name on the target */
	bool allow_encrypted;     /* the migration's policy */
	struct preflight_server server;
	const struct preflight_backup *backups;
	size_t n_backups;
	const struct preflight_file *files; /* the largest size that any backup gives */
	size_t n_files;
};

/* Worst first. Owned by parent; texts may point into facts. */
struct preflight_finding *preflight_judge(TALLOC_CTX *parent, const struct preflight_facts *facts, size_t *n);

/* The volume that a path lies on: the longest mount point that holds it, whatever its separators. -1: none of them. */
int preflight_volume_of(const char *path, const struct preflight_volume *volumes, size_t n);

#endif
