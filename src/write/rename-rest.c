/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <utlist.h>

#include "base/clock.h"
#include "observe/log.h"
#include "write/rename.h"

#define FIRST_MS 300
#define LAST_MS  5000
#define WAIT_MS  200 /* until it is tried again when somebody waits for a lane */

/*
 * Renames of which nobody knows what became of them, and directories that are half moved. Whoever
 * asked for one has been told so; it keeps its lanes, so that nothing else is done under its names,
 * until the service has been asked and the record can go.
 */

/* From the writer's list to a worker; its lanes are its own already. */
static void
try_now(struct sf_rename *rn)
{
    sf_queue_add(rn->w->queue, &rn->job, NULL, 0);
}

static void
due(struct sf_timer *t)
{
    struct sf_rename *rn = (struct sf_rename *)((char *)t - offsetof(struct sf_rename, timer));
    sf_mutex_lock(&rn->w->lock);
    DL_DELETE(rn->w->renames, rn);
    sf_mutex_unlock(&rn->w->lock);
    try_now(rn);
}

/* Returns false when it cannot wait: then the record is for the next start. */
static bool
rest(struct sf_rename *rn)
{
    struct sf_writer *w = rn->w;
    int64_t pause = FIRST_MS;
    for (unsigned i = 0; i < rn->tries && pause < LAST_MS; i++)
        pause *= 2;
    rn->tries++;
    rn->timer.fn = due;
    SF_GUARD(&w->lock);
    if (w->stopping)
        return false;
    DL_APPEND(w->renames, rn);
    if (sf_timer_set(w->timers, &rn->timer, sf_clock_ms() + (pause < LAST_MS ? pause : LAST_MS))) {
        DL_DELETE(w->renames, rn);
        return false;
    }
    return true;
}

static void
settle_run(struct sf_job *job, const struct sf_err *refused)
{
    struct sf_rename *rn = (struct sf_rename *)job;
    const struct sf_rename_args *a = &rn->args;
    struct sf_queue *q = rn->w->queue;
    struct sf_version now = {0};
    rn->why = SF_ERR_INIT;
    if (refused)
        rn->why = *refused;
    else
        (void)rn->settle(rn, &now, &rn->why);
    if (rn->rec.seq && rest(rn))
        return;
    if (!rn->rec.seq)
        sf_info("write", "event=rename-settled object=%s/%s to=%s/%s arrived=%s", a->bucket, a->key,
                a->to_bucket, a->to_key, rn->arrived ? "yes" : "no");
    struct sf_place *place = rn->place;
    sf_rename_free(rn);
    sf_queue_leave(q, place);
}

bool
sf_rename_rest(struct sf_rename *rn, const struct sf_err *why)
{
    struct sf_place *place = sf_queue_keep(&rn->job);
    if (!place)
        return false;
    rn->place = place;
    rn->why = *why;
    rn->job.run = settle_run;
    if (rest(rn))
        return true;
    sf_queue_leave(rn->w->queue, place);
    return false;
}

unsigned
sf_renames_wake(struct sf_writer *w, uint64_t seq)
{
    struct sf_rename *rn, *next, *woken = NULL;
    unsigned n = 0;
    sf_mutex_lock(&w->lock);
    DL_FOREACH_SAFE(w->renames, rn, next)
    {
        /* One that cannot be cancelled is being woken by its timer. */
        if ((seq && rn->rec.seq != seq) || !sf_timer_cancel(w->timers, &rn->timer))
            continue;
        DL_DELETE(w->renames, rn);
        DL_APPEND(woken, rn);
    }
    sf_mutex_unlock(&w->lock);
    DL_FOREACH_SAFE(woken, rn, next)
    {
        try_now(rn);
        n++;
    }
    return n;
}

void
sf_renames_hurry(struct sf_writer *w)
{
    struct sf_rename *rn;
    int64_t at = sf_clock_ms() + WAIT_MS;
    SF_GUARD(&w->lock);
    DL_FOREACH(w->renames, rn)
    /* One that cannot be cancelled is due already. */
    if (rn->timer.at_ms > at && sf_timer_cancel(w->timers, &rn->timer))
        (void)sf_timer_set(w->timers, &rn->timer, at);
}

void
sf_renames_each(struct sf_writer *w, void (*fn)(void *arg, const struct sf_rename *rn), void *arg)
{
    const struct sf_rename *rn;
    SF_GUARD(&w->lock);
    DL_FOREACH(w->renames, rn)
    fn(arg, rn);
}
