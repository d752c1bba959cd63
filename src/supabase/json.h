/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_JSON_H
#define SF_SUPABASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* What the typed clients need around jansson: bounds, times, text that may be shown. */

/**
 * sf_json_parse - parse a reply that may be hostile.
 * Nesting deeper than 64, duplicate names, NUL in strings and invalid UTF-8 are refused.
 * @why: NULL, or 160 bytes for the reason of a failure.
 *
 * Returns a new reference, or NULL.
 */
json_t *sf_json_parse(const char *body, size_t len, char *why);

/**
 * sf_text_clean - copy text of a foreign origin so that it may stand in a message.
 * @size: of @out, at least 1. Control and non-ASCII bytes become '?'; what does not fit ends in
 *        "...". Secrets are left to sf_err_set().
 */
void sf_text_clean(const char *text, size_t len, char *out, size_t size);

/* An optional time member: NULL or missing is 0. 0 or -EINVAL. */
int sf_json_time(const json_t *obj, const char *name, int64_t *ret_ns);

/* An optional string member, "" when null or missing; NULL when it has another type. */
const char *sf_json_text(const json_t *obj, const char *name);

/* An optional size: an integer >= 0; *found tells whether it was there. 0 or -EINVAL. */
int sf_json_size(const json_t *obj, const char *name, uint64_t *ret, bool *found);

#endif
