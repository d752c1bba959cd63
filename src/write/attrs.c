/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/attrs.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "observe/log.h"
#include "write/attrs-internal.h"
#include "write/journal.h"
#include "write/meta.h"
#include "write/put.h"

/* ---- asking ---------------------------------------------------------------------------------- */

static void
fail_both(const struct sf_err *err, sf_write_fn kept, sf_attrs_settled_fn settled, void *arg)
{
    kept(arg, err);
    if (settled)
        settled(arg, err, NULL);
}

/* A text that is asked for takes the place of the one asked for before. */
static void
take_text(char **to, char *text, bool keep)
{
    if (keep && (!text || *to)) {
        free(text);
        return;
    }
    free(*to);
    *to = text;
}

/* Put a change into the entry of its key, made when there is none. */
static int
join_locked(struct sf_writer *w, const struct sf_attr_change *ch, struct sf_attrs_entry **ret)
{
    struct sf_attrs *a = w->attrs;
    struct sf_attrs_entry *e = sf_attrs_find_locked(a, ch->bucket, ch->key), *made = NULL;
    sf_autofree char *xattrs = NULL, *mime = NULL, *cache_control = NULL;
    /* What another file left under this name, which had it before, ends here. */
    bool before = e && !sf_mark_is_another(&e->mark, ch->mark);
    int rc = sf_xattrs_merge(before ? e->xattrs : NULL, ch->xattrs, true, &xattrs);
    if (!rc)
        rc = sf_record_set(&mime, ch->mime);
    if (!rc)
        rc = sf_record_set(&cache_control, ch->cache_control);
    if (!rc && !e) {
        made = e = sf_attrs_entry_new(w, ch->bucket, ch->key);
        rc = made ? sf_attrs_add_locked(a, made) : -ENOMEM;
    }
    if (rc) {
        if (made)
            sf_attrs_entry_free(made);
        return rc;
    }
    if (made) {
        e->stale = true;
    } else if (e->state == SF_ATTRS_LOCAL) { /* perhaps it can be written now */
        e->due_ms = sf_clock_ms() + SF_ATTRS_MERGE_MS;
        sf_attrs_set_state_locked(a, e, SF_ATTRS_WAITING);
    }
    free(e->xattrs);
    e->xattrs = sf_steal(xattrs);
    take_text(&e->mime, sf_steal(mime), before && (ch->former || !ch->mime));
    take_text(&e->cache_control, sf_steal(cache_control),
              before && (ch->former || !ch->cache_control));
    if (!before || !ch->former) {
        if (!before || ch->mark->valid)
            e->mark = *ch->mark;
        if (ch->seen || !before)
            e->seen = ch->seen ? *ch->seen : (struct sf_version){.id = ""};
    }
    e->stale = true;
    *ret = e;
    return 0;
}

void
sf_write_attrs(struct sf_writer *w, const struct sf_attr_change *ch, sf_write_fn kept,
               sf_attrs_settled_fn settled, void *arg)
{
    struct sf_attrs *a = w->attrs;
    struct sf_attrs_entry *e = NULL;
    struct sf_record r;
    struct sf_attrs_put *p = NULL;
    struct sf_err err = SF_ERR_INIT;
    struct sf_attrs_told *k = calloc(1, sizeof *k), *s = settled ? calloc(1, sizeof *s) : NULL;
    int rc = k && !s == !settled ? 0 : -ENOMEM;
    int64_t due = 0;
    if (!rc) {
        *k = (struct sf_attrs_told){.kept = kept, .arg = arg};
        sf_mutex_lock(&a->lock);
        rc = a->stopping ? -ECANCELED : join_locked(w, ch, &e);
        if (!rc) {
            sf_attrs_told_add(&e->kept, k);
            if (s) {
                *s = (struct sf_attrs_told){.settled = settled, .arg = arg};
                sf_attrs_told_add(&e->settled, s);
            }
            p = sf_attrs_put_new_locked(e, &r);
            due = sf_attrs_next_due_locked(a);
        }
        sf_mutex_unlock(&a->lock);
    }
    if (rc) {
        free(k);
        free(s);
        (void)!sf_err_set(&err, rc, "%s/%s: attributes cannot be noted: %s", ch->bucket, ch->key,
                          strerror(-rc));
        fail_both(&err, kept, settled, arg);
        return;
    }
    if (p)
        sf_attrs_put_start(p, &r);
    sf_attrs_arm(a, due);
}

