/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/name-op.h"

#include <errno.h>
#include <stdio.h> /* RENAME_NOREPLACE */
#include <stdlib.h>
#include <string.h>

/*
 * Renames of directories. The writer moves object by object; until it is done the node stays where
 * it is, and what is looked for below it is looked for under both names (listing.c, lookup.c,
 * op-read.c). Changes of names below wait for the end. Contents that are written below keep the
 * old keys until then, and their uploads wait in the writer.
 */

/* Does nobody change names at or below this directory? */
static bool
is_quiet_locked(const struct node *dir)
{
    if (dir->dir->ops || dir->dir->renaming)
        return false;
    for (uint32_t i = 0; i < dir->dir->slots; i++)
        for (const struct node *c = dir->dir->table[i]; c; c = c->hnext)
            if (c->dir && !is_quiet_locked(c))
                return false;
    return true;
}

static int
limits_of_target_locked(struct name_op *op, const struct node *n)
{
    const struct bucket *from = node_bucket_locked(n), *to = node_bucket_locked(op->dir);
    if (!from || !to)
        return -ESTALE;
    op->max_size = to->size_limit;
    mimes_free(sf_steal(op->mimes));
    return from == to ? 0 : mimes_copy(to->mimes, &op->mimes);
}

int
rename_dir_check(struct name_op *op, struct node *n, struct node *found)
{
    if (found && op->flags & RENAME_NOREPLACE)
        return -EEXIST;
    if (found && !node_is_dir(found))
        return -ENOTDIR;
    if (node_is_within(op->dir, n))
        return -EINVAL;
    if (found && found != n && dir_holds_local(found))
        return -ENOTEMPTY; /* what is only here the service does not know of */
    if (!is_quiet_locked(n))
        return name_op_wait_locked(op);
    int rc = limits_of_target_locked(op, n);
    if (rc < 0)
        return rc;
    op->renames = n->dir->renaming = true;
    saved_all_changed_locked(op->tree); /* all that is below, under both names */
    return rename_begin_locked(op, n);
}

/* Everything below has other keys now. */
static int
retarget_below_locked(struct sf_tree *t, struct node *dir)
{
    int rc = 0;
    for (uint32_t i = 0; i < dir->dir->slots; i++)
        for (struct node *c = dir->dir->table[i]; c; c = c->hnext) {
            char *bucket, *key;
            if (c->dir) {
                rc = retarget_below_locked(t, c) < 0 ? -ENOMEM : rc;
                saved_learned_locked(t, c);
                continue;
            }
            if (c->type != N_FILE)
                continue;
            c->etag_open |= !c->local_only; /* some backends give another to a moved object */
            if (!live(c)->content)
                continue;
            if (node_key_locked(c, &bucket, &key) < 0) {
                rc = -ENOMEM;
                continue;
            }
            if (sf_content_retarget(live(c)->content, bucket, key, !c->local_only || c->replace) <
                0)
                rc = -ENOMEM;
            free(bucket);
            free(key);
        }
    return rc;
}

static int
renamed_locked(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node, *old = node_find_locked(op->dir, op->name);
    if (old && old != n) {
        node_ref_locked(old);
        node_detach_locked(t, old);
        if (old->dir)
            dir_clear_locked(t, old);
        node_unref_locked(t, old);
    }
    int rc = rename_attach_locked(op);
    if (rc == 0)
        rc = retarget_below_locked(t, n);
    attr_stamp_locked(op->dir, true);
    attr_stamp_locked(op->from_dir, true);
    return rc;
}

/* Some of it may be under the one name and some under the other: all is asked for again. */
static void
doubt_locked(struct sf_tree *t, struct node *dir)
{
    dir_unlist_locked(t, dir);
    for (uint32_t i = 0; i < dir->dir->slots; i++)
        for (struct node *c = dir->dir->table[i]; c; c = c->hnext) {
            c->checked_ns = 0;
            if (c->dir)
                doubt_locked(t, c);
        }
}

static void
rename_dir_sent(void *arg, const struct sf_err *err, const struct sf_version *now)
{
    struct name_op *op = arg;
    struct sf_tree *t = op->tree;
    int rc = err ? err->code : 0;
    (void)now;
    tree_lock(t);
    saved_all_changed_locked(t);
    op->renames = op->node->dir->renaming = false; /* it holds back nothing more */
    if (rc == -ENOENT && dir_holds_local(op->node))
        rc = 0; /* all that is below is not sent yet */
    if (rc == 0) {
        rc = renamed_locked(op);
    } else {
        struct node *found = node_find_locked(op->dir, op->name);
        doubt_locked(t, op->node);
        op->node->checked_ns = 0;
        dir_unlist_locked(t, op->dir);
        if (found)
            found->checked_ns = 0;
        if (found && found->dir)
            doubt_locked(t, found);
    }
    tree_unlock(t);
    name_op_finish(op, rc, NULL);
}

void
rename_dir_send(struct name_op *op)
{
    const struct sf_rename_args args = {.bucket = op->from_bucket,
                                        .key = op->from_key,
                                        .to_bucket = op->bucket,
                                        .to_key = op->key,
                                        .max_size = op->max_size,
                                        .mimes = (const char *const *)op->mimes};
    sf_write_rename_dir(op->tree->writer, &args, rename_dir_sent, op);
}
