/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_QUEUE_H
#define SF_WRITE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Internal to src/write: a bounded queue of jobs with an order per key. Each key has a lane, first
 * in first out; a job runs on a worker when it is at the head of each of its lanes (a rename has
 * two), so jobs of one key never overlap and keep their order, and no worker waits for a key.
 * A job enters all its lanes in one step, which is why two renames cannot wait for each other.
 */
struct sf_queue;
struct sf_job;

#define SF_JOB_KEYS 2

/* A place in a lane. */
struct sf_slot {
    struct sf_job *job;
    struct sf_lane *lane;
    struct sf_slot *next;
};

/* The first member of whatever is queued; zeroed before use. */
struct sf_job {
    /*
     * Does the work, calls back and frees the job, or adds it again; the lanes that it was in stay
     * held until this returns.
     * @refused: NULL, or why it is not to be done: then it only calls back with this. A refused
     *           job runs on the thread that adds it when the queue is full (-EAGAIN), memory is
     *           gone (-ENOMEM) or the queue stops (-ECANCELED), else on a worker.
     */
    void (*run)(struct sf_job *job, const struct sf_err *refused);

    /* the queue's own */
    struct sf_queue *queue;
    struct sf_slot *slots[SF_JOB_KEYS];
    unsigned blocked; /* lanes in which another job is before this one */
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
 * @keys: @n of them, at most SF_JOB_KEYS; two equal ones count once; n = 0: no order.
 * Never blocks.
 */
void sf_queue_add(struct sf_queue *q, struct sf_job *job, const struct sf_job_key *keys,
                  unsigned n);

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
