/*
 * T-SQL's functions and operators that SQLite lacks or understands otherwise, as functions of a connection.
 *
 * Each is called tsql_ and its name in queries that were written anew. A value that cannot be converted
 * ends the statement with the server's own number, which travels in the text as "number:words".
 */
#include "tests/standin/tsql_run.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#define SESSION ((struct tsql_session *)sqlite3_user_data(c))
#define IS_NULL(v) (sqlite3_value_type(v) == SQLITE_NULL)
#define TEXT(v) ((const char *)sqlite3_value_text(v))

static void
give(sqlite3_context *c, const char *text)
{
	if (text == NULL)
		sqlite3_result_null(c);
	else
		sqlite3_result_text(c, text, -1, SQLITE_TRANSIENT);
}

static void
fail(sqlite3_context *c, int number, const char *words)
{
	char text[512];

	snprintf(text, sizeof(text), "%d:%s", number, words);
	sqlite3_result_error(c, text, -1);
}

static bool
any_null(sqlite3_context *c, int n, sqlite3_value **v)
{
	for (int i = 0; i < n; i++)
		if (IS_NULL(v[i])) {
			sqlite3_result_null(c);
			return true;
		}
	return false;
}

/* ---- arithmetic ---------------------------------------------------------------------------------------- */

static void
f_add(sqlite3_context *c, int n, sqlite3_value **v)
{
	int a = sqlite3_value_type(v[0]), b = sqlite3_value_type(v[1]);
	char *s;

	if (any_null(c, n, v))
		return;
	if (a == SQLITE_INTEGER && b == SQLITE_INTEGER) {
		sqlite3_result_int64(c, sqlite3_value_int64(v[0]) + sqlite3_value_int64(v[1]));
	} else if (a == SQLITE_TEXT && b == SQLITE_TEXT) {
		s = sqlite3_mprintf("%s%s", TEXT(v[0]), TEXT(v[1]));
		sqlite3_result_text(c, s, -1, sqlite3_free);
	} else if (a == SQLITE_TEXT || b == SQLITE_TEXT) {
		/* A number wins over text: what is no number is an error, as there. */
		const char *t = TEXT(a == SQLITE_TEXT ? v[0] : v[1]);
		char *end;
		double d = strtod(t, &end);

		if (*end != '\0')
			fail(c, 245, "Conversion failed when converting the nvarchar value to data type int.");
		else if (strpbrk(t, ".eE") == NULL)
			sqlite3_result_int64(c, (int64_t)d + sqlite3_value_int64(a == SQLITE_TEXT ? v[1] : v[0]));
		else
			sqlite3_result_double(c, d + sqlite3_value_double(a == SQLITE_TEXT ? v[1] : v[0]));
	} else {
		sqlite3_result_double(c, sqlite3_value_double(v[0]) + sqlite3_value_double(v[1]));
	}
}

static void
f_div(sqlite3_context *c, int n, sqlite3_value **v)
{
	if (any_null(c, n, v))
		return;
	if (sqlite3_value_double(v[1]) == 0)
		fail(c, 8134, "Divide by zero error encountered.");
	else if (sqlite3_value_type(v[0]) == SQLITE_INTEGER && sqlite3_value_type(v[1]) == SQLITE_INTEGER)
		sqlite3_result_int64(c, sqlite3_value_int64(v[0]) / sqlite3_value_int64(v[1]));
	else
		sqlite3_result_double(c, sqlite3_value_double(v[0]) / sqlite3_value_double(v[1]));
}

static void
f_mod(sqlite3_context *c, int n, sqlite3_value **v)
{
	if (any_null(c, n, v))
		return;
	if (sqlite3_value_int64(v[1]) == 0)
		fail(c, 8134, "Divide by zero error encountered.");
	else
		sqlite3_result_int64(c, sqlite3_value_int64(v[0]) % sqlite3_value_int64(v[1]));
}

static void
f_ceiling(sqlite3_context *c, int n, sqlite3_value **v)
{
	if (!any_null(c, n, v))
		sqlite3_result_double(c, ceil(sqlite3_value_double(v[0])));
}

