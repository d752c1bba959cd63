/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_STREAM_H
#define DS_STREAM_H

#include <microhttpd.h>

#include "http.h"

/*
 * The HTTP library's response for a reply: memory or a file given to the kernel when nothing slows
 * or spoils it, else a stream that obeys the shared bandwidth and the request's faults. Takes body
 * and descriptor out of req->reply. NULL when out of memory.
 */
struct MHD_Response *ds_stream_response(struct ds_request *req);

/* Wait until the rule is gone, the client is gone or the server stops; true = the rule is gone. */
bool ds_stream_hang(struct ds_server *server, int socket, uint64_t rule);

/* Sleep while the client is there: false when it is gone or the server stops. */
bool ds_stream_sleep(struct ds_server *server, int socket, int64_t ms);

#endif
