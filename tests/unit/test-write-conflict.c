/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tree/names.h"
#include "write/conflict.h"
#include "write/write.h"

#define WHEN INT64_C(1763716425120000000) /* 2025-11-21T09:13:45.120Z */
#define TIME "20251121T091345Z"

/* The contracts of write/conflict.h and of sf_failure_is_held(). */

static void
the_name_says_where_and_when(void **state)
{
    (void)state;
    char out[SF_CONFLICT_KEY_MAX + 1], again[SF_CONFLICT_KEY_MAX + 1];
    assert_int_equal(sf_conflict_key("a/b.txt", WHEN, 0, out), 0);
    assert_int_equal(strncmp(out, "a/b.txt.conflict-", 17), 0);
    assert_non_null(strstr(out, "-" TIME));
    assert_string_equal(strstr(out, TIME), TIME);
    assert_int_equal(sf_conflict_key("a/b.txt", WHEN, 2, again), 0);
    assert_string_equal(strstr(again, TIME), TIME "-2");
    assert_int_equal(sf_conflict_key("top", WHEN, 0, out), 0);
    assert_int_equal(strncmp(out, "top.conflict-", 13), 0);
}

static size_t
component_of(const char *key)
{
    const char *slash = strrchr(key, '/');
    return strlen(slash ? slash + 1 : key);
}

static void
what_is_too_long_is_cut(void **state)
{
    (void)state;
    char key[1200], out[SF_CONFLICT_KEY_MAX + 1];
    memset(key, 'x', sizeof key);
    memcpy(key, "d/", 2);
    key[2 + 255] = '\0';
    assert_int_equal(sf_conflict_key(key, WHEN, 0, out), 0);
    assert_int_equal(component_of(out), 255);
    assert_non_null(strstr(out, "xx.conflict-"));

    for (int i = 200; i < 840; i += 200) /* a deep directory leaves less */
        key[i] = '/';
    key[257] = 'x';
    key[890] = '\0';
    assert_int_equal(sf_conflict_key(key, WHEN, 0, out), 0);
    assert_int_equal(strlen(out), SF_CONFLICT_KEY_MAX);

    key[880] = '/';
    assert_int_equal(sf_conflict_key(key, WHEN, 0, out), -ENAMETOOLONG);
}

/* The kept version is shown under the name of the object with the rest behind it. */
static void
escaped_names_stay_readable(void **state)
{
    (void)state;
    static const char *const names[] = {"r\u00e9sum\u00e9.pdf",
                                        "a#b",
                                        "\u6587\u4ef6",
                                        "C=@23",
                                        "=!",
                                        "\U0001f600 x",
                                        "a~",
                                        "\u00e9A\u00e9",
                                        "\u00e9 caf\u00e9-x_",
                                        "100%",
                                        "x=1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char comp[SF_NAME_BUF_SIZE], out[SF_CONFLICT_KEY_MAX + 1], shown[SF_NAME_BUF_SIZE];
        assert_int_equal(sf_name_to_key(names[i], 0, comp), 0);
        assert_int_equal(sf_conflict_key(comp, WHEN, 0, out), 0);
        assert_int_equal(sf_name_from_key(out, strlen(out), 0, shown), 0);
        assert_int_equal(strncmp(shown, names[i], strlen(names[i])), 0);
        assert_int_equal(strncmp(shown + strlen(names[i]), ".conflict-", 10), 0);
    }
}

static void
no_escape_is_cut_in_two(void **state)
{
    (void)state;
    static const char *const units[] = {"\u00e9", "\u6587",  "\U0001f600",
                                        "#",      "\u00e9A", "aB\u00e9"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        for (size_t lead = 0; lead < 5; lead++) {
            char name[SF_NAME_BUF_SIZE] = "", comp[SF_NAME_BUF_SIZE], shown[SF_NAME_BUF_SIZE];
            char out[SF_CONFLICT_KEY_MAX + 1], longer[SF_NAME_BUF_SIZE];
            memset(name, 'a', lead);
            for (;;) { /* the longest that fits */
                snprintf(longer, sizeof longer, "%s%s", name, units[i]);
                if (strlen(longer) < strlen(name) + strlen(units[i]) ||
                    sf_name_to_key(longer, 0, comp))
                    break;
                memcpy(name, longer, sizeof name);
            }
            assert_int_equal(sf_name_to_key(name, 0, comp), 0);
            assert_int_equal(sf_conflict_key(comp, WHEN, 0, out), 0);
            assert_true(strlen(out) <= 255);
            assert_int_equal(sf_name_from_key(out, strlen(out), 0, shown), 0);
            const char *tail = strstr(shown, ".conflict-");
            assert_non_null(tail);
            assert_int_equal(strncmp(shown, name, (size_t)(tail - shown)), 0);
        }
}

static void
what_is_held_and_what_refused(void **state)
{
    (void)state;
    static const struct {
        struct sf_err err;
        bool held;
    } rows[] = {
        {{.code = -ECONNREFUSED}, true},
        {{.code = -ETIMEDOUT}, true},
        {{.code = -EIO}, true},
        {{.code = -EIO, .http_status = 500}, true},
        {{.code = -EIO, .http_status = 400}, false},
        {{.code = -EIO, .http_status = 206}, true},
        {{.code = -EIO, .http_status = 307}, true},
        {{.code = -EIO, .http_status = 404}, true},
        {{.code = -EKEYEXPIRED, .http_status = 400}, true},
        {{.code = -EKEYREJECTED, .http_status = 400}, true},
        {{.code = -EROFS, .http_status = 400}, true},
        {{.code = -ECANCELED}, true},
        {{.code = -ENOMEM}, true},
        {{.code = -EACCES, .http_status = 400}, false},
        {{.code = -EPERM}, false},
        {{.code = -EFBIG}, false},
        {{.code = -EEXIST}, false},
        {{.code = -EEXIST, .outcome_open = true}, true},
        {{.code = -ENOENT, .http_status = 400}, false},
        {{.code = -ENOTSUP}, false},
        {{.code = -EDQUOT, .http_status = 402}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(sf_failure_is_held(&rows[i].err), rows[i].held);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_name_says_where_and_when),  cmocka_unit_test(what_is_too_long_is_cut),
        cmocka_unit_test(escaped_names_stay_readable),   cmocka_unit_test(no_escape_is_cut_in_two),
        cmocka_unit_test(what_is_held_and_what_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
