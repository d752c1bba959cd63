/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_DB_INTERNAL_H
#define DS_DB_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>
#include <string.h>

#include "db.h"

/* Every statement of the server; the text is in db.c under the same name. */
enum ds_stmt {
    DS_STMT_BEGIN,
    DS_STMT_COMMIT,
    DS_STMT_ROLLBACK,
    DS_STMT_SETTING_GET,
    DS_STMT_SETTING_PUT,
    DS_STMT_BUCKET_GET,
    DS_STMT_BUCKET_INSERT,
    DS_STMT_BUCKET_UPDATE,
    DS_STMT_BUCKET_DELETE,
    DS_STMT_BUCKET_USED,
    DS_STMT_BUCKET_AWAITED,
    DS_STMT_OBJECT_GET,
    DS_STMT_OBJECT_INSERT,
    DS_STMT_OBJECT_OVERWRITE,
    DS_STMT_OBJECT_MOVE,
    DS_STMT_OBJECT_SET_ATTRS,
    DS_STMT_OBJECT_DELETE,
    DS_STMT_OBJECT_EACH,
    DS_STMT_VERSIONS,
    DS_STMT_LIST_ALL,
    DS_STMT_LIST_UP,
    DS_STMT_LIST_DOWN,
    DS_STMT_LIST_CREATED_UP,
    DS_STMT_LIST_CREATED_DOWN,
    DS_STMT_LIST_UPDATED_UP,
    DS_STMT_LIST_UPDATED_DOWN,
    DS_STMT_UPLOAD_INSERT,
    DS_STMT_UPLOAD_GET,
    DS_STMT_UPLOAD_LENGTH,
    DS_STMT_UPLOAD_FINISH,
    DS_STMT_UPLOAD_DELETE,
    DS_STMT_UPLOAD_OLD,
    DS_STMT_S3_INSERT,
    DS_STMT_S3_GET,
    DS_STMT_S3_LIST,
    DS_STMT_S3_DELETE,
    DS_STMT_S3_PART_INSERT,
    DS_STMT_S3_PART_EACH,
    DS_STMT_S3_PART_DELETE,
    DS_STMT_PFILE_INSERT,
    DS_STMT_PFILE_GET,
    DS_STMT_PFILE_UPDATE,
    DS_STMT_PFILE_DELETE,
    DS_STMT_PFILE_FIRST,
    DS_STMT_PFILE_USAGE,
    DS_STMT_PFILE_LIST,
    DS_STMT_COUNT
};

struct ds_db {
    pthread_mutex_t lock; /* recursive; protects all below, and the connection's transactions */
    sqlite3 *sqlite;
    const struct ds_sight *sight; /* of the listing that runs, for the SQL function seen() */
    sqlite3_stmt *stmts[DS_STMT_COUNT];
};

/* The statement, reset and without bindings; NULL when it cannot be prepared. Caller holds the
 * lock. */
sqlite3_stmt *ds_db_stmt_locked(struct ds_db *db, enum ds_stmt which);

/* Step a statement that returns no rows, and reset it. 0 or a negative errno. */
int ds_db_run_locked(struct ds_db *db, sqlite3_stmt *stmt);

/* The columns of OBJECT_COLUMNS, starting at 0; strings borrowed until the next step. */
void ds_db_object_row(sqlite3_stmt *stmt, struct ds_object *object);

/* A copy that owns its strings. */
int ds_object_copy(const struct ds_object *from, struct ds_object *to);

/* Bind a string that stays valid until the statement is reset; NULL becomes SQL null. */
static inline void
ds_db_bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
    if (text)
        sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(stmt, at);
}

/* A text column, valid until the next step; NULL for SQL null. */
static inline char *
ds_db_text(sqlite3_stmt *stmt, int at)
{
    return (char *)(uintptr_t)sqlite3_column_text(stmt, at);
}

/* Copies a string that may be NULL; notes a failure. */
static inline char *
ds_db_dup(const char *text, bool *failed)
{
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        *failed = true;
    return copy;
}

static inline void
ds_db_unlock_at_exit(struct ds_db **db)
{
    pthread_mutex_unlock(&(*db)->lock);
}

#define DS_DB_GUARD(db)                                                                            \
    __attribute__((cleanup(ds_db_unlock_at_exit))) struct ds_db *ds_db_guard_ = (db);              \
    pthread_mutex_lock(&ds_db_guard_->lock)

#endif
