/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_DB_H
#define DS_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "text.h"

/*
 * The project's rows: settings, buckets, objects. One SQLite connection behind one mutex, prepared
 * statements kept; every function is safe from any thread. Bytes of objects are not here, see
 * store.h.
 */
struct ds_db;

struct ds_bucket {
    char *id;
    char *name;
    char *owner;        /* NULL = none */
    char *mime_types;   /* JSON array text; NULL = any */
    int64_t size_limit; /* -1 = none */
    int64_t created_ms;
    int64_t updated_ms;
    bool is_public;
};

struct ds_object {
    char id[DS_UUID_SIZE];
    char version[DS_UUID_SIZE];
    char *bucket;
    char *name;
    char *owner; /* NULL = none */
    char *etag;  /* with its quotes */
    char *mime;
    char *cache;
    char *robots;    /* NULL = not given */
    char *user_meta; /* JSON text; NULL = SQL null */
    /* What the bytes' own replies still say when supafs_set_attrs changed the row; NULL = as it. */
    char *stored_mime;
    char *stored_cache;
    uint64_t size;
    int64_t modified_ms; /* of the bytes */
    int64_t created_ms;
    int64_t updated_ms; /* of the row */
    int64_t accessed_ms;
};

void ds_bucket_fini(struct ds_bucket *bucket);
void ds_object_fini(struct ds_object *object);
#define ds_autobucket __attribute__((cleanup(ds_bucket_fini))) struct ds_bucket
#define ds_autoobject __attribute__((cleanup(ds_object_fini))) struct ds_object

int ds_db_open(const char *path, struct ds_db **ret, struct sf_err *err);
void ds_db_close(struct ds_db *db);

/* Settings of the project: -ENOENT when never set. */
int ds_db_setting_get(struct ds_db *db, const char *name, char **ret);
int ds_db_setting_put(struct ds_db *db, const char *name, const char *value);

int ds_db_bucket_get(struct ds_db *db, const char *id, struct ds_bucket *ret);

/* -EEXIST when the id or the name is taken. */
int ds_db_bucket_insert(struct ds_db *db, const struct ds_bucket *bucket);

/* Writes all changeable columns; -ENOENT. */
int ds_db_bucket_update(struct ds_db *db, const struct ds_bucket *bucket);

/* -ENOENT, -ENOTEMPTY while it has objects, or -EBUSY while it has multipart uploads of S3. */
int ds_db_bucket_delete(struct ds_db *db, const char *id);

struct ds_bucket_query {
    const char *column; /* NULL = in order of creation */
    bool descending;
    const char *search; /* NULL or "" = all */
};

/* Calls `row` for each bucket while the database is locked: it must not call back into db. */
int ds_db_bucket_list(struct ds_db *db, const struct ds_bucket_query *query,
                      void (*row)(void *arg, const struct ds_bucket *bucket), void *arg);

int ds_db_object_get(struct ds_db *db, const char *bucket, const char *key, struct ds_object *ret);

/**
 * ds_db_object_put - insert or overwrite a row in one transaction.
 * @object: all but id, created_ms and accessed_ms, which an existing row keeps; owner and user_meta
 *          that are NULL leave the old value of an existing row.
 * @ret:    may be NULL; the row as it is now.
 * @old_version: the version that was replaced, "" when the row is new.
 *
 * Returns 0; -ENXIO no such bucket; -ENOMEM; -EIO.
 */
int ds_db_object_put(struct ds_db *db, const struct ds_object *object, struct ds_object *ret,
                     char old_version[DS_UUID_SIZE]);

/**
 * ds_db_object_move - give a row another bucket, name, version, ETag and times.
 * @target: bucket, name, version, etag, modified_ms and updated_ms are used; owner NULL = as it
 * was.
 * @old_version: the row is moved only while it still has this version.
 *
 * Returns 0; -ENOENT no such source (any more); -EEXIST; -ENXIO no such target bucket; -ENOMEM;
 * -EIO.
 */
int ds_db_object_move(struct ds_db *db, const char *bucket, const char *key,
                      const char *old_version, const struct ds_object *target);

/**
 * ds_db_object_set_attrs - change what is stored beside the bytes, if the version is the given one.
 * @mime, @cache, @user_meta: NULL leaves it.
 * @updated_ms: the row's new time.
 *
 * Returns 0; -ENOENT no such object with this version; -EIO. Version, ETag and bytes stay.
 */
int ds_db_object_set_attrs(struct ds_db *db, const struct ds_object *change);

/* Removes a row and hands it out; -ENOENT. */
int ds_db_object_delete(struct ds_db *db, const char *bucket, const char *key,
                        struct ds_object *ret);

/* A transaction around several calls of this thread; others wait meanwhile. */
void ds_db_begin(struct ds_db *db);
int ds_db_commit(struct ds_db *db);

/* Calls `row` for up to `limit` objects of a bucket, in no order, while the database is locked. */
int ds_db_object_each(struct ds_db *db, const char *bucket, int limit,
                      void (*row)(void *arg, const struct ds_object *object), void *arg);

