/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"
#include "signed.h"
#include "upload.h"
#include "upload-form.h"

static bool
check_mime(struct ds_request *req, const struct ds_bucket *bucket, const char *mime)
{
    if (!bucket->mime_types || ds_key_is_placeholder(req->key))
        return true;
    ds_autojson *allowed = json_loads(bucket->mime_types, 0, NULL);
    if (json_array_size(allowed) == 0 || ds_mime_allowed(bucket->mime_types, mime))
        return true;
    ds_reply_invalid_mime(req, mime);
    return false;
}

static uint64_t
size_limit(const struct ds_request *req, const struct ds_bucket *bucket)
{
    return ds_key_is_placeholder(req->key)
               ? 0
               : ds_pace_upload_limit(req->server->pace, bucket->size_limit);
}

/* By the announced length only: a chunked body has none and passes, as it does at the service. */
static bool
check_length(struct ds_request *req, const struct ds_bucket *bucket)
{
    const char *length = ds_request_header(req, "content-length");
    if (!length || strtoull(length, NULL, 10) <= size_limit(req, bucket))
        return true;
    ds_fail(req, DS_FAIL_TOO_LARGE);
    return false;
}

static bool
is_upsert(const struct ds_request *req)
{
    const char *upsert = ds_request_header(req, "x-upsert");
    if (req->route == &ds_route_upload_signed)
        return req->signed_upsert;
    return req->route == &ds_route_update || (upsert && strcmp(upsert, "true") == 0);
}

static const char *
request_mime(const struct ds_request *req)
{
    const char *mime = ds_request_header(req, "content-type");
    return mime && *mime ? mime : "application/octet-stream";
}

/* The last checks before the object's bytes. */
static bool
begin_bytes(struct ds_request *req)
{
    if (!ds_require_key(req, req->key, req->key_len) || !ds_check_upload(req, is_upsert(req)))
        return false;
    int rc = ds_incoming_init(&req->incoming, req->server->store, ds_wants_md5(req->server));
    if (rc < 0)
        ds_fail_errno(req, rc, "take an upload");
    else
        req->has_incoming = true;
    return rc == 0;
}

/* The file of a form; its type was not known before. */
static bool
form_file_begins(struct ds_request *req, const char *mime)
{
    ds_autobucket bucket = {0};
    return ds_require_bucket(req, &bucket) && check_mime(req, &bucket, mime) && begin_bytes(req);
}

/* Whoever made the signed URL had the rights; what comes by it is his. */
static bool
identify(struct ds_request *req)
{
    struct ds_signed what;
    if (req->route != &ds_route_upload_signed)
        return ds_require_auth(req);
    if (!ds_require_signed(req, &what))
        return false;
    req->who.role = DS_ROLE_SERVICE;
    memcpy(req->who.sub, what.owner, sizeof req->who.sub);
    req->signed_upsert = what.upsert;
    return true;
}

static void
upload_begin(struct ds_request *req)
{
    ds_autobucket bucket = {0};
    if (!identify(req) || !ds_require_bucket(req, &bucket))
        return;
    const char *mime = request_mime(req);
    if (strncmp(mime, "multipart/form-data", 19) == 0) {
        ds_upload_form_begin(req, size_limit(req, &bucket), form_file_begins);
        return;
    }
    bool fine = true;
    if (!check_mime(req, &bucket, mime))
        return;
    req->user_meta = ds_user_metadata(req, &fine);
    if (!check_length(req, &bucket))
        return;
    if (ds_require_key(req, req->key, req->key_len) && !fine)
        ds_fail(req, DS_FAIL_METADATA);
    if (req->reply.status == 0)
        begin_bytes(req);
}

static int
upload_take(struct ds_request *req, const void *bytes, size_t len)
{
    return req->form ? ds_upload_form_take(req, bytes, len)
                     : ds_incoming_add(&req->incoming, bytes, len);
}

static void
reply_key(struct ds_request *req, const struct ds_object *object)
{
    ds_autobuf path = DS_BUF_INIT, out = DS_BUF_INIT;
    ds_buf_addf(&path, "%s/%s", object->bucket, object->name);
    ds_buf_adds(&out, "{\"Key\":");
    ds_buf_add_json(&out, path.failed ? "" : path.data);
    if (req->route != &ds_route_upload_signed) {
        ds_buf_adds(&out, ",\"Id\":");
        ds_buf_add_json(&out, object->id);
    }
    ds_buf_adds(&out, "}");
    ds_reply_json(req, 200, &out);
}

/* The bytes are in place: switch the row, then let go of the old bytes. */
static void
upload_finish(struct ds_request *req)
{
    char md5[33];
    if (req->form && !ds_upload_form_end(req))
        return;
    int rc = ds_incoming_commit(&req->incoming, md5);
    if (rc < 0) {
        ds_fail_errno(req, rc, "store the bytes");
        return;
    }
    const char *mime = req->form ? ds_upload_form_mime(req->form) : request_mime(req);
    const char *cache =
        req->form ? ds_upload_form_cache(req->form) : ds_request_header(req, "cache-control");
    bool is_object = req->user_meta && req->user_meta[0] == '{'; /* a number becomes {}, too */
    const char *robots = ds_request_header(req, "x-robots-tag");
    struct ds_object row = {
        .bucket = req->bucket,
        .name = req->key,
        .owner = req->who.sub[0] ? req->who.sub : NULL,
        .mime = (char *)(uintptr_t)mime,
        .cache = (char *)(uintptr_t)(cache && *cache ? cache : "no-cache"),
        .robots = (char *)(uintptr_t)robots,
        .user_meta = (char *)(uintptr_t)(is_object ? req->user_meta : "{}"),
        .size = req->incoming.size,
    };
    memcpy(row.version, req->incoming.version, sizeof row.version);
    ds_autoobject now = {0};
    if (ds_upload_switch(req, &row, md5, &now))
        reply_key(req, &now);
}

const struct ds_route ds_route_upload = {.kind = "upload",
                                         .body = DS_BODY_OBJECT,
                                         .begin = upload_begin,
                                         .take = upload_take,
                                         .finish = upload_finish};
const struct ds_route ds_route_update = {.kind = "update",
                                         .body = DS_BODY_OBJECT,
                                         .begin = upload_begin,
                                         .take = upload_take,
                                         .finish = upload_finish};
const struct ds_route ds_route_upload_signed = {.kind = "upload",
                                                .body = DS_BODY_OBJECT,
                                                .begin = upload_begin,
                                                .take = upload_take,
                                                .finish = upload_finish};
