/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"
#include "tus-meta.h"
#include "upload.h"

#define TUS_PATH "/upload/resumable"
#define TUS_TYPE "application/offset+octet-stream"

#define TUS_HEADERS                                                                                \
    "Authorization, Content-Type, Location, Tus-Extension, Tus-Max-Size, Tus-Resumable, "          \
    "Tus-Version, Upload-Concat, Upload-Defer-Length, Upload-Length, Upload-Metadata, "            \
    "Upload-Offset, X-HTTP-Method-Override, X-Requested-With, X-Forwarded-Host, "                  \
    "X-Forwarded-Proto, Forwarded, x-upsert, x-signature"

/* What a creation or a PATCH keeps between its head and its end. */
struct ds_tus_request {
    struct ds_tus_hold hold;
    struct ds_upload upload;
    bool has_body;
    uint64_t offset; /* where the body begins */
    uint64_t room;   /* how much of it may come */
    uint64_t taken;
};

void
ds_tus_request_free(struct ds_tus_request *tus)
{
    if (!tus)
        return;
    ds_tus_release(&tus->hold);
    ds_upload_fini(&tus->upload);
    free(tus);
}

/* ---- replies ---- */

static void
add_headers(struct ds_request *req)
{
    ds_reply_header(req, "access-control-allow-origin", "*");
    ds_reply_header(req, "access-control-expose-headers", TUS_HEADERS);
    ds_reply_header(req, "tus-resumable", "1.0.0");
}

static void
reply_text(struct ds_request *req, int status, const char *text)
{
    ds_reply_text(req, status, "text/plain;charset=UTF-8", text);
    add_headers(req);
}

static void
reply_empty(struct ds_request *req, int status)
{
    if (status == 204) {
        ds_reply_fini(&req->reply);
        req->reply.status = status;
        add_headers(req);
    } else {
        reply_text(req, status, "");
    }
}

static void
reply_number(struct ds_request *req, const char *name, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    ds_reply_header(req, name, text);
}

/* An error of the checks that other routes have too: here the status is the true one, and the body
 * is the message alone. */
static void
reply_as_text(struct ds_request *req)
{
    if (req->reply.status < 400 || !req->reply.body)
        return;
    ds_autojson *json = json_loadb(req->reply.body, req->reply.body_len, 0, NULL);
    const char *status = json_string_value(json_object_get(json, "statusCode"));
    const char *message = json_string_value(json_object_get(json, "message"));
    if (status && message)
        reply_text(req, (int)strtol(status, NULL, 10), message);
}

/* The end of an upload's life, while it is not complete. */
static void
reply_expires(struct ds_request *req, const struct ds_upload *upload, uint64_t offset)
{
    int64_t expiry = atomic_load(&req->server->pace->tus_expiry_ms);
    if (expiry <= 0 || (upload->length >= 0 && offset == (uint64_t)upload->length))
        return;
    char date[DS_DATE_SIZE];
    ds_time_http(upload->created_ms + expiry, date);
    ds_reply_header(req, "upload-expires", date);
}

static void
reply_lookup(struct ds_request *req, int rc)
{
    if (rc == -ENOENT)
        reply_text(req, 404, "The file for this url was not found\n");
    else if (rc == -ESTALE)
        reply_text(req, 410, "The file for this url no longer exists\n");
    else
        ds_fail_errno(req, rc, "look up the upload");
}

/* ---- what every request is held against ---- */

/* A whole number without sign or leading zeros. */
static bool
is_count(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits < 16 && text[digits] == '\0' && (digits == 1 || text[0] != '0');
}

static bool
header_valid(struct ds_request *req, const char *name, const char *value)
{
    if (strcmp(name, "upload-offset") == 0 || strcmp(name, "upload-length") == 0)
        return is_count(value);
    if (strcmp(name, "upload-defer-length") == 0)
        return strcmp(value, "1") == 0;
    if (strcmp(name, "upload-metadata") == 0)
        return ds_tus_meta_valid(value);
    if (strcmp(name, "content-type") == 0)
        return strcmp(req->method, "PATCH") != 0 || strcmp(value, TUS_TYPE) == 0;
    if (strcmp(name, "upload-concat") == 0)
        return strcmp(value, "partial") == 0 || strncmp(value, "final;", 6) == 0;
    return strcmp(value, "1.0.0") == 0; /* tus-resumable, tus-version */
}

