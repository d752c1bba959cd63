/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_TREE_FIXTURE_H
#define SF_TESTS_TREE_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake-project.h"

/* What the tests of tree/ share: a tree over the fake project, and calls that wait. */

static struct sf_tree *tree;
static struct sf_cache *blocks;
static const struct sf_cred me = {1000, 1000, 022};

struct got {
    _Atomic bool called;
    int err;
    struct sf_tree_result res;
    char data[300];
};

__attribute__((unused)) static void
keep(void *arg, int err, const struct sf_tree_result *res)
{
    struct got *g = arg;
    assert_false(g->called);
    g->err = err;
    if (!err)
        g->res = *res;
    if (!err && res->data)
        snprintf(g->data, sizeof g->data, "%.*s", (int)res->len, (const char *)res->data);
    for (int i = 0, at = 0; !err && i < res->n_iov; at += (int)res->iov[i++].iov_len)
        snprintf(g->data + at, sizeof g->data - (size_t)at, "%.*s", (int)res->iov[i].iov_len,
                 (const char *)res->iov[i].iov_base);
    g->called = true;
}

/* Answers may also come from a thread of the tree. */
static bool threads_answer;

__attribute__((unused)) static void
run_until_called(struct got *g)
{
    fake_run();
    for (int i = 0; threads_answer && !g->called && i < 10000; i++) {
        usleep(500);
        fake_run();
    }
    assert_true(g->called);
}

/* In memory alone. */
__attribute__((unused)) static void
blocks_begin(void)
{
    const struct sf_cache_opts o = {.memory = 8 << 20,
                                    .fetch = sf_tree_fetch,
                                    .cancel = sf_tree_fetch_cancel,
                                    .drop = sf_tree_drop};
    assert_int_equal(sf_cache_new(&o, &blocks, NULL), 0);
}

__attribute__((unused)) static void
blocks_end(void)
{
    if (blocks)
        sf_cache_free(blocks);
    blocks = NULL;
}

__attribute__((unused)) static void
start_with(const char *bucket, int64_t ttl_ms, bool plain)
{
    blocks_begin();
    const struct sf_tree_opts o = {.bucket = bucket,
                                   .cache = blocks,
                                   .plain = plain,
                                   .uid = 1,
                                   .gid = 2,
                                   .umask = 022,
                                   .attr_ttl_ms = ttl_ms,
                                   .read_timeout_ms = 1000,
                                   .write_timeout_ms = 1000,
                                   .max_nodes = 100000};
    assert_int_equal(sf_tree_new(&o, NULL, NULL, NULL, &tree, NULL), 0);
}

/* Without marks, of which most tests know nothing. */
__attribute__((unused)) static void
start_ttl(const char *bucket, int64_t ttl_ms)
{
    start_with(bucket, ttl_ms, true);
}

__attribute__((unused)) static int
end(void **state)
{
    (void)state;
    fake_run();
    sf_tree_free(tree);
    tree = NULL;
    blocks_end();
    fake_reset();
    return 0;
}

__attribute__((unused)) static void
start(const char *bucket)
{
    fake_bucket("b");
    start_ttl(bucket, 60000);
}

__attribute__((unused)) static struct got
lookup(uint64_t parent, const char *name)
{
    struct got g = {0};
    sf_tree_lookup(tree, parent, name, keep, &g);
    run_until_called(&g);
    return g;
}

__attribute__((unused)) static uint64_t
node(uint64_t parent, const char *name)
{
    struct got g = lookup(parent, name);
    assert_int_equal(g.err, 0);
    assert_int_not_equal(g.res.entry.node, 0);
    return g.res.entry.node;
}

__attribute__((unused)) static struct sf_file *
open_file(uint64_t n, int flags)
{
    struct got g = {0};
    sf_tree_open(tree, n, flags, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    return g.res.open.file;
}

__attribute__((unused)) static struct got
read_file(struct sf_file *f)
{
    struct got g = {0};
    sf_tree_read(tree, f, 0, 200, keep, &g);
    run_until_called(&g);
    return g;
}

__attribute__((unused)) static struct sf_file *
create(uint64_t dir, const char *name, const char *text, uint64_t *n)
{
    struct got g = {0}, w = {0};
    sf_tree_create(tree, &me, dir, name, 0640, O_RDWR, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    *n = g.res.entry.node;
    sf_tree_write(tree, g.res.open.file, 0, text, strlen(text), keep, &w);
    assert_int_equal(w.err, 0);
    return g.res.open.file;
}

__attribute__((unused)) static int
flush(struct sf_file *f)
{
    struct got g = {0};
    sf_tree_flush(tree, f, keep, &g);
    run_until_called(&g);
    return g.err;
}

__attribute__((unused)) static int
unlink_name(uint64_t dir, const char *name)
{
    struct got g = {0};
    sf_tree_unlink(tree, dir, name, keep, &g);
    run_until_called(&g);
    return g.err;
}

__attribute__((unused)) static int
rename_name(uint64_t dir, const char *from, const char *to, unsigned flags)
{
    struct got g = {0};
    sf_tree_rename(tree, dir, from, dir, to, flags, keep, &g);
    run_until_called(&g);
    return g.err;
}

/* All names of a directory, with a comma behind each. */
static char names[100000];

__attribute__((unused)) static const char *
list(uint64_t dir)
{
    struct got o = {0};
    struct sf_dirent e;
    size_t len = 0;
    uint64_t off = 0;
    sf_tree_opendir(tree, dir, keep, &o);
    assert_int_equal(o.err, 0);
    names[0] = '\0';
    for (bool more = true; more;) {
        struct got g = {0};
        sf_tree_readdir(tree, o.res.dir, off, keep, &g);
        run_until_called(&g);
        assert_int_equal(g.err, 0);
        for (more = false; sf_tree_dirent(tree, o.res.dir, off, false, &e) == 1; more = true) {
            off = e.next;
            if (strcmp(e.name, ".") && strcmp(e.name, ".."))
                len += (size_t)snprintf(names + len, sizeof names - len, "%s,", e.name);
        }
    }
    sf_tree_releasedir(tree, o.res.dir);
    return names;
}

/* A test that leaves nothing behind. */
#define TREE_TEST(name) cmocka_unit_test_teardown(test_##name, end)

#endif
