/*
 * The real warden (see played.h) and sessions of it, well-behaved ones and ones that were taken over.
 */
#include "tests/receiver/played.h"

/* ---- arriving, and dying -------------------------------------------------------------------------------------------- */

static void
what_was_acknowledged_is_there_after_a_kill(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	struct opened x;

	assert_int_equal(arrive(w, p, "/a.bak"), OK);
	assert_non_null(strstr(p->message, "a.bak arrived"));
	x = start_upload(w, p, "/b.bak", w->whole.mem, 5000);
	assert_int_equal(close_it(w, p, &x, TALK_PARTIAL, 5000, "", "{}"), OK);
	p = come_back(w);
	assert_int_equal(size_of(w, p, "/a.bak"), w->whole.len);
	assert_int_equal(size_of(w, p, "/b.bak"), 5000);
	assert_true(bytes_in(w, "vault") > w->whole.len);
	x = open_it(w, p, "/a.bak", READ);
	assert_int_equal(lseek(x.fd, 0, SEEK_END), w->whole.len);
	/* What a client has closed was judged then. */
	assert_null(w->reader);
}

/* Bytes came out of order and the receiver was killed: the size on disk says nothing about the middle. */
static void
a_hole_is_cut_off_after_a_kill(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	struct opened x = open_it(w, p, "/holed.bak", WRITE | CREAT);
	const size_t from = 131072, to = 262144;

	assert_int_equal(pwrite(x.fd, w->whole.mem, from, 0), from);
	assert_int_equal(pwrite(x.fd, w->whole.mem + to, w->whole.len - to, (off_t)to), w->whole.len - to);
	assert_true(journal_says(w, "holed.bak"));
	p = come_back(w);
	assert_true(size_of(w, p, "/holed.bak") <= from);
	assert_true(size_of(w, p, "/holed.bak") >= from - 65536);
}

/* While Postgres is away, which is no error here. */
static void
a_torn_journal_is_no_reason_not_to_start(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	FILE *f;

	assert_int_equal(arrive(w, p, "/a.bak"), OK);
	kill_warden(w);
	f = fopen(talloc_asprintf(w, "%s/journal.log", w->spool), "ae");
	assert_non_null(f);
	fputs("0123456789abcdef {\"t\":\"fi", f);
	fclose(f);
	start_warden(w);
	assert_int_equal(size_of(w, log_in(w), "/a.bak"), w->whole.len);
}

static struct played *
left_open(struct world *w, const char *path)
{
	struct played *p = log_in(w);
	struct opened x = start_upload(w, p, path, w->whole.mem, w->whole.len);

	assert_true(journal_says(w, path + 1));
	close(x.fd);
	p = come_back(w);
	assert_non_null(w->reader);
	assert_int_equal(lseek(w->reader->conn, 0, SEEK_END), w->whole.len);
	close(w->reader->conn);
	return p;
}

static void
what_nobody_closed_is_read_again_and_arrives_if_whole(void **state)
{
	struct world *w = *state;
	struct played *p = left_open(w, "/left.bak");
	struct opened x = { .fd = -1 };
	static struct talk_out out;

	assert_int_equal(close_it(w, w->reader, &x, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts), OK);
	assert_true(journal_says(w, "\"arrived\""));
	/* It speaks once: an arrived file is not taken back. */
	put_closed(w, &out, 0, TALK_PARTIAL, 0, "", "{}");
	send_out(w->reader, &out);
	while (hear(w->reader))
		;
	assert_int_equal(size_of(w, p, "/left.bak"), w->whole.len);
	assert_int_equal(open_it(w, p, "/left.bak", READ).fd >= 0, true);
}

static void
a_reader_is_nobody(void **state)
{
	struct world *w = *state;
	static struct talk_out out;

	left_open(w, "/left.bak");
	put(w, &out, TALK_LOGIN);
	talk_text(&out, "m-0001");
	talk_text(&out, "AAA");
	talk_text(&out, "taken over");
	send_out(w->reader, &out);
	while (hear(w->reader))
		assert_int_not_equal(w->reader->frame.type, TALK_REPLY);
}

static void
a_client_that_resumes_does_not_wait_for_a_reader(void **state)
{
	struct world *w = *state;
	struct played *p = left_open(w, "/left.bak");
	struct opened x = open_it(w, p, "/left.bak", WRITE);

	assert_int_equal(p->status, OK);
	assert_int_equal(x.o.size, w->whole.len);
	assert_int_equal(close_it(w, p, &x, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts), OK);
}

static void
progress(struct world *w, struct played *p, const struct opened *x, uint64_t bytes)
{
	static struct talk_out out;

	put(w, &out, TALK_PROGRESS);
	talk_u64(&out, x->o.upload);
	talk_u64(&out, bytes);
	talk_text(&out, "");
	talk_u64(&out, 0);
	send_out(p, &out);
}

/* ---- sessions that are gone ---------------------------------------------------------------------------------------------- */

/* All of it has come, and its session ends before the CLOSE; the file's reader. */
static struct played *
all_but_closed(struct world *w, const char *path)
{
	struct played *p = log_in(w);
	struct opened x = start_upload(w, p, path, w->whole.mem, w->whole.len);

	progress(w, p, &x, w->whole.len);
	close(x.fd);
	leave(p);
	p = next_session(w);
	assert_int_equal(p->kind, TALK_READER);
	assert_int_equal(lseek(p->conn, 0, SEEK_END), w->whole.len);
	return p;
}

