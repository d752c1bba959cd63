/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include <errno.h>
#include <stdlib.h>

/* The kernel asks for 32 KiB; what asks for more gets less. */
#define MAX_REPLY 131072

bool
change_allowed(struct sf_fuse *f, fuse_req_t req, uint64_t parent, const char *name)
{
    int err = f->opts.read_only ? EROFS : sf_virtual_claims(parent, name) ? EPERM : 0;
    if (err)
        fuse_reply_err(req, err);
    return !err;
}

/* ---- reading directories ----------------------------------------------------------------------
 */

static struct sf_dir *
dir_of(const struct fuse_file_info *fi)
{
    return (struct sf_dir *)(uintptr_t)fi->fh;
}

static int
reply_opendir(struct op *op, const struct sf_tree_result *res)
{
    op->fi.fh = (uintptr_t)res->dir;
    return fuse_reply_open(op->req, &op->fi);
}

static void
undo_opendir(struct op *op, const struct sf_tree_result *res)
{
    sf_tree_releasedir(op->fuse->tree, res->dir);
}

static const struct op_kind opendir_kind = {
    .name = "opendir", .reply = reply_opendir, .undo = undo_opendir};

void
do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct sf_fuse *f = fuse_of(req);
    if (sf_chat_owns(ino)) {
        chat_opendir(f, req, ino, fi);
        return;
    }
    if (sf_virtual_owns(ino)) {
        virtual_opendir(f, req, ino, fi);
        return;
    }
    struct op *op = op_begin(f, req, &opendir_kind);
    if (!op)
        return;
    op->fi = *fi;
    sf_tree_opendir(f->tree, ino, op_done, op);
    op_end(op, 0);
}

/* The entries from op->off on, as many as fit. */
static size_t
fill(struct op *op, char *buf)
{
    struct sf_fuse *f = op->fuse;
    struct sf_dirent d;
    uint64_t off = op->off;
    size_t used = 0, n;
    while (sf_tree_dirent(f->tree, op->dir, off, op->plus, &d) == 1) {
        if (op->plus) {
            struct fuse_entry_param e;
            entry_fill(&e, &d.entry);
            e.attr.st_ino = d.ino;
            e.attr.st_mode = d.entry.node ? e.attr.st_mode : d.type;
            n = fuse_add_direntry_plus(op->req, buf + used, op->size - used, d.name, &e,
                                       (off_t)d.next);
        } else {
            const struct stat st = {.st_ino = d.ino, .st_mode = d.type};
            n = fuse_add_direntry(op->req, buf + used, op->size - used, d.name, &st, (off_t)d.next);
        }
        if (n > op->size - used) {
            if (op->plus && d.entry.node)
                sf_tree_forget(f->tree, d.entry.node, 1);
            break;
        }
        used += n;
        off = d.next;
    }
    return used;
}

static int
reply_readdir(struct op *op, const struct sf_tree_result *res)
{
    (void)res;
    char *buf = malloc(op->size);
    if (!buf) {
        fuse_reply_err(op->req, ENOMEM);
        return 0;
    }
    size_t used = fill(op, buf);
    fuse_reply_buf(op->req, buf, used);
    free(buf);
    return 0;
}

static const struct op_kind readdir_kind = {.name = "readdir", .reply = reply_readdir};

static void
read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi,
         bool plus)
{
    struct sf_fuse *f = fuse_of(req);
    if (sf_chat_owns(ino)) {
        chat_readdir(f, req, size, off, plus, fi);
        return;
    }
    if (sf_virtual_owns(ino)) {
        virtual_readdir(f, req, ino, size, off, plus);
        return;
    }
    struct op *op = op_begin(f, req, &readdir_kind);
    if (!op)
        return;
    op->dir = dir_of(fi);
    op->off = (uint64_t)off;
    op->size = size < MAX_REPLY ? size : MAX_REPLY;
    op->plus = plus;
    sf_tree_readdir(f->tree, op->dir, op->off, op_done, op);
    op_end(op, 0);
}

void
do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    read_dir(req, ino, size, off, fi, false);
}

void
do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    read_dir(req, ino, size, off, fi, true);
}

