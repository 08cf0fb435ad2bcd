#include "tests/standin/tds_login.h"

#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/text.h"
#include "tests/standin/tds_packet.h"
#include "tests/standin/tds_token.h"

enum {
	PRELOGIN_VERSION = 0, PRELOGIN_ENCRYPTION = 1, PRELOGIN_INSTANCE = 2, PRELOGIN_THREAD = 3,
	PRELOGIN_MARS = 4, PRELOGIN_FEDAUTH = 6, PRELOGIN_END = 0xFF, PRELOGIN_OPTIONS_MAX = 32,
	LOGIN_FIXED = 94, LOGIN_CHARS_MAX = 128, DEFAULT_PACKET = 4096,
	FLAG2_WINDOWS = 0x80, TYPE_READ_ONLY = 0x20, FLAG3_EXTENSION = 0x10,
	FEATURE_UTF8 = 0x0A, FEATURE_END = 0xFF, FEATURES_MAX = 64, TOKEN_FEATURES = 0xAE,
};

bool
tds_prelogin_parse(const void *mem, size_t len, struct tds_prelogin *out, struct err *err)
{
	struct bytes b = bytes_of(mem, len);

	*out = (struct tds_prelogin){ .encryption = TDS_ENCRYPT_NOT_SUP };
	for (int i = 0; i < PRELOGIN_OPTIONS_MAX; i++) {
		struct bytes data = b;
		unsigned token = bytes_u8(&b), at, n;

		if (token == PRELOGIN_END && !b.short_of)
			return true;
		at = bytes_u16be(&b);
		n = bytes_u16be(&b);
		bytes_seek(&data, at);
		if (b.short_of || data.short_of || n > bytes_left(&data))
			break;
		if (token == PRELOGIN_ENCRYPTION && n >= 1)
			out->encryption = bytes_u8(&data) & 0x0F; /* the upper bits speak of client certificates */
		if (token == PRELOGIN_FEDAUTH)
			out->asked_fedauth = true;
	}
	return err_set(err, ERR_BROKEN, 0, "PRELOGIN ends within its options");
}

uint8_t
tds_encryption_answer(enum tds_policy policy, uint8_t client, enum tds_cover *cover)
{
	/* MS-TDS 2.2.6.5, a row per setting of the server, a column per wish of the client. */
	static const struct { uint8_t answer; enum tds_cover cover; } table[3][4] = {
		[TDS_POLICY_NONE] = {
			[TDS_ENCRYPT_OFF] = { TDS_ENCRYPT_NOT_SUP, TDS_COVER_NONE },
			[TDS_ENCRYPT_ON] = { TDS_ENCRYPT_NOT_SUP, TDS_COVER_NEVER },
			[TDS_ENCRYPT_NOT_SUP] = { TDS_ENCRYPT_NOT_SUP, TDS_COVER_NONE },
			[TDS_ENCRYPT_REQ] = { TDS_ENCRYPT_NOT_SUP, TDS_COVER_NEVER },
		},
		[TDS_POLICY_LOGIN] = {
			[TDS_ENCRYPT_OFF] = { TDS_ENCRYPT_OFF, TDS_COVER_LOGIN },
			[TDS_ENCRYPT_ON] = { TDS_ENCRYPT_ON, TDS_COVER_ALL },
			[TDS_ENCRYPT_NOT_SUP] = { TDS_ENCRYPT_NOT_SUP, TDS_COVER_NONE },
			[TDS_ENCRYPT_REQ] = { TDS_ENCRYPT_ON, TDS_COVER_ALL },
		},
		[TDS_POLICY_REQUIRED] = {
			[TDS_ENCRYPT_OFF] = { TDS_ENCRYPT_REQ, TDS_COVER_ALL },
			[TDS_ENCRYPT_ON] = { TDS_ENCRYPT_ON, TDS_COVER_ALL },
			[TDS_ENCRYPT_NOT_SUP] = { TDS_ENCRYPT_REQ, TDS_COVER_NEVER },
			[TDS_ENCRYPT_REQ] = { TDS_ENCRYPT_ON, TDS_COVER_ALL },
		},
	};

	/* A wish nobody knows is one for TLS. */
	if (client > TDS_ENCRYPT_REQ)
		client = TDS_ENCRYPT_REQ;
	*cover = table[policy][client].cover;
	return table[policy][client].answer;
}

