/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Replies that no decent server sends, and links that barely work. */
#include "http/http.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "../lib/http-got.h"
#include "../lib/toy-server.h"

enum { STALL_MS = 400 };

struct world {
    struct toy *toy;
    struct sf_http *http;
    atomic_uint hits; /* of /hang-..., /think-... */
};

static enum toy_then
spill(int fd, const char *first, const char *endless)
{
    toy_printf(fd, "%s", first);
    while (toy_write(fd, endless, strlen(endless)) == 0)
        ;
    return TOY_CLOSE;
}

static enum toy_then
raw(int fd, const char *data, size_t n, enum toy_then then)
{
    toy_write(fd, data, n);
    return then;
}

struct canned {
    const char *path;
    const char *bytes; /* what is sent, then the connection is closed */
    int status;        /* expected; 0 = an error */
    int code;          /* expected; 1 = any */
};

#define OK "HTTP/1.1 200 OK\r\n"

static const struct canned canned[] = {
    {"/nothing", "", 0, -ECONNRESET},
    {"/garbage", "\x16\x03\x01 what?\r\n\r\n", 0, -EPROTO},
    {"/http09", "hello, this is 1991", 0, -EPROTO},
    {"/http3", "HTTP/3.7 200 OK\r\n\r\n", 0, -EPROTO},
    {"/ftp", "220 welcome\r\n", 0, -EPROTO},
    {"/half-status", "HTTP/1.1 2", 0, 1},
    {"/no-status", "HTTP/1.1 abc\r\n\r\n", 0, 1},
    {"/short-status", "HTTP/1.1 20\r\nContent-Length: 0\r\n\r\n", 0, 1},
    {"/half-head", OK "Content-Le", 0, -EIO},
    {"/short", OK "Content-Length: 100\r\n\r\nonly", 0, -EIO},
    {"/negative", OK "Content-Length: -5\r\n\r\nhello", 0, 1},
    {"/no-number", OK "Content-Length: many\r\n\r\nhello", 0, 1},
    {"/wraps", OK "Content-Length: 18446744073709551621\r\n\r\nhello", 200, 0},
    {"/bad-chunk", OK "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", 0, 1},
    {"/big-chunk", OK "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx", 0, 1},
    {"/cut-chunk", OK "Transfer-Encoding: chunked\r\n\r\n10\r\nhello", 0, -EIO},
    {"/declared", OK "Content-Length: 99999999999\r\n\r\nstart", 0, -EFBIG},
    {"/plain-close", OK "\r\nto the end", 200, 0},
    {"/gzip", OK "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\x8b\x08z!", 200, 0},
    {"/cookie", OK "Set-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok", 200, 0},
    {"/redirect", "HTTP/1.1 302 F\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
     302, 0},
    {"/folded", OK "X-Toy: a\r\n b\r\nContent-Length: 2\r\n\r\nok", 200, 0},
    {"/control", OK "X-Toy: a\rX-Toy: b\r\nContent-Length: 2\r\n\r\nok", 200, 0},
    {"/escape", OK "X-Toy: a\x1b[2J\r\nX-Other: b\r\nContent-Length: 2\r\n\r\nok", 200, 0},
    {"/tab", OK "X-Toy: a\tb\r\nContent-Length: 2\r\n\r\nok", 200, 0},
    {"/continue", "HTTP/1.1 100 C\r\nX-Toy: early\r\n\r\n" OK "Content-Length: 2\r\n\r\nok", 200,
     0},
    {"/trailer",
     OK "X-Toy: head\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Toy: t\r\n\r\n", 200,
     0},
    {"/status-trailer",
     OK "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nHTTP/1.1 500 Evil\r\n\r\n", 0, 1},
    {"/status-trailer2",
     OK "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nHTTP/1.1 500 Evil: 1\r\n\r\n", 200, 0},
};

