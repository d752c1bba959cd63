/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/attrs-internal.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "write/journal.h"
#include "write/meta.h"
#include "write/step.h"

/* ---- lists ----------------------------------------------------------------------------------- */

static struct sf_attrs_list *
list_of_locked(struct sf_attrs *a, enum sf_attrs_state state)
{
    return state == SF_ATTRS_WAITING ? &a->waiting : state == SF_ATTRS_LOCAL ? &a->local : &a->busy;
}

/* Sorted by due_ms from the end, where new ones belong. */
static void
sf_attrs_list_add_locked(struct sf_attrs_list *l, struct sf_attrs_entry *e)
{
    struct sf_attrs_entry *before = l->last;
    while (before && before->due_ms > e->due_ms)
        before = before->prev;
    e->prev = before;
    e->next = before ? before->next : l->first;
    *(before ? &before->next : &l->first) = e;
    *(e->next ? &e->next->prev : &l->last) = e;
    l->n++;
}

void
sf_attrs_list_remove_locked(struct sf_attrs_list *l, struct sf_attrs_entry *e)
{
    *(e->prev ? &e->prev->next : &l->first) = e->next;
    *(e->next ? &e->next->prev : &l->last) = e->prev;
    e->prev = e->next = NULL;
    l->n--;
}

void
sf_attrs_set_state_locked(struct sf_attrs *a, struct sf_attrs_entry *e, enum sf_attrs_state state)
{
    sf_attrs_list_remove_locked(list_of_locked(a, e->state), e);
    e->state = state;
    sf_attrs_list_add_locked(list_of_locked(a, state), e);
}

void
sf_attrs_told_add(struct sf_attrs_told **list, struct sf_attrs_told *t)
{
    while (*list)
        list = &(*list)->next;
    *list = t;
}

/* ---- entries --------------------------------------------------------------------------------- */

void
sf_attrs_entry_free(struct sf_attrs_entry *e)
{
    free(e->name);
    free(e->xattrs);
    free(e->mime);
    free(e->cache_control);
    free(e->reason);
    seqs_fini(&e->older);
    free(e);
}

int
sf_attrs_entry_name(struct sf_attrs_entry *e, const char *bucket, const char *key)
{
    size_t nb = strlen(bucket) + 1, nk = strlen(key);
    char *name = malloc(nb + nk + 1);
    if (!name)
        return -ENOMEM;
    memcpy(name, bucket, nb);
    memcpy(name + nb, key, nk + 1);
    free(e->name);
    e->name = name;
    e->name_len = nb + nk;
    e->bucket = name;
    e->key = name + nb;
    return 0;
}

struct sf_attrs_entry *
sf_attrs_entry_new(struct sf_writer *w, const char *bucket, const char *key)
{
    struct sf_attrs_entry *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->w = w;
    e->job.run = sf_attrs_job;
    e->due_ms = sf_clock_ms() + SF_ATTRS_MERGE_MS;
    if (sf_attrs_entry_name(e, bucket, key)) {
        free(e);
        return NULL;
    }
    return e;
}

struct sf_attrs_entry *
sf_attrs_find_locked(const struct sf_attrs *a, const char *bucket, const char *key)
{
    struct sf_attrs_entry *e = NULL, probe = {0};
    if (sf_attrs_entry_name(&probe, bucket, key))
        return NULL;
    HASH_FIND(hh, a->table, probe.name, probe.name_len, e);
    free(probe.name);
    return e;
}

int
sf_attrs_add_locked(struct sf_attrs *a, struct sf_attrs_entry *e)
{
    memset(&e->hh, 0, sizeof e->hh);
    HASH_ADD_KEYPTR(hh, a->table, e->name, e->name_len, e);
    if (!SF_HTAB_ADDED(e))
        return -ENOMEM;
    sf_attrs_list_add_locked(list_of_locked(a, e->state), e);
    return 0;
}

