/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_FIND_H
#define SF_SUPABASE_FIND_H

#include "supabase/rest.h"

/* The function supafs_find() of the project's database: objects of a bucket by what is known of
 * them.
 */

struct sf_find_args {
    const char *bucket, *prefix; /* of the key; "" = all */
    const char *after;           /* NULL, or: only keys behind this one */
    unsigned limit;              /* rows; at most SF_REST_ROWS_MAX */
    /* Each may be NULL. The globs know * ? [a-z] [!a-z], and no backslash. */
    const char *name, *type, *tag, *sha256, *provider, *provider_id;
    uint64_t min_size, max_size; /* bytes, both included; 0 and UINT64_MAX = any */
    int64_t newer_ns, older_ns;  /* neither included; INT64_MIN and INT64_MAX = any */
};

/* An object that was found; texts that are not known are "". */
struct sf_found {
    const char *key, *id, *mime, *sha256;
    const char *etag;   /* listings tell it, the function does not */
    const json_t *tags; /* an array of strings; NULL = none */
    uint64_t size;      /* bytes */
    int64_t updated_ns; /* when it was last stored */
    bool is_prefix;     /* of other keys, behind a '/' */
};

/* @cb: gets the answer, which is for sf_find_parse(). Others as sf_rest_rpc(). */
uint64_t sf_storage_find(struct sf_storage *st, const struct sf_find_args *args,
                         const struct sf_rest_how *how, sf_rest_fn cb, void *arg);

/**
 * sf_find_parse - rows in increasing order of the key's bytes, each below the prefix and behind
 * `after`; nothing else is believed.
 * @rows: for free(); texts and tags lie in @answer.
 * @why:  160 bytes for the reason of a failure.
 *
 * Returns 0; -EPROTO; -ENOSYS the function is an older one, which does not tell all of this;
 * -ENOMEM.
 */
int sf_find_parse(const json_t *answer, const struct sf_find_args *args, struct sf_found **rows,
                  size_t *n, char *why);

#endif
