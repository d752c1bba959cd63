/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

/* Changes of names that meet uploads, open files, and what others do. */

static void
start_now(void)
{
    fake_bucket("b");
    start_ttl("b", 0);
}

static void
write_more(struct sf_file *f, const char *text)
{
    struct got g = {0};
    sf_tree_write(tree, f, 0, text, strlen(text), keep, &g);
    fake_run();
    assert_true(g.called);
    assert_int_equal(g.err, 0);
}

static int
remove_dir(uint64_t parent, const char *name)
{
    struct got g = {0};
    sf_tree_rmdir(tree, parent, name, keep, &g);
    fake_run();
    assert_true(g.called);
    return g.err;
}

/* ---- directories that others empty ---------------------------------------------------------- */

/* A file is being made in a directory whose last object somebody else removes. */
static void
test_directory_vanishes_around_a_new_file(void **state)
{
    (void)state;
    uint64_t n;
    start_now();
    fake_put("b", "other", "x");
    fake_put("b", "d/e/x", "x");
    uint64_t d = node(1, "d"), e = node(d, "e");
    struct sf_file *f = create(e, "new", "bytes", &n);
    fake_remove("b", "d/e/x");
    assert_int_equal(lookup(1, "d").res.entry.node, d);
    assert_string_equal(list(1), "other,d,");
    assert_string_equal(list(d), "e,");
    assert_string_equal(list(e), "new,");
    assert_int_equal(remove_dir(1, "d"), -ENOTEMPTY);
    assert_int_equal(flush(f), 0);
    assert_true(fake_has("b", "d/e/new", "bytes"));
    sf_tree_release(tree, f);
}

/* An object appears under the name of a directory that is being made. */
static void
test_mkdir_meets_an_object(void **state)
{
    (void)state;
    struct got m = {0}, l = {0};
    start_now();
    fake_put("b", "other", "x");
    fake_hold(true);
    sf_tree_mkdir(tree, &me, 1, "d", 0755, keep, &m);
    while (fake_step_question())
        ;
    fake_put("b", "d", "object");
    sf_tree_lookup(tree, 1, "d", keep, &l);
    while (fake_step_question())
        ;
    assert_true(S_ISREG(l.res.entry.attr.mode));
    fake_hold(false);
    fake_run();
    assert_true(m.called);
    assert_int_equal(m.err, 0);
    assert_true(S_ISDIR(m.res.entry.attr.mode));
    assert_true(S_ISDIR(lookup(1, "d").res.entry.attr.mode));
    assert_string_equal(list(1), "%obj=d,d,other,");
}

/* A directory that others fill while it is made is not taken for empty. */
static void
test_mkdir_meets_a_directory(void **state)
{
    (void)state;
    struct got m = {0};
    start_now();
    fake_put("b", "other", "x");
    node(1, "other");
    fake_hold(true);
    sf_tree_mkdir(tree, &me, 1, "d", 0755, keep, &m);
    while (fake_step_question())
        ;
    fake_put("b", "d/theirs", "x");
    fake_hold(false);
    fake_run();
    assert_int_equal(m.err, 0);
    assert_string_equal(list(m.res.entry.node), "theirs,");
    assert_int_equal(remove_dir(1, "d"), -ENOTEMPTY);
}

static void
test_two_unlinks_at_once_keep_the_directory(void **state)
{
    (void)state;
    struct got a = {0}, b = {0};
    start("b");
    fake_put("b", "d/one", "x");
    fake_put("b", "d/two", "x");
    uint64_t d = node(1, "d");
    list(d);
    fake_hold(true);
    sf_tree_unlink(tree, d, "one", keep, &a);
    sf_tree_unlink(tree, d, "two", keep, &b);
    fake_hold(false);
    fake_run();
    assert_true(a.called && b.called && !a.err && !b.err);
    assert_true(fake_has("b", "d/.emptyFolderPlaceholder", ""));
    assert_int_equal(remove_dir(1, "d"), 0);
}

static void
test_a_failed_unlink_changes_nothing(void **state)
{
    (void)state;
    start("b");
    fake_put("b", "d/one", "x");
    uint64_t d = node(1, "d");
    node(d, "one");
    fake_fail(-EACCES);
    assert_int_equal(unlink_name(d, "one"), -EACCES);
    fake_fail(0);
    assert_string_equal(list(d), "one,");
    assert_int_equal(unlink_name(d, "one"), 0);
    assert_string_equal(list(1), "d,");
}

