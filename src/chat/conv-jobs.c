/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Threads for what conversations have to do: a queue that nothing is refused by. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"
#include "chat/internal.h"
#include "http/http.h"

#define THREADS_MAX 8
#define IDLE_MS     10000 /* then a thread ends, but for the first one */

struct conv_crew {
    struct sf_http *http;
    unsigned max;
    struct sf_mutex lock; /* a leaf; protects what follows */
    struct sf_cond work, ends;
    struct conv_job *head, **tail; /* the queue */
    struct conv_job *later;        /* those that wait for their time */
    unsigned threads, idle, queued;
    bool hurry, stop;
};

/* ---- threads --------------------------------------------------------------------------------- */

/* The next job; NULL = the thread may end. */
static struct conv_job *
take_locked(struct conv_crew *c)
{
    while (!c->head) {
        if (c->stop && !c->later)
            return NULL;
        c->idle++;
        int rc = sf_cond_timedwait_ms(&c->work, &c->lock, sf_clock_ms() + IDLE_MS);
        c->idle--;
        if (rc == -ETIMEDOUT && !c->head && c->threads > 1)
            return NULL;
    }
    struct conv_job *job = c->head;
    c->head = job->next;
    c->queued--;
    if (!c->head)
        c->tail = &c->head;
    return job;
}

static void *
work(void *arg)
{
    struct conv_crew *c = arg;
    sf_mutex_lock(&c->lock);
    for (struct conv_job *job; (job = take_locked(c));) {
        sf_mutex_unlock(&c->lock);
        job->fn(job->arg);
        sf_mutex_lock(&c->lock);
    }
    c->threads--;
    sf_cond_signal(&c->ends);
    sf_mutex_unlock(&c->lock);
    return NULL;
}

static int
hire_locked(struct conv_crew *c)
{
    int rc = sf_thread_start("chat", work, c, NULL);
    c->threads += rc == 0;
    return rc;
}

static void
push_locked(struct conv_crew *c, struct conv_job *job)
{
    job->next = NULL;
    *c->tail = job;
    c->tail = &job->next;
    c->queued++;
    if (c->idle < c->queued && c->threads < c->max)
        (void)hire_locked(c); /* those that are there do it, then */
    sf_cond_signal(&c->work);
}

/* ---- what waits for its time ----------------------------------------------------------------- */

static void
unlist_locked(struct conv_crew *c, struct conv_job *job)
{
    if (job->prev)
        job->prev->next = job->next;
    else
        c->later = job->next;
    if (job->next)
        job->next->prev = job->prev;
}

static void
due(void *arg)
{
    struct conv_job *job = arg;
    SF_GUARD(&job->crew->lock);
    unlist_locked(job->crew, job);
    push_locked(job->crew, job);
}

void
conv_crew_later(struct conv_crew *c, struct conv_job *job, int64_t ms, void (*fn)(void *arg),
                void *arg)
{
    SF_GUARD(&c->lock);
    *job = (struct conv_job){.fn = fn, .arg = arg, .crew = c};
    if (!c->hurry && ms > 0)
        job->timer = sf_http_timer(c->http, sf_clock_ms() + ms, due, job);
    if (!job->timer) {
        push_locked(c, job);
        return;
    }
    job->next = c->later;
    if (c->later)
        c->later->prev = job;
    c->later = job;
}

void
conv_crew_do(struct conv_crew *c, struct conv_job *job, void (*fn)(void *arg), void *arg)
{
    conv_crew_later(c, job, 0, fn, arg);
}

void
conv_crew_hurry(struct conv_crew *c)
{
    SF_GUARD(&c->lock);
    c->hurry = true;
    for (struct conv_job *job = c->later, *next; job; job = next) {
        next = job->next;
        /* Else its timer runs just now, and brings it. */
        if (sf_http_timer_cancel(c->http, job->timer)) {
            unlist_locked(c, job);
            push_locked(c, job);
        }
    }
}

/* ---- the life of it -------------------------------------------------------------------------- */

int
conv_crew_new(struct sf_http *http, unsigned threads, struct conv_crew **ret)
{
    struct conv_crew *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->http = http;
    c->max = threads;
    c->tail = &c->head;
    sf_mutex_init(&c->lock, 0);
    sf_cond_init(&c->work);
    sf_cond_init(&c->ends);
    *ret = c;
    SF_GUARD(&c->lock);
    return hire_locked(c);
}

void
conv_crew_free(struct conv_crew *c)
{
    if (!c)
        return;
    conv_crew_hurry(c);
    sf_mutex_lock(&c->lock);
    c->stop = true;
    sf_cond_broadcast(&c->work);
    /* A job that is due, and not here yet, comes: its timer is running. */
    while (c->threads || c->later)
        sf_cond_wait(&c->ends, &c->lock);
    sf_mutex_unlock(&c->lock);
    sf_cond_fini(&c->work);
    sf_cond_fini(&c->ends);
    sf_mutex_fini(&c->lock);
    free(c);
}
