#include "receiver/ssh.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <openssl/rand.h>

#include "common/clock.h"
#include "receiver/shim.h"

/*
 * What libssh 0.10.6 needs, tried out against the stock clients:
 *  - It never sets O_NONBLOCK on an accepted descriptor; a blocking one stops the whole loop.
 *  - The receive window is 1.28 MB at most, which caps a 100 ms line at 6 MB/s. ssh_channel_read_timeout with a
 *    large size grows it by public means: called outside the callbacks, when the callback has eaten the data, it
 *    returns at once.
 *  - ssh_channel_write writes nothing during a re-key or with a full remote window: what is left is kept and tried
 *    again after every turn.
 *  - A key type that the log-in does not want must be denied in the callback at the probe; otherwise libssh says
 *    nothing and the client hangs. There is no time limit to log in but ours.
 *  - Nothing is freed inside a callback; callback structures live as long as their channel.
 *  - What is written goes into a buffer without a limit, however little the client reads: nothing is handed over
 *    while something waits there.
 *  - A channel whose largest packet the client says to be 10 bytes makes the first write to it turn for ever.
 */

enum { LOGIN_SECONDS = 30, IDLE_SECONDS = 1800, TURN_CPU_SECONDS = 10, WINDOW = 8 * 1024 * 1024, AUTH_TRIES_MAX = 20, SAID_MAX = 64 * 1024,
       FLUSH_MS = 100, FLUSHES = 4 };

static ssh_bind host;
/* Of the one link of a process, as the library counts them; too_late: it was ended by a time limit of ours. */
static struct ssh_counter_struct raw;
static bool too_late;

struct out { uint8_t *mem; size_t len, at, room; };

struct channel {
	struct ssh_link *link;
	unsigned number;
	ssh_channel channel;    /* NULL: this place is free */
	struct ssh_channel_callbacks_struct calls;
	bool is_sftp;
	bool held;              /* bytes wait in the library */
	bool eof, gone;         /* the client will send no more; the client has closed it */
	bool hangs_up;          /* we want it closed */
	bool ended, closed;     /* its session has been told; we have sent CLOSE */
	int exit_status;
	size_t eaten;
	struct out out, err;
};

struct ssh_link {
	ssh_session session;
	ssh_event event;
	int fd, other_fd;
	const struct ssh_calls *calls;
	struct ssh_server_callbacks_struct server;
	struct channel channels[SSH_CHANNELS_MAX];
	bool is_in, is_dead, again;
	int tries;
	int64_t begun, last_bytes, armed; /* steady seconds */
	char reason[200];
};

static const char ciphers[] = "aes256-gcm@openssh.com,aes128-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";
static const char key_exchange[] = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,"
	"diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256";
static const char macs[] = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512";
static const char accepted[] = "ssh-ed25519,sk-ssh-ed25519@openssh.com,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,"
                               "sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256";

/* ---- before the jail ---------------------------------------------------------------------------------------- */

static bool
add_host_key(const char *file, char **fingerprints, struct err *err)
{
	ssh_key key = NULL;
	unsigned char *hash = NULL;
	size_t len = 0;
	char *text;

	if (ssh_pki_import_privkey_file(file, NULL, NULL, NULL, &key) != SSH_OK)
		return err_set(err, ERR_OPERATOR, 0, "host key %s cannot be read", file);
	if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &len) == 0) {
		text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, len);
		*fingerprints = talloc_asprintf_append(*fingerprints, "%s %s\n", ssh_key_type_to_char(ssh_key_type(key)), text == NULL ? "" : text);
		ssh_string_free_char(text);
		ssh_clean_pubkey_hash(&hash);
	}
	return ssh_bind_options_set(host, SSH_BIND_OPTIONS_IMPORT_KEY, key) == SSH_OK ? true
	     : err_set(err, ERR_OPERATOR, 0, "host key %s cannot be used (one per type)", file);
}

