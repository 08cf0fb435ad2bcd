/*
 * The PROXY header that a balancer puts in front of a connection, versions 1 and 2, pushed in as it comes.
 *
 * Pure and without memory of its own beyond the struct; the answer is the same however the bytes were split, and
 * no byte behind the header is taken. Source: HAProxy's "The PROXY protocol" (proxy-protocol.txt), sections 2.1
 * and 2.2. Which peers may send one is not decided here: it is believed word for word.
 */
#ifndef LANDFALL_PROXY_H
#define LANDFALL_PROXY_H

#include <stddef.h>
#include <stdint.h>

#include "receiver/address.h"

/* Version 1 is 107 bytes at most by the specification. Version 2 may claim 65,535; balancers that are known send a few hundred. */
enum { PROXY_V1_MAX = 107, PROXY_V2_MAX = 16 + 2048 };

enum proxy_state {
	PROXY_MORE = 0,
	PROXY_CLIENT,   /* relayed for client */
	PROXY_ITSELF,   /* the balancer's own (a health check), or it cannot tell for whom: the real peer counts */
	PROXY_BROKEN,   /* no such header, or too long a one */
};

struct proxy {
	enum proxy_state state;
	struct address client;
	size_t len, total;              /* bytes so far; of version 2 in all, once known */
	uint8_t head[PROXY_V1_MAX + 1]; /* the line, or what counts of version 2 */
};

/* Starts as all zeros. How many of the bytes belonged to the header; the rest is the connection's. */
size_t proxy_push(struct proxy *proxy, const void *mem, size_t len);

#endif
