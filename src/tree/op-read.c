/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"
#include "observe/counter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Reads: of staged bytes, or of the version that the handle has. */

struct read_op {
    struct sf_tree *tree;
    struct node *node; /* counted */
    struct waiter w;   /* of the look at a changed version */
    struct resolve r;
    uint64_t off;
    size_t want, len; /* asked for; of which the object has */
    bool retried;
    uint8_t turns; /* how often it was looked for under another name */
    char *bucket, *key, *etag;
    uint64_t total;
    bool etag_open;
    uint32_t version;
    sf_tree_fn cb;
    void *arg;
    char buf[];
};

static uint64_t read_send(struct read_op *op);

/* The kernel asks again at once for the page that its read-ahead did not get: for a moment after a
 * deadline the file's readers are not made to wait as long again, unless the service answers. */
#define GIVE_UP_MS 1000

static bool
given_up_locked(const struct sf_tree *t, const struct node *n)
{
    return live(n)->gave_up_ms && t->quiet_since < live(n)->gave_up_ms &&
           sf_clock_ms() - live(n)->gave_up_ms < GIVE_UP_MS;
}

static void
read_finish(struct read_op *op, int rc, size_t len)
{
    struct sf_tree *t = op->tree;
    const struct iovec iov = {op->buf, len};
    struct sf_tree_result res = {.iov = &iov, .n_iov = 1, .len = len};
    tree_lock(t);
    node_unref_locked(t, op->node);
    tree_unlock(t);
    op->cb(op->arg, rc, rc < 0 ? NULL : &res);
    free(op->bucket);
    free(op->key);
    free(op->etag);
    free(op);
}

/* What to ask for: 1 ask, 0 nothing there, or -errno. Copies what the request needs. */
static int
read_prepare_locked(struct read_op *op)
{
    struct node *n = op->node;
    if (op->off >= n->size)
        return 0;
    op->len = op->want < n->size - op->off ? op->want : n->size - op->off;
    free(sf_steal(op->bucket));
    free(sf_steal(op->key));
    free(sf_steal(op->etag));
    if (!n->parent && n->etag_open)
        return -ESTALE; /* under its old key may be anything by now */
    int rc = node_key_locked(n, &op->bucket, &op->key);
    if (rc < 0)
        return rc;
    char buf[NODE_ETAG_SIZE];
    if (node_has_etag(n) && !n->etag_open && !(op->etag = strdup(node_etag(n, buf))))
        return -ENOMEM;
    op->total = n->size;
    op->etag_open = n->etag_open;
    op->version = n->version;
    return 1;
}

static void
read_content_done(void *arg, ssize_t len)
{
    struct read_op *op = arg;
    struct sf_tree *t = op->tree;
    tree_lock(t);
    if (len > 0)
        op->node->delivered = true;
    tree_unlock(t);
    if (len == -ESTALE)
        sf_count(SF_C_STALE_ERRORS, 1);
    read_finish(op, len < 0 ? (int)len : 0, len < 0 ? 0 : (size_t)len);
}

/* Read what is staged, or begins with an object's bytes. */
static void
read_content(struct read_op *op, struct sf_content *c)
{
    ssize_t n = sf_content_read(c, op->buf, op->want, op->off, read_content_done, op);
    sf_content_unref(c);
    if (n != -EINPROGRESS)
        read_content_done(op, n);
}

/* The version is another one now. A reader that got nothing of the old one may have the new. */
static void
read_again(struct read_op *op)
{
    struct sf_tree *t = op->tree;
    struct sf_content *c = NULL;
    tree_lock(t);
    int rc = revalidate_locked(t, &op->r, op->node, &op->w);
    if (rc == 0 && live(op->node)->content)
        c = sf_content_ref(live(op->node)->content);
    else if (rc == 0 && (rc = read_prepare_locked(op)) == 1)
        tree_ask_locked(t);
    tree_unlock(t);
    if (rc == -EINPROGRESS)
        return;
    if (c)
        read_content(op, c);
    else if (rc == 1)
        read_send(op);
    else
        read_finish(op, rc, 0);
}

static void
read_resume(struct waiter *w, int err)
{
    struct read_op *op = (struct read_op *)((char *)w - offsetof(struct read_op, w));
    op->r.err = err; /* nobody else has it now */
    op->r.rounds++;
    read_again(op);
}

