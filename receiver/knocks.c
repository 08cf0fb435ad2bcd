#include "receiver/knocks.h"

#include <string.h>

#include "receiver/keys.h"

enum { USER_MAX = 40, BLOB_MAX = 4096 };

/* user NULL: the place is free. */
struct knock { struct address address; char *user, *blob; };

struct knocks {
	struct knock ring[KNOCKS_MAX];
	unsigned next;
};

struct knocks *
knocks_new(TALLOC_CTX *parent)
{
	return talloc_zero(parent, struct knocks);
}

static void
forget(struct knock *k)
{
	TALLOC_FREE(k->user);
	TALLOC_FREE(k->blob);
}

static bool
is_kept(const struct knocks *knocks, const struct address *address, const char *user, const char *blob)
{
	for (unsigned i = 0; i < KNOCKS_MAX; i++) {
		const struct knock *k = &knocks->ring[i];

		if (k->user != NULL && address_is_same(&k->address, address) && strcmp(k->user, user) == 0 && strcmp(k->blob, blob) == 0)
			return true;
	}
	return false;
}

void
knocks_add(struct knocks *knocks, const struct address *address, const char *user, const char *blob)
{
	struct knock *k = &knocks->ring[knocks->next];

	if (strlen(user) >= USER_MAX || strlen(blob) >= BLOB_MAX || is_kept(knocks, address, user, blob))
		return;
	forget(k);
	*k = (struct knock){ *address, talloc_strdup(knocks, user), talloc_strdup(knocks, blob) };
	knocks->next = (knocks->next + 1) % KNOCKS_MAX;
}

/* Those of this one key that the keyring allows. */
static void
answer_key(struct knocks *knocks, const char *user, const char *blob, const json_t *keyring, int64_t now,
           void (*let_in)(void *ctx, const struct address *address), void *ctx)
{
	char text[ADDRESS_TEXT_MAX];

	for (unsigned i = 0; i < KNOCKS_MAX; i++) {
		struct knock *k = &knocks->ring[i];

		if (k->user == NULL || strcmp(k->user, user) != 0 || strcmp(k->blob, blob) != 0)
			continue;
		address_text(&k->address, text);
		if (!keys_allow(keyring, user, blob, text, now, NULL))
			continue;
		let_in(ctx, &k->address);
		forget(k);
	}
}

/* The keyring, which may have ten thousand keys, is gone through once, and not once for each stranger who knocked. */
void
knocks_answer(struct knocks *knocks, const json_t *keyring, int64_t now, void (*let_in)(void *ctx, const struct address *address), void *ctx)
{
	const json_t *list = json_object_get(keyring, "keys");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *key = json_array_get(list, i);
		const char *user = json_string_value(json_object_get(key, "migration")), *blob = json_string_value(json_object_get(key, "blob"));

		if (user != NULL && blob != NULL)
			answer_key(knocks, user, blob, keyring, now, let_in, ctx);
	}
}
