/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_ROUTE_H
#define DS_ROUTE_H

#include "http.h"

/* "bucket/" and any key, an empty one too, with escapes: sets bucket and key. False when it is
 * something else, or a reply is set. */
bool ds_route_match_object(struct ds_request *req, const char *rest);

/* The same of a bucket alone. */
bool ds_route_match_bucket(struct ds_request *req, const char *rest);

/*
 * Finds the route of a request: sets route, path, query, decoded, bucket and key, or a reply (no
 * such route, not in this server, malformed path). Returns the route's name for the log, static.
 */
const char *ds_route_resolve(struct ds_request *req);

/* Remove the request's bucket; whether its caller may has been looked at. False: it could not be
 * removed, which was answered. */
bool ds_delete_bucket(struct ds_request *req);

extern const struct ds_route ds_route_bucket_list;
extern const struct ds_route ds_route_bucket_get;
extern const struct ds_route ds_route_bucket_create;
extern const struct ds_route ds_route_bucket_update;
extern const struct ds_route ds_route_bucket_delete;
extern const struct ds_route ds_route_bucket_empty;
extern const struct ds_route ds_route_download;        /* needs a token */
extern const struct ds_route ds_route_download_short;  /* falls back to anon */
extern const struct ds_route ds_route_download_public; /* looks at no token */
extern const struct ds_route ds_route_download_signed; /* the parameter "token" stands for one */
extern const struct ds_route ds_route_info;
extern const struct ds_route ds_route_info_short;
extern const struct ds_route ds_route_info_public;
extern const struct ds_route ds_route_upload;
extern const struct ds_route ds_route_update;
extern const struct ds_route ds_route_upload_signed;
extern const struct ds_route ds_route_sign;
extern const struct ds_route ds_route_sign_many;
extern const struct ds_route ds_route_sign_upload;
extern const struct ds_route ds_route_list;
extern const struct ds_route ds_route_list_v1;
extern const struct ds_route ds_route_move;
extern const struct ds_route ds_route_copy;
extern const struct ds_route ds_route_delete;
extern const struct ds_route ds_route_delete_many;
extern const struct ds_route ds_route_tus_options;
extern const struct ds_route ds_route_rpc;   /* /rest/v1/rpc/NAME, which is the key */
extern const struct ds_route ds_route_table; /* /rest/v1/NAME, which is the key */
extern const struct ds_route ds_route_tus_create;
extern const struct ds_route ds_route_tus_patch;
extern const struct ds_route ds_route_tus_head;
extern const struct ds_route ds_route_tus_delete;
extern const struct ds_route ds_route_tus_other; /* no such method */

#endif
