/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "db-internal.h"
#include "db-provider.h"
#include "rest.h"

static const char schema[] =
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=NORMAL;"
    "PRAGMA foreign_keys=ON;"
    "PRAGMA cache_size=-32768;"
    "PRAGMA wal_autocheckpoint=4000;"
    "CREATE TABLE IF NOT EXISTS settings(name TEXT PRIMARY KEY, value TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS buckets("
    " id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, owner TEXT, mime_types TEXT,"
    " size_limit INTEGER NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,"
    " is_public INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS objects("
    " bucket TEXT NOT NULL REFERENCES buckets(id), name TEXT NOT NULL, id TEXT NOT NULL,"
    " version TEXT NOT NULL, owner TEXT, etag TEXT NOT NULL, mime TEXT NOT NULL,"
    " cache TEXT NOT NULL, robots TEXT, user_meta TEXT, size INTEGER NOT NULL,"
    " modified_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,"
    " accessed_ms INTEGER NOT NULL, stored_mime TEXT, stored_cache TEXT, PRIMARY KEY(bucket, "
    "name)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS objects_created ON objects(bucket, created_ms, name);"
    "CREATE INDEX IF NOT EXISTS objects_id ON objects(id);"
    "CREATE INDEX IF NOT EXISTS objects_updated ON objects(bucket, updated_ms, name);"
    "CREATE TABLE IF NOT EXISTS uploads("
    " version TEXT PRIMARY KEY, bucket TEXT NOT NULL, name TEXT NOT NULL, metadata TEXT NOT NULL,"
    " length INTEGER NOT NULL, created_ms INTEGER NOT NULL, finished INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS uploads_age ON uploads(finished, created_ms);"
    "CREATE TABLE IF NOT EXISTS s3_uploads("
    " id TEXT PRIMARY KEY, bucket TEXT NOT NULL, name TEXT NOT NULL, owner TEXT,"
    " mime TEXT NOT NULL, cache TEXT NOT NULL, user_meta TEXT NOT NULL, created_ms INTEGER NOT NULL"
    ") WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS s3_uploads_name ON s3_uploads(bucket, name, id);"
    "CREATE TABLE IF NOT EXISTS s3_parts("
    " version TEXT PRIMARY KEY, upload TEXT NOT NULL, number INTEGER NOT NULL, etag TEXT NOT NULL,"
    " size INTEGER NOT NULL, created_ms INTEGER NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS s3_parts_number ON s3_parts(upload, number, seq);"
    "CREATE TABLE IF NOT EXISTS emulated_files("
    " seq INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, account TEXT NOT NULL,"
    " id TEXT NOT NULL, filename TEXT NOT NULL, purpose TEXT NOT NULL, mime TEXT NOT NULL,"
    " sha256 TEXT NOT NULL, version TEXT NOT NULL, size INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, state INTEGER NOT NULL, polls INTEGER NOT NULL,"
    " ready_ms INTEGER NOT NULL, uses INTEGER NOT NULL, UNIQUE(site, account, id));";

#define BUCKET_COLUMNS "id, name, owner, mime_types, size_limit, created_ms, updated_ms, is_public"
#define OBJECT_COLUMNS                                                                             \
    "bucket, name, id, version, owner, etag, mime, cache, robots, user_meta, size, "               \
    "modified_ms, created_ms, updated_ms, accessed_ms, stored_mime, stored_cache"
#define UPLOAD_COLUMNS "version, bucket, name, metadata, length, created_ms, finished"
#define S3_COLUMNS     "id, bucket, name, owner, mime, cache, user_meta, created_ms"
#define PFILE_VALUES                                                                               \
    "site, account, id, filename, purpose, mime, sha256, version, size, created_ms, state, "       \
    "polls, ready_ms, uses"
#define PFILE_COLUMNS "seq, " PFILE_VALUES
#define PFILE_IS      "WHERE site=?1 AND account=?2 AND id=?3"
#define SELECT_OBJECT "SELECT " OBJECT_COLUMNS " FROM objects "

/* ?1 bucket, ?2 lower bound, ?3 upper bound, ?4 limit; with times ?5 time and ?6 name of the
 * cursor. */
#define LIST_RANGE SELECT_OBJECT "WHERE bucket=?1 AND name>=?2 AND name<?3 AND seen(name) "
#define LIST_TIMED(column, op, order)                                                              \
    LIST_RANGE "AND (" column ", name)" op "(?5, ?6) ORDER BY " column " " order ", name " order   \
               " LIMIT ?4"

