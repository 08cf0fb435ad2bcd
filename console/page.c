#include "console/page.h"

#include <string.h>

#include "common/text.h"

static const char css[] =
	":root{color-scheme:light dark}body{font:15px/1.45 system-ui,sans-serif;margin:1.2rem auto;max-width:76rem;padding:0 1rem}"
	"h1{font-size:1.3rem}h2{font-size:1.05rem;margin:1.4rem 0 .4rem}table{border-collapse:collapse;width:100%}"
	"th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #8884;vertical-align:top}th{font-weight:600}"
	"td.n{font-variant-numeric:tabular-nums;white-space:nowrap}.bad{color:#b00020}.ok{color:#1b7f3b}.dim{opacity:.7}"
	".stale{background:#b00020;color:#fff;padding:.5rem .8rem}code{font-size:.92em;overflow-wrap:anywhere}"
	"@media(prefers-color-scheme:dark){.bad{color:#ff8a80}.ok{color:#7bd88f}}";

const char *
page_css(void)
{
	return css;
}

void
page_raw(struct page *p, const char *literal)
{
	p->html = talloc_strdup_append_buffer(p->html, literal);
}

void
page_text(struct page *p, const char *hostile)
{
	if (hostile != NULL)
		p->html = talloc_strdup_append_buffer(p->html, text_html(p->mem, hostile));
}

void
page_value(struct page *p, json_t *v)
{
	if (json_is_integer(v))
		p->html = talloc_asprintf_append_buffer(p->html, "%lld", (long long)json_integer_value(v));
	else if (json_is_real(v))
		p->html = talloc_asprintf_append_buffer(p->html, "%.1f", json_real_value(v));
	else
		page_text(p, json_string_value(v));
}

void
page_begin(struct page *p, TALLOC_CTX *mem, const char *title, const struct page_age *age)
{
	p->mem = mem;
	p->html = talloc_strdup(mem, "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5>"
	                             "<meta name=viewport content='width=device-width'><link rel=stylesheet href=/style.css><title>");
	page_text(p, title);
	page_raw(p, "</title><h1><a href=/>Landfall</a> · ");
	page_text(p, title);
	page_raw(p, "</h1><p class=dim>as of ");
	page_text(p, age->as_of);
	page_raw(p, ", read again every 5 s</p>");
	if (age->stale != NULL) {
		page_raw(p, "<p class=stale>These numbers are old: ");
		page_text(p, age->stale);
		page_raw(p, "</p>");
	}
}

void
page_end(struct page *p)
{
	page_raw(p, "</html>\n");
}

static void
cell(struct page *p, json_t *row, const char *key)
{
	page_raw(p, "<td>");
	page_value(p, json_object_get(row, key));
	page_raw(p, "</td>");
}

static void
link_to(struct page *p, json_t *row, const char *key)
{
	const char *id = json_string_value(json_object_get(row, key));

	page_raw(p, "<td><a href='/m/");
	page_text(p, id);
	page_raw(p, "'>");
	page_text(p, id);
	page_raw(p, "</a></td>");
}

static void
queue_rows(struct page *p, json_t *list, const char *title, const char *why)
{
	json_t *r, *s;
	size_t i, k;

	json_array_foreach(list, i, r) {
		page_raw(p, "<tr><td>");
		page_raw(p, title);
		page_raw(p, "</td>");
		link_to(p, r, "migration");
		cell(p, r, "run");
		page_raw(p, "<td>");
		page_value(p, json_object_get(r, why));
		json_array_foreach(json_object_get(r, "steps"), k, s) {
			page_raw(p, k == 0 ? ": " : "; ");
			page_value(p, json_object_get(s, "kind"));
			page_raw(p, " on ");
			page_value(p, json_object_get(s, "replica"));
			page_raw(p, " ");
			page_value(p, json_object_get(s, "percent"));
			page_raw(p, json_is_null(json_object_get(s, "percent")) ? "begun" : " % read");
		}
		page_raw(p, "</td></tr>");
	}
}

