#include "console/cmd_inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/bak.h"
#include "common/bak_json.h"
#include "common/group.h"
#include "common/plan.h"
#include "common/text.h"

enum { OK = 0, USAGE = 2, NO_FILE = 3, NOT_READY = 6, UNSOUND = 7, PIECE = 1 << 20 };

struct inspect {
	bool json, chain;
	const char *stop_at;
	char **names;
	size_t n;
	TALLOC_CTX *mem;
	struct bak **baks; /* NULL where there is no such file */
	char **troubles;
	int worst;
};

/* Of several results the first that applies of 2, 3, 7 is the exit code. */
static void
note(struct inspect *in, int code)
{
	if (code != OK && (in->worst == OK || code < in->worst))
		in->worst = code;
}

static struct bak *
read_file(struct inspect *in, const char *name, char **trouble)
{
	bool is_pipe = strcmp(name, "-") == 0;
	int fd = is_pipe ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
	struct bak *bak;
	struct err err;
	char *piece;
	ssize_t n;

	if (fd < 0) {
		*trouble = talloc_asprintf(in->mem, "cannot open it: %s", strerror(errno));
		return NULL;
	}
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	bak = bak_new(in->mem, NULL);
	piece = talloc_array(in->mem, char, PIECE);
	while ((n = read(fd, piece, PIECE)) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			bak_feed(bak, piece, (size_t)n, &err);
	if (n < 0) {
		*trouble = talloc_asprintf(in->mem, "cannot read it: %s", strerror(errno));
		talloc_free(bak);
		bak = NULL;
	} else {
		bak_finish(bak);
	}
	if (!is_pipe)
		close(fd);
	talloc_free(piece);
	return bak;
}

static void
read_all(struct inspect *in)
{
	in->baks = talloc_zero_array(in->mem, struct bak *, in->n);
	in->troubles = talloc_zero_array(in->mem, char *, in->n);
	for (size_t i = 0; i < in->n; i++) {
		in->baks[i] = read_file(in, in->names[i], &in->troubles[i]);
		note(in, in->baks[i] == NULL ? NO_FILE : bak_is_whole(in->baks[i]) ? OK : UNSOUND);
	}
}

static json_t *
no_such_file(const char *name, const char *trouble)
{
	json_t *o = json_object();

	json_object_set_new(o, "file", json_string(name));
	json_object_set_new(o, "container", json_null());
	json_object_set_new(o, "complete", json_false());
	json_object_set_new(o, "why", json_string(trouble));
	json_object_set_new(o, "media", json_null());
	json_object_set_new(o, "findings", json_array());
	json_object_set_new(o, "sets", json_array());
	return o;
}

static void
print_json(json_t *o)
{
	json_dumpf(o, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(o);
}

static void
print_all_json(const struct inspect *in)
{
	json_t *list = json_array();

	for (size_t i = 0; i < in->n; i++)
		json_array_append_new(list, in->baks[i] == NULL ? no_such_file(in->names[i], in->troubles[i])
		                                                : bak_json(in->names[i], in->baks[i], 0));
	print_json(list);
}

/* ---- the page a person reads ---------------------------------------------------------------------------- */

static const char *
safe(TALLOC_CTX *mem, const char *s)
{
	return text_escaped(mem, s == NULL ? "" : s);
}

static void
print_set(TALLOC_CTX *mem, const struct bak_set *s)
{
	printf("  set %u  %s backup of [%s] on %s%s\n", s->position, bak_type_word(s->type), safe(mem, s->database),
	       safe(mem, s->server), s->final ? "" : "  (provisional: the end was not read)");
	printf("    taken %s to %s (source's local time) by %s\n", bak_date_text(s->start).s,
	       s->finish.year == 0 ? "?" : bak_date_text(s->finish).s, safe(mem, s->user));
	printf("    LSN %s to %s, SQL Server %u.%u.%u (database version %u), recovery model %s\n", lsn_text(s->first_lsn).s,
	       lsn_text(s->last_lsn).s, s->software_major, s->software_minor, s->software_build, s->database_version,
	       s->recovery_model);
	if (s->type == BAK_DIFFERENTIAL)
		printf("    base: the full with set %s\n", guid_text(s->differential_base_guid).s);
	for (size_t i = 0; i < s->n_files; i++)
		printf("    file %u %c %-10s %s (%s)\n", s->files[i].file_id, s->files[i].type, text_size(s->files[i].size).s,
		       safe(mem, s->files[i].logical_name), safe(mem, s->files[i].physical_name));
	if (s->n_passes > 0)
		printf("    pages: %llu checked, %llu bad, %llu without anything to check\n",
		       (unsigned long long)(s->pages[0].checked + s->pages[1].checked),
		       (unsigned long long)(s->pages[0].bad + s->pages[1].bad),
		       (unsigned long long)(s->pages[0].zero + s->pages[0].foreign + s->pages[0].unprotected + s->pages[1].zero +
		                            s->pages[1].foreign + s->pages[1].unprotected));
}

static void
print_page(struct inspect *in, size_t i)
{
	TALLOC_CTX *mem = talloc_new(in->mem);
	const struct bak *b = in->baks[i];
	const char *const *findings;
	size_t n;

	if (b == NULL) {
		printf("%s\n  %s\n", safe(mem, in->names[i]), safe(mem, in->troubles[i]));
		return;
	}
	printf("%s  %s, %s\n", safe(mem, in->names[i]), text_size(bak_bytes(b)).s,
	       bak_is_whole(b) ? "whole and sound" : "NOT SOUND");
	if (bak_why(b) != NULL)
		printf("  %s\n", safe(mem, bak_why(b)));
	findings = bak_findings(mem, b, 0, &n);
	if (n > 0)
		fputs("  findings:", stdout);
	for (size_t k = 0; k < n; k++)
		printf(" %s", findings[k]);
	if (n > 0)
		putchar('\n');
	if (bak_media(b) != NULL && bak_media(b)->family_count > 1)
		printf("  stripe %u of %u, media set %s\n", bak_media(b)->family_number, bak_media(b)->family_count,
		       guid_text(bak_media(b)->media_set_id).s);
	for (size_t k = 0; k < bak_n_sets(b); k++)
		print_set(mem, bak_set(b, k));
	talloc_free(mem);
}

/* ---- --chain --------------------------------------------------------------------------------------------- */

static json_t *
files_json(const struct plan_set *s)
{
	json_t *a = json_array();

	for (size_t i = 0; i < s->n_files; i++)
		json_array_append_new(a, json_string(s->files[i]));
	return a;
}

static json_t *
date_json(struct bak_date d)
{
	return d.year == 0 ? json_null() : json_string(bak_date_text(d).s);
}

static json_t *
unused_json(json_t *files, int position, const char *reason, const char *text)
{
	json_t *o = json_object();

	json_object_set_new(o, "files", files);
	json_object_set_new(o, "position", position == 0 ? json_null() : json_integer(position));
	json_object_set_new(o, "reason", json_string(reason));
	json_object_set_new(o, "text", json_string(text));
	return o;
}

static json_t *
chain_json(const char *database, struct guid family, const struct plan *plan)
{
	json_t *o = json_object(), *restore = json_array(), *unused = json_array(), *gaps = json_array();

	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct plan_set *s = plan->steps[i].set;
		json_t *step = json_object();

		json_object_set_new(step, "files", files_json(s));
		json_object_set_new(step, "position", json_integer(s->position));
		json_object_set_new(step, "type", json_string(bak_type_word(s->type)));
		json_object_set_new(step, "first_lsn", json_string(lsn_text(s->first_lsn).s));
		json_object_set_new(step, "last_lsn", json_string(lsn_text(s->last_lsn).s));
		json_object_set_new(step, "stop_at", date_json(plan->steps[i].stop_at));
		json_array_append_new(restore, step);
	}
	for (size_t i = 0; i < plan->n_unused; i++)
		json_array_append_new(unused, unused_json(files_json(plan->unused[i].set), plan->unused[i].set->position,
			plan_reason_word(plan->unused[i].reason), plan->unused[i].text));
	for (size_t i = 0; i < plan->n_gaps; i++) {
		const struct plan_gap *g = &plan->gaps[i];
		json_t *gap = json_object();

		json_object_set_new(gap, "needed_lsn", json_string(lsn_text(g->needed).s));
		json_object_set_new(gap, "next_lsn", lsn_is_null(g->next) ? json_null() : json_string(lsn_text(g->next).s));
		json_object_set_new(gap, "after", date_json(g->after));
		json_object_set_new(gap, "before", date_json(g->before));
		json_object_set_new(gap, "text", json_string(g->text));
		json_array_append_new(gaps, gap);
	}
	json_object_set_new(o, "database", json_string(database));
	json_object_set_new(o, "family", json_string(guid_text(family).s));
	json_object_set_new(o, "restore", restore);
	json_object_set_new(o, "unused", unused);
	json_object_set_new(o, "gaps", gaps);
	return o;
}

static void
print_chain(TALLOC_CTX *mem, const char *database, const struct plan *plan)
{
	printf("[%s]\n", safe(mem, database));
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct plan_set *s = plan->steps[i].set;

		printf("  %2zu. %-12s %s", i + 1, bak_type_word(s->type), s->n_files > 0 ? safe(mem, s->files[0]) : "");
		for (size_t f = 1; f < s->n_files; f++)
			printf(" + %s", safe(mem, s->files[f]));
		printf("  LSN %s to %s%s%s\n", lsn_text(s->first_lsn).s, lsn_text(s->last_lsn).s,
		       plan->steps[i].stop_at.year ? ", stop at " : "",
		       plan->steps[i].stop_at.year ? bak_date_text(plan->steps[i].stop_at).s : "");
	}
	for (size_t i = 0; i < plan->n_gaps; i++)
		printf("  gap: %s\n", safe(mem, plan->gaps[i].text));
	for (size_t i = 0; i < plan->n_unused; i++)
		printf("  not used: %s: %s: %s\n", plan->unused[i].set->n_files > 0 ? safe(mem, plan->unused[i].set->files[0]) : "?",
		       plan_reason_word(plan->unused[i].reason), safe(mem, plan->unused[i].text));
}

