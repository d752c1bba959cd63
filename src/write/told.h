/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_TOLD_H
#define SF_WRITE_TOLD_H

#include <stdint.h>

#include "supabase/storage.h"
#include "write/put.h"

struct sf_attrs_entry;
struct sf_move;
struct sf_writer;

/* Internal to src/write: what the project's tables are told of what was done (tables/tables.h).
 * Without tables nothing happens; nothing waits. The markers of directories are no files. */

/* @mime: as it was sent. @copy_of: of a put whose bytes the service copied, where from; NULL =
 * they were sent. */
void sf_told_put(struct sf_writer *w, const struct sf_put *put, const char *mime,
                 const char *copy_bucket, const char *copy_key, int64_t began_ms, int rc);
/* @now: what has the new name; NULL = not known. */
void sf_told_move(const struct sf_move *m, const struct sf_version *now);
void sf_told_delete(struct sf_writer *w, const char *bucket, const char *key,
                    const struct sf_version *was);
/* @mime: the content type that was set; NULL = it is as it was. */
void sf_told_attrs(struct sf_writer *w, const char *bucket, const char *key,
                   const struct sf_version *now, const char *mime, int64_t began_ms);

#endif
