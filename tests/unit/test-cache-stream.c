/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is fetched for a reader, by its pattern (cache/stream.h). */
#include "cache/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define KIB  1024u
#define MIB  (1u << 20)
#define SIZE (256 * MIB)

static struct sf_pattern p;
static struct sf_pattern_env env;
static struct sf_plan plan;

static int
setup(void **state)
{
    (void)state;
    memset(&p, 0, sizeof p);
    env = (struct sf_pattern_env){
        .size = SIZE, .carries = 8 * MIB, .miss_max = 4 * MIB, .window = 24 * MIB};
    return 0;
}

/* A read for which all that was planned ahead is begun. */
static void
rd(uint64_t off, uint64_t len)
{
    sf_pattern_read(&p, &env, off, len, &plan);
    assert_true(plan.off <= off && plan.end >= off + len && plan.end <= env.size);
    assert_true(plan.off % SF_UNIT == 0 && (plan.end % SF_UNIT == 0 || plan.end == env.size));
    assert_true(plan.ahead_end <= env.size && plan.ahead_off <= plan.ahead_end);
    if (plan.ahead_off < plan.ahead_end)
        plan.run->ahead = plan.ahead_end;
}

static void
a_window_grows_with_what_was_read(void **state)
{
    (void)state;
    rd(0, 4 * KIB);
    assert_int_equal(plan.end, 128 * KIB);
    assert_int_equal(plan.ahead_end - plan.ahead_off, 0); /* one read is no run yet */
    uint64_t pos = 4 * KIB, most = 0;
    for (; pos < 100 * MIB; pos += 128 * KIB) {
        uint64_t read = pos + 128 * KIB;
        rd(pos, 128 * KIB);
        uint64_t ahead = plan.run->ahead > read ? plan.run->ahead - read : 0;
        assert_true(ahead <= 8 * read + 128 * KIB && ahead <= 16 * MIB);
        most = ahead > most ? ahead : most;
    }
    assert_int_equal(most / MIB, 15); /* twice what the link carries, in whole MiB */
    for (; pos < SIZE; pos += 128 * KIB)
        rd(pos, pos + 128 * KIB <= SIZE ? 128 * KIB : SIZE - pos);
    assert_int_equal(p.runs[0].ahead, SIZE);
}

static void
requests_are_large(void **state)
{
    (void)state;
    unsigned n = 0;
    for (uint64_t pos = 0; pos < 128 * MIB; pos += 4 * KIB) {
        rd(pos, 4 * KIB);
        n += plan.ahead_off < plan.ahead_end;
    }
    assert_true(n <= 160);
}

static void
the_kernel_asks_in_any_order(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 16; i++)
        rd(i * MIB, MIB);
    uint64_t before = plan.run->ahead;
    assert_true(before >= 24 * MIB);
    const uint64_t order[] = {18, 16, 19, 17, 21, 20, 23, 22};
    for (unsigned i = 0; i < 8; i++)
        rd(order[i] * MIB, MIB);
    assert_true(plan.run->ahead >= 36 * MIB);
    unsigned runs = 0;
    for (unsigned i = 0; i < SF_PATTERN_RUNS; i++)
        runs += p.runs[i].next != 0;
    assert_int_equal(runs, 1);
}

static void
several_places_in_turn(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 64; i++)
        for (uint64_t k = 0; k < SF_PATTERN_RUNS; k++)
            rd(k * 60 * MIB + i * 64 * KIB, 64 * KIB);
    for (unsigned i = 0; i < SF_PATTERN_RUNS; i++)
        assert_true(p.runs[i].ahead >= p.runs[i].next + 4 * MIB);
}

static void
a_miss_takes_little(void **state)
{
    (void)state;
    rd(100 * MIB + 12345, 4 * KIB);
    assert_true(plan.miss);
    assert_int_equal(plan.end - plan.off, 64 * KIB);
    env.carries = 100 * KIB; /* a thin link */
    memset(&p, 0, sizeof p);
    rd(100 * MIB, 4 * KIB);
    assert_int_equal(plan.end - plan.off, SF_UNIT);
    rd(20 * MIB + 30000, 8 * KIB); /* two units */
    assert_int_equal(plan.end - plan.off, 2 * SF_UNIT);
    rd(SIZE - 5, 5);
    assert_int_equal(plan.end, SIZE);
}

