/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/internal.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "observe/counter.h"

void
http_stats_event(struct sf_http *http, enum http_event ev)
{
    SF_GUARD(&http->lock);
    struct sf_http_stats *s = &http->stats;
    switch (ev) {
    case HTTP_EV_SUBMIT:
        s->submitted++;
        break;
    case HTTP_EV_COMPLETE:
        s->completed++;
        break;
    case HTTP_EV_ATTEMPT:
        s->attempts++;
        sf_count(SF_C_HTTP_REQUESTS, 1);
        break;
    case HTTP_EV_RETRY:
        s->retries++;
        sf_count(SF_C_HTTP_RETRIES, 1);
        break;
    case HTTP_EV_CANCEL:
        s->cancelled++;
        sf_count(SF_C_HTTP_CANCELLED, 1);
        break;
    case HTTP_EV_REPLY:
        s->reachable = true;
        s->last_reply_ms = sf_clock_ms();
        break;
    }
}

void
http_stats_error(struct sf_http *http, const struct sf_err *err)
{
    sf_count(err->code == -ETIMEDOUT ? SF_C_HTTP_TIMEOUTS : SF_C_HTTP_NET_ERRORS, 1);
    SF_GUARD(&http->lock);
    http->stats.reachable = false;
    snprintf(http->stats.last_error, sizeof http->stats.last_error, "%.159s", err->msg);
}

void
http_stats_levels(struct sf_http *http)
{
    SF_GUARD(&http->lock);
    struct sf_http_stats *s = &http->stats;
    s->active = http->n_active;
    s->queued = http->queued;
    s->waiting_retry = http->n_waiting;
    if (s->active > s->peak_active)
        s->peak_active = s->active;
    if (s->queued > s->peak_queued)
        s->peak_queued = s->queued;
    sf_gauge_set(SF_G_HTTP_ACTIVE, s->active);
    sf_gauge_set(SF_G_HTTP_QUEUED, s->queued);
    sf_gauge_set(SF_G_HTTP_HANDLES, http->n_handles);
}

void
http_stats_status(int status)
{
    if (status == 429)
        sf_count(SF_C_HTTP_STATUS_429, 1);
    else if (status >= 500)
        sf_count(SF_C_HTTP_STATUS_5XX, 1);
    else if (status >= 400)
        sf_count(SF_C_HTTP_STATUS_4XX, 1);
}

void
http_stats_attempt(int64_t in, int64_t out, int64_t us)
{
    sf_count(SF_C_HTTP_BYTES_IN, (uint64_t)in);
    sf_count(SF_C_HTTP_BYTES_OUT, (uint64_t)out);
    sf_histogram_add(SF_H_HTTP_TIME, (uint64_t)us);
}

void
sf_http_stats(struct sf_http *http, struct sf_http_stats *out)
{
    SF_GUARD(&http->lock);
    *out = http->stats;
}
