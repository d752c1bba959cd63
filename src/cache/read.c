/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/internal.h"

#include "observe/counter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Reads. One that finds all in memory is answered at once. Others become a struct read: it has
 * pieces of the buffers that cover it, some of which are being fetched, or it waits for memory.
 */

/* ---- pieces ---------------------------------------------------------------------------------- */

static unsigned
pieces_pin_locked(struct sf_stream *s, uint64_t off, size_t len, struct piece *p, struct read *r)
{
    struct sf_cached *c = s->content;
    uint64_t pos = off, end = off + len;
    unsigned n = 0;
    for (size_t i = buf_find_locked(c, pos); pos < end; i++, n++) {
        struct buf *b = c->bufs.data[i];
        uint64_t stop = b->off + b->len < end ? b->off + b->len : end;
        p[n] = (struct piece){
            .buf = b,
            .read = r,
            .from = (uint32_t)(pos - b->off),
            .len = (uint32_t)(stop - pos),
        };
        b->pins++;
        if (!r || !r->prefetch)
            buf_read_locked(s, b, p[n].from, p[n].len);
        pos = stop;
    }
    return n;
}

static void
pieces_give(const struct piece *p, unsigned n, size_t len, sf_stream_read_fn cb, void *arg)
{
    struct iovec iov[PIECES_MAX];
    for (unsigned i = 0; i < n; i++) {
        iov[i].iov_base = p[i].buf->mem + p[i].from;
        iov[i].iov_len = p[i].len;
    }
    cb(arg, 0, NULL, iov, (int)n, len);
}

static void
pieces_unpin(struct sf_cache *cache, const struct piece *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buf_unpin(cache, p[i].buf);
}

/* ---- reads that wait --------------------------------------------------------------------------
 */

static void
short_unlink_locked(struct read *r)
{
    struct sf_cache *cache = r->stream->content->cache;
    *(r->prev ? &r->prev->next : &cache->short_first) = r->next;
    *(r->next ? &r->next->prev : &cache->short_last) = r->prev;
    r->prev = r->next = NULL;
    cache->n_short--;
    r->state = READ_WAITS;
    atomic_store(&cache->hungry, cache->short_first != NULL);
}

static void
short_append_locked(struct read *r)
{
    struct sf_cache *cache = r->stream->content->cache;
    r->prev = cache->short_last;
    *(r->prev ? &r->prev->next : &cache->short_first) = r;
    cache->short_last = r;
    cache->n_short++;
    r->state = READ_NO_MEMORY;
    atomic_store(&cache->hungry, true);
}

static void
read_over_locked(struct read *r, const struct sf_err *err, struct later *l)
{
    struct sf_cache *cache = r->stream->content->cache;
    if (r->state == READ_NO_MEMORY)
        short_unlink_locked(r);
    if (r->id)
        HASH_DEL(cache->reads, r);
    r->state = READ_OVER;
    if (err)
        r->err = *err;
    else if (r->began_ns && r->plan.miss)
        sf_pattern_waited(&r->stream->pattern, cache_now(cache) - r->began_ns);
    r->later = NULL;
    *l->over_end = r;
    l->over_end = &r->later;
}

/* Take a read off its buffers. What nobody else waits for, and was not fetched ahead, is cancelled.
 */
static void
read_detach_locked(struct read *r, struct later *l)
{
    for (unsigned i = 0; i < r->n; i++) {
        struct buf *b = r->pieces[i].buf;
        if (!b)
            continue;
        b->pins--;
        struct piece **p = &b->waits;
        while (*p && *p != &r->pieces[i])
            p = &(*p)->next;
        if (!*p)
            continue;
        *p = r->pieces[i].next;
        if (!b->waits && b->fetch->demand && !b->fetch->shared)
            fetch_give_up_locked(b->fetch, l);
    }
    r->n = 0;
    r->pending = 0;
}

