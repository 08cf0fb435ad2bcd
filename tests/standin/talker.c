#include "tests/standin/talker.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"

enum { WAIT_MS = 60000, PACKET = 4096, HEADER = 8, END = 1, V7_2 = 0x72090002, ANSWER_MAX = 64 << 20 };

/* ---- saying ------------------------------------------------------------------------------------------------- */

struct out {
	uint8_t mem[65536];
	size_t len;
};

static void
put(struct out *o, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n && o->len < sizeof(o->mem); i++)
		o->mem[o->len++] = (uint8_t)(i < 8 ? v >> 8 * i : 0);
}

/* ASCII is enough for what tests say. */
static void
put_wide(struct out *o, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		put(o, (uint8_t)s[i], 2);
}

static int
talker_free(struct talker *t)
{
	close(t->fd);
	return 0;
}

struct talker *
talker_new(TALLOC_CTX *parent, int fd, uint32_t version)
{
	struct talker *t = talloc_zero(parent, struct talker);

	t->fd = fd;
	t->version = version;
	talloc_set_destructor(t, talker_free);
	return t;
}

void
talker_send(struct talker *t, unsigned type, unsigned status, const void *mem, size_t len)
{
	const uint8_t *p = mem;
	uint8_t packet[PACKET], number = 1;

	do {
		size_t n = len < PACKET - HEADER ? len : PACKET - HEADER;

		memcpy(packet, (uint8_t[]){ (uint8_t)type, (uint8_t)(status | (n == len ? END : 0)), (uint8_t)((n + HEADER) >> 8), (uint8_t)(n + HEADER), 0, 0,
			number++, 0 }, HEADER);
		if (n > 0)
			memcpy(packet + HEADER, p, n);
		if ((t->write != NULL ? t->write(t->io, packet, n + HEADER) : send(t->fd, packet, n + HEADER, MSG_NOSIGNAL)) < 0)
			return;
		p += n;
		len -= n;
	} while (len > 0);
}

static void
put_headers(const struct talker *t, struct out *o)
{
	if (t->version < V7_2)
		return;
	put(o, 22, 4);
	put(o, 18, 4);
	put(o, 2, 2);
	put(o, 0, 8);
	put(o, 1, 4);
}

void
talker_login(struct talker *t, const struct talker_login *l)
{
	const char *const texts[] = { "host", l->user, l->password, "talker", "server", NULL, "library", "", l->database == NULL ? "" : l->database };
	struct out o = { .len = 0 };
	size_t at = 94, n_texts = sizeof(texts) / sizeof(texts[0]), extension = 94;

	for (size_t i = 0; i < n_texts; i++)
		extension += texts[i] == NULL ? 0 : 2 * strlen(texts[i]);
	put(&o, 0, 4);
	put(&o, t->version, 4);
	put(&o, l->packet_size, 4);
	put(&o, 0, 12);
	put(&o, 0, 1);
	put(&o, l->windows ? 0x80 : 0, 1);
	put(&o, l->read_only ? 0x20 : 0, 1);
	put(&o, l->features != NULL ? 0x10 : 0, 1);
	put(&o, 0, 8);
	for (size_t i = 0; i < n_texts; i++) {
		bool is_extension = texts[i] == NULL;

		put(&o, is_extension ? extension : at, 2);
		put(&o, is_extension ? (l->features == NULL ? 0 : 4) : strlen(texts[i]), 2);
		at += is_extension ? 0 : 2 * strlen(texts[i]);
	}
	put(&o, 0, 8);
	put(&o, 0, 8);
	put(&o, 0, 6);
	for (size_t i = 0; i < n_texts; i++) {
		size_t from = o.len;

		if (texts[i] != NULL)
			put_wide(&o, texts[i], strlen(texts[i]));
		/* The password is veiled: halves of each byte exchanged, then XOR 0xA5. */
		for (; i == 2 && from < o.len; from++)
			o.mem[from] = (uint8_t)((o.mem[from] << 4 | o.mem[from] >> 4) ^ 0xA5);
	}
	if (l->features != NULL) {
		put(&o, extension + 4, 4);
		for (size_t i = 0; i < l->features_len; i++)
			put(&o, (uint8_t)l->features[i], 1);
		put(&o, 0xFF, 1);
	}
	o.mem[0] = (uint8_t)o.len;
	o.mem[1] = (uint8_t)(o.len >> 8);
	talker_send(t, 0x10, 0, o.mem, o.len);
}

