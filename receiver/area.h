/*
 * What customers see and what lies behind it: folders and files of each migration, in memory.
 *
 * Names never reach the file system: on disk an upload is its key, in staging/ while it is written and in
 * vault/ once it has arrived. The journal's records rebuild all of this at start-up. No I/O in here.
 */
#ifndef LANDFALL_AREA_H
#define LANDFALL_AREA_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <talloc.h>

enum file_state { FILE_RECEIVING, FILE_PARTIAL, FILE_WHOLE_NOT_NAMED, FILE_ARRIVED, FILE_REFUSED, FILE_OTHER, FILE_GONE };

struct file {
	struct file *next;
	struct area *area;
	uint64_t number;          /* for sessions; never used twice in one life of the process */
	char key[40];             /* uuid: its name on disk and in Postgres */
	char *path;               /* as the customer sees it */
	enum file_state state;
	bool is_backup, is_manifest, shown;
	uint64_t expected;        /* while it is received: what its header lets expect, or 0 */
	bool whole;               /* the reader said whole, whatever the name */
	int64_t moved_at;         /* while it is received: when bytes last came, by the steady clock; not kept */
	uint64_t bytes;           /* a partial's bytes without a hole */
	char sha256[65];
	char *reason;
	json_t *findings;         /* words, or NULL */
	int version;
	int64_t mtime, arrived_at;
	char replaces[40];        /* key of the file that had the name before, or "" */
	bool superseded;          /* replay: another one said so, it itself did not yet */
	bool was_open;            /* when the program was ended before */
	unsigned writer;          /* session that holds a writing descriptor; 0 none */
	bool settling;            /* its arrival is being made durable, or it is being read again */
	/* No backup: closed properly, and other when nothing more comes until then (seconds; 0: not counting). */
	bool is_other;
	int64_t settles_at;
	unsigned closed_by;       /* session that closed it; not kept */
	char promised[65];        /* a sidecar's digest, or "" */
	char md5[33];             /* only known when a sidecar asked for it */
	bool wants_md5;
	bool is_disputed;         /* a sidecar says something else */
};

struct area {
	struct area *next;
	char *migration;
	struct file *files;
	char **folders;
	size_t n_folders;
	int64_t spent;            /* of the warden's loop, by its sessions' requests and not yet allowed for: nanoseconds */
};

struct areas { struct area *first; uint64_t last_number; };

struct area *area_of(struct areas *areas, const char *migration); /* made when it is not there */

/* The newest shown file of that name. */
struct file *area_find(struct area *area, const char *path);
struct file *area_by_number(struct areas *areas, uint64_t number);
struct file *area_new(struct areas *areas, struct area *area, const char *path);
void area_forget(struct file *file); /* frees it */
int area_next_version(const struct area *area, const char *path);

bool area_is_folder(const struct area *area, const char *path); /* "/" and ours too */
bool area_is_empty(const struct area *area, const char *folder);
void area_add_folder(struct area *area, const char *path);
void area_remove_folder(struct area *area, const char *path);
void area_set_path(struct file *file, const char *path);
void area_set_reason(struct file *file, const char *reason);

uint64_t area_used(const struct area *area, unsigned *files);

const char *file_state_word(enum file_state state);

/* The record that says what a file is now; new reference. */
json_t *file_record(const struct file *file);
/* A record of the journal, applied. */
void area_replay(struct areas *areas, const json_t *record);

#endif
