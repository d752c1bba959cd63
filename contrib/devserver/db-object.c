/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "db-internal.h"

void
ds_object_fini(struct ds_object *object)
{
    free(object->bucket);
    free(object->name);
    free(object->owner);
    free(object->etag);
    free(object->mime);
    free(object->cache);
    free(object->robots);
    free(object->user_meta);
    free(object->stored_mime);
    free(object->stored_cache);
    *object = (struct ds_object){0};
}

void
ds_db_object_row(sqlite3_stmt *stmt, struct ds_object *object)
{
    *object = (struct ds_object){
        .bucket = ds_db_text(stmt, 0),
        .name = ds_db_text(stmt, 1),
        .owner = ds_db_text(stmt, 4),
        .etag = ds_db_text(stmt, 5),
        .mime = ds_db_text(stmt, 6),
        .cache = ds_db_text(stmt, 7),
        .robots = ds_db_text(stmt, 8),
        .user_meta = ds_db_text(stmt, 9),
        .size = (uint64_t)sqlite3_column_int64(stmt, 10),
        .modified_ms = sqlite3_column_int64(stmt, 11),
        .created_ms = sqlite3_column_int64(stmt, 12),
        .updated_ms = sqlite3_column_int64(stmt, 13),
        .accessed_ms = sqlite3_column_int64(stmt, 14),
        .stored_mime = ds_db_text(stmt, 15),
        .stored_cache = ds_db_text(stmt, 16),
    };
    snprintf(object->id, sizeof object->id, "%s", ds_db_text(stmt, 2));
    snprintf(object->version, sizeof object->version, "%s", ds_db_text(stmt, 3));
}

int
ds_object_copy(const struct ds_object *from, struct ds_object *to)
{
    bool failed = false;
    struct ds_object copy = *from;
    copy.bucket = ds_db_dup(from->bucket, &failed);
    copy.name = ds_db_dup(from->name, &failed);
    copy.owner = ds_db_dup(from->owner, &failed);
    copy.etag = ds_db_dup(from->etag, &failed);
    copy.mime = ds_db_dup(from->mime, &failed);
    copy.cache = ds_db_dup(from->cache, &failed);
    copy.robots = ds_db_dup(from->robots, &failed);
    copy.user_meta = ds_db_dup(from->user_meta, &failed);
    copy.stored_mime = ds_db_dup(from->stored_mime, &failed);
    copy.stored_cache = ds_db_dup(from->stored_cache, &failed);
    if (failed) {
        ds_object_fini(&copy);
        return -ENOMEM;
    }
    *to = copy;
    return 0;
}

/* Step to one row and copy it out; -ENOENT when there is none. */
static int
one_object(struct ds_db *db, sqlite3_stmt *stmt, struct ds_object *ret)
{
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW) {
        if (rc != SQLITE_DONE)
            fprintf(stderr, "supafs-devserver: database: %s\n", sqlite3_errmsg(db->sqlite));
        sqlite3_reset(stmt);
        return rc == SQLITE_DONE ? -ENOENT : -EIO;
    }
    struct ds_object row;
    ds_db_object_row(stmt, &row);
    int result = ds_object_copy(&row, ret);
    sqlite3_step(stmt); /* a statement that changes rows ends only when it is done */
    sqlite3_reset(stmt);
    return result;
}

int
ds_db_object_get(struct ds_db *db, const char *bucket, const char *key, struct ds_object *ret)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_OBJECT_GET);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, bucket);
    ds_db_bind_text(stmt, 2, key);
    return one_object(db, stmt, ret);
}

static int
insert_locked(struct ds_db *db, const struct ds_object *object)
{
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_OBJECT_INSERT);
    char id[DS_UUID_SIZE];
    if (!stmt || ds_uuid_new(id) < 0)
        return -EIO;
    ds_db_bind_text(stmt, 1, object->bucket);
    ds_db_bind_text(stmt, 2, object->name);
    ds_db_bind_text(stmt, 3, id);
    ds_db_bind_text(stmt, 4, object->version);
    ds_db_bind_text(stmt, 5, object->owner);
    ds_db_bind_text(stmt, 6, object->etag);
    ds_db_bind_text(stmt, 7, object->mime);
    ds_db_bind_text(stmt, 8, object->cache);
    ds_db_bind_text(stmt, 9, object->robots);
    ds_db_bind_text(stmt, 10, object->user_meta);
    sqlite3_bind_int64(stmt, 11, (sqlite3_int64)object->size);
    sqlite3_bind_int64(stmt, 12, object->modified_ms);
    sqlite3_bind_int64(stmt, 13, object->updated_ms);
    sqlite3_bind_int64(stmt, 14, object->updated_ms);
    sqlite3_bind_int64(stmt, 15, object->updated_ms);
    return ds_db_run_locked(db, stmt);
}

