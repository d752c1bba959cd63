/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>

#include "cache/internal.h"
#include "observe/counter.h"

/* The calls of a reader. In order: memory, the local disk if it answers without waiting, and a
 * struct read for all the rest. */

#define TURN_NS INT64_C(250000000)

static size_t
clip(const struct sf_cached *c, uint64_t off, size_t len)
{
    if (off >= c->size)
        return 0;
    if (len > SF_CACHE_READ_MAX)
        len = SF_CACHE_READ_MAX;
    return len < c->size - off ? len : (size_t)(c->size - off);
}

/* Those who read on at the same time share what may be fetched ahead. */
static void
turn_locked(struct sf_cache *cache)
{
    int64_t turn = cache_now(cache) / TURN_NS;
    if (turn == cache->turn)
        return;
    cache->runners[1] = turn == cache->turn + 1 ? cache->runners[0] : 0;
    cache->runners[0] = 0;
    cache->turn = turn;
}

static void
plan_locked(struct sf_stream *s, uint64_t off, size_t len, struct sf_plan *plan)
{
    struct sf_cache *cache = s->content->cache;
    turn_locked(cache);
    unsigned runners = cache->runners[cache->runners[1] > cache->runners[0]];
    struct sf_pattern_env env = {
        .size = s->content->size,
        .carries = sf_link_carries(&cache->link),
        .miss_max = cache->opts.miss_max,
        .window = ahead_max(cache) / (runners ? runners : 1),
    };
    sf_pattern_read(&s->pattern, &env, off, len, plan);
    if (plan->ahead_off < plan->ahead_end && s->turn != cache->turn) {
        s->turn = cache->turn;
        cache->runners[0]++;
    }
}

/* ---- from the local disk, at once -------------------------------------------------------------
 */

/* Small reads, without any memory: most of those that no pattern has announced. The stream may be
 * gone when its reader has the bytes, so what is wanted ahead (NULL = nothing) comes first here and
 * below. */
static bool __attribute__((noinline))
read_small(struct sf_stream *s, uint64_t off, size_t len, const struct sf_plan *plan,
           sf_stream_read_fn cb, void *arg)
{
    char buf[SF_UNIT];
    struct iovec iov = {buf, len};
    if (sf_disk_read(s->content->disk, off, len, buf, true) != (ssize_t)len)
        return false;
    sf_count(SF_C_CACHE_HITS_DISK, 1);
    if (plan)
        fetch_ahead(s, plan);
    cb(arg, 0, NULL, &iov, 1, len);
    return true;
}

static bool
read_large(struct sf_stream *s, uint64_t off, size_t len, const struct sf_plan *plan,
           sf_stream_read_fn cb, void *arg)
{
    struct sf_cache *cache = s->content->cache;
    if (sf_disk_has(s->content->disk, off, len, true) != (ssize_t)len)
        return false;
    sf_mutex_lock(&cache->lock);
    char *mem = cache->short_first ? NULL : memory_locked(cache, len, true);
    cache->lent += mem != NULL;
    sf_mutex_unlock(&cache->lock);
    if (!mem)
        return false;
    struct iovec iov = {mem, len};
    bool all = sf_disk_read(s->content->disk, off, len, mem, true) == (ssize_t)len;
    if (all) {
        sf_count(SF_C_CACHE_HITS_DISK, 1);
        if (plan)
            fetch_ahead(s, plan);
        cb(arg, 0, NULL, &iov, 1, len);
    }
    sf_mutex_lock(&cache->lock);
    sf_bufpool_put(&cache->pool, mem, len);
    cache->lent--;
    sf_mutex_unlock(&cache->lock);
    if (atomic_load(&cache->hungry))
        read_feed(cache);
    return all;
}

static bool
read_disk(struct sf_stream *s, uint64_t off, size_t len, const struct sf_plan *plan,
          sf_stream_read_fn cb, void *arg)
{
    if (!s->content->disk)
        return false;
    return len <= SF_UNIT ? read_small(s, off, len, plan, cb, arg)
                          : read_large(s, off, len, plan, cb, arg);
}

/* ---- what has to wait --------------------------------------------------------------------------
 */

/* What the read itself needs is on the disk, so nothing has to come along from the service, unless
 * it reads on: of the plan that stays which is on the disk, too. */
static void
keep_to_disk_locked(struct read *r)
{
    struct sf_plan *p = &r->plan;
    const struct view *v = &r->view;
    uint64_t off = r->off / SF_UNIT * SF_UNIT, end = r->off + r->len;
    if (p->ahead_off < p->ahead_end || !view_has(v, off) || view_run(v, off, end) < end)
        return;
    p->end = view_run(v, off, p->end);
    while (off > p->off && view_has(v, off - SF_UNIT))
        off -= SF_UNIT;
    p->off = off;
    p->miss = false;
}

