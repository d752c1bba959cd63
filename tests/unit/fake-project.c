/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fake-internal.h"

#include "base/clock.h"
#include "supabase/storage.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct object *objects; /* in order of bucket and key */
static size_t n_objects, room;
static char buckets[8][64];
static size_t n_buckets;
static unsigned serial;
static int failing;
static bool keep_ids;
struct fake_counts fake_counts;

static pthread_mutex_t big = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void
fake_lock(void)
{
    pthread_mutex_lock(&big);
}

void
fake_unlock(void)
{
    pthread_mutex_unlock(&big);
}

/* ---- the objects -------------------------------------------------------------------------------
 */

struct object *
fake_first(const char *bucket, const char *key)
{
    size_t low = 0, high = n_objects;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int c = strcmp(objects[mid].bucket, bucket);
        if (c < 0 || (c == 0 && strcmp(objects[mid].key, key) < 0))
            low = mid + 1;
        else
            high = mid;
    }
    return objects ? objects + low : NULL;
}

struct object *
fake_end(void)
{
    return objects ? objects + n_objects : NULL;
}

struct object *
fake_find(const char *bucket, const char *key)
{
    struct object *o = fake_first(bucket, key);
    return o < fake_end() && !strcmp(o->bucket, bucket) && !strcmp(o->key, key) ? o : NULL;
}

int
fake_failing(void)
{
    return failing;
}

void
fake_put_bytes(const char *bucket, const char *key, const char *data, size_t size, const char *mime)
{
    FAKE_GUARD();
    struct object *o = fake_find(bucket, key);
    bool fresh = !o;
    if (fresh) {
        size_t at = (size_t)(fake_first(bucket, key) - objects);
        if (n_objects == room) {
            room = room ? room * 2 : 64;
            objects = realloc(objects, room * sizeof *objects);
            assert(objects);
        }
        o = objects + at;
        memmove(o + 1, o, (n_objects++ - at) * sizeof *o);
        *o = (struct object){0};
        snprintf(o->bucket, sizeof o->bucket, "%s", bucket);
        snprintf(o->key, sizeof o->key, "%s", key);
    }
    if (fresh || !keep_ids)
        snprintf(o->id, sizeof o->id, "id-%08u", ++serial);
    free(o->text);
    o->text = calloc(1, size + 1);
    assert(o->text);
    memcpy(o->text, data, size);
    o->size = size;
    snprintf(o->mime, sizeof o->mime, "%s", mime);
    snprintf(o->cache, sizeof o->cache, "no-cache");
    free(o->meta);
    o->meta = NULL;
    snprintf(o->etag, sizeof o->etag, "\"e-%u\"", ++serial);
    o->time_ns = sf_wall_ns();
}

void
fake_put_mime(const char *bucket, const char *key, const char *text, const char *mime)
{
    fake_put_bytes(bucket, key, text, strlen(text), mime);
}

void
fake_put(const char *bucket, const char *key, const char *text)
{
    fake_put_mime(bucket, key, text, "application/octet-stream");
}

void
fake_remove(const char *bucket, const char *key)
{
    FAKE_GUARD();
    struct object *o = fake_find(bucket, key);
    if (!o)
        return;
    free(o->text);
    free(o->meta);
    memmove(o, o + 1, (size_t)(&objects[--n_objects] - o) * sizeof *o);
}

void
fake_set_cache(const char *bucket, const char *key, const char *cache_control)
{
    FAKE_GUARD();
    struct object *o = fake_find(bucket, key);
    assert(o);
    snprintf(o->cache, sizeof o->cache, "%s", cache_control);
}

void
fake_set_version(const char *bucket, const char *key, const char *id, const char *etag)
{
    FAKE_GUARD();
    struct object *o = fake_find(bucket, key);
    assert(o);
    snprintf(o->id, sizeof o->id, "%s", id);
    snprintf(o->etag, sizeof o->etag, "%s", etag);
}

const char *
fake_cache(const char *bucket, const char *key)
{
    FAKE_GUARD();
    const struct object *o = fake_find(bucket, key);
    return o ? o->cache : "";
}

