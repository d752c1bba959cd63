/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/name-op.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* New names: create, mknod, mkdir, symlink. */

/* Put a new node with the attributes of op->mark in its directory, in place of what was known to be
 * absent. */
static struct node *
make_node_locked(struct name_op *op, enum node_type type)
{
    struct sf_tree *t = op->tree;
    struct node *old = node_find_locked(op->dir, op->name);
    if (old && old->type == N_ABSENT)
        node_detach_locked(t, old);
    else if (old)
        return NULL;
    struct node *n = node_new_locked(t, op->dir, op->name, op->comp, type);
    if (!n)
        return NULL;
    if (type == N_FILE)
        node_set_format(n, op->mark.mode & S_IFMT);
    node_changed_locked(t, n);
    n->checked_ns = sf_clock_ns();
    attr_begin_locked(t, n, &op->mark);
    attr_stamp_locked(op->dir, true);
    listing_added_locked(op->dir, n);
    return n;
}

/* Is this node, which is there already, what the service has just made for us? A listing may show
 * it before the reply comes. */
static bool
is_ours(const struct node *n, const struct sf_commit *done)
{
    char id[NODE_ID_SIZE];
    return n && n->type == N_FILE && done->id[0] && !strcmp(node_id(n, id), done->id);
}

/* ---- create ---------------------------------------------------------------------------------- */

static int
create_check(struct name_op *op, struct node *found)
{
    struct sf_tree *t = op->tree;
    if (found) {
        if (op->flags & O_EXCL)
            return -EEXIST;
        if (node_is_dir(found))
            return -EISDIR;
        op->node = found; /* somebody made it meanwhile: opened, not made */
        node_ref_locked(found);
        return 0;
    }
    if (op->dir->type == N_PROJECT)
        return -EPERM;
    int rc = node_child_key_locked(t, op->dir, op->name, false, op->comp, &op->bucket, &op->key);
    const struct bucket *b = node_bucket_locked(op->dir);
    return rc < 0 || !b ? rc : mimes_copy(b->mimes, &op->mimes);
}

static void
create_opened(void *arg, int err, const struct sf_tree_result *res)
{
    struct name_op *op = arg;
    if (err == 0)
        op->open = res->open;
    name_op_finish(op, err, op->node);
}

/* The node of a new file, its first handle, and the content that it has. @stored: NULL, or what the
 * service says of the empty object that it has already. 1: somebody else has made it meanwhile, and
 * it may be opened instead. */
static int
create_node_locked(struct name_op *op, const struct sf_commit *stored)
{
    struct sf_tree *t = op->tree;
    struct node *n = make_node_locked(op, N_FILE);
    if (!n) {
        n = node_find_locked(op->dir, op->name);
        if (!n || n->type != N_FILE || (op->flags & O_EXCL && !(stored && is_ours(n, stored))))
            return n ? -EEXIST : -ENOMEM;
        op->node = n;
        node_ref_locked(n);
        return 1;
    }
    op->node = n;
    node_ref_locked(n);
    op->open.file = file_new_locked(t, n, op->flags);
    if (!op->open.file) {
        node_detach_locked(t, n);
        return -ENOMEM;
    }
    op->open.keep_cache = true; /* nobody can have pages of it */
    op->open.file->created = !stored;
    n->local_only = !stored;
    n->exclusive = !stored && op->flags & O_EXCL;
    n->keep_pages = true;
    (void)!content_put_locked(n, &op->content); /* it is open: there is room */
    if (stored) {
        n->etag_open = true;
        node_set_id(n, stored->id);
        node_set_etag(n, stored->md5_etag);
        attr_sent_locked(t, n, n->attrs);
    }
    return 0;
}

static void
create_make(struct name_op *op, const struct sf_commit *stored)
{
    struct sf_tree *t = op->tree;
    struct sf_err err = SF_ERR_INIT;
    int rc = op->node ? 1 : sf_content_new(t->writer, op->bucket, op->key, &op->content, &err);
    if (rc == 0) {
        if (!stored)
            sf_content_mark_dirty(op->content);
        tree_lock(t);
        rc = create_node_locked(op, stored);
        tree_unlock(t);
    }
    if (rc == 1) {
        sf_tree_open(t, op->node->nid, op->flags & ~O_CREAT, create_opened, op);
        return;
    }
    if (rc == 0 && op->mknod) {
        struct sf_file *f = sf_steal(op->open.file);
        struct node *n = op->node;
        tree_lock(t);
        node_ref_locked(n);
        tree_unlock(t);
        sf_tree_release(t, f); /* uploads it */
        name_op_finish(op, 0, n);
        tree_lock(t);
        node_unref_locked(t, n);
        tree_unlock(t);
        return;
    }
    name_op_finish(op, rc, op->node);
}

