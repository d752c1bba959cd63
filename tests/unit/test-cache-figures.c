/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What patterns of reading cost, in time, requests and bytes, over a link that is computed: 16
 * connections, a round trip of 20 ms, 3 ms of the service, a bandwidth. No clock runs and no byte
 * is moved, so the figures are the same everywhere. `-v` shows them.
 */
#include "cache/cache.h"
#include "cache/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS          INT64_C(1000000)
#define MIB         (1u << 20)
#define SIZE        (256u * MIB)
#define CONNECTIONS 16
#define MAX         4096

struct request {
    size_t len;
    int priority;
    unsigned nth;
    int64_t ends; /* 0 = waits for a connection */
    sf_fetched_fn done;
    void *arg;
};

static struct {
    struct sf_cache *cache;
    double bytes_per_s;
    int64_t now, pipe_free;
    struct request req[MAX];
    unsigned n, sent;
    /* figures */
    unsigned requests;
    uint64_t bytes;
} sim;

static unsigned
on_the_way(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < sim.n; i++)
        n += sim.req[i].ends != 0;
    return n;
}

/* Free connections take those that wait, the most urgent first. */
static void
dispatch(void)
{
    for (unsigned busy = on_the_way(); busy < CONNECTIONS; busy++) {
        struct request *best = NULL;
        for (struct request *r = sim.req; r < sim.req + sim.n; r++)
            if (!r->ends && (!best || r->priority > best->priority ||
                             (r->priority == best->priority && r->nth < best->nth)))
                best = r;
        if (!best)
            return;
        int64_t from = sim.now + 23 * MS;
        if (from < sim.pipe_free)
            from = sim.pipe_free;
        best->ends = from + (int64_t)((double)best->len * 1e9 / sim.bytes_per_s);
        sim.pipe_free = best->ends;
    }
}

static uint64_t
sim_fetch(void *arg, void *what, uint64_t off, size_t len, char *buf, int priority,
          sf_fetched_fn done, void *done_arg)
{
    (void)arg;
    (void)what;
    (void)off;
    (void)buf;
    assert_true(sim.n < MAX);
    sim.req[sim.n++] = (struct request){len, priority, sim.sent++, 0, done, done_arg};
    sim.requests++;
    sim.bytes += len;
    dispatch();
    return 0;
}

static void
sim_cancel(void *arg, uint64_t id)
{
    (void)arg;
    (void)id;
}

static int64_t
sim_now(void *arg)
{
    (void)arg;
    return sim.now;
}

/* The next thing that happens. */
static void
step(void)
{
    unsigned next = MAX;
    for (unsigned i = 0; i < sim.n; i++)
        if (sim.req[i].ends && (next == MAX || sim.req[i].ends < sim.req[next].ends))
            next = i;
    assert_int_not_equal(next, MAX);
    struct request r = sim.req[next];
    sim.req[next] = sim.req[--sim.n];
    sim.now = r.ends;
    dispatch();
    r.done(r.arg, NULL, r.len);
}

static void
begin(double mb_per_s, uint64_t memory, uint64_t miss_max)
{
    memset(&sim, 0, sizeof sim);
    sim.bytes_per_s = mb_per_s * 1e6;
    sim.now = 1000 * MS;
    struct sf_cache_opts opts = {
        .memory = memory,
        .miss_max = miss_max,
        .fetch = sim_fetch,
        .cancel = sim_cancel,
        .now_ns = sim_now,
    };
    assert_int_equal(sf_cache_new(&opts, &sim.cache, NULL), 0);
}

static struct sf_stream *
open_object(const char *etag, uint64_t size)
{
    struct sf_cache_key key = {"b", "id", etag, size};
    struct sf_cached *c;
    struct sf_stream *s;
    assert_int_equal(sf_cached_get(sim.cache, &key, &c), 0);
    assert_int_equal(sf_stream_new(c, NULL, &s), 0);
    sf_cached_unref(c);
    return s;
}

static void
got(void *arg, int err, const struct sf_err *why, const struct iovec *iov, int n, size_t len)
{
    (void)why;
    (void)iov;
    (void)n;
    (void)len;
    assert_int_equal(err, 0);
    ++*(unsigned *)arg;
}

static void
get(struct sf_stream *s, uint64_t off, size_t len)
{
    unsigned calls = 0;
    sf_stream_read(s, off, len, got, &calls);
    while (!calls)
        step();
    sim.now += MS / 100; /* the reader and its kernel */
}