static void
f_floor(sqlite3_context *c, int n, sqlite3_value **v)
{
	if (!any_null(c, n, v))
		sqlite3_result_double(c, floor(sqlite3_value_double(v[0])));
}

/* ---- conversion ----------------------------------------------------------------------------------------- */

static void
cast_integer(sqlite3_context *c, sqlite3_value *v, const char *type, bool try)
{
	char words[300], *end;
	const char *t;
	int64_t i;

	if (sqlite3_value_type(v) != SQLITE_TEXT) {
		sqlite3_result_int64(c, sqlite3_value_int64(v));
		return;
	}
	t = TEXT(v);
	i = strtoll(t, &end, 10);
	while (*end == ' ')
		end++;
	if (*end == '\0')
		sqlite3_result_int64(c, i);
	else if (try)
		sqlite3_result_null(c);
	else {
		snprintf(words, sizeof(words), "Conversion failed when converting the nvarchar value '%.100s' to data type %s.", t, type);
		fail(c, 245, words);
	}
}

static void
cast_text(sqlite3_context *c, sqlite3_value *v, const struct tds_type *type, int style)
{
	char *s = NULL;
	int units = 0;
	const unsigned char *p;

	if (sqlite3_value_type(v) == SQLITE_BLOB) {
		const uint8_t *b = sqlite3_value_blob(v);
		int n = sqlite3_value_bytes(v);

		s = sqlite3_mprintf("%s", style == 1 ? "0x" : "");
		for (int i = 0; i < n; i++)
			s = sqlite3_mprintf("%z%02X", s, b[i]);
	} else {
		s = sqlite3_mprintf("%s", TEXT(v));
	}
	/* 126 is ISO 8601 with a T. */
	if (style == 126 && strlen(s) > 10 && s[4] == '-' && s[10] == ' ')
		s[10] = 'T';
	for (p = (unsigned char *)s; *p != '\0' && (type->size == TDS_MAX_SIZE || units < type->size); p++)
		units += (p[1] & 0xC0) != 0x80;
	s[(char *)(uintptr_t)p - s] = '\0';
	sqlite3_result_text(c, s, -1, sqlite3_free);
}

static void
cast_moment(sqlite3_context *c, sqlite3_value *v, const struct tds_type *type, bool try)
{
	int32_t days;
	uint64_t ticks;
	char *s;

	if (TEXT(v) == NULL || !tds_moment_parse(TEXT(v), strlen(TEXT(v)), &days, &ticks)) {
		if (try)
			sqlite3_result_null(c);
		else
			fail(c, 241, "Conversion failed when converting date and/or time from character string.");
		return;
	}
	s = tds_moment_text(NULL, days, ticks, type->kind == TDS_DATETIME2 ? type->scale : 3);
	if (type->kind == TDS_DATE)
		s[10] = '\0';
	give(c, s);
	talloc_free(s);
}

static void
f_cast(sqlite3_context *c, int n, sqlite3_value **v)
{
	struct tds_type type;
	bool try = sqlite3_value_int(v[3]) != 0;
	char *end;

	(void)n;
	if (IS_NULL(v[0])) {
		sqlite3_result_null(c);
		return;
	}
	if (!tds_type_parse(TEXT(v[1]), &type)) {
		fail(c, 243, "Type is not a defined system type.");
		return;
	}
	switch (type.kind) {
	case TDS_INTEGER: cast_integer(c, v[0], TEXT(v[1]), try); break;
	case TDS_BIT: sqlite3_result_int(c, sqlite3_value_double(v[0]) != 0); break;
	case TDS_FLOAT: sqlite3_result_double(c, sqlite3_value_double(v[0])); break;
	case TDS_NUMERIC:
		if (sqlite3_value_type(v[0]) == SQLITE_TEXT && (strtod(TEXT(v[0]), &end), *end != '\0')) {
			if (try)
				sqlite3_result_null(c);
			else
				fail(c, 8114, "Error converting data type nvarchar to numeric.");
		} else {
			give(c, TEXT(v[0]));
		}
		break;
	case TDS_DATETIME: case TDS_DATETIME2: case TDS_DATE: cast_moment(c, v[0], &type, try); break;
	case TDS_VARBINARY:
		sqlite3_result_blob(c, sqlite3_value_blob(v[0]), sqlite3_value_bytes(v[0]), SQLITE_TRANSIENT);
		break;
	case TDS_GUID: give(c, TEXT(v[0])); break;
	case TDS_NVARCHAR: case TDS_NCHAR: cast_text(c, v[0], &type, sqlite3_value_int(v[2])); break;
	}
}

