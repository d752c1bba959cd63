/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_REPLY_H
#define DS_REPLY_H

#include "http.h"

/* Answers of the service that have one fixed form. */
enum ds_failure {
    DS_FAIL_NO_AUTH,
    DS_FAIL_BAD_ROLE,
    DS_FAIL_RLS,
    DS_FAIL_DENIED,
    DS_FAIL_NO_BUCKET,
    DS_FAIL_NO_KEY,
    DS_FAIL_NO_RELATED,
    DS_FAIL_KEY_EXISTS,
    DS_FAIL_RESOURCE_EXISTS,
    DS_FAIL_BUCKET_EXISTS,
    DS_FAIL_BUCKET_NAME,
    DS_FAIL_BUCKET_NOT_EMPTY,
    DS_FAIL_BUCKET_AWAITED,
    DS_FAIL_TOO_LARGE,
    DS_FAIL_RANGE,
    DS_FAIL_METADATA,
    DS_FAIL_CURSOR,
    DS_FAIL_ROW_SIZE,
    DS_FAIL_JSON_EMPTY,
    DS_FAIL_JSON_BAD,
    DS_FAIL_NOT_OBJECT,
    DS_FAIL_INTERNAL,
};

void ds_fail(struct ds_request *req, enum ds_failure failure);

/* The answer for a negative errno of the server's own: always 500, and a line on stderr. */
void ds_fail_errno(struct ds_request *req, int code, const char *what);

/* {"statusCode":..., "error":..., "message":..., "code":...} with the given HTTP status. */
void ds_reply_error(struct ds_request *req, int status, const char *status_code, const char *error,
                    const char *message, const char *code);

/* 400 InvalidRequest of the schema check. */
__attribute__((format(printf, 2, 3))) void ds_reply_schema(struct ds_request *req, const char *fmt,
                                                           ...);
void ds_reply_invalid_key(struct ds_request *req, const char *key, size_t len);
void ds_reply_invalid_mime(struct ds_request *req, const char *mime);

/* A JSON body; takes what is in the buffer. */
void ds_reply_json(struct ds_request *req, int status, struct ds_buf *body);
void ds_reply_text(struct ds_request *req, int status, const char *type, const char *body);

/* @name static, value copied. */
void ds_reply_header(struct ds_request *req, const char *name, const char *value);
void ds_reply_fini(struct ds_reply *reply);

/**
 * ds_identify - who asks, by the token or the key of the request: sets who and authenticated.
 * @problem: with -EACCES the service's message, static.
 *
 * Returns 0; -ENOKEY neither was sent: anon; -EACCES a bad token; -EKEYREJECTED a bad key, and the
 * gateway's reply is set; -ENOMEM.
 */
int ds_identify(struct ds_request *req, const char **problem);

/* ---- checks that answer themselves: false = a reply is set ---- */

/* The token and its role; routes with auth_optional always pass. */
bool ds_require_auth(struct ds_request *req);

/* The one role that needs no policy; for the others ask ds_may(). */
bool ds_is_service(const struct ds_request *req);

/* A bucket by id, seen with the service's own rights. */
bool ds_require_bucket(struct ds_request *req, struct ds_bucket *bucket);

/* The target key of a write, by the rules of the service and of its file backend. */
bool ds_require_key(struct ds_request *req, const char *key, size_t len);
bool ds_require_storable(struct ds_request *req, const char *bucket, const char *key);

/* The parsed body of a JSON route, an object; NULL when a reply is set. The caller owns it. */
json_t *ds_require_json(struct ds_request *req);

/* A JSON body is not needed, but an empty one must not be called JSON. */
bool ds_check_no_body(struct ds_request *req);

/* The schema's errors for one member, by the service's words. NULL value = absent, fine. */
bool ds_check_string(struct ds_request *req, const json_t *value, const char *path);

/* ---- pieces of JSON ---- */

/* The "metadata" member of an object row. */
void ds_write_metadata(struct ds_buf *out, const struct ds_object *object,
                       const struct ds_fault_plan *plan);

/* All columns without the surrounding braces, as copy and bulk delete return them. */
void ds_write_row(struct ds_buf *out, const struct ds_object *object,
                  const struct ds_fault_plan *plan);

/* An object's own metadata as a client sent it, as compact JSON; NULL when it is no JSON. *fine is
 * false for a string or an array, which the service's database refuses. */
char *ds_read_metadata(const char *text, size_t len, bool *fine);

/* The same of the x-metadata header; NULL also without one. */
char *ds_user_metadata(const struct ds_request *req, bool *fine);

/* Whether ETags are MD5 sums of the content, so that they have to be computed. */
bool ds_wants_md5(struct ds_server *server);

/* A fresh ETag for new bytes, by the style that is set; one that is no sum when md5 is "", because
 * the style was another one when the bytes came. False when out of memory. */
bool ds_make_etag(struct ds_server *server, const char *md5, uint64_t size, char **ret);

#endif
