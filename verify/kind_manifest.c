#include "verify/kind_manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/text.h"

/* Sorting a table without a key may be silent for long. */
enum { TABLE_SECONDS = 900 };

struct comparing {
	struct mssql *ms;
	TALLOC_CTX *mem;
	const struct tables *tables;
	const atomic_bool *stop;
	json_t *evidence;
	size_t equal, different, unread, unknown;
	uint64_t rows;
};

static void
tell(struct comparing *c, char *line)
{
	json_array_append_new(c->evidence, json_string(text_is_utf8(line, strlen(line)) ? line
	                                               : text_escaped(c->mem, line)));
	talloc_free(line);
}

/* The manifest says in which order its rows were read; a key that is not here is a difference anyway. */
static struct table
in_order_of(const struct table *t, const struct manifest_table *want)
{
	struct table ordered = *t;

	for (size_t i = 0; i < want->n_key; i++)
		if (!table_has_column(t, want->key[i]))
			return ordered;
	if (want->n_key > 0) {
		ordered.key = want->key;
		ordered.n_key = want->n_key;
	}
	return ordered;
}

/* False only when the target is away, or we are to stop. */
static bool
compare_table(struct comparing *c, const struct manifest_table *want, struct err *err)
{
	const struct table *t = tables_find(c->tables, want->name);
	struct table ordered;
	char hex[65];
	uint64_t got;

	if (t == NULL) {
		c->different++;
		tell(c, talloc_asprintf(c->mem, "%s: %" PRIu64 " rows expected, hash %s; the table is missing",
		                        want->name, want->rows, want->sha256));
		return true;
	}
	ordered = in_order_of(t, want);
	if (!tables_hash(c->ms, &ordered, c->stop, &got, hex, err)) {
		if (err->kind == ERR_AGAIN || atomic_load(c->stop))
			return false;
		c->unread++;
		tell(c, talloc_asprintf(c->mem, "%s: cannot be read: %s", want->name, err->text));
		err_clear(err);
		return true;
	}
	c->rows += got;
	if (got == want->rows && strcmp(want->sha256, hex) == 0) {
		c->equal++;
		return true;
	}
	c->different++;
	tell(c, talloc_asprintf(c->mem, "%s: %" PRIu64 " rows expected, %" PRIu64 " found; hash %s expected,"
	                        " %s found", want->name, want->rows, got, want->sha256, hex));
	return true;
}

/* A name of ours that no table of the manifest has. Both lists may be long. */
static void
tell_unknown(struct comparing *c, const struct manifest *m)
{
	bool *known = talloc_zero_array(c->mem, bool, c->tables->n + 1);

	for (size_t i = 0; i < m->n_tables; i++) {
		const struct table *t = tables_find(c->tables, m->tables[i].name);

		if (t != NULL)
			known[t - c->tables->list] = true;
	}
	for (size_t i = 0; i < c->tables->n; i++)
		if (!known[i]) {
			c->unknown++;
			tell(c, talloc_asprintf(c->mem, "%s: the manifest has no such table", c->tables->list[i].name));
		}
	talloc_free(known);
}

static enum check_result
judged(const struct comparing *c, const struct manifest *m)
{
	if (c->different > 0)
		return CHECK_FAIL;
	if (c->unread > 0)
		return CHECK_ERROR;
	return c->unknown > 0 || m->n_tables == 0 ? CHECK_WARN : CHECK_PASS;
}

void
kind_manifest(struct mssql *ms, TALLOC_CTX *mem, const struct manifest *m, const struct tables *tables,
              const atomic_bool *stop, struct finding *f)
{
	struct comparing c = { .ms = ms, .mem = mem, .tables = tables, .stop = stop, .evidence = f->evidence };
	struct err err = { 0 };

	f->expected = talloc_asprintf(mem, "%zu tables equal", m->n_tables);
	mssql_limit(ms, TABLE_SECONDS);
	for (size_t i = 0; i < m->n_tables; i++)
		if (!compare_table(&c, &m->tables[i], &err)) {
			f->result = CHECK_ERROR;
			f->again = err.kind == ERR_AGAIN;
			f->observed = talloc_strdup(mem, err.text);
			return;
		}
	tell_unknown(&c, m);
	f->result = judged(&c, m);
	f->observed = talloc_asprintf(mem, "%zu of %zu, %" PRIu64 " rows%s", c.equal, m->n_tables, c.rows,
	                              c.unknown > 0 ? ", and tables that the manifest does not have" : "");
}
