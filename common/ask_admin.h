/*
 * What people change: migrations, keys, and the actions that workers carry out.
 */
#ifndef LANDFALL_ASK_ADMIN_H
#define LANDFALL_ASK_ADMIN_H

#include "common/db.h"

struct admin_migration {
	const char *customer, *region, *cluster, *database, *encryption; /* encryption: refuse, allow */
	const char *intake;  /* a JSON object */
	bool with_uat;
};
/* Makes the migration, its runs with generated names, and their replicas; one transaction. */
bool ask_migration_create(struct db *db, TALLOC_CTX *mem, const struct admin_migration *m, const char **id, struct err *err);
/* Region of a cluster and the newest database version it takes (0: not known yet); *found false: no such. */
bool ask_cluster(struct db *db, TALLOC_CTX *mem, const char *name, bool *found, const char **region, int *version, struct err *err);
bool ask_migration_exists(struct db *db, const char *id, bool *found, struct err *err);
/* 0 when the migration has no such run. */
/* Written down for ever; the actor is who asks. */
bool ask_event(struct db *db, const char *migration, const char *kind, const char *text, struct err *err);
/* Wants a session of the receiver ended. */
bool ask_kick(struct db *db, const char *migration, const char *session, struct err *err);
bool ask_run_id(struct db *db, const char *migration, const char *kind, int64_t *run, struct err *err);

struct admin_key { const char *type, *blob, *comment, *fingerprint, *expires; const char *const *from; size_t n_from; };
/* *added false: it is there already. */
bool ask_key_add(struct db *db, const char *migration, const struct admin_key *key, bool *added, struct err *err);
bool ask_key_revoke(struct db *db, const char *migration, const char *fingerprint, int *revoked, struct err *err);

/*
 * run 0: all runs. args is a JSON object. key: NULL, or a GUID that makes asking again harmless: the id of the act that was asked
 * under it is given back, and *same says whether it is this very one.
 */
bool ask_action_new(struct db *db, const char *migration, int64_t run, const char *kind, const char *args, const char *key, int64_t *id, bool *same,
                    struct err *err);
/* state: asked, done, refused. */
/* asked, done, or the word of its refusal (see ask_action_end). */
bool ask_action_state(struct db *db, TALLOC_CTX *mem, int64_t id, const char **state, const char **said, struct err *err);

#endif
