/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rest-objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "db-internal.h"
#include "json.h"
#include "reply.h"

/* What contrib/sql/005-functions.sql does, on the dev server's own objects and tables. */

#define COUNT_MAX  INT32_MAX
#define BATCH_DAYS 30

void
ds_rest_reply_value(struct ds_rest *rest, const struct ds_buf *out)
{
    ds_reply_text(rest->req, 200, DS_REST_TYPE, out->data ? out->data : "");
    ds_reply_header(rest->req, "content-range", "0-0/*");
}

void
ds_rest_reply_set(struct ds_rest *rest, const struct ds_buf *rows, size_t n)
{
    ds_autobuf body = DS_BUF_INIT;
    ds_buf_addf(&body, "[%s]", rows->data ? rows->data : "");
    ds_reply_text(rest->req, 200, DS_REST_TYPE, body.data ? body.data : "");
    char range[64] = "*/*";
    if (n > 0)
        snprintf(range, sizeof range, "0-%zu/*", n - 1);
    ds_reply_header(rest->req, "content-range", range);
}

bool
ds_rest_take(struct ds_rest *rest, const json_t *object, const char *name, enum ds_type type,
             struct ds_value *ret)
{
    return ds_value_from_json(rest, type, json_object_get(object, name), ret);
}

bool
ds_rest_refuse(struct ds_rest *rest, const char *what)
{
    char message[sizeof rest->message];
    if (strncmp(rest->sqlstate, "22", 2) != 0 || strcmp(rest->sqlstate, "22023") == 0)
        return false;
    memcpy(message, rest->message, sizeof message);
    return ds_rest_fail(rest, "22023", NULL, NULL, "%s: %s", what, message);
}

bool
ds_rest_fits(const json_t *json, enum ds_type type)
{
    if (!json || json_is_null(json))
        return true;
    for (size_t i = 0; type == DS_TEXTS && i < json_array_size(json); i++)
        if (!json_is_string(json_array_get(json, i)))
            return false;
    switch (type) {
    case DS_BIGINT:
    case DS_INTEGER:
        return json_is_number(json);
    case DS_TEXTS:
        return json_is_array(json);
    case DS_JSONB:
        return json_is_object(json);
    case DS_BOOLEAN:
        return json_is_boolean(json);
    default:
        return json_is_string(json);
    }
}

/* ---- supafs_about ---- */

static void
about(struct ds_rest *rest, const json_t *body)
{
    (void)body;
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "{\"sub\": ");
    ds_buf_add_json(&out, rest->sub);
    ds_buf_addf(&out, ", \"exai\": false, \"role\": \"%s\", \"version\": 7}",
                ds_role_name(rest->req->who.role));
    ds_rest_reply_value(rest, &out);
}

/* ---- supafs_record ---- */

struct member {
    const char *name; /* in the entry */
    enum ds_type type;
    const char *column; /* NULL = handled by itself */
    unsigned room;      /* longer text is cut; 0 = not */
};

static const struct member file_members[] = {
    {.name = "file_id", .type = DS_UUID, .column = "file_id"},
    {.name = "bucket", .type = DS_TEXT, .column = "bucket_id"},
    {.name = "key", .type = DS_TEXT, .column = "object_key"},
    {.name = "name", .type = DS_TEXT, .column = "original_filename"},
    {.name = "size", .type = DS_BIGINT, .column = "file_size"},
    {.name = "mime", .type = DS_TEXT, .column = "mime_type"},
    {.name = "sha256", .type = DS_TEXT, .column = "file_hash"},
    {.name = "version", .type = DS_TEXT, .column = "version"},
    {.name = "etag", .type = DS_TEXT, .column = "etag"},
    {.name = "tags", .type = DS_TEXTS, .column = "tags"},
    {.name = "uploaded_at", .type = DS_TIME, .column = "upload_date"},
    {.name = "removed", .type = DS_BOOLEAN},
};
#define FILE_MEMBERS (sizeof file_members / sizeof file_members[0])

