/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/saved.h"

#include "base/clock.h"
#include "observe/counter.h"
#include "observe/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Directories on their way into the table. */

#define SAVE_PAGE_MS 100  /* for each page the next save of a directory comes so much later */
#define ROWS_MS      1000 /* rows whose pages take SAVE_PAGE_MS */
#define PART_BYTES   (4u << 20)
#define UNDER_WAY    (8u << 20) /* bytes that wait for the disk at most, */
#define WRITES       256        /* in so many writes */
#define AGE_KEY      1
#define OLDEST       64 /* directories that may go at once */

/* ---- the table --------------------------------------------------------------------------------
 */

int
saved_get(struct saved *s, const struct saved_id *id, uint32_t page, struct sf_buf *out)
{
    uint8_t key[SAVED_KEY_LEN];
    saved_key(id, page, key);
    return sf_env_get(s->env, s->table, key, sizeof key, out);
}

/* Some pages of a directory, and with the last ones its head. */
struct put {
    struct sf_env_write w;
    struct saved *s;
    struct saved_id id;
    uint64_t nid;
    bool last, stale;
    uint64_t based_on; /* place of the head whose pages stay as they are; 0 = none */
    struct saved_head head;
    char *bucket, *prefix;
    uint64_t *sums;
    struct sf_buf *pages; /* empty = as it is */
    uint32_t first, n;    /* number of the first one, and how many */
    uint64_t bytes, total;
    struct saved_id oldest[OLDEST];
    uint64_t oldest_seq[OLDEST];
    unsigned n_oldest;
};

static void
put_free(struct put *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        sf_buf_fini(&p->pages[i]);
    free(p->pages);
    free(p->sums);
    free(p->bucket);
    free(p->prefix);
    free(p);
}

static void
number_out(uint64_t v, uint8_t out[8])
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (56 - 8 * i));
}

static void
age_key(uint64_t seq, uint8_t out[9])
{
    out[0] = AGE_KEY;
    number_out(seq, out + 1);
}

/* What a directory counts for in the bound. */
static uint64_t
cost(const struct saved_head *h)
{
    return h->bytes + 256 + UINT64_C(8) * h->pages;
}

static int
read_totals(struct sf_txn *txn, unsigned table, uint64_t totals[2])
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    totals[0] = 0;
    totals[1] = 1;
    int rc = sf_txn_get(txn, table, "", 1, &b);
    if (rc == 0 && b.len == 16)
        memcpy(totals, b.data, 16);
    return rc == -ENOENT ? 0 : rc;
}

static int
read_old(struct sf_txn *txn, unsigned table, const struct saved_id *id, struct saved_head *h)
{
    uint8_t key[SAVED_KEY_LEN];
    uint64_t *sums = NULL;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    saved_key(id, 0, key);
    *h = (struct saved_head){.seq = 0};
    int rc = sf_txn_get(txn, table, key, sizeof key, &b);
    if (rc == 0)
        rc = saved_head_parse(b.data, b.len, NULL, NULL, h, &sums);
    free(sums);
    if (rc == -EUCLEAN) /* damaged: written anew */
        *h = (struct saved_head){.seq = 0};
    return rc == -ENOENT || rc == -EUCLEAN ? 0 : rc;
}

static int
remove_pages(struct sf_txn *txn, unsigned table, const struct saved_id *id, uint32_t from,
             uint32_t to)
{
    uint8_t key[SAVED_KEY_LEN];
    int rc = 0;
    for (uint32_t i = from; (rc == 0 || rc == -ENOENT) && i <= to; i++) {
        saved_key(id, i, key);
        rc = sf_txn_del(txn, table, key, sizeof key);
    }
    return rc == -ENOENT ? 0 : rc;
}

static int
remove_age(struct sf_txn *txn, unsigned table, uint64_t seq)
{
    uint8_t key[9];
    age_key(seq, key);
    int rc = seq ? sf_txn_del(txn, table, key, sizeof key) : 0;
    return rc == -ENOENT ? 0 : rc;
}

