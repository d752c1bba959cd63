/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/name-op.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Removal of names: unlink, rmdir. */

/* The name is gone by our own doing. */
static void
removed_locked(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    if (n->content)
        sf_content_abandon(n->content);
    if (n->parent == op->dir && !strcmp(n->name, op->name)) {
        attr_stamp_locked(n, false);
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

static void
unlink_go(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    tree_lock(t);
    bool unsent = op->node->local_only && !op->node->commits && !op->node->replace;
    if (unsent)
        removed_locked(op);
    tree_unlock(t);
    if (unsent) {
        name_op_finish(op, 0, NULL);
        return;
    }
    content_keep_version(t, op->node);
    name_op_keep_dir(op, op->dir, op->bucket, unlink_delete);
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
