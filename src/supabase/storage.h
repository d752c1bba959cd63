/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_STORAGE_H
#define SF_SUPABASE_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "http/http.h"
#include "supabase/auth.h"

/*
 * Typed client of the Storage API. Every call has a form that ends in a callback on the event
 * thread, and, where work is done in steps on a worker thread, one that waits (_wait).
 *
 * Callbacks run exactly once, never before the call returns to a caller off the event thread.
 * (Only when not even memory to report that memory is gone is left, a callback runs at once.)
 * @err is NULL on success; results are valid during the callback only. Deadlines are absolute
 * CLOCK_BOOTTIME milliseconds and include retries. Retry policy, error mapping, token renewal and
 * the checks of ranges and pages live behind this header.
 *
 * Errors are those of the table in docs/errors.md. outcome_open is set when a request that changes
 * something may have taken effect although no answer came.
 */
struct sf_storage;

/**
 * sf_storage_new - a client of one project.
 * @url: the project's URL; a trailing /storage/v1 and slashes are cut off. Plain http only to
 *       loopback unless http was made insecure.
 * @auth: borrowed until sf_storage_free().
 */
int sf_storage_new(struct sf_http *http, struct sf_auth *auth, const char *url,
                   struct sf_storage **ret, struct sf_err *err);
/* No call may be under way: free the http first (which ends them all), or wait for all callbacks.
 */
void sf_storage_free(struct sf_storage *st);

/**
 * sf_storage_on_trouble - who is to hear of each call that fails, for the log.
 * @fn: runs on the event thread before the call's own callback. It does not hear of what is daily
 *      business (-ENOENT, -EEXIST, -ECANCELED), nor of uploads, whose failures the caller tells.
 * Set before the first call; @arg is borrowed until all callbacks have run.
 */
typedef void (*sf_storage_trouble_fn)(void *arg, const struct sf_err *err);
void sf_storage_on_trouble(struct sf_storage *st, sf_storage_trouble_fn fn, void *arg);

/* Does a call wait to be repeated just now? A hint that the service may be failing. */
bool sf_storage_is_retrying(struct sf_storage *st);

/* ---- buckets ------------------------------------------------------------------------------- */

struct sf_bucket_row {
    const char *id;
    const char *name;
    bool is_public;
    uint64_t size_limit;      /* bytes; 0 = none */
    const char *const *mimes; /* NULL-terminated list of allowed types; NULL = all */
    int64_t created_ns, updated_ns;
};

typedef void (*sf_bucket_list_fn)(void *arg, const struct sf_err *err,
                                  const struct sf_bucket_row *rows, size_t n);
uint64_t sf_storage_bucket_list(struct sf_storage *st, int64_t deadline_ms, sf_bucket_list_fn cb,
                                void *arg);
/* One bucket: cb gets n = 1; a missing or hidden one is -ENOENT. */
uint64_t sf_storage_bucket_get(struct sf_storage *st, const char *id, int64_t deadline_ms,
                               sf_bucket_list_fn cb, void *arg);
/* A private one without limits. */
int sf_storage_bucket_create_wait(struct sf_storage *st, const char *id, int64_t deadline_ms,
                                  struct sf_err *err);
struct sf_bucket_spec {
    const char *id;
    bool is_public;
    uint64_t size_limit;      /* bytes; 0 = none */
    const char *const *mimes; /* NULL-terminated list of allowed types; NULL = all */
};
int sf_storage_bucket_make_wait(struct sf_storage *st, const struct sf_bucket_spec *spec,
                                int64_t deadline_ms, struct sf_err *err);
int sf_storage_bucket_delete_wait(struct sf_storage *st, const char *id, int64_t deadline_ms,
                                  struct sf_err *err);

/* ---- listing (list-v2) ------------------------------------------------------------------------
 */

struct sf_list_row {
    const char *key; /* full key; of a folder with its final '/' */
    size_t key_len;
    bool folder; /* then only key is set */
    const char *id;
    const char *etag;          /* as sent, with quotes; "" when the service gave none */
    const char *mime;          /* "" when none */
    const char *cache_control; /* "" when none */
    uint64_t size;             /* bytes */
    int64_t mtime_ns;          /* metadata.lastModified, else updated */
    int64_t updated_ns;
};

