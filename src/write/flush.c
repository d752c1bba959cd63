/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/htab.h"
#include "observe/log.h"
#include "write/attrs.h"
#include "write/commit.h"
#include "write/delete.h"
#include "write/journal.h"
#include "write/pending.h"

#define LOOK_MIN_MS 5
#define LOOK_MAX_MS 100
#define WAKE_MS     2000 /* somebody looks at it: what rests is tried more often than otherwise */

/* Somebody waits until all that was acknowledged by now is in the bucket. */

struct waited {
    struct sf_content *c; /* counted */
    uint64_t gen;         /* the bucket is to have this one */
};
SF_VEC_DEFINE(waited_vec, struct waited);
SF_VEC_DEFINE(number_vec, uint64_t);

struct flush {
    struct sf_writer *w;
    const struct sf_flush_args *args;
    struct waited_vec contents;
    struct number_vec others; /* records of other kinds */
    struct number_vec local;  /* sorted: attributes that cannot be written */
    uint64_t removals_refused;
    unsigned refused; /* contents that are done with */
    int rc;
};

static void
flush_fini(struct flush *f)
{
    for (size_t i = 0; i < f->contents.len; i++)
        sf_content_unref(f->contents.data[i].c);
    waited_vec_fini(&f->contents);
    number_vec_fini(&f->others);
    number_vec_fini(&f->local);
}

static bool
is_meant(const struct sf_flush_args *a, const char *bucket, const char *key)
{
    size_t n = a->bucket ? strlen(a->key) : 0;
    if (!a->bucket)
        return true;
    if (!bucket || !key || strcmp(a->bucket, bucket) != 0)
        return false;
    return n == 0 || a->key[n - 1] == '/' ? strncmp(key, a->key, n) == 0 : strcmp(key, a->key) == 0;
}

/* ---- what to wait for ----------------------------------------------------------------------- */

static bool
is_dirty(void *arg, struct sf_content *c)
{
    (void)arg;
    return sf_content_dirty(c);
}

/* Acknowledged: the journal has it, or its upload was asked for. Not what a program is writing.
 * What was dirty a moment ago and is not any more may have been refused, which counts. */
static int
take_contents(struct flush *f)
{
    sf_defer(sf_pending_contents_fini) struct sf_content_vec all = {0};
    int rc = sf_pending_contents(f->w, is_dirty, NULL, &all);
    for (size_t i = 0; !rc && i < all.len; i++) {
        struct sf_content *c = all.data[i];
        sf_mutex_lock(&c->lock);
        bool ended = !sf_content_dirty(c);
        bool meant = (sf_kept_seq(c) || c->up || ended) && is_meant(f->args, c->bucket, c->key);
        const struct waited w = {c, sf_content_asked_gen_locked(c)};
        sf_mutex_unlock(&c->lock);
        rc = meant ? waited_vec_push(&f->contents, w) : 0;
        if (meant && !rc)
            (void)sf_content_ref(c);
    }
    return rc;
}

static void
take_number(void *arg, uint64_t seq, enum sf_record_kind kind)
{
    struct flush *f = arg;
    if (kind != SF_RECORD_CONTENT && number_vec_push(&f->others, seq))
        f->rc = -ENOMEM;
}

static int
take_meant(void *arg, struct sf_record *r)
{
    struct flush *f = arg;
    bool meant = is_meant(f->args, r->bucket, r->key) || is_meant(f->args, r->to_bucket, r->to_key);
    if (r->kind == SF_RECORD_CONTENT || !meant)
        return 0;
    return number_vec_push(&f->others, r->seq);
}

static int
take_others(struct flush *f)
{
    if (f->args->bucket)
        return sf_journal_each(f->w->journal, take_meant, f);
    sf_journal_numbers(f->w->journal, take_number, f);
    return f->rc;
}

/* ---- looking -------------------------------------------------------------------------------- */

/* Is it over with this content? Else it is counted. */
static bool
content_ended(struct flush *f, const struct waited *w, struct sf_flush_now *now)
{
    struct sf_content *c = w->c;
    uint64_t clean = atomic_load(&c->clean_gen), all = sf_content_size(c);
    bool dirty = sf_content_dirty(c) && clean < w->gen;
    SF_GUARD(&c->lock);
    bool failed = c->failure.code && !c->up && !sf_failure_is_held(&c->failure);
    if (!dirty || failed) {
        f->refused += failed && !atomic_load(&c->abandoned);
        return true;
    }
    now->left++;
    now->bytes += all - (c->uploading ? sf_pending_sent(c) : 0);
    if (c->failure.code && !now->reason[0])
        snprintf(now->reason, sizeof now->reason, "%s", c->failure.msg);
    return false;
}

