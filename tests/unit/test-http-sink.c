/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Replies that are handed on piece by piece: at once, in order, held back when asked, and never
 * begun again. */
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

enum { STALL = 1000, LARGE = 16 << 20, PIECE = 16 << 10 };

/* What a sink has got, and what it does. */
struct sink {
    uint64_t id;
    size_t len;
    atomic_size_t seen; /* len, for other threads */
    char first[64];
    size_t hold_at; /* take no more from here on; SIZE_MAX = never */
    atomic_bool go; /* no holding any more */
    size_t fail_at; /* likewise: -EILSEQ */
    size_t enough_at;
    atomic_uint held, calls;
    atomic_bool over, wrong;
    int status;
    char header[32];
};

struct world {
    struct toy *toy;
    struct sf_http *http;
    struct sink sinks[2];
    struct sink *_Atomic sink; /* the last one */
    unsigned n_sinks;
    atomic_uint hits;
    atomic_size_t sent;
    atomic_bool go;
};

static char
byte_at(size_t i)
{
    return (char)('a' + (i * 7 + (i >> 10)) % 26);
}

static int
on_piece(void *arg, const struct sf_http_reply *head, const char *data, size_t n)
{
    struct sink *s = arg;
    s->calls++;
    if (s->over)
        abort();
    if (s->len >= s->hold_at && !s->go) {
        s->held++;
        return -EAGAIN;
    }
    if (s->len >= s->fail_at) {
        s->fail_at = SIZE_MAX; /* it is not asked once more */
        return -EILSEQ;
    }
    for (size_t i = 0; i < n; i++)
        if (data[i] != byte_at(s->len + i))
            s->wrong = true;
    s->len += n;
    s->seen = s->len;
    s->status = head->status;
    const char *v = sf_http_reply_header(head, "x-toy");
    snprintf(s->header, sizeof s->header, "%s", v ? v : "");
    return s->len >= s->enough_at ? SF_HTTP_ENOUGH : 0;
}

static struct sink *
sink_of(struct world *w)
{
    struct sink *s = &w->sinks[w->n_sinks++];
    s->hold_at = s->fail_at = s->enough_at = SIZE_MAX;
    w->sink = s;
    return s;
}

static int
write_some(struct world *w, int fd, size_t *pos, size_t n)
{
    char some[PIECE];
    for (size_t i = 0; i < n; i++)
        some[i] = byte_at(*pos + i);
    w->sent = *pos += n;
    return toy_write(fd, some, n);
}

