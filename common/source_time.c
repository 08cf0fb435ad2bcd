#include "common/source_time.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { WEST_MOST = -12 * 4, EAST_MOST = 14 * 4, QUARTER_SECONDS = 15 * 60, MINUTE_SECONDS = 60 };

bool
source_zone_is_known(int quarters)
{
	return quarters >= WEST_MOST && quarters <= EAST_MOST;
}

/*
 * Days since 1970-01-01 in the calendar that goes on backwards, and back. Years begin in March here, so that the odd day is
 * their last; 400 of them have 146,097 days.
 */
static int64_t
days_of(int y, int m, int d)
{
	int64_t year = m > 2 ? y : y - 1, era = year / 400, in_era = year - era * 400, day = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

	return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + day - 719468;
}

/* Seconds since 1970, were the date UTC. */
static int64_t
seconds_of(struct bak_date d)
{
	return ((days_of(d.year, d.month, d.day) * 24 + d.hour) * 60 + d.minute) * 60 + d.second;
}

/* After the year 0. */
static struct bak_date
date_of(int64_t seconds)
{
	int64_t days = seconds / 86400 - (seconds % 86400 < 0), s = seconds - days * 86400, z = days + 719468, era = z / 146097, in_era = z - era * 146097,
		year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365, in_year = in_era - (365 * year + year / 4 - year / 100),
		month = (5 * in_year + 2) / 153, m = month < 10 ? month + 3 : month - 9;

	return (struct bak_date){ (uint16_t)(year + era * 400 + (m <= 2)), (uint8_t)m, (uint8_t)(in_year - (153 * month + 2) / 5 + 1), (uint8_t)(s / 3600),
		(uint8_t)(s / 60 % 60), (uint8_t)(s % 60) };
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
		/* The dates in a backup have no fraction: rounded down, a commit too few rather than one too many. */
		if (*text == '.' && isdigit((unsigned char)text[1]))
			for (text++; isdigit((unsigned char)*text); text++)
				;
	}
	if (y < 1900 || mo < 1 || mo > 12 || d < 1 || h > 23 || mi > 59 || s > 59)
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
	return err_set(err, ERR_REFUSED, 0, "a time is given such as 2026-11-23T05:16:00, in the source's local time, or with a zone "
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
