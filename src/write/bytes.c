/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/bytes.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cache/cache.h"
#include "write/content.h"
#include "write/put.h"
#include "write/queue.h"
#include "write/writer.h"

#define UNIT 32768u /* the cache keeps whole ones of these */

/* ---- names ---------------------------------------------------------------------------------- */

/* The name of a version in the cache; false: too little is known of it. */
static bool
key_of(const char *bucket, const struct sf_version *v, const char *etag, struct sf_cache_key *out)
{
    *out = (struct sf_cache_key){bucket, v->id, etag, v->size};
    return v->id[0] && etag[0] && v->size;
}

static bool
same_key(const struct sf_cache_key *a, const struct sf_cache_key *b)
{
    return a->size == b->size && !strcmp(a->etag, b->etag) && !strcmp(a->id, b->id) &&
           !strcmp(a->bucket, b->bucket);
}

void
sf_bytes_same(struct sf_writer *w, const char *bucket, const struct sf_version *was,
              const char *to_bucket, const struct sf_version *now)
{
    struct sf_cache_key from, to;
    if (!w->cache || !was || !now || was->size != now->size ||
        !key_of(bucket, was, was->etag, &from) || !key_of(to_bucket, now, now->etag, &to) ||
        same_key(&from, &to))
        return;
    if (sf_etag_is_md5(was->etag) && sf_etag_is_md5(now->etag) &&
        strcasecmp(was->etag, now->etag) != 0)
        return; /* somebody wrote in between */
    sf_cache_alias(w->cache, &from, &to);
}

void
sf_bytes_seen(struct sf_writer *w, const char *bucket, const char *key, const char *op,
              const struct sf_object *o)
{
    struct sf_known_object sent;
    struct sf_version now, was = {.size = 0};
    if (!w->cache || !op[0] || !sf_known_at(w->known, bucket, key, &sent))
        return;
    if (!strcmp(sent.op, op)) { /* whoever replaces the bytes takes the id along */
        sf_version_of_object(o, &now);
        was.size = sent.size;
        memcpy(was.id, sent.id, sizeof was.id);
        memcpy(was.etag, sent.md5_etag, sizeof sent.md5_etag);
        sf_bytes_same(w, bucket, &was, bucket, &now);
    }
    sf_known_object_fini(&sent);
}

bool
sf_bytes_known(struct sf_writer *w, const char *bucket, const struct sf_version *v)
{
    struct sf_cache_key key;
    struct sf_cached *c;
    if (!w->cache || !key_of(bucket, v, v->etag, &key) || sf_cached_get(w->cache, &key, &c))
        return false;
    bool some = sf_cached_here(c) > 0;
    sf_cached_unref(c);
    return some;
}

/* ---- what contents lack --------------------------------------------------------------------- */

/* The bytes of a base's version; NULL = they have no name. */
static struct sf_cached *
cached_of(struct sf_base *b, unsigned *gen)
{
    struct sf_writer *w = b->w;
    struct sf_version v;
    struct sf_cache_key key;
    struct sf_cached *c = NULL;
    char md5[sizeof b->md5_etag];
    if (!w->cache)
        return NULL;
    sf_mutex_lock(&w->lock);
    sf_autofree char *bucket = strdup(b->bucket);
    v = b->v;
    memcpy(md5, b->md5_etag, sizeof md5);
    *gen = b->gen;
    sf_mutex_unlock(&w->lock);
    if (!bucket || !key_of(bucket, &v, v.etag[0] ? v.etag : md5, &key) ||
        sf_cached_get(w->cache, &key, &c))
        return NULL;
    return c;
}

bool
sf_bytes_peek(struct sf_base *b, char *buf, uint64_t off, uint64_t end, uint64_t *ret,
              unsigned *gen)
{
    struct sf_cached *c = cached_of(b, gen);
    bool here = false;
    uint64_t at = off;
    while (c && at < end) {
        uint64_t next = (at / UNIT + 1) * UNIT;
        if (next > end)
            next = end;
        bool is = sf_cached_peek_wait(c, at, buf + (at - off), (size_t)(next - at)) == 0;
        if (at == off)
            here = is;
        else if (is != here)
            break;
        at = next;
    }
    sf_cached_unref(c);
    *ret = c ? at : end;
    return here;
}

void
sf_bytes_put(struct sf_base *b, unsigned gen, const char *buf, uint64_t off, size_t len)
{
    unsigned now;
    struct sf_cached *c = cached_of(b, &now);
    if (c && now == gen)
        sf_cached_put_wait(c, off, buf, len);
    sf_cached_unref(c);
}

/* ---- what was sent -------------------------------------------------------------------------- */

struct adoption {
    struct sf_job job;
    struct sf_content *c; /* counted, as are the next two */
    struct sf_stage *stage;
    struct sf_cached *cached;
};

/* The file may be changed again. */
static void
give_back(struct sf_content *c, struct sf_stage *s)
{
    SF_GUARD(&c->io);
    s->lent--;
    sf_mutex_lock(&c->lock);
    bool sent = c->sent == s;
    sf_mutex_unlock(&c->lock);
    if (c->stage == s && !sent && !s->moved)
        c->frozen = s->kept || s->held || s->lent;
}

static void
adopt_run(struct sf_job *job, const struct sf_err *refused)
{
    struct adoption *a = (struct adoption *)job;
    if (!refused)
        (void)sf_cached_adopt_wait(a->cached, a->stage->fd); /* else it is fetched when needed */
    give_back(a->c, a->stage);
    sf_cached_unref(a->cached);
    sf_stage_unref(a->stage);
    sf_content_unref(a->c);
    free(a);
}

/* The upload's bytes under the names that are known for certain. */
static struct sf_cached *
name_sent(struct sf_writer *w, const struct sf_put *p)
{
    struct sf_version v = {.size = p->size};
    struct sf_cache_key told, guess;
    struct sf_cached *c = NULL;
    memcpy(v.id, p->id, sizeof v.id);
    bool md5 = sf_etag_is_md5(p->etag);
    /* Objects that carry nothing of ours may have been taken for another's. */
    bool sure = md5 ? strcasecmp(p->etag, p->md5_etag) == 0 : !w->plain;
    bool by_told = sure && key_of(p->bucket, &v, p->etag, &told);
    bool by_guess = key_of(p->bucket, &v, p->md5_etag, &guess);
    if ((!by_told && !by_guess) || sf_cached_get(w->cache, by_guess ? &guess : &told, &c))
        return NULL;
    if (by_told && by_guess && !same_key(&told, &guess))
        sf_cached_name(c, &told);
    return c;
}

void
sf_bytes_sent(struct sf_content *c, struct sf_snapshot *snap, const struct sf_put *put)
{
    struct sf_writer *w = c->w;
    if (!w->cache || !snap->stage->whole)
        return;
    struct sf_cached *cached = name_sent(w, put);
    struct adoption *a = cached ? calloc(1, sizeof *a) : NULL;
    if (!a) {
        sf_cached_unref(cached);
        return;
    }
    a->job.run = adopt_run;
    a->c = sf_content_ref(c);
    a->stage = sf_stage_ref(snap->stage);
    a->cached = cached;
    sf_mutex_lock(&c->io);
    a->stage->lent++;
    sf_mutex_unlock(&c->io);
    sf_queue_add(w->queue, &a->job, NULL, 0);
}
