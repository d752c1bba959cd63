/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/saved.h"

#include "base/clock.h"
#include "http/http.h"
#include "observe/log.h"

#include <errno.h>
#include <stddef.h>

/*
 * Is the service there? Every question tells. While it is not, what is known is served and
 * refreshed behind; who waits for an answer is woken to see whether it is known, and what is not
 * known fails at once. A small question now and then notices the service's return.
 */

/* A question without an answer for so long, and the service counts as away; */
#define QUIET_MS 2000
/* for so long, and those who wait already look again at what is known. */
#define WAIT_MS       5000
#define PROBE_MS      1000 /* between one failed probe and the next */
#define PROBE_WAIT_MS 5000
/* A failure says for so long that others would fail, too. */
#define FAILED_MS (PROBE_MS + PROBE_WAIT_MS + 1000)
/* With saved knowledge a start waits no longer than this. */
#define START_MS 3000

static void watch_locked(struct sf_tree *t, int64_t at_ms);

static bool
is_unreachable(const struct sf_err *err)
{
    return err && !err->http_status &&
           (err->code == -ECONNREFUSED || err->code == -ETIMEDOUT || err->code == -EHOSTUNREACH ||
            err->code == -ENETUNREACH || err->code == -ECONNRESET || err->code == -EIO);
}

void
tree_ask_locked(struct sf_tree *t)
{
    if (t->inflight++)
        return;
    t->quiet_since = sf_clock_ms();
    watch_locked(t, t->quiet_since + QUIET_MS + 50);
}

static void
down_locked(struct sf_tree *t, int code)
{
    if (!t->down)
        sf_warn("tree", "event=service-away err=%s", sf_errno_name(code));
    t->down = true;
    t->down_code = code;
    t->down_ms = sf_clock_ms();
    t->failures++;
    watch_locked(t, t->down_ms + PROBE_MS);
}

void
tree_answer_locked(struct sf_tree *t, const struct sf_err *err)
{
    if (--t->inflight == 0)
        sf_cond_broadcast(&t->idle);
    if (err && err->code == -ECANCELED)
        return;
    if (is_unreachable(err)) {
        down_locked(t, err->code);
        return;
    }
    if (t->down)
        sf_info("tree", "event=service-back");
    t->down = false;
    t->failures = 0;
    t->quiet_since = sf_clock_ms();
}

/* For how long nothing was heard although something was asked. */
static int64_t
silence_locked(const struct sf_tree *t, int64_t now)
{
    int64_t heard = t->quiet_since > t->probed_ms ? t->quiet_since : t->probed_ms;
    return t->inflight ? now - heard : 0;
}

bool
tree_offline_locked(const struct sf_tree *t)
{
    return t->down || silence_locked(t, sf_clock_ms()) > QUIET_MS;
}

int
tree_away_locked(const struct sf_tree *t)
{
    struct sf_http_stats http;
    if (!t->http || !tree_offline_locked(t))
        return 0;
    /* One failure may be an accident; the first probe tells. */
    if (t->down && t->failures > 1 && sf_clock_ms() - t->down_ms < FAILED_MS)
        return t->down_code;
    if (silence_locked(t, sf_clock_ms()) <= QUIET_MS)
        return 0;
    sf_http_stats(t->http, &http);
    return http.reachable || !http.last_error[0] ? 0 : t->down ? t->down_code : -ETIMEDOUT;
}

int64_t
tree_read_deadline(const struct sf_tree *t)
{
    return sf_clock_ms() + t->opts.read_timeout_ms;
}

/* ---- looking for it ---------------------------------------------------------------------------
 */

/* What the project says at a start, and when it is asked whether it is there. */
static void
rows_locked(struct sf_tree *t, const struct sf_bucket_row *rows, size_t n, int64_t start_ns)
{
    if (t->root->type == N_BUCKET && n == 1) {
        bucket_set(t->root->dir->bucket, &rows[0], start_ns);
        saved_learned_locked(t, t->root);
    } else if (t->root->type == N_PROJECT && !t->root->dir->listing) {
        listing_of_buckets_locked(t, rows, n, start_ns);
        saved_learned_locked(t, t->root);
    }
}

static void
probe_done(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    struct sf_tree *t = arg;
    (void)rows;
    (void)n;
    tree_lock(t);
    int64_t before = t->quiet_since;
    t->probing = false;
    tree_answer_locked(t, err);
    if (t->quiet_since > before) { /* that says nothing of questions of another kind */
        t->probed_ms = t->quiet_since;
        t->quiet_since = before;
    }
    tree_unlock(t);
}

