/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "write/content.h"

#define CHUNK_BYTES  (1024 * 1024)
#define CHUNKS       4    /* of one load under way */
#define LOADS_ACTIVE 4    /* so that all buffers together stay below 16 MiB */
#define LOADS_MAX    4096 /* that wait */

/* One range under way: fetched on the event thread, written to the file on a worker. */
struct chunk {
    struct sf_job job; /* no lane */
    struct sf_load *load;
    char *buf;
    uint64_t off;
    size_t len;   /* 0 = free */
    unsigned seq; /* counts its uses */
    uint64_t id;  /* of the request under way; 0 = not known */
    struct sf_err err;
};

/* The lists and what changes here are protected by the writer's lock. */
struct sf_load {
    struct sf_load *prev, *next;
    struct sf_content *c; /* referenced */
    struct sf_stage *stage;
    char *bucket, *key;
    char *etag;  /* "" until the first reply has told it */
    char *token; /* the ETag as a query value */
    uint64_t size, next_off;
    bool active, cancelled;
    unsigned busy;     /* chunks under way and threads in load_pump(); who takes it to 0 ends it */
    struct sf_err err; /* the first */
    struct chunk chunks[CHUNKS];
    sf_write_fn cb;
    void *arg;
};

static void load_start(struct sf_load *l);

static void
load_free(struct sf_load *l)
{
    for (int i = 0; i < CHUNKS; i++)
        free(l->chunks[i].buf);
    sf_content_unref(l->c);
    free(l->bucket);
    free(l->key);
    free(l->etag);
    free(l->token);
    free(l);
}

/* Ended, well or not: the content, the caller, the next one in the queue. */
static void
load_finish(struct sf_load *l)
{
    struct sf_writer *w = l->c->w;
    struct sf_load *other = NULL;
    bool ok = !l->err.code;
    sf_content_load_end(l->c, l->stage, ok, l->size);
    l->cb(l->arg, ok ? NULL : &l->err);

    sf_mutex_lock(&w->lock);
    DL_DELETE(w->loads, l);
    if (l->active)
        w->loads_active--;
    if (w->loads_active < LOADS_ACTIVE)
        DL_SEARCH_SCALAR(w->loads, other, active, false);
    if (other) {
        other->active = true;
        w->loads_active++;
    }
    sf_mutex_unlock(&w->lock);
    if (other)
        load_start(other);
    load_free(l);
    sf_queue_release(w->queue);
}

/* ---- fetching ------------------------------------------------------------------------------- */

static void
chunk_fail(struct chunk *ch, int code, const char *what)
{
    (void)!sf_err_set(&ch->err, code, "read of %s/%s: %s", ch->load->bucket, ch->load->key, what);
}

/* The first reply says of which version the rest has to be. */
static void
pin_version(struct chunk *ch, const char *etag)
{
    struct sf_load *l = ch->load;
    SF_GUARD(&l->c->w->lock);
    if (l->etag[0] || !etag || !etag[0])
        return;
    char *copy = strdup(etag);
    if (!copy) {
        chunk_fail(ch, -ENOMEM, "out of memory");
        return;
    }
    free(l->etag);
    l->etag = copy;
}

/* On the event thread. */
static void
chunk_got(void *arg, const struct sf_err *err, const struct sf_get_result *res)
{
    struct chunk *ch = arg;
    if (err)
        ch->err = *err;
    else if (res->len != ch->len)
        chunk_fail(ch, -EIO, "fewer bytes than asked for");
    else
        pin_version(ch, res->etag);
    sf_queue_add(ch->load->c->w->queue, &ch->job, NULL, 0);
}

static void
chunk_send(struct chunk *ch, unsigned seq)
{
    struct sf_load *l = ch->load;
    struct sf_writer *w = l->c->w;
    struct sf_get_args args = {.bucket = l->bucket,
                               .key = l->key,
                               .off = ch->off,
                               .len = ch->len,
                               .buf = ch->buf,
                               .etag = l->etag,
                               .total = l->size,
                               .token = l->token[0] ? l->token : NULL};
    uint64_t id = sf_storage_get(w->st, &args, sf_writer_deadline(w, ch->len), chunk_got, ch);
    sf_mutex_lock(&w->lock);
    if (ch->seq == seq) /* else it has ended and is used again already */
        ch->id = id;
    bool cancelled = l->cancelled;
    sf_mutex_unlock(&w->lock);
    if (cancelled)
        sf_storage_cancel(w->st, id);
}

/* The next range for a free chunk, or NULL. */
static struct chunk *
chunk_next_locked(struct sf_load *l, unsigned *seq)
{
    if (l->err.code || l->cancelled || l->next_off >= l->size)
        return NULL;
    if (!l->etag[0] && l->busy > 1) /* the first reply says which version the rest must be of */
        return NULL;
    for (int i = 0; i < CHUNKS; i++) {
        struct chunk *ch = &l->chunks[i];
        if (ch->len || !ch->buf)
            continue;
        uint64_t left = l->size - l->next_off;
        ch->off = l->next_off;
        ch->len = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
        ch->id = 0;
        ch->err = SF_ERR_INIT;
        *seq = ++ch->seq;
        l->next_off += ch->len;
        l->busy++;
        return ch;
    }
    return NULL;
}

