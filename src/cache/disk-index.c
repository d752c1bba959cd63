/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "cache/disk-internal.h"

#define SLOW_MS 100 /* after a page of the index came from the disk, others may have to */

static int64_t
wall_ms(void)
{
    return sf_wall_ns() / 1000000;
}

/* ---- reading -------------------------------------------------------------------------------- */

int
sf_index_read(struct sf_disk *d, unsigned table, const void *key, size_t len, sf_env_value_fn fn,
              void *arg)
{
    struct rusage before, after;
    getrusage(RUSAGE_THREAD, &before);
    int rc = sf_env_read(d->env, table, key, len, fn, arg);
    getrusage(RUSAGE_THREAD, &after);
    if (after.ru_majflt != before.ru_majflt)
        atomic_store_explicit(&d->slow_until_ms, sf_clock_ms() + SLOW_MS, memory_order_relaxed);
    return rc;
}

bool
sf_index_slow(struct sf_disk *d)
{
    int64_t until = atomic_load_explicit(&d->slow_until_ms, memory_order_relaxed);
    return until && until > sf_clock_ms();
}

struct chunk_key {
    unsigned char key[SF_ROW_SHORT_KEY];
    size_t len;
    struct sf_row_chunk *row;
};

static int
got_chunk(void *arg, const void *value, size_t len)
{
    struct chunk_key *k = arg;
    return sf_row_chunk_get(k->key, k->len, value, len, k->row);
}

int
sf_index_load_chunk(struct sf_disk *d, uint64_t number, uint32_t index, struct sf_row_chunk *ret)
{
    struct chunk_key k = {.row = ret};
    k.len = sf_row_chunk_key(k.key, number, index);
    return sf_index_read(d, SF_TABLE_CHUNKS, k.key, k.len, got_chunk, &k);
}

/* ---- rows in transactions ------------------------------------------------------------------- */

int
sf_txn_usage_get(struct sf_txn *txn, struct sf_row_usage *u)
{
    sf_autobuf struct sf_buf v = SF_BUF_INIT;
    const char *key = SF_META_USAGE;
    int rc = sf_txn_get(txn, SF_TABLE_META, key, strlen(key), &v);
    if (!rc)
        rc = sf_row_usage_get(key, strlen(key), v.data, v.len, u);
    return rc == -ENOENT ? -EUCLEAN : rc;
}

int
sf_txn_usage_put(struct sf_txn *txn, const struct sf_row_usage *u)
{
    unsigned char v[SF_ROW_USAGE_LEN];
    const char *key = SF_META_USAGE;
    /* Less than nothing: a damaged tree has led to a page of the past, whose rows look well. */
    for (int q = 0; q < SF_ROW_QUEUES; q++)
        if (u->bytes[q] >> 62 || u->entries[q] >> 62)
            return -EUCLEAN;
    return sf_txn_put(txn, SF_TABLE_META, key, strlen(key), v,
                      sf_row_usage_put(v, key, strlen(key), u));
}

int
sf_txn_chunk_get(struct sf_txn *txn, uint64_t number, uint32_t index, struct sf_row_chunk *row)
{
    sf_autobuf struct sf_buf v = SF_BUF_INIT;
    unsigned char key[SF_ROW_SHORT_KEY];
    size_t len = sf_row_chunk_key(key, number, index);
    int rc = sf_txn_get(txn, SF_TABLE_CHUNKS, key, len, &v);
    return rc ? rc : sf_row_chunk_get(key, len, v.data, v.len, row);
}

int
sf_txn_chunk_put(struct sf_txn *txn, uint64_t number, uint32_t index,
                 const struct sf_row_chunk *row)
{
    unsigned char key[SF_ROW_SHORT_KEY], v[SF_ROW_CHUNK_MAX];
    size_t len = sf_row_chunk_key(key, number, index);
    return sf_txn_put(txn, SF_TABLE_CHUNKS, key, len, v, sf_row_chunk_put(v, key, len, row));
}

