/*
 * TDS packets: pieces of a stream put together into messages, and messages cut into packets.
 *
 * The reader is pushed bytes of any size and never blocks; the same bytes give the same messages however
 * they were split. A packet is an eight-byte header {type, status, length BE, spid BE, number, window}
 * and its payload; a message is every packet up to the one marked end of message.
 */
#ifndef LANDFALL_STANDIN_TDS_PACKET_H
#define LANDFALL_STANDIN_TDS_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"
#include "tests/standin/tds_value.h"

enum {
	TDS_BATCH = 0x01, TDS_RPC = 0x03, TDS_REPLY = 0x04, TDS_ATTENTION = 0x06, TDS_TRANSACTION = 0x0E,
	TDS_LOGIN7 = 0x10, TDS_PRELOGIN = 0x12,
	TDS_STATUS_END = 0x01, TDS_STATUS_IGNORE = 0x02, TDS_STATUS_RESET = 0x08,
	TDS_STATUS_RESET_KEEP = 0x10,
	TDS_HEADER = 8, TDS_PACKET_MIN = 512, TDS_PACKET_MAX = 32767, TDS_MESSAGE_MAX = 16 * 1024 * 1024,
};

struct tds_message {
	uint8_t type;
	bool reset;          /* the client wants its session as new before this runs */
	bool reset_keeps_transaction;
	bool ignore;         /* the client took the request back */
	const uint8_t *mem;  /* valid until the reader is used again */
	size_t len;
};

struct tds_reader;
struct tds_reader *tds_reader_new(TALLOC_CTX *parent);
void tds_reader_feed(struct tds_reader *reader, const void *mem, size_t len);

enum tds_next { TDS_NEXT_MESSAGE, TDS_NEXT_MORE, TDS_NEXT_BROKEN };
enum tds_next tds_reader_next(struct tds_reader *reader, struct tds_message *out, struct err *err);

/* Bytes fed but not yet part of a message: after the TLS handshake these are already TLS records. */
size_t tds_reader_rest(struct tds_reader *reader, const uint8_t **mem);

/*
 * Appends payload to out as packets of at most packet_size. number is the running packet number. With end
 * the last packet is marked end of message (an empty payload then gives one empty packet); without it the
 * last packet may be short, which is how a server lets a message be seen while the batch goes on.
 */
void tds_packets_put(struct tds_buf *out, uint8_t type, const void *payload, size_t len, size_t packet_size,
                     uint16_t spid, uint8_t *number, bool end);

#endif
