/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Attributes of what lies in the bucket are changed. The node shows them at once and keeps them
 * until the object has them; who asked is answered when the change is in the journal. A file with
 * unsent bytes needs none of this: its next upload carries the attributes.
 */

/* The object gets its attributes some time later, perhaps after the tree is gone. */
struct attr_gate {
    struct sf_mutex lock; /* order 18; protects the field below */
    struct sf_tree *tree; /* NULL = gone */

    _Atomic unsigned refs;
};

int
attr_gate_new(struct sf_tree *t)
{
    struct attr_gate *g = calloc(1, sizeof *g);
    if (!g)
        return -ENOMEM;
    sf_mutex_init(&g->lock, 18);
    g->tree = t;
    g->refs = 1;
    t->gate = g;
    return 0;
}

static void
gate_unref(struct attr_gate *g)
{
    if (atomic_fetch_sub(&g->refs, 1) > 1)
        return;
    sf_mutex_fini(&g->lock);
    free(g);
}

void
attr_gate_close(struct sf_tree *t)
{
    struct attr_gate *g = t->gate;
    if (!g)
        return;
    sf_mutex_lock(&g->lock);
    g->tree = NULL;
    sf_mutex_unlock(&g->lock);
    gate_unref(g);
    t->gate = NULL;
}

/* The tree, which then stays until gate_leave(); NULL = it is gone. */
static struct sf_tree *
gate_enter(struct attr_gate *g)
{
    SF_GUARD(&g->lock);
    if (!g->tree)
        return NULL;
    SF_GUARD(&g->tree->lock);
    g->tree->background++;
    return g->tree;
}

static void
gate_leave(struct sf_tree *t)
{
    tree_lock(t);
    if (--t->background == 0)
        sf_cond_broadcast(&t->idle);
    tree_unlock(t);
}

struct attr_op {
    struct attr_gate *gate; /* counted */
    uint64_t nid;
    uint32_t attrs; /* n->attrs of what is written */
    char *bucket, *key, *xattrs, *mime, *cache_control;
    struct sf_version seen;
    struct sf_mark mark;
    sf_tree_fn cb; /* NULL = nobody waits */
    void *arg;
    struct node before; /* its attributes alone; last, because its text has no fixed size */
};

static void
op_free(struct attr_op *op)
{
    gate_unref(op->gate);
    free(op->bucket);
    free(op->key);
    free(op->xattrs);
    free(op->mime);
    free(op->cache_control);
    free(op);
}

static void
answer(struct attr_op *op, struct sf_tree *t, int rc)
{
    struct sf_tree_result res = {0};
    sf_tree_fn cb = op->cb;
    op->cb = NULL;
    if (!cb)
        return;
    tree_lock(t);
    struct node *n = node_get_locked(t, op->nid);
    if (n) {
        attr_fill_locked(t, n, &res.attr);
        res.ttl_ms = attr_ttl_locked(t, n);
    } else if (rc == 0) {
        rc = -ESTALE;
    }
    tree_unlock(t);
    cb(op->arg, rc, rc < 0 ? NULL : &res);
}

/* All that it shows as it was. */
static void
go_back_locked(struct node *n, const struct node *before)
{
    n->xattrs = before->xattrs;
    n->set = before->set;
    n->mime = before->mime;
    n->guessed = before->guessed;
    n->cache_control = before->cache_control;
    n->mode = before->mode;
    n->uid = before->uid;
    n->gid = before->gid;
    n->mtime_ns = before->mtime_ns;
    n->ctime_ns = before->ctime_ns;
}

/* It could not be kept: it is not shown either, unless something else was set meanwhile. */
static void
revert(struct attr_op *op, struct sf_tree *t)
{
    tree_lock(t);
    struct node *n = node_get_locked(t, op->nid);
    if (n && n->attrs == op->attrs) {
        xattrs_forget_locked(n);
        if (op->xattrs && n->extra)
            free(sf_steal(n->extra->changes));
        go_back_locked(n, &op->before);
        saved_changed_locked(t, n);
    }
    tree_unlock(t);
}

static void
kept(void *arg, const struct sf_err *err)
{
    struct attr_op *op = arg;
    struct sf_tree *t = gate_enter(op->gate);
    if (!t)
        return;
    if (err)
        revert(op, t);
    answer(op, t, err ? err->code : 0);
    gate_leave(t);
}

