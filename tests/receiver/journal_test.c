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

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "receiver/area.h"
#include "receiver/compact.h"
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

/* ---- compaction ----------------------------------------------------------------------------------------------------- */

/* Every call by which something may become durable, counted; before the one that is asked for, the process is killed. */
static atomic_uint calls;
static unsigned killed_at;

static void
point(void)
{
	if (killed_at != 0 && atomic_fetch_add(&calls, 1) + 1 == killed_at)
		kill(getpid(), SIGKILL);
}

int fsync(int fd) { point(); return (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { point(); return (int)syscall(SYS_fdatasync, fd); }
int syncfs(int fd) { point(); (void)fd; return 0; } /* of a whole disk, which is others' too */
int rename(const char *from, const char *to) { point(); return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0); }
ssize_t pwrite(int fd, const void *mem, size_t len, off_t at) { point(); return (ssize_t)syscall(SYS_pwrite64, fd, mem, len, at); }
ssize_t
copy_file_range(int in, off_t *from, int out, off_t *to, size_t len, unsigned flags)
{
	point();
	return (ssize_t)syscall(SYS_copy_file_range, in, from, out, to, len, flags);
}

/* What happens to customers, as records: files change and go, folders come and go. */
static json_t *
any_record(unsigned files)
{
	static const char *const states[] = { "receiving", "partial", "arrived", "other", "gone", "refused" };
	unsigned f = (unsigned)rand() % files, version = 1 + f % 3;
	char key[40], name[40], migration[10];

	snprintf(migration, sizeof(migration), "m-%04u", f % 2);
	snprintf(key, sizeof(key), "key-%u", f);
	snprintf(name, sizeof(name), rand() % 4 == 0 ? "folder/%u.bak" : "%u.bak", f);
	if (rand() % 3 == 0)
		return json_pack("{s:s,s:s,s:s+}", "t", rand() % 2 ? "mkdir" : "rmdir", "m", migration, "path", "/folder-", f % 10 == 0 ? "a" : "b");
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:b,s:s}", "t", "file", "m", migration, "key", key, "name", name, "state",
	                 states[rand() % 6], "kind", "backup", "bytes", rand() % 1000, "version", version, "shown", rand() % 2, "sha256", "00");
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Everything that is there, as one text. */
static char *
all_of(struct areas *of)
{
	char *text = talloc_strdup(NULL, ""), **lines = NULL;
	size_t n = 0;

	for (struct area *a = of->first; a != NULL; a = a->next) {
		struct file *f;

		lines = talloc_realloc(NULL, lines, char *, n + 1);
		lines[n++] = talloc_asprintf(text, "%s %d %d %zu", a->migration, area_is_folder(a, "/folder-a"), area_is_folder(a, "/folder-b"), a->n_folders);
		LIST_FOREACH(f, &a->files, of_area) {
			json_t *record = file_record(f);

			/* What has gone is forgotten at once by whoever replays it. */
			if (f->state != FILE_GONE) {
				lines = talloc_realloc(NULL, lines, char *, n + 1);
				lines[n++] = json_dumps(record, JSON_SORT_KEYS);
			}
			json_decref(record);
		}
	}
	qsort(lines, n, sizeof(*lines), by_text);
	for (size_t i = 0; i < n; i++)
		text = talloc_asprintf_append_buffer(text, "%s\n", lines[i]);
	return text;
}

/* The lines of a journal whose records have a number beyond that, and of files. */
static char *
untold_of(const char *path, uint64_t told, uint64_t *last)
{
	FILE *f = fopen(path, "re");
	char *text = talloc_strdup(NULL, ""), line[4096];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		json_t *record = line_read(line, strlen(line));
		uint64_t n;

		assert_non_null(record);
		n = (uint64_t)json_integer_value(json_object_get(record, "n"));
		assert_true(n > *last);
		*last = n;
		if (n > told && json_object_get(record, "key") != NULL)
			text = talloc_strdup_append_buffer(text, line);
		json_decref(record);
	}
	fclose(f);
	return text;
}

