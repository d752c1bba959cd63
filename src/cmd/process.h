/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CMD_PROCESS_H
#define SF_CMD_PROCESS_H

#include <sys/types.h>

#include "base/mounts.h"

/**
 * process_of_mount - the process that serves a mount, if the one that the mount names is it.
 * @pid: as the mount's status says. Whoever may mount a file system of the name fuse.supafs can
 *       write any number there, so nothing is sent to it unchecked.
 *
 * It belongs to the user who mounted, is named supafs, and, where the system lets it be seen, has
 * the connection of this mount open. Returns a descriptor of the process (pidfd_open(2)); -ESRCH it
 * is gone; -EPERM it is another process; -errno.
 */
int process_of_mount(const struct sf_mount_copy *m, pid_t pid);

#endif
