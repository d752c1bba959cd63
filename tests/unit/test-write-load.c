/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

/* Filling a content from the bucket: parallel, of one version, all or nothing. */

#define MIB (1024 * 1024)

static struct got *
load(struct sf_content *c, const char *etag, uint64_t size)
{
    struct got *g = got_new();
    sf_content_load(c, etag, size, on_write, g);
    return g;
}

static unsigned char *
pattern(size_t size)
{
    unsigned char *p = malloc(size);
    assert_non_null(p);
    for (size_t i = 0; i < size; i++)
        p[i] = (unsigned char)(i * 2654435761u >> 13);
    return p;
}

static void
in_parallel(void **state)
{
    (void)state;
    size_t size = 9 * MIB + 5;
    unsigned char *data = pattern(size), *back = malloc(size);
    fake_set_bytes("b", "k", data, size);
    struct sf_content *c = content("k", NULL);
    fake_close(FAKE_GET);
    struct got *g = load(c, fake_find("b", "k")->etag, size);
    fake_wait_at_gate(FAKE_GET, 4); /* four at once, and no more */
    usleep(20000);
    assert_int_equal(fake_count(FAKE_GET), 4);
    assert_int_equal(sf_content_write(c, "x", 1, 0), -EBUSY);
    assert_int_equal(sf_content_truncate(c, 1), -EBUSY);
    fake_open(FAKE_GET);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(fake_count(FAKE_GET), 10);
    assert_true(fake_peak(FAKE_GET) <= 4);
    assert_false(sf_content_dirty(c));
    assert_int_equal(sf_content_size(c), size);
    assert_int_equal(sf_content_read(c, back, size, 0), (ssize_t)size);
    assert_memory_equal(back, data, size);
    assert_int_equal(sf_content_write(c, "x", 1, 0), 1);
    assert_true(sf_content_dirty(c));
    sf_content_abandon(c);
    sf_content_unref(c);
    free(data);
    free(back);
}

static void
small_ones(void **state)
{
    (void)state;
    char buf[8];
    fake_set("b", "k", "text");
    fake_set("b", "empty", "");
    struct sf_content *c = content("k", NULL);
    assert_int_equal(wait_for(load(c, "", 4)), 0);
    assert_int_equal(sf_content_read(c, buf, sizeof buf, 0), 4);
    assert_memory_equal(buf, "text", 4);
    assert_int_equal(wait_for(load(c, "", 4)), -EINVAL); /* not empty any more */
    sf_content_unref(c);
    c = content("empty", NULL);
    assert_int_equal(wait_for(load(c, "", 0)), 0);
    assert_int_equal(fake_count(FAKE_GET), 1); /* no range of nothing */
    assert_int_equal(sf_content_size(c), 0);
    sf_content_unref(c);
    assert_int_equal(count_files("quarantine"), 0);
}

static void
replace_it(void)
{
    unsigned char *other = pattern(3 * MIB);
    other[0] ^= 1;
    fake_set_bytes("b", "k", other, 3 * MIB); /* the same size */
    free(other);
}

static void
never_of_two_versions(void **state)
{
    (void)state;
    unsigned char *data = pattern(3 * MIB);
    fake_set_bytes("b", "k", data, 3 * MIB);
    struct sf_content *c = content("k", NULL);
    assert_int_equal(wait_for(load(c, "\"other\"", 3 * MIB)), -ESTALE);
    assert_int_equal(sf_content_size(c), 0);
    assert_int_equal(wait_for(load(c, "", 5)), -ESTALE); /* another size than thought */
    fake_meanwhile(FAKE_GET, replace_it);                /* after the first range */
    assert_int_equal(wait_for(load(c, "", 3 * MIB)), -ESTALE);
    assert_int_equal(sf_content_size(c), 0);
    assert_false(sf_content_dirty(c));
    assert_int_equal(wait_for(load(c, "", 3 * MIB)), 0); /* and it can be filled then */
    assert_int_equal(sf_content_size(c), 3 * MIB);
    sf_content_unref(c);
    free(data);
}

static void
a_failure_leaves_it_empty(void **state)
{
    (void)state;
    unsigned char *data = pattern(6 * MIB);
    fake_set_bytes("b", "k", data, 6 * MIB);
    const char *etag = fake_find("b", "k")->etag;
    struct sf_content *c = content("none", NULL);
    assert_int_equal(wait_for(load(c, "", 5)), -ENOENT);
    sf_content_unref(c);
    c = content("k", NULL);
    for (int i = 0; i < 5; i++) { /* whichever of the ranges it is */
        fake_fault(FAKE_GET, 1, FAKE_REFUSED, -EIO);
        assert_int_equal(wait_for(load(c, etag, 6 * MIB)), -EIO);
        assert_int_equal(sf_content_size(c), 0);
        assert_false(sf_content_dirty(c));
    }
    assert_int_equal(sf_content_write(c, "own", 3, 0), 3);
    sf_content_abandon(c);
    sf_content_unref(c);
    free(data);
}

static void
freeing_the_writer_ends_loads(void **state)
{
    (void)state;
    struct got *g[8];
    struct sf_content *c[8];
    unsigned char *data = pattern(6 * MIB);
    fake_set_bytes("b", "k", data, 6 * MIB);
    fake_close(FAKE_GET);
    for (int i = 0; i < 8; i++) {
        c[i] = content("k", NULL);
        g[i] = load(c[i], i % 2 ? "" : fake_find("b", "k")->etag, 6 * MIB);
        sf_content_unref(c[i]); /* the load has its own */
    }
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 30), 8);
    assert_true(fake_peak(FAKE_GET) <= 16); /* memory is bounded: four loads at a time */
    sf_writer_free(writer);
    writer = NULL;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(g[i]->calls, 1);
        assert_int_equal(g[i]->err.code, -ECANCELED);
    }
    assert_int_equal(count_files("staging"), 0);
    writer_start(1, 0);
    free(data);
}

static void
many_at_a_time(void **state)
{
    (void)state;
    struct got *g[40];
    struct sf_content *c[40];
    unsigned char *data = pattern(2 * MIB + 100), *back = malloc(2 * MIB + 100);
    fake_set_bytes("b", "k", data, 2 * MIB + 100);
    for (int i = 0; i < 40; i++) {
        c[i] = content("k", NULL);
        g[i] = load(c[i], i % 2 ? "" : fake_find("b", "k")->etag, 2 * MIB + 100);
    }
    for (int i = 0; i < 40; i++) {
        assert_int_equal(wait_for(g[i]), 0);
        assert_int_equal(sf_content_read(c[i], back, 2 * MIB + 100, 0), 2 * MIB + 100);
        assert_memory_equal(back, data, 2 * MIB + 100);
        sf_content_unref(c[i]);
    }
    assert_true(fake_peak(FAKE_GET) <= 16);
    free(data);
    free(back);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(in_parallel),
        TEST(small_ones),
        TEST(never_of_two_versions),
        TEST(a_failure_leaves_it_empty),
        TEST(freeing_the_writer_ends_loads),
        TEST(many_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