static const struct member operation_members[] = {
    {.name = "id", .type = DS_UUID, .column = "id"},
    {.name = "file_id", .type = DS_TEXT, .column = "file_id", .room = 64},
    {.name = "type", .type = DS_TEXT, .column = "operation_type", .room = 20},
    {.name = "source", .type = DS_TEXT, .column = "source", .room = 50},
    {.name = "destination", .type = DS_TEXT, .column = "destination", .room = 50},
    {.name = "status", .type = DS_TEXT, .column = "status", .room = 20},
    {.name = "created_at", .type = DS_TIME, .column = "created_at"},
    {.name = "completed_at", .type = DS_TIME, .column = "completed_at"},
    {.name = "metadata", .type = DS_JSONB, .column = "metadata"},
};
#define OPERATION_MEMBERS (sizeof operation_members / sizeof operation_members[0])

static const struct member access_members[] = {
    {.name = "file_id", .type = DS_UUID},
    {.name = "n", .type = DS_BIGINT},
    {.name = "last", .type = DS_TIME},
};
#define ACCESS_MEMBERS (sizeof access_members / sizeof access_members[0])

void
ds_rest_cut(char *text, unsigned room)
{
    for (unsigned n = 0; text && *text; text++)
        if (((unsigned char)*text & 0xc0) != 0x80 && n++ == room)
            *text = '\0', text--;
}

/* Puts those members that are not null into a row. */
static bool
put_members(struct ds_rest *rest, const struct ds_table *table, const struct member *members,
            size_t count, const json_t *entry, struct ds_row *row)
{
    for (size_t i = 0; i < count; i++) {
        struct ds_value value = DS_NULL;
        if (!members[i].column)
            continue;
        if (!ds_rest_take(rest, entry, members[i].name, members[i].type, &value))
            return false;
        if (members[i].room > 0)
            ds_rest_cut(value.text, members[i].room);
        if (value.kind != DS_VALUE_NULL)
            ds_row_put(table, row, members[i].column, value);
    }
    return true;
}

/* The caller's row with this id: its rowid, 0 when there is none, -1 answered. */
static int64_t
find_own(struct ds_rest *rest, const struct ds_table *table, const char *id)
{
    ds_autosql sql = {0};
    ds_buf_addf(&sql.text, "SELECT rowid FROM \"%s\" WHERE \"%s\" = ", table->name,
                table->columns[0].name);
    ds_sql_value(&sql, ds_value_text(id));
    ds_buf_adds(&sql.text, " AND ");
    ds_sql_policy(&sql, rest, table);
    ds_autostmt *stmt = ds_sql_prepare(rest, &sql);
    if (!stmt)
        return -1;
    return sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
}

/* Another object's row of the same place goes. */
static bool
clear_place(struct ds_rest *rest, const json_t *entry, const char *id)
{
    ds_autosql sql = {0};
    struct ds_value bucket = DS_NULL, key = DS_NULL;
    if (!ds_rest_take(rest, entry, "bucket", DS_TEXT, &bucket) ||
        !ds_rest_take(rest, entry, "key", DS_TEXT, &key))
        return false;
    ds_buf_adds(&sql.text, "DELETE FROM file_metadata WHERE bucket_id = ");
    ds_sql_value(&sql, bucket);
    ds_buf_adds(&sql.text, " AND object_key = ");
    ds_sql_value(&sql, key);
    ds_buf_adds(&sql.text, " AND file_id <> ");
    ds_sql_value(&sql, ds_value_text(id));
    ds_buf_adds(&sql.text, " AND ");
    ds_sql_policy(&sql, rest, ds_table_find("file_metadata"));
    ds_autostmt *stmt = ds_sql_prepare(rest, &sql);
    return stmt && (sqlite3_step(stmt) == SQLITE_DONE || ds_rest_broken(rest));
}

