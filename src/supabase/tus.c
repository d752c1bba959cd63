/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/tus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "supabase/change.h"

#define ROUTE "upload/resumable"

/* ---- names ---------------------------------------------------------------------------------- */

static bool
is_name(const char *text, size_t n)
{
    if (n == 0 || n > SF_TUS_NAME_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return true;
}

/*
 * Scheme, host and path of the address are often wrong (a service behind a gateway knows neither),
 * so only its last part is taken.
 */
int
sf_tus_name_of(const char *location, char **name)
{
    size_t n = strcspn(location, "?#");
    size_t from = n;
    while (from > 0 && location[from - 1] != '/')
        from--;
    if (!is_name(location + from, n - from))
        return -EPROTO;
    char *text = strndup(location + from, n - from);
    if (!text)
        return -ENOMEM;
    *name = text;
    return 0;
}

/* The name is base64 of "bucket/key/version". */
bool
sf_tus_version(const char *name, char version[40])
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    if (sf_base64url_decode(&b, name, strlen(name)) < 0 || memchr(b.data, '\0', b.len))
        return false;
    const char *slash = strrchr(b.data, '/');
    size_t n = slash ? strlen(slash + 1) : 0;
    if (n != 36 || strspn(slash + 1, "0123456789abcdef-") != n)
        return false;
    memcpy(version, slash + 1, n + 1);
    return true;
}

/* ---- all requests --------------------------------------------------------------------------- */

/* Of an upload that was there: the service forgets it after a day, or has ended it. */
static void
upload_refused(const struct sf_http_reply *reply, struct sf_err *err)
{
    if (reply && (reply->status == 404 || reply->status == 410))
        err->code = -ENOENT;
}

/* A bucket that is missing has been told by its text. */
static void
create_refused(const struct sf_http_reply *reply, struct sf_err *err)
{
    if (reply && (reply->status == 404 || reply->status == 405) && err->code == -EIO)
        err->code = -EOPNOTSUPP;
}

/* @name: NULL for a new one. */
static struct sf_change *
begin(struct sf_storage *st, const char *method, const char *action, const char *name, bool upsert,
      int64_t deadline_ms, int *rc, struct sf_err *err)
{
    char route[sizeof ROUTE + 1 + SF_TUS_NAME_MAX];
    struct sf_change *c = sf_change_begin(st, SF_C_CALLS_TUS, rc, err);
    if (!c)
        return NULL;
    bool bad = name && !is_name(name, strlen(name));
    c->call.caller_tells = true;
    c->refused = name ? upload_refused : create_refused;
    snprintf(route, sizeof route, ROUTE "%s%s", name && !bad ? "/" : "", name && !bad ? name : "");
    sf_call_open(&c->call, method, action, route, NULL, NULL, NULL, deadline_ms);
    if (bad)
        sf_call_fail(&c->call, -EINVAL, "not the name of an upload");
    sf_call_header(&c->call, "Tus-Resumable", "1.0.0");
    /* Whether it may replace is asked again with every piece. */
    if (upsert)
        sf_call_header(&c->call, "x-upsert", "true");
    return c;
}

/* A size in a header; 0 or -EPROTO with the reason. */
static int
take_size(const char *text, const char *header, uint64_t *ret, char *why)
{
    if (text && sf_parse_u64(text, ret) == 0)
        return 0;
    snprintf(why, 160, "no usable %s", header);
    return -EPROTO;
}

int
sf_tus_where_parse(const char *offset_text, const char *size_text, uint64_t *offset, uint64_t *size,
                   char *why)
{
    uint64_t off, all;
    int rc = take_size(offset_text, "Upload-Offset", &off, why);
    if (rc == 0)
        rc = take_size(size_text, "Upload-Length", &all, why);
    if (rc < 0)
        return rc;
    if (off > all) {
        snprintf(why, 160, "an offset behind the end");
        return -EPROTO;
    }
    *offset = off;
    *size = all;
    return 0;
}

static void
size_header(struct sf_change *c, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    sf_call_header(&c->call, name, text);
}

/* ---- create --------------------------------------------------------------------------------- */

/* "name BASE64,..." */
static int
describe(struct sf_buf *b, const char *name, const char *value)
{
    if (!value)
        return 0;
    int rc = sf_buf_printf(b, "%s%s ", b->len ? "," : "", name);
    return rc < 0 ? rc : sf_base64_encode(b, value, strlen(value));
}

static int
describe_all(struct sf_buf *b, const struct sf_tus_args *a)
{
    const char *seconds = sf_cache_control_seconds(a->cache_control);
    int rc = describe(b, "bucketName", a->bucket);
    if (rc == 0)
        rc = describe(b, "objectName", a->key);
    if (rc == 0)
        rc = describe(b, "contentType", a->mime ? a->mime : "application/octet-stream");
    if (rc == 0)
        rc = describe(b, "cacheControl", seconds);
    return rc < 0 ? rc : describe(b, "metadata", a->metadata);
}

