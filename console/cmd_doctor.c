#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "console/cli.h"
#include "console/doctor.h"

enum { NAGIOS_UNKNOWN = 3 };
enum needs { NEEDS_NOTHING, NEEDS_CONFIG, NEEDS_RECEIVER, NEEDS_POSTGRES };

static const struct check { const char *name; void (*run)(struct doctor *d); enum needs needs; } checks[] = {
	{ "configuration", doctor_configuration, NEEDS_NOTHING }, { "secrets", doctor_secrets, NEEDS_CONFIG }, { "kernel", doctor_kernel, NEEDS_NOTHING },
	{ "libssh", doctor_libssh, NEEDS_NOTHING }, { "host keys", doctor_host_keys, NEEDS_RECEIVER }, { "port", doctor_port, NEEDS_RECEIVER },
	{ "open files", doctor_open_files, NEEDS_RECEIVER }, { "spool", doctor_spool, NEEDS_RECEIVER }, { "journal", doctor_journal, NEEDS_RECEIVER },
	{ "postgres", doctor_postgres, NEEDS_CONFIG }, { "clock", doctor_clock, NEEDS_POSTGRES }, { "workers", doctor_workers, NEEDS_POSTGRES },
	{ "mail", doctor_mail, NEEDS_POSTGRES }, { "sql server", doctor_clusters, NEEDS_CONFIG },
};

static const char *const words[] = { "OK", "WARN", "FAIL" };

/* ---- saying ------------------------------------------------------------------------------------------------------- */

void
doctor_say(struct doctor *d, const char *about, enum doctor_level level, const char *hint, const char *format, ...)
{
	char *value, *safe;
	va_list args;

	va_start(args, format);
	value = talloc_vasprintf(d->mem, format, args);
	va_end(args);
	safe = text_shown(d->mem, value); /* servers and files say what they like */
	json_array_append_new(d->findings, json_pack("{s:s,s:s,s:s,s:s,s:s?}", "check", d->check, "about", about, "level", words[level], "value", safe,
		"hint", hint));
}

void
doctor_number(struct doctor *d, const char *name, double value)
{
	json_object_set_new(d->numbers, name, json_real(value));
}

static const char *
why_not(const struct doctor *d, enum needs needs)
{
	if (needs >= NEEDS_CONFIG && d->config == NULL)
		return "the configuration cannot be read";
	if (needs == NEEDS_RECEIVER && d->config->receiver.spool == NULL)
		return "the configuration has no receiver";
	return needs == NEEDS_POSTGRES && !d->has_health ? "Postgres could not be asked" : NULL;
}

static int64_t
wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
ask_postgres(struct cli *c, struct doctor *d)
{
	const char *file = d->config->postgres.operator_.password_file;
	struct db_where where;
	int64_t before, after;
	struct db *db;

	d->is_shut_out = file != NULL && access(file, R_OK) != 0 && errno == EACCES;
	config_where(d->config, &d->config->postgres.operator_, "landfall-doctor", &where);
	db = db_new(c->mem, &where);
	if (!db_connect(db, &d->db_err))
		return;
	before = wall_ms();
	d->has_health = ask_health(db, &d->health, &d->db_err);
	after = wall_ms();
	d->skew_ms = d->health.now_ms - (before + after) / 2;
}

static void
examine(struct cli *c, struct doctor *d)
{
	const char *path = c->config_path != NULL ? c->config_path : getenv("LANDFALL_CONFIG");

	d->config_path = path != NULL ? path : "/etc/landfall/landfall.yaml";
	d->config = config_load(c->mem, c->config_path, &d->config_err);
	if (d->config != NULL)
		ask_postgres(c, d);
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		const char *why = why_not(d, checks[i].needs);

		d->check = checks[i].name;
		if (why != NULL)
			doctor_say(d, "", DOCTOR_WARN, NULL, "not checked: %s", why);
		else
			checks[i].run(d);
	}
}

/* ---- showing ------------------------------------------------------------------------------------------------------- */

