/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tree/: attributes come from marks, go out with uploads, and last. */
#include "tree-fixture.h"

#include "base/hash.h"
#include "write/mark.h"

#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define S INT64_C(1000000000)

static void
begin(void)
{
    fake_bucket("b");
    start_with("b", 60000, false);
}

/* The same project after a remount with nothing kept. */
static void
remount(void)
{
    fake_run();
    sf_tree_free(tree);
    blocks_end();
    start_with("b", 60000, false);
}

static struct sf_attr
stat_of(uint64_t dir, const char *name)
{
    struct got g = lookup(dir, name);
    assert_int_equal(g.err, 0);
    assert_int_not_equal(g.res.entry.node, 0);
    return g.res.entry.attr;
}

static void
same(const struct sf_attr *a, const struct sf_attr *b)
{
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_int_equal(a->mtime_ns, b->mtime_ns);
    assert_int_equal(a->ctime_ns, b->ctime_ns);
    assert_int_equal(a->atime_ns, b->atime_ns);
    assert_int_equal(a->ino, b->ino);
    assert_int_equal(a->size, b->size);
}

static void
put_marked(const char *key, const char *mark)
{
    char text[300];
    snprintf(text, sizeof text, "max-age=3600, supafs=\"%s\"", mark);
    fake_put("b", key, "text");
    fake_set_cache("b", key, text);
}

static void
test_a_mark_is_shown(void **state)
{
    (void)state;
    begin();
    put_marked("f", "1;m=100640;u=1000;g=100;t=5.000000007;c=9;a=3;i=abc");
    struct sf_attr a = stat_of(1, "f");
    assert_int_equal(a.mode, S_IFREG | 0640);
    assert_int_equal(a.uid, 1000);
    assert_int_equal(a.gid, 100);
    assert_int_equal(a.mtime_ns, 5 * S + 7);
    assert_int_equal(a.ctime_ns, 9 * S);
    assert_int_equal(a.atime_ns, 3 * S);
    assert_int_equal(a.ino, 0xabc);
    assert_int_equal(fake_counts.lists, 1);
}

static void
test_without_a_mark_the_defaults(void **state)
{
    (void)state;
    begin();
    fake_put("b", "f", "text");
    struct sf_attr a = stat_of(1, "f");
    assert_int_equal(a.mode, S_IFREG | 0644);
    assert_int_equal(a.uid, 1);
    assert_int_equal(a.gid, 2);
    assert_int_equal(a.mtime_ns, a.ctime_ns);
    assert_int_not_equal(a.mtime_ns, 0);
    uint64_t ino = a.ino;
    remount();
    assert_int_equal(stat_of(1, "f").ino, ino); /* a hash of the object's id */
}

static void
test_epoch_is_a_time(void **state)
{
    (void)state;
    begin();
    put_marked("f", "1;m=100600;t=0;c=0");
    struct sf_attr a = stat_of(1, "f");
    assert_int_equal(a.mtime_ns, 0);
    assert_int_equal(a.ctime_ns, 0);
}

/* A type in the mark that the object is not of is passed over. */
static void
test_mark_of_another_type(void **state)
{
    (void)state;
    begin();
    put_marked("f", "1;m=40700;t=7");
    struct sf_attr a = stat_of(1, "f");
    assert_int_equal(a.mode, S_IFREG | 0644);
    assert_int_equal(a.mtime_ns, 7 * S);
}

/* Two objects with one number: the first keeps it, the other has one of its own, and the first
 * gives it up when it is gone. */
static void
test_one_number_twice(void **state)
{
    (void)state;
    begin();
    put_marked("a", "1;m=100600;i=77");
    put_marked("b", "1;m=100600;i=77");
    assert_int_equal(stat_of(1, "a").ino, 0x77);
    uint64_t other = stat_of(1, "b").ino;
    assert_int_not_equal(other, 0x77);
    assert_int_equal(unlink_name(1, "a"), 0);
    assert_int_equal(stat_of(1, "b").ino, other); /* for the node's life */
    remount();
    assert_int_equal(stat_of(1, "b").ino, 0x77);
}

