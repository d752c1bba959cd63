/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/writer.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/thread.h"
#include "observe/log.h"
#include "write/attrs.h"
#include "write/commit.h"
#include "write/delete.h"
#include "write/fetch.h"
#include "write/journal.h"
#include "write/pending.h"
#include "write/room.h"
#include "write/quarantine.h"
#include "write/rename.h"

#define WORKERS_DEFAULT 8
#define QUEUE_DEFAULT   65536
#define TIMEOUT_DEFAULT 60000
#define RETRY_DEFAULT   1000
#define KEEPERS         4    /* threads that sync files */
#define HASHERS         2    /* threads that take digests of large files */
#define BYTES_PER_MS    1024 /* a link slower than 1 MiB/s gets more time by the size */
#define SETTLE_MS       5000 /* of a deadline, kept for settling a lost reply */
#define ATTEMPTS_MAX    30
#define PAUSE_MIN_MS    200
#define PAUSE_MAX_MS    5000

static int
make_dirs(struct sf_writer *w, const char *state_dir, struct sf_err *err)
{
    if (asprintf(&w->staging, "%s/staging", state_dir) < 0)
        w->staging = NULL;
    if (asprintf(&w->quarantine, "%s/quarantine", state_dir) < 0)
        w->quarantine = NULL;
    if (!w->staging || !w->quarantine)
        return sf_err_set(err, -ENOMEM, "out of memory");
    int rc = sf_mkdir_p(w->staging, err);
    return rc ? rc : sf_mkdir_p(w->quarantine, err);
}

static void
writer_free_memory(struct sf_writer *w)
{
    sf_timers_free(w->timers);
    sf_deletes_free(w->deletes);
    sf_journal_close(w->journal);
    sf_attrs_free(w->attrs);
    sf_known_free(w->known);
    sf_moving_fini(&w->moving);
    sf_pool_free(w->keepers);
    sf_pool_free(w->hashers);
    sf_room_free(w->room);
    sf_fetch_fini(w);
    sf_cond_fini(&w->bases_changed);
    sf_cond_fini(&w->stopped);
    sf_mutex_fini(&w->lock);
    free(w->staging);
    free(w->quarantine);
    free(w);
}

/* For a lane that may be kept by what rests. */
static void
somebody_waits(void *arg)
{
    struct sf_writer *w = arg;
    sf_deletes_hurry(w->deletes);
    sf_renames_hurry(w);
}

static int
make_parts(struct sf_writer *w, const struct sf_writer_opts *opts, struct sf_err *err)
{
    int rc = sf_timers_new(&w->timers);
    if (!rc)
        rc = sf_known_new(&w->known);
    if (!rc)
        rc = sf_fetch_init(w);
    if (!rc)
        rc = sf_attrs_new(w, &w->attrs);
    if (!rc)
        rc = sf_queue_new("writer", opts->workers ? opts->workers : WORKERS_DEFAULT,
                          opts->max_queue ? opts->max_queue : QUEUE_DEFAULT, &w->queue);
    if (!rc)
        rc = sf_deletes_new(w, &w->deletes);
    if (!rc)
        rc = sf_pool_new("keep", KEEPERS, 1 << 20, &w->keepers);
    if (!rc)
        rc = sf_pool_new("hash", HASHERS, 1 << 20, &w->hashers);
    if (!rc)
        rc = sf_room_new(opts->behind_files, opts->behind_bytes, opts->behind_age_ms, &w->room);
    if (!rc)
        sf_queue_on_wait(w->queue, somebody_waits, w);
    return rc ? sf_err_set(err, rc, "out of memory") : 0;
}

int
sf_writer_new(const struct sf_writer_opts *opts, struct sf_storage *st, struct sf_writer **ret,
              struct sf_err *err)
{
    struct sf_writer *w = calloc(1, sizeof *w);
    if (!w)
        return sf_err_set(err, -ENOMEM, "out of memory");
    sf_mutex_init(&w->lock, 68);
    sf_cond_init(&w->stopped);
    sf_moving_init(&w->moving);
    sf_cond_init(&w->bases_changed);
    w->st = st;
    w->cache = opts->cache;
    w->tables = opts->tables;
    w->plain = opts->plain;
    w->timeout_ms = opts->timeout_ms > 0 ? opts->timeout_ms : TIMEOUT_DEFAULT;
    w->retry_ms = opts->retry_ms > 0 ? opts->retry_ms : RETRY_DEFAULT;
    w->attr_copy_max = opts->attr_copy_max;
    w->drain_ms = INT64_MAX;
    w->keep_open_max = opts->keep_open_max;
    atomic_init(&w->standard_limit, opts->standard_limit);
    w->cut.fn = sf_upload_cut;

