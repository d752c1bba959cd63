/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Bodies that come piece by piece, from another thread: they arrive whole, rest without harm, and
 * are never sent twice. */
#include "http/http.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/http-got.h"
#include "../lib/toy-server.h"

enum { STALL = 1000 };

struct world {
    struct toy *toy;
    struct sf_http *http;
    atomic_uint hits;
    atomic_uint heads;
};

static enum toy_then
head(void *arg, int fd, const struct toy_req *rq)
{
    struct world *w = arg;
    char some[1024];
    w->heads++;
    if (!strcmp(rq->path, "/refuse")) {
        toy_text(fd, 401, NULL, "no key");
        toy_hang(fd, 20000);
        return TOY_CLOSE;
    }
    if (!strcmp(rq->path, "/cut")) { /* takes some of the body, and is gone */
        if (!rq->early)
            (void)!read(fd, some, sizeof some);
        return TOY_RESET;
    }
    return TOY_KEEP;
}

static enum toy_then
serve(void *arg, int fd, const struct toy_req *rq)
{
    struct world *w = arg;
    w->hits++;
    if (!strcmp(rq->path, "/busy"))
        return toy_text(fd, 503, NULL, "busy");
    return toy_reply(fd, 200, NULL, rq->body, rq->body_len);
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct sf_http_opts opts = {.max_connections = 4, .backoff_min_ms = 20, .stall_ms = STALL};
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

/* ---- a source that another thread fills ------------------------------------------------------ */

struct feed {
    pthread_mutex_t lock;
    size_t have, taken; /* bytes brought so far, and given */
    int error;          /* told when all that was brought is given */
    atomic_uint asked;
    atomic_bool over; /* the completion has run: nobody may ask any more */
};

static char
byte_at(size_t i)
{
    return (char)(i * 31 + (i >> 9));
}

static ssize_t
take(void *arg, char *buf, size_t n)
{
    struct feed *f = arg;
    f->asked++;
    if (f->over)
        abort();
    pthread_mutex_lock(&f->lock);
    size_t left = f->have - f->taken;
    if (n > left)
        n = left;
    for (size_t i = 0; i < n; i++)
        buf[i] = byte_at(f->taken + i);
    f->taken += n;
    ssize_t rc = n || !f->error ? (ssize_t)n : f->error;
    pthread_mutex_unlock(&f->lock);
    return rc;
}

static void
bring(struct world *w, struct feed *f, uint64_t id, size_t n, int error)
{
    pthread_mutex_lock(&f->lock);
    f->have += n;
    f->error = error;
    pthread_mutex_unlock(&f->lock);
    sf_http_req_resume(w->http, id);
}

static struct sf_http_req *
post(struct world *w, const char *path, size_t len, struct feed *f)
{
    struct sf_http_req *req = sf_http_req_new(w->http, "POST", toy_url(w->toy, path));
    sf_http_req_body_source(req, len, take, f);
    sf_http_req_limit(req, 64 << 20);
    sf_http_req_deadline(req, got_now() + 20000);
    return req;
}

#define FEED                                                                                       \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                          \
    }

static void
pieces_of_any_size_arrive_in_their_frame(void **state)
{
    enum { LEN = 700001 };
    struct world *w = *state;
    struct feed f = FEED;
    struct got g = {0};
    _Atomic uint64_t sent = 0;
    struct sf_http_req *req = post(w, "/echo", LEN, &f);
    sf_http_req_body_frame(req, strdup("head-"), 5, strdup("-tail"), 5);
    sf_http_req_progress(req, &sent, 0);
    uint64_t id = sf_http_submit(w->http, req, got_done, &g);
    size_t step = 1;
    for (size_t at = 0; at < LEN; at += step, step = step * 7 % 65537 + 1) {
        if (step > LEN - at)
            step = LEN - at;
        bring(w, &f, id, step, 0);
    }
    got_wait(&g);
    f.over = true;
    assert_int_equal(g.status, 200);
    assert_int_equal(g.body_len, LEN + 10);
    assert_memory_equal(g.body, "head-", 5);
    assert_memory_equal(g.body + 5 + LEN, "-tail", 5);
    for (size_t i = 0; i < LEN; i++)
        if (g.body[5 + i] != byte_at(i))
            fail_msg("byte %zu", i);
    assert_int_equal(sent, LEN + 10);
    assert_int_equal(w->hits, 1);
    got_fini(&g);
    /* Of one that has ended, or never was. */
    sf_http_req_resume(w->http, id);
    sf_http_req_resume(w->http, 12345);
}

