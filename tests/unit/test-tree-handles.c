/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

/* Open files and directories: what happens to them while others change, remove, fail. */

static void
start_now(void)
{
    fake_bucket("b");
    start_ttl("b", 0);
}

static void
write_later(struct sf_file *f, uint64_t off, const char *text, struct got *g)
{
    sf_tree_write(tree, f, off, text, strlen(text), keep, g);
}

static int
write_at(struct sf_file *f, uint64_t off, const char *text)
{
    struct got g = {0};
    write_later(f, off, text, &g);
    fake_run();
    assert_true(g.called);
    return g.err;
}

static struct got
getattr(uint64_t n, struct sf_file *f)
{
    struct got g = {0};
    sf_tree_getattr(tree, n, f, keep, &g);
    fake_run();
    assert_true(g.called);
    return g;
}

/* ---- released while something waits --------------------------------------------------------- */

/* The kernel gives a handle back when its request was answered: by an interrupt or a deadline, too.
 */
static void
test_released_while_a_listing_runs(void **state)
{
    (void)state;
    struct got o = {0}, r = {0};
    start_now();
    fake_put("b", "a", "x");
    sf_tree_opendir(tree, 1, keep, &o);
    sf_tree_readdir(tree, o.res.dir, 0, keep, &r);
    assert_false(r.called);
    sf_tree_releasedir(tree, o.res.dir);
    fake_run();
    assert_true(r.called);
}

static void
test_released_while_a_copy_reads(void **state)
{
    (void)state;
    struct got c = {0};
    start_now();
    fake_put("b", "in", "bytes");
    fake_put("b", "out", "other");
    struct sf_file *in = open_file(node(1, "in"), O_RDONLY);
    struct sf_file *out = open_file(node(1, "out"), O_RDWR);
    sf_tree_copy_range(tree, in, 0, out, 0, 5, keep, &c);
    assert_false(c.called);
    sf_tree_release(tree, in);
    sf_tree_release(tree, out);
    fake_run();
    assert_true(c.called);
    assert_int_equal(c.err, -EBADF);
    assert_true(fake_has("b", "out", "other"));
}

static void
test_copy_inside_one_file(void **state)
{
    (void)state;
    struct got c = {0};
    start_now();
    fake_put("b", "f", "0123456789");
    struct sf_file *f = open_file(node(1, "f"), O_RDWR);
    sf_tree_copy_range(tree, f, 0, f, 5, 4, keep, &c);
    fake_run();
    assert_int_equal(c.err, 0);
    assert_int_equal(c.res.len, 4);
    assert_int_equal(flush(f), 0);
    assert_true(fake_has("b", "f", "0123401239"));
    sf_tree_release(tree, f);
}

static struct got
copy_all(struct sf_file *in, struct sf_file *out, size_t len)
{
    struct got c = {0};
    sf_tree_copy_range(tree, in, 0, out, 0, len, keep, &c);
    fake_run();
    assert_int_equal(c.err, 0);
    return c;
}

static void
test_copy_of_a_whole_file(void **state)
{
    (void)state;
    uint64_t n;
    start_now();
    fake_put("b", "f", "0123456789");
    struct sf_file *in = open_file(node(1, "f"), O_RDONLY), *out = create(1, "copy", "", &n);
    unsigned gets = fake_counts.gets;
    assert_int_equal(copy_all(in, out, 5).res.len, 5); /* a part is read and written */
    assert_int_equal(fake_counts.gets, gets + 1);
    sf_tree_release(tree, out);
    fake_run();
    assert_true(fake_has("b", "copy", "01234"));

    out = create(1, "copy2", "", &n);
    assert_int_equal(copy_all(in, out, 1u << 30).res.len, 10);
    assert_int_equal(getattr(n, out).res.attr.size, 10);
    assert_int_equal(fake_counts.gets, gets + 1);
    assert_int_equal(fake_counts.loads, 0);
    assert_string_equal(read_file(out).data, "0123456789");
    assert_int_equal(flush(out), 0);
    assert_true(fake_has("b", "copy2", "0123456789"));
    struct sf_file *third = create(1, "copy3", "", &n); /* of what was just sent */
    sf_tree_release(tree, in);
    sf_tree_release(tree, out);
    in = create(1, "new", "not sent", &n); /* and of what was not */
    assert_int_equal(copy_all(in, third, 100).res.len, 8);
    assert_int_equal(flush(third), 0);
    assert_true(fake_has("b", "copy3", "not sent"));
    sf_tree_release(tree, in);
    sf_tree_release(tree, third);
}

