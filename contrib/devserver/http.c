/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "provider.h"
#include "reply.h"
#include "route.h"
#include "stream.h"
#include "tus-request.h"
#include "upload-form.h"

/* As the service: header blocks above this are refused. */
#define HEADER_MAX (16u << 10)

#define CONNECTION_MEMORY (192u << 10)
#define CONNECTION_MAX    4000u
#define IDLE_SECONDS      61u
#define THREAD_STACK      (1u << 20) /* JSON may be nested 2,048 deep */
#define JSON_BODY_MAX     (16u << 20)
#define COPY_MAX          (64u << 20) /* body of a duplicate */

/* A refused body up to this size is read before the answer; above, the connection is closed. */
#define DRAIN_MAX    (1u << 20)
#define LINGER_MS    1000
#define LINGER_TOTAL (256u << 20)

struct ds_http {
    struct MHD_Daemon *daemon;
};

struct connection {
    char *target; /* of the request that is being read */
};

const char *
ds_request_header(const struct ds_request *req, const char *name)
{
    return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

const char *
ds_request_query(const struct ds_request *req, const char *name)
{
    const char *value = NULL;
    size_t len = 0;
    if (MHD_lookup_connection_value_n(req->conn, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value,
                                      &len) != MHD_YES)
        return NULL;
    return value ? value : "";
}

/* ---- a request's life ---- */

static void
request_free(struct ds_request *req)
{
    if (!req)
        return;
    if (req->has_incoming)
        ds_incoming_fini(&req->incoming);
    ds_fault_plan_fini(&req->plan);
    ds_reply_fini(&req->reply);
    ds_buf_fini(&req->text);
    ds_buf_fini(&req->copy);
    free(req->target);
    free(req->decoded);
    free(req->bucket);
    free(req->key);
    free(req->user_meta);
    ds_upload_form_free(req->form);
    ds_tus_request_free(req->tus);
    ds_provider_call_free(req);
    free(req);
}

static struct ds_request *
request_new(struct ds_server *server, struct MHD_Connection *conn, const char *method)
{
    struct ds_request *req = calloc(1, sizeof *req);
    if (!req)
        return NULL;
    req->server = server;
    req->conn = conn;
    req->method = method;
    req->reply.fd = -1;
    req->incoming.fd = -1;
    req->plan = DS_FAULT_PLAN_NONE;
    req->path = req->query = "";
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    req->socket = info ? info->connect_fd : -1;
    info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *connection = info ? info->socket_context : NULL;
    req->target = connection ? sf_steal(connection->target) : NULL;
    if (!req->target) {
        free(req);
        return NULL;
    }
    return req;
}

static enum MHD_Result
add_size(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    *(size_t *)cls += strlen(name) + (value ? strlen(value) : 0) + 4;
    return MHD_YES;
}

static bool
headers_too_large(struct ds_request *req)
{
    size_t size = strlen(req->method) + strlen(req->target) + 12;
    MHD_get_connection_values(req->conn, MHD_HEADER_KIND, add_size, &size);
    return size > HEADER_MAX;
}

/* The query as the log may have it: what signs a URL is a key. NULL when out of memory. */
static char *
without_keys(const char *query)
{
    static const char *const names[] = {"token=", "X-Amz-Signature=", "X-Amz-Security-Token="};
    char *shown = strdup(query);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *value = shown;
        while (value && (value = strstr(value, names[i]))) {
            bool whole = value == shown || value[-1] == '&';
            value += strlen(names[i]);
            if (whole) {
                char *rest = value + strcspn(value, "&");
                memmove(value, rest, strlen(rest) + 1);
            }
        }
    }
    return shown;
}

static void
log_arrival(struct ds_request *req, const char *kind)
{
    const char *upsert = ds_request_header(req, "x-upsert");
    sf_autofree char *query = without_keys(req->query);
    struct ds_log_arrival arrival = {
        .kind = kind,
        .method = req->method,
        .path = req->decoded ? req->decoded : req->path,
        .query = query,
        .range = ds_request_header(req, "range"),
        .request_id = ds_request_header(req, "x-request-id"),
        .upsert = upsert && strcmp(upsert, "true") == 0,
        .duplicate = ds_request_header(req, DS_REPEAT_HEADER) != NULL,
    };
    req->log_seq = ds_log_arrived(req->server->log, &arrival);
}

