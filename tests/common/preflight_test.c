#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/preflight.h"

/* A server on which nothing is wrong, and a table of what may be: each row changes one thing. */

#define GIB (UINT64_C(1) << 30)

static const char *const certificates[] = { "0xAABB" };

struct scene {
	struct preflight_facts facts;
	struct preflight_backup backup;
	struct preflight_file files[2];
	struct preflight_volume volumes[2];
	struct preflight_owned owned;
};

static void
begin(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	s->backup = (struct preflight_backup){ .file = "full.bak", .database_version = 904, .compat_level = 150, .collation = "Latin1_General_CI_AS",
		.stripes = 1 };
	s->files[0] = (struct preflight_file){ 'D', 4 * GIB, "/data/sql/m_1.mdf" };
	s->files[1] = (struct preflight_file){ 'L', 2 * GIB, "/data/sql/m_2.ldf" };
	s->volumes[0] = (struct preflight_volume){ "/", 1 };
	s->volumes[1] = (struct preflight_volume){ "/data", 100 * GIB };
	s->facts = (struct preflight_facts){ .database = "m", .backups = &s->backup, .n_backups = 1, .files = s->files, .n_files = 2,
		.server = { .replica = "hosted-1", .database_version = 904, .engine_edition = 3, .product = "15.0.2000", .collation = "latin1_general_ci_as",
			.may_restore = PREFLIGHT_YES, .sees_requests = PREFLIGHT_YES, .sees_history = PREFLIGHT_YES, .filestream = PREFLIGHT_YES,
			.memory_optimised = PREFLIGHT_YES, .certificates_known = true, .certificates = certificates, .n_certificates = 1,
			.volumes = s->volumes, .n_volumes = 2, .data = { "/data/sql", PREFLIGHT_YES }, .log = { "/data/sql", PREFLIGHT_YES } } };
}

#define SERVER s->facts.server
static void nothing(struct scene *s) { (void)s; }
static void away(struct scene *s) { SERVER.away = "the connection broke"; SERVER.may_restore = PREFLIGHT_NO; s->backup.database_version = 999; }
static void newer(struct scene *s) { s->backup.database_version = 957; }
static void same_version(struct scene *s) { s->backup.database_version = SERVER.database_version = 957; }
static void newer_unknown(struct scene *s) { SERVER.database_version = 0; s->backup.database_version = 957; }
static void newer_coming(struct scene *s) { newer(s); s->backup.provisional = true; }
static void no_right(struct scene *s) { SERVER.may_restore = PREFLIGHT_NO; }
static void blind(struct scene *s) { SERVER.sees_requests = PREFLIGHT_NO; }
static void no_history(struct scene *s) { SERVER.sees_history = PREFLIGHT_NO; }
static void rights_unknown(struct scene *s) { SERVER.sees_history = PREFLIGHT_UNKNOWN; }
static void no_folder(struct scene *s) { SERVER.data.exists = SERVER.log.exists = PREFLIGHT_NO; }
static void no_log_folder(struct scene *s) { SERVER.log = (struct preflight_folder){ "/log", PREFLIGHT_NO }; }
static void folder_unknown(struct scene *s) { SERVER.data.exists = SERVER.log.exists = PREFLIGHT_UNKNOWN; }
static void tde(struct scene *s) { s->backup.tde = true; s->backup.thumbprint = "0xCC"; }
static void tde_known(struct scene *s) { tde(s); s->backup.thumbprint = "0xaabb"; }
static void tde_allowed(struct scene *s) { tde(s); s->facts.allow_encrypted = true; }
static void tde_unknown(struct scene *s) { s->backup.tde = true; }
static void tde_not_told(struct scene *s) { tde(s); SERVER.certificates_known = false; }
static void tde_seen(struct scene *s) { tde_known(s); SERVER.certificates_known = false; }
static void tde_read(struct scene *s) { s->backup.tde = s->backup.was_read = true; }
static void encrypted(struct scene *s) { s->backup.encrypted = true; s->backup.thumbprint = "0xCC"; }
static void refused_33111(struct scene *s) { s->backup.refused = 33111; s->backup.said = "Cannot find server certificate"; s->backup.tde = true; }
static void refused_33111_allowed(struct scene *s) { refused_33111(s); s->facts.allow_encrypted = true; }
static void refused_3241(struct scene *s) { s->backup.refused = 3241; s->backup.said = "incorrectly formed"; }
static void refused_3201(struct scene *s) { s->backup.refused = 3201; }
static void refused_unknown(struct scene *s) { s->backup.refused = 9999; }
static void tight(struct scene *s) { s->volumes[1].free_bytes = 6 * GIB + 1; }
static void enough(struct scene *s) { s->volumes[1].free_bytes = 7 * GIB; }
static void full_disk(struct scene *s) { s->volumes[1].free_bytes = 5 * GIB; }
static void full_but_ours(struct scene *s) { full_disk(s); SERVER.exists = SERVER.is_ours = true; }
/* Each alone would fit. */
static void log_elsewhere(struct scene *s) { s->files[1].path = "/log/m_2.ldf"; s->volumes[0] = (struct preflight_volume){ "/log/", 1 * GIB }; }
static void both_elsewhere(struct scene *s) { log_elsewhere(s); s->volumes[0].free_bytes = 2 * GIB + GIB; s->volumes[1].free_bytes = 5 * GIB; }
static void space_unknown(struct scene *s) { SERVER.n_volumes = 0; }
static void taken(struct scene *s) { SERVER.exists = true; SERVER.state = "ONLINE"; }
static void ours(struct scene *s) { SERVER.exists = SERVER.is_ours = true; SERVER.state = "RESTORING"; }
static void grouped(struct scene *s) { SERVER.exists = SERVER.is_ours = true; SERVER.group = "ag1"; }
static void path_taken(struct scene *s) { s->owned = (struct preflight_owned){ "/data/sql/m_1.mdf", "Other" }; SERVER.owned = &s->owned; SERVER.n_owned = 1; }
static void simple(struct scene *s) { s->backup.simple = true; }
static void other_files(struct scene *s) { s->backup.other_files = true; }
static void no_filestream(struct scene *s) { other_files(s); SERVER.filestream = PREFLIGHT_NO; }
static void neither_feature(struct scene *s) { no_filestream(s); SERVER.memory_optimised = PREFLIGHT_NO; }
static void collated(struct scene *s) { s->backup.collation = "Finnish_Swedish_CI_AS"; }
static void old(struct scene *s) { s->backup.compat_level = 90; }
static void striped(struct scene *s) { s->backup.stripes = 65; }
static void stripes_64(struct scene *s) { s->backup.stripes = 64; }
static void express(struct scene *s) { SERVER.engine_edition = 4; s->files[0].bytes = 11 * GIB; }
static void express_small(struct scene *s) { SERVER.engine_edition = 4; s->files[0].bytes = 10 * GIB; s->files[1].bytes = 5 * GIB; }

