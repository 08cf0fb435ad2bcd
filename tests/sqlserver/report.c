#include "tests/sqlserver/report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum verdict { SAME, DIFFERENT, NOT_ASKED };

struct entry {
	enum verdict verdict;
	struct report_answer answer; /* of what was not asked: the name, and in said why */
};

struct report {
	const char *title;
	struct entry *entries;
	size_t n, count[NOT_ASKED + 1];
};

struct report *
report_new(TALLOC_CTX *parent, const char *title)
{
	struct report *r = talloc_zero(parent, struct report);

	r->title = talloc_strdup(r, title);
	return r;
}

static char *
harmless(struct report *r, const char *text)
{
	char *out = talloc_strdup(r, text == NULL ? "" : text);

	for (char *p = out; *p != '\0'; p++)
		if (*p < 0x20 || *p > 0x7E)
			*p = *p == '\n' ? ' ' : '?';
	return out;
}

static const struct entry *
add(struct report *r, enum verdict verdict, const struct report_answer *a)
{
	struct entry *e;

	r->entries = talloc_realloc(r, r->entries, struct entry, r->n + 1);
	e = &r->entries[r->n++];
	*e = (struct entry){ verdict, { harmless(r, a->name), harmless(r, a->statement), harmless(r, a->expected), harmless(r, a->got), harmless(r, a->said) } };
	r->count[verdict]++;
	return e;
}

void
report_add(struct report *r, const struct report_answer *a, bool same)
{
	const struct entry *e = add(r, same ? SAME : DIFFERENT, a);

	printf("%s %s\n", same ? "ok" : "not ok", e->answer.name);
	if (!same)
		printf("#   %s\n#   expected %s\n#   got      %s\n#   saying   %s\n", e->answer.statement, e->answer.expected, e->answer.got, e->answer.said);
	fflush(stdout);
}

void
report_not_asked(struct report *r, const char *name, const char *why)
{
	const struct entry *e = add(r, NOT_ASKED, &(struct report_answer){ .name = name, .said = why });

	printf("not for a real server: %s: %s\n", e->answer.name, e->answer.said);
}

size_t
report_differences(const struct report *r)
{
	return r->count[DIFFERENT];
}

/* A cell of a Markdown table, which may be shown as a page. */
static void
put_cell(FILE *f, const char *text)
{
	fputs(" ", f);
	for (; *text != '\0'; text++) {
		if (*text == '|' || *text == '\\' || *text == '`' || *text == '*' || *text == '_' || *text == '[' || *text == ']')
			fputc('\\', f);
		fputs(*text == '<' ? "&lt;" : *text == '&' ? "&amp;" : (char[]){ *text, '\0' }, f);
	}
	fputs(" |", f);
}

static void
put_differences(FILE *f, const struct report *r)
{
	fprintf(f, "## %s\n\n%zu answers as expected, %zu different, %zu not for a real server.\n", r->title, r->count[SAME], r->count[DIFFERENT],
		r->count[NOT_ASKED]);
	if (r->count[DIFFERENT] > 0)
		fputs("\n| row | statement | expected | the server's answer | its words |\n|---|---|---|---|---|\n", f);
	for (size_t i = 0; i < r->n; i++) {
		const struct report_answer *a = &r->entries[i].answer;

		if (r->entries[i].verdict != DIFFERENT)
			continue;
		fputc('|', f);
		put_cell(f, a->name);
		put_cell(f, a->statement);
		put_cell(f, a->expected);
		put_cell(f, a->got);
		put_cell(f, a->said);
		fputc('\n', f);
	}
}

static void
put_answers(FILE *f, const struct report *r)
{
	static const char *const words[] = { [SAME] = "same", [DIFFERENT] = "different", [NOT_ASKED] = "not asked" };

	fputs("verdict\trow\tstatement\texpected\tanswer\twords\n", f);
	for (size_t i = 0; i < r->n; i++) {
		const struct report_answer *a = &r->entries[i].answer;

		fprintf(f, "%s\t%s\t%s\t%s\t%s\t%s\n", words[r->entries[i].verdict], a->name, a->statement, a->expected, a->got, a->said);
	}
}

static bool
write_as(const struct report *r, const char *folder, const char *name, void (*put)(FILE *, const struct report *), struct err *err)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	if (f == NULL)
		return err_errno(err, errno, "%s", path);
	put(f, r);
	return fclose(f) == 0 || err_errno(err, errno, "%s", path);
}

bool
report_end(const struct report *r, const char *folder, struct err *err)
{
	put_differences(stdout, r);
	fflush(stdout);
	return write_as(r, folder, "differences.md", put_differences, err) && write_as(r, folder, "answers.tsv", put_answers, err);
}
