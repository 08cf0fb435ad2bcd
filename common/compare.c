#include "common/compare.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { SHOWN = 200 }; /* characters of a value that are kept: names in a header may be long */

enum nature { NUMBER, LSN, GUID, TEXT, DATE };

/* What order, identity and the file list rest on. */
static const struct { const char *name; enum nature nature; } header_stops[] = {
	{ "BackupSetGUID", GUID }, { "FamilyGUID", GUID }, { "FirstLSN", LSN }, { "LastLSN", LSN }, { "CheckpointLSN", LSN },
	{ "DatabaseBackupLSN", LSN }, { "BackupType", NUMBER }, { "DatabaseVersion", NUMBER },
}, file_stops[] = {
	{ "Type", TEXT }, { "LogicalName", TEXT }, { "Size", NUMBER },
};

/* Said by the server of itself and not of the set; or a text for people, which releases word differently. Position is what chose the row. */
static const char *const not_compared[] = { "Position", "DeviceType", "BackupTypeDescription", "FileId" };

static const struct { const char *name; enum nature nature; } natures[] = {
	{ "ForkPointLSN", LSN }, { "DifferentialBaseLSN", LSN }, { "CreateLSN", LSN }, { "DropLSN", LSN }, { "DifferentialBaseGUID", GUID },
	{ "BindingID", GUID }, { "RecoveryForkID", GUID }, { "FirstRecoveryForkID", GUID }, { "UniqueId", GUID }, { "BackupStartDate", DATE },
	{ "BackupFinishDate", DATE }, { "DatabaseCreationDate", DATE }, { "ExpirationDate", DATE },
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* ---- values -------------------------------------------------------------------------------------------- */

/* Both sides as text; NULL for null and for what is not there. */
static const char *
text_of(TALLOC_CTX *mem, const json_t *v)
{
	if (json_is_string(v))
		return json_string_value(v);
	if (json_is_boolean(v))
		return json_is_true(v) ? "1" : "0";
	if (json_is_integer(v))
		return talloc_asprintf(mem, "%lld", (long long)json_integer_value(v));
	return NULL;
}

static bool
is_none(const char *s, enum nature nature)
{
	if (s == NULL || s[0] == '\0')
		return true;
	return (nature == LSN || nature == GUID) && strspn(s, "0-") == strlen(s);
}

/* Lengths without trailing blanks: nchar columns are filled up. */
static size_t
bare(const char *s)
{
	size_t n = strlen(s);

	while (n > 0 && s[n - 1] == ' ')
		n--;
	return n;
}

static bool
is_same(const char *a, const char *b, enum nature nature)
{
	enum { TO_SECONDS = 19 };

	if (is_none(a, nature) || is_none(b, nature))
		return is_none(a, nature) && is_none(b, nature);
	switch (nature) {
	case GUID: return strcasecmp(a, b) == 0;
	case DATE: return strncmp(a, b, TO_SECONDS) == 0;
	case NUMBER: case LSN: case TEXT: break;
	}
	return bare(a) == bare(b) && memcmp(a, b, bare(a)) == 0;
}

/* ---- the list ------------------------------------------------------------------------------------------- */

static char *
shown(TALLOC_CTX *mem, const char *s, const char *nothing)
{
	size_t n = s == NULL ? 0 : strlen(s);
	char *t = talloc_strndup(mem, n == 0 ? nothing : s, SHOWN);

	/* Not in the middle of a character. */
	for (size_t k = strlen(t); n > SHOWN && k > 0 && ((unsigned char)s[k] & 0xC0) == 0x80; k--)
		t[k - 1] = '\0';
	return t;
}

static void
add(struct compare_result *r, const char *what, const char *ours, const char *theirs, bool stops, const char *nothing)
{
	r->differences = talloc_realloc(r, r->differences, struct compare_difference, r->n + 1);
	r->differences[r->n++] = (struct compare_difference){ what, shown(r, ours, nothing), shown(r, theirs, nothing), stops };
	r->stops = r->stops || stops;
}

/* One column of both; where says of which file. */
static void
compare_column(struct compare_result *r, const char *where, const char *name, enum nature nature, const json_t *ours, const json_t *theirs, bool stops)
{
	const char *a = text_of(r, json_object_get(ours, name)), *b = text_of(r, json_object_get(theirs, name));
	bool null_is_none = nature == LSN || nature == GUID;

	/* Not sent by this release; or nothing our reader could know. */
	if (json_object_get(theirs, name) == NULL || (a == NULL && !null_is_none) || is_same(a, b, nature))
		return;
	add(r, talloc_asprintf(r, "%s%s", where, name), a, b, stops, "none");
}

static bool
is_not_compared(const char *name)
{
	for (size_t i = 0; i < N(not_compared); i++)
		if (strcmp(not_compared[i], name) == 0)
			return true;
	return false;
}

static enum nature
nature_of(const char *name)
{
	for (size_t i = 0; i < N(natures); i++)
		if (strcmp(natures[i].name, name) == 0)
			return natures[i].nature;
	return TEXT;
}

/* The other columns: whatever both have a value for. */
static void
compare_rest(struct compare_result *r, const char *where, const json_t *ours, const json_t *theirs, bool (*is_stop)(const char *))
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)ours, name, v)
		if (!json_is_null(v) && !json_is_object(v) && !json_is_array(v) && !is_stop(name) && !is_not_compared(name))
			compare_column(r, where, name, nature_of(name), ours, theirs, false);
}

