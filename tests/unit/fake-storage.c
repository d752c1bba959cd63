/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fake-storage.h"
#include "fake-storage-internal.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "supabase/storage.h"
#include "write/digest.h"
#include "write/put.h"

#define OBJECTS_MAX 256
#define FAULTS_MAX  32
#define GETS_MAX    64

struct fault {
    enum fake_op op;
    unsigned left;
    enum fake_fault fault;
    int code;
};

struct get {
    bool used, cancelled;
    uint64_t id;
    char bucket[32], key[200], etag[40];
    struct sf_get_args args;
    sf_get_fn cb;
    void *arg;
};

pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER; /* protects all below */
#define lock fake_lock
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static struct fake_object objects[OBJECTS_MAX];
static struct {
    char name[32];
    uint64_t limit;
} buckets[8];
static struct fault faults[FAULTS_MAX];
static size_t n_faults;
static unsigned serial, version;
static char protected[200]; /* this key is never removed, and nobody says so */
static char failing[200];   /* this one is never put */
static int failing_code;
static bool opaque, spoil, closed[FAKE_OPS], running;
static unsigned at_gate[FAKE_OPS], counts[FAKE_OPS], active[FAKE_OPS], peak[FAKE_OPS];
static void (*meanwhile[FAKE_OPS])(void);
static struct sf_buf order = SF_BUF_INIT;
static struct get gets[GETS_MAX];
static uint64_t last_get, got_bytes;
static bool function;
static uint64_t request_limit;
static pthread_t loop_thread;

/* ---- what is there -------------------------------------------------------------------------- */

static struct fake_object *
find_locked(const char *bucket, const char *key)
{
    for (size_t i = 0; i < OBJECTS_MAX; i++)
        if (objects[i].id[0] && !strcmp(objects[i].bucket, bucket) && !strcmp(objects[i].key, key))
            return &objects[i];
    return NULL;
}

static int
bucket_index(const char *bucket)
{
    for (int i = 0; i < 8; i++)
        if (buckets[i].name[0] && !strcmp(buckets[i].name, bucket))
            return i;
    return -1;
}

static void
md5_etag(const void *data, size_t len, char out[40])
{
    FILE *f = tmpfile();
    assert(f && fwrite(data, 1, len, f) == len && fflush(f) == 0);
    struct sf_digests d;
    assert(sf_digest_file(fileno(f), len, &d) == 0);
    snprintf(out, 40, "%s", d.md5_etag);
    fclose(f);
}

static struct fake_object *
set_locked(const char *bucket, const char *key, const void *data, size_t len)
{
    struct fake_object *o = find_locked(bucket, key);
    for (size_t i = 0; !o && i < OBJECTS_MAX; i++)
        if (!objects[i].id[0])
            o = &objects[i];
    assert(o);
    if (!o->id[0]) {
        snprintf(o->bucket, sizeof o->bucket, "%s", bucket);
        snprintf(o->key, sizeof o->key, "%s", key);
        snprintf(o->id, sizeof o->id, "id-%u", ++serial);
    }
    free(o->data);
    free(o->metadata);
    o->data = malloc(len + 1);
    memcpy(o->data, data, len);
    o->data[len] = '\0';
    o->len = len;
    o->metadata = strdup("{}");
    snprintf(o->mime, sizeof o->mime, "application/octet-stream");
    snprintf(o->cache_control, sizeof o->cache_control, "no-cache");
    o->version = ++version;
    o->updated_ns = sf_clock_ns();
    if (opaque)
        snprintf(o->etag, sizeof o->etag, "\"1a1f-%u\"", version);
    else
        md5_etag(data, len, o->etag);
    return o;
}

static void
remove_locked(struct fake_object *o)
{
    free(o->data);
    free(o->metadata);
    *o = (struct fake_object){0};
}