static void
read_attach_locked(struct read *r, struct later *l)
{
    r->n = pieces_pin_locked(r->stream, r->off, r->len, r->pieces, r);
    r->pending = 0;
    for (unsigned i = 0; i < r->n; i++) {
        struct piece *p = &r->pieces[i];
        if (p->buf->state == BUF_READY)
            continue;
        p->next = p->buf->waits;
        p->buf->waits = p;
        r->pending++;
    }
    if (!r->pending)
        read_over_locked(r, NULL, l);
}

/* A fetch of [pos, end), or of as much of it as the read needs when there is no memory for more. */
static struct fetch *
fetch_for_locked(struct read *r, uint64_t pos, uint64_t end)
{
    uint64_t need = r->off / SF_UNIT * SF_UNIT;
    uint64_t need_end = (r->off + r->len + SF_UNIT - 1) / SF_UNIT * SF_UNIT;
    struct sf_cache *cache = r->stream->content->cache;
    if (end <= need || pos >= need_end || r->prefetch) {
        if (!ahead_allowed_locked(cache, end - pos))
            return NULL;
        return fetch_new_locked(r->stream, pos, end, false, r->prefetch ? -1 : 0);
    }
    struct fetch *f = fetch_new_locked(r->stream, pos, end, true, 1);
    uint64_t from = pos > need ? pos : need, to = end < need_end ? end : need_end;
    if (!f && (from > pos || to < end))
        f = fetch_new_locked(r->stream, from, to, true, 1);
    return f;
}

/* Begin what is missing of [off, end). All of what the read itself needs, or nothing: reads that
 * have some of their memory and wait for the rest could wait for each other. */
static int
fill_locked(struct read *r, struct later *l)
{
    struct sf_cached *c = r->stream->content;
    struct later made;
    later_init(&made);
    uint64_t pos = r->plan.off, got = 0;
    while (pos < r->plan.end) {
        size_t i = buf_find_locked(c, pos);
        struct buf *b = i < c->bufs.len ? c->bufs.data[i] : NULL;
        if (b && b->off <= pos) {
            pos = b->off + b->len;
            continue;
        }
        uint64_t end = piece_end(pos, r->plan.end, b);
        struct fetch *f = fetch_for_locked(r, pos, end);
        if (f) {
            f->buf->missed = r->plan.miss;
            got += f->buf->len;
            fetch_queue(&made, f);
        }
        pos = end;
    }
    bool ready;
    if (!covered_locked(c, r->off, r->off + r->len, &ready)) {
        for (struct fetch *f = made.begin, *next; f; f = next) {
            next = f->next;
            fetch_undo_locked(f);
        }
        return -ENOMEM;
    }
    if (r->plan.miss && got)
        sf_pattern_missed(&r->stream->pattern, r->len, got > r->len ? got - r->len : 0);
    for (struct fetch *f = made.begin, *next; f; f = next) {
        next = f->next;
        r->own = true;
        fetch_queue(l, f);
    }
    return 0;
}

/* Whether memory will come back: some is used for a while only. */
static bool
memory_comes_locked(const struct sf_cache *cache)
{
    if (cache->fetches)
        return true;
    for (const struct buf *b = cache->oldest; b; b = b->next)
        if (b->pins)
            return true;
    return false;
}

static void
read_try_locked(struct read *r, struct later *l)
{
    struct sf_cached *c = r->stream->content;
    struct sf_cache *cache = c->cache;
    struct sf_err err = SF_ERR_INIT;
    bool ready;
    if (cache->stopped) {
        err.code = -ECANCELED;
        read_over_locked(r, &err, l);
        return;
    }
    if (!covered_locked(c, r->off, r->off + r->len, &ready)) {
        bool others = cache->short_first && cache->short_first != r;
        int rc = others ? -ENOMEM : fill_locked(r, l);
        if (rc < 0 && (r->prefetch || (!others && !memory_comes_locked(cache)))) {
            err.code = r->prefetch ? -EAGAIN : rc;
            read_over_locked(r, &err, l);
            return;
        }
        if (rc < 0) {
            if (r->state != READ_NO_MEMORY)
                short_append_locked(r);
            return;
        }
    }
    if (r->state == READ_NO_MEMORY)
        short_unlink_locked(r);
    read_attach_locked(r, l);
}

