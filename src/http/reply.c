/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/internal.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

void
http_recv_reset(struct http_recv *r)
{
    r->status = 0;
    r->head_done = false;
    r->head_bytes = 0;
    r->into_len = 0;
    r->sized = false;
    sf_buf_clear(&r->head);
    sf_buf_clear(&r->body);
}

void
http_recv_fini(struct http_recv *r)
{
    sf_buf_fini(&r->head);
    sf_buf_fini(&r->body);
}

/* "HTTP/1.1 200 OK" -> 200; 0 = not a status line. */
static int
status_of(const char *line, size_t n)
{
    if (n < 9 || memcmp(line, "HTTP/", 5) != 0)
        return 0;
    const char *end = line + n, *p = memchr(line, ' ', n);
    if (!p || end - p < 4)
        return 0;
    for (int i = 1; i <= 3; i++)
        if (!isdigit((unsigned char)p[i]))
            return 0;
    return (p[1] - '0') * 100 + (p[2] - '0') * 10 + (p[3] - '0');
}

/* Control characters: a NUL would hide what follows, a CR alone may begin another line for others
 * who read this, and no header we look at may have any. */
static bool
has_control(const char *p, const char *end)
{
    for (; p < end; p++)
        if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f)
            return true;
    return false;
}

static int
store_header(struct http_recv *r, const char *line, size_t n)
{
    const char *colon = memchr(line, ':', n);
    if (!colon)
        return 0;
    const char *v = colon + 1, *end = line + n;
    while (v < end && isspace((unsigned char)*v))
        v++;
    while (end > v && isspace((unsigned char)end[-1]))
        end--;
    if (has_control(line, end))
        return 0;
    size_t was = r->head.len;
    if (sf_buf_append(&r->head, line, (size_t)(colon - line)) || sf_buf_putc(&r->head, '\0') ||
        sf_buf_append(&r->head, v, (size_t)(end - v)) || sf_buf_putc(&r->head, '\0')) {
        sf_buf_truncate(&r->head, was);
        return -ENOMEM;
    }
    return 0;
}

int
http_recv_line(struct http_recv *r, const char *line, size_t n, const char **why)
{
    r->head_bytes += n;
    if (r->head_bytes > HTTP_HEAD_MAX) {
        *why = "the headers of the reply exceed 64 KiB";
        return -EPROTO;
    }
    if (r->head_done)
        return 0; /* a trailer must not change what the header block said */
    int status = status_of(line, n);
    if (status) {
        r->status = status;
        sf_buf_clear(&r->head);
        return 0;
    }
    if (n <= 2 && (n == 0 || line[0] == '\r' || line[0] == '\n')) {
        r->head_done = r->status >= 200;
        return 0;
    }
    if (store_header(r, line, n)) {
        *why = "out of memory";
        return -ENOMEM;
    }
    return 0;
}

static bool
is_success(const struct sf_http_req *req)
{
    return req->recv.status >= 200 && req->recv.status < 300;
}

static bool
goes_into(const struct sf_http_req *req)
{
    return req->into && is_success(req);
}

bool
http_recv_sinks(const struct sf_http_req *req)
{
    return req->sink && is_success(req);
}

int
http_recv_body(struct sf_http_req *req, const char *data, size_t n, int64_t declared,
               const char **why)
{
    struct http_recv *r = &req->recv;
    bool into = goes_into(req);
    size_t max = into ? req->into_size : req->limit;
    size_t have = into ? r->into_len : r->body.len;
    if (!r->sized) {
        r->sized = true;
        if (declared > 0 && (uint64_t)declared > max)
            n = max - have + 1; /* no need to fetch what will be refused */
        else if (declared > 0 && !into && sf_buf_reserve(&r->body, (size_t)declared))
            goto nomem;
    }
    if (n > max - have) {
        *why = "the body of the reply is larger than allowed";
        return -EFBIG;
    }
    if (into) {
        memcpy(req->into + have, data, n);
        r->into_len += n;
        return 0;
    }
    if (sf_buf_append(&r->body, data, n) == 0)
        return 0;
nomem:
    *why = "out of memory";
    return -ENOMEM;
}

const char *
http_recv_header(const struct http_recv *r, const char *name)
{
    const char *p = r->head.data, *end = p ? p + r->head.len : NULL;
    while (p && p < end) {
        const char *value = p + strlen(p) + 1;
        if (strcasecmp(p, name) == 0)
            return value;
        p = value + strlen(value) + 1;
    }
    return NULL;
}

void
http_recv_fill(const struct sf_http_req *req, struct sf_http_reply *reply)
{
    const struct http_recv *r = &req->recv;
    reply->status = r->status;
    if (goes_into(req)) {
        reply->body = r->into_len ? req->into : NULL;
        reply->body_len = r->into_len;
    } else {
        reply->body = r->body.len ? r->body.data : NULL;
        reply->body_len = r->body.len;
    }
}

const char *
sf_http_reply_header(const struct sf_http_reply *reply, const char *name)
{
    return reply->status ? http_recv_header(&reply->req->recv, name) : NULL;
}
