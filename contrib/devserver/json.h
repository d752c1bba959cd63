/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_JSON_H
#define DS_JSON_H

#include <jansson.h>

static inline void
ds_json_at_exit(json_t **json)
{
    json_decref(*json);
}

/* A reference that is given back at the end of the scope. */
#define ds_autojson __attribute__((cleanup(ds_json_at_exit))) json_t

#endif