const char *
fake_mime(const char *bucket, const char *key)
{
    FAKE_GUARD();
    const struct object *o = fake_find(bucket, key);
    return o ? o->mime : "";
}

bool
fake_has(const char *bucket, const char *key, const char *text)
{
    FAKE_GUARD();
    const struct object *o = fake_find(bucket, key);
    return o && o->size == strlen(text) && !memcmp(o->text, text, o->size);
}

bool
fake_is(const char *bucket, const char *key, const void *data, size_t len)
{
    FAKE_GUARD();
    const struct object *o = fake_find(bucket, key);
    return o && o->size == len && !memcmp(o->text, data, len);
}

bool
fake_exists(const char *bucket, const char *key)
{
    FAKE_GUARD();
    return fake_find(bucket, key) != NULL;
}

void
fake_bucket(const char *bucket)
{
    FAKE_GUARD();
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
    FAKE_GUARD();
    for (size_t i = 0; i < n_buckets; i++)
        if (!strcmp(buckets[i], bucket)) {
            memmove(buckets[i], buckets[i + 1], (--n_buckets - i) * sizeof buckets[0]);
            return;
        }
}

/* ---- questions and their answers
 * ------------------------------------------------------------------- */

enum kind { Q_LIST, Q_VERIFY, Q_BUCKETS, Q_GET, Q_INFO, Q_SIGN };

bool fake_public;

struct question {
    struct question *next;
    enum kind kind;
    bool answered;
    struct sf_err err;
    char bucket[64], key[300], after[300];
    unsigned limit;
    bool delimiter;
    struct sf_get_args get;
    char etag[64], asked[64], cache[300], id[37], mime[64], version[80];
    struct sf_list_row *rows;
    struct sf_list_page page;
    struct sf_bucket_row bucket_rows[8];
    size_t n_buckets;
    struct sf_get_result got;
    sf_list_fn list_fn;
    sf_plain_fn plain_fn;
    sf_bucket_list_fn bucket_fn;
    sf_get_fn get_fn;
    sf_info_fn info_fn;
    sf_sign_fn sign_fn;
    struct sf_object_info info;
    char meta[6000];
    void *arg;
};

static struct question *questions, **tail = &questions;

void
fake_reset(void)
{
    fake_writer_reset();
    FAKE_GUARD();
    while (n_objects) {
        free(objects[--n_objects].text);
        free(objects[n_objects].meta);
    }
    free(objects);
    objects = NULL;
    room = 0;
    n_buckets = 0;
    failing = 0;
    keep_ids = false;
    fake_counts = (struct fake_counts){0};
    assert(!questions);
}

void
fake_fail(int code)
{
    FAKE_GUARD();
    failing = code;
}

void
fake_keep_ids(bool keep)
{
    FAKE_GUARD();
    keep_ids = keep;
}

/* With the lock held until the question is complete. */
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
    q->rows = calloc(q->limit, sizeof *q->rows);
    assert(q->rows);
    const char *from = strcmp(q->after, q->key) > 0 ? q->after : q->key;
    for (const struct object *o = fake_first(q->bucket, from); o < fake_end(); o++) {
        bool folder;
        size_t len = row_len(q, o, &folder);
        char key[300];
        if (!len)
            break;
        snprintf(key, sizeof key, "%.*s", (int)len, o->key);
        if (strcmp(key, q->after) <= 0 || (n && !strcmp(key, q->rows[n - 1].key)))
            continue;
        if (folder && q->after[0] && !strncmp(q->after, key, len))
            continue;
        if (n == q->limit) {
            q->page.more = true;
            break;
        }
        q->rows[n] = (struct sf_list_row){.key = strdup(key),
                                          .key_len = len,
                                          .folder = folder,
                                          .id = strdup(o->id),
                                          .etag = strdup(o->etag),
                                          .mime = strdup(o->mime),
                                          .cache_control = strdup(o->cache),
                                          .size = o->size,
                                          .mtime_ns = o->time_ns,
                                          .updated_ns = o->time_ns};
        n++;
    }
    q->page.rows = q->rows;
    q->page.n = n;
    q->page.last = n ? q->rows[n - 1].key : NULL;
}

