/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

#include <ftw.h>
#include <time.h>

#include "store/env.h"

/* What tree/ahead.c has fetched before it is opened: once, behind the reader, and of the version
 * that is there. */

static uint64_t dir;
static struct sf_env *env; /* of what was learned; NULL = that is not kept */

static void
start_ttl_predicting(unsigned files, int64_t ttl_ms)
{
    fake_bucket("b");
    for (unsigned i = 0; i < files; i++) {
        char key[32], text[32];
        snprintf(key, sizeof key, "d/f%03u", i);
        snprintf(text, sizeof text, "text %u", i);
        fake_put("b", key, text);
    }
    blocks_begin();
    const struct sf_tree_opts o = {.bucket = "b",
                                   .cache = blocks,
                                   .plain = true,
                                   .predict = true,
                                   .followed_env = env,
                                   .attr_ttl_ms = ttl_ms,
                                   .read_timeout_ms = 1000,
                                   .write_timeout_ms = 1000,
                                   .max_nodes = 100000};
    assert_int_equal(sf_tree_new(&o, NULL, NULL, NULL, &tree, NULL), 0);
    dir = node(SF_TREE_ROOT, "d");
    list(dir);
}

static void
start_predicting(unsigned files)
{
    start_ttl_predicting(files, 60000);
}

/* Opens and begins to read; the answer is in @g when it comes. */
static struct sf_file *
begin_read(unsigned i, struct got *g)
{
    char name[32];
    snprintf(name, sizeof name, "f%03u", i);
    struct sf_file *f = open_file(node(dir, name), O_RDONLY);
    *g = (struct got){0};
    sf_tree_read(tree, f, 0, 200, keep, g);
    return f;
}

static void
read_one(unsigned i, const char *text)
{
    char wanted[32];
    struct got g;
    struct sf_file *f = begin_read(i, &g);
    run_until_called(&g);
    snprintf(wanted, sizeof wanted, "text %u", i);
    assert_int_equal(g.err, 0);
    assert_string_equal(g.data, text ? text : wanted);
    sf_tree_release(tree, f);
}

static void
test_rest_of_a_directory(void **state)
{
    (void)state;
    start_predicting(10);
    for (unsigned i = 0; i < 2; i++)
        read_one(i, NULL);
    assert_int_equal(fake_counts.gets, 2);
    struct got g;
    struct sf_file *f = begin_read(2, &g);
    assert_int_equal(fake_counts.gets, 10); /* the reader's own, and the rest */
    assert_true(fake_step());               /* the reader's is the oldest */
    assert_true(g.called);
    sf_tree_release(tree, f);
    fake_run();
    for (unsigned i = 3; i < 10; i++)
        read_one(i, NULL);
    assert_int_equal(fake_counts.gets, 10);
}

static void
test_reader_joins_what_is_under_way(void **state)
{
    (void)state;
    start_predicting(10);
    struct got g[10];
    struct sf_file *f[10];
    for (unsigned i = 0; i < 2; i++)
        read_one(i, NULL);
    for (unsigned i = 2; i < 10; i++)
        f[i] = begin_read(i, &g[i]);
    assert_int_equal(fake_counts.gets, 10);
    fake_run();
    for (unsigned i = 2; i < 10; i++) {
        assert_int_equal(g[i].err, 0);
        sf_tree_release(tree, f[i]);
    }
    assert_int_equal(fake_counts.gets, 10);
}

static void
test_many_wait_for_their_turn(void **state)
{
    (void)state;
    start_predicting(200);
    for (unsigned i = 0; i < 3; i++)
        read_one(i, NULL); /* answers what was asked for, too */
    for (unsigned i = 3; i < 200; i++)
        read_one(i, NULL);
    assert_int_equal(fake_counts.gets, 200);
}

