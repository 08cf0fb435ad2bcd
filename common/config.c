#include "common/config.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cyaml/cyaml.h>

#include "common/db.h"

#define TEXT CYAML_FLAG_POINTER
#define OPTIONAL_TEXT (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define END CYAML_FIELD_END
#define STRING(key, flags, type, member) CYAML_FIELD_STRING_PTR(key, flags, type, member, 1, 4096)

static const cyaml_schema_value_t string_entry = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 4096),
};

static const cyaml_schema_field_t role_fields[] = {
	STRING("user", TEXT, struct config_role, user),
	STRING("password_file", OPTIONAL_TEXT, struct config_role, password_file),
	END,
};

#define ROLE(key, member)                                                                                   \
	CYAML_FIELD_MAPPING(key, CYAML_FLAG_OPTIONAL, struct config_postgres, member, role_fields)

static const cyaml_schema_field_t postgres_fields[] = {
	STRING("host", TEXT, struct config_postgres, host),
	CYAML_FIELD_INT("port", CYAML_FLAG_OPTIONAL, struct config_postgres, port),
	STRING("database", TEXT, struct config_postgres, database),
	ROLE("receiver", receiver),
	ROLE("restore", restore),
	ROLE("verify", verify),
	ROLE("console", console),
	ROLE("operator", operator_),
	ROLE("owner", owner),
	END,
};

static const cyaml_schema_field_t receiver_fields[] = {
	STRING("listen", TEXT, struct config_receiver, listen),
	CYAML_FIELD_SEQUENCE_COUNT("host_keys", CYAML_FLAG_POINTER, struct config_receiver, host_keys, n_host_keys,
	                           &string_entry, 1, 8),
	STRING("spool", TEXT, struct config_receiver, spool),
	CYAML_FIELD_SEQUENCE_COUNT("proxies", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_receiver,
	                           proxies, n_proxies, &string_entry, 0, 64),
	CYAML_FIELD_SEQUENCE_COUNT("exempt", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_receiver,
	                           exempt, n_exempt, &string_entry, 0, 64),
	CYAML_FIELD_INT("max_sessions", CYAML_FLAG_OPTIONAL, struct config_receiver, max_sessions),
	CYAML_FIELD_INT("max_sessions_per_migration", CYAML_FLAG_OPTIONAL, struct config_receiver,
	                max_sessions_per_migration),
	CYAML_FIELD_INT("max_unauthenticated", CYAML_FLAG_OPTIONAL, struct config_receiver, max_unauthenticated),
	CYAML_FIELD_INT("settle_seconds", CYAML_FLAG_OPTIONAL, struct config_receiver, settle_seconds),
	CYAML_FIELD_INT("max_unauthenticated_per_address", CYAML_FLAG_OPTIONAL, struct config_receiver,
	                max_unauthenticated_per_address),
	CYAML_FIELD_INT("penalty_after", CYAML_FLAG_OPTIONAL, struct config_receiver, penalty_after),
	CYAML_FIELD_INT("penalty_most_seconds", CYAML_FLAG_OPTIONAL, struct config_receiver, penalty_most_seconds),
	CYAML_FIELD_INT("session_cpu_seconds", CYAML_FLAG_OPTIONAL, struct config_receiver, session_cpu_seconds),
	CYAML_FIELD_INT("drain_seconds", CYAML_FLAG_OPTIONAL, struct config_receiver, drain_seconds),
	STRING("metrics_file", OPTIONAL_TEXT, struct config_receiver, metrics_file),
	CYAML_FIELD_UINT("min_free_bytes", CYAML_FLAG_OPTIONAL, struct config_receiver, min_free_bytes),
	END,
};

static const cyaml_schema_field_t target_fields[] = {
	STRING("name", TEXT, struct config_target, name),
	STRING("host", TEXT, struct config_target, host),
	CYAML_FIELD_INT("port", CYAML_FLAG_OPTIONAL, struct config_target, port),
	STRING("data_path", TEXT, struct config_target, data_path),
	STRING("log_path", OPTIONAL_TEXT, struct config_target, log_path),
	END,
};
static const cyaml_schema_value_t target_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_target, target_fields),
};

static const cyaml_schema_field_t backup_path_fields[] = {
	STRING("ours", TEXT, struct config_backup_path, ours),
	STRING("theirs", TEXT, struct config_backup_path, theirs),
	END,
};

