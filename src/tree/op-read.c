/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/xattr-provider.h"

#include "base/clock.h"
#include "observe/counter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Reads: of staged bytes, or of the version that the handle has, through the cache. */

struct read_op {
    struct sf_tree *tree;
    struct sf_file *file;  /* counted */
    struct origin *origin; /* of the attempt under way; NULL = none. Counted */
    struct waiter w;       /* of the look at a changed version */
    struct resolve r;
    uint64_t off;
    size_t len;
    char *buf; /* of staged bytes; NULL = none yet */
    bool retried;
    sf_tree_fn cb;
    void *arg;
};

static uint64_t read_go(struct read_op *op);

static void
read_finish(struct read_op *op, int rc, const struct iovec *iov, int n, size_t len)
{
    struct sf_tree *t = op->tree;
    struct sf_tree_result res = {.iov = iov, .n_iov = n, .len = len};
    tree_lock(t);
    origin_unref_locked(t, op->origin);
    file_unref_locked(t, op->file);
    tree_unlock(t);
    op->cb(op->arg, rc, rc < 0 ? NULL : &res);
    free(op->buf);
    free(op);
}

/* ---- staged bytes ---------------------------------------------------------------------------- */

static void
read_content_done(void *arg, ssize_t len)
{
    struct read_op *op = arg;
    struct sf_tree *t = op->tree;
    const struct iovec iov = {op->buf, len < 0 ? 0 : (size_t)len};
    tree_lock(t);
    if (len > 0)
        op->file->node->delivered = true;
    tree_unlock(t);
    if (len == -ESTALE)
        sf_count(SF_C_STALE_ERRORS, 1);
    read_finish(op, len < 0 ? (int)len : 0, &iov, len > 0, iov.iov_len);
}

/* Read what is staged, or begins with an object's bytes. */
static void
read_content(struct read_op *op, struct sf_content *c)
{
    if (!op->buf)
        op->buf = malloc(op->len ? op->len : 1);
    ssize_t n =
        op->buf ? sf_content_read(c, op->buf, op->len, op->off, read_content_done, op) : -ENOMEM;
    sf_content_unref(c);
    if (n != -EINPROGRESS)
        read_content_done(op, n);
}

/* ---- what is in the bucket ------------------------------------------------------------------- */

/* The version is another one now. A reader that got nothing of the old one may have the new. */
static void
read_again(struct read_op *op)
{
    struct sf_tree *t = op->tree;
    tree_lock(t);
    int rc = revalidate_locked(t, &op->r, op->file->node, &op->w);
    tree_unlock(t);
    if (rc == 0)
        read_go(op);
    else if (rc != -EINPROGRESS)
        read_finish(op, rc, NULL, 0, 0);
}

static void
read_resume(struct waiter *w, int err)
{
    struct read_op *op = (struct read_op *)((char *)w - offsetof(struct read_op, w));
    op->r.err = err; /* nobody else has it now */
    op->r.rounds++;
    read_again(op);
}

enum next { FAIL, LOOK, STAGED };

/* No such version, or not this one any more: is there another attempt? */
static enum next
read_retry_locked(struct read_op *op)
{
    struct sf_tree *t = op->tree;
    struct sf_file *f = op->file;
    struct node *n = f->node;
    bool same = origin_of_locked(op->origin, n), staged = live(n)->content != NULL;
    if (!staged)
        sf_count(SF_C_STALE_ERRORS, 1);
    if (!staged && same)
        n->checked_ns = 0;
    if (op->retried || (!staged && (n->delivered || !n->parent)))
        return FAIL;
    op->retried = true;
    op->r = (struct resolve){.since_ns = same ? sf_clock_ns() : 0};
    if (f->origin == op->origin)
        origin_unref_locked(t, sf_steal(f->origin));
    origin_unref_locked(t, sf_steal(op->origin));
    return staged ? STAGED : LOOK;
}

