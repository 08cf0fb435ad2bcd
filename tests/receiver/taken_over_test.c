/*
 * The real warden (see played.h) against sessions whose code is somebody else's: every message malformed, out of order,
 * for another migration and in floods. The warden lives, holds no more than before, touches nothing of the other
 * customer's, and serves a session beside it all the while.
 */
#include <dirent.h>
#include <sys/mman.h>

#include <jansson.h>

#include "common/clock.h"
#include "tests/receiver/played.h"

/* Under a sanitiser a growing text is copied each time, and most things take five times as long. */
#if defined(__SANITIZE_ADDRESS__)
enum { IS_SLOW = 1 };
#else
enum { IS_SLOW = 0 };
#endif
enum { DENIED = 3, RANDOM_FRAMES = 6000, FLOOD = 20000 };
/* IGNORED_MS: longer is not served at all, however busy the machine. COSTLY_MS is the warden's CPU, which is its own. */
enum { IGNORED_MS = 10000, COSTLY_MS = IS_SLOW ? 5000 : 1000 };

/* ---- messages --------------------------------------------------------------------------------------------------- */

/* Of every message that a session may send: its fields, a letter each, and whether it is answered. */
static const struct kind { enum talk_type type; const char *name, *fields; bool is_answered; } kinds[] = {
	{ TALK_KEY, "KEY", "mkb", true }, { TALK_LOGIN, "LOGIN", "mbs", true }, { TALK_PEER, "PEER", "a", true }, { TALK_SILENT, "SILENT", "", false },
	{ TALK_OPEN, "OPEN", "pf", true }, { TALK_STAT, "STAT", "p", true }, { TALK_LIST, "LIST", "d", true }, { TALK_MKDIR, "MKDIR", "p", true },
	{ TALK_RMDIR, "RMDIR", "p", true }, { TALK_REMOVE, "REMOVE", "p", true }, { TALK_RENAME, "RENAME", "pq1", true },
	{ TALK_TIMES, "TIMES", "p8", true }, { TALK_SPACE, "SPACE", "", true }, { TALK_SEED, "SEED", "u", true },
	{ TALK_CLOSED, "CLOSED", "u18hs", true }, { TALK_PROGRESS, "PROGRESS", "u8s8", false }, { TALK_REVOKED, "REVOKED", "u8", false },
	{ TALK_NOTE, "NOTE", "1s", false }, { TALK_REFUSED_NAME, "REFUSED_NAME", "sss", false }, { TALK_TOTALS, "TOTALS", "8881", false },
	/* Not theirs to say. */
	{ TALK_SPAWN, "SPAWN", "f1asms1f", false }, { TALK_REAP, "REAP", "f", false }, { TALK_SPAWNED, "SPAWNED", "ff", false },
	{ TALK_READY, "READY", "s", false }, { TALK_REPLY, "REPLY", "fs", false }, { TALK_REVOKE, "REVOKE", "us", false },
	{ TALK_SAY, "SAY", "s", false }, { TALK_END, "END", "s", false },
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]), OF_SESSIONS = 20 };

