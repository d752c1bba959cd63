/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/ahead.h"

#include "base/clock.h"
#include "base/hash.h"
#include "observe/counter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Files that will probably be opened soon: tells cache/predict.h what is opened and what was not
 * cached, and has fetched what that decides on, as far as the cache's budget for it allows.
 */
enum { AHEAD_BYTES_MAX = 8 << 20 };

/* ---- the directory, as the prediction sees it ------------------------------------------------ */

struct view {
    struct ahead *ahead;
    const struct node *dir, *node; /* node: is opened */
};

static uint64_t
id_of(const struct node *n)
{
    const char *name = node_name(n);
    return sf_hash64(name, strlen(name));
}

/* A file in the bucket whose bytes the cache knows by name. */
static bool
can_be_fetched(const struct node *n, const struct node *dir)
{
    return n->parent == dir && node_is_regular(n) && !n->local_only && n->size && node_has_id(n) &&
           node_has_etag(n) && !n->etag_open && !live(n)->content;
}

static size_t
view_count(void *arg, uint64_t *version)
{
    const struct view *v = arg;
    const struct listing *l = v->dir->dir->listing;
    *version = l ? l->id : 0;
    return l ? l->n : 0;
}

static size_t
view_position(void *arg)
{
    const struct view *v = arg;
    const struct listing *l = v->dir->dir->listing;
    size_t i = 0;
    while (i < l->n && l->entries[i] != v->node)
        i++;
    return i;
}

static bool
view_at(void *arg, size_t i, struct sf_predict_file *ret)
{
    const struct view *v = arg;
    const struct node *n = v->dir->dir->listing->entries[i];
    if (!can_be_fetched(n, v->dir))
        return false;
    *ret = (struct sf_predict_file){id_of(n), node_name(n), n->size};
    return true;
}

/* Entries may have moved since the prediction saw them. */
static int
view_fetch(void *arg, uint64_t id, size_t i, uint64_t bytes)
{
    const struct view *v = arg;
    struct ahead *a = v->ahead;
    const struct listing *l = v->dir->dir->listing;
    struct node *n = i < l->n ? l->entries[i] : NULL;
    if (!n || n == v->node || !can_be_fetched(n, v->dir) || id_of(n) != id)
        return 0;
    if (a->n == AHEAD_JOBS)
        return -EAGAIN;
    node_ref_locked(n);
    a->jobs[(a->first + a->n++) % AHEAD_JOBS] =
        (struct ahead_job){n, v->dir->nid, id, bytes < n->size ? bytes : n->size};
    return 1;
}

static const struct sf_predict_ops view_ops = {view_count, view_position, view_at, view_fetch};

/* ---- fetching -------------------------------------------------------------------------------- */

/* One file being fetched. */
struct errand {
    struct ahead *ahead;
    struct origin *origin; /* counted */
    uint64_t dir, id;
};

static void ahead_run(struct action *act);

static void
kick_locked(struct ahead *a)
{
    a->again = a->running;
    if (a->running || a->n == 0)
        return;
    a->running = true;
    tree_queue_locked(a->tree, &a->act, ahead_run);
}

static void
errand_done(void *arg, const struct sf_err *err, size_t len)
{
    struct errand *e = arg;
    struct ahead *a = e->ahead;
    struct sf_tree *t = a->tree;
    tree_lock(t);
    if (!origin_fetched_locked(e->origin)) {
        sf_predict_was_here(a->predict, e->dir, e->id);
    } else if (err) {
        sf_predict_lost(a->predict, e->dir, e->id);
    } else {
        sf_count(SF_C_PREDICTED_FILES, 1);
        sf_count(SF_C_PREDICTED_BYTES, len);
    }
    origin_unref_locked(t, e->origin);
    a->under_way--;
    kick_locked(a);
    tree_unlock(t);
    free(e);
}

/* 0, or -EAGAIN: the cache takes no more now. */
static int
begin(struct ahead *a, const struct ahead_job *j)
{
    struct sf_tree *t = a->tree;
    struct errand *e = malloc(sizeof *e);
    struct origin *o = NULL;
    int rc = e ? origin_new(t, j->node, &o) : -ENOMEM;
    if (rc == 0) {
        *e = (struct errand){a, o, j->dir, j->id};
        rc = sf_stream_prefetch(origin_stream(o), 0, (size_t)j->bytes, errand_done, e);
        if (rc == 0)
            return 0;
    }
    free(e);
    tree_lock(t);
    if (o)
        origin_unref_locked(t, o);
    a->under_way--;
    if (rc != -EAGAIN)
        sf_predict_lost(a->predict, j->dir, j->id);
    tree_unlock(t);
    return rc == -EAGAIN ? rc : 0;
}

