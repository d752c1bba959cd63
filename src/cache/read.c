/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/internal.h"

/*
 * Reads. One that finds all in memory is answered at once. Others become a struct read: it has
 * pieces of the buffers that cover it, some of which are being fetched, or it waits for memory.
 */

/* ---- pieces ---------------------------------------------------------------------------------- */

unsigned
pieces_pin_locked(struct sf_stream *s, uint64_t off, size_t len, struct piece *p, struct read *r)
{
    struct sf_cached *c = s->content;
    uint64_t pos = off, end = off + len;
    bool prefetch = r && r->prefetch; /* what it finds on the disk stays there: no buffer */
    unsigned n = 0;
    for (size_t i = buf_find_locked(c, pos); pos < end && i < c->bufs.len; i++, n++) {
        struct buf *b = c->bufs.data[i];
        if (b->off >= end)
            break;
        if (b->off > pos)
            pos = b->off;
        uint64_t stop = b->off + b->len < end ? b->off + b->len : end;
        p[n] = (struct piece){
            .buf = b,
            .read = r,
            .from = (uint32_t)(pos - b->off),
            .len = (uint32_t)(stop - pos),
        };
        b->pins++;
        if (!prefetch)
            buf_read_locked(s, b, p[n].from, p[n].len);
        pos = stop;
    }
    return n;
}

void
pieces_give(const struct piece *p, unsigned n, size_t len, sf_stream_read_fn cb, void *arg)
{
    struct iovec iov[PIECES_MAX];
    for (unsigned i = 0; i < n; i++) {
        iov[i].iov_base = p[i].buf->mem + p[i].from;
        iov[i].iov_len = p[i].len;
    }
    cb(arg, 0, NULL, iov, (int)n, len);
}

void
pieces_unpin(struct sf_cache *cache, const struct piece *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buf_unpin(cache, p[i].buf);
}

/* ---- reads that wait --------------------------------------------------------------------------
 */

struct read *
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
    r->refs = 1;
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

void
read_unref(struct sf_cache *cache, struct read *r)
{
    sf_mutex_lock(&cache->lock);
    bool last = --r->refs == 0;
    sf_mutex_unlock(&cache->lock);
    if (!last)
        return;
    stream_unref(r->stream);
    free(r->pieces);
    free(r);
}

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

/* When misses have cost more than all that is missing would, the rest is fetched: if it fits what
 * they may fetch, and there is a place for it. */
static void
miss_over_locked(struct read *r)
{
    struct sf_stream *s = r->stream;
    struct sf_cache *cache = s->content->cache;
    uint64_t size = s->content->size, miss_max = cache->opts.miss_max;
    sf_pattern_waited(&s->pattern, cache_now(cache) - r->began_ns);
    if (s->pattern.all || (!cache->disk && size > cache->pool.max / 2))
        return;
    uint64_t rest = sf_pattern_rest(&s->pattern, size);
    s->pattern.all = sf_pattern_all(&s->pattern, miss_max, rest, sf_link_time(&cache->link, rest));
    s->resting = s->pattern.all;
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
    else if (r->plan.miss)
        miss_over_locked(r);
    r->later = NULL;
    *l->over_end = r;
    l->over_end = &r->later;
}

/* Take a read off its buffers. With @give_up, what nobody else waits for, and was not fetched
 * ahead, is cancelled; not for a read that is tried again and wants the same. */
static void
read_detach_locked(struct read *r, bool give_up, struct later *l)
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
        if (give_up && !b->waits && b->fetch->kind == FETCH_DEMAND && !b->fetch->shared)
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

/* A fetch of [pos, end), or of as much of it as the read needs when there is no memory for more.
 * From the disk only that: the rest is as near as this. */
static struct fetch *
fetch_for_locked(struct read *r, uint64_t pos, uint64_t end, bool disk)
{
    uint64_t need = r->off / SF_UNIT * SF_UNIT;
    uint64_t need_end = (r->off + r->len + SF_UNIT - 1) / SF_UNIT * SF_UNIT;
    uint64_t from = pos > need ? pos : need, to = end < need_end ? end : need_end;
    struct sf_cache *cache = r->stream->content->cache;
    bool needed = from < to && !r->prefetch;
    if (disk)
        return needed ? fetch_new_locked(r->stream, from, to, FETCH_DISK) : NULL;
    if (!needed) {
        if (!ahead_allowed_locked(cache, end - pos))
            return NULL;
        return fetch_new_locked(r->stream, pos, end, r->prefetch ? FETCH_MAYBE : FETCH_SOON);
    }
    struct fetch *f = fetch_new_locked(r->stream, pos, end, FETCH_DEMAND);
    if (!f && (from > pos || to < end))
        f = fetch_new_locked(r->stream, from, to, FETCH_DEMAND);
    return f;
}

