/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/internal.h"

#include "base/file.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Contents, their names, and the streams that read them. */

/* ---- names ----------------------------------------------------------------------------------- */

static struct name *
name_new(const struct sf_cache_key *key)
{
    size_t b = strlen(key->bucket) + 1, i = strlen(key->id) + 1, e = strlen(key->etag) + 1;
    struct name *n = calloc(1, sizeof *n + b + i + e + sizeof key->size);
    if (!n)
        return NULL;
    memcpy(n->key, key->bucket, b);
    memcpy(n->key + b, key->id, i);
    memcpy(n->key + b + i, key->etag, e);
    memcpy(n->key + b + i + e, &key->size, sizeof key->size);
    n->len = b + i + e + sizeof key->size;
    return n;
}

static struct name *
name_find_locked(struct sf_cache *cache, const struct name *like)
{
    struct name *n;
    HASH_FIND(hh, cache->names, like->key, like->len, n);
    return n;
}

static void
name_remove_locked(struct name *n)
{
    struct name **p = &n->content->names;
    while (*p != n)
        p = &(*p)->next;
    *p = n->next;
    HASH_DEL(n->content->cache->names, n);
    free(n);
}

/* @takes n. A name that led to another content leads to this one: the other's readers go on. */
static int
name_add_locked(struct sf_cached *c, struct name *n)
{
    struct name *old = name_find_locked(c->cache, n);
    if (old) {
        struct sf_cached *other = old->content;
        if (other == c) {
            free(n);
            return 0;
        }
        name_remove_locked(old);
        cached_drop_if_unused_locked(other);
    }
    HASH_ADD_KEYPTR(hh, c->cache->names, n->key, n->len, n);
    if (!SF_HTAB_ADDED(n)) {
        free(n);
        return -ENOMEM;
    }
    n->content = c;
    n->next = c->names;
    c->names = n;
    return 0;
}

void
sf_cached_name(struct sf_cached *c, const struct sf_cache_key *key)
{
    struct name *n = key->size == c->size ? name_new(key) : NULL;
    if (!n)
        return;
    if (c->disk)
        sf_disk_name(c->disk, key);
    SF_GUARD(&c->cache->lock);
    (void)name_add_locked(c, n);
}

/* It may be known on the disk only. */
static void
alias_on_disk(struct sf_disk *d, const struct sf_cache_key *from, const struct sf_cache_key *to)
{
    struct sf_disk_content *c;
    if (sf_disk_get(d, from, &c) < 0)
        return;
    sf_disk_name(c, to);
    sf_disk_unref(c);
}

void
sf_cache_alias(struct sf_cache *cache, const struct sf_cache_key *from,
               const struct sf_cache_key *to)
{
    sf_autofree struct name *f = name_new(from);
    struct name *t = from->size == to->size ? name_new(to) : NULL;
    if (!f || !t) {
        free(t);
        return;
    }
    if (cache->disk)
        alias_on_disk(cache->disk, from, to);
    SF_GUARD(&cache->lock);
    struct name *n = name_find_locked(cache, f);
    if (n)
        (void)name_add_locked(n->content, t);
    else
        free(t);
}

/* ---- contents -------------------------------------------------------------------------------- */

/* @key: NULL = without a name. */
static struct sf_cached *
cached_new_locked(struct sf_cache *cache, const struct sf_cache_key *key, uint64_t size)
{
    struct sf_cached *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    struct sf_disk *d = cache->disk;
    if (d && (key ? sf_disk_get(d, key, &c->disk) : sf_disk_get_new(d, size, &c->disk)) < 0) {
        free(c);
        return NULL;
    }
    c->cache = cache;
    c->size = size;
    c->refs = 1;
    c->next = cache->contents;
    if (c->next)
        c->next->prev = c;
    cache->contents = c;
    cache->n_contents++;
    return c;
}

static void
cached_free_locked(struct sf_cached *c)
{
    while (c->names)
        name_remove_locked(c->names);
    *(c->prev ? &c->prev->next : &c->cache->contents) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->cache->n_contents--;
    bufs_fini(&c->bufs);
    sf_disk_unref(c->disk);
    free(c);
}

