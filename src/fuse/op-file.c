/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include <errno.h>
#include <fcntl.h>

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
    open_fill(op, &res->open);
    return fuse_reply_create(op->req, &e, &op->fi);
}

static void
undo_create(struct op *op, const struct sf_tree_result *res)
{
    undo_open(op, res);
    undo_entry(op, res);
}

static const struct op_kind open_kind = {"open", reply_open, undo_open, false, false};
static const struct op_kind create_kind = {"create", reply_create, undo_create, true, false};
static const struct op_kind flush_kind = {"flush", reply_ok, NULL, true, true};
static const struct op_kind fsync_kind = {"fsync", reply_ok, NULL, true, true};

void
do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct sf_fuse *f = fuse_of(req);
    if (sf_virtual_owns(ino)) {
        virtual_open(f, req, ino, fi);
        return;
    }
    struct op *op = op_begin(f, req, &open_kind);
    if (!op)
        return;
    op->fi = *fi;
    sf_tree_open(f->tree, ino, fi->flags, op_done, op);
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
    if (sf_virtual_owns(ino))
        virtual_release(fuse_of(req), fi);
    else
        sf_tree_release(fuse_of(req)->tree, file_of(fi));
    fuse_reply_err(req, 0);
}
