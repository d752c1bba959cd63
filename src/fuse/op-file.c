/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include "base/clock.h"
#include "http/http.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define DOUBT_MS 100

static void
open_fill(struct op *op, const struct sf_tree_open *o)
{
    op->fi.fh = (uintptr_t)o->file;
    op->fi.keep_cache = o->keep_cache;
    op->fi.direct_io = o->direct;
}

static int
reply_open(struct op *op, const struct sf_tree_result *res)
{
    open_fill(op, &res->open);
    return fuse_reply_open(op->req, &op->fi);
}

static void
undo_open(struct op *op, const struct sf_tree_result *res)
{
    sf_tree_release(op->fuse->tree, res->open.file);
}

static int
reply_create(struct op *op, const struct sf_tree_result *res)
{
    struct fuse_entry_param e;
    entry_fill(&e, &res->entry);
    if (!sf_chat_owns(res->entry.node))
        open_fill(op, &res->open);
    return fuse_reply_create(op->req, &e, &op->fi);
}

static void
undo_create(struct op *op, const struct sf_tree_result *res)
{
    if (sf_chat_owns(res->entry.node))
        chat_undo_open(op);
    else
        undo_open(op, res);
    undo_entry(op, res);
}

static const struct op_kind open_kind = {.name = "open", .reply = reply_open, .undo = undo_open};
static const struct op_kind create_kind = {
    .name = "create", .reply = reply_create, .undo = undo_create, .change = true};
static const struct op_kind flush_kind = {
    .name = "flush", .reply = reply_ok, .change = true, .send = true};
static const struct op_kind fsync_kind = {
    .name = "fsync", .reply = reply_ok, .change = true, .send = true};

/*
 * A file of which the kernel may still believe another size. Once it has our notice it asks anew,
 * so the answer to open() goes behind that. When notices are held up, it is opened past the
 * kernel's pages instead: what is read is right then, but the file cannot be mapped shared
 * (ENODEV).
 */
struct doubt {
    _Atomic unsigned refs; /* the notice's, the timer's */
    _Atomic bool answered;
    struct op *op;
    struct sf_tree_open open;
    struct sf_http *http;
    uint64_t timer; /* 0 = none */
};

static void
doubt_answer(struct doubt *d, bool direct)
{
    struct sf_tree_result res = {.open = d->open};
    res.open.direct = direct;
    if (!atomic_exchange(&d->answered, true))
        op_done(d->op, 0, &res);
    if (atomic_fetch_sub(&d->refs, 1) == 1)
        free(d);
}

static void
doubt_long(void *arg)
{
    doubt_answer(arg, true);
}

static void
doubt_over(void *arg)
{
    struct doubt *d = arg;
    if (d->timer && sf_http_timer_cancel(d->http, d->timer))
        atomic_fetch_sub(&d->refs, 1);
    doubt_answer(d, false);
}

static void
opened(void *arg, int err, const struct sf_tree_result *res)
{
    struct op *op = arg;
    struct sf_fuse *f = op->fuse;
    struct doubt *d = !err && res->open.direct && f->notify ? calloc(1, sizeof *d) : NULL;
    if (!d) {
        op_done(op, err, res);
        return;
    }
    d->op = op;
    d->open = res->open;
    d->http = f->http;
    atomic_init(&d->refs, 2);
    d->timer = sf_http_timer(f->http, sf_clock_ms() + DOUBT_MS, doubt_long, d);
    if (!d->timer)
        atomic_fetch_sub(&d->refs, 1);
    notify_after(f->notify, doubt_over, d);
}

void
do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct sf_fuse *f = fuse_of(req);
    if (sf_chat_owns(ino)) {
        chat_open(f, req, ino, fi);
        return;
    }
    if (sf_virtual_owns(ino)) {
        virtual_open(f, req, ino, fi);
        return;
    }
    struct op *op = op_begin(f, req, &open_kind);
    if (!op)
        return;
    op->fi = *fi;
    sf_tree_open(f->tree, ino, fi->flags, opened, op);
    op_end(op, 0);
}

void
do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
          struct fuse_file_info *fi)
{
    struct sf_fuse *f = fuse_of(req);
    struct sf_cred cred;
    if (!change_allowed(f, req, parent, name))
        return;
    if (!(fi->flags & O_EXCL) && chat_maybe(f, parent, name)) {
        chat_create(f, req, &create_kind, parent, name, mode, fi);
        return;
    }
    cred_of(req, &cred);
    struct op *op = op_begin(f, req, &create_kind);
    if (!op)
        return;
    op->fi = *fi;
    sf_tree_create(f->tree, &cred, parent, name, mode, fi->flags, op_done, op);
    op_end(op, 0);
}

/* The program hears the true result of the upload; one that is interrupted does not wait for it,
 * and the upload goes on. */
void
do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct sf_fuse *f = fuse_of(req);
    if (sf_chat_owns(ino)) {
        chat_flush(f, req, fi);
        return;
    }
    if (sf_virtual_owns(ino)) {
        fuse_reply_err(req, 0);
        return;
    }
    struct op *op = op_begin(f, req, &flush_kind);
    if (!op)
        return;
    sf_tree_flush(f->tree, file_of(fi), op_done, op);
    op_end(op, 0);
}

void
do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct sf_fuse *f = fuse_of(req);
    (void)datasync;
    if (sf_chat_owns(ino)) {
        chat_flush(f, req, fi);
        return;
    }
    if (sf_virtual_owns(ino)) {
        fuse_reply_err(req, 0);
        return;
    }
    struct op *op = op_begin(f, req, &fsync_kind);
    if (!op)
        return;
    sf_tree_fsync(f->tree, file_of(fi), op_done, op);
    op_end(op, 0);
}

void
do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (sf_chat_owns(ino))
        chat_release(fuse_of(req), fi);
    else if (sf_virtual_owns(ino))
        virtual_release(fuse_of(req), fi);
    else
        sf_tree_release(fuse_of(req)->tree, file_of(fi));
    fuse_reply_err(req, 0);
}
