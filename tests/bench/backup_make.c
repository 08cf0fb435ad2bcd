#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "tests/standin/backup_sample.h"
#include "tests/standin/mssqlbak_write.h"

/*
 * Makes the backups that benches and stories read.
 *
 *     backup_make plain FILE MIB       a full WITH CHECKSUM of so many MiB of pages, each with its own, and a 64th of log
 *     backup_make packed FILE PLAIN    the compressed form of a plain one
 *     backup_make named FILE NAME      a small full of a database of that name, UTF-8, as long as a forger likes
 */

static int
make_plain(const char *path, const char *mib)
{
	enum { PAGES_OF_A_MIB = 128, LOG_BLOCKS_OF_A_MIB = 16 };
	uint32_t n = (uint32_t)strtoul(mib, NULL, 10);
	struct backup_sample s = { .type = 'D', .pages = n * PAGES_OF_A_MIB, .log_blocks = n * LOG_BLOCKS_OF_A_MIB, .checksum = true, .seed = 1 };
	struct err err = { 0 };

	if (s.pages >= 16 && backup_sample_write(NULL, path, &s, &err))
		return 0;
	fprintf(stderr, "backup_make: %s\n", s.pages < 16 ? "at least one MiB" : err.text);
	return 1;
}

static int
make_named(const char *path, const char *name)
{
	struct backup_sample s = { .type = 'D', .pages = 32, .log_blocks = 1, .checksum = true, .seed = (uint8_t)(strlen(name) / 4) };
	struct err err = { 0 };
	TALLOC_CTX *mem = talloc_new(NULL);
	bool good = backup_sample_write_named(mem, path, &s, name, &err);

	if (!good)
		fprintf(stderr, "backup_make: %s\n", err.text);
	talloc_free(mem);
	return good ? 0 : 1;
}

static int
make_packed(const char *path, const char *plain)
{
	FILE *in = fopen(plain, "rbe"), *out = fopen(path, "wbe");
	struct err err = { 0 };

	if (in == NULL || out == NULL || !mssqlbak_write(in, out, &err) || fclose(out) != 0) {
		fprintf(stderr, "backup_make: %s\n", in == NULL || out == NULL ? "cannot open the files" : err.text);
		return 1;
	}
	fclose(in);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "plain") == 0)
		return make_plain(argv[2], argv[3]);
	if (argc == 4 && strcmp(argv[1], "packed") == 0)
		return make_packed(argv[2], argv[3]);
	if (argc == 4 && strcmp(argv[1], "named") == 0)
		return make_named(argv[2], argv[3]);
	fprintf(stderr, "usage: backup_make plain FILE MIB | packed FILE PLAIN | named FILE NAME\n");
	return 2;
}