static void
put_field(struct talk_out *out, char field, uint64_t upload)
{
	switch (field) {
	case 'm': talk_text(out, "m-0001"); break;
	case 'b': talk_text(out, "AAA"); break;
	case 'k': talk_text(out, "ssh-ed25519"); break;
	case 'a': talk_text(out, "192.0.2.1"); break;
	case 'p': talk_text(out, "/theirs.bak"); break;
	case 'q': talk_text(out, "/mine.bak"); break;
	case 'd': talk_text(out, "/"); break;
	case 's': talk_text(out, "what is said"); break;
	case 'h': talk_text(out, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"); break;
	case 'u': talk_u64(out, upload); break;
	case 'f': talk_u32(out, READ); break;
	case '1': talk_u8(out, 0); break;
	default: talk_u64(out, 100); break;
	}
}

static void
put_whole(struct world *w, struct talk_out *out, const struct kind *k, uint64_t upload)
{
	put(w, out, k->type);
	for (const char *f = k->fields; *f != '\0'; f++)
		put_field(out, *f, upload);
}

/* Whatever of the frame there is; what the socket has no room for is not sent. False: the session has been ended. */
static bool
throw(struct played *p, const void *mem, size_t len)
{
	return send(p->pair, mem, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno == EAGAIN;
}

/* Reads what there is. False: the warden has ended it. */
static bool
lives(struct played *p)
{
	struct err err = { 0 };
	int got = 1;

	while (!is_quiet(p, 0) && (got = talk_receive(p->pair, &p->frame, &err)) == 1)
		talk_close_fds(&p->frame);
	return got != -1;
}

/* The answer to what was asked last: its status, or -1 when the session was ended instead. */
static int
answer(struct world *w, struct played *p)
{
	while (hear(p)) {
		talk_close_fds(&p->frame);
		if (p->frame.type == TALK_REPLY && p->frame.id == w->id)
			return (int)bytes_u32(&p->frame.body);
	}
	return -1;
}

/* ---- the world beside it -------------------------------------------------------------------------------------------- */

/* The other customer's: an arrived file, one that is being written, and a session that is served. */
struct beside { struct played *p; struct opened open; };

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What the warden has computed. */
static int64_t
spent_ms(const struct world *w)
{
	struct timespec t;
	clockid_t clock;

	assert_int_equal(clock_getcpuclockid(w->warden, &clock), 0);
	clock_gettime(clock, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct beside
somebody_beside(struct world *w)
{
	struct beside b = { .p = log_in_as(w, "m-0002", "OOO") };

	assert_int_equal(arrive(w, b.p, "/theirs.bak"), OK);
	b.open = start_upload(w, b.p, "/open.bak", w->whole.mem, w->whole.len);
	return b;
}

/* Served in time; how long it took. */
static int64_t
is_served(struct world *w, struct beside *b)
{
	int64_t from = now_ms(), took;

	assert_int_equal(size_of(w, b->p, "/theirs.bak"), w->whole.len);
	assert_int_equal(size_of(w, b->p, "/open.bak"), w->whole.len);
	took = now_ms() - from;
	assert_true(took < IGNORED_MS);
	return took;
}

/* What was open is still its own, and nothing else is there. */
static void
is_untouched(struct world *w, struct beside *b)
{
	char *status;

	is_served(w, b);
	assert_int_equal(close_it(w, b->p, &b->open, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts), OK);
	status = text_of(w, b->p, "/STATUS.txt");
	assert_non_null(strstr(status, "theirs.bak"));
	assert_non_null(strstr(status, "open.bak"));
	assert_null(strstr(status, "mine.bak"));
	assert_int_equal(w->reader == NULL, true);
}

static unsigned
descriptors_of(pid_t pid)
{
	char path[40];
	DIR *dir;
	unsigned n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* Until the warden holds so many: a session that was ended is put away a little later. */
static void
comes_to_descriptors(struct world *w, unsigned n)
{
	for (int i = 0; i < PATIENCE_MS / 10 && descriptors_of(w->warden) > n; i++)
		usleep(10000);
	assert_true(descriptors_of(w->warden) <= n);
}

static uint64_t
kilobytes_of(struct world *w, const char *what)
{
	char path[40], line[200];
	unsigned long long kb = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)w->warden);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, what, strlen(what)) == 0)
			sscanf(line + strlen(what), ": %llu", &kb);
	fclose(f);
	assert_true(kb > 0);
	return kb;
}

/* Under AddressSanitizer what was freed stays for a while, so nothing can be said of it there. */
static void
has_not_grown(struct world *w, const char *what, uint64_t before, uint64_t by)
{
	uint64_t now = kilobytes_of(w, what);

	printf("# the warden's %s: %llu kB, before that %llu kB\n", what, (unsigned long long)now, (unsigned long long)before);
	if (!IS_SLOW)
		assert_true(now < before + by);
}

/* A session that is ended comes again, as itself. */
static struct played *
again(struct world *w, struct played *p)
{
	leave(p);
	is_gone(p->pid);
	return log_in(w);
}

/* ---- malformed ------------------------------------------------------------------------------------------------------- */

/* Cut anywhere, a message is refused, or ends its session; it is never taken for a whole one. */
static void
a_message_cut_anywhere_is_refused(void **state)
{
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	struct opened mine = start_upload(w, p, "/theirs.bak", "hello", 5);
	static struct talk_out out;

	/* Whole, each would be good: the name and the upload are its own. */
	for (size_t k = 0; k < OF_SESSIONS; k++) {
		put_whole(w, &out, &kinds[k], mine.o.upload);
		for (size_t len = 0, whole = out.len; len < whole; len++) {
			put_whole(w, &out, &kinds[k], mine.o.upload);
			assert_true(throw(p, out.mem, len));
			if (len < 8 || !kinds[k].is_answered) {
				put(w, &out, TALK_SPACE);
				throw(p, out.mem, out.len);
			}
			switch (answer(w, p)) {
			case OK:
				if (len >= 8 && kinds[k].is_answered)
					fail_msg("%s of %zu bytes went through", kinds[k].name, len);
				break;
			case -1:
				p = again(w, p);
				close(mine.fd);
				mine = start_upload(w, p, "/theirs.bak", "hello", 5);
				break;
			default:
				break;
			}
		}
		is_served(w, &b);
	}
	assert_int_equal(size_of(w, p, "/theirs.bak"), 5);
	assert_int_equal(close_it(w, p, &mine, TALK_PARTIAL, 5, "", "{}"), OK);
	is_untouched(w, &b);
}

/* A text's length that leads beyond the frame, and a NUL in it. */
static void
lengths_that_lie_are_refused(void **state)
{
	static const uint32_t lengths[] = { 12, 200, TALK_TEXT_MAX, TALK_TEXT_MAX + 1, TALK_FRAME_MAX, 0x7fffffff, 0x80000000, 0xffffffff };
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	static struct talk_out out;

	for (size_t k = 0; k < OF_SESSIONS; k++)
		for (size_t i = 0; i <= sizeof(lengths) / sizeof(lengths[0]); i++) {
			if (!kinds[k].is_answered || strpbrk(kinds[k].fields, "pdmash") == NULL)
				continue;
			put(w, &out, kinds[k].type);
			for (const char *f = kinds[k].fields; strchr("pdmash", *f) == NULL; f++)
				put_field(&out, *f, 1);
			if (i < sizeof(lengths) / sizeof(lengths[0])) {
				talk_u32(&out, lengths[i]);
				talk_u64(&out, 0x6b61622e612f2f2f);
			} else {
				talk_text(&out, "/a.bak");
				out.mem[out.len - 3] = '\0';
				for (size_t n = 0; n < 3; n++)
					talk_text(&out, "b");
			}
			assert_true(throw(p, out.mem, out.len));
			switch (answer(w, p)) {
			case OK: fail_msg("%s went through with a length of %u", kinds[k].name, i < 8 ? lengths[i] : 0); break;
			case -1: p = again(w, p); break;
			default: break;
			}
		}
	is_untouched(w, &b);
}

static bool
throw_with(struct played *p, const struct talk_out *out, size_t n, int fd)
{
	union { struct cmsghdr head; char mem[CMSG_SPACE(sizeof(int) * 253)]; } control;
	struct iovec iov = { (void *)(uintptr_t)out->mem, out->len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.mem, .msg_controllen = CMSG_SPACE(sizeof(int) * n) };
	int fds[253];

	for (size_t i = 0; i < n; i++)
		fds[i] = fd;
	memset(&control, 0, sizeof(control));
	CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
	CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int) * n);
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, sizeof(int) * n);
	return sendmsg(p->pair, &msg, MSG_NOSIGNAL) >= 0;
}

