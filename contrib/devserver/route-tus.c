/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "reply.h"
#include "tus-meta.h"
#include "tus-request.h"
#include "upload.h"

/* ---- creation ---- */

/* Bucket, key and the metadata that is kept, from the header. */
static bool
read_creation(struct ds_request *req)
{
    struct ds_upload *upload = &req->tus->upload;
    const char *length = ds_request_header(req, "upload-length");
    const char *metadata = ds_request_header(req, "upload-metadata");
    if (ds_request_header(req, "upload-concat")) {
        ds_tus_text(req, 501,
                    "Concatenation extension is not (yet) supported. Disable parallel uploads in "
                    "the tus client.\n");
        return false;
    }
    if (!length == !ds_request_header(req, "upload-defer-length")) {
        ds_tus_text(req, 400, "Upload-Length or Upload-Defer-Length header required\n");
        return false;
    }
    if (!metadata || !*metadata) {
        ds_tus_text(req, 400, "Metadata header is required");
        return false;
    }
    size_t len = 0;
    req->bucket = ds_tus_meta_get(metadata, "bucketName", &len);
    req->key = ds_tus_meta_get(metadata, "objectName", &req->key_len);
    if (!req->bucket)
        req->bucket = strdup("");
    if (!req->key)
        req->key = strdup("");
    upload->length = length ? (int64_t)ds_tus_header_number(req, "upload-length") : -1;
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
        ds_tus_text(req, 413, "Maximum size exceeded\n");
        return false;
    }
    if (!ds_tus_read_user_meta(req, upload->metadata) || !ds_tus_check_rights(req))
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
    if (!ds_tus_request_new(req) || !read_creation(req) || !ds_tus_check_names(req) ||
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
    tus->has_body = type && strcmp(type, DS_TUS_TYPE) == 0;
    if (tus->has_body && !ds_tus_check_room(req, bucket.size_limit))
        return;
    ds_tus_lock(req, tus->upload.version, tus->has_body);
}

static void
tus_create_begin(struct ds_request *req)
{
    if (!ds_tus_enter(req))
        return;
    create(req);
    ds_tus_as_text(req);
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
    size_t len = strlen(req->path);
    bool is_signed = len > 5 && strcmp(req->path + len - 5, "/sign") == 0;
    if (!id || asprintf(&location, "https://%s" DS_TUS_PATH "%s/%s", host ? host : "localhost",
                        is_signed ? "/sign" : "", id) < 0)
        location = NULL;
    if (location)
        ds_reply_header(req, "location", location);
}

static void
tus_create_finish(struct ds_request *req)
{
    struct ds_tus_request *tus = req->tus;
    bool final;
    if (ds_tus_settle_body(req, &final)) {
        ds_tus_empty(req, 201);
        if (final)
            ds_reply_header(req, "tus-complete", "1");
        if (tus->has_body)
            ds_tus_number(req, "upload-offset", tus->offset);
        ds_tus_expires(req, &tus->upload, tus->offset);
        reply_location(req);
    }
    ds_tus_as_text(req);
    ds_tus_release(&tus->hold);
}

/* ---- one upload ---- */

