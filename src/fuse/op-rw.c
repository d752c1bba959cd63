/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include "observe/counter.h"

#include <errno.h>
#include <unistd.h>

static int
reply_read(struct op *op, const struct sf_tree_result *res)
{
    sf_count(SF_C_READ_BYTES, res->len);
    fuse_reply_iov(op->req, res->iov, res->n_iov);
    return 0;
}

static const struct op_kind read_kind = {.name = "read", .reply = reply_read};
/* A write may have to fetch the object's old bytes first. */
static const struct op_kind write_kind = {.name = "write", .reply = reply_count, .change = true};
static const struct op_kind fallocate_kind = {
    .name = "fallocate", .reply = reply_ok, .change = true};
static const struct op_kind copy_kind = {
    .name = "copy_file_range", .reply = reply_count, .change = true};

void
do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct sf_fuse *f = fuse_of(req);
    if (sf_virtual_owns(ino)) {
        if (sf_chat_owns(ino))
            chat_read(f, req, size, off, fi);
        else
            virtual_read(f, req, size, off, fi);
        return;
    }
    struct op *op = op_begin(f, req, &read_kind);
    if (!op)
        return;
    sf_count(SF_C_READS, 1);
    op_end(op, sf_tree_read(f->tree, file_of(fi), (uint64_t)off, size, op_done, op));
}

void
do_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
         struct fuse_file_info *fi)
{
    struct sf_fuse *f = fuse_of(req);
    if (sf_virtual_owns(ino)) {
        if (sf_chat_owns(ino))
            chat_write(f, req, buf, size, fi);
        else
            virtual_write(f, req, buf, size, fi);
        return;
    }
    struct op *op = op_begin(f, req, &write_kind);
    if (!op)
        return;
    sf_count(SF_C_WRITES, 1);
    sf_count(SF_C_WRITE_BYTES, size);
    if (fi->writepage)
        sf_tree_write_pages(f->tree, file_of(fi), (uint64_t)off, buf, size, op_done, op);
    else
        sf_tree_write(f->tree, file_of(fi), (uint64_t)off, buf, size, op_done, op);
    op_end(op, 0);
}

void
do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
             struct fuse_file_info *fi)
{
    struct sf_fuse *f = fuse_of(req);
    if (sf_virtual_owns(ino) || off < 0 || len <= 0) {
        int err = sf_chat_owns(ino) ? EOPNOTSUPP : sf_virtual_owns(ino) ? EPERM : EINVAL;
        fuse_reply_err(req, err);
        return;
    }
    struct op *op = op_begin(f, req, &fallocate_kind);
    if (!op)
        return;
    sf_tree_fallocate(f->tree, file_of(fi), mode, (uint64_t)off, (uint64_t)len, op_done, op);
    op_end(op, 0);
}

void
do_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
                   fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t len,
                   int flags)
{
    struct sf_fuse *f = fuse_of(req);
    /* EXDEV: the tool copies by reading and writing. */
    if (sf_virtual_owns(ino_in) || sf_virtual_owns(ino_out) || flags) {
        fuse_reply_err(req, flags ? EINVAL : EXDEV);
        return;
    }
    struct op *op = op_begin(f, req, &copy_kind);
    if (!op)
        return;
    sf_tree_copy_range(f->tree, file_of(fi_in), (uint64_t)off_in, file_of(fi_out),
                       (uint64_t)off_out, len, op_done, op);
    op_end(op, 0);
}

/* The kernel does the other kinds itself. */
void
do_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
    if ((whence != SEEK_HOLE && whence != SEEK_DATA) || sf_virtual_owns(ino)) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    int64_t at =
        off < 0 ? -ENXIO
                : sf_tree_seek(fuse_of(req)->tree, file_of(fi), (uint64_t)off, whence == SEEK_HOLE);
    if (at < 0)
        fuse_reply_err(req, (int)-at);
    else
        fuse_reply_lseek(req, at);
}