/* Nobody asked for them, and none stays. */
static void
passed_descriptors_are_closed(void **state)
{
	static const size_t counts[] = { 1, 2, 3, 4, 5, 253 };
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	unsigned before = descriptors_of(w->warden);
	int pipes[2];
	static struct talk_out out;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	for (size_t k = 0; k < KINDS; k++)
		for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
			put_whole(w, &out, &kinds[k], 1);
			assert_true(throw_with(p, &out, counts[i], pipes[0]));
			put(w, &out, TALK_SPACE);
			if (!throw(p, out.mem, out.len) || answer(w, p) == -1)
				p = again(w, p);
		}
	comes_to_descriptors(w, before);
	/* A writer that gets EPIPE: no reader is left but ours. */
	close(pipes[0]);
	assert_int_equal(write(pipes[1], "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	close(pipes[1]);
	is_untouched(w, &b);
}

/* Facts may be anything that has a descriptor. */
static void
facts_may_be_no_file(void **state)
{
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	struct opened x;
	unsigned before = descriptors_of(w->warden);
	int pipes[2], made[6];
	static struct talk_out out;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	made[0] = pipes[0];
	made[1] = memfd_create("huge", MFD_CLOEXEC);
	assert_int_equal(ftruncate(made[1], INT64_MAX), 0);
	made[2] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	made[3] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	made[4] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	made[5] = open(w->spool, O_PATH | O_CLOEXEC);
	for (size_t i = 0; i < 6; i++) {
		x = start_upload(w, p, "/odd.bak", w->whole.mem, 100);
		put(w, &out, TALK_CLOSED);
		talk_u64(&out, x.o.upload);
		talk_u8(&out, TALK_PARTIAL);
		talk_u64(&out, 100);
		talk_text(&out, "");
		talk_text(&out, "");
		talk_fd(&out, made[i]);
		close(x.fd);
		assert_int_equal(ask(w, p, &out), OK);
		is_served(w, &b);
		close(made[i]);
	}
	close(pipes[1]);
	comes_to_descriptors(w, before);
	is_untouched(w, &b);
}

static unsigned
roll(unsigned *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed >> 8;
}

/* Whole messages with bytes changed, put in, cut off: SEED repeats a run. */
static void
damaged_messages_hurt_nobody(void **state)
{
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	unsigned seed = getenv("SEED") == NULL ? 1 : (unsigned)strtoul(getenv("SEED"), NULL, 10), ended = 0, before = descriptors_of(w->warden);
	static struct talk_out out;

	for (int i = 0; i < RANDOM_FRAMES; i++) {
		unsigned changes = roll(&seed) % 6;

		put_whole(w, &out, &kinds[roll(&seed) % OF_SESSIONS], roll(&seed) % 8);
		while (changes-- > 0)
			/* Mostly behind the type: what is unknown ends it at once, and the rest would never be heard. */
			out.mem[roll(&seed) % 20 == 0 ? roll(&seed) % 8 : 8 + roll(&seed) % (out.len > 8 ? out.len - 8 : 1)] = (uint8_t)roll(&seed);
		if (roll(&seed) % 10 == 0)
			out.len = roll(&seed) % TALK_FRAME_MAX;
		if (!throw(p, out.mem, out.len) || !lives(p)) {
			ended++;
			p = again(w, p);
		}
		if (i % 500 == 0)
			is_served(w, &b);
	}
	printf("# %d damaged messages, %u sessions were ended\n", RANDOM_FRAMES, ended);
	assert_true(ended > 10);
	comes_to_descriptors(w, before);
	is_untouched(w, &b);
}

/* ---- out of order ------------------------------------------------------------------------------------------------------- */

static void
before_log_in_nothing_is_served(void **state)
{
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	static struct talk_out out;

	for (size_t k = 0; k < KINDS; k++) {
		struct played *p;

		if (kinds[k].type == TALK_KEY || kinds[k].type == TALK_LOGIN || kinds[k].type == TALK_SILENT || kinds[k].type == TALK_NOTE)
			continue;
		p = come_in(w);
		/* It is no failed log-in: the address is not to be shut out here. */
		put(w, &out, TALK_SILENT);
		send_out(p, &out);
		put_whole(w, &out, &kinds[k], 2);
		send_out(p, &out);
		assert_int_equal(answer(w, p), -1);
		leave(p);
		is_gone(p->pid);
	}
	is_untouched(w, &b);
}

static void
what_is_not_a_sessions_to_say_ends_it(void **state)
{
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	static struct talk_out out;

	for (size_t k = OF_SESSIONS; k < KINDS; k++) {
		put_whole(w, &out, &kinds[k], 2);
		talk_fd(&out, p->client);
		send_out(p, &out);
		assert_int_equal(answer(w, p), -1);
		p = again(w, p);
	}
	for (uint32_t type = TALK_END + 1; type < 300; type += 37) {
		put(w, &out, (enum talk_type)type);
		send_out(p, &out);
		assert_int_equal(answer(w, p), -1);
		p = again(w, p);
	}
	is_untouched(w, &b);
}

/* Whoever is in stays who it is, for as long as its own key is good. */
static void
a_second_log_in_changes_nothing(void **state)
{
	struct world *w = *state;
	struct beside b;
	struct played *p;
	static struct talk_out out;
	int64_t end = time(NULL) + 3;

	write_keys(w, talloc_asprintf(w, ",{\"migration\":\"m-0001\",\"blob\":\"BBB\",\"from\":[],\"expires\":%lld}", (long long)end));
	restart(w);
	b = somebody_beside(w);
	p = log_in_as(w, "m-0001", "BBB");
	put(w, &out, TALK_LOGIN);
	talk_text(&out, "m-0002");
	talk_text(&out, "OOO");
	talk_text(&out, "test");
	assert_int_equal(ask(w, p, &out), DENIED);
	assert_int_equal(one_path(w, p, TALK_STAT, "/theirs.bak"), 2);
	put(w, &out, TALK_KEY);
	talk_text(&out, "m-0001");
	talk_text(&out, "ssh-ed25519");
	talk_text(&out, "AAA");
	ask(w, p, &out);
	/* That key is good for ever; its own is not. */
	assert_false(hear(p));
	assert_true(time(NULL) >= end && time(NULL) < end + 3);
	is_untouched(w, &b);
}

static uint32_t
about(struct world *w, struct played *p, enum talk_type type, uint64_t upload, uint8_t verdict)
{
	static struct talk_out out;

	put(w, &out, type);
	talk_u64(&out, upload);
	if (type == TALK_CLOSED)
		talk_u8(&out, verdict);
	talk_u64(&out, 0);
	talk_text(&out, type == TALK_CLOSED ? w->whole.sha256 : "");
	talk_u64(&out, 0);
	if (type == TALK_SEED || type == TALK_CLOSED)
		return ask(w, p, &out);
	send_out(p, &out);
	return DENIED;
}

/* Numbers are easily guessed: those of another customer's files, of another session's, and of none. */
static void
numbers_of_others_lead_nowhere(void **state)
{
	static const uint64_t odd[] = { 0, 1, 2, 3, 4, 5, 6, 1000, INT64_MAX, UINT64_MAX };
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *mine = log_in(w), *p = log_in(w);
	struct opened x = start_upload(w, mine, "/mine.bak", w->whole.mem, w->whole.len);

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		assert_int_not_equal(about(w, p, TALK_SEED, odd[i], 0), OK);
		about(w, p, TALK_PROGRESS, odd[i], 0);
		about(w, p, TALK_REVOKED, odd[i], 0);
		for (unsigned verdict = 0; verdict <= 255; verdict += verdict < 5 ? 1 : 125) {
			assert_int_not_equal(about(w, p, TALK_CLOSED, odd[i], (uint8_t)verdict), OK);
			/* Nothing of it is told either. */
			assert_null(strstr(p->message, "theirs"));
		}
	}
	assert_int_equal(size_of(w, mine, "/mine.bak"), w->whole.len);
	assert_int_equal(close_it(w, mine, &x, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts), OK);
	assert_int_equal(bytes_in(w, "staging"), 0);
	is_untouched(w, &b);
}

