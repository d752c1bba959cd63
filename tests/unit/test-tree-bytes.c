/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

#include <linux/falloc.h>

/* What changes a file's bytes beside write(): mapped pages, fallocate(); and where its holes are.
 */

static void
start_now(void)
{
    fake_bucket("b");
    start_ttl("b", 0);
}

static void
start_behind(void)
{
    fake_bucket("b");
    blocks_begin();
    const struct sf_tree_opts o = {.bucket = "b",
                                   .cache = blocks,
                                   .plain = true,
                                   .behind = true,
                                   .attr_ttl_ms = 60000,
                                   .read_timeout_ms = 1000,
                                   .write_timeout_ms = 1000,
                                   .max_nodes = 1000};
    assert_int_equal(sf_tree_new(&o, NULL, NULL, NULL, &tree, NULL), 0);
}

/* Its answer does not wait for the service. */
static int
flush_only(struct sf_file *f)
{
    struct got g = {0};
    sf_tree_flush(tree, f, keep, &g);
    assert_true(g.called);
    return g.err;
}

static int
pages(struct sf_file *f, uint64_t off, const char *text)
{
    struct got g = {0};
    sf_tree_write_pages(tree, f, off, text, strlen(text), keep, &g);
    run_until_called(&g);
    return g.err;
}

static int
allocate(struct sf_file *f, int mode, uint64_t off, uint64_t len)
{
    struct got g = {0};
    sf_tree_fallocate(tree, f, mode, off, len, keep, &g);
    run_until_called(&g);
    return g.err;
}

/* ---- mapped pages --------------------------------------------------------------------------- */

/* The kernel sends pages with any handle that mapped the file, and they go where they lie in it. */
static void
test_pages_are_not_appended(void **state)
{
    (void)state;
    start_now();
    fake_put("b", "f", "0123");
    uint64_t n = node(1, "f");
    struct sf_file *map = open_file(n, O_RDWR), *log = open_file(n, O_RDWR | O_APPEND);
    assert_int_equal(pages(log, 1, "ab"), 0);
    assert_string_equal(read_file(map).data, "0ab3");
    assert_int_equal(flush(log), 0);
    assert_true(fake_has("b", "f", "0ab3"));
    sf_tree_release(tree, log);
    sf_tree_release(tree, map);
}

/* close() of who mapped the file waits for the upload, whichever handle the pages came with. */
static void
test_who_maps_waits(void **state)
{
    (void)state;
    start_now();
    fake_put("b", "f", "0123");
    uint64_t n = node(1, "f");
    struct sf_file *map = open_file(n, O_RDWR), *other = open_file(n, O_RDWR);
    assert_int_equal(pages(other, 0, "ab"), 0);
    assert_int_equal(flush(map), 0);
    assert_true(fake_has("b", "f", "ab23"));

    /* And at its end: what was changed after its close is sent, though others still write. */
    assert_int_equal(pages(other, 2, "cd"), 0);
    sf_tree_release(tree, map);
    fake_run();
    assert_true(fake_has("b", "f", "abcd"));
    sf_tree_release(tree, other);
}

/* A writer that cannot have mapped anything hears nothing of it. */
static void
test_who_only_writes_does_not(void **state)
{
    (void)state;
    start_now();
    fake_put("b", "f", "0123");
    uint64_t n = node(1, "f");
    struct sf_file *map = open_file(n, O_RDWR), *idle = open_file(n, O_WRONLY);
    assert_int_equal(pages(map, 0, "ab"), 0);
    fake_fail(-EIO);
    assert_int_equal(flush(idle), 0);
    assert_int_equal(flush(map), -EIO);
    fake_fail(0);
    assert_int_equal(flush(map), 0);
    sf_tree_release(tree, idle);
    sf_tree_release(tree, map);
}

/* ---- fallocate ------------------------------------------------------------------------------ */