static double
seconds(const char *what)
{
    struct sf_cache_stats st;
    double t = (double)(sim.now - 1000 * MS) / 1e9;
    sf_cache_get_stats(sim.cache, &st);
    print_message("%-58s %7.3f s %5u requests %7.2f MiB; link %.1f ms, %.0f MB/s\n", what, t,
                  sim.requests, (double)sim.bytes / MIB, (double)st.round_trip_ns / 1e6,
                  (double)st.bytes_per_s / 1e6);
    return t;
}

static void
finish(struct sf_stream *s)
{
    sf_stream_free(s);
    while (sim.n)
        step();
    struct sf_cache_stats st;
    sf_cache_get_stats(sim.cache, &st);
    assert_true(st.memory_peak <= st.memory_max);
    sf_cache_free(sim.cache);
}

static unsigned
pseudo(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void
random_reads(struct sf_stream *s, unsigned n, uint64_t size)
{
    unsigned seed = 42;
    for (unsigned i = 0; i < n; i++)
        get(s, (uint64_t)pseudo(&seed) % (size / 4096) * 4096, 4096);
}

static void
read_through(struct sf_stream *s, uint64_t size, size_t len)
{
    for (uint64_t off = 0; off < size; off += len)
        get(s, off, len);
}

/* ---- tests --------------------------------------------------------------------------------------
 */

static void
reading_through(void **state)
{
    (void)state;
    const double links[] = {12.5, 125, 600, 2000};
    for (unsigned i = 0; i < 4; i++)
        for (size_t len = 128 << 10; len <= MIB; len *= 8) {
            char what[64];
            begin(links[i], 32 * MIB, 0);
            struct sf_stream *s = open_object("e", SIZE);
            read_through(s, SIZE, len);
            snprintf(what, sizeof what, "256 MiB in reads of %zu KiB at %.1f MB/s", len >> 10,
                     links[i]);
            double t = seconds(what), least = SIZE / links[i] / 1e6;
            /* beyond 16 MiB in a round trip the connections are the limit */
            double most = SIZE / (CONNECTIONS * (double)MIB) * 0.023;
            assert_true(t < (least > most ? least : most) * 1.1 + 0.12);
            assert_true(sim.bytes == SIZE);
            assert_true(sim.requests < 600);
            finish(s);
        }
}

static void
random_reads_on_a_thin_link(void **state)
{
    (void)state;
    begin(12.5, 32 * MIB, 0);
    struct sf_stream *s = open_object("e", SIZE);
    random_reads(s, 200, SIZE);
    assert_true(seconds("200 random 4 KiB reads at 12.5 MB/s") < 6.0);
    assert_true(sim.bytes < 20 * MIB);
    finish(s);
}

static void
random_reads_on_a_fast_link(void **state)
{
    (void)state;
    begin(1000, 32 * MIB, 0);
    struct sf_stream *s = open_object("e", SIZE);
    random_reads(s, 200, SIZE);
    assert_true(seconds("200 random 4 KiB reads at 1000 MB/s") < 4.8);
    assert_true(sim.bytes < 64 * MIB);
    finish(s);
}

static void
the_whole_object_when_that_is_allowed_and_cheaper(void **state)
{
    (void)state;
    const double links[] = {1000, 500, 300};
    for (unsigned i = 0; i < 3; i++) {
        begin(links[i], 2u * SIZE, 16 * MIB); /* 16 of these are the object */
        struct sf_stream *s = open_object("e", SIZE);
        random_reads(s, 200, SIZE);
        char what[64];
        snprintf(what, sizeof what, "the same at %.0f MB/s, miss_max of 16 MiB", links[i]);
        assert_true(seconds(what) < 1.6 || links[i] < 400);
        finish(s);
    }
    begin(12.5, 2u * SIZE, 16 * MIB);
    struct sf_stream *s = open_object("e", SIZE);
    random_reads(s, 200, SIZE);
    assert_true(seconds("the same at 12.5 MB/s: the whole would cost more") < 6.5);
    assert_true(sim.bytes < 40 * MIB);
    finish(s);
}

static void
reads_in_a_small_part(void **state)
{
    (void)state;
    begin(125, 32 * MIB, 0);
    struct sf_stream *s = open_object("e", SIZE);
    random_reads(s, 400, 8 * MIB);
    double t = seconds("400 random 4 KiB reads of 8 MiB of 256 at 125 MB/s");
    assert_true(t < 4.0 && sim.bytes <= 10 * MIB);
    finish(s);
}

static void
backward(void **state)
{
    (void)state;
    begin(125, 32 * MIB, 0);
    struct sf_stream *s = open_object("e", SIZE);
    for (unsigned i = 1; i <= 1024; i++)
        get(s, SIZE - i * 4096, 4096);
    double t = seconds("4 MiB read backward in 4 KiB");
    assert_true(sim.bytes <= 6 * MIB && t < 1.5);
    finish(s);
}

static void
strides(void **state)
{
    (void)state;
    begin(125, 32 * MIB, 0);
    struct sf_stream *s = open_object("e", SIZE);
    for (uint64_t i = 0; i < 256; i++)
        get(s, i * MIB, 4096);
    seconds("4 KiB of each MiB");
    assert_true(sim.bytes <= 256 * 64u << 10);
    finish(s);
    begin(125, 32 * MIB, 0);
    s = open_object("e", SIZE);
    for (uint64_t i = 0; i < 256; i++)
        get(s, i * (256u << 10), 4096);
    seconds("4 KiB of each 256 KiB");
    assert_true(sim.bytes <= 256 * 64u << 10);
    finish(s);
}

static void
small_seeks_keep_a_stream(void **state)
{
    (void)state;
    begin(125, 32 * MIB, 0);
    struct sf_stream *s = open_object("e", SIZE);
    unsigned seed = 7;
    uint64_t pos = 0;
    while (pos < 64 * MIB) {
        get(s, pos, 64 << 10);
        pos += 64 << 10;
        unsigned x = pseudo(&seed) % 16;
        if (x == 0)
            pos += 100000;
        else if (x == 1 && pos > 300000)
            pos -= 150000;
    }
    double t = seconds("64 MiB with small seeks at 125 MB/s");
    assert_true(t < 64 * 1.048 / 125 * 1.2 + 0.15);
    assert_true(sim.bytes < 90 * MIB);
    finish(s);
}

static void
who_stops_early_has_not_fetched_much(void **state)
{
    (void)state;
    begin(600, 32 * MIB, 0);
    struct sf_stream *s = open_object("e", SIZE);
    get(s, 0, 4096);
    seconds("the first 4 KiB");
    assert_true(sim.bytes <= 128 << 10);
    for (uint64_t off = 128 << 10; off < MIB; off += 128 << 10)
        get(s, off, 128 << 10);
    seconds("the first MiB");
    assert_true(sim.bytes <= 10 * MIB);
    finish(s);
}

static void
ten_at_once(void **state)
{
    (void)state;
    begin(125, 32 * MIB, 0);
    struct sf_stream *s[10];
    char etag[10][8];
    for (int i = 0; i < 10; i++) {
        snprintf(etag[i], sizeof etag[i], "e%d", i);
        s[i] = open_object(etag[i], 16 * MIB);
    }
    unsigned calls[10] = {0};
    for (uint64_t off = 0; off < 16 * MIB; off += 128 << 10) {
        unsigned open = 10;
        for (int i = 0; i < 10; i++)
            sf_stream_read(s[i], off, 128 << 10, got, &calls[i]);
        while (open) {
            open = 0;
            for (int i = 0; i < 10; i++)
                open += calls[i] <= off >> 17;
            if (open)
                step();
        }
    }
    double t = seconds("ten objects of 16 MiB at once at 125 MB/s");
    assert_true(t < 160 * 1.048 / 125 * 1.3);
    assert_true(sim.bytes < 176 * MIB);
    for (int i = 1; i < 10; i++)
        sf_stream_free(s[i]);
    finish(s[0]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_through),
        cmocka_unit_test(random_reads_on_a_thin_link),
        cmocka_unit_test(random_reads_on_a_fast_link),
        cmocka_unit_test(the_whole_object_when_that_is_allowed_and_cheaper),
        cmocka_unit_test(reads_in_a_small_part),
        cmocka_unit_test(backward),
        cmocka_unit_test(strides),
        cmocka_unit_test(small_seeks_keep_a_stream),
        cmocka_unit_test(who_stops_early_has_not_fetched_much),
        cmocka_unit_test(ten_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
