/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "policy-sim.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static void
take_off(struct sim *s, struct sim_entry *x)
{
    x->prev->next = x->next;
    x->next->prev = x->prev;
    s->usage[x->queue].bytes -= x->e.bytes;
    s->usage[x->queue].entries--;
    x->queue = -1;
}

static void
put_on(struct sim *s, int queue, struct sim_entry *x)
{
    struct sim_entry *head = &s->heads[queue];
    x->prev = head->prev;
    x->next = head;
    head->prev->next = x;
    head->prev = x;
    x->queue = queue;
    s->usage[queue].bytes += x->e.bytes;
    s->usage[queue].entries++;
}

static int
take(void *arg, enum sf_policy_queue queue, int64_t before_ms, struct sf_policy_entry *ret)
{
    struct sim *s = arg;
    struct sim_entry *x = s->heads[queue].next;
    while (x != &s->heads[queue] && x->pinned)
        x = x->next;
    if (x == &s->heads[queue] || x->e.queued_ms >= before_ms)
        return -ENOENT;
    s->takes++;
    take_off(s, x);
    *ret = x->e;
    return 0;
}

static int
push(void *arg, enum sf_policy_queue queue, const struct sf_policy_entry *e)
{
    struct sim *s = arg;
    if (s->fail_push && --s->fail_push == 0)
        return -EIO;
    struct sim_entry *x = &s->entries[e->content];
    assert(x->queue == -1);
    s->pushes++;
    x->e = *e;
    put_on(s, (int)queue, x);
    return 0;
}

static int
evict(void *arg, const struct sf_policy_entry *e)
{
    struct sim *s = arg;
    assert(s->entries[e->content].queue == -1 && !s->entries[e->content].pinned);
    s->evictions++;
    return 0;
}

static void
usage(void *arg, enum sf_policy_queue queue, struct sf_policy_usage *ret)
{
    struct sim *s = arg;
    *ret = s->usage[queue];
}

const struct sf_policy_ops sim_ops = {take, push, evict, usage};

void
sim_init(struct sim *s, uint64_t max_bytes, unsigned n_entries)
{
    *s = (struct sim){.max_bytes = max_bytes, .n = n_entries};
    for (int q = 0; q < SF_POLICY_QUEUES; q++)
        s->heads[q].prev = s->heads[q].next = &s->heads[q];
    s->entries = calloc(n_entries, sizeof s->entries[0]);
    assert(s->entries);
    for (unsigned i = 0; i < n_entries; i++)
        s->entries[i].queue = -1;
    int rc = sf_policy_new(max_bytes, &s->policy);
    assert(rc == 0);
}

void
sim_fini(struct sim *s)
{
    sf_policy_free(s->policy);
    free(s->entries);
}

void
sim_restart(struct sim *s)
{
    sf_policy_free(s->policy);
    int rc = sf_policy_new(s->max_bytes, &s->policy);
    assert(rc == 0);
}

uint64_t
sim_used(const struct sim *s)
{
    return s->usage[SF_POLICY_NEW].bytes + s->usage[SF_POLICY_PROVEN].bytes;
}

bool
sim_has(const struct sim *s, unsigned number)
{
    return s->entries[number].queue >= 0;
}

bool
sim_read(struct sim *s, unsigned number, uint64_t bytes)
{
    struct sim_entry *x = &s->entries[number];
    assert(number < s->n);
    if (x->queue >= 0) {
        sf_policy_hit(s->policy, number, 0, bytes, s->now_ms);
        return true;
    }
    if (bytes > s->max_bytes / 2)
        return false;
    if (sim_used(s) + bytes > s->max_bytes) {
        uint64_t want = sim_used(s) + bytes - s->max_bytes, freed;
        int rc = sf_policy_evict(s->policy, &sim_ops, s, want, s->now_ms, &freed);
        assert(rc == 0 && freed >= want);
    }
    x->e = (struct sf_policy_entry){number, 0, bytes, s->now_ms};
    put_on(s, (int)sf_policy_admit(s->policy, number, 0, bytes, s->now_ms), x);
    return false;
}