/* Those that were saved longest ago make room. */
static int
make_room(struct put *p, struct sf_txn *txn, uint64_t *total)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i<p->n_oldest && * total> p->s->max_bytes; i++) {
        struct saved_head h;
        if (!memcmp(&p->oldest[i], &p->id, sizeof p->id))
            continue;
        rc = read_old(txn, p->s->table, &p->oldest[i], &h);
        if (rc || h.seq != p->oldest_seq[i])
            continue;
        rc = remove_pages(txn, p->s->table, &p->oldest[i], 0, h.pages);
        if (!rc)
            rc = remove_age(txn, p->s->table, h.seq);
        *total -= cost(&h) < *total ? cost(&h) : *total;
    }
    return rc;
}

static int
put_head(struct put *p, struct sf_txn *txn, const struct saved_head *old)
{
    unsigned table = p->s->table;
    uint8_t key[SAVED_KEY_LEN], age[9];
    uint64_t totals[2];
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    int rc = read_totals(txn, table, totals);
    struct saved_head h = p->head;
    h.seq = totals[1]++;
    h.sums = p->sums;
    totals[0] -= old->seq && cost(old) < totals[0] ? cost(old) : old->seq ? totals[0] : 0;
    totals[0] += cost(&h);
    if (!rc)
        rc = remove_pages(txn, table, &p->id, h.pages + 1, old->pages);
    if (!rc)
        rc = remove_age(txn, table, old->seq);
    if (!rc)
        rc = saved_head_format(&h, p->bucket, p->prefix, &b);
    saved_key(&p->id, 0, key);
    age_key(h.seq, age);
    if (!rc)
        rc = sf_txn_put(txn, table, key, sizeof key, b.data, b.len);
    if (!rc)
        rc = sf_txn_put(txn, table, age, sizeof age, p->id.hash, sizeof p->id.hash);
    if (!rc)
        rc = make_room(p, txn, &totals[0]);
    if (!rc && totals[0] > p->s->max_bytes) { /* what could go is on its way, too: once more */
        p->stale = true;
        rc = remove_pages(txn, table, &p->id, 0, h.pages);
        if (!rc)
            rc = remove_age(txn, table, h.seq);
        totals[0] -= cost(&h);
    }
    p->total = totals[0];
    return rc ? rc : sf_txn_put(txn, table, "", 1, totals, sizeof totals);
}

static int
put_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct put *p = (struct put *)w;
    struct saved_head old;
    uint8_t key[SAVED_KEY_LEN];
    int rc = read_old(txn, p->s->table, &p->id, &old);
    p->stale = p->based_on && old.seq != p->based_on;
    if (rc || p->stale)
        return rc;
    for (uint32_t i = 0; rc == 0 && i < p->n; i++) {
        if (!p->pages[i].len)
            continue;
        saved_key(&p->id, p->first + i, key);
        rc = sf_txn_put(txn, p->s->table, key, sizeof key, p->pages[i].data, p->pages[i].len);
    }
    return rc == 0 && p->last ? put_head(p, txn, &old) : rc;
}

static void
put_done(struct sf_env_write *w, int rc)
{
    struct put *p = (struct put *)w;
    struct saved *s = p->s;
    if (p->stale && p->last) { /* what it was based on has gone meanwhile: all of it again */
        tree_lock(s->tree);
        struct node *n = node_get_locked(s->tree, p->nid);
        if (n && n->dir)
            saved_learned_locked(s->tree, n);
        tree_unlock(s->tree);
    } else if (rc == 0 && p->last) {
        sf_count(SF_C_SAVED_DIRS, 1);
    }
    sf_mutex_lock(&s->lock);
    bool say = rc < 0 && !s->failing;
    s->failing = rc < 0;
    if (rc == 0 && p->last && p->total)
        s->total = p->total;
    s->under_way -= p->bytes;
    s->to_come -= p->last ? cost(&p->head) : 0;
    s->writes--;
    sf_cond_broadcast(&s->idle);
    sf_mutex_unlock(&s->lock);
    if (say)
        sf_warn("tree", "event=listings-not-saved err=%s", sf_errno_name(rc));
    put_free(p);
}