static void
put_queue(struct page *p, json_t *queue)
{
	json_t *c;
	size_t i;

	page_raw(p, "<h2>Restore queue</h2>");
	json_array_foreach(json_object_get(queue, "clusters"), i, c) {
		page_raw(p, "<table><tr><th colspan=4>cluster ");
		page_value(p, json_object_get(c, "name"));
		page_raw(p, ", ");
		page_value(p, json_object_get(c, "slots"));
		page_raw(p, " slots, one of them kept for cutovers</th></tr>");
		queue_rows(p, json_object_get(c, "running"), "<b class=ok>running</b>", "state");
		queue_rows(p, json_object_get(c, "waiting"), "waiting", "why");
		queue_rows(p, json_object_get(c, "blocked"), "<span class=dim>blocked by</span>", "why");
		page_raw(p, "</table>");
	}
}

static void
put_replicas(struct page *p, json_t *status)
{
	json_t *c, *r;
	size_t i, k;

	page_raw(p, "<h2>Clusters</h2><table><tr><th>replica<th>state<th>version<th>said</tr>");
	json_array_foreach(json_object_get(status, "clusters"), i, c)
		json_array_foreach(json_object_get(c, "replicas"), k, r) {
			page_raw(p, "<tr>");
			cell(p, r, "name");
			cell(p, r, "state");
			cell(p, r, "server_version");
			cell(p, r, "said");
			page_raw(p, "</tr>");
		}
	page_raw(p, "</table>");
}

char *
page_overview(TALLOC_CTX *mem, json_t *queue, json_t *migrations, json_t *status,
              const struct page_age *age)
{
	struct page p;
	json_t *m;
	size_t i;

	page_begin(&p, mem, "restore queue and migrations", age);
	put_queue(&p, queue);
	page_raw(&p, "<h2>Migrations</h2><table><tr><th>id<th>customer<th>database<th>cluster<th>stage<th>UAT<th>verdict"
	             "<th>files<th>chain<th>steps<th>waits for<th>downtime s<th>changed</tr>");
	json_array_foreach(migrations, i, m) {
		page_raw(&p, "<tr>");
		link_to(&p, m, "id");
		cell(&p, m, "customer");
		cell(&p, m, "database");
		cell(&p, m, "cluster");
		cell(&p, m, "stage");
		cell(&p, m, "uat");
		cell(&p, m, "verdict");
		cell(&p, m, "files");
		cell(&p, m, "chain");
		cell(&p, m, "steps");
		page_raw(&p, "<td>");
		page_text(&p, json_string_value(json_object_get(m, "hold")) != NULL ? "on hold: " : NULL);
		page_value(&p, json_object_get(m, json_is_string(json_object_get(m, "hold")) ? "hold" : json_is_string(json_object_get(m, "failure"))
			? "failure" : "waits_for"));
		page_raw(&p, "</td>");
		cell(&p, m, "downtime_seconds");
		cell(&p, m, "changed_at");
		page_raw(&p, "</tr>");
	}
	page_raw(&p, "</table>");
	put_replicas(&p, status);
	page_end(&p);
	return p.html;
}

static void
put_list(struct page *p, json_t *list)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		page_raw(p, i == 0 ? "" : ", ");
		page_value(p, v);
	}
}