static bool
parse_date(const char *text, struct bak_date *d)
{
	unsigned y, mo, da, h, mi, s = 0;
	char t;

	if (text == NULL)
		return true;
	if (sscanf(text, "%4u-%2u-%2u%c%2u:%2u:%2u", &y, &mo, &da, &t, &h, &mi, &s) < 6 || (t != 'T' && t != ' ') ||
	    y < 1900 || y > 9999 || mo < 1 || mo > 12 || da < 1 || da > 31 || h > 23 || mi > 59 || s > 59)
		return false;
	*d = (struct bak_date){ (uint16_t)y, (uint8_t)mo, (uint8_t)da, (uint8_t)h, (uint8_t)mi, (uint8_t)s };
	return true;
}

/*
 * Sets of one database name form one plan per family that has a full; a family without one joins the
 * first plan of its name, where its sets are explained as belonging elsewhere, or stands alone when that
 * name has no full at all.
 */
struct chains {
	struct inspect *in;
	const struct plan_set *sets;
	size_t n;
	struct plan_goal goal;
	json_t *list;
	bool complete;
	bool *taken;
};

static bool
has_full(const struct chains *c, const char *database, struct guid family)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->sets[i].type == BAK_FULL && strcasecmp(c->sets[i].database, database) == 0 &&
		    guid_equal(c->sets[i].family, family))
			return true;
	return false;
}

