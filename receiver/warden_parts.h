/*
 * What the warden's own files share: its state, its sessions, and the answers to them.
 *
 * Only receiver/warden*.c includes this. Everything runs on the one loop thread.
 */
#ifndef LANDFALL_WARDEN_PARTS_H
#define LANDFALL_WARDEN_PARTS_H

#include <event2/event.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/fingerprint.h"
#include "receiver/address.h"
#include "receiver/area.h"
#include "receiver/feed.h"
#include "receiver/journal.h"
#include "receiver/keys.h"
#include "receiver/metrics.h"
#include "receiver/penalty.h"
#include "receiver/place.h"
#include "receiver/talk.h"

enum { STATUS_OK = 0, STATUS_EOF = 1, STATUS_NO_SUCH_FILE = 2, STATUS_DENIED = 3, STATUS_FAILURE = 4 };
enum { MODE_FILE = 0100644, MODE_OURS = 0100444, MODE_FOLDER = 040755 };
enum { OPEN_READ = 1, OPEN_WRITE = 2, OPEN_APPEND = 4, OPEN_CREAT = 8, OPEN_TRUNC = 16, OPEN_EXCL = 32 };

struct warden;

struct session {
	struct session *next;
	struct warden *warden;
	unsigned number;
	int pair;                 /* our end; -1 once it is closed */
	struct event *ev, *pid_ev;
	int pidfd;
	int pid;
	bool spawned, exited;
	struct address peer;      /* who it is: the connection's other end, or whom its balancer names */
	char address[64];         /* the same as text */
	char software[100];
	bool from_balancer, knows_peer;
	bool is_in;
	bool is_excused;          /* that it did not log in is not its fault */
	bool leaves;              /* it has been killed */
	bool told_end;
	int64_t begun;
	char blob[4096];          /* the key it came in with, to end it when that is revoked */
	int64_t until;            /* when that expires */
	struct area *area;
	struct talk_policy policy;
	uint64_t quota_bytes, bytes; /* bytes: it has had to deal with, for the CPU limit */
	unsigned quota_files;
	/* What its requests cost: of the loop (a stranger's; others' is their area's), and jobs for the journal, the last of which. */
	int64_t spent;
	unsigned jobs;
	uint64_t last_job;
	bool rests;               /* they were too many: its pair is not read for a while */
	/* For the audit. */
	char key[FINGERPRINT_MAX]; /* the last that was offered, or that it came in with */
	char tried[40];           /* before log-in: the last user */
	unsigned keys, uploads;   /* offered; begun */
	uint64_t received, sent, requests; /* as it says */
	bool said_last;
	enum metric cause;        /* of its end; 0: not known yet */
	char why[160];
	unsigned said, untold;    /* lines about refusals */
	int64_t said_second;
	/* An OPEN that waits for another session to let go, or for an arrival to settle. */
	struct { bool there; uint32_t id, flags; char *path; struct event *timer; uint64_t file; } pending;
	bool lists;               /* a listing for it is being made */
	uint64_t reading;         /* READER, DIGEST: the file it examines */
	unsigned of_reopened;     /* what that file's reopened was */
	bool digests;             /* DIGEST */
	bool told;                /* READER: it has said what the file is, once */
};

struct warden {
	const struct config *config;
	struct event_base *base;
	struct areas areas;
	struct journal *journal;
	struct feed *feed;
	struct session *sessions;
	unsigned last_session;
	char name[12];            /* of this life of the process, in front of its sessions' numbers */
	int listener, spawner;    /* spawner: our end of its pair; -1 while it is down */
	int spawner_pid;
	struct event *spawner_ev, *listen_ev;
	char *fingerprints;
	const char *ready_file;
	bool ready, ends;
	unsigned copies;          /* under way */
	int64_t next_settle;      /* others_tick has something to do then; 0: nothing */
	bool has_own_listener;    /* not systemd's */
	struct event *drain_ev;
	int64_t drain_until;
	struct penalties *penalties;
	struct knocks *knocks;
	double metrics[METRIC_N];
	int64_t metrics_at;       /* when they were written last */
	bool metrics_fail;
	double received_before;   /* at the time before */
	int64_t strangers_second; /* lines about connections that never logged in */
	unsigned strangers_said;
	struct { unsigned n; int64_t told; char address[ADDRESS_TEXT_MAX], why[120]; } refusals; /* since they were logged */
};

