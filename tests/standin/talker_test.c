#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/standin/talker.h"

/* What a real server may send and the stand-in never does: the talker must read that too, and say when it cannot. */

enum { TDS_7_4 = 0x74000004 };

struct bytes_to_say { uint8_t mem[1024]; size_t len; };

static void
put(struct bytes_to_say *b, const char *hex)
{
	unsigned v;

	for (; sscanf(hex, "%2x", &v) == 1; hex += 2 + (hex[2] == ' '))
		b->mem[b->len++] = (uint8_t)v;
}

/* INFO (AB) or ERROR (AA), of a server and a procedure without names. */
static void
put_message(struct bytes_to_say *b, uint8_t token, uint32_t number, uint8_t state, uint8_t class, const char *text)
{
	size_t n = strlen(text), len = 4 + 2 + 2 + 2 * n + 2 + 4;
	uint8_t head[] = { token, (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)number, (uint8_t)(number >> 8), 0, 0, state, class, (uint8_t)n, 0 };

	memcpy(b->mem + b->len, head, sizeof(head));
	b->len += sizeof(head);
	for (size_t i = 0; i < n; i++) {
		b->mem[b->len++] = (uint8_t)text[i];
		b->mem[b->len++] = 0;
	}
	put(b, "00 00 01000000");
}

/* Sends that as one message and hears it. */
static struct talker *
hear(const struct bytes_to_say *b, FILE *raw)
{
	uint8_t header[8] = { 4, 1, (uint8_t)((b->len + 8) >> 8), (uint8_t)(b->len + 8), 0, 0, 1, 0 };
	struct talker *t;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(send(fd[0], header, sizeof(header), 0), sizeof(header));
	assert_int_equal(send(fd[0], b->mem, b->len, 0), (ssize_t)b->len);
	close(fd[0]);
	t = talker_new(NULL, fd[1], TDS_7_4);
	t->raw = raw;
	talker_read(t);
	return t;
}

static void
rows_may_leave_their_nulls_out(void **state)
{
	struct bytes_to_say b = { .len = 0 };
	struct talker *t;

	(void)state;
	put(&b, "81 0300 00000000 0000 38 01 6100 00000000 0100 E7 1400 0904D00034 01 6200 00000000 0100 26 08 01 6300");
	put(&b, "D2 02 07000000 08 0100000000000000");
	put(&b, "D1 08000000 0400 7800 7900 00");
	put(&b, "FD 1000 C100 0200000000000000");
	t = hear(&b, NULL);
	assert_string_equal(t->last, "cols a:38 b:e7 c:26 | row 7 null 1 | row 8 'xy' null | done 0010 193 2");
	assert_string_equal(t->tokens, "C3 R2 D16:193");
	assert_string_equal(t->names, "a int not null, b nvarchar(10), c bigint");
	assert_string_equal(t->rows, "7 null 1\n8 'xy' null\n");
	talloc_free(t);
}

static void
messages_about_the_session_are_no_answer(void **state)
{
	struct bytes_to_say b = { .len = 0 };
	struct talker *t;

	(void)state;
	put_message(&b, 0xAB, 5701, 2, 0, "Changed database context");
	put_message(&b, 0xAB, 3211, 1, 0, "50 percent");
	put_message(&b, 0xAB, 3211, 1, 10, "of another class");
	put_message(&b, 0xAA, 4305, 1, 16, "the cause");
	put_message(&b, 0xAA, 3013, 1, 16, "the end");
	put(&b, "FD 0200 EC00 0000000000000000");
	t = hear(&b, NULL);
	assert_string_equal(t->tokens, "I3211.1 I3211.1.10 E4305.1.16 E3013.1.16 D2:236");
	assert_string_equal(t->text, "the cause");
	talloc_free(t);
}

static void
what_cannot_be_read_is_broken(void **state)
{
	static const char *const messages[] = {
		"77 0000",                                       /* no such token */
		"FD 1000 C100",                                  /* cut off */
		"81 0100 00000000 0000 99 01 6100",              /* no such type */
		"81 0100 00000000 0100 E7 1400 0904D00034 01 6200 D1 0A00 7800", /* a value longer than the message */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		struct bytes_to_say b = { .len = 0 };
		struct talker *t;

		put(&b, messages[i]);
		t = hear(&b, NULL);
		if (strstr(t->tokens, "broken") == NULL || strstr(t->last, "broken") == NULL)
			fail_msg("%s: %s, %s", messages[i], t->tokens, t->last);
		talloc_free(t);
	}
}

/* A length that has no room for the header it stands in. */
static void
a_packet_shorter_than_its_header_ends_it(void **state)
{
	static const uint8_t packet[8] = { 4, 1, 0, 3, 0, 0, 1, 0 };
	struct talker *t;
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(send(fd[0], packet, sizeof(packet), 0), sizeof(packet));
	t = talker_new(NULL, fd[1], TDS_7_4);
	assert_string_equal(talker_read(t), "end");
	assert_string_equal(t->tokens, "end");
	close(fd[0]);
	talloc_free(t);
}

static void
the_transcript_has_every_byte(void **state)
{
	struct bytes_to_say b = { .len = 0 };
	char line[128] = "";
	FILE *raw = tmpfile();

	(void)state;
	assert_non_null(raw);
	put(&b, "FD 0000 E500 0000000000000000");
	talloc_free(hear(&b, raw));
	rewind(raw);
	assert_non_null(fgets(line, sizeof(line), raw));
	assert_string_equal(line, "0401001500000100fd0000e5000000000000000000\n");
	fclose(raw);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_may_leave_their_nulls_out),
		cmocka_unit_test(messages_about_the_session_are_no_answer),
		cmocka_unit_test(what_cannot_be_read_is_broken),
		cmocka_unit_test(a_packet_shorter_than_its_header_ends_it),
		cmocka_unit_test(the_transcript_has_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
