/*
 * What the restore worker asks Postgres: claims, leases, steps, and what people asked for.
 *
 * Whoever holds a run's lease token may touch the target. Every write of a worker carries the token; a
 * write that changes no row means the lease is lost (ERR_REFUSED with code ASK_LEASE_LOST) and the worker
 * stops touching the server at once.
 */
#ifndef LANDFALL_ASK_RESTORE_H
#define LANDFALL_ASK_RESTORE_H

#include "common/db.h"
#include "common/lsn.h"
#include "common/mssql.h"
#include "common/statement.h"

enum { ASK_LEASE_LOST = 1, ASK_LEASE_SECONDS = 15 };

struct restore_run {
	int64_t id, token, tail_set;
	const char *migration, *kind, *state, *cluster, *target_database, *database, *hold, *last_file;
	struct guid family; /* null while unknown */
	bool recover_asked, cutover;
	bool others_wait;   /* it has had its turn, and another run would come before it if it stood in line again */
	bool is_uat;
	const char *drop_asked; /* drop or restart: the copy is to be thrown away */
	const char *backed_out; /* why the customer went back to the source */
	bool cancelled, recovered;
	int chain;              /* which try of the whole chain */
	int replanned;          /* how often a person changed what is planned */
	struct lsn void_until;  /* no tail ends here or before: it belongs to a cutover that was backed out */
	struct bak_date stop_at; /* a person wants it to end there, in the source's local time; year 0: at its end */
	const char *stop_reason;
	struct lsn stop_lsn;    /* where RECOVERY is sent to after a stop; none before the gates were passed */
};

bool ask_worker_begin(struct db *db, const char *worker, const char *host, int pid, struct err *err);
/* Workers of this host that were alive once; whoever finds one dead gives its leases back at once. */
bool ask_workers_of(struct db *db, TALLOC_CTX *mem, const char *host, struct rows **ids_and_pids, struct err *err);
bool ask_worker_dead(struct db *db, const char *worker, struct err *err);
/* Renews the worker's sign of life, and its leases of these runs (ids as a Postgres array): also one that ran out while
 * Postgres was away, if nobody has claimed the run since. */
bool ask_worker_beat(struct db *db, const char *worker, const char *runs, struct err *err);

/* The next run that is due and free, among these clusters, by the order of the schema's queue_class and queue_delay; those that
 * wait for a slot where there is none are passed over. *got false: there is none. */
bool ask_claim(struct db *db, TALLOC_CTX *mem, const char *worker, const char *clusters, struct restore_run *run, bool *got,
               struct err *err);
/* Reads it again; ERR_REFUSED/ASK_LEASE_LOST when the lease is gone. */
bool ask_reload(struct db *db, TALLOC_CTX *mem, struct restore_run *run, struct err *err);
/* Gives lease and slot back; the run is due again after so many milliseconds. waits_for NULL: for nothing.
 * waits_on: whose turn it is, customer or operator; NULL: it goes on by itself. in_line: it waits for a slot, keeps its place
 * if it had one, and is claimed again when there is room. */
bool ask_release(struct db *db, const struct restore_run *run, const char *waits_for, const char *waits_on, bool in_line, int again_ms,
                 struct err *err);
bool ask_waits(struct db *db, const struct restore_run *run, const char *waits_for, struct err *err);

/*
 * One of the cluster's slots; one is kept for cutovers where there is more than one, and who stands in line is served first.
 * volumes: those that a full backup would be restored onto, as a Postgres array, or NULL; each takes as many at once as the
 * cluster's volume_slots says. *who: whom it waits for; the run stands in line then.
 */
bool ask_slot(struct db *db, TALLOC_CTX *mem, const struct restore_run *run, const char *volumes, bool *got, const char **who, struct err *err);
/* The full backup is on this volume; what follows is logs. */
bool ask_volume_free(struct db *db, const struct restore_run *run, const char *volume, struct err *err);

struct restore_replica {
	const char *name, *left_out;
	int ordinal;
	struct lsn redo; /* where it stood when it was last asked; none when nothing was restored */
	struct guid fork;
};
bool ask_replicas(struct db *db, TALLOC_CTX *mem, int64_t run, struct restore_replica **list, size_t *n, struct err *err);
/*
 * Where a replica stands. last_set and last_stop: the newest row of its restorehistory, which outlives the copy: *last gets the set's
 * id if it was begun on this replica in this try of the chain, else 0; 0, too, in a run without a point to stop at.
 */
struct restore_seen { const char *state; struct lsn redo; struct guid fork, last_set; struct bak_date last_stop; };
bool ask_replica_saw(struct db *db, const struct restore_run *run, const char *replica, const struct restore_seen *seen, int64_t *last,
                     struct err *err);