static void
put_run(struct page *p, json_t *r)
{
	json_t *x;
	size_t i;

	page_raw(p, "<h2>");
	page_value(p, json_object_get(r, "run"));
	page_raw(p, ": ");
	page_value(p, json_object_get(r, "state"));
	page_raw(p, " as <code>");
	page_value(p, json_object_get(r, "database"));
	page_raw(p, "</code></h2><p>");
	if (json_is_string(json_object_get(r, "hold"))) {
		page_raw(p, "<b>on hold: ");
		page_value(p, json_object_get(r, "hold"));
		page_raw(p, "</b> ");
	}
	if (json_is_string(json_object_get(r, "waits_for"))) {
		page_raw(p, "waiting for: ");
		page_value(p, json_object_get(r, "waits_for"));
	}
	if (json_is_string(json_object_get(r, "stop_at"))) {
		page_raw(p, " <b>ends at ");
		page_value(p, json_object_get(r, "stop_at"));
		page_raw(p, ", the source's local time: ");
		page_value(p, json_object_get(r, "stop_reason"));
		page_raw(p, "</b>");
	}
	if (json_is_string(json_object_get(r, "failure"))) {
		page_raw(p, " <span class=bad>");
		page_value(p, json_object_get(r, "failure"));
		page_raw(p, "</span>");
	}
	page_raw(p, "</p><table>");
	json_array_foreach(json_object_get(r, "replicas"), i, x) {
		page_raw(p, "<tr>");
		cell(p, x, "target");
		cell(p, x, "state");
		cell(p, x, "redo_start_lsn");
		page_raw(p, "</tr>");
	}
	page_raw(p, "</table><p>restored: ");
	put_list(p, json_object_get(r, "restored"));
	page_raw(p, "</p><table>");
	json_array_foreach(json_object_get(r, "gaps"), i, x) {
		page_raw(p, "<tr><td class=bad>gap</td>");
		cell(p, x, "text");
		page_raw(p, "</tr>");
	}
	json_array_foreach(json_object_get(r, "unused"), i, x) {
		page_raw(p, "<tr><td class=dim>not used</td><td>");
		put_list(p, json_object_get(x, "files"));
		page_raw(p, ": ");
		page_value(p, json_object_get(x, "text"));
		page_raw(p, "</td></tr>");
	}
	json_array_foreach(json_object_get(r, "gates"), i, x) {
		page_raw(p, json_is_true(json_object_get(x, "open")) ? "<tr><td class=ok>gate open</td><td>" : "<tr><td class=bad>gate closed</td><td>");
		page_value(p, json_object_get(x, "name"));
		page_raw(p, json_is_string(json_object_get(x, "why")) ? ": " : "");
		page_value(p, json_object_get(x, "why"));
		page_raw(p, "</td></tr>");
	}
	page_raw(p, "</table>");
	if (json_is_string(json_object_get(r, "verdict"))) {
		page_raw(p, "<p>verdict: <b>");
		page_value(p, json_object_get(r, "verdict"));
		page_raw(p, "</b></p>");
	}
}

static void
put_files(struct page *p, json_t *list)
{
	json_t *f;
	size_t i;

	page_raw(p, "<h2>Files</h2><table><tr><th>name<th>state<th>bytes<th>findings<th>reason<th>SHA-256</tr>");
	json_array_foreach(list, i, f) {
		page_raw(p, "<tr>");
		cell(p, f, "name");
		cell(p, f, "state");
		cell(p, f, "bytes");
		page_raw(p, "<td>");
		put_list(p, json_object_get(f, "findings"));
		page_raw(p, "</td>");
		cell(p, f, "reason");
		page_raw(p, "<td><code>");
		page_value(p, json_object_get(f, "sha256"));
		page_raw(p, "</code></td>");
		page_raw(p, "</tr>");
	}
	page_raw(p, "</table>");
}

static void
put_steps(struct page *p, json_t *list)
{
	json_t *s, *m;
	size_t i, k;

	page_raw(p, "<h2>Steps</h2><table><tr><th>run<th>replica<th>kind<th>file<th>state<th>tries<th>seconds<th>messages</tr>");
	json_array_foreach(list, i, s) {
		page_raw(p, "<tr>");
		cell(p, s, "run");
		cell(p, s, "replica");
		cell(p, s, "kind");
		cell(p, s, "file");
		cell(p, s, "state");
		cell(p, s, "attempts");
		cell(p, s, "seconds");
		page_raw(p, "<td><details><summary>");
		page_value(p, json_object_get(s, "said"));
		page_raw(p, "</summary>");
		json_array_foreach(json_object_get(s, "messages"), k, m) {
			page_value(p, json_object_get(m, "number"));
			page_raw(p, " ");
			page_value(p, json_object_get(m, "text"));
			page_raw(p, "<br>");
		}
		page_raw(p, "</details></td></tr>");
	}
	page_raw(p, "</table>");
}

