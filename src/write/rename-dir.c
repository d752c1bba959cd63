/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "observe/log.h"
#include "write/below.h"
#include "write/bytes.h"
#include "write/change.h"
#include "write/conflict.h"
#include "write/journal.h"
#include "write/rename.h"
#include "write/step.h"

#define KEY_MAX    900
#define IN_FLIGHT  8 /* moves at the same time, by the job's own worker and helpers in the queue */
#define ROUNDS_MAX 3 /* through the directory, while others put new objects there */
#define TURNS_MAX  100

/*
 * A directory's rename: the service moves one object at a time. Everything that can be known
 * before is checked in a first pass. Then page by page: list, move, go on behind the page. What
 * others put there meanwhile is moved by the next round.
 *
 * The job holds the lanes of both prefixes, so nobody else changes anything below either from here.
 * It works on each page itself and asks for helpers, which are jobs without an order: what they do
 * not come to do it does. So it waits for requests under way only, never for a free worker.
 */
struct batch {
    struct sf_rename *rn; /* only while the job runs */
    _Atomic bool marked;  /* the directory's own marker has its new name */

    struct sf_mutex lock; /* leaf; protects the fields below */
    struct sf_cond idle;  /* active became 0 */
    unsigned refs;        /* the job and its helpers */
    struct sf_below page;
    size_t next;     /* row to be moved */
    unsigned active; /* moves under way */
    struct sf_err err;
};

struct helper {
    struct sf_job job;
    struct sf_queue *queue;
    struct batch *b;
};

static struct batch *
batch_new(struct sf_rename *rn)
{
    struct batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->rn = rn;
    b->refs = 1;
    sf_mutex_init(&b->lock, 0);
    sf_cond_init(&b->idle);
    return b;
}

static void
batch_unref(struct batch *b)
{
    sf_mutex_lock(&b->lock);
    bool last = --b->refs == 0;
    sf_mutex_unlock(&b->lock);
    if (!last)
        return;
    sf_below_fini(&b->page);
    sf_cond_fini(&b->idle);
    sf_mutex_fini(&b->lock);
    free(b);
}

/* ---- one object ----------------------------------------------------------------------------- */

/* Somebody else's object has the new name: ours gets a name beside it. */
static int
move_beside(struct sf_move *m, struct sf_err *err)
{
    char key[SF_CONFLICT_KEY_MAX + 1];
    const char *taken = m->to_key;
    int64_t now = sf_wall_ns();
    int rc = -EEXIST;
    for (unsigned turn = 0; rc == -EEXIST && turn < TURNS_MAX; turn++) {
        *err = SF_ERR_INIT;
        rc = sf_conflict_key(taken, now, turn, key);
        if (rc)
            return sf_err_set(err, rc, "no name beside %s/%s is left", m->to_bucket, taken);
        m->to_key = key;
        rc = sf_move_send(m, err);
    }
    if (!rc)
        sf_warn("write", "event=rename-conflict object=%s/%s to=%s/%s kept=%s", m->bucket, m->key,
                m->to_bucket, taken, key);
    m->to_key = taken; /* from where it cannot be found again, by whoever has it open */
    return rc;
}

/* There is a marker at the new name. The directory's own counts, as @own says that this is: the
 * other one is of a directory that is replaced, when the daemon has ended before it removed that.
 * Else both say that the directory is there. */
static int
move_marker(const struct sf_move *m, bool own, struct sf_err *err)
{
    int rc = -EEXIST;
    *err = SF_ERR_INIT;
    if (own)
        rc = sf_change_delete(m->w, m->to_bucket, m->to_key, NULL, m->deadline_ms, err);
    if (own && (!rc || rc == -ENOENT)) {
        *err = SF_ERR_INIT;
        rc = sf_move_send(m, err);
    }
    if (rc != -EEXIST)
        return rc;
    *err = SF_ERR_INIT;
    return sf_change_delete(m->w, m->bucket, m->key, NULL, m->deadline_ms, err);
}