static enum toy_then
serve(void *arg, int fd, const struct toy_req *rq)
{
    struct world *w = arg;
    unsigned hit = ++w->hits;
    const char *path = rq->path;
    size_t pos = 0;
    if (!strcmp(path, "/held"))
        while (!w->go && toy_hang(fd, 2))
            ;
    if (!strcmp(path, "/held"))
        return toy_text(fd, 200, NULL, "ok");
    if (!strcmp(path, "/error"))
        return toy_text(fd, 500, NULL, "why");
    if (!strcmp(path, "/late") && !toy_hang(fd, 600))
        return TOY_CLOSE;
    if (!strcmp(path, "/early-reset") && hit == 1)
        return TOY_RESET;
    toy_printf(fd, "HTTP/1.1 200 OK\r\nX-Toy: yes\r\nContent-Length: %d\r\n\r\n", LARGE);
    if (!strcmp(path, "/large"))
        while (pos < LARGE && write_some(w, fd, &pos, PIECE) == 0)
            ;
    if (!strcmp(path, "/each")) /* the next one when the last one was seen */
        for (size_t i = 1; i <= 20 && write_some(w, fd, &pos, i) == 0; i++)
            while (w->sink->seen < pos && toy_hang(fd, 1))
                ;
    if (strcmp(path, "/large") && strcmp(path, "/each"))
        write_some(w, fd, &pos, 10);
    if (!strcmp(path, "/hang") || !strcmp(path, "/late"))
        toy_hang(fd, 20000);
    if (!strcmp(path, "/reset") || !strcmp(path, "/each")) {
        while (!w->sink->seen && toy_hang(fd, 1))
            ;
        return TOY_RESET;
    }
    return TOY_CLOSE;
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct sf_http_opts opts = {.max_connections = 1, .backoff_min_ms = 20, .stall_ms = STALL};
    w->toy = toy_start(&(struct toy_opts){.serve = serve, .arg = w, .rcvbuf = 4096});
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

static struct sf_http_req *
request(struct world *w, const char *method, const char *path, struct sink *s)
{
    struct sf_http_req *req = sf_http_req_new(w->http, method, toy_url(w->toy, path));
    sf_http_req_sink(req, on_piece, s);
    sf_http_req_deadline(req, got_now() + 20000);
    return req;
}

static void
finish(struct sink *s, struct got *g)
{
    got_wait(g);
    s->over = true;
    assert_false(s->wrong);
    assert_int_equal(g->calls, 1);
    assert_null(g->status == 200 ? g->body : NULL);
    got_fini(g);
}

static void
pieces_are_handed_on_when_they_come(void **state)
{
    struct world *w = *state;
    struct sink *s = sink_of(w);
    struct got g = {0};
    sf_http_submit(w->http, request(w, "GET", "/each", s), got_done, &g);
    finish(s, &g);
    assert_int_equal(s->len, 210);
    assert_true(s->calls >= 20);
    assert_int_equal(s->status, 200);
    assert_string_equal(s->header, "yes");
    assert_int_equal(g.status, 0); /* it was cut; what came counts all the same */
    assert_int_equal(g.attempts, 1);
}

static void
other_replies_are_kept(void **state)
{
    struct world *w = *state;
    struct sink *s = sink_of(w);
    struct got g = {0};
    sf_http_submit(w->http, request(w, "GET", "/error", s), got_done, &g);
    got_wait(&g);
    assert_int_equal(g.status, 500);
    assert_string_equal(g.body, "why");
    assert_int_equal(s->calls, 0);
    got_fini(&g);
}

/* Far more than the buffers between hold; and holding is no stall. */
static void
what_is_held_back_stays_with_the_server(void **state)
{
    struct world *w = *state;
    struct sink *s = sink_of(w);
    struct got g = {0};
    s->hold_at = 100000;
    s->id = sf_http_submit(w->http, request(w, "GET", "/large", s), got_done, &g);
    got_reaches(&s->held, 1);
    got_sleep(2 * STALL + 300);
    size_t before = w->sent;
    assert_true(before < LARGE);
    assert_true(s->seen <= 100000 + 2 * PIECE);
    sf_http_req_resume(w->http, s->id); /* still not wanted */
    got_reaches(&s->held, 2);
    assert_int_equal(g.calls, 0);
    s->go = true;
    sf_http_req_resume(w->http, s->id);
    finish(s, &g);
    assert_int_equal(s->len, LARGE);
    assert_int_equal(g.status, 200);
    assert_int_equal(w->hits, 1);
}

static void
a_sink_may_end_it(void **state)
{
    struct world *w = *state;
    struct sink *s = sink_of(w);
    struct got g = {0}, late = {0};
    s->fail_at = 50000;
    sf_http_submit(w->http, request(w, "GET", "/large", s), got_done, &g);
    finish(s, &g);
    assert_int_equal(g.err.code, -EILSEQ);
    assert_int_equal(g.attempts, 1);
    /* Also with what it did not take at first. */
    s = sink_of(w);
    s->hold_at = s->fail_at = 50000;
    s->id = sf_http_submit(w->http, request(w, "GET", "/large", s), got_done, &late);
    got_reaches(&s->held, 1);
    s->go = true;
    sf_http_req_resume(w->http, s->id);
    finish(s, &late);
    assert_int_equal(late.err.code, -EILSEQ);
}

static void
enough_is_enough(void **state)
{
    struct world *w = *state;
    struct sink *s = sink_of(w);
    struct got g = {0};
    struct sf_http_stats stats;
    s->enough_at = 10;
    int64_t begun = got_now();
    sf_http_submit(w->http, request(w, "GET", "/hang", s), got_done, &g);
    finish(s, &g);
    int64_t took = got_now() - begun;
    assert_in_range(took, 800, 4000);
    assert_int_equal(g.err.code, -ETIMEDOUT);
    sf_http_stats(w->http, &stats);
    assert_string_equal(stats.last_error, ""); /* no failure of the server's */
}

static void
it_has_limits_of_its_own(void **state)
{
    struct world *w = *state;
    struct sink *s = sink_of(w);
    struct got idle = {0}, first = {0}, fine = {0};
    struct sf_http_req *req = request(w, "POST", "/hang", s);
    sf_http_req_idle(req, 0, 200);
    int64_t begun = got_now();
    sf_http_submit(w->http, req, got_done, &idle);
    got_wait(&idle);
    assert_int_equal(idle.err.code, -ETIMEDOUT);
    assert_true(got_now() - begun < STALL);

    req = request(w, "POST", "/late", s);
    sf_http_req_idle(req, 200, 100000);
    sf_http_submit(w->http, req, got_done, &first);
    got_wait(&first);
    assert_int_equal(first.err.code, -ETIMEDOUT);

    s->len = 0;
    s->enough_at = 10;
    req = request(w, "POST", "/late", s); /* the first byte may take longer than others */
    sf_http_req_idle(req, 0, 200);
    sf_http_submit(w->http, req, got_done, &fine);
    got_wait(&fine);
    assert_int_equal(s->len, 10);
    got_fini(&idle);
    got_fini(&first);
    got_fini(&fine);
}

static void
nothing_is_handed_on_twice(void **state)
{
    struct world *w = *state;
    struct sink *s = sink_of(w);
    struct got g = {0}, again = {0};
    sf_http_submit(w->http, request(w, "GET", "/reset", s), got_done, &g);
    finish(s, &g);
    assert_int_equal(s->len, 10);
    assert_int_equal(g.attempts, 1);
    assert_int_equal(w->hits, 1);
    /* Before the first byte it is repeated like any other. */
    s = sink_of(w);
    w->hits = 0;
    s->enough_at = 10;
    sf_http_submit(w->http, request(w, "GET", "/early-reset", s), got_done, &again);
    finish(s, &again);
    assert_int_equal(s->len, 10);
    assert_int_equal(again.attempts, 2);
}

/* With one connection for all. */
static void
those_that_bound_themselves_stand_in_nobodys_way(void **state)
{
    enum { MANY = 8 };
    struct world *w = *state;
    struct got g[MANY] = {{0}}, normal = {0}, second = {0};
    for (int i = 0; i < MANY; i++) {
        struct sf_http_req *req = sf_http_req_new(w->http, "GET", toy_url(w->toy, "/held"));
        sf_http_req_unbounded(req);
        sf_http_submit(w->http, req, got_done, &g[i]);
    }
    assert_true(got_reaches(&w->hits, MANY));
    sf_http_submit(w->http, sf_http_req_new(w->http, "GET", toy_url(w->toy, "/held")), got_done,
                   &normal);
    assert_true(got_reaches(&w->hits, MANY + 1));
    sf_http_submit(w->http, sf_http_req_new(w->http, "GET", toy_url(w->toy, "/held")), got_done,
                   &second);
    got_sleep(100);
    assert_int_equal(w->hits, MANY + 1); /* the others are counted as ever */
    w->go = true;
    for (int i = 0; i < MANY; i++) {
        got_wait(&g[i]);
        assert_int_equal(g[i].status, 200);
        got_fini(&g[i]);
    }
    got_wait(&normal);
    got_wait(&second);
    assert_int_equal(second.status, 200);
    got_fini(&normal);
    got_fini(&second);
}

static void
one_that_rests_can_be_cancelled(void **state)
{
    struct world *w = *state;
    struct sink *s = sink_of(w);
    struct got g = {0};
    s->hold_at = 1;
    s->id = sf_http_submit(w->http, request(w, "GET", "/large", s), got_done, &g);
    got_reaches(&s->held, 1);
    sf_http_cancel(w->http, s->id);
    finish(s, &g);
    assert_int_equal(g.err.code, -ECANCELED);
    sf_http_req_resume(w->http, s->id); /* of one that has ended: nothing */
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(pieces_are_handed_on_when_they_come),
        T(other_replies_are_kept),
        T(what_is_held_back_stays_with_the_server),
        T(a_sink_may_end_it),
        T(enough_is_enough),
        T(it_has_limits_of_its_own),
        T(nothing_is_handed_on_twice),
        T(those_that_bound_themselves_stand_in_nobodys_way),
        T(one_that_rests_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
