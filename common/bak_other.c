#include "common/bak_parts.h"

/* What people send by mistake, by its first bytes, and what to send instead. */
static const struct {
	const char *magic;
	size_t len;
	const char *what;
} known[] = {
	{ "PK\5\6", 4, "an empty zip archive: send the .bak that BACKUP DATABASE wrote" },
	{ "7z\xBC\xAF\x27\x1C", 6, "a 7-Zip archive: unpack it and send the .bak inside" },
	{ "\x1F\x8B", 2, "a gzip file: unpack it and send the .bak inside" },
	{ "\x28\xB5\x2F\xFD", 4, "a Zstandard file: unpack it and send the .bak inside" },
	{ "BZh", 3, "a bzip2 file: unpack it and send the .bak inside" },
	{ "\xFD" "7zXZ", 5, "an xz file: unpack it and send the .bak inside" },
	{ "Rar!\x1A\x07", 6, "a RAR archive: unpack it and send the .bak inside" },
	{ "\xD0\xCF\x11\xE0", 4, "an old Office document: send the .bak that BACKUP DATABASE wrote" },
	{ "%PDF", 4, "a PDF document: send the .bak that BACKUP DATABASE wrote" },
	{ "MZ", 2, "a Windows program (a self-extracting archive?): send the .bak itself" },
	/* A data or log file begins with its header page: version 1, type 15. */
	{ "\x01\x0F\x00\x00", 4, "a database's data or log file (.mdf, .ldf): make a backup with BACKUP DATABASE and send that" },
};

/* Zip archives that are something else, by a name inside; the names stand among the first entries. */
static const struct {
	const char *name, *what;
} zips[] = {
	{ "DacMetadata.xml", "a bacpac or dacpac (an export, no backup): make a backup with BACKUP DATABASE and send that" },
	{ "model.xml", "a bacpac or dacpac (an export, no backup): make a backup with BACKUP DATABASE and send that" },
	{ "[Content_Types].xml", "an Office document (an Excel sheet?): send the .bak that BACKUP DATABASE wrote" },
	{ "xl/", "an Excel sheet: send the .bak that BACKUP DATABASE wrote" },
};

static bool
contains(const uint8_t *mem, size_t len, const char *word)
{
	return memmem(mem, len, word, strlen(word)) != NULL;
}

/* Words a script has, in either encoding; the text comes in capitals or not. */
static bool
is_script(const uint8_t *mem, size_t len)
{
	static const char *const words[] = { "CREATE", "INSERT", "SELECT", "USE ", "BACKUP", "ALTER", "EXEC", "GO" };
	char plain[SNIFF + 1];
	size_t n = 0;

	for (size_t i = 0; i < len && n < SNIFF; i++)
		if (mem[i] != 0)
			plain[n++] = (char)(mem[i] >= 'a' && mem[i] <= 'z' ? mem[i] - 0x20 : mem[i]);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (contains((const uint8_t *)plain, n, words[i]))
			return true;
	return false;
}

static bool
is_text(const uint8_t *mem, size_t len)
{
	if (len >= 2 && ((mem[0] == 0xFF && mem[1] == 0xFE) || (mem[0] == 0xFE && mem[1] == 0xFF)))
		return true;
	for (size_t i = 0; i < len; i++)
		if (mem[i] < 0x20 && mem[i] != '\t' && mem[i] != '\n' && mem[i] != '\r' && mem[i] != '\f')
			return false;
	return true;
}

static bool
is_empty_space(const uint8_t *mem, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (mem[i] != 0)
			return false;
	return true;
}

static const char *
recognise_zip(const uint8_t *mem, size_t len, bool at_end)
{
	if (len < SNIFF && !at_end)
		return NULL;
	for (size_t i = 0; i < sizeof(zips) / sizeof(zips[0]); i++)
		if (contains(mem, len, zips[i].name))
			return zips[i].what;
	return "a zip archive: unpack it and send the .bak inside";
}

const char *
bak_recognise(const uint8_t *mem, size_t len, bool at_end)
{
	if (len == 0)
		return at_end ? "an empty file: the upload or the backup did not work; send it again" : NULL;
	if (len >= 4 && memcmp(mem, "PK\3\4", 4) == 0)
		return recognise_zip(mem, len, at_end);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (len >= known[i].len && memcmp(mem, known[i].magic, known[i].len) == 0)
			return known[i].what;
	if (len < SECTOR && !at_end)
		return NULL;
	if (is_text(mem, len))
		return is_script(mem, len) ? "a SQL script, not a backup: send the .bak that BACKUP DATABASE wrote"
		                           : "a text file, not a backup: send the .bak that BACKUP DATABASE wrote";
	if (is_empty_space(mem, len))
		return "a file that begins with nothing but zeros: the upload or the copy did not work; send it again";
	return "not a SQL Server backup: its first bytes are neither TAPE nor MSSQLBAK; send the .bak that BACKUP DATABASE wrote";
}
