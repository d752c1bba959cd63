/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

/* What the tree knows, asks, and believes; changes of names against late answers. */

/* ---- questions --------------------------------------------------------------------------------
 */

static void
test_one_page_answers_for_a_directory(void **state)
{
    (void)state;
    start("b");
    fake_put("b", "a.txt", "hello");
    fake_put("b", "dir/x", "1");
    fake_put_mime("b", "link", "a.txt", "inode/symlink");
    struct got a = lookup(1, "a.txt");
    assert_int_equal(a.res.entry.attr.size, 5);
    assert_int_equal(a.res.entry.attr.mode, S_IFREG | 0644);
    assert_int_equal(a.res.entry.attr.uid, 1);
    assert_true(S_ISDIR(lookup(1, "dir").res.entry.attr.mode));
    assert_true(S_ISLNK(lookup(1, "link").res.entry.attr.mode));
    struct got none = lookup(1, "none");
    assert_int_equal(none.err, 0);
    assert_int_equal(none.res.entry.node, 0);
    assert_true(none.res.entry.ttl_ms > 50000);
    assert_int_equal(fake_counts.lists, 1);
    assert_string_equal(list(1), "a.txt,dir,link,");
    assert_int_equal(fake_counts.lists, 1);
}

static void
test_unknown_serves_what_is_known(void **state)
{
    (void)state;
    fake_bucket("b");
    start_ttl("b", 0);
    fake_put("b", "a", "x");
    uint64_t a = node(1, "a");
    fake_fail(-ETIMEDOUT);
    assert_int_equal(lookup(1, "a").res.entry.node, a);
    struct got g = {0};
    sf_tree_getattr(tree, a, NULL, keep, &g);
    fake_run();
    assert_int_equal(g.err, 0);
    assert_int_equal(g.res.attr.size, 1);
    assert_string_equal(list(1), "a,");
    assert_int_equal(lookup(1, "zzz").res.entry.node, 0); /* the listing had covered it */
    fake_fail(0);
}

static void
test_unknown_without_knowledge_fails(void **state)
{
    (void)state;
    start("b");
    fake_fail(-ETIMEDOUT);
    assert_int_equal(lookup(1, "a").err, -ETIMEDOUT);
    fake_fail(0);
    assert_int_equal(lookup(1, "a").err, 0);
}

static void
test_empty_is_believed_only_after_a_look_at_the_bucket(void **state)
{
    (void)state;
    fake_bucket("b");
    start_ttl(NULL, 0);
    uint64_t b = node(1, "b");
    fake_put("b", "a", "x");
    node(b, "a");
    assert_int_equal(fake_counts.verifies, 0);
    fake_remove("b", "a");
    assert_int_equal(lookup(b, "a").res.entry.node, 0);
    assert_int_equal(fake_counts.verifies, 1);
}

static void
test_removed_elsewhere(void **state)
{
    (void)state;
    fake_bucket("b");
    start_ttl("b", 0);
    fake_put("b", "a", "x");
    fake_put("b", "d/e/f", "x");
    fake_put("b", "z", "x");
    uint64_t d = node(1, "d");
    node(d, "e");
    fake_remove("b", "a");
    fake_remove("b", "d/e/f");
    assert_int_equal(lookup(1, "a").res.entry.node, 0);
    assert_int_equal(lookup(1, "d").res.entry.node, 0);
    assert_string_equal(list(1), "z,");
}

static void
test_object_and_prefix_of_one_name(void **state)
{
    (void)state;
    start("b");
    fake_put("b", "both", "object");
    fake_put("b", "both/child", "x");
    assert_string_equal(list(1), "%obj=both,both,");
    assert_true(S_ISDIR(lookup(1, "both").res.entry.attr.mode));
    struct sf_file *f = open_file(node(1, "%obj=both"), O_RDONLY);
    assert_string_equal(read_file(f).data, "object");
    sf_tree_release(tree, f);
}

static void
test_large_directory(void **state)
{
    (void)state;
    char name[64];
    start("b");
    for (int i = 0; i < 2500; i++) {
        snprintf(name, sizeof name, "d/f-%04d", i);
        fake_put("b", name, "x");
    }
    uint64_t d = node(1, "d");
    node(d, "f-2499"); /* one page, then a question for the name alone */
    assert_int_equal(fake_counts.lists, 3);
    assert_int_equal(lookup(d, "f-none").res.entry.node, 0);
    assert_int_equal(fake_counts.lists, 4);
    list(d); /* goes on where that page ended */
    assert_int_equal(fake_counts.lists, 6);
    assert_int_equal(strlen(names), 2500 * 7);
    for (int i = 0; i < 2500; i++) {
        snprintf(name, sizeof name, "f-%04d,", i);
        assert_memory_equal(names + i * 7, name, 7);
    }
    assert_int_equal(lookup(d, "f-nope").res.entry.node, 0);
    assert_int_equal(fake_counts.lists, 6);
}

