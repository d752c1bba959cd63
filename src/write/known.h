/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_KNOWN_H
#define SF_WRITE_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Internal to src/write: what this mount itself has put in the bucket, by key and by content. Only
 * bytes that were sent or read whole here, or copied by the service from such, are entered, so a
 * hash in here may be believed; that the object is still there is for an info to confirm. In
 * memory, bounded; the oldest entries go. Thread-safe.
 */
struct sf_known;

struct sf_known_object {
    char *bucket, *key;
    char op[27];     /* operation id in the object's metadata; "" = it carries none */
    char sha256[65]; /* hex; "" = not known */
    char id[40];     /* "" = not known, as are the next two */
    char version[40];
    char etag[136];
    char md5_etag[36]; /* what its ETag would be if it were an MD5; "" = not known */
    uint64_t size;     /* bytes */
};

#define SF_KNOWN_MAX 4096

/* Returns 0 or -ENOMEM. */
int sf_known_new(struct sf_known **ret);
void sf_known_free(struct sf_known *k); /* may be NULL */

/* This is what stands under o->bucket and o->key now. Copied. Without memory it is forgotten. */
void sf_known_put(struct sf_known *k, const struct sf_known_object *o);
/* An object got new attributes: its operation id and version changed, its bytes did not. Nothing
 * happens when it is not known. */
void sf_known_touch(struct sf_known *k, const char *bucket, const char *key, const char *op,
                    const char *version, const char *etag);
void sf_known_forget(struct sf_known *k, const char *bucket, const char *key);
/* The service moved it. */
void sf_known_move(struct sf_known *k, const char *bucket, const char *key, const char *to_bucket,
                   const char *to_key);

/* An owned copy, for sf_known_object_fini(); false: not known. */
bool sf_known_at(struct sf_known *k, const char *bucket, const char *key,
                 struct sf_known_object *out);
/* Another object with these bytes. */
bool sf_known_content(struct sf_known *k, const char *sha256, uint64_t size,
                      struct sf_known_object *out);
void sf_known_object_fini(struct sf_known_object *o);

#endif
