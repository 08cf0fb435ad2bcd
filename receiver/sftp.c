#include "receiver/sftp.h"

#include <string.h>

#include "common/bytes.h"

enum { FXP_VERSION = 2, FXP_STATUS = 101, FXP_HANDLE, FXP_DATA, FXP_NAME, FXP_ATTRS, FXP_EXTENDED_REPLY = 201 };
enum { ATTR_SIZE = 1, ATTR_UIDGID = 2, ATTR_PERMISSIONS = 4, ATTR_ACMODTIME = 8 };
#define ATTR_EXTENDED UINT32_C(0x80000000)

struct sftp {
	uint8_t *mem;
	size_t len, at, room;
	bool broken;
};

/* ---- in -------------------------------------------------------------------------------------------------- */

struct sftp *
sftp_new(TALLOC_CTX *parent)
{
	return talloc_zero(parent, struct sftp);
}

void
sftp_push(struct sftp *p, const void *mem, size_t len)
{
	if (len == 0)
		return;
	if (p->at > 0 && (p->at == p->len || p->len + len > p->room)) {
		memmove(p->mem, p->mem + p->at, p->len - p->at);
		p->len -= p->at;
		p->at = 0;
	}
	if (p->len + len > p->room) {
		p->room = (p->len + len) * 2;
		p->mem = talloc_realloc(p, p->mem, uint8_t, p->room);
	}
	memcpy(p->mem + p->len, mem, len);
	p->len += len;
}

size_t
sftp_waiting(const struct sftp *p)
{
	return p->len - p->at;
}

static struct sftp_text
take_text(struct bytes *b)
{
	uint32_t len = bytes_u32be(b);

	return (struct sftp_text){ (const char *)bytes_take(b, len), len };
}

static void
take_attrs(struct bytes *b, struct sftp_attrs *a)
{
	uint32_t flags = bytes_u32be(b), n;

	if (flags & ATTR_SIZE) {
		a->has_size = true;
		a->size = bytes_u64be(b);
	}
	if (flags & ATTR_UIDGID)
		bytes_take(b, 8); /* whose it is there means nothing here */
	if (flags & ATTR_PERMISSIONS) {
		a->has_mode = true;
		a->mode = bytes_u32be(b);
	}
	if (flags & ATTR_ACMODTIME) {
		a->has_times = true;
		a->atime = bytes_u32be(b);
		a->mtime = bytes_u32be(b);
	}
	if (flags & ATTR_EXTENDED) {
		n = bytes_u32be(b);
		for (uint32_t i = 0; i < n && !b->short_of; i++) {
			take_text(b);
			take_text(b);
		}
	}
}

static bool
is_named(struct sftp_text t, const char *name)
{
	return t.len == strlen(name) && t.s != NULL && memcmp(t.s, name, t.len) == 0;
}

/* What is not known is not looked into: it is answered with OP_UNSUPPORTED. */
static void
take_extended(struct bytes *b, struct sftp_request *r)
{
	static const char *const with_path[] = { "posix-rename@openssh.com", "statvfs@openssh.com", "expand-path@openssh.com", "home-directory",
		"lsetstat@openssh.com" };
	static const char *const with_handle[] = { "fsync@openssh.com", "fstatvfs@openssh.com" };

	r->name = take_text(b);
	for (size_t i = 0; i < sizeof(with_path) / sizeof(with_path[0]); i++)
		if (is_named(r->name, with_path[i]))
			r->path = take_text(b);
	for (size_t i = 0; i < sizeof(with_handle) / sizeof(with_handle[0]); i++)
		if (is_named(r->name, with_handle[i]))
			r->handle = take_text(b);
	if (is_named(r->name, "posix-rename@openssh.com"))
		r->other = take_text(b);
	if (is_named(r->name, "lsetstat@openssh.com"))
		take_attrs(b, &r->attrs);
}