bool ask_set_files(struct db *db, TALLOC_CTX *mem, int64_t set, struct restore_file **list, size_t *n, struct err *err);
bool ask_restored(struct db *db, TALLOC_CTX *mem, int64_t run, int64_t **sets, size_t *n, struct err *err);
bool ask_set_of_file(struct db *db, const char *migration, const char *file, struct guid family, int64_t *set, struct err *err); /* 0: none */
bool ask_waived_tail(struct db *db, const char *migration, struct guid family, int64_t *set, struct err *err);                   /* 0: none */

/*
 * Steps that a worker left as running when it died: what the server has now says how they ended. redo: where the
 * replica stands (none when it is ONLINE: then everything before is done). A log that was stopped in ends behind redo; it is done
 * when the history's newest row is its own, with its STOPAT.
 */
bool ask_steps_settle(struct db *db, const struct restore_run *run, const char *replica, const struct restore_seen *seen, bool is_online,
                      struct err *err);

/*
 * How this step failed when it was tried last. rest_ms: it is not its time yet. cut_off: how often in a row no answer of the
 * server ended it. All zero: it never failed, or the last try did not.
 */
struct restore_past { int tries, rest_ms, cut_off; const char *said; };
bool ask_step_past(struct db *db, TALLOC_CTX *mem, const struct restore_run *run, const char *replica, const char *kind, int64_t set,
                   struct restore_past *past, struct err *err);

/* attempt counts for ever; tries begins again when a person asks for another try. */
struct restore_step { int64_t id; int attempt, tries; };
/* Intent first: the row is there before the statement is sent. set 0: none. */
struct restore_intent { const char *replica, *kind; int64_t set; const char *statement; struct bak_date stop_at; };
bool ask_step_begin(struct db *db, const struct restore_run *run, const struct restore_intent *intent, struct restore_step *step,
                    struct err *err);
/* True once a person wants the statements that run to be broken off. */
bool ask_break_off(struct db *db, const struct restore_run *run, bool *wanted, struct err *err);
bool ask_step_percent(struct db *db, const struct restore_run *run, int64_t step, int percent, struct err *err);
/* What a second conversation saw of a running statement, known by its program name. percent 0: nothing said yet. */
bool ask_step_seen(struct db *db, const char *migration, const char *kind, const char *token, const char *replica, int percent, int session,
                   const char *wait_type, struct err *err);
/* (cluster, replica) of this worker's running statements. */
bool ask_busy_servers(struct db *db, TALLOC_CTX *mem, const char *worker, struct rows **list, struct err *err);
/* rest_ms: how long a step that failed is not tried again, whoever wakes the run. */
bool ask_step_end(struct db *db, const struct restore_run *run, int64_t step, const char *state, int first_error, const char *said,
                  int rest_ms, struct err *err);
bool ask_message(struct db *db, const struct restore_run *run, const struct restore_step *step, const struct mssql_message *m,
                 struct err *err);
/* What a users step remembered (names of triggers), or NULL. */
bool ask_step_said(struct db *db, TALLOC_CTX *mem, int64_t run, const char *kind, const char **said, struct err *err);
bool ask_step_remember(struct db *db, const struct restore_run *run, int64_t step, const char *said, struct err *err);

bool ask_plan_keep(struct db *db, const struct restore_run *run, const char *json, struct err *err);
bool ask_tail_keep(struct db *db, const struct restore_run *run, int64_t set, struct err *err);
/* Moves the run and writes the event; *moved false when it is no longer in run->state. failure: NULL or why. */
bool ask_move(struct db *db, struct restore_run *run, const char *to, const char *text, const char *failure, bool *moved,
              struct err *err);
/* recovering -> online, recovered_at, and the verification, in one transaction. */
bool ask_online(struct db *db, struct restore_run *run, bool *moved, struct err *err);
/* Said once of a run, however often it is met. */
bool ask_finding(struct db *db, const char *migration, int64_t run, const char *text, struct err *err);
bool ask_run_event(struct db *db, const char *migration, int64_t run, const char *kind, const char *text, struct err *err);

/*
 * The copy is gone from every replica: the next try of the chain begins, from nothing. left: NULL, or where it could not be
 * asked. Refused: it is not thrown away, and why.
 */
bool ask_dropped(struct db *db, const struct restore_run *run, const char *left, struct err *err);
bool ask_drop_refused(struct db *db, const struct restore_run *run, const char *why, struct err *err);

/* ---- clusters ------------------------------------------------------------------------------------------------ */

bool ask_replica_is(struct db *db, const char *cluster, const char *replica, int ordinal, const char *state, const char *said,
                    const char *server_version, int database_version, struct err *err);
bool ask_cluster_version(struct db *db, const char *cluster, struct err *err);

/* ---- actions -------------------------------------------------------------------------------------------------- */

