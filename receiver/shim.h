/*
 * Fewer turns to the kernel for libssh, which reads a socket in pieces of 4 KiB and polls before each (0.10 to 0.12).
 *
 * The program defines recv and poll itself, and libssh's calls are bound to these. For the one descriptor that is
 * given here, one read of up to 256 KiB feeds many of its; while some of that is left, poll says so without asking.
 * Every other call goes to the kernel as it is. Where the library's calls should not arrive here (another linker,
 * a static build), nothing is different from before.
 */
#ifndef LANDFALL_SHIM_H
#define LANDFALL_SHIM_H

/* A socket that does not block, whose bytes nobody reads but libssh from now on. One per process. */
void shim_take(int fd);

#endif
