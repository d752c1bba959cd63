/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/disk-internal.h"

/* What commands ask for: lists, sums, pins, a check of everything. */

#define STEP 64 /* rows of one read transaction */

struct chunk_row {
    uint64_t number;
    uint32_t index, mask;
    uint64_t bytes;
};

struct chunk_rows {
    struct chunk_row rows[STEP];
    unsigned n;
    unsigned char last[SF_ROW_SHORT_KEY]; /* the key of the last one */
};

static int
copy_chunk(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
    struct chunk_rows *out = arg;
    struct chunk_row *r = &out->rows[out->n];
    struct sf_row_chunk row;
    if (key_len != 12 || sf_row_chunk_get(key, key_len, value, len, &row))
        return -EUCLEAN;
    sf_row_chunk_parse(key, &r->number, &r->index);
    r->mask = row.mask;
    r->bytes = row.bytes;
    /* A damaged tree may lead in a circle. */
    if (out->n && memcmp(out->last, key, key_len) >= 0)
        return -EUCLEAN;
    memcpy(out->last, key, key_len);
    return ++out->n == STEP ? 1 : 0;
}

int
sf_disk_each_chunk(struct sf_disk *d, uint64_t number, sf_disk_chunk_fn fn, void *arg)
{
    struct chunk_rows rows;
    unsigned char key[SF_ROW_SHORT_KEY];
    size_t len = sf_row_chunk_key(key, number - 1, UINT32_MAX);
    uint32_t last = 0;
    bool any = false;
    for (;;) {
        rows.n = 0;
        int rc = sf_env_walk(d->env, SF_TABLE_CHUNKS, key, len, copy_chunk, &rows);
        if (rc < 0)
            return rc;
        for (unsigned i = 0; i < rows.n; i++) {
            const struct chunk_row *r = &rows.rows[i];
            if (r->number != number)
                return 0;
            if (any && r->index <= last) {
                sf_env_distrust(d->env);
                return -EUCLEAN;
            }
            any = true;
            last = r->index;
            int stop = fn(arg, r->index, r->mask, r->bytes);
            if (stop)
                return stop;
            len = sf_row_chunk_key(key, number, r->index);
        }
        if (!rc)
            return 0;
    }
}

struct sums {
    uint64_t size, bytes, here;
};

static int
sum_chunk(void *arg, uint32_t index, uint32_t mask, uint64_t bytes)
{
    struct sums *s = arg;
    s->bytes += bytes;
    for (unsigned i = 0; i < SF_UNITS; i++)
        if (mask >> i & 1)
            s->here += sf_unit_len(s->size, (uint64_t)index * SF_UNITS + i);
    return 0;
}

struct content_value {
    unsigned char key[SF_ROW_SHORT_KEY];
    size_t len;
    struct sf_buf *out;
};

static int
got_content(void *arg, const void *value, size_t len)
{
    struct content_value *v = arg;
    struct sf_row_content row;
    int rc = sf_row_content_get(v->key, v->len, value, len, &row);
    return rc ? rc : sf_buf_append(v->out, value, len);
}

void
sf_disk_usage(struct sf_disk_content *c, struct sf_disk_usage *out)
{
    struct sf_disk *d = c->d;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    struct content_value v = {.out = &b};
    struct sf_row_content row;
    uint64_t number;
    *out = (struct sf_disk_usage){0};
    sf_disk_flush(d);
    if (sf_content_number(c, false, &number))
        return;
    v.len = sf_row_content_key(v.key, number);
    if (sf_env_read(d->env, SF_TABLE_CONTENTS, v.key, v.len, got_content, &v) ||
        sf_row_content_get(v.key, v.len, b.data, b.len, &row))
        return;
    out->pinned = row.pinned;
    struct sums sums = {.size = c->size};
    (void)sf_disk_each_chunk(d, number, sum_chunk, &sums);
    out->bytes = sums.bytes;
    out->here = sums.here;
}

/* ---- all contents --------------------------------------------------------------------------- */

