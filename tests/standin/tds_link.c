#include "tests/standin/tds_link.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "tests/standin/openssl_says.h"

enum { READ_PIECE = 16384, SEND_TIMEOUT_MS = 120 * 1000, DEFAULT_PACKET = 4096 };

struct tds_identity {
	SSL_CTX *ctx;
};

struct tds_link {
	int fd;
	uint16_t spid;
	uint8_t packet_number;
	size_t packet_size;
	size_t split;      /* 0, or bytes of payload per packet */
	bool mute;
	SSL *ssl;          /* NULL while in clear */
	BIO *from_client;  /* raw TLS in, owned by ssl */
	BIO *to_client;    /* raw TLS out, owned by ssl */
	struct tds_reader *reader;
	struct tds_buf *out;
	bool ended;
};

/* ---- identity ---------------------------------------------------------------------------- */

static int
identity_free(struct tds_identity *id)
{
	SSL_CTX_free(id->ctx);
	return 0;
}

struct tds_identity *
tds_identity_load(TALLOC_CTX *parent, const char *cert_file, const char *key_file, struct err *err)
{
	struct tds_identity *id = talloc_zero(parent, struct tds_identity);

	id->ctx = SSL_CTX_new(TLS_server_method());
	talloc_set_destructor(id, identity_free);
	SSL_CTX_set_min_proto_version(id->ctx, TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(id->ctx, TLS1_2_VERSION);
	SSL_CTX_set_session_cache_mode(id->ctx, SSL_SESS_CACHE_OFF);
	if (SSL_CTX_use_certificate_chain_file(id->ctx, cert_file) != 1)
		openssl_says(err, "TLS certificate", cert_file);
	else if (SSL_CTX_use_PrivateKey_file(id->ctx, key_file, SSL_FILETYPE_PEM) != 1 ||
	         SSL_CTX_check_private_key(id->ctx) != 1)
		openssl_says(err, "TLS key", key_file);
	else
		return id;
	talloc_free(id);
	return NULL;
}

/* ---- life -------------------------------------------------------------------------------- */

static int
link_free(struct tds_link *l)
{
	SSL_free(l->ssl);
	close(l->fd);
	return 0;
}

struct tds_link *
tds_link_new(TALLOC_CTX *parent, int fd, uint16_t spid)
{
	struct tds_link *l = talloc_zero(parent, struct tds_link);

	l->fd = fd;
	l->spid = spid;
	l->packet_size = DEFAULT_PACKET;
	l->packet_number = 1;
	l->reader = tds_reader_new(l);
	l->out = tds_buf_new(l);
	talloc_set_destructor(l, link_free);
	return l;
}

void
tds_link_set_packet_size(struct tds_link *l, size_t size)
{
	l->packet_size = size;
}

void
tds_link_set_split(struct tds_link *l, size_t bytes)
{
	l->split = bytes;
}

void
tds_link_mute(struct tds_link *l)
{
	l->mute = true;
}

bool
tds_link_is_mute(const struct tds_link *l)
{
	return l->mute;
}

void
tds_link_hang_up(struct tds_link *l)
{
	shutdown(l->fd, SHUT_RDWR);
}

/* ---- raw bytes --------------------------------------------------------------------------- */

static bool
send_all(struct tds_link *l, const uint8_t *mem, size_t len, struct err *err)
{
	while (len > 0) {
		struct pollfd p = { .fd = l->fd, .events = POLLOUT };
		ssize_t n = send(l->fd, mem, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			mem += n;
			len -= (size_t)n;
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			return err_errno(err, errno, "sending to the client");
		} else if (poll(&p, 1, SEND_TIMEOUT_MS) == 0) {
			return err_set(err, ERR_AGAIN, ETIMEDOUT, "the client does not read its answer");
		}
	}
	return true;
}

/* Sends what TLS has made ready; during the handshake wrapped in PRELOGIN packets. */
static bool
send_tls(struct tds_link *l, bool wrapped, struct err *err)
{
	char *mem;
	long len = BIO_get_mem_data(l->to_client, &mem);
	bool ok;

	if (len <= 0)
		return true;
	if (wrapped) {
		tds_buf_clear(l->out);
		tds_packets_put(l->out, TDS_PRELOGIN, mem, (size_t)len, l->packet_size, 0, &l->packet_number,
		                true);
		ok = send_all(l, l->out->mem, l->out->len, err);
	} else {
		ok = send_all(l, (const uint8_t *)mem, (size_t)len, err);
	}
	(void)BIO_reset(l->to_client);
	return ok;
}

static bool
broken_tls(struct err *err)
{
	openssl_says(err, "TLS", "with the client");
	err->kind = ERR_BROKEN;
	return false;
}

/* Moves what TLS can decrypt now to the reader. False when TLS is over. */
static bool
decrypt(struct tds_link *l, struct err *err)
{
	uint8_t plain[READ_PIECE];
	int n;

	while ((n = SSL_read(l->ssl, plain, sizeof(plain))) > 0)
		tds_reader_feed(l->reader, plain, (size_t)n);
	switch (SSL_get_error(l->ssl, n)) {
	case SSL_ERROR_WANT_READ:
		return send_tls(l, false, err);
	case SSL_ERROR_ZERO_RETURN:
		return false;
	default:
		return broken_tls(err);
	}
}

/* Reads what the socket has, waiting up to timeout_ms for its first byte. */
static enum tds_got
fill(struct tds_link *l, int timeout_ms, struct err *err)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	uint8_t raw[READ_PIECE];
	ssize_t n;
	int ready = poll(&p, 1, timeout_ms);

	if (ready == 0 || (ready < 0 && errno == EINTR))
		return TDS_GOT_NOTHING;
	n = recv(l->fd, raw, sizeof(raw), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return TDS_GOT_NOTHING;
	if (n < 0)
		err_errno(err, errno, "reading from the client");
	if (n <= 0)
		return TDS_GOT_END;
	if (l->ssl == NULL || !SSL_is_init_finished(l->ssl)) {
		tds_reader_feed(l->reader, raw, (size_t)n);
		return TDS_GOT_MESSAGE;
	}
	BIO_write(l->from_client, raw, (int)n);
	return decrypt(l, err) ? TDS_GOT_MESSAGE : TDS_GOT_END;
}

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum tds_got
tds_link_read(struct tds_link *l, int timeout_ms, struct tds_message *out, struct err *err)
{
	int64_t until = timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;

	while (!l->ended) {
		int64_t left = until == INT64_MAX ? -1 : until - now_ms();
		enum tds_next next = tds_reader_next(l->reader, out, err);

		if (next == TDS_NEXT_MESSAGE)
			return TDS_GOT_MESSAGE;
		if (next == TDS_NEXT_BROKEN) {
			l->ended = true;
			break;
		}
		switch (fill(l, until != INT64_MAX && left < 0 ? 0 : (int)left, err)) {
		case TDS_GOT_END:
			l->ended = true;
			break;
		case TDS_GOT_NOTHING:
			if (until != INT64_MAX && left <= 0)
				return TDS_GOT_NOTHING;
			break;
		case TDS_GOT_MESSAGE:
			break;
		}
	}
	return TDS_GOT_END;
}

/* ---- TLS --------------------------------------------------------------------------------- */

/* Feeds one message's worth of handshake to TLS. */
static bool
take_handshake(struct tds_link *l, int64_t until, struct err *err)
{
	struct tds_message m;
	int64_t left = until - now_ms();

	switch (tds_link_read(l, left < 0 ? 0 : (int)left, &m, err)) {
	case TDS_GOT_NOTHING:
		return err_set(err, ERR_AGAIN, ETIMEDOUT, "the client did not finish the TLS handshake in time");
	case TDS_GOT_END:
		return err->kind != ERR_NONE ? false
		                             : err_set(err, ERR_AGAIN, 0, "the client left during the TLS handshake");
	case TDS_GOT_MESSAGE:
		break;
	}
	if (m.type != TDS_PRELOGIN)
		return err_set(err, ERR_BROKEN, 0, "packet of type 0x%02x instead of the TLS handshake", m.type);
	BIO_write(l->from_client, m.mem, (int)m.len);
	return true;
}

bool
tds_link_encrypt(struct tds_link *l, struct tds_identity *identity, int timeout_ms, struct err *err)
{
	int64_t until = now_ms() + timeout_ms;
	const uint8_t *rest;
	size_t n;

	l->ssl = SSL_new(identity->ctx);
	l->from_client = BIO_new(BIO_s_mem());
	l->to_client = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(l->from_client, -1);
	BIO_set_mem_eof_return(l->to_client, -1);
	SSL_set_bio(l->ssl, l->from_client, l->to_client);
	for (;;) {
		int r = SSL_accept(l->ssl), why = SSL_get_error(l->ssl, r);

		if (!send_tls(l, true, err))
			return false;
		if (r == 1)
			break;
		if (why != SSL_ERROR_WANT_READ)
			return broken_tls(err);
		if (!take_handshake(l, until, err))
			return false;
	}
	/* What followed the last handshake packet in the same read is already TLS, not packets. */
	n = tds_reader_rest(l->reader, &rest);
	if (n > 0)
		BIO_write(l->from_client, rest, (int)n);
	talloc_free(l->reader);
	l->reader = tds_reader_new(l);
	return decrypt(l, err) || err->kind == ERR_NONE;
}

void
tds_link_uncover(struct tds_link *l)
{
	SSL_free(l->ssl); /* and both ends' memory with it; no close_notify: the client does not expect one */
	l->ssl = NULL;
	l->from_client = l->to_client = NULL;
}

bool
tds_link_send(struct tds_link *l, uint8_t type, const void *payload, size_t len, bool end, struct err *err)
{
	size_t size = l->split > 0 && l->split + TDS_HEADER < l->packet_size ? l->split + TDS_HEADER : l->packet_size;

	tds_buf_clear(l->out);
	if (l->mute || (len == 0 && !end))
		return true;
	tds_packets_put(l->out, type, payload, len, size, l->spid, &l->packet_number, end);
	if (end)
		l->packet_number = 1;
	if (l->ssl == NULL)
		return send_all(l, l->out->mem, l->out->len, err);
	if (SSL_write(l->ssl, l->out->mem, (int)l->out->len) <= 0)
		return broken_tls(err);
	return send_tls(l, false, err);
}
