/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "write/extents.h"

/* Ranges that are there, held against a map with one byte per byte. */

#define SIZE 400

static uint64_t seed = 88172645463325252u;

static unsigned
rnd(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % n);
}

static void
check_against(const struct sf_extents *e, const char *map)
{
    uint64_t missing = 0;
    char mine[SIZE] = {0};
    for (size_t i = 0; i < e->n; i++) {
        assert_true(e->v[i].off < e->v[i].end);
        assert_true(!i || e->v[i - 1].end < e->v[i].off); /* sorted, and none touches the next */
        memset(mine + e->v[i].off, 1, e->v[i].end - e->v[i].off);
    }
    assert_memory_equal(mine, map, SIZE);
    for (size_t i = 0; i < SIZE; i++)
        missing += !map[i];
    assert_int_equal(sf_extents_missing(e, SIZE), missing);

    struct sf_extent gap;
    uint64_t off = rnd(SIZE), end = off + rnd(SIZE - (unsigned)off + 1), at = off;
    while (at < end && map[at])
        at++;
    assert_int_equal(sf_extents_gap(e, off, end, &gap), at < end);
    if (at < end) {
        assert_int_equal(gap.off, at);
        while (at < end && !map[at])
            at++;
        assert_int_equal(gap.end, at);
    }
}

static void
as_a_map_of_bytes(void **state)
{
    (void)state;
    for (int run = 0; run < 200; run++) {
        struct sf_extents e = {0}, copy = {0}, set = {0};
        char map[SIZE] = {0};
        for (int i = 0; i < 100; i++) {
            unsigned off = rnd(SIZE), end = off + rnd(1 + rnd(SIZE - off));
            if (rnd(10) == 0) {
                sf_extents_cut(&e, off);
                memset(map + off, 0, SIZE - off);
            } else {
                assert_int_equal(sf_extents_add(&e, off, end), 0);
                memset(map + off, 1, end - off);
            }
            check_against(&e, map);
        }
        assert_int_equal(sf_extents_copy(&copy, &e), 0);
        check_against(&copy, map);
        assert_int_equal(sf_extents_set(&set, e.v, e.n), 0);
        check_against(&set, map);
        sf_extents_fini(&e);
        check_against(&copy, map);
        sf_extents_fini(&copy);
        sf_extents_fini(&set);
    }
}

static void
lists_from_outside(void **state)
{
    (void)state;
    const struct sf_extent empty[] = {{3, 3}}, turned[] = {{4, 3}}, order[] = {{5, 6}, {1, 2}},
                           touch[] = {{1, 2}, {2, 3}}, good[] = {{1, 2}, {3, 4}};
    struct sf_extents e = {0};
    assert_int_equal(sf_extents_set(&e, empty, 1), -EINVAL);
    assert_int_equal(sf_extents_set(&e, turned, 1), -EINVAL);
    assert_int_equal(sf_extents_set(&e, order, 2), -EINVAL);
    assert_int_equal(sf_extents_set(&e, touch, 2), -EINVAL);
    assert_int_equal(sf_extents_set(&e, NULL, 0), 0);
    assert_int_equal(sf_extents_set(&e, good, 2), 0);
    assert_int_equal(e.n, 2);
    sf_extents_fini(&e);
}

static void
the_densest(void **state)
{
    (void)state;
    struct sf_extents e = {0};
    assert_int_equal(sf_extents_add(&e, 0, 10), 0);
    assert_int_equal(sf_extents_add(&e, 100, 110), 0);
    assert_int_equal(sf_extents_add(&e, 120, 130), 0);
    assert_int_equal(sf_extents_add(&e, 300, UINT64_MAX), 0);
    struct sf_extent d = sf_extents_densest(&e, 2);
    assert_int_equal(d.off, 100);
    assert_int_equal(d.end, 130);
    d = sf_extents_densest(&e, 3);
    assert_int_equal(d.off, 0);
    assert_int_equal(d.end, 130);
    sf_extents_fini(&e);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_a_map_of_bytes),
        cmocka_unit_test(lists_from_outside),
        cmocka_unit_test(the_densest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
