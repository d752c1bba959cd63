/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_REST_INTERNAL_H
#define SF_SUPABASE_REST_INTERNAL_H

#include "http/http.h"
#include "supabase/rest.h"

/* Internal to src/supabase and its tests: what requests to the database are made of, and answers.
 */

#define SF_REST_NAME_MAX 63 /* bytes; PostgreSQL cuts longer ones */

/* Of a table, column or function: a-z, 0-9 and '_'. */
bool sf_rest_is_name(const char *name);
/* Such names with commas between them, each with one of @endings or none. NULL = there are none. */
bool sf_rest_is_name_list(const char *text, const char *const *endings);

/* Append the query with its range to @out. 0 or -ENOMEM. */
int sf_rest_query_path(const struct sf_rest_query *q, struct sf_buf *out);

/**
 * sf_rest_rows_parse - an array of at most @max objects.
 * @why: 160 bytes for the reason of a failure.
 *
 * Returns a new reference, or NULL.
 */
json_t *sf_rest_rows_parse(const char *body, size_t len, size_t max, char *why);

/* "0-24/573" or "* /0" (without the blank): what stands behind the slash. 0 or -EPROTO. */
int sf_rest_total_parse(const char *content_range, uint64_t *total);

/* What a failure means that the error table has for Storage alone. @reply: NULL when the call was
 * not even sent. */
void sf_rest_refused(const struct sf_http_reply *reply, struct sf_err *err);

#endif