void
sf_attrs_remove_locked(struct sf_attrs *a, struct sf_attrs_entry *e)
{
    HASH_DEL(a->table, e);
    sf_attrs_list_remove_locked(list_of_locked(a, e->state), e);
}

int
sf_attrs_merge_locked(struct sf_attrs_entry *to, struct sf_attrs_entry *e)
{
    char *xattrs = NULL;
    bool another = sf_mark_is_another(&to->mark, &e->mark);
    int rc = seqs_reserve(&to->older, e->older.len + 1);
    if (!rc)
        rc = sf_xattrs_merge(another ? NULL : e->xattrs, to->xattrs, true, &xattrs);
    if (rc)
        return rc;
    free(to->xattrs);
    to->xattrs = xattrs;
    if (!another && !to->mime)
        to->mime = sf_steal(e->mime);
    if (!another && !to->cache_control)
        to->cache_control = sf_steal(e->cache_control);
    to->stale = true;
    (void)seqs_push(&to->older, e->seq);
    SF_VEC_FOREACH (&e->older, seq)
        (void)seqs_push(&to->older, *seq);
    sf_attrs_told_add(&e->settled, to->settled);
    to->settled = sf_steal(e->settled);
    sf_attrs_told_add(&e->kept, to->kept);
    to->kept = sf_steal(e->kept);
    return 0;
}

void
sf_attrs_grab_locked(struct sf_attrs *a, struct sf_attrs_entry *e)
{
    e->before = e->state;
    HASH_DEL(a->table, e);
    sf_attrs_set_state_locked(a, e, SF_ATTRS_BUSY);
    e->running = true;
}

/* ---- telling --------------------------------------------------------------------------------- */

void
sf_attrs_flush_one(struct sf_attrs *a, struct sf_attrs_flush *f, const struct sf_err *err)
{
    sf_mutex_lock(&a->lock);
    if (err && !f->err.code)
        f->err = *err;
    bool last = --f->left == 0;
    sf_mutex_unlock(&a->lock);
    if (!last)
        return;
    f->cb(f->arg, f->err.code ? &f->err : NULL);
    free(f);
}

/* Tell all of a list, which is the caller's; no lock held. */
void
sf_attrs_tell(struct sf_attrs *a, struct sf_attrs_told *t, const struct sf_err *err,
              const struct sf_version *now)
{
    while (t) {
        struct sf_attrs_told *next = t->next;
        if (t->kept)
            t->kept(t->arg, err);
        else if (t->settled)
            t->settled(t->arg, err, now);
        else
            sf_attrs_flush_one(a, t->flush, err);
        free(t);
        t = next;
    }
}

/* ---- the record ------------------------------------------------------------------------------ */

int
sf_attrs_record_of(const struct sf_attrs_entry *e, enum sf_record_state state, struct sf_record *r)
{
    char mark[SF_MARK_SIZE];
    *r = (struct sf_record){.seq = e->seq,
                            .kind = SF_RECORD_ATTRS,
                            .state = state,
                            .attempts = e->attempts,
                            .err = e->err,
                            .base = e->seen};
    memcpy(r->op, e->op, sizeof r->op);
    int rc = sf_mark_format(&e->mark, mark, sizeof mark);
    if (rc > 0)
        rc = sf_record_set(&r->mark, mark);
    if (!rc)
        rc = sf_record_set(&r->bucket, e->bucket);
    if (!rc)
        rc = sf_record_set(&r->key, e->key);
    if (!rc)
        rc = sf_record_set(&r->xattrs, e->xattrs);
    if (!rc)
        rc = sf_record_set(&r->mime, e->mime);
    if (!rc)
        rc = sf_record_set(&r->set_cache_control, e->cache_control);
    if (!rc)
        rc = sf_record_set(&r->reason, e->reason);
    if (rc)
        sf_record_fini(r);
    return rc;
}

int
sf_attrs_record(struct sf_attrs_entry *e, enum sf_record_state state)
{
    sf_autorecord struct sf_record r;
    int rc = sf_attrs_record_of(e, state, &r);
    return rc ? rc : sf_journal_put(e->w->journal, &r);
}