void
sf_attrs_push(struct sf_writer *w, const char *bucket, const char *key)
{
    struct sf_attrs *a = w->attrs;
    struct sf_job *ready;
    sf_mutex_lock(&a->lock);
    sf_attrs_begin_all_locked(a, bucket, key, INT64_MAX, &ready);
    sf_mutex_unlock(&a->lock);
    sf_attrs_queue_all(a, ready);
}

/* Wait for those of a list that match. Without memory they are not waited for, and @f says so. */
static void
wait_for_locked(struct sf_attrs_list *l, const char *bucket, const char *key,
                struct sf_attrs_flush *f)
{
    for (struct sf_attrs_entry *e = l->first; e; e = e->next) {
        if (!sf_attrs_matches(e, bucket, key))
            continue;
        struct sf_attrs_told *t = calloc(1, sizeof *t);
        if (!t) {
            if (!f->err.code)
                (void)!sf_err_set(&f->err, -ENOMEM, "out of memory");
            continue;
        }
        t->flush = f;
        f->left++;
        sf_attrs_told_add(&e->flushes, t);
    }
}

void
sf_write_attrs_flush(struct sf_writer *w, const char *bucket, const char *key, sf_write_fn cb,
                     void *arg)
{
    struct sf_attrs *a = w->attrs;
    struct sf_attrs_flush *f = calloc(1, sizeof *f);
    if (!f) {
        struct sf_err err = SF_ERR_INIT;
        (void)!sf_err_set(&err, -ENOMEM, "out of memory");
        cb(arg, &err);
        return;
    }
    *f = (struct sf_attrs_flush){.left = 1, .cb = cb, .arg = arg};
    sf_mutex_lock(&a->lock);
    wait_for_locked(&a->busy, bucket, key, f);
    wait_for_locked(&a->waiting, bucket, key, f);
    sf_mutex_unlock(&a->lock);
    sf_attrs_push(w, bucket, key);
    sf_attrs_flush_one(a, f, NULL);
}

/* ---- with uploads and names ------------------------------------------------------------------ */

bool
sf_attrs_is_newer(const struct sf_mark *x, const struct sf_mark *y)
{
    return x->valid & SF_MARK_CTIME && (!(y->valid & SF_MARK_CTIME) || x->ctime_ns > y->ctime_ns);
}

struct sf_mark
sf_attrs_for_another(const struct sf_mark *ours, const struct sf_mark *theirs)
{
    const unsigned set = SF_MARK_MODE | SF_MARK_UID | SF_MARK_GID;
    struct sf_mark m = *theirs;
    m.valid = (m.valid & ~set) | (ours->valid & set);
    m.mode = ours->mode;
    m.uid = ours->uid;
    m.gid = ours->gid;
    if (!(m.valid & SF_MARK_INO)) {
        m.valid |= ours->valid & SF_MARK_INO;
        m.ino = ours->ino;
    }
    return m;
}

bool
sf_attrs_is_replaced(const struct sf_attrs_entry *e, const struct sf_version *is,
                     const struct sf_mark *mark)
{
    /* Of two objects with one number, which a foreign copy makes, a mount gives one another number:
     * what it has seen itself is what it means. An id alone says nothing, as names keep it. */
    bool seen = (e->seen.version[0] || e->seen.etag[0]) && sf_version_same(&e->seen, is);
    return !seen && sf_mark_is_another(&e->mark, mark);
}

/* More busy ones than this are not looked through for a name. */
#define BUSY_MAX 256

/* What is to come for what has the name now; NULL = nothing. */
static const struct sf_attrs_entry *
pending_locked(const struct sf_attrs *a, const char *bucket, const char *key,
               const struct sf_version *is, const struct sf_mark *mark)
{
    if (!a->table && !a->busy.first)
        return NULL;
    const struct sf_attrs_entry *e = sf_attrs_find_locked(a, bucket, key);
    for (const struct sf_attrs_entry *b = a->busy.last; !e && b && a->busy.n <= BUSY_MAX;
         b = b->prev)
        if (!b->gone && !strcmp(b->bucket, bucket) && !strcmp(b->key, key))
            e = b;
    return e && !sf_attrs_is_replaced(e, is, mark) ? e : NULL;
}