/* ---- renames -------------------------------------------------------------------------------- */

/* mv new A; mv A B, before new was ever sent: A's old object is gone, too. */
static void
test_rename_twice_before_the_upload(void **state)
{
    (void)state;
    uint64_t n;
    start_now();
    fake_put("b", "A", "old");
    struct sf_file *f = create(1, "new", "fresh", &n);
    assert_int_equal(rename_name(1, "new", "A", 0), 0);
    assert_int_equal(rename_name(1, "A", "B", 0), 0);
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    assert_true(fake_has("b", "B", "fresh"));
    assert_false(fake_exists("b", "A"));
    assert_string_equal(list(1), "B,");
}

/* A file is written on while it is renamed. */
static void
test_written_while_renamed(void **state)
{
    (void)state;
    uint64_t n;
    struct got m = {0}, fl = {0};
    start_now();
    struct sf_file *f = create(1, "a", "one", &n);
    assert_int_equal(flush(f), 0);
    write_more(f, "two");
    fake_hold(true);
    sf_tree_rename(tree, 1, "a", 1, "b", 0, keep, &m);
    while (fake_step_question())
        ;
    fake_change();
    fake_told(); /* "two" is sent, now the rename waits */
    struct got w = {0};
    sf_tree_write(tree, f, 0, "six", 3, keep, &w);
    sf_tree_flush(tree, f, keep, &fl);
    fake_hold(false);
    fake_run();
    assert_true(m.called && !m.err && w.called && !w.err && fl.called && !fl.err);
    assert_true(fake_has("b", "b", "six"));
    assert_false(fake_exists("b", "a"));
    sf_tree_release(tree, f);
}

/* The old file of the target's name is open and written: its bytes go nowhere. */
static void
test_target_is_written_while_replaced(void **state)
{
    (void)state;
    struct got m = {0}, w = {0}, fl = {0};
    start_now();
    fake_put("b", "from", "new");
    fake_put("b", "to", "old");
    struct sf_file *f = open_file(node(1, "to"), O_RDWR);
    write_more(f, "OLD");
    fake_hold(true);
    sf_tree_rename(tree, 1, "from", 1, "to", 0, keep, &m);
    while (fake_step_question())
        ;
    sf_tree_flush(tree, f, keep, &fl);
    fake_hold(false);
    fake_run();
    assert_true(m.called && !m.err && fl.called);
    assert_true(fake_has("b", "to", "new"));
    sf_tree_write(tree, f, 0, "abc", 3, keep, &w);
    fake_run();
    sf_tree_release(tree, f);
    fake_run();
    assert_true(fake_has("b", "to", "new"));
    assert_int_equal(fake_counts.quarantined, 0);
}

static void
test_unlinked_while_written(void **state)
{
    (void)state;
    struct got u = {0}, fl = {0};
    start_now();
    fake_put("b", "f", "old");
    struct sf_file *f = open_file(node(1, "f"), O_RDWR);
    write_more(f, "new");
    fake_hold(true);
    sf_tree_unlink(tree, 1, "f", keep, &u);
    while (fake_step_question())
        ;
    sf_tree_flush(tree, f, keep, &fl);
    fake_hold(false);
    fake_run();
    assert_true(u.called && !u.err && fl.called && !fl.err);
    assert_false(fake_exists("b", "f"));
    sf_tree_release(tree, f);
    fake_run();
    assert_false(fake_exists("b", "f"));
    assert_int_equal(fake_counts.quarantined, 0);
}

