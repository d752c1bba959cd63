/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/cleanup.h"

/* ---- URLs ---------------------------------------------------------------------------------------
 */

static void
free_curl_str(char **s)
{
    curl_free(*s);
}

static void
free_curlu(CURLU **u)
{
    curl_url_cleanup(*u);
}

static bool
is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    char bare[INET6_ADDRSTRLEN + 2];
    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    size_t n = strlen(host);
    if (n < 3 || n > sizeof bare || host[0] != '[' || host[n - 1] != ']')
        return false;
    snprintf(bare, sizeof bare, "%.*s", (int)(n - 2), host + 1);
    return inet_pton(AF_INET6, bare, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* 0; -EINVAL and the like with @bad filled; -ENOMEM. */
static int
peer_of(const char *url, bool insecure, struct http_peer *peer, struct sf_err *bad)
{
    sf_defer(free_curlu) CURLU *u = curl_url();
    sf_defer(free_curl_str) char *scheme = NULL, *host = NULL, *port = NULL, *secret = NULL;
    if (!u)
        return -ENOMEM;
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
            return sf_err_set(bad, -EINVAL, "a URL with characters that are not encoded");
    CURLUcode rc = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME | CURLU_PATH_AS_IS);
    if (rc == CURLUE_OUT_OF_MEMORY)
        return -ENOMEM;
    if (rc)
        return sf_err_set(bad, -EINVAL, "not a valid URL: %s", curl_url_strerror(rc));
    if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) || curl_url_get(u, CURLUPART_HOST, &host, 0))
        return sf_err_set(bad, -EINVAL, "a URL without scheme or host");
    peer->tls = strcasecmp(scheme, "https") == 0;
    if (!peer->tls && strcasecmp(scheme, "http") != 0)
        return sf_err_set(bad, -EINVAL, "only http and https are possible, not %.20s", scheme);
    if (curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
        return sf_err_set(bad, -EINVAL, "a URL without a port");
    if (curl_url_get(u, CURLUPART_USER, &secret, 0) == CURLUE_OK ||
        curl_url_get(u, CURLUPART_PASSWORD, &secret, 0) == CURLUE_OK)
        return sf_err_set(bad, -EINVAL, "a URL must not hold user and password (%s:%s)", host,
                          port);
    peer->loopback = is_loopback(host);
    if (!peer->tls && !peer->loopback && !insecure)
        return sf_err_set(bad, -EPERM,
                          "plain http to %s:%s would show the keys to everyone on the way: use "
                          "https, or allow it with insecure=yes",
                          host, port);
    if (asprintf(&peer->where, "%s:%s", host, port) < 0) {
        peer->where = NULL;
        return -ENOMEM;
    }
    if (asprintf(&peer->key, "%s://%s", peer->tls ? "https" : "http", peer->where) < 0) {
        peer->key = NULL;
        return -ENOMEM;
    }
    return 0;
}

/* Names of query parameters whose values are nobody's business. */
static bool
is_secret(const char *name, size_t n)
{
    static const char *const parts[] = {"token", "key",  "secret", "sign", "pass",
                                        "auth",  "cred", "jwt",    "sig"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t len = strlen(parts[i]);
        for (size_t at = 0; at + len <= n; at++)
            if (strncasecmp(name + at, parts[i], len) == 0)
                return true;
    }
    return false;
}

static void
put(char **out, char *end, const char *s, size_t n)
{
    size_t room = (size_t)(end - *out);
    if (n > room)
        n = room;
    memcpy(*out, s, n);
    *out += n;
    **out = '\0';
}

void
http_redact(const char *url, char *out, size_t size)
{
    char *end = out + size - 1;
    const char *p = strstr(url, "://");
    *out = '\0';
    if (p) {
        p += 3;
        put(&out, end, url, (size_t)(p - url));
        size_t authority = strcspn(p, "/?#");
        const char *at = memrchr(p, '@', authority);
        if (at)
            p = at + 1;
    } else {
        p = url;
    }
    size_t plain = strcspn(p, "?#");
    put(&out, end, p, plain);
    p += plain;
    while (*p == '?' || *p == '&') {
        size_t param = 1 + strcspn(p + 1, "&#");
        const char *eq = memchr(p, '=', param);
        if (eq && is_secret(p + 1, (size_t)(eq - p - 1))) {
            put(&out, end, p, (size_t)(eq + 1 - p));
            put(&out, end, "***", 3);
        } else {
            put(&out, end, p, param);
        }
        p += param;
    }
}

/* ---- building -----------------------------------------------------------------------------------
 */

struct sf_http_req *
sf_http_req_new(struct sf_http *http, const char *method, const char *url)
{
    struct sf_http_req *req = calloc(1, sizeof *req);
    if (!req)
        return NULL;
    req->http = http;
    req->method = method;
    req->body_fd = -1;
    req->cls = 2;
    req->limit = HTTP_BODY_DEFAULT;
    req->safe = !strcmp(method, "GET") || !strcmp(method, "HEAD") || !strcmp(method, "OPTIONS");
    req->idempotent = req->safe;
    sf_buf_init(&req->recv.head);
    sf_buf_init(&req->recv.body);
    req->url = strdup(url);
    int rc = req->url ? peer_of(url, http->opts.insecure, &req->peer, &req->bad) : -ENOMEM;
    if (rc == -ENOMEM) {
        http_req_destroy(req);
        return NULL;
    }
    return req;
}

