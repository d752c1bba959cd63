/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/*
 * A handle reads from one listing from its beginning to its end, so that every name that existed
 * throughout is given exactly once; what is made or removed here meanwhile is added or skipped.
 * Offsets: 0 ".", 1 "..", from 2 on the listing's entries.
 */

void
sf_tree_opendir(struct sf_tree *t, uint64_t nid, sf_tree_fn cb, void *arg)
{
    struct sf_tree_result res = {0};
    struct sf_dir *d = calloc(1, sizeof *d);
    tree_lock(t);
    struct node *n = node_get_locked(t, nid);
    int rc = !d ? -ENOMEM : !n ? -ESTALE : !node_is_dir(n) ? -ENOTDIR : 0;
    if (!rc) {
        d->node = n;
        d->refs = 1;
        d->open_ns = sf_clock_ns();
        node_ref_locked(n);
        d->next = t->open_dir_list;
        if (d->next)
            d->next->prev = d;
        t->open_dir_list = d;
        t->open_dirs++;
        res.dir = d;
    }
    tree_unlock(t);
    if (rc)
        free(d);
    cb(arg, rc, rc < 0 ? NULL : &res);
}

static void
dir_unref_locked(struct sf_tree *t, struct sf_dir *d)
{
    if (--d->refs)
        return;
    if (d->listing) {
        listing_unref_locked(t, d->listing);
        t->evict_at = 0; /* what it held may be dropped */
    }
    node_unref_locked(t, d->node);
    node_evict_locked(t);
    free(d);
}

void
sf_tree_releasedir(struct sf_tree *t, struct sf_dir *d)
{
    tree_lock(t);
    *(d->prev ? &d->prev->next : &t->open_dir_list) = d->next;
    if (d->next)
        d->next->prev = d->prev;
    t->open_dirs--;
    dir_unref_locked(t, d);
    tree_unlock(t);
}

struct readdir_op {
    struct waiter w;
    struct sf_tree *tree;
    struct sf_dir *dir; /* counted */
    uint64_t off;
    sf_tree_fn cb;
    void *arg;
};

static bool
listing_usable(const struct sf_tree *t, const struct listing *l, int64_t since_ns)
{
    if (!l || l->failed)
        return false;
    return (l->running || l->complete) && fresh_locked(t, l->start_ns, since_ns);
}

/* Bind the handle to a listing: the newest one if it is young enough, else one begun now. */
static int
bind_locked(struct sf_tree *t, struct sf_dir *d, struct waiter *w)
{
    struct node *n = d->node;
    if (n != t->root && !n->parent)
        return 0; /* removed: an empty directory */
    node_touch_lru_locked(t, n);
    bool offline = tree_offline_locked(t);
    if (!listing_usable(t, n->dir->run ? n->dir->run : n->dir->listing, d->open_ns) &&
        saved_want_locked(t, n, true, offline, w))
        return -EINPROGRESS;
    listing_resume_locked(t, n, d->open_ns);
    struct listing *l = n->dir->run ? n->dir->run : n->dir->listing;
    if (offline && n->dir->listing && n->dir->listing->complete) {
        l = n->dir->listing; /* what is known serves while the service is away */
    } else if (!listing_usable(t, l, d->open_ns)) {
        /* One that began before may lack what was there when the handle was opened: wait for its
         * end, and begin another. */
        bool older = n->dir->run != NULL;
        int rc = listing_start_locked(t, n, !older, w);
        if (rc < 0)
            return rc;
        if (!older) {
            d->listing = n->dir->run;
            listing_ref_locked(d->listing);
        }
        return -EINPROGRESS;
    }
    if (l->running)
        l->want_all = true;
    walk_followed_locked(t, n);
    listing_ref_locked(l);
    d->listing = l;
    return 0;
}

static int
readdir_try_locked(struct readdir_op *op, int err)
{
    struct sf_tree *t = op->tree;
    struct sf_dir *d = op->dir;
    if (!d->listing) {
        int rc = bind_locked(t, d, &op->w);
        if (rc < 0)
            return rc;
    }
    struct listing *l = d->listing;
    if (!l || op->off < 2 + l->n || l->complete)
        return 0;
    if (l->running) {
        op->w.next = l->waiters;
        l->waiters = &op->w;
        return -EINPROGRESS;
    }
    /* The run ended early: what was known before serves, if nothing was given yet. */
    if (op->off <= 2 && err != -ENOENT) {
        struct listing *now = d->node->dir->listing;
        if (now != l && now && now->complete) {
            listing_unref_locked(t, l);
            listing_ref_locked(now);
            d->listing = now;
            return 0;
        }
    }
    return l->err ? l->err : -EIO;
}

static void
readdir_finish(struct readdir_op *op, int rc)
{
    struct sf_tree *t = op->tree;
    struct sf_tree_result res = {0};
    op->cb(op->arg, rc, rc < 0 ? NULL : &res);
    tree_lock(t); /* the callback may read from the handle */
    dir_unref_locked(t, op->dir);
    tree_unlock(t);
    free(op);
}

static void
readdir_resume(struct waiter *w, int err)
{
    struct readdir_op *op = (struct readdir_op *)w;
    struct sf_tree *t = op->tree;
    tree_lock(t);
    int rc = readdir_try_locked(op, err);
    tree_unlock(t);
    if (rc != -EINPROGRESS)
        readdir_finish(op, rc);
}

void
sf_tree_readdir(struct sf_tree *t, struct sf_dir *dir, uint64_t off, sf_tree_fn cb, void *arg)
{
    struct readdir_op *op = calloc(1, sizeof *op);
    if (!op) {
        cb(arg, -ENOMEM, NULL);
        return;
    }
    *op = (struct readdir_op){
        .w = {.resume = readdir_resume}, .tree = t, .dir = dir, .off = off, .cb = cb, .arg = arg};
    tree_lock(t);
    dir->refs++;
    if (off == 0 && dir->listing) { /* rewinddir(3): look again */
        listing_unref_locked(t, sf_steal(dir->listing));
        dir->open_ns = sf_clock_ns();
    }
    int rc = readdir_try_locked(op, 0);
    tree_unlock(t);
    if (rc != -EINPROGRESS)
        readdir_finish(op, rc);
}

/* "." and "..": no look-up is counted. */
static void
dots(const struct sf_tree *t, const struct node *n, uint64_t off, struct sf_dirent *out)
{
    const struct node *of = off == 0 || !n->parent ? n : n->parent;
    out->name = off == 0 ? "." : "..";
    out->type = S_IFDIR;
    out->ino = of->ino;
    out->next = off + 1;
    attr_fill_locked(t, of, &out->entry.attr);
}

int
sf_tree_dirent(struct sf_tree *t, struct sf_dir *d, uint64_t off, bool plus, struct sf_dirent *out)
{
    SF_GUARD(&t->lock);
    *out = (struct sf_dirent){0};
    if (off < 2) {
        dots(t, d->node, off, out);
        return 1;
    }
    struct listing *l = d->listing;
    for (uint64_t i = off - 2; l && i < l->n; i++) {
        struct node *n = l->entries[i];
        if (n->parent != d->node || n->type == N_ABSENT)
            continue;
        const char *name = node_name(n);
        memcpy(d->name, name, strnlen(name, sizeof d->name - 1) + 1);
        d->name[sizeof d->name - 1] = '\0';
        out->name = d->name;
        out->ino = n->ino;
        out->next = i + 3;
        out->type = node_format(n);
        if (plus && dir_attrs_known(t, n)) /* else the kernel looks it up when it wants them */
            entry_fill_locked(t, n, &out->entry);
        return 1;
    }
    return 0;
}
