/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fake-internal.h"

#include "supabase/storage.h"
#include "write/mark.h"
#include "write/meta.h"
#include "write/write.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* write/write.h over the fake project. Each change is a job: done at once, or when it is held, by
 * fake_change() and fake_told(). */

struct sf_content {
    struct sf_content *next;
    char bucket[64], key[300];
    char *data;
    size_t size;
    uint64_t gen;
    unsigned refs;
    unsigned uploading; /* jobs between fake_change() and fake_told() */
    bool dirty, abandoned, kept;
    /* what it begins with: of these bytes those are its own that `mine` says */
    char from_bucket[64], from_key[300], from_etag[40];
    size_t from_size;
    char *mine; /* as long as from_size; NULL = all */
};

enum change {
    UPLOAD,
    READ,
    DELETE,
    SMALL,
    RENAME,
    RENAME_DIR,
    ATTRS,
    RMDIR,
    BUCKET_CREATE,
    BUCKET_DELETE
};

struct job {
    struct job *next;
    enum change what;
    struct sf_content *content;
    char bucket[64], key[300], to_bucket[64], to_key[300], mime[64], data[4100];
    char mark[SF_MARK_SIZE];
    size_t len;
    uint64_t off;
    void *buf;
    sf_read_fn read_fn;
    ssize_t got;
    bool replace;
    int code;
    struct sf_commit done;
    sf_commit_fn commit_fn;
    sf_write_fn write_fn;
    sf_rename_fn rename_fn;
    sf_attrs_settled_fn settled_fn;
    char *xattrs;
    char *said[2]; /* content type and Cache-Control; NULL = as they are */
    struct sf_version now;
    void *arg;
};

static struct job *waiting, **waiting_tail = &waiting; /* to be done */
static struct job *finished, **finished_tail = &finished;
static struct sf_content *all_contents;
static bool holding;
static bool moving_some; /* a rename of a directory has begun */
static char quarantined[400];
int fake_unkept;
bool fake_kept;
bool fake_withdraws;
const struct sf_pending *fake_replayed;
const char *fake_removed;
struct sf_version fake_removes;
static sf_write_fn removal_settled;
static void *removal_waits;
void (*_Atomic fake_before_commit)(void);

/* ---- contents ----------------------------------------------------------------------------------
 */

int
sf_content_new(struct sf_writer *w, const char *bucket, const char *key, struct sf_content **ret,
               struct sf_err *err)
{
    (void)w, (void)err;
    struct sf_content *c = calloc(1, sizeof *c);
    assert(c);
    c->refs = 1;
    c->data = calloc(1, 1);
    sf_content_retarget(c, bucket, key, false);
    fake_lock();
    c->next = all_contents;
    all_contents = c;
    fake_unlock();
    *ret = c;
    return 0;
}

int
sf_content_of(struct sf_writer *w, const char *bucket, const char *key, const struct sf_source *src,
              struct sf_content **ret, struct sf_err *err)
{
    struct sf_content *c;
    sf_content_new(w, bucket, key, &c, err);
    sf_content_take(c, src);
    c->dirty = false;
    *ret = c;
    return 0;
}

int
sf_content_take(struct sf_content *c, const struct sf_source *src)
{
    FAKE_GUARD();
    if (c->size)
        return -EINVAL;
    c->size = c->from_size = src->version.size;
    free(c->data);
    free(c->mine);
    c->data = calloc(1, c->size + 1);
    c->mine = calloc(1, c->size + 1);
    assert(c->data && c->mine);
    snprintf(c->from_bucket, sizeof c->from_bucket, "%s", src->bucket);
    snprintf(c->from_key, sizeof c->from_key, "%s", src->key);
    snprintf(c->from_etag, sizeof c->from_etag, "%.39s", src->version.etag);
    c->dirty = true;
    return 0;
}

/* Get what is missing: 0 or -ESTALE. */
static int
fill(struct sf_content *c)
{
    const struct object *o = fake_find(c->from_bucket, c->from_key);
    if (!c->mine)
        return 0;
    fake_counts.loads++;
    if (!o || o->size != c->from_size || (c->from_etag[0] && strcmp(c->from_etag, o->etag)))
        return -ESTALE;
    for (size_t i = 0; i < c->from_size && i < c->size; i++)
        if (!c->mine[i])
            c->data[i] = o->text[i];
    free(c->mine);
    c->mine = NULL;
    return 0;
}

