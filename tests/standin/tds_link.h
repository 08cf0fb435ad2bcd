/*
 * One client's line: packets over a socket, and TLS inside them (the only door to OpenSSL).
 *
 * A link belongs to one thread, except tds_link_hang_up. Reading can be asked without waiting, which is
 * how a running statement notices that the client changed its mind or went away. TLS follows TDS 7: the
 * handshake travels inside PRELOGIN packets, afterwards whole packets travel inside TLS, and it is capped
 * at 1.2, because FreeTDS 1.3.17 hangs when 1.3 is negotiated inside PRELOGIN (its Finished stays unsent).
 */
#ifndef LANDFALL_STANDIN_TDS_LINK_H
#define LANDFALL_STANDIN_TDS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"
#include "tests/standin/tds_packet.h"

/* A server's certificate and key, shared by all links. */
struct tds_identity;
struct tds_identity *tds_identity_load(TALLOC_CTX *parent, const char *cert_file, const char *key_file,
                                       struct err *err);

struct tds_link;

/* Takes the socket over; it is closed when the link is freed. */
struct tds_link *tds_link_new(TALLOC_CTX *parent, int fd, uint16_t spid);

/* Shakes hands; the client's first flight may already have been read. From here on everything is in TLS. */
bool tds_link_encrypt(struct tds_link *link, struct tds_identity *identity, int timeout_ms, struct err *err);

/* Back to clear text in both directions: TLS covered the log-in alone. */
void tds_link_uncover(struct tds_link *link);

enum tds_got { TDS_GOT_MESSAGE, TDS_GOT_NOTHING, TDS_GOT_END };
/* timeout_ms 0 only looks, -1 waits for ever. TDS_GOT_END is final; err says why, empty when the client
 * simply hung up. */
enum tds_got tds_link_read(struct tds_link *link, int timeout_ms, struct tds_message *out, struct err *err);

void tds_link_set_packet_size(struct tds_link *link, size_t size);
/* At most this many bytes of payload in each packet we send; 0: as the packet size allows. */
void tds_link_set_split(struct tds_link *link, size_t bytes);
/* From here on nothing we send reaches the client, which is not told. */
void tds_link_mute(struct tds_link *link);
bool tds_link_is_mute(const struct tds_link *link);

/* Sends payload; with end the message is complete, without it the client sees it at once and waits on. */
bool tds_link_send(struct tds_link *link, uint8_t type, const void *payload, size_t len, bool end,
                   struct err *err);

/* Breaks the line from any thread: reads end, sends fail. The link itself stays until it is freed. */
void tds_link_hang_up(struct tds_link *link);

#endif
