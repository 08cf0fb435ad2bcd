/*
 * Questions to Postgres about what a migration has and what its gates rest on.
 */
#ifndef LANDFALL_ASK_PLAN_H
#define LANDFALL_ASK_PLAN_H

#include <jansson.h>

#include "common/db.h"
#include "common/gates.h"
#include "common/plan.h"

struct chain_file { int64_t upload; const char *name, *vault_path; int family, position; };

/* Every backup set known for a migration, by their ids; files[i] are the stripes of sets[i] that are there. */
struct chain {
	struct plan_set *sets;
	struct chain_file **files;
	size_t n;
	size_t n_parts; /* stripes of all sets, those sent twice too */
};
struct chain *ask_chain(struct db *db, TALLOC_CTX *mem, const char *migration, struct err *err);
/* Which family of backups the migration's database is: as recorded, or as it looks by now; null when no full is there. */
bool ask_family(struct db *db, const char *migration, const struct chain *chain, struct guid *family, struct err *err);
const struct plan_set *chain_set(const struct chain *chain, int64_t id); /* NULL: not there */
const struct chain_file *chain_files(const struct chain *chain, const struct plan_set *set);

bool ask_gate_facts(struct db *db, TALLOC_CTX *mem, int64_t run, struct gate_facts *facts, struct err *err);
bool gates_of_run(struct db *db, TALLOC_CTX *mem, int64_t run, struct gate gates[GATE_N], struct err *err);

/*
 * The plan as kept in run.plan: steps still to do, why each other file is not used, gaps, and whether the
 * chain is complete. unused comes from a plan that begins at nothing, leaving out what was restored.
 */
json_t *plan_json(const struct plan *todo, const struct plan *whole, const int64_t *restored, size_t n_restored);

#endif