/* What follows from bucket and key. */
static void
put_place(const struct ds_table *table, const json_t *entry, struct ds_row *row, bool named)
{
    const char *bucket = json_string_value(json_object_get(entry, "bucket"));
    const char *key = json_string_value(json_object_get(entry, "key"));
    const char *slash = key ? strrchr(key, '/') : NULL;
    if (key && !named)
        ds_row_put(table, row, "original_filename", ds_value_text(slash ? slash + 1 : key));
    if (bucket && key) {
        ds_autobuf path = DS_BUF_INIT;
        ds_buf_addf(&path, "%s/%s", bucket, key);
        ds_row_put(table, row, "supabase_storage_path", ds_value_text(path.data));
    }
}

/* The reply to an upload tells no version: a hash is of the object's one while that has its bytes.
 */
static bool
adopt_version(struct ds_rest *rest, const struct ds_table *table, struct ds_row *row)
{
    const struct ds_value *etag = &row->values[ds_table_column(table, "etag")];
    if (row->values[ds_table_column(table, "file_hash")].kind == DS_VALUE_NULL ||
        row->values[ds_table_column(table, "version")].kind != DS_VALUE_NULL)
        return true;
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text, "SELECT bucket, name, version FROM objects WHERE id = ");
    ds_sql_value(&sql, ds_value_copy(&row->values[0]));
    ds_buf_adds(&sql.text, " AND etag = ");
    ds_sql_value(&sql, ds_value_copy(etag));
    ds_autostmt *stmt = ds_sql_prepare(rest, &sql);
    if (!stmt)
        return false;
    if (sqlite3_step(stmt) == SQLITE_ROW &&
        ds_may(rest->req, ds_db_text(stmt, 0), ds_db_text(stmt, 1), DS_SELECT))
        ds_row_put(table, row, "version", ds_value_text(ds_db_text(stmt, 2)));
    return true;
}

static bool
record_file(struct ds_rest *rest, const json_t *entry)
{
    const struct ds_table *table = ds_table_find("file_metadata");
    ds_autorow fresh = {0}, there = {0};
    if (!ds_row_defaults(rest, table, &fresh) ||
        !put_members(rest, table, file_members, FILE_MEMBERS, entry, &fresh))
        return false;
    const char *id = fresh.values[0].text;
    if (json_is_true(json_object_get(entry, "removed"))) {
        int64_t own = find_own(rest, table, id);
        return own == 0 || (own > 0 && ds_row_delete(rest, table, own));
    }
    const json_t *name = json_object_get(entry, "name");
    bool named = name && !json_is_null(name);
    put_place(table, entry, &fresh, named);
    if (!adopt_version(rest, table, &fresh) || !clear_place(rest, entry, id) ||
        !ds_row_check(rest, table, &fresh))
        return false;
    int64_t rowid = ds_row_conflict(rest, table, &table->uniques[0], &fresh);
    if (rowid == 0)
        return ds_row_insert(rest, table, &fresh, &rowid);
    if (rowid < 0)
        return false;
    int visible = ds_row_visible(rest, table, rowid);
    if (visible == 0)
        return ds_rest_fail(rest, "42501", NULL, NULL, "not the caller's row");
    if (visible < 0 || !ds_row_load(rest, table, rowid, &there) ||
        !put_members(rest, table, file_members, FILE_MEMBERS, entry, &there))
        return false;
    put_place(table, entry, &there, named);
    if (fresh.values[ds_table_column(table, "file_hash")].kind != DS_VALUE_NULL)
        ds_row_put(table, &there, "version",
                   ds_value_copy(&fresh.values[ds_table_column(table, "version")]));
    return ds_row_update(rest, table, &there, rowid);
}

static bool
record_operation(struct ds_rest *rest, const json_t *entry)
{
    const struct ds_table *table = ds_table_find("file_operations");
    ds_autorow row = {0};
    if (!ds_row_defaults(rest, table, &row) ||
        !put_members(rest, table, operation_members, OPERATION_MEMBERS, entry, &row) ||
        !ds_row_check(rest, table, &row))
        return false;
    int64_t rowid = ds_row_conflict(rest, table, &table->uniques[0], &row);
    return rowid > 0 || (rowid == 0 && ds_row_insert(rest, table, &row, &rowid));
}

