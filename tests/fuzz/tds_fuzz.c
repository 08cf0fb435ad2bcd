#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "tests/fuzz/fuzz.h"
#include "tests/standin/tds_login.h"
#include "tests/standin/tds_packet.h"
#include "tests/standin/tds_request.h"

/*
 * What a client of the stand-in sends: packets, put together to messages, and what each message says. The first
 * byte chooses the pieces, the second the protocol version; the same must come out of one piece. What was
 * understood is also written back, as the server writes it.
 */

static uint64_t
sum_up(uint64_t sum, const void *mem, size_t len)
{
	const uint8_t *p = mem;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ p[i]) * UINT64_C(1099511628211);
	return (sum ^ len) * UINT64_C(1099511628211);
}

static uint64_t
sum_text(uint64_t sum, const char *s)
{
	if (s == NULL)
		fuzz_broken("a text that is not there");
	return sum_up(sum, s, strlen(s));
}

static uint64_t
sum_value(uint64_t sum, const struct tds_param *p, struct tds_buf *out)
{
	const struct tds_value *v = &p->value;
	struct err err = { 0 };
	size_t before = out->len;

	sum = sum_text(sum, p->name);
	sum = sum_up(sum, &v->shape, sizeof(v->shape));
	if (v->shape == TDS_WHOLE)
		sum = sum_up(sum, &v->whole, sizeof(v->whole));
	if (v->shape == TDS_REAL)
		sum = sum_up(sum, &v->real, sizeof(v->real));
	if (v->shape == TDS_TEXT || v->shape == TDS_BYTES)
		sum = sum_up(sum, v->mem, v->len);
	if (!tds_put_value(out, p->type, *v, &err))
		out->len = before;
	return out->len == before ? sum : sum_up(sum, out->mem + before, out->len - before);
}

static uint64_t
sum_call(uint64_t sum, const struct tds_message *m, uint32_t version, TALLOC_CTX *mem)
{
	struct tds_buf *out = tds_buf_new(mem);
	struct tds_call call;
	struct err err = { 0 };

	if (!tds_call_parse(m->mem, m->len, version, mem, &call, &err))
		return sum_text(sum, err.text);
	if (call.n_params > TDS_PARAMS_MAX)
		fuzz_broken("%zu parameters", call.n_params);
	sum = sum_text(sum, call.name);
	sum = sum_text(sum, tds_proc_name(call.number));
	for (size_t i = 0; i < call.n_params; i++)
		sum = sum_value(sum, &call.params[i], out);
	return sum;
}

static uint64_t
sum_login(uint64_t sum, const struct tds_message *m, TALLOC_CTX *mem)
{
	struct tds_buf *out = tds_buf_new(mem);
	struct tds_login l;
	struct err err = { 0 };

	if (!tds_login_parse(m->mem, m->len, mem, &l, &err))
		return sum_text(sum, err.text);
	if (l.packet_size < TDS_PACKET_MIN || l.packet_size > TDS_PACKET_MAX || l.version < TDS_7_1 || l.version > TDS_7_4)
		fuzz_broken("packets of %u, version 0x%08x", l.packet_size, l.version);
	const char *const texts[] = { l.host, l.user, l.password, l.application, l.server, l.interface, l.database };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		sum = sum_text(sum, texts[i]);
	tds_login_reply(out, &l, "server", l.database, 15, 4430, l.host, 1433);
	return sum_up(sum, out->mem, out->len);
}

static uint64_t
sum_prelogin(uint64_t sum, const struct tds_message *m, TALLOC_CTX *mem)
{
	struct tds_buf *out = tds_buf_new(mem);
	struct tds_prelogin p, again;
	enum tds_cover cover;
	struct err err = { 0 };
	uint8_t said;

	if (!tds_prelogin_parse(m->mem, m->len, &p, &err))
		return sum_text(sum, err.text);
	for (int policy = TDS_POLICY_NONE; policy <= TDS_POLICY_REQUIRED; policy++) {
		said = tds_encryption_answer((enum tds_policy)policy, p.encryption, &cover);
		if (policy == TDS_POLICY_REQUIRED && cover != TDS_COVER_ALL && cover != TDS_COVER_NEVER)
			fuzz_broken("a wish of %u leads past TLS", p.encryption);
		tds_buf_clear(out);
		tds_prelogin_reply(out, &p, said, 15, 4430);
		/* Our answer is a PRELOGIN like any other. */
		if (!tds_prelogin_parse(out->mem, out->len, &again, &err) || again.encryption != said)
			fuzz_broken("our answer is none: %s", err.text);
		sum = sum_up(sum, out->mem, out->len);
	}
	return sum;
}

