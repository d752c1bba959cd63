/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/buf.h"
#include "base/vec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
empty_is_a_string(void **state)
{
    (void)state;
    struct sf_buf b = SF_BUF_INIT, zeroed = {0};
    assert_string_equal(b.data, "");
    assert_string_equal(sf_buf_str(&zeroed), "");
    char *p = sf_buf_steal(&b, NULL);
    assert_string_equal(p, "");
    free(p);
    assert_int_equal(sf_buf_puts(&zeroed, "works"), 0);
    assert_string_equal(zeroed.data, "works");
    sf_buf_fini(&zeroed);
    sf_buf_fini(&zeroed);
    assert_string_equal(zeroed.data, "");
}

static void
grows_and_stays_terminated(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(sf_buf_printf(&b, "%d,", i), 0);
        assert_int_equal(strlen(b.data), b.len);
        assert_true(b.cap > b.len);
    }
    assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(sf_buf_putc(&b, '\0'), 0);
    assert_int_equal(sf_buf_append(&b, "x\0y", 3), 0);
    assert_memory_equal(b.data + b.len - 4, "\0x\0y\0", 5);
    sf_buf_clear(&b);
    assert_string_equal(b.data, "");
}

static void
max_is_not_exceeded(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    assert_int_equal(sf_buf_append_max(&b, "12345678", 8, 10), 0);
    assert_int_equal(sf_buf_append_max(&b, "abc", 3, 10), -EFBIG);
    assert_string_equal(b.data, "12345678");
    assert_int_equal(sf_buf_append_max(&b, "ab", 2, 10), 0);
    assert_int_equal(sf_buf_append_max(&b, "", 0, 10), 0);
    assert_int_equal(sf_buf_append_max(&b, "c", 1, 4), -EFBIG);
    assert_string_equal(b.data, "12345678ab");
}

static void
impossible_sizes_fail_whole(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    assert_int_equal(sf_buf_puts(&b, "kept"), 0);
    assert_int_equal(sf_buf_reserve(&b, SIZE_MAX), -ENOMEM);
    assert_int_equal(sf_buf_reserve(&b, SIZE_MAX - 4), -ENOMEM);
    assert_int_equal(sf_buf_reserve(&b, SIZE_MAX / 2), -ENOMEM);
    assert_string_equal(b.data, "kept");
}

static void
steal_gives_the_content(void **state)
{
    (void)state;
    struct sf_buf b = SF_BUF_INIT;
    size_t n = 99;
    assert_int_equal(sf_buf_append(&b, "a\0b", 3), 0);
    sf_autofree char *p = sf_buf_steal(&b, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(p, "a\0b", 4);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
}

SF_VEC_DEFINE(int_vec, int);

static void
vector_keeps_order(void **state)
{
    (void)state;
    struct int_vec v = {0};
    int sum = 0;
    SF_VEC_FOREACH (&v, none)
        sum += *none + 1;
    assert_int_equal(sum, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(int_vec_push(&v, i), 0);
    assert_int_equal(int_vec_insert(&v, 0, -1), 0);
    assert_int_equal(int_vec_insert(&v, 101, 100), 0);
    int want = -1;
    SF_VEC_FOREACH (&v, p)
        assert_int_equal(*p, want++);
    int_vec_remove(&v, 0);
    assert_int_equal(v.data[0], 0);
    int_vec_swap_remove(&v, 0);
    assert_int_equal(v.data[0], 100);
    assert_int_equal(v.len, 100);
    assert_int_equal(int_vec_reserve(&v, SIZE_MAX), -ENOMEM);
    assert_int_equal(int_vec_reserve(&v, SIZE_MAX / 4), -ENOMEM);
    int_vec_fini(&v);
    assert_int_equal(v.len, 0);
    assert_null(v.data);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_is_a_string),       cmocka_unit_test(grows_and_stays_terminated),
        cmocka_unit_test(max_is_not_exceeded),     cmocka_unit_test(impossible_sizes_fail_whole),
        cmocka_unit_test(steal_gives_the_content), cmocka_unit_test(vector_keeps_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
