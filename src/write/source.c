/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/cleanup.h"
#include "observe/log.h"
#include "write/bytes.h"
#include "write/content.h"
#include "write/fetch.h"
#include "write/meta.h"

#define TURNS_MAX 4 /* looks under the other name while a directory is being renamed */

/* ---- one base ------------------------------------------------------------------------------- */

static int
base_set_locked(struct sf_base *b, const struct sf_source *src)
{
    char *bucket = strdup(src->bucket), *key = strdup(src->key);
    if (!bucket || !key) {
        free(bucket);
        free(key);
        return -ENOMEM;
    }
    free(b->bucket);
    free(b->key);
    b->bucket = bucket;
    b->key = key;
    b->v = src->version;
    b->lost = 0;
    b->gen++;
    b->moves++;
    snprintf(b->md5_etag, sizeof b->md5_etag, "%s", src->md5_etag ? src->md5_etag : "");
    return 0;
}

int
sf_base_new(struct sf_content *c, const struct sf_source *src, struct sf_base **ret)
{
    struct sf_base *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    b->w = c->w;
    b->c = c;
    SF_GUARD(&b->w->lock);
    int rc = base_set_locked(b, src);
    if (rc) {
        free(b);
        return rc;
    }
    DL_APPEND(b->w->bases, b);
    *ret = b;
    return 0;
}

void
sf_base_free(struct sf_base *b)
{
    if (!b)
        return;
    sf_mutex_lock(&b->w->lock);
    DL_DELETE(b->w->bases, b);
    sf_mutex_unlock(&b->w->lock);
    free(b->bucket);
    free(b->key);
    free(b);
}

int
sf_base_set(struct sf_base *b, const struct sf_source *src)
{
    SF_GUARD(&b->w->lock);
    b->former[0] = '\0';
    b->left = (struct sf_version){.id = ""};
    return base_set_locked(b, src);
}

static void
base_renew_locked(struct sf_base *b, const struct sf_version *v)
{
    b->v = *v;
    b->md5_etag[0] = '\0';
    b->lost = 0;
    b->gen++;
}

void
sf_base_renew(struct sf_base *b, const struct sf_version *v)
{
    SF_GUARD(&b->w->lock);
    base_renew_locked(b, v);
}

void
sf_base_replaced_by(struct sf_base *b, const char *former, const struct sf_version *left)
{
    SF_GUARD(&b->w->lock);
    memcpy(b->former, former, sizeof b->former);
    b->left = *left;
}

int
sf_base_get(struct sf_base *b, char **bucket, char **key, struct sf_version *v)
{
    SF_GUARD(&b->w->lock);
    char *bc = strdup(b->bucket), *k = strdup(b->key);
    if (!bc || !k) {
        free(bc);
        free(k);
        return -ENOMEM;
    }
    *bucket = bc;
    *key = k;
    *v = b->v;
    return 0;
}

unsigned
sf_base_gen(struct sf_base *b)
{
    SF_GUARD(&b->w->lock);
    return b->gen;
}

uint64_t
sf_base_size(struct sf_base *b)
{
    SF_GUARD(&b->w->lock);
    return b->v.size;
}

static bool
is_locked(const struct sf_base *b, const char *bucket, const char *key)
{
    return strcmp(b->bucket, bucket) == 0 && strcmp(b->key, key) == 0;
}

bool
sf_base_is(struct sf_base *b, const char *bucket, const char *key)
{
    SF_GUARD(&b->w->lock);
    return is_locked(b, bucket, key);
}

/* ---- reading of it -------------------------------------------------------------------------- */

/* One request as it is sent. */
struct ask {
    char *bucket, *key;
    struct sf_version v, left;
    char md5_etag[36], former[SF_FORMER_SIZE];
    unsigned moves, gen;
};

static void
ask_fini(struct ask *a)
{
    free(a->bucket);
    free(a->key);
}

static bool
is_now_locked(const struct sf_base *b, const struct ask *a)
{
    return b->moves == a->moves && b->gen == a->gen;
}

static int
gone(struct sf_err *err, const char *bucket, const char *key)
{
    return sf_err_set(err, -ESTALE, "%s/%s: the version whose bytes are needed is gone", bucket,
                      key);
}

