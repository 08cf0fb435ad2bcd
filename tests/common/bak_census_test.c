#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/common/backup_file.h"

/*
 * Every bit of everything in a backup that is neither page nor log: flipped, one at a time, it is found, or it
 * stands in the table below with the reason why nothing in the file could show it.
 */

enum when { HEAD = 1, END = 2, BOTH = HEAD | END };
enum { EVERY = 0xFF, TO_ITS_END = 0x10000 };

/*
 * Bits of the bytes from..to-1 of a structure whose damage nothing shows; when tells the catalogue in front of
 * the data from the one behind it. The offsets are those of SQL Server 2012 and later.
 */
static const struct blind {
	const char *id;
	enum when when;
	unsigned from, to;
	uint8_t bits;
	const char *why;
} table[] = {
	{ "TAPE", BOTH, 0x38, 0x3E, EVERY, "attributes and the place in a family of tapes: stand nowhere else" },
	{ "TAPE", BOTH, 0x3E, 0x44, EVERY, "password algorithm, size of marks, catalogue type: stand nowhere else, and marks say their size themselves" },
	{ "TAPE", BOTH, 0x44, 0x4C, EVERY, "name and description of the medium stand nowhere else" },
	{ "TAPE", BOTH, 0x4C, 0x50, EVERY, "the media password: shown as a finding, and nothing says that there is none" },
	{ "TAPE", BOTH, 0x50, 0x51, 0x06, "the end of the program's name, behind which two NULs stand" },
	{ "TAPE", BOTH, 0x55, 0x56, 0x04, "logical block size: none reads as the 1,024 that every file has" },
	{ "TAPE", BOTH, 0x56, 0x5E, EVERY, "vendor, date and version of the medium stand nowhere else" },
	{ "TAPE", BOTH, 0x86, TO_ITS_END, EVERY, "behind the program's name" },
	{ "RAID", BOTH, 0x00, 0x14, EVERY, "the media set's id stands in this place only: a stripe finds no partner then" },
	{ "RAID", BOTH, 0x14, 0x15, 0x3E, "the number of stripes stands nowhere else: the others are missed then" },
	{ "RAID", BOTH, 0x16, 0x18, EVERY, "the number of mirrors stands nowhere else" },
	{ "RAID", BOTH, 0x1A, 0x20, EVERY, "not known what it is" },
	{ "SFMB", BOTH, 52, TO_ITS_END, EVERY, "places of earlier marks, for tapes" },
	{ "SSET", BOTH, 0x38, 0x3E, EVERY, "password and compression algorithm, vendor: stand nowhere else" },
	{ "SSET", BOTH, 0x44, 0x48, EVERY, "a description; only empty ones were seen in the set map" },
	{ "SSET", BOTH, 0x48, 0x4C, EVERY, "the set's password: shown as a finding, and nothing says that there is none" },
	{ "SSET", BOTH, 0x5F, 0x64, EVERY, "the server's time zone stands nowhere else" },
	{ "SSET", BOTH, 0x74, 0x79, EVERY, "the expiration date stands nowhere else" },
	{ "SSET", BOTH, 0xA3, TO_ITS_END, EVERY, "behind its texts" },
	{ "VOLB", BOTH, 0x34, 0x40, EVERY, "attributes and the source's volume: nothing rests on them" },
	{ "VOLB", BOTH, 0x44, 0x50, EVERY, "a date and the volume's name: nothing rests on them" },
	{ "MSCI", BOTH, 0x34, TO_ITS_END, EVERY, "not known what it is" },
	{ "MSLS", BOTH, 0x34, TO_ITS_END, EVERY, "not known what it is" },
	{ "MSDA", BOTH, 0x34, TO_ITS_END, EVERY, "not known what it is" },
	{ "MSTL", BOTH, 0x34, 0x3C, EVERY, "not known what it is" },
	{ "MSTL", BOTH, 0x4E, 0x5C, EVERY, "not known what it is" },
	{ "MSTL", BOTH, 0x60, 0x61, EVERY, "the virtual log file's size: only too small a one shows" },
	{ "MSTL", BOTH, 0x61, 0x62, 0xBF, "the virtual log file's size: only too small a one shows" },
	{ "MSTL", BOTH, 0x62, 0x68, EVERY, "the virtual log file's size: only too small a one shows" },
	{ "MSTL", BOTH, 0x73, TO_ITS_END, EVERY, "not known what it is" },
	{ "ESET", BOTH, 0x34, TO_ITS_END, EVERY, "attributes and dates once more: nothing rests on them" },
	{ "TSMP", BOTH, 0x06, 0x08, EVERY, "not known what it is" },
	{ "TSMP", BOTH, 0x0A, 0x10, EVERY, "number of the medium, and what is not known" },
	{ "TSMP", BOTH, 0x1C, 0x3C, EVERY, "tape blocks, and what is not known" },
	{ "TSMP", BOTH, 0x44, 0x48, EVERY, "not known what it is" },
	{ "TSMP", BOTH, 0x4C, 0x54, EVERY, "description and password once more" },
	{ "TSMP", BOTH, 0x5D, 0x64, EVERY, "not known what it is" },
	{ "TSMP", BOTH, 0x90, 0xBE, EVERY, "the volume's name, and what is not known" },
	{ "TSMP", BOTH, 0xC2, 0xD0, EVERY, "a date, and the volume's name" },
	{ "SCIN", BOTH, 0x08, 0x09, 0xA1, "Flags: bulk-logged, damaged and incomplete metadata are learned while the backup runs" },
	{ "SCIN", BOTH, 0x0C, 0x18, EVERY, "not known what it is" },
	{ "SCIN", BOTH, 0x1C, 0x20, EVERY, "not known what it is" },
	{ "SCIN", BOTH, 0x52, 0x57, EVERY, "the finish date stands nowhere else" },
	{ "SCIN", BOTH, 0x59, 0x5B, EVERY, "not known what it is" },
	{ "SCIN", BOTH, 0x70, 0x74, EVERY, "an empty text" },
	{ "SCIN", BOTH, 0x8C, 0x90, EVERY, "uninitialised" },
	{ "SCIN", BOTH, 0x9A, 0x9C, EVERY, "filler" },
	{ "SCIN", HEAD, 0xAC, 0xB6, EVERY, "where the fork before ended: at the end it is held against the boot page" },
	{ "SCIN", BOTH, 0xB6, 0xB8, EVERY, "filler" },
	{ "SCIN", BOTH, 0xDD, 0xE0, EVERY, "filler" },
	{ "SCIN", BOTH, 0xF4, 0xF8, EVERY, "the status, recovery model included, may be changed while the backup runs" },
	{ "SCIN", BOTH, 0xF8, 0x104, EVERY, "the origin of the log chain moves on; real boot pages do not always agree" },
	{ "SCIN", BOTH, 0x10E, 0x110, EVERY, "filler" },
	{ "SCIN", BOTH, 0x120, 0x13C, EVERY, "not known; where the fork before ended, which in two real sets is another place than above" },
	{ "SCIN", BOTH, 0x14C, 0x158, EVERY, "where the next log begins stands nowhere else" },
	{ "SCIN", BOTH, 0x160, 0x190, EVERY, "not known what it is" },
	{ "SFGI", BOTH, 0x08, 0x0C, EVERY, "not known what it is" },
	{ "SFGI", BOTH, 0x14, 0xE0, EVERY, "not known what it is" },
	{ "SFIN", BOTH, 0x08, 0x10, EVERY, "how it grows, and what is not known" },
	{ "SFIN", END, 0x18, 0x19, 0x07, "pages that do not fill an extent" },
	{ "SFIN", BOTH, 0x28, 0x30, EVERY, "its size moves on while the backup runs" },
	{ "SFIN", BOTH, 0x38, 0x8A, EVERY, "its limits, sizes once more, and what is not known" },
	{ "SFIN", BOTH, 0x94, 0x9E, EVERY, "not certain what it is" },
	{ "SFIN", HEAD, 0x9E, 0xBA, EVERY, "the base it had before" },
	{ "SFIN", END, 0xA8, 0xAA, EVERY, "filler" },
	{ "SFIN", BOTH, 0xD4, 0xDA, EVERY, "filler" },
	{ "SFIN", BOTH, 0xE4, 0xEA, EVERY, "filler" },
	{ "SFIN", BOTH, 0xF4, 0xFC, EVERY, "filler" },
	{ "SFIN", BOTH, 0x100, 0x400, EVERY, "not known what it is" },
	{ "SFIN of the log", BOTH, 0x18, 0x1C, EVERY, "pages of a log mean nothing" },
	{ "SFIN of the log", BOTH, 0x9E, 0xBA, EVERY, "a log has no base" },
	{ "SFIN of the log", BOTH, 0xFC, 0x100, EVERY, "extents of a log mean nothing" },
};

