/*
 * What the kernel that runs here can do to lock a process up.
 */
#ifndef LANDFALL_KERNEL_H
#define LANDFALL_KERNEL_H

#include <stdbool.h>

/* Landlock's ABI number; 0: it is not there, or was switched off (since Linux 5.13; security/landlock in the boot line). */
int kernel_landlock(void);

/* Can calls be filtered (seccomp with a program)? */
bool kernel_has_seccomp(void);

#endif