/* The number of the root of the mount, and many at once. */
static void
test_many_numbers(void **state)
{
    (void)state;
    char key[20], mark[60];
    begin();
    put_marked("root", "1;i=1");
    for (unsigned i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "f%u", i);
        snprintf(mark, sizeof mark, "1;m=100600;i=%x", i * 64 + 16);
        put_marked(key, mark);
    }
    assert_int_not_equal(stat_of(1, "root").ino, 1);
    for (unsigned i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "f%u", i);
        assert_int_equal(stat_of(1, key).ino, i * 64 + 16);
    }
    for (unsigned i = 0; i < 500; i += 2) {
        snprintf(key, sizeof key, "f%u", i);
        assert_int_equal(unlink_name(1, key), 0);
    }
    for (unsigned i = 1; i < 500; i += 2) {
        snprintf(key, sizeof key, "f%u", i);
        assert_int_equal(stat_of(1, key).ino, i * 64 + 16);
    }
}

static void
test_a_new_file_after_a_remount(void **state)
{
    (void)state;
    uint64_t n;
    begin();
    struct sf_file *f = create(1, "f", "bytes", &n);
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    fake_run();
    struct sf_attr before = stat_of(1, "f"), after;
    assert_int_equal(before.mode, S_IFREG | 0640);
    assert_int_equal(before.uid, 1000);
    assert_int_equal(before.gid, 1000);
    remount();
    after = stat_of(1, "f");
    same(&before, &after);
    assert_int_equal(fake_counts.puts, 1);
}

/* The owner that is the mount's default is not written. */
static void
test_default_owner_is_not_written(void **state)
{
    (void)state;
    struct got g = {0};
    const struct sf_cred own = {1, 2, 022};
    begin();
    sf_tree_create(tree, &own, 1, "f", 0600, O_RDWR, keep, &g);
    fake_run();
    assert_int_equal(g.err, 0);
    sf_tree_release(tree, g.res.open.file);
    fake_run();
    assert_null(strstr(fake_cache("b", "f"), ";u="));
    assert_null(strstr(fake_cache("b", "f"), ";g="));
    assert_non_null(strstr(fake_cache("b", "f"), "m=100600"));
}

static void
test_links_and_directories_after_a_remount(void **state)
{
    (void)state;
    struct got l = {0}, d = {0};
    begin();
    sf_tree_symlink(tree, &me, "target", 1, "l", keep, &l);
    sf_tree_mkdir(tree, &me, 1, "d", 0750, keep, &d);
    fake_run();
    assert_int_equal(l.err, 0);
    assert_int_equal(d.err, 0);
    assert_non_null(strstr(fake_cache("b", "d/.emptyFolderPlaceholder"), "m=40750"));
    struct sf_attr link = stat_of(1, "l"), after;
    assert_int_equal(link.mode, S_IFLNK | 0777);
    remount();
    after = stat_of(1, "l");
    same(&link, &after);
}

/* docs/formats/attributes.md: the content type says what it is, the mark which device. */
static void
test_specials_after_a_remount(void **state)
{
    (void)state;
    const struct {
        const char *name;
        mode_t mode;
        dev_t rdev, want;
    } all[] = {{"p", S_IFIFO | 0640, 5, 0},
               {"s", S_IFSOCK | 0755, 5, 0},
               {"b", S_IFBLK | 0660, makedev(8, 1), makedev(8, 1)},
               {"c", S_IFCHR | 0666, makedev(1, 70000), makedev(1, 70000)}};
    struct sf_attr before[4];
    struct got g, again = {0}, cut = {0};
    begin();
    for (size_t i = 0; i < 4; i++) {
        memset(&g, 0, sizeof g);
        sf_tree_mknod(tree, &me, 1, all[i].name, all[i].mode, all[i].rdev, keep, &g);
        fake_run();
        assert_int_equal(g.err, 0);
        before[i] = g.res.entry.attr;
        assert_int_equal(before[i].mode, all[i].mode);
        assert_int_equal(before[i].rdev, all[i].want);
    }
    assert_int_equal(fake_counts.puts, 4);
    struct sf_attr ch = {.mode = 0600};
    sf_tree_setattr(tree, node(1, "b"), NULL, &ch, SF_SET_MODE, keep, &again);
    fake_run();
    assert_int_equal(again.err, 0);
    before[2] = stat_of(1, "b");
    assert_int_equal(before[2].mode, S_IFBLK | 0600);
    remount();
    unsigned lists = fake_counts.lists;
    for (size_t i = 0; i < 4; i++) {
        struct sf_attr now = stat_of(1, all[i].name);
        same(&now, &before[i]);
        assert_int_equal(now.rdev, before[i].rdev);
    }
    assert_int_equal(fake_counts.lists, lists + 1); /* nothing else was asked */
    sf_tree_setattr(tree, node(1, "p"), NULL, &ch, SF_SET_SIZE, keep, &cut);
    assert_int_equal(cut.err, -EINVAL);
}

