/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "keep-fixture.h"

/* Contents that were acknowledged and are refused: what becomes of their files. */

/* What goes in the place of refused bytes takes their file along, too. */
static void
a_refusal_that_is_followed(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "one");
    struct sf_err why = {.code = -EACCES};
    fake_close(FAKE_PUT);
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    struct keep *one = keep(c, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    set(c, "two");
    struct keep *two = keep(c, false);
    assert_int_equal(wait_for(two->kept), 0);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(one->settled), 0);
    assert_true(one->settled->done.superseded);
    assert_int_equal(wait_for(two->settled), 0);
    assert_int_equal(count_files("staging"), 1); /* which the content goes on with */

    set(c, "three"); /* put aside, and written on */
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    assert_int_equal(wait_for(keep(c, true)->settled), -EACCES);
    assert_int_equal(sf_content_quarantine(c, &why, NULL), 0);
    set(c, "four");
    assert_int_equal(wait_for(keep(c, true)->settled), 0);
    assert_true(fake_has("b", "k", "four"));
    sf_content_unref(c);
    expect_pending(0);
    assert_int_equal(count_files("staging"), 0);
    assert_int_equal(count_files("quarantine"), 2);
}

/* The same bytes once more, with other attributes, in the same file. */
static void
a_refusal_of_the_same_bytes_with_other_attributes(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "one");
    fake_close(FAKE_PUT);
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    struct keep *one = keep(c, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    sf_content_mark_dirty(c);
    struct keep *two = keep(c, false);
    assert_int_equal(wait_for(two->kept), 0);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(one->settled), 0);
    assert_int_equal(wait_for(two->settled), 0);
    assert_true(fake_has("b", "k", "one"));
    sf_content_unref(c);
    expect_pending(0);
    assert_int_equal(count_files("staging"), 0);
}

/* Of nothing there is nothing to put aside. */
static void
a_refusal_of_no_bytes(void **state)
{
    (void)state;
    struct sf_content *c = content("k", NULL);
    struct sf_err why = {.code = -EACCES};
    sf_content_mark_dirty(c);
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    assert_int_equal(wait_for(keep(c, false)->settled), -EACCES);
    assert_int_equal(sf_content_quarantine(c, &why, NULL), 0);
    sf_content_unref(c);
    expect_pending(0);
    assert_int_equal(count_files("staging"), 0);
    assert_int_equal(count_files("quarantine"), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_refusal_that_is_followed),
        TEST(a_refusal_of_the_same_bytes_with_other_attributes),
        TEST(a_refusal_of_no_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
