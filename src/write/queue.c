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

/* A place in one lane. Those in front that do not conflict have been let through (@passed): one job
 * that has the lane for itself, or all up to the first that wants that. */
struct slot {
    struct sf_place *place;
    struct sf_lane *lane;
    struct slot *prev, *next;
    bool alone;  /* wants the lane for itself; else it only passes to a key below */
    bool passed; /* nothing before it is in its way */
};

struct sf_place {
    struct sf_job *job; /* not read once it runs */
    unsigned blocked;   /* slots that have not passed */
    bool kept;          /* beyond the end of run() */
    bool over;          /* run() has returned, or who kept it has left: the second leaves */
    unsigned n;
    struct slot slots[];
};

struct sf_lane {
    UT_hash_handle hh;
    struct slot *head, *tail;
    struct slot *first_waiting; /* behind it nobody has passed; NULL = all have */
    bool taken;                 /* the head has it for itself */
    size_t len;
    char name[]; /* bucket, NUL, key */
};

struct sf_queue {
    struct sf_mutex lock; /* order 66; protects the fields down to the blank line */
    struct sf_cond idle;  /* jobs, busy and holds are 0 */
    struct sf_lane *lanes;
    unsigned jobs;    /* added and not finished */
    unsigned running; /* of these, in run() or kept */
    unsigned busy;    /* workers between taking a job and handing over what it made ready */
    unsigned holds;
    bool stop;