/* A listing shows what was made before the reply to our request comes. */
static void
test_a_listing_before_the_reply(void **state)
{
    (void)state;
    static const mode_t kinds[] = {S_IFLNK | 0777, S_IFIFO | 0600};
    fake_bucket("b");
    start_with("b", 0, false);
    fake_hold(true);
    for (size_t i = 0; i < 2; i++) {
        const char *name = i ? "fifo" : "link";
        struct got made = {0}, seen = {0};
        if (i)
            sf_tree_mknod(tree, &me, 1, name, kinds[i], 0, keep, &made);
        else
            sf_tree_symlink(tree, &me, "target", 1, name, keep, &made);
        while (fake_step_question())
            ; /* it was not there */
        assert_true(fake_change());
        sf_tree_lookup(tree, 1, name, keep, &seen);
        while (fake_step_question())
            ;
        assert_true(seen.called);
        assert_int_equal(seen.res.entry.attr.mode, kinds[i]);
        assert_false(made.called);
        assert_true(fake_told());
        assert_int_equal(made.err, 0);
        assert_int_equal(made.res.entry.node, seen.res.entry.node);
    }
}

/* Somebody else made another thing of it: it is another node. */
static void
test_a_kind_that_changes(void **state)
{
    (void)state;
    fake_bucket("b");
    start_with("b", 0, false);
    fake_put_mime("b", "x", "", "inode/fifo");
    uint64_t was = node(1, "x");
    assert_int_equal(stat_of(1, "x").mode, S_IFIFO | 0644);
    fake_put_mime("b", "x", "", "text/plain");
    assert_int_equal(stat_of(1, "x").mode, S_IFREG | 0644);
    assert_int_not_equal(node(1, "x"), was);
    fake_put_mime("b", "x", "", "inode/future");
    assert_int_equal(stat_of(1, "x").mode, S_IFREG | 0644);
}

/* attrs=none: nothing is read and nothing written. */
static void
test_plain(void **state)
{
    (void)state;
    uint64_t n;
    struct got d = {0};
    fake_bucket("b");
    start_with("b", 60000, true);
    put_marked("f", "1;m=100640;u=1000;g=100;t=5;c=9;i=abc");
    struct sf_attr a = stat_of(1, "f");
    assert_int_equal(a.mode, S_IFREG | 0644);
    assert_int_equal(a.uid, 1);
    assert_int_not_equal(a.mtime_ns, 5 * S);
    assert_int_not_equal(a.ino, 0xabc);
    struct sf_file *f = create(1, "g", "bytes", &n);
    sf_tree_release(tree, f);
    sf_tree_mkdir(tree, &me, 1, "d", 0700, keep, &d);
    fake_run();
    struct got dev = {0}, fifo = {0};
    sf_tree_mknod(tree, &me, 1, "dev", S_IFBLK | 0600, makedev(8, 1), keep, &dev);
    sf_tree_mknod(tree, &me, 1, "fifo", S_IFIFO | 0600, 0, keep, &fifo);
    fake_run();
    assert_int_equal(dev.err, -EPERM); /* nothing keeps its number */
    assert_int_equal(fifo.err, 0);
    assert_string_equal(fake_cache("b", "g"), "no-cache");
    assert_string_equal(fake_cache("b", "d/.emptyFolderPlaceholder"), "no-cache");
    assert_int_equal(stat_of(1, "g").mode, S_IFREG | 0640); /* as long as the mount */
    assert_int_equal(stat_of(1, "d").mode, S_IFDIR | 0700);
}

/* Another client's overwrite has no mark: it is another file now, but its number stays. */
static void
test_overwritten_by_others(void **state)
{
    (void)state;
    uint64_t n;
    fake_bucket("b");
    start_with("b", 0, false);
    struct sf_file *f = create(1, "f", "bytes", &n);
    sf_tree_release(tree, f);
    fake_run();
    struct sf_attr before = stat_of(1, "f");
    fake_put("b", "f", "other bytes");
    struct sf_attr after = stat_of(1, "f");
    assert_int_equal(after.mode, S_IFREG | 0644);
    assert_int_equal(after.uid, 1);
    assert_int_not_equal(after.mtime_ns, before.mtime_ns);
    assert_int_equal(after.ino, before.ino);
}

