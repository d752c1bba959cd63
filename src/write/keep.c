/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/keep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/thread.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/commit.h"
#include "write/journal.h"
#include "write/keep-internal.h"
#include "write/step.h"

/* Somebody who asked. */
struct sf_keep_ask {
    struct sf_keep_ask *next;
    struct sf_upload *up; /* with the arguments; NULL: those are of no account */
    struct waiter *waiter;
    bool attrs_only;
    bool must;        /* it finds room in any case */
    uint64_t gen;     /* of the content, when it was asked */
    sf_write_fn kept; /* NULL = nobody waits */
    void *arg;
};

struct sf_keeping_link *
sf_keeping_link(struct sf_keeping *k)
{
    return &k->link;
}

/* ---- asking --------------------------------------------------------------------------------- */

static void
ask_free(struct sf_keep_ask *a)
{
    if (a->up)
        sf_upload_free(a->up);
    free(a->waiter);
    free(a);
}

static struct sf_keep_ask *
ask_new(struct sf_content *c, const struct sf_commit_args *args, sf_write_fn kept,
        sf_commit_fn settled, void *arg)
{
    struct sf_keep_ask *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->kept = kept;
    a->arg = arg;
    a->must = !args || args->must;
    a->gen = atomic_load(&c->gen);
    if (!args)
        return a;
    a->attrs_only = args->attrs_only;
    a->waiter = calloc(1, sizeof *a->waiter);
    sf_mutex_lock(&c->lock);
    a->up = sf_upload_new_locked(c, args);
    int rc = a->up ? sf_upload_aim_locked(a->up) : -ENOMEM;
    sf_mutex_unlock(&c->lock);
    if (!a->waiter || rc) {
        ask_free(a);
        return NULL;
    }
    *a->waiter = (struct waiter){.cb = settled, .arg = arg, .patient = true, .keep = true};
    return a;
}

struct sf_keeping *
sf_keeping_new_locked(struct sf_content *c)
{
    struct sf_keeping *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->c = sf_content_ref(c);
    k->tail = &k->asks;
    k->link.charge = &c->charge;
    atomic_init(&k->link.must, false);
    c->keeping = k;
    sf_queue_hold(c->w->queue);
    return k;
}

static void
ask_append(struct sf_keep_ask ***tail, struct sf_keep_ask *a)
{
    **tail = a;
    *tail = &a->next;
}

static void keep_go(struct sf_keeping *k);

/* 0 and perhaps *start, or -ENOMEM: the ask is the caller's still. */
static int
join_locked(struct sf_content *c, struct sf_keep_ask *a, struct sf_keeping **start)
{
    struct sf_keeping *k = c->keeping;
    *start = NULL;
    if (k && k->putting) {
        struct sf_keep_ask **end = &c->asks;
        while (*end)
            end = &(*end)->next;
        *end = a;
        return 0;
    }
    if (!k && !(k = *start = sf_keeping_new_locked(c)))
        return -ENOMEM;
    ask_append(&k->tail, a);
    if (a->must)
        atomic_store(&k->link.must, true);
    return 0;
}

void
sf_content_keep(struct sf_content *c, const struct sf_commit_args *args, sf_write_fn kept,
                sf_commit_fn settled, void *arg)
{
    struct sf_keep_ask *a = ask_new(c, args, kept, settled, arg);
    struct sf_keeping *start = NULL;
    int rc = -ENOMEM;
    if (a) {
        sf_mutex_lock(&c->lock);
        rc = join_locked(c, a, &start);
        sf_mutex_unlock(&c->lock);
    }
    if (!rc) {
        if (start)
            keep_go(start);
        return;
    }
    struct sf_err err = SF_ERR_INIT;
    (void)!sf_err_set(&err, rc, "out of memory");
    if (a)
        ask_free(a);
    kept(arg, &err);
}

/* ---- the end -------------------------------------------------------------------------------- */

void
sf_keep_discard(struct sf_content *c, struct sf_keep *keep, bool drop)
{
    if (drop && keep->rec.seq)
        sf_journal_drop(c->w->journal, keep->rec.seq);
    atomic_fetch_sub(&keep->snap.stage->held, 1);
    sf_stage_unref(keep->snap.stage);
    sf_record_fini(&keep->rec);
    free(keep);
}

static void
go_run(void *arg)
{
    keep_go(arg);
}

/* To a thread that may do local I/O. */
static void
go_elsewhere(struct sf_keeping *k)
{
    if (sf_pool_submit(k->c->w->keepers, go_run, k))
        keep_go(k);
}