/* Before the object at this key is changed: whoever begins with it gets its bytes. */
static void
rescue(const char *bucket, const char *key)
{
    for (struct sf_content *c = all_contents; c; c = c->next)
        if (c->mine && !strcmp(c->from_bucket, bucket) && !strcmp(c->from_key, key))
            fill(c);
}

struct sf_content *
sf_content_ref(struct sf_content *c)
{
    FAKE_GUARD();
    c->refs++;
    return c;
}

void
sf_content_unref(struct sf_content *c)
{
    FAKE_GUARD();
    if (--c->refs)
        return;
    if (sf_content_dirty(c))
        sf_content_quarantine(c, NULL, NULL);
    struct sf_content **p = &all_contents;
    while (*p != c)
        p = &(*p)->next;
    *p = c->next;
    free(c->mine);
    free(c->data);
    free(c);
}

static ssize_t
read_bytes(struct sf_content *c, void *buf, size_t len, uint64_t off)
{
    size_t n = off < c->size ? c->size - off : 0;
    n = n < len ? n : len;
    memcpy(buf, c->data + off, n);
    return (ssize_t)n;
}

static void
resize(struct sf_content *c, size_t size)
{
    c->data = realloc(c->data, size + 1);
    assert(c->data);
    if (size > c->size)
        memset(c->data + c->size, 0, size - c->size);
    for (size_t i = size; c->mine && i < c->from_size; i++)
        c->mine[i] = 1; /* zeros, if it becomes longer again */
    c->data[size] = '\0';
    c->size = size;
}

ssize_t
sf_content_write(struct sf_content *c, const void *buf, size_t len, uint64_t off)
{
    FAKE_GUARD();
    if (off + len > c->size)
        resize(c, off + len);
    memcpy(c->data + off, buf, len);
    c->gen++;
    for (size_t i = off; c->mine && i < off + len && i < c->from_size; i++)
        c->mine[i] = 1;
    c->dirty = true;
    return (ssize_t)len;
}

ssize_t
sf_content_append(struct sf_content *c, const void *buf, size_t len, uint64_t *off)
{
    FAKE_GUARD();
    *off = c->size;
    return sf_content_write(c, buf, len, c->size);
}

int
sf_content_truncate(struct sf_content *c, uint64_t size)
{
    FAKE_GUARD();
    if (size == c->size)
        return 0;
    resize(c, size);
    c->gen++;
    c->dirty = true;
    return 0;
}

int
sf_content_zero(struct sf_content *c, uint64_t off, uint64_t len, bool grow)
{
    FAKE_GUARD();
    uint64_t end = off + len;
    if (!grow && end > c->size)
        end = c->size;
    if (off >= end)
        return 0;
    if (end > c->size)
        resize(c, end);
    memset(c->data + off, 0, end - off);
    for (size_t i = off; c->mine && i < end && i < c->from_size; i++)
        c->mine[i] = 1;
    c->dirty = true;
    return 0;
}

/* Each NUL that is here is a hole. */
int64_t
sf_content_seek(struct sf_content *c, uint64_t off, bool hole)
{
    FAKE_GUARD();
    if (off >= c->size)
        return -ENXIO;
    for (; off < c->size; off++) {
        bool fetched = !c->mine || off >= c->from_size || c->mine[off];
        if ((fetched && c->data[off] == '\0') == hole)
            return (int64_t)off;
    }
    return hole ? (int64_t)off : -ENXIO;
}

bool
sf_content_kept(struct sf_content *c)
{
    (void)c;
    return fake_kept;
}

void
sf_writer_pending(struct sf_writer *w, sf_pending_fn fn, void *arg)
{
    (void)w;
    if (fake_replayed)
        fn(arg, fake_replayed);
}

void
sf_writer_earlier_removals(struct sf_writer *w, sf_removal_fn fn, void *arg, sf_write_fn settled)
{
    (void)w;
    removal_waits = fake_removed ? fn(arg, "b", fake_removed) : NULL;
    removal_settled = settled;
}