/* The service gives a moved object another ETag: what is in the cache is found by it. */
static void
look_moved(const struct sf_move *m, struct sf_version *now)
{
    sf_autoobject struct sf_object target = {0};
    struct sf_version is;
    if (sf_storage_info_wait(m->w->st, m->to_bucket, m->to_key, m->deadline_ms, &target, NULL))
        return;
    sf_version_of_object(&target, &is);
    if (is.size == m->source.size && !strcmp(is.id, m->source.id))
        *now = is;
}

static int
move_row(struct batch *b, const struct sf_below_row *row, struct sf_err *err)
{
    const struct sf_rename_args *a = &b->rn->args;
    sf_autofree char *to = NULL;
    if (asprintf(&to, "%s%s", a->to_key, row->key + strlen(a->key)) < 0) {
        to = NULL;
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    struct sf_move m = {.w = b->rn->w,
                        .bucket = a->bucket,
                        .key = row->key,
                        .to_bucket = a->to_bucket,
                        .to_key = to,
                        .source = row->version,
                        .deadline_ms = sf_writer_deadline(b->rn->w, 0),
                        .began_ms = sf_clock_ms()};
    struct sf_version now = row->version;
    if (!sf_etag_is_md5(now.etag))
        now.etag[0] = '\0'; /* some backends give another to a moved object */
    sf_sources_hold(m.w, m.bucket, m.key);
    int rc = sf_move_send(&m, err);
    bool own = strcmp(row->key + strlen(a->key), SF_PLACEHOLDER) == 0;
    if (rc == -EEXIST)
        rc = sf_str_ends(to, SF_PLACEHOLDER) ? move_marker(&m, own && !atomic_load(&b->marked), err)
                                             : move_beside(&m, err);
    if (!rc && own) /* one that comes later is of others */
        atomic_store(&b->marked, true);
    if (!rc)
        sf_move_keep_row(&m, row->cache_control, row->mime);
    if (!rc && !now.etag[0] && sf_bytes_known(m.w, m.bucket, &row->version))
        look_moved(&m, &now);
    sf_move_told(&m, rc, &now);
    if (rc == -ENOENT) { /* somebody else removed it */
        *err = SF_ERR_INIT;
        rc = 0;
    }
    return rc;
}

/* Move the next row of the page. Returns false when there is none left to begin. */
static bool
move_next(struct batch *b)
{
    struct sf_err err = SF_ERR_INIT;
    sf_mutex_lock(&b->lock);
    bool work = b->next < b->page.n && !b->err.code;
    const struct sf_below_row *row = work ? &b->page.rows[b->next++] : NULL;
    b->active += work;
    sf_mutex_unlock(&b->lock);
    if (!work)
        return false;
    int rc = sf_writer_stopping(b->rn->w)
                 ? sf_err_set(&err, -ECANCELED, "the writer is being stopped")
                 : move_row(b, row, &err);
    if (!rc) {
        atomic_fetch_add(&b->rn->moving.done, 1);
        sf_step(SF_STEP_RENAME_DIR_MOVED);
    }
    SF_GUARD(&b->lock);
    if (rc && !b->err.code)
        b->err = err;
    if (--b->active == 0)
        sf_cond_broadcast(&b->idle);
    return true;
}

/* ---- helpers -------------------------------------------------------------------------------- */

/* One row, then to the end of the queue: others want to get on, too. */
static void
helper_run(struct sf_job *job, const struct sf_err *refused)
{
    struct helper *h = (struct helper *)job;
    if (!refused && move_next(h->b)) {
        sf_queue_add(h->queue, &h->job, NULL, 0);
        return;
    }
    batch_unref(h->b);
    free(h);
}

static void
helpers_start(struct batch *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct helper *h = calloc(1, sizeof *h);
        if (!h)
            return; /* then it takes longer */
        h->job.run = helper_run;
        h->queue = b->rn->w->queue;
        h->b = b;
        sf_mutex_lock(&b->lock);
        b->refs++;
        sf_mutex_unlock(&b->lock);
        sf_queue_add(h->queue, &h->job, NULL, 0);
    }
}