static bool
here_locked(const struct read *r)
{
    const struct sf_cached *c = r->stream->content;
    uint64_t pos = r->off, end = r->off + r->len;
    bool ready;
    if (!r->prefetch)
        return covered_locked(c, pos, end, &ready);
    while (pos < end) {
        uint64_t stop = (pos / SF_UNIT + 1) * SF_UNIT;
        if (!view_has(&r->view, pos) && !covered_locked(c, pos, stop < end ? stop : end, &ready))
            return false;
        pos = stop;
    }
    return true;
}

/* Begin what is missing of the plan's range: all of what the read itself needs, or nothing. Reads
 * that have some of their memory and wait for the rest could wait for each other. */
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
        uint64_t end = view_run(&r->view, pos, piece_end(pos, r->plan.end, b));
        bool disk = view_has(&r->view, pos);
        struct fetch *f = fetch_for_locked(r, pos, end, disk);
        if (f) {
            f->buf->missed = r->plan.miss;
            if (f->kind == FETCH_DEMAND)
                buf_asked_locked(f->buf, r->off, r->off + r->len);
            got += disk ? 0 : f->buf->len;
            fetch_queue(&made, f);
        }
        pos = end;
    }
    bool all = here_locked(r);
    for (struct fetch *f = made.begin, *next; f; f = next) {
        next = f->next;
        if (all)
            fetch_queue(l, f);
        else
            fetch_undo_locked(f);
    }
    if (!all)
        return -ENOMEM;
    if (got && r->plan.miss)
        sf_pattern_missed(&r->stream->pattern, r->len, got > r->len ? got - r->len : 0);
    r->own = r->own || got;
    return 0;
}

/* Whether memory will come back: some is used for a while only. */
static bool
memory_comes_locked(const struct sf_cache *cache)
{
    if (cache->fetches || cache->lent || cache->writing)
        return true;
    for (const struct buf *b = cache->oldest; b; b = b->next)
        if (b->pins)
            return true;
    return false;
}

/* 0; -EAGAIN there is no memory now; -ENOMEM or ever. Those that unpin buffers look at hungry after
 * that, without the lock, so a second attempt is made when it is set. */
static int
make_locked(struct read *r, struct later *l)
{
    struct sf_cache *cache = r->stream->content->cache;
    if (cache->short_first && cache->short_first != r)
        return -EAGAIN;
    int rc = fill_locked(r, l);
    if (rc == 0 || r->prefetch)
        return rc ? -EAGAIN : 0;
    atomic_store(&cache->hungry, true);
    rc = fill_locked(r, l);
    bool comes = rc == 0 || memory_comes_locked(cache);
    if (!comes)
        rc = fill_locked(r, l); /* nothing is in the way any more */
    if (rc == 0 || !comes)
        atomic_store(&cache->hungry, cache->short_first != NULL);
    return rc < 0 && comes ? -EAGAIN : rc;
}

void
read_try_locked(struct read *r, struct later *l)
{
    struct sf_cache *cache = r->stream->content->cache;
    struct sf_err err = SF_ERR_INIT;
    if (cache->stopped) {
        err.code = -ECANCELED;
        read_over_locked(r, &err, l);
        return;
    }
    if (!here_locked(r)) {
        int rc = make_locked(r, l);
        if (rc == -EAGAIN && !r->prefetch) {
            if (r->state != READ_NO_MEMORY)
                short_append_locked(r);
            behind_watch_locked(cache);
            return;
        }
        if (rc < 0) {
            err.code = rc;
            read_over_locked(r, &err, l);
            return;
        }
    }
    if (r->state == READ_NO_MEMORY)
        short_unlink_locked(r);
    r->state = READ_WAITS;
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
        bool disk = f->kind == FETCH_DISK;
        bool own = f->stream == r->stream && f->kind == FETCH_DEMAND && r->own;
        bool over =
            !disk && (r->prefetch || (!f->cancelled && (own || (r->failed && err->retryable))));
        read_detach_locked(r, over, l);
        if (disk) {
            /* It was given up there meanwhile, or is damaged, or the disk fails. */
            memset(&r->view, 0, sizeof r->view);
            read_try_locked(r, l);
            continue;
        }
        if (over) {
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
    read_unref(cache, r);
}

void
read_cancel_locked(struct read *r, struct later *l)
{
    struct sf_err err = {.code = -ECANCELED};
    read_detach_locked(r, true, l);
    read_over_locked(r, &err, l);
}
