/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Memory and the local disk together (cache/cache.h): what was fetched is not fetched again. */
#include "base/clock.h"
#include "base/thread.h"
#include "cache/disk.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache-fixture.h"

static char dir[64];

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int
setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/sf-cache-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

/* A file system that does not tell whether a read has to wait, so that each waits. */
static int
setup_slow(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/dev/shm/sf-cache-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
begin(void)
{
    begin_at(32 << 20,
             dir); /* room for all that is fetched: nothing is dropped when the disk is slow */
    struct sf_cache_stats st;
    sf_cache_get_stats(net.cache, &st);
    assert_string_equal(st.trouble, "");
    assert_non_null(sf_cache_env(net.cache));
    net.at_once = true;
}

/* All that was fetched is on the disk. */
static void
written(void)
{
    struct sf_cache_stats st;
    int64_t end = sf_clock_ms() + 10000;
    do {
        assert_true(sf_clock_ms() < end);
        usleep(1000);
        sf_cache_get_stats(net.cache, &st);
    } while (st.unwritten || st.writing);
}

/* Answers may come from a thread of the cache. */
static void
wait_for(struct got *g)
{
    int64_t end = sf_clock_ms() + 10000;
    while (!atomic_load(&g->calls)) {
        assert_true(sf_clock_ms() < end);
        usleep(200);
    }
}

static void
get(struct sf_stream *s, uint64_t off, size_t len)
{
    struct got g;
    ask(s, off, len, &g);
    wait_for(&g);
    OK(g, len);
}

static void
read_through(struct sf_cached *c)
{
    struct sf_stream *s = stream(c, NULL);
    for (uint64_t off = 0; off < sf_cached_size(c); off += 128 << 10) {
        uint64_t rest = sf_cached_size(c) - off;
        get(s, off, rest < 128 << 10 ? rest : 128 << 10);
    }
    sf_stream_free(s);
}

static void
a_restart_is_warm(void **state)
{
    (void)state;
    const uint64_t sizes[] = {5000, 100000, (20 << 20) + 12345};
    const char *etags[] = {"small", "middle", "large"};
    begin();
    for (int i = 0; i < 3; i++) {
        struct sf_cached *c = content(etags[i], sizes[i]);
        read_through(c);
        written();
        sf_cached_unref(c);
    }
    assert_true(net.bytes == sizes[0] + sizes[1] + sizes[2]);
    finish();
    begin();
    for (int i = 0; i < 3; i++) {
        struct sf_cached *c = content(etags[i], sizes[i]);
        assert_int_equal(sf_cached_here(c), sizes[i]);
        read_through(c);
        sf_cached_unref(c);
    }
    assert_int_equal(net.n, 0);
    struct sf_cached *c = content("large", sizes[2]);
    struct sf_stream *s = stream(c, NULL);
    for (unsigned i = 0; i < 200; i++)
        get(s, i * 2654435761u % (20 << 20), 4096);
    get(s, 12345, 1 << 20);
    sf_stream_free(s);
    sf_cached_unref(c);
    assert_int_equal(net.n, 0);
    finish();
}

/* What is read from memory alone is in use for the disk, too: a scan does not wash it out there. */
static void
use_in_memory_counts_on_the_disk(void **state)
{
    (void)state;
    memset(&net, 0, sizeof net);
    const struct sf_cache_opts opts = {.memory = 4 << 20,
                                       .dir = dir,
                                       .max_bytes = 16 << 20,
                                       .fetch = fake_fetch,
                                       .cancel = fake_cancel,
                                       .drop = fake_drop};
    assert_int_equal(sf_cache_new(&opts, &net.cache, NULL), 0);
    net.at_once = true;
    struct sf_cached *hot = content("hot", 1 << 20);
    read_through(hot);
    written();
    usleep(3200000); /* reads that follow sooner are the same use */
    read_through(hot);
    for (unsigned i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "scan %u", i);
        struct sf_cached *scan = content(name, 4 << 20);
        read_through(scan);
        sf_cached_unref(scan);
        written();
        sf_disk_flush(sf_cache_disk(net.cache)); /* else there is little that could go */
    }
    uint64_t before = net.bytes;
    sf_cached_forget(hot);
    read_through(hot);
    assert_int_equal(net.bytes, before);
    sf_cached_unref(hot);
    finish();
}

