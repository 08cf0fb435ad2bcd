#include "tests/standin/fidelity_rows.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/standin/mssqlbak_write.h"

enum { FULL_MAX = 64 << 20, PAGE = 8192, HEADER_WORDS = 25, TAPE_VERSION = 0x5D, SSET_SOFTWARE = 0x3C, SPOILT_PAGE = 20 };

/* A file of the run's folder while it is being spoilt. */
struct medium {
	const char *folder;
	uint8_t *full, *mem; /* full.bak, and the copy at hand */
	size_t len;
	struct err *err;
	bool good; /* false once anything failed; err then says what */
};

static FILE *
open_in(struct medium *m, const char *name, const char *how)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", m->folder, name);
	f = fopen(path, how);
	if (f == NULL)
		m->good = err_errno(m->err, errno, "%s", path);
	return f;
}

static void
write_as(struct medium *m, const char *name, const void *mem, size_t len)
{
	FILE *f = m->good ? open_in(m, name, "wb") : NULL;
	bool wrote;

	if (f == NULL)
		return;
	wrote = fwrite(mem, 1, len, f) == len;
	if (fclose(f) != 0 || !wrote)
		m->good = err_errno(m->err, errno, "%s/%s cannot be written", m->folder, name);
}

/* New memory each time, so that what was done to one copy is not in the next. */
static uint8_t *
read_all(struct medium *m, TALLOC_CTX *mem, const char *name, size_t *len)
{
	FILE *f = open_in(m, name, "rb");
	uint8_t *p = talloc_size(mem, FULL_MAX);

	if (f == NULL)
		return NULL;
	*len = fread(p, 1, FULL_MAX, f);
	if (*len == 0 || *len == FULL_MAX)
		m->good = err_set(m->err, ERR_OPERATOR, 0, "%s/%s is empty or too large to be spoilt", m->folder, name);
	fclose(f);
	return m->good ? p : NULL;
}

/* A block's header has an XOR over its first 25 words behind them. It is put right where it was right, so that what is
 * found wrong is what was meant. */
static void
poke(uint8_t *block, size_t at, uint8_t value)
{
	uint16_t words[HEADER_WORDS + 1], before = 0, after = 0;

	memcpy(words, block, sizeof(words));
	for (int i = 0; i < HEADER_WORDS; i++)
		before ^= words[i];
	block[at] = value;
	if (before != words[HEADER_WORDS])
		return;
	memcpy(words, block, sizeof(words));
	for (int i = 0; i < HEADER_WORDS; i++)
		after ^= words[i];
	memcpy(block + 2 * HEADER_WORDS, &after, 2);
}

static bool
is_page(const uint8_t *p, uint32_t id)
{
	uint32_t there;
	uint16_t file;

	memcpy(&there, p + 0x20, 4);
	memcpy(&file, p + 0x24, 2);
	return p[0] == 1 && there == id && file == 1;
}

static void
tape_of_version_2(uint8_t *p, size_t len)
{
	if (len > TAPE_VERSION)
		poke(p, TAPE_VERSION, 2);
}

static void
damaged_at_source(uint8_t *p, size_t len)
{
	for (size_t at = 0; at + 12 < len; at++)
		if (memcmp(p + at, "SCIN", 4) == 0)
			p[at + 8] |= 0x20;
}

static void
set_of_other_software(uint8_t *p, size_t len)
{
	for (size_t at = 0; at + SSET_SOFTWARE < len; at++)
		if (memcmp(p + at, "SSET", 4) == 0) {
			poke(p + at, SSET_SOFTWARE, 0x34);
			return;
		}
}

static void
bad_page(uint8_t *p, size_t len)
{
	for (size_t at = 0; at + PAGE <= len; at += 512)
		if (is_page(p + at, SPOILT_PAGE)) {
			memcpy(p + at + 200, "damage", 6);
			return;
		}
}

static void
write_encrypted(struct medium *m, TALLOC_CTX *mem)
{
	FILE *plain = open_in(m, "full.bak", "rb"), *packed = open_in(m, "packed.bak", "w+b");
	uint8_t *p;
	size_t len;

	m->good = m->good && mssqlbak_write(plain, packed, m->err);
	if (plain != NULL)
		fclose(plain);
	if (packed != NULL)
		fclose(packed);
	p = m->good ? read_all(m, mem, "packed.bak", &len) : NULL;
	if (p == NULL)
		return;
	p[0x1E0] = 0x31;
	write_as(m, "encrypted.bak", p, len);
}

bool
fidelity_bad_media(TALLOC_CTX *parent, const char *folder, struct err *err)
{
	static const char text[] = "-- this is a script and no backup at all ------------------------------------------------------";
	static const struct { const char *name; void (*spoil)(uint8_t *p, size_t len); } spoilt[] = {
		{ "tape2.bak", tape_of_version_2 }, { "damaged_at_source.bak", damaged_at_source }, { "foreign.bak", set_of_other_software },
		{ "bad_page.bak", bad_page },
	};
	TALLOC_CTX *mem = talloc_new(parent);
	struct medium m = { .folder = folder, .err = err, .good = true };

	m.full = read_all(&m, mem, "full.bak", &m.len);
	if (m.full != NULL) {
		write_as(&m, "empty.bak", "", 0);
		write_as(&m, "text.bak", text, sizeof(text) - 1);
		write_as(&m, "cut.bak", m.full, m.len / 2);
		write_as(&m, "nothing_behind.bak", m.full, m.len < 4096 + 512 ? m.len : 4096 + 512);
		for (size_t i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
			m.mem = talloc_memdup(mem, m.full, m.len);
			spoilt[i].spoil(m.mem, m.len);
			if (memcmp(m.mem, m.full, m.len) == 0)
				m.good = err_set(err, ERR_BROKEN, 0, "%s: nothing was found in full.bak to be spoilt", spoilt[i].name);
			write_as(&m, spoilt[i].name, m.mem, m.len);
			talloc_free(m.mem);
		}
		write_encrypted(&m, mem);
	}
	talloc_free(mem);
	return m.good;
}
