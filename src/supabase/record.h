/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_RECORD_H
#define SF_SUPABASE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct sf_storage;

/* The functions of the project's database that its own tables are written with (contrib/sql). All
 * calls wait, and callers tell of failures. */

/**
 * sf_storage_record_wait - note what was done here: the function supafs_record().
 * @json: the object of its arguments, with the id of the batch in it; so the caller may repeat it
 *        after a lost reply. It is not repeated here: who sends behind has pauses of his own.
 * *recorded: false: the database has that batch already, and has changed nothing.
 * Returns 0; -ENOSYS there is no such function; -EACCES; -EINVAL the database refuses what is in it
 * and always will; others as usual.
 */
int sf_storage_record_wait(struct sf_storage *st, const char *json, size_t len, int64_t deadline_ms,
                           bool *recorded, struct sf_err *err);

/* The version of the project's tables: the function supafs_about(). */
int sf_storage_about_wait(struct sf_storage *st, int64_t deadline_ms, unsigned *version,
                          struct sf_err *err);

#endif