static enum toy_then
serve_slow(struct world *w, int fd, const struct toy_req *rq)
{
    unsigned n = ++w->hits;
    if (!strcmp(rq->path, "/drip")) { /* slow, but it moves: 60 bytes in 1.2 s */
        toy_printf(fd, OK "Content-Length: 60\r\n\r\n");
        for (int i = 0; i < 60 && toy_write(fd, "x", 1) == 0; i++)
            toy_hang(fd, 20);
        return TOY_KEEP;
    }
    if (!strcmp(rq->path, "/hang-once") && n > 1)
        return toy_text(fd, 200, NULL, "ok");
    if (!strncmp(rq->path, "/think/", 7)) { /* a service that needs its time */
        toy_hang(fd, (int)strtol(rq->path + 7, NULL, 10));
        return toy_text(fd, 200, NULL, "thought");
    }
    toy_printf(fd, OK "Content-Length: 60\r\n\r\nhalf");
    toy_hang(fd, 20000);
    return TOY_CLOSE;
}

static enum toy_then
serve(void *arg, int fd, const struct toy_req *rq)
{
    struct world *w = arg;
    for (size_t i = 0; i < sizeof canned / sizeof *canned; i++)
        if (!strcmp(rq->path, canned[i].path))
            return raw(fd, canned[i].bytes, strlen(canned[i].bytes), TOY_CLOSE);
    if (!strcmp(rq->path, "/nul"))
        return raw(fd, OK "X-Toy: a\0b\r\nContent-Length: 2\r\n\r\nok", 52, TOY_CLOSE);
    if (!strcmp(rq->path, "/many-headers"))
        return spill(fd, OK, "X-Toy: once more\r\n");
    if (!strcmp(rq->path, "/long-header"))
        return spill(fd, OK "X-Toy: ", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    if (!strcmp(rq->path, "/many-continues"))
        return spill(fd, "", "HTTP/1.1 100 Continue\r\n\r\n");
    if (!strcmp(rq->path, "/endless-chunks"))
        return spill(fd, OK "Transfer-Encoding: chunked\r\n\r\n", "10\r\n0123456789abcdef\r\n");
    if (!strcmp(rq->path, "/endless-body"))
        return spill(fd, OK "\r\n", "0123456789abcdef");
    if (!strcmp(rq->path, "/endless-trailers"))
        return spill(fd, OK "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X-More: 1\r\n");
    if (!strncmp(rq->path, "/drip", 5) || !strncmp(rq->path, "/hang", 5) ||
        !strncmp(rq->path, "/think", 6))
        return serve_slow(w, fd, rq);
    return toy_text(fd, 200, NULL, toy_header(rq, "Cookie") ? "COOKIE" : "fine");
}

/* Bodies that are read slowly, or not at all. */
static enum toy_then
head(void *arg, int fd, const struct toy_req *rq)
{
    (void)arg;
    if (!strcmp(rq->path, "/early-refusal")) {
        toy_text(fd, 413, "Connection: close\r\n", "too large");
        toy_hang(fd, 300); /* closing at once would reset the reply away */
        return TOY_CLOSE;
    }
    if (!strcmp(rq->path, "/refused-unread")) { /* and nothing is read any more */
        toy_text(fd, 409, NULL, "there is one");
        toy_hang(fd, 20000);
        return TOY_CLOSE;
    }
    if (!strcmp(rq->path, "/unread")) {
        toy_hang(fd, 20000);
        return TOY_CLOSE;
    }
    if (strcmp(rq->path, "/slow-reader"))
        return TOY_KEEP;
    size_t left = strtoull(toy_header(rq, "Content-Length"), NULL, 10) - rq->early;
    char *tmp = malloc(16 << 10);
    while (left > 0) {
        ssize_t n = recv(fd, tmp, left < 16 << 10 ? left : 16 << 10, 0);
        if (n <= 0)
            break;
        left -= (size_t)n;
        toy_hang(fd, 8);
    }
    free(tmp);
    toy_text(fd, left ? 500 : 200, "Connection: close\r\n", "read");
    return TOY_CLOSE;
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct sf_http_opts opts = {.stall_ms = STALL_MS, .backoff_min_ms = 20, .backoff_max_ms = 50};
    w->toy =
        toy_start(&(struct toy_opts){.serve = serve, .head = head, .arg = w, .rcvbuf = 128 << 10});
    assert_int_equal(sf_http_new(&opts, &w->http, NULL), 0);
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    /* Whatever happened, the next request is served. */
    got_get(w->http, toy_url(w->toy, "/fine"), 5000, &g);
    assert_int_equal(g.status, 200);
    assert_string_equal(g.body, "fine");
    got_fini(&g);
    sf_http_free(w->http);
    toy_stop(w->toy);
    free(w);
    return 0;
}

static void
crooked_replies(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < sizeof canned / sizeof *canned; i++) {
        const struct canned *c = &canned[i];
        struct got g = {0};
        /* A POST, since that is not repeated, on a connection of its own. */
        struct sf_http *http;
        assert_int_equal(sf_http_new(NULL, &http, NULL), 0);
        struct sf_http_req *req = sf_http_req_new(http, "POST", toy_url(w->toy, c->path));
        sf_http_submit(http, req, got_done, &g);
        got_wait(&g);
        sf_http_free(http);
        if (g.status != c->status || (c->code != 1 && g.err.code != c->code))
            print_error("%s: status %d, error %d %s\n", c->path, g.status, g.err.code, g.err.msg);
        assert_int_equal(g.status, c->status);
        if (c->code == 1)
            assert_true(g.err.code < 0);
        else
            assert_int_equal(g.err.code, c->code);
        if (!strcmp(c->path, "/gzip"))
            assert_int_equal(g.body_len, 5); /* as it is; nothing is unpacked */
        if (!strcmp(c->path, "/trailer"))
            assert_string_equal(g.header, "head");
        if (!strcmp(c->path, "/tab"))
            assert_string_equal(g.header, "a\tb");
        if (!strcmp(c->path, "/control") || !strcmp(c->path, "/escape"))
            assert_string_equal(g.header, "");
        if (!strcmp(c->path, "/continue"))
            assert_string_equal(g.header, "");
        got_fini(&g);
    }
}

