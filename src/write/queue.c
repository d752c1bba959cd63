/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/htab.h"
#include "base/lock.h"
#include "base/thread.h"

struct sf_lane {
    UT_hash_handle hh;
    struct sf_slot *head, *tail;
    size_t len;
    char name[]; /* bucket, NUL, key */
};

struct sf_queue {
    struct sf_mutex lock; /* order 66; protects the fields down to the blank line */
    struct sf_cond idle;  /* jobs, busy and holds are 0 */
    struct sf_lane *lanes;
    unsigned jobs;    /* added and not finished */
    unsigned running; /* of these, in run() */
    unsigned busy;    /* workers between taking a job and handing over what it made ready */
    unsigned holds;
    bool stop;

    unsigned max_jobs;
    struct sf_pool *pool;
};

int
sf_queue_new(const char *name, unsigned workers, unsigned max_jobs, struct sf_queue **ret)
{
    sf_autofree struct sf_queue *q = calloc(1, sizeof *q);
    if (!q)
        return -ENOMEM;
    /* Each job is in the pool at most once, so that the pool is never full. */
    int rc = sf_pool_new(name, workers, max_jobs, &q->pool);
    if (rc)
        return rc;
    sf_mutex_init(&q->lock, 66);
    sf_cond_init(&q->idle);
    q->max_jobs = max_jobs;
    *ret = sf_steal(q);
    return 0;
}

/* ---- lanes ---------------------------------------------------------------------------------- */

static struct sf_lane *
lane_get_locked(struct sf_queue *q, const struct sf_job_key *key)
{
    size_t nb = strlen(key->bucket), nk = strlen(key->key), len = nb + 1 + nk;
    sf_autofree struct sf_lane *fresh = calloc(1, sizeof *fresh + len);
    if (!fresh)
        return NULL;
    memcpy(fresh->name, key->bucket, nb);
    memcpy(fresh->name + nb + 1, key->key, nk);
    fresh->len = len;

    struct sf_lane *lane = NULL;
    HASH_FIND(hh, q->lanes, fresh->name, len, lane);
    if (lane)
        return lane;
    HASH_ADD_KEYPTR(hh, q->lanes, fresh->name, len, fresh);
    if (!SF_HTAB_ADDED(fresh))
        return NULL;
    return sf_steal(fresh);
}

static void
lane_drop_if_empty_locked(struct sf_queue *q, struct sf_lane *lane)
{
    if (lane->head)
        return;
    HASH_DEL(q->lanes, lane);
    free(lane);
}

static void
slots_free(struct sf_job *job)
{
    for (unsigned i = 0; i < SF_JOB_KEYS; i++) {
        free(job->slots[i]);
        job->slots[i] = NULL;
    }
}

static void
lane_append_locked(struct sf_slot *slot)
{
    struct sf_lane *lane = slot->lane;
    if (lane->tail) {
        lane->tail->next = slot;
        slot->job->blocked++;
    } else {
        lane->head = slot;
    }
    lane->tail = slot;
}

static bool
same_key(const struct sf_job_key *a, const struct sf_job_key *b)
{
    return strcmp(a->bucket, b->bucket) == 0 && strcmp(a->key, b->key) == 0;
}

/* Put the job in its lanes; all or none. */
static int
enter_locked(struct sf_queue *q, struct sf_job *job, const struct sf_job_key *keys, unsigned n)
{
    if (n == 2 && same_key(&keys[0], &keys[1]))
        n = 1;
    for (unsigned i = 0; i < n; i++) {
        struct sf_slot *slot = calloc(1, sizeof *slot);
        struct sf_lane *lane = slot ? lane_get_locked(q, &keys[i]) : NULL;
        if (!lane) {
            free(slot);
            for (unsigned k = 0; k < i; k++)
                lane_drop_if_empty_locked(q, job->slots[k]->lane);
            slots_free(job);
            return -ENOMEM;
        }
        slot->job = job;
        slot->lane = lane;
        job->slots[i] = slot;
    }
    for (unsigned i = 0; i < n; i++)
        lane_append_locked(job->slots[i]);
    return 0;
}

/* Take the job, which is at their heads, out of its lanes; put who may run now on *ready. */
static void
leave_locked(struct sf_queue *q, struct sf_slot *const slots[SF_JOB_KEYS], struct sf_job **ready)
{
    for (unsigned i = 0; i < SF_JOB_KEYS; i++) {
        struct sf_slot *slot = slots[i];
        if (!slot)
            continue;
        struct sf_lane *lane = slot->lane;
        assert(lane->head == slot);
        lane->head = slot->next;
        free(slot);
        if (!lane->head) {
            lane->tail = NULL;
            lane_drop_if_empty_locked(q, lane);
            continue;
        }
        struct sf_job *job = lane->head->job;
        if (--job->blocked == 0) {
            job->next = *ready;
            *ready = job;
        }
    }
}

