/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tables/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "observe/counter.h"

#define BATCH_BYTES  (512u << 10) /* of the rows of one table */
#define ACCESSES_MAX 500
#define SHRINK_ROWS  1000 /* of one transaction */

static const enum table queue[] = {T_READS, T_OPS, T_CHANGES};
#define QUEUES (sizeof queue / sizeof *queue)

static void
rows_gone(struct sf_tables *t, uint64_t n)
{
    atomic_fetch_sub(&t->queued, (int64_t)n);
}

/* ---- a batch is begun ------------------------------------------------------------------------ */

/*
 * What is sent under one id never changes, or a lost reply could lose or double something: so the
 * id and how far it goes are written down before the first request, and the access counts, which
 * have no row of their own, with them.
 */
struct begin {
    struct sf_env_write w;
    struct sf_tables *t;
    size_t limit;
};

/* Up to which row of this table; 0 = it is empty, UINT64_MAX = to its end. */
static int
reach(struct sf_txn *txn, enum table table, size_t limit, uint64_t *hi)
{
    sf_autobuf struct sf_buf key = SF_BUF_INIT, value = SF_BUF_INIT;
    unsigned char from[8] = {0};
    uint64_t last = 0;
    size_t bytes = 0;
    *hi = 0;
    for (size_t n = 0; n < limit && bytes < BATCH_BYTES; n++) {
        sf_buf_clear(&key);
        sf_buf_clear(&value);
        int rc = sf_txn_next(txn, table, from, sizeof from, &key, &value);
        if (rc == -ENOENT) {
            *hi = n ? UINT64_MAX : 0;
            return 0;
        }
        if (rc)
            return rc;
        last = time_of_key(key.data, key.len);
        bytes += value.len;
        time_key(last + 1, from);
    }
    *hi = last;
    return 0;
}

/* Counts go from the table into the batch. */
static int
take_accesses(struct sf_txn *txn, json_t *list)
{
    for (size_t i = 0; i < ACCESSES_MAX; i++) {
        sf_autobuf struct sf_buf id = SF_BUF_INIT, value = SF_BUF_INIT;
        struct count c = {0};
        char time[32];
        int rc = sf_txn_next(txn, T_UNSENT, "", 1, &id, &value);
        if (rc == -ENOENT)
            return 0;
        if (!rc)
            rc = sf_txn_del(txn, T_UNSENT, id.data, id.len);
        if (rc)
            return rc;
        if (value.len == sizeof c)
            memcpy(&c, value.data, sizeof c);
        sf_time_format_ms(c.last_ns, time);
        json_t *row = c.n ? json_pack("{s:s, s:I, s:s}", "file_id", id.data, "n", (json_int_t)c.n,
                                      "last", time)
                          : NULL; /* damaged */
        if (row && json_array_append_new(list, row))
            return -ENOMEM;
    }
    return 0;
}

static int
begin_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct begin *b = (struct begin *)w;
    sf_autobuf struct sf_buf was = SF_BUF_INIT;
    uint64_t hi = UINT64_MAX;
    bool any = false;
    char id[37];
    int rc = sf_txn_get(txn, T_BATCH, BATCH_KEY, strlen(BATCH_KEY), &was);
    if (rc != -ENOENT)
        return rc;
    for (size_t i = 0; i < QUEUES; i++) {
        uint64_t end;
        rc = reach(txn, queue[i], b->limit, &end);
        if (rc)
            return rc;
        any = any || end;
        if (end && end < hi)
            hi = end;
    }
    /* The database counts where there is a row: counts come with the last of the rows. */
    bool last = hi == UINT64_MAX;
    if (last)
        hi = any ? b->t->last_key : 0;
    rc = sf_uuid4(id);
    json_t *accesses = json_array();
    if (!rc && last && (b->limit > 1 || !any))
        rc = accesses ? take_accesses(txn, accesses) : -ENOMEM;
    if (!rc && !any && !json_array_size(accesses))
        rc = -ENOENT;
    if (rc) {
        json_decref(accesses);
        return rc;
    }
    sf_autofree char *text = json_text(
        json_pack("{s:s, s:I, s:o}", "id", id, "hi", (json_int_t)hi, "accesses", accesses));
    return text ? sf_txn_put(txn, T_BATCH, BATCH_KEY, strlen(BATCH_KEY), text, strlen(text))
                : -ENOMEM;
}

