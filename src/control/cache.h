/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONTROL_CACHE_H
#define SF_CONTROL_CACHE_H

#include "control/control.h"

struct sf_cache;
struct sf_control_cache;
struct sf_tree;

/**
 * sf_control_cache_new - the verbs about what is cached. Paths are below the root of the mount, "."
 * is the root; -r means directories below, too. Numbers are bytes unless it is said otherwise.
 *
 *   warmup [-r] PATH             read all of it. Answers lines "files bytes failed" as it goes on,
 *                                and "trouble SENTENCE" of a file that could not be read.
 *   cache ls [-r] PATH           a line "SIZE HERE pinned|- PATH" for each file
 *   cache pin|unpin [-r] PATH    keep what is cached of the present versions, whatever else needs
 *                                room, or no longer; the same lines
 *   cache evict [-r] PATH        give up what is cached, but for pinned files, also in the kernel;
 *                                the same lines
 *   cache verify                 check all that is on disk. Lines "units bytes bad"; what is bad is
 *                                dropped.
 *
 * @t, @blocks: borrowed until sf_control_free(), after which this is freed. 0, -ENOSPC, -ENOMEM.
 */
int sf_control_cache_new(struct sf_control *c, struct sf_tree *t, struct sf_cache *blocks,
                         struct sf_control_cache **ret);
void sf_control_cache_free(struct sf_control_cache *cc); /* may be NULL */

#endif
