#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "receiver/upload.h"
#include "tests/receiver/sample.h"

/* An upload as clients make it: whatever the order, the pauses and the accidents, what is said of it is true. */

enum { PIECE = 32768 };

static const struct talk_policy policy = { .newest_version = 904 };

struct world {
	TALLOC_CTX *mem;
	struct sample backup;
	int kept;            /* stays open when the upload closes its own */
	struct upload *u;
	struct err err;
	struct upload_end end;
};

static int
begin(void **state)
{
	struct world *w = talloc_zero(NULL, struct world);

	w->mem = w;
	w->kept = -1;
	w->backup = sample_make(w, 512, 904);
	*state = w;
	return 0;
}

static int
finish(void **state)
{
	struct world *w = *state;

	if (w->kept >= 0)
		close(w->kept);
	talloc_free(w);
	return 0;
}

static void
open_upload(struct world *w, const char *name, bool backup_name, uint64_t limit)
{
	struct talk_opened o = { .writable = true, .upload = 1, .limit = limit, .backup_name = backup_name };
	struct stat st;

	if (w->kept < 0)
		w->kept = memfd_create("upload", MFD_CLOEXEC);
	assert_int_equal(fstat(w->kept, &st), 0);
	o.size = (uint64_t)st.st_size;
	snprintf(o.name, sizeof(o.name), "%s", name);
	w->u = upload_new(w, dup(w->kept), &o, &policy);
}

static void
put(struct world *w, uint64_t from, uint64_t to)
{
	for (uint64_t at = from; at < to; at += PIECE)
		if (!upload_write(w->u, at, w->backup.mem + at, to - at < PIECE ? to - at : PIECE, &w->err))
			fail_msg("%s", w->err.text);
}

static void
end_as(struct world *w, const char *broken, enum talk_verdict verdict)
{
	if (!upload_close(w->u, w, broken, true, &w->end, &w->err))
		fail_msg("%s", w->err.text);
	if (w->end.verdict != verdict)
		fail_msg("verdict %d: %s", w->end.verdict, w->end.reason);
	assert_int_equal(upload_fd(w->u), -1);
}

static void
is_the_backup(struct world *w)
{
	assert_int_equal(w->end.bytes, w->backup.len);
	assert_string_equal(w->end.sha256, w->backup.sha256);
	assert_non_null(strstr(w->end.facts, "\"DatabaseName\":\"Sales\""));
}

static void
in_order_it_is_whole(void **state)
{
	struct world *w = *state;

	open_upload(w, "full.bak", true, UINT64_MAX);
	put(w, 0, w->backup.len);
	assert_int_equal(upload_solid(w->u), w->backup.len);
	end_as(w, NULL, TALK_WHOLE);
	is_the_backup(w);
}

static void
in_any_order_it_is_the_same(void **state)
{
	struct world *w = *state;
	size_t n = (w->backup.len + PIECE - 1) / PIECE, *order = talloc_array(w, size_t, n);

	for (unsigned seed = 1; seed < 8; seed++) {
		srand(seed);
		for (size_t i = 0; i < n; i++)
			order[i] = i;
		for (size_t i = n - 1; i > 0; i--) {
			size_t k = (size_t)rand() % (i + 1), t = order[i];

			order[i] = order[k];
			order[k] = t;
		}
		w->kept = -1;
		open_upload(w, "full.bak", true, UINT64_MAX);
		for (size_t i = 0; i < n; i++) {
			uint64_t from = order[i] * PIECE, to = from + PIECE < w->backup.len ? from + PIECE : w->backup.len;

			put(w, from, to);
			if (i % 7 == 0)
				upload_catch_up(w->u, false);
		}
		end_as(w, NULL, TALK_WHOLE);
		is_the_backup(w);
		close(w->kept);
		w->kept = -1;
	}
}