void
talker_batch_with(struct talker *t, unsigned status, const char *sql)
{
	struct out o = { .len = 0 };

	put_headers(t, &o);
	put_wide(&o, sql, strlen(sql));
	talker_send(t, 0x01, status, o.mem, o.len);
}

void
talker_batch(struct talker *t, const char *sql)
{
	talker_batch_with(t, 0, sql);
}

void
talker_transaction(struct talker *t, int request, bool begins_next)
{
	struct out o = { .len = 0 };

	put_headers(t, &o);
	put(&o, (unsigned)request, 2);
	put(&o, 0, 1); /* BEGIN: isolation level; the others: no name */
	put(&o, begins_next, 1);
	if (begins_next)
		put(&o, 0, 2);
	talker_send(t, 0x0E, 0, o.mem, o.len);
}

static void
put_param(struct out *o, const char *p)
{
	const char *eq = p[0] == '@' ? strchr(p, '=') : NULL;
	size_t n = eq == NULL ? 0 : (size_t)(eq - p);

	put(o, n, 1);
	put_wide(o, p, n);
	p = eq == NULL ? p : eq + 1;
	put(o, p[0] == 'o', 1);
	if (p[0] == 't') {
		put(o, 0xE7, 1);
		put(o, 8000, 2);
		put(o, 0x3400D00409, 5);
		put(o, 2 * strlen(p + 1), 2);
		put_wide(o, p + 1, strlen(p + 1));
		return;
	}
	put(o, 0x26, 1);
	put(o, 4, 1);
	put(o, p[0] == 'n' ? 0 : 4, 1);
	if (p[0] != 'n')
		put(o, (uint32_t)atoi(p + 1), 4);
}

void
talker_call(struct talker *t, int number, const char *name, const char *const *params, size_t n)
{
	struct out o = { .len = 0 };

	put_headers(t, &o);
	if (name == NULL) {
		put(&o, 0xFFFF, 2);
		put(&o, (unsigned)number, 2);
	} else {
		put(&o, strlen(name), 2);
		put_wide(&o, name, strlen(name));
	}
	put(&o, 0, 2);
	for (size_t i = 0; i < n; i++)
		put_param(&o, params[i]);
	talker_send(t, 0x03, 0, o.mem, o.len);
}

/* ---- hearing --------------------------------------------------------------------------------------------------- */

static ssize_t
take_some(struct talker *t, void *mem, size_t len)
{
	struct pollfd pf = { .fd = t->fd, .events = POLLIN };

	if (t->read != NULL)
		return t->read(t->io, mem, len);
	return poll(&pf, 1, WAIT_MS) <= 0 ? -1 : recv(t->fd, mem, len, 0);
}

