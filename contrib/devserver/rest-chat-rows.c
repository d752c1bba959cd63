/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rest-chat.h"

#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "db-internal.h"
#include "json.h"

#define PAGE_BYTES (2 * 1024 * 1024)
#define DAY_US     (86400 * INT64_C(1000000))

/* ---- conversations ---- */

void
ds_conversation_fini(struct ds_conversation *c)
{
    ds_row_fini(&c->row);
    json_decref(c->metadata);
}

const char *
ds_chat_text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

const struct ds_value *
ds_conversation_value(const struct ds_conversation *c, const char *column)
{
    return &c->row.values[ds_table_column(ds_table_find("conversations"), column)];
}

/* False: answered. */
static bool
load(struct ds_rest *rest, int64_t rowid, struct ds_conversation *c)
{
    const struct ds_table *table = ds_table_find("conversations");
    if (!ds_row_load(rest, table, rowid, &c->row))
        return false;
    const char *text = ds_conversation_value(c, "metadata")->text;
    c->metadata = text ? json_loads(text, 0, NULL) : NULL;
    if (!json_is_object(c->metadata)) {
        json_decref(c->metadata);
        c->metadata = json_object();
    }
    c->ours = json_object_get(c->metadata, "supafs");
    if (!json_is_object(c->ours)) {
        json_object_set_new(c->metadata, "supafs", json_object());
        c->ours = json_object_get(c->metadata, "supafs");
    }
    c->rowid = rowid;
    return c->ours != NULL || ds_rest_broken(rest);
}

bool
ds_conversation_find(struct ds_rest *rest, const char *id, struct ds_conversation *c)
{
    const struct ds_table *table = ds_table_find("conversations");
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text, "SELECT rowid FROM conversations WHERE continuation_id = ");
    ds_sql_value(&sql, ds_value_text(id));
    ds_buf_adds(&sql.text, " AND ");
    ds_sql_policy(&sql, rest, table);
    ds_autostmt *stmt = ds_sql_prepare(rest, &sql);
    if (!stmt)
        return false;
    return sqlite3_step(stmt) != SQLITE_ROW || load(rest, sqlite3_column_int64(stmt, 0), c);
}

bool
ds_conversation_save(struct ds_rest *rest, struct ds_conversation *c)
{
    const struct ds_table *table = ds_table_find("conversations");
    ds_autobuf text = DS_BUF_INIT;
    ds_jsonb_write(&text, c->metadata);
    ds_row_put(table, &c->row, "metadata", ds_value_text(text.data));
    return ds_row_update(rest, table, &c->row, c->rowid);
}

bool
ds_conversation_is_held(const struct ds_conversation *c, const char *holder)
{
    const char *by = ds_chat_text(json_object_get(c->ours, "lease"), "by");
    return by && strcmp(by, holder) == 0;
}

int
ds_conversation_busy(const struct ds_rest *rest, const struct ds_conversation *c,
                     const char *holder)
{
    const json_t *until = json_object_get(json_object_get(c->ours, "lease"), "until");
    double left = json_number_value(until) / 1000 - (double)rest->now_us / 1e6;
    if (!json_is_number(until) || ds_conversation_is_held(c, holder) ||
        !(left > 0 && left <= DS_LEASE_MAX_S))
        return 0;
    return (int)left + (left > (int)left);
}

void
ds_conversation_lease(const struct ds_rest *rest, struct ds_conversation *c, const char *holder,
                      int s)
{
    json_object_set_new(c->ours, "lease",
                        json_pack("{s:s, s:I}", "by", holder, "until",
                                  (json_int_t)(rest->now_us / 1000 + s * INT64_C(1000))));
}

/* ---- messages ---- */

