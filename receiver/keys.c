#include "receiver/keys.h"

#include <stdio.h>
#include <string.h>

#include "receiver/address.h"

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
	struct address peer;

	if (json_array_size(list) == 0)
		return true;
	for (size_t i = 0; address_parse(&peer, address) && i < json_array_size(list); i++) {
		const char *range = json_string_value(json_array_get(list, i));

		if (range != NULL && address_is_in(&peer, range))
			return true;
	}
	return false;
}

static int64_t
end_of(const json_t *key)
{
	const json_t *expires = json_object_get(key, "expires");

	return json_is_integer(expires) ? json_integer_value(expires) : INT64_MAX;
}

bool
keys_allow(const json_t *keyring, const char *user, const char *blob, const char *address, int64_t now, int64_t *until)
{
	const json_t *list = json_object_get(keyring, "keys");
	int64_t last = 0;

	/* The whole list is gone through whether or not the user is known. */
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *k = json_array_get(list, i);

		if (strcmp(text(k, "migration"), user) == 0 && strcmp(text(k, "blob"), blob) == 0 && is_allowed_from(k, address) && end_of(k) > last)
			last = end_of(k);
	}
	if (until != NULL)
		*until = last;
	return last > now;
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
		/* Not from migration, which may have been the policy's own name. */
		snprintf(policy->migration, sizeof(policy->migration), "%s", text(m, "id"));
		snprintf(policy->database, sizeof(policy->database), "%s", text(m, "database"));
		policy->allow_encrypted = json_is_true(json_object_get(m, "allow_encrypted"));
		policy->newest_version = (uint32_t)json_integer_value(json_object_get(m, "newest_version"));
		*quota_bytes = (uint64_t)json_integer_value(json_object_get(m, "quota_bytes"));
		*quota_files = (unsigned)json_integer_value(json_object_get(m, "quota_files"));
		return true;
	}
	return false;
}
