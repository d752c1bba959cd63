/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

#include <malloc.h>

/*
 * What a known object costs (less than 250 bytes, with everything that belongs to it), and that the
 * texts which are packed for that come back as they were.
 */

#define MANY   100000
#define BUDGET 250

static size_t
in_use(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Read to its end; with @plus every entry is looked up, and they are counted. */
static struct sf_dir *
list_kept(uint64_t dir, bool plus, unsigned *n)
{
    struct got o = {0};
    struct sf_dirent e;
    uint64_t off = 0;
    sf_tree_opendir(tree, dir, keep, &o);
    assert_int_equal(o.err, 0);
    for (bool more = true; more;) {
        struct got g = {0};
        sf_tree_readdir(tree, o.res.dir, off, keep, &g);
        fake_run();
        assert_true(g.called);
        assert_int_equal(g.err, 0);
        for (more = false; sf_tree_dirent(tree, o.res.dir, off, plus, &e) == 1; more = true) {
            off = e.next;
            *n += e.entry.node != 0;
        }
    }
    return o.res.dir;
}

/* Bytes of memory that the process really has. */
static size_t
resident(void)
{
    char line[200];
    size_t kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %zu", &kib) == 1)
            break;
    fclose(f);
    return kib * 1024;
}

/* ETags are @before, eight digits, @after; with @marked their inode number is set. */
static double
bytes_per_object(const char *before, const char *after, bool marked)
{
    const struct sf_tree_opts o = {
        .bucket = "b", .attr_ttl_ms = 60000, .read_timeout_ms = 1000, .max_nodes = 2 * MANY};
    char key[80], id[80], tag[80], cache[200];
    fake_bucket("b");
    assert_int_equal(sf_tree_new(&o, NULL, NULL, NULL, &tree, NULL), 0);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "d/holiday-%06u.jpeg", i);
        snprintf(id, sizeof id, "5eb63bbb-e01e-4d09-83cb-22bb%08x", i);
        snprintf(tag, sizeof tag, "\"%s%08x%s\"", before, i, after);
        snprintf(cache, sizeof cache, "no-cache, supafs=\"1;m=100640;t=1763000000;i=%u0042\"", i);
        fake_put("b", key, "x");
        fake_set_version("b", key, id, tag);
        if (marked)
            fake_set_cache("b", key, cache);
    }
    uint64_t d = node(1, "d");
    size_t used = in_use();
    unsigned n = 0;
    sf_tree_releasedir(tree, list_kept(d, true, &n));
    assert_int_equal(n, MANY);
    double bytes = (double)(in_use() - used) / MANY;
    print_message("%.1f bytes per known object with ETags as %s\n", bytes, tag);
    return bytes;
}

static void
in_budget(const char *before, const char *after, bool marked)
{
    double bytes = bytes_per_object(before, after, marked);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    assert_true(bytes > 100 && bytes < BUDGET);
#else
    (void)bytes; /* their allocators count otherwise */
#endif
}

static void
test_bytes_per_object(void **state)
{
    (void)state;
    in_budget("5eb63bbbe01eeed093cb22bb", "", false);
}

/* Of an upload in parts, and of a file backend; with marks, which fill the table of inodes. */
static void
test_bytes_with_other_etags(void **state)
{
    (void)state;
    in_budget("5eb63bbbe01eeed093cb22bb", "-17", false);
    end(NULL);
    in_budget("1a1", ".da1-6", true);
}

/* What a huge listing took is given back when its names are dropped, though some in the middle of
 * it are still in use. */
static void
test_dropped_names_give_their_memory_back(void **state)
{
    (void)state;
    const struct sf_tree_opts o = {
        .bucket = "b", .attr_ttl_ms = 60000, .read_timeout_ms = 1000, .max_nodes = MANY / 4};
    char key[80];
    fake_bucket("b");
    assert_int_equal(sf_tree_new(&o, NULL, NULL, NULL, &tree, NULL), 0);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "d/holiday-%06u.jpeg", i);
        fake_put("b", key, "x");
    }
    uint64_t d = node(1, "d");
    unsigned n = 0;
    malloc_trim(0);
    size_t before = resident();
    struct sf_dir *dir = list_kept(d, false, &n);
    for (unsigned i = 0; i < MANY / 100; i++) {
        snprintf(key, sizeof key, "holiday-%06u.jpeg", i * 100);
        node(d, key);
    }
    size_t during = resident();
    sf_tree_releasedir(tree, dir);
    size_t after = resident();
    print_message("%zu KiB while it is listed, %zu KiB afterwards\n", (during - before) / 1024,
                  (after - before) / 1024);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    assert_true(after - before < (during - before) / 2);