static void
a_nul_in_a_header_hides_nothing(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    got_get(w->http, toy_url(w->toy, "/nul"), 150, &g);
    assert_true(g.status == 0 || !*g.header);
    got_fini(&g);
}

static void
endless_replies_are_cut(void **state)
{
    static const struct {
        const char *path;
        int code;
    } rows[] = {
        {"/many-headers", -EPROTO},  {"/long-header", -EPROTO}, {"/many-continues", -EPROTO},
        {"/endless-chunks", -EFBIG}, {"/endless-body", -EFBIG}, {"/endless-trailers", -EPROTO},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct got g = {0};
        char buf[1000];
        got_get(w->http, toy_url(w->toy, rows[i].path), 5000, &g);
        if (rows[i].code != 1)
            assert_int_equal(g.err.code, rows[i].code);
        assert_true(g.err.code < 0 && g.err.code != -ETIMEDOUT);
        assert_int_equal(g.status, 0);
        assert_int_equal(g.attempts, 1); /* no use in asking again */
        /* The same into a buffer of the caller's. */
        memset(&g, 0, sizeof g);
        memset(buf, '?', sizeof buf);
        struct sf_http_req *req = sf_http_req_new(w->http, "GET", toy_url(w->toy, rows[i].path));
        sf_http_req_into(req, buf, 900);
        sf_http_submit(w->http, req, got_done, &g);
        got_wait(&g);
        assert_true(g.err.code < 0);
        for (size_t k = 900; k < sizeof buf; k++)
            assert_int_equal(buf[k], '?');
    }
}

static void
slow_is_not_stalled(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    got_get(w->http, toy_url(w->toy, "/drip"), 10000, &g);
    assert_int_equal(g.status, 200);
    assert_int_equal(g.body_len, 60);
    assert_int_equal(g.attempts, 1);
    assert_true(g.elapsed_ms > 2 * STALL_MS);
    got_fini(&g);
}

static void
a_stalled_reply_is_asked_for_again(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    got_get(w->http, toy_url(w->toy, "/hang-once"), 10000, &g);
    assert_int_equal(g.status, 200);
    assert_string_equal(g.body, "ok");
    assert_int_equal(g.attempts, 2);
    assert_in_range(g.elapsed_ms, STALL_MS, 4 * STALL_MS + 500);
    got_fini(&g);

    /* One that must not be sent twice has failed; whether it was carried out is open. */
    memset(&g, 0, sizeof g);
    struct sf_http_req *req = sf_http_req_new(w->http, "POST", toy_url(w->toy, "/hang"));
    sf_http_submit(w->http, req, got_done, &g);
    got_wait(&g);
    assert_int_equal(g.err.code, -ETIMEDOUT);
    assert_non_null(strstr(g.err.msg, "stalled"));
    assert_true(g.err.outcome_open);
    assert_int_equal(g.attempts, 1);
    assert_true(g.elapsed_ms < 10 * STALL_MS);
}

