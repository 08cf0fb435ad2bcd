#include "common/bak_json.h"

#include "common/bak_columns.h"

static json_t *
number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static void
add_columns(json_t *o, enum bak_statement statement, const struct bak *bak, const struct bak_set *set, const struct bak_file *file)
{
	size_t n;
	const struct bak_column *columns = bak_columns(statement, &n);

	for (size_t i = 0; i < n; i++)
		json_object_set_new(o, columns[i].name, bak_column_value(&columns[i], statement, bak, set, file));
}

static json_t *
media(const struct bak *bak)
{
	json_t *o;

	if (bak_media(bak) == NULL)
		return json_null();
	o = json_object();
	add_columns(o, BAK_LABELONLY, bak, NULL, NULL);
	return o;
}

static json_t *
files(const struct bak *bak, const struct bak_set *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->n_files; i++) {
		json_t *o = json_object();

		add_columns(o, BAK_FILELISTONLY, bak, s, &s->files[i]);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
pages(const struct bak_set *s)
{
	const struct bak_pages *p = s->pages;

	return json_pack("{s:o, s:o, s:o}", "checked", number(p[0].checked + p[1].checked), "bad", number(p[0].bad + p[1].bad), "unchecked",
	                 number(p[0].zero + p[0].foreign + p[0].unprotected + p[1].zero + p[1].foreign + p[1].unprotected));
}

json_t *
bak_json_set(const struct bak *bak, const struct bak_set *s)
{
	json_t *o = json_object();

	add_columns(o, BAK_HEADERONLY, bak, s, NULL);
	json_object_set_new(o, "files", files(bak, s));
	json_object_set_new(o, "pages", pages(s));
	json_object_set_new(o, "log", json_pack("{s:o, s:o, s:o, s:o}", "extents", number(s->n_extents), "bytes", number(s->log_bytes), "blocks",
		number(s->log_blocks), "bad", number(s->log_bad)));
	json_object_set_new(o, "checksums", json_pack("{s:o, s:o}", "checked", number(s->csum_streams), "bad", number(s->csum_bad)));
	json_object_set_new(o, "unknown_structures", number(s->unknown_structures));
	json_object_set_new(o, "provisional", json_boolean(!s->final));
	return o;
}

static json_t *
damage(const struct bak *bak)
{
	static const char *const kinds[] = {
		[BAK_BAD_PAGE] = "page", [BAK_BAD_SUM] = "checksum", [BAK_BAD_LOG] = "log", [BAK_CONTRADICTION] = "contradiction",
	};
	json_t *list = json_array();
	size_t n;
	uint64_t all;
	const struct bak_damage *d = bak_damage(bak, &n, &all);

	for (size_t i = 0; i < n; i++) {
		json_t *o = json_pack("{s:s, s:i, s:o, s:o, s:s}", "kind", kinds[d[i].kind], "position", d[i].position, "offset",
			number(d[i].offset), "file_offset", number(d[i].file_offset), "text", d[i].text);

		if (d[i].kind == BAK_BAD_PAGE)
			json_object_update_new(o, json_pack("{s:o, s:o}", "FileId", number(d[i].file_id), "PageId", number(d[i].page_id)));
		json_array_append_new(list, o);
	}
	return json_pack("{s:o, s:o}", "places", number(all), "listed", list);
}

static json_t *
records(const struct bak *bak)
{
	const struct bak_records *r = bak_records(bak);

	return r == NULL ? json_null() : json_pack("{s:o, s:o, s:o}", "data", number(r->data), "padding", number(r->padding), "index", number(r->indexes));
}

json_t *
bak_json(const char *file, const struct bak *bak, uint16_t newest)
{
	static const char *const containers[] = { NULL, "MTF", "MSSQLBAK", "other" };
	json_t *o = json_object(), *list = json_array(), *sets = json_array();
	const char *container = containers[bak_container(bak)], *why = bak_why(bak);
	const char *const *findings;
	size_t n;

	findings = bak_findings(NULL, bak, newest, &n);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(findings[i]));
	talloc_free((void *)(uintptr_t)findings);
	for (size_t i = 0; i < bak_n_sets(bak); i++)
		json_array_append_new(sets, bak_json_set(bak, bak_set(bak, i)));
	json_object_set_new(o, "file", json_string(file));
	json_object_set_new(o, "container", container == NULL ? json_null() : json_string(container));
	json_object_set_new(o, "complete", json_boolean(bak_is_whole(bak)));
	json_object_set_new(o, "why", why == NULL ? json_null() : json_string(why));
	json_object_set_new(o, "media", media(bak));
	json_object_set_new(o, "records", records(bak));
	json_object_set_new(o, "findings", list);
	json_object_set_new(o, "damage", damage(bak));
	json_object_set_new(o, "sets", sets);
	return o;
}
