/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "reply.h"
#include "rest.h"

/* /rest/v1/TABLE as PostgREST answers it for the tables of contrib/sql.
 * tests/integ/tables-both.sh compares the two. */

enum wanted { WANT_NOTHING, WANT_ROWS, WANT_HEADERS };

/* One request to a table. */
struct work {
    struct ds_rest rest;
    const struct ds_table *table; /* as named, maybe a view */
    const struct ds_table *base;
    struct ds_query query;
    bool single;      /* an object instead of an array */
    enum wanted want; /* of a change */
    bool said_want;
    bool count, merge, ignore, missing_default;
    int64_t *rowids;
    size_t rows, room;
    struct ds_buf out;
    size_t written;
};

/* ---- what the headers ask for ---- */

static bool
has_word(const char *text, const char *word)
{
    for (const char *at = text; at && (at = strstr(at, word)); at++) {
        char before = at == text ? ',' : at[-1], behind = at[strlen(word)];
        if (strchr(", ", before) && (behind == '\0' || strchr(",; ", behind)))
            return true;
    }
    return false;
}

static bool
read_headers(struct work *w)
{
    struct ds_request *req = w->rest.req;
    const char *accept = ds_request_header(req, "accept");
    const char *prefer = ds_request_header(req, "prefer");
    w->single = accept && strstr(accept, "application/vnd.pgrst.object+json");
    if (accept && !w->single && !strstr(accept, "*/*") && !strstr(accept, "application/json")) {
        ds_autobuf message = DS_BUF_INIT;
        ds_buf_addf(&message, "None of these media types are available: %s", accept);
        ds_rest_error(req, 415, "PGRST107", NULL, NULL, message.data);
        return false;
    }
    w->count = has_word(prefer, "count=exact");
    if (has_word(prefer, "count=planned") || has_word(prefer, "count=estimated"))
        return ds_rest_absent(&w->rest, "a count that is no exact one");
    w->merge = has_word(prefer, "resolution=merge-duplicates");
    w->ignore = !w->merge && has_word(prefer, "resolution=ignore-duplicates");
    w->missing_default = has_word(prefer, "missing=default");
    if (has_word(prefer, "return=representation"))
        w->want = WANT_ROWS;
    else if (has_word(prefer, "return=headers-only"))
        w->want = WANT_HEADERS;
    w->said_want = w->want != WANT_NOTHING || has_word(prefer, "return=minimal");
    return true;
}

static void
say_applied(struct work *w, bool insert, bool change)
{
    static const char *const wants[] = {"return=minimal", "return=representation",
                                        "return=headers-only"};
    const char *said[4];
    size_t n = 0;
    if (insert && (w->merge || w->ignore))
        said[n++] = w->merge ? "resolution=merge-duplicates" : "resolution=ignore-duplicates";
    if (change && w->missing_default)
        said[n++] = "missing=default";
    if (change && w->said_want)
        said[n++] = wants[w->want];
    if (w->count)
        said[n++] = "count=exact";
    ds_autobuf out = DS_BUF_INIT;
    for (size_t i = 0; i < n; i++)
        ds_buf_addf(&out, "%s%s", i > 0 ? ", " : "", said[i]);
    if (out.data)
        ds_reply_header(w->rest.req, "preference-applied", out.data);
}

/* ---- rows ---- */

static void
add_items(struct work *w, struct ds_sql *sql)
{
    for (size_t i = 0; i < w->query.item_count; i++)
        ds_buf_addf(&sql->text, "%s\"%s\"", i > 0 ? ", " : "",
                    w->table->columns[w->query.items[i].column].name);
}

static void
write_member(struct work *w, sqlite3_stmt *stmt, size_t i)
{
    const struct ds_item *item = &w->query.items[i];
    const struct ds_column *column = &w->table->columns[item->column];
    struct ds_value value = DS_NULL;
    if (sqlite3_column_type(stmt, (int)i) == SQLITE_INTEGER)
        value = ds_value_number(sqlite3_column_int64(stmt, (int)i));
    else
        value = ds_value_text((const char *)sqlite3_column_text(stmt, (int)i));
    ds_buf_adds(&w->out, i > 0 ? "," : "");
    ds_buf_add_json(&w->out, item->alias ? item->alias : column->name);
    ds_buf_adds(&w->out, ":");
    if (item->as_text && value.kind != DS_VALUE_NULL) {
        ds_autobuf text = DS_BUF_INIT;
        ds_value_print(&text, column->type, &value);
        ds_buf_add_json(&w->out, text.data ? text.data : "");
    } else {
        ds_value_write(&w->out, column->type, &value);
    }
    ds_value_fini(&value);
}

