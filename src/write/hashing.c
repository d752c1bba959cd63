/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/hashing.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/thread.h"
#include "write/stage.h"

#define BEHIND_FROM (1024 * 1024) /* smaller files are not worth another thread */
#define BEHIND_MAX  (4096 * 1024) /* bytes that a writer may be ahead: some 10 ms of hashing */
#define CHUNK       (64 * 1024)

void
sf_hashing_init(struct sf_hashing *h, struct sf_pool *pool)
{
    *h = (struct sf_hashing){.pool = pool};
    sf_mutex_init(&h->lock, 0);
    sf_cond_init(&h->moved);
}

/* Takes a chunk into the digests, which are this thread's. False: it cannot be read. */
static bool
take(struct sf_hashing *h, const struct sf_stage *s, unsigned char *buf, uint64_t off, size_t n)
{
    ssize_t got = sf_pread_full(s->fd, buf, n, (off_t)off);
    if (got < 0 || (size_t)got < n)
        return false;
    sf_digest_write(&h->digest, buf, n, off);
    return !h->digest.broken;
}

/* On a thread of the pool. */
static void
hash_behind(void *arg)
{
    struct sf_hashing *h = arg;
    sf_autofree unsigned char *buf = malloc(CHUNK);
    sf_mutex_lock(&h->lock);
    while (!h->broken && h->done < h->upto) {
        struct sf_stage *s = sf_stage_ref(h->stage);
        uint64_t left = h->upto - h->done;
        size_t n = left < CHUNK ? (size_t)left : CHUNK;
        sf_mutex_unlock(&h->lock);
        bool ok = buf && take(h, s, buf, h->digest.pos, n);
        sf_stage_unref(s);
        sf_mutex_lock(&h->lock);
        h->broken |= !ok;
        h->done += n;
        sf_cond_broadcast(&h->moved);
    }
    h->busy = false;
    struct sf_stage *s = sf_steal(h->stage);
    sf_cond_broadcast(&h->moved);
    sf_mutex_unlock(&h->lock); /* the content may go now */
    sf_stage_unref(s);
}

/* From here on @h is not touched by another thread. */
static void
stop(struct sf_hashing *h)
{
    SF_GUARD(&h->lock);
    h->broken = true;
    while (h->busy)
        sf_cond_wait(&h->moved, &h->lock);
}

void
sf_hashing_reset(struct sf_hashing *h)
{
    stop(h);
    sf_digest_fini(&h->digest);
    h->upto = h->done = 0;
    h->broken = false;
}

void
sf_hashing_fini(struct sf_hashing *h)
{
    sf_hashing_reset(h);
    sf_cond_fini(&h->moved);
    sf_mutex_fini(&h->lock);
}

void
sf_hashing_break(struct sf_hashing *h)
{
    SF_GUARD(&h->lock);
    h->broken = true;
}

/* Bytes that came in order. Returns the file before, if it is another one now. *start: a thread has
 * to be found. */
static struct sf_stage *
come_locked(struct sf_hashing *h, struct sf_stage *stage, const void *buf, size_t len, uint64_t off,
            bool *start)
{
    SF_ASSERT_HELD(&h->lock);
    h->upto += len;
    if (!h->busy && h->upto < BEHIND_FROM) {
        sf_digest_write(&h->digest, buf, len, off);
        h->done = h->upto;
        h->broken = h->digest.broken;
        return NULL;
    }
    struct sf_stage *old = h->stage; /* also a file that took its place has all the bytes */
    h->stage = sf_stage_ref(stage);
    *start = !h->busy;
    h->busy = true;
    return old;
}

static void
start_thread(struct sf_hashing *h)
{
    if (sf_pool_submit(h->pool, hash_behind, h) == 0)
        return;
    sf_mutex_lock(&h->lock);
    h->busy = false;
    h->broken = true;
    struct sf_stage *s = sf_steal(h->stage);
    sf_mutex_unlock(&h->lock);
    sf_stage_unref(s);
}

void
sf_hashing_write(struct sf_hashing *h, struct sf_stage *stage, const void *buf, size_t len,
                 uint64_t off)
{
    struct sf_stage *old = NULL;
    bool start = false;
    if (!len)
        return;
    sf_mutex_lock(&h->lock);
    h->broken |= off != h->upto;
    if (!h->broken)
        old = come_locked(h, stage, buf, len, off, &start);
    while (!start && h->busy && !h->broken && h->upto - h->done > BEHIND_MAX)
        sf_cond_wait(&h->moved, &h->lock);
    sf_mutex_unlock(&h->lock);
    if (start)
        start_thread(h);
    sf_stage_unref(old);
}

void
sf_hashing_truncate(struct sf_hashing *h, uint64_t size)
{
    if (size == 0) {
        sf_hashing_reset(h);
        return;
    }
    SF_GUARD(&h->lock);
    h->broken |= size < h->upto;
}

bool
sf_hashing_result(struct sf_hashing *h, uint64_t size, struct sf_digests *ret)
{
    SF_GUARD(&h->lock);
    while (h->busy && !h->broken)
        sf_cond_wait(&h->moved, &h->lock);
    return !h->broken && sf_digest_result(&h->digest, size, ret);
}