static void
a_source_without_bytes_is_no_stall(void **state)
{
    struct world *w = *state;
    struct feed f = FEED;
    struct got g = {0};
    uint64_t id = sf_http_submit(w->http, post(w, "/echo", 100, &f), got_done, &g);
    for (int i = 0; i < 4; i++) {
        bring(w, &f, id, 25, 0);
        got_sleep(i < 3 ? STALL + 150 : 0);
    }
    got_wait(&g);
    f.over = true;
    assert_int_equal(g.status, 200);
    assert_int_equal(g.body_len, 100);
    assert_int_equal(g.attempts, 1);
    got_fini(&g);
    /* It is not asked over and over meanwhile. */
    assert_in_range(f.asked, 4, 12);
}

static void
the_sources_error_is_the_requests(void **state)
{
    struct world *w = *state;
    struct feed f = FEED;
    struct got g = {0};
    uint64_t id = sf_http_submit(w->http, post(w, "/echo", 100, &f), got_done, &g);
    bring(w, &f, id, 50, 0);
    got_sleep(50);
    bring(w, &f, id, 0, -ESTALE);
    got_wait(&g);
    f.over = true;
    assert_int_equal(g.status, 0);
    assert_int_equal(g.err.code, -ESTALE);
    assert_int_equal(g.attempts, 1);
    assert_int_equal(w->hits, 0);
}

static void
a_refusal_is_heard_while_the_source_rests(void **state)
{
    struct world *w = *state;
    struct feed f = FEED;
    struct got g = {0};
    int64_t t0 = got_now();
    sf_http_submit(w->http, post(w, "/refuse", 1000, &f), got_done, &g);
    got_wait(&g);
    f.over = true;
    assert_int_equal(g.status, 401);
    assert_string_equal(g.body, "no key");
    assert_true(got_now() - t0 < 10000);
    got_fini(&g);
}

static void
what_a_source_gave_is_not_sent_again(void **state)
{
    static const bool idempotent[] = {false, true};
    struct world *w = *state;
    for (int i = 0; i < 2; i++) {
        struct feed f = FEED;
        struct got g = {0};
        struct sf_http_req *req = post(w, "/cut", 1000, &f);
        sf_http_req_idempotent(req, idempotent[i]);
        f.have = 500;
        w->heads = 0;
        sf_http_submit(w->http, req, got_done, &g);
        got_wait(&g);
        f.over = true;
        assert_int_equal(g.status, 0);
        assert_int_not_equal(g.err.code, 0);
        assert_true(g.err.outcome_open);
        assert_int_equal(w->heads, 1);
        assert_int_equal(g.attempts, 1);
    }
}

static enum sf_http_verdict
always_again(void *arg, const struct sf_http_reply *reply)
{
    (void)reply;
    return *(const enum sf_http_verdict *)arg;
}

static void
a_classifier_cannot_have_it_sent_again(void **state)
{
    static enum sf_http_verdict verdicts[] = {SF_HTTP_RETRY, SF_HTTP_AGAIN};
    struct world *w = *state;
    for (int i = 0; i < 2; i++) {
        struct feed f = FEED;
        struct got g = {0};
        struct sf_http_req *req = post(w, "/busy", 10, &f);
        sf_http_req_hooks(req, NULL, always_again, &verdicts[i]);
        f.have = 10;
        w->hits = 0;
        sf_http_submit(w->http, req, got_done, &g);
        got_wait(&g);
        f.over = true;
        assert_int_equal(g.status, 503);
        assert_int_equal(w->hits, 1);
        got_fini(&g);
    }
}

