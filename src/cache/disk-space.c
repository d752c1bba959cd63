/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/vec.h"
#include "cache/disk-internal.h"
#include "observe/counter.h"

#define STEP_MAX  (16u << 20) /* bytes that one transaction evicts */
#define AVAIL_MS  1000        /* an answer of statvfs() is believed for so long */
#define AVAIL_OWN (32u << 20) /* or until so much was written since */

/* ---- one transaction of evictions ----------------------------------------------------------- */

struct entry {
    struct sf_policy_entry e;
    uint64_t number;
    uint32_t mask;
    unsigned queue; /* where it was */
    bool file;
};
SF_VEC_DEFINE(entries, struct entry);

struct eviction {
    struct sf_env_write w;
    struct sf_disk *d;
    uint64_t want;     /* bytes; else: */
    int64_t before_ms; /* what was queued before, or */
    uint64_t only;     /* the chunks of this content, from @next on */
    uint32_t next;
    unsigned generation;

    struct sf_txn *txn;
    uint64_t from[SF_POLICY_QUEUES]; /* places before these were looked at */
    unsigned taken_sum;
    struct entries taken; /* off the queues, not settled */
    struct entries gone;
    struct sf_row_usage was, is;
    uint64_t freed;
    bool more; /* it ended for the length of the transaction */
};

static void
unclaim_all(struct eviction *ev, struct entries *list, bool gone)
{
    SF_VEC_FOREACH (list, x)
        sf_chunk_unclaim(ev->d, x->number, x->e.chunk, gone);
    entries_clear(list);
}

static int
take(void *arg, enum sf_policy_queue queue, int64_t before_ms, struct sf_policy_entry *ret)
{
    struct eviction *ev = arg;
    if (ev->taken_sum == SF_DISK_TAKE_MAX) {
        ev->more = true;
        return -ENOENT;
    }
    for (;;) {
        sf_autobuf struct sf_buf key = SF_BUF_INIT, value = SF_BUF_INIT;
        unsigned char from[SF_ROW_SHORT_KEY];
        struct sf_row_queue row;
        unsigned q;
        uint64_t place;
        int rc = sf_txn_next(ev->txn, SF_TABLE_QUEUE, from,
                             sf_row_queue_key(from, queue, ev->from[queue]), &key, &value);
        if (rc || key.len != 9)
            return rc ? rc : -EUCLEAN;
        sf_row_queue_parse(key.data, &q, &place);
        if (q != queue)
            return -ENOENT;
        rc = sf_row_queue_get(key.data, key.len, value.data, value.len, &row);
        if (!rc && place < ev->from[queue])
            rc = -EUCLEAN; /* a damaged tree leads in a circle */
        if (rc || row.queued_ms >= before_ms)
            return rc ? rc : -ENOENT;
        ev->from[queue] = place + 1;
        sf_mutex_lock(&ev->d->lock);
        bool mine = sf_chunk_claim_locked(ev->d, row.number, row.chunk);
        sf_mutex_unlock(&ev->d->lock);
        if (!mine)
            continue;
        struct entry x = {.e = {row.identity, row.chunk, row.bytes, row.queued_ms},
                          .number = row.number,
                          .queue = queue};
        if (entries_push(&ev->taken, x)) {
            sf_chunk_unclaim(ev->d, row.number, row.chunk, false);
            return -ENOMEM;
        }
        ev->taken_sum++;
        ev->is.bytes[queue] -= row.bytes;
        ev->is.entries[queue]--;
        *ret = x.e;
        return sf_txn_queue_del(ev->txn, queue, place);
    }
}

static struct entry
settle(struct eviction *ev, const struct sf_policy_entry *e)
{
    size_t i = 0;
    while (ev->taken.data[i].e.content != e->content || ev->taken.data[i].e.chunk != e->chunk)
        i++;
    struct entry x = ev->taken.data[i];
    entries_remove(&ev->taken, i);
    return x;
}

static int
push(void *arg, enum sf_policy_queue queue, const struct sf_policy_entry *e)
{
    struct eviction *ev = arg;
    struct entry x = settle(ev, e);
    struct sf_row_queue row = {.number = x.number,
                               .chunk = e->chunk,
                               .bytes = (uint32_t)e->bytes,
                               .identity = e->content,
                               .queued_ms = e->queued_ms};
    struct sf_row_chunk chunk;
    int rc = sf_txn_chunk_get(ev->txn, x.number, e->chunk, &chunk);
    chunk.queue = queue;
    chunk.place = sf_disk_place(ev->d);
    if (!rc)
        rc = sf_txn_chunk_put(ev->txn, x.number, e->chunk, &chunk);
    if (!rc)
        rc = sf_txn_queue_put(ev->txn, queue, chunk.place, &row);
    ev->is.bytes[queue] += row.bytes;
    ev->is.entries[queue]++;
    sf_chunk_unclaim(ev->d, x.number, e->chunk, false);
    return rc == -ENOENT ? -EUCLEAN : rc;
}

