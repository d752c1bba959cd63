/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_XATTR_TYPE_H
#define SF_TREE_XATTR_TYPE_H

#include "tree/xattr.h"

/* Internal to src/tree: content type and Cache-Control, as rows of the table in xattr-ours.c. */

int xattr_get_type(struct xattr_op *op);
int xattr_set_type(struct xattr_op *op);
bool xattr_type_is_listed(struct xattr_op *op);

int xattr_get_cache_control(struct xattr_op *op);
int xattr_set_cache_control(struct xattr_op *op);
bool xattr_cache_control_is_listed(struct xattr_op *op);

#endif
