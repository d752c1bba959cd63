/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_READ_H
#define DS_READ_H

#include "http.h"

/* Replies with an object that the caller may see: its headers alone, by the row; or its bytes, with
 * ranges and conditions. The bytes of a version that was replaced meanwhile are those of the newer
 * one, which *object then is. */
void ds_read_head(struct ds_request *req, const struct ds_object *object);
void ds_read_bytes(struct ds_request *req, struct ds_object *object);

#endif