void
sf_attrs_drop_older(struct sf_attrs_entry *e)
{
    SF_VEC_FOREACH (&e->older, seq)
        sf_journal_drop(e->w->journal, *seq);
    seqs_clear(&e->older);
}

/* A record on its way; those who wait for it. */
struct sf_attrs_put {
    struct sf_attrs_entry *e;
    uint64_t seq;
    struct seqs older; /* records that this one makes superfluous */
    struct sf_attrs_told *kept;
};

static void put_done(void *arg, int rc);

/* Take what has to be written, if nothing is on its way. The caller then calls
 * sf_attrs_put_start(). */
struct sf_attrs_put *
sf_attrs_put_new_locked(struct sf_attrs_entry *e, struct sf_record *r)
{
    struct sf_attrs_put *p;
    if (e->putting || !e->stale || e->state == SF_ATTRS_BUSY || e->w->attrs->stopping)
        return NULL;
    p = malloc(sizeof *p);
    if (!p ||
        sf_attrs_record_of(
            e, e->state == SF_ATTRS_LOCAL ? SF_RECORD_ATTRS_LOCAL : SF_RECORD_ATTRS_WANTED, r)) {
        free(p);
        return NULL;
    }
    *p = (struct sf_attrs_put){.e = e, .seq = e->seq, .kept = sf_steal(e->kept), .older = e->older};
    e->older = (struct seqs){0};
    e->putting = true;
    e->stale = false;
    return p;
}

void
sf_attrs_put_start(struct sf_attrs_put *p, struct sf_record *r)
{
    sf_journal_put_async(p->e->w->journal, r, &p->seq, put_done, p);
    sf_record_fini(r);
}

/* ---- to the queue ---------------------------------------------------------------------------- */

/* Out of the table and into the list of the busy, if it may go; then the caller queues it. */
static bool
begin_locked(struct sf_attrs *a, struct sf_attrs_entry *e)
{
    if (!e->recorded) {
        e->hurry = true;
        return false;
    }
    HASH_DEL(a->table, e);
    e->before = SF_ATTRS_WAITING;
    sf_attrs_set_state_locked(a, e, SF_ATTRS_BUSY);
    return true;
}

/* Until they are in their lanes no rename changes their names, and sf_attrs_stop(), after which the
 * queue goes, does not return. */
void
sf_attrs_queue_all(struct sf_attrs *a, struct sf_job *first)
{
    if (!first)
        return;
    while (first) {
        const struct sf_attrs_entry *e = (struct sf_attrs_entry *)first;
        struct sf_job *next = first->next;
        struct sf_job_key key = {e->bucket, e->key};
        sf_queue_add(a->w->queue, first, &key, 1);
        first = next;
    }
    SF_GUARD(&a->lock);
    if (--a->queueing == 0)
        sf_cond_broadcast(&a->put);
}

/* Is it an entry of this key, or of one below this prefix? */
bool
sf_attrs_matches(const struct sf_attrs_entry *e, const char *bucket, const char *key)
{
    if (!bucket)
        return true;
    size_t n = strlen(key);
    if (strcmp(e->bucket, bucket))
        return false;
    return n == 0 || key[n - 1] == '/' ? strncmp(e->key, key, n) == 0 : !strcmp(e->key, key);
}

/* Begin those that match and are due; *ready: for sf_attrs_queue_all(). */
void
sf_attrs_begin_all_locked(struct sf_attrs *a, const char *bucket, const char *key, int64_t due_ms,
                          struct sf_job **ready)
{
    struct sf_job **end = ready;
    *ready = NULL;
    for (struct sf_attrs_entry *e = a->waiting.first, *next; e && !a->stopping; e = next) {
        next = e->next;
        if (e->due_ms > due_ms)
            break;
        if (!sf_attrs_matches(e, bucket, key) || !begin_locked(a, e))
            continue;
        e->job.next = NULL;
        *end = &e->job;
        end = &e->job.next;
    }
    a->queueing += *ready != NULL;
}

