/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_DIR_FACTS_H
#define SF_SUPABASE_DIR_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct sf_rest_how;
struct sf_storage;

/*
 * What the project's database knows of the objects of one directory, in one request: the function
 * supafs_list_dir() of its tables (contrib/sql).
 */

/* An object; "" = not known. Borrowed for the callback. One whose user metadata is no object, or
 * nested deeper than SF_SCAN_DEPTH_MAX, has no row: an info tells of it. */
struct sf_dir_fact {
    const char *key;
    size_t key_len;
    const char *id, *version, *etag, *mime, *cache_control;
    const char *sha256;   /* of this very version's bytes: 64 hex digits in lower case */
    const char *metadata; /* the user metadata, a JSON object as it is spelled; "{}" when none */
    const char **tags;    /* NULL-terminated, never NULL. Others may have written anything */
    size_t n_tags;
    uint64_t size;
    uint64_t accesses;
    int64_t updated_ns, last_access_ns; /* 0 = not known, never */
};

struct sf_dir_facts {
    const struct sf_dir_fact *rows; /* by key, each greater than the one before */
    size_t n;
    bool more; /* further ones may follow, also when there is none here */
};

struct sf_dir_facts_args {
    const char *bucket;
    const char *prefix; /* of the directory, with its '/'; "" = of the bucket. Or a whole key: its
                           object comes first if there is one */
    const char *after;  /* NULL, or: only keys bytewise after this one */
    unsigned limit;     /* 1 to SF_REST_ROWS_MAX */
};

/* On the event thread. Errors as of sf_rest_rpc(). */
typedef void (*sf_dir_facts_fn)(void *arg, const struct sf_err *err,
                                const struct sf_dir_facts *facts);

/* Returns an id for sf_storage_cancel(). */
uint64_t sf_storage_dir_facts(struct sf_storage *st, const struct sf_dir_facts_args *args,
                              const struct sf_rest_how *how, sf_dir_facts_fn cb, void *arg);

/* ---- for tests ------------------------------------------------------------------------------- */

/* A parsed answer; rows and strings live as long as this. */
struct sf_dir_facts_reply;

/**
 * sf_dir_facts_parse - read and check an answer.
 * @why: 160 bytes for the reason of a failure.
 * Returns 0; -EPROTO it is malformed, out of order, or beyond what was asked; -ENOMEM.
 */
int sf_dir_facts_parse(const char *body, size_t len, const struct sf_dir_facts_args *args,
                       struct sf_dir_facts_reply **ret, char *why);
const struct sf_dir_facts *sf_dir_facts_reply(const struct sf_dir_facts_reply *reply);
void sf_dir_facts_reply_free(struct sf_dir_facts_reply *reply);

#endif
