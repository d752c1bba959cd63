/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/storage.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "supabase/call.h"
#include "supabase/json.h"

#define BUCKETS_MAX 10000

/* ---- the client ----------------------------------------------------------------------------- */

static int
check_url(const char *url, struct sf_err *err)
{
    size_t scheme = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;
    if (!scheme || !url[scheme] || url[scheme] == '/')
        return sf_err_set(err, -EINVAL,
                          "the project's address must look like https://REF.supabase.co");
    for (const char *p = url; *p; p++) {
        if (*p <= 0x20 || *p >= 0x7f)
            return sf_err_set(err, -EINVAL,
                              "the project's address has a space, control or non-ASCII character");
    }
    if (strpbrk(url, "?#@"))
        return sf_err_set(err, -EINVAL, "the project's address must not contain any of ? # @");
    return 0;
}

int
sf_storage_new(struct sf_http *http, struct sf_auth *auth, const char *url, struct sf_storage **ret,
               struct sf_err *err)
{
    int rc = check_url(url, err);
    if (rc < 0)
        return rc;
    size_t n = strlen(url), suffix = strlen(SF_STORAGE_PATH);
    while (n > 0 && url[n - 1] == '/')
        n--;
    if (n > suffix && memcmp(url + n - suffix, SF_STORAGE_PATH, suffix) == 0)
        n -= suffix;
    while (n > 0 && url[n - 1] == '/')
        n--;
    struct sf_storage *st = calloc(1, sizeof *st);
    if (!st || asprintf(&st->base, "%.*s%s", (int)n, url, SF_STORAGE_PATH) < 0) {
        free(st);
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    st->http = http;
    st->auth = auth;
    *ret = st;
    return 0;
}

void
sf_storage_on_trouble(struct sf_storage *st, sf_storage_trouble_fn fn, void *arg)
{
    st->trouble = (struct sf_trouble){fn, arg};
}

void
sf_storage_free(struct sf_storage *st)
{
    if (!st)
        return;
    assert(atomic_load(&st->active) == 0);
    free(st->base);
    free(st);
}

void
sf_storage_cancel(struct sf_storage *st, uint64_t id)
{
    sf_http_cancel(st->http, id);
}

bool
sf_storage_is_retrying(struct sf_storage *st)
{
    struct sf_http_stats now;
    sf_http_stats(st->http, &now);
    return now.waiting_retry > 0;
}

/* ---- buckets -------------------------------------------------------------------------------- */

struct bucket_call {
    struct sf_call call;
    bool one;
    sf_bucket_list_fn cb;
    void *arg;
};

static int
parse_mimes(const json_t *list, const char ***ret)
{
    *ret = NULL;
    if (!list || json_is_null(list))
        return 0;
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n > 1000)
        return -EPROTO;
    /* An empty list allows everything, as the service sees it. */
    if (n == 0)
        return 0;
    const char **mimes = calloc(n + 1, sizeof *mimes);
    if (!mimes)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        mimes[i] = json_string_value(json_array_get(list, i));
        if (!mimes[i]) {
            free(mimes);
            return -EPROTO;
        }
    }
    *ret = mimes;
    return 0;
}

static int
parse_bucket(const json_t *o, struct sf_bucket_row *row)
{
    bool found;
    const char **mimes;
    const json_t *is_public = json_object_get(o, "public");
    memset(row, 0, sizeof *row);
    row->id = json_string_value(json_object_get(o, "id"));
    row->name = json_string_value(json_object_get(o, "name"));
    if (!row->id || !row->id[0] || !row->name || strchr(row->id, '/'))
        return -EPROTO;
    if (is_public && !json_is_null(is_public) && !json_is_boolean(is_public))
        return -EPROTO;
    row->is_public = json_is_true(is_public);
    if (sf_json_size(o, "file_size_limit", &row->size_limit, &found) < 0 ||
        sf_json_time(o, "created_at", &row->created_ns) < 0 ||
        sf_json_time(o, "updated_at", &row->updated_ns) < 0)
        return -EPROTO;
    int rc = parse_mimes(json_object_get(o, "allowed_mime_types"), &mimes);
    if (rc == 0)
        row->mimes = mimes;
    return rc;
}