static bool
take(struct talker *t, void *mem, size_t len)
{
	uint8_t *p = mem;

	while (len > 0) {
		ssize_t n = take_some(t, p, len);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static void
write_raw(struct talker *t, const uint8_t *header, const uint8_t *payload, size_t len)
{
	if (t->raw == NULL)
		return;
	for (size_t i = 0; i < HEADER; i++)
		fprintf(t->raw, "%02x", header[i]);
	for (size_t i = 0; i < len; i++)
		fprintf(t->raw, "%02x", payload[i]);
	fputc('\n', t->raw);
}

/* One packet's payload behind what is there; 1: the message ends with it, 0: it goes on, -1: the line ended. */
static int
take_packet(struct talker *t, uint8_t **mem, size_t *len)
{
	uint8_t header[HEADER];
	size_t n;

	if (!take(t, header, HEADER))
		return -1;
	n = (size_t)header[2] << 8 | header[3];
	if (n < HEADER || *len + n > ANSWER_MAX)
		return -1;
	n -= HEADER;
	*mem = talloc_realloc(t, *mem, uint8_t, *len + n + 1);
	if (header[0] != 0x04 || !take(t, *mem + *len, n))
		return -1;
	write_raw(t, header, *mem + *len, n);
	*len += n;
	t->packets++;
	t->longest = n > t->longest ? n : t->longest;
	return header[1] & END;
}

int
talker_prelogin(struct talker *t, int encryption)
{
	const uint8_t asked[] = { 0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xFF, 15, 0, 0, 0, 0, 0, (uint8_t)encryption };
	uint8_t *mem = NULL;
	size_t len = 0;
	int said = -1;

	talker_send(t, 0x12, 0, asked, sizeof(asked));
	if (take_packet(t, &mem, &len) == 1)
		for (size_t at = 0; at + 5 <= len && mem[at] != 0xFF; at += 5)
			if (mem[at] == 1 && ((size_t)mem[at + 1] << 8 | mem[at + 2]) < len)
				said = mem[mem[at + 1] << 8 | mem[at + 2]];
	talloc_free(mem);
	return said;
}

struct column { unsigned type, size, precision, scale; bool is_max; char name[64]; };

struct reading {
	struct bytes in;
	uint32_t version;
	TALLOC_CTX *mem;
	char *said;
	char *tokens, *text, *names, *rows; /* as in struct talker */
	size_t n_rows;                      /* not yet told in tokens */
	bool had_error;
	struct column columns[128];
	size_t n_columns;
};

static void say(struct reading *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
say(struct reading *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	r->said = talloc_vasprintf_append(r->said, fmt, ap);
	va_end(ap);
}

static void add_token(struct reading *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
add_token(struct reading *r, const char *fmt, ...)
{
	va_list ap;

	if (r->n_rows > 0)
		r->tokens = talloc_asprintf_append_buffer(r->tokens, "%sR%zu", r->tokens[0] == '\0' ? "" : " ", r->n_rows);
	r->n_rows = 0;
	if (r->tokens[0] != '\0')
		r->tokens = talloc_strdup_append_buffer(r->tokens, " ");
	va_start(ap, fmt);
	r->tokens = talloc_vasprintf_append_buffer(r->tokens, fmt, ap);
	va_end(ap);
}

struct word { char s[600]; };

static struct word
wide(struct bytes *in, size_t chars)
{
	const uint8_t *p = bytes_take(in, chars * 2);
	struct word w = { "" };

	for (size_t i = 0; p != NULL && i < chars && i < sizeof(w.s) - 1; i++)
		w.s[i] = p[2 * i + 1] == 0 ? (char)p[2 * i] : '?';
	return w;
}

/* USE and a log-in tell of the database and the language: not an answer to anything. */
static bool
is_about_session(uint32_t number)
{
	return number == 5701 || number == 5703;
}

static void
note_message(struct reading *r, bool error, uint32_t number, unsigned state, unsigned class, const char *text)
{
	if (!error && is_about_session(number))
		return;
	if (error)
		add_token(r, "E%u.%u.%u", number, state, class);
	else if (class == 0)
		add_token(r, "I%u.%u", number, state);
	else
		add_token(r, "I%u.%u.%u", number, state, class);
	if (!r->had_error)
		r->text = talloc_strdup(r->mem, text);
	r->had_error = r->had_error || error;
}

static void
read_message(struct reading *r, bool error)
{
	uint32_t number = bytes_u32(&r->in);
	unsigned state = bytes_u8(&r->in), class = bytes_u8(&r->in);
	struct word text = wide(&r->in, bytes_u16(&r->in));

	wide(&r->in, bytes_u8(&r->in));
	wide(&r->in, bytes_u8(&r->in));
	bytes_take(&r->in, r->version >= V7_2 ? 4 : 2);
	say(r, "%s %u/%u/%u", error ? "error" : "info", number, state, class);
	if (error)
		say(r, " %s", text.s);
	note_message(r, error, number, state, class, text.s);
}

static void
read_envchange(struct reading *r, size_t len)
{
	size_t end = r->in.at + len;
	unsigned what = bytes_u8(&r->in);

	say(r, "env %u", what);
	if (what == 20) {
		bytes_u16(&r->in);
		bytes_u8(&r->in);
		unsigned port = bytes_u16(&r->in);

		say(r, " %s:%u", wide(&r->in, bytes_u16(&r->in)).s, port);
	} else if (what < 7) {
		say(r, " %s", wide(&r->in, bytes_u8(&r->in)).s);
		say(r, "<%s", wide(&r->in, bytes_u8(&r->in)).s);
	}
	if (end > r->in.len || r->in.at > end)
		r->in.short_of = true;
	bytes_seek(&r->in, end);
}

/* What a type declares besides itself: an octet of size, two, both with a collation, a scale, all of numeric, nothing. */
enum declares { SIZE8, SIZE16, SIZE16_COLLATED, SCALE, NUMERIC, FIXED };

static const struct wire_type { unsigned type, fixed_size; enum declares declares; const char *name; } wire_types[] = {
	{ 0x26, 0, SIZE8, "int" }, { 0x68, 0, SIZE8, "bit" }, { 0x24, 0, SIZE8, "uniqueidentifier" }, { 0x6D, 0, SIZE8, "float" },
	{ 0x6F, 0, SIZE8, "datetime" }, { 0x6E, 0, SIZE8, "money" }, { 0x2A, 0, SCALE, "datetime2" }, { 0x29, 0, SCALE, "time" }, { 0x28, 0, FIXED, "date" },
	{ 0x6C, 0, NUMERIC, "numeric" }, { 0x6A, 0, NUMERIC, "decimal" }, { 0xA5, 0, SIZE16, "varbinary" }, { 0xAD, 0, SIZE16, "binary" },
	{ 0xE7, 0, SIZE16_COLLATED, "nvarchar" }, { 0xEF, 0, SIZE16_COLLATED, "nchar" }, { 0xA7, 0, SIZE16_COLLATED, "varchar" },
	{ 0xAF, 0, SIZE16_COLLATED, "char" }, { 0x30, 1, FIXED, "tinyint not null" }, { 0x32, 1, FIXED, "bit not null" },
	{ 0x34, 2, FIXED, "smallint not null" }, { 0x38, 4, FIXED, "int not null" }, { 0x7F, 8, FIXED, "bigint not null" },
	{ 0x3D, 8, FIXED, "datetime not null" }, { 0x3E, 8, FIXED, "float not null" },
};

static const struct wire_type *
type_of(unsigned type)
{
	for (size_t i = 0; i < sizeof(wire_types) / sizeof(wire_types[0]); i++)
		if (wire_types[i].type == type)
			return &wire_types[i];
	return NULL;
}

static void
read_type(struct reading *r, struct column *c)
{
	const struct wire_type *w;

	*c = (struct column){ .type = bytes_u8(&r->in) };
	w = type_of(c->type);
	if (w == NULL) {
		r->in.short_of = true;
		return;
	}
	switch (w->declares) {
	case SIZE8: c->size = bytes_u8(&r->in); break;
	case SCALE: c->scale = bytes_u8(&r->in); break;
	case FIXED: c->size = w->fixed_size; break;
	case NUMERIC:
		c->size = bytes_u8(&r->in);
		c->precision = bytes_u8(&r->in);
		c->scale = bytes_u8(&r->in);
		break;
	case SIZE16: case SIZE16_COLLATED:
		c->size = bytes_u16(&r->in);
		c->is_max = c->size == 0xFFFF;
		if (w->declares == SIZE16_COLLATED)
			bytes_take(&r->in, 5);
	}
}

/* A column's name and type, as one would declare it. */
static void
note_column(struct reading *r, const struct column *c)
{
	static const char *const integers[] = { "tinyint", "smallint", "int", "int", "bigint" };
	const struct wire_type *w = type_of(c->type);
	char size[32] = "";

	if (w == NULL)
		return;
	if (c->is_max)
		snprintf(size, sizeof(size), "(max)");
	else if (w->declares == NUMERIC)
		snprintf(size, sizeof(size), "(%u,%u)", c->precision, c->scale);
	else if (w->declares == SCALE)
		snprintf(size, sizeof(size), "(%u)", c->scale);
	else if (w->declares == SIZE16 || w->declares == SIZE16_COLLATED)
		snprintf(size, sizeof(size), "(%u)", c->type == 0xE7 || c->type == 0xEF ? c->size / 2 : c->size);
	r->names = talloc_asprintf_append_buffer(r->names, "%s%s %s%s", r->names[0] == '\0' ? "" : ", ", c->name,
		c->type == 0x26 && c->size <= 8 ? integers[c->size / 2] : w->name, size);
}

static void
read_columns(struct reading *r)
{
	r->n_columns = bytes_u16(&r->in);
	r->names = talloc_strdup(r->mem, "");
	add_token(r, "C%zu", r->n_columns);
	say(r, "cols");
	for (size_t i = 0; i < r->n_columns && !r->in.short_of; i++) {
		struct column *c = &r->columns[i < 128 ? i : 127];

		bytes_take(&r->in, r->version >= V7_2 ? 6 : 4);
		read_type(r, c);
		snprintf(c->name, sizeof(c->name), "%.60s", wide(&r->in, bytes_u8(&r->in)).s);
		say(r, " %s:%02x", c->name, c->type);
		note_column(r, c);
	}
}

static void
read_value(struct reading *r, const struct column *c)
{
	const struct wire_type *w = type_of(c->type);
	bool text = c->type == 0xE7 || c->type == 0xEF;
	uint64_t n, v = 0;
	const uint8_t *p;

	if (c->is_max) {
		n = bytes_u64(&r->in);
		n = n == UINT64_MAX ? n : bytes_u32(&r->in);
	} else if (w != NULL && w->fixed_size > 0) {
		n = w->fixed_size;
	} else if (w != NULL && (w->declares == SIZE16 || w->declares == SIZE16_COLLATED)) {
		n = bytes_u16(&r->in);
		n = n == 0xFFFF ? UINT64_MAX : n;
	} else {
		n = bytes_u8(&r->in);
		n = n == 0 ? UINT64_MAX : n;
	}
	if (n == UINT64_MAX) {
		say(r, "null");
	} else if (text) {
		say(r, "'%s'", wide(&r->in, n / 2).s);
	} else {
		p = bytes_take(&r->in, n);
		for (size_t i = 0; p != NULL && i < n && i < 8; i++)
			v |= (uint64_t)p[i] << 8 * i;
		say(r, "%lld", n == 4 ? (long long)(int32_t)v : (long long)v);
	}
	if (c->is_max && n != UINT64_MAX && n > 0)
		bytes_u32(&r->in); /* the end of the chunks */
}

static void
read_features(struct reading *r)
{
	say(r, "features");
	for (unsigned id; (id = bytes_u8(&r->in)) != 0xFF && !r->in.short_of;) {
		size_t n = bytes_u32(&r->in);
		const uint8_t *p = bytes_take(&r->in, n);

		say(r, " %02x=", id);
		for (size_t i = 0; p != NULL && i < n; i++)
			say(r, "%02x", p[i]);
	}
}

static void
read_done(struct reading *r, const char *name)
{
	unsigned status = bytes_u16(&r->in), curcmd = bytes_u16(&r->in);
	uint64_t rows = r->version >= V7_2 ? bytes_u64(&r->in) : bytes_u32(&r->in);

	say(r, "%s %04x %u %llu", name, status, curcmd, (unsigned long long)rows);
	add_token(r, "D%u:%u", status, curcmd);
}

static void
read_loginack(struct reading *r)
{
	const uint8_t *v;

	bytes_u8(&r->in);
	v = bytes_take(&r->in, 4);
	say(r, "ack %02x%02x%02x%02x", v == NULL ? 0 : v[0], v == NULL ? 0 : v[1], v == NULL ? 0 : v[2], v == NULL ? 0 : v[3]);
	wide(&r->in, bytes_u8(&r->in));
	bytes_take(&r->in, 4);
}

static void
read_return_value(struct reading *r)
{
	struct column c;
	unsigned ordinal = bytes_u16(&r->in);
	struct word name = wide(&r->in, bytes_u8(&r->in));

	bytes_u8(&r->in);
	bytes_take(&r->in, r->version >= V7_2 ? 6 : 4);
	read_type(r, &c);
	say(r, "value %u %s=", ordinal, name.s);
	read_value(r, &c);
}

/* nulls: NBCROW's, a bit for each column that is NULL and has no value; NULL for an ordinary row. */
static void
read_row(struct reading *r, const uint8_t *nulls)
{
	size_t before = strlen(r->said) + strlen("row ");

	say(r, "row");
	for (size_t i = 0; i < r->n_columns && i < 128 && !r->in.short_of; i++) {
		say(r, " ");
		if (nulls != NULL && (nulls[i / 8] >> i % 8 & 1) != 0)
			say(r, "null");
		else
			read_value(r, &r->columns[i]);
	}
	if (r->in.short_of || strlen(r->said) < before)
		return;
	r->rows = talloc_asprintf_append_buffer(r->rows, "%s\n", r->said + before);
	r->n_rows++;
}

static void
read_token(struct reading *r)
{
	unsigned token = bytes_u8(&r->in);

	switch (token) {
	case 0xAA: case 0xAB: bytes_u16(&r->in); read_message(r, token == 0xAA); break;
	case 0xE3: read_envchange(r, bytes_u16(&r->in)); break;
	case 0xAD: bytes_u16(&r->in); read_loginack(r); break;
	case 0xAE: read_features(r); break;
	case 0x81: read_columns(r); break;
	case 0xD1: read_row(r, NULL); break;
	case 0xD2: read_row(r, bytes_take(&r->in, (r->n_columns + 7) / 8)); break;
	case 0xA9: say(r, "order"); bytes_take(&r->in, bytes_u16(&r->in)); break;
	case 0xFD: read_done(r, "done"); break;
	case 0xFE: read_done(r, "proc"); break;
	case 0xFF: read_done(r, "inproc"); break;
	case 0x79: say(r, "status %d", (int)bytes_u32(&r->in)); break;
	case 0xAC: read_return_value(r); break;
	default: say(r, "broken: token %02x", token); add_token(r, "broken"); bytes_take(&r->in, bytes_left(&r->in)); break;
	}
}

/* Every whole token; whether the bytes end with one is said only of a whole message. */
static void
read_tokens(struct talker *t, const uint8_t *mem, size_t len, bool whole)
{
	struct reading r = { .in = bytes_of(mem, len), .version = t->version };

	talloc_free(t->answer);
	r.mem = t->answer = talloc_new(t);
	r.said = talloc_strdup(r.mem, "");
	r.tokens = talloc_strdup(r.mem, "");
	r.text = talloc_strdup(r.mem, "");
	r.names = talloc_strdup(r.mem, "");
	r.rows = talloc_strdup(r.mem, "");
	while (bytes_left(&r.in) > 0) {
		size_t before = strlen(r.said);

		if (before > 0)
			say(&r, " | ");
		read_token(&r);
		if (!r.in.short_of)
			continue;
		r.said[before] = '\0';
		if (whole) {
			say(&r, "broken: the message ends within a token");
			add_token(&r, "broken");
		}
		break;
	}
	t->last = r.said;
	t->tokens = r.tokens;
	t->text = r.text;
	t->names = r.names;
	t->rows = r.rows;
}

const char *
talker_read_until(struct talker *t, const char *needle)
{
	uint8_t *mem = NULL;
	size_t len = 0;
	int got;

	t->packets = t->longest = 0;
	do {
		got = take_packet(t, &mem, &len);
		if (got == 0 && needle == NULL)
			continue;
		read_tokens(t, mem, len, got == 1);
	} while (got == 0 && (needle == NULL || strstr(t->last, needle) == NULL));
	if (got < 0) {
		t->last = talloc_asprintf(t->answer, "%s%send", t->last, t->last[0] == '\0' ? "" : " | ");
		t->tokens = talloc_asprintf(t->answer, "%s%send", t->tokens, t->tokens[0] == '\0' ? "" : " ");
	}
	talloc_free(mem);
	return t->last;
}

const char *
talker_read(struct talker *t)
{
	return talker_read_until(t, NULL);
}
