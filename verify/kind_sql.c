#include "verify/kind_sql.h"

#include <stdlib.h>
#include <string.h>

enum { QUESTION_SECONDS = 120 };

static bool
is_good(const struct check_sql *c, const char *value)
{
	char *end;
	long long number;

	if (c->equals != NULL)
		return strcmp(value, c->equals) == 0;
	number = strtoll(value, &end, 10);
	return end != value && *end == '\0' && number >= *c->at_least;
}

void
kind_sql(struct mssql *ms, TALLOC_CTX *mem, const struct check_sql *c, struct finding *f)
{
	struct mssql_rows *rows;
	struct err err = { 0 };
	const char *value;

	f->expected = c->equals != NULL ? c->equals
	                                : talloc_asprintf(mem, "at least %lld", (long long)*c->at_least);
	mssql_limit(ms, QUESTION_SECONDS);
	if (!mssql_run(ms, mem, c->query, &rows, NULL, NULL, NULL, &err)) {
		f->result = CHECK_ERROR;
		f->again = err.kind == ERR_AGAIN;
		f->observed = talloc_strdup(mem, err.text);
		return;
	}
	value = mssql_rows_value(rows, 0, 0);
	f->result = value != NULL && is_good(c, value) ? CHECK_PASS : CHECK_FAIL;
	f->observed = mssql_rows_count(rows) == 0 ? "no row" : value == NULL ? "NULL" : value;
}
