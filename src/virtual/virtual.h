/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_VIRTUAL_VIRTUAL_H
#define SF_VIRTUAL_VIRTUAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "tree/tree.h"
#include "virtual/talk.h"

/*
 * Files that no bucket holds: the control tree `.supafs` at the root of the mount, mode 0500, its
 * files 0400, all owned by who mounted. It is found by name but not listed. A file's text is made
 * when it is opened and stays as it is for that open; its size is shown as 0, so it has to be read
 * without the page cache (direct_io). Files that are spoken to (talk.h) are 0600.
 *
 * Virtual nodes have bit 63 of the node id set and need no forgetting. Everything here answers at
 * once. Thread-safe after the last sf_virtual_add().
 */
struct sf_virtual;

/* Appends the text. 0 or -errno. Called without locks; must not wait. */
typedef int (*sf_virtual_text_fn)(void *arg, struct sf_buf *out);

int sf_virtual_new(uid_t uid, gid_t gid, struct sf_virtual **ret);
void sf_virtual_free(struct sf_virtual *v);
/* @name: a static string. 0, -ENOSPC. */
int sf_virtual_add(struct sf_virtual *v, const char *name, sf_virtual_text_fn text, void *arg);

/* A file that is spoken to. The same. */
int sf_virtual_add_talk(struct sf_virtual *v, const char *name, sf_talk_start_fn start, void *arg);

/* A directory whose node, and all that is in it, somebody else answers for. The same. */
int sf_virtual_add_dir(struct sf_virtual *v, const char *name, uint64_t node);

static inline bool
sf_virtual_owns(uint64_t node)
{
    return node >> 63;
}

/* Is this name in this directory (SF_TREE_ROOT or a virtual one) ours to answer? */
bool sf_virtual_claims(uint64_t parent, const char *name);

/* 0 or -ENOENT. The entry needs no forgetting. */
int sf_virtual_lookup(struct sf_virtual *v, uint64_t parent, const char *name,
                      struct sf_tree_entry *out);
int sf_virtual_getattr(struct sf_virtual *v, uint64_t node, struct sf_attr *out);
/* The entry at @off (0 ".", 1 "..", then the files): 1, or 0 at the end. */
int sf_virtual_dirent(struct sf_virtual *v, uint64_t node, uint64_t off, struct sf_dirent *out);
/* @out: initialised by the caller; the file's text. 0, -EISDIR, -ENOENT, -ENOMEM, ... */
int sf_virtual_read(struct sf_virtual *v, uint64_t node, struct sf_buf *out);
/* Is it one that is spoken to? Then an open of it; NULL without memory. */
bool sf_virtual_talks(const struct sf_virtual *v, uint64_t node);
struct sf_talk *sf_virtual_talk(const struct sf_virtual *v, uint64_t node);

#endif