/* ---- one directory ----------------------------------------------------------------------------
 */

/* A directory on its way from the tree to the table. */
struct saving {
    struct saved *s;
    struct saved_dir dir;
    struct saved_id id;
    uint64_t nid, based_on;
    uint64_t *old_sums, *sums;
    struct saved_head old;
    struct sf_buf *pages;
    uint32_t n, first, total_pages;
    uint64_t bytes, waiting;
    bool changed;
};

static int
oldest_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct put *p = arg;
    const uint8_t *k = key;
    if (key_len != 9 || k[0] != AGE_KEY || value_len != sizeof p->oldest[0].hash)
        return 1;
    uint64_t seq = 0;
    for (int i = 1; i < 9; i++)
        seq = seq << 8 | k[i];
    memcpy(p->oldest[p->n_oldest].hash, value, value_len);
    p->oldest_seq[p->n_oldest] = seq;
    return ++p->n_oldest == OLDEST;
}

/* Give the pages that are there to the disk; with the last ones the head. */
static int
submit(struct saving *v, bool last)
{
    struct saved *s = v->s;
    struct put *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->w.run = put_run;
    p->w.done = put_done;
    p->w.lazy = !s->flushing;
    p->s = s;
    p->id = v->id;
    p->nid = v->nid;
    p->last = last;
    p->based_on = v->based_on;
    p->pages = sf_steal(v->pages);
    p->first = v->first;
    p->n = v->n;
    p->bytes = v->waiting;
    v->first += v->n;
    v->n = 0;
    v->waiting = 0;
    if (last) {
        p->head = v->dir.head;
        p->bucket = sf_steal(v->dir.bucket);
        p->prefix = sf_steal(v->dir.prefix);
        p->sums = sf_steal(v->sums);
    }
    sf_mutex_lock(&s->lock);
    while ((s->under_way > UNDER_WAY || s->writes > WRITES) && !s->stopping)
        sf_cond_wait(&s->idle, &s->lock);
    s->under_way += p->bytes;
    s->to_come += last ? cost(&p->head) : 0;
    s->writes++;
    bool full = s->total + s->to_come > s->max_bytes;
    sf_mutex_unlock(&s->lock);
    if (full && last)
        (void)sf_env_walk(s->env, s->table, "\1", 1, oldest_row, p);
    sf_env_submit(s->env, &p->w);
    return 0;
}

/* One page is full. */
static int
take_page(void *arg, struct sf_buf *page, unsigned rows)
{
    struct saving *v = arg;
    uint32_t i = v->total_pages;
    uint64_t sum;
    (void)rows;
    if (i >= SAVED_PAGES_MAX)
        return -EFBIG;
    int rc = saved_page_seal(page, &sum);
    void *sums = rc ? NULL : realloc(v->sums, (i + 1) * sizeof *v->sums);
    if (sums)
        v->sums = sums;
    void *pages = sums ? realloc(v->pages, (v->n + 1) * sizeof *v->pages) : NULL;
    if (!pages)
        return -ENOMEM;
    v->pages = pages;
    v->sums[i] = sum;
    v->pages[v->n] = (struct sf_buf)SF_BUF_INIT;
    v->bytes += page->len;
    if (v->based_on && i < v->old.pages && v->old_sums[i] == sum) {
        sf_buf_clear(page); /* it is there */
    } else {
        v->changed = true;
        v->waiting += page->len;
        v->pages[v->n] = *page;
        *page = (struct sf_buf)SF_BUF_INIT;
    }
    v->n++;
    v->total_pages++;
    return v->waiting >= PART_BYTES ? submit(v, false) : 0;
}