void
sf_keep_admitted(struct sf_keeping_link *link)
{
    struct sf_keeping *k = (struct sf_keeping *)link;
    atomic_store(&link->must, true);
    k->settled = false;
    go_elsewhere(k);
}

/* Tell those who asked. @rc: not 0 = the journal has what it had. */
static void
tell(struct sf_keep_ask *asks, int rc)
{
    struct sf_err err = SF_ERR_INIT;
    if (rc)
        (void)!sf_err_set(&err, rc, "the journal cannot be written: %s", strerror(-rc));
    while (asks) {
        struct sf_keep_ask *a = asks;
        asks = a->next;
        struct waiter *w = rc ? NULL : sf_steal(a->waiter);
        if (a->kept)
            a->kept(a->arg, rc ? &err : NULL);
        sf_upload_tell_replaced(w); /* another one goes in its place */
        ask_free(a);
    }
}

void
sf_keeping_end(struct sf_keeping *k, int rc, struct sf_upload *queue, struct waiter *told)
{
    struct sf_content *c = k->c;
    struct sf_keeping *next = NULL;
    struct sf_keep_ask *later = NULL, *a;
    tell(sf_steal(k->asks), rc); /* no upload begins before that */
    sf_mutex_lock(&c->lock);
    c->keeping = NULL;
    if (c->parked) {
        c->parked = false;
        if (rc)
            c->up->no_rekeep = true;
        queue = c->up;
    }
    if (c->asks && (next = sf_keeping_new_locked(c))) {
        next->asks = sf_steal(c->asks);
        for (; (a = *next->tail); next->tail = &a->next)
            if (a->must)
                atomic_store(&next->link.must, true);
    } else {
        later = sf_steal(c->asks);
    }
    bool has = sf_content_has_record_locked(c);
    sf_mutex_unlock(&c->lock);
    if (!has)
        sf_room_leave(c->w, &c->charge);
    sf_upload_tell_replaced(told);
    tell(later, -ENOMEM);
    if (queue)
        sf_upload_queue(queue);
    if (next)
        go_elsewhere(next);
    struct sf_writer *w = c->w;
    sf_content_unref(c);
    free(k);
    sf_queue_release(w->queue);
}

/* ---- the record ----------------------------------------------------------------------------- */

/* Who says what the bytes are accompanied by; NULL = the upload that waits for the keep. */
static struct sf_keep_ask *
last_ask(const struct sf_keeping *k)
{
    struct sf_keep_ask *last = NULL;
    for (struct sf_keep_ask *a = k->asks; a; a = a->next)
        if (a->up)
            last = a;
    return last;
}

int
sf_keep_read_inline(struct sf_record *rec, int fd)
{
    rec->data = malloc((size_t)rec->size + 1);
    if (!rec->data)
        return -ENOMEM;
    ssize_t n = sf_pread_full(fd, rec->data, (size_t)rec->size, 0);
    return n < 0 ? (int)n : (uint64_t)n < rec->size ? -EIO : 0;
}

int
sf_kept_put(struct sf_writer *w, struct sf_record *rec, bool inlined, int fd)
{
    int rc = inlined ? sf_keep_read_inline(rec, fd) : 0;
    if (!rc)
        rc = sf_journal_put(w->journal, rec);
    free(sf_steal(rec->data));
    return rc;
}

/* What an upload says that goes before this one, and may be under way. */
static void
follow_locked(struct sf_content *c, struct sf_record *rec)
{
    const struct sf_record *before = c->keep ? &c->keep->rec : NULL;
    if (before) { /* it never goes */
        memcpy(rec->former, before->former, sizeof rec->former);
        rec->target = before->target;
        if (!c->keep->untried) {
            sf_former_add(rec->former, before->op);
            rec->target = c->keep->leaves;
        }
    } else if (c->uploading) {
        memcpy(rec->former, c->sending_ops, sizeof rec->former);
        rec->target = c->sending_leaves;
    }
}

