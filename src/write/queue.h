/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_QUEUE_H
#define SF_WRITE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Internal to src/write: a bounded queue of jobs with an order per key. Each key has a lane, first
 * in first out; a job runs on a worker when nothing before it is in its way in any of its lanes (a
 * rename has two keys), so jobs of one key never overlap and keep their order, and no worker waits
 * for a key.
 *
 * A key that ends in '/' stands for all keys below it, the empty key for all of its bucket: such a
 * job conflicts with every job on a key below, both ways. For that a job also passes the lanes of
 * the prefixes above its key, together with everybody else who only passes there.
 *
 * A job enters all its lanes in one step. So its places in them are in one and the same order, that
 * of being added, whatever the lanes; a job waits only for earlier ones, and no circle can arise.
 */
struct sf_queue;
struct sf_job;
struct sf_place; /* a job's places in its lanes */

#define SF_JOB_KEYS 2

/* The first member of whatever is queued; zeroed before use. */
struct sf_job {
    /*
     * Does the work, calls back and frees the job, or adds it again; the lanes that it was in stay
     * held until this returns, or longer: see sf_queue_keep().
     * @refused: NULL, or why it is not to be done: then it only calls back with this. A refused
     *           job runs on the thread that adds it when the queue is full (-EAGAIN), memory is
     *           gone (-ENOMEM) or the queue stops (-ECANCELED), else on a worker.
     */
    void (*run)(struct sf_job *job, const struct sf_err *refused);

    /* the queue's own */
    struct sf_queue *queue;
    struct sf_place *place; /* while it is in the queue */
    struct sf_job *next;
};

/* What a job is ordered by; strings are borrowed for the call. */
struct sf_job_key {
    const char *bucket, *key;
};

/**
 * sf_queue_new - a queue of at most @max_jobs jobs that wait or run, on @workers threads.
 * Returns 0 or -ENOMEM.
 */
int sf_queue_new(const char *name, unsigned workers, unsigned max_jobs, struct sf_queue **ret);

/**
 * sf_queue_add - queue a job.
 * @job:  taken; run exactly once.
 * @keys: @n of them, at most SF_JOB_KEYS; equal ones count once; n = 0: no order.
 * Never blocks.
 */
void sf_queue_add(struct sf_queue *q, struct sf_job *job, const struct sf_job_key *keys,
                  unsigned n);

/**
 * sf_queue_keep - hold the lanes beyond the end of run(); only called from there.
 * Returns what sf_queue_leave() takes to let them go, on any thread, also before run() has
 * returned. Until then the job counts as one that runs, for draining, too; its memory is the
 * caller's. NULL when the job was refused before it entered (then nothing is held).
 */
struct sf_place *sf_queue_keep(struct sf_job *job);
void sf_queue_leave(struct sf_queue *q, struct sf_place *place);

/* Who is told, with no lock held, that a job was added that has to wait for another; set before the
 * first job. For those who keep lanes in order to do something together with others. */
void sf_queue_on_wait(struct sf_queue *q, void (*fn)(void *arg), void *arg);

/* Work that goes on elsewhere and that draining waits for, too. */
void sf_queue_hold(struct sf_queue *q);
void sf_queue_release(struct sf_queue *q);

/* Wait until nothing waits, runs or is held, or @deadline_ms. Returns what remains. */
unsigned sf_queue_drain(struct sf_queue *q, int64_t deadline_ms);

/* From now on jobs that have not begun are refused with -ECANCELED. */
void sf_queue_stop(struct sf_queue *q);
/* Stop, wait for all jobs and holds, end the threads. May be NULL. */
void sf_queue_free(struct sf_queue *q);

struct sf_queue_stats {
    unsigned threads, running, queued;
};
void sf_queue_get_stats(struct sf_queue *q, struct sf_queue_stats *out);

#endif
