/*
 * Peers' addresses in one form: 16 bytes, IPv4 as ::ffff:a.b.c.d, so that a dual-stack listener, a balancer's
 * header and a list in the configuration all mean the same one. Pure.
 */
#ifndef LANDFALL_ADDRESS_H
#define LANDFALL_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

enum { ADDRESS_TEXT_MAX = 46 };

struct address { uint8_t b[16]; };

bool address_parse(struct address *address, const char *text);
struct address address_of_v4(const uint8_t b[4]);
void address_text(const struct address *address, char text[static ADDRESS_TEXT_MAX]); /* IPv4 as 192.0.2.1 */
bool address_is_same(const struct address *a, const struct address *b);

/* What one peer can fill at will: an IPv4 address, or the /64 that an IPv6 host gets as a whole. */
struct address address_network(const struct address *address);

/* range is 10.0.0.0/8, 2001:db8::/32, or one address. What is no range contains nobody. */
bool address_is_in(const struct address *address, const char *range);
bool address_is_range(const char *range);

#endif
