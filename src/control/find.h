/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONTROL_FIND_H
#define SF_CONTROL_FIND_H

#include "control/control.h"

struct sf_finder;
struct sf_storage;
struct sf_tables;
struct sf_tree;

struct sf_finder_opts {
    struct sf_tree *tree; /* all borrowed until sf_control_free() */
    struct sf_storage *storage;
    struct sf_tables *tables; /* NULL = off */
    bool whole_project;       /* its root has the buckets */
    int64_t timeout_ms;       /* of a request */
};

/**
 * sf_finder_new - the verb that finds objects by what is known of them.
 *
 *   find PATH [NAME=VALUE...]   those at or below PATH ("." = the root of the mount)
 *
 * A line "found PATH BUCKET KEY SIZE UPDATED TYPE SHA256 TAGS" for each, in the order of their
 * keys, each of which counts as ending in '/'. PATH: below the given one, "" = that itself;
 * UPDATED: ns since 1970; TAGS: a JSON array; what is not known is an empty word. A line "note
 * TEXT" where not all may have been found.
 *
 * Names: name, type (globs), min, max (bytes, included), newer, older (ns since 1970, not
 * included), tag, sha256, provider, provider-id, limit, and facts=1: TYPE, SHA256 and TAGS are
 * wanted. Of bounds that come twice both hold; others come once.
 *
 * 0, -ENOSPC, -ENOMEM.
 */
int sf_finder_new(struct sf_control *c, const struct sf_finder_opts *opts, struct sf_finder **ret);
void sf_finder_free(struct sf_finder *f); /* may be NULL */

#endif
