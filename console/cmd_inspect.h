/*
 * `landfall inspect`: reads backup files without a server, and plans a restore from them.
 */
#ifndef LANDFALL_CMD_INSPECT_H
#define LANDFALL_CMD_INSPECT_H

#include "console/cli.h"

/* Returns the exit code: 0 sound, 7 damaged or incomplete, 2 usage, 3 no such file; with --chain 0 complete, 6 not. */
int cmd_inspect(struct cli *c);

#endif