/* What was set here of an open, unsent file goes along with its bytes. */
static void
test_set_before_close(void **state)
{
    (void)state;
    uint64_t n;
    struct got g = {0};
    begin();
    struct sf_file *f = create(1, "f", "bytes", &n);
    const struct sf_attr a = {.mode = 0604, .uid = 7, .gid = 8, .mtime_ns = 5 * S, .atime_ns = 4};
    sf_tree_setattr(tree, n, f, &a,
                    SF_SET_MODE | SF_SET_UID | SF_SET_GID | SF_SET_MTIME | SF_SET_ATIME, keep, &g);
    assert_int_equal(g.err, 0);
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    fake_run();
    struct sf_attr before = stat_of(1, "f"), after;
    assert_int_equal(before.mtime_ns, 5 * S);
    remount();
    after = stat_of(1, "f");
    same(&before, &after);
    assert_int_equal(after.uid, 7);
    assert_int_equal(after.atime_ns, 4);
    assert_int_equal(fake_counts.puts, 1);
}

/* ---- changed later -------------------------------------------------------------------------- */

static struct got
set(uint64_t n, const struct sf_attr *a, unsigned valid)
{
    struct got g = {0};
    sf_tree_setattr(tree, n, NULL, a, valid, keep, &g);
    return g;
}

static void
test_changed_later(void **state)
{
    (void)state;
    const struct sf_attr a = {.mode = 0604, .uid = 7, .mtime_ns = 5 * S};
    begin();
    fake_put("b", "f", "text");
    uint64_t n = node(1, "f");
    struct got g = set(n, &a, SF_SET_MODE | SF_SET_UID | SF_SET_MTIME);
    assert_true(g.called); /* before anything was sent */
    assert_int_equal(g.err, 0);
    assert_int_equal(g.res.attr.mode, S_IFREG | 0604);
    fake_run();
    struct sf_attr before = stat_of(1, "f"), after;
    remount();
    after = stat_of(1, "f");
    same(&before, &after);
    assert_int_equal(after.uid, 7);
    assert_int_equal(after.mtime_ns, 5 * S);
    assert_int_equal(fake_counts.attrs, 1);
    assert_int_equal(fake_counts.puts, 0);
}

/* O_TRUNC changes the times of a file that is empty already, and nothing else. */
static void
test_an_empty_file_cut(void **state)
{
    (void)state;
    begin();
    fake_put("b", "f", "");
    fake_set_cache("b", "f", "no-cache, supafs=\"1;m=100640;t=5;c=6;i=abc\"");
    uint64_t n = node(1, "f");
    struct got g = {0};
    sf_tree_open(tree, n, O_WRONLY | O_TRUNC, keep, &g);
    assert_int_equal(g.err, 0);
    sf_tree_release(tree, g.res.open.file);
    fake_run();
    struct sf_attr before = stat_of(1, "f"), after;
    assert_true(before.mtime_ns > 1000000 * S);
    assert_int_equal(before.ctime_ns, before.mtime_ns);
    remount();
    after = stat_of(1, "f");
    same(&before, &after);
    assert_int_equal(fake_counts.attrs, 1);
    assert_int_equal(fake_counts.puts, 0);
}

/* Until the object has it, a listing does not take it back; one that is older does not either. */
static void
test_listings_do_not_take_it_back(void **state)
{
    (void)state;
    const struct sf_attr a = {.mode = 0604};
    fake_bucket("b");
    start_with("b", 0, false);
    put_marked("f", "1;m=100600;t=1;c");
    uint64_t n = node(1, "f");
    fake_hold(true);
    assert_int_equal(set(n, &a, SF_SET_MODE).err, 0);
    struct got l = {0}, late = {0};
    sf_tree_lookup(tree, 1, "f", keep, &l);
    fake_answer(); /* of the old mode */
    fake_deliver();
    assert_true(l.called);
    assert_int_equal(l.res.entry.attr.mode, S_IFREG | 0604);
    sf_tree_lookup(tree, 1, "f", keep, &late);
    fake_answer(); /* of the old mode, too */
    while (fake_change() || fake_told())
        ;
    fake_deliver();
    fake_run(); /* it asks once more */
    assert_true(late.called);
    assert_int_equal(late.res.entry.attr.mode, S_IFREG | 0604);
    assert_int_equal(stat_of(1, "f").mode, S_IFREG | 0604);
    /* From now on others' changes are seen. */
    fake_set_cache("b", "f", "supafs=\"1;m=100666;t=1;c\"");
    assert_int_equal(stat_of(1, "f").mode, S_IFREG | 0666);
}