/* What has a name and bytes is found again. */
void
cached_drop_if_unused_locked(struct sf_cached *c)
{
    if (c->refs)
        return;
    c->refs++; /* the last buffer would take it along */
    for (size_t i = c->names ? 0 : c->bufs.len; i-- > 0;)
        if (!c->bufs.data[i]->pins) /* else it goes when its turn comes */
            buf_free_locked(c->bufs.data[i]);
    c->refs--;
    if (!c->bufs.len)
        cached_free_locked(c);
}

int
sf_cached_get(struct sf_cache *cache, const struct sf_cache_key *key, struct sf_cached **ret)
{
    if (!*key->bucket || !*key->id || !*key->etag)
        return -EINVAL;
    struct name *n = name_new(key);
    if (!n)
        return -ENOMEM;
    SF_GUARD(&cache->lock);
    struct name *old = name_find_locked(cache, n);
    if (old) {
        free(n);
        old->content->refs++;
        *ret = old->content;
        return 0;
    }
    struct sf_cached *c = cached_new_locked(cache, key, key->size);
    if (!c) {
        free(n);
        return -ENOMEM;
    }
    int rc = name_add_locked(c, n);
    if (rc < 0)
        cached_free_locked(c);
    else
        *ret = c;
    return rc;
}

int
sf_cached_new(struct sf_cache *cache, uint64_t size, struct sf_cached **ret)
{
    SF_GUARD(&cache->lock);
    struct sf_cached *c = cached_new_locked(cache, NULL, size);
    if (!c)
        return -ENOMEM;
    *ret = c;
    return 0;
}

struct sf_cached *
sf_cached_ref(struct sf_cached *c)
{
    SF_GUARD(&c->cache->lock);
    c->refs++;
    return c;
}

void
cached_unref_locked(struct sf_cached *c)
{
    c->refs--;
    cached_drop_if_unused_locked(c);
}

void
sf_cached_unref(struct sf_cached *c)
{
    if (!c)
        return;
    SF_GUARD(&c->cache->lock);
    cached_unref_locked(c);
}

uint64_t
sf_cached_size(const struct sf_cached *c)
{
    return c->size;
}

/* ---- streams --------------------------------------------------------------------------------- */

int
sf_stream_new(struct sf_cached *c, void *what, struct sf_stream **ret)
{
    struct sf_stream *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->content = c;
    s->what = what;
    s->refs = 1;
    SF_GUARD(&c->cache->lock);
    c->refs++;
    c->cache->n_streams++;
    *ret = s;
    return 0;
}

void
stream_over(struct sf_stream *s)
{
    struct sf_cache *cache = s->content->cache;
    if (cache->opts.drop)
        cache->opts.drop(cache->opts.arg, s->what);
    sf_mutex_lock(&cache->lock);
    cached_unref_locked(s->content);
    if (--cache->n_streams == 0)
        sf_cond_broadcast(&cache->quiet);
    sf_mutex_unlock(&cache->lock);
    free(s);
}

void
stream_unref(struct sf_stream *s)
{
    struct sf_cache *cache = s->content->cache;
    sf_mutex_lock(&cache->lock);
    bool last = --s->refs == 0;
    sf_mutex_unlock(&cache->lock);
    if (last)
        stream_over(s);
}

void
sf_stream_free(struct sf_stream *s)
{
    if (!s)
        return;
    struct sf_cached *c = s->content;
    struct sf_cache *cache = c->cache;
    struct later l;
    later_init(&l);
    sf_mutex_lock(&cache->lock);
    s->resting = false;
    SF_VEC_FOREACH (&c->bufs, b) {
        struct fetch *f = (*b)->fetch;
        if (f && f->stream == s && (f->kind == FETCH_SOON || f->kind == FETCH_MAYBE) &&
            !f->shared && !(*b)->waits)
            fetch_give_up_locked(f, &l);
    }
    sf_mutex_unlock(&cache->lock);
    later_run(cache, &l);
    stream_unref(s);
}

/* ---- bytes that were got otherwise ----------------------------------------------------------- */

