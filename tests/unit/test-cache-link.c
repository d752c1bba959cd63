/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is learned of the link from fetches (cache/link.h). Times are computed. */
#include "cache/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MS  INT64_C(1000000)
#define KIB 1024u
#define MIB (1u << 20)

static struct sf_link l;
static int64_t now;

static int64_t
takes(size_t len, double mb_per_s)
{
    return (int64_t)((double)len * 1000 / mb_per_s);
}

/* One fetch alone. */
static void
fetch(size_t len, int64_t rtt, double mb_per_s)
{
    struct sf_link_fetch f;
    sf_link_begin(&l, &f, len, now);
    now += rtt + takes(len, mb_per_s);
    sf_link_end(&l, &f, len, now);
}

/* Many of 1 MiB, @n of them at any time. */
static void
stream(unsigned n, unsigned total, int64_t rtt, double mb_per_s)
{
    struct sf_link_fetch f[16];
    int64_t ends[16], pipe = 0;
    for (unsigned i = 0; i < total + n; i++) {
        unsigned slot = i % n;
        if (i >= n) {
            now = ends[slot];
            sf_link_end(&l, &f[slot], MIB, now);
        }
        if (i >= total)
            continue;
        sf_link_begin(&l, &f[slot], MIB, now);
        int64_t from = now + rtt > pipe ? now + rtt : pipe;
        ends[slot] = pipe = from + takes(MIB, mb_per_s);
    }
}

static void
within(uint64_t value, double expected, double share)
{
    if ((double)value < expected * (1 - share) || (double)value > expected * (1 + share))
        fail_msg("%lu is not %.0f", (unsigned long)value, expected);
}

static int
setup(void **state)
{
    (void)state;
    memset(&l, 0, sizeof l);
    now = 1000 * MS;
    return 0;
}

static void
nothing_is_known_at_first(void **state)
{
    (void)state;
    assert_int_equal(sf_link_rtt(&l), 0);
    assert_int_equal(sf_link_bytes_per_s(&l), 0);
    assert_int_equal(sf_link_carries(&l), 0);
    assert_true(sf_link_time(&l, 1) == INT64_MAX);
    struct sf_link_fetch f;
    sf_link_begin(&l, &f, 100, now);
    sf_link_end(&l, &f, 0, now + 5 * MS); /* failures say nothing */
    assert_int_equal(sf_link_rtt(&l), 0);
}

static void
single_fetches_of_two_sizes(void **state)
{
    (void)state;
    fetch(4 * KIB, 20 * MS, 12.5);
    fetch(512 * KIB, 20 * MS, 12.5);
    within((uint64_t)sf_link_rtt(&l), 20e6, 0.03);
    within(sf_link_bytes_per_s(&l), 12.5e6, 0.03);
    within(sf_link_carries(&l), 250e3, 0.05);
    within((uint64_t)sf_link_time(&l, 12500000), 1.02e9, 0.03);
}

static void
a_busy_link(void **state)
{
    (void)state;
    const double rates[] = {12.5, 125, 600};
    for (unsigned i = 0; i < 3; i++) {
        setup(NULL);
        fetch(64 * KIB, 20 * MS, rates[i]);
        stream(16, 200, 20 * MS, rates[i]);
        within(sf_link_bytes_per_s(&l), rates[i] * 1e6, 0.05);
        within((uint64_t)sf_link_rtt(&l), 20e6, 0.05);
    }
}

static void
a_reader_that_asks_for_little_does_not_make_the_link_slow(void **state)
{
    (void)state;
    fetch(64 * KIB, 20 * MS, 600);
    stream(16, 100, 20 * MS, 600);
    uint64_t before = sf_link_bytes_per_s(&l);
    for (int i = 0; i < 200; i++)
        fetch(4 * KIB, 20 * MS, 600);
    stream(1, 50, 20 * MS, 600);
    stream(2, 50, 20 * MS, 600);
    within(sf_link_bytes_per_s(&l), (double)before, 0.2);
}

static void
more_is_seen_to_be_possible_while_windows_grow(void **state)
{
    (void)state;
    fetch(128 * KIB, 20 * MS, 1000);
    assert_true(sf_link_carries(&l) >= 1 * MIB);
    struct sf_link_fetch f[4];
    for (unsigned i = 0; i < 4; i++)
        sf_link_begin(&l, &f[i], MIB, now);
    for (unsigned i = 0; i < 4; i++)
        sf_link_end(&l, &f[i], MIB, now + 20 * MS + (i + 1) * takes(MIB, 1000));
    assert_true(sf_link_carries(&l) >= 8 * MIB);
}

static void
a_link_that_changes(void **state)
{
    (void)state;
    fetch(64 * KIB, 20 * MS, 600);
    stream(16, 100, 20 * MS, 600);
    stream(16, 100, 20 * MS, 50);
    within(sf_link_bytes_per_s(&l), 50e6, 0.1);
    stream(16, 200, 20 * MS, 600);
    within(sf_link_bytes_per_s(&l), 600e6, 0.1);
    /* the round trip grows: seen when the old one is old */
    for (int i = 0; i < 200; i++) {
        fetch(4 * KIB, 80 * MS, 600);
        now += 200 * MS;
    }
    within((uint64_t)sf_link_rtt(&l), 80e6, 0.05);
    fetch(4 * KIB, 5 * MS, 600);
    within((uint64_t)sf_link_rtt(&l), 5e6, 0.05);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_is_known_at_first, setup),
        cmocka_unit_test_setup(single_fetches_of_two_sizes, setup),
        cmocka_unit_test_setup(a_busy_link, setup),
        cmocka_unit_test_setup(a_reader_that_asks_for_little_does_not_make_the_link_slow, setup),
        cmocka_unit_test_setup(more_is_seen_to_be_possible_while_windows_grow, setup),
        cmocka_unit_test_setup(a_link_that_changes, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