static void
log_outcome(struct ds_request *req, int status)
{
    struct ds_log_outcome outcome = {
        .status = status,
        .role = ds_role_name(req->who.role),
        .body = req->text.data,
        .body_len = req->text.len,
        .request_bytes = req->received,
        .reply_bytes = status == 0 || req->reply.head ? 0
                       : req->reply.fd >= 0           ? req->reply.fd_len
                                                      : req->reply.body_len,
        .fault = req->plan.any,
    };
    ds_log_answered(req->server->log, req->log_seq, &outcome);
}

/* Ends the connection with a reset that the client sees at once. */
static enum MHD_Result
reset(struct ds_request *req)
{
    log_outcome(req, 0);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    if (req->socket >= 0)
        (void)!connect(req->socket, &none, sizeof none);
    return MHD_NO;
}

/* Something that is no HTTP, and the end of the connection. */
static enum MHD_Result
spill(struct ds_request *req)
{
    const char *text = json_string_value(req->plan.garbage);
    log_outcome(req, 0);
    (void)!send(req->socket, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(req->socket, SHUT_WR);
    return MHD_NO;
}

static void
add_fault_headers(struct ds_request *req, struct MHD_Response *response)
{
    const char *name;
    json_t *value;
    json_object_foreach(req->plan.headers, name, value)
    {
        if (json_is_string(value)) {
            MHD_add_response_header(response, name, json_string_value(value));
        } else if (json_is_integer(value)) {
            char text[32];
            snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
            MHD_add_response_header(response, name, text);
        }
    }
}

static void
add_metadata_headers(const struct ds_reply *reply, struct MHD_Response *response)
{
    const char *name;
    json_t *value;
    json_object_foreach(reply->metadata, name, value)
        MHD_add_response_header(response, name, json_string_value(value));
}

/* The answer of an error rule. */
static void
reply_by_plan(struct ds_request *req, int status)
{
    const struct ds_fault_plan *plan = &req->plan;
    if (json_is_string(plan->body)) {
        ds_reply_text(req, status, "text/plain", json_string_value(plan->body));
    } else if (plan->body) {
        sf_autofree char *text = json_dumps(plan->body, JSON_COMPACT | JSON_ENCODE_ANY);
        ds_reply_text(req, status, "application/json; charset=utf-8", text ? text : "");
    } else {
        ds_reply_text(req, status, "", "");
    }
}

static enum MHD_Result
add_header_text(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    static const char *const own[] = {"content-length", "transfer-encoding", "connection",
                                      "expect"};
    (void)kind;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcasecmp(name, own[i]) == 0)
            return MHD_YES;
    ds_buf_addf(cls, "%s: %s\r\n", name, value ? value : "");
    return MHD_YES;
}

/* The request once more, later. */
static void
duplicate(struct ds_request *req)
{
    ds_autobuf text = DS_BUF_INIT;
    ds_buf_addf(&text, "%s %s%s%s HTTP/1.1\r\n", req->method, req->target, *req->query ? "?" : "",
                req->query);
    MHD_get_connection_values(req->conn, MHD_HEADER_KIND, add_header_text, &text);
    ds_buf_addf(&text, DS_REPEAT_HEADER ": 1\r\nConnection: close\r\n");
    if (req->copy.len > 0 || ds_request_header(req, "content-length"))
        ds_buf_addf(&text, "Content-Length: %zu\r\n", req->copy.len);
    ds_buf_adds(&text, "\r\n");
    ds_buf_add(&text, req->copy.data, req->copy.len);
    int rc = text.failed || req->copy.failed ? -ENOMEM : 0;
    if (rc == 0)
        rc = ds_repeat(req->server->repeats, req->socket, req->plan.duplicate_ms, &text);
    if (rc < 0)
        fprintf(stderr, "supafs-devserver: %s %s: no duplicate: %s\n", req->method, req->path,
                strerror(-rc));
}