struct fake_object *
fake_set_bytes(const char *bucket, const char *key, const void *data, size_t len)
{
    pthread_mutex_lock(&lock);
    struct fake_object *o = set_locked(bucket, key, data, len);
    pthread_mutex_unlock(&lock);
    return o;
}

struct fake_object *
fake_set(const char *bucket, const char *key, const char *text)
{
    return fake_set_bytes(bucket, key, text, strlen(text));
}

void
fake_describe(struct fake_object *o, const char *mime, const char *cache_control,
              const char *metadata)
{
    pthread_mutex_lock(&lock);
    if (mime)
        snprintf(o->mime, sizeof o->mime, "%s", mime);
    if (cache_control)
        snprintf(o->cache_control, sizeof o->cache_control, "%s", cache_control);
    if (metadata) {
        free(o->metadata);
        o->metadata = strdup(metadata);
    }
    pthread_mutex_unlock(&lock);
}

const struct fake_object *
fake_find(const char *bucket, const char *key)
{
    pthread_mutex_lock(&lock);
    const struct fake_object *o = find_locked(bucket, key);
    pthread_mutex_unlock(&lock);
    return o;
}

bool
fake_has(const char *bucket, const char *key, const char *text)
{
    pthread_mutex_lock(&lock);
    const struct fake_object *o = find_locked(bucket, key);
    bool yes = o && o->len == strlen(text) && !memcmp(o->data, text, o->len);
    pthread_mutex_unlock(&lock);
    return yes;
}

void
fake_remove(const char *bucket, const char *key)
{
    pthread_mutex_lock(&lock);
    struct fake_object *o = find_locked(bucket, key);
    if (o)
        remove_locked(o);
    pthread_mutex_unlock(&lock);
}

void
fake_bucket(const char *bucket, uint64_t size_limit)
{
    pthread_mutex_lock(&lock);
    int i = bucket_index(bucket);
    for (int k = 0; i < 0 && k < 8; k++)
        if (!buckets[k].name[0])
            i = k;
    assert(i >= 0);
    snprintf(buckets[i].name, sizeof buckets[i].name, "%s", bucket);
    buckets[i].limit = size_limit;
    pthread_mutex_unlock(&lock);
}

bool
fake_has_bucket(const char *bucket)
{
    pthread_mutex_lock(&lock);
    bool yes = bucket_index(bucket) >= 0;
    pthread_mutex_unlock(&lock);
    return yes;
}

void
fake_opaque_etags(bool on)
{
    opaque = on;
}

/* ---- faults and gates ----------------------------------------------------------------------- */

void
fake_fault(enum fake_op op, unsigned n, enum fake_fault fault, int code)
{
    pthread_mutex_lock(&lock);
    assert(n_faults < FAULTS_MAX);
    faults[n_faults++] = (struct fault){op, n, fault, code};
    pthread_mutex_unlock(&lock);
}

void
fake_fail_key(const char *key, int code)
{
    pthread_mutex_lock(&lock);
    snprintf(failing, sizeof failing, "%s", key);
    failing_code = code;
    pthread_mutex_unlock(&lock);
}

void
fake_meanwhile(enum fake_op op, void (*fn)(void))
{
    meanwhile[op] = fn;
}

void
fake_protect(const char *key)
{
    snprintf(protected, sizeof protected, "%s", key);
}

void
fake_spoil_copy(void)
{
    spoil = true;
}

void
fake_close(enum fake_op op)
{
    pthread_mutex_lock(&lock);
    closed[op] = true;
    pthread_mutex_unlock(&lock);
}