static const char *const statements[DS_STMT_COUNT] = {
    [DS_STMT_BEGIN] = "BEGIN IMMEDIATE",
    [DS_STMT_COMMIT] = "COMMIT",
    [DS_STMT_ROLLBACK] = "ROLLBACK",
    [DS_STMT_SETTING_GET] = "SELECT value FROM settings WHERE name=?1",
    [DS_STMT_SETTING_PUT] = "INSERT INTO settings(name, value) VALUES(?1, ?2) "
                            "ON CONFLICT(name) DO UPDATE SET value=excluded.value",
    [DS_STMT_BUCKET_GET] = "SELECT " BUCKET_COLUMNS " FROM buckets WHERE id=?1",
    [DS_STMT_BUCKET_INSERT] =
        "INSERT INTO buckets(" BUCKET_COLUMNS ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [DS_STMT_BUCKET_UPDATE] = "UPDATE buckets SET mime_types=?2, size_limit=?3, updated_ms=?4, "
                              "is_public=?5 WHERE id=?1",
    [DS_STMT_BUCKET_DELETE] = "DELETE FROM buckets WHERE id=?1",
    [DS_STMT_BUCKET_USED] = "SELECT 1 FROM objects WHERE bucket=?1 LIMIT 1",
    [DS_STMT_BUCKET_AWAITED] = "SELECT 1 FROM s3_uploads WHERE bucket=?1 LIMIT 1",
    [DS_STMT_OBJECT_GET] = SELECT_OBJECT "WHERE bucket=?1 AND name=?2",
    [DS_STMT_OBJECT_INSERT] =
        "INSERT INTO objects(" OBJECT_COLUMNS ") "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, NULL, NULL)",
    [DS_STMT_OBJECT_OVERWRITE] =
        "UPDATE objects SET version=?3, owner=coalesce(?4, owner), etag=?5, mime=?6, cache=?7, "
        "robots=?8, user_meta=coalesce(?9, user_meta), size=?10, modified_ms=?11, updated_ms=?12, "
        "stored_mime=NULL, stored_cache=NULL "
        "WHERE bucket=?1 AND name=?2",
    /* The service takes these two from the moved bytes, not from the row. */
    [DS_STMT_OBJECT_MOVE] = "UPDATE objects SET bucket=?4, name=?5, version=?6, etag=?7, "
                            "owner=coalesce(?10, owner), "
                            "modified_ms=?8, updated_ms=?9, mime=coalesce(stored_mime, mime), "
                            "cache=coalesce(stored_cache, cache), stored_mime=NULL, "
                            "stored_cache=NULL "
                            "WHERE bucket=?1 AND name=?2 AND version=?3",
    [DS_STMT_OBJECT_SET_ATTRS] =
        "UPDATE objects SET stored_mime=coalesce(stored_mime, mime), "
        "stored_cache=coalesce(stored_cache, cache), mime=coalesce(?4, mime), "
        "cache=coalesce(?5, cache), user_meta=coalesce(?6, user_meta), updated_ms=?7 "
        "WHERE bucket=?1 AND name=?2 AND version=?3",
    [DS_STMT_OBJECT_DELETE] = "DELETE FROM objects WHERE bucket=?1 AND name=?2 "
                              "RETURNING " OBJECT_COLUMNS,
    [DS_STMT_OBJECT_EACH] = SELECT_OBJECT "WHERE bucket=?1 LIMIT ?2",
    [DS_STMT_VERSIONS] =
        "SELECT version FROM objects UNION ALL SELECT version FROM s3_parts UNION ALL "
        "SELECT version FROM emulated_files ORDER BY version",
    [DS_STMT_LIST_ALL] = "SELECT name, lower(name), created_ms, updated_ms, accessed_ms FROM "
                         "objects WHERE bucket=?1 AND substr(lower(name), 1, length(?2))=?2 AND "
                         "seen(name)",
    [DS_STMT_LIST_UP] = LIST_RANGE "ORDER BY name LIMIT ?4",
    [DS_STMT_LIST_DOWN] = LIST_RANGE "ORDER BY name DESC LIMIT ?4",
    [DS_STMT_LIST_CREATED_UP] = LIST_TIMED("created_ms", ">", "ASC"),
    [DS_STMT_LIST_CREATED_DOWN] = LIST_TIMED("created_ms", "<", "DESC"),
    [DS_STMT_LIST_UPDATED_UP] = LIST_TIMED("updated_ms", ">", "ASC"),
    [DS_STMT_LIST_UPDATED_DOWN] = LIST_TIMED("updated_ms", "<", "DESC"),
    [DS_STMT_UPLOAD_INSERT] = "INSERT INTO uploads(" UPLOAD_COLUMNS ") VALUES(?1, ?2, ?3, ?4, ?5, "
                              "?6, 0)",
    [DS_STMT_UPLOAD_GET] = "SELECT " UPLOAD_COLUMNS " FROM uploads WHERE version=?1",
    [DS_STMT_UPLOAD_LENGTH] = "UPDATE uploads SET length=?2 WHERE version=?1",
    [DS_STMT_UPLOAD_FINISH] = "UPDATE uploads SET finished=1 WHERE version=?1",
    [DS_STMT_UPLOAD_DELETE] = "DELETE FROM uploads WHERE version=?1",
    [DS_STMT_UPLOAD_OLD] =
        "SELECT version FROM uploads WHERE created_ms<?1 UNION ALL SELECT version FROM (SELECT "
        "version FROM uploads ORDER BY finished, created_ms DESC LIMIT -1 OFFSET ?2) LIMIT ?3",
    [DS_STMT_S3_INSERT] =
        "INSERT INTO s3_uploads(" S3_COLUMNS ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [DS_STMT_S3_GET] =
        "SELECT " S3_COLUMNS " FROM s3_uploads WHERE id=?1 AND bucket=?2 AND name=?3",
    [DS_STMT_S3_LIST] = "SELECT " S3_COLUMNS " FROM s3_uploads WHERE bucket=?1 AND "
                        "substr(name, 1, length(?2))=?2 AND (name, id)>(?3, ?4) "
                        "ORDER BY name, id LIMIT ?5",
    [DS_STMT_S3_DELETE] = "DELETE FROM s3_uploads WHERE id=?1",
    [DS_STMT_S3_PART_INSERT] =
        "INSERT INTO s3_parts(version, upload, number, etag, size, created_ms, seq) "
        "SELECT ?1, ?2, ?3, ?4, ?5, ?6, (SELECT coalesce(max(seq), 0) + 1 FROM s3_parts WHERE "
        "upload=?2 AND number=?3) FROM s3_uploads WHERE id=?2",
    [DS_STMT_S3_PART_EACH] = "SELECT version, number, etag, size, created_ms FROM s3_parts WHERE "
                             "upload=?1 ORDER BY number, seq",
    [DS_STMT_S3_PART_DELETE] = "DELETE FROM s3_parts WHERE upload=?1",
    [DS_STMT_PFILE_INSERT] =
        "INSERT INTO emulated_files(" PFILE_VALUES ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
        "?10, ?11, ?12, ?13, ?14)",
    [DS_STMT_PFILE_GET] = "SELECT " PFILE_COLUMNS " FROM emulated_files " PFILE_IS,
    [DS_STMT_PFILE_UPDATE] = "UPDATE emulated_files SET state=?2, polls=?3, uses=?4 WHERE seq=?1",
    [DS_STMT_PFILE_DELETE] = "DELETE FROM emulated_files " PFILE_IS " RETURNING " PFILE_COLUMNS,
    [DS_STMT_PFILE_FIRST] =
        "SELECT " PFILE_COLUMNS " FROM emulated_files WHERE site=?1 ORDER BY seq LIMIT 1",
    [DS_STMT_PFILE_USAGE] =
        "SELECT coalesce(sum(purpose=?3), 0), coalesce(sum(size), 0) FROM emulated_files "
        "WHERE site=?1 AND account=?2 AND created_ms>=?4 AND uses<>0 AND "
        "purpose<>'" DS_PFILE_TASK "'",
    [DS_STMT_PFILE_LIST] =
        "SELECT " PFILE_COLUMNS " FROM emulated_files WHERE site=?1 AND (?2 IS NULL OR "
        "account=?2) AND (?3 IS NULL OR purpose=?3) AND seq<?4 AND created_ms>=?5 AND uses<>0 AND "
        "purpose<>'" DS_PFILE_TASK "' ORDER BY seq DESC LIMIT ?6",
};

