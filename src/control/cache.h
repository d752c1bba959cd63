/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONTROL_CACHE_H
#define SF_CONTROL_CACHE_H

#include "control/control.h"

struct sf_tree;

/**
 * sf_control_cache - the verbs about what is cached. Paths are below the root of the mount, "." is
 * the root; -r means directories below, too. Numbers are bytes unless it is said otherwise.
 *
 *   warmup [-r] PATH   read all of it. Answers lines "files bytes failed" as it goes on, and
 *                      "trouble SENTENCE" of a file that could not be read.
 *
 * @t: borrowed until sf_control_free(). 0 or -ENOSPC.
 */
int sf_control_cache(struct sf_control *c, struct sf_tree *t);

#endif
