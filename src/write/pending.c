/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/pending.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "write/attrs.h"
#include "write/commit.h"
#include "write/delete.h"
#include "write/journal.h"
#include "write/rename.h"

#define DROP_MS 10000 /* that somebody waits for the end of an upload that he has dropped */
#define LOOK_MS 20

/* What is in the journal, as a person sees it: the records say what it is; the contents, attributes
 * and removals in memory what becomes of it just now. */

/* ---- contents ------------------------------------------------------------------------------- */

int
sf_pending_contents(struct sf_writer *w, bool (*wanted)(void *arg, struct sf_content *c), void *arg,
                    struct sf_content_vec *ret)
{
    struct sf_content *c;
    SF_GUARD(&w->lock);
    DL_FOREACH2(w->alive, c, alive_next)
    {
        if (!wanted(arg, c))
            continue;
        if (sf_content_vec_reserve(ret, 1))
            return -ENOMEM;
        if (sf_content_ref_alive(c))
            (void)sf_content_vec_push(ret, c);
    }
    return 0;
}

void
sf_pending_contents_fini(struct sf_content_vec *v)
{
    for (size_t i = 0; i < v->len; i++)
        sf_content_unref(v->data[i]);
    sf_content_vec_fini(v);
}

static bool
has_record(void *arg, struct sf_content *c)
{
    (void)arg;
    return sf_kept_seq(c) != 0;
}

static bool
is_at(struct sf_content *c, const char *bucket, const char *key)
{
    SF_GUARD(&c->lock);
    return !strcmp(c->key, key) && !strcmp(c->bucket, bucket);
}

/* Those that the journal has for this key. As sf_pending_contents(). */
static int
contents_at(struct sf_writer *w, const char *bucket, const char *key, struct sf_content_vec *ret)
{
    uint64_t hash = sf_content_name_hash(bucket, key);
    struct sf_content_vec some = {0};
    struct sf_content *c;
    int rc = 0;
    sf_mutex_lock(&w->lock);
    DL_FOREACH2(w->names[hash % SF_CONTENT_NAMES], c, name_next)
    {
        if (c->name_hash != hash || !sf_kept_seq(c))
            continue;
        if (sf_content_vec_reserve(&some, 1) || sf_content_vec_reserve(ret, some.len + 1))
            rc = -ENOMEM;
        else if (sf_content_ref_alive(c))
            (void)sf_content_vec_push(&some, c);
    }
    sf_mutex_unlock(&w->lock);
    for (size_t i = 0; i < some.len; i++)
        if (is_at(some.data[i], bucket, key))
            (void)sf_content_vec_push(ret, sf_content_ref(some.data[i]));
    sf_pending_contents_fini(&some);
    return rc;
}

bool
sf_pending_has(struct sf_writer *w, const char *bucket, const char *key)
{
    sf_defer(sf_pending_contents_fini) struct sf_content_vec at = {0};
    return contents_at(w, bucket, key, &at) != 0 || at.len > 0;
}

void
sf_pending_abandon(struct sf_writer *w, const char *bucket, const char *key)
{
    sf_defer(sf_pending_contents_fini) struct sf_content_vec at = {0};
    (void)contents_at(w, bucket, key, &at); /* without memory: as many as there are */
    for (size_t i = 0; i < at.len; i++)
        (void)sf_content_abandon(at.data[i]);
}

void
sf_pending_figures(struct sf_writer *w, unsigned *files, uint64_t *bytes)
{
    const struct sf_content *c;
    *files = 0;
    *bytes = 0;
    SF_GUARD(&w->lock);
    DL_FOREACH2(w->alive, c, alive_next)
    {
        if (!sf_kept_seq(c))
            continue;
        ++*files;
        *bytes += sf_content_size(c);
    }
}

uint64_t
sf_pending_sent(struct sf_content *c)
{
    uint64_t all = sf_content_size(c), sent = atomic_load(&c->kept.progress.sent);
    return sent < all ? sent : all;
}

unsigned
sf_pending_percent(struct sf_content *c)
{
    uint64_t all = sf_content_size(c);
    return all ? (unsigned)(100 * sf_pending_sent(c) / all) : 0;
}