static void
take_fields(struct bytes *b, struct sftp_request *r)
{
	switch (r->type) {
	case SFTP_OPEN:
		r->path = take_text(b);
		r->flags = bytes_u32be(b);
		take_attrs(b, &r->attrs);
		break;
	case SFTP_CLOSE: case SFTP_FSTAT: case SFTP_READDIR:
		r->handle = take_text(b);
		break;
	case SFTP_READ:
		r->handle = take_text(b);
		r->offset = bytes_u64be(b);
		r->length = bytes_u32be(b);
		break;
	case SFTP_WRITE:
		r->handle = take_text(b);
		r->offset = bytes_u64be(b);
		r->length = bytes_u32be(b);
		r->data = bytes_take(b, r->length);
		break;
	case SFTP_LSTAT: case SFTP_STAT: case SFTP_OPENDIR: case SFTP_REMOVE: case SFTP_RMDIR: case SFTP_REALPATH: case SFTP_READLINK:
		r->path = take_text(b);
		break;
	case SFTP_SETSTAT: case SFTP_MKDIR:
		r->path = take_text(b);
		take_attrs(b, &r->attrs);
		break;
	case SFTP_FSETSTAT:
		r->handle = take_text(b);
		take_attrs(b, &r->attrs);
		break;
	case SFTP_RENAME: case SFTP_SYMLINK:
		r->path = take_text(b);
		r->other = take_text(b);
		break;
	case SFTP_EXTENDED:
		take_extended(b, r);
		break;
	default:
		break; /* unknown: answered with OP_UNSUPPORTED by its id */
	}
}

int
sftp_next(struct sftp *p, struct sftp_request *r, struct err *err)
{
	struct bytes b = bytes_of(p->mem + p->at, p->len - p->at);
	uint32_t len;

	if (p->broken || bytes_left(&b) < 4) {
		if (p->broken)
			err_set(err, ERR_BROKEN, 0, "the SFTP conversation is broken");
		return p->broken ? -1 : 0;
	}
	len = bytes_u32be(&b);
	if (len < 5 || len > SFTP_PACKET_MAX) {
		p->broken = true;
		err_set(err, ERR_BROKEN, 0, "an SFTP packet says it has %u bytes; at most %d are taken", len, SFTP_PACKET_MAX);
		return -1;
	}
	if (bytes_left(&b) < len)
		return 0;
	b.len = 4 + len;
	p->at += 4 + len;
	memset(r, 0, sizeof(*r));
	r->type = bytes_u8(&b);
	r->id = bytes_u32be(&b);
	if (r->type != SFTP_INIT)
		take_fields(&b, r);
	if (b.short_of) {
		p->broken = true;
		err_set(err, ERR_BROKEN, 0, "an SFTP request of type %u is shorter than it says", r->type);
		return -1;
	}
	return 1;
}

/* ---- out -------------------------------------------------------------------------------------------------------- */

static uint8_t *
grow(struct sftp_out *out, size_t n)
{
	if (out->len + n > out->room) {
		out->room = (out->len + n) * 2 + 1024;
		out->mem = talloc_realloc(NULL, out->mem, uint8_t, out->room);
	}
	out->len += n;
	return out->mem + out->len - n;
}

static void
put_u8(struct sftp_out *out, unsigned v)
{
	*grow(out, 1) = (uint8_t)v;
}

static void
put_u32(struct sftp_out *out, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(grow(out, 4), &v, 4);
}

static void
put_u64(struct sftp_out *out, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(grow(out, 8), &v, 8);
}

static void
put_text(struct sftp_out *out, const char *s)
{
	size_t len = strlen(s);

	put_u32(out, (uint32_t)len);
	memcpy(grow(out, len), s, len);
}

/* Length is known at the end: it stands before the type. */
static size_t
begin(struct sftp_out *out, unsigned type, uint32_t id)
{
	size_t at = out->len;

	put_u32(out, 0);
	put_u8(out, type);
	put_u32(out, id);
	return at;
}

