/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/keyfile.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "config/keys.h"

/* Requests look at the key's file no more often than this. */
#define LOOK_EVERY_MS 1000

static void
stamp_of(const struct stat *sb, struct sf_keyfile_stamp *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->dev = sb->st_dev;
    ret->ino = sb->st_ino;
    ret->size = sb->st_size;
    ret->mtime_ns = (int64_t)sb->st_mtim.tv_sec * 1000000000 + sb->st_mtim.tv_nsec;
    ret->ctime_ns = (int64_t)sb->st_ctim.tv_sec * 1000000000 + sb->st_ctim.tv_nsec;
}

int
sf_keyfile_stamp(const char *path, struct sf_keyfile_stamp *ret)
{
    struct stat sb;
    if (stat(path, &sb) < 0)
        return -errno;
    stamp_of(&sb, ret);
    return 0;
}

int
sf_keyfile_read(const char *path, const char *variable, char *key, struct sf_keyfile_stamp *stamp,
                struct sf_err *err)
{
    /* Looked at before it is read: a change in between is seen the next time. */
    struct sf_keyfile_stamp before;
    int rc = sf_keyfile_stamp(path, &before);
    if (rc < 0)
        return sf_err_set(err, rc, "key file %s: %s", path, strerror(-rc));
    char *text;
    rc = sf_key_file_read(path, variable, &text, err);
    if (rc < 0)
        return rc;
    size_t n = strlen(text);
    if (n > SF_KEY_MAX) {
        rc = sf_err_set(err, -EINVAL, "key file %s: the key is longer than %d bytes", path,
                        SF_KEY_MAX);
    } else {
        memcpy(key, text, n + 1);
        *stamp = before;
    }
    sf_key_wipe(text);
    return rc;
}

bool
sf_keyfile_is_due(struct sf_keyfile_watch *w, struct sf_mutex *lock)
{
    int64_t now = sf_clock_ms();
    sf_mutex_lock(lock);
    bool due = now - w->looked_ms >= LOOK_EVERY_MS;
    if (due)
        w->looked_ms = now;
    sf_mutex_unlock(lock);
    return due;
}

bool
sf_keyfile_is_unchanged(const struct sf_keyfile_watch *w, const char *path, struct sf_mutex *lock)
{
    struct sf_keyfile_stamp now;
    if (sf_keyfile_stamp(path, &now) < 0)
        return false;
    sf_mutex_lock(lock);
    bool same = memcmp(&now, &w->stamp, sizeof now) == 0;
    sf_mutex_unlock(lock);
    return same;
}
