/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_STORE_PEEK_H
#define SF_STORE_PEEK_H

#include "store/env.h"

/**
 * sf_peek_walk - look at a table of an environment that nobody has open, without a change to
 * anything on the disk: also where it may only be read.
 * @dir:   as in sf_env_open(). The caller sees to it that no process opens it meanwhile.
 * @table: its name.
 *         One that is throw_away has nothing if another boot has left it.
 * @fn:    called for every row in the order of the keys; the bytes are borrowed for the call.
 *
 * Returns 0, also without such a table; the result of @fn; -ENOENT there is no environment;
 * -EUCLEAN it is no such database; -EACCES; -ENOMEM; -EIO.
 */
int sf_peek_walk(const char *dir, const char *table, sf_env_row_fn fn, void *arg);

#endif