static void
an_upload_ends_once(void **state)
{
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	struct opened x = start_upload(w, p, "/a.bak", w->whole.mem, w->whole.len), again_ = x;

	assert_int_equal(close_it(w, p, &x, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts), OK);
	again_.fd = -1;
	for (unsigned verdict = 0; verdict < 6; verdict++)
		assert_int_not_equal(close_it(w, p, &again_, (enum talk_verdict)verdict, 0, "", "{}"), OK);
	about(w, p, TALK_REVOKED, x.o.upload, 0);
	about(w, p, TALK_PROGRESS, x.o.upload, 0);
	assert_int_equal(size_of(w, p, "/a.bak"), w->whole.len);
	assert_true(comes_to(w, "vault", bytes_in(w, "vault")) && bytes_in(w, "vault") >= w->whole.len);
	/* A revoked one cannot be closed as if it were not. */
	x = start_upload(w, p, "/b.bak", w->whole.mem, w->whole.len);
	about(w, p, TALK_REVOKED, x.o.upload, 0);
	assert_int_not_equal(close_it(w, p, &x, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts), OK);
	assert_int_equal(journal_lines(w, "\"arrived\""), 2); /* the other's and a.bak */
	is_untouched(w, &b);
}

/* ---- more than its share -------------------------------------------------------------------------------------------------- */

