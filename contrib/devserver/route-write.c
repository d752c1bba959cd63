/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "reply.h"

/* "type/sub" or "type/ *" of the allowed list, compared as text: parameters count. */
static bool
mime_allowed(const char *mime, const json_t *allowed)
{
    const char *slash = strchr(mime, '/');
    if (!slash)
        return false;
    const char *sub = slash + 1;
    size_t sub_len = strcspn(sub, "/");
    size_t i;
    const json_t *entry;
    json_array_foreach((json_t *)(uintptr_t)allowed, i, entry)
    {
        const char *text = json_string_value(entry);
        const char *cut = text ? strchr(text, '/') : NULL;
        if (!cut || cut - text != slash - mime || strncmp(text, mime, (size_t)(cut - text)) != 0)
            continue;
        size_t n = strcspn(cut + 1, "/");
        if ((n == 1 && cut[1] == '*') || (n == sub_len && strncmp(cut + 1, sub, n) == 0))
            return true;
    }
    return false;
}

static bool
check_mime(struct ds_request *req, const struct ds_bucket *bucket, const char *mime)
{
    if (!bucket->mime_types || ds_key_is_placeholder(req->key))
        return true;
    json_t *allowed = json_loads(bucket->mime_types, 0, NULL);
    bool fine = json_array_size(allowed) == 0 || mime_allowed(mime, allowed);
    json_decref(allowed);
    if (!fine)
        ds_reply_invalid_mime(req, mime);
    return fine;
}

/* By the announced length only: a chunked body has none and passes, as it does at the service. */
static bool
check_length(struct ds_request *req, const struct ds_bucket *bucket)
{
    const char *length = ds_request_header(req, "content-length");
    uint64_t limit = ds_key_is_placeholder(req->key)
                         ? 0
                         : ds_pace_upload_limit(req->server->pace, bucket->size_limit);
    if (!length || strtoull(length, NULL, 10) <= limit)
        return true;
    ds_fail(req, DS_FAIL_TOO_LARGE);
    return false;
}

static bool
is_upsert(const struct ds_request *req)
{
    const char *upsert = ds_request_header(req, "x-upsert");
    return req->route == &ds_route_update || (upsert && strcmp(upsert, "true") == 0);
}

/* What the service's trial insert finds out before the body comes. */
static bool
check_row(struct ds_request *req, bool metadata_is_object)
{
    if (!metadata_is_object) {
        ds_fail(req, DS_FAIL_METADATA);
        return false;
    }
    if (!ds_is_service(req)) {
        ds_fail(req, DS_FAIL_RLS);
        return false;
    }
    if (!ds_require_storable(req, req->bucket, req->key))
        return false;
    if (is_upsert(req))
        return true;
    ds_autoobject there = {0};
    int rc = ds_db_object_get(req->server->db, req->bucket, req->key, &there);
    if (rc == 0)
        ds_fail(req, DS_FAIL_KEY_EXISTS);
    else if (rc != -ENOENT)
        ds_fail_errno(req, rc, "look up the key");
    return rc == -ENOENT;
}

static const char *
request_mime(const struct ds_request *req)
{
    const char *mime = ds_request_header(req, "content-type");
    return mime && *mime ? mime : "application/octet-stream";
}

static void
upload_begin(struct ds_request *req)
{
    ds_autobucket bucket = {0};
    if (!ds_require_auth(req) || !ds_require_bucket(req, &bucket))
        return;
    const char *mime = request_mime(req);
    if (strncmp(mime, "multipart/form-data", 19) == 0) {
        ds_reply_error(req, 501, "501", "Not Implemented",
                       "Uploads as multipart/form-data are not in supafs-devserver",
                       "NotImplemented");
        return;
    }
    bool is_object = true;
    if (!check_mime(req, &bucket, mime))
        return;
    req->user_meta = ds_user_metadata(req, &is_object);
    if (!check_length(req, &bucket) || !ds_require_key(req, req->key, req->key_len) ||
        !check_row(req, is_object))
        return;
    int rc = ds_incoming_init(&req->incoming, req->server->store);
    if (rc < 0)
        ds_fail_errno(req, rc, "take an upload");
    else
        req->has_incoming = true;
}

static void
reply_key(struct ds_request *req, const struct ds_object *object)
{
    ds_autobuf path = DS_BUF_INIT, out = DS_BUF_INIT;
    ds_buf_addf(&path, "%s/%s", object->bucket, object->name);
    ds_buf_adds(&out, "{\"Key\":");
    ds_buf_add_json(&out, path.failed ? "" : path.data);
    ds_buf_adds(&out, ",\"Id\":");
    ds_buf_add_json(&out, object->id);
    ds_buf_adds(&out, "}");
    ds_reply_json(req, 200, &out);
}

/* The bytes are in place: switch the row, then let go of the old bytes. */
static void
upload_finish(struct ds_request *req)
{
    char md5[33];
    int rc = ds_incoming_commit(&req->incoming, md5);
    if (rc < 0) {
        ds_fail_errno(req, rc, "store the bytes");
        return;
    }
    sf_autofree char *etag = NULL;
    const char *cache = ds_request_header(req, "cache-control");
    const char *robots = ds_request_header(req, "x-robots-tag");
    struct ds_object row = {
        .bucket = req->bucket,
        .name = req->key,
        .owner = req->who.sub[0] ? req->who.sub : NULL,
        .mime = (char *)(uintptr_t)request_mime(req),
        .cache = (char *)(uintptr_t)(cache && *cache ? cache : "no-cache"),
        .robots = (char *)(uintptr_t)robots,
        .user_meta = req->user_meta ? req->user_meta : (char *)(uintptr_t) "{}",
        .size = req->incoming.size,
        .modified_ms = ds_now_ms(),
        .updated_ms = ds_now_ms(),
    };
    memcpy(row.version, req->incoming.version, sizeof row.version);
    char old_version[DS_UUID_SIZE] = "";
    ds_autoobject now = {0};
    rc = -ENOMEM;
    if (ds_make_etag(req->server, md5, row.size, &etag)) {
        row.etag = etag;
        rc = ds_db_object_put(req->server->db, &row, &now, old_version);
    }
    if (rc < 0) {
        ds_store_remove(req->server->store, row.version);
        if (rc == -ENXIO)
            ds_fail(req, DS_FAIL_NO_RELATED);
        else
            ds_fail_errno(req, rc, "write the row");
        return;
    }
    ds_store_remove(req->server->store, old_version);
    reply_key(req, &now);
}

const struct ds_route ds_route_upload = {
    .kind = "upload", .body = DS_BODY_OBJECT, .begin = upload_begin, .finish = upload_finish};
const struct ds_route ds_route_update = {
    .kind = "update", .body = DS_BODY_OBJECT, .begin = upload_begin, .finish = upload_finish};