/* ---- what becomes of a record just now ------------------------------------------------------ */

struct live {
    uint64_t seq;
    bool running;
    unsigned percent;
    int64_t next_ms;
    unsigned attempts; /* if that is more than the record tells */
    int err;
    char *reason; /* NULL = as the record says */
};
SF_VEC_DEFINE(live_vec, struct live);

struct view {
    struct live_vec live;
    struct sf_deletes_hold deletes;
    int64_t now_ms;
    int rc;
    sf_pending_row_fn fn;
    void *arg;
};

static void
view_fini(struct view *v)
{
    for (size_t i = 0; i < v->live.len; i++)
        free(v->live.data[i].reason);
    live_vec_fini(&v->live);
}

static void
view_add(struct view *v, const struct live *l, const char *reason)
{
    struct live own = *l;
    own.reason = reason && reason[0] ? strdup(reason) : NULL;
    if (live_vec_push(&v->live, own)) {
        free(own.reason);
        v->rc = -ENOMEM;
    }
}

static int64_t
from_now(const struct view *v, int64_t at_ms)
{
    return at_ms > v->now_ms ? at_ms - v->now_ms : 0;
}

static void
look_at_content(struct view *v, struct sf_content *c)
{
    SF_GUARD(&c->lock);
    bool rests = c->up && c->up->resting;
    const struct live l = {.seq = sf_kept_seq(c),
                           .running = c->uploading,
                           .percent = c->uploading ? sf_pending_percent(c) : 0,
                           .next_ms = rests ? from_now(v, c->up->timer.at_ms) : -1,
                           .attempts = c->up ? c->up->tries : 0,
                           .err = c->failure.code};
    view_add(v, &l, c->failure.code ? c->failure.msg : NULL);
}

static void
look_at_attrs(void *arg, const struct sf_attrs_entry *e)
{
    struct view *v = arg;
    bool rests = e->state == SF_ATTRS_WAITING && e->attempts;
    const struct live l = {.seq = e->seq,
                           .running = e->running,
                           .next_ms = rests ? from_now(v, e->due_ms) : -1,
                           .attempts = e->attempts,
                           .err = e->err};
    view_add(v, &l, e->reason);
}

static void
look_at_rename(void *arg, const struct sf_rename *rn)
{
    struct view *v = arg;
    const struct live l = {.seq = rn->rec.seq,
                           .next_ms = from_now(v, rn->timer.at_ms),
                           .attempts = rn->tries,
                           .err = rn->why.code};
    view_add(v, &l, rn->why.msg);
}

