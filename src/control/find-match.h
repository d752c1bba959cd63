/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONTROL_FIND_MATCH_H
#define SF_CONTROL_FIND_MATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "supabase/find.h"

/* What `supafs find` looks for. Pure: the same for whoever tells of objects. */

struct sf_find_want {
    /* NULL = any. Borrowed. */
    const char *name, *type;            /* globs (base/glob.h) */
    const char *tag, *sha256;           /* 64 hex digits, lower case */
    const char *provider, *provider_id; /* only the database knows these */
    uint64_t min_size, max_size;        /* bytes, both included */
    int64_t newer_ns, older_ns;         /* neither included */
};
#define SF_FIND_ANY                                                                                \
    ((struct sf_find_want){.max_size = UINT64_MAX, .newer_ns = INT64_MIN, .older_ns = INT64_MAX})

/* "+N" more, "-N" less, "N" exactly; N as for sf_parse_size(). 0, -EINVAL, -ERANGE. */
int sf_find_parse_size(const char *text, uint64_t *min, uint64_t *max);

/* By type, size and time, which every source tells. Times count in whole milliseconds: not all tell
 * more. */
bool sf_find_matches(const struct sf_find_want *want, const struct sf_found *row);
/* By tag and hash. */
bool sf_find_matches_facts(const struct sf_find_want *want, const struct sf_found *row);

/**
 * sf_find_matches_name - by its name in the mount.
 * @comp:  the last component of its key.
 * @flags: SF_NAME_AT_ROOT, SF_NAME_CLASH.
 *
 * A glob that begins with '%' means what is shown, "%obj=a" and the like included. For all others
 * an object has the name that it would have without a directory beside it, and one that no name
 * expresses has its component.
 */
bool sf_find_matches_name(const char *glob, const char *comp, unsigned flags);

/*
 * For the database, which knows components, not names: a glob (as of struct sf_find_args) that fits
 * whatever the given one means, and little besides. Append it; nothing = all. 0 or -ENOMEM.
 */
int sf_find_name_superset(const char *glob, struct sf_buf *out);
int sf_find_type_superset(const char *glob, struct sf_buf *out);

#endif
