/*
 * The check that asks one question and compares the first value of the first row.
 */
#ifndef LANDFALL_KIND_SQL_H
#define LANDFALL_KIND_SQL_H

#include "common/mssql.h"
#include "verify/check_file.h"
#include "verify/finding.h"

void kind_sql(struct mssql *ms, TALLOC_CTX *mem, const struct check_sql *check, struct finding *finding);

#endif
