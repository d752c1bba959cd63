/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"
#include "s3-xml.h"
#include "upload.h"

#define XML_TYPE    "application/xml; charset=utf-8"
#define META_PREFIX "x-amz-meta-"

/* ---- replies ---- */

void
ds_s3_begin_xml(struct ds_buf *out, const char *root)
{
    ds_buf_addf(out,
                "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>"
                "<%s xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
                root);
}

static void
reply_xml(struct ds_request *req, int status, struct ds_buf *out, const char *root)
{
    ds_buf_addf(out, "</%s>", root);
    ds_reply_fini(&req->reply);
    req->reply.body = ds_buf_take(out, &req->reply.body_len);
    req->reply.status = req->reply.body ? status : 500; /* no memory, not even for a body */
    if (req->reply.body)
        ds_reply_header(req, "content-type", XML_TYPE);
}

void
ds_s3_reply_xml(struct ds_request *req, struct ds_buf *out, const char *root)
{
    reply_xml(req, 200, out, root);
}

void
ds_s3_reply_error(struct ds_request *req, const char *status, const char *message, const char *code)
{
    ds_autobuf resource = DS_BUF_INIT, out = DS_BUF_INIT;
    ds_buf_adds(&resource, req->bucket ? req->bucket : "");
    if (req->key)
        ds_buf_addf(&resource, "/%s", req->key);
    ds_s3_begin_xml(&out, "Error");
    ds_xml_add(&out, "Resource", resource.failed ? "" : resource.data);
    ds_xml_add(&out, "Code", code);
    ds_xml_add(&out, "Message", message);
    reply_xml(req, (int)strtol(status, NULL, 10), &out, "Error");
}

void
ds_s3_reply_empty(struct ds_request *req, int status)
{
    ds_reply_text(req, status, "", "");
}

static bool
is_token(const char *text)
{
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("!#$%&'*+-.^_`|~", *text))
            return false;
    return true;
}

static bool
is_printable(const char *text)
{
    for (const char *s = text; *s; s++)
        if (*s < 0x20 || *s > 0x7e)
            return false;
    return *text != '\0';
}

/* An object's own metadata as headers. What does not fit into one is only counted. */
static void
add_metadata(struct ds_request *req, const struct ds_object *object)
{
    ds_autojson *meta = object->user_meta ? json_loads(object->user_meta, 0, NULL) : NULL;
    json_t *headers = json_object();
    const char *name;
    const json_t *value;
    unsigned missing = 0;
    json_object_foreach(meta, name, value)
    {
        sf_autofree char *header = NULL;
        const char *text = json_string_value(value);
        if (!text || !is_printable(text) || !is_token(name)) {
            missing++;
            continue;
        }
        if (asprintf(&header, META_PREFIX "%s", name) < 0) {
            header = NULL;
            continue;
        }
        for (char *s = header; *s; s++)
            *s = (char)tolower((unsigned char)*s);
        json_object_set_new(headers, header, json_string(text));
    }
    char count[16];
    snprintf(count, sizeof count, "%u", missing);
    if (missing > 0)
        json_object_set_new(headers, "x-amz-missing-meta", json_string(count));
    req->reply.metadata = headers;
}

void
ds_s3_object_headers(struct ds_request *req, const struct ds_object *object, const char *etag,
                     const char *mime, const char *cache)
{
    char date[DS_DATE_SIZE];
    ds_time_http(object->modified_ms, date);
    ds_reply_header(req, "cache-control", cache);
    ds_reply_header(req, "content-type", mime);
    ds_reply_header(req, "etag", etag);
    ds_reply_header(req, "last-modified", date);
    if (strcmp(req->method, "HEAD") == 0) {
        /* As the service's runtime prints a time: "Sat Nov 21 2026 04:12:22 GMT+0000 (...)". */
        time_t seconds = object->created_ms / 1000;
        struct tm tm;
        char created[80];
        strftime(created, sizeof created,
                 "%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)",
                 gmtime_r(&seconds, &tm));
        ds_reply_header(req, "created-at", created);
    }
    add_metadata(req, object);
}

/* ---- requests ---- */

/* Bytes of a header count as Latin-1, as in the service's runtime. */
static void
add_latin1(struct ds_buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        char two[2] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
        if (c < 0x80)
            ds_buf_add(out, text, 1);
        else
            ds_buf_add(out, two, 2);
    }
}

