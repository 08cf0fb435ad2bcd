/*
 * Turns a plain backup into a compressed one as SQL Server 2014 and later write it, for tests.
 *
 * Shares no code with the reader. The file's own walk over blocks and streams finds the file marks, which
 * stand unpacked between the records.
 */
#ifndef STANDIN_MSSQLBAK_WRITE_H
#define STANDIN_MSSQLBAK_WRITE_H

#include <stdbool.h>
#include <stdio.h>

#include "common/err.h"

/* Reads plain from its begin to its end; writes packed. Only files of one backup set: a set knows its own place. */
bool mssqlbak_write(FILE *plain, FILE *packed, struct err *err);

#endif