/* The object has them. It may be another version by now, made by others: the next look tells. */
static void
settle_locked(struct sf_tree *t, struct node *n, const struct attr_op *op,
              const struct sf_version *now)
{
    attr_sent_locked(t, n, op->attrs);
    xattr_told_forget_locked(n);
    node_changed_locked(t, n); /* listings that were asked for before do not know it */
    char id[NODE_ID_SIZE], etag[NODE_ETAG_SIZE];
    if (n->type != N_FILE || node_is_local(n) || now->size != n->size ||
        strcmp(now->id, node_id(n, id)) || !now->etag[0])
        return;
    if (sf_etag_is_md5(now->etag) && sf_etag_is_md5(node_etag(n, etag)) &&
        !node_etag_is(n, now->etag)) {
        n->checked_ns = 0; /* another's bytes were there by then */
        return;
    }
    if (!node_etag_is(n, now->etag)) /* some services name a copy anew */
        n->keep_pages = false;
    else
        n->etag_open = false;
    node_set_etag(n, now->etag);
}

/* It is not there, or another one has its name: what that one has is to be shown. Or it is not
 * there yet, as the upload failed that was under way: returns what is to be kept with it, then. */
static struct attr_op *
settle_gone_locked(struct sf_tree *t, struct node *n, const struct attr_op *op)
{
    n->checked_ns = 0;
    if (attr_goes_along_locked(t, n)) {
        struct attr_op *again =
            attr_op_new_locked(t, n, n, n->extra ? n->extra->changes : NULL, NULL, NULL);
        if (again)
            node_ref_locked(n);
        return again;
    }
    if (n->attrs != op->attrs || attr_travels(n))
        return NULL;
    n->set = 0;
    xattrs_forget_locked(n);
    if (n->extra)
        free(sf_steal(n->extra->changes));
    return NULL;
}

static void
settled(void *arg, const struct sf_err *err, const struct sf_version *now)
{
    struct attr_op *op = arg, *again = NULL;
    struct sf_tree *t = gate_enter(op->gate);
    if (t) {
        tree_lock(t);
        struct node *n = node_get_locked(t, op->nid);
        if (n && n->extra)
            n->extra->writing--;
        if (n && !err)
            settle_locked(t, n, op, now);
        else if (n && err->code == -ENOENT)
            again = settle_gone_locked(t, n, op);
        tree_unlock(t);
        if (again)
            attr_write(t, n, again, true);
        gate_leave(t);
    }
    op_free(op);
}

bool
attr_lasts(const struct sf_tree *t, const struct node *n)
{
    return !t->opts.plain && n->parent && (n->type == N_FILE || n->type == N_DIR);
}

bool
attr_unsent(const struct sf_tree *t, const struct node *n)
{
    return n->parent && n->set & (attr_lasts(t, n) ? UINT16_MAX : NODE_SET_SAID);
}

bool
attr_travels(const struct node *n)
{
    return n->local_only || live(n)->commits ||
           (live(n)->content && sf_content_dirty(live(n)->content));
}

/* What the object is taken for. Its ETag may be our own guess, which says nothing here. */
static void
seen_locked(const struct node *n, struct sf_version *seen)
{
    if (n->type == N_FILE)
        node_version_of(n, !n->etag_open, seen);
}

int
attr_object_key_locked(const struct node *n, char **bucket, char **key)
{
    char *prefix = NULL;
    int rc = node_key_locked(n, bucket, node_is_dir(n) ? &prefix : key);
    if (rc < 0 || !node_is_dir(n))
        return rc;
    if (asprintf(key, "%s" SF_PLACEHOLDER, prefix) < 0) {
        free(*bucket);
        rc = -ENOMEM;
    }
    free(prefix);
    return rc < 0 ? rc : 0;
}

/* NULL without memory. */
static struct attr_op *
op_of_now_locked(struct sf_tree *t, struct node *n, const char *xattrs)
{
    struct attr_op *op = extra_of(n) ? calloc(1, sizeof *op) : NULL;
    if (!op)
        return NULL;
    op->gate = t->gate;
    atomic_fetch_add(&op->gate->refs, 1);
    int rc = attr_object_key_locked(n, &op->bucket, &op->key);
    if (rc < 0) {
        op->bucket = op->key = NULL;
        op_free(op);
        return NULL;
    }
    rc = xattrs && !(op->xattrs = strdup(xattrs)) ? -ENOMEM : 0;
    if (rc || type_said_locked(t, n, &op->mime, &op->cache_control)) {
        op_free(op);
        return NULL;
    }
    seen_locked(n, &op->seen);
    if (!t->opts.plain)
        attr_mark_locked(t, n, &op->mark);
    op->nid = n->nid;
    op->attrs = n->attrs;
    return op;
}