static void
test_folder_behind_many_names(void **state)
{
    (void)state;
    char key[64];
    start("b");
    for (int i = 0; i < 1100; i++) {
        snprintf(key, sizeof key, "a/x-%04d", i);
        fake_put("b", key, "x");
    }
    fake_put("b", "a/x/below", "x");
    uint64_t a = node(1, "a");
    assert_true(S_ISDIR(lookup(a, "x").res.entry.attr.mode));
}

/* ---- late answers
 * --------------------------------------------------------------------------------- */

static void
test_late_listing_does_not_revive(void **state)
{
    (void)state;
    fake_bucket("b");
    start_ttl("b", 0);
    fake_put("b", "a", "x");
    fake_put("b", "keep", "x");
    node(1, "a");
    struct got g = {0};
    sf_tree_lookup(tree, 1, "keep", keep, &g);
    fake_answer(); /* the service has said that `a` is there ... */
    struct got u = {0};
    sf_tree_unlink(tree, 1, "a", keep, &u);
    fake_answer();
    fake_deliver(); /* ... and the answer arrives after the unlink */
    fake_run();
    assert_true(g.called && u.called);
    assert_int_equal(u.err, 0);
    assert_false(fake_has("b", "a", "x"));
    assert_string_equal(list(1), "keep,");
}

static void
test_late_listing_does_not_kill(void **state)
{
    (void)state;
    uint64_t n;
    fake_bucket("b");
    start_ttl("b", 0);
    fake_put("b", "keep", "x");
    struct got g = {0};
    sf_tree_lookup(tree, 1, "keep", keep, &g);
    fake_answer(); /* without `new` */
    struct got c = {0}, w = {0}, fl = {0};
    sf_tree_create(tree, &me, 1, "new", 0644, O_RDWR, keep, &c);
    fake_answer();
    fake_deliver();
    fake_run();
    assert_int_equal(c.err, 0);
    n = c.res.entry.node;
    sf_tree_write(tree, c.res.open.file, 0, "x", 1, keep, &w);
    struct got again = {0};
    sf_tree_lookup(tree, 1, "keep", keep, &again);
    fake_answer(); /* still without it */
    sf_tree_flush(tree, c.res.open.file, keep, &fl);
    assert_int_equal(fl.err, 0);
    sf_tree_release(tree, c.res.open.file);
    fake_deliver(); /* older than the upload */
    assert_int_equal(lookup(1, "new").res.entry.node, n);
}

/* ---- versions
 * ------------------------------------------------------------------------------------ */

static void
test_replaced_while_open(void **state)
{
    (void)state;
    fake_bucket("b");
    start_ttl("b", 0);
    fake_put("b", "f", "first");
    uint64_t old = node(1, "f");
    struct sf_file *f = open_file(old, O_RDONLY);
    assert_string_equal(read_file(f).data, "first");
    fake_put("b", "f", "second!");
    uint64_t new = node(1, "f");
    assert_int_not_equal(old, new);
    assert_string_equal(read_file(f).data, "first"); /* the cache has it */
    struct sf_file *g = open_file(new, O_RDONLY);
    assert_string_equal(read_file(g).data, "second!");
    sf_tree_release(tree, f);
    sf_tree_release(tree, g);
}

static void
test_replaced_before_the_first_read(void **state)
{
    (void)state;
    start("b");
    fake_put("b", "f", "first");
    fake_put("b", "g", "first");
    struct sf_file *f = open_file(node(1, "f"), O_RDONLY);
    fake_put("b", "f", "other");
    struct got g = read_file(f);
    assert_int_equal(g.err, 0);
    assert_string_equal(g.data, "other");
    sf_tree_release(tree, f);

    /* Of another size: the kernel would cut it to the old one. */
    f = open_file(node(1, "f"), O_RDONLY);
    fake_put("b", "f", "longer");
    assert_string_equal(read_file(f).data, "other"); /* the cache has it */
    sf_tree_release(tree, f);
    f = open_file(node(1, "g"), O_RDONLY);
    fake_put("b", "g", "second!");
    assert_int_equal(read_file(f).err, -ESTALE);
    sf_tree_release(tree, f);
    f = open_file(node(1, "g"), O_RDONLY);
    assert_string_equal(read_file(f).data, "second!");
    sf_tree_release(tree, f);
}