int
sf_txn_queue_get(struct sf_txn *txn, unsigned queue, uint64_t place, struct sf_row_queue *row)
{
    sf_autobuf struct sf_buf v = SF_BUF_INIT;
    unsigned char key[SF_ROW_SHORT_KEY];
    size_t len = sf_row_queue_key(key, queue, place);
    int rc = sf_txn_get(txn, SF_TABLE_QUEUE, key, len, &v);
    if (!rc)
        rc = sf_row_queue_get(key, len, v.data, v.len, row);
    return rc == -ENOENT ? -EUCLEAN : rc;
}

int
sf_txn_queue_put(struct sf_txn *txn, unsigned queue, uint64_t place, const struct sf_row_queue *row)
{
    unsigned char key[SF_ROW_SHORT_KEY], v[SF_ROW_QUEUE_LEN];
    size_t len = sf_row_queue_key(key, queue, place);
    return sf_txn_put(txn, SF_TABLE_QUEUE, key, len, v, sf_row_queue_put(v, key, len, row));
}

int
sf_txn_queue_del(struct sf_txn *txn, unsigned queue, uint64_t place)
{
    unsigned char key[SF_ROW_SHORT_KEY];
    return sf_txn_del(txn, SF_TABLE_QUEUE, key, sf_row_queue_key(key, queue, place));
}

/* A name that meanwhile means another content stays. */
int
sf_txn_name_del(struct sf_txn *txn, const char *key, size_t len, uint64_t number)
{
    sf_autobuf struct sf_buf v = SF_BUF_INIT;
    uint64_t now;
    int rc = sf_txn_get(txn, SF_TABLE_NAMES, key, len, &v);
    if (!rc)
        rc = sf_row_name_get(key, len, v.data, v.len, &now);
    if (!rc && now == number)
        rc = sf_txn_del(txn, SF_TABLE_NAMES, key, len);
    return rc == -ENOENT ? 0 : rc;
}

int
sf_txn_content_get(struct sf_txn *txn, uint64_t number, struct sf_buf *bytes,
                   struct sf_row_content *row)
{
    unsigned char key[SF_ROW_SHORT_KEY];
    size_t len = sf_row_content_key(key, number);
    int rc = sf_txn_get(txn, SF_TABLE_CONTENTS, key, len, bytes);
    return rc ? rc : sf_row_content_get(key, len, bytes->data, bytes->len, row);
}

int
sf_txn_content_put(struct sf_txn *txn, uint64_t number, const struct sf_row_content *row)
{
    sf_autobuf struct sf_buf v = SF_BUF_INIT;
    unsigned char key[SF_ROW_SHORT_KEY];
    size_t len = sf_row_content_key(key, number);
    int rc = sf_row_content_put(&v, key, len, row);
    return rc ? rc : sf_txn_put(txn, SF_TABLE_CONTENTS, key, len, v.data, v.len);
}

int
sf_txn_content_del(struct sf_txn *txn, uint64_t number, const struct sf_row_content *row)
{
    unsigned char key[SF_ROW_SHORT_KEY];
    int rc = sf_txn_del(txn, SF_TABLE_CONTENTS, key, sf_row_content_key(key, number));
    for (unsigned i = 0; i < row->n_names && !rc; i++)
        rc = sf_txn_name_del(txn, row->names[i].key, row->names[i].len, number);
    return rc;
}

int
sf_txn_content_new(struct sf_txn *txn, struct sf_disk_content *c, uint64_t number,
                   struct sf_row_content *row)
{
    unsigned char v[SF_ROW_NAME_LEN];
    struct sf_disk *d = c->d;
    sf_mutex_lock(&d->lock);
    *row = (struct sf_row_content){.size = c->size, .identity = sf_content_identity_locked(c)};
    for (struct sf_disk_alias *n = c->names; n; n = n->next) {
        if (row->n_names == SF_ROW_NAMES_MAX)
            memmove(row->names, row->names + 1, --row->n_names * sizeof row->names[0]);
        row->names[row->n_names].key = n->key;
        row->names[row->n_names++].len = n->len;
    }
    sf_mutex_unlock(&d->lock);
    int rc = 0;
    for (unsigned i = 0; i < row->n_names && !rc; i++) {
        const char *key = row->names[i].key;
        size_t len = row->names[i].len;
        rc = sf_txn_put(txn, SF_TABLE_NAMES, key, len, v, sf_row_name_put(v, key, len, number));
    }
    return rc;
}