/* Keep all chunks busy; end the load when nothing is left. The caller has one count of busy. */
static void
load_pump(struct sf_load *l)
{
    struct sf_writer *w = l->c->w;
    for (;;) {
        unsigned seq = 0;
        sf_mutex_lock(&w->lock);
        struct chunk *ch = chunk_next_locked(l, &seq);
        bool last = !ch && --l->busy == 0;
        if (last && l->cancelled && !l->err.code)
            (void)!sf_err_set(&l->err, -ECANCELED, "the writer is being stopped");
        sf_mutex_unlock(&w->lock);
        if (last)
            load_finish(l);
        if (!ch)
            return;
        chunk_send(ch, seq);
    }
}

/* On a worker: the bytes are there. */
static void
chunk_store(struct sf_job *job, const struct sf_err *refused)
{
    struct chunk *ch = (struct chunk *)job;
    struct sf_load *l = ch->load;
    if (refused && !ch->err.code)
        ch->err = *refused;
    if (!ch->err.code) {
        int rc = sf_pwrite_full(l->stage->fd, ch->buf, ch->len, (off_t)ch->off);
        if (rc)
            chunk_fail(ch, rc, strerror(-rc));
    }
    sf_mutex_lock(&l->c->w->lock);
    if (ch->err.code && !l->err.code)
        l->err = ch->err;
    ch->len = 0;
    ch->seq++;
    sf_mutex_unlock(&l->c->w->lock);
    load_pump(l); /* with the count of this chunk */
}

static void
load_start(struct sf_load *l)
{
    for (uint64_t i = 0; i < CHUNKS && i * CHUNK_BYTES < l->size; i++) {
        l->chunks[i].load = l;
        l->chunks[i].job.run = chunk_store;
        l->chunks[i].buf = malloc(CHUNK_BYTES);
        if (!l->chunks[i].buf && i == 0)
            (void)!sf_err_set(&l->err, -ENOMEM, "out of memory");
    }
    load_pump(l);
}

/* ---- asking --------------------------------------------------------------------------------- */

static struct sf_load *
load_new(struct sf_content *c, const char *etag, uint64_t size)
{
    struct sf_load *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->c = sf_content_ref(c);
    l->etag = strdup(etag ? etag : "");
    l->token = calloc(1, strlen(etag ? etag : "") + 1);
    sf_mutex_lock(&c->lock);
    l->bucket = strdup(c->bucket);
    l->key = strdup(c->key);
    sf_mutex_unlock(&c->lock);
    if (!l->etag || !l->token || !l->bucket || !l->key) {
        load_free(l);
        return NULL;
    }
    for (const char *p = l->etag, *end = p + strlen(p); p < end; p++)
        if (*p != '"')
            l->token[strlen(l->token)] = *p;
    l->size = size;
    l->busy = 1;
    return l;
}

/* Enter it in the list. Returns 0 and whether it may begin; or -EAGAIN, -ECANCELED. */
static int
load_enter(struct sf_load *l, bool *begin)
{
    struct sf_writer *w = l->c->w;
    struct sf_load *any;
    unsigned n;
    SF_GUARD(&w->lock);
    DL_COUNT(w->loads, any, n);
    if (w->stopping || n >= LOADS_MAX)
        return w->stopping ? -ECANCELED : -EAGAIN;
    l->active = *begin = w->loads_active < LOADS_ACTIVE;
    if (l->active)
        w->loads_active++;
    DL_APPEND(w->loads, l);
    return 0;
}

void
sf_content_load(struct sf_content *c, const char *etag, uint64_t size, sf_write_fn cb, void *arg)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_load *l = NULL;
    struct sf_stage *stage = NULL;
    bool begin = false;
    int rc = size > INT64_MAX ? -EFBIG : sf_content_load_begin(c, &stage);
    if (!rc && !(l = load_new(c, etag, size)))
        rc = -ENOMEM;
    if (!rc) {
        l->stage = stage;
        l->cb = cb;
        l->arg = arg;
        sf_queue_hold(c->w->queue);
        rc = load_enter(l, &begin);
        if (rc)
            sf_queue_release(c->w->queue);
    }
    if (!rc) {
        if (begin)
            load_start(l);
        return;
    }
    if (l)
        load_free(l);
    if (stage)
        sf_content_load_end(c, stage, false, 0);
    (void)!sf_err_set(&err, rc, "%s",
                      rc == -EINVAL ? "only an empty content can be filled" : strerror(-rc));
    cb(arg, &err);
}

void
sf_load_cancel_all(struct sf_writer *w)
{
    struct sf_load *l;
    for (;;) { /* those that wait: load_finish() would begin others, which end at once */
        sf_mutex_lock(&w->lock);
        DL_SEARCH_SCALAR(w->loads, l, active, false);
        if (l) {
            l->active = l->cancelled = true;
            w->loads_active++;
        }
        sf_mutex_unlock(&w->lock);
        if (!l)
            break;
        load_pump(l);
    }
    /* Those under way. Ids are taken out under the lock, since a load may end at any moment. */
    uint64_t ids[LOADS_ACTIVE * CHUNKS];
    size_t n = 0;
    sf_mutex_lock(&w->lock);
    DL_FOREACH(w->loads, l)
    {
        l->cancelled = true;
        for (int i = 0; i < CHUNKS; i++)
            if (l->chunks[i].len && l->chunks[i].id && n < sizeof ids / sizeof ids[0])
                ids[n++] = l->chunks[i].id;
    }
    sf_mutex_unlock(&w->lock);
    for (size_t i = 0; i < n; i++)
        sf_storage_cancel(w->st, ids[i]);
}