void
read_feed_locked(struct sf_cache *cache, struct later *l)
{
    struct read *r;
    while ((r = cache->short_first)) {
        read_try_locked(r, l);
        if (cache->short_first == r)
            break;
    }
}

void
read_feed(struct sf_cache *cache)
{
    struct later l;
    later_init(&l);
    sf_mutex_lock(&cache->lock);
    read_feed_locked(cache, &l);
    sf_mutex_unlock(&cache->lock);
    later_run(cache, &l);
}

void
read_fetched_locked(struct piece *waits, struct later *l)
{
    for (struct piece *p = waits, *next; p; p = next) {
        next = p->next;
        if (--p->read->pending == 0)
            read_over_locked(p->read, NULL, l);
    }
}

/* A read fails with a fetch of its own stream. One that had joined it is tried again: the other
 * stream may have asked under a name that is no more, or been cancelled. But a network that failed
 * twice is not asked by each of a hundred readers in turn. */
void
read_failed_locked(struct piece *waits, const struct fetch *f, const struct sf_err *err,
                   struct later *l)
{
    for (struct piece *p = waits, *next; p; p = next) {
        next = p->next;
        struct read *r = p->read;
        read_detach_locked(r, l);
        bool own = f->stream == r->stream && f->demand && r->own;
        if (r->prefetch || (!f->cancelled && (own || (r->failed && err->retryable)))) {
            read_over_locked(r, err, l);
            continue;
        }
        r->failed = !f->cancelled;
        read_try_locked(r, l);
    }
}

void
read_answer(struct sf_cache *cache, struct read *r)
{
    if (r->err.code) {
        if (r->prefetch && r->done)
            r->done(r->arg, &r->err, 0);
        else if (!r->prefetch)
            r->cb(r->arg, r->err.code, &r->err, NULL, 0, 0);
    } else if (!r->prefetch) {
        pieces_give(r->pieces, r->n, r->len, r->cb, r->arg);
    } else if (r->done) {
        r->done(r->arg, NULL, r->len);
    }
    pieces_unpin(cache, r->pieces, r->n);
    stream_unref(r->stream);
    free(r->pieces);
    free(r);
}

/* ---- calls ------------------------------------------------------------------------------------
 */

static struct read *
read_new_locked(struct sf_stream *s, uint64_t off, size_t len)
{
    struct sf_cache *cache = s->content->cache;
    struct read *r = calloc(1, sizeof *r);
    unsigned n = (unsigned)(len / SF_UNIT + 2);
    if (!r || !(r->pieces = calloc(n, sizeof *r->pieces))) {
        free(r);
        return NULL;
    }
    r->stream = s;
    r->off = off;
    r->len = len;
    r->id = ++cache->last_id;
    HASH_ADD(hh, cache->reads, id, sizeof r->id, r);
    if (!SF_HTAB_ADDED(r)) {
        free(r->pieces);
        free(r);
        return NULL;
    }
    s->refs++;
    return r;
}

static size_t
clip(const struct sf_cached *c, uint64_t off, size_t len)
{
    if (off >= c->size)
        return 0;
    if (len > SF_CACHE_READ_MAX)
        len = SF_CACHE_READ_MAX;
    return len < c->size - off ? len : (size_t)(c->size - off);
}

static void
plan_locked(struct sf_stream *s, uint64_t off, size_t len, struct sf_plan *plan)
{
    struct sf_cache *cache = s->content->cache;
    struct sf_pattern_env env = {
        .size = s->content->size,
        .carries = sf_link_carries(&cache->link),
        .miss_max = cache->opts.miss_max,
        .window = ahead_max(cache),
    };
    sf_pattern_read(&s->pattern, &env, off, len, plan);
}

