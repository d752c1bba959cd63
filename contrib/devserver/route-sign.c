/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"
#include "signed.h"
#include "upload.h"

/* How long a token for an upload holds. */
#define UPLOAD_SECONDS 60

/* ---- for reading ---- */

static bool
read_expiry(struct ds_request *req, const json_t *json, struct ds_signed *ret)
{
    const json_t *value = json_object_get(json, "expiresIn");
    if (!value)
        ds_reply_schema(req, "body must have required property 'expiresIn'");
    else if (!json_is_integer(value))
        ds_reply_schema(req, "body/expiresIn must be integer");
    else if (json_integer_value(value) < 1)
        ds_reply_schema(req, "body/expiresIn must be >= 1");
    else
        ret->expires = (long long)ds_now_ms() / 1000 + json_integer_value(value);
    return req->reply.status == 0;
}

/* The key as it is: clients escape it. NULL when out of memory. */
static char *
signed_url(const struct ds_request *req, const char *key, const struct ds_signed *what)
{
    sf_autofree char *token = ds_signed_token(req, req->bucket, key, what);
    ds_autobuf url = DS_BUF_INIT;
    if (!token)
        return NULL;
    ds_buf_addf(&url, "/object/%ssign/%s/%s?token=%s", what->upload ? "upload/" : "", req->bucket,
                key, token);
    size_t len;
    return url.failed ? NULL : ds_buf_take(&url, &len);
}

/* 0, or -ENOENT when there is no such object for the caller. */
static int
look_at(const struct ds_request *req, const char *key)
{
    ds_autoobject object = {0};
    if (!ds_may(req, req->bucket, key, DS_SELECT))
        return -ENOENT;
    return ds_db_object_get(req->server->db, req->bucket, key, &object);
}

static void
sign(struct ds_request *req)
{
    ds_autojson *json = ds_require_json(req);
    struct ds_signed what = {0};
    if (!json || !read_expiry(req, json, &what) || !ds_require_auth(req))
        return;
    if (json_object_size(json_object_get(json, "transform")) > 0) {
        ds_reply_error(req, 501, "501", "Not Implemented",
                       "Images are not rendered by supafs-devserver", "NotImplemented");
        return;
    }
    int rc = look_at(req, req->key);
    sf_autofree char *url = rc == 0 ? signed_url(req, req->key, &what) : NULL;
    if (rc == -ENOENT) {
        ds_fail(req, DS_FAIL_NO_KEY);
    } else if (rc < 0 || !url) {
        ds_fail_errno(req, rc < 0 ? rc : -ENOMEM, "sign a URL");
    } else {
        ds_autobuf out = DS_BUF_INIT;
        ds_buf_adds(&out, "{\"signedURL\":");
        ds_buf_add_json(&out, url);
        ds_buf_adds(&out, "}");
        ds_reply_json(req, 200, &out);
    }
}

static bool
check_paths(struct ds_request *req, const json_t *paths)
{
    if (!paths)
        ds_reply_schema(req, "body must have required property 'paths'");
    else if (!json_is_array(paths))
        ds_reply_schema(req, "body/paths must be array");
    for (size_t i = 0; req->reply.status == 0 && i < json_array_size(paths); i++)
        if (!json_is_string(json_array_get(paths, i)))
            ds_reply_schema(req, "body/paths/%zu must be string", i);
    return req->reply.status == 0;
}

static int
add_signed(const struct ds_request *req, const char *key, const struct ds_signed *what,
           struct ds_buf *out)
{
    int rc = look_at(req, key);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    sf_autofree char *url = rc == 0 ? signed_url(req, key, what) : NULL;
    if (rc == 0 && !url)
        return -ENOMEM;
    ds_buf_adds(out, rc == 0 ? "{\"error\":null,\"path\":"
                             : "{\"error\":\"Either the object does not exist or you do not have "
                               "access to it\",\"path\":");
    ds_buf_add_json(out, key);
    ds_buf_adds(out, ",\"signedURL\":");
    if (url)
        ds_buf_add_json(out, url);
    else
        ds_buf_adds(out, "null");
    ds_buf_adds(out, "}");
    return 0;
}

static void
sign_many(struct ds_request *req)
{
    ds_autojson *json = ds_require_json(req);
    const json_t *paths = json_object_get(json, "paths");
    struct ds_signed what = {0};
    if (!json || !read_expiry(req, json, &what) || !check_paths(req, paths) ||
        !ds_require_auth(req))
        return;
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "[");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(paths); i++) {
        if (i > 0)
            ds_buf_adds(&out, ",");
        rc = add_signed(req, json_string_value(json_array_get(paths, i)), &what, &out);
    }
    ds_buf_adds(&out, "]");
    if (rc < 0)
        ds_fail_errno(req, rc, "sign URLs");
    else
        ds_reply_json(req, 200, &out);
}

/* ---- for an upload ---- */

static bool
bucket_is_there(struct ds_request *req)
{
    ds_autobucket bucket = {0};
    int rc = ds_db_bucket_get(req->server->db, req->bucket, &bucket);
    if (rc == -ENOENT)
        ds_fail(req, DS_FAIL_NO_RELATED);
    else if (rc < 0)
        ds_fail_errno(req, rc, "look up the bucket");
    return rc == 0;
}

static void
sign_upload(struct ds_request *req)
{
    const char *upsert = ds_request_header(req, "x-upsert");
    struct ds_signed what = {.upload = true,
                             .upsert = upsert && strcmp(upsert, "true") == 0,
                             .expires = (long long)ds_now_ms() / 1000 + UPLOAD_SECONDS};
    if (!ds_check_no_body(req) || !ds_require_auth(req) ||
        !ds_require_key(req, req->key, req->key_len) || !ds_check_upload(req, what.upsert) ||
        !bucket_is_there(req))
        return;
    memcpy(what.owner, req->who.sub, sizeof what.owner);
    sf_autofree char *url = signed_url(req, req->key, &what);
    if (!url) {
        ds_fail_errno(req, -ENOMEM, "sign an upload");
        return;
    }
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "{\"url\":");
    ds_buf_add_json(&out, url);
    ds_buf_adds(&out, ",\"token\":");
    ds_buf_add_json(&out, strstr(url, "?token=") + strlen("?token="));
    ds_buf_adds(&out, "}");
    ds_reply_json(req, 200, &out);
}

const struct ds_route ds_route_sign = {.kind = "sign", .body = DS_BODY_JSON, .finish = sign};
const struct ds_route ds_route_sign_many = {
    .kind = "sign", .body = DS_BODY_JSON, .finish = sign_many};
const struct ds_route ds_route_sign_upload = {
    .kind = "sign", .body = DS_BODY_JSON, .finish = sign_upload};