/* Is it of the version that is there, as far as that is known? */
static bool
is_for_locked(const struct sf_attrs_entry *e, const struct sf_version *is)
{
    return !sf_version_known(&e->seen) || sf_version_same(&e->seen, is);
}

int
sf_write_xattrs_pending(struct sf_writer *w, const char *bucket, const char *key,
                        const struct sf_version *is, const struct sf_mark *mark, char **xattrs)
{
    struct sf_attrs *a = w->attrs;
    char *now = NULL;
    SF_GUARD(&a->lock);
    const struct sf_attrs_entry *e = pending_locked(a, bucket, key, is, mark);
    int rc = e && e->xattrs ? sf_xattrs_merge(*xattrs, e->xattrs, false, &now) : 0;
    if (rc || !e || !e->xattrs)
        return rc;
    free(*xattrs);
    *xattrs = now;
    return 0;
}

bool
sf_write_attrs_pending(struct sf_writer *w, const char *bucket, const char *key,
                       const struct sf_version *is, struct sf_mark *m)
{
    struct sf_attrs *a = w->attrs;
    SF_GUARD(&a->lock);
    const struct sf_attrs_entry *e = pending_locked(a, bucket, key, is, m);
    if (!e)
        return false;
    if (e->mark.valid)
        *m = is_for_locked(e, is) ? e->mark : sf_attrs_for_another(&e->mark, m);
    return true;
}

int
sf_write_type_pending(struct sf_writer *w, const char *bucket, const char *key,
                      const struct sf_version *is, const struct sf_mark *mark, char **mime,
                      char **cache_control)
{
    struct sf_attrs *a = w->attrs;
    sf_autofree char *type = NULL;
    SF_GUARD(&a->lock);
    const struct sf_attrs_entry *e = pending_locked(a, bucket, key, is, mark);
    bool meant = e && is_for_locked(e, is);
    int rc = sf_record_set(&type, meant ? e->mime : NULL);
    if (!rc)
        rc = sf_record_set(cache_control, meant ? e->cache_control : NULL);
    if (!rc)
        *mime = sf_steal(type);
    return rc;
}

bool
sf_write_attrs_wait(struct sf_writer *w, const char *bucket, const char *key, char *why,
                    size_t size)
{
    struct sf_attrs *a = w->attrs;
    SF_GUARD(&a->lock);
    const struct sf_attrs_entry *e = sf_attrs_find_locked(a, bucket, key);
    if (!e)
        return false;
    snprintf(why, size, "%s", e->reason ? e->reason : "");
    return true;
}

struct sf_attrs_entry *
sf_attrs_take(struct sf_writer *w, const char *bucket, const char *key)
{
    struct sf_attrs *a = w->attrs;
    struct sf_attrs_entry *e;
    sf_mutex_lock(&a->lock);
    while ((e = sf_attrs_find_locked(a, bucket, key)) && e->putting)
        sf_cond_wait(&a->put, &a->lock);
    if (e && !e->recorded)
        e = NULL; /* nobody was told yet that it is kept; it comes after the upload */
    if (e) {
        sf_attrs_grab_locked(a, e);
    }
    sf_mutex_unlock(&a->lock);
    if (e)
        sf_attrs_complete_record(e);
    return e;
}

void
sf_attrs_give_back(struct sf_attrs_entry *e, const struct sf_version *now)
{
    if (now)
        sf_attrs_settle(e, NULL, now);
    else
        sf_attrs_come_back(e, e->before, NULL);
}

