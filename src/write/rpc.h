/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_RPC_H
#define SF_WRITE_RPC_H

#include "supabase/storage.h"

struct sf_writer;

/* Internal to src/write: the function supafs_set_attrs of the project's database, which a project
 * need not have. That it is missing is remembered for ten minutes. */

/* As sf_storage_set_attrs_wait(); -ENOSYS also without a request. */
int sf_rpc_set_attrs(struct sf_writer *w, const struct sf_attrs_args *args, int64_t deadline_ms,
                     struct sf_attrs_result *res, struct sf_err *err);

/* Is it there? Asks at most once in ten minutes, for an object that does not matter. When that is
 * not known now: no. */
bool sf_rpc_is_there(struct sf_writer *w, const char *bucket, const char *key, int64_t deadline_ms);
/* Is it known not to be there? */
bool sf_rpc_is_missing(struct sf_writer *w, const char *bucket, const char *key,
                       int64_t deadline_ms);

#endif
