#include "common/bak_parts.h"

#include <string.h>

/* What people send by mistake, by its first bytes, and what to send instead. */
static const struct {
	const char *magic;
	size_t len;
	const char *what;
} known[] = {
	{ "PK\3\4", 4, "a zip archive (or an Excel sheet, bacpac or dacpac, which are zip archives): unpack it, or send "
	               "the .bak that BACKUP DATABASE wrote" },
	{ "PK\5\6", 4, "an empty zip archive: send the .bak that BACKUP DATABASE wrote" },
	{ "7z\xBC\xAF\x27\x1C", 6, "a 7-Zip archive: unpack it and send the .bak inside" },
	{ "\x1F\x8B", 2, "a gzip file: unpack it and send the .bak inside" },
	{ "\x28\xB5\x2F\xFD", 4, "a Zstandard file: unpack it and send the .bak inside" },
	{ "Rar!\x1A\x07", 6, "a RAR archive: unpack it and send the .bak inside" },
	{ "\xD0\xCF\x11\xE0", 4, "an old Office document: send the .bak that BACKUP DATABASE wrote" },
	/* A data file begins with its header page: version 1, type 15. */
	{ "\x01\x0F\x00\x00", 4, "a database's data or log file (.mdf, .ldf): make a backup with BACKUP DATABASE and send that" },
};

static bool
is_text(const uint8_t *mem, size_t len)
{
	size_t i = 0;

	if (len >= 2 && ((mem[0] == 0xFF && mem[1] == 0xFE) || (mem[0] == 0xFE && mem[1] == 0xFF)))
		return true;
	for (; i < len; i++)
		if (mem[i] < 0x20 && mem[i] != '\t' && mem[i] != '\n' && mem[i] != '\r' && mem[i] != '\f')
			return false;
	return true;
}

const char *
bak_recognise(const uint8_t *mem, size_t len, bool at_end)
{
	enum { ENOUGH = 512 };

	if (len == 0)
		return at_end ? "an empty file: the upload or the backup did not work; send it again" : NULL;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		size_t n = len < known[i].len ? len : known[i].len;

		if (memcmp(mem, known[i].magic, n) != 0)
			continue;
		if (n == known[i].len)
			return known[i].what;
		if (!at_end)
			return NULL;
	}
	if (len < ENOUGH && !at_end)
		return NULL;
	if (is_text(mem, len < ENOUGH ? len : ENOUGH))
		return "a text file (a script?): send the .bak that BACKUP DATABASE wrote";
	return "not a SQL Server backup: its first bytes are neither TAPE nor MSSQLBAK; send the .bak that BACKUP DATABASE wrote";
}
