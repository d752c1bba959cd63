/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/disk-internal.h"

/* Contents in use, their names and numbers. */

static int
content_new(struct sf_disk *d, uint64_t size, struct sf_disk_content **ret)
{
    struct sf_disk_content *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->d = d;
    c->size = size;
    atomic_init(&c->refs, 1);
    c->last_name = &c->names;
    *ret = c;
    return 0;
}

static struct sf_disk_alias *
alias_new(struct sf_disk_content *c, const struct sf_buf *key)
{
    struct sf_disk_alias *a = calloc(1, sizeof *a + key->len);
    if (!a)
        return NULL;
    a->content = c;
    a->len = key->len;
    memcpy(a->key, key->data, key->len);
    return a;
}

static struct sf_disk_alias *
find_locked(struct sf_disk *d, const struct sf_buf *key)
{
    struct sf_disk_alias *a;
    SF_ASSERT_HELD(&d->lock);
    HASH_FIND(hh, d->aliases, key->data, key->len, a);
    return a;
}

/* The content that had the name keeps it in the index until the other one is written there. */
static void
alias_add_locked(struct sf_disk *d, struct sf_disk_alias *a)
{
    struct sf_disk_alias *old;
    HASH_FIND(hh, d->aliases, a->key, a->len, old);
    if (old)
        HASH_DEL(d->aliases, old);
    HASH_ADD_KEYPTR(hh, d->aliases, a->key, a->len, a);
    if (old)
        memset(&old->hh, 0, sizeof old->hh);
    *a->content->last_name = a;
    a->content->last_name = &a->next;
}

int
sf_disk_get(struct sf_disk *d, const struct sf_cache_key *key, struct sf_disk_content **ret)
{
    sf_autobuf struct sf_buf name = SF_BUF_INIT;
    int rc = sf_row_name_key(&name, key);
    if (rc == -ENAMETOOLONG)
        return sf_disk_get_new(d, key->size, ret);
    if (rc)
        return rc;
    sf_mutex_lock(&d->lock);
    struct sf_disk_alias *a = find_locked(d, &name);
    if (a) {
        sf_disk_ref(a->content);
        *ret = a->content;
    }
    sf_mutex_unlock(&d->lock);
    if (a)
        return 0;

    struct sf_disk_content *c;
    rc = content_new(d, key->size, &c);
    if (rc)
        return rc;
    struct sf_disk_alias *own = alias_new(c, &name);
    if (!own) {
        free(c);
        return -ENOMEM;
    }
    c->identity = sf_hash64(name.data, name.len);
    sf_mutex_lock(&d->lock);
    a = find_locked(d, &name);
    if (a) {
        sf_disk_ref(a->content); /* another thread was faster */
        *ret = a->content;
    } else {
        alias_add_locked(d, own);
        LIST_INSERT_HEAD(&d->contents, c, all);
        *ret = c;
    }
    sf_mutex_unlock(&d->lock);
    if (a) {
        free(own);
        free(c);
    }
    return 0;
}

int
sf_disk_get_new(struct sf_disk *d, uint64_t size, struct sf_disk_content **ret)
{
    struct sf_disk_content *c;
    int rc = content_new(d, size, &c);
    if (rc)
        return rc;
    SF_GUARD(&d->lock);
    LIST_INSERT_HEAD(&d->contents, c, all);
    *ret = c;
    return 0;
}

void
sf_disk_ref(struct sf_disk_content *c)
{
    atomic_fetch_add(&c->refs, 1);
}

void
sf_disk_unref(struct sf_disk_content *c)
{
    if (!c)
        return;
    struct sf_disk *d = c->d;
    sf_mutex_lock(&d->lock);
    bool last = atomic_fetch_sub(&c->refs, 1) == 1;
    if (last) {
        LIST_REMOVE(c, all);
        for (struct sf_disk_alias *a = c->names; a; a = a->next)
            if (SF_HTAB_ADDED(a))
                HASH_DEL(d->aliases, a);
    }
    sf_mutex_unlock(&d->lock);
    if (!last)
        return;
    while (c->names) {
        struct sf_disk_alias *a = c->names;
        c->names = a->next;
        free(a);
    }
    free(c);
}

uint64_t
sf_disk_size(const struct sf_disk_content *c)
{
    return c->size;
}

uint64_t
sf_content_identity_locked(const struct sf_disk_content *c)
{
    return c->identity ? c->identity : c->number;
}

/* ---- numbers -------------------------------------------------------------------------------- */

struct lookup {
    const struct sf_disk_alias *alias;
    uint64_t number;
};

static int
got_number(void *arg, const void *value, size_t len)
{
    struct lookup *l = arg;
    return sf_row_name_get(l->alias->key, l->alias->len, value, len, &l->number);
}

