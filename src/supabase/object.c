/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/object.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "supabase/call.h"
#include "supabase/json.h"
#include "supabase/scan.h"
#include "supabase/storage.h"

/* ---- info ----------------------------------------------------------------------------------- */

struct info_call {
    struct sf_call call;
    sf_info_fn cb;
    void *arg;
};

/* Where the value of "metadata" stands in the text. */
struct span {
    const char *text;
    size_t from, to;
};

static int
find_metadata(struct sf_scan *s, const char *name, void *arg)
{
    struct span *span = arg;
    bool wanted = strcmp(name, "metadata") == 0;
    while (wanted && *s->p && strchr(" \t\r\n", *s->p))
        s->p++;
    size_t from = (size_t)(s->p - span->text);
    int rc = sf_scan_skip(s);
    if (rc == 0 && wanted) {
        span->from = from;
        span->to = (size_t)(s->p - span->text);
    }
    return rc;
}

/* Others' metadata is kept as it is spelled: a number in it may be one that no parser of ours can
 * hold. @text: the reply; {} stands for the metadata afterwards. *ret stays NULL when it is not an
 * object (what that means, the parser says). */
static int
take_metadata(char *text, size_t len, char **ret)
{
    sf_autofree char *copy = strdup(text); /* the reader changes what it reads */
    struct span span = {.text = copy};
    struct sf_scan s;
    if (!copy)
        return -ENOMEM;
    if (strlen(copy) != len)
        return 0;
    sf_scan_init(&s, copy, len);
    if (sf_scan_object(&s, find_metadata, &span) < 0 || span.to < span.from + 2 ||
        text[span.from] != '{')
        return 0;
    *ret = strndup(text + span.from, span.to - span.from);
    if (!*ret)
        return -ENOMEM;
    memset(text + span.from, ' ', span.to - span.from);
    memcpy(text + span.from, "{}", 2);
    return 0;
}

static int
parse_info(const json_t *o, struct sf_object_info *info)
{
    bool found;
    const json_t *meta = json_object_get(o, "metadata");
    memset(info, 0, sizeof *info);
    /* NULL when a member has a wrong type, so that one test finds any of them. */
    info->id = sf_json_text(o, "id");
    info->version = sf_json_text(o, "version");
    info->etag = sf_json_text(o, "etag");
    info->mime = sf_json_text(o, "content_type");
    info->cache_control = sf_json_text(o, "cache_control");
    const char *name = sf_json_text(o, "name"); /* without it anything at all would do */
    if (!name || !name[0])
        return -EPROTO;
    if (!info->id || !info->version || !info->etag || !info->mime || !info->cache_control)
        return -EPROTO;
    if (!json_is_object(o) || strlen(info->id) >= 40 || strlen(info->version) >= 80 ||
        sf_json_size(o, "size", &info->size, &found) < 0 ||
        sf_json_time(o, "last_modified", &info->updated_ns) < 0 ||
        sf_json_time(o, "created_at", &info->created_ns) < 0)
        return -EPROTO;
    return meta && !json_is_null(meta) && !json_is_object(meta) ? -EPROTO : 0;
}

int
sf_object_parse_info(const char *body, size_t len, struct sf_object_info *info, json_t **root,
                     char **metadata, char why[160])
{
    sf_autofree char *text = malloc(len + 1), *meta = NULL;
    if (!text)
        return -ENOMEM;
    memcpy(text, body, len);
    text[len] = '\0';
    int rc = take_metadata(text, len, &meta);
    if (rc)
        return rc;
    json_t *o = sf_json_parse(text, len, why);
    if (!o)
        return -EPROTO;
    rc = parse_info(o, info);
    if (rc == 0 && !meta) {
        const json_t *plain = json_object_get(o, "metadata");
        meta = json_is_object(plain) ? json_dumps(plain, JSON_COMPACT) : strdup("{}");
        rc = meta ? 0 : -ENOMEM;
    }
    if (rc) {
        json_decref(o);
        return rc;
    }
    info->metadata = meta;
    *metadata = sf_steal(meta);
    *root = o;
    return 0;
}

static void
info_done(struct sf_call *call, const struct sf_http_reply *reply, const struct sf_err *err)
{
    struct info_call *c = (struct info_call *)call;
    if (err) {
        c->cb(c->arg, err, NULL);
        return;
    }
    char why[160] = "a member is missing or of a wrong type";
    struct sf_object_info info;
    sf_autofree char *metadata = NULL;
    json_t *root = NULL;
    int rc = sf_object_parse_info(reply->body ? reply->body : "", reply->body_len, &info, &root,
                                  &metadata, why);
    if (rc == 0) {
        c->cb(c->arg, NULL, &info);
    } else {
        struct sf_err bad;
        sf_call_protocol(call, reply, &bad, rc, "the reply is no object's properties: %s", why);
        c->cb(c->arg, &bad, NULL);
    }
    json_decref(root);
}

