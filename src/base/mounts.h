/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_MOUNTS_H
#define SF_BASE_MOUNTS_H

#include <stddef.h>

/* One line of /proc/self/mountinfo. The strings are borrowed. */
struct sf_mount {
    unsigned major, minor;
    const char *point;  /* as the kernel names it: absolute, without links */
    const char *fstype; /* "fuse.supafs" */
    const char *source;
    long owner; /* of FUSE: the user who mounted; -1 = the list does not say */
};

/* A mount's own copy; point and source are cut when they are longer. */
struct sf_mount_copy {
    unsigned major, minor;
    long owner;
    char point[4096], fstype[64], source[1024];
};

/**
 * sf_mounts_each - call @fn for every mount of this namespace, in the order of mounting.
 * A result other than 0 ends the walk and is returned. -errno: the list cannot be read.
 */
int sf_mounts_each(int (*fn)(void *arg, const struct sf_mount *m), void *arg);

/* The topmost mount exactly at @point (an absolute path without links): 1 and *out, 0, -errno. */
int sf_mount_find(const char *point, struct sf_mount_copy *out);
/* The same for the mount that an absolute path without links lies in. */
int sf_mount_of(const char *path, struct sf_mount_copy *out);

/**
 * sf_mount_path - the path of a mount point without links, also when the mount on it is dead.
 * The directory above it must be accessible; @out has room for PATH_MAX bytes. 0 or -errno.
 */
int sf_mount_path(const char *path, char *out);

#endif
