/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <ctype.h>
#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"

#define EMPTY_BATCH 500

/* ---- reading ---- */

static void
write_bucket(struct ds_buf *out, const struct ds_bucket *bucket, bool with_type)
{
    ds_buf_adds(out, "{\"id\":");
    ds_buf_add_json(out, bucket->id);
    ds_buf_adds(out, ",\"name\":");
    ds_buf_add_json(out, bucket->name);
    ds_buf_adds(out, ",\"owner\":");
    ds_buf_add_json(out, bucket->owner ? bucket->owner : "");
    ds_buf_addf(out, ",\"public\":%s", bucket->is_public ? "true" : "false");
    if (with_type)
        ds_buf_adds(out, ",\"type\":\"STANDARD\"");
    if (bucket->size_limit >= 0)
        ds_buf_addf(out, ",\"file_size_limit\":%lld", (long long)bucket->size_limit);
    else
        ds_buf_adds(out, ",\"file_size_limit\":null");
    ds_buf_adds(out, ",\"allowed_mime_types\":");
    ds_buf_adds(out, bucket->mime_types ? bucket->mime_types : "null");
    ds_buf_adds(out, ",\"created_at\":");
    ds_buf_add_json_time(out, bucket->created_ms);
    ds_buf_adds(out, ",\"updated_at\":");
    ds_buf_add_json_time(out, bucket->updated_ms);
    ds_buf_adds(out, "}");
}

/* The rows that the caller may see, of which the page is cut. */
struct bucket_page {
    const struct ds_request *req;
    int64_t skip, room; /* room -1 = all */
    struct ds_buf out;
};

static void
add_bucket(void *arg, const struct ds_bucket *bucket)
{
    struct bucket_page *page = arg;
    if (!ds_may(page->req, bucket->id, NULL, DS_SEE_BUCKET))
        return;
    if (page->skip > 0) {
        page->skip--;
        return;
    }
    if (page->room == 0)
        return;
    page->room -= page->room > 0;
    if (page->out.len > 1)
        ds_buf_adds(&page->out, ",");
    write_bucket(&page->out, bucket, true);
}

/* An integer parameter not below `low`; -1 when it is absent. */
static bool
query_integer(struct ds_request *req, const char *name, long long low, int64_t *ret)
{
    const char *text = ds_request_query(req, name);
    *ret = -1;
    if (!text)
        return true;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*text == '\0' || *end != '\0' || errno != 0) {
        ds_reply_schema(req, "querystring/%s must be integer", name);
        return false;
    }
    if (value < low) {
        ds_reply_schema(req, "querystring/%s must be >= %lld", name, low);
        return false;
    }
    *ret = value;
    return true;
}

static bool
query_word(struct ds_request *req, const char *name, const char *const *words, const char **ret)
{
    *ret = ds_request_query(req, name);
    if (!*ret)
        return true;
    for (size_t i = 0; words[i]; i++)
        if (strcmp(words[i], *ret) == 0)
            return true;
    ds_reply_schema(req, "querystring/%s must be equal to one of the allowed values", name);
    return false;
}

static void
list_buckets(struct ds_request *req)
{
    static const char *const columns[] = {"id", "name", "created_at", "updated_at", NULL};
    static const char *const orders[] = {"asc", "desc", NULL};
    struct ds_bucket_query query = {0};
    int64_t limit, offset;
    const char *order;
    if (!query_integer(req, "limit", 1, &limit) || !query_integer(req, "offset", 0, &offset) ||
        !query_word(req, "sortColumn", columns, &query.column) ||
        !query_word(req, "sortOrder", orders, &order) || !ds_require_auth(req))
        return;
    query.descending = query.column && order && strcmp(order, "desc") == 0;
    query.search = ds_request_query(req, "search");
    struct bucket_page page = {
        .req = req, .skip = offset < 0 ? 0 : offset, .room = limit, .out = DS_BUF_INIT};
    ds_buf_adds(&page.out, "[");
    int rc = ds_db_bucket_list(req->server->db, &query, add_bucket, &page);
    ds_buf_adds(&page.out, "]");
    if (rc < 0)
        ds_fail_errno(req, rc, "list the buckets");
    else
        ds_reply_json(req, 200, &page.out);
    ds_buf_fini(&page.out);
}

/* Without a policy that shows its row a bucket is as good as not there. */
static bool
require_seen_bucket(struct ds_request *req, struct ds_bucket *bucket)
{
    if (ds_may(req, req->bucket, NULL, DS_SEE_BUCKET))
        return ds_require_bucket(req, bucket);
    ds_fail(req, DS_FAIL_NO_BUCKET);
    return false;
}