static const cyaml_schema_field_t after_recovery_fields[] = {
	STRING("owner", OPTIONAL_TEXT, struct config_after_recovery, owner),
	CYAML_FIELD_BOOL("repair_users", CYAML_FLAG_OPTIONAL, struct config_after_recovery, repair_users),
	CYAML_FIELD_INT("compat_level", CYAML_FLAG_OPTIONAL, struct config_after_recovery, compat_level),
	CYAML_FIELD_BOOL("trustworthy", CYAML_FLAG_OPTIONAL, struct config_after_recovery, trustworthy),
	CYAML_FIELD_BOOL("broker", CYAML_FLAG_OPTIONAL, struct config_after_recovery, broker),
	STRING("backup_to", OPTIONAL_TEXT, struct config_after_recovery, backup_to),
	STRING("availability_group", OPTIONAL_TEXT, struct config_after_recovery, availability_group),
	END,
};

static const cyaml_schema_field_t cluster_fields[] = {
	STRING("name", TEXT, struct config_cluster, name),
	STRING("region", TEXT, struct config_cluster, region),
	CYAML_FIELD_INT("slots", CYAML_FLAG_OPTIONAL, struct config_cluster, slots),
	CYAML_FIELD_INT("volume_slots", CYAML_FLAG_OPTIONAL, struct config_cluster, volume_slots),
	CYAML_FIELD_BOOL("second_person", CYAML_FLAG_OPTIONAL, struct config_cluster, second_person),
	CYAML_FIELD_SEQUENCE_COUNT("targets", CYAML_FLAG_POINTER, struct config_cluster, targets, n_targets,
	                           &target_entry, 1, 16),
	STRING("login", TEXT, struct config_cluster, login),
	STRING("password_file", TEXT, struct config_cluster, password_file),
	STRING("verify_login", TEXT, struct config_cluster, verify_login),
	STRING("verify_password_file", TEXT, struct config_cluster, verify_password_file),
	STRING("ca_file", TEXT, struct config_cluster, ca_file),
	CYAML_FIELD_MAPPING("backup_path", CYAML_FLAG_OPTIONAL, struct config_cluster, backup_path,
	                    backup_path_fields),
	CYAML_FIELD_MAPPING("after_recovery", CYAML_FLAG_OPTIONAL, struct config_cluster, after_recovery, after_recovery_fields),
	END,
};
static const cyaml_schema_value_t cluster_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_cluster, cluster_fields),
};

static const cyaml_schema_field_t restore_fields[] = {
	STRING("work", TEXT, struct config_restore, work),
	CYAML_FIELD_INT("workers", CYAML_FLAG_OPTIONAL, struct config_restore, workers),
	CYAML_FIELD_INT("drain_seconds", CYAML_FLAG_OPTIONAL, struct config_restore, drain_seconds),
	END,
};
static const cyaml_schema_field_t verify_fields[] = {
	STRING("work", TEXT, struct config_verify, work),
	STRING("checks", TEXT, struct config_verify, checks),
	END,
};
static const cyaml_schema_field_t mail_fields[] = {
	STRING("url", TEXT, struct config_mail, url),
	STRING("from", TEXT, struct config_mail, from),
	STRING("user", OPTIONAL_TEXT, struct config_mail, user),
	STRING("password_file", OPTIONAL_TEXT, struct config_mail, password_file),
	STRING("ca_file", OPTIONAL_TEXT, struct config_mail, ca_file),
	END,
};

static const cyaml_schema_field_t console_fields[] = {
	STRING("listen", TEXT, struct config_console, listen),
	CYAML_FIELD_MAPPING("mail", CYAML_FLAG_OPTIONAL, struct config_console, mail, mail_fields),
	END,
};

static const cyaml_schema_field_t config_fields[] = {
	STRING("region", TEXT, struct config, region),
	STRING("schema", OPTIONAL_TEXT, struct config, schema),
	CYAML_FIELD_MAPPING("postgres", CYAML_FLAG_DEFAULT, struct config, postgres, postgres_fields),
	CYAML_FIELD_MAPPING("receiver", CYAML_FLAG_OPTIONAL, struct config, receiver, receiver_fields),
	CYAML_FIELD_MAPPING("restore", CYAML_FLAG_OPTIONAL, struct config, restore, restore_fields),
	CYAML_FIELD_MAPPING("verify", CYAML_FLAG_OPTIONAL, struct config, verify, verify_fields),
	CYAML_FIELD_MAPPING("console", CYAML_FLAG_OPTIONAL, struct config, console, console_fields),
	CYAML_FIELD_SEQUENCE_COUNT("clusters", CYAML_FLAG_POINTER, struct config, clusters, n_clusters,
	                           &cluster_entry, 0, 256),
	END,
};
static const cyaml_schema_value_t config_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config, config_fields),
};

/* libcyaml says what is wrong in several log lines; they are put together into one sentence. */
struct complaint {
	char text[400];
};

