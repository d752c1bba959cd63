/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX     1500

struct listing {
    struct ds_request *req;
    size_t prefix_len;
    struct ds_buf out;
};

/* An integer from `low` up; false = a reply is set. */
static bool
check_integer(struct ds_request *req, const json_t *json, const char *name, json_int_t low,
              size_t *ret)
{
    const json_t *value = json_object_get(json, name);
    if (!value)
        return true;
    if (!json_is_integer(value))
        ds_reply_schema(req, "body/%s must be integer", name);
    else if (json_integer_value(value) < low)
        ds_reply_schema(req, "body/%s must be >= %lld", name, (long long)low);
    else
        *ret = (size_t)json_integer_value(value);
    return req->reply.status == 0;
}

static bool
check_sort(struct ds_request *req, const json_t *sort, struct ds_list_v1_query *query)
{
    static const char *const columns[] = {"name", "created_at", "updated_at", "last_accessed_at"};
    static const enum ds_sort sorts[] = {DS_SORT_NAME, DS_SORT_CREATED, DS_SORT_UPDATED,
                                         DS_SORT_ACCESSED};
    const json_t *column = json_object_get(sort, "column"), *order = json_object_get(sort, "order");
    const char *text = column ? json_string_value(column) : "name";
    const char *direction = order ? json_string_value(order) : "asc";
    if (sort && !json_is_object(sort)) {
        ds_reply_schema(req, "body/sortBy must be object");
        return false;
    }
    if (!ds_check_string(req, column, "body/sortBy/column") ||
        !ds_check_string(req, order, "body/sortBy/order"))
        return false;
    bool known = false;
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        if (strcmp(columns[i], text) == 0) {
            query->sort = sorts[i];
            known = true;
        }
    }
    query->descending = strcmp(direction, "desc") == 0;
    if (!known)
        ds_reply_schema(req, "body/sortBy/column must be equal to one of the allowed values");
    else if (!query->descending && strcmp(direction, "asc") != 0)
        ds_reply_schema(req, "body/sortBy/order must be equal to one of the allowed values");
    return req->reply.status == 0;
}

static bool
check_body(struct ds_request *req, const json_t *json, struct ds_list_v1_query *query)
{
    const json_t *prefix = json_object_get(json, "prefix");
    const json_t *search = json_object_get(json, "search");
    if (!prefix) {
        ds_reply_schema(req, "body must have required property 'prefix'");
        return false;
    }
    if (!ds_check_string(req, prefix, "body/prefix") ||
        !check_integer(req, json, "limit", 1, &query->max_rows) ||
        !check_integer(req, json, "offset", 0, &query->offset) ||
        !check_sort(req, json_object_get(json, "sortBy"), query) ||
        !ds_check_string(req, search, "body/search"))
        return false;
    if (query->max_rows > LIMIT_MAX)
        query->max_rows = LIMIT_MAX;
    query->search = search ? json_string_value(search) : "";
    return true;
}

static void
add_row(void *arg, const struct ds_list_row *row)
{
    struct listing *listing = arg;
    struct ds_buf *out = &listing->out;
    ds_buf_adds(out, out->len > 1 ? ",{\"name\":" : "{\"name\":");
    if (!row->object) {
        ds_buf_add_json(out, row->folder);
        ds_buf_adds(out, ",\"id\":null,\"updated_at\":null,\"created_at\":null,"
                         "\"last_accessed_at\":null,\"metadata\":null}");
        return;
    }
    ds_buf_add_json(out, row->object->name + listing->prefix_len);
    ds_buf_adds(out, ",\"id\":");
    ds_buf_add_json(out, row->object->id);
    ds_buf_adds(out, ",\"updated_at\":");
    ds_buf_add_json_time(out, row->object->updated_ms);
    ds_buf_adds(out, ",\"created_at\":");
    ds_buf_add_json_time(out, row->object->created_ms);
    ds_buf_adds(out, ",\"last_accessed_at\":");
    ds_buf_add_json_time(out, row->object->accessed_ms);
    ds_buf_adds(out, ",\"metadata\":");
    ds_write_metadata(out, row->object, &listing->req->plan);
    ds_buf_adds(out, "}");
}

static void
list_v1(struct ds_request *req)
{
    ds_autojson *json = ds_require_json(req);
    struct ds_list_v1_query query = {.bucket = req->bucket, .max_rows = LIMIT_DEFAULT};
    if (!json || !check_body(req, json, &query) || !ds_require_auth(req))
        return;
    query.sight = ds_sight(req);
    const char *given = json_string_value(json_object_get(json, "prefix"));
    size_t len = strlen(given);
    sf_autofree char *prefix = NULL;
    if (asprintf(&prefix, "%s%s", given, len > 0 && given[len - 1] != '/' ? "/" : "") < 0) {
        prefix = NULL;
        ds_fail_errno(req, -ENOMEM, "list");
        return;
    }
    query.prefix = prefix;
    struct listing listing = {.req = req, .prefix_len = strlen(prefix), .out = DS_BUF_INIT};
    ds_buf_adds(&listing.out, "[");
    int rc = ds_db_object_list_v1(req->server->db, &query, add_row, &listing);
    ds_buf_adds(&listing.out, "]");
    if (rc < 0)
        ds_fail_errno(req, rc, "list");
    else
        ds_reply_json(req, 200, &listing.out);
    ds_buf_fini(&listing.out);
}

const struct ds_route ds_route_list_v1 = {
    .kind = "list-v1", .body = DS_BODY_JSON, .finish = list_v1};