void
tds_prelogin_reply(struct tds_buf *out, const struct tds_prelogin *asked, uint8_t encryption, int major,
                   int build)
{
	const uint8_t version[6] = { (uint8_t)major, 0, (uint8_t)(build >> 8), (uint8_t)build, 0, 0 };
	const uint8_t zero = 0;
	struct { uint8_t token; const void *mem; uint8_t len; } options[] = {
		{ PRELOGIN_VERSION, version, 6 }, { PRELOGIN_ENCRYPTION, &encryption, 1 },
		{ PRELOGIN_INSTANCE, &zero, 1 },  { PRELOGIN_THREAD, &zero, 0 },
		{ PRELOGIN_MARS, &zero, 1 },      { PRELOGIN_FEDAUTH, &zero, 1 },
	};
	size_t n = sizeof(options) / sizeof(options[0]) - (asked->asked_fedauth ? 0 : 1);
	size_t at = n * 5 + 1;

	for (size_t i = 0; i < n; i++) {
		tds_put_u8(out, options[i].token);
		tds_put_u16be(out, (unsigned)at);
		tds_put_u16be(out, options[i].len);
		at += options[i].len;
	}
	tds_put_u8(out, PRELOGIN_END);
	for (size_t i = 0; i < n; i++)
		tds_put(out, options[i].mem, options[i].len);
}

/* One {offset, length in characters} pair of the fixed part, and the text it points to. */
static const char *
login_text(struct bytes *fixed, TALLOC_CTX *parent, bool secret)
{
	size_t at = bytes_u16(fixed), chars = bytes_u16(fixed);
	struct bytes b = *fixed;
	const uint8_t *p;
	uint8_t plain[LOGIN_CHARS_MAX * 2];
	char *text;

	if (chars > LOGIN_CHARS_MAX)
		fixed->short_of = true;
	bytes_seek(&b, at);
	p = bytes_take(&b, chars * 2);
	if (p == NULL || fixed->short_of) {
		fixed->short_of = true;
		return "";
	}
	if (!secret)
		return text_from_utf16(parent, p, chars * 2, chars);
	/* Passwords are only veiled: each byte XOR 0xA5, then its halves exchanged. */
	for (size_t i = 0; i < chars * 2; i++) {
		uint8_t c = p[i] ^ 0xA5;
		plain[i] = (uint8_t)(c << 4 | c >> 4);
	}
	text = text_from_utf16(parent, plain, chars * 2, chars);
	explicit_bzero(plain, sizeof(plain));
	return text;
}

static uint32_t
packet_size(uint32_t asked)
{
	if (asked == 0)
		return DEFAULT_PACKET; /* jTDS sends 0 and means the default */
	return asked < TDS_PACKET_MIN ? TDS_PACKET_MIN : asked > TDS_PACKET_MAX ? TDS_PACKET_MAX : asked;
}

/* {id, length, data} … FF. Each is known by its number or stepped over; what is not acknowledged is refused. */
static void
take_features(struct bytes b, size_t at, struct tds_login *out, bool *short_of)
{
	bytes_seek(&b, at);
	for (int i = 0; i < FEATURES_MAX && !b.short_of; i++) {
		unsigned id = bytes_u8(&b);

		if (id == FEATURE_END)
			break;
		out->wants_utf8 |= id == FEATURE_UTF8 && !b.short_of;
		bytes_take(&b, bytes_u32(&b));
	}
	*short_of |= b.short_of;
}

