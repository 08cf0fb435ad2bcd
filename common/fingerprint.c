#include "common/fingerprint.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

void
fingerprint_of_bytes(const void *mem, size_t len, char out[FINGERPRINT_MAX])
{
	uint8_t hash[EVP_MAX_MD_SIZE], text[64];

	EVP_Digest(mem, len, hash, NULL, EVP_sha256(), NULL);
	EVP_EncodeBlock(text, hash, 32);
	text[strcspn((char *)text, "=")] = '\0';
	snprintf(out, FINGERPRINT_MAX, "SHA256:%s", (char *)text);
}

bool
fingerprint_of(const char *blob, char out[FINGERPRINT_MAX])
{
	size_t len = strlen(blob);
	uint8_t raw[FINGERPRINT_BLOB_MAX];
	int size;

	out[0] = '\0';
	if (len < 4 || len % 4 != 0 || len > FINGERPRINT_BLOB_MAX || (size = EVP_DecodeBlock(raw, (const uint8_t *)blob, (int)len)) <= 0)
		return false;
	size -= (blob[len - 1] == '=') + (blob[len - 2] == '=');
	fingerprint_of_bytes(raw, (size_t)size, out);
	return true;
}
