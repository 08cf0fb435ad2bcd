#include "tests/standin/session_parts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tests/standin/tds_request.h"

/*
 * Remote procedure calls: text with parameters, at once or prepared first. A call ends with its status, the
 * values of its output parameters, and DONEPROC; the statements in it end with DONEINPROC. Server cursors are
 * refused by name: nobody who restores needs them.
 */

enum { PREPARED_MAX = 1024 };

struct prepared {
	struct prepared *next;
	int handle;
	const char *text, *declarations; /* "@a int, @b nvarchar(10) OUTPUT" or NULL */
};

/* A call under way: what of its parameters goes back, and how. */
struct run {
	struct client *c;
	TALLOC_CTX *mem;
	const struct tds_call *call;
	struct tsql_variable *params; /* as declared */
	size_t n_params;
	size_t first; /* the call's parameter that is the first value */
	int handle;   /* to give back in the call's first parameter, or 0 */
};

/* ---- parameters ------------------------------------------------------------------------------------------- */

static char *
text_of(TALLOC_CTX *mem, const struct tds_call *call, size_t i)
{
	const struct tds_value *v = i < call->n_params ? &call->params[i].value : NULL;

	return v == NULL || v->shape != TDS_TEXT ? NULL : talloc_strndup(mem, v->mem, v->len);
}

static int
handle_of(const struct tds_call *call, size_t i)
{
	return i < call->n_params && call->params[i].value.shape == TDS_WHOLE ? (int)call->params[i].value.whole : 0;
}

/* The declared parameter that the call's value i belongs to: by its name, or by its place when it has none. */
static const struct tsql_variable *
declared(const struct run *r, size_t i)
{
	const char *name = r->call->params[i].name;

	if (name[0] == '\0')
		return i - r->first < r->n_params ? &r->params[i - r->first] : NULL;
	for (size_t k = 0; k < r->n_params; k++)
		if (strcasecmp(r->params[k].name, name) == 0)
			return &r->params[k];
	return NULL;
}

static bool
say_unsupplied(const struct run *r, const char *text)
{
	char said[400];

	for (size_t k = 0; k < r->n_params; k++) {
		bool supplied = false;

		for (size_t i = r->first; i < r->call->n_params && !supplied; i++)
			supplied = declared(r, i) == &r->params[k];
		if (supplied || r->params[k].value.text != NULL)
			continue;
		snprintf(said, sizeof(said), "The parameterized query '%.64s' expects the parameter '%.64s', which was not supplied.", text,
		         r->params[k].name);
		client_note(r->c, 8178, 1, 16, 1, said);
		return true;
	}
	return false;
}

static bool
set_variables(const struct run *r, const char *text)
{
	tsql_forget_variables(r->c->session);
	for (size_t i = r->first; i < r->call->n_params; i++) {
		const struct tsql_variable *d = declared(r, i);

		if (d == NULL) {
			client_note(r->c, 8145, 1, 16, 1, "The call has a parameter that its text does not declare.");
			return false;
		}
		tsql_set_variable(r->c->session, d->name, d->type, &r->call->params[i].value);
	}
	return !say_unsupplied(r, text);
}

/* ---- the answer's end ------------------------------------------------------------------------------------- */

static void
return_outputs(const struct run *r)
{
	struct client *c = r->c;
	struct err err = { 0 };

	if (r->handle != 0)
		tds_return_value(c->buf, c->version, 0, r->call->params[0].name, (struct tds_type){ TDS_INTEGER, 4, 0, 0 }, tds_whole(r->handle), &err);
	for (size_t i = r->first; i < r->call->n_params && c->first_error == 0; i++) {
		const struct tsql_variable *d = r->call->params[i].output ? declared(r, i) : NULL;
		size_t before = c->buf->len;

		if (d == NULL)
			continue;
		if (!tds_return_value(c->buf, c->version, (unsigned)i, r->call->params[i].name, tds_type_for(d->type, c->version),
		                      tsql_get_variable(c->session, d->name), &err)) {
			c->buf->len = before;
			client_note(c, err.code == 0 ? 8114 : err.code, 1, 16, 1, err.text);
		}
	}
}

static void
end_call(const struct run *r)
{
	struct client *c = r->c;
	bool failed = c->first_error != 0;

	/* The last DONEINPROC says that more follows too: the DONEPROC at least. */
	client_release_done(c);
	tds_return_status(c->buf, failed ? c->first_error : 0);
	return_outputs(r);
	c->done_token = TDS_DONE_PROC;
	client_done(c, CURCMD_CALL, false, 0, failed);
	client_end_reply(c);
	c->done_token = TDS_DONE;
	tsql_forget_variables(c->session);
}

/* ---- the procedures ----------------------------------------------------------------------------------------- */

static bool
declare(struct run *r, const char *declarations)
{
	struct err err = { 0 };

	if (declarations == NULL || declarations[0] == '\0' || tsql_parse_parameters(r->mem, declarations, &r->params, &r->n_params, &err))
		return true;
	client_note(r->c, err.code, 1, 15, 1, err.text);
	return false;
}