/* When the timer has to run next; 0 = not. Those that hurry are begun without it. */
int64_t
sf_attrs_next_due_locked(const struct sf_attrs *a)
{
    for (const struct sf_attrs_entry *e = a->waiting.first; e; e = e->next)
        if (!e->hurry)
            return e->due_ms;
    return 0;
}

void
sf_attrs_arm(struct sf_attrs *a, int64_t due_ms)
{
    if (due_ms)
        (void)sf_timer_set_earlier(a->w->timers, &a->timer, due_ms);
}

void
sf_attrs_on_timer(struct sf_timer *t)
{
    struct sf_attrs *a = (struct sf_attrs *)((char *)t - offsetof(struct sf_attrs, timer));
    struct sf_job *ready;
    sf_mutex_lock(&a->lock);
    sf_attrs_begin_all_locked(a, NULL, NULL, sf_clock_ms(), &ready);
    int64_t due = a->stopping ? 0 : sf_attrs_next_due_locked(a);
    sf_mutex_unlock(&a->lock);
    sf_attrs_arm(a, due);
    sf_attrs_queue_all(a, ready);
}

/* The record is on disk: say so, and drop those that it has made superfluous. */
static void
put_told(struct sf_attrs_put *p, int rc, struct sf_err *err)
{
    struct sf_attrs_entry *e = p->e;
    struct sf_attrs *a = e->w->attrs;
    sf_mutex_lock(&a->lock);
    if (!rc) {
        e->seq = p->seq;
        e->recorded = true;
    } else {
        SF_VEC_FOREACH (&p->older, seq) /* they still count */
            (void)seqs_push(&e->older, *seq);
        (void)!sf_err_set(err, rc, "the journal does not take a change of %s/%s: %s", e->bucket,
                          e->key, strerror(-rc));
    }
    sf_mutex_unlock(&a->lock);
    if (!rc) {
        sf_step(SF_STEP_ATTRS_KEPT);
        SF_VEC_FOREACH (&p->older, seq)
            sf_journal_drop(e->w->journal, *seq);
    }
    seqs_fini(&p->older);
    sf_attrs_tell(a, p->kept, rc ? err : NULL, NULL);
    free(p);
}

/* A worker that has the entry already waits until this lets go of it (`putting`), so that nobody
 * hears of the end before he has heard of the beginning. */
static void
put_done(void *arg, int rc)
{
    struct sf_attrs_put *p = arg, *again = NULL;
    struct sf_attrs_entry *e = p->e;
    struct sf_attrs *a = e->w->attrs;
    struct sf_record r;
    struct sf_attrs_told *settled = NULL, *flushes = NULL;
    struct sf_job *go = NULL;
    struct sf_err err = SF_ERR_INIT;
    put_told(p, rc, &err);
    sf_mutex_lock(&a->lock);
    e->putting = false;
    /* Never on disk, and nobody else asked meanwhile: it has not happened. */
    bool drop = rc && !e->recorded && !e->kept;
    if (drop) {
        sf_attrs_remove_locked(a, e);
        settled = sf_steal(e->settled);
        flushes = sf_steal(e->flushes);
    } else if (e->hurry && e->state == SF_ATTRS_WAITING && e->recorded) {
        if (!a->stopping && begin_locked(a, e)) {
            e->job.next = NULL;
            go = &e->job;
            a->queueing++;
        }
    } else {
        again = sf_attrs_put_new_locked(e, &r);
    }
    sf_cond_broadcast(&a->put);
    sf_mutex_unlock(&a->lock);
    if (again)
        sf_attrs_put_start(again, &r);
    sf_attrs_queue_all(a, go);
    if (!drop)
        return;
    sf_attrs_tell(a, settled, &err, NULL);
    sf_attrs_tell(a, flushes, &err, NULL);
    sf_attrs_entry_free(e);
}