/* ---- its text -------------------------------------------------------------------------------- */

struct reading {
    struct sf_tables *t;
    struct batch *b;
    json_t *ops;
    json_t *files; /* by id: the last word on each */
    json_t *names; /* name -> who has it */
    size_t damaged;
};

static int
read_op(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
    struct reading *r = arg;
    if (time_of_key(key, key_len) > r->b->hi)
        return 1;
    r->b->rows++;
    json_t *op = row_parse(value, len);
    r->damaged += !op;
    return op && json_array_append_new(r->ops, op) ? -ENOMEM : 0;
}

/* The database hears of each object once in a batch: of its last state. */
static int
merge(struct reading *r, json_t *change, const char *name)
{
    const char *id = text_of(change, "file_id"), *holder = text_of(r->names, name);
    bool removed = json_is_true(json_object_get(change, "removed"));
    json_t *was = json_object_get(r->files, id);
    if (*holder && strcmp(holder, id) != 0 && !removed)
        json_object_del(r->files, holder); /* who has the name now takes that one's place */
    bool fits = was && !removed && !json_is_true(json_object_get(was, "removed"));
    int rc = fits ? json_object_update(was, change) : json_object_set(r->files, id, change);
    if (!rc && removed && strcmp(holder, id) == 0)
        json_object_del(r->names, name);
    else if (!rc && !removed)
        rc = json_object_set_new(r->names, name, json_string(id));
    return rc ? -ENOMEM : 0;
}

static int
read_change(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
    struct reading *r = arg;
    sf_autobuf struct sf_buf name = SF_BUF_INIT;
    if (time_of_key(key, key_len) > r->b->hi)
        return 1;
    r->b->rows++;
    json_t *change = row_parse(value, len);
    if (change && !*text_of(change, "file_id")) {
        json_decref(change);
        change = NULL;
    }
    r->damaged += !change;
    int rc =
        change && sf_buf_printf(&name, "%s/%s", text_of(change, "bucket"), text_of(change, "key"))
            ? -ENOMEM
            : 0;
    if (change && !rc)
        rc = merge(r, change, name.data);
    json_decref(change);
    return rc;
}

/* Removals first: what has taken a name follows. */
static json_t *
files_list(json_t *files)
{
    json_t *list = json_array(), *row;
    const char *at;
    for (int removed = 1; list && removed >= 0; removed--)
        json_object_foreach(files, at,
                            row) if (json_is_true(json_object_get(row, "removed")) == removed &&
                                     json_array_append(list, row))
        {
            json_decref(list);
            return NULL;
        }
    return list;
}

static int
read_rows(struct reading *r)
{
    struct sf_env *env = r->t->env;
    int rc = r->ops && r->files && r->names ? 0 : -ENOMEM;
    for (size_t i = 0; i < QUEUES && rc >= 0; i++)
        rc = sf_env_walk(env, queue[i], NULL, 0, queue[i] == T_CHANGES ? read_change : read_op, r);
    return rc < 0 ? rc : 0;
}

static int
batch_text(struct sf_tables *t, struct batch *b, json_t *accesses)
{
    struct reading r = {
        .t = t, .b = b, .ops = json_array(), .files = json_object(), .names = json_object()};
    int rc = read_rows(&r);
    json_t *list = rc ? NULL : files_list(r.files);
    sf_autofree char *text =
        list ? json_text(json_pack("{s:s, s:o, s:O, s:O}", "p_batch", b->id, "p_files", list,
                                   "p_operations", r.ops, "p_accesses", accesses))
             : NULL;
    json_decref(r.ops);
    json_decref(r.files);
    json_decref(r.names);
    if (r.damaged) {
        atomic_fetch_add(&t->dropped, r.damaged);
        sf_count(SF_C_TABLES_DROPPED, r.damaged);
    }
    return rc ? rc : text ? sf_buf_puts(&b->json, text) : -ENOMEM;
}