static void
f_isnumeric(sqlite3_context *c, int n, sqlite3_value **v)
{
	char *end = NULL;
	const char *t = TEXT(v[0]);

	(void)n;
	if (t != NULL)
		(void)strtod(t, &end);
	sqlite3_result_int(c, t != NULL && *t != '\0' && *end == '\0');
}

/* ---- text --------------------------------------------------------------------------------------------------- */

static int
units_of(const char *s)
{
	int n = 0;

	for (; *s != '\0'; s++)
		n += (*s & 0xC0) != 0x80 ? ((*s & 0xF8) == 0xF0 ? 2 : 1) : 0;
	return n;
}

/* Byte place of the n-th character. */
static size_t
place_of(const char *s, int64_t n)
{
	const char *p = s;

	while (*p != '\0' && n > 0) {
		for (p++; (*p & 0xC0) == 0x80; p++)
			;
		n--;
	}
	return (size_t)(p - s);
}

static void
f_len(sqlite3_context *c, int n, sqlite3_value **v)
{
	char *s;
	size_t len;

	if (any_null(c, n, v))
		return;
	s = sqlite3_mprintf("%s", TEXT(v[0]));
	for (len = strlen(s); len > 0 && s[len - 1] == ' '; len--)
		s[len - 1] = '\0';
	sqlite3_result_int(c, units_of(s));
	sqlite3_free(s);
}

static void
f_datalength(sqlite3_context *c, int n, sqlite3_value **v)
{
	if (any_null(c, n, v))
		return;
	if (sqlite3_value_type(v[0]) == SQLITE_TEXT)
		sqlite3_result_int(c, 2 * units_of(TEXT(v[0])));
	else
		sqlite3_result_int(c, sqlite3_value_type(v[0]) == SQLITE_BLOB ? sqlite3_value_bytes(v[0]) : 4);
}

static void
slice(sqlite3_context *c, const char *s, int64_t from, int64_t count)
{
	size_t a, b;

	if (from < 0) {
		count += from;
		from = 0;
	}
	a = place_of(s, from);
	b = place_of(s + a, count < 0 ? 0 : count);
	sqlite3_result_text(c, s + a, (int)b, SQLITE_TRANSIENT);
}

static void
f_left(sqlite3_context *c, int n, sqlite3_value **v)
{
	if (!any_null(c, n, v))
		slice(c, TEXT(v[0]), 0, sqlite3_value_int64(v[1]));
}

static void
f_right(sqlite3_context *c, int n, sqlite3_value **v)
{
	int64_t len, take;

	if (any_null(c, n, v))
		return;
	len = (int64_t)place_of(TEXT(v[0]), INT64_MAX);
	take = 0;
	for (const char *p = TEXT(v[0]); *p != '\0'; p++)
		take += (*p & 0xC0) != 0x80;
	len = take - sqlite3_value_int64(v[1]);
	slice(c, TEXT(v[0]), len < 0 ? 0 : len, take);
}

static void
f_substring(sqlite3_context *c, int n, sqlite3_value **v)
{
	if (any_null(c, n, v))
		return;
	slice(c, TEXT(v[0]), sqlite3_value_int64(v[1]) - 1, sqlite3_value_int64(v[2]));
}

static void
f_charindex(sqlite3_context *c, int n, sqlite3_value **v)
{
	const char *at, *in;

	if (any_null(c, n, v))
		return;
	in = TEXT(v[1]);
	at = strcasestr(in + (n == 3 ? place_of(in, sqlite3_value_int64(v[2]) - 1) : 0), TEXT(v[0]));
	sqlite3_result_int(c, 0);
	if (at != NULL) {
		int place = 1;

		for (const char *p = in; p < at; p++)
			place += (*p & 0xC0) != 0x80;
		sqlite3_result_int(c, place);
	}
}