    int rc = make_dirs(w, opts->state_dir, err);
    if (!rc)
        rc = sf_journal_open(opts->state_dir, &w->journal, err);
    if (!rc)
        rc = make_parts(w, opts, err);
    if (rc) {
        writer_free_memory(w);
        return rc;
    }
    rc = sf_replay_start(w, err);
    if (rc) {
        sf_writer_free(w);
        return rc;
    }
    *ret = w;
    return 0;
}

void
sf_writer_end_by(struct sf_writer *w, int64_t deadline_ms)
{
    sf_mutex_lock(&w->lock);
    w->drain_ms = deadline_ms;
    sf_mutex_unlock(&w->lock);
    sf_room_open(w, deadline_ms != INT64_MAX); /* better in the journal than nowhere */
    if (deadline_ms == INT64_MAX)
        (void)sf_timer_cancel(w->timers, &w->cut);
    else
        (void)sf_timer_set(w->timers, &w->cut, deadline_ms);
}

struct settling {
    struct sf_writer *w;
    void (*done)(void *arg, int rc);
    void *arg;
};

static void
settled_once(void *arg, int rc)
{
    struct settling s = *(struct settling *)arg;
    free(arg);
    if (rc)
        s.done(s.arg, rc);
    else
        sf_journal_settle_async(s.w->journal, s.done, s.arg);
}

/* The record of a keep under way is on its way to the disk: who finds then that nobody wants it
 * drops it, and that drop is waited for, too. */
void
sf_writer_settle(struct sf_writer *w, void (*done)(void *arg, int rc), void *arg)
{
    struct settling *s = malloc(sizeof *s);
    if (!s) {
        done(arg, -ENOMEM);
        return;
    }
    *s = (struct settling){w, done, arg};
    sf_journal_settle_async(w->journal, settled_once, s);
}

unsigned
sf_writer_drain(struct sf_writer *w, int64_t deadline_ms)
{
    sf_writer_end_by(w, deadline_ms);
    sf_attrs_push(w, NULL, NULL);
    sf_upload_wake_all(w);
    sf_deletes_hurry(w->deletes);
    (void)sf_renames_wake(w, 0);
    unsigned left = sf_queue_drain(w->queue, deadline_ms);
    sf_writer_end_by(w, INT64_MAX);
    return left;
}

void
sf_writer_free(struct sf_writer *w)
{
    if (!w)
        return;
    sf_mutex_lock(&w->lock);
    w->stopping = true;
    sf_cond_broadcast(&w->stopped);
    sf_mutex_unlock(&w->lock);
    if (w->room)
        sf_room_open(w, true);
    sf_writer_give_up(w);
    sf_attrs_stop(w->attrs);
    sf_queue_stop(w->queue);
    if (w->deletes)
        sf_write_deletes_end(w);
    (void)sf_renames_wake(w, 0); /* which are refused now, and let their lanes go */
    sf_fetch_cancel_all(w);
    sf_queue_free(w->queue);
    sf_replay_end(w);
    assert(atomic_load(&w->contents) == 0 && "a content outlives its writer");
    writer_free_memory(w);
}

bool
sf_writer_stopping(struct sf_writer *w)
{
    SF_GUARD(&w->lock);
    return w->stopping;
}

/* ---- time ----------------------------------------------------------------------------------- */

int64_t
sf_writer_deadline(struct sf_writer *w, uint64_t bytes)
{
    uint64_t extra = bytes / BYTES_PER_MS;
    int64_t at = sf_clock_ms() + w->timeout_ms;
    if (extra < INT64_MAX / 2)
        at += (int64_t)extra;
    return sf_writer_cut(w, at);
}

int64_t
sf_writer_cut(struct sf_writer *w, int64_t deadline_ms)
{
    SF_GUARD(&w->lock);
    return deadline_ms < w->drain_ms ? deadline_ms : w->drain_ms;
}

int64_t
sf_writer_try_until(const struct sf_writer *w, int64_t deadline_ms)
{
    int64_t part = w->timeout_ms / 8, left = (deadline_ms - sf_clock_ms()) / 4;
    if (part > SETTLE_MS)
        part = SETTLE_MS;
    return deadline_ms - (left > 0 && left < part ? left : part);
}

bool
sf_writer_pause(struct sf_writer *w, unsigned attempt, int64_t deadline_ms)
{
    if (attempt >= ATTEMPTS_MAX)
        return false;
    int64_t ms = PAUSE_MIN_MS;
    for (unsigned i = 1; i < attempt && ms < PAUSE_MAX_MS; i++)
        ms *= 2;
    if (ms > PAUSE_MAX_MS)
        ms = PAUSE_MAX_MS;
    uint16_t jitter = 0;
    (void)sf_random_bytes(&jitter, sizeof jitter);
    ms = ms / 2 + ms * jitter / (2 * UINT16_MAX); /* half to all of it */
    int64_t until = sf_clock_ms() + ms;
    if (until >= deadline_ms)
        return false;
    SF_GUARD(&w->lock);
    while (!w->stopping)
        if (sf_cond_timedwait_ms(&w->stopped, &w->lock, until))
            return true;
    return false;
}