void
ds_bucket_fini(struct ds_bucket *bucket)
{
    free(bucket->id);
    free(bucket->name);
    free(bucket->owner);
    free(bucket->mime_types);
    *bucket = (struct ds_bucket){0};
}

/* seen(name): whether the listing that runs may see an object of this name. */
static void
seen(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    const struct ds_db *db = sqlite3_user_data(context);
    const char *name = (const char *)sqlite3_value_text(values[0]);
    bool all = !db->sight || !db->sight->sees;
    sqlite3_result_int(context, all || (name && db->sight->sees(db->sight->arg, name)));
}

/* A project of an earlier version gets the columns that came later. */
static int
add_columns(struct ds_db *db)
{
    if (sqlite3_exec(db->sqlite, "SELECT stored_mime FROM objects LIMIT 0", NULL, NULL, NULL) ==
        SQLITE_OK)
        return SQLITE_OK;
    return sqlite3_exec(db->sqlite,
                        "ALTER TABLE objects ADD COLUMN stored_mime TEXT;"
                        "ALTER TABLE objects ADD COLUMN stored_cache TEXT;",
                        NULL, NULL, NULL);
}

int
ds_db_open(const char *path, struct ds_db **ret, struct sf_err *err)
{
    struct ds_db *db = calloc(1, sizeof *db);
    if (!db)
        return sf_err_set(err, -ENOMEM, "database %s: no memory", path);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&db->lock, &attr);
    pthread_mutexattr_destroy(&attr);

    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(path, &db->sqlite, flags, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db->sqlite, schema, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = add_columns(db);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function(db->sqlite, "seen", 1, SQLITE_UTF8, db, seen, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = ds_rest_functions(db->sqlite);
    if (rc != SQLITE_OK) {
        int code = sf_err_set(err, -EIO, "database %s: %s", path, sqlite3_errmsg(db->sqlite));
        ds_db_close(db);
        return code;
    }
    *ret = db;
    return 0;
}

void
ds_db_close(struct ds_db *db)
{
    if (!db)
        return;
    for (size_t i = 0; i < DS_STMT_COUNT; i++)
        sqlite3_finalize(db->stmts[i]);
    sqlite3_close(db->sqlite);
    pthread_mutex_destroy(&db->lock);
    free(db);
}

sqlite3_stmt *
ds_db_stmt_locked(struct ds_db *db, enum ds_stmt which)
{
    sqlite3_stmt **stmt = &db->stmts[which];
    if (!*stmt) {
        int rc = sqlite3_prepare_v3(db->sqlite, statements[which], -1, SQLITE_PREPARE_PERSISTENT,
                                    stmt, NULL);
        if (rc != SQLITE_OK) {
            fprintf(stderr, "supafs-devserver: %s: %s\n", statements[which],
                    sqlite3_errmsg(db->sqlite));
            return NULL;
        }
        return *stmt;
    }
    sqlite3_reset(*stmt);
    sqlite3_clear_bindings(*stmt);
    return *stmt;
}

int
ds_db_run_locked(struct ds_db *db, sqlite3_stmt *stmt)
{
    int rc = sqlite3_step(stmt);
    int extended = rc == SQLITE_DONE ? 0 : sqlite3_extended_errcode(db->sqlite);
    sqlite3_reset(stmt);
    if (rc == SQLITE_DONE || rc == SQLITE_ROW)
        return 0;
    if (extended == SQLITE_CONSTRAINT_PRIMARYKEY || extended == SQLITE_CONSTRAINT_UNIQUE)
        return -EEXIST;
    if (extended == SQLITE_CONSTRAINT_FOREIGNKEY)
        return -ENXIO;
    fprintf(stderr, "supafs-devserver: database: %s\n", sqlite3_errmsg(db->sqlite));
    return extended == SQLITE_NOMEM ? -ENOMEM : -EIO;
}

/* ---- settings ---- */

int
ds_db_setting_get(struct ds_db *db, const char *name, char **ret)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_SETTING_GET);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, name);
    if (sqlite3_step(stmt) != SQLITE_ROW) {
        sqlite3_reset(stmt);
        return -ENOENT;
    }
    char *value = strdup((const char *)sqlite3_column_text(stmt, 0));
    sqlite3_reset(stmt);
    if (!value)
        return -ENOMEM;
    *ret = value;
    return 0;
}

