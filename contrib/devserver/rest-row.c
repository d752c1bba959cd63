/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rest.h"

#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "db-internal.h"

void
ds_row_fini(struct ds_row *row)
{
    for (size_t i = 0; i < DS_COLUMNS_MAX; i++)
        ds_value_fini(&row->values[i]);
}

bool
ds_row_defaults(struct ds_rest *rest, const struct ds_table *table, struct ds_row *row)
{
    for (size_t i = 0; i < ds_table_width(table); i++) {
        const struct ds_column *column = &table->columns[i];
        char id[DS_UUID_SIZE];
        struct ds_value value = DS_NULL;
        if (column->origin == DS_DEFAULT_UUID && ds_uuid_new(id) == 0)
            value = ds_value_text(id);
        else if (column->origin == DS_DEFAULT_NOW)
            value = ds_value_number(rest->now_us);
        else if (column->origin == DS_DEFAULT_CALLER)
            value = ds_value_text(rest->sub);
        else if (column->origin == DS_DEFAULT_TEXT &&
                 !ds_value_read(rest, column->type, column->literal, &value))
            return false;
        ds_value_fini(&row->values[i]);
        row->values[i] = value;
    }
    return true;
}

/* Characters of UTF-8. */
static size_t
length_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

bool
ds_row_set(struct ds_rest *rest, const struct ds_table *table, struct ds_row *row, int column,
           const json_t *json)
{
    const struct ds_column *about = &table->columns[column];
    struct ds_value value = DS_NULL;
    if (!ds_value_from_json(rest, about->type, json, &value))
        return false;
    if (about->room > 0 && value.text && length_of(value.text) > about->room) {
        ds_value_fini(&value);
        return ds_rest_fail(rest, "22001", NULL, NULL,
                            "value too long for type character varying(%u)", about->room);
    }
    ds_value_fini(&row->values[column]);
    row->values[column] = value;
    return true;
}

void
ds_row_put(const struct ds_table *table, struct ds_row *row, const char *column,
           struct ds_value value)
{
    int at = ds_table_column(table, column);
    ds_value_fini(&row->values[at]);
    row->values[at] = value;
}

static void
add_columns(struct ds_sql *sql, const struct ds_table *table)
{
    for (size_t i = 0; i < ds_table_width(table); i++)
        ds_buf_addf(&sql->text, "%s\"%s\"", i > 0 ? ", " : "", table->columns[i].name);
}

bool
ds_row_load(struct ds_rest *rest, const struct ds_table *table, int64_t rowid, struct ds_row *row)
{
    ds_autosql sql = {0};
    ds_buf_adds(&sql.text, "SELECT ");
    add_columns(&sql, table);
    ds_buf_addf(&sql.text, " FROM \"%s\" WHERE rowid = ", table->name);
    ds_sql_value(&sql, ds_value_number(rowid));
    ds_autostmt *stmt = ds_sql_prepare(rest, &sql);
    if (!stmt)
        return false;
    if (sqlite3_step(stmt) != SQLITE_ROW)
        return ds_rest_broken(rest);
    for (size_t i = 0; i < ds_table_width(table); i++) {
        ds_value_fini(&row->values[i]);
        if (sqlite3_column_type(stmt, (int)i) == SQLITE_INTEGER)
            row->values[i] = ds_value_number(sqlite3_column_int64(stmt, (int)i));
        else
            row->values[i] = ds_value_text(ds_db_text(stmt, (int)i));
    }
    return true;
}

/* ---- the table's rules ---- */

/* Whether the statement finds a row: 1 or 0, -1 answered. */
static int
finds(struct ds_rest *rest, const struct ds_sql *sql, int64_t *value)
{
    ds_autostmt *stmt = ds_sql_prepare(rest, sql);
    if (!stmt)
        return -1;
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW && value)
        *value = sqlite3_column_int64(stmt, 0);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        ds_rest_broken(rest);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -1;
}

int
ds_row_visible(struct ds_rest *rest, const struct ds_table *table, int64_t rowid)
{
    ds_autosql sql = {0};
    ds_buf_addf(&sql.text, "SELECT 1 FROM \"%s\" WHERE rowid = ", table->name);
    ds_sql_value(&sql, ds_value_number(rowid));
    ds_buf_adds(&sql.text, " AND ");
    ds_sql_policy(&sql, rest, table);
    return finds(rest, &sql, NULL);
}

static const struct ds_value *
value_of(const struct ds_table *table, const struct ds_row *row, const char *column)
{
    return &row->values[ds_table_column(table, column)];
}

