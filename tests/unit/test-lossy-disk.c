/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The disk of tests/tools/lossyfs: what was synced is there after every loss of power, what was not
 * is there after some, and nothing else ever is. */
#include "../tools/lossy-disk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include <cmocka.h>

#define LOSSES 400

static struct lossy_node *
file(struct lossy_disk *d, struct lossy_node *dir, const char *name)
{
    struct lossy_node *n;
    assert_int_equal(lossy_make(d, dir, name, S_IFREG | 0600, &n), 0);
    return n;
}

static struct lossy_node *
folder(struct lossy_disk *d, struct lossy_node *dir, const char *name)
{
    struct lossy_node *n;
    assert_int_equal(lossy_make(d, dir, name, S_IFDIR | 0700, &n), 0);
    return n;
}

static void
fill(struct lossy_disk *d, struct lossy_node *n, int byte, uint64_t off, size_t len)
{
    char *buf = malloc(len);
    assert_non_null(buf);
    memset(buf, byte, len);
    lossy_write(d, n, buf, len, off);
    free(buf);
}

/* How many sectors of the file have this byte, and no other. */
static unsigned
sectors_of(const struct lossy_node *n, int byte)
{
    unsigned found = 0;
    for (uint64_t off = 0; off < n->size; off += LOSSY_SECTOR) {
        unsigned char buf[LOSSY_SECTOR];
        assert_int_equal(lossy_read(n, buf, sizeof buf, off), sizeof buf);
        size_t same = 0;
        while (same < sizeof buf && buf[same] == byte)
            same++;
        found += same == sizeof buf;
    }
    return found;
}

static void
test_what_was_synced_stays(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < LOSSES; seed++) {
        struct lossy_disk *d = lossy_new(seed, false);
        struct lossy_node *dir = folder(d, lossy_root(d), "dir"), *n = file(d, dir, "f");
        fill(d, n, 'a', 0, 3 * LOSSY_PAGE);
        assert_int_equal(lossy_set_xattr(n, "user.x", "1", 1, 0), 0);
        lossy_sync(d, n, false);
        lossy_sync(d, dir, false);
        lossy_sync(d, lossy_root(d), false);
        lossy_lose(d, seed, -1);
        dir = lossy_find(lossy_root(d), "dir");
        assert_non_null(dir);
        n = lossy_find(dir, "f");
        assert_non_null(n);
        assert_int_equal(n->size, 3 * LOSSY_PAGE);
        assert_int_equal(sectors_of(n, 'a'), 3 * LOSSY_PAGE / LOSSY_SECTOR);
        assert_non_null(lossy_xattr(n, "user.x"));
        lossy_free(d);
    }
}

static void
test_what_was_not_synced_may_go(void **state)
{
    (void)state;
    unsigned old = 0, new = 0, torn = 0, mixed = 0, shorter = 0;
    for (uint64_t seed = 0; seed < LOSSES; seed++) {
        struct lossy_disk *d = lossy_new(seed, false);
        struct lossy_node *n = file(d, lossy_root(d), "f");
        fill(d, n, 'a', 0, 4 * LOSSY_PAGE);
        lossy_sync(d, n, true);
        lossy_sync(d, lossy_root(d), false);
        fill(d, n, 'b', 0, 6 * LOSSY_PAGE);
        lossy_lose(d, seed, -1);
        n = lossy_find(lossy_root(d), "f");
        assert_non_null(n);
        unsigned a = sectors_of(n, 'a'), b = sectors_of(n, 'b'), zeros = sectors_of(n, 0);
        unsigned all = (unsigned)(n->size / LOSSY_SECTOR), page = LOSSY_PAGE / LOSSY_SECTOR;
        assert_true(n->size == 4 * LOSSY_PAGE || n->size == 6 * LOSSY_PAGE);
        assert_int_equal(a + b + zeros, all);
        assert_true(zeros <= 2 * page); /* of the part that is new */
        old += a == all;
        new += b == all &&all == 6 * page;
        mixed += a && b;
        torn += a % page != 0;
        shorter += all == 4 * page;
        lossy_free(d);
    }
    assert_true(old && new &&torn &&mixed &&shorter);
}

static void
test_only_the_range_of_a_synced_write(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < LOSSES; seed++) {
        struct lossy_disk *d = lossy_new(seed, false);
        struct lossy_node *n = file(d, lossy_root(d), "f");
        lossy_sync(d, lossy_root(d), false);
        fill(d, n, 'a', 0, 2 * LOSSY_PAGE);
        lossy_sync_range(n, LOSSY_PAGE, LOSSY_PAGE);
        lossy_lose(d, seed, -1);
        n = lossy_find(lossy_root(d), "f");
        unsigned a = sectors_of(n, 'a'), page = LOSSY_PAGE / LOSSY_SECTOR;
        assert_true(a >= page);
        lost += a == page;
        lossy_free(d);
    }
    assert_true(lost);
}

