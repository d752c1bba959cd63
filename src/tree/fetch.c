/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include "base/clock.h"
#include "observe/counter.h"
#include "tables/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Where handles read from: a version of an object, which the cache has or gets from here.
 *
 * A node stands for one version at a time (n->version counts them), under ETags that may change
 * with its name and attributes. Which of these belong to the same bytes the cache knows: whoever
 * changes something here, or finds the ETag of what was sent from here, tells it (write/bytes.h,
 * origin_same_locked()). Bytes under an ETag that neither is nor is known to be the same are never
 * put beside those of a version that somebody reads.
 */

/* ---- names in the cache ---------------------------------------------------------------------- */

/* What a version is called there; strings are owned. */
struct name {
    char *bucket, *id, *etag;
    uint64_t size;
};

static void
name_fini(struct name *k)
{
    free(k->bucket);
    free(k->id);
    free(k->etag);
}

/* 0 or -ENOMEM. What is not known is "". */
static int
name_locked(const struct node *n, struct name *out)
{
    char id[NODE_ID_SIZE], etag[NODE_ETAG_SIZE];
    const struct bucket *b = node_bucket_locked(n);
    *out = (struct name){.bucket = strdup(b ? b->id : ""),
                         .id = strdup(node_id(n, id)),
                         .etag = strdup(node_etag(n, etag)),
                         .size = n->size};
    return out->bucket && out->id && out->etag ? 0 : -ENOMEM;
}

/* NULL: too little is known, or there is no memory. */
static struct sf_cached *
cached_of(struct sf_tree *t, const struct name *k)
{
    const struct sf_cache_key key = {k->bucket, k->id, k->etag, k->size};
    struct sf_cached *c = NULL;
    if (!k->bucket[0] || !k->id[0] || !k->etag[0] || sf_cached_get(t->opts.cache, &key, &c))
        return NULL;
    return c;
}

struct sf_cached *
cached_of_node(struct sf_tree *t, struct node *n)
{
    struct name k;
    tree_lock(t);
    int rc = name_locked(n, &k);
    tree_unlock(t);
    struct sf_cached *c = rc < 0 ? NULL : cached_of(t, &k);
    name_fini(&k);
    return c;
}

int
sf_tree_cached(struct sf_tree *t, uint64_t nid, struct sf_cached **ret)
{
    struct sf_cached *c = NULL;
    tree_lock(t);
    struct node *n = node_get_locked(t, nid);
    int rc = !n ? -ESTALE : n->type != N_FILE || !n->size || live(n)->content ? -ENODATA : 0;
    if (n)
        node_ref_locked(n);
    tree_unlock(t);
    if (!n)
        return rc;
    if (!rc && !(c = cached_of_node(t, n)))
        rc = -ENODATA;
    tree_lock(t);
    node_unref_locked(t, n);
    tree_unlock(t);
    if (!rc)
        *ret = c;
    return rc;
}

void
sf_tree_drop_pages(struct sf_tree *t, uint64_t nid)
{
    SF_GUARD(&t->lock);
    if (t->notify.inval_node)
        t->notify.inval_node(t->notify.arg, nid, true);
}

struct same {
    struct action act;
    struct sf_cache *cache;
    struct name from, to;
};

static void
same_run(struct action *a)
{
    struct same *s = (struct same *)a;
    const struct sf_cache_key from = {s->from.bucket, s->from.id, s->from.etag, s->from.size};
    const struct sf_cache_key to = {s->to.bucket, s->to.id, s->to.etag, s->to.size};
    sf_cache_alias(s->cache, &from, &to);
    name_fini(&s->from);
    name_fini(&s->to);
    free(s);
}

void
origin_same_locked(struct sf_tree *t, const struct node *n, const char *id, const char *etag)
{
    struct same *s;
    if (!node_has_id(n) || !node_has_etag(n) || !*id || !*etag || !n->size ||
        !(s = calloc(1, sizeof *s)))
        return;
    s->cache = t->opts.cache;
    int rc = name_locked(n, &s->from);
    s->to = (struct name){strdup(s->from.bucket ? s->from.bucket : ""), strdup(id), strdup(etag),
                          n->size};
    if (rc == 0 && s->to.bucket && s->to.id && s->to.etag && s->from.bucket[0]) {
        tree_queue_locked(t, &s->act, same_run);
        return;
    }
    name_fini(&s->from);
    name_fini(&s->to);
    free(s);
}

/* ---- origins --------------------------------------------------------------------------------- */

struct origin {
    struct action act; /* the stream goes; then the cache drops it */
    struct sf_tree *tree;
    struct node *node; /* counted */
    struct sf_cached *cached;
    struct sf_stream *stream;
    uint64_t size;
    unsigned version; /* of the node */
    uint32_t users;   /* the tree's lock protects this, and the next */
    bool fetched;     /* something of it was asked for */
    uint64_t got;     /* bytes that came, and since when they were asked for */
    int64_t began_ms;
    char *etag; /* what the bytes had last; NULL = not known */
};