/* One chunk less; the last one takes the row along, unless it is pinned. */
static int
leave_content(struct sf_txn *txn, uint64_t number, uint64_t *size)
{
    sf_autobuf struct sf_buf v = SF_BUF_INIT;
    struct sf_row_content row;
    int rc = sf_txn_content_get(txn, number, &v, &row);
    if (rc || !row.chunks)
        return rc && rc != -ENOENT ? rc : -EUCLEAN;
    *size = row.size;
    row.chunks--;
    return row.chunks || row.pinned ? sf_txn_content_put(txn, number, &row)
                                    : sf_txn_content_del(txn, number, &row);
}

static int
remove_values(struct sf_txn *txn, uint64_t number, uint32_t mask)
{
    unsigned char key[SF_ROW_SHORT_KEY];
    int rc = 0;
    for (unsigned i = 0; i < SF_UNITS && !rc; i++)
        if (mask >> i & 1)
            rc = sf_txn_del(txn, SF_TABLE_UNITS, key, sf_row_unit_key(key, number, i));
    return rc == -ENOENT ? -EUCLEAN : rc;
}

int
sf_txn_chunk_remove(struct sf_txn *txn, uint64_t number, uint32_t index, uint32_t mask)
{
    unsigned char key[SF_ROW_SHORT_KEY];
    uint64_t size = 0;
    int rc = leave_content(txn, number, &size);
    if (!rc && sf_disk_small(size))
        rc = remove_values(txn, number, mask);
    if (!rc)
        rc = sf_txn_del(txn, SF_TABLE_CHUNKS, key, sf_row_chunk_key(key, number, index));
    return rc == -ENOENT ? -EUCLEAN : rc;
}

void
sf_usage_move_locked(struct sf_disk *d, const struct sf_row_usage *was,
                     const struct sf_row_usage *is)
{
    for (int q = 0; q < SF_ROW_QUEUES; q++) {
        d->usage.bytes[q] += is->bytes[q] - was->bytes[q];
        d->usage.entries[q] += is->entries[q] - was->entries[q];
    }
}

uint64_t
sf_disk_place(struct sf_disk *d)
{
    SF_GUARD(&d->lock);
    return d->next_place++;
}

/* ---- the beginning -------------------------------------------------------------------------- */

struct begin {
    struct sf_env_write w;
    struct sf_disk *d;
    uint32_t starts;
    struct sf_row_usage usage;
};

static int
begin_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct begin *b = (struct begin *)w;
    sf_autobuf struct sf_buf v = SF_BUF_INIT;
    unsigned char out[SF_ROW_META_LEN];
    const char *key = SF_META_CACHE;
    sf_mutex_lock(&b->d->lock);
    b->starts = b->d->starts;
    sf_mutex_unlock(&b->d->lock);
    b->usage = (struct sf_row_usage){0};
    int rc = sf_txn_get(txn, SF_TABLE_META, key, strlen(key), &v);
    if (!rc) {
        uint32_t starts;
        rc = sf_row_meta_get(key, strlen(key), v.data, v.len, &starts);
        if (!rc)
            rc = sf_txn_usage_get(txn, &b->usage);
        if (!rc && starts > b->starts)
            b->starts = starts;
    } else if (rc == -ENOENT)
        rc = sf_txn_usage_put(txn, &b->usage);
    b->starts++;
    return rc ? rc
              : sf_txn_put(txn, SF_TABLE_META, key, strlen(key), out,
                           sf_row_meta_put(out, key, strlen(key), b->starts));
}

/* Numbers and places of this start are above all earlier ones. */
static void
begin_done(struct sf_env_write *w, int rc)
{
    struct begin *b = (struct begin *)w;
    struct sf_disk *d = b->d;
    if (rc == -EUCLEAN)
        sf_env_distrust(d->env);
    sf_mutex_lock(&d->lock);
    if (!rc) {
        d->starts = b->starts;
        d->next_number = d->next_place = (uint64_t)d->starts << 40 | 1;
        d->usage = b->usage;
    }
    sf_cond_broadcast(&d->changed);
    sf_mutex_unlock(&d->lock);
    free(b);
}