static void
what_a_lost_session_left_whole_arrives(void **state)
{
	struct world *w = *state;
	struct played *reader = all_but_closed(w, "/lost.bak");
	struct opened nothing = { .fd = -1 };

	assert_int_equal(close_it(w, reader, &nothing, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts), OK);
	assert_true(journal_says(w, "\"arrived\""));
	assert_int_equal(size_of(w, log_in(w), "/lost.bak"), w->whole.len);
}

/* Of what nobody closed the reader's word counts only when it is whole: more may have been meant to come. */
static void
what_a_lost_session_left_is_nothing_else(void **state)
{
	static const enum talk_verdict verdicts[] = { TALK_PARTIAL, TALK_OTHER, TALK_REFUSED };
	struct world *w = *state;
	struct played *reader, *p;
	struct opened nothing = { .fd = -1 };

	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		char *name = talloc_asprintf(w, "/lost-%zu.bak", i);

		reader = all_but_closed(w, name);
		assert_int_equal(close_it(w, reader, &nothing, verdicts[i], w->whole.len, "", "{}"), OK);
		leave(reader);
		p = log_in(w);
		assert_non_null(strstr(text_of(w, p, talloc_asprintf(w, "/receipts%s.txt", name)), "state   partial"));
		assert_int_equal(size_of(w, p, name), w->whole.len);
		assert_int_equal(one_path(w, p, TALK_REMOVE, name), OK);
		leave(p);
	}
}

/* Its end is the older one's, and a reader could not tell. */
static void
what_was_written_over_an_older_one_is_not_read(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	struct opened x;
	static struct talk_out out;

	assert_int_equal(arrive(w, p, "/a.bak"), OK);
	x = open_it(w, p, "/a.bak", WRITE);
	put(w, &out, TALK_SEED);
	talk_u64(&out, x.o.upload);
	assert_int_equal(ask(w, p, &out), OK);
	talk_take_opened(&p->frame.body, &x.o);
	progress(w, p, &x, w->whole.len);
	leave(p);
	assert_true(journal_says(w, "the connection broke"));
	w->reader = NULL;
	p = log_in(w);
	assert_non_null(strstr(text_of(w, p, "/receipts/a.bak.txt"), "state   partial"));
	assert_null(w->reader);
	p = come_back(w);
	assert_non_null(strstr(text_of(w, p, "/receipts/a.bak.txt"), "state   partial"));
	assert_null(w->reader);
}

/* A session leaves as many as it likes; so many are read at once, and the next when one is done. */
static void
readers_wait_for_one_another(void **state)
{
	enum { LEFT = 6, AT_ONCE = 4 };
	struct world *w = *state;
	struct played *p = log_in(w), *readers[LEFT];
	struct opened x[LEFT], nothing = { .fd = -1 };
	struct pollfd quiet = { .fd = w->spawner, .events = POLLIN };

	for (int i = 0; i < LEFT; i++) {
		x[i] = start_upload(w, p, talloc_asprintf(w, "/left-%d.bak", i), w->whole.mem, w->whole.len);
		progress(w, p, &x[i], w->whole.len);
		close(x[i].fd);
	}
	leave(p);
	for (int i = 0; i < AT_ONCE; i++)
		assert_int_equal((readers[i] = next_session(w))->kind, TALK_READER);
	p = log_in(w);
	assert_int_equal(p->kind, TALK_CONNECTION);
	assert_int_equal(poll(&quiet, 1, 0), 0);
	for (int i = 0; i < LEFT; i++) {
		if (i >= AT_ONCE)
			assert_int_equal((readers[i] = next_session(w))->kind, TALK_READER);
		assert_int_equal(close_it(w, readers[i], &nothing, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts), OK);
		leave(readers[i]);
	}
	for (int i = 0; i < LEFT; i++)
		assert_non_null(strstr(text_of(w, p, talloc_asprintf(w, "/receipts/left-%d.bak.txt", i)), "state   arrived"));
}

/* ---- sessions that were taken over ------------------------------------------------------------------------------------ */

static void
odd_facts_hurt_nobody(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	struct opened x = start_upload(w, p, "/odd.bak", w->whole.mem, w->whole.len);

	assert_int_equal(close_it(w, p, &x, TALK_WHOLE, w->whole.len, w->whole.sha256, "{\"findings\":[1,null,{},\"TDE\\u001b\",\"tde\"],\"sets\":[7]}"), OK);
	x = start_upload(w, p, "/odd2.bak", w->whole.mem, 100);
	assert_int_equal(close_it(w, p, &x, TALK_PARTIAL, 100, "", "{\"findings\":[1,[]],\"sets\":{}}"), OK);
	assert_non_null(strstr(text_of(w, p, "/STATUS.txt"), "note: tde"));
	assert_non_null(strstr(text_of(w, p, "/receipts/odd.bak.txt"), "note: tde"));
	x = start_upload(w, p, "/odd3.bak", w->whole.mem, 100);
	assert_int_equal(close_it(w, p, &x, TALK_PARTIAL, 100, "", "[{"), OK);
}

static void
a_file_that_is_still_held_does_not_arrive(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	struct opened x = start_upload(w, p, "/held.bak", w->whole.mem, w->whole.len);
	int held = dup(x.fd);
	static struct talk_out out;

	close(x.fd);
	put_closed(w, &out, x.o.upload, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts);
	send_out(p, &out);
	while (hear(p))
		assert_true(p->frame.type != TALK_REPLY || bytes_u32(&p->frame.body) == FAILURE);
	close(held);
	p = log_in(w);
	assert_int_equal(journal_lines(w, "\"arrived\""), 0);
	assert_int_equal(size_of(w, p, "/held.bak"), w->whole.len);
}

