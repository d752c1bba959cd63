/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_OP_H
#define SF_WRITE_OP_H

#include <stdbool.h>

struct sf_version;

/* Internal to src/write: ids of operations, which objects carry and records name. */

#define SF_OP_LEN      26 /* characters */
#define SF_FORMER_OPS  4
#define SF_FORMER_SIZE (SF_FORMER_OPS * (SF_OP_LEN + 1))

/* A new one: base32, unpredictable. 0 or -errno. */
int sf_op_new(char out[SF_OP_LEN + 1]);
bool sf_op_is(const char *s);

/* Those of earlier states of one content are a text, the latest first, with a space between. */
bool sf_former_is(const char *s);
/* Put an id, if it is one, before the others; of too many the oldest goes. */
void sf_former_add(char former[SF_FORMER_SIZE], const char *op);
/* Has one of them made an object that is this version and carries @op ("" = none)? @left: what the
 * latest of them leaves, NULL = that is not known. */
bool sf_former_made(const char *former, const struct sf_version *left, const char *op,
                    const struct sf_version *now);

#endif
