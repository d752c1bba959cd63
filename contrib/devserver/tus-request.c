/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tus-request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"
#include "signed.h"
#include "tus-meta.h"
#include "upload.h"

void
ds_tus_request_free(struct ds_tus_request *tus)
{
    if (!tus)
        return;
    ds_tus_release(&tus->hold);
    ds_upload_fini(&tus->upload);
    free(tus);
}

/* ---- replies ---- */

static void
add_headers(struct ds_request *req)
{
    ds_reply_header(req, "access-control-allow-origin", "*");
    ds_reply_header(req, "access-control-expose-headers", DS_TUS_HEADERS);
    ds_reply_header(req, "tus-resumable", "1.0.0");
}

void
ds_tus_text(struct ds_request *req, int status, const char *text)
{
    ds_reply_text(req, status, "text/plain;charset=UTF-8", text);
    add_headers(req);
}

void
ds_tus_empty(struct ds_request *req, int status)
{
    if (status == 204) {
        ds_reply_fini(&req->reply);
        req->reply.status = status;
        add_headers(req);
    } else {
        ds_tus_text(req, status, "");
    }
}

void
ds_tus_number(struct ds_request *req, const char *name, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    ds_reply_header(req, name, text);
}

/* An error of the checks that other routes have too: here the status is the true one, and the body
 * is the message alone. */
void
ds_tus_as_text(struct ds_request *req)
{
    if (req->reply.status < 400 || !req->reply.body)
        return;
    ds_autojson *json = json_loadb(req->reply.body, req->reply.body_len, JSON_ALLOW_NUL, NULL);
    const char *status = json_string_value(json_object_get(json, "statusCode"));
    const char *message = json_string_value(json_object_get(json, "message"));
    if (status && message)
        ds_tus_text(req, (int)strtol(status, NULL, 10), message);
}

/* The end of an upload's life, while it is not complete. */
void
ds_tus_expires(struct ds_request *req, const struct ds_upload *upload, uint64_t offset)
{
    int64_t expiry = atomic_load(&req->server->pace->tus_expiry_ms);
    if (expiry <= 0 || (upload->length >= 0 && offset == (uint64_t)upload->length))
        return;
    char date[DS_DATE_SIZE];
    ds_time_http(upload->created_ms + expiry, date);
    ds_reply_header(req, "upload-expires", date);
}

void
ds_tus_lookup_failed(struct ds_request *req, int rc)
{
    if (rc == -ENOENT)
        ds_tus_text(req, 404, "The file for this url was not found\n");
    else if (rc == -ESTALE)
        ds_tus_text(req, 410, "The file for this url no longer exists\n");
    else
        ds_fail_errno(req, rc, "look up the upload");
}

/* ---- what every request is held against ---- */

/* A whole number without sign or leading zeros. */
static bool
is_count(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits < 16 && text[digits] == '\0' && (digits == 1 || text[0] != '0');
}

static bool
header_valid(struct ds_request *req, const char *name, const char *value)
{
    if (strcmp(name, "upload-offset") == 0 || strcmp(name, "upload-length") == 0)
        return is_count(value);
    if (strcmp(name, "upload-defer-length") == 0)
        return strcmp(value, "1") == 0;
    if (strcmp(name, "upload-metadata") == 0)
        return ds_tus_meta_valid(value);
    if (strcmp(name, "content-type") == 0)
        return strcmp(req->method, "PATCH") != 0 || strcmp(value, DS_TUS_TYPE) == 0;
    if (strcmp(name, "upload-concat") == 0)
        return strcmp(value, "partial") == 0 || strncmp(value, "final;", 6) == 0;
    return strcmp(value, "1.0.0") == 0; /* tus-resumable, tus-version */
}

