/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/kept.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "observe/log.h"
#include "write/content.h"
#include "write/journal.h"
#include "write/put.h"
#include "write/step.h"

/* Does the record speak of an upload of exactly these bytes to this key? */
static bool
is_of(const struct sf_content *c, const struct sf_snapshot *snap, const struct sf_put *put)
{
    const struct sf_record *rec = &c->kept.rec;
    return rec->seq && c->kept.gen == snap->gen && rec->size == snap->size &&
           strcmp(rec->file, sf_snapshot_file(snap)) == 0 && strcmp(rec->key, put->key) == 0 &&
           strcmp(rec->bucket, put->bucket) == 0;
}

/* May the service have got something under the record's operation id? What it is not known to have
 * refused may be on its way still. */
static bool
is_open(const struct sf_record *rec)
{
    return rec->op[0] && rec->state != SF_RECORD_CONTENT_REFUSED;
}

/* Which bytes the file has, and where the others come from. */
static int
fill_extents(struct sf_content *c, const struct sf_snapshot *snap, struct sf_record *rec)
{
    struct sf_extents has = {.n = 0};
    int rc = sf_snapshot_extents(c, snap, &has);
    free(sf_steal(rec->extents));
    free(sf_steal(rec->from_bucket));
    free(sf_steal(rec->from_key));
    rec->n_extents = 0;
    rec->whole = rc == 1;
    if (rc)
        return rc < 0 ? rc : 0;
    rec->extents = has.v;
    rec->n_extents = has.n;
    rc = sf_content_source(c, &rec->from_bucket, &rec->from_key, &rec->source);
    return rc < 0 ? rc : rc == 0 ? -EINVAL : 0;
}

static int
fill(struct sf_content *c, const struct sf_snapshot *snap, const struct sf_put *put)
{
    struct sf_record *rec = &c->kept.rec;
    int rc = sf_record_set(&rec->bucket, put->bucket);
    if (!rc)
        rc = sf_record_set(&rec->key, put->key);
    if (!rc)
        rc = sf_record_set(&rec->file, sf_snapshot_file(snap));
    if (!rc)
        rc = sf_record_set(&rec->mime, put->mime);
    if (!rc)
        rc = sf_record_set(&rec->mark, put->mark);
    if (!rc)
        rc = sf_record_set(&rec->xattrs, put->xattrs);
    if (!rc)
        rc = fill_extents(c, snap, rec);
    rec->kind = SF_RECORD_CONTENT;
    rec->state = SF_RECORD_CONTENT_HELD;
    rec->size = snap->size;
    rec->guessed = !put->mime;
    rec->exists = put->exists;
    rec->exclusive = put->exclusive;
    rec->base = put->base ? *put->base : (struct sf_version){.id = ""};
    return rc;
}

