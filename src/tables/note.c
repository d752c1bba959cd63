/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tables/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/str.h"
#include "observe/counter.h"
#include "supabase/storage.h"

#define IN_FLIGHT_MAX 20000 /* notes that the disk has not taken yet */

/* One thing that happened, on its way to the environment. Who notes it makes a copy of what he was
 * told, and nothing else: all that takes time is done on the environment's thread. */
struct note {
    struct sf_env_write w;
    struct sf_tables *t;
    bool is_op; /* else tags were set, or, with has_to, another name */
    enum sf_op_kind kind;
    struct sf_file_fact f, to; /* their strings are in text */
    bool has_to;
    uint64_t bytes;
    int64_t ms, at_ns;
    int error;
    json_t *tags; /* an array; NULL = they stay */

    /* Made of these on the environment's thread, once. */
    bool ready, whole;
    char *op;        /* as supafs_record() takes it; NULL = none */
    json_t *gone;    /* the object that is no more under this name; NULL = none */
    json_t *copied;  /* what `now` is a copy of; NULL = of nothing */
    json_t *now;     /* what is known of an object now; NULL = nothing new */
    bool keeps_hash; /* its bytes are what they were, or those of `gone` */
    unsigned added;  /* rows */

    char text[];
};

/* ---- facts, on the environment's thread ------------------------------------------------------ */

static json_t *
fact_get(struct sf_txn *txn, const json_t *fact, struct name_key *at)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    name_key(text_of(fact, "bucket"), text_of(fact, "key"), NULL, 0, at);
    return sf_txn_get(txn, T_FILES, at->b, at->len, &text) ? NULL : row_parse(text.data, text.len);
}

static bool
hash_key(const json_t *fact, struct name_key *out)
{
    unsigned char digest[32];
    const char *hex = fact ? text_of(fact, "sha256") : "";
    if (strlen(hex) != 64 || sf_hex_decode(hex, 64, digest))
        return false;
    name_key(text_of(fact, "bucket"), text_of(fact, "key"), digest, sizeof digest, out);
    return true;
}

static int
hash_drop(struct sf_txn *txn, const json_t *fact)
{
    struct name_key k;
    int rc = hash_key(fact, &k) ? sf_txn_del(txn, T_HASHES, k.b, k.len) : 0;
    return rc == -ENOENT ? 0 : rc;
}

static int
hash_add(struct sf_txn *txn, const json_t *fact)
{
    struct name_key k;
    sf_autobuf struct sf_buf name = SF_BUF_INIT;
    if (!hash_key(fact, &k))
        return 0;
    if (sf_buf_puts(&name, text_of(fact, "bucket")) || sf_buf_putc(&name, '\0') ||
        sf_buf_puts(&name, text_of(fact, "key")))
        return -ENOMEM;
    return sf_txn_put(txn, T_HASHES, k.b, k.len, name.data, name.len);
}

static int
change_put(struct note *n, struct sf_txn *txn, json_t *change)
{
    sf_autofree char *text = json_text(change);
    int rc = text ? queue_put(n->t, txn, T_CHANGES, text) : -ENOMEM;
    n->added += !rc;
    return rc;
}

/* The name has this object no more. */
static int
forget(struct note *n, struct sf_txn *txn, json_t **was)
{
    struct name_key at;
    json_t *row = fact_get(txn, n->gone, &at);
    int rc = row ? hash_drop(txn, row) : 0;
    if (!rc && (rc = sf_txn_del(txn, T_FILES, at.b, at.len)) == -ENOENT)
        rc = 0;
    if (rc) {
        json_decref(row);
        return rc;
    }
    *was = row;
    const char *id = text_of(n->gone, "file_id");
    if (!*id && row)
        id = text_of(row, "file_id");
    if (!*id || (n->now && !strcmp(id, text_of(n->now, "file_id"))))
        return 0; /* nobody knows it, or it is the same one under another name */
    return change_put(n, txn,
                      json_pack("{s:s, s:s, s:s, s:b}", "file_id", id, "bucket",
                                text_of(n->gone, "bucket"), "key", text_of(n->gone, "key"),
                                "removed", 1));
}