/* What the arguments say. */
static int
say_locked(struct sf_content *c, const struct sf_upload *up, struct sf_record *rec)
{
    int rc = sf_record_set(&rec->bucket, c->bucket);
    if (!rc)
        rc = sf_record_set(&rec->key, c->key);
    if (!rc)
        rc = sf_record_set(&rec->mime, up->mime);
    if (!rc)
        rc = sf_record_set(&rec->mark, up->mark);
    if (!rc)
        rc = sf_record_set(&rec->xattrs, up->xattrs);
    if (!rc)
        rc = sf_record_set(&rec->set_cache_control, up->cache_control);
    follow_locked(c, rec);
    bool follows = rec->former[0] || rec->target.size || rec->target.etag[0];
    rec->guessed = !up->mime;
    rec->exists = c->exists || up->exists;
    rec->exclusive = up->exclusive && !rec->exists && !follows;
    if (c->have_stored && c->stored_seq == c->target_seq)
        rec->base = c->stored;
    else if (up->have_base)
        rec->base = up->base;
    return rc;
}

static int
fill_record(struct sf_keeping *k)
{
    struct sf_content *c = k->c;
    struct sf_keep *keep = k->keep;
    struct sf_record *rec = &keep->rec;
    struct sf_extents has = {.n = 0};
    rec->kind = SF_RECORD_CONTENT;
    rec->state = SF_RECORD_CONTENT_SENDING;
    rec->size = keep->snap.size;
    rec->synced = true;
    sf_boot_id(rec->boot);
    if (keep->snap.digested)
        memcpy(rec->sha256, keep->snap.digests.sha256, sizeof rec->sha256);
    int rc = c->w->plain ? 0 : sf_op_new(rec->op);
    if (!rc)
        rc = sf_record_set(&rec->file, sf_snapshot_file(&keep->snap));
    if (!rc)
        rc = sf_snapshot_extents(c, &keep->snap, &has);
    if (rc < 0)
        return rc;
    rec->whole = rc == 1;
    if (!rec->whole) {
        rec->extents = has.v;
        rec->n_extents = has.n;
        rc = sf_content_source(c, &rec->from_bucket, &rec->from_key, &rec->source);
        if (rc != 1)
            return rc < 0 ? rc : -EINVAL;
    }
    SF_GUARD(&c->lock);
    const struct sf_keep_ask *last = last_ask(k);
    rec->made_ns = c->keep ? c->keep->rec.made_ns : 0;
    return say_locked(c, last ? last->up : c->up, rec);
}

/* ---- writing it ----------------------------------------------------------------------------- */

/* The journal has it, in place of what was kept before. */
static void
written_locked(struct sf_keeping *k, struct sf_upload **queue, struct waiter **told)
{
    struct sf_content *c = k->c;
    struct sf_keep_ask *last = last_ask(k);
    sf_room_charge(c->w, &c->charge, k->keep->rec.size, k->keep->rec.made_ns);
    k->keep->rec.seq = k->seq;
    if (!k->keep->rec.made_ns)
        k->keep->rec.made_ns = sf_wall_ns();
    struct sf_keep *old = sf_keep_swap_locked(c, k->keep);
    c->failure = SF_ERR_INIT;
    if (last) /* else the upload that wants it waits already */
        *queue = sf_upload_for_keep_locked(c, &last->up, sf_steal(last->waiter), told);
    k->keep = old;
}

/* On the journal's thread: what was to be dropped is, so there may be room. */
static void
put_again(void *arg, int rc)
{
    (void)rc;
    go_elsewhere(arg);
}

/* The journal is full. Returns false when nothing will make room. */
static bool
wait_for_journal(struct sf_keeping *k)
{
    struct sf_content *c = k->c;
    sf_mutex_lock(&c->lock);
    k->putting = false;
    struct sf_keep *keep = sf_steal(k->keep);
    bool has = sf_content_has_record_locked(c), again = !k->settled;
    k->settled = true;
    sf_mutex_unlock(&c->lock);
    sf_keep_discard(c, keep, false);
    if (again) {
        atomic_store(&k->link.must, true); /* it has its place */
        sf_journal_settle_async(c->w->journal, put_again, k);
        return true;
    }
    if (sf_room_wait(c->w, k, has))
        return true;
    sf_mutex_lock(&c->lock);
    k->putting = true;
    sf_mutex_unlock(&c->lock);
    return false;
}

