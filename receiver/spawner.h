/*
 * Holds the host keys and forks one locked-up process per connection: fork costs 0.6 ms of CPU, fork and exec ten.
 */
#ifndef LANDFALL_SPAWNER_H
#define LANDFALL_SPAWNER_H

#include <stddef.h>

/* fd: the spawner's end of its pair with the warden, whose end of file ends it. Exit code of the process. */
int spawner_main(int fd, char **host_key_files, size_t n);

#endif