static enum MHD_Result
queue_reply(struct ds_request *req)
{
    struct ds_reply *reply = &req->reply;
    if (req->plan.duplicate)
        duplicate(req);
    if (req->plan.status_after != 0)
        reply_by_plan(req, req->plan.status_after);
    ds_pace_sleep_ms(req->server->pace,
                     atomic_load_explicit(&req->server->pace->delay_ms, memory_order_relaxed) +
                         req->plan.delay_ms);
    if (req->plan.reset_after)
        return reset(req);
    if (req->plan.garbage)
        return spill(req);
    if (req->plan.hang_headers && !ds_stream_hang(req->server, req->socket, req->plan.hang_rule))
        return reset(req);
    if (reply->status == 0)
        ds_fail(req, DS_FAIL_INTERNAL);
    if (strcmp(req->method, "HEAD") == 0 && !reply->head) {
        reply->head = true;
        reply->head_len = reply->fd >= 0 ? reply->fd_len : reply->body_len;
    }
    log_outcome(req, reply->status);
    struct MHD_Response *response = ds_stream_response(req);
    if (!response)
        return MHD_NO;
    for (size_t i = 0; i < reply->header_count; i++)
        MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
    if (reply->metadata)
        add_metadata_headers(reply, response);
    if (req->plan.headers)
        add_fault_headers(req, response);
    if (atomic_load(&req->server->pace->clock_ms) != 0 &&
        !MHD_get_response_header(response, "Date")) {
        char date[DS_DATE_SIZE];
        ds_time_http(ds_now_ms(), date);
        MHD_add_response_header(response, "Date", date);
    }
    enum MHD_Result rc = MHD_queue_response(req->conn, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    req->queued = true;
    return rc;
}

static bool
must_answer_now(const struct ds_request *req)
{
    if (req->reply.status == 0)
        return false;
    const char *length = ds_request_header(req, "content-length");
    const char *expect = ds_request_header(req, "expect");
    if (expect && strcasecmp(expect, "100-continue") == 0)
        return true;
    return length && strtoull(length, NULL, 10) > DRAIN_MAX;
}

static enum MHD_Result
begin(struct ds_request *req)
{
    const char *kind = ds_route_resolve(req);
    log_arrival(req, kind);
    if (!ds_request_header(req, DS_REPEAT_HEADER) && !ds_request_header(req, "x-no-faults"))
        ds_faults_pick(req->server->faults, req->method, req->decoded ? req->decoded : req->path,
                       &req->plan);
    if (req->plan.reset_before)
        return reset(req);
    if (headers_too_large(req))
        ds_reply_text(req, 431, "application/json",
                      "{\"error\":\"Request Header Fields Too Large\",\"message\":\"Exceeded "
                      "maximum allowed HTTP header size\",\"statusCode\":431}");
    else if (req->plan.status != 0)
        reply_by_plan(req, req->plan.status);
    else if (req->route && req->reply.status == 0 && req->route->begin)
        req->route->begin(req);
    return must_answer_now(req) ? queue_reply(req) : MHD_YES;
}

void
ds_http_answer_for(struct ds_request *req, int status, const char *text)
{
    struct ds_log_outcome outcome = {.status = status, .role = ds_role_name(req->who.role)};
    ds_log_answered(req->server->log, req->log_seq, &outcome);
    (void)!send(req->socket, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(req->socket, SHUT_WR);
}

/* A client that goes on sending after its answer has a moment to read it. */
static void
drop_body(struct ds_request *req)
{
    int64_t now = ds_tick_ns();
    if (req->cut_at_ns == 0)
        req->cut_at_ns = now + LINGER_MS * INT64_C(1000000);
    if (now > req->cut_at_ns)
        shutdown(req->socket, SHUT_RDWR);
}

static void
take_body(struct ds_request *req, const char *data, size_t len)
{
    req->received += len;
    ds_pace_transfer(req->server->pace, len);
    if (req->plan.duplicate && req->copy.len + len <= COPY_MAX)
        ds_buf_add(&req->copy, data, len);
    else if (req->plan.duplicate)
        req->copy.failed = true;
    if (req->answered)
        drop_body(req);
    if (req->reply.status != 0 || !req->route || req->body_error < 0 || req->answered)
        return;
    if (req->route->take)
        req->body_error = req->route->take(req, data, len);
    else if (req->route->body == DS_BODY_JSON && req->text.len + len <= JSON_BODY_MAX)
        ds_buf_add(&req->text, data, len);
    else if (req->route->body == DS_BODY_JSON)
        req->body_error = -E2BIG;
}

static enum MHD_Result
finish(struct ds_request *req)
{
    if (req->reply.status == 0 && !req->answered && (req->body_error < 0 || req->text.failed)) {
        if (req->body_error == -E2BIG)
            ds_reply_error(req, 413, "413", "FastifyError", "Request body is too large",
                           "InvalidRequest");
        else
            ds_fail_errno(req, req->body_error < 0 ? req->body_error : -ENOMEM, "take the body");
    }
    if (req->reply.status == 0 && !req->answered)
        req->route->finish(req);
    return req->answered ? MHD_NO : queue_reply(req);
}

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
           const char *version, const char *upload_data, size_t *upload_data_size, void **con_cls)
{
    (void)url;
    (void)version;
    struct ds_request *req = *con_cls;
    if (!req) {
        req = request_new(cls, conn, method);
        *con_cls = req;
        return req ? begin(req) : MHD_NO;
    }
    if (*upload_data_size > 0) {
        size_t len = *upload_data_size;
        bool cut = req->plan.reset_at >= 0 && req->received + len > (uint64_t)req->plan.reset_at;
        take_body(req, upload_data, cut ? (size_t)req->plan.reset_at - req->received : len);
        *upload_data_size = 0;
        return cut ? reset(req) : MHD_YES;
    }
    return req->queued ? MHD_YES : finish(req);
}

/*
 * A refused upload is answered before its body has come. Closing with unread bytes would turn into
 * a reset that can overtake the answer, so the rest is read for a moment.
 */
static void
linger(struct ds_request *req)
{
    static _Thread_local char sink[64 << 10];
    shutdown(req->socket, SHUT_WR);
    struct pollfd pfd = {.fd = req->socket, .events = POLLIN};
    size_t total = 0;
    while (total < LINGER_TOTAL && poll(&pfd, 1, LINGER_MS) > 0) {
        ssize_t n = recv(req->socket, sink, sizeof sink, MSG_DONTWAIT);
        if (n <= 0)
            break;
        total += (size_t)n;
    }
}

static void
on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
             enum MHD_RequestTerminationCode code)
{
    (void)cls;
    (void)conn;
    struct ds_request *req = *con_cls;
    if (!req)
        return;
    if (req->queued && code == MHD_REQUEST_TERMINATED_COMPLETED_OK && must_answer_now(req) &&
        req->received == 0)
        linger(req);
    request_free(req);
    *con_cls = NULL;
}

