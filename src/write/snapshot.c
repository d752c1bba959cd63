/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/content.h"
#include "write/fetch.h"
#include "write/keep.h"

/* A content that begins with an object's bytes, and the states of it that are sent. */

/* ---- beginning ------------------------------------------------------------------------------ */

/* An empty content begins anew, with this object's bytes, in a file of its own size. */
static int
take_locked_io(struct sf_content *c, const struct sf_source *src)
{
    SF_ASSERT_HELD(&c->io);
    uint64_t size = src->version.size;
    struct sf_base *base = c->base;
    if (size > INT64_MAX)
        return -EFBIG;
    int rc = base ? sf_base_set(base, src) : sf_base_new(c, src, &base);
    if (!rc && ftruncate(c->stage->fd, (off_t)size) < 0)
        rc = -errno;
    sf_mutex_lock(&c->lock);
    c->base = base;
    if (!rc) {
        sf_extents_fini(&c->stage->present);
        c->stage->whole = size == 0;
        sf_content_set_size(c, size);
    }
    sf_mutex_unlock(&c->lock);
    if (rc)
        return rc;
    sf_stage_mark_partial(c->stage, size > 0);
    sf_hashing_reset(&c->hashing);
    c->as_source = c->appended = true;
    atomic_store(&c->seen, src->seen);
    return 0;
}

int
sf_content_of(struct sf_writer *w, const char *bucket, const char *key, const struct sf_source *src,
              struct sf_content **ret, struct sf_err *err)
{
    struct sf_content *c;
    int rc = sf_content_new(w, bucket, key, &c, err);
    if (rc)
        return rc;
    sf_mutex_lock(&c->io);
    rc = take_locked_io(c, src);
    sf_stage_mark_clean(c->stage);
    sf_mutex_unlock(&c->io);
    if (rc) {
        sf_content_unref(c);
        return sf_err_set(err, rc, "cannot stage %s/%s: %s", bucket, key, strerror(-rc));
    }
    *ret = c;
    return 0;
}

int
sf_content_take(struct sf_content *c, const struct sf_source *src)
{
    SF_GUARD(&c->io);
    if (atomic_load(&c->size))
        return -EINVAL;
    int rc = sf_content_begin_change(c, 0);
    if (!rc)
        rc = take_locked_io(c, src);
    if (!rc)
        atomic_fetch_add(&c->gen, 1);
    return rc;
}

int
sf_content_adopt(struct sf_writer *w, const char *bucket, const char *key, const char *file,
                 uint64_t size, bool whole, const struct sf_extent *extents, size_t n,
                 const struct sf_source *src, struct sf_content **ret, struct sf_err *err)
{
    struct sf_stage *s;
    struct sf_content *c;
    struct stat st;
    sf_autofree char *path = NULL;
    if (strchr(file, '/') || asprintf(&path, "%s/%s", w->staging, file) < 0)
        path = NULL;
    int rc = path ? sf_stage_adopt(w, path, &s) : -EINVAL;
    if (rc)
        return sf_err_set(err, rc, "staged file %s: %s", file, strerror(-rc));
    if (fstat(s->fd, &st) < 0)
        rc = -errno;
    else if ((uint64_t)st.st_size < size || (n && extents[n - 1].end > size))
        rc = -EINVAL;
    if (!rc && !whole) {
        rc = sf_extents_set(&s->present, extents, n);
        s->whole = !rc && sf_extents_missing(&s->present, size) == 0;
        if (!rc && !s->whole && !src)
            rc = -EINVAL;
    }
    if (!rc && ftruncate(s->fd, (off_t)size) < 0)
        rc = -errno;
    if (rc) {
        sf_stage_keep(s); /* whoever asked decides what becomes of it */
        sf_stage_unref(s);
        return sf_err_set(err, rc, "staged file %s: %s", file, strerror(-rc));
    }
    rc = sf_content_alloc(w, bucket, key, s, &c, err);
    if (!rc && src && (rc = sf_base_new(c, src, &c->base))) {
        sf_stage_keep(s);
        sf_content_unref(c);
        return sf_err_set(err, rc, "out of memory");
    }
    if (rc)
        return rc;
    sf_content_set_size(c, size);
    atomic_fetch_add(&c->gen, 1);
    if (size)
        sf_hashing_break(&c->hashing);
    atomic_store(&c->seen, true);
    *ret = c;
    return 0;
}

