/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/internal.h"

#include "observe/counter.h"

#include <errno.h>
#include <stdlib.h>

/* Fetches: each fills one buffer. */

static void fetch_done(void *arg, const struct sf_err *err, size_t len);

/* What is fetched ahead of need may take three quarters of the memory. */
uint64_t
ahead_max(const struct sf_cache *cache)
{
    return cache->pool.max / 4 * 3;
}

bool
ahead_allowed_locked(const struct sf_cache *cache, size_t len)
{
    return !cache->stopped && !cache->short_first &&
           cache->ahead_fetches < cache->opts.max_fetches &&
           cache->ahead + sf_bufpool_size(len) <= ahead_max(cache);
}

struct fetch *
fetch_new_locked(struct sf_stream *s, uint64_t off, uint64_t end, bool demand, int priority)
{
    struct sf_cache *cache = s->content->cache;
    struct fetch *f = calloc(1, sizeof *f);
    struct buf *b = f ? buf_new_locked(s->content, off, end - off, demand) : NULL;
    if (!b) {
        free(f);
        return NULL;
    }
    b->fetch = f;
    b->fresh = UINT32_MAX;
    if (!demand) {
        b->ahead = true;
        cache->ahead += sf_bufpool_size(b->len);
        cache->ahead_fetches++;
    }
    f->cache = cache;
    f->buf = b;
    f->stream = s;
    f->demand = demand;
    f->priority = priority;
    f->refs = 2;
    s->refs++;
    cache->fetches++;
    sf_link_begin(&cache->link, &f->link, b->len, cache_now(cache));
    return f;
}

static void
fetch_over_locked(struct fetch *f, size_t got)
{
    f->ended = true;
    f->cache->ahead_fetches -= !f->demand;
    f->cache->fetches--;
    sf_link_end(&f->cache->link, &f->link, got, cache_now(f->cache));
}

void
fetch_undo_locked(struct fetch *f)
{
    fetch_over_locked(f, 0);
    f->buf->fetch = NULL;
    buf_free_locked(f->buf);
    f->stream->refs--; /* whoever made it has another one */
    free(f);
}

void
fetch_queue(struct later *l, struct fetch *f)
{
    f->next = NULL;
    *l->begin_end = f;
    l->begin_end = &f->next;
}

static void
fetch_unref_locked(struct fetch *f, struct sf_stream **drop)
{
    if (--f->refs)
        return;
    if (--f->stream->refs == 0)
        *drop = f->stream;
    free(f);
}

void
fetch_begin(struct fetch *f)
{
    struct sf_cache *cache = f->cache;
    struct sf_stream *drop = NULL;
    struct buf *b = f->buf; /* stays until the completion has run */
    sf_mutex_lock(&cache->lock);
    bool go = !cache->stopped && !f->cancelled;
    cache->beginning++;
    sf_mutex_unlock(&cache->lock);

    uint64_t id = 0;
    if (go) {
        sf_count(SF_C_CACHE_FETCHES, 1);
        id = cache->opts.fetch(cache->opts.arg, f->stream->what, b->off, b->len, b->mem,
                               f->priority, fetch_done, f);
    } else {
        struct sf_err err = {.code = -ECANCELED};
        fetch_done(f, &err, 0);
    }
    sf_mutex_lock(&cache->lock);
    f->id = id;
    bool cancel = id && f->cancelled && !f->ended;
    fetch_unref_locked(f, &drop);
    if (--cache->beginning == 0)
        sf_cond_broadcast(&cache->quiet);
    sf_mutex_unlock(&cache->lock);
    if (cancel)
        cache->opts.cancel(cache->opts.arg, id);
    if (drop)
        stream_over(drop);
}

static void
fetch_done(void *arg, const struct sf_err *err, size_t len)
{
    struct fetch *f = arg;
    struct sf_cache *cache = f->cache;
    struct sf_stream *drop = NULL;
    struct later l;
    later_init(&l);
    sf_mutex_lock(&cache->lock);
    struct buf *b = f->buf;
    struct sf_err other = {.code = -EIO, .retryable = true, .msg = "another number of bytes came"};
    if (!err && len != b->len)
        err = &other;
    fetch_over_locked(f, err ? 0 : len);
    struct piece *waits = sf_steal(b->waits);
    if (!err) {
        sf_count(SF_C_CACHE_FETCHED_BYTES, len);
        sf_count(SF_C_CACHE_AHEAD_BYTES, f->demand ? 0 : len);
        buf_ready_locked(b);
        read_fetched_locked(waits, &l);
    } else {
        for (struct piece *p = waits; p; p = p->next) {
            p->buf = NULL;
            b->pins--;
        }
        b->fetch = NULL;
        buf_free_locked(b);
        read_failed_locked(waits, f, err, &l);
    }
    read_feed_locked(cache, &l);
    fetch_unref_locked(f, &drop);
    if (cache->fetches == 0)
        sf_cond_broadcast(&cache->quiet);
    sf_mutex_unlock(&cache->lock);
    later_run(cache, &l);
    if (drop)
        stream_over(drop);
}

void
fetch_give_up_locked(struct fetch *f, struct later *l)
{
    if (f->cancelled || f->ended)
        return;
    f->cancelled = true;
    f->refs++;
    f->next_cancel = l->cancel;
    l->cancel = f;
}

void
fetch_cancel(struct fetch *f)
{
    struct sf_cache *cache = f->cache;
    struct sf_stream *drop = NULL;
    sf_mutex_lock(&cache->lock);
    uint64_t id = f->ended ? 0 : f->id;
    fetch_unref_locked(f, &drop);
    sf_mutex_unlock(&cache->lock);
    if (id) /* else it is not begun yet, and who begins it sees that it is cancelled */
        cache->opts.cancel(cache->opts.arg, id);
    if (drop)
        stream_over(drop);
}

void
fetch_ahead_locked(struct sf_stream *s, const struct sf_plan *plan, struct later *l)
{
    struct sf_cached *c = s->content;
    uint64_t pos = plan->ahead_off;
    while (pos < plan->ahead_end) {
        size_t i = buf_find_locked(c, pos);
        struct buf *b = i < c->bufs.len ? c->bufs.data[i] : NULL;
        if (b && b->off <= pos) {
            if (b->fetch && b->fetch->stream != s)
                b->fetch->shared = true;
            pos = b->off + b->len;
            continue;
        }
        uint64_t end = piece_end(pos, plan->ahead_end, b);
        struct fetch *f = NULL;
        if (ahead_allowed_locked(c->cache, end - pos))
            f = fetch_new_locked(s, pos, end, false, 0);
        if (!f)
            break;
        fetch_queue(l, f);
        pos = end;
    }
    plan->run->ahead = pos;
}