static void
answer_get(struct question *q)
{
    const struct object *o = fake_find(q->bucket, q->key);
    if (!o) {
        q->err.code = -ENOENT;
        return;
    }
    snprintf(q->etag, sizeof q->etag, "%s", o->etag);
    if ((q->asked[0] && strcmp(q->asked, o->etag)) ||
        (!q->get.any_total && q->get.total != o->size)) {
        q->err.code = -ESTALE;
        return;
    }
    size_t n = q->get.off < o->size ? o->size - q->get.off : 0;
    snprintf(q->cache, sizeof q->cache, "%s", o->cache);
    q->got = (struct sf_get_result){n < q->get.len ? n : q->get.len, q->etag, o->size, q->cache};
    memcpy(q->get.buf, o->text + q->get.off, q->got.len);
}

static void
answer_info(struct question *q)
{
    const struct object *o = fake_find(q->bucket, q->key);
    if (!o) {
        q->err.code = -ENOENT;
        return;
    }
    snprintf(q->meta, sizeof q->meta, "%s", o->meta ? o->meta : "{}");
    snprintf(q->id, sizeof q->id, "%s", o->id);
    snprintf(q->etag, sizeof q->etag, "%s", o->etag);
    snprintf(q->mime, sizeof q->mime, "%s", o->mime);
    snprintf(q->cache, sizeof q->cache, "%s", o->cache);
    snprintf(q->version, sizeof q->version, "v-%.30s", o->etag + 1);
    q->info = (struct sf_object_info){.id = q->id,
                                      .version = q->version,
                                      .etag = q->etag,
                                      .mime = q->mime,
                                      .cache_control = q->cache,
                                      .metadata = q->meta,
                                      .size = o->size};
}

static void
answer(struct question *q)
{
    q->answered = true;
    if (failing) {
        q->err = (struct sf_err){.code = failing, .msg = "made to fail"};
        return;
    }
    switch (q->kind) {
    case Q_LIST:
        answer_list(q);
        break;
    case Q_VERIFY:
        q->err.code = has_bucket(q->bucket) ? 0 : -ENOENT;
        break;
    case Q_BUCKETS:
        for (q->n_buckets = 0; q->n_buckets < n_buckets; q->n_buckets++) {
            const char *id = strdup(buckets[q->n_buckets]);
            q->bucket_rows[q->n_buckets] =
                (struct sf_bucket_row){.id = id, .name = id, .is_public = fake_public};
        }
        break;
    case Q_GET:
        answer_get(q);
        break;
    case Q_INFO:
        answer_info(q);
        break;
    case Q_SIGN:
        q->err.code = fake_find(q->bucket, q->key) ? 0 : -ENOENT;
        snprintf(q->meta, sizeof q->meta, "https://p/%s/%s?for=%u&token=%u", q->bucket, q->key,
                 q->limit, fake_counts.signs);
        break;
    }
}

void
fake_answer(void)
{
    FAKE_GUARD();
    for (struct question *q = questions; q; q = q->next)
        if (!q->answered)
            answer(q);
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
        q->bucket_fn(q->arg, err, q->bucket_rows, err ? 0 : q->n_buckets);
        break;
    case Q_INFO:
        q->info_fn(q->arg, err, err ? NULL : &q->info);
        break;
    case Q_GET:
        q->get_fn(q->arg, err, err ? NULL : &q->got);
        break;
    case Q_SIGN:
        q->sign_fn(q->arg, err, err ? NULL : q->meta);
        break;
    }
    for (size_t i = 0; i < q->page.n; i++) {
        free((char *)q->rows[i].key);
        free((char *)q->rows[i].id);
        free((char *)q->rows[i].etag);
        free((char *)q->rows[i].mime);
        free((char *)q->rows[i].cache_control);
    }
    for (size_t i = 0; i < q->n_buckets; i++)
        free((char *)q->bucket_rows[i].id);
    free(q->rows);
    free(q);
}

