/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fake-project.h"

#include "base/clock.h"
#include "supabase/storage.h"
#include "write/write.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OBJECTS 4096

struct object {
    char bucket[64], key[300], id[37], etag[40], mime[64];
    char *text;
    int64_t time_ns;
};

static struct object objects[MAX_OBJECTS];
static size_t n_objects;
static char buckets[8][64];
static size_t n_buckets;
static unsigned serial;
static int failing;
struct fake_counts fake_counts;

/* ---- the objects -------------------------------------------------------------------------------
 */

static int
compare(const void *a, const void *b)
{
    const struct object *x = a, *y = b;
    int c = strcmp(x->bucket, y->bucket);
    return c ? c : strcmp(x->key, y->key);
}

static struct object *
find(const char *bucket, const char *key)
{
    for (size_t i = 0; i < n_objects; i++)
        if (!strcmp(objects[i].bucket, bucket) && !strcmp(objects[i].key, key))
            return &objects[i];
    return NULL;
}

void
fake_put_mime(const char *bucket, const char *key, const char *text, const char *mime)
{
    struct object *o = find(bucket, key);
    bool fresh = !o;
    if (fresh) {
        assert(n_objects < MAX_OBJECTS);
        o = &objects[n_objects++];
        *o = (struct object){0};
        snprintf(o->bucket, sizeof o->bucket, "%s", bucket);
        snprintf(o->key, sizeof o->key, "%s", key);
        snprintf(o->id, sizeof o->id, "id-%08u", ++serial);
    }
    free(o->text);
    o->text = strdup(text);
    snprintf(o->mime, sizeof o->mime, "%s", mime);
    snprintf(o->etag, sizeof o->etag, "\"e-%u\"", ++serial);
    o->time_ns = sf_wall_ns();
    if (fresh)
        qsort(objects, n_objects, sizeof *objects, compare);
}

void
fake_put(const char *bucket, const char *key, const char *text)
{
    fake_put_mime(bucket, key, text, "text/plain");
}

void
fake_remove(const char *bucket, const char *key)
{
    struct object *o = find(bucket, key);
    if (!o)
        return;
    free(o->text);
    memmove(o, o + 1, (size_t)(&objects[--n_objects] - o) * sizeof *o);
}

bool
fake_has(const char *bucket, const char *key, const char *text)
{
    const struct object *o = find(bucket, key);
    return o && !strcmp(o->text, text);
}

void
fake_bucket(const char *bucket)
{
    snprintf(buckets[n_buckets++], sizeof buckets[0], "%s", bucket);
}

static bool
has_bucket(const char *bucket)
{
    for (size_t i = 0; i < n_buckets; i++)
        if (!strcmp(buckets[i], bucket))
            return true;
    return false;
}

void
fake_drop_bucket(const char *bucket)
{
    for (size_t i = 0; i < n_buckets; i++)
        if (!strcmp(buckets[i], bucket))
            memmove(buckets[i], buckets[n_buckets - 1], sizeof buckets[0]);
    n_buckets--;
}

/* ---- questions and their answers
 * ------------------------------------------------------------------- */

enum kind { Q_LIST, Q_VERIFY, Q_BUCKETS, Q_GET };

struct question {
    struct question *next;
    enum kind kind;
    bool answered;
    struct sf_err err;
    char bucket[64], key[300], after[300];
    unsigned limit;
    bool delimiter;
    struct sf_get_args get;
    char etag[40];
    struct sf_list_row rows[1000];
    char keys[1000][300], etags[1000][40];
    struct sf_list_page page;
    struct sf_bucket_row bucket_rows[8];
    struct sf_get_result got;
    sf_list_fn list_fn;
    sf_plain_fn plain_fn;
    sf_bucket_list_fn bucket_fn;
    sf_get_fn get_fn;
    void *arg;
};

static struct question *questions, **tail = &questions;

void
fake_reset(void)
{
    while (n_objects)
        fake_remove(objects[0].bucket, objects[0].key);
    n_buckets = 0;
    failing = 0;
    fake_counts = (struct fake_counts){0};
    assert(!questions);
}

void
fake_fail(int code)
{
    failing = code;
}

static struct question *
ask(enum kind kind, const char *bucket, const char *key, void *arg)
{
    struct question *q = calloc(1, sizeof *q);
    assert(q);
    q->kind = kind;
    snprintf(q->bucket, sizeof q->bucket, "%s", bucket ? bucket : "");
    snprintf(q->key, sizeof q->key, "%s", key ? key : "");
    q->arg = arg;
    *tail = q;
    tail = &q->next;
    return q;
}

