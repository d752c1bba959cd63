/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route.h"

#include <stdio.h>

#include "reply.h"

#define TUS_HEADERS                                                                                \
    "Authorization, Content-Type, Location, Tus-Extension, Tus-Max-Size, Tus-Resumable, "          \
    "Tus-Version, Upload-Concat, Upload-Defer-Length, Upload-Length, Upload-Metadata, "            \
    "Upload-Offset, X-HTTP-Method-Override, X-Requested-With, X-Forwarded-Host, "                  \
    "X-Forwarded-Proto, Forwarded, x-upsert, x-signature"

/* Only the announcement, which tells a client the limit of any upload. */
static void
tus_options(struct ds_request *req)
{
    char size[32];
    unsigned long long limit = atomic_load(&req->server->pace->global_limit);
    req->reply.status = 204;
    ds_reply_header(req, "access-control-allow-headers", TUS_HEADERS);
    ds_reply_header(req, "access-control-allow-methods", "POST, HEAD, PATCH, OPTIONS, DELETE");
    ds_reply_header(req, "access-control-allow-origin", "*");
    ds_reply_header(req, "access-control-expose-headers", TUS_HEADERS);
    ds_reply_header(req, "access-control-max-age", "86400");
    ds_reply_header(req, "tus-extension",
                    "creation,creation-with-upload,creation-defer-length,termination,expiration");
    if (limit > 0) {
        snprintf(size, sizeof size, "%llu", limit);
        ds_reply_header(req, "tus-max-size", size);
    }
    ds_reply_header(req, "tus-resumable", "1.0.0");
    ds_reply_header(req, "tus-version", "1.0.0");
}

const struct ds_route ds_route_tus_options = {.kind = "options", .finish = tus_options};
