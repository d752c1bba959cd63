/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/name-op.h"

#include "base/clock.h"
#include "tables/tables.h"

#include <errno.h>
#include <stdio.h> /* RENAME_NOREPLACE */
#include <stdlib.h>
#include <string.h>

/*
 * Renames. In name_op terms @dir and @name are the target, @from_* the source, @node what is moved.
 * Directories are in op-rename-dir.c; buckets answer EPERM.
 */

/* May this object go to another bucket? The writer checks its limits again, and the type: the
 * service does not. */
static int
other_bucket_check(struct name_op *op, const struct node *n)
{
    const struct bucket *from = node_bucket_locked(n), *to = node_bucket_locked(op->dir);
    uint64_t size = live(n)->content ? sf_content_size(live(n)->content) : n->size;
    if (from == to)
        return 0;
    if (!from || !to)
        return -ESTALE;
    if (to->size_limit && size > to->size_limit)
        return -EFBIG;
    op->max_size = to->size_limit;
    return mimes_copy(to->mimes, &op->mimes);
}

int
rename_begin_locked(struct name_op *op, struct node *n)
{
    op->node = n;
    node_ref_locked(n);
    if (op->from_dir != op->dir) {
        op->target = name_marker_locked(op->tree, n);
        op->leaves = n->leaving = true;
    }
    int rc = node_key_locked(n, &op->from_bucket, &op->from_key);
    return rc < 0 ? rc
                  : node_child_key_locked(op->tree, op->dir, op->name, node_is_dir(n), op->comp,
                                          &op->bucket, &op->key);
}

int
rename_attach_locked(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    int rc = node_attach_locked(t, n, op->dir, op->name, op->comp);
    node_absent_locked(t, op->from_dir, op->from_name, sf_clock_ns(), true);
    if (rc == 0)
        listing_added_locked(op->dir, n);
    node_changed_locked(t, n);
    n->checked_ns = sf_clock_ns();
    return rc;
}

static int
rename_check(struct name_op *op, struct node *found)
{
    struct node *n = node_find_locked(op->from_dir, op->from_name);
    if (!n || n->type == N_ABSENT)
        return -ENOENT;
    if (n->type == N_BUCKET || op->dir->type == N_PROJECT)
        return -EPERM;
    if (n->type == N_DIR)
        return rename_dir_check(op, n, found);
    if (found && op->flags & RENAME_NOREPLACE)
        return -EEXIST;
    if (found && node_is_dir(found))
        return -EISDIR;
    int rc = other_bucket_check(op, n);
    if (rc < 0)
        return rc;
    op->replaces = found && found != n && (!found->local_only || live(found)->commits);
    return rename_begin_locked(op, n);
}

/* The project is not told of a file that it does not have; its tags are kept by its name. */
static void
tags_follow_locked(const struct name_op *op)
{
    const struct node *n = op->node;
    char *bucket = NULL, *key = NULL;
    if (!n->extra || n->extra->tagged != TAGGED_YES || node_key_locked(n, &bucket, &key))
        return;
    const struct sf_file_fact from = {.bucket = bucket, .key = key};
    const struct sf_file_fact to = {.bucket = op->bucket, .key = op->key};
    sf_tables_renamed(op->tree->opts.tables, &from, &to);
    free(bucket);
    free(key);
}

/* Both names as they are now. @now: what the service has; NULL = it was not asked for anything. */
static int
renamed_locked(struct name_op *op, const struct sf_version *now)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node, *old = node_find_locked(op->dir, op->name);
    if (old && old != n) {
        op->settles = live(old)->content != NULL;
        if (live(old)->content)
            sf_content_abandon(live(old)->content);
        node_detach_locked(t, old);
    }
    if (!now)
        tags_follow_locked(op);
    int rc = rename_attach_locked(op);
    if (rc == 0 &&
        live(n)->content) { /* 1: an upload is under way, which the writer renames after */
        rc = sf_content_retarget(live(n)->content, op->bucket, op->key, now || op->replaces);
        rc = rc < 0 ? rc : 0;
    }
    if (!n->marked) /* the service's own time of the object moves */
        n->set |= SF_SET_MTIME;
    if (now)
        apply_moved_locked(t, n, now, op->replaces);
    else
        n->replace = op->replaces || n->replace;
    n->exclusive = false; /* that was said of the old name */
    attr_stamp_locked(op->dir, true);
    attr_stamp_locked(op->from_dir, true);
    return rc;
}

static void rename_send(struct name_op *op);

