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
#include "write/commit.h"
#include "write/content.h"
#include "write/journal.h"
#include "write/keep.h"
#include "write/pending.h"
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
        rc = sf_record_set(&rec->set_cache_control, put->cache_control);
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

/* The record goes on with another file: the one it has goes by its name when that lasts. */
static void
leave_file(struct sf_content *c)
{
    struct sf_kept *k = &c->kept;
    free(k->old_file); /* the journal may still name it: the next start decides */
    k->old_file = sf_steal(k->rec.file);
    k->held = false;
}

void
sf_kept_begin(struct sf_content *c, const struct sf_snapshot *snap, struct sf_put *put)
{
    struct sf_kept *k = &c->kept;
    struct sf_record *rec = &k->rec;
    put->progress = &k->progress;
    atomic_store(&k->progress.sent, 0);
    memcpy(put->former, rec->former, sizeof put->former);
    put->former_left = rec->target.etag[0] ? &rec->target : NULL;
    if (is_of(c, snap, put) && fill_extents(c, snap, rec) == 0) {
        put->resume = is_open(rec) && !k->untried;
        if (is_open(rec) && k->untried)
            memcpy(put->op, rec->op, sizeof put->op);
        put->rec = rec;
        put->seq = &k->seq;
        put->inlined = k->inlined;
        return;
    }
    k->inlined = false;
    if (is_open(rec) && !k->untried) /* what came of it is ours, and no conflict */
        sf_former_add(rec->former, rec->op);
    memcpy(put->former, rec->former, sizeof put->former);
    if (rec->file && strcmp(rec->file, sf_snapshot_file(snap)) != 0)
        leave_file(c);
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

/* What lasts now waits for the next attempt, unless a later state does already. */
static void
put_back(struct sf_content *c, const struct sf_snapshot *snap, bool reached)
{
    struct sf_kept *k = &c->kept;
    struct sf_keep *keep = malloc(sizeof *keep), *rest = NULL;
    if (!keep)
        return;
    *keep = (struct sf_keep){
        .snap = *snap, .rec = k->rec, .inlined = k->inlined, .untried = k->untried && !reached};
    keep->leaves.size = snap->size;
    if (snap->digested)
        memcpy(keep->leaves.etag, snap->digests.md5_etag, sizeof snap->digests.md5_etag);
    sf_stage_ref(snap->stage);
    k->rec = (struct sf_record){0};
    int64_t made_ns = keep->rec.made_ns;
    sf_mutex_lock(&c->lock);
    if (c->keep || atomic_load(&c->abandoned))
        rest = keep;
    else
        (void)sf_keep_swap_locked(c, keep);
    sf_mutex_unlock(&c->lock);
    atomic_store(&k->seq, 0);
    atomic_store(&k->durable, false);
    if (rest)
        sf_keep_discard(c, rest, true);
    else
        sf_room_charge(c->w, &c->charge, snap->size, made_ns);
}

/* Bytes and record shall last. */
static void
hold(struct sf_content *c, const struct sf_snapshot *snap, const struct sf_err *err, bool reached)
{
    struct sf_kept *k = &c->kept;
    struct sf_record *rec = &k->rec;
    bool held = sf_failure_is_held(err);
    bool keep_state = rec->state == SF_RECORD_CONTENT_RESUMABLE ||
                      rec->state == SF_RECORD_CONTENT_MARKING || err->outcome_open;
    atomic_store(&k->progress.sent, 0); /* of bytes that nobody has got */
    if (!rec->file)
        return;
    if (rec->seq && !atomic_load(&k->seq)) { /* given up meanwhile */
        sf_journal_drop(c->w->journal, rec->seq);
        rec->seq = 0;
        remove_old(c);
        return;
    }
    if (!held)
        rec->state = SF_RECORD_CONTENT_REFUSED;
    else if (!keep_state || !rec->op[0])
        rec->state = SF_RECORD_CONTENT_HELD;
    rec->attempts++;
    rec->err = err->code;
    (void)sf_record_set(&rec->reason, err->msg);
    int rc = k->inlined ? 0 : sf_snapshot_sync(snap);
    rec->synced = rc == 0;
    if (!rc)
        rc = sf_kept_put(c->w, rec, k->inlined, snap->stage->fd);
    if (rc) {
        sf_warn("write", "event=not-kept object=%s/%s bytes=%llu err=%s text=%s", rec->bucket,
                rec->key, (unsigned long long)rec->size, sf_errno_name(rc),
                "the bytes are in staging/, and may not last over a power loss");
        return;
    }
    atomic_store(&k->seq, rec->seq);
    atomic_store(&k->durable, true);
    if (!k->held)
        atomic_fetch_add(&snap->stage->held, 1);
    k->held = true;
    remove_old(c);
    sf_step(held ? SF_STEP_CONTENT_HELD : SF_STEP_CONTENT_REFUSED);
    if (held) {
        k->held = false; /* it goes with what is put back */
        put_back(c, snap, reached);
    }
}

/* If nothing more of it is kept, or about to be. */
static void
leave_room(struct sf_content *c)
{
    sf_mutex_lock(&c->lock);
    bool has = sf_content_has_record_locked(c);
    sf_mutex_unlock(&c->lock);
    if (!has)
        sf_room_leave(c->w, &c->charge);
}

void
sf_kept_end(struct sf_content *c, const struct sf_snapshot *snap, const struct sf_put *put,
            const struct sf_err *err)
{
    struct sf_kept *k = &c->kept;
    if (err && !atomic_load(&c->abandoned)) {
        hold(c, snap, err, put->reached);
        if (sf_failure_is_held(err) && sf_room_failed(c->w, &c->charge))
            sf_warn("write", "event=upload-stuck object=%s/%s bytes=%llu err=%s reason=%s text=%s",
                    put->bucket, put->key, (unsigned long long)snap->size, sf_errno_name(err->code),
                    err->msg, "others are sent; it is tried on, and holds up no close()");
        return;
    }
    if (k->held)
        atomic_fetch_sub(&snap->stage->held, 1);
    k->held = false;
    if (k->rec.seq)
        sf_journal_drop(c->w->journal, k->rec.seq);
    atomic_store(&k->seq, 0);
    atomic_store(&k->durable, false);
    sf_record_fini(&k->rec);
    remove_old(c);
    sf_step(SF_STEP_CONTENT_DONE);
    if (!err)
        sf_room_stored(c->w);
    leave_room(c);
}

void
sf_kept_drop(struct sf_content *c)
{
    uint64_t seq = atomic_exchange(&c->kept.seq, 0);
    sf_mutex_lock(&c->lock);
    struct sf_keep *keep = sf_keep_swap_locked(c, NULL);
    sf_mutex_unlock(&c->lock);
    atomic_store(&c->kept.durable, false);
    if (seq)
        sf_journal_drop(c->w->journal, seq);
    if (keep)
        sf_keep_discard(c, keep, true);
    leave_room(c);
}

void
sf_kept_take(struct sf_content *c, struct sf_keep *keep, uint64_t refused)
{
    struct sf_kept *k = &c->kept;
    if (k->rec.file && strcmp(k->rec.file, keep->rec.file) != 0)
        leave_file(c);
    else if (k->held) /* twice, and once is enough */
        atomic_fetch_sub(&keep->snap.stage->held, 1);
    sf_record_fini(&k->rec); /* of a state before, which was refused */
    if (refused)
        sf_journal_drop(c->w->journal, refused);
    k->rec = keep->rec;
    k->gen = keep->snap.gen;
    k->inlined = keep->inlined;
    k->untried = keep->untried;
    k->held = true;
    free(keep);
}

void
sf_kept_fini(struct sf_content *c)
{
    const char *file = c->kept.rec.file;
    if (c->keep) { /* for the next process */
        atomic_fetch_add(&c->keep->snap.stage->held, 1);
        sf_keep_discard(c, sf_steal(c->keep), false);
    }
    if (!atomic_load(&c->kept.seq)) {
        if (file && strcmp(file, strrchr(c->stage->path, '/') + 1) != 0)
            remove_file(c, file);
        else if (c->kept.held) /* for a record that is gone */
            atomic_fetch_sub(&c->stage->held, 1);
        remove_old(c);
    }
    free(c->kept.old_file);
    sf_record_fini(&c->kept.rec);
}

/* ---- what others see ------------------------------------------------------------------------ */

uint64_t
sf_kept_seq(const struct sf_content *c)
{
    uint64_t seq = atomic_load(&c->kept.seq);
    return seq ? seq : atomic_load(&c->kept.next_seq);
}

struct sf_keep *
sf_keep_swap_locked(struct sf_content *c, struct sf_keep *keep)
{
    struct sf_keep *old = c->keep;
    c->keep = keep;
    atomic_store(&c->kept.next_seq, keep ? keep->rec.seq : 0);
    return old;
}

uint64_t
sf_content_asked_gen_locked(const struct sf_content *c)
{
    uint64_t gen = c->keep ? c->keep->snap.gen : c->sending_kept ? c->up->gen : 0, want = 0;
    if (c->up)
        want = c->up->want;
    if (c->next && c->next->want > want)
        want = c->next->want;
    return gen > want ? gen : want ? want : atomic_load(&c->gen);
}

bool
sf_content_has_record_locked(const struct sf_content *c)
{
    return c->keep || (atomic_load(&c->kept.seq) && atomic_load(&c->kept.durable));
}

bool
sf_content_kept(struct sf_content *c)
{
    SF_GUARD(&c->lock);
    return sf_content_has_record_locked(c) && (!c->failure.code || sf_failure_is_held(&c->failure));
}

void
sf_content_sync_state(struct sf_content *c, char *buf, size_t size)
{
    SF_GUARD(&c->lock);
    const struct sf_err *why = &c->failure;
    if (!sf_content_dirty(c))
        snprintf(buf, size, "clean");
    else if (c->uploading)
        snprintf(buf, size, "uploading %u %%", sf_pending_percent(c));
    else if (why->code)
        snprintf(buf, size, "%s: %s", sf_failure_is_held(why) ? "pending" : "failed", why->msg);
    else
        snprintf(buf, size, "%s", sf_content_has_record_locked(c) ? "pending" : "dirty");
}
