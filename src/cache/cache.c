/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/cache.h"

#include "base/cgroup.h"
#include "base/clock.h"
#include "cache/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_MIN  (4u << 20)
#define MEMORY_MAX  (32u << 20)
#define MISS_MAX    (4u << 20)
#define FETCHES_MAX 16
#define IO_THREADS  4
#define IO_QUEUE    256 /* more wait longer than the service takes */

int64_t
cache_now(struct sf_cache *cache)
{
    return cache->opts.now_ns ? cache->opts.now_ns(cache->opts.arg) : sf_clock_ns();
}

uint64_t
sf_cache_memory_default(void)
{
    uint64_t quarter = sf_cgroup_memory_limit() / 4;
    if (quarter > MEMORY_MAX)
        return MEMORY_MAX;
    return quarter > MEMORY_MIN ? quarter : MEMORY_MIN;
}

void
later_init(struct later *l)
{
    *l = (struct later){0};
    l->begin_end = &l->begin;
    l->over_end = &l->over;
}

void
later_run(struct sf_cache *cache, struct later *l)
{
    while (l->begin) {
        struct fetch *f = l->begin;
        l->begin = f->next;
        fetch_begin(f);
    }
    while (l->cancel) {
        struct fetch *f = l->cancel;
        l->cancel = f->next_cancel;
        fetch_cancel(f);
    }
    while (l->over) {
        struct read *r = l->over;
        l->over = r->later;
        read_answer(cache, r);
    }
}

/* Without its disk tier the cache works all the same. */
static int
disk_begin(struct sf_cache *cache)
{
    if (!cache->opts.dir)
        return 0;
    struct sf_err err = SF_ERR_INIT;
    struct sf_disk_opts d = {
        .dir = cache->opts.dir,
        .max_bytes = cache->opts.max_bytes,
        .min_free = cache->opts.min_free,
        .max_age_ms = cache->opts.max_age_ms,
    };
    if (sf_disk_open(&d, &cache->disk, &err) < 0) {
        memcpy(cache->trouble, err.msg, sizeof cache->trouble - 1);
        return 0;
    }
    int rc = sf_pool_new("cache-read", IO_THREADS, IO_QUEUE, &cache->io);
    return rc < 0 ? rc : sf_pool_new("cache-write", 1, 1, &cache->writer);
}

static void
cache_release(struct sf_cache *cache)
{
    sf_disk_close(cache->disk);
    sf_bufpool_fini(&cache->pool);
    sf_cond_fini(&cache->quiet);
    sf_mutex_fini(&cache->lock);
    free(cache);
}

int
sf_cache_new(const struct sf_cache_opts *opts, struct sf_cache **ret, struct sf_err *err)
{
    struct sf_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return sf_err_set(err, -ENOMEM, "cache: %m");
    cache->opts = *opts;
    if (!cache->opts.miss_max)
        cache->opts.miss_max = MISS_MAX;
    if (!cache->opts.max_fetches)
        cache->opts.max_fetches = FETCHES_MAX;
    uint64_t memory = opts->memory ? opts->memory : sf_cache_memory_default();
    sf_bufpool_init(&cache->pool, memory < MEMORY_MIN ? MEMORY_MIN : memory);
    sf_mutex_init(&cache->lock, 30);
    sf_cond_init(&cache->quiet);
    int rc = disk_begin(cache);
    if (rc < 0) {
        cache_release(cache);
        return sf_err_set(err, rc, "cache: no memory");
    }
    *ret = cache;
    return 0;
}

void
sf_cache_stop(struct sf_cache *cache)
{
    struct later l;
    later_init(&l);
    sf_mutex_lock(&cache->lock);
    if (!cache->stopped)
        cache->stopped_ms = sf_clock_ms();
    cache->stopped = true;
    struct read *r, *next;
    HASH_ITER (hh, cache->reads, r, next)
        read_cancel_locked(r, &l);
    for (struct sf_cached *c = cache->contents; c; c = c->next)
        SF_VEC_FOREACH (&c->bufs, b)
            if ((*b)->fetch)
                fetch_give_up_locked((*b)->fetch, &l);
    sf_mutex_unlock(&cache->lock);
    later_run(cache, &l);
    sf_mutex_lock(&cache->lock);
    while (cache->beginning)
        sf_cond_wait(&cache->quiet, &cache->lock);
    sf_mutex_unlock(&cache->lock);
}

void
sf_cache_free(struct sf_cache *cache)
{
    if (!cache)
        return;
    sf_cache_stop(cache);
    sf_pool_free(sf_steal(cache->io));
    sf_mutex_lock(&cache->lock);
    while (cache->fetches || cache->n_streams)
        sf_cond_wait(&cache->quiet, &cache->lock);
    sf_mutex_unlock(&cache->lock);
    sf_pool_free(cache->writer);
    sf_mutex_lock(&cache->lock);
    while (cache->oldest)
        buf_free_locked(cache->oldest);
    assert(!cache->contents); /* all were given back */
    sf_mutex_unlock(&cache->lock);
    cache_release(cache);
}

struct sf_disk *
sf_cache_disk(struct sf_cache *cache)
{
    return cache->disk;
}

struct sf_disk_content *
sf_cached_disk(struct sf_cached *c)
{
    return c->disk;
}

struct sf_env *
sf_cache_env(struct sf_cache *cache)
{
    return cache->disk ? sf_disk_env(cache->disk) : NULL;
}

void
sf_cache_get_stats(struct sf_cache *cache, struct sf_cache_stats *out)
{
    SF_GUARD(&cache->lock);
    *out = (struct sf_cache_stats){
        .memory = cache->pool.used,
        .memory_max = cache->pool.max,
        .memory_peak = cache->pool.peak,
        .ahead = cache->ahead,
        .unwritten = cache->unwritten,
        .writing = cache->writing,
        .contents = cache->n_contents,
        .streams = cache->n_streams,
        .fetches = cache->fetches,
        .waiting = HASH_COUNT(cache->reads),
        .waiting_memory = cache->n_short,
        .round_trip_ns = sf_link_rtt(&cache->link),
        .bytes_per_s = sf_link_bytes_per_s(&cache->link),
    };
    memcpy(out->trouble, cache->trouble, sizeof out->trouble);
}
