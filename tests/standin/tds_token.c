#include "tests/standin/tds_token.h"

#include <string.h>

enum {
	TOKEN_RETURN_STATUS = 0x79, TOKEN_COLUMNS = 0x81, TOKEN_ERROR = 0xAA, TOKEN_INFO = 0xAB,
	TOKEN_RETURN_VALUE = 0xAC, TOKEN_LOGINACK = 0xAD, TOKEN_ROW = 0xD1, TOKEN_ENVCHANGE = 0xE3,
	FIRST_ERROR_CLASS = 11, NULLABLE = 0x01,
};

/* Room for a token's length, filled in by end_sized. */
static size_t
begin_sized(struct tds_buf *out, unsigned token)
{
	tds_put_u8(out, token);
	tds_put_u16(out, 0);
	return out->len;
}

static void
end_sized(struct tds_buf *out, size_t from)
{
	tds_patch_u16(out, from - 2, (unsigned)(out->len - from));
}

void
tds_message_token(struct tds_buf *out, uint32_t version, const struct tds_note *note)
{
	size_t from = begin_sized(out, note->class >= FIRST_ERROR_CLASS ? TOKEN_ERROR : TOKEN_INFO);

	tds_put_u32(out, (uint32_t)note->number);
	tds_put_u8(out, (unsigned)note->state);
	tds_put_u8(out, (unsigned)note->class);
	tds_put_us_varchar(out, note->text);
	tds_put_b_varchar(out, note->server);
	tds_put_b_varchar(out, note->procedure == NULL ? "" : note->procedure);
	if (version >= TDS_7_2)
		tds_put_u32(out, (uint32_t)note->line);
	else
		tds_put_u16(out, (unsigned)note->line);
	end_sized(out, from);
}

static void
put_user_type(struct tds_buf *out, uint32_t version)
{
	if (version >= TDS_7_2)
		tds_put_u32(out, 0);
	else
		tds_put_u16(out, 0);
}

void
tds_columns_token(struct tds_buf *out, uint32_t version, const struct tds_column *columns, size_t n)
{
	tds_put_u8(out, TOKEN_COLUMNS);
	tds_put_u16(out, (unsigned)n);
	for (size_t i = 0; i < n; i++) {
		put_user_type(out, version);
		tds_put_u16(out, NULLABLE);
		tds_put_type_info(out, columns[i].type);
		tds_put_b_varchar(out, columns[i].name);
	}
}

void
tds_row_token(struct tds_buf *out)
{
	tds_put_u8(out, TOKEN_ROW);
}

void
tds_done_token(struct tds_buf *out, uint32_t version, int token, unsigned status, unsigned command,
               uint64_t rows)
{
	tds_put_u8(out, (unsigned)token);
	tds_put_u16(out, status);
	tds_put_u16(out, command);
	if (version >= TDS_7_2)
		tds_put_u64(out, rows);
	else
		tds_put_u32(out, (uint32_t)rows);
}

void
tds_return_status(struct tds_buf *out, int32_t status)
{
	tds_put_u8(out, TOKEN_RETURN_STATUS);
	tds_put_u32(out, (uint32_t)status);
}

bool
tds_return_value(struct tds_buf *out, uint32_t version, unsigned ordinal, const char *name,
                 struct tds_type type, struct tds_value value, struct err *err)
{
	tds_put_u8(out, TOKEN_RETURN_VALUE);
	tds_put_u16(out, ordinal);
	tds_put_b_varchar(out, name);
	tds_put_u8(out, 1);
	put_user_type(out, version);
	tds_put_u16(out, NULLABLE);
	tds_put_type_info(out, type);
	return tds_put_value(out, type, value, err);
}

void
tds_envchange_text(struct tds_buf *out, int what, const char *now, const char *before)
{
	size_t from = begin_sized(out, TOKEN_ENVCHANGE);

	tds_put_u8(out, (unsigned)what);
	tds_put_b_varchar(out, now);
	tds_put_b_varchar(out, before);
	end_sized(out, from);
}

void
tds_envchange_collation(struct tds_buf *out)
{
	static const uint8_t collation[] = { 5, 0x09, 0x04, 0xD0, 0x00, 0x34, 0 };
	size_t from = begin_sized(out, TOKEN_ENVCHANGE);

	tds_put_u8(out, TDS_ENV_COLLATION);
	tds_put(out, collation, sizeof(collation));
	end_sized(out, from);
}

void
tds_envchange_transaction(struct tds_buf *out, int what, uint64_t transaction)
{
	size_t from = begin_sized(out, TOKEN_ENVCHANGE);

	tds_put_u8(out, (unsigned)what);
	if (what != TDS_ENV_BEGIN)
		tds_put_u8(out, 0);
	tds_put_u8(out, 8);
	tds_put_u64(out, transaction);
	if (what == TDS_ENV_BEGIN)
		tds_put_u8(out, 0);
	end_sized(out, from);
}

void
tds_envchange_reset(struct tds_buf *out)
{
	size_t from = begin_sized(out, TOKEN_ENVCHANGE);

	tds_put_u8(out, TDS_ENV_RESET);
	tds_put_u16(out, 0);
	end_sized(out, from);
}

void
tds_envchange_routing(struct tds_buf *out, const char *host, unsigned port)
{
	size_t from = begin_sized(out, TOKEN_ENVCHANGE), value;

	tds_put_u8(out, TDS_ENV_ROUTING);
	tds_put_u16(out, 0); /* the value's length */
	value = out->len;
	tds_put_u8(out, 0); /* TCP */
	tds_put_u16(out, port);
	tds_put_us_varchar(out, host);
	tds_patch_u16(out, value - 2, (unsigned)(out->len - value));
	tds_put_u16(out, 0); /* no old value */
	end_sized(out, from);
}

void
tds_loginack(struct tds_buf *out, uint32_t version, int major, int build)
{
	size_t from = begin_sized(out, TOKEN_LOGINACK);

	tds_put_u8(out, 1);
	/* The one place where the version stands big-endian. */
	tds_put_u16be(out, version >> 16);
	tds_put_u16be(out, version & 0xFFFF);
	tds_put_b_varchar(out, "Microsoft SQL Server");
	tds_put_u8(out, (unsigned)major);
	tds_put_u8(out, 0);
	tds_put_u16be(out, (unsigned)build);
	end_sized(out, from);
}
