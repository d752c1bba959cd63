/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

/* ---- the heap: at_ms of a parent is never above that of its children ----------------------------
 */

static void
place(struct http_due_vec *h, size_t i, struct http_due *d)
{
    h->data[i] = d;
    d->pos = i + 1;
}

static void
sift_up(struct http_due_vec *h, size_t i)
{
    struct http_due *d = h->data[i];
    while (i > 0) {
        size_t up = (i - 1) / 2;
        if (h->data[up]->at_ms <= d->at_ms)
            break;
        place(h, i, h->data[up]);
        i = up;
    }
    place(h, i, d);
}

static void
sift_down(struct http_due_vec *h, size_t i)
{
    struct http_due *d = h->data[i];
    for (;;) {
        size_t kid = 2 * i + 1;
        if (kid >= h->len)
            break;
        if (kid + 1 < h->len && h->data[kid + 1]->at_ms < h->data[kid]->at_ms)
            kid++;
        if (d->at_ms <= h->data[kid]->at_ms)
            break;
        place(h, i, h->data[kid]);
        i = kid;
    }
    place(h, i, d);
}

int
http_due_room(struct http_due_vec *h)
{
    return http_due_vec_reserve(h, 1);
}

void
http_due_put(struct http_due_vec *h, struct http_due *d, int64_t at_ms)
{
    d->at_ms = at_ms;
    if (!d->pos) {
        assert(h->len < h->cap);
        place(h, h->len++, d);
    }
    sift_up(h, d->pos - 1);
    sift_down(h, d->pos - 1);
}

void
http_due_remove(struct http_due_vec *h, struct http_due *d)
{
    if (!d->pos)
        return;
    size_t i = d->pos - 1;
    struct http_due *last = h->data[--h->len];
    d->pos = 0;
    if (last == d)
        return;
    place(h, i, last);
    sift_up(h, i);
    sift_down(h, last->pos - 1);
}

struct http_due *
http_due_first(const struct http_due_vec *h)
{
    return h->len ? h->data[0] : NULL;
}

/* ---- timers of the callers ----------------------------------------------------------------------
 */

static struct http_timer *
timer_of(struct http_due *d)
{
    return (struct http_timer *)((char *)d - offsetof(struct http_timer, due));
}

uint64_t
sf_http_timer(struct sf_http *http, int64_t at_ms, sf_http_call_fn fn, void *arg)
{
    struct http_timer *t = calloc(1, sizeof *t);
    if (!t)
        return 0;
    t->fn = fn;
    t->arg = arg;
    bool wake;
    uint64_t id;
    {
        SF_GUARD(&http->lock);
        if (http_due_room(&http->timer_heap)) {
            free(t);
            return 0;
        }
        t->id = id = ++http->next_id;
        HASH_ADD(hh, http->timers, id, sizeof t->id, t);
        if (!SF_HTAB_ADDED(t)) {
            free(t);
            return 0;
        }
        http_due_put(&http->timer_heap, &t->due, at_ms);
        wake = http_due_first(&http->timer_heap) == &t->due && http_kick_locked(http);
    }
    if (wake)
        curl_multi_wakeup(http->multi);
    return id;
}

static void
timer_unlink_locked(struct sf_http *http, struct http_timer *t)
{
    SF_ASSERT_HELD(&http->lock);
    HASH_DELETE(hh, http->timers, t);
    http_due_remove(&http->timer_heap, &t->due);
}

bool
sf_http_timer_cancel(struct sf_http *http, uint64_t id)
{
    sf_autofree struct http_timer *t = NULL;
    SF_GUARD(&http->lock);
    HASH_FIND(hh, http->timers, &id, sizeof id, t);
    if (!t)
        return false;
    timer_unlink_locked(http, t);
    return true;
}

int64_t
http_timer_next_locked(const struct sf_http *http)
{
    SF_ASSERT_HELD(&http->lock);
    const struct http_due *d = http_due_first(&http->timer_heap);
    return d ? d->at_ms : INT64_MAX;
}

/* Take out the first timer if it is due. */
static struct http_timer *
timer_pop(struct sf_http *http, int64_t now)
{
    SF_GUARD(&http->lock);
    struct http_due *d = http_due_first(&http->timer_heap);
    if (!d || d->at_ms > now)
        return NULL;
    struct http_timer *t = timer_of(d);
    timer_unlink_locked(http, t);
    return t;
}

void
http_timer_run(struct sf_http *http)
{
    /* One reading of the clock: a timer that sets itself anew for "now" must not keep us here. */
    int64_t now = sf_clock_ms();
    size_t most;
    {
        SF_GUARD(&http->lock);
        most = http->timer_heap.len;
    }
    while (most-- > 0) {
        sf_autofree struct http_timer *t = timer_pop(http, now);
        if (!t)
            return;
        t->fn(t->arg);
    }
}

void
http_timer_drop_all(struct sf_http *http)
{
    SF_GUARD(&http->lock);
    struct http_due *d;
    while ((d = http_due_first(&http->timer_heap))) {
        struct http_timer *t = timer_of(d);
        timer_unlink_locked(http, t);
        free(t);
    }
    http_due_vec_fini(&http->timer_heap);
}
