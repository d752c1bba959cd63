/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "reply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "json.h"
#include "s3.h"

#define JSON_TYPE "application/json; charset=utf-8"

/* Room of the service's index row, by which it limits the length of a key. */
#define KEY_MAX 2690

static const struct {
    int status;
    const char *status_code, *error, *message, *code;
} failures[] = {
    [DS_FAIL_NO_AUTH] = {400, "400", "Error", "headers must have required property 'authorization'",
                         "InvalidRequest"},
    [DS_FAIL_BAD_ROLE] = {500, "500", "DatabaseError", "database error, code: 22023",
                          "DatabaseError"},
    [DS_FAIL_RLS] = {400, "403", "Unauthorized", "new row violates row-level security policy",
                     "AccessDenied"},
    [DS_FAIL_DENIED] = {400, "403", "Unauthorized", "Access denied", "AccessDenied"},
    [DS_FAIL_NO_BUCKET] = {400, "404", "Bucket not found", "Bucket not found", "NoSuchBucket"},
    [DS_FAIL_NO_KEY] = {400, "404", "not_found", "Object not found", "NoSuchKey"},
    [DS_FAIL_NO_RELATED] = {400, "404", "InvalidRequest", "The related resource does not exist",
                            "InvalidRequest"},
    [DS_FAIL_KEY_EXISTS] = {400, "409", "Duplicate", "The resource already exists",
                            "KeyAlreadyExists"},
    [DS_FAIL_RESOURCE_EXISTS] = {400, "409", "Duplicate", "The resource already exists",
                                 "ResourceAlreadyExists"},
    [DS_FAIL_BUCKET_EXISTS] = {400, "409", "Duplicate", "The resource already exists",
                               "BucketAlreadyExists"},
    [DS_FAIL_BUCKET_NAME] = {400, "400", "Invalid Input", "Bucket name invalid",
                             "InvalidBucketName"},
    [DS_FAIL_BUCKET_NOT_EMPTY] = {400, "409", "ResourceNotEmpty",
                                  "The bucket you tried to delete is not empty",
                                  "ResourceNotEmpty"},
    /* Status and code are the service's; its words are not known. */
    [DS_FAIL_BUCKET_AWAITED] = {400, "409", "ResourceReferenced",
                                "The bucket has an unfinished multipart upload",
                                "ResourceReferenced"},
    [DS_FAIL_TOO_LARGE] = {400, "413", "Payload too large",
                           "The object exceeded the maximum allowed size", "EntityTooLarge"},
    [DS_FAIL_RANGE] = {416, "416", "invalid_range", "invalid range provided", "InvalidRange"},
    [DS_FAIL_METADATA] = {400, "400", "InvalidParameter", "invalid input syntax for type json",
                          "InvalidParameter"},
    [DS_FAIL_CURSOR] = {400, "400", "InvalidParameter", "Invalid Parameter continuation token",
                        "InvalidParameter"},
    [DS_FAIL_ROW_SIZE] = {500, "500", "DatabaseError", "database error, code: 54000",
                          "DatabaseError"},
    [DS_FAIL_JSON_EMPTY] = {400, "400", "FastifyError",
                            "Body cannot be empty when content-type is set to 'application/json'",
                            "InvalidRequest"},
    [DS_FAIL_JSON_BAD] = {400, "400", "FastifyError",
                          "Body is not valid JSON but content-type is set to 'application/json'",
                          "InvalidRequest"},
    [DS_FAIL_NOT_OBJECT] = {400, "400", "Error", "body must be object", "InvalidRequest"},
    [DS_FAIL_INTERNAL] = {500, "500", "Internal", "Internal Server Error", "InternalError"},
};

void
ds_reply_fini(struct ds_reply *reply)
{
    free(reply->body);
    if (reply->fd >= 0)
        close(reply->fd);
    for (size_t i = 0; i < reply->header_count; i++)
        free(reply->headers[i].value);
    json_decref(reply->metadata);
    if (reply->reader)
        reply->reader_free(reply->reader);
    *reply = (struct ds_reply){.fd = -1};
}

void
ds_reply_header(struct ds_request *req, const char *name, const char *value)
{
    struct ds_reply *reply = &req->reply;
    if (reply->header_count == DS_REPLY_HEADERS)
        return;
    char *copy = strdup(value);
    if (!copy)
        return;
    reply->headers[reply->header_count].name = name;
    reply->headers[reply->header_count].value = copy;
    reply->header_count++;
}

