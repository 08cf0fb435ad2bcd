#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "receiver/area.h"
#include "receiver/journal.h"

/* What was acknowledged is there after any end; what was torn was never acknowledged. */

static char dir[64];
static int replayed, finished;
static struct areas areas;

static void
on_replay(void *ctx, const json_t *record)
{
	(void)ctx;
	area_replay(&areas, record);
	replayed++;
}

static void
on_done(void *ctx, bool good, const char *why)
{
	(void)ctx;
	(void)why;
	assert_true(good);
	finished++;
}

static struct journal *
open_journal(void)
{
	struct err err = { 0 };
	struct journal *j;

	replayed = 0;
	areas_init(&areas);
	j = journal_open(NULL, dir, on_replay, NULL, &err);
	if (j == NULL)
		fail_msg("%s", err.text);
	return j;
}

static void
add(struct journal *j, json_t *record, const char *from, const char *to)
{
	struct journal_job job = { .record = record, .from = talloc_strdup(NULL, from), .to = talloc_strdup(NULL, to), .done = on_done };
	struct pollfd p = { journal_fd(j), POLLIN, 0 };
	int before = finished;

	journal_add(j, &job);
	while (finished == before) {
		assert_int_equal(poll(&p, 1, 5000), 1);
		journal_finished(j);
	}
}

static char *
in_dir(const char *name)
{
	return talloc_asprintf(NULL, "%s/%s", dir, name);
}

static void
records_and_moves_are_kept(void **state)
{
	struct journal *j;
	struct area *a;
	struct file *f;
	int fd;

	(void)state;
	strcpy(dir, "/tmp/landfall-journal-XXXXXX");
	assert_non_null(mkdtemp(dir));
	j = open_journal();
	a = area_of(&areas, "m-0001");
	f = area_new(a, "/full.bak", "k1");
	add(j, file_record(f), NULL, NULL);
	fd = open(in_dir("staging"), O_CREAT | O_WRONLY, 0600);
	close(fd);
	area_set_state(f, FILE_ARRIVED);
	area_set_bytes(f, 7);
	add(j, file_record(f), in_dir("staging"), in_dir("vault"));
	assert_int_equal(access(in_dir("vault"), F_OK), 0);
	add(j, json_pack("{s:s,s:s,s:s}", "t", "mkdir", "m", "m-0001", "path", "/sub"), NULL, NULL);
	talloc_free(j);
	j = open_journal();
	assert_int_equal(replayed, 3);
	f = area_find(area_of(&areas, "m-0001"), "/full.bak");
	assert_non_null(f);
	assert_int_equal(f->state, FILE_ARRIVED);
	assert_int_equal(f->bytes, 7);
	assert_true(area_is_folder(area_of(&areas, "m-0001"), "/sub"));
	talloc_free(j);
}

static void
a_torn_line_is_cut_away_and_nothing_else(void **state)
{
	char *path = in_dir("journal.log");
	struct stat st;
	struct journal *j;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	/* Every length of the last record's write that a power cut could leave. */
	for (off_t cut = st.st_size - 1; cut > st.st_size - 60; cut -= 7) {
		char *copy = in_dir("copy");
		assert_int_equal(system(talloc_asprintf(NULL, "cp '%s' '%s'", path, copy)), 0);
		assert_int_equal(truncate(path, cut), 0);
		j = open_journal();
		assert_int_equal(replayed, 2);
		/* People can still read what was cut. */
		assert_int_equal(system(talloc_asprintf(NULL, "find '%s' -name 'journal.cut-*' -size +0 | grep -q .", dir)), 0);
		add(j, json_pack("{s:s,s:s,s:s}", "t", "mkdir", "m", "m-0001", "path", "/later"), NULL, NULL);
		talloc_free(j);
		j = open_journal();
		assert_int_equal(replayed, 3);
		assert_true(area_is_folder(area_of(&areas, "m-0001"), "/later"));
		talloc_free(j);
		assert_int_equal(rename(copy, path), 0);
	}
	assert_int_equal(system(talloc_asprintf(NULL, "rm -rf '%s'", dir)), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_and_moves_are_kept), cmocka_unit_test(a_torn_line_is_cut_away_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
