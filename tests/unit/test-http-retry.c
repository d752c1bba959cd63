/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is repeated, when, and what must never be sent twice. */
#include "http/http.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../lib/http-got.h"
#include "../lib/toy-server.h"

enum { OPS = 300 };

struct world {
    struct toy *toy;
    struct sf_http *http;
    atomic_uint hits; /* requests served, since the last reset by the test */
    atomic_uint prepared;
    atomic_uint op[OPS]; /* how often the server carried out each operation */
    char seen[4][64];    /* X-Attempt of the first requests */
};

static enum toy_then
head(void *arg, int fd, const struct toy_req *rq)
{
    (void)arg;
    if (!strcmp(rq->path, "/no-expect") && toy_header(rq, "Expect")) {
        toy_text(fd, 417, NULL, "");
        return TOY_SKIP;
    }
    if (!strncmp(rq->path, "/op/", 4) && (int)strtol(rq->path + 4, NULL, 10) % 11 == 3)
        return TOY_RESET;
    return TOY_KEEP;
}

/* A service that fails in each way around the moment where it carries an operation out. */
static enum toy_then
serve_op(struct world *w, int fd, int op)
{
    switch (op % 11) {
    case 5: /* done, and the reply is lost */
        w->op[op]++;
        return TOY_RESET;
    case 6: /* done, closed without a word */
        w->op[op]++;
        return TOY_CLOSE;
    case 7: /* refused by a reset after reading it */
        return TOY_RESET;
    case 8: /* a reply cut in its middle */
        w->op[op]++;
        toy_printf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf");
        return TOY_CLOSE;
    case 1: /* answered, and then the kept connection is closed without notice */
    case 9:
        w->op[op]++;
        toy_text(fd, 200, NULL, "done");
        return TOY_CLOSE;
    default:
        w->op[op]++;
        return toy_text(fd, 200, NULL, "done");
    }
}

static enum toy_then
serve(void *arg, int fd, const struct toy_req *rq)
{
    struct world *w = arg;
    unsigned n = ++w->hits;
    const char *a = toy_header(rq, "X-Attempt");
    if (a && n <= 4)
        snprintf(w->seen[n - 1], sizeof w->seen[0], "%.63s", a);
    if (!strncmp(rq->path, "/op/", 4))
        return serve_op(w, fd, (int)strtol(rq->path + 4, NULL, 10));
    if (!strcmp(rq->path, "/busy-twice"))
        return n <= 2 ? toy_text(fd, 503, NULL, "busy") : toy_text(fd, 200, NULL, "ok");
    if (!strcmp(rq->path, "/after-1"))
        return n == 1 ? toy_text(fd, 429, "Retry-After: 1\r\n", "") : toy_text(fd, 200, NULL, "ok");
    if (!strcmp(rq->path, "/after-date")) /* a clock that is years behind, and one second to wait */
        return n == 1 ? toy_text(fd, 503,
                                 "Date: Sat, 21 Nov 2015 09:00:00 GMT\r\n"
                                 "Retry-After: Sat, 21 Nov 2015 09:00:01 GMT\r\n",
                                 "")
                      : toy_text(fd, 200, NULL, "ok");
    if (!strcmp(rq->path, "/after-long"))
        return toy_text(fd, 429, "Retry-After: 100\r\n", "later");
    if (!strcmp(rq->path, "/token"))
        return toy_text(fd, a && !strcmp(a, "2") ? 200 : 401, NULL, "token");
    if (!strcmp(rq->path, "/never"))
        return toy_text(fd, 401, NULL, "no");
    if (!strcmp(rq->path, "/reset-once"))
        return n == 1 ? TOY_RESET : toy_text(fd, 409, NULL, "ok");
    if (!strcmp(rq->path, "/reset-kept")) /* on a kept connection only */
        return rq->on_conn > 1 ? TOY_RESET : toy_text(fd, 200, NULL, "");
    if (!strcmp(rq->path, "/reset"))
        return TOY_RESET;
    if (!strcmp(rq->path, "/close-after")) {
        toy_text(fd, 200, NULL, "ok");
        return TOY_CLOSE;
    }
    return toy_reply(fd, 200, NULL, rq->body, rq->body_len);
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct sf_http_opts opts = {.max_connections = 4, .backoff_min_ms = 50};
    w->toy = toy_start(&(struct toy_opts){.serve = serve, .head = head, .arg = w});
    assert_int_equal(sf_http_new(&opts, &w->http, NULL), 0);
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;
    sf_http_free(w->http);
    toy_stop(w->toy);
    free(w);
    return 0;
}