static bool
check_headers(struct ds_request *req)
{
    static const char *const names[] = {"content-type",    "tus-resumable",       "tus-version",
                                        "upload-concat",   "upload-defer-length", "upload-length",
                                        "upload-metadata", "upload-offset"};
    ds_autobuf bad = DS_BUF_INIT;
    const char *value = ds_request_header(req, "tus-resumable");
    if (!value || !*value) {
        ds_reply_text(req, 412, "text/plain;charset=UTF-8", "Tus-Resumable Required\n");
        ds_reply_header(req, "tus-resumable", "1.0.0");
        return false;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if ((value = ds_request_header(req, names[i])) && !header_valid(req, names[i], value))
            ds_buf_addf(&bad, " %s", names[i]);
    if (bad.len == 0)
        return true;
    ds_buf_adds(&bad, "\n");
    sf_autofree char *text = NULL;
    if (asprintf(&text, "Invalid%s", bad.data ? bad.data : "") < 0)
        text = NULL;
    ds_reply_text(req, 400, "text/plain;charset=UTF-8", text ? text : "");
    ds_reply_header(req, "tus-resumable", "1.0.0");
    return false;
}

static bool
is_upsert(const struct ds_request *req)
{
    const char *upsert = ds_request_header(req, "x-upsert");
    return upsert && strcmp(upsert, "true") == 0;
}

uint64_t
ds_tus_header_number(const struct ds_request *req, const char *name)
{
    const char *value = ds_request_header(req, name);
    return value ? strtoull(value, NULL, 10) : 0;
}

/* Below /sign, where a signed token takes the place of the other. */
static bool
is_signed(const struct ds_request *req)
{
    static const char path[] = DS_TUS_PATH "/sign";
    size_t len = sizeof path - 1;
    return strncmp(req->path, path, len) == 0 && (req->path[len] == '\0' || req->path[len] == '/');
}

bool
ds_tus_enter(struct ds_request *req)
{
    return (is_signed(req) || ds_require_auth(req)) && check_headers(req);
}

bool
ds_tus_check_signature(struct ds_request *req)
{
    if (!is_signed(req))
        return true;
    const char *token = ds_request_header(req, "x-signature");
    const char *problem = NULL;
    struct ds_signed what = {0};
    if (!token || !*token)
        ds_tus_text(req, 400, "Missing x-signature header");
    else if (ds_signed_read(req, token, true, &what, &problem) < 0)
        ds_tus_text(req, 400, problem);
    req->who.role = DS_ROLE_SERVICE;
    memcpy(req->who.sub, what.owner, sizeof req->who.sub);
    return req->reply.status == 0;
}

/* Who has a signed token may do what it says, also replace what is there: nothing else is asked. */
bool
ds_tus_check_rights(struct ds_request *req)
{
    return is_signed(req) ? ds_tus_check_signature(req) : ds_check_upload(req, is_upsert(req));
}

/* The key's rules, of which the bucket's name is one here. */
bool
ds_tus_check_names(struct ds_request *req)
{
    size_t len = strlen(req->bucket);
    if (len > 100 || !ds_key_valid(req->bucket, len) || strchr(req->bucket, '/')) {
        ds_fail(req, DS_FAIL_BUCKET_NAME);
        return false;
    }
    return ds_require_key(req, req->key, req->key_len);
}

bool
ds_tus_request_new(struct ds_request *req)
{
    req->tus = calloc(1, sizeof *req->tus);
    if (!req->tus)
        ds_fail_errno(req, -ENOMEM, "take an upload");
    return req->tus != NULL;
}

/* ---- the lock ---- */

/* The holder's client gets the answer to what has come, and the connection ends. */
static void
on_taken(void *arg, uint64_t offset)
{
    struct ds_request *req = arg;
    char text[400];
    snprintf(text, sizeof text,
             "HTTP/1.1 204 No Content\r\naccess-control-allow-origin: *\r\n"
             "tus-resumable: 1.0.0\r\nupload-offset: %llu\r\nConnection: close\r\n\r\n",
             (unsigned long long)offset);
    ds_http_answer_for(req, 204, text);
}

bool
ds_tus_lock(struct ds_request *req, const char *version, bool yields)
{
    struct ds_tus_hold *hold = &req->tus->hold;
    hold->taken = on_taken;
    hold->arg = req;
    hold->offset = req->tus->offset;
    int rc = ds_tus_hold(req->server->tus, version, yields, hold);
    if (rc == -ETIMEDOUT)
        ds_tus_text(req, 503, "acquiring lock timeout");
    else if (rc < 0)
        ds_fail_errno(req, rc, "lock the upload");
    return rc == 0;
}

/* ---- bodies ---- */

/* How much of a body may come, by its announced length or by what is missing. */
bool
ds_tus_check_room(struct ds_request *req, int64_t bucket_limit)
{
    struct ds_tus_request *tus = req->tus;
    const char *header = ds_request_header(req, "content-length");
    uint64_t length = header ? strtoull(header, NULL, 10) : 0;
    bool deferred = tus->upload.length < 0;
    uint64_t end = deferred ? ds_pace_resumable_limit(req->server->pace, bucket_limit)
                            : (uint64_t)tus->upload.length;
    if (tus->offset > end || length > end - tus->offset) {
        ds_tus_text(req, 413, "upload's size exceeded\n");
        return false;
    }
    tus->room = header && !deferred ? length : end - tus->offset;
    return true;
}

int
ds_tus_take(struct ds_request *req, const void *bytes, size_t len)
{
    struct ds_tus_request *tus = req->tus;
    if (!tus->has_body)
        return 0;
    if (len > tus->room - tus->taken) {
        ds_tus_text(req, 413, "Maximum size exceeded\n");
        ds_tus_release(&tus->hold);
        return 0;
    }
    int rc = ds_tus_add(&tus->hold, bytes, len);
    if (rc == -ECANCELED)
        req->answered = true;
    if (rc == 0)
        tus->taken += len;
    return rc;
}

/* All bytes are there: the object appears, under the version that the upload's URL names. */
static bool
complete(struct ds_request *req)
{
    struct ds_tus_request *tus = req->tus;
    const struct ds_upload *upload = &tus->upload;
    char md5[33];
    int rc = ds_tus_finish(&tus->hold, upload, md5);
    if (rc < 0) {
        ds_tus_lookup_failed(req, rc == -ENOENT ? -ESTALE : rc);
        return false;
    }
    size_t len;
    sf_autofree char *mime = ds_tus_meta_get(upload->metadata, "contentType", &len);
    sf_autofree char *cache = ds_tus_meta_get(upload->metadata, "cacheControl", &len);
    struct ds_object row = {
        .bucket = upload->bucket,
        .name = upload->name,
        .owner = req->who.sub[0] ? req->who.sub : NULL,
        .mime = mime ? mime : (char *)(uintptr_t) "application/octet-stream",
        .cache = cache ? cache : (char *)(uintptr_t) "no-cache",
        .user_meta = req->user_meta,
        .size = (uint64_t)upload->length,
    };
    memcpy(row.version, upload->version, sizeof row.version);
    ds_autoobject now = {0};
    bool done = ds_upload_switch(req, &row, md5, &now);
    ds_tus_finished(req->server->tus, upload->version);
    return done;
}

bool
ds_tus_read_user_meta(struct ds_request *req, const char *metadata)
{
    size_t len = 0;
    bool fine = true;
    sf_autofree char *text = ds_tus_meta_get(metadata, "metadata", &len);
    req->user_meta = text ? ds_read_metadata(text, len, &fine) : NULL;
    if (!fine)
        ds_fail(req, DS_FAIL_METADATA);
    return fine;
}

/* Whether the body that has come is all of the object; false when a reply is set. */
bool
ds_tus_settle_body(struct ds_request *req, bool *final)
{
    struct ds_tus_request *tus = req->tus;
    if (!ds_tus_settle(&tus->hold)) {
        req->answered = true;
        return false;
    }
    tus->offset += tus->taken;
    *final = tus->upload.length >= 0 && tus->offset == (uint64_t)tus->upload.length;
    return !*final || complete(req);
}
