/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "db-internal.h"

void
ds_s3_upload_fini(struct ds_s3_upload *upload)
{
    free(upload->bucket);
    free(upload->name);
    free(upload->owner);
    free(upload->mime);
    free(upload->cache);
    free(upload->user_meta);
    *upload = (struct ds_s3_upload){0};
}

int
ds_db_s3_insert(struct ds_db *db, const struct ds_s3_upload *upload)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_S3_INSERT);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, upload->id);
    ds_db_bind_text(stmt, 2, upload->bucket);
    ds_db_bind_text(stmt, 3, upload->name);
    ds_db_bind_text(stmt, 4, upload->owner);
    ds_db_bind_text(stmt, 5, upload->mime);
    ds_db_bind_text(stmt, 6, upload->cache);
    ds_db_bind_text(stmt, 7, upload->user_meta);
    sqlite3_bind_int64(stmt, 8, upload->created_ms);
    return ds_db_run_locked(db, stmt);
}

/* Strings are borrowed until the next step. */
static struct ds_s3_upload
upload_row(sqlite3_stmt *stmt)
{
    struct ds_s3_upload upload = {
        .bucket = ds_db_text(stmt, 1),
        .name = ds_db_text(stmt, 2),
        .owner = ds_db_text(stmt, 3),
        .mime = ds_db_text(stmt, 4),
        .cache = ds_db_text(stmt, 5),
        .user_meta = ds_db_text(stmt, 6),
        .created_ms = sqlite3_column_int64(stmt, 7),
    };
    snprintf(upload.id, sizeof upload.id, "%s", ds_db_text(stmt, 0));
    return upload;
}

int
ds_db_s3_get(struct ds_db *db, const char *id, const char *bucket, const char *key,
             struct ds_s3_upload *ret)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_S3_GET);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, id);
    ds_db_bind_text(stmt, 2, bucket);
    ds_db_bind_text(stmt, 3, key);
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW) {
        sqlite3_reset(stmt);
        return rc == SQLITE_DONE ? -ENOENT : -EIO;
    }
    bool failed = false;
    struct ds_s3_upload upload = upload_row(stmt);
    upload.bucket = ds_db_dup(upload.bucket, &failed);
    upload.name = ds_db_dup(upload.name, &failed);
    upload.owner = ds_db_dup(upload.owner, &failed);
    upload.mime = ds_db_dup(upload.mime, &failed);
    upload.cache = ds_db_dup(upload.cache, &failed);
    upload.user_meta = ds_db_dup(upload.user_meta, &failed);
    sqlite3_reset(stmt);
    if (failed) {
        ds_s3_upload_fini(&upload);
        return -ENOMEM;
    }
    *ret = upload;
    return 0;
}

int
ds_db_s3_list(struct ds_db *db, const char *bucket, const char *prefix, const char *after_key,
              const char *after_id, int limit,
              void (*row)(void *arg, const struct ds_s3_upload *upload), void *arg)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_S3_LIST);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, bucket);
    ds_db_bind_text(stmt, 2, prefix);
    ds_db_bind_text(stmt, 3, after_key);
    ds_db_bind_text(stmt, 4, after_id);
    sqlite3_bind_int(stmt, 5, limit);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        struct ds_s3_upload upload = upload_row(stmt);
        row(arg, &upload);
    }
    sqlite3_reset(stmt);
    return 0;
}

/* ---- parts ---- */

int
ds_db_s3_part_insert(struct ds_db *db, const char *id, const struct ds_s3_part *part)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_S3_PART_INSERT);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, part->version);
    ds_db_bind_text(stmt, 2, id);
    sqlite3_bind_int(stmt, 3, part->number);
    ds_db_bind_text(stmt, 4, part->etag);
    sqlite3_bind_int64(stmt, 5, (sqlite3_int64)part->size);
    sqlite3_bind_int64(stmt, 6, part->created_ms);
    int rc = ds_db_run_locked(db, stmt);
    if (rc < 0)
        return rc;
    return sqlite3_changes(db->sqlite) > 0 ? 0 : -ENOENT;
}

int
ds_db_s3_parts(struct ds_db *db, const char *id, struct ds_s3_part **ret, size_t *count)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_S3_PART_EACH);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, id);
    sf_autofree struct ds_s3_part *parts = NULL;
    size_t n = 0, room = 0;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        if (n == room) {
            room = room ? 2 * room : 64;
            struct ds_s3_part *grown = realloc(parts, room * sizeof *grown);
            if (!grown) {
                sqlite3_reset(stmt);
                return -ENOMEM;
            }
            parts = grown;
        }
        struct ds_s3_part *part = &parts[n++];
        *part = (struct ds_s3_part){
            .number = sqlite3_column_int(stmt, 1),
            .size = (uint64_t)sqlite3_column_int64(stmt, 3),
            .created_ms = sqlite3_column_int64(stmt, 4),
        };
        snprintf(part->version, sizeof part->version, "%s", ds_db_text(stmt, 0));
        snprintf(part->etag, sizeof part->etag, "%s", ds_db_text(stmt, 2));
    }
    sqlite3_reset(stmt);
    *ret = sf_steal(parts);
    *count = n;
    return 0;
}

int
ds_db_s3_delete(struct ds_db *db, const char *id, struct ds_s3_part **ret, size_t *count)
{
    DS_DB_GUARD(db);
    sf_autofree struct ds_s3_part *parts = NULL;
    size_t n = 0;
    ds_db_begin(db);
    int rc = ds_db_s3_parts(db, id, &parts, &n);
    static const enum ds_stmt both[] = {DS_STMT_S3_PART_DELETE, DS_STMT_S3_DELETE};
    for (size_t i = 0; rc == 0 && i < 2; i++) {
        sqlite3_stmt *stmt = ds_db_stmt_locked(db, both[i]);
        if (stmt)
            ds_db_bind_text(stmt, 1, id);
        rc = stmt ? ds_db_run_locked(db, stmt) : -EIO;
    }
    int committed = ds_db_commit(db);
    if (rc < 0 || committed < 0)
        return rc < 0 ? rc : committed;
    *ret = sf_steal(parts);
    *count = n;
    return 0;
}
