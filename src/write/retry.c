/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "write/commit.h"
#include "write/keep.h"

#define LAST_MS     60000
#define DEFER_MS    1000 /* the first time that an upload is not begun */
#define ASK_MS      5000 /* between questions whether the service is there */
#define QUESTION_MS 2000 /* for one */
#define CALLS_MAX   256  /* more workers there are not */
#define WAKE_MANY   16   /* at once; each that succeeds wakes others */

/* Uploads that failed and wait to be tried again. */

static int64_t
pause_of(int64_t ms, unsigned tries)
{
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

static bool
rest_locked(struct sf_upload *up, int64_t first_ms, unsigned times)
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
    up->resting = true;
    up->timer.fn = due;
    if (sf_timer_set(w->timers, &up->timer, sf_clock_ms() + pause_of(first_ms, times)) == 0)
        return true;
    up->resting = false;
    leave_list(up);
    return false;
}

bool
sf_upload_rest_locked(struct sf_upload *up)
{
    if (!rest_locked(up, up->c->w->retry_ms, up->tries + 1))
        return false;
    up->tries++;
    up->mimes = NULL; /* whose they are has been called back */
    return true;
}

/* Is it this one that asks? */
static bool
may_ask(struct sf_writer *w)
{
    int64_t now = sf_clock_ms(), at = atomic_load(&w->ask_ms);
    return now >= at && atomic_compare_exchange_strong(&w->ask_ms, &at, now + ASK_MS);
}

static bool
anybody_waits(const struct sf_upload *up)
{
    for (const struct waiter *w = up->waiters; w; w = w->next)
        if (!w->patient)
            return true;
    return false;
}

enum sf_upload_defer
sf_upload_defer_locked(struct sf_upload *up, bool asked)
{
    const struct sf_content *c = up->c;
    struct sf_writer *w = c->w;
    SF_ASSERT_HELD(&c->lock);
    if (!c->keep || !c->keep->untried || anybody_waits(up))
        return SF_UPLOAD_GO;
    sf_mutex_lock(&w->lock);
    bool ends = w->drain_ms != INT64_MAX; /* there is no later */
    sf_mutex_unlock(&w->lock);
    if (ends)
        return SF_UPLOAD_GO;
    bool troubled = atomic_load(&w->troubled);
    if (!troubled) /* perhaps nobody has heard of it yet */
        return !asked && sf_storage_is_retrying(w->st) ? SF_UPLOAD_ASK : SF_UPLOAD_GO;
    if (!asked && (up->tries || may_ask(w))) /* what has failed here is not tried often */
        return SF_UPLOAD_ASK;
    return rest_locked(up, DEFER_MS, ++up->deferred) ? SF_UPLOAD_RESTS : SF_UPLOAD_GO;
}

void
sf_upload_ask(struct sf_upload *up)
{
    struct sf_writer *w = up->c->w;
    sf_autoobject struct sf_object now = {0};
    int64_t until = sf_clock_ms() + QUESTION_MS;
    int rc = sf_storage_info_wait(w->st, up->bucket, up->key, until, &now, NULL);
    atomic_store(&w->troubled, rc && rc != -ENOENT);
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