/* The end of the pair is the end of the session, or it could go on writing into what somebody else resumes. */
static void
a_session_that_lets_go_of_the_warden_is_killed(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	pid_t pid = p->pid;

	leave(p);
	for (int i = 0; i < PATIENCE_MS / 10 && kill(pid, 0) == 0; i++)
		usleep(10000);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
}

static void
lies_about_sizes_do_not_help(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	struct opened x = start_upload(w, p, "/less.bak", w->whole.mem, w->whole.len);

	assert_int_equal(close_it(w, p, &x, TALK_PARTIAL, 1000, "", "{}"), OK);
	assert_true(comes_to(w, "staging", 1000));
	x = start_upload(w, p, "/more.bak", w->whole.mem, 100);
	assert_int_equal(close_it(w, p, &x, TALK_PARTIAL, UINT64_MAX, "", "{}"), OK);
	assert_int_equal(size_of(w, p, "/more.bak"), 100);
	x = start_upload(w, p, "/fake.bak", w->whole.mem, 100);
	assert_int_equal(close_it(w, p, &x, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts), FAILURE);
	assert_int_equal(journal_lines(w, "\"arrived\""), 0);
	x = start_upload(w, p, "/again.bak", w->whole.mem, 100);
	assert_int_equal(p->status, OK); /* what was said to be huge did not use the quota up */
}

/* ---- quotas ------------------------------------------------------------------------------------------------------------ */

static void
uploads_at_once_share_the_quota(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w), *q = log_in(w);
	struct opened x = open_it(w, p, "/x.bak", WRITE | CREAT), y = open_it(w, q, "/y.bak", WRITE | CREAT);
	static struct talk_out out;
	char *why;

	assert_int_equal(ftruncate(x.fd, QUOTA * 3 / 4), 0);
	assert_int_equal(ftruncate(y.fd, QUOTA / 2), 0);
	progress(w, p, &x, QUOTA * 3 / 4);
	assert_int_equal(size_of(w, p, "/x.bak"), QUOTA * 3 / 4); /* the warden has heard it */
	progress(w, q, &y, 0); /* which is not what is on disk */
	assert_true(hear(q));
	assert_int_equal(q->frame.type, TALK_REVOKE);
	assert_int_equal(bytes_u64(&q->frame.body), y.o.upload);
	why = talk_take_text(&q->frame.body, w);
	assert_non_null(strstr(why, "over the quota"));
	close(y.fd);
	put(w, &out, TALK_REVOKED);
	talk_u64(&out, y.o.upload);
	talk_u64(&out, QUOTA / 2);
	send_out(q, &out);
	y.fd = -1;
	assert_int_equal(close_it(w, q, &y, TALK_PARTIAL, QUOTA / 2, "", "{}"), FAILURE);
	assert_non_null(strstr(q->message, "over the quota"));
}

static void
files_are_counted_but_may_be_resumed(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	struct opened x;

	for (int i = 0; i < QUOTA_FILES; i++) {
		x = start_upload(w, p, talloc_asprintf(w, "/%d.bak", i), "hello", 5);
		assert_int_equal(close_it(w, p, &x, i < 3 ? TALK_REFUSED : TALK_PARTIAL, 5, "", "{}"), i < 3 ? FAILURE : OK);
	}
	assert_true(comes_to(w, "staging", (QUOTA_FILES - 3) * 5));
	open_it(w, p, "/one-more.bak", WRITE | CREAT);
	assert_int_equal(p->status, FAILURE);
	assert_non_null(strstr(p->message, "quota"));
	assert_int_equal(open_it(w, p, "/5.bak", WRITE).o.size, 5);
	/* What was refused can be removed, which makes room. */
	assert_int_equal(one_path(w, p, TALK_REMOVE, "/0.bak"), OK);
	open_it(w, p, "/one-more.bak", WRITE | CREAT);
	assert_int_equal(p->status, OK);
}

/* It is pasted into a server as it stands. */
static void
the_readme_quotes_the_database(void **state)
{
	struct world *w = *state;
	char *text = text_of(w, log_in(w), "/README.txt");

	assert_non_null(strstr(text, "BACKUP DATABASE [Sa]]l'es] TO DISK = N'Sa_l_es_full.bak' WITH"));
	assert_non_null(strstr(text, "RESTORE DATABASE [Sa]]l'es] WITH RECOVERY"));
}

/* ---- names --------------------------------------------------------------------------------------------------------------- */

static void
no_backup_gets_a_backups_name_by_a_rename(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	struct opened x = start_upload(w, p, "/a.txt", "hello", 5);

	assert_int_equal(close_it(w, p, &x, TALK_OTHER, 5, "", "{}"), OK);
	assert_true(comes_to(w, "staging", 5));
	assert_int_equal(rename_it(w, p, "/a.txt", "/a.bak"), FAILURE);
	assert_non_null(strstr(text_of(w, p, "/STATUS.txt"), "refused"));
	assert_true(comes_to(w, "staging", 0)); /* nor do its bytes stay where no quota counts them */
	x = start_upload(w, p, "/b.txt", "hello", 5);
	assert_int_equal(rename_it(w, p, "/b.txt", "/b.bak"), OK);
	assert_int_equal(close_it(w, p, &x, TALK_OTHER, 5, "", "{}"), FAILURE);
	assert_true(comes_to(w, "staging", 0));
}

