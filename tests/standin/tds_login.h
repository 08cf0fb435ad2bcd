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

/* What a server that insists on TLS answers, and whether the conversation can go on. */
uint8_t tds_encryption_answer(uint8_t client, bool *go_on);
void tds_prelogin_reply(struct tds_buf *out, const struct tds_prelogin *asked, uint8_t encryption,
                        int version_major, int version_build);

struct tds_login {
	uint32_t version;      /* one of enum tds_version, or newer */
	uint32_t packet_size;  /* already within what we send */
	const char *host, *user, *password, *application, *server, *library, *database;
	bool wants_windows_login, wants_features;
};

/* Strings hang on parent; the password should be wiped by the caller when it has been compared. */
bool tds_login_parse(const void *mem, size_t len, TALLOC_CTX *parent, struct tds_login *out, struct err *err);

/* The tokens that say welcome, without the final DONE. */
void tds_login_reply(struct tds_buf *out, const struct tds_login *login, const char *server_name,
                     const char *database, int version_major, int version_build);

#endif
