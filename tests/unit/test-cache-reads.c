/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reads through the cache in memory (cache/cache.h): what is fetched, once, within the budget. */
#include "base/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache-fixture.h"

/* ---- tests --------------------------------------------------------------------------------------
 */

static void
a_second_read_needs_nothing(void **state)
{
    (void)state;
    begin_with(8 << 20);
    struct sf_cached *c = content("e", 5000);
    struct sf_stream *s = stream(c, NULL);
    struct got g;
    assert_int_not_equal(ask(s, 0, 4096, &g), 0);
    assert_int_equal(g.calls, 0);
    assert_int_equal(net.n, 1);
    assert_int_equal(net.calls[0].len, 5000);
    assert_int_equal(net.calls[0].priority, 1);
    answer(0, 0);
    OK(g, 4096);
    assert_int_equal(ask(s, 4096, 4096, &g), 0);
    OK(g, 904);
    ask(s, 5000, 1, &g);
    OK(g, 0);
    ask(s, 0, 0, &g);
    OK(g, 0);
    sf_stream_free(s);
    assert_int_equal(net.dropped, 1);
    sf_cached_unref(c);
    /* nobody has it open: its bytes are found again */
    c = content("e", 5000);
    s = stream(c, NULL);
    assert_int_equal(ask(s, 0, 5000, &g), 0);
    OK(g, 5000);
    assert_int_equal(net.n, 1);
    sf_stream_free(s);
    sf_cached_unref(c);
    /* another version has other bytes */
    c = content("f", 5000);
    assert_int_equal(sf_cached_here(c), 0);
    sf_cached_unref(c);
    finish();
}

static void
a_hundred_readers_make_one_fetch(void **state)
{
    (void)state;
    begin_with(8 << 20);
    struct sf_cached *c = content("e", 30000);
    struct sf_stream *s[100];
    struct got g[100];
    for (int i = 0; i < 100; i++) {
        s[i] = stream(c, NULL);
        ask(s[i], (uint64_t)i * 100, 1000, &g[i]);
    }
    assert_int_equal(net.n, 1);
    answer(0, 0);
    for (int i = 0; i < 100; i++) {
        OK(g[i], 1000);
        sf_stream_free(s[i]);
    }
    assert_int_equal(net.dropped, 100);
    sf_cached_unref(c);
    finish();
}

static void
a_joined_fetch_that_fails_is_tried_by_each_stream(void **state)
{
    (void)state;
    begin_with(8 << 20);
    struct sf_cached *c = content("e", 30000);
    int names[3];
    struct sf_stream *s[3];
    struct got g[3];
    for (int i = 0; i < 3; i++) {
        s[i] = stream(c, &names[i]);
        ask(s[i], 0, 1000, &g[i]);
    }
    assert_int_equal(net.n, 1);
    answer(0, -ESTALE); /* the name of the first is no more */
    FAILED(g[0], -ESTALE);
    assert_int_equal(net.n, 2);
    void *second = net.calls[1].what;
    assert_true(second == &names[1] || second == &names[2]);
    answer(1, -ESTALE);
    assert_int_equal(net.n, 3);
    assert_true(net.calls[2].what != second && net.calls[2].what != &names[0]);
    answer(2, 0);
    int ok = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(g[i].calls, 1);
        ok += g[i].err == 0;
        sf_stream_free(s[i]);
    }
    assert_int_equal(ok, 1);
    sf_cached_unref(c);
    finish();
}

static void
a_dead_service_is_not_asked_by_each_reader_in_turn(void **state)
{
    (void)state;
    begin_with(8 << 20);
    struct sf_cached *c = content("e", 30000);
    struct sf_stream *s[50];
    struct got g[50];
    for (int i = 0; i < 50; i++) {
        s[i] = stream(c, NULL);
        ask(s[i], 0, 1000, &g[i]);
    }
    answer_all(-EIO);
    answer_all(-EIO);
    assert_int_equal(net.n, 2);
    for (int i = 0; i < 50; i++) {
        FAILED(g[i], -EIO);
        sf_stream_free(s[i]);
    }
    sf_cached_unref(c);
    finish();
}

