/*
 * `landfall inspect`: reads backup files without a server, and plans a restore from them.
 */
#ifndef LANDFALL_CMD_INSPECT_H
#define LANDFALL_CMD_INSPECT_H

/* args: what follows the word inspect. Returns the exit code: 0 sound, 7 damaged or incomplete, 2 usage,
 * 3 no such file; with --chain 0 complete, 6 not. */
int cmd_inspect(int argc, char **argv);

#endif
