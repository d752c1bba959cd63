/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_COPY_H
#define DS_COPY_H

#include "http.h"

/**
 * ds_copy_write - make an object that has the bytes of another.
 * @target: bucket, name, owner, mime, cache, robots, user_meta and size are used; an object that is
 *          there is replaced. Version, ETag and times are set here, the ETag back to NULL.
 * @ret:    the row as it is now.
 *
 * Returns false when a reply is set.
 */
bool ds_copy_write(struct ds_request *req, const struct ds_object *source, struct ds_object *target,
                   struct ds_object *ret);

#endif
