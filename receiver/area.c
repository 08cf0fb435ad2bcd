#include "receiver/area.h"

#include <stdio.h>
#include <string.h>

#include "receiver/place.h"

static const char *const words[] = {
	[FILE_RECEIVING] = "receiving", [FILE_PARTIAL] = "partial", [FILE_WHOLE_NOT_NAMED] = "whole-not-named", [FILE_ARRIVED] = "arrived",
	[FILE_REFUSED] = "refused", [FILE_OTHER] = "other", [FILE_GONE] = "gone",
};

const char *
file_state_word(enum file_state state)
{
	return words[state];
}

struct area *
area_of(struct areas *areas, const char *migration)
{
	struct area *a;

	for (a = areas->first; a != NULL; a = a->next)
		if (strcmp(a->migration, migration) == 0)
			return a;
	a = talloc_zero(NULL, struct area);
	a->migration = talloc_strdup(a, migration);
	a->next = areas->first;
	areas->first = a;
	return a;
}

/* Files are kept newest first, so the first of a name is the one that is shown. */
struct file *
area_find(struct area *area, const char *path)
{
	for (struct file *f = area->files; f != NULL; f = f->next)
		if (f->shown && strcmp(f->path, path) == 0)
			return f;
	return NULL;
}

struct file *
area_by_number(struct areas *areas, uint64_t number)
{
	for (struct area *a = areas->first; a != NULL; a = a->next)
		for (struct file *f = a->files; f != NULL; f = f->next)
			if (f->number == number)
				return f;
	return NULL;
}

static struct file *
by_key(struct area *area, const char *key)
{
	for (struct file *f = area->files; f != NULL; f = f->next)
		if (strcmp(f->key, key) == 0)
			return f;
	return NULL;
}

struct file *
area_new(struct areas *areas, struct area *area, const char *path)
{
	struct file *f = talloc_zero(area, struct file);

	f->area = area;
	f->number = ++areas->last_number;
	f->path = talloc_strdup(f, path);
	f->version = 1;
	f->shown = true;
	f->next = area->files;
	area->files = f;
	return f;
}

void
area_forget(struct file *f)
{
	for (struct file **p = &f->area->files; *p != NULL; p = &(*p)->next)
		if (*p == f) {
			*p = f->next;
			break;
		}
	json_decref(f->findings);
	talloc_free(f);
}

int
area_next_version(const struct area *area, const char *path)
{
	int version = 0;

	for (const struct file *f = area->files; f != NULL; f = f->next)
		if (strcmp(f->path, path) == 0 && f->version > version)
			version = f->version;
	return version + 1;
}

bool
area_is_folder(const struct area *area, const char *path)
{
	if (strcmp(path, "/") == 0 || strcmp(path, "/receipts") == 0 || strcmp(path, "/outbox") == 0)
		return true;
	for (size_t i = 0; i < area->n_folders; i++)
		if (strcmp(area->folders[i], path) == 0)
			return true;
	return false;
}

bool
area_is_empty(const struct area *area, const char *folder)
{
	size_t n = strlen(folder);

	for (const struct file *f = area->files; f != NULL; f = f->next)
		if (f->shown && strncmp(f->path, folder, n) == 0 && f->path[n] == '/')
			return false;
	for (size_t i = 0; i < area->n_folders; i++)
		if (strncmp(area->folders[i], folder, n) == 0 && area->folders[i][n] == '/')
			return false;
	return true;
}

void
area_add_folder(struct area *area, const char *path)
{
	if (area_is_folder(area, path))
		return;
	area->folders = talloc_realloc(area, area->folders, char *, area->n_folders + 1);
	area->folders[area->n_folders++] = talloc_strdup(area, path);
}

void
area_remove_folder(struct area *area, const char *path)
{
	for (size_t i = 0; i < area->n_folders; i++)
		if (strcmp(area->folders[i], path) == 0) {
			talloc_free(area->folders[i]);
			area->folders[i] = area->folders[--area->n_folders];
			return;
		}
}

void
area_set_path(struct file *f, const char *path)
{
	char *fresh = talloc_strdup(f, path);

	talloc_free(f->path);
	f->path = fresh;
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
	uint64_t bytes = 0;

	*files = 0;
	for (const struct file *f = area->files; f != NULL; f = f->next)
		if (f->state != FILE_GONE) {
			/* What was refused has no bytes any more, but its name is remembered. */
			bytes += f->state == FILE_REFUSED ? 0 : f->bytes;
			(*files)++;
		}
	return bytes;
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

void
area_replay(struct areas *areas, const json_t *o)
{
	struct area *area = area_of(areas, text(o, "m"));
	char path[PLACE_PATH_MAX + 2];
	struct file *f, *old;

	if (strcmp(text(o, "t"), "mkdir") == 0)
		area_add_folder(area, text(o, "path"));
	else if (strcmp(text(o, "t"), "rmdir") == 0)
		area_remove_folder(area, text(o, "path"));
	if (strcmp(text(o, "t"), "file") != 0)
		return;
	snprintf(path, sizeof(path), "/%s", text(o, "name"));
	f = by_key(area, text(o, "key"));
	if (f == NULL) {
		f = area_new(areas, area, path);
		snprintf(f->key, sizeof(f->key), "%s", text(o, "key"));
	}
	area_set_path(f, path);
	f->superseded = false;
	snprintf(f->replaces, sizeof(f->replaces), "%s", text(o, "replaces"));
	if (f->replaces[0] != '\0' && (old = by_key(area, f->replaces)) != NULL && old->shown && strcmp(old->path, path) == 0)
		old->superseded = true;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i], text(o, "state")) == 0)
			f->state = (enum file_state)i;
	f->is_manifest = strcmp(text(o, "kind"), "manifest") == 0;
	f->is_backup = strcmp(text(o, "kind"), "backup") == 0;
	f->bytes = (uint64_t)json_integer_value(json_object_get(o, "bytes"));
	f->version = (int)json_integer_value(json_object_get(o, "version"));
	f->mtime = json_integer_value(json_object_get(o, "mtime"));
	f->arrived_at = json_integer_value(json_object_get(o, "at"));
	f->shown = json_is_true(json_object_get(o, "shown"));
	f->whole = json_is_true(json_object_get(o, "whole"));
	f->is_disputed = json_is_true(json_object_get(o, "disputed"));
	f->is_other = json_is_true(json_object_get(o, "other"));
	f->settles_at = json_integer_value(json_object_get(o, "settles"));
	snprintf(f->promised, sizeof(f->promised), "%s", text(o, "promised"));
	snprintf(f->md5, sizeof(f->md5), "%s", text(o, "md5"));
	snprintf(f->sha256, sizeof(f->sha256), "%s", text(o, "sha256"));
	area_set_reason(f, text(o, "reason"));
	json_decref(f->findings);
	f->findings = json_incref(json_object_get(o, "findings"));
}
