/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_HTTP_H
#define DS_HTTP_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth.h"
#include "buf.h"
#include "fault.h"
#include "s3-chunk.h"
#include "server.h"
#include "store.h"

#define DS_API_PREFIX "/storage/v1"

/* What the body of a request is, which says how it is taken in. */
enum ds_body_kind {
    DS_BODY_NONE,   /* read and dropped */
    DS_BODY_JSON,   /* kept in memory, parsed by the service's rules */
    DS_BODY_OBJECT, /* the bytes of an object: the route takes them */
};

struct ds_request;

struct ds_route {
    const char *kind; /* name in the log */
    enum ds_body_kind body;
    bool auth_optional;                    /* a missing or bad token counts as anon */
    bool auth_bare;                        /* a missing token counts as a malformed one */
    bool s3;                               /* below /s3: signatures, XML, true statuses */
    void (*begin)(struct ds_request *req); /* before the body, may set a reply; NULL = nothing */
    /* Of DS_BODY_OBJECT: takes in the next bytes, may set a reply; 0 or a negative errno. */
    int (*take)(struct ds_request *req, const void *bytes, size_t len);
    void (*finish)(struct ds_request *req); /* after the body, sets the reply */
};

#define DS_REPLY_HEADERS 16

struct ds_reply {
    int status; /* 0 = none yet */
    char *body;
    size_t body_len;
    int fd; /* >= 0: the body is a part of this file */
    uint64_t fd_offset;
    uint64_t fd_len;
    uint64_t head_len; /* HEAD: the Content-Length that is shown */
    bool head;
    struct {
        const char *name; /* static */
        char *value;
    } headers[DS_REPLY_HEADERS];
    size_t header_count;
    json_t *metadata; /* headers with names of their own, to strings; NULL = none */
    void *reader;     /* a body of no announced length comes from read(); NULL = none */
    MHD_ContentReaderCallback read;
    void (*reader_free)(void *reader);
};

/* One request, owned by its connection's thread. */
struct ds_request {
    struct ds_server *server;
    struct MHD_Connection *conn;
    int socket;
    const char *method;
    const struct ds_route *route;
    char *target;      /* as sent */
    const char *path;  /* below the API's prefix, escapes kept; within target */
    const char *query; /* after '?', "" when there is none; within target */
    char *decoded;     /* path without escapes */
    char *bucket;      /* of the route, NULL when it has none */
    char *key;
    size_t key_len;

    struct ds_identity who;
    bool authenticated; /* a valid token was sent */
    /* Of a signed URL: */
    long long signed_until; /* seconds since 1970; 0 = none */
    bool signed_upsert;

    struct ds_buf text;          /* body of a JSON route */
    struct ds_incoming incoming; /* body of an object route */
    bool has_incoming;
    uint64_t received;
    int body_error; /* negative errno of taking in the body */

    struct ds_reply reply;
    struct ds_fault_plan plan;
    struct ds_buf copy; /* of the body, for a duplicate */
    uint64_t log_seq;
    bool queued;

    bool answered; /* by ds_http_answer_for(): the body is dropped, nothing else is sent */
    int64_t cut_at_ns;

    /* Kept by the upload routes between begin and finish. */
    char *user_meta;
    struct ds_upload_form *form; /* NULL = the body is the object's bytes */
    struct ds_tus_request *tus;
    struct ds_s3_chunk chunk; /* of an S3 body that comes in signed chunks */
    bool chunked;

    struct ds_provider_call *provider; /* of a request to an AI provider */
};

/* The value of a header or a query parameter, NULL when absent; borrowed for the request. */
const char *ds_request_header(const struct ds_request *req, const char *name);
const char *ds_request_query(const struct ds_request *req, const char *name);

/*
 * Answer a request whose body is still coming, from another request's thread: the text, which is
 * the whole reply, is sent now and the connection ends. Its own thread must have seen to it that
 * req->answered is true before it is asked for the reply.
 */
void ds_http_answer_for(struct ds_request *req, int status, const char *text);

struct ds_http;

/* Serve on the project's socket, a thread for each connection. */
int ds_http_start(struct ds_server *server, int socket, struct ds_http **ret, struct sf_err *err);

/* Waits for the requests that run; ds_pace_stop() first, so that none sleeps. */
void ds_http_stop(struct ds_http *http);

#endif
