/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

/*
 * What changes bytes: write, truncate, fallocate. Each needs a content for the
 * node; then it is local work: what is missing is fetched when it is read or uploaded.
 */

enum change { CH_WRITE, CH_PAGES, CH_TRUNCATE, CH_EXTEND, CH_ZERO, CH_PUNCH };

struct change_op {
    struct sf_tree *tree;
    struct node *node;    /* counted */
    struct sf_file *file; /* counted; NULL: truncation by path, committed at once */
    enum change what;
    bool let_go; /* does not count as busy any more */
    uint64_t off;
    uint64_t len;
    struct sf_attr attr; /* the rest of a setattr */
    unsigned valid;
    sf_tree_fn cb;
    void *arg;
    const void *data; /* the caller's */
};

static uint64_t
limit_locked(const struct sf_tree *t, const struct node *n)
{
    const struct bucket *b = node_bucket_locked(n);
    return sf_writer_limit(t->writer, b ? b->size_limit : 0);
}

static void
op_finish(struct change_op *op, int rc, size_t len)
{
    struct sf_tree *t = op->tree;
    struct sf_tree_result res = {.len = len};
    tree_lock(t);
    if (!op->let_go)
        live_rw(op->node)->busy--;
    content_drop_locked(t, op->node);
    attr_fill_locked(t, op->node, &res.attr);
    res.ttl_ms = attr_ttl_locked(t, op->node);
    if (op->file)
        file_unref_locked(t, op->file);
    node_unref_locked(t, op->node);
    tree_unlock(t);
    op->cb(op->arg, rc, rc < 0 ? NULL : &res);
    free(op);
}

static void
truncated(void *arg, int rc)
{
    struct change_op *op = arg;
    struct sf_tree *t = op->tree;
    struct sf_err why = {.code = rc};
    if (rc < 0) {
        tree_lock(t);
        if (live(op->node)->failure)
            why = *live(op->node)->failure;
        live_rw(op->node)->busy--; /* nothing more is changed: the bytes may be given up */
        op->let_go = true;
        tree_unlock(t);
        if (sf_failure_is_held(&why))
            rc = 0; /* the journal has it */
        else
            commit_give_up(t, op->node, &why);
    }
    op_finish(op, rc, 0);
}

/* A new file's first bytes tell its type where its name does not: it is refused before more is
 * written. */
static bool
type_refused(struct change_op *op, struct sf_content *c)
{
    struct sf_tree *t = op->tree;
    char *bucket = NULL, *key = NULL, **mimes = NULL;
    if (op->what != CH_WRITE || op->off || op->len < SF_MIME_HEAD || sf_content_size(c))
        return false;
    tree_lock(t);
    const struct bucket *b = node_bucket_locked(op->node);
    bool look = b && b->mimes && op->node->local_only && !op->node->replace &&
                mimes_copy(b->mimes, &mimes) == 0 && node_key_locked(op->node, &bucket, &key) == 0;
    tree_unlock(t);
    bool refused =
        look && !sf_write_type_allowed(bucket, key, op->data, op->len, (const char *const *)mimes);
    mimes_free(mimes);
    free(bucket);
    free(key);
    return refused;
}

static ssize_t
apply_change(struct change_op *op, struct sf_content *c)
{
    uint64_t at = op->off;
    ssize_t n = 0;
    switch (op->what) {
    case CH_WRITE:
        if (op->file && op->file->flags & O_APPEND)
            return sf_content_append(c, op->data, op->len, &at);
        return sf_content_write(c, op->data, op->len, op->off);
    case CH_PAGES: /* with O_APPEND, too */
        return sf_content_write(c, op->data, op->len, op->off);
    case CH_TRUNCATE:
        n = sf_content_truncate(c, op->off);
        if (n == 0) /* an object of another size may be in the bucket still */
            sf_content_mark_dirty(c);
        break;
    case CH_EXTEND:
        if (op->off > sf_content_size(c))
            n = sf_content_truncate(c, op->off);
        break;
    case CH_ZERO:
    case CH_PUNCH:
        return sf_content_zero(c, op->off, op->len, op->what == CH_ZERO);
    }
    return n;
}

