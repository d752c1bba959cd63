/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

#include <unistd.h>

/* Walks through a tree are served by listings of all that is below a directory. */

/* tree/A/B/fN with 10 times 10 directories of @files each. */
static void
plant(int files)
{
    char key[64];
    for (int a = 0; a < 10; a++)
        for (int b = 0; b < 10; b++)
            for (int f = 0; f < files; f++) {
                snprintf(key, sizeof key, "tree/%d/%d/f%d", a, b, f);
                fake_put("b", key, "x");
            }
}

/* As find(1) goes: a directory, then what is in it. Its names, for a comparison. */
static int
walk(uint64_t dir)
{
    char mine[4000];
    int seen = 0;
    snprintf(mine, sizeof mine, "%s", list(dir));
    for (char *p = mine, *end; (end = strchr(p, ',')); p = end + 1) {
        *end = '\0';
        struct got g = lookup(dir, p);
        assert_int_equal(g.err, 0);
        assert_int_not_equal(g.res.entry.node, 0);
        seen += 1 + (S_ISDIR(g.res.entry.attr.mode) ? walk(g.res.entry.node) : 0);
    }
    return seen;
}

static void
test_a_walk_costs_pages_not_directories(void **state)
{
    (void)state;
    start("b");
    plant(15);
    fake_counts.lists = 0;
    assert_int_equal(walk(node(1, "tree")), 10 + 100 + 1500);
    /* 111 directories; 1,500 objects are 2 pages, and it takes three to notice. */
    assert_in_range(fake_counts.lists, 4, 16);
    fake_counts.lists = 0;
    assert_int_equal(walk(node(1, "tree")), 10 + 100 + 1500); /* all of it is known now */
    assert_int_equal(fake_counts.lists, 0);
}

/* Two directories are no walk. */
static void
test_a_look_around_is_none(void **state)
{
    (void)state;
    start("b");
    plant(2);
    uint64_t top = node(1, "tree"), d = node(top, "4");
    fake_counts.lists = 0;
    assert_string_equal(list(node(d, "1")), "f0,f1,");
    assert_string_equal(list(node(d, "2")), "f0,f1,");
    assert_int_equal(fake_counts.lists, 3); /* of 4 and these */
    uint64_t other = node(top, "7");
    fake_counts.lists = 0;
    list(node(other, "1"));
    assert_int_equal(fake_counts.lists, 2); /* of 7, and of 7/1 */
}

/* A large tree is read ahead by two pages, not to its end. */
static void
test_it_does_not_run_away(void **state)
{
    (void)state;
    start("b");
    plant(60);
    uint64_t d = node(node(1, "tree"), "0");
    list(node(d, "0"));
    list(node(d, "1"));
    fake_counts.lists = 0;
    list(node(d, "2"));
    assert_in_range(fake_counts.lists, 1, 4); /* of 6 */
    fake_counts.lists = 0;
    assert_string_equal(list(node(d, "3")), list(node(d, "3")));
    assert_in_range(fake_counts.lists, 0, 2);
}

/* What is here only, changed here or removed here is as it is here. */
static void
test_own_changes_stay(void **state)
{
    (void)state;
    uint64_t n;
    start("b");
    plant(3);
    uint64_t d = node(node(1, "tree"), "5");
    list(node(d, "0"));
    list(node(d, "1"));
    uint64_t dir = node(d, "3");
    struct sf_file *f = create(dir, "unsent", "mine", &n);
    assert_int_equal(unlink_name(dir, "f1"), 0);
    list(node(d, "2")); /* the walk begins */
    assert_string_equal(list(dir), "f0,f2,unsent,");
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    assert_string_equal(list(dir), "f0,f2,unsent,");
}

/* A change made here between the question for a page and its answer. */
static void
test_an_old_page_does_not_beat_a_change(void **state)
{
    (void)state;
    struct got o = {0}, r = {0};
    start("b");
    plant(3);
    uint64_t d = node(node(1, "tree"), "5"), two = node(d, "2"), three = node(d, "3");
    node(three, "f1");
    list(node(d, "0"));
    list(node(d, "1"));
    sf_tree_opendir(tree, two, keep, &o);
    sf_tree_readdir(tree, o.res.dir, 0, keep, &r);
    fake_answer(); /* the page with 5/2 and 5/3 */
    assert_int_equal(unlink_name(three, "f1"), 0);
    fake_run();
    assert_true(r.called);
    sf_tree_releasedir(tree, o.res.dir);
    assert_string_equal(list(three), "f0,f2,");
}