static bool
is_own(struct ds_rest *rest, const struct ds_table *table, const struct ds_row *row)
{
    if (!rest->own)
        return true;
    if (!rest->sub)
        return false;
    if (table->owner) {
        const struct ds_value *owner = value_of(table, row, table->owner);
        return owner->text && strcmp(owner->text, rest->sub) == 0;
    }
    const struct ds_table *parent = ds_table_find(table->parent);
    ds_autosql sql = {0};
    ds_buf_addf(&sql.text, "SELECT 1 FROM \"%s\" WHERE \"%s\" = ", parent->name,
                parent->columns[0].name);
    ds_sql_value(&sql, ds_value_copy(value_of(table, row, table->parent_column)));
    ds_buf_adds(&sql.text, " AND ");
    ds_sql_policy(&sql, rest, parent);
    return finds(rest, &sql, NULL) == 1;
}

/* The row as the error shows it; a user who may not see all rows is not shown it. */
static bool
refuse_row(struct ds_rest *rest, const struct ds_table *table, const struct ds_row *row,
           const char *sqlstate, const struct ds_column *column)
{
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "Failing row contains (");
    for (size_t i = 0; i < ds_table_width(table); i++) {
        ds_autobuf value = DS_BUF_INIT;
        ds_value_print(&value, table->columns[i].type, &row->values[i]);
        ds_buf_addf(&out, "%s%.64s%s", i > 0 ? ", " : "", value.data ? value.data : "",
                    value.len > 64 ? "..." : "");
    }
    ds_buf_adds(&out, ").");
    const char *details = rest->own ? NULL : out.data;
    if (strcmp(sqlstate, "23502") == 0)
        return ds_rest_fail(rest, sqlstate, details, NULL,
                            "null value in column \"%s\" of relation \"%s\" violates not-null "
                            "constraint",
                            column->name, table->name);
    return ds_rest_fail(rest, sqlstate, details, NULL,
                        "new row for relation \"%s\" violates check constraint \"%s\"", table->name,
                        column->check_name);
}

static bool
fits(const char *pattern, const char *text)
{
    regex_t regex;
    if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    bool fit = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return fit;
}

bool
ds_row_check(struct ds_rest *rest, const struct ds_table *table, const struct ds_row *row)
{
    if (!is_own(rest, table, row)) {
        if (rest->req->reply.status != 0)
            return false;
        return ds_rest_fail(rest, "42501", NULL, NULL,
                            "new row violates row-level security policy for table \"%s\"",
                            table->name);
    }
    for (size_t i = 0; i < ds_table_width(table); i++) {
        const struct ds_column *column = &table->columns[i];
        if (column->not_null && row->values[i].kind == DS_VALUE_NULL)
            return refuse_row(rest, table, row, "23502", column);
    }
    for (size_t i = 0; i < ds_table_width(table); i++) {
        const struct ds_column *column = &table->columns[i];
        if (column->check && row->values[i].text && !fits(column->check, row->values[i].text))
            return refuse_row(rest, table, row, "23514", column);
    }
    return true;
}

int64_t
ds_row_conflict(struct ds_rest *rest, const struct ds_table *table, const struct ds_unique *unique,
                const struct ds_row *row)
{
    ds_autosql sql = {0};
    ds_buf_addf(&sql.text, "SELECT rowid FROM \"%s\" WHERE ", table->name);
    for (size_t i = 0; i < DS_KEY_MAX && unique->columns[i]; i++) {
        const struct ds_value *value = value_of(table, row, unique->columns[i]);
        bool last = i + 1 == DS_KEY_MAX || !unique->columns[i + 1];
        if (value->kind == DS_VALUE_NULL && (!unique->nulls_equal || (unique->partial && !last)))
            return 0;
        ds_buf_addf(&sql.text, "%s\"%s\" IS ", i > 0 ? " AND " : "", unique->columns[i]);
        ds_sql_value(&sql, ds_value_copy(value));
    }
    int64_t rowid = 0;
    return finds(rest, &sql, &rowid) < 0 ? -1 : rowid;
}

