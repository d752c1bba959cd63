/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/name-op.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Removal of names: unlink, rmdir. */

/* The name is gone by our own doing. */
static void
removed_locked(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    /* Of an upload that has ended the record, and with it the bytes, may be there still. */
    op->settles = live(n)->content || n->type == N_FILE;
    if (live(n)->content)
        sf_content_abandon(live(n)->content);
    if (n->parent == op->dir && !strcmp(node_name(n), op->name)) {
        attr_stamp_locked(n, false);
        saved_changed_locked(t, n); /* of a directory: what was saved of it, too */
        node_detach_locked(t, n);
        if (n->dir)
            dir_clear_locked(t, n);
    }
    node_absent_locked(t, op->dir, op->name, sf_clock_ns(), true);
    attr_stamp_locked(op->dir, true);
}

static void
remove_done(void *arg, const struct sf_err *err)
{
    struct name_op *op = arg;
    struct sf_tree *t = op->tree;
    int rc = err ? err->code : 0;
    tree_lock(t);
    /* What was never sent, or is gone already, is as it was asked for. */
    if (rc == -ENOENT && op->node->local_only)
        rc = 0;
    if (rc == 0 || rc == -ENOENT)
        removed_locked(op);
    tree_unlock(t);
    name_op_finish(op, rc, NULL);
}

/* ---- unlink ---------------------------------------------------------------------------------- */

static int
unlink_check(struct name_op *op, struct node *found)
{
    struct sf_tree *t = op->tree;
    if (!found)
        return -ENOENT;
    if (node_is_dir(found))
        return -EISDIR;
    op->node = found;
    node_ref_locked(found);
    op->target = name_marker_locked(t, found);
    op->leaves = found->leaving = true;
    return node_key_locked(found, &op->bucket, &op->key);
}

static void
unlink_delete(struct name_op *op)
{
    sf_write_delete(op->tree->writer, op->bucket, op->key, remove_done, op);
}

/*
 * Who removes many files of one directory (rm -r) does not wait for the service each time: a
 * removal is acknowledged when the journal has it, and many go in one request. Until the service
 * has answered the name stays hidden, whatever is listed.
 */
struct hidden {
    struct sf_tree *tree;
    struct name_op *op; /* until it is acknowledged */
    struct node *dir;   /* counted */
    struct node *name;  /* counted: what stands for the name; NULL = no memory for it */
};

#define UNLINKS_MIN 4    /* so many wait before the next ones do not, */
#define UNLINKS_MS  2000 /* each begun so soon after the one before */

bool
dir_is_emptied_locked(const struct node *dir)
{
    return dir->dir->unlinks > UNLINKS_MIN && sf_clock_ms() - dir->dir->unlinks_ms <= UNLINKS_MS;
}

/* One more; is it one of many? */
static bool
many_removed_locked(struct node *dir)
{
    struct dir *d = dir->dir;
    int64_t now = sf_clock_ms();
    if (now - d->unlinks_ms > UNLINKS_MS)
        d->unlinks = 0;
    d->unlinks_ms = now;
    d->unlinks++;
    return dir_is_emptied_locked(dir);
}

/* The name is absent here, and stays so whatever is listed. Without memory for that it is shown. */
static void
hide_locked(struct hidden *h, const char *name)
{
    struct node *n = node_find_locked(h->dir, name);
    if (n && n->type == N_ABSENT) {
        n->leaving = true;
        node_ref_locked(n);
        h->name = n;
    }
}

void *
unlink_earlier_locked(struct sf_tree *t, struct node *dir, const char *name)
{
    struct node *n = node_find_locked(dir, name);
    struct hidden *h = n ? NULL : calloc(1, sizeof *h); /* else it has been made anew since */
    if (!h)
        return NULL;
    h->tree = t;
    h->dir = dir;
    node_ref_locked(dir);
    t->background++;
    node_absent_locked(t, dir, name, sf_clock_ns(), true);
    hide_locked(h, name);
    return h;
}

void
unlink_settled(void *arg, const struct sf_err *err)
{
    struct hidden *h = arg;
    struct sf_tree *t = h->tree;
    tree_lock(t);
    if (h->name)
        h->name->leaving = false;
    if (h->name && h->name->parent == h->dir) {
        if (!err) { /* what was asked before may have seen it still */
            node_changed_locked(t, h->name);
            h->name->checked_ns = sf_clock_ns();
        } else if (err->code != -ECANCELED) { /* it is back */
            apply_refused_locked(t, h->name);
        }
    }
    if (h->name)
        node_unref_locked(t, h->name);
    node_unref_locked(t, h->dir);
    if (--t->background == 0)
        sf_cond_broadcast(&t->idle);
    tree_unlock(t);
    free(h);
}