static void
f_replicate(sqlite3_context *c, int n, sqlite3_value **v)
{
	sqlite3_str *s;
	int64_t times;

	if (any_null(c, n, v))
		return;
	times = sqlite3_value_int64(v[1]);
	if (times * sqlite3_value_bytes(v[0]) > 4 * 1024 * 1024)
		times = 0;
	s = sqlite3_str_new(NULL);
	while (times-- > 0)
		sqlite3_str_appendall(s, TEXT(v[0]));
	give(c, sqlite3_str_length(s) == 0 ? "" : sqlite3_str_value(s));
	sqlite3_free(sqlite3_str_finish(s));
}

static void
f_concat(sqlite3_context *c, int n, sqlite3_value **v)
{
	sqlite3_str *s = sqlite3_str_new(NULL);

	for (int i = 0; i < n; i++)
		if (!IS_NULL(v[i]))
			sqlite3_str_appendall(s, TEXT(v[i]));
	give(c, sqlite3_str_length(s) == 0 ? "" : sqlite3_str_value(s));
	sqlite3_free(sqlite3_str_finish(s));
}

static void
f_quotename(sqlite3_context *c, int n, sqlite3_value **v)
{
	sqlite3_str *s;

	if (any_null(c, n, v))
		return;
	if (units_of(TEXT(v[0])) > 128) {
		sqlite3_result_null(c);
		return;
	}
	s = sqlite3_str_new(NULL);
	sqlite3_str_appendchar(s, 1, '[');
	for (const char *p = TEXT(v[0]); *p != '\0'; p++)
		sqlite3_str_appendchar(s, *p == ']' ? 2 : 1, *p);
	sqlite3_str_appendchar(s, 1, ']');
	give(c, sqlite3_str_value(s));
	sqlite3_free(sqlite3_str_finish(s));
}

static bool
in_set(const char **pattern, char ch)
{
	const char *p = *pattern + 1;
	bool not = *p == '^', found = false;

	for (p += not; *p != '\0' && *p != ']'; p++) {
		if (p[1] == '-' && p[2] != '\0' && p[2] != ']') {
			found = found || (tolower((unsigned char)ch) >= tolower((unsigned char)p[0]) &&
			                  tolower((unsigned char)ch) <= tolower((unsigned char)p[2]));
			p += 2;
		} else {
			found = found || tolower((unsigned char)*p) == tolower((unsigned char)ch);
		}
	}
	*pattern = *p == ']' ? p : p - 1;
	return found != not;
}

static bool
is_like(const char *s, const char *p, char escape)
{
	for (; *p != '\0'; p++, s++) {
		if (*p == '%') {
			for (p++;; s++) {
				if (is_like(s, p, escape))
					return true;
				if (*s == '\0')
					return false;
			}
		}
		if (*s == '\0')
			return false;
		if (*p == '[' && escape != '[') {
			if (!in_set(&p, *s))
				return false;
			continue;
		}
		if (escape != '\0' && *p == escape && p[1] != '\0') {
			p++;
			if (tolower((unsigned char)*p) != tolower((unsigned char)*s))
				return false;
		} else if (*p != '_' && tolower((unsigned char)*p) != tolower((unsigned char)*s)) {
			return false;
		}
	}
	while (*s == ' ')
		s++;
	return *s == '\0';
}

static void
f_like(sqlite3_context *c, int n, sqlite3_value **v)
{
	(void)n;
	if (IS_NULL(v[0]) || IS_NULL(v[1]))
		sqlite3_result_null(c);
	else
		sqlite3_result_int(c, is_like(TEXT(v[0]), TEXT(v[1]), TEXT(v[2])[0]));
}

/* ---- who and where --------------------------------------------------------------------------------------------- */

static void
f_db_id(sqlite3_context *c, int n, sqlite3_value **v)
{
	int id = engine_database_id(SESSION->e, n == 0 ? SESSION->database : IS_NULL(v[0]) ? "" : TEXT(v[0]));

	if (id == 0)
		sqlite3_result_null(c);
	else
		sqlite3_result_int(c, id);
}

static void
f_db_name(sqlite3_context *c, int n, sqlite3_value **v)
{
	char *name = n == 0 ? talloc_strdup(NULL, SESSION->database) : engine_database_name(SESSION->e, NULL, sqlite3_value_int(v[0]));

	give(c, name);
	talloc_free(name);
}