static bool
record_access(struct ds_rest *rest, const json_t *entry)
{
    const struct ds_table *table = ds_table_find("file_metadata");
    ds_autorow row = {0};
    struct ds_value id = DS_NULL, n = DS_NULL, last = DS_NULL;
    bool fine = ds_rest_take(rest, entry, "file_id", DS_UUID, &id) &&
                ds_rest_take(rest, entry, "n", DS_BIGINT, &n) &&
                ds_rest_take(rest, entry, "last", DS_TIME, &last);
    if (fine && (!id.text || n.kind == DS_VALUE_NULL || n.number < 0))
        fine = ds_rest_fail(rest, "22023", NULL, NULL,
                            "p_accesses: an entry without a file_id or a count");
    int64_t rowid = fine ? find_own(rest, table, id.text) : -1;
    ds_value_fini(&id);
    if (rowid == 0)
        return true;
    if (rowid < 0 || !ds_row_load(rest, table, rowid, &row))
        return false;
    const struct ds_value *count = &row.values[ds_table_column(table, "access_count")];
    const struct ds_value *before = &row.values[ds_table_column(table, "last_accessed")];
    int64_t sum = n.number > COUNT_MAX - count->number ? COUNT_MAX : count->number + n.number;
    if (last.kind != DS_VALUE_NULL &&
        (before->kind == DS_VALUE_NULL || before->number < last.number))
        ds_row_put(table, &row, "last_accessed", last);
    ds_row_put(table, &row, "access_count", ds_value_number(sum));
    return ds_row_update(rest, table, &row, rowid);
}

static bool
savepoint(struct ds_rest *rest, const char *sql)
{
    return sqlite3_exec(rest->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK || ds_rest_broken(rest);
}

/* One of the three parameters. */
static const struct list {
    const char *name;
    const struct member *members;
    size_t count;
    const char *key; /* the member that must be there */
    const char *missing;
    bool (*record)(struct ds_rest *rest, const json_t *entry);
} lists[] = {
    {"p_files", file_members, FILE_MEMBERS, "file_id",
     "p_files: an entry without a file_id, or of a negative size", record_file},
    {"p_operations", operation_members, OPERATION_MEMBERS, "id",
     "p_operations: an entry without an id", record_operation},
    {"p_accesses", access_members, ACCESS_MEMBERS, "file_id",
     "p_accesses: an entry without a file_id or a count", record_access},
};
#define LISTS (sizeof lists / sizeof lists[0])

static bool
has_shape(const struct list *list, const json_t *entry)
{
    if (!json_is_object(entry))
        return false;
    for (size_t i = 0; i < list->count; i++)
        if (!ds_rest_fits(json_object_get(entry, list->members[i].name), list->members[i].type))
            return false;
    return true;
}

static bool
have_shape(struct ds_rest *rest, const json_t *body)
{
    for (size_t i = 0; i < LISTS; i++) {
        const json_t *entries = json_object_get(body, lists[i].name);
        if (!json_is_array(entries) && !json_is_null(entries))
            return ds_rest_fail(rest, "22023", NULL, NULL, "%s must be an array", lists[i].name);
        for (size_t k = 0; k < json_array_size(entries); k++)
            if (!has_shape(&lists[i], json_array_get(entries, k)))
                return ds_rest_fail(rest, "22023", NULL, NULL, "%s: an entry of the wrong shape",
                                    lists[i].name);
    }
    return true;
}

/* An entry that is refused by the caller's rights or by a constraint is passed over. */
static bool
record_entry(struct ds_rest *rest, const struct list *list, const json_t *entry, size_t *refused)
{
    const json_t *id = json_object_get(entry, list->key);
    const json_t *size = json_object_get(entry, "size");
    if (!id || json_is_null(id) || (list == lists && json_number_value(size) < 0))
        return ds_rest_fail(rest, "22023", NULL, NULL, "%s", list->missing);
    if (!savepoint(rest, "SAVEPOINT entry"))
        return false;
    if (!list->record(rest, entry)) {
        if (strcmp(rest->sqlstate, "42501") != 0 && strcmp(rest->sqlstate, "22001") != 0 &&
            strncmp(rest->sqlstate, "23", 2) != 0)
            return false;
        ds_rest_forgive(rest);
        ++*refused;
        if (!savepoint(rest, "ROLLBACK TO entry"))
            return false;
    }
    return savepoint(rest, "RELEASE entry");
}

/* Notes the batch: 1, 0 when it is there already, -1 answered. */
static int
note_batch(struct ds_rest *rest, struct ds_value *batch)
{
    const struct ds_table *table = ds_table_find("supafs_batches");
    ds_autorow row = {0};
    int64_t rowid = 0;
    if (!ds_row_defaults(rest, table, &row))
        return -1;
    ds_row_put(table, &row, "batch_id", ds_value_take(batch));
    if (!ds_row_check(rest, table, &row))
        return -1;
    int64_t there = ds_row_conflict(rest, table, &table->uniques[0], &row);
    if (there != 0)
        return there > 0 ? 0 : -1;
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text, "DELETE FROM supafs_batches WHERE created_at < ");
    ds_sql_value(&sql, ds_value_number(rest->now_us - BATCH_DAYS * INT64_C(86400000000)));
    ds_buf_adds(&sql.text, " AND ");
    ds_sql_policy(&sql, rest, table);
    ds_autostmt *stmt = ds_sql_prepare(rest, &sql);
    if (!stmt || sqlite3_step(stmt) != SQLITE_DONE)
        return -1;
    return ds_row_insert(rest, table, &row, &rowid) ? 1 : -1;
}

