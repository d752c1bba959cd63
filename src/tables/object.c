/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "supabase/rest.h"
#include "tables/internal.h"

/*
 * What the database says of objects. The first ones of a directory are asked for alone; who goes
 * through it gets pages of up to 1,000 rows, which are kept for a while for those who come next.
 * Whether pages are worth it is seen from how many of their rows are wanted, as in tree/page.c.
 */
#define TOGETHER_MS  2000      /* objects of a directory that are asked for one after the other: */
#define SINGLE_FIRST 2         /* so many singly, */
#define PAGES_FREE   4         /* so many pages, */
#define PER_PAGE     4         /* and answers out of them for each further one */
#define KNOWN_BYTES  (8 << 20) /* of what is kept */
#define NAME_MAX_LEN 4400      /* bucket and key; what is longer is not kept */
#define CHANGED_MAX  256       /* names noted during a question; more make all of it doubtful */
#define PAUSE_PART   10        /* of retry_max_ms, after a question that failed */

struct seeker {
    struct seeker *next;
    known_fn cb;
    void *arg;
    struct known *found;
    int rc;
    char key[];
};

/* A question under way. */
struct page_ask {
    struct sf_tables *t;
    struct page_ask *next;
    struct seeker *seekers;
    bool page; /* else for one object alone */
    uint64_t stamp, accepted;
    int64_t asked_ns;
    uint64_t changed[CHANGED_MAX]; /* names of which something was noted meanwhile */
    size_t n_changed;
    char *bucket, *prefix, *after;
};

static uint64_t
name_hash(const char *bucket, const char *key, size_t key_len)
{
    uint64_t b = sf_hash64(bucket, strlen(bucket));
    return b * UINT64_C(0x9e3779b97f4a7c15) ^ sf_hash64(key, key_len);
}

static size_t
prefix_len(const char *key)
{
    const char *slash = strrchr(key, '/');
    return slash ? (size_t)(slash - key) + 1 : 0;
}

/* ---- what is kept ---------------------------------------------------------------------------- */

/* Bucket, NUL, key, NUL; the length, or 0 when it is too long. */
static size_t
full_name(const char *bucket, const char *key, char out[NAME_MAX_LEN])
{
    size_t b = strlen(bucket) + 1, k = strlen(key) + 1;
    if (b + k > NAME_MAX_LEN)
        return 0;
    memcpy(out, bucket, b);
    memcpy(out + b, key, k);
    return b + k;
}

static struct known *
find_locked(const struct sf_tables *t, const char *bucket, const char *key)
{
    char name[NAME_MAX_LEN];
    struct known *k = NULL;
    size_t n = t->objects.known ? full_name(bucket, key, name) : 0;
    if (n)
        HASH_FIND(hh, t->objects.known, name, n, k);
    return k;
}

static void
unref_locked(struct known *k)
{
    if (--k->refs)
        return;
    free(k->fact.tags);
    free(k);
}

static void
drop_locked(struct sf_tables *t, struct known *k)
{
    HASH_DEL(t->objects.known, k);
    t->objects.bytes -= k->bytes;
    unref_locked(k);
}

void
known_unref(struct sf_tables *t, struct known *k)
{
    if (!k)
        return;
    SF_GUARD(&t->lock);
    unref_locked(k);
}

/* A text behind the others. */
static const char *
put(char **at, const char *text)
{
    size_t n = strlen(text) + 1;
    const char *copy = memcpy(*at, text, n);
    *at += n;
    return copy;
}