void
sf_attrs_carry_begin(struct sf_writer *w, struct sf_put *put, struct sf_attrs_carry *c)
{
    struct sf_mark own;
    *c = (struct sf_attrs_carry){.own_mark = put->mark,
                                 .own_xattrs = put->xattrs,
                                 .own_mime = put->mime,
                                 .own_cache_control = put->cache_control};
    struct sf_attrs_entry *e = sf_attrs_take(w, put->bucket, put->key);
    if (e && w->plain && (e->xattrs || e->mark.valid)) {
        sf_attrs_give_back(e, NULL); /* of a mount that wrote them */
        return;
    }
    if (!e)
        return;
    bool marked = put->mark && sf_mark_parse(put->mark, &own);
    c->another = marked && sf_mark_is_another(&e->mark, &own);
    if (c->another) {
        c->e = e;
        return;
    }
    if (sf_xattrs_merge(e->xattrs, put->xattrs, true, &c->xattrs)) {
        sf_attrs_give_back(e, NULL);
        return;
    }
    c->e = e;
    put->xattrs = c->xattrs;
    bool newer = marked && sf_attrs_is_newer(&e->mark, &own);
    if (e->mime && (newer || !put->mime))
        put->mime = e->mime;
    if (e->cache_control && (newer || !put->cache_control))
        put->cache_control = e->cache_control;
    if ((newer || !marked) && e->mark.valid &&
        sf_mark_format(&e->mark, c->mark, sizeof c->mark) > 0)
        put->mark = c->mark;
}

void
sf_attrs_carry_end(struct sf_attrs_carry *c, struct sf_put *put, bool done)
{
    struct sf_version now = {.size = put->size};
    struct sf_err gone = SF_ERR_INIT;
    put->mark = c->own_mark;
    put->xattrs = c->own_xattrs;
    put->mime = c->own_mime;
    put->cache_control = c->own_cache_control;
    free(c->xattrs);
    if (!c->e)
        return;
    if (c->another && done) {
        (void)!sf_err_set(&gone, -ENOENT, "%s/%s was replaced", put->bucket, put->key);
        sf_attrs_settle(c->e, &gone, NULL);
        return;
    }
    memcpy(now.id, put->id, sizeof now.id);
    memcpy(now.version, put->version, sizeof now.version);
    memcpy(now.etag, put->etag, sizeof now.etag);
    sf_attrs_give_back(c->e, done ? &now : NULL);
}

/* Give it another name; it is in no table. */
static void
rename_locked(struct sf_attrs_entry *e, const char *key, const char *to_bucket, const char *to_key)
{
    sf_autofree char *name = NULL;
    if (asprintf(&name, "%s%s", to_key, e->key + strlen(key)) < 0)
        name = NULL;
    if (!name || sf_attrs_entry_name(e, to_bucket, name))
        sf_warn("write", "event=attributes-lost object=%s/%s reason=out of memory", e->bucket,
                e->key);
    e->stale = true;
}

/* Is a record of one that matches on its way? */
static bool
any_putting_locked(const struct sf_attrs *a, const char *bucket, const char *key)
{
    const struct sf_attrs_list *const lists[] = {&a->waiting, &a->local, &a->busy};
    for (unsigned i = 0; i < 3; i++)
        for (const struct sf_attrs_entry *e = lists[i]->first; e; e = e->next)
            if (e->putting && sf_attrs_matches(e, bucket, key))
                return true;
    return false;
}

/* Take those that match out of the table, linked by job.next; they count as busy. None is left to
 * find nothing under its old name. */
static struct sf_job *
take_all_locked(struct sf_attrs *a, const char *bucket, const char *key)
{
    struct sf_attrs_list *const lists[] = {&a->waiting, &a->local};
    struct sf_job *first = NULL;
    while (a->queueing || any_putting_locked(a, bucket, key))
        sf_cond_wait(&a->put, &a->lock);
    for (unsigned i = 0; i < 2; i++)
        for (struct sf_attrs_entry *e = lists[i]->first, *next; e; e = next) {
            next = e->next;
            if (!e->recorded || !sf_attrs_matches(e, bucket, key))
                continue;
            sf_attrs_grab_locked(a, e);
            e->job.next = first;
            first = &e->job;
        }
    return first;
}

SF_VEC_DEFINE(record_vec, struct sf_record);

/* Those that are queued, behind whoever moves the object: their records get the new name as well.
 * Without memory that is done when they run. */