/* One value out of the catalogue of the same connection. */
static void
look_up(sqlite3_context *c, const char *sql, const char *name)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(sqlite3_context_db_handle(c), sql, -1, &st, NULL) == SQLITE_OK) {
		sqlite3_bind_text(st, 1, name, -1, SQLITE_TRANSIENT);
		if (sqlite3_step(st) == SQLITE_ROW)
			sqlite3_result_value(c, sqlite3_column_value(st, 0));
	}
	sqlite3_finalize(st);
}

static void
f_object_id(sqlite3_context *c, int n, sqlite3_value **v)
{
	char *bare;
	size_t k = 0;

	(void)n;
	if (IS_NULL(v[0]))
		return;
	bare = talloc_strdup(NULL, strrchr(TEXT(v[0]), '.') == NULL ? TEXT(v[0]) : strrchr(TEXT(v[0]), '.') + 1);
	for (char *p = bare; *p != '\0'; p++)
		if (*p != '[' && *p != ']')
			bare[k++] = *p;
	bare[k] = '\0';
	look_up(c, "SELECT object_id FROM sys.tables WHERE name = ?", bare);
	talloc_free(bare);
}

static void
f_object_name(sqlite3_context *c, int n, sqlite3_value **v)
{
	(void)n;
	look_up(c, "SELECT name FROM sys.tables WHERE object_id = CAST(? AS INT)", TEXT(v[0]));
}

static void
f_schema_name(sqlite3_context *c, int n, sqlite3_value **v)
{
	give(c, n == 0 || sqlite3_value_int(v[0]) == 1 ? "dbo" : sqlite3_value_int(v[0]) == 4 ? "sys" : NULL);
}

static void
f_schema_id(sqlite3_context *c, int n, sqlite3_value **v)
{
	if (n == 0 || (TEXT(v[0]) != NULL && strcasecmp(TEXT(v[0]), "dbo") == 0))
		sqlite3_result_int(c, 1);
}

static void
f_suser_sname(sqlite3_context *c, int n, sqlite3_value **v)
{
	(void)v;
	give(c, n == 0 ? SESSION->login : NULL);
}

static void
f_suser_id(sqlite3_context *c, int n, sqlite3_value **v)
{
	const char *name = n == 0 ? SESSION->login : TEXT(v[0]);

	if (name != NULL && engine_login_exists(SESSION->e, name))
		sqlite3_result_int(c, 257);
}

static void
f_user_id(sqlite3_context *c, int n, sqlite3_value **v)
{
	if (n == 0 || (TEXT(v[0]) != NULL && strcasecmp(TEXT(v[0]), "dbo") == 0))
		sqlite3_result_int(c, 1);
	else if (TEXT(v[0]) != NULL)
		look_up(c, "SELECT rowid + 4 FROM dbo.standin_users WHERE name = ? COLLATE TSQL", TEXT(v[0]));
}

static void
f_user_name(sqlite3_context *c, int n, sqlite3_value **v)
{
	(void)n;
	(void)v;
	give(c, SESSION->is_admin ? "dbo" : SESSION->login);
}

static void
f_is_srvrolemember(sqlite3_context *c, int n, sqlite3_value **v)
{
	const char *role = n >= 1 ? TEXT(v[0]) : NULL, *login = n == 2 ? TEXT(v[1]) : NULL;
	enum engine_role which = role != NULL && strcasecmp(role, "dbcreator") == 0 ? ENGINE_DBCREATOR : ENGINE_SYSADMIN;

	if (n == 2 && (login == NULL || !engine_login_exists(SESSION->e, login)))
		sqlite3_result_null(c);
	else if (n == 2)
		sqlite3_result_int(c, engine_login_has(SESSION->e, login, which));
	else if (role != NULL && strcasecmp(role, "sysadmin") == 0)
		sqlite3_result_int(c, SESSION->is_admin);
	else if (role != NULL && strcasecmp(role, "dbcreator") == 0)
		sqlite3_result_int(c, SESSION->is_creator);
	else
		sqlite3_result_int(c, n == 1 && SESSION->is_admin);
}

