/*
 * A page being written: everything that is put into it is escaped unless it is one of our own literals.
 */
#ifndef LANDFALL_PAGE_H
#define LANDFALL_PAGE_H

#include <jansson.h>
#include <talloc.h>

struct page { TALLOC_CTX *mem; char *html; };

/* When the numbers were read, and NULL or why they are not of this moment. */
struct page_age { const char *as_of, *stale; };

void page_begin(struct page *p, TALLOC_CTX *mem, const char *title, const struct page_age *age);
void page_end(struct page *p);
void page_raw(struct page *p, const char *literal);   /* ours only */
void page_text(struct page *p, const char *hostile);  /* NULL: nothing */
void page_value(struct page *p, json_t *value);       /* a JSON value as text */

/* The whole pages. */
char *page_overview(TALLOC_CTX *mem, json_t *queue, json_t *migrations, json_t *status,
                    const struct page_age *age);
char *page_migration(TALLOC_CTX *mem, json_t *migration, json_t *history, const struct page_age *age);
/* Prometheus's text form; metrics NULL: Postgres does not answer. */
char *page_metrics(TALLOC_CTX *mem, json_t *metrics);
const char *page_css(void);

#endif
