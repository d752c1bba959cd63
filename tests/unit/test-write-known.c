/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "write/known.h"

/* The contract of write/known.h. */

static void
put(struct sf_known *k, const char *key, const char *sha, uint64_t size, const char *op)
{
    struct sf_known_object o = {.bucket = (char *)"b", .key = (char *)key, .size = size};
    snprintf(o.sha256, sizeof o.sha256, "%s", sha);
    snprintf(o.op, sizeof o.op, "%s", op);
    snprintf(o.version, sizeof o.version, "v");
    sf_known_put(k, &o);
}

static void
by_key_and_by_content(void **state)
{
    (void)state;
    struct sf_known *k;
    struct sf_known_object o;
    assert_int_equal(sf_known_new(&k), 0);
    put(k, "one", "aa", 5, "op1");
    put(k, "two", "bb", 5, "op2");
    assert_true(sf_known_at(k, "b", "one", &o));
    assert_string_equal(o.op, "op1");
    sf_known_object_fini(&o);
    assert_false(sf_known_at(k, "other", "one", &o));
    assert_true(sf_known_content(k, "bb", 5, &o));
    assert_string_equal(o.key, "two");
    sf_known_object_fini(&o);
    assert_false(sf_known_content(k, "bb", 6, &o));
    assert_false(sf_known_content(k, "", 5, &o));

    put(k, "one", "cc", 7, "op3"); /* overwritten: the old content is there no more */
    assert_false(sf_known_content(k, "aa", 5, &o));
    sf_known_touch(k, "b", "one", "op4", "v2", "\"e\"");
    assert_true(sf_known_content(k, "cc", 7, &o));
    assert_string_equal(o.op, "op4");
    assert_string_equal(o.version, "v2");
    sf_known_object_fini(&o);
    sf_known_forget(k, "b", "one");
    assert_false(sf_known_at(k, "b", "one", &o));
    sf_known_free(k);
}

static void
a_move_takes_it_along(void **state)
{
    (void)state;
    struct sf_known *k;
    struct sf_known_object o;
    assert_int_equal(sf_known_new(&k), 0);
    put(k, "one", "aa", 5, "op1");
    put(k, "two", "bb", 5, "op2");
    sf_known_move(k, "b", "one", "b", "two");
    assert_false(sf_known_at(k, "b", "one", &o));
    assert_false(sf_known_content(k, "bb", 5, &o));
    assert_true(sf_known_at(k, "b", "two", &o));
    assert_string_equal(o.op, "op1");
    assert_string_equal(o.version, ""); /* the move made another */
    sf_known_object_fini(&o);
    sf_known_move(k, "b", "unknown", "b", "two"); /* something else is there now */
    assert_false(sf_known_at(k, "b", "two", &o));
    sf_known_free(k);
}

static void
the_oldest_go(void **state)
{
    (void)state;
    struct sf_known *k;
    struct sf_known_object o;
    char key[32];
    assert_int_equal(sf_known_new(&k), 0);
    for (int i = 0; i < SF_KNOWN_MAX + 10; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put(k, key, key, (uint64_t)i, "");
    }
    assert_false(sf_known_at(k, "b", "k9", &o));
    assert_true(sf_known_at(k, "b", "k10", &o));
    sf_known_object_fini(&o);
    sf_known_free(k);
    sf_known_free(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_key_and_by_content),
        cmocka_unit_test(a_move_takes_it_along),
        cmocka_unit_test(the_oldest_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