/* What a session says of sizes frees no quota, whatever else is wrong with what it says. */
static void
no_lie_about_a_size_frees_quota(void **state)
{
	static const struct { const char *path; bool has_digest; uint64_t bytes; } lies[] = {
		{ "/a.bak.part", true, UINT64_MAX - QUOTA }, { "/b.bak.part", true, 0 }, { "/c.bak", false, UINT64_MAX - QUOTA },
		{ "/d.bak", true, UINT64_MAX - QUOTA }, { "/e.bak", true, 0 },
	};
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	struct opened x;
	uint64_t is, counted;
	static struct talk_out out;

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		x = start_upload(w, p, lies[i].path, w->whole.mem, w->whole.len);
		close_it(w, p, &x, TALK_WHOLE, lies[i].bytes, lies[i].has_digest ? w->whole.sha256 : "", whole_facts);
		put(w, &out, TALK_SPACE);
		assert_int_equal(ask(w, p, &out), OK);
		bytes_u64(&p->frame.body);
		bytes_u64(&p->frame.body);
		counted = QUOTA / 4096 - bytes_u64(&p->frame.body);
		is = bytes_in(w, "staging") / 4096;
		if (counted > is + 2 || is > counted + 2)
			fail_msg("%s: %llu blocks are counted, %llu are there", lies[i].path, (unsigned long long)counted, (unsigned long long)is);
	}
	assert_int_equal(journal_lines(w, "\"arrived\""), 1); /* the other's */
	is_untouched(w, &b);
}

/* A copy of what has arrived is paid for like everything else. */
static void
copies_end_at_the_quota(void **state)
{
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	struct opened x;
	unsigned copies = 0;
	static struct talk_out out;

	assert_int_equal(arrive(w, p, "/a.bak"), OK);
	x = open_it(w, p, "/a.bak", WRITE);
	assert_true(x.o.arrived);
	for (; copies < 100; copies++) {
		put(w, &out, TALK_SEED);
		talk_u64(&out, x.o.upload);
		if (ask(w, p, &out) != OK)
			break;
		talk_take_opened(&p->frame.body, &x.o);
		close(p->frame.fds[0]);
		assert_int_equal(close_it(w, p, &x, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts), OK);
	}
	assert_non_null(strstr(p->message, "quota"));
	assert_true(copies > 0 && copies <= QUOTA / w->whole.len + 1);
	assert_true(bytes_in(w, "vault") < QUOTA + 2 * w->whole.len);
	is_untouched(w, &b);
}

/* ---- floods ------------------------------------------------------------------------------------------------------------------ */

/* As fast as the socket takes them, without reading an answer. */
static void
a_flood_nobody_reads_ends_its_session(void **state)
{
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	uint64_t before = 0;
	int64_t slowest = 0, took;
	static struct talk_out out;

	for (size_t k = 0; k < OF_SESSIONS; k++) {
		struct played *p = log_in(w);
		bool is_ended = false;

		for (int i = 0; i < FLOOD && !is_ended; i++) {
			put_whole(w, &out, &kinds[k], 1);
			is_ended = !throw(p, out.mem, out.len);
			if (i % 1000 == 0 && (took = is_served(w, &b)) > slowest)
				slowest = took;
		}
		/* Who is answered and does not listen is ended; the rest was taken and forgotten. */
		if (kinds[k].is_answered)
			while (hear(p))
				talk_close_fds(&p->frame);
		leave(p);
		is_gone(p->pid);
		if (k == 2)
			before = kilobytes_of(w, "VmRSS");
	}
	printf("# the session beside it waited %lld ms at most\n", (long long)slowest);
	has_not_grown(w, "VmRSS", before, 16000);
	is_untouched(w, &b);
}

/* As long as a name in so many folders may be. */
static char *
deep_name(char path[760], int depth, int i)
{
	size_t n = 0;

	for (; depth > 0; depth--)
		n += (size_t)snprintf(path + n, 760 - n, "/%0240d", depth > 1 ? 7 : i);
	return path;
}

/* Names that come and go leave nothing behind, in memory or among the descriptors. */
static void
names_that_come_and_go_leave_nothing(void **state)
{
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	struct opened x;
	char path[760];
	uint64_t before = 0;
	unsigned descriptors = descriptors_of(w->warden);

	for (int deep = 1; deep < 3; deep++)
		assert_int_equal(one_path(w, p, TALK_MKDIR, deep_name(path, deep, 7)), OK);
	for (int i = 0; i < 2 * FLOOD; i++) {
		deep_name(path, 3, i);
		assert_int_equal(one_path(w, p, TALK_MKDIR, path), OK);
		assert_int_equal(one_path(w, p, TALK_RMDIR, path), OK);
		talloc_free_children(p);
		if (i == FLOOD)
			before = kilobytes_of(w, "VmRSS");
		if (i % 2000 == 0)
			is_served(w, &b);
	}
	has_not_grown(w, "VmRSS", before, 8000);
	for (int i = 0; i < FLOOD / 20; i++) {
		x = start_upload(w, p, path, "hello", 5);
		close(x.fd);
		assert_int_equal(one_path(w, p, TALK_REMOVE, path), FAILURE);
		about(w, p, TALK_REVOKED, x.o.upload, 0);
		assert_int_equal(one_path(w, p, TALK_REMOVE, path), OK);
	}
	has_not_grown(w, "VmRSS", before, 12000);
	comes_to_descriptors(w, descriptors);
	is_untouched(w, &b);
}