void
ds_reply_json(struct ds_request *req, int status, struct ds_buf *body)
{
    ds_reply_fini(&req->reply);
    req->reply.body = ds_buf_take(body, &req->reply.body_len);
    if (!req->reply.body) {
        req->reply.status = 500; /* no memory, not even for a body */
        return;
    }
    req->reply.status = status;
    ds_reply_header(req, "content-type", JSON_TYPE);
}

void
ds_reply_text(struct ds_request *req, int status, const char *type, const char *body)
{
    ds_reply_fini(&req->reply);
    req->reply.body = strdup(body);
    req->reply.body_len = req->reply.body ? strlen(body) : 0;
    req->reply.status = status;
    if (*type)
        ds_reply_header(req, "content-type", type);
}

static void
reply_error_n(struct ds_request *req, int status, const char *status_code, const char *error,
              const char *message, size_t message_len, const char *code)
{
    if (req->route && req->route->s3) {
        ds_s3_reply_error(req, status_code, message, code);
        return;
    }
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "{\"statusCode\":");
    ds_buf_add_json(&out, status_code);
    ds_buf_adds(&out, ",\"error\":");
    ds_buf_add_json(&out, error);
    ds_buf_adds(&out, ",\"message\":");
    ds_buf_add_json_n(&out, message, message_len);
    ds_buf_adds(&out, ",\"code\":");
    ds_buf_add_json(&out, code);
    ds_buf_adds(&out, "}");
    ds_reply_json(req, status, &out);
}

void
ds_reply_error(struct ds_request *req, int status, const char *status_code, const char *error,
               const char *message, const char *code)
{
    reply_error_n(req, status, status_code, error, message, strlen(message), code);
}

void
ds_fail(struct ds_request *req, enum ds_failure failure)
{
    ds_reply_error(req, failures[failure].status, failures[failure].status_code,
                   failures[failure].error, failures[failure].message, failures[failure].code);
}

void
ds_fail_errno(struct ds_request *req, int code, const char *what)
{
    fprintf(stderr, "supafs-devserver: %s %s: %s: %s\n", req->method,
            req->decoded ? req->decoded : req->path, what, strerror(-code));
    ds_fail(req, DS_FAIL_INTERNAL);
}

void
ds_reply_schema(struct ds_request *req, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    sf_autofree char *message = NULL;
    if (vasprintf(&message, fmt, args) < 0)
        message = NULL;
    va_end(args);
    ds_reply_error(req, 400, "400", "Error", message ? message : "", "InvalidRequest");
}

void
ds_reply_invalid_key(struct ds_request *req, const char *key, size_t len)
{
    ds_autobuf message = DS_BUF_INIT;
    ds_buf_adds(&message, "Invalid key: ");
    ds_buf_add(&message, key, len);
    if (message.failed) {
        ds_fail(req, DS_FAIL_INTERNAL);
        return;
    }
    reply_error_n(req, 400, "400", "InvalidKey", message.data, message.len, "InvalidKey");
}

void
ds_reply_invalid_mime(struct ds_request *req, const char *mime)
{
    sf_autofree char *message = NULL;
    if (asprintf(&message, "mime type %s is not supported", mime) < 0)
        message = NULL;
    ds_reply_error(req, 400, "415", "invalid_mime_type", message ? message : "", "InvalidMimeType");
}

/* ---- checks ---- */

/* The key that a gateway turns into a token when no token was sent; false for a bad key. */
static bool
identify_by_apikey(struct ds_request *req, const char *apikey)
{
    const struct ds_project *project = req->server->project;
    if (strcmp(apikey, project->secret_key) == 0) {
        req->who.role = DS_ROLE_SERVICE;
    } else if (strcmp(apikey, project->publishable_key) == 0) {
        req->who.role = DS_ROLE_ANON;
    } else {
        ds_reply_text(req, 401, "application/json",
                      "{\"message\":\"Invalid API key\",\"hint\":\"Double check your Supabase "
                      "`anon` or `service_role` API key.\"}");
        return false;
    }
    req->authenticated = true;
    return true;
}

/* "Bearer " in any case, or nothing, before the token. */
static const char *
skip_bearer(const char *header)
{
    if (strncasecmp(header, "bearer", 6) != 0 || (header[6] != ' ' && header[6] != '\t'))
        return header;
    return header + 6 + strspn(header + 6, " \t");
}