char *
page_migration(TALLOC_CTX *mem, json_t *m, json_t *history, const struct page_age *age)
{
	struct page p;
	json_t *x;
	size_t i;

	page_begin(&p, mem, json_string_value(json_object_get(m, "id")), age);
	page_raw(&p, "<p>");
	page_value(&p, json_object_get(m, "customer"));
	page_raw(&p, ", database <code>");
	page_value(&p, json_object_get(m, "database"));
	page_raw(&p, "</code>, cluster ");
	page_value(&p, json_object_get(m, "cluster"));
	page_raw(&p, ", stage <b>");
	page_value(&p, json_object_get(m, "stage"));
	page_raw(&p, "</b></p>");
	if (json_array_size(json_object_get(m, "missing")) > 0) {
		page_raw(&p, "<p class=dim>missing in the intake: ");
		put_list(&p, json_object_get(m, "missing"));
		page_raw(&p, "</p>");
	}
	json_array_foreach(json_object_get(m, "runs"), i, x)
		put_run(&p, x);
	put_files(&p, json_object_get(m, "files"));
	put_steps(&p, json_object_get(history, "steps"));
	page_raw(&p, "<h2>Events</h2><table>");
	json_array_foreach(json_object_get(history, "events"), i, x) {
		page_raw(&p, "<tr>");
		cell(&p, x, "at");
		cell(&p, x, "kind");
		cell(&p, x, "text");
		cell(&p, x, "actor");
		page_raw(&p, "</tr>");
	}
	page_raw(&p, "</table>");
	page_end(&p);
	return p.html;
}

/* ---- /metrics: Prometheus's text form --------------------------------------------------------- */

static char *
family(char *s, const char *name, const char *help, json_t *list, const char *a, const char *b,
       const char *value)
{
	json_t *o;
	size_t i;

	s = talloc_asprintf_append_buffer(s, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
	json_array_foreach(list, i, o) {
		s = talloc_asprintf_append_buffer(s, "%s{%s=\"%s\"", name, a,
		                                  json_string_value(json_object_get(o, a)));
		if (b != NULL)
			s = talloc_asprintf_append_buffer(s, ",%s=\"%s\"", b,
			                                  json_string_value(json_object_get(o, b)));
		s = talloc_asprintf_append_buffer(s, "} %lld\n",
		                                  (long long)json_integer_value(json_object_get(o, value)));
	}
	return s;
}

static char *
single(char *s, const char *name, const char *help, long long value)
{
	return talloc_asprintf_append_buffer(s, "# HELP %s %s\n# TYPE %s gauge\n%s %lld\n", name, help, name,
	                                     name, value);
}

/* Labels are words of the schema, our ids and names of clusters, never anybody's text. */
char *
page_metrics(TALLOC_CTX *mem, json_t *o)
{
	char *s = single(talloc_strdup(mem, ""), "landfall_up", "Whether Postgres answers.", o != NULL);
	json_t *active = json_object_get(o, "active");

	if (o == NULL)
		return s;
	s = family(s, "landfall_migrations", "Migrations by stage of their production run.",
	           json_object_get(o, "migrations"), "stage", "region", "n");
	s = family(s, "landfall_runs", "Runs by kind and state.", json_object_get(o, "runs"), "kind", "state", "n");
	s = family(s, "landfall_uploads", "Uploads by state.", json_object_get(o, "uploads"), "state", NULL, "n");
	s = family(s, "landfall_upload_bytes", "Bytes of uploads by state.", json_object_get(o, "uploads"), "state",
	           NULL, "bytes");
	s = family(s, "landfall_steps", "Restore steps by kind and state.", json_object_get(o, "steps"), "kind",
	           "state", "n");
	s = family(s, "landfall_queue_oldest_seconds", "How long the oldest run has waited for a restore slot.",
	           json_object_get(o, "queue"), "cluster", NULL, "seconds");
	s = family(s, "landfall_chain_gaps", "Gaps in the log chain of a migration that is not verified yet.",
	           active, "migration", NULL, "gaps");
	s = family(s, "landfall_cutover_downtime_seconds", "The customer's downtime so far, 0 before it.",
	           active, "migration", NULL, "downtime");
	s = family(s, "landfall_worker_heartbeat_timestamp_seconds", "Last sign of life of each program.",
	           json_object_get(o, "workers"), "program", NULL, "beat");
	s = single(s, "landfall_runs_waiting", "Runs that wait for a restore slot.",
	           json_integer_value(json_object_get(o, "waiting")));
	return single(s, "landfall_replicas_away", "Replicas that do not answer.",
	              json_integer_value(json_object_get(o, "replicas_away")));
}
