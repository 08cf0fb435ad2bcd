/*
 * What to tell a customer about a finding of the reader: a sentence, and the T-SQL that would make it right. Pure.
 *
 * STATUS.txt, receipts, the line on the session's stderr and the mail say the same.
 */
#ifndef LANDFALL_ADVICE_H
#define LANDFALL_ADVICE_H

#include <stddef.h>

#include <talloc.h>

/* NULL: there is nothing to say about that word. */
const char *advice_sentence(const char *finding);

/*
 * Statements to be pasted into the source server, one a line, for that database; NULL: no statement helps.
 * The name is quoted as T-SQL, and as it is otherwise: escape it for the screen.
 */
char *advice_tsql(TALLOC_CTX *parent, const char *finding, const char *database);

#endif