int
ds_identify(struct ds_request *req, const char **problem)
{
    const char *header = ds_request_header(req, "authorization");
    const char *apikey = ds_request_header(req, "apikey");
    req->who = (struct ds_identity){.role = DS_ROLE_ANON};
    if (req->plan.expired) {
        *problem = "\"exp\" claim timestamp check failed";
        return -EACCES;
    }
    if (req->plan.anon)
        return 0;
    if (!header && apikey && strncmp(apikey, "sb_", 3) == 0)
        return identify_by_apikey(req, apikey) ? 0 : -EKEYREJECTED;
    if (!header)
        return -ENOKEY;
    int rc = ds_auth_verify(req->server->auth, skip_bearer(header), &req->who, problem);
    req->authenticated = rc == 0;
    return rc;
}

bool
ds_require_auth(struct ds_request *req)
{
    const char *problem = NULL;
    int rc = ds_identify(req, &problem);
    if (rc == 0) {
        if (req->who.role == DS_ROLE_UNKNOWN)
            ds_fail(req, DS_FAIL_BAD_ROLE);
        return req->who.role != DS_ROLE_UNKNOWN;
    }
    if (rc == -EKEYREJECTED)
        return false;
    if (rc == -ENOKEY) {
        if (req->route->auth_bare)
            ds_reply_error(req, 400, "403", "Unauthorized", "Invalid Compact JWS", "AccessDenied");
        else if (!req->route->auth_optional)
            ds_fail(req, DS_FAIL_NO_AUTH);
        return req->route->auth_optional;
    }
    if (rc != -EACCES) {
        ds_fail_errno(req, rc, "check the token");
        return false;
    }
    if (!req->route->auth_optional)
        ds_reply_error(req, 400, "403", "Unauthorized", problem, "AccessDenied");
    return req->route->auth_optional;
}

bool
ds_is_service(const struct ds_request *req)
{
    return req->who.role == DS_ROLE_SERVICE;
}

bool
ds_require_bucket(struct ds_request *req, struct ds_bucket *bucket)
{
    int rc = ds_db_bucket_get(req->server->db, req->bucket, bucket);
    if (rc == -ENOENT)
        ds_fail(req, DS_FAIL_NO_BUCKET);
    else if (rc < 0)
        ds_fail_errno(req, rc, "look up the bucket");
    return rc == 0;
}

bool
ds_require_key(struct ds_request *req, const char *key, size_t len)
{
    if (ds_key_valid(key, len))
        return true;
    ds_reply_invalid_key(req, key, len);
    return false;
}

/* What the service's database and file backend refuse of a valid key. */
bool
ds_require_storable(struct ds_request *req, const char *bucket, const char *key)
{
    if (strlen(key) > KEY_MAX) {
        ds_fail(req, DS_FAIL_ROW_SIZE);
        return false;
    }
    if (ds_key_has_dots(key)) {
        char version[DS_UUID_SIZE] = "";
        ds_uuid_new(version);
        ds_autobuf path = DS_BUF_INIT;
        ds_buf_addf(&path,
                    "supa-storage-bucket/supafs-devserver/%s/%s/%s contains dot path segment",
                    bucket, key, version);
        if (path.failed)
            ds_fail(req, DS_FAIL_INTERNAL);
        else
            ds_reply_invalid_key(req, path.data, path.len);
        return false;
    }
    if (ds_key_too_long_for_file(key)) {
        ds_fail(req, DS_FAIL_INTERNAL);
        return false;
    }
    return true;
}

json_t *
ds_require_json(struct ds_request *req)
{
    const char *type = ds_request_header(req, "content-type");
    bool is_json = type && strncasecmp(type, "application/json", 16) == 0;
    json_t *json = NULL;
    if (is_json && req->text.len == 0) {
        ds_fail(req, DS_FAIL_JSON_EMPTY);
    } else if (is_json) {
        json = json_loadb(req->text.data, req->text.len, JSON_DECODE_ANY, NULL);
        if (!json)
            ds_fail(req, DS_FAIL_JSON_BAD);
    } else {
        ds_fail(req, DS_FAIL_NOT_OBJECT);
    }
    if (json && !json_is_object(json)) {
        json_decref(json);
        json = NULL;
        ds_fail(req, DS_FAIL_NOT_OBJECT);
    }
    return json;
}

bool
ds_check_no_body(struct ds_request *req)
{
    const char *type = ds_request_header(req, "content-type");
    if (!type || strncasecmp(type, "application/json", 16) != 0 || req->text.len > 0)
        return true;
    ds_fail(req, DS_FAIL_JSON_EMPTY);
    return false;
}