/* ---- what is missing ------------------------------------------------------------------------ */

struct sf_stage *
sf_content_stage_locked(const struct sf_content *c, enum sf_content_stage which)
{
    switch (which) {
    case SF_STAGE_NOW:
        return c->stage;
    case SF_STAGE_SENT:
        return c->sent;
    case SF_STAGE_KEPT:
        return c->keep ? c->keep->snap.stage : NULL;
    case SF_STAGE_KEEPING:
        return sf_keeping_stage_locked(c);
    case SF_STAGES:
        break;
    }
    return NULL;
}

/* The files of the content, each once and counted. */
static size_t
stages_locked(struct sf_content *c, struct sf_stage *out[SF_STAGES])
{
    size_t n = 0, i;
    for (int which = 0; which < SF_STAGES; which++) {
        struct sf_stage *s = sf_content_stage_locked(c, (enum sf_content_stage)which);
        for (i = 0; i < n && out[i] != s; i++)
            ;
        if (s && i == n)
            out[n++] = sf_stage_ref(s);
    }
    return n;
}

static uint64_t
missing_locked(const struct sf_stage *s, uint64_t size)
{
    return s->whole ? 0 : sf_extents_missing(&s->present, size);
}

uint64_t
sf_content_missing(struct sf_content *c)
{
    SF_GUARD(&c->lock);
    struct stat st;
    uint64_t n = missing_locked(c->stage, atomic_load(&c->size));
    for (int which = SF_STAGE_SENT; which < SF_STAGES; which++) {
        const struct sf_stage *s = sf_content_stage_locked(c, (enum sf_content_stage)which);
        if (s && s != c->stage && !s->whole && fstat(s->fd, &st) == 0)
            n += missing_locked(s, (uint64_t)st.st_size);
    }
    return n;
}

bool
sf_content_lacks(struct sf_content *c)
{
    return sf_content_missing(c) > 0;
}

bool
sf_content_sha256(struct sf_content *c, char hex[65])
{
    struct sf_digests d;
    SF_GUARD(&c->io);
    if (sf_content_lacks(c) || !sf_hashing_result(&c->hashing, atomic_load(&c->size), &d))
        return false;
    memcpy(hex, d.sha256, sizeof d.sha256);
    return true;
}

/* What @s lacks of a range that was read. */
static int
store_locked_io(struct sf_content *c, struct sf_stage *s, const char *buf, uint64_t off, size_t len)
{
    struct sf_extent gap;
    uint64_t at = off;
    struct stat st;
    if (s->whole)
        return 0;
    if (fstat(s->fd, &st) < 0)
        return -errno;
    uint64_t size = (uint64_t)st.st_size, end = off + len < size ? off + len : size;
    for (;;) {
        sf_mutex_lock(&c->lock);
        bool more = at < end && sf_extents_gap(&s->present, at, end, &gap);
        int rc = more ? sf_extents_reserve(&s->present) : 0;
        sf_mutex_unlock(&c->lock);
        if (!more || rc)
            return rc;
        rc = sf_pwrite_full(s->fd, buf + (gap.off - off), (size_t)(gap.end - gap.off),
                            (off_t)gap.off);
        if (rc)
            return rc;
        sf_content_note_present(c, s, gap.off, gap.end, size);
        at = gap.end;
        if (s->whole)
            return 0;
    }
}

int
sf_content_store(struct sf_content *c, const char *buf, uint64_t off, size_t len, unsigned gen)
{
    struct sf_stage *files[SF_STAGES];
    SF_GUARD(&c->io);
    if (sf_base_gen(c->base) != gen)
        return 0;
    sf_mutex_lock(&c->lock);
    size_t n = stages_locked(c, files);
    sf_mutex_unlock(&c->lock);
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        if (!rc)
            rc = store_locked_io(c, files[i], buf, off, len);
        sf_stage_unref(files[i]);
    }
    return rc;
}

