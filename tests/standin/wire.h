/*
 * The wire's knobs: how the server presents itself to its clients, and what goes wrong on the way to them.
 *
 * They stand in one small file, a "name value" per line, which a test or a person may write at any time: it is
 * read again whenever it has changed. EXEC standin.wire N'name', N'value' writes it too. All are off without it.
 */
#ifndef LANDFALL_STANDIN_WIRE_H
#define LANDFALL_STANDIN_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <talloc.h>

#include "common/err.h"

/* Which DONE follows the messages of BACKUP and RESTORE. */
enum wire_done_shape {
	WIRE_DONE_EACH,  /* one after each message, as captured from SQL Server 2022 */
	WIRE_DONE_FILES, /* one after each file's 4035 only, as an older server's log shows it */
	WIRE_DONE_LAST,  /* none but the statement's own */
	WIRE_DONE_SHAPES
};

/* Where the acknowledgement of an attention stands. */
enum wire_attention_shape { WIRE_ATTENTION_OWN, WIRE_ATTENTION_SAME, WIRE_ATTENTION_SHAPES };

struct wire {
	long login_delay_ms;   /* before LOGIN7 is answered */
	long ignore_attention; /* an attention is neither obeyed nor acknowledged */
	long drop_at;          /* percent of BACKUP or RESTORE at which the line is cut; 0: never */
	long silent_at;        /* percent from which nothing is sent any more, though the statement goes on to its end */
	long done_shape;       /* enum wire_done_shape */
	long attention_shape;  /* enum wire_attention_shape */
	long split;            /* bytes of payload in each packet to the client; 0: as many as it asked for */
	long packet_size;      /* what the server insists on, whatever was asked; 0: what was asked */
	char route_port[8], route_host[256]; /* where read-only clients are sent; empty: nowhere */
};

struct wire_file;

/* The file need not exist. */
struct wire_file *wire_open(TALLOC_CTX *parent, const char *path);

/* The knobs as they are now. What the file says wrongly is logged and left out. Any thread may ask. */
struct wire wire_now(struct wire_file *file);

/* False for a knob or value that there is not; err lists what there is. */
bool wire_set(struct wire_file *file, const char *name, const char *value, struct err *err);

/* A line for each knob, for --help. */
void wire_explain(FILE *out);

#endif
