/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/internal.h"

#include "observe/counter.h"

#include <stdlib.h>

#define AHEAD_NS INT64_C(2000000000) /* who has not come for it by then may not come at all */

/* Buffers of contents: found by offset, given up when others need the memory. */

size_t
buf_find_locked(const struct sf_cached *c, uint64_t off)
{
    size_t lo = 0, hi = c->bufs.len;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct buf *b = c->bufs.data[mid];
        if (b->off + b->len <= off)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Whether all of [off, end) is in buffers; *ready: and there is nothing to wait for. */
bool
covered_locked(const struct sf_cached *c, uint64_t off, uint64_t end, bool *ready)
{
    *ready = true;
    for (size_t i = buf_find_locked(c, off); off < end; i++) {
        const struct buf *b = i < c->bufs.len ? c->bufs.data[i] : NULL;
        if (!b || b->off > off)
            return *ready = false;
        *ready = *ready && b->state == BUF_READY;
        off = b->off + b->len;
    }
    return true;
}

/* Up to the end of a piece, or to where a buffer is. */
uint64_t
piece_end(uint64_t pos, uint64_t end, const struct buf *next)
{
    uint64_t stop = (pos / SF_PIECE + 1) * SF_PIECE;
    if (next && next->off < stop)
        stop = next->off;
    return stop < end ? stop : end;
}

static void
old_unlink(struct sf_cache *cache, struct buf *b)
{
    *(b->prev ? &b->prev->next : &cache->oldest) = b->next;
    *(b->next ? &b->next->prev : &cache->newest) = b->prev;
    b->prev = b->next = NULL;
}

static void
old_append(struct sf_cache *cache, struct buf *b)
{
    b->prev = cache->newest;
    *(b->prev ? &b->prev->next : &cache->oldest) = b;
    cache->newest = b;
}

void
buf_ready_locked(struct buf *b)
{
    b->state = BUF_READY;
    if (b->missed)
        buf_not_ahead_locked(b);
    b->came_ns = cache_now(b->content->cache);
    b->fetch = NULL;
    old_append(b->content->cache, b);
}

void
buf_not_ahead_locked(struct buf *b)
{
    if (b->ahead)
        b->content->cache->ahead -= sf_bufpool_size(b->len);
    b->ahead = false;
}

void
buf_free_locked(struct buf *b)
{
    struct sf_cached *c = b->content;
    size_t i = buf_find_locked(c, b->off);
    assert(c->bufs.data[i] == b && !b->pins && !b->waits);
    bufs_remove(&c->bufs, i);
    if (b->state == BUF_READY)
        old_unlink(c->cache, b);
    buf_not_ahead_locked(b);
    behind_drop_locked(b);
    sf_bufpool_put(&c->cache->pool, b->mem, b->len);
    free(b);
    cached_drop_if_unused_locked(c);
}

/* Give up one buffer: of the oldest, one that was not read again. */
static bool
evict_one_locked(struct sf_cache *cache, bool ahead, bool unwritten)
{
    struct buf *last = cache->newest, *next;
    for (struct buf *b = cache->oldest; b; b = next) {
        next = b == last ? NULL : b->next;
        if (b->pins || (b->ahead && !ahead) || (b->unwritten && !unwritten))
            continue;
        if (!b->again) {
            buf_free_locked(b);
            return true;
        }
        b->again = false;
        if (b->content->disk) /* which has seen nothing of that */
            sf_disk_touch(b->content->disk, b->off, b->len);
        old_unlink(cache, b);
        old_append(cache, b);
    }
    return false;
}

/* The second walk meets what the first one has spared. */
static bool
make_room_locked(struct sf_cache *cache, bool force)
{
    return evict_one_locked(cache, false, false) || evict_one_locked(cache, false, false) ||
           (behind_slow_locked(cache) && evict_one_locked(cache, false, true)) ||
           (force && evict_one_locked(cache, true, false)) ||
           (force && behind_slow_locked(cache) && evict_one_locked(cache, true, true));
}

char *
memory_locked(struct sf_cache *cache, size_t len, bool force)
{
    char *mem;
    while (!(mem = sf_bufpool_get(&cache->pool, len)))
        if (!make_room_locked(cache, force))
            return NULL;
    return mem;
}

struct buf *
buf_new_locked(struct sf_cached *c, uint64_t off, uint64_t len, bool force)
{
    struct buf *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->content = c;
    b->off = off;
    b->len = (uint32_t)len;
    c->refs++; /* it may have no other buffer than those that go now */
    b->mem = memory_locked(c->cache, len, force);
    c->refs--;
    if (!b->mem || bufs_insert(&c->bufs, buf_find_locked(c, off), b) < 0) {
        if (b->mem)
            sf_bufpool_put(&c->cache->pool, b->mem, len);
        free(b);
        return NULL;
    }
    return b;
}

/* The units that [from, from+len) touches, as bits. */
uint32_t
units_of(uint32_t from, uint32_t len)
{
    uint32_t first = from / SF_UNIT, last = (from + len - 1) / SF_UNIT;
    return (uint32_t)((UINT64_C(2) << last) - (UINT64_C(1) << first));
}

void
buf_asked_locked(struct buf *b, uint64_t off, uint64_t end)
{
    uint64_t from = off > b->off ? off : b->off;
    uint64_t to = end < b->off + b->len ? end : b->off + b->len;
    if (from < to)
        b->fresh &= ~units_of((uint32_t)(from - b->off), (uint32_t)(to - from));
}

void
buf_read_locked(struct sf_stream *s, struct buf *b, uint32_t from, uint32_t len)
{
    if (from < b->high)
        b->again = true;
    if (from + len > b->high)
        b->high = from + len;
    uint32_t used = b->fresh ? b->fresh & units_of(from, len) : 0;
    if (!used)
        return;
    b->fresh &= ~used;
    if (!b->fresh || b->high == b->len)
        buf_not_ahead_locked(b);
    uint64_t bytes = (uint64_t)__builtin_popcount(used) * SF_UNIT;
    sf_count(SF_C_CACHE_AHEAD_USED_BYTES, bytes);
    if (b->missed)
        sf_pattern_used(&s->pattern, bytes);
}

void
buf_unpin(struct sf_cache *cache, struct buf *b)
{
    if (atomic_fetch_sub(&b->pins, 1) == 1 && atomic_load(&cache->hungry))
        read_feed(cache);
}

void
buf_age_locked(struct sf_cache *cache)
{
    int64_t now = cache_now(cache);
    for (struct buf *b = cache->oldest; b && now - b->came_ns > AHEAD_NS; b = b->next)
        buf_not_ahead_locked(b);
}