static void
a_read_that_is_tried_again_keeps_what_it_waits_for(void **state)
{
    (void)state;
    begin_with(8 << 20);
    struct sf_cached *c = content("e", 10 << 20);
    struct sf_stream *a = stream(c, NULL), *b = stream(c, NULL), *both = stream(c, NULL);
    struct got ga, gb, gboth;
    const uint64_t at = 5 << 20, half = 64 << 10;
    ask(a, at, 4096, &ga);
    ask(b, at + half, 4096, &gb);
    ask(both, at + half - 4096, 8192, &gboth);
    assert_int_equal(net.n, 2);
    answer(0, -ESTALE);
    answer(1, -ESTALE);
    FAILED(ga, -ESTALE);
    FAILED(gb, -ESTALE);
    assert_int_equal(net.n, 4);
    for (unsigned i = 0; i < net.n; i++)
        assert_false(net.calls[i].cancelled);
    answer_all(0);
    OK(gboth, 8192);
    sf_stream_free(a);
    sf_stream_free(b);
    sf_stream_free(both);
    sf_cached_unref(c);
    finish();
}

static void
a_cancelled_read_ends_what_only_it_wanted(void **state)
{
    (void)state;
    begin_with(8 << 20);
    struct sf_cached *c = content("e", 30000);
    struct sf_stream *a = stream(c, NULL), *b = stream(c, NULL);
    struct got ga, gb;
    uint64_t ia = ask(a, 0, 10, &ga), ib = ask(b, 0, 10, &gb);
    sf_cache_cancel(net.cache, ia);
    FAILED(ga, -ECANCELED);
    assert_int_equal(net.open, 1);
    sf_cache_cancel(net.cache, ib);
    FAILED(gb, -ECANCELED);
    assert_int_equal(net.open, 0);
    assert_true(net.calls[0].cancelled);
    sf_cache_cancel(net.cache, ib);
    assert_int_equal(gb.calls, 1);
    /* and it can be read afterwards */
    ask(a, 0, 10, &ga);
    answer_all(0);
    OK(ga, 10);
    sf_stream_free(a);
    sf_stream_free(b);
    sf_cached_unref(c);
    finish();
}

static void
a_dead_service_takes_no_more_than_the_budget(void **state)
{
    (void)state;
    begin_with(8 << 20);
    struct sf_cached *c = content("e", UINT64_C(1) << 40);
    static struct sf_stream *s[1000];
    static struct got g[1000];
    for (uint64_t i = 0; i < 1000; i++) {
        s[i] = stream(c, NULL);
        ask(s[i], i << 30, 128 << 10, &g[i]);
    }
    struct sf_cache_stats st;
    sf_cache_get_stats(net.cache, &st);
    assert_int_equal(st.waiting, 1000);
    assert_true(st.waiting_memory > 900);
    assert_true(st.memory <= 8 << 20);
    /* it comes back: all get their bytes */
    while (net.open)
        answer_all(0);
    for (int i = 0; i < 1000; i++) {
        OK(g[i], 128 << 10);
        sf_stream_free(s[i]);
    }
    sf_cached_unref(c);
    finish();
}

static void
a_read_that_waits_for_memory_is_cancelled(void **state)
{
    (void)state;
    begin_with(4 << 20);
    struct sf_cached *c = content("e", UINT64_C(1) << 40);
    struct sf_stream *s[6];
    struct got g[6];
    uint64_t id[6];
    for (uint64_t i = 0; i < 6; i++) {
        s[i] = stream(c, NULL);
        id[i] = ask(s[i], (i + 1) << 30, 1 << 20, &g[i]);
    }
    assert_int_equal(net.n, 4);
    sf_cache_cancel(net.cache, id[4]);
    FAILED(g[4], -ECANCELED);
    assert_int_equal(net.n, 4);
    sf_cache_cancel(net.cache, id[0]); /* its memory is what the last one waits for */
    FAILED(g[0], -ECANCELED);
    assert_int_equal(net.n, 5);
    answer_all(0);
    OK(g[1], 1 << 20);
    OK(g[5], 1 << 20);
    for (int i = 0; i < 6; i++)
        sf_stream_free(s[i]);
    sf_cached_unref(c);
    finish();
}

