/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "provider.h"
#include "reply.h"
#include "s3.h"

/* Routes of a project that this server does not have: honest 501 instead of a made-up answer. */
static void
not_here(struct ds_request *req)
{
    sf_autofree char *message = NULL;
    if (asprintf(&message, "Route %s:%s is not in supafs-devserver", req->method, req->target) < 0)
        message = NULL;
    ds_reply_error(req, 501, "501", "Not Implemented", message ? message : "", "NotImplemented");
}

static void
not_found(struct ds_request *req, bool as_string)
{
    sf_autofree char *shown = NULL;
    if (asprintf(&shown, "Route %s:%s%s%s not found", req->method, req->path,
                 *req->query ? "?" : "", req->query) < 0)
        shown = NULL;
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "{\"message\":");
    ds_buf_add_json(&out, shown ? shown : "");
    ds_buf_adds(&out, as_string ? ",\"error\":\"Not Found\",\"statusCode\":\"404\","
                                  "\"code\":\"InvalidRequest\"}"
                                : ",\"error\":\"Not Found\",\"statusCode\":404}");
    ds_reply_text(req, 404, as_string ? "application/json" : "application/json; charset=utf-8",
                  out.data ? out.data : "");
}

static void
bad_url(struct ds_request *req)
{
    sf_autofree char *message = NULL;
    if (asprintf(&message, "'%s%s%s' is not a valid url component", req->path,
                 *req->query ? "?" : "", req->query) < 0)
        message = NULL;
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "{\"error\":\"Bad Request\",\"code\":\"FST_ERR_BAD_URL\",\"message\":");
    ds_buf_add_json(&out, message ? message : "");
    ds_buf_adds(&out, ",\"statusCode\":400}");
    ds_reply_text(req, 400, "application/json", out.data ? out.data : "");
}

/* "word/" at the start: goes behind it. */
static bool
skip_word(const char **rest, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*rest, word, n) != 0 || (*rest)[n] != '/')
        return false;
    *rest += n + 1;
    return true;
}

static bool
decode(struct ds_request *req, const char *text, size_t len, char **ret, size_t *ret_len)
{
    int rc = ds_percent_decode(text, len, ret, ret_len);
    if (rc == -EILSEQ)
        bad_url(req);
    else if (rc < 0)
        ds_fail_errno(req, rc, "decode the path");
    return rc == 0;
}

bool
ds_route_match_bucket(struct ds_request *req, const char *rest)
{
    size_t len = strlen(rest), n;
    if (len == 0 || strchr(rest, '/'))
        return false;
    return decode(req, rest, len, &req->bucket, &n);
}

bool
ds_route_match_object(struct ds_request *req, const char *rest)
{
    const char *slash = strchr(rest, '/');
    if (!slash || slash == rest)
        return false;
    size_t n;
    return decode(req, rest, (size_t)(slash - rest), &req->bucket, &n) &&
           decode(req, slash + 1, strlen(slash + 1), &req->key, &req->key_len);
}

static const struct ds_route *
find_bucket_route(struct ds_request *req, const char *rest)
{
    const char *m = req->method;
    bool read = strcmp(m, "GET") == 0 || strcmp(m, "HEAD") == 0;
    if (*rest == '\0') {
        if (read)
            return &ds_route_bucket_list;
        return strcmp(m, "POST") == 0 ? &ds_route_bucket_create : NULL;
    }
    if (strcmp(m, "POST") == 0) {
        size_t len = strlen(rest), n;
        static const char tail[] = "/empty";
        size_t id_len = len - (sizeof tail - 1);
        if (len < sizeof tail || strcmp(rest + id_len, tail) != 0 || memchr(rest, '/', id_len))
            return NULL;
        return decode(req, rest, id_len, &req->bucket, &n) ? &ds_route_bucket_empty : NULL;
    }
    if (!ds_route_match_bucket(req, rest))
        return NULL;
    if (read)
        return &ds_route_bucket_get;
    if (strcmp(m, "PUT") == 0)
        return &ds_route_bucket_update;
    return strcmp(m, "DELETE") == 0 ? &ds_route_bucket_delete : NULL;
}

/* Try a fixed word first and fall back to the short route, as the service's router does. */
static const struct ds_route *
find_read_route(struct ds_request *req, const char *rest)
{
    const char *r = rest;
    if (skip_word(&r, "authenticated") && ds_route_match_object(req, r))
        return &ds_route_download;
    r = rest;
    if (skip_word(&r, "public") && ds_route_match_object(req, r))
        return &ds_route_download_public;
    r = rest;
    if (skip_word(&r, "info")) {
        const char *word = r;
        if (skip_word(&r, "authenticated") && ds_route_match_object(req, r))
            return &ds_route_info;
        r = word;
        if (skip_word(&r, "public") && ds_route_match_object(req, r))
            return &ds_route_info_public;
        if (ds_route_match_object(req, word))
            return &ds_route_info_short;
    }
    r = rest;
    if (skip_word(&r, "sign") && ds_route_match_object(req, r))
        return &ds_route_download_signed;
    return ds_route_match_object(req, rest) ? &ds_route_download_short : NULL;
}

static const struct ds_route *
find_post_route(struct ds_request *req, const char *rest)
{
    const char *r = rest;
    if (strcmp(rest, "move") == 0)
        return &ds_route_move;
    if (strcmp(rest, "copy") == 0)
        return &ds_route_copy;
    if (skip_word(&r, "list-v2") && ds_route_match_bucket(req, r))
        return &ds_route_list;
    r = rest;
    if (skip_word(&r, "list") && ds_route_match_bucket(req, r))
        return &ds_route_list_v1;
    r = rest;
    if (skip_word(&r, "sign")) {
        if (ds_route_match_bucket(req, r))
            return &ds_route_sign_many;
        if (ds_route_match_object(req, r))
            return &ds_route_sign;
    }
    r = rest;
    if (skip_word(&r, "upload") && skip_word(&r, "sign") && ds_route_match_object(req, r))
        return &ds_route_sign_upload;
    return ds_route_match_object(req, rest) ? &ds_route_upload : NULL;
}

