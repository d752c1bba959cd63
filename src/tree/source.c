/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/source.h"

#include "provider/want.h"
#include "tree/internal.h"
#include "tree/words.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct sf_tree_source {
    struct sf_tree *tree;
    struct node *node;          /* counted */
    struct sf_content *content; /* staged bytes, counted; NULL = those of the bucket */
    uint64_t gen;               /* of the content */
    struct origin *origin;      /* counted; the tree's lock. NULL = nothing was read yet */
    struct sf_tree_source_facts facts;
    char *name, *mime, *bucket, *key;
    /* Of the node, when it was made: by these it is known whether its bytes are the same. */
    uint32_t version;
    uint64_t changed_seq;
    struct sf_version seen; /* with the ETag that is expected, where it is not known yet */
    atomic_bool stale;
    _Atomic unsigned refs;
};

static void
source_free(struct sf_tree_source *s)
{
    struct sf_tree *t = s->tree;
    if (s->content)
        sf_content_unref(s->content);
    tree_lock(t);
    origin_unref_locked(t, s->origin);
    node_unref_locked(t, s->node);
    tree_unlock(t);
    free(s->name);
    free(s->mime);
    free(s->bucket);
    free(s->key);
    free(s);
    SF_GUARD(&t->lock); /* the last that is done with the tree */
    if (--t->sources == 0)
        sf_cond_broadcast(&t->idle);
}

/* ---- what it is ------------------------------------------------------------------------------ */

/* Nobody can change its bytes while this is looked at. */
static int
check_locked(const struct node *n)
{
    if (node_is_dir(n))
        return -EISDIR;
    if (!node_is_regular(n))
        return -EINVAL;
    if (live(n)->writers || live(n)->busy || (node_is_local(n) && !live(n)->content))
        return -EBUSY;
    return 0;
}

static int
take_locked(struct sf_tree_source *s)
{
    struct sf_tree *t = s->tree;
    const struct node *n = s->node;
    const char *mime = word_text(t->words, n->mime);
    int rc = node_key_locked(n, &s->bucket, &s->key);
    if (rc)
        return rc;
    s->name = strdup(node_name(n));
    s->mime = strdup(mime ? mime : sf_mime_guess(node_comp(n), NULL, 0));
    s->version = n->version;
    s->changed_seq = n->changed_seq;
    node_version_of(n, true, &s->seen);
    s->facts = (struct sf_tree_source_facts){
        .size = n->size, .name = s->name, .mime = s->mime, .bucket = s->bucket, .key = s->key};
    if (live(n)->content) {
        s->content = sf_content_ref(live(n)->content);
        s->gen = sf_content_gen(s->content);
        s->facts.size = sf_content_size(s->content);
    }
    if (!node_is_local(n))
        node_version_of(n, !n->etag_open, &s->facts.version);
    return s->name && s->mime ? 0 : -ENOMEM;
}

int
sf_tree_source_new(struct sf_tree *t, uint64_t nid, struct sf_tree_source **ret)
{
    struct sf_tree_source *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->tree = t;
    atomic_init(&s->refs, 1);
    tree_lock(t);
    s->node = node_get_locked(t, nid);
    int rc = s->node ? check_locked(s->node) : -ESTALE;
    if (!rc)
        rc = take_locked(s);
    if (s->node) {
        node_ref_locked(s->node);
        t->sources++;
    }
    tree_unlock(t);
    if (!s->node) {
        free(s);
    } else if (rc) {
        source_free(s);
    } else {
        if (s->content)
            (void)sf_content_sha256(s->content, s->facts.sha256);
        *ret = s;
    }
    return rc;
}