/* ---- others write --------------------------------------------------------------------------- */

/* An answer of the old version that arrives when the node stands for the new one. */
static void
bytes_come_late(const char *second, const char *wanted)
{
    struct got r = {0}, l = {0};
    start_now();
    fake_put("b", "f", "first");
    struct sf_file *f = open_file(node(1, "f"), O_RDONLY);
    sf_tree_read(tree, f, 0, 200, keep, &r);
    fake_answer(); /* with "first" */
    fake_put("b", "f", second);
    sf_tree_lookup(tree, 1, "f", keep, &l);
    fake_overtake();
    fake_run();
    assert_true(l.called && r.called);
    assert_int_equal(r.err, 0);
    assert_string_equal(r.data, wanted);
    assert_string_equal(read_file(f).data, wanted);
    sf_tree_release(tree, f);
}

static void
test_bytes_of_the_old_version_come_late(void **state)
{
    (void)state;
    bytes_come_late("other", "other");
}

/* Then the handle keeps its version: the kernel has the size of that. */
static void
test_bytes_of_a_shorter_version_come_late(void **state)
{
    (void)state;
    bytes_come_late("second!", "first");
}

static void
test_target_of_the_old_link_comes_late(void **state)
{
    (void)state;
    struct got r = {0}, l = {0}, again = {0};
    start_now();
    fake_put_mime("b", "l", "old", "inode/symlink");
    uint64_t n = node(1, "l");
    sf_tree_readlink(tree, n, keep, &r);
    fake_answer();
    fake_put_mime("b", "l", "newer", "inode/symlink");
    sf_tree_lookup(tree, 1, "l", keep, &l);
    fake_overtake();
    fake_run();
    assert_true(l.called && r.called);
    sf_tree_readlink(tree, node(1, "l"), keep, &again);
    fake_run();
    assert_string_equal(again.data, "newer");
}

static void
test_write_to_a_version_that_is_gone(void **state)
{
    (void)state;
    start("b");
    fake_put("b", "f", "first");
    struct sf_file *f = open_file(node(1, "f"), O_RDWR);
    fake_put("b", "f", "second!");            /* not seen: what is known is young enough */
    assert_int_equal(write_at(f, 0, "S"), 0); /* asks nobody */
    assert_int_equal(flush(f), -ESTALE);      /* the rest of that version is nowhere */
    assert_true(fake_has("b", "f", "second!"));
    sf_tree_release(tree, f);
    assert_int_equal(fake_counts.quarantined, 1);
    struct sf_file *r = open_file(node(1, "f"), O_RDONLY);
    assert_string_equal(read_file(r).data, "second!");
    sf_tree_release(tree, r);
}

/* fstat(2) of what somebody else replaced or removed: the kernel names no handle then. */
static void
test_attributes_of_an_old_version(void **state)
{
    (void)state;
    start_now();
    fake_put("b", "f", "first");
    uint64_t n = node(1, "f");
    struct sf_file *f = open_file(n, O_RDONLY);
    assert_string_equal(read_file(f).data, "first");
    fake_put("b", "f", "second!");
    assert_int_equal(getattr(n, NULL).err, 0);
    assert_int_equal(getattr(n, f).res.attr.size, 5);
    fake_remove("b", "f");
    fake_put("b", "other", "x");
    assert_int_equal(getattr(n, NULL).res.attr.size, 5);
    sf_tree_release(tree, f);
}

/* Staged bytes serve who has them open; others see what is in the bucket. */
static void
test_a_reader_does_not_hide_changes(void **state)
{
    (void)state;
    uint64_t n;
    start_now();
    struct sf_file *w = create(1, "f", "mine", &n);
    struct sf_file *r = open_file(n, O_RDONLY);
    assert_int_equal(flush(w), 0);
    sf_tree_release(tree, w);
    fake_put("b", "f", "theirs");
    struct sf_file *again = open_file(node(1, "f"), O_RDONLY);
    assert_string_equal(read_file(again).data, "theirs");
    assert_string_equal(read_file(r).data, "mine");
    sf_tree_release(tree, again);
    sf_tree_release(tree, r);
}