static void
get_bucket(struct ds_request *req)
{
    ds_autobucket bucket = {0};
    if (!ds_require_auth(req) || !require_seen_bucket(req, &bucket))
        return;
    ds_autobuf out = DS_BUF_INIT;
    write_bucket(&out, &bucket, false);
    ds_reply_json(req, 200, &out);
}

/* ---- writing ---- */

struct bucket_body {
    bool has_public, is_public;
    bool has_limit;
    int64_t limit; /* -1 = none */
    bool has_types;
    char *types; /* JSON text, NULL = any */
};

/* "10KB" and the like, decimal units; -1 when it is none of them. */
static int64_t
parse_size(const char *text)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"gb", 1e9}, {"mb", 1e6}, {"kb", 1e3}, {"b", 1}};
    char *end;
    if (!isdigit((unsigned char)text[0]) || strpbrk(text, "eExXpP "))
        return -1;
    double value = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcasecmp(end, units[i].unit) == 0)
            return (int64_t)(value * units[i].factor);
    return -1;
}

static bool
read_limit(struct ds_request *req, const json_t *value, struct bucket_body *body)
{
    body->has_limit = value != NULL;
    body->limit = -1;
    if (!value || json_is_null(value))
        return true;
    if (json_is_integer(value))
        body->limit = json_integer_value(value);
    else if (json_is_string(value))
        body->limit = parse_size(json_string_value(value));
    if (body->limit < 0) {
        ds_reply_schema(req,
                        "body/file_size_limit must be integer, body/file_size_limit must pass "
                        "\"finite\" keyword validation, body/file_size_limit must match pattern "
                        "\"%s\", body/file_size_limit must match a schema in anyOf",
                        "^[0-9]+(?:\\.[0-9]+)?(?:[gG][bB]|[mM][bB]|[kK][bB]|[bB])$");
        return false;
    }
    return true;
}

static bool
read_types(struct ds_request *req, const json_t *value, struct bucket_body *body)
{
    body->has_types = value != NULL;
    if (!value || json_is_null(value))
        return true;
    if (!json_is_array(value)) {
        ds_reply_schema(req, "body/allowed_mime_types must be array");
        return false;
    }
    size_t i;
    const json_t *type;
    json_array_foreach((json_t *)(uintptr_t)value, i, type)
    {
        if (!json_is_string(type)) {
            ds_reply_schema(req, "body/allowed_mime_types/%zu must be string", i);
            return false;
        }
    }
    body->types = json_dumps(value, JSON_COMPACT);
    return true;
}

/* true, false, or what the service's parser takes for them. */
static bool
read_public(struct ds_request *req, const json_t *value, struct bucket_body *body)
{
    body->has_public = value != NULL;
    if (!value)
        return true;
    const char *text = json_string_value(value);
    bool yes = json_is_true(value) || (text && strcmp(text, "true") == 0) ||
               (json_is_integer(value) && json_integer_value(value) == 1);
    bool no = json_is_false(value) || json_is_null(value) || (text && strcmp(text, "false") == 0) ||
              (json_is_integer(value) && json_integer_value(value) == 0);
    body->is_public = yes;
    if (!yes && !no)
        ds_reply_schema(req, "body/public must be boolean");
    return yes || no;
}

static bool
read_body(struct ds_request *req, const json_t *json, struct bucket_body *body)
{
    return read_public(req, json_object_get(json, "public"), body) &&
           read_limit(req, json_object_get(json, "file_size_limit"), body) &&
           read_types(req, json_object_get(json, "allowed_mime_types"), body);
}

static bool
types_are_valid(struct ds_request *req, const json_t *types)
{
    regex_t regex;
    if (regcomp(&regex,
                "^([a-zA-Z0-9+.-]+)/([a-zA-Z0-9+.-]+)(;[[:space:]]*charset=[a-zA-Z0-9-]+)?$|\\*$",
                REG_EXTENDED | REG_NOSUB) != 0) {
        ds_fail(req, DS_FAIL_INTERNAL);
        return false;
    }
    bool valid = true;
    size_t i;
    const json_t *type;
    json_array_foreach((json_t *)(uintptr_t)types, i, type)
    {
        const char *text = json_string_value(type);
        valid = valid && strlen(text) <= 1000 && regexec(&regex, text, 0, NULL, 0) == 0;
        if (!valid) {
            ds_reply_invalid_mime(req, text);
            break;
        }
    }
    regfree(&regex);
    return valid;
}