static enum MHD_Result
collect_metadata(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    size_t n = sizeof META_PREFIX - 1;
    if (strncasecmp(name, META_PREFIX, n) != 0 || !name[n])
        return MHD_YES;
    ds_autobuf key = DS_BUF_INIT, text = DS_BUF_INIT;
    add_latin1(&key, name + n);
    add_latin1(&text, value ? value : "");
    for (char *s = key.data; s && *s; s++)
        *s = (char)tolower((unsigned char)*s);
    if (!key.failed && !text.failed)
        json_object_set_new(cls, key.data, json_string(text.data ? text.data : ""));
    return MHD_YES;
}

char *
ds_s3_metadata(const struct ds_request *req)
{
    ds_autojson *meta = json_object();
    MHD_get_connection_values(req->conn, MHD_HEADER_KIND, collect_metadata, meta);
    return json_dumps(meta, JSON_COMPACT);
}

const char *
ds_s3_mime(const struct ds_request *req)
{
    const char *mime = ds_request_header(req, "content-type");
    return mime && *mime ? mime : "application/octet-stream";
}

const char *
ds_s3_cache(const struct ds_request *req)
{
    const char *cache = ds_request_header(req, "cache-control");
    return cache && *cache ? cache : "no-cache";
}

static bool
is_chunked(const struct ds_request *req)
{
    const char *hash = ds_request_header(req, "x-amz-content-sha256");
    const char *coding = ds_request_header(req, "content-encoding");
    return (hash && strncmp(hash, "STREAMING-", 10) == 0) ||
           (coding && strstr(coding, "aws-chunked"));
}

bool
ds_s3_length(const struct ds_request *req, uint64_t *ret)
{
    const char *length =
        ds_request_header(req, is_chunked(req) ? "x-amz-decoded-content-length" : "content-length");
    if (length)
        *ret = strtoull(length, NULL, 10);
    return length != NULL;
}

bool
ds_s3_begin_bytes(struct ds_request *req, bool hash)
{
    int rc = ds_incoming_init(&req->incoming, req->server->store, hash);
    if (rc < 0)
        ds_fail_errno(req, rc, "take an upload");
    else
        req->has_incoming = true;
    req->chunked = is_chunked(req);
    return rc == 0;
}

int
ds_s3_take_bytes(struct ds_request *req, const void *bytes, size_t len)
{
    if (!req->chunked)
        return ds_incoming_add(&req->incoming, bytes, len);
    const char *data = bytes, *piece;
    long n;
    while ((n = ds_s3_chunk_next(&req->chunk, &data, &len, &piece)) > 0) {
        int rc = ds_incoming_add(&req->incoming, piece, (size_t)n);
        if (rc < 0)
            return rc;
    }
    if (n < 0)
        ds_s3_reply_error(req, "400", "The request body is not in chunks as announced",
                          "IncompleteBody");
    return 0;
}

bool
ds_s3_end_bytes(struct ds_request *req)
{
    uint64_t length;
    bool known = ds_s3_length(req, &length);
    if (req->chunked && (!ds_s3_chunk_done(&req->chunk) || (known && length != req->incoming.size)))
        ds_s3_reply_error(req, "400", "The request body ended before all of its bytes had come",
                          "IncompleteBody");
    return req->reply.status == 0;
}

int
ds_s3_number(const char *text, int max)
{
    char *end;
    if (!text || !isdigit((unsigned char)*text))
        return -1;
    errno = 0;
    long n = strtol(text, &end, 10);
    return *end || errno || n > max ? -1 : (int)n;
}

/* ---- checks ---- */

bool
ds_s3_check_write(struct ds_request *req, const char *mime, uint64_t length)
{
    ds_autobucket bucket = {0};
    if (!ds_require_bucket(req, &bucket))
        return false;
    bool placeholder = ds_key_is_placeholder(req->key);
    if (!placeholder && bucket.mime_types) {
        ds_autojson *allowed = json_loads(bucket.mime_types, 0, NULL);
        if (json_array_size(allowed) > 0 && !ds_mime_allowed(bucket.mime_types, mime)) {
            ds_reply_invalid_mime(req, mime);
            return false;
        }
    }
    /* Not the limit of one request of the other routes: one of an object. */
    uint64_t limit =
        placeholder ? 0 : ds_pace_resumable_limit(req->server->pace, bucket.size_limit);
    if (length > limit) {
        ds_fail(req, DS_FAIL_TOO_LARGE);
        return false;
    }
    return ds_require_key(req, req->key, req->key_len) && ds_check_upload(req, true);
}