/* Gone since they were known: the walk finds none of their rows. */
static void
test_what_vanished(void **state)
{
    (void)state;
    char key[64];
    start_ttl("b", 1);
    fake_bucket("b");
    plant(2);
    uint64_t d = node(node(1, "tree"), "5");
    assert_string_equal(list(d), "0,1,2,3,4,5,6,7,8,9,");
    uint64_t four = node(d, "4");
    for (int f = 0; f < 2; f++) {
        snprintf(key, sizeof key, "tree/5/4/f%d", f);
        fake_remove("b", key);
        snprintf(key, sizeof key, "tree/5/3/f%d", f);
        fake_remove("b", key);
    }
    fake_put("b", "tree/5/3", "a file now");
    usleep(5000); /* what is known is old */
    for (int i = 0; i < 3; i++) {
        snprintf(key, sizeof key, "%d", i);
        list(node(d, key));
    }
    assert_string_equal(list(four), "");
    usleep(5000);
    assert_true(S_ISREG(lookup(d, "3").res.entry.attr.mode));
    assert_int_equal(lookup(d, "4").res.entry.node, 0);
}

/* When a page fails, each directory is asked for by itself. */
static void
test_a_failure_ends_it(void **state)
{
    (void)state;
    struct got o = {0}, r = {0};
    start("b");
    plant(2);
    uint64_t d = node(node(1, "tree"), "5");
    list(node(d, "0"));
    list(node(d, "1"));
    uint64_t two = node(d, "2");
    sf_tree_opendir(tree, two, keep, &o);
    sf_tree_readdir(tree, o.res.dir, 0, keep, &r);
    fake_fail(-EPROTO);
    fake_answer();
    fake_fail(0);
    fake_run();
    assert_true(r.called);
    assert_int_equal(r.err, 0);
    sf_tree_releasedir(tree, o.res.dir);
    assert_string_equal(list(two), "f0,f1,");
    assert_int_equal(walk(d), 10 + 20);
}

/* It begins in the middle of a directory, of which it says nothing, then. */
static void
test_it_begins_in_the_middle(void **state)
{
    (void)state;
    struct got o = {0}, r = {0};
    start("b");
    plant(2);
    uint64_t top = node(1, "tree"), five = node(top, "5");
    list(node(top, "1"));
    list(node(top, "2"));
    sf_tree_opendir(tree, five, keep, &o);
    sf_tree_readdir(tree, o.res.dir, 0, keep, &r);
    fake_fail(-EPROTO);
    fake_answer(); /* of a walk that would begin at 5 */
    fake_fail(0);
    fake_run();
    sf_tree_releasedir(tree, o.res.dir);
    fake_counts.lists = 0;
    assert_string_equal(list(node(five, "4")), "f0,f1,");
    assert_string_equal(list(node(five, "6")), "f0,f1,");
    assert_string_equal(list(node(top, "7")), "0,1,2,3,4,5,6,7,8,9,");
    assert_int_equal(fake_counts.lists, 1);
    assert_string_equal(list(five), "0,1,2,3,4,5,6,7,8,9,");
    assert_string_equal(list(node(five, "0")), "f0,f1,");
}

/* Markers, names beside directories of the same name, names that only other clients make. */
static void
test_odd_keys(void **state)
{
    static const char *const keys[] = {
        "t/a/x",          "t/b/x",
        "t/c/both",       "t/c/both/in",
        "t/c/both-not",   "t/d/.emptyFolderPlaceholder",
        "t/e//empty-seg", "t/e.../y",
        "t/e/z",          "t/f/deep/er/and/deeper/q",
    };
    char first[4000];
    (void)state;
    start("b");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        fake_put("b", keys[i], strstr(keys[i], "Placeholder") ? "" : "x");
    uint64_t t = node(1, "t");
    list(node(t, "a"));
    list(node(t, "b"));
    snprintf(first, sizeof first, "%s", list(node(t, "c"))); /* by the walk */
    assert_string_equal(first, "%obj=both,both-not,both,");
    assert_string_equal(list(node(t, "d")), "");
    assert_string_equal(list(node(t, "e")), "%key=,z,");
    fake_counts.lists = 0;
    uint64_t n = node(t, "f");
    for (const char *const *p = (const char *const[]){"deep", "er", "and", "deeper", NULL}; *p; p++)
        n = node(n, *p);
    assert_string_equal(list(n), "q,");
    assert_int_equal(fake_counts.lists, 0);
}

/* "DIR/", as many tools make it, is an object in DIR whose name is empty. */
static void
test_objects_without_a_name(void **state)
{
    static const char *const keys[] = {"t/a/x", "t/b/x", "t/c/", "t/c/x", "t/d/", "t/e/f/"};
    (void)state;
    start("b");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        fake_put("b", keys[i], "");
    uint64_t t = node(1, "t");
    assert_int_equal(walk(t), 12);
    assert_string_equal(list(node(t, "c")), "%key=,x,"); /* by the walk */
    assert_string_equal(list(node(t, "d")), "%key=,");
    assert_string_equal(list(node(node(t, "e"), "f")), "%key=,");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(a_walk_costs_pages_not_directories),
        TREE_TEST(a_look_around_is_none),
        TREE_TEST(it_does_not_run_away),
        TREE_TEST(own_changes_stay),
        TREE_TEST(an_old_page_does_not_beat_a_change),
        TREE_TEST(what_vanished),
        TREE_TEST(a_failure_ends_it),
        TREE_TEST(it_begins_in_the_middle),
        TREE_TEST(odd_keys),
        TREE_TEST(objects_without_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