static void
move_queued_locked(struct sf_attrs *a, const char *bucket, const char *key, const char *to_bucket,
                   const char *to_key, struct record_vec *records)
{
    for (struct sf_attrs_entry *e = a->busy.first; e; e = e->next) {
        struct sf_record r;
        if (e->running || !sf_attrs_matches(e, bucket, key))
            continue;
        rename_locked(e, key, to_bucket, to_key);
        e->moved = true;
        if (sf_attrs_record_of(e, SF_RECORD_ATTRS_WANTED, &r) == 0 && record_vec_push(records, r))
            sf_record_fini(&r);
    }
}

void
sf_attrs_moved(struct sf_writer *w, const char *bucket, const char *key, const char *to_bucket,
               const char *to_key)
{
    struct sf_attrs *a = w->attrs;
    struct record_vec records = {0};
    bool gone = sf_attrs_gone(w, to_bucket, to_key);
    sf_mutex_lock(&a->lock);
    struct sf_job *job = take_all_locked(a, bucket, key);
    move_queued_locked(a, bucket, key, to_bucket, to_key, &records);
    for (struct sf_job *j = job; j; j = j->next)
        rename_locked((struct sf_attrs_entry *)j, key, to_bucket, to_key);
    sf_mutex_unlock(&a->lock);
    for (size_t i = 0; i < records.len; i++) {
        (void)sf_journal_put(w->journal, &records.data[i]);
        sf_record_fini(&records.data[i]);
    }
    record_vec_fini(&records);
    while (job) {
        struct sf_attrs_entry *e = (struct sf_attrs_entry *)job;
        job = job->next;
        sf_attrs_complete_record(e);
        sf_attrs_come_back(e, e->before, NULL);
    }
    if (gone)
        (void)sf_journal_settle(w->journal);
}

bool
sf_attrs_gone(struct sf_writer *w, const char *bucket, const char *key)
{
    struct sf_attrs *a = w->attrs;
    sf_mutex_lock(&a->lock);
    struct sf_job *job = take_all_locked(a, bucket, key);
    bool any = job != NULL;
    for (struct sf_attrs_entry *e = a->busy.first; e; e = e->next) {
        if (e->running || !sf_attrs_matches(e, bucket, key))
            continue;
        e->gone = any = true;
        sf_journal_drop(w->journal, e->seq);
        sf_attrs_drop_older(e);
    }
    sf_mutex_unlock(&a->lock);
    while (job) {
        struct sf_attrs_entry *e = (struct sf_attrs_entry *)job;
        job = job->next;
        sf_attrs_end(e);
    }
    return any;
}

/* ---- for a person who looks ------------------------------------------------------------------ */

unsigned
sf_attrs_retry(struct sf_writer *w, uint64_t seq)
{
    struct sf_attrs *a = w->attrs;
    struct sf_attrs_entry *one = NULL;
    struct sf_job *ready = NULL;
    atomic_store(&w->no_rpc_until_ms, 0); /* somebody may have installed the function since */
    sf_mutex_lock(&a->lock);
    for (struct sf_attrs_entry *e = a->local.first, *next; e; e = next) {
        next = e->next;
        if (seq && e->seq != seq)
            continue;
        e->due_ms = sf_clock_ms();
        sf_attrs_set_state_locked(a, e, SF_ATTRS_WAITING);
    }
    for (struct sf_attrs_entry *e = a->waiting.first; seq && e && !one; e = e->next)
        one = e->seq == seq ? e : NULL;
    unsigned n = seq ? one != NULL : a->waiting.n;
    if (n)
        sf_attrs_begin_all_locked(a, one ? one->bucket : NULL, one ? one->key : NULL, INT64_MAX,
                                  &ready);
    sf_mutex_unlock(&a->lock);
    sf_attrs_queue_all(a, ready);
    return n;
}

void
sf_attrs_each(struct sf_attrs *a, void (*fn)(void *arg, const struct sf_attrs_entry *e), void *arg)
{
    const struct sf_attrs_list *const lists[] = {&a->waiting, &a->local, &a->busy};
    SF_GUARD(&a->lock);
    for (unsigned i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const struct sf_attrs_entry *e = lists[i]->first; e; e = e->next)
            fn(arg, e);
}

