/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "db-internal.h"

void
ds_upload_fini(struct ds_upload *upload)
{
    free(upload->bucket);
    free(upload->name);
    free(upload->metadata);
    *upload = (struct ds_upload){0};
}

int
ds_db_upload_insert(struct ds_db *db, const struct ds_upload *upload)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_UPLOAD_INSERT);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, upload->version);
    ds_db_bind_text(stmt, 2, upload->bucket);
    ds_db_bind_text(stmt, 3, upload->name);
    ds_db_bind_text(stmt, 4, upload->metadata);
    sqlite3_bind_int64(stmt, 5, upload->length);
    sqlite3_bind_int64(stmt, 6, upload->created_ms);
    return ds_db_run_locked(db, stmt);
}

int
ds_db_upload_get(struct ds_db *db, const char *version, struct ds_upload *ret)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_UPLOAD_GET);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, version);
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW) {
        sqlite3_reset(stmt);
        return rc == SQLITE_DONE ? -ENOENT : -EIO;
    }
    bool failed = false;
    struct ds_upload upload = {
        .bucket = ds_db_dup(ds_db_text(stmt, 1), &failed),
        .name = ds_db_dup(ds_db_text(stmt, 2), &failed),
        .metadata = ds_db_dup(ds_db_text(stmt, 3), &failed),
        .length = sqlite3_column_int64(stmt, 4),
        .created_ms = sqlite3_column_int64(stmt, 5),
        .finished = sqlite3_column_int(stmt, 6) != 0,
    };
    snprintf(upload.version, sizeof upload.version, "%s", ds_db_text(stmt, 0));
    sqlite3_reset(stmt);
    if (failed) {
        ds_upload_fini(&upload);
        return -ENOMEM;
    }
    *ret = upload;
    return 0;
}

/* A statement of one upload: ?1 is its version, ?2 a number when the statement has it. */
static int
change(struct ds_db *db, enum ds_stmt which, const char *version, int64_t number)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, which);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, version);
    if (sqlite3_bind_parameter_count(stmt) > 1)
        sqlite3_bind_int64(stmt, 2, number);
    return ds_db_run_locked(db, stmt);
}

int
ds_db_upload_set_length(struct ds_db *db, const char *version, int64_t length)
{
    return change(db, DS_STMT_UPLOAD_LENGTH, version, length);
}

int
ds_db_upload_set_finished(struct ds_db *db, const char *version)
{
    return change(db, DS_STMT_UPLOAD_FINISH, version, 0);
}

int
ds_db_upload_delete(struct ds_db *db, const char *version)
{
    return change(db, DS_STMT_UPLOAD_DELETE, version, 0);
}

int
ds_db_upload_old(struct ds_db *db, int64_t before_ms, int keep, char (*ret)[DS_UUID_SIZE], int room)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_UPLOAD_OLD);
    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, before_ms);
    sqlite3_bind_int(stmt, 2, keep);
    sqlite3_bind_int(stmt, 3, room);
    int n = 0;
    while (n < room && sqlite3_step(stmt) == SQLITE_ROW)
        snprintf(ret[n++], sizeof *ret, "%s", ds_db_text(stmt, 0));
    sqlite3_reset(stmt);
    return n;
}