static uint64_t
sum_message(uint64_t sum, const struct tds_message *m, uint32_t version)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct tds_transaction t = { 0 };
	struct err err = { 0 };
	char *text;

	if (m->len > TDS_MESSAGE_MAX)
		fuzz_broken("a message of %zu bytes", m->len);
	sum = sum_up(sum, m->mem, m->len);
	sum = sum_up(sum, (uint8_t[]){ m->type, m->reset, m->reset_keeps_transaction, m->ignore }, 4);
	if (m->type == TDS_PRELOGIN) {
		sum = sum_prelogin(sum, m, mem);
	} else if (m->type == TDS_LOGIN7) {
		sum = sum_login(sum, m, mem);
	} else if (m->type == TDS_RPC) {
		sum = sum_call(sum, m, version, mem);
	} else if (m->type == TDS_TRANSACTION) {
		sum = tds_transaction_parse(m->mem, m->len, version, &t, &err) ? sum_up(sum, (int[]){ t.request, t.begins_next }, 2 * sizeof(int))
		                                                                 : sum_text(sum, err.text);
	} else if (m->type == TDS_BATCH) {
		sum = sum_text(sum, tds_batch_parse(m->mem, m->len, version, mem, &text, &err) ? text : err.text);
	}
	talloc_free(mem);
	return sum;
}

static uint64_t
converse(const uint8_t *mem, size_t len, size_t size, uint32_t version)
{
	struct tds_reader *r = tds_reader_new(NULL);
	enum tds_next next = TDS_NEXT_MORE;
	struct tds_message m;
	struct err err = { 0 };
	const uint8_t *rest;
	uint64_t sum = 0;

	for (size_t at = 0; at < len && next != TDS_NEXT_BROKEN;) {
		size_t n = size > len - at ? len - at : size;

		tds_reader_feed(r, mem + at, n);
		at += n;
		while ((next = tds_reader_next(r, &m, &err)) == TDS_NEXT_MESSAGE)
			sum = sum_message(sum, &m, version);
		if (next == TDS_NEXT_MORE && tds_reader_rest(r, &rest) > UINT16_MAX)
			fuzz_broken("%zu bytes wait for one packet", tds_reader_rest(r, &rest));
	}
	talloc_free(r);
	return next == TDS_NEXT_BROKEN ? sum_text(sum, err.text) : sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *mem, size_t len)
{
	static const uint32_t versions[] = { TDS_7_1, TDS_7_2, TDS_7_3, TDS_7_4 };
	uint32_t version;

	if (len < 3)
		return 0;
	version = versions[mem[1] % 4];
	if (converse(mem + 2, len - 2, 1u + mem[0], version) != converse(mem + 2, len - 2, len, version))
		fuzz_broken("something else in pieces of %u", 1u + mem[0]);
	return 0;
}

/* ---- seeds ------------------------------------------------------------------------------------------------------ */

struct seeds {
	const struct fuzz_taker *taker;
	struct tds_buf *all; /* one after the other */
};

static void
give(struct seeds *s, const char *name, uint8_t type, const struct tds_buf *payload, size_t packet, uint8_t piece, uint8_t version)
{
	struct tds_buf *one = tds_buf_new(s->all);
	uint8_t number = 1;

	tds_put_u8(one, piece);
	tds_put_u8(one, version);
	tds_packets_put(one, type, payload->mem, payload->len, packet, 0, &number, true);
	s->taker->take(s->taker->ctx, name, one->mem, one->len);
	tds_put(s->all, one->mem + 2, one->len - 2);
	talloc_free(one);
}

static void
put_utf16(struct tds_buf *b, const char *s)
{
	for (; *s != '\0'; s++)
		tds_put_u16(b, (uint8_t)*s);
}

static void
seed_prelogin(struct seeds *s, struct tds_buf *b)
{
	static const uint8_t prelogin[] = "\0\0\x1A\0\6\1\0\x20\0\1\2\0\x21\0\1\3\0\x22\0\4\4\0\x26\0\1\xFF\x0F\0\x11\x4E\0\0\1\0\1\2\3\4\0";

	tds_put(b, prelogin, sizeof(prelogin) - 1);
	give(s, "prelogin", TDS_PRELOGIN, b, 4096, 3, 3);
}

/* {offset, characters} pairs after the fixed part, then the texts, then a list of two features. */
static void
seed_login(struct seeds *s, struct tds_buf *b)
{
	static const char *const texts[] = { "host", "sa", "\xA6\xB2", "app", "srv", NULL, "lib", "us_english", "master" };
	size_t at = 94, extension = 94;

	for (size_t i = 0; i < 9; i++)
		extension += texts[i] == NULL ? 0 : 2 * strlen(texts[i]);
	tds_put_u32(b, 0);
	tds_put_u32(b, TDS_7_4);
	tds_put_u32(b, 8000);
	for (int i = 0; i < 3; i++)
		tds_put_u32(b, 7);
	tds_put_u32(b, 0x10200000u | 0x03E0u);
	tds_put_u32(b, 0);
	tds_put_u32(b, 0x409);
	for (size_t i = 0; i < 9; i++) {
		size_t n = texts[i] == NULL ? 0 : strlen(texts[i]);

		tds_put_u16(b, (unsigned)(texts[i] == NULL ? extension : at));
		tds_put_u16(b, (unsigned)(texts[i] == NULL ? 4 : n));
		at += 2 * n;
	}
	for (int i = 0; i < 22; i++)
		tds_put_u8(b, 0);
	for (size_t i = 0; i < 9; i++)
		put_utf16(b, texts[i] == NULL ? "" : texts[i]);
	tds_put_u32(b, (uint32_t)extension + 4);
	tds_put(b, "\x01\0\0\0\0\x0A\1\0\0\0\1\xFF", 12);
	tds_patch_u16(b, 0, (unsigned)b->len);
	give(s, "login", TDS_LOGIN7, b, 4096, 10, 3);
}

