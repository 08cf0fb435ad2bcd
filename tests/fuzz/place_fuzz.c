#include <string.h>

#include <talloc.h>

#include "common/lsn.h"
#include "common/text.h"
#include "receiver/place.h"
#include "tests/fuzz/fuzz.h"

/* Names that clients send, and the short texts that are read elsewhere: LSNs, GUIDs, what is shown of a stranger's text. */

static void
check_spot(TALLOC_CTX *mem, const char *spot)
{
	struct err err = { 0 };
	const char *again = place_normal(mem, spot, strlen(spot), &err);

	if (spot[0] != '/' || strlen(spot) > PLACE_PATH_MAX + 1 || !text_is_utf8(spot, strlen(spot)))
		fuzz_broken("a spot that cannot be");
	if (strstr(spot, "//") != NULL || strstr(spot, "/../") != NULL || strstr(spot, "/./") != NULL ||
	    (strlen(spot) > 2 && strcmp(spot + strlen(spot) - 3, "/..") == 0))
		fuzz_broken("a spot that is not normal: %s", spot);
	if (again == NULL || strcmp(again, spot) != 0)
		fuzz_broken("a spot is not its own normal form: %s", spot);
	place_kind(spot);
	place_is_backup(place_base(spot));
	place_is_temporary(place_base(spot));
	place_parent(mem, spot);
}

static void
check_numbers(const char *s)
{
	struct lsn lsn, lsn_again;
	struct guid guid, guid_again;

	if (lsn_parse(s, &lsn) && (!lsn_parse(lsn_text(lsn).s, &lsn_again) || lsn_compare(lsn, lsn_again) != 0))
		fuzz_broken("LSN %s is %s", s, lsn_text(lsn).s);
	if (guid_parse(s, &guid) && (!guid_parse(guid_text(guid).s, &guid_again) || !guid_equal(guid, guid_again)))
		fuzz_broken("GUID %s is %s", s, guid_text(guid).s);
}

static void
check_shown(TALLOC_CTX *mem, const char *s)
{
	const char *const shown[] = { text_escaped(mem, s), text_shown(mem, s), text_html(mem, s) };
	char small[16];
	size_t bytes;

	text_escape(small, sizeof(small), s, 64);
	for (size_t i = 0; i < 3; i++) {
		if (!text_is_utf8(shown[i], strlen(shown[i])) || strpbrk(shown[i], "\x1b\r\b") != NULL)
			fuzz_broken("shown as it is: %s", shown[i]);
		if (i == 2 && strpbrk(shown[i], "<>\"'") != NULL)
			fuzz_broken("HTML goes through");
	}
	talloc_steal(mem, text_to_utf16(mem, s, &bytes));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	struct err err = { 0 };
	char *copy = talloc_strndup(mem, (const char *)bytes, len), *spot = place_normal(mem, (const char *)bytes, len, &err), *text;

	if (spot != NULL)
		check_spot(mem, spot);
	else if (err.kind != ERR_REFUSED || err.text[0] == '\0')
		fuzz_broken("refused without a word");
	check_numbers(copy);
	check_shown(mem, copy);
	text = text_from_utf16(mem, bytes, len, 256);
	if (!text_is_utf8(text, strlen(text)))
		fuzz_broken("UTF-16 became something else than UTF-8");
	talloc_free(mem);
	return 0;
}

void
fuzz_seeds(const struct fuzz_taker *taker)
{
	static const char *const seeds[] = {
		"/a/b/../c.bak", "../../etc/passwd", "receipts/x.txt", "x.trn.filepart", "24000000006800099", "24:68:99", "\xC3\xA9\xE2\x80\xAE<b>\"'&\x1b[2J",
		"6f9619ff-8b86-d011-b42d-00cf4fc964ff", "C:\\data\\x.bak",
	};
	char name[] = "text-0";

	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++, name[5]++)
		taker->take(taker->ctx, name, (const uint8_t *)seeds[i], strlen(seeds[i]));
}
