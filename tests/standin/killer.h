/*
 * Ends a process with SIGKILL just before the Nth of its system calls that can leave a trace.
 *
 * The process is a child that plays one function. A seccomp filter hands each such call to the parent, which
 * counts it and lets it go on, so that calls made inside the C library (stdio's) are met as well as SQLite's. The
 * parent answers the syncs itself and does none: what a killed process wrote is in the kernel's cache either way.
 */
#ifndef STANDIN_KILLER_H
#define STANDIN_KILLER_H

#include <stdbool.h>
#include <stddef.h>

enum killer_end {
	KILLER_DONE,   /* the function returned true */
	KILLER_FAILED, /* it returned false */
	KILLER_KILLED, /* at the point asked for */
	KILLER_BROKEN, /* it ended in another way (a crash, a sanitiser), or the filter could not be laid on */
};

/* nth: from 1; 0 kills nowhere. *met: points that it came to, the last one included; NULL: nobody watches. */
enum killer_end killer_play(bool (*play)(void *ctx), void *ctx, size_t nth, size_t *met);

#endif