static const char *
text(json_t *finding, const char *key)
{
	const char *s = json_string_value(json_object_get(finding, key));

	return s == NULL ? "" : s;
}

static size_t
count_of(const struct doctor *d, enum doctor_level level)
{
	json_t *f;
	size_t i, n = 0;

	json_array_foreach(d->findings, i, f)
		n += strcmp(text(f, "level"), words[level]) == 0;
	return n;
}

static enum doctor_level
worst(const struct doctor *d)
{
	return count_of(d, DOCTOR_FAIL) > 0 ? DOCTOR_FAIL : count_of(d, DOCTOR_WARN) > 0 ? DOCTOR_WARN : DOCTOR_OK;
}

static void
print_list(const struct doctor *d)
{
	json_t *f;
	size_t i;

	json_array_foreach(d->findings, i, f) {
		const char *about = text(f, "about");

		printf("%-4s  %-13s  %s%s%s\n", text(f, "level"), text(f, "check"), text_shown(d->mem, about), about[0] == '\0' ? "" : ": ", text(f, "value"));
		if (text(f, "hint")[0] != '\0')
			printf("%21s-> %s\n", "", text(f, "hint"));
	}
	printf("%zu OK, %zu WARN, %zu FAIL\n", count_of(d, DOCTOR_OK), count_of(d, DOCTOR_WARN), count_of(d, DOCTOR_FAIL));
}

/* One line, and behind a bar the numbers; a bar in the text would end it. */
static void
print_nagios(const struct doctor *d)
{
	static const char *const states[] = { "OK", "WARNING", "CRITICAL" };
	enum doctor_level level = worst(d);
	char *line = talloc_asprintf(d->mem, "LANDFALL %s - %zu of %zu findings are not OK", states[level], json_array_size(d->findings) - count_of(d, DOCTOR_OK),
	                             json_array_size(d->findings));
	const char *name, *separator = ": ";
	json_t *f, *number;
	size_t i;

	json_array_foreach(d->findings, i, f)
		if (level != DOCTOR_OK && strcmp(text(f, "level"), words[level]) == 0) {
			line = talloc_asprintf_append(line, "%s%s%s%s (%s)", separator, text(f, "check"), text(f, "about")[0] == '\0' ? "" : " ", text(f, "about"), text(f, "value"));
			separator = ", ";
		}
	for (char *p = line; (p = strchr(p, '|')) != NULL;)
		*p = '/';
	printf("%s |", text_shown(d->mem, line));
	json_object_foreach(d->numbers, name, number)
		printf(" %s=%.15g", name, json_real_value(number));
	putchar('\n');
}

static void
print_json(const struct doctor *d)
{
	cli_json(json_pack("{s:s,s:O,s:O}", "worst", words[worst(d)], "checks", d->findings, "numbers", d->numbers));
}

/* A mistake in a monitor's command must not read as CRITICAL or, worse, as OK. */
static bool
is_for_nagios(const struct cli *c)
{
	for (int i = 0; i < c->argc; i++)
		if (strcmp(c->argv[i], "--nagios") == 0)
			return true;
	return false;
}

int
cmd_doctor(struct cli *c)
{
	struct doctor d = { .mem = talloc_new(c->mem), .findings = json_array(), .numbers = json_object() };
	bool nagios = false, strict = false;
	const struct cli_option options[] = { { "--nagios", NULL, &nagios }, { "--strict", NULL, &strict } };
	int code = cli_take(c, options, 2, NULL, 0, 0);

	if (code != CLI_FINE)
		return is_for_nagios(c) ? NAGIOS_UNKNOWN : code;
	examine(c, &d);
	if (c->json)
		print_json(&d);
	else if (nagios)
		print_nagios(&d);
	else
		print_list(&d);
	if (nagios)
		code = (int)worst(&d);
	else
		code = worst(&d) == DOCTOR_FAIL ? CLI_FAILED : worst(&d) == DOCTOR_WARN && strict ? CLI_WARNED : CLI_FINE;
	json_decref(d.findings);
	json_decref(d.numbers);
	return code;
}