static struct sf_hold *
held_locked(const struct sf_writer *w, const char *bucket, const char *key)
{
    struct sf_hold *h;
    DL_FOREACH(w->holds, h)
    if (strcmp(h->bucket, bucket) == 0 && strcmp(h->key, key) == 0)
        return h;
    return NULL;
}

/* Wait until nobody changes its name or looks at it, and copy what it is. */
static int
ask_locked(struct sf_base *b, struct ask *a, int64_t deadline_ms, struct sf_err *err)
{
    struct sf_writer *w = b->w;
    while ((b->looking || held_locked(w, b->bucket, b->key)) && !b->lost && !w->stopping)
        if (sf_cond_timedwait_ms(&w->bases_changed, &w->lock, deadline_ms))
            return sf_err_set(err, -ETIMEDOUT, "read of %s/%s: its rename has not ended", b->bucket,
                              b->key);
    if (w->stopping)
        return sf_err_set(err, -ECANCELED, "the writer is being stopped");
    if (b->lost)
        return gone(err, b->bucket, b->key);
    a->bucket = strdup(b->bucket);
    a->key = strdup(b->key);
    if (!a->bucket || !a->key)
        return sf_err_set(err, -ENOMEM, "out of memory");
    a->v = b->v;
    a->moves = b->moves;
    a->gen = b->gen;
    a->left = b->left;
    memcpy(a->former, b->former, sizeof a->former);
    memcpy(a->md5_etag, b->md5_etag, sizeof a->md5_etag);
    return 0;
}

/* Nothing is known of its ETag: does the object look like the one that is meant? */
static int
look(struct sf_base *b, struct ask *a, int64_t deadline_ms, struct sf_err *err)
{
    struct sf_writer *w = b->w;
    sf_autoobject struct sf_object now = {0};
    struct sf_version v;
    int rc = sf_storage_info_wait(w->st, a->bucket, a->key, deadline_ms, &now, err);
    if (!rc) {
        sf_version_of_object(&now, &v);
        bool md5 = a->md5_etag[0] && sf_etag_is_md5(v.etag);
        bool same = v.size == a->v.size && (!a->v.id[0] || !strcmp(v.id, a->v.id)) &&
                    (!a->v.version[0] || !strcmp(v.version, a->v.version)) &&
                    (!md5 || !strcasecmp(v.etag, a->md5_etag));
        if (!same)
            rc = gone(err, a->bucket, a->key);
        else
            a->v = v;
    }
    SF_GUARD(&w->lock);
    b->looking = false;
    if (!rc && is_now_locked(b, a))
        b->v = v;
    sf_cond_broadcast(&w->bases_changed);
    return rc;
}

/* The version is gone. An earlier state of this content that an upload of ours has put there has
 * the missing bytes, too: what this state lacks that one did not change. 0 it is the version now; 1
 * somebody else has changed that; -ESTALE there is none; or the error. */
static int
look_for_former(struct sf_base *b, const struct ask *a, int64_t deadline_ms, struct sf_err *err)
{
    sf_autoobject struct sf_object now = {0};
    sf_defer(sf_meta_fini) struct sf_meta meta = {.op = ""};
    struct sf_version v;
    if (!a->former[0] && !a->left.etag[0])
        return -ESTALE;
    int rc = sf_storage_info_wait(b->w->st, a->bucket, a->key, deadline_ms, &now, err);
    if (rc)
        return rc == -ENOENT ? -ESTALE : rc;
    if (sf_meta_parse(now.metadata, &meta) < 0)
        return sf_err_set(err, -ENOMEM, "out of memory");
    sf_version_of_object(&now, &v);
    if (!sf_former_made(a->former, &a->left, meta.op, &v))
        return -ESTALE;
    SF_GUARD(&b->w->lock);
    if (!is_now_locked(b, a))
        return 1;
    sf_info("write", "event=source-followed object=%s/%s bytes=%" PRIu64, a->bucket, a->key,
            v.size);
    base_renew_locked(b, &v);
    return 0;
}