/* ---- connections ---- */

static void
on_connection(void *cls, struct MHD_Connection *conn, void **context,
              enum MHD_ConnectionNotificationCode code)
{
    (void)cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = calloc(1, sizeof(struct connection));
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
        int on = 1;
        if (info)
            setsockopt(info->connect_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    } else if (*context) {
        struct connection *connection = *context;
        free(connection->target);
        free(connection);
        *context = NULL;
    }
}

/* The library hands out the path with its escapes undone; the service's rules need them. */
static void *
on_target(void *cls, const char *uri, struct MHD_Connection *conn)
{
    (void)cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *connection = info ? info->socket_context : NULL;
    if (connection) {
        free(connection->target);
        connection->target = strdup(uri);
    }
    return NULL;
}

int
ds_http_start(struct ds_server *server, int socket, struct ds_http **ret, struct sf_err *err)
{
    struct ds_http *http = calloc(1, sizeof *http);
    if (!http)
        return sf_err_set(err, -ENOMEM, "HTTP server: no memory");
    http->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL,
        NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET, socket, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT, CONNECTION_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)THREAD_STACK, MHD_OPTION_END);
    if (!http->daemon) {
        free(http);
        return sf_err_set(err, -EIO, "the HTTP server does not start");
    }
    *ret = http;
    return 0;
}

void
ds_http_stop(struct ds_http *http)
{
    if (!http)
        return;
    MHD_stop_daemon(http->daemon);
    free(http);
}
