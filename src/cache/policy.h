/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_POLICY_H
#define SF_CACHE_POLICY_H

#include <stdint.h>

/*
 * What the disk tier gives up when it needs room (docs/decisions/0010-eviction-policy.md). Pure
 * code: the queues are the owner's, the clock is a parameter.
 *
 * Two queues of entries, oldest first. Each new entry is pushed on SF_POLICY_NEW. One that leaves
 * there without having been asked for again is given up, so that a scan passes through and touches
 * nothing else; one that was contends for a place on SF_POLICY_PROVEN. How often an entry was asked
 * for is remembered in memory, in a table of at most 1 MiB, also beyond its eviction. A restart
 * forgets this, not the queues: what was proven stays proven until something was asked for more
 * often.
 *
 * sf_policy_hit() may be called by any thread, also while others are in calls here; it writes two
 * words of memory. The other calls are made by one thread at a time. It does no harm when calls are
 * made again because a transaction failed.
 */
enum sf_policy_queue {
    SF_POLICY_NEW,
    SF_POLICY_PROVEN,
    SF_POLICY_QUEUES,
};

struct sf_policy_entry {
    uint64_t content;  /* the same when the entry comes back after an eviction, or its past is not
                          known */
    uint32_t chunk;    /* of this content */
    uint64_t bytes;    /* that its eviction frees */
    int64_t queued_ms; /* when it was made, or last known to be in use; kept by the owner */
};

struct sf_policy_usage {
    uint64_t bytes, entries;
};

/* The owner's queues. Any error but -ENOENT ends the call at once and may leave entries that were
 * taken and neither pushed nor evicted: the owner undoes its transaction. Entries that are pinned
 * or in use are on none of them, or are passed over by take(); then their bytes do not count in
 * usage() either, as far as that is known. */
struct sf_policy_ops {
    /* Take the oldest entry off a queue. 0; -ENOENT there is none, or its queued_ms is not before
     * @before_ms (INT64_MAX: any will do); -errno. */
    int (*take)(void *arg, enum sf_policy_queue queue, int64_t before_ms,
                struct sf_policy_entry *ret);
    /* Put an entry that was taken behind the newest one of a queue. 0 or -errno. */
    int (*push)(void *arg, enum sf_policy_queue queue, const struct sf_policy_entry *entry);
    /* An entry that was taken is given up. 0 or -errno. */
    int (*evict)(void *arg, const struct sf_policy_entry *entry);
    void (*usage)(void *arg, enum sf_policy_queue queue, struct sf_policy_usage *ret);
};

struct sf_policy;

/* @max_bytes: of the cache; decides how much memory the table takes. Returns 0 or -ENOMEM. */
int sf_policy_new(uint64_t max_bytes, struct sf_policy **ret);
void sf_policy_free(struct sf_policy *p); /* may be NULL */

/* Bytes of the entry were read, wherever they came from. All reads within a few seconds count as
 * one, so that a pass through a chunk by small reads is one use. @now_ms: any clock that only
 * rises. */
void sf_policy_hit(struct sf_policy *p, uint64_t content, uint32_t chunk, uint64_t bytes,
                   int64_t now_ms);

/* An entry is about to be made (not: grows). Returns the queue on which the owner pushes it, with
 * the time now. */
enum sf_policy_queue sf_policy_admit(struct sf_policy *p, uint64_t content, uint32_t chunk,
                                     uint64_t bytes, int64_t now_ms);

/**
 * sf_policy_evict - make room.
 * @want:   bytes to free, at least.
 * @now_ms: on the clock of queued_ms, which must go on over a restart.
 * @freed:  set in any case: bytes of what was given to evict(). Less than @want = the queues are
 * empty.
 *
 * A call of evict() is preceded by at most 150 of take(), one or two as a rule. Returns 0 or the
 * error of an operation.
 */
int sf_policy_evict(struct sf_policy *p, const struct sf_policy_ops *ops, void *arg, uint64_t want,
                    int64_t now_ms, uint64_t *freed);

/**
 * sf_policy_expire - give up what was queued before @before_ms and not asked for since.
 * @max: entries to take; a caller that gets as many goes on later, so that its transactions stay
 * short.
 *
 * What was asked for since is pushed again. Returns how many were taken, or the error of an
 * operation.
 */
int sf_policy_expire(struct sf_policy *p, const struct sf_policy_ops *ops, void *arg,
                     int64_t before_ms, int64_t now_ms, int max, uint64_t *freed);

#endif