/* Also when its directory went with it: a descriptor names no path. */
static void
test_removed_before_the_first_read(void **state)
{
    static const char *const keys[] = {"f", "d/f", "c/d/f"};
    (void)state;
    fake_bucket("b");
    start_ttl("b", 0);
    for (size_t i = 0; i < 2 * (sizeof keys / sizeof *keys); i++) {
        const char *key = keys[i / 2];
        fake_put("b", key, "first");
        uint64_t dir = 1;
        if (i / 2 == 2)
            dir = node(1, "c");
        if (i / 2 >= 1)
            dir = node(dir, "d");
        struct sf_file *f = open_file(node(dir, "f"), O_RDONLY);
        fake_remove("b", key);
        if (i % 2) /* seen by others meanwhile */
            lookup(1, i / 2 == 2 ? "c" : i / 2 == 1 ? "d" : "f");
        assert_int_equal(read_file(f).err, -ESTALE);
        sf_tree_release(tree, f);
    }
}

/* ---- changes
 * -------------------------------------------------------------------------------------- */

static void
test_write_and_read_back(void **state)
{
    (void)state;
    uint64_t n;
    start("b");
    struct sf_file *f = create(1, "new", "content", &n);
    assert_string_equal(read_file(f).data, "content");
    assert_false(fake_has("b", "new", "content"));
    assert_int_equal(flush(f), 0);
    assert_true(fake_has("b", "new", "content"));
    assert_int_equal(flush(f), 0);
    assert_int_equal(fake_counts.puts, 1);
    sf_tree_release(tree, f);
    struct got g = {0};
    sf_tree_getattr(tree, n, NULL, keep, &g);
    assert_int_equal(g.res.attr.size, 7);
    assert_int_equal(g.res.attr.mode, S_IFREG | 0640);
    assert_int_equal(g.res.attr.uid, 1000);
    f = open_file(n, O_RDWR);
    assert_string_equal(read_file(f).data, "content");
    struct got w = {0};
    sf_tree_write(tree, f, 3, "XY", 2, keep, &w);
    fake_run();
    assert_int_equal(w.err, 0);
    assert_int_equal(flush(f), 0);
    assert_true(fake_has("b", "new", "conXYnt"));
    sf_tree_release(tree, f);
}

static void
test_flush_without_a_write_uploads_nothing(void **state)
{
    (void)state;
    start("b");
    struct got g = {0};
    sf_tree_create(tree, &me, 1, "t", 0644, O_WRONLY, keep, &g);
    fake_run();
    assert_int_equal(flush(g.res.open.file), 0);
    assert_int_equal(fake_counts.puts, 0);
    sf_tree_release(tree, g.res.open.file);
    assert_true(fake_has("b", "t", ""));
}

static void
test_refused_upload(void **state)
{
    (void)state;
    uint64_t n;
    start("b");
    struct sf_file *f = create(1, "new", "content", &n);
    fake_fail(-EACCES);
    assert_int_equal(flush(f), -EACCES);
    assert_int_equal(flush(f), -EACCES);
    sf_tree_release(tree, f);
    fake_fail(0);
    assert_int_equal(lookup(1, "new").res.entry.node, 0);
    sf_tree_forget(tree, n, 1);
}

static void
test_rename(void **state)
{
    (void)state;
    uint64_t n;
    start("b");
    fake_put("b", "target", "old");
    struct sf_file *f = create(1, "tmp", "new", &n);
    assert_int_equal(rename_name(1, "tmp", "unsent", 0), 0);
    assert_int_equal(fake_counts.renames, 0);
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    assert_true(fake_has("b", "unsent", "new"));
    assert_int_equal(rename_name(1, "unsent", "target", 1), -EEXIST); /* RENAME_NOREPLACE */
    assert_int_equal(rename_name(1, "unsent", "target", 0), 0);
    assert_true(fake_has("b", "target", "new"));
    assert_false(fake_has("b", "unsent", "new"));
    assert_int_equal(node(1, "target"), n);
    assert_int_equal(lookup(1, "unsent").res.entry.node, 0);
    struct got g = {0};
    sf_tree_getattr(tree, n, NULL, keep, &g);
    assert_int_equal(g.res.attr.mode & 07777, 0640);
    assert_string_equal(list(1), "target,");
}

