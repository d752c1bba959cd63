/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"
#include "cache/internal.h"
#include "observe/counter.h"

/*
 * Writing behind: what was fetched goes to the disk tier on a thread of its own. While the disk
 * takes it quickly, what is ahead of need makes way for it, and reads wait a moment for their
 * memory: they will be at the disk's pace anyway when they come again. When it does not, their
 * memory is taken from what waits to be written, which is not kept then.
 */
#define SLOW_MS 50   /* for one buffer */
#define STOP_MS 2000 /* for what is left at the end */

static void
unlink_locked(struct sf_cache *cache, struct buf *b)
{
    *(b->behind_prev ? &b->behind_prev->behind_next : &cache->behind_first) = b->behind_next;
    *(b->behind_next ? &b->behind_next->behind_prev : &cache->behind_last) = b->behind_prev;
    b->behind_prev = b->behind_next = NULL;
    b->unwritten = false;
    cache->unwritten -= sf_bufpool_size(b->len);
}

void
behind_drop_locked(struct buf *b)
{
    if (!b->unwritten)
        return;
    unlink_locked(b->content->cache, b);
    sf_count(SF_C_CACHE_UNWRITTEN_BYTES, b->len);
}

static void
write_all(void *arg)
{
    struct sf_cache *cache = arg;
    struct buf *b;
    sf_mutex_lock(&cache->lock);
    while ((b = cache->behind_first)) {
        if (cache->stopped && sf_clock_ms() - cache->stopped_ms > STOP_MS) {
            behind_drop_locked(b);
            continue;
        }
        unlink_locked(cache, b);
        b->pins++;
        cache->write_began_ms = sf_clock_ms();
        sf_mutex_unlock(&cache->lock);
        sf_disk_write(b->content->disk, b->off, b->len, b->mem);
        sf_mutex_lock(&cache->lock);
        buf_not_ahead_locked(b); /* it is found on the disk, whatever becomes of the buffer */
        b->pins--;
        if (!cache->short_first)
            continue;
        sf_mutex_unlock(&cache->lock);
        read_feed(cache);
        sf_mutex_lock(&cache->lock);
    }
    cache->writing = false;
    sf_mutex_unlock(&cache->lock);
}

void
behind_add_locked(struct buf *b)
{
    struct sf_cache *cache = b->content->cache;
    b->unwritten = true;
    b->behind_prev = cache->behind_last;
    *(b->behind_prev ? &b->behind_prev->behind_next : &cache->behind_first) = b;
    cache->behind_last = b;
    cache->unwritten += sf_bufpool_size(b->len);
    if (!cache->writing)
        cache->writing = sf_pool_submit(cache->writer, write_all, cache) == 0;
}

bool
behind_full_locked(const struct sf_cache *cache)
{
    return cache->unwritten > cache->pool.max / 2 && !behind_slow_locked(cache);
}

bool
behind_slow_locked(const struct sf_cache *cache)
{
    return !cache->writing || sf_clock_ms() - cache->write_began_ms >= SLOW_MS;
}

/* Nothing else would tell reads that wait for memory that the disk has become slow. */
static void
watch(void *arg)
{
    struct sf_cache *cache = arg;
    sf_mutex_lock(&cache->lock);
    while (cache->short_first && cache->writing && !cache->stopped) {
        (void)sf_cond_timedwait_ms(&cache->quiet, &cache->lock, sf_clock_ms() + SLOW_MS / 2);
        sf_mutex_unlock(&cache->lock);
        read_feed(cache);
        sf_mutex_lock(&cache->lock);
    }
    cache->watching = false;
    sf_mutex_unlock(&cache->lock);
}

void
behind_watch_locked(struct sf_cache *cache)
{
    if (cache->writing && !cache->watching && !cache->stopped)
        cache->watching = sf_pool_submit(cache->io, watch, cache) == 0;
}