int
ds_db_setting_put(struct ds_db *db, const char *name, const char *value)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_SETTING_PUT);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, name);
    ds_db_bind_text(stmt, 2, value);
    return ds_db_run_locked(db, stmt);
}

/* ---- buckets ---- */

static void
bucket_row(sqlite3_stmt *stmt, struct ds_bucket *bucket)
{
    *bucket = (struct ds_bucket){
        .id = ds_db_text(stmt, 0),
        .name = ds_db_text(stmt, 1),
        .owner = ds_db_text(stmt, 2),
        .mime_types = ds_db_text(stmt, 3),
        .size_limit = sqlite3_column_int64(stmt, 4),
        .created_ms = sqlite3_column_int64(stmt, 5),
        .updated_ms = sqlite3_column_int64(stmt, 6),
        .is_public = sqlite3_column_int(stmt, 7) != 0,
    };
}

int
ds_db_bucket_get(struct ds_db *db, const char *id, struct ds_bucket *ret)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_BUCKET_GET);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, id);
    if (sqlite3_step(stmt) != SQLITE_ROW) {
        sqlite3_reset(stmt);
        return -ENOENT;
    }
    struct ds_bucket row;
    bucket_row(stmt, &row);
    bool failed = false;
    struct ds_bucket copy = row;
    copy.id = ds_db_dup(row.id, &failed);
    copy.name = ds_db_dup(row.name, &failed);
    copy.owner = ds_db_dup(row.owner, &failed);
    copy.mime_types = ds_db_dup(row.mime_types, &failed);
    sqlite3_reset(stmt);
    if (failed) {
        ds_bucket_fini(&copy);
        return -ENOMEM;
    }
    *ret = copy;
    return 0;
}

