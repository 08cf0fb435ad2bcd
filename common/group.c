#include "common/group.h"

#include <stdio.h>
#include <string.h>

#include "common/source_time.h"

/* A set while its stripes are gathered. */
struct gathering {
	struct guid guid, media_set;
	unsigned count;
	const struct group_file *member[65]; /* by family number */
	size_t next; /* the one before with the same hash; NONE */
};

/* The sets by their GUIDs: a customer may send ten thousand logs, and as many again under other names. */
struct gathered {
	struct plan_set *sets;
	struct gathering *g;
	size_t n, room;
	size_t *heads; /* HEADS of them */
};

enum { HEADS = 1 << 14 };
static const size_t NONE = SIZE_MAX;

static size_t
hash_of(struct guid guid)
{
	uint32_t h = 2166136261;

	for (size_t i = 0; i < sizeof(guid.b); i++)
		h = (h ^ guid.b[i]) * 16777619;
	return (h ^ h >> 15) & (HEADS - 1);
}

static void
fill(struct plan_set *p, const struct bak *bak, const struct bak_set *s)
{
	*p = (struct plan_set){
		.backup_set_guid = s->backup_set_guid, .family = s->family_guid, .first_fork = s->first_recovery_fork_id,
		.fork = s->recovery_fork_id, .differential_base = s->differential_base_guid, .type = s->type,
		.first_lsn = s->first_lsn, .last_lsn = s->last_lsn, .start = s->start, .finish = s->finish,
		.database = s->database, .server = s->server, .position = s->position, .copy_only = s->copy_only,
		.tail_norecovery = (s->flags & BAK_FLAG_TAIL_NORECOVERY) != 0,
		.bulk_logged = (s->flags & BAK_FLAG_BULK_LOGGED) != 0,
		.simple = strcmp(s->recovery_model, "SIMPLE") == 0, .fork_point = s->fork_point_lsn, .begins_chain = s->begins_log_chain,
		.bytes = s->compressed_size != 0 ? s->compressed_size : s->backup_size, .has_zone = source_zone_is_known(s->time_zone),
		.zone = s->time_zone,
	};
	p->tail = p->tail_norecovery || (s->flags & BAK_FLAG_TAIL) != 0;
	if (bak_media(bak) != NULL && bak_media(bak)->has_password) {
		p->damaged = true;
		p->damage = "the media has a password, which no SQL Server since 2012 can restore: take a new backup without one";
	} else if (s->flags & BAK_FLAG_DAMAGED) {
		p->damaged = true;
		p->damage = "the database was damaged at the source when the backup was taken";
	}
}

static void
finish(TALLOC_CTX *mem, struct plan_set *p, const struct gathering *g)
{
	const char **files = talloc_array(mem, const char *, g->count);
	char *missing = NULL;

	p->n_files = 0;
	for (unsigned i = 1; i <= g->count; i++) {
		const struct group_file *f = g->member[i];

		if (f != NULL)
			files[p->n_files++] = f->name;
		else
			missing = missing == NULL ? talloc_asprintf(mem, "stripe %u of %u", i, g->count)
			                          : talloc_asprintf_append(missing, ", %u", i);
		if (f != NULL && !p->damaged && !bak_is_whole(f->bak)) {
			p->damaged = true;
			p->damage = bak_why(f->bak);
		}
	}
	p->files = files;
	p->missing = missing;
	p->complete = missing == NULL;
}

/* The set that a stripe belongs to (NONE: the first of its kind), and whether any set of that GUID is there. */
static size_t
find(const struct gathered *all, struct guid guid, struct guid media_set, bool *again)
{
	size_t found = NONE;

	*again = false;
	for (size_t at = all->heads[hash_of(guid)]; at != NONE; at = all->g[at].next) {
		if (!guid_equal(all->g[at].guid, guid))
			continue;
		*again = true;
		if (!all->sets[at].duplicate && guid_equal(all->g[at].media_set, media_set))
			found = at;
	}
	return found;
}

static void
add(TALLOC_CTX *parent, struct gathered *all, const struct group_file *file, const struct bak_set *s, bool again)
{
	const struct bak_media *m = bak_media(file->bak);
	size_t at = all->n++, *head = &all->heads[hash_of(s->backup_set_guid)];

	if (all->n > all->room) {
		all->room = all->room == 0 ? 64 : all->room * 2;
		all->sets = talloc_realloc(parent, all->sets, struct plan_set, all->room);
		all->g = talloc_realloc(parent, all->g, struct gathering, all->room);
	}
	fill(&all->sets[at], file->bak, s);
	all->sets[at].id = (int64_t)at + 1;
	all->sets[at].duplicate = again;
	all->g[at] = (struct gathering){ .guid = s->backup_set_guid, .media_set = m->media_set_id, .count = m->family_count, .next = *head };
	all->g[at].member[m->family_number] = file;
	*head = at;
}

static const struct bak_set *
set_of(const struct bak *bak, struct guid guid)
{
	size_t i = 0;

	while (!guid_equal(bak_set(bak, i)->backup_set_guid, guid)) /* it gave that set before */
		i++;
	return bak_set(bak, i);
}

static void
take(TALLOC_CTX *parent, struct gathered *all, const struct group_file *file, const struct bak_set *s)
{
	unsigned family = bak_media(file->bak)->family_number;
	const struct group_file *had;
	bool again;
	size_t at = find(all, s->backup_set_guid, bak_media(file->bak)->media_set_id, &again);

	if (at == NONE) {
		add(parent, all, file, s, again);
		return;
	}
	had = all->g[at].member[family];
	if (had == NULL) {
		all->g[at].member[family] = file;
	} else if (bak_is_whole(had->bak) || !bak_is_whole(file->bak)) {
		add(parent, all, file, s, true);
	} else {
		/* Sent again because the first copy was damaged: the sound one counts, and its header, which is final. */
		int64_t id = all->sets[at].id;

		all->g[at].member[family] = file;
		fill(&all->sets[at], file->bak, s);
		all->sets[at].id = id;
		add(parent, all, had, set_of(had->bak, s->backup_set_guid), true);
	}
}

struct plan_set *
group_sets(TALLOC_CTX *parent, const struct group_file *files, size_t n_files, size_t *n)
{
	struct gathered all = { .heads = talloc_array(NULL, size_t, HEADS), .sets = talloc_array(parent, struct plan_set, 0) };

	for (size_t i = 0; i < HEADS; i++)
		all.heads[i] = NONE;
	for (size_t f = 0; f < n_files; f++)
		for (size_t i = 0; bak_media(files[f].bak) != NULL && i < bak_n_sets(files[f].bak); i++)
			take(parent, &all, &files[f], bak_set(files[f].bak, i));
	for (size_t i = 0; i < all.n; i++)
		finish(parent, &all.sets[i], &all.g[i]);
	talloc_free(all.g);
	talloc_free(all.heads);
	*n = all.n;
	return all.sets;
}