/* Length of the row's key: up to the slash that folds it, with it; 0 = not in this listing. */
static size_t
row_len(const struct question *q, const struct object *o, bool *folder)
{
    size_t np = strlen(q->key);
    *folder = false;
    if (strcmp(o->bucket, q->bucket) || strncmp(o->key, q->key, np))
        return 0;
    const char *slash = q->delimiter ? strchr(o->key + np, '/') : NULL;
    *folder = slash != NULL;
    return slash ? (size_t)(slash - o->key) + 1 : strlen(o->key);
}

static void
answer_list(struct question *q)
{
    size_t n = 0;
    for (size_t i = 0; i < n_objects; i++) {
        bool folder;
        size_t len = row_len(q, &objects[i], &folder);
        char key[300];
        snprintf(key, sizeof key, "%.*s", (int)len, objects[i].key);
        if (!len || strcmp(key, q->after) <= 0 || (n && !strcmp(key, q->keys[n - 1])))
            continue;
        if (folder && q->after[0] && !strncmp(q->after, key, len))
            continue;
        if (n == q->limit) {
            q->page.more = true;
            break;
        }
        memcpy(q->keys[n], key, sizeof key);
        memcpy(q->etags[n], objects[i].etag, sizeof q->etags[n]);
        q->rows[n] = (struct sf_list_row){.key = q->keys[n],
                                          .key_len = len,
                                          .folder = folder,
                                          .id = strdup(objects[i].id),
                                          .etag = q->etags[n],
                                          .mime = strdup(objects[i].mime),
                                          .cache_control = "",
                                          .size = strlen(objects[i].text),
                                          .mtime_ns = objects[i].time_ns,
                                          .updated_ns = objects[i].time_ns};
        n++;
    }
    q->page.rows = q->rows;
    q->page.n = n;
    q->page.last = n ? q->keys[n - 1] : NULL;
}

static void
answer_get(struct question *q)
{
    const struct object *o = find(q->bucket, q->key);
    if (!o) {
        q->err.code = -ENOENT;
        return;
    }
    size_t size = strlen(o->text);
    snprintf(q->etag, sizeof q->etag, "%s", o->etag);
    if ((q->get.etag && *q->get.etag && strcmp(q->get.etag, o->etag)) || q->get.total != size) {
        q->err.code = -ESTALE;
        return;
    }
    size_t n = q->get.off < size ? size - q->get.off : 0;
    q->got = (struct sf_get_result){n < q->get.len ? n : q->get.len, q->etag, size};
    memcpy(q->get.buf, o->text + q->get.off, q->got.len);
}

void
fake_answer(void)
{
    for (struct question *q = questions; q; q = q->next) {
        if (q->answered)
            continue;
        q->answered = true;
        if (failing) {
            q->err = (struct sf_err){.code = failing, .msg = "made to fail"};
            continue;
        }
        switch (q->kind) {
        case Q_LIST:
            answer_list(q);
            break;
        case Q_VERIFY:
            q->err.code = has_bucket(q->bucket) ? 0 : -ENOENT;
            break;
        case Q_BUCKETS:
            for (size_t i = 0; i < n_buckets; i++)
                q->bucket_rows[i] = (struct sf_bucket_row){.id = buckets[i], .name = buckets[i]};
            break;
        case Q_GET:
            answer_get(q);
            break;
        }
    }
}

static void
deliver(struct question *q)
{
    const struct sf_err *err = q->err.code ? &q->err : NULL;
    switch (q->kind) {
    case Q_LIST:
        q->list_fn(q->arg, err, err ? NULL : &q->page);
        break;
    case Q_VERIFY:
        q->plain_fn(q->arg, err);
        break;
    case Q_BUCKETS:
        q->bucket_fn(q->arg, err, q->bucket_rows, err ? 0 : n_buckets);
        break;
    case Q_GET:
        q->get_fn(q->arg, err, err ? NULL : &q->got);
        break;
    }
    for (size_t i = 0; i < q->page.n; i++) {
        free((char *)q->rows[i].id);
        free((char *)q->rows[i].mime);
    }
    free(q);
}

void
fake_deliver(void)
{
    struct question *q = questions, *next;
    questions = NULL;
    tail = &questions;
    for (; q; q = next) {
        next = q->next;
        assert(q->answered);
        deliver(q);
    }
}

void
fake_run(void)
{
    while (questions) {
        fake_answer();
        fake_deliver();
    }
}

/* ---- supabase/storage.h, as far as the tree uses it
 * ----------------------------------------------- */