static void
prepare(void *arg, struct sf_http_req *req)
{
    struct world *w = arg;
    char n[12];
    snprintf(n, sizeof n, "%u", ++w->prepared);
    if (sf_http_req_attempt_header(req, "X-Attempt", n) ||
        sf_http_req_header(req, "X-Late", "1") != -EBUSY)
        abort();
}

static void
prepare_badly(void *arg, struct sf_http_req *req)
{
    (void)arg;
    if (sf_http_req_attempt_header(req, "Authorization", "Bearer a\nb") != -EINVAL)
        abort();
}

static enum sf_http_verdict
classify(void *arg, const struct sf_http_reply *reply)
{
    (void)arg;
    return reply->status == 401                           ? SF_HTTP_AGAIN
           : reply->status == 429 || reply->status >= 500 ? SF_HTTP_RETRY
                                                          : SF_HTTP_FINAL;
}

/* Send with the hooks above and wait. */
static void
send_path(struct world *w, const char *method, const char *path, bool idempotent, int ms,
          struct got *g)
{
    struct sf_http_req *req = sf_http_req_new(w->http, method, toy_url(w->toy, path));
    assert_non_null(req);
    got_fini(g);
    *g = (struct got){0};
    w->hits = 0;
    w->prepared = 0;
    if (!strcmp(method, "POST") || !strcmp(method, "PUT"))
        sf_http_req_body(req, strdup("body"), 4);
    if (idempotent)
        sf_http_req_idempotent(req, true);
    sf_http_req_deadline(req, got_now() + ms);
    sf_http_req_hooks(req, prepare, classify, w);
    sf_http_submit(w->http, req, got_done, g);
    got_wait(g);
}

static void
a_classified_reply_is_repeated_with_backoff(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    struct sf_http_stats s;
    send_path(w, "POST", "/busy-twice", false, 5000, &g);
    assert_int_equal(g.status, 200);
    assert_int_equal(g.attempts, 3);
    assert_false(g.err.outcome_open); /* each attempt got its answer */
    assert_string_equal(w->seen[0], "1");
    assert_string_equal(w->seen[1], "2"); /* one X-Attempt per attempt, not a pile */
    assert_string_equal(w->seen[2], "3");
    sf_http_stats(w->http, &s);
    assert_int_equal(s.attempts, 3);
    assert_int_equal(s.retries, 2);
    got_fini(&g);
}

static void
retry_after_is_obeyed(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    send_path(w, "GET", "/after-1", false, 10000, &g);
    assert_int_equal(g.status, 200);
    assert_int_equal(g.attempts, 2);
    assert_in_range(g.elapsed_ms, 1000, 3000);
    send_path(w, "GET", "/after-date", false, 10000, &g);
    assert_int_equal(g.status, 200);
    assert_in_range(g.elapsed_ms, 1000, 3000);
    /* Beyond the deadline: what is known now is the answer. */
    send_path(w, "GET", "/after-long", false, 2000, &g);
    assert_int_equal(g.status, 429);
    assert_string_equal(g.body, "later");
    assert_int_equal(g.attempts, 1);
    assert_true(g.elapsed_ms < 1000);
    got_fini(&g);
}

static void
again_means_at_once_and_once(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    send_path(w, "POST", "/token", false, 5000, &g);
    assert_int_equal(g.status, 200);
    assert_int_equal(g.attempts, 2);
    send_path(w, "POST", "/never", false, 5000, &g);
    assert_int_equal(g.status, 401);
    assert_string_equal(g.body, "no");
    assert_int_equal(g.attempts, 2);
    assert_int_equal(w->hits, 2);
    got_fini(&g);
}