static bool
refuse_double(struct ds_rest *rest, const struct ds_table *table, const struct ds_unique *unique,
              const struct ds_row *row)
{
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "Key (");
    for (size_t i = 0; i < DS_KEY_MAX && unique->columns[i]; i++)
        ds_buf_addf(&out, "%s%s", i > 0 ? ", " : "", unique->columns[i]);
    ds_buf_adds(&out, ")=(");
    for (size_t i = 0; i < DS_KEY_MAX && unique->columns[i]; i++) {
        int at = ds_table_column(table, unique->columns[i]);
        ds_buf_adds(&out, i > 0 ? ", " : "");
        ds_value_print(&out, table->columns[at].type, &row->values[at]);
    }
    ds_buf_adds(&out, ") already exists.");
    return ds_rest_fail(rest, "23505", rest->own ? NULL : out.data, NULL,
                        "duplicate key value violates unique constraint \"%s\"", unique->name);
}

/* Constraints that look at other rows; the row itself may be there already. */
static bool
check_others(struct ds_rest *rest, const struct ds_table *table, const struct ds_row *row,
             int64_t self)
{
    for (size_t i = 0; i < DS_UNIQUES_MAX && table->uniques[i].name; i++) {
        int64_t other = ds_row_conflict(rest, table, &table->uniques[i], row);
        if (other < 0)
            return false;
        if (other != 0 && other != self)
            return refuse_double(rest, table, &table->uniques[i], row);
    }
    if (!table->parent)
        return true;
    const struct ds_table *parent = ds_table_find(table->parent);
    const struct ds_value *key = value_of(table, row, table->parent_column);
    ds_autosql sql = {0};
    ds_buf_addf(&sql.text, "SELECT 1 FROM \"%s\" WHERE \"%s\" = ", parent->name,
                parent->columns[0].name);
    ds_sql_value(&sql, ds_value_copy(key));
    int found = finds(rest, &sql, NULL);
    if (found != 0)
        return found > 0;
    ds_autobuf details = DS_BUF_INIT;
    ds_buf_addf(&details, "Key (%s)=(%s) is not present in table \"%s\".", table->parent_column,
                key->text ? key->text : "", parent->name);
    return ds_rest_fail(rest, "23503", details.data, NULL,
                        "insert or update on table \"%s\" violates foreign key constraint \"%s\"",
                        table->name, table->reference);
}

/* ---- writing ---- */

static bool
run(struct ds_rest *rest, const struct ds_sql *sql)
{
    ds_autostmt *stmt = ds_sql_prepare(rest, sql);
    if (!stmt)
        return false;
    return sqlite3_step(stmt) == SQLITE_DONE || ds_rest_broken(rest);
}

bool
ds_row_insert(struct ds_rest *rest, const struct ds_table *table, struct ds_row *row,
              int64_t *rowid)
{
    if (!ds_row_check(rest, table, row) || !check_others(rest, table, row, 0))
        return false;
    ds_autosql sql = {0};
    ds_buf_addf(&sql.text, "INSERT INTO \"%s\"(", table->name);
    add_columns(&sql, table);
    ds_buf_adds(&sql.text, ") VALUES(");
    for (size_t i = 0; i < ds_table_width(table); i++) {
        ds_buf_adds(&sql.text, i > 0 ? ", " : "");
        ds_sql_value(&sql, ds_value_copy(&row->values[i]));
    }
    ds_buf_adds(&sql.text, ")");
    if (!run(rest, &sql))
        return false;
    *rowid = sqlite3_last_insert_rowid(rest->sqlite);
    return true;
}

bool
ds_row_update(struct ds_rest *rest, const struct ds_table *table, struct ds_row *row, int64_t rowid)
{
    if (table->stamp)
        ds_row_put(table, row, table->stamp, ds_value_number(rest->now_us));
    if (!ds_row_check(rest, table, row) || !check_others(rest, table, row, rowid))
        return false;
    ds_autosql sql = {0};
    ds_buf_addf(&sql.text, "UPDATE \"%s\" SET ", table->name);
    for (size_t i = 0; i < ds_table_width(table); i++) {
        ds_buf_addf(&sql.text, "%s\"%s\" = ", i > 0 ? ", " : "", table->columns[i].name);
        ds_sql_value(&sql, ds_value_copy(&row->values[i]));
    }
    ds_buf_adds(&sql.text, " WHERE rowid = ");
    ds_sql_value(&sql, ds_value_number(rowid));
    return run(rest, &sql);
}

bool
ds_row_delete(struct ds_rest *rest, const struct ds_table *table, int64_t rowid)
{
    ds_autosql sql = {0};
    ds_buf_addf(&sql.text, "DELETE FROM \"%s\" WHERE rowid = ", table->name);
    ds_sql_value(&sql, ds_value_number(rowid));
    return run(rest, &sql);
}
