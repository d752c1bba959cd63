/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"
#include "observe/counter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lookup ---------------------------------------------------------------------------------- */

struct lookup_op {
    struct waiter w;
    struct sf_tree *tree;
    struct node *dir; /* counted */
    struct resolve r;
    sf_tree_fn cb;
    void *arg;
    char name[256];
};

static void lookup_resume(struct waiter *w, int err);

/* How long the absence of a name may be believed by the kernel. */
static int64_t
absent_ttl(const struct sf_tree *t, const struct node *dir, const char *name)
{
    int64_t checked = resolve_absent_ns(t, dir, name);
    int64_t left = t->opts.attr_ttl_ms - (sf_clock_ns() - checked) / 1000000;
    return left > 0 ? left : 0;
}

/* @rc, @n: what was resolved. */
static int
lookup_fill_locked(struct sf_tree *t, int rc, struct node *n, struct node *dir, const char *name,
                   struct sf_tree_result *res)
{
    if (rc == 1)
        entry_fill_locked(t, n, &res->entry);
    else if (rc == 0)
        res->entry.ttl_ms = absent_ttl(t, dir, name);
    return rc < 0 ? rc : 0;
}

static int
lookup_try_locked(struct lookup_op *op, struct sf_tree_result *res)
{
    struct node *n = NULL;
    int rc = resolve_locked(op->tree, &op->r, op->dir, op->name, &op->w, &n);
    if (rc == 1) {
        int known = dir_attrs_locked(op->tree, &op->r, n, &op->w);
        rc = known < 0 ? known : 1;
    }
    return lookup_fill_locked(op->tree, rc, n, op->dir, op->name, res);
}

static void
lookup_resume(struct waiter *w, int err)
{
    struct lookup_op *op = (struct lookup_op *)w;
    struct sf_tree *t = op->tree;
    struct sf_tree_result res = {0};
    tree_lock(t);
    op->r.err = err;
    op->r.rounds++;
    int rc = lookup_try_locked(op, &res);
    if (rc != -EINPROGRESS)
        node_unref_locked(t, op->dir);
    tree_unlock(t);
    if (rc == -EINPROGRESS)
        return;
    op->cb(op->arg, rc, rc < 0 ? NULL : &res);
    free(op);
}

void
sf_tree_lookup(struct sf_tree *t, uint64_t parent, const char *name, sf_tree_fn cb, void *arg)
{
    struct sf_tree_result res = {0};
    struct resolve r = {.since_ns = sf_clock_ns()};
    struct lookup_op *op = NULL;
    if (strlen(name) > SF_NAME_MAX) {
        cb(arg, -ENAMETOOLONG, NULL);
        return;
    }
    tree_lock(t);
    struct node *dir = node_get_locked(t, parent), *n = NULL;
    int rc = dir ? resolve_known_locked(t, r.since_ns, dir, name, &n) : -ESTALE;
    if (rc == 1 && !dir_attrs_known(t, n))
        rc = -EAGAIN;
    if (rc != -EAGAIN) { /* nearly always, and without memory of its own */
        rc = lookup_fill_locked(t, rc, n, dir, name, &res);
        sf_count(SF_C_LOOKUP_CACHED, 1);
    } else if ((op = malloc(sizeof *op))) {
        op->w = (struct waiter){.resume = lookup_resume};
        op->tree = t;
        op->dir = dir;
        op->r = r;
        op->cb = cb;
        op->arg = arg;
        snprintf(op->name, sizeof op->name, "%s", name);
        node_ref_locked(dir);
        rc = lookup_try_locked(op, &res);
        if (rc != -EINPROGRESS) {
            sf_count(SF_C_LOOKUP_CACHED, 1);
            node_unref_locked(t, dir);
        }
    } else {
        rc = -ENOMEM;
    }
    tree_unlock(t);
    if (rc == -EINPROGRESS)
        return;
    free(op);
    cb(arg, rc, rc < 0 ? NULL : &res);
}

/* ---- readlink ------------------------------------------------------------------------------- */

#define LINK_MAX_BYTES 4096

struct readlink_op {
    struct sf_tree *tree;
    struct node *node; /* counted */
    uint32_t version;
    sf_tree_fn cb;
    void *arg;
    char buf[LINK_MAX_BYTES + 1];
};

static void
readlink_done(void *arg, const struct sf_err *err, const struct sf_get_result *got)
{
    struct readlink_op *op = arg;
    struct sf_tree *t = op->tree;
    struct sf_tree_result res = {.data = op->buf};
    int rc = err ? err->code : 0;
    if (!rc && memchr(op->buf, 0, got->len))
        rc = -EIO; /* no link of ours: a target has no NUL */
    tree_lock(t);
    tree_answer_locked(t, err);
    if (!rc) {
        op->buf[got->len] = '\0';
        res.len = got->len;
        if (op->version == op->node->version)
            node_set_link(op->node, op->buf);
    } else if (rc == -ESTALE) {
        op->node->checked_ns = 0;
    }
    node_unref_locked(t, op->node);
    tree_unlock(t);
    op->cb(op->arg, rc, rc < 0 ? NULL : &res);
    free(op);
}

void
sf_tree_readlink(struct sf_tree *t, uint64_t nid, sf_tree_fn cb, void *arg)
{
    struct readlink_op *op = calloc(1, sizeof *op);
    struct sf_tree_result res = {0};
    char *bucket = NULL, *key = NULL, *etag = NULL, text[NODE_ETAG_SIZE];
    struct sf_get_args args = {0};
    if (!op) {
        cb(arg, -ENOMEM, NULL);
        return;
    }
    *op = (struct readlink_op){.tree = t, .cb = cb, .arg = arg};
    tree_lock(t);
    struct node *n = node_get_locked(t, nid);
    int rc = !n ? -ESTALE : !n->symlink ? -EINVAL : 0;
    if (!rc && live(n)->link) {
        res.len = strlen(live(n)->link);
        memcpy(op->buf, live(n)->link, res.len);
        res.data = op->buf;
        rc = 1;
    } else if (!rc && (n->size == 0 || n->size > LINK_MAX_BYTES)) {
        rc = n->size ? -ENAMETOOLONG : -EIO;
    } else if (!rc && !(rc = node_key_locked(n, &bucket, &key))) {
        etag = node_has_etag(n) && !n->etag_open ? strdup(node_etag(n, text)) : NULL;
        args = (struct sf_get_args){.bucket = bucket,
                                    .key = key,
                                    .etag = etag,
                                    .len = n->size,
                                    .buf = op->buf,
                                    .total = n->size,
                                    .any_total = n->etag_open};
        op->node = n;
        op->version = n->version;
        node_ref_locked(n);
        tree_ask_locked(t);
    }
    tree_unlock(t);
    if (args.buf) { /* from here on the op is the callback's */
        sf_storage_get(t->st, &args, tree_read_deadline(t), readlink_done, op);
        free(bucket);
        free(key);
        free(etag);
        return;
    }
    cb(arg, rc < 0 ? rc : 0, rc < 0 ? NULL : &res);
    free(op);
}