/* Random misses; of what comes along @share in 256 is used. Returns what the last one fetched. */
static uint64_t
misses(unsigned n, unsigned share)
{
    for (unsigned i = 0; i < n; i++) {
        rd((uint64_t)(i * 2654435761u) % (SIZE - MIB), 4 * KIB);
        uint64_t extra = plan.end - plan.off - 4 * KIB;
        sf_pattern_missed(&p, 4 * KIB, extra);
        sf_pattern_used(&p, extra * share / 256);
    }
    return plan.end - plan.off;
}

static void
misses_follow_what_gets_used(void **state)
{
    (void)state;
    assert_true(misses(100, 240) >= 2 * MIB);
    assert_true(misses(2000, 0) <= 2 * SF_UNIT);
}

static void
misses_have_an_allowance(void **state)
{
    (void)state;
    env.miss_max = MIB;
    p.miss = MIB;
    uint64_t all = 0;
    for (unsigned i = 0; i < 400; i++) {
        p.extra_used = p.extra; /* as if growth were right */
        rd((uint64_t)(i * 2654435761u) % (SIZE - MIB), 4 * KIB);
        sf_pattern_missed(&p, 4 * KIB, plan.end - plan.off - 4 * KIB);
        all += plan.end - plan.off;
    }
    assert_true(all < 16 * MIB + 400 * SF_UNIT);
    assert_true(plan.end - plan.off <= 2 * SF_UNIT);
}

static void
all_of_it_when_misses_have_cost_that(void **state)
{
    (void)state;
    assert_false(sf_pattern_all(&p, 16 * MIB, SIZE, 1));
    for (unsigned i = 0; i < 10; i++) {
        sf_pattern_missed(&p, 4 * KIB, 0);
        sf_pattern_waited(&p, 20);
    }
    assert_false(sf_pattern_all(&p, 16 * MIB, SIZE, 1)); /* it does not fit what is left */
    assert_true(sf_pattern_all(&p, 32 * MIB, SIZE, 199));
    assert_false(sf_pattern_all(&p, 32 * MIB, SIZE, 200));
    assert_false(sf_pattern_all(&p, 32 * MIB, SIZE, INT64_MAX));
}

static void
backward_misses_reach_back(void **state)
{
    (void)state;
    rd(200 * MIB, 4 * KIB);
    for (unsigned i = 1; i < 5; i++)
        rd(200 * MIB - i * 4 * KIB, 4 * KIB);
    assert_true(plan.miss);
    assert_int_equal(plan.end, 200 * MIB);
    assert_true(plan.off <= 200 * MIB - 64 * KIB);
    assert_int_equal(plan.ahead_end - plan.ahead_off, 0);
}

static void
strides_are_misses(void **state)
{
    (void)state;
    rd(0, 4 * KIB);
    for (uint64_t i = 1; i < 100; i++) {
        rd(i * 256 * KIB, 4 * KIB);
        assert_true(plan.miss);
        assert_true(plan.end - plan.off <= 64 * KIB);
        assert_int_equal(plan.ahead_end - plan.ahead_off, 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_window_grows_with_what_was_read, setup),
        cmocka_unit_test_setup(requests_are_large, setup),
        cmocka_unit_test_setup(the_kernel_asks_in_any_order, setup),
        cmocka_unit_test_setup(several_places_in_turn, setup),
        cmocka_unit_test_setup(a_miss_takes_little, setup),
        cmocka_unit_test_setup(misses_follow_what_gets_used, setup),
        cmocka_unit_test_setup(misses_have_an_allowance, setup),
        cmocka_unit_test_setup(all_of_it_when_misses_have_cost_that, setup),
        cmocka_unit_test_setup(backward_misses_reach_back, setup),
        cmocka_unit_test_setup(strides_are_misses, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
