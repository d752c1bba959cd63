/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_FILE_H
#define SF_BASE_FILE_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>

/*
 * Read or write all @n bytes, over short transfers and EINTR. The readers return the number of
 * bytes, less than @n only at the end of the file, or -errno; the writers 0 or -errno.
 */
ssize_t sf_read_full(int fd, void *buf, size_t n);
ssize_t sf_pread_full(int fd, void *buf, size_t n, off_t off);
int sf_write_full(int fd, const void *buf, size_t n);
int sf_pwrite_full(int fd, const void *buf, size_t n, off_t off);

/**
 * sf_read_file - append a whole file to a buffer.
 * @max: more bytes than this are refused.
 * @err: may be NULL.
 *
 * Returns 0; -EFBIG; -ENOMEM; -errno of open(2) or read(2). @out is as before on failure.
 */
int sf_read_file(const char *path, size_t max, struct sf_buf *out, struct sf_err *err);

/**
 * sf_write_file_atomic - replace a file in one step, durably.
 * @path: afterwards has the old content or the new one, also after a power loss.
 * @mode: permission bits of the new file.
 *
 * Writes PATH.XXXXXX beside it, syncs, renames, syncs the directory. Returns 0 or -errno; on
 * failure the old file is untouched and no temporary file remains.
 */
int sf_write_file_atomic(const char *path, const void *data, size_t n, mode_t mode,
                         struct sf_err *err);

/**
 * sf_mkdir_p - make a private directory and what is missing above it, all with mode 0700. The
 * names that it makes last over a power loss.
 *
 * Returns 0, also when it exists; -EPERM it is somebody else's, or others may enter it;
 * -ENOTDIR; else -errno of mkdir(2). The error says what to do.
 */
int sf_mkdir_p(const char *path, struct sf_err *err);

/**
 * sf_lock_dir - hold a directory for this process.
 * @dir:    exists.
 * @what:   whom to name to the next one who tries, usually the mount point.
 * @ret_fd: on success a descriptor; closing it (or the end of the process) releases the lock.
 * @holder: may be NULL; on -EBUSY what the holder wrote ("pid 12, /mnt/project").
 *
 * The lock is flock(2) on the file "lock" in @dir, which stays there. Returns 0; -EBUSY; -errno.
 */
int sf_lock_dir(const char *dir, const char *what, int *ret_fd, struct sf_buf *holder,
                struct sf_err *err);

/* fsync of the directory that holds @path, so that a rename or unlink there lasts. 0 or -errno. */
int sf_fsync_parent(const char *path);

#endif
