#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/bytes.h"
#include "receiver/sftp.h"

/* A conversation is written down by hand and must be understood in the same way however it was cut. */

struct wire { uint8_t mem[8192]; size_t len, begun; };

static void
u32(struct wire *w, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(w->mem + w->len, &v, 4);
	w->len += 4;
}

static void
u64(struct wire *w, uint64_t v)
{
	u32(w, (uint32_t)(v >> 32));
	u32(w, (uint32_t)v);
}

static void
text(struct wire *w, const char *s, size_t len)
{
	u32(w, (uint32_t)len);
	memcpy(w->mem + w->len, s, len);
	w->len += len;
}

#define TEXT(w, s) text(w, s, sizeof(s) - 1)

static void
begin(struct wire *w, uint8_t type, uint32_t id)
{
	w->begun = w->len;
	u32(w, 0);
	w->mem[w->len++] = type;
	u32(w, id);
}

static void
end(struct wire *w)
{
	uint32_t n = __builtin_bswap32((uint32_t)(w->len - w->begun - 4));

	memcpy(w->mem + w->begun, &n, 4);
}

static struct wire
conversation(void)
{
	struct wire w = { .len = 0 };

	begin(&w, SFTP_INIT, 6); end(&w);
	begin(&w, SFTP_EXTENDED, 1); TEXT(&w, "limits@openssh.com"); end(&w);
	begin(&w, SFTP_REALPATH, 2); TEXT(&w, "."); end(&w);
	begin(&w, SFTP_OPEN, 3); TEXT(&w, "/full.bak"); u32(&w, SFTP_WRITE_FLAG | SFTP_CREAT_FLAG | SFTP_TRUNC_FLAG);
	u32(&w, 1 | 2 | 4 | 8); u64(&w, 1234567890123); u64(&w, 0); u32(&w, 0100644); u32(&w, 11); u32(&w, 12); end(&w);
	begin(&w, SFTP_WRITE, 4); text(&w, "\0\1\2\3\4\5\6\7", 8); u64(&w, UINT64_C(5000000000)); TEXT(&w, "bytes\0of a backup"); end(&w);
	begin(&w, SFTP_FSETSTAT, 5); TEXT(&w, "handle"); u32(&w, 0x80000000u); u32(&w, 1); TEXT(&w, "acl@x"); TEXT(&w, "y"); end(&w);
	begin(&w, SFTP_CLOSE, 6); TEXT(&w, "handle"); end(&w);
	begin(&w, SFTP_RENAME, 7); TEXT(&w, "a.part"); TEXT(&w, "a"); end(&w);
	begin(&w, SFTP_EXTENDED, 8); TEXT(&w, "posix-rename@openssh.com"); TEXT(&w, "b"); TEXT(&w, "c"); end(&w);
	begin(&w, SFTP_EXTENDED, 9); TEXT(&w, "check-file-name"); u32(&w, 0xFFFFFFFF); end(&w);
	begin(&w, SFTP_EXTENDED, 10); TEXT(&w, "fsync@openssh.com"); TEXT(&w, "handle"); end(&w);
	begin(&w, SFTP_READ, 11); TEXT(&w, "h"); u64(&w, 7); u32(&w, 32768); end(&w);
	begin(&w, 77, 12); TEXT(&w, "what is that"); end(&w);
	begin(&w, SFTP_STAT, 13); TEXT(&w, ""); end(&w);
	return w;
}

static void
note(char *out, size_t size, const struct sftp_request *r)
{
	size_t at = strlen(out);

	snprintf(out + at, size - at, "%u#%u path=%.*s other=%.*s handle=%zu name=%.*s offset=%llu length=%u flags=%u data=%.*s size=%llu mode=%o "
	         "mtime=%u\n", r->type, r->id, (int)r->path.len, r->path.s, (int)r->other.len, r->other.s, r->handle.len, (int)r->name.len, r->name.s,
	         (unsigned long long)r->offset, r->length, r->flags, r->data == NULL ? 0 : 5, (const char *)r->data, (unsigned long long)r->attrs.size,
	         r->attrs.mode, r->attrs.mtime);
}

/* Pieces: the first of one size, the others of another. */
static void
hear(const struct wire *w, size_t first, size_t other, char *out, size_t size)
{
	struct sftp *p = sftp_new(NULL);
	struct sftp_request r;
	struct err err = { 0 };

	out[0] = '\0';
	for (size_t at = 0, n = first; at < w->len; at += n, n = other) {
		n = n > w->len - at ? w->len - at : n;
		sftp_push(p, w->mem + at, n);
		while (sftp_next(p, &r, &err) == 1)
			note(out, size, &r);
	}
	assert_int_equal(sftp_waiting(p), 0);
	talloc_free(p);
}

