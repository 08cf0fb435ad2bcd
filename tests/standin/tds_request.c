#include "tests/standin/tds_request.h"

#include "common/bytes.h"
#include "common/text.h"

/* From 7.2 on a request begins with headers (transaction, notification, trace): a total length to skip. */
static bool
skip_headers(struct bytes *in, uint32_t version, struct err *err)
{
	uint32_t total;

	if (version < TDS_7_2)
		return true;
	total = bytes_u32(in);
	if (total < 4 || bytes_take(in, total - 4) == NULL)
		return err_set(err, ERR_BROKEN, 0, "the request's headers are longer than the request");
	return true;
}

bool
tds_batch_parse(const void *mem, size_t len, uint32_t version, TALLOC_CTX *parent, char **text,
                struct err *err)
{
	struct bytes in = bytes_of(mem, len);
	size_t n;

	if (!skip_headers(&in, version, err))
		return false;
	n = bytes_left(&in);
	*text = text_from_utf16(parent, in.mem + in.at, n, n / 2);
	return true;
}

static const char *
take_name(struct bytes *in, TALLOC_CTX *parent, size_t chars)
{
	const uint8_t *p = bytes_take(in, chars * 2);

	return p == NULL ? "" : text_from_utf16(parent, p, chars * 2, chars);
}

static bool
take_params(struct bytes *in, TALLOC_CTX *parent, struct tds_call *call, struct err *err)
{
	while (bytes_left(in) > 0) {
		struct tds_param *p;

		if (call->n_params == TDS_PARAMS_MAX)
			return err_set(err, ERR_BROKEN, 8003, "The incoming request has too many parameters.");
		call->params = talloc_realloc(parent, call->params, struct tds_param, call->n_params + 1);
		p = &call->params[call->n_params++];
		p->name = take_name(in, parent, bytes_u8(in));
		p->output = (bytes_u8(in) & 1) != 0;
		if (!tds_take_param(in, parent, &p->type, &p->value, err))
			return false;
	}
	return true;
}

bool
tds_call_parse(const void *mem, size_t len, uint32_t version, TALLOC_CTX *parent, struct tds_call *out,
               struct err *err)
{
	struct bytes in = bytes_of(mem, len);
	unsigned chars;

	*out = (struct tds_call){ .name = "" };
	if (!skip_headers(&in, version, err))
		return false;
	chars = bytes_u16(&in);
	if (chars == 0xFFFF)
		out->number = bytes_u16(&in);
	else
		out->name = take_name(&in, parent, chars);
	bytes_u16(&in); /* option flags: recompile, no metadata */
	if (in.short_of)
		return err_set(err, ERR_BROKEN, 0, "the remote call ends within its name");
	return take_params(&in, parent, out, err);
}

bool
tds_transaction_parse(const void *mem, size_t len, uint32_t version, struct tds_transaction *out, struct err *err)
{
	struct bytes in = bytes_of(mem, len);

	*out = (struct tds_transaction){ 0 };
	if (!skip_headers(&in, version, err))
		return false;
	out->request = bytes_u16(&in);
	if (in.short_of)
		return err_set(err, ERR_BROKEN, 0, "the transaction request is empty");
	if (out->request == TDS_TRAN_COMMIT || out->request == TDS_TRAN_ROLLBACK) {
		bytes_take(&in, bytes_u8(&in)); /* its name */
		out->begins_next = (bytes_u8(&in) & 1) != 0;
		if (in.short_of)
			return err_set(err, ERR_BROKEN, 0, "the transaction request ends within its name or flags");
	}
	return true;
}

const char *
tds_proc_name(int number)
{
	static const char *const names[] = {
		"", "sp_cursor", "sp_cursoropen", "sp_cursorprepare", "sp_cursorexecute", "sp_cursorprepexec", "sp_cursorunprepare",
		"sp_cursorfetch", "sp_cursoroption", "sp_cursorclose", "sp_executesql", "sp_prepare", "sp_execute", "sp_prepexec",
		"sp_prepexecrpc", "sp_unprepare",
	};

	return number > 0 && number < (int)(sizeof(names) / sizeof(names[0])) ? names[number] : "";
}
