/*
 * One connection, in its own locked-up process: SSH, SFTP, uploads. It can name no path; whatever has a name
 * it asks the warden for over pair, and gets a descriptor.
 */
#ifndef LANDFALL_SESSION_H
#define LANDFALL_SESSION_H

#include "receiver/talk.h"

/* Serves a connection and ends the process. Both descriptors belong to it. is_proxied: a PROXY header must come first. */
void session_main(int connection, int pair, bool is_proxied) __attribute__((noreturn));

/* Reads one file that is there already, says what it is by the migration's policy, and ends the process. */
void session_reader(int file, int pair, const char *name, const struct talk_policy *policy) __attribute__((noreturn));

/* Takes the MD5 of a file, tells it and ends the process. */
void session_digest(int file, int pair) __attribute__((noreturn));

#endif