void
fake_removal_ends(int code)
{
    const struct sf_err err = {.code = code};
    assert(removal_waits);
    removal_settled(removal_waits, code ? &err : NULL);
    removal_waits = NULL;
}

void
sf_writer_give_up(struct sf_writer *w)
{
    (void)w;
}

void
sf_writer_end_by(struct sf_writer *w, int64_t deadline_ms)
{
    (void)w, (void)deadline_ms;
}

bool
sf_content_lacks(struct sf_content *c)
{
    FAKE_GUARD();
    return c->mine != NULL;
}

bool
sf_content_sha256(struct sf_content *c, char hex[65])
{
    (void)c;
    (void)hex;
    return false;
}

uint64_t
sf_content_size(const struct sf_content *c)
{
    FAKE_GUARD();
    return c->size;
}

uint64_t
sf_content_gen(const struct sf_content *c)
{
    FAKE_GUARD();
    return c->gen;
}

bool
sf_content_dirty(const struct sf_content *c)
{
    FAKE_GUARD();
    return c->dirty && !c->abandoned;
}

void
sf_content_mark_dirty(struct sf_content *c)
{
    FAKE_GUARD();
    c->dirty = true;
}

int
sf_content_retarget(struct sf_content *c, const char *bucket, const char *key, bool exists)
{
    FAKE_GUARD();
    (void)exists;
    snprintf(c->bucket, sizeof c->bucket, "%s", bucket);
    snprintf(c->key, sizeof c->key, "%s", key);
    return 0;
}

bool
sf_content_abandon(struct sf_content *c)
{
    FAKE_GUARD();
    c->abandoned = true;
    return c->uploading > 0;
}

int
sf_content_quarantine(struct sf_content *c, const struct sf_err *why, char *path_out)
{
    FAKE_GUARD();
    (void)why, (void)path_out;
    c->dirty = false;
    snprintf(quarantined, sizeof quarantined, "%s=%.80s", c->key, c->data);
    fake_counts.quarantined++;
    return 0;
}

const char *
fake_quarantined(void)
{
    return quarantined;
}

uint64_t
sf_writer_limit(struct sf_writer *w, uint64_t bucket_limit)
{
    (void)w;
    return bucket_limit ? bucket_limit : 1000;
}

void
sf_writer_settle(struct sf_writer *w, void (*done)(void *arg, int rc), void *arg)
{
    (void)w;
    done(arg, 0);
}

unsigned fake_pending;

void
sf_writer_stats(struct sf_writer *w, struct sf_writer_stats *out)
{
    FAKE_GUARD();
    (void)w;
    *out =
        (struct sf_writer_stats){.quarantined = fake_counts.quarantined, .pending = fake_pending};
}

/* ---- what a job does ---------------------------------------------------------------------------
 */

static void
copy_said(struct job *j, const char *mime, const char *cache_control)
{
    assert(!mime || (j->said[0] = strdup(mime)));
    assert(!cache_control || (j->said[1] = strdup(cache_control)));
}

static int
upload(struct job *j)
{
    struct sf_content *c = j->content;
    j->done = (struct sf_commit){.size = c->size};
    if (!sf_content_dirty(c))
        return 0;
    if (fill(c))
        return -ESTALE;
    rescue(c->bucket, c->key);
    if (!j->replace && fake_find(c->bucket, c->key))
        return -EEXIST;
    struct object *old = fake_find(c->bucket, c->key);
    char *meta = old && old->meta ? strdup(old->meta) : NULL;
    fake_put_bytes(c->bucket, c->key, c->data, c->size, "application/octet-stream");
    struct object *o = fake_find(c->bucket, c->key);
    o->meta = meta;
    fake_set_mark(c->bucket, c->key, j->mark);
    fake_set_xattrs(c->bucket, c->key, j->xattrs);
    fake_set_said(c->bucket, c->key, j->said[0], j->said[1]);
    fake_counts.puts++;
    c->dirty = false;
    j->done.uploaded = true;
    snprintf(j->done.id, sizeof j->done.id, "%s", fake_find(c->bucket, c->key)->id);
    return 0;
}

