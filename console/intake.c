#include "console/intake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cyaml/cyaml.h>

#include "common/text.h"

enum { TEXT_MAX = 500, NEWEST_SOURCE = 2019 };

#define TEXT(key, member) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct intake, member, 1, TEXT_MAX)

static const cyaml_schema_value_t text_entry = { CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, TEXT_MAX) };

static const cyaml_schema_field_t fields[] = {
	TEXT("customer", customer), TEXT("region", region), TEXT("cluster", cluster), TEXT("database", database), TEXT("size", size),
	TEXT("size_bytes", size_bytes), TEXT("mail_relay", mail_relay),
	TEXT("agent_url", agent_url), TEXT("portal_url", portal_url), TEXT("contact_name", contact_name), TEXT("contact_email", contact_email),
	TEXT("source_version", source_version), TEXT("upgrade_path", upgrade_path), TEXT("mail", mail),
	CYAML_FIELD_BOOL_PTR("backup_encryption", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct intake, backup_encryption),
	CYAML_FIELD_BOOL_PTR("rencthumbprint_empty", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct intake, rencthumbprint_empty),
	CYAML_FIELD_SEQUENCE_COUNT("integrations", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct intake, integrations, n_integrations,
	                           &text_entry, 0, 100),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = { CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct intake, fields) };

struct complaint { char text[400]; };

__attribute__((format(printf, 3, 0))) static void
on_log(cyaml_log_t level, void *ctx, const char *fmt, va_list ap)
{
	struct complaint *c = ctx;
	size_t have = strlen(c->text);

	(void)level;
	vsnprintf(c->text + have, sizeof(c->text) - have, fmt, ap);
	for (char *p = c->text; *p != '\0'; p++)
		if (*p == '\n')
			*p = ' ';
}

struct intake *
intake_load(TALLOC_CTX *parent, const char *path, struct err *err)
{
	struct complaint complaint = { "" };
	const cyaml_config_t config = { .log_fn = on_log, .log_ctx = &complaint, .mem_fn = cyaml_mem, .log_level = CYAML_LOG_WARNING,
		.flags = CYAML_CFG_NO_ALIAS };
	struct intake *loaded = NULL, *out;
	cyaml_err_t e;

	if (access(path, R_OK) != 0) {
		err_set(err, ERR_OPERATOR, 0, "%s cannot be read", path);
		return NULL;
	}
	e = cyaml_load_file(path, &config, &schema, (cyaml_data_t **)&loaded, NULL);
	if (e != CYAML_OK || loaded == NULL) {
		err_set(err, ERR_OPERATOR, 0, "%s: %s", path, complaint.text[0] == '\0' ? cyaml_strerror(e) : complaint.text);
		return NULL;
	}
	out = talloc_memdup(parent, loaded, sizeof(*loaded)); /* its parts live as long as the program */
	out->has_integrations = out->integrations != NULL;
	/* Two answers have two names each: the shorter one is what show calls missing. */
	if (out->size == NULL)
		out->size = out->size_bytes;
	if (out->mail == NULL)
		out->mail = out->mail_relay;
	return out;
}

static void
put(json_t *o, const char *key, const char *text)
{
	if (text != NULL)
		json_object_set_new(o, key, json_string(text));
}

json_t *
intake_json(const struct intake *in)
{
	json_t *o = json_object(), *list;

	put(o, "size", in->size);
	put(o, "agent_url", in->agent_url);
	put(o, "portal_url", in->portal_url);
	put(o, "contact_name", in->contact_name);
	put(o, "contact_email", in->contact_email);
	put(o, "source_version", in->source_version);
	put(o, "upgrade_path", in->upgrade_path);
	put(o, "mail", in->mail);
	if (in->backup_encryption != NULL)
		json_object_set_new(o, "backup_encryption", json_boolean(*in->backup_encryption));
	if (in->rencthumbprint_empty != NULL)
		json_object_set_new(o, "rencthumbprint_empty", json_boolean(*in->rencthumbprint_empty));
	if (in->has_integrations) {
		list = json_array();
		for (unsigned i = 0; i < in->n_integrations; i++)
			json_array_append_new(list, json_string(in->integrations[i]));
		json_object_set_new(o, "integrations", list);
	}
	return o;
}

