/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/content.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "write/quarantine.h"

int
sf_content_new(struct sf_writer *w, const char *bucket, const char *key, struct sf_content **ret,
               struct sf_err *err)
{
    struct sf_stage *stage;
    sf_autofree struct sf_content *c = calloc(1, sizeof *c);
    sf_autofree char *b = strdup(bucket), *k = strdup(key);
    if (!c || !b || !k)
        return sf_err_set(err, -ENOMEM, "out of memory");
    int rc = sf_stage_new(w, bucket, key, &stage, err);
    if (rc)
        return rc;
    atomic_init(&c->refs, 1);
    c->w = w;
    c->stage = stage;
    c->bucket = sf_steal(b);
    c->key = sf_steal(k);
    sf_mutex_init(&c->io, 62);
    sf_mutex_init(&c->lock, 64);
    atomic_fetch_add(&w->contents, 1);
    *ret = sf_steal(c);
    return 0;
}

struct sf_content *
sf_content_ref(struct sf_content *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

static void
set_size(struct sf_content *c, uint64_t size)
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
    if (sf_content_dirty(c))
        keep_forgotten(c);
    set_size(c, 0);
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

static void
set_stage_locked_io(struct sf_content *c, struct sf_stage *stage)
{
    SF_ASSERT_HELD(&c->io);
    sf_mutex_lock(&c->lock);
    struct sf_stage *old = c->stage;
    c->stage = stage;
    sf_mutex_unlock(&c->lock);
    sf_stage_unref(old);
    c->frozen = false;
}

/* Go on with a copy of the first @keep bytes; somebody needs the file as it is. */
static int
clone_locked_io(struct sf_content *c, uint64_t keep)
{
    sf_autofree char *bucket = NULL, *key = NULL;
    struct sf_stage *fresh = NULL;
    atomic_store(&c->target_stale, false); /* before the target is read */
    int rc = target_copy(c, &bucket, &key);
    if (!rc)
        rc = sf_stage_new(c->w, bucket, key, &fresh, NULL);
    if (!rc)
        rc = sf_stage_copy(fresh, c->stage, keep);
    if (rc) {
        sf_stage_unref(fresh);
        return rc;
    }
    set_stage_locked_io(c, fresh);
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
static int
begin_change_locked_io(struct sf_content *c, uint64_t keep)
{
    SF_ASSERT_HELD(&c->io);
    if (c->loading)
        return -EBUSY;
    int rc = c->frozen ? clone_locked_io(c, keep) : note_target_locked_io(c);
    if (rc)
        return rc;
    return atomic_load(&c->abandoned) ? 0 : sf_stage_mark_dirty(c->stage);
}

static int
write_locked_io(struct sf_content *c, const void *buf, size_t len, uint64_t off)
{
    uint64_t end;
    if (__builtin_add_overflow(off, len, &end) || end > INT64_MAX)
        return -EFBIG;
    int rc = begin_change_locked_io(c, atomic_load(&c->size));
    if (rc || !len)
        return rc;
    rc = sf_pwrite_full(c->stage->fd, buf, len, (off_t)off);
    atomic_fetch_add(&c->gen, 1); /* also on failure: some bytes may have been changed */
    if (rc)
        end = (uint64_t)lseek(c->stage->fd, 0, SEEK_END);
    if (end > atomic_load(&c->size))
        set_size(c, end);
    return rc;
}

ssize_t
sf_content_write(struct sf_content *c, const void *buf, size_t len, uint64_t off)
{
    SF_GUARD(&c->io);
    int rc = write_locked_io(c, buf, len, off);
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

ssize_t
sf_content_read(struct sf_content *c, void *buf, size_t len, uint64_t off)
{
    if (off > INT64_MAX)
        return 0;
    sf_mutex_lock(&c->lock);
    struct sf_stage *s = sf_stage_ref(c->stage);
    sf_mutex_unlock(&c->lock);
    ssize_t n = sf_pread_full(s->fd, buf, len, (off_t)off);
    sf_stage_unref(s);
    return n;
}

int
sf_content_truncate(struct sf_content *c, uint64_t size)
{
    SF_GUARD(&c->io);
    uint64_t old = atomic_load(&c->size);
    if (size > INT64_MAX)
        return -EFBIG;
    if (size == old)
        return 0;
    int rc = begin_change_locked_io(c, size < old ? size : old);
    if (rc)
        return rc;
    if (ftruncate(c->stage->fd, (off_t)size) < 0)
        return -errno;
    atomic_fetch_add(&c->gen, 1);
    set_size(c, size);
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
    if (!b || !k)
        return -ENOMEM;
    sf_mutex_lock(&c->lock);
    char *old_bucket = c->bucket, *old_key = c->key;
    c->bucket = sf_steal(b);
    c->key = sf_steal(k);
    c->exists = exists;
    c->target_seq++;
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
    atomic_store(&c->clean_gen, atomic_load(&c->gen));
    return rc;
}

/* ---- for uploads and loads ------------------------------------------------------------------ */

void
sf_content_freeze(struct sf_content *c, struct sf_snapshot *ret)
{
    SF_GUARD(&c->io);
    c->frozen = true;
    ret->stage = sf_stage_ref(c->stage);
    ret->size = atomic_load(&c->size);
    ret->gen = atomic_load(&c->gen);
}

void
sf_content_thaw(struct sf_content *c, struct sf_snapshot *snap, bool stored)
{
    sf_mutex_lock(&c->io);
    if (stored && snap->gen > atomic_load(&c->clean_gen))
        atomic_store(&c->clean_gen, snap->gen);
    if (c->stage == snap->stage && !c->stage->moved) {
        c->frozen = c->stage->kept;
        if (stored && !sf_content_dirty(c))
            sf_stage_mark_clean(c->stage);
    }
    sf_mutex_unlock(&c->io);
    sf_stage_unref(sf_steal(snap->stage));
}

int
sf_content_load_begin(struct sf_content *c, struct sf_stage **ret)
{
    SF_GUARD(&c->io);
    if (c->loading)
        return -EBUSY;
    if (c->frozen || atomic_load(&c->size) || sf_content_dirty(c))
        return -EINVAL;
    c->loading = true;
    sf_stage_mark_clean(c->stage);
    *ret = sf_stage_ref(c->stage);
    return 0;
}

void
sf_content_load_end(struct sf_content *c, struct sf_stage *stage, bool ok, uint64_t size)
{
    sf_mutex_lock(&c->io);
    c->loading = false;
    if (ok)
        set_size(c, size);
    else if (ftruncate(stage->fd, 0) < 0)
        c->frozen = true; /* what it holds is never shown: size stays 0, a change starts afresh */
    sf_mutex_unlock(&c->io);
    sf_stage_unref(stage);
}