static int
copy_content(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
    struct content_value *v = arg;
    struct sf_row_content row;
    if (key_len != 8 || sf_row_content_get(key, key_len, value, len, &row))
        return -EUCLEAN;
    memcpy(v->key, key, key_len);
    v->len = key_len;
    int rc = sf_buf_append(v->out, value, len);
    return rc ? rc : 1;
}

int
sf_disk_each(struct sf_disk *d, uint64_t after, int (*fn)(void *arg, const struct sf_disk_row *row),
             void *arg)
{
    sf_disk_flush(d);
    for (;;) {
        sf_autobuf struct sf_buf b = SF_BUF_INIT;
        struct content_value v = {.out = &b};
        struct sf_row_content row;
        unsigned char key[SF_ROW_SHORT_KEY];
        size_t len = sf_row_content_key(key, after);
        int rc = sf_env_walk(d->env, SF_TABLE_CONTENTS, key, len, copy_content, &v);
        if (rc != 1)
            return rc;
        uint64_t number = sf_row_content_parse(v.key);
        if (number <= after) {
            sf_env_distrust(d->env);
            return -EUCLEAN;
        }
        after = number;
        rc = sf_row_content_get(v.key, v.len, b.data, b.len, &row);
        struct sf_disk_row r = {.number = after, .size = row.size, .pinned = row.pinned};
        for (unsigned i = 0; i < row.n_names && !rc; i++)
            if (sf_row_name_parse(row.names[i].key, row.names[i].len, &r.names[r.n_names]) == 0)
                r.n_names++;
        struct sums sums = {.size = row.size};
        if (!rc)
            rc = sf_disk_each_chunk(d, after, sum_chunk, &sums);
        r.bytes = sums.bytes;
        r.here = sums.here;
        if (!rc)
            rc = fn(arg, &r);
        if (rc)
            return rc;
    }
}

/* ---- pins ----------------------------------------------------------------------------------- */

struct pinning {
    struct sf_env_write w;
    struct sf_disk_content *c;
    uint64_t number;
    bool pin;
    unsigned generation;
    struct sf_row_usage was, is;
};

/* The chunks of the content go to the other queue. */
static int
move_chunks(struct sf_txn *txn, struct pinning *p)
{
    for (uint32_t next = 0;;) {
        sf_autobuf struct sf_buf key = SF_BUF_INIT, value = SF_BUF_INIT;
        unsigned char from[SF_ROW_SHORT_KEY];
        struct sf_row_chunk row;
        struct sf_row_queue queue;
        uint64_t number;
        uint32_t index;
        int rc = sf_txn_next(txn, SF_TABLE_CHUNKS, from, sf_row_chunk_key(from, p->number, next),
                             &key, &value);
        if (rc)
            return rc == -ENOENT ? 0 : rc;
        sf_row_chunk_parse(key.data, &number, &index);
        if (number != p->number)
            return number < p->number ? -EUCLEAN : 0;
        if (index < next)
            return -EUCLEAN;
        rc = sf_row_chunk_get(key.data, key.len, value.data, value.len, &row);
        if (!rc)
            rc = sf_txn_queue_get(txn, row.queue, row.place, &queue);
        if (!rc)
            rc = sf_txn_queue_del(txn, row.queue, row.place);
        if (rc)
            return rc == -ENOENT ? -EUCLEAN : rc;
        p->is.bytes[row.queue] -= row.bytes;
        p->is.entries[row.queue]--;
        /* What was pinned was wanted. */
        row.queue = p->pin ? SF_QUEUE_PINNED : SF_POLICY_PROVEN;
        row.place = sf_disk_place(p->c->d);
        p->is.bytes[row.queue] += row.bytes;
        p->is.entries[row.queue]++;
        rc = sf_txn_chunk_put(txn, number, index, &row);
        if (!rc)
            rc = sf_txn_queue_put(txn, row.queue, row.place, &queue);
        if (rc || index == UINT32_MAX)
            return rc;
        next = index + 1;
    }
}

