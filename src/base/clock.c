/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)

static int64_t
clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t
sf_clock_ns(void)
{
    return clock_ns(CLOCK_BOOTTIME);
}

int64_t
sf_clock_ms(void)
{
    return clock_ns(CLOCK_BOOTTIME) / 1000000;
}

int64_t
sf_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

/* Read exactly @n digits at *s and step over them. Returns false when there are fewer. */
static bool
digits(const char **s, int n, int *ret)
{
    int v = 0;
    for (int i = 0; i < n; i++, (*s)++) {
        if (!isdigit((unsigned char)**s))
            return false;
        v = v * 10 + (**s - '0');
    }
    *ret = v;
    return true;
}

static bool
literal(const char **s, char c)
{
    if (**s != c)
        return false;
    (*s)++;
    return true;
}

static int
days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar; years begin in March here, so that
 * the leap day is the last one. */
static int64_t
days_since_epoch(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = month <= 2 ? month + 9 : month - 3;
    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

/* ".770" -> nanoseconds; nothing there is 0. */
static bool
fraction(const char **s, int64_t *ret)
{
    *ret = 0;
    if (!literal(s, '.'))
        return true;
    int n = 0;
    int64_t v = 0;
    for (; isdigit((unsigned char)**s); (*s)++, n++) {
        if (n == 9)
            return false;
        v = v * 10 + (**s - '0');
    }
    if (n == 0)
        return false;
    for (; n < 9; n++)
        v *= 10;
    *ret = v;
    return true;
}

/* Z, +HH:MM, +HHMM or +HH -> seconds east of Greenwich. */
static bool
zone(const char **s, int *ret)
{
    *ret = 0;
    if (literal(s, 'Z'))
        return true;
    int sign = **s == '+' ? 1 : **s == '-' ? -1 : 0;
    int h, m = 0;
    if (!sign)
        return false;
    (*s)++;
    if (!digits(s, 2, &h))
        return false;
    if (**s) { /* minutes, with or without a colon */
        (void)literal(s, ':');
        if (!digits(s, 2, &m))
            return false;
    }
    if (h > 23 || m > 59)
        return false;
    *ret = sign * (h * 3600 + m * 60);
    return true;
}

int
sf_time_parse(const char *s, int64_t *ns)
{
    int year, mon, day, h, m, sec, off;
    int64_t frac, secs, total;

    if (!digits(&s, 4, &year) || !literal(&s, '-') || !digits(&s, 2, &mon) || !literal(&s, '-') ||
        !digits(&s, 2, &day))
        return -EINVAL;
    if (!literal(&s, 'T') && !literal(&s, ' '))
        return -EINVAL;
    if (!digits(&s, 2, &h) || !literal(&s, ':') || !digits(&s, 2, &m) || !literal(&s, ':') ||
        !digits(&s, 2, &sec) || !fraction(&s, &frac) || !zone(&s, &off) || *s)
        return -EINVAL;
    if (mon < 1 || mon > 12 || day < 1 || day > days_in_month(year, mon) || h > 23 || m > 59 ||
        sec > 60) /* a leap second is the first one of the next minute */
        return -EINVAL;

    secs = days_since_epoch(year, mon, day) * 86400 + h * 3600 + m * 60 + sec - off;
    if (__builtin_mul_overflow(secs, NS_PER_S, &total) ||
        __builtin_add_overflow(total, frac, &total))
        return -ERANGE;
    *ns = total;
    return 0;
}

/* "3d": what it is before now. */
static int
age(const char *s, int64_t now_ns, int64_t *ns)
{
    static const struct {
        const char *name;
        int64_t seconds;
    } units[] = {{"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
    int64_t n = 0, total;
    const char *p = s;
    for (; isdigit((unsigned char)*p); p++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *p - '0', &n))
            return -ERANGE;
    for (size_t i = 0; p > s && i < sizeof units / sizeof *units; i++)
        if (strcmp(p, units[i].name) == 0)
            return __builtin_mul_overflow(n, units[i].seconds * NS_PER_S, &total) ||
                           __builtin_sub_overflow(now_ns, total, ns)
                       ? -ERANGE
                       : 0;
    return -EINVAL;
}

/* A date, or date and time, as it is here. */
static int
local_time(const char *s, int64_t *ns)
{
    int year, mon, day, h = 0, m = 0, sec = 0;
    int64_t total;
    if (!digits(&s, 4, &year) || !literal(&s, '-') || !digits(&s, 2, &mon) || !literal(&s, '-') ||
        !digits(&s, 2, &day) || mon < 1 || mon > 12 || day < 1 || day > days_in_month(year, mon))
        return -EINVAL;
    if (*s &&
        ((!literal(&s, 'T') && !literal(&s, ' ')) || !digits(&s, 2, &h) || !literal(&s, ':') ||
         !digits(&s, 2, &m) || (*s && (!literal(&s, ':') || !digits(&s, 2, &sec)))))
        return -EINVAL;
    if (*s || h > 23 || m > 59 || sec > 60)
        return -EINVAL;
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = mon - 1,
                    .tm_mday = day,
                    .tm_hour = h,
                    .tm_min = m,
                    .tm_sec = sec,
                    .tm_isdst = -1};
    if (__builtin_mul_overflow((int64_t)mktime(&tm), NS_PER_S, &total))
        return -ERANGE;
    *ns = total;
    return 0;
}

int
sf_time_parse_loose(const char *s, int64_t now_ns, int64_t *ns)
{
    int64_t at = 0;
    int rc = age(s, now_ns, &at);
    if (rc == -EINVAL)
        rc = sf_time_parse(s, &at);
    if (rc == -EINVAL)
        rc = local_time(s, &at);
    if (!rc)
        *ns = at;
    return rc;
}

void
sf_time_format_ms(int64_t ns, char out[32])
{
    int64_t secs = ns / NS_PER_S, rest = ns % NS_PER_S;
    if (rest < 0) {
        rest += NS_PER_S;
        secs--;
    }
    time_t t = (time_t)secs;
    struct tm tm;
    gmtime_r(&t, &tm);
    size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 32 - n, ".%03dZ", (int)(rest / 1000000));
}
