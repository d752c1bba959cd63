/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rest-objects.h"

#include <string.h>

#include "db-internal.h"
#include "json.h"
#include "reply.h"

/* The functions that join the objects with what the tables know: supafs_list_dir, supafs_find. */

#define LIMIT_MAX 1000

/* A member of an answer's rows, in the order of the statement's columns. */
struct shown {
    const char *name;
    enum ds_type type;
};

static const struct shown list_members[] = {
    {"key", DS_TEXT},           {"id", DS_UUID},         {"version", DS_TEXT},
    {"etag", DS_TEXT},          {"size", DS_BIGINT},     {"mime", DS_TEXT},
    {"cache_control", DS_TEXT}, {"updated_at", DS_TIME}, {"user_metadata", DS_JSONB},
    {"sha256", DS_TEXT},        {"tags", DS_TEXTS},      {"access_count", DS_INTEGER},
    {"last_accessed", DS_TIME},
};

static const struct shown find_members[] = {
    {"bucket", DS_TEXT}, {"key", DS_TEXT},        {"id", DS_UUID},     {"size", DS_BIGINT},
    {"mime", DS_TEXT},   {"updated_at", DS_TIME}, {"sha256", DS_TEXT}, {"tags", DS_TEXTS},
};
/* Besides: "is_prefix". */

#define FROM_OBJECTS " FROM objects o LEFT JOIN file_metadata m ON m.file_id = o.id AND "

static void
write_member(struct ds_buf *out, const struct shown *shown, sqlite3_stmt *stmt, int at)
{
    ds_buf_addf(out, "%s\"%s\":", at > 0 ? "," : "", shown->name);
    struct ds_value value = {.kind = DS_VALUE_TEXT, .text = ds_db_text(stmt, at)};
    if (sqlite3_column_type(stmt, at) == SQLITE_INTEGER)
        value = ds_value_number(sqlite3_column_int64(stmt, at));
    else if (!value.text)
        value = DS_NULL;
    /* The objects' own metadata is JSON in another form. */
    ds_autojson *json = shown->type == DS_JSONB && value.text
                            ? json_loads(value.text, JSON_DECODE_ANY, NULL)
                            : NULL;
    if (json)
        ds_jsonb_write(out, json);
    else
        ds_value_write(out, shown->type, &value);
}

/* Whether there are objects below one that the caller may see: 1, 0, or -1 answered. */
static int
is_prefix(struct ds_rest *rest, const char *bucket, const char *key)
{
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text, "SELECT name FROM objects WHERE bucket = ");
    ds_sql_value(&sql, ds_value_text(bucket));
    for (int end = 0; end < 2; end++) {
        ds_autobuf bound = DS_BUF_INIT;
        ds_buf_addf(&bound, "%s%c", key, '/' + end);
        ds_buf_adds(&sql.text, end ? " AND name < " : " AND name >= ");
        ds_sql_value(&sql, ds_value_text(bound.data));
    }
    ds_autostmt *stmt = ds_sql_prepare(rest, &sql);
    if (!stmt)
        return -1;
    while (sqlite3_step(stmt) == SQLITE_ROW)
        if (ds_may(rest->req, bucket, ds_db_text(stmt, 0), DS_SELECT))
            return 1;
    return 0;
}

/* The rows of the objects that the caller may see, `limit` of them. @bucket: of all of them, their
 * key being the first column; NULL = the first column is the bucket, the second the key, and they
 * are told whether they are prefixes. */
static void
reply_objects(struct ds_rest *rest, const struct ds_sql *sql, const struct shown *shown, int count,
              const char *bucket, int64_t limit)
{
    ds_autobuf out = DS_BUF_INIT;
    ds_autostmt *stmt = ds_sql_prepare(rest, sql);
    int64_t n = 0;
    int rc = stmt ? SQLITE_DONE : SQLITE_ERROR;
    while (stmt && n < limit && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *of = bucket ? bucket : ds_db_text(stmt, 0);
        if (!ds_may(rest->req, of, ds_db_text(stmt, bucket ? 0 : 1), DS_SELECT))
            continue;
        ds_buf_adds(&out, n++ > 0 ? ", \n {" : "{");
        for (int i = 0; i < count; i++)
            write_member(&out, &shown[i], stmt, i);
        int below = bucket ? 0 : is_prefix(rest, of, ds_db_text(stmt, 1));
        if (below < 0)
            return;
        if (!bucket)
            ds_buf_addf(&out, ",\"is_prefix\":%s", below ? "true" : "false");
        ds_buf_adds(&out, "}");
    }
    if (!stmt)
        return;
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        ds_rest_broken(rest);
    else
        ds_rest_reply_set(rest, &out, (size_t)n);
}

