/*
 * Backups in memory for tests of the reader: made ones and real ones, where their parts are, and what the
 * reader says of them.
 *
 * The walk over blocks and streams in here is the tests' own; it trusts its input and shares nothing with the reader.
 */
#ifndef TEST_BACKUP_FILE_H
#define TEST_BACKUP_FILE_H

#include <stddef.h>
#include <stdint.h>

#include <talloc.h>

#include "common/bak.h"
#include "tests/standin/backup_sample.h"

struct backup_file { const char *name; uint8_t *mem; size_t len; };

/* A block (id TAPE, SFMB, SSET, …) or a stream (RAID, MQDA, …): where its header begins, its data, and how long that is. */
struct part { char id[5]; bool is_block; size_t at, data, len; };

struct backup_file file_of_path(TALLOC_CTX *mem, const char *path); /* takes it: the file is gone then */
struct backup_file file_of_sample(TALLOC_CTX *mem, const struct backup_sample *sample);
struct backup_file file_packed(TALLOC_CTX *mem, const struct backup_file *plain);
/* The set of b behind that of a, as BACKUP without INIT appends one; both plain files of one set. */
struct backup_file file_of_two(TALLOC_CTX *mem, const struct backup_file *a, const struct backup_file *b);
struct backup_file file_copy(TALLOC_CTX *mem, const struct backup_file *f);

/* Of the files in LANDFALL_BACKUPS, a talloc array; *n 0 where that is not set. */
struct backup_file *real_files(TALLOC_CTX *mem, size_t *n);
struct backup_file real_file(TALLOC_CTX *mem, const char *name); /* mem NULL when it is not there */

struct part *parts_of(TALLOC_CTX *mem, const struct backup_file *f, size_t *n);
/* The nth part of that name (from 0); fails the test when there is none. */
const struct part *part_of(const struct part *parts, size_t n, const char *id, size_t nth);
void seal_block(uint8_t *block); /* makes its header sum right again */
void seal_stream(uint8_t *stream);
void seal_record(uint8_t *record); /* of a compressed file */
void put_le(uint8_t *p, uint64_t v, size_t bytes);
bool is_plain(const struct backup_file *f);
/* Of a compressed file, its records ("data", "fill", "indx") and the marks ("SFMB") between them. */
struct part *records_of(TALLOC_CTX *mem, const struct backup_file *f, size_t *n);
/* Where a file may properly end: behind the closing mark of each of its sets. A talloc array. */
size_t *ends_of_sets(TALLOC_CTX *mem, const struct backup_file *f, size_t *n);

/* Feeds it in pieces of that size; 0: random ones. */
struct bak *reads(TALLOC_CTX *mem, const struct backup_file *f, size_t piece);
/* Everything the reader found, as one line of JSON. */
char *json_of(TALLOC_CTX *mem, const struct bak *b);
/* Why, and every damaged place, a line each. */
char *words_of_reader(TALLOC_CTX *mem, const struct bak *b);
bool has_finding(const struct bak *b, const char *word);
/* Words with "byte N" in them, and not just the begin of a longer number. */
bool names_byte(const char *words, uint64_t n);

/* From SEED; the same every time. */
unsigned chance(unsigned below);
bool is_long(void); /* LONG=1: the full counts */

#endif