void
fake_open(enum fake_op op)
{
    pthread_mutex_lock(&lock);
    closed[op] = false;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

void
fake_wait_at_gate(enum fake_op op, unsigned n)
{
    pthread_mutex_lock(&lock);
    while (at_gate[op] < n)
        pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
}

unsigned
fake_count(enum fake_op op)
{
    pthread_mutex_lock(&lock);
    unsigned n = counts[op];
    pthread_mutex_unlock(&lock);
    return n;
}

unsigned
fake_peak(enum fake_op op)
{
    pthread_mutex_lock(&lock);
    unsigned n = peak[op];
    pthread_mutex_unlock(&lock);
    return n;
}

const char *
fake_order(void)
{
    static char text[8192];
    pthread_mutex_lock(&lock);
    snprintf(text, sizeof text, "%s", sf_buf_str(&order));
    pthread_mutex_unlock(&lock);
    return text;
}

static void
begin_locked(enum fake_op op)
{
    counts[op]++;
    if (++active[op] > peak[op])
        peak[op] = active[op];
}

/* Count the request, wait at the gate. Returns with the lock. */
static void
enter(enum fake_op op)
{
    pthread_mutex_lock(&lock);
    begin_locked(op);
    at_gate[op]++;
    pthread_cond_broadcast(&cond);
    while (closed[op])
        pthread_cond_wait(&cond, &lock);
    at_gate[op]--;
}

/* The fault of this request, or -1. */
static int
fault_locked(enum fake_op op, int *code)
{
    for (size_t i = 0; i < n_faults; i++)
        if (faults[i].op == op && faults[i].left) {
            faults[i].left--;
            *code = faults[i].code;
            return (int)faults[i].fault;
        }
    return -1;
}

/* Whether the request is done, given its fault; else *rc is the answer. */
static bool
shall_do(int fault)
{
    return fault != FAKE_LOST_BEFORE && fault != FAKE_REFUSED;
}

/* The answer: what was done, unless a fault says otherwise. Gives the lock back. */
static int
leave(enum fake_op op, int rc, int fault, int code, struct sf_err *err)
{
    active[op]--;
    void (*fn)(void) = meanwhile[op];
    meanwhile[op] = NULL;
    pthread_mutex_unlock(&lock);
    if (fn)
        fn();
    if (fault >= 0)
        rc = code;
    if (rc && err) {
        (void)!sf_err_set(err, rc, "fake answer %d", rc);
        err->outcome_open = fault == FAKE_LOST_AFTER || fault == FAKE_LOST_BEFORE;
    }
    return rc;
}

static void
note_locked(const char *what, const char *bucket, const char *key)
{
    sf_buf_printf(&order, "%s %s/%s;", what, bucket, key);
}

/* ---- supabase/storage.h --------------------------------------------------------------------- */

void
sf_object_fini(struct sf_object *o)
{
    free(o->id);
    free(o->version);
    free(o->etag);
    free(o->mime);
    free(o->cache_control);
    free(o->metadata);
    *o = (struct sf_object){0};
}

static void
export_locked(const struct fake_object *o, struct sf_object *out)
{
    char v[16];
    snprintf(v, sizeof v, "v%u", o->version);
    *out = (struct sf_object){.id = strdup(o->id),
                              .version = strdup(v),
                              .etag = strdup(o->etag),
                              .mime = strdup(o->mime),
                              .cache_control = strdup(o->cache_control),
                              .metadata = strdup(o->metadata),
                              .size = o->len,
                              .updated_ns = o->updated_ns};
}

bool
sf_storage_is_retrying(struct sf_storage *st)
{
    (void)st;
    return false;
}

int
sf_storage_info_wait(struct sf_storage *st, const char *bucket, const char *key,
                     int64_t deadline_ms, struct sf_object *out, struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    enter(FAKE_INFO);
    int code = failing_code, fault = FAKE_REFUSED, rc = -ENOENT;
    if (strcmp(failing, "*") != 0)
        fault = fault_locked(FAKE_INFO, &code);
    const struct fake_object *o = find_locked(bucket, key);
    if (o && fault < 0) {
        export_locked(o, out);
        rc = 0;
    }
    return leave(FAKE_INFO, rc, fault, code, err);
}

static int
put_locked(const struct sf_put_args *a, const char *what, char id[40])
{
    char *data = malloc(a->size + 1);
    ssize_t n = sf_pread_full(a->fd, data, a->size, 0);
    int b = bucket_index(a->bucket);
    int rc = n != (ssize_t)a->size                            ? -EIO
             : b < 0                                          ? -ENOENT
             : buckets[b].limit && a->size > buckets[b].limit ? -EFBIG
             : request_limit && a->size > request_limit       ? -EFBIG
             : !a->upsert && find_locked(a->bucket, a->key)   ? -EEXIST
                                                              : 0;
    if (!rc) {
        struct fake_object *o = set_locked(a->bucket, a->key, data, a->size);
        snprintf(o->mime, sizeof o->mime, "%s", a->mime ? a->mime : "application/octet-stream");
        if (a->cache_control)
            snprintf(o->cache_control, sizeof o->cache_control, "%s", a->cache_control);
        if (a->metadata) {
            free(o->metadata);
            o->metadata = strdup(a->metadata);
        }
        snprintf(id, 40, "%s", o->id);
        note_locked(what, a->bucket, a->key);
    }
    free(data);
    return rc;
}

int
sf_storage_put_wait(struct sf_storage *st, const struct sf_put_args *a, int64_t deadline_ms,
                    char id[40], struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    enter(FAKE_PUT);
    int code = failing_code, fault = FAKE_LOST_BEFORE;
    if (strcmp(failing, "*") != 0 && strcmp(a->key, failing) != 0)
        fault = fault_locked(FAKE_PUT, &code);
    int rc = shall_do(fault) ? put_locked(a, a->upsert ? "put" : "post", id) : 0;
    if (rc)
        fault = -1; /* the true answer comes first */
    return leave(FAKE_PUT, rc, fault, code, err);
}

static void
delete_locked(const char *bucket, const char *key, struct sf_removed *out)
{
    struct fake_object *o = find_locked(bucket, key);
    *out = (struct sf_removed){.removed = o && strcmp(key, protected)};
    if (out->removed) {
        struct sf_object copy;
        export_locked(o, &copy);
        sf_version_of_object(&copy, &out->version);
        sf_object_fini(&copy);
        remove_locked(o);
    }
    note_locked(out->removed ? "delete" : "delete-none", bucket, key);
}

int
sf_storage_put_form_wait(struct sf_storage *st, const struct sf_put_args *a, int64_t deadline_ms,
                         char id[40], struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    struct sf_put_args form = *a;
    if (!sf_cache_control_is_plain(a->cache_control))
        form.cache_control = NULL;
    enter(FAKE_PUT);
    int code = 0, fault = fault_locked(FAKE_PUT, &code);
    int rc = shall_do(fault) ? put_locked(&form, "form", id) : 0;
    return leave(FAKE_PUT, rc, rc ? -1 : fault, code, err);
}

int
sf_storage_set_attrs_wait(struct sf_storage *st, const struct sf_attrs_args *a, int64_t deadline_ms,
                          struct sf_attrs_result *res, struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    enter(FAKE_SET_ATTRS);
    int code = 0, fault = fault_locked(FAKE_SET_ATTRS, &code);
    int rc = function ? 0 : -ENOSYS;
    *res = (struct sf_attrs_result){.updated = false};
    struct fake_object *o = find_locked(a->bucket, a->key);
    char v[16] = "";
    if (o)
        snprintf(v, sizeof v, "v%u", o->version);
    snprintf(res->version, sizeof res->version, "%s", v);
    if (!rc && shall_do(fault) && o && !strcmp(v, a->version)) {
        if (a->cache_control)
            snprintf(o->cache_control, sizeof o->cache_control, "%s", a->cache_control);
        if (a->mime)
            snprintf(o->mime, sizeof o->mime, "%s", a->mime);
        if (a->metadata) {
            free(o->metadata);
            o->metadata = strdup(a->metadata);
        }
        res->updated = true;
        note_locked("set", a->bucket, a->key);
    }
    return leave(FAKE_SET_ATTRS, rc, rc ? -1 : fault, code, err);
}

int
sf_storage_delete_many_wait(struct sf_storage *st, const char *bucket, const char *const *keys,
                            size_t n, int64_t deadline_ms, struct sf_removed *removed,
                            struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    enter(FAKE_DELETE);
    int code = 0, fault = fault_locked(FAKE_DELETE, &code);
    assert(n <= SF_DELETE_MAX);
    for (size_t i = 0; i < n && shall_do(fault); i++)
        delete_locked(bucket, keys[i], &removed[i]);
    return leave(FAKE_DELETE, 0, fault, code, err);
}

static int
move_locked(const char *bucket, const char *key, const char *to_bucket, const char *to_key)
{
    struct fake_object *o = find_locked(bucket, key);
    if (!o || bucket_index(to_bucket) < 0)
        return -ENOENT;
    if (find_locked(to_bucket, to_key))
        return -EEXIST;
    snprintf(o->bucket, sizeof o->bucket, "%s", to_bucket);
    snprintf(o->key, sizeof o->key, "%s", to_key);
    o->version = ++version;
    o->updated_ns = sf_clock_ns();
    sf_buf_printf(&order, "move %s/%s %s/%s;", bucket, key, to_bucket, to_key);
    return 0;
}

int
sf_storage_move_wait(struct sf_storage *st, const char *bucket, const char *key,
                     const char *to_bucket, const char *to_key, int64_t deadline_ms,
                     struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    enter(FAKE_MOVE);
    int code = 0, fault = fault_locked(FAKE_MOVE, &code);
    int rc = shall_do(fault) ? move_locked(bucket, key, to_bucket, to_key) : 0;
    return leave(FAKE_MOVE, rc, rc ? -1 : fault, code, err);
}

static int
copy_locked(const struct sf_copy_args *a, struct sf_object *out)
{
    const struct fake_object *s = find_locked(a->bucket, a->key);
    if (!s || bucket_index(a->to_bucket) < 0)
        return -ENOENT;
    if (!a->upsert && find_locked(a->to_bucket, a->to_key))
        return -EEXIST;
    struct fake_object from = *s; /* it may be the target, too */
    if (spoil)
        from = (struct fake_object){.data = (char *)"spoilt", .len = 6, .metadata = s->metadata};
    from.data = memcpy(malloc(from.len + 1), from.data, from.len);
    from.metadata = strdup(s->metadata);
    snprintf(from.mime, sizeof from.mime, "%s", s->mime);
    snprintf(from.cache_control, sizeof from.cache_control, "%s", s->cache_control);
    spoil = false;
    struct fake_object *o = set_locked(a->to_bucket, a->to_key, from.data, from.len);
    bool keep = !a->set_metadata;
    snprintf(o->mime, sizeof o->mime, "%s", keep || !a->mime ? from.mime : a->mime);
    snprintf(o->cache_control, sizeof o->cache_control, "%s",
             keep || !a->cache_control ? from.cache_control : a->cache_control);
    free(o->metadata);
    o->metadata = strdup(keep ? from.metadata : a->metadata ? a->metadata : "{}");
    free(from.data);
    free(from.metadata);
    sf_buf_printf(&order, "copy %s/%s %s/%s;", a->bucket, a->key, a->to_bucket, a->to_key);
    if (out)
        export_locked(o, out);
    return 0;
}

int
sf_storage_copy_wait(struct sf_storage *st, const struct sf_copy_args *a, int64_t deadline_ms,
                     struct sf_object *out, struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    enter(FAKE_COPY);
    int code = 0, fault = fault_locked(FAKE_COPY, &code);
    int rc = shall_do(fault) ? copy_locked(a, fault < 0 ? out : NULL) : 0;
    return leave(FAKE_COPY, rc, rc ? -1 : fault, code, err);
}

int
sf_storage_list_wait(struct sf_storage *st, const struct sf_list_args *a, int64_t deadline_ms,
                     size_t *n, char **first, struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    enter(FAKE_LIST);
    int code = 0, fault = fault_locked(FAKE_LIST, &code);
    const char *least = NULL;
    size_t found = 0;
    for (size_t i = 0; i < OBJECTS_MAX; i++) {
        const struct fake_object *o = &objects[i];
        if (!o->id[0] || strcmp(o->bucket, a->bucket) ||
            strncmp(o->key, a->prefix, strlen(a->prefix)))
            continue;
        found++;
        if (!least || strcmp(o->key, least) < 0)
            least = o->key;
    }
    if (fault < 0) {
        *n = found < a->limit ? found : a->limit;
        *first = least ? strdup(least) : NULL;
    }
    return leave(FAKE_LIST, 0, fault, code, err);
}

static int
by_key(const void *a, const void *b)
{
    return strcmp((*(const struct fake_object *const *)a)->key,
                  (*(const struct fake_object *const *)b)->key);
}

/* Rows behind @after; what is changed while the page is looked at does not matter to the caller. */
static size_t
list_locked(const struct sf_list_args *a, const struct fake_object *found[OBJECTS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < OBJECTS_MAX; i++) {
        const struct fake_object *o = &objects[i];
        if (o->id[0] && !strcmp(o->bucket, a->bucket) &&
            !strncmp(o->key, a->prefix, strlen(a->prefix)) &&
            (!a->after || strcmp(o->key, a->after) > 0))
            found[n++] = o;
    }
    qsort(found, n, sizeof found[0], by_key);
    return n;
}

uint64_t
sf_storage_list(struct sf_storage *st, const struct sf_list_args *a, int64_t deadline_ms,
                sf_list_fn cb, void *arg)
{
    (void)st, (void)deadline_ms;
    const struct fake_object *found[OBJECTS_MAX];
    struct fake_object rows_of[FAKE_PAGE];
    struct sf_list_row rows[FAKE_PAGE];
    struct sf_err err = SF_ERR_INIT;
    enter(FAKE_LIST);
    int code = 0, fault = fault_locked(FAKE_LIST, &code);
    size_t all = list_locked(a, found), n = all < FAKE_PAGE ? all : FAKE_PAGE;
    for (size_t i = 0; i < n; i++) {
        rows_of[i] = *found[i];
        rows[i] = (struct sf_list_row){.key = rows_of[i].key,
                                       .key_len = strlen(rows_of[i].key),
                                       .id = rows_of[i].id,
                                       .etag = rows_of[i].etag,
                                       .mime = rows_of[i].mime,
                                       .cache_control = rows_of[i].cache_control,
                                       .size = rows_of[i].len,
                                       .updated_ns = rows_of[i].updated_ns};
    }
    const struct sf_list_page page = {
        .rows = rows, .n = n, .more = all > n, .last = n ? rows[n - 1].key : NULL};
    int rc = leave(FAKE_LIST, 0, fault, code, &err);
    cb(arg, rc ? &err : NULL, rc ? NULL : &page);
    return 1;
}

int
sf_storage_bucket_create_wait(struct sf_storage *st, const char *id, int64_t deadline_ms,
                              struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    enter(FAKE_BUCKET_CREATE);
    int code = 0, fault = fault_locked(FAKE_BUCKET_CREATE, &code), rc = 0;
    if (shall_do(fault)) {
        rc = bucket_index(id) >= 0 ? -EEXIST : 0;
        for (int i = 0; !rc && bucket_index(id) < 0; i++)
            if (!buckets[i].name[0])
                snprintf(buckets[i].name, sizeof buckets[i].name, "%s", id);
        note_locked("mkbucket", id, "");
    }
    return leave(FAKE_BUCKET_CREATE, rc, rc ? -1 : fault, code, err);
}

int
sf_storage_bucket_delete_wait(struct sf_storage *st, const char *id, int64_t deadline_ms,
                              struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    enter(FAKE_BUCKET_DELETE);
    int code = 0, fault = fault_locked(FAKE_BUCKET_DELETE, &code), rc = 0;
    if (shall_do(fault)) {
        int b = bucket_index(id);
        rc = b < 0 ? -ENOENT : 0;
        for (size_t i = 0; !rc && i < OBJECTS_MAX; i++)
            if (objects[i].id[0] && !strcmp(objects[i].bucket, id))
                rc = -ENOTEMPTY;
        if (!rc)
            buckets[b].name[0] = '\0';
        note_locked(rc ? "rmbucket-refused" : "rmbucket", id, "");
    }
    return leave(FAKE_BUCKET_DELETE, rc, rc ? -1 : fault, code, err);
}

uint64_t
sf_storage_bucket_get(struct sf_storage *st, const char *id, int64_t deadline_ms,
                      sf_bucket_list_fn cb, void *arg)
{
    (void)st, (void)deadline_ms;
    enter(FAKE_BUCKET_GET);
    int b = bucket_index(id);
    struct sf_bucket_row row = {.id = id, .name = id, .size_limit = b < 0 ? 0 : buckets[b].limit};
    struct sf_err err = SF_ERR_INIT;
    int rc = leave(FAKE_BUCKET_GET, b < 0 ? -ENOENT : 0, -1, 0, &err);
    cb(arg, rc ? &err : NULL, rc ? NULL : &row, rc ? 0 : 1);
    return 1;
}

/* ---- for the other files of the fake -------------------------------------------------------- */

int
fake_enter(enum fake_op op, int *code)
{
    enter(op);
    return fault_locked(op, code);
}

int
fake_leave(enum fake_op op, int rc, int fault, int code, struct sf_err *err)
{
    return leave(op, rc, fault, code, err);
}

int
fake_check_locked(const char *bucket, const char *key, uint64_t size, bool upsert)
{
    int b = bucket_index(bucket);
    return b < 0                                         ? -ENOENT
           : buckets[b].limit && size > buckets[b].limit ? -EFBIG
           : !upsert && find_locked(bucket, key)         ? -EEXIST
                                                         : 0;
}

unsigned
fake_version_locked(void)
{
    return ++version;
}

struct fake_object *
fake_store_locked(const char *bucket, const char *key, const void *data, size_t len, unsigned as,
                  const char *what)
{
    struct fake_object *o = set_locked(bucket, key, data, len);
    o->version = as;
    note_locked(what, bucket, key);
    return o;
}

void
fake_function(bool on)
{
    function = on;
}

void
fake_request_limit(uint64_t bytes)
{
    request_limit = bytes;
}

/* ---- GET, on a thread of its own, as on the event thread --------------------------------------
 */

static void
get_answer(const struct get *g)
{
    struct sf_err err = SF_ERR_INIT;
    char etag[40];
    size_t n = 0;
    uint64_t total = 0;
    pthread_mutex_lock(&lock);
    int code = 0, fault = fault_locked(FAKE_GET, &code);
    const struct fake_object *o = find_locked(g->bucket, g->key);
    int rc = g->cancelled                             ? -ECANCELED
             : fault >= 0                             ? code
             : !o                                     ? -ENOENT
             : g->etag[0] && strcmp(g->etag, o->etag) ? -ESTALE
             : g->args.total != o->len                ? -ESTALE
                                                      : 0;
    if (!rc) {
        n = o->len - g->args.off < g->args.len ? o->len - g->args.off : g->args.len;
        memcpy(g->args.buf, o->data + g->args.off, n);
        got_bytes += n;
        total = o->len;
        snprintf(etag, sizeof etag, "%s", o->etag);
    }
    (void)leave(FAKE_GET, rc, -1, 0, &err);
    const struct sf_get_result res = {n, etag, total, NULL};
    g->cb(g->arg, rc ? &err : NULL, rc ? NULL : &res);
}

static struct get *
next_locked(void)
{
    for (size_t i = 0; i < GETS_MAX; i++)
        if (gets[i].used && (!closed[FAKE_GET] || gets[i].cancelled))
            return &gets[i];
    return NULL;
}

static void *
loop(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    for (;;) {
        struct get *g = next_locked();
        if (!g && !running)
            break;
        if (!g) {
            pthread_cond_wait(&cond, &lock);
            continue;
        }
        struct get mine = *g;
        g->used = false;
        at_gate[FAKE_GET]--;
        pthread_mutex_unlock(&lock);
        get_answer(&mine);
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

uint64_t
sf_storage_get(struct sf_storage *st, const struct sf_get_args *a, int64_t deadline_ms,
               sf_get_fn cb, void *arg)
{
    (void)st, (void)deadline_ms;
    pthread_mutex_lock(&lock);
    begin_locked(FAKE_GET);
    struct get *g = gets;
    while (g->used)
        g++;
    assert(g < gets + GETS_MAX);
    *g = (struct get){.used = true, .id = ++last_get, .args = *a, .cb = cb, .arg = arg};
    snprintf(g->bucket, sizeof g->bucket, "%s", a->bucket);
    snprintf(g->key, sizeof g->key, "%s", a->key);
    snprintf(g->etag, sizeof g->etag, "%s", a->etag ? a->etag : "");
    uint64_t id = g->id;
    at_gate[FAKE_GET]++;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
    return id;
}

int
sf_storage_get_wait(struct sf_storage *st, const struct sf_get_args *a, int64_t deadline_ms,
                    size_t *len, struct sf_err *err)
{
    (void)st, (void)deadline_ms;
    enter(FAKE_GET);
    const struct fake_object *o = find_locked(a->bucket, a->key);
    int rc = !o ? -ENOENT : o->len != a->total || strcmp(o->etag, a->etag) != 0 ? -ESTALE : 0;
    if (!rc) {
        *len = a->len < o->len - a->off ? a->len : o->len - a->off;
        memcpy(a->buf, o->data + a->off, *len);
        got_bytes += *len;
    }
    return leave(FAKE_GET, rc, -1, 0, err);
}

void
sf_storage_cancel(struct sf_storage *st, uint64_t id)
{
    (void)st;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < GETS_MAX; i++)
        if (gets[i].used && gets[i].id == id)
            gets[i].cancelled = true;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

uint64_t
fake_got(void)
{
    pthread_mutex_lock(&lock);
    uint64_t n = got_bytes;
    pthread_mutex_unlock(&lock);
    return n;
}

/* ---- start and end -------------------------------------------------------------------------- */

void
fake_start(void)
{
    running = true;
    protected[0] = failing[0] = '\0';
    opaque = function = false;
    request_limit = 0;
    fake_forget_tus();
    n_faults = 0;
    got_bytes = 0;
    memset(closed, 0, sizeof closed);
    memset(counts, 0, sizeof counts);
    memset(peak, 0, sizeof peak);
    memset(meanwhile, 0, sizeof meanwhile);
    memset(buckets, 0, sizeof buckets);
    sf_buf_clear(&order);
    fake_bucket("b", 0);
    assert(pthread_create(&loop_thread, NULL, loop, NULL) == 0);
}

void
fake_stop(void)
{
    pthread_mutex_lock(&lock);
    running = false;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
    pthread_join(loop_thread, NULL);
    fake_forget_tus();
    for (size_t i = 0; i < OBJECTS_MAX; i++)
        if (objects[i].id[0])
            remove_locked(&objects[i]);
    sf_buf_fini(&order);
}
