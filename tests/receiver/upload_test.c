#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "receiver/upload.h"

/* Bytes in any order, resumed, with holes, and what the policy refuses. */

static struct talk_policy policy;

static int
fresh_file(void)
{
	char path[] = "/tmp/landfall-upload-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	return fd;
}

static struct upload *
new_upload(const char *name, bool is_backup, int fd, uint64_t size)
{
	struct talk_opened o = { .writable = true, .upload = 1, .size = size, .limit = 1000, .backup_name = is_backup };

	strcpy(o.name, name);
	return upload_new(NULL, fd, &o, &policy);
}

static void
order_does_not_matter_to_the_digest(void **state)
{
	static const int orders[][3] = { { 0, 1, 2 }, { 2, 1, 0 }, { 1, 2, 0 }, { 1, 0, 2 } };
	static const char *const parts[] = { "abc", "defg", "hi" };
	static const uint64_t at[] = { 0, 3, 7 };
	struct upload_end end;
	struct err err = { 0 };
	char first[65] = "";

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct upload *u = new_upload("notes.txt", false, fresh_file(), 0);

		for (int k = 0; k < 3; k++)
			assert_true(upload_write(u, at[orders[i][k]], parts[orders[i][k]], strlen(parts[orders[i][k]]), &err));
		assert_int_equal(upload_size(u), 9);
		assert_true(upload_close(u, NULL, true, &end, &err));
		assert_int_equal(end.verdict, TALK_OTHER);
		assert_int_equal(end.bytes, 9);
		if (i == 0)
			strcpy(first, end.sha256);
		assert_string_equal(first, end.sha256);
		talloc_free(u);
	}
	/* printf abcdefghi | sha256sum */
	assert_string_equal(first, "19cc02f26df43cc571bc9ed7b0c4d29224a3ec229529221725ef76d021c8326f");
}

static void
a_hole_makes_it_partial_and_is_cut_off(void **state)
{
	int fd = fresh_file(), copy = dup(fd);
	struct upload *u = new_upload("a.bak", true, fd, 0);
	struct upload_end end;
	struct err err = { 0 };

	(void)state;
	assert_true(upload_write(u, 0, "TAPE", 4, &err));
	assert_true(upload_write(u, 10, "later", 5, &err));
	assert_int_equal(upload_solid(u), 4);
	assert_true(upload_close(u, NULL, true, &end, &err));
	assert_int_equal(end.verdict, TALK_PARTIAL);
	assert_int_equal(end.bytes, 4);
	assert_int_equal(lseek(copy, 0, SEEK_END), 4);
	close(copy);
	talloc_free(u);
}

static void
text_under_a_backups_name_is_refused_at_once(void **state)
{
	struct upload *u = new_upload("a.bak", true, fresh_file(), 0);
	struct upload_end end;
	struct err err = { 0 };
	char text[600];
	bool good;

	(void)state;
	memset(text, 'x', sizeof(text));
	good = upload_write(u, 0, text, sizeof(text), &err);
	assert_false(good && upload_write(u, 600, text, 10, &err));
	assert_non_null(strstr(err.text, "no SQL Server backup"));
	assert_true(upload_close(u, NULL, true, &end, &err));
	assert_int_equal(end.verdict, TALK_REFUSED);
	talloc_free(u);
}

static void
the_quota_is_kept(void **state)
{
	struct upload *u = new_upload("x.dat", false, fresh_file(), 0);
	struct err err = { 0 };

	(void)state;
	assert_true(upload_write(u, 990, "0123456789", 10, &err));
	assert_false(upload_write(u, 995, "0123456789", 10, &err));
	assert_false(upload_write(u, UINT64_MAX - 2, "0123456789", 10, &err));
	talloc_free(u);
}

static void
what_was_overwritten_is_digested_anew(void **state)
{
	struct upload *u = new_upload("x.dat", false, fresh_file(), 0);
	struct upload_end end;
	struct err err = { 0 };

	(void)state;
	assert_true(upload_write(u, 0, "XXXdefghi", 9, &err));
	assert_true(upload_write(u, 0, "abc", 3, &err));
	assert_true(upload_close(u, NULL, true, &end, &err));
	assert_string_equal(end.sha256, "19cc02f26df43cc571bc9ed7b0c4d29224a3ec229529221725ef76d021c8326f");
	talloc_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_does_not_matter_to_the_digest), cmocka_unit_test(a_hole_makes_it_partial_and_is_cut_off),
		cmocka_unit_test(text_under_a_backups_name_is_refused_at_once), cmocka_unit_test(the_quota_is_kept),
		cmocka_unit_test(what_was_overwritten_is_digested_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
