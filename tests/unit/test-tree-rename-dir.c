/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

#include <linux/fs.h> /* RENAME_NOREPLACE */

/* Renames of directories as the tree shows them: before, while half of the objects have moved, and
 * after. */

static uint64_t dir, d;

static void
begin(void)
{
    start("b");
    dir = SF_TREE_ROOT;
    fake_put("b", "d/.emptyFolderPlaceholder", "");
    for (char c = 'a'; c <= 'f'; c++) {
        char key[20] = "d/x", text[20] = "text x";
        key[2] = text[5] = c;
        fake_put("b", key, text);
    }
    fake_put("b", "d/sub/s", "below");
    d = node(dir, "d");
}

/* Begin it, and let @moved objects move. */
static struct got ren;

static void
half(unsigned moved)
{
    ren = (struct got){0};
    fake_hold(true);
    sf_tree_rename(tree, dir, "d", dir, "e", 0, keep, &ren);
    while (fake_step_question())
        ;
    fake_move_some(moved);
    assert_false(ren.called);
}

static void
whole(void)
{
    fake_hold(false);
    fake_run();
    assert_true(ren.called);
    assert_int_equal(ren.err, 0);
}

static struct got
ask_lookup(uint64_t parent, const char *name)
{
    struct got g = {0};
    sf_tree_lookup(tree, parent, name, keep, &g);
    while (!g.called && fake_step_question())
        ;
    assert_true(g.called);
    return g;
}

static void
test_all_of_it_has_the_new_name(void **state)
{
    (void)state;
    begin();
    uint64_t a = node(d, "a"), sub = node(d, "sub");
    struct got before = lookup(dir, "d");
    assert_int_equal(rename_name(dir, "d", "e", 0), 0);
    assert_int_equal(lookup(dir, "d").res.entry.node, 0);
    assert_int_equal(node(dir, "e"), d);
    assert_int_equal(lookup(dir, "e").res.entry.attr.ino, before.res.entry.attr.ino);
    assert_int_equal(node(d, "a"), a);
    assert_int_equal(node(d, "sub"), sub);
    assert_string_equal(read_file(open_file(a, O_RDONLY)).data, "text a");
    assert_string_equal(read_file(open_file(node(sub, "s"), O_RDONLY)).data, "below");
    assert_string_equal(list(d), "a,b,c,d,e,f,sub,");
    assert_string_equal(list(dir), "e,");
    assert_true(fake_has("b", "e/sub/s", "below"));
}

static void
test_both_names_while_it_runs(void **state)
{
    (void)state;
    begin();
    uint64_t a = node(d, "a");
    struct sf_file *open_a = open_file(a, O_RDONLY);
    half(4); /* the marker, a, b, c */
    struct got read = {0}, o = {0};
    sf_tree_read(tree, open_a, 0, 100, keep, &read);
    while (fake_step_question())
        ;
    assert_string_equal(read.data, "text a"); /* it has moved already */
    assert_int_not_equal(ask_lookup(d, "b").res.entry.node, 0);
    assert_int_not_equal(ask_lookup(d, "f").res.entry.node, 0);
    assert_int_equal(ask_lookup(d, "g").res.entry.node, 0);

    struct sf_dirent e;
    sf_tree_opendir(tree, d, keep, &o);
    struct got g = {0};
    sf_tree_readdir(tree, o.res.dir, 0, keep, &g);
    while (!g.called && fake_step_question())
        ;
    unsigned n = 0;
    for (uint64_t off = 0; sf_tree_dirent(tree, o.res.dir, off, false, &e) == 1; off = e.next)
        n++;
    assert_int_equal(n, 2 + 7); /* each once */
    sf_tree_releasedir(tree, o.res.dir);
    whole();
    assert_string_equal(list(d), "d,e,f,sub,a,b,c,"); /* the old name first, each once */
    sf_tree_release(tree, open_a);
}

/* A listing that was asked for under the old name proves nothing once that is empty. */
static void
test_a_listing_that_the_rename_overtakes(void **state)
{
    (void)state;
    begin();
    struct got o = {0}, g = {0};
    sf_tree_opendir(tree, d, keep, &o);
    sf_tree_readdir(tree, o.res.dir, 0, keep, &g);
    struct got l = {0};
    uint64_t sub = node(d, "sub");
    sf_tree_lookup(tree, sub, "s", keep, &l);
    half(100);
    whole();
    assert_true(g.called && l.called);
    assert_int_not_equal(l.res.entry.node, 0);
    sf_tree_releasedir(tree, o.res.dir);
    assert_string_equal(list(d), "a,b,c,d,e,f,sub,");
    assert_int_equal(node(dir, "e"), d);
}

