/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "tables/internal.h"

/*
 * What is known of an object, in the database and here. The database is asked first; then the
 * environment, on its thread, which has done by then all that was noted before. What the database
 * got between the two is in neither answer, or in both: then it is all asked once more.
 */
#define ROUNDS_MAX 3

struct ask {
    struct sf_env_write w;
    struct sf_tables *t;
    sf_tables_ask_fn cb;
    void *arg;
    int64_t deadline_ms, max_age_ms;
    unsigned rounds;
    uint64_t accepted; /* batches that the database had when it was asked */
    struct known *db;  /* NULL = it was not asked, or does not know it */

    /* What is here, by the environment's thread. */
    json_t *fact;        /* NULL = none */
    bool open;           /* the database does not have all that it says */
    struct count unsent; /* of accesses, likewise, */
    struct count all;    /* and all that were made here */

    const char *bucket, *key; /* in text */
    char id[ID_LEN + 4];      /* "" = any */
    char text[];
};

static void ask_begin(struct ask *a);

/* ---- what is here ---------------------------------------------------------------------------- */

static bool
is_id(const struct ask *a, const char *id)
{
    return !a->id[0] || !*id || !strcmp(a->id, id);
}

static void
count_add(struct count *c, const struct count *more)
{
    c->n += more->n;
    c->last_ns = c->last_ns < more->last_ns ? more->last_ns : c->last_ns;
}

static int
count_get(struct sf_txn *txn, enum table table, const char *id, struct count *c)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    struct count is = {0};
    int rc = sf_txn_get(txn, table, id, strlen(id), &value);
    if (!rc && value.len == sizeof is)
        memcpy(&is, value.data, sizeof is);
    count_add(c, &is);
    return rc == -ENOENT ? 0 : rc;
}

/* Accesses that are on their way. */
static int
count_sent(struct sf_txn *txn, const char *id, struct count *c)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    int rc = sf_txn_get(txn, T_BATCH, BATCH_KEY, strlen(BATCH_KEY), &text);
    json_t *batch = rc ? NULL : row_parse(text.data, text.len), *one;
    size_t i;
    json_array_foreach(json_object_get(batch, "accesses"), i, one)
    {
        struct count is = {.n = (uint64_t)json_integer_value(json_object_get(one, "n"))};
        if (!strcmp(text_of(one, "file_id"), id) &&
            !sf_time_parse(text_of(one, "last"), &is.last_ns))
            count_add(c, &is);
    }
    json_decref(batch);
    return rc == -ENOENT ? 0 : rc;
}

static int
fact_find(struct ask *a, struct sf_txn *txn)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct name_key at;
    unsigned char queued[8];
    name_key(a->bucket, a->key, NULL, 0, &at);
    int rc = sf_txn_get(txn, T_FILES, at.b, at.len, &text);
    if (rc)
        return rc == -ENOENT ? 0 : rc;
    json_t *fact = row_parse(text.data, text.len);
    const char *id = fact ? text_of(fact, "file_id") : "";
    if (!fact || strcmp(text_of(fact, "bucket"), a->bucket) ||
        strcmp(text_of(fact, "key"), a->key) || !is_id(a, id) ||
        (a->db && *id && strcmp(id, a->db->fact.id) != 0)) {
        json_decref(fact);
        return 0;
    }
    a->fact = fact;
    time_key((uint64_t)json_integer_value(json_object_get(fact, "queued")), queued);
    sf_buf_clear(&text);
    rc = sf_txn_get(txn, T_CHANGES, queued, sizeof queued, &text);
    a->open = !*id || !rc;
    return rc == -ENOENT ? 0 : rc;
}

static const char *
id_of(const struct ask *a)
{
    const char *id = a->db ? a->db->fact.id : a->fact ? text_of(a->fact, "file_id") : "";
    return *id ? id : a->id;
}

static int
here_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct ask *a = (struct ask *)w;
    json_decref(a->fact);
    a->fact = NULL;
    a->open = false;
    a->unsent = a->all = (struct count){0};
    int rc = fact_find(a, txn);
    const char *id = id_of(a);
    access_counted(a->t, id, &a->unsent);
    access_counted(a->t, id, &a->all);
    if (!rc && *id)
        rc = count_get(txn, T_UNSENT, id, &a->unsent);
    if (!rc && *id)
        rc = count_sent(txn, id, &a->unsent);
    return rc || !*id ? rc : count_get(txn, T_ACCESSES, id, &a->all);
}

/* ---- both ------------------------------------------------------------------------------------ */

static int
tags_copy(const struct sf_dir_fact *db, char ***ret)
{
    struct sf_tables_row row = {.tags = db->n_tags ? calloc(db->n_tags + 1, sizeof(char *)) : NULL};
    for (size_t i = 0; row.tags && i < db->n_tags; i++)
        if (!(row.tags[i] = strdup(db->tags[i]))) {
            sf_tables_row_fini(&row);
            return -ENOMEM;
        }
    *ret = row.tags;
    return db->n_tags && !row.tags ? -ENOMEM : 0;
}

