/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/xattr.h"

#include "base/clock.h"
#include "base/thread.h"
#include "tables/tables.h"
#include "tree/source.h"
#include "tree/xattr-provider.h"
#include "write/meta.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

/*
 * Extended attributes: user.* in the object's envelope, user.supafs.* told by the mount. The mark
 * says whether there are any, so that most questions need no request; else one info brings all of
 * them, which the node keeps until it changes.
 */

static void
op_free(struct xattr_op *op)
{
    if (op->noted)
        sf_tables_row_fini(op->noted);
    free(op->noted);
    sf_buf_fini(&op->listed);
    struct sf_tree_source *source = op->source;
    free(op);
    sf_tree_source_unref(source); /* the tree may go then */
}

void
xattr_end(struct xattr_op *op, int rc)
{
    struct sf_tree *t = op->tree;
    struct sf_tree_result res = {.data = sf_buf_str(&op->out), .len = op->out.len};
    tree_lock(t);
    node_unref_locked(t, op->node);
    if (op->serial) {
        LIST_REMOVE(op, link);
        if (LIST_EMPTY(&t->wanting))
            sf_cond_broadcast(&t->idle);
    }
    tree_unlock(t);
    op->cb(op->arg, rc, rc < 0 ? NULL : &res);
    if (op->secret && op->out.len)
        explicit_bzero(op->out.data, op->out.len);
    sf_buf_fini(&op->out);
    op_free(op);
}

/* ---- what the node knows ----------------------------------------------------------------------
 */

bool
xattrs_known_locked(const struct node *n)
{
    return (n->extra && n->extra->xattrs_known) || !n->xattrs;
}

static const char *
text_locked(const struct node *n)
{
    return n->extra ? n->extra->xattrs : NULL;
}

void
xattrs_forget_locked(struct node *n)
{
    if (!n->extra)
        return;
    free(sf_steal(n->extra->xattrs));
    free(sf_steal(n->extra->told));
    n->extra->xattrs_known = false;
}

/* Both texts as they will be, and whether that may be. */
static int
plan_locked(const struct xattr_op *op, char **change, char **now, char **changes)
{
    const struct node *n = op->node;
    int there = sf_xattrs_get(text_locked(n), op->name, NULL);
    if (there && there != -ENODATA)
        return there;
    if (!there && op->flags & XATTR_CREATE)
        return -EEXIST;
    if (there && (op->remove || op->flags & XATTR_REPLACE))
        return -ENODATA;
    int rc = sf_xattrs_set(NULL, op->name, op->remove ? NULL : op->value, op->len, change);
    if (!rc)
        rc = sf_xattrs_merge(text_locked(n), *change, false, now);
    if (!rc && *now && strlen(*now) > SF_XATTRS_MAX)
        rc = -ENOSPC;
    if (!rc)
        rc = sf_xattrs_merge(n->extra ? n->extra->changes : NULL, *change, true, changes);
    return rc;
}

/* The change is made to the node; 0, or 1 and *ret, which has to be started, *along: with bytes
 * that are acknowledged. */
static int
set_locked(struct xattr_op *op, struct attr_op **ret, bool *along)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node, before = *n;
    sf_autofree char *change = NULL, *now = NULL, *changes = NULL;
    *along = attr_goes_along_locked(t, n);
    bool write = *along || !attr_travels(n);
    int rc = plan_locked(op, &change, &now, &changes);
    if (!rc && !extra_of(n))
        rc = -ENOMEM;
    if (rc)
        return rc;
    n->ctime_ns = sf_wall_ns();
    n->set |= SF_SET_CTIME;
    n->attrs++;
    node_changed_locked(t, n);
    n->xattrs = now != NULL;
    if (write) {
        *ret = attr_op_new_locked(t, n, &before, change, op->cb, op->arg);
        if (!*ret)
            return -ENOMEM;
    }
    free(n->extra->xattrs);
    free(n->extra->changes);
    n->extra->xattrs = sf_steal(now);
    n->extra->changes = sf_steal(changes);
    n->extra->xattrs_known = true;
    return write;
}

static void
xattr_set(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    struct attr_op *write = NULL;
    bool along = false;
    tree_lock(t);
    int rc = set_locked(op, &write, &along);
    tree_unlock(t);
    if (rc == 1) {
        struct node *n = op->node;
        op_free(op);
        attr_write(t, n, write, along); /* it answers */
    } else {
        xattr_end(op, rc);
    }
}

/* Is all known that the operation needs? */
static bool
ready_locked(const struct xattr_op *op)
{
    return xattrs_known_locked(op->node) || !attr_lasts(op->tree, op->node);
}

