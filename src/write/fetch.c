/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/thread.h"
#include "write/bytes.h"
#include "write/content.h"

#define PIECE      (1024 * 1024)
#define WINDOW     4           /* pieces that one want has under way */
#define SKIP_BYTES (64 * 1024) /* what is there already ends a piece from this length on */
#define TURNS_MAX  8

struct waiter {
    struct waiter *next;
    struct sf_want *want;
};

/* A piece under way. */
struct sf_fetch {
    struct sf_fetch *prev, *next; /* of its content; the content's lock protects all but err */
    struct sf_fetch *fresh;       /* to be begun */
    struct sf_content *c;         /* counted */
    uint64_t off, end;
    int64_t deadline_ms;
    struct waiter *waiters;
    struct sf_err err;
};

/* ---- one request ---------------------------------------------------------------------------- */

struct get_wait {
    struct sf_writer *w;
    struct sf_get *g;
};

/* On the event thread. */
static void
get_done(void *arg, const struct sf_err *err, const struct sf_get_result *res)
{
    struct get_wait *gw = arg;
    SF_GUARD(&gw->w->lock);
    if (err)
        gw->g->err = *err;
    else
        gw->g->len = res->len;
    gw->g->done = true;
    sf_cond_signal(&gw->g->cond);
}

int
sf_get_run(struct sf_writer *w, struct sf_get *g, const char *bucket, const char *key,
           const struct sf_version *v, uint64_t off, size_t len, int64_t deadline_ms,
           struct sf_err *err)
{
    struct get_wait gw = {w, g};
    char token[sizeof v->etag], *t = token;
    for (const char *p = v->etag; *p; p++)
        if (*p != '"')
            *t++ = *p;
    *t = '\0';
    const struct sf_get_args args = {.bucket = bucket,
                                     .key = key,
                                     .off = off,
                                     .len = len,
                                     .buf = g->buf,
                                     .etag = v->etag,
                                     .total = v->size,
                                     .token = token};
    *g = (struct sf_get){.buf = g->buf};
    sf_cond_init(&g->cond);
    sf_mutex_lock(&w->lock);
    DL_APPEND(w->gets, g);
    sf_mutex_unlock(&w->lock);
    uint64_t id = sf_storage_get(w->st, &args, deadline_ms, get_done, &gw);
    sf_mutex_lock(&w->lock);
    g->id = id;
    bool cancel = w->stopping && !g->done;
    sf_mutex_unlock(&w->lock);
    if (cancel)
        sf_storage_cancel(w->st, id);
    sf_mutex_lock(&w->lock);
    while (!g->done)
        sf_cond_wait(&g->cond, &w->lock);
    DL_DELETE(w->gets, g);
    sf_mutex_unlock(&w->lock);
    sf_cond_fini(&g->cond);
    if (g->err.code) {
        if (err)
            *err = g->err;
        return g->err.code;
    }
    return g->len == len
               ? 0
               : sf_err_set(err, -EIO, "read of %s/%s: fewer bytes than asked for", bucket, key);
}

/* ---- a piece -------------------------------------------------------------------------------- */

static void want_go(struct sf_want *want, const struct sf_fetch *ended);

static void
fetch_end(struct sf_fetch *f)
{
    struct sf_content *c = f->c;
    struct sf_writer *w = c->w;
    sf_mutex_lock(&c->lock);
    DL_DELETE(c->fetches, f);
    struct waiter *list = f->waiters;
    sf_mutex_unlock(&c->lock);
    while (list) {
        struct waiter *next = list->next;
        want_go(list->want, f);
        free(list);
        list = next;
    }
    free(f);
    sf_content_unref(c);
    sf_queue_release(w->queue);
}

/* From the cache as far as it has them, else from the service. */
static void
fetch_bytes(struct sf_fetch *f, char *buf, int64_t deadline_ms)
{
    struct sf_base *b = f->c->base;
    int rc = 0;
    for (uint64_t at = f->off, end; !rc && at < f->end; at = end) {
        unsigned gen = 0;
        bool here = sf_bytes_peek(b, buf, at, f->end, &end, &gen);
        size_t len = (size_t)(end - at);
        rc = here ? 0 : sf_base_fetch(b, buf, at, len, deadline_ms, &gen, &f->err);
        if (!rc && !here)
            sf_bytes_put(b, gen, buf, at, len);
        if (rc)
            break;
        f->err = SF_ERR_INIT;
        rc = sf_content_store(f->c, buf, at, len, gen);
        if (rc)
            (void)!sf_err_set(&f->err, rc, "cannot keep what was read: %s", strerror(-rc));
    }
}

