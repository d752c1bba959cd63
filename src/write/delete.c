/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/delete.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/attrs.h"
#include "write/change.h"
#include "write/failure.h"
#include "write/journal.h"
#include "write/record.h"
#include "write/step.h"
#include "write/told.h"
#include "write/timer.h"
#include "write/writer.h"

#define BATCH_MAX 500 /* keys of one request: the service removes so many in one transaction */
#define QUIET_MS  20  /* without another removal, and they are sent */
#define LATEST_MS 500
#define RETRY_MIN 1000
#define RETRY_MAX 60000

/* One removal. First it is written to the journal, then it enters the lane of its key; when the
 * lane is its own it is collected; then a batch sends it. */
struct removal {
    struct sf_job job;
    struct removal *next; /* of those collected, or of a batch */
    struct sf_writer *w;
    char *bucket, *key;
    struct sf_version known;
    uint64_t seq;           /* of its record */
    struct sf_place *place; /* its lane */
    bool look;              /* of an earlier run: only if it is that version still */
    bool twice;             /* it was there after a request that did not remove it */
    struct removal *earlier_next;
    sf_write_fn kept, settled;
    void *arg;

    /* sf_deletes.lock */
    bool told;  /* kept() has run */
    bool ended; /* settled() is to run, with err */
    struct sf_err err;
};

struct sf_deletes {
    struct sf_writer *w;
    struct sf_timer timer;

    struct sf_mutex lock;    /* leaf; protects the fields below */
    struct removal *earlier; /* of an earlier run, the latest first, which nobody waits for yet */
    struct removal *first, **tail;
    size_t n;
    int64_t since_ms;      /* the oldest is collected since then */
    int64_t quiet_ms;      /* when no more are waited for */
    unsigned failures;     /* in a row, of requests that may succeed later */
    int64_t failed_ms;     /* the last of these */
    int64_t hold_until_ms; /* because of them */
    struct sf_err why;     /* of the last */
    bool stopped;
};

struct batch {
    struct sf_job job;
    struct sf_deletes *d;
    struct removal *first;
    unsigned failures; /* before it was taken */
    bool again;        /* some are to be tried later */
    struct sf_removed removed[BATCH_MAX];
    const char *keys[BATCH_MAX];
};

/* ---- the end of one ------------------------------------------------------------------------- */

static void
removal_free(struct removal *r)
{
    free(r->bucket);
    free(r->key);
    free(r);
}

static void
removal_tell(struct removal *r)
{
    r->settled(r->arg, r->err.code ? &r->err : NULL);
    removal_free(r);
}

/* Its lane, until no start finds its record any more: that would hide what has the name since. */
struct leaving {
    struct sf_queue *queue;
    struct sf_place *place;
};

static void
leave(void *arg, int rc)
{
    sf_autofree struct leaving *l = arg;
    (void)rc;
    sf_queue_leave(l->queue, l->place);
}

static void
leave_dropped(struct sf_writer *w, struct sf_place *place)
{
    struct leaving *l = place ? malloc(sizeof *l) : NULL;
    if (l) {
        *l = (struct leaving){w->queue, place};
        sf_journal_settle_async(w->journal, leave, l);
    } else {
        sf_queue_leave(w->queue, place);
    }
}

/* It is settled (@err NULL: the object is gone), or given up for now (@keep: the record stays). */
static void
removal_end(struct removal *r, const struct sf_err *err, bool keep)
{
    struct sf_writer *w = r->w;
    struct sf_deletes *d = w->deletes;
    struct sf_place *place = r->place;
    if (!err || err->code == -ENOENT) {
        (void)sf_attrs_gone(r->w, r->bucket, r->key); /* their records go before that one's */
        sf_told_delete(r->w, r->bucket, r->key, &r->known);
    } else if (!keep) {
        sf_warn("write", "event=removal-refused object=%s/%s err=%s reason=%s", r->bucket, r->key,
                sf_errno_name(err->code), err->msg);
        sf_count(SF_C_REMOVALS_REFUSED, 1);
        atomic_fetch_add(&r->w->removals_refused, 1);
    }
    if (!keep) {
        sf_journal_drop(r->w->journal, r->seq);
        sf_step(SF_STEP_DELETE_DONE);
    }
    sf_mutex_lock(&d->lock);
    r->ended = true;
    r->err = err && err->code != -ENOENT ? *err : SF_ERR_INIT;
    bool told = r->told;
    sf_mutex_unlock(&d->lock);
    if (told)
        removal_tell(r);
    if (keep)
        sf_queue_leave(w->queue, place);
    else
        leave_dropped(w, place);
}

