/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_ADMIN_H
#define DS_ADMIN_H

#include "server.h"

struct ds_admin;

/* The port by which tests set faults and read the log, on its own listening socket. */
int ds_admin_start(struct ds_server *server, int socket, struct ds_admin **ret, struct sf_err *err);
void ds_admin_stop(struct ds_admin *admin);

#endif