/* ---- pages ---------------------------------------------------------------------------------- */

static int
page_move(struct batch *b, struct sf_below *page, struct sf_err *err)
{
    sf_mutex_lock(&b->lock);
    sf_below_fini(&b->page);
    b->page = *page;
    *page = (struct sf_below){0};
    b->next = 0;
    size_t helpers = b->page.n < IN_FLIGHT ? b->page.n : IN_FLIGHT;
    sf_mutex_unlock(&b->lock);
    helpers_start(b, helpers - 1);
    while (move_next(b))
        ;
    SF_GUARD(&b->lock);
    while (b->active)
        sf_cond_wait(&b->idle, &b->lock);
    if (b->err.code)
        *err = b->err;
    return b->err.code;
}

/* Once through the directory. Returns how many objects were met (at most INT_MAX), or the error. */
static int
round_move(struct batch *b, struct sf_err *err)
{
    const struct sf_rename_args *a = &b->rn->args;
    sf_autofree char *after = NULL;
    uint64_t met = 0;
    for (bool more = true; more;) {
        struct sf_below page = {0};
        int rc = sf_below_page(b->rn->w, a->bucket, a->key, after, sf_writer_deadline(b->rn->w, 0),
                               &page, err);
        if (rc)
            return rc;
        more = page.more;
        met += page.n;
        free(after);
        after = page.n ? strdup(page.rows[page.n - 1].key) : NULL;
        rc = page.n ? page_move(b, &page, err) : 0;
        sf_below_fini(&page);
        more = more && after;
        if (!rc && after) {
            b->rn->rec.after = after;
            rc = sf_rename_note(b->rn, SF_RECORD_RENAME_DIR_MOVING, err);
            b->rn->rec.after = NULL;
            sf_step(SF_STEP_RENAME_DIR_RECORDED);
        }
        if (rc)
            return rc;
    }
    return met < INT32_MAX ? (int)met : INT32_MAX;
}

/* ---- before anything moves ------------------------------------------------------------------ */

static int
row_check(const struct sf_rename_args *a, const struct sf_below_row *row, struct sf_err *err)
{
    size_t len = strlen(row->key) - strlen(a->key) + strlen(a->to_key);
    if (len > KEY_MAX)
        return sf_err_set(err, -ENAMETOOLONG,
                          "%s/%s would have a key of %zu bytes, at most %d can be", a->bucket,
                          row->key, len, KEY_MAX);
    if (sf_str_ends(row->key, SF_PLACEHOLDER))
        return 0; /* every bucket takes those */
    return sf_rename_allowed(a, row->key, row->version.size, row->mime, err);
}

/* Look at all objects; how many are there? */
static int
survey(struct sf_rename *rn, uint64_t *total, struct sf_err *err)
{
    const struct sf_rename_args *a = &rn->args;
    sf_autofree char *after = NULL;
    for (bool more = true; more;) {
        struct sf_below page = {0};
        int rc = sf_below_page(rn->w, a->bucket, a->key, after, sf_writer_deadline(rn->w, 0), &page,
                               err);
        for (size_t i = 0; i < page.n && !rc; i++)
            rc = row_check(a, &page.rows[i], err);
        *total += page.n;
        more = page.more;
        free(after);
        after = sf_steal(page.last);
        sf_below_fini(&page);
        if (rc)
            return rc;
    }
    return *total ? 0 : sf_err_set(err, -ENOENT, "nothing is below %s/%s", a->bucket, a->key);
}

