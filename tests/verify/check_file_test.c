#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "verify/check_file.h"

static struct check_file *
load(const char *text, struct err *err)
{
	char path[] = "/tmp/landfall-checks-XXXXXX";
	int fd = mkstemp(path);
	struct check_file *file;

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	file = check_file_load(path, err);
	unlink(path);
	return file;
}

/* about: pieces that the complaint must have; the line as ":4:" from us,
 * "line: 4" from libcyaml, which names the beginning of the map around it. */
static void
expect_complaint(const char *text, const char *about, const char *where)
{
	struct err err = { 0 };

	assert_null(load(text, &err));
	assert_int_equal(err.kind, ERR_OPERATOR);
	if (strstr(err.text, about) == NULL || strstr(err.text, where) == NULL)
		fail_msg("[%s] says nothing of [%s] at [%s]", err.text, about, where);
}

#define FILE_WITH(checks) "product: x\nvars:\n  - {name: u, from: intake.agent_url}\nchecks:\n" checks

static void
complaints_name_what_is_wrong(void **state)
{
	(void)state;
	expect_complaint(FILE_WITH("  - id: a\n    http: {url: u}\n  - id: b\n    sql: {query: select 1, equals: '1'}\n"
	                           "    manifest: {tables: all}\n"), "exactly one of sql", ":7: b: kind");
	expect_complaint(FILE_WITH("  - {id: a}\n"), "exactly one of sql", ":5: a: kind");
	expect_complaint(FILE_WITH("  - id: a\n    sql: {query: select 1}\n"), "exactly one of equals", ":5: a: sql");
	expect_complaint(FILE_WITH("  - id: a\n    sql: {query: select 1, equals: '1', at_least: 1}\n"),
	                 "exactly one of equals", ":5: a: sql");
	expect_complaint(FILE_WITH("  - id: a\n    severity: awful\n    http: {url: u}\n"), "blocker or warning",
	                 ":5: a: severity");
	expect_complaint(FILE_WITH("  - id: a\n    tier: now\n    http: {url: u}\n"), "gate", ":5: a: tier");
	expect_complaint(FILE_WITH("  - id: a\n    http: {url: 'http://elsewhere/'}\n"), "name of a var", ":5: a: http.url");
	expect_complaint(FILE_WITH("  - id: a\n    http: {url: u, status: 7}\n"), "100 to 599", ":5: a: http.status");
	expect_complaint(FILE_WITH("  - id: a\n    manifest: {tables: some}\n"), "all", ":5: a: manifest.tables");
	expect_complaint(FILE_WITH("  - id: a\n    http: {url: u}\n  - id: 'a'\n    http: {url: u}\n"), "already",
	                 ":7: a: id");
	expect_complaint("product: x\nvars: [{name: u, from: /etc/passwd}]\nchecks:\n  - id: a\n    http: {url: u}\n",
	                 "intake", ":2: u: from");
	expect_complaint("product: x\nnonsense: 1\nchecks:\n  - id: a\n    manual: {ask: u}\n", "nonsense", "line: ");
	expect_complaint("product: x\nchecks:\n  - id: a\n    id: b\n    manual: {ask: u}\n", "id", "line: ");
	expect_complaint("product: x\nchecks: []\n", "checks", "line: ");
	expect_complaint("product: [", "", "");
	assert_null(check_file_load("/nonexistent/file.yaml", &(struct err){ 0 }));
}

static void
a_sound_file_is_read(void **state)
{
	struct err err = { 0 };
	struct check_file *f = load(FILE_WITH("  - id: a\n    needs_table: dbo.t\n    sql: {query: select 1, at_least: -5}\n"
		"  - id: b\n    severity: warning\n    http: {url: u}\n"), &err);

	(void)state;
	if (f == NULL)
		fail_msg("%s", err.text);
	assert_int_equal(f->n_checks, 2);
	assert_int_equal(*f->checks[0].sql->at_least, -5);
	assert_string_equal(f->checks[0].needs_table, "dbo.t");
	assert_true(check_is_blocker(&f->checks[0]));
	assert_false(check_is_blocker(&f->checks[1]));
	assert_string_equal(check_var_key(&f->vars[0]), "agent_url");
	check_file_free(f);
}

static void
the_shipped_file_is_sound(void **state)
{
	struct err err = { 0 };
	struct check_file *f = check_file_load("deploy/checks/ticket-demo.yaml", &err);

	(void)state;
	if (f == NULL)
		fail_msg("%s", err.text);
	check_file_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(complaints_name_what_is_wrong),
		cmocka_unit_test(a_sound_file_is_read), cmocka_unit_test(the_shipped_file_is_sound) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
