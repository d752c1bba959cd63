/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "copy.h"
#include "read.h"
#include "reply.h"
#include "s3-xml.h"
#include "upload.h"

#define DELETE_MAX  1000
#define PLACEHOLDER ".emptyFolderPlaceholder"

/* ---- reading ---- */

static bool
require_object(struct ds_request *req, const char *bucket, const char *key,
               struct ds_object *object)
{
    int rc = -ENOENT;
    if (ds_may(req, bucket, key, DS_SELECT))
        rc = ds_db_object_get(req->server->db, bucket, key, object);
    if (rc == -ENOENT)
        ds_fail(req, DS_FAIL_NO_KEY);
    else if (rc < 0)
        ds_fail_errno(req, rc, "look up the object");
    return rc == 0;
}

static void
get(struct ds_request *req)
{
    ds_autobucket bucket = {0};
    ds_autoobject object = {0};
    if (!ds_require_bucket(req, &bucket) || !require_object(req, req->bucket, req->key, &object))
        return;
    if (strcmp(req->method, "HEAD") == 0)
        ds_read_head(req, &object);
    else
        ds_read_bytes(req, &object);
}

/* ---- writing ---- */

/* An empty object whose name ends with a slash stands for a folder. */
static bool
name_folder(struct ds_request *req, uint64_t length)
{
    size_t len = req->key_len;
    if (length > 0 || len == 0 || req->key[len - 1] != '/')
        return true;
    char *key = NULL;
    int n = asprintf(&key, "%s" PLACEHOLDER, req->key);
    if (n < 0) {
        ds_fail_errno(req, -ENOMEM, "name the folder");
        return false;
    }
    free(req->key);
    req->key = key;
    req->key_len = (size_t)n;
    return true;
}

static void
put_begin(struct ds_request *req)
{
    uint64_t length = 0;
    if (!ds_s3_require_auth(req))
        return;
    if (!ds_s3_length(req, &length)) {
        ds_s3_reply_error(req, "411", "You must provide the Content-Length HTTP header.",
                          "MissingContentLength");
        return;
    }
    if (name_folder(req, length) && ds_s3_check_write(req, ds_s3_mime(req), length))
        ds_s3_begin_bytes(req, ds_wants_md5(req->server));
}

static void
put_finish(struct ds_request *req)
{
    char md5[33];
    if (!ds_s3_end_bytes(req))
        return;
    sf_autofree char *meta = ds_s3_metadata(req);
    int rc = meta ? ds_incoming_commit(&req->incoming, md5) : -ENOMEM;
    if (rc < 0) {
        ds_fail_errno(req, rc, "store the bytes");
        return;
    }
    struct ds_object row = {
        .bucket = req->bucket,
        .name = req->key,
        .owner = req->who.sub[0] ? req->who.sub : NULL,
        .mime = (char *)(uintptr_t)ds_s3_mime(req),
        .cache = (char *)(uintptr_t)ds_s3_cache(req),
        .user_meta = meta,
        .size = req->incoming.size,
    };
    memcpy(row.version, req->incoming.version, sizeof row.version);
    ds_autoobject now = {0};
    if (!ds_upload_switch(req, &row, md5, &now))
        return;
    ds_s3_reply_empty(req, 200);
    ds_reply_header(req, "etag", now.etag);
}

/* ---- copies ---- */

/* "bucket/key" or "/bucket/key" with escapes, made two texts of one; NULL when it is neither. */
static char *
read_source(const char *header, const char **key)
{
    char *text = NULL;
    size_t len = strcspn(header, "?"), n;
    header += *header == '/';
    len = strcspn(header, "?");
    if (ds_percent_decode(header, len, &text, &n) < 0)
        return NULL;
    char *slash = strchr(text, '/');
    if (!slash || slash == text || !slash[1] || strlen(text) != n) {
        free(text);
        return NULL;
    }
    *slash = '\0';
    *key = slash + 1;
    return text;
}

static void
reply_copied(struct ds_request *req, const struct ds_object *object)
{
    ds_autobuf out = DS_BUF_INIT;
    ds_s3_begin_xml(&out, "CopyObjectResult");
    ds_xml_add(&out, "ETag", object->etag);
    ds_xml_add_time(&out, "LastModified", object->modified_ms);
    ds_s3_reply_xml(req, &out, "CopyObjectResult");
}

static void
copy_from(struct ds_request *req, const char *bucket, const char *key)
{
    const char *directive = ds_request_header(req, "x-amz-metadata-directive");
    bool own = directive && strcmp(directive, "REPLACE") == 0;
    const char *mime = ds_request_header(req, "content-type");
    const char *cache = ds_request_header(req, "cache-control");
    ds_autoobject source = {0}, now = {0};
    sf_autofree char *meta = own ? ds_s3_metadata(req) : NULL;
    if (!require_object(req, bucket, key, &source))
        return;
    struct ds_object target = {
        .bucket = req->bucket,
        .name = req->key,
        .owner = req->who.sub[0] ? req->who.sub : NULL,
        .mime = own && mime && *mime ? (char *)(uintptr_t)mime : source.mime,
        .cache = own && cache && *cache ? (char *)(uintptr_t)cache : source.cache,
        .robots = source.robots,
        .user_meta = own ? meta : source.user_meta,
        .size = source.size,
    };
    /* Neither the types nor the limit of the bucket are looked at, as in the other copy. */
    ds_autobucket there = {0};
    if (ds_require_bucket(req, &there) && ds_require_key(req, req->key, req->key_len) &&
        ds_check_upload(req, true) && ds_copy_write(req, &source, &target, &now))
        reply_copied(req, &now);
}

