/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/internal.h"

#include <ctype.h>
#include <time.h>

#define RETRY_AFTER_MAX_S (24 * 3600)

int64_t
sf_http_retry_after_ms(const char *value, const char *date)
{
    while (*value == ' ' || *value == '\t')
        value++;
    if (isdigit((unsigned char)*value)) {
        int64_t s = 0;
        for (; isdigit((unsigned char)*value); value++)
            if (s < RETRY_AFTER_MAX_S)
                s = s * 10 + (*value - '0');
        while (*value == ' ' || *value == '\t')
            value++;
        if (*value == '\0')
            return (s < RETRY_AFTER_MAX_S ? s : RETRY_AFTER_MAX_S) * 1000;
        /* Else a date that begins with a digit. */
        return -1;
    }
    time_t at = curl_getdate(value, NULL);
    if (at == -1)
        return -1;
    /* The two clocks may differ by minutes; the service's own Date takes that out. */
    time_t now = date ? curl_getdate(date, NULL) : -1;
    if (now == -1)
        now = time(NULL);
    int64_t s = (int64_t)at - now;
    if (s < 0)
        s = 0;
    return (s < RETRY_AFTER_MAX_S ? s : RETRY_AFTER_MAX_S) * 1000;
}

int64_t
sf_http_date_s(const char *value)
{
    time_t at = curl_getdate(value, NULL);
    return at > 0 ? (int64_t)at : 0;
}

int64_t
http_retry_delay(const struct sf_http_opts *opts, unsigned backoffs, int64_t asked, int64_t left_ms,
                 uint64_t dice)
{
    if (asked >= 0) {
        /* Not before the service wants it, and not all of us in the same millisecond. */
        int64_t d = asked + (int64_t)(dice % (opts->backoff_min_ms + 1));
        return d < left_ms ? d : asked < left_ms ? asked : -1;
    }
    int64_t top = 2 * (int64_t)opts->backoff_min_ms;
    for (unsigned i = 0; i < backoffs && top < opts->backoff_max_ms; i++)
        top *= 2;
    if (top > opts->backoff_max_ms)
        top = opts->backoff_max_ms;
    int64_t d = (int64_t)(dice % (uint64_t)(top + 1)); /* full jitter, mean top / 2 */
    if (d < left_ms / 2)
        return d;
    /* Towards the deadline in halves: one more try is better than idling until it. */
    return left_ms > (int64_t)opts->backoff_min_ms ? left_ms / 2 : -1;
}