static void
add_prefix(struct ds_sql *sql, const char *prefix)
{
    ds_buf_adds(&sql->text, " AND o.name >= ");
    ds_sql_value(sql, ds_value_text(prefix));
    ds_buf_adds(&sql->text, " AND substr(o.name, 1, length(");
    ds_sql_value(sql, ds_value_text(prefix));
    ds_buf_adds(&sql->text, ")) = ");
    ds_sql_value(sql, ds_value_text(prefix));
}

static void
list_dir(struct ds_rest *rest, const char *bucket, const char *prefix, const char *after,
         int64_t limit)
{
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text, "SELECT o.name, o.id, o.version, o.etag, o.size, o.mime, o.cache, "
                           "o.updated_ms * 1000, o.user_meta, CASE WHEN m.version = o.version THEN "
                           "m.file_hash END, m.tags, coalesce(m.access_count, 0), "
                           "m.last_accessed" FROM_OBJECTS);
    ds_sql_policy(&sql, rest, ds_table_find("file_metadata"));
    ds_buf_adds(&sql.text, " WHERE o.bucket = ");
    ds_sql_value(&sql, ds_value_text(bucket));
    add_prefix(&sql, prefix);
    ds_buf_adds(&sql.text, " AND instr(substr(o.name, length(");
    ds_sql_value(&sql, ds_value_text(prefix));
    ds_buf_adds(&sql.text, ") + 1), '/') = 0");
    if (after) {
        ds_buf_adds(&sql.text, " AND o.name > ");
        ds_sql_value(&sql, ds_value_text(after));
    }
    ds_buf_adds(&sql.text, " ORDER BY o.name");
    reply_objects(rest, &sql, list_members, sizeof list_members / sizeof list_members[0], bucket,
                  limit < LIMIT_MAX ? limit : LIMIT_MAX);
}

void
ds_rest_list_dir(struct ds_rest *rest, const json_t *body)
{
    struct ds_value bucket = DS_NULL, prefix = DS_NULL, after = DS_NULL, limit = DS_NULL;
    bool fine = ds_rest_take(rest, body, "p_bucket", DS_TEXT, &bucket) &&
                ds_rest_take(rest, body, "p_prefix", DS_TEXT, &prefix) &&
                ds_rest_take(rest, body, "p_after", DS_TEXT, &after) &&
                ds_rest_take(rest, body, "p_limit", DS_INTEGER, &limit);
    if (fine && (!bucket.text || limit.kind == DS_VALUE_NULL || limit.number < 1))
        fine = ds_rest_fail(rest, "22023", NULL, NULL,
                            "p_bucket and a p_limit of at least 1 are needed");
    if (fine)
        list_dir(rest, bucket.text, prefix.text ? prefix.text : "", after.text, limit.number);
    ds_value_fini(&bucket);
    ds_value_fini(&prefix);
    ds_value_fini(&after);
    ds_value_fini(&limit);
}

/* ---- supafs_find ---- */

/* The members of p: each is a condition with the member's value in it, once. */
static const struct condition {
    const char *name;
    enum ds_type type;
    const char *before, *behind;
} conditions[] = {
    {"bucket", DS_TEXT, "o.bucket = ", ""},
    {"name", DS_TEXT, "pg_glob(", ", o.name, 1)"},
    {"type", DS_TEXT, "pg_glob(", ", o.mime, 0)"},
    {"min_size", DS_BIGINT, "o.size >= ", ""},
    {"max_size", DS_BIGINT, "o.size <= ", ""},
    {"newer", DS_TIME, "o.updated_ms * 1000 > ", ""},
    {"older", DS_TIME, "o.updated_ms * 1000 < ", ""},
    {"tag", DS_TEXT, "EXISTS(SELECT 1 FROM json_each(m.tags) t WHERE t.value = ", ")"},
    {"sha256", DS_TEXT, "m.version = o.version AND m.file_hash = ", ""},
};

