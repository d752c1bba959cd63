/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TEST_CACHE_FIXTURE_H
#define SF_TEST_CACHE_FIXTURE_H

/* A cache over a service whose answers the test gives. Include after <cmocka.h>. */
#include "cache/cache.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALLS 4096

struct call {
    void *what;
    uint64_t off;
    size_t len;
    char *buf;
    int priority;
    sf_fetched_fn done;
    void *arg;
    bool open, cancelled;
};

static struct cache_net {
    struct sf_cache *cache;
    struct call calls[CALLS];
    unsigned n;    /* calls so far */
    unsigned open; /* not answered yet */
    uint64_t bytes;
    unsigned dropped;
    bool at_once; /* answer inside of fetch() */
    int64_t now;
} net;

/* What a content has at an offset. */
static inline char
byte_at(uint64_t off)
{
    return (char)(off * 2654435761u >> 24 ^ off);
}

static inline void
answer(unsigned i, int code)
{
    struct call *c = &net.calls[i];
    assert_true(c->open);
    c->open = false;
    net.open--;
    struct sf_err err = {.code = code, .retryable = code == -EIO};
    for (size_t k = 0; code == 0 && k < c->len; k++)
        c->buf[k] = byte_at(c->off + k);
    c->done(c->arg, code ? &err : NULL, code ? 0 : c->len);
}

static inline uint64_t
fake_fetch(void *arg, void *what, uint64_t off, size_t len, char *buf, int priority,
           sf_fetched_fn done, void *done_arg)
{
    (void)arg;
    assert_true(net.n < CALLS);
    unsigned i = net.n++;
    net.calls[i] = (struct call){what, off, len, buf, priority, done, done_arg, true, false};
    net.open++;
    net.bytes += len;
    if (net.at_once)
        answer(i, 0);
    return i + 1;
}

static inline void
fake_cancel(void *arg, uint64_t id)
{
    (void)arg;
    struct call *c = &net.calls[id - 1];
    c->cancelled = true;
    if (c->open)
        answer((unsigned)(id - 1), -ECANCELED);
}

static inline void
fake_drop(void *arg, void *what)
{
    (void)arg;
    (void)what;
    net.dropped++;
}

static inline int64_t
fake_now(void *arg)
{
    (void)arg;
    return net.now += 1000;
}

static inline void
answer_all(int code)
{
    for (unsigned i = 0; i < net.n; i++)
        if (net.calls[i].open)
            answer(i, code);
}

static inline void
begin_at(uint64_t memory, const char *dir)
{
    memset(&net, 0, sizeof net);
    struct sf_cache_opts opts = {
        .memory = memory,
        .dir = dir,
        .max_bytes = 1 << 30,
        .fetch = fake_fetch,
        .cancel = fake_cancel,
        .drop = fake_drop,
        .now_ns = fake_now,
    };
    struct sf_err err = SF_ERR_INIT;
    assert_int_equal(sf_cache_new(&opts, &net.cache, &err), 0);
}

static inline void
begin_with(uint64_t memory)
{
    begin_at(memory, NULL);
}

static inline void
finish(void)
{
    struct sf_cache_stats st;
    sf_cache_get_stats(net.cache, &st);
    assert_true(st.memory_peak <= st.memory_max);
    assert_int_equal(st.waiting, 0);
    sf_cache_free(net.cache);
    assert_int_equal(net.open, 0);
}

static inline struct sf_cached *
content(const char *etag, uint64_t size)
{
    struct sf_cache_key key = {"b", "id", etag, size};
    struct sf_cached *c;
    assert_int_equal(sf_cached_get(net.cache, &key, &c), 0);
    return c;
}

static inline struct sf_stream *
stream(struct sf_cached *c, void *what)
{
    struct sf_stream *s;
    assert_int_equal(sf_stream_new(c, what, &s), 0);
    return s;
}

struct got {
    _Atomic unsigned calls;
    int err;
    size_t len;
    uint64_t off;
};

/* On any thread, where cmocka's asserts do not work. */
static inline void
wrong(const char *what, uint64_t off, uint64_t len)
{
    fprintf(stderr, "%s is wrong at %lu (%lu)\n", what, (unsigned long)off, (unsigned long)len);
    abort();
}

static inline void
got_read(void *arg, int err, const struct sf_err *why, const struct iovec *iov, int n, size_t len)
{
    struct got *g = arg;
    (void)why;
    g->err = err;
    g->len = len;
    uint64_t pos = g->off;
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < iov[i].iov_len; k++, pos++)
            if (((const char *)iov[i].iov_base)[k] != byte_at(pos))
                wrong("a byte", pos, iov[i].iov_len);
    if (pos - g->off != len)
        wrong("a length", pos, len);
    atomic_fetch_add(&g->calls, 1);
}

static inline uint64_t
ask(struct sf_stream *s, uint64_t off, size_t len, struct got *g)
{
    *g = (struct got){.off = off};
    return sf_stream_read(s, off, len, got_read, g);
}

#define OK(g, n)                                                                                   \
    do {                                                                                           \
        assert_int_equal((g).calls, 1);                                                            \
        assert_int_equal((g).err, 0);                                                              \
        assert_int_equal((g).len, (n));                                                            \
    } while (0)

#define FAILED(g, code)                                                                            \
    do {                                                                                           \
        assert_int_equal((g).calls, 1);                                                            \
        assert_int_equal((g).err, (code));                                                         \
    } while (0)

#endif