static bool
write_rows(struct work *w, const struct ds_sql *sql)
{
    ds_autostmt *stmt = ds_sql_prepare(&w->rest, sql);
    if (!stmt)
        return false;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        ds_buf_adds(&w->out, w->written++ > 0 ? ", \n {" : "{");
        for (size_t i = 0; i < w->query.item_count; i++)
            write_member(w, stmt, i);
        ds_buf_adds(&w->out, "}");
    }
    return rc == SQLITE_DONE || ds_rest_broken(&w->rest);
}

static bool
write_row(struct work *w, int64_t rowid)
{
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text, "SELECT ");
    add_items(w, &sql);
    ds_buf_addf(&sql.text, " FROM \"%s\" WHERE rowid = ", w->base->name);
    ds_sql_value(&sql, ds_value_number(rowid));
    return write_rows(w, &sql);
}

static void
add_where(struct work *w, struct ds_sql *sql)
{
    ds_buf_addf(&sql->text, " FROM \"%s\" WHERE ", w->base->name);
    ds_sql_policy(sql, &w->rest, w->base);
    if (w->query.where.text.len > 0) {
        /* Its values come behind those that are there. */
        struct ds_sql *where = &w->query.where;
        ds_buf_adds(&sql->text, " AND (");
        struct ds_buf text = sql->text;
        sql->text = DS_BUF_INIT;
        for (size_t i = 0; i < where->count; i++)
            ds_sql_value(sql, ds_value_copy(&where->values[i]));
        ds_buf_fini(&sql->text);
        sql->text = text;
        ds_buf_adds(&sql->text, where->text.data);
        ds_buf_adds(&sql->text, ")");
    }
}

static void
add_limits(struct work *w, struct ds_sql *sql)
{
    if (w->query.order.len > 0)
        ds_buf_addf(&sql->text, " ORDER BY %s", w->query.order.data);
    ds_buf_adds(&sql->text, " LIMIT ");
    ds_sql_value(sql, ds_value_number(w->query.limit));
    ds_buf_adds(&sql->text, " OFFSET ");
    ds_sql_value(sql, ds_value_number(w->query.offset));
}

/* ---- answers ---- */

static bool
one_only(struct work *w)
{
    if (!w->single || w->written == 1)
        return true;
    ds_autobuf details = DS_BUF_INIT;
    ds_buf_addf(&details, "The result contains %zu rows", w->written);
    ds_rest_error(w->rest.req, 406, "PGRST116", details.data, NULL,
                  "JSON object requested, multiple (or no) rows returned");
    return false;
}

/* @first, @rows: "*" without rows; @total: -1 = not counted. */
static void
say_range(struct work *w, int64_t first, size_t rows, int64_t total)
{
    char text[100], all[24] = "*";
    if (total >= 0)
        snprintf(all, sizeof all, "%lld", (long long)total);
    if (rows > 0)
        snprintf(text, sizeof text, "%lld-%lld/%s", (long long)first,
                 (long long)(first + (int64_t)rows - 1), all);
    else
        snprintf(text, sizeof text, "*/%s", all);
    ds_reply_header(w->rest.req, "content-range", text);
}

static void
reply_rows(struct work *w, int status)
{
    ds_autobuf body = DS_BUF_INIT;
    ds_buf_adds(&body, w->single ? "" : "[");
    ds_buf_adds(&body, w->out.data ? w->out.data : "");
    ds_buf_adds(&body, w->single ? "" : "]");
    if (w->out.failed || body.failed)
        ds_fail_errno(w->rest.req, -12, "write the rows");
    else
        ds_reply_text(w->rest.req, status,
                      w->single ? "application/vnd.pgrst.object+json; charset=utf-8" : DS_REST_TYPE,
                      body.data);
}

/* ---- reading ---- */

static int64_t
count_rows(struct work *w)
{
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text, "SELECT count(*)");
    add_where(w, &sql);
    ds_autostmt *stmt = ds_sql_prepare(&w->rest, &sql);
    if (!stmt)
        return -1;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        return sqlite3_column_int64(stmt, 0);
    ds_rest_broken(&w->rest);
    return -1;
}

