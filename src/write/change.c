/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/change.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/attrs.h"
#include "write/journal.h"
#include "write/put.h"
#include "write/told.h"

/* ---- queueing ------------------------------------------------------------------------------- */

static void
change_free(struct sf_change *ch)
{
    free(ch->bucket);
    free(ch->key);
    free(ch);
}

static void
change_run(struct sf_job *job, const struct sf_err *refused)
{
    struct sf_change *ch = (struct sf_change *)job;
    struct sf_err err = SF_ERR_INIT;
    if (refused)
        err = *refused;
    else if (ch->fn(ch, sf_writer_deadline(ch->w, 0), &err) == 0)
        err = SF_ERR_INIT;
    ch->cb(ch->arg, err.code ? &err : NULL);
    change_free(ch);
}

static struct sf_change *
change_copy(const struct sf_change *t)
{
    struct sf_change *ch = malloc(sizeof *ch);
    if (!ch)
        return NULL;
    *ch = *t;
    ch->job = (struct sf_job){.run = change_run};
    ch->bucket = strdup(t->bucket);
    ch->key = strdup(t->key);
    if (ch->bucket && ch->key)
        return ch;
    change_free(ch);
    return NULL;
}

void
sf_change_queue(const struct sf_change *template)
{
    struct sf_change *ch = change_copy(template);
    if (!ch) {
        struct sf_err err = SF_ERR_INIT;
        (void)!sf_err_set(&err, -ENOMEM, "out of memory");
        template->cb(template->arg, &err);
        return;
    }
    struct sf_job_key key = {ch->bucket, ch->key};
    sf_queue_add(ch->w->queue, &ch->job, &key, 1);
}

int
sf_change_settled(struct sf_err *err, const char *what, const char *bucket, const char *key)
{
    *err = SF_ERR_INIT;
    sf_info("write", "event=lost-reply-settled object=%s/%s outcome=%s", bucket, key, what);
    return 0;
}

/* ---- objects -------------------------------------------------------------------------------- */

/* What is there under a name that was to be removed? 0, -ENOENT, or why that is not known. */
static int
look(struct sf_writer *w, const char *bucket, const char *key, int64_t deadline_ms,
     struct sf_err *err)
{
    sf_autoobject struct sf_object now = {0};
    return sf_storage_info_wait(w->st, bucket, key, deadline_ms, &now, err);
}

void
sf_change_removed(const char *bucket, const char *key, const struct sf_version *expected,
                  const struct sf_version *removed)
{
    if (!expected || !sf_version_known(expected) || sf_version_same(expected, removed))
        return;
    sf_count(SF_C_RENAME_RACES, 1);
    sf_warn("write",
            "event=removed-another-version object=%s/%s expected=%s removed=%s etag=%s bytes=%llu",
            bucket, key, expected->etag, removed->version, removed->etag,
            (unsigned long long)removed->size);
}

/* It was not among those removed: why? @open: an earlier request of ours may have removed it. */
static int
not_removed(struct sf_writer *w, const char *bucket, const char *key, bool open,
            int64_t deadline_ms, struct sf_err *err)
{
    *err = SF_ERR_INIT;
    int rc = look(w, bucket, key, deadline_ms, err);
    if (rc == -ENOENT && open)
        return sf_change_settled(err, "deleted", bucket, key);
    return rc ? rc
              : sf_err_set(err, -EACCES, "%s/%s may not be removed with this key", bucket, key);
}

int
sf_change_delete(struct sf_writer *w, const char *bucket, const char *key,
                 const struct sf_version *expected, int64_t deadline_ms, struct sf_err *err)
{
    bool open = false, refused = false;
    for (unsigned repeats = 1;; repeats++) {
        struct sf_removed r = {0};
        *err = SF_ERR_INIT;
        int rc = sf_storage_delete_many_wait(w->st, bucket, &key, 1,
                                             sf_writer_try_until(w, deadline_ms), &r, err);
        if (!rc && r.removed)
            sf_change_removed(bucket, key, expected, &r.version);
        if (!rc && !r.removed) {
            rc = not_removed(w, bucket, key, open, deadline_ms, err);
            if (rc != -EACCES || refused)
                return rc;
            refused = true; /* or an upload arrived between the two, late: once more */
            continue;
        }
        if (!rc || !err->outcome_open)
            return rc;
        open = true;
        int now = look(w, bucket, key, deadline_ms, NULL);
        if (now == -ENOENT)
            return sf_change_settled(err, "deleted", bucket, key);
        if (now < 0)
            return rc;
        if (!sf_writer_pause(w, repeats, deadline_ms)) {
            err->outcome_open = false;
            return rc;
        }
    }
}