/* A copy, with one reference. */
static struct known *
known_new(const struct page_ask *a, const struct sf_dir_fact *row)
{
    const char *const texts[] = {row->id,      row->version,       row->etag,
                                 row->mime,    row->cache_control, row->sha256,
                                 row->metadata};
    size_t name = strlen(a->bucket) + row->key_len + 2, bytes = name;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        bytes += strlen(texts[i]) + 1;
    for (size_t i = 0; i < row->n_tags; i++)
        bytes += strlen(row->tags[i]) + 1;
    struct known *k = calloc(1, sizeof *k + bytes);
    const char **tags = calloc(row->n_tags + 1, sizeof *tags);
    if (!k || !tags) {
        free(k);
        free(tags);
        return NULL;
    }
    char *at = k->name;
    k->fact = *row;
    (void)put(&at, a->bucket);
    k->fact.key = put(&at, row->key);
    k->fact.id = put(&at, row->id);
    k->fact.version = put(&at, row->version);
    k->fact.etag = put(&at, row->etag);
    k->fact.mime = put(&at, row->mime);
    k->fact.cache_control = put(&at, row->cache_control);
    k->fact.sha256 = put(&at, row->sha256);
    k->fact.metadata = put(&at, row->metadata);
    for (size_t i = 0; i < row->n_tags; i++)
        tags[i] = put(&at, row->tags[i]);
    k->fact.tags = tags;
    k->refs = 1;
    k->asked_ns = a->asked_ns;
    k->stamp = a->stamp;
    k->accepted = a->accepted;
    k->name_len = name;
    k->bytes = sizeof *k + bytes + (row->n_tags + 1) * sizeof *tags;
    return k;
}

/* The oldest go. */
static void
keep_locked(struct sf_tables *t, struct known *k)
{
    struct known *was;
    if (k->name_len > NAME_MAX_LEN)
        return;
    HASH_FIND(hh, t->objects.known, k->name, k->name_len, was);
    if (was)
        drop_locked(t, was);
    HASH_ADD_KEYPTR(hh, t->objects.known, k->name, k->name_len, k);
    if (!SF_HTAB_ADDED(k))
        return;
    k->refs++;
    t->objects.bytes += k->bytes;
    while (t->objects.bytes > KNOWN_BYTES && t->objects.known != k)
        drop_locked(t, t->objects.known);
}

static bool
was_changed(const struct page_ask *a, const char *key, size_t len)
{
    uint64_t hash = a->n_changed ? name_hash(a->bucket, key, len) : 0;
    for (size_t i = 0; i < a->n_changed && i < CHANGED_MAX; i++)
        if (a->changed[i] == hash)
            return true;
    return a->n_changed > CHANGED_MAX;
}

void
objects_changed(struct sf_tables *t, const char *bucket, const char *key)
{
    SF_GUARD(&t->lock);
    struct known *k = find_locked(t, bucket, key);
    if (k)
        drop_locked(t, k);
    for (struct page_ask *a = t->objects.asks; a; a = a->next)
        if (!strcmp(a->bucket, bucket) && !strncmp(key, a->prefix, strlen(a->prefix)) &&
            a->n_changed <= CHANGED_MAX) {
            if (a->n_changed < CHANGED_MAX)
                a->changed[a->n_changed] = name_hash(bucket, key, strlen(key));
            a->n_changed++;
        }
}

void
objects_free(struct sf_tables *t)
{
    SF_GUARD(&t->lock);
    while (t->objects.known)
        drop_locked(t, t->objects.known);
}

/* ---- an answer ------------------------------------------------------------------------------- */

static int
by_key(const void *key, const void *row)
{
    return strcmp(key, ((const struct sf_dir_fact *)row)->key);
}

/* What the answer says of the one that is looked for. */
static void
answer_locked(struct page_ask *a, struct seeker *s, const struct sf_dir_facts *facts)
{
    const struct sf_dir_fact *row =
        facts->n ? bsearch(s->key, facts->rows, facts->n, sizeof *facts->rows, by_key) : NULL;
    if (was_changed(a, s->key, strlen(s->key))) {
        s->rc = -EAGAIN;
    } else if (row) {
        struct known *k = find_locked(a->t, a->bucket, s->key);
        if (k && k->asked_ns == a->asked_ns && k->stamp == a->stamp)
            k->refs++;
        else
            k = known_new(a, row);
        s->found = k;
        s->rc = k ? 0 : -ENOMEM;
    } else {
        bool beyond = facts->more && facts->n && strcmp(s->key, facts->rows[facts->n - 1].key) > 0;
        s->rc = a->page && beyond ? -EAGAIN : -ENOENT;
    }
}