#endif
}

static const struct {
    const char *id, *etag;
} versions[] = {
    {"5eb63bbb-e01e-4d09-83cb-22bb00000001", "\"5eb63bbbe01eeed093cb22bb8f5acdc3\""},
    {"5EB63BBB-e01e-4d09-83cb-22bb00000001", "\"5EB63BBBE01EEED093CB22BB8F5ACDC3\""},
    {"00000000-0000-0000-0000-000000000000", "\"00000000000000000000000000000000\""},
    {"ffffffff-ffff-ffff-ffff-fffffffffffe", "W/\"5eb63bbbe01eeed093cb22bb8f5acdc3\""},
    {"5eb63bbb-e01e-4d09-83cb-22bb0000001", "\"5eb63bbbe01eeed093cb22bb8f5acdc3-1\""},
    {"5eb63bbb-e01e-4d09-83cb-22bb00000-01", "\"5eb63bbbe01eeed093cb22bb8f5acdc3-0\""},
    {"5eb63bbbe01e4d0983cb22bb00000001", "\"5eb63bbbe01eeed093cb22bb8f5acdc3-01\""},
    {"1", "\"5eb63bbbe01eeed093cb22bb8f5acdc3-65535\""},
    {"a-b-c-d-e", "\"5eb63bbbe01eeed093cb22bb8f5acdc3-65536\""},
    {"id", "\"1a1fc757eaa.da1-6\""},
    {"0", "\"0000000000000000000000000\""},
    {"-", "\"--------------------------\""},
    {" ", "\"a\""},
    {"x", "\"\""},
    {"y", "abc"},
    {"z", "\"a b\""},
    {"", ""},
};
#define VERSIONS (sizeof versions / sizeof versions[0])

static unsigned told;

static void
count_data(void *arg, uint64_t n, bool data)
{
    (void)arg, (void)n;
    told += data;
}

static void
count_name(void *arg, uint64_t parent, const char *name)
{
    (void)arg, (void)parent, (void)name;
    told++;
}

/* A read asks for the very ETag (the project refuses another), and what a listing repeats is the
 * version that was known. */
static void
test_versions_come_back(void **state)
{
    (void)state;
    const struct sf_tree_notify notify = {.inval_node = count_data, .inval_entry = count_name};
    fake_bucket("b");
    start_ttl("b", 0);
    sf_tree_set_notify(tree, &notify);
    told = 0;
    for (size_t i = 0; i < VERSIONS; i++) {
        fake_put("b", "f", "text");
        fake_set_version("b", "f", versions[i].id, versions[i].etag);
        uint64_t n = node(1, "f");
        assert_int_equal(told, i); /* each is another than the one before it */
        struct sf_file *f = open_file(n, O_RDONLY);
        struct got g = read_file(f);
        assert_int_equal(g.err, 0);
        assert_string_equal(g.data, "text");
        sf_tree_release(tree, f);
        assert_int_equal(node(1, "f"), n);
        assert_int_equal(told, i);
    }
}

/* Names of other lengths than the ones they began with. */
static void
test_names_change(void **state)
{
    (void)state;
    char name[256];
    fake_bucket("b");
    start_ttl("b", 0);
    fake_put("b", "f", "text");
    snprintf(name, sizeof name, "f");
    for (int len = 1; len < 250; len = len * 3 + 1) {
        for (int to = 240; to > 0; to = to / 5 - 1) {
            char other[256];
            snprintf(other, sizeof other, "%0*d", to, len);
            assert_int_equal(rename_name(1, name, other, 0), 0);
            snprintf(name, sizeof name, "%.*s,", (int)sizeof name - 2, other);
            assert_string_equal(list(1), name);
            assert_true(fake_has("b", other, "text"));
            snprintf(name, sizeof name, "%s", other);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(bytes_per_object),
        TREE_TEST(bytes_with_other_etags),
        TREE_TEST(dropped_names_give_their_memory_back),
        TREE_TEST(versions_come_back),
        TREE_TEST(names_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
