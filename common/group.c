#include "common/group.h"

#include <stdio.h>
#include <string.h>

/* A set while its stripes are gathered. */
struct gathering {
	struct guid guid, media_set;
	unsigned count;
	const char *member[65]; /* by family number */
};

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
		.simple = strcmp(s->recovery_model, "SIMPLE") == 0,
	};
	p->tail = p->tail_norecovery || (s->flags & BAK_FLAG_TAIL) != 0;
	if (bak_media(bak) != NULL && bak_media(bak)->has_password) {
		p->damaged = true;
		p->damage = "the media has a password, which no SQL Server since 2012 can restore: take a new backup without one";
	} else if (s->flags & BAK_FLAG_DAMAGED) {
		p->damaged = true;
		p->damage = "the database was damaged at the source when the backup was taken";
	} else if (!bak_is_whole(bak)) {
		p->damaged = true;
		p->damage = bak_why(bak);
	}
}

static void
finish(TALLOC_CTX *mem, struct plan_set *p, const struct gathering *g)
{
	const char **files = talloc_array(mem, const char *, g->count);
	char *missing = NULL;

	p->n_files = 0;
	for (unsigned i = 1; i <= g->count; i++) {
		if (g->member[i] != NULL)
			files[p->n_files++] = g->member[i];
		else
			missing = missing == NULL ? talloc_asprintf(mem, "stripe %u of %u", i, g->count)
			                          : talloc_asprintf_append(missing, ", %u", i);
	}
	p->files = files;
	p->missing = missing;
	p->complete = missing == NULL;
}

struct plan_set *
group_sets(TALLOC_CTX *parent, const struct group_file *files, size_t n_files, size_t *n)
{
	struct plan_set *sets = talloc_array(parent, struct plan_set, 0);
	struct gathering *g = talloc_array(parent, struct gathering, 0);

	*n = 0;
	for (size_t f = 0; f < n_files; f++) {
		const struct bak_media *m = bak_media(files[f].bak);

		for (size_t i = 0; m != NULL && i < bak_n_sets(files[f].bak); i++) {
			const struct bak_set *s = bak_set(files[f].bak, i);
			size_t at = 0;

			while (at < *n && !(guid_equal(g[at].guid, s->backup_set_guid) && !sets[at].duplicate &&
			                    guid_equal(g[at].media_set, m->media_set_id)))
				at++;
			if (at == *n || g[at].member[m->family_number] != NULL) {
				bool again = false;

				for (size_t k = 0; k < *n; k++)
					again = again || guid_equal(g[k].guid, s->backup_set_guid);
				at = (*n)++;
				sets = talloc_realloc(parent, sets, struct plan_set, *n);
				g = talloc_realloc(parent, g, struct gathering, *n);
				fill(&sets[at], files[f].bak, s);
				g[at] = (struct gathering){ .guid = s->backup_set_guid, .media_set = m->media_set_id,
					                    .count = m->family_count };
				sets[at].id = (int64_t)at + 1;
				sets[at].duplicate = again;
			} else if (!bak_is_whole(files[f].bak) && !sets[at].damaged) {
				sets[at].damaged = true;
				sets[at].damage = bak_why(files[f].bak);
			}
			g[at].member[m->family_number] = files[f].name;
		}
	}
	for (size_t i = 0; i < *n; i++)
		finish(parent, &sets[i], &g[i]);
	talloc_free(g);
	return sets;
}
