/*
 * The intake: what a customer tells before the migration, as a YAML file or options, into one JSON object.
 */
#ifndef LANDFALL_INTAKE_H
#define LANDFALL_INTAKE_H

#include <stdbool.h>

#include <jansson.h>
#include <talloc.h>

#include "common/err.h"

struct intake {
	char *customer, *region, *cluster, *database;
	char *size, *size_bytes, *agent_url, *portal_url, *contact_name, *contact_email, *source_version, *upgrade_path, *mail, *mail_relay;
	bool *backup_encryption, *rencthumbprint_empty; /* NULL: not answered */
	char **integrations;
	unsigned n_integrations;
	bool has_integrations;
};

/* NULL with file, line and key when it is not as agreed. Owned by parent. */
struct intake *intake_load(TALLOC_CTX *parent, const char *path, struct err *err);

/* Answers that were given, under the names that `missing` uses. New reference. */
json_t *intake_json(const struct intake *intake);

/*
 * Checks the answers: region, e-mail, URLs, upgrade path, lengths, and the source version against the
 * newest database version that the target takes (0: not known, then 2019 is the limit, as the guide has
 * it). ERR_OPERATOR: an answer is not as agreed; ERR_REFUSED: it is, but cannot be migrated.
 */
bool intake_check(const struct intake *intake, int target_version, struct err *err);

#endif