int
ds_db_bucket_insert(struct ds_db *db, const struct ds_bucket *bucket)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_BUCKET_INSERT);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, bucket->id);
    ds_db_bind_text(stmt, 2, bucket->name);
    ds_db_bind_text(stmt, 3, bucket->owner);
    ds_db_bind_text(stmt, 4, bucket->mime_types);
    sqlite3_bind_int64(stmt, 5, bucket->size_limit);
    sqlite3_bind_int64(stmt, 6, bucket->created_ms);
    sqlite3_bind_int64(stmt, 7, bucket->updated_ms);
    sqlite3_bind_int(stmt, 8, bucket->is_public);
    return ds_db_run_locked(db, stmt);
}

int
ds_db_bucket_update(struct ds_db *db, const struct ds_bucket *bucket)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_BUCKET_UPDATE);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, bucket->id);
    ds_db_bind_text(stmt, 2, bucket->mime_types);
    sqlite3_bind_int64(stmt, 3, bucket->size_limit);
    sqlite3_bind_int64(stmt, 4, bucket->updated_ms);
    sqlite3_bind_int(stmt, 5, bucket->is_public);
    int rc = ds_db_run_locked(db, stmt);
    if (rc < 0)
        return rc;
    return sqlite3_changes(db->sqlite) > 0 ? 0 : -ENOENT;
}

/* Whether the statement finds a row for the bucket; a negative errno when it cannot be run. */
static int
has_row_locked(struct ds_db *db, enum ds_stmt which, const char *id)
{
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, which);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, id);
    int found = sqlite3_step(stmt) == SQLITE_ROW;
    sqlite3_reset(stmt);
    return found;
}

int
ds_db_bucket_delete(struct ds_db *db, const char *id)
{
    DS_DB_GUARD(db);
    int used = has_row_locked(db, DS_STMT_BUCKET_USED, id);
    int awaited = has_row_locked(db, DS_STMT_BUCKET_AWAITED, id);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_BUCKET_DELETE);
    if (used < 0 || awaited < 0 || !stmt)
        return -EIO;
    if (used || awaited)
        return used ? -ENOTEMPTY : -EBUSY;
    ds_db_bind_text(stmt, 1, id);
    int rc = ds_db_run_locked(db, stmt);
    if (rc < 0)
        return rc;
    return sqlite3_changes(db->sqlite) > 0 ? 0 : -ENOENT;
}

int
ds_db_bucket_list(struct ds_db *db, const struct ds_bucket_query *query,
                  void (*row)(void *arg, const struct ds_bucket *bucket), void *arg)
{
    static const char *const columns[] = {"id", "name", "created_at", "updated_at"};
    static const char *const orders[] = {"id", "name", "created_ms", "updated_ms"};
    const char *order = "rowid";
    for (size_t i = 0; query->column && i < sizeof columns / sizeof columns[0]; i++)
        if (strcmp(columns[i], query->column) == 0)
            order = orders[i];
    char sql[400];
    snprintf(sql, sizeof sql,
             "SELECT " BUCKET_COLUMNS " FROM buckets "
             "WHERE ?1 IS NULL OR instr(lower(name), lower(?1)) > 0 "
             "ORDER BY %s %s",
             order, query->descending ? "DESC" : "ASC");
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db->sqlite, sql, -1, &stmt, NULL) != SQLITE_OK)
        return -EIO;
    ds_db_bind_text(stmt, 1, query->search && *query->search ? query->search : NULL);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        struct ds_bucket bucket;
        bucket_row(stmt, &bucket);
        row(arg, &bucket);
    }
    sqlite3_finalize(stmt);
    return 0;
}