static int
no_value(void *arg, const void *value, size_t len)
{
    (void)arg, (void)value, (void)len;
    return 0;
}

static int
submit_begin(struct sf_disk *d)
{
    struct begin *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    b->d = d;
    b->w = (struct sf_env_write){.run = begin_run, .done = begin_done, .frees = true};
    sf_env_submit(d->env, &b->w);
    return 0;
}

/* An index that does not know of any block: what is there belongs to one that is gone. */
int
sf_index_begin(struct sf_disk *d)
{
    const char *key = SF_META_CACHE;
    int rc = sf_env_read(d->env, SF_TABLE_META, key, strlen(key), no_value, NULL);
    if (rc == -ENOENT && (rc = sf_blocks_move_away(d)) == 0)
        rc = sf_blocks_open(d, NULL);
    if (!rc || rc == -EUCLEAN)
        rc = submit_begin(d);
    if (rc)
        return rc;
    int64_t end = sf_clock_ms() + 10000;
    SF_GUARD(&d->lock);
    while (!d->next_number && sf_clock_ms() < end)
        (void)sf_cond_timedwait_ms(&d->changed, &d->lock, end);
    return d->next_number ? 0 : -EIO;
}

/* On the environment's thread. Contents get other numbers, what is under way finds that its
 * generation is gone. */
void
sf_index_on_reset(void *arg)
{
    struct sf_disk *d = arg;
    struct sf_disk_content *c;
    (void)sf_blocks_move_away(d);
    (void)sf_blocks_open(d, NULL);
    sf_mutex_lock(&d->lock);
    d->generation++;
    d->starts++;
    d->next_number = d->next_place = (uint64_t)d->starts << 40 | 1;
    d->usage = (struct sf_row_usage){0};
    LIST_FOREACH(c, &d->contents, all)
    c->number = 0;
    sf_mutex_unlock(&d->lock);
    sf_chunks_forget(d, false);
    (void)submit_begin(d);
}

/* ---- units that were written ---------------------------------------------------------------- */

struct add {
    struct sf_env_write w;
    struct sf_disk_content *c;
    struct sf_chunk *ch;
    uint64_t number, reserved;
    unsigned generation;
    uint32_t mask, sums[SF_UNITS];
    struct sf_row_usage was, is;
    size_t data_len;
    char data[]; /* of a small content */
};

/* The content has one chunk more. */
static int
enter_content(struct sf_txn *txn, const struct add *a, struct sf_row_content *row)
{
    sf_autobuf struct sf_buf v = SF_BUF_INIT;
    int rc = sf_txn_content_get(txn, a->number, &v, row);
    if (rc == -ENOENT)
        rc = sf_txn_content_new(txn, a->c, a->number, row);
    row->chunks++;
    return rc ? rc : sf_txn_content_put(txn, a->number, row);
}

static int
put_values(struct sf_txn *txn, const struct add *a)
{
    unsigned char key[SF_ROW_SHORT_KEY];
    const char *p = a->data;
    int rc = 0;
    for (unsigned i = 0; i < SF_UNITS && a->data_len && !rc; i++) {
        if (!(a->mask >> i & 1))
            continue;
        uint32_t n = sf_unit_len(a->c->size, i);
        rc = sf_txn_put(txn, SF_TABLE_UNITS, key, sf_row_unit_key(key, a->number, i), p, n);
        p += n;
    }
    return rc;
}

