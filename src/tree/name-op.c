/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/name-op.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void name_op_resume(struct waiter *w, int err);

struct name_op *
name_op_new(struct sf_tree *t, const char *name, sf_tree_fn cb, void *arg)
{
    struct name_op *op = strlen(name) > SF_NAME_MAX ? NULL : calloc(1, sizeof *op);
    if (!op) {
        cb(arg, strlen(name) > SF_NAME_MAX ? -ENAMETOOLONG : -ENOMEM, NULL);
        return NULL;
    }
    op->w.resume = name_op_resume;
    op->tree = t;
    op->cb = cb;
    op->arg = arg;
    op->r.since_ns = sf_clock_ns();
    snprintf(op->name, sizeof op->name, "%s", name);
    return op;
}

/* A directory is not renamed while names in it change, nor the other way round: keys would be of
 * another time. */
static void
count_ops(struct name_op *op, int by)
{
    op->counted = by > 0;
    op->dir->dir->ops += (uint32_t)by;
    if (op->from_dir)
        op->from_dir->dir->ops += (uint32_t)by;
}

static bool
in_renaming(const struct node *dir)
{
    while (dir && !dir->dir->renaming)
        dir = dir->parent;
    return dir != NULL;
}

int
name_op_wait_locked(struct name_op *op)
{
    if (op->counted) /* what waits is in nobody's way */
        count_ops(op, -1);
    op->waits = true;
    op->w.next = op->tree->rename_waiters;
    op->tree->rename_waiters = &op->w;
    return -EINPROGRESS;
}

static void
name_op_settled(void *arg, int rc)
{
    struct name_op *op = arg;
    struct sf_tree *t = op->tree;
    (void)rc; /* without memory, or a journal, this is all that can be done */
    name_op_finish(op, 0, NULL);
    tree_lock(t);
    if (--t->background == 0)
        sf_cond_broadcast(&t->idle);
    tree_unlock(t);
}

void
name_op_finish(struct name_op *op, int rc, struct node *entry)
{
    struct sf_tree *t = op->tree;
    struct sf_tree_result res = {0};
    if (op->settles && rc == 0) {
        op->settles = false;
        tree_lock(t);
        t->background++;
        tree_unlock(t);
        sf_writer_settle(t->writer, name_op_settled, op);
        return;
    }
    tree_lock(t);
    if (rc == 0 && entry)
        entry_fill_locked(t, entry, &res.entry);
    res.open = op->open;
    if (op->leaves)
        op->node->leaving = false;
    if (op->renames)
        op->node->dir->renaming = false;
    if (op->counted)
        count_ops(op, -1);
    if (t->rename_waiters)
        tree_wake_locked(t, &t->rename_waiters, 0);
    if (op->node)
        node_unref_locked(t, op->node);
    if (op->from_dir)
        node_unref_locked(t, op->from_dir);
    if (op->dir)
        node_unref_locked(t, op->dir);
    tree_unlock(t);
    op->cb(op->arg, rc, rc < 0 ? NULL : &res);
    if (op->content) { /* not needed after all */
        sf_content_abandon(op->content);
        sf_content_unref(op->content);
    }
    free(op->bucket);
    free(op->key);
    free(op->from_bucket);
    free(op->from_key);
    mimes_free(op->mimes);
    free(op->target);
    free(op);
}

static int
name_op_try_locked(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *found = NULL;
    if (t->opts.read_only)
        return -EROFS;
    if (op->dir->dir && !op->counted) {
        if (in_renaming(op->dir) || (op->from_dir && in_renaming(op->from_dir)))
            return name_op_wait_locked(op);
        count_ops(op, 1);
    }
    int rc = resolve_locked(t, &op->r, op->dir, op->name, &op->w, &found);
    if (rc >= 0)
        rc = op->check(op, rc ? found : NULL);
    if (rc == 0) { /* from now on the service may have done it */
        saved_changed_locked(t, op->dir);
        if (op->from_dir)
            saved_changed_locked(t, op->from_dir);
    }
    return rc;
}

static void
name_op_go(struct name_op *op, int rc)
{
    if (rc == -EINPROGRESS)
        return;
    if (rc < 0)
        name_op_finish(op, rc, NULL);
    else
        op->go(op);
}