static void
test_zeros(void **state)
{
    (void)state;
    const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, zero = FALLOC_FL_ZERO_RANGE;
    start_now();
    fake_put("b", "f", "0123456789");
    uint64_t n = node(1, "f");
    struct sf_file *f = open_file(n, O_RDWR);
    assert_int_equal(allocate(f, punch, 2, 3), 0);
    assert_int_equal(allocate(f, punch, 9, 100), 0);
    assert_int_equal(allocate(f, punch, 100, 100), 0);
    assert_int_equal(allocate(f, zero | FALLOC_FL_KEEP_SIZE, 0, 1), 0);
    assert_int_equal(allocate(f, zero | FALLOC_FL_KEEP_SIZE, 8, 10), 0);
    struct got g = read_file(f);
    assert_int_equal(g.res.len, 10);
    assert_int_equal(allocate(f, zero, 7, 5), 0);
    assert_int_equal(read_file(f).res.len, 12);
    assert_int_equal(flush(f), 0);
    assert_int_equal(fake_counts.puts, 1);
    const char want[12] = {0, '1', 0, 0, 0, '5', '6', 0, 0, 0, 0, 0};
    assert_true(fake_is("b", "f", want, sizeof want));
    sf_tree_release(tree, f);
}

static void
test_other_modes(void **state)
{
    (void)state;
    const int no[] = {FALLOC_FL_PUNCH_HOLE,
                      FALLOC_FL_COLLAPSE_RANGE,
                      FALLOC_FL_INSERT_RANGE,
                      FALLOC_FL_UNSHARE_RANGE,
                      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                      1 << 20};
    start_now();
    fake_put("b", "f", "0123");
    struct sf_file *f = open_file(node(1, "f"), O_RDWR);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_int_equal(allocate(f, no[i], 0, 2), -EOPNOTSUPP);
    assert_int_equal(allocate(f, FALLOC_FL_ZERO_RANGE, UINT64_MAX - 1, 10), -EFBIG);
    assert_int_equal(allocate(f, 0, UINT64_MAX - 1, 10), -EFBIG);
    assert_int_equal(flush(f), 0);
    assert_int_equal(fake_counts.puts, 0);
    sf_tree_release(tree, f);
}

/* ---- several who write ----------------------------------------------------------------------- */

/* RELEASE comes some time after close(). What another has made of the file by then is not sent as
 * if it were what was closed. */
static void
test_release_leaves_others_bytes(void **state)
{
    (void)state;
    start_now();
    fake_put("b", "f", "0123");
    uint64_t n = node(1, "f");
    struct sf_file *first = open_file(n, O_RDWR);
    assert_int_equal(allocate(first, FALLOC_FL_ZERO_RANGE, 0, 1), 0);
    assert_int_equal(flush(first), 0);
    assert_int_equal(fake_counts.puts, 1);
    struct sf_file *second = open_file(n, O_WRONLY | O_TRUNC);
    sf_tree_release(tree, first);
    usleep(20000);
    assert_int_equal(fake_counts.puts, 1);
    assert_true(fake_is("b", "f",
                        "\0"
                        "123",
                        4));

    /* its own bytes are, when no FLUSH has sent them */
    struct sf_file *third = open_file(n, O_RDWR);
    assert_int_equal(allocate(third, FALLOC_FL_ZERO_RANGE, 0, 2), 0);
    assert_int_equal(flush(third), 0);
    assert_int_equal(fake_counts.puts, 2);
    assert_int_equal(allocate(third, FALLOC_FL_ZERO_RANGE, 0, 3), 0);
    sf_tree_release(tree, third);
    for (int i = 0; i < 500 && fake_counts.puts < 3; i++)
        usleep(10000);
    assert_true(fake_is("b", "f", "\0\0\0", 3));
    sf_tree_release(tree, second);
}

/* RELEASE comes some time after close(), and keeps no other state than that one did: a program that
 * opens the file with O_TRUNC then has promised nothing yet. */