/* The oldest question; answered now if it was not yet. */
static struct question *
take_question(void)
{
    FAKE_GUARD();
    struct question *q = questions;
    if (!q)
        return NULL;
    questions = q->next;
    if (!questions)
        tail = &questions;
    if (!q->answered)
        answer(q);
    return q;
}

void
fake_deliver(void)
{
    fake_lock();
    struct question *q = questions, *next;
    questions = NULL;
    tail = &questions;
    fake_unlock();
    for (; q; q = next) {
        next = q->next;
        assert(q->answered);
        deliver(q);
    }
}

void
fake_overtake(void)
{
    fake_lock();
    struct question **p = &questions, *q;
    assert(questions);
    while ((*p)->next)
        p = &(*p)->next;
    q = *p;
    *p = NULL;
    tail = p;
    if (!q->answered)
        answer(q);
    fake_unlock();
    deliver(q);
}

bool
fake_step_question(void)
{
    struct question *q = take_question();
    if (q)
        deliver(q);
    return q != NULL;
}

bool
fake_step(void)
{
    bool asked = fake_step_question(), changed = fake_change(), told = fake_told();
    return asked || changed || told;
}

void
fake_run(void)
{
    while (fake_step())
        ;
}

/* ---- supabase/storage.h, as far as the tree uses it
 * ----------------------------------------------- */

uint64_t
sf_storage_list(struct sf_storage *st, const struct sf_list_args *a, int64_t deadline_ms,
                sf_list_fn cb, void *arg)
{
    FAKE_GUARD();
    (void)st, (void)deadline_ms;
    struct question *q = ask(Q_LIST, a->bucket, a->prefix, arg);
    snprintf(q->after, sizeof q->after, "%s", a->after ? a->after : "");
    q->limit = a->limit ? a->limit : 1000;
    q->delimiter = a->delimiter;
    q->list_fn = cb;
    fake_counts.pages += q->limit == 1000;
    fake_counts.flat += !q->delimiter;
    fake_counts.lists++;
    return 1;
}

uint64_t
sf_storage_verify(struct sf_storage *st, const char *bucket, int64_t deadline_ms, sf_plain_fn cb,
                  void *arg)
{
    FAKE_GUARD();
    (void)st, (void)deadline_ms;
    ask(Q_VERIFY, bucket, NULL, arg)->plain_fn = cb;
    fake_counts.verifies++;
    return 1;
}

uint64_t
sf_storage_bucket_list(struct sf_storage *st, int64_t deadline_ms, sf_bucket_list_fn cb, void *arg)
{
    FAKE_GUARD();
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
    FAKE_GUARD();
    (void)st, (void)deadline_ms;
    struct question *q = ask(Q_GET, a->bucket, a->key, arg);
    q->get = *a;
    snprintf(q->asked, sizeof q->asked, "%s", a->etag ? a->etag : "");
    q->get_fn = cb;
    fake_counts.gets++;
    return 1;
}

uint64_t
sf_storage_info(struct sf_storage *st, const char *bucket, const char *key, int64_t deadline_ms,
                sf_info_fn cb, void *arg)
{
    FAKE_GUARD();
    (void)st, (void)deadline_ms;
    ask(Q_INFO, bucket, key, arg)->info_fn = cb;
    fake_counts.infos++;
    return 1;
}

uint64_t
sf_storage_sign(struct sf_storage *st, const char *bucket, const char *key, uint64_t seconds,
                int64_t deadline_ms, sf_sign_fn cb, void *arg)
{
    FAKE_GUARD();
    (void)st, (void)deadline_ms;
    struct question *q = ask(Q_SIGN, bucket, key, arg);
    q->sign_fn = cb;
    q->limit = (unsigned)seconds;
    fake_counts.signs++;
    return 1;
}

char *
sf_storage_public_url(const struct sf_storage *st, const char *bucket, const char *key)
{
    char *url = NULL;
    (void)st;
    return asprintf(&url, "https://p/public/%s/%s", bucket, key) < 0 ? NULL : url;
}

void
sf_storage_cancel(struct sf_storage *st, uint64_t id)
{
    (void)st, (void)id;
}
