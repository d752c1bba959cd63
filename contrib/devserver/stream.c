/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stream.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define BLOCK        (256u << 10)
#define PACED_STEP   (32u << 10)
#define HANG_POLL_MS 100

struct stream {
    struct ds_server *server;
    int socket;
    char *body; /* or */
    int fd;
    uint64_t offset;
    uint64_t len; /* what there is */
    int64_t truncate_at;
    int64_t hang_at;
    uint64_t hang_rule;
    size_t slow_bytes; /* 0 = not slow */
    int64_t slow_ms;
};

static bool
client_is_gone(int socket)
{
    struct pollfd pfd = {.fd = socket, .events = POLLRDHUP};
    return poll(&pfd, 1, 0) > 0 && (pfd.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

bool
ds_stream_hang(struct ds_server *server, int socket, uint64_t rule)
{
    while (ds_faults_alive(server->faults, rule)) {
        if (client_is_gone(socket) || ds_pace_stopping(server->pace))
            return false;
        ds_pace_wait(server->pace, HANG_POLL_MS);
    }
    return true;
}

bool
ds_stream_sleep(struct ds_server *server, int socket, int64_t ms)
{
    int64_t end = ds_tick_ns() + ms * INT64_C(1000000);
    for (;;) {
        int64_t left = (end - ds_tick_ns() + 999999) / 1000000;
        if (client_is_gone(socket) || ds_pace_stopping(server->pace))
            return false;
        if (left <= 0)
            return true;
        ds_pace_wait(server->pace, left < HANG_POLL_MS ? left : HANG_POLL_MS);
    }
}

static ssize_t
stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct stream *stream = cls;
    uint64_t end = stream->len;
    if (stream->hang_at >= 0) {
        if (pos >= (uint64_t)stream->hang_at) {
            if (!ds_stream_hang(stream->server, stream->socket, stream->hang_rule))
                return MHD_CONTENT_READER_END_WITH_ERROR;
            stream->hang_at = -1;
        } else if ((uint64_t)stream->hang_at < end) {
            end = (uint64_t)stream->hang_at;
        }
    }
    if (stream->truncate_at >= 0 && (uint64_t)stream->truncate_at < end)
        end = (uint64_t)stream->truncate_at;
    if (pos >= end)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = end - pos < max ? (size_t)(end - pos) : max;
    if (stream->slow_bytes > 0) {
        if (client_is_gone(stream->socket))
            return MHD_CONTENT_READER_END_WITH_ERROR;
        ds_pace_sleep_ms(stream->server->pace, stream->slow_ms);
        n = n < stream->slow_bytes ? n : stream->slow_bytes;
    }
    if (atomic_load_explicit(&stream->server->pace->bytes_per_s, memory_order_relaxed) > 0) {
        if (n > PACED_STEP)
            n = PACED_STEP;
        ds_pace_transfer(stream->server->pace, n);
    }
    if (stream->fd < 0) {
        memcpy(buf, stream->body + pos, n);
        return (ssize_t)n;
    }
    ssize_t got = pread(stream->fd, buf, n, (off_t)(stream->offset + pos));
    return got > 0 ? got : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void
stream_free(void *cls)
{
    struct stream *stream = cls;
    if (stream->fd >= 0)
        close(stream->fd);
    free(stream->body);
    free(stream);
}

static ssize_t
no_body(void *cls, uint64_t pos, char *buf, size_t max)
{
    (void)cls;
    (void)pos;
    (void)buf;
    (void)max;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

static struct MHD_Response *
slow_response(struct ds_request *req, uint64_t len, uint64_t claimed)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    *stream = (struct stream){.server = req->server,
                              .socket = req->socket,
                              .body = req->reply.body,
                              .fd = req->reply.fd,
                              .offset = req->reply.fd_offset,
                              .len = len < claimed ? len : claimed,
                              .truncate_at = req->plan.truncate_at,
                              .hang_at = req->plan.hang_at,
                              .hang_rule = req->plan.hang_rule,
                              .slow_bytes = (size_t)req->plan.slow_bytes,
                              .slow_ms = req->plan.slow_ms};
    struct MHD_Response *response =
        MHD_create_response_from_callback(claimed, BLOCK, stream_read, stream, stream_free);
    if (!response) {
        free(stream);
        return NULL;
    }
    req->reply.body = NULL;
    req->reply.fd = -1;
    return response;
}

/* Less than there is, and the announced length is that of what comes. */
static void
cut_body(struct ds_reply *reply, uint64_t at)
{
    if (reply->fd >= 0 && reply->fd_len > at)
        reply->fd_len = at;
    else if (reply->fd < 0 && reply->body_len > at)
        reply->body_len = at;
}

/* What a route writes bit by bit. */
static struct MHD_Response *
reader_response(struct ds_reply *reply)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK, reply->read, reply->reader, reply->reader_free);
    if (response)
        reply->reader = NULL;
    return response;
}

struct MHD_Response *
ds_stream_response(struct ds_request *req)
{
    struct ds_reply *reply = &req->reply;
    if (reply->reader)
        return reader_response(reply);
    if (req->plan.cut_at >= 0)
        cut_body(reply, (uint64_t)req->plan.cut_at);
    uint64_t len = reply->fd >= 0 ? reply->fd_len : reply->body_len;
    uint64_t claimed = len;
    if (req->plan.lies & DS_LIE_LENGTH && (reply->fd >= 0 || reply->head)) {
        uint64_t shown = reply->head ? reply->head_len : len;
        int64_t lie = (int64_t)shown + req->plan.size_delta;
        claimed = lie < 0 ? 0 : (uint64_t)lie;
        if (reply->head)
            reply->head_len = claimed;
    }
    if (reply->head)
        return MHD_create_response_from_callback(reply->head_len, 1024, no_body, NULL, NULL);
    bool paced = atomic_load_explicit(&req->server->pace->bytes_per_s, memory_order_relaxed) > 0;
    bool spoiled = req->plan.truncate_at >= 0 || req->plan.hang_at >= 0 || claimed != len ||
                   req->plan.slow_bytes > 0;
    if ((paced || spoiled) && claimed > 0)
        return slow_response(req, len, claimed);
    if (reply->fd >= 0)
        return MHD_create_response_from_fd_at_offset64(len, sf_steal_fd(reply->fd),
                                                       reply->fd_offset);
    char *body = sf_steal(reply->body);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body ? len : 0, body, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(body);
    return response;
}