static void
test_release_keeps_nothing_anew(void **state)
{
    (void)state;
    start_behind();
    uint64_t n;
    struct sf_file *one = create(SF_TREE_ROOT, "f", "text", &n);
    fake_hold(true); /* uploads wait, as long as nobody is waited for */
    assert_int_equal(flush_only(one), 0);
    assert_int_equal(fake_counts.keeps, 1);
    sf_tree_release(tree, one);
    assert_int_equal(fake_counts.keeps, 1);

    /* what no FLUSH has kept is kept then */
    struct got o = {0};
    sf_tree_open(tree, n, O_WRONLY | O_TRUNC, keep, &o);
    assert_true(o.called && o.err == 0);
    sf_tree_release(tree, o.res.open.file);
    assert_int_equal(fake_counts.keeps, 2);

    /* and what came to its mapped pages since */
    struct sf_file *map = open_file(n, O_RDWR), *other = open_file(n, O_RDWR);
    assert_int_equal(allocate(map, 0, 0, 4), 0);
    assert_int_equal(flush_only(map), 0);
    assert_int_equal(fake_counts.keeps, 3);
    struct got page = {0};
    sf_tree_write_pages(tree, other, 0, "page", 4, keep, &page);
    assert_int_equal(page.err, 0);
    sf_tree_release(tree, map);
    assert_int_equal(fake_counts.keeps, 4);
    sf_tree_release(tree, other);
    fake_hold(false);
    fake_run();
    assert_true(fake_has("b", "f", "page"));
}

/* Each close() of a descriptor that was doubled is a FLUSH. The second one leaves alone what others
 * have begun to write since the first. */
static void
test_flush_leaves_others_bytes(void **state)
{
    (void)state;
    for (int behind = 0; behind < 2; behind++) {
        (behind ? start_behind : start_now)();
        const _Atomic unsigned *count = behind ? &fake_counts.keeps : &fake_counts.puts;
        fake_put("b", "from", "0123");
        uint64_t n;
        struct sf_file *one = create(SF_TREE_ROOT, "f", "text", &n);
        assert_int_equal(flush_only(one), 0);
        assert_int_equal(*count, 1);
        struct sf_file *two = open_file(n, O_WRONLY | O_TRUNC);
        assert_int_equal(flush_only(one), 0);
        assert_int_equal(*count, 1);
        assert_true(fake_has("b", "f", "text"));

        /* but not what came by itself: a change of its size, */
        assert_int_equal(allocate(one, 0, 0, 2), 0);
        assert_int_equal(flush_only(one), 0);
        assert_int_equal(*count, 2);
        struct got g = {0}, cut = {0};
        sf_tree_setattr(tree, n, one, &(struct sf_attr){.size = 0}, SF_SET_SIZE, keep, &cut);
        assert_int_equal(cut.err, 0);
        assert_int_equal(flush_only(one), 0);
        assert_int_equal(*count, 3);

        /* a copy of all of another file, */
        struct sf_file *from = open_file(node(1, "from"), O_RDONLY);
        sf_tree_copy_range(tree, from, 0, one, 0, 100, keep, &g);
        run_until_called(&g);
        assert_int_equal(g.res.len, 4);
        assert_int_equal(flush_only(one), 0);
        assert_int_equal(*count, 4);
        assert_true(fake_has("b", "f", "0123"));

        /* and pages of a mapping that another handle brought. */
        struct sf_file *map = open_file(n, O_RDWR);
        assert_int_equal(pages(map, 0, "page"), 0);
        assert_int_equal(flush_only(one), 0);
        assert_int_equal(*count, 5);
        sf_tree_release(tree, map);
        sf_tree_release(tree, from);
        sf_tree_release(tree, one);
        sf_tree_release(tree, two);
        if (!behind)
            end(NULL);
    }
}

/* What an upload that failed has left in the journal is not replaced by what the next program has
 * just begun; who asks again hears of the failure again. */
static void
test_release_leaves_what_failed(void **state)
{
    (void)state;
    start_now();
    uint64_t n;
    struct sf_file *one = create(SF_TREE_ROOT, "f", "text", &n);
    fake_fail(-ETIMEDOUT);
    assert_int_equal(flush_only(one), -ETIMEDOUT);
    assert_int_equal(flush_only(one), -ETIMEDOUT);
    fake_fail(0);
    struct got o = {0};
    sf_tree_open(tree, n, O_WRONLY | O_TRUNC, keep, &o);
    run_until_called(&o);
    assert_int_equal(o.err, 0);
    sf_tree_release(tree, one);
    assert_int_equal(fake_counts.keeps, 0);
    sf_tree_release(tree, o.res.open.file);
    for (int i = 0; i < 500 && !fake_has("b", "f", ""); i++)
        usleep(10000);
    assert_int_equal(fake_counts.keeps, 1);
    assert_true(fake_has("b", "f", ""));
}

