/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_CONFLICT_H
#define SF_WRITE_CONFLICT_H

#include <stddef.h>
#include <stdint.h>

#define SF_CONFLICT_KEY_MAX 900 /* bytes of a new key */

/**
 * sf_conflict_key - the key under which somebody else's version is kept beside an object.
 * @key:     the object's.
 * @wall_ns: when the conflict was seen.
 * @turn:    0, or how often a name of this conflict was found taken by something else.
 * @out:     SF_CONFLICT_KEY_MAX + 1 bytes; untouched on failure.
 *
 * NAME becomes NAME.conflict-HOST-YYYYMMDDTHHMMSSZ[-TURN]. The last component keeps at most 255
 * bytes and the key at most 900: NAME is cut for that, but not inside an escape of
 * docs/formats/names.md, so that what is appended reads as what it is. HOST is the machine's
 * name as far as it consists of letters, digits, '-' and '_', at most 32 bytes.
 *
 * Returns 0 or -ENAMETOOLONG: the directory's part alone leaves no room.
 */
int sf_conflict_key(const char *key, int64_t wall_ns, unsigned turn,
                    char out[static SF_CONFLICT_KEY_MAX + 1]);

#endif