static void
change_staged(struct change_op *op, struct sf_content *c)
{
    struct sf_tree *t = op->tree;
    struct node *n = op->node;
    tree_lock(t);
    bool gone = op->file && op->file->released; /* a copy that was under way then */
    tree_unlock(t);
    ssize_t done = gone ? -EBADF : type_refused(op, c) ? -EPERM : apply_change(op, c);
    bool behind = false;
    tree_lock(t);
    if (done >= 0 && (sf_content_dirty(c) || !n->parent)) { /* what is removed is never dirty */
        content_failure_clear_locked(n);
        if (op->file)
            file_wrote_locked(op->file);
        if (op->what == CH_PAGES)
            live_rw(n)->mapped = true;
        attr_stamp_locked(n, true);
    }
    if (done >= 0 && op->valid) /* without memory it is the atime that is missing */
        (void)!attr_set_locked(t, n, &op->attr, op->valid);
    if (done >= 0 && op->file && op->file->released && !live(n)->writers) {
        node_ref_locked(n); /* released in this very moment */
        t->background++;
        behind = true;
    }
    tree_unlock(t);
    sf_content_unref(c);
    if (behind)
        commit_behind(t, n);
    if (done >= 0 && !op->file && t->opts.behind)
        commit_keep(t, n, KEEP_CLOSE, truncated, op);
    else if (done >= 0 && !op->file)
        commit_start(t, n, truncated, op);
    else
        op_finish(op, done < 0 ? (int)done : 0, done > 0 ? (size_t)done : 0);
}

/* O_TRUNC's way: what is cut to nothing is not even asked for. */
static int
content_for(struct change_op *op, struct sf_content **c)
{
    struct sf_tree *t = op->tree;
    struct sf_content *fresh = NULL;
    tree_lock(t);
    bool have = live(op->node)->content != NULL;
    tree_unlock(t);
    if (have || op->what != CH_TRUNCATE || op->off)
        return content_need(t, op->node, c);
    int rc = content_make(t, op->node, &fresh);
    if (rc < 0)
        return rc;
    tree_lock(t);
    if (!live(op->node)->content)
        (void)!content_put_locked(op->node, &fresh); /* it has been counted: there is room */
    *c = sf_content_ref(live(op->node)->content);
    tree_unlock(t);
    if (fresh)
        sf_content_unref(fresh);
    return 0;
}

/* @end: the size that the file would have at least. */
static void
change_start(struct change_op *op, uint64_t end)
{
    struct sf_tree *t = op->tree;
    struct sf_content *c = NULL;
    tree_lock(t);
    int rc = t->opts.read_only ? -EROFS : end > limit_locked(t, op->node) ? -EFBIG : 0;
    tree_unlock(t);
    if (rc == 0)
        rc = content_for(op, &c);
    if (rc == 0)
        change_staged(op, c);
    else
        op_finish(op, rc, 0);
}

/* false: no memory, and nothing is held. */
static bool
change_hold_locked(struct node *n, struct sf_file *f)
{
    if (!live_of(n))
        return false;
    node_ref_locked(n);
    live_rw(n)->busy++;
    if (f)
        file_ref_locked(f);
    return true;
}

/* Takes what change_hold_locked() took; NULL: it has been answered. */
static struct change_op *
change_new(struct sf_tree *t, struct node *n, struct sf_file *f, enum change what, sf_tree_fn cb,
           void *arg)
{
    struct change_op *op = malloc(sizeof *op);
    if (!op) {
        tree_lock(t);
        live_rw(n)->busy--;
        if (f)
            file_unref_locked(t, f);
        node_unref_locked(t, n);
        tree_unlock(t);
        cb(arg, -ENOMEM, NULL);
        return NULL;
    }
    *op = (struct change_op){.tree = t, .node = n, .file = f, .what = what, .cb = cb, .arg = arg};
    return op;
}

static void
write_as(struct sf_tree *t, struct sf_file *f, enum change what, uint64_t off, const void *data,
         size_t len, sf_tree_fn cb, void *arg)
{
    uint64_t end;
    tree_lock(t);
    bool held = change_hold_locked(f->node, f);
    tree_unlock(t);
    struct change_op *op = held ? change_new(t, f->node, f, what, cb, arg) : NULL;
    if (!held)
        cb(arg, -ENOMEM, NULL);
    if (!op)
        return;
    op->off = off;
    op->len = len;
    op->data = data;
    if (__builtin_add_overflow(off, len, &end))
        end = UINT64_MAX;
    change_start(op, end);
}