static void
resumed_it_is_the_same(void **state)
{
	struct world *w = *state;
	uint64_t half = w->backup.len / 2 + 77;

	open_upload(w, "full.bak", true, UINT64_MAX);
	put(w, 0, half);
	end_as(w, "the connection ended", TALK_PARTIAL);
	assert_int_equal(w->end.bytes, half);
	assert_string_equal(w->end.reason, "the connection ended");
	open_upload(w, "full.bak", true, UINT64_MAX);
	assert_int_equal(upload_size(w->u), half);
	put(w, half, w->backup.len);
	end_as(w, NULL, TALK_WHOLE);
	is_the_backup(w);
}

/* The connection ended, and no CLOSE came. Only a backup says itself that it is all there. */
static void
without_a_close_only_a_backups_own_end_counts(void **state)
{
	static const char manifest[] = "{\"schema\":\"landfall.manifest/1\",\"end\":true}";
	struct world *w = *state;
	const struct { const char *name; const void *mem; size_t len; enum talk_verdict verdict; } cases[] = {
		{ "full.bak", w->backup.mem, w->backup.len, TALK_WHOLE }, { "full.bak.part", w->backup.mem, w->backup.len, TALK_WHOLE },
		{ "full.2019", w->backup.mem, w->backup.len, TALK_WHOLE }, { "full.bak", w->backup.mem, w->backup.len - 1, TALK_PARTIAL },
		{ "full.bak", "TAP", 3, TALK_PARTIAL }, { "full.bak", "", 0, TALK_PARTIAL }, { "a.txt", "hello", 5, TALK_PARTIAL },
		{ "manifest.json", manifest, sizeof(manifest) - 1, TALK_PARTIAL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		w->kept = -1;
		open_upload(w, cases[i].name, true, UINT64_MAX);
		assert_true(upload_write(w->u, 0, cases[i].mem, cases[i].len, &w->err));
		assert_true(upload_close(w->u, w->mem, NULL, false, &w->end, &w->err));
		assert_int_equal(w->end.verdict, cases[i].verdict);
		assert_int_equal(w->end.bytes, cases[i].len);
		assert_string_equal(w->end.reason, cases[i].verdict == TALK_WHOLE ? "" : "the connection ended before the file was closed");
	}
	/* What broke otherwise stays broken. */
	w->kept = -1;
	open_upload(w, "full.bak", true, UINT64_MAX);
	put(w, 0, w->backup.len);
	assert_true(upload_close(w->u, w->mem, "it broke", false, &w->end, &w->err));
	assert_int_equal(w->end.verdict, TALK_PARTIAL);
}

/* As scp does: half of it is the new one, and it ends as a backup does. */
static void
written_over_an_older_one_it_needs_its_close(void **state)
{
	struct world *w = *state;

	for (int is_closed = 0; is_closed < 2; is_closed++) {
		w->kept = -1;
		open_upload(w, "full.bak", true, UINT64_MAX);
		put(w, 0, w->backup.len);
		end_as(w, NULL, TALK_WHOLE);
		open_upload(w, "full.bak", true, UINT64_MAX);
		put(w, 0, 10 * PIECE);
		assert_true(upload_close(w->u, w->mem, NULL, is_closed, &w->end, &w->err));
		assert_int_equal(w->end.verdict, is_closed ? TALK_WHOLE : TALK_PARTIAL);
	}
	/* Resumed at its end it is not. */
	w->kept = -1;
	open_upload(w, "full.bak", true, UINT64_MAX);
	put(w, 0, 10 * PIECE);
	end_as(w, "the connection ended", TALK_PARTIAL);
	open_upload(w, "full.bak", true, UINT64_MAX);
	put(w, 10 * PIECE, w->backup.len);
	assert_true(upload_close(w->u, w->mem, NULL, false, &w->end, &w->err));
	assert_int_equal(w->end.verdict, TALK_WHOLE);
	is_the_backup(w);
}

static void
a_hole_is_cut_off_and_said(void **state)
{
	struct world *w = *state;
	struct stat st;

	open_upload(w, "full.bak", true, UINT64_MAX);
	put(w, 0, 10 * PIECE);
	put(w, 11 * PIECE, w->backup.len);
	assert_int_equal(upload_solid(w->u), 10 * PIECE);
	assert_int_equal(upload_size(w->u), w->backup.len);
	end_as(w, NULL, TALK_PARTIAL);
	assert_int_equal(w->end.bytes, 10 * PIECE);
	assert_non_null(strstr(w->end.reason, "missing"));
	assert_int_equal(fstat(w->kept, &st), 0);
	assert_int_equal(st.st_size, 10 * PIECE);
}

static void
half_a_backup_is_partial_and_says_why(void **state)
{
	struct world *w = *state;

	open_upload(w, "full.bak", true, UINT64_MAX);
	put(w, 0, w->backup.len / 2);
	end_as(w, NULL, TALK_PARTIAL);
	assert_int_equal(w->end.bytes, w->backup.len / 2);
	assert_true(strlen(w->end.reason) > 10);
	assert_non_null(strstr(w->end.facts, "\"DatabaseName\":\"Sales\""));
}

static void
refused(struct world *w, const char *name, const char *bytes, size_t len, const char *why)
{
	char big[4096] = { 0 };

	w->kept = -1;
	memcpy(big, bytes, len);
	open_upload(w, name, true, UINT64_MAX);
	assert_false(upload_write(w->u, 0, big, sizeof(big), &w->err));
	assert_int_equal(w->err.kind, ERR_REFUSED);
	assert_non_null(strstr(w->err.text, why));
	/* It stays refused. */
	assert_false(upload_write(w->u, sizeof(big), big, sizeof(big), &w->err));
	assert_false(upload_truncate(w->u, 0, &w->err));
	assert_non_null(strstr(w->err.text, why));
	end_as(w, NULL, TALK_REFUSED);
	assert_non_null(strstr(w->end.reason, why));
	assert_non_null(strstr(w->end.reason, name));
	assert_non_null(strstr(w->end.facts, "\"findings\":[\"not-a-backup\"]"));
	close(w->kept);
	w->kept = -1;
}

static void
what_is_no_backup_is_refused_under_its_name(void **state)
{
	struct world *w = *state;

	refused(w, "full.bak", "PK\3\4", 4, "zip archive");
	refused(w, "full.bak", "\x1F\x8B", 2, "gzip");
	refused(w, "log.trn", "\1\2\3", 3, "this is no SQL Server backup");
	/* Too short to be sure before the end. */
	open_upload(w, "text.bak", true, UINT64_MAX);
	assert_true(upload_write(w->u, 0, "hello", 5, &w->err));
	end_as(w, NULL, TALK_REFUSED);
	assert_non_null(strstr(w->end.reason, "text file"));
	assert_non_null(strstr(w->end.facts, "\"findings\":[\"not-a-backup\"]"));
	assert_non_null(upload_reason(w->u));
}

static void
other_names_are_kept_and_backups_known_by_content(void **state)
{
	struct world *w = *state;

	open_upload(w, "notes.txt", false, UINT64_MAX);
	assert_true(upload_write(w->u, 0, "hello", 5, &w->err));
	end_as(w, NULL, TALK_OTHER);
	assert_int_equal(w->end.bytes, 5);
	close(w->kept);
	w->kept = -1;
	open_upload(w, "dump.dat", false, UINT64_MAX);
	put(w, 0, w->backup.len);
	end_as(w, NULL, TALK_WHOLE);
	is_the_backup(w);
}

static void
a_compressed_one_is_kept_as_partial(void **state)
{
	struct world *w = *state;
	char big[8192] = "MSSQLBAK\2";

	open_upload(w, "full.bak", true, UINT64_MAX);
	assert_true(upload_write(w->u, 0, big, sizeof(big), &w->err));
	end_as(w, NULL, TALK_PARTIAL);
	assert_int_equal(w->end.bytes, sizeof(big));
	assert_non_null(strstr(w->end.reason, "compressed"));
}

static void
newer_than_the_target_is_refused_at_once(void **state)
{
	struct world *w = *state;
	uint64_t at = 0;

	w->backup = sample_make(w, 512, 957);
	open_upload(w, "full.bak", true, UINT64_MAX);
	while (at < w->backup.len && upload_write(w->u, at, w->backup.mem + at, 4096, &w->err))
		at += 4096;
	assert_true(at < 256 * 1024);
	assert_non_null(strstr(w->err.text, "newer SQL Server"));
	end_as(w, NULL, TALK_REFUSED);
}

static void
the_quota_holds(void **state)
{
	struct world *w = *state;

	open_upload(w, "full.bak", true, 3 * PIECE);
	put(w, 0, 3 * PIECE);
	assert_false(upload_write(w->u, 3 * PIECE, "x", 1, &w->err));
	assert_non_null(strstr(w->err.text, "quota"));
	assert_false(upload_write(w->u, UINT64_MAX - 1, "xyz", 3, &w->err));
	end_as(w, NULL, TALK_REFUSED);
}

/* scp to a name that is there: no TRUNC, from 0, and a size at the end. */
static void
written_over_it_is_the_new_one(void **state)
{
	struct world *w = *state;
	struct sample other = sample_make(w, 1024, 904), mine = w->backup;

	w->backup = other;
	open_upload(w, "full.bak", true, UINT64_MAX);
	put(w, 0, other.len);
	end_as(w, "left", TALK_PARTIAL);
	w->backup = mine;
	open_upload(w, "full.bak", true, UINT64_MAX);
	upload_catch_up(w->u, false);
	for (uint64_t at = 0; at < mine.len; at += PIECE) {
		put(w, at, at + PIECE < mine.len ? at + PIECE : mine.len);
		upload_catch_up(w->u, false);
	}
	assert_true(upload_truncate(w->u, mine.len, &w->err));
	end_as(w, NULL, TALK_WHOLE);
	is_the_backup(w);
}

static void
truncated_it_begins_again(void **state)
{
	struct world *w = *state;

	open_upload(w, "full.bak", true, UINT64_MAX);
	put(w, 0, w->backup.len / 2);
	put(w, w->backup.len / 2 + PIECE, w->backup.len);
	assert_true(upload_truncate(w->u, 2 * PIECE, &w->err));
	assert_int_equal(upload_size(w->u), 2 * PIECE);
	put(w, 2 * PIECE, w->backup.len);
	end_as(w, NULL, TALK_WHOLE);
	is_the_backup(w);
}

static void
too_many_pieces_are_an_error_not_a_refusal(void **state)
{
	struct world *w = *state;
	unsigned n = 0;

	open_upload(w, "full.bak", true, UINT64_MAX);
	while (n < 10000 && upload_write(w->u, (n + 1) * UINT64_C(8192), w->backup.mem, 1, &w->err))
		n++;
	assert_int_equal(n, 4096);
	assert_null(upload_reason(w->u));
	end_as(w, w->err.text, TALK_PARTIAL);
	assert_int_equal(w->end.bytes, 0);
}

static void
a_revoked_one_takes_no_more(void **state)
{
	struct world *w = *state;

	open_upload(w, "full.bak", true, UINT64_MAX);
	put(w, 0, 3 * PIECE);
	upload_revoke(w->u, "resumed from another connection");
	assert_int_equal(upload_fd(w->u), -1);
	assert_int_equal(upload_solid(w->u), 3 * PIECE);
	assert_false(upload_write(w->u, 3 * PIECE, "x", 1, &w->err));
	assert_string_equal(w->err.text, "resumed from another connection");
	end_as(w, NULL, TALK_PARTIAL);
	assert_string_equal(w->end.reason, "resumed from another connection");
}

static void
manifest(struct world *w, const char *text, enum talk_verdict verdict)
{
	w->kept = -1;
	open_upload(w, "manifest.json", false, UINT64_MAX);
	assert_true(upload_write(w->u, 0, text, strlen(text), &w->err));
	end_as(w, NULL, verdict);
	close(w->kept);
	w->kept = -1;
}

static void
a_manifest_is_whole_when_it_says_its_end(void **state)
{
	struct world *w = *state;

	manifest(w, "{\"schema\":\"landfall.manifest/1\",\"tables\":[],\"end\":true}", TALK_MANIFEST);
	assert_non_null(strstr(w->end.facts, "landfall.manifest/1"));
	manifest(w, "{\"schema\":\"landfall.manifest/1\",\"tables\":[]}", TALK_PARTIAL);
	manifest(w, "{\"schema\":\"landfall.manifest/1\",\"tables\":[", TALK_PARTIAL);
	manifest(w, "{\"schema\":\"another\",\"end\":true}", TALK_PARTIAL);
	manifest(w, "{\"schema\":7,\"end\":true}", TALK_PARTIAL);
	manifest(w, "[1,2]", TALK_PARTIAL);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, finish)

/* ---- a disk that fails ---------------------------------------------------------------------------------------------- */

/* Linux says a failed write-back once per descriptor. These stand before the library's. */
static bool disk_fails;

static int
failed_once(long call, int fd)
{
	if (!disk_fails)
		return (int)syscall(call, fd);
	disk_fails = false;
	errno = EIO;
	return -1;
}

int
fsync(int fd)
{
	return failed_once(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
	return failed_once(SYS_fdatasync, fd);
}

static void
what_did_not_reach_the_disk_is_never_whole(void **state)
{
	struct world *w = *state;

	/* The client asks with fsync@openssh.com, is told, and closes all the same. */
	open_upload(w, "full.bak", true, UINT64_MAX);
	assert_true(upload_write(w->u, 0, w->backup.mem, w->backup.len, &w->err));
	disk_fails = true;
	assert_false(upload_sync(w->u, &w->err));
	assert_false(upload_close(w->u, w->mem, NULL, true, &w->end, &w->err));
	assert_int_equal(w->end.verdict, TALK_PARTIAL);
	assert_int_equal(w->end.bytes, 0);
}

static void
what_was_durable_before_stays_when_the_disk_fails(void **state)
{
	struct world *w = *state;
	const size_t half = w->backup.len / 2;

	open_upload(w, "full.bak", true, UINT64_MAX);
	assert_true(upload_write(w->u, 0, w->backup.mem, half, &w->err));
	assert_true(upload_close(w->u, w->mem, NULL, true, &w->end, &w->err));
	open_upload(w, "full.bak", true, UINT64_MAX);
	assert_true(upload_write(w->u, half, w->backup.mem + half, w->backup.len - half, &w->err));
	disk_fails = true;
	upload_revoke(w->u, "resumed from another connection");
	assert_int_equal(upload_solid(w->u), half);
	assert_int_equal(lseek(w->kept, 0, SEEK_END), half);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(in_order_it_is_whole), CASE(in_any_order_it_is_the_same), CASE(resumed_it_is_the_same),
		CASE(without_a_close_only_a_backups_own_end_counts), CASE(written_over_an_older_one_it_needs_its_close), CASE(a_hole_is_cut_off_and_said),
		CASE(half_a_backup_is_partial_and_says_why), CASE(what_is_no_backup_is_refused_under_its_name),
		CASE(other_names_are_kept_and_backups_known_by_content), CASE(a_compressed_one_is_kept_as_partial),
		CASE(newer_than_the_target_is_refused_at_once), CASE(the_quota_holds), CASE(written_over_it_is_the_new_one),
		CASE(truncated_it_begins_again), CASE(too_many_pieces_are_an_error_not_a_refusal), CASE(a_revoked_one_takes_no_more),
		CASE(a_manifest_is_whole_when_it_says_its_end), CASE(what_did_not_reach_the_disk_is_never_whole),
		CASE(what_was_durable_before_stays_when_the_disk_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
