/*
 * Locks a process up: the only place for Landlock and seccomp.
 *
 * Landlock grants nothing, so no path can be opened, not even beneath a passed folder. seccomp allows calls on
 * descriptors only; what is not listed gives EPERM. Both are inherited and can only become tighter: the spawner
 * lays on a filter that still forks, each session one that does not.
 */
#ifndef LANDFALL_JAIL_H
#define LANDFALL_JAIL_H

#include <stdbool.h>

#include "common/err.h"

/* *landlock tells whether the kernel knows Landlock; without it seccomp alone denies every open. */
bool jail_spawner(bool *landlock, struct err *err);
bool jail_session(struct err *err);

#endif