void
sf_kept_begin(struct sf_content *c, const struct sf_snapshot *snap, struct sf_put *put)
{
    struct sf_kept *k = &c->kept;
    struct sf_record *rec = &k->rec;
    put->progress = &k->progress;
    atomic_store(&k->progress.sent, 0);
    if (is_of(c, snap, put) && fill_extents(c, snap, rec) == 0) {
        put->resume = is_open(rec);
        put->rec = rec;
        put->seq = &k->seq;
        return;
    }
    if (is_open(rec)) /* what came of it is ours, and no conflict */
        memcpy(put->former_op, rec->op, sizeof put->former_op);
    if (rec->file && strcmp(rec->file, sf_snapshot_file(snap)) != 0) {
        free(k->old_file);
        k->old_file = sf_steal(rec->file);
    }
    rec->op[0] = rec->sha256[0] = '\0';
    rec->tus_size = 0;
    (void)sf_record_set(&rec->tus, NULL);
    (void)sf_record_set(&rec->conflict_key, NULL);
    (void)sf_record_set(&rec->cache_control, NULL);
    (void)sf_record_set(&rec->metadata, NULL);
    if (fill(c, snap, put))
        return; /* no memory: it goes without a record */
    sf_boot_id(rec->boot);
    k->gen = snap->gen;
    /* What lasts is not replaced by what may not. */
    rec->synced = atomic_load(&k->durable) && sf_snapshot_sync(snap) == 0;
    put->rec = rec;
    put->seq = &k->seq;
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
remove_file(const struct sf_content *c, const char *name)
{
    sf_autofree char *path = NULL;
    if (!name || asprintf(&path, "%s/%s", c->w->staging, name) < 0) {
        path = NULL;
        return;
    }
    unlink(path);
}

static void
remove_old(struct sf_content *c)
{
    sf_autofree char *name = sf_steal(c->kept.old_file);
    remove_file(c, name);
}

static void
set_held(struct sf_content *c, const struct sf_snapshot *snap, bool held)
{
    SF_GUARD(&c->io);
    snap->stage->held = held;
}

/* Bytes and record shall last. */
static void
hold(struct sf_content *c, const struct sf_snapshot *snap, const struct sf_err *err)
{
    struct sf_kept *k = &c->kept;
    struct sf_record *rec = &k->rec;
    bool held = sf_failure_is_held(err);
    bool keep_state = rec->state == SF_RECORD_CONTENT_RESUMABLE ||
                      rec->state == SF_RECORD_CONTENT_MARKING || err->outcome_open;
    if (!rec->file)
        return;
    if (rec->seq && !atomic_load(&k->seq)) { /* given up meanwhile */
        sf_journal_drop(c->w->journal, rec->seq);
        rec->seq = 0;
        return;
    }
    if (!held)
        rec->state = SF_RECORD_CONTENT_REFUSED;
    else if (!keep_state || !rec->op[0])
        rec->state = SF_RECORD_CONTENT_HELD;
    rec->attempts++;
    rec->err = err->code;
    (void)sf_record_set(&rec->reason, err->msg);
    int rc = sf_snapshot_sync(snap);
    rec->synced = rc == 0;
    if (!rc)
        rc = sf_journal_put(c->w->journal, rec);
    if (rc) {
        sf_warn("write", "event=not-kept object=%s/%s bytes=%llu err=%s text=%s", rec->bucket,
                rec->key, (unsigned long long)rec->size, sf_errno_name(rc),
                "the bytes are in staging/, and may not last over a power loss");
        return;
    }
    atomic_store(&k->seq, rec->seq);
    atomic_store(&k->durable, true);
    set_held(c, snap, true);
    remove_old(c);
    sf_step(held ? SF_STEP_CONTENT_HELD : SF_STEP_CONTENT_REFUSED);
}

void
sf_kept_end(struct sf_content *c, const struct sf_snapshot *snap, const struct sf_err *err)
{
    struct sf_kept *k = &c->kept;
    if (err && !atomic_load(&c->abandoned)) {
        hold(c, snap, err);
        return;
    }
    set_held(c, snap, false);
    if (k->rec.seq)
        sf_journal_drop(c->w->journal, k->rec.seq);
    atomic_store(&k->seq, 0);
    atomic_store(&k->durable, false);
    sf_record_fini(&k->rec);
    remove_old(c);
    sf_step(SF_STEP_CONTENT_DONE);
}

void
sf_kept_drop(struct sf_content *c)
{
    uint64_t seq = atomic_exchange(&c->kept.seq, 0);
    atomic_store(&c->kept.durable, false);
    if (seq)
        sf_journal_drop(c->w->journal, seq);
}

void
sf_kept_fini(struct sf_content *c)
{
    const char *file = c->kept.rec.file;
    if (!atomic_load(&c->kept.seq)) {
        c->stage->held = false; /* it goes with its last reference */
        if (file && strcmp(file, strrchr(c->stage->path, '/') + 1) != 0)
            remove_file(c, file);
        remove_old(c);
    }
    free(c->kept.old_file);
    sf_record_fini(&c->kept.rec);
}

/* ---- what others see ------------------------------------------------------------------------ */

bool
sf_content_kept(struct sf_content *c)
{
    if (!atomic_load(&c->kept.seq) || !atomic_load(&c->kept.durable))
        return false;
    SF_GUARD(&c->lock);
    return !c->failure.code || sf_failure_is_held(&c->failure);
}

void
sf_content_sync_state(struct sf_content *c, char *buf, size_t size)
{
    uint64_t all = sf_content_size(c), sent = atomic_load(&c->kept.progress.sent);
    SF_GUARD(&c->lock);
    const struct sf_err *why = &c->failure;
    if (!sf_content_dirty(c))
        snprintf(buf, size, "clean");
    else if (c->uploading)
        snprintf(buf, size, "uploading %u %%",
                 all ? (unsigned)(100 * (sent < all ? sent : all) / all) : 0);
    else if (why->code)
        snprintf(buf, size, "%s: %s", sf_failure_is_held(why) ? "pending" : "failed", why->msg);
    else
        snprintf(buf, size, "%s", sf_content_kept(c) ? "pending" : "dirty");
}
