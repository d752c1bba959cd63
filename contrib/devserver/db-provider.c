/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "db-provider.h"

#include <errno.h>
#include <stdio.h>

#include "db-internal.h"

static void
copy_text(sqlite3_stmt *stmt, int at, char *out, size_t size)
{
    const char *text = ds_db_text(stmt, at);
    snprintf(out, size, "%s", text ? text : "");
}

/* The columns of PFILE_COLUMNS. */
static void
read_row(sqlite3_stmt *stmt, struct ds_pfile *file)
{
    file->seq = sqlite3_column_int64(stmt, 0);
    copy_text(stmt, 1, file->site, sizeof file->site);
    copy_text(stmt, 2, file->account, sizeof file->account);
    copy_text(stmt, 3, file->id, sizeof file->id);
    copy_text(stmt, 4, file->filename, sizeof file->filename);
    copy_text(stmt, 5, file->purpose, sizeof file->purpose);
    copy_text(stmt, 6, file->mime, sizeof file->mime);
    copy_text(stmt, 7, file->sha256, sizeof file->sha256);
    copy_text(stmt, 8, file->version, sizeof file->version);
    file->size = sqlite3_column_int64(stmt, 9);
    file->created_ms = sqlite3_column_int64(stmt, 10);
    file->state = (enum ds_pfile_state)sqlite3_column_int(stmt, 11);
    file->polls = sqlite3_column_int64(stmt, 12);
    file->ready_ms = sqlite3_column_int64(stmt, 13);
    file->uses = sqlite3_column_int64(stmt, 14);
}

int
ds_db_pfile_insert(struct ds_db *db, const struct ds_pfile *file)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_PFILE_INSERT);
    if (!stmt)
        return -EIO;
    const char *const texts[] = {file->site,    file->account, file->id,     file->filename,
                                 file->purpose, file->mime,    file->sha256, file->version};
    int at = 1;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        ds_db_bind_text(stmt, at++, texts[i]);
    sqlite3_bind_int64(stmt, at++, file->size);
    sqlite3_bind_int64(stmt, at++, file->created_ms);
    sqlite3_bind_int64(stmt, at++, file->state);
    sqlite3_bind_int64(stmt, at++, file->polls);
    sqlite3_bind_int64(stmt, at++, file->ready_ms);
    sqlite3_bind_int64(stmt, at++, file->uses);
    return ds_db_run_locked(db, stmt);
}

static int
get_locked(struct ds_db *db, enum ds_stmt which, const char *site, const char *account,
           const char *id, struct ds_pfile *ret)
{
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, which);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, site);
    if (sqlite3_bind_parameter_count(stmt) > 1) {
        ds_db_bind_text(stmt, 2, account);
        ds_db_bind_text(stmt, 3, id);
    }
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        read_row(stmt, ret);
    sqlite3_reset(stmt);
    return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? -ENOENT : -EIO;
}

int
ds_db_pfile_get(struct ds_db *db, const char *site, const char *account, const char *id,
                struct ds_pfile *ret)
{
    DS_DB_GUARD(db);
    return get_locked(db, DS_STMT_PFILE_GET, site, account, id, ret);
}

int
ds_db_pfile_use(struct ds_db *db, const char *site, const char *account, const char *id, bool poll,
                int64_t now_ms, struct ds_pfile *ret)
{
    DS_DB_GUARD(db);
    struct ds_pfile file;
    int rc = get_locked(db, DS_STMT_PFILE_GET, site, account, id, &file);
    if (rc < 0)
        return rc;
    if (file.uses == 0)
        return -ENOENT;
    bool pending = file.state == DS_PFILE_PENDING || file.state == DS_PFILE_FAILING;
    if (pending && file.polls == 0 && now_ms >= file.ready_ms)
        file.state = file.state == DS_PFILE_PENDING ? DS_PFILE_READY : DS_PFILE_FAILED;
    else if (pending && poll && file.polls > 0)
        file.polls--;
    if (file.uses > 0)
        file.uses--;
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_PFILE_UPDATE);
    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, file.seq);
    sqlite3_bind_int64(stmt, 2, file.state);
    sqlite3_bind_int64(stmt, 3, file.polls);
    sqlite3_bind_int64(stmt, 4, file.uses);
    rc = ds_db_run_locked(db, stmt);
    if (rc == 0)
        *ret = file;
    return rc;
}

int
ds_db_pfile_delete(struct ds_db *db, const char *site, const char *account, const char *id,
                   struct ds_pfile *ret)
{
    DS_DB_GUARD(db);
    return get_locked(db, DS_STMT_PFILE_DELETE, site, account, id, ret);
}

int
ds_db_pfile_first(struct ds_db *db, const char *site, struct ds_pfile *ret)
{
    DS_DB_GUARD(db);
    return get_locked(db, DS_STMT_PFILE_FIRST, site, NULL, NULL, ret);
}

int
ds_db_pfile_usage(struct ds_db *db, const char *site, const char *account, const char *purpose,
                  int64_t since_ms, int64_t *files, int64_t *bytes)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_PFILE_USAGE);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, site);
    ds_db_bind_text(stmt, 2, account);
    ds_db_bind_text(stmt, 3, purpose);
    sqlite3_bind_int64(stmt, 4, since_ms);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        *files = sqlite3_column_int64(stmt, 0);
        *bytes = sqlite3_column_int64(stmt, 1);
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_ROW ? 0 : -EIO;
}

int
ds_db_pfile_list(struct ds_db *db, const struct ds_pfile_query *query,
                 void (*row)(void *arg, const struct ds_pfile *file), void *arg)
{
    DS_DB_GUARD(db);
    sqlite3_stmt *stmt = ds_db_stmt_locked(db, DS_STMT_PFILE_LIST);
    if (!stmt)
        return -EIO;
    ds_db_bind_text(stmt, 1, query->site);
    ds_db_bind_text(stmt, 2, query->account);
    ds_db_bind_text(stmt, 3, query->purpose);
    sqlite3_bind_int64(stmt, 4, query->before);
    sqlite3_bind_int64(stmt, 5, query->since_ms);
    sqlite3_bind_int(stmt, 6, query->limit);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct ds_pfile file;
        read_row(stmt, &file);
        row(arg, &file);
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : -EIO;
}
