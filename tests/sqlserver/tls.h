/*
 * TLS as a client of SQL Server begins it: the hand-shake travels in PRELOGIN packets, the rest bare.
 *
 * The server's certificate must hang on ca_file and bear the host's name or address; there is no way around that.
 * TLS 1.2, which every SQL Server of TDS 7 speaks.
 */
#ifndef TESTS_SQLSERVER_TLS_H
#define TESTS_SQLSERVER_TLS_H

#include <sys/types.h>

#include <talloc.h>

#include "common/err.h"

struct tls;

/* After PRELOGIN was answered, on its socket, which stays the caller's and must outlive this. */
struct tls *tls_begin(TALLOC_CTX *parent, int fd, const char *host, const char *ca_file, struct err *err);

/* As read and write; ctx is a struct tls. -1 when the line ended or nothing came within the socket's time limit. */
ssize_t tls_write(void *ctx, const void *mem, size_t len);
ssize_t tls_read(void *ctx, void *mem, size_t len);

#endif