static void
rename_sent(void *arg, const struct sf_err *err, const struct sf_version *now)
{
    struct name_op *op = arg;
    struct sf_tree *t = op->tree;
    int rc = err ? err->code : 0;
    if (rc == -EEXIST && !op->replaces && !(op->flags & RENAME_NOREPLACE)) {
        op->replaces = true; /* somebody else made the target since we looked */
        rename_send(op);
        return;
    }
    tree_lock(t);
    if (rc == 0)
        rc = renamed_locked(op, now);
    tree_unlock(t);
    name_op_finish(op, rc, NULL);
}

static void
rename_send(struct name_op *op)
{
    const struct sf_rename_args args = {.bucket = op->from_bucket,
                                        .key = op->from_key,
                                        .to_bucket = op->bucket,
                                        .to_key = op->key,
                                        .replace = op->replaces,
                                        .max_size = op->max_size,
                                        .mimes = (const char *const *)op->mimes};
    sf_write_rename(op->tree->writer, &args, rename_sent, op);
}

/* The object is in the bucket as it is here. */
static void
rename_committed(void *arg, int rc)
{
    struct name_op *op = arg;
    if (rc < 0)
        name_op_finish(op, rc, NULL);
    else
        name_op_keep_dir(op, op->from_dir, op->from_bucket,
                         op->renames ? rename_dir_send : rename_send);
}

/* Who has the replaced file open keeps it. */
static void
keep_replaced(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    tree_lock(t);
    struct node *old = node_find_locked(op->dir, op->name);
    if (old)
        node_ref_locked(old);
    tree_unlock(t);
    if (!old)
        return;
    if (old != op->node)
        content_keep_version(t, old);
    tree_lock(t);
    node_unref_locked(t, old);
    tree_unlock(t);
}

static void
rename_kept(void *arg, const struct sf_err *err)
{
    struct name_op *op = arg;
    struct sf_tree *t = op->tree;
    if (err) {
        commit_start(t, op->node, rename_committed, op);
        return;
    }
    tree_lock(t);
    int rc = renamed_locked(op, NULL);
    tree_unlock(t);
    name_op_finish(op, rc, NULL);
}

/* A new file that is acknowledged and waits to be sent gets its new name in the journal. */
static bool
rename_in_journal(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    tree_lock(t);
    struct node *old = node_find_locked(op->dir, op->name);
    struct sf_content *over = old && old != n ? live(old)->content : NULL;
    /* Attributes that have a record of their own would be left under the old name. */
    bool alone = !n->extra || !n->extra->writing;
    bool may = !op->renames && alone && n->local_only && !n->replace && live(n)->content;
    struct sf_content *c = may ? sf_content_ref(live(n)->content) : NULL;
    if (over && c)
        sf_content_ref(over);
    tree_unlock(t);
    if (!c)
        return false;
    bool done = sf_content_move_kept(c, op->bucket, op->key, op->replaces, over, rename_kept, op);
    sf_content_unref(c);
    if (over)
        sf_content_unref(over);
    return done;
}

/* Its upload was under way, or about to begin: has it got nowhere? */
static void
rename_tried(void *arg, int rc)
{
    struct name_op *op = arg;
    if (rc >= 0 || !rename_in_journal(op))
        rename_committed(op, rc);
}

static void
rename_go(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    int rc = 0;
    keep_replaced(op);
    tree_lock(t);
    bool same = n->parent == op->dir && !strcmp(node_name(n), op->name);
    /* What replaces an object is sent first: else that would come back under the name it left. */
    bool unsent = name_is_unsent_locked(n);
    if (unsent && !same)
        rc = renamed_locked(op, NULL);
    tree_unlock(t);
    if (same || unsent)
        name_op_finish(op, rc, NULL);
    else if (op->renames)
        rename_committed(op, 0); /* what is written below goes to the new names afterwards */
    else if (!rename_in_journal(op))
        commit_start(t, n, rename_tried, op);
}

void
sf_tree_rename(struct sf_tree *t, uint64_t parent, const char *name, uint64_t new_parent,
               const char *new_name, unsigned flags, sf_tree_fn cb, void *arg)
{
    if (flags & ~(unsigned)RENAME_NOREPLACE) {
        cb(arg, -EINVAL, NULL);
        return;
    }
    if (strlen(name) > SF_NAME_MAX) {
        cb(arg, -ENAMETOOLONG, NULL);
        return;
    }
    struct name_op *op = name_op_new(t, new_name, cb, arg);
    if (!op)
        return;
    snprintf(op->from_name, sizeof op->from_name, "%s", name);
    op->flags = (int)flags;
    op->check = rename_check;
    op->go = rename_go;
    tree_lock(t);
    op->from_dir = node_get_locked(t, parent);
    bool ok = op->from_dir && op->from_dir->dir;
    if (ok)
        node_ref_locked(op->from_dir);
    tree_unlock(t);
    if (ok)
        name_op_start(op, new_parent);
    else {
        op->from_dir = NULL;
        name_op_finish(op, -ESTALE, NULL);
    }
}
