/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_S3_H
#define DS_S3_H

#include "http.h"

/*
 * The S3 protocol below /s3: same buckets, same objects as the other routes, with signatures for
 * tokens and XML for JSON. What its routes have in common.
 */

/* Goes by method and parameters; rest is the path behind "/s3". NULL when a reply is set. */
const struct ds_route *ds_s3_find_route(struct ds_request *req, const char *rest);

/* The signature of the request: sets who. False when a reply is set. */
bool ds_s3_require_auth(struct ds_request *req);

/* The same, as the begin of a route that has no other. */
void ds_s3_enter(struct ds_request *req);

/* ---- replies ---- */

/* An error with its true status. ds_fail() and the like come here on routes of S3. */
void ds_s3_reply_error(struct ds_request *req, const char *status, const char *message,
                       const char *code);

/* <?xml ...><root xmlns=...>: what follows is the caller's, up to ds_s3_reply_xml(), which adds the
 * end of the same element and takes what is in the buffer. */
void ds_s3_begin_xml(struct ds_buf *out, const char *root);
void ds_s3_reply_xml(struct ds_request *req, struct ds_buf *out, const char *root);

/* A reply without a body. */
void ds_s3_reply_empty(struct ds_request *req, int status);

/* The headers of an object. */
void ds_s3_object_headers(struct ds_request *req, const struct ds_object *object, const char *etag,
                          const char *mime, const char *cache);

/* ---- requests ---- */

/* The x-amz-meta- headers as a JSON object, "{}" when there are none; NULL when out of memory. */
char *ds_s3_metadata(const struct ds_request *req);

const char *ds_s3_mime(const struct ds_request *req);  /* of the request's Content-Type */
const char *ds_s3_cache(const struct ds_request *req); /* of its Cache-Control */

/* The announced length of the object's bytes; false without one. */
bool ds_s3_length(const struct ds_request *req, uint64_t *ret);

/* The beginning and the middle of a body of bytes, in chunks or as it is. @hash: the MD5 is wanted.
 */
bool ds_s3_begin_bytes(struct ds_request *req, bool hash);
int ds_s3_take_bytes(struct ds_request *req, const void *bytes, size_t len);

/* The end of one: false when it is not whole, and a reply is set. */
bool ds_s3_end_bytes(struct ds_request *req);

/* ---- checks that answer themselves: false = a reply is set ---- */

/* What every way of writing an object has to pass: the bucket, its types and limit, the key, and
 * the rights. */
bool ds_s3_check_write(struct ds_request *req, const char *mime, uint64_t length);

/* A number of a parameter, or of a list of parts; -1 when it is none up to max. */
int ds_s3_number(const char *text, int max);

/* ---- routes ---- */

extern const struct ds_route ds_route_s3_list_buckets;
extern const struct ds_route ds_route_s3_head_bucket;
extern const struct ds_route ds_route_s3_create_bucket;
extern const struct ds_route ds_route_s3_delete_bucket;
extern const struct ds_route ds_route_s3_location;
extern const struct ds_route ds_route_s3_list;
extern const struct ds_route ds_route_s3_list_v1;
extern const struct ds_route ds_route_s3_get;
extern const struct ds_route ds_route_s3_head;
extern const struct ds_route ds_route_s3_put;
extern const struct ds_route ds_route_s3_copy;
extern const struct ds_route ds_route_s3_delete;
extern const struct ds_route ds_route_s3_delete_many;
extern const struct ds_route ds_route_s3_create_upload;
extern const struct ds_route ds_route_s3_part;
extern const struct ds_route ds_route_s3_complete;
extern const struct ds_route ds_route_s3_abort;
extern const struct ds_route ds_route_s3_list_parts;
extern const struct ds_route ds_route_s3_list_uploads;

#endif
