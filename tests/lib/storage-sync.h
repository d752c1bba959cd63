/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_STORAGE_SYNC_H
#define SF_TESTS_STORAGE_SYNC_H

#include "base/buf.h"
#include "supabase/storage.h"

/* Waiting forms, for tests, of calls that have none; each has 20 s. They also check that a callback
 * runs once, on the event thread, with either a result or an error. */

/* Milliseconds from now, as a deadline. */
int64_t sync_in(int ms);

/* The ids, each followed by a blank, are appended to @ids. */
int sync_bucket_list(struct sf_storage *st, struct sf_buf *ids, struct sf_err *err);
int sync_bucket_get(struct sf_storage *st, const char *id, struct sf_bucket_row *row,
                    struct sf_err *err);
int sync_verify(struct sf_storage *st, const char *bucket, struct sf_err *err);

/* One page: its keys, each followed by a line feed, are appended to @keys; @last gets page->last.
 */
int sync_list(struct sf_storage *st, const struct sf_list_args *args, struct sf_buf *keys,
              struct sf_buf *last, size_t *n, bool *more, struct sf_err *err);
/* All pages; fails the test when there are more than 5000. */
int sync_list_all(struct sf_storage *st, const char *bucket, const char *prefix, bool delimiter,
                  unsigned limit, struct sf_buf *keys, size_t *n, struct sf_err *err);

/* @url: 4,300 bytes. */
int sync_sign(struct sf_storage *st, const char *bucket, const char *key, uint64_t seconds,
              char *url, struct sf_err *err);

int sync_get(struct sf_storage *st, const struct sf_get_args *args, size_t *len, uint64_t *total,
             struct sf_err *err);

#endif
