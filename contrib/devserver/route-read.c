/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "read.h"
#include "reply.h"
#include "s3.h"
#include "signed.h"

/* Objects up to this size are read into memory: one system call less than sending the file. */
#define INLINE_MAX (32u << 10)

/* A number of a Range header; false when it is beyond what a double holds exactly. */
static bool
parse_bound(const char *text, size_t len, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || value > (UINT64_C(1) << 53) / 10)
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *ret = value;
    return true;
}

/* One "bytes=" range, the only form the service takes; false = 416. */
static bool
parse_range(const char *header, uint64_t size, uint64_t *first, uint64_t *last)
{
    if (strncmp(header, "bytes=", 6) != 0 || size == 0)
        return false;
    const char *from = header + 6;
    const char *dash = strchr(from, '-');
    if (!dash)
        return false;
    size_t from_len = (size_t)(dash - from), to_len = strlen(dash + 1);
    uint64_t a = 0, b = 0;
    if ((from_len == 0 && to_len == 0) || !parse_bound(from, from_len, &a) ||
        !parse_bound(dash + 1, to_len, &b))
        return false;
    if (from_len == 0) {
        if (b == 0)
            return false;
        *first = b > size ? 0 : size - b;
        *last = size - 1;
        return true;
    }
    if (a >= size || (to_len > 0 && a > b))
        return false;
    *first = a;
    *last = to_len == 0 || b >= size ? size - 1 : b;
    return true;
}

/* A signed URL shows its object to everybody, whatever the bucket and the policies say. */
static bool
require_signed_object(struct ds_request *req, struct ds_object *object)
{
    struct ds_signed what;
    if (!ds_require_signed(req, &what))
        return false;
    req->signed_until = what.expires;
    int rc = ds_db_object_get(req->server->db, req->bucket, req->key, object);
    if (rc == -ENOENT)
        ds_fail(req, DS_FAIL_NO_KEY);
    else if (rc < 0)
        ds_fail_errno(req, rc, "look up the object");
    return rc == 0;
}

/* The bucket and the object as the route and the role see them. */
static bool
require_object(struct ds_request *req, struct ds_object *object)
{
    if (req->route == &ds_route_download_signed)
        return require_signed_object(req, object);
    bool public_route =
        req->route == &ds_route_download_public || req->route == &ds_route_info_public;
    if (!public_route && !ds_require_auth(req))
        return false;
    ds_autobucket bucket = {0};
    if (!ds_require_bucket(req, &bucket))
        return false;
    if (!bucket.is_public && (public_route || !req->authenticated)) {
        ds_fail(req, DS_FAIL_NO_BUCKET);
        return false;
    }
    if (!ds_require_key(req, req->key, req->key_len))
        return false;
    int rc = -ENOENT;
    if (bucket.is_public || ds_may(req, req->bucket, req->key, DS_SELECT))
        rc = ds_db_object_get(req->server->db, req->bucket, req->key, object);
    if (rc == -ENOENT)
        ds_fail(req, DS_FAIL_NO_KEY);
    else if (rc < 0)
        ds_fail_errno(req, rc, "look up the object");
    return rc == 0;
}

static void
add_cache_control(struct ds_request *req, const struct ds_object *object, const char *cache,
                  const char *changed)
{
    const char *seen = ds_request_header(req, "if-none-match");
    sf_autofree char *text = NULL;
    if (seen && *seen && strcmp(seen, object->etag) != 0 &&
        asprintf(&text, "%s, %s", cache, changed) < 0)
        text = NULL;
    ds_reply_header(req, "cache-control", text ? text : cache);
}

static void
add_disposition(struct ds_request *req)
{
    const char *download = ds_request_query(req, "download");
    if (!download)
        return;
    sf_autofree char *name = ds_percent_encode(download);
    sf_autofree char *text = NULL;
    if (!*download)
        ds_reply_header(req, "content-disposition", "attachment;");
    else if (name &&
             asprintf(&text, "attachment; filename=%s; filename*=UTF-8''%s", name, name) >= 0)
        ds_reply_header(req, "content-disposition", text);
}