/* ---- snapshots ------------------------------------------------------------------------------ */

void
sf_content_snap_locked_io(struct sf_content *c, struct sf_snapshot *ret)
{
    SF_ASSERT_HELD(&c->io);
    c->frozen = true;
    *ret = (struct sf_snapshot){.stage = sf_stage_ref(c->stage),
                                .size = atomic_load(&c->size),
                                .gen = atomic_load(&c->gen),
                                .as_source = c->as_source};
    ret->digested = sf_hashing_result(&c->hashing, ret->size, &ret->digests);
}

static void
send_locked_io(struct sf_content *c, struct sf_snapshot *snap)
{
    SF_ASSERT_HELD(&c->io);
    sf_mutex_lock(&c->lock);
    struct sf_stage *old = c->sent;
    c->sent = sf_stage_ref(snap->stage);
    sf_mutex_unlock(&c->lock);
    sf_stage_unref(old);
}

static void
freeze_locked_io(struct sf_content *c, struct sf_snapshot *ret)
{
    sf_content_snap_locked_io(c, ret);
    send_locked_io(c, ret);
}

void
sf_content_send(struct sf_content *c, struct sf_snapshot *snap)
{
    SF_GUARD(&c->io);
    send_locked_io(c, snap);
}

void
sf_content_freeze(struct sf_content *c, struct sf_snapshot *ret)
{
    SF_GUARD(&c->io);
    freeze_locked_io(c, ret);
}

void
sf_content_thaw(struct sf_content *c, struct sf_snapshot *snap, bool stored)
{
    sf_mutex_lock(&c->io);
    if (stored && snap->gen > atomic_load(&c->clean_gen))
        atomic_store(&c->clean_gen, snap->gen);
    if (c->stage == snap->stage && !c->stage->moved) {
        c->frozen = c->stage->kept || c->stage->held || c->stage->lent;
        if (stored && !sf_content_dirty(c))
            sf_stage_mark_clean(c->stage);
    }
    sf_mutex_lock(&c->lock);
    struct sf_stage *sent = sf_steal(c->sent);
    sf_mutex_unlock(&c->lock);
    sf_mutex_unlock(&c->io);
    sf_stage_unref(sent);
    sf_stage_unref(sf_steal(snap->stage));
}

int
sf_content_fill_wait(struct sf_content *c, struct sf_snapshot *snap, int64_t deadline_ms,
                     struct sf_err *err)
{
    for (int turns = 0;; turns++) {
        struct sf_err e = SF_ERR_INIT;
        int rc = sf_fill_sent_wait(c, deadline_ms, &e);
        struct sf_err moved = SF_ERR_INIT;
        int re = rc == -ESTALE && turns < 8 ? sf_content_rebase_wait(c, snap, deadline_ms, &moved)
                                            : -ESTALE;
        if (!re)
            continue;
        if (rc && re == -EAGAIN) {
            rc = re;
            e = moved;
        }
        if (rc && err)
            *err = e;
        return rc;
    }
}

/* A new file: @size bytes to be fetched, then what was appended to the @old ones. */
static int
append_to_locked_io(struct sf_content *c, uint64_t old, uint64_t size, struct sf_stage **ret)
{
    struct sf_stage *s;
    struct sf_extents present = {0};
    uint64_t tail = atomic_load(&c->size) - old, end = size + tail;
    if (end > INT64_MAX)
        return -EFBIG;
    int rc = sf_content_stage_new(c, &s);
    if (rc)
        return rc;
    rc = sf_stage_copy_range(s, size, c->stage, old, tail);
    if (!rc && ftruncate(s->fd, (off_t)end) < 0)
        rc = -errno;
    if (!rc)
        rc = sf_extents_add(&present, size, end);
    if (rc) {
        sf_stage_unref(s);
        return rc;
    }
    s->present = present;
    s->whole = size == 0;
    sf_stage_mark_partial(s, !s->whole);
    *ret = s;
    return 0;
}

