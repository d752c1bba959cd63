/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define S INT64_C(1000000000)

static int64_t
parsed(const char *s)
{
    int64_t ns = -12345;
    int rc = sf_time_parse(s, &ns);
    if (rc)
        fail_msg("%s: %d", s, rc);
    return ns;
}

static void
times_are_read(void **state)
{
    (void)state;
    assert_int_equal(parsed("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(parsed("2026-11-21T04:05:19.770Z"), 1795233919 * S + 770000000);
    assert_int_equal(parsed("2026-11-21T04:05:19.770123+00:00"), 1795233919 * S + 770123000);
    assert_int_equal(parsed("2026-11-21 04:05:19.123456789+00"), 1795233919 * S + 123456789);
    assert_int_equal(parsed("2026-11-21T05:35:19+0130"), 1795233919 * S);
    assert_int_equal(parsed("2026-11-20T23:05:19-05:00"), 1795233919 * S);
    assert_int_equal(parsed("1969-12-31T23:59:59.5Z"), -S / 2);
    assert_int_equal(parsed("2024-02-29T00:00:00Z"), 1709164800 * S);
    assert_int_equal(parsed("2000-02-29T12:00:00Z"), 951825600 * S);
    assert_int_equal(parsed("2016-12-31T23:59:60Z"), 1483228800 * S);
}

static void
no_time_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11-21",
        "2026-11-21T04:05:19",
        "2026-11-21T04:05:19.Z",
        "2026-11-21T04:05:19.1234567890Z",
        "2026-13-21T04:05:19Z",
        "2026-00-21T04:05:19Z",
        "2026-02-30T04:05:19Z",
        "2025-02-29T04:05:19Z",
        "1900-02-29T04:05:19Z",
        "2026-11-00T04:05:19Z",
        "2026-11-21T24:05:19Z",
        "2026-11-21T04:60:19Z",
        "2026-11-21T04:05:61Z",
        "2026-11-21T04:05:19ZZ",
        "2026-11-21T04:05:19+0",
        "2026-11-21T04:05:19+00:",
        "2026-11-21T04:05:19+00:0",
        "2026-11-21T04:05:19+24:00",
        "2026-11-21T04:05:19+00:60",
        " 2026-11-21T04:05:19Z",
        "2026-11-21x04:05:19Z",
        "+026-11-21T04:05:19Z",
        "Sat, 21 Nov 2026 04:05:19 GMT",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t ns = 77;
        if (sf_time_parse(bad[i], &ns) != -EINVAL)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(ns, 77);
    }
    int64_t ns = 77;
    assert_int_equal(sf_time_parse("1600-01-01T00:00:00Z", &ns), -ERANGE);
    assert_int_equal(sf_time_parse("9999-01-01T00:00:00Z", &ns), -ERANGE);
    assert_int_equal(ns, 77);
}

static void
days_agree_with_libc(void **state)
{
    (void)state;
    char s[40];
    for (time_t t = -9000000000 + 12345; t < 9000000000; t += 86400 * 3 + 4321) {
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(s, sizeof s, "%Y-%m-%dT%H:%M:%SZ", &tm);
        assert_int_equal(parsed(s), t * S);
    }
}

static void
formats_what_it_reads(void **state)
{
    (void)state;
    char s[32];
    sf_time_format_ms(1795233919 * S + 770999999, s);
    assert_string_equal(s, "2026-11-21T04:05:19.770Z");
    sf_time_format_ms(-1, s);
    assert_string_equal(s, "1969-12-31T23:59:59.999Z");
    sf_time_format_ms(0, s);
    assert_string_equal(s, "1970-01-01T00:00:00.000Z");
    sf_time_format_ms(INT64_MIN, s);
    assert_string_equal(s, "1677-09-21T00:12:43.145Z");
    sf_time_format_ms(INT64_MAX, s);
    assert_string_equal(s, "2262-04-11T23:47:16.854Z");
}

static int64_t
loose(const char *s)
{
    int64_t ns = -12345;
    int rc = sf_time_parse_loose(s, 1795233919 * S, &ns);
    if (rc)
        fail_msg("%s: %d", s, rc);
    return ns;
}

static void
people_write_ages_and_local_times(void **state)
{
    static const char *const bad[] = {"",
                                      "2",
                                      "h",
                                      "2 h",
                                      "-2h",
                                      "1.5h",
                                      "2y",
                                      "2026",
                                      "2026-02-30",
                                      "2026-11",
                                      "2026-11-21T",
                                      "2026-11-21T04",
                                      "2026-1-1",
                                      "yesterday",
                                      "2026-11-21 24:00",
                                      "2026-11-21x",
                                      "2026-11-21 04:05:",
                                      "2026-11-21 04:05:06 UTC"};
    int64_t now = 1795233919 * S, ns = 7;
    (void)state;
    assert_int_equal(loose("90s"), now - 90 * S);
    assert_int_equal(loose("0s"), now);
    assert_int_equal(loose("15m"), now - 900 * S);
    assert_int_equal(loose("15min"), now - 900 * S);
    assert_int_equal(loose("2h"), now - 7200 * S);
    assert_int_equal(loose("3d"), now - 259200 * S);
    assert_int_equal(loose("2w"), now - 1209600 * S);
    assert_int_equal(loose("2026-11-21T04:05:19.770Z"), now + 770000000);
    assert_int_equal(setenv("TZ", "ABC-2DEF-3,M3.5.0,M10.5.0", 1), 0); /* with a summer */
    assert_int_equal(loose("2026-11-21"), parsed("2026-11-21T00:00:00+02"));
    assert_int_equal(loose("2026-07-21"), parsed("2026-07-21T00:00:00+03"));
    assert_int_equal(loose("2026-11-21 04:05"), parsed("2026-11-21T04:05:00+02"));
    assert_int_equal(loose("2026-11-21T04:05:19"), parsed("2026-11-21T04:05:19+02"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (sf_time_parse_loose(bad[i], now, &ns) != -EINVAL || ns != 7)
            fail_msg("%s", bad[i]);
    assert_int_equal(sf_time_parse_loose("99999999999999999999d", now, &ns), -ERANGE);
    assert_int_equal(sf_time_parse_loose("999999999w", now, &ns), -ERANGE);
    assert_int_equal(sf_time_parse_loose("9999-01-01", now, &ns), -ERANGE);
    assert_int_equal(ns, 7);
}

static void
clocks_go_on(void **state)
{
    (void)state;
    int64_t ns = sf_clock_ns(), ms = sf_clock_ms();
    assert_true(ms >= ns / 1000000);
    assert_true(sf_clock_ns() >= ns);
    assert_true(sf_wall_ns() > parsed("2020-01-01T00:00:00Z"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(no_time_is_refused),
        cmocka_unit_test(days_agree_with_libc),
        cmocka_unit_test(formats_what_it_reads),
        cmocka_unit_test(people_write_ages_and_local_times),
        cmocka_unit_test(clocks_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
