/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/mounts.h"
#include "base/str.h"
#include "observe/log.h"

/*
 * The kernel reads 128 KiB ahead of a sequential reader of a FUSE mount, and no FUSE message makes
 * it more; only its own file in /sys does, which root alone may write.
 */
void
readahead_raise(struct sf_fuse *f)
{
    struct sf_mount_copy m;
    char path[96], text[32];
    uint64_t kib, want = f->opts.readahead / 1024;
    if (sf_mount_find(f->opts.mountpoint, &m) != 1)
        return;
    f->dev_major = m.major;
    f->dev_minor = m.minor;
    snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", m.major, m.minor);
    if (want) {
        sf_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);
        int n = snprintf(text, sizeof text, "%" PRIu64, want);
        f->readahead_denied = fd < 0 || write(fd, text, (size_t)n) != n;
    }
    sf_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (n > 0) {
        text[n] = '\0';
        text[strcspn(text, "\n")] = '\0';
        if (sf_parse_u64(text, &kib) == 0)
            f->readahead = kib * 1024;
    }
    if (f->readahead_denied)
        sf_info("fuse", "event=readahead-not-raised kib=%" PRIu64 " wanted_kib=%" PRIu64 " text=%s",
                f->readahead / 1024, want,
                "only root may set it; large sequential reads are slower");
}
