#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "receiver/sftp.h"
#include "tests/fuzz/fuzz.h"

/* What a client sends. The first byte chooses the pieces; the same requests must come out of one piece. */

static uint64_t
sum_up(uint64_t sum, const void *mem, size_t len)
{
	const uint8_t *p = mem;

	for (size_t i = 0; p != NULL && i < len; i++)
		sum = (sum ^ p[i]) * UINT64_C(1099511628211);
	return (sum ^ len) * UINT64_C(1099511628211);
}

static uint64_t
sum_request(uint64_t sum, const struct sftp_request *r)
{
	const struct sftp_text texts[] = { r->path, r->other, r->handle, r->name };
	const uint64_t numbers[] = { r->type, r->id, r->offset, r->flags, r->length, r->attrs.has_size, r->attrs.size, r->attrs.has_mode,
		r->attrs.mode, r->attrs.has_times, r->attrs.atime, r->attrs.mtime };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (texts[i].len > 0 && texts[i].s == NULL)
			fuzz_broken("a text of %zu bytes that are not there", texts[i].len);
		sum = sum_up(sum, texts[i].s, texts[i].len);
	}
	if (r->type == SFTP_WRITE && r->length > 0 && r->data == NULL)
		fuzz_broken("a WRITE of %u bytes that are not there", r->length);
	sum = sum_up(sum, numbers, sizeof(numbers));
	return sum_up(sum, r->data, r->data == NULL ? 0 : r->length);
}

/* An answer per request, so that the packets going out are built too. */
static void
answer(struct sftp_out *out, const struct sftp_request *r)
{
	out->len = 0;
	sftp_put_status(out, r->id, SFTP_FAILURE, "no");
	sftp_put_handle(out, r->id, "h", 1);
	sftp_put_attrs(out, r->id, &r->attrs);
}

static uint64_t
converse(const uint8_t *mem, size_t len, size_t size)
{
	struct sftp *s = sftp_new(NULL);
	struct sftp_out out = { 0 };
	struct sftp_request r;
	struct err err = { 0 };
	uint64_t sum = 0;
	int got = 0;

	for (size_t at = 0; at < len;) {
		size_t n = size > len - at ? len - at : size;

		sftp_push(s, mem + at, n);
		at += n;
		while ((got = sftp_next(s, &r, &err)) == 1) {
			sum = sum_request(sum, &r);
			answer(&out, &r);
		}
		if (got == 0 && sftp_waiting(s) > SFTP_PACKET_MAX + 4 + size)
			fuzz_broken("%zu bytes wait", sftp_waiting(s));
	}
	talloc_free(out.mem);
	talloc_free(s);
	return sum ^ (uint64_t)(got < 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *mem, size_t len)
{
	if (len > 1 && converse(mem + 1, len - 1, 1u + mem[0]) != converse(mem + 1, len - 1, len))
		fuzz_broken("other requests in pieces of %u", 1u + mem[0]);
	return 0;
}

static size_t
put32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
	return 4;
}

/* A packet of type and id, and n bytes of fields. */
static size_t
put_packet(uint8_t *p, unsigned type, uint32_t id, const char *fields, size_t n)
{
	size_t at = put32(p, (uint32_t)(5 + n));

	p[at++] = (uint8_t)type;
	at += put32(p + at, id);
	memcpy(p + at, fields, n);
	return at + n;
}

#define PACKET(type, fields) { type, fields, sizeof(fields) - 1 }

void
fuzz_seeds(const struct fuzz_taker *taker)
{
	static const struct { unsigned type; const char *fields; size_t n; } packets[] = {
		PACKET(SFTP_INIT, ""), PACKET(SFTP_REALPATH, "\0\0\0\1."), PACKET(SFTP_STAT, "\0\0\0\6/a.bak"), PACKET(SFTP_OPENDIR, "\0\0\0\1/"),
		PACKET(SFTP_OPEN, "\0\0\0\5a.bak\0\0\0\x1A\0\0\0\4\0\0\1\xA4"), PACKET(SFTP_WRITE, "\0\0\0\1h\0\0\0\0\0\0\0\7\0\0\0\5hello"),
		PACKET(SFTP_FSETSTAT, "\0\0\0\1h\x80\0\0\x0F\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\1\xA4\0\0\0\1\0\0\0\2\0\0\0\1\0\0\0\1a\0\0\0\1b"),
		PACKET(SFTP_READ, "\0\0\0\1h\0\0\0\0\0\0\0\0\0\0\x80\0"), PACKET(SFTP_CLOSE, "\0\0\0\1h"), PACKET(SFTP_RENAME, "\0\0\0\1a\0\0\0\1b"),
		PACKET(SFTP_EXTENDED, "\0\0\0\x18posix-rename@openssh.com\0\0\0\1a\0\0\0\1b"),
		PACKET(SFTP_EXTENDED, "\0\0\0\x11" "fsync@openssh.com\0\0\0\1h"),
	};
	uint8_t input[4096] = { 6 }, one[256];
	size_t at = 1;

	for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
		char name[32];
		size_t n = put_packet(one + 1, packets[i].type, (uint32_t)i, packets[i].fields, packets[i].n);

		one[0] = 2;
		snprintf(name, sizeof(name), "packet-%zu", i);
		taker->take(taker->ctx, name, one, 1 + n);
		memcpy(input + at, one + 1, n);
		at += n;
	}
	taker->take(taker->ctx, "conversation", input, at);
}
