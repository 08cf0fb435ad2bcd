/*
 * A page being written: everything that is put into it is escaped unless it is one of our own literals.
 */
#ifndef LANDFALL_PAGE_H
#define LANDFALL_PAGE_H

#include <jansson.h>
#include <talloc.h>

struct page { TALLOC_CTX *mem; char *html; };

void page_begin(struct page *p, TALLOC_CTX *mem, const char *title, const char *stale); /* stale: NULL, or why numbers are old */
void page_end(struct page *p);
void page_raw(struct page *p, const char *literal);   /* ours only */
void page_text(struct page *p, const char *hostile);  /* NULL: nothing */
void page_value(struct page *p, json_t *value);       /* a JSON value as text */

/* The whole pages. */
char *page_overview(TALLOC_CTX *mem, json_t *queue, json_t *migrations, json_t *status, const char *stale);
char *page_migration(TALLOC_CTX *mem, json_t *migration, json_t *history, const char *stale);
char *page_metrics(TALLOC_CTX *mem, json_t *metrics);
const char *page_css(void);

#endif