static int
compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void
note_attrs(void *arg, const struct sf_attrs_entry *e)
{
    struct flush *f = arg;
    if (e->state == SF_ATTRS_LOCAL && number_vec_push(&f->local, e->seq))
        f->rc = -ENOMEM;
}

static void
look_at_others(struct flush *f, struct sf_flush_now *now)
{
    struct sf_deletes_hold hold;
    if (!f->others.len)
        return;
    number_vec_clear(&f->local);
    sf_attrs_each(f->w->attrs, note_attrs, f);
    if (f->local.len)
        qsort(f->local.data, f->local.len, sizeof *f->local.data, compare);
    for (size_t i = 0; i < f->others.len;) {
        uint64_t *seq = &f->others.data[i];
        if (!sf_journal_has(f->w->journal, *seq)) {
            number_vec_swap_remove(&f->others, i);
            continue;
        }
        bool local =
            f->local.len && bsearch(seq, f->local.data, f->local.len, sizeof *seq, compare);
        now->local += local;
        now->left += !local;
        i++;
    }
    sf_deletes_hold(f->w->deletes, &hold);
    if (hold.failures && !now->reason[0])
        snprintf(now->reason, sizeof now->reason, "%s", hold.why.msg);
}

static void
look(struct flush *f, struct sf_flush_now *now)
{
    *now = (struct sf_flush_now){.left = 0};
    for (size_t i = 0; i < f->contents.len;) {
        struct sf_content *c = f->contents.data[i].c;
        if (!content_ended(f, &f->contents.data[i], now)) {
            i++;
            continue;
        }
        waited_vec_swap_remove(&f->contents, i);
        sf_content_unref(c);
    }
    look_at_others(f, now);
    now->refused = f->refused;
    if (!f->args->bucket)
        now->refused += (unsigned)(atomic_load(&f->w->removals_refused) - f->removals_refused);
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* False: the writer ends. */
static bool
pause_until(struct sf_writer *w, int64_t until_ms)
{
    SF_GUARD(&w->lock);
    while (!w->stopping && !w->gave_up)
        if (sf_cond_timedwait_ms(&w->stopped, &w->lock, until_ms))
            return true;
    return false;
}

static void
hurry(struct flush *f, bool first)
{
    atomic_store(&f->w->troubled, false);
    for (size_t i = 0; first && i < f->contents.len; i++)
        sf_upload_wake(f->contents.data[i].c);
    if (!first)
        sf_upload_wake_all(f->w); /* some; each that succeeds wakes others */
    sf_attrs_push(f->w, f->args->bucket, f->args->key);
    sf_deletes_retry(f->w->deletes);
}

static int
wait(struct flush *f, struct sf_flush_now *now)
{
    const struct sf_flush_args *a = f->args;
    int64_t pause = LOOK_MIN_MS, woken = sf_clock_ms();
    hurry(f, true);
    for (;;) {
        look(f, now);
        if (f->rc || !now->left)
            return f->rc;
        int rc = a->progress ? a->progress(a->arg, now) : 0;
        int64_t t = sf_clock_ms();
        if (rc || t >= a->deadline_ms)
            return rc ? rc : -ETIMEDOUT;
        if (t - woken >= WAKE_MS) {
            hurry(f, false);
            woken = t;
        }
        if (!pause_until(f->w, t + pause < a->deadline_ms ? t + pause : a->deadline_ms))
            return -ECANCELED;
        pause = 2 * pause < LOOK_MAX_MS ? 2 * pause : LOOK_MAX_MS;
    }
}

void
sf_writer_left(struct sf_writer *w, bool settled, struct sf_flush_now *now)
{
    const struct sf_flush_args all = {.deadline_ms = 0};
    sf_defer(flush_fini) struct flush f = {
        .w = w, .args = &all, .removals_refused = atomic_load(&w->removals_refused)};
    if (settled)
        (void)sf_journal_settle(w->journal);
    /* Without memory it is less than there is. */
    (void)take_contents(&f);
    (void)take_others(&f);
    look(&f, now);
    if (!settled)
        return;
    now->bytes = 0; /* also what was sent of an upload that ends with the writer */
    for (size_t i = 0; i < f.contents.len; i++)
        now->bytes += sf_content_size(f.contents.data[i].c);
}

int
sf_writer_flush(struct sf_writer *w, const struct sf_flush_args *args, struct sf_flush_now *end)
{
    sf_defer(flush_fini) struct flush f = {
        .w = w, .args = args, .removals_refused = atomic_load(&w->removals_refused)};
    *end = (struct sf_flush_now){.left = 0};
    int rc = take_contents(&f);
    if (!rc)
        rc = take_others(&f);
    if (!rc)
        rc = wait(&f, end);
    (void)sf_journal_settle(w->journal); /* who looks now shall see what is left */
    return rc;
}