static void
f_has_dbaccess(sqlite3_context *c, int n, sqlite3_value **v)
{
	(void)n;
	if (TEXT(v[0]) == NULL || engine_database_id(SESSION->e, TEXT(v[0])) == 0)
		sqlite3_result_null(c);
	else
		sqlite3_result_int(c, engine_state(SESSION->e, TEXT(v[0])) == ENGINE_ONLINE && (SESSION->is_admin ||
			strcasecmp(TEXT(v[0]), SESSION->database) == 0));
}

/* Of the permissions those that a restore needs: a member of sysadmin has all, of dbcreator that of making databases. */
static void
f_has_perms_by_name(sqlite3_context *c, int n, sqlite3_value **v)
{
	const char *permission = TEXT(v[2]);

	(void)n;
	if (permission == NULL)
		sqlite3_result_null(c);
	else
		sqlite3_result_int(c, SESSION->is_admin || (SESSION->is_creator && (strcasecmp(permission, "CREATE ANY DATABASE") == 0 ||
			strcasecmp(permission, "CREATE DATABASE") == 0)));
}

/* What dm_os_volume_stats tells of the volume that a path lies on: 0 its mount point, 1 its size, 2 what is free. */
static void
f_volume(sqlite3_context *c, int n, sqlite3_value **v)
{
	struct engine_volume volume;

	(void)n;
	if (TEXT(v[0]) == NULL || !engine_volume_of(SESSION->e, TEXT(v[0]), &volume))
		return;
	if (sqlite3_value_int(v[1]) == 0)
		give(c, volume.mount);
	else
		sqlite3_result_int64(c, sqlite3_value_int(v[1]) == 1 ? volume.total : volume.available);
}

static void
f_app_name(sqlite3_context *c, int n, sqlite3_value **v)
{
	(void)n;
	(void)v;
	give(c, SESSION->program);
}

static void
f_host_name(sqlite3_context *c, int n, sqlite3_value **v)
{
	(void)n;
	(void)v;
	give(c, SESSION->host);
}

static void
f_serverproperty(sqlite3_context *c, int n, sqlite3_value **v)
{
	const char *name = TEXT(v[0]);
	static const struct { const char *name, *text; int number; } known[] = {
		{ "ProductVersion", NULL, -1 }, { "ProductLevel", "RTM", 0 }, { "Edition", "Stand-in Edition (64-bit)", 0 },
		{ "EngineEdition", NULL, 3 }, { "ProductMajorVersion", NULL, -2 }, { "IsHadrEnabled", NULL, 1 },
		{ "Collation", "SQL_Latin1_General_CP1_CI_AS", 0 }, { "IsIntegratedSecurityOnly", NULL, 0 }, { "IsClustered", NULL, 0 },
		{ "FilestreamConfiguredLevel", "filestream", -3 }, { "FilestreamEffectiveLevel", "filestream", -3 }, { "IsXTPSupported", "xtp", -3 },
	};

	(void)n;
	if (name != NULL && (strcasecmp(name, "ServerName") == 0 || strcasecmp(name, "MachineName") == 0))
		give(c, engine_server_name(SESSION->e));
	for (size_t i = 0; name != NULL && i < sizeof(known) / sizeof(known[0]); i++)
		if (strcasecmp(known[i].name, name) == 0) {
			if (known[i].number == -3)
				sqlite3_result_int64(c, engine_knob_value(SESSION->e, known[i].text));
			else if (known[i].text != NULL)
				give(c, known[i].text);
			else if (known[i].number == -1)
				give(c, engine_release(SESSION->e)->product);
			else if (known[i].number == -2)
				sqlite3_result_int(c, engine_release(SESSION->e)->major);
			else
				sqlite3_result_int(c, known[i].number);
		}
}

static void
f_databasepropertyex(sqlite3_context *c, int n, sqlite3_value **v)
{
	const char *database = TEXT(v[0]), *what = TEXT(v[1]);

	(void)n;
	if (database == NULL || what == NULL || engine_database_id(SESSION->e, database) == 0)
		return;
	if (strcasecmp(what, "Version") == 0)
		sqlite3_result_int(c, engine_release(SESSION->e)->database_version);
	else if (strcasecmp(what, "Status") == 0)
		give(c, engine_state(SESSION->e, database) == ENGINE_ONLINE ? "ONLINE" : "RESTORING");
	else if (strcasecmp(what, "Updateability") == 0)
		give(c, "READ_WRITE");
}