struct sf_list_page {
    const struct sf_list_row *rows; /* folders and objects in one bytewise order of key */
    size_t n;
    bool more;        /* further rows may follow */
    const char *last; /* key to pass as @after for the next page; strictly greater
                         than the one before, else the call fails with -EPROTO */
};

struct sf_list_args {
    const char *bucket;
    const char *prefix; /* string prefix, "" or NULL = all; a directory's ends in '/' */
    const char *after;  /* NULL, or: only keys bytewise after this one */
    unsigned limit;     /* rows; 0 = 1000, the most the service gives */
    bool delimiter;     /* fold what lies below the next '/' into folders */
    int priority;       /* as for sf_http_req_priority(): 1 somebody waits, 0, -1 ahead of need */
};

typedef void (*sf_list_fn)(void *arg, const struct sf_err *err, const struct sf_list_page *page);

/*
 * One page. The service's quirk that folder "x/" is lost after object "x" at a page's end is
 * repaired here: no row is missed by following @last. An empty list of a bucket that may be missing
 * or hidden comes as an empty page: see sf_storage_verify().
 */
uint64_t sf_storage_list(struct sf_storage *st, const struct sf_list_args *args,
                         int64_t deadline_ms, sf_list_fn cb, void *arg);

typedef void (*sf_plain_fn)(void *arg, const struct sf_err *err);
/* Is the token good and the bucket there? 0 or -ENOENT (bucket gone or hidden), -EKEYEXPIRED,
 * -EACCES, ... Before an empty list or "bucket not found" is believed. */
uint64_t sf_storage_verify(struct sf_storage *st, const char *bucket, int64_t deadline_ms,
                           sf_plain_fn cb, void *arg);

/* ---- objects: reading -------------------------------------------------------------------------
 */

struct sf_object_info {
    const char *id, *version, *etag, *mime, *cache_control;
    const char *metadata; /* the user metadata as compact JSON object, "{}" when none */
    uint64_t size;
    int64_t updated_ns, created_ns;
};

typedef void (*sf_info_fn)(void *arg, const struct sf_err *err, const struct sf_object_info *info);
uint64_t sf_storage_info(struct sf_storage *st, const char *bucket, const char *key,
                         int64_t deadline_ms, sf_info_fn cb, void *arg);

/* @url: whole; a secret: who has it needs no key. Valid during the callback, and wiped behind it.
 */
typedef void (*sf_sign_fn)(void *arg, const struct sf_err *err, const char *url);
/* A link that everybody can read the object by, for so long. -ENOENT also when it is hidden. */
uint64_t sf_storage_sign(struct sf_storage *st, const char *bucket, const char *key,
                         uint64_t seconds, int64_t deadline_ms, sf_sign_fn cb, void *arg);
/* The link to an object of a public bucket, for free(); nothing is asked. NULL without memory. */
char *sf_storage_public_url(const struct sf_storage *st, const char *bucket, const char *key);

struct sf_get_args {
    const char *bucket, *key;
    uint64_t off;      /* bytes; off < size of the object as known */
    size_t len;        /* > 0 */
    char *buf;         /* at least len bytes; borrowed until the callback has run */
    const char *etag;  /* NULL or "" = any; else another one in the reply gives -ESTALE */
    uint64_t total;    /* expected size of the object; another one gives -ESTALE */
    bool any_total;    /* do not check it */
    const char *token; /* NULL, or added as ?v=TOKEN against caches between */
    int priority;      /* as for sf_http_req_priority(): 1 somebody waits, 0, -1 ahead of need */
};

struct sf_get_result {
    size_t len; /* bytes in buf: args.len, or less at the object's end */
    const char *etag;
    uint64_t total;
    const char *cache_control; /* NULL = none */
};

typedef void (*sf_get_fn)(void *arg, const struct sf_err *err, const struct sf_get_result *res);
/* A range. -ESTALE: the object has another version now (another ETag or size; also when the service
 * says that it ends before @off); -ENOENT; -EIO: the body is shorter than or another range than
 * the reply claims, or a whole object that does not fit @buf. */