/* What stays of what was known: tags; and with the bytes their hash and type. */
static int
inherit(struct note *n, json_t *fact, const json_t *was, bool same_file)
{
    static const char *const with_bytes[] = {"sha256", "mime", "uploaded_at"};
    json_t *tags = json_object_get(was, "tags");
    if (same_file && tags && !json_object_get(fact, "tags") && json_object_set(fact, "tags", tags))
        return -ENOMEM;
    for (size_t i = 0; n->keeps_hash && i < sizeof with_bytes / sizeof *with_bytes; i++) {
        json_t *v = json_object_get(was, with_bytes[i]);
        bool time = i == 2 && !n->copied;
        if (v && (time || !json_object_get(fact, with_bytes[i])) &&
            json_object_set(fact, with_bytes[i], v))
            return -ENOMEM;
    }
    if (n->keeps_hash && !*text_of(fact, "file_id") && json_object_get(was, "file_id") && same_file)
        return json_object_set(fact, "file_id", json_object_get(was, "file_id"));
    return 0;
}

/* What is known of a copy's source, if it is of the very bytes that were copied. */
static json_t *
copied_fact(struct note *n, struct sf_txn *txn)
{
    struct name_key at;
    json_t *was = fact_get(txn, n->copied, &at);
    const char *etag = was ? text_of(was, "etag") : "";
    if (*etag && sf_etag_is_md5(etag) && !strcmp(etag, text_of(n->now, "etag")))
        return was;
    json_decref(was);
    return NULL;
}

static int
remember(struct note *n, struct sf_txn *txn, const json_t *source)
{
    struct name_key at;
    json_t *was = fact_get(txn, n->now, &at);
    json_t *fact = json_copy(n->now);
    bool same = was && (!*text_of(was, "file_id") || !*text_of(fact, "file_id") ||
                        !strcmp(text_of(was, "file_id"), text_of(fact, "file_id")));
    int rc = fact ? 0 : -ENOMEM;
    if (!rc && source)
        rc = inherit(n, fact, source, n->gone != NULL);
    else if (!rc && was && !n->copied)
        rc = inherit(n, fact, was, same);
    json_t *tags =
        same && n->copied ? json_object_get(was, "tags") : NULL; /* the file's, not its bytes' */
    if (!rc && tags && !json_object_get(fact, "tags") && json_object_set(fact, "tags", tags))
        rc = -ENOMEM;
    if (!rc && was)
        rc = hash_drop(txn, was);
    if (!rc && *text_of(fact, "file_id")) { /* without it nothing could be told of it */
        rc = change_put(n, txn, json_incref(fact));
        if (!rc)
            rc = json_object_set_new(fact, "queued", json_integer((json_int_t)n->t->last_key));
    }
    sf_autofree char *text = rc ? NULL : json_text(json_incref(fact));
    if (!rc)
        rc = text ? sf_txn_put(txn, T_FILES, at.b, at.len, text, strlen(text)) : -ENOMEM;
    if (!rc)
        rc = hash_add(txn, fact);
    json_decref(fact);
    json_decref(was);
    return rc;
}

/* ---- the queue, on the environment's thread -------------------------------------------------- */

int
queue_put(struct sf_tables *t, struct sf_txn *txn, enum table table, const char *text)
{
    unsigned char key[8];
    uint64_t now = (uint64_t)sf_wall_ns();
    t->last_key = now > t->last_key ? now : t->last_key + 1;
    time_key(t->last_key, key);
    return sf_txn_put(txn, table, key, sizeof key, text, strlen(text));
}

/* ---- what is made of a note, on the environment's thread --------------------------------------
 */

static const char *
kind_name(enum sf_op_kind kind)
{
    static const char *const names[] = {"upload", "download", "copy",
                                        "move",   "delete",   "attributes"};
    return names[kind];
}