static void
test_a_reader_does_not_hide_removal(void **state)
{
    (void)state;
    uint64_t n;
    start_now();
    fake_put("b", "other", "x");
    struct sf_file *w = create(1, "f", "mine", &n);
    struct sf_file *r = open_file(n, O_RDONLY);
    assert_int_equal(flush(w), 0);
    sf_tree_release(tree, w);
    fake_remove("b", "f");
    assert_int_equal(lookup(1, "f").res.entry.node, 0);
    assert_string_equal(read_file(r).data, "mine");
    sf_tree_release(tree, r);
}

/* The later close wins, and no close lies. */
static void
test_a_writer_goes_on_after_a_foreign_change(void **state)
{
    (void)state;
    uint64_t n;
    start_now();
    struct sf_file *w = create(1, "f", "mine", &n);
    assert_int_equal(flush(w), 0);
    fake_put("b", "f", "theirs");
    assert_string_equal(list(1), "f,");
    assert_int_equal(write_at(w, 4, " again"), 0);
    assert_int_equal(flush(w), 0);
    assert_true(fake_has("b", "f", "mine again"));
    sf_tree_release(tree, w);
    assert_int_equal(fake_counts.quarantined, 0);
}

/* Our own upload's ETag is not known yet. Somebody else's bytes of the same size are not ours. */
static void
own_upload_replaced(bool keep_ids)
{
    uint64_t n;
    start_now();
    fake_keep_ids(keep_ids);
    struct sf_file *w = create(1, "f", "mine", &n);
    assert_int_equal(flush(w), 0);
    sf_tree_release(tree, w);
    fake_put("b", "f", "hers");
    struct got o = {0};
    sf_tree_open(tree, node(1, "f"), O_RDONLY, keep, &o);
    fake_run();
    assert_int_equal(o.err, 0);
    assert_false(o.res.open.keep_cache);
    assert_string_equal(read_file(o.res.open.file).data, "hers");
    sf_tree_release(tree, o.res.open.file);
}

static void
test_own_upload_replaced(void **state)
{
    (void)state;
    own_upload_replaced(true);
}

static void
test_own_upload_removed_and_made_anew(void **state)
{
    (void)state;
    own_upload_replaced(false);
}

static void
test_own_upload_under_a_renamed_one(void **state)
{
    (void)state;
    uint64_t n;
    start("b");
    const char *const names_of[] = {"a", "b"};
    for (int i = 0; i < 2; i++) {
        struct sf_file *w = create(1, names_of[i], i ? "new" : "old", &n);
        assert_int_equal(flush(w), 0);
        sf_tree_release(tree, w);
    }
    struct sf_file *f = open_file(node(1, "a"), O_RDONLY);
    assert_int_equal(rename_name(1, "b", "a", 0), 0);
    assert_string_equal(read_file(f).data, "old"); /* not the bytes of the other file */
    sf_tree_release(tree, f);
    f = open_file(node(1, "a"), O_RDONLY);
    assert_string_equal(read_file(f).data, "new");
    sf_tree_release(tree, f);
}

/* ---- open versions -------------------------------------------------------------------------- */

static struct sf_file *
half_read(const char *name)
{
    struct sf_file *f = open_file(node(1, name), O_RDONLY);
    struct got g = {0};
    sf_tree_read(tree, f, 0, 3, keep, &g);
    fake_run();
    assert_string_equal(g.data, "fir");
    return f;
}

static void
reads_on(struct sf_file *f)
{
    struct got g = {0};
    sf_tree_read(tree, f, 3, 100, keep, &g);
    fake_run();
    assert_int_equal(g.err, 0);
    assert_string_equal(g.data, "st");
    sf_tree_release(tree, f);
}

static void
test_half_read_and_removed(void **state)
{
    (void)state;
    start("b");
    fake_put("b", "f", "first");
    struct sf_file *f = half_read("f");
    assert_int_equal(unlink_name(1, "f"), 0);
    assert_false(fake_exists("b", "f"));
    fake_put("b", "f", "other");
    reads_on(f);
}

static void
test_half_read_and_replaced(void **state)
{
    (void)state;
    uint64_t n;
    start("b");
    fake_put("b", "f", "first");
    fake_put("b", "other", "other");
    fake_put("b", "g", "first");
    struct sf_file *f = half_read("f");
    assert_int_equal(rename_name(1, "other", "f", 0), 0);
    reads_on(f);

    f = half_read("g"); /* by a file that was not uploaded before */
    struct sf_file *w = create(1, "tmp", "other", &n);
    assert_int_equal(rename_name(1, "tmp", "g", 0), 0);
    assert_int_equal(flush(w), 0);
    sf_tree_release(tree, w);
    fake_run();
    assert_true(fake_has("b", "g", "other"));
    reads_on(f);
}