bool
ssh_prepare(char **files, size_t n, TALLOC_CTX *mem, char **fingerprints, struct err *err)
{
	uint8_t warm[32];
	bool no = false;
	ssh_key scratch = NULL;

	if (ssh_init() != SSH_OK || (host = ssh_bind_new()) == NULL)
		return err_set(err, ERR_BUG, 0, "libssh cannot start");
	ssh_bind_options_set(host, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
	*fingerprints = talloc_strdup(mem, "");
	for (size_t i = 0; i < n; i++)
		if (!add_host_key(files[i], fingerprints, err))
			return false;
	ssh_bind_options_set(host, SSH_BIND_OPTIONS_CIPHERS_C_S, ciphers);
	ssh_bind_options_set(host, SSH_BIND_OPTIONS_CIPHERS_S_C, ciphers);
	ssh_bind_options_set(host, SSH_BIND_OPTIONS_KEY_EXCHANGE, key_exchange);
	ssh_bind_options_set(host, SSH_BIND_OPTIONS_HMAC_C_S, macs);
	ssh_bind_options_set(host, SSH_BIND_OPTIONS_HMAC_S_C, macs);
	ssh_bind_options_set(host, SSH_BIND_OPTIONS_PUBKEY_ACCEPTED_KEY_TYPES, accepted);
	/* Whatever the library would open or look up later is opened now. */
	if (RAND_bytes(warm, sizeof(warm)) == 1 && ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &scratch) == SSH_OK)
		ssh_key_free(scratch);
	return n > 0 ? true : err_set(err, ERR_OPERATOR, 0, "there are no host keys (receiver.host_keys)");
}

const char *
ssh_library(void)
{
	return ssh_version(0);
}

/* ---- log-in ------------------------------------------------------------------------------------------------------ */

static int
on_key(ssh_session session, const char *user, struct ssh_key_struct *key, char state, void *ctx)
{
	static const enum ssh_keytypes_e wanted[] = { SSH_KEYTYPE_ED25519, SSH_KEYTYPE_RSA, SSH_KEYTYPE_ECDSA_P256, SSH_KEYTYPE_ECDSA_P384,
		SSH_KEYTYPE_ECDSA_P521, SSH_KEYTYPE_SK_ED25519, SSH_KEYTYPE_SK_ECDSA };
	struct ssh_link *l = ctx;
	const char *software = ssh_get_clientbanner(session);
	char *blob = NULL;
	bool is_wanted = false, good = false;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		is_wanted = is_wanted || ssh_key_type(key) == wanted[i];
	if (l->is_in || ++l->tries > AUTH_TRIES_MAX || !is_wanted || ssh_pki_export_pubkey_base64(key, &blob) != SSH_OK)
		return SSH_AUTH_DENIED;
	/* Both times, because the user may change between probe and signature. */
	if (state == SSH_PUBLICKEY_STATE_NONE || state == SSH_PUBLICKEY_STATE_VALID)
		good = l->calls->key(l->calls->ctx, user, ssh_key_type_to_char(ssh_key_type(key)), blob);
	if (good && state == SSH_PUBLICKEY_STATE_VALID)
		good = l->is_in = l->calls->login(l->calls->ctx, user, blob, software == NULL ? "" : software);
	ssh_string_free_char(blob);
	return good ? SSH_AUTH_SUCCESS : SSH_AUTH_DENIED;
}

/* ---- channels --------------------------------------------------------------------------------------------------- */

static void
put(struct out *o, const void *mem, size_t len)
{
	if (len == 0)
		return;
	if (o->at == o->len)
		o->at = o->len = 0;
	if (o->len + len > o->room && o->at > 0) {
		memmove(o->mem, o->mem + o->at, o->len - o->at);
		o->len -= o->at;
		o->at = 0;
	}
	if (o->len + len > o->room) {
		o->room = (o->len + len) * 2;
		o->mem = realloc(o->mem, o->room);
		if (o->mem == NULL)
			abort();
	}
	memcpy(o->mem + o->len, mem, len);
	o->len += len;
}

