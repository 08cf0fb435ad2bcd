#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "receiver/area.h"
#include "receiver/sidecar.h"

/* The same answers as from a list that is walked, whatever was done before; and at once, however many files there are. */

enum { FILES_MAX = 60, STEPS = 20000, SEEDS = 5 };

static const char *const paths[] = { "/a", "/a.md5", "/a.MD5", "/a.sha256", "/d", "/d/a", "/d/a.md5", "/d/e", "/d/e/f", "/d/e/f.sha256", "/d/.md5", "/.md5", "/da" };
enum { PATHS = sizeof(paths) / sizeof(paths[0]) };

/* What the area is to know, in the plainest form. */
struct model {
	struct areas areas;
	struct area *area;
	struct file *files[FILES_MAX];
	size_t n;
	bool folder[PATHS];
};

static bool
is_beneath(const char *path, const char *folder)
{
	size_t n = strcmp(folder, "/") == 0 ? 0 : strlen(folder);

	return strncmp(path, folder, n) == 0 && path[n] == '/';
}

/* ---- the model's answers ----------------------------------------------------------------------------------------- */

static void
knows_its_names(const struct model *m, const char *path)
{
	struct file *newest = NULL, *s;
	bool is_empty = true;
	int version = 0;
	size_t sidecars = 0, found = 0;
	const struct name *at = NULL;

	for (size_t i = 0; i < m->n; i++) {
		struct file *f = m->files[i];

		if (strcmp(f->path, path) == 0) {
			at = f->at;
			version = f->version > version ? f->version : version;
			if (f->shown && (newest == NULL || f->number > newest->number))
				newest = f;
		}
		if (!f->shown)
			continue;
		is_empty = is_empty && !is_beneath(f->path, path);
		sidecars += sidecar_digits(f->path) > 0 && sidecar_stem(f->path) == strlen(path) && strncmp(f->path, path, strlen(path)) == 0;
	}
	for (size_t i = 0; i < PATHS; i++)
		is_empty = is_empty && !(m->folder[i] && is_beneath(paths[i], path));
	assert_ptr_equal(area_find(m->area, path), newest);
	assert_int_equal(area_is_empty(m->area, path), is_empty);
	if (at == NULL)
		assert_int_equal(area_next_version(m->area, path), 1);
	assert_true(area_next_version(m->area, path) > version);
	if (at == NULL)
		return;
	LIST_FOREACH(s, &at->sidecars, of_sidecars)
		found++;
	assert_int_equal(found, sidecars);
}

static void
lists_what_is_beneath(const struct model *m, const char *folder)
{
	const struct name_list *beneath = area_beneath(m->area, folder);
	size_t listed = 0, want = 0;
	const struct name *n;

	for (size_t i = 0; i < PATHS; i++) {
		size_t len = strcmp(folder, "/") == 0 ? 0 : strlen(folder);

		if (is_beneath(paths[i], folder) && strchr(paths[i] + len + 1, '/') == NULL)
			want += (m->folder[i] ? 1 : 0) + (area_find(m->area, paths[i]) != NULL);
	}
	for (n = beneath == NULL ? NULL : LIST_FIRST(beneath); n != NULL; n = LIST_NEXT(n, of_above))
		listed += (n->is_folder ? 1 : 0) + (area_shown(n) != NULL);
	assert_int_equal(listed, want);
}