static void
copy(struct ds_request *req)
{
    const char *key = NULL;
    sf_autofree char *bucket = read_source(ds_request_header(req, "x-amz-copy-source"), &key);
    if (bucket)
        copy_from(req, bucket, key);
    else
        ds_s3_reply_error(req, "400", "Copy Source must be BUCKET/KEY", "InvalidArgument");
}

/* ---- deleting ---- */

/* 0, also when there was nothing; -EACCES, or another negative errno. */
static int
delete_key(struct ds_request *req, const char *key)
{
    ds_autoobject old = {0};
    bool may = ds_may(req, req->bucket, key, DS_SELECT | DS_DELETE);
    int rc;
    if (may)
        rc = ds_db_object_delete(req->server->db, req->bucket, key, &old);
    else
        rc = ds_db_object_get(req->server->db, req->bucket, key, &old);
    if (rc == 0 && !may)
        return -EACCES;
    if (rc == 0)
        ds_store_remove(req->server->store, old.version);
    return rc == -ENOENT ? 0 : rc;
}

static void
delete_one(struct ds_request *req)
{
    ds_autobucket bucket = {0};
    if (!ds_require_bucket(req, &bucket))
        return;
    int rc = delete_key(req, req->key);
    if (rc == -EACCES)
        ds_fail(req, DS_FAIL_DENIED);
    else if (rc < 0)
        ds_fail_errno(req, rc, "delete the row");
    else
        ds_s3_reply_empty(req, 204);
}

struct deletion {
    char *keys[DELETE_MAX];
    size_t count;
    bool quiet;
    bool no_memory;
};

static bool
take_element(void *arg, enum ds_xml_event what, const char *path, const char *text)
{
    struct deletion *deletion = arg;
    if (strncmp(path, "Delete", 6) != 0 || (path[6] && path[6] != '/'))
        return false;
    if (what == DS_XML_OPEN)
        return true;
    if (strcmp(path, "Delete/Quiet") == 0)
        deletion->quiet = strcmp(text, "true") == 0;
    if (strcmp(path, "Delete/Object/Key") != 0)
        return true;
    if (deletion->count == DELETE_MAX)
        return false;
    char *key = strdup(text);
    deletion->no_memory |= !key;
    if (key)
        deletion->keys[deletion->count++] = key;
    return key != NULL;
}

static void
delete_keys(struct ds_request *req, const struct deletion *deletion)
{
    ds_autobuf out = DS_BUF_INIT;
    ds_s3_begin_xml(&out, "DeleteResult");
    for (size_t i = 0; i < deletion->count; i++) {
        int rc = delete_key(req, deletion->keys[i]);
        if (rc < 0 && rc != -EACCES) {
            ds_fail_errno(req, rc, "delete the rows");
            return;
        }
        if (rc == 0 && deletion->quiet)
            continue;
        ds_buf_adds(&out, rc == 0 ? "<Deleted>" : "<Error>");
        ds_xml_add(&out, "Key", deletion->keys[i]);
        if (rc < 0) {
            ds_xml_add(&out, "Code", "AccessDenied");
            ds_xml_add(&out, "Message", "Access denied");
        }
        ds_buf_adds(&out, rc == 0 ? "</Deleted>" : "</Error>");
    }
    ds_s3_reply_xml(req, &out, "DeleteResult");
}

static void
delete_many(struct ds_request *req)
{
    ds_autobucket bucket = {0};
    if (!ds_require_bucket(req, &bucket))
        return;
    struct deletion *deletion = calloc(1, sizeof *deletion);
    int rc = deletion && !req->text.failed ? ds_xml_read(req->text.data ? req->text.data : "",
                                                         req->text.len, take_element, deletion)
                                           : -ENOMEM;
    if (rc == -ENOMEM || (deletion && deletion->no_memory))
        ds_fail_errno(req, -ENOMEM, "read the keys");
    else if (rc < 0 || deletion->count == 0)
        ds_s3_reply_error(req, "400",
                          "The XML you provided was not well-formed or did not "
                          "validate against our published schema",
                          "MalformedXML");
    else
        delete_keys(req, deletion);
    for (size_t i = 0; deletion && i < deletion->count; i++)
        free(deletion->keys[i]);
    free(deletion);
}

const struct ds_route ds_route_s3_get = {
    .kind = "s3-get", .s3 = true, .begin = ds_s3_enter, .finish = get};
const struct ds_route ds_route_s3_head = {
    .kind = "s3-head", .s3 = true, .begin = ds_s3_enter, .finish = get};
const struct ds_route ds_route_s3_put = {.kind = "s3-put",
                                         .body = DS_BODY_OBJECT,
                                         .s3 = true,
                                         .begin = put_begin,
                                         .take = ds_s3_take_bytes,
                                         .finish = put_finish};
const struct ds_route ds_route_s3_copy = {
    .kind = "s3-copy", .s3 = true, .begin = ds_s3_enter, .finish = copy};
const struct ds_route ds_route_s3_delete = {
    .kind = "s3-delete", .s3 = true, .begin = ds_s3_enter, .finish = delete_one};
const struct ds_route ds_route_s3_delete_many = {.kind = "s3-delete-many",
                                                 .body = DS_BODY_JSON,
                                                 .s3 = true,
                                                 .begin = ds_s3_enter,
                                                 .finish = delete_many};