/* On the journal's thread. */
static void
put_done(void *arg, int rc)
{
    struct sf_keeping *k = arg;
    struct sf_content *c = k->c;
    struct sf_upload *queue = NULL;
    struct waiter *told = NULL;
    bool gone = atomic_load(&c->abandoned);
    if (rc == -ENOSPC && !gone) {
        if (!wait_for_journal(k))
            sf_keeping_end(k, rc, NULL, NULL);
        return;
    }
    if (!rc) {
        sf_count(SF_C_KEPT, 1);
        atomic_fetch_add(&c->w->kept, 1);
        sf_step(SF_STEP_CONTENT_WRITTEN);
        sf_mutex_lock(&c->lock);
        gone = atomic_load(&c->abandoned) || atomic_load(&c->clean_gen) >= k->keep->snap.gen;
        if (!gone)
            written_locked(k, &queue, &told);
        sf_mutex_unlock(&c->lock);
        if (gone)
            sf_journal_drop(c->w->journal, k->seq);
    }
    /* What could not be kept; or was kept before, whose record has gone, unless an attempt that
     * failed has put it back since this one was begun. */
    if (k->keep) {
        bool before = !rc && !gone && k->keep->rec.seq != k->replaces;
        sf_keep_discard(c, sf_steal(k->keep), before);
    }
    sf_keeping_end(k, rc, queue, told);
}

static void
put_start(struct sf_keeping *k, int rc)
{
    struct sf_content *c = k->c;
    struct sf_record rec = {.seq = 0};
    sf_mutex_lock(&c->lock);
    k->replaces = c->keep ? c->keep->rec.seq : 0;
    /* Who gave it up does not wait for a record that comes now. */
    struct sf_keep *unwanted = !rc && atomic_load(&c->abandoned) ? sf_steal(k->keep) : NULL;
    sf_mutex_unlock(&c->lock);
    if (unwanted) {
        sf_keep_discard(c, unwanted, false);
        sf_keeping_end(k, 0, NULL, NULL);
        return;
    }
    uint64_t drop = k->replaces;
    if (!rc) {
        rec = k->keep->rec; /* whose strings are borrowed */
        rc = k->keep->inlined ? sf_keep_read_inline(&rec, k->keep->snap.stage->fd) : 0;
    }
    if (rc)
        put_done(k, rc);
    else
        sf_journal_replace_async(c->w->journal, &rec, &drop, 1, &k->seq, put_done, k);
    free(rec.data);
}

/* The file first, on a thread that may take its time. */
static void
sync_run(void *arg)
{
    struct sf_keeping *k = arg;
    int rc = sf_snapshot_sync(&k->keep->snap);
    put_start(k, rc);
}

/* ---- the course ----------------------------------------------------------------------------- */

/* What was there when the last of them asked. */
static uint64_t
asked_gen(const struct sf_keeping *k)
{
    uint64_t gen = 0;
    for (const struct sf_keep_ask *a = k->asks; a; a = a->next)
        gen = a->gen > gen ? a->gen : gen;
    return gen;
}

/* Do they all want attributes to be kept with a state that was kept before, and no bytes? */
static bool
attrs_alone(const struct sf_keeping *k)
{
    for (const struct sf_keep_ask *a = k->asks; a; a = a->next)
        if (!a->attrs_only)
            return false;
    return true;
}

/* Is there nothing to keep, or has the journal all of it? Of what has come since they asked nothing
 * was promised: a file that was closed, and is just being written again, is better as it was. */
static bool
is_covered_locked(struct sf_content *c, const struct sf_keeping *k, int *rc)
{
    const struct sf_keep_ask *last = last_ask(k);
    const struct sf_upload *has = NULL;
    uint64_t gen = 0, want = asked_gen(k);
    bool alone = attrs_alone(k);
    if (atomic_load(&c->abandoned))
        return true;
    if (alone && !c->keep) {
        *rc = -EBUSY;
        return true;
    }
    if (atomic_load(&c->clean_gen) >= want)
        return true;
    if (c->keep) {
        has = c->uploading ? c->next : c->up;
        gen = c->keep->snap.gen;
    } else if (c->uploading && c->sending_kept) {
        has = c->up;
        gen = c->up->gen;
    }
    if (alone && gen != atomic_load(&c->gen))
        return true; /* who writes on takes them along */
    return has && gen >= want && has->target_seq == c->target_seq &&
           (!last || sf_upload_says_same(has, last->up));
}

/* Takes the state that the content has now. 0, or -errno, or 1: it has changed since they asked for
 * attributes alone, and who changed it takes those along. */
