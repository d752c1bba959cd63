/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

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