static void
test_attributes_outlive_forget(void **state)
{
    (void)state;
    start("b");
    fake_put("b", "f", "x");
    uint64_t n = node(1, "f");
    struct got g = {0};
    const struct sf_attr a = {.mode = 0700, .mtime_ns = 123456789};
    sf_tree_setattr(tree, n, NULL, &a, SF_SET_MODE | SF_SET_MTIME, keep, &g);
    assert_int_equal(g.err, 0);
    sf_tree_forget(tree, n, 1);
    struct got l = lookup(1, "f");
    assert_int_equal(l.res.entry.attr.mode, S_IFREG | 0700);
    assert_int_equal(l.res.entry.attr.mtime_ns, 123456789);
    assert_int_equal(fake_counts.lists, 1);
}

static void
test_directory_keeps_a_marker(void **state)
{
    (void)state;
    start("b");
    fake_put("b", "d/last", "x");
    uint64_t d = node(1, "d");
    node(d, "last");
    assert_int_equal(unlink_name(d, "last"), 0);
    assert_true(fake_has("b", "d/.emptyFolderPlaceholder", ""));
    assert_string_equal(list(d), "");
    struct got g = {0};
    sf_tree_rmdir(tree, 1, "d", keep, &g);
    fake_run();
    assert_int_equal(g.err, 0);
    assert_false(fake_has("b", "d/.emptyFolderPlaceholder", ""));
    assert_int_equal(lookup(1, "d").res.entry.node, 0);
}

static void
test_root_of_a_project(void **state)
{
    (void)state;
    fake_bucket("b");
    start_ttl(NULL, 60000);
    struct got g = {0}, c = {0}, m = {0};
    assert_string_equal(list(1), "b,");
    sf_tree_mkdir(tree, &me, 1, ".Trash-1000", 0700, keep, &g);
    assert_int_equal(g.err, -EPERM);
    sf_tree_create(tree, &me, 1, "file", 0644, O_WRONLY, keep, &c);
    assert_int_equal(c.err, -EPERM);
    sf_tree_mkdir(tree, &me, 1, "new", 0755, keep, &m);
    assert_int_equal(m.err, 0);
    assert_string_equal(list(1), "b,new,");
    assert_int_equal(rename_name(1, "b", "c", 0), -EPERM);
    assert_string_equal(list(m.res.entry.node), "");
}

static void
test_new_directory_asks_nothing(void **state)
{
    (void)state;
    uint64_t n;
    start("b");
    fake_put("b", "x", "x");
    struct got m = {0};
    sf_tree_mkdir(tree, &me, 1, "d", 0755, keep, &m);
    fake_run();
    assert_int_equal(m.err, 0);
    unsigned lists = fake_counts.lists;
    assert_int_equal(lookup(m.res.entry.node, "none").res.entry.node, 0);
    struct sf_file *f = create(m.res.entry.node, "f", "x", &n);
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    assert_string_equal(list(m.res.entry.node), "f,");
    assert_int_equal(fake_counts.lists, lists);
}

static void
test_unlinked_while_open(void **state)
{
    (void)state;
    uint64_t n;
    start("b");
    struct sf_file *f = create(1, "tmp", "secret", &n);
    assert_int_equal(unlink_name(1, "tmp"), 0);
    assert_int_equal(fake_counts.deletes, 0);
    assert_string_equal(read_file(f).data, "secret");
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    assert_int_equal(fake_counts.puts, 0);
    assert_string_equal(list(1), "");
}

int
main(void)
{
#define T(name) cmocka_unit_test_teardown(test_##name, end)
    const struct CMUnitTest tests[] = {
        T(one_page_answers_for_a_directory),
        T(unknown_serves_what_is_known),
        T(unknown_without_knowledge_fails),
        T(empty_is_believed_only_after_a_look_at_the_bucket),
        T(removed_elsewhere),
        T(object_and_prefix_of_one_name),
        T(large_directory),
        T(folder_behind_many_names),
        T(late_listing_does_not_revive),
        T(late_listing_does_not_kill),
        T(replaced_while_open),
        T(replaced_before_the_first_read),
        T(removed_before_the_first_read),
        T(write_and_read_back),
        T(flush_without_a_write_uploads_nothing),
        T(refused_upload),
        T(rename),
        T(attributes_outlive_forget),
        T(directory_keeps_a_marker),
        T(root_of_a_project),
        T(new_directory_asks_nothing),
        T(unlinked_while_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
