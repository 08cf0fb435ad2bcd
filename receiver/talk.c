#include "receiver/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HEAD = 8 };

static void
put(struct talk_out *out, const void *mem, size_t len)
{
	if (out->too_long || len > sizeof(out->mem) - out->len) {
		out->too_long = true;
		return;
	}
	memcpy(out->mem + out->len, mem, len);
	out->len += len;
}

void
talk_u8(struct talk_out *out, uint8_t v)
{
	put(out, &v, 1);
}

void
talk_u32(struct talk_out *out, uint32_t v)
{
	const uint8_t b[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24) };

	put(out, b, 4);
}

void
talk_u64(struct talk_out *out, uint64_t v)
{
	talk_u32(out, (uint32_t)v);
	talk_u32(out, (uint32_t)(v >> 32));
}

void
talk_text(struct talk_out *out, const char *s)
{
	size_t len = s == NULL ? 0 : strlen(s);

	talk_u32(out, (uint32_t)len);
	if (len > 0)
		put(out, s, len);
}

void
talk_start(struct talk_out *out, enum talk_type type, uint32_t id)
{
	out->len = 0;
	out->too_long = false;
	for (int i = 0; i < TALK_FDS_MAX; i++)
		out->fds[i] = -1;
	talk_u32(out, (uint32_t)type);
	talk_u32(out, id);
}

void
talk_fd(struct talk_out *out, int fd)
{
	for (int i = 0; i < TALK_FDS_MAX; i++)
		if (out->fds[i] < 0) {
			out->fds[i] = fd;
			return;
		}
	out->too_long = true;
}

void
talk_attrs(struct talk_out *out, const struct talk_attrs *a)
{
	talk_u64(out, a->size);
	talk_u32(out, a->mode);
	talk_u64(out, a->mtime);
}

void
talk_opened(struct talk_out *out, const struct talk_opened *o)
{
	talk_u8(out, o->writable);
	talk_u64(out, o->upload);
	talk_u64(out, o->size);
	talk_u64(out, o->limit);
	talk_u8(out, o->backup_name);
	talk_u8(out, o->temporary_name);
	talk_u8(out, o->arrived);
	talk_text(out, o->name);
}

void
talk_policy(struct talk_out *out, const struct talk_policy *p)
{
	talk_text(out, p->migration);
	talk_text(out, p->database);
	talk_u8(out, p->allow_encrypted);
	talk_u32(out, p->newest_version);
}

bool
talk_send(int fd, struct talk_out *out, struct err *err)
{
	union { struct cmsghdr head; char mem[CMSG_SPACE(sizeof(int) * TALK_FDS_MAX)]; } control;
	struct iovec iov = { out->mem, out->len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t n = 0;
	ssize_t sent;

	if (out->too_long)
		return err_set(err, ERR_BUG, 0, "a message to the other process is too long");
	while (n < TALK_FDS_MAX && out->fds[n] >= 0)
		n++;
	if (n > 0) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.mem;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), out->fds, sizeof(int) * n);
	}
	do
		sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent != (ssize_t)out->len)
		return err_errno(err, errno, "a message could not be sent to the other process");
	return true;
}

static bool
take_fds(struct msghdr *msg, struct talk_frame *frame)
{
	size_t n = 0;
	bool good = true;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t count = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < TALK_FDS_MAX)
				frame->fds[n++] = fd;
			else {
				close(fd);
				good = false;
			}
		}
	}
	return good;
}

int
talk_receive(int fd, struct talk_frame *frame, struct err *err)
{
	union { struct cmsghdr head; char mem[CMSG_SPACE(sizeof(int) * (TALK_FDS_MAX + 2))]; } control;
	struct iovec iov = { frame->mem, sizeof(frame->mem) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.mem, .msg_controllen = sizeof(control.mem) };
	ssize_t n;

	for (int i = 0; i < TALK_FDS_MAX; i++)
		frame->fds[i] = -1;
	do
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n <= 0) {
		if (n == 0)
			err_set(err, ERR_AGAIN, 0, "the other process is gone");
		else
			err_errno(err, errno, "a message could not be read");
		return -1;
	}
	if (!take_fds(&msg, frame) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || n < HEAD) {
		talk_close_fds(frame);
		err_set(err, ERR_BROKEN, 0, "a message of the other process is not as agreed");
		return -1;
	}
	frame->body = bytes_of(frame->mem, (size_t)n);
	frame->type = (uint16_t)bytes_u32(&frame->body);
	frame->id = bytes_u32(&frame->body);
	return 1;
}

void
talk_close_fds(struct talk_frame *frame)
{
	for (int i = 0; i < TALK_FDS_MAX; i++) {
		if (frame->fds[i] >= 0)
			close(frame->fds[i]);
		frame->fds[i] = -1;
	}
}

char *
talk_take_text(struct bytes *b, TALLOC_CTX *parent)
{
	uint32_t len = bytes_u32(b);
	const uint8_t *p = len > TALK_TEXT_MAX ? NULL : bytes_take(b, len);

	if (p == NULL || memchr(p, '\0', len) != NULL) {
		b->short_of = true;
		return talloc_strdup(parent, "");
	}
	return talloc_strndup(parent, (const char *)p, len);
}

static void
take_into(struct bytes *b, char *out, size_t size)
{
	char *s = talk_take_text(b, NULL);

	if (strlen(s) >= size)
		b->short_of = true;
	else
		strcpy(out, s);
	talloc_free(s);
}

void
talk_take_attrs(struct bytes *b, struct talk_attrs *a)
{
	a->size = bytes_u64(b);
	a->mode = bytes_u32(b);
	a->mtime = bytes_u64(b);
}

void
talk_take_opened(struct bytes *b, struct talk_opened *o)
{
	memset(o, 0, sizeof(*o));
	o->writable = bytes_u8(b) != 0;
	o->upload = bytes_u64(b);
	o->size = bytes_u64(b);
	o->limit = bytes_u64(b);
	o->backup_name = bytes_u8(b) != 0;
	o->temporary_name = bytes_u8(b) != 0;
	o->arrived = bytes_u8(b) != 0;
	take_into(b, o->name, sizeof(o->name));
}

void
talk_take_policy(struct bytes *b, struct talk_policy *p)
{
	memset(p, 0, sizeof(*p));
	take_into(b, p->migration, sizeof(p->migration));
	take_into(b, p->database, sizeof(p->database));
	p->allow_encrypted = bytes_u8(b) != 0;
	p->newest_version = bytes_u32(b);
}

int
talk_memfd(const char *name, const void *mem, size_t len, struct err *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t done = 0;

	while (fd >= 0 && done < len) {
		ssize_t n = write(fd, (const char *)mem + done, len - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (fd < 0 || done < len || lseek(fd, 0, SEEK_SET) != 0) {
		err_errno(err, errno, "memory file for %s", name);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	return fd;
}
