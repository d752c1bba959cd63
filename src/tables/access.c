/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tables/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "observe/counter.h"

/*
 * An open counts an access. That is a look at a table in memory; what it holds goes to the
 * environment with the next batch, or when it has grown.
 */
#define ACCESSED_MAX 8192

/* UUIDs are random, or chosen by somebody who does not know the salt. */
static unsigned
hash_of(const struct sf_tables *t, const unsigned char raw[16])
{
    uint64_t a, b;
    memcpy(&a, raw, sizeof a);
    memcpy(&b, raw + sizeof a, sizeof b);
    a = (a ^ t->salt) * UINT64_C(0x9e3779b97f4a7c15);
    a = (a ^ a >> 32 ^ b) * UINT64_C(0xbf58476d1ce4e5b9);
    return (unsigned)(a >> 32);
}

static bool
raw_of(const char *id, unsigned char raw[16])
{
    char hex[33];
    size_t n = 0;
    if (strlen(id) != ID_LEN)
        return false;
    for (; *id; id++)
        if (*id != '-' && n < 32)
            hex[n++] = *id;
    return n == 32 && sf_hex_decode(hex, 32, raw) == 0;
}

static struct access *
access_new(const unsigned char raw[16])
{
    static const size_t groups[] = {4, 2, 2, 2, 6};
    struct access *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    memcpy(a->raw, raw, sizeof a->raw);
    char *at = a->id;
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        if (g)
            *at++ = '-';
        sf_hex_encode(raw, groups[g], at);
        at += 2 * groups[g];
        raw += groups[g];
    }
    return a;
}

void
sf_tables_accessed(struct sf_tables *t, const unsigned char id[16], int64_t at_ns)
{
    struct access *a = NULL;
    if (!t)
        return;
    unsigned hash = hash_of(t, id);
    SF_GUARD(&t->lock);
    HASH_FIND_BYHASHVALUE(hh, t->accessed, id, sizeof a->raw, hash, a);
    if (!a) {
        if (HASH_COUNT(t->accessed) >= ACCESSED_MAX || !(a = access_new(id))) {
            atomic_fetch_add(&t->dropped, 1);
            return;
        }
        HASH_ADD_KEYPTR_BYHASHVALUE(hh, t->accessed, a->raw, sizeof a->raw, hash, a);
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
    struct sf_tables *t;
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
    /* Taken here: who asks on this thread finds each in one place. */
    sf_mutex_lock(&f->t->lock);
    if (!f->all)
        f->all = sf_steal(f->t->accessed);
    sf_mutex_unlock(&f->t->lock);
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
    struct flush f = {.w = {.run = flush_run}, .t = t};
    struct access *a, *next;
    sf_mutex_lock(&t->lock);
    bool any = t->accessed != NULL;
    sf_mutex_unlock(&t->lock);
    if (!any)
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
access_counted(struct sf_tables *t, const char *id, struct count *c)
{
    struct access *a = NULL;
    unsigned char raw[16];
    if (!raw_of(id, raw))
        return;
    SF_GUARD(&t->lock);
    HASH_FIND_BYHASHVALUE(hh, t->accessed, raw, sizeof raw, hash_of(t, raw), a);
    if (a) {
        c->n += a->c.n;
        c->last_ns = a->c.last_ns;
    }
}

void
sf_tables_accesses(struct sf_tables *t, const char *id, uint64_t *n, int64_t *last_ns)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    struct count c = {0};
    unsigned char raw[16];
    if (t && raw_of(id, raw)) {
        if (sf_env_get(t->env, T_ACCESSES, id, ID_LEN, &value) == 0 && value.len == sizeof c)
            memcpy(&c, value.data, sizeof c);
        access_counted(t, id, &c);
    }
    *n = c.n;
    *last_ns = c.last_ns;
}
