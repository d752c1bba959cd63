/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

struct row {
    const char *glob, *text;
    bool fits;
};

static void
globs_fit_what_shells_take(void **state)
{
    static const struct row rows[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"*", "", true},
        {"**", "abc", true},
        {"*.txt", "a.txt", true},
        {"*.txt", ".txt", true},
        {"*.txt", "a.txt ", false},
        {"*.txt", "a.TXT", false},
        {"a*b*c", "a-b-b-c", true},
        {"a*b*c", "a-b-c-d", false},
        {"?", "a", true},
        {"?", "\xc3\xa9", true},
        {"?", "\xff", true},
        {"??", "\xc3\xa9", false},
        {"?", "", false},
        {"?", "/", true},
        {"[a-c]x", "bx", true},
        {"[a-c]x", "dx", false},
        {"[!a-c]", "d", true},
        {"[^a-c]", "b", false},
        {"[]x]", "]", true},
        {"[!]x]", "]", false},
        {"[a-]", "-", true},
        {"[-a]", "-", true},
        {"[\xc3\xa0-\xc3\xaf]", "\xc3\xa9", true},
        {"[\xc3\xa0-\xc3\xaf]", "\xc3", false},
        {"[\xff]", "\xff", true},
        {"[\xff]", "\xfe", false},
        {"[\\]]", "]", true},
        {"[abc", "[abc", true},
        {"[", "[", true},
        {"a[", "a[", true},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"\\?\\[\\\\", "?[\\", true},
        {"\\", "\\", true},
        {"*\\", "a\\", true},
        {"caf\xc3\xa9*", "caf\xc3\xa9.md", true},
        {"cafe\xcc\x81", "caf\xc3\xa9", false},
        {"*[0-9][0-9].jpg", "IMG_0042.jpg", true},
        {".*", ".hidden", true},
        {"*", ".hidden", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (sf_glob_match(rows[i].glob, rows[i].text, false) != rows[i].fits)
            fail_msg("'%s' and '%s'", rows[i].glob, rows[i].text);
}

static void
letters_may_count_in_either_case(void **state)
{
    (void)state;
    assert_true(sf_glob_match("image/*", "IMAGE/png", true));
    assert_true(sf_glob_match("IMAGE/[A-P]*", "image/png", true));
    assert_false(sf_glob_match("\xc3\x89", "\xc3\xa9", true)); /* of ASCII alone */
}

/* What takes forever where every star is tried against all others. */
static void
no_glob_takes_forever(void **state)
{
    char glob[2001], text[20001];
    (void)state;
    for (size_t i = 0; i + 1 < sizeof glob; i += 2)
        memcpy(glob + i, "*a", 2);
    glob[sizeof glob - 1] = '\0';
    memset(text, 'a', sizeof text - 2);
    memcpy(text + sizeof text - 2, "b", 2);
    int64_t start = sf_clock_ms();
    assert_false(sf_glob_match(glob, text, false));
    assert_true(sf_clock_ms() - start < 5000);
}

static void
items_are_told(void **state)
{
    enum sf_glob_kind kind;
    char c = 0;
    (void)state;
    assert_int_equal(sf_glob_item("*a", &kind, &c), 1);
    assert_int_equal(kind, SF_GLOB_ANY);
    assert_int_equal(sf_glob_item("?a", &kind, &c), 1);
    assert_int_equal(kind, SF_GLOB_ONE);
    assert_int_equal(sf_glob_item("[!]a-z]b", &kind, &c), 7);
    assert_int_equal(kind, SF_GLOB_ONE);
    assert_int_equal(sf_glob_item("[ab", &kind, &c), 1);
    assert_int_equal(kind, SF_GLOB_LITERAL);
    assert_int_equal(c, '[');
    assert_int_equal(sf_glob_item("\\*b", &kind, &c), 2);
    assert_int_equal(kind, SF_GLOB_LITERAL);
    assert_int_equal(c, '*');
    assert_int_equal(sf_glob_item("\xc3\xa9", &kind, &c), 2);
    assert_int_equal(kind, SF_GLOB_LITERAL);
    assert_int_equal(c, '\xc3');
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs_fit_what_shells_take),
        cmocka_unit_test(letters_may_count_in_either_case),
        cmocka_unit_test(no_glob_takes_forever),
        cmocka_unit_test(items_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