/* len is everything that waits, not only what came now. */
static int
on_data(ssh_session session, ssh_channel channel, void *data, uint32_t len, int is_stderr, void *ctx)
{
	struct channel *c = ctx;
	struct ssh_link *l = c->link;

	(void)session;
	(void)channel;
	l->last_bytes = steady_seconds();
	if (!is_stderr && c->is_sftp && !c->ended) {
		if (!l->calls->wants(l->calls->ctx, c->number)) {
			c->held = true;
			/* The library takes what a client sends beyond its window. */
			l->is_dead = l->is_dead || len > 2 * WINDOW;
			return 0;
		}
		l->calls->bytes(l->calls->ctx, c->number, data, len);
		c->held = false;
	}
	c->eaten += len;
	return (int)len;
}

static void
on_close(ssh_session session, ssh_channel channel, void *ctx)
{
	(void)session;
	(void)channel;
	((struct channel *)ctx)->gone = true;
}

static void
on_eof(ssh_session session, ssh_channel channel, void *ctx)
{
	(void)session;
	(void)channel;
	((struct channel *)ctx)->eof = true;
}

static int
on_subsystem(ssh_session session, ssh_channel channel, const char *name, void *ctx)
{
	struct channel *c = ctx;

	(void)session;
	(void)channel;
	if (c->is_sftp || c->hangs_up || strcmp(name, "sftp") != 0)
		return 1;
	c->is_sftp = true;
	c->link->calls->open(c->link->calls->ctx, c->number);
	return 0;
}

/* Ended with a word why, as sshd does where only SFTP is allowed: scp -O and scp before OpenSSH 9 come this way. */
static int
on_exec(ssh_session session, ssh_channel channel, const char *command, void *ctx)
{
	static const char why[] = "no commands here, only SFTP; use sftp, or scp of OpenSSH 9 and later without -O\r\n";
	struct channel *c = ctx;

	(void)session;
	(void)channel;
	(void)command;
	if (c->is_sftp || c->hangs_up)
		return 1;
	put(&c->err, why, sizeof(why) - 1);
	c->hangs_up = true;
	c->exit_status = 1;
	return 0;
}

static ssh_channel
on_channel(ssh_session session, void *ctx)
{
	struct ssh_link *l = ctx;
	struct channel *c = NULL;

	for (unsigned i = 0; i < SSH_CHANNELS_MAX && c == NULL; i++)
		if (l->channels[i].channel == NULL) {
			c = &l->channels[i];
			c->number = i;
		}
	if (!l->is_in || c == NULL || (c->channel = ssh_channel_new(session)) == NULL)
		return NULL;
	c->link = l;
	c->calls = (struct ssh_channel_callbacks_struct){ .userdata = c, .channel_data_function = on_data, .channel_close_function = on_close,
		.channel_eof_function = on_eof, .channel_subsystem_request_function = on_subsystem, .channel_exec_request_function = on_exec };
	ssh_callbacks_init(&c->calls);
	ssh_set_channel_callbacks(c->channel, &c->calls);
	return c->channel;
}

/* Only when the client has closed it too: until then the library calls back. */
static void
forget_channel(struct channel *c)
{
	ssh_channel_free(c->channel);
	free(c->out.mem);
	free(c->err.mem);
	memset(c, 0, sizeof(*c));
}

/* ---- the link ------------------------------------------------------------------------------------------------------ */

static int
free_link(struct ssh_link *l)
{
	for (unsigned i = 0; i < SSH_CHANNELS_MAX; i++) {
		free(l->channels[i].out.mem);
		free(l->channels[i].err.mem);
	}
	if (l->event != NULL) {
		ssh_event_remove_session(l->event, l->session);
		ssh_event_free(l->event);
	}
	if (l->session != NULL) {
		if (l->reason[0] != '\0')
			ssh_session_set_disconnect_message(l->session, l->reason);
		ssh_disconnect(l->session);
		ssh_free(l->session);
	}
	return 0;
}

static int
on_other(socket_t fd, int revents, void *ctx)
{
	struct ssh_link *l = ctx;

	(void)fd;
	(void)revents;
	if (!l->calls->other(l->calls->ctx))
		l->is_dead = true;
	return 0;
}

/* A client whose line died says nothing, which by the kernel's defaults is noticed after two hours: here after three minutes. */
static void
tune_socket(int fd)
{
	static const struct { int level, name, value; } options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 }, { SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 60 }, { IPPROTO_TCP, TCP_KEEPINTVL, 20 }, { IPPROTO_TCP, TCP_KEEPCNT, 6 },
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
}