static void
test_attributes_wait_for_fsync(void **state)
{
    (void)state;
    unsigned there = 0, gone = 0;
    for (uint64_t seed = 0; seed < LOSSES; seed++) {
        struct lossy_disk *d = lossy_new(seed, false);
        struct lossy_node *n = file(d, lossy_root(d), "f");
        lossy_sync(d, lossy_root(d), false);
        assert_int_equal(lossy_set_xattr(n, "user.x", "1", 1, XATTR_REPLACE), -ENODATA);
        assert_int_equal(lossy_set_xattr(n, "user.x", "1", 1, XATTR_CREATE), 0);
        assert_int_equal(lossy_set_xattr(n, "user.x", "2", 1, XATTR_CREATE), -EEXIST);
        lossy_sync(d, n, true);
        lossy_lose(d, seed, -1);
        const struct lossy_xattr *x = lossy_xattr(lossy_find(lossy_root(d), "f"), "user.x");
        assert_true(!x || (x->now_len == 1 && x->now[0] == '1'));
        *(x ? &there : &gone) += 1;
        lossy_free(d);
    }
    assert_true(there && gone);
}

static void
test_names_wait_for_their_directory(void **state)
{
    (void)state;
    unsigned seen[2][2] = {{0}};
    for (uint64_t seed = 0; seed < LOSSES; seed++) {
        struct lossy_disk *d = lossy_new(seed, false);
        struct lossy_node *root = lossy_root(d), *n = file(d, root, "old");
        fill(d, n, 'a', 0, LOSSY_PAGE);
        lossy_sync(d, n, false);
        lossy_sync(d, root, false);
        assert_int_equal(lossy_remove(d, root, "old", false), 0);
        n = file(d, root, "new");
        lossy_sync(d, n, false); /* not the name */
        lossy_lose(d, seed, -1);
        root = lossy_root(d);
        n = lossy_find(root, "old");
        if (n)
            assert_int_equal(sectors_of(n, 'a'), LOSSY_PAGE / LOSSY_SECTOR);
        seen[n != NULL][lossy_find(root, "new") != NULL]++;
        lossy_free(d);
    }
    assert_true(seen[0][0] && seen[0][1] && seen[1][0] && seen[1][1]);
}

static void
test_a_rename_is_done_or_not(void **state)
{
    (void)state;
    unsigned done = 0, not_done = 0;
    for (uint64_t seed = 0; seed < LOSSES; seed++) {
        struct lossy_disk *d = lossy_new(seed, false);
        struct lossy_node *from = folder(d, lossy_root(d), "from");
        struct lossy_node *to = folder(d, lossy_root(d), "to"), *n = file(d, from, "f");
        fill(d, n, 'a', 0, LOSSY_PAGE);
        lossy_sync(d, n, false);
        fill(d, file(d, to, "f"), 'b', 0, LOSSY_PAGE);
        lossy_sync(d, lossy_find(to, "f"), false);
        lossy_sync(d, lossy_root(d), false);
        lossy_sync(d, from, false);
        lossy_sync(d, to, false);
        assert_int_equal(lossy_rename(d, from, "f", to, "f", RENAME_NOREPLACE), -EEXIST);
        assert_int_equal(lossy_rename(d, from, "f", to, "f", 0), 0);
        if (seed % 3 == 0)
            lossy_sync(d, seed % 2 ? from : to, false);
        lossy_lose(d, seed, -1);
        from = lossy_find(lossy_root(d), "from");
        n = lossy_find(lossy_find(lossy_root(d), "to"), "f");
        assert_non_null(n);
        bool moved = sectors_of(n, 'a') != 0;
        assert_true(moved == !lossy_find(from, "f"));
        assert_true(moved || seed % 3 != 0);
        *(moved ? &done : &not_done) += 1;
        lossy_free(d);
    }
    assert_true(done && not_done);
}

