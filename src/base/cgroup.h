/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_CGROUP_H
#define SF_BASE_CGROUP_H

#include <stdint.h>

/*
 * How much memory the control groups of this process let it have, in bytes: the least of the limits
 * of its group and of those above, version 1 and 2. UINT64_MAX = no limit is known.
 */
uint64_t sf_cgroup_memory_limit(void);

/* The same with another /proc/self/cgroup and /sys/fs/cgroup, for tests. */
uint64_t sf_cgroup_memory_limit_at(const char *proc_file, const char *mounted);

#endif
