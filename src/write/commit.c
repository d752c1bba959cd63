/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/commit.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/bytes.h"
#include "write/delete.h"
#include "write/fetch.h"
#include "write/keep.h"

static void upload_run(struct sf_job *job, const struct sf_err *refused);

void
sf_upload_free(struct sf_upload *up)
{
    sf_content_unref(up->c);
    free(up->bucket);
    free(up->key);
    free(up->mime);
    free(up->mark);
    free(up->xattrs);
    free(up->cache_control);
    free(up);
}

static int
copy_text(char **to, const char *from)
{
    *to = from ? strdup(from) : NULL;
    return from && !*to ? -ENOMEM : 0;
}

/* What is asked for now, in place of what was asked for before. 0 or -ENOMEM. */
static int
upload_take_args_locked(struct sf_upload *up, const struct sf_commit_args *args)
{
    char *mime, *mark, *xattrs, *cache_control;
    int rc = copy_text(&mime, args->mime);
    rc = copy_text(&mark, args->mark) ? -ENOMEM : rc;
    rc = copy_text(&xattrs, args->xattrs) ? -ENOMEM : rc;
    rc = copy_text(&cache_control, args->cache_control) ? -ENOMEM : rc;
    if (rc) {
        free(mime);
        free(mark);
        free(xattrs);
        free(cache_control);
        return rc;
    }
    free(up->mime);
    free(up->mark);
    free(up->xattrs);
    free(up->cache_control);
    up->mime = mime;
    up->mark = mark;
    up->xattrs = xattrs;
    up->cache_control = cache_control;
    up->mimes = args->mimes;
    up->max_size = args->max_size;
    up->exists = args->exists;
    up->exclusive = args->exclusive;
    up->have_base = args->base;
    if (args->base)
        up->base = *args->base;
    up->target_seq = up->c->target_seq;
    return 0;
}

struct sf_upload *
sf_upload_new_locked(struct sf_content *c, const struct sf_commit_args *args)
{
    struct sf_upload *up = calloc(1, sizeof *up);
    if (!up)
        return NULL;
    up->job.run = upload_run;
    up->c = sf_content_ref(c);
    up->tail = &up->waiters;
    if (upload_take_args_locked(up, args)) {
        sf_upload_free(up);
        return NULL;
    }
    return up;
}

static void
upload_join_locked(struct sf_upload *up, struct waiter *w)
{
    *up->tail = w;
    up->tail = &w->next;
}

int
sf_upload_aim_locked(struct sf_upload *up)
{
    struct sf_content *c = up->c;
    SF_ASSERT_HELD(&c->lock);
    char *b = strdup(c->bucket), *k = strdup(c->key);
    if (!b || !k) {
        free(b);
        free(k);
        return -ENOMEM;
    }
    free(up->bucket);
    free(up->key);
    up->bucket = b;
    up->key = k;
    return 0;
}

static bool
same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool
sf_upload_says_same(const struct sf_upload *a, const struct sf_upload *b)
{
    return same_text(a->mark, b->mark) && same_text(a->xattrs, b->xattrs) &&
           same_text(a->mime, b->mime) && same_text(a->cache_control, b->cache_control);
}

#define SWAP(a, b)                                                                                 \
    do {                                                                                           \
        __typeof__(a) swap_ = (a);                                                                 \
        (a) = (b);                                                                                 \
        (b) = swap_;                                                                               \
    } while (0)

static void
swap_args_locked(struct sf_upload *a, struct sf_upload *b)
{
    SWAP(a->mime, b->mime);
    SWAP(a->mark, b->mark);
    SWAP(a->xattrs, b->xattrs);
    SWAP(a->cache_control, b->cache_control);
    SWAP(a->mimes, b->mimes);
    SWAP(a->max_size, b->max_size);
    SWAP(a->exists, b->exists);
    SWAP(a->exclusive, b->exclusive);
    SWAP(a->have_base, b->have_base);
    SWAP(a->base, b->base);
    SWAP(a->target_seq, b->target_seq);
}

/* Who waits for the state that was kept before. */
static struct waiter *
take_keeper_locked(struct sf_upload *up)
{
    struct waiter **p = &up->waiters, *w;
    while ((w = *p) && !w->keep)
        p = &w->next;
    if (!w)
        return NULL;
    *p = w->next;
    if (!w->next)
        up->tail = p;
    w->next = NULL;
    return w;
}

