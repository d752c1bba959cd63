/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tree/words.h: every text has one number, up to a bound; what does not fit has none. */
#include "tree/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
test_a_text_keeps_its_number(void **state)
{
    (void)state;
    struct words *w = words_new();
    uint16_t text = word_of(w, "text/plain"), none = word_of(w, ""), other = word_of(w, "a");
    assert_int_not_equal(text, 0);
    assert_int_not_equal(none, 0);
    assert_int_not_equal(text, none);
    assert_int_not_equal(other, text);
    assert_int_equal(word_of(w, "text/plain"), text);
    assert_string_equal(word_text(w, text), "text/plain");
    assert_string_equal(word_text(w, none), "");
    assert_null(word_text(w, 0));
    assert_int_equal(word_of(w, NULL), 0);
    words_free(w);
}

static void
test_long_texts_have_none(void **state)
{
    (void)state;
    char text[WORD_MAX + 2];
    struct words *w = words_new();
    memset(text, 'x', sizeof text - 1);
    text[WORD_MAX + 1] = '\0';
    assert_int_equal(word_of(w, text), 0);
    text[WORD_MAX] = '\0';
    assert_int_not_equal(word_of(w, text), 0);
    words_free(w);
}

/* Hostile listings: the table ends at 65,535 texts or at its bytes, and what it has stays. */
static void
fill(size_t len, unsigned *count)
{
    char text[WORD_MAX + 1];
    struct words *w = words_new();
    uint16_t first = word_of(w, "first"), n;
    memset(text, 'x', sizeof text);
    for (*count = 0; *count < 70000; ++*count) {
        snprintf(text + len - 8, 9, "%08u", *count);
        if (!(n = word_of(w, text)))
            break;
        assert_string_equal(word_text(w, n), text);
    }
    assert_int_equal(word_of(w, "one more"), 0);
    assert_int_equal(word_of(w, "first"), first);
    words_free(w);
}

static void
test_there_is_an_end(void **state)
{
    (void)state;
    unsigned count;
    fill(8, &count);
    assert_in_range(count, 20000, 65534);
    fill(WORD_MAX, &count);
    assert_in_range(count, 8000, 16000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_text_keeps_its_number),
        cmocka_unit_test(test_long_texts_have_none),
        cmocka_unit_test(test_there_is_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
