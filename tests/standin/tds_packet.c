#include "tests/standin/tds_packet.h"

#include <string.h>

struct tds_reader {
	struct tds_buf *raw;      /* fed, not yet cut into packets */
	size_t taken;             /* of raw */
	struct tds_buf *message;  /* payloads of the packets so far */
	uint8_t type, status;
	bool within;              /* a message has begun */
	bool handed_out;          /* message belongs to the last answer and starts anew */
};

struct tds_reader *
tds_reader_new(TALLOC_CTX *parent)
{
	struct tds_reader *r = talloc_zero(parent, struct tds_reader);

	r->raw = tds_buf_new(r);
	r->message = tds_buf_new(r);
	return r;
}

void
tds_reader_feed(struct tds_reader *r, const void *mem, size_t len)
{
	if (r->taken > 0) {
		memmove(r->raw->mem, r->raw->mem + r->taken, r->raw->len - r->taken);
		r->raw->len -= r->taken;
		r->taken = 0;
	}
	tds_put(r->raw, mem, len);
}

static bool
known_type(uint8_t type)
{
	return type == TDS_BATCH || type == TDS_RPC || type == TDS_REPLY || type == TDS_ATTENTION ||
	       type == TDS_TRANSACTION || type == TDS_LOGIN7 || type == TDS_PRELOGIN || type == 0x07;
}

static bool
take_packet(struct tds_reader *r, const uint8_t *p, size_t len, struct err *err)
{
	if (!known_type(p[0]))
		return err_set(err, ERR_BROKEN, 0, "packet of unknown type 0x%02x", p[0]);
	if (r->within && p[0] != r->type)
		return err_set(err, ERR_BROKEN, 0, "packet of type 0x%02x within a message of type 0x%02x",
		               p[0], r->type);
	if (r->message->len + len > TDS_MESSAGE_MAX)
		return err_set(err, ERR_BROKEN, 0, "message longer than %d bytes", TDS_MESSAGE_MAX);
	r->status = r->within ? r->status | p[1] : p[1];
	r->type = p[0];
	r->within = (p[1] & TDS_STATUS_END) == 0;
	tds_put(r->message, p + TDS_HEADER, len - TDS_HEADER);
	return true;
}

enum tds_next
tds_reader_next(struct tds_reader *r, struct tds_message *out, struct err *err)
{
	if (r->handed_out) {
		tds_buf_clear(r->message);
		r->handed_out = false;
	}
	while (r->raw->len - r->taken >= TDS_HEADER) {
		const uint8_t *p = r->raw->mem + r->taken;
		size_t len = (size_t)p[2] << 8 | p[3];

		if (len < TDS_HEADER) {
			err_set(err, ERR_BROKEN, 0, "packet shorter than its header");
			return TDS_NEXT_BROKEN;
		}
		if (r->raw->len - r->taken < len)
			return TDS_NEXT_MORE;
		if (!take_packet(r, p, len, err))
			return TDS_NEXT_BROKEN;
		r->taken += len;
		if (r->within)
			continue;
		*out = (struct tds_message){
			.type = r->type,
			.reset = (r->status & (TDS_STATUS_RESET | TDS_STATUS_RESET_KEEP)) != 0,
			.reset_keeps_transaction = (r->status & TDS_STATUS_RESET_KEEP) != 0,
			.ignore = (r->status & TDS_STATUS_IGNORE) != 0,
			.mem = r->message->len == 0 ? (const uint8_t *)"" : r->message->mem,
			.len = r->message->len,
		};
		r->handed_out = true;
		return TDS_NEXT_MESSAGE;
	}
	return TDS_NEXT_MORE;
}

size_t
tds_reader_rest(struct tds_reader *r, const uint8_t **mem)
{
	*mem = r->raw->mem + r->taken;
	return r->raw->len - r->taken;
}

void
tds_packets_put(struct tds_buf *out, uint8_t type, const void *payload, size_t len, size_t packet_size,
                uint16_t spid, uint8_t *number, bool end)
{
	const uint8_t *p = payload;
	size_t room = packet_size - TDS_HEADER;

	do {
		size_t n = len < room ? len : room;

		tds_put_u8(out, type);
		tds_put_u8(out, end && n == len ? TDS_STATUS_END : 0);
		tds_put_u16be(out, (unsigned)(n + TDS_HEADER));
		tds_put_u16be(out, spid);
		tds_put_u8(out, (*number)++);
		tds_put_u8(out, 0);
		tds_put(out, p, n);
		p = p == NULL ? NULL : p + n;
		len -= n;
	} while (len > 0);
}
