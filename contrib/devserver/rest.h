/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_REST_H
#define DS_REST_H

#include <sqlite3.h>

#include "http.h"
#include "rest-value.h"
#include "tables.h"

#define DS_REST_TYPE "application/json; charset=utf-8"

/* A request to the tables or a function, while it holds the database's lock. */
struct ds_rest {
    struct ds_request *req;
    struct ds_db *db;
    sqlite3 *sqlite;
    bool own;         /* sees and writes only rows that are its own */
    const char *sub;  /* whose; NULL = the token names nobody */
    int64_t now_us;   /* now() of the whole request */
    char sqlstate[8]; /* of the error that was answered; "" = none */
    char message[400];
};

/* ---- answers: rest-reply.c ---- */

/* An error in PostgREST's form. */
void ds_rest_error(struct ds_request *req, int status, const char *code, const char *details,
                   const char *hint, const char *message);

/* An error of the database, with PostgREST's status for its SQLSTATE. Always false. */
__attribute__((format(printf, 5, 6))) bool ds_rest_fail(struct ds_rest *rest, const char *sqlstate,
                                                        const char *details, const char *hint,
                                                        const char *fmt, ...);

/* PGRST100: what stands at `column` (from 1) of a text is not what may stand there. Always false.
 */
__attribute__((format(printf, 5, 6))) bool ds_rest_unparsed(struct ds_rest *rest, const char *what,
                                                            const char *text, size_t column,
                                                            const char *fmt, ...);

/* 501: PostgREST has it, this server has not. Always false. */
bool ds_rest_absent(struct ds_rest *rest, const char *what);

/* SQLite's own failure: 500. Always false. */
bool ds_rest_broken(struct ds_rest *rest);

/* Forget an error that was answered. */
void ds_rest_forgive(struct ds_rest *rest);

/* The gateway's key and the token. False: answered. */
bool ds_rest_identify(struct ds_request *req);

/* Takes the database's lock in a transaction; ends it, by a rollback when there was an error. */
void ds_rest_begin(struct ds_rest *rest, struct ds_request *req);
void ds_rest_end(struct ds_rest *rest);

/* While PostgREST has not looked at the database yet, it answers nothing else. True: answered. */
bool ds_rest_loading(struct ds_request *req);

/* The role, and the setting "tables", have their say. False: answered. @kind: "table" or
 * "function". */
bool ds_rest_may(struct ds_rest *rest, const char *kind, const char *name);

/* ---- SQL that is made: rest-sql.c ---- */

/* Text with a '?' per value; names in it come from the tables' description only. */
struct ds_sql {
    struct ds_buf text;
    struct ds_value *values;
    size_t count, room;
};
#define ds_autosql __attribute__((cleanup(ds_sql_fini))) struct ds_sql

void ds_sql_fini(struct ds_sql *sql);
/* Appends a '?' and takes the value. */
void ds_sql_value(struct ds_sql *sql, struct ds_value value);
/* Prepares it with its values, which stay the caller's; NULL: answered. */
sqlite3_stmt *ds_sql_prepare(struct ds_rest *rest, const struct ds_sql *sql);
static inline void
ds_stmt_at_exit(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
}
#define ds_autostmt __attribute__((cleanup(ds_stmt_at_exit))) sqlite3_stmt

/* "TRUE", or that a row of the table is the caller's own. */
void ds_sql_policy(struct ds_sql *sql, const struct ds_rest *rest, const struct ds_table *table);

/* like, contains and glob for SQL. */
int ds_rest_functions(sqlite3 *sqlite);

/* ---- a request's query: rest-query.c ---- */

struct ds_item {
    int column;
    char *alias; /* NULL = the column's name */
    bool as_text;
};

struct ds_query {
    struct ds_item *items;
    size_t item_count;
    struct ds_sql where;   /* "" = all */
    struct ds_buf order;   /* "" = none */
    int64_t offset, limit; /* limit -1 = none */
    char *columns;         /* of the body; NULL = as its first row */
    char *on_conflict;     /* NULL = not given */
};
#define ds_autoquery __attribute__((cleanup(ds_query_fini))) struct ds_query

void ds_query_fini(struct ds_query *query);

/* Reads the request's query for a table. False: answered. */
bool ds_query_read(struct ds_rest *rest, const struct ds_table *table, struct ds_query *ret);

/* ---- rows: rest-row.c ---- */

/* A whole row of a base table. */
struct ds_row {
    struct ds_value values[DS_COLUMNS_MAX];
};
#define ds_autorow __attribute__((cleanup(ds_row_fini))) struct ds_row

void ds_row_fini(struct ds_row *row);

/* Defaults of all columns. */
bool ds_row_defaults(struct ds_rest *rest, const struct ds_table *table, struct ds_row *row);

/* Sets a column from JSON; the column is of the base table. False: answered. */
bool ds_row_set(struct ds_rest *rest, const struct ds_table *table, struct ds_row *row, int column,
                const json_t *value);

/* Sets a column; takes the value. */
void ds_row_put(const struct ds_table *table, struct ds_row *row, const char *column,
                struct ds_value value);

bool ds_row_load(struct ds_rest *rest, const struct ds_table *table, int64_t rowid,
                 struct ds_row *row);

/* After all of the table's rules are looked at. False: answered. */
bool ds_row_insert(struct ds_rest *rest, const struct ds_table *table, struct ds_row *row,
                   int64_t *rowid);
bool ds_row_update(struct ds_rest *rest, const struct ds_table *table, struct ds_row *row,
                   int64_t rowid);
bool ds_row_delete(struct ds_rest *rest, const struct ds_table *table, int64_t rowid);

/* The rules that come before a conflict is looked for: policies, nulls, checks. */
bool ds_row_check(struct ds_rest *rest, const struct ds_table *table, const struct ds_row *row);

/* The row that has the same key, of whomever: its rowid, 0 when there is none, -1 answered. */
int64_t ds_row_conflict(struct ds_rest *rest, const struct ds_table *table,
                        const struct ds_unique *unique, const struct ds_row *row);

/* Whether the caller may see a row: 1, 0, or -1 answered. */
int ds_row_visible(struct ds_rest *rest, const struct ds_table *table, int64_t rowid);

/* ---- functions: rest-functions.c ---- */

#define DS_PARAMETERS_MAX 5

/* A function of contrib/sql by its name, NULL when it is none. Parameters are
 * sorted. */
struct ds_function {
    const char *name;
    const char *parameters[DS_PARAMETERS_MAX]; /* NULL ends them */
    void (*call)(struct ds_rest *rest, const json_t *body);
};
const struct ds_function *ds_function_find(const char *name);

#endif