/* The same bytes under another name, as far as is known. */
static void
move_locked(struct sf_base *b, const char *bucket, const char *key, const struct sf_version *now)
{
    char md5[sizeof b->md5_etag] = "";
    if (sf_etag_is_md5(b->v.etag))
        snprintf(md5, sizeof md5, "%.34s", b->v.etag);
    else
        memcpy(md5, b->md5_etag, sizeof md5);
    struct sf_source to = {.bucket = bucket, .key = key, .version = b->v, .md5_etag = md5};
    unsigned gen = b->gen;
    int lost = b->lost;
    if (now && sf_version_known(now)) {
        bool other = md5[0] && sf_etag_is_md5(now->etag) && strcasecmp(md5, now->etag) != 0;
        to.version = *now;
        if (other || now->size != b->v.size)
            lost = -ESTALE;
    } else { /* some backends give a moved object another ETag and version */
        to.version.etag[0] = '\0';
        to.version.version[0] = '\0';
    }
    b->lost = base_set_locked(b, &to) ? -ESTALE : lost;
    b->gen = gen; /* the bytes are the same */
}

/* 0 (but the bytes are none when @gen is not the present one); 1: its name has changed meanwhile,
 * ask again; or the error. */
static int
try_fetch(struct sf_base *b, struct sf_get *g, uint64_t off, size_t len, int64_t deadline_ms,
          bool last, unsigned *gen, struct sf_err *err)
{
    struct sf_writer *w = b->w;
    sf_defer(ask_fini) struct ask a = {0};
    sf_mutex_lock(&w->lock);
    int rc = ask_locked(b, &a, deadline_ms, err);
    bool unknown = !rc && !a.v.etag[0];
    b->looking = b->looking || unknown;
    sf_mutex_unlock(&w->lock);
    if (rc)
        return rc;
    if (unknown)
        rc = look(b, &a, deadline_ms, err);
    if (!rc)
        rc = sf_get_run(w, g, a.bucket, a.key, &a.v, off, len, deadline_ms, err);
    *gen = a.gen;
    if (rc != -ESTALE && rc != -ENOENT)
        return rc;
    *err = SF_ERR_INIT;
    rc = look_for_former(b, &a, deadline_ms, err);
    if (rc != -ESTALE)
        return rc;
    sf_autofree char *bucket = NULL, *key = NULL; /* a directory above may be moving */
    bool elsewhere = sf_write_other_name(w, a.bucket, a.key, &bucket, &key) != SF_NAME_STAYS;
    SF_GUARD(&w->lock);
    if (!is_now_locked(b, &a) || held_locked(w, a.bucket, a.key))
        return 1;
    if (elsewhere && !last) {
        move_locked(b, bucket, key, NULL);
        return 1;
    }
    if (!b->lost)
        sf_info("write", "event=source-gone object=%s/%s", b->bucket, b->key);
    b->lost = -ESTALE;
    sf_cond_broadcast(&w->bases_changed);
    *err = SF_ERR_INIT;
    return gone(err, b->bucket, b->key);
}

int
sf_base_fetch(struct sf_base *b, char *buf, uint64_t off, size_t len, int64_t deadline_ms,
              unsigned *gen, struct sf_err *err)
{
    struct sf_get g = {.buf = buf};
    int rc = 1;
    for (int turns = 0; rc == 1; turns++) {
        *err = SF_ERR_INIT;
        rc = try_fetch(b, &g, off, len, deadline_ms, turns >= TURNS_MAX, gen, err);
    }
    return rc;
}

/* ---- changes of objects that are somebody's source ------------------------------------------ */

/* Contents with this source, counted. Their number or -ENOMEM. */
static ssize_t
contents_of(struct sf_writer *w, const char *bucket, const char *key, struct sf_content ***ret)
{
    size_t n = 0;
    struct sf_base *b;
    SF_GUARD(&w->lock);
    DL_FOREACH(w->bases, b)
    n += is_locked(b, bucket, key);
    struct sf_content **list = n ? calloc(n, sizeof *list) : NULL;
    if (n && !list)
        return -ENOMEM;
    n = 0;
    DL_FOREACH(w->bases, b)
    if (is_locked(b, bucket, key) && sf_content_ref_alive(b->c))
        list[n++] = b->c;
    *ret = list;
    return (ssize_t)n;
}