struct ssh_link *
ssh_link_new(TALLOC_CTX *parent, int fd, int other_fd, const struct ssh_calls *calls, struct err *err)
{
	struct ssh_link *l = talloc_zero(parent, struct ssh_link);

	talloc_set_destructor(l, free_link);
	l->fd = fd;
	l->other_fd = other_fd;
	l->calls = calls;
	l->begun = l->last_bytes = steady_seconds();
	fcntl(fd, F_SETFL, O_NONBLOCK);
	tune_socket(fd);
	l->session = ssh_new();
	if (l->session == NULL || ssh_bind_accept_fd(host, l->session, fd) != SSH_OK) {
		err_set(err, ERR_AGAIN, 0, "the connection cannot be taken over: %s", ssh_get_error(host));
		talloc_free(l);
		return NULL;
	}
	shim_take(fd);
	ssh_set_blocking(l->session, 0);
	/* The library offers zlib by itself, and no option of the host's takes that away. A session's work is bounded by the bytes
	 * that it receives: they must not be able to unpack to a thousand times as many.
	 * Who wants fewer on the line takes the backup WITH COMPRESSION. */
	ssh_options_set(l->session, SSH_OPTIONS_COMPRESSION, "none");
	ssh_set_counters(l->session, &raw, NULL);
	l->server = (struct ssh_server_callbacks_struct){ .userdata = l, .auth_pubkey_function = on_key,
		.channel_open_request_session_function = on_channel };
	ssh_callbacks_init(&l->server);
	ssh_set_server_callbacks(l->session, &l->server);
	ssh_set_auth_methods(l->session, SSH_AUTH_METHOD_PUBLICKEY);
	if (ssh_handle_key_exchange(l->session) == SSH_ERROR) {
		err_set(err, ERR_AGAIN, 0, "key exchange: %s", ssh_get_error(l->session));
		talloc_free(l);
		return NULL;
	}
	l->event = ssh_event_new();
	ssh_event_add_session(l->event, l->session);
	ssh_event_add_fd(l->event, other_fd, POLLIN, on_other, l);
	return l;
}

bool
ssh_is_silent(void)
{
	return raw.in_bytes == 0 && !too_late;
}

void
ssh_link_write(struct ssh_link *l, unsigned channel, const void *mem, size_t len)
{
	put(&l->channels[channel].out, mem, len);
}

size_t
ssh_link_pending(const struct ssh_link *l, unsigned channel)
{
	return l->channels[channel].out.len - l->channels[channel].out.at;
}

void
ssh_link_say(struct ssh_link *l, unsigned channel, const char *line)
{
	struct out *o = &l->channels[channel].err;

	if (!l->channels[channel].is_sftp || o->len - o->at > SAID_MAX)
		return;
	put(o, line, strlen(line));
	put(o, "\r\n", 2);
}

void
ssh_link_hang_up(struct ssh_link *l, unsigned channel)
{
	l->channels[channel].hangs_up = true;
}

void
ssh_link_reason(struct ssh_link *l, const char *reason)
{
	snprintf(l->reason, sizeof(l->reason), "%s", reason);
	for (unsigned i = 0; i < SSH_CHANNELS_MAX; i++)
		ssh_link_say(l, i, reason);
}

static void
drain(struct channel *c, struct out *o, bool is_stderr)
{
	while (o->at < o->len && (ssh_get_status(c->link->session) & SSH_WRITE_PENDING) == 0) {
		uint32_t n = o->len - o->at > 262144 ? 262144 : (uint32_t)(o->len - o->at);
		int sent = is_stderr ? ssh_channel_write_stderr(c->channel, o->mem + o->at, n) : ssh_channel_write(c->channel, o->mem + o->at, n);

		if (sent == SSH_ERROR)
			c->gone = true;
		if (sent <= 0)
			return;
		o->at += (size_t)sent;
	}
}

static bool
is_drained(const struct channel *c)
{
	return c->out.at == c->out.len && c->err.at == c->err.len;
}