static bool
record_lists(struct ds_rest *rest, const json_t *body, size_t *refused)
{
    for (size_t i = 0; i < LISTS; i++) {
        const json_t *entries = json_object_get(body, lists[i].name);
        for (size_t k = 0; k < json_array_size(entries); k++)
            if (!record_entry(rest, &lists[i], json_array_get(entries, k), refused))
                return false;
    }
    return true;
}

static bool
record_all(struct ds_rest *rest, const json_t *body, bool *recorded, size_t *refused)
{
    struct ds_value batch = DS_NULL;
    if (!ds_rest_take(rest, body, "p_batch", DS_UUID, &batch))
        return false;
    if (!batch.text)
        return ds_rest_fail(rest, "22023", NULL, NULL, "p_batch must be a uuid");
    int noted = have_shape(rest, body) ? note_batch(rest, &batch) : -1;
    ds_value_fini(&batch);
    *recorded = noted > 0;
    if (noted <= 0)
        return noted == 0;
    return record_lists(rest, body, refused) ||
           ds_rest_refuse(rest, "p_files, p_operations or p_accesses");
}

static void
record(struct ds_rest *rest, const json_t *body)
{
    bool recorded = false;
    size_t refused = 0;
    if (!record_all(rest, body, &recorded, &refused))
        return;
    ds_autobuf out = DS_BUF_INIT;
    if (recorded)
        ds_buf_addf(&out, "{\"refused\": %zu, \"recorded\": true}", refused);
    else
        ds_buf_adds(&out, "{\"recorded\": false}");
    ds_rest_reply_value(rest, &out);
}

/* ---- supafs_map_id ---- */

static bool
look_up(struct ds_rest *rest, const char *file, const char *provider, struct ds_value *ret)
{
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text,
                "SELECT provider_file_id FROM file_id_mappings WHERE supabase_file_id = ");
    ds_sql_value(&sql, ds_value_text(file));
    ds_buf_adds(&sql.text, " AND provider = ");
    ds_sql_value(&sql, ds_value_text(provider));
    ds_buf_adds(&sql.text, " AND ");
    ds_sql_policy(&sql, rest, ds_table_find("file_id_mappings"));
    ds_autostmt *stmt = ds_sql_prepare(rest, &sql);
    if (!stmt)
        return false;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        *ret = ds_value_text(ds_db_text(stmt, 0));
    return true;
}