/* What was fetched for a reader is one download, told of at its end. */
static void
origin_told(const struct origin *o)
{
    struct sf_tree *t = o->tree;
    char *bucket = NULL, *key = NULL, id[NODE_ID_SIZE] = "";
    if (!t->opts.tables || !o->got)
        return;
    tree_lock(t);
    int rc = node_key_locked(o->node, &bucket, &key);
    if (o->node->version == o->version)
        snprintf(id, sizeof id, "%s", node_id(o->node, (char[NODE_ID_SIZE]){0}));
    tree_unlock(t);
    const struct sf_file_fact f = {.bucket = bucket, .key = key, .id = id, .size = o->size};
    if (rc == 0)
        sf_tables_note(t->opts.tables, SF_OP_DOWNLOAD, &f, NULL, o->got,
                       sf_clock_ms() - o->began_ms, 0);
    free(bucket);
    free(key);
}

static void
origin_free(struct origin *o)
{
    struct sf_tree *t = o->tree;
    origin_told(o);
    sf_cached_unref(o->cached);
    tree_lock(t);
    node_unref_locked(t, o->node);
    tree_unlock(t);
    free(o->etag);
    free(o);
    SF_GUARD(&t->lock); /* the last that is done with the tree */
    if (--t->origins == 0)
        sf_cond_broadcast(&t->idle);
}

void
sf_tree_drop(void *arg, void *what)
{
    (void)arg;
    origin_free(what);
}

static void
origin_end(struct action *a)
{
    struct origin *o = (struct origin *)((char *)a - offsetof(struct origin, act));
    sf_stream_free(o->stream);
}

void
origin_ref_locked(struct origin *o)
{
    o->users++;
}

void
origin_unref_locked(struct sf_tree *t, struct origin *o)
{
    if (o && --o->users == 0)
        tree_queue_locked(t, &o->act, origin_end);
}

bool
origin_of_locked(const struct origin *o, const struct node *n)
{
    return o->version == n->version;
}

bool
origin_fits_locked(const struct origin *o, const struct node *n)
{
    return o->version == n->version && o->size == n->size;
}

bool
origin_fetched_locked(const struct origin *o)
{
    return o->fetched;
}

struct sf_stream *
origin_stream(const struct origin *o)
{
    return o->stream;
}

int
origin_new(struct sf_tree *t, struct node *n, struct origin **ret)
{
    struct origin *o = calloc(1, sizeof *o);
    struct name k = {.bucket = NULL};
    tree_lock(t);
    int rc = o ? name_locked(n, &k) : -ENOMEM;
    if (rc == 0) {
        node_ref_locked(n);
        t->origins++;
        *o = (struct origin){.tree = t, .node = n, .size = n->size, .version = n->version};
        o->users = 1;
    }
    tree_unlock(t);
    if (rc == 0) {
        o->cached = cached_of(t, &k);
        if (k.etag[0])
            o->etag = sf_steal(k.etag);
        if (!o->cached)
            rc = sf_cached_new(t->opts.cache, o->size, &o->cached);
        if (rc == 0)
            rc = sf_stream_new(o->cached, o, &o->stream);
        if (rc < 0)
            origin_free(o);
        else
            *ret = o;
    } else {
        free(o);
    }
    name_fini(&k);
    return rc;
}

/* ---- fetching -------------------------------------------------------------------------------- */

struct fetch {
    struct origin *origin; /* until done() was called */
    char *bucket, *key;
    char *id, *etag; /* the ETag that is asked for; NULL = any */
    uint8_t turns;   /* how often it was looked for under another name */
    uint64_t off;
    size_t len;
    char *buf;
    int priority;
    sf_fetched_fn done;
    void *arg;
    struct fetch *prev, *next; /* those that wait for an answer */
    uint64_t serial, call;     /* call: for sf_storage_cancel(); 0 = not yet known */
    int away;                  /* it was given up for this */
};

/* The kernel asks again at once for the page that its read-ahead did not get: for a moment after a
 * deadline the file's readers are not made to wait as long again, unless the service answers. */
#define GIVE_UP_MS 1000

static bool
given_up_locked(const struct sf_tree *t, const struct node *n)
{
    return live(n)->gave_up_ms && t->quiet_since < live(n)->gave_up_ms &&
           sf_clock_ms() - live(n)->gave_up_ms < GIVE_UP_MS;
}