/* What cannot be kept fails, and is not shown. */
static void
test_what_cannot_be_kept(void **state)
{
    (void)state;
    const struct sf_attr a = {.mode = 0604, .mtime_ns = 7};
    begin();
    put_marked("f", "1;m=100600;t=1;c");
    uint64_t n = node(1, "f");
    fake_unkept = -ENOSPC;
    assert_int_equal(set(n, &a, SF_SET_MODE | SF_SET_MTIME).err, -ENOSPC);
    fake_run();
    struct sf_attr now = stat_of(1, "f");
    assert_int_equal(now.mode, S_IFREG | 0600);
    assert_int_equal(now.mtime_ns, S);
    assert_int_equal(now.ctime_ns, S);
}

/* chmod while an upload runs, which has the old mode. */
static void
test_changed_while_an_upload_runs(void **state)
{
    (void)state;
    uint64_t n;
    struct got w = {0}, g = {0};
    const struct sf_attr a = {.mode = 0604};
    begin();
    struct sf_file *f = create(1, "f", "bytes", &n);
    fake_hold(true);
    sf_tree_flush(tree, f, keep, &w);
    sf_tree_setattr(tree, n, f, &a, SF_SET_MODE, keep, &g);
    assert_int_equal(g.err, 0);
    fake_hold(false);
    fake_run();
    assert_true(w.called);
    sf_tree_release(tree, f);
    remount();
    assert_int_equal(stat_of(1, "f").mode, S_IFREG | 0604);
    assert_int_equal(fake_counts.puts, 1);
    assert_int_equal(fake_counts.attrs, 1);
}

/* A close that comes while the bytes are being taken: they go with the time that was before. */
static void
test_written_while_an_upload_begins(void **state)
{
    (void)state;
    uint64_t n;
    struct got w = {0}, x = {0}, more = {0}, is = {0};
    begin();
    struct sf_file *f = create(1, "f", "bytes", &n);
    fake_hold(true);
    sf_tree_flush(tree, f, keep, &w);
    usleep(1000);
    sf_tree_write(tree, f, 5, "more", 4, keep, &more);
    assert_int_equal(more.err, 0);
    sf_tree_flush(tree, f, keep, &x);
    sf_tree_getattr(tree, n, f, keep, &is);
    assert_true(fake_change());
    assert_true(fake_change());
    assert_true(fake_told());
    assert_true(w.called);
    fake_hold(false);
    fake_run();
    assert_true(x.called);
    sf_tree_release(tree, f);
    remount();
    assert_true(fake_has("b", "f", "bytesmore"));
    assert_int_equal(stat_of(1, "f").mtime_ns, is.res.attr.mtime_ns);
    assert_int_equal(fake_counts.puts, 1);
    assert_int_equal(fake_counts.attrs, 1);
}

/* After the upload, the handle still open (as editors do): nothing else would carry it. */
static void
test_changed_after_fsync(void **state)
{
    (void)state;
    uint64_t n;
    struct got s = {0}, g = {0}, again = {0};
    const struct sf_attr a = {.mode = 0604};
    begin();
    struct sf_file *f = create(1, "f", "bytes", &n);
    sf_tree_fsync(tree, f, keep, &s);
    fake_run();
    assert_true(s.called);
    assert_int_equal(fake_counts.attr_flushes, 0); /* the upload had all of it */
    fake_hold(true);
    sf_tree_setattr(tree, n, f, &a, SF_SET_MODE, keep, &g);
    sf_tree_fsync(tree, f, keep, &again);
    assert_int_equal(fake_counts.attr_flushes, 1);
    fake_hold(false);
    fake_run();
    sf_tree_release(tree, f);
    remount();
    assert_int_equal(stat_of(1, "f").mode, S_IFREG | 0604);
    assert_int_equal(fake_counts.puts, 1);
}

static void
test_chown_takes_set_id_bits(void **state)
{
    (void)state;
    const struct sf_attr a = {.uid = 9, .gid = 9};
    begin();
    put_marked("run", "1;m=106755;t=1;c");
    put_marked("lock", "1;m=102644;t=1;c");
    assert_int_equal(set(node(1, "run"), &a, SF_SET_UID).res.attr.mode, S_IFREG | 0755);
    assert_int_equal(set(node(1, "lock"), &a, SF_SET_GID).res.attr.mode, S_IFREG | 02644);
    fake_run();
}

/* The tree is gone when the object has them. */
static void
test_settled_after_the_end(void **state)
{
    (void)state;
    const struct sf_attr a = {.mode = 0604};
    begin();
    fake_put("b", "f", "text");
    uint64_t n = node(1, "f");
    fake_hold(true);
    assert_int_equal(set(n, &a, SF_SET_MODE).err, 0);
    sf_tree_free(tree);
    tree = NULL;
    fake_hold(false);
    fake_run();
    assert_non_null(strstr(fake_cache("b", "f"), "m=100604"));
}

