#include "common/row_hash.h"

#include <openssl/evp.h>

#include "common/text.h"

struct row_hash { EVP_MD_CTX *md; uint64_t rows; };

static int
free_hash(struct row_hash *h)
{
	EVP_MD_CTX_free(h->md);
	return 0;
}

struct row_hash *
row_hash_new(TALLOC_CTX *parent)
{
	struct row_hash *h = talloc_zero(parent, struct row_hash);

	h->md = EVP_MD_CTX_new();
	EVP_DigestInit_ex(h->md, EVP_sha256(), NULL);
	talloc_set_destructor(h, free_hash);
	return h;
}

void
row_hash_row(struct row_hash *h, const char *const *values, const size_t *lengths, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t len = __builtin_bswap64(values[i] == NULL ? UINT64_MAX : (uint64_t)lengths[i]);

		EVP_DigestUpdate(h->md, &len, sizeof(len));
		if (values[i] != NULL)
			EVP_DigestUpdate(h->md, values[i], lengths[i]);
	}
	h->rows++;
}

uint64_t
row_hash_rows(const struct row_hash *h)
{
	return h->rows;
}

void
row_hash_end(struct row_hash *h, char hex[65])
{
	uint8_t hash[EVP_MAX_MD_SIZE];

	EVP_DigestFinal_ex(h->md, hash, NULL);
	text_hex(hex, hash, 32);
}