static inline void
count(struct warden *w, enum metric metric)
{
	w->metrics[metric]++;
}

int64_t now_seconds(void);
struct session *session_of(struct warden *w, unsigned number);

/* fd: a connection of that peer, or a file to be read again. Closed in any case. */
bool start_session(struct warden *w, int fd, enum talk_kind kind, const struct address *peer, const struct file *file);

/* warden_readers.c: files whose bytes are there are read by locked-up processes, which say what they are. */
void examine(struct warden *w, struct file *f); /* now, or when there is room for another */
void readers_begin(struct warden *w);           /* those that wait, and those whose MD5 is wanted */
bool is_settled(const struct file *f);

/* Answers; a session that cannot be answered is ended. */
void reply(struct session *s, uint32_t id, uint32_t status, const char *message);
void reply_out(struct session *s, struct talk_out *out);
void reply_begin(struct talk_out *out, uint32_t id);
void session_end(struct session *s, const char *why); /* it does what a session of ours never does */
void session_end_for(struct session *s, enum metric cause, const char *why);

/* What was done for it counts as its customer's part of the loop. False: that was too much, the rest has to wait. */
bool charge(struct session *s, int64_t ns);

/* Paths on disk. */
char *disk_path(struct warden *w, TALLOC_CTX *mem, const struct file *f, const char *suffix); /* where its bytes are now */
char *disk_in(struct warden *w, TALLOC_CTX *mem, const struct area *a, const char *folder, const char *key, const char *suffix);
bool make_area_folders(struct warden *w, const struct area *a);

/* warden_names.c: requests with names. Each takes the frame's fields and answers. */
void names_open(struct session *s, struct talk_frame *f);
void names_open_again(struct session *s);
void names_stat(struct session *s, struct talk_frame *f);
void names_folder(struct session *s, struct talk_frame *f);  /* MKDIR, RMDIR */
void names_remove(struct session *s, struct talk_frame *f);
void names_rename(struct session *s, struct talk_frame *f);
void names_times(struct session *s, struct talk_frame *f);
void names_space(struct session *s, struct talk_frame *f);
void names_seed(struct session *s, struct talk_frame *f);

/* What listings need of it. */
char *names_take_path(struct talk_frame *f, TALLOC_CTX *mem);
bool names_attrs(struct session *s, TALLOC_CTX *mem, const char *path, struct talk_attrs *attrs); /* false: there is no such thing */
void names_attrs_of(struct session *s, const struct file *f, bool looks, struct talk_attrs *attrs); /* looks: on the disk, whoever writes it */
char *names_receipt(struct session *s, TALLOC_CTX *mem, const struct file *f);
int names_open_outbox(struct session *s, const char *path, bool is_folder);

/* warden_lists.c: listings, a little in each turn of the loop. */
void lists_begin(struct session *s, struct talk_frame *f);

/* warden_others.c: files that are no backups, and checksums beside others. */
void others_closed(struct warden *w, struct file *f, unsigned session, const char *promise); /* promise: a sidecar's digest, or NULL */
void others_renamed(struct file *f, bool was_temporary);
void others_reopened(struct file *f);
void others_seen(struct warden *w, struct file *f); /* a client looked at it */
void others_digest(struct session *s, struct talk_frame *f);
void others_begin(struct warden *w); /* after the journal was replayed */
void others_tick(struct warden *w);
/* Compares it with the sidecars that are there; a line for the customer, or NULL. Records what changes. */
char *others_check(TALLOC_CTX *mem, struct warden *w, struct file *f);
struct file *others_target(const struct file *sidecar);