/* As WinSCP, lftp and rclone send it. */
static void
a_manifest_may_come_under_a_temporary_name(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w), *reader;
	struct opened x = start_upload(w, p, "/manifest.json.filepart", "{}", 2);

	assert_int_equal(close_it(w, p, &x, TALK_OTHER, 2, "", "{}"), OK);
	assert_int_equal(rename_it(w, p, "/manifest.json.filepart", "/manifest.json"), OK);
	reader = next_session(w);
	assert_int_equal(reader->kind, TALK_READER);
	assert_int_equal(close_it(w, reader, &x, TALK_MANIFEST, 2, "", "{\"end\":true}"), OK);
	assert_true(journal_says(w, "\"kind\":\"manifest\""));
}

static void
a_name_that_is_opened_anew_leaves_the_old_handle_behind(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	struct opened x = start_upload(w, p, "/a.bak", w->whole.mem, 100), y = start_upload(w, p, "/a.bak", w->whole.mem, 200);

	assert_true(x.o.upload != y.o.upload);
	assert_int_equal(close_it(w, p, &x, TALK_PARTIAL, 100, "", "{}"), FAILURE);
	assert_int_equal(close_it(w, p, &y, TALK_PARTIAL, 200, "", "{}"), OK);
	assert_int_equal(size_of(w, p, "/a.bak"), 200);
	assert_true(comes_to(w, "staging", 200));
	p = come_back(w);
	assert_int_equal(size_of(w, p, "/a.bak"), 200);
	assert_int_equal(bytes_in(w, "staging"), 200);
}

static void
a_new_version_that_cannot_be_begun_leaves_the_old_one(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	struct opened x;
	static struct talk_out out;

	assert_int_equal(arrive(w, p, "/a.bak"), OK);
	x = open_it(w, p, "/a.bak", WRITE);
	assert_true(x.o.arrived);
	assert_int_equal(system(talloc_asprintf(w, "mv %s/areas/m-0001/vault/*.bak %s/away", w->spool, w->dir)), 0);
	put(w, &out, TALK_SEED);
	talk_u64(&out, x.o.upload);
	assert_int_equal(ask(w, p, &out), FAILURE);
	assert_int_equal(size_of(w, p, "/a.bak"), w->whole.len);
	assert_int_equal(system(talloc_asprintf(w, "mv %s/away %s/areas/m-0001/vault/$(ls %s/areas/m-0001/vault | sed 's/json$/bak/')", w->dir, w->spool,
	                                        w->spool)), 0);
	put(w, &out, TALK_SEED);
	talk_u64(&out, x.o.upload);
	assert_int_equal(ask(w, p, &out), OK);
	talk_take_opened(&p->frame.body, &x.o);
	assert_int_equal(x.o.size, w->whole.len);
	assert_false(x.o.arrived);
	p = come_back(w);
	assert_int_equal(size_of(w, p, "/a.bak"), w->whole.len);
}

/* Killed at any time, the name belongs to the old one or to the new one, and to one of them only. */
static void
a_name_always_belongs_to_one_file(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);
	char *journal = talloc_asprintf(w, "%s/journal.log", w->spool), *list;

	assert_int_equal(arrive(w, p, "/a.bak"), OK);
	open_it(w, p, "/a.bak", WRITE | CREAT | TRUNC);
	assert_int_equal(p->status, OK);
	assert_true(journal_says(w, "\"shown\":false"));
	for (int lines = 4; lines >= 2; lines--) {
		kill_warden(w);
		/* OPEN, arrival, then the new one's OPEN and the old one's end. */
		assert_int_equal(system(talloc_asprintf(w, "head -n %d %s > %s.cut && mv %s.cut %s", lines, journal, journal, journal, journal)), 0);
		start_warden(w);
		p = log_in(w);
		assert_int_equal(size_of(w, p, "/a.bak"), lines == 2 ? w->whole.len : 0);
		list = text_of(w, p, "/STATUS.txt");
		list = strstr(list, "a.bak");
		assert_non_null(list);
		assert_null(strstr(list + 1, "a.bak"));
	}
}

/* ---- files that are no backups ------------------------------------------------------------------------------------------ */

static bool
text_comes_to(struct world *w, struct played *p, const char *path, const char *what)
{
	for (int i = 0; i < PATIENCE_MS / 20; i++) {
		if (strstr(text_of(w, p, path), what) != NULL)
			return true;
		usleep(20000);
	}
	return false;
}

static uint32_t
sidecar(struct world *w, struct played *p, const char *path, const char *hex)
{
	struct opened x = start_upload(w, p, path, hex, strlen(hex));

	return close_it(w, p, &x, TALK_OTHER, strlen(hex), "", talloc_asprintf(w, "{\"promise\":\"%s\"}", hex));
}