/* Stores the mapping unless one of it is there: 1, 0, or -1 answered. */
static int
store(struct ds_rest *rest, const json_t *body)
{
    const struct ds_table *table = ds_table_find("file_id_mappings");
    static const struct member members[] = {
        {.name = "p_file_id", .type = DS_TEXT, .column = "supabase_file_id"},
        {.name = "p_provider", .type = DS_TEXT, .column = "provider"},
        {.name = "p_provider_file_id", .type = DS_TEXT, .column = "provider_file_id"},
    };
    ds_autorow row = {0};
    int64_t rowid = 0;
    if (!ds_row_defaults(rest, table, &row) || !put_members(rest, table, members, 3, body, &row) ||
        !ds_row_check(rest, table, &row))
        return -1;
    for (size_t i = 0; i < DS_UNIQUES_MAX && table->uniques[i].name; i++) {
        int64_t there = ds_row_conflict(rest, table, &table->uniques[i], &row);
        if (there != 0)
            return there > 0 ? 0 : -1;
    }
    return ds_row_insert(rest, table, &row, &rowid) ? 1 : -1;
}

static void
map_id(struct ds_rest *rest, const json_t *body)
{
    struct ds_value file = DS_NULL, provider = DS_NULL, given = DS_NULL, known = DS_NULL;
    bool fine = ds_rest_take(rest, body, "p_file_id", DS_TEXT, &file) &&
                ds_rest_take(rest, body, "p_provider", DS_TEXT, &provider) &&
                ds_rest_take(rest, body, "p_provider_file_id", DS_TEXT, &given);
    if (fine && (!file.text || !provider.text))
        fine = ds_rest_fail(rest, "22023", NULL, NULL, "p_file_id and p_provider are needed");
    fine = fine && look_up(rest, file.text, provider.text, &known);
    int stored = fine && !known.text && given.text ? store(rest, body) : 0;
    if (fine && stored >= 0) {
        ds_autobuf out = DS_BUF_INIT;
        ds_buf_addf(&out, "{\"stored\": %s, \"provider_file_id\": ", stored ? "true" : "false");
        ds_buf_add_json(&out, stored ? given.text : known.text);
        ds_buf_adds(&out, "}");
        ds_rest_reply_value(rest, &out);
    }
    ds_value_fini(&file);
    ds_value_fini(&provider);
    ds_value_fini(&given);
    ds_value_fini(&known);
}

/* ---- all of them ---- */

static const struct ds_function functions[] = {
    {"supafs_about", {NULL}, about},
    {"supafs_chat_begin", {"p"}, ds_rest_chat_begin},
    {"supafs_chat_close", {"p"}, ds_rest_chat_close},
    {"supafs_chat_end", {"p"}, ds_rest_chat_end},
    {"supafs_chat_find", {"p"}, ds_rest_chat_find},
    {"supafs_chat_lease", {"p"}, ds_rest_chat_lease},
    {"supafs_chat_turns", {"p"}, ds_rest_chat_turns},
    {"supafs_find", {"p"}, ds_rest_find},
    {"supafs_list_dir", {"p_after", "p_bucket", "p_limit", "p_prefix"}, ds_rest_list_dir},
    {"supafs_map_id", {"p_file_id", "p_provider", "p_provider_file_id"}, map_id},
    {"supafs_provider_claim", {"p"}, ds_rest_provider_claim},
    {"supafs_provider_drop", {"p"}, ds_rest_provider_drop},
    {"supafs_provider_settle", {"p"}, ds_rest_provider_settle},
    {"supafs_record", {"p_accesses", "p_batch", "p_files", "p_operations"}, record},
};

const struct ds_function *
ds_function_find(const char *name)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (strcmp(functions[i].name, name) == 0)
            return &functions[i];
    return NULL;
}