/* What must be said of damage in the catalogue's first structure; what is not listed must be found somehow. */
static const struct {
	unsigned from, to;
	const char *says;
} named[] = {
	{ 0x09, 0x0C, "Flags" }, { 0x18, 0x1A, "SoftwareVersionBuild" }, { 0x1A, 0x1C, "SoftwareVersion" },
	{ 0x20, 0x3E, "FirstLSN, LastLSN or CheckpointLSN" }, { 0x3E, 0x48, "DatabaseBackupLSN" }, { 0x48, 0x4D, "DatabaseCreationDate" },
	{ 0x4D, 0x52, "BackupStartDate" }, { 0x58, 0x59, "SortOrder" }, { 0x5B, 0x5C, "CompatibilityLevel" }, { 0x5C, 0x5E, "the database id" },
	{ 0x5E, 0x60, "DatabaseVersion" }, { 0x60, 0x68, "CompressedBackupSize" }, { 0x68, 0x69, "DatabaseName" }, { 0x6C, 0x6D, "ServerName" },
	{ 0x74, 0x78, "UnicodeLocaleId" }, { 0x78, 0x7C, "UnicodeComparisonStyle" }, { 0x7C, 0x8C, "BindingID" },
	{ 0x90, 0x9A, "FirstLSN, LastLSN or CheckpointLSN" }, { 0x9C, 0xAC, "RecoveryForkID" }, { 0xB8, 0xC8, "the fork before" },
	{ 0xC8, 0xD8, "the GUID of the last full" }, { 0xD8, 0xDD, "Collation" }, { 0xE0, 0xF0, "FamilyGUID" }, { 0xF0, 0xF4, "the transfer size" },
	{ 0x104, 0x10E, "DifferentialBaseLSN" }, { 0x110, 0x120, "DifferentialBaseGUID" }, { 0x13C, 0x14C, "the fork before" },
	{ 0x158, 0x160, "CompressedBackupSize" }, { 0x190, 0x19C, "DatabaseName" }, { 0x19C, 0x1B8, "ServerName" },
};