static int
add_rows(struct sf_txn *txn, struct add *a)
{
    struct sf_disk *d = a->c->d;
    struct sf_row_content content;
    struct sf_row_chunk row = {0};
    struct sf_row_queue queue;
    uint32_t index = a->ch->id.index;
    int rc = sf_txn_usage_get(txn, &a->was);
    a->is = a->was;
    if (!rc)
        rc = sf_txn_chunk_get(txn, a->number, index, &row);
    if (!rc)
        rc = sf_txn_queue_get(txn, row.queue, row.place, &queue);
    else if (rc == -ENOENT) {
        rc = enter_content(txn, a, &content);
        queue = (struct sf_row_queue){.number = a->number,
                                      .chunk = index,
                                      .identity = content.identity,
                                      .queued_ms = wall_ms()};
        row.queue = content.pinned ? SF_QUEUE_PINNED
                                   : sf_policy_admit(d->policy, content.identity, index,
                                                     sf_units_charge(a->c->size, index, a->mask),
                                                     queue.queued_ms);
        row.place = sf_disk_place(d);
        a->is.entries[row.queue]++;
    }
    if (rc)
        return rc;
    a->is.bytes[row.queue] -= row.bytes;
    row.mask |= a->mask;
    for (unsigned i = 0; i < SF_UNITS; i++)
        if (a->mask >> i & 1)
            row.sums[i] = a->sums[i];
    row.bytes = queue.bytes = SF_CHUNK_ROWS + sf_units_charge(a->c->size, index, row.mask);
    a->is.bytes[row.queue] += row.bytes;
    rc = put_values(txn, a);
    if (!rc)
        rc = sf_txn_chunk_put(txn, a->number, index, &row);
    if (!rc)
        rc = sf_txn_queue_put(txn, row.queue, row.place, &queue);
    return rc ? rc : sf_txn_usage_put(txn, &a->is);
}

static int
add_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct add *a = (struct add *)w;
    sf_mutex_lock(&a->c->d->lock);
    bool gone = a->generation != a->c->d->generation;
    sf_mutex_unlock(&a->c->d->lock);
    return gone ? -ESTALE : add_rows(txn, a);
}

static void
add_done(struct sf_env_write *w, int rc)
{
    struct add *a = (struct add *)w;
    struct sf_disk *d = a->c->d;
    bool file = !a->data_len;
    if (rc == -EUCLEAN)
        sf_env_distrust(d->env);
    else if (rc && rc != -ENOSPC && rc != -ESTALE)
        sf_disk_failed(d, SF_DISK_WRITE, rc, "the index cannot be written");
    else if (!rc)
        sf_disk_worked(d, SF_DISK_WRITE);
    sf_mutex_lock(&d->lock);
    d->reserved -= a->reserved;
    d->values -= a->data_len;
    if (!rc && a->generation == d->generation)
        sf_usage_move_locked(d, &a->was, &a->is);
    a->ch->writing &= ~a->mask;
    if (file && rc)
        a->ch->here &= ~a->mask;
    else if (!file && !rc)
        a->ch->here |= a->mask;
    if (rc)
        atomic_fetch_add(&d->dropped, a->reserved);
    sf_chunk_commit_end_locked(d, a->ch);
    sf_cond_broadcast(&d->changed);
    sf_mutex_unlock(&d->lock);
    if (rc && file)
        sf_disk_want_check(d); /* bytes that no row names */
    sf_disk_unref(a->c);
    free(a);
}

int
sf_index_add(struct sf_disk_content *c, uint64_t number, struct sf_chunk *ch, uint32_t mask,
             uint64_t reserved, const void *data)
{
    struct sf_disk *d = c->d;
    size_t len = 0;
    for (unsigned i = 0; data && i < SF_UNITS; i++)
        if (mask >> i & 1)
            len += sf_unit_len(c->size, i);
    struct add *a = calloc(1, sizeof *a + len);
    if (!a)
        return -ENOMEM;
    /* Nobody waits, but what lies in memory until then should not for long. */
    a->w = (struct sf_env_write){.run = add_run, .done = add_done, .lazy = !data};
    a->c = c;
    a->ch = ch;
    a->number = number;
    a->reserved = reserved;
    a->mask = mask;
    a->data_len = len;
    if (len)
        memcpy(a->data, data, len);
    sf_disk_ref(c);
    sf_mutex_lock(&d->lock);
    a->generation = d->generation;
    bool gone = c->number != number;
    memcpy(a->sums, ch->sums, sizeof a->sums);
    d->values += len;
    sf_mutex_unlock(&d->lock);
    if (gone)
        a->generation--;
    sf_env_submit(d->env, &a->w);
    return 0;
}

/* ---- units that are bad --------------------------------------------------------------------- */

struct drop {
    struct sf_env_write w;
    struct sf_disk *d;
    struct sf_chunk *ch;
    uint64_t number, size;
    uint32_t index, mask;
    unsigned generation;
    struct sf_row_usage was, is;
    bool all;
};