static int
delete_run(struct sf_change *ch, int64_t deadline_ms, struct sf_err *err)
{
    struct sf_writer *w = ch->w;
    int rc =
        sf_sources_rescue(w, ch->bucket, ch->key, sf_writer_deadline(w, w->keep_open_max), err);
    if (rc)
        return rc;
    deadline_ms = sf_writer_deadline(w, 0); /* what was fetched took its time */
    rc = sf_change_delete(w, ch->bucket, ch->key, NULL, deadline_ms, err);
    if (!rc)
        sf_told_delete(w, ch->bucket, ch->key, NULL);
    if ((!rc || rc == -ENOENT) && sf_attrs_gone(w, ch->bucket, ch->key))
        (void)sf_journal_settle(w->journal); /* what gets this name next is another file */
    return rc;
}

void
sf_write_delete(struct sf_writer *w, const char *bucket, const char *key, sf_write_fn cb, void *arg)
{
    struct sf_change ch = {.w = w,
                           .bucket = (char *)bucket,
                           .key = (char *)key,
                           .fn = delete_run,
                           .cb = cb,
                           .arg = arg};
    sf_change_queue(&ch);
}

/* ---- small objects -------------------------------------------------------------------------- */

struct put_small {
    struct sf_job job;
    struct sf_writer *w;
    struct sf_put put; /* strings and fd are its own */
    sf_commit_fn cb;
    void *arg;
};

static void
small_free(struct put_small *s)
{
    if (s->put.fd >= 0)
        close(s->put.fd);
    free((char *)s->put.bucket);
    free((char *)s->put.key);
    free((char *)s->put.mime);
    free((char *)s->put.mark);
    free(s);
}

static void
small_run(struct sf_job *job, const struct sf_err *refused)
{
    struct put_small *s = (struct put_small *)job;
    struct sf_err err = SF_ERR_INIT;
    struct sf_commit done = {.size = s->put.size};
    if (refused)
        err = *refused;
    else if (sf_put_run(s->w, &s->put, &err) == 0) {
        err = SF_ERR_INIT;
        sf_put_result(&s->put, &done);
    }
    s->cb(s->arg, err.code ? &err : NULL, err.code ? NULL : &done);
    small_free(s);
}