static int
pinning_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct pinning *p = (struct pinning *)w;
    struct sf_disk *d = p->c->d;
    struct sf_row_content row;
    sf_mutex_lock(&d->lock);
    bool gone = p->generation != d->generation;
    sf_mutex_unlock(&d->lock);
    if (gone)
        return -ESTALE;
    int rc = sf_txn_usage_get(txn, &p->was);
    p->is = p->was;
    sf_autobuf struct sf_buf old = SF_BUF_INIT;
    if (!rc)
        rc = sf_txn_content_get(txn, p->number, &old, &row);
    if (rc == -ENOENT && !p->pin)
        return 0;
    if (rc == -ENOENT)
        rc = sf_txn_content_new(txn, p->c, p->number, &row);
    if (rc || row.pinned == p->pin)
        return rc;
    row.pinned = p->pin;
    rc = row.pinned || row.chunks ? sf_txn_content_put(txn, p->number, &row)
                                  : sf_txn_content_del(txn, p->number, &row);
    if (!rc)
        rc = move_chunks(txn, p);
    return rc ? rc : sf_txn_usage_put(txn, &p->is);
}

int
sf_disk_pin(struct sf_disk_content *c, bool pin)
{
    struct sf_disk *d = c->d;
    struct pinning p = {.w = {.run = pinning_run, .frees = !pin}, .c = c, .pin = pin};
    sf_mutex_lock(&d->lock);
    p.generation = d->generation;
    sf_mutex_unlock(&d->lock);
    int rc = sf_content_number(c, false, &p.number);
    if (!rc)
        rc = sf_env_write_wait(d->env, &p.w);
    if (rc == -EUCLEAN)
        sf_env_distrust(d->env);
    if (rc)
        return rc == -ENOSPC || rc == -ENOMEM ? rc : -EIO;
    SF_GUARD(&d->lock);
    if (p.generation == d->generation)
        sf_usage_move_locked(d, &p.was, &p.is);
    return 0;
}

/* ---- verify --------------------------------------------------------------------------------- */

struct verify {
    struct sf_disk_verified sum;
    int (*fn)(void *arg, const struct sf_disk_verified *v);
    void *arg;
    struct sf_disk_content c; /* the one that is looked at, as far as reading needs it */
    char *unit;
};

static int
verify_chunk(void *arg, uint32_t index, uint32_t mask, uint64_t bytes)
{
    struct verify *v = arg;
    struct sf_disk *d = v->c.d;
    (void)bytes;
    for (unsigned i = 0; i < SF_UNITS; i++) {
        struct sf_chunk *ch;
        if (!(mask >> i & 1))
            continue;
        sf_mutex_lock(&d->lock);
        int rc = sf_chunk_hold_locked(d, v->c.number, index, false, &ch);
        bool here = !rc && ch->here >> i & 1;
        sf_mutex_unlock(&d->lock);
        if (rc)
            continue;
        bool good = !here || sf_disk_recheck(&v->c, ch, i, v->unit);
        sf_chunk_release(d, ch);
        if (!here)
            continue;
        v->sum.units++;
        v->sum.bytes += sf_unit_len(v->c.size, (uint64_t)index * SF_UNITS + i);
        v->sum.bad += !good;
        int stop = v->fn ? v->fn(v->arg, &v->sum) : 0;
        if (stop)
            return stop;
    }
    return 0;
}

static int
verify_content(void *arg, const struct sf_disk_row *row)
{
    struct verify *v = arg;
    v->c.size = row->size;
    v->c.number = row->number;
    return sf_disk_each_chunk(v->c.d, row->number, verify_chunk, v);
}

int
sf_disk_verify(struct sf_disk *d, int (*fn)(void *arg, const struct sf_disk_verified *v), void *arg,
               struct sf_disk_verified *out)
{
    struct verify v = {.fn = fn, .arg = arg, .c.d = d, .unit = malloc(SF_UNIT)};
    int rc = v.unit ? sf_disk_each(d, 0, verify_content, &v) : -ENOMEM;
    free(v.unit);
    *out = v.sum;
    return rc;
}
