/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/warm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"

#define AT_ONCE 16
#define PIECE   (1024u * 1024u)

struct sf_warm {
    struct sf_tree *tree;
    struct sf_mutex lock; /* leaf; protects the fields below */
    struct sf_cond changed;
    unsigned running;
    bool cancelled;
    struct sf_warm_totals totals;
};

/* One file. Its callbacks come one after the other. */
struct job {
    struct sf_warm *w;
    struct sf_file *file;
    uint64_t off, size;
    bool end;
    int err;
    _Atomic int turn;
    char path[];
};

int
sf_warm_new(struct sf_tree *t, struct sf_warm **ret)
{
    struct sf_warm *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->tree = t;
    sf_mutex_init(&w->lock, 0);
    sf_cond_init(&w->changed);
    *ret = w;
    return 0;
}

static void
job_end(struct job *j, int err)
{
    struct sf_warm *w = j->w;
    if (j->file)
        sf_tree_release(w->tree, j->file);
    sf_mutex_lock(&w->lock);
    if (!err) {
        w->totals.files++;
    } else if (err != -ECANCELED) {
        w->totals.failed++;
        snprintf(w->totals.trouble, sizeof w->totals.trouble, "%s: %s", j->path, strerror(-err));
    }
    w->running--;
    sf_cond_broadcast(&w->changed);
    sf_mutex_unlock(&w->lock);
    free(j);
}

/* Who comes second, the end of the call or its callback, goes on: a file that is in the cache would
 * else be read by as many calls within each other as it has pieces. */
enum { CALLING, CALLED, ANSWERED };

static void job_read(struct job *j);

static void
job_got(void *arg, int err, const struct sf_tree_result *res)
{
    struct job *j = arg;
    struct sf_warm *w = j->w;
    sf_mutex_lock(&w->lock);
    if (!err) {
        w->totals.bytes += res->len;
        j->off += res->len;
    }
    j->end = err || !res->len || j->off >= j->size || w->cancelled;
    j->err = !err && w->cancelled && j->off < j->size ? -ECANCELED : err;
    sf_mutex_unlock(&w->lock);
    if (atomic_exchange(&j->turn, ANSWERED) == CALLED)
        job_read(j);
}

/* Reads on, unless that was the end. */
static void
job_read(struct job *j)
{
    while (!j->end) {
        atomic_store(&j->turn, CALLING);
        sf_tree_read(j->w->tree, j->file, j->off, PIECE, job_got, j);
        if (atomic_exchange(&j->turn, CALLED) == CALLING)
            return;
    }
    job_end(j, j->err);
}

static void
job_opened(void *arg, int err, const struct sf_tree_result *res)
{
    struct job *j = arg;
    if (err) {
        job_end(j, err);
        return;
    }
    j->file = res->open.file;
    j->end = !j->size;
    job_read(j);
}

int
sf_warm_file(struct sf_warm *w, const struct sf_files_one *f)
{
    size_t n = strlen(f->path) + 1;
    struct job *j = calloc(1, sizeof *j + n);
    if (!j)
        return -ENOMEM;
    j->w = w;
    j->size = f->attr.size;
    memcpy(j->path, f->path, n);
    sf_mutex_lock(&w->lock);
    while (w->running >= AT_ONCE)
        sf_cond_wait(&w->changed, &w->lock);
    w->running++;
    sf_mutex_unlock(&w->lock);
    sf_tree_open(w->tree, f->node, O_RDONLY, job_opened, j);
    return 0;
}

void
sf_warm_cancel(struct sf_warm *w)
{
    SF_GUARD(&w->lock);
    w->cancelled = true;
}

void
sf_warm_totals(struct sf_warm *w, struct sf_warm_totals *out)
{
    SF_GUARD(&w->lock);
    *out = w->totals;
}

int
sf_warm_wait(struct sf_warm *w, int64_t deadline_ms)
{
    SF_GUARD(&w->lock);
    while (w->running)
        if (sf_cond_timedwait_ms(&w->changed, &w->lock, deadline_ms) == -ETIMEDOUT)
            return w->running ? -ETIMEDOUT : 0;
    return 0;
}

void
sf_warm_free(struct sf_warm *w)
{
    if (!w)
        return;
    (void)sf_warm_wait(w, INT64_MAX);
    sf_cond_fini(&w->changed);
    sf_mutex_fini(&w->lock);
    free(w);
}