bool
ds_check_string(struct ds_request *req, const json_t *value, const char *path)
{
    if (!value || json_is_string(value))
        return true;
    ds_reply_schema(req, "%s must be string", path);
    return false;
}

/* ---- pieces of JSON ---- */

void
ds_write_metadata(struct ds_buf *out, const struct ds_object *object,
                  const struct ds_fault_plan *plan)
{
    int64_t size = (int64_t)object->size;
    if (plan && plan->lies & DS_LIE_LIST)
        size = size + plan->size_delta < 0 ? 0 : size + plan->size_delta;
    ds_buf_adds(out, "{\"eTag\":");
    ds_buf_add_json(out, plan && plan->etag[0] ? plan->etag : object->etag);
    ds_buf_addf(out, ",\"size\":%lld,\"mimetype\":", (long long)size);
    ds_buf_add_json(out, object->mime);
    ds_buf_adds(out, ",\"cacheControl\":");
    ds_buf_add_json(out, object->cache);
    ds_buf_adds(out, ",\"lastModified\":");
    ds_buf_add_json_time(out, object->modified_ms);
    ds_buf_addf(out, ",\"contentLength\":%lld,\"httpStatusCode\":200", (long long)size);
    if (object->robots) {
        ds_buf_adds(out, ",\"xRobotsTag\":");
        ds_buf_add_json(out, object->robots);
    }
    ds_buf_adds(out, "}");
}

void
ds_write_row(struct ds_buf *out, const struct ds_object *object, const struct ds_fault_plan *plan)
{
    const char *owner = object->owner ? object->owner : "";
    ds_buf_adds(out, "\"name\":");
    ds_buf_add_json(out, object->name);
    ds_buf_adds(out, ",\"bucket_id\":");
    ds_buf_add_json(out, object->bucket);
    ds_buf_adds(out, ",\"owner\":");
    ds_buf_add_json(out, ds_is_uuid(owner) ? owner : "");
    ds_buf_adds(out, ",\"owner_id\":");
    ds_buf_add_json(out, owner);
    ds_buf_adds(out, ",\"version\":");
    ds_buf_add_json(out, object->version);
    ds_buf_adds(out, ",\"id\":");
    ds_buf_add_json(out, object->id);
    ds_buf_adds(out, ",\"updated_at\":");
    ds_buf_add_json_time(out, object->updated_ms);
    ds_buf_adds(out, ",\"created_at\":");
    ds_buf_add_json_time(out, object->created_ms);
    ds_buf_adds(out, ",\"last_accessed_at\":");
    ds_buf_add_json_time(out, object->accessed_ms);
    ds_buf_adds(out, ",\"metadata\":");
    ds_write_metadata(out, object, plan);
    ds_buf_adds(out, ",\"user_metadata\":");
    ds_buf_adds(out, object->user_meta ? object->user_meta : "null");
}

char *
ds_read_metadata(const char *text, size_t len, bool *fine)
{
    *fine = true;
    ds_autojson *json = json_loadb(text, len, JSON_DECODE_ANY, NULL);
    if (!json)
        return NULL;
    *fine = !json_is_string(json) && !json_is_array(json);
    return json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
}

char *
ds_user_metadata(const struct ds_request *req, bool *fine)
{
    *fine = true;
    const char *header = ds_request_header(req, "x-metadata");
    size_t len = 0;
    sf_autofree char *text = header ? ds_base64_decode(header, strlen(header), &len) : NULL;
    return text ? ds_read_metadata(text, len, fine) : NULL;
}

bool
ds_wants_md5(struct ds_server *server)
{
    return atomic_load(&server->pace->etag_style) == DS_ETAG_MD5;
}

bool
ds_make_etag(struct ds_server *server, const char *md5, uint64_t size, char **ret)
{
    int n;
    if (*md5 && ds_wants_md5(server)) {
        n = asprintf(ret, "\"%s\"", md5);
    } else {
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        /* Milliseconds with their fraction in hex, as the service's runtime prints a double. */
        unsigned long long ms =
            (unsigned long long)ts.tv_sec * 1000 + (unsigned)ts.tv_nsec / 1000000;
        unsigned fraction = (unsigned)((double)(ts.tv_nsec % 1000000) / 1e6 * 4096);
        n = asprintf(ret, "\"%llx.%03x-%llx\"", ms, fraction, (unsigned long long)size);
    }
    if (n < 0)
        *ret = NULL;
    return n >= 0;
}