/* Not all of it is ready. Returns the id of the read; 0 = there was no memory even for that. */
static uint64_t
read_wait_locked(struct sf_stream *s, uint64_t off, size_t len, sf_stream_read_fn cb, void *arg,
                 const struct sf_plan *plan, struct later *l)
{
    struct read *r = read_new_locked(s, off, len);
    if (!r)
        return 0;
    uint64_t id = r->id;
    r->cb = cb;
    r->arg = arg;
    r->plan = *plan;
    r->began_ns = cache_now(s->content->cache);
    sf_count(SF_C_CACHE_MISSES, 1);
    read_try_locked(r, l);
    return id;
}

uint64_t
sf_stream_read(struct sf_stream *s, uint64_t off, size_t len, sf_stream_read_fn cb, void *arg)
{
    struct sf_cached *c = s->content;
    struct sf_cache *cache = c->cache;
    struct piece hits[PIECES_MAX];
    struct sf_plan plan;
    struct later l;
    uint64_t id = 0;
    unsigned n = 0;
    bool ready;
    len = clip(c, off, len);
    if (!len) {
        cb(arg, 0, NULL, NULL, 0, 0);
        return 0;
    }
    later_init(&l);
    sf_mutex_lock(&cache->lock);
    plan_locked(s, off, len, &plan);
    if (covered_locked(c, off, off + len, &ready) && ready)
        n = pieces_pin_locked(s, off, len, hits, NULL);
    else
        id = read_wait_locked(s, off, len, cb, arg, &plan, &l);
    fetch_ahead_locked(s, &plan, &l);
    sf_mutex_unlock(&cache->lock);
    if (n) {
        sf_count(SF_C_CACHE_HITS_MEMORY, 1);
        later_run(cache, &l); /* first: the link is idle meanwhile, the reader is not */
        pieces_give(hits, n, len, cb, arg);
        pieces_unpin(cache, hits, n);
        return 0;
    }
    later_run(cache, &l);
    if (!id)
        cb(arg, -ENOMEM, NULL, NULL, 0, 0);
    return id;
}

int
sf_stream_prefetch(struct sf_stream *s, uint64_t off, size_t len, sf_fetched_fn done, void *arg)
{
    struct sf_cached *c = s->content;
    struct sf_cache *cache = c->cache;
    struct later l;
    int rc = 0;
    len = clip(c, off, len);
    if (!len) {
        if (done)
            done(arg, NULL, 0);
        return 0;
    }
    later_init(&l);
    sf_mutex_lock(&cache->lock);
    struct read *r = read_new_locked(s, off, len);
    if (r) {
        r->prefetch = true;
        r->done = done;
        r->arg = arg;
        r->plan.off = off / SF_UNIT * SF_UNIT;
        r->plan.end = (off + len + SF_UNIT - 1) / SF_UNIT * SF_UNIT;
        if (r->plan.end > c->size)
            r->plan.end = c->size;
        read_try_locked(r, &l);
        if (r->state == READ_OVER && r->err.code == -EAGAIN) {
            rc = -EAGAIN;
            r->done = NULL;
        }
    }
    sf_mutex_unlock(&cache->lock);
    later_run(cache, &l);
    return r ? rc : -EAGAIN;
}

void
sf_cache_cancel(struct sf_cache *cache, uint64_t id)
{
    struct later l;
    later_init(&l);
    sf_mutex_lock(&cache->lock);
    struct read *r;
    HASH_FIND(hh, cache->reads, &id, sizeof id, r);
    if (r) {
        read_cancel_locked(r, &l);
        read_feed_locked(cache, &l);
    }
    sf_mutex_unlock(&cache->lock);
    later_run(cache, &l);
}

void
read_cancel_locked(struct read *r, struct later *l)
{
    struct sf_err err = {.code = -ECANCELED};
    read_detach_locked(r, l);
    read_over_locked(r, &err, l);
}
