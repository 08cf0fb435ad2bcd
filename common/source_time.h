/*
 * A point in time that a person names, as the source's clock showed it.
 *
 * STOPAT and every date in a backup are the source server's local time, and neither carries a zone. Who gives a zone
 * means one instant; it is turned into that local time by the offset that the backup's own header has, or refused.
 * Pure.
 */
#ifndef LANDFALL_SOURCE_TIME_H
#define LANDFALL_SOURCE_TIME_H

#include <stdbool.h>

#include "common/err.h"
#include "common/plan.h"

struct source_point {
	struct bak_date at; /* year 0: none was given */
	bool has_zone;
	int zone_min; /* minutes east of UTC */
};

/* A header's TimeZone, quarter hours east of UTC; 127 and what no place on earth has mean that it is not known. */
bool source_zone_is_known(int quarters);

/* "2026-11-23T05:16:00", with Z, +02:00 or +0200 behind it or not; seconds may be left out, a fraction is rounded
 * down. NULL gives none. */
bool source_point_parse(const char *text, struct source_point *point, struct err *err);

/*
 * The point in the source's local time. Its offset from UTC changes with the season, so that of the first backup of this
 * family finished at the point or later counts, else the newest one's. ERR_REFUSED when a zone was given and no header
 * says which the source's is.
 */
bool source_point_local(const struct source_point *point, const struct plan_set *sets, size_t n, struct guid family, struct bak_date *local,
                        struct err *err);

#endif