static uint8_t
blind_bits(const char *id, enum when when, size_t at)
{
	uint8_t bits = 0;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strncmp(table[i].id, id, strlen(table[i].id)) == 0 && (table[i].when & when) && at >= table[i].from && at < table[i].to)
			bits |= table[i].bits;
	return bits;
}

static const char *
must_say(const char *id, size_t at)
{
	for (size_t i = 0; strcmp(id, "SCIN") == 0 && i < sizeof(named) / sizeof(named[0]); i++)
		if (at >= named[i].from && at < named[i].to)
			return named[i].says;
	return "";
}

struct census { struct backup_file f; size_t found, blind, wrong; };

static void
take_bit(struct census *c, const char *id, enum when when, size_t begin, size_t at, uint8_t bit)
{
	TALLOC_CTX *mem = talloc_new(NULL);
	bool blind = (blind_bits(id, when, at) & bit) != 0;
	struct bak *b;

	c->f.mem[begin + at] ^= bit;
	b = reads(mem, &c->f, 1 << 20);
	c->f.mem[begin + at] ^= bit;
	if (blind != bak_is_whole(b) || (!blind && strstr(words_of_reader(mem, b), must_say(id, at)) == NULL)) {
		printf("# %s at the %s, 0x%zX bit 0x%02X: %s\n", id, when == HEAD ? "head" : "end", at, bit, words_of_reader(mem, b));
		c->wrong++;
	}
	*(blind ? &c->blind : &c->found) += 1;
	talloc_free(mem);
}

static void
take(struct census *c, const char *id, enum when when, size_t begin, size_t from, size_t to)
{
	for (size_t at = from; at < to; at++)
		for (unsigned bit = 1; bit < 256; bit *= 2)
			take_bit(c, id, when, begin, at, (uint8_t)bit);
}

static void
take_catalogue(struct census *c, enum when when, size_t at, size_t end)
{
	while (at < end) {
		const uint8_t *m = c->f.mem + at;
		char id[20] = { 0 };
		uint32_t len;

		memcpy(id, m, 4);
		memcpy(&len, m + 4, 4);
		if (strcmp(id, "SFIN") == 0 && m[0x1C] == 2)
			strcat(id, " of the log");
		take(c, id, when, at, 0, len);
		at += len;
	}
}

static void
every_bit_counts_or_is_known_not_to(void **state)
{
	static const struct backup_sample sample = { 'D', 16, 2, false, false, true, 1 };
	TALLOC_CTX *mem = talloc_new(NULL);
	struct census c = { .f = file_of_sample(mem, &sample) };
	size_t n;
	struct part *parts = parts_of(mem, &c.f, &n);
	enum when when = HEAD;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		const struct part *p = &parts[i];

		if (strcmp(p->id, "MSLS") == 0)
			when = END;
		if (p->is_block)
			take(&c, p->id, when, p->at, 52, p->data + p->len - p->at);
		else if (strcmp(p->id, "MQCI") == 0)
			take_catalogue(&c, when, p->data, p->data + p->len);
		else if (strcmp(p->id, "RAID") == 0 || strcmp(p->id, "TSMP") == 0)
			take(&c, p->id, when, p->data, 0, p->len);
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		printf("# undetectable: %s%s from 0x%X: %s\n", table[i].id, table[i].when == HEAD ? " at the head" : table[i].when == END ? " at the end" : "",
		       table[i].from, table[i].why);
	printf("# %zu bits whose damage is found, %zu where nothing in the file could show it\n", c.found, c.blind);
	assert_int_equal(c.wrong, 0);
	assert_true(c.found > 12000);
	talloc_free(mem);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_bit_counts_or_is_known_not_to) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
