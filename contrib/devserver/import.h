/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_IMPORT_H
#define DS_IMPORT_H

#include "server.h"

/*
 * Put a local file in as an object: "BUCKET/KEY=FILE", split at the last '=' whose right side is a
 * file. The bucket must be there; the file is cloned or copied inside the kernel. No limits apply.
 */
int ds_import(struct ds_server *server, const char *spec, struct sf_err *err);

#endif