static bool
take_text(struct run *r, size_t at, char **text)
{
	*text = text_of(r->mem, r->call, at);
	if (*text == NULL)
		client_note(r->c, 214, 2, 16, 1, "Procedure expects parameter '@statement' of type 'ntext/nchar/nvarchar'.");
	return *text != NULL;
}

static void
run_text(struct run *r, const char *text, const char *declarations)
{
	if (declare(r, declarations) && set_variables(r, text))
		client_run(r->c, text);
}

static bool
has_room(const struct client *c)
{
	size_t n = 0;

	for (const struct prepared *p = c->prepared; p != NULL; p = p->next)
		n++;
	return n < PREPARED_MAX;
}

/* A statement that is none is said so when it is prepared. */
static bool
prepare(struct run *r, const char *text, const char *declarations)
{
	struct tsql_statement *list;
	struct prepared *p;
	struct err err = { 0 };
	int line;

	if (!has_room(r->c)) {
		client_note(r->c, 50000, 1, 16, 1, "the stand-in keeps no more than 1024 prepared statements for a connection; sp_unprepare some");
		return false;
	}
	if (!tsql_parse(r->mem, text, &list, &line, &err)) {
		client_note(r->c, err.code, 1, 15, line, err.text);
		client_note(r->c, 8180, 1, 16, 1, "Statement(s) could not be prepared.");
		return false;
	}
	p = talloc_zero(r->c->link, struct prepared);
	p->next = r->c->prepared;
	p->handle = r->handle = ++r->c->last_handle;
	p->text = talloc_strdup(p, text);
	p->declarations = talloc_strdup(p, declarations);
	r->c->prepared = p;
	return true;
}

static struct prepared **
find(struct client *c, int handle)
{
	struct prepared **p = &c->prepared;

	while (*p != NULL && (*p)->handle != handle)
		p = &(*p)->next;
	if (*p == NULL) {
		char said[80];

		snprintf(said, sizeof(said), "Could not find prepared statement with handle %d.", handle);
		client_note(c, 8179, 2, 16, 1, said);
	}
	return p;
}

static void
call_executesql(struct run *r)
{
	char *text;

	r->first = 2;
	if (take_text(r, 0, &text))
		run_text(r, text, text_of(r->mem, r->call, 1));
}

static void
call_prepare(struct run *r)
{
	char *text;

	r->first = r->call->n_params;
	if (take_text(r, 2, &text))
		prepare(r, text, text_of(r->mem, r->call, 1));
}

static void
call_prepexec(struct run *r)
{
	char *declarations = text_of(r->mem, r->call, 1), *text;

	r->first = 3;
	if (take_text(r, 2, &text) && prepare(r, text, declarations))
		run_text(r, text, declarations);
}

static void
call_execute(struct run *r)
{
	struct prepared *p = *find(r->c, handle_of(r->call, 0));

	r->first = 1;
	if (p != NULL)
		run_text(r, p->text, p->declarations);
}

static void
call_unprepare(struct run *r)
{
	struct prepared **at = find(r->c, handle_of(r->call, 0)), *p = *at;

	r->first = r->call->n_params;
	if (p == NULL)
		return;
	*at = p->next;
	talloc_free(p);
}

static const struct {
	int number;
	void (*run)(struct run *r);
} procedures[] = {
	{ TDS_PROC_EXECUTESQL, call_executesql }, { TDS_PROC_PREPARE, call_prepare }, { TDS_PROC_EXECUTE, call_execute },
	{ TDS_PROC_PREPEXEC, call_prepexec }, { TDS_PROC_UNPREPARE, call_unprepare },
};

static void
call_by_name(struct run *r)
{
	const char *name = r->call->number != 0 ? tds_proc_name(r->call->number) : r->call->name;
	char said[400];

	for (size_t i = 0; i < sizeof(procedures) / sizeof(procedures[0]); i++)
		if (strcasecmp(name, tds_proc_name(procedures[i].number)) == 0) {
			procedures[i].run(r);
			return;
		}
	snprintf(said, sizeof(said), "Could not find stored procedure '%.128s'.", name);
	client_note(r->c, 2812, 62, 16, 1, said);
	r->first = r->call->n_params;
}

void
session_call(struct client *c, const struct tds_message *m)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct err err = { 0 };
	struct tds_call call = { .name = "" };
	struct run r = { .c = c, .mem = mem, .call = &call };

	c->done_token = TDS_DONE_IN_PROC;
	c->first_error = c->last_note = 0;
	c->held.there = false;
	if (tds_call_parse(m->mem, m->len, c->version, mem, &call, &err)) {
		call_by_name(&r);
	} else {
		client_note(c, err.code == 0 ? 8005 : err.code, 1, 16, 1, err.text);
		r.first = call.n_params;
	}
	end_call(&r);
	talloc_free(mem);
}