void
sf_tree_write(struct sf_tree *t, struct sf_file *f, uint64_t off, const void *data, size_t len,
              sf_tree_fn cb, void *arg)
{
    write_as(t, f, CH_WRITE, off, data, len, cb, arg);
}

void
sf_tree_write_pages(struct sf_tree *t, struct sf_file *f, uint64_t off, const void *data,
                    size_t len, sf_tree_fn cb, void *arg)
{
    write_as(t, f, CH_PAGES, off, data, len, cb, arg);
}

/* What a mode of fallocate(2) asks for. False: not that. Space is not set aside. */
static bool
change_of_mode(int mode, enum change *what)
{
    switch (mode) {
    case 0:
        *what = CH_EXTEND;
        return true;
    case FALLOC_FL_ZERO_RANGE:
        *what = CH_ZERO;
        return true;
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
        *what = CH_PUNCH;
        return true;
    default:
        return false;
    }
}

void
sf_tree_fallocate(struct sf_tree *t, struct sf_file *f, int mode, uint64_t off, uint64_t len,
                  sf_tree_fn cb, void *arg)
{
    struct sf_tree_result res = {0};
    enum change what;
    uint64_t end;
    if (!change_of_mode(mode, &what)) {
        bool keep_size = mode == FALLOC_FL_KEEP_SIZE; /* without a new size nothing is to be done */
        cb(arg, keep_size ? 0 : -EOPNOTSUPP, keep_size ? &res : NULL);
        return;
    }
    tree_lock(t);
    bool held = change_hold_locked(f->node, f);
    tree_unlock(t);
    struct change_op *op = held ? change_new(t, f->node, f, what, cb, arg) : NULL;
    if (!held)
        cb(arg, -ENOMEM, NULL);
    if (!op)
        return;
    if (__builtin_add_overflow(off, len, &end))
        end = UINT64_MAX;
    op->off = what == CH_EXTEND ? end : off;
    op->len = len;
    change_start(op, what == CH_PUNCH ? 0 : end);
}

void
sf_tree_setattr(struct sf_tree *t, uint64_t nid, struct sf_file *f, const struct sf_attr *attr,
                unsigned valid, sf_tree_fn cb, void *arg)
{
    int rc = 0;
    bool size = valid & SF_SET_SIZE;
    tree_lock(t);
    struct node *n = f ? f->node : node_get_locked(t, nid);
    if (!n)
        rc = -ESTALE;
    else if (t->opts.read_only)
        rc = -EROFS;
    else if (size && node_is_dir(n))
        rc = -EISDIR;
    else if (size && !node_is_regular(n))
        rc = -EINVAL;
    else if (size)
        rc = change_hold_locked(n, f) ? 0 : -ENOMEM;
    else
        node_ref_locked(n);
    tree_unlock(t);
    if (rc < 0 || !size) {
        if (rc < 0)
            cb(arg, rc, NULL);
        else
            attr_change(t, n, attr, valid, cb, arg);
        return;
    }
    struct change_op *op = change_new(t, n, f, CH_TRUNCATE, cb, arg);
    if (!op)
        return;
    op->off = attr->size;
    op->attr = *attr;
    op->valid = valid & ~SF_SET_SIZE;
    change_start(op, attr->size);
}

/* ---- flush, fsync
 * --------------------------------------------------------------------------------- */

struct sync_op {
    struct sf_tree *tree;
    struct node *node; /* counted; NULL: attributes are not written */
    sf_tree_fn cb;
    void *arg;
};

static void
sync_finish(struct sync_op *op, int rc)
{
    struct sf_tree_result res = {0};
    if (op->node) {
        tree_lock(op->tree);
        node_unref_locked(op->tree, op->node);
        tree_unlock(op->tree);
    }
    op->cb(op->arg, rc, rc < 0 ? NULL : &res);
    free(op);
}

static void
sync_attrs_done(void *arg, const struct sf_err *err)
{
    sync_finish(arg, err ? err->code : 0);
}

/* The bytes are in the bucket; are all attributes? */
static void
sync_done(void *arg, int rc)
{
    struct sync_op *op = arg;
    struct sf_tree *t = op->tree;
    char *bucket = NULL, *key = NULL;
    tree_lock(t);
    bool wanted = rc == 0 && op->node && attr_unsent(t, op->node) &&
                  attr_object_key_locked(op->node, &bucket, &key) == 0;
    tree_unlock(t);
    if (!wanted) {
        sync_finish(op, rc);
        return;
    }
    sf_write_attrs_flush(t->writer, bucket, key, sync_attrs_done, op);
    free(bucket);
    free(key);
}

