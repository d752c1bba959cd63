/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/thread.h"
#include "observe/counter.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct find {
    const char *name;
    struct sf_metric found;
    int calls;
};

static int
find_cb(const struct sf_metric *m, void *arg)
{
    struct find *f = arg;
    f->calls++;
    if (!f->name || strcmp(m->name, f->name))
        return 0;
    f->found = *m;
    return 1;
}

static struct sf_metric
metric(const char *name)
{
    struct find f = {.name = name};
    assert_int_equal(sf_metric_each(find_cb, &f), 1);
    return f.found;
}

static void
counters_count(void **state)
{
    (void)state;
    sf_metric_reset();
    sf_count(SF_C_HTTP_REQUESTS, 1);
    sf_count(SF_C_HTTP_REQUESTS, 41);
    assert_int_equal(sf_counter_get(SF_C_HTTP_REQUESTS), 42);
    struct sf_metric m = metric("http_requests");
    assert_int_equal(m.value, 42);
    assert_int_equal(m.kind, SF_METRIC_COUNTER);
    assert_int_equal(metric("http_retries").value, 0);
    sf_metric_reset();
    assert_int_equal(metric("http_requests").value, 0);
}

static void
gauges_move_and_peak(void **state)
{
    (void)state;
    sf_metric_reset();
    sf_gauge_peak(SF_G_PARKED_PEAK, sf_gauge_add(SF_G_PARKED, 3));
    sf_gauge_peak(SF_G_PARKED_PEAK, sf_gauge_add(SF_G_PARKED, -2));
    assert_int_equal(metric("parked").value, 1);
    assert_int_equal(metric("parked_peak").value, 3);
    sf_gauge_set(SF_G_PARKED, -7);
    assert_int_equal(sf_gauge_get(SF_G_PARKED), -7);
}

static void
histogram_tells_the_distribution(void **state)
{
    (void)state;
    sf_metric_reset();
    struct sf_metric m = metric("http_time_us");
    assert_int_equal(m.value, 0);
    assert_int_equal(m.p99, 0);

    for (uint64_t i = 1; i <= 1000; i++)
        sf_histogram_add(SF_H_HTTP_TIME, i);
    m = metric("http_time_us");
    assert_int_equal(m.kind, SF_METRIC_HISTOGRAM);
    assert_int_equal(m.value, 1000);
    assert_int_equal(m.sum, 500500);
    assert_int_equal(m.max, 1000);
    assert_int_equal(m.buckets[1], 1);
    assert_int_equal(m.buckets[9], 256);
    assert_true(m.p50 >= 500 && m.p50 < 1024);
    assert_true(m.p90 >= 900 && m.p90 <= 1000);
    assert_int_equal(m.p99, 1000);

    sf_metric_reset();
    sf_histogram_add(SF_H_HTTP_TIME, 0);
    sf_histogram_add(SF_H_HTTP_TIME, UINT64_MAX);
    m = metric("http_time_us");
    assert_int_equal(m.buckets[0], 1);
    assert_int_equal(m.buckets[64], 1);
    assert_int_equal(m.p50, 0);
    assert_true(m.p99 == UINT64_MAX);
}

static int
check_entry(const struct sf_metric *m, void *arg)
{
    struct find *seen = arg;
    struct find again = {.name = m->name};
    seen->calls++;
    for (const char *p = m->name; *p; p++)
        assert_true(islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '_');
    assert_true(strlen(m->help) > 10);
    sf_metric_each(find_cb, &again);
    assert_int_equal(again.calls, seen->calls); /* the first with this name is this one */
    return 0;
}

static void
table_is_sound(void **state)
{
    (void)state;
    struct find seen = {0};
    assert_int_equal(sf_metric_each(check_entry, &seen), 0);
    assert_int_equal(seen.calls, SF_C_MAX + SF_G_MAX + SF_H_MAX);
}

#define THREADS 4
#define ROUNDS  20000

static void *
hammer(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        sf_count(SF_C_READS, 1);
        sf_gauge_peak(SF_G_PARKED_PEAK, sf_gauge_add(SF_G_PARKED, 1));
        sf_gauge_add(SF_G_PARKED, -1);
        sf_histogram_add(SF_H_HTTP_TIME, (uint64_t)i);
    }
    return NULL;
}

static void
nothing_is_lost_between_threads(void **state)
{
    (void)state;
    pthread_t tid[THREADS];
    sf_metric_reset();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(sf_thread_start("hammer", hammer, NULL, &tid[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(tid[i], NULL);
    assert_int_equal(sf_counter_get(SF_C_READS), THREADS * ROUNDS);
    assert_int_equal(sf_gauge_get(SF_G_PARKED), 0);
    assert_in_range(sf_gauge_get(SF_G_PARKED_PEAK), 1, THREADS);
    assert_int_equal(metric("http_time_us").value, THREADS * ROUNDS);
    assert_int_equal(metric("http_time_us").max, ROUNDS - 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_count),
        cmocka_unit_test(gauges_move_and_peak),
        cmocka_unit_test(histogram_tells_the_distribution),
        cmocka_unit_test(table_is_sound),
        cmocka_unit_test(nothing_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
