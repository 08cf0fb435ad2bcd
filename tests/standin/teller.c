#include "tests/standin/teller.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void
add(struct teller *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
add(struct teller *t, const char *fmt, ...)
{
	size_t n = strlen(t->tokens);
	va_list ap;

	va_start(ap, fmt);
	if (n > 0 && n + 1 < TOKENS_MAX)
		t->tokens[n++] = ' ';
	vsnprintf(t->tokens + n, TOKENS_MAX - n, fmt, ap);
	va_end(ap);
}

static void
release(struct teller *t, bool more)
{
	if (t->rows > 0)
		add(t, "R%zu", t->rows);
	t->rows = 0;
	if (t->held.there)
		add(t, "D%d:%d", t->held.status | more, t->held.curcmd);
	t->held.there = false;
}

static void
on_note(void *ctx, int number, int state, int severity, int line, const char *text)
{
	struct teller *t = ctx;

	(void)line;
	release(t, true);
	if (severity > 10)
		add(t, "E%d.%d.%d", number, state, severity);
	else
		add(t, "I%d.%d", number, state);
	if (!t->had_error)
		snprintf(t->text, sizeof(t->text), "%s", text);
	t->had_error = t->had_error || severity > 10;
}

static void
on_columns(void *ctx, const struct tds_column *columns, size_t n)
{
	struct teller *t = ctx;

	release(t, true);
	add(t, "C%zu", n);
	talloc_free(t->names);
	t->names = talloc_strdup(NULL, "");
	for (size_t i = 0; i < n; i++)
		t->names = talloc_asprintf_append_buffer(t->names, "%s:%d:%d ", columns[i].name, columns[i].type.kind, columns[i].type.size);
}

static bool
on_row(void *ctx, const struct tds_value *values, size_t n)
{
	struct teller *t = ctx;

	if (t->rows++ == 0) {
		talloc_free(t->first_row);
		t->first_row = talloc_strdup(NULL, "");
		for (size_t i = 0; i < n; i++)
			t->first_row = talloc_asprintf_append_buffer(t->first_row, "%.*s|", values[i].shape == TDS_TEXT ? (int)values[i].len : 4,
				values[i].shape == TDS_TEXT ? (const char *)values[i].mem : "NULL");
	}
	return true;
}

static void
on_done(void *ctx, int curcmd, bool has_count, uint64_t rows, bool error)
{
	struct teller *t = ctx;

	(void)rows;
	release(t, true);
	t->held.there = true;
	t->held.status = (error ? 2 : 0) | (has_count ? 16 : 0);
	t->held.curcmd = curcmd;
}

static void
on_done_more(void *ctx, int curcmd)
{
	add(ctx, "D1:%d", curcmd);
}

static void
on_use(void *ctx, const char *now, const char *before)
{
	(void)ctx;
	(void)now;
	(void)before;
}

static bool
on_cancelled(void *ctx)
{
	struct teller *t = ctx;

	if (t->meanwhile != NULL)
		t->meanwhile(t->meanwhile_ctx);
	return false;
}

struct tsql_session *
teller_session(TALLOC_CTX *mem, struct teller *t, struct engine *e, const char *login, int spid, struct err *err)
{
	struct tsql_session *s;

	t->replies = (struct tsql_replies){ .ctx = t, .note = on_note, .columns = on_columns, .row = on_row, .done = on_done, .done_more = on_done_more,
		.use = on_use, .cancelled = on_cancelled };
	s = tsql_session_new(mem, e, &t->replies, login, NULL, err);
	if (s != NULL)
		s->spid = spid;
	return s;
}

void
teller_run(struct teller *t, struct tsql_session *s, const char *batch)
{
	t->tokens[0] = t->text[0] = '\0';
	t->had_error = t->held.there = false;
	t->rows = 0;
	tsql_run(s, batch);
	release(t, false);
}

void
teller_end(struct teller *t)
{
	talloc_free(t->names);
	talloc_free(t->first_row);
}