static void
test_changes_below_wait(void **state)
{
    (void)state;
    begin();
    node(d, "a");
    half(3);
    struct got del = {0}, made = {0};
    sf_tree_unlink(tree, d, "a", keep, &del);
    sf_tree_create(tree, &me, d, "new", 0644, O_WRONLY, keep, &made);
    while (fake_step_question())
        ;
    assert_false(del.called || made.called);
    whole();
    assert_true(del.called && made.called);
    assert_int_equal(del.err, 0);
    assert_false(fake_exists("b", "e/a"));
    sf_tree_release(tree, made.res.open.file);
    fake_run();
    assert_true(fake_exists("b", "e/new"));
    assert_false(fake_exists("b", "d/new"));
}

static void
test_it_waits_for_changes_below(void **state)
{
    (void)state;
    begin();
    node(d, "a");
    struct got del = {0};
    ren = (struct got){0};
    fake_hold(true);
    sf_tree_unlink(tree, d, "a", keep, &del);
    while (fake_step_question())
        ;
    sf_tree_rename(tree, dir, "d", dir, "e", 0, keep, &ren);
    while (fake_step_question())
        ;
    assert_true(fake_change()); /* the deletion; there is no other change yet */
    assert_false(fake_change());
    assert_true(fake_told());
    assert_true(del.called);
    whole();
    assert_false(fake_exists("b", "e/a"));
    assert_true(fake_has("b", "e/b", "text b"));
}

static void
test_what_is_written_below_goes_to_the_new_name(void **state)
{
    (void)state;
    begin();
    uint64_t n;
    struct sf_file *fresh = create(d, "fresh", "never sent", &n);
    struct sf_file *f = open_file(node(d, "b"), O_RDWR | O_TRUNC);
    struct got w = {0};
    sf_tree_write(tree, f, 0, "changed", 7, keep, &w);
    fake_run();
    assert_int_equal(rename_name(dir, "d", "e", 0), 0);
    assert_int_equal(flush(fresh), 0);
    assert_int_equal(flush(f), 0);
    assert_true(fake_has("b", "e/fresh", "never sent"));
    assert_true(fake_has("b", "e/b", "changed"));
    assert_false(fake_exists("b", "d/b") || fake_exists("b", "d/fresh"));
    sf_tree_release(tree, fresh);
    sf_tree_release(tree, f);
}

static void
test_refusals(void **state)
{
    (void)state;
    begin();
    fake_put("b", "full/x", "x");
    fake_put("b", "file", "x");
    uint64_t sub = node(d, "sub");
    struct got g = {0};
    assert_int_equal(rename_name(dir, "d", "full", 0), -ENOTEMPTY);
    assert_int_equal(rename_name(dir, "d", "file", 0), -ENOTDIR);
    assert_int_equal(rename_name(dir, "file", "d", 0), -EISDIR);
    assert_int_equal(rename_name(dir, "d", "full", RENAME_NOREPLACE), -EEXIST);
    assert_int_equal(rename_name(dir, "d", "d", 0), 0);
    assert_int_equal(rename_name(dir, "none", "e", 0), -ENOENT);
    sf_tree_rename(tree, dir, "d", sub, "e", 0, keep, &g);
    fake_run();
    assert_int_equal(g.err, -EINVAL);
    assert_string_equal(list(dir), "d,file,full,");
    assert_string_equal(list(d), "a,b,c,d,e,f,sub,");
    fake_put("b", "hollow/.emptyFolderPlaceholder", "");
    assert_int_equal(rename_name(dir, "d", "hollow", 0), 0);
    assert_int_equal(node(dir, "hollow"), d);
    assert_string_equal(list(dir), "hollow,file,full,");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(all_of_it_has_the_new_name),
        TREE_TEST(both_names_while_it_runs),
        TREE_TEST(a_listing_that_the_rename_overtakes),
        TREE_TEST(changes_below_wait),
        TREE_TEST(it_waits_for_changes_below),
        TREE_TEST(what_is_written_below_goes_to_the_new_name),
        TREE_TEST(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
