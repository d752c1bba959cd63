/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who is served when, and that a cancel ends a request in every state, from every thread. */
#include "http/http.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/http-got.h"
#include "../lib/toy-server.h"

struct world {
    struct toy *toy;
    struct sf_http *http;
    atomic_int go;
    atomic_uint n;
    char paths[64][32]; /* in the order in which they were served */
    atomic_uint dripped;
};

static enum toy_then
serve(void *arg, int fd, const struct toy_req *rq)
{
    struct world *w = arg;
    unsigned n = w->n++;
    if (n < 64)
        snprintf(w->paths[n], sizeof w->paths[n], "%.31s", rq->path);
    if (!strcmp(rq->path, "/held"))
        while (!w->go && toy_hang(fd, 2))
            ;
    if (!strcmp(rq->path, "/busy"))
        return toy_text(fd, 503, "Retry-After: 30\r\n", "");
    if (!strcmp(rq->path, "/drip")) {
        toy_printf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while (toy_write(fd, "drop", 4) == 0 && toy_hang(fd, 1))
            w->dripped++;
        return TOY_CLOSE;
    }
    return toy_text(fd, 200, NULL, "ok");
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct sf_http_opts opts = {.max_connections = 1, .max_queue = 5};
    w->toy = toy_start(&(struct toy_opts){.serve = serve, .arg = w});
    assert_int_equal(sf_http_new(&opts, &w->http, NULL), 0);
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;
    struct sf_http_stats s;
    if (w->http) {
        sf_http_stats(w->http, &s);
        assert_int_equal(s.active + s.queued + s.waiting_retry, 0);
        assert_int_equal(s.submitted, s.completed);
    }
    sf_http_free(w->http);
    toy_stop(w->toy);
    free(w);
    return 0;
}

static uint64_t
get(struct world *w, const char *path, int priority, struct got *g)
{
    struct sf_http_req *req = sf_http_req_new(w->http, "GET", toy_url(w->toy, path));
    assert_non_null(req);
    sf_http_req_priority(req, priority);
    return sf_http_submit(w->http, req, got_done, g);
}

static void
higher_priority_first_then_in_order(void **state)
{
    static const struct {
        const char *path;
        int priority;
    } sent[] = {{"/low", -1}, {"/a", 0}, {"/high1", 1}, {"/b", 0}, {"/high2", 7}};
    static const char *const served[] = {"/held", "/high1", "/high2", "/a", "/b", "/low"};
    struct world *w = *state;
    struct got g[6] = {0};
    struct sf_http_stats s;
    get(w, "/held", -1, &g[5]);
    assert_true(got_reaches(&w->n, 1));
    for (int i = 0; i < 5; i++)
        get(w, sent[i].path, sent[i].priority, &g[i]);
    got_sleep(50);
    sf_http_stats(w->http, &s);
    assert_int_equal(s.active, 1);
    assert_int_equal(s.queued, 5);
    w->go = 1;
    for (int i = 0; i < 6; i++) {
        got_wait(&g[i]);
        assert_int_equal(g[i].status, 200);
        got_fini(&g[i]);
    }
    for (int i = 0; i < 6; i++)
        assert_string_equal(w->paths[i], served[i]);
    assert_int_equal(toy_counts(w->toy)->connections, 1);
}

static void
a_full_queue_says_eagain_on_the_loop(void **state)
{
    struct world *w = *state;
    struct got g[10] = {0};
    get(w, "/held", 0, &g[0]);
    assert_true(got_reaches(&w->n, 1));
    for (int i = 1; i < 10; i++) {
        g[i].http = w->http;
        get(w, "/x", 0, &g[i]);
    }
    for (int i = 6; i < 10; i++) { /* one runs, five wait */
        got_wait(&g[i]);
        assert_int_equal(g[i].err.code, -EAGAIN);
        assert_true(g[i].err.retryable);
        assert_int_equal(g[i].attempts, 0);
        assert_true(g[i].on_loop);
    }
    w->go = 1;
    for (int i = 0; i < 6; i++) {
        got_wait(&g[i]);
        assert_int_equal(g[i].status, 200);
        got_fini(&g[i]);
    }
}

