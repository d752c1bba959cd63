/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "reply.h"
#include "s3-xml.h"
#include "tus-request.h"
#include "upload.h"

/*
 * Multipart uploads. The bytes of a part are a version in the store like any other, named by the
 * part's row; completing copies them into the version that the object gets, by the kernel.
 */

#define PARTS_MAX   10000
#define UPLOADS_MAX 1000

static bool
require_upload(struct ds_request *req, struct ds_s3_upload *upload)
{
    int rc = ds_db_s3_get(req->server->db, ds_request_query(req, "uploadId"), req->bucket, req->key,
                          upload);
    if (rc == -ENOENT)
        ds_s3_reply_error(req, "404", "Upload not found", "NoSuchUpload");
    else if (rc < 0)
        ds_fail_errno(req, rc, "look up the upload");
    return rc == 0;
}

/* Removes rows and bytes. */
static int
drop(struct ds_server *server, const char *id)
{
    sf_autofree struct ds_s3_part *parts = NULL;
    size_t count = 0;
    int rc = ds_db_s3_delete(server->db, id, &parts, &count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        ds_store_remove(server->store, parts[i].version);
    return rc;
}

static void
create(struct ds_request *req)
{
    if (!ds_s3_check_write(req, ds_s3_mime(req), 0))
        return;
    sf_autofree char *meta = ds_s3_metadata(req);
    struct ds_s3_upload upload = {
        .bucket = req->bucket,
        .name = req->key,
        .owner = req->who.sub[0] ? req->who.sub : NULL,
        .mime = (char *)(uintptr_t)ds_s3_mime(req),
        .cache = (char *)(uintptr_t)ds_s3_cache(req),
        .user_meta = meta,
        .created_ms = ds_now_ms(),
    };
    int rc = meta ? ds_uuid_new(upload.id) : -ENOMEM;
    if (rc == 0)
        rc = ds_db_s3_insert(req->server->db, &upload);
    if (rc < 0) {
        ds_fail_errno(req, rc, "create the upload");
        return;
    }
    ds_autobuf out = DS_BUF_INIT;
    ds_s3_begin_xml(&out, "InitiateMultipartUploadResult");
    ds_xml_add(&out, "Bucket", req->bucket);
    ds_xml_add(&out, "Key", req->key);
    ds_xml_add(&out, "UploadId", upload.id);
    ds_s3_reply_xml(req, &out, "InitiateMultipartUploadResult");
}

/* ---- parts ---- */

/* What all parts together may have, by the last row of each number. */
static bool
check_room(struct ds_request *req, const char *id, int number, uint64_t length)
{
    ds_autobucket bucket = {0};
    sf_autofree struct ds_s3_part *parts = NULL;
    size_t count = 0;
    if (!ds_require_bucket(req, &bucket))
        return false;
    int rc = ds_db_s3_parts(req->server->db, id, &parts, &count);
    if (rc < 0) {
        ds_fail_errno(req, rc, "look up the parts");
        return false;
    }
    uint64_t sum = length;
    for (size_t i = 0; i < count; i++)
        if (parts[i].number != number && (i + 1 == count || parts[i + 1].number != parts[i].number))
            sum += parts[i].size;
    if (sum <= ds_pace_resumable_limit(req->server->pace, bucket.size_limit))
        return true;
    ds_fail(req, DS_FAIL_TOO_LARGE);
    return false;
}

static int
part_number(const struct ds_request *req)
{
    int number = ds_s3_number(ds_request_query(req, "partNumber"), PARTS_MAX);
    return number > 0 ? number : -1;
}

static void
part_begin(struct ds_request *req)
{
    ds_autos3upload upload = {0};
    uint64_t length = 0;
    if (!ds_s3_require_auth(req))
        return;
    int number = part_number(req);
    if (number < 0) {
        ds_s3_reply_error(req, "400", "Part number must be an integer between 1 and 10000",
                          "InvalidArgument");
        return;
    }
    if (!ds_s3_length(req, &length)) {
        ds_s3_reply_error(req, "411", "You must provide the Content-Length HTTP header.",
                          "MissingContentLength");
        return;
    }
    if (require_upload(req, &upload) && check_room(req, upload.id, number, length))
        ds_s3_begin_bytes(req, true);
}

static void
part_finish(struct ds_request *req)
{
    if (!ds_s3_end_bytes(req))
        return;
    struct ds_s3_part part = {
        .number = part_number(req), .size = req->incoming.size, .created_ms = ds_now_ms()};
    memcpy(part.version, req->incoming.version, sizeof part.version);
    int rc = ds_incoming_commit(&req->incoming, part.etag);
    if (rc == 0) {
        rc = ds_db_s3_part_insert(req->server->db, ds_request_query(req, "uploadId"), &part);
        if (rc < 0)
            ds_store_remove(req->server->store, part.version);
    }
    if (rc == -ENOENT) {
        ds_s3_reply_error(req, "404", "Upload not found", "NoSuchUpload");
    } else if (rc < 0) {
        ds_fail_errno(req, rc, "store the part");
    } else {
        ds_s3_reply_empty(req, 200);
        ds_reply_header(req, "etag", part.etag); /* without quotes, as the service's */
        ds_reply_header(req, "access-control-expose-headers", DS_TUS_HEADERS);
    }
}

static void
list_parts(struct ds_request *req)
{
    ds_autos3upload upload = {0};
    sf_autofree struct ds_s3_part *parts = NULL;
    size_t count = 0;
    if (!require_upload(req, &upload))
        return;
    const char *text = ds_request_query(req, "max-parts");
    int max = text ? ds_s3_number(text, PARTS_MAX) : UPLOADS_MAX;
    int after = ds_s3_number(ds_request_query(req, "part-number-marker"), PARTS_MAX);
    if (max <= 0 || max > UPLOADS_MAX)
        max = UPLOADS_MAX;
    int rc = ds_db_s3_parts(req->server->db, upload.id, &parts, &count);
    if (rc < 0) {
        ds_fail_errno(req, rc, "list the parts");
        return;
    }
    size_t first = 0;
    while (first < count && parts[first].number <= after)
        first++;
    size_t end = count - first > (size_t)max ? first + (size_t)max : count;
    ds_autobuf out = DS_BUF_INIT;
    ds_s3_begin_xml(&out, "ListPartsResult");
    ds_xml_add(&out, "Bucket", req->bucket);
    ds_xml_add(&out, "Key", req->key);
    ds_xml_add(&out, "UploadId", upload.id);
    if (end < count)
        ds_xml_add_number(&out, "NextPartNumberMarker", parts[end - 1].number);
    ds_xml_add_number(&out, "MaxParts", max);
    ds_xml_add(&out, "IsTruncated", end < count ? "true" : "false");
    for (size_t i = first; i < end; i++) {
        ds_buf_adds(&out, "<Part>");
        ds_xml_add_number(&out, "PartNumber", parts[i].number);
        ds_xml_add_time(&out, "LastModified", parts[i].created_ms);
        ds_xml_add(&out, "ETag", parts[i].etag);
        ds_buf_adds(&out, "</Part>");
    }
    ds_s3_reply_xml(req, &out, "ListPartsResult");
}

/* ---- the end of an upload ---- */

/* The parts that the client names. */
struct completion {
    struct {
        int number;
        char etag[40];
    } parts[PARTS_MAX];
    size_t count;
};

static bool
take_element(void *arg, enum ds_xml_event what, const char *path, const char *text)
{
    static const char root[] = "CompleteMultipartUpload";
    struct completion *completion = arg;
    size_t n = sizeof root - 1;
    if (strncmp(path, root, n) != 0 || (path[n] && path[n] != '/'))
        return false;
    path += path[n] ? n + 1 : n;
    if (strcmp(path, "Part") == 0 && what == DS_XML_OPEN) {
        if (completion->count == PARTS_MAX)
            return false;
        completion->parts[completion->count++].number = -1;
        return true;
    }
    if (what == DS_XML_OPEN || strncmp(path, "Part/", 5) != 0)
        return true;
    if (strcmp(path, "Part/PartNumber") == 0)
        completion->parts[completion->count - 1].number = ds_s3_number(text, PARTS_MAX);
    if (strcmp(path, "Part/ETag") == 0) {
        char *etag = completion->parts[completion->count - 1].etag;
        text += *text == '"';
        size_t len = strcspn(text, "\"");
        if (len >= sizeof completion->parts[0].etag)
            return false;
        memcpy(etag, text, len);
        etag[len] = '\0';
    }
    return true;
}

/* The last row of the number. */
static const struct ds_s3_part *
find_part(const struct ds_s3_part *parts, size_t count, int number)
{
    const struct ds_s3_part *found = NULL;
    for (size_t i = 0; i < count && parts[i].number <= number; i++)
        if (parts[i].number == number)
            found = &parts[i];
    return found;
}

/* Puts the parts together behind each other. 0, -EINVAL when one is not there, or in no order. */
static int
assemble(struct ds_request *req, const struct completion *completion,
         const struct ds_s3_part *parts, size_t count)
{
    int before = 0;
    for (size_t i = 0; i < completion->count; i++) {
        int number = completion->parts[i].number;
        const struct ds_s3_part *part = find_part(parts, count, number);
        if (number <= before || !part || strcmp(part->etag, completion->parts[i].etag) != 0)
            return -EINVAL;
        before = number;
    }
    for (size_t i = 0; i < completion->count; i++) {
        const struct ds_s3_part *part = find_part(parts, count, completion->parts[i].number);
        uint64_t size;
        sf_autofd int fd = ds_store_open_version(req->server->store, part->version, &size);
        int rc = fd < 0 ? fd : ds_incoming_append(&req->incoming, fd);
        if (rc < 0)
            return rc == -EINVAL ? -EIO : rc;
    }
    return 0;
}

static void
reply_completed(struct ds_request *req, const struct ds_object *object)
{
    ds_autobuf path = DS_BUF_INIT, out = DS_BUF_INIT;
    ds_buf_addf(&path, "%s/%s", req->bucket, req->key);
    ds_s3_begin_xml(&out, "CompleteMultipartUploadResult");
    ds_xml_add(&out, "Location", path.failed ? "" : path.data);
    ds_xml_add(&out, "Bucket", req->bucket);
    ds_xml_add(&out, "Key", req->key);
    ds_xml_add(&out, "ETag", object->etag);
    ds_s3_reply_xml(req, &out, "CompleteMultipartUploadResult");
}

static void
complete_with(struct ds_request *req, const struct ds_s3_upload *upload,
              const struct completion *completion)
{
    sf_autofree struct ds_s3_part *parts = NULL;
    size_t count = 0;
    char md5[33];
    int rc = ds_db_s3_parts(req->server->db, upload->id, &parts, &count);
    if (rc == 0 && ds_s3_begin_bytes(req, ds_wants_md5(req->server)))
        rc = assemble(req, completion, parts, count);
    if (rc == 0 && req->has_incoming)
        rc = ds_incoming_commit(&req->incoming, md5);
    if (req->reply.status != 0)
        return;
    if (rc < 0) {
        if (rc == -EINVAL)
            ds_s3_reply_error(req, "400", "One or more of the specified parts could not be found",
                              "InvalidPart");
        else
            ds_fail_errno(req, rc, "put the parts together");
        return;
    }
    struct ds_object row = {
        .bucket = upload->bucket,
        .name = upload->name,
        .owner = upload->owner,
        .mime = upload->mime,
        .cache = upload->cache,
        .user_meta = upload->user_meta,
        .size = req->incoming.size,
    };
    memcpy(row.version, req->incoming.version, sizeof row.version);
    ds_autoobject now = {0};
    if (!ds_upload_switch(req, &row, md5, &now))
        return;
    drop(req->server, upload->id);
    reply_completed(req, &now);
}

static void
complete(struct ds_request *req)
{
    ds_autos3upload upload = {0};
    if (!require_upload(req, &upload) || !ds_check_upload(req, true))
        return;
    sf_autofree struct completion *completion = calloc(1, sizeof *completion);
    int rc = completion ? ds_xml_read(req->text.data ? req->text.data : "", req->text.len,
                                      take_element, completion)
                        : -ENOMEM;
    if (rc == -ENOMEM)
        ds_fail_errno(req, rc, "read the parts");
    else if (rc < 0 || completion->count == 0)
        ds_s3_reply_error(req, "400",
                          "The XML you provided was not well-formed or did not "
                          "validate against our published schema",
                          "MalformedXML");
    else
        complete_with(req, &upload, completion);
}

static void
abort_upload(struct ds_request *req)
{
    ds_autos3upload upload = {0};
    if (!require_upload(req, &upload))
        return;
    int rc = drop(req->server, upload.id);
    if (rc < 0)
        ds_fail_errno(req, rc, "remove the upload");
    else
        ds_s3_reply_empty(req, 200);
}

/* ---- the uploads of a bucket ---- */

struct uploads {
    size_t count, limit;
    struct ds_buf out;
    char *last_key;
    char last_id[DS_UUID_SIZE];
};

static void
take_upload(void *arg, const struct ds_s3_upload *upload)
{
    struct uploads *uploads = arg;
    if (uploads->count++ >= uploads->limit)
        return; /* it only tells that there is more */
    struct ds_buf *out = &uploads->out;
    ds_buf_adds(out, "<Upload>");
    ds_xml_add(out, "Key", upload->name);
    ds_xml_add_time(out, "Initiated", upload->created_ms);
    ds_xml_add(out, "UploadId", upload->id);
    ds_xml_add(out, "StorageClass", "STANDARD");
    ds_buf_adds(out, "</Upload>");
    if (uploads->count < uploads->limit)
        return;
    uploads->last_key = strdup(upload->name);
    memcpy(uploads->last_id, upload->id, sizeof uploads->last_id);
}

static void
list_uploads(struct ds_request *req)
{
    ds_autobucket bucket = {0};
    if (!ds_require_bucket(req, &bucket))
        return;
    const char *prefix = ds_request_query(req, "prefix");
    const char *after = ds_request_query(req, "key-marker");
    const char *id = ds_request_query(req, "upload-id-marker");
    const char *text = ds_request_query(req, "max-uploads");
    int max = text ? ds_s3_number(text, UPLOADS_MAX) : -1;
    struct uploads uploads = {.limit = max > 0 ? (size_t)max : UPLOADS_MAX};
    prefix = prefix ? prefix : "";
    /* Without an id the listing goes on behind all uploads of the key. */
    int rc = ds_db_s3_list(req->server->db, req->bucket, prefix, after ? after : "",
                           id && *id ? id : "\x7f", (int)uploads.limit + 1, take_upload, &uploads);
    bool more = uploads.count > uploads.limit && uploads.last_key;
    if (rc < 0 || uploads.out.failed) {
        ds_fail_errno(req, rc < 0 ? rc : -ENOMEM, "list the uploads");
    } else {
        ds_autobuf out = DS_BUF_INIT;
        ds_s3_begin_xml(&out, "ListMultipartUploadsResult");
        ds_xml_add(&out, "Name", req->bucket);
        ds_xml_add(&out, "Prefix", prefix);
        if (more) {
            ds_xml_add(&out, "NextKeyMarker", uploads.last_key);
            ds_xml_add(&out, "NextUploadIdMarker", uploads.last_id);
        }
        ds_buf_add(&out, uploads.out.data, uploads.out.len);
        ds_xml_add(&out, "IsTruncated", more ? "true" : "false");
        ds_xml_add_number(&out, "MaxUploads", (long long)uploads.limit);
        ds_xml_add_number(&out, "KeyCount", (long long)(more ? uploads.limit : uploads.count));
        ds_s3_reply_xml(req, &out, "ListMultipartUploadsResult");
    }
    free(uploads.last_key);
    ds_buf_fini(&uploads.out);
}

const struct ds_route ds_route_s3_create_upload = {
    .kind = "s3-create-upload", .s3 = true, .begin = ds_s3_enter, .finish = create};
const struct ds_route ds_route_s3_part = {.kind = "s3-part",
                                          .body = DS_BODY_OBJECT,
                                          .s3 = true,
                                          .begin = part_begin,
                                          .take = ds_s3_take_bytes,
                                          .finish = part_finish};
const struct ds_route ds_route_s3_complete = {.kind = "s3-complete",
                                              .body = DS_BODY_JSON,
                                              .s3 = true,
                                              .begin = ds_s3_enter,
                                              .finish = complete};
const struct ds_route ds_route_s3_abort = {
    .kind = "s3-abort", .s3 = true, .begin = ds_s3_enter, .finish = abort_upload};
const struct ds_route ds_route_s3_list_parts = {
    .kind = "s3-list-parts", .s3 = true, .begin = ds_s3_enter, .finish = list_parts};
const struct ds_route ds_route_s3_list_uploads = {
    .kind = "s3-list-uploads", .s3 = true, .begin = ds_s3_enter, .finish = list_uploads};