static void
read_table(struct work *w)
{
    int64_t total = w->count ? count_rows(w) : -1;
    int64_t offset = w->query.offset;
    if (w->rest.req->reply.status != 0)
        return;
    if (total >= 0 && offset > total) {
        ds_autobuf details = DS_BUF_INIT;
        ds_buf_addf(&details, "An offset of %lld was requested, but there are only %lld rows.",
                    (long long)offset, (long long)total);
        ds_rest_error(w->rest.req, 416, "PGRST103", details.data, NULL,
                      "Requested range not satisfiable");
        say_range(w, 0, 0, total);
        say_applied(w, false, false);
        return;
    }
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text, "SELECT ");
    add_items(w, &sql);
    add_where(w, &sql);
    add_limits(w, &sql);
    if (!write_rows(w, &sql) || !one_only(w))
        return;
    reply_rows(w, total >= 0 && (int64_t)w->written < total ? 206 : 200);
    say_range(w, offset, w->written, total);
    say_applied(w, false, false);
}

/* ---- the body of a change ---- */

static bool
no_column(struct work *w, const char *name)
{
    ds_autobuf message = DS_BUF_INIT;
    ds_buf_addf(&message, "Column '%s' of relation '%s' does not exist", name, w->table->name);
    ds_rest_error(w->rest.req, 400, "PGRST204", NULL, NULL, message.data);
    return false;
}

/* Which columns a change sets, by the query or by the first row. */
static bool
read_columns(struct work *w, const json_t *first, bool given[DS_COLUMNS_MAX])
{
    const char *name;
    json_t *value;
    char *rest = NULL;
    memset(given, 0, sizeof(bool) * DS_COLUMNS_MAX);
    if (w->query.columns) {
        for (char *word = strtok_r(w->query.columns, ",", &rest); word;
             word = strtok_r(NULL, ",", &rest)) {
            int at = ds_table_column(w->table, word);
            if (at < 0)
                return no_column(w, word);
            given[at] = true;
        }
        return true;
    }
    json_object_foreach((json_t *)(uintptr_t)first, name, value)
    {
        int at = ds_table_column(w->table, name);
        if (at < 0)
            return no_column(w, name);
        given[at] = true;
    }
    return true;
}

/* The rows of a body, as an array; NULL: answered. */
static json_t *
read_body(struct work *w)
{
    struct ds_request *req = w->rest.req;
    json_t *body = req->text.len == 0
                       ? NULL
                       : json_loadb(req->text.data, req->text.len, JSON_DECODE_ANY, NULL);
    if (!body) {
        ds_rest_error(req, 400, "PGRST102", NULL, NULL, "Empty or invalid json");
        return NULL;
    }
    if (json_is_array(body))
        return body;
    json_t *rows = json_array();
    json_array_append_new(rows, body);
    return rows;
}

static bool
same_members(struct work *w, const json_t *rows)
{
    const json_t *first = json_array_get(rows, 0);
    bool same = true;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *name;
        json_t *value;
        same = same && json_is_object(row) &&
               (w->query.columns || json_object_size(row) == json_object_size(first));
        if (!w->query.columns)
            json_object_foreach((json_t *)(uintptr_t)row, name, value) same =
                same && json_object_get(first, name);
    }
    if (!same)
        ds_rest_error(w->rest.req, 400, "PGRST102", NULL, NULL, "All object keys must match");
    return same;
}

/* Sets in a row of the base what the JSON has of the columns that are given. */
static bool
set_given(struct work *w, struct ds_row *row, const json_t *json, const bool given[DS_COLUMNS_MAX])
{
    for (size_t i = 0; i < ds_table_width(w->table); i++) {
        const char *name = w->table->columns[i].name;
        const json_t *value = json_object_get(json, name);
        if (!given[i] || (!value && w->missing_default))
            continue;
        if (!ds_row_set(&w->rest, w->base, row, ds_table_column(w->base, name), value))
            return false;
    }
    return true;
}

static bool
add_rowid(struct work *w, int64_t rowid)
{
    if (w->rows == w->room) {
        size_t room = w->room ? 2 * w->room : 64;
        int64_t *grown = realloc(w->rowids, room * sizeof *grown);
        if (!grown)
            return ds_rest_fail(&w->rest, "53200", NULL, NULL, "out of memory");
        w->rowids = grown;
        w->room = room;
    }
    w->rowids[w->rows++] = rowid;
    return true;
}

/* ---- inserting ---- */