/* ---- running -------------------------------------------------------------------------------- */

static void work(void *arg);

static bool
is_idle_locked(const struct sf_queue *q)
{
    return !q->jobs && !q->busy && !q->holds;
}

static void
wake_if_idle_locked(struct sf_queue *q)
{
    if (is_idle_locked(q))
        sf_cond_broadcast(&q->idle);
}

static void
refuse(struct sf_job *job, int code)
{
    struct sf_err err = SF_ERR_INIT;
    const char *why = code == -EAGAIN      ? "too many changes wait already"
                      : code == -ECANCELED ? "the writer is being stopped"
                                           : "out of memory";
    (void)!sf_err_set(&err, code, "%s", why);
    job->run(job, &err);
}

/* Run one job, or refuse it with @code; then let go of its lanes. What may run then joins *ready.
 */
static void
run_one(struct sf_queue *q, struct sf_job *job, int code, struct sf_job **ready)
{
    struct sf_slot *slots[SF_JOB_KEYS];
    memcpy(slots, job->slots, sizeof slots);
    if (code)
        refuse(job, code);
    else
        job->run(job, NULL); /* frees the job */

    SF_GUARD(&q->lock);
    leave_locked(q, slots, ready);
    q->running--;
    q->jobs--;
    wake_if_idle_locked(q);
}

/* Hand ready jobs to the pool. Without any thread they are refused here, one after the other. */
static void
dispatch(struct sf_queue *q, struct sf_job *ready)
{
    while (ready) {
        struct sf_job *job = ready;
        ready = job->next;
        int rc = sf_pool_submit(q->pool, work, job);
        if (!rc)
            continue;
        sf_mutex_lock(&q->lock);
        q->running++;
        sf_mutex_unlock(&q->lock);
        run_one(q, job, rc, &ready);
    }
}

static void
work(void *arg)
{
    struct sf_job *job = arg, *ready = NULL;
    struct sf_queue *q = job->queue;
    sf_mutex_lock(&q->lock);
    q->running++;
    q->busy++;
    bool stop = q->stop;
    sf_mutex_unlock(&q->lock);
    run_one(q, job, stop ? -ECANCELED : 0, &ready);
    dispatch(q, ready);

    SF_GUARD(&q->lock);
    q->busy--;
    wake_if_idle_locked(q);
}

void
sf_queue_add(struct sf_queue *q, struct sf_job *job, const struct sf_job_key *keys, unsigned n)
{
    assert(n <= SF_JOB_KEYS);
    job->queue = q;
    job->next = NULL;
    job->blocked = 0;
    memset(job->slots, 0, sizeof job->slots);
    sf_mutex_lock(&q->lock);
    int rc = q->stop ? -ECANCELED : q->jobs >= q->max_jobs ? -EAGAIN : 0;
    if (!rc)
        rc = enter_locked(q, job, keys, n);
    if (!rc)
        q->jobs++;
    bool ready = !rc && !job->blocked; /* later a worker may own it already */
    sf_mutex_unlock(&q->lock);
    if (rc)
        refuse(job, rc);
    else if (ready)
        dispatch(q, job);
}

void
sf_queue_hold(struct sf_queue *q)
{
    SF_GUARD(&q->lock);
    q->holds++;
}

void
sf_queue_release(struct sf_queue *q)
{
    SF_GUARD(&q->lock);
    assert(q->holds > 0);
    q->holds--;
    wake_if_idle_locked(q);
}

unsigned
sf_queue_drain(struct sf_queue *q, int64_t deadline_ms)
{
    SF_GUARD(&q->lock);
    while (!is_idle_locked(q))
        if (sf_cond_timedwait_ms(&q->idle, &q->lock, deadline_ms))
            break;
    return q->jobs + q->holds;
}

void
sf_queue_stop(struct sf_queue *q)
{
    SF_GUARD(&q->lock);
    q->stop = true;
}

void
sf_queue_free(struct sf_queue *q)
{
    if (!q)
        return;
    sf_queue_stop(q);
    sf_queue_drain(q, INT64_MAX);
    sf_pool_free(q->pool);
    assert(!q->lanes);
    sf_cond_fini(&q->idle);
    sf_mutex_fini(&q->lock);
    free(q);
}

void
sf_queue_get_stats(struct sf_queue *q, struct sf_queue_stats *out)
{
    struct sf_pool_stats p;
    sf_pool_get_stats(q->pool, &p);
    SF_GUARD(&q->lock);
    *out = (struct sf_queue_stats){
        .threads = p.threads,
        .running = q->running,
        .queued = q->jobs - q->running,
    };
}
