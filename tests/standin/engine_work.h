/*
 * One RESTORE under way: what its parts (media, check, apply, restore) share.
 *
 * Everything hangs on mem and ends with the statement. Only tests/standin/engine_*.c includes this.
 */
#ifndef STANDIN_ENGINE_WORK_H
#define STANDIN_ENGINE_WORK_H

#include <jansson.h>

#include "common/bak.h"
#include "tests/standin/engine_parts.h"

enum { CHUNK = 65536, FILES_MAX = 256, DEVICES_MAX = 64, SQL_SERVER_VENDOR = 0x1200 };

struct work {
	struct engine *e;
	const struct engine_restore *r;
	const struct engine_out *out;
	TALLOC_CTX *mem;
	struct running run;
	struct bak **baks; /* one per device, read to the end */
	const struct bak_set *set; /* of the first device, FILE = n */
	struct db_row *row;
	const char **paths;   /* where the set's files go */
	uint64_t total, done; /* bytes of devices */
	int percent, told;
	int64_t since_ms;     /* when copying began */
	bool struck;          /* an ordered fault */
};

/* ---- media: what is on the devices ---- */

bool read_devices(struct work *w);       /* 3201 3254 3241 3242 3243 3143 3279 33111 */
bool media_is_complete(struct work *w);  /* 3132 3258 3231 3227 */
bool choose_set(struct work *w);         /* 3287 */
bool version_fits(struct work *w);       /* 3169 */
bool is_sound(struct work *w);           /* 3183 3203 3189 */
bool has_checksums(struct work *w);      /* 3187 */
bool send_header(struct work *w);
bool send_files(struct work *w);
bool send_label(struct work *w);
bool verify_only(struct work *w);

/* ---- check: what must hold before a byte is copied ---- */

bool may_ask(struct work *w);        /* 3021 262 3110 3147 3108: before any device is opened */
bool target_is_free(struct work *w); /* 3102 3101 3104 3059. Under the lock, the row loaded */
bool is_right_kind(struct work *w);  /* 3135 */
bool set_fits(struct work *w);       /* the database's state against the set's */
bool plan_files(struct work *w);     /* MOVE, paths, space; fills paths */

/* "2019-05-02T21:12:27[.fff]" or with a blank, in the server's local time; false when it is none. */
bool stop_time(const char *text, int64_t *ms);

/* ---- apply: copying ---- */

void copying_begins(struct work *w);
bool write_pages(struct work *w, bool is_overlay);
bool take_out_image(struct work *w, bool with_diff);
bool feed_devices(struct work *w, const struct bak_sink *sink);
void pause_ms(struct work *w, long ms);
void tell_percent(struct work *w, int now); /* 3211, as STATS asks for it */

/* Where roll forward ended: its LSN, the newest commit's time, and whether a stop was reached. */
struct rolled {
	struct lsn redo;
	int64_t at;
	bool stopped;
};
bool replay_log(struct work *w, struct rolled *to);

/* When the newest commit was made whose record is before that block; 0 when there is none. */
int64_t last_commit_at(sqlite3 *db, uint64_t before_block);

#endif
