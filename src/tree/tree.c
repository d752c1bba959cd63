/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/tree.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/thread.h"
#include "tree/saved.h"
#include "tree/words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDS_WAITING 1024

/* ---- lock and actions ---------------------------------------------------------------------------
 */

void
tree_lock(struct sf_tree *t)
{
    sf_mutex_lock(&t->lock);
}

void
tree_unlock(struct sf_tree *t)
{
    struct action *list = t->actions;
    t->actions = NULL;
    t->actions_tail = &t->actions;
    if (list)
        atomic_fetch_add(&t->acting, 1);
    sf_mutex_unlock(&t->lock);
    if (!list)
        return;
    for (struct action *next; list; list = next) {
        next = list->next;
        list->run(list);
    }
    atomic_fetch_sub(&t->acting, 1);
}

void
tree_queue_locked(struct sf_tree *t, struct action *a, void (*run)(struct action *))
{
    a->next = NULL;
    a->run = run;
    *t->actions_tail = a;
    t->actions_tail = &a->next;
}

static void
waiter_run(struct action *a)
{
    struct waiter *w = (struct waiter *)a;
    w->resume(w, w->err);
}

void
tree_wake_locked(struct sf_tree *t, struct waiter **list, int err)
{
    struct waiter *w = *list;
    *list = NULL;
    for (struct waiter *next; w; w = next) {
        next = w->next;
        w->err = err;
        tree_queue_locked(t, &w->act, waiter_run);
    }
}

/* ---- life
 * ----------------------------------------------------------------------------------------- */

static int
root_new(struct sf_tree *t)
{
    const struct sf_tree_opts *o = &t->opts;
    t->root = node_new_locked(t, NULL, "", NULL, o->bucket ? N_BUCKET : N_PROJECT);
    if (!t->root)
        return -ENOMEM;
    t->root->ino = SF_TREE_ROOT;
    if (!o->bucket)
        return 0;
    struct bucket *b = t->root->dir->bucket = calloc(1, sizeof *b);
    if (!b || !(b->id = strdup(o->bucket)))
        return -ENOMEM;
    size_t n = o->prefix ? strlen(o->prefix) : 0;
    b->prefix = calloc(1, n + 2);
    if (!b->prefix)
        return -ENOMEM;
    if (n) {
        memcpy(b->prefix, o->prefix, n);
        b->prefix[n] = '/';
    }
    return 0;
}