/* ---- start and end --------------------------------------------------------------------------- */

int
sf_attrs_new(struct sf_writer *w, struct sf_attrs **ret)
{
    struct sf_attrs *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    a->w = w;
    a->timer.fn = sf_attrs_on_timer;
    sf_mutex_init(&a->lock, 67);
    sf_cond_init(&a->put);
    *ret = a;
    return 0;
}

void
sf_attrs_stop(struct sf_attrs *a)
{
    SF_GUARD(&a->lock);
    a->stopping = true;
    while (a->queueing)
        sf_cond_wait(&a->put, &a->lock);
}

void
sf_attrs_free(struct sf_attrs *a)
{
    if (!a)
        return;
    struct sf_err err = SF_ERR_INIT;
    (void)!sf_err_set(&err, -ECANCELED, "the writer is being stopped");
    sf_mutex_lock(&a->lock);
    struct sf_job *job = NULL;
    struct sf_attrs_entry *e, *next;
    HASH_ITER (hh, a->table, e, next) {
        while (e->putting)
            sf_cond_wait(&a->put, &a->lock);
        sf_attrs_remove_locked(a, e);
        e->job.next = job;
        job = &e->job;
    }
    sf_mutex_unlock(&a->lock);
    while (job) {
        e = (struct sf_attrs_entry *)job;
        job = job->next;
        sf_attrs_tell(a, sf_steal(e->kept), &err, NULL);
        sf_attrs_tell(a, sf_steal(e->settled), &err, NULL);
        sf_attrs_tell(a, sf_steal(e->flushes), &err, NULL);
        sf_attrs_entry_free(e);
    }
    assert(!a->busy.first);
    sf_cond_fini(&a->put);
    sf_mutex_fini(&a->lock);
    free(a);
}

int
sf_replay_attrs(struct sf_writer *w, struct sf_record *r)
{
    struct sf_attrs *a = w->attrs;
    struct sf_record again;
    struct sf_attrs_put *p = NULL;
    struct sf_attrs_entry *e = sf_attrs_entry_new(w, r->bucket, r->key), *older;
    int rc = e ? 0 : -ENOMEM;
    if (!rc) {
        e->seq = r->seq;
        e->recorded = true;
        e->seen = r->base;
        e->xattrs = sf_steal(r->xattrs);
        e->mime = sf_steal(r->mime);
        e->cache_control = sf_steal(r->set_cache_control);
        e->err = r->err;
        e->reason = sf_steal(r->reason);
        e->attempts = r->attempts;
        memcpy(e->op, r->op, sizeof e->op);
        if (r->mark)
            (void)sf_mark_parse(r->mark, &e->mark);
        e->state = r->state == SF_RECORD_ATTRS_LOCAL ? SF_ATTRS_LOCAL : SF_ATTRS_WAITING;
        sf_mutex_lock(&a->lock);
        while ((older = sf_attrs_find_locked(a, e->bucket, e->key)) && older->putting)
            sf_cond_wait(&a->put, &a->lock);
        if (older) { /* two of one key: the later one has it all */
            sf_attrs_remove_locked(a, older);
            rc = sf_attrs_merge_locked(e, older);
            sf_attrs_entry_free(older);
        }
        if (!rc)
            rc = sf_attrs_add_locked(a, e);
        if (!rc)
            p = sf_attrs_put_new_locked(e, &again);
        sf_mutex_unlock(&a->lock);
        if (rc)
            sf_attrs_entry_free(e);
    }
    if (p)
        sf_attrs_put_start(p, &again);
    sf_record_fini(r);
    return rc;
}

void
sf_attrs_replayed(struct sf_writer *w)
{
    struct sf_attrs *a = w->attrs;
    sf_mutex_lock(&a->lock);
    int64_t due = sf_attrs_next_due_locked(a);
    sf_mutex_unlock(&a->lock);
    sf_attrs_arm(a, due);
}

void
sf_attrs_get_stats(struct sf_attrs *a, struct sf_attrs_stats *out)
{
    SF_GUARD(&a->lock);
    *out = (struct sf_attrs_stats){.pending = a->waiting.n + a->busy.n, .local = a->local.n};
}