static int
put_small(struct job *j)
{
    const struct object *o = fake_find(j->bucket, j->key);
    if (o && !j->replace)
        return -EEXIST;
    fake_put_bytes(j->bucket, j->key, j->data, j->len, j->mime);
    fake_set_mark(j->bucket, j->key, j->mark);
    fake_counts.puts++;
    j->done = (struct sf_commit){.size = j->len, .uploaded = true};
    snprintf(j->done.id, sizeof j->done.id, "%s", fake_find(j->bucket, j->key)->id);
    return 0;
}

static int
set_attrs(struct job *j)
{
    fake_counts.attrs++;
    if (!fake_find(j->bucket, j->key)) {
        if (!strstr(j->key, ".emptyFolderPlaceholder"))
            return -ENOENT;
        fake_put_bytes(j->bucket, j->key, "", 0, "");
    }
    fake_set_mark(j->bucket, j->key, j->mark);
    fake_set_xattrs(j->bucket, j->key, j->xattrs);
    fake_set_said(j->bucket, j->key, j->said[0], j->said[1]);
    const struct object *o = fake_find(j->bucket, j->key);
    j->now.size = o->size;
    snprintf(j->now.id, sizeof j->now.id, "%s", o->id);
    snprintf(j->now.etag, sizeof j->now.etag, "%s", o->etag);
    return 0;
}

static int
rename_object(struct job *j)
{
    struct object *o = fake_find(j->bucket, j->key);
    fake_counts.renames++;
    if (!o)
        return -ENOENT;
    if (!j->replace && fake_find(j->to_bucket, j->to_key))
        return -EEXIST;
    rescue(j->to_bucket, j->to_key);
    rescue(j->bucket, j->key);
    struct object copy = *o;
    copy.text = malloc(o->size + 1);
    assert(copy.text);
    memcpy(copy.text, o->text, o->size);
    fake_put_bytes(j->to_bucket, j->to_key, copy.text, copy.size, copy.mime);
    fake_set_cache(j->to_bucket, j->to_key, copy.cache);
    if (!j->replace) /* a move; a copy over another object keeps that one's */
        memcpy(fake_find(j->to_bucket, j->to_key)->id, copy.id, sizeof copy.id);
    free(copy.text);
    fake_remove(j->bucket, j->key);
    o = fake_find(j->to_bucket, j->to_key);
    snprintf(j->now.id, sizeof j->now.id, "%s", o->id);
    snprintf(j->now.etag, sizeof j->now.etag, "%s", o->etag);
    j->now.size = o->size;
    return 0;
}

/* One object of a directory. */
static void
move_one(const char *bucket, const char *key, const char *to_bucket, const char *to_key)
{
    struct object *o = fake_find(bucket, key);
    struct object old = *o;
    old.text = malloc(o->size + 1);
    assert(old.text);
    memcpy(old.text, o->text, o->size + 1);
    fake_remove(bucket, key);
    fake_put_bytes(to_bucket, to_key, old.text, old.size, old.mime);
    fake_set_cache(to_bucket, to_key, old.cache);
    memcpy(fake_find(to_bucket, to_key)->id, old.id, sizeof old.id);
    free(old.text);
}

/* Objects that one fake_move_some() or the rename moves; 0 = nothing is left. */
static unsigned
move_below(const struct job *j, unsigned max)
{
    char key[300], to[700];
    unsigned n = 0;
    for (;; n++) {
        const struct object *o = fake_first(j->bucket, j->key);
        if (n == max || !o || o >= fake_end() || strcmp(o->bucket, j->bucket) ||
            strncmp(o->key, j->key, strlen(j->key)))
            return n;
        snprintf(key, sizeof key, "%s", o->key);
        snprintf(to, sizeof to, "%s%s", j->to_key, key + strlen(j->key));
        move_one(j->bucket, key, j->to_bucket, to);
    }
}

static int
rename_dir(struct job *j)
{
    char marker[330];
    snprintf(marker, sizeof marker, "%s.emptyFolderPlaceholder", j->to_key);
    fake_counts.renames++;
    for (const struct object *o = fake_first(j->to_bucket, j->to_key); o < fake_end(); o++) {
        if (strcmp(o->bucket, j->to_bucket) || strncmp(o->key, j->to_key, strlen(j->to_key)))
            break;
        if (!moving_some && strcmp(o->key, marker))
            return -ENOTEMPTY;
    }
    if (!moving_some)
        fake_remove(j->to_bucket, marker);
    bool some = moving_some;
    moving_some = false;
    return move_below(j, UINT32_MAX) || some ? 0 : -ENOENT;
}

