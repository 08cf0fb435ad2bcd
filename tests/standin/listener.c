#include "tests/standin/listener.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { INFORMATION = 10, SESSION = 51 };

static void
on_message(void *ctx, int number, int state, int severity, const char *text)
{
	struct heard *h = ctx;

	(void)state;
	if (h->line >= 0 && write(h->line, text, strlen(text)) < 0)
		text = "this message could not be written to the line";
	h->messages = talloc_realloc(h, h->messages, struct heard_message, h->n + 1);
	h->messages[h->n++] = (struct heard_message){ number, severity, talloc_strdup(h, text) };
}

static void
on_done_more(void *ctx, int curcmd)
{
	(void)curcmd;
	((struct heard *)ctx)->n_done_more++;
}

static void
on_columns(void *ctx, const struct engine_column *columns, size_t n)
{
	struct heard *h = ctx;

	h->columns = talloc_memdup(h, columns, n * sizeof(*columns));
	for (size_t i = 0; i < n; i++)
		h->columns[i].name = talloc_strdup(h, columns[i].name);
	h->n_columns = n;
}

static void
on_row(void *ctx, const char *const *values, size_t n)
{
	struct heard *h = ctx;

	assert(n == h->n_columns);
	h->n_rows++;
	for (size_t i = 0; i < n; i++)
		h->rows = talloc_asprintf_append_buffer(h->rows, "%s=%s;", h->columns[i].name, values[i] == NULL ? "NULL" : values[i]);
	h->rows = talloc_strdup_append_buffer(h->rows, "\n");
}

static bool
on_cancelled(void *ctx)
{
	struct heard *h = ctx;

	h->asked++;
	if (h->die_after != 0 && h->asked >= h->die_after)
		kill(getpid(), SIGKILL);
	return h->cancel_after != 0 && h->asked >= h->cancel_after;
}

struct heard *
heard_new(TALLOC_CTX *parent, const char *program)
{
	struct heard *h = talloc_zero(parent, struct heard);

	h->line = -1;
	h->rows = talloc_strdup(h, "");
	h->out = (struct engine_out){
		.ctx = h, .message = on_message, .done_more = on_done_more, .columns = on_columns, .row = on_row,
		.cancelled = on_cancelled, .session_id = SESSION, .program = program, .login = "sa",
	};
	return h;
}

static const struct heard_message *
first_error(const struct heard *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->messages[i].severity > INFORMATION)
			return &h->messages[i];
	return NULL;
}

int
heard_error(const struct heard *h)
{
	const struct heard_message *m = first_error(h);

	return m == NULL ? 0 : m->number;
}

const char *
heard_why(const struct heard *h)
{
	const struct heard_message *m = first_error(h);

	return m == NULL ? "" : m->text;
}

const char *
heard_errors(struct heard *h)
{
	char *s = talloc_strdup(h, "");

	for (size_t i = 0; i < h->n; i++)
		if (h->messages[i].severity > INFORMATION)
			s = talloc_asprintf_append(s, "%s%d", s[0] == '\0' ? "" : " ", h->messages[i].number);
	return s;
}

static const struct heard_message *
first_of(const struct heard *h, int number)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->messages[i].number == number)
			return &h->messages[i];
	return NULL;
}

bool
heard_number(const struct heard *h, int number)
{
	return first_of(h, number) != NULL;
}

const char *
heard_text(const struct heard *h, int number)
{
	const struct heard_message *m = first_of(h, number);

	return m == NULL ? "" : m->text;
}