/* Its view is made. */
static void
read_go(struct read *r)
{
    struct sf_stream *s = r->stream;
    struct sf_cache *cache = s->content->cache;
    struct later l;
    later_init(&l);
    sf_mutex_lock(&cache->lock);
    if (r->state == READ_LOOKS) { /* else it was cancelled meanwhile */
        keep_to_disk_locked(r);
        read_try_locked(r, &l);
    }
    sf_mutex_unlock(&cache->lock);
    later_run(cache, &l);
    if (!r->prefetch)
        fetch_ahead(s, &r->plan);
}

static void
look(void *arg)
{
    struct read *r = arg;
    struct sf_cached *c = r->stream->content;
    (void)view_make(&r->view, c, r->plan.off, r->plan.end, false);
    read_go(r);
    read_unref(c->cache, r);
}

/* @takes one reference of @r. */
static void
read_begin(struct read *r)
{
    struct sf_cached *c = r->stream->content;
    if (view_make(&r->view, c, r->plan.off, r->plan.end, true) == -EAGAIN &&
        sf_pool_submit(c->cache->io, look, r) == 0)
        return;
    read_go(r);
    read_unref(c->cache, r);
}

uint64_t
sf_stream_read(struct sf_stream *s, uint64_t off, size_t len, sf_stream_read_fn cb, void *arg)
{
    struct sf_cached *c = s->content;
    struct sf_cache *cache = c->cache;
    struct piece hits[PIECES_MAX];
    struct sf_plan plan;
    unsigned n = 0;
    bool ready;
    len = clip(c, off, len);
    if (!len) {
        cb(arg, 0, NULL, NULL, 0, 0);
        return 0;
    }
    sf_mutex_lock(&cache->lock);
    plan_locked(s, off, len, &plan);
    bool covered = covered_locked(c, off, off + len, &ready);
    if (covered && ready)
        n = pieces_pin_locked(s, off, len, hits, NULL);
    bool ahead = s->resting || plan.ahead_off < plan.ahead_end;
    sf_mutex_unlock(&cache->lock);
    if (n) {
        sf_count(SF_C_CACHE_HITS_MEMORY, 1);
        if (ahead)
            fetch_ahead(s, &plan); /* first: the link is idle meanwhile, the reader is not */
        pieces_give(hits, n, len, cb, arg);
        pieces_unpin(cache, hits, n);
        return 0;
    }
    if (!covered && read_disk(s, off, len, ahead ? &plan : NULL, cb, arg))
        return 0;

    sf_mutex_lock(&cache->lock);
    struct read *r = read_new_locked(s, off, len);
    if (r) {
        r->cb = cb;
        r->arg = arg;
        r->plan = plan;
        r->began_ns = cache_now(cache);
        r->refs = 2;
    }
    sf_mutex_unlock(&cache->lock);
    if (!r) {
        cb(arg, -ENOMEM, NULL, NULL, 0, 0);
        return 0;
    }
    uint64_t id = r->id;
    sf_count(SF_C_CACHE_MISSES, 1);
    read_begin(r);
    return id;
}

int
sf_stream_prefetch(struct sf_stream *s, uint64_t off, size_t len, sf_fetched_fn done, void *arg)
{
    struct sf_cached *c = s->content;
    struct sf_cache *cache = c->cache;
    len = clip(c, off, len);
    if (!len) {
        if (done)
            done(arg, NULL, 0);
        return 0;
    }
    sf_mutex_lock(&cache->lock);
    struct read *r = ahead_allowed_locked(cache, len) ? read_new_locked(s, off, len) : NULL;
    if (r) {
        r->prefetch = true;
        r->done = done;
        r->arg = arg;
        r->refs = 2;
        r->plan.off = off / SF_UNIT * SF_UNIT;
        r->plan.end = (off + len + SF_UNIT - 1) / SF_UNIT * SF_UNIT;
        if (r->plan.end > c->size)
            r->plan.end = c->size;
    }
    sf_mutex_unlock(&cache->lock);
    if (!r)
        return -EAGAIN;
    read_begin(r);
    return 0;
}

void
sf_cache_cancel(struct sf_cache *cache, uint64_t id)
{
    struct later l;
    struct read *r;
    later_init(&l);
    sf_mutex_lock(&cache->lock);
    HASH_FIND(hh, cache->reads, &id, sizeof id, r);
    if (r) {
        read_cancel_locked(r, &l);
        read_feed_locked(cache, &l);
    }
    sf_mutex_unlock(&cache->lock);
    later_run(cache, &l);
}
