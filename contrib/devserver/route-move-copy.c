/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "copy.h"
#include "json.h"
#include "reply.h"

/* What move and copy have in common; strings are borrowed from the body. */
struct transfer {
    const char *bucket, *key;
    const char *to_bucket, *to_key;
};

static bool
read_transfer(struct ds_request *req, const json_t *json, const char *const *required,
              struct transfer *ret)
{
    static const char *const members[] = {"bucketId", "sourceKey", "destinationBucket",
                                          "destinationKey"};
    static const char *const paths[] = {"body/bucketId", "body/sourceKey", "body/destinationBucket",
                                        "body/destinationKey"};
    const char *values[4];
    for (size_t i = 0; i < 3; i++) {
        if (!json_object_get(json, required[i])) {
            ds_reply_schema(req, "body must have required property '%s'", required[i]);
            return false;
        }
    }
    for (size_t i = 0; i < 4; i++) {
        const json_t *value = json_object_get(json, members[i]);
        if (!ds_check_string(req, value, paths[i]))
            return false;
        values[i] = json_string_value(value);
    }
    *ret = (struct transfer){
        .bucket = values[0],
        .key = values[1],
        .to_bucket = values[2] && *values[2] ? values[2] : values[0],
        .to_key = values[3],
    };
    return true;
}

static bool
require_source(struct ds_request *req, const struct transfer *transfer, unsigned rights,
               struct ds_object *source)
{
    int rc = -ENOENT;
    if (ds_may(req, transfer->bucket, transfer->key, rights))
        rc = ds_db_object_get(req->server->db, transfer->bucket, transfer->key, source);
    if (rc == -ENOENT)
        ds_fail(req, DS_FAIL_NO_KEY);
    else if (rc < 0)
        ds_fail_errno(req, rc, "look up the source");
    return rc == 0;
}

static bool
same_object(const struct transfer *transfer)
{
    return strcmp(transfer->bucket, transfer->to_bucket) == 0 &&
           strcmp(transfer->key, transfer->to_key) == 0;
}

/* Whether the target is free, and its bucket there. */
static int
look_at_target(struct ds_request *req, const struct transfer *transfer)
{
    ds_autobucket bucket = {0};
    ds_autoobject there = {0};
    int rc = ds_db_bucket_get(req->server->db, transfer->to_bucket, &bucket);
    if (rc < 0)
        return rc == -ENOENT ? -ENXIO : rc;
    rc = ds_db_object_get(req->server->db, transfer->to_bucket, transfer->to_key, &there);
    return rc == 0 ? -EEXIST : rc == -ENOENT ? 0 : rc;
}

static void
fail_target(struct ds_request *req, int code, enum ds_failure exists)
{
    if (code == -ENXIO)
        ds_fail(req, DS_FAIL_NO_RELATED);
    else if (code == -EEXIST)
        ds_fail(req, exists);
    else
        ds_fail_errno(req, code, "write the target");
}

/*
 * Bytes never change once written, so a copy shares them by a second name; the service copies each
 * byte, which takes copy_ms here: what is written to the source meanwhile is not in the copy. Under
 * the "mtime" style the ETag is a new one.
 */
static int
share_bytes(struct ds_request *req, const struct ds_object *source, struct ds_object *target,
            char **etag)
{
    if (ds_uuid_new(target->version) < 0)
        return -EIO;
    int rc = ds_store_link(req->server->store, source->version, target->version);
    if (rc < 0)
        return rc;
    ds_pace_sleep_ms(req->server->pace, atomic_load(&req->server->pace->copy_ms));
    bool same = atomic_load(&req->server->pace->etag_style) == DS_ETAG_MD5;
    if (same)
        *etag = strdup(source->etag);
    else
        ds_make_etag(req->server, "", source->size, etag);
    if (!*etag) {
        ds_store_remove(req->server->store, target->version);
        return -ENOMEM;
    }
    target->etag = *etag;
    target->modified_ms = ds_now_ms();
    target->updated_ms = ds_now_ms();
    return 0;
}

static void
move_object(struct ds_request *req, const struct transfer *transfer)
{
    ds_autoobject source = {0};
    if (!require_source(req, transfer, DS_SELECT | DS_UPDATE, &source))
        return;
    if (!same_object(transfer)) {
        if (!ds_may(req, transfer->to_bucket, transfer->to_key, DS_UPDATE)) {
            ds_fail(req, DS_FAIL_RLS);
            return;
        }
        int rc = look_at_target(req, transfer);
        if (rc < 0) {
            fail_target(req, rc, DS_FAIL_RESOURCE_EXISTS);
            return;
        }
        if (!ds_require_storable(req, transfer->to_bucket, transfer->to_key))
            return;
        sf_autofree char *etag = NULL;
        struct ds_object target = {.bucket = (char *)(uintptr_t)transfer->to_bucket,
                                   .name = (char *)(uintptr_t)transfer->to_key,
                                   .owner = req->who.sub[0] ? req->who.sub : NULL};
        rc = share_bytes(req, &source, &target, &etag);
        if (rc < 0) {
            ds_fail_errno(req, rc, "copy the bytes");
            return;
        }
        rc = ds_db_object_move(req->server->db, transfer->bucket, transfer->key, source.version,
                               &target);
        ds_store_remove(req->server->store, rc < 0 ? target.version : source.version);
        if (rc == -ENOENT) { /* overwritten meanwhile: the service finds its copied bytes gone */
            ds_fail(req, DS_FAIL_INTERNAL);
            return;
        }
        if (rc < 0) {
            fail_target(req, rc, DS_FAIL_RESOURCE_EXISTS);
            return;
        }
    }
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "{\"message\":\"Successfully moved\"}");
    ds_reply_json(req, 200, &out);
}