static void
stop_ends_reads_and_fetches(void **state)
{
    (void)state;
    begin_with(4 << 20);
    struct sf_cached *c = content("e", UINT64_C(1) << 40);
    struct sf_stream *s[20];
    struct got g[20], late;
    for (uint64_t i = 0; i < 20; i++) {
        s[i] = stream(c, NULL);
        ask(s[i], i << 30, 1 << 20, &g[i]);
    }
    sf_cache_stop(net.cache);
    assert_int_equal(net.open, 0);
    unsigned n = net.n;
    ask(s[0], 1 << 20, 1, &late);
    FAILED(late, -ECANCELED);
    assert_int_equal(net.n, n);
    for (int i = 0; i < 20; i++) {
        FAILED(g[i], -ECANCELED);
        sf_stream_free(s[i]);
    }
    sf_cached_unref(c);
    finish();
}

static void
another_name_leads_to_the_same_bytes(void **state)
{
    (void)state;
    begin_with(8 << 20);
    struct sf_cached *c, *d;
    char bytes[1000];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = byte_at(i);
    assert_int_equal(sf_cached_new(net.cache, sizeof bytes, &c), 0);
    sf_cached_put_wait(c, 0, bytes, sizeof bytes);
    struct sf_cache_key one = {"b", "id", "one", sizeof bytes},
                        two = {"b", "id2", "two", sizeof bytes},
                        longer = {"b", "id2", "two", sizeof bytes + 1};
    sf_cached_name(c, &one);
    sf_cached_name(c, &longer);
    sf_cached_unref(c);
    sf_cache_alias(net.cache, &one, &two);
    sf_cache_alias(net.cache, &one, &longer);
    assert_int_equal(sf_cached_get(net.cache, &two, &d), 0);
    assert_ptr_equal(c, d);
    char back[1000];
    assert_int_equal(sf_cached_peek_wait(d, 0, back, sizeof back), 0);
    assert_memory_equal(bytes, back, sizeof back);
    assert_int_equal(sf_cached_peek_wait(d, 1, back, sizeof back), -ENODATA);
    sf_cached_unref(d);
    assert_int_equal(sf_cached_get(net.cache, &longer, &d), 0);
    assert_ptr_not_equal(c, d);
    sf_cached_unref(d);
    finish();
}

static void
a_prefetch_fills_and_refuses(void **state)
{
    (void)state;
    begin_with(4 << 20);
    struct sf_cached *c = content("e", 1 << 30);
    struct sf_stream *s = stream(c, NULL);
    assert_int_equal(sf_stream_prefetch(s, 0, 1 << 20, NULL, NULL), 0);
    assert_int_equal(sf_stream_prefetch(s, 1 << 20, 1 << 20, NULL, NULL), 0);
    assert_int_equal(sf_stream_prefetch(s, 2 << 20, 1 << 20, NULL, NULL), 0);
    assert_int_equal(sf_stream_prefetch(s, 3 << 20, 1 << 20, NULL, NULL), -EAGAIN);
    assert_int_equal(net.n, 3);
    assert_int_equal(net.calls[0].priority, -1);
    struct got g, h;
    ask(s, 0, 4096, &g);
    ask(s, 3 << 20, 1 << 20, &h); /* who waits gets memory */
    assert_int_equal(net.n, 4);
    answer_all(0);
    OK(g, 4096);
    OK(h, 1 << 20);
    sf_stream_free(s);
    sf_cached_unref(c);
    finish();
}

/* ---- many threads -------------------------------------------------------------------------------
 */

static struct {
    struct sf_pool *pool;
    _Atomic unsigned seed;
} live;

struct job {
    struct call call;
};

static void
live_answer(void *p)
{
    struct job *j = p;
    unsigned r = atomic_fetch_add(&live.seed, 1);
    struct sf_err err = {.code = -EIO, .retryable = true};
    bool ok = r % 17 != 0;
    for (size_t k = 0; ok && k < j->call.len; k++)
        j->call.buf[k] = byte_at(j->call.off + k);
    j->call.done(j->call.arg, ok ? NULL : &err, ok ? j->call.len : 0);
    free(j);
}

static uint64_t
live_fetch(void *arg, void *what, uint64_t off, size_t len, char *buf, int priority,
           sf_fetched_fn done, void *done_arg)
{
    (void)arg;
    (void)what;
    struct job *j = calloc(1, sizeof *j);
    j->call = (struct call){NULL, off, len, buf, priority, done, done_arg, true, false};
    if (sf_pool_submit(live.pool, live_answer, j) < 0)
        live_answer(j);
    return 1;
}

static void
live_cancel(void *arg, uint64_t id)
{
    (void)arg;
    (void)id;
}