static void
give_version(sqlite3_context *c, const struct engine_release *r)
{
	char *text = talloc_asprintf(NULL, "Landfall stand-in for Microsoft SQL Server %d (RTM) - %s (test double, not the product)", r->year, r->product);

	give(c, text);
	talloc_free(text);
}

static void
f_global(sqlite3_context *c, int n, sqlite3_value **v)
{
	struct tsql_session *s = SESSION;
	const char *name = TEXT(v[0]);

	(void)n;
	if (strcmp(name, "version") == 0)
		give_version(c, engine_release(s->e));
	else if (strcmp(name, "servername") == 0 || strcmp(name, "servicename") == 0)
		give(c, engine_server_name(s->e));
	else if (strcmp(name, "language") == 0)
		give(c, "us_english");
	else
		sqlite3_result_int64(c, strcmp(name, "spid") == 0 ? s->spid : strcmp(name, "trancount") == 0 ? s->trancount
		                     : strcmp(name, "rowcount") == 0 ? s->rowcount : strcmp(name, "error") == 0 ? s->error
		                     : strcmp(name, "identity") == 0 ? sqlite3_last_insert_rowid(s->db)
		                     : strcmp(name, "microsoftversion") == 0 ? 0x0F00114E : strcmp(name, "max_precision") == 0 ? 38
		                     : strcmp(name, "textsize") == 0 ? 67108864 : strcmp(name, "datefirst") == 0 ? 7
		                     : strcmp(name, "lock_timeout") == 0 ? -1 : strcmp(name, "max_connections") == 0 ? 32767 : 0);
}

static void
f_error(sqlite3_context *c, int n, sqlite3_value **v)
{
	struct tsql_session *s = SESSION;

	(void)n;
	(void)v;
	if (s->caught.number != 0)
		give(c, s->caught.text);
}

static void
f_error_number(sqlite3_context *c, int n, sqlite3_value **v)
{
	(void)n;
	(void)v;
	if (SESSION->caught.number != 0)
		sqlite3_result_int(c, SESSION->caught.number);
}

static void
f_error_severity(sqlite3_context *c, int n, sqlite3_value **v)
{
	(void)n;
	(void)v;
	if (SESSION->caught.number != 0)
		sqlite3_result_int(c, SESSION->caught.severity);
}

static void
f_error_state(sqlite3_context *c, int n, sqlite3_value **v)
{
	(void)n;
	(void)v;
	if (SESSION->caught.number != 0)
		sqlite3_result_int(c, SESSION->caught.state);
}

static void
f_xact_state(sqlite3_context *c, int n, sqlite3_value **v)
{
	(void)n;
	(void)v;
	sqlite3_result_int(c, SESSION->trancount > 0 ? 1 : 0);
}

/* ---- time and chance ------------------------------------------------------------------------------------------------ */

