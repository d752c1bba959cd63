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

/* One thing that happened, on its way to the environment. */
struct note {
    struct sf_env_write w;
    struct sf_tables *t;
    enum table table; /* of the operation */
    char *op;         /* as supafs_record() takes it; NULL = none */
    json_t *gone;     /* the object that is no more under this name; NULL = none */
    json_t *copied;   /* what `now` is a copy of; NULL = of nothing */
    json_t *now;      /* what is known of an object now; NULL = nothing new */
    bool keeps_hash;  /* its bytes are what they were, or those of `gone` */
    unsigned added;   /* rows */
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

static int
note_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct note *n = (struct note *)w;
    json_t *source = NULL;
    int rc = 0;
    n->added = 0;
    if (n->op) {
        rc = queue_put(n->t, txn, n->table, n->op);
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
    if (rc)
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

static const char *
kind_name(enum sf_op_kind kind)
{
    static const char *const names[] = {"upload", "download", "copy",
                                        "move",   "delete",   "attributes"};
    return names[kind];
}

static char *
op_text(struct sf_tables *t, enum sf_op_kind kind, const struct sf_file_fact *f,
        const struct sf_file_fact *to, uint64_t bytes, int64_t ms, int error)
{
    char id[37], began[32], ended[32], mount[96];
    int64_t now = sf_wall_ns();
    snprintf(mount, sizeof mount, "mount:%s", t->host);
    const char *source = kind == SF_OP_UPLOAD ? mount : "supabase";
    const char *target = kind == SF_OP_DOWNLOAD ? "cache" : "supabase";
    sf_time_format_ms(now - ms * 1000000, began);
    sf_time_format_ms(now, ended);
    if (sf_uuid4(id))
        return NULL;
    json_t *meta = json_pack("{s:s, s:s, s:I, s:I}", "bucket", f->bucket, "key", f->key, "bytes",
                             (json_int_t)bytes, "ms", (json_int_t)ms);
    if (meta && to &&
        (json_object_set_new(meta, "to_bucket", json_string(to->bucket)) ||
         json_object_set_new(meta, "to_key", json_string(to->key)))) {
        json_decref(meta);
        return NULL;
    }
    if (meta && source != mount)
        json_object_set_new(meta, "by", json_string(mount));
    if (meta && error)
        json_object_set_new(meta, "error", json_string(sf_errno_name(error)));
    const char *file = to && to->id && *to->id ? to->id : f->id;
    return meta ? json_text(json_pack("{s:s, s:s?, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "id", id,
                                      "file_id", file && *file ? file : NULL, "type",
                                      kind_name(kind), "source", source, "destination", target,
                                      "status", error ? "failed" : "completed", "created_at", began,
                                      "completed_at", ended, "metadata", meta))
                : NULL;
}

/* NULL: no memory, or the disk is too far behind. */
static struct note *
note_new(struct sf_tables *t)
{
    struct note *n = NULL;
    if (atomic_load(&t->in_flight) < IN_FLIGHT_MAX)
        n = calloc(1, sizeof *n);
    if (!n) {
        dropped(t, 1);
        return NULL;
    }
    n->w.run = note_run;
    n->w.done = note_done;
    n->w.lazy = true;
    n->t = t;
    return n;
}

static void
note_submit(struct note *n, bool whole)
{
    struct sf_tables *t = n->t;
    if (!whole) {
        dropped(t, 1);
        note_free(n);
        return;
    }
    atomic_fetch_add(&t->in_flight, 1);
    sf_env_submit(t->env, &n->w);
}

void
sf_tables_note(struct sf_tables *t, enum sf_op_kind kind, const struct sf_file_fact *f,
               const struct sf_file_fact *to, uint64_t bytes, int64_t ms, int error)
{
    struct note *n = t ? note_new(t) : NULL;
    if (!n)
        return;
    bool gone = !error && (kind == SF_OP_MOVE || kind == SF_OP_DELETE);
    if (kind != SF_OP_DOWNLOAD)
        objects_changed(t, f->bucket, f->key);
    if (to)
        objects_changed(t, to->bucket, to->key);
    const struct sf_file_fact *now = error ? NULL : to;
    if (!error && !to && (kind == SF_OP_UPLOAD || kind == SF_OP_ATTRIBUTES))
        now = f;
    n->table = kind == SF_OP_DOWNLOAD ? T_READS : T_OPS;
    n->op = op_text(t, kind, f, to, bytes, ms, error);
    n->keeps_hash = kind == SF_OP_ATTRIBUTES || kind == SF_OP_MOVE || kind == SF_OP_COPY;
    if (gone)
        n->gone = fact_json(f);
    if (now && kind == SF_OP_COPY)
        n->copied = fact_json(f); /* without it a hash is missing */
    if (now)
        n->now = fact_json(now);
    note_submit(n, n->op && (!gone || n->gone) && (!now || n->now));
}

void
sf_tables_set_tags(struct sf_tables *t, const struct sf_file_fact *f, const char *const *tags)
{
    struct note *n = t ? note_new(t) : NULL;
    if (!n)
        return;
    json_t *list = json_array();
    int rc = list ? 0 : -ENOMEM;
    for (; !rc && *tags; tags++)
        rc = json_array_append_new(list, json_string(*tags));
    n->keeps_hash = true;
    n->now = fact_json(f);
    if (!n->now || rc) {
        json_decref(list);
        rc = -ENOMEM;
    } else {
        rc = json_object_set_new(n->now, "tags", list);
    }
    note_submit(n, !rc);
}
