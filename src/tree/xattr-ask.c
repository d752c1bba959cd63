/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/xattr.h"

#include "base/clock.h"
#include "write/meta.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* What a node does not know of its object and somebody asks for: one info tells all of it. */

static void
take_locked(struct node *n, const struct sf_meta *m)
{
    char *all = NULL;
    if (!extra_of(n) || sf_xattrs_merge(m->xattrs, n->extra->changes, false, &all))
        return; /* asked for again */
    free(n->extra->xattrs);
    n->extra->xattrs = all;
    n->extra->xattrs_known = true;
}

/* ---- beyond the row ---------------------------------------------------------------------------
 */

void
xattr_told_forget_locked(struct node *n)
{
    if (n->extra)
        free(sf_steal(n->extra->told));
}

const struct told *
xattr_told_locked(const struct xattr_op *op)
{
    const struct node *n = op->node;
    const struct told *told = n->extra ? n->extra->told : NULL;
    if (!told || told->attrs != n->attrs || told->version_count != n->version || node_is_local(n) ||
        !fresh_locked(op->tree, told->asked_ns, op->began_ns))
        return NULL;
    return told;
}

/* @info: of what has the name now. If that is what the node stands for, it is known from here on.
 */
static void
tell_locked(const struct xattr_op *op, const struct sf_object_info *info, const struct sf_meta *m)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    struct sf_version is, have;
    sf_version_of_info(info, &is);
    node_version_of(n, !n->etag_open, &have);
    if (n->type != N_FILE || node_is_local(n))
        return;
    if (!sf_version_same(&is, &have)) {
        n->checked_ns = 0; /* another's: the next look tells */
        return;
    }
    struct told *told = extra_of(n) ? calloc(1, sizeof *told) : NULL;
    if (!told)
        return;
    *told = (struct told){.asked_ns = op->asked_ns, .attrs = n->attrs, .version_count = n->version};
    snprintf(told->version, sizeof told->version, "%s", is.version);
    snprintf(told->sha256, sizeof told->sha256, "%s", m->sha256);
    free(n->extra->told);
    n->extra->told = told;
    if (n->etag_open && is.etag[0] && !node_set_etag(n, is.etag))
        n->etag_open = false;
    struct sf_mark mark = {.valid = 0};
    sf_autofree char *bucket = NULL, *key = NULL;
    if (!t->opts.plain)
        (void)sf_mark_parse(info->cache_control, &mark);
    if (node_key_locked(n, &bucket, &key))
        bucket = key = NULL; /* then nothing of the journal is known */
    type_row_locked(t, n,
                    &(struct type_row){.bucket = bucket,
                                       .key = key,
                                       .is = &is,
                                       .mark = &mark,
                                       .mime = info->mime,
                                       .cache_control = info->cache_control});
}

int
xattr_need(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    tree_lock(t);
    bool there = n->type == N_FILE && n->parent && !n->local_only;
    tree_unlock(t);
    if (!there || op->asked)
        return -ENODATA;
    xattr_ask(op);
    return -EINPROGRESS;
}

/* ---- asking -----------------------------------------------------------------------------------
 */

/* What the journal has for it, perhaps from an earlier mount, is not in the object yet. */
static int
add_pending(struct xattr_op *op, const struct sf_object_info *info, struct sf_meta *m)
{
    struct sf_tree *t = op->tree;
    struct sf_version is = {.size = 0};
    struct sf_mark mark = {.valid = 0};
    char *bucket, *key;
    tree_lock(t);
    int rc = attr_object_key_locked(op->node, &bucket, &key);
    tree_unlock(t);
    if (rc)
        return rc;
    if (info)
        sf_version_of_info(info, &is);
    if (info && info->cache_control)
        (void)sf_mark_parse(info->cache_control, &mark);
    rc = sf_write_xattrs_pending(t->writer, bucket, key, &is, &mark, &m->xattrs);
    free(bucket);
    free(key);
    return rc;
}

static void
info_came(void *arg, const struct sf_err *err, const struct sf_object_info *info)
{
    struct xattr_op *op = arg;
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    struct sf_meta m = {.op = ""};
    int rc = err ? err->code : 0;
    if (rc == -ENOENT && node_is_dir(n))
        rc = 0; /* it has no marker any more */
    else if (!rc && sf_meta_parse(info->metadata, &m) < 0)
        rc = -ENOMEM;
    if (!rc)
        rc = add_pending(op, err ? NULL : info, &m);
    tree_lock(t);
    tree_answer_locked(t, err);
    bool same = n->version == op->version && n->attrs == op->attrs;
    if (!rc && (same || op->asked > 2))
        take_locked(n, &m);
    if (!rc && (same || op->asked > 2) && !xattrs_known_locked(n))
        rc = -ENOMEM;
    if (!rc && !err && same)
        tell_locked(op, info, &m);
    tree_unlock(t);
    sf_meta_fini(&m);
    if (rc)
        xattr_end(op, rc == -ENOENT && op->ours ? -ENODATA : rc);
    else
        xattr_go(op);
}

void
xattr_ask(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    char *bucket, *key;
    tree_lock(t);
    int rc = attr_object_key_locked(n, &bucket, &key);
    op->version = n->version;
    op->attrs = n->attrs;
    op->asked++;
    op->asked_ns = sf_clock_ns();
    if (!rc)
        tree_ask_locked(t);
    tree_unlock(t);
    if (rc) {
        xattr_end(op, rc);
        return;
    }
    sf_storage_info(t->st, bucket, key, tree_read_deadline(t), info_came, op);
    free(bucket);
    free(key);
}