/* All rows, then those who wait: none of what is kept may have gone before they have got it. */
static void
take_locked(struct page_ask *a, const struct sf_err *err, const struct sf_dir_facts *facts)
{
    struct sf_tables *t = a->t;
    struct page_ask **p;
    for (p = &t->objects.asks; *p != a; p = &(*p)->next)
        ;
    *p = a->next;
    if (err && err->code != -ECANCELED)
        t->ask_after_ms = sf_clock_ms() + t->opts.retry_max_ms / PAUSE_PART;
    for (size_t i = 0; facts && i < facts->n; i++) {
        struct known *k = was_changed(a, facts->rows[i].key, facts->rows[i].key_len)
                              ? NULL
                              : known_new(a, &facts->rows[i]);
        if (k) {
            keep_locked(t, k);
            unref_locked(k);
        }
    }
    for (struct seeker *s = a->seekers; s; s = s->next)
        if (err)
            s->rc = err->code;
        else
            answer_locked(a, s, facts);
}

static void
page_free(struct page_ask *a)
{
    free(a->bucket);
    free(a->prefix);
    free(a->after);
    free(a);
}

static void
answered(void *arg, const struct sf_err *err, const struct sf_dir_facts *facts)
{
    struct page_ask *a = arg;
    struct sf_tables *t = a->t;
    sf_mutex_lock(&t->lock);
    take_locked(a, err, facts);
    sf_mutex_unlock(&t->lock);
    for (struct seeker *s = a->seekers, *next; s; s = next) {
        next = s->next;
        s->cb(s->arg, s->rc, s->found);
        free(s);
    }
    page_free(a);
    SF_GUARD(&t->lock);
    if (--t->asking == 0)
        sf_cond_broadcast(&t->idle);
}

/* ---- a question ------------------------------------------------------------------------------ */

static struct asked_dir *
dir_locked(struct sf_tables *t, const char *bucket, const char *key, int64_t now)
{
    struct asked_dir *dirs = t->objects.dirs, *d = dirs;
    uint64_t hash = name_hash(bucket, key, prefix_len(key));
    for (size_t i = 0; i < ASKED_DIRS && d->hash != hash; i++)
        if (dirs[i].hash == hash || dirs[i].last_ms < d->last_ms)
            d = &dirs[i];
    if (d->hash != hash || now - d->last_ms > TOGETHER_MS)
        *d = (struct asked_dir){.hash = hash};
    d->last_ms = now;
    return d;
}

static bool
is_worth(const struct asked_dir *d)
{
    return d->objects > SINGLE_FIRST && d->pages < PAGES_FREE + d->hits / PER_PAGE;
}

/* What sorts behind all that is less than @key, as far as keys have it; whole characters. */
static char *
just_before(const char *key)
{
    size_t n = strlen(key) - 1;
    unsigned char c = (unsigned char)key[n];
    while (n && ((unsigned char)key[n] & 0xc0) == 0x80)
        n--;
    char *text = malloc(n + 6);
    if (!text)
        return NULL;
    memcpy(text, key, n);
    text[n] = '\0';
    if (c > 0x21 && c < 0x80) {
        text[n] = (char)(c - 1);
        memcpy(text + n + 1, "\xf4\x8f\xbf\xbf", 5);
    }
    return text;
}

static struct page_ask *
ask_new_locked(struct sf_tables *t, const struct object_args *args, bool page)
{
    struct page_ask *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->t = t;
    a->page = page;
    a->stamp = args->stamp;
    a->accepted = t->accepted;
    a->asked_ns = sf_clock_ns();
    a->bucket = strdup(args->bucket);
    a->prefix = page ? strndup(args->key, prefix_len(args->key)) : strdup(args->key);
    a->after = page ? just_before(args->key) : NULL;
    if (!a->bucket || !a->prefix || (page && !a->after)) {
        page_free(a);
        return NULL;
    }
    a->next = t->objects.asks;
    t->objects.asks = a;
    t->asking++;
    return a;
}

/* May what was said then be the answer? */
static bool
is_young(int64_t asked_ns, const struct object_args *args)
{
    return args->max_age_ms > 0 && sf_clock_ns() - asked_ns <= args->max_age_ms * 1000000;
}