int
batch_take(struct sf_tables *t, size_t limit, struct batch *out)
{
    struct begin w = {.w = {.run = begin_run}, .t = t, .limit = limit};
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct batch b = {.json = SF_BUF_INIT};
    int rc = sf_env_write_wait(t->env, &w.w);
    if (!rc)
        rc = sf_env_get(t->env, T_BATCH, BATCH_KEY, strlen(BATCH_KEY), &text);
    json_t *row = rc ? NULL : row_parse(text.data, text.len);
    json_t *accesses = json_object_get(row, "accesses");
    snprintf(b.id, sizeof b.id, "%s", text_of(row, "id"));
    b.hi = (uint64_t)json_integer_value(json_object_get(row, "hi"));
    if (!rc && (strlen(b.id) != ID_LEN || !json_is_array(accesses))) { /* damaged: a new one */
        (void)batch_undo(t, &b);
        rc = -EAGAIN;
    }
    b.accesses = json_array_size(accesses);
    if (!rc)
        rc = batch_text(t, &b, accesses);
    json_decref(row);
    if (rc)
        batch_fini(&b);
    else
        *out = b;
    return rc;
}

void
batch_fini(struct batch *b)
{
    sf_buf_fini(&b->json);
}

/* ---- its end --------------------------------------------------------------------------------- */

struct end {
    struct sf_env_write w;
    uint64_t hi;
    bool undo;
    uint64_t rows;
};

/* Rows up to @hi, @max at most. */
static int
drop_rows(struct sf_txn *txn, enum table table, uint64_t hi, uint64_t max, uint64_t *n)
{
    unsigned char from[8] = {0};
    for (uint64_t i = 0; i < max; i++) {
        sf_autobuf struct sf_buf key = SF_BUF_INIT;
        int rc = sf_txn_next(txn, table, from, sizeof from, &key, NULL);
        if (rc == -ENOENT || (!rc && time_of_key(key.data, key.len) > hi))
            return 0;
        if (!rc)
            rc = sf_txn_del(txn, table, key.data, key.len);
        if (rc)
            return rc;
        ++*n;
    }
    return 0;
}

/* The counts of a batch that is given up are to be sent again. */
static int
return_accesses(struct sf_txn *txn)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    int rc = sf_txn_get(txn, T_BATCH, BATCH_KEY, strlen(BATCH_KEY), &text);
    json_t *row = rc ? NULL : row_parse(text.data, text.len), *a;
    size_t i;
    rc = rc == -ENOENT ? 0 : rc;
    json_array_foreach(json_object_get(row, "accesses"), i, a)
    {
        const char *id = text_of(a, "file_id");
        sf_autobuf struct sf_buf was = SF_BUF_INIT;
        struct count c = {0}, back = {.n = (uint64_t)json_integer_value(json_object_get(a, "n"))};
        if (rc || strlen(id) != ID_LEN || sf_time_parse(text_of(a, "last"), &back.last_ns))
            continue;
        rc = sf_txn_get(txn, T_UNSENT, id, ID_LEN, &was);
        if (!rc && was.len == sizeof c)
            memcpy(&c, was.data, sizeof c);
        c.n += back.n;
        c.last_ns = c.last_ns < back.last_ns ? back.last_ns : c.last_ns;
        rc = rc && rc != -ENOENT ? rc : sf_txn_put(txn, T_UNSENT, id, ID_LEN, &c, sizeof c);
    }
    json_decref(row);
    return rc;
}

static int
end_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct end *e = (struct end *)w;
    int rc = e->undo ? return_accesses(txn) : 0;
    e->rows = 0;
    for (size_t i = 0; i < QUEUES && !rc && !e->undo; i++)
        rc = drop_rows(txn, queue[i], e->hi, UINT64_MAX, &e->rows);
    if (!rc)
        rc = sf_txn_del(txn, T_BATCH, BATCH_KEY, strlen(BATCH_KEY));
    return rc == -ENOENT ? 0 : rc;
}