/* "2026-11-22T07:08:24.031340Z" */
static void
print_time(struct ds_buf *out, int64_t us)
{
    time_t s = (time_t)(us / 1000000);
    struct tm tm;
    char text[40];
    gmtime_r(&s, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    ds_buf_addf(out, "%s.%06dZ", text, (int)(us % 1000000));
}

void
ds_place_print(struct ds_buf *out, int64_t us, const char *id)
{
    ds_buf_adds(out, "\"");
    print_time(out, us);
    ds_buf_addf(out, "|%s\"", id);
}

bool
ds_place_read(struct ds_rest *rest, const char *text, struct ds_place *ret)
{
    const char *bar = text ? strchr(text, '|') : NULL;
    sf_autofree char *at = text ? strndup(text, bar ? (size_t)(bar - text) : strlen(text)) : NULL;
    struct ds_value value = DS_NULL;
    if (!text)
        return true;
    if (!at || !ds_value_read(rest, DS_TIME, at, &value))
        return ds_rest_fail(rest, "22023", NULL, NULL, "p: after is no cursor");
    *ret = (struct ds_place){.set = true, .us = value.number, .id = bar ? bar + 1 : ""};
    return true;
}

static void
add_bound(struct ds_sql *sql, const char *sign, const struct ds_place *place)
{
    if (!place->set)
        return;
    ds_buf_adds(&sql->text, " AND (\"timestamp\", id) ");
    ds_buf_adds(&sql->text, sign);
    ds_buf_adds(&sql->text, " (");
    ds_sql_value(sql, ds_value_number(place->us));
    ds_buf_adds(&sql->text, ", ");
    ds_sql_value(sql, ds_value_text(place->id));
    ds_buf_adds(&sql->text, ")");
}

/* Of the columns id, role, timestamp, content, metadata. */
static void
write_message(struct ds_buf *out, sqlite3_stmt *stmt)
{
    const char *metadata = ds_db_text(stmt, 4);
    ds_buf_adds(out, out->len ? ", {\"id\" : " : "{\"id\" : ");
    ds_buf_add_json(out, ds_db_text(stmt, 0));
    ds_buf_adds(out, ", \"role\" : ");
    ds_buf_add_json(out, ds_db_text(stmt, 1));
    ds_buf_adds(out, ", \"at\" : \"");
    print_time(out, sqlite3_column_int64(stmt, 2));
    ds_buf_adds(out, "\", \"content\" : ");
    ds_buf_add_json(out, ds_db_text(stmt, 3));
    ds_buf_addf(out, ", \"metadata\" : %s}", metadata ? metadata : "null");
}

/* @sql: zeroed; has the values, so it stays as long as the statement. NULL: answered. */
static sqlite3_stmt *
select_messages(struct ds_rest *rest, struct ds_sql *sql, const struct ds_conversation *c,
                const struct ds_place *after, const struct ds_place *before,
                const struct ds_place *up_to)
{
    ds_buf_adds(&sql->text, "SELECT id, role, \"timestamp\", content, metadata FROM messages"
                            " WHERE conversation_id = ");
    ds_sql_value(sql, ds_value_copy(ds_conversation_value(c, "id")));
    ds_buf_adds(&sql->text, " AND \"timestamp\" < ");
    ds_sql_value(sql, ds_value_number(rest->now_us + DAY_US));
    add_bound(sql, ">", after);
    add_bound(sql, "<", before);
    add_bound(sql, "<=", up_to);
    ds_buf_adds(&sql->text, " ORDER BY \"timestamp\", id");
    return ds_sql_prepare(rest, sql);
}

void
ds_messages_fini(struct ds_messages *r)
{
    ds_buf_fini(&r->turns);
    ds_buf_fini(&r->place);
}
bool
ds_messages_read(struct ds_rest *rest, const struct ds_conversation *c,
                 const struct ds_place *after, const struct ds_place *before, int limit,
                 struct ds_messages *ret)
{
    size_t bytes = 0;
    if (!c->rowid)
        return true;
    ds_autosql sql = {0};
    ds_autostmt *stmt = select_messages(rest, &sql, c, after, before, &(struct ds_place){0});
    for (int n = 0; stmt && sqlite3_step(stmt) == SQLITE_ROW; n++) {
        bytes += (size_t)sqlite3_column_bytes(stmt, 3) + (size_t)sqlite3_column_bytes(stmt, 4);
        if (n == limit || (n > 0 && bytes > PAGE_BYTES)) {
            ret->more = true;
            break;
        }
        write_message(&ret->turns, stmt);
        ds_buf_fini(&ret->place);
        ret->place = DS_BUF_INIT;
        ds_place_print(&ret->place, sqlite3_column_int64(stmt, 2), ds_db_text(stmt, 0));
    }
    return stmt != NULL;
}

int
ds_message_find(struct ds_rest *rest, const struct ds_conversation *c, const char *id, int64_t *us)
{
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text, "SELECT \"timestamp\" FROM messages WHERE conversation_id = ");
    ds_sql_value(&sql, ds_value_copy(ds_conversation_value(c, "id")));
    ds_buf_adds(&sql.text, " AND id = ");
    ds_sql_value(&sql, ds_value_text(id));
    ds_autostmt *stmt = ds_sql_prepare(rest, &sql);
    if (!stmt)
        return -1;
    if (sqlite3_step(stmt) != SQLITE_ROW)
        return 0;
    *us = sqlite3_column_int64(stmt, 0);
    return 1;
}