enum sync {
    SYNC_BYTES, /* the bucket has them */
    SYNC_ALL,   /* and the attributes */
    SYNC_KEPT,  /* they last */
};

static void
sync_start(struct sf_tree *t, struct node *n, enum sync what, sf_tree_fn cb, void *arg)
{
    bool attrs = what == SYNC_ALL;
    struct sync_op *op = malloc(sizeof *op);
    if (!op) {
        cb(arg, -ENOMEM, NULL);
        return;
    }
    *op = (struct sync_op){t, attrs ? n : NULL, cb, arg};
    if (attrs) {
        tree_lock(t);
        node_ref_locked(n);
        tree_unlock(t);
    }
    if (what == SYNC_KEPT)
        commit_keep(t, n, KEEP_CLOSE, sync_done, op);
    else
        commit_start(t, n, sync_done, op);
}

/* Is close() to wait for the bucket? Who was refused last hears whether it is so now. */
static bool
close_waits_locked(const struct sf_tree *t, const struct sf_file *f)
{
    const struct sf_err *why = live(f->node)->failure;
    return !t->opts.behind || f->flags & (O_SYNC | O_DSYNC) || (why && !sf_failure_is_held(why));
}

struct flush_op {
    struct sf_tree *tree;
    struct sf_file *file; /* counted */
    uint32_t writes;      /* that it had then */
    sf_tree_fn cb;
    void *arg;
};

static void
flush_done(void *arg, int err, const struct sf_tree_result *res)
{
    struct flush_op *op = arg;
    tree_lock(op->tree);
    const struct sf_err *why = live(op->file->node)->failure;
    /* What may pass leaves it in the journal, from where it goes on. */
    bool safe = !err || (err != -ENOMEM && why && sf_failure_is_held(why));
    op->file->flushed = safe && op->file->writes == op->writes;
    file_unref_locked(op->tree, op->file);
    tree_unlock(op->tree);
    op->cb(op->arg, err, res);
    free(op);
}

void
sf_tree_flush(struct sf_tree *t, struct sf_file *f, sf_tree_fn cb, void *arg)
{
    struct sf_tree_result res = {0};
    tree_lock(t);
    bool waits = close_waits_locked(t, f);
    /* Pages of its mapping may have been written with another's handle. */
    bool maps = (f->flags & O_ACCMODE) == O_RDWR;
    bool wrote = f->wrote || (!waits && f->created) || (maps && live(f->node)->mapped);
    /* Another descriptor of it was closed before: what is new since then is of others, who may be
     * in the middle of it. Who waits for the bucket hears again of a failure. */
    if (file_is_done_locked(f) && !(waits && live(f->node)->failure))
        wrote = false;
    struct flush_op *op = wrote ? malloc(sizeof *op) : NULL;
    if (op) {
        *op = (struct flush_op){t, f, f->writes, cb, arg};
        file_ref_locked(f);
    }
    tree_unlock(t);
    if (op)
        sync_start(t, f->node, waits ? SYNC_BYTES : SYNC_KEPT, flush_done, op);
    else
        cb(arg, wrote ? -ENOMEM : 0, &res); /* readers, and shells before their first write */
}

void
sf_tree_fsync(struct sf_tree *t, struct sf_file *f, sf_tree_fn cb, void *arg)
{
    sync_start(t, f->node, SYNC_ALL, cb, arg);
}

void
sf_tree_fsyncdir(struct sf_tree *t, uint64_t nid, sf_tree_fn cb, void *arg)
{
    struct sync_op *op = malloc(sizeof *op);
    int rc = op ? 0 : -ENOMEM;
    tree_lock(t);
    struct node *n = node_get_locked(t, nid);
    if (op && n) {
        *op = (struct sync_op){t, n, cb, arg};
        node_ref_locked(n);
    } else if (op) {
        rc = -ESTALE;
    }
    tree_unlock(t);
    if (rc == 0) {
        sync_done(op, 0);
        return;
    }
    free(op);
    cb(arg, rc, NULL);
}
