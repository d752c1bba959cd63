/* SPDX-License-Identifier: GPL-3.0-or-later */
/* daemon/chats.h: what the option chat_price_day may be. */
#include "daemon/chats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void
a_price(void **state)
{
    static const struct {
        const char *text;
        int64_t want;
    } good[] = {{"0", 0},           {"2.50", 2500000},
                {"0.000001", 1},    {"10", 10000000},
                {"007.5", 7500000}, {"999999999999.999999", INT64_C(999999999999999999)}};
    static const char *const bad[] = {"",    "-1",    ".5",  "5.",  "1.2.3",     "1,5",
                                      "1e3", "+1",    " 1",  "1 ",  "1.0000001", "1000000000000",
                                      "$2",  "2 USD", "inf", "0x1", "١"};
    int64_t got = 0;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(chats_price(good[i].text, &got));
        assert_int_equal(got, good[i].want);
    }
    got = 4711;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(chats_price(bad[i], &got));
    assert_int_equal(got, 4711);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_price)};
    return cmocka_run_group_tests_name("daemon/chats", tests, NULL, NULL);
}
