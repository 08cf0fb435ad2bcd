#include "receiver/area.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "receiver/place.h"
#include "receiver/sidecar.h"

static const char *const words[] = {
	[FILE_RECEIVING] = "receiving", [FILE_PARTIAL] = "partial", [FILE_WHOLE_NOT_NAMED] = "whole-not-named", [FILE_ARRIVED] = "arrived",
	[FILE_REFUSED] = "refused", [FILE_OTHER] = "other", [FILE_GONE] = "gone",
};

const char *
file_state_word(enum file_state state)
{
	return words[state];
}

/* ---- trees -------------------------------------------------------------------------------------------------------- */

typedef int compare(const void *a, const void *b);

static void
put(void **tree, const void *node, compare *by)
{
	if (tsearch(node, tree, by) == NULL)
		abort(); /* no memory: what is not found again would be lost */
}

static void *
get(void *const *tree, const void *like, compare *by)
{
	void *const *found = tfind(like, tree, by);

	return found == NULL ? NULL : *found;
}

static int
by_migration(const void *a, const void *b)
{
	return strcmp(((const struct area *)a)->migration, ((const struct area *)b)->migration);
}

static int
by_path(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->path, ((const struct name *)b)->path);
}

static int
by_number(const void *a, const void *b)
{
	const struct file *f = a, *g = b;

	return f->number < g->number ? -1 : f->number > g->number;
}

/* Where several are alike, any of them is found and each can be taken out. */
static int
like_key(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->key, ((const struct file *)b)->key);
}

static int
by_key(const void *a, const void *b)
{
	int way = like_key(a, b);

	return way != 0 ? way : by_number(a, b);
}

static int
like_digest(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->sha256, ((const struct file *)b)->sha256);
}

static int
by_digest(const void *a, const void *b)
{
	int way = like_digest(a, b);

	return way != 0 ? way : by_number(a, b);
}

/* ---- areas ---------------------------------------------------------------------------------------------------------- */

void
areas_init(struct areas *areas)
{
	*areas = (struct areas){ 0 };
	TAILQ_INIT(&areas->counting);
	TAILQ_INIT(&areas->wanting);
}

struct area *
area_of(struct areas *areas, const char *migration)
{
	union { const char *in; char *out; } sought = { migration };
	struct area like = { .migration = sought.out }, *a = get(&areas->migrations, &like, by_migration);

	if (a != NULL)
		return a;
	a = talloc_zero(NULL, struct area);
	a->areas = areas;
	a->migration = talloc_strdup(a, migration);
	a->root = talloc_zero(a, struct name);
	a->root->path = talloc_strdup(a->root, "");
	a->next = areas->first;
	areas->first = a;
	put(&areas->migrations, a, by_migration);
	return a;
}

/* ---- names ------------------------------------------------------------------------------------------------------------ */

static struct name *
name_find(const struct area *area, const char *path)
{
	union { const char *in; char *out; } sought = { path };
	struct name like = { .path = sought.out };

	return strcmp(path, "/") == 0 || path[0] == '\0' ? area->root : get(&area->names, &like, by_path);
}

static struct name *
name_make(struct area *area, const char *path)
{
	struct name *n = name_find(area, path);
	const char *slash = strrchr(path, '/');
	char *above;

	if (n != NULL)
		return n;
	above = talloc_strndup(NULL, path, slash == NULL ? 0 : (size_t)(slash - path));
	n = talloc_zero(area, struct name);
	n->path = talloc_strdup(n, path);
	n->above = name_make(area, above);
	LIST_INSERT_HEAD(&n->above->beneath, n, of_above);
	put(&area->names, n, by_path);
	talloc_free(above);
	return n;
}

/* Names that nothing has and nothing is beneath of are forgotten. */
static void
name_drop(struct area *area, struct name *n)
{
	while (n != area->root && !n->is_folder && n->files == 0 && LIST_EMPTY(&n->sidecars) && LIST_EMPTY(&n->beneath)) {
		struct name *above = n->above;

		LIST_REMOVE(n, of_above);
		tdelete(n, &area->names, by_path);
		talloc_free(n);
		n = above;
	}
}

static void
count_inside(struct name *n, int by)
{
	for (n = n->above; n != NULL; n = n->above)
		n->inside += (unsigned)by;
}

static void
appear(struct file *f)
{
	LIST_INSERT_HEAD(&f->at->shown, f, of_name);
	count_inside(f->at, 1);
	if (sidecar_digits(f->path) > 0) {
		char *stem = talloc_strndup(NULL, f->path, sidecar_stem(f->path));

		f->checks = name_make(f->area, stem);
		LIST_INSERT_HEAD(&f->checks->sidecars, f, of_sidecars);
		talloc_free(stem);
	}
}

