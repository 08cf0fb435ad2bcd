/*
 * A verification's result (landfall.verify/1) as one HTML file that can be handed on: no links to
 * anything outside, verdict first, what did not pass before what did. Everything in it is escaped.
 */
#ifndef LANDFALL_REPORT_H
#define LANDFALL_REPORT_H

#include <jansson.h>
#include <talloc.h>

/* Owned by parent. */
char *report_html(TALLOC_CTX *parent, json_t *result);

#endif
