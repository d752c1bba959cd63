/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rest.h"

#include <fnmatch.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"

void
ds_sql_fini(struct ds_sql *sql)
{
    ds_buf_fini(&sql->text);
    for (size_t i = 0; i < sql->count; i++)
        ds_value_fini(&sql->values[i]);
    free(sql->values);
    *sql = (struct ds_sql){0};
}

void
ds_sql_value(struct ds_sql *sql, struct ds_value value)
{
    if (sql->count == sql->room) {
        size_t room = sql->room ? 2 * sql->room : 16;
        struct ds_value *grown = realloc(sql->values, room * sizeof *grown);
        if (!grown) {
            ds_value_fini(&value);
            sql->text.failed = true;
            return;
        }
        sql->values = grown;
        sql->room = room;
    }
    sql->values[sql->count++] = value;
    ds_buf_adds(&sql->text, "?");
}

sqlite3_stmt *
ds_sql_prepare(struct ds_rest *rest, const struct ds_sql *sql)
{
    sqlite3_stmt *stmt = NULL;
    if (sql->text.failed || !sql->text.data ||
        sqlite3_prepare_v2(rest->sqlite, sql->text.data, -1, &stmt, NULL) != SQLITE_OK) {
        ds_rest_broken(rest);
        return NULL;
    }
    for (size_t i = 0; i < sql->count; i++) {
        const struct ds_value *value = &sql->values[i];
        int at = (int)i + 1;
        if (value->kind == DS_VALUE_NUMBER)
            sqlite3_bind_int64(stmt, at, value->number);
        else if (value->kind == DS_VALUE_TEXT)
            sqlite3_bind_text(stmt, at, value->text, -1, SQLITE_STATIC);
    }
    return stmt;
}

void
ds_sql_policy(struct ds_sql *sql, const struct ds_rest *rest, const struct ds_table *table)
{
    if (!rest->own) {
        ds_buf_adds(&sql->text, "TRUE");
    } else if (table->owner) {
        ds_buf_addf(&sql->text, "\"%s\" = ", table->owner);
        ds_sql_value(sql, ds_value_text(rest->sub));
    } else {
        const struct ds_table *parent = ds_table_find(table->parent);
        ds_buf_addf(&sql->text,
                    "EXISTS(SELECT 1 FROM \"%s\" p WHERE p.\"%s\" = \"%s\".\"%s\" AND p.\"%s\" = ",
                    parent->name, parent->columns[0].name, table->name, table->parent_column,
                    parent->owner);
        ds_sql_value(sql, ds_value_text(rest->sub));
        ds_buf_adds(&sql->text, ")");
    }
}

/* ---- functions for SQL ---- */

/* One character of UTF-8. */
static size_t
width_of(const char *text)
{
    size_t n = 1;
    while (((unsigned char)text[n] & 0xc0) == 0x80)
        n++;
    return n;
}

/* LIKE of PostgreSQL: % and _, a backslash takes the next one as it is. Letters in ASCII only are
 * one with their other case. */
static bool
like(const char *text, const char *pattern, bool any_case)
{
    const char *back_text = NULL, *back_pattern = NULL;
    while (*text) {
        if (*pattern == '%') {
            back_pattern = ++pattern;
            back_text = text;
            continue;
        }
        const char *p = *pattern == '\\' && pattern[1] ? pattern + 1 : pattern;
        size_t n = width_of(text);
        bool any = p == pattern && *p == '_';
        if (any || (any_case ? strncasecmp(text, p, n) : strncmp(text, p, n)) == 0) {
            text += n;
            pattern = p + (any ? 1 : n);
        } else if (back_pattern) {
            back_text += width_of(back_text);
            text = back_text;
            pattern = back_pattern;
        } else {
            return false;
        }
    }
    while (*pattern == '%')
        pattern++;
    return !*pattern;
}

static void
sql_like(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    const char *text = (const char *)sqlite3_value_text(values[0]);
    const char *pattern = (const char *)sqlite3_value_text(values[1]);
    if (text && pattern)
        sqlite3_result_int(context, like(text, pattern, sqlite3_user_data(context) != NULL));
}

/* jsonb's @>: an object by its members, an array by its elements in any order. */
static bool
contains(const json_t *whole, const json_t *part)
{
    if (json_is_object(whole) && json_is_object(part)) {
        const char *name;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)part, name, value)
        {
            const json_t *there = json_object_get(whole, name);
            if (!there || !contains(there, value))
                return false;
        }
        return true;
    }
    if (json_is_array(whole) && json_is_array(part)) {
        for (size_t i = 0; i < json_array_size(part); i++) {
            bool found = false;
            for (size_t k = 0; !found && k < json_array_size(whole); k++)
                found = contains(json_array_get(whole, k), json_array_get(part, i));
            if (!found)
                return false;
        }
        return true;
    }
    return json_equal(whole, part);
}

/* A null in an array is equal to nothing. */
static void
sql_contains(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    const char *left = (const char *)sqlite3_value_text(values[0]);
    const char *right = (const char *)sqlite3_value_text(values[1]);
    if (!left || !right)
        return;
    ds_autojson *whole = json_loads(left, JSON_DECODE_ANY, NULL);
    ds_autojson *part = json_loads(right, JSON_DECODE_ANY, NULL);
    bool found = whole && part && contains(whole, part);
    for (size_t i = 0; sqlite3_value_int(values[2]) && i < json_array_size(part); i++)
        found = found && !json_is_null(json_array_get(part, i));
    sqlite3_result_int(context, found);
}

/* Whether a text, or what is behind its last slash, fits a glob of supafs_find(). */
static void
sql_glob(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    const char *pattern = (const char *)sqlite3_value_text(values[0]);
    const char *text = (const char *)sqlite3_value_text(values[1]);
    if (!text || !pattern)
        return;
    const char *slash = sqlite3_value_int(values[2]) ? strrchr(text, '/') : NULL;
    if (slash)
        text = slash + 1;
    ds_autobuf plain = DS_BUF_INIT; /* a backslash is no escape there */
    for (; *pattern; pattern++) {
        if (*pattern == '\\')
            ds_buf_adds(&plain, "\\");
        ds_buf_add(&plain, pattern, 1);
    }
    locale_t before = uselocale(sqlite3_user_data(context)); /* whole characters */
    sqlite3_result_int(context, fnmatch(plain.data ? plain.data : "", text, 0) == 0);
    uselocale(before);
}

int
ds_rest_functions(sqlite3 *sqlite)
{
    static char any_case;
    static locale_t utf8; /* for the life of the process */
    if (!utf8)
        utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC;
    int rc = sqlite3_create_function(sqlite, "pg_like", 2, flags, NULL, sql_like, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function(sqlite, "pg_ilike", 2, flags, &any_case, sql_like, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function(sqlite, "pg_contains", 3, flags, NULL, sql_contains, NULL,
                                     NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function(sqlite, "pg_glob", 3, flags, utf8, sql_glob, NULL, NULL);
    return rc;
}
