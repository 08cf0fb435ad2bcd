#include "receiver/proxy.h"

#include <string.h>

static const uint8_t signature[12] = { 0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A };
static const char word[6] = { 'P', 'R', 'O', 'X', 'Y', ' ' };

enum { V2_FIXED = 16, V2_LOCAL = 0x20, V2_PROXY = 0x21, V2_TCP4 = 0x11, V2_TCP6 = 0x21, TCP4_BYTES = 12, TCP6_BYTES = 36 };

/* ---- version 1: a line ------------------------------------------------------------------------------------------ */

static bool
is_port(const char *s)
{
	size_t len = strspn(s, "0123456789");
	unsigned port = 0;

	if (len == 0 || len > 5 || s[len] != '\0' || (s[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++)
		port = port * 10 + (unsigned)(s[i] - '0');
	return port <= 65535;
}

/* Exactly n fields with one space between two of them. */
static bool
split(char *line, char **fields, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		fields[i] = line;
		line += strcspn(line, " ");
		if ((*line == ' ') != (i + 1 < n))
			return false;
		if (*line == ' ')
			*line++ = '\0';
	}
	return true;
}

/* The line without its end and without "PROXY ". */
static enum proxy_state
read_line(struct proxy *p, char *line)
{
	char *field[5];
	struct address to;
	bool v6;

	/* Whatever stands behind UNKNOWN is to be ignored. */
	if (strcmp(line, "UNKNOWN") == 0 || strncmp(line, "UNKNOWN ", 8) == 0)
		return PROXY_ITSELF;
	if (!split(line, field, 5))
		return PROXY_BROKEN;
	v6 = strcmp(field[0], "TCP6") == 0;
	if ((!v6 && strcmp(field[0], "TCP4") != 0) || v6 != (strchr(field[1], ':') != NULL) || v6 != (strchr(field[2], ':') != NULL) ||
	    !address_parse(&p->client, field[1]) || !address_parse(&to, field[2]) || !is_port(field[3]) || !is_port(field[4]))
		return PROXY_BROKEN;
	return PROXY_CLIENT;
}

static enum proxy_state
end_line(struct proxy *p)
{
	char line[PROXY_V1_MAX + 1];
	size_t len = p->len - 2 - sizeof(word);

	memcpy(line, p->head + sizeof(word), len);
	line[len] = '\0';
	/* A NUL would hide what follows it. */
	return strlen(line) == len || strncmp(line, "UNKNOWN ", 8) == 0 ? read_line(p, line) : PROXY_BROKEN;
}

static enum proxy_state
step_line(struct proxy *p)
{
	size_t n = p->len;
	bool after_cr = n > 1 && p->head[n - 2] == '\r';

	if (n <= sizeof(word))
		return p->head[n - 1] == (uint8_t)word[n - 1] ? PROXY_MORE : PROXY_BROKEN;
	/* CR and LF only together, and only at the end. */
	if (after_cr != (p->head[n - 1] == '\n'))
		return PROXY_BROKEN;
	if (after_cr)
		return end_line(p);
	return n == PROXY_V1_MAX ? PROXY_BROKEN : PROXY_MORE;
}

/* ---- version 2: binary ------------------------------------------------------------------------------------------- */

/* The fixed part is there. */
static enum proxy_state
begin_block(struct proxy *p)
{
	uint8_t command = p->head[12], family = p->head[13];
	size_t block = (size_t)p->head[14] << 8 | p->head[15];
	bool is_short = command == V2_PROXY && ((family == V2_TCP4 && block < TCP4_BYTES) || (family == V2_TCP6 && block < TCP6_BYTES));

	p->total = V2_FIXED + block;
	if ((command != V2_LOCAL && command != V2_PROXY) || p->total > PROXY_V2_MAX || is_short)
		return PROXY_BROKEN;
	/* Of LOCAL the family is ignored too. */
	return command == V2_PROXY && (family >> 4 > 3 || (family & 0x0F) > 2) ? PROXY_BROKEN : PROXY_MORE;
}

/* Families that carry no Internet stream (UDP, Unix, not said) fall back to the real peer, as the specification has it. */
static enum proxy_state
end_block(struct proxy *p)
{
	bool relayed = p->head[12] == V2_PROXY;

	if (relayed && p->head[13] == V2_TCP4)
		p->client = address_of_v4(p->head + V2_FIXED);
	else if (relayed && p->head[13] == V2_TCP6)
		memcpy(p->client.b, p->head + V2_FIXED, sizeof(p->client.b));
	else
		return PROXY_ITSELF;
	return PROXY_CLIENT;
}

/* What stands behind the addresses (TLVs, a checksum among them) is skipped: TCP has its own, and the balancer is believed anyway. */
static enum proxy_state
step_block(struct proxy *p)
{
	enum proxy_state state = PROXY_MORE;

	if (p->len <= sizeof(signature))
		return p->head[p->len - 1] == signature[p->len - 1] ? PROXY_MORE : PROXY_BROKEN;
	if (p->len == V2_FIXED)
		state = begin_block(p);
	return state == PROXY_MORE && p->len == p->total ? end_block(p) : state;
}

/* ---- both ------------------------------------------------------------------------------------------------------------ */

size_t
proxy_push(struct proxy *p, const void *mem, size_t len)
{
	const uint8_t *bytes = mem;
	size_t i = 0;

	while (p->state == PROXY_MORE && i < len) {
		if (p->len < sizeof(p->head))
			p->head[p->len] = bytes[i];
		p->len++;
		i++;
		p->state = p->head[0] == (uint8_t)word[0] ? step_line(p) : step_block(p);
	}
	return i;
}
