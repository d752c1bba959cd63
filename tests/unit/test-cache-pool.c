/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The buffers of the cache (cache/pool.h): one budget, sizes of powers of two. */
#include "cache/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB (1u << 20)

static void
sizes(void **state)
{
    (void)state;
    assert_int_equal(sf_bufpool_size(1), 4096);
    assert_int_equal(sf_bufpool_size(4096), 4096);
    assert_int_equal(sf_bufpool_size(4097), 8192);
    assert_int_equal(sf_bufpool_size(MIB - 1), MIB);
    assert_int_equal(sf_bufpool_size(MIB), MIB);
}

static void
the_budget_holds_for_all_sizes(void **state)
{
    (void)state;
    struct sf_bufpool p;
    sf_bufpool_init(&p, 4 * MIB);
    char *small[1024];
    for (unsigned i = 0; i < 1024; i++) {
        small[i] = sf_bufpool_get(&p, 4000);
        assert_non_null(small[i]);
        memset(small[i], (int)i, 4096);
    }
    assert_null(sf_bufpool_get(&p, 1));
    assert_null(sf_bufpool_get(&p, MIB));
    for (unsigned i = 0; i < 1024; i++) {
        for (unsigned k = 0; k < 4096; k++)
            assert_int_equal(small[i][k], (char)i);
        sf_bufpool_put(&p, small[i], 4000);
    }
    assert_int_equal(p.used, 0);
    /* the memory of small ones becomes that of large ones, though they lay everywhere */
    char *large[4];
    for (unsigned i = 0; i < 4; i++) {
        large[i] = sf_bufpool_get(&p, MIB);
        assert_non_null(large[i]);
        memset(large[i], 1, MIB);
    }
    assert_int_equal(p.held, 4 * MIB);
    assert_null(sf_bufpool_get(&p, 4096));
    for (unsigned i = 0; i < 4; i++)
        sf_bufpool_put(&p, large[i], MIB);
    assert_int_equal(p.peak, 4 * MIB);
    sf_bufpool_fini(&p);
}

static void
what_comes_back_is_used_again(void **state)
{
    (void)state;
    struct sf_bufpool p;
    sf_bufpool_init(&p, 2 * MIB);
    char *a = sf_bufpool_get(&p, 100000);
    sf_bufpool_put(&p, a, 100000);
    assert_ptr_equal(sf_bufpool_get(&p, 131072), a);
    assert_int_equal(p.held, 131072);
    sf_bufpool_put(&p, a, 131072);
    sf_bufpool_fini(&p);
}

static void
any_order(void **state)
{
    (void)state;
    struct {
        char *mem;
        size_t len;
        char mark;
    } out[64] = {0};
    struct sf_bufpool p;
    unsigned seed = 5, refused = 0;
    sf_bufpool_init(&p, 3 * MIB);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned x = (unsigned)rand_r(&seed), at = x % 64;
        if (out[at].mem) {
            assert_int_equal(out[at].mem[0], out[at].mark);
            assert_int_equal(out[at].mem[out[at].len - 1], out[at].mark);
            sf_bufpool_put(&p, out[at].mem, out[at].len);
            out[at].mem = NULL;
            continue;
        }
        out[at].len = 1 + x / 64 % (x % 3 ? 50000 : MIB);
        out[at].mem = sf_bufpool_get(&p, out[at].len);
        out[at].mark = (char)x;
        if (out[at].mem)
            out[at].mem[0] = out[at].mem[out[at].len - 1] = (char)x;
        else
            refused++;
        assert_true(p.used <= p.held && p.held <= p.max);
    }
    assert_true(refused > 100 && refused < 10000);
    sf_bufpool_fini(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(the_budget_holds_for_all_sizes),
        cmocka_unit_test(what_comes_back_is_used_again),
        cmocka_unit_test(any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