static void
a_service_may_think(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    char path[32];
    /* A change waits for its answer; asking twice would be worse. */
    snprintf(path, sizeof path, "/think/%d", 5 * STALL_MS);
    struct sf_http_req *req = sf_http_req_new(w->http, "POST", toy_url(w->toy, path));
    sf_http_req_body(req, strdup("please"), 6);
    sf_http_submit(w->http, req, got_done, &g);
    got_wait(&g);
    assert_int_equal(g.status, 200);
    assert_int_equal(g.attempts, 1);
    got_fini(&g);
    /* A question longer than a stall too, */
    snprintf(path, sizeof path, "/think/%d", 3 * STALL_MS / 2);
    got_get(w->http, toy_url(w->toy, path), 10000, &g);
    assert_int_equal(g.status, 200);
    assert_int_equal(g.attempts, 1);
    got_fini(&g);
    /* but not for ever: the connection may be dead. */
    snprintf(path, sizeof path, "/think/%d", 20 * STALL_MS);
    got_get(w->http, toy_url(w->toy, path), 6 * STALL_MS, &g);
    assert_int_equal(g.err.code, -ETIMEDOUT);
    assert_true(g.attempts > 1);
}

static void
uploads_may_be_slow_but_not_stall(void **state)
{
    struct world *w = *state;
    static const char *const paths[] = {"/slow-reader", "/unread", "/early-refusal"};
    for (int i = 0; i < 3; i++) {
        struct got g = {0};
        size_t n = 3 << 20;
        char *body = calloc(1, n);
        struct sf_http_req *req = sf_http_req_new(w->http, "POST", toy_url(w->toy, paths[i]));
        sf_http_req_body(req, body, n);
        assert_int_equal(sf_http_req_header(req, "Expect", ""), 0);
        sf_http_submit(w->http, req, got_done, &g);
        got_wait(&g);
        switch (i) {
        case 0:
            assert_int_equal(g.status, 200);
            assert_true(g.elapsed_ms > 2 * STALL_MS);
            break;
        case 1:
            assert_int_equal(g.err.code, -ETIMEDOUT);
            assert_true(g.err.outcome_open);
            assert_true(g.elapsed_ms < 20 * STALL_MS);
            break;
        default: /* the answer counts, though the body was not taken */
            assert_int_equal(g.status, 413);
            assert_string_equal(g.body, "too large");
        }
        got_fini(&g);
    }
}

/* The Storage server answers a refused upload before its body, never reads that, and keeps the
 * connection: the next request on it would wait for ever. */
static void
a_refused_upload_blocks_nobody(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 3; i++) {
        struct got g = {0}, next = {0};
        size_t n = 150000;
        struct sf_http_req *req =
            sf_http_req_new(w->http, "POST", toy_url(w->toy, "/refused-unread"));
        sf_http_req_body(req, calloc(1, n), n);
        sf_http_submit(w->http, req, got_done, &g);
        got_wait(&g);
        assert_int_equal(g.status, 409);
        got_fini(&g);
        req = sf_http_req_new(w->http, "POST", toy_url(w->toy, "/fine"));
        sf_http_req_body(req, strdup("next"), 4);
        sf_http_submit(w->http, req, got_done, &next);
        got_wait(&next);
        assert_int_equal(next.status, 200);
        assert_int_equal(next.attempts, 1);
        assert_true(next.elapsed_ms < STALL_MS);
        got_fini(&next);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(crooked_replies),
        T(a_nul_in_a_header_hides_nothing),
        T(endless_replies_are_cut),
        T(slow_is_not_stalled),
        T(a_stalled_reply_is_asked_for_again),
        T(a_service_may_think),
        T(uploads_may_be_slow_but_not_stall),
        T(a_refused_upload_blocks_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