static void
put_headers(struct tds_buf *b)
{
	tds_put(b, "\x16\0\0\0\x12\0\0\0\2\0\0\0\0\0\0\0\0\0\1\0\0\0", 22);
}

static void
put_text_param(struct tds_buf *b, const char *name, const char *text)
{
	tds_put_b_varchar(b, name);
	tds_put_u8(b, 0);
	tds_put_type_info(b, (struct tds_type){ TDS_NVARCHAR, 4000, 0, 0 });
	tds_put_u16(b, (unsigned)(2 * strlen(text)));
	put_utf16(b, text);
}

static void
seed_call(struct seeds *s, struct tds_buf *b)
{
	static const struct { struct tds_type type; const char *value; } values[] = {
		{ { TDS_INTEGER, 4, 0, 0 }, "7" }, { { TDS_INTEGER, 8, 0, 0 }, "-9" }, { { TDS_BIT, 1, 0, 0 }, "1" },
		{ { TDS_NUMERIC, 0, 25, 0 }, "37000000024000001" }, { { TDS_FLOAT, 8, 0, 0 }, "1.5" }, { { TDS_DATETIME, 8, 0, 3 }, "2024-01-02 03:04:05" },
		{ { TDS_DATETIME2, 0, 0, 7 }, "2024-01-02 03:04:05.1234567" }, { { TDS_DATE, 3, 0, 0 }, "2024-01-02" },
		{ { TDS_GUID, 16, 0, 0 }, "6f9619ff-8b86-d011-b42d-00c04fc964ff" }, { { TDS_NVARCHAR, TDS_MAX_SIZE, 0, 0 }, "long" },
		{ { TDS_VARBINARY, 8, 0, 0 }, "bytes" },
	};
	struct err err = { 0 };

	put_headers(b);
	tds_put_u16(b, 0xFFFF);
	tds_put_u16(b, TDS_PROC_EXECUTESQL);
	tds_put_u16(b, 0);
	put_text_param(b, "", "SELECT @a");
	put_text_param(b, "", "@a int");
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		tds_put_b_varchar(b, "@a");
		tds_put_u8(b, i % 2);
		tds_put_type_info(b, values[i].type);
		tds_put_value(b, values[i].type, tds_text(values[i].value), &err);
		tds_put_b_varchar(b, "");
		tds_put_u8(b, 0);
		tds_put_type_info(b, values[i].type);
		tds_put_value(b, values[i].type, (struct tds_value){ .shape = TDS_NULL }, &err);
	}
	give(s, "call", TDS_RPC, b, 512, 100, 3);
}

static void
seed_batch(struct seeds *s, struct tds_buf *b)
{
	put_headers(b);
	put_utf16(b, "SELECT 1 -- a batch that is longer than one of its packets\r\n");
	give(s, "batch", TDS_BATCH, b, 64, 1, 2);
}

static void
seed_batch_of_7_1(struct seeds *s, struct tds_buf *b)
{
	put_utf16(b, "SELECT @@MAX_PRECISION");
	give(s, "batch-7.1", TDS_BATCH, b, 4096, 8, 0);
}

static void
seed_transaction(struct seeds *s, struct tds_buf *b)
{
	put_headers(b);
	tds_put(b, "\7\0\2a\0\1", 6);
	give(s, "transaction", TDS_TRANSACTION, b, 4096, 5, 3);
}

static void
seed_attention(struct seeds *s, struct tds_buf *b)
{
	give(s, "attention", TDS_ATTENTION, b, 4096, 2, 3);
}

void
fuzz_seeds(const struct fuzz_taker *taker)
{
	static void (*const makers[])(struct seeds *s, struct tds_buf *b) = {
		seed_prelogin, seed_login, seed_call, seed_batch, seed_batch_of_7_1, seed_transaction, seed_attention,
	};
	struct seeds s = { taker, tds_buf_new(NULL) };

	tds_put(s.all, "\6\3", 2);
	for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
		struct tds_buf *b = tds_buf_new(s.all);

		makers[i](&s, b);
		talloc_free(b);
	}
	taker->take(taker->ctx, "conversation", s.all->mem, s.all->len);
	talloc_free(s.all);
}