/* A page under way that may have it. */
static struct page_ask *
joined_locked(const struct sf_tables *t, const struct object_args *args)
{
    size_t n = prefix_len(args->key);
    for (struct page_ask *a = t->objects.asks; a; a = a->next)
        if (a->page && !strcmp(a->bucket, args->bucket) && strlen(a->prefix) == n &&
            !strncmp(a->prefix, args->key, n) && strcmp(args->key, a->after) > 0 &&
            is_young(a->asked_ns, args) && (!args->recent || a->accepted == t->accepted) &&
            !was_changed(a, args->key, strlen(args->key)))
            return a;
    return NULL;
}

static bool
may_ask_locked(const struct sf_tables *t, int64_t now)
{
    bool there = t->s.state == SF_TABLES_ON || t->s.state == SF_TABLES_WAITING;
    return there && !t->stopping && t->peer.facts && now >= t->ask_after_ms;
}

static struct known *
fresh_locked(struct sf_tables *t, const struct object_args *args)
{
    struct known *k = find_locked(t, args->bucket, args->key);
    bool fresh = k && is_young(k->asked_ns, args);
    return fresh && (!args->recent || k->accepted == t->accepted) ? k : NULL;
}

/* The question that is to be sent, or NULL: @s joined one, or *found has the answer, or neither. */
static struct page_ask *
begin_locked(struct sf_tables *t, const struct object_args *args, struct seeker *s, bool *joined,
             struct known **found)
{
    int64_t now = sf_clock_ms();
    if (!may_ask_locked(t, now))
        return NULL;
    struct asked_dir *d = dir_locked(t, args->bucket, args->key, now);
    *found = fresh_locked(t, args);
    if (*found) {
        d->hits++;
        (*found)->refs++;
        return NULL;
    }
    struct page_ask *a = joined_locked(t, args), *begun = NULL;
    d->objects++;
    d->hits += a != NULL;
    bool page = is_worth(d) && args->max_age_ms > 0;
    if (!a && (page || args->alone))
        a = begun = ask_new_locked(t, args, page);
    d->pages += begun && page;
    if (a) {
        s->next = a->seekers;
        a->seekers = s;
        *joined = true;
    }
    return begun;
}

bool
object_ask(struct sf_tables *t, const struct object_args *args, known_fn cb, void *arg)
{
    size_t n = strlen(args->key);
    struct seeker *s = n ? calloc(1, sizeof *s + n + 1) : NULL;
    struct known *found = NULL;
    bool joined = false;
    if (!s)
        return false;
    s->cb = cb;
    s->arg = arg;
    memcpy(s->key, args->key, n + 1);
    sf_mutex_lock(&t->lock);
    struct page_ask *begun = begin_locked(t, args, s, &joined, &found);
    sf_mutex_unlock(&t->lock);
    if (begun) {
        const struct sf_dir_facts_args ask = {.bucket = begun->bucket,
                                              .prefix = begun->prefix,
                                              .after = begun->after,
                                              .limit = begun->page ? SF_REST_ROWS_MAX : 1};
        t->peer.facts(t->peer.arg, &ask, args->deadline_ms, answered, begun);
    }
    if (joined)
        return true;
    free(s);
    if (found)
        cb(arg, 0, found);
    return found != NULL;
}

/* ---- for others ------------------------------------------------------------------------------ */

struct object_op {
    struct sf_tables *t;
    sf_tables_object_fn cb;
    void *arg;
};

static void
object_known(void *arg, int rc, struct known *k)
{
    struct object_op *op = arg;
    op->cb(op->arg, rc, k ? &k->fact : NULL, k ? k->stamp : 0, k ? k->asked_ns : 0);
    known_unref(op->t, k);
    free(op);
}

bool
sf_tables_object(struct sf_tables *t, const char *bucket, const char *key, uint64_t stamp,
                 int64_t deadline_ms, int64_t max_age_ms, sf_tables_object_fn cb, void *arg)
{
    const struct object_args args = {.bucket = bucket,
                                     .key = key,
                                     .stamp = stamp,
                                     .deadline_ms = deadline_ms,
                                     .max_age_ms = max_age_ms};
    struct object_op *op = t ? calloc(1, sizeof *op) : NULL;
    if (!op)
        return false;
    *op = (struct object_op){.t = t, .cb = cb, .arg = arg};
    if (object_ask(t, &args, object_known, op))
        return true;
    free(op);
    return false;
}