void
do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (sf_chat_owns(ino))
        chat_release(fuse_of(req), fi);
    else if (!sf_virtual_owns(ino))
        sf_tree_releasedir(fuse_of(req)->tree, dir_of(fi));
    fuse_reply_err(req, 0);
}

static const struct op_kind fsyncdir_kind = {.name = "fsyncdir", .reply = reply_ok, .change = true};

void
do_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct sf_fuse *f = fuse_of(req);
    (void)datasync;
    (void)fi;
    if (sf_virtual_owns(ino)) {
        fuse_reply_err(req, 0);
        return;
    }
    struct op *op = op_begin(f, req, &fsyncdir_kind);
    if (!op)
        return;
    sf_tree_fsyncdir(f->tree, ino, op_done, op);
    op_end(op, 0);
}

/* ---- changing them ----------------------------------------------------------------------------
 */

static const struct op_kind mkdir_kind = {
    .name = "mkdir", .reply = reply_entry, .undo = undo_entry, .change = true};
static const struct op_kind mknod_kind = {
    .name = "mknod", .reply = reply_entry, .undo = undo_entry, .change = true};
static const struct op_kind symlink_kind = {
    .name = "symlink", .reply = reply_entry, .undo = undo_entry, .change = true};
static const struct op_kind unlink_kind = {.name = "unlink", .reply = reply_ok, .change = true};
static const struct op_kind rmdir_kind = {.name = "rmdir", .reply = reply_ok, .change = true};
static const struct op_kind rename_kind = {
    .name = "rename", .reply = reply_ok, .change = true, .send = true};

/* op_begin() for a change of a name; NULL = answered. */
static struct op *
change_begin(fuse_req_t req, fuse_ino_t parent, const char *name, const struct op_kind *kind)
{
    struct sf_fuse *f = fuse_of(req);
    return change_allowed(f, req, parent, name) ? op_begin(f, req, kind) : NULL;
}

void
do_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct sf_cred cred;
    cred_of(req, &cred);
    struct op *op = change_begin(req, parent, name, &mknod_kind);
    if (!op)
        return;
    sf_tree_mknod(op->fuse->tree, &cred, parent, name, mode, rdev, op_done, op);
    op_end(op, 0);
}

void
do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct sf_cred cred;
    cred_of(req, &cred);
    struct op *op = change_begin(req, parent, name, &mkdir_kind);
    if (!op)
        return;
    sf_tree_mkdir(op->fuse->tree, &cred, parent, name, mode, op_done, op);
    op_end(op, 0);
}

void
do_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
    struct sf_cred cred;
    cred_of(req, &cred);
    struct op *op = change_begin(req, parent, name, &symlink_kind);
    if (!op)
        return;
    sf_tree_symlink(op->fuse->tree, &cred, link, parent, name, op_done, op);
    op_end(op, 0);
}

void
do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct op *op = change_begin(req, parent, name, &unlink_kind);
    if (!op)
        return;
    if (chat_maybe(op->fuse, parent, name))
        chat_unlink(op, parent, name);
    else
        sf_tree_unlink(op->fuse->tree, parent, name, op_done, op);
    op_end(op, 0);
}

void
do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct op *op = change_begin(req, parent, name, &rmdir_kind);
    if (!op)
        return;
    sf_tree_rmdir(op->fuse->tree, parent, name, op_done, op);
    op_end(op, 0);
}

void
do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
          const char *newname, unsigned flags)
{
    struct sf_fuse *f = fuse_of(req);
    if (!change_allowed(f, req, newparent, newname))
        return;
    struct op *op = change_begin(req, parent, name, &rename_kind);
    if (!op)
        return;
    if (chat_maybe(f, parent, name) || chat_maybe(f, newparent, newname))
        chat_rename(op, parent, name, newparent, newname, flags);
    else
        sf_tree_rename(f->tree, parent, name, newparent, newname, flags, op_done, op);
    op_end(op, 0);
}

/* An object has one key. */
void
do_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
    (void)ino;
    (void)newparent;
    (void)newname;
    fuse_reply_err(req, EPERM);
}