static int
drop_rows(struct sf_txn *txn, struct drop *p)
{
    struct sf_row_chunk row = {0};
    struct sf_row_queue queue;
    int rc = sf_txn_usage_get(txn, &p->was);
    p->is = p->was;
    if (!rc)
        rc = sf_txn_chunk_get(txn, p->number, p->index, &row);
    if (rc || !(row.mask & p->mask))
        return rc == -ENOENT ? 0 : rc;
    rc = sf_txn_queue_get(txn, row.queue, row.place, &queue);
    if (rc)
        return rc;
    p->is.bytes[row.queue] -= row.bytes;
    if (!(row.mask & ~p->mask)) {
        p->all = true;
        p->is.entries[row.queue]--;
        rc = sf_txn_queue_del(txn, row.queue, row.place);
        if (!rc)
            rc = sf_txn_chunk_remove(txn, p->number, p->index, row.mask);
        return rc ? rc : sf_txn_usage_put(txn, &p->is);
    }
    if (sf_disk_small(p->size))
        rc = remove_values(txn, p->number, row.mask & p->mask);
    row.mask &= ~p->mask;
    row.bytes = queue.bytes = SF_CHUNK_ROWS + sf_units_charge(p->size, p->index, row.mask);
    p->is.bytes[row.queue] += row.bytes;
    if (!rc)
        rc = sf_txn_chunk_put(txn, p->number, p->index, &row);
    if (!rc)
        rc = sf_txn_queue_put(txn, row.queue, row.place, &queue);
    return rc ? rc : sf_txn_usage_put(txn, &p->is);
}

static int
drop_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct drop *p = (struct drop *)w;
    p->all = false;
    sf_mutex_lock(&p->d->lock);
    bool gone = p->generation != p->d->generation;
    sf_mutex_unlock(&p->d->lock);
    return gone ? -ESTALE : drop_rows(txn, p);
}

static void
drop_done(struct sf_env_write *w, int rc)
{
    struct drop *p = (struct drop *)w;
    struct sf_disk *d = p->d;
    if (rc == -EUCLEAN)
        sf_env_distrust(d->env);
    sf_mutex_lock(&d->lock);
    if (!rc && p->generation == d->generation)
        sf_usage_move_locked(d, &p->was, &p->is);
    p->ch->dropping &= ~p->mask;
    sf_chunk_commit_end_locked(d, p->ch);
    bool file = p->all && !sf_disk_small(p->size);
    bool mine = !rc && file && sf_chunk_claim_locked(d, p->number, p->index);
    sf_cond_broadcast(&d->changed);
    sf_mutex_unlock(&d->lock);
    if (mine) {
        (void)sf_chunk_unlink(d, p->number, p->index);
        sf_chunk_unclaim(d, p->number, p->index, true);
    } else if (file)
        sf_disk_want_check(d); /* one that no row names, unless it is being written again */
    free(p);
}

/* Until the row is changed writers of these units wait. */
void
sf_index_drop_units(struct sf_disk *d, uint64_t size, struct sf_chunk *ch, uint32_t mask)
{
    struct drop *p = calloc(1, sizeof *p);
    sf_mutex_lock(&d->lock);
    mask &= ch->here;
    ch->here &= ~mask;
    ch->checked &= ~mask;
    if (p && mask) {
        *p = (struct drop){.w = {.run = drop_run, .done = drop_done, .frees = true},
                           .d = d,
                           .ch = ch,
                           .number = ch->id.number,
                           .index = ch->id.index,
                           .size = size,
                           .mask = mask,
                           .generation = d->generation};
        ch->dropping |= mask;
        sf_chunk_commit_begin_locked(ch);
    }
    int fd = p && mask && ch->writable ? ch->fd : -1;
    sf_mutex_unlock(&d->lock);
    for (unsigned i = 0; i < SF_UNITS && fd >= 0; i++)
        if (mask >> i & 1)
            (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)i * SF_UNIT,
                            SF_UNIT);
    if (p && mask)
        sf_env_submit(d->env, &p->w);
    else
        free(p);
}