/* A listing shows the result of a rename before its own answer has come. */
static void
test_listing_overtakes_a_rename(void **state)
{
    (void)state;
    struct got m = {0}, l = {0}, g = {0};
    start_now();
    fake_put("b", "from", "bytes");
    fake_put("b", "other", "x");
    uint64_t n = node(1, "from");
    const struct sf_attr a = {.mode = 0700};
    sf_tree_setattr(tree, n, NULL, &a, SF_SET_MODE, keep, &g);
    fake_hold(true);
    sf_tree_rename(tree, 1, "from", 1, "to", 0, keep, &m);
    while (fake_step_question())
        ;
    fake_change(); /* done, not told */
    sf_tree_lookup(tree, 1, "to", keep, &l);
    while (fake_step_question())
        ;
    assert_true(l.called);
    fake_hold(false);
    fake_run();
    assert_true(m.called && !m.err);
    assert_int_equal(node(1, "to"), n);
    assert_int_equal(lookup(1, "to").res.entry.attr.mode & 0777, 0700);
    assert_string_equal(list(1), "other,to,");
}

/* ---- truncation by path --------------------------------------------------------------------- */

static void
test_two_truncations_at_once(void **state)
{
    (void)state;
    struct got a = {0}, b = {0};
    const struct sf_attr five = {.size = 5}, three = {.size = 3};
    start_now();
    fake_put("b", "f", "0123456789");
    uint64_t n = node(1, "f");
    fake_hold(true);
    sf_tree_setattr(tree, n, NULL, &five, SF_SET_SIZE, keep, &a);
    sf_tree_setattr(tree, n, NULL, &three, SF_SET_SIZE, keep, &b);
    fake_hold(false);
    fake_run();
    assert_true(a.called && b.called && !a.err && !b.err);
    uint64_t size = lookup(1, "f").res.entry.attr.size;
    assert_true(size == 3 || size == 5); /* either may be the last */
    assert_true(size == 5 || fake_has("b", "f", "012"));
    fake_put("b", "f", "theirs");
    assert_int_equal(lookup(1, "f").res.entry.attr.size, 6);
}

/* rm -r: from the fifth on a removal is acknowledged before the service has done it; until it has,
 * the name is hidden, whatever is listed, and free for a new file. One that is refused is back. */
static void
test_many_removals(void **state)
{
    (void)state;
    char name[8];
    fake_bucket("b");
    start_ttl("b", 0); /* everything is asked for each time */
    for (char c = 'a'; c <= 'h'; c++) {
        snprintf(name, sizeof name, "%c", c);
        fake_put("b", name, "x");
    }
    for (char c = 'a'; c <= 'd'; c++) {
        snprintf(name, sizeof name, "%c", c);
        assert_int_equal(unlink_name(SF_TREE_ROOT, name), 0);
    }
    assert_int_equal(fake_counts.behind, 0);
    list(SF_TREE_ROOT);
    struct got g[4] = {0}, made = {0};
    fake_hold(true);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%c", 'e' + i);
        sf_tree_unlink(tree, SF_TREE_ROOT, name, keep, &g[i]);
        while (!g[i].called && fake_step_question())
            ;
        assert_true(g[i].called);
        assert_int_equal(g[i].err, 0);
    }
    assert_int_equal(fake_counts.behind, 4);
    assert_true(fake_exists("b", "e") && fake_exists("b", "h"));
    struct got o = {0}, d = {0};
    sf_tree_opendir(tree, SF_TREE_ROOT, keep, &o);
    sf_tree_readdir(tree, o.res.dir, 2, keep, &d);
    while (!d.called && fake_step_question())
        ;
    struct sf_dirent e;
    assert_int_equal(sf_tree_dirent(tree, o.res.dir, 2, false, &e), 0); /* behind . and .. */
    sf_tree_releasedir(tree, o.res.dir);
    sf_tree_create(tree, &me, SF_TREE_ROOT, "e", 0644, O_WRONLY, keep, &made);
    while (!made.called && fake_step_question())
        ;
    assert_int_equal(made.err, 0);
    assert_true(fake_change() && fake_told()); /* e */
    assert_true(fake_change() && fake_told()); /* f */
    fake_fail(-EACCES);
    assert_true(fake_change() && fake_told()); /* g: refused */
    fake_fail(0);
    fake_hold(false);
    fake_run();
    sf_tree_release(tree, made.res.open.file);
    fake_run();
    assert_string_equal(list(SF_TREE_ROOT), "e,g,");
    assert_true(fake_has("b", "e", ""));
}

/* A start removes the version that was meant. An ETag that a change of attributes may give another
 * value by then says nothing of that; one that is an MD5 stays. */
