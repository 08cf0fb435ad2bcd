#include <fcntl.h>
#include <unistd.h>

#include "receiver/warden_parts.h"

/*
 * Files that are read again, each by a locked-up process of its own. So many at once: a client can leave hundreds of
 * open uploads behind, and every process is a fork and a reading of the whole file. The rest waits its turn and may be
 * written again meanwhile, which takes it off the list.
 */

enum { READERS_MAX = 4, DIGESTS_MAX = 2 };

static bool
start(struct warden *w, struct file *f, const char *path, enum talk_kind kind)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && start_session(w, fd, kind, NULL, f);
}

/* Nobody else touches it until the reader has said what it is. */
static bool
begin_reader(struct warden *w, struct file *f)
{
	char *path = disk_in(w, NULL, f->area, "staging", f->key, "");

	area_set_settling(f, start(w, f, path, TALK_READER));
	talloc_free(path);
	return f->settling;
}

static bool
begin_digest(struct warden *w, struct file *f)
{
	char *path = disk_path(w, NULL, f, "");
	bool good = start(w, f, path, TALK_DIGEST);

	talloc_free(path);
	return good;
}

static bool
can_be_read(const struct file *f)
{
	return f->shown && f->writer == 0 && !f->settling && (f->state == FILE_PARTIAL || f->state == FILE_OTHER);
}

/* What it is kept as for good, its bytes frozen or at rest. */
bool
is_settled(const struct file *f)
{
	return (f->state == FILE_ARRIVED || f->state == FILE_OTHER) && f->writer == 0 && !f->settling;
}

void
readers_begin(struct warden *w)
{
	int readers = 0, digests = 0;

	for (const struct session *s = w->sessions; s != NULL; s = s->next)
		if (s->pair >= 0 && s->reading != 0)
			(*(s->digests ? &digests : &readers))++;
	for (struct file *f = TAILQ_FIRST(&w->areas.wanting), *next; f != NULL; f = next) {
		next = TAILQ_NEXT(f, of_wanting);
		if (w->spawner < 0 || (readers >= READERS_MAX && digests >= DIGESTS_MAX))
			break;
		if ((f->wants & WANTS_READER) && readers < READERS_MAX) {
			area_set_wants(f, f->wants & ~(unsigned)WANTS_READER);
			readers += can_be_read(f) && begin_reader(w, f);
		}
		/* Not before it is settled: until then there are no bytes to take it of. */
		if ((f->wants & WANTS_MD5) && digests < DIGESTS_MAX && is_settled(f)) {
			area_set_wants(f, f->wants & ~(unsigned)WANTS_MD5);
			digests += begin_digest(w, f);
		}
	}
}

void
examine(struct warden *w, struct file *f)
{
	area_set_wants(f, f->wants | WANTS_READER);
	readers_begin(w);
}