static void
test_half_read_and_overwritten(void **state)
{
    (void)state;
    struct got o = {0};
    start("b");
    fake_put("b", "f", "first");
    fake_put("b", "g", "first");
    struct sf_file *f = half_read("f");
    uint64_t old = node(1, "f");
    sf_tree_open(tree, old, O_WRONLY | O_TRUNC, keep, &o);
    fake_run();
    assert_int_equal(o.err, -ESTALE); /* the kernel looks the name up again */
    uint64_t fresh = node(1, "f");
    assert_int_not_equal(fresh, old);
    struct sf_file *w = open_file(fresh, O_WRONLY | O_TRUNC);
    assert_int_equal(write_at(w, 0, "other"), 0);
    assert_int_equal(flush(w), 0);
    sf_tree_release(tree, w);
    assert_true(fake_has("b", "f", "other"));
    reads_on(f);

    /* Where others write as well, all of them see one file. */
    f = half_read("g");
    struct sf_file *both = open_file(node(1, "g"), O_RDWR);
    w = open_file(node(1, "g"), O_WRONLY | O_TRUNC);
    assert_int_equal(write_at(w, 0, "OTHER"), 0);
    assert_string_equal(read_file(both).data, "OTHER");
    assert_string_equal(read_file(f).data, "OTHER");
    assert_int_equal(flush(w), 0);
    sf_tree_release(tree, w);
    sf_tree_release(tree, f);
    sf_tree_release(tree, both);
}

/* ---- opening -------------------------------------------------------------------------------- */

/* A create that finds a file: the kernel's old pages of it are of no use. */
static void
test_create_of_what_is_there(void **state)
{
    (void)state;
    struct got c = {0};
    start_now();
    fake_put("b", "f", "theirs");
    sf_tree_create(tree, &me, 1, "f", 0644, O_RDWR | O_CREAT, keep, &c);
    fake_run();
    assert_int_equal(c.err, 0);
    assert_false(c.res.open.keep_cache);
    assert_int_equal(c.res.entry.attr.size, 6);
    assert_string_equal(read_file(c.res.open.file).data, "theirs");
    sf_tree_release(tree, c.res.open.file);
}

static void
test_two_creates_of_one_name(void **state)
{
    (void)state;
    struct got a = {0}, b = {0}, x = {0};
    start_now();
    sf_tree_create(tree, &me, 1, "f", 0644, O_RDWR | O_CREAT, keep, &a);
    sf_tree_create(tree, &me, 1, "f", 0644, O_RDWR | O_CREAT, keep, &b);
    sf_tree_create(tree, &me, 1, "f", 0644, O_RDWR | O_CREAT | O_EXCL, keep, &x);
    fake_run();
    int errs = !!a.err + !!b.err + !!x.err;
    assert_true(a.called && b.called && x.called);
    assert_true(errs == (x.err != 0)); /* only O_EXCL may fail, and only so: */
    assert_true(x.err == 0 || x.err == -EEXIST);
    for (struct got *g = &a; g; g = g == &a ? &b : g == &b ? &x : NULL)
        if (!g->err)
            sf_tree_release(tree, g->res.open.file);
    assert_true(fake_has("b", "f", ""));
}

static void
test_truncated_after_a_failed_flush(void **state)
{
    (void)state;
    uint64_t n;
    start_now();
    fake_put("b", "f", "old");
    n = node(1, "f");
    struct sf_file *f = open_file(n, O_RDWR);
    assert_int_equal(write_at(f, 0, "new"), 0);
    fake_fail(-EIO);
    assert_int_equal(flush(f), -EIO);
    fake_fail(0);
    struct sf_file *t = open_file(n, O_WRONLY | O_TRUNC);
    sf_tree_release(tree, f);
    sf_tree_release(tree, t); /* nobody was told that this cannot be */
    fake_run();
    assert_true(fake_has("b", "f", ""));
}

static void
test_append(void **state)
{
    (void)state;
    start_now();
    fake_put("b", "f", "0123");
    struct sf_file *f = open_file(node(1, "f"), O_WRONLY | O_APPEND);
    assert_int_equal(write_at(f, 0, "45"), 0); /* the kernel's guess of the end counts nothing */
    assert_int_equal(write_at(f, 1, "67"), 0);
    assert_int_equal(flush(f), 0);
    assert_true(fake_has("b", "f", "01234567"));
    sf_tree_release(tree, f);
}

