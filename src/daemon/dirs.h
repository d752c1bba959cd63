/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_DAEMON_DIRS_H
#define SF_DAEMON_DIRS_H

#include <limits.h>
#include <stdint.h>

#include "daemon/exit.h"

struct sf_config;

/*
 * Cache and state directory of one identity (project, role, subject), below what cache_dir and
 * state_dir name: 0700, and held by one mount at a time.
 */
struct sf_dirs {
    char cache[PATH_MAX], state[PATH_MAX];
    int cache_fd, state_fd; /* the locks; -1 = none */
};

/* The directory of an identity below cache_dir or state_dir (@base). 0, -ENAMETOOLONG, -ENOMEM. */
int sf_dirs_path(const char *base, const struct sf_config *cfg, const char *role,
                 const char *subject, char out[PATH_MAX]);

/**
 * sf_dirs_hold - make and lock them. Waits for a mount that is being taken down, for as long as a
 * stop may take; fails at once when another one is in use, or with sync=writeback when the state
 * directory would not outlive a restart (unless unsafe_state_dir).
 *
 * Returns 0, or -1 with @o (SF_EXIT_DIRS_HELD names holder and option).
 */
int sf_dirs_hold(struct sf_dirs *d, const struct sf_config *cfg, const char *role,
                 const char *subject, const char *point, struct sf_outcome *o);

/**
 * sf_dirs_fleeting - the name of a file system that does not outlive a restart of the machine (or
 * the end of the container), by statfs(2)'s f_type; NULL = it is none of these.
 */
const char *sf_dirs_fleeting(uint64_t f_type);

/* Let a next mount know that it need only wait. */
void sf_dirs_stopping(struct sf_dirs *d, const char *point);

void sf_dirs_release(struct sf_dirs *d);

#endif