/* Bucket, key and version from the path's last part, base64url of the three with slashes. */
static bool
read_id(struct ds_request *req, char version[DS_UUID_SIZE])
{
    const char *path = req->path + sizeof DS_TUS_PATH - 1;
    size_t end = strlen(path), start;
    while (end > 0 && path[end - 1] == '/')
        end--;
    for (start = end; start > 0 && path[start - 1] != '/';)
        start--;
    if (start == end) {
        ds_tus_lookup_failed(req, -ENOENT);
        return false;
    }
    size_t len = 0;
    sf_autofree char *id = ds_base64_decode(path + start, end - start, &len);
    char *first = id ? strchr(id, '/') : NULL;
    char *last = id ? strrchr(id, '/') : NULL;
    if (!first || strlen(id) != len || !last[1]) {
        ds_tus_text(req, 400, first ? "Version not provided" : "Invalid upload id");
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
    return ds_tus_check_names(req);
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
        ds_tus_lookup_failed(req, rc);
    return rc == 0;
}

/* The length that a creation left open, given now. */
static bool
declare_length(struct ds_request *req, int64_t bucket_limit)
{
    struct ds_tus_request *tus = req->tus;
    if (!ds_request_header(req, "upload-length"))
        return true;
    uint64_t length = ds_tus_header_number(req, "upload-length");
    if (tus->upload.length >= 0 || length < tus->offset) {
        ds_tus_text(req, 400, "Upload-Length or Upload-Defer-Length header required\n");
        return false;
    }
    if (length > ds_pace_resumable_limit(req->server->pace, bucket_limit)) {
        ds_tus_text(req, 413, "Maximum size exceeded\n");
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
        ds_tus_text(req, 403, "Upload-Offset header required\n");
    else if (!ds_request_header(req, "content-type"))
        ds_tus_text(req, 403, "Content-Type header required\n");
    if (req->reply.status != 0 || !read_id(req, version) || !ds_tus_request_new(req) ||
        !look_up(req, version) || !ds_tus_check_rights(req) || !ds_require_bucket(req, &bucket) ||
        !ds_tus_lock(req, version, true) || !look_up(req, version) ||
        !ds_tus_read_user_meta(req, req->tus->upload.metadata))
        return;
    struct ds_tus_request *tus = req->tus;
    tus->has_body = true;
    if (ds_tus_header_number(req, "upload-offset") != tus->offset)
        ds_tus_text(req, 409, "Upload-Offset conflict\n");
    else if (declare_length(req, bucket.size_limit))
        ds_tus_check_room(req, bucket.size_limit);
}

static void
tus_patch_begin(struct ds_request *req)
{
    if (!ds_tus_enter(req))
        return;
    patch(req);
    ds_tus_as_text(req);
    if (req->reply.status != 0 && req->tus)
        ds_tus_release(&req->tus->hold);
}

static void
tus_patch_finish(struct ds_request *req)
{
    struct ds_tus_request *tus = req->tus;
    bool final;
    if (ds_tus_settle_body(req, &final)) {
        ds_tus_empty(req, 204);
        if (final)
            ds_reply_header(req, "tus-complete", "1");
        ds_tus_number(req, "upload-offset", tus->offset);
        ds_tus_expires(req, &tus->upload, tus->offset);
    }
    ds_tus_as_text(req);
    ds_tus_release(&tus->hold);
}

/* A look waits for the lock too, and so ends a PATCH that is under way. */
static void
tus_head(struct ds_request *req)
{
    char version[DS_UUID_SIZE];
    if (!ds_tus_enter(req))
        return;
    if (read_id(req, version) && ds_tus_check_signature(req) && ds_tus_request_new(req) &&
        ds_tus_lock(req, version, false) && look_up(req, version)) {
        const struct ds_upload *upload = &req->tus->upload;
        ds_tus_empty(req, 200);
        ds_reply_header(req, "cache-control", "no-store");
        ds_tus_number(req, "upload-offset", req->tus->offset);
        if (upload->length < 0)
            ds_reply_header(req, "upload-defer-length", "1");
        else
            ds_tus_number(req, "upload-length", (uint64_t)upload->length);
        ds_reply_header(req, "upload-metadata", upload->metadata);
    }
    ds_tus_as_text(req);
    if (req->tus)
        ds_tus_release(&req->tus->hold);
}

static void
tus_delete(struct ds_request *req)
{
    char version[DS_UUID_SIZE];
    if (!ds_tus_enter(req))
        return;
    if (read_id(req, version) && ds_tus_request_new(req) && look_up(req, version) &&
        ds_tus_check_rights(req) && ds_tus_lock(req, version, false) && look_up(req, version)) {
        if (req->tus->upload.length >= 0 && req->tus->offset == (uint64_t)req->tus->upload.length) {
            ds_tus_text(req, 400, "Cannot terminate an already completed upload");
        } else {
            ds_tus_remove(req->server->tus, version);
            ds_tus_empty(req, 204);
        }
    }
    ds_tus_as_text(req);
    if (req->tus)
        ds_tus_release(&req->tus->hold);
}

static void
tus_other(struct ds_request *req)
{
    if (ds_tus_enter(req))
        ds_tus_text(req, 404, "Not found\n");
}

const struct ds_route ds_route_tus_create = {.kind = "tus-create",
                                             .body = DS_BODY_OBJECT,
                                             .auth_bare = true,
                                             .begin = tus_create_begin,
                                             .take = ds_tus_take,
                                             .finish = tus_create_finish};
const struct ds_route ds_route_tus_patch = {.kind = "tus-patch",
                                            .body = DS_BODY_OBJECT,
                                            .auth_bare = true,
                                            .begin = tus_patch_begin,
                                            .take = ds_tus_take,
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
    ds_reply_header(req, "access-control-allow-headers", DS_TUS_HEADERS);
    ds_reply_header(req, "access-control-allow-methods", "POST, HEAD, PATCH, OPTIONS, DELETE");
    ds_reply_header(req, "access-control-allow-origin", "*");
    ds_reply_header(req, "access-control-expose-headers", DS_TUS_HEADERS);
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