static int
take_state(struct sf_keeping *k)
{
    struct sf_content *c = k->c;
    struct sf_keep *keep = calloc(1, sizeof *keep);
    if (!keep)
        return -ENOMEM;
    sf_mutex_lock(&c->io);
    sf_content_snap_locked_io(c, &keep->snap);
    atomic_fetch_add(&keep->snap.stage->held, 1); /* no change touches it from now on */
    sf_mutex_unlock(&c->io);
    keep->untried = true;
    keep->leaves.size = keep->snap.size;
    sf_mutex_lock(&c->lock);
    bool other = attrs_alone(k) && keep->snap.gen != asked_gen(k);
    if (!other)
        k->keep = keep; /* from here on it gets what is fetched */
    sf_mutex_unlock(&c->lock);
    if (other) {
        sf_keep_discard(c, keep, false);
        return 1;
    }
    int rc = fill_record(k);
    if (!rc && c->w->plain && keep->rec.whole && keep->rec.size <= SF_KEEP_INLINE)
        (void)sf_snapshot_digest(&keep->snap); /* what follows knows it by that alone */
    if (keep->snap.digested)
        memcpy(keep->leaves.etag, keep->snap.digests.md5_etag, sizeof keep->snap.digests.md5_etag);
    keep->inlined = !rc && keep->rec.whole && keep->rec.size <= SF_KEEP_INLINE &&
                    sf_journal_data_bytes(c->w->journal) + keep->rec.size <= SF_KEEP_DATA;
    return rc;
}

/* On a thread that may do local I/O. */
static void
keep_go(struct sf_keeping *k)
{
    struct sf_content *c = k->c;
    int rc = 0;
    sf_mutex_lock(&c->lock);
    bool covered = is_covered_locked(c, k, &rc);
    k->putting = covered;
    sf_mutex_unlock(&c->lock);
    if (covered) {
        sf_keeping_end(k, rc, NULL, NULL);
        return;
    }
    if (!sf_room_enter(c->w, k, sf_content_size(c)))
        return;
    sf_mutex_lock(&c->lock);
    k->putting = true;
    sf_mutex_unlock(&c->lock);
    rc = take_state(k);
    if (rc > 0) {
        sf_keeping_end(k, 0, NULL, NULL);
        return;
    }
    if (!rc && !k->keep->inlined && sf_pool_submit(c->w->keepers, sync_run, k) == 0)
        return;
    if (!rc && !k->keep->inlined)
        rc = sf_snapshot_sync(&k->keep->snap); /* no thread can be had */
    put_start(k, rc);
}

void
sf_keep_obsolete(struct sf_content *c)
{
    sf_mutex_lock(&c->lock);
    bool over = c->keep && c->keep->snap.gen <= atomic_load(&c->clean_gen);
    struct sf_keep *keep = over ? sf_keep_swap_locked(c, NULL) : NULL;
    bool has = sf_content_has_record_locked(c);
    sf_mutex_unlock(&c->lock);
    if (keep)
        sf_keep_discard(c, keep, true);
    if (keep && !has)
        sf_room_leave(c->w, &c->charge);
}

struct sf_stage *
sf_keeping_stage_locked(const struct sf_content *c)
{
    return c->keeping && c->keeping->keep ? c->keeping->keep->snap.stage : NULL;
}

/* ---- between a keep and its upload ---------------------------------------------------------- */

bool
sf_keep_blocks_locked(struct sf_upload *up, bool *again)
{
    struct sf_content *c = up->c;
    SF_ASSERT_HELD(&c->lock);
    *again = c->keep && !up->no_rekeep && up->want > c->keep->snap.gen;
    if (!*again && !(c->keeping && c->keeping->putting))
        return false;
    if (c->keeping && c->keeping->putting)
        *again = false;
    c->parked = true;
    return true;
}

void
sf_keep_again(struct sf_content *c)
{
    struct sf_keep_ask *a = ask_new(c, NULL, NULL, NULL, NULL);
    struct sf_keeping *start = NULL, *k = NULL;
    sf_mutex_lock(&c->lock);
    int rc = a ? join_locked(c, a, &start) : -ENOMEM;
    bool waits = !rc && sf_room_cancel(c->w, k = c->keeping);
    struct sf_upload *up = NULL;
    if (rc && c->parked) {
        c->parked = false;
        c->up->no_rekeep = true;
        up = c->up;
    }
    sf_mutex_unlock(&c->lock);
    if (rc && a)
        ask_free(a);
    if (up)
        sf_upload_queue(up);
    if (rc)
        return;
    if (start || waits)
        keep_go(k);
}

void
sf_keep_wake(struct sf_content *c)
{
    sf_mutex_lock(&c->lock);
    struct sf_keeping *k = c->keeping && !c->keeping->putting ? c->keeping : NULL;
    bool waits = k && sf_room_cancel(c->w, k);
    sf_mutex_unlock(&c->lock);
    if (waits)
        go_elsewhere(k);
}