/* who "" and words "" : nothing is found. */
static const struct { void (*change)(struct scene *s); const char *id, *severity, *who, *words; } rows[] = {
	{ nothing, "", "", "", "" },
	{ away, "replica-away", "warns", "operator", "hosted-1 could not be asked: the connection broke" },
	{ newer, "version-too-new", "blocks", "customer", "full.bak comes from a newer SQL Server than hosted-1 (internal version 957, hosted-1 restores up to 904" },
	{ same_version, "", "", "", "" },
	{ newer_unknown, "version-unknown", "warns", "operator", "hosted-1 does not say" },
	{ newer_coming, "version-too-new", "blocks", "customer", "full.bak (still being received) comes from" },
	{ no_right, "right-missing", "blocks", "operator", "CREATE ANY DATABASE" },
	{ blind, "requests-unseen", "blocks", "operator", "VIEW SERVER STATE" },
	{ no_history, "history-unseen", "blocks", "operator", "msdb.dbo.restorehistory" },
	{ rights_unknown, "rights-unknown", "warns", "operator", "does not say which rights" },
	{ no_folder, "folder-missing", "blocks", "operator", "the folder for database files, /data/sql, is not there on hosted-1" },
	{ no_log_folder, "folder-missing", "blocks", "operator", "the folder for log files, /log, is not there" },
	{ folder_unknown, "folder-unknown", "warns", "operator", "does not say whether the folder" },
	{ tde, "certificate-missing", "blocks", "customer", "hosted-1 does not hold certificate 0xCC: send a backup that is not encrypted" },
	{ tde_known, "", "", "", "" },
	{ tde_allowed, "certificate-missing", "blocks", "operator", "restore the certificate with its private key" },
	{ tde_unknown, "certificate-unknown", "warns", "customer", "is not known before the server reads it" },
	{ tde_not_told, "certificate-unknown", "warns", "customer", "does not say which it holds" },
	{ tde_seen, "", "", "", "" },
	{ tde_read, "", "", "", "" },
	{ encrypted, "certificate-missing", "blocks", "customer", "it was taken with backup encryption" },
	{ refused_33111, "certificate-missing", "blocks", "customer", "message 33111, Cannot find server certificate; send a backup that is not encrypted" },
	{ refused_33111_allowed, "certificate-missing", "blocks", "operator", "restore that certificate" },
	{ refused_3241, "header-refused", "blocks", "customer", "the target cannot read full.bak: message 3241, incorrectly formed; the server takes it for no" },
	{ refused_3201, "file-unreadable", "blocks", "operator", "let the SQL Server service read the vault" },
	{ refused_unknown, "header-refused", "blocks", "operator", "message 9999, no words" },
	{ tight, "space-tight", "warns", "operator", "less than a tenth" },
	{ enough, "", "", "", "" },
	{ full_disk, "no-space", "blocks", "operator", "on volume /data (data 4.3 GB, log 2.1 GB)" },
	{ full_but_ours, "", "", "", "" },
	{ log_elsewhere, "no-space", "blocks", "operator", "on volume /log/ (data 0 B, log 2.1 GB)" },
	{ both_elsewhere, "", "", "", "" },
	{ space_unknown, "space-unknown", "warns", "operator", "does not say how much space is free where /data/sql/m_1.mdf will be" },
	{ taken, "name-in-use", "blocks", "operator", "there is a database m (ONLINE) on hosted-1 that holds no backup of this migration" },
	{ ours, "", "", "", "" },
	{ grouped, "name-in-group", "blocks", "operator", "m is in availability group ag1" },
	{ path_taken, "path-in-use", "blocks", "operator", "belongs to database Other" },
	{ simple, "simple-recovery", "warns", "customer", "SIMPLE" },
	{ other_files, "", "", "", "" },
	{ no_filestream, "feature-unsure", "warns", "operator", "FILESTREAM is off and memory-optimised tables are possible" },
	{ neither_feature, "feature-missing", "blocks", "operator", "hosted-1 has neither" },
	{ collated, "collation-differs", "warns", "operator", "Finnish_Swedish_CI_AS" },
	{ old, "compat-raised", "info", "operator", "level 90" },
	{ striped, "too-many-stripes", "blocks", "customer", "65 stripes" },
	{ stripes_64, "", "", "", "" },
	{ express, "edition-limit", "blocks", "operator", "at most 10 GiB" },
	{ express_small, "", "", "", "" },
};

