/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"
#include "rest.h"

/*
 * POST /rest/v1/rpc/NAME, as PostgREST answers it for the functions of contrib/sql, and
 * supafs_set_attrs itself. tests/integ/set-attrs-sql.sh and tables-both.sh compare the two.
 */

/* Sorted, as PostgREST names them. */
static const char *const parameters[] = {"p_bucket",   "p_cache_control", "p_metadata",
                                         "p_mimetype", "p_name",          "p_version"};
#define PARAMETERS (sizeof parameters / sizeof parameters[0])

/* ---- the call ---- */

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of the body's members, sorted; returns their number. */
static size_t
list_names(const json_t *body, struct ds_buf *out)
{
    sf_autofree const char **names = calloc(json_object_size(body) + 1, sizeof *names);
    size_t n = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, name, value)
    {
        if (names)
            names[n++] = name;
    }
    if (n > 0)
        qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 0; i < n; i++)
        ds_buf_addf(out, "%s%s", i > 0 ? ", " : "", names[i]);
    return n;
}

/* Whether the project has a function of that name. */
static bool
has_function(struct ds_request *req)
{
    const struct ds_pace *pace = req->server->pace;
    if (strcmp(req->key, "supafs_set_attrs") == 0)
        return atomic_load(&pace->rpc);
    return ds_function_find(req->key) && atomic_load(&pace->tables) != DS_TABLES_MISSING;
}

static const char *const *
parameters_of(struct ds_request *req, size_t *count)
{
    const struct ds_function *function = ds_function_find(req->key);
    *count = function ? 0 : PARAMETERS;
    while (function && *count < DS_PARAMETERS_MAX && function->parameters[*count])
        ++*count;
    return function ? function->parameters : parameters;
}

/* What PostgREST thinks was meant: it goes by likeness, which half of the names are. */
static void
write_hint(struct ds_request *req, const json_t *body, struct ds_buf *out)
{
    size_t count, known = 0;
    const char *const *names = parameters_of(req, &count);
    for (size_t i = 0; i < count; i++)
        known += json_object_get(body, names[i]) != NULL;
    if (known == 0 || 2 * known < count)
        return;
    ds_buf_addf(out, "Perhaps you meant to call the function public.%s", req->key);
    for (size_t i = 0; i < count; i++)
        ds_buf_addf(out, "%s%s%s", i == 0 ? "(" : ", ", names[i], i + 1 == count ? ")" : "");
}

static void
no_function(struct ds_request *req, const json_t *body)
{
    ds_autobuf names = DS_BUF_INIT, details = DS_BUF_INIT, message = DS_BUF_INIT;
    ds_autobuf hint = DS_BUF_INIT;
    size_t n = list_names(body, &names);
    const char *list = names.data ? names.data : "";
    if (n > 0) {
        ds_buf_addf(&message, "Could not find the function public.%s(%s) in the schema cache",
                    req->key, list);
        ds_buf_addf(&details, "Searched for the function public.%s with parameter%s %s", req->key,
                    n > 1 ? "s" : "", list);
    } else {
        ds_buf_addf(&message,
                    "Could not find the function public.%s without parameters in the schema cache",
                    req->key);
        ds_buf_addf(&details, "Searched for the function public.%s without parameters", req->key);
    }
    ds_buf_adds(&details, " or with a single unnamed json/jsonb parameter, but no matches were "
                          "found in the schema cache.");
    if (n > 0 && has_function(req))
        write_hint(req, body, &hint);
    ds_rest_error(req, 404, "PGRST202", details.data, hint.data, message.data);
}

static bool
parameters_fit(struct ds_request *req, const json_t *body)
{
    size_t count;
    const char *const *names = parameters_of(req, &count);
    for (size_t i = 0; i < count; i++)
        if (!json_object_get(body, names[i]))
            return false;
    return json_object_size(body) == count;
}

/* A function of the tables. */
static void
call(struct ds_request *req, const struct ds_function *function, const json_t *body)
{
    struct ds_rest rest;
    ds_rest_begin(&rest, req);
    if (ds_rest_may(&rest, "function", function->name))
        function->call(&rest, body);
    ds_rest_end(&rest);
}

/* A parameter of type text: what is no string becomes its JSON text. NULL stays null. */
static char *
text_parameter(const json_t *body, const char *name, bool *failed)
{
    const json_t *value = json_object_get(body, name);
    if (!value || json_is_null(value))
        return NULL;
    char *text = json_is_string(value) ? strdup(json_string_value(value))
                                       : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        *failed = true;
    return text;
}

