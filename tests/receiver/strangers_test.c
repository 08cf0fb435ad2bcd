#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <talloc.h>

#include "receiver/keys.h"
#include "receiver/place.h"
#include "receiver/sftp.h"

/* Names and packets from strangers. */

static void
names_lead_nowhere_else(void **state)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "", "/" }, { ".", "/" }, { "/", "/" }, { "a", "/a" }, { "/a//b/./c", "/a/b/c" }, { "../../etc/passwd", "/etc/passwd" },
		{ "a/../../b", "/b" }, { "/a/..", "/" }, { "\xc2\xa0\xc3\x9f", "/\xc2\xa0\xc3\x9f" }, { "..", "/" }, { "a/b/../..", "/" },
	};
	static const char *const bad[] = { "a\nb", "a\\b", "\x7f", "a\x1b[2J", "\xff\xfe", "a\xc2\x9b" "2J", "\xc2\x80", "\xc2\x9f",
		"\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xe2\x82", "\xf4\x90\x80\x80", "a\xc2" };
	struct err err = { 0 };
	char longest[300];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(place_normal(NULL, cases[i].in, strlen(cases[i].in), &err), cases[i].out);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_null(place_normal(NULL, bad[i], strlen(bad[i]), &err));
	assert_null(place_normal(NULL, "a\0b", 3, &err));
	memset(longest, 'x', sizeof(longest));
	assert_null(place_normal(NULL, longest, 256, &err));
	assert_non_null(place_normal(NULL, longest, 255, &err));
}

static void
names_tell_what_they_promise(void **state)
{
	(void)state;
	assert_true(place_is_backup("x.BAK") && place_is_backup("x.trn.part") && place_is_backup("a.full~"));
	assert_false(place_is_backup("notes.txt") || place_is_backup(".bak"));
	assert_true(place_is_temporary("x.bak.filepart") && place_is_temporary(".x.bak") && place_is_temporary("x.bak~"));
	assert_false(place_is_temporary("x.bak"));
	assert_int_equal(place_kind("/STATUS.txt"), PLACE_STATUS);
	assert_int_equal(place_kind("/receipts/a.txt"), PLACE_RECEIPTS);
	assert_int_equal(place_kind("/receiptsx"), PLACE_DROP);
}

static size_t
put32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
	return 4;
}

/* INIT, OPEN, WRITE of 5 bytes, CLOSE. */
static size_t
conversation(uint8_t *p)
{
	size_t n = 0;

	n += put32(p + n, 5); p[n++] = SFTP_INIT; n += put32(p + n, 3);
	n += put32(p + n, 1 + 4 + 4 + 5 + 4 + 4); p[n++] = SFTP_OPEN; n += put32(p + n, 1); n += put32(p + n, 5); memcpy(p + n, "a.bak", 5); n += 5;
	n += put32(p + n, SFTP_WRITE_FLAG | SFTP_CREAT_FLAG); n += put32(p + n, 0);
	n += put32(p + n, 1 + 4 + 4 + 2 + 8 + 4 + 5); p[n++] = SFTP_WRITE; n += put32(p + n, 2); n += put32(p + n, 2); memcpy(p + n, "hh", 2); n += 2;
	n += put32(p + n, 0); n += put32(p + n, 7); n += put32(p + n, 5); memcpy(p + n, "hello", 5); n += 5;
	n += put32(p + n, 1 + 4 + 4 + 2); p[n++] = SFTP_CLOSE; n += put32(p + n, 3); n += put32(p + n, 2); memcpy(p + n, "hh", 2); n += 2;
	return n;
}

static char *
as_text(const uint8_t *mem, size_t len, size_t cut)
{
	struct sftp *s = sftp_new(NULL);
	char *text = talloc_strdup(NULL, "");
	struct sftp_request r;
	struct err err = { 0 };
	int got = 0;

	for (size_t i = 0; i < 2 && got >= 0; i++) {
		sftp_push(s, mem + (i == 0 ? 0 : cut), i == 0 ? cut : len - cut);
		while ((got = sftp_next(s, &r, &err)) == 1)
			text = talloc_asprintf_append(text, "%u:%u:%.*s:%llu:%u:%.*s|", r.type, r.id, (int)r.path.len, r.path.s == NULL ? "" : r.path.s,
				(unsigned long long)r.offset, r.length, r.data == NULL ? 0 : (int)r.length, r.data == NULL ? "" : (const char *)r.data);
	}
	text = talloc_asprintf_append(text, "%d", got);
	talloc_free(s);
	return text;
}