/* ---- a batch -------------------------------------------------------------------------------- */

static void collect(struct sf_deletes *d, struct removal *r);
static void arm(struct sf_deletes *d);

/* After a lost reply, or one that did not name it: 0 gone; 1 it is there; or why that is open. */
static int
look(struct removal *r, bool *same, int64_t deadline_ms, struct sf_err *err)
{
    sf_autoobject struct sf_object now = {0};
    struct sf_version v;
    int rc = sf_storage_info_wait(r->w->st, r->bucket, r->key, deadline_ms, &now, err);
    if (rc == -ENOENT)
        return 0;
    if (rc)
        return rc;
    sf_version_of_object(&now, &v);
    *same = !sf_version_known(&r->known) || sf_version_same(&r->known, &v);
    return 1;
}

/* To those collected, to be sent with them; at the end the next start does it. */
static void
put_back(struct removal *r, const struct sf_err *why)
{
    if (sf_writer_stopping(r->w))
        removal_end(r, why, true);
    else
        collect(r->w->deletes, r);
}

/* It was not among those removed, or nobody knows. Returns false: to be sent again. */
static bool
removal_settle(struct removal *r, bool answered, int64_t deadline_ms)
{
    struct sf_err err = SF_ERR_INIT;
    bool same = true;
    int rc = look(r, &same, deadline_ms, &err);
    if (rc == 1 && answered && same) {
        err = SF_ERR_INIT;
        (void)!sf_err_set(&err, -EACCES, "%s/%s may not be removed with this key", r->bucket,
                          r->key);
        if (r->twice) {
            removal_end(r, &err, false);
        } else { /* or an upload has arrived between the two, late */
            r->twice = true;
            put_back(r, &err);
        }
        return true;
    }
    if (rc == 0 || (rc == 1 && !same)) { /* another one since: somebody else's */
        removal_end(r, NULL, false);
        return true;
    }
    /* An answer to the look that nobody understands refuses nothing. */
    if (rc == 1 || rc == -EIO || sf_failure_is_held(&err))
        return false;
    removal_end(r, &err, false);
    return true;
}

/* The service could not do it, or nobody knows: not for a while, longer each time. Of those that
 * were under way at the same time one counts. */
static void
hold(const struct batch *b, const struct sf_err *err)
{
    struct sf_deletes *d = b->d;
    int64_t pause = RETRY_MIN;
    SF_GUARD(&d->lock);
    d->why = *err;
    if (b->failures != d->failures)
        return;
    for (unsigned i = 0; i < d->failures && pause < RETRY_MAX; i++)
        pause *= 2;
    d->failures++;
    d->failed_ms = sf_clock_ms();
    d->hold_until_ms = d->failed_ms + (pause < RETRY_MAX ? pause : RETRY_MAX);
}

/* What is open or has to wait goes back to those collected, and is tried later. */
static void
again(struct batch *b, struct removal *r, const struct sf_err *err)
{
    if (!b->again)
        hold(b, err);
    b->again = true;
    put_back(r, err);
}

static void
batch_answered(struct batch *b, bool answered, int64_t deadline_ms)
{
    struct removal *r = sf_steal(b->first);
    struct sf_err open = SF_ERR_INIT;
    (void)!sf_err_set(&open, -EIO, "it is not known whether it was removed");
    for (size_t i = 0; r; i++) {
        struct removal *next = r->next;
        if (answered && b->removed[i].removed) {
            sf_change_removed(r->bucket, r->key, &r->known, &b->removed[i].version);
            removal_end(r, NULL, false);
        } else if (!removal_settle(r, answered, deadline_ms)) {
            again(b, r, &open);
        }
        r = next;
    }
}

