/*
 * What the commands of `landfall` share: options, Postgres, how they answer and how they fail.
 *
 * Data goes to stdout, words to stderr; with --json every answer and every error is JSON.
 */
#ifndef LANDFALL_CLI_H
#define LANDFALL_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <talloc.h>

#include "common/config.h"
#include "common/db.h"

/* Stable: scripts rely on them. */
enum cli_exit {
	CLI_FINE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_NOT_FOUND = 3, CLI_NOT_ALLOWED = 4, CLI_CONFLICT = 5, CLI_NOT_READY = 6,
	CLI_NOT_VERIFIED = 7, CLI_WARNED = 8, CLI_TIMED_OUT = 9, CLI_AWAY = 10,
};

struct cli {
	TALLOC_CTX *mem;
	const char *config_path;
	struct config *config; /* after cli_connect */
	struct db *db;
	bool json;
	int argc;              /* what follows noun and verb */
	char **argv;
	const char *usage;     /* of the command that runs */
	const char *once;      /* --once: the act's key, NULL for one of its own */
};

/* --name VALUE; with a flag --name alone, and with both --name or --name=VALUE. */
struct cli_option { const char *name; const char **text; bool *flag; };

/* Takes options and up to max words; ends with a message (exit CLI_USAGE) when it cannot. */
int cli_take(struct cli *c, const struct cli_option *options, size_t n, const char **words, size_t least, size_t most);

enum cli_role { CLI_OPERATOR, CLI_OWNER };
int cli_connect(struct cli *c, enum cli_role role);

/* Prints the sentence (and next step) and returns the code. */
int cli_fail(const struct cli *c, enum cli_exit code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* An error of Postgres or the configuration. */
int cli_error(const struct cli *c, const struct err *err);

/* Steals the reference. Prints it (JSON), or nothing. */
void cli_json(json_t *o);
/* Hostile text made safe for a terminal; "-" for NULL. */
const char *cli_text(const struct cli *c, const char *s);
const char *cli_get(const struct cli *c, json_t *o, const char *key);

/* --run: production when not given. 0 words: NULL. */
int cli_run(const struct cli *c, const char *migration, const char *kind, int64_t *run);
/* Asks a worker to do it and waits for its word. Exit code; *said gets the word. Steals args. */
int cli_act(struct cli *c, const char *migration, int64_t run, const char *kind, json_t *args, const char **said);

/* Connects, finds the run (kind NULL: all runs), acts. Steals args. */
int cli_ask(struct cli *c, const char *migration, const char *kind, const char *action, json_t *args, const char **said);
/* Prints the word, and the command that comes next (or NULL). */
int cli_said(struct cli *c, const char *said, const char *next);
/*
 * What cannot be taken back is confirmed by typing the word; a pasted --yes alone must not hit the wrong migration, so without a
 * terminal both --yes and --confirm WORD are needed.
 */
int cli_confirm(const struct cli *c, const char *word, bool yes, const char *confirmed, const char *danger);
/* --limit: 1 to a million. */
bool cli_limit(const char *text, int64_t *out);
/* A time limit: 90, 90s, 30m, 2h; at most a week. */
bool cli_seconds(const char *text, long *out);
/* The migration as view_migration shows it, or NULL with *code set; one of its runs (borrowed), NULL when there is none. */
json_t *cli_migration(struct cli *c, const char *id, int *code);
json_t *cli_run_of(json_t *migration, const char *kind);

struct cli_command {
	const char *noun, *verb;
	int (*run)(struct cli *c);
	const char *usage, *help;
};

int cmd_db_migrate(struct cli *c);
int cmd_migration_create(struct cli *c);
int cmd_migration_list(struct cli *c);
int cmd_migration_show(struct cli *c);
int cmd_migration_plan(struct cli *c);
int cmd_migration_preflight(struct cli *c);
int cmd_migration_hold(struct cli *c);
int cmd_migration_release(struct cli *c);
int cmd_migration_retry(struct cli *c);
int cmd_migration_clock(struct cli *c);
int cmd_migration_cutover(struct cli *c);
int cmd_migration_recover(struct cli *c);
int cmd_migration_leave_out(struct cli *c);
int cmd_migration_priority(struct cli *c);
int cmd_migration_primary(struct cli *c);
int cmd_migration_skip(struct cli *c);
int cmd_migration_unskip(struct cli *c);
int cmd_migration_stop_at(struct cli *c);
int cmd_migration_cancel(struct cli *c);
int cmd_migration_drop(struct cli *c);
int cmd_migration_restart(struct cli *c);
int cmd_migration_backout(struct cli *c);
int cmd_migration_confirm(struct cli *c);
int cmd_migration_verify(struct cli *c);
int cmd_migration_report(struct cli *c);
int cmd_key_add(struct cli *c);
int cmd_key_list(struct cli *c);
int cmd_key_revoke(struct cli *c);
int cmd_file_list(struct cli *c);
int cmd_file_accept(struct cli *c);
int cmd_outbox_add(struct cli *c);
int cmd_outbox_list(struct cli *c);
int cmd_outbox_remove(struct cli *c);
int cmd_upload_list(struct cli *c);
int cmd_upload_kick(struct cli *c);
int cmd_notify_list(struct cli *c);
int cmd_notify_retry(struct cli *c);
int cmd_notify_test(struct cli *c);
int cmd_queue(struct cli *c);
int cmd_status(struct cli *c);
int cmd_doctor(struct cli *c);

#endif