struct sf_upload *
sf_upload_for_keep_locked(struct sf_content *c, struct sf_upload **fresh, struct waiter *w,
                          struct waiter **told)
{
    struct sf_upload *up = c->uploading ? c->next : c->up, *queue = NULL;
    SF_ASSERT_HELD(&c->lock);
    if (!up) {
        up = sf_steal(*fresh);
        *(c->uploading ? &c->next : &c->up) = up;
        queue = c->uploading ? NULL : up;
    } else {
        /* Those of a commit that came since the keep was begun are newer. Whose attributes did not
         * go along with his bytes knows it (sf_content_commit()), and writes them afterwards. */
        swap_args_locked(up, *fresh);
        *told = take_keeper_locked(up);
        queue = sf_upload_wake_locked(up) ? up : NULL;
    }
    upload_join_locked(up, w);
    return queue;
}

void
sf_upload_queue(struct sf_upload *up)
{
    struct sf_job_key key = {up->bucket, up->key};
    sf_queue_add(up->c->w->queue, &up->job, &key, 1);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
tell(struct waiter *list, const struct sf_err *err, const struct sf_commit *done)
{
    while (list) {
        struct waiter *w = list;
        list = w->next;
        w->cb(w->arg, err, err ? NULL : done);
        free(w);
    }
}

/* Those who do not mind to wait stay; the others are returned. */
static struct waiter *
part_locked(struct sf_upload *up, struct sf_upload *stay)
{
    struct waiter *list = sf_steal(up->waiters), *told = NULL, **end = &told;
    up->tail = &up->waiters;
    while (list) {
        struct waiter *w = list;
        list = w->next;
        w->next = NULL;
        if (w->patient) {
            upload_join_locked(stay, w);
        } else {
            *end = w;
            end = &w->next;
        }
    }
    return told;
}

static bool
anybody_patient(const struct sf_upload *up)
{
    for (const struct waiter *w = up->waiters; w; w = w->next)
        if (w->patient)
            return true;
    return false;
}

static bool
is_replaced_locked(const struct sf_content *c, const struct sf_upload *next,
                   const struct sf_err *err)
{
    for (const struct waiter *w = next ? next->waiters : NULL; w; w = w->next)
        if (w->keep)
            return true;
    return c->keeping && !sf_failure_is_held(err);
}

void
sf_upload_tell_replaced(struct waiter *w)
{
    const struct sf_commit done = {.superseded = true};
    tell(w, NULL, &done);
}

/* Let the content go on to what was asked for meanwhile, then tell who waited for this one. */
static void
upload_finish(struct sf_upload *up, const struct sf_err *err, struct sf_commit *done)
{
    struct sf_content *c = up->c;
    struct sf_err no_memory = SF_ERR_INIT, why = err ? *err : SF_ERR_INIT;
    struct waiter *lost = NULL, *list;
    sf_mutex_lock(&c->lock);
    assert(c->up == up);
    struct sf_upload *next = sf_steal(c->next);
    c->uploading = c->sending_kept = up->no_rekeep = false;
    c->failure = why;
    if (!err && done->uploaded)
        c->exists = true;
    /* A later state that is kept, or about to be, goes in place of the one that did not. */
    struct waiter *replaced =
        err && is_replaced_locked(c, next, err) ? take_keeper_locked(up) : NULL;
    bool again = err && !up->cancelled && err->code != -ECANCELED && sf_failure_is_held(err) &&
                 anybody_patient(up);
    list = again ? part_locked(up, next ? next : up) : sf_steal(up->waiters);
    if (again && !next && sf_upload_rest_locked(up)) {
        sf_mutex_unlock(&c->lock); /* it goes on from there, and may have gone already */
        tell(list, &why, NULL);
        sf_upload_tell_replaced(replaced);
        return;
    }
    if (again && !next) { /* nobody waits any more at the end */
        lost = sf_steal(up->waiters);
        (void)!sf_err_set(&no_memory, -ECANCELED, "the writer is being stopped");
    }
    if (next && sf_upload_aim_locked(next)) {
        lost = sf_steal(next->waiters);
        (void)!sf_err_set(&no_memory, -ENOMEM, "out of memory");
        c->up = NULL;
        sf_mutex_unlock(&c->lock);
        sf_upload_free(next);
        next = NULL;
    } else {
        c->up = next;
        sf_mutex_unlock(&c->lock);
    }
    if (next)
        sf_upload_queue(next);
    else if (!err && done->uploaded)
        sf_upload_wake_all(c->w); /* the service is there */
    if (!err && done->uploaded)
        sf_deletes_wake(c->w->deletes);
    done->still_dirty = sf_content_dirty(c);
    tell(list, err, done);
    tell(lost, &no_memory, NULL);
    sf_upload_tell_replaced(replaced);
    sf_upload_free(up);
}

/* ---- the upload ----------------------------------------------------------------------------- */

static int
too_large(struct sf_upload *up, uint64_t size, struct sf_err *err)
{
    uint64_t max = sf_writer_limit(up->c->w, up->max_size);
    if (size <= max)
        return 0;
    atomic_fetch_add(&up->c->w->failures, 1);
    sf_count(SF_C_UPLOAD_FAILURES, 1);
    sf_warn("write", "event=upload-refused object=%s/%s bytes=%" PRIu64 " limit=%" PRIu64,
            up->bucket, up->key, size, max);
    return sf_err_set(err, -EFBIG,
                      "%s/%s has %" PRIu64 " bytes, more than the %" PRIu64
                      " that an object may have here",
                      up->bucket, up->key, size, max);
}

/* Which version is replaced: what the caller saw, as long as it speaks of this target; after an
 * upload of our own the one that it made. */
static void
upload_base_locked(struct sf_upload *up, struct sf_put *put)
{
    struct sf_content *c = up->c;
    bool speaks = up->target_seq == c->target_seq;
    SF_ASSERT_HELD(&c->lock);
    put->exists = c->exists || (speaks && up->exists);
    put->exclusive = speaks && up->exclusive && !c->exists;
    put->renamed = c->renamed;
    up->sent_seq = c->target_seq;
    if (c->have_stored && c->stored_seq == c->target_seq) {
        up->base = c->stored;
        put->base = &up->base;
    } else if (speaks && up->have_base) {
        put->base = &up->base;
    }
}

/* What the object is now, for the next upload. */
static void
upload_stored_locked(struct sf_upload *up, const struct sf_put *put)
{
    struct sf_content *c = up->c;
    struct sf_version *v = &c->stored;
    SF_ASSERT_HELD(&c->lock);
    c->have_stored = true;
    c->renamed = c->renamed && up->sent_seq != c->target_seq;
    c->stored_seq = up->sent_seq;
    *v = (struct sf_version){.size = put->size};
    memcpy(v->id, put->id, sizeof v->id);
    memcpy(v->version, put->version, sizeof v->version);
    snprintf(v->etag, sizeof v->etag, "%s", put->etag[0] ? put->etag : put->md5_etag);
}

/* For a copy that the service could not make. */
static int
fill_sent(void *arg, int64_t deadline_ms, struct sf_err *err)
{
    return sf_fill_sent_wait(arg, deadline_ms, err);
}

/* Get what the snapshot lacks, unless the service can copy all of it, and what others lack of the
 * object that it replaces. @from: where it is copied from, for free(). */
static int
upload_fill(struct sf_upload *up, struct sf_snapshot *snap, struct sf_put *put, char *from[2],
            struct sf_err *err)
{
    struct sf_content *c = up->c;
    int64_t deadline_ms = sf_writer_deadline(c->w, snap->size);
    int rc = too_large(up, snap->size, err);
    if (!rc && snap->as_source && sf_content_source(c, &from[0], &from[1], &up->source) == 1) {
        put->from_bucket = from[0];
        put->from_key = from[1];
        put->source = &up->source;
        put->fill = fill_sent;
        put->fill_arg = c;
    } else if (!rc) {
        rc = sf_content_fill_wait(c, snap, deadline_ms, err);
    }
    if (!rc && snap->rebased) { /* it goes on with what others wrote: no conflict */
        sf_autofree char *bucket = NULL, *key = NULL;
        if (sf_content_source(c, &bucket, &key, &up->base) == 1)
            put->base = &up->base;
        rc = too_large(up, snap->size, err);
    }
    return rc ? rc : sf_sources_rescue(c->w, up->bucket, up->key, deadline_ms, err);
}

/* What an upload that begins takes from the content. */
struct taken {
    char op[SF_OP_LEN + 1]; /* a new one; "" = the put says why */
    struct sf_keep *keep;
    bool kept;        /* that is what is sent; else the present state */
    uint64_t refused; /* record of a state before; 0 = none */
};

static void
take_locked(struct sf_upload *up, struct taken *t, struct sf_put *put)
{
    struct sf_content *c = up->c;
    SF_ASSERT_HELD(&c->lock);
    if (c->keep) { /* there is no moment in which nothing seems to be kept */
        t->refused = atomic_exchange(&c->kept.seq, c->keep->rec.seq);
        atomic_store(&c->kept.durable, true);
    }
    struct sf_keep *keep = t->keep = sf_keep_swap_locked(c, NULL);
    t->kept = keep && up->want <= keep->snap.gen;
    c->uploading = true; /* whoever commits from now on may have written what is not sent */
    c->sending_kept = t->kept;
    up->gen = t->kept ? keep->snap.gen : atomic_load(&c->gen);
    memcpy(c->sending_ops, keep ? keep->rec.former : c->kept.rec.former, sizeof c->sending_ops);
    sf_former_add(c->sending_ops, keep ? keep->rec.op : c->kept.rec.op);
    if (!t->kept)
        sf_former_add(c->sending_ops, t->op);
    c->sending_leaves = keep ? keep->leaves : (struct sf_version){.id = ""};
    *put = (struct sf_put){.bucket = up->bucket,
                           .key = up->key,
                           .mime = up->mime,
                           .mimes = up->mimes,
                           .mark = up->mark,
                           .xattrs = up->xattrs,
                           .cache_control = up->cache_control};
    upload_base_locked(up, put);
    memcpy(put->op, t->op, sizeof put->op);
}

/* The state that is sent: what was kept, unless newer bytes are wanted; else the present one. */
static void
take_snapshot(struct sf_content *c, const struct taken *t, struct sf_snapshot *snap)
{
    struct sf_stage *older = t->keep && !t->kept ? t->keep->snap.stage : NULL;
    if (t->kept)
        *snap = t->keep->snap;
    if (t->keep)
        sf_kept_take(c, t->keep, t->refused);
    sf_stage_unref(older); /* its record becomes that of the newer bytes */
    if (t->kept)
        sf_content_send(c, snap);
    else
        sf_content_freeze(c, snap);
}

static int
upload_send(struct sf_upload *up, const struct taken *t, struct sf_put *put, struct sf_commit *done,
            struct sf_err *err)
{
    struct sf_content *c = up->c;
    struct sf_snapshot snap;
    take_snapshot(c, t, &snap);
    sf_autofree char *from_bucket = NULL, *from_key = NULL;
    char *from[2] = {NULL, NULL};
    int rc = upload_fill(up, &snap, put, from, err);
    from_bucket = from[0];
    from_key = from[1];
    sf_mutex_lock(&c->lock);
    up->gen = snap.gen;
    sf_mutex_unlock(&c->lock);

    put->fd = snap.stage->fd;
    put->size = snap.size;
    if (snap.digested) {
        memcpy(put->md5_etag, snap.digests.md5_etag, sizeof put->md5_etag);
        memcpy(put->sha256, snap.digests.sha256, sizeof put->sha256);
    }
    sf_kept_begin(c, &snap, put);
    sf_mutex_lock(&c->w->lock);
    DL_APPEND(c->w->running, up);
    sf_mutex_unlock(&c->w->lock);
    /* A daemon that has ended may have sent it, and made the version of the missing bytes go. */
    bool sent = rc == -ESTALE && sf_put_was_done(c->w, put);
    if (sent) {
        *err = SF_ERR_INIT;
        rc = 0;
    } else if (!rc) {
        rc = sf_put_run(c->w, put, err);
    }
    sf_mutex_lock(&c->w->lock);
    DL_DELETE(c->w->running, up);
    sf_mutex_unlock(&c->w->lock);
    sf_kept_end(c, &snap, put, rc ? err : NULL);
    if (!rc) {
        if (!sent)
            sf_bytes_sent(c, &snap, put);
        sf_mutex_lock(&c->lock);
        upload_stored_locked(up, put);
        sf_mutex_unlock(&c->lock);
    }
    sf_content_thaw(c, &snap, rc == 0);
    if (!rc) {
        sf_put_result(put, done);
        done->rebased = snap.rebased;
    }
    return rc;
}

/* What those hear who waited for an upload that somebody has taken out of the queue. */
static bool
was_dropped(struct sf_upload *up, struct sf_err *err)
{
    if (!atomic_load(&up->dropped))
        return false;
    *err = SF_ERR_INIT;
    (void)!sf_err_set(err, -EPERM, "taken out of the queue (supafs queue drop)");
    return true;
}

enum turn {
    TURN_NOW,
    TURN_LATER, /* somebody else queues it, or has done so */
    TURN_GONE,  /* nobody wants it any more, or @err */
};

/* Is it its turn? Then it has begun before the lock is let go: who renames, removes or keeps the
 * content finds that it has not, and holds it up, or that it has, and comes after it. */
static enum turn
upload_begin(struct sf_upload *up, struct taken *t, struct sf_put *put, struct sf_err *err)
{
    struct sf_content *c = up->c;
    enum sf_upload_defer defer = SF_UPLOAD_GO;
    *t = (struct taken){.op = ""};
    if (!c->w->plain && sf_op_new(t->op))
        t->op[0] = '\0';
    do {
        bool again = false, asked = defer == SF_UPLOAD_ASK;
        if (asked)
            sf_upload_ask(up);
        sf_mutex_lock(&c->lock);
        bool moved = strcmp(c->bucket, up->bucket) != 0 || strcmp(c->key, up->key) != 0;
        int rc = moved ? sf_upload_aim_locked(up) : 0;
        bool blocked = !moved && sf_keep_blocks_locked(up, &again);
        defer = moved || blocked ? SF_UPLOAD_GO : sf_upload_defer_locked(up, asked);
        bool now = !moved && !blocked && defer == SF_UPLOAD_GO && !atomic_load(&c->abandoned) &&
                   !was_dropped(up, err);
        if (now)
            take_locked(up, t, put);
        sf_mutex_unlock(&c->lock);
        if (again)
            sf_keep_again(c);
        if (blocked || defer == SF_UPLOAD_RESTS)
            return TURN_LATER; /* the end of the keep queues it, or its timer */
        if (moved && !rc) {
            sf_upload_queue(up); /* behind what was asked for the new key before */
            return TURN_LATER;
        }
        if (rc)
            (void)!sf_err_set(err, rc, "out of memory");
        if (now)
            return TURN_NOW;
    } while (defer == SF_UPLOAD_ASK);
    return TURN_GONE;
}

static void
upload_run(struct sf_job *job, const struct sf_err *refused)
{
    struct sf_upload *up = (struct sf_upload *)job;
    struct sf_content *c = up->c;
    struct sf_commit done = {.size = sf_content_size(c)};
    struct taken taken;
    struct sf_put put;
    struct sf_err err = SF_ERR_INIT;
    if (!refused && was_dropped(up, &err)) {
        refused = &err;
    } else if (!refused && up->cancelled) {
        (void)!sf_err_set(&err, -ECANCELED, "the writer is being stopped");
        refused = &err;
    }
    if (refused) {
        upload_finish(up, refused, &done);
        return;
    }
    sf_keep_obsolete(c);
    if (sf_content_dirty(c)) {
        enum turn turn = upload_begin(up, &taken, &put, &err);
        if (turn == TURN_LATER)
            return;
        if (turn == TURN_NOW && upload_send(up, &taken, &put, &done, &err))
            (void)was_dropped(up, &err);
    }
    upload_finish(up, err.code ? &err : NULL, &done);
}

/* ---- asking --------------------------------------------------------------------------------- */

/* Find or make the upload that sends what is there now. *fresh: it is to be queued. */
static struct sf_upload *
upload_for_locked(struct sf_content *c, const struct sf_commit_args *args, bool *fresh)
{
    SF_ASSERT_HELD(&c->lock);
    *fresh = false;
    if (c->up && c->up->resting && upload_take_args_locked(c->up, args))
        return NULL;
    if (c->up && (!c->uploading || c->up->gen == atomic_load(&c->gen)))
        return c->up;
    if (c->next)
        return c->next;
    struct sf_upload *up = sf_upload_new_locked(c, args);
    if (!up)
        return NULL;
    if (c->up)
        return c->next = up;
    if (sf_upload_aim_locked(up)) {
        sf_upload_free(up); /* the caller has a reference, too */
        return NULL;
    }
    *fresh = true;
    return c->up = up;
}

void
sf_content_commit(struct sf_content *c, const struct sf_commit_args *args, sf_commit_fn cb,
                  void *arg)
{
    struct sf_commit clean = {.size = sf_content_size(c)};
    struct sf_err err = SF_ERR_INIT;
    if (!sf_content_dirty(c)) {
        cb(arg, NULL, &clean);
        return;
    }
    sf_autofree struct waiter *w = calloc(1, sizeof *w);
    struct sf_upload *up = NULL;
    bool fresh = false;
    sf_mutex_lock(&c->lock);
    if (w)
        up = upload_for_locked(c, args, &fresh);
    if (up) {
        w->cb = cb;
        w->arg = arg;
        w->patient = args->patient;
        /* What failed is what goes on; who has begun to write since asks for that himself. */
        up->want = args->later && c->keep ? c->keep->snap.gen : atomic_load(&c->gen);
        upload_join_locked(up, sf_steal(w));
    }
    bool wake = up && !fresh && !args->later && sf_upload_wake_locked(up);
    if (fresh && args->later && sf_upload_rest_locked(up))
        fresh = false;
    else if (fresh && args->later)
        up->cancelled = true;
    sf_mutex_unlock(&c->lock);
    if (!up) {
        (void)!sf_err_set(&err, -ENOMEM, "out of memory");
        cb(arg, &err, NULL);
    } else if (fresh || wake) {
        sf_upload_queue(up);
    }
}
