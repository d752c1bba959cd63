/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_ATTRS_H
#define SF_SUPABASE_ATTRS_H

#include "supabase/storage.h"

/* Internal to src/supabase and its tests: what the function supafs_set_attrs answers. */

/**
 * sf_attrs_parse - {"updated":...,"version":...,"updated_at":...}
 * @expected: the version that was asked for: the one of an update.
 * @why:      160 bytes for the reason of a failure.
 *
 * Returns 0, -EPROTO or -ENOMEM.
 */
int sf_attrs_parse(const char *body, size_t len, const char *expected, struct sf_attrs_result *res,
                   char *why);

#endif