static int
by_seq(const void *a, const void *b)
{
    const struct live *x = a, *y = b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int
view_take(struct view *v, struct sf_writer *w)
{
    sf_defer(sf_pending_contents_fini) struct sf_content_vec contents = {0};
    v->now_ms = sf_clock_ms();
    int rc = sf_pending_contents(w, has_record, NULL, &contents);
    for (size_t i = 0; !rc && i < contents.len; i++)
        look_at_content(v, contents.data[i]);
    sf_attrs_each(w->attrs, look_at_attrs, v);
    sf_renames_each(w, look_at_rename, v);
    sf_deletes_hold(w->deletes, &v->deletes);
    if (v->live.len)
        qsort(v->live.data, v->live.len, sizeof *v->live.data, by_seq);
    return rc ? rc : v->rc;
}

/* ---- rows ----------------------------------------------------------------------------------- */

void
sf_pending_row_of(const struct sf_record *r, struct sf_pending_row *ret)
{
    *ret = (struct sf_pending_row){.seq = r->seq,
                                   .kind = sf_record_kind_name(r->kind),
                                   .state = sf_record_state_name(r->state),
                                   .bucket = r->bucket,
                                   .key = r->key,
                                   .to_bucket = r->to_bucket,
                                   .to_key = r->to_key,
                                   .size = r->kind == SF_RECORD_CONTENT ? r->size : 0,
                                   .made_ns = r->made_ns,
                                   .attempts = r->attempts,
                                   .err = r->err > 0 ? -r->err : r->err,
                                   .reason = r->reason,
                                   .file = r->data ? NULL : r->file,
                                   .next_ms = -1};
}

static void
tell_live(const struct view *v, const struct sf_record *r, struct sf_pending_row *row)
{
    const struct live key = {.seq = r->seq};
    const struct live *l =
        v->live.len ? bsearch(&key, v->live.data, v->live.len, sizeof key, by_seq) : NULL;
    if (l) {
        row->running = l->running;
        row->percent = l->percent;
        row->next_ms = l->next_ms;
        if (l->attempts > row->attempts)
            row->attempts = l->attempts;
        if (l->reason) {
            row->err = l->err;
            row->reason = l->reason;
        }
    } else if (r->kind == SF_RECORD_DELETE && v->deletes.failures) {
        row->attempts = v->deletes.failures;
        row->err = v->deletes.why.code;
        row->reason = v->deletes.why.msg;
        row->next_ms = from_now(v, v->deletes.until_ms);
    } else if (r->kind == SF_RECORD_RENAME || r->kind == SF_RECORD_RENAME_DIR) {
        row->running = true; /* it does not rest */
    }
}

static int
each_record(void *arg, struct sf_record *r)
{
    const struct view *v = arg;
    struct sf_pending_row row;
    sf_pending_row_of(r, &row);
    tell_live(v, r, &row);
    return v->fn(v->arg, &row);
}

int
sf_writer_each_pending(struct sf_writer *w, sf_pending_row_fn fn, void *arg)
{
    sf_defer(view_fini) struct view v = {.fn = fn, .arg = arg};
    /* What was done a moment ago is not shown. A journal that cannot be written can be read. */
    (void)sf_journal_settle(w->journal);
    int rc = view_take(&v, w);
    return rc ? rc : sf_journal_each(w->journal, each_record, &v);
}

/* ---- by number ------------------------------------------------------------------------------ */

struct found {
    uint64_t seq;
    bool there;
    enum sf_record_kind kind;
};

static void
find_number(void *arg, uint64_t seq, enum sf_record_kind kind)
{
    struct found *f = arg;
    if (seq != f->seq)
        return;
    f->there = true;
    f->kind = kind;
}

static int
find_record(struct sf_writer *w, uint64_t seq, struct found *f, struct sf_err *err)
{
    *f = (struct found){.seq = seq};
    sf_journal_numbers(w->journal, find_number, f);
    return f->there ? 0
                    : sf_err_set(err, -ENOENT,
                                 "there is no change %" PRIu64
                                 " any more; `supafs queue ls` shows those that there are",
                                 seq);
}

static bool
has_number(void *arg, struct sf_content *c)
{
    const uint64_t *seq = arg;
    return atomic_load(&c->kept.seq) == *seq || atomic_load(&c->kept.next_seq) == *seq;
}

/* The content of a record, counted; NULL = there is none. */
static struct sf_content *
content_of(struct sf_writer *w, uint64_t seq)
{
    struct sf_content_vec some = {0};
    (void)sf_pending_contents(w, has_number, &seq, &some);
    struct sf_content *c = some.len ? sf_content_ref(some.data[0]) : NULL;
    sf_pending_contents_fini(&some);
    return c;
}

/* ---- trying again --------------------------------------------------------------------------- */

static bool
wake(struct sf_content *c)
{
    sf_mutex_lock(&c->lock);
    struct sf_upload *up = c->up && sf_upload_wake_locked(c->up) ? c->up : NULL;
    sf_mutex_unlock(&c->lock);
    if (up)
        sf_upload_queue(up);
    return up != NULL;
}

static int
retry_all(struct sf_writer *w)
{
    sf_defer(sf_pending_contents_fini) struct sf_content_vec all = {0};
    struct sf_deletes_hold hold;
    int rc = sf_pending_contents(w, has_record, NULL, &all), n = 0;
    atomic_store(&w->troubled, false);
    for (size_t i = 0; i < all.len; i++)
        n += wake(all.data[i]);
    n += (int)sf_attrs_retry(w, 0);
    n += (int)sf_renames_wake(w, 0);
    sf_deletes_hold(w->deletes, &hold);
    n += hold.failures != 0;
    sf_deletes_retry(w->deletes);
    return rc ? rc : n;
}

int
sf_writer_pending_retry(struct sf_writer *w, uint64_t seq, struct sf_err *err)
{
    struct sf_deletes_hold hold;
    struct found f;
    if (!seq) {
        int n = retry_all(w);
        return n < 0 ? sf_err_set(err, n, "out of memory") : n;
    }
    int rc = find_record(w, seq, &f, err);
    if (rc)
        return rc;
    if (f.kind == SF_RECORD_CONTENT) {
        struct sf_content *c = content_of(w, seq);
        atomic_store(&w->troubled, false);
        bool woken = c && wake(c);
        sf_content_unref(c);
        return woken;
    }
    if (f.kind == SF_RECORD_ATTRS)
        return (int)sf_attrs_retry(w, seq);
    if (f.kind == SF_RECORD_RENAME || f.kind == SF_RECORD_RENAME_DIR)
        return (int)sf_renames_wake(w, seq);
    if (f.kind != SF_RECORD_DELETE)
        return 0;
    sf_deletes_hold(w->deletes, &hold);
    sf_deletes_retry(w->deletes); /* they are sent together */
    return hold.failures != 0;
}

/* ---- dropping ------------------------------------------------------------------------------- */

/* Whoever waits for it is to hear of a refusal. Returns false when no upload is there. */
static bool
drop_uploads(struct sf_content *c)
{
    uint64_t call = 0;
    sf_mutex_lock(&c->lock);
    struct sf_upload *up = c->up, *woken = NULL;
    if (up) {
        atomic_store(&up->dropped, true);
        if (c->next)
            atomic_store(&c->next->dropped, true);
        if (c->uploading)
            call = atomic_load(&c->kept.progress.call);
        woken = sf_upload_wake_locked(up) ? up : NULL;
    }
    sf_mutex_unlock(&c->lock);
    if (woken)
        sf_upload_queue(woken);
    if (call)
        sf_storage_cancel(c->w->st, call);
    return up != NULL;
}

/* Where the bytes are now; false: not aside. */
static bool
kept_aside(struct sf_content *c, char *path)
{
    SF_GUARD(&c->io);
    if (c->stage->moved)
        snprintf(path, PATH_MAX, "%s", c->stage->path);
    return c->stage->moved;
}

static int
drop_wait(struct sf_content *c, uint64_t seq, char *path, struct sf_err *err)
{
    int64_t end = sf_clock_ms() + DROP_MS;
    bool there;
    while ((there = drop_uploads(c)) && sf_clock_ms() < end && !sf_writer_stopping(c->w))
        usleep(LOOK_MS * 1000);
    if (there)
        return sf_err_set(err, -EBUSY,
                          "the request for change %" PRIu64
                          " has not ended yet; if it fails the bytes go to quarantine",
                          seq);
    /* Who waited for the upload puts the bytes aside when he hears of its end. */
    while (sf_content_dirty(c) && sf_clock_ms() < end && !sf_writer_stopping(c->w))
        usleep(LOOK_MS * 1000);
    if (kept_aside(c, path))
        return 0;
    if (sf_content_dirty(c))
        return sf_err_set(err, -EBUSY,
                          "change %" PRIu64
                          " is a file that a program has open for writing; its close decides",
                          seq);
    sf_mutex_lock(&c->lock);
    bool refused = c->failure.code != 0;
    sf_mutex_unlock(&c->lock);
    path[0] = '\0';
    return refused ? 0
                   : sf_err_set(err, -EALREADY,
                                "change %" PRIu64 " is in the bucket: it was quicker", seq);
}

int
sf_writer_pending_drop(struct sf_writer *w, uint64_t seq, char *path, struct sf_err *err)
{
    struct found f;
    int rc = find_record(w, seq, &f, err);
    if (rc)
        return rc;
    if (f.kind != SF_RECORD_CONTENT)
        return sf_err_set(err, -EINVAL,
                          "change %" PRIu64
                          " is of kind %s, which has no bytes to keep aside: only contents can be "
                          "dropped; undo it with another change",
                          seq, sf_record_kind_name(f.kind));
    struct sf_content *c = content_of(w, seq);
    if (!c)
        return sf_err_set(err, -ENOENT, "change %" PRIu64 " has just ended", seq);
    rc = drop_wait(c, seq, path, err);
    sf_content_unref(c);
    return rc;
}