static bool
stops_header(const char *name)
{
	for (size_t i = 0; i < N(header_stops); i++)
		if (strcmp(header_stops[i].name, name) == 0)
			return true;
	return false;
}

static bool
stops_file(const char *name)
{
	for (size_t i = 0; i < N(file_stops); i++)
		if (strcmp(file_stops[i].name, name) == 0)
			return true;
	return false;
}

/* ---- header and files -------------------------------------------------------------------------------------- */

/* The object of that number, the number being text on their side and a number on ours. */
static const json_t *
find(TALLOC_CTX *mem, const json_t *list, const char *key, const char *number)
{
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o) {
		const char *s = text_of(mem, json_object_get(o, key));

		if (s != NULL && strcmp(s, number) == 0)
			return o;
	}
	return NULL;
}

static void
compare_header(struct compare_result *r, const json_t *ours, int position, const json_t *headers)
{
	const char *number = talloc_asprintf(r, "%d", position);
	const json_t *theirs = find(r, headers, "Position", number);

	if (theirs == NULL) {
		add(r, "Position", number, NULL, true, "no set of that position");
		return;
	}
	for (size_t i = 0; i < N(header_stops); i++)
		compare_column(r, "", header_stops[i].name, header_stops[i].nature, ours, theirs, true);
	compare_rest(r, "", ours, theirs, stops_header);
}

static void
compare_files(struct compare_result *r, const json_t *ours, const json_t *theirs)
{
	const json_t *f, *t;
	size_t i;

	json_array_foreach(ours, i, f) {
		const char *id = text_of(r, json_object_get(f, "FileId")), *where = talloc_asprintf(r, "file %s: ", id);

		if ((t = find(r, theirs, "FileId", id)) == NULL) {
			add(r, talloc_asprintf(r, "file %s", id), text_of(r, json_object_get(f, "LogicalName")), NULL, true, "absent");
			continue;
		}
		for (size_t k = 0; k < N(file_stops); k++)
			compare_column(r, where, file_stops[k].name, file_stops[k].nature, f, t, true);
		compare_rest(r, where, f, t, stops_file);
	}
	json_array_foreach(theirs, i, t) {
		const char *id = text_of(r, json_object_get(t, "FileId"));

		if (id != NULL && find(r, ours, "FileId", id) == NULL)
			add(r, talloc_asprintf(r, "file %s", id), NULL, text_of(r, json_object_get(t, "LogicalName")), true, "absent");
	}
}

static char *
sentence(struct compare_result *r)
{
	char *s = NULL;

	for (size_t i = 0; i < r->n; i++) {
		const struct compare_difference *d = &r->differences[i];

		if (d->stops == r->stops)
			s = talloc_asprintf_append(s == NULL ? talloc_strdup(r, "") : s, "%s%s is %s for our reader and %s for the server", i == 0 || s == NULL ? "" : "; ",
			                           d->what, d->ours, d->theirs);
	}
	return s;
}

struct compare_result *
compare_set(TALLOC_CTX *parent, const json_t *ours, int position, const json_t *headers, const json_t *files)
{
	struct compare_result *r = talloc_zero(parent, struct compare_result);

	compare_header(r, ours, position, headers);
	compare_files(r, json_object_get(ours, "files"), files);
	r->text = sentence(r);
	return r;
}

json_t *
compare_json(const struct compare_result *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->n; i++)
		json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:b}", "what", r->differences[i].what, "ours", r->differences[i].ours, "theirs",
			r->differences[i].theirs, "stops", r->differences[i].stops));
	return list;
}