static const char *
shown_etag(const struct ds_request *req, const struct ds_object *object)
{
    return req->plan.etag[0] ? req->plan.etag : object->etag;
}

/*
 * Headers of an object: HEAD looks at the row, GET at what was stored with the bytes, which
 * supafs_set_attrs does not reach. HTML is never served as such.
 */
static void
add_object_headers(struct ds_request *req, const struct ds_object *object, bool head)
{
    const char *mime = !head && object->stored_mime ? object->stored_mime : object->mime;
    const char *cache = !head && object->stored_cache ? object->stored_cache : object->cache;
    char date[DS_DATE_SIZE];
    if (req->route->s3) {
        ds_s3_object_headers(req, object, shown_etag(req, object), mime, cache);
        return;
    }
    ds_time_http(object->modified_ms, date);
    ds_reply_header(req, "accept-ranges", "bytes");
    ds_reply_header(req, "content-type", strstr(mime, "text/html") ? "text/plain" : mime);
    ds_reply_header(req, "etag", shown_etag(req, object));
    ds_reply_header(req, "x-robots-tag", object->robots ? object->robots : "none");
    ds_reply_header(req, "last-modified", date);
    if (req->signed_until > 0) {
        ds_time_http(req->signed_until * 1000, date);
        ds_reply_header(req, "expires", date);
    } else {
        add_cache_control(req, object, cache,
                          head ? "must-revalidate" : "stale-while-revalidate=30");
    }
    add_disposition(req);
}

void
ds_read_head(struct ds_request *req, const struct ds_object *object)
{
    req->reply.status = 200;
    req->reply.head = true;
    req->reply.head_len = object->size;
    add_object_headers(req, object, true);
}

static bool
is_unchanged(struct ds_request *req, const struct ds_object *object)
{
    const char *match = ds_request_header(req, "if-none-match");
    if (match && strcmp(match, object->etag) == 0)
        return true;
    const char *since = ds_request_header(req, "if-modified-since");
    int64_t ms;
    return since && ds_time_parse_http(since, &ms) && object->modified_ms <= ms;
}

/*
 * Opens the bytes. A version that vanished between the look at the row and now was replaced: the
 * row is read once more. -ENOENT = a row without bytes.
 */
static int
open_bytes(struct ds_request *req, struct ds_object *object, uint64_t *size)
{
    for (int i = 0; i < 2; i++) {
        int fd = ds_store_open_version(req->server->store, object->version, size);
        if (fd != -ENOENT || i == 1)
            return fd;
        ds_autoobject again = {0};
        int rc = ds_db_object_get(req->server->db, req->bucket, req->key, &again);
        if (rc < 0)
            return rc;
        if (strcmp(again.version, object->version) == 0)
            return -ENOENT;
        struct ds_object old = *object;
        *object = again;
        again = old;
    }
    return -ENOENT;
}

static int
fill_body(struct ds_request *req, int fd, uint64_t offset, uint64_t len)
{
    /* A lie about the length is told where bytes are streamed from the file. */
    if (len > INLINE_MAX || req->plan.lies & DS_LIE_LENGTH) {
        req->reply.fd = fd;
        req->reply.fd_offset = offset;
        req->reply.fd_len = len;
        return 0;
    }
    sf_autofd int closing = fd;
    char *body = malloc(len + 1);
    if (!body)
        return -ENOMEM;
    ssize_t got = pread(closing, body, len, (off_t)offset);
    if (got != (ssize_t)len) {
        free(body);
        return -EIO;
    }
    req->reply.body = body;
    req->reply.body_len = len;
    return 0;
}

static void
add_content_range(struct ds_request *req, uint64_t first, uint64_t last, uint64_t size)
{
    int64_t total = (int64_t)size;
    if (req->plan.lies & DS_LIE_RANGE)
        total = total + req->plan.size_delta < 0 ? 0 : total + req->plan.size_delta;
    char text[100];
    snprintf(text, sizeof text, "bytes %llu-%llu/%lld", (unsigned long long)first,
             (unsigned long long)last, (long long)total);
    ds_reply_header(req, "content-range", text);
}