static void
vanish(struct file *f)
{
	struct name *checked = f->checks;

	LIST_REMOVE(f, of_name);
	count_inside(f->at, -1);
	if (checked == NULL)
		return;
	LIST_REMOVE(f, of_sidecars);
	f->checks = NULL;
	name_drop(f->area, checked);
}

static void
attach(struct file *f)
{
	f->at = name_make(f->area, f->path);
	f->at->files++;
	if (f->version > f->at->last_version)
		f->at->last_version = f->version;
	if (f->shown)
		appear(f);
}

static void
detach(struct file *f)
{
	if (f->shown)
		vanish(f);
	if (--f->at->files == 0)
		f->at->last_version = 0;
	name_drop(f->area, f->at);
}

struct file *
area_shown(const struct name *n)
{
	struct file *f, *newest = NULL;

	LIST_FOREACH(f, &n->shown, of_name)
		if (newest == NULL || f->number > newest->number)
			newest = f;
	return newest;
}

struct file *
area_find(const struct area *area, const char *path)
{
	const struct name *n = name_find(area, path);

	return n == NULL ? NULL : area_shown(n);
}

int
area_next_version(const struct area *area, const char *path)
{
	const struct name *n = name_find(area, path);

	return n == NULL ? 1 : n->last_version + 1;
}

void
area_set_name(struct file *f, const char *path, int version)
{
	char *fresh;

	if (version == f->version && strcmp(path, f->path) == 0)
		return;
	fresh = talloc_strdup(f, path);
	detach(f);
	talloc_free(f->path);
	f->path = fresh;
	f->version = version;
	attach(f);
}

/* Kept up to date with what is shown and what it is. */
static void
list_unfinished(struct file *f)
{
	bool is = f->shown && f->state != FILE_ARRIVED && f->state != FILE_OTHER;

	if (is && !f->is_unfinished)
		LIST_INSERT_HEAD(&f->area->unfinished, f, of_unfinished);
	else if (!is && f->is_unfinished)
		LIST_REMOVE(f, of_unfinished);
	f->area->n_unfinished += (size_t)is - (size_t)f->is_unfinished;
	f->is_unfinished = is;
}

void
area_show(struct file *f, bool shown)
{
	if (shown == f->shown)
		return;
	f->shown = shown;
	if (shown)
		LIST_INSERT_HEAD(&f->area->shown, f, of_shown);
	else
		LIST_REMOVE(f, of_shown);
	f->area->n_shown += shown ? 1 : -(size_t)1;
	(shown ? appear : vanish)(f);
	list_unfinished(f);
}

/* ---- folders ---------------------------------------------------------------------------------------------------------- */

bool
area_is_folder(const struct area *area, const char *path)
{
	const struct name *n = name_find(area, path);

	return (n != NULL && (n == area->root || n->is_folder)) || strcmp(path, "/receipts") == 0 || strcmp(path, "/outbox") == 0;
}

bool
area_is_empty(const struct area *area, const char *folder)
{
	const struct name *n = name_find(area, folder);

	return n == NULL || n->inside == 0;
}

void
area_add_folder(struct area *area, const char *path)
{
	struct name *n;

	if (area_is_folder(area, path))
		return;
	n = name_make(area, path);
	n->is_folder = true;
	count_inside(n, 1);
	area->n_folders++;
}

void
area_remove_folder(struct area *area, const char *path)
{
	struct name *n = name_find(area, path);

	if (n == NULL || !n->is_folder)
		return;
	n->is_folder = false;
	count_inside(n, -1);
	area->n_folders--;
	name_drop(area, n);
}

const struct name_list *
area_beneath(const struct area *area, const char *folder)
{
	const struct name *n = name_find(area, folder);

	return n == NULL ? NULL : &n->beneath;
}

/* ---- files -------------------------------------------------------------------------------------------------------------- */

/* What was refused has no bytes any more, but its name is remembered. */
static void
count(const struct file *f, int by)
{
	uint64_t bytes = f->state == FILE_GONE || f->state == FILE_REFUSED ? 0 : f->bytes;

	f->area->used_files += f->state == FILE_GONE ? 0 : (unsigned)by;
	f->area->used_bytes += by > 0 ? bytes : -bytes;
}

struct file *
area_by_number(const struct areas *areas, uint64_t number)
{
	const struct file like = { .number = number };

	return get(&areas->numbers, &like, by_number);
}

