/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"

#define LIMIT_MAX 1000

/* What a cursor holds: lines "l:name", "o:order", "c:column", "a:time" in base64. */
struct cursor {
    char *text; /* owns what the others point into */
    const char *after;
    const char *order;
    const char *column;
    const char *after_time;
};

struct listing {
    struct ds_request *req;
    struct cursor cursor;
    const char *prefix;
    const char *column; /* of the request, NULL when it named none */
    const char *order;
    bool delimiter;
    size_t limit;
    size_t levels; /* number of the component that "key" shows */

    size_t count;
    struct ds_buf folders, objects;
    char *last_name; /* of the last row within the limit */
    int64_t last_ms; /* its time by the sort column; -1 = none */
};

/* ---- the request ---- */

static bool
check_limit(struct ds_request *req, const json_t *value, size_t *limit)
{
    *limit = LIMIT_MAX;
    if (!value)
        return true;
    if (!json_is_integer(value)) {
        ds_reply_schema(req, "body/limit must be integer");
        return false;
    }
    if (json_integer_value(value) < 1) {
        ds_reply_schema(req, "body/limit must be >= 1");
        return false;
    }
    if (json_integer_value(value) < LIMIT_MAX)
        *limit = (size_t)json_integer_value(value);
    return true;
}

static bool
check_word(struct ds_request *req, const json_t *value, const char *path, const char *const *words,
           const char **ret)
{
    *ret = json_string_value(value);
    if (!value)
        return true;
    if (!ds_check_string(req, value, path))
        return false;
    for (size_t i = 0; words[i]; i++)
        if (strcmp(words[i], *ret) == 0)
            return true;
    ds_reply_schema(req, "%s must be equal to one of the allowed values", path);
    return false;
}

static bool
check_sort(struct ds_request *req, const json_t *sort, struct listing *listing)
{
    static const char *const columns[] = {"name", "updated_at", "created_at", NULL};
    static const char *const orders[] = {"asc", "desc", NULL};
    if (!sort)
        return true;
    if (!json_is_object(sort)) {
        ds_reply_schema(req, "body/sortBy must be object");
        return false;
    }
    const json_t *column = json_object_get(sort, "column");
    if (!column) {
        ds_reply_schema(req, "body/sortBy must have required property 'column'");
        return false;
    }
    return check_word(req, column, "body/sortBy/column", columns, &listing->column) &&
           check_word(req, json_object_get(sort, "order"), "body/sortBy/order", orders,
                      &listing->order);
}

static bool
check_body(struct ds_request *req, const json_t *json, struct listing *listing)
{
    const json_t *prefix = json_object_get(json, "prefix");
    const json_t *delimiter = json_object_get(json, "with_delimiter");
    if (!ds_check_string(req, prefix, "body/prefix") ||
        !check_limit(req, json_object_get(json, "limit"), &listing->limit) ||
        !ds_check_string(req, json_object_get(json, "cursor"), "body/cursor"))
        return false;
    if (delimiter && !json_is_boolean(delimiter)) {
        ds_reply_schema(req, "body/with_delimiter must be boolean");
        return false;
    }
    listing->prefix = prefix ? json_string_value(prefix) : "";
    listing->delimiter = json_is_true(delimiter);
    listing->levels = 1;
    for (const char *s = listing->prefix; (s = strchr(s, '/')); s++)
        listing->levels++;
    return check_sort(req, json_object_get(json, "sortBy"), listing);
}

static bool
cursor_line(struct cursor *cursor, char *line)
{
    if (line[0] == '\0' || line[1] != ':')
        return false;
    switch (line[0]) {
    case 'l':
        cursor->after = line + 2;
        return true;
    case 'o':
        cursor->order = line + 2;
        return true;
    case 'c':
        cursor->column = line + 2;
        return true;
    case 'a':
        cursor->after_time = line + 2;
        return true;
    default:
        return false;
    }
}