static void
plan_one(struct chains *c, const char *database, struct guid family, bool with_strays)
{
	struct plan_set *mine = talloc_array(c->in->mem, struct plan_set, c->n);
	const struct plan_now now = { .absent = true };
	struct plan *plan;
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct plan_set *s = &c->sets[i];
		bool is_mine = guid_equal(s->family, family) ||
		               (with_strays && !has_full(c, s->database, s->family));

		if (c->taken[i] || strcasecmp(s->database, database) != 0 || !is_mine)
			continue;
		c->taken[i] = true;
		mine[n++] = *s;
	}
	plan = plan_make(c->in->mem, mine, n, family, &now, &c->goal);
	c->complete = c->complete && plan->complete;
	if (c->in->json)
		json_array_append_new(c->list, chain_json(database, family, plan));
	else
		print_chain(c->in->mem, database, plan);
}

static void
plan_all(struct chains *c)
{
	for (size_t i = 0; i < c->n; i++) { /* families that can be restored first */
		bool first = true;

		if (c->taken[i] || !has_full(c, c->sets[i].database, c->sets[i].family))
			continue;
		for (size_t k = 0; k < i; k++)
			first = first && !(strcasecmp(c->sets[k].database, c->sets[i].database) == 0 && c->taken[k]);
		plan_one(c, c->sets[i].database, c->sets[i].family, first);
	}
	for (size_t i = 0; i < c->n; i++)
		if (!c->taken[i])
			plan_one(c, c->sets[i].database, c->sets[i].family, false);
}