int
sf_tree_new(const struct sf_tree_opts *opts, struct sf_http *http, struct sf_storage *storage,
            struct sf_writer *writer, struct sf_tree **ret, struct sf_err *err)
{
    struct sf_tree *t = calloc(1, sizeof *t);
    if (!t)
        return sf_err_set(err, -ENOMEM, "out of memory");
    sf_mutex_init(&t->lock, 20);
    sf_cond_init(&t->idle);
    t->actions_tail = &t->actions;
    t->opts = *opts;
    t->opts.bucket = t->opts.prefix = NULL;
    t->http = http;
    t->st = storage;
    t->writer = writer;
    t->born_ns = sf_wall_ns();
    if (sf_random_bytes(&t->ino_seed, sizeof t->ino_seed) < 0)
        t->ino_seed = (uint64_t)t->born_ns;
    if (t->opts.max_nodes < 1000)
        t->opts.max_nodes = 1000;
    if ((opts->bucket && !(t->opts.bucket = strdup(opts->bucket))) ||
        (opts->prefix && *opts->prefix && !(t->opts.prefix = strdup(opts->prefix))) ||
        !(t->words = words_new()) || attr_gate_new(t) < 0 || root_new(t) < 0 ||
        (opts->predict && ahead_new(t) < 0) ||
        (opts->providers && sf_pool_new("sf-ids", 1, IDS_WAITING, &t->ids) < 0)) {
        sf_tree_free(t);
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    t->opts.saved_dir = NULL;
    if (opts->saved_env && saved_new(t, opts, &t->saved) < 0)
        t->saved = NULL; /* the next mount begins with nothing known */
    *ret = t;
    return 0;
}

void
sf_tree_free(struct sf_tree *t)
{
    if (!t)
        return;
    while (t->files)
        sf_tree_release(t, t->files);
    while (t->open_dir_list)
        sf_tree_releasedir(t, t->open_dir_list);
    reach_end(t);
    links_end(t);
    saved_stop(t->saved);
    attr_gate_close(t);
    sf_writer_give_up(t->writer);
    sf_write_deletes_end(t->writer); /* what is acknowledged is in the journal */
    tree_lock(t);
    walk_end_all_locked(t);
    ahead_stop_locked(t);
    tree_unlock(t);
    /* Commits and questions under way hold the nodes; what was asked ends with the http. */
    sf_mutex_lock(&t->lock);
    while (t->background || t->patient || t->inflight || t->origins || t->sources ||
           !LIST_EMPTY(&t->wanting))
        sf_cond_wait(&t->idle, &t->lock);
    sf_mutex_unlock(&t->lock);
    while (atomic_load(&t->acting))
        usleep(1000);
    sf_pool_free(t->ids);
    ahead_free(t);
    node_free_all(t);
    saved_free(t->saved);
    words_free(t->words);
    free((char *)t->opts.bucket);
    free((char *)t->opts.prefix);
    sf_cond_fini(&t->idle);
    sf_mutex_fini(&t->lock);
    free(t);
}

void
sf_tree_save(struct sf_tree *t, int64_t deadline_ms)
{
    saved_flush(t->saved, deadline_ms);
}

void
sf_tree_set_notify(struct sf_tree *t, const struct sf_tree_notify *notify)
{
    sf_mutex_lock(&t->lock);
    t->notify = *notify;
    sf_mutex_unlock(&t->lock);
}

void
sf_tree_stats(struct sf_tree *t, struct sf_tree_stats *out)
{
    SF_GUARD(&t->lock);
    *out = (struct sf_tree_stats){.nodes = t->nodes,
                                  .looked_up = t->looked_up,
                                  .directories = t->dirs,
                                  .open_files = t->open_files,
                                  .open_dirs = t->open_dirs,
                                  .offline = tree_offline_locked(t)};
    for (const struct sf_file *f = t->files; f; f = f->next)
        if (live(f->node)->content && sf_content_dirty(live(f->node)->content))
            out->dirty_files++;
}

int
sf_tree_key(struct sf_tree *t, uint64_t nid, char **bucket, char **key)
{
    SF_GUARD(&t->lock);
    const struct node *n = node_get_locked(t, nid);
    return n ? node_key_locked(n, bucket, key) : -ESTALE;
}

int
sf_tree_where(struct sf_tree *t, uint64_t nid, uint64_t *parent, char name[static 256])
{
    SF_GUARD(&t->lock);
    const struct node *n = node_get_locked(t, nid);
    if (!n || !n->parent)
        return -ESTALE;
    *parent = n->parent->nid;
    snprintf(name, 256, "%s", node_name(n));
    return 0;
}

#define MARGIN_MS 2000

/* ---- drain
 * ---------------------------------------------------------------------------------------- */

struct drain {
    struct sf_tree *tree;
    struct node *node; /* counted */
};

static void
drain_done(void *arg, int rc)
{
    struct drain *d = arg;
    struct sf_tree *t = d->tree;
    (void)rc; /* what failed is dirty still, and looked at again at the drain's end */
    tree_lock(t);
    node_unref_locked(t, d->node);
    if (--t->background == 0)
        sf_cond_broadcast(&t->idle);
    tree_unlock(t);
    free(d);
}

/* A node with bytes that are not in the bucket yet. One whose upload runs is meant too: a program
 * that was interrupted waits for it no more, but the drain has to. */
static struct node *
next_dirty_locked(struct sf_tree *t, uint32_t *slot)
{
    for (; *slot < t->nslots; ++*slot) {
        struct node *n = node_at_locked(t, *slot);
        if (n && live(n)->content && n->parent &&
            (live(n)->commits || sf_content_dirty(live(n)->content)))
            return n;
    }
    return NULL;
}

unsigned
sf_tree_drain(struct sf_tree *t, int64_t deadline_ms)
{
    struct sf_writer_stats before, after;
    struct node *n;
    uint32_t slot = 0;
    sf_writer_stats(t->writer, &before);
    int64_t margin = (deadline_ms - sf_clock_ms()) / 4; /* to bring what failed to the journal */
    sf_writer_end_by(t->writer, deadline_ms - (margin < MARGIN_MS ? margin : MARGIN_MS));
    tree_lock(t);
    while ((n = next_dirty_locked(t, &slot))) {
        struct drain *d = malloc(sizeof *d);
        if (!d)
            break;
        *d = (struct drain){t, n};
        node_ref_locked(n);
        t->background++;
        tree_unlock(t);
        commit_start(t, n, drain_done, d);
        tree_lock(t);
        slot++;
    }
    while (t->background && sf_cond_timedwait_ms(&t->idle, &t->lock, deadline_ms) != -ETIMEDOUT)
        ;
    /* What the journal has is safe; the rest is kept where it can be found. */
    unsigned pending = 0;
    for (slot = 0; (n = next_dirty_locked(t, &slot)); slot++) {
        if (!sf_content_dirty(live(n)->content))
            continue;
        struct sf_content *c = sf_content_ref(live(n)->content);
        struct sf_err why = live(n)->failure ? *live(n)->failure : SF_ERR_INIT;
        (void)!sf_err_set(&why, -ETIMEDOUT, "stopped before the upload succeeded");
        tree_unlock(t);
        if (sf_content_kept(c))
            pending++;
        else
            sf_content_quarantine(c, &why, NULL);
        sf_content_unref(c);
        tree_lock(t);
    }
    tree_unlock(t);
    sf_writer_stats(t->writer, &after);
    return pending + (unsigned)(after.quarantined - before.quarantined);
}