static void
batch_failed(struct batch *b, const struct sf_err *err)
{
    struct removal *r = sf_steal(b->first);
    bool held = err->code == -ECANCELED || sf_failure_is_held(err);
    for (struct removal *next; r; r = next) {
        next = r->next;
        if (held)
            again(b, r, err);
        else
            removal_end(r, err, false);
    }
}

/* Fill what is open of the objects; one whose bytes cannot be had now waits. Returns how many are
 * left. */
static size_t
batch_keys(struct batch *b, int64_t deadline_ms)
{
    size_t n = 0;
    for (struct removal **p = &b->first, *r; (r = *p);) {
        struct sf_err err = SF_ERR_INIT;
        bool same = true;
        int rc = r->look ? look(r, &same, deadline_ms, &err) : 1;
        if (rc == 1 && same)
            rc = sf_sources_rescue(r->w, r->bucket, r->key, deadline_ms, &err) ? -EAGAIN : 1;
        if (rc == 1 && same) {
            b->keys[n++] = r->key;
            p = &r->next;
            continue;
        }
        *p = r->next;
        if (rc >= 0)
            removal_end(r, NULL, false); /* gone, or another one since */
        else
            again(b, r, &err);
    }
    return n;
}

static void
batch_run(struct sf_job *job, const struct sf_err *refused)
{
    struct batch *b = (struct batch *)job;
    struct sf_writer *w = b->d->w;
    int64_t deadline_ms = sf_writer_deadline(w, 0);
    struct sf_err err = SF_ERR_INIT;
    size_t n = refused ? 0 : batch_keys(b, deadline_ms);
    int rc = n ? sf_storage_delete_many_wait(w->st, b->first->bucket, b->keys, n,
                                             sf_writer_try_until(w, deadline_ms), b->removed, &err)
               : 0;
    if (n)
        sf_step(SF_STEP_DELETE_SENT);
    if (refused)
        batch_failed(b, refused);
    else if (!rc || err.outcome_open)
        batch_answered(b, !rc, deadline_ms);
    else
        batch_failed(b, &err);
    if (!b->again) {
        sf_mutex_lock(&b->d->lock);
        b->d->failures = 0;
        b->d->hold_until_ms = 0;
        sf_mutex_unlock(&b->d->lock);
        arm(b->d); /* others may wait for the end of that */
    }
    free(b);
}

/* ---- collecting ----------------------------------------------------------------------------- */

/* Take those of the first one's bucket, at most so many as one request takes. */
static struct batch *
batch_take_locked(struct sf_deletes *d)
{
    struct batch *b = d->first ? calloc(1, sizeof *b) : NULL;
    if (!b)
        return NULL;
    b->job.run = batch_run;
    b->d = d;
    b->failures = d->failures;
    struct removal **out = &b->first;
    size_t n = 0;
    for (struct removal **p = &d->first, *r; (r = *p) && n < BATCH_MAX;) {
        if (b->first && strcmp(r->bucket, b->first->bucket) != 0) {
            p = &r->next;
            continue;
        }
        *p = r->next;
        r->next = NULL;
        *out = r;
        out = &r->next;
        n++;
    }
    d->n -= n;
    d->tail = &d->first;
    while (*d->tail)
        d->tail = &(*d->tail)->next;
    return b;
}

void
sf_deletes_hurry(struct sf_deletes *d)
{
    for (;;) {
        sf_mutex_lock(&d->lock);
        struct batch *b = sf_clock_ms() < d->hold_until_ms ? NULL : batch_take_locked(d);
        sf_mutex_unlock(&d->lock);
        if (!b)
            return;
        sf_queue_add(d->w->queue, &b->job, NULL, 0);
    }
}

void
sf_deletes_retry(struct sf_deletes *d)
{
    sf_mutex_lock(&d->lock);
    d->hold_until_ms = 0;
    sf_mutex_unlock(&d->lock);
    sf_deletes_hurry(d);
}