static int
parse_created(struct sf_change *c, const struct sf_http_reply *reply, char *why)
{
    const char *v = sf_http_reply_header(reply, "Location");
    snprintf(why, 160, "no usable Location");
    return v ? sf_tus_name_of(v, c->out) : -EPROTO;
}

int
sf_tus_create_wait(struct sf_storage *st, const struct sf_tus_args *args, int64_t deadline_ms,
                   char **name, struct sf_err *err)
{
    int rc;
    char *told = NULL;
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct sf_change *c = begin(st, "POST", "upload", NULL, args->upsert, deadline_ms, &rc, err);
    if (!c)
        return rc;
    sf_call_describe(&c->call, "POST", "upload", args->bucket, args->key);
    c->parse = parse_created;
    c->out = &told;
    if (!args->bucket[0] || !args->key[0])
        sf_call_fail(&c->call, -EINVAL, "an empty name");
    if (describe_all(&text, args) < 0)
        sf_call_fail(&c->call, -ENOMEM, "out of memory");
    if (text.len > SF_TUS_HEADER_MAX)
        sf_call_fail(&c->call, -ENOTSUP, "names and metadata take %zu of the %d bytes of a header",
                     text.len, SF_TUS_HEADER_MAX);
    size_header(c, "Upload-Length", args->size);
    sf_call_header(&c->call, "Upload-Metadata", text.data);
    rc = sf_change_finish(c, err);
    if (rc == 0)
        *name = told;
    return rc;
}

/* ---- offset --------------------------------------------------------------------------------- */

struct where {
    uint64_t offset, size;
};

static int
parse_where(struct sf_change *c, const struct sf_http_reply *reply, char *why)
{
    struct where *w = c->out;
    return sf_tus_where_parse(sf_http_reply_header(reply, "Upload-Offset"),
                              sf_http_reply_header(reply, "Upload-Length"), &w->offset, &w->size,
                              why);
}

int
sf_tus_offset_wait(struct sf_storage *st, const char *name, bool upsert, int64_t deadline_ms,
                   uint64_t *offset, uint64_t *size, struct sf_err *err)
{
    int rc;
    struct where where = {0};
    struct sf_change *c =
        begin(st, "HEAD", "offset of upload", name, upsert, deadline_ms, &rc, err);
    if (!c)
        return rc;
    c->parse = parse_where;
    c->out = &where;
    c->call.changes = false;
    c->call.idempotent = true;
    c->call.bare_400 = true;
    rc = sf_change_finish(c, err);
    if (rc == 0) {
        *offset = where.offset;
        *size = where.size;
    }
    return rc;
}

/* ---- pieces --------------------------------------------------------------------------------- */

struct sent {
    uint64_t off, end, now_at;
};

static int
parse_sent(struct sf_change *c, const struct sf_http_reply *reply, char *why)
{
    struct sent *s = c->out;
    int rc =
        take_size(sf_http_reply_header(reply, "Upload-Offset"), "Upload-Offset", &s->now_at, why);
    if (rc == 0 && (s->now_at < s->off || s->now_at > s->end)) {
        snprintf(why, 160, "an offset that was not sent");
        rc = -EPROTO;
    }
    return rc;
}

int
sf_tus_send_wait(struct sf_storage *st, const struct sf_tus_piece *piece, int64_t deadline_ms,
                 uint64_t *now_at, struct sf_err *err)
{
    int rc;
    struct sent sent = {.off = piece->off};
    struct sf_change *c =
        begin(st, "PATCH", "upload", piece->name, piece->upsert, deadline_ms, &rc, err);
    if (!c)
        return rc;
    c->parse = parse_sent;
    c->out = &sent;
    if (__builtin_add_overflow(piece->off, piece->len, &sent.end))
        sf_call_fail(&c->call, -EFBIG, "a piece beyond any file");
    size_header(c, "Upload-Offset", piece->off);
    sf_call_header(&c->call, "Content-Type", "application/offset+octet-stream");
    sf_change_body(c, piece->fd, piece->off, piece->len, piece->progress);
    rc = sf_change_finish(c, err);
    if (rc == 0)
        *now_at = sent.now_at;
    return rc;
}

int
sf_tus_drop_wait(struct sf_storage *st, const char *name, bool upsert, int64_t deadline_ms,
                 struct sf_err *err)
{
    int rc;
    struct sf_change *c = begin(st, "DELETE", "upload", name, upsert, deadline_ms, &rc, err);
    return c ? sf_change_finish(c, err) : rc;
}