    unsigned max_jobs;
    struct sf_pool *pool;
    void (*on_wait)(void *arg); /* constant once jobs come */
    void *on_wait_arg;
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

void
sf_queue_on_wait(struct sf_queue *q, void (*fn)(void *arg), void *arg)
{
    q->on_wait = fn;
    q->on_wait_arg = arg;
}

/* ---- lanes ---------------------------------------------------------------------------------- */

static struct sf_lane *
lane_get_locked(struct sf_queue *q, const char *name, size_t len)
{
    struct sf_lane *lane = NULL;
    HASH_FIND(hh, q->lanes, name, len, lane);
    if (lane)
        return lane;
    sf_autofree struct sf_lane *fresh = calloc(1, sizeof *fresh + len);
    if (!fresh)
        return NULL;
    memcpy(fresh->name, name, len);
    fresh->len = len;
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

/* Let through who may; jobs that wait for nothing any more join *ready. */
static void
lane_pass_locked(struct sf_lane *lane, struct sf_job **ready)
{
    struct slot *s;
    while (!lane->taken && (s = lane->first_waiting) && (!s->alone || s == lane->head)) {
        s->passed = true;
        lane->taken = s->alone;
        lane->first_waiting = s->next;
        if (--s->place->blocked == 0) {
            s->place->job->next = *ready;
            *ready = s->place->job;
        }
    }
}

static void
lane_append_locked(struct slot *s, struct sf_job **ready)
{
    struct sf_lane *lane = s->lane;
    s->prev = lane->tail;
    *(lane->tail ? &lane->tail->next : &lane->head) = s;
    lane->tail = s;
    if (!lane->first_waiting)
        lane->first_waiting = s;
    lane_pass_locked(lane, ready);
}

static void
lane_remove_locked(struct sf_queue *q, struct slot *s, struct sf_job **ready)
{
    struct sf_lane *lane = s->lane;
    assert(s->passed);
    *(s->prev ? &s->prev->next : &lane->head) = s->next;
    *(s->next ? &s->next->prev : &lane->tail) = s->prev;
    if (s->alone)
        lane->taken = false;
    lane_pass_locked(lane, ready);
    lane_drop_if_empty_locked(q, lane);
}

/* The place wants this lane, too; a lane that it has already only once. */
static int
place_add_locked(struct sf_queue *q, struct sf_place *p, const char *name, size_t len, bool alone)
{
    struct sf_lane *lane = lane_get_locked(q, name, len);
    if (!lane)
        return -ENOMEM;
    for (unsigned i = 0; i < p->n; i++)
        if (p->slots[i].lane == lane) {
            p->slots[i].alone |= alone;
            return 0;
        }
    p->slots[p->n++] = (struct slot){.place = p, .lane = lane, .alone = alone};
    return 0;
}

/* The lanes of one key: its own, and those of the prefixes above it. */
static int
place_add_key_locked(struct sf_queue *q, struct sf_place *p, const struct sf_job_key *key)
{
    size_t nb = strlen(key->bucket) + 1, nk = strlen(key->key);
    sf_autofree char *name = malloc(nb + nk + 1);
    if (!name)
        return -ENOMEM;
    memcpy(name, key->bucket, nb);
    memcpy(name + nb, key->key, nk + 1);
    int rc = 0;
    for (size_t i = 0; i < nk && !rc; i++)
        if (i == 0 || key->key[i - 1] == '/')
            rc = place_add_locked(q, p, name, nb + i, false);
    return rc ? rc : place_add_locked(q, p, name, nb + nk, true);
}

static size_t
lanes_of(const struct sf_job_key *keys, unsigned n)
{
    size_t lanes = 0;
    for (unsigned i = 0; i < n; i++) {
        lanes += 2;
        for (const char *c = keys[i].key; *c; c++)
            lanes += *c == '/';
    }
    return lanes;
}

/* Put the job in its lanes; all or none. *ready: it may run at once. */
static int
enter_locked(struct sf_queue *q, struct sf_job *job, const struct sf_job_key *keys, unsigned n,
             struct sf_job **ready)
{
    size_t max = lanes_of(keys, n);
    struct sf_place *p = calloc(1, sizeof *p + max * sizeof p->slots[0]);
    int rc = p ? 0 : -ENOMEM;
    for (unsigned i = 0; i < n && !rc; i++)
        rc = place_add_key_locked(q, p, &keys[i]);
    if (rc) {
        for (unsigned i = 0; p && i < p->n; i++)
            lane_drop_if_empty_locked(q, p->slots[i].lane);
        free(p);
        return rc;
    }
    job->place = p;
    p->job = job;
    p->blocked = p->n;
    for (unsigned i = 0; i < p->n; i++)
        lane_append_locked(&p->slots[i], ready);
    if (!p->n)
        *ready = job;
    return 0;
}

/* Take the job out of its lanes; who may run now joins *ready. */
static void
leave_locked(struct sf_queue *q, struct sf_place *p, struct sf_job **ready)
{
    for (unsigned i = 0; i < p->n; i++)
        lane_remove_locked(q, &p->slots[i], ready);
    free(p);
    q->running--;
    q->jobs--;
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

/* Run one job, or refuse it with @code; then let go of its lanes, unless they are kept. What may
 * run then joins *ready. */
static void
run_one(struct sf_queue *q, struct sf_job *job, int code, struct sf_job **ready)
{
    struct sf_place *p = job->place;
    if (code)
        refuse(job, code);
    else
        job->run(job, NULL); /* frees the job */

    SF_GUARD(&q->lock);
    if (p->kept && !p->over)
        p->over = true;
    else
        leave_locked(q, p, ready);
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
    job->place = NULL;
    struct sf_job *ready = NULL; /* @job, if it need not wait */
    sf_mutex_lock(&q->lock);
    int rc = q->stop ? -ECANCELED : q->jobs >= q->max_jobs ? -EAGAIN : 0;
    if (!rc)
        rc = enter_locked(q, job, keys, n, &ready);
    if (!rc)
        q->jobs++;
    sf_mutex_unlock(&q->lock); /* from here on a worker may own the job */
    if (rc)
        refuse(job, rc);
    else if (ready)
        dispatch(q, ready);
    else if (q->on_wait)
        q->on_wait(q->on_wait_arg);
}

struct sf_place *
sf_queue_keep(struct sf_job *job)
{
    struct sf_place *p = job->place;
    if (!p)
        return NULL;
    SF_GUARD(&job->queue->lock);
    p->kept = true;
    return p;
}

void
sf_queue_leave(struct sf_queue *q, struct sf_place *p)
{
    struct sf_job *ready = NULL;
    if (!p)
        return;
    sf_mutex_lock(&q->lock);
    q->busy++;
    if (p->over)
        leave_locked(q, p, &ready);
    else
        p->over = true; /* run() has not returned yet */
    sf_mutex_unlock(&q->lock);
    dispatch(q, ready);

    SF_GUARD(&q->lock);
    q->busy--;
    wake_if_idle_locked(q);
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
