/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include <sys/stat.h>

#include "write/content.h"

/* Zeros in contents: what sf_content_zero() makes of bytes that are here and that are not, and what
 * sf_content_seek() says of them. */

#define MIB (1024 * 1024)
#define KIB 1024

static unsigned char *
pattern(size_t size)
{
    unsigned char *p = malloc(size);
    assert_non_null(p);
    for (size_t i = 0; i < size; i++)
        p[i] = (unsigned char)(1 + (i * 2654435761u >> 13) % 255);
    return p;
}

static void
nothing_is_fetched_for_zeros(void **state)
{
    (void)state;
    unsigned char *data = pattern(4 * MIB), *back = malloc(4 * MIB);
    fake_set_bytes("b", "k", data, 4 * MIB);
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(sf_content_zero(c, MIB, 2 * MIB, false), 0);
    memset(data + MIB, 0, 2 * MIB);
    assert_true(sf_content_dirty(c));
    assert_int_equal(read_local(c, back, 2 * MIB, MIB), 2 * MIB);
    assert_memory_equal(back, data + MIB, 2 * MIB);
    assert_int_equal(fake_count(FAKE_GET), 0);
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_true(fake_got() <= 2 * MIB);
    assert_memory_equal(fake_find("b", "k")->data, data, 4 * MIB);
    sf_content_unref(c);
    free(data);
    free(back);
}

static void
the_end_moves_only_when_asked(void **state)
{
    (void)state;
    unsigned char back[300], want[300];
    struct sf_content *c;
    assert_int_equal(sf_content_new(writer, "b", "k", &c, NULL), 0);
    memset(want, 'x', 100);
    memset(want + 100, 0, 200);
    assert_int_equal(sf_content_write(c, want, 100, 0), 100);
    assert_int_equal(sf_content_zero(c, 100, 50, false), 0);
    assert_int_equal(sf_content_zero(c, 5000, 50, false), 0);
    assert_int_equal(sf_content_size(c), 100);
    assert_int_equal(sf_content_zero(c, 90, 60, false), 0);
    assert_int_equal(sf_content_size(c), 100);
    memset(want + 90, 0, 10);
    assert_int_equal(sf_content_zero(c, 200, 100, true), 0);
    assert_int_equal(sf_content_size(c), 300);
    assert_int_equal(read_local(c, back, 300, 0), 300);
    assert_memory_equal(back, want, 300);
    assert_int_equal(sf_content_zero(c, UINT64_MAX - 5, 10, true), -EFBIG);
    assert_int_equal(sf_content_zero(c, INT64_MAX, 1, true), -EFBIG);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_int_equal(fake_find("b", "k")->len, 300);
    assert_memory_equal(fake_find("b", "k")->data, want, 300);
    sf_content_unref(c);
}

/* The upload has what was there when it began, and the digests are of what is sent. */
static void
zeros_during_an_upload(void **state)
{
    (void)state;
    unsigned char *data = pattern(200 * KIB), *was = pattern(200 * KIB);
    struct sf_content *c;
    assert_int_equal(sf_content_new(writer, "b", "k", &c, NULL), 0);
    assert_int_equal(sf_content_write(c, data, 200 * KIB, 0), 200 * KIB);
    fake_close(FAKE_PUT);
    struct got *g = commit(c, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    assert_int_equal(sf_content_zero(c, 64 * KIB, 64 * KIB, false), 0);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(g), 0);
    assert_memory_equal(fake_find("b", "k")->data, was, 200 * KIB);
    assert_true(sf_content_dirty(c));
    memset(data + 64 * KIB, 0, 64 * KIB);
    g = commit(c, true);
    assert_int_equal(wait_for(g), 0);
    assert_memory_equal(fake_find("b", "k")->data, data, 200 * KIB);
    assert_string_equal(g->done.md5_etag, fake_find("b", "k")->etag);
    sf_content_unref(c);
    free(data);
    free(was);
}

static void
holes_are_found(void **state)
{
    (void)state;
    struct sf_content *c;
    assert_int_equal(sf_content_new(writer, "b", "k", &c, NULL), 0);
    assert_int_equal(sf_content_seek(c, 0, true), -ENXIO);
    assert_int_equal(sf_content_write(c, "x", 1, MIB), 1);
    assert_int_equal(sf_content_truncate(c, 2 * MIB), 0);
    assert_int_equal(sf_content_seek(c, 0, true), 0);
    int64_t at = sf_content_seek(c, 5, false);
    assert_in_range(at, MIB - 64 * KIB, MIB); /* a block of the disk begins before it */
    at = sf_content_seek(c, MIB, true);
    assert_in_range(at, MIB + 1, MIB + 64 * KIB);
    assert_int_equal(sf_content_seek(c, (uint64_t)at, false), -ENXIO);
    assert_int_equal(sf_content_seek(c, 2 * MIB - 1, true), 2 * MIB - 1);
    assert_int_equal(sf_content_seek(c, 2 * MIB, true), -ENXIO);
    assert_int_equal(sf_content_seek(c, 2 * MIB, false), -ENXIO);
    sf_content_abandon(c);
    sf_content_unref(c);
}

/* What is not here yet is a hole in the local file, and data all the same. */
static void
what_is_to_be_fetched_is_data(void **state)
{
    (void)state;
    unsigned char *data = pattern(4 * MIB);
    fake_set_bytes("b", "k", data, 4 * MIB);
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(sf_content_seek(c, 0, true), 4 * MIB);
    assert_int_equal(sf_content_seek(c, 7, false), 7);
    assert_int_equal(sf_content_zero(c, MIB, MIB, false), 0);
    assert_int_equal(sf_content_write(c, data, 1, 3 * MIB), 1);
    assert_int_equal(sf_content_seek(c, 0, false), 0);
    assert_int_equal(sf_content_seek(c, 0, true), MIB);
    assert_int_equal(sf_content_seek(c, MIB, false), 2 * MIB);
    assert_int_equal(sf_content_seek(c, 2 * MIB - 1, false), 2 * MIB);
    assert_int_equal(sf_content_seek(c, 2 * MIB, true), 4 * MIB);
    assert_int_equal(sf_content_truncate(c, 5 * MIB), 0);
    assert_int_equal(sf_content_seek(c, 3 * MIB, true), 4 * MIB);
    assert_int_equal(sf_content_seek(c, 4 * MIB, false), -ENXIO);
    assert_int_equal(fake_count(FAKE_GET), 0);
    sf_content_abandon(c);
    sf_content_unref(c);
    free(data);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_fetched_for_zeros),  TEST(the_end_moves_only_when_asked),
        TEST(zeros_during_an_upload),        TEST(holes_are_found),
        TEST(what_is_to_be_fetched_is_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
