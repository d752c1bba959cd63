/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/statvfs.h>

/* A project has no size that is known: plenty of everything, so that no installer refuses. */
void
do_statfs(fuse_req_t req, fuse_ino_t ino)
{
    const struct statvfs st = {
        .f_bsize = 4096,
        .f_frsize = 4096,
        .f_blocks = (fsblkcnt_t)1 << 38, /* 1 PiB */
        .f_bfree = (fsblkcnt_t)1 << 38,
        .f_bavail = (fsblkcnt_t)1 << 38,
        .f_files = (fsfilcnt_t)1 << 40,
        .f_ffree = (fsfilcnt_t)1 << 40,
        .f_favail = (fsfilcnt_t)1 << 40,
        .f_namemax = 255,
    };
    (void)ino;
    fuse_reply_statfs(req, &st);
}

/* Of chat files alone it tells anything. ENOSYS makes the kernel answer for all others itself, and
 * never ask again: not where there are chat files. */
void
do_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
    struct sf_fuse *f = fuse_of(req);
    if (f->chat && sf_chat_owns(ino) && ino != SF_CHAT_DIR) {
        chat_poll(f, req, fi, ph);
        return;
    }
    if (ph)
        fuse_pollhandle_destroy(ph);
    if (f->chat)
        fuse_reply_poll(req, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
    else
        fuse_reply_err(req, ENOSYS);
}