static void
test_allocation_that_changes_nothing(void **state)
{
    (void)state;
    struct got a = {0}, k = {0}, g = {0};
    start_now();
    fake_put("b", "f", "0123");
    struct sf_file *f = open_file(node(1, "f"), O_RDWR);
    sf_tree_fallocate(tree, f, 1 /* FALLOC_FL_KEEP_SIZE */, 0, 900, keep, &k);
    sf_tree_fallocate(tree, f, 0, 0, 4, keep, &a);
    fake_run();
    assert_true(a.called && !a.err && k.called && !k.err);
    assert_int_equal(flush(f), 0);
    assert_int_equal(fake_counts.puts, 0);
    sf_tree_fallocate(tree, f, 0, 2, 4, keep, &g);
    fake_run();
    assert_int_equal(flush(f), 0);
    assert_int_equal(fake_counts.puts, 1);
    sf_tree_release(tree, f);
}

/* ---- failures ------------------------------------------------------------------------------- */

/* Bytes that are given up stay readable for who has them open. */
static void
test_given_up_while_read(void **state)
{
    (void)state;
    uint64_t n;
    start_now();
    struct sf_file *w = create(1, "f", "mine", &n);
    struct sf_file *r = open_file(n, O_RDONLY);
    fake_fail(-EACCES);
    assert_int_equal(flush(w), -EACCES);
    sf_tree_release(tree, w);
    fake_fail(0);
    assert_string_equal(fake_quarantined(), "f=mine");
    assert_string_equal(read_file(r).data, "mine");
    assert_int_equal(lookup(1, "f").res.entry.node, 0);
    sf_tree_release(tree, r);
}

/* Somebody opens a file to write while its last failed bytes are put aside. */
static void
test_written_while_given_up(void **state)
{
    (void)state;
    uint64_t n;
    start_now();
    struct sf_file *w = create(1, "f", "mine", &n);
    fake_hold(true);
    fake_fail(-EACCES);
    sf_tree_release(tree, w); /* its upload waits */
    fake_change();
    fake_fail(0);
    struct got o = {0};
    sf_tree_open(tree, n, O_RDWR, keep, &o);
    assert_true(o.called);
    fake_hold(false);
    fake_run(); /* it failed, but there is a writer now */
    assert_int_equal(write_at(o.res.open.file, 0, "M"), 0);
    assert_int_equal(flush(o.res.open.file), 0);
    assert_true(fake_has("b", "f", "Mine"));
    sf_tree_release(tree, o.res.open.file);
}

static void
test_drain_waits_for_a_flush(void **state)
{
    (void)state;
    uint64_t n;
    struct got g = {0};
    start_now();
    struct sf_file *w = create(1, "f", "mine", &n);
    fake_hold(true);
    sf_tree_flush(tree, w, keep, &g);
    assert_false(g.called);
    assert_int_equal(sf_tree_drain(tree, 1), 1); /* no time: put aside, and said so */
    assert_int_equal(fake_counts.quarantined, 1);
    fake_hold(false);
    fake_run();
    sf_tree_release(tree, w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(released_while_a_listing_runs),
        TREE_TEST(released_while_a_copy_reads),
        TREE_TEST(copy_inside_one_file),
        TREE_TEST(copy_of_a_whole_file),
        TREE_TEST(bytes_of_the_old_version_come_late),
        TREE_TEST(bytes_of_a_shorter_version_come_late),
        TREE_TEST(target_of_the_old_link_comes_late),
        TREE_TEST(write_to_a_version_that_is_gone),
        TREE_TEST(attributes_of_an_old_version),
        TREE_TEST(a_reader_does_not_hide_changes),
        TREE_TEST(a_reader_does_not_hide_removal),
        TREE_TEST(a_writer_goes_on_after_a_foreign_change),
        TREE_TEST(own_upload_replaced),
        TREE_TEST(own_upload_removed_and_made_anew),
        TREE_TEST(own_upload_under_a_renamed_one),
        TREE_TEST(half_read_and_removed),
        TREE_TEST(half_read_and_replaced),
        TREE_TEST(half_read_and_overwritten),
        TREE_TEST(create_of_what_is_there),
        TREE_TEST(two_creates_of_one_name),
        TREE_TEST(truncated_after_a_failed_flush),
        TREE_TEST(append),
        TREE_TEST(allocation_that_changes_nothing),
        TREE_TEST(given_up_while_read),
        TREE_TEST(written_while_given_up),
        TREE_TEST(drain_waits_for_a_flush),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
