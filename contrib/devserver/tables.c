/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tables.h"

#include <errno.h>
#include <string.h>

#include "buf.h"
#include "db-internal.h"

#define PRIMARY_UUID(name)                                                                         \
    {                                                                                              \
        name, DS_UUID, .origin = DS_DEFAULT_UUID, .not_null = true                                 \
    }
#define OWNER                                                                                      \
    {                                                                                              \
        "owner_id", DS_UUID, .origin = DS_DEFAULT_CALLER                                           \
    }
#define NOW(name)                                                                                  \
    {                                                                                              \
        name, DS_TIME, .origin = DS_DEFAULT_NOW                                                    \
    }
#define EMPTY_JSONB(name)                                                                          \
    {                                                                                              \
        name, DS_JSONB, .origin = DS_DEFAULT_TEXT, .literal = "{}"                                 \
    }

static const struct ds_table tables[] = {
    {
        .name = "file_metadata",
        .columns = {PRIMARY_UUID("file_id"),
                    {.name = "original_filename", .type = DS_TEXT},
                    {.name = "file_size", .type = DS_BIGINT},
                    {.name = "mime_type", .type = DS_TEXT},
                    {.name = "supabase_storage_path", .type = DS_TEXT},
                    {.name = "local_cache_path", .type = DS_TEXT},
                    {.name = "file_hash", .type = DS_TEXT},
                    EMPTY_JSONB("provider_file_ids"),
                    NOW("upload_date"),
                    {.name = "last_accessed", .type = DS_TIME},
                    {.name = "access_count",
                     .type = DS_INTEGER,
                     .origin = DS_DEFAULT_TEXT,
                     .literal = "0"},
                    EMPTY_JSONB("metadata"),
                    NOW("created_at"),
                    NOW("updated_at"),
                    {.name = "bucket_id", .type = DS_TEXT},
                    {.name = "object_key", .type = DS_TEXT},
                    {.name = "version", .type = DS_TEXT},
                    {.name = "etag", .type = DS_TEXT},
                    {.name = "tags", .type = DS_TEXTS},
                    OWNER},
        .uniques = {{.name = "file_metadata_pkey", .columns = {"file_id"}},
                    {.name = "supafs_file_metadata_place",
                     .columns = {"bucket_id", "object_key", "owner_id"},
                     .nulls_equal = true,
                     .partial = true}},
        .owner = "owner_id",
        .stamp = "updated_at",
    },
    {
        .name = "file_id_mappings",
        .columns = {PRIMARY_UUID("id"),
                    {.name = "supabase_file_id", .type = DS_TEXT, .not_null = true},
                    {.name = "provider_file_id", .type = DS_TEXT, .not_null = true},
                    {.name = "provider", .type = DS_TEXT, .not_null = true},
                    NOW("created_at"),
                    OWNER},
        .uniques = {{.name = "file_id_mappings_pkey", .columns = {"id"}},
                    {.name = "supafs_file_id_mappings_file",
                     .columns = {"supabase_file_id", "provider"}},
                    {.name = "supafs_file_id_mappings_provider",
                     .columns = {"provider_file_id", "provider"}}},
        .owner = "owner_id",
    },
    {
        .name = "provider_files",
        .columns =
            {PRIMARY_UUID("id"),
             {.name = "sha256",
              .type = DS_TEXT,
              .not_null = true,
              .check = "^[0-9a-f]{64}$",
              .check_name = "provider_files_sha256_check"},
             {.name = "provider", .type = DS_TEXT, .not_null = true},
             {.name = "account", .type = DS_TEXT, .not_null = true},
             {.name = "purpose", .type = DS_TEXT, .not_null = true},
             {.name = "provider_file_id", .type = DS_TEXT},
             {.name = "state",
              .type = DS_TEXT,
              .origin = DS_DEFAULT_TEXT,
              .literal =
                  "pending",
              .not_null = true},
             {.name = "bytes", .type = DS_BIGINT},
             {.name = "expires_at", .type = DS_TIME},
             {.name = "lease_until", .type = DS_TIME},
             {.name = "lease_by", .type = DS_TEXT},
             {.name = "error", .type = DS_TEXT},
             OWNER,
             {.name = "created_at", .type = DS_TIME, .origin = DS_DEFAULT_NOW, .not_null = true},
             {.name = "updated_at", .type = DS_TIME, .origin = DS_DEFAULT_NOW, .not_null = true}},
        .uniques = {{.name = "provider_files_pkey", .columns = {"id"}},
                    {.name = "supafs_provider_files_content",
                     .columns = {"sha256", "provider", "account", "purpose", "owner_id"},
                     .nulls_equal = true}},
        .owner = "owner_id",
        .stamp = "updated_at",
    },
    {
        .name = "file_operations",
        .columns = {PRIMARY_UUID("id"),
                    {.name = "file_id", .type = DS_TEXT, .room = 64},
                    {.name = "operation_type", .type = DS_TEXT, .room = 20},
                    {.name = "source", .type = DS_TEXT, .room = 50},
                    {.name = "destination", .type = DS_TEXT, .room = 50},
                    {.name = "status", .type = DS_TEXT, .room = 20},
                    NOW("created_at"),
                    {.name = "completed_at", .type = DS_TIME},
                    EMPTY_JSONB("metadata"),
                    OWNER},
        .uniques = {{.name = "file_operations_pkey", .columns = {"id"}}},
        .owner = "owner_id",
    },
    {
        .name = "supafs_batches",
        .columns =
            {{.name = "batch_id", .type = DS_UUID, .not_null = true},
             OWNER,
             {.name = "created_at", .type = DS_TIME, .origin = DS_DEFAULT_NOW, .not_null = true}},
        .uniques = {{.name = "supafs_batches_pkey", .columns = {"batch_id"}}},
        .owner = "owner_id",
    },
    {
        .name = "conversations",
        .columns = {PRIMARY_UUID("id"),
                    {.name = "continuation_id", .type = DS_TEXT, .not_null = true},
                    {.name = "title", .type = DS_TEXT},
                    NOW("created_at"),
                    NOW("updated_at"),
                    EMPTY_JSONB("metadata"),
                    OWNER},
        .uniques = {{.name = "conversations_pkey", .columns = {"id"}},
                    {.name = "conversations_continuation_id_key", .columns = {"continuation_id"}}},
        .owner = "owner_id",
        .stamp = "updated_at",
    },
    {
        .name = "messages",
        .columns = {PRIMARY_UUID("id"),
                    {.name = "conversation_id", .type = DS_UUID, .not_null = true},
                    {.name = "role",
                     .type = DS_TEXT,
                     .not_null = true,
                     .check = "^(user|assistant|system)$",
                     .check_name = "messages_role_check"},
                    {.name = "content", .type = DS_TEXT},
                    NOW("timestamp"),
                    EMPTY_JSONB("metadata")},
        .uniques = {{.name = "messages_pkey", .columns = {"id"}}},
        .parent_column = "conversation_id",
        .parent = "conversations",
        .reference = "messages_conversation_id_fkey",
    },
    {
        .name = "conversation_files",
        .columns = {{.name = "conversation_id", .type = DS_UUID, .not_null = true},
                    {.name = "file_id", .type = DS_UUID, .not_null = true},
                    NOW("attached_at")},
        .uniques = {{.name = "conversation_files_pkey", .columns = {"conversation_id", "file_id"}}},
        .parent_column = "conversation_id",
        .parent = "conversations",
        .reference = "supafs_conversation_files_conversation",
    },
    {
        .name = "error_reports",
        .columns =
            {PRIMARY_UUID("id"),
             {.name = "fingerprint", .type = DS_TEXT, .not_null = true},
             {.name = "message", .type = DS_TEXT},
             EMPTY_JSONB("context"),
             {.name = "count",
              .type = DS_BIGINT,
              .origin = DS_DEFAULT_TEXT,
              .literal =
                  "1",
              .not_null = true},
             {.name = "first_seen", .type = DS_TIME, .origin = DS_DEFAULT_NOW, .not_null = true},
             {.name = "last_seen", .type = DS_TIME, .origin = DS_DEFAULT_NOW, .not_null = true},
             {.name = "diagnosis", .type = DS_TEXT},
             {.name = "recommended_fix", .type = DS_TEXT},
             {.name = "resolved_at", .type = DS_TIME},
             OWNER},
        .uniques = {{.name = "error_reports_pkey", .columns = {"id"}},
                    {.name = "supafs_error_reports_fingerprint",
                     .columns = {"fingerprint", "owner_id"},
                     .nulls_equal = true}},
        .owner = "owner_id",
    },
    {
        .name = "supafs_conversations",
        .base = "conversations",
        .columns = {{.name = "id", .type = DS_UUID},
                    {.name = "continuation_id", .type = DS_TEXT},
                    {.name = "title", .type = DS_TEXT},
                    {.name = "created_at", .type = DS_TIME},
                    {.name = "updated_at", .type = DS_TIME},
                    {.name = "metadata", .type = DS_JSONB}},
    },
    {
        .name = "supafs_messages",
        .base = "messages",
        .columns = {{.name = "id", .type = DS_UUID},
                    {.name = "conversation_id", .type = DS_UUID},
                    {.name = "role", .type = DS_TEXT},
                    {.name = "content", .type = DS_TEXT},
                    {.name = "timestamp", .type = DS_TIME},
                    {.name = "metadata", .type = DS_JSONB}},
    },
};
#define TABLES (sizeof tables / sizeof tables[0])

