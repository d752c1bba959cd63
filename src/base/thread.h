/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_THREAD_H
#define SF_BASE_THREAD_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/**
 * sf_thread_start - start a thread that receives no signals.
 * @name: shown by ps and debuggers; cut to 15 bytes.
 * @tid:  for pthread_join(); NULL = the thread is detached.
 *
 * Returns 0 or -errno (-EAGAIN: no more threads allowed).
 */
int sf_thread_start(const char *name, void *(*fn)(void *arg), void *arg, pthread_t *tid);

/* A pool of worker threads with a bounded queue. Thread-safe. */
struct sf_pool;

typedef void (*sf_pool_fn)(void *arg);

struct sf_pool_stats {
    unsigned threads; /* started so far */
    unsigned peak;    /* most that ran at the same time */
    size_t running;   /* jobs that run now */
    size_t queued;    /* jobs that wait */
};

/**
 * sf_pool_new - make a pool; threads are started when jobs come and none is idle.
 * @name:        of the threads.
 * @max_threads: at least 1.
 * @max_queue:   jobs that may wait; at least 1.
 *
 * Returns 0 or -ENOMEM. *ret is untouched on failure.
 */
int sf_pool_new(const char *name, unsigned max_threads, size_t max_queue, struct sf_pool **ret);

/**
 * sf_pool_submit - let a worker call fn(arg). Jobs start in the order of submission.
 *
 * Returns 0; -EAGAIN the queue is full, or no thread could be started; -ESHUTDOWN the pool is
 * being freed. On failure fn is never called. Never waits.
 */
int sf_pool_submit(struct sf_pool *pool, sf_pool_fn fn, void *arg);

/* Wait until no job waits or runs (jobs may still be submitted meanwhile). Returns 0 or -ETIMEDOUT
 * at @deadline_ms of sf_clock_ms(). Not from a worker of this pool. */
int sf_pool_drain(struct sf_pool *pool, int64_t deadline_ms);

/* Take no more jobs, run those that wait, end the threads, free the pool. @pool may be NULL. */
void sf_pool_free(struct sf_pool *pool);

void sf_pool_get_stats(struct sf_pool *pool, struct sf_pool_stats *ret);

#endif