static void
a_busy_host_does_not_hold_up_another(void **state)
{
    struct world *w = *state;
    struct got held = {0}, other = {0};
    char url[64];
    get(w, "/held", 0, &held);
    assert_true(got_reaches(&w->n, 1));
    snprintf(url, sizeof url, "http://localhost:%d/x", toy_port(w->toy));
    got_get(w->http, url, 5000, &other);
    assert_int_equal(other.status, 200);
    assert_int_equal(held.calls, 0);
    w->go = 1;
    got_wait(&held);
    got_fini(&held);
    got_fini(&other);
}

static void
the_deadline_holds_in_the_queue(void **state)
{
    struct world *w = *state;
    struct got held = {0}, g = {0};
    get(w, "/held", 0, &held);
    assert_true(got_reaches(&w->n, 1));
    got_get(w->http, toy_url(w->toy, "/x"), 100, &g);
    assert_int_equal(g.err.code, -ETIMEDOUT);
    assert_int_equal(g.attempts, 0);
    assert_non_null(strstr(g.err.msg, "no connection became free"));
    w->go = 1;
    got_wait(&held);
    got_fini(&held);
}

/* ---- cancel
 * -------------------------------------------------------------------------------------- */

static void
expect_cancelled(struct got *g, int attempts)
{
    got_wait(g);
    assert_int_equal(g->calls, 1);
    assert_int_equal(g->status, 0);
    assert_int_equal(g->err.code, -ECANCELED);
    assert_false(g->err.outcome_open);
    assert_int_equal(g->attempts, attempts);
    assert_true(g->on_loop);
}

static enum sf_http_verdict
retry_all(void *arg, const struct sf_http_reply *reply)
{
    (void)arg;
    return reply->status == 503 ? SF_HTTP_RETRY : SF_HTTP_FINAL;
}

static void
cancel_in_each_state(void **state)
{
    struct world *w = *state;
    struct got active = {.http = w->http}, queued = {.http = w->http}, waiting = {.http = w->http};
    struct got inbox = {.http = w->http}, done = {.http = w->http};
    struct sf_http_stats s;

    /* just submitted */
    sf_http_cancel(w->http, get(w, "/x", 0, &inbox));
    got_wait(&inbox);
    assert_int_equal(inbox.err.code, -ECANCELED);

    /* waiting for its next attempt */
    struct sf_http_req *req = sf_http_req_new(w->http, "GET", toy_url(w->toy, "/busy"));
    sf_http_req_hooks(req, NULL, retry_all, NULL);
    uint64_t id = sf_http_submit(w->http, req, got_done, &waiting);
    for (int i = 0; i < 400; i++) {
        sf_http_stats(w->http, &s);
        if (s.waiting_retry)
            break;
        got_sleep(5);
    }
    assert_int_equal(s.waiting_retry, 1);
    sf_http_cancel(w->http, id);
    expect_cancelled(&waiting, 1);

    /* under way, and in the queue behind it */
    unsigned before = w->n;
    uint64_t a = get(w, "/held", 0, &active), q = get(w, "/x", 0, &queued);
    assert_true(got_reaches(&w->n, before + 1));
    sf_http_cancel(w->http, q);
    sf_http_cancel(w->http, q);
    expect_cancelled(&queued, 0);
    assert_int_equal(active.calls, 0);
    sf_http_cancel(w->http, a);
    expect_cancelled(&active, 1);

    /* done, and never known */
    uint64_t d = get(w, "/x", 0, &done);
    got_wait(&done);
    assert_int_equal(done.status, 200);
    sf_http_cancel(w->http, d);
    sf_http_cancel(w->http, 0);
    sf_http_cancel(w->http, UINT64_MAX);
    got_fini(&done);
    memset(&done, 0, sizeof done);
    get(w, "/x", 0, &done); /* the place has come back */
    got_wait(&done);
    assert_int_equal(done.status, 200);
    got_fini(&done);
}

static void
a_cancelled_post_says_that_its_outcome_is_open(void **state)
{
    struct world *w = *state;
    struct got g = {0};
    struct sf_http_req *req = sf_http_req_new(w->http, "POST", toy_url(w->toy, "/held"));
    uint64_t id = sf_http_submit(w->http, req, got_done, &g);
    assert_true(got_reaches(&w->n, 1));
    sf_http_cancel(w->http, id);
    got_wait(&g);
    assert_int_equal(g.err.code, -ECANCELED);
    assert_true(g.err.outcome_open);
}