static struct areas
replay_of(const char *path)
{
	struct areas *of = talloc(NULL, struct areas); /* queues hold its address */
	FILE *f = fopen(path, "re");
	char line[4096];

	areas_init(of);
	while (fgets(line, sizeof(line), f) != NULL) {
		json_t *record = line_read(line, strlen(line));

		area_replay(of, record);
		json_decref(record);
	}
	fclose(f);
	return *of;
}

static off_t
size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : -1;
}

static void
what_is_needed_is_kept_and_nothing_else(void **state)
{
	unsigned seed = getenv("SEED") == NULL ? 1 : (unsigned)atoi(getenv("SEED"));
	static const atomic_bool cancelled = false;
	int made = 0;

	(void)state;
	strcpy(dir, "/tmp/landfall-journal-XXXXXX");
	assert_non_null(mkdtemp(dir));
	printf("# seeds from %u\n", seed);
	for (unsigned round = 0; round < 100; round++) {
		enum { LINES = 400 };
		char *old = in_dir("old"), *fresh = in_dir("fresh");
		FILE *f = fopen(old, "we");
		uint64_t told, last = 0, fresh_last = 0;
		struct compacted out;
		struct err err = { 0 };
		struct areas was, is;

		srand(seed + round);
		/* Numbers need not be without gaps: they were compacted before. */
		for (uint64_t i = 0, n = 0; i < LINES; i++)
			fputs(line_make(NULL, any_record(20), n += 1 + (uint64_t)(rand() % 2)), f);
		fclose(f);
		told = round % 5 == 0 ? 0 : (uint64_t)(rand() % (2 * LINES));
		if (!compact(old, size_of(old), told, fresh, &cancelled, &out, &err))
			fail_msg("%s", err.text);
		if (out.fd < 0) {
			assert_int_equal(access(fresh, F_OK), -1);
			continue;
		}
		made++;
		close(out.fd);
		assert_int_equal(size_of(fresh), out.length);
		assert_true(out.length <= size_of(old) / COMPACT_WORTH);
		assert_string_equal(untold_of(old, told, &last), untold_of(fresh, told, &fresh_last));
		assert_int_equal(last, fresh_last);
		was = replay_of(old);
		is = replay_of(fresh);
		assert_string_equal(all_of(&was), all_of(&is));
		assert_true(compact(fresh, out.length, told, in_dir("again"), &cancelled, &out, &err));
		assert_int_equal(out.fd, -1); /* there is nothing more to be had */
	}
	printf("# %d of 100 were worth it\n", made);
	assert_in_range(made, 10, 95);
}

static void
a_spoilt_line_or_the_end_stops_it(void **state)
{
	static const atomic_bool goes_on = false, cancelled = true;
	char *old = in_dir("old"), *fresh = in_dir("fresh");
	struct compacted out;
	struct err err = { 0 };
	FILE *f = fopen(old, "we");

	(void)state;
	for (uint64_t n = 1; n < 100; n++)
		fputs(line_make(NULL, any_record(2), n), f);
	fclose(f);
	unlink(fresh);
	assert_false(compact(old, size_of(old), 1000, fresh, &cancelled, &out, &err));
	assert_int_equal(out.fd, -1);
	assert_int_equal(system(talloc_asprintf(NULL, "sed -i '50s/m-000/m-00X/' '%s'", old)), 0);
	err = (struct err){ 0 };
	assert_false(compact(old, size_of(old), 1000, fresh, &goes_on, &out, &err));
	assert_non_null(strstr(err.text, "spoilt"));
	assert_int_equal(access(fresh, F_OK), -1);
}

/* ---- in the journal's life -------------------------------------------------------------------------------------------------- */

