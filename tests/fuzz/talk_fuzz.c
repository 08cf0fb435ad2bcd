#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <talloc.h>

#include "receiver/talk.h"
#include "tests/fuzz/fuzz.h"

/*
 * What a session that was taken over may send to the warden: the first byte chooses how the fields are read, the
 * rest is one datagram.
 */

static void
check_text(struct bytes *b)
{
	struct bytes before = *b;
	uint32_t len = bytes_u32(&before);
	char *s = talk_take_text(b, NULL);

	if (s == NULL || strlen(s) > TALK_TEXT_MAX || strlen(s) != (b->short_of ? 0 : len))
		fuzz_broken("a text of %u bytes is one of %zu", len, s == NULL ? 0 : strlen(s));
	talloc_free(s);
}

static void
read_fields(struct bytes *b, unsigned how)
{
	struct talk_attrs attrs;
	struct talk_opened opened;
	struct talk_policy policy;

	for (; how > 0; how /= 6)
		switch (how % 6) {
		case 0: check_text(b); break;
		case 1: bytes_u64(b); break;
		case 2: bytes_u8(b); break;
		case 3: talk_take_attrs(b, &attrs); break;
		case 4:
			talk_take_opened(b, &opened);
			if (memchr(opened.name, '\0', sizeof(opened.name)) == NULL)
				fuzz_broken("a name without an end");
			break;
		default:
			talk_take_policy(b, &policy);
			if (memchr(policy.migration, '\0', sizeof(policy.migration)) == NULL || memchr(policy.database, '\0', sizeof(policy.database)) == NULL)
				fuzz_broken("a policy without an end");
			break;
		}
}

int
LLVMFuzzerTestOneInput(const uint8_t *mem, size_t len)
{
	static struct talk_frame frame;
	struct err err = { 0 };
	int pair[2], got;

	if (len < 2 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return 0;
	if (send(pair[0], mem + 1, len - 1, MSG_NOSIGNAL) == (ssize_t)(len - 1)) {
		got = talk_receive(pair[1], &frame, &err);
		if (got == 0 || (got < 0) != (len - 1 < 8 || len - 1 > TALK_FRAME_MAX))
			fuzz_broken("a datagram of %zu bytes gives %d", len - 1, got);
		if (got == 1)
			read_fields(&frame.body, mem[0]);
		if (got == 1 && frame.body.at > frame.body.len)
			fuzz_broken("read beyond the frame");
		talk_close_fds(&frame);
	}
	close(pair[0]);
	close(pair[1]);
	return 0;
}

static void
give(const struct fuzz_taker *taker, const char *name, unsigned how, const struct talk_out *out)
{
	static uint8_t input[1 + TALK_FRAME_MAX];

	input[0] = (uint8_t)how;
	memcpy(input + 1, out->mem, out->len);
	taker->take(taker->ctx, name, input, 1 + out->len);
}

void
fuzz_seeds(const struct fuzz_taker *taker)
{
	static struct talk_out out;
	const struct talk_opened opened = { .writable = true, .upload = 1, .size = 2, .limit = 3, .name = "a.bak" };
	const struct talk_policy policy = { .migration = "m-0001", .database = "Sales", .newest_version = 904 };
	const struct talk_attrs attrs = { 1, 0100644, 2 };

	talk_start(&out, TALK_KEY, 1);
	talk_text(&out, "m-0001");
	talk_text(&out, "ssh-ed25519");
	give(taker, "texts", 36, &out);
	talk_start(&out, TALK_REPLY, 2);
	talk_opened(&out, &opened);
	give(taker, "opened", 4, &out);
	talk_start(&out, TALK_REPLY, 3);
	talk_policy(&out, &policy);
	give(taker, "policy", 5, &out);
	talk_start(&out, TALK_REPLY, 4);
	talk_attrs(&out, &attrs);
	give(taker, "attributes", 3, &out);
	talk_start(&out, TALK_PROGRESS, 5);
	talk_u64(&out, 7);
	talk_text(&out, "");
	talk_u64(&out, 100);
	give(taker, "progress", 37, &out);
}
