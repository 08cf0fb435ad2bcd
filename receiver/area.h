/*
 * What customers see and what lies behind it: folders and files of each migration, in memory.
 *
 * Names never reach the file system: on disk an upload is its key, in staging/ while it is written and in
 * vault/ once it has arrived. The journal's records rebuild all of this at start-up. No I/O in here.
 *
 * One loop serves all customers, and any of them may have a hundred thousand files. So nothing here walks all files
 * of an area: names, numbers, keys and digests are found in balanced trees (tsearch(3)), and who uses how much, who
 * writes and who waits is kept up to date. That is why the fields in the first part of struct file change through the
 * functions below only; tests/floors keeps it so.
 */
#ifndef LANDFALL_AREA_H
#define LANDFALL_AREA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <jansson.h>
#include <talloc.h>

enum file_state { FILE_RECEIVING, FILE_PARTIAL, FILE_WHOLE_NOT_NAMED, FILE_ARRIVED, FILE_REFUSED, FILE_OTHER, FILE_GONE };

/* What a locked-up process is to do with a file as soon as there is room for one. */
enum file_wants { WANTS_NOTHING = 0, WANTS_MD5 = 1, WANTS_READER = 2 };

LIST_HEAD(file_list, file);
TAILQ_HEAD(file_queue, file);
LIST_HEAD(name_list, name);

struct file {
	/* Read them; they are changed by area_…(). */
	struct area *area;
	uint64_t number;          /* for sessions; never used twice in one life of the process */
	char key[40];             /* uuid: its name on disk and in Postgres */
	char *path;               /* as the customer sees it */
	int version;
	bool shown;
	enum file_state state;
	uint64_t bytes;           /* a partial's bytes without a hole */
	char sha256[65];
	unsigned writer;          /* session that holds a writing descriptor; 0 none */
	bool settling;            /* its arrival is being made durable, or it is being read again */
	int64_t settles_at;       /* no backup, closed properly: other when nothing more comes until then (0: not counting) */
	unsigned wants;           /* enum file_wants */

	bool is_backup, is_manifest;
	uint64_t expected;        /* while it is received: what its header lets expect, or 0 */
	bool whole;               /* the reader said whole, whatever the name */
	int64_t moved_at;         /* while it is received: when bytes last came, by the steady clock; not kept */
	char *reason;
	json_t *findings;         /* words, or NULL */
	int64_t mtime, arrived_at;
	char replaces[40];        /* key of the file that had the name before, or "" */
	bool superseded;          /* replay: another one said so, it itself did not yet */
	unsigned reopened;        /* how often since the start; what was begun before the last time is of other bytes */
	bool was_open;            /* when the program or its session ended: nobody has closed it */
	bool began_whole;         /* it was a whole file when its writing began, so its end may be an older one's */
	bool is_other;
	unsigned closed_by;       /* session that closed it; not kept */
	char promised[65];        /* a sidecar's digest, or "" */
	char md5[33];             /* only known when a sidecar asked for it */
	bool is_disputed;         /* a sidecar says something else */

	struct name *at, *checks; /* its name; the name its checksum is of, when it is shown and its name is a sidecar's */
	LIST_ENTRY(file) of_area, of_shown, of_unfinished, of_name, of_sidecars, of_busy;
	bool is_unfinished;
	TAILQ_ENTRY(file) of_counting, of_wanting;
};

/* A name somebody has, had, or may have beneath it. Names make a tree; "" is its root. */
struct name {
	char *path;
	struct name *above;
	struct name_list beneath; /* the newest first */
	bool is_folder;           /* made by the customer */
	unsigned inside;          /* shown files and folders beneath it, at any depth */
	unsigned files;           /* that have the name, shown or not */
	int last_version;
	struct file_list shown;   /* one, but for the moment in which a newer one takes the name */
	struct file_list sidecars;
	LIST_ENTRY(name) of_above;
};

struct area {
	struct area *next;
	struct areas *areas;
	char *migration;
	struct file_list files;   /* the newest first */
	struct file_list shown;   /* as well */
	struct file_list unfinished; /* shown, and neither arrived nor another file that is complete */
	struct file_list busy;    /* with a writer, or settling */
	size_t n_folders, n_shown, n_unfinished;
	uint64_t used_bytes;
	unsigned used_files;
	struct name *root;
	void *names, *keys, *arrived; /* trees: names by path, files by key, arrived files by digest */
	bool is_copied;           /* a new version of one of its files is made from the old one's bytes */
	int64_t spent;            /* of the warden's loop, by its sessions' requests and not yet allowed for: nanoseconds */
};

struct areas {
	struct area *first;
	uint64_t last_number;
	void *migrations, *numbers; /* trees: areas, files */
	struct file_queue counting; /* with settles_at */
	struct file_queue wanting;  /* whose wants is not nothing; who has waited longest comes first */
};

void areas_init(struct areas *areas);
struct area *area_of(struct areas *areas, const char *migration); /* made when it is not there */

/* The newest shown file of that name. */
struct file *area_find(const struct area *area, const char *path);
struct file *area_by_number(const struct areas *areas, uint64_t number);
/* Arrived with that SHA-256: any of them, or NULL. */
struct file *area_arrived_as(const struct area *area, const char *sha256);

/* Shown, receiving, the next version of its name. */
struct file *area_new(struct area *area, const char *path, const char *key);
void area_forget(struct file *file); /* frees it */
/* Higher than that of any file that has the name; while one has it, than that of any that had it. */
int area_next_version(const struct area *area, const char *path);

bool area_is_folder(const struct area *area, const char *path); /* "/" and ours too */
bool area_is_empty(const struct area *area, const char *folder);
void area_add_folder(struct area *area, const char *path);
void area_remove_folder(struct area *area, const char *path);
/* What lies beneath a folder, for LIST_FOREACH(name, …, of_above); NULL: nothing. */
const struct name_list *area_beneath(const struct area *area, const char *folder);
/* The file that is shown under a name, or NULL. */
struct file *area_shown(const struct name *name);

void area_set_name(struct file *file, const char *path, int version);
void area_show(struct file *file, bool shown);
void area_set_state(struct file *file, enum file_state state);
void area_set_bytes(struct file *file, uint64_t bytes);
void area_set_sha256(struct file *file, const char *sha256);
void area_set_writer(struct file *file, unsigned session);
void area_set_settling(struct file *file, bool settling);
void area_set_settles_at(struct file *file, int64_t when);
void area_set_wants(struct file *file, unsigned wants);
void area_set_reason(struct file *file, const char *reason);

uint64_t area_used(const struct area *area, unsigned *files);

const char *file_state_word(enum file_state state);

/* The record that says what a file is now; new reference. */
json_t *file_record(const struct file *file);
/* A record of the journal, applied. */
void area_replay(struct areas *areas, const json_t *record);

#endif
