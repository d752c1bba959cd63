/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
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

#define OURS "user.supafs."

enum what { GET, LIST, SET };

struct xattr_op {
    struct sf_tree *tree;
    struct node *node; /* counted */
    enum what what;
    int flags;
    unsigned asked;
    uint32_t version, attrs; /* of the node when it was asked for */
    sf_tree_fn cb;
    void *arg;
    bool remove;
    size_t len;
    char name[256];
    char value[];
};

static void
xattr_finish(struct xattr_op *op, int rc, const struct sf_buf *data)
{
    struct sf_tree *t = op->tree;
    struct sf_tree_result res = {0};
    if (data) {
        res.data = data->data;
        res.len = data->len;
    }
    tree_lock(t);
    node_unref_locked(t, op->node);
    tree_unlock(t);
    op->cb(op->arg, rc, rc < 0 ? NULL : &res);
    free(op);
}

/* ---- ours -------------------------------------------------------------------------------------
 */

/* Told, and in answer to a change neither kept nor refused: what copies attributes must go on. */
static const char *const told[] = {"sync", "error",  "id",     "version", "etag",
                                   "key",  "sha256", "bucket", "cached"};

static bool
is_told(const char *name)
{
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (!strcmp(name + strlen(OURS), told[i]))
            return true;
    return false;
}

/* Which state are the bytes and attributes in? @c: of the node, counted; NULL = none. */
static int
get_sync(struct xattr_op *op, struct sf_content *c, struct sf_buf *out)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    char text[400] = "clean";
    if (c)
        sf_content_sync_state(c, text, sizeof text);
    tree_lock(t);
    if (!strcmp(text, "clean") && live(n)->failure)
        snprintf(text, sizeof text, "failed: %s", live(n)->failure->msg);
    else if (!strcmp(text, "clean") && n->extra && n->extra->writing)
        snprintf(text, sizeof text, "pending");
    tree_unlock(t);
    return sf_buf_puts(out, text);
}

/* How much of a file is on this machine, in the cache or staged? */
static int
get_cached(struct xattr_op *op, struct sf_buf *out)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    tree_lock(t);
    bool file = n->type == N_FILE;
    uint64_t size = n->size;
    struct sf_content *c = live(n)->content ? sf_content_ref(live(n)->content) : NULL;
    tree_unlock(t);
    bool staged = c && !sf_content_lacks(c);
    if (c)
        sf_content_unref(c);
    if (!file)
        return -ENODATA;
    struct sf_cached *cached = staged || !size ? NULL : cached_of_node(t, n);
    uint64_t here = staged || !size ? size : cached ? sf_cached_here(cached) : 0;
    sf_cached_unref(cached);
    if (here >= size)
        return sf_buf_puts(out, "100 %");
    return sf_buf_printf(out, "%.0f %%", (double)here / (double)size * 100 - 0.5);
}

static int
get_ours(struct xattr_op *op, struct sf_buf *out)
{
    struct sf_tree *t = op->tree;
    const struct node *n = op->node;
    const char *what = op->name + strlen(OURS);
    if (!strcmp(what, "sync")) {
        tree_lock(t);
        struct sf_content *c = live(n)->content ? sf_content_ref(live(n)->content) : NULL;
        tree_unlock(t);
        int rc = get_sync(op, c, out);
        if (c)
            sf_content_unref(c);
        return rc;
    }
    if (!strcmp(what, "cached"))
        return get_cached(op, out);
    if (strcmp(what, "error"))
        return -ENODATA;
    char text[sizeof live(n)->failure->msg] = "";
    tree_lock(t);
    if (live(n)->failure)
        snprintf(text, sizeof text, "%s", live(n)->failure->msg);
    tree_unlock(t);
    return text[0] ? sf_buf_puts(out, text) : -ENODATA;
}

/* ---- what the node knows ----------------------------------------------------------------------
 */

static bool
known_locked(const struct node *n)
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
        free(op);
        attr_write(t, n, write, along); /* it answers */
    } else {
        xattr_finish(op, rc, NULL);
    }
}

static void
xattr_go(struct xattr_op *op)
{
    struct sf_tree *t = op->tree;
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    if (op->what == SET) {
        xattr_set(op);
        return;
    }
    tree_lock(t);
    const char *text = text_locked(op->node);
    int rc = op->what == LIST ? sf_xattrs_list(text, &out) : sf_xattrs_get(text, op->name, &out);
    tree_unlock(t);
    xattr_finish(op, rc, &out);
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static void xattr_ask(struct xattr_op *op);

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
xattr_info(void *arg, const struct sf_err *err, const struct sf_object_info *info)
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
    if (!rc && (same || op->asked > 2) && !known_locked(n))
        rc = -ENOMEM;
    bool known = known_locked(n);
    tree_unlock(t);
    sf_meta_fini(&m);
    if (rc)
        xattr_finish(op, rc, NULL);
    else if (known)
        xattr_go(op);
    else
        xattr_ask(op);
}

static void
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
        xattr_finish(op, rc, NULL);
        return;
    }
    sf_storage_info(t->st, bucket, key, tree_read_deadline(t), xattr_info, op);
    free(bucket);
    free(key);
}

static void
xattr_start(struct sf_tree *t, uint64_t nid, enum what what, const char *name, const void *value,
            size_t len, int flags, sf_tree_fn cb, void *arg)
{
    struct xattr_op *op = calloc(1, sizeof *op + len);
    if (!op || strlen(name) >= sizeof op->name) {
        cb(arg, op ? -ENODATA : -ENOMEM, NULL);
        free(op);
        return;
    }
    op->tree = t;
    op->what = what;
    op->flags = flags;
    op->cb = cb;
    op->arg = arg;
    op->remove = what == SET && !value;
    op->len = len;
    snprintf(op->name, sizeof op->name, "%s", name);
    if (len)
        memcpy(op->value, value, len);
    tree_lock(t);
    struct node *n = node_get_locked(t, nid);
    bool ours = sf_str_starts(name, OURS), lasts = n && attr_lasts(t, n);
    bool known = n && (known_locked(n) || !lasts);
    if (n)
        node_ref_locked(n);
    tree_unlock(t);
    op->node = n;
    if (!n) {
        free(op);
        cb(arg, -ESTALE, NULL);
    } else if (ours && what == GET) {
        sf_autobuf struct sf_buf out = SF_BUF_INIT;
        int rc = get_ours(op, &out);
        xattr_finish(op, rc, &out);
    } else if (ours) {
        xattr_finish(op, is_told(name) ? 0 : op->remove ? -ENODATA : -EOPNOTSUPP, NULL);
    } else if (what == SET && !lasts) {
        xattr_finish(op, op->remove ? -ENODATA : -EOPNOTSUPP, NULL);
    } else if (known) {
        xattr_go(op);
    } else {
        xattr_ask(op);
    }
}

void
sf_tree_getxattr(struct sf_tree *t, uint64_t node, const char *name, sf_tree_fn cb, void *arg)
{
    xattr_start(t, node, GET, name, NULL, 0, 0, cb, arg);
}

void
sf_tree_listxattr(struct sf_tree *t, uint64_t node, sf_tree_fn cb, void *arg)
{
    xattr_start(t, node, LIST, "", NULL, 0, 0, cb, arg);
}

void
sf_tree_setxattr(struct sf_tree *t, uint64_t node, const char *name, const void *value, size_t len,
                 int flags, sf_tree_fn cb, void *arg)
{
    if (t->opts.read_only)
        cb(arg, -EROFS, NULL);
    else
        xattr_start(t, node, SET, name, value, len, flags, cb, arg);
}