static void
end(struct sftp_out *out, size_t at)
{
	uint32_t len = __builtin_bswap32((uint32_t)(out->len - at - 4));

	memcpy(out->mem + at, &len, 4);
}

void
sftp_put_version(struct sftp_out *out)
{
	static const char *const extensions[][2] = {
		{ "posix-rename@openssh.com", "1" }, { "statvfs@openssh.com", "2" }, { "fstatvfs@openssh.com", "2" }, { "fsync@openssh.com", "1" },
		{ "limits@openssh.com", "1" }, { "expand-path@openssh.com", "1" }, { "home-directory", "1" },
		{ "lsetstat@openssh.com", "1" },
	};
	size_t at = out->len;

	put_u32(out, 0);
	put_u8(out, FXP_VERSION);
	put_u32(out, SFTP_VERSION);
	for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
		put_text(out, extensions[i][0]);
		put_text(out, extensions[i][1]);
	}
	end(out, at);
}

void
sftp_put_status(struct sftp_out *out, uint32_t id, enum sftp_status status, const char *message)
{
	size_t at = begin(out, FXP_STATUS, id);

	put_u32(out, (uint32_t)status);
	put_text(out, message == NULL ? "" : message);
	put_text(out, "en");
	end(out, at);
}

void
sftp_put_handle(struct sftp_out *out, uint32_t id, const void *handle, size_t len)
{
	size_t at = begin(out, FXP_HANDLE, id);

	put_u32(out, (uint32_t)len);
	memcpy(grow(out, len), handle, len);
	end(out, at);
}

static void
put_attrs(struct sftp_out *out, const struct sftp_attrs *a)
{
	put_u32(out, (a->has_size ? ATTR_SIZE : 0u) | (a->has_mode ? ATTR_PERMISSIONS : 0u) | (a->has_times ? ATTR_ACMODTIME : 0u));
	if (a->has_size)
		put_u64(out, a->size);
	if (a->has_mode)
		put_u32(out, a->mode);
	if (a->has_times) {
		put_u32(out, a->atime);
		put_u32(out, a->mtime);
	}
}

void
sftp_put_attrs(struct sftp_out *out, uint32_t id, const struct sftp_attrs *attrs)
{
	size_t at = begin(out, FXP_ATTRS, id);

	put_attrs(out, attrs);
	end(out, at);
}

uint8_t *
sftp_begin_data(struct sftp_out *out, uint32_t id, size_t len)
{
	begin(out, FXP_DATA, id);
	put_u32(out, 0);
	grow(out, len);
	out->len -= len;
	return out->mem + out->len;
}

void
sftp_end_data(struct sftp_out *out, size_t len)
{
	uint32_t n = __builtin_bswap32((uint32_t)len);

	memcpy(out->mem + out->len - 4, &n, 4);
	out->len += len;
	end(out, out->len - len - 13);
}

static const size_t name_head = 4 + 1 + 4; /* where the count of a NAME packet stands, from its start */

void
sftp_begin_names(struct sftp_out *out, uint32_t id)
{
	begin(out, FXP_NAME, id);
	put_u32(out, 0);
}

void
sftp_put_name(struct sftp_out *out, const char *name, const char *longname, const struct sftp_attrs *attrs)
{
	put_text(out, name);
	put_text(out, longname);
	put_attrs(out, attrs);
}

void
sftp_end_names(struct sftp_out *out, uint32_t n)
{
	uint32_t count = __builtin_bswap32(n);

	/* A NAME packet is built in an empty buffer. */
	memcpy(out->mem + name_head, &count, 4);
	end(out, 0);
}

void
sftp_put_numbers(struct sftp_out *out, uint32_t id, const uint64_t *numbers, size_t n)
{
	size_t at = begin(out, FXP_EXTENDED_REPLY, id);

	for (size_t i = 0; i < n; i++)
		put_u64(out, numbers[i]);
	end(out, at);
}