/* Who has its bytes may close the file at once. */
struct closing {
    struct sf_stream *s;
    struct sf_cached *c;
    _Atomic int calls;
};

static void
close_now(void *arg, int err, const struct sf_err *why, const struct iovec *iov, int n, size_t len)
{
    struct closing *x = arg;
    (void)why;
    (void)iov;
    assert_int_equal(err, 0);
    assert_true(n > 0 && len > 0);
    sf_stream_free(x->s);
    sf_cached_unref(x->c);
    atomic_fetch_add(&x->calls, 1);
}

static void
a_stream_may_end_in_its_callback(void **state)
{
    const size_t lens[] = {4096, 1 << 20};
    (void)state;
    begin();
    struct sf_cached *c = content("e", 4 << 20);
    read_through(c);
    written();
    for (int i = 0; i < 4; i++) { /* from the disk and, the odd ones, from memory */
        struct closing x = {.s = stream(c, NULL), .c = sf_cached_ref(c)};
        struct got g;
        if (i % 2 == 0)
            sf_cached_forget(c);
        else
            ask(x.s, 1 << 20, lens[i / 2], &g);
        sf_stream_read(x.s, 1 << 20, lens[i / 2], close_now, &x);
        int64_t end = sf_clock_ms() + 10000;
        while (!atomic_load(&x.calls)) {
            assert_true(sf_clock_ms() < end);
            usleep(200);
        }
    }
    assert_int_equal(net.bytes, 4 << 20);
    sf_cached_unref(c);
    finish();
}

static void
what_is_on_the_disk_is_not_fetched_with_the_rest(void **state)
{
    (void)state;
    begin();
    struct sf_cached *c = content("e", 10 << 20);
    struct sf_stream *s = stream(c, NULL);
    get(s, 5 << 20, 4096);
    written();
    uint64_t before = net.bytes;
    assert_true(before >= SF_UNIT && before <= 1 << 20);
    sf_cached_forget(c);
    get(s, 5 << 20, 100);
    assert_int_equal(net.bytes, before);
    read_through(c);
    assert_int_equal(net.bytes, 10 << 20);
    sf_stream_free(s);
    sf_cached_unref(c);
    finish();
}

static void
names_last(void **state)
{
    (void)state;
    struct sf_cache_key one = {"b", "id", "one", 300000}, two = {"b", "other", "two", 300000};
    begin();
    FILE *f = tmpfile();
    for (unsigned i = 0; i < 300000; i++)
        putc(byte_at(i), f);
    fflush(f);
    struct sf_cached *c;
    assert_int_equal(sf_cached_new(net.cache, 300000, &c), 0);
    assert_int_equal(sf_cached_adopt_wait(c, fileno(f)), 0);
    fclose(f);
    sf_cached_name(c, &one);
    sf_cached_unref(c);
    finish();
    begin();
    sf_cache_alias(net.cache, &one, &two);
    assert_int_equal(sf_cached_get(net.cache, &two, &c), 0);
    read_through(c);
    char back[1000];
    assert_int_equal(sf_cached_peek_wait(c, 33000, back, sizeof back), 0);
    for (unsigned i = 0; i < sizeof back; i++)
        assert_int_equal(back[i], byte_at(33000 + i));
    sf_cached_unref(c);
    finish();
    begin();
    assert_int_equal(sf_cached_get(net.cache, &two, &c), 0);
    read_through(c);
    assert_int_equal(net.n, 0);
    sf_cached_unref(c);
    finish();
}

static void
a_prefetch_leaves_on_the_disk_what_is_there(void **state)
{
    (void)state;
    begin();
    struct sf_cached *c = content("e", 1 << 20);
    read_through(c);
    written();
    sf_cached_forget(c);
    unsigned n = net.n;
    struct sf_stream *s = stream(c, NULL);
    assert_int_equal(sf_stream_prefetch(s, 0, 1 << 20, NULL, NULL), 0);
    struct sf_cache_stats st;
    sf_cache_get_stats(net.cache, &st);
    assert_int_equal(st.memory, 0);
    assert_int_equal(net.n, n);
    sf_stream_free(s);
    sf_cached_unref(c);
    finish();
}