static void
a_sidecar_is_compared_whichever_comes_first(void **state)
{
	static const char wrong[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	struct world *w = *state;
	struct played *p = log_in(w);

	assert_int_equal(arrive(w, p, "/a.bak"), OK);
	assert_int_equal(sidecar(w, p, "/a.bak.sha256", w->whole.sha256), OK);
	assert_string_equal(p->message, "a.bak is what a.bak.sha256 says");
	assert_non_null(strstr(text_of(w, p, "/receipts/a.bak.txt"), "checked the same as in a.bak.sha256"));
	assert_int_equal(sidecar(w, p, "/b.bak.SHA256", wrong), OK);
	assert_int_equal(arrive(w, p, "/b.bak"), OK);
	assert_non_null(strstr(p->message, "b.bak is NOT what b.bak.SHA256 says"));
	assert_true(journal_says(w, "is NOT what b.bak.SHA256 says"));
	assert_non_null(strstr(text_of(w, p, "/STATUS.txt"), "is NOT what"));
	p = come_back(w);
	assert_non_null(strstr(text_of(w, p, "/receipts/b.bak.txt"), "NOT the same as in b.bak.SHA256"));
	/* Without it there is nothing to say. */
	assert_int_equal(one_path(w, p, TALK_REMOVE, "/b.bak.SHA256"), OK);
	assert_null(strstr(text_of(w, p, "/STATUS.txt"), "is NOT what"));
	assert_int_equal(sidecar(w, p, "/b.bak.SHA256", wrong), OK);
	assert_non_null(strstr(text_of(w, p, "/STATUS.txt"), "is NOT what"));
	/* The right one takes it back. */
	assert_int_equal(sidecar(w, p, "/b.bak.SHA256", w->whole.sha256), OK);
	assert_string_equal(p->message, "b.bak is what b.bak.SHA256 says");
	assert_null(strstr(text_of(w, p, "/STATUS.txt"), "is NOT what"));
}

static void
an_md5_is_taken_when_it_is_asked_for(void **state)
{
	static const char md5[] = "0123456789abcdef0123456789abcdef";
	struct world *w = *state;
	struct played *p = log_in(w), *reader;
	struct opened nothing = { .fd = -1 };
	static struct talk_out out;

	assert_int_equal(arrive(w, p, "/a.bak"), OK);
	assert_int_equal(sidecar(w, p, "/a.bak.md5", md5), OK);
	assert_non_null(strstr(text_of(w, p, "/receipts/a.bak.txt"), "not yet against a.bak.md5"));
	reader = next_session(w);
	assert_int_equal(reader->kind, TALK_DIGEST);
	assert_int_equal(lseek(reader->conn, 0, SEEK_END), w->whole.len);
	assert_int_equal(close_it(w, reader, &nothing, TALK_OTHER, 0, md5, "{}"), OK);
	assert_non_null(strstr(text_of(w, p, "/receipts/a.bak.txt"), "the same as in a.bak.md5"));
	/* Whatever it says beyond that ends it. */
	put_closed(w, &out, 0, TALK_WHOLE, 5, md5, whole_facts);
	send_out(reader, &out);
	assert_false(hear(reader));
	assert_non_null(strstr(text_of(w, p, "/STATUS.txt"), "arrived"));
}

static void
odd_promises_are_none(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w);

	assert_int_equal(arrive(w, p, "/a.bak"), OK);
	assert_int_equal(sidecar(w, p, "/a.bak.sha256", "0123456789abcdef0123456789abcdef"), OK); /* an MD5 */
	assert_int_equal(sidecar(w, p, "/a.bak.md5", "../../etc"), OK);
	assert_int_equal(sidecar(w, p, "/a.txt", w->whole.sha256), OK);
	assert_null(strstr(text_of(w, p, "/receipts/a.bak.txt"), "checked"));
}

static struct played *
with_settle_time(struct world *w, int seconds)
{
	w->config.receiver.settle_seconds = seconds;
	return come_back(w);
}

static uint32_t
note_txt(struct world *w, struct played *p, const char *path)
{
	struct opened x = start_upload(w, p, path, "hello", 5);

	return close_it(w, p, &x, TALK_OTHER, 5, "", "{}");
}

static void
other_files_count_when_nothing_more_came(void **state)
{
	struct world *w = *state;
	struct played *p = with_settle_time(w, 1), *q = log_in(w);

	/* Whoever is gone adds nothing more; who is there may. */
	assert_int_equal(note_txt(w, p, "/gone.txt"), OK);
	assert_int_equal(note_txt(w, q, "/there.txt"), OK);
	assert_non_null(strstr(text_of(w, q, "/receipts/gone.txt.txt"), "state   partial"));
	leave(p);
	assert_true(text_comes_to(w, q, "/receipts/gone.txt.txt", "state   other"));
	assert_non_null(strstr(text_of(w, q, "/receipts/there.txt.txt"), "state   partial"));
	assert_true(journal_says(w, "\"other\",\"kind\""));
}

static void
a_look_after_the_close_or_a_rename_says_it_went_well(void **state)
{
	struct world *w = *state;
	struct played *p = with_settle_time(w, 1000);

	assert_int_equal(note_txt(w, p, "/a.txt.part"), OK);
	assert_int_equal(rename_it(w, p, "/a.txt.part", "/a.txt"), OK);
	assert_non_null(strstr(text_of(w, p, "/receipts/a.txt.txt"), "state   other"));
	assert_int_equal(note_txt(w, p, "/b.txt"), OK);
	assert_int_equal(size_of(w, p, "/b.txt"), 5);
	assert_true(text_comes_to(w, p, "/receipts/b.txt.txt", "state   other"));
	assert_int_equal(note_txt(w, p, "/c.txt"), OK);
	assert_int_equal(rename_it(w, p, "/c.txt", "/c.bak"), FAILURE);
	assert_non_null(strstr(text_of(w, p, "/receipts/c.bak.txt"), "state   refused"));
}

static void
a_settle_time_outlives_the_receiver(void **state)
{
	struct world *w = *state;
	struct played *p = with_settle_time(w, 1);

	assert_int_equal(note_txt(w, p, "/a.txt"), OK);
	p = come_back(w);
	assert_true(text_comes_to(w, p, "/receipts/a.txt.txt", "state   other"));
}

