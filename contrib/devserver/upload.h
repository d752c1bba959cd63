/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_UPLOAD_H
#define DS_UPLOAD_H

#include "http.h"

/*
 * What all ways of uploading have in common: the checks before the bytes come, and the row that
 * makes the bytes an object. Bucket and key are those of the request. Checks answer themselves:
 * false = a reply is set.
 */

/* @allowed: the bucket's list as JSON text, of types or of "type/" with a star. Compared as text,
 * so that parameters count; an empty list allows nothing. */
bool ds_mime_allowed(const char *allowed, const char *mime);

/* What the service's trial insert finds out: rights, the key's form, and whether it is taken. */
bool ds_check_upload(struct ds_request *req, bool upsert);

/**
 * ds_upload_switch - make stored bytes the object's version, and let go of the old ones.
 * @row: bucket, name, version, owner, mime, cache, robots, user_meta and size are used; user_meta
 *       NULL keeps what an existing row has.
 * @md5: of the bytes, in hex.
 * @ret: the row as it is now.
 *
 * Returns false when a reply is set; the bytes are gone then.
 */
bool ds_upload_switch(struct ds_request *req, const struct ds_object *row, const char *md5,
                      struct ds_object *ret);

#endif
