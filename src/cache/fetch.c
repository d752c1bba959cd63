/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>

#include "cache/internal.h"
#include "observe/counter.h"

/* Fetches: each fills one buffer. */

static void fetch_done(void *arg, const struct sf_err *err, size_t len);

static bool
is_ahead(const struct fetch *f)
{
    return f->kind == FETCH_SOON || f->kind == FETCH_MAYBE;
}

/* What is fetched ahead of need may take three quarters of the memory. */
uint64_t
ahead_max(const struct sf_cache *cache)
{
    return cache->pool.max / 4 * 3;
}

bool
ahead_allowed_locked(struct sf_cache *cache, size_t len)
{
    if (cache->stopped || cache->short_first || behind_full_locked(cache) ||
        cache->ahead_fetches >= cache->opts.max_fetches)
        return false;
    size_t size = sf_bufpool_size(len);
    if (cache->ahead + size > ahead_max(cache))
        buf_age_locked(cache);
    return cache->ahead + size <= ahead_max(cache);
}

/* ---- begin ------------------------------------------------------------------------------------
 */

struct fetch *
fetch_new_locked(struct sf_stream *s, uint64_t off, uint64_t end, enum fetch_kind kind)
{
    struct sf_cache *cache = s->content->cache;
    struct fetch *f = calloc(1, sizeof *f);
    bool force = kind == FETCH_DEMAND || kind == FETCH_DISK;
    struct buf *b = f ? buf_new_locked(s->content, off, end - off, force) : NULL;
    if (!b) {
        free(f);
        return NULL;
    }
    b->fetch = f;
    f->cache = cache;
    f->buf = b;
    f->stream = s;
    f->kind = kind;
    f->refs = 2;
    if (is_ahead(f)) {
        b->ahead = true;
        cache->ahead += sf_bufpool_size(b->len);
        cache->ahead_fetches++;
    }
    s->refs++;
    cache->fetches++;
    if (kind != FETCH_DISK) {
        b->fresh = units_of(0, b->len);
        sf_link_begin(&cache->link, &f->link, b->len, cache_now(cache));
    }
    return f;
}

