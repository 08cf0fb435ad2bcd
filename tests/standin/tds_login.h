/*
 * The first words of a TDS conversation: PRELOGIN and LOGIN7 taken apart, and the answers to them.
 *
 * Pure. Layouts are those of the published protocol description (MS-TDS 2.2.6.4 and 2.2.6.5), tried
 * against FreeTDS.
 */
#ifndef LANDFALL_STANDIN_TDS_LOGIN_H
#define LANDFALL_STANDIN_TDS_LOGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/err.h"
#include "tests/standin/tds_value.h"

enum tds_encryption { TDS_ENCRYPT_OFF = 0, TDS_ENCRYPT_ON = 1, TDS_ENCRYPT_NOT_SUP = 2, TDS_ENCRYPT_REQ = 3 };

struct tds_prelogin {
	uint8_t encryption;
	bool asked_fedauth;
};

bool tds_prelogin_parse(const void *mem, size_t len, struct tds_prelogin *out, struct err *err);

/* How a server is set up; MS-TDS calls them NOT_SUP, OFF and ON. */
enum tds_policy { TDS_POLICY_NONE, TDS_POLICY_LOGIN, TDS_POLICY_REQUIRED };
/* What becomes of a conversation. */
enum tds_cover {
	TDS_COVER_NONE,  /* everything in clear */
	TDS_COVER_LOGIN, /* TLS around LOGIN7 alone, in clear from its answer on */
	TDS_COVER_ALL,
	TDS_COVER_NEVER, /* the two cannot agree: the server hangs up */
};

/* What the server answers to the client's wish, and what becomes of it. */
uint8_t tds_encryption_answer(enum tds_policy policy, uint8_t client, enum tds_cover *cover);
void tds_prelogin_reply(struct tds_buf *out, const struct tds_prelogin *asked, uint8_t encryption,
                        int version_major, int version_build);

struct tds_login {
	uint32_t version;      /* one of enum tds_version, or newer */
	uint32_t packet_size;  /* already within what we send */
	const char *host, *user, *password, *application, *server, *interface, *database;
	bool wants_windows_login, wants_read_only;
	bool wants_features, wants_utf8; /* an extension block is there; it asks for UTF8_SUPPORT */
};

/* Strings hang on parent; the password should be wiped by the caller when it has been compared. */
bool tds_login_parse(const void *mem, size_t len, TALLOC_CTX *parent, struct tds_login *out, struct err *err);

/* The tokens that say welcome, without the final DONE. route_host NULL or empty: the client is at the right place. */
void tds_login_reply(struct tds_buf *out, const struct tds_login *login, const char *server_name,
                     const char *database, int version_major, int version_build, const char *route_host,
                     unsigned route_port);

#endif