static void
a_header_that_cannot_be_added_stops_the_request(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    struct sf_http_req *req = sf_http_req_new(w->http, "GET", toy_url(w->toy, "/x"));
    sf_http_req_hooks(req, prepare_badly, NULL, NULL);
    sf_http_submit(w->http, req, got_done, &g);
    got_wait(&g);
    assert_int_equal(g.err.code, -EINVAL);
    assert_non_null(strstr(g.err.msg, "Authorization"));
    assert_null(strstr(g.err.msg, "Bearer"));
    assert_int_equal(toy_counts(w->toy)->requests, 0);
}

static void
a_refused_connection_is_tried_until_somebody_listens(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    char url[64], want[100];
    struct sf_http_stats s;
    int port = toy_dead_port();
    snprintf(url, sizeof url, "http://127.0.0.1:%d/x", port);
    snprintf(want, sizeof want, "connect to 127.0.0.1:%d: connection refused", port);
    got_get(w->http, url, 300, &g);
    assert_int_equal(g.err.code, -ECONNREFUSED);
    assert_non_null(strstr(g.err.msg, want)); /* or behind "gave up after 3 attempts: " */
    assert_true(g.err.retryable);
    assert_false(g.err.outcome_open);
    assert_true(g.attempts > 1);
    assert_true(g.elapsed_ms < 1300);
    sf_http_stats(w->http, &s);
    assert_false(s.reachable);
    assert_non_null(strstr(s.last_error, want));
    assert_int_equal(s.last_reply_ms, 0);

    /* Nothing of a POST was sent, so it is repeated like any other. */
    struct sf_http_req *req = sf_http_req_new(w->http, "POST", url);
    memset(&g, 0, sizeof g);
    sf_http_req_body(req, strdup("late"), 4);
    sf_http_submit(w->http, req, got_done, &g);
    got_sleep(200);
    assert_int_equal(g.calls, 0);
    struct toy *late = toy_start(&(struct toy_opts){.serve = serve, .arg = w, .port = port});
    got_wait(&g);
    assert_int_equal(g.status, 200);
    assert_string_equal(g.body, "late");
    assert_true(g.attempts > 1);
    assert_false(g.err.outcome_open);
    assert_int_equal(toy_counts(late)->requests, 1);
    sf_http_stats(w->http, &s);
    assert_true(s.reachable);
    assert_true(got_now() - s.last_reply_ms < 5000);
    got_fini(&g);
    toy_stop(late);
}

static void
a_post_that_lost_its_reply_is_not_sent_again(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    send_path(w, "POST", "/reset", false, 5000, &g);
    assert_int_equal(g.status, 0);
    assert_int_equal(g.err.code, -ECONNRESET);
    assert_true(g.err.outcome_open);
    assert_int_equal(g.attempts, 1);
    assert_int_equal(w->hits, 1);
    assert_true(g.elapsed_ms < 1000);
}

static void
a_post_on_a_kept_connection_is_not_sent_again_either(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    for (int i = 0; i < 5; i++) {
        send_path(w, "POST", "/x", false, 5000, &g); /* now a connection is kept */
        assert_int_equal(g.status, 200);
        send_path(w, "POST", "/reset-kept", false, 5000, &g);
        assert_int_equal(g.status, 0);
        assert_int_equal(g.err.code, -ECONNRESET);
        assert_true(g.err.outcome_open);
        assert_int_equal(w->hits, 1);
        assert_int_equal(g.attempts, 1);
    }
    got_fini(&g);
}

static void
an_idempotent_request_on_a_kept_connection_is_repeated_at_once(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    struct sf_http_opts opts = {.backoff_min_ms = 20000}; /* a delay would show */
    sf_http_free(w->http);
    assert_int_equal(sf_http_new(&opts, &w->http, NULL), 0);
    static const char *const methods[] = {"GET", "PUT", "HEAD", "DELETE"};
    for (int i = 0; i < 4; i++) {
        send_path(w, "GET", "/x", true, 5000, &g);
        assert_int_equal(g.status, 200);
        send_path(w, methods[i], "/reset-kept", true, 5000, &g);
        assert_int_equal(g.status, 200);
        assert_int_equal(g.attempts, 2);
        assert_int_equal(w->hits, 2);
        assert_true(g.elapsed_ms < 1000);
        /* The first of the two may have done something. */
        assert_int_equal(g.err.outcome_open, i == 1 || i == 3);
    }
    got_fini(&g);
}

