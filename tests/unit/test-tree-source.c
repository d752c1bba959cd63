/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tree/source.h: which bytes a source gives, and when it gives none any more. */
#include "tree-fixture.h"

#include <pthread.h>

#include "tree/source.h"

struct bytes {
    bool called;
    int err;
    size_t len;
    char first;
};

static void
take(void *arg, int err, const struct sf_err *why, const struct iovec *iov, int n, size_t len)
{
    struct bytes *b = arg;
    (void)why;
    assert_false(b->called);
    *b = (struct bytes){true, err, len, n ? *(const char *)iov->iov_base : '\0'};
}

static struct bytes
get(struct sf_tree_source *s, uint64_t off, size_t len)
{
    struct bytes b = {.called = false};
    sf_tree_source_read(s, off, len, take, &b);
    fake_run();
    assert_true(b.called);
    return b;
}

static struct sf_tree_source *
source(uint64_t n)
{
    struct sf_tree_source *s = NULL;
    assert_int_equal(sf_tree_source_new(tree, n, &s), 0);
    return s;
}

static void
test_reads(void **state)
{
    (void)state;
    start("b");
    fake_put("b", "f.txt", "0123456789");
    struct sf_tree_source *s = source(node(1, "f.txt"));
    const struct sf_tree_source_facts *f = sf_tree_source_facts(s);
    assert_int_equal(f->size, 10);
    assert_string_equal(f->name, "f.txt");
    assert_string_equal(f->bucket, "b");
    assert_string_equal(f->key, "f.txt");
    assert_int_equal(fake_counts.gets, 0);
    assert_int_equal(get(s, 3, 4).first, '3');
    assert_int_equal(get(s, 8, 100).len, 2);
    assert_int_equal(get(s, 10, 100).len, 0);
    assert_int_equal(fake_counts.gets, 1);
    sf_tree_source_unref(sf_tree_source_ref(s));
    assert_int_equal(get(s, 0, 1).first, '0');
    sf_tree_source_unref(s);
}

/* Also one that was read before gives nothing of another version. */
static void
test_replaced(void **state)
{
    (void)state;
    fake_bucket("b");
    start_ttl("b", 0);
    fake_put("b", "f", "old");
    struct sf_tree_source *s = source(node(1, "f"));
    fake_put("b", "f", "new bytes");
    assert_int_equal(get(s, 0, 10).err, -ESTALE);
    sf_tree_source_unref(s);
    s = source(node(1, "f"));
    assert_int_equal(get(s, 0, 10).first, 'n');
    sf_tree_source_unref(s);
}

static void
test_refused(void **state)
{
    (void)state;
    struct sf_tree_source *s = NULL;
    uint64_t n;
    start("b");
    fake_put("b", "d/f", "x");
    fake_put("b", "empty", "");
    assert_int_equal(sf_tree_source_new(tree, 99999, &s), -ESTALE);
    assert_int_equal(sf_tree_source_new(tree, node(1, "d"), &s), -EISDIR);
    struct sf_file *f = create(1, "new", "text", &n);
    assert_int_equal(sf_tree_source_new(tree, n, &s), -EBUSY);
    sf_tree_release(tree, f);
    fake_run();
    assert_null(s);
    s = source(node(1, "empty"));
    assert_int_equal(get(s, 0, 10).err, 0);
    assert_int_equal(get(s, 0, 10).len, 0);
    sf_tree_source_unref(s);
}

/* chmod and rename may make another version of the same bytes: these, or begin again. */
static void
test_same_bytes(void **state)
{
    (void)state;
    uint64_t n;
    struct got g = {0};
    fake_bucket("b");
    start_with("b", 60000, false);
    fake_put("b", "f", "0123456789");
    struct sf_tree_source *s = source(n = node(1, "f"));
    assert_int_equal(get(s, 0, 1).first, '0');
    sf_tree_setattr(tree, n, NULL, &(struct sf_attr){.mode = 0600}, SF_SET_MODE, keep, &g);
    run_until_called(&g);
    assert_int_equal(rename_name(1, "f", "g", 0), 0);
    struct bytes b = get(s, 5, 1);
    sf_tree_source_unref(s);
    assert_true(b.err == -ESTALE || b.first == '5');
    s = source(node(1, "g"));
    b = get(s, 5, 1);
    sf_tree_source_unref(s);
    assert_int_equal(b.first, '5');
}

/* Never another's bytes, and never some of both. */
static void
test_written_and_removed_here(void **state)
{
    (void)state;
    start("b");
    fake_put("b", "f", "0123456789");
    uint64_t n = node(1, "f");
    struct sf_tree_source *s = source(n);
    struct sf_file *f = open_file(n, O_RDWR);
    struct got w = {0};
    sf_tree_write(tree, f, 0, "abc", 3, keep, &w);
    assert_int_equal(w.err, 0);
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    fake_run();
    assert_int_equal(get(s, 0, 10).err, -ESTALE);
    assert_true(sf_tree_source_is_stale(s));
    sf_tree_source_unref(s);
    s = source(n);
    assert_int_equal(get(s, 0, 10).first, 'a');
    assert_int_equal(unlink_name(1, "f"), 0);
    struct bytes b = get(s, 3, 7);
    assert_true(b.err || b.first == '3');
    sf_tree_source_unref(s);
}

/* One of staged bytes outlives their name; these bytes, or nothing. */
static void
test_staged(void **state)
{
    (void)state;
    uint64_t n;
    start("b");
    struct sf_file *f = create(1, "new", "text", &n);
    fake_hold(true);
    sf_tree_release(tree, f);
    struct sf_tree_source *s = source(n);
    assert_int_equal(sf_tree_source_facts(s)->size, 4);
    assert_string_equal(sf_tree_source_facts(s)->version.etag, "");
    struct bytes b = {.called = false};
    sf_tree_source_read(s, 1, 10, take, &b);
    assert_int_equal(b.len, 3);
    assert_int_equal(b.first, 'e');
    fake_hold(false);
    fake_run(); /* it is in the bucket now */
    assert_int_equal(get(s, 0, 4).first, 't');
    assert_int_equal(unlink_name(1, "new"), 0);
    assert_int_equal(get(s, 0, 4).first, 't');
    sf_tree_source_unref(s);
}

static void *
let_go(void *arg)
{
    usleep(20000);
    sf_tree_source_unref(arg);
    return NULL;
}

static void
test_the_tree_waits_for_it(void **state)
{
    pthread_t tid;
    start("b");
    fake_put("b", "f", "0123456789");
    struct sf_tree_source *s = source(node(1, "f"));
    assert_int_equal(get(s, 0, 1).first, '0');
    assert_int_equal(pthread_create(&tid, NULL, let_go, s), 0);
    end(state);
    pthread_join(tid, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_reads, end),
        cmocka_unit_test_teardown(test_replaced, end),
        cmocka_unit_test_teardown(test_refused, end),
        cmocka_unit_test_teardown(test_same_bytes, end),
        cmocka_unit_test_teardown(test_written_and_removed_here, end),
        cmocka_unit_test_teardown(test_staged, end),
        cmocka_unit_test(test_the_tree_waits_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