/* ---- directories ------------------------------------------------------------------------------
 */

static uint64_t
mkdir_in(uint64_t dir, const char *name, mode_t mode)
{
    struct got g = {0};
    sf_tree_mkdir(tree, &me, dir, name, mode, keep, &g);
    fake_run();
    assert_int_equal(g.err, 0);
    return g.res.entry.node;
}

/* The listing that tells a directory's attributes serves whoever goes on into it. */
static void
test_a_directory_after_a_remount(void **state)
{
    (void)state;
    begin();
    uint64_t d = mkdir_in(1, "d", 0750);
    fake_put("b", "d/f", "text");
    struct sf_attr before = stat_of(1, "d"), after;
    remount();
    fake_counts.lists = 0;
    after = stat_of(1, "d");
    same(&before, &after);
    assert_int_equal(fake_counts.lists, 2);
    d = node(1, "d");
    assert_int_equal(stat_of(d, "f").size, 4);
    assert_string_equal(list(d), "f,");
    assert_int_equal(fake_counts.lists, 2);
}

static void
test_chmod_of_a_directory(void **state)
{
    (void)state;
    const struct sf_attr a = {.mode = 0711, .mtime_ns = 7 * S};
    begin();
    fake_put("b", "d/f", "text");
    assert_int_equal(stat_of(1, "d").mode, S_IFDIR | 0755);
    assert_int_equal(set(node(1, "d"), &a, SF_SET_MODE | SF_SET_MTIME).err, 0);
    fake_run();
    assert_true(fake_exists("b", "d/.emptyFolderPlaceholder"));
    struct sf_attr before = stat_of(1, "d"), after;
    remount();
    after = stat_of(1, "d");
    same(&before, &after);
    assert_int_equal(after.mode, S_IFDIR | 0711);
    assert_int_equal(after.mtime_ns, 7 * S);
}

/* As `ls -l` does: names first, then each by itself. */
static void
look_at_all(unsigned n, mode_t mode)
{
    char name[20];
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "d%02u", i);
        assert_int_equal(stat_of(1, name).mode, S_IFDIR | mode);
    }
}

static void
test_many_directories_in_one_listing(void **state)
{
    (void)state;
    char key[60];
    begin();
    for (unsigned i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "d%02u/.emptyFolderPlaceholder", i);
        fake_put("b", key, "");
        fake_set_cache("b", key, "supafs=\"1;m=40701;t=1;c\"");
    }
    list(1);
    assert_int_equal(fake_counts.lists, 1);
    look_at_all(50, 0701);
    assert_int_equal(fake_counts.lists, 4);
}

/* What the one listing does not reach is asked for some at a time. */
static void
test_many_directories_above_many_objects(void **state)
{
    (void)state;
    char key[60];
    begin();
    for (unsigned i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "d%02u/.emptyFolderPlaceholder", i);
        fake_put("b", key, "");
        fake_set_cache("b", key, "supafs=\"1;m=40701;t=1;c\"");
    }
    for (unsigned i = 0; i < 1200; i++) {
        snprintf(key, sizeof key, "d04/f%04u", i);
        fake_put("b", key, "");
    }
    list(1);
    look_at_all(40, 0701);
    assert_in_range(fake_counts.lists, 4, 3 + 36);
    unsigned lists = fake_counts.lists;
    look_at_all(40, 0701);
    assert_int_equal(fake_counts.lists, lists);
}

/* It is gone by the time its attributes are wanted. */
static void
test_a_directory_that_is_gone(void **state)
{
    (void)state;
    begin();
    fake_put("b", "d/f", "text");
    list(1);
    fake_remove("b", "d/f");
    struct got g = lookup(1, "d");
    assert_int_equal(g.err, 0);
    assert_int_equal(g.res.entry.node, 0);
}

static void
test_attributes_that_nobody_tells(void **state)
{
    (void)state;
    begin();
    fake_put("b", "d/f", "text");
    list(1);
    fake_fail(-EIO);
    struct got g = lookup(1, "d");
    assert_int_equal(g.res.entry.attr.mode, S_IFDIR | 0755);
    assert_int_equal(g.res.entry.ttl_ms, 0); /* and they are not kept */
    fake_fail(0);
    fake_put("b", "d/.emptyFolderPlaceholder", "");
    fake_set_cache("b", "d/.emptyFolderPlaceholder", "supafs=\"1;m=40701;t=1;c\"");
    stat_of(1, "d"); /* asks behind its answer */
    assert_int_equal(stat_of(1, "d").mode, S_IFDIR | 0701);
}