void
xattr_go(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    if (op->ours) {
        int rc = xattr_ours_go(op);
        if (rc != -EINPROGRESS)
            xattr_end(op, rc);
        return;
    }
    tree_lock(t);
    bool ready = ready_locked(op);
    int rc = 0;
    if (ready && op->what == XATTR_LIST) {
        rc = sf_xattrs_list(text_locked(n), &op->out);
    } else if (ready && op->what == XATTR_GET) {
        rc = sf_xattrs_get(text_locked(n), op->name, &op->out);
    }
    tree_unlock(t);
    if (ready && !rc && op->what == XATTR_LIST)
        rc = xattr_ours_list(op);
    if (!ready)
        xattr_ask(op);
    else if (op->what == XATTR_SET)
        xattr_set(op);
    else
        xattr_end(op, rc);
}

static void
go(void *arg)
{
    xattr_go(arg);
}

void
xattr_resume(struct xattr_op *op)
{
    if (!op->serial)
        xattr_go(op);
    else if (sf_pool_submit(op->tree->ids, go, op))
        xattr_end(op, -EBUSY);
}

/* Returns its number, if it may be cancelled; else 0. */
static uint64_t
xattr_begin(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    bool get = op->what == XATTR_GET && op->ours;
    if (op->what == XATTR_LIST || (get && op->ours->flags & XATTR_NOTED))
        xattr_look(op);
    if (op->what == XATTR_LIST)
        xattr_provider_look(op);
    if (get && op->ours->flags & XATTR_PATIENT && t->ids) {
        SF_GUARD(&t->lock);
        op->serial = ++t->wanting_serial | TREE_CANCEL_XATTR;
        op->resolve.since_ns = op->began_ns;
        LIST_INSERT_HEAD(&t->wanting, op, link);
    }
    uint64_t serial = op->serial;
    xattr_go(op);
    return serial;
}

static uint64_t
xattr_start(struct sf_tree *t, uint64_t nid, enum xattr_what what, const char *name,
            const void *value, size_t len, int flags, sf_tree_fn cb, void *arg)
{
    struct xattr_op *op = calloc(1, sizeof *op + len);
    if (!op || strlen(name) >= sizeof op->name) {
        cb(arg, op ? -ENODATA : -ENOMEM, NULL);
        free(op);
        return 0;
    }
    op->tree = t;
    op->what = what;
    op->flags = flags;
    op->began_ns = sf_clock_ns();
    op->cb = cb;
    op->arg = arg;
    op->remove = what == XATTR_SET && !value;
    op->len = len;
    snprintf(op->name, sizeof op->name, "%s", name);
    if (len)
        memcpy(op->value, value, len);
    tree_lock(t);
    struct node *n = op->node = node_get_locked(t, nid);
    bool lasts = n && attr_lasts(t, n);
    if (n)
        node_ref_locked(n);
    tree_unlock(t);
    bool ours = xattr_is_ours(name);
    op->ours = ours ? xattr_ours_find(name) : NULL;
    if (!n) {
        free(op);
        cb(arg, -ESTALE, NULL);
    } else if (ours && !op->ours) {
        xattr_end(op, what == XATTR_GET || op->remove ? -ENODATA : -EOPNOTSUPP);
    } else if (!ours && what == XATTR_SET && !lasts) {
        xattr_end(op, op->remove ? -ENODATA : -EOPNOTSUPP);
    } else {
        return xattr_begin(op);
    }
    return 0;
}

uint64_t
sf_tree_getxattr(struct sf_tree *t, uint64_t node, const char *name, sf_tree_fn cb, void *arg)
{
    return xattr_start(t, node, XATTR_GET, name, NULL, 0, 0, cb, arg);
}

bool
sf_tree_xattr_is_patient(const char *name)
{
    const struct xattr_ours *o = xattr_is_ours(name) ? xattr_ours_find(name) : NULL;
    return o && o->flags & XATTR_PATIENT;
}

void
sf_tree_listxattr(struct sf_tree *t, uint64_t node, sf_tree_fn cb, void *arg)
{
    (void)xattr_start(t, node, XATTR_LIST, "", NULL, 0, 0, cb, arg);
}

void
sf_tree_setxattr(struct sf_tree *t, uint64_t node, const char *name, const void *value, size_t len,
                 int flags, sf_tree_fn cb, void *arg)
{
    if (t->opts.read_only)
        cb(arg, -EROFS, NULL);
    else
        (void)xattr_start(t, node, XATTR_SET, name, value, len, flags, cb, arg);
}
