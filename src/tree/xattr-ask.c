/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/xattr.h"

#include "write/meta.h"

#include <errno.h>
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
    tree_unlock(t);
    sf_meta_fini(&m);
    if (rc)
        xattr_end(op, rc);
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