uint64_t sf_storage_get(struct sf_storage *st, const struct sf_get_args *args, int64_t deadline_ms,
                        sf_get_fn cb, void *arg);
int sf_storage_get_wait(struct sf_storage *st, const struct sf_get_args *args, int64_t deadline_ms,
                        size_t *len, struct sf_err *err);

/* ---- objects: changing; on worker threads ------------------------------------------------------
 */

/* An object's properties, owned copy; sf_object_fini() frees. */
struct sf_object {
    char *id, *version, *etag, *mime, *cache_control, *metadata; /* "" or NULL when unknown */
    uint64_t size;
    int64_t updated_ns, created_ns;
};
void sf_object_fini(struct sf_object *o);

/*
 * Which version of an object somebody has seen; "" and 0 = not known. The service's own version is
 * exact, but listings and uploads do not tell it; id, ETag and size are told nearly everywhere. An
 * ETag is that of the bytes: it does not notice a change and a change back, nor one of attributes.
 */
struct sf_version {
    char id[40], version[40], etag[136]; /* the ETag as sent, with its quotes */
    uint64_t size;                       /* bytes */
    int64_t updated_ns;                  /* the service's clock; not compared */
};

/* A text that does not fit counts as not known: half of a name would be another one. */
void sf_version_of_object(const struct sf_object *o, struct sf_version *out);
void sf_version_of_info(const struct sf_object_info *info, struct sf_version *out);
/* Whether two ETags are of one text, weak or not. */
bool sf_etag_same(const char *a, const char *b);
/* Whether an ETag has the form of an MD5: 32 hex digits in quotes. Others are opaque. */
bool sf_etag_is_md5(const char *etag);
/* Whether anything is known but the size: the version, the id or the ETag. */
bool sf_version_known(const struct sf_version *v);
/**
 * sf_version_same - may both be the same version of one object?
 * Sizes must be equal; id, ETag and version each where both know it (a weak ETag counts as the
 * strong one of the same text). Two of which nothing is known are not the same.
 */
bool sf_version_same(const struct sf_version *a, const struct sf_version *b);

int sf_storage_info_wait(struct sf_storage *st, const char *bucket, const char *key,
                         int64_t deadline_ms, struct sf_object *out, struct sf_err *err);

/* How far an upload is, for other threads; zeroed by who owns it. */
struct sf_progress {
    _Atomic uint64_t sent; /* bytes given to the connection, with args.off of a part; it goes back
                              when they have to be sent again */
    _Atomic uint64_t call; /* for sf_storage_cancel(); 0 = nothing is under way */
};

/*
 * Bytes of JSON that can go with a request. In a header it is base64, and gateways with usual
 * buffers take 8 KiB in a line; a form carries it in its body.
 */
#define SF_METADATA_HEADER_MAX 6000
#define SF_METADATA_FORM_MAX   65536

struct sf_put_args {
    const char *bucket, *key;
    int fd;                       /* body, from offset 0 */
    uint64_t size;                /* bytes; always declared */
    const char *mime;             /* NULL = application/octet-stream */
    const char *cache_control;    /* NULL = not sent */
    const char *metadata;         /* NULL, or a JSON object */
    bool upsert;                  /* replace what is there; else -EEXIST */
    struct sf_progress *progress; /* NULL, or borrowed for the call */
};
/* @id: 40 bytes, the object's id on success; "" when an old service does not tell it.
 * A replace is repeated after a lost reply, a create is not (outcome_open). -ENOTSUP: the metadata
 * is larger than SF_METADATA_HEADER_MAX; nothing was sent. */
int sf_storage_put_wait(struct sf_storage *st, const struct sf_put_args *args, int64_t deadline_ms,
                        char id[40], struct sf_err *err);

/*
 * The same as a form, for metadata of up to SF_METADATA_FORM_MAX (else -ENOTSUP). A form has no
 * place for a Cache-Control but a number of seconds: one that sf_cache_control_is_plain() does not
 * hold for is left out, the object gets "no-cache", and has to get the right one by
 * sf_storage_set_attrs_wait() or a copy onto itself.
 */
int sf_storage_put_form_wait(struct sf_storage *st, const struct sf_put_args *args,
                             int64_t deadline_ms, char id[40], struct sf_err *err);