/* ---- limits --------------------------------------------------------------------------------- */

static uint64_t
least(uint64_t limit, uint64_t other)
{
    return other && other < limit ? other : limit;
}

uint64_t
sf_writer_limit(struct sf_writer *w, uint64_t bucket_limit)
{
    uint64_t limit = least(UINT64_MAX, bucket_limit);
    limit = least(limit, atomic_load(&w->global_limit));
    return least(limit, atomic_load(&w->learned_limit));
}

void
sf_writer_set_global_limit(struct sf_writer *w, uint64_t limit)
{
    atomic_store(&w->global_limit, limit);
}

struct bucket_wait {
    struct sf_mutex lock; /* leaf */
    struct sf_cond cond;
    bool done;
    int code;
    uint64_t limit;
};

static void
bucket_got(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    struct bucket_wait *b = arg;
    SF_GUARD(&b->lock);
    b->code = err ? err->code : n == 1 ? 0 : -EPROTO;
    if (!b->code)
        b->limit = rows[0].size_limit;
    b->done = true;
    sf_cond_signal(&b->cond);
}

/* The bucket's own limit as it is now; 0 = none. */
static int
bucket_limit_wait(struct sf_writer *w, const char *bucket, int64_t deadline_ms, uint64_t *ret)
{
    struct bucket_wait b = {.done = false};
    sf_mutex_init(&b.lock, 0);
    sf_cond_init(&b.cond);
    sf_storage_bucket_get(w->st, bucket, deadline_ms, bucket_got, &b);
    sf_mutex_lock(&b.lock);
    while (!b.done)
        sf_cond_wait(&b.cond, &b.lock);
    sf_mutex_unlock(&b.lock);
    sf_cond_fini(&b.cond);
    sf_mutex_fini(&b.lock);
    if (!b.code)
        *ret = b.limit;
    return b.code;
}

bool
sf_writer_learn(struct sf_writer *w, const char *bucket, const char *key, uint64_t size,
                bool resumable, int64_t deadline_ms)
{
    _Atomic uint64_t *limit = resumable ? &w->learned_limit : &w->learned_standard;
    uint64_t own = 0, old = atomic_load(limit);
    if (size < 2 || sf_str_ends(key, SF_PLACEHOLDER)) /* such keys take no byte at all */
        return false;
    if (bucket_limit_wait(w, bucket, deadline_ms, &own) || (own && size > own))
        return false;
    while (!old || size - 1 < old)
        if (atomic_compare_exchange_weak(limit, &old, size - 1)) {
            sf_warn("write", "event=limit-learned of=%s bytes=%" PRIu64,
                    resumable ? "object" : "request", size - 1);
            break;
        }
    return true;
}

/* ---- figures -------------------------------------------------------------------------------- */

static void
pending_stats(struct sf_writer *w, struct sf_writer_stats *out)
{
    struct sf_journal_stats j;
    size_t len = 0;
    sf_journal_stats(w->journal, &j);
    out->pending_since_ns = j.oldest_ns;
    sf_pending_figures(w, &out->pending_files, &out->pending_bytes);
    out->journal_damaged = j.damaged;
    out->journal_syncs = j.commits;
    sf_mutex_lock(&w->lock);
    memcpy(out->last_failure, w->last_failure, sizeof out->last_failure);
    sf_mutex_unlock(&w->lock);
    for (unsigned k = 0; k < SF_RECORD_KINDS; k++) {
        out->pending += j.records[k];
        if (j.records[k] && len < sizeof out->pending_kinds)
            len +=
                (size_t)snprintf(out->pending_kinds + len, sizeof out->pending_kinds - len,
                                 "%s%s %u", len ? ", " : "", sf_record_kind_name(k), j.records[k]);
    }
}

void
sf_writer_stats(struct sf_writer *w, struct sf_writer_stats *out)
{
    struct sf_queue_stats q;
    sf_queue_get_stats(w->queue, &q);
    *out = (struct sf_writer_stats){
        .threads = q.threads,
        .running = q.running,
        .queued = q.queued,
        .uploads = atomic_load(&w->uploads),
        .upload_bytes = atomic_load(&w->upload_bytes),
        .failures = atomic_load(&w->failures),
        .quarantined = atomic_load(&w->quarantined),
        .staged_files = atomic_load(&w->staged_files),
        .staged_bytes = atomic_load(&w->staged_bytes),
        .learned_limit = atomic_load(&w->learned_limit),
    };
    struct sf_room_stats room;
    sf_room_get_stats(w->room, &room);
    out->behind_files = room.files;
    out->behind_bytes = room.bytes;
    out->behind_since_ns = room.oldest_ns;
    out->behind_waiting = room.waiting;
    out->behind_stuck = room.stuck;
    out->kept = atomic_load(&w->kept);
    pending_stats(w, out);
}