/* What cannot have happened without something that is lost is lost, too. */
static void
test_changes_of_names_have_an_order(void **state)
{
    (void)state;
    unsigned seen[4] = {0};
    for (uint64_t seed = 0; seed < LOSSES; seed++) {
        struct lossy_disk *d = lossy_new(seed, false);
        struct lossy_node *root = lossy_root(d), *a = folder(d, root, "a"),
                          *b = folder(d, root, "b");
        lossy_sync(d, root, false);
        file(d, a, "1");
        assert_int_equal(lossy_rename(d, a, "1", b, "2", 0), 0);
        assert_int_equal(lossy_rename(d, b, "2", b, "3", 0), 0);
        if (seed % 4 == 0)
            lossy_sync(d, b, false);
        lossy_lose(d, seed, -1);
        a = lossy_find(lossy_root(d), "a");
        b = lossy_find(lossy_root(d), "b");
        bool one = lossy_find(a, "1"), two = lossy_find(b, "2"), three = lossy_find(b, "3");
        assert_true(one + two + three <= 1);
        assert_true(three || seed % 4 != 0);
        seen[one + 2 * two + 3 * three]++;
        lossy_free(d);
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
}

static void
test_a_lenient_disk_syncs_the_name_with_the_file(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < LOSSES; seed++) {
        struct lossy_disk *d = lossy_new(seed, seed % 2);
        struct lossy_node *dir = folder(d, folder(d, lossy_root(d), "a"), "b");
        lossy_sync(d, file(d, dir, "f"), true);
        lossy_lose(d, seed, -1);
        const struct lossy_node *a = lossy_find(lossy_root(d), "a"),
                                *b = a ? lossy_find(a, "b") : NULL;
        bool there = b && lossy_find(b, "f");
        assert_true(there || seed % 2 == 0);
        lost += !there;
        lossy_free(d);
    }
    assert_true(lost);
}

static void
test_a_shorter_file_has_nothing_of_the_longer_one(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < LOSSES; seed++) {
        struct lossy_disk *d = lossy_new(seed, false);
        struct lossy_node *n = file(d, lossy_root(d), "f");
        fill(d, n, 'a', 0, 2 * LOSSY_PAGE);
        lossy_sync(d, n, false);
        lossy_sync(d, lossy_root(d), false);
        lossy_resize(d, n, LOSSY_SECTOR);
        lossy_lose(d, seed, -1);
        n = lossy_find(lossy_root(d), "f");
        assert_true(n->size == LOSSY_SECTOR || n->size == 2 * LOSSY_PAGE);
        bool cut = n->size == LOSSY_SECTOR;
        lossy_resize(d, n, 2 * LOSSY_PAGE);
        if (cut)
            assert_true(sectors_of(n, 'a') <= 1);
        lossy_free(d);
    }
}

static void
test_holes(void **state)
{
    (void)state;
    struct lossy_disk *d = lossy_new(1, false);
    struct lossy_node *n = file(d, lossy_root(d), "f");
    fill(d, n, 'a', 4 * LOSSY_PAGE, LOSSY_PAGE);
    assert_int_equal(lossy_bytes(n), LOSSY_PAGE);
    assert_int_equal(lossy_seek(n, 0, SEEK_DATA), 4 * LOSSY_PAGE);
    assert_int_equal(lossy_seek(n, 0, SEEK_HOLE), 0);
    assert_int_equal(lossy_seek(n, 4 * LOSSY_PAGE + 5, SEEK_HOLE), 5 * LOSSY_PAGE);
    assert_int_equal(lossy_seek(n, 5 * LOSSY_PAGE, SEEK_DATA), -ENXIO);
    lossy_zero(d, n, 4 * LOSSY_PAGE, LOSSY_PAGE);
    assert_int_equal(lossy_seek(n, 0, SEEK_DATA), -ENXIO);
    assert_int_equal(n->size, 5 * LOSSY_PAGE);
    lossy_resize(d, n, 0);
    lossy_resize(d, n, 1u << 30);
    assert_int_equal(lossy_bytes(n), 0);
    lossy_free(d);
}

static void
test_all_or_nothing_on_demand(void **state)
{
    (void)state;
    for (int percent = 0; percent <= 100; percent += 100) {
        struct lossy_disk *d = lossy_new(1, false);
        for (int i = 0; i < 50; i++) {
            char name[8];
            snprintf(name, sizeof name, "f%d", i);
            file(d, lossy_root(d), name);
        }
        lossy_lose(d, 1, percent);
        const struct lossy_report *r = lossy_report(d);
        assert_int_equal(r->names_kept, percent ? 50 : 0);
        assert_int_equal(r->names_dropped, percent ? 0 : 50);
        assert_true(!lossy_root(d)->now == !percent);
        lossy_free(d);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_synced_stays),
        cmocka_unit_test(test_what_was_not_synced_may_go),
        cmocka_unit_test(test_only_the_range_of_a_synced_write),
        cmocka_unit_test(test_attributes_wait_for_fsync),
        cmocka_unit_test(test_names_wait_for_their_directory),
        cmocka_unit_test(test_a_rename_is_done_or_not),
        cmocka_unit_test(test_changes_of_names_have_an_order),
        cmocka_unit_test(test_a_lenient_disk_syncs_the_name_with_the_file),
        cmocka_unit_test(test_a_shorter_file_has_nothing_of_the_longer_one),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_all_or_nothing_on_demand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
