/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_REMOVED_H
#define SF_SUPABASE_REMOVED_H

#include "supabase/storage.h"

/* Internal to src/supabase and its tests: the reply of a removal of many objects. */

/**
 * sf_removed_parse - which of the keys were removed.
 * @keys, @n:  as asked for, no key twice.
 * @removed:   @n places, all set on success.
 * @why:       160 bytes for the reason of a failure.
 *
 * Returns 0; -EPROTO malformed, or rows that were not asked for; -ENOMEM.
 */
int sf_removed_parse(const char *body, size_t len, const char *const *keys, size_t n,
                     struct sf_removed *removed, char *why);

#endif