/* On a fetching thread. */
static void
fetch_run(void *arg)
{
    struct sf_fetch *f = arg;
    struct sf_writer *w = f->c->w;
    size_t len = (size_t)(f->end - f->off);
    sf_autofree char *buf = malloc(len);
    int64_t deadline = sf_writer_deadline(w, len);
    if (deadline > f->deadline_ms)
        deadline = f->deadline_ms;
    if (buf)
        fetch_bytes(f, buf, deadline);
    else
        (void)!sf_err_set(&f->err, -ENOMEM, "out of memory");
    fetch_end(f);
}

/* Begin what sf_want_go() has made. */
static void
fetch_begin(struct sf_fetch *list)
{
    while (list) {
        struct sf_fetch *f = list;
        list = f->fresh;
        sf_queue_hold(f->c->w->queue);
        int rc = sf_pool_submit(f->c->w->fetchers, fetch_run, f);
        if (!rc)
            continue;
        (void)!sf_err_set(&f->err, rc, "too many reads wait already");
        fetch_end(f);
    }
}

static struct sf_fetch *
fetch_at_locked(const struct sf_content *c, uint64_t off)
{
    struct sf_fetch *f;
    DL_FOREACH(c->fetches, f)
    if (f->off <= off && off < f->end)
        return f;
    return NULL;
}

/* A piece that begins at a gap, up to a multiple of its size: what is there already is fetched
 * again unless it is much. It ends before a piece that is under way. */
static struct sf_fetch *
fetch_new_locked(struct sf_content *c, const struct sf_stage *s, uint64_t off, int64_t deadline_ms)
{
    struct sf_fetch *other, *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    uint64_t end = (off / PIECE + 1) * PIECE, size = sf_base_size(c->base);
    if (end > size)
        end = size;
    DL_FOREACH(c->fetches, other)
    if (other->off > off && other->off < end)
        end = other->off;
    struct sf_extent gap;
    uint64_t at = off, last = off;
    while (at < end && sf_extents_gap(&s->present, at, end, &gap) &&
           (last == off || gap.off - last < SKIP_BYTES))
        at = last = gap.end;
    f->c = sf_content_ref(c);
    f->off = off;
    f->end = last;
    f->deadline_ms = deadline_ms;
    DL_APPEND(c->fetches, f);
    return f;
}

/* ---- who wants them ------------------------------------------------------------------------- */

static bool
next_gap_locked(struct sf_want *want, const struct sf_stage *s, uint64_t *off)
{
    uint64_t size = atomic_load(&want->c->size);
    struct sf_extent gap;
    struct stat st;
    if (s && want->which != SF_STAGE_NOW) /* which may have another size */
        size = fstat(s->fd, &st) == 0 ? (uint64_t)st.st_size : size;
    uint64_t end = want->end < size ? want->end : size;
    if (!s || s->whole || want->next >= end || !sf_extents_gap(&s->present, want->next, end, &gap))
        return false;
    *off = gap.off;
    return true;
}

/* Join a piece, or make it. */
static int
join_locked(struct sf_want *want, const struct sf_stage *s, uint64_t off, struct sf_fetch **fresh)
{
    struct sf_content *c = want->c;
    struct waiter *wait = malloc(sizeof *wait);
    struct sf_fetch *f = wait ? fetch_at_locked(c, off) : NULL;
    if (wait && !f) {
        f = fetch_new_locked(c, s, off, want->deadline_ms);
        if (f) {
            f->fresh = *fresh;
            *fresh = f;
        }
    }
    if (!f) {
        free(wait);
        return sf_err_set(&want->err, -ENOMEM, "out of memory");
    }
    *wait = (struct waiter){f->waiters, want};
    f->waiters = wait;
    want->inflight++;
    want->next = f->end;
    return 0;
}

