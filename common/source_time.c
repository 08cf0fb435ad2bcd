#include "common/source_time.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WEST_MOST = -12 * 4, EAST_MOST = 14 * 4, QUARTER_SECONDS = 15 * 60, MINUTE_SECONDS = 60 };

bool
source_zone_is_known(int quarters)
{
	return quarters >= WEST_MOST && quarters <= EAST_MOST;
}

/* Seconds since 1970, were the date UTC. */
static int64_t
seconds_of(struct bak_date d)
{
	struct tm tm = { .tm_year = d.year - 1900, .tm_mon = d.month - 1, .tm_mday = d.day, .tm_hour = d.hour, .tm_min = d.minute, .tm_sec = d.second };

	return timegm(&tm);
}

static struct bak_date
date_of(int64_t seconds)
{
	time_t t = seconds;
	struct tm tm;

	gmtime_r(&t, &tm);
	return (struct bak_date){ (uint16_t)(tm.tm_year + 1900), (uint8_t)(tm.tm_mon + 1), (uint8_t)tm.tm_mday, (uint8_t)tm.tm_hour,
		(uint8_t)tm.tm_min, (uint8_t)tm.tm_sec };
}

/* n digits as a number; moves text on. */
static bool
digits(const char **text, int n, int *value)
{
	*value = 0;
	for (int i = 0; i < n; i++, ++*text) {
		if (!isdigit((unsigned char)**text))
			return false;
		*value = *value * 10 + (**text - '0');
	}
	return true;
}

static bool
sign(const char **text, const char *any)
{
	return **text != '\0' && strchr(any, *(*text)++) != NULL;
}

static bool
parse_zone(const char **text, struct source_point *point)
{
	int hours, minutes = 0, east;

	if (**text == '\0')
		return true;
	point->has_zone = true;
	if (strcmp(*text, "Z") == 0 || strcmp(*text, "z") == 0) {
		++*text;
		return true;
	}
	east = **text == '-' ? -1 : 1;
	if (!sign(text, "+-") || !digits(text, 2, &hours))
		return false;
	*text += **text == ':';
	if (!digits(text, 2, &minutes) || minutes > 59)
		return false;
	point->zone_min = east * (hours * 60 + minutes);
	return point->zone_min >= WEST_MOST * 15 && point->zone_min <= EAST_MOST * 15;
}

static bool
parse_point(const char *text, struct source_point *point)
{
	int y, mo, d, h, mi, s = 0;

	if (!digits(&text, 4, &y) || !sign(&text, "-") || !digits(&text, 2, &mo) || !sign(&text, "-") || !digits(&text, 2, &d) ||
	    !sign(&text, "T ") || !digits(&text, 2, &h) || !sign(&text, ":") || !digits(&text, 2, &mi))
		return false;
	if (*text == ':') {
		text++;
		if (!digits(&text, 2, &s))
			return false;
	}
	if (y < 1900 || h > 23 || mi > 59 || s > 59)
		return false;
	point->at = (struct bak_date){ (uint16_t)y, (uint8_t)mo, (uint8_t)d, (uint8_t)h, (uint8_t)mi, (uint8_t)s };
	/* The thirtieth of February comes back as another day. */
	return bak_date_compare(date_of(seconds_of(point->at)), point->at) == 0 && parse_zone(&text, point) && *text == '\0';
}

bool
source_point_parse(const char *text, struct source_point *point, struct err *err)
{
	*point = (struct source_point){ 0 };
	if (text == NULL || parse_point(text, point))
		return true;
	*point = (struct source_point){ 0 };
	return err_set(err, ERR_REFUSED, 0, "a time is given in whole seconds such as 2026-11-23T05:16:00, in the source's local time, or with a zone "
	               "(Z, +02:00); '%.64s' is not one", text);
}

static int64_t
finished_at(const struct plan_set *s)
{
	return seconds_of(s->finish) - s->zone * QUARTER_SECONDS;
}

bool
source_point_local(const struct source_point *point, const struct plan_set *sets, size_t n, struct guid family, struct bak_date *local,
                   struct err *err)
{
	const struct plan_set *behind = NULL, *newest = NULL, *by;
	int64_t at = seconds_of(point->at) - point->zone_min * MINUTE_SECONDS;

	*local = point->at;
	if (point->at.year == 0 || !point->has_zone)
		return true;
	for (size_t i = 0; i < n; i++) {
		const struct plan_set *s = &sets[i];

		if (!s->has_zone || s->finish.year == 0 || !guid_equal(s->family, family))
			continue;
		if (finished_at(s) >= at && (behind == NULL || finished_at(s) < finished_at(behind)))
			behind = s;
		if (newest == NULL || finished_at(s) > finished_at(newest))
			newest = s;
	}
	by = behind != NULL ? behind : newest;
	if (by == NULL)
		return err_set(err, ERR_REFUSED, 0, "the backups do not say in which time zone the source was, so a time with a zone cannot be turned into "
		               "its local time: give the source's local time, without a zone");
	*local = date_of(at + by->zone * QUARTER_SECONDS);
	return true;
}
