#include "receiver/keys.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool
keys_address_in(const char *address, const char *range)
{
	char copy[128], *slash;
	uint8_t a[16], b[16];
	int family = strchr(address, ':') == NULL ? AF_INET : AF_INET6, bits = family == AF_INET ? 32 : 128;

	snprintf(copy, sizeof(copy), "%s", range);
	slash = strchr(copy, '/');
	if (slash != NULL) {
		*slash = '\0';
		/* What is no number must not become 0, which would let everybody in. */
		if (slash[1] == '\0' || strspn(slash + 1, "0123456789") != strlen(slash + 1) || strlen(slash + 1) > 3)
			return false;
		bits = atoi(slash + 1);
	}
	if (inet_pton(family, address, a) != 1 || inet_pton(family, copy, b) != 1 || bits < 0 || bits > (family == AF_INET ? 32 : 128))
		return false;
	for (int i = 0; i < bits; i++)
		if (((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1) != 0)
			return false;
	return true;
}

static const char *
text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s == NULL ? "" : s;
}

static bool
is_allowed_from(const json_t *key, const char *address)
{
	const json_t *list = json_object_get(key, "from");

	for (size_t i = 0; i < json_array_size(list); i++)
		if (keys_address_in(address, json_string_value(json_array_get(list, i))))
			return true;
	return json_array_size(list) == 0;
}

bool
keys_allow(const json_t *keyring, const char *user, const char *blob, const char *address, int64_t now)
{
	const json_t *list = json_object_get(keyring, "keys");
	bool allowed = false;

	/* The whole list is gone through whether or not the user is known. */
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *k = json_array_get(list, i), *expires = json_object_get(k, "expires");

		if (strcmp(text(k, "migration"), user) == 0 && strcmp(text(k, "blob"), blob) == 0 && is_allowed_from(k, address) &&
		    (!json_is_integer(expires) || json_integer_value(expires) > now))
			allowed = true;
	}
	return allowed;
}

bool
keys_policy(const json_t *keyring, const char *migration, struct talk_policy *policy, uint64_t *quota_bytes, unsigned *quota_files)
{
	const json_t *list = json_object_get(keyring, "migrations");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *m = json_array_get(list, i);

		if (strcmp(text(m, "id"), migration) != 0)
			continue;
		memset(policy, 0, sizeof(*policy));
		snprintf(policy->migration, sizeof(policy->migration), "%s", migration);
		snprintf(policy->database, sizeof(policy->database), "%s", text(m, "database"));
		policy->allow_encrypted = json_is_true(json_object_get(m, "allow_encrypted"));
		policy->newest_version = (uint32_t)json_integer_value(json_object_get(m, "newest_version"));
		*quota_bytes = (uint64_t)json_integer_value(json_object_get(m, "quota_bytes"));
		*quota_files = (unsigned)json_integer_value(json_object_get(m, "quota_files"));
		return true;
	}
	return false;
}