static void
unlink_kept(void *arg, const struct sf_err *err)
{
    struct hidden *h = arg;
    struct name_op *op = h->op;
    struct sf_tree *t = op->tree;
    tree_lock(t);
    if (err) {
        node_unref_locked(t, h->dir);
        if (--t->background == 0)
            sf_cond_broadcast(&t->idle);
        tree_unlock(t);
        free(h);
        unlink_delete(op); /* without a journal it takes its time */
        return;
    }
    removed_locked(op);
    hide_locked(h, op->name);
    tree_unlock(t);
    name_op_finish(op, 0, NULL);
}

/* A change of attributes that is under way may copy the object onto itself, and some services name
 * the copy anew: it is what is to be removed all the same. */
static bool
etag_lasts_locked(const struct node *n)
{
    char buf[NODE_ETAG_SIZE];
    bool writing = n->extra && n->extra->writing;
    return !n->etag_open && (!writing || sf_etag_is_md5(node_etag(n, buf)));
}

/* Returns false: without memory. */
static bool
unlink_behind(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    struct sf_version known = {0};
    struct hidden *h = calloc(1, sizeof *h);
    if (!h)
        return false;
    tree_lock(t);
    h->tree = t;
    h->op = op;
    h->dir = op->dir;
    node_ref_locked(op->dir);
    t->background++;
    node_version_of(n, etag_lasts_locked(n), &known);
    tree_unlock(t);
    sf_write_delete_behind(t->writer, op->bucket, op->key, &known, unlink_kept, unlink_settled, h);
    return true;
}

static void
unlink_send(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    tree_lock(t);
    bool behind = many_removed_locked(op->dir) && !node_is_local(op->node) && !live(op->node)->open;
    tree_unlock(t);
    if (!behind || !unlink_behind(op))
        unlink_delete(op);
}

/* A new file that is acknowledged and waits to be sent: the journal forgets it. */
static bool
unlink_in_journal(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    tree_lock(t);
    bool may = n->local_only && !n->replace && live(n)->content;
    struct sf_content *c = may ? sf_content_ref(live(n)->content) : NULL;
    tree_unlock(t);
    bool done = c && sf_content_withdraw(c, remove_done, op);
    if (c)
        sf_content_unref(c);
    return done;
}

static void
unlink_go(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    tree_lock(t);
    bool unsent = name_is_unsent_locked(op->node);
    if (unsent)
        removed_locked(op);
    tree_unlock(t);
    if (unsent) {
        name_op_finish(op, 0, NULL);
        return;
    }
    if (unlink_in_journal(op))
        return;
    content_keep_version(t, op->node);
    name_op_keep_dir(op, op->dir, op->bucket, unlink_send);
}

void
sf_tree_unlink(struct sf_tree *t, uint64_t parent, const char *name, sf_tree_fn cb, void *arg)
{
    struct name_op *op = name_op_new(t, name, cb, arg);
    if (!op)
        return;
    op->check = unlink_check;
    op->go = unlink_go;
    name_op_start(op, parent);
}

/* ---- rmdir ----------------------------------------------------------------------------------- */

static int
rmdir_check(struct name_op *op, struct node *found)
{
    if (!found)
        return -ENOENT;
    if (!node_is_dir(found))
        return -ENOTDIR;
    if (dir_holds_local(found))
        return -ENOTEMPTY; /* what is only here the service does not know of */
    op->node = found;
    node_ref_locked(found);
    op->target = found->type == N_DIR ? name_marker_locked(op->tree, found) : NULL;
    return node_key_locked(found, &op->bucket, &op->key);
}

static void
rmdir_remove(struct name_op *op)
{
    if (op->node->type == N_BUCKET)
        sf_write_bucket_delete(op->tree->writer, op->bucket, remove_done, op);
    else
        sf_write_rmdir(op->tree->writer, op->bucket, op->key, remove_done, op);
}

static void
rmdir_go(struct name_op *op)
{
    name_op_keep_dir(op, op->dir, op->bucket, rmdir_remove);
}

void
sf_tree_rmdir(struct sf_tree *t, uint64_t parent, const char *name, sf_tree_fn cb, void *arg)
{
    struct name_op *op = name_op_new(t, name, cb, arg);
    if (!op)
        return;
    op->check = rmdir_check;
    op->go = rmdir_go;
    name_op_start(op, parent);
}
