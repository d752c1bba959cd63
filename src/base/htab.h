/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_HTAB_H
#define SF_BASE_HTAB_H

#include "base/hash.h"

/*
 * Hash tables are uthash's; include this header, never <uthash.h>. Two things differ from its
 * defaults: names from outside cannot make a table slow, and no memory is an error, not the end:
 *
 *     HASH_ADD_KEYPTR(hh, head, key, n, el);
 *     if (!SF_HTAB_ADDED(el))
 *         return -ENOMEM;         // the table is as before, el is still yours
 *
 * The handle of the element must be called hh, and the element be zeroed before it is added.
 */
#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(keyptr, keylen, hashv)                                                       \
    do {                                                                                           \
        (hashv) = (unsigned)sf_htab_hash((keyptr), (keylen));                                      \
    } while (0)

#include <uthash.h>

#define SF_HTAB_ADDED(el) ((el)->hh.tbl != NULL)

#endif