static void
test_removed_while_attributes_are_written(void **state)
{
    (void)state;
    const struct sf_attr a = {.mode = 0600};
    const char *const md5 = "\"0123456789abcdef0123456789abcdef\"";
    char name[8];
    fake_bucket("b");
    start_with("b", 60000, false);
    for (char c = 'a'; c <= 'g'; c++) {
        snprintf(name, sizeof name, "%c", c);
        fake_put("b", name, "x");
    }
    fake_set_version("b", "g", "id-g", md5);
    for (char c = 'a'; c <= 'd'; c++) {
        snprintf(name, sizeof name, "%c", c);
        assert_int_equal(unlink_name(SF_TREE_ROOT, name), 0);
    }
    assert_int_equal(unlink_name(SF_TREE_ROOT, "e"), 0);
    assert_string_not_equal(fake_removes.etag, "");
    uint64_t f = node(SF_TREE_ROOT, "f"), g = node(SF_TREE_ROOT, "g");
    fake_hold(true);
    struct got set[2] = {0}, gone[2] = {0};
    sf_tree_setattr(tree, f, NULL, &a, SF_SET_MODE, keep, &set[0]);
    sf_tree_setattr(tree, g, NULL, &a, SF_SET_MODE, keep, &set[1]);
    assert_true(set[0].called && set[1].called);
    sf_tree_unlink(tree, SF_TREE_ROOT, "f", keep, &gone[0]);
    assert_true(gone[0].called);
    assert_string_equal(fake_removes.etag, "");
    assert_string_not_equal(fake_removes.id, "");
    sf_tree_unlink(tree, SF_TREE_ROOT, "g", keep, &gone[1]);
    assert_true(gone[1].called);
    assert_string_equal(fake_removes.etag, md5);
    fake_hold(false);
    fake_run();
}

/* What is here alone goes without a request; what may have been sent, although no upload is under
 * way just now, does not. */
static void
test_removed_between_two_uploads(void **state)
{
    (void)state;
    fake_bucket("b");
    start_ttl("b", 60000);
    for (int sent = 0; sent < 2; sent++) {
        uint64_t n;
        struct sf_file *f = create(SF_TREE_ROOT, "f", "text", &n);
        fake_kept = sent;
        fake_counts.deletes = 0;
        assert_int_equal(unlink_name(SF_TREE_ROOT, "f"), 0);
        fake_kept = false;
        assert_int_equal(fake_counts.deletes, sent);
        sf_tree_release(tree, f);
        fake_run();
    }
}

/* close() of what was removed while its upload waited in the journal has nothing to tell. */
static void
test_closed_after_it_was_withdrawn(void **state)
{
    (void)state;
    struct got first = {0}, gone = {0}, second = {0};
    fake_bucket("b");
    start_ttl("b", 60000);
    uint64_t n;
    struct sf_file *f = create(SF_TREE_ROOT, "f", "text", &n);
    fake_hold(true);
    sf_tree_flush(tree, f, keep, &first);
    assert_false(first.called);
    fake_withdraws = true;
    sf_tree_unlink(tree, SF_TREE_ROOT, "f", keep, &gone);
    fake_withdraws = false;
    assert_true(gone.called && !gone.err && !first.called);
    sf_tree_flush(tree, f, keep, &second);
    fake_hold(false);
    fake_run();
    assert_true(first.called && second.called);
    assert_int_equal(second.err, 0);
    sf_tree_release(tree, f);
    fake_run();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(directory_vanishes_around_a_new_file),
        TREE_TEST(mkdir_meets_an_object),
        TREE_TEST(mkdir_meets_a_directory),
        TREE_TEST(two_unlinks_at_once_keep_the_directory),
        TREE_TEST(a_failed_unlink_changes_nothing),
        TREE_TEST(rename_twice_before_the_upload),
        TREE_TEST(written_while_renamed),
        TREE_TEST(target_is_written_while_replaced),
        TREE_TEST(unlinked_while_written),
        TREE_TEST(listing_overtakes_a_rename),
        TREE_TEST(two_truncations_at_once),
        TREE_TEST(removed_while_attributes_are_written),
        TREE_TEST(removed_between_two_uploads),
        TREE_TEST(closed_after_it_was_withdrawn),
        TREE_TEST(many_removals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