/* The same while the service is away. */
static void
test_flush_leaves_others_bytes_when_away(void **state)
{
    (void)state;
    start_behind();
    uint64_t n;
    struct sf_file *one = create(SF_TREE_ROOT, "f", "text", &n);
    fake_hold(true);
    assert_int_equal(flush_only(one), 0);
    struct got o = {0};
    sf_tree_open(tree, n, O_WRONLY | O_TRUNC, keep, &o);
    assert_true(o.called && o.err == 0);
    fake_fail(-ETIMEDOUT);
    while (fake_change() || fake_told())
        ;
    assert_int_equal(flush_only(one), 0);
    assert_int_equal(fake_counts.keeps, 1);
    fake_fail(0);
    fake_hold(false);
    sf_tree_release(tree, o.res.open.file);
    sf_tree_release(tree, one);
}

/* What was refused is given up by the last handle, though that one's own bytes went before. */
static void
test_last_release_gives_up(void **state)
{
    (void)state;
    start_behind();
    uint64_t n;
    struct sf_file *one = create(SF_TREE_ROOT, "f", "text", &n);
    fake_hold(true);
    assert_int_equal(flush_only(one), 0);
    fake_fail(-EPERM);
    while (fake_change() || fake_told())
        ;
    fake_fail(0);
    fake_hold(false);
    assert_int_equal(fake_counts.quarantined, 0);
    sf_tree_release(tree, one);
    assert_int_equal(fake_counts.quarantined, 1);
    assert_string_equal(fake_quarantined(), "f=text");
}

/* ---- holes ---------------------------------------------------------------------------------- */

static void
test_holes(void **state)
{
    (void)state;
    start_now();
    fake_put("b", "f", "0123");
    uint64_t n = node(1, "f");
    struct sf_file *r = open_file(n, O_RDONLY);
    assert_int_equal(sf_tree_seek(tree, r, 1, false), 1); /* as in the bucket: none */
    assert_int_equal(sf_tree_seek(tree, r, 1, true), 4);
    assert_int_equal(sf_tree_seek(tree, r, 4, true), -ENXIO);
    assert_int_equal(sf_tree_seek(tree, r, 4, false), -ENXIO);

    struct sf_file *w = open_file(n, O_WRONLY);
    assert_int_equal(allocate(w, FALLOC_FL_ZERO_RANGE, 2, 6), 0);
    assert_int_equal(sf_tree_seek(tree, r, 0, true), 2);
    assert_int_equal(sf_tree_seek(tree, r, 2, false), -ENXIO);
    assert_int_equal(sf_tree_seek(tree, r, 7, true), 7);
    assert_int_equal(sf_tree_seek(tree, r, 8, true), -ENXIO);

    struct sf_file *map = open_file(n, O_RDWR); /* pages of the hole may have data by now */
    assert_int_equal(sf_tree_seek(tree, r, 0, true), 8);
    assert_int_equal(sf_tree_seek(tree, r, 3, false), 3);
    sf_tree_release(tree, map);
    assert_int_equal(sf_tree_seek(tree, r, 0, true), 2);
    sf_tree_release(tree, w);
    sf_tree_release(tree, r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(pages_are_not_appended),
        TREE_TEST(who_maps_waits),
        TREE_TEST(who_only_writes_does_not),
        TREE_TEST(zeros),
        TREE_TEST(other_modes),
        TREE_TEST(release_leaves_others_bytes),
        TREE_TEST(release_keeps_nothing_anew),
        TREE_TEST(flush_leaves_others_bytes),
        TREE_TEST(release_leaves_what_failed),
        TREE_TEST(flush_leaves_others_bytes_when_away),
        TREE_TEST(last_release_gives_up),
        TREE_TEST(holes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
