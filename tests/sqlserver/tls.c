#include "tests/sqlserver/tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "tests/standin/openssl_says.h"

enum { HEADER = 8, PIECE = 4096 - HEADER, PRELOGIN = 0x12, ANSWER = 0x04, END = 1, ROUNDS_MAX = 64 };

struct tls {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out; /* of the hand-shake; ssl's */
};

static int
tls_free(struct tls *t)
{
	SSL_free(t->ssl);
	SSL_CTX_free(t->ctx);
	return 0;
}

static bool
send_all(int fd, const uint8_t *p, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool
receive_all(int fd, uint8_t *p, size_t len)
{
	return len == 0 || recv(fd, p, len, MSG_WAITALL) == (ssize_t)len;
}

/* What OpenSSL wants said, in packets of its own. */
static bool
send_flight(struct tls *t)
{
	char *mem;
	size_t len = (size_t)BIO_get_mem_data(t->out, &mem);
	uint8_t packet[HEADER + PIECE], number = 1;
	bool sent = true;

	for (size_t at = 0; sent && at < len; number++) {
		size_t n = len - at < PIECE ? len - at : PIECE;

		memcpy(packet, (uint8_t[]){ PRELOGIN, at + n == len ? END : 0, (uint8_t)((n + HEADER) >> 8), (uint8_t)(n + HEADER), 0, 0, number, 0 }, HEADER);
		memcpy(packet + HEADER, mem + at, n);
		sent = send_all(t->fd, packet, HEADER + n);
		at += n;
	}
	(void)BIO_reset(t->out);
	return sent;
}

static bool
receive_packet(struct tls *t)
{
	uint8_t header[HEADER], payload[UINT16_MAX];
	size_t n;

	if (!receive_all(t->fd, header, HEADER))
		return false;
	n = (size_t)header[2] << 8 | header[3];
	if ((header[0] != PRELOGIN && header[0] != ANSWER) || n < HEADER || !receive_all(t->fd, payload, n - HEADER))
		return false;
	return BIO_write(t->in, payload, (int)(n - HEADER)) == (int)(n - HEADER);
}

static bool
shake_hands(struct tls *t, const char *host, struct err *err)
{
	for (int round = 0; round < ROUNDS_MAX; round++) {
		int r = SSL_connect(t->ssl);
		int why = SSL_get_error(t->ssl, r);

		if (r != 1 && why != SSL_ERROR_WANT_READ) {
			long verdict = SSL_get_verify_result(t->ssl);

			if (verdict == X509_V_OK)
				return openssl_says(err, "no TLS with", host);
			return err_set(err, ERR_OPERATOR, 0, "the certificate of %s is not accepted: %s; LANDFALL_SQLSERVER_CA must name the authority that signed it, "
			               "and it must be made out to that host", host, X509_verify_cert_error_string(verdict));
		}
		if (!send_flight(t))
			break;
		if (r == 1)
			return true;
		if (!receive_packet(t))
			break;
	}
	return err_set(err, ERR_AGAIN, 0, "%s ended the line in the TLS hand-shake", host);
}

static bool
expect_host(struct tls *t, const char *host)
{
	struct in6_addr any;

	if (inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), host) == 1;
	return SSL_set1_host(t->ssl, host) == 1;
}

struct tls *
tls_begin(TALLOC_CTX *parent, int fd, const char *host, const char *ca_file, struct err *err)
{
	struct tls *t = talloc_zero(parent, struct tls);

	t->fd = fd;
	t->ctx = SSL_CTX_new(TLS_client_method());
	talloc_set_destructor(t, tls_free);
	SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(t->ctx, TLS1_2_VERSION);
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_load_verify_file(t->ctx, ca_file) != 1) {
		openssl_says(err, "LANDFALL_SQLSERVER_CA", ca_file);
		talloc_free(t);
		return NULL;
	}
	t->ssl = SSL_new(t->ctx);
	t->in = BIO_new(BIO_s_mem());
	t->out = BIO_new(BIO_s_mem());
	SSL_set_bio(t->ssl, t->in, t->out);
	if (!expect_host(t, host) || !shake_hands(t, host, err)) {
		if (err->kind == ERR_NONE)
			err_set(err, ERR_OPERATOR, 0, "%s is no name that a certificate could bear", host);
		talloc_free(t);
		return NULL;
	}
	/* From here on TLS goes bare over the socket; with 1.2 the server's last words came with the hand-shake's. */
	SSL_set_fd(t->ssl, fd);
	return t;
}

ssize_t
tls_write(void *ctx, const void *mem, size_t len)
{
	struct tls *t = ctx;

	return SSL_write(t->ssl, mem, len > INT_MAX ? INT_MAX : (int)len);
}

ssize_t
tls_read(void *ctx, void *mem, size_t len)
{
	struct tls *t = ctx;

	return SSL_read(t->ssl, mem, len > INT_MAX ? INT_MAX : (int)len);
}
