/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/content.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/hash.h"
#include "write/keep.h"
#include "write/fetch.h"
#include "write/commit.h"
#include "write/quarantine.h"

#define EXTENTS_MAX 4096 /* beyond it gaps are closed by fetching */
#define JOIN_COUNT  64   /* extents that are made one then */

uint64_t
sf_content_name_hash(const char *bucket, const char *key)
{
    return sf_hash64(bucket, strlen(bucket)) * 31 + sf_hash64(key, strlen(key));
}

static void
names_add_locked(struct sf_writer *w, struct sf_content *c, uint64_t hash)
{
    SF_ASSERT_HELD(&w->lock);
    c->name_hash = hash;
    DL_APPEND2(w->names[hash % SF_CONTENT_NAMES], c, name_prev, name_next);
}

static void
names_remove_locked(struct sf_writer *w, struct sf_content *c)
{
    SF_ASSERT_HELD(&w->lock);
    DL_DELETE2(w->names[c->name_hash % SF_CONTENT_NAMES], c, name_prev, name_next);
}

/* @stage: taken, also on failure. */
int
sf_content_alloc(struct sf_writer *w, const char *bucket, const char *key, struct sf_stage *stage,
                 struct sf_content **ret, struct sf_err *err)
{
    sf_autofree struct sf_content *c = calloc(1, sizeof *c);
    sf_autofree char *b = strdup(bucket), *k = strdup(key);
    if (!c || !b || !k) {
        sf_stage_unref(stage);
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    atomic_init(&c->refs, 1);
    c->w = w;
    c->stage = stage;
    c->bucket = sf_steal(b);
    c->key = sf_steal(k);
    sf_mutex_init(&c->io, 62);
    sf_mutex_init(&c->lock, 64);
    sf_hashing_init(&c->hashing, w->hashers);
    atomic_fetch_add(&w->contents, 1);
    sf_mutex_lock(&w->lock);
    DL_APPEND2(w->alive, c, alive_prev, alive_next);
    names_add_locked(w, c, sf_content_name_hash(bucket, key));
    sf_mutex_unlock(&w->lock);
    *ret = sf_steal(c);
    return 0;
}

int
sf_content_new(struct sf_writer *w, const char *bucket, const char *key, struct sf_content **ret,
               struct sf_err *err)
{
    struct sf_stage *stage;
    int rc = sf_stage_new(w, bucket, key, &stage, err);
    return rc ? rc : sf_content_alloc(w, bucket, key, stage, ret, err);
}

struct sf_content *
sf_content_ref(struct sf_content *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

bool
sf_content_ref_alive(struct sf_content *c)
{
    unsigned n = atomic_load(&c->refs);
    while (n)
        if (atomic_compare_exchange_weak(&c->refs, &n, n + 1))
            return true;
    return false;
}

void
sf_content_set_size(struct sf_content *c, uint64_t size)
{
    uint64_t old = atomic_exchange(&c->size, size);
    atomic_fetch_add(&c->w->staged_bytes, size - old); /* wraps to a subtraction */
}

/* Nobody committed these bytes and nobody will. */
static void
keep_forgotten(struct sf_content *c)
{
    struct sf_err why = c->failure;
    (void)!sf_err_set(&why, -ECANCELED, "given up before it was uploaded");
    (void)sf_content_quarantine(c, &why, NULL);
}

void
sf_content_unref(struct sf_content *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (sf_content_dirty(c) && !sf_content_kept(c))
        keep_forgotten(c);
    sf_mutex_lock(&c->w->lock);
    DL_DELETE2(c->w->alive, c, alive_prev, alive_next);
    names_remove_locked(c->w, c);
    sf_mutex_unlock(&c->w->lock);
    sf_kept_fini(c);
    sf_base_free(c->base);
    sf_content_set_size(c, 0);
    sf_hashing_fini(&c->hashing);
    sf_stage_unref(c->stage);
    atomic_fetch_sub(&c->w->contents, 1);
    sf_mutex_fini(&c->lock);
    sf_mutex_fini(&c->io);
    free(c->bucket);
    free(c->key);
    free(c);
}

uint64_t
sf_content_size(const struct sf_content *c)
{
    return atomic_load(&c->size);
}

uint64_t
sf_content_gen(const struct sf_content *c)
{
    return atomic_load(&c->gen);
}

bool
sf_content_dirty(const struct sf_content *c)
{
    return !atomic_load(&c->abandoned) && atomic_load(&c->gen) != atomic_load(&c->clean_gen);
}

/* ---- the local file ------------------------------------------------------------------------- */

/* The target as it is now. 0 or -ENOMEM. */
static int
target_copy(struct sf_content *c, char **bucket, char **key)
{
    SF_GUARD(&c->lock);
    *bucket = strdup(c->bucket);
    *key = strdup(c->key);
    return *bucket && *key ? 0 : -ENOMEM;
}

void
sf_content_set_stage(struct sf_content *c, struct sf_stage *stage)
{
    SF_ASSERT_HELD(&c->io);
    sf_mutex_lock(&c->lock);
    struct sf_stage *old = c->stage;
    c->stage = stage;
    sf_mutex_unlock(&c->lock);
    sf_stage_unref(old);
    c->frozen = false;
}

/* What is known to be there: @present of a file of @size bytes, taken. */
static void
set_present_locked(struct sf_stage *s, struct sf_extents *present, uint64_t size)
{
    sf_extents_fini(&s->present);
    s->present = *present;
    *present = (struct sf_extents){0};
    s->whole = sf_extents_missing(&s->present, size) == 0;
    if (s->whole)
        sf_extents_fini(&s->present);
}

/* Bytes have come into the file, or it ends at another place. Room for them was reserved. */
void
sf_content_note_present(struct sf_content *c, struct sf_stage *s, uint64_t off, uint64_t end,
                        uint64_t size)
{
    SF_ASSERT_HELD(&c->io);
    sf_mutex_lock(&c->lock);
    bool before = s->whole;
    if (!before) {
        sf_extents_cut(&s->present, size);
        (void)sf_extents_add(&s->present, off, end);
        s->whole = sf_extents_missing(&s->present, size) == 0;
        if (s->whole)
            sf_extents_fini(&s->present);
    }
    bool now = s->whole;
    sf_mutex_unlock(&c->lock);
    if (now && !before)
        sf_stage_mark_partial(s, false);
}

static int
reserve_locked_io(struct sf_content *c, struct sf_stage *s)
{
    SF_GUARD(&c->lock);
    return s->whole ? 0 : sf_extents_reserve(&s->present);
}

int
sf_content_stage_new(struct sf_content *c, struct sf_stage **ret)
{
    sf_autofree char *bucket = NULL, *key = NULL;
    atomic_store(&c->target_stale, false); /* before the target is read */
    int rc = target_copy(c, &bucket, &key);
    return rc ? rc : sf_stage_new(c->w, bucket, key, ret, NULL);
}

/* Go on with a copy of the first @keep bytes; somebody needs the file as it is. */
static int
clone_locked_io(struct sf_content *c, uint64_t keep)
{
    struct sf_stage *fresh = NULL;
    int rc = sf_content_stage_new(c, &fresh);
    if (!rc)
        rc = sf_stage_copy(fresh, c->stage, keep);
    if (!rc && !c->stage->whole) {
        struct sf_extents present = {0};
        rc = sf_extents_copy(&present, &c->stage->present);
        sf_extents_cut(&present, keep);
        set_present_locked(fresh, &present, keep);
        sf_stage_mark_partial(fresh, !fresh->whole);
    }
    if (rc) {
        sf_stage_unref(fresh);
        return rc;
    }
    sf_content_set_stage(c, fresh);
    return 0;
}

/* Let the file say whose bytes it holds now. */
static int
note_target_locked_io(struct sf_content *c)
{
    SF_ASSERT_HELD(&c->io);
    if (c->stage->moved || !atomic_exchange(&c->target_stale, false))
        return 0;
    sf_autofree char *bucket = NULL, *key = NULL;
    int rc = target_copy(c, &bucket, &key);
    if (!rc)
        rc = sf_stage_target(c->stage, bucket, key);
    if (rc)
        atomic_store(&c->target_stale, true);
    return rc;
}

/* Make the file ready for a change that needs its first @keep bytes. */
int
sf_content_begin_change(struct sf_content *c, uint64_t keep)
{
    SF_ASSERT_HELD(&c->io);
    int rc = c->frozen ? clone_locked_io(c, keep) : note_target_locked_io(c);
    if (!rc)
        rc = reserve_locked_io(c, c->stage);
    if (rc)
        return rc;
    c->as_source = false;
    return atomic_load(&c->abandoned) ? 0 : sf_stage_mark_dirty(c->stage);
}

static int
write_locked_io(struct sf_content *c, const void *buf, size_t len, uint64_t off)
{
    uint64_t end, old = atomic_load(&c->size);
    if (__builtin_add_overflow(off, len, &end) || end > INT64_MAX)
        return -EFBIG;
    if (!len)
        return 0;
    int rc = sf_content_begin_change(c, old);
    if (rc)
        return rc;
    rc = sf_pwrite_full(c->stage->fd, buf, len, (off_t)off);
    atomic_fetch_add(&c->gen, 1); /* also on failure: some bytes may have been changed */
    if (rc)
        sf_hashing_break(&c->hashing);
    else
        sf_hashing_write(&c->hashing, c->stage, buf, len, off);
    if (rc) { /* what the file has got behind its end is not what the program believes to be there
               */
        if (end > old)
            (void)!ftruncate(c->stage->fd, (off_t)old);
        off = end = old; /* and of what was there before nothing has come */
    }
    uint64_t size = end > old ? end : old;
    sf_content_note_present(c, c->stage, off < old ? off : old, end, size);
    if (size > old)
        sf_content_set_size(c, size);
    return rc;
}

static void
joined(struct sf_want *want, const struct sf_err *err)
{
    struct sf_content *c = want->c;
    (void)err; /* tried again with the next write */
    sf_mutex_lock(&c->lock);
    c->joining = false;
    sf_mutex_unlock(&c->lock);
    free(want);
    sf_content_unref(c);
}

/* Small writes all over the file: close the gaps where they are smallest, so that the list of
 * extents stays short. */
static void
join_extents(struct sf_content *c)
{
    struct sf_want *want = NULL;
    sf_mutex_lock(&c->lock);
    bool many = c->base && !c->stage->whole && c->stage->present.n > EXTENTS_MAX && !c->joining;
    if (many && (want = calloc(1, sizeof *want))) {
        struct sf_extent range = sf_extents_densest(&c->stage->present, JOIN_COUNT);
        *want = (struct sf_want){.c = sf_content_ref(c),
                                 .off = range.off,
                                 .end = range.end,
                                 .deadline_ms = INT64_MAX,
                                 .done = joined};
        c->joining = true;
    }
    sf_mutex_unlock(&c->lock);
    if (want)
        sf_want_start(want);
}

ssize_t
sf_content_write(struct sf_content *c, const void *buf, size_t len, uint64_t off)
{
    sf_mutex_lock(&c->io);
    c->appended = false;
    int rc = write_locked_io(c, buf, len, off);
    sf_mutex_unlock(&c->io);
    join_extents(c);
    return rc ? rc : (ssize_t)len;
}

ssize_t
sf_content_append(struct sf_content *c, const void *buf, size_t len, uint64_t *off)
{
    SF_GUARD(&c->io);
    uint64_t at = atomic_load(&c->size);
    int rc = write_locked_io(c, buf, len, at);
    if (rc)
        return rc;
    *off = at;
    return (ssize_t)len;
}

/* ---- reading -------------------------------------------------------------------------------- */

struct read {
    struct sf_want want; /* first */
    void *buf;
    size_t len;
    sf_read_fn cb;
    void *arg;
};

/* The present file, counted; or NULL when it lacks some of these bytes. */
static struct sf_stage *
stage_with(struct sf_content *c, uint64_t off, size_t len)
{
    struct sf_extent gap;
    SF_GUARD(&c->lock);
    uint64_t size = atomic_load(&c->size), end = off < size && size - off > len ? off + len : size;
    if (!c->stage->whole && off < end && sf_extents_gap(&c->stage->present, off, end, &gap))
        return NULL;
    return sf_stage_ref(c->stage);
}

static ssize_t
read_stage(struct sf_stage *s, void *buf, size_t len, uint64_t off)
{
    ssize_t n = sf_pread_full(s->fd, buf, len, (off_t)off);
    sf_stage_unref(s);
    return n;
}

static void
read_fetched(struct sf_want *want, const struct sf_err *err)
{
    struct read *r = (struct read *)want;
    struct sf_stage *s = err ? NULL : stage_with(want->c, want->off, r->len);
    if (!err && !s) { /* in between it has come to lack them again */
        sf_want_start(want);
        return;
    }
    r->cb(r->arg, err ? err->code : read_stage(s, r->buf, r->len, want->off));
    sf_content_unref(want->c);
    free(r);
}

ssize_t
sf_content_read(struct sf_content *c, void *buf, size_t len, uint64_t off, sf_read_fn cb, void *arg)
{
    if (off > INT64_MAX)
        return 0;
    atomic_store_explicit(&c->seen, true, memory_order_relaxed);
    struct sf_stage *s = stage_with(c, off, len);
    if (s)
        return read_stage(s, buf, len, off);
    struct read *r = malloc(sizeof *r);
    if (!r)
        return -ENOMEM;
    *r = (struct read){.want = {.c = sf_content_ref(c),
                                .off = off,
                                .end = off + len,
                                .deadline_ms = INT64_MAX,
                                .done = read_fetched},
                       .buf = buf,
                       .len = len,
                       .cb = cb,
                       .arg = arg};
    sf_want_start(&r->want);
    return -EINPROGRESS;
}

struct fill {
    struct sf_want want; /* first */
    sf_write_fn cb;
    void *arg;
};

static void
filled(struct sf_want *want, const struct sf_err *err)
{
    struct fill *f = (struct fill *)want;
    f->cb(f->arg, err);
    sf_content_unref(want->c);
    free(f);
}

void
sf_content_fill(struct sf_content *c, sf_write_fn cb, void *arg)
{
    struct fill *f = malloc(sizeof *f);
    struct sf_err err = SF_ERR_INIT;
    if (!f) {
        (void)!sf_err_set(&err, -ENOMEM, "out of memory");
        cb(arg, &err);
        return;
    }
    *f = (struct fill){.want = {.c = sf_content_ref(c),
                                .end = UINT64_MAX,
                                .deadline_ms = INT64_MAX,
                                .done = filled},
                       .cb = cb,
                       .arg = arg};
    sf_want_start(&f->want);
}

/* ---- changing ------------------------------------------------------------------------------- */

int
sf_content_truncate(struct sf_content *c, uint64_t size)
{
    SF_GUARD(&c->io);
    uint64_t old = atomic_load(&c->size);
    if (size > INT64_MAX)
        return -EFBIG;
    if (size == old)
        return 0;
    int rc = sf_content_begin_change(c, size < old ? size : old);
    if (rc)
        return rc;
    c->appended = false;
    if (ftruncate(c->stage->fd, (off_t)size) < 0)
        return -errno;
    atomic_fetch_add(&c->gen, 1);
    sf_hashing_truncate(&c->hashing, size);
    if (size < old)
        sf_content_set_size(c, size); /* before the rest is forgotten: nobody shall ask for it */
    sf_content_note_present(c, c->stage, old < size ? old : size, size, size);
    if (size > old)
        sf_content_set_size(c, size);
    return 0;
}

void
sf_content_mark_dirty(struct sf_content *c)
{
    SF_GUARD(&c->io);
    if (!atomic_load(&c->abandoned))
        (void)sf_stage_mark_dirty(c->stage);
    atomic_fetch_add(&c->gen, 1);
}

int
sf_content_retarget(struct sf_content *c, const char *bucket, const char *key, bool exists)
{
    sf_autofree char *b = strdup(bucket), *k = strdup(key);
    uint64_t hash = sf_content_name_hash(bucket, key);
    if (!b || !k)
        return -ENOMEM;
    sf_mutex_lock(&c->lock);
    char *old_bucket = c->bucket, *old_key = c->key;
    c->bucket = sf_steal(b);
    c->key = sf_steal(k);
    c->exists = exists;
    c->renamed = true;
    c->target_seq++;
    sf_mutex_lock(&c->w->lock);
    names_remove_locked(c->w, c);
    names_add_locked(c->w, c, hash);
    sf_mutex_unlock(&c->w->lock);
    sf_mutex_unlock(&c->lock);
    free(old_bucket);
    free(old_key);
    atomic_store(&c->target_stale, true);
    if (sf_mutex_trylock(&c->io)) { /* else who holds it, or the next change */
        (void)note_target_locked_io(c);
        sf_mutex_unlock(&c->io);
    }
    return 0;
}

bool
sf_content_abandon(struct sf_content *c)
{
    atomic_store(&c->abandoned, true);
    if (sf_mutex_trylock(&c->io)) { /* else a kill now would keep bytes that nobody wants */
        if (!c->stage->moved)
            sf_stage_mark_clean(c->stage);
        sf_mutex_unlock(&c->io);
    }
    sf_kept_drop(c);
    sf_keep_wake(c);
    sf_upload_wake(c);
    SF_GUARD(&c->lock);
    return c->uploading;
}

int
sf_content_quarantine(struct sf_content *c, const struct sf_err *why, char *path_out)
{
    SF_GUARD(&c->io);
    int rc = 0;
    if (path_out)
        path_out[0] = '\0';
    if (c->stage->moved) {
        if (path_out)
            snprintf(path_out, PATH_MAX, "%s", c->stage->path);
    } else if (atomic_load(&c->size) > 0) {
        sf_autofree char *bucket = NULL, *key = NULL, *target = NULL;
        if (target_copy(c, &bucket, &key) || asprintf(&target, "%s/%s", bucket, key) < 0)
            target = NULL;
        rc = sf_quarantine_take(c->w, c->stage, target, why, path_out);
        c->frozen = true; /* descriptors still open read it; a change leaves it alone */
    }
    atomic_store(&c->clean_gen, atomic_load(&c->gen)); /* a keep under way comes too late */
    sf_kept_drop(c);
    return rc;
}