uint64_t
sf_storage_info(struct sf_storage *st, const char *bucket, const char *key, int64_t deadline_ms,
                sf_info_fn cb, void *arg)
{
    struct info_call *c = sf_call_new(st, SF_C_CALLS_INFO, sizeof *c, info_done);
    if (!c) {
        struct sf_err err = SF_ERR_INIT;
        err.code = sf_err_set(&err, -ENOMEM, "out of memory");
        cb(arg, &err, NULL);
        return 0;
    }
    c->cb = cb;
    c->arg = arg;
    c->call.idempotent = true;
    sf_call_open(&c->call, "GET", "info", "object/info/authenticated", bucket, key, NULL,
                 deadline_ms);
    return sf_call_submit(&c->call);
}

/* ---- ranges --------------------------------------------------------------------------------- */

struct get_call {
    struct sf_call call;
    sf_get_fn cb;
    void *arg;
    uint64_t off, total;
    size_t len;
    char *buf;
    bool any_total;
    char *etag; /* expected; NULL = any */
};

static void
get_fini(struct sf_call *call)
{
    free(((struct get_call *)call)->etag);
}

static bool
take_number(const char **p, uint64_t *ret)
{
    uint64_t v = 0;
    const char *start = *p;
    for (; **p >= '0' && **p <= '9'; (*p)++) {
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
            return false;
    }
    *ret = v;
    return *p > start;
}

int
sf_content_range_parse(const char *text, uint64_t *first, uint64_t *last, uint64_t *total)
{
    uint64_t f, l, t;
    if (strncmp(text, "bytes ", 6) != 0)
        return -EPROTO;
    text += 6;
    if (!take_number(&text, &f) || *text++ != '-' || !take_number(&text, &l) || *text++ != '/' ||
        !take_number(&text, &t) || *text || l < f || l >= t)
        return -EPROTO;
    *first = f;
    *last = l;
    *total = t;
    return 0;
}

/* What a reply of success must be; 0 and the result, or an error in *bad. */
static int
check_get(struct get_call *c, const struct sf_http_reply *r, struct sf_get_result *res,
          struct sf_err *bad)
{
    uint64_t first = 0, last = 0, total = 0;
    const char *etag = sf_http_reply_header(r, "etag");
    const char *range = sf_http_reply_header(r, "content-range");
    int bad_range = 0;
    if (r->status == 206) {
        bad_range = range ? sf_content_range_parse(range, &first, &last, &total) : -EPROTO;
    } else {
        /* The whole object; fine when it fits what was asked for. */
        total = r->body_len;
    }
    if (c->etag && !etag) {
        sf_call_protocol(&c->call, r, bad, -EIO, "no ETag to tell the version by");
        return -EIO;
    }
    if (c->etag && !sf_etag_same(etag, c->etag)) {
        sf_call_protocol(&c->call, r, bad, -ESTALE, "the object has another ETag now");
        return -ESTALE;
    }
    if (bad_range < 0) {
        sf_call_protocol(&c->call, r, bad, -EIO, "no usable Content-Range");
        return -EIO;
    }
    if (!c->any_total && total != c->total) {
        sf_call_protocol(&c->call, r, bad, -ESTALE,
                         "the object has %llu bytes now, not the %llu known",
                         (unsigned long long)total, (unsigned long long)c->total);
        return -ESTALE;
    }
    if (c->off >= total && !(total == 0 && c->off == 0)) {
        sf_call_protocol(&c->call, r, bad, -ESTALE, "the object ends before byte %llu",
                         (unsigned long long)c->off);
        return -ESTALE;
    }
    uint64_t rest = total - c->off;
    size_t want = rest < c->len ? (size_t)rest : c->len;
    if (r->status == 206 && (first != c->off || last - first + 1 != want || r->body_len != want)) {
        sf_call_protocol(&c->call, r, bad, -EIO,
                         "asked for %zu bytes at %llu, got %zu bytes called %llu-%llu", c->len,
                         (unsigned long long)c->off, r->body_len, (unsigned long long)first,
                         (unsigned long long)last);
        return -EIO;
    }
    if (r->status != 206 && c->off > 0)
        memmove(c->buf, c->buf + c->off, want);
    res->len = want;
    res->etag = etag ? etag : "";
    res->total = total;
    res->cache_control = sf_http_reply_header(r, "cache-control");
    return 0;
}

static void
get_done(struct sf_call *call, const struct sf_http_reply *reply, const struct sf_err *err)
{
    struct get_call *c = (struct get_call *)call;
    struct sf_get_result res;
    struct sf_err bad;
    if (!err && reply->status != 200 && reply->status != 206) {
        sf_call_protocol(call, reply, &bad, -EIO, "not an answer to a read");
        c->cb(c->arg, &bad, NULL);
        return;
    }
    if (!err && check_get(c, reply, &res, &bad) == 0) {
        c->cb(c->arg, NULL, &res);
        return;
    }
    if (!err) {
        c->cb(c->arg, &bad, NULL);
        return;
    }
    bad = *err;
    if (err->code == -EFBIG && reply && reply->status == 0) {
        /* More than was asked for: the server or a proxy ignores Range. */
        bad = SF_ERR_INIT;
        bad.code = sf_err_set(&bad, -EIO, "%s: the reply is longer than the %zu bytes asked for",
                              call->what, c->len);
    }
    c->cb(c->arg, &bad, NULL);
}

