/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_UPLOAD_FORM_H
#define DS_UPLOAD_FORM_H

#include "http.h"

/*
 * An upload as multipart/form-data: fields cacheControl (seconds), metadata or userMetadata (JSON
 * text) and contentType, then one file. What stands behind the file is dropped, as the service has
 * stored it by then.
 */
struct ds_upload_form;

/* Called when the file begins; checks it and makes req->incoming ready. False = a reply is set. */
typedef bool (*ds_file_begins_fn)(struct ds_request *req, const char *mime);

/* @limit: of the file. Sets req->form, or a reply. */
void ds_upload_form_begin(struct ds_request *req, uint64_t limit, ds_file_begins_fn begins);
int ds_upload_form_take(struct ds_request *req, const void *bytes, size_t len);

/* Whether a whole file of allowed size has come; false when a reply is set. */
bool ds_upload_form_end(struct ds_request *req);

/* Of the file; borrowed. */
const char *ds_upload_form_mime(const struct ds_upload_form *form);
const char *ds_upload_form_cache(const struct ds_upload_form *form);

void ds_upload_form_free(struct ds_upload_form *form);

#endif
