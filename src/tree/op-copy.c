/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Copies between two open files. All of an object into an empty file moves no bytes: the file
 * begins with the object, and its upload is a copy that the service makes. Else the bytes are read
 * and written.
 */

#define COPY_MAX (4u << 20) /* bytes of one call; the caller asks again for the rest */

struct copy_op {
    struct sf_tree *tree;
    struct sf_file *out; /* counted */
    uint64_t off;
    sf_tree_fn cb;
    void *arg;
};

/* All bytes of a read in one place; @room: for free(). NULL without memory. */
static const void *
in_one(const struct sf_tree_result *res, char **room)
{
    size_t at = 0;
    if (res->n_iov == 1)
        return res->iov->iov_base;
    *room = malloc(res->len);
    for (int i = 0; *room && i < res->n_iov; i++) {
        memcpy(*room + at, res->iov[i].iov_base, res->iov[i].iov_len);
        at += res->iov[i].iov_len;
    }
    return *room;
}

static void
copy_read(void *arg, int err, const struct sf_tree_result *res)
{
    struct copy_op *op = arg;
    struct sf_tree *t = op->tree;
    struct sf_tree_result none = {0};
    sf_autofree char *room = NULL;
    const void *data = err == 0 && res->len ? in_one(res, &room) : NULL;
    if (err == 0 && res->len && !data)
        err = -ENOMEM;
    tree_lock(t);
    if (err == 0 && op->out->released)
        err = -EBADF;
    tree_unlock(t);
    if (err < 0 || !res->len)
        op->cb(op->arg, err, err < 0 ? NULL : &none);
    else
        sf_tree_write(t, op->out, op->off, data, res->len, op->cb, op->arg);
    tree_lock(t);
    file_unref_locked(t, op->out);
    tree_unlock(t);
    free(op);
}

/* Is the file as the object in the bucket, of which enough is known to find it again? */
static bool
is_clean_locked(const struct node *n)
{
    char buf[NODE_ETAG_SIZE];
    bool found = node_has_etag(n) && (!n->etag_open || strlen(node_etag(n, buf)) == 34);
    return n->type == N_FILE && n->parent && found && !n->local_only && !live(n)->commits &&
           !live(n)->busy && !(live(n)->content && sf_content_dirty(live(n)->content));
}

/* All of @in (at most @len bytes) as the content of the empty @out. Its size, or 0: not so. */
static size_t
take_whole(struct sf_tree *t, const struct sf_file *in, struct sf_file *out, size_t len)
{
    struct node *from = in->node, *to = out->node;
    struct sf_content *c = NULL;
    struct content_begin b = {0};
    size_t done = 0;
    tree_lock(t);
    const struct bucket *bucket = node_bucket_locked(to);
    uint64_t limit = sf_writer_limit(t->writer, bucket ? bucket->size_limit : 0);
    /* The answer is a 32-bit number. */
    bool whole = from != to && !t->opts.read_only && is_clean_locked(from) && from->size &&
                 from->size <= len && from->size <= limit && from->size <= UINT32_MAX &&
                 live(to)->content && !live(to)->commits && !sf_content_size(live(to)->content);
    if (whole && content_begin_locked(from, &b) == 0) {
        c = sf_content_ref(live(to)->content);
        live_rw(to)->busy++;
        node_ref_locked(to);
    }
    tree_unlock(t);
    if (c && sf_content_take(c, &b.src) == 0)
        done = (size_t)b.src.version.size;
    content_begin_fini(&b);
    if (!c)
        return 0;
    tree_lock(t);
    if (done) {
        content_failure_clear_locked(to);
        file_wrote_locked(out);
        attr_stamp_locked(to, true);
    }
    live_rw(to)->busy--;
    node_unref_locked(t, to);
    tree_unlock(t);
    sf_content_unref(c);
    return done;
}

void
sf_tree_copy_range(struct sf_tree *t, struct sf_file *in, uint64_t off_in, struct sf_file *out,
                   uint64_t off_out, size_t len, sf_tree_fn cb, void *arg)
{
    struct sf_tree_result res = {.len = off_in || off_out ? 0 : take_whole(t, in, out, len)};
    if (res.len) {
        cb(arg, 0, &res);
        return;
    }
    struct copy_op *op = malloc(sizeof *op);
    if (!op) {
        cb(arg, -ENOMEM, NULL);
        return;
    }
    *op = (struct copy_op){t, out, off_out, cb, arg};
    tree_lock(t);
    file_ref_locked(out);
    tree_unlock(t);
    sf_tree_read(t, in, off_in, len < COPY_MAX ? len : COPY_MAX, copy_read, op);
}