static bool
read_retry_locked(struct read_op *op)
{
    struct node *n = op->node;
    if (op->version == n->version)
        n->checked_ns = 0;
    if (op->retried || n->delivered || !n->parent)
        return false;
    op->retried = true;
    op->r = (struct resolve){.since_ns = op->version == n->version ? sf_clock_ns() : 0};
    return true;
}

/* The object is not under this key. Where a directory above is being renamed, or has been
 * meanwhile, it is under another; twice, because it goes from the old name to the new. */
static bool
read_elsewhere_locked(struct read_op *op)
{
    char *bucket = NULL, *key = NULL;
    if (op->turns >= 2)
        return false;
    if (sf_write_other_name(op->tree->writer, op->bucket, op->key, &bucket, &key) ==
        SF_NAME_STAYS) {
        if (node_key_locked(op->node, &bucket, &key) < 0)
            return false;
        if (strcmp(key, op->key) == 0 && strcmp(bucket, op->bucket) == 0) {
            free(bucket);
            free(key);
            return false;
        }
    }
    free(op->bucket);
    free(op->key);
    op->bucket = bucket;
    op->key = key;
    op->turns++;
    return true;
}

static void
read_done(void *arg, const struct sf_err *err, const struct sf_get_result *got)
{
    struct read_op *op = arg;
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    int rc = err ? err->code : 0;
    bool retry = false;
    char buf[NODE_ETAG_SIZE];
    tree_lock(t);
    tree_answer_locked(t, err);
    if (rc == -ENOENT && read_elsewhere_locked(op)) {
        tree_ask_locked(t);
        tree_unlock(t);
        read_send(op);
        return;
    }
    if (rc == -ETIMEDOUT && live_of(n))
        live_rw(n)->gave_up_ms = sf_clock_ms();
    if (!rc && op->etag_open && n->etag_open && !node_etag_is(n, got->etag)) {
        /* Our own upload's ETag, learned now; unless it shows that somebody else wrote since. */
        size_t len = strlen(node_etag(n, buf));
        if (len && strlen(got->etag) == len && !strchr(got->etag, '-'))
            rc = -ESTALE;
        else if (node_set_etag(n, got->etag) == 0)
            n->etag_open = n->keep_pages = false;
    }
    if (!rc && op->version != n->version)
        rc = -ESTALE; /* bytes of the version before */
    if (rc == -ESTALE || rc == -ENOENT) {
        sf_count(SF_C_STALE_ERRORS, 1);
        retry = read_retry_locked(op);
        rc = -ESTALE;
    } else if (!rc) {
        n->delivered = true;
    }
    tree_unlock(t);
    if (retry)
        read_again(op);
    else
        read_finish(op, rc, rc < 0 ? 0 : got->len);
}

static uint64_t
read_send(struct read_op *op)
{
    struct sf_tree *t = op->tree;
    const struct sf_get_args args = {.bucket = op->bucket,
                                     .key = op->key,
                                     .off = op->off,
                                     .len = op->len,
                                     .buf = op->buf,
                                     .etag = op->etag,
                                     .total = op->total,
                                     .token = op->etag};
    return sf_storage_get(t->st, &args, tree_read_deadline(t), read_done, op);
}

uint64_t
sf_tree_read(struct sf_tree *t, struct sf_file *f, uint64_t off, size_t len, sf_tree_fn cb,
             void *arg)
{
    struct read_op *op = malloc(sizeof *op + len);
    if (!op) {
        cb(arg, -ENOMEM, NULL);
        return 0;
    }
    memset(op, 0, sizeof *op);
    op->tree = t;
    op->node = f->node;
    op->w.resume = read_resume;
    op->off = off;
    op->want = len;
    op->cb = cb;
    op->arg = arg;
    tree_lock(t);
    node_ref_locked(f->node);
    file_got_locked(f);
    struct sf_content *c = live(f->node)->content ? sf_content_ref(live(f->node)->content) : NULL;
    int rc = c ? 0 : given_up_locked(t, f->node) ? -ETIMEDOUT : read_prepare_locked(op);
    if (rc == 1)
        tree_ask_locked(t);
    tree_unlock(t);
    if (rc == 1)
        return read_send(op);
    if (c)
        read_content(op, c);
    else
        read_finish(op, rc, 0);
    return 0;
}

void
sf_tree_cancel(struct sf_tree *t, uint64_t id)
{
    sf_storage_cancel(t->st, id);
}