/* A listing takes time in proportion to what it lists: the one loop serves everybody. */
static void
a_huge_listing_holds_nobody_up(void **state)
{
	enum { MANY = 10000 };
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	struct bytes listing;
	struct talk_attrs a;
	unsigned entries = 0;
	off_t size;
	uint8_t *mem;
	int64_t from;
	static struct talk_out out;
	uint32_t got;

	for (int i = 0; i < MANY; i++) {
		got = one_path(w, p, TALK_MKDIR, talloc_asprintf(p, "/%0200d", i));
		assert_int_equal(got, OK);
		talloc_free_children(p);
	}
	assert_int_equal(one_path(w, p, TALK_MKDIR, "/one-more"), FAILURE);
	from = spent_ms(w);
	assert_int_equal(one_path(w, p, TALK_LIST, "/"), OK);
	printf("# a listing of %d folders took %lld ms\n", MANY, (long long)(spent_ms(w) - from));
	size = lseek(p->frame.fds[0], 0, SEEK_END);
	mem = talloc_size(w, (size_t)size);
	assert_int_equal(pread(p->frame.fds[0], mem, (size_t)size, 0), size);
	talk_close_fds(&p->frame);
	for (listing = bytes_of(mem, (size_t)size); bytes_left(&listing) > 0; entries++) {
		talloc_free(talk_take_text(&listing, NULL));
		talk_take_attrs(&listing, &a);
	}
	assert_false(listing.short_of);
	assert_int_equal(entries, MANY + 4);
	/* Asked for without end, and read; who is beside it waits for one or two of them. */
	for (int i = 0; i < 40; i++) {
		put(w, &out, TALK_LIST);
		talk_text(&out, "/");
		throw(p, out.mem, out.len);
		if (i % 10 == 0)
			is_served(w, &b);
	}
	lives(p);
	is_untouched(w, &b);
}

static void
fabricate_files(struct world *w, unsigned n)
{
	char *path = talloc_asprintf(w, "%s/journal.log", w->spool);
	FILE *f = fopen(path, "ae");

	assert_non_null(f);
	for (unsigned i = 0; i < n; i++) {
		uint8_t hash[32];
		unsigned len = 0;
		char sum[17], *line = talloc_asprintf(NULL, "{\"t\":\"file\",\"m\":\"m-0001\",\"key\":\"%08x-0000-4000-8000-000000000000\",\"name\":\"%0100u.bak\",\"state\":\"refused\","
		        "\"kind\":\"backup\",\"bytes\":0,\"version\":1,\"mtime\":1,\"at\":0,\"shown\":true,\"whole\":false,\"reason\":\"no backup\",\"n\":%u}",
		        i, i, i + 1);

		EVP_Digest(line, strlen(line), hash, &len, EVP_sha256(), NULL);
		text_hex(sum, hash, 8);
		fprintf(f, "%s %s\n", sum, line);
		talloc_free(line);
	}
	fclose(f);
}

/* So does a text about many files. */
static void
a_status_of_many_files_holds_nobody_up(void **state)
{
	enum { MANY = IS_SLOW ? 3000 : 15000 };
	struct world *w = *state;
	struct beside b;
	struct played *p;
	struct opened x;
	int64_t from, took;
	char *text;
	static struct talk_out out;

	kill_warden(w);
	fabricate_files(w, MANY);
	start_warden(w);
	b = somebody_beside(w);
	p = log_in(w);
	from = spent_ms(w);
	x = open_it(w, p, "/STATUS.txt", READ);
	took = spent_ms(w) - from;
	assert_int_equal(p->status, OK);
	/* The newest is told first, and of the old ones how many there are. */
	assert_true(lseek(x.fd, 0, SEEK_END) < 65536);
	close(x.fd);
	text = text_of(w, p, "/STATUS.txt");
	assert_non_null(strstr(text, talloc_asprintf(w, "%05d.bak\n                    no backup\n", MANY - 1)));
	assert_null(strstr(text, "00000.bak"));
	assert_non_null(strstr(text, talloc_asprintf(w, "and %d more, which are older", MANY - 300)));
	assert_non_null(strstr(text, talloc_asprintf(w, "%d files, %d of them not complete.", MANY, MANY)));
	printf("# a status of %d files took %lld ms\n", MANY, (long long)took);
	assert_true(took < COSTLY_MS / 2);
	from = spent_ms(w);
	assert_int_equal(one_path(w, p, TALK_LIST, "/"), OK);
	assert_true(lseek(p->frame.fds[0], 0, SEEK_END) > MANY * 100);
	talk_close_fds(&p->frame);
	printf("# a listing of them took %lld ms\n", (long long)(spent_ms(w) - from));
	assert_true(spent_ms(w) - from < COSTLY_MS / 2);
	/* Receipts are put together one by one, and others are served between them. */
	put(w, &out, TALK_LIST);
	talk_text(&out, "/receipts");
	send_out(p, &out);
	printf("# the session beside them waited %lld ms\n", (long long)is_served(w, &b));
	assert_true(hear(p));
	assert_int_equal(p->frame.type, TALK_REPLY);
	assert_true(lseek(p->frame.fds[0], 0, SEEK_END) > MANY * 100);
	talk_close_fds(&p->frame);
	printf("# a listing of their receipts took %lld ms more\n", (long long)(spent_ms(w) - from));
	/* One is made at a time: who asks for more of them is told so. */
	for (int i = 0; i < 2; i++)
		send_out(p, &out);
	assert_true(hear(p));
	assert_int_equal(bytes_u32(&p->frame.body), FAILURE);
	assert_true(hear(p));
	assert_int_equal(bytes_u32(&p->frame.body), OK);
	talk_close_fds(&p->frame);
	/* Who is gone wants none. */
	send_out(p, &out);
	leave(p);
	is_untouched(w, &b);
}