/* warden_audit.c: one line for each thing that happened, and its counters. */
struct session_name { char s[32]; };
struct session_name session_name(const struct warden *w, unsigned session); /* as people see it; "" for 0 */
void audit_login(const struct session *s);
void audit_login_refused(struct session *s, const char *user, const char *why);
void audit_cause(struct session *s, enum metric cause, const char *why);
void audit_end(struct session *s);
bool audit_has_room(struct session *s); /* for one more line that it can cause */
void audit_refused(struct session *s, const char *request, const char *name, const char *why);
void audit_refused_name(struct session *s, struct talk_frame *f);
void audit_totals(struct session *s, struct talk_frame *f);
void audit_renamed(const struct session *s, const struct file *f, const char *to);
void audit_removed(const struct session *s, const struct file *f);
void audit_folder(const struct session *s, const char *path, bool is_made);
void audit_upload_begun(struct session *s, const struct file *f);
/* session: whose it was, 0 for none. not_recorded: why the journal does not have it, or NULL. */
void audit_upload_ended(struct warden *w, const struct file *f, unsigned session, const char *not_recorded);

/* warden_metrics.c: what Prometheus reads. */
void metrics_begin(struct warden *w);
void metrics_tick(struct warden *w); /* twice a second */
void metrics_end(struct warden *w);

/* warden_uploads.c: how uploads end. */
extern const char uploads_over_quota[];
void uploads_closed(struct session *s, struct talk_frame *f);
void uploads_progress(struct session *s, struct talk_frame *f);
/* Tells Postgres how far it is, and whose it is. */
void uploads_show(struct session *s, const struct file *f);
void uploads_revoked(struct session *s, struct talk_frame *f);
void uploads_orphan(struct warden *w, struct session *s); /* the session is gone */
/* Nobody closed it under a final name: to be read again, and arrives if it is whole. */
bool uploads_may_be_whole(const struct file *f);
/* Whole, under a final name: freezes it, journals, moves it to the vault, answers. */
void uploads_arrive(struct warden *w, struct file *f, unsigned session, uint32_t id, char *facts);
/* Writes down what a file is now; tells Postgres when durable. */
void uploads_record(struct warden *w, struct file *f);
/* Nobody waits for this one: a small file's end comes at once and says it too. */
void uploads_record_opened(struct warden *w, struct file *f);
/* As well; then its bytes go. */
void uploads_record_and_remove(struct warden *w, struct file *f);
void uploads_feed(struct warden *w, struct file *f, json_t *record);
/* The name has gone to a newer upload; what has arrived stays in the vault, a partial goes. */
void uploads_replace(struct warden *w, struct file *f);
/* Sessions whose OPEN waited for this file. */
void uploads_settled(struct warden *w, uint64_t file);

/* warden_guard.c: who may come in, and what a session may use. */
enum { GUARD_WHY_MAX = 120 };
bool guard_begin(struct warden *w, struct err *err);
bool guard_is_balancer(const struct warden *w, const struct address *peer);
/* False: why says so in the customer's words. itself: the session that asks, or NULL. May end another that must give its place. */
bool guard_admits(struct warden *w, const struct address *peer, const struct session *itself, char why[GUARD_WHY_MAX]);
void guard_refuse(struct warden *w, int client, const struct address *peer, const char *why); /* closes it */
void guard_peer(struct session *s, struct talk_frame *f);
void guard_failed(struct session *s);
void guard_turned_away(struct session *s, const char *user, const char *blob);
void guard_keys_changed(struct warden *w, const json_t *keyring); /* who came too early for his key is let in */
/* Bytes that the session has to deal with: its CPU limit grows with them. */
void guard_credit(struct session *s, uint64_t bytes);
void guard_tick(struct warden *w); /* twice a second */

#endif