void
sf_deletes_hold(struct sf_deletes *d, struct sf_deletes_hold *out)
{
    SF_GUARD(&d->lock);
    *out = (struct sf_deletes_hold){.failures = d->failures};
    if (d->failures) {
        out->until_ms = d->hold_until_ms;
        out->why = d->why;
    }
}

static void
timer_due(struct sf_timer *t)
{
    sf_deletes_hurry((struct sf_deletes *)((char *)t - offsetof(struct sf_deletes, timer)));
}

/* Set the timer to when those collected are to be sent. Whoever changes that calls this afterwards;
 * the last to set it has seen the last change. */
static void
arm(struct sf_deletes *d)
{
    for (int64_t set = 0;;) {
        sf_mutex_lock(&d->lock);
        int64_t at = d->quiet_ms < d->hold_until_ms ? d->hold_until_ms : d->quiet_ms;
        bool any = d->first != NULL;
        sf_mutex_unlock(&d->lock);
        if (!any || at == set)
            return;
        set = at;
        if (sf_timer_set(d->w->timers, &d->timer, at)) {
            sf_deletes_hurry(d);
            return;
        }
    }
}

void
sf_deletes_wake(struct sf_deletes *d)
{
    sf_mutex_lock(&d->lock);
    int64_t at = d->failed_ms + RETRY_MIN;
    bool sooner = d->first && at < d->hold_until_ms;
    if (sooner)
        d->hold_until_ms = at;
    sf_mutex_unlock(&d->lock);
    if (sooner)
        arm(d);
}

static void
collect(struct sf_deletes *d, struct removal *r)
{
    int64_t now = sf_clock_ms();
    sf_mutex_lock(&d->lock);
    bool stopped = d->stopped;
    r->next = NULL;
    if (!stopped) {
        if (!d->n++)
            d->since_ms = now;
        int64_t latest = d->since_ms + LATEST_MS;
        d->quiet_ms = now + QUIET_MS < latest ? now + QUIET_MS : latest;
        *d->tail = r;
        d->tail = &r->next;
    }
    bool full = d->n >= BATCH_MAX && now >= d->hold_until_ms;
    sf_mutex_unlock(&d->lock);
    if (stopped) {
        struct sf_err err = SF_ERR_INIT;
        (void)!sf_err_set(&err, -ECANCELED, "the writer is being stopped");
        removal_end(r, &err, true);
    } else if (full) {
        sf_deletes_hurry(d);
    } else {
        arm(d);
    }
}

/* It has its lane. */
static void
removal_run(struct sf_job *job, const struct sf_err *refused)
{
    struct removal *r = (struct removal *)job;
    r->place = sf_queue_keep(job);
    if (refused) /* acknowledged all the same: done after the next start, or told now */
        removal_end(r, refused, refused->code == -ECANCELED);
    else
        collect(r->w->deletes, r);
}

/* ---- asking --------------------------------------------------------------------------------- */

static struct removal *
removal_new(struct sf_writer *w, char *bucket, char *key, const struct sf_version *known)
{
    struct removal *r = bucket && key ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        free(bucket);
        free(key);
        return NULL;
    }
    r->job.run = removal_run;
    r->w = w;
    r->bucket = bucket;
    r->key = key;
    if (known)
        r->known = *known;
    return r;
}

static void
removal_enter(struct removal *r)
{
    struct sf_job_key lane = {r->bucket, r->key};
    sf_queue_add(r->w->queue, &r->job, &lane, 1);
}

/* The record is durable, or it could not be written. */
static void
removal_kept(void *arg, int rc)
{
    struct removal *r = arg;
    struct sf_deletes *d = r->w->deletes;
    struct sf_err err = SF_ERR_INIT;
    if (rc) {
        (void)!sf_err_set(&err, rc, "the journal cannot be written: %s", strerror(-rc));
        r->kept(r->arg, &err);
        sf_queue_release(r->w->queue);
        removal_free(r);
        return;
    }
    sf_step(SF_STEP_DELETE_KEPT);
    /* In its lane before anybody can ask for what comes after it. It may end before kept() has
     * been called; then settled() is called from here. */
    sf_write_fn kept = r->kept;
    void *kept_arg = r->arg;
    removal_enter(r);
    kept(kept_arg, NULL);
    sf_mutex_lock(&d->lock);
    r->told = true;
    bool ended = r->ended;
    sf_mutex_unlock(&d->lock);
    if (ended)
        removal_tell(r);
    sf_queue_release(d->w->queue);
}