void
fake_move_some(unsigned max)
{
    FAKE_GUARD();
    struct job *j = waiting;
    assert(j && j->what == RENAME_DIR);
    moving_some = true;
    move_below(j, max);
}

enum sf_other_name
sf_write_other_name(struct sf_writer *w, const char *bucket, const char *key, char **other_bucket,
                    char **other_key)
{
    FAKE_GUARD();
    (void)w;
    const struct job *j = waiting;
    if (!j || j->what != RENAME_DIR)
        j = finished; /* done and not told */
    if (!j || j->what != RENAME_DIR)
        return SF_NAME_STAYS;
    bool goes = !strcmp(bucket, j->bucket) && !strncmp(key, j->key, strlen(j->key));
    bool comes = !strcmp(bucket, j->to_bucket) && !strncmp(key, j->to_key, strlen(j->to_key));
    if (!goes && !comes)
        return SF_NAME_STAYS;
    *other_bucket = strdup(goes ? j->to_bucket : j->bucket);
    assert(asprintf(other_key, "%s%s", goes ? j->to_key : j->key,
                    key + strlen(goes ? j->key : j->to_key)) > 0);
    return goes ? SF_NAME_GOES : SF_NAME_COMES;
}

static int
remove_dir(struct job *j)
{
    char marker[330];
    snprintf(marker, sizeof marker, "%s.emptyFolderPlaceholder", j->key);
    for (const struct object *o = fake_first(j->bucket, j->key); o < fake_end(); o++) {
        if (strcmp(o->bucket, j->bucket) || strncmp(o->key, j->key, strlen(j->key)))
            break;
        if (strcmp(o->key, marker))
            return -ENOTEMPTY;
    }
    fake_remove(j->bucket, marker);
    return 0;
}

static int
run(struct job *j)
{
    int code = fake_failing();
    if (code)
        return code;
    switch (j->what) {
    case UPLOAD:
        return upload(j);
    case READ:
        code = fill(j->content);
        j->got = code ? code : read_bytes(j->content, j->buf, j->len, j->off);
        return 0;
    case DELETE:
        fake_counts.deletes++;
        rescue(j->bucket, j->key);
        code = fake_find(j->bucket, j->key) ? 0 : -ENOENT;
        fake_remove(j->bucket, j->key);
        return code;
    case SMALL:
        return put_small(j);
    case RENAME:
        return rename_object(j);
    case RENAME_DIR:
        return rename_dir(j);
    case ATTRS:
        return set_attrs(j);
    case RMDIR:
        return remove_dir(j);
    case BUCKET_CREATE:
        fake_bucket(j->bucket);
        return 0;
    case BUCKET_DELETE:
        fake_drop_bucket(j->bucket);
        return 0;
    }
    return -EINVAL;
}

static void
tell(struct job *j)
{
    struct sf_err err = {.code = j->code, .msg = "made to fail"};
    if (j->read_fn)
        j->read_fn(j->arg, j->code ? j->code : j->got);
    else if (j->commit_fn)
        j->commit_fn(j->arg, j->code ? &err : NULL, j->code ? NULL : &j->done);
    else if (j->settled_fn)
        j->settled_fn(j->arg, j->code ? &err : NULL, j->code ? NULL : &j->now);
    else if (j->rename_fn)
        j->rename_fn(j->arg, j->code ? &err : NULL, j->code ? NULL : &j->now);
    else
        j->write_fn(j->arg, j->code ? &err : NULL);
    if (j->content)
        sf_content_unref(j->content);
    free(j->xattrs);
    free(j->said[0]);
    free(j->said[1]);
    free(j);
}

bool
fake_change(void)
{
    FAKE_GUARD();
    struct job *j = waiting;
    if (!j)
        return false;
    waiting = j->next;
    if (!waiting)
        waiting_tail = &waiting;
    j->next = NULL;
    j->code = run(j);
    if (j->content)
        j->content->uploading++;
    *finished_tail = j;
    finished_tail = &j->next;
    return true;
}

