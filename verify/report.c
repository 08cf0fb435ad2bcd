#include "verify/report.h"

#include <string.h>
#include <time.h>

#include "common/text.h"

enum { SAID_MAX = 4000 };

struct report_stamp
report_now(void)
{
	struct report_stamp stamp;
	time_t now = time(NULL);
	struct tm tm;

	strftime(stamp.s, sizeof(stamp.s), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	return stamp;
}

/* Never NULL, whatever was said. */
static json_t *
said(const char *s)
{
	size_t len = s == NULL ? 0 : strnlen(s, SAID_MAX);
	TALLOC_CTX *mem = talloc_new(NULL);
	char *cut = talloc_strndup(mem, s == NULL ? "" : s, len);
	json_t *o;

	/* A character that was cut through goes as a whole. */
	if (len == SAID_MAX) {
		while (len > 0 && ((unsigned char)cut[len - 1] & 0xc0) == 0x80)
			cut[--len] = '\0';
		if (len > 0 && (unsigned char)cut[len - 1] >= 0xc0)
			cut[--len] = '\0';
	}
	o = json_string(text_is_utf8(cut, len) ? cut : text_escaped(mem, cut));
	talloc_free(mem);
	return o;
}

json_t *
report_check(const struct check *c, const struct finding *f, int attempts, int64_t ms, const char *started)
{
	return json_pack("{s:o,s:o,s:s,s:s,s:s,s:i,s:I,s:o,s:o,s:o,s:s}", "id", said(c->id), "title",
		said(c->title), "result", check_result_word(f->result), "severity",
		c->severity == NULL ? "blocker" : c->severity, "tier", c->tier == NULL ? "gate" : c->tier,
		"attempts", attempts, "duration_ms", (json_int_t)ms, "expected", said(f->expected), "observed",
		said(f->observed), "evidence", f->evidence, "started", started);
}

static const char *
text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s == NULL ? "" : s;
}

static json_t *
statistics(const json_t *checks)
{
	json_t *o = json_pack("{s:I}", "total", (json_int_t)json_array_size(checks)), *c;
	int counts[CHECK_RESULTS] = { 0 };
	size_t i;

	for (int k = 0; k < CHECK_RESULTS; k++) {
		const char *word = check_result_word((enum check_result)k);

		json_array_foreach(checks, i, c)
			counts[k] += strcmp(text(c, "result"), word) == 0;
		json_object_set_new(o, word, json_integer(counts[k]));
	}
	return o;
}

json_t *
report_json(const struct report_head *h, json_t *checks)
{
	return json_pack("{s:s,s:o,s:o,s:o,s:s,s:s,s:s,s:o,s:{s:o,s:o,s:o,s:o},s:o}",
		"schema", "landfall.verify/1", "migration", said(h->migration), "run", said(h->run), "product",
		said(h->product), "verdict", h->verdict, "started", h->started, "finished", report_now().s,
		"statistics", statistics(checks), "target", "cluster", said(h->cluster), "server_version",
		said(h->server_version), "database", said(h->database), "recovery_lsn", said(h->recovery_lsn),
		"checks", checks);
}

char *
report_text(TALLOC_CTX *parent, const json_t *o)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	char *s = talloc_asprintf(parent, "%s: %s\n", text_escaped(mem, text(json_object_get(o, "target"),
	                          "database")), text(o, "verdict"));
	json_t *c, *e;
	size_t i, k;

	json_array_foreach(json_object_get(o, "checks"), i, c) {
		s = talloc_asprintf_append(s, "  %-6s %-28s expected %s, observed %s\n", text(c, "result"),
			text_escaped(mem, text(c, "id")), text_escaped(mem, text(c, "expected")),
			text_escaped(mem, text(c, "observed")));
		json_array_foreach(json_object_get(c, "evidence"), k, e)
			s = talloc_asprintf_append(s, "         %s\n", text_escaped(mem, json_string_value(e)));
	}
	talloc_free(mem);
	return s;
}
