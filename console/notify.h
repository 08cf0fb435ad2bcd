/*
 * Sends what stands in the outbox, on a thread of its own with its own line to Postgres.
 *
 * At least once: a message whose sender dies after the relay took it goes out again, under the same Message-ID.
 */
#ifndef LANDFALL_NOTIFY_H
#define LANDFALL_NOTIFY_H

#include <talloc.h>

#include "common/ask_notify.h"
#include "common/config.h"
#include "common/err.h"

struct notifier;

/* NULL with err when the thread cannot start. Without console.mail in the configuration nothing is sent. Freed: it ends. */
struct notifier *notifier_start(TALLOC_CTX *parent, const struct config *config, struct err *err);

/* The words of a mail. Pure. */
char *notice_subject(TALLOC_CTX *parent, const struct notice *notice);
char *notice_text(TALLOC_CTX *parent, const struct notice *notice);

#endif
