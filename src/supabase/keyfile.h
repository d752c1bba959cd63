/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_KEYFILE_H
#define SF_SUPABASE_KEYFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/lock.h"

/* A file that holds a key, in one of the forms of config/keys.h, and whether it has changed. */

#define SF_KEY_MAX 8192 /* bytes of a key */

/* What tells that a file was changed or replaced. */
struct sf_keyfile_stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    int64_t mtime_ns, ctime_ns;
};

/* A file from which a key was read, and which is looked at again before requests. */
struct sf_keyfile_watch {
    struct sf_keyfile_stamp stamp; /* of what was read */
    int64_t looked_ms;             /* when it was looked at before a request; 0 = never */
};

/**
 * sf_keyfile_stamp - look at a file without reading it.
 * Returns 0, or -errno of stat().
 */
int sf_keyfile_stamp(const char *path, struct sf_keyfile_stamp *ret);

/**
 * sf_keyfile_read - read the key out of a file.
 * @variable: as for sf_key_file_read().
 * @key:      SF_KEY_MAX + 1 bytes of secret memory.
 * @stamp:    of the file that was read.
 *
 * Returns 0; -EPERM others may read or write the file; -ENOKEY, -EINVAL nothing usable in it;
 * -ENOENT; -EIO; -ENOMEM. @key is untouched on failure.
 */
int sf_keyfile_read(const char *path, const char *variable, char *key,
                    struct sf_keyfile_stamp *stamp, struct sf_err *err);

/* Shall it be looked at before this request? Once a second at most: a look costs one stat(2).
 * @lock: protects @w; taken here. */
bool sf_keyfile_is_due(struct sf_keyfile_watch *w, struct sf_mutex *lock);
/* Is it what was read? false also when it cannot be looked at. The lock is not held meanwhile. */
bool sf_keyfile_is_unchanged(const struct sf_keyfile_watch *w, const char *path,
                             struct sf_mutex *lock);

#endif
