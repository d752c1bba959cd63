/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_OBJECT_H
#define SF_SUPABASE_OBJECT_H

#include <jansson.h>
#include <stdint.h>

#include "supabase/storage.h"

/* Internal to src/supabase and its tests: replies about one object. */

/**
 * sf_object_parse_info - the reply of an info request.
 * @info:     its strings are borrowed from *root and *metadata.
 * @root:     a new reference.
 * @metadata: malloc'd text behind info->metadata, as the reply spells it; the caller frees it.
 * @why:      what is wrong with a reply that is no JSON.
 *
 * Returns 0, -EPROTO or -ENOMEM; on failure the results are untouched.
 */
int sf_object_parse_info(const char *body, size_t len, struct sf_object_info *info, json_t **root,
                         char **metadata, char why[160]);

/** sf_object_copy - an owned copy of @info. Returns 0 or -ENOMEM, then *out is untouched. */
int sf_object_copy(const struct sf_object_info *info, struct sf_object *out);

/**
 * sf_content_range_parse - "bytes FIRST-LAST/TOTAL", nothing else.
 * Returns 0 or -EPROTO; on success FIRST <= LAST < TOTAL.
 */
int sf_content_range_parse(const char *text, uint64_t *first, uint64_t *last, uint64_t *total);

#endif