static void
add_file(struct journal *j, unsigned file, unsigned n, journal_done done)
{
	char key[40], name[1000];

	snprintf(key, sizeof(key), "key-%u", file);
	snprintf(name, sizeof(name), "%0900u.bak", file);
	journal_add(j, &(struct journal_job){ .done = done, .record = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:b}", "t", "file", "m", "m-0001",
	            "key", key, "name", name, "state", "partial", "kind", "backup", "bytes", n, "shown", 1) });
}

static void
hear_all(struct journal *j, int until)
{
	struct pollfd p = { journal_fd(j), POLLIN, 0 };

	while (finished < until) {
		assert_int_equal(poll(&p, 1, 60000), 1);
		journal_finished(j);
	}
}

enum { GROWN = 9000, LATER = 8 }; /* GROWN lines are more than is left alone */

/* Long enough to be cut. */
static struct journal *
grown(void)
{
	struct journal *j;

	assert_int_equal(system(talloc_asprintf(NULL, "rm -rf '%s'", dir)), 0);
	strcpy(dir, "/tmp/landfall-journal-XXXXXX");
	assert_non_null(mkdtemp(dir));
	j = open_journal();
	finished = 0;
	for (unsigned n = 1; n <= GROWN; n++)
		add_file(j, n % 10, n, on_done);
	hear_all(j, GROWN);
	assert_true(size_of(in_dir("journal.log")) > 8 * 1024 * 1024);
	return j;
}

static bool
was_cut(void)
{
	for (int i = 0; i < 2000; i++) {
		if (size_of(in_dir("journal.log")) < 1000000)
			return true;
		usleep(10000);
	}
	return false;
}

static uint64_t
bytes_of(unsigned file)
{
	char path[1000];
	struct file *f;

	snprintf(path, sizeof(path), "/%0900u.bak", file);
	f = area_find(area_of(&areas, "m-0001"), path);
	return f == NULL ? 0 : f->bytes;
}

static void
a_journal_that_grew_is_cut_while_it_is_used(void **state)
{
	struct journal *j = grown();
	uint64_t last = 0;
	char *untold;

	(void)state;
	journal_tend(j, GROWN - 5); /* five were not told */
	for (unsigned n = 1; n <= LATER; n++)
		add_file(j, 10, n, on_done);
	hear_all(j, GROWN + LATER);
	assert_true(was_cut());
	add_file(j, 11, 1, on_done);
	hear_all(j, GROWN + LATER + 1);
	talloc_free(j);
	untold = untold_of(in_dir("journal.log"), GROWN - 5, &last);
	assert_int_equal(last, GROWN + LATER + 1);
	for (const char *c = untold; *c != '\0'; c++)
		last -= *c == '\n';
	assert_int_equal(last, GROWN - 5);
	j = open_journal();
	for (unsigned n = 0; n < 10; n++)
		assert_int_equal(bytes_of(n), n == 0 ? GROWN : GROWN - 10 + n);
	assert_int_equal(bytes_of(10), LATER);
	assert_int_equal(bytes_of(11), 1);
	/* It is worth it again only when it has grown again. */
	journal_tend(j, UINT64_MAX);
	talloc_free(j);
	assert_int_equal(access(in_dir("journal.new"), F_OK), -1);
}

/* A child cuts it and writes on, and tells what was acknowledged; false: it was not killed. */
static bool
is_killed(unsigned at, atomic_uint *acknowledged)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct err err = { 0 };
		struct journal *j;
		struct pollfd p = { .events = POLLIN };

		killed_at = at;
		j = journal_open(NULL, dir, on_replay, NULL, &err);
		if (j == NULL)
			_exit(2);
		p.fd = journal_fd(j);
		finished = 0;
		for (unsigned n = 1; n <= LATER; n++) {
			if (n == 2)
				journal_tend(j, GROWN);
			add_file(j, 10, n, on_done);
			while (finished < (int)n && poll(&p, 1, 60000) == 1)
				journal_finished(j);
			atomic_store(acknowledged, n);
		}
		if (!was_cut())
			_exit(3);
		add_file(j, 10, LATER + 1, on_done);
		while (finished <= LATER && poll(&p, 1, 60000) == 1)
			journal_finished(j);
		atomic_store(acknowledged, LATER + 1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	return WIFSIGNALED(status);
}