/* Copies what the request needs. 0 or -errno. */
static int
fetch_prepare_locked(struct fetch *f)
{
    const struct origin *o = f->origin;
    const struct node *n = o->node;
    char buf[NODE_ETAG_SIZE], id[NODE_ID_SIZE];
    if (given_up_locked(o->tree, n))
        return -ETIMEDOUT;
    if (n->version != o->version || n->size != o->size)
        return -ESTALE;
    if (!n->parent && n->etag_open)
        return -ESTALE; /* under its old key may be anything by now */
    int away = tree_away_locked(o->tree);
    if (away)
        return away;
    int rc = node_key_locked(n, &f->bucket, &f->key);
    if (rc < 0)
        return rc;
    f->id = strdup(node_id(n, id));
    if (node_has_etag(n) && !n->etag_open && !(f->etag = strdup(node_etag(n, buf))))
        return -ENOMEM;
    return f->id ? 0 : -ENOMEM;
}

static void
fetch_finish(struct fetch *f, int rc, const struct sf_err *why, size_t len)
{
    struct sf_err err = why && why->code == rc ? *why : SF_ERR_INIT;
    if (rc < 0 && !err.code)
        (void)!sf_err_set(&err, rc, "%s/%s: %s", f->bucket ? f->bucket : "", f->key ? f->key : "",
                          rc == -ESTALE ? "this version is not there any more"
                                        : "the service does not answer");
    f->done(f->arg, rc < 0 ? &err : NULL, len);
    free(f->bucket);
    free(f->key);
    free(f->id);
    free(f->etag);
    free(f);
}

/* Does the cache know that version of the object as these bytes? */
static bool
is_same(const struct fetch *f, const char *etag)
{
    const struct origin *o = f->origin;
    const struct name k = {f->bucket, f->id, (char *)etag, o->size};
    struct sf_cached *c = cached_of(o->tree, &k);
    bool same = c == o->cached;
    sf_cached_unref(c);
    return same;
}

/* The bytes have this ETag now. Without memory nothing changes. */
static void
origin_renamed_locked(struct origin *o, const char *etag)
{
    char *copy = strdup(etag);
    if (!copy)
        return;
    free(o->etag);
    o->etag = copy;
}

/* The object may have got another ETag since the origin was made. 0 or -ESTALE. */
static int
fetch_check(struct fetch *f)
{
    struct origin *o = f->origin;
    tree_lock(o->tree);
    bool other = f->etag && o->etag && !sf_etag_same(f->etag, o->etag);
    if (f->etag && !o->etag)
        origin_renamed_locked(o, f->etag);
    tree_unlock(o->tree);
    if (!other)
        return 0;
    if (!is_same(f, f->etag))
        return -ESTALE;
    tree_lock(o->tree);
    origin_renamed_locked(o, f->etag);
    tree_unlock(o->tree);
    return 0;
}

/* Bytes came of an object whose ETag was not known: are they of this version? */
static bool
learn(struct fetch *f, const struct sf_get_result *got)
{
    struct origin *o = f->origin;
    struct sf_tree *t = o->tree;
    struct node *n = o->node;
    tree_lock(t);
    const char *was = o->etag;
    bool sure = !was || sf_etag_same(was, got->etag) ||
                (!sf_etag_is_md5(got->etag) && attr_mark_fits_locked(t, n, got->cache_control));
    tree_unlock(t);
    if (!sure && !is_same(f, got->etag))
        return false;
    tree_lock(t);
    if (n->version == o->version && n->etag_open) {
        if (!node_etag_is(n, got->etag)) {
            if (sure)
                origin_same_locked(t, n, f->id, got->etag);
            n->keep_pages = false;
        }
        if (node_set_etag(n, got->etag) == 0)
            n->etag_open = false;
    }
    origin_renamed_locked(o, got->etag);
    tree_unlock(t);
    return true;
}

/* The object is not under this key. Where a directory above is being renamed, or has been
 * meanwhile, it is under another; twice, because it goes from the old name to the new. */
static bool
elsewhere_locked(struct fetch *f)
{
    char *bucket = NULL, *key = NULL;
    if (f->turns >= 2)
        return false;
    if (sf_write_other_name(f->origin->tree->writer, f->bucket, f->key, &bucket, &key) ==
        SF_NAME_STAYS) {
        if (node_key_locked(f->origin->node, &bucket, &key) < 0)
            return false;
        if (strcmp(key, f->key) == 0 && strcmp(bucket, f->bucket) == 0) {
            free(bucket);
            free(key);
            return false;
        }
    }
    free(f->bucket);
    free(f->key);
    f->bucket = bucket;
    f->key = key;
    f->turns++;
    return true;
}

static uint64_t fetch_send(struct fetch *f);