static int
small_new(struct sf_writer *w, const char *bucket, const char *key, const char *mime,
          const void *data, size_t len, struct put_small **ret)
{
    struct put_small *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->job.run = small_run;
    s->w = w;
    s->put.bucket = strdup(bucket);
    s->put.key = strdup(key);
    s->put.mime = mime ? strdup(mime) : NULL;
    s->put.size = len;
    s->put.fd = memfd_create("supafs-put", MFD_CLOEXEC);
    int rc = s->put.fd < 0                                             ? -errno
             : !s->put.bucket || !s->put.key || (mime && !s->put.mime) ? -ENOMEM
                                                                       : 0;
    if (!rc)
        rc = sf_pwrite_full(s->put.fd, data, len, 0);
    if (rc) {
        small_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void
sf_write_put_small(struct sf_writer *w, const char *bucket, const char *key, const char *mime,
                   const void *data, size_t len, bool replace, const char *mark, sf_commit_fn cb,
                   void *arg)
{
    struct put_small *s = NULL;
    int rc = small_new(w, bucket, key, mime, data, len, &s);
    if (!rc && mark && !(s->put.mark = strdup(mark))) {
        small_free(s);
        rc = -ENOMEM;
    }
    if (rc) {
        struct sf_err err = SF_ERR_INIT;
        (void)!sf_err_set(&err, rc, "cannot hold %zu bytes for %s/%s: %s", len, bucket, key,
                          strerror(-rc));
        cb(arg, &err, NULL);
        return;
    }
    s->put.exists = replace;
    s->put.exclusive = !replace;
    s->cb = cb;
    s->arg = arg;
    struct sf_job_key lane = {s->put.bucket, s->put.key};
    sf_queue_add(w->queue, &s->job, &lane, 1);
}

/* ---- directories and buckets ---------------------------------------------------------------- */

int
sf_change_look_below(struct sf_writer *w, const char *bucket, const char *prefix,
                     int64_t deadline_ms, struct sf_err *err)
{
    struct sf_list_args args = {.bucket = bucket, .prefix = prefix, .limit = 3};
    sf_autofree char *first = NULL;
    size_t n = 0;
    int rc = sf_storage_list_wait(w->st, &args, deadline_ms, &n, &first, err);
    if (rc)
        return rc;
    size_t len = strlen(prefix);
    if (n == 0)
        return SF_BELOW_NOTHING;
    return n == 1 && first && strncmp(first, prefix, len) == 0 &&
                   strcmp(first + len, SF_PLACEHOLDER) == 0
               ? SF_BELOW_MARKER
               : SF_BELOW_SOMETHING;
}

int
sf_change_remove_marker(struct sf_writer *w, const char *bucket, const char *prefix,
                        int64_t deadline_ms, struct sf_err *err)
{
    sf_autofree char *marker = NULL;
    if (asprintf(&marker, "%s" SF_PLACEHOLDER, prefix) < 0) {
        marker = NULL;
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    int rc = sf_change_delete(w, bucket, marker, NULL, deadline_ms, err);
    return rc == -ENOENT ? 0 : rc;
}

static int
rmdir_run(struct sf_change *ch, int64_t deadline_ms, struct sf_err *err)
{
    int below = sf_change_look_below(ch->w, ch->bucket, ch->key, deadline_ms, err);
    if (below < 0)
        return below;
    if (below == SF_BELOW_SOMETHING)
        return sf_err_set(err, -ENOTEMPTY, "%s/%s is not empty", ch->bucket, ch->key);
    int rc = below == SF_BELOW_MARKER
                 ? sf_change_remove_marker(ch->w, ch->bucket, ch->key, deadline_ms, err)
                 : 0;
    if (rc)
        return rc;
    (void)sf_attrs_gone(ch->w, ch->bucket,
                        ch->key);            /* else its attributes would make the marker again, */
    (void)sf_journal_settle(ch->w->journal); /* also at a start that finds their record */
    return 0;
}

void
sf_write_rmdir(struct sf_writer *w, const char *bucket, const char *prefix, sf_write_fn cb,
               void *arg)
{
    struct sf_change ch = {.w = w,
                           .bucket = (char *)bucket,
                           .key = (char *)prefix,
                           .fn = rmdir_run,
                           .cb = cb,
                           .arg = arg};
    sf_attrs_push(w, bucket, prefix);
    sf_change_queue(&ch);
}

/* Repeating these is harmless: after a lost reply the other's success is our own. */
static int
bucket_create_run(struct sf_change *ch, int64_t deadline_ms, struct sf_err *err)
{
    bool open = false;
    for (unsigned repeats = 1;; repeats++) {
        *err = SF_ERR_INIT;
        int rc = sf_storage_bucket_create_wait(ch->w->st, ch->bucket,
                                               sf_writer_try_until(ch->w, deadline_ms), err);
        if (rc == -EEXIST && open)
            return sf_change_settled(err, "bucket created", ch->bucket, "");
        if (!rc || !err->outcome_open)
            return rc;
        open = true;
        if (!sf_writer_pause(ch->w, repeats, deadline_ms))
            return rc;
    }
}

static int
bucket_delete_once(struct sf_change *ch, int64_t deadline_ms, struct sf_err *err)
{
    bool open = false;
    for (unsigned repeats = 1;; repeats++) {
        *err = SF_ERR_INIT;
        int rc = sf_storage_bucket_delete_wait(ch->w->st, ch->bucket,
                                               sf_writer_try_until(ch->w, deadline_ms), err);
        if (rc == -ENOENT && open)
            return sf_change_settled(err, "bucket deleted", ch->bucket, "");
        if (!rc || !err->outcome_open)
            return rc;
        open = true;
        if (!sf_writer_pause(ch->w, repeats, deadline_ms))
            return rc;
    }
}

static int
bucket_delete_run(struct sf_change *ch, int64_t deadline_ms, struct sf_err *err)
{
    int rc = bucket_delete_once(ch, deadline_ms, err);
    if (rc != -ENOTEMPTY)
        return rc;
    struct sf_err why = SF_ERR_INIT;
    if (sf_change_look_below(ch->w, ch->bucket, "", deadline_ms, &why) != SF_BELOW_MARKER)
        return rc;
    int del = sf_change_remove_marker(ch->w, ch->bucket, "", deadline_ms, &why);
    if (del) {
        *err = why;
        return del;
    }
    return bucket_delete_once(ch, deadline_ms, err);
}

static void
bucket_change(struct sf_writer *w, const char *bucket,
              int (*fn)(struct sf_change *, int64_t, struct sf_err *), sf_write_fn cb, void *arg)
{
    struct sf_change ch = {
        .w = w, .bucket = (char *)bucket, .key = (char *)"", .fn = fn, .cb = cb, .arg = arg};
    sf_change_queue(&ch);
}

void
sf_write_bucket_create(struct sf_writer *w, const char *bucket, sf_write_fn cb, void *arg)
{
    bucket_change(w, bucket, bucket_create_run, cb, arg);
}

void
sf_write_bucket_delete(struct sf_writer *w, const char *bucket, sf_write_fn cb, void *arg)
{
    bucket_change(w, bucket, bucket_delete_run, cb, arg);
}