static void
counts_its_files(const struct model *m)
{
	size_t shown = 0, unfinished = 0, busy = 0, counting = 0, wanting = 0;
	unsigned files = 0, used;
	uint64_t bytes = 0;
	struct file *f;

	for (size_t i = 0; i < m->n; i++) {
		f = m->files[i];
		shown += f->shown;
		unfinished += f->shown && f->state != FILE_ARRIVED && f->state != FILE_OTHER;
		busy += f->writer != 0 || f->settling;
		counting += f->settles_at != 0;
		wanting += f->wants != 0;
		files += f->state != FILE_GONE;
		bytes += f->state == FILE_GONE || f->state == FILE_REFUSED ? 0 : f->bytes;
		assert_ptr_equal(area_by_number(&m->areas, f->number), f);
		if (f->state == FILE_ARRIVED)
			assert_string_equal(area_arrived_as(m->area, f->sha256)->sha256, f->sha256);
	}
	assert_int_equal(area_used(m->area, &used), bytes);
	assert_int_equal(used, files);
	assert_int_equal(m->area->n_shown, shown);
	assert_int_equal(m->area->n_unfinished, unfinished);
	LIST_FOREACH(f, &m->area->shown, of_shown)
		shown--;
	LIST_FOREACH(f, &m->area->unfinished, of_unfinished)
		unfinished--;
	LIST_FOREACH(f, &m->area->busy, of_busy)
		busy--;
	TAILQ_FOREACH(f, &m->areas.counting, of_counting)
		counting--;
	TAILQ_FOREACH(f, &m->areas.wanting, of_wanting)
		wanting--;
	assert_int_equal(shown | unfinished | busy | counting | wanting, 0);
}

static void
agrees(const struct model *m)
{
	for (size_t i = 0; i < PATHS; i++) {
		knows_its_names(m, paths[i]);
		lists_what_is_beneath(m, paths[i]);
		assert_int_equal(area_is_folder(m->area, paths[i]), m->folder[i]);
	}
	lists_what_is_beneath(m, "/");
	counts_its_files(m);
	assert_null(area_by_number(&m->areas, m->areas.last_number + 1));
}

/* ---- what may happen --------------------------------------------------------------------------------------------------- */

static const char *
digest(int n)
{
	static char hex[65];

	snprintf(hex, sizeof(hex), "%064x", (unsigned)n);
	return hex;
}

static void
step(struct model *m)
{
	int what = rand() % 14, p = rand() % PATHS;
	struct file *f = m->n == 0 ? NULL : m->files[(size_t)rand() % m->n];

	if (what == 0) {
		area_add_folder(m->area, paths[p]);
		m->folder[p] = true;
	} else if (what == 1) {
		area_remove_folder(m->area, paths[p]);
		m->folder[p] = false;
	} else if ((what == 2 || f == NULL) && m->n < FILES_MAX) {
		m->files[m->n++] = area_new(m->area, paths[p], digest(rand() % 1000000) + 40);
	} else if (what == 3 && f != NULL) {
		for (size_t i = 0; i < m->n; i++)
			if (m->files[i] == f)
				m->files[i] = m->files[--m->n];
		area_forget(f);
	} else if (f != NULL) {
		switch (what) {
		case 4: area_set_name(f, paths[p], area_next_version(m->area, paths[p])); break;
		case 5: area_show(f, rand() % 2); break;
		case 6: case 7: area_set_state(f, (enum file_state)(rand() % (FILE_GONE + 1))); break;
		case 8: area_set_bytes(f, (uint64_t)rand()); break;
		case 9: area_set_sha256(f, digest(rand() % 3)); break;
		case 10: area_set_writer(f, (unsigned)rand() % 2); break;
		case 11: area_set_settling(f, rand() % 2); break;
		case 12: area_set_settles_at(f, rand() % 2); break;
		default: area_set_wants(f, (unsigned)rand() % 4); break;
		}
	}
}

static void
begin(struct model *m)
{
	*m = (struct model){ .n = 0 };
	areas_init(&m->areas);
	m->area = area_of(&m->areas, "m-0001");
}

static void
it_knows_what_a_list_would(void **state)
{
	unsigned seed = getenv("SEED") == NULL ? 1 : (unsigned)atoi(getenv("SEED"));

	(void)state;
	printf("# seeds from %u\n", seed);
	for (unsigned i = 0; i < SEEDS; i++) {
		struct model m;

		begin(&m);
		srand(seed + i);
		for (int n = 0; n < STEPS; n++) {
			step(&m);
			if (n % 10 == 0)
				agrees(&m);
		}
		/* Nothing is left of what is gone. */
		while (m.n > 0)
			area_forget(m.files[--m.n]);
		for (size_t p = 0; p < PATHS; p++) {
			area_remove_folder(m.area, paths[p]);
			m.folder[p] = false;
		}
		agrees(&m);
		assert_null(m.area->names);
		assert_null(m.area->keys);
		assert_null(m.area->arrived);
		assert_null(m.areas.numbers);
	}
}

