/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/timer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/thread.h"

struct sf_timers {
    struct sf_mutex lock; /* leaf; protects all below and what is in the list */
    struct sf_cond changed;
    struct sf_timer *list; /* soonest first; there are few */
    bool started, stopping;
    pthread_t thread;
};

static int
sooner(const struct sf_timer *a, const struct sf_timer *b)
{
    return a->at_ms < b->at_ms ? -1 : a->at_ms > b->at_ms;
}

static void *
timers_run(void *arg)
{
    struct sf_timers *ts = arg;
    sf_mutex_lock(&ts->lock);
    while (!ts->stopping) {
        struct sf_timer *t = ts->list;
        if (!t || t->at_ms > sf_clock_ms()) {
            (void)sf_cond_timedwait_ms(&ts->changed, &ts->lock, t ? t->at_ms : INT64_MAX);
            continue;
        }
        DL_DELETE(ts->list, t);
        t->set = false;
        sf_mutex_unlock(&ts->lock);
        t->fn(t);
        sf_mutex_lock(&ts->lock);
    }
    sf_mutex_unlock(&ts->lock);
    return NULL;
}

int
sf_timers_new(struct sf_timers **ret)
{
    struct sf_timers *ts = calloc(1, sizeof *ts);
    if (!ts)
        return -ENOMEM;
    sf_mutex_init(&ts->lock, 0);
    sf_cond_init(&ts->changed);
    *ret = ts;
    return 0;
}

void
sf_timers_free(struct sf_timers *ts)
{
    if (!ts)
        return;
    sf_mutex_lock(&ts->lock);
    ts->stopping = true;
    bool started = ts->started;
    sf_cond_broadcast(&ts->changed);
    sf_mutex_unlock(&ts->lock);
    if (started)
        pthread_join(ts->thread, NULL);
    sf_cond_fini(&ts->changed);
    sf_mutex_fini(&ts->lock);
    free(ts);
}

static int
set_locked(struct sf_timers *ts, struct sf_timer *t, int64_t at_ms)
{
    SF_ASSERT_HELD(&ts->lock);
    if (ts->stopping)
        return -ESHUTDOWN;
    if (!ts->started) {
        int rc = sf_thread_start("write-timer", timers_run, ts, &ts->thread);
        if (rc)
            return -EAGAIN;
        ts->started = true;
    }
    if (t->set)
        DL_DELETE(ts->list, t);
    t->at_ms = at_ms;
    t->set = true;
    DL_INSERT_INORDER(ts->list, t, sooner);
    sf_cond_signal(&ts->changed);
    return 0;
}

int
sf_timer_set(struct sf_timers *ts, struct sf_timer *t, int64_t at_ms)
{
    SF_GUARD(&ts->lock);
    return set_locked(ts, t, at_ms);
}

int
sf_timer_set_earlier(struct sf_timers *ts, struct sf_timer *t, int64_t at_ms)
{
    SF_GUARD(&ts->lock);
    return t->set && t->at_ms <= at_ms ? 0 : set_locked(ts, t, at_ms);
}

bool
sf_timer_cancel(struct sf_timers *ts, struct sf_timer *t)
{
    SF_GUARD(&ts->lock);
    if (!t->set)
        return false;
    DL_DELETE(ts->list, t);
    t->set = false;
    return true;
}