static void
without_its_disk_it_works(void **state)
{
    (void)state;
    begin_at(8 << 20, "/proc/no/such/place");
    net.at_once = true;
    struct sf_cache_stats st;
    sf_cache_get_stats(net.cache, &st);
    assert_string_not_equal(st.trouble, "");
    assert_null(sf_cache_env(net.cache));
    struct sf_cached *c = content("e", 10 << 20);
    read_through(c);
    sf_cached_unref(c);
    finish();
}

/* ---- many threads -------------------------------------------------------------------------------
 */

#define LIVE_SIZE (12u << 20)

struct reader {
    pthread_t tid;
    unsigned seed;
    struct sf_cached *c[2];
};

static uint64_t
live_fetch(void *arg, void *what, uint64_t off, size_t len, char *buf, int priority,
           sf_fetched_fn done, void *done_arg)
{
    (void)arg;
    (void)what;
    (void)priority;
    for (size_t k = 0; k < len; k++)
        buf[k] = byte_at(off + k);
    done(done_arg, NULL, len);
    return 0;
}

static void
live_got(void *arg, int err, const struct sf_err *why, const struct iovec *iov, int n, size_t len)
{
    struct got *g = arg;
    struct got mine = {.off = g->off};
    if (!err)
        got_read(&mine, err, why, iov, n, len);
    g->err = err;
    atomic_store(&g->calls, 1);
}

static void *
live_reader(void *p)
{
    struct reader *r = p;
    struct sf_stream *s = NULL;
    uint64_t pos = 0;
    for (int i = 0; i < 600; i++) {
        unsigned x = (unsigned)rand_r(&r->seed);
        if (!s || x % 40 == 0) {
            sf_stream_free(s);
            if (sf_stream_new(r->c[x / 64 % 2], NULL, &s) < 0)
                abort();
        }
        pos = (x % 4 ? pos : x) % LIVE_SIZE;
        size_t len = 1 + x / 7 % (x % 5 ? 8192 : 400000);
        struct got g = {.off = pos};
        uint64_t id = sf_stream_read(s, pos, len, live_got, &g);
        if (x % 13 == 0)
            sf_cache_cancel(net.cache, id);
        while (!atomic_load(&g.calls))
            usleep(50);
        if (g.err && g.err != -ECANCELED)
            abort();
        pos += len;
    }
    sf_stream_free(s);
    return NULL;
}

static void
many_threads_get_right_bytes(void **state)
{
    (void)state;
    memset(&net, 0, sizeof net);
    struct sf_cache_opts opts = {
        .dir = dir, .max_bytes = 16 << 20, .memory = 5 << 20, .fetch = live_fetch};
    assert_int_equal(sf_cache_new(&opts, &net.cache, NULL), 0);
    struct sf_cached *c[2] = {content("a", LIVE_SIZE), content("b", LIVE_SIZE)};
    struct reader r[3] = {0};
    for (unsigned i = 0; i < 3; i++) {
        r[i].seed = i + 1;
        memcpy(r[i].c, c, sizeof c);
        assert_int_equal(sf_thread_start("reader", live_reader, &r[i], &r[i].tid), 0);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(r[i].tid, NULL);
    struct sf_disk_stats ds;
    sf_disk_get_stats(sf_cache_disk(net.cache), &ds);
    assert_true(ds.bytes <= ds.max_bytes && ds.bad_units == 0);
    sf_cached_unref(c[0]);
    sf_cached_unref(c[1]);
    finish();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_restart_is_warm, setup, teardown),
        cmocka_unit_test_setup_teardown(use_in_memory_counts_on_the_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stream_may_end_in_its_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_on_the_disk_is_not_fetched_with_the_rest,
                                        setup_slow, teardown),
        cmocka_unit_test_setup_teardown(what_is_on_the_disk_is_not_fetched_with_the_rest, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(names_last, setup, teardown),
        cmocka_unit_test_setup_teardown(a_prefetch_leaves_on_the_disk_what_is_there, setup,
                                        teardown),
        cmocka_unit_test(without_its_disk_it_works),
        cmocka_unit_test_setup_teardown(many_threads_get_right_bytes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
