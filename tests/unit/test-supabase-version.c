/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Versions of objects: what makes two the same. */
#include "supabase/storage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct sf_version
made(const char *id, const char *version, const char *etag, uint64_t size)
{
    struct sf_object_info info = {
        .id = id, .version = version, .etag = etag, .size = size, .updated_ns = 5};
    struct sf_version v;
    memset(&v, 0x55, sizeof v);
    sf_version_of_info(&info, &v);
    return v;
}

static bool
same(struct sf_version a, struct sf_version b)
{
    bool there = sf_version_same(&a, &b), back = sf_version_same(&b, &a);
    assert_int_equal(there, back);
    return there;
}

static void
test_same(void **state)
{
    struct sf_version full = made("i", "v", "\"e\"", 3);
    (void)state;
    assert_true(same(full, full));
    assert_false(same(full, made("j", "v", "\"e\"", 3)));
    assert_false(same(full, made("i", "w", "\"e\"", 3)));
    assert_false(same(full, made("i", "v", "\"f\"", 3)));
    assert_false(same(full, made("i", "v", "\"e\"", 4)));
    /* What only one of them knows says nothing. */
    assert_true(same(full, made("i", "", "\"e\"", 3)));
    assert_true(same(full, made("", "", "\"e\"", 3)));
    assert_true(same(full, made("i", "", "", 3)));
    assert_true(same(full, made("", "v", NULL, 3)));
    assert_false(same(made("i", "", "", 3), made("", "", "\"e\"", 3)));
    assert_false(same(made("", "", "", 3), made("", "", "", 3)));
    /* A proxy that compresses makes the ETag weak. */
    assert_true(same(full, made("i", "v", "W/\"e\"", 3)));
    assert_false(same(full, made("i", "v", "W/\"f\"", 3)));
    /* The time may move without the bytes. */
    full.updated_ns++;
    assert_true(same(full, made("i", "v", "\"e\"", 3)));
}

static void
test_made(void **state)
{
    char text[] = "text", long_etag[200];
    struct sf_version v;
    struct sf_object o = {.id = text, .etag = long_etag, .size = 7, .updated_ns = 9};
    (void)state;
    memset(long_etag, 'e', sizeof long_etag);
    long_etag[199] = '\0';
    memset(&v, 0x55, sizeof v);
    sf_version_of_object(&o, &v);
    assert_string_equal(v.id, "text");
    assert_string_equal(v.version, "");
    assert_string_equal(v.etag, "");
    assert_int_equal(v.size, 7);
    assert_int_equal(v.updated_ns, 9);
    assert_true(sf_version_known(&v));
    long_etag[135] = '\0';
    sf_version_of_object(&o, &v);
    assert_string_equal(v.etag, long_etag);
    v = made("", "", "", 7);
    assert_false(sf_version_known(&v));
    v = made("", "", "\"e\"", 7);
    assert_true(sf_version_known(&v));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