static void
every_cut_gives_the_same_requests(void **state)
{
	uint8_t mem[256];
	size_t len = conversation(mem);
	char *whole = as_text(mem, len, len);

	(void)state;
	assert_non_null(strstr(whole, "6:2::7:5:hello|"));
	for (size_t cut = 0; cut <= len; cut++)
		assert_string_equal(as_text(mem, len, cut), whole);
}

static void
hostile_packets_are_survived(void **state)
{
	uint8_t mem[256], copy[256];
	size_t len = conversation(mem);
	unsigned seed = getenv("SEED") == NULL ? 1 : (unsigned)strtoul(getenv("SEED"), NULL, 10);
	static const uint32_t lengths[] = { 0, 4, SFTP_PACKET_MAX + 1, UINT32_MAX, 0x80000000u };
	struct sftp_request r;
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct sftp *s = sftp_new(NULL);

		put32(copy, lengths[i]);
		sftp_push(s, copy, 4);
		assert_int_equal(sftp_next(s, &r, &err), -1);
		sftp_push(s, mem, len);
		assert_int_equal(sftp_next(s, &r, &err), -1); /* broken for good */
		talloc_free(s);
	}
	for (int i = 0; i < 20000; i++) {
		memcpy(copy, mem, len);
		for (int k = 0; k < 4; k++) {
			seed = seed * 1103515245u + 12345u;
			copy[(seed >> 8) % len] = (uint8_t)(seed >> 20);
		}
		talloc_free(as_text(copy, len, (seed >> 4) % len));
	}
}

static void
keys_are_let_in_by_the_rules(void **state)
{
	json_t *ring = json_loads("{\"migrations\":[{\"id\":\"m-0001\",\"database\":\"d\",\"quota_bytes\":10,\"quota_files\":2,\"newest_version\":904}],"
		"\"keys\":[{\"migration\":\"m-0001\",\"blob\":\"AAA\",\"from\":[],\"expires\":null},"
		"{\"migration\":\"m-0001\",\"blob\":\"BBB\",\"from\":[\"10.1.0.0/16\",\"2001:db8::/32\"],\"expires\":100}]}", 0, NULL);
	struct talk_policy policy;
	uint64_t bytes;
	int64_t until;
	unsigned files;

	(void)state;
	assert_true(keys_allow(ring, "m-0001", "AAA", "127.0.0.1", 50, NULL));
	assert_false(keys_allow(ring, "m-0002", "AAA", "127.0.0.1", 50, NULL));
	assert_false(keys_allow(ring, "m-0001", "AA", "127.0.0.1", 50, NULL));
	assert_true(keys_allow(ring, "m-0001", "BBB", "10.1.2.3", 50, NULL));
	assert_true(keys_allow(ring, "m-0001", "BBB", "2001:db8::7", 50, NULL));
	assert_false(keys_allow(ring, "m-0001", "BBB", "10.2.2.3", 50, NULL));
	assert_false(keys_allow(ring, "m-0001", "BBB", "10.1.2.3", 100, NULL));
	assert_true(keys_allow(ring, "m-0001", "BBB", "::ffff:10.1.2.3", 99, &until));
	assert_int_equal(until, 100);
	assert_true(keys_allow(ring, "m-0001", "AAA", "127.0.0.1", 50, &until));
	assert_true(until == INT64_MAX);
	assert_false(keys_allow(NULL, "m-0001", "AAA", "127.0.0.1", 50, NULL));
	assert_true(keys_policy(ring, "m-0001", &policy, &bytes, &files));
	assert_int_equal(policy.newest_version, 904);
	assert_false(keys_policy(ring, "m-1", &policy, &bytes, &files));
	json_decref(ring);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_lead_nowhere_else), cmocka_unit_test(names_tell_what_they_promise),
		cmocka_unit_test(every_cut_gives_the_same_requests), cmocka_unit_test(hostile_packets_are_survived),
		cmocka_unit_test(keys_are_let_in_by_the_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