static void
reply_updated(struct ds_request *req, const char *version, int64_t updated_ms)
{
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_addf(&out, "{\"updated\": %s, \"version\": ", updated_ms >= 0 ? "true" : "false");
    if (version)
        ds_buf_add_json(&out, version);
    else
        ds_buf_adds(&out, "null");
    if (updated_ms >= 0) {
        ds_buf_adds(&out, ", \"updated_at\": ");
        ds_buf_add_json_time(&out, updated_ms);
    }
    ds_buf_adds(&out, "}");
    ds_reply_text(req, 200, DS_REST_TYPE, out.data ? out.data : "");
    ds_reply_header(req, "content-range", "0-0/*");
}

/* Without a token it is one that is missing. */
static void
not_allowed(struct ds_request *req)
{
    bool anon = req->who.role == DS_ROLE_ANON;
    ds_rest_error(req, anon ? 401 : 403, "42501", NULL, NULL,
                  "new row violates row-level security policy for table \"objects\"");
    if (anon)
        ds_reply_header(req, "www-authenticate", "Bearer");
}

/* The update finds the row only where the policies let it, and the look after it likewise. */
static void
set_attrs(struct ds_request *req, struct ds_object *change)
{
    struct ds_db *db = req->server->db;
    const char *bucket = change->bucket ? change->bucket : "";
    const char *name = change->name ? change->name : "";
    bool seen = ds_may(req, bucket, name, DS_SELECT);
    int rc = -ENOENT;
    change->updated_ms = ds_now_ms();
    if (seen && ds_may(req, bucket, name, DS_UPDATE))
        rc = ds_db_object_set_attrs(db, change);
    if (rc == 0) {
        reply_updated(req, change->version, change->updated_ms);
        return;
    }
    ds_autoobject there = {0};
    if (rc == -ENOENT && seen)
        rc = ds_db_object_get(db, bucket, name, &there);
    if (rc < 0 && rc != -ENOENT)
        ds_fail_errno(req, rc, "change the attributes");
    else if (rc == 0 && strcmp(there.version, change->version) == 0)
        not_allowed(req);
    else
        reply_updated(req, rc == 0 ? there.version : NULL, -1);
}

static void
call_set_attrs(struct ds_request *req, const json_t *body)
{
    const json_t *metadata = json_object_get(body, "p_metadata");
    if (!json_is_null(metadata) && !json_is_object(metadata)) {
        ds_rest_error(req, 400, "22023", NULL, NULL, "p_metadata must be an object or null");
        return;
    }
    bool failed = false;
    ds_autoobject change = {
        .bucket = text_parameter(body, "p_bucket", &failed),
        .name = text_parameter(body, "p_name", &failed),
        .mime = text_parameter(body, "p_mimetype", &failed),
        .cache = text_parameter(body, "p_cache_control", &failed),
        .user_meta = text_parameter(body, "p_metadata", &failed),
    };
    sf_autofree char *version = text_parameter(body, "p_version", &failed);
    if (failed) {
        ds_fail_errno(req, -ENOMEM, "read the parameters");
        return;
    }
    /* What is longer than a version fits none. */
    if (version && strlen(version) < sizeof change.version)
        memcpy(change.version, version, strlen(version) + 1);
    set_attrs(req, &change);
}

static void
rpc(struct ds_request *req)
{
    if (!ds_rest_identify(req))
        return;
    if (strcmp(req->method, "POST") != 0) {
        ds_autobuf message = DS_BUF_INIT;
        ds_buf_addf(&message, "Cannot use the %s method on RPC", req->method);
        ds_rest_error(req, 405, "PGRST101", NULL, NULL, message.data);
        return;
    }
    if (ds_rest_loading(req))
        return;
    ds_autojson *body = req->text.len == 0
                            ? json_object()
                            : json_loadb(req->text.data, req->text.len, JSON_DECODE_ANY, NULL);
    if (!body)
        ds_rest_error(req, 400, "PGRST102", NULL, NULL, "Empty or invalid json");
    else if (!has_function(req) || !parameters_fit(req, body))
        no_function(req, body);
    else if (ds_function_find(req->key))
        call(req, ds_function_find(req->key), body);
    else
        call_set_attrs(req, body);
}

const struct ds_route ds_route_rpc = {
    .kind = "rpc", .body = DS_BODY_JSON, .auth_optional = true, .finish = rpc};