/* Keep WINDOW pieces under way; when nothing is left to do, that was it. */
static void
want_go(struct sf_want *want, const struct sf_fetch *ended)
{
    struct sf_content *c = want->c;
    struct sf_fetch *fresh = NULL, *turned = NULL;
    uint64_t off;
    sf_mutex_lock(&c->lock);
    const struct sf_stage *s = sf_content_stage_locked(c, want->which);
    if (ended) {
        want->inflight--;
        if (ended->err.code && !want->err.code)
            want->err = ended->err;
    }
    for (;;) {
        while (!want->err.code && want->inflight < WINDOW && next_gap_locked(want, s, &off))
            if (join_locked(want, s, off, &fresh))
                break;
        if (want->err.code || want->inflight)
            break;
        want->next = want->off; /* is it all there? It may have been of another version */
        if (!next_gap_locked(want, s, &off))
            break;
        if (++want->turns > TURNS_MAX)
            (void)!sf_err_set(&want->err, -EIO, "the bytes of the object change all the time");
    }
    bool done = !want->inflight;
    struct sf_err err = want->err;
    sf_mutex_unlock(&c->lock);
    while (fresh) { /* in order */
        struct sf_fetch *f = fresh;
        fresh = f->fresh;
        f->fresh = turned;
        turned = f;
    }
    fetch_begin(turned);
    if (done)
        want->done(want, err.code ? &err : NULL);
}

void
sf_want_start(struct sf_want *want)
{
    want->err = SF_ERR_INIT;
    want->next = want->off;
    want->inflight = want->turns = 0;
    want_go(want, NULL);
}

struct fill {
    struct sf_want want;  /* first */
    struct sf_mutex lock; /* leaf */
    struct sf_cond cond;
    bool done;
    struct sf_err err;
};

static void
fill_done(struct sf_want *want, const struct sf_err *err)
{
    struct fill *f = (struct fill *)want;
    SF_GUARD(&f->lock);
    if (err)
        f->err = *err;
    f->done = true;
    sf_cond_signal(&f->cond);
}

static int
fill_wait(struct sf_content *c, enum sf_content_stage which, int64_t deadline_ms,
          struct sf_err *err)
{
    struct fill f = {.want = {.c = c,
                              .which = which,
                              .end = UINT64_MAX,
                              .deadline_ms = deadline_ms,
                              .done = fill_done}};
    sf_mutex_init(&f.lock, 0);
    sf_cond_init(&f.cond);
    sf_want_start(&f.want);
    sf_mutex_lock(&f.lock);
    while (!f.done)
        sf_cond_wait(&f.cond, &f.lock);
    sf_mutex_unlock(&f.lock);
    sf_cond_fini(&f.cond);
    sf_mutex_fini(&f.lock);
    if (f.err.code && err)
        *err = f.err;
    return f.err.code;
}

int
sf_fill_sent_wait(struct sf_content *c, int64_t deadline_ms, struct sf_err *err)
{
    return fill_wait(c, SF_STAGE_SENT, deadline_ms, err);
}

int
sf_fill_wait(struct sf_content *c, int64_t deadline_ms, struct sf_err *err)
{
    int rc = 0;
    while (!rc && sf_content_missing(c)) /* again when a write has cloned it meanwhile */
        for (int which = 0; which < SF_STAGES && !rc; which++)
            rc = fill_wait(c, (enum sf_content_stage)which, deadline_ms, err);
    return rc;
}

/* ---- life ----------------------------------------------------------------------------------- */

int
sf_fetch_init(struct sf_writer *w)
{
    return sf_pool_new("fetch", SF_FETCHES, 65536, &w->fetchers);
}

void
sf_fetch_cancel_all(struct sf_writer *w)
{
    uint64_t ids[SF_FETCHES];
    size_t n = 0;
    struct sf_get *g;
    sf_mutex_lock(&w->lock);
    sf_cond_broadcast(&w->bases_changed);
    DL_FOREACH(w->gets, g)
    if (g->id && !g->done && n < SF_FETCHES)
        ids[n++] = g->id;
    sf_mutex_unlock(&w->lock);
    for (size_t i = 0; i < n; i++)
        sf_storage_cancel(w->st, ids[i]);
}

void
sf_fetch_fini(struct sf_writer *w)
{
    sf_pool_free(w->fetchers);
}