int
sf_content_number(struct sf_disk_content *c, bool nowait, uint64_t *ret)
{
    struct sf_disk *d = c->d;
    sf_mutex_lock(&d->lock);
    *ret = c->number;
    unsigned generation = d->generation;
    struct lookup l = {.alias = c->names};
    sf_mutex_unlock(&d->lock);
    if (*ret)
        return 0;
    if (nowait && l.alias && sf_index_slow(d))
        return -EAGAIN;
    while (l.alias && !l.number) {
        int rc = sf_index_read(d, SF_TABLE_NAMES, l.alias->key, l.alias->len, got_number, &l);
        if (rc && rc != -ENOENT)
            return rc;
        SF_GUARD(&d->lock); /* names are only added */
        l.alias = l.number ? l.alias : l.alias->next;
    }
    SF_GUARD(&d->lock);
    if (!c->number && generation == d->generation)
        c->number = l.number ? l.number : d->next_number++;
    *ret = c->number;
    return c->number ? 0 : -EIO;
}

/* ---- further names -------------------------------------------------------------------------- */

struct naming {
    struct sf_env_write w;
    struct sf_disk_content *c;
    struct sf_disk_alias *alias;
};

/* The number by which the index knows the content, 0 = it does not. */
static int
number_in(struct sf_txn *txn, struct sf_disk_content *c, uint64_t *ret)
{
    sf_mutex_lock(&c->d->lock);
    *ret = c->number;
    const struct sf_disk_alias *a = c->names;
    sf_mutex_unlock(&c->d->lock);
    int rc = 0;
    while (!*ret && a && !rc) {
        sf_autobuf struct sf_buf v = SF_BUF_INIT;
        rc = sf_txn_get(txn, SF_TABLE_NAMES, a->key, a->len, &v);
        if (!rc)
            rc = sf_row_name_get(a->key, a->len, v.data, v.len, ret);
        rc = rc == -ENOENT ? 0 : rc;
        SF_GUARD(&c->d->lock);
        a = a->next;
    }
    return rc;
}

static int
naming_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct naming *n = (struct naming *)w;
    const struct sf_disk_alias *a = n->alias;
    unsigned char v[SF_ROW_NAME_LEN];
    sf_autobuf struct sf_buf bytes = SF_BUF_INIT;
    struct sf_row_content row;
    uint64_t number;
    int rc = number_in(txn, n->c, &number);
    if (!rc)
        rc = sf_txn_content_get(txn, number, &bytes, &row);
    if (rc)
        return rc == -ENOENT ? 0 : rc; /* nothing is cached: it is written when something is */
    for (unsigned i = 0; i < row.n_names; i++)
        if (row.names[i].len == a->len && memcmp(row.names[i].key, a->key, a->len) == 0)
            return 0;
    if (row.n_names == SF_ROW_NAMES_MAX) {
        rc = sf_txn_name_del(txn, row.names[0].key, row.names[0].len, number);
        memmove(row.names, row.names + 1, --row.n_names * sizeof row.names[0]);
    }
    row.names[row.n_names].key = a->key;
    row.names[row.n_names++].len = a->len;
    if (!rc)
        rc = sf_txn_content_put(txn, number, &row);
    if (!rc)
        rc = sf_txn_put(txn, SF_TABLE_NAMES, a->key, a->len, v,
                        sf_row_name_put(v, a->key, a->len, number));
    return rc;
}

static void
naming_done(struct sf_env_write *w, int rc)
{
    struct naming *n = (struct naming *)w;
    if (rc == -EUCLEAN)
        sf_env_distrust(n->c->d->env);
    sf_disk_unref(n->c);
    free(n);
}

void
sf_disk_name(struct sf_disk_content *c, const struct sf_cache_key *key)
{
    struct sf_disk *d = c->d;
    sf_autobuf struct sf_buf name = SF_BUF_INIT;
    if (key->size != c->size || sf_row_name_key(&name, key))
        return;
    struct naming *n = calloc(1, sizeof *n);
    struct sf_disk_alias *a = n ? alias_new(c, &name) : NULL;
    if (!a) {
        free(n);
        return;
    }
    sf_mutex_lock(&d->lock);
    struct sf_disk_alias *known = find_locked(d, &name);
    bool have = known && known->content == c;
    if (!have) {
        alias_add_locked(d, a);
        if (!c->identity && !c->number)
            c->identity = sf_hash64(name.data, name.len);
    }
    sf_mutex_unlock(&d->lock);
    if (have) {
        free(a);
        free(n);
        return;
    }
    *n = (struct naming){
        .w = {.run = naming_run, .done = naming_done, .lazy = true}, .c = c, .alias = a};
    sf_disk_ref(c);
    sf_env_submit(d->env, &n->w);
}