/* What waited in the library comes in, and the window grows. */
static void
take_in(struct channel *c)
{
	static char waited[WINDOW];
	const struct ssh_calls *calls = c->link->calls;
	int n;

	if ((!c->held && c->eaten < WINDOW / 4) || !calls->wants(calls->ctx, c->number))
		return;
	c->held = false;
	c->eaten = 0;
	n = ssh_channel_read_timeout(c->channel, waited, sizeof(waited), 0, 0);
	if (n <= 0)
		return;
	calls->bytes(calls->ctx, c->number, waited, (size_t)n);
	c->link->again = true;
}

/* An upload that is still open ends, and what that has to say is written. */
static void
end_channel(struct channel *c)
{
	const struct ssh_calls *calls = c->link->calls;

	c->ended = true;
	if (c->is_sftp)
		calls->closed(calls->ctx, c->number);
}

static void
close_channel(struct channel *c)
{
	c->closed = true;
	if (c->gone)
		return;
	ssh_channel_request_send_exit_status(c->channel, c->exit_status);
	ssh_channel_send_eof(c->channel);
	ssh_channel_close(c->channel);
}

static bool
is_finished(const struct channel *c)
{
	const struct ssh_calls *calls = c->link->calls;

	return c->gone || c->hangs_up ||
	       (c->eof && (!c->is_sftp || (!c->held && !c->link->again && calls->idle(calls->ctx, c->number))));
}

static void
tend_channel(struct channel *c)
{
	if (c->closed) {
		if (c->gone)
			forget_channel(c);
		return;
	}
	if (c->is_sftp && !c->ended && !c->gone && !c->hangs_up)
		take_in(c);
	if (!c->ended && is_finished(c))
		end_channel(c);
	drain(c, &c->err, true);
	drain(c, &c->out, false);
	if (c->ended && (c->gone || is_drained(c)))
		close_channel(c);
}

static bool
is_over(const struct ssh_link *l)
{
	int64_t now = steady_seconds();

	too_late = (!l->is_in && now - l->begun > LOGIN_SECONDS) || now - l->last_bytes > IDLE_SECONDS;
	return l->is_dead || (ssh_get_status(l->session) & (SSH_CLOSED | SSH_CLOSED_ERROR)) != 0 || too_late;
}

/* 0: at once; else until something happens or the time limits want looking after. */
static int
wait_ms(const struct ssh_link *l, bool busy)
{
	if (busy || l->again)
		return 0;
	for (unsigned i = 0; i < SSH_CHANNELS_MAX; i++)
		if (l->channels[i].channel != NULL && !is_drained(&l->channels[i]))
			return 20; /* WINDOW_ADJUST wakes us; a re-key's end may not */
	return 1000;
}

static void
arm(struct ssh_link *l)
{
	const struct itimerval limit = { .it_value = { TURN_CPU_SECONDS, 0 } };

	if (steady_seconds() == l->armed)
		return;
	l->armed = steady_seconds();
	setitimer(ITIMER_PROF, &limit, NULL);
}

/* The last words go out, as far as the client takes them soon. */
static void
end_channels(struct ssh_link *l)
{
	for (unsigned i = 0; i < SSH_CHANNELS_MAX; i++)
		if (l->channels[i].channel != NULL && !l->channels[i].ended)
			end_channel(&l->channels[i]);
	for (unsigned i = 0; i < FLUSHES; i++) {
		for (unsigned k = 0; k < SSH_CHANNELS_MAX; k++)
			if (l->channels[k].channel != NULL)
				tend_channel(&l->channels[k]);
		if (ssh_blocking_flush(l->session, FLUSH_MS) != SSH_OK)
			break;
	}
}

void
ssh_link_run(struct ssh_link *l)
{
	bool busy = false;

	while (!is_over(l)) {
		arm(l);
		if (ssh_event_dopoll(l->event, wait_ms(l, busy)) == SSH_ERROR)
			break;
		busy = l->again = false;
		if (l->is_dead || !l->calls->turn(l->calls->ctx, &busy))
			break;
		for (unsigned i = 0; i < SSH_CHANNELS_MAX; i++)
			if (l->channels[i].channel != NULL)
				tend_channel(&l->channels[i]);
	}
	end_channels(l);
}
