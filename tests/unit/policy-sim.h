/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_POLICY_SIM_H
#define SF_TESTS_POLICY_SIM_H

#include "cache/policy.h"

#include <stdbool.h>
#include <stdint.h>

/* A cache without bytes: the queues of src/cache/policy.h in memory, for entries known by number.
 */
struct sim_entry {
    struct sf_policy_entry e;
    struct sim_entry *prev, *next; /* in its queue; the ends are the queue's head */
    int queue;                     /* -1 = not cached */
    bool pinned;
};

struct sim {
    uint64_t max_bytes;
    int64_t now_ms;
    struct sf_policy *policy;
    struct sim_entry heads[SF_POLICY_QUEUES];
    struct sf_policy_usage usage[SF_POLICY_QUEUES];
    struct sim_entry *entries; /* by number */
    unsigned n;
    unsigned takes, pushes, evictions;
    unsigned fail_push; /* the so many-th push from now fails */
};

void sim_init(struct sim *s, uint64_t max_bytes, unsigned n_entries);
void sim_fini(struct sim *s);
/* The process ended and began again: what memory knew is gone. */
void sim_restart(struct sim *s);
/* Read an entry of this size; true = it was there. It is there afterwards, unless it would take
 * more than half of the cache. */
bool sim_read(struct sim *s, unsigned number, uint64_t bytes);
uint64_t sim_used(const struct sim *s);
bool sim_has(const struct sim *s, unsigned number);

extern const struct sf_policy_ops sim_ops;

#endif