static void
move(struct ds_request *req)
{
    static const char *const required[] = {"bucketId", "sourceKey", "destinationKey"};
    ds_autojson *json = ds_require_json(req);
    struct transfer transfer;
    if (json && read_transfer(req, json, required, &transfer) && ds_require_auth(req) &&
        ds_require_key(req, transfer.to_key, strlen(transfer.to_key)))
        move_object(req, &transfer);
}

/* ---- copy ---- */

struct copy_options {
    bool keep_metadata; /* copyMetadata */
    bool upsert;
    const char *cache; /* NULL = the source's */
    const char *mime;
};

static bool
read_copy_options(struct ds_request *req, const json_t *json, struct copy_options *ret)
{
    const json_t *keep = json_object_get(json, "copyMetadata");
    const json_t *metadata = json_object_get(json, "metadata");
    if (metadata && !json_is_object(metadata)) {
        ds_reply_schema(req, "body/metadata must be object");
        return false;
    }
    const json_t *cache = json_object_get(metadata, "cacheControl");
    const json_t *mime = json_object_get(metadata, "mimetype");
    if (!ds_check_string(req, cache, "body/metadata/cacheControl") ||
        !ds_check_string(req, mime, "body/metadata/mimetype"))
        return false;
    if (keep && !json_is_boolean(keep)) {
        ds_reply_schema(req, "body/copyMetadata must be boolean");
        return false;
    }
    const char *upsert = ds_request_header(req, "x-upsert");
    *ret = (struct copy_options){
        .keep_metadata = !json_is_false(keep),
        .upsert = upsert && strcmp(upsert, "true") == 0,
        .cache = json_string_value(cache),
        .mime = json_string_value(mime),
    };
    return true;
}

static void
reply_copied(struct ds_request *req, const struct ds_object *object)
{
    ds_autobuf path = DS_BUF_INIT, out = DS_BUF_INIT;
    ds_buf_addf(&path, "%s/%s", object->bucket, object->name);
    ds_buf_adds(&out, "{\"Key\":");
    ds_buf_add_json(&out, path.failed ? "" : path.data);
    ds_buf_adds(&out, ",\"Id\":");
    ds_buf_add_json(&out, object->id);
    ds_buf_adds(&out, ",");
    ds_write_row(&out, object, &req->plan);
    ds_buf_adds(&out, "}");
    ds_reply_json(req, 200, &out);
}

/* The old bytes of the target go after the row is written. */
bool
ds_copy_write(struct ds_request *req, const struct ds_object *source, struct ds_object *target,
              struct ds_object *ret)
{
    sf_autofree char *etag = NULL;
    int rc = share_bytes(req, source, target, &etag);
    if (rc < 0) {
        ds_fail_errno(req, rc, "copy the bytes");
        return false;
    }
    char old_version[DS_UUID_SIZE] = "";
    rc = ds_db_object_put(req->server->db, target, ret, old_version);
    target->etag = NULL;
    if (rc < 0) {
        ds_store_remove(req->server->store, target->version);
        fail_target(req, rc, DS_FAIL_KEY_EXISTS);
        return false;
    }
    ds_store_remove(req->server->store, old_version);
    return true;
}

static void
copy_object(struct ds_request *req, const struct transfer *transfer,
            const struct copy_options *options)
{
    ds_autoobject source = {0};
    if (!require_source(req, transfer, DS_SELECT, &source))
        return;
    if (ds_may_write(req, transfer->to_bucket, transfer->to_key, options->upsert) == -EACCES) {
        ds_fail(req, DS_FAIL_RLS);
        return;
    }
    bool fine = true;
    sf_autofree char *meta = options->keep_metadata ? NULL : ds_user_metadata(req, &fine);
    int rc = look_at_target(req, transfer);
    if (rc < 0 && !(rc == -EEXIST && options->upsert)) {
        fail_target(req, rc, DS_FAIL_KEY_EXISTS);
        return;
    }
    if (!fine) {
        ds_fail(req, DS_FAIL_METADATA);
        return;
    }
    if (!ds_require_storable(req, transfer->to_bucket, transfer->to_key))
        return;
    bool own = !options->keep_metadata;
    struct ds_object target = {
        .bucket = (char *)(uintptr_t)transfer->to_bucket,
        .name = (char *)(uintptr_t)transfer->to_key,
        .owner = req->who.sub[0] ? req->who.sub : NULL,
        .mime = own && options->mime ? (char *)(uintptr_t)options->mime : source.mime,
        .cache = own && options->cache ? (char *)(uintptr_t)options->cache : source.cache,
        .robots = source.robots,
        .user_meta = own ? meta : source.user_meta,
        .size = source.size,
    };
    ds_autoobject now = {0};
    if (ds_copy_write(req, &source, &target, &now))
        reply_copied(req, &now);
}

static void
copy(struct ds_request *req)
{
    static const char *const required[] = {"sourceKey", "bucketId", "destinationKey"};
    ds_autojson *json = ds_require_json(req);
    struct transfer transfer;
    struct copy_options options;
    if (json && read_transfer(req, json, required, &transfer) &&
        read_copy_options(req, json, &options) && ds_require_auth(req) &&
        ds_require_key(req, transfer.to_key, strlen(transfer.to_key)))
        copy_object(req, &transfer, &options);
}

const struct ds_route ds_route_move = {.kind = "move", .body = DS_BODY_JSON, .finish = move};
const struct ds_route ds_route_copy = {.kind = "copy", .body = DS_BODY_JSON, .finish = copy};