void
sf_write_delete_behind(struct sf_writer *w, const char *bucket, const char *key,
                       const struct sf_version *known, sf_write_fn kept, sf_write_fn settled,
                       void *arg)
{
    struct removal *r = removal_new(w, strdup(bucket), strdup(key), known);
    if (!r) {
        struct sf_err err = SF_ERR_INIT;
        (void)!sf_err_set(&err, -ENOMEM, "out of memory");
        kept(arg, &err);
        return;
    }
    r->kept = kept;
    r->settled = settled;
    r->arg = arg;
    const struct sf_record rec = {.kind = SF_RECORD_DELETE,
                                  .state = SF_RECORD_DELETE_WANTED,
                                  .bucket = r->bucket,
                                  .key = r->key,
                                  .base = r->known};
    sf_queue_hold(w->queue); /* until it is in its lane */
    sf_journal_put_async(w->journal, &rec, &r->seq, removal_kept, r);
}

static void
nobody_waits(void *arg, const struct sf_err *err)
{
    (void)arg, (void)err; /* the log has it */
}

int
sf_replay_delete(struct sf_writer *w, struct sf_record *rec)
{
    struct removal *r = removal_new(w, sf_steal(rec->bucket), sf_steal(rec->key), &rec->base);
    if (!r)
        return -ENOMEM;
    struct sf_deletes *d = w->deletes;
    r->seq = rec->seq;
    r->look = true;
    sf_mutex_lock(&d->lock);
    r->earlier_next = d->earlier;
    d->earlier = r;
    sf_mutex_unlock(&d->lock);
    removal_enter(r);
    return 0;
}

void
sf_writer_earlier_removals(struct sf_writer *w, sf_removal_fn fn, void *arg, sf_write_fn settled)
{
    struct sf_deletes *d = w->deletes;
    for (;;) {
        sf_mutex_lock(&d->lock);
        struct removal *r = d->earlier;
        if (r)
            d->earlier = r->earlier_next;
        sf_mutex_unlock(&d->lock);
        if (!r)
            return;
        void *waits = fn(arg, r->bucket, r->key);
        sf_mutex_lock(&d->lock);
        r->settled = waits ? settled : nobody_waits;
        r->arg = waits;
        r->told = true;
        bool ended = r->ended;
        sf_mutex_unlock(&d->lock);
        if (ended)
            removal_tell(r);
    }
}

/* ---- start and end -------------------------------------------------------------------------- */

int
sf_deletes_new(struct sf_writer *w, struct sf_deletes **ret)
{
    struct sf_deletes *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    sf_mutex_init(&d->lock, 0);
    d->w = w;
    d->timer.fn = timer_due;
    d->tail = &d->first;
    *ret = d;
    return 0;
}

void
sf_write_deletes_end(struct sf_writer *w)
{
    struct sf_deletes *d = w->deletes;
    struct sf_err err = SF_ERR_INIT;
    (void)!sf_err_set(&err, -ECANCELED, "the writer is being stopped");
    sf_mutex_lock(&d->lock);
    d->stopped = true;
    struct removal *r = sf_steal(d->first);
    d->tail = &d->first;
    d->n = 0;
    sf_mutex_unlock(&d->lock);
    for (struct removal *next; r; r = next) {
        next = r->next;
        removal_end(r, &err, true);
    }
}

void
sf_deletes_free(struct sf_deletes *d)
{
    if (!d)
        return;
    assert(!d->first);
    for (struct removal *r = d->earlier, *next; r; r = next) {
        next = r->earlier_next;
        removal_free(r);
    }
    sf_mutex_fini(&d->lock);
    free(d);
}