/* ---- replay ---------------------------------------------------------------------------------------------------------------- */

static void
a_record_makes_the_same_file(void **state)
{
	struct model m, n;
	char key[40];

	(void)state;
	begin(&m);
	begin(&n);
	srand(7);
	for (int i = 0; i < STEPS; i++) {
		struct file *f, *g;
		json_t *record;

		/* Nothing is forgotten here: the journal says so by a state. */
		snprintf(key, sizeof(key), "key-%d", i % FILES_MAX);
		if (m.n < FILES_MAX) {
			m.files[m.n++] = area_new(m.area, paths[rand() % PATHS], key);
			n.n++;
			f = m.files[m.n - 1];
		} else {
			f = m.files[rand() % FILES_MAX];
			area_set_name(f, paths[rand() % PATHS], 1 + rand() % 5);
			area_show(f, rand() % 2);
			area_set_state(f, (enum file_state)(rand() % (FILE_GONE + 1)));
			area_set_bytes(f, (uint64_t)rand());
			area_set_sha256(f, digest(rand() % 3));
			area_set_settles_at(f, rand() % 2);
			f->began_whole = rand() % 2;
		}
		record = file_record(f);
		area_replay(&n.areas, record);
		json_decref(record);
		LIST_FOREACH(g, &n.area->files, of_area)
			if (strcmp(g->key, f->key) == 0)
				n.files[f->number - 1] = g;
		g = n.files[f->number - 1];
		assert_string_equal(g->path, f->path);
		assert_string_equal(g->sha256, f->sha256);
		assert_true(g->version == f->version && g->shown == f->shown && g->state == f->state && g->bytes == f->bytes &&
		            g->settles_at == f->settles_at && g->began_whole == f->began_whole);
		if (i % 100 == 99)
			agrees(&n);
	}
}

/* ---- many -------------------------------------------------------------------------------------------------------------------- */

/*
 * A walk over all files for each of these would be ten thousand million steps, minutes of CPU; this takes about two
 * seconds, so the limit is not met by a machine that is merely slow. It is CPU, not time.
 */
static void
fifty_thousand_files_cost_no_more_than_each_its_own(void **state)
{
	enum { MANY = 50000, LIMIT_SECONDS = 30 };
	struct areas areas;
	struct area *area;
	struct file *f, *next;
	char path[100], key[40];
	unsigned files;
	int64_t from = thread_cpu_ns(), took;

	(void)state;
	areas_init(&areas);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), "m-%u", i);
		area_of(&areas, path);
	}
	area = area_of(&areas, "m-7");
	for (unsigned i = 0; i < MANY; i++) {
		json_t *record;

		snprintf(path, sizeof(path), "/folder-%u", i);
		area_add_folder(area, path);
		snprintf(path, sizeof(path), "/folder-%u/%064u.bak", i % 100, i);
		snprintf(key, sizeof(key), "%u", i);
		f = area_new(area, path, key);
		area_set_sha256(f, digest((int)i));
		area_set_state(f, FILE_ARRIVED);
		assert_ptr_equal(area_find(area, path), f);
		assert_ptr_equal(area_by_number(&areas, f->number), f);
		assert_ptr_equal(area_arrived_as(area, digest((int)i)), f);
		assert_int_equal(area_next_version(area, path), 2);
		assert_false(area_is_empty(area, "/"));
		record = file_record(f);
		area_replay(&areas, record);
		json_decref(record);
		area_used(area, &files);
		assert_int_equal(files, i + 1);
	}
	for (f = LIST_FIRST(&area->files); f != NULL; f = next) {
		next = LIST_NEXT(f, of_area);
		area_forget(f);
	}
	took = (thread_cpu_ns() - from) / 1000000;
	printf("# %d files in %d folders took %lld ms of CPU\n", MANY, MANY, (long long)took);
	assert_true(took < LIMIT_SECONDS * 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_knows_what_a_list_would), cmocka_unit_test(a_record_makes_the_same_file),
		cmocka_unit_test(fifty_thousand_files_cost_no_more_than_each_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