uint64_t
sf_storage_list(struct sf_storage *st, const struct sf_list_args *a, int64_t deadline_ms,
                sf_list_fn cb, void *arg)
{
    (void)st, (void)deadline_ms;
    struct question *q = ask(Q_LIST, a->bucket, a->prefix, arg);
    snprintf(q->after, sizeof q->after, "%s", a->after ? a->after : "");
    q->limit = a->limit ? a->limit : 1000;
    q->delimiter = a->delimiter;
    q->list_fn = cb;
    fake_counts.lists++;
    return 1;
}

uint64_t
sf_storage_verify(struct sf_storage *st, const char *bucket, int64_t deadline_ms, sf_plain_fn cb,
                  void *arg)
{
    (void)st, (void)deadline_ms;
    ask(Q_VERIFY, bucket, NULL, arg)->plain_fn = cb;
    fake_counts.verifies++;
    return 1;
}

uint64_t
sf_storage_bucket_list(struct sf_storage *st, int64_t deadline_ms, sf_bucket_list_fn cb, void *arg)
{
    (void)st, (void)deadline_ms;
    ask(Q_BUCKETS, NULL, NULL, arg)->bucket_fn = cb;
    fake_counts.lists++;
    return 1;
}

uint64_t
sf_storage_bucket_get(struct sf_storage *st, const char *id, int64_t deadline_ms,
                      sf_bucket_list_fn cb, void *arg)
{
    (void)id;
    return sf_storage_bucket_list(st, deadline_ms, cb, arg);
}

uint64_t
sf_storage_get(struct sf_storage *st, const struct sf_get_args *a, int64_t deadline_ms,
               sf_get_fn cb, void *arg)
{
    (void)st, (void)deadline_ms;
    struct question *q = ask(Q_GET, a->bucket, a->key, arg);
    q->get = *a;
    q->get_fn = cb;
    fake_counts.gets++;
    return 1;
}

void
sf_storage_cancel(struct sf_storage *st, uint64_t id)
{
    (void)st, (void)id;
}

/* ---- write/write.h: everything happens at once
 * ------------------------------------------------------- */

struct sf_content {
    char bucket[64], key[300];
    char *data;
    size_t size;
    unsigned refs;
    bool dirty, abandoned;
};

int
sf_content_new(struct sf_writer *w, const char *bucket, const char *key, struct sf_content **ret,
               struct sf_err *err)
{
    (void)w, (void)err;
    struct sf_content *c = calloc(1, sizeof *c);
    c->refs = 1;
    c->data = calloc(1, 1);
    sf_content_retarget(c, bucket, key, false);
    *ret = c;
    return 0;
}

struct sf_content *
sf_content_ref(struct sf_content *c)
{
    c->refs++;
    return c;
}

void
sf_content_unref(struct sf_content *c)
{
    if (--c->refs)
        return;
    free(c->data);
    free(c);
}

ssize_t
sf_content_read(struct sf_content *c, void *buf, size_t len, uint64_t off)
{
    size_t n = off < c->size ? c->size - off : 0;
    n = n < len ? n : len;
    memcpy(buf, c->data + off, n);
    return (ssize_t)n;
}

ssize_t
sf_content_write(struct sf_content *c, const void *buf, size_t len, uint64_t off)
{
    if (off + len > c->size)
        sf_content_truncate(c, off + len);
    memcpy(c->data + off, buf, len);
    c->dirty = true;
    return (ssize_t)len;
}

ssize_t
sf_content_append(struct sf_content *c, const void *buf, size_t len, uint64_t *off)
{
    *off = c->size;
    return sf_content_write(c, buf, len, c->size);
}

int
sf_content_truncate(struct sf_content *c, uint64_t size)
{
    c->data = realloc(c->data, size + 1);
    if (size > c->size)
        memset(c->data + c->size, 0, size - c->size);
    c->data[size] = '\0';
    c->size = size;
    c->dirty = true;
    return 0;
}

uint64_t
sf_content_size(const struct sf_content *c)
{
    return c->size;
}

bool
sf_content_dirty(const struct sf_content *c)
{
    return c->dirty && !c->abandoned;
}

void
sf_content_mark_dirty(struct sf_content *c)
{
    c->dirty = true;
}

int
sf_content_retarget(struct sf_content *c, const char *bucket, const char *key, bool exists)
{
    (void)exists;
    snprintf(c->bucket, sizeof c->bucket, "%s", bucket);
    snprintf(c->key, sizeof c->key, "%s", key);
    return 0;
}

bool
sf_content_abandon(struct sf_content *c)
{
    c->abandoned = true;
    return false;
}