struct attr_op *
attr_op_new_locked(struct sf_tree *t, struct node *n, const struct node *before, const char *xattrs,
                   sf_tree_fn cb, void *arg)
{
    struct attr_op *op = op_of_now_locked(t, n, xattrs);
    if (!op) {
        go_back_locked(n, before);
        n->attrs = before->attrs;
        return NULL;
    }
    n->extra->writing++;
    op->before = *before;
    op->cb = cb;
    op->arg = arg;
    return op;
}

void
attr_op_start(struct sf_tree *t, struct attr_op *op)
{
    const struct sf_attr_change ch = {.bucket = op->bucket,
                                      .key = op->key,
                                      .seen = sf_version_known(&op->seen) ? &op->seen : NULL,
                                      .mark = &op->mark,
                                      .xattrs = op->xattrs,
                                      .mime = op->mime,
                                      .cache_control = op->cache_control};
    sf_write_attrs(t->writer, &ch, kept, settled, op);
}

void
attr_again(struct sf_tree *t, struct node *n)
{
    tree_lock(t);
    struct attr_op *op =
        attr_op_new_locked(t, n, n, n->extra ? n->extra->changes : NULL, NULL, NULL);
    tree_unlock(t);
    if (op)
        attr_op_start(t, op);
}

/* ---- of what is on its way to the bucket ------------------------------------------------------
 */

struct keep_op {
    struct sf_tree *tree;
    struct attr_op *attrs; /* the other way, when the upload has begun */
};

static void
attrs_kept(void *arg, int rc)
{
    struct keep_op *op = arg;
    struct sf_tree *t = op->tree;
    struct attr_op *attrs = op->attrs;
    free(op);
    if (rc == -EBUSY) {
        attr_op_start(t, attrs);
        return;
    }
    tree_lock(t);
    struct node *n = node_get_locked(t, attrs->nid);
    if (n && n->extra)
        n->extra->writing--;
    tree_unlock(t);
    answer(attrs, t, rc);
    op_free(attrs);
}

bool
attr_goes_along_locked(const struct sf_tree *t, const struct node *n)
{
    return t->opts.behind && (attr_lasts(t, n) || attr_unsent(t, n)) && n->type == N_FILE &&
           !live(n)->writers && live(n)->commits && live(n)->content &&
           sf_content_dirty(live(n)->content);
}

/* With what is kept of the bytes. false: no memory. */
static bool
attr_keep(struct sf_tree *t, struct node *n, struct attr_op *attrs)
{
    struct keep_op *op = malloc(sizeof *op);
    if (!op)
        return false;
    *op = (struct keep_op){t, attrs};
    attrs->seen = (struct sf_version){.id = ""}; /* the upload makes another */
    commit_keep(t, n, KEEP_ATTRS, attrs_kept, op);
    return true;
}

void
attr_write(struct sf_tree *t, struct node *n, struct attr_op *op, bool along)
{
    if (!along || !attr_keep(t, n, op))
        attr_op_start(t, op);
    tree_lock(t);
    node_unref_locked(t, n);
    tree_unlock(t);
}

/* ---- setattr without a size ------------------------------------------------------------------ */

void
attr_change(struct sf_tree *t, struct node *n, const struct sf_attr *attr, unsigned valid,
            sf_tree_fn cb, void *arg)
{
    struct sf_tree_result res = {0};
    struct attr_op *op = NULL;
    tree_lock(t);
    struct node before = *n;
    bool write = attr_lasts(t, n) && !attr_travels(n), along = attr_goes_along_locked(t, n);
    int rc = attr_set_locked(t, n, attr, valid);
    if (rc == 0 && (write || along)) {
        node_changed_locked(t, n);
        op = attr_op_new_locked(t, n, &before, NULL, cb, arg);
        rc = op ? 0 : -ENOMEM;
    }
    attr_fill_locked(t, n, &res.attr);
    res.ttl_ms = attr_ttl_locked(t, n);
    if (!op)
        node_unref_locked(t, n);
    tree_unlock(t);
    if (op)
        attr_write(t, n, op, along);
    else
        cb(arg, rc, rc < 0 ? NULL : &res);
}