void
http_req_destroy(struct sf_http_req *req)
{
    if (!req)
        return;
    curl_slist_free_all(req->headers);
    http_recv_fini(&req->recv);
    free(req->peer.key);
    free(req->peer.where);
    free(req->url);
    free(req->body);
    free(req->tail);
    if (req->body_fd >= 0)
        close(req->body_fd);
    free(req);
}

void
sf_http_req_free(struct sf_http_req *req)
{
    http_req_destroy(req);
}

static bool
name_ok(const char *name)
{
    if (!*name)
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("!#$%&'*+-.^_`|~", *p))
            return false;
    /* These two say where the message ends; only the transfer may set them. */
    return strcasecmp(name, "Content-Length") != 0 && strcasecmp(name, "Transfer-Encoding") != 0;
}

static int
add_header(struct sf_http_req *req, const char *name, const char *value)
{
    if (!name_ok(name))
        return -EINVAL;
    for (const char *p = value; *p; p++)
        if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f)
            return -EINVAL;
    sf_autofree char *line = NULL;
    /* "Name;" is how curl is told to send a header without a value. */
    int n = *value ? asprintf(&line, "%s: %s", name, value) : asprintf(&line, "%s;", name);
    if (n < 0) {
        line = NULL;
        return -ENOMEM;
    }
    struct curl_slist *l = curl_slist_append(req->headers, line);
    if (!l)
        return -ENOMEM;
    req->headers = l;
    if (strcasecmp(name, "Content-Type") == 0)
        req->has_content_type = true;
    return 0;
}

int
sf_http_req_header(struct sf_http_req *req, const char *name, const char *value)
{
    if (req->state != HTTP_NEW || req->preparing)
        return -EBUSY;
    int rc = add_header(req, name, value);
    if (rc)
        return rc;
    req->fixed_last = req->headers;
    while (req->fixed_last->next)
        req->fixed_last = req->fixed_last->next;
    return 0;
}

int
sf_http_req_attempt_header(struct sf_http_req *req, const char *name, const char *value)
{
    if (!req->preparing)
        return -EBUSY;
    int rc = add_header(req, name, value);
    /* A preparer has no way to report it: without its header the request must not go out. */
    if (rc)
        (void)!sf_err_set(&req->bad, rc, "header %.60s: %s", name,
                          rc == -EINVAL ? "not a valid name or value" : "out of memory");
    return rc;
}

void
http_req_drop_attempt_headers(struct sf_http_req *req)
{
    if (req->fixed_last) {
        curl_slist_free_all(req->fixed_last->next);
        req->fixed_last->next = NULL;
    } else {
        curl_slist_free_all(req->headers);
        req->headers = NULL;
    }
}

void
sf_http_req_body(struct sf_http_req *req, char *data, size_t len)
{
    free(req->body);
    req->body = data;
    req->body_len = len;
}

int
sf_http_req_body_fd(struct sf_http_req *req, int fd, uint64_t off, uint64_t len)
{
    uint64_t end;
    if (__builtin_add_overflow(off, len, &end) || end > INT64_MAX)
        return -EFBIG;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return -errno;
    if (req->body_fd >= 0)
        close(req->body_fd);
    req->body_fd = copy;
    req->file_off = off;
    req->file_len = req->body_len = len;
    return 0;
}

void
sf_http_req_body_source(struct sf_http_req *req, uint64_t len, sf_http_source_fn fn, void *arg)
{
    assert(len <= INT64_MAX / 2);
    req->source = fn;
    req->source_arg = arg;
    req->file_len = req->body_len = len;
}

void
sf_http_req_body_frame(struct sf_http_req *req, char *head, size_t head_len, char *tail,
                       size_t tail_len)
{
    assert((req->body_fd >= 0 || req->source) && !req->body && !req->tail);
    req->body = head;
    req->head_len = head_len;
    req->tail = tail;
    req->body_len += head_len + tail_len;
}

void
sf_http_req_progress(struct sf_http_req *req, _Atomic uint64_t *sent, uint64_t base)
{
    req->sent = sent;
    req->sent_base = base;
}

void
sf_http_req_limit(struct sf_http_req *req, size_t max_body)
{
    req->limit = max_body;
}

void
sf_http_req_into(struct sf_http_req *req, char *buf, size_t size)
{
    req->into = buf;
    req->into_size = size;
}

void
sf_http_req_sink(struct sf_http_req *req, sf_http_sink_fn fn, void *arg)
{
    req->sink = fn;
    req->sink_arg = arg;
}

void
sf_http_req_idle(struct sf_http_req *req, unsigned first_ms, unsigned idle_ms)
{
    req->own_idle = true;
    req->first_ms = first_ms;
    req->idle_ms = idle_ms;
}

void
sf_http_req_unbounded(struct sf_http_req *req)
{
    req->cls = HTTP_UNBOUNDED;
}

void
sf_http_req_deadline(struct sf_http_req *req, int64_t deadline_ms)
{
    req->deadline_ms = deadline_ms;
}

void
sf_http_req_idempotent(struct sf_http_req *req, bool yes)
{
    req->idempotent = yes;
}

void
sf_http_req_once(struct sf_http_req *req)
{
    req->once = true;
}

void
sf_http_req_priority(struct sf_http_req *req, int priority)
{
    req->cls = priority > 0 ? 1 : priority < 0 ? 3 : 2;
}

void
sf_http_req_hooks(struct sf_http_req *req, sf_http_prepare_fn prepare, sf_http_classify_fn classify,
                  void *arg)
{
    req->prepare = prepare;
    req->classify = classify;
    req->hook_arg = arg;
}