bool
ds_message_add(struct ds_rest *rest, const struct ds_conversation *c, const char *id,
               const char *role, const json_t *p, int64_t us, const json_t *metadata)
{
    const struct ds_table *table = ds_table_find("messages");
    ds_autorow row = {0};
    ds_autobuf text = DS_BUF_INIT;
    int64_t rowid;
    if (!ds_row_defaults(rest, table, &row))
        return false;
    ds_row_put(table, &row, "id", ds_value_text(id));
    ds_row_put(table, &row, "conversation_id", ds_value_copy(ds_conversation_value(c, "id")));
    ds_row_put(table, &row, "role", ds_value_text(role));
    ds_row_put(table, &row, "content", ds_value_text(ds_chat_text(p, "content")));
    ds_row_put(table, &row, "timestamp", ds_value_number(us));
    if (metadata) {
        ds_jsonb_write(&text, metadata);
        ds_row_put(table, &row, "metadata", ds_value_text(text.data));
    }
    if (ds_row_conflict(rest, table, &table->uniques[0], &row) > 0 && strcmp(role, "user") != 0)
        return true;
    return ds_row_insert(rest, table, &row, &rowid);
}

static bool
is_among(const json_t *texts, const char *text)
{
    for (size_t i = 0; text && i < json_array_size(texts); i++) {
        const char *one = json_string_value(json_array_get(texts, i));
        if (one && strcmp(one, text) == 0)
            return true;
    }
    return false;
}

bool
ds_messages_late(struct ds_rest *rest, const struct ds_conversation *c,
                 const struct ds_place *after, const json_t *questions, struct ds_buf *out)
{
    size_t bytes = 0;
    if (!c->rowid || !after->set || !json_array_size(questions))
        return true;
    ds_autosql sql = {0};
    ds_autostmt *stmt =
        select_messages(rest, &sql, c, &(struct ds_place){0}, &(struct ds_place){0}, after);
    while (stmt && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *text = ds_db_text(stmt, 4);
        ds_autojson *metadata = text ? json_loads(text, 0, NULL) : NULL;
        if (!is_among(questions, ds_chat_text(json_object_get(metadata, "supafs"), "to")))
            continue;
        bytes += (size_t)sqlite3_column_bytes(stmt, 3) + (size_t)sqlite3_column_bytes(stmt, 4);
        if (!out->len || bytes <= PAGE_BYTES)
            write_message(out, stmt);
    }
    return stmt != NULL;
}

bool
ds_message_next(struct ds_rest *rest, const struct ds_conversation *c, int64_t *us)
{
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text, "SELECT max(\"timestamp\") FROM messages WHERE conversation_id = ");
    ds_sql_value(&sql, ds_value_copy(ds_conversation_value(c, "id")));
    ds_buf_adds(&sql.text, " AND \"timestamp\" < ");
    ds_sql_value(&sql, ds_value_number(rest->now_us + DAY_US));
    ds_autostmt *stmt = ds_sql_prepare(rest, &sql);
    if (!stmt || sqlite3_step(stmt) != SQLITE_ROW)
        return stmt ? ds_rest_broken(rest) : false;
    int64_t last = sqlite3_column_int64(stmt, 0) + 2;
    *us = last > rest->now_us ? last : rest->now_us;
    return true;
}