static int
overwrite_locked(struct ds_db *db, const struct ds_object *object)
{
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_OBJECT_OVERWRITE);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, object->bucket);
    ds_db_bind_text(stmt, 2, object->name);
    ds_db_bind_text(stmt, 3, object->version);
    ds_db_bind_text(stmt, 4, object->owner);
    ds_db_bind_text(stmt, 5, object->etag);
    ds_db_bind_text(stmt, 6, object->mime);
    ds_db_bind_text(stmt, 7, object->cache);
    ds_db_bind_text(stmt, 8, object->robots);
    ds_db_bind_text(stmt, 9, object->user_meta);
    sqlite3_bind_int64(stmt, 10, (sqlite3_int64)object->size);
    sqlite3_bind_int64(stmt, 11, object->modified_ms);
    sqlite3_bind_int64(stmt, 12, object->updated_ms);
    return ds_db_run_locked(db, stmt);
}

int
ds_db_object_put(struct ds_db *db, const struct ds_object *object, struct ds_object *ret,
                 char old_version[DS_UUID_SIZE])
{
    DS_DB_GUARD(db);
    ds_autoobject old = {0};
    int rc = ds_db_object_get(db, object->bucket, object->name, &old);
    if (rc == -ENOENT)
        rc = insert_locked(db, object);
    else if (rc == 0)
        rc = overwrite_locked(db, object);
    if (rc < 0)
        return rc;
    memcpy(old_version, old.version, DS_UUID_SIZE);
    return ret ? ds_db_object_get(db, object->bucket, object->name, ret) : 0;
}

int
ds_db_object_move(struct ds_db *db, const char *bucket, const char *key, const char *old_version,
                  const struct ds_object *target)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_OBJECT_MOVE);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, bucket);
    ds_db_bind_text(stmt, 2, key);
    ds_db_bind_text(stmt, 3, old_version);
    ds_db_bind_text(stmt, 4, target->bucket);
    ds_db_bind_text(stmt, 5, target->name);
    ds_db_bind_text(stmt, 6, target->version);
    ds_db_bind_text(stmt, 7, target->etag);
    sqlite3_bind_int64(stmt, 8, target->modified_ms);
    sqlite3_bind_int64(stmt, 9, target->updated_ms);
    ds_db_bind_text(stmt, 10, target->owner);
    int rc = ds_db_run_locked(db, stmt);
    if (rc < 0)
        return rc;
    return sqlite3_changes(db->sqlite) > 0 ? 0 : -ENOENT;
}

int
ds_db_object_set_attrs(struct ds_db *db, const struct ds_object *change)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_OBJECT_SET_ATTRS);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, change->bucket);
    ds_db_bind_text(stmt, 2, change->name);
    ds_db_bind_text(stmt, 3, change->version);
    ds_db_bind_text(stmt, 4, change->mime);
    ds_db_bind_text(stmt, 5, change->cache);
    ds_db_bind_text(stmt, 6, change->user_meta);
    sqlite3_bind_int64(stmt, 7, change->updated_ms);
    int rc = ds_db_run_locked(db, stmt);
    if (rc < 0)
        return rc;
    return sqlite3_changes(db->sqlite) > 0 ? 0 : -ENOENT;
}

int
ds_db_object_delete(struct ds_db *db, const char *bucket, const char *key, struct ds_object *ret)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_OBJECT_DELETE);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, bucket);
    ds_db_bind_text(stmt, 2, key);
    return one_object(db, stmt, ret);
}

void
ds_db_begin(struct ds_db *db)
{
    pthread_mutex_lock(&db->lock);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_BEGIN);
    if (stmt)
        ds_db_run_locked(db, stmt);
}

int
ds_db_commit(struct ds_db *db)
{
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_COMMIT);
    int rc = stmt ? ds_db_run_locked(db, stmt) : -EIO;
    pthread_mutex_unlock(&db->lock);
    return rc;
}

int
ds_db_object_each(struct ds_db *db, const char *bucket, int limit,
                  void (*row)(void *arg, const struct ds_object *object), void *arg)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_OBJECT_EACH);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, bucket);
    sqlite3_bind_int(stmt, 2, limit);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        struct ds_object object;
        ds_db_object_row(stmt, &object);
        row(arg, &object);
    }
    sqlite3_reset(stmt);
    return 0;
}

int
ds_db_versions(struct ds_db *db, char (**ret)[DS_UUID_SIZE], size_t *count)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_VERSIONS);
    if (!stmt)
        return -EIO;
    sf_autofree char(*all)[DS_UUID_SIZE] = NULL;
    size_t n = 0, room = 0;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        if (n == room) {
            room = room ? 2 * room : 1024;
            void *grown = realloc(all, room * sizeof *all);
            if (!grown) {
                sqlite3_reset(stmt);
                return -ENOMEM;
            }
            all = grown;
        }
        snprintf(all[n++], sizeof *all, "%s", ds_db_text(stmt, 0));
    }
    sqlite3_reset(stmt);
    *ret = sf_steal(all);
    *count = n;
    return 0;
}
