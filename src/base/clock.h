/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_CLOCK_H
#define SF_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds and nanoseconds since boot, sleep included. For deadlines and ages. */
int64_t sf_clock_ms(void);
int64_t sf_clock_ns(void);

/* Nanoseconds since the epoch. For what people and other machines see; it may jump. */
int64_t sf_wall_ns(void);

/**
 * sf_time_parse - read an ISO 8601 time with zone, as "2026-11-21T04:05:19.770Z".
 * @s:  date, 'T' or a space, time with 0 to 9 fractional digits, then Z, +HH:MM, +HHMM or +HH
 *      (or the same with '-'); nothing may follow.
 * @ns: on success nanoseconds since the epoch.
 *
 * Returns 0; -EINVAL not such a time, or one that does not exist (30 February); -ERANGE before
 * 1678 or after 2261. *ns is untouched on failure.
 */
int sf_time_parse(const char *s, int64_t *ns);

/**
 * sf_time_parse_loose - read a time as people write it.
 * @s: an age ("90s", "15min", "2h", "3d", "2w": so long before @now_ns), a date, which is its
 *     midnight, or a date and a time ("2026-11-21 04:05", seconds as you like); of the local time
 *     zone, unless it has one as for sf_time_parse().
 *
 * Returns as sf_time_parse().
 */
int sf_time_parse_loose(const char *s, int64_t now_ns, int64_t *ns);

/* Write @ns as "2026-11-21T04:05:19.770Z" (UTC, rounded down to milliseconds). */
void sf_time_format_ms(int64_t ns, char out[32]);

#endif