/* The unique constraint of exactly the columns of on_conflict; NULL: answered. */
static const struct ds_unique *
find_target(struct work *w)
{
    const struct ds_unique *uniques = w->base->uniques;
    bool named[DS_COLUMNS_MAX] = {0};
    size_t n = 0;
    char *rest = NULL;
    if (!w->query.on_conflict)
        return uniques;
    for (char *word = strtok_r(w->query.on_conflict, ",", &rest); word;
         word = strtok_r(NULL, ",", &rest)) {
        int at = ds_table_column(w->base, word);
        if (at < 0) {
            ds_rest_fail(&w->rest, "42703", NULL, NULL, "column \"%s\" does not exist", word);
            return NULL;
        }
        n += !named[at];
        named[at] = true;
    }
    for (size_t i = 0; i < DS_UNIQUES_MAX && uniques[i].name; i++) {
        size_t k = 0, fit = 0;
        for (; k < DS_KEY_MAX && uniques[i].columns[k]; k++)
            fit += named[ds_table_column(w->base, uniques[i].columns[k])];
        if (fit == n && k == n && !uniques[i].partial)
            return &uniques[i];
    }
    ds_rest_fail(&w->rest, "42P10", NULL, NULL,
                 "there is no unique or exclusion constraint matching the ON CONFLICT "
                 "specification");
    return NULL;
}

/* The row that is in the way gets what the body has. */
static bool
merge_row(struct work *w, int64_t rowid, const json_t *json, const bool given[DS_COLUMNS_MAX])
{
    for (size_t i = 0; i < w->rows; i++)
        if (w->rowids[i] == rowid)
            return ds_rest_fail(
                &w->rest, "21000", NULL,
                "Ensure that no rows proposed for insertion within the same command "
                "have duplicate constrained values.",
                "ON CONFLICT DO UPDATE command cannot affect row a second time");
    int visible = ds_row_visible(&w->rest, w->base, rowid);
    if (visible == 0)
        return ds_rest_fail(&w->rest, "42501", NULL, NULL,
                            "new row violates row-level security policy (USING expression) for "
                            "table \"%s\"",
                            w->base->name);
    ds_autorow row = {0};
    return visible > 0 && ds_row_load(&w->rest, w->base, rowid, &row) &&
           set_given(w, &row, json, given) && ds_row_update(&w->rest, w->base, &row, rowid) &&
           add_rowid(w, rowid);
}

static bool
insert_row(struct work *w, const struct ds_unique *target, const json_t *json,
           const bool given[DS_COLUMNS_MAX], bool *inserted)
{
    ds_autorow row = {0};
    int64_t rowid = 0;
    if (!ds_row_defaults(&w->rest, w->base, &row) || !set_given(w, &row, json, given))
        return false;
    if (w->merge || w->ignore) {
        if (!ds_row_check(&w->rest, w->base, &row))
            return false;
        int64_t there = ds_row_conflict(&w->rest, w->base, target, &row);
        if (there < 0)
            return false;
        if (there > 0)
            return w->ignore || merge_row(w, there, json, given);
    }
    *inserted = true;
    return ds_row_insert(&w->rest, w->base, &row, &rowid) && add_rowid(w, rowid);
}

/* Where the one new row is. */
static void
say_location(struct work *w)
{
    ds_autorow row = {0};
    ds_autobuf out = DS_BUF_INIT;
    if (w->rows != 1 || !ds_row_load(&w->rest, w->base, w->rowids[0], &row))
        return;
    ds_buf_addf(&out, "/%s", w->table->name);
    for (size_t i = 0; i < DS_KEY_MAX && w->base->uniques[0].columns[i]; i++) {
        int at = ds_table_column(w->base, w->base->uniques[0].columns[i]);
        ds_buf_addf(&out, "%c%s=eq.", i > 0 ? '&' : '?', w->base->columns[at].name);
        ds_value_print(&out, w->base->columns[at].type, &row.values[at]);
    }
    ds_reply_header(w->rest.req, "location", out.data ? out.data : "");
}

/* What all changes end with; the rows are written already where they are wanted. */
static void
reply_change(struct work *w, int status, int status_empty, size_t range_rows)
{
    bool insert = strcmp(w->rest.req->method, "POST") == 0;
    if (w->want == WANT_ROWS && !one_only(w))
        return;
    if (w->want == WANT_ROWS)
        reply_rows(w, status);
    else
        ds_reply_text(w->rest.req, status_empty, "", "");
    if (insert && w->want == WANT_HEADERS)
        say_location(w);
    say_range(w, 0, range_rows, w->count ? (int64_t)w->rows : -1);
    say_applied(w, insert, true);
}