const struct ds_table *
ds_table_find(const char *name)
{
    for (size_t i = 0; i < TABLES; i++)
        if (strcmp(tables[i].name, name) == 0)
            return &tables[i];
    return NULL;
}

const struct ds_table *
ds_table_base(const struct ds_table *table)
{
    return table->base ? ds_table_find(table->base) : table;
}

size_t
ds_table_width(const struct ds_table *table)
{
    size_t n = 0;
    while (n < DS_COLUMNS_MAX && table->columns[n].name)
        n++;
    return n;
}

int
ds_table_column(const struct ds_table *table, const char *name)
{
    for (size_t i = 0; i < ds_table_width(table); i++)
        if (strcmp(table->columns[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* Constraints are looked at before a row is written, for their errors' sake; here are only the ways
 * to the rows, and what goes with a row that is removed. */
static void
write_ddl(const struct ds_table *table, struct ds_buf *out)
{
    ds_buf_addf(out, "CREATE TABLE IF NOT EXISTS \"%s\"(", table->name);
    for (size_t i = 0; i < ds_table_width(table); i++) {
        const struct ds_column *column = &table->columns[i];
        bool number = column->type == DS_BIGINT || column->type == DS_INTEGER ||
                      column->type == DS_TIME || column->type == DS_BOOLEAN;
        ds_buf_addf(out, "%s\"%s\" %s", i > 0 ? ", " : "", column->name,
                    number ? "INTEGER" : "TEXT");
        if (i == 0 && table->uniques[0].columns[1] == NULL)
            ds_buf_adds(out, " NOT NULL UNIQUE");
        if (table->parent && strcmp(column->name, table->parent_column) == 0)
            ds_buf_addf(out, " REFERENCES \"%s\"(\"%s\") ON DELETE CASCADE", table->parent,
                        ds_table_find(table->parent)->columns[0].name);
    }
    ds_buf_adds(out, ");");
    for (size_t k = 1; k < DS_UNIQUES_MAX && table->uniques[k].name; k++) {
        const struct ds_unique *unique = &table->uniques[k];
        ds_buf_addf(out, "CREATE INDEX IF NOT EXISTS \"%s\" ON \"%s\"(", unique->name, table->name);
        for (size_t i = 0; i < DS_KEY_MAX && unique->columns[i]; i++)
            ds_buf_addf(out, "%s\"%s\"", i > 0 ? ", " : "", unique->columns[i]);
        ds_buf_adds(out, ");");
    }
    if (table->parent)
        ds_buf_addf(out, "CREATE INDEX IF NOT EXISTS \"%s\" ON \"%s\"(\"%s\");", table->reference,
                    table->name, table->parent_column);
}

int
ds_tables_create(struct ds_db *db, struct sf_err *err)
{
    ds_autobuf ddl = DS_BUF_INIT;
    for (size_t i = 0; i < TABLES; i++)
        if (!tables[i].base)
            write_ddl(&tables[i], &ddl);
    if (ddl.failed)
        return sf_err_set(err, -ENOMEM, "the project's tables: no memory");
    DS_DB_GUARD(db);
    if (sqlite3_exec(db->sqlite, ddl.data, NULL, NULL, NULL) != SQLITE_OK)
        return sf_err_set(err, -EIO, "the project's tables: %s", sqlite3_errmsg(db->sqlite));
    return 0;
}