/* ---- who may come in ------------------------------------------------------------------------------------------------------ */

/* What a connection from there is told instead of a session; "" when there is one. */
static const char *
turned_away(struct world *w, uint8_t host)
{
	struct pollfd p[2] = { { dial_from(w, host), POLLIN, 0 }, { w->spawner, POLLIN, 0 } };
	char *said = talloc_zero_array(w, char, 200);
	struct played *in;

	assert_true(poll(p, 2, PATIENCE_MS) > 0);
	if (p[1].revents != 0) {
		in = next_session(w);
		in->client = p[0].fd;
		return "";
	}
	assert_true(read(p[0].fd, said, 199) >= 0);
	close(p[0].fd);
	return said;
}

static void
say(struct world *w, struct played *p, enum talk_type type, const char *text)
{
	static struct talk_out out;

	put(w, &out, type);
	if (text != NULL)
		talk_text(&out, text);
	send_out(p, &out);
}

static void
fail_from(struct world *w, uint8_t host)
{
	struct played *p = come_from(w, host);

	leave(p);
	is_gone(p->pid);
}

static uint32_t
log_in_with(struct world *w, struct played *p, enum talk_type type, const char *blob)
{
	static struct talk_out out;

	put(w, &out, type);
	talk_text(&out, "m-0001");
	talk_text(&out, type == TALK_KEY ? "ssh-ed25519" : blob);
	talk_text(&out, type == TALK_KEY ? blob : "test");
	return ask(w, p, &out);
}

static void
a_network_has_its_share_before_log_in(void **state)
{
	struct world *w = *state;
	struct played *p[3];

	w->config.receiver.max_unauthenticated_per_address = 3;
	restart(w);
	for (size_t i = 0; i < 3; i++)
		p[i] = come_from(w, 2);
	assert_non_null(strstr(turned_away(w, 2), "too many connections of your address"));
	assert_string_equal(turned_away(w, 3), "");
	/* Who has logged in does not count, nor who has gone. */
	assert_int_equal(log_in_with(w, p[0], TALK_LOGIN, "AAA"), OK);
	assert_string_equal(turned_away(w, 2), "");
	assert_non_null(strstr(turned_away(w, 2), "too many connections of your address"));
	leave(p[1]);
	is_gone(p[1]->pid);
	assert_string_equal(turned_away(w, 2), "");
}

static void
who_has_most_gives_way_when_all_places_are_taken(void **state)
{
	struct world *w = *state;
	struct played *few, *many[5];

	w->config.receiver.max_unauthenticated = 6;
	restart(w);
	few = come_from(w, 3);
	for (size_t i = 0; i < 5; i++)
		many[i] = come_from(w, 2);
	assert_non_null(strstr(turned_away(w, 2), "too many connections wait"));
	assert_string_equal(turned_away(w, 4), "");
	assert_false(hear(many[0]));
	assert_string_equal(turned_away(w, 5), "");
	assert_false(hear(many[1]));
	assert_int_equal(log_in_with(w, few, TALK_LOGIN, "AAA"), OK);
	assert_int_equal(log_in_with(w, many[2], TALK_LOGIN, "AAA"), OK);
}

static void
failed_log_ins_shut_an_address_out(void **state)
{
	struct world *w = *state;
	char exempt[] = "127.0.0.7", *list[] = { exempt };
	int64_t until = time(NULL) + PATIENCE_MS / 1000;

	w->config.receiver.penalty_after = 3;
	w->config.receiver.exempt = list;
	w->config.receiver.n_exempt = 1;
	restart(w);
	for (int i = 0; i < 4; i++) {
		assert_string_equal(turned_away(w, 3), "");
		fail_from(w, 2);
		fail_from(w, 7);
	}
	assert_non_null(strstr(turned_away(w, 2), "too many failed log-ins from your address; try again in "));
	assert_string_equal(turned_away(w, 3), "");
	fail_from(w, 7); /* exempt: it comes in, again and again */
	while (turned_away(w, 2)[0] != '\0' && time(NULL) < until)
		usleep(100000);
	assert_string_equal(turned_away(w, 2), ""); /* two seconds later */
}

/* As health checks do, several a second for years. */
static void
who_says_nothing_pays_nothing(void **state)
{
	struct world *w = *state;
	struct played *p;

	w->config.receiver.penalty_after = 1;
	restart(w);
	for (int i = 0; i < 10; i++) {
		p = come_from(w, 2);
		say(w, p, TALK_SILENT, NULL);
		leave(p);
		is_gone(p->pid);
	}
	fail_from(w, 2);
	assert_string_equal(turned_away(w, 2), "");
	fail_from(w, 2);
	assert_non_null(strstr(turned_away(w, 2), "too many failed log-ins"));
}

static void
a_migration_has_so_many_sessions(void **state)
{
	struct world *w = *state;
	struct played *p[3];

	w->config.receiver.max_sessions_per_migration = 2;
	w->config.receiver.penalty_after = 1;
	restart(w);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 3; i++)
			p[i] = come_from(w, 2);
		assert_int_equal(log_in_with(w, p[0], TALK_LOGIN, "AAA"), OK);
		assert_int_equal(log_in_with(w, p[1], TALK_LOGIN, "AAA"), OK);
		assert_int_equal(log_in_with(w, p[2], TALK_LOGIN, "AAA"), 3);
		assert_non_null(strstr(p[2]->message, "too many connections of this migration"));
		/* It was the right key: no penalty. */
		for (size_t i = 0; i < 3; i++) {
			leave(p[i]);
			is_gone(p[i]->pid);
		}
	}
}