static bool
only_appended(struct sf_content *c)
{
    sf_mutex_lock(&c->io);
    bool ok = c->base && c->appended && !atomic_load(&c->seen);
    sf_mutex_unlock(&c->io);
    if (!ok)
        return false;
    sf_mutex_lock(&c->lock);
    ok = sf_base_is(c->base, c->bucket, c->key);
    sf_mutex_unlock(&c->lock);
    return ok;
}

int
sf_content_rebase_wait(struct sf_content *c, struct sf_snapshot *snap, int64_t deadline_ms,
                       struct sf_err *err)
{
    sf_autoobject struct sf_object now = {0};
    sf_autofree char *bucket = NULL, *key = NULL;
    struct sf_version was, is;
    struct sf_stage *s = NULL;
    if (!only_appended(c))
        return sf_err_set(err, -ESTALE, "more than an append was done to another version");
    int rc = sf_base_get(c->base, &bucket, &key, &was);
    if (!rc)
        rc = sf_storage_info_wait(c->w->st, bucket, key, deadline_ms, &now, err);
    if (rc)
        return sf_err_set(err, rc == -ENOENT ? -ESTALE : rc, "append to %s: no such object",
                          key ? key : "");
    sf_version_of_object(&now, &is);
    SF_GUARD(&c->io);
    sf_mutex_lock(&c->lock);
    bool others = c->keep || c->keeping;
    sf_mutex_unlock(&c->lock);
    if (others) { /* which begin with the old version; the last of them is appended to the new one
                   */
        (void)!sf_err_set(err, -EAGAIN, "%s/%s was written since", bucket, key);
        if (err)
            err->retryable = true;
        return -EAGAIN;
    }
    if (!c->appended || atomic_load(&c->seen) || sf_base_size(c->base) != was.size)
        return sf_err_set(err, -ESTALE, "more than an append was done to another version");
    rc = append_to_locked_io(c, was.size, is.size, &s);
    if (rc)
        return sf_err_set(err, rc, "append to %s/%s: %s", bucket, key, strerror(-rc));
    sf_info("write", "event=append-moved object=%s/%s from=%llu to=%llu", bucket, key,
            (unsigned long long)was.size, (unsigned long long)is.size);
    sf_base_renew(c->base, &is);
    uint64_t end = is.size + (atomic_load(&c->size) - was.size);
    sf_content_set_stage(c, s);
    sf_content_set_size(c, end);
    sf_hashing_break(&c->hashing);
    c->as_source = false;
    sf_stage_unref(sf_steal(snap->stage));
    freeze_locked_io(c, snap);
    snap->rebased = true;
    return 0;
}

int
sf_snapshot_digest(struct sf_snapshot *snap)
{
    if (snap->digested)
        return 0;
    int rc = sf_digest_file(snap->stage->fd, snap->size, &snap->digests);
    snap->digested = rc == 0;
    return rc;
}

/* ---- for the journal ------------------------------------------------------------------------ */

const char *
sf_snapshot_file(const struct sf_snapshot *snap)
{
    return strrchr(snap->stage->path, '/') + 1;
}

int
sf_snapshot_extents(struct sf_content *c, const struct sf_snapshot *snap, struct sf_extents *ret)
{
    SF_GUARD(&c->lock);
    return snap->stage->whole ? 1 : sf_extents_copy(ret, &snap->stage->present);
}

int
sf_content_source(struct sf_content *c, char **bucket, char **key, struct sf_version *version)
{
    sf_mutex_lock(&c->lock);
    struct sf_base *base = c->base;
    sf_mutex_unlock(&c->lock);
    if (!base)
        return 0;
    int rc = sf_base_get(base, bucket, key, version);
    return rc ? rc : 1;
}

int
sf_snapshot_sync(const struct sf_snapshot *snap)
{
    sf_count(SF_C_SYNCS, 2);
    if (fdatasync(snap->stage->fd) < 0)
        return -errno;
    return sf_fsync_parent(snap->stage->path);
}