/* The version token goes into the address, whatever its characters. */
static char *
token_query(const char *token)
{
    sf_autofree char *escaped = sf_url_escape(token, false);
    char *query = NULL;
    if (!escaped || asprintf(&query, "v=%s", escaped) < 0)
        return NULL;
    return query;
}

static void
open_get(struct get_call *c, const struct sf_get_args *a, int64_t deadline_ms)
{
    uint64_t last = 0;
    char range[64];
    sf_autofree char *query = a->token && *a->token ? token_query(a->token) : NULL;
    sf_call_open(&c->call, "GET", "range", "object/authenticated", a->bucket, a->key, query,
                 deadline_ms);
    if ((a->token && *a->token && !query) || (a->etag && *a->etag && !c->etag))
        sf_call_fail(&c->call, -ENOMEM, "out of memory");
    if (a->len == 0 || __builtin_add_overflow(a->off, a->len - 1, &last))
        sf_call_fail(&c->call, -EINVAL, "a range of no bytes, or beyond any file");
    if (c->call.err.code)
        return;
    snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)a->off,
             (unsigned long long)last);
    sf_call_header(&c->call, "Range", range);
    sf_http_req_into(c->call.req, a->buf, a->len);
    sf_http_req_priority(c->call.req, a->priority);
}

uint64_t
sf_storage_get(struct sf_storage *st, const struct sf_get_args *args, int64_t deadline_ms,
               sf_get_fn cb, void *arg)
{
    struct get_call *c = sf_call_new(st, SF_C_CALLS_READ, sizeof *c, get_done);
    if (!c) {
        struct sf_err err = SF_ERR_INIT;
        err.code = sf_err_set(&err, -ENOMEM, "out of memory");
        cb(arg, &err, NULL);
        return 0;
    }
    c->call.fini = get_fini;
    c->call.idempotent = true;
    c->cb = cb;
    c->arg = arg;
    c->off = args->off;
    c->len = args->len;
    c->buf = args->buf;
    c->total = args->total;
    c->any_total = args->any_total;
    c->etag = args->etag && *args->etag ? strdup(args->etag) : NULL;
    open_get(c, args, deadline_ms);
    return sf_call_submit(&c->call);
}

/* ---- waiting forms -------------------------------------------------------------------------- */

struct get_wait {
    struct sf_waiter *w;
    size_t len;
};

static void
get_waited(void *arg, const struct sf_err *err, const struct sf_get_result *res)
{
    struct get_wait *g = arg;
    if (res)
        g->len = res->len;
    sf_wait_end(g->w, err);
}

int
sf_storage_get_wait(struct sf_storage *st, const struct sf_get_args *args, int64_t deadline_ms,
                    size_t *len, struct sf_err *err)
{
    struct get_wait g = {0};
    int rc = sf_wait_begin(st, &g.w, err);
    if (rc < 0)
        return rc;
    (void)sf_storage_get(st, args, deadline_ms, get_waited, &g);
    rc = sf_wait_for(g.w, err);
    if (rc == 0)
        *len = g.len;
    return rc;
}

void
sf_object_fini(struct sf_object *o)
{
    free(o->id);
    free(o->version);
    free(o->etag);
    free(o->mime);
    free(o->cache_control);
    free(o->metadata);
    memset(o, 0, sizeof *o);
}

int
sf_object_copy(const struct sf_object_info *info, struct sf_object *out)
{
    struct sf_object o = {
        .id = strdup(info->id),
        .version = strdup(info->version),
        .etag = strdup(info->etag),
        .mime = strdup(info->mime),
        .cache_control = strdup(info->cache_control),
        .metadata = strdup(info->metadata),
        .size = info->size,
        .updated_ns = info->updated_ns,
        .created_ns = info->created_ns,
    };
    if (!o.id || !o.version || !o.etag || !o.mime || !o.cache_control || !o.metadata) {
        sf_object_fini(&o);
        return -ENOMEM;
    }
    *out = o;
    return 0;
}

struct info_wait {
    struct sf_waiter *w;
    struct sf_object object;
};

static void
info_waited(void *arg, const struct sf_err *err, const struct sf_object_info *info)
{
    struct info_wait *i = arg;
    struct sf_err oom = SF_ERR_INIT;
    if (info && sf_object_copy(info, &i->object) < 0) {
        oom.code = sf_err_set(&oom, -ENOMEM, "out of memory");
        err = &oom;
    }
    sf_wait_end(i->w, err);
}

int
sf_storage_info_wait(struct sf_storage *st, const char *bucket, const char *key,
                     int64_t deadline_ms, struct sf_object *out, struct sf_err *err)
{
    struct info_wait i = {0};
    int rc = sf_wait_begin(st, &i.w, err);
    if (rc < 0)
        return rc;
    (void)sf_storage_info(st, bucket, key, deadline_ms, info_waited, &i);
    rc = sf_wait_for(i.w, err);
    if (rc == 0)
        *out = i.object;
    return rc;
}