static void
the_same_requests_however_they_were_cut(void **state)
{
	struct wire w = conversation();
	char whole[8192], cut[8192];

	(void)state;
	hear(&w, w.len, 1, whole, sizeof(whole));
	assert_non_null(strstr(whole, "1#6 "));
	assert_non_null(strstr(whole, "3#3 path=/full.bak other= handle=0 name= offset=0 length=0 flags=26 data= size=1234567890123 mode=100644 mtime=12"));
	assert_non_null(strstr(whole, "6#4 path= other= handle=8 name= offset=5000000000 length=17 flags=0 data=bytes"));
	assert_non_null(strstr(whole, "18#7 path=a.part other=a "));
	assert_non_null(strstr(whole, "200#8 path=b other=c handle=0 name=posix-rename@openssh.com"));
	assert_non_null(strstr(whole, "200#9 path= other= handle=0 name=check-file-name"));
	assert_non_null(strstr(whole, "200#10 path= other= handle=6 name=fsync@openssh.com"));
	assert_non_null(strstr(whole, "77#12 "));
	for (size_t first = 1; first < w.len; first++) {
		hear(&w, first, w.len, cut, sizeof(cut));
		assert_string_equal(whole, cut);
	}
	for (size_t size = 1; size < 40; size++) {
		hear(&w, size, size, cut, sizeof(cut));
		assert_string_equal(whole, cut);
	}
}

static int
only(const struct wire *w, struct err *err)
{
	struct sftp *p = sftp_new(NULL);
	struct sftp_request r;
	int got;

	sftp_push(p, w->mem, w->len);
	got = sftp_next(p, &r, err);
	if (got < 0) { /* for good: also with better bytes behind */
		sftp_push(p, "\0\0\0\5\1\0\0\0\3", 9);
		assert_int_equal(sftp_next(p, &r, err), -1);
	}
	talloc_free(p);
	return got;
}

static void
a_wrong_length_ends_the_conversation(void **state)
{
	static const uint32_t lengths[] = { 0, 1, 4, SFTP_PACKET_MAX + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF };
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct wire w = { .len = 0 };

		u32(&w, lengths[i]);
		assert_int_equal(only(&w, &err), -1);
		assert_int_equal(err.kind, ERR_BROKEN);
	}
}

static void
a_field_longer_than_its_packet_ends_the_conversation(void **state)
{
	struct err err = { 0 };
	struct wire w = { .len = 0 };

	(void)state;
	begin(&w, SFTP_WRITE, 1); TEXT(&w, "h"); u64(&w, 0); u32(&w, 100); TEXT(&w, "short"); end(&w);
	assert_int_equal(only(&w, &err), -1);
	w.len = 0;
	begin(&w, SFTP_OPEN, 1); u32(&w, 0xFFFFFFF0); end(&w);
	assert_int_equal(only(&w, &err), -1);
	w.len = 0;
	begin(&w, SFTP_SETSTAT, 1); TEXT(&w, "x"); u32(&w, 0x80000000); u32(&w, 0xFFFFFFFF); end(&w);
	assert_int_equal(only(&w, &err), -1);
	w.len = 0;
	begin(&w, SFTP_EXTENDED, 1); TEXT(&w, "posix-rename@openssh.com"); TEXT(&w, "only one"); end(&w);
	assert_int_equal(only(&w, &err), -1);
}

/* Every cut of every packet and every changed byte: no answer but the three, and no bytes outside. */
static void
damaged_conversations_are_survived(void **state)
{
	struct wire w = conversation();
	struct sftp_request r;
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < w.len * 8; i++) {
		struct sftp *p = sftp_new(NULL);
		struct wire bad = w;

		bad.mem[i / 8] ^= (uint8_t)(1u << (i % 8));
		sftp_push(p, bad.mem, bad.len);
		for (int n = 0; n < 100 && sftp_next(p, &r, &err) == 1; n++) {
			const uint8_t *from = r.data;

			assert_true(from == NULL || r.length <= bad.len);
		}
		talloc_free(p);
	}
}

static void
answers_are_as_the_draft_says(void **state)
{
	struct sftp_out out = { 0 };
	struct sftp_attrs a = { .has_size = true, .size = 5, .has_mode = true, .mode = 0100644, .has_times = true, .atime = 1, .mtime = 2 };
	struct bytes b;

	(void)state;
	sftp_put_version(&out);
	assert_memory_equal(out.mem + 4, "\2\0\0\0\3\0\0\0\x18" "posix-rename@openssh.com\0\0\0\1" "1", 37);
	out.len = 0;
	sftp_put_status(&out, 9, SFTP_FAILURE, "no");
	assert_int_equal(out.len, 4 + 1 + 4 + 4 + 6 + 6);
	assert_memory_equal(out.mem, "\0\0\0\x15\x65\0\0\0\x09\0\0\0\4\0\0\0\2no\0\0\0\2en", 25);
	out.len = 0;
	memcpy(sftp_begin_data(&out, 7, 100), "abc", 3);
	sftp_end_data(&out, 3);
	assert_int_equal(out.len, 16);
	assert_memory_equal(out.mem, "\0\0\0\x0C\x67\0\0\0\7\0\0\0\3" "abc", 16);
	out.len = 0;
	sftp_begin_names(&out, 8);
	sftp_put_name(&out, "a", "-rw a", &a);
	sftp_put_name(&out, "b", "-rw b", &a);
	sftp_end_names(&out, 2);
	b = bytes_of(out.mem, out.len);
	assert_int_equal(bytes_u32be(&b), out.len - 4);
	bytes_take(&b, 5);
	assert_int_equal(bytes_u32be(&b), 2);
	talloc_free(out.mem);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_requests_however_they_were_cut),
		cmocka_unit_test(a_wrong_length_ends_the_conversation),
		cmocka_unit_test(a_field_longer_than_its_packet_ends_the_conversation),
		cmocka_unit_test(damaged_conversations_are_survived),
		cmocka_unit_test(answers_are_as_the_draft_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
