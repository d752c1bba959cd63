/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "reply.h"
#include "route.h"
#include "s3-xml.h"

/* ---- what is not there ---- */

static void
absent(struct ds_request *req)
{
    ds_s3_reply_error(req, "501", "This part of the S3 protocol is not in supafs-devserver",
                      "NotImplemented");
}

static const struct ds_route route_absent = {
    .kind = "unavailable", .s3 = true, .begin = absent, .finish = absent};

/* Parameters that make another request of the one they stand in. */
static bool
asks_for_more(const struct ds_request *req)
{
    static const char *const names[] = {"accelerate",
                                        "acl",
                                        "analytics",
                                        "attributes",
                                        "cors",
                                        "encryption",
                                        "intelligent-tiering",
                                        "inventory",
                                        "legal-hold",
                                        "lifecycle",
                                        "logging",
                                        "metrics",
                                        "notification",
                                        "object-lock",
                                        "ownershipControls",
                                        "policy",
                                        "publicAccessBlock",
                                        "replication",
                                        "requestPayment",
                                        "restore",
                                        "retention",
                                        "select",
                                        "tagging",
                                        "torrent",
                                        "versionId",
                                        "versioning",
                                        "versions",
                                        "website"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (ds_request_query(req, names[i]))
            return true;
    return false;
}

static const struct ds_route *
find_object_route(const struct ds_request *req)
{
    const char *m = req->method;
    bool upload = ds_request_query(req, "uploadId") != NULL;
    bool copy = ds_request_header(req, "x-amz-copy-source") != NULL;
    if (strcmp(m, "GET") == 0)
        return upload ? &ds_route_s3_list_parts : &ds_route_s3_get;
    if (strcmp(m, "HEAD") == 0)
        return &ds_route_s3_head;
    if (strcmp(m, "PUT") == 0 && upload)
        return copy ? &route_absent : &ds_route_s3_part;
    if (strcmp(m, "PUT") == 0)
        return copy ? &ds_route_s3_copy : &ds_route_s3_put;
    if (strcmp(m, "DELETE") == 0)
        return upload ? &ds_route_s3_abort : &ds_route_s3_delete;
    if (strcmp(m, "POST") == 0 && upload)
        return &ds_route_s3_complete;
    if (strcmp(m, "POST") == 0 && ds_request_query(req, "uploads"))
        return &ds_route_s3_create_upload;
    return &route_absent;
}

static const struct ds_route *
find_bucket_route(const struct ds_request *req)
{
    const char *m = req->method, *type = ds_request_query(req, "list-type");
    if (strcmp(m, "GET") == 0) {
        if (ds_request_query(req, "uploads"))
            return &ds_route_s3_list_uploads;
        if (ds_request_query(req, "location"))
            return &ds_route_s3_location;
        return type && strcmp(type, "2") == 0 ? &ds_route_s3_list : &ds_route_s3_list_v1;
    }
    if (strcmp(m, "HEAD") == 0)
        return &ds_route_s3_head_bucket;
    if (strcmp(m, "PUT") == 0)
        return &ds_route_s3_create_bucket;
    if (strcmp(m, "DELETE") == 0)
        return &ds_route_s3_delete_bucket;
    if (strcmp(m, "POST") == 0 && ds_request_query(req, "delete"))
        return &ds_route_s3_delete_many;
    return &route_absent;
}

const struct ds_route *
ds_s3_find_route(struct ds_request *req, const char *rest)
{
    bool read = strcmp(req->method, "GET") == 0;
    rest += *rest == '/';
    if (!*rest)
        return read ? &ds_route_s3_list_buckets : &route_absent;
    size_t len = strcspn(rest, "/");
    if (rest[len] && rest[len + 1]) {
        if (!ds_route_match_object(req, rest))
            return req->reply.status ? NULL : &route_absent;
        return asks_for_more(req) ? &route_absent : find_object_route(req);
    }
    sf_autofree char *bucket = strndup(rest, len);
    if (!bucket || !ds_route_match_bucket(req, bucket))
        return req->reply.status ? NULL : &route_absent;
    return asks_for_more(req) ? &route_absent : find_bucket_route(req);
}

/* ---- buckets ---- */

struct bucket_rows {
    const struct ds_request *req;
    struct ds_buf out;
};

static void
add_bucket(void *arg, const struct ds_bucket *bucket)
{
    struct bucket_rows *rows = arg;
    if (!ds_may(rows->req, bucket->id, NULL, DS_SEE_BUCKET))
        return;
    ds_buf_adds(&rows->out, "<Bucket>");
    ds_xml_add(&rows->out, "Name", bucket->id);
    ds_xml_add_time(&rows->out, "CreationDate", bucket->created_ms);
    ds_buf_adds(&rows->out, "</Bucket>");
}

static void
list_buckets(struct ds_request *req)
{
    struct bucket_rows rows = {.req = req};
    ds_autobuf out = DS_BUF_INIT;
    int rc = ds_db_bucket_list(req->server->db, &(struct ds_bucket_query){0}, add_bucket, &rows);
    if (rc == 0 && rows.out.failed)
        rc = -ENOMEM;
    if (rc < 0) {
        ds_fail_errno(req, rc, "list the buckets");
    } else {
        ds_s3_begin_xml(&out, "ListAllMyBucketsResult");
        if (rows.out.len > 0)
            ds_buf_addf(&out, "<Buckets>%s</Buckets>", rows.out.data);
        else
            ds_buf_adds(&out, "<Buckets/>");
        ds_s3_reply_xml(req, &out, "ListAllMyBucketsResult");
    }
    ds_buf_fini(&rows.out);
}

/* A bucket whose row the caller may see. */
static bool
require_seen(struct ds_request *req)
{
    ds_autobucket bucket = {0};
    if (!ds_require_bucket(req, &bucket))
        return false;
    if (!ds_may(req, req->bucket, NULL, DS_SEE_BUCKET))
        ds_fail(req, DS_FAIL_NO_BUCKET);
    return req->reply.status == 0;
}

static void
head_bucket(struct ds_request *req)
{
    if (!require_seen(req))
        return;
    ds_s3_reply_empty(req, 200);
    ds_reply_header(req, "x-amz-bucket-region", DS_PROJECT_REGION);
}

static void
location(struct ds_request *req)
{
    if (!require_seen(req))
        return;
    ds_autobuf out = DS_BUF_INIT;
    ds_s3_begin_xml(&out, "LocationConstraint");
    ds_buf_adds(&out, DS_PROJECT_REGION);
    ds_s3_reply_xml(req, &out, "LocationConstraint");
}

/* The body may ask for a region: there is one. */
static void
create_bucket(struct ds_request *req)
{
    const char *acl = ds_request_header(req, "x-amz-acl");
    if (!ds_bucket_name_valid(req->bucket)) {
        ds_fail(req, DS_FAIL_BUCKET_NAME);
        return;
    }
    if (!ds_is_service(req)) {
        ds_fail(req, DS_FAIL_RLS);
        return;
    }
    struct ds_bucket bucket = {
        .id = req->bucket,
        .name = req->bucket,
        .owner = req->who.sub[0] ? req->who.sub : NULL,
        .size_limit = -1,
        .created_ms = ds_now_ms(),
        .updated_ms = ds_now_ms(),
        .is_public = acl && strcmp(acl, "public-read") == 0,
    };
    int rc = ds_db_bucket_insert(req->server->db, &bucket);
    sf_autofree char *path = NULL;
    if (rc == -EEXIST) {
        ds_fail(req, DS_FAIL_BUCKET_EXISTS);
    } else if (rc < 0) {
        ds_fail_errno(req, rc, "create the bucket");
    } else {
        ds_s3_reply_empty(req, 200);
        if (asprintf(&path, "/%s", req->bucket) >= 0)
            ds_reply_header(req, "location", path);
    }
}

static void
delete_bucket(struct ds_request *req)
{
    if (!require_seen(req))
        return;
    if (!ds_is_service(req)) {
        ds_fail(req, DS_FAIL_DENIED);
        return;
    }
    if (ds_delete_bucket(req))
        ds_s3_reply_empty(req, 204);
}

const struct ds_route ds_route_s3_list_buckets = {
    .kind = "s3-list-buckets", .s3 = true, .begin = ds_s3_enter, .finish = list_buckets};
const struct ds_route ds_route_s3_head_bucket = {
    .kind = "s3-head-bucket", .s3 = true, .begin = ds_s3_enter, .finish = head_bucket};
const struct ds_route ds_route_s3_location = {
    .kind = "s3-location", .s3 = true, .begin = ds_s3_enter, .finish = location};
const struct ds_route ds_route_s3_create_bucket = {
    .kind = "s3-create-bucket", .s3 = true, .begin = ds_s3_enter, .finish = create_bucket};
const struct ds_route ds_route_s3_delete_bucket = {
    .kind = "s3-delete-bucket", .s3 = true, .begin = ds_s3_enter, .finish = delete_bucket};
