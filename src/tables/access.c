/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tables/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "observe/counter.h"

/*
 * An open counts an access. That is a look at a table in memory; what it holds goes to the
 * environment with the next batch, or when it has grown.
 */
#define ACCESSED_MAX 8192

void
sf_tables_accessed(struct sf_tables *t, const char *id, int64_t at_ns)
{
    struct access *a = NULL;
    if (!t || strlen(id) != ID_LEN)
        return;
    SF_GUARD(&t->lock);
    HASH_FIND(hh, t->accessed, id, ID_LEN, a);
    if (!a) {
        if (HASH_COUNT(t->accessed) >= ACCESSED_MAX || !(a = calloc(1, sizeof *a))) {
            atomic_fetch_add(&t->dropped, 1);
            return;
        }
        memcpy(a->id, id, ID_LEN);
        HASH_ADD_KEYPTR(hh, t->accessed, a->id, ID_LEN, a);
        if (!SF_HTAB_ADDED(a)) {
            free(a);
            atomic_fetch_add(&t->dropped, 1);
            return;
        }
        if (!t->noted)
            sf_cond_signal(&t->wake);
        t->noted = true;
    }
    a->c.n++;
    a->c.last_ns = at_ns;
}

struct flush {
    struct sf_env_write w;
    struct access *all;
};

static int
add(struct sf_txn *txn, enum table table, const struct access *a)
{
    sf_autobuf struct sf_buf was = SF_BUF_INIT;
    struct count c = {0};
    int rc = sf_txn_get(txn, table, a->id, ID_LEN, &was);
    if (rc && rc != -ENOENT)
        return rc;
    if (!rc && was.len == sizeof c)
        memcpy(&c, was.data, sizeof c);
    c.n += a->c.n;
    if (c.last_ns < a->c.last_ns)
        c.last_ns = a->c.last_ns;
    return sf_txn_put(txn, table, a->id, ID_LEN, &c, sizeof c);
}

static int
flush_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct flush *f = (struct flush *)w;
    int rc = 0;
    for (const struct access *a = f->all; a && !rc; a = a->hh.next) {
        rc = add(txn, T_ACCESSES, a);
        if (!rc)
            rc = add(txn, T_UNSENT, a);
    }
    return rc;
}

void
access_flush(struct sf_tables *t)
{
    struct flush f = {.w = {.run = flush_run}};
    struct access *a, *next;
    sf_mutex_lock(&t->lock);
    f.all = t->accessed;
    t->accessed = NULL;
    sf_mutex_unlock(&t->lock);
    if (!f.all)
        return;
    if (sf_env_write_wait(t->env, &f.w)) {
        atomic_fetch_add(&t->dropped, HASH_COUNT(f.all));
        sf_count(SF_C_TABLES_DROPPED, HASH_COUNT(f.all));
    }
    HASH_ITER (hh, f.all, a, next) {
        HASH_DEL(f.all, a);
        free(a);
    }
}

void
sf_tables_accesses(struct sf_tables *t, const char *id, uint64_t *n, int64_t *last_ns)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    struct count c = {0};
    struct access *a = NULL;
    if (t && strlen(id) == ID_LEN) {
        if (sf_env_get(t->env, T_ACCESSES, id, ID_LEN, &value) == 0 && value.len == sizeof c)
            memcpy(&c, value.data, sizeof c);
        SF_GUARD(&t->lock);
        HASH_FIND(hh, t->accessed, id, ID_LEN, a);
        if (a) {
            c.n += a->c.n;
            c.last_ns = a->c.last_ns;
        }
    }
    *n = c.n;
    *last_ns = c.last_ns;
}