static char *
op_text(const struct note *n)
{
    char id[37], began[32], ended[32], mount[96];
    snprintf(mount, sizeof mount, "mount:%s", n->t->host);
    const char *source = n->kind == SF_OP_UPLOAD ? mount : "supabase";
    const char *target = n->kind == SF_OP_DOWNLOAD ? "cache" : "supabase";
    sf_time_format_ms(n->at_ns - n->ms * 1000000, began);
    sf_time_format_ms(n->at_ns, ended);
    if (sf_uuid4(id))
        return NULL;
    json_t *meta = json_pack("{s:s, s:s, s:I, s:I}", "bucket", n->f.bucket, "key", n->f.key,
                             "bytes", (json_int_t)n->bytes, "ms", (json_int_t)n->ms);
    if (meta && n->has_to &&
        (json_object_set_new(meta, "to_bucket", json_string(n->to.bucket)) ||
         json_object_set_new(meta, "to_key", json_string(n->to.key)))) {
        json_decref(meta);
        return NULL;
    }
    if (meta && source != mount)
        json_object_set_new(meta, "by", json_string(mount));
    if (meta && n->error)
        json_object_set_new(meta, "error", json_string(sf_errno_name(n->error)));
    const char *file = n->to.id && *n->to.id ? n->to.id : n->f.id;
    return meta ? json_text(json_pack("{s:s, s:s?, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "id", id,
                                      "file_id", file && *file ? file : NULL, "type",
                                      kind_name(n->kind), "source", source, "destination", target,
                                      "status", n->error ? "failed" : "completed", "created_at",
                                      began, "completed_at", ended, "metadata", meta))
                : NULL;
}

/* false: no memory, or text that is not UTF-8. */
static bool
op_parts(struct note *n)
{
    enum sf_op_kind kind = n->kind;
    bool gone = !n->error && (kind == SF_OP_MOVE || kind == SF_OP_DELETE);
    const struct sf_file_fact *now = n->has_to && !n->error ? &n->to : NULL;
    if (!n->error && !n->has_to && (kind == SF_OP_UPLOAD || kind == SF_OP_ATTRIBUTES))
        now = &n->f;
    n->op = op_text(n);
    n->keeps_hash = kind == SF_OP_ATTRIBUTES || kind == SF_OP_MOVE || kind == SF_OP_COPY;
    if (gone)
        n->gone = fact_json(&n->f);
    if (now && kind == SF_OP_COPY)
        n->copied = fact_json(&n->f); /* without it a hash is missing */
    if (now)
        n->now = fact_json(now);
    return n->op && (!gone || n->gone) && (!now || n->now);
}

static bool
tags_parts(struct note *n)
{
    n->keeps_hash = true;
    n->now = fact_json(&n->f);
    return n->now && json_object_set(n->now, "tags", n->tags) == 0;
}

static bool
name_parts(struct note *n)
{
    n->keeps_hash = true;
    n->gone = fact_json(&n->f);
    n->now = fact_json(&n->to);
    return n->gone && n->now;
}

static int
note_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct note *n = (struct note *)w;
    json_t *source = NULL;
    int rc = 0;
    n->added = 0;
    if (!n->ready)
        n->whole = n->is_op ? op_parts(n) : n->has_to ? name_parts(n) : tags_parts(n);
    n->ready = true;
    if (!n->whole)
        return 0; /* the others are none the worse for it */
    if (n->op) {
        rc = queue_put(n->t, txn, n->kind == SF_OP_DOWNLOAD ? T_READS : T_OPS, n->op);
        n->added += !rc;
    }
    if (!rc && n->gone)
        rc = forget(n, txn, &source);
    else if (!rc && n->copied)
        source = copied_fact(n, txn);
    if (!rc && n->now)
        rc = remember(n, txn, source);
    json_decref(source);
    return rc;
}

static void
note_free(struct note *n)
{
    free(n->op);
    json_decref(n->tags);
    json_decref(n->gone);
    json_decref(n->copied);
    json_decref(n->now);
    free(n);
}

static void
dropped(struct sf_tables *t, uint64_t rows)
{
    atomic_fetch_add(&t->dropped, rows);
    sf_count(SF_C_TABLES_DROPPED, rows);
}

static void
note_done(struct sf_env_write *w, int rc)
{
    struct note *n = (struct note *)w;
    struct sf_tables *t = n->t;
    if (rc || !n->whole)
        dropped(t, 1);
    else
        atomic_fetch_add(&t->queued, n->added);
    bool look = rc == -ENOSPC || (n->added && !rc);
    note_free(n);
    atomic_fetch_sub(&t->in_flight, 1);
    if (!look)
        return;
    SF_GUARD(&t->lock);
    if (!t->noted)
        sf_cond_signal(&t->wake);
    t->noted = true;
}

