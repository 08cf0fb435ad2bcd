#include "console/report.h"

#include <stdbool.h>
#include <string.h>

#include "console/page.h"

static const char head[] =
	"<!doctype html><html lang=en><meta charset=utf-8>"
	"<meta name=viewport content='width=device-width'><style>"
	":root{color-scheme:light dark}"
	"body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem auto;max-width:70rem;padding:0 1rem}"
	"table{border-collapse:collapse;width:100%}tr{break-inside:avoid}"
	"th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid #8884;vertical-align:top}"
	"td{overflow-wrap:anywhere}@media print{:root{color-scheme:light}}"
	"</style><title>Verification of ";

static void
field(struct page *p, const char *label, json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	if (v == NULL || json_is_null(v))
		return;
	page_raw(p, "<tr><th>");
	page_raw(p, label);
	page_raw(p, "</th><td>");
	page_value(p, v);
	page_raw(p, "</td></tr>");
}

static void
put_evidence(struct page *p, json_t *check)
{
	json_t *line;
	size_t i;

	json_array_foreach(json_object_get(check, "evidence"), i, line) {
		page_raw(p, "<br>");
		page_value(p, line);
	}
}

static void
put_checks(struct page *p, json_t *checks, bool passed)
{
	json_t *k;
	size_t i;

	json_array_foreach(checks, i, k) {
		const char *result = json_string_value(json_object_get(k, "result"));

		if ((result != NULL && strcmp(result, "pass") == 0) != passed)
			continue;
		page_raw(p, "<tr><td><b>");
		page_text(p, result);
		page_raw(p, "</b></td><td>");
		page_value(p, json_object_get(k, "id"));
		page_raw(p, "</td><td>");
		page_value(p, json_object_get(k, "severity"));
		page_raw(p, "</td><td>");
		page_value(p, json_object_get(k, "expected"));
		page_raw(p, "</td><td>");
		page_value(p, json_object_get(k, "observed"));
		put_evidence(p, k);
		page_raw(p, "</td></tr>");
	}
}

char *
report_html(TALLOC_CTX *parent, json_t *result)
{
	struct page p = { parent, talloc_strdup(parent, head) };
	json_t *target = json_object_get(result, "target"), *checks = json_object_get(result, "checks");

	page_value(&p, json_object_get(result, "migration"));
	page_raw(&p, "</title><h1>");
	page_value(&p, json_object_get(result, "migration"));
	page_raw(&p, ": ");
	page_value(&p, json_object_get(result, "verdict"));
	page_raw(&p, "</h1><table>");
	field(&p, "product", result, "product");
	field(&p, "started", result, "started");
	field(&p, "finished", result, "finished");
	field(&p, "cluster", target, "cluster");
	field(&p, "server version", target, "server_version");
	field(&p, "database", target, "database");
	field(&p, "recovered at LSN", target, "recovery_lsn");
	page_raw(&p, "</table><h2>Checks</h2><table><tr><th>result<th>check<th>severity<th>expected"
	             "<th>observed</tr>");
	put_checks(&p, checks, false);
	put_checks(&p, checks, true);
	page_raw(&p, "</table></html>\n");
	return p.html;
}
