/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_DAEMON_PLACE_H
#define SF_DAEMON_PLACE_H

#include <stdbool.h>

#include "daemon/exit.h"

/**
 * sf_place_prepare - see to it that a mount point can be mounted on: a directory, nothing mounted
 * there. A mount of supafs whose process is gone is taken away.
 * @path: as the user gave it; @point: its absolute path without links, room for PATH_MAX bytes.
 *
 * Returns 0, or -1 with @o.
 */
int sf_place_prepare(const char *path, char *point, struct sf_outcome *o);

/* The same program mounted it? (file system type of mountinfo) */
bool sf_place_is_ours(const char *fstype);

/**
 * sf_place_unmount - umount2(2) for root, fusermount3 for others.
 * @lazy: take it out of the tree now, whoever uses it.
 *
 * Returns 0 or -errno with @err: -EBUSY in use; -EPERM not yours, or what fusermount3 said.
 */
int sf_place_unmount(const char *point, bool lazy, struct sf_err *err);

#endif
