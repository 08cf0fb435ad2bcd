#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "receiver/warden_parts.h"

/*
 * A folder is listed once, when it is opened; its session hands it out in pages. It may have a hundred thousand files
 * and a receipt is put together from what is on disk, so a listing is made in many turns of the loop, each of which
 * takes a few milliseconds; between them everybody else is served. They count as the customer's requests do.
 */

enum { TURN_MS = 3, REST_MS = 100, OUTBOX_MAX = 10000 };

struct listing {
	struct warden *w;
	unsigned session;
	uint32_t id;
	bool of_receipts;
	uint64_t *files;       /* numbers: what is gone meanwhile is left out */
	size_t n, next;
	uint8_t *mem;          /* entries, as talk.h lays them out; grows */
	size_t len;
	struct event *turn;
};

static void
add_entry(struct listing *l, const char *name, const struct talk_attrs *a)
{
	static struct talk_out out;
	size_t head;

	talk_start(&out, TALK_LIST, 0);
	head = out.len;
	talk_text(&out, name);
	talk_attrs(&out, a);
	if (l->len + out.len - head > talloc_get_size(l->mem))
		l->mem = talloc_realloc(l, l->mem, uint8_t, 2 * (l->len + out.len - head));
	memcpy(l->mem + l->len, out.mem + head, out.len - head);
	l->len += out.len - head;
}

static void
add_file(struct listing *l, struct session *s, const struct file *f)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct talk_attrs a;

	if (l->of_receipts) {
		a = (struct talk_attrs){ strlen(names_receipt(s, mem, f)), MODE_OURS, (uint64_t)now_seconds() };
		add_entry(l, talloc_asprintf(mem, "%s.txt", f->path + 1), &a);
	} else {
		/* Of what nobody writes the length is known. */
		names_attrs_of(s, f, f->writer != 0, &a);
		add_entry(l, place_base(f->path), &a);
	}
	talloc_free(mem);
}

static void
list_outbox(struct session *s, struct listing *l, const char *path)
{
	int fd = names_open_outbox(s, path, true), n = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	while (dir != NULL && (d = readdir(dir)) != NULL && n++ < OUTBOX_MAX) {
		struct stat st;

		if (d->d_name[0] == '.' || fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
			continue;
		add_entry(l, d->d_name, &(struct talk_attrs){ (uint64_t)st.st_size, S_ISDIR(st.st_mode) ? MODE_FOLDER : MODE_OURS, (uint64_t)st.st_mtime });
	}
	if (dir != NULL)
		closedir(dir);
}

static void
list_own(struct session *s, struct listing *l)
{
	static const char *const own[] = { "/README.txt", "/STATUS.txt", "/receipts", "/outbox" };
	TALLOC_CTX *mem = talloc_new(NULL);
	struct talk_attrs a;

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (names_attrs(s, mem, own[i], &a))
			add_entry(l, own[i] + 1, &a);
	talloc_free(mem);
}

/* What is beneath the folder now: its folders at once, its files one after the other. */
static void
list_area(struct session *s, struct listing *l, const char *path)
{
	const struct name_list *beneath = area_beneath(s->area, path);
	const struct talk_attrs folder = { 0, MODE_FOLDER, (uint64_t)now_seconds() };
	const struct name *n;
	const struct file *f;

	for (n = beneath == NULL ? NULL : LIST_FIRST(beneath); n != NULL; n = LIST_NEXT(n, of_above)) {
		if (n->is_folder && !l->of_receipts)
			add_entry(l, place_base(n->path), &folder);
		if ((f = area_shown(n)) == NULL)
			continue;
		if (l->n == talloc_array_length(l->files))
			l->files = talloc_realloc(l, l->files, uint64_t, 2 * l->n + 16);
		l->files[l->n++] = f->number;
	}
}

static void
answer_listing(struct listing *l, struct session *s)
{
	struct err err = { 0 };
	struct talk_out out;
	int fd = talk_memfd("listing", l->mem, l->len, &err);

	reply_begin(&out, l->id);
	if (fd >= 0)
		talk_fd(&out, fd);
	reply_out(s, &out);
	if (fd >= 0)
		close(fd);
}

static void
add_some(struct listing *l, struct session *s)
{
	const int64_t until = steady_ms() + TURN_MS;

	do {
		const struct file *f = area_by_number(&l->w->areas, l->files[l->next++]);

		if (f != NULL && f->shown)
			add_file(l, s, f);
	} while (l->next < l->n && steady_ms() < until);
}

static void
take_turn(evutil_socket_t fd, short what, void *ctx)
{
	const struct timeval at_once = { 0, 0 }, later = { 0, REST_MS * 1000 };
	struct listing *l = ctx;
	struct session *s = session_of(l->w, l->session);
	int64_t from = thread_cpu_ns();

	(void)fd;
	(void)what;
	if (s != NULL && s->pair >= 0 && l->next < l->n) {
		add_some(l, s);
		event_add(l->turn, charge(s, thread_cpu_ns() - from) ? &at_once : &later);
		return;
	}
	if (s != NULL) {
		s->lists = false;
		answer_listing(l, s);
	}
	event_free(l->turn);
	talloc_free(l);
}

void
lists_begin(struct session *s, struct talk_frame *fr)
{
	struct listing *l = talloc_zero(NULL, struct listing);
	char *path = names_take_path(fr, l);
	enum place_kind kind = path == NULL ? PLACE_DROP : place_kind(path);

	/* Sessions ask one thing at a time; one that was taken over is not to fill the memory with listings. */
	if (path == NULL || s->lists || (kind != PLACE_OUTBOX && !area_is_folder(s->area, path))) {
		reply(s, fr->id, s->lists ? STATUS_FAILURE : STATUS_NO_SUCH_FILE, s->lists ? "another folder is being listed" : "there is no such folder");
		talloc_free(l);
		return;
	}
	l->w = s->warden;
	l->session = s->number;
	l->id = fr->id;
	l->of_receipts = kind == PLACE_RECEIPTS;
	l->turn = evtimer_new(s->warden->base, take_turn, l);
	s->lists = true;
	if (kind == PLACE_OUTBOX)
		list_outbox(s, l, path);
	else {
		if (strcmp(path, "/") == 0)
			list_own(s, l);
		/* Files in folders have receipts too, but a flat list cannot show them. */
		list_area(s, l, l->of_receipts ? "/" : path);
	}
	take_turn(-1, 0, l);
}