/* ---- balancers ----------------------------------------------------------------------------------------------------------------- */

static void
with_balancer(struct world *w)
{
	static char range[] = "127.0.0.2/32", *list[] = { range };

	w->config.receiver.proxies = list;
	w->config.receiver.n_proxies = 1;
	w->config.receiver.penalty_after = 1;
	write_keys(w, ",{\"migration\":\"m-0001\",\"blob\":\"BBB\",\"from\":[\"192.0.2.0/24\"],\"expires\":null}");
	restart(w);
}

static uint32_t
peer(struct world *w, struct played *p, const char *address)
{
	static struct talk_out out;

	put(w, &out, TALK_PEER);
	talk_text(&out, address);
	return ask(w, p, &out);
}

static void
a_clients_address_is_its_balancers_word(void **state)
{
	struct world *w = *state;
	struct played *p;

	with_balancer(w);
	p = come_from(w, 2);
	assert_int_equal(p->kind, TALK_PROXIED);
	assert_int_equal(peer(w, p, "192.0.2.9"), OK);
	assert_int_equal(log_in_with(w, p, TALK_KEY, "BBB"), OK);
	assert_int_equal(log_in_with(w, p, TALK_LOGIN, "BBB"), OK);
	p = come_from(w, 2);
	assert_int_equal(peer(w, p, "198.51.100.1"), OK);
	assert_int_equal(log_in_with(w, p, TALK_KEY, "BBB"), 3);
	/* That one pays, twice; its neighbours behind the balancer and the balancer itself do not. */
	leave(p);
	is_gone(p->pid);
	p = come_from(w, 2);
	assert_int_equal(peer(w, p, "198.51.100.1"), OK);
	leave(p);
	is_gone(p->pid);
	p = come_from(w, 2);
	assert_int_equal(peer(w, p, "198.51.100.1"), 3);
	assert_non_null(strstr(p->message, "too many failed log-ins"));
	p = come_from(w, 2);
	assert_int_equal(peer(w, p, "198.51.100.2"), OK);
	for (int i = 0; i < 5; i++) {
		p = come_from(w, 2);
		if (i > 2)
			assert_int_equal(peer(w, p, ""), OK);
		leave(p);
		is_gone(p->pid);
	}
	assert_string_equal(turned_away(w, 2), "");
	/* Not named: it is taken for what it is. */
	assert_int_equal(come_from(w, 3)->kind, TALK_CONNECTION);
}

static void
a_session_says_once_and_first_whom_it_is_for(void **state)
{
	struct world *w = *state;
	struct played *p;

	with_balancer(w);
	p = come_from(w, 2);
	say(w, p, TALK_PEER, "192.0.2.9' or 1");
	assert_false(hear(p));
	p = come_from(w, 2);
	assert_int_equal(peer(w, p, "192.0.2.9"), OK);
	say(w, p, TALK_PEER, "192.0.2.10");
	assert_false(hear(p));
	p = come_from(w, 2);
	say(w, p, TALK_KEY, "m-0001");
	assert_false(hear(p));
	p = come_from(w, 3);
	say(w, p, TALK_PEER, "192.0.2.9"); /* no balancer of ours */
	assert_false(hear(p));
	p = come_from(w, 3);
	assert_int_equal(log_in_with(w, p, TALK_LOGIN, "AAA"), OK);
	say(w, p, TALK_PEER, "192.0.2.9");
	assert_false(hear(p));
}

/* ---- who may stay ---------------------------------------------------------------------------------------------------------------- */

static void
a_key_that_expires_ends_its_session(void **state)
{
	struct world *w = *state;
	int64_t end = time(NULL) + 3;
	struct played *p, *q;
	struct opened x;
	struct timespec now;

	write_keys(w, talloc_asprintf(w, ",{\"migration\":\"m-0001\",\"blob\":\"BBB\",\"from\":[],\"expires\":%lld}", (long long)end));
	restart(w);
	p = come_from(w, 2);
	assert_int_equal(log_in_with(w, p, TALK_LOGIN, "BBB"), OK);
	q = log_in(w);
	x = start_upload(w, p, "/half.bak", w->whole.mem, 1000);
	progress(w, p, &x, 1000);
	assert_false(hear(p));
	clock_gettime(CLOCK_REALTIME, &now);
	assert_true(now.tv_sec >= end);
	/* Half a second by the clock; the machine may have other things to do. */
	assert_true(now.tv_sec < end + 3);
	assert_int_equal(size_of(w, q, "/half.bak"), 1000);
	p = come_from(w, 2);
	assert_int_equal(log_in_with(w, p, TALK_KEY, "BBB"), 3);
}

/* Both turn for ever and ignore the kernel's signal; one has told of bytes, which are worth ten seconds. */
static void
cpu_must_be_worth_its_bytes(void **state)
{
	enum { MUCH = 200 * 1000 * 1000 };
	struct world *w = *state;
	struct played *honest, *hostile, *other;
	struct opened x;

	w->config.receiver.session_cpu_seconds = 1;
	write_keys(w, "");
	assert_int_equal(system(talloc_asprintf(w, "sed -i 's/%d/%d/' %s/keys.json", QUOTA, 2 * MUCH, w->spool)), 0);
	restart(w);
	honest = log_in(w);
	x = open_it(w, honest, "/big.bak", WRITE | CREAT);
	assert_int_equal(ftruncate(x.fd, MUCH), 0);
	progress(w, honest, &x, MUCH);
	assert_int_equal(size_of(w, honest, "/big.bak"), MUCH);
	hostile = log_in(w);
	other = log_in(w);
	kill(honest->pid, SIGUSR1);
	kill(hostile->pid, SIGUSR1);
	/* One second of CPU can take long on a machine that has other things to do. */
	for (int i = 0; i < 9 && is_quiet(hostile, PATIENCE_MS); i++)
		;
	assert_false(hear(hostile));
	is_gone(hostile->pid);
	assert_int_equal(size_of(w, honest, "/big.bak"), MUCH);
	assert_int_equal(size_of(w, other, "/big.bak"), MUCH);
	assert_int_equal(kill(honest->pid, SIGKILL), 0);
}

