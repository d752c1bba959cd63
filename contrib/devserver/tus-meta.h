/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_TUS_META_H
#define DS_TUS_META_H

#include <stdbool.h>
#include <stddef.h>

/* Upload-Metadata headers: "key BASE64,key BASE64,key". */

/* By the protocol: at least one pair, keys of ASCII, each once, whole base64. */
bool ds_tus_meta_valid(const char *header);

/* A decoded value, NUL-terminated and owned by the caller; NULL when the key is absent or has no
 * value. @header must be valid. */
char *ds_tus_meta_get(const char *header, const char *key, size_t *len);

/* The header with this value at the key's place, or at the end. NULL when out of memory. */
char *ds_tus_meta_with(const char *header, const char *key, const char *value);

#endif