static const struct ds_route *
find_object_route(struct ds_request *req, const char *rest)
{
    const char *m = req->method, *r = rest;
    if (strcmp(m, "GET") == 0 || strcmp(m, "HEAD") == 0)
        return find_read_route(req, rest);
    if (strcmp(m, "POST") == 0)
        return find_post_route(req, rest);
    if (strcmp(m, "PUT") == 0) {
        if (skip_word(&r, "upload") && skip_word(&r, "sign") && ds_route_match_object(req, r))
            return &ds_route_upload_signed;
        return ds_route_match_object(req, rest) ? &ds_route_update : NULL;
    }
    if (strcmp(m, "DELETE") == 0) {
        if (ds_route_match_bucket(req, rest))
            return &ds_route_delete_many;
        return ds_route_match_object(req, rest) ? &ds_route_delete : NULL;
    }
    return NULL;
}

/* "/upload/resumable" and what is below it. */
static const struct ds_route *
find_tus_route(const struct ds_request *req, const char *rest)
{
    const char *m = req->method;
    if (strcmp(m, "OPTIONS") == 0)
        return &ds_route_tus_options;
    if (strcmp(m, "POST") == 0)
        return &ds_route_tus_create;
    if (*rest == '\0')
        return NULL;
    if (strcmp(m, "PATCH") == 0)
        return &ds_route_tus_patch;
    if (strcmp(m, "HEAD") == 0)
        return &ds_route_tus_head;
    if (strcmp(m, "DELETE") == 0)
        return &ds_route_tus_delete;
    return strcmp(m, "PUT") == 0 ? &ds_route_tus_other : NULL;
}

static const struct ds_route *
find_route(struct ds_request *req)
{
    static const char *const absent[] = {"/render", "/vector", "/iceberg", "/cdn"};
    static const char tus[] = "/upload/resumable";
    const char *path = req->path;
    const char *rest = path + sizeof tus - 1;
    if (strncmp(path, tus, sizeof tus - 1) == 0 && (*rest == '\0' || *rest == '/'))
        return find_tus_route(req, rest);
    if (strncmp(path, "/s3", 3) == 0 && (path[3] == '\0' || path[3] == '/'))
        return ds_s3_find_route(req, path + 3);
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        size_t n = strlen(absent[i]);
        if (strncmp(path, absent[i], n) == 0 && (path[n] == '\0' || path[n] == '/')) {
            not_here(req);
            return NULL;
        }
    }
    if (strcmp(path, "/bucket") == 0)
        return find_bucket_route(req, "");
    if (strncmp(path, "/bucket/", 8) == 0)
        return find_bucket_route(req, path + 8);
    if (strncmp(path, "/object/", 8) == 0)
        return find_object_route(req, path + 8);
    return NULL;
}

/* /rest/v1/rpc/NAME or /rest/v1/NAME: the one other service of which a part is here. */
static const struct ds_route *
find_rest_route(struct ds_request *req)
{
    static const char prefix[] = "/rest/v1/";
    const char *name = req->target + sizeof prefix - 1;
    if (strncmp(req->target, prefix, sizeof prefix - 1) != 0)
        return NULL;
    bool function = skip_word(&name, "rpc");
    char *question = strchr(req->target, '?');
    size_t len = question ? (size_t)(question - name) : strlen(name);
    if (len == 0 || memchr(name, '/', len) || (function && question) ||
        !decode(req, name, len, &req->key, &req->key_len))
        return NULL;
    if (question) {
        *question = '\0';
        req->query = question + 1;
    }
    return function ? &ds_route_rpc : &ds_route_table;
}

/* What a gateway answers outside the storage service. */
static void
outside(struct ds_request *req)
{
    static const char *const services[] = {"/rest/", "/auth/", "/realtime/", "/functions/",
                                           "/graphql/"};
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        if (strncmp(req->target, services[i], strlen(services[i])) == 0) {
            not_here(req);
            return;
        }
    }
    ds_reply_text(req, 404, "application/json",
                  "{\"message\":\"no Route matched with those values\"}");
}

const char *
ds_route_resolve(struct ds_request *req)
{
    char *question = strchr(req->target, '?');
    size_t prefix = sizeof DS_API_PREFIX - 1;
    if (strncmp(req->target, DS_API_PREFIX "/", prefix + 1) != 0) {
        req->path = req->target;
        req->route = ds_provider_find_route(req);
        if (!req->route && req->reply.status == 0)
            req->route = find_rest_route(req);
        if (req->route)
            return req->route->kind;
        if (req->reply.status == 0)
            outside(req);
        return req->reply.status == 501 ? "unavailable" : "unknown";
    }
    req->path = req->target + prefix;
    if (question) {
        *question = '\0';
        req->query = question + 1;
    }
    size_t len;
    if (!decode(req, req->path, strlen(req->path), &req->decoded, &len))
        return "malformed";
    req->route = find_route(req);
    if (req->route && strcmp(req->method, "HEAD") == 0 && req->key && !req->route->s3)
        return "head";
    if (req->route)
        return req->route->kind;
    if (req->reply.status == 0)
        not_found(req,
                  strncmp(req->path, "/object", 7) == 0 || strncmp(req->path, "/bucket", 7) == 0);
    return req->reply.status == 501 ? "unavailable" : "unknown";
}