static int
chain(struct inspect *in)
{
	struct group_file *files = talloc_array(in->mem, struct group_file, in->n);
	struct chains c = { .in = in, .list = json_array(), .complete = true };
	json_t *out, *orphans = json_array();
	size_t n = 0;

	if (!parse_date(in->stop_at, &c.goal.stop_at)) {
		fprintf(stderr, "landfall: --stop-at wants a time such as 2026-11-23T05:16:00, not '%s'\n",
		        safe(in->mem, in->stop_at));
		return USAGE;
	}
	for (size_t i = 0; i < in->n; i++) {
		if (in->baks[i] != NULL && bak_n_sets(in->baks[i]) > 0) {
			files[n++] = (struct group_file){ in->names[i], in->baks[i] };
			continue;
		}
		c.complete = false;
		const char *why = in->baks[i] == NULL ? in->troubles[i] : bak_why(in->baks[i]);
		json_t *name = json_pack("[s]", in->names[i]);

		json_array_append_new(orphans, unused_json(name, 0, "damaged", why));
		if (!in->json)
			printf("not used: %s: damaged: %s\n", safe(in->mem, in->names[i]), safe(in->mem, why));
	}
	c.sets = group_sets(in->mem, files, n, &c.n);
	c.taken = talloc_zero_array(in->mem, bool, c.n);
	plan_all(&c);
	/* A file that cannot be read belongs to no database that we know: it is shown with the first. */
	if (json_array_size(orphans) > 0) {
		json_t *first = json_array_get(c.list, 0);

		if (first == NULL) {
			first = json_pack("{s:n, s:n, s:[], s:[], s:[]}", "database", "family", "restore", "unused", "gaps");
			json_array_append_new(c.list, first);
		}
		json_array_extend(json_object_get(first, "unused"), orphans);
	}
	json_decref(orphans);
	out = json_object();
	json_object_set_new(out, "databases", c.list);
	if (in->json)
		print_json(out);
	else
		json_decref(out);
	for (size_t i = 0; i < in->n; i++)
		if (in->baks[i] == NULL)
			return NO_FILE;
	return c.complete ? OK : NOT_READY;
}

static int
usage(void)
{
	fputs("usage: landfall inspect [--json] FILE...            what is in these backups, and are they sound (- is a pipe)\n"
	      "       landfall inspect --chain [--stop-at TIME] [--json] FILE...   in which order they are restored\n", stderr);
	return USAGE;
}

int
cmd_inspect(int argc, char **argv)
{
	struct inspect in = { .mem = talloc_new(NULL) };
	int code;

	in.names = talloc_array(in.mem, char *, (size_t)argc + 1);
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			in.json = true;
		else if (strcmp(argv[i], "--chain") == 0)
			in.chain = true;
		else if (strcmp(argv[i], "--stop-at") == 0 && i + 1 < argc)
			in.stop_at = argv[++i];
		else if (argv[i][0] == '-' && argv[i][1] != '\0')
			return usage();
		else
			in.names[in.n++] = argv[i];
	}
	if (in.n == 0)
		return usage();
	read_all(&in);
	if (in.chain) {
		code = chain(&in);
		talloc_free(in.mem);
		return code;
	}
	if (in.json)
		print_all_json(&in);
	else
		for (size_t i = 0; i < in.n; i++)
			print_page(&in, i);
	talloc_free(in.mem);
	return in.worst;
}