static int
evict(void *arg, const struct sf_policy_entry *e)
{
    struct eviction *ev = arg;
    struct entry x = settle(ev, e);
    struct sf_row_chunk chunk;
    int rc = sf_txn_chunk_get(ev->txn, x.number, e->chunk, &chunk);
    if (!rc)
        rc = sf_txn_chunk_remove(ev->txn, x.number, e->chunk, chunk.mask);
    int full = entries_push(&ev->gone, x);
    if (rc || full) {
        if (full)
            sf_chunk_unclaim(ev->d, x.number, e->chunk, false);
        return rc == -ENOENT ? -EUCLEAN : rc ? rc : full;
    }
    ev->freed += e->bytes;
    return 0;
}

static void
usage(void *arg, enum sf_policy_queue queue, struct sf_policy_usage *ret)
{
    struct eviction *ev = arg;
    *ret = (struct sf_policy_usage){ev->is.bytes[queue], ev->is.entries[queue]};
}

static const struct sf_policy_ops ops = {take, push, evict, usage};

/* The chunks of one content. */
static int
evict_content(struct eviction *ev)
{
    for (;;) {
        sf_autobuf struct sf_buf key = SF_BUF_INIT, value = SF_BUF_INIT;
        unsigned char from[SF_ROW_SHORT_KEY];
        struct sf_row_chunk row;
        uint64_t number;
        uint32_t index;
        int rc = sf_txn_next(ev->txn, SF_TABLE_CHUNKS, from,
                             sf_row_chunk_key(from, ev->only, ev->next), &key, &value);
        if (rc)
            return rc == -ENOENT ? 0 : rc;
        sf_row_chunk_parse(key.data, &number, &index);
        if (number != ev->only)
            return 0;
        if (index < ev->next)
            return -EUCLEAN;
        rc = sf_row_chunk_get(key.data, key.len, value.data, value.len, &row);
        if (rc || row.queue == SF_QUEUE_PINNED)
            return rc;
        if (ev->gone.len == SF_DISK_TAKE_MAX) {
            ev->more = true;
            return 0;
        }
        sf_mutex_lock(&ev->d->lock);
        bool mine = sf_chunk_claim_locked(ev->d, number, index);
        sf_mutex_unlock(&ev->d->lock);
        if (mine) {
            struct entry x = {
                .e = {.chunk = index, .bytes = row.bytes}, .number = number, .queue = row.queue};
            rc = entries_push(&ev->taken, x);
            if (rc)
                sf_chunk_unclaim(ev->d, number, index, false);
            else
                rc = sf_txn_queue_del(ev->txn, row.queue, row.place);
            ev->is.bytes[row.queue] -= row.bytes;
            ev->is.entries[row.queue]--;
            if (rc || (rc = evict(ev, &x.e)))
                return rc == -ENOENT ? -EUCLEAN : rc;
        }
        if (index == UINT32_MAX)
            return 0;
        ev->next = index + 1;
    }
}

static int
eviction_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct eviction *ev = (struct eviction *)w;
    struct sf_disk *d = ev->d;
    int64_t now = sf_wall_ns() / 1000000;
    uint32_t next = ev->next;
    uint64_t freed;
    unclaim_all(ev, &ev->taken, false); /* of an attempt that failed */
    unclaim_all(ev, &ev->gone, false);
    memset(ev->from, 0, sizeof ev->from);
    ev->txn = txn;
    ev->freed = 0;
    ev->taken_sum = 0;
    ev->more = false;
    sf_mutex_lock(&d->lock);
    bool gone = ev->generation != d->generation;
    sf_mutex_unlock(&d->lock);
    if (gone)
        return -ESTALE;
    int rc = sf_txn_usage_get(txn, &ev->was);
    ev->is = ev->was;
    if (rc)
        return rc;
    if (ev->only)
        rc = evict_content(ev);
    else if (ev->want)
        rc = sf_policy_evict(d->policy, &ops, ev, ev->want, now, &freed);
    else
        rc = sf_policy_expire(d->policy, &ops, ev, ev->before_ms, now, SF_DISK_TAKE_MAX, &freed);
    ev->more = ev->more || rc == SF_DISK_TAKE_MAX;
    if (rc >= 0)
        rc = sf_txn_usage_put(txn, &ev->is);
    ev->next = rc ? next : ev->next;
    return rc;
}

/* In a transaction, then the files. Returns 0 or -errno. */
static int
run(struct eviction *ev)
{
    struct sf_disk *d = ev->d;
    ev->w = (struct sf_env_write){.run = eviction_run, .frees = true};
    sf_mutex_lock(&d->lock);
    ev->generation = d->generation;
    sf_mutex_unlock(&d->lock);
    int rc = sf_env_write_wait(d->env, &ev->w);
    if (rc == -EUCLEAN)
        sf_env_distrust(d->env);
    if (!rc) {
        /* Also those that have no file: which are small is in rows that are gone. */
        SF_VEC_FOREACH (&ev->gone, x)
            if (sf_chunk_unlink(d, x->number, x->e.chunk))
                sf_disk_want_check(d);
        sf_mutex_lock(&d->lock);
        if (ev->generation == d->generation)
            sf_usage_move_locked(d, &ev->was, &ev->is);
        d->avail_ms = 0;
        sf_mutex_unlock(&d->lock);
        atomic_fetch_add(&d->evicted, ev->freed);
        sf_count(SF_C_CACHE_EVICTED_BYTES, ev->freed);
    }
    unclaim_all(ev, &ev->taken, false);
    unclaim_all(ev, &ev->gone, !rc);
    entries_fini(&ev->taken);
    entries_fini(&ev->gone);
    return rc;
}