__attribute__((format(printf, 3, 0))) static void
complain(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
	struct complaint *c = ctx;
	size_t at = strlen(c->text);
	char line[300];

	if (level < CYAML_LOG_ERROR)
		return;
	vsnprintf(line, sizeof(line), fmt, args);
	line[strcspn(line, "\n")] = '\0';
	snprintf(c->text + at, sizeof(c->text) - at, "%s%s", at == 0 ? "" : "; ",
	         strncmp(line, "Load: ", 6) == 0 ? line + 6 : line);
}

static void
set_if_none(int *value, int usual)
{
	if (*value <= 0)
		*value = usual;
}

static void
set_receiver_defaults(struct config_receiver *r)
{
	set_if_none(&r->max_sessions, 400);
	set_if_none(&r->max_sessions_per_migration, 16);
	set_if_none(&r->max_unauthenticated, 64);
	set_if_none(&r->max_unauthenticated_per_address, 24);
	set_if_none(&r->penalty_after, 10);
	set_if_none(&r->penalty_most_seconds, 300);
	set_if_none(&r->session_cpu_seconds, 120);
	set_if_none(&r->drain_seconds, 60);
	set_if_none(&r->settle_seconds, 60);
	if (r->min_free_bytes == 0)
		r->min_free_bytes = UINT64_C(1) << 30;
}

static void
set_defaults(struct config *c)
{
	if (c->postgres.port == 0)
		c->postgres.port = 5432;
	set_receiver_defaults(&c->receiver);
	if (c->restore.workers == 0)
		c->restore.workers = 8;
	set_if_none(&c->restore.drain_seconds, 86400);
	for (unsigned i = 0; i < c->n_clusters; i++) {
		struct config_cluster *cl = &c->clusters[i];

		if (cl->slots == 0)
			cl->slots = 2;
		for (unsigned t = 0; t < cl->n_targets; t++)
			if (cl->targets[t].port == 0)
				cl->targets[t].port = 1433;
	}
}

static const cyaml_config_t *
cyaml_settings(struct complaint *c)
{
	static __thread cyaml_config_t settings;

	settings = (cyaml_config_t){
		.log_level = CYAML_LOG_ERROR, .log_fn = complain, .log_ctx = c, .mem_fn = cyaml_mem,
		.flags = CYAML_CFG_NO_ALIAS,
	};
	return &settings;
}

struct holder {
	struct config *loaded;
};

static int
unload(struct holder *h)
{
	struct complaint c = { { 0 } };

	cyaml_free(cyaml_settings(&c), &config_schema, h->loaded, 0);
	return 0;
}

struct config *
config_load(TALLOC_CTX *parent, const char *path, struct err *err)
{
	struct complaint c = { { 0 } };
	struct config *loaded = NULL;
	struct holder *h;
	cyaml_err_t e;

	if (path == NULL && (path = getenv("LANDFALL_CONFIG")) == NULL)
		path = "/etc/landfall/landfall.yaml";
	if (access(path, R_OK) != 0) {
		err_set(err, ERR_OPERATOR, 0, "the configuration %s cannot be read; give --config or LANDFALL_CONFIG", path);
		return NULL;
	}
	e = cyaml_load_file(path, cyaml_settings(&c), &config_schema, (cyaml_data_t **)&loaded, NULL);
	if (e != CYAML_OK) {
		err_set(err, ERR_OPERATOR, 0, "%s: %s%s%s", path, cyaml_strerror(e), c.text[0] ? ": " : "", c.text);
		return NULL;
	}
	set_defaults(loaded);
	h = talloc(parent, struct holder);
	h->loaded = loaded;
	talloc_set_destructor(h, unload);
	return loaded;
}

const struct config_cluster *
config_cluster(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->n_clusters; i++)
		if (strcmp(config->clusters[i].name, name) == 0)
			return &config->clusters[i];
	return NULL;
}

void
config_where(const struct config *config, const struct config_role *role, const char *application,
             struct db_where *where)
{
	*where = (struct db_where){
		.host = config->postgres.host, .port = config->postgres.port, .database = config->postgres.database,
		.user = role->user, .password_file = role->password_file, .application = application,
	};
}

bool
config_address(const char *text, char *host, size_t host_size, uint16_t *port, struct err *err)
{
	const char *colon = strrchr(text, ':');
	char *end;
	unsigned long p;

	if (colon == NULL || colon == text)
		return err_set(err, ERR_OPERATOR, 0, "'%.80s' is no address:port", text);
	p = strtoul(colon + 1, &end, 10);
	if (colon[1] == '\0' || *end != '\0' || p > 65535)
		return err_set(err, ERR_OPERATOR, 0, "'%.80s' has no port between 0 and 65535", text);
	if (text[0] == '[' && colon[-1] == ']')
		snprintf(host, host_size, "%.*s", (int)(colon - text - 2), text + 1);
	else
		snprintf(host, host_size, "%.*s", (int)(colon - text), text);
	*port = (uint16_t)p;
	return true;
}