static void
saving_fini(struct saving *v)
{
    for (uint32_t i = 0; i < v->n; i++)
        sf_buf_fini(&v->pages[i]);
    free(v->pages);
    free(v->sums);
    free(v->old_sums);
    saved_dir_fini(&v->dir);
}

/* What is in the table of it: pages that are the same stay. */
static void
read_before(struct saving *v, const char *bucket, const char *prefix)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    if (saved_get(v->s, &v->id, 0, &b) == 0 &&
        saved_head_parse(b.data, b.len, bucket, prefix, &v->old, &v->old_sums) == 0)
        v->based_on = v->old.seq;
}

/* A head that says the same but for its times is written for these alone. Of a directory that was
 * once known completely a few names say less. */
static bool
is_worth_it(const struct saving *v)
{
    const struct saved_head *h = &v->dir.head;
    return h->complete || !v->old.complete || (h->attrs_known && !v->old.attrs_known);
}

static int
finish(struct saving *v)
{
    struct saved_head *h = &v->dir.head;
    h->bytes = v->bytes;
    h->pages = v->total_pages;
    if (!is_worth_it(v) || cost(h) > v->s->max_bytes / 4)
        return 0;
    snprintf(h->boot, sizeof h->boot, "%.36s", v->s->boot);
    h->listing = h->pages || h->complete;
    return submit(v, true);
}

static int
save_bucket(struct saved *s, struct sf_tree *t)
{
    struct saving v = {.s = s, .first = 1};
    sf_autobuf struct sf_buf mimes = SF_BUF_INIT, page = SF_BUF_INIT;
    struct saved_row row;
    v.dir.page = (struct sf_buf)SF_BUF_INIT;
    tree_lock(t);
    saved_take_bucket_locked(t->root, &row, &mimes);
    v.dir.bucket = strdup(t->root->dir->bucket->id);
    tree_unlock(t);
    v.dir.prefix = strdup("");
    int rc = v.dir.bucket && v.dir.prefix ? saved_page_begin(&page) : -ENOMEM;
    if (!rc)
        rc = saved_page_add(&page, &row);
    if (!rc)
        rc = take_page(&v, &page, 1);
    if (!rc) {
        saved_id_of(SAVED_ONE_BUCKET, v.dir.bucket, "", &v.id);
        v.dir.head.complete = true;
        v.dir.head.taken_ns = sf_clock_ns();
        rc = finish(&v);
    }
    saving_fini(&v);
    return rc;
}

void
saved_save_locked(struct saved *s, struct sf_tree *t, struct node *n)
{
    struct saving v = {.s = s, .nid = n->nid, .first = 1};
    enum saved_kind kind;
    char *bucket, *prefix;
    bool of_bucket = n == t->root && n->type == N_BUCKET && n->dir->bucket->seen;
    if (saved_name_locked(t, n, &kind, &bucket, &prefix) == 0) {
        tree_unlock(t);
        saved_id_of(kind, bucket, prefix, &v.id);
        read_before(&v, bucket, prefix);
        if (of_bucket)
            (void)save_bucket(s, t);
        tree_lock(t);
        int rc = saved_take_locked(t, n, &v.dir, take_page, &v);
        int64_t pause = (int64_t)v.dir.head.rows * SAVE_PAGE_MS / ROWS_MS;
        n->dir->save_after_ms = sf_clock_ms() + pause;
        tree_unlock(t);
        if (rc == 1)
            (void)finish(&v);
        saving_fini(&v);
        tree_lock(t);
    }
    free(bucket);
    free(prefix);
}

uint64_t
saved_total(struct saved *s)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    uint64_t totals[2] = {0};
    if (sf_env_get(s->env, s->table, "", 1, &b) == 0 && b.len == sizeof totals)
        memcpy(totals, b.data, sizeof totals);
    return totals[0];
}
