/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "provider-internal.h"

#define FETCH_MAX (256u << 20)

/* All that comes until the end of the connection. */
static void
receive(int fd, struct ds_buf *reply)
{
    char chunk[16 << 10];
    ssize_t n;
    while (reply->len < FETCH_MAX && (n = recv(fd, chunk, sizeof chunk, 0)) > 0)
        ds_buf_add(reply, chunk, (size_t)n);
}

static int
ask(struct ds_request *req, const char *path, struct ds_buf *reply)
{
    struct sockaddr_storage own;
    socklen_t own_len = sizeof own;
    if (getsockname(req->socket, (struct sockaddr *)&own, &own_len) < 0)
        return -1;
    sf_autofd int fd = socket(own.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 20};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
        connect(fd, (const struct sockaddr *)&own, own_len) < 0)
        return -1;
    ds_autobuf text = DS_BUF_INIT;
    ds_buf_addf(&text, "GET %s HTTP/1.0\r\nUser-Agent: provider\r\n\r\n", path);
    if (text.failed || send(fd, text.data, text.len, MSG_NOSIGNAL) != (ssize_t)text.len)
        return -1;
    receive(fd, reply);
    return reply->failed ? -1 : 0;
}

/* Only what this project serves: the emulated provider is to reach nothing else. */
void
ds_provider_fetch(struct ds_request *req, const char *url, struct ds_fetched *ret)
{
    const char *base = req->server->project->url;
    size_t len = strlen(base);
    *ret = (struct ds_fetched){0};
    if (strncmp(url, base, len) != 0 || url[len] != '/' || strpbrk(url, " \r\n"))
        return;
    ds_autobuf reply = DS_BUF_INIT;
    if (ask(req, url + len, &reply) < 0)
        return;
    const char *body = reply.data ? memmem(reply.data, reply.len, "\r\n\r\n", 4) : NULL;
    if (!body || reply.len < 12 || strncmp(reply.data, "HTTP/1.", 7) != 0)
        return;
    body += 4;
    ret->status = (int)strtol(reply.data + 9, NULL, 10);
    ret->bytes = (int64_t)(reply.len - (size_t)(body - reply.data));
    ds_sha256_hex(body, (size_t)ret->bytes, ret->sha256);
}