static void
killed_at_any_point_nothing_acknowledged_is_lost(void **state)
{
	atomic_uint *acknowledged = mmap(NULL, sizeof(*acknowledged), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct journal *j = grown();
	char *log = in_dir("journal.log");
	unsigned points = 0, before = 0, after = 0;
	bool killed = true;

	(void)state;
	talloc_free(j);
	assert_int_equal(system(talloc_asprintf(NULL, "cp '%s' '%s.full'", log, log)), 0);
	while (killed) {
		assert_int_equal(system(talloc_asprintf(NULL, "cp '%s.full' '%s'", log, log)), 0);
		atomic_store(acknowledged, 0);
		killed = is_killed(++points, acknowledged);
		*(size_of(log) < 1000000 ? &after : &before) += 1;
		j = open_journal();
		for (unsigned n = 0; n < 10; n++)
			assert_int_equal(bytes_of(n), n == 0 ? GROWN : GROWN - 10 + n);
		assert_true(bytes_of(10) >= atomic_load(acknowledged));
		talloc_free(j);
	}
	printf("# killed at %u points, %u times with the long journal, %u with the short one\n", points - 1, before, after);
	assert_true(points > 2 * LATER && before > 5 && after > 1);
	assert_int_equal(system(talloc_asprintf(NULL, "rm -rf '%s'", dir)), 0);
}

static void
on_copied(void *ctx, bool good, const char *why)
{
	(void)why;
	*(int *)ctx = good ? 1 : -1;
}

static void
wait_for(struct journal *j, const int *copied)
{
	struct pollfd p = { journal_fd(j), POLLIN, 0 };

	while (*copied == 0) {
		assert_int_equal(poll(&p, 1, 5000), 1);
		journal_finished(j);
	}
}

/* A pipe that nobody writes into is copied for as long as we like; records go on. */
static void
a_copy_keeps_no_record_waiting(void **state)
{
	int copied = 0, also = 0, fd;
	struct journal *j;

	(void)state;
	strcpy(dir, "/tmp/landfall-journal-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(mkfifo(in_dir("pipe"), 0600), 0);
	j = open_journal();
	journal_copy(j, in_dir("pipe"), in_dir("copy"), on_copied, &copied);
	add(j, json_pack("{s:s,s:s,s:s}", "t", "mkdir", "m", "m-0001", "path", "/sub"), NULL, NULL);
	assert_int_equal(journal_told(j), journal_added(j));
	journal_copy(j, in_dir("journal.log"), in_dir("other"), on_copied, &also);
	wait_for(j, &also);
	assert_int_equal(also, 1);
	assert_int_equal(size_of(in_dir("other")), size_of(in_dir("journal.log")));
	assert_int_equal(copied, 0);
	/* What cannot be copied is said. */
	fd = open(in_dir("pipe"), O_WRONLY | O_CLOEXEC);
	wait_for(j, &copied);
	assert_int_equal(copied, -1);
	close(fd);
	assert_int_equal(journal_told(j), journal_added(j));
	talloc_free(j);
	assert_int_equal(system(talloc_asprintf(NULL, "rm -rf '%s'", dir)), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_and_moves_are_kept), cmocka_unit_test(a_torn_line_is_cut_away_and_nothing_else),
		cmocka_unit_test(what_is_needed_is_kept_and_nothing_else), cmocka_unit_test(a_spoilt_line_or_the_end_stops_it),
		cmocka_unit_test(a_journal_that_grew_is_cut_while_it_is_used), cmocka_unit_test(killed_at_any_point_nothing_acknowledged_is_lost),
		cmocka_unit_test(a_copy_keeps_no_record_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