void
ds_read_bytes(struct ds_request *req, struct ds_object *object)
{
    uint64_t size = 0;
    sf_autofd int fd = open_bytes(req, object, &size);
    if (fd < 0) {
        ds_fail_errno(req, fd, "open the bytes of the object");
        return;
    }
    if (is_unchanged(req, object)) {
        req->reply.status = 304;
        add_object_headers(req, object, false);
        return;
    }
    const char *range = req->plan.range_ignored ? NULL : ds_request_header(req, "range");
    uint64_t first = 0, last = size - 1;
    if (range && !parse_range(range, size, &first, &last)) {
        ds_fail(req, DS_FAIL_RANGE);
        return;
    }
    if (range && last + (uint64_t)req->plan.range_shift < size) {
        first += (uint64_t)req->plan.range_shift;
        last += (uint64_t)req->plan.range_shift;
    }
    int rc = fill_body(req, sf_steal_fd(fd), first, size == 0 ? 0 : last - first + 1);
    if (rc < 0) {
        ds_fail_errno(req, rc, "read the bytes of the object");
        return;
    }
    req->reply.status = range ? 206 : 200;
    add_object_headers(req, object, false);
    if (range)
        add_content_range(req, first, last, size);
}

static void
download(struct ds_request *req)
{
    ds_autoobject object = {0};
    if (!require_object(req, &object))
        return;
    if (strcmp(req->method, "HEAD") == 0)
        ds_read_head(req, &object);
    else
        ds_read_bytes(req, &object);
}

static void
info(struct ds_request *req)
{
    ds_autoobject object = {0};
    if (!require_object(req, &object))
        return;
    int64_t size = (int64_t)object.size;
    if (req->plan.lies & DS_LIE_LIST)
        size = size + req->plan.size_delta < 0 ? 0 : size + req->plan.size_delta;
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "{\"id\":");
    ds_buf_add_json(&out, object.id);
    ds_buf_adds(&out, ",\"name\":");
    ds_buf_add_json(&out, object.name);
    ds_buf_adds(&out, ",\"version\":");
    ds_buf_add_json(&out, object.version);
    ds_buf_adds(&out, ",\"bucket_id\":");
    ds_buf_add_json(&out, object.bucket);
    ds_buf_addf(&out, ",\"size\":%lld,\"content_type\":", (long long)size);
    ds_buf_add_json(&out, object.mime);
    ds_buf_adds(&out, ",\"cache_control\":");
    ds_buf_add_json(&out, object.cache);
    ds_buf_adds(&out, ",\"etag\":");
    ds_buf_add_json(&out, shown_etag(req, &object));
    ds_buf_adds(&out, ",\"metadata\":");
    ds_buf_adds(&out, object.user_meta ? object.user_meta : "null");
    ds_buf_adds(&out, ",\"last_modified\":");
    ds_buf_add_json_time(&out, object.updated_ms);
    ds_buf_adds(&out, ",\"created_at\":");
    ds_buf_add_json_time(&out, object.created_ms);
    ds_buf_adds(&out, "}");
    ds_reply_json(req, 200, &out);
    char date[DS_DATE_SIZE];
    ds_time_http(object.modified_ms, date);
    ds_reply_header(req, "etag", shown_etag(req, &object));
    ds_reply_header(req, "last-modified", date);
    ds_reply_header(req, "cache-control", object.cache);
}

const struct ds_route ds_route_download = {.kind = "download", .finish = download};
const struct ds_route ds_route_download_short = {
    .kind = "download", .auth_optional = true, .finish = download};
const struct ds_route ds_route_download_public = {.kind = "download", .finish = download};
const struct ds_route ds_route_download_signed = {.kind = "download", .finish = download};
const struct ds_route ds_route_info = {.kind = "info", .finish = info};
const struct ds_route ds_route_info_short = {.kind = "info", .auth_optional = true, .finish = info};
const struct ds_route ds_route_info_public = {.kind = "info", .finish = info};