struct restore_action {
	int64_t id, run; /* run 0: all of the migration */
	const char *migration, *kind, *args, *asked_by;
};
/* The oldest open one, locked in the caller's transaction. *got false: none. */
bool ask_action(struct db *db, TALLOC_CTX *mem, struct restore_action *action, bool *got, struct err *err);
/* refusal: NULL when it was done, or why not in one word: failed, not-found, conflict (the state has moved on), not-ready. */
bool ask_action_end(struct db *db, const struct restore_action *action, const char *refusal, const char *said, struct err *err);
/*
 * Acts that wait for a second person. *how: whether by may confirm this one; asked is then what was asked, with both names.
 * Who confirms what is confirmed already is told so.
 */
enum restore_second { SECOND_MAY, SECOND_NONE, SECOND_WAITS_NOT, SECOND_DONE, SECOND_LATE, SECOND_SAME };
enum { SECOND_MINUTES = 60 };
bool ask_second_wanted(struct db *db, int64_t action, struct err *err);
bool ask_second(struct db *db, TALLOC_CTX *mem, const char *migration, int64_t action, const char *by, enum restore_second *how,
                struct restore_action *asked, struct err *err);
bool ask_second_gave(struct db *db, int64_t action, const char *by, struct err *err);
bool ask_action_runs(struct db *db, TALLOC_CTX *mem, const struct restore_action *action, struct restore_run **runs, size_t *n,
                     struct err *err);
bool ask_hold(struct db *db, int64_t run, const char *reason, struct err *err);
/*
 * Ends a hold and a cancel. After a backout that came before RECOVERY the run goes back to following the source: the cutover,
 * its tail and its clock are void.
 */
bool ask_go_on(struct db *db, int64_t run, struct err *err);
/* now: what runs is broken off. hold says who and why. */
bool ask_cancel(struct db *db, int64_t run, const char *hold, bool now, struct err *err);
/* what: drop (and stays on hold, for the reason given unless it has one) or restart. */
bool ask_drop(struct db *db, int64_t run, const char *what, const char *by, const char *hold, bool now, struct err *err);
/* A statement of this run runs now; RECOVERY was sent. */
struct restore_doing { bool running, recovery; };
bool ask_doing(struct db *db, int64_t run, struct restore_doing *doing, struct err *err);
/* What the run sheet of a backout rests on. Strings are owned by mem. */
struct run_sheet_facts;
bool ask_backout_facts(struct db *db, TALLOC_CTX *mem, int64_t run, struct run_sheet_facts *facts, struct err *err);
bool ask_backout(struct db *db, int64_t run, const char *reason, const char *hold, const char *sheet, struct err *err);

/* Takes the sets of a file out of the plan, or puts them back. */
enum restore_skip { SKIP_DONE, SKIP_NOT_FOUND, SKIP_RESTORED, SKIP_TAIL };
bool ask_skip(struct db *db, const struct restore_action *action, const char *file, const char *reason, enum restore_skip *how,
              struct err *err);
bool ask_unskip(struct db *db, const struct restore_action *action, const char *file, bool *found, struct err *err);
/*
 * The run ends at this point (year 0: at its end again). What was recognised as its tail is recognised anew, and no file is named as
 * the last one any more.
 */
struct restore_stop { struct bak_date at; const char *asked, *reason, *by; };
bool ask_stop(struct db *db, int64_t run, const struct restore_stop *stop, struct err *err);
/* *what: a backup that is restored, or being restored, and holds more than the point, on which replica; or NULL. */
bool ask_past_stop(struct db *db, TALLOC_CTX *mem, int64_t run, struct bak_date stop, const char **what, struct err *err);
bool ask_clock(struct db *db, int64_t run, bool start, struct err *err);
/* Names the last file while no tail is recognised; later it changes nothing. */
bool ask_last_file(struct db *db, int64_t run, const char *file, struct err *err);
/* Some replica already has more than this set. */
bool ask_is_past(struct db *db, int64_t run, int64_t set, bool *past, struct err *err);
bool ask_cutover(struct db *db, int64_t run, const char *last_file, struct err *err);
bool ask_recover(struct db *db, int64_t run, struct err *err);
bool ask_retry(struct db *db, int64_t run, struct err *err);
/* Of a run that is ONLINE and not settled yet: its acts are tried again at once. *found false: it is no such run. */
bool ask_retry_settling(struct db *db, int64_t run, bool *found, struct err *err);
/* Of a run that waits for somebody since a step of it was refused: the step rests no longer. *found false: it is no such run. */
bool ask_retry_resting(struct db *db, int64_t run, bool *found, struct err *err);
bool ask_leave_out(struct db *db, int64_t run, const char *replica, const char *reason, bool *found, struct err *err);
bool ask_accept_tail(struct db *db, const char *migration, const char *file, bool *found, struct err *err);
bool ask_verify_again(struct db *db, int64_t run, struct err *err);

#endif