static void
f_now(sqlite3_context *c, int n, sqlite3_value **v)
{
	int64_t ms = engine_now_ms(SESSION->e);
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	char s[40];
	size_t len;

	(void)n;
	(void)v;
	gmtime_r(&seconds, &tm);
	len = strftime(s, sizeof(s), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(s + len, sizeof(s) - len, ".%03d", (int)(ms % 1000));
	give(c, s);
}

static void
f_newid(sqlite3_context *c, int n, sqlite3_value **v)
{
	uint8_t b[16];
	char s[40];

	(void)n;
	(void)v;
	if (RAND_bytes(b, sizeof(b)) != 1)
		abort();
	snprintf(s, sizeof(s), "%02x%02x%02x%02x-%02x%02x-4%x%02x-a%x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5],
	         b[6] & 15u, b[7], b[8] & 15u, b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	give(c, s);
}

/* Year, month, day: one part of a moment. */
static void
part_of(sqlite3_context *c, sqlite3_value *v, int which)
{
	int y, m, d;

	if (TEXT(v) != NULL && sscanf(TEXT(v), "%d-%d-%d", &y, &m, &d) == 3)
		sqlite3_result_int(c, which == 0 ? y : which == 1 ? m : d);
}

static void f_year(sqlite3_context *c, int n, sqlite3_value **v) { (void)n; part_of(c, v[0], 0); }
static void f_month(sqlite3_context *c, int n, sqlite3_value **v) { (void)n; part_of(c, v[0], 1); }
static void f_day(sqlite3_context *c, int n, sqlite3_value **v) { (void)n; part_of(c, v[0], 2); }

static void
f_hashbytes(sqlite3_context *c, int n, sqlite3_value **v)
{
	static const struct { const char *name, *digest; } known[] = {
		{ "SHA2_256", "SHA256" }, { "SHA2_512", "SHA512" }, { "SHA1", "SHA1" }, { "SHA", "SHA1" }, { "MD5", "MD5" },
	};
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (any_null(c, n, v))
		return;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcasecmp(known[i].name, TEXT(v[0])) == 0)
			EVP_Digest(sqlite3_value_blob(v[1]), (size_t)sqlite3_value_bytes(v[1]), hash, &len, EVP_get_digestbyname(known[i].digest), NULL);
	if (len > 0)
		sqlite3_result_blob(c, hash, (int)len, SQLITE_TRANSIENT);
}

static const struct { const char *name; int args; void (*f)(sqlite3_context *, int, sqlite3_value **); } all[] = {
	{ "tsql_add", 2, f_add }, { "tsql_div", 2, f_div }, { "tsql_mod", 2, f_mod }, { "tsql_ceiling", 1, f_ceiling },
	{ "tsql_floor", 1, f_floor }, { "tsql_cast", 4, f_cast }, { "tsql_isnumeric", 1, f_isnumeric }, { "tsql_len", 1, f_len },
	{ "tsql_datalength", 1, f_datalength }, { "tsql_left", 2, f_left }, { "tsql_right", 2, f_right },
	{ "tsql_substring", 3, f_substring }, { "tsql_charindex", -1, f_charindex }, { "tsql_replicate", 2, f_replicate },
	{ "tsql_concat", -1, f_concat }, { "tsql_quotename", -1, f_quotename }, { "tsql_like", 3, f_like }, { "tsql_db_id", -1, f_db_id },
	{ "tsql_db_name", -1, f_db_name }, { "tsql_object_id", -1, f_object_id }, { "tsql_object_name", 1, f_object_name },
	{ "tsql_schema_name", -1, f_schema_name }, { "tsql_schema_id", -1, f_schema_id }, { "tsql_suser_sname", -1, f_suser_sname },
	{ "tsql_suser_id", -1, f_suser_id }, { "tsql_user_id", -1, f_user_id }, { "tsql_user_name", -1, f_user_name },
	{ "tsql_is_srvrolemember", -1, f_is_srvrolemember }, { "tsql_has_dbaccess", 1, f_has_dbaccess },
	{ "tsql_has_perms_by_name", -1, f_has_perms_by_name }, { "tsql_volume", 2, f_volume }, { "tsql_app_name", 0, f_app_name },
	{ "tsql_host_name", 0, f_host_name }, { "tsql_serverproperty", 1, f_serverproperty },
	{ "tsql_databasepropertyex", 2, f_databasepropertyex }, { "tsql_global", 1, f_global }, { "tsql_error_message", 0, f_error },
	{ "tsql_error_number", 0, f_error_number }, { "tsql_error_severity", 0, f_error_severity }, { "tsql_error_state", 0, f_error_state },
	{ "tsql_xact_state", 0, f_xact_state }, { "tsql_getdate", 0, f_now }, { "tsql_sysutcdatetime", 0, f_now }, { "tsql_newid", 0, f_newid },
	{ "tsql_year", 1, f_year }, { "tsql_month", 1, f_month }, { "tsql_day", 1, f_day }, { "tsql_hashbytes", 2, f_hashbytes },
};

void
tsql_functions(struct tsql_session *s, sqlite3 *db)
{
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		sqlite3_create_function(db, all[i].name, all[i].args, SQLITE_UTF8, s, all[i].f, NULL, NULL);
}
