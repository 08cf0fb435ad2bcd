#include "tests/standin/openssl_says.h"

#include <openssl/err.h>

bool
openssl_says(struct err *err, const char *what, const char *where)
{
	char why[160];

	ERR_error_string_n(ERR_get_error(), why, sizeof(why));
	ERR_clear_error();
	return err_set(err, ERR_OPERATOR, 0, "%s %s: %s", what, where, why);
}