static bool
check_headers(struct ds_request *req)
{
    static const char *const names[] = {"tus-resumable",       "content-type",    "upload-offset",
                                        "upload-length",       "upload-metadata", "upload-concat",
                                        "upload-defer-length", "tus-version"};
    ds_autobuf bad = DS_BUF_INIT;
    const char *value = ds_request_header(req, names[0]);
    if (!value || !*value) {
        ds_reply_text(req, 412, "text/plain;charset=UTF-8", "Tus-Resumable Required\n");
        ds_reply_header(req, "tus-resumable", "1.0.0");
        return false;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if ((value = ds_request_header(req, names[i])) && !header_valid(req, names[i], value))
            ds_buf_addf(&bad, " %s", names[i]);
    if (bad.len == 0)
        return true;
    ds_buf_adds(&bad, "\n");
    sf_autofree char *text = NULL;
    if (asprintf(&text, "Invalid%s", bad.data ? bad.data : "") < 0)
        text = NULL;
    ds_reply_text(req, 400, "text/plain;charset=UTF-8", text ? text : "");
    ds_reply_header(req, "tus-resumable", "1.0.0");
    return false;
}

static bool
is_upsert(const struct ds_request *req)
{
    const char *upsert = ds_request_header(req, "x-upsert");
    return upsert && strcmp(upsert, "true") == 0;
}

static uint64_t
header_number(const struct ds_request *req, const char *name)
{
    const char *value = ds_request_header(req, name);
    return value ? strtoull(value, NULL, 10) : 0;
}

/* The key's rules, of which the bucket's name is one here. */
static bool
check_names(struct ds_request *req)
{
    if (!ds_bucket_name_valid(req->bucket)) {
        ds_fail(req, DS_FAIL_BUCKET_NAME);
        return false;
    }
    return ds_require_key(req, req->key, req->key_len);
}

static bool
new_request(struct ds_request *req)
{
    req->tus = calloc(1, sizeof *req->tus);
    if (!req->tus)
        ds_fail_errno(req, -ENOMEM, "take an upload");
    return req->tus != NULL;
}

/* ---- the lock ---- */

/* The holder's client gets the answer to what has come, and the connection ends. */
static void
on_taken(void *arg, uint64_t offset)
{
    struct ds_request *req = arg;
    char text[400];
    snprintf(text, sizeof text,
             "HTTP/1.1 204 No Content\r\naccess-control-allow-origin: *\r\n"
             "tus-resumable: 1.0.0\r\nupload-offset: %llu\r\nConnection: close\r\n\r\n",
             (unsigned long long)offset);
    ds_http_answer_for(req, 204, text);
}

static bool
take_lock(struct ds_request *req, const char *version, bool yields)
{
    struct ds_tus_hold *hold = &req->tus->hold;
    hold->taken = on_taken;
    hold->arg = req;
    hold->offset = req->tus->offset;
    int rc = ds_tus_hold(req->server->tus, version, yields, hold);
    if (rc == -ETIMEDOUT)
        reply_text(req, 503, "acquiring lock timeout");
    else if (rc < 0)
        ds_fail_errno(req, rc, "lock the upload");
    return rc == 0;
}

/* ---- bodies ---- */

/* How much of a body may come, by its announced length or by what is missing. */
static bool
check_room(struct ds_request *req, int64_t bucket_limit)
{
    struct ds_tus_request *tus = req->tus;
    const char *header = ds_request_header(req, "content-length");
    uint64_t length = header ? strtoull(header, NULL, 10) : 0;
    bool deferred = tus->upload.length < 0;
    uint64_t end = deferred ? ds_pace_resumable_limit(req->server->pace, bucket_limit)
                            : (uint64_t)tus->upload.length;
    if (tus->offset > end || length > end - tus->offset) {
        reply_text(req, 413, "upload's size exceeded\n");
        return false;
    }
    tus->room = header && !deferred ? length : end - tus->offset;
    return true;
}

static int
tus_take(struct ds_request *req, const void *bytes, size_t len)
{
    struct ds_tus_request *tus = req->tus;
    if (!tus->has_body)
        return 0;
    if (len > tus->room - tus->taken) {
        reply_text(req, 413, "Maximum size exceeded\n");
        ds_tus_release(&tus->hold);
        return 0;
    }
    int rc = ds_tus_add(&tus->hold, bytes, len);
    if (rc == -ECANCELED)
        req->answered = true;
    if (rc == 0)
        tus->taken += len;
    return rc;
}

/* All bytes are there: the object appears, under the version that the upload's URL names. */
static bool
complete(struct ds_request *req)
{
    struct ds_tus_request *tus = req->tus;
    const struct ds_upload *upload = &tus->upload;
    char md5[33];
    int rc = ds_tus_finish(&tus->hold, upload, md5);
    if (rc < 0) {
        reply_lookup(req, rc == -ENOENT ? -ESTALE : rc);
        return false;
    }
    size_t len;
    sf_autofree char *mime = ds_tus_meta_get(upload->metadata, "contentType", &len);
    sf_autofree char *cache = ds_tus_meta_get(upload->metadata, "cacheControl", &len);
    struct ds_object row = {
        .bucket = upload->bucket,
        .name = upload->name,
        .owner = req->who.sub[0] ? req->who.sub : NULL,
        .mime = mime ? mime : (char *)(uintptr_t) "application/octet-stream",
        .cache = cache ? cache : (char *)(uintptr_t) "no-cache",
        .user_meta = req->user_meta,
        .size = (uint64_t)upload->length,
    };
    memcpy(row.version, upload->version, sizeof row.version);
    ds_autoobject now = {0};
    bool done = ds_upload_switch(req, &row, md5, &now);
    ds_tus_finished(req->server->tus, upload->version);
    return done;
}

/* The object's own metadata, which the upload carries as JSON text; what is no JSON is dropped. */
static bool
read_user_meta(struct ds_request *req, const char *metadata)
{
    size_t len = 0;
    sf_autofree char *text = ds_tus_meta_get(metadata, "metadata", &len);
    ds_autojson *json = text ? json_loadb(text, len, JSON_DECODE_ANY, NULL) : NULL;
    if (!json)
        return true;
    if (!json_is_object(json)) {
        ds_fail(req, DS_FAIL_METADATA);
        return false;
    }
    req->user_meta = json_dumps(json, JSON_COMPACT);
    return true;
}

/* ---- creation ---- */

/* Bucket, key and the metadata that is kept, from the header. */
static bool
read_creation(struct ds_request *req)
{
    struct ds_upload *upload = &req->tus->upload;
    const char *length = ds_request_header(req, "upload-length");
    const char *metadata = ds_request_header(req, "upload-metadata");
    if (ds_request_header(req, "upload-concat")) {
        reply_text(req, 501,
                   "Concatenation extension is not (yet) supported. Disable parallel uploads in "
                   "the tus client.\n");
        return false;
    }
    if (!length == !ds_request_header(req, "upload-defer-length")) {
        reply_text(req, 400, "Upload-Length or Upload-Defer-Length header required\n");
        return false;
    }
    if (!metadata || !*metadata) {
        reply_text(req, 400, "Metadata header is required");
        return false;
    }
    size_t len = 0;
    req->bucket = ds_tus_meta_get(metadata, "bucketName", &len);
    req->key = ds_tus_meta_get(metadata, "objectName", &req->key_len);
    if (!req->bucket)
        req->bucket = strdup("");
    if (!req->key)
        req->key = strdup("");
    upload->length = length ? (int64_t)header_number(req, "upload-length") : -1;
    upload->created_ms = ds_now_ms();
    sf_autofree char *seconds = ds_tus_meta_get(metadata, "cacheControl", &len);
    sf_autofree char *cache = NULL;
    const char *digits = seconds ? seconds + (*seconds == '-') : "";
    bool number = *digits && digits[strspn(digits, "0123456789")] == '\0';
    if (asprintf(&cache, "%s%s", number ? "max-age=" : "no-cache", number ? seconds : "") < 0)
        cache = NULL;
    upload->metadata = cache ? ds_tus_meta_with(metadata, "cacheControl", cache) : NULL;
    int rc = !req->bucket || !req->key || !upload->metadata ? -ENOMEM : 0;
    if (rc == 0)
        rc = ds_uuid_new(upload->version);
    if (rc < 0)
        ds_fail_errno(req, rc, "read a creation");
    return rc == 0;
}

static bool
check_creation(struct ds_request *req, const struct ds_bucket *bucket)
{
    const struct ds_upload *upload = &req->tus->upload;
    if (upload->length >= 0 &&
        (uint64_t)upload->length > ds_pace_resumable_limit(req->server->pace, bucket->size_limit)) {
        reply_text(req, 413, "Maximum size exceeded\n");
        return false;
    }
    if (!read_user_meta(req, upload->metadata) || !ds_check_upload(req, is_upsert(req)))
        return false;
    size_t len;
    sf_autofree char *mime = ds_tus_meta_get(upload->metadata, "contentType", &len);
    if (!mime || !bucket->mime_types || ds_mime_allowed(bucket->mime_types, mime))
        return true;
    ds_reply_invalid_mime(req, mime);
    return false;
}

static void
create(struct ds_request *req)
{
    ds_autobucket bucket = {0};
    if (!new_request(req) || !read_creation(req) || !check_names(req) ||
        !ds_require_bucket(req, &bucket) || !check_creation(req, &bucket))
        return;
    struct ds_tus_request *tus = req->tus;
    const char *type = ds_request_header(req, "content-type");
    tus->upload.bucket = strdup(req->bucket);
    tus->upload.name = strdup(req->key);
    int rc = tus->upload.bucket && tus->upload.name ? 0 : -ENOMEM;
    if (rc == 0)
        rc = ds_tus_create(req->server->tus, &tus->upload);
    if (rc < 0) {
        ds_fail_errno(req, rc, "create an upload");
        return;
    }
    tus->has_body = type && strcmp(type, TUS_TYPE) == 0;
    if (tus->has_body && !check_room(req, bucket.size_limit))
        return;
    take_lock(req, tus->upload.version, tus->has_body);
}

static void
tus_create_begin(struct ds_request *req)
{
    if (!ds_require_auth(req) || !check_headers(req))
        return;
    create(req);
    reply_as_text(req);
}

/* As the service in production: always https, no prefix of a gateway. */
static void
reply_location(struct ds_request *req)
{
    const struct ds_upload *upload = &req->tus->upload;
    const char *host = ds_request_header(req, "host");
    sf_autofree char *id = NULL, *location = NULL;
    ds_autobuf path = DS_BUF_INIT;
    ds_buf_addf(&path, "%s/%s/%s", upload->bucket, upload->name, upload->version);
    if (!path.failed)
        id = ds_base64_encode(path.data, path.len, true);
    if (!id || asprintf(&location, "https://%s" TUS_PATH "/%s", host ? host : "localhost", id) < 0)
        location = NULL;
    if (location)
        ds_reply_header(req, "location", location);
}

/* Whether the body that has come is all of the object; false when a reply is set. */
static bool
settle(struct ds_request *req, bool *final)
{
    struct ds_tus_request *tus = req->tus;
    if (!ds_tus_settle(&tus->hold)) {
        req->answered = true;
        return false;
    }
    tus->offset += tus->taken;
    *final = tus->upload.length >= 0 && tus->offset == (uint64_t)tus->upload.length;
    return !*final || complete(req);
}

static void
tus_create_finish(struct ds_request *req)
{
    struct ds_tus_request *tus = req->tus;
    bool final;
    if (settle(req, &final)) {
        reply_empty(req, 201);
        if (final)
            ds_reply_header(req, "tus-complete", "1");
        if (tus->has_body)
            reply_number(req, "upload-offset", tus->offset);
        reply_expires(req, &tus->upload, tus->offset);
        reply_location(req);
    }
    reply_as_text(req);
    ds_tus_release(&tus->hold);
}

/* ---- one upload ---- */

/* Bucket, key and version from the path's last part, base64url of the three with slashes. */
static bool
read_id(struct ds_request *req, char version[DS_UUID_SIZE])
{
    const char *path = req->path + sizeof TUS_PATH - 1;
    size_t end = strlen(path), start;
    while (end > 0 && path[end - 1] == '/')
        end--;
    for (start = end; start > 0 && path[start - 1] != '/';)
        start--;
    if (start == end) {
        reply_lookup(req, -ENOENT);
        return false;
    }
    size_t len = 0;
    sf_autofree char *id = ds_base64_decode(path + start, end - start, &len);
    char *first = id ? strchr(id, '/') : NULL;
    char *last = id ? strrchr(id, '/') : NULL;
    if (!first || strlen(id) != len || !last[1]) {
        reply_text(req, 400, first ? "Version not provided" : "Invalid upload id");
        return false;
    }
    req->bucket = strndup(id, (size_t)(first - id));
    req->key = last > first ? strndup(first + 1, (size_t)(last - first - 1)) : strdup("");
    if (!req->bucket || !req->key) {
        ds_fail_errno(req, -ENOMEM, "read the upload's id");
        return false;
    }
    req->key_len = strlen(req->key);
    snprintf(version, DS_UUID_SIZE, "%s", last + 1);
    return check_names(req);
}

static bool
look_up(struct ds_request *req, const char *version)
{
    struct ds_tus_request *tus = req->tus;
    ds_upload_fini(&tus->upload);
    int rc = ds_tus_find(req->server->tus, version, &tus->upload, &tus->offset);
    if (rc == 0 &&
        (strcmp(tus->upload.bucket, req->bucket) != 0 || strcmp(tus->upload.name, req->key) != 0))
        rc = -ENOENT;
    if (rc < 0)
        reply_lookup(req, rc);
    return rc == 0;
}

/* The length that a creation left open, given now. */
static bool
declare_length(struct ds_request *req, int64_t bucket_limit)
{
    struct ds_tus_request *tus = req->tus;
    if (!ds_request_header(req, "upload-length"))
        return true;
    uint64_t length = header_number(req, "upload-length");
    if (tus->upload.length >= 0 || length < tus->offset) {
        reply_text(req, 400, "Upload-Length or Upload-Defer-Length header required\n");
        return false;
    }
    if (length > ds_pace_resumable_limit(req->server->pace, bucket_limit)) {
        reply_text(req, 413, "Maximum size exceeded\n");
        return false;
    }
    int rc = ds_db_upload_set_length(req->server->db, tus->upload.version, (int64_t)length);
    if (rc < 0)
        ds_fail_errno(req, rc, "write the upload's length");
    tus->upload.length = (int64_t)length;
    return rc == 0;
}

static void
patch(struct ds_request *req)
{
    char version[DS_UUID_SIZE];
    ds_autobucket bucket = {0};
    if (!ds_request_header(req, "upload-offset"))
        reply_text(req, 403, "Upload-Offset header required\n");
    else if (!ds_request_header(req, "content-type"))
        reply_text(req, 403, "Content-Type header required\n");
    if (req->reply.status != 0 || !read_id(req, version) || !new_request(req) ||
        !look_up(req, version) || !ds_check_upload(req, is_upsert(req)) ||
        !ds_require_bucket(req, &bucket) || !take_lock(req, version, true) ||
        !look_up(req, version) || !read_user_meta(req, req->tus->upload.metadata))
        return;
    struct ds_tus_request *tus = req->tus;
    tus->has_body = true;
    if (header_number(req, "upload-offset") != tus->offset)
        reply_text(req, 409, "Upload-Offset conflict\n");
    else if (declare_length(req, bucket.size_limit))
        check_room(req, bucket.size_limit);
}

static void
tus_patch_begin(struct ds_request *req)
{
    if (!ds_require_auth(req) || !check_headers(req))
        return;
    patch(req);
    reply_as_text(req);
    if (req->reply.status != 0 && req->tus)
        ds_tus_release(&req->tus->hold);
}

static void
tus_patch_finish(struct ds_request *req)
{
    struct ds_tus_request *tus = req->tus;
    bool final;
    if (settle(req, &final)) {
        reply_empty(req, 204);
        if (final)
            ds_reply_header(req, "tus-complete", "1");
        reply_number(req, "upload-offset", tus->offset);
        reply_expires(req, &tus->upload, tus->offset);
    }
    reply_as_text(req);
    ds_tus_release(&tus->hold);
}

/* A look waits for the lock too, and so ends a PATCH that is under way. */
static void
tus_head(struct ds_request *req)
{
    char version[DS_UUID_SIZE];
    if (!ds_require_auth(req) || !check_headers(req))
        return;
    if (read_id(req, version) && new_request(req) && take_lock(req, version, false) &&
        look_up(req, version)) {
        const struct ds_upload *upload = &req->tus->upload;
        reply_empty(req, 200);
        ds_reply_header(req, "cache-control", "no-store");
        reply_number(req, "upload-offset", req->tus->offset);
        if (upload->length < 0)
            ds_reply_header(req, "upload-defer-length", "1");
        else
            reply_number(req, "upload-length", (uint64_t)upload->length);
        ds_reply_header(req, "upload-metadata", upload->metadata);
    }
    reply_as_text(req);
    if (req->tus)
        ds_tus_release(&req->tus->hold);
}

static void
tus_delete(struct ds_request *req)
{
    char version[DS_UUID_SIZE];
    if (!ds_require_auth(req) || !check_headers(req))
        return;
    if (read_id(req, version) && new_request(req) && look_up(req, version) &&
        ds_check_upload(req, is_upsert(req)) && take_lock(req, version, false) &&
        look_up(req, version)) {
        if (req->tus->upload.length >= 0 && req->tus->offset == (uint64_t)req->tus->upload.length) {
            reply_text(req, 400, "Cannot terminate an already completed upload");
        } else {
            ds_tus_remove(req->server->tus, version);
            reply_empty(req, 204);
        }
    }
    reply_as_text(req);
    if (req->tus)
        ds_tus_release(&req->tus->hold);
}

static void
tus_other(struct ds_request *req)
{
    if (ds_require_auth(req) && check_headers(req))
        reply_text(req, 404, "Not found\n");
}

const struct ds_route ds_route_tus_create = {.kind = "tus-create",
                                             .body = DS_BODY_OBJECT,
                                             .auth_bare = true,
                                             .begin = tus_create_begin,
                                             .take = tus_take,
                                             .finish = tus_create_finish};
const struct ds_route ds_route_tus_patch = {.kind = "tus-patch",
                                            .body = DS_BODY_OBJECT,
                                            .auth_bare = true,
                                            .begin = tus_patch_begin,
                                            .take = tus_take,
                                            .finish = tus_patch_finish};
const struct ds_route ds_route_tus_head = {
    .kind = "tus-head", .auth_bare = true, .finish = tus_head};
const struct ds_route ds_route_tus_delete = {
    .kind = "tus-delete", .auth_bare = true, .finish = tus_delete};
const struct ds_route ds_route_tus_other = {
    .kind = "tus-other", .auth_bare = true, .finish = tus_other};

/* ---- the announcement, which tells a client the limit of any upload ---- */

static void
tus_options(struct ds_request *req)
{
    char size[32];
    unsigned long long limit = atomic_load(&req->server->pace->global_limit);
    req->reply.status = 204;
    ds_reply_header(req, "access-control-allow-headers", TUS_HEADERS);
    ds_reply_header(req, "access-control-allow-methods", "POST, HEAD, PATCH, OPTIONS, DELETE");
    ds_reply_header(req, "access-control-allow-origin", "*");
    ds_reply_header(req, "access-control-expose-headers", TUS_HEADERS);
    ds_reply_header(req, "access-control-max-age", "86400");
    ds_reply_header(req, "tus-extension",
                    "creation,creation-with-upload,creation-defer-length,termination,expiration");
    if (limit > 0) {
        snprintf(size, sizeof size, "%llu", limit);
        ds_reply_header(req, "tus-max-size", size);
    }
    ds_reply_header(req, "tus-resumable", "1.0.0");
    ds_reply_header(req, "tus-version", "1.0.0");
}

const struct ds_route ds_route_tus_options = {.kind = "options", .finish = tus_options};
