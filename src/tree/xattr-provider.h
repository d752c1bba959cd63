/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_XATTR_PROVIDER_H
#define SF_TREE_XATTR_PROVIDER_H

#include "tree/xattr.h"

/* Internal to src/tree: what a provider has of a file, as rows of the table in xattr-ours.c. */

/* Of the name behind "user.supafs.": does a name of a provider come before @suffix? */
bool xattr_provider_is(const char *what, const char *suffix);

int xattr_provider_file_id(struct xattr_op *op);
int xattr_provider_status(struct xattr_op *op);
int xattr_provider_expires(struct xattr_op *op);
int xattr_provider_error(struct xattr_op *op);
/* To remove the id is to forget it here, and no more; to set it does nothing. */
int xattr_provider_set_id(struct xattr_op *op);

/* Find out which ids are listed, in op->listed. It reads the local disk, as xattr_look(). */
void xattr_provider_look(struct xattr_op *op);
bool xattr_provider_is_listed(struct xattr_op *op);

/* Nobody waits for an operation any more that sf_tree_getxattr() gave this number. */
void xattr_provider_cancel(struct sf_tree *t, uint64_t serial);

#endif