/* What is replaced before it is fetched, or before it is opened, is read as it is then. */
static void
test_replaced_meanwhile(void **state)
{
    (void)state;
    start_ttl_predicting(10, 0);
    for (unsigned i = 0; i < 2; i++)
        read_one(i, NULL);
    struct got g;
    struct sf_file *f = begin_read(2, &g);
    assert_int_equal(fake_counts.gets, 10);
    fake_put("b", "d/f005", "other");
    fake_remove("b", "d/f006");
    fake_run();
    sf_tree_release(tree, f);
    fake_put("b", "d/f007", "another text");
    read_one(5, "other");
    read_one(7, "another text");
    assert_int_equal(lookup(dir, "f006").res.entry.node, 0);
    read_one(8, NULL);
}

static void
test_failure_is_the_readers_only_if_it_asks(void **state)
{
    (void)state;
    start_predicting(10);
    for (unsigned i = 0; i < 2; i++)
        read_one(i, NULL);
    struct got g;
    struct sf_file *f = begin_read(2, &g);
    assert_true(fake_step());
    assert_int_equal(g.err, 0);
    sf_tree_release(tree, f);
    fake_fail(-EIO);
    fake_run();
    fake_fail(0);
    for (unsigned i = 3; i < 10; i++)
        read_one(i, NULL);
}

static void
test_end_with_fetches_to_come(void **state)
{
    (void)state;
    start_predicting(100);
    struct got g;
    for (unsigned i = 0; i < 2; i++)
        read_one(i, NULL);
    struct sf_file *f = begin_read(2, &g);
    assert_true(fake_step());
    assert_true(g.called);
    sf_tree_release(tree, f);
    sf_cache_stop(blocks);
}

static void
test_written_files_are_left_alone(void **state)
{
    (void)state;
    start_predicting(4);
    uint64_t n;
    struct sf_file *w = create(dir, "f100", "staged", &n);
    for (unsigned i = 0; i < 4; i++)
        read_one(i, NULL);
    assert_int_equal(fake_counts.gets, 4);
    sf_tree_release(tree, w);
}

/* ---- what was learned ------------------------------------------------------------------------ */

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}

static void
test_what_followed_is_kept(void **state)
{
    (void)state;
    static const char *const tables[] = {"followed"};
    char path[] = "/tmp/supafs-ahead-XXXXXX";
    assert_non_null(mkdtemp(path));
    const struct sf_env_opts o = {.dir = path,
                                  .name = "test-ahead",
                                  .tables = tables,
                                  .n_tables = 1,
                                  .max_bytes = 64 << 20,
                                  .throw_away = true};
    assert_int_equal(sf_env_open(&o, &env, NULL), 0);
    start_predicting(100);
    read_one(70, NULL);
    read_one(30, NULL);
    sf_tree_free(tree);
    blocks_end();
    sf_env_close(env); /* writes what waits */

    assert_int_equal(sf_env_open(&o, &env, NULL), 0);
    fake_counts.gets = 0;
    start_predicting(0);
    read_one(10, NULL); /* the first miss: what was learned is wanted */
    for (unsigned i = 0; fake_counts.gets < 3 && i < 1000; i++) {
        sf_tree_free(tree);
        blocks_end();
        fake_counts.gets = 0;
        start_predicting(0);
        read_one(10, NULL);
        nanosleep(&(struct timespec){.tv_nsec = 1000000 * (long)(i + 1)}, NULL);
        read_one(70, NULL);
    }
    assert_int_equal(fake_counts.gets, 3);
    struct got g;
    struct sf_file *f = begin_read(30, &g);
    assert_true(g.called && g.err == 0); /* it was here */
    sf_tree_release(tree, f);
    fake_run();
    sf_tree_free(tree);
    tree = NULL;
    blocks_end();
    sf_env_close(env);
    env = NULL;
    (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(rest_of_a_directory),
        TREE_TEST(reader_joins_what_is_under_way),
        TREE_TEST(many_wait_for_their_turn),
        TREE_TEST(replaced_meanwhile),
        TREE_TEST(failure_is_the_readers_only_if_it_asks),
        TREE_TEST(end_with_fetches_to_come),
        TREE_TEST(written_files_are_left_alone),
        TREE_TEST(what_followed_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