static void
lose(struct sf_content *c, uint64_t missing)
{
    struct sf_base *b = c->base;
    SF_GUARD(&c->w->lock);
    sf_info("write", "event=open-version-given-up object=%s/%s missing=%" PRIu64, b->bucket, b->key,
            missing);
    b->lost = -ESTALE;
    sf_cond_broadcast(&c->w->bases_changed);
}

int
sf_sources_rescue(struct sf_writer *w, const char *bucket, const char *key, int64_t deadline_ms,
                  struct sf_err *err)
{
    struct sf_content **list = NULL;
    uint64_t kept = 0;
    int rc = 0;
    ssize_t n = contents_of(w, bucket, key, &list);
    if (n < 0)
        return sf_err_set(err, (int)n, "out of memory");
    for (ssize_t i = 0; i < n; i++) {
        struct sf_content *c = list[i];
        uint64_t missing = sf_content_missing(c);
        struct sf_err e = SF_ERR_INIT;
        /* What is to be uploaded is needed, however large it is. */
        bool wanted = sf_content_dirty(c), room = kept + missing <= w->keep_open_max;
        if (missing && !wanted && !room) {
            lose(c, missing);
        } else if (missing && !rc) {
            kept += wanted ? 0 : missing;
            int filled = sf_fill_wait(c, deadline_ms, &e);
            if (filled && filled != -ESTALE) { /* the version is there still */
                rc = filled;
                if (err)
                    *err = e;
            }
        }
        sf_content_unref(c);
    }
    free(list);
    return rc;
}

static void
hold_free(struct sf_hold *h)
{
    if (!h)
        return;
    free(h->bucket);
    free(h->key);
    free(h);
}

void
sf_sources_hold(struct sf_writer *w, const char *bucket, const char *key)
{
    struct sf_hold *h = calloc(1, sizeof *h);
    if (h) {
        h->bucket = strdup(bucket);
        h->key = strdup(key);
    }
    if (!h || !h->bucket || !h->key) { /* what is read in this moment may find nothing */
        hold_free(h);
        return;
    }
    SF_GUARD(&w->lock);
    DL_APPEND(w->holds, h);
}

/* Is that the version which was moved? */
static bool
was_locked(const struct sf_base *b, const struct sf_version *was)
{
    if (!was)
        return true;
    bool md5 = !b->v.etag[0] && b->md5_etag[0] && sf_etag_is_md5(was->etag);
    return sf_version_same(&b->v, was) && (!md5 || !strcasecmp(b->md5_etag, was->etag));
}

void
sf_sources_renewed(struct sf_writer *w, const char *bucket, const char *key,
                   const struct sf_version *before, const struct sf_version *now)
{
    struct sf_base *b;
    sf_bytes_same(w, bucket, before, bucket, now);
    sf_mutex_lock(&w->lock);
    struct sf_hold *h = held_locked(w, bucket, key);
    if (h)
        DL_DELETE(w->holds, h);
    DL_FOREACH(w->bases, b)
    if (now && is_locked(b, bucket, key) && sf_version_same(&b->v, before))
        move_locked(b, bucket, key, now);
    sf_cond_broadcast(&w->bases_changed);
    sf_mutex_unlock(&w->lock);
    hold_free(h);
}

void
sf_sources_moved(struct sf_writer *w, const char *bucket, const char *key, const char *to_bucket,
                 const char *to_key, const struct sf_version *was, const struct sf_version *now)
{
    bool same = strcmp(bucket, to_bucket) == 0 && strcmp(key, to_key) == 0;
    struct sf_base *b;
    sf_bytes_same(w, bucket, was, to_bucket, now);
    sf_mutex_lock(&w->lock);
    struct sf_hold *h = held_locked(w, bucket, key);
    if (h)
        DL_DELETE(w->holds, h);
    DL_FOREACH(w->bases, b)
    {
        if (!is_locked(b, bucket, key) || (same && !now))
            continue;
        if (was_locked(b, was))
            move_locked(b, to_bucket, to_key, now);
        else if (b->former[0] || b->left.etag[0]) /* of which it was one, perhaps */
            move_locked(b, to_bucket, to_key, NULL);
        else
            b->lost = -ESTALE;
    }
    sf_cond_broadcast(&w->bases_changed);
    sf_mutex_unlock(&w->lock);
    hold_free(h);
}
