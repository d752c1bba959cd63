/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rule M11: what turns may use in a day and since the mount began. */
#include "chat/spend.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chat/store.h"

#define DAY_NS INT64_C(86400000000000)

static char dir[64];
static struct sf_chat_store *st;
static int64_t now = 20000 * DAY_NS;

static int64_t
clock_ns(void)
{
    return now;
}

static int
setup(void **state)
{
    struct sf_err err = SF_ERR_INIT;
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/supafs-spend-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    const struct sf_chat_store_opts o = {.state_dir = dir};
    return sf_chat_store_open(&o, &st, &err);
}

static int
remove_one(const char *path, const struct stat *s, int flag, struct FTW *f)
{
    (void)s, (void)flag, (void)f;
    return remove(path);
}

static int
teardown(void **state)
{
    (void)state;
    sf_chat_store_close(st);
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct spend *
begin(struct spend_opts o)
{
    struct spend *s;
    o.now_ns = clock_ns;
    assert_int_equal(spend_new(&o, st, &s), 0);
    return s;
}

static void
refuses(struct spend *s, struct spend_amount a, const char *words)
{
    struct sf_err err = SF_ERR_INIT;
    assert_int_equal(spend_book(s, &a, &err), -EDQUOT);
    if (!strstr(err.msg, words))
        fail_msg("%s", err.msg);
}

static void
without_limits_all_is_allowed(void **state)
{
    struct spend_amount much = {INT64_C(1) << 40, INT64_C(1) << 40};
    (void)state;
    struct spend *s = begin((struct spend_opts){0});
    assert_int_equal(spend_book(s, &much, NULL), 0);
    assert_int_equal(spend_book(s, &much, NULL), 0);
    assert_int_equal(spend_left(s, NULL), 0);
    spend_free(s);
}

static void
what_is_booked_counts(void **state)
{
    const struct spend_amount a = {600, 0}, used = {50, 0};
    struct spend_figures f;
    int64_t day;
    (void)state;
    struct spend *s = begin((struct spend_opts){.tokens_day = 1000});
    assert_int_equal(spend_book(s, &a, NULL), 0);
    refuses(s, a, "chat_tokens_day: 400 tokens are left until 00:00 UTC, and this takes about 600");
    spend_settle(s, &a, &used, &day);
    assert_int_equal(day, now / DAY_NS);
    assert_int_equal(spend_book(s, &a, NULL), 0);
    spend_figures(s, &f);
    assert_int_equal(f.day.tokens, 650);
    assert_int_equal(f.tokens_mount, 650);
    /* More than was thought. */
    const struct spend_amount more = {2000, 0};
    spend_settle(s, &a, &more, NULL);
    assert_int_equal(spend_left(s, NULL), -EDQUOT);
    refuses(s, used, ": 0 tokens are left");
    spend_free(s);
}

static void
a_day_ends(void **state)
{
    const struct spend_amount a = {900, 0}, none = {0, 0};
    (void)state;
    struct spend *s = begin((struct spend_opts){.tokens_day = 1000, .tokens_mount = 1500});
    assert_int_equal(spend_book(s, &a, NULL), 0);
    spend_settle(s, &a, &a, NULL);
    refuses(s, a, "chat_tokens_day");
    now += DAY_NS;
    refuses(s, a, "chat_tokens_mount: 600 tokens are left to this mount");
    const struct spend_amount less = {500, 0};
    assert_int_equal(spend_book(s, &less, NULL), 0);
    spend_settle(s, &less, &none, NULL);
    spend_free(s);
}

static void
prices_have_a_limit(void **state)
{
    const struct spend_amount a = {10, 1250000};
    (void)state;
    struct spend *s = begin((struct spend_opts){.price_day = 2000000});
    assert_int_equal(spend_book(s, &a, NULL), 0);
    refuses(s, a,
            "chat_price_day: 0.750000 is left until 00:00 UTC, and this costs about 1.250000");
    spend_free(s);
}

static void
the_next_mount_goes_on(void **state)
{
    struct sf_chat_change ch = {.id = "x-1",
                                .spender = "kimi",
                                .day = now / DAY_NS,
                                .spent = {.tokens = 700, .price = 3, .turns = 1}};
    const struct spend_amount a = {400, 0};
    (void)state;
    assert_int_equal(sf_chat_store_change(st, &ch), 0);
    struct spend *s = begin((struct spend_opts){.tokens_day = 1000, .tokens_mount = 500});
    refuses(s, a, "chat_tokens_day: 300 tokens are left");
    spend_free(s);
    now += DAY_NS;
    s = begin((struct spend_opts){.tokens_day = 1000, .tokens_mount = 500});
    assert_int_equal(spend_book(s, &a, NULL), 0);
    spend_free(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_limits_all_is_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_booked_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_day_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(prices_have_a_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(the_next_mount_goes_on, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