void
sf_content_commit(struct sf_content *c, const struct sf_commit_args *a, sf_commit_fn cb, void *arg)
{
    struct sf_commit done = {.size = c->size, .uploaded = c->dirty};
    struct sf_err err = {.code = failing, .msg = "made to fail"};
    if (!failing && !a->exists && find(c->bucket, c->key))
        err.code = -EEXIST;
    if (!err.code) {
        fake_put(c->bucket, c->key, c->data);
        fake_counts.puts++;
        c->dirty = false;
        snprintf(done.id, sizeof done.id, "%s", find(c->bucket, c->key)->id);
    }
    cb(arg, err.code ? &err : NULL, err.code ? NULL : &done);
}

int
sf_content_quarantine(struct sf_content *c, const struct sf_err *why, char *path_out)
{
    (void)why, (void)path_out;
    c->dirty = false;
    return 0;
}

void
sf_content_load(struct sf_content *c, const char *etag, uint64_t size, sf_write_fn cb, void *arg)
{
    const struct object *o = find(c->bucket, c->key);
    struct sf_err err = {.code = o && (!*etag || !strcmp(etag, o->etag)) ? failing : -ESTALE};
    if (!err.code) {
        sf_content_write(c, o->text, size, 0);
        c->dirty = false;
    }
    cb(arg, err.code ? &err : NULL);
}

uint64_t
sf_writer_limit(struct sf_writer *w, uint64_t bucket_limit)
{
    (void)w;
    return bucket_limit ? bucket_limit : 1000;
}

static void
plain(sf_write_fn cb, void *arg, int code)
{
    struct sf_err err = {.code = code, .msg = "made to fail"};
    cb(arg, code ? &err : NULL);
}

void
sf_write_delete(struct sf_writer *w, const char *bucket, const char *key, sf_write_fn cb, void *arg)
{
    (void)w;
    int code = failing ? failing : find(bucket, key) ? 0 : -ENOENT;
    if (!code)
        fake_remove(bucket, key);
    fake_counts.deletes++;
    plain(cb, arg, code);
}

void
sf_write_put_small(struct sf_writer *w, const char *bucket, const char *key, const char *mime,
                   const void *data, size_t len, bool replace, sf_commit_fn cb, void *arg)
{
    (void)w;
    struct sf_err err = {.code = failing};
    struct sf_commit done = {.size = len, .uploaded = true};
    if (!failing && !replace && find(bucket, key))
        err.code = -EEXIST;
    if (!err.code) {
        char text[300];
        snprintf(text, sizeof text, "%.*s", (int)len, (const char *)data);
        fake_put_mime(bucket, key, text, mime);
        fake_counts.puts++;
    }
    cb(arg, err.code ? &err : NULL, err.code ? NULL : &done);
}

void
sf_write_rename(struct sf_writer *w, const struct sf_rename_args *a, sf_write_fn cb, void *arg)
{
    (void)w;
    const struct object *o = find(a->bucket, a->key);
    int code = failing ? failing : !o ? -ENOENT : 0;
    if (!code && !a->replace && find(a->to_bucket, a->to_key))
        code = -EEXIST;
    if (!code) {
        char text[300];
        snprintf(text, sizeof text, "%s", o->text);
        fake_put(a->to_bucket, a->to_key, text);
        fake_remove(a->bucket, a->key);
    }
    fake_counts.renames++;
    plain(cb, arg, code);
}

void
sf_write_rmdir(struct sf_writer *w, const char *bucket, const char *prefix, sf_write_fn cb,
               void *arg)
{
    (void)w;
    char marker[330];
    snprintf(marker, sizeof marker, "%s.emptyFolderPlaceholder", prefix);
    int code = failing;
    for (size_t i = 0; !code && i < n_objects; i++)
        if (!strcmp(objects[i].bucket, bucket) && strcmp(objects[i].key, marker) &&
            !strncmp(objects[i].key, prefix, strlen(prefix)))
            code = -ENOTEMPTY;
    if (!code)
        fake_remove(bucket, marker);
    plain(cb, arg, code);
}

void
sf_write_bucket_create(struct sf_writer *w, const char *bucket, sf_write_fn cb, void *arg)
{
    (void)w;
    if (!failing)
        fake_bucket(bucket);
    plain(cb, arg, failing);
}

void
sf_write_bucket_delete(struct sf_writer *w, const char *bucket, sf_write_fn cb, void *arg)
{
    (void)w;
    if (!failing)
        fake_drop_bucket(bucket);
    plain(cb, arg, failing);
}