bool
fake_told(void)
{
    fake_lock();
    struct job *j = finished;
    if (j) {
        finished = j->next;
        if (!finished)
            finished_tail = &finished;
        if (j->content)
            j->content->uploading--;
    }
    fake_unlock();
    if (j)
        tell(j);
    return j != NULL;
}

void
fake_hold(bool hold)
{
    FAKE_GUARD();
    holding = hold;
}

void
fake_writer_reset(void)
{
    FAKE_GUARD();
    assert(!waiting && !finished);
    holding = false;
    quarantined[0] = '\0';
    fake_unkept = 0;
}

/* ---- asking for one ----------------------------------------------------------------------------
 */

static struct job *
job_new(enum change what, const char *bucket, const char *key, void *arg)
{
    struct job *j = calloc(1, sizeof *j);
    assert(j);
    j->what = what;
    snprintf(j->bucket, sizeof j->bucket, "%s", bucket);
    snprintf(j->key, sizeof j->key, "%s", key);
    j->arg = arg;
    return j;
}

static void
job_start(struct job *j)
{
    fake_lock();
    bool later = holding;
    if (later) {
        *waiting_tail = j;
        waiting_tail = &j->next;
    } else {
        j->code = run(j);
    }
    fake_unlock();
    if (!later)
        tell(j);
}

void
sf_content_commit(struct sf_content *c, const struct sf_commit_args *a, sf_commit_fn cb, void *arg)
{
    struct sf_commit clean = {.size = sf_content_size(c)};
    void (*before)(void) = atomic_exchange(&fake_before_commit, NULL);
    if (before)
        before();
    if (!sf_content_dirty(c)) {
        cb(arg, NULL, &clean);
        return;
    }
    if (a->later) { /* it waits until the end */
        struct sf_err stop = {.code = -ECANCELED};
        cb(arg, &stop, NULL);
        return;
    }
    struct job *j = job_new(UPLOAD, "", "", arg);
    j->content = sf_content_ref(c);
    j->replace = a->exists;
    snprintf(j->mark, sizeof j->mark, "%s", a->mark ? a->mark : "");
    if (a->xattrs)
        assert((j->xattrs = strdup(a->xattrs)));
    copy_said(j, a->mime, a->cache_control);
    j->commit_fn = cb;
    job_start(j);
}

/* The journal never fails here; attributes alone go the way of an object's. */
void
sf_content_keep(struct sf_content *c, const struct sf_commit_args *a, sf_write_fn kept,
                sf_commit_fn settled, void *arg)
{
    struct sf_err busy = {.code = -EBUSY};
    fake_counts.keeps++;
    kept(arg, a->attrs_only ? &busy : NULL);
    if (!a->attrs_only)
        sf_content_commit(c, a, settled, arg);
}

bool
sf_content_move_kept(struct sf_content *c, const char *bucket, const char *key, bool exists,
                     struct sf_content *over, sf_write_fn cb, void *arg)
{
    (void)c, (void)bucket, (void)key, (void)exists, (void)over, (void)cb, (void)arg;
    return false; /* nothing waits in a journal here */
}

bool
sf_content_withdraw(struct sf_content *c, sf_write_fn cb, void *arg)
{
    (void)c;
    if (fake_withdraws)
        cb(arg, NULL);
    return fake_withdraws;
}

ssize_t
sf_content_read(struct sf_content *c, void *buf, size_t len, uint64_t off, sf_read_fn cb, void *arg)
{
    fake_lock();
    ssize_t n = c->mine ? -EINPROGRESS : read_bytes(c, buf, len, off);
    fake_unlock();
    if (n >= 0)
        return n;
    struct job *j = job_new(READ, "", "", arg);
    j->content = sf_content_ref(c);
    j->buf = buf;
    j->len = len;
    j->off = off;
    j->read_fn = cb;
    job_start(j);
    return -EINPROGRESS;
}

void
sf_write_delete(struct sf_writer *w, const char *bucket, const char *key, sf_write_fn cb, void *arg)
{
    (void)w;
    struct job *j = job_new(DELETE, bucket, key, arg);
    j->write_fn = cb;
    job_start(j);
}