/* ---- extended attributes ----------------------------------------------------------------------
 */

static int
setx(uint64_t n, const char *name, const char *value, int flags)
{
    struct got g = {0};
    sf_tree_setxattr(tree, n, name, value, value ? strlen(value) : 0, flags, keep, &g);
    fake_run();
    assert_true(g.called);
    return g.err;
}

/* The value, or "-ERRNO". */
static const char *
getx(uint64_t n, const char *name)
{
    static char text[20];
    static struct got g;
    g = (struct got){0};
    sf_tree_getxattr(tree, n, name, keep, &g);
    fake_run();
    assert_true(g.called);
    snprintf(text, sizeof text, "%d", g.err);
    return g.err ? text : g.data;
}

static size_t
listx(uint64_t n)
{
    struct got g = {0};
    sf_tree_listxattr(tree, n, keep, &g);
    fake_run();
    assert_true(g.called);
    assert_int_equal(g.err, 0);
    return g.res.len;
}

static const char *
failed(int code)
{
    static char text[20];
    snprintf(text, sizeof text, "%d", code);
    return text;
}

static void
test_xattrs_of_an_object(void **state)
{
    (void)state;
    begin();
    fake_put("b", "f", "text");
    uint64_t n = node(1, "f");
    assert_string_equal(getx(n, "user.a"), failed(-ENODATA));
    assert_int_equal(listx(n), 0);
    assert_int_equal(setx(n, "user.a", "one", XATTR_REPLACE), -ENODATA);
    assert_int_equal(setx(n, "user.a", "one", XATTR_CREATE), 0);
    assert_int_equal(setx(n, "user.a", "two", XATTR_CREATE), -EEXIST);
    assert_int_equal(setx(n, "user.b", "two", 0), 0);
    assert_string_equal(getx(n, "user.a"), "one");
    assert_int_equal(listx(n), 2 * strlen("user.a") + 2);
    assert_int_equal(fake_counts.infos, 0); /* the mark said that there was nothing */
    remount();
    n = node(1, "f");
    assert_string_equal(getx(n, "user.a"), "one");
    assert_string_equal(getx(n, "user.b"), "two");
    assert_string_equal(getx(n, "user.c"), failed(-ENODATA));
    assert_int_equal(fake_counts.infos, 1);
    assert_int_equal(setx(n, "user.a", NULL, 0), 0);
    assert_int_equal(setx(n, "user.a", NULL, 0), -ENODATA);
    assert_int_equal(setx(n, "user.b", NULL, 0), 0);
    remount();
    assert_string_equal(getx(node(1, "f"), "user.a"), failed(-ENODATA));
    assert_int_equal(fake_counts.infos, 1);
}

/* They go along with the first upload, and stay over the next. */
static void
test_xattrs_of_a_new_file(void **state)
{
    (void)state;
    uint64_t n;
    begin();
    struct sf_file *f = create(1, "f", "bytes", &n);
    assert_int_equal(setx(n, "user.a", "one", 0), 0);
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    fake_run();
    assert_int_equal(fake_counts.attrs, 0);
    assert_int_equal(fake_counts.puts, 1);
    remount();
    n = node(1, "f");
    f = open_file(n, O_WRONLY | O_TRUNC);
    sf_tree_release(tree, f);
    fake_run();
    remount();
    assert_string_equal(getx(node(1, "f"), "user.a"), "one");
}

static void
test_xattrs_of_a_directory(void **state)
{
    (void)state;
    begin();
    fake_put("b", "d/f", "text");
    assert_int_equal(setx(node(1, "d"), "user.a", "one", 0), 0);
    remount();
    assert_string_equal(getx(node(1, "d"), "user.a"), "one");
    assert_int_equal(setx(1, "user.a", "one", 0), -EOPNOTSUPP);
    assert_int_equal(listx(1), 0);
}

static void
test_too_many_xattrs(void **state)
{
    (void)state;
    char value[3300];
    begin();
    fake_put("b", "f", "text");
    uint64_t n = node(1, "f");
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    assert_int_equal(setx(n, "user.a", value, 0), -ENOSPC);
    value[2000] = '\0';
    assert_int_equal(setx(n, "user.a", value, 0), 0);
    assert_int_equal(setx(n, "user.b", value, 0), -ENOSPC);
    assert_int_equal(listx(n), 7);
}