static void
insert_rows(struct work *w)
{
    bool given[DS_COLUMNS_MAX], inserted = false;
    ds_autojson *rows = read_body(w);
    if (!rows || !same_members(w, rows) || !read_columns(w, json_array_get(rows, 0), given) ||
        !ds_rest_may(&w->rest, w->table->base ? "view" : "table", w->table->name))
        return;
    const struct ds_unique *target = find_target(w);
    if (!target)
        return;
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (!insert_row(w, target, json_array_get(rows, i), given, &inserted))
            return;
    for (size_t i = 0; w->want == WANT_ROWS && i < w->rows; i++)
        if (!write_row(w, w->rowids[i]))
            return;
    int status = w->merge && !inserted ? 200 : 201;
    reply_change(w, status, status, 0);
}

/* ---- changing and removing ---- */

static bool
find_rows(struct work *w)
{
    ds_autosql sql = {0};
    if (w->query.limit >= 0 && w->query.order.len == 0) {
        ds_rest_error(w->rest.req, 400, "PGRST109", NULL, "Apply an 'order' using unique column(s)",
                      "A 'limit' was applied without an explicit 'order'");
        return false;
    }
    ds_buf_adds(&sql.text, "SELECT rowid");
    add_where(w, &sql);
    add_limits(w, &sql);
    ds_autostmt *stmt = ds_sql_prepare(&w->rest, &sql);
    if (!stmt)
        return false;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        if (!add_rowid(w, sqlite3_column_int64(stmt, 0)))
            return false;
    return rc == SQLITE_DONE || ds_rest_broken(&w->rest);
}

static void
update_rows(struct work *w)
{
    bool given[DS_COLUMNS_MAX], any = false;
    ds_autojson *body = read_body(w);
    const json_t *change = json_array_get(body, 0);
    if (!body || !read_columns(w, change, given) ||
        !ds_rest_may(&w->rest, w->table->base ? "view" : "table", w->table->name))
        return;
    for (size_t i = 0; i < DS_COLUMNS_MAX; i++)
        any = any || given[i];
    if (any && !find_rows(w))
        return;
    for (size_t i = 0; i < w->rows; i++) {
        ds_autorow row = {0};
        if (!ds_row_load(&w->rest, w->base, w->rowids[i], &row) ||
            !set_given(w, &row, change, given) ||
            !ds_row_update(&w->rest, w->base, &row, w->rowids[i]))
            return;
        if (w->want == WANT_ROWS && !write_row(w, w->rowids[i]))
            return;
    }
    reply_change(w, 200, 204, w->rows);
}

static void
delete_rows(struct work *w)
{
    if (!ds_rest_may(&w->rest, w->table->base ? "view" : "table", w->table->name) || !find_rows(w))
        return;
    for (size_t i = 0; i < w->rows; i++)
        if ((w->want == WANT_ROWS && !write_row(w, w->rowids[i])) ||
            !ds_row_delete(&w->rest, w->base, w->rowids[i]))
            return;
    reply_change(w, 200, 204, 0);
}

/* ---- the route ---- */

static void
serve(struct work *w)
{
    struct ds_request *req = w->rest.req;
    const char *m = req->method;
    if (!read_headers(w) || !ds_query_read(&w->rest, w->table, &w->query))
        return;
    if (strcmp(m, "POST") == 0)
        insert_rows(w);
    else if (strcmp(m, "PATCH") == 0)
        update_rows(w);
    else if (strcmp(m, "DELETE") == 0)
        delete_rows(w);
    else if (ds_rest_may(&w->rest, w->table->base ? "view" : "table", w->table->name))
        read_table(w);
}

static void
table(struct ds_request *req)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PATCH", "DELETE"};
    if (!ds_rest_identify(req))
        return;
    struct work w = {.rest = {.req = req}, .table = ds_table_find(req->key)};
    size_t i = 0;
    while (i < sizeof methods / sizeof methods[0] && strcmp(methods[i], req->method) != 0)
        i++;
    if (ds_rest_loading(req))
        return;
    if (!w.table || atomic_load(&req->server->pace->tables) == DS_TABLES_MISSING) {
        ds_rest_fail(&w.rest, "42P01", NULL, NULL, "relation \"public.%s\" does not exist",
                     req->key);
        return;
    }
    if (i == sizeof methods / sizeof methods[0]) {
        ds_rest_absent(&w.rest, req->method);
        return;
    }
    w.base = ds_table_base(w.table);
    ds_rest_begin(&w.rest, req);
    serve(&w);
    ds_rest_end(&w.rest);
    ds_query_fini(&w.query);
    ds_buf_fini(&w.out);
    free(w.rowids);
}

const struct ds_route ds_route_table = {
    .kind = "table", .body = DS_BODY_JSON, .auth_optional = true, .finish = table};