void
sf_write_delete_behind(struct sf_writer *w, const char *bucket, const char *key,
                       const struct sf_version *known, sf_write_fn kept, sf_write_fn settled,
                       void *arg)
{
    (void)w;
    struct job *j = job_new(DELETE, bucket, key, arg);
    j->write_fn = settled;
    fake_removes = *known;
    fake_counts.behind++;
    kept(arg, NULL);
    job_start(j);
}

void
sf_write_deletes_end(struct sf_writer *w)
{
    (void)w;
}

void
sf_write_put_small(struct sf_writer *w, const char *bucket, const char *key, const char *mime,
                   const void *data, size_t len, bool replace, const char *mark, sf_commit_fn cb,
                   void *arg)
{
    (void)w;
    struct job *j = job_new(SMALL, bucket, key, arg);
    assert(len < sizeof j->data);
    memcpy(j->data, data, len);
    j->len = len;
    snprintf(j->mime, sizeof j->mime, "%s", mime);
    j->replace = replace;
    snprintf(j->mark, sizeof j->mark, "%s", mark ? mark : "");
    j->commit_fn = cb;
    job_start(j);
}

void
sf_write_rename(struct sf_writer *w, const struct sf_rename_args *a, sf_rename_fn cb, void *arg)
{
    (void)w;
    struct job *j = job_new(RENAME, a->bucket, a->key, arg);
    snprintf(j->to_bucket, sizeof j->to_bucket, "%s", a->to_bucket);
    snprintf(j->to_key, sizeof j->to_key, "%s", a->to_key);
    j->replace = a->replace;
    j->rename_fn = cb;
    job_start(j);
}

void
sf_write_rename_dir(struct sf_writer *w, const struct sf_rename_args *a, sf_rename_fn cb, void *arg)
{
    (void)w;
    struct job *j = job_new(RENAME_DIR, a->bucket, a->key, arg);
    snprintf(j->to_bucket, sizeof j->to_bucket, "%s", a->to_bucket);
    snprintf(j->to_key, sizeof j->to_key, "%s", a->to_key);
    j->rename_fn = cb;
    job_start(j);
}

void
sf_write_rmdir(struct sf_writer *w, const char *bucket, const char *prefix, sf_write_fn cb,
               void *arg)
{
    (void)w;
    struct job *j = job_new(RMDIR, bucket, prefix, arg);
    j->write_fn = cb;
    job_start(j);
}

void
sf_write_bucket_create(struct sf_writer *w, const char *bucket, sf_write_fn cb, void *arg)
{
    (void)w;
    struct job *j = job_new(BUCKET_CREATE, bucket, "", arg);
    j->write_fn = cb;
    job_start(j);
}

void
sf_write_bucket_delete(struct sf_writer *w, const char *bucket, sf_write_fn cb, void *arg)
{
    (void)w;
    struct job *j = job_new(BUCKET_DELETE, bucket, "", arg);
    j->write_fn = cb;
    job_start(j);
}

/* Kept at once; written when it is done. */
void
sf_write_attrs(struct sf_writer *w, const struct sf_attr_change *ch, sf_write_fn kept,
               sf_attrs_settled_fn settled, void *arg)
{
    (void)w;
    struct job *j = job_new(ATTRS, ch->bucket, ch->key, arg);
    struct sf_err err = {.code = fake_unkept, .msg = "made to fail"};
    if (ch->mark->valid)
        assert(sf_mark_format(ch->mark, j->mark, sizeof j->mark) > 0);
    if (ch->xattrs)
        assert((j->xattrs = strdup(ch->xattrs)));
    copy_said(j, ch->mime, ch->cache_control);
    j->settled_fn = settled;
    j->code = fake_unkept;
    kept(arg, err.code ? &err : NULL);
    job_start(j);
}

/* What waits is written by fake_run(). */
void
sf_write_attrs_flush(struct sf_writer *w, const char *bucket, const char *key, sf_write_fn cb,
                     void *arg)
{
    (void)w, (void)bucket, (void)key;
    fake_counts.attr_flushes++;
    cb(arg, NULL);
}

void
sf_content_sync_state(struct sf_content *c, char *buf, size_t size)
{
    snprintf(buf, size, "%s", sf_content_dirty(c) ? "dirty" : "clean");
}
