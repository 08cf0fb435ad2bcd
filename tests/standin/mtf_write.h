/*
 * Writes plain Microsoft Tape Format as SQL Server does, for the stand-in's BACKUP.
 *
 * Shares no code with the reader in common/bak: what one writes wrongly the other would otherwise read
 * wrongly. The file is written front to back; the caller gives the catalogue twice, because SQL Server
 * 2019 and later know LSNs, finish date and sizes only at the end.
 */
#ifndef STANDIN_MTF_WRITE_H
#define STANDIN_MTF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <talloc.h>

#include "common/err.h"
#include "common/lsn.h"

struct mtf_file {
	uint32_t file_id, group_id, pages; /* pages in this backup */
	char type;                         /* D or L */
	const char *name, *path;
	uint64_t size, max_size, growth;
	struct guid unique_id;
};

struct mtf_set {
	char type; /* D I L */
	uint32_t flags, status;
	bool copy_only, checksum;
	const char *database, *server, *machine, *user, *name;
	struct guid backup_set, binding, fork, fork1, family, base_full, differential_base;
	struct lsn first, last, checkpoint, database_backup, fork1_lsn, chain_origin, differential_base_lsn, next_log;
	time_t created, start, finish; /* finish 0: not known yet */
	uint16_t database_id, database_version;
	uint8_t compat;
	uint64_t backup_size;
	struct mtf_file *files;
	size_t n_files;
	uint8_t software_major; /* 0: 15, SQL Server 2019 */
	uint16_t software_build;
	int8_t time_zone;       /* quarter hours */
};

/* Which file of which media a set goes to. A stripe is a family of its own in each of its files. */
struct mtf_place {
	struct guid media_set;
	unsigned families, family; /* this file is family of families, from 1 */
	bool append;               /* behind the sets that are there, which must be of this writer's kind; else a new file */
};

/* Reads what a file is that a set would be appended to; a file that is not there or empty has families 0. */
bool mtf_look(const char *path, struct mtf_place *out, struct err *err);

struct mtf;

/* Truncates or makes path (0644) and writes TAPE, SFMB, SSET, VOLB and the provisional catalogue. */
struct mtf *mtf_begin(TALLOC_CTX *parent, const char *path, const struct mtf_set *set, struct err *err);
/* The same at a place. */
struct mtf *mtf_begin_at(TALLOC_CTX *parent, const char *path, const struct mtf_place *place, const struct mtf_set *set, struct err *err);
unsigned mtf_position(const struct mtf *m); /* of the set in its file, from 1 */

/* Pages in whole extents, 64 KB each, ascending. */
bool mtf_pages_begin(struct mtf *m, uint64_t n_pages);
bool mtf_page(struct mtf *m, const uint8_t page[static 8192]);
bool mtf_pages_end(struct mtf *m);

/* The parity bit (0x40 or 0x80) of the sectors of the extents that follow; 0x40 until told otherwise. */
void mtf_log_parity(struct mtf *m, uint8_t parity);

/* One log extent: whole blocks from the first to the last LSN. */
bool mtf_log_begin(struct mtf *m, uint32_t vlf, uint64_t vlf_start, uint64_t vlf_size, uint64_t start, uint64_t end);
/* The extent's description alone: its bytes are in another stripe. */
bool mtf_log_elsewhere(struct mtf *m, uint32_t vlf, uint64_t vlf_start, uint64_t vlf_size, uint64_t start, uint64_t end);
bool mtf_log(struct mtf *m, const void *mem, size_t len);
bool mtf_log_end(struct mtf *m);

/* The final catalogue, closing marks, fsync of file and folder. False: the file is no backup. */
bool mtf_end(struct mtf *m, const struct mtf_set *final, struct err *err);

uint64_t mtf_bytes(const struct mtf *m); /* of this set, so far */

#endif