static void
free_rows(struct sf_bucket_row *rows, size_t n)
{
    for (size_t i = 0; rows && i < n; i++)
        free((void *)rows[i].mimes);
    free(rows);
}

static void
deliver_buckets(struct bucket_call *b, const struct sf_http_reply *reply, const json_t *root)
{
    struct sf_err err;
    size_t n = b->one ? 1 : json_array_size(root), done = 0;
    if (n > BUCKETS_MAX || !(b->one ? json_is_object(root) : json_is_array(root))) {
        sf_call_protocol(&b->call, reply, &err, -EPROTO, "not what a bucket listing looks like");
        b->cb(b->arg, &err, NULL, 0);
        return;
    }
    struct sf_bucket_row *rows = calloc(n ? n : 1, sizeof *rows);
    int rc = rows ? 0 : -ENOMEM;
    while (rc == 0 && done < n) {
        rc = parse_bucket(b->one ? root : json_array_get(root, done), &rows[done]);
        if (rc == 0)
            done++;
    }
    if (rc == 0) {
        b->cb(b->arg, NULL, rows, n);
    } else {
        sf_call_protocol(&b->call, reply, &err, rc, "bucket %zu of the reply is malformed", done);
        b->cb(b->arg, &err, NULL, 0);
    }
    free_rows(rows, done);
}

static void
bucket_done(struct sf_call *call, const struct sf_http_reply *reply, const struct sf_err *err)
{
    struct bucket_call *b = (struct bucket_call *)call;
    if (err) {
        b->cb(b->arg, err, NULL, 0);
        return;
    }
    char why[160];
    json_t *root = sf_json_parse(reply->body, reply->body_len, why);
    if (!root) {
        struct sf_err bad;
        sf_call_protocol(call, reply, &bad, -EPROTO, "the reply is not JSON: %s", why);
        b->cb(b->arg, &bad, NULL, 0);
        return;
    }
    deliver_buckets(b, reply, root);
    json_decref(root);
}

static uint64_t
bucket_call(struct sf_storage *st, const char *id, int64_t deadline_ms, sf_bucket_list_fn cb,
            void *arg)
{
    struct bucket_call *b = sf_call_new(st, SF_C_CALLS_BUCKET, sizeof *b, bucket_done);
    if (!b) {
        struct sf_err err = SF_ERR_INIT;
        err.code = sf_err_set(&err, -ENOMEM, "out of memory");
        cb(arg, &err, NULL, 0);
        return 0;
    }
    b->one = id != NULL;
    b->cb = cb;
    b->arg = arg;
    b->call.idempotent = true;
    sf_call_open(&b->call, "GET", id ? "bucket" : "bucket list", "bucket", id, NULL, NULL,
                 deadline_ms);
    if (b->call.req)
        sf_http_req_limit(b->call.req, 8 * 1024 * 1024);
    return sf_call_submit(&b->call);
}

uint64_t
sf_storage_bucket_list(struct sf_storage *st, int64_t deadline_ms, sf_bucket_list_fn cb, void *arg)
{
    return bucket_call(st, NULL, deadline_ms, cb, arg);
}

uint64_t
sf_storage_bucket_get(struct sf_storage *st, const char *id, int64_t deadline_ms,
                      sf_bucket_list_fn cb, void *arg)
{
    return bucket_call(st, id ? id : "", deadline_ms, cb, arg);
}

/* ---- is the bucket there? -----------------------------------------------------------------------
 */

struct verify {
    sf_plain_fn cb;
    void *arg;
};

static void
verified(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    struct verify *v = arg;
    (void)rows;
    (void)n;
    v->cb(v->arg, err);
    free(v);
}

uint64_t
sf_storage_verify(struct sf_storage *st, const char *bucket, int64_t deadline_ms, sf_plain_fn cb,
                  void *arg)
{
    struct verify *v = malloc(sizeof *v);
    if (!v) {
        struct sf_err err = SF_ERR_INIT;
        err.code = sf_err_set(&err, -ENOMEM, "out of memory");
        cb(arg, &err);
        return 0;
    }
    v->cb = cb;
    v->arg = arg;
    return sf_storage_bucket_get(st, bucket, deadline_ms, verified, v);
}