/* What was written here may be the very bytes that the database has. */
static bool
same_bytes(const struct sf_tables_row *here, const struct sf_dir_fact *db)
{
    if (here->version[0] && db->version[0])
        return !strcmp(here->version, db->version);
    return !strcmp(here->id, db->id) && here->etag[0] && !strcmp(here->etag, db->etag);
}

/* @row: what is here, if anything; it becomes what is known. */
static int
merge(const struct ask *a, struct sf_tables_row *row)
{
    const struct sf_dir_fact *db = &a->db->fact;
    char **tags = NULL;
    bool ours = a->open && json_object_get(a->fact, "tags");
    int rc = ours ? 0 : tags_copy(db, &tags);
    if (rc)
        return rc;
    if (db->sha256[0])
        snprintf(row->sha256, sizeof row->sha256, "%s", db->sha256);
    else if (!same_bytes(row, db))
        row->sha256[0] = '\0';
    snprintf(row->id, sizeof row->id, "%s", db->id);
    snprintf(row->version, sizeof row->version, "%s",
             strlen(db->version) < sizeof row->version ? db->version : "");
    snprintf(row->etag, sizeof row->etag, "%s",
             strlen(db->etag) < sizeof row->etag ? db->etag : "");
    row->size = db->size;
    if (!ours) {
        struct sf_tables_row old = {.tags = row->tags};
        sf_tables_row_fini(&old);
        row->tags = tags;
    }
    return 0;
}

static int
result(const struct ask *a, struct sf_tables_row *row)
{
    int rc = a->fact ? fact_row(a->fact, row) : 0;
    if (!rc && a->db)
        rc = merge(a, row);
    if (rc)
        return rc;
    struct count c = a->all;
    if (a->db) {
        struct count db = {a->db->fact.accesses, a->db->fact.last_access_ns};
        count_add(&db, &a->unsent);
        c = db.n < a->all.n ? a->all : db; /* one that forgot them, or was asked before */
    }
    row->accesses = c.n;
    row->last_access_ns = c.last_ns;
    snprintf(row->id, sizeof row->id, "%s", id_of(a));
    return a->db || a->fact || c.n ? 0 : -ENOENT;
}

/* Has the database got more since it was asked? */
static bool
is_overtaken(const struct ask *a)
{
    SF_GUARD(&a->t->lock);
    return a->db && a->accepted != a->t->accepted;
}

static void
here_done(struct sf_env_write *w, int rc)
{
    struct ask *a = (struct ask *)w;
    struct sf_tables_row row = {.size = 0};
    bool overtaken = is_overtaken(a);
    if (overtaken && a->rounds < ROUNDS_MAX) {
        known_unref(a->t, a->db);
        a->db = NULL;
        ask_begin(a);
        return;
    }
    a->open = a->open || overtaken; /* time and again: what is here counts more */
    if (!rc)
        rc = result(a, &row);
    a->cb(a->arg, rc, rc ? NULL : &row);
    sf_tables_row_fini(&row);
    known_unref(a->t, a->db);
    json_decref(a->fact);
    free(a);
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Nothing of the environment is changed, so that it has room is not needed. */
static void
ask_here(struct ask *a)
{
    a->w = (struct sf_env_write){.run = here_run, .done = here_done, .frees = true};
    sf_env_submit(a->t->env, &a->w);
}

static void
asked(void *arg, int rc, struct known *k)
{
    struct ask *a = arg;
    if (rc == -EAGAIN && a->rounds < ROUNDS_MAX) {
        ask_begin(a);
        return;
    }
    if (k && is_id(a, k->fact.id)) {
        a->db = k;
        a->accepted = k->accepted;
    } else {
        known_unref(a->t, k);
    }
    ask_here(a);
}

static void
ask_begin(struct ask *a)
{
    const struct object_args args = {.bucket = a->bucket,
                                     .key = a->key,
                                     .deadline_ms = a->deadline_ms,
                                     .max_age_ms = a->max_age_ms,
                                     .alone = true,
                                     .recent = true};
    a->rounds++;
    if (!object_ask(a->t, &args, asked, a))
        ask_here(a);
}

void
sf_tables_ask(struct sf_tables *t, const char *bucket, const char *key, const char *id,
              int64_t deadline_ms, int64_t max_age_ms, sf_tables_ask_fn cb, void *arg)
{
    size_t b = strlen(bucket) + 1, k = strlen(key) + 1;
    struct ask *a = t ? calloc(1, sizeof *a + b + k) : NULL;
    if (!a || (id && strlen(id) >= sizeof a->id)) {
        free(a);
        cb(arg, t && !a ? -ENOMEM : -ENOENT, NULL);
        return;
    }
    a->t = t;
    a->cb = cb;
    a->arg = arg;
    a->deadline_ms = deadline_ms;
    a->max_age_ms = max_age_ms;
    a->bucket = memcpy(a->text, bucket, b);
    a->key = memcpy(a->text + b, key, k);
    snprintf(a->id, sizeof a->id, "%s", id ? id : "");
    ask_begin(a);
}
