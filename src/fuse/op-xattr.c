/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include "base/str.h"

#include <errno.h>

/*
 * user.* is the tree's. The rest is answered here, and each answer matters: ENOSYS would switch
 * attributes off for the life of the mount; security.capability is asked before every write, so
 * that costs nothing; and a tool that could set an ACL would skip its chmod.
 */
static int
missing(const char *name)
{
    return sf_str_starts(name, "system.posix_acl_") ? EOPNOTSUPP : ENODATA;
}

static bool
for_tree(fuse_ino_t ino, const char *name)
{
    return !sf_virtual_owns(ino) && sf_str_starts(name, "user.");
}

/* op->size: bytes that the caller has room for; 0 = how many it would be? */
static int
reply_xattr(struct op *op, const struct sf_tree_result *res)
{
    if (!op->size)
        fuse_reply_xattr(op->req, res->len);
    else if (res->len > op->size)
        fuse_reply_err(op->req, ERANGE);
    else
        fuse_reply_buf(op->req, res->data, res->len);
    return 0;
}

static const struct op_kind getxattr_kind = {.name = "getxattr", .reply = reply_xattr};
static const struct op_kind getxattr_patient_kind = {
    .name = "getxattr", .reply = reply_xattr, .send = true};
static const struct op_kind listxattr_kind = {.name = "listxattr", .reply = reply_xattr};
static const struct op_kind setxattr_kind = {.name = "setxattr", .reply = reply_ok, .change = true};

void
do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct sf_fuse *f = fuse_of(req);
    bool chat = f->chat && chat_has_xattr(f, ino, name);
    if (!chat && !for_tree(ino, name)) {
        fuse_reply_err(req, missing(name));
        return;
    }
    bool patient = sf_tree_xattr_is_patient(name);
    struct op *op = op_begin(f, req, patient ? &getxattr_patient_kind : &getxattr_kind);
    if (!op)
        return;
    op->size = size;
    uint64_t cancel = 0;
    if (chat)
        chat_getxattr(op, ino, name);
    else
        cancel = sf_tree_getxattr(f->tree, ino, name, op_done, op);
    op_end(op, cancel);
}

/* @value: NULL = remove. */
static void
change(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
    struct sf_fuse *f = fuse_of(req);
    bool remove = !value;
    if (f->chat && !f->opts.read_only && chat_has_xattr(f, ino, name) &&
        chat_setxattr(f, req, ino, name, value, size, &remove))
        return;
    if (f->opts.read_only || !for_tree(ino, name)) {
        fuse_reply_err(req, f->opts.read_only ? EROFS : value ? EOPNOTSUPP : missing(name));
        return;
    }
    struct op *op = op_begin(f, req, &setxattr_kind);
    if (!op)
        return;
    sf_tree_setxattr(f->tree, ino, name, remove ? NULL : value, size, flags, op_done, op);
    op_end(op, 0);
}

void
do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
            int flags)
{
    change(req, ino, name, value ? value : "", size, flags);
}

void
do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    change(req, ino, name, NULL, 0, 0);
}

void
do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct sf_fuse *f = fuse_of(req);
    if (sf_virtual_owns(ino)) {
        if (size)
            fuse_reply_buf(req, NULL, 0);
        else
            fuse_reply_xattr(req, 0);
        return;
    }
    struct op *op = op_begin(f, req, &listxattr_kind);
    if (!op)
        return;
    op->size = size;
    sf_tree_listxattr(f->tree, ino, op_done, op);
    op_end(op, 0);
}