/* ---- noting ---------------------------------------------------------------------------------- */

#define FACT_TEXTS 7

static void
texts_of(struct sf_file_fact *f, const char **ret[static FACT_TEXTS])
{
    const char **const all[FACT_TEXTS] = {&f->bucket, &f->key,  &f->id,    &f->version,
                                          &f->etag,   &f->mime, &f->sha256};
    memcpy(ret, all, sizeof all);
}

static size_t
fact_bytes(struct sf_file_fact f)
{
    const char **at[FACT_TEXTS];
    size_t n = 0;
    texts_of(&f, at);
    for (size_t i = 0; i < FACT_TEXTS; i++)
        n += *at[i] ? strlen(*at[i]) + 1 : 0;
    return n;
}

/* The strings go to @to; returns what is behind them. */
static char *
fact_copy(struct sf_file_fact *f, char *to)
{
    const char **at[FACT_TEXTS];
    texts_of(f, at);
    for (size_t i = 0; i < FACT_TEXTS; i++) {
        if (!*at[i])
            continue;
        size_t n = strlen(*at[i]) + 1;
        *at[i] = memcpy(to, *at[i], n);
        to += n;
    }
    return to;
}

/* NULL: no memory, or the disk is too far behind. */
static struct note *
note_new(struct sf_tables *t, const struct sf_file_fact *f, const struct sf_file_fact *to)
{
    struct note *n = NULL;
    if (atomic_load(&t->in_flight) < IN_FLIGHT_MAX)
        n = calloc(1, sizeof *n + fact_bytes(*f) + (to ? fact_bytes(*to) : 0));
    if (!n) {
        dropped(t, 1);
        return NULL;
    }
    n->w.run = note_run;
    n->w.done = note_done;
    n->w.lazy = true;
    n->t = t;
    n->at_ns = sf_wall_ns();
    n->f = *f;
    char *end = fact_copy(&n->f, n->text);
    if (to) {
        n->to = *to;
        (void)fact_copy(&n->to, end);
        n->has_to = true;
    }
    if (!n->f.at_ns)
        n->f.at_ns = n->at_ns;
    if (!n->to.at_ns)
        n->to.at_ns = n->at_ns;
    return n;
}

static void
note_submit(struct note *n)
{
    atomic_fetch_add(&n->t->in_flight, 1);
    sf_env_submit(n->t->env, &n->w);
}

void
sf_tables_note(struct sf_tables *t, enum sf_op_kind kind, const struct sf_file_fact *f,
               const struct sf_file_fact *to, uint64_t bytes, int64_t ms, int error)
{
    if (!t)
        return;
    if (kind != SF_OP_DOWNLOAD)
        objects_changed(t, f->bucket, f->key);
    if (to)
        objects_changed(t, to->bucket, to->key);
    struct note *n = note_new(t, f, to);
    if (!n)
        return;
    n->is_op = true;
    n->kind = kind;
    n->bytes = bytes;
    n->ms = ms;
    n->error = error;
    note_submit(n);
}

void
sf_tables_renamed(struct sf_tables *t, const struct sf_file_fact *f, const struct sf_file_fact *to)
{
    struct note *n = t ? note_new(t, f, to) : NULL;
    if (!n)
        return;
    n->w.lazy = false; /* as set_tags: it is lost with them, or not at all */
    note_submit(n);
}

void
sf_tables_set_tags(struct sf_tables *t, const struct sf_file_fact *f, const char *const *tags)
{
    struct note *n = t ? note_new(t, f, NULL) : NULL;
    if (!n)
        return;
    n->tags = json_array();
    int rc = n->tags ? 0 : -ENOMEM;
    for (; !rc && *tags; tags++)
        rc = json_array_append_new(n->tags, json_string(*tags));
    if (!rc) {
        n->w.lazy = false; /* somebody's own work: not to be lost */
        note_submit(n);
        return;
    }
    dropped(t, 1);
    note_free(n);
}
