/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_TUS_H
#define SF_SUPABASE_TUS_H

#include "supabase/storage.h"

/*
 * Resumable uploads (the protocol TUS 1.0.0): created, sent in pieces one after the other, and the
 * object is there with the last one. On worker threads; callers tell of failures.
 *
 * An upload is named by the last part of its address, which is all that has to be remembered; it
 * works with the same project and key until the service forgets it (24 hours, 1 on some). Two
 * requests to one upload at a time end one of them.
 */
#define SF_TUS_CHUNK      (6U << 20) /* bytes of every piece but the last: hosted projects insist */
#define SF_TUS_NAME_MAX   4096       /* bytes of an upload's name */
#define SF_TUS_HEADER_MAX 8000       /* bytes of the header that holds all that is said of it */

struct sf_tus_args {
    const char *bucket, *key;
    uint64_t size;             /* bytes, > 0 */
    const char *mime;          /* NULL = application/octet-stream */
    const char *cache_control; /* left out unless sf_cache_control_is_plain(): as with forms */
    const char *metadata;      /* NULL, or a JSON object */
    bool upsert;               /* replace what is there when it ends; else -EEXIST */
};
/**
 * sf_tus_create_wait - begin an upload.
 * @name: its name, malloc'd.
 *
 * Returns 0; -EEXIST; -EFBIG over the limit of bucket or project; -EPERM the content type is not
 * allowed; -ENOTSUP bucket, key and metadata do not fit SF_TUS_HEADER_MAX, nothing was sent (send
 * no metadata, and set it afterwards); -EOPNOTSUPP the service has no resumable uploads; others of
 * docs/errors.md. Not repeated after a lost reply: an upload may then be left over, and expires.
 */
int sf_tus_create_wait(struct sf_storage *st, const struct sf_tus_args *args, int64_t deadline_ms,
                       char **name, struct sf_err *err);

/**
 * sf_tus_offset_wait - how many bytes the service has.
 * @upsert: as it was created with; likewise below.
 * @offset, @size: bytes; @offset == @size when it is complete, or waits only for its end. Whether
 *                 the object is there is told by its version: sf_tus_version().
 *
 * Returns 0; -ENOENT there is no such upload any more: begin again; -EKEYREJECTED (the answer has
 * no body that could say whether the token has expired); others.
 */
int sf_tus_offset_wait(struct sf_storage *st, const char *name, bool upsert, int64_t deadline_ms,
                       uint64_t *offset, uint64_t *size, struct sf_err *err);

struct sf_tus_piece {
    const char *name;
    bool upsert;
    int fd;                       /* the file */
    uint64_t off;                 /* where the piece stands in file and object */
    uint64_t len;                 /* bytes; 0 only to end an upload of which all bytes are there */
    struct sf_progress *progress; /* NULL, or borrowed for the call */
};
/**
 * sf_tus_send_wait - send the next piece.
 * @now_at: bytes that the service has now; fewer than sent when another request broke in.
 *
 * After any failure ask sf_tus_offset_wait() before going on: part of the piece may be stored.
 * Returns 0; -ESPIPE the service has another offset; -ENOENT there is no such upload any more;
 * -EEXIST it is complete already, or another object took the key; -EFBIG more than was announced,
 * or than a gateway takes; others. Never repeated after a lost reply: outcome_open.
 */
int sf_tus_send_wait(struct sf_storage *st, const struct sf_tus_piece *piece, int64_t deadline_ms,
                     uint64_t *now_at, struct sf_err *err);

/* Give an upload up. -ENOENT: it is gone already; -EEXIST: it is complete. */
int sf_tus_drop_wait(struct sf_storage *st, const char *name, bool upsert, int64_t deadline_ms,
                     struct sf_err *err);

/**
 * sf_tus_name_of - the name in the address that the service gives.
 * @location: hostile. Returns 0 and a malloc'd text of the characters of base64url; -EPROTO;
 * -ENOMEM.
 */
int sf_tus_name_of(const char *location, char **name);

/**
 * sf_tus_where_parse - the headers Upload-Offset and Upload-Length; NULL = absent.
 * @why: 160 bytes for the reason of a failure.
 * Returns 0, then *offset <= *size; -EPROTO.
 */
int sf_tus_where_parse(const char *offset_text, const char *size_text, uint64_t *offset,
                       uint64_t *size, char *why);

/* The version that the object will have, which the name holds. False when it does not: another
 * service than Supabase's. */
bool sf_tus_version(const char *name, char version[40]);

#endif