/* Whether forms and resumable uploads can carry this Cache-Control: "max-age=N", or "no-cache",
 * "" and NULL, which need nothing. */
bool sf_cache_control_is_plain(const char *cache_control);

/* -ENOENT when there was none. Never repeated after a lost reply: outcome_open. */
int sf_storage_delete_wait(struct sf_storage *st, const char *bucket, const char *key,
                           int64_t deadline_ms, struct sf_err *err);
#define SF_DELETE_MAX 1000 /* keys of one call; the service removes 500 in one transaction */

struct sf_removed {
    bool removed;
    struct sf_version version; /* of what was removed */
};
/**
 * sf_storage_delete_many_wait - remove objects by their exact keys, in one request.
 * @n:       0 to SF_DELETE_MAX (else -EINVAL); no key twice. Without keys nothing is sent.
 * @removed: @n places, filled in the order of @keys on success.
 *
 * A key that was not removed was not there, is hidden, or may not be removed; info tells which.
 * (It may also have gone by an earlier attempt that the service broke off half-way.)
 * Never repeated after a lost reply: outcome_open, and any of them may be gone.
 */
int sf_storage_delete_many_wait(struct sf_storage *st, const char *bucket, const char *const *keys,
                                size_t n, int64_t deadline_ms, struct sf_removed *removed,
                                struct sf_err *err);

/* -EEXIST target exists; -ENOENT no source. Never repeated after a lost reply: outcome_open. */
int sf_storage_move_wait(struct sf_storage *st, const char *bucket, const char *key,
                         const char *to_bucket, const char *to_key, int64_t deadline_ms,
                         struct sf_err *err);

struct sf_copy_args {
    const char *bucket, *key, *to_bucket, *to_key;
    bool upsert;
    bool set_metadata;         /* use the three below in place of the source's */
    const char *mime;          /* NULL = the source's */
    const char *cache_control; /* NULL = the source's */
    const char *metadata;      /* NULL = {}; more than SF_METADATA_HEADER_MAX is -ENOTSUP */
};
/* @out: the target's row as the reply gives it ("" for what an old service does not tell), with
 * version, ETag, size and time for sf_version_of_object(); may be NULL. Never repeated after a lost
 * reply: outcome_open. */
int sf_storage_copy_wait(struct sf_storage *st, const struct sf_copy_args *args,
                         int64_t deadline_ms, struct sf_object *out, struct sf_err *err);

struct sf_attrs_args {
    const char *bucket, *key;
    const char *version;       /* the service's, as expected; not "" */
    const char *cache_control; /* NULL = as it is; likewise the next two */
    const char *mime;
    const char *metadata; /* a JSON object */
};
struct sf_attrs_result {
    bool updated;       /* false: another version, or no object, is there now */
    char version[40];   /* the current one; "" = there is none */
    int64_t updated_ns; /* when updated */
};
/**
 * sf_storage_set_attrs_wait - change what is known of an object where no byte has to move: by the
 * function supafs_set_attrs of the project's database, which must have been installed.
 *
 * It compares the version and keeps it, so that it can be repeated (and is, after a lost reply).
 * Callers tell of failures.
 * Returns 0; -ENOSYS there is no such function, or no database API at this address; -EACCES;
 * -EINVAL without a version; others as usual.
 */
int sf_storage_set_attrs_wait(struct sf_storage *st, const struct sf_attrs_args *args,
                              int64_t deadline_ms, struct sf_attrs_result *res, struct sf_err *err);

/* One page of a listing on a worker thread, for emptiness checks. @n: rows found (at most limit);
 * @first: NULL or the first row's key, malloc'd. */
int sf_storage_list_wait(struct sf_storage *st, const struct sf_list_args *args,
                         int64_t deadline_ms, size_t *n, char **first, struct sf_err *err);

/* The project's limit for one object in bytes (tus-max-size of OPTIONS), 0 = unknown. */
int sf_storage_global_limit_wait(struct sf_storage *st, int64_t deadline_ms, uint64_t *limit,
                                 struct sf_err *err);

/* Ends a call by the id that it returned; its callback runs with -ECANCELED. */
void sf_storage_cancel(struct sf_storage *st, uint64_t id);

#endif