static void
name_op_resume(struct waiter *w, int err)
{
    struct name_op *op = (struct name_op *)w;
    tree_lock(op->tree);
    op->r.err = err;
    op->r.rounds += !op->waits;
    op->waits = false;
    int rc = name_op_try_locked(op);
    tree_unlock(op->tree);
    name_op_go(op, rc);
}

void
name_op_start(struct name_op *op, uint64_t parent)
{
    struct sf_tree *t = op->tree;
    int rc = -ESTALE;
    tree_lock(t);
    op->dir = node_get_locked(t, parent);
    if (op->dir) {
        node_ref_locked(op->dir);
        rc = name_op_try_locked(op);
    }
    tree_unlock(t);
    name_op_go(op, rc);
}

void
name_new_attr_locked(struct name_op *op, bool directory, mode_t mode)
{
    struct sf_tree *t = op->tree;
    struct sf_attr dir;
    const unsigned all =
        SF_MARK_MODE | SF_MARK_UID | SF_MARK_GID | SF_MARK_MTIME | SF_MARK_CTIME | SF_MARK_INO;
    attr_fill_locked(t, op->dir, &dir);
    op->mark = (struct sf_mark){.valid = all,
                                .mode = (directory ? S_IFDIR : mode & S_IFMT) | (mode & 07777),
                                .uid = op->cred.uid,
                                .gid = op->cred.gid,
                                .mtime_ns = sf_wall_ns(),
                                .ino = ino_choose_locked(t)};
    op->mark.ctime_ns = op->mark.mtime_ns;
    if (dir.mode & S_ISGID) {
        /* System V and Linux: the group is inherited, directories pass it on */
        op->mark.gid = dir.gid;
        if (directory)
            op->mark.mode |= S_ISGID;
    }
}

const char *
name_mark_text(const struct name_op *op, char text[SF_MARK_SIZE])
{
    const struct sf_tree_opts *o = &op->tree->opts;
    struct sf_mark m = op->mark;
    if (S_ISDIR(m.mode)) /* its number comes from its key */
        m.valid &= ~(unsigned)SF_MARK_INO;
    if (m.uid == o->uid)
        m.valid &= ~(unsigned)SF_MARK_UID;
    if (m.gid == o->gid)
        m.valid &= ~(unsigned)SF_MARK_GID;
    return o->plain || sf_mark_format(&m, text, SF_MARK_SIZE) < 0 ? NULL : text;
}

char *
name_marker_locked(const struct sf_tree *t, const struct node *n)
{
    const struct node *dir = n->parent;
    if (!dir || dir->type != N_DIR || dir == t->root || dir->dir->placeholder)
        return NULL;
    for (uint32_t i = 0; i < dir->dir->slots; i++)
        for (const struct node *c = dir->dir->table[i]; c; c = c->hnext)
            if (c != n && c->type != N_ABSENT && !c->local_only && !c->leaving)
                return NULL; /* something else keeps it */
    char *bucket = NULL, *key = NULL, *marker = NULL;
    if (node_key_locked(dir, &bucket, &key) == 0 && asprintf(&marker, "%s" SF_PLACEHOLDER, key) < 0)
        marker = NULL;
    free(bucket);
    free(key);
    return marker;
}

bool
name_is_unsent_locked(const struct node *n)
{
    const struct live *l = live(n);
    return n->local_only && !l->commits && !n->replace &&
           !(l->content && sf_content_kept(l->content));
}

static void
dir_kept(void *arg, const struct sf_err *err, const struct sf_commit *done)
{
    struct name_op *op = arg;
    (void)done;
    if (err && err->code != -EEXIST) {
        name_op_finish(op, err->code, NULL);
        return;
    }
    tree_lock(op->tree);
    op->kept->dir->placeholder = true;
    tree_unlock(op->tree);
    op->next(op);
}

void
name_op_keep_dir(struct name_op *op, struct node *dir, const char *bucket,
                 void (*next)(struct name_op *op))
{
    if (!op->target) {
        next(op);
        return;
    }
    op->kept = dir;
    op->next = next;
    char mark[SF_MARK_SIZE];
    tree_lock(op->tree);
    attr_mark_text_locked(op->tree, dir, mark);
    tree_unlock(op->tree);
    sf_write_put_small(op->tree->writer, bucket, op->target, MIME_MARKER, "", 0, false,
                       mark[0] ? mark : NULL, dir_kept, op);
}