/* Bytes that are ready in memory, from the beginning of the range. */
static size_t
peek_memory(struct sf_cached *c, uint64_t off, char *buf, size_t len)
{
    SF_GUARD(&c->cache->lock);
    size_t i = buf_find_locked(c, off);
    const struct buf *b = i < c->bufs.len ? c->bufs.data[i] : NULL;
    if (!b || b->off > off || b->state != BUF_READY)
        return 0;
    size_t from = (size_t)(off - b->off), n = b->len - from < len ? b->len - from : len;
    memcpy(buf, b->mem + from, n);
    return n;
}

int
sf_cached_peek_wait(struct sf_cached *c, uint64_t off, void *buf, size_t len)
{
    char *to = buf;
    if (off > c->size || len > c->size - off)
        return -ENODATA;
    while (len) {
        ssize_t n = (ssize_t)peek_memory(c, off, to, len);
        if (!n && c->disk)
            n = sf_disk_read(c->disk, off, len, to, false);
        if (n <= 0)
            return -ENODATA;
        to += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static void
put_memory(struct sf_cached *c, uint64_t off, const char *bytes, uint64_t end)
{
    SF_GUARD(&c->cache->lock);
    for (uint64_t pos = off; pos < end;) {
        size_t i = buf_find_locked(c, pos);
        struct buf *b = i < c->bufs.len ? c->bufs.data[i] : NULL;
        if (b && b->off <= pos) {
            pos = b->off + b->len;
            continue;
        }
        uint64_t stop = piece_end(pos, end, b);
        struct buf *nb = buf_new_locked(c, pos, stop - pos, false);
        if (!nb)
            return;
        memcpy(nb->mem, bytes + (pos - off), stop - pos);
        buf_ready_locked(nb);
        pos = stop;
    }
}

void
sf_cached_put_wait(struct sf_cached *c, uint64_t off, const void *buf, size_t len)
{
    if (off >= c->size)
        return;
    uint64_t end = len < c->size - off ? off + len : c->size;
    uint64_t from = (off + SF_UNIT - 1) / SF_UNIT * SF_UNIT;
    if (end < c->size)
        end = end / SF_UNIT * SF_UNIT;
    for (uint64_t stop; from < end; from = stop) {
        stop = piece_end(from, end, NULL);
        if (c->disk)
            sf_disk_write(c->disk, from, stop - from, (const char *)buf + (from - off));
        else
            put_memory(c, from, (const char *)buf + (from - off), stop);
    }
}

int
sf_cached_adopt_wait(struct sf_cached *c, int fd)
{
    sf_autofree char *buf = malloc(SF_PIECE);
    if (!buf)
        return -ENOMEM;
    for (uint64_t off = 0; off < c->size; off += SF_PIECE) {
        size_t n = c->size - off < SF_PIECE ? (size_t)(c->size - off) : SF_PIECE;
        ssize_t got = sf_pread_full(fd, buf, n, (off_t)off);
        if (got != (ssize_t)n)
            return got < 0 ? (int)got : -EIO;
        sf_cached_put_wait(c, off, buf, n);
    }
    return 0;
}

void
sf_cached_forget(struct sf_cached *c)
{
    SF_GUARD(&c->cache->lock);
    for (size_t i = c->bufs.len; i-- > 0;)
        if (c->bufs.data[i]->state == BUF_READY && !c->bufs.data[i]->pins)
            buf_free_locked(c->bufs.data[i]);
}

static uint64_t
here_in_memory(struct sf_cached *c)
{
    SF_GUARD(&c->cache->lock);
    uint64_t here = 0;
    SF_VEC_FOREACH (&c->bufs, b)
        here += (*b)->state == BUF_READY ? (*b)->len : 0;
    return here;
}

uint64_t
sf_cached_here(struct sf_cached *c)
{
    uint64_t memory = here_in_memory(c);
    if (memory == c->size || !c->disk)
        return memory;
    size_t most = c->size < SSIZE_MAX ? (size_t)c->size : SSIZE_MAX;
    if (sf_disk_has(c->disk, 0, most, false) == (ssize_t)most)
        return c->size;
    struct sf_disk_usage usage;
    sf_disk_usage(c->disk, &usage);
    uint64_t here = memory > usage.bytes ? memory : usage.bytes;
    return here < c->size ? here : c->size - 1;
}
