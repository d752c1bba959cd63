/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/thread.h"

#include "base/cleanup.h"
#include "base/lock.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#define NAME_MAX_LEN 15 /* of the kernel */

struct start {
    void *(*fn)(void *arg);
    void *arg;
    char name[NAME_MAX_LEN + 1];
};

static void *
thread_main(void *p)
{
    struct start s = *(struct start *)p;
    free(p);
    pthread_setname_np(pthread_self(), s.name);
    return s.fn(s.arg);
}

int
sf_thread_start(const char *name, void *(*fn)(void *arg), void *arg, pthread_t *tid)
{
    sf_autofree struct start *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->fn = fn;
    s->arg = arg;
    strncpy(s->name, name, NAME_MAX_LEN); /* calloc put the NUL */

    /* The thread inherits the mask, so there is no moment in which a signal could reach it. */
    sigset_t all, old;
    sigfillset(&all);
    /* Faults of its own are not sent by anybody; blocked, they end the process unheard. */
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGSEGV);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_t t;
    int rc = pthread_create(&t, NULL, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc)
        return -rc;
    s = NULL;
    if (tid)
        *tid = t;
    else
        pthread_detach(t);
    return 0;
}

struct job {
    sf_pool_fn fn;
    void *arg;
};

struct sf_pool {
    struct sf_mutex lock; /* leaf; protects all below */
    struct sf_cond work;  /* a job came, or stop */
    struct sf_cond idle;  /* nothing waits or runs any more */
    struct job *queue;    /* ring of max_queue */
    size_t head, queued, max_queue;
    pthread_t *tids; /* max_threads */
    unsigned threads, max_threads, waiting, peak;
    size_t running;
    bool stop;
    char name[NAME_MAX_LEN + 1];
};

static void *
worker(void *p)
{
    struct sf_pool *pool = p;
    sf_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->queued && !pool->stop) {
            pool->waiting++;
            sf_cond_wait(&pool->work, &pool->lock);
            pool->waiting--;
        }
        if (!pool->queued)
            break;
        struct job job = pool->queue[pool->head];
        pool->head = (pool->head + 1) % pool->max_queue;
        pool->queued--;
        pool->running++;
        if (pool->running > pool->peak)
            pool->peak = (unsigned)pool->running;
        sf_mutex_unlock(&pool->lock);
        job.fn(job.arg);
        sf_mutex_lock(&pool->lock);
        pool->running--;
        if (!pool->running && !pool->queued)
            sf_cond_broadcast(&pool->idle);
    }
    sf_mutex_unlock(&pool->lock);
    return NULL;
}

int
sf_pool_new(const char *name, unsigned max_threads, size_t max_queue, struct sf_pool **ret)
{
    assert(max_threads > 0 && max_queue > 0);
    sf_autofree struct sf_pool *pool = calloc(1, sizeof *pool);
    sf_autofree struct job *queue = calloc(max_queue, sizeof *queue);
    sf_autofree pthread_t *tids = calloc(max_threads, sizeof *tids);
    if (!pool || !queue || !tids)
        return -ENOMEM;
    sf_mutex_init(&pool->lock, 0);
    sf_cond_init(&pool->work);
    sf_cond_init(&pool->idle);
    pool->queue = sf_steal(queue);
    pool->tids = sf_steal(tids);
    pool->max_queue = max_queue;
    pool->max_threads = max_threads;
    strncpy(pool->name, name, NAME_MAX_LEN);
    *ret = sf_steal(pool);
    return 0;
}

int
sf_pool_submit(struct sf_pool *pool, sf_pool_fn fn, void *arg)
{
    SF_GUARD(&pool->lock);
    if (pool->stop)
        return -ESHUTDOWN;
    if (pool->queued == pool->max_queue)
        return -EAGAIN;
    /* Idle threads that were woken but do not run yet are counted in waiting: compare with queued.
     */
    if (pool->waiting <= pool->queued && pool->threads < pool->max_threads) {
        int rc = sf_thread_start(pool->name, worker, pool, &pool->tids[pool->threads]);
        if (rc == 0)
            pool->threads++;
        else if (pool->threads == 0)
            return -EAGAIN;
    }
    size_t at = (pool->head + pool->queued) % pool->max_queue;
    pool->queue[at] = (struct job){fn, arg};
    pool->queued++;
    sf_cond_signal(&pool->work);
    return 0;
}

int
sf_pool_drain(struct sf_pool *pool, int64_t deadline_ms)
{
    SF_GUARD(&pool->lock);
    while (pool->queued || pool->running) {
        int rc = sf_cond_timedwait_ms(&pool->idle, &pool->lock, deadline_ms);
        if (rc)
            return rc;
    }
    return 0;
}

void
sf_pool_free(struct sf_pool *pool)
{
    if (!pool)
        return;
    sf_mutex_lock(&pool->lock);
    pool->stop = true;
    sf_cond_broadcast(&pool->work);
    sf_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++)
        pthread_join(pool->tids[i], NULL);
    sf_cond_fini(&pool->idle);
    sf_cond_fini(&pool->work);
    sf_mutex_fini(&pool->lock);
    free(pool->queue);
    free(pool->tids);
    free(pool);
}

void
sf_pool_get_stats(struct sf_pool *pool, struct sf_pool_stats *ret)
{
    SF_GUARD(&pool->lock);
    *ret = (struct sf_pool_stats){
        .threads = pool->threads,
        .peak = pool->peak,
        .running = pool->running,
        .queued = pool->queued,
    };
}