/* An empty cursor is none. One without an order means upwards. */
static bool
read_cursor(struct ds_request *req, const char *text, struct cursor *cursor)
{
    *cursor = (struct cursor){.after = ""};
    if (!text || !*text)
        return true;
    size_t len;
    cursor->text = ds_base64_decode(text, strlen(text), &len);
    if (!cursor->text) {
        ds_fail_errno(req, -ENOMEM, "read the cursor");
        return false;
    }
    cursor->order = "asc";
    bool fine = memchr(cursor->text, '\0', len) == NULL;
    for (char *line = cursor->text; fine && line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        fine = cursor_line(cursor, line);
        line = end ? end + 1 : NULL;
    }
    if (!fine)
        ds_fail(req, DS_FAIL_CURSOR);
    return fine;
}

/* ---- the rows ---- */

/* Component number `levels` of a name. */
static void
write_key(struct ds_buf *out, const char *name, size_t levels)
{
    for (; levels > 1; levels--) {
        const char *slash = strchr(name, '/');
        name = slash ? slash + 1 : "";
    }
    ds_buf_adds(out, "\"key\":");
    ds_buf_add_json_n(out, name, strcspn(name, "/"));
    ds_buf_adds(out, ",");
}

static void
add_folder(struct listing *listing, const struct ds_list_row *row)
{
    struct ds_buf *out = &listing->folders;
    ds_buf_adds(out, out->len > 0 ? ",{" : "{");
    write_key(out, row->folder, listing->levels);
    ds_autobuf name = DS_BUF_INIT;
    ds_buf_addf(&name, "%s/", row->folder);
    ds_buf_adds(out, "\"name\":");
    ds_buf_add_json(out, name.failed ? "" : name.data);
    ds_buf_adds(out, ",\"id\":null,\"updated_at\":");
    if (row->folder_ms < 0) {
        ds_buf_adds(out, "null,\"created_at\":null");
    } else {
        ds_buf_add_json_time(out, row->folder_ms);
        ds_buf_adds(out, ",\"created_at\":");
        ds_buf_add_json_time(out, row->folder_ms);
    }
    ds_buf_adds(out, ",\"last_accessed_at\":null,\"metadata\":null}");
}

static void
add_times(struct ds_buf *out, const struct ds_object *object)
{
    ds_buf_adds(out, "\"updated_at\":");
    ds_buf_add_json_time(out, object->updated_ms);
    ds_buf_adds(out, ",\"created_at\":");
    ds_buf_add_json_time(out, object->created_ms);
    ds_buf_adds(out, ",\"last_accessed_at\":");
    ds_buf_add_json_time(out, object->accessed_ms);
}

static void
add_object(struct listing *listing, const struct ds_object *object)
{
    struct ds_buf *out = &listing->objects;
    ds_buf_adds(out, out->len > 0 ? ",{" : "{");
    if (listing->delimiter) {
        write_key(out, object->name, listing->levels);
        ds_buf_adds(out, "\"name\":");
        ds_buf_add_json(out, object->name);
        ds_buf_adds(out, ",\"id\":");
        ds_buf_add_json(out, object->id);
        ds_buf_adds(out, ",");
        add_times(out, object);
        ds_buf_adds(out, ",\"metadata\":");
        ds_write_metadata(out, object, &listing->req->plan);
    } else {
        ds_buf_adds(out, "\"id\":");
        ds_buf_add_json(out, object->id);
        ds_buf_adds(out, ",\"name\":");
        ds_buf_add_json(out, object->name);
        ds_buf_adds(out, ",\"metadata\":");
        ds_write_metadata(out, object, &listing->req->plan);
        ds_buf_adds(out, ",");
        add_times(out, object);
    }
    ds_buf_adds(out, "}");
}

static const char *
sort_column(const struct listing *listing)
{
    return listing->cursor.column ? listing->cursor.column : listing->column;
}

static const char *
sort_order(const struct listing *listing)
{
    return listing->cursor.order ? listing->cursor.order : listing->order;
}