/* Another mount sets one: its mark has another ctime. */
static void
test_xattrs_set_elsewhere(void **state)
{
    (void)state;
    fake_bucket("b");
    start_with("b", 0, false);
    fake_put("b", "f", "text");
    uint64_t n = node(1, "f");
    assert_int_equal(setx(n, "user.a", "one", 0), 0);
    assert_string_equal(getx(n, "user.a"), "one");
    struct sf_tree *mine = tree;
    struct sf_cache *my_blocks = blocks;
    start_with("b", 0, false);
    assert_int_equal(setx(node(1, "f"), "user.a", "other", 0), 0);
    sf_tree_free(tree);
    blocks_end();
    tree = mine;
    blocks = my_blocks;
    stat_of(1, "f");
    assert_string_equal(getx(n, "user.a"), "other");
}

static void
test_xattrs_that_the_mount_tells(void **state)
{
    (void)state;
    uint64_t n;
    const struct sf_attr a = {.mode = 0600};
    begin();
    struct sf_file *f = create(1, "f", "bytes", &n);
    assert_string_equal(getx(n, "user.supafs.sync"), "dirty");
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    fake_run();
    assert_string_equal(getx(n, "user.supafs.sync"), "clean");
    assert_string_equal(getx(n, "user.supafs.error"), failed(-ENODATA));
    assert_int_equal(listx(n), 0);
    fake_hold(true);
    assert_int_equal(set(n, &a, SF_SET_MODE).err, 0);
    struct got g = {0};
    sf_tree_getxattr(tree, n, "user.supafs.sync", keep, &g);
    assert_string_equal(g.data, "pending");
    fake_hold(false);
    assert_int_equal(setx(n, "user.supafs.id", "what was copied", 0), 0);
    assert_string_equal(getx(n, "user.supafs.sync"), "clean");
    assert_int_equal(setx(n, "user.supafs.sync", NULL, 0), 0);
    assert_int_equal(setx(n, "user.supafs.whatever", "x", 0), -EOPNOTSUPP);
    assert_int_equal(fake_counts.infos, 0);
}

static void
test_no_xattrs_with_attrs_none(void **state)
{
    (void)state;
    fake_bucket("b");
    start_with("b", 60000, true);
    fake_put("b", "f", "text");
    uint64_t n = node(1, "f");
    assert_int_equal(setx(n, "user.a", "one", 0), -EOPNOTSUPP);
    assert_int_equal(setx(n, "user.a", NULL, 0), -ENODATA);
    assert_string_equal(getx(n, "user.a"), failed(-ENODATA));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(a_mark_is_shown),
        TREE_TEST(without_a_mark_the_defaults),
        TREE_TEST(epoch_is_a_time),
        TREE_TEST(mark_of_another_type),
        TREE_TEST(one_number_twice),
        TREE_TEST(many_numbers),
        TREE_TEST(a_new_file_after_a_remount),
        TREE_TEST(default_owner_is_not_written),
        TREE_TEST(links_and_directories_after_a_remount),
        TREE_TEST(specials_after_a_remount),
        TREE_TEST(a_listing_before_the_reply),
        TREE_TEST(a_kind_that_changes),
        TREE_TEST(plain),
        TREE_TEST(overwritten_by_others),
        TREE_TEST(set_before_close),
        TREE_TEST(changed_later),
        TREE_TEST(an_empty_file_cut),
        TREE_TEST(listings_do_not_take_it_back),
        TREE_TEST(what_cannot_be_kept),
        TREE_TEST(changed_while_an_upload_runs),
        TREE_TEST(written_while_an_upload_begins),
        TREE_TEST(changed_after_fsync),
        TREE_TEST(chown_takes_set_id_bits),
        TREE_TEST(settled_after_the_end),
        TREE_TEST(a_directory_after_a_remount),
        TREE_TEST(chmod_of_a_directory),
        TREE_TEST(many_directories_in_one_listing),
        TREE_TEST(many_directories_above_many_objects),
        TREE_TEST(a_directory_that_is_gone),
        TREE_TEST(attributes_that_nobody_tells),
        TREE_TEST(xattrs_of_an_object),
        TREE_TEST(xattrs_of_a_new_file),
        TREE_TEST(xattrs_of_a_directory),
        TREE_TEST(too_many_xattrs),
        TREE_TEST(xattrs_set_elsewhere),
        TREE_TEST(xattrs_that_the_mount_tells),
        TREE_TEST(no_xattrs_with_attrs_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