uint64_t
sf_space_make(struct sf_disk *d, uint64_t want)
{
    uint64_t freed = 0;
    /* What is being committed cannot be evicted, but it can after the first attempt: that one
     * waits behind it. */
    for (int idle = 0; freed < want && idle < 2;) {
        uint64_t rest = want - freed;
        struct eviction ev = {.d = d, .want = rest < STEP_MAX ? rest : STEP_MAX};
        if (run(&ev))
            break;
        freed += ev.freed;
        idle = ev.freed ? 0 : ev.more ? idle : idle + 1;
    }
    return freed;
}

uint64_t
sf_disk_evict(struct sf_disk_content *c)
{
    struct eviction ev = {.d = c->d};
    uint64_t freed = 0;
    sf_disk_flush(c->d);
    if (sf_content_number(c, false, &ev.only))
        return 0;
    do {
        if (run(&ev))
            break;
        freed += ev.freed;
    } while (ev.more);
    return freed;
}

/* ---- reservation ---------------------------------------------------------------------------- */

uint64_t
sf_disk_bytes_locked(struct sf_disk *d)
{
    uint64_t sum = d->reserved;
    SF_ASSERT_HELD(&d->lock);
    for (int q = 0; q < SF_ROW_QUEUES; q++)
        sum += d->usage.bytes[q];
    return sum;
}

/* What the file system has, by the last answer and what was written since. The lock is let go. */
static uint64_t
avail_locked(struct sf_disk *d)
{
    struct statvfs st;
    int64_t now = sf_clock_ms();
    if (!d->avail_ms || now - d->avail_ms > AVAIL_MS || d->written > AVAIL_OWN) {
        sf_mutex_unlock(&d->lock);
        int rc = fstatvfs(d->dir_fd, &st);
        sf_mutex_lock(&d->lock);
        d->avail = rc ? UINT64_MAX : (uint64_t)st.f_bavail * st.f_frsize;
        d->avail_ms = now;
        d->written = 0;
    }
    return d->avail > d->written ? d->avail - d->written : 0;
}

/* Bytes that have to go before @need can be written. */
static uint64_t
short_of_locked(struct sf_disk *d, uint64_t need)
{
    uint64_t max = d->opts.max_bytes, floor = 0, over = 0;
    if (d->opts.min_free) {
        uint64_t avail = avail_locked(d);
        floor = avail < d->opts.min_free + need ? d->opts.min_free + need - avail : 0;
    }
    uint64_t sum = sf_disk_bytes_locked(d) + need;
    if (sum > max)
        over = sum - max;
    return over > floor ? over : floor;
}

bool
sf_space_reserve(struct sf_disk *d, uint64_t need)
{
    uint64_t spare =
        d->opts.max_bytes / 128 < STEP_MAX / 2 ? d->opts.max_bytes / 128 : STEP_MAX / 2;
    if (need > d->opts.max_bytes)
        return false;
    SF_GUARD(&d->lock);
    for (bool tried = false;;) {
        uint64_t lack = short_of_locked(d, need);
        if (!lack)
            break;
        if (d->making_room) {
            sf_cond_wait(&d->changed, &d->lock);
            continue;
        }
        if (tried)
            return false;
        /* A little more than is needed: then the next writes need no transaction of their own. */
        d->making_room = true;
        sf_mutex_unlock(&d->lock);
        uint64_t freed = sf_space_make(d, lack + spare);
        sf_mutex_lock(&d->lock);
        d->making_room = false;
        sf_cond_broadcast(&d->changed);
        tried = freed < lack;
    }
    d->reserved += need;
    d->written += need;
    return true;
}

void
sf_space_give_back(struct sf_disk *d, uint64_t bytes)
{
    SF_GUARD(&d->lock);
    d->reserved -= bytes;
    sf_cond_broadcast(&d->changed);
}

void
sf_space_tick(struct sf_disk *d)
{
    sf_mutex_lock(&d->lock);
    uint64_t lack = d->making_room ? 0 : short_of_locked(d, 0);
    sf_mutex_unlock(&d->lock);
    if (lack)
        (void)sf_space_make(d, lack);
    if (!d->opts.max_age_ms)
        return;
    struct eviction ev;
    do
        ev = (struct eviction){.d = d, .before_ms = sf_wall_ns() / 1000000 - d->opts.max_age_ms};
    while (run(&ev) == 0 && ev.more);
}