static void
after_a_cancel_the_buffer_is_the_callers_again(void **state)
{
    struct world *w = *state;
    for (int round = 0; round < 10; round++) {
        struct got g = {0};
        size_t size = 100000;
        char *buf = calloc(1, size);
        struct sf_http_req *req = sf_http_req_new(w->http, "GET", toy_url(w->toy, "/drip"));
        sf_http_req_into(req, buf, size);
        w->dripped = 0;
        uint64_t id = sf_http_submit(w->http, req, got_done, &g);
        assert_true(got_reaches(&w->dripped, (unsigned)round + 1));
        sf_http_cancel(w->http, id);
        got_wait(&g);
        assert_int_equal(g.err.code, -ECANCELED);
        memset(buf, '?', size);
        got_sleep(10);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(buf[i], '?');
        free(buf); /* memory checkers would see a late write too */
    }
}

struct chain {
    struct world *w;
    uint64_t victim;
    struct got got;
};

static void
cancel_other(void *arg, const struct sf_http_reply *reply)
{
    struct chain *c = arg;
    if (reply->status != 200)
        abort();
    sf_http_cancel(c->w->http, c->victim);
    if (c->got.calls) /* never from within the cancel */
        abort();
}

static void
a_completion_may_cancel_another_request(void **state)
{
    struct world *w = *state;
    struct chain c = {.w = w, .got = {.http = w->http}};
    struct got held = {0};
    get(w, "/held", 0, &held);
    assert_true(got_reaches(&w->n, 1));
    struct sf_http_req *first = sf_http_req_new(w->http, "GET", toy_url(w->toy, "/x"));
    sf_http_submit(w->http, first, cancel_other, &c);
    c.victim = get(w, "/never", -1, &c.got);
    w->go = 1;
    expect_cancelled(&c.got, 0);
    got_wait(&held);
    got_fini(&held);
}

/* ---- many threads
 * ---------------------------------------------------------------------------------- */

enum { THREADS = 4, EACH = 250 };

struct crowd {
    struct sf_http *http;
    char url[64];
    struct got g[EACH];
    unsigned seed;
};

static void *
crowd_main(void *arg)
{
    struct crowd *c = arg;
    uint64_t ids[EACH];
    for (int i = 0; i < EACH; i++) {
        struct sf_http_req *req = sf_http_req_new(c->http, i % 3 ? "GET" : "POST", c->url);
        sf_http_req_priority(req, i % 3 - 1);
        if (i % 7 == 0)
            sf_http_req_deadline(req, got_now() + rand_r(&c->seed) % 20);
        ids[i] = sf_http_submit(c->http, req, got_done, &c->g[i]);
        if (rand_r(&c->seed) % 3 == 0)
            sf_http_cancel(c->http, ids[rand_r(&c->seed) % (i + 1)]);
    }
    for (int i = 0; i < EACH; i++)
        got_wait(&c->g[i]);
    return NULL;
}

static void
many_threads_submit_and_cancel(void **state)
{
    struct world *w = *state;
    struct sf_http_opts opts = {.max_connections = 10};
    static struct crowd c[THREADS];
    pthread_t t[THREADS];
    struct sf_http_stats s;
    struct sf_http *http;
    memset(c, 0, sizeof c);
    assert_int_equal(sf_http_new(&opts, &http, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        c[i].http = http;
        c[i].seed = i + 1;
        snprintf(c[i].url, sizeof c[i].url, "%s", toy_url(w->toy, "/x"));
        assert_int_equal(pthread_create(&t[i], NULL, crowd_main, &c[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    sf_http_stats(http, &s);
    assert_int_equal(s.submitted, THREADS * EACH);
    assert_int_equal(s.completed, THREADS * EACH);
    assert_int_equal(s.active + s.queued + s.waiting_retry, 0);
    sf_http_free(http);
    for (int i = 0; i < THREADS; i++) {
        for (int k = 0; k < EACH; k++) {
            const struct got *g = &c[i].g[k];
            assert_int_equal(g->calls, 1);
            assert_true(g->status == 200 || g->err.code == -ECANCELED || g->err.code == -ETIMEDOUT);
            got_fini(&c[i].g[k]);
        }
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(higher_priority_first_then_in_order),
        T(a_full_queue_says_eagain_on_the_loop),
        T(a_busy_host_does_not_hold_up_another),
        T(the_deadline_holds_in_the_queue),
        T(cancel_in_each_state),
        T(a_cancelled_post_says_that_its_outcome_is_open),
        T(after_a_cancel_the_buffer_is_the_callers_again),
        T(a_completion_may_cancel_another_request),
        T(many_threads_submit_and_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
