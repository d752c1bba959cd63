/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/known.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/lock.h"

#define SLOTS 1024 /* of each of the two tables; a power of two */

struct entry {
    struct entry *prev, *next;         /* by age, oldest first */
    struct entry *key_next, *sha_next; /* chains */
    struct sf_known_object o;
};

struct sf_known {
    struct sf_mutex lock; /* leaf; protects all below */
    struct entry *by_age;
    unsigned n;
    struct entry *by_key[SLOTS], *by_sha[SLOTS];
};

static struct entry **
key_slot(struct sf_known *k, const char *bucket, const char *key)
{
    uint64_t h = sf_htab_hash(key, strlen(key)) ^ 31 * sf_htab_hash(bucket, strlen(bucket));
    return &k->by_key[h % SLOTS];
}

static struct entry **
sha_slot(struct sf_known *k, const char *sha256)
{
    return &k->by_sha[sf_htab_hash(sha256, strlen(sha256)) % SLOTS];
}

static struct entry *
find_locked(struct sf_known *k, const char *bucket, const char *key)
{
    SF_ASSERT_HELD(&k->lock);
    for (struct entry *e = *key_slot(k, bucket, key); e; e = e->key_next)
        if (!strcmp(e->o.key, key) && !strcmp(e->o.bucket, bucket))
            return e;
    return NULL;
}

static void
remove_locked(struct sf_known *k, struct entry *e)
{
    SF_ASSERT_HELD(&k->lock);
    LL_DELETE2(*key_slot(k, e->o.bucket, e->o.key), e, key_next);
    if (e->o.sha256[0])
        LL_DELETE2(*sha_slot(k, e->o.sha256), e, sha_next);
    DL_DELETE(k->by_age, e);
    k->n--;
    sf_known_object_fini(&e->o);
    free(e);
}

static int
copy(const struct sf_known_object *o, struct sf_known_object *out)
{
    char *bucket = strdup(o->bucket), *key = strdup(o->key);
    if (!bucket || !key) {
        free(bucket);
        free(key);
        return -ENOMEM;
    }
    *out = *o;
    out->bucket = bucket;
    out->key = key;
    return 0;
}

int
sf_known_new(struct sf_known **ret)
{
    struct sf_known *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    sf_mutex_init(&k->lock, 0);
    *ret = k;
    return 0;
}

void
sf_known_free(struct sf_known *k)
{
    if (!k)
        return;
    sf_mutex_lock(&k->lock);
    while (k->by_age)
        remove_locked(k, k->by_age);
    sf_mutex_unlock(&k->lock);
    sf_mutex_fini(&k->lock);
    free(k);
}

void
sf_known_put(struct sf_known *k, const struct sf_known_object *o)
{
    struct entry *e = calloc(1, sizeof *e);
    if (e && copy(o, &e->o)) {
        free(e);
        e = NULL;
    }
    SF_GUARD(&k->lock);
    struct entry *old = find_locked(k, o->bucket, o->key);
    if (old)
        remove_locked(k, old);
    if (!e)
        return;
    if (k->n >= SF_KNOWN_MAX)
        remove_locked(k, k->by_age);
    LL_PREPEND2(*key_slot(k, e->o.bucket, e->o.key), e, key_next);
    if (e->o.sha256[0])
        LL_PREPEND2(*sha_slot(k, e->o.sha256), e, sha_next);
    DL_APPEND(k->by_age, e);
    k->n++;
}

void
sf_known_touch(struct sf_known *k, const char *bucket, const char *key, const char *op,
               const char *version, const char *etag)
{
    SF_GUARD(&k->lock);
    struct entry *e = find_locked(k, bucket, key);
    if (!e)
        return;
    snprintf(e->o.op, sizeof e->o.op, "%s", op ? op : "");
    snprintf(e->o.version, sizeof e->o.version, "%s", version ? version : "");
    snprintf(e->o.etag, sizeof e->o.etag, "%s", etag ? etag : "");
}

void
sf_known_forget(struct sf_known *k, const char *bucket, const char *key)
{
    SF_GUARD(&k->lock);
    struct entry *e = find_locked(k, bucket, key);
    if (e)
        remove_locked(k, e);
}

void
sf_known_move(struct sf_known *k, const char *bucket, const char *key, const char *to_bucket,
              const char *to_key)
{
    struct sf_known_object o;
    if (!sf_known_at(k, bucket, key, &o)) {
        sf_known_forget(k, to_bucket, to_key);
        return;
    }
    sf_known_forget(k, bucket, key);
    struct sf_known_object moved = o;
    moved.bucket = (char *)to_bucket;
    moved.key = (char *)to_key;
    moved.version[0] = moved.etag[0] = '\0'; /* a move makes others */
    sf_known_put(k, &moved);
    sf_known_object_fini(&o);
}

bool
sf_known_at(struct sf_known *k, const char *bucket, const char *key, struct sf_known_object *out)
{
    SF_GUARD(&k->lock);
    const struct entry *e = find_locked(k, bucket, key);
    return e && copy(&e->o, out) == 0;
}

bool
sf_known_content(struct sf_known *k, const char *sha256, uint64_t size, struct sf_known_object *out)
{
    SF_GUARD(&k->lock);
    if (!sha256[0])
        return false;
    for (const struct entry *e = *sha_slot(k, sha256); e; e = e->sha_next)
        if (e->o.size == size && !strcmp(e->o.sha256, sha256))
            return copy(&e->o, out) == 0;
    return false;
}

void
sf_known_object_fini(struct sf_known_object *o)
{
    free(o->bucket);
    free(o->key);
    *o = (struct sf_known_object){0};
}
