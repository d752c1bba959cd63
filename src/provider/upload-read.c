/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/upload-read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

#define READ_MAX (128 * 1024)

struct provider_src {
    struct sf_provider_source s;
    struct sf_mutex lock; /* a leaf; protects what follows */
    struct sf_cond free;
    unsigned refs;
    bool busy; /* a pass reads it: the next one waits */
    bool stopped;
};

struct provider_pass {
    struct sf_provider *p;
    struct provider_src *src;
    struct sf_mutex lock; /* a leaf; protects what follows */
    struct sf_cond room;
    unsigned refs;
    uint64_t taken, have; /* bytes of the file: given to the connection, read */
    uint64_t http_id;
    atomic_bool *whole;
    int error;
    bool hungry; /* the connection found nothing */
    bool ended;
    char ring[PROVIDER_AHEAD];
};

/* ---- the source ------------------------------------------------------------------------------ */

struct provider_src *
provider_src_new(const struct sf_provider_source *s)
{
    struct provider_src *src = calloc(1, sizeof *src);
    if (!src)
        return NULL;
    src->s = *s;
    src->s.release = NULL;
    src->refs = 1;
    sf_mutex_init(&src->lock, 0);
    sf_cond_init(&src->free);
    return src;
}

void
provider_src_releases(struct provider_src *src, void (*release)(void *arg))
{
    src->s.release = release;
}

void
provider_src_unref(struct provider_src *src)
{
    sf_mutex_lock(&src->lock);
    bool last = --src->refs == 0;
    sf_mutex_unlock(&src->lock);
    if (!last)
        return;
    if (src->s.release)
        src->s.release(src->s.arg);
    sf_cond_fini(&src->free);
    sf_mutex_fini(&src->lock);
    free(src);
}

void
provider_src_stop(struct provider_src *src)
{
    {
        SF_GUARD(&src->lock);
        if (src->stopped)
            return;
        src->stopped = true;
        sf_cond_broadcast(&src->free);
    }
    if (src->s.stop)
        src->s.stop(src->s.arg);
}

/* One pass at a time. Returns false when nobody needs the bytes any more. */
static bool
src_enter(struct provider_src *src)
{
    SF_GUARD(&src->lock);
    while (src->busy && !src->stopped)
        sf_cond_wait(&src->free, &src->lock);
    if (src->busy || src->stopped)
        return false;
    src->busy = true;
    return true;
}

static void
src_leave(struct provider_src *src)
{
    SF_GUARD(&src->lock);
    src->busy = false;
    sf_cond_broadcast(&src->free);
}

/* ---- the reading thread ---------------------------------------------------------------------- */

static void
pass_unref(struct provider_pass *r)
{
    sf_mutex_lock(&r->lock);
    bool last = --r->refs == 0;
    sf_mutex_unlock(&r->lock);
    if (!last)
        return;
    provider_src_unref(r->src);
    sf_cond_fini(&r->room);
    sf_mutex_fini(&r->lock);
    free(r);
}

/* Wait for room; *at and *n tell which part of the ring to fill. Returns false at the end. */
static bool
wait_room(struct provider_pass *r, size_t *at, size_t *n)
{
    SF_GUARD(&r->lock);
    while (!r->ended && r->have < r->src->s.size &&
           PROVIDER_AHEAD - (r->have - r->taken) < READ_MAX)
        sf_cond_wait(&r->room, &r->lock);
    if (r->ended || r->have >= r->src->s.size)
        return false;
    *at = r->have % PROVIDER_AHEAD;
    *n = READ_MAX - *at % READ_MAX;
    if (*n > r->src->s.size - r->have)
        *n = (size_t)(r->src->s.size - r->have);
    return true;
}

/* Bytes have come, or an error. Returns false at the end. */
static bool
put(struct provider_pass *r, ssize_t got)
{
    uint64_t wake = 0;
    bool more = got > 0;
    {
        SF_GUARD(&r->lock);
        if (got > 0)
            r->have += (uint64_t)got;
        else
            r->error = got < 0 ? (int)got : -ESTALE; /* shorter than it was */
        if (r->hungry && !r->ended) {
            wake = r->http_id;
            r->hungry = false;
        }
    }
    if (wake)
        sf_http_req_resume(r->p->http, wake);
    return more;
}

static void *
read_main(void *arg)
{
    struct provider_pass *r = arg;
    struct sf_provider *p = r->p;
    struct provider_src *src = r->src;
    size_t at, n;
    if (src_enter(src)) {
        while (wait_room(r, &at, &n) && put(r, src->s.read(src->s.arg, r->ring + at, n, r->have)))
            ;
        src_leave(src);
    } else {
        (void)put(r, -ECANCELED);
    }
    pass_unref(r);
    SF_GUARD(&p->lock);
    p->readers--;
    sf_cond_broadcast(&p->idle);
    return NULL;
}

int
provider_pass_new(struct sf_provider *p, struct provider_src *src, atomic_bool *whole,
                  struct provider_pass **ret)
{
    struct provider_pass *r = malloc(sizeof *r);
    if (!r)
        return -ENOMEM;
    memset(r, 0, offsetof(struct provider_pass, ring));
    r->p = p;
    r->src = src;
    r->whole = whole;
    r->refs = 2;
    sf_mutex_init(&r->lock, 0);
    sf_cond_init(&r->room);
    {
        SF_GUARD(&src->lock);
        src->refs++;
    }
    {
        SF_GUARD(&p->lock);
        p->readers++;
    }
    int rc = sf_thread_start("sf-provider", read_main, r, NULL);
    if (rc) {
        {
            SF_GUARD(&p->lock);
            p->readers--;
        }
        pass_unref(r);
        pass_unref(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void
provider_pass_wakes(struct provider_pass *r, uint64_t http_id)
{
    SF_GUARD(&r->lock);
    r->http_id = http_id;
}

ssize_t
provider_pass_take(void *arg, char *buf, size_t n)
{
    struct provider_pass *r = arg;
    SF_GUARD(&r->lock);
    size_t at = r->taken % PROVIDER_AHEAD, left = (size_t)(r->have - r->taken);
    if (n > left)
        n = left;
    if (n > PROVIDER_AHEAD - at)
        n = PROVIDER_AHEAD - at;
    if (n == 0) {
        r->hungry = true;
        return r->error;
    }
    memcpy(buf, r->ring + at, n);
    r->taken += n;
    if (r->whole && r->taken == r->src->s.size)
        atomic_store(r->whole, true);
    sf_cond_signal(&r->room);
    return (ssize_t)n;
}

int
provider_pass_error(struct provider_pass *r)
{
    SF_GUARD(&r->lock);
    return r->error;
}

void
provider_pass_end(struct provider_pass *r)
{
    {
        SF_GUARD(&r->lock);
        r->ended = true;
        sf_cond_signal(&r->room);
    }
    pass_unref(r);
}