static void
a_body_from_a_file_is_sent_again_from_its_start(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    FILE *f = tmpfile();
    assert_non_null(f);
    for (int i = 0; i < 30000; i++)
        fputs("0123456789", f);
    fflush(f);
    send_path(w, "GET", "/x", true, 5000, &g);
    got_fini(&g);
    memset(&g, 0, sizeof g);
    w->hits = 0;
    struct sf_http_req *req = sf_http_req_new(w->http, "PUT", toy_url(w->toy, "/reset-kept"));
    assert_int_equal(sf_http_req_body_fd(req, fileno(f), 0, 300000), 0);
    fclose(f);
    sf_http_req_idempotent(req, true);
    sf_http_submit(w->http, req, got_done, &g);
    got_wait(&g);
    assert_int_equal(g.status, 200);
    assert_int_equal(w->hits, 2);
    got_fini(&g);
}

static void
a_closed_idle_connection_does_no_harm(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    for (int i = 0; i < 10; i++) {
        send_path(w, "POST", "/close-after", false, 5000, &g);
        assert_int_equal(g.status, 200);
        got_sleep(20); /* the end of the connection has arrived by now */
    }
    got_fini(&g);
}

static void
the_memory_of_a_lost_reply_lasts(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    send_path(w, "PUT", "/reset-once", true, 5000, &g);
    assert_int_equal(g.status, 409); /* perhaps to our own first attempt */
    assert_int_equal(g.err.code, 0);
    assert_true(g.err.outcome_open);
    assert_int_equal(g.attempts, 2);
    send_path(w, "GET", "/reset-once", true, 5000, &g);
    assert_int_equal(g.status, 409);
    assert_false(g.err.outcome_open);
    got_fini(&g);
}

static void
a_server_without_expect_gets_the_body_anyway(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    size_t n = 2 << 20;
    char *body = malloc(n);
    memset(body, 'b', n);
    struct sf_http_req *req = sf_http_req_new(w->http, "POST", toy_url(w->toy, "/no-expect"));
    sf_http_req_body(req, body, n);
    sf_http_req_limit(req, 3 << 20);
    sf_http_submit(w->http, req, got_done, &g);
    got_wait(&g);
    assert_int_equal(g.status, 200);
    assert_int_equal(g.body_len, n);
    assert_false(g.err.outcome_open);
    got_fini(&g);
}

/* The rule that keeps files from being damaged, in the midst of every kind of failure. */
static void
no_post_is_ever_carried_out_twice(void **state)
{
    struct world *w = *state;
    static struct got g[OPS];
    memset(g, 0, sizeof g);
    for (int i = 0; i < OPS; i++) {
        char path[32];
        snprintf(path, sizeof path, "/op/%d", i);
        struct sf_http_req *req = sf_http_req_new(w->http, "POST", toy_url(w->toy, path));
        sf_http_req_body(req, strdup("once"), 4);
        sf_http_submit(w->http, req, got_done, &g[i]);
    }
    unsigned open = 0;
    for (int i = 0; i < OPS; i++) {
        got_wait(&g[i]);
        assert_true(w->op[i] <= 1);
        if (g[i].status == 200)
            assert_int_equal(w->op[i], 1);
        else if (!g[i].err.outcome_open)
            assert_int_equal(w->op[i], 0);
        open += g[i].err.outcome_open;
        got_fini(&g[i]);
    }
    assert_true(open >= OPS / 11 * 4);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_classified_reply_is_repeated_with_backoff),
        T(retry_after_is_obeyed),
        T(again_means_at_once_and_once),
        T(a_header_that_cannot_be_added_stops_the_request),
        T(a_refused_connection_is_tried_until_somebody_listens),
        T(a_post_that_lost_its_reply_is_not_sent_again),
        T(a_post_on_a_kept_connection_is_not_sent_again_either),
        T(an_idempotent_request_on_a_kept_connection_is_repeated_at_once),
        T(a_body_from_a_file_is_sent_again_from_its_start),
        T(a_closed_idle_connection_does_no_harm),
        T(the_memory_of_a_lost_reply_lasts),
        T(a_server_without_expect_gets_the_body_anyway),
        T(no_post_is_ever_carried_out_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