/* ---- the end ------------------------------------------------------------------------------------------------------------------------ */

static void
hears_end(struct played *p)
{
	assert_true(hear(p));
	assert_int_equal(p->frame.type, TALK_END);
}

static void
ended_well(struct world *w)
{
	int status = -1;

	assert_int_equal(waitpid(w->warden, &status, 0), w->warden);
	assert_int_equal(status, 0);
	close(w->spawner);
}

static void
the_end_waits_for_open_uploads(void **state)
{
	struct world *w = *state;
	struct played *p = log_in(w), *idle = log_in(w);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)w->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct opened x = start_upload(w, p, "/late.bak", w->whole.mem, w->whole.len);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	kill(w->warden, SIGTERM);
	hears_end(idle);
	leave(idle);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_true(is_quiet(p, 300));
	assert_int_equal(close_it(w, p, &x, TALK_WHOLE, w->whole.len, w->whole.sha256, whole_facts), OK);
	hears_end(p);
	leave(p);
	ended_well(w);
	start_warden(w);
	assert_int_equal(size_of(w, log_in(w), "/late.bak"), w->whole.len);
	assert_int_equal(journal_lines(w, "\"arrived\""), 1);
}

/* At the limit, or when it is asked a second time. */
static void
the_end_does_not_wait_for_ever(void **state)
{
	struct world *w = *state;
	struct played *p;
	struct opened x;
	struct timespec from, to;

	for (int twice = 0; twice < 2; twice++) {
		w->config.receiver.drain_seconds = twice ? 1000 : 2;
		restart(w);
		p = log_in(w);
		x = start_upload(w, p, talloc_asprintf(w, "/%d.bak", twice), w->whole.mem, 5000);
		clock_gettime(CLOCK_MONOTONIC, &from);
		kill(w->warden, SIGTERM);
		assert_true(is_quiet(p, 500));
		if (twice)
			kill(w->warden, SIGTERM);
		hears_end(p);
		clock_gettime(CLOCK_MONOTONIC, &to);
		assert_true(twice || to.tv_sec - from.tv_sec >= 1);
		assert_int_equal(close_it(w, p, &x, TALK_PARTIAL, 5000, "", "{}"), OK);
		leave(p);
		ended_well(w);
		start_warden(w);
		assert_int_equal(size_of(w, log_in(w), talloc_asprintf(w, "/%d.bak", twice)), 5000);
	}
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)
		TEST(what_was_acknowledged_is_there_after_a_kill), TEST(a_hole_is_cut_off_after_a_kill), TEST(a_torn_journal_is_no_reason_not_to_start),
		TEST(what_nobody_closed_is_read_again_and_arrives_if_whole), TEST(a_reader_is_nobody),
		TEST(a_client_that_resumes_does_not_wait_for_a_reader),
		TEST(what_a_lost_session_left_whole_arrives), TEST(what_a_lost_session_left_is_nothing_else),
		TEST(what_was_written_over_an_older_one_is_not_read), TEST(readers_wait_for_one_another), TEST(odd_facts_hurt_nobody),
		TEST(a_file_that_is_still_held_does_not_arrive), TEST(a_session_that_lets_go_of_the_warden_is_killed),
		TEST(lies_about_sizes_do_not_help), TEST(uploads_at_once_share_the_quota), TEST(files_are_counted_but_may_be_resumed),
		TEST(the_readme_quotes_the_database), TEST(no_backup_gets_a_backups_name_by_a_rename), TEST(a_manifest_may_come_under_a_temporary_name),
		TEST(a_name_that_is_opened_anew_leaves_the_old_handle_behind), TEST(a_new_version_that_cannot_be_begun_leaves_the_old_one),
		TEST(a_name_always_belongs_to_one_file), TEST(a_sidecar_is_compared_whichever_comes_first),
		TEST(an_md5_is_taken_when_it_is_asked_for), TEST(odd_promises_are_none), TEST(other_files_count_when_nothing_more_came),
		TEST(a_look_after_the_close_or_a_rename_says_it_went_well), TEST(a_settle_time_outlives_the_receiver),
		TEST(a_network_has_its_share_before_log_in), TEST(who_has_most_gives_way_when_all_places_are_taken),
		TEST(failed_log_ins_shut_an_address_out), TEST(who_says_nothing_pays_nothing), TEST(a_migration_has_so_many_sessions),
		TEST(a_clients_address_is_its_balancers_word), TEST(a_session_says_once_and_first_whom_it_is_for),
		TEST(a_key_that_expires_ends_its_session), TEST(cpu_must_be_worth_its_bytes), TEST(the_end_waits_for_open_uploads),
		TEST(the_end_does_not_wait_for_ever),
	};

	if (argc > 2 && strcmp(argv[1], "--spawner") == 0)
		play_spawner(argv[2]);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