struct file *
area_arrived_as(const struct area *area, const char *sha256)
{
	struct file like = { 0 };

	snprintf(like.sha256, sizeof(like.sha256), "%s", sha256);
	return get(&area->arrived, &like, like_digest);
}

static struct file *
file_make(struct area *area, const char *path, const char *key, int version)
{
	struct file *f = talloc_zero(area, struct file);

	f->area = area;
	f->number = ++area->areas->last_number;
	snprintf(f->key, sizeof(f->key), "%s", key);
	f->path = talloc_strdup(f, path);
	f->version = version;
	LIST_INSERT_HEAD(&area->files, f, of_area);
	put(&area->areas->numbers, f, by_number);
	put(&area->keys, f, by_key);
	attach(f);
	area_show(f, true);
	count(f, 1);
	return f;
}

struct file *
area_new(struct area *area, const char *path, const char *key)
{
	return file_make(area, path, key, area_next_version(area, path));
}

void
area_forget(struct file *f)
{
	struct areas *areas = f->area->areas;

	area_set_writer(f, 0);
	area_set_settling(f, false);
	area_set_settles_at(f, 0);
	area_set_wants(f, WANTS_NOTHING);
	area_set_state(f, FILE_GONE); /* counts for nothing */
	area_show(f, false);
	detach(f);
	LIST_REMOVE(f, of_area);
	tdelete(f, &areas->numbers, by_number);
	tdelete(f, &f->area->keys, by_key);
	json_decref(f->findings);
	talloc_free(f);
}

void
area_set_state(struct file *f, enum file_state state)
{
	if (f->state == FILE_ARRIVED)
		tdelete(f, &f->area->arrived, by_digest);
	count(f, -1);
	f->state = state;
	count(f, 1);
	if (f->state == FILE_ARRIVED)
		put(&f->area->arrived, f, by_digest);
	list_unfinished(f);
}

void
area_set_bytes(struct file *f, uint64_t bytes)
{
	count(f, -1);
	f->bytes = bytes;
	count(f, 1);
}

void
area_set_sha256(struct file *f, const char *sha256)
{
	if (f->state == FILE_ARRIVED)
		tdelete(f, &f->area->arrived, by_digest);
	snprintf(f->sha256, sizeof(f->sha256), "%s", sha256);
	if (f->state == FILE_ARRIVED)
		put(&f->area->arrived, f, by_digest);
}

static void
set_busy(struct file *f, unsigned writer, bool settling)
{
	bool was = f->writer != 0 || f->settling, is = writer != 0 || settling;

	f->writer = writer;
	f->settling = settling;
	if (is && !was)
		LIST_INSERT_HEAD(&f->area->busy, f, of_busy);
	else if (was && !is)
		LIST_REMOVE(f, of_busy);
}

void
area_set_writer(struct file *f, unsigned session)
{
	set_busy(f, session, f->settling);
}

void
area_set_settling(struct file *f, bool settling)
{
	set_busy(f, f->writer, settling);
}

void
area_set_settles_at(struct file *f, int64_t when)
{
	struct file_queue *counting = &f->area->areas->counting;

	if (f->settles_at == 0 && when != 0)
		TAILQ_INSERT_TAIL(counting, f, of_counting);
	else if (f->settles_at != 0 && when == 0)
		TAILQ_REMOVE(counting, f, of_counting);
	f->settles_at = when;
}

void
area_set_wants(struct file *f, unsigned wants)
{
	struct file_queue *wanting = &f->area->areas->wanting;

	if (f->wants == WANTS_NOTHING && wants != WANTS_NOTHING)
		TAILQ_INSERT_TAIL(wanting, f, of_wanting);
	else if (f->wants != WANTS_NOTHING && wants == WANTS_NOTHING)
		TAILQ_REMOVE(wanting, f, of_wanting);
	f->wants = wants;
}

void
area_set_reason(struct file *f, const char *reason)
{
	talloc_free(f->reason);
	f->reason = reason == NULL || reason[0] == '\0' ? NULL : talloc_strdup(f, reason);
}

uint64_t
area_used(const struct area *area, unsigned *files)
{
	*files = area->used_files;
	return area->used_bytes;
}

/* ---- records -------------------------------------------------------------------------------------------------- */