static bool
add_conditions(struct ds_rest *rest, struct ds_sql *sql, const json_t *p)
{
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
        struct ds_value value = DS_NULL;
        if (!ds_rest_take(rest, p, conditions[i].name, conditions[i].type, &value))
            return false;
        if (value.kind == DS_VALUE_NULL)
            continue;
        ds_buf_addf(&sql->text, " AND %s", conditions[i].before);
        ds_sql_value(sql, value);
        ds_buf_adds(&sql->text, conditions[i].behind);
    }
    return true;
}

static bool
add_mapping(struct ds_rest *rest, struct ds_sql *sql, const json_t *p)
{
    static const char *const names[] = {"provider", "provider_file_id"};
    bool any = false;
    for (size_t i = 0; i < 2; i++) {
        struct ds_value value = DS_NULL;
        if (!ds_rest_take(rest, p, names[i], DS_TEXT, &value))
            return false;
        if (!value.text)
            continue;
        if (!any) {
            ds_buf_adds(&sql->text,
                        " AND EXISTS(SELECT 1 FROM file_id_mappings WHERE supabase_file_id = o.id "
                        "AND ");
            ds_sql_policy(sql, rest, ds_table_find("file_id_mappings"));
        }
        any = true;
        ds_buf_addf(&sql->text, " AND %s = ", names[i]);
        ds_sql_value(sql, value);
    }
    ds_buf_adds(&sql->text, any ? ")" : "");
    return true;
}

static bool
add_after(struct ds_rest *rest, struct ds_sql *sql, const json_t *p)
{
    struct ds_value bucket = DS_NULL, key = DS_NULL;
    if (!ds_rest_take(rest, p, "after_bucket", DS_TEXT, &bucket) ||
        !ds_rest_take(rest, p, "after_key", DS_TEXT, &key))
        return false;
    if (bucket.text) {
        ds_buf_adds(&sql->text, " AND (o.bucket, o.name) > (");
        ds_sql_value(sql, ds_value_copy(&bucket));
        ds_buf_adds(&sql->text, ", ");
        ds_sql_value(sql, ds_value_text(key.text ? key.text : ""));
        ds_buf_adds(&sql->text, ")");
    }
    ds_value_fini(&bucket);
    ds_value_fini(&key);
    return true;
}

static bool
has_shape(const json_t *p)
{
    static const char *const texts[] = {"prefix", "provider", "provider_file_id", "after_bucket",
                                        "after_key"};
    bool fits = ds_rest_fits(json_object_get(p, "limit"), DS_INTEGER);
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++)
        fits = fits && ds_rest_fits(json_object_get(p, conditions[i].name), conditions[i].type);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        fits = fits && ds_rest_fits(json_object_get(p, texts[i]), DS_TEXT);
    return fits;
}

void
ds_rest_find(struct ds_rest *rest, const json_t *body)
{
    const json_t *p = json_object_get(body, "p");
    struct ds_value limit = DS_NULL, prefix = DS_NULL;
    if (!json_is_object(p)) {
        ds_rest_fail(rest, "22023", NULL, NULL, "p must be an object");
        return;
    }
    if (!has_shape(p)) {
        ds_rest_fail(rest, "22023", NULL, NULL, "p: a member of the wrong type");
        return;
    }
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text, "SELECT o.bucket, o.name, o.id, o.size, o.mime, o.updated_ms * 1000, "
                           "CASE WHEN m.version = o.version THEN m.file_hash END, "
                           "m.tags" FROM_OBJECTS);
    ds_sql_policy(&sql, rest, ds_table_find("file_metadata"));
    ds_buf_adds(&sql.text, " WHERE TRUE");
    bool fine = ds_rest_take(rest, p, "limit", DS_INTEGER, &limit) &&
                ds_rest_take(rest, p, "prefix", DS_TEXT, &prefix);
    if (fine && prefix.text)
        add_prefix(&sql, prefix.text);
    ds_value_fini(&prefix);
    fine = fine && add_conditions(rest, &sql, p) && add_mapping(rest, &sql, p) &&
           add_after(rest, &sql, p);
    if (!fine) {
        ds_rest_refuse(rest, "p");
        return;
    }
    int64_t rows = limit.kind == DS_VALUE_NULL ? LIMIT_MAX : limit.number;
    if (rows < 1) {
        ds_rest_fail(rest, "22023", NULL, NULL, "p: limit must be at least 1");
        return;
    }
    ds_buf_adds(&sql.text, " ORDER BY o.bucket, o.name");
    reply_objects(rest, &sql, find_members, sizeof find_members / sizeof find_members[0], NULL,
                  rows < LIMIT_MAX ? rows : LIMIT_MAX);
}