/* exclusive=open: the name is ours, or another's. */
static void
create_claimed(void *arg, const struct sf_err *err, const struct sf_commit *done)
{
    struct name_op *op = arg;
    if (err)
        name_op_finish(op, err->code, NULL);
    else
        create_make(op, done);
}

static void
create_go(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    const char *const *mimes = (const char *const *)op->mimes;
    char mark[SF_MARK_SIZE];
    if (!op->node && !sf_write_type_allowed(op->bucket, op->key, NULL, 0, mimes)) {
        name_op_finish(op, -EPERM, NULL);
        return;
    }
    tree_lock(t);
    if (!op->node)
        name_new_attr_locked(op, false, S_IFREG | (op->mode & 07777));
    tree_unlock(t);
    if (t->opts.exclusive_open && op->flags & O_EXCL && !op->mknod && !op->node)
        sf_write_put_small(t->writer, op->bucket, op->key, NULL, "", 0, false,
                           name_mark_text(op, mark), create_claimed, op);
    else
        create_make(op, NULL);
}

static void
create(struct sf_tree *t, const struct sf_cred *cred, uint64_t parent, const char *name,
       mode_t mode, int flags, bool mknod, sf_tree_fn cb, void *arg)
{
    struct name_op *op = name_op_new(t, name, cb, arg);
    if (!op)
        return;
    op->cred = *cred;
    op->mode = mode;
    op->flags = flags;
    op->mknod = mknod;
    op->check = create_check;
    op->go = create_go;
    name_op_start(op, parent);
}

void
sf_tree_create(struct sf_tree *t, const struct sf_cred *cred, uint64_t parent, const char *name,
               mode_t mode, int flags, sf_tree_fn cb, void *arg)
{
    create(t, cred, parent, name, mode, flags, false, cb, arg);
}

/* ---- mkdir ----------------------------------------------------------------------------------- */

static int
mkdir_check(struct name_op *op, struct node *found)
{
    if (found)
        return -EEXIST;
    if (op->dir->type != N_PROJECT)
        return node_child_key_locked(op->tree, op->dir, op->name, true, op->comp, &op->bucket,
                                     &op->key);
    /* A desktop's "delete" would make a bucket .Trash-1000 */
    return op->name[0] == '.' ? -EPERM : sf_bucket_from_name(op->name, op->comp);
}

static void
mkdir_done(void *arg, const struct sf_err *err)
{
    struct name_op *op = arg;
    struct sf_tree *t = op->tree;
    int rc = err ? err->code : 0;
    bool bucket = op->dir->type == N_PROJECT, made = false;
    struct node *n = NULL;
    tree_lock(t);
    if (rc == 0) {
        n = node_find_locked(op->dir, op->name);
        if (n && n->type == N_FILE && !node_is_local(n))
            node_detach_locked(t, n); /* of an object that came meanwhile: directories go first */
        n = make_node_locked(op, bucket ? N_BUCKET : N_DIR);
        made = n != NULL;
        if (!n)
            n = node_find_locked(op->dir, op->name);
        rc = !n ? -ENOMEM : !n->dir ? -EEXIST : 0;
    }
    if (rc == 0 && bucket)
        rc = bucket_ensure(n, op->comp);
    if (rc == 0) {
        if (bucket)
            n->dir->bucket->seen = true;
        else
            n->dir->placeholder = n->dir->attrs_known = true;
        n->dir->attrs_ns = sf_clock_ns();
        if (made && !bucket)
            attr_sent_locked(t, n, n->attrs);
        if (made)
            listing_empty_locked(t, n); /* nobody else has put anything there yet */
        op->node = n;
        node_ref_locked(n);
    }
    tree_unlock(t);
    name_op_finish(op, rc, op->node);
}

static void
mkdir_marked(void *arg, const struct sf_err *err, const struct sf_commit *done)
{
    (void)done;
    mkdir_done(arg, err);
}

