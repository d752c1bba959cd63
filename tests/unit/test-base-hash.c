/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>

static int oom; /* the next so many-th allocation of the table fails; 0 = none */

static void *
table_malloc(size_t n)
{
    return oom && --oom == 0 ? NULL : malloc(n);
}

#define uthash_malloc(n) table_malloc(n)

#include "base/htab.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
siphash_is_siphash(void **state)
{
    (void)state;
    unsigned char in[15];
    for (unsigned char i = 0; i < sizeof in; i++)
        in[i] = i;
    /* the vector in the appendix of the SipHash paper, and the one for the empty string */
    uint64_t k0 = UINT64_C(0x0706050403020100), k1 = UINT64_C(0x0f0e0d0c0b0a0908);
    assert_true(sf_siphash(k0, k1, in, 15) == UINT64_C(0xa129ca6149be45e5));
    assert_true(sf_siphash(k0, k1, in, 0) == UINT64_C(0x726fdb47dd0e0e31));
}

static void
stable_hash_never_changes(void **state)
{
    (void)state;
    /* inode numbers and stored hashes rest on these */
    assert_true(sf_hash64("", 0) == UINT64_C(0x72a0fb589cf1b94d));
    assert_true(sf_hash64("supafs", 6) == UINT64_C(0x8aad88a3c36cd530));
}

static void
random_is_random(void **state)
{
    (void)state;
    unsigned char a[600] = {0}, b[600] = {0};
    assert_int_equal(sf_random_bytes(a, sizeof a), 0);
    assert_int_equal(sf_random_bytes(b, sizeof b), 0);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, a + 300, 300);

    char u[37], v[37];
    assert_int_equal(sf_uuid4(u), 0);
    assert_int_equal(sf_uuid4(v), 0);
    assert_string_not_equal(u, v);
    assert_int_equal(strlen(u), 36);
    for (int i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(u[i], '-');
        else
            assert_true(isdigit((unsigned char)u[i]) || (u[i] >= 'a' && u[i] <= 'f'));
    }
    assert_int_equal(u[14], '4');
    assert_non_null(strchr("89ab", u[19]));
}

struct item {
    char name[16];
    UT_hash_handle hh;
};

static void
no_memory_leaves_the_table(void **state)
{
    (void)state;
    struct item *head = NULL, *found;
    static struct item items[100];

    /* the head of the table, then its buckets */
    for (int fail = 1; fail <= 2; fail++) {
        struct item *el = &items[0];
        snprintf(el->name, sizeof el->name, "first");
        oom = fail;
        HASH_ADD_KEYPTR(hh, head, el->name, strlen(el->name), el);
        oom = 0;
        assert_false(SF_HTAB_ADDED(el));
        assert_null(head);
    }
    for (int i = 0; i < 100; i++) {
        snprintf(items[i].name, sizeof items[i].name, "item %d", i);
        HASH_ADD_KEYPTR(hh, head, items[i].name, strlen(items[i].name), &items[i]);
        assert_true(SF_HTAB_ADDED(&items[i]));
    }
    HASH_FIND_STR(head, "item 42", found);
    assert_ptr_equal(found, &items[42]);
    HASH_FIND_STR(head, "item 100", found);
    assert_null(found);
    assert_int_equal(HASH_COUNT(head), 100);
    HASH_CLEAR(hh, head);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_is_siphash),
        cmocka_unit_test(stable_hash_never_changes),
        cmocka_unit_test(random_is_random),
        cmocka_unit_test(no_memory_leaves_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
