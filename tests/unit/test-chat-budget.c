/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Rules M4, M5 and M8 of docs/formats/chat.md: how much is sent. */
#include "chat/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "provider/tokens.h"

static void
rooms(void **state)
{
    struct sf_chat_needs n = {.context = 131072, .prompt = 10};
    (void)state;
    struct sf_chat_budget b = sf_chat_budget_of(&n);
    assert_int_equal(b.all, 131072 - 16384 - 16384);
    assert_int_equal(b.files, (b.all - 2048) - (b.all - 2048) / 4);
    /* What is wanted of the answer is kept free. */
    n.answer = 50000;
    assert_int_equal(sf_chat_budget_of(&n).all, 131072 - 16384 - 50000);
    n.answer = 0;
    /* The question's length shifts it in steps only. */
    const uint64_t files = b.files;
    n.prompt = 2048;
    assert_int_equal(sf_chat_budget_of(&n).files, files);
    n.prompt = 2049;
    assert_int_equal(sf_chat_budget_of(&n).files, files - 1536);
    n.system = 1;
    assert_int_equal(sf_chat_budget_of(&n).files, files - 3072);
    /* Nothing known; nothing left. */
    n = (struct sf_chat_needs){0};
    assert_int_equal(sf_chat_budget_of(&n).all, 32768 - 4096 - 8192);
    n = (struct sf_chat_needs){.context = 1000, .answer = UINT64_MAX, .prompt = UINT64_MAX};
    b = sf_chat_budget_of(&n);
    assert_int_equal(b.all, 0);
    assert_int_equal(b.files, 0);
}

static void
oldest_go_first(void **state)
{
    static const uint64_t t[] = {100, 10, 10, 10, 10, 10, 10, 10, 10, 10};
    const size_t n = sizeof t / sizeof *t;
    (void)state;
    assert_int_equal(sf_chat_budget_drop(t, n, 190, 0), 0);
    assert_int_equal(sf_chat_budget_drop(t, n, 189, 0), 1);
    /* Three quarters of 80: six stay. */
    assert_int_equal(sf_chat_budget_drop(t, n, 80, 0), 4);
    /* So the next turns begin where this one did. */
    assert_int_equal(sf_chat_budget_drop(t, n, 80, 4), 4);
    assert_int_equal(sf_chat_budget_drop(t, n, 190, 4), 4);
    assert_int_equal(sf_chat_budget_drop(t, n, 0, 0), n);
    assert_int_equal(sf_chat_budget_drop(t, n, 80, 99), n);
    assert_int_equal(sf_chat_budget_drop(NULL, 0, 0, 0), 0);
}

static size_t
cut(const char *text, uint64_t room)
{
    uint64_t tokens = UINT64_MAX;
    size_t len = strlen(text), n = sf_chat_cut(text, len, room, &tokens);
    assert_true(n <= len);
    assert_true(tokens <= room);
    assert_int_equal(tokens, sf_tokens_estimate(text, n));
    assert_true(sf_utf8_valid(text, n));
    return n;
}

static void
texts_are_cut_at_lines(void **state)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    (void)state;
    assert_int_equal(cut("", 0), 0);
    assert_int_equal(cut("two words\n", 100), 10);
    assert_int_equal(cut("two words\n", 0), 0);
    for (int i = 0; i < 50000; i++)
        assert_int_equal(sf_buf_printf(&b, "This is line number %d of a text.\n", i), 0);
    const uint64_t all = sf_tokens_estimate(b.data, b.len);
    assert_int_equal(cut(b.data, all), b.len);
    for (uint64_t room = 20; room < all; room = room * 3 + 7) {
        size_t n = cut(b.data, room);
        assert_int_equal(b.data[n - 1], '\n');
        /* Not much less than fits. */
        assert_true(sf_tokens_estimate(b.data, n) + 30 + room / 50 > room);
    }
}

static void
long_lines_are_cut_at_characters(void **state)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    (void)state;
    for (int i = 0; i < 20000; i++)
        assert_int_equal(sf_buf_puts(&b, i % 3 ? "\xf0\x9f\x98\x80" : "ä€"), 0);
    size_t n = cut(b.data, 5000);
    assert_true(n > 1000 && n < b.len);
    assert_int_equal(sf_buf_puts(&b, "\nend\n"), 0);
    assert_true(cut(b.data, 5000) >= n / 2);
    sf_buf_clear(&b);
    /* A short line before it is not all that is left. */
    assert_int_equal(sf_buf_puts(&b, "head\n"), 0);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(sf_buf_puts(&b, "word "), 0);
    assert_true(cut(b.data, 5000) > 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rooms),
        cmocka_unit_test(oldest_go_first),
        cmocka_unit_test(texts_are_cut_at_lines),
        cmocka_unit_test(long_lines_are_cut_at_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
