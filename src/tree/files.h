/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_FILES_H
#define SF_TREE_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tree/tree.h"

/* Files by their paths, for threads of the daemon that may wait: not those of FUSE, not the event
 * thread. */

struct sf_files_one {
    uint64_t node;    /* looked up for the call */
    const char *path; /* below the mount; valid for the call */
    struct sf_attr attr;
};

/* Another result than 0 ends the walk. */
typedef int (*sf_files_fn)(void *arg, const struct sf_files_one *f);

/**
 * sf_files_each - call @fn for the regular file at @path, or for those in the directory there.
 * @path: below the root of the mount; "" or "." = the root.
 * @deep: those of directories below it, too. Else a directory's own files only. In the order of
 *        their keys.
 *
 * Returns 0, the result of @fn, or -errno with a sentence.
 */
int sf_files_each(struct sf_tree *t, const char *path, bool deep, sf_files_fn fn, void *arg,
                  struct sf_err *err);

/* A walk over what lies below a directory, deep, in the order of the keys. Paths are below it. */
struct sf_files_walk {
    sf_files_fn enter; /* of each directory before it is listed, the first with path "": 1 leaves it
                          out, another result than 0 ends the walk */
    sf_files_fn file;
    void *arg;
    size_t most; /* entries that are looked at */
    bool more;   /* out: there are more */
};
/* @dir: looked up for the call. As sf_files_each(). */
int sf_files_below(struct sf_tree *t, uint64_t dir, struct sf_files_walk *how, struct sf_err *err);

/* A name of a directory, looked up until sf_files_forget(). Waits. 0 or -errno. */
int sf_files_lookup(struct sf_tree *t, uint64_t dir, const char *name, struct sf_tree_entry *ret);

/* What is at a path of that kind, looked up until sf_files_forget(). Waits. 0, or -errno with a
 * sentence. */
int sf_files_find(struct sf_tree *t, const char *path, struct sf_tree_entry *ret,
                  struct sf_err *err);
void sf_files_forget(struct sf_tree *t, const struct sf_tree_entry *e);

/* Have the tree look whether it knows well enough what a file is. Waits. 0 or -errno. */
int sf_files_look(struct sf_tree *t, uint64_t node);

/* The value of an attribute, "" where it has none, cut to @size. Waits. 0 or -errno. */
int sf_files_xattr(struct sf_tree *t, uint64_t node, const char *name, char *out, size_t size);

#endif
