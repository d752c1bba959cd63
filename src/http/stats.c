/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/internal.h"

#include <stdio.h>

#include "base/clock.h"

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
        break;
    case HTTP_EV_RETRY:
        s->retries++;
        break;
    case HTTP_EV_CANCEL:
        s->cancelled++;
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
}

void
sf_http_stats(struct sf_http *http, struct sf_http_stats *out)
{
    SF_GUARD(&http->lock);
    *out = http->stats;
}