static int
batch_end(struct sf_tables *t, const struct batch *b, bool undo)
{
    struct end e = {.w = {.run = end_run, .frees = !undo}, .hi = b->hi, .undo = undo};
    int rc = sf_env_write_wait(t->env, &e.w);
    if (!rc)
        rows_gone(t, e.rows);
    return rc;
}

int
batch_done(struct sf_tables *t, const struct batch *b)
{
    return batch_end(t, b, false);
}

int
batch_undo(struct sf_tables *t, const struct batch *b)
{
    return batch_end(t, b, true);
}

/* ---- the bound ------------------------------------------------------------------------------- */

struct shrink {
    struct sf_env_write w;
    uint64_t rows, others;
};

/* Rows of a table that is no part of the queue. */
static int
drop_any(struct sf_txn *txn, enum table table, uint64_t *n)
{
    for (unsigned i = 0; i < SHRINK_ROWS; i++) {
        sf_autobuf struct sf_buf key = SF_BUF_INIT;
        int rc = sf_txn_next(txn, table, "", 1, &key, NULL);
        if (rc == -ENOENT)
            return 0;
        if (!rc)
            rc = sf_txn_del(txn, table, key.data, key.len);
        if (rc)
            return rc;
        ++*n;
    }
    return 0;
}

/* What is worth least goes: operations that only read, other operations, access counts, changes of
 * facts, and in the end what is known here. The oldest first. */
static int
shrink_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct shrink *s = (struct shrink *)w;
    s->rows = s->others = 0;
    int rc = drop_rows(txn, T_READS, UINT64_MAX, SHRINK_ROWS, &s->rows);
    if (!rc && !s->rows)
        rc = drop_rows(txn, T_OPS, UINT64_MAX, SHRINK_ROWS, &s->rows);
    if (!rc && !s->rows)
        rc = drop_any(txn, T_UNSENT, &s->others);
    if (!rc && !s->rows && !s->others)
        rc = drop_any(txn, T_ACCESSES, &s->others);
    if (!rc && !s->rows && !s->others)
        rc = drop_rows(txn, T_CHANGES, UINT64_MAX, SHRINK_ROWS, &s->rows);
    if (!rc && !s->rows && !s->others)
        rc = drop_any(txn, T_FILES, &s->others);
    if (!rc && !s->rows && !s->others)
        rc = drop_any(txn, T_HASHES, &s->others);
    return rc;
}

void
queue_shrink(struct sf_tables *t, uint64_t bytes)
{
    struct sf_env_stats stats;
    for (;;) {
        struct shrink s = {.w = {.run = shrink_run, .frees = true}};
        sf_env_get_stats(t->env, &stats);
        if (stats.bytes <= bytes || sf_env_write_wait(t->env, &s.w) || !(s.rows + s.others))
            return;
        rows_gone(t, s.rows);
        atomic_fetch_add(&t->dropped, s.rows + s.others);
        sf_count(SF_C_TABLES_DROPPED, s.rows + s.others);
    }
}

/* ---- what is there --------------------------------------------------------------------------- */

struct counting {
    uint64_t n, last;
};

static int
count_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct counting *c = arg;
    (void)value, (void)value_len;
    c->n++;
    c->last = time_of_key(key, key_len);
    return 0;
}

int
queue_count(struct sf_tables *t)
{
    uint64_t all = 0;
    for (size_t i = 0; i < QUEUES; i++) {
        struct counting c = {0};
        int rc = sf_env_walk(t->env, queue[i], NULL, 0, count_row, &c);
        if (rc)
            return rc;
        all += c.n;
        if (c.last > t->last_key)
            t->last_key = c.last;
    }
    atomic_store(&t->queued, (int64_t)all);
    return 0;
}

static int
first_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    uint64_t *first = arg, at = time_of_key(key, key_len);
    (void)value, (void)value_len;
    if (!*first || at < *first)
        *first = at;
    return 1;
}

int64_t
queue_oldest(struct sf_tables *t)
{
    uint64_t first = 0;
    for (size_t i = 0; i < QUEUES; i++)
        (void)sf_env_walk(t->env, queue[i], NULL, 0, first_row, &first);
    return (int64_t)first;
}