static void
mkdir_go(struct name_op *op)
{
    struct sf_tree *t = op->tree;
    tree_lock(t);
    name_new_attr_locked(op, true, op->mode);
    tree_unlock(t);
    if (op->dir->type == N_PROJECT) {
        sf_write_bucket_create(t->writer, op->comp, mkdir_done, op);
        return;
    }
    char *marker, mark[SF_MARK_SIZE];
    if (asprintf(&marker, "%s" SF_PLACEHOLDER, op->key) < 0) {
        name_op_finish(op, -ENOMEM, NULL);
        return;
    }
    sf_write_put_small(t->writer, op->bucket, marker, MIME_MARKER, "", 0, false,
                       name_mark_text(op, mark), mkdir_marked, op);
    free(marker);
}

void
sf_tree_mkdir(struct sf_tree *t, const struct sf_cred *cred, uint64_t parent, const char *name,
              mode_t mode, sf_tree_fn cb, void *arg)
{
    struct name_op *op = name_op_new(t, name, cb, arg);
    if (!op)
        return;
    op->cred = *cred;
    op->mode = mode;
    op->check = mkdir_check;
    op->go = mkdir_go;
    name_op_start(op, parent);
}

/* ---- symlink, mknod: objects of a content type of their own, written whole
 * ----------------------
 */

static int
special_check(struct name_op *op, struct node *found)
{
    if (found)
        return -EEXIST;
    if (op->dir->type == N_PROJECT)
        return -EPERM;
    return node_child_key_locked(op->tree, op->dir, op->name, false, op->comp, &op->bucket,
                                 &op->key);
}

static void
special_done(void *arg, const struct sf_err *err, const struct sf_commit *done)
{
    struct name_op *op = arg;
    struct sf_tree *t = op->tree;
    int rc = err ? err->code : 0;
    tree_lock(t);
    struct node *n = rc ? NULL : make_node_locked(op, N_FILE);
    if (n) {
        n->size = done->size;
        n->etag_open = true;
        node_set_id(n, done->id);
        node_set_etag(n, done->md5_etag);
        if (op->target)
            node_set_link(n, op->target);
        attr_sent_locked(t, n, n->attrs);
    } else if (!rc) {
        n = node_find_locked(op->dir, op->name);
        if (!is_ours(n, done)) {
            rc = n ? -EEXIST : -ENOMEM;
            n = NULL;
        }
    }
    if (n) {
        op->node = n;
        node_ref_locked(n);
    }
    tree_unlock(t);
    name_op_finish(op, rc, n);
}

static void
special_go(struct name_op *op)
{
    char mark[SF_MARK_SIZE];
    const char *body = op->target ? op->target : "";
    tree_lock(op->tree);
    name_new_attr_locked(op, false, op->mode);
    tree_unlock(op->tree);
    if (S_ISBLK(op->mode) || S_ISCHR(op->mode)) {
        op->mark.valid |= SF_MARK_RDEV;
        op->mark.rdev = op->rdev;
    }
    sf_write_put_small(op->tree->writer, op->bucket, op->key, kind_mime(op->mode & S_IFMT), body,
                       strlen(body), false, name_mark_text(op, mark), special_done, op);
}

void
sf_tree_symlink(struct sf_tree *t, const struct sf_cred *cred, const char *target, uint64_t parent,
                const char *name, sf_tree_fn cb, void *arg)
{
    struct name_op *op = name_op_new(t, name, cb, arg);
    if (!op)
        return;
    op->cred = *cred;
    op->mode = S_IFLNK | 0777;
    op->check = special_check;
    op->go = special_go;
    op->target = strdup(target);
    if (!op->target)
        name_op_finish(op, -ENOMEM, NULL);
    else
        name_op_start(op, parent);
}

void
sf_tree_mknod(struct sf_tree *t, const struct sf_cred *cred, uint64_t parent, const char *name,
              mode_t mode, dev_t rdev, sf_tree_fn cb, void *arg)
{
    if (S_ISREG(mode) || !(mode & S_IFMT)) {
        create(t, cred, parent, name, mode, O_WRONLY | O_EXCL, true, cb, arg);
        return;
    }
    bool device = S_ISBLK(mode) || S_ISCHR(mode);
    /* Its number is in the mark alone. */
    if (!kind_mime(mode & S_IFMT) || S_ISLNK(mode) || (device && t->opts.plain)) {
        cb(arg, -EPERM, NULL);
        return;
    }
    struct name_op *op = name_op_new(t, name, cb, arg);
    if (!op)
        return;
    op->cred = *cred;
    op->mode = mode;
    op->rdev = device ? rdev : 0;
    op->check = special_check;
    op->go = special_go;
    name_op_start(op, parent);
}