/* A file of very many sets is an honest one: what is said of it still fits into a message. */
static void
a_file_of_many_sets_arrives(void **state)
{
	enum { MANY = 3000 };
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	struct opened x = start_upload(w, p, "/chain.trn", w->whole.mem, w->whole.len);
	char *facts = talloc_strdup(w, "{\"findings\":[],\"sets\":[{\"DatabaseName\":\"Sales\"}"), *receipt;

	for (int i = 1; i < MANY; i++)
		facts = talloc_asprintf_append_buffer(facts, ",{\"DatabaseName\":\"Sales\",\"ServerName\":\"ONPREM\",\"BackupTypeDescription\":\"Log\"}");
	facts = talloc_strdup_append_buffer(facts, "]}");
	assert_int_equal(close_it(w, p, &x, TALK_WHOLE, w->whole.len, w->whole.sha256, facts), OK);
	assert_non_null(strstr(p->message, "chain.trn arrived"));
	assert_non_null(strstr(p->message, "and 2990 more"));
	receipt = text_of(w, p, "/receipts/chain.trn.txt");
	assert_non_null(strstr(receipt, "set 3   Log backup of Sales from ONPREM"));
	is_untouched(w, &b);
}

/* ---- races ------------------------------------------------------------------------------------------------------------------------ */

/* Swaps a folder of the outbox with a link to a place outside, for ever. */
static pid_t
swap_for_ever(const char *folder, const char *link)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	die_with(parent);
	for (;;)
		syscall(SYS_renameat2, AT_FDCWD, folder, AT_FDCWD, link, 2 /* RENAME_EXCHANGE */);
}

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* However often a folder turns into a link while it is resolved, nothing outside is opened, looked at or listed. */
static void
a_folder_that_turns_into_a_link_leads_nowhere(void **state)
{
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	char *out = talloc_asprintf(w, "%s/areas/m-0001/outbox", w->spool), *folder = talloc_asprintf(w, "%s/sub", out),
	     *outside = talloc_asprintf(w, "%s/outside", w->dir), *link = talloc_asprintf(w, "%s/link", out);
	unsigned found = 0, missed = 0;
	struct talk_attrs a;
	struct opened x;
	pid_t pid;
	int status;

	mkdir(folder, 0700);
	mkdir(outside, 0700);
	write_file(talloc_asprintf(w, "%s/report.txt", folder), "mine");
	write_file(talloc_asprintf(w, "%s/report.txt", outside), "a secret");
	write_file(talloc_asprintf(w, "%s/only-outside.txt", outside), "a secret");
	assert_int_equal(symlink(outside, link), 0);
	pid = swap_for_ever(folder, link);
	for (int i = 0; i < 4000 && (i < 1000 || found == 0 || missed == 0); i++) {
		char got[10] = { 0 };

		assert_int_not_equal(one_path(w, p, TALK_STAT, "/outbox/sub/only-outside.txt"), OK);
		x = open_it(w, p, "/outbox/sub/report.txt", READ);
		if (p->status == OK) {
			found++;
			assert_int_equal(pread(x.fd, got, 9, 0), 4);
			assert_string_equal(got, "mine");
			close(x.fd);
		} else {
			missed++;
		}
		if (one_path(w, p, TALK_STAT, "/outbox/sub/report.txt") == OK) {
			talk_take_attrs(&p->frame.body, &a);
			assert_int_equal(a.size, 4);
		}
		if (one_path(w, p, TALK_LIST, "/outbox/sub") == OK) {
			char mem[2000] = { 0 };
			ssize_t n = pread(p->frame.fds[0], mem, sizeof(mem), 0);

			assert_true(n >= 0);
			assert_null(memmem(mem, (size_t)n, "only-outside", 12));
			talk_close_fds(&p->frame);
		}
		open_it(w, p, "/outbox/sub/report.txt", WRITE | CREAT | TRUNC);
		assert_int_equal(p->status, DENIED);
		talloc_free_children(p);
	}
	printf("# resolved %u times as a folder, %u times as a link\n", found, missed);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_true(found > 0 && missed > 0);
	is_untouched(w, &b);
}

/* A folder with a link in it that was put there as a trap, for every request that takes a name. */
static void
links_are_not_followed(void **state)
{
	static const char *const names[] = { "/outbox/link", "/outbox/file", "/outbox/loop", "/outbox/link/passwd", "/outbox/./link/passwd" };
	struct world *w = *state;
	struct played *p = log_in(w);
	char *out = talloc_asprintf(w, "%s/areas/m-0001/outbox", w->spool);

	assert_int_equal(symlink("/etc", talloc_asprintf(w, "%s/link", out)), 0);
	assert_int_equal(symlink("/etc/passwd", talloc_asprintf(w, "%s/file", out)), 0);
	assert_int_equal(symlink("loop", talloc_asprintf(w, "%s/loop", out)), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_not_equal(one_path(w, p, TALK_STAT, names[i]), OK);
		open_it(w, p, names[i], READ);
		assert_int_not_equal(p->status, OK);
		assert_int_not_equal(one_path(w, p, TALK_REMOVE, names[i]), OK);
		assert_int_not_equal(rename_it(w, p, names[i], "/mine.bak"), OK);
		if (one_path(w, p, TALK_LIST, names[i]) == OK) {
			assert_int_equal(lseek(p->frame.fds[0], 0, SEEK_END), 0);
			talk_close_fds(&p->frame);
		}
	}
}