/* The rules that the service checks after the schema. */
static bool
body_is_valid(struct ds_request *req, const json_t *json, const struct bucket_body *body)
{
    uint64_t global = atomic_load(&req->server->pace->global_limit);
    if (global > 0 && body->limit >= 0 && (uint64_t)body->limit > global) {
        ds_fail(req, DS_FAIL_TOO_LARGE);
        return false;
    }
    const json_t *types = json_object_get(json, "allowed_mime_types");
    return !json_is_array(types) || types_are_valid(req, types);
}

static void
insert_bucket(struct ds_request *req, const json_t *json, struct bucket_body *body)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *id = json_string_value(json_object_get(json, "id"));
    if (!ds_require_auth(req))
        return;
    if (!ds_bucket_name_valid(name)) {
        ds_fail(req, DS_FAIL_BUCKET_NAME);
        return;
    }
    if (!body_is_valid(req, json, body))
        return;
    if (!ds_is_service(req)) {
        ds_fail(req, DS_FAIL_RLS);
        return;
    }
    int64_t now = ds_now_ms();
    struct ds_bucket bucket = {
        .id = (char *)(uintptr_t)(id && *id ? id : name),
        .name = (char *)(uintptr_t)name,
        .owner = req->who.sub[0] ? req->who.sub : NULL,
        .mime_types = body->types,
        .size_limit = body->limit,
        .created_ms = now,
        .updated_ms = now,
        .is_public = body->is_public,
    };
    int rc = ds_db_bucket_insert(req->server->db, &bucket);
    if (rc == -EEXIST) {
        ds_fail(req, DS_FAIL_BUCKET_EXISTS);
    } else if (rc < 0) {
        ds_fail_errno(req, rc, "create the bucket");
    } else {
        ds_autobuf out = DS_BUF_INIT;
        ds_buf_adds(&out, "{\"name\":");
        ds_buf_add_json(&out, name);
        ds_buf_adds(&out, "}");
        ds_reply_json(req, 200, &out);
    }
}

static void
create_bucket(struct ds_request *req)
{
    ds_autojson *json = ds_require_json(req);
    if (!json)
        return;
    struct bucket_body body = {.limit = -1};
    if (!json_object_get(json, "name"))
        ds_reply_schema(req, "body must have required property 'name'");
    else if (ds_check_string(req, json_object_get(json, "name"), "body/name") &&
             ds_check_string(req, json_object_get(json, "id"), "body/id") &&
             read_body(req, json, &body))
        insert_bucket(req, json, &body);
    free(body.types);
}

static void
reply_message(struct ds_request *req, const char *message)
{
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "{\"message\":");
    ds_buf_add_json(&out, message);
    ds_buf_adds(&out, "}");
    ds_reply_json(req, 200, &out);
}

static void
change_bucket(struct ds_request *req, const json_t *json, struct bucket_body *body)
{
    ds_autobucket bucket = {0};
    if (!ds_require_auth(req) || !body_is_valid(req, json, body) ||
        !require_seen_bucket(req, &bucket))
        return;
    if (body->has_public)
        bucket.is_public = body->is_public;
    if (body->has_limit)
        bucket.size_limit = body->limit;
    if (body->has_types) {
        free(bucket.mime_types);
        bucket.mime_types = sf_steal(body->types);
    }
    bucket.updated_ms = ds_now_ms();
    int rc = ds_db_bucket_update(req->server->db, &bucket);
    if (rc == -ENOENT)
        ds_fail(req, DS_FAIL_NO_BUCKET);
    else if (rc < 0)
        ds_fail_errno(req, rc, "update the bucket");
    else
        reply_message(req, "Successfully updated");
}

static void
update_bucket(struct ds_request *req)
{
    ds_autojson *json = ds_require_json(req);
    if (!json)
        return;
    struct bucket_body body = {.limit = -1};
    if (!json_object_get(json, "public") && !json_object_get(json, "file_size_limit") &&
        !json_object_get(json, "allowed_mime_types"))
        ds_reply_schema(req, "body must have required property 'public', body must have required "
                             "property 'file_size_limit', body must have required property "
                             "'allowed_mime_types', body must match a schema in anyOf");
    else if (read_body(req, json, &body))
        change_bucket(req, json, &body);
    free(body.types);
}

