/*
 * One event, one line, written at the place that decides.
 *
 * The message is a constant sentence; values are fields, given as name, value pairs of strings and
 * closed with NULL: log_info("backup arrived", "migration", m, "file", name, NULL). Under systemd the
 * fields go to the journal as LANDFALL_NAME, elsewhere to stderr as name="value". Values are hostile
 * text: control characters and bytes that are no UTF-8 are escaped, and each value is cut at 512 bytes.
 * Never pass a password, a key or a customer's rows. Safe from any thread.
 *
 * error: someone must act. warning: we coped. info: a backup's life. debug: off unless LANDFALL_DEBUG.
 */
#ifndef LANDFALL_LOG_H
#define LANDFALL_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Call once in main, before threads. program appears in every line. */
void log_begin(const char *program);

void log_error(const char *message, ...) __attribute__((sentinel));
void log_warning(const char *message, ...) __attribute__((sentinel));
void log_info(const char *message, ...) __attribute__((sentinel));
void log_debug(const char *message, ...) __attribute__((sentinel));

/*
 * Sends finished lines somewhere else (a session has no stderr of its own: its lines are frames to
 * the warden). line is without a newline and valid for the call; NULL goes back to stderr or journal.
 */
void log_to(void (*sink)(void *ctx, enum log_level level, const char *line), void *ctx);

#endif
