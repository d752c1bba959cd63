/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_TUS_REQUEST_H
#define DS_TUS_REQUEST_H

#include "http.h"

/* What the routes of resumable uploads have in common. Checks answer themselves: false = a reply is
 * set. */

#define DS_TUS_PATH "/upload/resumable"
#define DS_TUS_TYPE "application/offset+octet-stream"

#define DS_TUS_HEADERS                                                                             \
    "Authorization, Content-Type, Location, Tus-Extension, Tus-Max-Size, Tus-Resumable, "          \
    "Tus-Version, Upload-Concat, Upload-Defer-Length, Upload-Length, Upload-Metadata, "            \
    "Upload-Offset, X-HTTP-Method-Override, X-Requested-With, X-Forwarded-Host, "                  \
    "X-Forwarded-Proto, Forwarded, x-upsert, x-signature"

/* What a request keeps from its head to its end; freed with the request. */
struct ds_tus_request {
    struct ds_tus_hold hold;
    struct ds_upload upload;
    bool has_body;
    uint64_t offset; /* where the body begins */
    uint64_t room;   /* how much of it may come */
    uint64_t taken;
};

/* NULL is fine. */
void ds_tus_request_free(struct ds_tus_request *tus);

/* ---- replies ---- */

void ds_tus_text(struct ds_request *req, int status, const char *text);
void ds_tus_empty(struct ds_request *req, int status);
void ds_tus_number(struct ds_request *req, const char *name, uint64_t value);

/* The end of an upload's life, while it is not complete. */
void ds_tus_expires(struct ds_request *req, const struct ds_upload *upload, uint64_t offset);

/* For what ds_tus_find() returned. */
void ds_tus_lookup_failed(struct ds_request *req, int rc);

/* Turns an error of the checks that other routes have too into one of these routes: the true status
 * and the message alone. Other replies stay. */
void ds_tus_as_text(struct ds_request *req);

/* ---- checks ---- */

/* The token, where none is signed into the request, and the protocol's headers. */
bool ds_tus_enter(struct ds_request *req);

/* The rules of the bucket's name and the key. */
bool ds_tus_check_names(struct ds_request *req);

/* Below /sign: the token of x-signature for bucket and key. */
bool ds_tus_check_signature(struct ds_request *req);

/* That, or whether the caller may write the key now. */
bool ds_tus_check_rights(struct ds_request *req);

/* How much of a body may come, by its announced length or by what is missing. */
bool ds_tus_check_room(struct ds_request *req, int64_t bucket_limit);

/* The object's own metadata, which the upload carries as JSON text; what is no JSON is dropped. */
bool ds_tus_read_user_meta(struct ds_request *req, const char *metadata);

/* Of a header that has been checked; 0 without it. */
uint64_t ds_tus_header_number(const struct ds_request *req, const char *name);

/* ---- the upload ---- */

bool ds_tus_request_new(struct ds_request *req);

/* @yields: whether another request may take the upload away while the body comes. */
bool ds_tus_lock(struct ds_request *req, const char *version, bool yields);

/* The routes' `take`. */
int ds_tus_take(struct ds_request *req, const void *bytes, size_t len);

/* The body has come: adds it to the offset and completes the object when that is all of it. */
bool ds_tus_settle_body(struct ds_request *req, bool *final);

#endif