json_t *
file_record(const struct file *f)
{
	const char *kind = f->is_manifest ? "manifest" : f->is_backup ? "backup" : "file";
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:i,s:I,s:I,s:b,s:b}", "t", "file", "m", f->area->migration, "key", f->key, "name",
		f->path + 1, "state", words[f->state], "kind", kind, "bytes", (json_int_t)f->bytes, "version", f->version, "mtime",
		(json_int_t)f->mtime, "at", (json_int_t)f->arrived_at, "shown", f->shown, "whole", f->whole);
	char vault[128];

	if (f->sha256[0] != '\0')
		json_object_set_new(o, "sha256", json_string(f->sha256));
	if (f->reason != NULL)
		json_object_set_new(o, "reason", json_string(f->reason));
	if (f->findings != NULL)
		json_object_set(o, "findings", f->findings);
	if (f->replaces[0] != '\0')
		json_object_set_new(o, "replaces", json_string(f->replaces));
	if (f->is_other)
		json_object_set_new(o, "other", json_true());
	if (f->was_open)
		json_object_set_new(o, "open", json_true());
	if (f->began_whole)
		json_object_set_new(o, "over", json_true());
	if (f->is_disputed)
		json_object_set_new(o, "disputed", json_true());
	if (f->settles_at != 0)
		json_object_set_new(o, "settles", json_integer(f->settles_at));
	if (f->promised[0] != '\0')
		json_object_set_new(o, "promised", json_string(f->promised));
	if (f->md5[0] != '\0')
		json_object_set_new(o, "md5", json_string(f->md5));
	if (f->state == FILE_ARRIVED) {
		snprintf(vault, sizeof(vault), "%s/vault/%s.bak", f->area->migration, f->key);
		json_object_set_new(o, "vault", json_string(vault));
	}
	return o;
}

static const char *
text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s == NULL ? "" : s;
}

static struct file *
file_of_key(const struct area *area, const char *key)
{
	struct file like = { 0 };

	snprintf(like.key, sizeof(like.key), "%s", key);
	return get(&area->keys, &like, like_key);
}

static enum file_state
state_of(const char *word)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i], word) == 0)
			return (enum file_state)i;
	return FILE_RECEIVING;
}

static void
replay_file(struct area *area, const json_t *o)
{
	char path[PLACE_PATH_MAX + 2];
	int version = (int)json_integer_value(json_object_get(o, "version"));
	struct file *f = file_of_key(area, text(o, "key")), *old;

	snprintf(path, sizeof(path), "/%s", text(o, "name"));
	if (f == NULL)
		f = file_make(area, path, text(o, "key"), version);
	area_set_name(f, path, version);
	f->superseded = false;
	snprintf(f->replaces, sizeof(f->replaces), "%s", text(o, "replaces"));
	if (f->replaces[0] != '\0' && (old = file_of_key(area, f->replaces)) != NULL && old->shown && strcmp(old->path, path) == 0)
		old->superseded = true;
	area_show(f, json_is_true(json_object_get(o, "shown")));
	area_set_sha256(f, text(o, "sha256"));
	area_set_bytes(f, (uint64_t)json_integer_value(json_object_get(o, "bytes")));
	area_set_state(f, state_of(text(o, "state")));
	area_set_settles_at(f, json_integer_value(json_object_get(o, "settles")));
	f->is_manifest = strcmp(text(o, "kind"), "manifest") == 0;
	f->is_backup = strcmp(text(o, "kind"), "backup") == 0;
	f->mtime = json_integer_value(json_object_get(o, "mtime"));
	f->arrived_at = json_integer_value(json_object_get(o, "at"));
	f->whole = json_is_true(json_object_get(o, "whole"));
	f->began_whole = json_is_true(json_object_get(o, "over"));
	f->was_open = json_is_true(json_object_get(o, "open"));
	f->is_disputed = json_is_true(json_object_get(o, "disputed"));
	f->is_other = json_is_true(json_object_get(o, "other"));
	snprintf(f->promised, sizeof(f->promised), "%s", text(o, "promised"));
	snprintf(f->md5, sizeof(f->md5), "%s", text(o, "md5"));
	area_set_reason(f, text(o, "reason"));
	json_decref(f->findings);
	f->findings = json_incref(json_object_get(o, "findings"));
}

void
area_replay(struct areas *areas, const json_t *o)
{
	struct area *area = area_of(areas, text(o, "m"));

	if (strcmp(text(o, "t"), "mkdir") == 0)
		area_add_folder(area, text(o, "path"));
	else if (strcmp(text(o, "t"), "rmdir") == 0)
		area_remove_folder(area, text(o, "path"));
	else if (strcmp(text(o, "t"), "file") == 0)
		replay_file(area, o);
}