/* The target may be an empty directory, whose @marker is in the way then. */
static int
make_room(struct sf_rename *rn, bool *marker, struct sf_err *err)
{
    const struct sf_rename_args *a = &rn->args;
    int below =
        sf_change_look_below(rn->w, a->to_bucket, a->to_key, sf_writer_deadline(rn->w, 0), err);
    if (below == SF_BELOW_SOMETHING)
        return sf_err_set(err, -ENOTEMPTY, "%s/%s is not empty", a->to_bucket, a->to_key);
    *marker = below == SF_BELOW_MARKER;
    return below < 0 ? below : 0;
}

/* ---- the job -------------------------------------------------------------------------------- */

static int
move_all(struct batch *b, struct sf_err *err)
{
    const struct sf_rename_args *a = &b->rn->args;
    int met = 1;
    for (int i = 0; i < ROUNDS_MAX && met > 0; i++)
        met = round_move(b, err);
    sf_info("write", "event=directory-renamed from=%s/%s to=%s/%s objects=%" PRIu64 " rc=%s",
            a->bucket, a->key, a->to_bucket, a->to_key, atomic_load(&b->rn->moving.done),
            met < 0 ? sf_errno_name(met) : "ok");
    if (met > 0)
        sf_warn("write", "event=directory-refilled prefix=%s/%s", a->bucket, a->key);
    return met < 0 ? met : 0;
}

/* All is checked and in the journal: it is brought to its end, now or after the next start. */
static int
rename_go(struct sf_rename *rn, struct sf_err *err)
{
    struct batch *b = batch_new(rn);
    if (!b)
        return sf_err_set(err, -ENOMEM, "out of memory");
    int rc = move_all(b, err);
    batch_unref(b);
    rn->arrived = !rc;
    sf_rename_settle(rn, rc, err);
    return rc;
}

static void
follow_kept(const struct sf_rename *rn)
{
    const struct sf_rename_args *a = &rn->args;
    const struct sf_record dir = {.bucket = (char *)a->bucket,
                                  .key = (char *)a->key,
                                  .to_bucket = (char *)a->to_bucket,
                                  .to_key = (char *)a->to_key};
    (void)sf_journal_drop_renamed(rn->w->journal, &dir);
}

static int
rename_dir(struct sf_rename *rn, struct sf_version *now, struct sf_err *err)
{
    const struct sf_rename_args *a = &rn->args;
    uint64_t total = 0;
    (void)now;
    if (strcmp(a->bucket, a->to_bucket) == 0 && strncmp(a->to_key, a->key, strlen(a->key)) == 0)
        return strcmp(a->to_key, a->key) == 0
                   ? 0
                   : sf_err_set(err, -EINVAL, "%s/%s is below itself", a->to_bucket, a->to_key);
    int rc = survey(rn, &total, err);
    bool marker = false;
    if (rc == -ENOENT) /* what is only in the journal takes the new name all the same */
        follow_kept(rn);
    if (!rc)
        rc = make_room(rn, &marker, err);
    if (!rc)
        rc = sf_rename_note(rn, SF_RECORD_RENAME_DIR_MOVING, err);
    if (!rc && marker)
        rc = sf_change_remove_marker(rn->w, a->to_bucket, a->to_key, sf_writer_deadline(rn->w, 0),
                                     err);
    if (rc) {
        sf_rename_settle(rn, rc,
                         NULL); /* nothing has moved: there is nothing to bring to its end */
        return rc;
    }
    atomic_store(&rn->moving.total, total);
    sf_rename_show(rn);
    return rename_go(rn, err);
}

/* After a start, or when it ended half done: what is still under the old name goes on. */
static int
rename_dir_replay(struct sf_rename *rn, struct sf_version *now, struct sf_err *err)
{
    (void)now;
    return rename_go(rn, err);
}

void
sf_write_rename_dir(struct sf_writer *w, const struct sf_rename_args *args, sf_rename_fn cb,
                    void *arg)
{
    sf_rename_queue(w, args, rename_dir, rename_dir_replay, cb, arg);
}

int
sf_replay_rename_dir(struct sf_writer *w, struct sf_record *r)
{
    return sf_rename_again(w, r, rename_dir_replay);
}