static void
read_done(void *arg, int err, const struct sf_err *why, const struct iovec *iov, int n, size_t len)
{
    struct read_op *op = arg;
    struct sf_tree *t = op->tree;
    struct node *node = op->file->node;
    enum next next = FAIL;
    (void)why; /* whoever failed has told the log */
    tree_lock(t);
    if (!err && !origin_of_locked(op->origin, node))
        err = -ESTALE; /* bytes of the version before */
    if (err == -ESTALE)
        next = read_retry_locked(op);
    else if (!err && len)
        node->delivered = true;
    tree_unlock(t);
    if (next == FAIL)
        read_finish(op, err, iov, n, len);
    else if (next == STAGED)
        read_go(op);
    else
        read_again(op);
}

/* The handle's origin, made if need be; it is of the present version. */
static int
read_origin(struct read_op *op)
{
    struct sf_tree *t = op->tree;
    struct sf_file *f = op->file;
    struct origin *fresh = NULL;
    for (;;) {
        tree_lock(t);
        if (fresh && (!f->origin || !origin_fits_locked(f->origin, f->node))) {
            origin_unref_locked(t, f->origin);
            f->origin = sf_steal(fresh);
        }
        origin_unref_locked(t, sf_steal(fresh));
        bool fits = f->origin && origin_fits_locked(f->origin, f->node);
        bool mixed = f->pages && f->version != f->node->version; /* with those of the kernel */
        fits = fits && !mixed;
        if (fits) {
            origin_ref_locked(f->origin);
            op->origin = f->origin;
        }
        tree_unlock(t);
        if (fits || mixed)
            return fits ? 0 : -ESTALE;
        int rc = origin_new(t, f->node, &fresh);
        if (rc < 0)
            return rc;
    }
}

/* An id for sf_tree_cancel(), or 0. */
static uint64_t
read_go(struct read_op *op)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->file->node;
    tree_lock(t);
    struct sf_content *c = live(n)->content ? sf_content_ref(live(n)->content) : NULL;
    bool end = op->off >= n->size;
    tree_unlock(t);
    if (c) {
        read_content(op, c);
        return 0;
    }
    int rc = end ? 0 : read_origin(op);
    if (end || rc < 0) {
        read_finish(op, rc, NULL, 0, 0);
        return 0;
    }
    return sf_stream_read(origin_stream(op->origin), op->off, op->len, read_done, op);
}

uint64_t
sf_tree_read(struct sf_tree *t, struct sf_file *f, uint64_t off, size_t len, sf_tree_fn cb,
             void *arg)
{
    struct read_op *op = calloc(1, sizeof *op);
    if (!op) {
        cb(arg, -ENOMEM, NULL);
        return 0;
    }
    *op = (struct read_op){.tree = t, .file = f, .off = off, .len = len, .cb = cb, .arg = arg};
    op->w.resume = read_resume;
    tree_lock(t);
    file_ref_locked(f);
    file_got_locked(f);
    tree_unlock(t);
    return read_go(op);
}

void
sf_tree_cancel(struct sf_tree *t, uint64_t id)
{
    if (id & TREE_CANCEL_XATTR)
        xattr_provider_cancel(t, id);
    else
        sf_cache_cancel(t->opts.cache, id);
}

int64_t
sf_tree_seek(struct sf_tree *t, struct sf_file *f, uint64_t off, bool hole)
{
    struct node *n = f->node;
    tree_lock(t);
    struct sf_content *c = live(n)->content ? sf_content_ref(live(n)->content) : NULL;
    uint64_t size = c ? sf_content_size(c) : n->size;
    bool holes = c && !live(n)->mappers;
    tree_unlock(t);
    int64_t at = off >= size ? -ENXIO : (int64_t)(hole ? size : off);
    if (holes)
        at = sf_content_seek(c, off, hole);
    if (c)
        sf_content_unref(c);
    return at;
}