static void
probe(struct action *a)
{
    struct sf_tree *t = (struct sf_tree *)((char *)a - offsetof(struct sf_tree, probe));
    int64_t deadline = sf_clock_ms() + PROBE_WAIT_MS;
    if (t->opts.bucket)
        sf_storage_bucket_get(t->st, t->opts.bucket, deadline, probe_done, t);
    else
        sf_storage_bucket_list(t->st, deadline, probe_done, t);
}

/* Those who wait for an answer look again: what is known serves them. */
static void
wake_all_locked(struct sf_tree *t)
{
    for (uint32_t i = 0; i < t->nslots; i++) {
        struct node *n = node_at_locked(t, i);
        if (!n || !n->dir)
            continue;
        if (n->dir->run)
            tree_wake_locked(t, &n->dir->run->waiters, 0);
        for (struct lookup *l = n->dir->lookups; l; l = l->next)
            tree_wake_locked(t, &l->waiters, 0);
        pages_wake_locked(t, n);
        dir_attrs_wake_locked(t, n);
    }
}

static void
look(void *arg)
{
    struct sf_tree *t = arg;
    tree_lock(t);
    int64_t now = sf_clock_ms();
    int64_t silence = silence_locked(t, now);
    int away = tree_away_locked(t);
    bool quiet = silence >= WAIT_MS || away;
    t->watch = 0;
    if (t->ending)
        sf_cond_broadcast(&t->idle);
    if (t->down || quiet) {
        if (t->inflight)
            wake_all_locked(t);
        if (away)
            fetches_give_up_locked(t, away);
        if (!t->probing && !t->ending) {
            t->probing = true;
            tree_ask_locked(t);
            tree_queue_locked(t, &t->probe, probe);
        }
        watch_locked(t, now + PROBE_MS);
    } else if (t->inflight) {
        watch_locked(t, now - silence + (silence < QUIET_MS ? QUIET_MS + 50 : WAIT_MS));
    }
    tree_unlock(t);
}

static void
watch_locked(struct sf_tree *t, int64_t at_ms)
{
    if (!t->http || t->ending || (t->watch && t->watch_ms <= at_ms))
        return;
    if (t->watch && !sf_http_timer_cancel(t->http, t->watch))
        return; /* it runs just now */
    t->watch = sf_http_timer(t->http, at_ms, look, t);
    t->watch_ms = at_ms;
}

void
reach_end(struct sf_tree *t)
{
    sf_mutex_lock(&t->lock);
    t->ending = true;
    bool runs = t->watch && !sf_http_timer_cancel(t->http, t->watch);
    while (runs && t->watch)
        sf_cond_wait(&t->idle, &t->lock);
    sf_mutex_unlock(&t->lock);
}

/* ---- start ------------------------------------------------------------------------------------
 */

struct start {
    struct sf_tree *tree;
    struct sf_mutex lock; /* leaf */
    struct sf_cond done;
    int64_t start_ns;
    bool finished;
    struct sf_err err;
};

static void
start_done(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    struct start *s = arg;
    struct sf_tree *t = s->tree;
    if (!err) {
        tree_lock(t);
        rows_locked(t, rows, n, s->start_ns);
        tree_unlock(t);
    }
    SF_GUARD(&s->lock);
    if (err)
        s->err = *err;
    s->finished = true;
    sf_cond_signal(&s->done);
}

/* The service does not answer: what was known of the project serves. */
static int
start_offline(struct sf_tree *t, const struct sf_err *err)
{
    bool away = is_unreachable(err) || err->http_status >= 500;
    if (!away || saved_load_root(t->saved, t) < 0)
        return err->code;
    tree_lock(t);
    down_locked(t, err->code);
    tree_unlock(t);
    return 1;
}

int
sf_tree_start(struct sf_tree *t, int64_t deadline_ms, struct sf_err *err)
{
    struct start s = {.tree = t, .start_ns = sf_clock_ns()};
    sf_mutex_init(&s.lock, 0);
    sf_cond_init(&s.done);
    if (deadline_ms > sf_clock_ms() + START_MS && saved_knows_root(t->saved, t))
        deadline_ms = sf_clock_ms() + START_MS;
    if (t->opts.bucket)
        sf_storage_bucket_get(t->st, t->opts.bucket, deadline_ms, start_done, &s);
    else
        sf_storage_bucket_list(t->st, deadline_ms, start_done, &s);
    sf_mutex_lock(&s.lock);
    while (!s.finished)
        sf_cond_wait(&s.done, &s.lock);
    sf_mutex_unlock(&s.lock);
    sf_cond_fini(&s.done);
    sf_mutex_fini(&s.lock);
    if (s.err.code && err && !err->code)
        *err = s.err;
    int rc = s.err.code ? start_offline(t, &s.err) : 0;
    if (rc >= 0)
        pending_show(t);
    return rc;
}