/* A body is not wanted, but one that is announced as JSON must be some. */
static bool
require_no_bad_json(struct ds_request *req)
{
    const char *type = ds_request_header(req, "content-type");
    if (!type || strncasecmp(type, "application/json", 16) != 0)
        return true;
    json_t *json = NULL;
    if (req->text.len == 0)
        ds_fail(req, DS_FAIL_JSON_EMPTY);
    else if (!(json = json_loadb(req->text.data, req->text.len, JSON_DECODE_ANY, NULL)))
        ds_fail(req, DS_FAIL_JSON_BAD);
    json_decref(json);
    return req->reply.status == 0;
}

bool
ds_delete_bucket(struct ds_request *req)
{
    int rc = ds_db_bucket_delete(req->server->db, req->bucket);
    if (rc == -ENOTEMPTY)
        ds_fail(req, DS_FAIL_BUCKET_NOT_EMPTY);
    else if (rc == -EBUSY)
        ds_fail(req, DS_FAIL_BUCKET_AWAITED);
    else if (rc == -ENOENT)
        ds_fail(req, DS_FAIL_NO_BUCKET);
    else if (rc < 0)
        ds_fail_errno(req, rc, "delete the bucket");
    return rc >= 0;
}

static void
delete_bucket(struct ds_request *req)
{
    ds_autobucket bucket = {0};
    if (!require_no_bad_json(req) || !ds_require_auth(req) || !require_seen_bucket(req, &bucket))
        return;
    if (ds_delete_bucket(req))
        reply_message(req, "Successfully deleted");
}

struct batch {
    char *keys[EMPTY_BATCH];
    char versions[EMPTY_BATCH][DS_UUID_SIZE]; /* of what was deleted */
    size_t count;
};

static void
collect_key(void *arg, const struct ds_object *object)
{
    struct batch *batch = arg;
    char *key = strdup(object->name);
    if (!key)
        return;
    batch->keys[batch->count++] = key;
}

/* One transaction; the bytes go when it is committed. */
static int
remove_batch(struct ds_server *server, const char *bucket, struct batch *batch)
{
    int failed = 0;
    ds_db_begin(server->db);
    for (size_t i = 0; i < batch->count; i++) {
        ds_autoobject old = {0};
        int rc = ds_db_object_delete(server->db, bucket, batch->keys[i], &old);
        memcpy(batch->versions[i], old.version, DS_UUID_SIZE); /* "" when it was gone already */
        if (rc < 0 && rc != -ENOENT)
            failed = rc;
    }
    int committed = ds_db_commit(server->db);
    for (size_t i = 0; committed == 0 && i < batch->count; i++)
        ds_store_remove(server->store, batch->versions[i]);
    return committed < 0 ? committed : failed;
}

/* The service queues this; here it is done at once, by batches. */
static int
remove_all(struct ds_server *server, const char *bucket)
{
    sf_autofree struct batch *batch = malloc(sizeof *batch);
    if (!batch)
        return -ENOMEM;
    for (;;) {
        batch->count = 0;
        int rc = ds_db_object_each(server->db, bucket, EMPTY_BATCH, collect_key, batch);
        bool done = batch->count == 0;
        if (rc == 0 && !done)
            rc = remove_batch(server, bucket, batch);
        for (size_t i = 0; i < batch->count; i++)
            free(batch->keys[i]);
        if (rc < 0 || done)
            return rc;
    }
}

static void
empty_bucket(struct ds_request *req)
{
    ds_autobucket bucket = {0};
    if (!require_no_bad_json(req) || !ds_require_auth(req))
        return;
    if (!ds_is_service(req)) {
        ds_reply_error(req, 403, "403", "Unauthorized", "Access denied: Invalid role",
                       "AccessDenied");
        return;
    }
    if (!ds_require_bucket(req, &bucket))
        return;
    int rc = remove_all(req->server, req->bucket);
    if (rc < 0)
        ds_fail_errno(req, rc, "empty the bucket");
    else
        reply_message(req, "Empty bucket has been queued. Completion may take up to an hour.");
}

const struct ds_route ds_route_bucket_list = {.kind = "bucket-list", .finish = list_buckets};
const struct ds_route ds_route_bucket_get = {.kind = "bucket-get", .finish = get_bucket};
const struct ds_route ds_route_bucket_create = {
    .kind = "bucket-create", .body = DS_BODY_JSON, .finish = create_bucket};
const struct ds_route ds_route_bucket_update = {
    .kind = "bucket-update", .body = DS_BODY_JSON, .finish = update_bucket};
const struct ds_route ds_route_bucket_delete = {
    .kind = "bucket-delete", .body = DS_BODY_JSON, .finish = delete_bucket};
const struct ds_route ds_route_bucket_empty = {
    .kind = "bucket-empty", .body = DS_BODY_JSON, .finish = empty_bucket};
