/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_BELOW_H
#define SF_WRITE_BELOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supabase/storage.h"

struct sf_writer;

/* Internal to src/write: what is below a prefix, page by page, on a worker. */

struct sf_below_row {
    char *key, *mime, *cache_control;
    struct sf_version version;
};

struct sf_below {
    struct sf_below_row *rows;
    size_t n;
    bool more;
    char *last; /* to be passed as @after for the next page; NULL: there is none */
};

/**
 * sf_below_page - one page of all keys that begin with @prefix, however deep.
 * @after: only keys behind this one; NULL = from the first.
 * Returns 0 and *out, for sf_below_fini(); else the error of the listing.
 */
int sf_below_page(struct sf_writer *w, const char *bucket, const char *prefix, const char *after,
                  int64_t deadline_ms, struct sf_below *out, struct sf_err *err);
void sf_below_fini(struct sf_below *b);

#endif