static struct ahead_job
job_pop_locked(struct ahead *a)
{
    struct ahead_job j = a->jobs[a->first];
    a->first = (a->first + 1) % AHEAD_JOBS;
    a->n--;
    return j;
}

/* Nobody fetches it. */
static void
job_drop_locked(struct ahead *a, const struct ahead_job *j)
{
    sf_predict_was_here(a->predict, j->dir, j->id);
    node_unref_locked(a->tree, j->node);
}

/* The cache took no more: it is the next one again, if there is still room. */
static void
job_return_locked(struct ahead *a, const struct ahead_job *j)
{
    if (a->n == AHEAD_JOBS) {
        job_drop_locked(a, j);
        return;
    }
    a->first = (a->first + AHEAD_JOBS - 1) % AHEAD_JOBS;
    a->jobs[a->first] = *j;
    a->n++;
}

/* Begin what can be begun. What the cache refuses is tried again when a fetch has ended, or at the
 * next decision. */
static void
ahead_run(struct action *act)
{
    struct ahead *a = (struct ahead *)((char *)act - offsetof(struct ahead, act));
    struct sf_tree *t = a->tree;
    int rc = 0;
    tree_lock(t);
    while (a->n && (rc == 0 || a->again)) {
        struct ahead_job j = job_pop_locked(a);
        a->again = false;
        if (!j.node->parent || !can_be_fetched(j.node, j.node->parent)) {
            job_drop_locked(a, &j);
            continue;
        }
        a->under_way++;
        tree_unlock(t);
        rc = begin(a, &j);
        tree_lock(t);
        if (rc < 0)
            job_return_locked(a, &j);
        else
            node_unref_locked(t, j.node);
    }
    a->running = a->again = false;
    tree_unlock(t);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void
event_locked(struct sf_tree *t, struct node *n,
             void (*event)(struct sf_predict *, const struct sf_predict_open *,
                           const struct sf_predict_ops *, void *))
{
    struct ahead *a = t->ahead;
    if (!a || a->stopped || !n->parent || !node_is_regular(n))
        return;
    struct view view = {a, n->parent, n};
    const struct sf_predict_open o = {
        .dir = n->parent->nid, .id = id_of(n), .size = n->size, .now_ms = sf_clock_ms()};
    struct sf_predict_stats stats;
    event(a->predict, &o, &view_ops, &view);
    if (sf_predict_wants_learned(a->predict, o.dir))
        ahead_load_locked(t, o.dir);
    sf_predict_get_stats(a->predict, &stats);
    sf_count(SF_C_PREDICTED_USED_FILES, stats.used - a->told.used);
    sf_count(SF_C_PREDICTED_USED_BYTES, stats.used_bytes - a->told.used_bytes);
    a->told = stats;
    kick_locked(a);
}

void
ahead_opened_locked(struct sf_tree *t, struct node *n)
{
    event_locked(t, n, sf_predict_opened);
}

void
ahead_missed_locked(struct sf_tree *t, struct node *n)
{
    event_locked(t, n, sf_predict_missed);
}

int
ahead_new(struct sf_tree *t)
{
    struct ahead *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    const struct sf_predict_opts opts = {
        .max_ahead = AHEAD_BYTES_MAX, .save = ahead_save, .arg = t};
    int rc = sf_predict_new(&opts, &a->predict);
    if (rc < 0) {
        free(a);
        return rc;
    }
    a->tree = t;
    t->ahead = a;
    return 0;
}

void
ahead_stop_locked(struct sf_tree *t)
{
    struct ahead *a = t->ahead;
    if (a)
        a->stopped = true;
    while (a && a->n) {
        struct ahead_job j = job_pop_locked(a);
        job_drop_locked(a, &j);
    }
}

void
ahead_free(struct sf_tree *t)
{
    if (!t->ahead)
        return;
    tree_lock(t);
    sf_predict_free(t->ahead->predict);
    free(sf_steal(t->ahead));
    tree_unlock(t);
}
