/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include "base/str.h"

#include <errno.h>

/*
 * No attribute is kept yet, and each answer matters all the same: ENOSYS would switch attributes
 * off for the life of the mount; security.capability is asked before every write, so it is answered
 * without a request; and a tool that could set an ACL would skip its chmod.
 */
static int
missing(const char *name)
{
    return sf_str_starts(name, "system.posix_acl_") ? EOPNOTSUPP : ENODATA;
}

void
do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    (void)ino;
    (void)size;
    fuse_reply_err(req, missing(name));
}

void
do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
            int flags)
{
    (void)ino;
    (void)name;
    (void)value;
    (void)size;
    (void)flags;
    fuse_reply_err(req, fuse_of(req)->opts.read_only ? EROFS : EOPNOTSUPP);
}

void
do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    (void)ino;
    if (size == 0)
        fuse_reply_xattr(req, 0);
    else
        fuse_reply_buf(req, NULL, 0);
}

void
do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    (void)ino;
    fuse_reply_err(req, fuse_of(req)->opts.read_only ? EROFS : missing(name));
}
