/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/ahead.h"

#include "base/crc32c.h"
#include "base/hash.h"
#include "store/env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * What was learned of directories' orders, between mounts (docs/formats/cache.md, table
 * "followed"). A row for each of 4,096 places, which are directories' by their hashes: so it is
 * bounded, and of two with the same place the later one is kept. All of it is done by the
 * environment's thread, behind.
 */
enum { PLACES = 4096, KEY_BYTES = 2, HASH_BYTES = 8, SUM_BYTES = 4 };

struct row_write {
    struct sf_env_write w;
    struct action act;
    struct sf_env *env;
    unsigned table;
    uint64_t hash; /* of bucket and prefix */
    struct sf_follow learned;
    bool whole; /* of a save: what is there is part of it */
    /* of a load: */
    struct sf_tree *tree;
    uint64_t dir;
    bool found;
};

/* 0 or -errno */
static int
hash_of_locked(const struct node *dir, uint64_t *ret)
{
    char *bucket, *prefix;
    sf_autobuf struct sf_buf name = SF_BUF_INIT;
    int rc = node_key_locked(dir, &bucket, &prefix);
    if (rc < 0)
        return rc;
    rc = sf_buf_append(&name, bucket, strlen(bucket) + 1);
    if (rc == 0)
        rc = sf_buf_append(&name, prefix, strlen(prefix));
    if (rc == 0)
        *ret = sf_hash64(name.data, name.len);
    free(bucket);
    free(prefix);
    return rc;
}

static void
key_of(uint64_t hash, uint8_t key[KEY_BYTES])
{
    key[0] = (uint8_t)(hash % PLACES >> 8);
    key[1] = (uint8_t)hash;
}

static void
put_number(uint64_t v, uint8_t *out, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t
sum_of(const uint8_t key[KEY_BYTES], const void *value, size_t n)
{
    return sf_crc32c(sf_crc32c(0, key, KEY_BYTES), value, n);
}

/* 0; -ENOENT also for another directory's; -EINVAL */
static int
read_row(const struct row_write *r, struct sf_txn *txn, struct sf_follow *ret)
{
    uint8_t key[KEY_BYTES], hash[HASH_BYTES], sum[SUM_BYTES];
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    key_of(r->hash, key);
    put_number(r->hash, hash, HASH_BYTES);
    int rc = sf_txn_get(txn, r->table, key, sizeof key, &value);
    if (rc < 0)
        return rc;
    if (value.len < HASH_BYTES + SUM_BYTES || memcmp(value.data, hash, HASH_BYTES) != 0)
        return -ENOENT;
    size_t n = value.len - SUM_BYTES;
    put_number(sum_of(key, value.data, n), sum, SUM_BYTES);
    if (memcmp(value.data + n, sum, SUM_BYTES) != 0)
        return -EINVAL;
    return sf_follow_unpack(ret, value.data + HASH_BYTES, n - HASH_BYTES);
}

static void
submit(struct action *a)
{
    struct row_write *r = (struct row_write *)((char *)a - offsetof(struct row_write, act));
    sf_env_submit(r->env, &r->w);
}

static struct row_write *
row_new(struct sf_tree *t, uint64_t dir)
{
    const struct node *n = node_get_locked(t, dir);
    struct row_write *r = t->opts.followed_env && n && n->dir ? calloc(1, sizeof *r) : NULL;
    if (!r || hash_of_locked(n, &r->hash) < 0) {
        free(r);
        return NULL;
    }
    r->env = t->opts.followed_env;
    r->table = t->opts.followed_table;
    r->dir = dir;
    return r;
}

/* ---- save ------------------------------------------------------------------------------------ */

static int
save_run(struct sf_env_write *w, struct sf_txn *txn)
{
    const struct row_write *r = (struct row_write *)w;
    struct sf_follow all;
    uint8_t key[KEY_BYTES], value[HASH_BYTES + SF_FOLLOW_BYTES_MAX + SUM_BYTES];
    if (!r->whole && read_row(r, txn, &all) == 0)
        sf_follow_merge(&all, &r->learned);
    else
        all = r->learned;
    key_of(r->hash, key);
    put_number(r->hash, value, HASH_BYTES);
    size_t n = sf_follow_pack(&all, value + HASH_BYTES);
    if (n == 0)
        return 0;
    n += HASH_BYTES;
    put_number(sum_of(key, value, n), value + n, SUM_BYTES);
    return sf_txn_put(txn, r->table, key, sizeof key, value, n + SUM_BYTES);
}

static void
save_done(struct sf_env_write *w, int rc)
{
    (void)rc; /* then it is learned anew */
    free(w);
}

void
ahead_save(void *arg, uint64_t dir, const struct sf_follow *learned, bool whole)
{
    struct sf_tree *t = arg;
    struct row_write *r = row_new(t, dir);
    if (!r)
        return;
    r->w = (struct sf_env_write){.run = save_run, .done = save_done, .lazy = true};
    r->learned = *learned;
    r->whole = whole;
    tree_queue_locked(t, &r->act, submit);
}

/* ---- load ------------------------------------------------------------------------------------ */

static int
load_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct row_write *r = (struct row_write *)w;
    r->found = read_row(r, txn, &r->learned) == 0;
    return 0;
}

static void
load_done(struct sf_env_write *w, int rc)
{
    struct row_write *r = (struct row_write *)w;
    struct sf_tree *t = r->tree;
    tree_lock(t);
    sf_predict_restore(t->ahead->predict, r->dir, rc == 0 && r->found ? &r->learned : NULL);
    tree_unlock(t);
    atomic_fetch_sub(&t->acting, 1);
    free(r);
}

void
ahead_load_locked(struct sf_tree *t, uint64_t dir)
{
    struct row_write *r = row_new(t, dir);
    if (!r)
        return;
    r->w = (struct sf_env_write){.run = load_run, .done = load_done};
    r->tree = t;
    atomic_fetch_add(&t->acting, 1); /* the tree's end waits for it */
    tree_queue_locked(t, &r->act, submit);
}