static void
fetch_done(void *arg, const struct sf_err *err, const struct sf_get_result *got)
{
    struct fetch *f = arg;
    struct origin *o = f->origin;
    struct sf_tree *t = o->tree;
    struct live *l;
    int rc = err ? err->code : 0;
    tree_lock(t);
    *(f->prev ? &f->prev->next : &t->fetches) = f->next;
    if (f->next)
        f->next->prev = f->prev;
    tree_answer_locked(t, err);
    if (rc == -ECANCELED && f->away)
        rc = f->away;
    bool again = rc == -ENOENT && elsewhere_locked(f);
    if (again)
        tree_ask_locked(t);
    if (rc == -ETIMEDOUT && (l = live_of(o->node)))
        l->gave_up_ms = sf_clock_ms();
    tree_unlock(t);
    if (again) {
        fetch_send(f);
        return;
    }
    if (!rc)
        rc = f->etag ? fetch_check(f) : learn(f, got) ? 0 : -ESTALE;
    if (rc == -ENOENT)
        rc = -ESTALE;
    if (!rc && t->opts.tables) {
        SF_GUARD(&t->lock);
        o->got += got->len;
    }
    fetch_finish(f, rc, err, rc < 0 ? 0 : got->len);
}

/* Nobody would answer: those who wait are told now. */
void
fetches_give_up_locked(struct sf_tree *t, int away)
{
    uint64_t calls[64];
    size_t n = 0;
    for (struct fetch *f = t->fetches; f && n < sizeof calls / sizeof *calls; f = f->next)
        if (f->call && !f->away) {
            f->away = away;
            calls[n++] = f->call;
        }
    for (size_t i = 0; i < n; i++)
        sf_storage_cancel(t->st, calls[i]);
}

/* The call of a fetch, unless that has ended meanwhile. */
static void
note_call(struct sf_tree *t, uint64_t serial, uint64_t call)
{
    SF_GUARD(&t->lock);
    for (struct fetch *f = t->fetches; f; f = f->next)
        if (f->serial == serial)
            f->call = call;
}

static uint64_t
fetch_send(struct fetch *f)
{
    struct sf_tree *t = f->origin->tree;
    tree_lock(t);
    uint64_t serial = f->serial = ++t->fetch_serial;
    f->call = 0;
    f->prev = NULL;
    f->next = t->fetches;
    if (f->next)
        f->next->prev = f;
    t->fetches = f;
    tree_unlock(t);
    const struct sf_get_args args = {.bucket = f->bucket,
                                     .key = f->key,
                                     .off = f->off,
                                     .len = f->len,
                                     .buf = f->buf,
                                     .etag = f->etag,
                                     .total = f->origin->size,
                                     .token = f->etag,
                                     .priority = f->priority};
    uint64_t call = sf_storage_get(t->st, &args, tree_read_deadline(t), fetch_done, f);
    note_call(t, serial, call);
    return call;
}

/* A reader waits for the beginning of a file: others may be opened soon. Its own request goes
 * first. */
static uint64_t
fetch_send_missed(struct fetch *f)
{
    struct sf_tree *t = f->origin->tree;
    struct node *n = f->origin->node;
    tree_lock(t);
    atomic_fetch_add(&t->acting, 1); /* the origin may go with the request */
    node_ref_locked(n);
    tree_unlock(t);
    uint64_t id = fetch_send(f);
    tree_lock(t);
    ahead_missed_locked(t, n);
    node_unref_locked(t, n);
    tree_unlock(t);
    atomic_fetch_sub(&t->acting, 1);
    return id;
}

uint64_t
sf_tree_fetch(void *arg, void *what, uint64_t off, size_t len, char *buf, int priority,
              sf_fetched_fn done, void *done_arg)
{
    struct origin *o = what;
    struct sf_tree *t = o->tree;
    struct fetch *f = calloc(1, sizeof *f);
    (void)arg;
    if (!f) {
        struct sf_err err = SF_ERR_INIT;
        (void)!sf_err_set(&err, -ENOMEM, "out of memory");
        done(done_arg, &err, 0);
        return 0;
    }
    *f = (struct fetch){.origin = o,
                        .off = off,
                        .len = len,
                        .buf = buf,
                        .priority = priority,
                        .done = done,
                        .arg = done_arg};
    tree_lock(t);
    if (!o->fetched)
        o->began_ms = sf_clock_ms();
    o->fetched = true;
    int rc = fetch_prepare_locked(f);
    tree_unlock(t);
    if (rc == 0)
        rc = fetch_check(f);
    if (rc < 0) {
        fetch_finish(f, rc, NULL, 0);
        return 0;
    }
    tree_lock(t);
    tree_ask_locked(t);
    tree_unlock(t);
    return off == 0 && priority > 0 ? fetch_send_missed(f) : fetch_send(f);
}

void
sf_tree_fetch_cancel(void *arg, uint64_t id)
{
    sf_storage_cancel(arg, id);
}