static void
take_row(void *arg, const struct ds_list_row *row)
{
    struct listing *listing = arg;
    if (listing->count++ >= listing->limit)
        return; /* it only tells that there is more */
    if (row->object)
        add_object(listing, row->object);
    else
        add_folder(listing, row);
    if (listing->count < listing->limit)
        return;
    const char *column = sort_column(listing);
    listing->last_name = strdup(row->object ? row->object->name : row->folder);
    listing->last_ms = row->folder_ms;
    if (row->object)
        listing->last_ms = column && strcmp(column, "created_at") == 0 ? row->object->created_ms
                                                                       : row->object->updated_ms;
}

/* ---- the reply ---- */

static void
add_next(struct listing *listing, struct ds_buf *out)
{
    const char *column = sort_column(listing), *order = sort_order(listing);
    ds_autobuf lines = DS_BUF_INIT;
    if (*listing->last_name)
        ds_buf_addf(&lines, "l:%s\n", listing->last_name);
    if (order)
        ds_buf_addf(&lines, "o:%s\n", order);
    if (column)
        ds_buf_addf(&lines, "c:%s\n", column);
    if (column && strcmp(column, "name") != 0 && listing->last_ms >= 0) {
        char time[DS_ISO_SIZE];
        ds_time_iso(listing->last_ms, time);
        ds_buf_addf(&lines, "a:%s\n", time);
    }
    size_t len = lines.len > 0 ? lines.len - 1 : 0;
    sf_autofree char *text = ds_base64_encode(lines.data ? lines.data : "", len, false);
    ds_buf_adds(out, ",\"nextCursor\":");
    ds_buf_add_json(out, text ? text : "");
    ds_buf_adds(out, ",\"nextCursorKey\":");
    ds_buf_add_json(out, listing->last_name);
}

static void
reply_listing(struct listing *listing)
{
    bool more = listing->count > listing->limit;
    ds_autobuf out = DS_BUF_INIT;
    if (listing->folders.failed || listing->objects.failed || (more && !listing->last_name)) {
        ds_fail_errno(listing->req, -ENOMEM, "list");
        return;
    }
    ds_buf_addf(&out, "{\"hasNext\":%s", more ? "true" : "false");
    if (more)
        add_next(listing, &out);
    ds_buf_adds(&out, ",\"folders\":[");
    ds_buf_add(&out, listing->folders.data, listing->folders.len);
    ds_buf_adds(&out, "],\"objects\":[");
    ds_buf_add(&out, listing->objects.data, listing->objects.len);
    ds_buf_adds(&out, "]}");
    ds_reply_json(listing->req, 200, &out);
}

static int
run(struct listing *listing)
{
    const char *column = sort_column(listing), *order = sort_order(listing);
    struct ds_list_query query = {
        .bucket = listing->req->bucket,
        .prefix = listing->prefix,
        .delimiter = listing->delimiter,
        .descending = order && strcmp(order, "desc") == 0,
        .after = listing->cursor.after,
        .after_ms = -1,
        .max_rows = listing->limit + 1,
        .sight = ds_sight(listing->req),
    };
    if (column && strcmp(column, "created_at") == 0)
        query.sort = DS_SORT_CREATED;
    else if (column && strcmp(column, "updated_at") == 0)
        query.sort = DS_SORT_UPDATED;
    int64_t ms;
    if (listing->cursor.after_time && ds_time_parse_iso(listing->cursor.after_time, &ms))
        query.after_ms = ms;
    return ds_db_object_list(listing->req->server->db, &query, take_row, listing);
}

static void
list(struct ds_request *req)
{
    ds_autojson *json = ds_require_json(req);
    struct listing listing = {.req = req};
    if (!json || !check_body(req, json, &listing) || !ds_require_auth(req))
        return;
    const char *cursor = json_string_value(json_object_get(json, "cursor"));
    if (read_cursor(req, cursor, &listing.cursor)) {
        /* Without the bucket, or without a right to see, there is just nothing there. */
        int rc = run(&listing);
        if (rc < 0)
            ds_fail_errno(req, rc, "list");
        else
            reply_listing(&listing);
    }
    free(listing.cursor.text);
    free(listing.last_name);
    ds_buf_fini(&listing.folders);
    ds_buf_fini(&listing.objects);
}

const struct ds_route ds_route_list = {.kind = "list", .body = DS_BODY_JSON, .finish = list};
