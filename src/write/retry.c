/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "write/commit.h"

#define LAST_MS   60000
#define CALLS_MAX 256 /* more workers there are not */
#define WAKE_MANY 16  /* at once; each that succeeds wakes others */

/* Uploads that failed and wait to be tried again. */

static int64_t
pause_of(const struct sf_writer *w, unsigned tries)
{
    int64_t ms = w->retry_ms;
    for (unsigned i = 1; i < tries && ms < LAST_MS; i++)
        ms *= 2;
    if (ms > LAST_MS)
        ms = LAST_MS;
    uint16_t jitter = 0;
    (void)sf_random_bytes(&jitter, sizeof jitter);
    return ms / 2 + ms * jitter / (2 * UINT16_MAX); /* half to all of it */
}

static void
leave_list(struct sf_upload *up)
{
    struct sf_writer *w = up->c->w;
    SF_GUARD(&w->lock);
    DL_DELETE(w->resting, up);
}

static void
due(struct sf_timer *t)
{
    struct sf_upload *up = (struct sf_upload *)((char *)t - offsetof(struct sf_upload, timer));
    struct sf_content *c = up->c;
    sf_mutex_lock(&c->lock); /* whoever set the timer has it */
    up->resting = false;
    leave_list(up);
    sf_mutex_unlock(&c->lock);
    sf_upload_queue(up);
}

bool
sf_upload_rest_locked(struct sf_upload *up)
{
    struct sf_writer *w = up->c->w;
    SF_ASSERT_HELD(&up->c->lock);
    sf_mutex_lock(&w->lock);
    bool rest = !w->stopping && !w->gave_up;
    if (rest)
        DL_APPEND(w->resting, up);
    sf_mutex_unlock(&w->lock);
    if (!rest)
        return false;
    up->mimes = NULL; /* whose they are has been called back */
    up->resting = true;
    up->timer.fn = due;
    if (sf_timer_set(w->timers, &up->timer, sf_clock_ms() + pause_of(w, ++up->tries)) == 0)
        return true;
    up->resting = false;
    leave_list(up);
    return false;
}

bool
sf_upload_wake_locked(struct sf_upload *up)
{
    SF_ASSERT_HELD(&up->c->lock);
    if (!up->resting || !sf_timer_cancel(up->c->w->timers, &up->timer))
        return false;
    up->resting = false;
    leave_list(up);
    return true;
}

void
sf_upload_wake(struct sf_content *c)
{
    sf_mutex_lock(&c->lock);
    struct sf_upload *up = c->up && sf_upload_wake_locked(c->up) ? c->up : NULL;
    sf_mutex_unlock(&c->lock);
    if (up)
        sf_upload_queue(up);
}

/* At most @max contents whose uploads rest, counted. */
static size_t
some_resting(struct sf_writer *w, struct sf_content **ret, size_t max)
{
    struct sf_upload *up;
    size_t n = 0;
    SF_GUARD(&w->lock);
    DL_FOREACH(w->resting, up)
    {
        if (n < max)
            ret[n++] = sf_content_ref(up->c);
    }
    return n;
}

void
sf_upload_wake_all(struct sf_writer *w)
{
    struct sf_content *some[WAKE_MANY];
    size_t n = some_resting(w, some, WAKE_MANY);
    for (size_t i = 0; i < n; i++) {
        sf_upload_wake(some[i]);
        sf_content_unref(some[i]);
    }
}

void
sf_upload_cut(struct sf_timer *t)
{
    struct sf_writer *w = (struct sf_writer *)((char *)t - offsetof(struct sf_writer, cut));
    uint64_t calls[CALLS_MAX];
    const struct sf_upload *up;
    size_t n = 0;
    sf_mutex_lock(&w->lock);
    DL_FOREACH(w->running, up)
    {
        uint64_t call = atomic_load(&up->c->kept.progress.call);
        if (call && n < CALLS_MAX)
            calls[n++] = call;
    }
    sf_mutex_unlock(&w->lock);
    for (size_t i = 0; i < n; i++)
        sf_storage_cancel(w->st, calls[i]);
}

void
sf_writer_give_up(struct sf_writer *w)
{
    struct sf_content *some[WAKE_MANY];
    size_t n;
    sf_mutex_lock(&w->lock);
    w->gave_up = true;
    sf_mutex_unlock(&w->lock);
    while ((n = some_resting(w, some, WAKE_MANY)) > 0)
        for (size_t i = 0; i < n; i++) {
            struct sf_content *c = some[i];
            sf_mutex_lock(&c->lock);
            struct sf_upload *up = c->up && sf_upload_wake_locked(c->up) ? c->up : NULL;
            if (up)
                up->cancelled = true;
            sf_mutex_unlock(&c->lock);
            if (up)
                sf_upload_queue(up);
            sf_content_unref(c);
        }
}