struct reader {
    pthread_t tid;
    unsigned seed;
    struct sf_cached *contents[4];
    _Atomic unsigned open; /* reads that were not answered yet */
    _Atomic unsigned failed, answered;
};

struct ticket {
    struct reader *reader;
    struct got got;
};

static void
live_got(void *arg, int err, const struct sf_err *why, const struct iovec *iov, int n, size_t len)
{
    struct ticket *t = arg;
    if (err) {
        if (err != -EIO && err != -ECANCELED)
            abort();
        atomic_fetch_add(&t->reader->failed, 1);
    } else {
        got_read(&t->got, err, why, iov, n, len);
        atomic_fetch_add(&t->reader->answered, 1);
    }
    atomic_fetch_sub(&t->reader->open, 1);
    free(t);
}

#define LIVE_SIZE (6u << 20)

static void *
live_reader(void *p)
{
    struct reader *r = p;
    struct sf_stream *s = NULL;
    uint64_t pos = 0;
    for (int i = 0; i < 1500; i++) {
        unsigned x = (unsigned)rand_r(&r->seed);
        if (!s || x % 50 == 0) {
            sf_stream_free(s);
            if (sf_stream_new(r->contents[x / 64 % 4], NULL, &s) < 0)
                abort();
        }
        size_t len = x % 3 ? 4096 : 1 + x % (300u << 10);
        pos = x % 5 ? pos + len : x % LIVE_SIZE;
        struct ticket *t = calloc(1, sizeof *t);
        t->reader = r;
        t->got.off = pos % LIVE_SIZE;
        atomic_fetch_add(&r->open, 1);
        uint64_t id = sf_stream_read(s, pos % LIVE_SIZE, len, live_got, t);
        if (x % 11 == 0)
            sf_cache_cancel(net.cache, id);
        while (atomic_load(&r->open) > x % 8)
            sched_yield();
    }
    sf_stream_free(s);
    return NULL;
}

static void
random_readers(bool stop)
{
    memset(&net, 0, sizeof net);
    atomic_store(&live.seed, 1);
    assert_int_equal(sf_pool_new("net", 3, 4096, &live.pool), 0);
    struct sf_cache_opts opts = {.memory = 5 << 20, .fetch = live_fetch, .cancel = live_cancel};
    assert_int_equal(sf_cache_new(&opts, &net.cache, NULL), 0);
    struct sf_cached *c[4];
    const char *etags[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        c[i] = content(etags[i], LIVE_SIZE);
    struct reader r[4] = {0};
    for (unsigned i = 0; i < 4; i++) {
        r[i].seed = 77 + i;
        memcpy(r[i].contents, c, sizeof c);
        assert_int_equal(sf_thread_start("reader", live_reader, &r[i], &r[i].tid), 0);
    }
    if (stop) {
        while (atomic_load(&r[0].answered) < 100)
            sched_yield();
        sf_cache_stop(net.cache);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(r[i].tid, NULL);
        while (atomic_load(&r[i].open))
            sched_yield();
        if (!stop)
            assert_true(r[i].answered > 1000);
    }
    for (int i = 0; i < 4; i++)
        sf_cached_unref(c[i]);
    finish();
    sf_pool_free(live.pool);
}

static void
many_threads_get_right_bytes(void **state)
{
    (void)state;
    random_readers(false);
}

static void
stop_in_the_middle(void **state)
{
    (void)state;
    random_readers(true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_read_needs_nothing),
        cmocka_unit_test(a_hundred_readers_make_one_fetch),
        cmocka_unit_test(a_joined_fetch_that_fails_is_tried_by_each_stream),
        cmocka_unit_test(a_dead_service_is_not_asked_by_each_reader_in_turn),
        cmocka_unit_test(a_read_that_is_tried_again_keeps_what_it_waits_for),
        cmocka_unit_test(a_cancelled_read_ends_what_only_it_wanted),
        cmocka_unit_test(a_dead_service_takes_no_more_than_the_budget),
        cmocka_unit_test(a_read_that_waits_for_memory_is_cancelled),
        cmocka_unit_test(stop_ends_reads_and_fetches),
        cmocka_unit_test(another_name_leads_to_the_same_bytes),
        cmocka_unit_test(a_prefetch_fills_and_refuses),
        cmocka_unit_test(many_threads_get_right_bytes),
        cmocka_unit_test(stop_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
