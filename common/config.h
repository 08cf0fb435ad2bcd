/*
 * The configuration: one YAML file read into structs, the same for all programs of an installation.
 *
 * Each program uses its own section and the shared ones; a key nobody knows is refused with file, line
 * and column. Secrets never stand in it: *_file names the file that holds one. See
 * deploy/landfall.example.yaml for every key with its meaning. All strings live as long as the config.
 */
#ifndef LANDFALL_CONFIG_H
#define LANDFALL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"

/* One role's way into Postgres. */
struct config_role { char *user, *password_file; };

struct config_postgres {
	char *host; /* a name, an address, or the folder of a Unix socket */
	int port;
	char *database;
	struct config_role receiver, restore, verify, console, operator_, owner; /* YAML: operator */
};

struct config_receiver {
	char *listen;     /* address:port; systemd's socket wins */
	char **host_keys; /* OpenSSH private key files, one per type */
	unsigned n_host_keys;
	char *spool;      /* areas, staging, vault and journal live beneath; one file system */
	char **proxies;   /* addresses or ranges of balancers, which must send PROXY headers */
	unsigned n_proxies;
	char **exempt;    /* no penalties and no share of their own for these */
	unsigned n_exempt;
	int max_sessions, max_sessions_per_migration;
	int max_unauthenticated, max_unauthenticated_per_address; /* an IPv6 /64 is one address */
	int penalty_after, penalty_most_seconds; /* failed log-ins that cost nothing; the longest shut-out */
	int session_cpu_seconds; /* besides those that its bytes explain */
	int drain_seconds;       /* after SIGTERM, for uploads that are open */
	int settle_seconds;      /* a file that is no backup counts when nothing more came for so long */
	char *metrics_file;      /* NULL: none; rewritten every few seconds */
	uint64_t min_free_bytes; /* no new bytes below this much free space */
};

struct config_target {
	char *name;      /* as it is shown: hosted-1 */
	char *host;      /* must be in the server's certificate */
	int port;
	char *data_path; /* folder on the SQL Server for database files */
	char *log_path;  /* NULL: data_path */
};

/* Where our vault is, seen from the SQL Server. */
struct config_backup_path { char *ours, *theirs; };

/* What a recovered database gets by policy; absent: a user for the verification, nothing else. */
struct config_after_recovery {
	char *owner;       /* a log-in without rights, best disabled; NULL: whoever restored it stays */
	bool repair_users; /* users whose log-in of the same name is on the server are tied to it; else they are named only */
	int compat_level;  /* 0: as the source had it */
	bool trustworthy, broker; /* RESTORE leaves both off */
	char *backup_to;   /* a folder of all SQL Servers, for a full backup of the new primary; NULL: none is taken */
	char *availability_group; /* NULL: the replicas stay RESTORING at the tail */
};

struct config_cluster {
	char *name, *region;
	int slots; /* restores at once */
	int volume_slots; /* of those, full backups at once onto one volume of a target; 0: no such limit */
	bool second_person; /* RECOVERY, drop, restart, and backout after RECOVERY wait for another person's word */
	struct config_target *targets; /* the primary first */
	unsigned n_targets;
	char *login, *password_file;               /* the worker's SQL log-in */
	char *verify_login, *verify_password_file; /* the verification's, without server rights */
	char *ca_file;
	struct config_backup_path backup_path;
	struct config_after_recovery after_recovery;
};

struct config_restore {
	char *work;
	int workers;       /* restores of one process at once */
	int drain_seconds; /* after SIGTERM, for statements that run */
};
struct config_verify { char *work; char *checks; /* check file */ };
/* Mail to customers; TLS is required. Absent: none is sent. */
struct config_mail { char *url /* smtp://relay:587 or smtps:// */, *from, *user, *password_file, *ca_file /* NULL: the system's */; };
struct config_console { char *listen; struct config_mail mail; };

struct config {
	char *region;
	char *schema; /* folder of the schema files */
	struct config_postgres postgres;
	struct config_receiver receiver;
	struct config_restore restore;
	struct config_verify verify;
	struct config_console console;
	struct config_cluster *clusters;
	unsigned n_clusters;
};

/* path NULL: LANDFALL_CONFIG, else /etc/landfall/landfall.yaml. */
struct config *config_load(TALLOC_CTX *parent, const char *path, struct err *err);

const struct config_cluster *config_cluster(const struct config *config, const char *name);

/* Fills where for one of the roles; application is what Postgres shows for the connection. */
struct db_where;
void config_where(const struct config *config, const struct config_role *role, const char *application,
                  struct db_where *where);

/* "127.0.0.1:2222" or "[::1]:2222" into parts; the host part lands in host. */
bool config_address(const char *text, char *host, size_t host_size, uint16_t *port, struct err *err);

#endif