/* 2016, "SQL Server 2016", 13, 13.0.5081: the release's year; 0 for none. */
static int
release_year(const char *text)
{
	static const int years[] = { [9] = 2005, [10] = 2008, [11] = 2012, [12] = 2014, [13] = 2016, [14] = 2017, [15] = 2019, [16] = 2022,
		[17] = 2025 };
	const char *p = text + strcspn(text, "0123456789");
	long n = strtol(p, NULL, 10);

	return n >= 1998 && n < 2100 ? (int)n : n >= 9 && n <= 17 ? years[n] : 0;
}

/* The database version a release writes: Microsoft's and public lists agree on these. */
static int
database_version_of(int year)
{
	static const struct { int year, version; } known[] = { { 2005, 611 }, { 2008, 655 }, { 2012, 706 }, { 2014, 782 },
		{ 2016, 852 }, { 2017, 869 }, { 2019, 904 }, { 2022, 957 }, { 2025, 998 } };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].year >= year)
			return known[i].version;
	return 9999;
}

/* Text that Postgres would refuse in words of its own. */
static bool
is_text(const char *name, const char *s, size_t most, struct err *err)
{
	size_t n = 0;

	if (!text_is_utf8(s, strlen(s)))
		return err_set(err, ERR_OPERATOR, 0, "%s is no UTF-8 text", name);
	/* In units of UTF-16, as a server counts its sysname: what lies beyond the first plane is two. */
	for (const char *p = s; *p != '\0'; p++)
		n += (*p & 0xC0) == 0x80 ? 0 : (unsigned char)*p >= 0xF0 ? 2 : 1;
	return n <= most ? true : err_set(err, ERR_OPERATOR, 0, "%s is longer than %zu characters", name, most);
}

static bool
are_texts(const struct intake *in, struct err *err)
{
	const struct { const char *name, *text; size_t most; } all[] = {
		{ "customer", in->customer, 200 }, { "database", in->database, 128 }, { "size", in->size, TEXT_MAX },
		{ "agent_url", in->agent_url, TEXT_MAX }, { "portal_url", in->portal_url, TEXT_MAX },
		{ "contact_name", in->contact_name, TEXT_MAX }, { "contact_email", in->contact_email, TEXT_MAX },
		{ "source_version", in->source_version, TEXT_MAX }, { "mail", in->mail, TEXT_MAX },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i].text != NULL && !is_text(all[i].name, all[i].text, all[i].most, err))
			return false;
	return true;
}

static bool
is_url(const char *s)
{
	return strncmp(s, "http://", 7) == 0 || strncmp(s, "https://", 8) == 0;
}

bool
intake_check(const struct intake *in, int target_version, struct err *err)
{
	static const char *const regions[] = { "uk", "us", "ca", "za", "de", "au", "bh" };
	bool known = false;
	int year;

	for (size_t i = 0; i < sizeof(regions) / sizeof(regions[0]); i++)
		known = known || (in->region != NULL && strcmp(in->region, regions[i]) == 0);
	if (!are_texts(in, err))
		return false;
	if (!known)
		return err_set(err, ERR_OPERATOR, 0, "region %s is none of uk us ca za de au bh", in->region == NULL ? "(none)" : in->region);
	if (in->agent_url != NULL && !is_url(in->agent_url))
		return err_set(err, ERR_OPERATOR, 0, "agent_url must begin with http:// or https://");
	if (in->portal_url != NULL && !is_url(in->portal_url))
		return err_set(err, ERR_OPERATOR, 0, "portal_url must begin with http:// or https://");
	if (in->contact_email != NULL && strchr(in->contact_email, '@') == NULL)
		return err_set(err, ERR_OPERATOR, 0, "contact_email is no e-mail address");
	if (in->upgrade_path != NULL && strcmp(in->upgrade_path, "stable") != 0 && strcmp(in->upgrade_path, "beta") != 0)
		return err_set(err, ERR_OPERATOR, 0, "upgrade_path is stable or beta");
	if (in->source_version == NULL)
		return true;
	year = release_year(in->source_version);
	if (year == 0)
		return err_set(err, ERR_OPERATOR, 0, "source_version %s is no SQL Server release (2016, 13.0, …)", in->source_version);
	if (target_version > 0 ? database_version_of(year) > target_version : year > NEWEST_SOURCE)
		return err_set(err, ERR_REFUSED, 0, "the source is SQL Server %d and newer than the target; a backup cannot be restored on an older "
		               "server, so the migration needs a newer cluster", year);
	return true;
}