static void
before_the_first_byte_it_may_be_repeated(void **state)
{
    static const bool once[] = {false, true};
    struct world *w = *state;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", toy_dead_port());
    for (int i = 0; i < 2; i++) {
        struct feed f = FEED;
        struct got g = {0};
        struct sf_http_req *req = sf_http_req_new(w->http, "POST", url);
        sf_http_req_body_source(req, 10, take, &f);
        sf_http_req_deadline(req, got_now() + 1000);
        if (once[i])
            sf_http_req_once(req);
        sf_http_submit(w->http, req, got_done, &g);
        got_wait(&g);
        assert_int_equal(g.err.code, -ECONNREFUSED);
        assert_false(g.err.outcome_open);
        assert_int_equal(f.asked, 0);
        if (once[i])
            assert_int_equal(g.attempts, 1);
        else
            assert_true(g.attempts > 1);
    }
}

static void
one_that_rests_can_be_cancelled_and_has_a_deadline(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 2; i++) {
        struct feed f = FEED;
        struct got g = {0};
        struct sf_http_req *req = post(w, "/echo", 1000, &f);
        f.have = 10;
        sf_http_req_deadline(req, got_now() + (i ? 20000 : 2000));
        uint64_t id = sf_http_submit(w->http, req, got_done, &g);
        assert_true(got_reaches(&f.asked, 2));
        if (i) {
            sf_http_req_resume(w->http, id);
            sf_http_cancel(w->http, id);
        }
        got_wait(&g);
        f.over = true;
        sf_http_req_resume(w->http, id);
        assert_int_equal(g.err.code, i ? -ECANCELED : -ETIMEDOUT);
        assert_int_equal(g.calls, 1);
    }
    struct got g = {0};
    got_get(w->http, toy_url(w->toy, "/echo"), 5000, &g);
    assert_int_equal(g.status, 200);
    got_fini(&g);
}

/* ---- many at once ---------------------------------------------------------------------------- */

struct one {
    struct world *w;
    struct feed feed;
    struct got got;
    uint64_t id;
    unsigned nr;
};

static void *
feed_one(void *arg)
{
    struct one *o = arg;
    for (size_t at = 0; at < 40000; at += 1000)
        bring(o->w, &o->feed, o->id, 1000, o->nr % 5 == 3 && at == 20000 ? -EIO : 0);
    if (o->nr % 5 == 4)
        sf_http_cancel(o->w->http, o->id);
    return NULL;
}

static void
many_at_once_each_end_once(void **state)
{
    enum { N = 40 };
    struct world *w = *state;
    static struct one all[N];
    pthread_t threads[N];
    memset(all, 0, sizeof all);
    for (unsigned i = 0; i < N; i++) {
        all[i].w = w;
        all[i].nr = i;
        pthread_mutex_init(&all[i].feed.lock, NULL);
        all[i].id =
            sf_http_submit(w->http, post(w, "/echo", 40000, &all[i].feed), got_done, &all[i].got);
        assert_int_equal(pthread_create(&threads[i], NULL, feed_one, &all[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        got_wait(&all[i].got);
        assert_int_equal(all[i].got.calls, 1);
        if (i % 5 < 3) {
            assert_int_equal(all[i].got.status, 200);
            assert_int_equal(all[i].got.body_len, 40000);
        }
        got_fini(&all[i].got);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(pieces_of_any_size_arrive_in_their_frame),
        T(a_source_without_bytes_is_no_stall),
        T(the_sources_error_is_the_requests),
        T(a_refusal_is_heard_while_the_source_rests),
        T(what_a_source_gave_is_not_sent_again),
        T(a_classifier_cannot_have_it_sent_again),
        T(before_the_first_byte_it_may_be_repeated),
        T(one_that_rests_can_be_cancelled_and_has_a_deadline),
        T(many_at_once_each_end_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
