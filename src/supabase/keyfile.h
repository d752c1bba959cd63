/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_KEYFILE_H
#define SF_SUPABASE_KEYFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* A file that holds a key: its first line, or one NAME=value line of an env file. */

#define SF_KEY_MAX     8192        /* bytes of a key */
#define SF_KEYFILE_MAX (64 * 1024) /* bytes of a file */

/* What tells that a file was changed or replaced. */
struct sf_keyfile_stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    int64_t mtime_ns, ctime_ns;
};

/**
 * sf_keyfile_stamp - look at a file without reading it.
 * Returns 0, or -errno of stat().
 */
int sf_keyfile_stamp(const char *path, struct sf_keyfile_stamp *ret);

/**
 * sf_keyfile_read - read the key out of a file.
 * @variable: NULL = the first line is the key.
 * @key:      SF_KEY_MAX + 1 bytes of secret memory.
 * @stamp:    of the file that was read.
 *
 * Returns 0; -EACCES others may read or write the file, or it is somebody else's; -EINVAL nothing
 * usable in it; -ENOENT; -EIO; -ENOMEM. @key is untouched on failure.
 */
int sf_keyfile_read(const char *path, const char *variable, char *key,
                    struct sf_keyfile_stamp *stamp, struct sf_err *err);

/**
 * sf_keyfile_pick - the key in the text of such a file.
 * Returns 0, -EINVAL, or -ENOENT when the variable is not in it.
 */
int sf_keyfile_pick(const char *text, size_t len, const char *variable, char *key,
                    struct sf_err *err);

#endif