/* ---- little that claims to be much --------------------------------------------------------------------------------------------- */

/* The largest facts that are taken, of the most and the smallest values: a JSON text grows when it is read. */
/* What it costs to parse that once, now and here: the measure of what it costs the warden. */
static int64_t
parse_ms(const char *text)
{
	int64_t from = thread_cpu_ns();

	json_decref(json_loads(text, 0, NULL));
	return (thread_cpu_ns() - from) / 1000000;
}

/* Asked for again and again: the loop works for one customer a part of the time only. */
static void
costs_its_own_time(struct world *w, struct played *p, const char *path)
{
	int64_t began = now_ms(), from = spent_ms(w), cpu, took;

	for (int i = 0; i < 4; i++) {
		open_it(w, p, path, READ);
		assert_int_equal(p->status, OK);
		talk_close_fds(&p->frame);
	}
	cpu = spent_ms(w) - from;
	took = now_ms() - began;
	printf("# four of them took %lld ms of the warden's CPU and %lld ms\n", (long long)cpu, (long long)took);
	/* It may have three fifths; the last answer and the first tick are not waited for. */
	assert_true(took + COSTLY_MS > cpu * 5 / 3);
}

static void
facts_that_swell_are_bounded(void **state)
{
	struct world *w = *state;
	struct beside b = somebody_beside(w);
	struct played *p = log_in(w);
	struct opened x = start_upload(w, p, "/swells.bak", w->whole.mem, 100);
	size_t len = TALK_FACTS_MAX - 100;
	char *facts = talloc_size(w, len + 1);
	uint64_t before = kilobytes_of(w, "VmHWM");
	int64_t from, unit;

	for (size_t i = 0; i < len; i++)
		facts[i] = i % 2 == 0 ? '0' : ',';
	memcpy(facts, "{\"x\":[0,", 8);
	memcpy(facts + len - 3, "0]}", 4);
	from = spent_ms(w);
	assert_int_equal(close_it(w, p, &x, TALK_PARTIAL, 100, "", facts), OK);
	from = spent_ms(w) - from;
	unit = parse_ms(facts);
	printf("# facts of %zu bytes took %lld ms, to parse them would have taken %lld ms\n", len, (long long)from, (long long)unit);
	assert_true(from < unit);
	has_not_grown(w, "VmHWM", before, 100000);
	/* As many as are taken, as sets: a receipt of them can be asked for. */
	facts[0] = '\0';
	for (size_t i = 0; i < 950000; i++)
		memcpy(facts + 9 + i * 3, "{},", 3);
	memcpy(facts, "{\"sets\":[", 9);
	strcpy(facts + 9 + 950000 * 3 - 1, "]}");
	x = start_upload(w, p, "/sets.bak", w->whole.mem, 100);
	from = spent_ms(w);
	assert_int_equal(close_it(w, p, &x, TALK_PARTIAL, 100, "", facts), OK);
	open_it(w, p, "/receipts/sets.bak.txt", READ);
	assert_int_equal(p->status, OK);
	talk_close_fds(&p->frame);
	has_not_grown(w, "VmHWM", before, 700000);
	from = spent_ms(w) - from;
	unit = parse_ms(facts);
	printf("# a receipt of 950,000 sets took %lld ms, to parse them once %lld ms\n", (long long)from, (long long)unit);
	assert_true(from < 12 * unit);
	costs_its_own_time(w, p, "/receipts/sets.bak.txt");
	/* Nested without end. */
	memset(facts, '[', len);
	x = start_upload(w, p, "/deep.bak", w->whole.mem, 100);
	assert_int_equal(close_it(w, p, &x, TALK_PARTIAL, 100, "", facts), OK);
	is_untouched(w, &b);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)
		TEST(a_message_cut_anywhere_is_refused), TEST(lengths_that_lie_are_refused), TEST(passed_descriptors_are_closed),
		TEST(facts_may_be_no_file), TEST(damaged_messages_hurt_nobody), TEST(before_log_in_nothing_is_served),
		TEST(what_is_not_a_sessions_to_say_ends_it), TEST(a_second_log_in_changes_nothing), TEST(numbers_of_others_lead_nowhere),
		TEST(an_upload_ends_once), TEST(no_lie_about_a_size_frees_quota), TEST(copies_end_at_the_quota),
		TEST(a_flood_nobody_reads_ends_its_session), TEST(names_that_come_and_go_leave_nothing), TEST(a_huge_listing_holds_nobody_up), TEST(a_status_of_many_files_holds_nobody_up), TEST(a_file_of_many_sets_arrives),
		TEST(a_folder_that_turns_into_a_link_leads_nowhere), TEST(links_are_not_followed), TEST(facts_that_swell_are_bounded),
	};

	if (argc > 2 && strcmp(argv[1], "--spawner") == 0)
		play_spawner(argv[2]);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