static void
each_fact_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		TALLOC_CTX *mem = talloc_new(NULL);
		struct preflight_finding *list;
		struct scene scene;
		size_t n;

		begin(&scene);
		rows[i].change(&scene);
		list = preflight_judge(mem, &scene.facts, &n);
		print_message("%zu %s: %s\n", i, rows[i].id, n == 0 ? "nothing" : list[0].text);
		assert_int_equal(n, rows[i].id[0] == '\0' ? 0 : 1);
		if (n == 1) {
			assert_string_equal(list[0].id, rows[i].id);
			assert_string_equal(preflight_word(list[0].severity), rows[i].severity);
			assert_string_equal(list[0].who, rows[i].who);
			assert_non_null(strstr(list[0].text, rows[i].words));
		}
		talloc_free(mem);
	}
}

static void
the_worst_comes_first_and_once(void **state)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct preflight_backup backups[2];
	struct preflight_finding *list;
	struct scene scene;
	size_t n;

	(void)state;
	begin(&scene);
	old(&scene);
	simple(&scene);
	newer(&scene);
	backups[0] = backups[1] = scene.backup;
	backups[1].file = "second.bak";
	scene.facts.backups = backups;
	scene.facts.n_backups = 2;
	list = preflight_judge(mem, &scene.facts, &n);
	assert_int_equal(n, 3);
	assert_string_equal(list[0].id, "version-too-new");
	assert_non_null(strstr(list[0].text, "full.bak"));
	assert_string_equal(list[1].id, "simple-recovery");
	assert_string_equal(list[2].id, "compat-raised");
	talloc_free(mem);
}

static void
a_path_lies_on_the_longest_mount_point(void **state)
{
	static const struct preflight_volume volumes[] = { { "C:\\", 0 }, { "C:\\mounts\\data\\", 0 }, { "/", 0 }, { "/var/opt", 0 }, { "D:\\", 0 } };
	static const struct { const char *path; int volume; } paths[] = {
		{ "c:\\x.mdf", 0 }, { "C:\\Mounts\\Data\\x.mdf", 1 }, { "C:\\mounts\\database\\x.mdf", 0 }, { "/x", 2 }, { "/var/opt/mssql/x", 3 },
		{ "/var/optional/x", 2 }, { "E:\\x.mdf", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		assert_int_equal(preflight_volume_of(paths[i].path, volumes, 5), paths[i].volume);
	assert_int_equal(preflight_volume_of("\\\\share\\x.mdf", volumes, 2), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_fact_is_found), cmocka_unit_test(the_worst_comes_first_and_once), cmocka_unit_test(a_path_lies_on_the_longest_mount_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