static void
fetch_over_locked(struct fetch *f, size_t got)
{
    f->ended = true;
    f->cache->fetches--;
    f->cache->ahead_fetches -= is_ahead(f);
    if (f->kind != FETCH_DISK)
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

static void
from_disk(void *arg)
{
    struct fetch *f = arg;
    struct buf *b = f->buf;
    struct sf_err err = {.code = -ENODATA};
    ssize_t n = sf_disk_read(b->content->disk, b->off, b->len, b->mem, false);
    bool all = n == (ssize_t)b->len;
    fetch_done(f, all ? NULL : &err, all ? b->len : 0);
}

static uint64_t
begin(struct fetch *f)
{
    static const int priority[] = {[FETCH_DEMAND] = 1, [FETCH_SOON] = 0, [FETCH_MAYBE] = -1};
    const struct sf_cache_opts *o = &f->cache->opts;
    struct buf *b = f->buf;
    if (f->kind != FETCH_DISK) {
        sf_count(SF_C_CACHE_FETCHES, 1);
        return o->fetch(o->arg, f->stream->what, b->off, b->len, b->mem, priority[f->kind],
                        fetch_done, f);
    }
    struct sf_err err = {.code = -ENODATA}; /* so many reads of a slow disk: ask the service */
    if (sf_pool_submit(f->cache->io, from_disk, f) < 0)
        fetch_done(f, &err, 0);
    return 0;
}

void
fetch_begin(struct fetch *f)
{
    struct sf_cache *cache = f->cache;
    struct sf_stream *drop = NULL;
    uint64_t id = 0;
    sf_mutex_lock(&cache->lock);
    bool go = !cache->stopped && !f->cancelled;
    cache->beginning++;
    sf_mutex_unlock(&cache->lock);

    if (go) {
        id = begin(f);
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

/* ---- end --------------------------------------------------------------------------------------
 */

static void
bytes_came_locked(struct fetch *f, struct later *l)
{
    struct buf *b = f->buf;
    struct piece *waits = sf_steal(b->waits);
    buf_ready_locked(b);
    if (f->kind != FETCH_DISK) {
        sf_count(SF_C_CACHE_FETCHED_BYTES, b->len);
        if (is_ahead(f))
            sf_count(SF_C_CACHE_AHEAD_BYTES, b->len);
        if (b->content->disk)
            behind_add_locked(b);
    }
    read_fetched_locked(waits, l);
}

static void
nothing_came_locked(struct fetch *f, const struct sf_err *err, struct later *l)
{
    struct buf *b = f->buf;
    struct piece *waits = sf_steal(b->waits);
    for (struct piece *p = waits; p; p = p->next) {
        p->buf = NULL;
        b->pins--;
    }
    b->fetch = NULL;
    buf_free_locked(b);
    read_failed_locked(waits, f, err, l);
}

static void
fetch_done(void *arg, const struct sf_err *err, size_t len)
{
    struct fetch *f = arg;
    struct sf_cache *cache = f->cache;
    struct sf_stream *s = f->stream, *drop = NULL;
    struct sf_err other = {.code = -EIO, .retryable = true, .msg = "another number of bytes came"};
    struct later l;
    later_init(&l);
    sf_mutex_lock(&cache->lock);
    if (!err && len != f->buf->len)
        err = &other;
    fetch_over_locked(f, err ? 0 : len);
    if (err)
        nothing_came_locked(f, err, &l);
    else
        bytes_came_locked(f, &l);
    read_feed_locked(cache, &l);
    bool more = !err && s->resting;
    s->refs += more;
    fetch_unref_locked(f, &drop);
    if (cache->fetches == 0)
        sf_cond_broadcast(&cache->quiet);
    sf_mutex_unlock(&cache->lock);
    later_run(cache, &l);
    if (drop)
        stream_over(drop);
    if (more) {
        fetch_ahead(s, NULL);
        stream_unref(s);
    }
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

/* ---- ahead of need ----------------------------------------------------------------------------
 */

/* Begin what is in no buffer and not on the disk. Returns up to where that came. */
static uint64_t
ahead_locked(struct sf_stream *s, uint64_t pos, uint64_t end, const struct view *v,
             enum fetch_kind kind, struct later *l)
{
    struct sf_cached *c = s->content;
    while (pos < end) {
        size_t i = buf_find_locked(c, pos);
        struct buf *b = i < c->bufs.len ? c->bufs.data[i] : NULL;
        if (b && b->off <= pos) {
            if (b->fetch && b->fetch->stream != s)
                b->fetch->shared = true;
            pos = b->off + b->len;
            continue;
        }
        uint64_t stop = view_run(v, pos, piece_end(pos, end, b));
        if (!view_has(v, pos)) {
            struct fetch *f = NULL;
            if (ahead_allowed_locked(c->cache, stop - pos))
                f = fetch_new_locked(s, pos, stop, kind);
            if (!f)
                break;
            fetch_queue(l, f);
        }
        pos = stop;
    }
    return pos < end ? pos : end;
}

/* The range of one view; what the disk has to be waited for is left for the next read. Returns
 * whether all of it is on the way now. */
static bool
ahead(struct sf_stream *s, struct sf_run *run, uint64_t off, uint64_t end)
{
    struct sf_cached *c = s->content;
    struct view v;
    struct later l;
    if (view_make(&v, c, off, end, true) < 0)
        return false;
    later_init(&l);
    sf_mutex_lock(&c->cache->lock);
    uint64_t to = off;
    if (run) {
        to = ahead_locked(s, off, v.end, &v, FETCH_SOON, &l);
        if (run->ahead < to)
            run->ahead = to;
    } else if (s->resting && s->rest == off) {
        s->rest = to = ahead_locked(s, off, v.end, &v, FETCH_MAYBE, &l);
        s->resting = to < c->size;
    }
    sf_mutex_unlock(&c->cache->lock);
    later_run(c->cache, &l);
    return to == v.end;
}

void
fetch_ahead(struct sf_stream *s, const struct sf_plan *plan)
{
    struct sf_cached *c = s->content;
    if (plan && plan->ahead_off < plan->ahead_end)
        (void)ahead(s, plan->run, plan->ahead_off, plan->ahead_end);
    bool on;
    do {
        sf_mutex_lock(&c->cache->lock);
        on = s->resting;
        uint64_t off = s->rest;
        sf_mutex_unlock(&c->cache->lock);
        on = on && ahead(s, NULL, off, c->size);
    } while (on);
}
