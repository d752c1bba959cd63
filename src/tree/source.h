/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_SOURCE_H
#define SF_TREE_SOURCE_H

#include "cache/cache.h"
#include "supabase/storage.h"
#include "tree/tree.h"

/*
 * The present bytes of a file, for what reads them inside of the daemon: those of the version that
 * the bucket had when the source was made, or those that are staged here; or of none. They come
 * through the block cache, or from the staged file. Counted; thread-safe; sf_tree_free() waits
 * until all are given back.
 */
struct sf_tree_source;
struct sf_want_file;

struct sf_tree_source_facts {
    uint64_t size;
    const char *name; /* strings are valid as long as the source */
    const char *mime;
    const char *bucket, *key;
    struct sf_version version; /* id, ETag, size; "" = not known, or not in the bucket yet */
    char sha256[65];           /* hex, of staged bytes; "" = not known */
};

/**
 * sf_tree_source_new - a source of a file. Asks nobody.
 * Returns 0; -EBUSY it is open for writing, or being changed; -EISDIR, -EINVAL not a file with
 * bytes; -ESTALE; -ENOMEM.
 */
int sf_tree_source_new(struct sf_tree *tree, uint64_t node, struct sf_tree_source **ret);
struct sf_tree_source *sf_tree_source_ref(struct sf_tree_source *s);
void sf_tree_source_unref(struct sf_tree_source *s); /* NULL is allowed */

const struct sf_tree_source_facts *sf_tree_source_facts(const struct sf_tree_source *s);

/**
 * sf_tree_source_read - as sf_stream_read(); -ESTALE: it has become another version, or was written
 * to. The source is held until @cb returned.
 * Returns an id for sf_tree_cancel(), 0 when the callback has run already, or nothing can be
 * cancelled.
 */
uint64_t sf_tree_source_read(struct sf_tree_source *s, uint64_t off, size_t len,
                             sf_stream_read_fn cb, void *arg);

/* Whether a read has found other bytes than those meant. */
bool sf_tree_source_is_stale(const struct sf_tree_source *s);

/** sf_tree_source_describe - the file for what only looks: as the next, without a reader. */
void sf_tree_source_describe(const struct sf_tree_source *s, struct sf_want_file *out);

/* Something was amiss with it: let the tree ask what the file is before it is believed again. */
void sf_tree_source_doubt(struct sf_tree_source *s);

/**
 * sf_tree_source_file - the file as providers want it (provider/want.h), with a reader that holds
 * the source until it is released. Texts are valid as long as the source.
 * Returns 0 or -ENOMEM.
 */
int sf_tree_source_file(struct sf_tree_source *s, struct sf_want_file *out);

#endif