struct sf_tree_source *
sf_tree_source_ref(struct sf_tree_source *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void
sf_tree_source_unref(struct sf_tree_source *s)
{
    if (s && atomic_fetch_sub(&s->refs, 1) == 1)
        source_free(s);
}

const struct sf_tree_source_facts *
sf_tree_source_facts(const struct sf_tree_source *s)
{
    return &s->facts;
}

bool
sf_tree_source_is_stale(const struct sf_tree_source *s)
{
    return atomic_load(&s->stale);
}

void
sf_tree_source_doubt(struct sf_tree_source *s)
{
    SF_GUARD(&s->tree->lock);
    s->node->checked_ns = 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct source_read {
    struct sf_tree_source *source;
    sf_stream_read_fn cb;
    void *arg;
    char *buf; /* for staged bytes */
};

/* What others stored has another count of versions; what was written here is staged first, and has
 * another ETag then. So may have the same bytes after chmod or rename: who reads begins again. */
static bool
is_same_locked(const struct sf_tree_source *s)
{
    const struct node *n = s->node;
    if (n->version != s->version || n->size != s->facts.size || node_is_local(n))
        return false;
    return s->seen.etag[0] ? node_etag_is(n, s->seen.etag) : n->changed_seq == s->changed_seq;
}

static bool
is_present(struct sf_tree_source *s)
{
    if (s->content)
        return sf_content_gen(s->content) == s->gen;
    SF_GUARD(&s->tree->lock);
    return is_same_locked(s);
}

static void
read_done(void *arg, int err, const struct sf_err *why, const struct iovec *iov, int n, size_t len)
{
    struct source_read *r = arg;
    if (!err && !is_present(r->source))
        err = -ESTALE;
    if (err == -ESTALE)
        atomic_store(&r->source->stale, true);
    r->cb(r->arg, err, why, err ? NULL : iov, err ? 0 : n, err ? 0 : len);
    sf_tree_source_unref(r->source);
    free(r->buf);
    free(r);
}

static void
staged_done(void *arg, ssize_t len)
{
    struct source_read *r = arg;
    const struct iovec iov = {r->buf, len < 0 ? 0 : (size_t)len};
    read_done(r, len < 0 ? (int)len : 0, NULL, &iov, len > 0, iov.iov_len);
}

/* The first read makes the stream. */
static int
need_origin(struct sf_tree_source *s, struct sf_stream **ret)
{
    struct sf_tree *t = s->tree;
    struct origin *fresh = NULL;
    tree_lock(t);
    bool there = s->origin;
    tree_unlock(t);
    int rc = there ? 0 : origin_new(t, s->node, &fresh);
    if (rc)
        return rc;
    tree_lock(t);
    if (fresh && (!is_same_locked(s) || !origin_fits_locked(fresh, s->node)))
        rc = -ESTALE; /* it was changed between the two */
    else if (!s->origin)
        s->origin = sf_steal(fresh);
    origin_unref_locked(t, fresh);
    tree_unlock(t);
    if (!rc)
        *ret = origin_stream(s->origin);
    return rc;
}

uint64_t
sf_tree_source_read(struct sf_tree_source *s, uint64_t off, size_t len, sf_stream_read_fn cb,
                    void *arg)
{
    struct source_read *r = calloc(1, sizeof *r);
    struct sf_stream *stream = NULL;
    if (!r) {
        cb(arg, -ENOMEM, NULL, NULL, 0, 0);
        return 0;
    }
    *r = (struct source_read){.source = sf_tree_source_ref(s), .cb = cb, .arg = arg};
    if (off >= s->facts.size || !is_present(s)) {
        read_done(r, 0, NULL, NULL, 0, 0);
        return 0;
    }
    if (s->content) {
        r->buf = malloc(len ? len : 1);
        ssize_t n =
            r->buf ? sf_content_read(s->content, r->buf, len, off, staged_done, r) : -ENOMEM;
        if (n != -EINPROGRESS)
            staged_done(r, n);
        return 0;
    }
    int rc = need_origin(s, &stream);
    if (!rc)
        return sf_stream_read(stream, off, len, read_done, r);
    read_done(r, rc, NULL, NULL, 0, 0);
    return 0;
}

/* ---- for threads that can wait --------------------------------------------------------------- */

/* One read at a time, and an end to it. */
struct reader {
    struct sf_tree_source *source;
    struct sf_mutex lock; /* a leaf; protects what follows */
    struct sf_cond told;
    unsigned refs; /* who has it, and reads under way */
    bool stopped;
};

struct shot {
    struct reader *reader;
    void *buf; /* NULL = nobody waits any more */
    size_t room;
    ssize_t got;
    bool done;
};

static void
reader_unref(struct reader *r)
{
    sf_mutex_lock(&r->lock);
    bool last = --r->refs == 0;
    sf_mutex_unlock(&r->lock);
    if (!last)
        return;
    sf_tree_source_unref(r->source);
    sf_cond_fini(&r->told);
    sf_mutex_fini(&r->lock);
    free(r);
}

static void
shot_done(void *arg, int err, const struct sf_err *why, const struct iovec *iov, int n, size_t len)
{
    struct shot *s = arg;
    struct reader *r = s->reader;
    size_t at = 0;
    (void)why;
    (void)len;
    sf_mutex_lock(&r->lock);
    bool left = !s->buf;
    for (int i = 0; !left && i < n && at < s->room; i++) {
        size_t some = iov[i].iov_len < s->room - at ? iov[i].iov_len : s->room - at;
        memcpy((char *)s->buf + at, iov[i].iov_base, some);
        at += some;
    }
    s->got = err ? err : (ssize_t)at;
    s->done = true;
    sf_cond_broadcast(&r->told);
    sf_mutex_unlock(&r->lock);
    if (left)
        free(s);
    reader_unref(r);
}

static ssize_t
reader_read(void *arg, void *buf, size_t n, uint64_t off)
{
    struct reader *r = arg;
    struct shot *s = malloc(sizeof *s);
    if (!s)
        return -ENOMEM;
    *s = (struct shot){.reader = r, .buf = buf, .room = n};
    sf_mutex_lock(&r->lock);
    bool stopped = r->stopped;
    r->refs += !stopped;
    sf_mutex_unlock(&r->lock);
    if (stopped) {
        free(s);
        return -ECANCELED;
    }
    uint64_t id = sf_tree_source_read(r->source, off, n, shot_done, s);
    sf_mutex_lock(&r->lock);
    while (!s->done && !r->stopped)
        sf_cond_wait(&r->told, &r->lock);
    ssize_t got = s->done ? s->got : -ECANCELED;
    bool done = s->done;
    s->buf = NULL;
    sf_mutex_unlock(&r->lock);
    if (done)
        free(s);
    else if (id)
        sf_tree_cancel(r->source->tree, id);
    return got;
}

static void
reader_stop(void *arg)
{
    struct reader *r = arg;
    SF_GUARD(&r->lock);
    r->stopped = true;
    sf_cond_broadcast(&r->told);
}

static void
reader_release(void *arg)
{
    reader_unref(arg);
}

void
sf_tree_source_describe(const struct sf_tree_source *s, struct sf_want_file *out)
{
    const struct sf_tree_source_facts *f = &s->facts;
    *out = (struct sf_want_file){.size = f->size,
                                 .name = f->name,
                                 .mime = f->mime,
                                 .bucket = f->bucket,
                                 .key = f->key,
                                 .id = f->version.id,
                                 .etag = f->version.etag,
                                 .sha256 = f->sha256};
}

int
sf_tree_source_file(struct sf_tree_source *s, struct sf_want_file *out)
{
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->source = sf_tree_source_ref(s);
    r->refs = 1;
    sf_mutex_init(&r->lock, 0);
    sf_cond_init(&r->told);
    sf_tree_source_describe(s, out);
    out->read = reader_read;
    out->stop = reader_stop;
    out->release = reader_release;
    out->arg = r;
    return 0;
}