/* The extension's place holds the place of the feature list: two steps, as the number is wider than the field. */
static void
take_extension(struct bytes *fixed, struct tds_login *out)
{
	size_t at = bytes_u16(fixed), n = bytes_u16(fixed);
	struct bytes b = *fixed;

	if (!out->wants_features)
		return;
	bytes_seek(&b, at);
	at = bytes_u32(&b);
	if (n < 4 || b.short_of)
		fixed->short_of = true;
	else
		take_features(*fixed, at, out, &fixed->short_of);
}

bool
tds_login_parse(const void *mem, size_t len, TALLOC_CTX *parent, struct tds_login *out, struct err *err)
{
	struct bytes b = bytes_of(mem, len);
	uint8_t flags2, type_flags, flags3;

	*out = (struct tds_login){ 0 };
	if (len < LOGIN_FIXED - 8 || bytes_u32(&b) > len)
		return err_set(err, ERR_BROKEN, 0, "LOGIN7 shorter than it says");
	out->version = bytes_u32(&b);
	out->packet_size = packet_size(bytes_u32(&b));
	bytes_seek(&b, 25);
	flags2 = bytes_u8(&b);
	type_flags = bytes_u8(&b);
	flags3 = bytes_u8(&b);
	out->wants_windows_login = (flags2 & FLAG2_WINDOWS) != 0;
	out->wants_read_only = (type_flags & TYPE_READ_ONLY) != 0;
	out->wants_features = (flags3 & FLAG3_EXTENSION) != 0;
	bytes_seek(&b, 36);
	out->host = login_text(&b, parent, false);
	out->user = login_text(&b, parent, false);
	out->password = login_text(&b, parent, true);
	out->application = login_text(&b, parent, false);
	out->server = login_text(&b, parent, false);
	take_extension(&b, out);
	out->interface = login_text(&b, parent, false);
	login_text(&b, parent, false); /* language: we speak one */
	out->database = login_text(&b, parent, false);
	if (b.short_of)
		return err_set(err, ERR_BROKEN, 0, "LOGIN7 points outside itself");
	if (out->version < TDS_7_1)
		return err_set(err, ERR_BROKEN, 0, "protocol version 0x%08x is older than 7.1", out->version);
	/* Nobody is spoken to in a version that came after ours. */
	if (out->version > TDS_7_4)
		out->version = TDS_7_4;
	return true;
}

void
tds_login_reply(struct tds_buf *out, const struct tds_login *login, const char *server_name,
                const char *database, int major, int build, const char *route_host, unsigned route_port)
{
	char said[300], size[16];

	tds_envchange_text(out, TDS_ENV_DATABASE, database, "master");
	snprintf(said, sizeof(said), "Changed database context to '%.200s'.", database);
	tds_message_token(out, login->version, &(struct tds_note){ .number = 5701, .state = 2, .class = 0,
		.text = said, .server = server_name, .line = 1 });
	tds_envchange_collation(out);
	tds_envchange_text(out, TDS_ENV_LANGUAGE, "us_english", "");
	tds_message_token(out, login->version, &(struct tds_note){ .number = 5703, .state = 1, .class = 0,
		.text = "Changed language setting to us_english.", .server = server_name, .line = 1 });
	tds_loginack(out, login->version, major, build);
	snprintf(size, sizeof(size), "%u", login->packet_size);
	tds_envchange_text(out, TDS_ENV_PACKET_SIZE, size, "4096");
	/* Features that are not named are refused; an empty list is accepted by every client tried. */
	if (login->wants_features && login->version >= TDS_7_4) {
		tds_put_u8(out, TOKEN_FEATURES);
		if (login->wants_utf8) {
			tds_put_u8(out, FEATURE_UTF8);
			tds_put_u32(out, 1);
			tds_put_u8(out, 1);
		}
		tds_put_u8(out, FEATURE_END);
	}
	if (login->wants_read_only && route_host != NULL && route_host[0] != '\0' && login->version >= TDS_7_4)
		tds_envchange_routing(out, route_host, route_port);
}