/* All versions there are, those of S3 parts too, sorted by strcmp, for the sweep after a crash. */
int ds_db_versions(struct ds_db *db, char (**ret)[DS_UUID_SIZE], size_t *count);

/* A resumable upload. Its offset is the size of its file, see tus.h. */
struct ds_upload {
    char version[DS_UUID_SIZE]; /* of the object that it becomes */
    char *bucket;
    char *name;
    char *metadata; /* as an Upload-Metadata header */
    int64_t length; /* -1 = not declared yet */
    int64_t created_ms;
    bool finished;
};

void ds_upload_fini(struct ds_upload *upload);
#define ds_autoupload __attribute__((cleanup(ds_upload_fini))) struct ds_upload

int ds_db_upload_insert(struct ds_db *db, const struct ds_upload *upload);
int ds_db_upload_get(struct ds_db *db, const char *version, struct ds_upload *ret); /* -ENOENT */
int ds_db_upload_set_length(struct ds_db *db, const char *version, int64_t length);
int ds_db_upload_set_finished(struct ds_db *db, const char *version);
int ds_db_upload_delete(struct ds_db *db, const char *version);

/* Up to `room` uploads that are older than `before_ms`, or beyond the newest `keep` of all, where
 * finished ones are the first to go. Returns how many, or a negative errno. */
int ds_db_upload_old(struct ds_db *db, int64_t before_ms, int keep, char (*ret)[DS_UUID_SIZE],
                     int room);

/* A multipart upload of the S3 protocol, and its parts, whose bytes are versions in the store. A
 * part that is sent again is one more row; the last one counts. */
struct ds_s3_upload {
    char id[DS_UUID_SIZE];
    char *bucket;
    char *name;
    char *owner; /* NULL = none */
    char *mime;
    char *cache;
    char *user_meta;
    int64_t created_ms;
};

struct ds_s3_part {
    char version[DS_UUID_SIZE];
    char etag[33]; /* MD5 in hex */
    int number;
    uint64_t size;
    int64_t created_ms;
};

void ds_s3_upload_fini(struct ds_s3_upload *upload);
#define ds_autos3upload __attribute__((cleanup(ds_s3_upload_fini))) struct ds_s3_upload

int ds_db_s3_insert(struct ds_db *db, const struct ds_s3_upload *upload);

/* -ENOENT, also when the upload is one of another bucket or key. */
int ds_db_s3_get(struct ds_db *db, const char *id, const char *bucket, const char *key,
                 struct ds_s3_upload *ret);

/* Up to `limit` uploads behind (after_key, after_id), by key; locks as ds_db_bucket_list. */
int ds_db_s3_list(struct ds_db *db, const char *bucket, const char *prefix, const char *after_key,
                  const char *after_id, int limit,
                  void (*row)(void *arg, const struct ds_s3_upload *upload), void *arg);

/* -ENOENT when the upload is gone. */
int ds_db_s3_part_insert(struct ds_db *db, const char *id, const struct ds_s3_part *part);

/* All rows by number, older ones first. *ret is the caller's, NULL when there are none. */
int ds_db_s3_parts(struct ds_db *db, const char *id, struct ds_s3_part **ret, size_t *count);

/* Removes the upload and its parts, and hands those out for their bytes: as ds_db_s3_parts(). */
int ds_db_s3_delete(struct ds_db *db, const char *id, struct ds_s3_part **ret, size_t *count);

/* Which names a listing sees: rows of others are not there for it. NULL = all. */
struct ds_sight {
    bool (*sees)(const void *arg, const char *name);
    const void *arg;
};

enum ds_sort { DS_SORT_NAME, DS_SORT_CREATED, DS_SORT_UPDATED, DS_SORT_ACCESSED };

struct ds_list_query {
    const char *bucket;
    const char *prefix;
    bool delimiter; /* group by '/' */
    enum ds_sort sort;
    bool descending;
    const char *after; /* "" = from the start */
    int64_t after_ms;  /* -1 = the cursor has no time */
    size_t max_rows;
    struct ds_sight sight;
};

struct ds_list_row {
    const struct ds_object *object; /* NULL for a folder */
    const char *folder;             /* without trailing slashes */
    int64_t folder_ms;              /* -1 = null */
};

/* A page of the first listing, which goes by names in lower case. */
struct ds_list_v1_query {
    const char *bucket;
    const char *prefix; /* "" or with its slash */
    const char *search; /* what names below it must start with */
    enum ds_sort sort;
    bool descending;
    size_t offset, max_rows;
    struct ds_sight sight;
};

/* Folders are rows with the last component only. Locks as ds_db_bucket_list. */
int ds_db_object_list_v1(struct ds_db *db, const struct ds_list_v1_query *query,
                         void (*row)(void *arg, const struct ds_list_row *row), void *arg);

/* Lists in the service's own manner, its faults included; locks as ds_db_bucket_list. */
int ds_db_object_list(struct ds_db *db, const struct ds_list_query *query,
                      void (*row)(void *arg, const struct ds_list_row *row), void *arg);

#endif
